//! What is not understood: counted, kept, and decided on by people.

use std::sync::Arc;

use pikou::stages::decider::Decider;
use pikou::stages::intake::{self, Delivery, Taken};
use pikou::stages::quarantine::{self, Replayed};
use pikou::worker;
use serde_json::{Value, json};
use sqlx::Executor;
use tokio::sync::Barrier;

use crate::process::Pikou;
use crate::support::*;

const BY: [&str; 4] = ["--by", "Li Lei", "--reason", "ticket 7"];

fn poison(text: &str) -> Delivery {
    raw_delivery(text.as_bytes())
}

fn decider() -> Decider {
    Decider::new("Li Lei", "ticket 7").unwrap()
}

/// `id code state repeated replays` of every entry.
async fn entries(place: &Place) -> Vec<String> {
    let sql =
        "SELECT concat_ws(' ', quarantine_id, code, state, repeated, replays) FROM quarantine ORDER BY quarantine_id";
    place.texts(sql).await
}

/// `entry who why what outcome mended fault` of every decision.
async fn decisions(place: &Place) -> Vec<String> {
    let sql =
        "SELECT concat_ws(' ', quarantine_id, decided_by, reason, what, outcome, mended, fault_code, fault_position)
               FROM quarantine_decisions ORDER BY decision_id";
    place.texts(sql).await
}

#[tokio::test]
async fn good_messages_among_ten_thousand_poison_ones_are_all_taken_and_each_batch_puts_aside_in_one_statement() {
    const POISON: usize = 10_000;
    const BATCH: usize = 500;
    let place = Place::new().await;
    let counted = "CREATE TABLE statements (rows bigint);
        CREATE FUNCTION count_statement() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO statements SELECT count(*) FROM new_rows; RETURN NULL; END $$;
        CREATE TRIGGER counted AFTER INSERT ON quarantine REFERENCING NEW TABLE AS new_rows
            FOR EACH STATEMENT EXECUTE FUNCTION count_statement();";
    place.ctx.pool.execute(counted).await.unwrap();
    let mut dice = Dice(7);
    let mut flood: Vec<Delivery> = (0..POISON).map(|n| poison(&format!("{{\"poison\": {n}"))).collect();
    let good: Vec<Value> = (0..200).flat_map(|n| ready(&format!("P{n:03}"), "1500.00")).collect();
    flood.extend(deliveries(&good));
    dice.shuffle(&mut flood);
    let mut taken = Taken::default();
    for batch in flood.chunks(BATCH) {
        taken.add(intake::take(&place.ctx, batch).await.unwrap());
    }
    assert_eq!(taken.quarantined, POISON);
    assert_eq!(taken.total(), POISON + 600);
    assert_eq!(place.count("SELECT count(*) FROM messages WHERE outcome <> 'waiting'").await, 600);
    let batches = flood.len().div_ceil(BATCH) as i64;
    assert_eq!(place.count("SELECT count(*) FROM statements").await, batches);
    assert_eq!(place.count("SELECT sum(rows)::bigint FROM statements").await, POISON as i64);
    assert_eq!(place.count("SELECT count(DISTINCT digest) FROM quarantine").await, POISON as i64);
    place.account().await;
}

