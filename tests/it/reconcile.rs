//! What the bank says, row by row, against the rule book: every case compares the whole book afterwards.
//!
//! Two payers are in a request file of bank 102: P1 with 1500.00 (order O1, declaration D1) and P2 with 2000.00 (O2,
//! D2). Then the bank's files come in, one after the other. The book is written as one text: attempts, declarations,
//! settlements (by file#line), held amounts, discrepancies, files with `rows = applied + repeated + discrepancies`, the
//! run, and the events that were told since (type, subject, sequence).

use std::sync::Arc;

use pikou::stages::reconcile::Outcome;

use crate::preview;
use crate::support::*;

const AMOUNTS: [&str; 2] = ["1500.00", "2000.00"];

fn order(number: usize) -> String {
    format!("P0000001001{number:08}")
}

fn paid(number: usize) -> Row {
    Row { txn_no: format!("T{number}"), ..Row::paid(&order(number), AMOUNTS[number - 1]) }
}

fn failed(number: usize, code: &str) -> Row {
    Row::failed(&order(number), AMOUNTS[number - 1], code)
}

fn of_amount(row: Row, amount: &str) -> Row {
    Row { amount: amount.into(), ..row }
}

fn of_order(row: Row, order_no: &str) -> Row {
    Row { order_no: order_no.into(), ..row }
}

fn of_txn(row: Row, txn_no: &str) -> Row {
    Row { txn_no: txn_no.into(), ..row }
}

/// P1 and P2 have been sent to the bank; returns how many events that took. Files are booked in ranges of so many lines.
async fn sent(range_max: i64) -> (Place, usize) {
    let mut place = Place::new().await;
    Arc::make_mut(&mut place.ctx.settings).results.range_max = range_max;
    let messages: Vec<_> =
        [("P1", AMOUNTS[0]), ("P2", AMOUNTS[1])].iter().flat_map(|(payer, amount)| ready(payer, amount)).collect();
    place.take(&messages).await;
    place.run().await;
    let told = place.told().await.len();
    (place, told)
}

fn file(rows: &[Row]) -> Vec<u8> {
    result_file("102_20260415_1_0001.txt", rows)
}

