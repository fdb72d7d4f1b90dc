//! Online orders: one pays declarations of one payer, all or none, and what the channel reports is booked once.

use pikou::stages::intake::{self, Taken};
use serde_json::{Value, json};

use crate::support::*;

/// A payer with a declaration for the year and one for an assessed back payment.
fn declared(payer: &str) -> Vec<Value> {
    vec![
        enrolment(payer),
        amount_set(payer, &format!("set-{payer}"), "2026-04-02T00:00:00Z", "2000.00"),
        declaration(payer, &format!("N-{payer}"), json!({"collect_by": "online"})),
        assessment(payer, &format!("A-{payer}"), &format!("assess-{payer}"), "2026-03-01T00:00:00Z", json!({})),
        special(payer, &format!("S-{payer}"), &format!("A-{payer}")),
    ]
}

fn both(order_no: &str) -> Value {
    payment_started(order_no, &[("N-P1", "2000.00"), ("S-P1", "1200.00")], json!({}))
}

fn succeeded(order_no: &str, id: &str, txn: &str) -> Value {
    payment_reported(order_no, id, "succeeded", json!({"gateway_txn_no": txn, "paid_at": "2026-04-11T08:04:59+08:00"}))
}

async fn place() -> Place {
    let place = Place::new().await;
    let messages = declared("P1");
    assert_eq!(place.take(&messages).await.accepted, messages.len());
    place
}

/// `order item status` of every online attempt.
async fn attempts(place: &Place) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', order_no, item, declaration_no, amount, status) FROM attempt_status
               WHERE run_id IS NULL ORDER BY order_no, item";
    place.texts(sql).await
}

async fn open_discrepancies(place: &Place) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', kind, order_no, declaration_no, amount_theirs, gateway_txn_no) FROM discrepancies
               WHERE state = 'open' ORDER BY discrepancy_id";
    place.texts(sql).await
}

/// Types of all events but those of the setting up, in order, with their subjects and sequences.
async fn told_since(place: &Place, before: usize) -> Vec<String> {
    let told = place.told().await;
    told.into_iter().skip(before).map(|(kind, subject, sequence)| format!("{kind} {subject} {sequence}")).collect()
}

#[tokio::test]
async fn an_order_takes_its_declarations_and_a_report_pays_them_all() {
    let place = place().await;
    let before = place.told().await.len();
    assert_eq!(place.take(&[both("O1")]).await.accepted, 1);
    assert_eq!(attempts(&place).await, ["O1 1 N-P1 2000.00 sent", "O1 2 S-P1 1200.00 sent"]);
    assert_eq!(place.declarations().await, ["P1 N-P1 2000.00 paying", "P1 S-P1 1200.00 paying"]);
    place.take(&[succeeded("O1", "report", "T1")]).await;
    assert_eq!(attempts(&place).await, ["O1 1 N-P1 2000.00 succeeded", "O1 2 S-P1 1200.00 succeeded"]);
    let settled = "SELECT concat_ws(' ', order_no, item, declaration_no, kind, period_from, valid_year, amount, channel, gateway,
                          '[' || bank_code || ']', gateway_txn_no, to_char(settled_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'),
                          message_source, message_id)
                   FROM settlements ORDER BY item";
    let wanted = [
        "O1 1 N-P1 normal 202601 2026 2000.00 etax alipay [] T1 2026-04-11 00:04:59 //test report",
        "O1 2 S-P1 special 202401 2024 1200.00 etax alipay [] T1 2026-04-11 00:04:59 //test report",
    ];
    assert_eq!(place.texts(settled).await, wanted);
    let wanted = [
        "payment.started O1 1",
        "declaration.paying N-P1 2",
        "declaration.paying S-P1 2",
        "payment.reported O1 2",
        "payment.recorded O1 3",
        "declaration.paid N-P1 3",
        "amount.fulfilled P1/resident_pension/2026 2",
        "payment.recorded O1 4",
        "declaration.paid S-P1 3",
    ];
    assert_eq!(told_since(&place, before).await, wanted);
    let recorded = &place.data_of("payment.recorded").await[0];
    assert_eq!((recorded["confirmed"].clone(), recorded.get("bank_code")), (json!(false), None));
    let account = place.account().await;
    assert_eq!((account.orders.succeeded, account.orders.paid_total.to_string()), (1, "3200.00".into()));
}

