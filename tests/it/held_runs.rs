//! Runs that wait for a person, are released by one or two, or are cancelled before anything has left the house.

use pikou::stages::cancel::{self, Cancellation, NotCancelled};
use pikou::stages::decider::Decider;
use pikou::stages::release::{self, NotReleased, Release};
use pikou::stages::{Context, lease, plan, seal};
use pikou::worker::runs::{Firings, advance, finish, run_now};
use serde_json::{Value, json};

use crate::process::Pikou;
use crate::support::*;

const HOLD: &str = "PIKOU__SCHEDULES__BEIJING_RESIDENT_PENSION__HOLD";

fn who(name: &str) -> Decider {
    Decider::new(name, "looked at it").unwrap()
}

fn may() -> chrono::NaiveDate {
    chrono::NaiveDate::from_ymd_opt(2026, 5, 15).unwrap()
}

async fn state(place: &Place, run_id: i64) -> String {
    place.texts(&format!("SELECT state FROM runs WHERE run_id = {run_id}")).await.remove(0)
}

/// A run of three payers that waits, as the first of its year.
async fn held(settings: &str) -> (Place, Context, i64) {
    let place = Place::new().await;
    for payer in ["P1", "P2", "P3"] {
        place.take(&ready(payer, "1500.00")).await;
    }
    let ctx = place.under(&[(HOLD, settings)]);
    let run_id = run_now(&ctx, SCHEDULE, day(), &mut |_, _| ()).await.unwrap();
    assert_eq!(state(&place, run_id).await, "held");
    (place, ctx, run_id)
}

#[tokio::test]
async fn a_run_that_differs_too_much_from_the_last_one_waits_with_reasons_and_figures() {
    let place = Place::new().await;
    place.take(&[ready("P1", "1500.00"), ready("P2", "1500.00")].concat()).await;
    let ctx = place.under(&[(HOLD, "{ count_percent = 40, sum_percent = 100 }")]);
    // The first run has none before it to differ from.
    let first = run_now(&ctx, SCHEDULE, day(), &mut |_, _| ()).await.unwrap();
    assert_eq!(state(&place, first).await, "sent");
    place.answer(first, &[("P1", "1001")]).await;
    let second = run_now(&ctx, SCHEDULE, may(), &mut |_, _| ()).await.unwrap();
    assert_eq!(state(&place, second).await, "held");
    let told = place.data_of("run.held").await;
    let wanted = json!({"run_id": 2, "schedule": SCHEDULE, "business_date": "2026-05-15", "slot": 1, "insurance_type": PENSION,
        "period_from": "202601", "period_to": "202612", "state": "held", "candidates": 2, "attempts": 1, "attempts_total": "1500.00",
        "skips": 1, "withdrawn": 0, "files": 0, "hold_reasons": ["count_deviates"], "last_run_id": 1, "last_attempts": 2,
        "last_attempts_total": "3000.00"});
    assert_eq!(told, [wanted]);
    // Nobody goes on with it by himself, whoever looks, and firing again finds it waiting.
    Firings::default().look(&ctx).await.unwrap();
    assert_eq!(run_now(&ctx, SCHEDULE, may(), &mut |_, _| ()).await.unwrap(), second);
    assert_eq!((state(&place, second).await.as_str(), place.request_files("102").len()), ("held", 1));
    // Released, it goes on where it stopped.
    let released = release::release(&ctx, second, &who("Li Lei")).await.unwrap();
    assert!(matches!(released, Release::Released(run) if run.state == "planned"));
    Firings::default().look(&ctx).await.unwrap();
    assert_eq!(state(&place, second).await, "sent");
    assert_eq!(place.told_of("2").await, ["run.held", "run.planned", "run.sealed", "run.sent"]);
    assert_eq!(place.attempts_of(second).await, ["P1 1500.00 sent"]);
    let kept = "SELECT concat_ws(' ', run_id, kind, decided_by, reason) FROM run_decisions";
    assert_eq!(place.texts(kept).await, ["2 release Li Lei looked at it"]);
    place.account().await;
}

