//! Keys change while everything works: every value comes under the new key and says what it said, nothing else of a
//! row changes, and a key goes when nothing carries it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pikou::crypt::{Algorithm, Keys, Purpose, key_file};
use pikou::demo::bank::Bank;
use pikou::stages::rekey::{self, KeyState, Removal};
use pikou::stages::{Context, StageError, intake};
use pikou::store::sealed_values::{Holds, SEALED};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};

use crate::bus::{Bus, amqp_url};
use crate::process::{Pikou, stop};
use crate::support::*;

/// Columns of bytes that hold hashes: of content, or keyed ones. Everything else that is bytes is encrypted.
const HASHES: [&str; 6] = [
    "messages.digest",
    "quarantine.digest",
    "enrolments.id_number_hash",
    "request_files.sha256",
    "result_files.sha256",
    "result_files.companion_sha1",
];

/// Books with a value in every encrypted column: P1 has paid, P2 has failed, an amount waits, and one message was
/// not understood.
async fn books() -> Place {
    let place = Place::new().await;
    place.take(&ready("P1", "1500.00")).await;
    place.take(&ready("P2", "1600.00")).await;
    place.take(&[amount_set("P3", "waits", "2026-04-02T00:00:00Z", "1700.00")]).await;
    let nonsense = intake::Delivery { headers: vec![("x".into(), "y".into())], ..raw_delivery(b"nonsense") };
    intake::take(&place.ctx, &[nonsense]).await.unwrap();
    let run_id = place.run().await;
    place.answer(run_id, &[("P2", "1001")]).await;
    place
}

fn purpose(holds: Holds) -> Purpose {
    match holds {
        Holds::PersonName => Purpose::PersonName,
        Holds::IdentityNumber => Purpose::IdentityNumber,
        Holds::AccountName => Purpose::AccountName,
        Holds::AccountNumber => Purpose::AccountNumber,
        Holds::Message => Purpose::RawMessage,
        Holds::File => Purpose::FileContent,
    }
}

/// What every encrypted value says, by column.
async fn plain(pool: &PgPool, keys: &Keys) -> BTreeMap<String, BTreeSet<Vec<u8>>> {
    let mut all = BTreeMap::new();
    for table in &SEALED {
        for (column, holds) in table.columns {
            let sql = format!("SELECT {column} FROM {} WHERE {column} IS NOT NULL", table.name);
            let values: Vec<(Vec<u8>,)> = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(pool).await.unwrap();
            let opened = values.iter().map(|(value,)| keys.open(purpose(*holds), value).unwrap());
            all.insert(format!("{}.{column}", table.name), opened.collect());
        }
    }
    all
}

/// Every row of the tables with encrypted columns, those left out.
async fn rest(pool: &PgPool) -> Vec<String> {
    let mut all = Vec::new();
    for table in &SEALED {
        let without: String = table.columns.iter().map(|(column, _)| format!(" - '{column}'")).collect();
        let sql = format!("SELECT '{}' || (to_jsonb(t){without})::text FROM {} t", table.name, table.name);
        let rows: Vec<(String,)> = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(pool).await.unwrap();
        all.extend(rows.into_iter().map(|(row,)| row));
    }
    all.sort();
    all
}

/// Key → values, with its state.
async fn carried(ctx: &Context) -> Vec<(String, KeyState, i64)> {
    let keys = rekey::status(ctx).await.unwrap();
    keys.into_iter().map(|key| (key.id.clone(), key.state, key.total())).collect()
}

fn rotate(place: &Place, algorithm: Algorithm) -> String {
    key_file::rotate(&place.ctx.settings.keys_file, algorithm).unwrap()
}

/// The same place for a worker that reads its keys from a file of its own.
fn with_own_key_file(place: &Place, name: &str) -> (Context, std::path::PathBuf) {
    let path = place.folder.path().join(name);
    std::fs::copy(&place.ctx.settings.keys_file, &path).unwrap();
    let keys = Arc::new(Keys::load_or_make(&path, Algorithm::Aes256Gcm).unwrap());
    (Context { keys, ..place.other_worker() }, path)
}

