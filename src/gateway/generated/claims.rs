//! What must hold of any file that a reader was given, whatever it is: its rows and its head come in one by one, and what
//! is not so ends the test.

use super::item::CANARY;
use crate::gateway::text::NUMBER_BYTES_MAX;
use crate::gateway::{ReadError, Refused, ResultHead, ResultRow};

/// The longest reason: what is said in a line, the longest of our words and two sums of money.
const REASON_BYTES_MAX: usize = 240;

/// What the rows of a file come to, told by nothing but the rows.
pub(super) struct Rows {
    success_code: &'static str,
    lines_max: u64,
    line_no: u64,
    count: u64,
    read_fen: i128,
    successes: Sum,
    refunds: Sum,
    pub bad: u64,
    /// Of which the gateway may count it as a success or not.
    other_codes: u64,
}

#[derive(Default)]
struct Sum {
    count: u64,
    fen: i128,
}

impl Sum {
    fn add(&mut self, fen: i128) {
        self.count += 1;
        self.fen += fen;
    }
}

impl Rows {
    pub fn new(success_code: &'static str, lines_max: u64) -> Rows {
        Rows {
            success_code,
            lines_max,
            line_no: 0,
            count: 0,
            read_fen: 0,
            successes: Sum::default(),
            refunds: Sum::default(),
            bad: 0,
            other_codes: 0,
        }
    }

    pub fn take(&mut self, row: &ResultRow<'_>) {
        self.count += 1;
        assert!(self.count <= self.lines_max, "more rows than lines: {}", self.lines_max);
        let line_no = match row {
            ResultRow::Read { line_no, order_no, amount, code, gateway_txn_no, .. } => {
                are_numbers(&[Some(order_no), *gateway_txn_no]);
                assert!((1..=NUMBER_BYTES_MAX).contains(&code.len()), "a code of {} bytes", code.len());
                self.read_fen += amount.fen();
                if *code == self.success_code {
                    self.successes.add(amount.fen());
                } else {
                    self.other_codes += 1;
                }
                *line_no
            }
            ResultRow::Refund { line_no, order_no, gateway_txn_no, refund_no, amount, .. } => {
                let order_no = Some(*order_no).filter(|order_no| !order_no.is_empty());
                assert!(order_no.is_some() || gateway_txn_no.is_some(), "a refund of nothing");
                are_numbers(&[order_no, *gateway_txn_no, Some(refund_no)]);
                self.refunds.add(amount.fen());
                *line_no
            }
            ResultRow::Movement { line_no, movement_no, order_no, .. } => {
                are_numbers(&[*order_no, Some(movement_no)]);
                *line_no
            }
            ResultRow::Unparsable { line_no, column, reason } => {
                assert_ne!(*column, Some(0));
                tells_nothing(reason);
                self.bad += 1;
                *line_no
            }
        };
        assert!(line_no > self.line_no, "line {line_no} behind line {}", self.line_no);
        self.line_no = line_no;
    }

    /// Of a file that was read to its end.
    pub fn agree_with(&self, head: &ResultHead) {
        assert_eq!(head.count, self.count, "rows");
        // A bad row may have an amount that the gateway counts.
        self.is_sum(head.total.fen(), self.read_fen, self.bad, "total");
        let undecided = self.bad + self.other_codes;
        if let Some(count) = head.success_count {
            let most = self.successes.count + undecided;
            assert!((self.successes.count..=most).contains(&count), "successes: {count}");
        }
        if let Some(total) = head.success_total {
            assert!(total <= head.total, "more in successes than at all");
            self.is_sum(total.fen(), self.successes.fen, undecided, "successes");
        }
        if let Some(count) = head.refund_count {
            assert!((self.refunds.count..=self.refunds.count + self.bad).contains(&count), "refunds: {count}");
        }
        if let Some(total) = head.refund_total {
            self.is_sum(total.fen(), self.refunds.fen, self.bad, "refunds");
        }
    }

    fn is_sum(&self, told: i128, found: i128, uncertain: u64, what: &str) {
        let agrees = if uncertain == 0 { told == found } else { told >= found };
        assert!(agrees, "{what}: {told} fen told, {found} in the rows, of which {uncertain} are uncertain");
    }
}

/// Of a file that was refused.
pub(super) fn is_sound_refusal(error: &ReadError) {
    match error {
        ReadError::Refused(Refused { line, column, reason, .. }) => {
            assert!(*line > 0 && *column != Some(0), "{line} {column:?}");
            tells_nothing(reason);
        }
        ReadError::Disk(error) => panic!("memory does not break: {error}"),
    }
}

fn are_numbers(numbers: &[Option<&str>]) {
    for number in numbers.iter().flatten() {
        let plain =
            (1..=NUMBER_BYTES_MAX).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_graphic());
        assert!(plain, "a number of {} bytes", number.len());
    }
}

/// A reason may be logged and published: it is short, of one line, and has nothing of a cell in it.
fn tells_nothing(reason: &str) {
    assert!(!reason.is_empty() && reason.len() <= REASON_BYTES_MAX, "{} bytes: {reason}", reason.len());
    assert!(!reason.contains(CANARY), "a cell is quoted: {reason}");
    assert!(!reason.contains(['\n', '\r', '\0']), "more than a line: {reason:?}");
}