#[tokio::test]
async fn the_same_poison_again_is_counted_on_its_entry_and_told_once() {
    let place = Place::new().await;
    let with = |headers: &[(&str, &str)]| Delivery {
        headers: headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        origin: "elsewhere".into(),
        ..poison("nonsense")
    };
    let first = [poison("nonsense"), poison("other"), poison("nonsense"), with(&[])];
    assert_eq!(intake::take(&place.ctx, &first).await.unwrap().quarantined, 4);
    // Where it came from and what the broker notes on it do not count, what the sender wrote does.
    let second = [with(&[("x-delivery-count", "3")]), with(&[("tenant", "a")]), with(&[("tenant", "b")])];
    assert_eq!(intake::take(&place.ctx, &second).await.unwrap().quarantined, 3);
    let again = [with(&[("tenant", "b")]), poison("other")];
    assert_eq!(intake::take(&place.at("2026-04-16T09:00:00+08:00"), &again).await.unwrap().quarantined, 2);
    let wanted = ["1 not_json open 3 0", "2 not_json open 1 0", "3 not_json open 0 0", "4 not_json open 1 0"];
    assert_eq!(entries(&place).await, wanted);
    let last = place.texts("SELECT last_received_at::date::text FROM quarantine ORDER BY quarantine_id").await;
    assert_eq!(last, ["2026-04-15", "2026-04-16", "null", "2026-04-16"]);
    assert_eq!(place.account().await.messages.quarantined, 9);
    assert_eq!(place.data_of("message.quarantined").await.len(), 4);

    // What comes again after a decision is a new entry, and is told.
    quarantine::discard(&place.ctx, &[2], &decider()).await.unwrap();
    intake::take(&place.ctx, &[poison("other"), poison("other")]).await.unwrap();
    assert_eq!(entries(&place).await.last().unwrap(), "5 not_json open 1 0");
    assert_eq!(place.data_of("message.quarantined").await.len(), 5);
    place.account().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workers_that_put_the_same_poison_aside_at_once_make_one_entry_of_it() {
    const ROUNDS: u64 = 20;
    let place = Place::new().await;
    let together = Arc::new(Barrier::new(4));
    let workers: Vec<_> = (0..4)
        .map(|worker: u64| {
            let (ctx, together) = (place.other_worker(), together.clone());
            tokio::spawn(async move {
                for round in 0..ROUNDS {
                    // Half of it is new to everybody, half is known.
                    let name = |n: u64| format!("poison {}", round * 10 + n);
                    let mut batch: Vec<Delivery> = (0..20).map(|n| poison(&name(n))).collect();
                    Dice(worker * 100 + round).shuffle(&mut batch);
                    together.wait().await;
                    assert_eq!(intake::take(&ctx, &batch).await.unwrap().quarantined, 20);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    let found =
        "SELECT concat_ws(' ', code, 1 + repeated, count(*)) FROM quarantine GROUP BY code, repeated ORDER BY 1";
    assert_eq!(place.texts(found).await, ["not_json 4 20", "not_json 8 190"]);
    assert_eq!(place.account().await.messages.quarantined, 4 * 20 * ROUNDS as i64);
}

#[tokio::test]
async fn what_is_put_aside_commits_with_the_rest_of_its_batch_and_its_event() {
    let place = Place::new().await;
    let batch = [deliveries(&[enrolment("P1")]), vec![poison("nonsense"), poison("other")]].concat();
    let found = async || {
        let counts = "SELECT concat_ws(' ', (SELECT count(*) FROM messages), (SELECT count(*) FROM enrolments),
            (SELECT count(*) FROM quarantine), (SELECT COALESCE(sum(events), 0) FROM outbox))";
        place.texts(counts).await
    };
    // The last statement of every batch fails: nothing of it may stay.
    place.ctx.pool.execute("ALTER TABLE intake_batches ADD CONSTRAINT never CHECK (deliveries < 0)").await.unwrap();
    assert!(intake::take(&place.ctx, &batch).await.is_err());
    assert_eq!(found().await, ["0 0 0 0"]);
    place.ctx.pool.execute("ALTER TABLE intake_batches DROP CONSTRAINT never").await.unwrap();
    assert_eq!(intake::take(&place.ctx, &batch).await.unwrap().total(), 3);
    assert_eq!(found().await, ["1 1 2 2"]);
    place.account().await;
}

#[tokio::test]
async fn a_routing_key_with_what_no_text_may_hold_does_not_block_the_queue() {
    let place = Place::new().await;
    let odd = Delivery { origin: "inbox#\u{0}\u{1b}[2J".into(), ..poison("nonsense") };
    assert_eq!(intake::take(&place.ctx, &[odd]).await.unwrap().quarantined, 1);
    assert_eq!(place.texts("SELECT origin FROM quarantine").await, ["inbox#\u{fffd}\u{fffd}[2J"]);
}

#[tokio::test]
async fn a_mended_message_is_taken_as_if_it_had_come_so() {
    let place = Place::new().await;
    let good = enrolment("P1");
    let broken = good.to_string().replace("\"active\"", "\"activ\"");
    intake::take(&place.ctx, &[raw_delivery(broken.as_bytes())]).await.unwrap();
    let replay = async |mended: Option<&str>| {
        worker::quarantine::replay(&place.ctx, 1, mended.map(|text| text.as_bytes().to_vec()), &decider())
            .await
            .unwrap()
    };
    let Replayed::NotUnderstood(fault) = replay(None).await else { panic!("nothing was mended") };
    assert_eq!((fault.code.as_str(), fault.position.as_str()), ("wrong_field", "status"));
    let Replayed::NotUnderstood(fault) = replay(Some("{")).await else { panic!("mended badly") };
    assert_eq!(fault.code, "not_json");
    // No second entry, no second event, and the entry still says what was wrong at first.
    assert_eq!(entries(&place).await, ["1 wrong_field open 0 2"]);
    assert_eq!(replay(Some(&good.to_string())).await, Replayed::Understood("accepted"));
    assert_eq!(place.texts("SELECT payer_id || ' ' || status FROM enrolments").await, ["P1 active"]);
    assert_eq!(replay(Some(&good.to_string())).await, Replayed::Decided("replayed".into()));
    assert_eq!(entries(&place).await, ["1 wrong_field replayed 0 2"]);
    let wanted = [
        "1 Li Lei ticket 7 replay not_understood f wrong_field status",
        "1 Li Lei ticket 7 replay not_understood t not_json line 1 column 1",
        "1 Li Lei ticket 7 replay accepted t",
    ];
    assert_eq!(decisions(&place).await, wanted);
    // Each replay was a delivery of its own.
    let messages = place.account().await.messages;
    assert_eq!((messages.received, messages.accepted, messages.quarantined), (4, 1, 3));
    assert_eq!(place.data_of("message.quarantined").await.len(), 1);
}

#[tokio::test]
async fn a_replay_under_a_known_id_with_other_content_stays_where_it_is() {
    let place = Place::new().await;
    let first = amount_set("P1", "set", "2026-04-02T00:00:00Z", "1500.00");
    let other = amount_set("P1", "set", "2026-04-02T00:00:00Z", "1600.00");
    place.take(&[enrolment("P1"), first, other]).await;
    let replayed = worker::quarantine::replay(&place.ctx, 1, None, &decider()).await.unwrap();
    let Replayed::NotUnderstood(fault) = replayed else { panic!("{replayed:?}") };
    assert_eq!((fault.code.as_str(), fault.position.as_str()), ("conflict", "id"));
    // Also one that the database refuses.
    place.ctx.pool.execute("ALTER TABLE amount_settings ADD CHECK (amount <> 4321)").await.unwrap();
    let refused = amount_set("P1", "new", "2026-04-03T00:00:00Z", "4321.00");
    let mended = Some(refused.to_string().into_bytes());
    let Replayed::NotUnderstood(fault) = worker::quarantine::replay(&place.ctx, 1, mended, &decider()).await.unwrap()
    else {
        panic!("it cannot be stored")
    };
    assert_eq!(fault.code, "unstorable");
    assert_eq!(entries(&place).await, ["1 conflict open 0 2"]);
    place.account().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_replay_and_a_discard_at_once_one_decides() {
    let place = Place::new().await;
    let mut replayed = 0;
    for round in 1..=20_i64 {
        let broken = enrolment(&format!("P{round}")).to_string().replace("\"active\"", "\"activ\"");
        intake::take(&place.ctx, &[raw_delivery(broken.as_bytes())]).await.unwrap();
        let (one, other) = (place.other_worker(), place.other_worker());
        let mended = Some(enrolment(&format!("P{round}")).to_string().into_bytes());
        let (replay, discard) = tokio::join!(
            tokio::spawn(async move { worker::quarantine::replay(&one, round, mended, &decider()).await.unwrap() }),
            tokio::spawn(async move { quarantine::discard(&other, &[round], &decider()).await.unwrap() }),
        );
        let taken = place.count(&format!("SELECT count(*) FROM enrolments WHERE payer_id = 'P{round}'")).await;
        match (replay.unwrap(), discard.unwrap().as_slice()) {
            (Replayed::Understood("accepted"), [(id, state)]) => {
                assert_eq!((*id, state.as_str(), taken), (round, "replayed", 1));
                replayed += 1;
            }
            (Replayed::Decided(state), []) => assert_eq!((state.as_str(), taken), ("discarded", 0)),
            both => panic!("{both:?}"),
        }
    }
    assert_eq!(place.count("SELECT count(*) FROM quarantine_decisions").await, 20);
    assert_eq!(place.count("SELECT count(*) FROM quarantine WHERE state = 'replayed'").await, replayed);
}

#[tokio::test]
async fn what_was_put_aside_and_what_was_decided_stays_as_it_was() {
    let place = Place::new().await;
    intake::take(&place.ctx, &[poison("one"), poison("two"), poison("three")]).await.unwrap();
    worker::quarantine::replay(&place.ctx, 1, None, &decider()).await.unwrap();
    worker::quarantine::replay(&place.ctx, 2, Some(enrolment("P1").to_string().into_bytes()), &decider())
        .await
        .unwrap();
    quarantine::look(&place.ctx, 3, &decider()).await.unwrap();
    quarantine::discard(&place.ctx, &[3], &decider()).await.unwrap();
    let decide = |id: i64, what: &str, outcome: &str| {
        format!(
            "INSERT INTO quarantine_decisions (quarantine_id, decided_at, decided_by, reason, what, outcome)
             VALUES ({id}, now(), 'x', 'x', '{what}', '{outcome}')"
        )
    };
    let update = |set: &str| format!("UPDATE quarantine SET {set} WHERE quarantine_id = 1");
    let decided = |set: &str| format!("UPDATE quarantine SET {set} WHERE quarantine_id = 3");
    let evidence = |verb: &str, table: &str| format!("{verb} on {table} is not possible: its rows are evidence");
    let as_it_came = evidence("UPDATE", "quarantine");
    let discarding = "SELECT decision_id FROM quarantine_decisions WHERE quarantine_id = 3 AND what = 'discard'";
    let cases = [
        (update("code = 'not_an_event'"), as_it_came.as_str()),
        (update("reason = 'x'"), &as_it_came),
        (update("position = 'x'"), &as_it_came),
        (update("origin = 'x'"), &as_it_came),
        (update("received_at = now()"), &as_it_came),
        (update("digest = 'x'"), &as_it_came),
        (update("digest = NULL"), &as_it_came),
        (update("raw = 'x', headers = 'x'"), &as_it_came),
        (update("repeated = repeated - 1"), "quarantine_moves_forward"),
        (
            update("replays = 0, replay_code = NULL, replay_reason = NULL, replay_position = NULL"),
            "quarantine_moves_forward",
        ),
        (update("replay_code = NULL"), "a_failed_replay_says_why"),
        (update("state = 'discarded'"), "decided_when_it_says_so"),
        (update(&format!("state = 'discarded', decision_id = ({discarding})")), "decided_by_its_decision"),
        (
            update("state = 'replayed', decision_id = (SELECT min(decision_id) FROM quarantine_decisions)"),
            "decided_by_its_decision",
        ),
        (decided("state = 'open', decision_id = NULL"), "quarantine_moves_forward"),
        (decided("state = 'replayed'"), "quarantine_moves_forward"),
        (decided("repeated = repeated + 1"), "quarantine_moves_forward"),
        (decide(3, "discard", "discarded"), "an_entry_is_decided_once"),
        (decide(2, "discard", "discarded"), "an_entry_is_decided_once"),
        (decide(1, "discard", "accepted"), "an_outcome_fits_what_was_done"),
        (decide(1, "replay", "shown"), "an_outcome_fits_what_was_done"),
        (decide(1, "replay", "not_understood"), "what_is_not_understood_says_why"),
        (
            "UPDATE quarantine_decisions SET decided_by = 'somebody else'".into(),
            &evidence("UPDATE", "quarantine_decisions"),
        ),
        // Controls: one more that came, one more look.
        (update("repeated = repeated + 1"), "nobody: 1 rows"),
        (decide(3, "look", "shown"), "nobody: 1 rows"),
    ];
    let mut found = Vec::new();
    for (sql, _) in &cases {
        found.push(format!("{sql}: {}", place.refused_by(sql).await));
    }
    let wanted: Vec<String> = cases.iter().map(|(sql, guard)| format!("{sql}: {guard}")).collect();
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn bytes_that_are_not_those_that_were_put_aside_are_not_replayed() {
    let place = Place::new().await;
    intake::take(&place.ctx, &[poison("one"), poison("two")]).await.unwrap();
    // As if somebody had got round the guard.
    place.ctx.pool.execute("ALTER TABLE quarantine DISABLE TRIGGER bytes_as_they_came").await.unwrap();
    let swap =
        "UPDATE quarantine SET raw = (SELECT raw FROM quarantine WHERE quarantine_id = 2) WHERE quarantine_id = 1";
    place.ctx.pool.execute(swap).await.unwrap();
    let error = worker::quarantine::replay(&place.ctx, 1, None, &decider()).await.unwrap_err();
    assert!(error.to_string().contains("not those that were put aside"), "{error}");
}

/// A worker with some bad messages in its quarantine: 1 to 3 of an unknown type, 4 broken.
async fn some(pikou: &Pikou) -> Vec<u8> {
    let mut lines = String::new();
    for n in 1..=3 {
        lines += &format!(
            "{}\n",
            message("enrolment.doubled", &format!("e-{n}"), "2026-04-02T00:00:00Z", json!({"name": "王秘密"}))
        );
    }
    let broken =
        enrolment_with("P1", "e-P1", "2026-01-05T00:00:00Z", json!({"name": "王秘密", "status": "activ"})).to_string();
    lines += &format!("{broken}\n");
    pikou.run_fed(&["ingest", "-"], lines.as_bytes()).await;
    broken.into_bytes()
}

fn with_by<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [arguments, &BY[..]].concat()
}

#[tokio::test]
async fn lists_go_by_key_and_print_nothing_of_the_content() {
    let pikou = Pikou::new(&[]).await;
    some(&pikou).await;
    let ids = |list: &Value| -> Vec<i64> {
        list["entries"].as_array().unwrap().iter().map(|entry| entry["id"].as_i64().unwrap()).collect()
    };
    let first = pikou.document(&["messages", "list", "--limit", "2"], 0).await;
    assert_eq!((ids(&first), &first["next_after"]), (vec![1, 2], &json!(2)));
    let rest = pikou.document(&["messages", "list", "--limit", "2", "--after", "2"], 0).await;
    assert_eq!((ids(&rest), &rest["next_after"]), (vec![3, 4], &Value::Null));
    let mut entry = rest["entries"][1].clone();
    entry["received_at"].take();
    assert_eq!(
        entry,
        json!({"id": 4, "received_at": null, "origin": "stdin:4", "code": "wrong_field", "position": "status",
            "reason": entry["reason"], "state": "open", "times": 1, "last_received_at": null, "replays_not_understood": 0})
    );
    let unknown = pikou.document(&["messages", "list", "--code", "unknown_type"], 0).await;
    assert_eq!(ids(&unknown), [1, 2, 3]);
    assert_eq!(ids(&pikou.document(&["messages", "list", "--state", "discarded"], 0).await), Vec::<i64>::new());
    let text = pikou.run(&["messages", "list", "--state", "all"]).await;
    assert_eq!((text.code(), text.stdout.lines().count()), (0, 5), "{}", text.stdout);
    let show = pikou.run(&["messages", "show", "4"]).await;
    assert!(show.stdout.contains("wrong_field") && show.stdout.contains("came        once"), "{}", show.stdout);
    for said in [&text, &show] {
        assert!(!said.stdout.contains("秘密") && !said.stderr.contains("秘密"), "{}", said.stdout);
    }
}

#[tokio::test]
async fn the_bytes_are_shown_as_they_came_and_that_somebody_looked_is_kept() {
    let pikou = Pikou::new(&[]).await;
    let broken = some(&pikou).await;
    // Not without a name and a reason.
    for arguments in [&["messages", "show", "4", "--raw"][..], &["messages", "show", "4", "--raw", "--by", "Li Lei"]] {
        assert_eq!(pikou.run(arguments).await.code(), 2);
    }
    let empty = pikou.run(&["messages", "show", "4", "--raw", "--by", "Li Lei", "--reason", " "]).await;
    assert_eq!((empty.code(), empty.stdout.as_str()), (2, ""), "{}", empty.stderr);
    let raw = pikou.run(&with_by(&["messages", "show", "4", "--raw"])).await;
    assert_eq!((raw.code(), raw.stdout.as_bytes()), (0, &broken[..]), "{}", raw.stderr);
    let shown = pikou.document(&["messages", "show", "4"], 0).await;
    assert_eq!((&shown["size_bytes"], &shown["header_names"]), (&json!(broken.len()), &json!([])));
    let mut decision = shown["decisions"][0].clone();
    decision["decided_at"].take();
    assert_eq!(
        decision,
        json!({"decided_at": null, "by": "Li Lei", "reason": "ticket 7", "what": "look", "outcome": "shown",
            "mended": false, "fault": null})
    );
    assert_eq!(pikou.run(&["messages", "show", "99"]).await.code(), 2);
}

#[tokio::test]
async fn decisions_are_made_once_one_by_one_or_of_a_code() {
    let pikou = Pikou::new(&[]).await;
    let broken = some(&pikou).await;
    let still = pikou.document(&with_by(&["messages", "replay", "--code", "unknown_type"]), 3).await;
    assert_eq!((&still["replayed"], &still["not_understood"]), (&json!(0), &json!(3)));
    assert_eq!(
        still["entries"][0],
        json!({"id": 1, "state": "open", "code": "unknown_type", "position": "type", "reason": still["entries"][0]["reason"]})
    );
    let mended =
        pikou.write("mended.json", String::from_utf8(broken).unwrap().replace("activ\"", "active\"").as_bytes());
    let replay = with_by(&["messages", "replay", "4", "--file", mended.to_str().unwrap()]);
    let done = pikou.document(&replay, 0).await;
    assert_eq!((&done["replayed"], &done["entries"][0]["answer"]), (&json!(1), &json!("accepted")));
    let twice = pikou.document(&replay, 3).await;
    assert_eq!((&twice["already_decided"], &twice["entries"][0]["state"]), (&json!(1), &json!("replayed")));

    let one = pikou.document(&with_by(&["messages", "discard", "1", "1"]), 0).await;
    assert_eq!(one, json!({"discarded": 1, "already_decided": []}));
    let mixed = pikou.document(&with_by(&["messages", "discard", "1", "2", "4"]), 3).await;
    let before = json!([{"id": 1, "state": "discarded"}, {"id": 4, "state": "replayed"}]);
    assert_eq!(mixed, json!({"discarded": 1, "already_decided": before}));
    // Of a number that there is not, nothing is done at all.
    assert_eq!(pikou.run(&with_by(&["messages", "discard", "3", "99"])).await.code(), 2);
    let rest = pikou.document(&with_by(&["messages", "discard", "--code", "unknown_type"]), 0).await;
    assert_eq!(rest, json!({"discarded": 1, "already_decided": []}));
    let states = pikou.texts("SELECT quarantine_id || ' ' || state FROM quarantine ORDER BY 1").await;
    assert_eq!(states, ["1 discarded", "2 discarded", "3 discarded", "4 replayed"]);
    for arguments in [
        &["messages", "replay", "1"][..],
        &["messages", "replay", "1", "--by", "Li Lei"],
        &with_by(&["messages", "replay"]),
    ] {
        assert_eq!(pikou.run(arguments).await.code(), 2, "{arguments:?}");
    }
    let account = pikou.document(&["account"], 0).await;
    assert_eq!((&account["balanced"], &account["messages"]["quarantined"]), (&json!(true), &json!(7)));
}

#[tokio::test]
async fn a_replay_that_dies_at_any_point_is_done_again_and_counts_once() {
    let pikou = Pikou::new(&[]).await;
    some(&pikou).await;
    let good = enrolment_with("P1", "e-P1", "2026-01-05T00:00:00Z", json!({})).to_string();
    let mended = pikou.write("mended.json", good.as_bytes());
    let replay = with_by(&["--json", "messages", "replay", "4", "--file", mended.to_str().unwrap()]);
    for death in ["intake: before commit", "intake: after commit", "quarantine: before the decision"] {
        let ended = pikou.run_with(&replay, &[("PIKOU_DIE_AT", death)]).await;
        assert!(ended.was_killed(), "{death}: {}{}", ended.stdout, ended.stderr);
        assert_eq!(pikou.texts("SELECT state FROM quarantine WHERE quarantine_id = 4").await, ["open"], "{death}");
    }
    let done = pikou.document(&replay[1..], 0).await;
    assert_eq!(done["entries"], json!([{"id": 4, "state": "replayed", "answer": "repeated"}]));
    assert_eq!(pikou.texts("SELECT id || ' ' || outcome || ' ' || repeated FROM messages").await, ["e-P1 accepted 2"]);
    assert_eq!(pikou.document(&["account"], 0).await["balanced"], json!(true));
}
