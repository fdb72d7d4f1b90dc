//! An applied result file is put back: the book is as before it, the same bytes applied again give the same book, and what
//! rests on a file keeps it where it is.

use std::collections::BTreeMap;

use pikou::domain::discrepancy::Decision;
use pikou::domain::undoing::Rest;
use pikou::stages::Context;
use pikou::stages::absence;
use pikou::stages::decider::Decider;
use pikou::stages::resolve::{self, Resolution, Resolved};
use pikou::stages::undo::{self, Named, NotUndone, Undo, Undone};
use serde_json::{Value, json};

use crate::process::Pikou;
use crate::support::*;
use crate::wechat_bill::{self, *};

const RANGE: &str = "PIKOU__RESULTS__RANGE_MAX";
const SUSPEND_AFTER: &str = "PIKOU__REGIONS__BEIJING__INSURANCE__RESIDENT_PENSION__SUSPEND_AFTER";

fn order(number: usize) -> String {
    format!("P0000001001{number:08}")
}

fn decided(second: Option<&str>) -> Undo {
    let decider = Decider::new("Li Lei", "the bank has sent the wrong file").unwrap();
    Undo { decider, second: second.map(str::to_owned) }
}

async fn undo_as(ctx: &Context, result_file_id: i64, second: Option<&str>) -> Undone {
    undo::undo(ctx, &Named::Id(result_file_id), &decided(second)).await.unwrap()
}

/// Undoes a file whose events are all published.
async fn undone(place: &Place, result_file_id: i64) -> i64 {
    place.events().await;
    match undo_as(&place.ctx, result_file_id, None).await {
        Undone::Done { undo_id, .. } => undo_id,
        other => panic!("{other:?}"),
    }
}

