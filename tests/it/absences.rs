//! What silence says, and what it does not: orders that no bill has, reported payments that no bill has, results that are
//! overdue, bills that have not come.

use pikou::stages::absence::{self, Found};
use serde_json::{Value, json};

use crate::process::Pikou;
use crate::support::*;
use crate::wechat_bill::*;

async fn place(more: &[Value]) -> (Place, usize) {
    let place = Place::with(&[BILLS]).await;
    let messages = [&declared("P1")[..], more].concat();
    assert_eq!(place.take(&messages).await.accepted, messages.len());
    let told = place.told().await.len();
    (place, told)
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn both(fields: Value) -> Value {
    started("O1", &[("N-P1", "2000.00"), ("S-P1", "1200.00")], fields)
}

#[tokio::test]
async fn an_expired_order_fails_when_the_bills_of_all_its_days_lack_it() {
    // Until five past midnight in Beijing.
    let (place, told) = place(&[both(json!({"expires_at": "2026-04-11T16:05:00Z"}))]).await;
    let open = "O1 sent, O1/2 sent | N-P1 paying, S-P1 paying";
    take_bill(&place.ctx, 12, &[]).await;
    assert_eq!(absence::look(&place.ctx).await.unwrap(), Found::default());
    let wanted = format!("{open} | file 1 0 = 0 + 0 + 0 + 0 | told result_file.applied 1 1");
    assert_eq!(bill_book(&place, told).await, wanted);
    take_bill(&place.ctx, 11, &[]).await;
    let early = place.at("2026-04-12T00:05:00+08:00");
    assert_eq!(absence::look(&early).await.unwrap().not_paid, 0);
    let found = absence::look(&place.ctx).await.unwrap();
    assert_eq!(found, Found { not_paid: 2, ..Found::default() });
    assert_eq!(absence::look(&place.ctx).await.unwrap(), Found::default());
    // The bills of both days are the same bytes under two names.
    let wanted = "O1 failed, O1/2 failed | N-P1 payable, S-P1 payable | file 1 0 = 0 + 0 + 0 + 0
         | told result_file.applied 1 1,
           payment.failed O1 2, declaration.payable_again N-P1 3, declaration.payable_again S-P1 3";
    assert_eq!(bill_book(&place, told).await, words(wanted));
    assert_eq!(place.data_of("payment.failed").await[0]["code"], "not_paid");
    let again = started("O2", &[("N-P1", "2000.00")], json!({}));
    assert_eq!(place.take(&[again]).await.accepted, 1);
}

#[tokio::test]
async fn an_order_that_a_bill_has_does_not_fail_by_silence() {
    for row in [paid("O1", "T1", "3200.00"), paid("O1", "T1", "1.00"), of_state("ACCEPT", paid("O1", "T1", "3200.00"))]
    {
        let (place, _) = place(&[both(json!({}))]).await;
        take_bill(&place.ctx, 11, std::slice::from_ref(&row)).await;
        assert_eq!(absence::look(&place.ctx).await.unwrap(), Found::default(), "{} {}", row.state, row.amount);
        place.account().await;
    }
}

#[tokio::test]
async fn money_that_comes_after_an_order_has_failed_by_silence_waits_for_a_person() {
    let (place, _) = place(&[started("O1", &[("N-P1", "2000.00")], json!({}))]).await;
    take_bill(&place.ctx, 11, &[]).await;
    absence::look(&place.ctx).await.unwrap();
    take_named(&place.ctx, "late.csv", &bill(&[paid("O1", "T1", "2000.00")])).await;
    let found = place.texts("SELECT kind || ' ' || order_no || ' ' || declaration_no FROM discrepancies").await;
    assert_eq!(found, ["contradiction O1 N-P1"]);
    assert_eq!(place.attempts().await, ["P1 failed"]);
}

#[tokio::test]
async fn a_reported_payment_that_its_bill_lacks_is_noticed_once_and_explained_by_a_later_bill() {
    let reported = payment_reported("O1", "report", "succeeded", json!({"gateway_txn_no": "T1"}));
    let (place, told) = place(&[both(json!({})), reported]).await;
    assert_eq!(absence::look(&place.ctx).await.unwrap(), Found::default());
    take_bill(&place.ctx, 11, &[]).await;
    assert_eq!(absence::look(&place.ctx).await.unwrap(), Found { not_in_bill: 2, ..Found::default() });
    assert_eq!(absence::look(&place.ctx).await.unwrap(), Found::default());
    take_named(&place.ctx, &format!("part-{}", name_of(11)), &bill(&[paid("O1", "T1", "3200.00")])).await;
    assert_eq!(absence::look(&place.ctx).await.unwrap(), Found::default());
    let wanted = "O1 succeeded, O1/2 succeeded | N-P1 paid, S-P1 paid | settled O1 2000.00 T1 by report, O1/2 1200.00 T1 by report
         | confirmed O1 3200.00 T1 by 2#2
         | wrong not_in_bill O1 N-P1 ours 2000.00 result_file:2#2, not_in_bill O1 S-P1 ours 1200.00 result_file:2#2
         | file 1 0 = 0 + 0 + 0 + 0, 2 1 = 1 + 0 + 0 + 0
         | told result_file.applied 1 1, discrepancy.opened 1 1, discrepancy.opened 2 1, payment.confirmed O1 5,
           discrepancy.resolved 1 2, discrepancy.resolved 2 2, result_file.applied 2 1";
    assert_eq!(bill_book(&place, told).await, words(wanted));
}

#[tokio::test]
async fn a_deduction_without_result_is_unknown_behind_its_due_days_and_a_late_row_still_decides() {
    let place = Place::new().await;
    place.take(&[ready("P1", "1500.00"), ready("P2", "2000.00")].concat()).await;
    let run_id = place.run().await;
    let told = place.told().await.len();
    // Handed over on a Wednesday: Thursday, Friday and Monday are its due days.
    let on_monday = place.at("2026-04-20T23:59:59+08:00");
    assert_eq!(absence::look(&on_monday).await.unwrap(), Found::default());
    let on_tuesday = place.at("2026-04-21T00:00:00+08:00");
    assert_eq!(absence::look(&on_tuesday).await.unwrap(), Found { results_missing: 2, ..Found::default() });
    assert_eq!(absence::look(&on_tuesday).await.unwrap(), Found::default());
    assert_eq!(place.attempts().await, ["P1 unknown", "P2 unknown"]);
    let next = place.run_on(chrono::NaiveDate::from_ymd_opt(2026, 5, 15).unwrap()).await;
    assert_eq!(place.skips(next).await, ["P1 attempt_in_flight", "P2 attempt_in_flight"]);
    let order = |number: usize| format!("P{run_id:07}001{number:08}");
    let request = place.request_files("102")[0].0.clone();
    let rows = [Row::paid(&order(1), "1500.00"), Row::failed(&order(2), "2000.00", "1001")];
    place.reconcile("late.txt", &result_file(&request, &rows)).await;
    assert_eq!(place.attempts_of(run_id).await, ["P1 1500.00 succeeded", "P2 2000.00 failed"]);
    let found = place
        .texts("SELECT concat_ws(' ', kind, payer_id, state, evidence) FROM discrepancies ORDER BY payer_id")
        .await;
    assert_eq!(found, ["result_missing P1 resolved result_file:1#2", "result_missing P2 resolved result_file:1#3"]);
    let events: Vec<String> = place.told().await[told..]
        .iter()
        .filter(|(kind, subject, _)| {
            let told = ["deduction.unknown", "discrepancy.", "run.closed"].iter().any(|word| kind.starts_with(word));
            told && (kind != "run.closed" || *subject == run_id.to_string())
        })
        .map(|(kind, subject, sequence)| format!("{kind} {subject} {sequence}"))
        .collect();
    let wanted = [
        format!("deduction.unknown {} 3", order(1)),
        "discrepancy.opened 1 1".to_owned(),
        format!("deduction.unknown {} 3", order(2)),
        "discrepancy.opened 2 1".to_owned(),
        format!("run.closed {run_id} 4"),
        "discrepancy.resolved 1 2".to_owned(),
        "discrepancy.resolved 2 2".to_owned(),
    ];
    assert_eq!(events, wanted);
    place.account().await;
}

#[tokio::test]
async fn nothing_is_overdue_while_the_calendar_of_a_year_is_missing_or_where_due_days_are_off() {
    let place = Place::new().await;
    place.take(&ready("P1", "1500.00")).await;
    place.run().await;
    let late = place.at("2027-02-01T00:00:00+08:00");
    assert_eq!(absence::look(&late).await.unwrap(), Found::default());
    let off = place.under(&[("PIKOU__RESULTS__DUE_DAYS__BANK", "0")]);
    let off = pikou::stages::Context { clock: pikou::clock::Clock::Fixed(at("2026-06-01T00:00:00+08:00")), ..off };
    assert_eq!(absence::look(&off).await.unwrap(), Found::default());
    assert_eq!(place.attempts().await, ["P1 sent"]);
}

#[tokio::test]
async fn a_bill_that_has_not_come_by_its_hour_is_missed_once_until_it_comes() {
    let (place, told) = place(&[]).await;
    let missing = |files_missing| Found { files_missing, ..Found::default() };
    for (time, found) in [
        ("2026-04-15T12:00:00+08:00", 0),
        ("2026-04-16T10:59:59+08:00", 0),
        ("2026-04-16T11:00:00+08:00", 1),
        ("2026-04-16T11:00:00+08:00", 0),
        ("2026-04-18T11:00:00+08:00", 2),
    ] {
        assert_eq!(absence::look(&place.at(time)).await.unwrap(), missing(found), "{time}");
    }
    for (day, outcome) in [(16, "applied"), (17, "repeated"), (17, "repeated")] {
        assert_eq!(take_bill(&place.ctx, day, &[]).await.as_str(), outcome);
    }
    let wanted = "N-P1 payable, S-P1 payable
         | wrong file_missing 2026-04-15, file_missing 2026-04-16 result_file:1, file_missing 2026-04-17 result_file:1
         | file 1 0 = 0 + 0 + 0 + 0
         | told discrepancy.opened 1 1, discrepancy.opened 2 1, discrepancy.opened 3 1, discrepancy.resolved 2 2,
           result_file.applied 1 1, discrepancy.resolved 3 2";
    assert_eq!(bill_book(&place, told).await, words(wanted));
}

#[tokio::test]
async fn the_database_refuses_confirmations_days_and_failures_that_rest_on_nothing() {
    let reported = payment_reported("O1", "report", "succeeded", json!({"gateway_txn_no": "T1"}));
    let (place, _) = place(&[both(json!({})), reported]).await;
    take_named(&place.ctx, "bill.csv", &bill(&[paid("O9", "T9", "1.00")])).await;
    let confirm = |order: &str, amount: &str, txn: &str| {
        format!(
            "INSERT INTO confirmations (order_no, payer_id, gateway, bank_code, amount, gateway_txn_no, result_file_id, line_no, booked_at, sequence)
             VALUES ('{order}', 'P1', 'wechat_pay', '', {amount}, '{txn}', 1, 2, now(), 9)"
        )
    };
    let unpaid = "INSERT INTO unpaid_orders VALUES ('O1', '2026-04-11', '2026-04-11', '2026-04-15', 9)";
    let day = "INSERT INTO bill_days VALUES ('alipay', '2026-04-11', 1)";
    let explained = "UPDATE discrepancies SET state = 'resolved', evidence = 'x', sequence = 2";
    for (sql, by) in [
        (confirm("O1", "3200.00", "T1"), "nobody: 1 rows"),
        (confirm("O1", "3199.99", "T1"), "confirmations_rest_on_settlements"),
        (confirm("O1", "3200.00", "T2"), "confirmations_rest_on_settlements"),
        (confirm("O9", "1.00", "T9"), "confirmations_rest_on_settlements"),
        (unpaid.to_owned(), "unpaid_orders_have_expired"),
        (day.to_owned(), "bill_days_are_of_applied_bills"),
        (explained.to_owned(), "nobody: 1 rows"),
        (explained.replace("evidence = 'x', ", ""), "discrepancies_follow_decisions"),
    ] {
        assert_eq!(place.refused_by(&sql).await, by, "{sql}");
    }
}

#[tokio::test]
async fn who_dies_while_silence_is_booked_finds_it_again() {
    let pikou = Pikou::new(&[BILLS]).await;
    let messages: Vec<Value> = [&declared("P1")[..], &[started("O1", &[("N-P1", "2000.00")], json!({}))]].concat();
    let lines: String = messages.iter().map(|message| format!("{message}\n")).collect();
    let messages = pikou.write("messages.jsonl", lines.as_bytes());
    assert_eq!(pikou.run(&["ingest", messages.to_str().unwrap()]).await.code(), 0);
    let file = pikou.write(&name_of(11), &bill(&[]));
    let arguments = ["reconcile", file.to_str().unwrap(), "--gateway", "wechat_pay"];
    assert!(pikou.run_with(&arguments, &[("PIKOU_DIE_AT", "absence: before commit")]).await.was_killed());
    let ended = pikou.run(&arguments).await;
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    let explained = pikou.document(&["account"], 0).await;
    assert_eq!(explained["orders"]["failed"], json!(1), "{explained:#}");
    assert_eq!(explained["balanced"], Value::Bool(true));
}