#[tokio::test]
async fn where_two_people_are_needed_one_person_twice_is_not_two() {
    let (place, ctx, run_id) = held("{ first_of_year = true, two_people = true }").await;
    let release = |name: &'static str| {
        let ctx = ctx.clone();
        async move { release::release(&ctx, run_id, &who(name)).await.unwrap() }
    };
    assert!(matches!(release("Li Lei").await, Release::OneMore(run) if run.state == "held"));
    for name in ["Li Lei", "li lei", " LI LEI "] {
        let again = release(name).await;
        assert!(matches!(again, Release::Refused(NotReleased::SamePerson { .. })), "{name}: {again:?}");
    }
    assert_eq!(state(&place, run_id).await, "held");
    assert!(matches!(release("Han Meimei").await, Release::Released(run) if run.state == "planned"));
    let late = release("Lin Tao").await;
    assert!(matches!(late, Release::Refused(NotReleased::NotHeld { .. })), "{late:?}");
    assert_eq!(place.count("SELECT count(*) FROM run_decisions").await, 2);
    let unknown = release::release(&ctx, 77, &who("Lin Tao")).await.unwrap();
    assert!(matches!(unknown, Release::Refused(NotReleased::UnknownRun(77))), "{unknown:?}");
}

#[tokio::test]
async fn a_void_while_a_run_waits_is_in_time() {
    let (place, ctx, run_id) = held("{ first_of_year = true }").await;
    place.take(&[amount_voided("P2", "void", "2026-04-15T00:30:00Z")]).await;
    release::release(&ctx, run_id, &who("Li Lei")).await.unwrap();
    finish(&ctx, run_id, &mut |_, _| ()).await.unwrap();
    let wanted = ["P1 1500.00 sent", "P2 1500.00 withdrawn voided", "P3 1500.00 sent"];
    assert_eq!(place.attempts_of(run_id).await, wanted);
    place.account().await;
}

#[tokio::test]
async fn a_cancelled_run_leaves_every_declaration_payable_and_its_slot_taken() {
    let (place, ctx, run_id) = held("{ first_of_year = true }").await;
    place.take(&[amount_voided("P2", "void", "2026-04-15T00:30:00Z")]).await;
    assert!(matches!(cancel::decide(&ctx, run_id, &who("Li Lei")).await.unwrap(), Cancellation::Decided));
    // A worker carries it out.
    Firings::default().look(&ctx).await.unwrap();
    assert_eq!(state(&place, run_id).await, "cancelled");
    let wanted = ["P1 1500.00 withdrawn cancelled", "P2 1500.00 withdrawn voided", "P3 1500.00 withdrawn cancelled"];
    assert_eq!(place.attempts_of(run_id).await, wanted);
    let states = place.texts("SELECT payer_id || ' ' || state FROM declarations ORDER BY 1").await;
    assert_eq!(states, ["P1 payable", "P2 voided", "P3 payable"]);
    let told = place.data_of("run.cancelled").await;
    let told: Vec<&Value> =
        told.iter().flat_map(|data| [&data["state"], &data["attempts"], &data["withdrawn"]]).collect();
    assert_eq!(told, [&json!("cancelled"), &json!(3), &json!(3)]);
    assert_eq!(place.told_of("P000000100100000001").await, ["deduction.planned", "deduction.withdrawn"]);
    let again = ["declaration.accepted", "declaration.paying", "declaration.payable_again"];
    assert_eq!(place.told_of("D000000100100000001").await, again);
    let account = place.account().await;
    assert_eq!((account.withdrawals["cancelled"], account.attempts.unsent), (2, 0));
    // Firing again finds it; the next run collects.
    let plain = place.other_worker();
    assert_eq!(run_now(&plain, SCHEDULE, day(), &mut |_, _| ()).await.unwrap(), run_id);
    assert_eq!((state(&place, run_id).await.as_str(), place.request_files("102").len()), ("cancelled", 0));
    let next = place.run_on(may()).await;
    assert_eq!(place.attempts_of(next).await, ["P1 1500.00 sent", "P3 1500.00 sent"]);
    let twice = cancel::decide(&ctx, run_id, &who("Li Lei")).await.unwrap();
    assert!(matches!(twice, Cancellation::Refused(NotCancelled::Already(_))), "{twice:?}");
    let late = cancel::decide(&ctx, next, &who("Li Lei")).await.unwrap();
    assert!(matches!(late, Cancellation::Refused(NotCancelled::TooLate { .. })), "{late:?}");
}