#[tokio::test]
async fn every_column_of_bytes_is_encrypted_anew_or_known_to_be_a_hash() {
    let place = Place::new().await;
    let sql = "SELECT table_name || '.' || column_name FROM information_schema.columns
               WHERE table_schema = 'public' AND data_type = 'bytea' AND table_name <> '_sqlx_migrations'
                 AND table_name IN (SELECT tablename FROM pg_tables WHERE schemaname = 'public')";
    let found: BTreeSet<String> = place.texts(sql).await.into_iter().collect();
    let sealed = SEALED.iter().flat_map(|t| t.columns.iter().map(move |(column, _)| format!("{}.{column}", t.name)));
    let known: BTreeSet<String> = sealed.chain(HASHES.map(str::to_owned)).collect();
    assert_eq!(found, known, "a new column of bytes: add it to SEALED of the store, and to the guard of its table");
    // And each table that has encrypted columns has the guard.
    let guarded = place.texts("SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = 'encrypted_anew'").await;
    let guarded: BTreeSet<&str> = guarded.iter().map(String::as_str).collect();
    assert_eq!(guarded, SEALED.iter().map(|table| table.name).collect());
}

#[tokio::test]
async fn every_value_comes_under_the_new_key_says_what_it_said_and_nothing_else_changes() {
    let place = books().await;
    let before = (plain(&place.ctx.pool, &place.ctx.keys).await, rest(&place.ctx.pool).await);
    assert!(before.0.values().all(|values| !values.is_empty()), "a value in every column: {before:?}");
    let values: i64 = carried(&place.ctx).await.iter().map(|(_, _, values)| values).sum();

    let second = rotate(&place, Algorithm::Sm4Gcm);
    let keys = carried(&place.ctx).await;
    assert_eq!(keys, [("k1".to_owned(), KeyState::Older, values), (second.clone(), KeyState::Current, 0)]);
    let todo = rekey::rows_to_do(&place.ctx).await.unwrap();
    let mut heard = 0;
    let done = rekey::reencrypt(&place.ctx, |rows| heard += rows).await.unwrap();
    assert_eq!((done.rows, heard, done.left.len()), (todo, todo, 0));
    assert_eq!((plain(&place.ctx.pool, &place.ctx.keys).await, rest(&place.ctx.pool).await), before);
    let keys = carried(&place.ctx).await;
    assert_eq!(keys, [("k1".to_owned(), KeyState::Retired, 0), (second.clone(), KeyState::Current, values)]);

    assert_eq!(rekey::reencrypt(&place.ctx, |_| ()).await.unwrap().rows, 0, "again, there is nothing to do");
    assert_eq!(rekey::remove(&place.ctx, "k1").await.unwrap(), Removal::Removed);
    assert_eq!(carried(&place.ctx).await, [(second, KeyState::Current, values)]);
    assert_eq!(plain(&place.ctx.pool, &place.ctx.keys).await, before.0, "without the old key");
    // What is found by hash is found as before: a message that comes again is recognised.
    let again = place.take(&ready("P1", "1500.00")).await;
    assert_eq!((again.repeated, again.total()), (3, 3));
}

#[tokio::test]
async fn a_key_that_values_carry_or_that_is_current_is_not_removed() {
    let place = books().await;
    let refused = async |id: &str| rekey::remove(&place.ctx, id).await.unwrap_err().to_string();
    assert_eq!(refused("k1").await, "k1 is the current key: rotate first");
    assert_eq!(refused("k7").await, "there is no key k7 in the key file");
    rotate(&place, Algorithm::Aes256Gcm);
    let Removal::Carried(values) = rekey::remove(&place.ctx, "k1").await.unwrap() else { panic!("it is removed") };
    assert_eq!(values.len(), 9, "{values:?}");
    assert!(place.ctx.keys.look().keys().any(|(id, _)| id == "k1"), "it is still in the file");
}

#[tokio::test]
async fn a_worker_with_the_old_keys_in_memory_works_beside_one_with_the_new() {
    let place = Place::new().await;
    let fresh = |ctx: &Context| {
        let keys = Keys::load_or_make(&ctx.settings.keys_file, Algorithm::Aes256Gcm).unwrap();
        Context { keys: Arc::new(keys), ..place.other_worker() }
    };
    let old = fresh(&place.ctx);
    let second = rotate(&place, Algorithm::Sm4Gcm);
    let new = fresh(&place.ctx);
    assert_eq!((old.keys.current().key_id(), new.keys.current().key_id()), ("k1", second.as_str()));
    // The new one keeps what waits, and the old one has to open it when the enrolment comes; and the other way round.
    let amount = |payer: &str| deliveries(&[amount_set(payer, payer, "2026-04-02T00:00:00Z", "1500.00")]);
    intake::take(&old, &amount("P1")).await.unwrap();
    intake::take(&new, &amount("P2")).await.unwrap();
    intake::take(&new, &deliveries(&[enrolment("P1")])).await.unwrap();
    intake::take(&old, &deliveries(&[enrolment("P2")])).await.unwrap();
    assert_eq!(place.amounts().await, ["P1 1500.00 active", "P2 1500.00 active"]);
    assert_eq!(old.keys.current().key_id(), second, "it has heard of it now");
}

