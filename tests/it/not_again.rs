//! What is not tried again until somebody has acted: money that may have moved, accounts that are closed, files that
//! the bank already has.

use chrono::NaiveDate;
use pikou::stages::intake;
use serde_json::json;

use crate::support::*;

fn may() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 5, 15).unwrap()
}

async fn order_of(place: &Place, payer: &str) -> String {
    let sql = format!("SELECT order_no FROM attempts WHERE payer_id = '{payer}' ORDER BY order_no DESC LIMIT 1");
    place.texts(&sql).await.remove(0)
}

async fn reason_in(place: &Place, run_id: i64, payer: &str) -> Vec<String> {
    place.texts(&format!("SELECT reason FROM run_skips WHERE run_id = {run_id} AND payer_id = '{payer}'")).await
}

#[tokio::test]
async fn a_failure_that_a_later_file_contradicts_is_not_deducted_again() {
    let place = Place::new().await;
    place.take(&ready("P1", "1500.00")).await;
    place.run().await;
    let order_no = order_of(&place, "P1").await;
    place.reconcile("first", &result_file("r", &[Row::failed(&order_no, "1500.00", "1001")])).await;
    place.reconcile("second", &result_file("r", &[Row::paid(&order_no, "1500.00")])).await;
    assert_eq!(place.texts("SELECT kind FROM discrepancies").await, ["contradiction"]);
    let run_id = place.run_on(may()).await;
    assert_eq!(reason_in(&place, run_id, "P1").await, ["attempt_in_flight"]);
    assert_eq!(place.attempts().await, ["P1 failed"]);
}

#[tokio::test]
async fn a_closed_account_is_not_tried_again_for_a_declaration_until_a_new_agreement_comes() {
    let place = Place::new().await;
    place.take(&[enrolment("P1"), agreement("P1"), declaration("P1", "E1", json!({}))]).await;
    place.run().await;
    let order_no = order_of(&place, "P1").await;
    place.reconcile("r", &result_file("r", &[Row::failed(&order_no, "2000.00", "2001")])).await;
    let run_id = place.run_on(may()).await;
    assert_eq!(reason_in(&place, run_id, "P1").await, ["no_agreement"]);

    let renewed = agreement_with("P1", "renewed", "2026-05-20T00:00:00Z", json!({"account_no": "62223333"}));
    place.take(&[renewed]).await;
    place.run_on(NaiveDate::from_ymd_opt(2026, 6, 15).unwrap()).await;
    assert_eq!(place.attempts().await, ["P1 failed", "P1 sent"]);
}

#[tokio::test]
async fn a_held_file_that_the_bank_answers_was_handed_over_and_is_not_handed_over_again() {
    let place = Place::new().await;
    place.take(&ready("P1", "1500.00")).await;
    let lease = place.plan().await;
    place.seal(lease).await;
    // The hand-over was begun, and then nothing lies in the folder: the bank may have taken the file.
    sqlx::query("UPDATE request_files SET state = 'delivering', delivering_at = now()")
        .execute(&place.ctx.pool)
        .await
        .unwrap();
    place.deliver(lease).await;
    assert_eq!(
        place.texts("SELECT state || ' ' || (held_reason IS NOT NULL) FROM request_files").await,
        ["delivering true"]
    );

    let order_no = order_of(&place, "P1").await;
    place.reconcile("r", &result_file("r", &[Row::paid(&order_no, "1500.00")])).await;
    assert_eq!(
        place.texts("SELECT state || ' ' || (held_reason IS NOT NULL) FROM request_files").await,
        ["delivered false"]
    );
    assert_eq!(place.texts("SELECT state FROM runs").await, ["closed"]);
    place.deliver(lease).await;
    assert_eq!(place.request_files("102"), []);
    let account = place.account().await;
    assert_eq!((account.attempts.sent, account.attempts.succeeded), (1, 1));
    let told: Vec<(String, i64)> = place
        .told()
        .await
        .into_iter()
        .filter(|(_, subject, _)| *subject == order_no)
        .map(|(kind, _, sequence)| (kind, sequence))
        .collect();
    let expected =
        [("deduction.planned", 1), ("deduction.sent", 2), ("deduction.succeeded", 3), ("payment.recorded", 4)];
    assert_eq!(told, expected.map(|(kind, sequence)| (kind.to_owned(), sequence)));
}

#[tokio::test]
async fn two_payers_cannot_declare_under_one_number() {
    let place = Place::new().await;
    place.take(&[enrolment("P1"), enrolment("P2")]).await;
    let (first, second) = (declaration("P1", "E1", json!({})), declaration("P2", "E1", json!({})));
    let mut second = second;
    second["id"] = json!("another");
    let (first, second) = (deliveries(&[first]), deliveries(&[second]));
    let (one, other) = tokio::join!(intake::take(&place.ctx, &first), intake::take(&place.ctx, &second));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!((one.accepted + other.accepted, one.refused + other.refused), (1, 1));
}