/// The decision comes while a worker plans, or has planned and is about to seal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_decision_on_a_run_is_neither_planned_further_nor_sealed() {
    let place = Place::with(&[("PIKOU__RUN__RANGE_MAX", "1")]).await;
    place.take(&[ready("P1", "1500.00"), ready("P2", "1500.00")].concat()).await;
    let (run_id, lease) = place.lease().await;
    // Between two ranges.
    let mut decided = false;
    plan::plan(&place.ctx, lease, |_| {
        if !std::mem::replace(&mut decided, true) {
            let decide = async { cancel::decide(&place.ctx, run_id, &who("Li Lei")).await.unwrap() };
            let made = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(decide));
            assert!(matches!(made, Cancellation::Decided));
        }
    })
    .await
    .unwrap();
    assert_eq!(place.attempts_of(run_id).await, ["P1 1500.00 planned"]);
    seal::seal(&place.ctx, lease, |_| ()).await.unwrap();
    assert_eq!(state(&place, run_id).await, "planning");
    advance(&place.ctx, lease, &mut |_, _| ()).await.unwrap();
    assert_eq!(state(&place, run_id).await, "cancelled");
    assert_eq!(place.attempts_of(run_id).await, ["P1 1500.00 withdrawn cancelled"]);

    let planned = place.plan_on(may()).await;
    cancel::decide(&place.ctx, planned.run_id, &who("Li Lei")).await.unwrap();
    seal::seal(&place.ctx, planned, |_| ()).await.unwrap();
    assert_eq!(state(&place, planned.run_id).await, "planned");
    finish(&place.ctx, planned.run_id, &mut |_, _| ()).await.unwrap();
    assert_eq!((state(&place, planned.run_id).await.as_str(), place.request_files("102").len()), ("cancelled", 0));
    place.account().await;
}

#[tokio::test]
async fn who_has_lost_the_lease_cancels_nothing() {
    let (place, ctx, run_id) = held("{ first_of_year = true }").await;
    cancel::decide(&ctx, run_id, &who("Li Lei")).await.unwrap();
    let mine = lease::take(&ctx, run_id).await.unwrap().unwrap();
    place.expire_lease(run_id).await;
    lease::take(&place.other_worker(), run_id).await.unwrap().expect("it has run out");
    let error = cancel::cancel(&ctx, mine, |_| ()).await.unwrap_err();
    assert!(error.helps_later() && error.to_string().contains("another worker has taken over"), "{error}");
    assert_eq!(place.count("SELECT count(*) FROM attempts WHERE state = 'withdrawn'").await, 0);
}