#[tokio::test]
async fn a_worker_whose_key_file_is_outdated_takes_nothing_until_it_has_the_new_one() {
    let place = books().await;
    let (outdated, its_file) = with_own_key_file(&place, "copy.toml");
    rotate(&place, Algorithm::Aes256Gcm);
    intake::take(&outdated, &deliveries(&[enrolment("P8")])).await.unwrap();
    rekey::reencrypt(&place.ctx, |_| ()).await.unwrap();
    let later = intake::take(&outdated, &deliveries(&[enrolment("P9")])).await.unwrap_err();
    assert!(matches!(&later, StageError::Later { what, .. } if what.contains("k1 is retired")), "{later}");
    assert_eq!(place.count("SELECT count(*) FROM messages WHERE payer_id = 'P9'").await, 0);
    std::fs::copy(&place.ctx.settings.keys_file, &its_file).unwrap();
    intake::take(&outdated, &deliveries(&[enrolment("P9")])).await.unwrap();
    assert_eq!(rekey::remove(&place.ctx, "k1").await.unwrap(), Removal::Removed);
    plain(&place.ctx.pool, &place.ctx.keys).await;
}

#[tokio::test]
async fn bytes_encrypted_before_the_key_was_retired_are_written_under_its_successor() {
    let place = books().await;
    let prepared = intake::prepare(&place.ctx, deliveries(&[enrolment("P9")]));
    rotate(&place, Algorithm::Sm4Gcm);
    rekey::reencrypt(&place.other_worker(), |_| ()).await.unwrap();
    intake::commit(&place.ctx, &prepared, intake::Line::default().turn()).await.unwrap();
    assert_eq!(rekey::remove(&place.ctx, "k1").await.unwrap(), Removal::Removed);
    let message = &plain(&place.ctx.pool, &place.ctx.keys).await["messages.raw"];
    assert!(message.contains(enrolment("P9").to_string().as_bytes()));
}

#[tokio::test]
async fn what_was_being_encrypted_when_the_key_was_retired_is_waited_for() {
    let place = books().await;
    let mut tx = place.ctx.begin().await.unwrap();
    let sealer = place.ctx.sealer(&mut tx).await.unwrap();
    let second = rotate(&place, Algorithm::Aes256Gcm);
    let ctx = place.other_worker();
    let reencrypting = tokio::spawn(async move { rekey::reencrypt(&ctx, |_| ()).await.unwrap() });
    let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while place.count(waits).await == 0 {
        assert!(!reencrypting.is_finished(), "it does not wait");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(sealer.key_id(), "k1");
    sqlx::query("INSERT INTO quarantine (received_at, origin, code, reason, position, raw, headers) VALUES (now(), '', '', '', '', $1, $1)")
        .bind(sealer.seal(Purpose::RawMessage, b"late"))
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    reencrypting.await.unwrap();
    let keys = carried(&place.ctx).await;
    assert_eq!((keys[0].1, keys[0].2, keys[1].0.as_str()), (KeyState::Retired, 0, second.as_str()));
}

#[tokio::test]
async fn rows_that_somebody_works_on_are_passed_over_and_come_afterwards() {
    let place = books().await;
    rotate(&place, Algorithm::Aes256Gcm);
    let mut tx = place.ctx.begin().await.unwrap();
    sqlx::query("SELECT FROM result_file_pieces FOR UPDATE").execute(&mut *tx).await.unwrap();
    sqlx::query("SELECT FROM enrolments WHERE payer_id = 'P1' FOR UPDATE").execute(&mut *tx).await.unwrap();
    let ctx = place.other_worker();
    let reencrypting = tokio::spawn(async move { rekey::reencrypt(&ctx, |_| ()).await.unwrap() });
    while place.count("SELECT count(*) FROM enrolments WHERE sealed_with(name) = 'k1'").await != 1 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    // Ours to write: nobody that we could wait for waits for us.
    sqlx::query("UPDATE enrolments SET category = 'x'").execute(&mut *tx).await.unwrap();
    assert!(!reencrypting.is_finished());
    tx.commit().await.unwrap();
    reencrypting.await.unwrap();
    let keys = carried(&place.ctx).await;
    assert_eq!((keys[0].1, keys[0].2), (KeyState::Retired, 0));
    assert_eq!(place.count("SELECT count(*) FROM enrolments WHERE category = 'x'").await, 2);
}

/// Tries a statement as whoever encrypts anew, or as anybody, and undoes it.
async fn tried(place: &Place, reencrypting: bool, sql: &str) -> String {
    let mut tx = place.ctx.pool.begin().await.unwrap();
    if reencrypting {
        sqlx::query("SET LOCAL pikou.reencrypting = 'on'").execute(&mut *tx).await.unwrap();
    }
    let tried = sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut *tx).await;
    tx.rollback().await.unwrap();
    match tried {
        Ok(done) => format!("{} rows", done.rows_affected()),
        Err(sqlx::Error::Database(error)) => error.constraint().unwrap_or(error.message()).to_owned(),
        Err(error) => panic!("{sql}: {error}"),
    }
}

