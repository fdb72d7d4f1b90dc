//! What a person decides on request files: to hand the same bytes over again, or that the bank has them.

use pikou::crypt::hex;
use pikou::stages::decider::Decider;
use pikou::stages::deliver::{self, decided};
use pikou::stages::{StageError, lease};
use pikou::worker;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::process::Pikou;
use crate::support::*;

const NAME: &str = "102_20260415_1_0001.txt";
const INTERRUPTED: &str = "the hand-over was interrupted, and the bank may have taken the file";

fn person() -> Decider {
    Decider::new("Li Lei", "asked the bank").unwrap()
}

/// P1 and P2 in one file, in one of the states.
async fn file_that_is(state: &str) -> Place {
    let place = Place::new().await;
    place.take(&[ready("P1", "1500.00"), ready("P2", "1500.00")].concat()).await;
    let lease = place.plan().await;
    place.seal(lease).await;
    match state {
        "sealed" => {}
        "held" => {
            let sql = "UPDATE request_files SET state = 'delivering', delivering_at = now(), delivery_epoch = 1";
            sqlx::query(sql).execute(&place.ctx.pool).await.unwrap();
            place.deliver(lease).await;
        }
        "delivered" => place.deliver(lease).await,
        other => panic!("{other}"),
    }
    lease.release(&place.ctx).await.unwrap();
    place
}

/// `state held_reason` of the file, state of the run, and what was decided.
async fn book(place: &Place) -> Vec<String> {
    let file = "SELECT state || COALESCE(' ' || held_reason, '') FROM request_files";
    let run = "SELECT 'run ' || state FROM runs";
    let decided = "SELECT concat_ws(' ', what, state_then, decided_by, '-', reason) FROM request_file_decisions ORDER BY decision_id";
    [place.texts(file).await, place.texts(run).await, place.texts(decided).await].concat()
}

