//! What people decide on discrepancies, every kind with every decision: each case compares the whole book afterwards.
//!
//! P1 with 1500.00 (order O1, declaration D1) and P2 with 2000.00 (O2, D2) are with bank 102, whose files disagree with
//! us; or P3 has paid online. The book is written as one text: what came of the decision, attempts, declarations,
//! settlements and reversals with their evidence, held amounts, discrepancies that are still open, decisions, the run,
//! and the events that were told since (type, subject, sequence).

use pikou::domain::discrepancy::{Decision, DiscrepancyKind};
use pikou::stages::Context;
use pikou::stages::decider::Decider;
use pikou::stages::reconcile::Outcome;
use pikou::stages::resolve::{self, Resolution, Resolved};
use serde_json::json;

use crate::support::*;

pub const AMOUNTS: [&str; 2] = ["1500.00", "2000.00"];

pub fn order(number: usize) -> String {
    format!("P0000001001{number:08}")
}

pub fn paid(number: usize) -> Row {
    Row { txn_no: format!("T{number}"), ..Row::paid(&order(number), AMOUNTS[number - 1]) }
}

pub fn failed(number: usize, code: &str) -> Row {
    Row::failed(&order(number), AMOUNTS[number - 1], code)
}

/// P1 and P2 have been sent to the bank.
pub async fn sent_with(settings: &[(&str, &str)]) -> Place {
    let place = Place::with(settings).await;
    let messages: Vec<_> =
        [("P1", AMOUNTS[0]), ("P2", AMOUNTS[1])].iter().flat_map(|(payer, amount)| ready(payer, amount)).collect();
    place.take(&messages).await;
    place.run().await;
    place
}

pub async fn apply(place: &Place, files: &[&[Row]]) {
    for (number, rows) in (1..).zip(files) {
        let file = result_file("102_20260415_1_0001.txt", rows);
        let outcome = place.reconcile(&format!("R{number}.txt"), &file).await;
        assert!(matches!(outcome, Outcome::Applied(_)), "file {number} is {}", outcome.as_str());
    }
}

pub fn by(decision: Decision, order_no: Option<&str>, second: Option<&str>) -> Resolution {
    Resolution {
        decision,
        order_no: order_no.map(str::to_owned),
        decider: Decider::new("Li Lei", "the bank says so on the telephone").unwrap(),
        second: second.map(str::to_owned),
    }
}

pub async fn decide(ctx: &Context, id: i64, decision: Decision, order_no: Option<&str>) -> String {
    let resolved = resolve::resolve(ctx, id, &by(decision, order_no, None)).await.unwrap();
    match resolved {
        Resolved::Done(ids) => format!("done {ids:?}"),
        Resolved::Repeated => "repeated".into(),
        Resolved::Refused(no) => format!("refused {}", no.code()),
    }
}

/// The first discrepancy of a kind.
pub async fn first(place: &Place, kind: DiscrepancyKind) -> i64 {
    let sql = format!("SELECT COALESCE(min(discrepancy_id), 0) FROM discrepancies WHERE kind = '{}'", kind.as_str());
    place.count(&sql).await
}

/// The whole book under short names; parts that are empty are left out.
pub async fn book(place: &Place, told: usize) -> String {
    place.account().await;
    let mut parts = Vec::new();
    for (name, sql) in [
        (
            "",
            "SELECT payer_id || ' ' || status || COALESCE(' ' || withdrawal, '') FROM attempt_status ORDER BY payer_id, order_no, item",
        ),
        (
            "",
            "SELECT d.declaration_no || ' ' || CASE WHEN s.order_no IS NULL THEN d.state ELSE 'paid' END
                    || CASE d.failed_runs WHEN 0 THEN '' ELSE ' failed ' || d.failed_runs END
             FROM declarations d LEFT JOIN standing_settlements s USING (declaration_no) ORDER BY 1",
        ),
        (
            "settled ",
            "SELECT order_no || ' ' || amount || COALESCE(' ' || gateway_txn_no, '') || ' by '
                    || COALESCE(result_file_id || '#' || line_no, message_id, 'decision ' || decision_id)
             FROM settlements ORDER BY order_no, item",
        ),
        (
            "reversed ",
            "SELECT order_no || ' by ' || COALESCE(result_file_id || '#' || line_no, 'decision ' || decision_id)
             FROM reversals ORDER BY order_no, item",
        ),
        (
            "held ",
            "SELECT payer_id || ' ' || hold_reason FROM amount_settings WHERE hold_reason IS NOT NULL ORDER BY 1",
        ),
        ("open ", "SELECT kind FROM discrepancies WHERE state = 'open' ORDER BY discrepancy_id"),
        ("decided ", "SELECT discrepancy_id || ' ' || what FROM discrepancy_decisions ORDER BY decision_id"),
        ("run ", "SELECT state FROM runs"),
    ] {
        let lines = place.texts(sql).await;
        if !lines.is_empty() {
            parts.push(format!("{name}{}", lines.join(", ")));
        }
    }
    let events = place.told().await;
    let events: Vec<String> =
        events[told..].iter().map(|(kind, subject, seq)| format!("{kind} {subject} {seq}")).collect();
    parts.push(format!("told {}", events.join(", ")));
    let (order, declaration) = (order(0), order(0).replacen('P', "D", 1));
    let (order, declaration) = (&order[..order.len() - 1], &declaration[..declaration.len() - 1]);
    parts.join(" | ").replace(order, "O").replace(declaration, "D").replace("/resident_pension/2026", "/2026")
}

