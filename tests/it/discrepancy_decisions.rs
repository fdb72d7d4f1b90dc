//! Decisions on discrepancies besides what each does: once, by whom, opened again, in a race, killed half-way, and what
//! no statement may write.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::NaiveDate;
use pikou::contract::refusal::RefusalCode;
use pikou::domain::discrepancy::{Decision as D, DiscrepancyKind as K};
use pikou::stages::decider::Decider;
use pikou::stages::resolve::{self, NotResolved, Reopened, Resolved};
use pikou::worker::alarms::Alarms;
use serde_json::json;
use tokio::sync::Barrier;

use crate::discrepancies::*;
use crate::process::Pikou;
use crate::support::*;

fn second_day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 5, 15).unwrap()
}

/// P1 failed and was paid all the same; P2 paid.
async fn contradicted(settings: &[(&str, &str)]) -> (Place, i64) {
    let place = sent_with(settings).await;
    apply(&place, &[&[failed(1, "1001"), paid(2)], &[paid(1)]]).await;
    let id = first(&place, K::Contradiction).await;
    (place, id)
}

async fn reopen(place: &Place, id: i64) -> Reopened {
    let decider = Decider::new("Han Meimei", "the bank has looked again").unwrap();
    resolve::reopen(&place.ctx, id, &decider).await.unwrap()
}

#[tokio::test]
async fn the_same_decision_again_does_nothing_and_another_one_is_refused_until_it_is_reopened() {
    let (place, id) = contradicted(&[]).await;
    assert_eq!(decide(&place.ctx, id, D::AcceptFailure, None).await, format!("done [{id}]"));
    let told = place.told().await.len();
    let before = book(&place, told).await;
    assert_eq!(decide(&place.ctx, id, D::AcceptFailure, None).await, "repeated");
    assert_eq!(decide(&place.ctx, id, D::AcceptSuccess, None).await, "refused decided");
    assert_eq!(decide(&place.ctx, 999, D::AcceptSuccess, None).await, "refused unknown_discrepancy");
    assert_eq!(book(&place, told).await, before);

    assert_eq!(reopen(&place, id).await, Reopened::Done);
    assert_eq!(reopen(&place, id).await, Reopened::IsOpen);
    assert_eq!(reopen(&place, 999).await, Reopened::Unknown);
    assert_eq!(decide(&place.ctx, id, D::AcceptSuccess, None).await, format!("done [{id}]"));
    let told: Vec<String> =
        place.told_of(&id.to_string()).await.into_iter().filter(|t| t.starts_with("disc")).collect();
    assert_eq!(told, ["discrepancy.opened", "discrepancy.resolved", "discrepancy.reopened", "discrepancy.resolved"]);
    assert_eq!(place.attempts().await, ["P1 succeeded", "P2 succeeded"]);
    // What it booked is not undone by opening it again; another decision reverses it, and then there is no way back.
    assert_eq!(reopen(&place, id).await, Reopened::Done);
    assert_eq!(place.attempts().await, ["P1 succeeded", "P2 succeeded"]);
    assert_eq!(decide(&place.ctx, id, D::AcceptFailure, None).await, format!("done [{id}]"));
    assert_eq!(place.attempts().await, ["P1 reversed", "P2 succeeded"]);
    assert_eq!(reopen(&place, id).await, Reopened::Done);
    assert_eq!(decide(&place.ctx, id, D::AcceptSuccess, None).await, "refused reversed");
    assert_eq!(decide(&place.ctx, id, D::AcceptFailure, None).await, format!("done [{id}]"));
    let decisions = "SELECT what || ' by ' || decided_by FROM discrepancy_decisions ORDER BY decision_id";
    let [li, han] = ["by Li Lei", "by Han Meimei"];
    let wanted = [
        format!("accept_failure {li}"),
        format!("reopen {han}"),
        format!("accept_success {li}"),
        format!("reopen {han}"),
        format!("accept_failure {li}"),
        format!("reopen {han}"),
        format!("accept_failure {li}"),
    ];
    assert_eq!(place.texts(decisions).await, wanted);
    place.account().await;
}