fn lying(place: &Place) -> Vec<String> {
    let paths = read_folder(&place.outbox("102"));
    paths.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

/// What the bank finds, with its SHA-256; it takes it away.
fn bank_takes(place: &Place) -> Vec<String> {
    let files = place.request_files("102");
    for path in read_folder(&place.outbox("102")) {
        std::fs::remove_file(path).unwrap();
    }
    files.iter().map(|(name, bytes)| format!("{name} {}", hex(&Sha256::digest(bytes)))).collect()
}

async fn sealed(place: &Place) -> Vec<String> {
    place.texts("SELECT file_name || ' ' || encode(sha256, 'hex') FROM request_files").await
}

async fn refused(done: Result<pikou::store::request_files::RequestFile, StageError>) -> String {
    match done {
        Err(StageError::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_file_that_was_held_goes_out_again_byte_for_byte_as_it_was_sealed() {
    let place = file_that_is("held").await;
    assert_eq!(book(&place).await, [&format!("delivering {INTERRUPTED}"), "run sealed"]);
    assert_eq!(lying(&place), [""; 0]);
    let file = worker::files::resend(&place.ctx, 1, &person()).await.unwrap();
    assert_eq!((file.state.as_str(), file.handed_over_at.is_some()), ("delivered", true));
    assert_eq!(lying(&place), [NAME.to_owned(), format!("{NAME}.ok")]);
    assert_eq!(bank_takes(&place), sealed(&place).await);
    assert_eq!(book(&place).await, ["delivered", "run sent", "resend delivering Li Lei - asked the bank"]);
    let told: Vec<String> = place.told().await.into_iter().map(|(kind, ..)| kind).collect();
    let count = |wanted: &str| told.iter().filter(|kind| *kind == wanted).count();
    assert_eq!((count("request_file.delivered"), count("deduction.sent"), count("run.sent")), (1, 2, 1));
    place.account().await;
}

#[tokio::test]
async fn a_delivered_file_goes_out_again_and_nothing_is_told_twice() {
    let place = file_that_is("delivered").await;
    let told = place.told().await;
    // Once after the bank took it, once while it still lies there.
    assert_eq!(bank_takes(&place), sealed(&place).await);
    for _ in 0..2 {
        worker::files::resend(&place.ctx, 1, &person()).await.unwrap();
        assert_eq!(lying(&place), [NAME.to_owned(), format!("{NAME}.ok")]);
    }
    assert_eq!(bank_takes(&place), sealed(&place).await);
    let decision = "resend delivered Li Lei - asked the bank";
    assert_eq!(book(&place).await, ["delivered", "run sent", decision, decision]);
    assert_eq!(place.told().await, told);
    place.account().await;
}

#[tokio::test]
async fn a_file_that_somebody_carried_counts_as_delivered_with_the_same_events() {
    for state in ["sealed", "held"] {
        let place = file_that_is(state).await;
        let file = worker::files::mark_sent(&place.ctx, 1, &person()).await.unwrap();
        assert_eq!((file.state.as_str(), file.handed_over_at), ("delivered", None), "{state}");
        let then = if state == "held" { "delivering" } else { state };
        assert_eq!(book(&place).await, ["delivered", "run sent", &format!("mark_sent {then} Li Lei - asked the bank")]);
        assert_eq!(lying(&place), [""; 0], "{state}: nothing is put into the folder");
        let by_hand: Vec<_> = place.told().await;
        let twin = file_that_is("delivered").await;
        assert_eq!(by_hand, twin.told().await, "{state}");
        let event = place.events().await.into_iter().find(|event| event["type"] == "pikou.request_file.delivered.v1");
        assert_eq!(event.unwrap()["causation"], "file_decision:1");
        place.account().await;
        // The bank's answer is taken as usual.
        assert_eq!(place.answer(1, &[("P2", "1001")]).await.as_str(), "applied");
        assert_eq!(place.attempts().await, ["P1 succeeded", "P2 failed"]);
    }
}

#[tokio::test]
async fn what_the_book_knows_better_is_refused_and_leaves_no_trace() {
    let resend = async |place: &Place| refused(worker::files::resend(&place.ctx, 1, &person()).await).await;
    let mark_sent = async |place: &Place| refused(worker::files::mark_sent(&place.ctx, 1, &person()).await).await;
    let place = file_that_is("sealed").await;
    assert_eq!(resend(&place).await, format!("{NAME} has not gone out yet, and will by itself"));
    // Its bytes lie in the folder: who knows whether the bank is about to take them?
    let bytes = decided::look(&place.ctx, 1, &person()).await.unwrap();
    std::fs::create_dir_all(place.outbox("102")).unwrap();
    std::fs::write(place.outbox("102").join(NAME), &bytes).unwrap();
    let lies = format!("{NAME} lies in its folder, where the bank may take it: take it away first");
    assert_eq!(mark_sent(&place).await, lies);
    assert_eq!(book(&place).await, ["sealed", "run sealed", "look sealed Li Lei - asked the bank"]);

    let place = file_that_is("delivered").await;
    assert_eq!(mark_sent(&place).await, format!("{NAME} is delivered already"));
    std::fs::write(place.outbox("102").join(NAME), b"not ours").unwrap();
    assert_eq!(resend(&place).await, format!("another file lies under the name {NAME}"));
    assert_eq!(std::fs::read(place.outbox("102").join(NAME)).unwrap(), b"not ours");
    assert_eq!(lying(&place), [NAME.to_owned(), format!("{NAME}.ok")], "no part is left");

    for (codes, what) in [(&[("P1", "1001"), ("P2", "1001")][..], 2), (&[("P2", "7777")], 2)] {
        let place = file_that_is("delivered").await;
        place.answer(1, codes).await;
        bank_takes(&place);
        let answered = format!("the bank has answered {what} orders of {NAME}, so it has the file");
        assert_eq!(resend(&place).await, answered);
        assert_eq!((lying(&place), place.count("SELECT count(*) FROM request_file_decisions").await), (vec![], 0));
    }

    let place = Place::new().await;
    assert_eq!(resend(&place).await, "there is no request file 1");
    place.take(&ready("P1", "1500.00")).await;
    place.take(&[agreement_with("P1", "rename", "2026-01-07T00:00:00Z", json!({"account_name": "张,三"}))]).await;
    place.run().await;
    assert_eq!(resend(&place).await, format!("{NAME} is empty: it has no bytes to be handed over"));
    assert_eq!(mark_sent(&place).await, format!("{NAME} is empty: it has no bytes that a bank could have"));
}

#[tokio::test]
async fn a_worker_at_the_run_is_waited_for_and_one_that_lost_it_hands_nothing_over() {
    let place = file_that_is("sealed").await;
    let other = place.other_worker();
    let theirs = lease::take(&other, 1).await.unwrap().unwrap();
    let deciding = tokio::spawn({
        let ctx = place.ctx.clone();
        async move { worker::files::mark_sent(&ctx, 1, &person()).await }
    });
    deliver::deliver(&other, theirs).await.unwrap();
    theirs.release(&other).await.unwrap();
    // It got the run when the worker was done with it, and saw what the worker did.
    assert_eq!(refused(deciding.await.unwrap()).await, format!("{NAME} is delivered already"));

    let place = file_that_is("held").await;
    let theirs = lease::take(&place.other_worker(), 1).await.unwrap().unwrap();
    place.expire_lease(1).await;
    worker::files::resend(&place.ctx, 1, &person()).await.unwrap();
    assert_eq!(bank_takes(&place), sealed(&place).await);
    let error = deliver::deliver(&place.other_worker(), theirs).await.unwrap_err();
    assert!(error.to_string().contains("another worker has taken over"), "{error}");
    assert_eq!(lying(&place), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_deciding_and_delivering_at_once_the_bank_gets_one_file() {
    for round in 0..20 {
        let place = file_that_is(if round % 2 == 0 { "sealed" } else { "held" }).await;
        let worker = tokio::spawn({
            let ctx = place.other_worker();
            async move {
                let lease = loop {
                    match lease::take(&ctx, 1).await.unwrap() {
                        Some(lease) => break lease,
                        None => tokio::task::yield_now().await,
                    }
                };
                let done = deliver::deliver(&ctx, lease).await;
                lease.release(&ctx).await.unwrap();
                done
            }
        });
        let person_decides = tokio::spawn({
            let ctx = place.other_worker();
            async move { worker::files::mark_sent(&ctx, 1, &person()).await }
        });
        // Again and again whoever is at it is taken for dead.
        while !worker.is_finished() || !person_decides.is_finished() {
            place.expire_lease(1).await;
        }
        let by_hand = person_decides.await.unwrap().is_ok();
        let _ = worker.await.unwrap();
        let in_folder = place.request_files("102").len();
        assert!(!(by_hand && in_folder > 0), "round {round}: by hand and in the folder");
        let lease = lease::take(&place.ctx, 1).await.unwrap().unwrap();
        place.deliver(lease).await;
        let held = place.count("SELECT count(*) FROM request_files WHERE held_reason IS NOT NULL").await;
        assert!(by_hand || place.request_files("102").len() == 1 || held == 1, "round {round}");
        assert!(lying(&place).iter().all(|name| !name.ends_with(".part")), "round {round}: {:?}", lying(&place));
        place.account().await;
    }
}

#[tokio::test]
async fn no_decision_is_changed_and_a_held_file_moves_only_by_one() {
    let place = file_that_is("held").await;
    decided::look(&place.ctx, 1, &person()).await.unwrap();
    for (sql, guard) in [
        ("UPDATE request_files SET held_reason = NULL", "a_held_file_waits_for_a_decision"),
        ("UPDATE request_files SET held_reason = NULL, decision_id = 1", "a_held_file_waits_for_a_decision"),
        ("UPDATE request_files SET batch_no = 9", "request_files_move_forward"),
        ("UPDATE request_files SET delivery_epoch = 0", "request_files_move_forward"),
        ("UPDATE request_files SET decision_id = 7", "rests_on_its_own_decision"),
        (
            "UPDATE request_file_decisions SET reason = 'better'",
            "UPDATE on request_file_decisions is not possible: its rows are evidence",
        ),
        (
            "DELETE FROM request_file_decisions",
            "DELETE on request_file_decisions is not possible: its rows are evidence",
        ),
        (
            "TRUNCATE request_file_decisions CASCADE",
            "TRUNCATE on request_file_decisions is not possible: its rows are evidence",
        ),
        (
            "INSERT INTO request_file_decisions (file_id, decided_at, decided_by, reason, what, state_then)
             VALUES (1, now(), '', 'r', 'resend', 'delivering')",
            "request_file_decisions_decided_by_check",
        ),
        (
            "INSERT INTO request_file_decisions (file_id, decided_at, decided_by, reason, what, state_then)
             VALUES (1, now(), 'me', 'r', 'mark_sent', 'delivered')",
            "a_decision_fits_its_file",
        ),
    ] {
        assert_eq!(place.refused_by(sql).await, guard, "{sql}");
    }
    let place = file_that_is("delivered").await;
    let sql = "UPDATE request_files SET delivered_at = delivered_at + interval '1 day'";
    assert_eq!(place.refused_by(sql).await, "request_files_move_forward");
}

#[tokio::test]
async fn a_resend_that_dies_after_the_decision_waits_for_a_person_again() {
    let pikou = Pikou::new(&[("PIKOU__RUN__LEASE_SECONDS", "5")]).await;
    let messages: String = ready("P1", "1500.00").iter().map(|message| format!("{message}\n")).collect();
    let file = pikou.write("messages.jsonl", messages.as_bytes());
    assert_eq!(pikou.run(&["ingest", file.to_str().unwrap()]).await.code(), 0);
    let run = ["run", SCHEDULE, "--date", "2026-04-15"];
    assert!(pikou.run_with(&run, &[("PIKOU_DIE_AT", "deliver: renamed")]).await.was_killed());
    let path = pikou.data().join("gateways/bank/outbox/102").join(NAME);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(pikou.run(&run).await.code(), 1, "held");
    let resend = ["files", "resend", "1", "--by", "Li Lei", "--reason", "lost"];
    assert!(pikou.run_with(&resend, &[("PIKOU_DIE_AT", "deliver: resend decided")]).await.was_killed());
    assert_eq!(pikou.run(&run).await.code(), 1, "held again: nobody knows what became of it");
    assert_eq!(read_folder(path.parent().unwrap()).len(), 0);
    let ended = pikou.run_with(
        &["files", "mark-sent", "1", "--by", "x", "--reason", "y"],
        &[("PIKOU_DIE_AT", "deliver: marked sent")],
    );
    assert!(ended.await.was_killed());
    assert_eq!(
        pikou.texts("SELECT what FROM request_file_decisions").await,
        ["resend"],
        "what did not commit did not happen"
    );
    assert_eq!(pikou.run(&resend).await.code(), 0);
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert_eq!(pikou.texts("SELECT state FROM runs").await, ["sent"]);
}

#[tokio::test]
async fn the_commands_list_show_and_decide() {
    let pikou = Pikou::new(&[]).await;
    // The command's output is text here, so the name is one that is the same in every encoding.
    let name = json!({"account_name": "Ouyang Ming"});
    let mut messages = ready("P1", "1500.00");
    messages.push(agreement_with("P1", "rename", "2026-01-07T00:00:00Z", name));
    let messages: String = messages.iter().map(|message| format!("{message}\n")).collect();
    let file = pikou.write("messages.jsonl", messages.as_bytes());
    assert_eq!(pikou.run(&["ingest", file.to_str().unwrap()]).await.code(), 0);
    assert_eq!(pikou.run(&["run", SCHEDULE, "--date", "2026-04-15"]).await.code(), 0);
    let listed = pikou.document(&["files", "list"], 0).await;
    let first = &listed["files"][0];
    assert_eq!((listed["files"].as_array().unwrap().len(), &listed["next_after"]), (1, &json!(null)));
    assert_eq!(
        (&first["file_id"], &first["state"], &first["items"], &first["total"], &first["gateway"]),
        (&json!(1), &json!("delivered"), &json!(1), &json!("1500.00"), &json!("bank"))
    );
    for (arguments, files) in [
        (["--run", "1"], 1),
        (["--run", "2"], 0),
        (["--state", "delivered"], 1),
        (["--state", "held"], 0),
        (["--after", "1"], 0),
    ] {
        let listed = pikou.document(&[&["files", "list"][..], &arguments].concat(), 0).await;
        assert_eq!(listed["files"].as_array().unwrap().len(), files, "{arguments:?}");
    }
    let by = ["--by", "Li Lei", "--reason", "asked for by the bank"];
    let bytes = pikou.run(&[&["files", "show", "1", "--content"][..], &by].concat()).await;
    let path = pikou.data().join("gateways/bank/outbox/102").join(NAME);
    assert_eq!(bytes.code(), 0, "{}", bytes.stderr);
    assert_eq!(bytes.stdout.as_bytes(), std::fs::read(&path).unwrap());
    let resent = pikou.document(&[&["files", "resend", "1"][..], &by].concat(), 0).await;
    assert_eq!((&resent["state"], &resent["events_published"]), (&json!("delivered"), &json!(0)));
    let shown = pikou.document(&["files", "show", "1"], 0).await;
    let decisions: Vec<(&str, &str)> = shown["decisions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|decision| (decision["what"].as_str().unwrap(), decision["by"].as_str().unwrap()))
        .collect();
    assert_eq!(decisions, [("look", "Li Lei"), ("resend", "Li Lei")]);
    let text = pikou.run(&["files", "show", "1"]).await;
    assert!(
        text.stdout.contains("because: asked for by the bank") && !text.stdout.contains("6222P1"),
        "{}",
        text.stdout
    );
    // The book knows better: 3. Nobody and nothing is no decision, and what is not there cannot be shown: 2.
    for (arguments, code) in [
        (&["files", "mark-sent", "1", "--by", "me", "--reason", "r"][..], 3),
        (&["files", "mark-sent", "9", "--by", "me", "--reason", "r"], 2),
        (&["files", "resend", "1", "--by", " ", "--reason", "r"], 2),
        (&["files", "resend", "1"], 2),
        (&["files", "show", "9"], 2),
        (&["files", "show", "1", "--content"], 2),
        (&["--json", "files", "show", "1", "--content", "--by", "me", "--reason", "r"], 2),
    ] {
        let ended = pikou.run(arguments).await;
        assert_eq!((ended.code(), ended.stdout.as_str()), (code, ""), "{arguments:?}: {}", ended.stderr);
    }
}
