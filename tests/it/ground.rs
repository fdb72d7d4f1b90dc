//! Between plan and seal: whatever takes the ground from a planned deduction withdraws it, in the transaction that says
//! so. Nobody looks at all of them again when the run is sealed.

use chrono::NaiveDate;
use pikou::stages::lease::Lease;
use serde_json::{Value, json};

use crate::support::*;

fn day_of(month: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, month, 15).unwrap()
}

fn order(run: u32, number: u32) -> String {
    format!("P{run:07}001{number:08}")
}

async fn is(place: &Place, payer: &str) -> Vec<String> {
    let sql = format!(
        "SELECT status || COALESCE(' ' || withdrawal, '') FROM attempt_status WHERE payer_id = '{payer}' ORDER BY run_id NULLS FIRST, order_no"
    );
    place.texts(&sql).await
}

/// Seals and hands over what is left of a run, and what the next one makes of its payers.
async fn goes_on(place: &Place, lease: Lease, month: u32) -> Vec<String> {
    place.seal(lease).await;
    place.deliver(lease).await;
    let next = place.run_on(day_of(month)).await;
    place.account().await;
    [place.attempts_of(next).await, place.skips(next).await].concat()
}

#[tokio::test]
async fn a_late_success_of_the_run_before_withdraws_what_is_planned_since() {
    let place = Place::new().await;
    place.take(&[ready("P1", "1500.00"), ready("P2", "1500.00")].concat()).await;
    let first = place.run().await;
    place.answer(first, &[("P1", "1001"), ("P2", "1001")]).await;
    let lease = place.plan_on(day_of(5)).await;
    let late = place.reconcile("late", &result_file("r", &[Row::paid(&order(1, 1), "1500.00")])).await;
    assert_eq!(late.file().discrepancies, Some(1));
    assert_eq!(is(&place, "P1").await, ["failed", "withdrawn attempt_in_flight"]);
    let told = place.data_of("deduction.withdrawn").await;
    assert_eq!((told.len(), &told[0]["payer_id"], &told[0]["reason"]), (1, &json!("P1"), &json!("attempt_in_flight")));
    // Nothing is voided, and nothing is tried again, before a person has decided.
    assert_eq!(goes_on(&place, lease, 6).await, ["P1 attempt_in_flight", "P2 attempt_in_flight"]);
    assert_eq!(is(&place, "P2").await, ["failed", "sent"]);
    assert_eq!(place.texts("SELECT state FROM declarations ORDER BY payer_id").await, ["payable", "paying"]);
}

#[tokio::test]
async fn money_for_a_withdrawn_order_withdraws_what_is_planned_for_the_same_year_since() {
    let place = Place::new().await;
    place.take(&ready("P1", "1500.00")).await;
    let lease = place.plan().await;
    place.take(&[amount_voided("P1", "void", "2026-04-15T00:10:00Z")]).await;
    place.seal(lease).await;
    place.deliver(lease).await;
    place.take(&[amount_set("P1", "anew", "2026-04-20T00:00:00Z", "1800.00")]).await;
    let lease = place.plan_on(day_of(5)).await;
    assert_eq!(is(&place, "P1").await, ["withdrawn voided", "planned"]);
    place.reconcile("stray", &result_file("r", &[Row::paid(&order(1, 1), "1500.00")])).await;
    assert_eq!(place.texts("SELECT kind FROM discrepancies").await, ["paid_after_void"]);
    assert_eq!(is(&place, "P1").await, ["withdrawn voided", "withdrawn attempt_in_flight"]);
    assert_eq!(goes_on(&place, lease, 6).await, ["P1 attempt_in_flight"]);
}

/// Deducted by agreement or paid by hand: enrolled, signed, and declared.
fn declared(payer: &str) -> Vec<Value> {
    vec![enrolment(payer), agreement(payer), declaration(payer, &format!("N-{payer}"), json!({}))]
}

fn started(order_no: &str, payer: &str) -> Value {
    payment_started(order_no, &[(&format!("N-{payer}"), "2000.00")], json!({}))
}

#[tokio::test]
async fn an_online_order_that_was_paid_after_all_withdraws_what_is_planned_since() {
    let place = Place::new().await;
    place.take(&[declared("P1"), declared("P2")].concat()).await;
    for payer in ["P1", "P2"] {
        let order_no = format!("O-{payer}");
        let closed = payment_reported(&order_no, &format!("closed-{payer}"), "closed", json!({}));
        place.take(&[started(&order_no, payer), closed]).await;
    }
    let lease = place.plan().await;
    let paid = payment_reported("O-P1", "paid", "succeeded", json!({"gateway_txn_no": "T1"}));
    place.take(&[paid]).await;
    assert_eq!(place.texts("SELECT kind FROM discrepancies").await, ["contradiction"]);
    assert_eq!(is(&place, "P1").await, ["failed", "withdrawn attempt_in_flight"]);
    // What is being paid without a setting is no candidate.
    assert_eq!(goes_on(&place, lease, 5).await, ["P1 attempt_in_flight"]);
    assert_eq!(is(&place, "P2").await, ["failed", "sent"]);
}