#[tokio::test]
async fn evidence_changes_by_encrypting_it_anew_and_in_no_other_way() {
    let place = books().await;
    // The same length under another key: all that the database can see of a value.
    let anew = |column: &str| format!("{column} = overlay({column} PLACING '\\x6b39' FROM 3)");
    for (table, column) in [
        ("messages", "raw"),
        ("quarantine", "raw"),
        ("quarantine", "headers"),
        ("request_files", "content"),
        ("result_file_pieces", "content"),
    ] {
        let sql = format!("UPDATE {table} SET {}", anew(column));
        let guard = match table {
            "request_files" => "request_files_move_forward".to_owned(),
            _ => format!("UPDATE on {table} is not possible: its rows are evidence"),
        };
        assert_eq!(tried(&place, false, &sql).await, guard, "{sql}");
        let rows = place.count(match table {
            "messages" => "SELECT count(*) FROM messages",
            "quarantine" => "SELECT count(*) FROM quarantine",
            "request_files" => "SELECT count(*) FROM request_files",
            _ => "SELECT count(*) FROM result_file_pieces",
        });
        assert_eq!(tried(&place, true, &sql).await, format!("{} rows", rows.await), "{sql}");
    }
    // Every other column of every table, alone and beside what may change: as somebody who encrypts anew.
    let only = "only_the_encryption_changes";
    for table in &SEALED {
        let (sealed, _) = table.columns[0];
        let columns: Vec<(String, String)> = sqlx::query_as(
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute
             WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attidentity = ''",
        )
        .bind(table.name)
        .fetch_all(&place.ctx.pool)
        .await
        .unwrap();
        for (column, kind) in columns.iter().filter(|(name, _)| table.columns.iter().all(|(sealed, _)| name != sealed))
        {
            let other = match kind.as_str() {
                "text" => format!("{column} = COALESCE({column}, '') || 'x'"),
                "text[]" => format!("{column} = {column} || ARRAY['x']"),
                "bytea" => format!("{column} = {column} || '\\x00'"),
                "boolean" => format!("{column} = NOT {column}"),
                "date" => format!("{column} = {column} + 1"),
                "timestamp with time zone" => format!("{column} = COALESCE({column}, now()) + interval '1 second'"),
                _ => format!("{column} = COALESCE({column}, 0) + 1"),
            };
            for sql in [
                format!("UPDATE {} SET {other}", table.name),
                format!("UPDATE {} SET {other}, {}", table.name, anew(sealed)),
            ] {
                assert_eq!(tried(&place, true, &sql).await, only, "{sql}");
            }
        }
        for (column, _) in table.columns {
            for other in
                ["NULL", "'x'", &format!("{column} || '\\x00'"), &format!("overlay({column} PLACING '\\xff' FROM 20)")]
            {
                let sql = format!("UPDATE {} SET {column} = {other}", table.name);
                let refused = tried(&place, true, &sql).await;
                assert_eq!(refused, only, "{sql}");
            }
        }
    }
    // What else is guarded is guarded as before.
    for (sql, guard) in [
        ("DELETE FROM messages", "DELETE on messages is not possible: its rows are evidence"),
        ("DELETE FROM result_files", "DELETE on result_files is not possible: its rows are evidence"),
        ("UPDATE settlements SET amount = 1", "UPDATE on settlements is not possible: its rows are evidence"),
        ("UPDATE attempts SET amount = 1", "attempts_move_forward"),
    ] {
        assert_eq!(tried(&place, true, sql).await, guard);
    }
    rotate(&place, Algorithm::Aes256Gcm);
    rekey::reencrypt(&place.ctx, |_| ()).await.unwrap();
    let unretire = "DELETE FROM retired_keys";
    assert_eq!(tried(&place, false, unretire).await, "DELETE on retired_keys is not possible: its rows are evidence");
}