#[tokio::test]
async fn a_reversed_contribution_is_collected_anew_and_paid_once_more() {
    let place = sent_with(&[]).await;
    apply(&place, &[&[paid(1), paid(2)], &[failed(1, "1001")]]).await;
    let id = first(&place, K::Contradiction).await;
    assert_eq!(place.run_on(second_day()).await, 2);
    assert_eq!(place.skips(2).await, ["P1 already_paid", "P2 already_paid"], "nobody has decided yet");
    assert_eq!(decide(&place.ctx, id, D::AcceptFailure, None).await, format!("done [{id}]"));

    let june = NaiveDate::from_ymd_opt(2026, 6, 15).unwrap();
    let run_id = place.run_on(june).await;
    assert_eq!(place.attempts_of(run_id).await, ["P1 1500.00 sent"]);
    assert_eq!(place.skips(run_id).await, ["P2 already_paid"]);
    place.answer(run_id, &[]).await;
    let declared = ["P1 D000000100100000001 1500.00 reversed", "P1 D000000300100000001 1500.00 paying"];
    assert_eq!(place.declarations().await[..2], declared);
    // What was reversed is neither voided nor paid any more.
    assert_eq!(place.take(&[void_requested("D000000100100000001", "late")]).await.refused, 1);
    let code = "SELECT code FROM messages WHERE id = 'late'";
    assert_eq!(place.texts(code).await, [RefusalCode::AlreadyReversed.as_str()]);
    assert_eq!(
        place.told_of("P1/resident_pension/2026").await,
        ["amount.set", "amount.fulfilled", "amount.fulfilled"],
        "the sequences of the year go on"
    );
    let account = place.account().await;
    assert_eq!((account.reversed.settlements, account.reversed.total.to_string()), (1, "1500.00".into()));
    // The bank repeats its rows of the first order: the money that went back is known, other money is not.
    let other = Row { txn_no: "T7".into(), ..paid(1) };
    place.reconcile("R8", &result_file("102_20260415_1_0001.txt", &[paid(1)])).await;
    place.reconcile("R9", &result_file("102_20260415_1_0001.txt", &[failed(1, "2001")])).await;
    place.reconcile("R10", &result_file("102_20260415_1_0001.txt", &[other])).await;
    let files = "SELECT applied || ' ' || repeated || ' ' || discrepancies FROM result_files ORDER BY result_file_id DESC LIMIT 3";
    assert_eq!(place.texts(files).await, ["0 0 1", "1 0 0", "0 1 0"]);
    assert_eq!(
        place.count("SELECT count(*) FROM discrepancies WHERE kind = 'contradiction' AND state = 'open'").await,
        1
    );
}

#[tokio::test]
async fn an_obligation_is_free_again_when_its_last_discrepancy_is_resolved_and_taken_back_when_one_is_reopened() {
    let (place, id) = contradicted(&[]).await;
    place.plan_on(second_day()).await;
    assert_eq!(place.skips(2).await, ["P1 attempt_in_flight", "P2 already_paid"]);
    let void = |id: &str| void_requested("D000000100100000001", id);
    place.take(&[void("v1")]).await;
    assert_eq!(decide(&place.ctx, id, D::AcceptFailure, None).await, format!("done [{id}]"));
    let june = NaiveDate::from_ymd_opt(2026, 6, 15).unwrap();
    let lease = place.plan_on(june).await;
    assert_eq!(place.attempts_of(3).await, ["P1 1500.00 planned"]);
    assert_eq!(reopen(&place, id).await, Reopened::Done);
    assert_eq!(place.attempts_of(3).await, ["P1 1500.00 withdrawn attempt_in_flight"]);
    place.seal(lease).await;
    assert_eq!(decide(&place.ctx, id, D::AcceptFailure, None).await, format!("done [{id}]"));
    place.take(&[void("v2")]).await;
    assert_eq!(place.answers().await[6..], ["v1 refused attempt_in_flight", "v2 accepted"]);
    // Money that came for it after all still finds its declaration, though it is void by now.
    assert_eq!(reopen(&place, id).await, Reopened::Done);
    assert_eq!(decide(&place.ctx, id, D::AcceptSuccess, None).await, format!("done [{id}]"));
    assert_eq!(place.attempts_of(1).await, ["P1 1500.00 succeeded", "P2 2000.00 succeeded"]);
    place.account().await;
}