#[tokio::test]
async fn a_year_that_was_paid_online_is_not_deducted() {
    let place = place().await;
    place.take(&[agreement("P1"), both("O1")]).await;
    let first = place.run().await;
    assert_eq!(place.skips(first).await, ["P1 attempt_in_flight"]);
    place.take(&[succeeded("O1", "report", "T1")]).await;
    let second = place.run_on(chrono::NaiveDate::from_ymd_opt(2026, 5, 15).unwrap()).await;
    assert_eq!(place.skips(second).await, ["P1 already_paid"]);
    assert_eq!(place.take(&[amount_voided("P1", "void", "2026-04-12T00:00:00Z")]).await.refused, 1);
}

#[tokio::test]
async fn an_order_that_cannot_take_all_takes_none() {
    let place = place().await;
    place.take(&[payment_started("O1", &[("S-P1", "1200.00")], json!({}))]).await;
    assert_eq!(place.take(&[both("O2")]).await.refused, 1);
    assert_eq!(attempts(&place).await, ["O1 1 S-P1 1200.00 sent"]);
    assert_eq!(place.declarations().await, ["P1 N-P1 2000.00 payable", "P1 S-P1 1200.00 paying"]);
    assert_eq!(place.answers().await.last().unwrap(), "start-O2 refused attempt_in_flight");
}

#[tokio::test]
async fn a_failure_frees_the_declarations_only_with_a_code_that_is_final() {
    let cases = [
        ("failed", json!({"code": "TRADE_HAS_CLOSE"}), "failed", "payable", ""),
        ("closed", json!({}), "failed", "payable", ""),
        ("failed", json!({"code": "BUYER_BALANCE_NOT_ENOUGH"}), "unknown", "paying", ""),
        ("failed", json!({"code": "SYSTEM_ERROR"}), "unknown", "paying", ""),
        ("failed", json!({}), "unknown", "paying", ""),
        ("unknown", json!({}), "unknown", "paying", ""),
        ("failed", json!({"code": "NEVER_SEEN"}), "unknown", "paying", "unknown_code O1 N-P1 2000.00"),
    ];
    for (outcome, fields, status, state, discrepancy) in cases {
        let place = place().await;
        place.take(&[payment_started("O1", &[("N-P1", "2000.00")], json!({}))]).await;
        place.take(&[payment_reported("O1", "report", outcome, fields.clone())]).await;
        let found = (attempts(&place).await, place.declarations().await[0].clone(), open_discrepancies(&place).await);
        let wanted = (
            vec![format!("O1 1 N-P1 2000.00 {status}")],
            format!("P1 N-P1 2000.00 {state}"),
            if discrepancy.is_empty() { vec![] } else { vec![discrepancy.to_owned()] },
        );
        assert_eq!(found, wanted, "{outcome} {fields}");
        place.account().await;
    }
}

#[tokio::test]
async fn after_a_failure_the_payer_may_start_again_and_is_told_what_to_do() {
    let place = place().await;
    place.take(&[both("O1"), payment_reported("O1", "report", "failed", json!({"code": "AGREEMENT_INVALID"}))]).await;
    assert_eq!(place.take(&[both("O2"), succeeded("O2", "report-2", "T2")]).await.accepted, 2);
    let wanted = [
        "O1 1 N-P1 2000.00 failed",
        "O1 2 S-P1 1200.00 failed",
        "O2 1 N-P1 2000.00 succeeded",
        "O2 2 S-P1 1200.00 succeeded",
    ];
    assert_eq!(attempts(&place).await, wanted);
    let failed = &place.data_of("payment.failed").await[0];
    let text = |name: &str| failed[name].as_str().unwrap_or_default().to_owned();
    let found = [text("code"), text("class"), text("reason"), text("next_step")];
    assert_eq!(found, ["AGREEMENT_INVALID", "final", "代扣协议已失效", "请重新签约"]);
    place.account().await;
}

#[tokio::test]
async fn a_whole_life_of_orders_in_one_batch_ends_like_in_many() {
    let messages = [
        both("O1"),
        payment_reported("O1", "report-1", "unknown", json!({})),
        payment_reported("O1", "report-2", "closed", json!({})),
        both("O2"),
        succeeded("O2", "report-3", "T2"),
        succeeded("O2", "report-4", "T2"),
    ];
    let (at_once, one_by_one) = (place().await, place().await);
    at_once.take(&messages).await;
    for message in &messages {
        one_by_one.take(std::slice::from_ref(message)).await;
    }
    assert_eq!(attempts(&at_once).await, attempts(&one_by_one).await);
    assert_eq!(at_once.declarations().await, one_by_one.declarations().await);
    assert_eq!(at_once.told().await, one_by_one.told().await);
    assert_eq!(at_once.count("SELECT count(*) FROM settlements").await, 2);
    at_once.account().await;
}