#[tokio::test]
async fn a_refused_order_that_was_paid_all_the_same_withdraws_what_is_planned() {
    let place = Place::new().await;
    place.take(&[declared("P1"), declared("P2")].concat()).await;
    let lease = place.plan().await;
    // What is planned is in flight: the order is refused, and its money comes all the same.
    assert_eq!(place.take(&[started("O-P1", "P1"), started("O-P2", "P2")]).await.refused, 2);
    assert_eq!(is(&place, "P1").await, ["planned"]);
    let paid = payment_reported("O-P1", "paid", "succeeded", json!({"gateway_txn_no": "T1"}));
    place.take(&[paid]).await;
    assert_eq!(place.texts("SELECT kind FROM discrepancies").await, ["double_payment"]);
    assert_eq!(is(&place, "P1").await, ["withdrawn attempt_in_flight"]);
    // What is being paid without a setting is no candidate.
    assert_eq!(goes_on(&place, lease, 5).await, ["P1 attempt_in_flight"]);
    assert_eq!(is(&place, "P2").await, ["sent"]);
}

#[tokio::test]
async fn who_turns_out_to_be_insured_only_later_is_withdrawn() {
    let place = Place::new().await;
    place.take(&[ready("P1", "1500.00"), ready("P2", "1500.00")].concat()).await;
    let lease = place.plan().await;
    let from = |payer: &str, day: &str| {
        enrolment_with(payer, &format!("from-{payer}"), "2026-04-15T00:10:00Z", json!({"effective_on": day}))
    };
    place.take(&[from("P1", "2026-04-16"), from("P2", "2026-04-15")]).await;
    assert_eq!(is(&place, "P1").await, ["withdrawn enrolment_closed"]);
    assert_eq!(goes_on(&place, lease, 5).await, ["P1 1500.00 sent", "P2 attempt_in_flight"]);
}

/// A monthly type of a contribution base of which a fifth is owed.
const MONTHLY: &str = r#"
[insurance_types]
resident_pension = "month"
[regions.beijing.insurance.resident_pension]
rule = "base_rate"
rate = "0.20"
minimum = "6000.00"
window_from = "01-01"
window_to = "12-31"
[schedules.guizhou_resident_pension]
enabled = false
"#;

#[tokio::test]
async fn a_word_on_the_months_before_a_newer_base_withdraws_what_is_planned_for_them() {
    let mut place = Place::new().await;
    place.ctx = place.under_file(MONTHLY);
    let base = |payer: &str, time: &str, amount: &str, from: &str| {
        with_data(amount_set(payer, &format!("{payer}-{from}"), time, amount), json!({"period_from": from}))
    };
    for payer in ["P1", "P2", "P3"] {
        let (now, later) = (
            base(payer, "2026-01-10T00:00:00Z", "7000.00", "202601"),
            base(payer, "2026-03-30T00:00:00Z", "9000.00", "202607"),
        );
        place.take(&[enrolment(payer), agreement(payer), now, later]).await;
    }
    let lease = place.plan().await;
    // Both are older than the base from July on, which stays; both came later, and say something about April.
    let taken = place
        .take(&[
            base("P1", "2026-03-20T00:00:00Z", "8000.00", "202604"),
            amount_voided("P2", "void", "2026-03-20T00:00:00Z"),
        ])
        .await;
    assert_eq!(taken.stale, 2);
    let made = ["P1 1400.00 withdrawn setting_changed", "P2 1400.00 withdrawn voided", "P3 1400.00 planned"];
    assert_eq!(place.attempts_of(lease.run_id).await, made);
    assert_eq!(goes_on(&place, lease, 5).await, ["P1 1600.00 sent", "P3 1400.00 sent", "P2 voided"]);
}

#[tokio::test]
async fn a_special_declaration_that_came_back_unpaid_is_not_paid_by_what_its_assessment_no_longer_says() {
    for (change, code) in [
        (json!({"status": "withdrawn"}), "assessment_required"),
        (json!({"amount": "1300.00"}), "assessment_mismatch"),
        (json!({"pay_by": "2026-04-01"}), "window_closed"),
        (json!({"pay_by": "2026-05-31"}), ""),
    ] {
        let place = Place::new().await;
        let filed = with_data(special("P1", "S1", "A1"), json!({"collect_by": "batch"}));
        let assessed = assessment("P1", "A1", "assess", "2026-01-10T00:00:00Z", json!({}));
        place.take(&[enrolment("P1"), agreement("P1"), assessed, filed]).await;
        let lease = place.plan().await;
        place.seal(lease).await;
        place.deliver(lease).await;
        place.take(&[assessment("P1", "A1", "change", "2026-04-15T00:10:00Z", change.clone())]).await;
        place.answer(lease.run_id, &[("P1", "1001")]).await;
        assert_eq!(place.declarations().await, ["P1 S1 1200.00 payable"], "{change}");
        place.take(&[payment_started("O1", &[("S1", "1200.00")], json!({}))]).await;
        let answer = place.texts("SELECT COALESCE(code, '') FROM messages WHERE id = 'start-O1'").await;
        assert_eq!(answer, [code], "{change}");
    }
}