#[tokio::test]
async fn a_value_that_does_not_open_is_named_and_left_and_keeps_its_key() {
    let place = books().await;
    sqlx::query("UPDATE enrolments SET name = set_byte(name, 20, get_byte(name, 20) # 1) WHERE payer_id = 'P1'")
        .execute(&place.ctx.pool)
        .await
        .unwrap();
    rotate(&place, Algorithm::Aes256Gcm);
    let done = rekey::reencrypt(&place.ctx, |_| ()).await.unwrap();
    let why = "the value does not open: it was changed, or belongs to another column";
    assert_eq!(done.left, [format!("enrolments P1 resident_pension: {why}")]);
    let Removal::Carried(values) = rekey::remove(&place.ctx, "k1").await.unwrap() else { panic!("it is removed") };
    assert_eq!(values, BTreeMap::from([("enrolments.name".to_owned(), 1), ("enrolments.id_number".to_owned(), 1)]));
}

#[tokio::test]
async fn killed_in_the_middle_it_goes_on_where_it_was() {
    let pikou = Pikou::new(&[("PIKOU__LOG__LEVEL", "warn")]).await;
    let messages: String = (1..=700)
        .flat_map(|payer| ready(&format!("P{payer}"), "1500.00"))
        .map(|message| format!("{message}\n"))
        .collect();
    let file = pikou.write("messages.jsonl", messages.as_bytes());
    pikou.document(&["ingest", file.to_str().unwrap()], 0).await;
    pikou.document(&["keys", "rotate"], 0).await;
    let old = "SELECT (SELECT count(*) FROM messages WHERE sealed_with(raw) = 'k1')
                    + (SELECT count(*) FROM enrolments WHERE sealed_with(name) = 'k1' OR sealed_with(id_number) = 'k1')
                    + (SELECT count(*) FROM agreements WHERE sealed_with(account_no) = 'k1' OR sealed_with(account_name) = 'k1')";
    let (before, after) = ("rekey: before commit", "rekey: after commit");
    for (at, left) in [(before, 3500), (after, 2800), (after, 2100), (before, 2100), (after, 1600)] {
        let ended = pikou.run_with(&["keys", "reencrypt"], &[("PIKOU_DIE_AT", at)]).await;
        assert!(ended.was_killed(), "{}", ended.stderr);
        assert_eq!(pikou.count(old).await, left, "{at}");
    }
    let done = pikou.document(&["keys", "reencrypt"], 0).await;
    assert_eq!((&done["rows"], &done["left"], pikou.count(old).await), (&json!(1600), &json!([]), 0));
}