#[tokio::test]
async fn what_contradicts_the_book_waits_for_a_person_and_is_never_guessed() {
    let place = place().await;
    let one = |order_no: &str| payment_started(order_no, &[("N-P1", "2000.00")], json!({}));
    // Failed, then paid all the same: the declaration is locked for everybody until somebody has decided.
    place.take(&[one("O1"), payment_reported("O1", "r1", "closed", json!({})), succeeded("O1", "r2", "T1")]).await;
    assert_eq!(open_discrepancies(&place).await, ["contradiction O1 N-P1 2000.00 T1"]);
    assert_eq!(place.take(&[one("O2")]).await.refused, 1);
    assert_eq!(place.take(&[void_requested("N-P1", "void")]).await.refused, 1);
    place.take(&[agreement("P1")]).await;
    let run_id = place.run().await;
    assert_eq!(place.skips(run_id).await, ["P1 attempt_in_flight"]);
    // A refused order that is paid all the same: its money is recognised.
    place.take(&[succeeded("O2", "r3", "T2")]).await;
    // The same again, as another message.
    place.take(&[succeeded("O1", "r4", "T1"), succeeded("O2", "r5", "T2")]).await;
    let wanted = ["contradiction O1 N-P1 2000.00 T1", "double_payment O2 2000.00 T2"];
    assert_eq!(open_discrepancies(&place).await, wanted);
    assert_eq!(place.data_of("discrepancy.opened").await.len(), 2);
    assert_eq!(place.count("SELECT count(*) FROM settlements").await, 0);
    place.account().await;
}

#[tokio::test]
async fn a_paid_order_stays_paid_whatever_is_reported_later() {
    let place = place().await;
    place.take(&[both("O1"), succeeded("O1", "r1", "T1")]).await;
    place
        .take(&[
            payment_reported("O1", "r2", "failed", json!({"code": "TRADE_HAS_CLOSE"})),
            payment_reported("O1", "r3", "unknown", json!({})),
            succeeded("O1", "r4", "T-other"),
        ])
        .await;
    assert_eq!(attempts(&place).await, ["O1 1 N-P1 2000.00 succeeded", "O1 2 S-P1 1200.00 succeeded"]);
    let wanted = [
        "contradiction O1 N-P1 2000.00",
        "contradiction O1 S-P1 1200.00",
        "double_payment O1 N-P1 2000.00 T-other",
        "double_payment O1 S-P1 1200.00 T-other",
    ];
    assert_eq!(open_discrepancies(&place).await, wanted);
}

#[tokio::test]
async fn one_transaction_of_a_gateway_pays_one_order() {
    let place = place().await;
    let other = declared("P2");
    place.take(&other).await;
    let second = payment_started("O2", &[("N-P2", "2000.00")], json!({}));
    place.take(&[both("O1"), second, succeeded("O1", "r1", "T1")]).await;
    assert_eq!(place.take(&[succeeded("O2", "r2", "T1")]).await.accepted, 1);
    assert_eq!(open_discrepancies(&place).await, ["contradiction O2 N-P2 2000.00 T1"]);
    assert_eq!(attempts(&place).await.last().unwrap(), "O2 1 N-P2 2000.00 unknown");
    place.account().await;
}

#[tokio::test]
async fn what_comes_before_what_it_needs_waits_for_it_through_every_link() {
    let place = Place::new().await;
    // Report before start, start before declaration, declaration before assessment and enrolment.
    let first = [succeeded("O1", "report", "T1"), both("O1"), special("P1", "S-P1", "A-P1")];
    assert_eq!(place.take(&first).await, Taken { waiting: 3, ..Taken::default() });
    assert_eq!(place.take(&[enrolment("P1")]).await.accepted, 1);
    assert_eq!(place.take(&[declaration("P1", "N-P1", json!({}))]).await.accepted, 1);
    let waits = place.texts("SELECT id || ' ' || wait_for FROM messages WHERE outcome = 'waiting' ORDER BY seq").await;
    assert_eq!(waits, ["report order/O1", "start-O1 declaration/S-P1", "declare-S-P1 assessment/P1/A-P1"]);
    place.take(&[assessment("P1", "A-P1", "assess", "2026-03-01T00:00:00Z", json!({}))]).await;
    assert_eq!(attempts(&place).await, ["O1 1 N-P1 2000.00 succeeded", "O1 2 S-P1 1200.00 succeeded"]);
    assert_eq!(place.count("SELECT count(*) FROM messages WHERE outcome <> 'accepted'").await, 0);
    place.account().await;
}