#[tokio::test]
async fn no_statement_seals_or_releases_what_waits_or_is_cancelled() {
    let (place, ctx, run_id) = held("{ first_of_year = true, two_people = true }").await;
    let run = |set: &str| format!("UPDATE runs SET {set}");
    let file = "INSERT INTO request_files (run_id, lane, part, gateway, bank_code, file_name, first_order_no, last_order_no, state)
         SELECT run_id, lane, 1, gateway, bank_code, 'f', 'A', 'Z', 'open' FROM run_lanes WHERE lane = 1";
    let decision = |kind: &str, by: &str| {
        format!(
            "INSERT INTO run_decisions (run_id, kind, decided_by, reason, decided_at) VALUES ({run_id}, '{kind}', '{by}', 'r', now())"
        )
    };
    let cases = [
        ("sealing what is held", run("state = 'sealed', sealed_at = now()"), "runs_move_forward"),
        ("releasing without people", run("state = 'planned'"), "released_by_people"),
        ("fewer people", run("releases_needed = 1"), "runs_move_forward"),
        ("other reasons", run("hold_reasons = '{sum_deviates}'"), "runs_move_forward"),
        ("a reason that there is not", run("hold_reasons = '{because}'"), "runs_move_forward"),
        (
            "cancelled without a decision",
            run("state = 'cancelled', cancelled_at = now()"),
            "a_cancelled_run_leaves_no_attempt",
        ),
        ("a file of a held run", file.into(), "files_are_of_runs_that_go_on"),
        ("nobody's decision", decision("release", " "), "somebody_for_a_reason"),
        ("a decision of another kind", decision("pause", "x"), "run_decisions_kind_check"),
        ("control: a release", decision("release", "x"), "nobody: 1 rows"),
    ];
    let mut found = Vec::new();
    for (what, sql, _) in &cases {
        found.push(format!("{what}: {}", place.refused_by(sql).await));
    }
    let wanted: Vec<String> = cases.iter().map(|(what, _, guard)| format!("{what}: {guard}")).collect();
    assert_eq!(found, wanted);

    release::release(&ctx, run_id, &who("Li Lei")).await.unwrap();
    assert_eq!(place.refused_by(&run("state = 'planned'")).await, "released_by_people");
    assert_eq!(place.refused_by(&decision("release", " li LEI")).await, "one_release_a_person");
    cancel::decide(&ctx, run_id, &who("Li Lei")).await.unwrap();
    let cases = [
        ("another decision", decision("release", "x"), "runs_are_decided_on_in_time"),
        ("a second cancellation", decision("cancel", "x"), "runs_are_decided_on_in_time"),
        ("taking it back", run("cancellation = NULL"), "runs_move_forward"),
        ("a release as its decision", run("cancellation = 1"), "runs_move_forward"),
        ("a file of a run that is being cancelled", file.into(), "files_are_of_runs_that_go_on"),
        (
            "cancelled with attempts left",
            run("state = 'cancelled', cancelled_at = now()"),
            "a_cancelled_run_leaves_no_attempt",
        ),
        (
            "a decision changed",
            "UPDATE run_decisions SET reason = 'x'".into(),
            "UPDATE on run_decisions is not possible: its rows are evidence",
        ),
        (
            "a decision deleted",
            "DELETE FROM run_decisions".into(),
            "DELETE on run_decisions is not possible: its rows are evidence",
        ),
    ];
    let mut found = Vec::new();
    for (what, sql, _) in &cases {
        found.push(format!("{what}: {}", place.refused_by(sql).await));
    }
    let wanted: Vec<String> = cases.iter().map(|(what, _, guard)| format!("{what}: {guard}")).collect();
    assert_eq!(found, wanted);
    finish(&ctx, run_id, &mut |_, _| ()).await.unwrap();
    for (what, sql, guard) in [
        ("reviving it", run("state = 'planned', cancelled_at = NULL"), "runs_move_forward"),
        ("sealing it", run("sealed_at = now()"), "sealed_when_it_says_so"),
        ("a file of a cancelled run", file.to_owned(), "files_are_of_runs_that_go_on"),
    ] {
        assert_eq!(place.refused_by(&sql).await, guard, "{what}");
    }
}