#[tokio::test]
async fn what_another_order_holds_or_has_paid_is_not_paid_by_a_decision() {
    let (place, id) = contradicted(&[]).await;
    assert_eq!(decide(&place.ctx, id, D::AcceptFailure, None).await, format!("done [{id}]"));
    let run_id = place.run_on(second_day()).await;
    assert_eq!(reopen(&place, id).await, Reopened::Done);
    assert_eq!(decide(&place.ctx, id, D::AcceptSuccess, None).await, "refused held_by_another", "it is out");
    place.answer(run_id, &[]).await;
    assert_eq!(decide(&place.ctx, id, D::AcceptSuccess, None).await, "refused held_by_another", "it is paid");
    assert_eq!(decide(&place.ctx, id, D::KeepWaiting, None).await, "refused nothing_waits");

    let (place, id) = contradicted(&[]).await;
    assert_eq!(decide(&place.ctx, id, D::AcceptFailure, None).await, format!("done [{id}]"));
    place.take(&[void_requested("D000000100100000001", "v")]).await;
    place.take(&[declaration("P1", "S1", json!({"amount": "1500.00", "collect_by": "online"}))]).await;
    assert_eq!(reopen(&place, id).await, Reopened::Done);
    assert_eq!(decide(&place.ctx, id, D::AcceptSuccess, None).await, "refused declared_anew");
}

#[tokio::test]
async fn where_two_people_are_needed_they_are_two() {
    let (place, id) = contradicted(&[("PIKOU__RESULTS__TWO_PEOPLE", "true")]).await;
    let resolve = async |second: Option<&str>| {
        resolve::resolve(&place.ctx, id, &by(D::AcceptSuccess, None, second)).await.unwrap()
    };
    assert_eq!(resolve(None).await, Resolved::Refused(NotResolved::SecondPersonNeeded(D::AcceptSuccess)));
    assert_eq!(resolve(Some(" li lei")).await, Resolved::Refused(NotResolved::SamePerson(" li lei".into())));
    assert_eq!(resolve(Some("Han Meimei")).await, Resolved::Done(vec![id]));
    let kept = "SELECT decided_by || ' and ' || second_by FROM discrepancy_decisions";
    assert_eq!(place.texts(kept).await, ["Li Lei and Han Meimei"]);

    let (place, id) = contradicted(&[("PIKOU__RESULTS__TWO_PEOPLE", "[\"keep\"]")]).await;
    assert_eq!(decide(&place.ctx, id, D::AcceptSuccess, None).await, format!("done [{id}]"), "only what is named");
}

#[tokio::test]
async fn of_two_who_decide_at_once_one_decides() {
    let (mut won, mut rounds) = (BTreeSet::new(), 0);
    while won.len() < 2 && rounds < 40 {
        rounds += 1;
        let (place, id) = contradicted(&[]).await;
        let start = Arc::new(Barrier::new(2));
        let deciders = [D::AcceptSuccess, D::AcceptFailure].map(|decision| {
            let (ctx, start) = (place.other_worker(), start.clone());
            tokio::spawn(async move {
                start.wait().await;
                decide(&ctx, id, decision, None).await
            })
        });
        let [success, failure] = deciders;
        let outcomes = [success.await.unwrap(), failure.await.unwrap()];
        let done = format!("done [{id}]");
        let winner = outcomes.iter().position(|outcome| *outcome == done).expect("one has decided");
        assert_eq!(outcomes[1 - winner], "refused decided");
        won.insert(winner);
        let p1 = ["P1 succeeded", "P1 failed"][winner];
        assert_eq!(place.attempts().await, [p1, "P2 succeeded"]);
        place.account().await;
    }
    assert_eq!(won.len(), 2, "in {rounds} rounds");
}

#[tokio::test]
async fn a_result_and_a_run_at_the_same_time_see_the_decision_or_are_seen_by_it() {
    for round in 0..6 {
        let (place, id) = contradicted(&[]).await;
        let start = Arc::new(Barrier::new(3));
        let racer = |what: usize| {
            let (ctx, start) = (place.other_worker(), start.clone());
            async move {
                start.wait().await;
                match what {
                    0 => drop(decide(&ctx, id, D::AcceptSuccess, None).await),
                    1 => {
                        let bytes = result_file("102_20260415_1_0001.txt", &[failed(1, "1001")]);
                        let bank = ctx.settings.bank.bank("102").unwrap();
                        pikou::stages::reconcile::reconcile(&ctx, bank, "R3", bytes.as_slice()).await.unwrap();
                    }
                    _ => {
                        let run_id = pikou::stages::plan::fire(&ctx, SCHEDULE, second_day()).await.unwrap();
                        let lease = pikou::stages::lease::take(&ctx, run_id).await.unwrap().unwrap();
                        pikou::stages::plan::plan(&ctx, lease, |_| ()).await.unwrap();
                    }
                }
            }
        };
        let racers = [racer(0), racer(1), racer(2)].map(tokio::spawn);
        for racer in racers {
            racer.await.unwrap();
        }
        assert_eq!(place.attempts_of(1).await, ["P1 1500.00 succeeded", "P2 2000.00 succeeded"], "round {round}");
        assert_eq!(place.attempts_of(2).await, Vec::<String>::new(), "round {round}: paid, or not decided");
        place.account().await;
    }
}