pub fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Decides on the first discrepancy of a kind, and says what came of it.
async fn decided(place: &Place, kind: DiscrepancyKind, decision: Decision, order_no: Option<&str>) -> String {
    let told = place.told().await.len();
    let id = first(place, kind).await;
    let outcome = decide(&place.ctx, id, decision, order_no).await;
    words(&format!("{outcome} | {}", book(place, told).await))
}

/// What a kind comes to, decision by decision.
type Wanted<'w> = &'w [(Decision, &'w str)];

fn compare(found: Vec<(String, String)>, wanted: Vec<(String, String)>) {
    let wrong: Vec<String> = found
        .iter()
        .zip(&wanted)
        .filter(|(found, wanted)| found != wanted)
        .map(|((name, found), (_, wanted))| format!("{name}\n   found {found}\n  wanted {wanted}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Each decision on the same files, in a place of its own.
async fn check(name: &str, files: &[&[Row]], kind: DiscrepancyKind, wanted: Wanted<'_>) {
    let mut found = Vec::new();
    for (decision, _) in wanted {
        let place = sent_with(&[]).await;
        apply(&place, files).await;
        let order_no = order(2);
        let to = (*decision == Decision::Attach).then_some(order_no.as_str());
        found.push((format!("{name}: {}", decision.as_str()), decided(&place, kind, *decision, to).await));
    }
    let wanted = wanted.iter().map(|(decision, text)| (format!("{name}: {}", decision.as_str()), words(text)));
    compare(found, wanted.collect());
}

use {Decision as D, DiscrepancyKind as K};

#[tokio::test]
async fn money_for_an_order_we_do_not_know_is_attached_refunded_or_written_off() {
    let strange = Row { txn_no: "T9".into(), ..Row::paid("P9999", "2000.00") };
    check(
        "unknown order",
        &[&[paid(1), strange]],
        K::UnknownOrder,
        &[
            (
                D::Attach,
                "done [1] | P1 succeeded, P2 succeeded | D1 paid, D2 paid | settled O1 1500.00 T1 by 1#2, O2
             2000.00 T9 by decision 1 | decided 1 attach | run closed | told discrepancy.resolved 1 2,
             deduction.succeeded O2 3, payment.recorded O2 4, declaration.paid D2 3, amount.fulfilled
             P2/2026 2, run.closed 1 4",
            ),
            (
                D::Refund,
                "done [1] | P1 succeeded, P2 sent | D1 paid, D2 paying | settled O1 1500.00 T1 by 1#2 |
             decided 1 refund | run settling | told discrepancy.resolved 1 2, refund.proposed 1 3",
            ),
            (
                D::WriteOff,
                "done [1] | P1 succeeded, P2 sent | D1 paid, D2 paying | settled O1 1500.00 T1 by 1#2 |
             decided 1 write_off | run settling | told discrepancy.resolved 1 2",
            ),
        ],
    )
    .await;
    let other_sum = Row { txn_no: "T9".into(), ..Row::paid("P9999", "2000.01") };
    check(
        "another sum",
        &[&[other_sum]],
        K::UnknownOrder,
        &[(
            D::Attach,
            "refused amount_differs | P1 sent, P2 sent | D1 paying, D2 paying | open unknown_order | run
             sent | told",
        )],
    )
    .await;
    let not_paid = Row::failed("P9999", "2000.00", "1001");
    check(
        "no money",
        &[&[not_paid]],
        K::UnknownOrder,
        &[(
            D::Attach,
            "refused no_money | P1 sent, P2 sent | D1 paying, D2 paying | open unknown_order | run sent |
             told",
        )],
    )
    .await;
    let settled_by = Row { txn_no: "T1".into(), ..Row::paid("P9999", "2000.00") };
    check(
        "a known transaction",
        &[&[paid(1)], &[settled_by]],
        K::UnknownOrder,
        &[(
            D::Attach,
            "refused transaction_known | P1 succeeded, P2 sent | D1 paid, D2 paying | settled O1 1500.00
             T1 by 1#2 | open unknown_order | run settling | told",
        )],
    )
    .await;
    let strange = Row { txn_no: "T9".into(), ..Row::paid("P9999", "2000.00") };
    check(
        "a paid order",
        &[&[paid(2), strange.clone()]],
        K::UnknownOrder,
        &[(
            D::Attach,
            "refused not_open | P1 sent, P2 succeeded | D1 paying, D2 paid | settled O2 2000.00 T2 by 1#2
             | open unknown_order | run settling | told",
        )],
    )
    .await;
    check(
        "a failed order",
        &[&[failed(2, "1001"), strange]],
        K::UnknownOrder,
        &[(
            D::Attach,
            "refused not_open | P1 sent, P2 failed | D1 paying, D2 payable failed 1 | open unknown_order
             | run settling | told",
        )],
    )
    .await;
}

#[tokio::test]
async fn another_amount_books_nothing_in_part() {
    let less = Row { amount: "300.00".into(), ..paid(1) };
    check(
        "less",
        &[&[less.clone(), paid(2)]],
        K::AmountDiffers,
        &[
            (
                D::AcceptGateway,
                "done [1] | P1 failed, P2 succeeded | D1 payable failed 1, D2 paid | settled O2 2000.00 T2 by
             1#3 | decided 1 accept_gateway | run closed | told discrepancy.resolved 1 2, refund.proposed
             1 3, deduction.failed O1 4, declaration.payable_again D1 3",
            ),
            (
                D::Failed,
                "done [1] | P1 failed, P2 succeeded | D1 payable failed 1, D2 paid | settled O2 2000.00 T2 by
             1#3 | decided 1 failed | run closed | told discrepancy.resolved 1 2, deduction.failed O1 4,
             declaration.payable_again D1 3",
            ),
            (
                D::KeepWaiting,
                "done [1] | P1 unknown, P2 succeeded | D1 paying, D2 paid | settled O2 2000.00 T2 by 1#3 |
             decided 1 keep_waiting | run closed | told discrepancy.resolved 1 2",
            ),
        ],
    )
    .await;
    check(
        "less, and paid before",
        &[&[paid(1), paid(2)], &[less]],
        K::AmountDiffers,
        &[
            (
                D::AcceptGateway,
                "done [1] | P1 reversed, P2 succeeded | D1 reversed, D2 paid | settled O1 1500.00 T1 by 1#2,
             O2 2000.00 T2 by 1#3 | reversed O1 by decision 1 | decided 1 accept_gateway | run closed |
             told discrepancy.resolved 1 2, refund.proposed 1 3, payment.reversed O1 5,
             declaration.reversed D1 4",
            ),
            (
                D::Failed,
                "done [1] | P1 reversed, P2 succeeded | D1 reversed, D2 paid | settled O1 1500.00 T1 by 1#2,
             O2 2000.00 T2 by 1#3 | reversed O1 by decision 1 | decided 1 failed | run closed | told
             discrepancy.resolved 1 2, payment.reversed O1 5, declaration.reversed D1 4",
            ),
            (
                D::KeepWaiting,
                "done [1] | P1 succeeded, P2 succeeded | D1 paid, D2 paid | settled O1 1500.00 T1 by 1#2, O2
             2000.00 T2 by 1#3 | decided 1 keep_waiting | run closed | told discrepancy.resolved 1 2",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_contradiction_ends_as_a_person_says() {
    let failed_then_paid = [
        (
            D::AcceptSuccess,
            "done [1] | P1 succeeded, P2 succeeded | D1 paid failed 1, D2 paid | settled O1 1500.00 T1 by
             decision 1, O2 2000.00 T2 by 1#3 | decided 1 accept_success | run closed | told
             discrepancy.resolved 1 2, deduction.succeeded O1 4, payment.recorded O1 5, declaration.paid
             D1 4, amount.fulfilled P1/2026 2",
        ),
        (
            D::AcceptFailure,
            "done [1] | P1 failed, P2 succeeded | D1 payable failed 1, D2 paid | settled O2 2000.00 T2 by
             1#3 | decided 1 accept_failure | run closed | told discrepancy.resolved 1 2",
        ),
        (
            D::KeepWaiting,
            "refused nothing_waits | P1 failed, P2 succeeded | D1 payable failed 1, D2 paid | settled O2
             2000.00 T2 by 1#3 | open contradiction | run closed | told",
        ),
    ];
    check("failed, then paid", &[&[failed(1, "1001"), paid(2)], &[paid(1)]], K::Contradiction, &failed_then_paid).await;
    let paid_then_failed = [
        (
            D::AcceptSuccess,
            "done [1] | P1 succeeded, P2 succeeded | D1 paid, D2 paid | settled O1 1500.00 T1 by 1#2, O2
             2000.00 T2 by 1#3 | decided 1 accept_success | run closed | told discrepancy.resolved 1 2",
        ),
        (
            D::AcceptFailure,
            "done [1] | P1 reversed, P2 succeeded | D1 reversed, D2 paid | settled O1 1500.00 T1 by 1#2,
             O2 2000.00 T2 by 1#3 | reversed O1 by decision 1 | decided 1 accept_failure | run closed |
             told discrepancy.resolved 1 2, payment.reversed O1 5, declaration.reversed D1 4",
        ),
        (
            D::KeepWaiting,
            "done [1] | P1 succeeded, P2 succeeded | D1 paid, D2 paid | settled O1 1500.00 T1 by 1#2, O2
             2000.00 T2 by 1#3 | decided 1 keep_waiting | run closed | told discrepancy.resolved 1 2",
        ),
    ];
    check("paid, then failed", &[&[paid(1), paid(2)], &[failed(1, "1001")]], K::Contradiction, &paid_then_failed).await;
    // Both rows are decided together: by the money of the one, or in the words of the other.
    let both = [
        (
            D::AcceptSuccess,
            "done [1, 2] | P1 succeeded, P2 succeeded | D1 paid, D2 paid | settled O1 1500.00 T1 by
             decision 1, O2 2000.00 T2 by 1#4 | decided 1 accept_success, 2 accept_success | run closed |
             told discrepancy.resolved 1 2, discrepancy.resolved 2 2, deduction.succeeded O1 4,
             payment.recorded O1 5, declaration.paid D1 3, amount.fulfilled P1/2026 2",
        ),
        (
            D::AcceptFailure,
            "done [1, 2] | P1 failed, P2 succeeded | D1 payable, D2 paid | settled O2 2000.00 T2 by 1#4 |
             held P1 no_agreement | decided 1 accept_failure, 2 accept_failure | run closed | told
             discrepancy.resolved 1 2, discrepancy.resolved 2 2, deduction.failed O1 4,
             declaration.payable_again D1 3, amount.held P1/2026 2",
        ),
        (
            D::KeepWaiting,
            "done [1, 2] | P1 unknown, P2 succeeded | D1 paying, D2 paid | settled O2 2000.00 T2 by 1#4 |
             decided 1 keep_waiting, 2 keep_waiting | run closed | told discrepancy.resolved 1 2,
             discrepancy.resolved 2 2",
        ),
    ];
    check("both in one file", &[&[failed(1, "2001"), paid(1), paid(2)]], K::Contradiction, &both).await;
    let of_another = [
        (
            D::AcceptSuccess,
            "refused transaction_known | P1 unknown, P2 succeeded | D1 paying, D2 paid | settled O2
             2000.00 T2 by 1#2 | open contradiction | run closed | told",
        ),
        (
            D::AcceptFailure,
            "done [1] | P1 failed, P2 succeeded | D1 payable failed 1, D2 paid | settled O2 2000.00 T2 by
             1#2 | decided 1 accept_failure | run closed | told discrepancy.resolved 1 2,
             deduction.failed O1 4, declaration.payable_again D1 3",
        ),
        (
            D::KeepWaiting,
            "done [1] | P1 unknown, P2 succeeded | D1 paying, D2 paid | settled O2 2000.00 T2 by 1#2 |
             decided 1 keep_waiting | run closed | told discrepancy.resolved 1 2",
        ),
    ];
    let second = Row { txn_no: "T2".into(), ..paid(1) };
    check("of another order's transaction", &[&[paid(2)], &[second]], K::Contradiction, &of_another).await;
}

#[tokio::test]
async fn a_code_that_we_do_not_know_means_what_a_person_says() {
    let three = [
        (
            D::AcceptSuccess,
            "done [1] | P1 succeeded, P2 succeeded | D1 paid, D2 paid | settled O1 1500.00 by decision 1,
             O2 2000.00 T2 by 1#3 | decided 1 accept_success | run closed | told discrepancy.resolved 1
             2, deduction.succeeded O1 4, payment.recorded O1 5, declaration.paid D1 3, amount.fulfilled
             P1/2026 2",
        ),
        (
            D::AcceptFailure,
            "done [1] | P1 failed, P2 succeeded | D1 payable failed 1, D2 paid | settled O2 2000.00 T2 by
             1#3 | decided 1 accept_failure | run closed | told discrepancy.resolved 1 2,
             deduction.failed O1 4, declaration.payable_again D1 3",
        ),
        (
            D::KeepWaiting,
            "done [1] | P1 unknown, P2 succeeded | D1 paying, D2 paid | settled O2 2000.00 T2 by 1#3 |
             decided 1 keep_waiting | run closed | told discrepancy.resolved 1 2",
        ),
    ];
    check("unknown code", &[&[failed(1, "7777"), paid(2)]], K::UnknownCode, &three).await;
}

#[tokio::test]
async fn money_that_moved_twice_or_after_a_void_is_refunded_or_kept() {
    let again = Row { txn_no: "T8".into(), settled_at: "20260416101459".into(), ..paid(1) };
    check(
        "twice",
        &[&[paid(1), paid(2)], &[again]],
        K::DoublePayment,
        &[
            (
                D::Refund,
                "done [1] | P1 succeeded, P2 succeeded | D1 paid, D2 paid | settled O1 1500.00 T1 by 1#2, O2
             2000.00 T2 by 1#3 | decided 1 refund | run closed | told discrepancy.resolved 1 2,
             refund.proposed 1 3",
            ),
            (
                D::Keep,
                "done [1] | P1 succeeded, P2 succeeded | D1 paid, D2 paid | settled O1 1500.00 T1 by 1#2, O2
             2000.00 T2 by 1#3 | decided 1 keep | run closed | told discrepancy.resolved 1 2",
            ),
        ],
    )
    .await;
    let mut found = Vec::new();
    for decision in [D::Refund, D::Keep] {
        let place = Place::new().await;
        place.take(&ready("P1", AMOUNTS[0])).await;
        let lease = place.plan().await;
        place.take(&[amount_voided("P1", "void", "2026-04-15T00:30:00Z")]).await;
        place.seal(lease).await;
        place.deliver(lease).await;
        apply(&place, &[&[paid(1)]]).await;
        found.push((decision.as_str().to_owned(), decided(&place, K::PaidAfterVoid, decision, None).await));
    }
    compare(
        found,
        vec![
            (
                "refund".into(),
                words(
                    "done [1] | P1 withdrawn voided | D1 voided | decided 1 refund | run closed | told
             discrepancy.resolved 1 2, refund.proposed 1 3",
                ),
            ),
            (
                "keep".into(),
                words(
                    "done [1] | P1 withdrawn voided | D1 voided | decided 1 keep | run closed | told
             discrepancy.resolved 1 2",
                ),
            ),
        ],
    );
}

#[tokio::test]
async fn what_has_no_order_is_closed() {
    let unreadable = Row { amount: "x".into(), ..paid(1) };
    let two = [
        (
            D::Corrected,
            "done [1] | P1 sent, P2 succeeded | D1 paying, D2 paid | settled O2 2000.00 T2 by 1#3 |
             decided 1 corrected | run settling | told discrepancy.resolved 1 2",
        ),
        (
            D::WriteOff,
            "done [1] | P1 sent, P2 succeeded | D1 paying, D2 paid | settled O2 2000.00 T2 by 1#3 |
             decided 1 write_off | run settling | told discrepancy.resolved 1 2",
        ),
    ];
    check("unparsable row", &[&[unreadable, paid(2)]], K::UnparsableRow, &two).await;
    let mut found = Vec::new();
    for (kind, decision) in [(K::NameReused, D::Corrected), (K::NameReused, D::WriteOff)] {
        let place = sent_with(&[]).await;
        apply(&place, &[&[paid(1)]]).await;
        place.reconcile("R1.txt", &result_file("102_20260415_1_0001.txt", &[paid(2)])).await;
        found.push((decision.as_str().to_owned(), decided(&place, kind, decision, None).await));
    }
    compare(
        found,
        vec![
            (
                "corrected".into(),
                words(
                    "done [1] | P1 succeeded, P2 succeeded | D1 paid, D2 paid | settled O1 1500.00 T1 by 1#2, O2
             2000.00 T2 by 2#2 | decided 1 corrected | run closed | told discrepancy.resolved 1 2",
                ),
            ),
            (
                "write_off".into(),
                words(
                    "done [1] | P1 succeeded, P2 succeeded | D1 paid, D2 paid | settled O1 1500.00 T1 by 1#2, O2
             2000.00 T2 by 2#2 | decided 1 write_off | run closed | told discrepancy.resolved 1 2",
                ),
            ),
        ],
    );
}

/// P3's two declarations, the year's and a special one, are paid by one online order; then the channel reports.
async fn online(reports: &[(&str, serde_json::Value)]) -> Place {
    let place = Place::new().await;
    place.take(&[enrolment("P3"), amount_set("P3", "set", "2026-04-02T00:00:00Z", "2000.00")]).await;
    place.take(&[assessment("P3", "A1", "assess", "2026-03-01T00:00:00Z", json!({}))]).await;
    place.take(&[declaration("P3", "N1", json!({"collect_by": "online"})), special("P3", "S1", "A1")]).await;
    place.take(&[payment_started("Z1", &[("N1", "2000.00"), ("S1", "1200.00")], json!({}))]).await;
    for (number, (outcome, fields)) in (1..).zip(reports) {
        place.take(&[payment_reported("Z1", &format!("report-{number}"), outcome, fields.clone())]).await;
    }
    place
}

#[tokio::test]
async fn an_online_order_is_decided_on_whole() {
    let paid = |txn: &str| ("succeeded", json!({"gateway_txn_no": txn, "paid_at": "2026-04-11T08:04:59+08:00"}));
    let failed = || ("failed", json!({"code": "TRADE_HAS_CLOSE"}));
    let odd = ("failed", json!({"code": "ODD"}));
    let cases = [
        (
            "failed, then paid: accept_success",
            vec![failed(), paid("T1")],
            K::Contradiction,
            D::AcceptSuccess,
            "done [1, 2] | P3 succeeded, P3 succeeded | N1 paid, S1 paid | settled Z1 2000.00 T1 by
             decision 1, Z1 1200.00 T1 by decision 1 | decided 1 accept_success, 2 accept_success | told
             discrepancy.resolved 1 2, discrepancy.resolved 2 2, payment.recorded Z1 5, declaration.paid
             N1 4, amount.fulfilled P3/2026 2, payment.recorded Z1 6, declaration.paid S1 4",
        ),
        (
            "failed, then paid: accept_failure",
            vec![failed(), paid("T1")],
            K::Contradiction,
            D::AcceptFailure,
            "done [1, 2] | P3 failed, P3 failed | N1 payable, S1 payable | decided 1 accept_failure, 2
             accept_failure | told discrepancy.resolved 1 2, discrepancy.resolved 2 2",
        ),
        (
            "failed, then paid: keep_waiting",
            vec![failed(), paid("T1")],
            K::Contradiction,
            D::KeepWaiting,
            "refused nothing_waits | P3 failed, P3 failed | N1 payable, S1 payable | open contradiction,
             contradiction | told",
        ),
        (
            "paid, then failed: accept_failure",
            vec![paid("T1"), failed()],
            K::Contradiction,
            D::AcceptFailure,
            "done [1, 2] | P3 reversed, P3 reversed | N1 reversed, S1 reversed | settled Z1 2000.00 T1 by
             report-1, Z1 1200.00 T1 by report-1 | reversed Z1 by decision 1, Z1 by decision 1 | decided
             1 accept_failure, 2 accept_failure | told discrepancy.resolved 1 2, discrepancy.resolved 2
             2, payment.reversed Z1 6, declaration.reversed N1 4, payment.reversed Z1 7,
             declaration.reversed S1 4",
        ),
        (
            "paid, then failed: keep_waiting",
            vec![paid("T1"), failed()],
            K::Contradiction,
            D::KeepWaiting,
            "done [1, 2] | P3 succeeded, P3 succeeded | N1 paid, S1 paid | settled Z1 2000.00 T1 by
             report-1, Z1 1200.00 T1 by report-1 | decided 1 keep_waiting, 2 keep_waiting | told
             discrepancy.resolved 1 2, discrepancy.resolved 2 2",
        ),
        (
            "odd: accept_success",
            vec![odd.clone()],
            K::UnknownCode,
            D::AcceptSuccess,
            "done [1, 2] | P3 succeeded, P3 succeeded | N1 paid, S1 paid | settled Z1 2000.00 by decision
             1, Z1 1200.00 by decision 1 | decided 1 accept_success, 2 accept_success | told
             discrepancy.resolved 1 2, discrepancy.resolved 2 2, payment.recorded Z1 3, declaration.paid
             N1 3, amount.fulfilled P3/2026 2, payment.recorded Z1 4, declaration.paid S1 3",
        ),
        (
            "odd: accept_failure",
            vec![odd],
            K::UnknownCode,
            D::AcceptFailure,
            "done [1, 2] | P3 failed, P3 failed | N1 payable, S1 payable | decided 1 accept_failure, 2
             accept_failure | told discrepancy.resolved 1 2, discrepancy.resolved 2 2, payment.failed Z1
             3, declaration.payable_again N1 3, declaration.payable_again S1 3",
        ),
        (
            "paid twice: refund",
            vec![paid("T1"), paid("T2")],
            K::DoublePayment,
            D::Refund,
            "done [1, 2] | P3 succeeded, P3 succeeded | N1 paid, S1 paid | settled Z1 2000.00 T1 by
             report-1, Z1 1200.00 T1 by report-1 | decided 1 refund, 2 refund | told discrepancy.resolved
             1 2, discrepancy.resolved 2 2, refund.proposed 1 3",
        ),
    ];
    let (mut found, mut wanted) = (Vec::new(), Vec::new());
    for (name, reports, kind, decision, text) in cases {
        let place = online(&reports).await;
        found.push((name.to_owned(), decided(&place, kind, decision, None).await));
        wanted.push((name.to_owned(), words(text)));
        if decision == D::Refund {
            let refund = place.data_of("refund.proposed").await;
            let wanted = json!([{"reason": "double_payment", "discrepancy_id": 1, "gateway": "alipay", "amount": "3200.00",
                "order_no": "Z1", "payer_id": "P3", "declaration_no": "N1", "gateway_txn_no": "T2", "settled_at": "2026-04-11T00:04:59Z",
                "booked_order_no": "Z1", "booked_txn_no": "T1", "booked_settled_at": "2026-04-11T00:04:59Z", "earlier": "booked"}]);
            assert_eq!(json!(refund), wanted);
        }
    }
    compare(found, wanted);
}

/// Opens a discrepancy as those who look for what is missing, and for refunds, will do.
async fn open(place: &Place, kind: DiscrepancyKind, theirs: &str) {
    let file = if theirs == "NULL" { "NULL, NULL" } else { "1, 99" };
    let day = if kind == K::FileMissing { "'2026-04-15'::date" } else { "NULL" };
    let sql = format!(
        "INSERT INTO discrepancies (kind, gateway, bank_code, result_file_id, line_no, order_no, payer_id, declaration_no, amount_ours,
                                    amount_theirs, day, opened_at)
         SELECT '{}', 'bank', '102', {file}, order_no, payer_id, declaration_no, amount, {theirs}, {day}, now() FROM attempts WHERE payer_id = 'P1'",
        kind.as_str()
    );
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&place.ctx.pool).await.unwrap();
}

#[tokio::test]
async fn what_is_missing_and_refunds_that_went_wrong_are_decided_on_likewise() {
    let cases = [
        (
            "result missing: accept_success",
            K::ResultMissing,
            "NULL",
            D::AcceptSuccess,
            "done [1] | P1 succeeded, P2 succeeded | D1 paid, D2 paid | settled O1 1500.00 by decision 1,
             O2 2000.00 T2 by 1#2 | decided 1 accept_success | run closed | told discrepancy.resolved 1
             2, deduction.succeeded O1 3, payment.recorded O1 4, declaration.paid D1 3, amount.fulfilled
             P1/2026 2, run.closed 1 4",
        ),
        (
            "result missing: accept_failure",
            K::ResultMissing,
            "NULL",
            D::AcceptFailure,
            "done [1] | P1 failed, P2 succeeded | D1 payable failed 1, D2 paid | settled O2 2000.00 T2 by
             1#2 | decided 1 accept_failure | run closed | told discrepancy.resolved 1 2,
             deduction.failed O1 3, declaration.payable_again D1 3, run.closed 1 4",
        ),
        (
            "result missing: keep_waiting",
            K::ResultMissing,
            "NULL",
            D::KeepWaiting,
            "done [1] | P1 sent, P2 succeeded | D1 paying, D2 paid | settled O2 2000.00 T2 by 1#2 |
             decided 1 keep_waiting | run settling | told discrepancy.resolved 1 2",
        ),
        (
            "paid, not in the bill: accept_success",
            K::NotInBill,
            "NULL",
            D::AcceptSuccess,
            "done [1] | P1 succeeded, P2 succeeded | D1 paid, D2 paid | settled O1 1500.00 T1 by 1#2, O2
             2000.00 T2 by 1#3 | decided 1 accept_success | run closed | told discrepancy.resolved 1 2",
        ),
        (
            "paid, not in the bill: accept_failure",
            K::NotInBill,
            "NULL",
            D::AcceptFailure,
            "done [1] | P1 reversed, P2 succeeded | D1 reversed, D2 paid | settled O1 1500.00 T1 by 1#2,
             O2 2000.00 T2 by 1#3 | reversed O1 by decision 1 | decided 1 accept_failure | run closed |
             told discrepancy.resolved 1 2, payment.reversed O1 5, declaration.reversed D1 4",
        ),
        (
            "paid, not in the bill: keep_waiting",
            K::NotInBill,
            "NULL",
            D::KeepWaiting,
            "done [1] | P1 succeeded, P2 succeeded | D1 paid, D2 paid | settled O1 1500.00 T1 by 1#2, O2
             2000.00 T2 by 1#3 | decided 1 keep_waiting | run closed | told discrepancy.resolved 1 2",
        ),
        (
            "partial refund: accept_gateway",
            K::PartialRefund,
            "500.00",
            D::AcceptGateway,
            "done [1] | P1 succeeded, P2 succeeded | D1 paid, D2 paid | settled O1 1500.00 T1 by 1#2, O2
             2000.00 T2 by 1#3 | decided 1 accept_gateway | run closed | told discrepancy.resolved 1 2",
        ),
        (
            "partial refund: failed",
            K::PartialRefund,
            "500.00",
            D::Failed,
            "done [1] | P1 reversed, P2 succeeded | D1 reversed, D2 paid | settled O1 1500.00 T1 by 1#2,
             O2 2000.00 T2 by 1#3 | reversed O1 by decision 1 | decided 1 failed | run closed | told
             discrepancy.resolved 1 2, refund.proposed 1 3, payment.reversed O1 5, declaration.reversed
             D1 4",
        ),
        (
            "partial refund: keep_waiting",
            K::PartialRefund,
            "500.00",
            D::KeepWaiting,
            "done [1] | P1 succeeded, P2 succeeded | D1 paid, D2 paid | settled O1 1500.00 T1 by 1#2, O2
             2000.00 T2 by 1#3 | decided 1 keep_waiting | run closed | told discrepancy.resolved 1 2",
        ),
        (
            "refund abnormal: corrected",
            K::RefundAbnormal,
            "500.00",
            D::Corrected,
            "done [1] | P1 succeeded, P2 succeeded | D1 paid, D2 paid | settled O1 1500.00 T1 by 1#2, O2
             2000.00 T2 by 1#3 | decided 1 corrected | run closed | told discrepancy.resolved 1 2",
        ),
        (
            "refund abnormal: write_off",
            K::RefundAbnormal,
            "500.00",
            D::WriteOff,
            "done [1] | P1 succeeded, P2 succeeded | D1 paid, D2 paid | settled O1 1500.00 T1 by 1#2, O2
             2000.00 T2 by 1#3 | decided 1 write_off | run closed | told discrepancy.resolved 1 2",
        ),
        (
            "file missing: corrected",
            K::FileMissing,
            "NULL",
            D::Corrected,
            "done [1] | P1 succeeded, P2 succeeded | D1 paid, D2 paid | settled O1 1500.00 T1 by 1#2, O2
             2000.00 T2 by 1#3 | decided 1 corrected | run closed | told discrepancy.resolved 1 2",
        ),
        (
            "file missing: write_off",
            K::FileMissing,
            "NULL",
            D::WriteOff,
            "done [1] | P1 succeeded, P2 succeeded | D1 paid, D2 paid | settled O1 1500.00 T1 by 1#2, O2
             2000.00 T2 by 1#3 | decided 1 write_off | run closed | told discrepancy.resolved 1 2",
        ),
    ];
    let (mut found, mut wanted) = (Vec::new(), Vec::new());
    for (name, kind, theirs, decision, text) in cases {
        let place = sent_with(&[]).await;
        let rows = if kind == K::ResultMissing { vec![paid(2)] } else { vec![paid(1), paid(2)] };
        apply(&place, &[&rows]).await;
        open(&place, kind, theirs).await;
        found.push((name.to_owned(), decided_quietly(&place, kind, decision).await));
        wanted.push((name.to_owned(), words(text)));
    }
    compare(found, wanted);
}

/// As [`decided`], where the file's own count does not know of the discrepancy.
async fn decided_quietly(place: &Place, kind: DiscrepancyKind, decision: Decision) -> String {
    sqlx::query("UPDATE result_files SET rows = rows + n, discrepancies = discrepancies + n FROM (SELECT count(*) AS n FROM discrepancies WHERE line_no IS NOT NULL) d")
        .execute(&place.ctx.pool)
        .await
        .unwrap();
    decided(place, kind, decision, None).await
}

#[tokio::test]
async fn no_decision_is_for_another_kind() {
    let place = sent_with(&[]).await;
    apply(&place, &[&[failed(1, "7777"), paid(2), Row::paid("P9999", "1.00")]]).await;
    let told = place.told().await.len();
    let before = book(&place, told).await;
    for (kind, id) in [(K::UnknownCode, 1), (K::UnknownOrder, 2)] {
        for decision in Decision::ALL.into_iter().filter(|decision| !kind.decisions().contains(decision)) {
            assert_eq!(decide(&place.ctx, id, decision, None).await, "refused does_not_fit", "{kind:?} {decision:?}");
        }
    }
    for (id, decision, order_no) in [(2, D::Attach, None), (2, D::Refund, Some("O")), (1, D::AcceptSuccess, Some("O"))]
    {
        assert_eq!(decide(&place.ctx, id, decision, order_no).await, "refused order_number", "{decision:?}");
    }
    assert_eq!(decide(&place.ctx, 2, D::Attach, Some("O")).await, "refused no_such_order");
    assert_eq!(book(&place, told).await, before);
}