#[tokio::test]
async fn a_worker_killed_while_it_cancels_is_gone_on_for() {
    let hold = [(HOLD, "{ first_of_year = true }"), ("PIKOU__RUN__LEASE_SECONDS", "5"), ("PIKOU__LOG__LEVEL", "warn")];
    let mut books = Vec::new();
    let places =
        ["", "cancel: before the decision", "cancel: decided", "cancel: before commit", "cancel: range withdrawn"];
    for at in places {
        let pikou = Pikou::new(&hold).await;
        let messages: String = ["P1", "P2"]
            .iter()
            .flat_map(|payer| ready(payer, "1500.00"))
            .map(|message| format!("{message}\n"))
            .collect();
        pikou.run_fed(&["ingest", "-"], messages.as_bytes()).await;
        pikou.document(&["run", SCHEDULE, "--date", "2026-04-15"], 4).await;
        let cancel = ["run", "cancel", "1", "--by", "Li Lei", "--reason", "wrong amounts"];
        if !at.is_empty() {
            let ended = pikou.run_with(&cancel, &[("PIKOU_DIE_AT", at)]).await;
            assert!(ended.was_killed(), "{at}: {}{}", ended.stdout, ended.stderr);
        }
        // Given again, or gone on with by whoever asks for the run.
        let decided = pikou.count("SELECT count(*) FROM run_decisions").await == 1;
        let ended = if decided {
            pikou.run(&["run", SCHEDULE, "--date", "2026-04-15"]).await
        } else {
            pikou.run(&cancel).await
        };
        assert_eq!(ended.code(), if decided { 5 } else { 0 }, "{at}: {}", ended.stderr);
        let mut book =
            pikou.texts("SELECT concat_ws(' ', order_no, state, withdrawal, sequence) FROM attempts ORDER BY 1").await;
        book.extend(
            pikou.texts("SELECT concat_ws(' ', declaration_no, state, sequence) FROM declarations ORDER BY 1").await,
        );
        book.extend(pikou.texts("SELECT concat_ws(' ', state, attempts, withdrawn, sequence) FROM runs").await);
        book.extend(pikou.texts("SELECT sum(events)::text FROM outbox").await);
        books.push(book);
    }
    assert_eq!(books[0].len(), 6, "{books:?}");
    for (at, book) in places.iter().zip(&books) {
        assert_eq!(book, &books[0], "{at}");
    }
}

#[tokio::test]
async fn a_worker_killed_while_it_fires_or_releases_is_gone_on_for() {
    let pikou = Pikou::new(&[(HOLD, "{ first_of_year = true }"), ("PIKOU__LOG__LEVEL", "warn")]).await;
    let fed: String = ready("P1", "1500.00").iter().map(|message| format!("{message}\n")).collect();
    pikou.run_fed(&["ingest", "-"], fed.as_bytes()).await;
    pikou.document(&["run", SCHEDULE, "--date", "2026-04-15"], 4).await;
    let release = ["run", "release", "1", "--by", "Li Lei", "--reason", "looked at it"];
    assert!(pikou.run_with(&release, &[("PIKOU_DIE_AT", "release: before commit")]).await.was_killed());
    assert_eq!(pikou.texts("SELECT state FROM runs").await, ["held"]);
    assert_eq!(pikou.run(&release).await.code(), 0);
    assert_eq!(pikou.texts("SELECT state FROM runs").await, ["planned"]);

    // A mark from the day before yesterday: the schedule of every day is late.
    let daily = [
        ("PIKOU__SCHEDULES__GUIZHOU_RESIDENT_PENSION__CRON", "[\"0 0 * * *\"]"),
        ("PIKOU__SCHEDULES__GUIZHOU_RESIDENT_PENSION__HOLIDAY_RULE", "as_is"),
        ("PIKOU__SCHEDULES__GUIZHOU_RESIDENT_PENSION__CUT_OFF", "23:59"),
        ("PIKOU__REGIONS__GUIZHOU__INSURANCE__RESIDENT_PENSION__WINDOW_TO", "12-31"),
        ("PIKOU__SCHEDULES__BEIJING_RESIDENT_PENSION__ENABLED", "false"),
        ("PIKOU__SCHEDULES__BEIJING_RESIDENT_MEDICAL__ENABLED", "false"),
        ("PIKOU__SCHEDULES__BEIJING_FLEX_PENSION__ENABLED", "false"),
        ("PIKOU__SCHEDULES__BEIJING_FLEX_MEDICAL__ENABLED", "false"),
        ("PIKOU__SCHEDULES__BEIJING_FLEX_UNEMPLOYMENT__ENABLED", "false"),
    ];
    sqlx::query(
        "INSERT INTO schedule_marks VALUES ('guizhou_resident_pension', now() - interval '2 days', current_date - 3)",
    )
    .execute(&pikou.pool)
    .await
    .unwrap();
    for at in ["fire: before commit", "fire: fired"] {
        let mut environment = daily.to_vec();
        environment.push(("PIKOU_DIE_AT", at));
        let mut worker = pikou.serve(&environment);
        let status = crate::process::end_of(&mut worker, &pikou.log()).await;
        assert!(!status.success(), "{at}");
        let fired = pikou.count("SELECT count(*) FROM runs WHERE schedule = 'guizhou_resident_pension'").await;
        assert_eq!(fired, i64::from(at == "fire: fired"), "{at}");
    }
    let worker = pikou.serve(&daily);
    pikou.until("SELECT count(*) FROM runs WHERE schedule = 'guizhou_resident_pension' AND state = 'closed'", 1).await;
    crate::process::stop(&pikou, worker).await;
}