/// The whole book, orders and declarations under short names; parts that are empty are left out.
async fn book(place: &Place, told: usize) -> String {
    place.account().await;
    let mut parts = Vec::new();
    for (name, sql) in [
        ("", "SELECT payer_id || ' ' || status || COALESCE(' ' || withdrawal, '') FROM attempt_status ORDER BY order_no"),
        (
            "",
            "SELECT d.declaration_no || ' ' || CASE WHEN s.order_no IS NULL THEN d.state ELSE 'paid' END
                    || CASE d.failed_runs WHEN 0 THEN '' ELSE ' failed ' || d.failed_runs END
             FROM declarations d LEFT JOIN settlements s USING (declaration_no) ORDER BY 1",
        ),
        (
            "settled ",
            "SELECT order_no || ' ' || amount || ' ' || gateway_txn_no || ' by ' || result_file_id || '#' || line_no
             FROM settlements ORDER BY order_no",
        ),
        ("held ", "SELECT payer_id || ' ' || hold_reason FROM amount_settings WHERE hold_reason IS NOT NULL ORDER BY 1"),
        (
            "wrong ",
            "SELECT result_file_id || COALESCE('#' || line_no, '') || ' ' || kind || COALESCE(' ' || order_no, '')
                    || COALESCE(' ours ' || amount_ours, '') || COALESCE(' theirs ' || amount_theirs, '')
             FROM discrepancies ORDER BY result_file_id, line_no NULLS FIRST",
        ),
        (
            "file ",
            "SELECT result_file_id || ' ' || CASE state WHEN 'applied' THEN rows || ' = ' || applied || ' + ' || repeated
                    || ' + ' || discrepancies ELSE state || ' ' || COALESCE(refused_as, '') END
             FROM result_files ORDER BY result_file_id",
        ),
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

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Applies files of the given rows in order and compares the book with what it should be: whether each file is booked at
/// once, or line by line.
async fn check(name: &str, files: &[&[Row]], expected: &str) {
    for range_max in [50_000, 1] {
        let (place, told) = sent(range_max).await;
        for (number, rows) in (1..).zip(files) {
            let outcome = preview::reconcile_as_foreseen(&place, &format!("R{number}.txt"), &file(rows)).await;
            assert!(matches!(outcome, Outcome::Applied(_)), "{name}: file {number} is {}", outcome.as_str());
        }
        let (book, expected) = (book(&place, told).await, words(expected));
        if range_max == 1 {
            // Line by line, what becomes of a run may be told before what the rest of the file says.
            assert_eq!(in_any_order(&book), in_any_order(&expected), "{name}, line by line");
        } else {
            assert_eq!(book, expected, "{name}");
        }
    }
}

fn in_any_order(book: &str) -> Vec<&str> {
    let mut parts: Vec<&str> =
        book.split([',', '|']).map(str::trim).map(|part| part.trim_start_matches("told ")).collect();
    parts.sort_unstable();
    parts
}

#[tokio::test]
async fn a_success_is_paid_and_a_failure_frees_its_declaration() {
    check(
        "both paid",
        &[&[paid(1), paid(2)]],
        "P1 succeeded, P2 succeeded | D1 paid, D2 paid | settled O1 1500.00 T1 by 1#2, O2 2000.00 T2 by 1#3
         | file 1 2 = 2 + 0 + 0 | run closed
         | told deduction.succeeded O1 3, payment.recorded O1 4, declaration.paid D1 3, amount.fulfilled P1/2026 2,
           deduction.succeeded O2 3, payment.recorded O2 4, declaration.paid D2 3, amount.fulfilled P2/2026 2,
           result_file.applied 1 1, run.closed 1 4",
    )
    .await;
    check(
        "insufficient balance is counted; a closed account holds the amount",
        &[&[failed(1, "1001"), failed(2, "2001")]],
        "P1 failed, P2 failed | D1 payable failed 1, D2 payable | held P2 no_agreement
         | file 1 2 = 2 + 0 + 0 | run closed
         | told deduction.failed O1 3, declaration.payable_again D1 3,
           deduction.failed O2 3, declaration.payable_again D2 3, amount.held P2/2026 2,
           result_file.applied 1 1, run.closed 1 4",
    )
    .await;
}

#[tokio::test]
async fn what_the_bank_itself_does_not_know_is_settled_by_a_later_file() {
    check(
        "in doubt, and nobody has to decide",
        &[&[failed(1, "9001")]],
        "P1 unknown, P2 sent | D1 paying, D2 paying | file 1 1 = 1 + 0 + 0 | run settling
         | told deduction.unknown O1 3, result_file.applied 1 1",
    )
    .await;
    check(
        "then paid, then failed",
        &[&[failed(1, "9001"), failed(2, "9002")], &[paid(1), failed(2, "1001")]],
        "P1 succeeded, P2 failed | D1 paid, D2 payable failed 1 | settled O1 1500.00 T1 by 2#2
         | file 1 2 = 2 + 0 + 0, 2 2 = 2 + 0 + 0 | run closed
         | told deduction.unknown O1 3, deduction.unknown O2 3, result_file.applied 1 1,
           deduction.succeeded O1 4, payment.recorded O1 5, declaration.paid D1 3, amount.fulfilled P1/2026 2,
           deduction.failed O2 4, declaration.payable_again D2 3, result_file.applied 2 1, run.closed 1 4",
    )
    .await;
    check(
        "the same doubt again says nothing, another one does",
        &[&[failed(1, "9001")], &[failed(1, "9001"), failed(2, "9001")], &[failed(1, "9002")]],
        "P1 unknown, P2 unknown | D1 paying, D2 paying
         | file 1 1 = 1 + 0 + 0, 2 2 = 1 + 1 + 0, 3 1 = 1 + 0 + 0 | run settling
         | told deduction.unknown O1 3, result_file.applied 1 1, deduction.unknown O2 3, result_file.applied 2 1,
           deduction.unknown O1 4, result_file.applied 3 1",
    )
    .await;
}

#[tokio::test]
async fn what_cannot_be_believed_makes_the_attempt_unknown_and_waits_for_a_person() {
    check(
        "a code that is in no table; another amount, which is not a partial payment",
        &[&[failed(1, "7777"), of_amount(paid(2), "1900.00")]],
        "P1 unknown, P2 unknown | D1 paying, D2 paying
         | wrong 1#2 unknown_code O1 ours 1500.00 theirs 1500.00, 1#3 amount_differs O2 ours 2000.00 theirs 1900.00
         | file 1 2 = 0 + 0 + 2 | run closed
         | told deduction.unknown O1 3, deduction.unknown O2 3, discrepancy.opened 1 1, discrepancy.opened 2 1,
           result_file.applied 1 1, run.closed 1 4",
    )
    .await;
    check(
        "the right amount in a later file settles; the complaint stays",
        &[&[of_amount(paid(1), "1400.00")], &[of_amount(paid(1), "1400.00"), paid(2)], &[paid(1)]],
        "P1 succeeded, P2 succeeded | D1 paid, D2 paid | settled O1 1500.00 T1 by 3#2, O2 2000.00 T2 by 2#3
         | wrong 1#2 amount_differs O1 ours 1500.00 theirs 1400.00
         | file 1 1 = 0 + 0 + 1, 2 2 = 1 + 1 + 0, 3 1 = 1 + 0 + 0 | run closed
         | told deduction.unknown O1 3, discrepancy.opened 1 1, result_file.applied 1 1,
           deduction.succeeded O2 3, payment.recorded O2 4, declaration.paid D2 3, amount.fulfilled P2/2026 2,
           result_file.applied 2 1, run.closed 1 4,
           deduction.succeeded O1 4, payment.recorded O1 5, declaration.paid D1 3, amount.fulfilled P1/2026 2,
           result_file.applied 3 1",
    )
    .await;
    check(
        "two rows of one order that contradict each other",
        &[&[paid(1), failed(1, "1001"), paid(1)]],
        "P1 unknown, P2 sent | D1 paying, D2 paying
         | wrong 1#2 contradiction O1 ours 1500.00 theirs 1500.00, 1#3 contradiction O1 ours 1500.00 theirs 1500.00
         | file 1 3 = 0 + 1 + 2 | run settling
         | told deduction.unknown O1 3, discrepancy.opened 1 1, discrepancy.opened 2 1, result_file.applied 1 1",
    )
    .await;
}

#[tokio::test]
async fn the_same_row_twice_has_one_effect() {
    check(
        "in one file and in the next",
        &[&[paid(1), paid(1), failed(2, "1001"), failed(2, "1001")], &[failed(2, "1001"), paid(1)]],
        "P1 succeeded, P2 failed | D1 paid, D2 payable failed 1 | settled O1 1500.00 T1 by 1#2
         | file 1 4 = 2 + 2 + 0, 2 2 = 0 + 2 + 0 | run closed
         | told deduction.succeeded O1 3, payment.recorded O1 4, declaration.paid D1 3, amount.fulfilled P1/2026 2,
           deduction.failed O2 3, declaration.payable_again D2 3, result_file.applied 1 1, run.closed 1 4,
           result_file.applied 2 1",
    )
    .await;
}

#[tokio::test]
async fn money_that_moved_twice_is_a_double_payment() {
    let told_of_o1 =
        "deduction.succeeded O1 3, payment.recorded O1 4, declaration.paid D1 3, amount.fulfilled P1/2026 2";
    check(
        "in one file; the third row repeats the second",
        &[&[paid(1), of_txn(paid(1), "T9"), of_txn(paid(1), "T9")]],
        &format!(
            "P1 succeeded, P2 sent | D1 paid, D2 paying | settled O1 1500.00 T1 by 1#2
             | wrong 1#3 double_payment O1 ours 1500.00 theirs 1500.00 | file 1 3 = 1 + 1 + 1 | run settling
             | told {told_of_o1}, discrepancy.opened 1 1, result_file.applied 1 1"
        ),
    )
    .await;
    check(
        "in a later file, and complained about once",
        &[&[paid(1)], &[of_txn(paid(1), "T9")], &[of_txn(paid(1), "T9"), paid(1)]],
        &format!(
            "P1 succeeded, P2 sent | D1 paid, D2 paying | settled O1 1500.00 T1 by 1#2
             | wrong 2#2 double_payment O1 ours 1500.00 theirs 1500.00
             | file 1 1 = 1 + 0 + 0, 2 1 = 0 + 0 + 1, 3 2 = 0 + 2 + 0 | run settling
             | told {told_of_o1}, result_file.applied 1 1, discrepancy.opened 1 1, result_file.applied 2 1,
               result_file.applied 3 1"
        ),
    )
    .await;
}

#[tokio::test]
async fn a_transaction_number_of_another_order_is_a_contradiction() {
    check(
        "booked before",
        &[&[paid(1)], &[of_txn(paid(2), "T1")]],
        "P1 succeeded, P2 unknown | D1 paid, D2 paying | settled O1 1500.00 T1 by 1#2
         | wrong 2#2 contradiction O2 ours 2000.00 theirs 2000.00 | file 1 1 = 1 + 0 + 0, 2 1 = 0 + 0 + 1 | run closed
         | told deduction.succeeded O1 3, payment.recorded O1 4, declaration.paid D1 3, amount.fulfilled P1/2026 2,
           result_file.applied 1 1, deduction.unknown O2 3, discrepancy.opened 1 1, result_file.applied 2 1, run.closed 1 4",
    )
    .await;
    check(
        "both in one file: neither is believed",
        &[&[paid(1), of_txn(paid(2), "T1")]],
        "P1 unknown, P2 unknown | D1 paying, D2 paying
         | wrong 1#2 contradiction O1 ours 1500.00 theirs 1500.00, 1#3 contradiction O2 ours 2000.00 theirs 2000.00
         | file 1 2 = 0 + 0 + 2 | run closed
         | told deduction.unknown O1 3, deduction.unknown O2 3, discrepancy.opened 1 1, discrepancy.opened 2 1,
           result_file.applied 1 1, run.closed 1 4",
    )
    .await;
}

#[tokio::test]
async fn a_result_for_an_order_we_did_not_send_is_kept_and_nothing_is_invented() {
    let stray = |txn_no: &str| of_txn(of_order(paid(1), "X1"), txn_no);
    check(
        "once for each transaction; and one of another bank's orders",
        &[&[stray("T7"), stray("T7"), stray("T8"), of_order(paid(1), "P000000100200000001")]],
        "P1 sent, P2 sent | D1 paying, D2 paying
         | wrong 1#2 unknown_order X1 theirs 1500.00, 1#4 unknown_order X1 theirs 1500.00,
           1#5 unknown_order P000000100200000001 theirs 1500.00
         | file 1 4 = 0 + 1 + 3 | run sent
         | told discrepancy.opened 1 1, discrepancy.opened 2 1, discrepancy.opened 3 1, result_file.applied 1 1",
    )
    .await;
}

#[tokio::test]
async fn what_was_booked_is_never_overwritten_by_its_opposite() {
    check(
        "failure after success; a late doubt is only noted",
        &[&[paid(1), paid(2)], &[failed(1, "1001"), failed(2, "2001")], &[failed(1, "9001")]],
        "P1 succeeded, P2 succeeded | D1 paid, D2 paid | settled O1 1500.00 T1 by 1#2, O2 2000.00 T2 by 1#3
         | wrong 2#2 contradiction O1 ours 1500.00 theirs 1500.00, 2#3 contradiction O2 ours 2000.00 theirs 2000.00
         | file 1 2 = 2 + 0 + 0, 2 2 = 0 + 0 + 2, 3 1 = 1 + 0 + 0 | run closed
         | told deduction.succeeded O1 3, payment.recorded O1 4, declaration.paid D1 3, amount.fulfilled P1/2026 2,
           deduction.succeeded O2 3, payment.recorded O2 4, declaration.paid D2 3, amount.fulfilled P2/2026 2,
           result_file.applied 1 1, run.closed 1 4, discrepancy.opened 1 1, discrepancy.opened 2 1,
           result_file.applied 2 1, result_file.applied 3 1",
    )
    .await;
    check(
        "success after failure",
        &[&[failed(1, "1001"), failed(2, "2001")], &[paid(1), paid(2)]],
        "P1 failed, P2 failed | D1 payable failed 1, D2 payable | held P2 no_agreement
         | wrong 2#2 contradiction O1 ours 1500.00 theirs 1500.00, 2#3 contradiction O2 ours 2000.00 theirs 2000.00
         | file 1 2 = 2 + 0 + 0, 2 2 = 0 + 0 + 2 | run closed
         | told deduction.failed O1 3, declaration.payable_again D1 3,
           deduction.failed O2 3, declaration.payable_again D2 3, amount.held P2/2026 2,
           result_file.applied 1 1, run.closed 1 4, discrepancy.opened 1 1, discrepancy.opened 2 1,
           result_file.applied 2 1",
    )
    .await;
}