#[tokio::test]
async fn when_a_wait_ends_what_waited_for_it_is_answered_too_and_its_money_is_recognised() {
    let place = Place::new().await;
    place.take(&[enrolment("P1"), special("P1", "S-P1", "A-P1"), declaration("P1", "N-P1", json!({}))]).await;
    place.take(&[both("O1")]).await;
    let later = place.at("2026-04-16T09:00:00+08:00");
    intake::take(&later, &deliveries(&[both("O2"), succeeded("O1", "report", "T1")])).await.unwrap();
    assert_eq!(intake::end_waits(&place.at("2026-04-18T09:00:00+08:00")).await.unwrap(), 2);
    let wanted = [
        "enrol-P1 accepted",
        "declare-S-P1 refused assessment_required",
        "declare-N-P1 accepted",
        "start-O1 refused unknown_declaration",
        "start-O2 refused unknown_declaration",
        "report accepted",
    ];
    assert_eq!(place.answers().await, wanted);
    assert_eq!(open_discrepancies(&place).await, ["unknown_order O1 3200.00 T1"]);
    let causes: Vec<_> = place.events().await.iter().map(|event| event["causation"].clone()).collect();
    assert!(causes.contains(&json!("time")), "{causes:?}");
    place.account().await;
}

#[tokio::test]
async fn an_assessment_that_is_withdrawn_or_changed_voids_what_is_not_being_paid() {
    let place = place().await;
    let other = declared("P2");
    place.take(&other).await;
    place.take(&[payment_started("O2", &[("S-P2", "1200.00")], json!({}))]).await;
    let withdrawn = json!({"status": "withdrawn"});
    place
        .take(&[
            assessment("P1", "A-P1", "withdraw-1", "2026-04-09T00:00:00Z", withdrawn.clone()),
            assessment("P2", "A-P2", "withdraw-2", "2026-04-09T00:00:00Z", withdrawn),
            assessment("P1", "A-P1", "older", "2026-03-02T00:00:00Z", json!({})),
        ])
        .await;
    let wanted =
        ["P1 N-P1 2000.00 payable", "P1 S-P1 1200.00 voided", "P2 N-P2 2000.00 payable", "P2 S-P2 1200.00 paying"];
    assert_eq!(place.declarations().await, wanted);
    assert_eq!(place.answers().await.last().unwrap(), "older stale");
    assert_eq!(place.data_of("declaration.voided").await[0]["reason"], "assessment_withdrawn");
}

#[tokio::test]
async fn a_declaration_is_voided_while_it_waits_and_its_enrolment_does_not_revive_it() {
    let place = Place::new().await;
    place.take(&[declaration("P1", "N-P1", json!({})), void_requested("N-P1", "void")]).await;
    assert_eq!(place.declarations().await, ["P1 N-P1 2000.00 voided"]);
    place.take(&[enrolment("P1")]).await;
    assert_eq!(place.declarations().await, ["P1 N-P1 2000.00 voided"]);
    assert_eq!(place.answers().await, ["declare-N-P1 accepted", "void accepted", "enrol-P1 accepted"]);
    // The obligation is free again.
    let again = declaration("P1", "N-P1-again", json!({}));
    assert_eq!(place.take(&[again]).await.accepted, 1);
}

#[tokio::test]
async fn a_requested_run_is_the_one_that_the_clock_and_the_command_fire() {
    let place = Place::new().await;
    place.take(&ready("P1", "1500.00")).await;
    let requested = |id: &str| {
        let data = json!({"schedule": SCHEDULE, "business_date": "2026-04-15"});
        message("run.requested", id, "2026-04-15T01:00:00Z", data)
    };
    assert_eq!(place.take(&[requested("run-1"), requested("run-2")]).await.accepted, 2);
    assert_eq!(place.run().await, 1);
    assert_eq!(place.take(&[requested("run-3")]).await.accepted, 1);
    assert_eq!(place.texts("SELECT run_id || ' ' || state FROM runs").await, ["1 sent"]);
    assert_eq!(place.attempts_of(1).await, ["P1 1500.00 sent"]);
}
