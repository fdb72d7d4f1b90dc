//! The message log of one database makes the same facts in another one.

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use pikou::crypt::Purpose;
use pikou::stages::intake;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool, Row as _};

use crate::process::Pikou;
use crate::support::*;

/// A binary over an empty database, with the keys of a place.
async fn twin_of(place: &Place) -> Pikou {
    let keys = place.ctx.settings.keys_file.display().to_string();
    Pikou::new(&[("PIKOU__KEYS__FILE", &keys)]).await
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// One made-up message about one of a few payers. Senders' clocks are up to twenty days behind, so much of it is late.
fn made_up(dice: &mut Dice, number: usize, now: DateTime<Utc>) -> Value {
    let payer = format!("P{:02}", dice.below(30));
    let sent = time(now - Duration::hours(dice.below(480) as i64));
    let id = format!("m-{number}");
    let number_of = |dice: &mut Dice| format!("D{payer}-{}", dice.below(2));
    let order = format!("O{payer}-{}", dice.below(2));
    let mut made = match dice.below(14) {
        // Some payers are never enrolled, most of them late: what needs it waits, and some waits end.
        0 | 1 if payer.as_str() < "P22" => {
            let status = ["active", "active", "suspended", "ended"][dice.below(4)];
            let division = ["110101", "110105", "520102", "990000"][dice.below(4)];
            enrolment_with(
                &payer,
                &id,
                &sent,
                json!({"status": status, "division_code": division, "name": format!("测试{number}")}),
            )
        }
        2 => {
            let status = ["active", "active", "ended"][dice.below(3)];
            let fields = json!({"status": status, "agreement_no": format!("A{}", dice.below(3)), "account_no": format!("6222{number}")});
            agreement_with(&payer, &id, &sent, fields)
        }
        3 | 4 => amount_voided(&payer, &id, &sent),
        5 => {
            let fields = match dice.below(6) {
                2.. => json!({}),
                1 => json!({"kind": "special", "assessment_no": "S1"}),
                _ => json!({"period_from": "202601", "period_to": "202601"}),
            };
            declaration(&payer, &number_of(dice), fields)
        }
        6 => {
            let status = ["issued", "issued", "withdrawn"][dice.below(3)];
            assessment(&payer, "S1", &id, &sent, json!({ "status": status }))
        }
        7 => void_requested(&number_of(dice), &id),
        8 | 9 => {
            let mut items = vec![number_of(dice), number_of(dice)];
            items.dedup();
            let items: Vec<(&str, &str)> = items.iter().map(|number| (number.as_str(), "2000.00")).collect();
            payment_started(&order, &items, json!({}))
        }
        10 => {
            let outcome = ["succeeded", "succeeded", "failed", "unknown"][dice.below(4)];
            payment_reported(&order, &id, outcome, json!({"gateway_txn_no": format!("T{order}")}))
        }
        _ => {
            let amount = ["1000.00", "1500.00", "2000.00", "500.00", "99999.00"][dice.below(5)];
            let set = amount_set(&payer, &id, &sent, amount);
            if dice.below(12) == 0 { with_data(set, json!({"valid_year": 2027})) } else { set }
        }
    };
    made["id"] = json!(id);
    made["time"] = json!(sent);
    made
}

/// A month of messages in batches, some twice, with nonsense between, and waits that end now and then.
async fn a_month(place: &Place, seed: u64) {
    let mut dice = Dice(seed);
    let mut now = at("2026-04-10T08:00:00+08:00");
    let mut sent: Vec<Value> = Vec::new();
    while sent.len() < 500 {
        now += Duration::minutes(30 + dice.below(720) as i64);
        let ctx = place.at(&time(now));
        let mut batch: Vec<Value> = (0..1 + dice.below(25)).map(|n| made_up(&mut dice, sent.len() + n, now)).collect();
        sent.extend(batch.clone());
        if dice.below(3) == 0 {
            batch.push(sent[dice.below(sent.len())].clone());
        }
        let mut batch = deliveries(&batch);
        if dice.below(4) == 0 {
            batch.push(raw_delivery(b"nonsense"));
        }
        intake::take(&ctx, &batch).await.unwrap();
        if dice.below(5) == 0 {
            intake::end_waits(&ctx).await.unwrap();
        }
    }
}

/// Whole rows as JSON without the columns named; what is encrypted is opened.
async fn rows(pool: &PgPool, place: &Place, table: &str, without: &[&str], secret: &[(&str, Purpose)]) -> Vec<String> {
    let minus: String =
        without.iter().chain(secret.iter().map(|(column, _)| column)).map(|name| format!(" - '{name}'")).collect();
    let columns: String = secret.iter().map(|(column, _)| format!(", {column}")).collect();
    let sql = format!("SELECT (to_jsonb(t){minus})::text{columns} FROM {table} t");
    let found = sqlx::query(AssertSqlSafe(sql)).fetch_all(pool).await.unwrap();
    let mut rows: Vec<String> = found
        .iter()
        .map(|row| {
            let opened = secret.iter().enumerate().map(|(place_of, (_, purpose))| {
                place.ctx.keys.open_text(*purpose, row.get::<&[u8], _>(place_of + 1)).unwrap()
            });
            std::iter::once(row.get::<String, _>(0)).chain(opened).collect::<Vec<_>>().join(" ")
        })
        .collect();
    rows.sort();
    rows
}

/// Every fact, whole except for the sequences of events.
async fn facts(pool: &PgPool, place: &Place) -> Vec<(&'static str, Vec<String>)> {
    let names = [("name", Purpose::PersonName), ("id_number", Purpose::IdentityNumber)];
    let accounts = [("account_no", Purpose::AccountNumber), ("account_name", Purpose::AccountName)];
    let log = ["seq", "repeated", "wait_ended_seq"];
    vec![
        ("messages", rows(pool, place, "messages", &log, &[("raw", Purpose::RawMessage)]).await),
        ("enrolments", rows(pool, place, "enrolments", &[], &names).await),
        ("agreements", rows(pool, place, "agreements", &[], &accounts).await),
        ("amount_settings", rows(pool, place, "amount_settings", &["sequence"], &[]).await),
        ("amount_voids", rows(pool, place, "amount_voids", &[], &[]).await),
        ("assessments", rows(pool, place, "assessments", &[], &[]).await),
        ("declarations", rows(pool, place, "declarations", &["sequence"], &[]).await),
        ("online_orders", rows(pool, place, "online_orders", &["sequence"], &[]).await),
        ("attempts", rows(pool, place, "attempts", &["sequence", "declaration_sequence"], &[]).await),
        ("discrepancies", rows(pool, place, "discrepancies", &["discrepancy_id"], &[]).await),
        ("settlements", rows(pool, place, "settlements", &["sequence", "declaration_sequence"], &[]).await),
    ]
}

#[tokio::test]
async fn a_log_with_everything_in_it_makes_the_same_facts_in_an_empty_database() {
    for seed in 1..=3 {
        let place = Place::with(&[("PIKOU__INTAKE__BATCH_MAX", "20")]).await;
        a_month(&place, seed).await;
        let answers =
            place.texts("SELECT DISTINCT outcome || COALESCE(' ' || code, '') FROM messages ORDER BY 1").await;
        for wanted in [
            "accepted",
            "stale",
            "waiting",
            "refused not_enrolled",
            "refused nothing_to_void",
            "refused amount_out_of_range",
        ] {
            assert!(answers.iter().any(|answer| answer == wanted), "seed {seed} has no {wanted}: {answers:?}");
        }
        let ended = place.count("SELECT count(*) FROM messages WHERE wait_ended_seq IS NOT NULL").await;
        assert!(ended > 5, "only {ended} waits have ended");

        let twin = twin_of(&place).await;
        let done = twin.document(&["rebuild", "--from", &place.url], 0).await;
        let messages = place.count("SELECT count(*) FROM messages").await;
        assert_eq!((&done["messages"], &done["answered_otherwise"]), (&json!(messages), &json!(0)), "{done:#}");
        for (theirs, ours) in facts(&place.ctx.pool, &place).await.into_iter().zip(facts(&twin.pool, &place).await) {
            assert!(!theirs.1.is_empty() || theirs.0 == "discrepancies", "seed {seed}: no {}", theirs.0);
            assert_eq!(ours, theirs, "seed {seed}");
        }
        assert_eq!(twin.document(&["account"], 0).await["balanced"], json!(true));
    }
}

#[tokio::test]
async fn a_rebuild_tells_nobody_and_what_comes_after_it_is_told() {
    let place = Place::new().await;
    place.take(&ready("P1", "1500.00")).await;
    let told_there = place.told().await;
    let twin = twin_of(&place).await;
    twin.document(&["rebuild", "--from", &place.url], 0).await;
    let withheld = twin.count("SELECT sum(events)::bigint FROM outbox WHERE withheld").await;
    assert_eq!(withheld, told_there.len() as i64);
    let account = twin.document(&["account"], 0).await;
    assert_eq!(account["events"], json!({"outbox": 0, "published": 0}));

    // The book goes on where the other one stands: the same numbers, no second telling.
    let more = amount_set("P1", "later", "2026-04-05T00:00:00Z", "2000.00");
    twin.run_fed(&["ingest", "-"], more.to_string().as_bytes()).await;
    place.take(&[more]).await;
    let new: Vec<(String, String, i64)> = place.told().await.split_off(told_there.len());
    let heard: Vec<(String, String, i64)> = twin
        .events()
        .iter()
        .map(|event| {
            let kind = event["type"].as_str().unwrap().trim_start_matches("pikou.").trim_end_matches(".v1").to_owned();
            (kind, event["subject"].as_str().unwrap().to_owned(), event["sequence"].as_i64().unwrap())
        })
        .collect();
    assert_eq!(heard, new);
    // There were no runs, so this book may make one.
    assert_eq!(twin.document(&["run", SCHEDULE, "--date", "2026-04-15"], 0).await["attempts"], json!(1));
}

#[tokio::test]
async fn a_book_with_runs_is_rebuilt_without_them_and_then_makes_none() {
    let place = Place::new().await;
    for payer in ["P1", "P2"] {
        place.take(&ready(payer, "1500.00")).await;
    }
    let run_id = place.run().await;
    place.answer(run_id, &[("P2", "1001")]).await;
    // Refused there, because the year is paid; here nothing is known of that.
    place.take(&[amount_set("P1", "paid", "2026-04-20T00:00:00Z", "2000.00")]).await;
    let twin = twin_of(&place).await;
    let done = twin.document(&["rebuild", "--from", &place.url], 1).await;
    assert_eq!((&done["runs_not_rebuilt"], &done["answered_otherwise"]), (&json!(1), &json!(1)));
    assert_eq!(
        done["examples"],
        json!([{"source": "//test", "id": "paid", "there": "refused already_paid", "here": "accepted"}])
    );
    let run = twin.run(&["run", SCHEDULE, "--date", "2026-05-15"]).await;
    assert_eq!(run.code(), 1);
    assert!(run.stderr.contains("makes no runs"), "{}", run.stderr);
    assert_eq!(twin.count("SELECT count(*) FROM runs").await, 0);
}

#[tokio::test]
async fn only_an_empty_database_is_rebuilt_and_only_from_one_that_can_be_read() {
    let place = Place::new().await;
    place.take(&ready("P1", "1500.00")).await;
    let twin = twin_of(&place).await;
    let refused = async |from: &str, wanted: &str| {
        let ended = twin.run(&["rebuild", "--from", from]).await;
        assert_eq!((ended.code(), ended.stdout.as_str()), (2, ""), "{}", ended.stderr);
        assert!(ended.stderr.contains(wanted), "{}", ended.stderr);
    };
    refused("postgres://nobody:secret@127.0.0.1:1/none", "cannot read from --from").await;
    refused(&new_database().await, "none of pikou's").await;
    // Without the keys of the log nothing is begun.
    let stranger = Pikou::new(&[]).await;
    let ended = stranger.run(&["rebuild", "--from", &place.url]).await;
    assert!(ended.code() == 1 && ended.stderr.contains("encrypted"), "{}", ended.stderr);
    assert_eq!(stranger.count("SELECT count(*) FROM rebuilds").await, 0);
    // What is there stays as it is.
    twin.run_fed(&["ingest", "-"], b"nonsense").await;
    refused(&place.url, "a rebuild needs an empty database").await;
    assert_eq!(twin.count("SELECT count(*) FROM messages").await, 0);
}

#[tokio::test]
async fn while_a_rebuild_is_not_done_nobody_else_takes_messages_or_makes_runs() {
    let place = Place::new().await;
    place.take(&ready("P1", "1500.00")).await;
    let twin = twin_of(&place).await;
    let ended = twin.run_with(&["rebuild", "--from", &place.url], &[("PIKOU_DIE_AT", "intake: after commit")]).await;
    assert!(ended.was_killed(), "{}", ended.stderr);
    let more = twin.run_fed(&["ingest", "-"], enrolment("P2").to_string().as_bytes()).await;
    assert!(more.code() == 1 && more.stderr.contains("being rebuilt"), "{}", more.stderr);
    let run = twin.run(&["run", SCHEDULE, "--date", "2026-04-15"]).await;
    assert!(run.code() == 1 && run.stderr.contains("makes no runs"), "{}", run.stderr);
    let again = twin.run(&["rebuild", "--from", &place.url]).await;
    assert!(again.code() == 2 && again.stderr.contains("begun before"), "{}", again.stderr);
    assert_eq!(twin.texts("SELECT payer_id FROM enrolments").await, ["P1"]);
    assert_eq!(twin.events(), Vec::<Value>::new());
}