/// What rests on a file: `kind count: first, second`.
async fn resting(ctx: &Context, result_file_id: i64) -> Vec<String> {
    match undo_as(ctx, result_file_id, None).await {
        Undone::Refused(NotUndone::RestedOn(all)) => {
            all.iter().map(|one| format!("{} {}: {}", one.rest.as_str(), one.count, one.about.join(", "))).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// The whole book but its numbers of events and discrepancies, which only ever go on.
async fn book(place: &Place) -> Vec<String> {
    place.account().await;
    let mut rows = Vec::new();
    for (table, which) in [
        ("attempts", "true"),
        ("declarations", "true"),
        ("online_orders", "true"),
        ("settlements", "true"),
        ("reversals", "true"),
        ("confirmations", "true"),
        ("attempt_outcomes", "true"),
        ("unpaid_orders", "true"),
        ("refunds", "true"),
        ("bill_days", "true"),
        ("discrepancies", "true"),
        ("amount_settings", "true"),
        // None is one of no runs.
        ("failure_streaks", "t.runs > 0"),
        ("runs", "true"),
        ("result_files", "t.state NOT IN ('undone', 'refused')"),
    ] {
        let sql = format!(
            "SELECT '{table} ' || (to_jsonb(t) - ARRAY['sequence', 'declaration_sequence', 'amount_sequence', 'discrepancy_id', 'streak_before'])::text
             FROM {table} t WHERE {which} ORDER BY 1"
        );
        rows.extend(place.texts(&sql).await);
    }
    rows
}

/// Every subject counts 1, 2, 3 …, whatever was undone meanwhile.
async fn counts_without_gaps(place: &Place) {
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    for event in place.events().await {
        let (id, sequence) = (event["id"].as_str().unwrap(), event["sequence"].as_i64().unwrap());
        let subject = id.rsplit_once('/').unwrap().0.to_owned();
        let before = last.insert(subject, sequence).unwrap_or(0);
        assert_eq!(sequence, before + 1, "{event}");
    }
}

/// Events told since so many, as `type subject sequence`.
async fn told_since(place: &Place, told: usize) -> Vec<String> {
    let told = place.told().await.split_off(told);
    told.into_iter()
        .map(|(kind, subject, sequence)| format!("{kind} {} {sequence}", subject.replace(&order(0)[..18], "O")))
        .map(|text| text.replace("D00000010010000000", "D").replace("/resident_pension/2026", "/2026"))
        .collect()
}

/// Nine payers are sent to bank 102 with 1500.00 each, in ranges of so many lines.
async fn sent(range_max: &str) -> Place {
    let place = Place::with(&[(RANGE, range_max), (SUSPEND_AFTER, "1")]).await;
    let messages: Vec<Value> = (1..=9).flat_map(|number| ready(&format!("P{number}"), "1500.00")).collect();
    place.take(&messages).await;
    place.run().await;
    place
}

fn file(rows: &[Row]) -> Vec<u8> {
    result_file("102_20260415_1_0001.txt", rows)
}

fn paid_row(number: usize) -> Row {
    Row::paid(&order(number), "1500.00")
}

fn failed_row(number: usize, code: &str) -> Row {
    Row::failed(&order(number), "1500.00", code)
}

/// Of every outcome one: paid, short of money, account closed, unknown, unknown code, another amount, two things at once,
/// one that nobody knows.
fn everything() -> Vec<Row> {
    vec![
        paid_row(1),
        failed_row(2, "1001"),
        failed_row(3, "2001"),
        failed_row(4, "9001"),
        failed_row(5, "7777"),
        Row { amount: "15.00".into(), ..paid_row(6) },
        paid_row(7),
        failed_row(7, "1001"),
        paid_row(8),
        paid_row(8),
        Row::paid("X1", "1500.00"),
        paid_row(9),
    ]
}

#[tokio::test]
async fn a_bank_s_file_is_undone_and_applied_again_as_if_it_had_come_once() {
    for range_max in ["50000", "1"] {
        let place = sent(range_max).await;
        let before = book(&place).await;
        let applied = place.reconcile("R1.txt", &file(&everything())).await;
        assert_eq!(applied.as_str(), "applied");
        let once = book(&place).await;
        assert_ne!(once, before);
        for round in 1..=2 {
            assert_eq!(undone(&place, 1).await, round);
            assert_eq!(book(&place).await, before, "{range_max} undone {round}");
            assert_eq!(
                place.attempts().await,
                ["P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9"].map(|p| format!("{p} sent"))
            );
            let again = place.reconcile("R1.txt", &file(&everything())).await;
            assert_eq!((again.as_str(), again.file().result_file_id), ("applied", 1));
            assert_eq!(book(&place).await, once, "{range_max} again {round}");
            assert_eq!(place.reconcile("R1.txt", &file(&everything())).await.as_str(), "repeated");
        }
        counts_without_gaps(&place).await;
    }
}

#[tokio::test]
async fn what_is_told_of_an_undo_is_the_new_state_of_each_subject() {
    let place = sent("50000").await;
    let rows =
        [paid_row(1), failed_row(2, "1001"), failed_row(3, "2001"), failed_row(5, "7777"), Row::paid("X1", "1500.00")];
    place.reconcile("R1.txt", &file(&rows)).await;
    let told = place.told().await.len();
    undone(&place, 1).await;
    let wanted = [
        "payment.reversed O1 5",
        "declaration.paying D1 4",
        "deduction.sent O2 4",
        "declaration.paying D2 4",
        "deduction.sent O3 4",
        "declaration.paying D3 4",
        "deduction.sent O5 4",
        "amount.released P2/2026 3",
        "amount.released P3/2026 3",
        "discrepancy.resolved 1 2",
        "discrepancy.resolved 2 2",
        "result_file.undone 1 2",
    ];
    assert_eq!(told_since(&place, told).await, wanted);
    let reversed = &place.data_of("payment.reversed").await[0];
    assert_eq!((&reversed["reason"], &reversed["confirmed"]), (&json!("undone"), &json!(false)));
    let events = place.events().await;
    let last = events.last().unwrap();
    assert_eq!(
        (&last["causation"], &last["data"]["rows"], &last["data"]["applied"]),
        (&json!("result_file_undo:1"), &json!(5), &json!(3))
    );
    let resolved = &place.data_of("discrepancy.resolved").await[0];
    assert_eq!(resolved["evidence"], "result_file_undo:1");
    counts_without_gaps(&place).await;
    let kept = place.texts("SELECT kind || ' ' || count(*) FROM undone_rows GROUP BY kind ORDER BY 1").await;
    assert_eq!(kept, ["attempt_outcomes 3", "discrepancies 2", "settlements 1"]);
    let who = place.texts("SELECT concat_ws(' | ', file_name, rows, decided_by, reason) FROM result_file_undos").await;
    assert_eq!(who, ["R1.txt | 5 | Li Lei | the bank has sent the wrong file"]);
}

#[tokio::test]
async fn a_closed_run_waits_again_for_what_only_the_undone_file_had() {
    let place = sent("50000").await;
    let before = book(&place).await;
    let first: Vec<Row> = (1..=4).map(|number| failed_row(number, "9001")).collect();
    place.reconcile("R1.txt", &file(&first)).await;
    let settling = book(&place).await;
    let rest: Vec<Row> = [failed_row(1, "9002"), paid_row(2), failed_row(3, "1001")]
        .into_iter()
        .chain([Row { amount: "15.00".into(), ..paid_row(4) }])
        .chain((5..=9).map(paid_row))
        .collect();
    place.reconcile("R2.txt", &file(&rest)).await;
    assert_eq!(place.texts("SELECT state FROM runs").await, ["settling"], "one is unknown");
    place.reconcile("R3.txt", &file(&[paid_row(1)])).await;
    assert_eq!(place.texts("SELECT state FROM runs").await, ["closed"]);
    let closed = book(&place).await;
    place.events().await;
    assert_eq!(resting(&place.ctx, 2).await, [format!("said_since 1: {}", order(1))]);
    undone(&place, 3).await;
    let told = place.told().await.len();
    undone(&place, 2).await;
    assert_eq!(book(&place).await, settling);
    let told = told_since(&place, told).await;
    let unknown = ["deduction.unknown O1 8", "deduction.unknown O3 5", "deduction.unknown O4 5"];
    for event in unknown {
        assert!(told.contains(&event.to_owned()), "{event} of {told:?}");
    }
    assert!(!told.iter().any(|event| event.starts_with("run.")), "{told:?}");
    undone(&place, 1).await;
    assert_eq!(book(&place).await, before);
    for (name, rows) in [("R1.txt", &first[..]), ("R2.txt", &rest[..]), ("R3.txt", &[paid_row(1)])] {
        assert_eq!(place.reconcile(name, &file(rows)).await.as_str(), "applied");
    }
    assert_eq!(book(&place).await, closed);
    let runs = place.told_of("1").await;
    assert_eq!(runs.iter().filter(|kind| *kind == "run.closed").count(), 2);
    counts_without_gaps(&place).await;
}

#[tokio::test]
async fn a_corrected_file_takes_the_name_of_the_undone_one() {
    let place = sent("50000").await;
    place.reconcile("R1.txt", &file(&[paid_row(1), failed_row(2, "1001")])).await;
    undone(&place, 1).await;
    let corrected = place.reconcile("R1.txt", &file(&[failed_row(1, "1001"), paid_row(2)])).await;
    assert_eq!((corrected.as_str(), corrected.file().result_file_id), ("applied", 2));
    assert_eq!(place.attempts().await[..2], ["P1 failed", "P2 succeeded"]);
    assert_eq!(place.count("SELECT count(*) FROM discrepancies").await, 0, "the name is not used twice");
    counts_without_gaps(&place).await;
}

#[tokio::test]
async fn a_late_result_that_is_undone_is_missing_again() {
    let place = sent("50000").await;
    place.events().await;
    let late = place.at("2026-04-21T00:00:00+08:00");
    assert_eq!(absence::look(&late).await.unwrap().results_missing, 9);
    let before = book(&place).await;
    reconcile_at(&late, "late.txt", &everything()).await;
    let once = book(&place).await;
    undone(&place, 1).await;
    assert_eq!(book(&place).await, before);
    reconcile_at(&late, "late.txt", &everything()).await;
    assert_eq!(book(&place).await, once);
    counts_without_gaps(&place).await;
}

/// What happens to orders in one bill after the other: a payment of two declarations; a report that is confirmed; one that
/// is refunded; one that was closed; one in doubt; one that is paid and revoked in one bill; one that nobody knows; one of
/// another sum; one of which no bill has anything, and one that only the bill of its day could have.
async fn billed(range_max: &str) -> Place {
    let place = Place::with(&[BILLS, (RANGE, range_max)]).await;
    for number in 1..=8 {
        place.take(&declared(&format!("P{number}"))).await;
    }
    let normal = |number: usize| (format!("N-P{number}"), "2000.00");
    for number in 1..=8 {
        let (name, amount) = normal(number);
        let special = format!("S-P{number}");
        let items = [(name.as_str(), amount), (special.as_str(), "1200.00")];
        place.take(&[started(&format!("O{number}"), &items, json!({}))]).await;
    }
    let report = |number: usize, fields: Value| {
        payment_reported(&format!("O{number}"), &format!("report-{number}"), "succeeded", fields)
    };
    place
        .take(&[
            report(2, json!({})),
            report(3, json!({"gateway_txn_no": "T3"})),
            report(8, json!({"gateway_txn_no": "T8", "paid_at": "2026-04-11T08:04:59+08:00"})),
        ])
        .await;
    place
}

fn bill_rows() -> Vec<BillRow> {
    vec![
        wechat_bill::paid("O1", "T1", "3200.00"),
        wechat_bill::paid("O2", "T2", "3200.00"),
        wechat_bill::paid("O3", "T3", "3200.00"),
        refund("O3", "T3", "R3", "3200.00", "SUCCESS"),
        of_state("CLOSED", wechat_bill::paid("O4", "T4", "0.00")),
        of_state("ACCEPT", wechat_bill::paid("O5", "T5", "3200.00")),
        wechat_bill::paid("O6", "T6", "3200.00"),
        of_state("REVOKED", wechat_bill::paid("O6", "T6", "3200.00")),
        wechat_bill::paid("X1", "T9", "10.00"),
    ]
}

#[tokio::test]
async fn a_bill_is_undone_and_applied_again_as_if_it_had_come_once() {
    for range_max in ["50000", "1"] {
        let place = billed(range_max).await;
        let before = book(&place).await;
        assert_eq!(take_bill(&place.ctx, 11, &bill_rows()).await.as_str(), "applied");
        let applied = book(&place).await;
        for round in 1..=2 {
            undone(&place, 1).await;
            assert_eq!(book(&place).await, before, "{range_max} undone {round}");
            assert_eq!(take_bill(&place.ctx, 11, &bill_rows()).await.as_str(), "applied");
            assert_eq!(book(&place).await, applied, "{range_max} again {round}");
        }
        counts_without_gaps(&place).await;
    }
}

#[tokio::test]
async fn what_a_bill_s_silence_has_failed_is_out_again_without_it() {
    let place = billed("50000").await;
    let before = book(&place).await;
    take_bill(&place.ctx, 11, &bill_rows()).await;
    let found = absence::look(&place.ctx).await.unwrap();
    assert_eq!((found.not_paid, found.not_in_bill), (2, 2), "O7 is unpaid, and O8 is in no bill");
    let looked = book(&place).await;
    let told = place.told().await.len();
    undone(&place, 1).await;
    let not_in_bill = |row: &String| row.starts_with("discrepancies ") && row.contains("not_in_bill");
    let (waiting, rest): (Vec<String>, Vec<String>) = book(&place).await.into_iter().partition(not_in_bill);
    assert_eq!((rest, waiting.len()), (before, 2), "that no bill has O8 is as true as before");
    let told = told_since(&place, told).await;
    let of =
        |name: &str| told.iter().filter(|event| event.split(' ').nth(1) == Some(name)).cloned().collect::<Vec<_>>();
    assert_eq!(of("O1"), ["payment.reversed O1 4", "payment.reversed O1 5"]);
    assert_eq!(of("O2"), ["payment.recorded O2 6", "payment.recorded O2 7"]);
    assert_eq!(of("O3"), ["payment.recorded O3 8", "payment.recorded O3 9"]);
    assert_eq!(of("N-P3"), ["declaration.paid N-P3 5"]);
    assert_eq!(of("O4"), ["payment.started O4 3"]);
    assert_eq!(of("O5"), Vec::<String>::new());
    assert_eq!(of("O6"), ["payment.started O6 6"]);
    assert_eq!(of("N-P6"), ["declaration.paying N-P6 5"]);
    assert_eq!(of("O7"), ["payment.started O7 3"]);
    assert_eq!(of("S-P7"), ["declaration.paying S-P7 4"]);
    let recorded = place.data_of("payment.recorded").await;
    let again = recorded.iter().rev().find(|data| data["order_no"] == "O2").unwrap();
    assert_eq!(again["confirmed"], false);
    take_bill(&place.ctx, 11, &bill_rows()).await;
    absence::look(&place.ctx).await.unwrap();
    assert_eq!(book(&place).await, looked);
    counts_without_gaps(&place).await;
}

#[tokio::test]
async fn a_day_that_two_bills_cover_stays_covered_when_one_of_them_is_undone() {
    let place = billed("50000").await;
    take_bill(&place.ctx, 11, &[]).await;
    take_named(&place.ctx, "again.csv", &bill(&[wechat_bill::paid("O1", "T1", "3200.00")])).await;
    absence::look(&place.ctx).await.unwrap();
    let failed = place.count("SELECT count(*) FROM unpaid_orders").await;
    undone(&place, 2).await;
    assert_eq!(place.count("SELECT count(*) FROM unpaid_orders").await, failed);
    assert_eq!(place.attempts().await[..2], ["P1 sent", "P1 sent"]);
}

#[tokio::test]
async fn a_refund_s_bill_and_its_payment_s_bill_are_undone_the_last_first() {
    let place = Place::with(&[BILLS]).await;
    place.take(&declared("P1")).await;
    place.take(&[started("O1", &[("N-P1", "2000.00")], json!({}))]).await;
    let before = book(&place).await;
    take_bill(&place.ctx, 12, &[refund("O1", "T1", "R1", "2000.00", "SUCCESS")]).await;
    take_bill(&place.ctx, 11, &[wechat_bill::paid("O1", "T1", "2000.00")]).await;
    assert_eq!(place.attempts().await, ["P1 reversed"]);
    place.events().await;
    assert_eq!(resting(&place.ctx, 2).await, ["said_since 1: O1"]);
    undone(&place, 1).await;
    assert_eq!(place.attempts().await, ["P1 succeeded"]);
    undone(&place, 2).await;
    assert_eq!(book(&place).await, before);
    counts_without_gaps(&place).await;
}

#[tokio::test]
async fn a_missing_file_is_missing_again() {
    let expected = ("PIKOU__RESULTS__BILLS__WECHAT_PAY__EXPECTED_BY", "10:00");
    let place = Place::with(&[BILLS, expected]).await;
    absence::look(&place.at("2026-04-11T09:00:00+08:00")).await.unwrap();
    assert_eq!(absence::look(&place.at("2026-04-12T11:00:00+08:00")).await.unwrap().files_missing, 1);
    let states = "SELECT kind || ' ' || state FROM discrepancies";
    take_bill(&place.ctx, 11, &[]).await;
    assert_eq!(place.texts(states).await, ["file_missing resolved"]);
    undone(&place, 1).await;
    assert_eq!(place.texts(states).await, ["file_missing open"]);
    take_bill(&place.ctx, 11, &[]).await;
    assert_eq!(place.texts(states).await, ["file_missing resolved"]);
    counts_without_gaps(&place).await;
}

async fn resolve(ctx: &Context, discrepancy_id: i64, decision: Decision) {
    let decider = Decider::new("Han Meimei", "looked at").unwrap();
    let resolution = Resolution { decision, order_no: None, decider, second: None };
    let resolved = resolve::resolve(ctx, discrepancy_id, &resolution).await.unwrap();
    assert!(matches!(resolved, Resolved::Done(_)), "{resolved:?}");
}

async fn take_at(ctx: &Context, messages: &[Value]) -> usize {
    pikou::stages::intake::take(ctx, &deliveries(messages)).await.unwrap().accepted
}

/// Applies a file of bank 102 as seen at another time.
async fn reconcile_at(ctx: &Context, name: &str, rows: &[Row]) {
    let bank = ctx.settings.bank.bank("102").unwrap();
    let outcome = pikou::stages::reconcile::reconcile(ctx, bank, name, &file(rows)[..]).await.unwrap();
    assert_eq!(outcome.as_str(), "applied");
}

#[tokio::test]
async fn what_rests_on_a_bank_s_file_is_named_and_nothing_happens() {
    // Each alone, on a file of its own; then all together.
    let place = sent("50000").await;
    place.reconcile("R1.txt", &file(&everything())).await;
    let first: Vec<String> =
        resting(&place.ctx, 1).await.into_iter().map(|one| one.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(first, ["events_waiting"]);
    place.events().await;
    let later = place.at("2026-04-20T09:00:00+08:00");
    let kind = |kind: &str| format!("SELECT discrepancy_id FROM discrepancies WHERE kind = '{kind}'");
    let unknown_order = place.count(&kind("unknown_order")).await;
    resolve(&later, unknown_order, Decision::WriteOff).await;
    // P5's unknown code: it has succeeded.
    let unknown_code = place.count(&kind("unknown_code")).await;
    resolve(&later, unknown_code, Decision::AcceptSuccess).await;
    // P9 had paid; another file says otherwise.
    reconcile_at(&later, "R2.txt", &[failed_row(9, "1001"), paid_row(4)]).await;
    // P1 has paid, so that a void is refused; P2 is free, so that one is not. P3 is released and deducted again.
    let voids =
        [amount_voided("P1", "void-1", "2026-04-19T00:00:00Z"), amount_voided("P2", "void-2", "2026-04-19T00:00:00Z")];
    assert_eq!(take_at(&later, &voids).await, 1);
    assert_eq!(take_at(&later, &[agreement_with("P3", "again-3", "2026-04-19T00:00:00Z", json!({}))]).await, 1);
    place.run_on(chrono::NaiveDate::from_ymd_opt(2026, 5, 15).unwrap()).await;
    place.events().await;
    let before = book(&place).await;
    let wanted = [
        format!("declaration_moved 2: D{}, D{}", &order(2)[1..], &order(3)[1..]),
        format!("discrepancy_decided 2: {unknown_code}, {unknown_order}"),
        "refused_since 1: //test/void-1".to_owned(),
        format!("said_since 3: {}, {}, {}", order(4), order(5), order(9)),
        "voided_since 1: //test/void-2".to_owned(),
    ];
    assert_eq!(resting(&place.ctx, 1).await, wanted);
    assert_eq!(book(&place).await, before);
    assert_eq!(place.count("SELECT count(*) FROM result_file_undos").await, 0);
}

#[tokio::test]
async fn what_rests_on_a_bill_is_named_and_nothing_happens() {
    let place = billed("50000").await;
    take_bill(&place.ctx, 11, &bill_rows()).await;
    absence::look(&place.ctx).await.unwrap();
    place.events().await;
    let later = place.at("2026-04-20T09:00:00+08:00");
    let report =
        |order: &str| payment_reported(order, &format!("late-{order}"), "succeeded", json!({"gateway_txn_no": "T1"}));
    // Known already; after the undo it would be news.
    assert_eq!(take_at(&later, &[report("O1")]).await, 1);
    // Of the order that the bill had failed, and of the one that its silence had.
    let again = |order: &str, number: &str| {
        started(order, &[(number, "2000.00")], json!({"expires_at": "2026-04-21T00:00:00Z"}))
    };
    assert_eq!(take_at(&later, &[again("O14", "N-P4"), again("O17", "N-P7")]).await, 2);
    // Reversed, and declared anew.
    assert_eq!(take_at(&later, &[declaration("P3", "N-P3-again", json!({"collect_by": "online"}))]).await, 1);
    // The money of the order that nobody knew.
    let unknown = started("X1", &[("N-P3-again", "2000.00")], json!({}));
    take_at(&later, &[unknown]).await;
    // A person decides on what no row of the bill is about, because of the bill.
    let wanted = ["declaration_moved 2: N-P4, N-P7", "declared_anew 1: N-P3-again", "reported_since 1: //test/late-O1"];
    place.events().await;
    let before = book(&place).await;
    assert_eq!(resting(&place.ctx, 1).await, wanted);
    assert_eq!(book(&place).await, before);
}

#[tokio::test]
async fn money_that_a_later_start_has_used_keeps_its_bill() {
    let place = Place::with(&[BILLS]).await;
    place.take(&declared("P1")).await;
    take_bill(&place.ctx, 11, &[wechat_bill::paid("O1", "T1", "2000.00")]).await;
    let later = place.at("2026-04-20T09:00:00+08:00");
    assert_eq!(take_at(&later, &[started("O1", &[("N-P1", "2000.00")], json!({}))]).await, 1);
    place.events().await;
    assert_eq!(place.attempts().await, ["P1 succeeded"]);
    assert_eq!(resting(&place.ctx, 1).await, ["money_used 1: 1"]);
}

#[tokio::test]
async fn a_decision_that_rested_on_a_file_s_word_keeps_it() {
    let place = Place::with(&[BILLS]).await;
    place.take(&declared("P1")).await;
    place.take(&[started("O1", &[("N-P1", "2000.00")], json!({}))]).await;
    place.take(&[payment_reported("O1", "strange", "failed", json!({"code": "NOBODY_KNOWS"}))]).await;
    take_bill(&place.ctx, 11, &[wechat_bill::paid("O1", "T1", "2000.00")]).await;
    let later = place.at("2026-04-20T09:00:00+08:00");
    resolve(&later, 1, Decision::AcceptSuccess).await;
    place.events().await;
    assert_eq!(resting(&place.ctx, 1).await, ["decided_since 1: 1"]);
}

#[tokio::test]
async fn what_ends_a_year_or_counts_on_from_a_file_keeps_it() {
    let place = Place::with(&[(SUSPEND_AFTER, "3")]).await;
    place.take(&ready("P1", "1500.00")).await;
    place.run().await;
    place.reconcile("R1.txt", &file(&[failed_row(1, "1001")])).await;
    place.events().await;
    let key = pikou::store::year_turns::TurnKey {
        region: "beijing".into(),
        insurance_type: PENSION.into(),
        valid_year: 2026,
    };
    pikou::stages::turning::expire(&place.at("2026-12-11T09:00:00+08:00"), &key).await.unwrap();
    place.events().await;
    assert_eq!(resting(&place.ctx, 1).await, ["year_ended 1: P1"]);
    // As another file of another year would.
    sqlx::query("UPDATE failure_streaks SET runs = 2, last_file_id = 7").execute(&place.ctx.pool).await.unwrap();
    assert_eq!(resting(&place.ctx, 1).await, ["counted_since 1: P1", "year_ended 1: P1"]);
}

#[tokio::test]
async fn what_an_earlier_version_applied_cannot_be_undone() {
    let place = sent("50000").await;
    place.reconcile("R1.txt", &file(&[paid_row(1), failed_row(2, "1001")])).await;
    place.events().await;
    let mut tx = place.ctx.pool.begin().await.unwrap();
    sqlx::raw_sql("SET LOCAL session_replication_role = replica; UPDATE attempt_outcomes SET state_before = NULL")
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(resting(&place.ctx, 1).await, [format!("earlier_version 1: {}", order(2))]);
}

#[tokio::test]
async fn at_most_so_many_of_a_kind_are_named() {
    let place = Place::new().await;
    place
        .reconcile("R1.txt", &file(&(1..=30).map(|n| Row::paid(&format!("X{n:02}"), "1.00")).collect::<Vec<_>>()))
        .await;
    place.events().await;
    for id in 1..=30 {
        resolve(&place.ctx, id, Decision::WriteOff).await;
    }
    let Undone::Refused(NotUndone::RestedOn(all)) = undo_as(&place.ctx, 1, None).await else { panic!() };
    assert_eq!(
        (all.len(), all[0].rest, all[0].count, all[0].about.len()),
        (1, Rest::DiscrepancyDecided, 30, undo::NAMED_MAX)
    );
}

#[tokio::test]
async fn a_file_is_undone_by_whom_it_takes_and_once() {
    let place = sent("50000").await;
    let refused = |undone: Undone| match undone {
        Undone::Refused(no) => no.code(),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(undo_as(&place.ctx, 1, None).await), "unknown_file");
    place.reconcile("R1.txt", b"not a result file").await;
    assert_eq!(refused(undo_as(&place.ctx, 1, None).await), "not_applied");
    let applied = place.reconcile("R2.txt", &file(&[paid_row(1)])).await;
    place.events().await;
    let careful = place.under(&[("PIKOU__RESULTS__TWO_PEOPLE", "[\"accept_failure\"]")]);
    assert_eq!(refused(undo_as(&careful, 2, None).await), "second_person_needed");
    assert_eq!(refused(undo_as(&careful, 2, Some(" LI lei ")).await), "same_person");
    let unmoved = place.under(&[("PIKOU__RESULTS__TWO_PEOPLE", "[\"write_off\"]")]);
    assert_eq!(
        undo::undo(&unmoved, &Named::Name("R9.txt".into()), &decided(None)).await.unwrap(),
        Undone::Refused(NotUndone::Unknown)
    );
    let named = Named::Sha256(applied.file().sha256.clone());
    let done = undo::undo(&careful, &named, &decided(Some("Han Meimei"))).await.unwrap();
    assert_eq!(done, Undone::Done { undo_id: 1, result_file_id: 2, file_name: "R2.txt".into() });
    let again = undo_as(&place.ctx, 2, None).await;
    assert_eq!(again, Undone::Repeated { result_file_id: 2, file_name: "R2.txt".into() });
    assert_eq!(
        place.texts("SELECT decided_by || ', ' || second_by FROM result_file_undos").await,
        ["Li Lei, Han Meimei"]
    );
    place.reconcile("R2.txt", &file(&[paid_row(2)])).await;
    place.reconcile("R2.txt", &file(&[paid_row(3)])).await;
    let several = undo::undo(&place.ctx, &Named::Name("R2.txt".into()), &decided(None)).await.unwrap();
    assert_eq!(several, Undone::Refused(NotUndone::Several(vec![3, 4])));
}

#[tokio::test]
async fn of_two_who_undo_one_file_one_finds_it_undone_and_so_does_who_applies_it_meanwhile() {
    for round in 0..4 {
        let place = sent("50000").await;
        place.reconcile("R1.txt", &file(&everything())).await;
        place.events().await;
        let other = place.other_worker();
        let (one, two) = tokio::join!(undo_as(&place.ctx, 1, None), undo_as(&other, 1, None));
        let done = [&one, &two].iter().filter(|undone| matches!(undone, Undone::Done { .. })).count();
        let repeated = [&one, &two].iter().filter(|undone| matches!(undone, Undone::Repeated { .. })).count();
        assert_eq!((done, repeated), (1, 1), "{round}: {one:?} {two:?}");
        assert_eq!(place.count("SELECT count(*) FROM result_file_undos").await, 1);
        place.account().await;
        counts_without_gaps(&place).await;
    }
}

#[tokio::test]
async fn an_undo_that_dies_has_not_happened_and_one_that_is_done_stays_done() {
    for (at, state) in [("undo: before commit", "applied"), ("undo: undone", "undone")] {
        let pikou = Pikou::new(&[("PIKOU__LOG__LEVEL", "warn")]).await;
        let messages: String =
            (1..=9).flat_map(|n| ready(&format!("P{n}"), "1500.00")).map(|m| format!("{m}\n")).collect();
        let messages = pikou.write("messages.jsonl", messages.as_bytes());
        let answer = pikou.write("R1.txt", &file(&everything()));
        for arguments in [
            vec!["ingest", messages.to_str().unwrap()],
            vec!["run", SCHEDULE, "--date", "2026-04-15", "--unscheduled"],
            vec!["reconcile", answer.to_str().unwrap()],
        ] {
            let ended = pikou.run(&arguments).await;
            assert_eq!(ended.code(), 0, "{arguments:?}: {}", ended.stderr);
        }
        let undo = ["reconcile", "undo", answer.to_str().unwrap(), "--by", "Li Lei", "--reason", "the wrong file"];
        let died = pikou.run_with(&undo, &[("PIKOU_DIE_AT", at)]).await;
        assert!(died.was_killed(), "{at}: {}", died.stderr);
        assert_eq!(pikou.texts("SELECT state FROM result_files").await, [state], "{at}");
        let settled = pikou.count("SELECT count(*) FROM settlements").await;
        assert_eq!(settled > 0, state == "applied", "{at}");
        let document = pikou.document(&undo, 0).await;
        assert_eq!(document["outcome"], if state == "applied" { "undone" } else { "repeated" }, "{at}");
        assert_eq!(pikou.count("SELECT count(*) FROM settlements").await, 0, "{at}");
        assert_eq!(pikou.run(&["account"]).await.code(), 0, "{at}");
        let again = pikou.document(&["reconcile", answer.to_str().unwrap()], 0).await;
        assert_eq!(again["outcome"], "applied", "{at}");
    }
}

#[tokio::test]
async fn a_person_is_told_what_rests_on_a_file() {
    let pikou = Pikou::new(&[("PIKOU__LOG__LEVEL", "warn")]).await;
    let rows = pikou.write("R1.txt", &file(&[Row::paid("X1", "1.00")]));
    assert_eq!(pikou.run(&["reconcile", rows.to_str().unwrap()]).await.code(), 0);
    let decide = ["discrepancies", "resolve", "1", "--decision", "write_off", "--by", "Li Lei", "--reason", "nobody's"];
    assert_eq!(pikou.run(&decide).await.code(), 0);
    let undo = ["reconcile", "undo", "1", "--by", "Li Lei", "--reason", "the wrong file"];
    let said = pikou.run(&undo).await;
    assert_eq!(said.code(), 3);
    assert!(
        said.stderr.contains("refused as rested_on") && said.stderr.contains("discrepancy_decided (1)"),
        "{}",
        said.stderr
    );
    let document = pikou.document(&undo, 3).await;
    assert_eq!((&document["refused"], &document["resting"][0]["about"]), (&json!("rested_on"), &json!(["1"])));
    let nameless = pikou.run(&["reconcile", "undo", "1", "--by", " ", "--reason", "x"]).await;
    assert_eq!(nameless.code(), 2, "{}", nameless.stderr);
    let missing = pikou.run(&["reconcile", "undo", "R7.txt", "--by", "Li Lei", "--reason", "x"]).await;
    assert_eq!(missing.code(), 3, "{}", missing.stderr);
}

/// Tries statements in one transaction that is rolled back: who refuses one of them, at once or at the commit.
async fn refused(place: &Place, statements: &[&str]) -> String {
    let mut tx = place.ctx.pool.begin().await.unwrap();
    for statement in statements.iter().chain(&["SET CONSTRAINTS ALL IMMEDIATE"]) {
        if let Err(sqlx::Error::Database(error)) =
            sqlx::raw_sql(sqlx::AssertSqlSafe((*statement).to_owned())).execute(&mut *tx).await
        {
            return error.constraint().map_or_else(|| error.message().to_owned(), str::to_owned);
        }
    }
    "nobody".to_owned()
}

#[tokio::test]
async fn no_row_leaves_the_book_but_by_the_undo_of_its_file() {
    let place = sent("50000").await;
    place.reconcile("R1.txt", &file(&everything())).await;
    place.reconcile("R2.txt", &file(&[failed_row(9, "1001")])).await;
    place.reconcile("R3.txt", b"refused").await;
    let undo = |file: i64| {
        format!(
            "INSERT INTO result_file_undos (result_file_id, file_name, rows, applied, repeated, discrepancies, not_ours, applied_at, decided_by, reason, decided_at)
             VALUES ({file}, 'R', 1, 1, 0, 0, 0, now(), 'x', 'y', now())"
        )
    };
    let (first, second, third) = (undo(1), undo(2), undo(3));
    let keep = |table: &str, change: &str| {
        format!(
            "INSERT INTO undone_rows (undo_id, kind, row) SELECT current_undo(), '{table}', to_jsonb(t) {change} FROM {table} t WHERE result_file_id = 1"
        )
    };
    let (kept, changed) = (keep("settlements", ""), keep("settlements", "|| '{\"amount\": 1}'"));
    let go = "DELETE FROM settlements WHERE result_file_id = 1";
    let evidence = |table: &str| format!("DELETE on {table} is not possible: its rows are evidence");
    let cases: [(&str, Vec<&str>, &str); 15] = [
        ("a settlement deleted", vec![go], &evidence("settlements")),
        ("a discrepancy deleted", vec!["DELETE FROM discrepancies"], &evidence("discrepancies")),
        ("an outcome deleted", vec!["DELETE FROM attempt_outcomes"], &evidence("attempt_outcomes")),
        ("a settlement deleted that is not kept", vec![&first, go], "goes_only_undone"),
        ("a settlement kept otherwise", vec![&first, &changed, go], "goes_only_undone"),
        ("a settlement of another file", vec![&second, &kept, go], "goes_only_undone"),
        ("kept without an undo", vec!["INSERT INTO undone_rows (undo_id, kind, row) VALUES (1, 'bill_days', '{\"day\": \"2026-04-11\"}')"], "undone_rows_undo_id_fkey"),
        ("half of a file", vec![&first, &kept, go], "an_undo_is_whole"),
        ("a file that was refused", vec![&third], "undone_files_were_applied"),
        ("two at once", vec![&first, &second], "undone_files_were_applied"),
        ("undone by nobody", vec!["UPDATE result_files SET state = 'undone', booked_through = 0, rows = NULL, applied = NULL, repeated = NULL,
            discrepancies = NULL, not_ours = NULL, applied_at = NULL WHERE result_file_id = 1"], "files_are_undone_by_people"),
        ("another attempt taken back", vec![&first, "UPDATE attempts SET state = 'planned' WHERE payer_id = 'P3'"], "attempts_move_forward"),
        ("an undo changed", vec![&first, "UPDATE result_file_undos SET reason = 'z'"], "UPDATE on result_file_undos is not possible: its rows are evidence"),
        ("a kept row deleted", vec![&first, &kept, "DELETE FROM undone_rows"], "DELETE on undone_rows is not possible: its rows are evidence"),
        ("a run taken back", vec![&second, "UPDATE runs SET state = 'sent'"], "runs_move_forward"),
    ];
    let mut found = Vec::new();
    for (what, statements, _) in &cases {
        found.push(format!("{what}: {}", refused(&place, statements).await));
    }
    let wanted: Vec<String> = cases.iter().map(|(what, _, guard)| format!("{what}: {guard}")).collect();
    assert_eq!(found, wanted);
}