#[tokio::test]
async fn commands_on_runs_have_their_documents_and_exit_codes() {
    let pikou = Pikou::new(&[(HOLD, "{ first_of_year = true, two_people = true }")]).await;
    let messages: String = ready("P1", "1500.00").iter().map(|message| format!("{message}\n")).collect();
    pikou.run_fed(&["ingest", "-"], messages.as_bytes()).await;
    let run = pikou.document(&["run", SCHEDULE, "--date", "2026-04-15"], 4).await;
    assert_eq!((&run["state"], &run["hold_reasons"]), (&json!("held"), &json!(["first_of_year"])));
    let release = |name: &'static str| ["run", "release", "1", "--by", name, "--reason", "looked at it"];
    let kept = pikou.document(&release("Li Lei"), 4).await;
    assert_eq!((&kept["released"], &kept["state"]), (&json!(false), &json!("held")));
    let same = pikou.document(&release("Li Lei"), 3).await;
    assert_eq!(same["refused"], "same_person");
    let released = pikou.document(&release("Han Meimei"), 0).await;
    assert_eq!((&released["released"], &released["state"]), (&json!(true), &json!("planned")));
    assert_eq!(pikou.document(&["run", SCHEDULE, "--date", "2026-04-15"], 0).await["state"], "sent");
    let show = pikou.document(&["run", "show", "1"], 0).await;
    let people: Vec<&Value> = show["decisions"].as_array().unwrap().iter().map(|decision| &decision["by"]).collect();
    assert_eq!((people, &show["run"]["state"]), (vec![&json!("Li Lei"), &json!("Han Meimei")], &json!("sent")));
    let late = pikou.document(&["run", "cancel", "1", "--by", "Li Lei", "--reason", "late"], 3).await;
    assert_eq!(late["refused"], "too_late");
    assert_eq!(
        pikou.document(&["run", "release", "9", "--by", "Li Lei", "--reason", "r"], 3).await["refused"],
        "unknown_run"
    );
    assert_eq!(pikou.document(&["run", "show", "9"], 3).await["refused"], "unknown_run");
    let other = pikou
        .run_with(
            &["run", "beijing_resident_pension", "--date", "2026-05-15", "--json"],
            &[("PIKOU__RUN__RANGE_MAX", "1")],
        )
        .await;
    assert_eq!(other.code(), 0, "{}", other.stderr);
    let list = pikou.document(&["run", "list"], 0).await;
    assert_eq!(
        list["runs"].as_array().unwrap().iter().map(|run| &run["run_id"]).collect::<Vec<_>>(),
        [&json!(2), &json!(1)]
    );
    assert_eq!(pikou.document(&["run", "list", "--state", "held"], 0).await["runs"], json!([]));
    for (arguments, said) in [
        (&["run", "release", "1", "--by", " ", "--reason", "r"][..], "--by"),
        (&["run", "cancel", "1", "--by", "Li Lei"], "--reason"),
        (&["run"], "SCHEDULE"),
    ] {
        let ended = pikou.run(arguments).await;
        assert_eq!((ended.code(), ended.stdout.as_str()), (2, ""), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(said), "{arguments:?}: {}", ended.stderr);
    }
    for arguments in [&["run", "list"][..], &["run", "show", "1"]] {
        let ended = pikou.run(arguments).await;
        assert!(ended.code() == 0 && ended.stdout.contains("beijing_resident_pension"), "{}", ended.stdout);
    }
}