/// The real binary, two of it, with the real broker: nothing stops while keys change three times.
#[tokio::test]
async fn messages_are_taken_runs_sealed_and_results_applied_while_keys_change() {
    let bus = Bus::new(&amqp_url()).await;
    let pikou = bus.pikou().await;
    let workers = [pikou.serve(&[]), pikou.serve(&[])];
    let payers = |part: usize| (part * 40 + 1..=part * 40 + 40).map(|number| format!("P{number:03}"));
    let messages = |part: usize| payers(part).flat_map(|payer| ready(&payer, "1500.00")).collect::<Vec<Value>>();
    let mut bank = Bank::new(&pikou.data().join("gateways/bank/outbox"), &pikou.data().join("gateways/bank/inbox"), 7);
    let taken = "SELECT count(*) FROM messages";
    let applied = "SELECT count(*) FROM result_files WHERE state = 'applied'";
    let mut current = "k1".to_owned();
    bus.publish(&messages(0)).await;
    pikou.until(taken, 120).await;
    for (part, (date, algorithm)) in
        [("2026-04-15", "sm4-gcm"), ("2026-05-15", "aes-256-gcm"), ("2026-06-15", "sm4-gcm")].into_iter().enumerate()
    {
        let part = part + 1;
        let rotating = async {
            let mut command = pikou.command(&["--json", "keys", "rotate"]);
            let rotated = command.env("PIKOU__KEYS__ALGORITHM", algorithm).output().await.unwrap();
            let rotated: Value = serde_json::from_slice(&rotated.stdout).unwrap();
            assert_eq!(rotated["algorithm"], algorithm);
            rotated["current"].as_str().unwrap().to_owned()
        };
        let messages = messages(part);
        let run = ["run", SCHEDULE, "--date", date];
        let ((), next, _) = tokio::join!(bus.publish(&messages), rotating, pikou.document(&run, 0));
        assert_eq!(bank.answer_all(at("2026-04-16T10:15:00+08:00")).unwrap().len(), 1);
        let more = [amount_set("P001", &format!("more-{part}"), "2026-04-03T00:00:00Z", "1600.00")];
        let ((), done) = tokio::join!(bus.publish(&more), pikou.document(&["keys", "reencrypt"], 0));
        assert!(done["rows"].as_i64().unwrap() > 0 && done["left"] == json!([]), "{done}");
        let removed = pikou.document(&["keys", "remove", &current], 0).await;
        assert_eq!(removed["removed"], json!(true), "{removed}");
        current = next;
        pikou.until(taken, (part as i64 + 1) * 120 + part as i64).await;
        pikou.until(applied, part as i64).await;
    }
    pikou.until("SELECT count(*) FROM outbox WHERE published_at IS NULL", 0).await;
    for worker in workers {
        stop(&pikou, worker).await;
    }
    let keys = pikou.document(&["keys", "status"], 0).await;
    let keys = keys["keys"].as_array().unwrap();
    assert_eq!((keys.len(), &keys[0]["id"], &keys[0]["state"]), (1, &json!(current), &json!("current")));
    assert_eq!(keys[0]["algorithm"], json!("sm4-gcm"));
    assert_eq!(keys[0]["values"]["messages.raw"], json!(483));
    let file = Keys::load_or_make(&pikou.data().join("keys.toml"), Algorithm::Aes256Gcm).unwrap();
    plain(&pikou.pool, &file).await;
    assert_eq!(pikou.count("SELECT count(*) FROM quarantine").await, 0);
    let account = pikou.document(&["account"], 0).await;
    assert_eq!(account["balanced"], json!(true), "{account:#}");
    let log = std::fs::read_to_string(pikou.log()).unwrap();
    assert!(!log.contains("ERROR"), "{log}");
    bus.delete().await;
}

#[tokio::test]
async fn the_state_of_the_keys_is_printed_and_a_missing_one_is_a_failure() {
    let pikou = Pikou::new(&[("PIKOU__KEYS__ALGORITHM", "sm4-gcm")]).await;
    let file = pikou.write("messages.jsonl", format!("{}\n", enrolment("P1")).as_bytes());
    pikou.document(&["ingest", file.to_str().unwrap()], 0).await;
    let status = pikou.document(&["keys", "status"], 0).await;
    let values = json!({"agreements.account_name": 0, "agreements.account_no": 0, "enrolments.id_number": 1, "enrolments.name": 1,
        "messages.raw": 1, "quarantine.headers": 0, "quarantine.raw": 0, "request_files.content": 0, "result_file_pieces.content": 0});
    let key = json!({"id": "k1", "algorithm": "sm4-gcm", "state": "current", "values": values, "total": 3});
    assert_eq!(status, json!({ "keys": [key] }));
    let refused = pikou.run(&["keys", "remove", "k1"]).await;
    assert_eq!((refused.code(), refused.stderr.as_str()), (2, "pikou: k1 is the current key: rotate first\n"));
    let second = pikou.document(&["keys", "rotate"], 0).await;
    let carried = pikou.document(&["keys", "remove", "k1"], 1).await;
    assert_eq!(carried["carried"], json!({"enrolments.id_number": 1, "enrolments.name": 1, "messages.raw": 1}));
    key_file::remove(&pikou.data().join("keys.toml"), "k1").unwrap();
    let text = pikou.run(&["keys", "status"]).await;
    assert_eq!(text.code(), 1);
    let second = second["current"].as_str().unwrap();
    assert_eq!(
        text.stdout,
        format!(
            "k1 unknown missing: 3 values\n  enrolments.id_number: 1\n  enrolments.name: 1\n  messages.raw: 1\n\
             {second} sm4-gcm current: 0 values\n"
        )
    );
}
