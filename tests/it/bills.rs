//! What a gateway's bill says, row by row, against the rule book: every case compares the whole book afterwards.
//!
//! P1 has declared the year (N-P1, 2000.00) and a back payment (S-P1, 1200.00); order O1 by WeChat Pay pays one or both.

use serde_json::{Value, json};

use crate::preview;
use crate::support::*;
use crate::wechat_bill::*;

const RANGE: &str = "PIKOU__RESULTS__RANGE_MAX";
const OURS: (&str, &str) = ("PIKOU__RESULTS__BILLS__WECHAT_PAY__OURS", "[\"O*\"]");

fn one() -> Vec<Value> {
    vec![started("O1", &[("N-P1", "2000.00")], json!({}))]
}

fn both() -> Vec<Value> {
    vec![started("O1", &[("N-P1", "2000.00"), ("S-P1", "1200.00")], json!({}))]
}

fn report(order_no: &str, outcome: &str, fields: Value) -> Value {
    payment_reported(order_no, &format!("report-{order_no}-{outcome}"), outcome, fields)
}

fn reported(fields: Value) -> Vec<Value> {
    let mut messages = one();
    messages.push(report("O1", "succeeded", fields));
    messages
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

async fn place(more: &[Value], settings: &[(&str, &str)]) -> (Place, usize) {
    let place = Place::with(&[&[BILLS][..], settings].concat()).await;
    let messages = [&declared("P1")[..], more].concat();
    assert_eq!(place.take(&messages).await.accepted, messages.len());
    let told = place.told().await.len();
    (place, told)
}

/// Applies bills of the 11th in order and compares the book; once as one range, once line by line.
async fn check(name: &str, more: &[Value], settings: &[(&str, &str)], bills: &[&[BillRow]], expected: &str) {
    for range_max in ["50000", "1"] {
        let (place, told) = place(more, &[settings, &[(RANGE, range_max)]].concat()).await;
        for (number, rows) in (1..).zip(bills) {
            let file = format!("{number}-{}", name_of(11));
            let outcome = take_named(&place.ctx, &file, &bill(rows)).await;
            assert_ne!(outcome.as_str(), "refused", "{name}: {:?}", outcome.file().refused_reason);
        }
        assert_eq!(bill_book(&place, told).await, words(expected), "{name}, ranges of {range_max}");
        let (place, _) = self::place(more, &[settings, &[(RANGE, range_max)]].concat()).await;
        let named = (1..).zip(bills).map(|(number, rows)| (format!("{number}-{}", name_of(11)), bill(rows)));
        preview::bills_as_foreseen(&place, &named.collect::<Vec<_>>()).await;
    }
}

#[tokio::test]
async fn a_payment_settles_its_order_whole_and_the_same_row_again_changes_nothing() {
    let row = paid("O1", "T1", "3200.00");
    check(
        "two declarations",
        &both(),
        &[],
        &[&[row.clone(), row.clone()], &[row]],
        "O1 succeeded, O1/2 succeeded | N-P1 paid, S-P1 paid
         | settled O1 2000.00 T1 by 1#2, O1/2 1200.00 T1 by 1#2
         | file 1 2 = 1 + 1 + 0 + 0, 2 1 = 0 + 1 + 0 + 0
         | told payment.recorded O1 2, declaration.paid N-P1 3, amount.fulfilled P1/2026 2,
           payment.recorded O1 3, declaration.paid S-P1 3, result_file.applied 1 1, result_file.applied 2 1",
    )
    .await;
}

#[tokio::test]
async fn a_reported_payment_is_confirmed_once_with_the_number_it_came_without() {
    let wanted = "O1 succeeded | N-P1 paid, S-P1 payable | settled O1 2000.00 T1 by report-O1-succeeded
         | confirmed O1 2000.00 T1 by 1#2 | file 1 1 = 1 + 0 + 0 + 0, 2 2 = 0 + 2 + 0 + 0
         | told payment.confirmed O1 4, result_file.applied 1 1, result_file.applied 2 1";
    let row = paid("O1", "T1", "2000.00");
    let bills: [&[BillRow]; 2] = [std::slice::from_ref(&row), &[row.clone(), row.clone()]];
    check("with its number", &reported(json!({"gateway_txn_no": "T1"})), &[], &bills, wanted).await;
    let wanted = wanted.replace("2000.00 T1 by report", "2000.00 by report");
    check("without", &reported(json!({})), &[], &bills, &wanted).await;
}

#[tokio::test]
async fn what_the_bill_says_otherwise_waits_for_a_person() {
    let settled = "O1 succeeded | N-P1 paid, S-P1 payable | settled O1 2000.00 T1 by report-O1-succeeded";
    check(
        "another transaction, another amount",
        &reported(json!({"gateway_txn_no": "T1"})),
        &[],
        &[&[paid("O1", "T2", "2000.00")], &[paid("O1", "T1", "1999.00")]],
        &format!(
            "{settled} | wrong 1#2 double_payment O1 N-P1 ours 2000.00 theirs 2000.00, 2#2 amount_differs O1 N-P1 ours 2000.00 theirs 1999.00
             | file 1 1 = 0 + 0 + 1 + 0, 2 1 = 0 + 0 + 1 + 0
             | told discrepancy.opened 1 1, result_file.applied 1 1, discrepancy.opened 2 1, result_file.applied 2 1"
        ),
    )
    .await;
    check(
        "an open order",
        &both(),
        &[],
        &[&[paid("O1", "T1", "3199.99")], &[paid("O1", "T1", "3199.99"), paid("O1", "T1", "3199.99")]],
        "O1 unknown, O1/2 unknown | N-P1 paying, S-P1 paying | wrong 1#2 amount_differs O1 ours 3200.00 theirs 3199.99
         | file 1 1 = 0 + 0 + 1 + 0, 2 2 = 0 + 2 + 0 + 0
         | told discrepancy.opened 1 1, result_file.applied 1 1, result_file.applied 2 1",
    )
    .await;
    check(
        "a code that nobody knows, for each declaration",
        &both(),
        &[],
        &[&[of_state("MAYBE", paid("O1", "T1", "3200.00"))]],
        "O1 unknown, O1/2 unknown | N-P1 paying, S-P1 paying
         | wrong 1#2 unknown_code O1 N-P1 ours 2000.00 theirs 2000.00, 1#2/2 unknown_code O1 S-P1 ours 1200.00 theirs 1200.00
         | file 1 1 = 0 + 0 + 1 + 0 | told discrepancy.opened 1 1, discrepancy.opened 2 1, result_file.applied 1 1",
    )
    .await;
    let failed = [both(), vec![report("O1", "closed", json!({}))]].concat();
    check(
        "paid though it had failed",
        &failed,
        &[],
        &[&[paid("O1", "T1", "3200.00")]],
        "O1 failed, O1/2 failed | N-P1 payable, S-P1 payable
         | wrong 1#2 contradiction O1 N-P1 ours 2000.00 theirs 2000.00, 1#2/2 contradiction O1 S-P1 ours 1200.00 theirs 1200.00
         | file 1 1 = 0 + 0 + 1 + 0 | told discrepancy.opened 1 1, discrepancy.opened 2 1, result_file.applied 1 1",
    )
    .await;
    check(
        "one transaction for two orders",
        &[one(), vec![started("O2", &[("S-P1", "1200.00")], json!({}))]].concat(),
        &[],
        &[&[paid("O1", "T1", "2000.00"), paid("O2", "T1", "1200.00")]],
        "O1 unknown, O2 unknown | N-P1 paying, S-P1 paying
         | wrong 1#2 contradiction O1 N-P1 ours 2000.00 theirs 2000.00, 1#3 contradiction O2 S-P1 ours 1200.00 theirs 1200.00
         | file 1 2 = 0 + 0 + 2 + 0 | told discrepancy.opened 1 1, discrepancy.opened 2 1, result_file.applied 1 1",
    )
    .await;
}

#[tokio::test]
async fn a_refused_order_that_was_paid_is_recognised() {
    let (place, _) = place(&one(), &[]).await;
    assert_eq!(place.take(&[started("O2", &[("N-P1", "2000.00")], json!({}))]).await.refused, 1);
    let told = place.told().await.len();
    take_bill(&place.ctx, 11, &[paid("O2", "T2", "2000.00"), of_state("CLOSED", paid("O2", "T3", "2000.00"))]).await;
    let wanted = "O1 sent | N-P1 paying, S-P1 payable | wrong 1#2 double_payment O2 ours 2000.00 theirs 2000.00
         | file 1 2 = 1 + 0 + 1 + 0 | told discrepancy.opened 1 1, result_file.applied 1 1";
    assert_eq!(bill_book(&place, told).await, words(wanted));
}

#[tokio::test]
async fn a_final_code_fails_an_open_order_and_reverses_a_paid_one() {
    check(
        "closed",
        &both(),
        &[],
        &[&[of_state("CLOSED", paid("O1", "T1", "0.00"))], &[of_state("CLOSED", paid("O1", "T1", "0.00"))]],
        "O1 failed, O1/2 failed | N-P1 payable, S-P1 payable | file 1 1 = 1 + 0 + 0 + 0
         | told payment.failed O1 2, declaration.payable_again N-P1 3, declaration.payable_again S-P1 3, result_file.applied 1 1",
    )
    .await;
    check(
        "revoked",
        &reported(json!({"gateway_txn_no": "T1"})),
        &[],
        &[&[of_state("REVOKED", paid("O1", "T1", "2000.00"))]],
        "O1 reversed | N-P1 reversed, S-P1 payable | settled O1 2000.00 T1 by report-O1-succeeded | reversed O1 by 1#2
         | file 1 1 = 1 + 0 + 0 + 0 | told payment.reversed O1 4, declaration.reversed N-P1 4, result_file.applied 1 1",
    )
    .await;
    let (success, revoked) = (paid("O1", "T1", "3200.00"), of_state("REVOKED", paid("O1", "T1", "3200.00")));
    for rows in [[success.clone(), revoked.clone()], [revoked, success]] {
        let line = if rows[0].state == "SUCCESS" { (2, 3) } else { (3, 2) };
        check(
            "paid and revoked in one file, wherever the lines stand",
            &both(),
            &[],
            &[&rows],
            &format!(
                "O1 reversed, O1/2 reversed | N-P1 reversed, S-P1 reversed | settled O1 2000.00 T1 by 1#{0}, O1/2 1200.00 T1 by 1#{0}
                 | reversed O1 by 1#{1}, O1/2 by 1#{1} | file 1 2 = 2 + 0 + 0 + 0
                 | told payment.recorded O1 2, declaration.paid N-P1 3, amount.fulfilled P1/2026 2, payment.recorded O1 3,
                   declaration.paid S-P1 3, payment.reversed O1 4, declaration.reversed N-P1 4, payment.reversed O1 5,
                   declaration.reversed S-P1 4, result_file.applied 1 1",
                line.0, line.1
            ),
        )
        .await;
    }
}

#[tokio::test]
async fn a_refund_is_booked_behind_the_payments_of_its_file_and_once() {
    let payment = paid("O1", "T1", "2000.00");
    let back = refund("O1", "T1", "R1", "2000.00", "SUCCESS");
    let told = "told payment.recorded O1 2, declaration.paid N-P1 3, amount.fulfilled P1/2026 2, payment.reversed O1 3, declaration.reversed N-P1 4";
    check(
        "the refund stands first",
        &one(),
        &[],
        &[&[back.clone(), payment.clone()], std::slice::from_ref(&back)],
        &format!(
            "O1 reversed | N-P1 reversed, S-P1 payable | settled O1 2000.00 T1 by 1#3 | reversed O1 R1 by 1#2
             | file 1 2 = 2 + 0 + 0 + 0, 2 1 = 0 + 1 + 0 + 0 | {told}, result_file.applied 1 1, result_file.applied 2 1"
        ),
    )
    .await;
    check(
        "the refund's file comes first",
        &one(),
        &[],
        &[std::slice::from_ref(&back), std::slice::from_ref(&payment)],
        &format!(
            "O1 reversed | N-P1 reversed, S-P1 payable | settled O1 2000.00 T1 by 2#2 | reversed O1 R1 by 1#2
             | file 1 1 = 1 + 0 + 0 + 0, 2 1 = 1 + 0 + 0 + 0 | told result_file.applied 1 1, {}, result_file.applied 2 1",
            &told[5..]
        ),
    )
    .await;
    let settled = "O1 succeeded | N-P1 paid, S-P1 payable | settled O1 2000.00 T1 by 1#2";
    let told = "told payment.recorded O1 2, declaration.paid N-P1 3, amount.fulfilled P1/2026 2";
    check(
        "a part, still running, failed, abnormal, too much, of other money",
        &one(),
        &[],
        &[&[
            payment.clone(),
            refund("O1", "T1", "R2", "500.00", "SUCCESS"),
            refund("O1", "T1", "R3", "2000.00", "PROCESSING"),
            refund("O1", "T1", "R4", "2000.00", "FAIL"),
            refund("O1", "T1", "R5", "2000.00", "CHANGE"),
            refund("O1", "T1", "R6", "2000.01", "SUCCESS"),
            refund("O1", "T9", "R7", "2000.00", "SUCCESS"),
        ]],
        &format!(
            "{settled} | wrong 1#3 partial_refund O1 N-P1 ours 2000.00 theirs 500.00, 1#6 refund_abnormal O1 N-P1 ours 2000.00 theirs 2000.00,
             1#7 amount_differs O1 N-P1 ours 2000.00 theirs 2000.01, 1#8 unknown_order O1 N-P1 ours 2000.00 theirs 2000.00
             | file 1 7 = 3 + 0 + 4 + 0
             | {told}, discrepancy.opened 1 1, discrepancy.opened 2 1, discrepancy.opened 3 1, discrepancy.opened 4 1, result_file.applied 1 1"
        ),
    )
    .await;
    check(
        "running, then succeeded; the same money back twice",
        &one(),
        &[],
        &[
            &[payment, refund("O1", "T1", "R1", "2000.00", "PROCESSING")],
            &[back, refund("O1", "T1", "R2", "2000.00", "SUCCESS")],
        ],
        &format!(
            "O1 reversed | N-P1 reversed, S-P1 payable | settled O1 2000.00 T1 by 1#2 | reversed O1 R1 by 2#2
             | wrong 2#3 contradiction O1 N-P1 ours 2000.00 theirs 2000.00 | file 1 2 = 2 + 0 + 0 + 0, 2 2 = 1 + 0 + 1 + 0
             | {told}, result_file.applied 1 1, payment.reversed O1 3, declaration.reversed N-P1 4, discrepancy.opened 1 1, result_file.applied 2 1"
        ),
    )
    .await;
}

#[tokio::test]
async fn the_refund_of_money_that_was_too_much_does_not_touch_the_payment() {
    check(
        "double payment, refunded",
        &reported(json!({"gateway_txn_no": "T1"})),
        &[],
        &[&[paid("O1", "T2", "2000.00")], &[refund("O1", "T2", "R1", "2000.00", "SUCCESS")]],
        "O1 succeeded | N-P1 paid, S-P1 payable | settled O1 2000.00 T1 by report-O1-succeeded
         | wrong 1#2 double_payment O1 N-P1 ours 2000.00 theirs 2000.00 | file 1 1 = 0 + 0 + 1 + 0, 2 1 = 1 + 0 + 0 + 0
         | told discrepancy.opened 1 1, result_file.applied 1 1, result_file.applied 2 1",
    )
    .await;
}

#[tokio::test]
async fn an_order_of_nobody_is_ours_or_anothers_by_its_number() {
    let rows = [paid("O9", "T9", "1.00"), paid("X9", "T8", "2.00"), refund("X8", "T7", "R1", "2.00", "SUCCESS")];
    check(
        "with patterns",
        &[],
        &[OURS],
        &[&rows, &[rows[0].clone()]],
        "N-P1 payable, S-P1 payable | wrong 1#2 unknown_order O9 theirs 1.00 | file 1 3 = 0 + 0 + 1 + 2, 2 1 = 0 + 1 + 0 + 0
         | told discrepancy.opened 1 1, result_file.applied 1 1, result_file.applied 2 1",
    )
    .await;
    check(
        "without",
        &[],
        &[],
        &[&rows],
        "N-P1 payable, S-P1 payable | wrong 1#2 unknown_order O9 theirs 1.00, 1#3 unknown_order X9 theirs 2.00, 1#4 unknown_order X8 theirs 2.00
         | file 1 3 = 0 + 0 + 3 + 0
         | told discrepancy.opened 1 1, discrepancy.opened 2 1, discrepancy.opened 3 1, result_file.applied 1 1",
    )
    .await;
}

#[tokio::test]
async fn an_order_that_starts_after_its_bill_is_settled_by_the_kept_row() {
    let (place, told) = place(&[], &[]).await;
    let rows =
        [paid("O1", "T1", "2000.00"), paid("O2", "T2", "1200.00"), refund("O2", "T2", "R2", "1200.00", "SUCCESS")];
    take_bill(&place.ctx, 11, &rows).await;
    place.take(&one()).await;
    place
        .take(&[
            started("O2", &[("S-P1", "1200.00")], json!({})),
            report("O2", "succeeded", json!({"gateway_txn_no": "T2"})),
        ])
        .await;
    let wanted = "O1 succeeded, O2 reversed | N-P1 paid, S-P1 reversed | settled O1 2000.00 T1 by 1#2, O2 1200.00 T2 by 1#3 | reversed O2 R2 by 1#4
         | wrong 1#2 unknown_order O1 theirs 2000.00 message://test/start-O1, 1#3 unknown_order O2 theirs 1200.00 message://test/start-O2
         | file 1 3 = 1 + 0 + 2 + 0
         | told discrepancy.opened 1 1, discrepancy.opened 2 1, result_file.applied 1 1,
           payment.started O1 1, declaration.paying N-P1 2, payment.recorded O1 2, declaration.paid N-P1 3, amount.fulfilled P1/2026 2,
           discrepancy.resolved 1 2,
           payment.started O2 1, declaration.paying S-P1 2, payment.recorded O2 2, declaration.paid S-P1 3, payment.reversed O2 3,
           declaration.reversed S-P1 4, discrepancy.resolved 2 2";
    assert_eq!(bill_book(&place, told).await, words(wanted));
    let after = take_named(&place.ctx, "again.csv", &bill(&[rows[0].clone(), rows[2].clone()])).await;
    let file = after.file();
    assert_eq!((file.applied, file.repeated, file.discrepancies), (Some(0), Some(2), Some(0)));
}

#[tokio::test]
async fn a_kept_row_of_another_sum_waits_on() {
    let (place, told) = place(&[], &[]).await;
    take_bill(&place.ctx, 11, &[paid("O1", "T1", "1999.00")]).await;
    place.take(&one()).await;
    let wanted =
        "O1 sent | N-P1 paying, S-P1 payable | wrong 1#2 unknown_order O1 theirs 1999.00 | file 1 1 = 0 + 0 + 1 + 0
         | told discrepancy.opened 1 1, result_file.applied 1 1, payment.started O1 1, declaration.paying N-P1 2";
    assert_eq!(bill_book(&place, told).await, words(wanted));
}

#[tokio::test]
async fn a_void_and_a_bill_at_the_same_time_leave_one_of_two_books() {
    for round in 0..4 {
        let (place, _) = place(&one(), &[]).await;
        let rows = [paid("O1", "T1", "2000.00")];
        let other = place.other_worker();
        let void = [amount_voided("P1", "void", "2026-04-12T00:00:00Z")];
        let report = [report("O1", "succeeded", json!({"gateway_txn_no": "T1"}))];
        let (_, _, outcome) = tokio::join!(place.take(&void), place.take(&report), take_bill(&other, 11, &rows));
        assert_eq!(outcome.as_str(), "applied", "{round}");
        let found = place.texts("SELECT order_no || ' ' || amount || ' ' || gateway_txn_no FROM settlements").await;
        assert_eq!(found, ["O1 2000.00 T1"], "{round}");
        let confirmed = place.count("SELECT count(*) FROM confirmations").await;
        let by_report = place.count("SELECT count(*) FROM settlements WHERE message_id IS NOT NULL").await;
        assert_eq!(confirmed, by_report, "{round}: what was reported first is confirmed by the bill");
        place.account().await;
    }
}

#[tokio::test]
async fn a_start_and_a_bill_at_the_same_time_settle_the_order_whoever_comes_first() {
    for round in 0..4 {
        let (place, _) = place(&[], &[]).await;
        let rows = [paid("O1", "T1", "2000.00")];
        let other = place.other_worker();
        let start = one();
        let (_, outcome) = tokio::join!(place.take(&start), take_bill(&other, 11, &rows));
        assert_eq!(outcome.as_str(), "applied", "{round}");
        let found = place.texts("SELECT order_no || ' ' || result_file_id || '#' || line_no FROM settlements").await;
        assert_eq!(found, ["O1 1#2"], "{round}");
        assert_eq!(place.count("SELECT count(*) FROM discrepancies WHERE state = 'open'").await, 0, "{round}");
        place.account().await;
    }
}