#[tokio::test]
async fn no_statement_gets_round_a_decision() {
    let (place, id) = contradicted(&[]).await;
    let strange = Row { txn_no: "T9".into(), ..Row::paid("P9999", "1.00") };
    place.reconcile("R3", &result_file("102_20260415_1_0001.txt", &[strange])).await;
    assert_eq!(decide(&place.ctx, 2, D::Refund, None).await, "done [2]");
    let insert = |id: i64, kind: &str, what: &str, more: &str| {
        format!(
            "INSERT INTO discrepancy_decisions (discrepancy_id, kind, what, order_no, second_by, decided_by, reason, decided_at)
             VALUES ({id}, '{kind}', '{what}', {more}, 'Li Lei', 'why', now())"
        )
    };
    let none = "NULL, NULL";
    let update = |set: &str| format!("UPDATE discrepancies SET {set} WHERE discrepancy_id = {id}");
    let reversal = "INSERT INTO reversals (order_no, payer_id, item, declaration_no, decision_id, reversed_at, booked_at, sequence, declaration_sequence)
                    SELECT order_no, payer_id, item, declaration_no, 1, now(), now(), 9, 9 FROM settlements";
    let follow = "discrepancies_follow_decisions";
    let cases = [
        ("what is not for the kind", insert(id, "contradiction", "keep", none), "a_decision_fits_its_kind"),
        ("under another kind", insert(id, "double_payment", "keep", none), "discrepancies_are_decided_once"),
        ("reopening what is open", insert(id, "contradiction", "reopen", none), "discrepancies_are_decided_once"),
        ("deciding twice", insert(2, "unknown_order", "write_off", none), "discrepancies_are_decided_once"),
        ("attaching to nothing", insert(id, "unknown_order", "attach", none), "discrepancies_are_decided_once"),
        ("no order", insert(2, "unknown_order", "attach", none), "discrepancies_are_decided_once"),
        ("an order for nothing", insert(id, "contradiction", "accept_success", "'O', NULL"), "an_order_is_attached_to"),
        ("one person twice", insert(id, "contradiction", "accept_success", "NULL, ' LI lei '"), "two_different_people"),
        ("nobody", insert(id, "contradiction", "accept_success", "NULL, ' '"), "somebody_for_a_reason"),
        ("resolved by nobody", update("state = 'resolved'"), follow),
        ("resolved by a decision on another", update("state = 'resolved', decision_id = 1"), follow),
        ("another amount of theirs", update("amount_theirs = 1"), follow),
        ("an older sequence", update("sequence = 0"), follow),
        (
            "a failed attempt revived",
            "UPDATE attempts SET state = 'unknown' WHERE payer_id = 'P1'".into(),
            "attempts_move_forward",
        ),
        (
            "a payment taken back by nobody",
            "UPDATE attempts SET state = 'reversed' WHERE payer_id = 'P2'".into(),
            "attempts_move_forward",
        ),
        (
            "a declaration taken back by nobody",
            "UPDATE declarations SET state = 'reversed' WHERE payer_id = 'P2'".into(),
            "declarations_move_forward",
        ),
        (
            "a reversal that leaves what is paid",
            format!(
                "WITH r AS ({reversal} RETURNING 1) SELECT set_config('x.y', count(*)::text, true) FROM r; SET CONSTRAINTS ALL IMMEDIATE"
            ),
            "reversals_take_their_attempts_along",
        ),
        ("a reversal on no evidence", reversal.replace(", 1, now()", ", NULL, now()"), "reversed_on_evidence"),
        (
            "a reversal of nothing",
            reversal.replace("SELECT order_no", "SELECT 'X' || order_no"),
            "reverses_a_settlement",
        ),
        (
            "a decision changed",
            "UPDATE discrepancy_decisions SET reason = 'x'".into(),
            "UPDATE on discrepancy_decisions is not possible: its rows are evidence",
        ),
        (
            "a reversal forgotten",
            "DELETE FROM reversals".into(),
            "DELETE on reversals is not possible: its rows are evidence",
        ),
        ("control: a decision", insert(id, "contradiction", "accept_success", "NULL, 'Han'"), "nobody: 1 rows"),
    ];
    let mut found = Vec::new();
    for (what, sql, _) in &cases {
        let mut tx = place.ctx.pool.begin().await.unwrap();
        let mut answer = "nobody: 0 rows".to_owned();
        for part in sql.split("; ") {
            match sqlx::query(sqlx::AssertSqlSafe(part.to_owned())).execute(&mut *tx).await {
                Ok(done) => answer = format!("nobody: {} rows", done.rows_affected()),
                Err(sqlx::Error::Database(error)) => {
                    answer = error.constraint().map_or_else(|| error.message().to_owned(), str::to_owned);
                    break;
                }
                Err(error) => panic!("{sql}: {error}"),
            }
        }
        tx.rollback().await.unwrap();
        found.push(format!("{what}: {answer}"));
    }
    let wanted: Vec<String> = cases.iter().map(|(what, _, guard)| format!("{what}: {guard}")).collect();
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn a_day_is_warned_once_of_what_waits_too_long_gateway_by_gateway() {
    let (place, id) = contradicted(&[]).await;
    let mut alarms = Alarms::default();
    let of = async |alarms: &mut Alarms, ctx: &pikou::stages::Context| {
        let aged = alarms.look(ctx).await.unwrap();
        aged.iter().map(|aged| format!("{} {} {}", aged.gateway, aged.discrepancies, aged.total)).collect::<Vec<_>>()
    };
    assert_eq!(of(&mut alarms, &place.ctx).await, Vec::<String>::new(), "it is not old yet");
    let old = place.at("2026-04-18T09:00:00+08:00");
    assert_eq!(of(&mut alarms, &old).await, ["bank 1 1500.00"]);
    assert_eq!(of(&mut alarms, &old).await, Vec::<String>::new(), "once a day");
    let next = place.at("2026-04-19T09:00:00+08:00");
    assert_eq!(of(&mut alarms, &next).await, ["bank 1 1500.00"]);
    assert_eq!(decide(&place.ctx, id, D::AcceptSuccess, None).await, format!("done [{id}]"));
    assert_eq!(of(&mut alarms, &place.at("2026-04-20T09:00:00+08:00")).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_decision_that_dies_half_way_is_not_there_or_done() {
    let (place, id) = contradicted(&[]).await;
    let pikou = Pikou::on(place.url.clone(), &[("PIKOU__LOG__LEVEL", "warn")]).await;
    let id = id.to_string();
    let by = ["--by", "Li Lei", "--reason", "the bank says so"];
    let resolve: Vec<&str> =
        ["discrepancies", "resolve", &id, "--decision", "accept_success"].into_iter().chain(by).collect();
    let reopen: Vec<&str> = ["discrepancies", "reopen", &id].into_iter().chain(by).collect();
    let states = async || place.texts("SELECT state || ' ' || sequence FROM discrepancies").await;

    assert!(pikou.run_with(&resolve, &[("PIKOU_DIE_AT", "resolve: before commit")]).await.was_killed());
    assert_eq!(
        (states().await, place.attempts().await),
        (vec!["open 1".into()], vec!["P1 failed".into(), "P2 succeeded".into()])
    );
    assert!(pikou.run_with(&resolve, &[("PIKOU_DIE_AT", "resolve: resolved")]).await.was_killed());
    let again = pikou.document(&resolve, 0).await;
    assert_eq!((&again["outcome"], states().await), (&json!("repeated"), vec!["resolved 2".into()]));
    assert_eq!(place.attempts().await, ["P1 succeeded", "P2 succeeded"]);

    assert!(pikou.run_with(&reopen, &[("PIKOU_DIE_AT", "reopen: before commit")]).await.was_killed());
    assert_eq!(states().await, ["resolved 2"]);
    assert_eq!(pikou.document(&reopen, 0).await["outcome"], "done");
    assert_eq!(states().await, ["open 3"]);
}
