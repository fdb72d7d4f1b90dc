//! The account of one gateway and one day of Beijing: what we sent and what became of it, what the gateway's files of the
//! day declare, and whether every difference between the two is explained by rows that can be named.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use rust_decimal::Decimal;

use super::rows::Rows;

/// Everything the book says about the day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayAccount {
    pub day: NaiveDate,
    pub gateway: String,
    /// Only of this bank.
    pub bank_code: Option<String>,
    /// Handed over or started on the day, as the request files and orders say.
    pub sent: Rows,
    /// The same orders by what has become of them since, as their own rows say.
    pub ended: Vec<Ended>,
    /// What channels have reported as paid on the day, by the gateway's time: in a bill, in none yet, or gone back.
    pub reported: Reported,
    pub files: Vec<DayFile>,
    /// Files that came on the day and of which nothing is applied.
    pub refused_files: i64,
    /// Still open, by kind: of the day itself, of its files, and of the orders sent on it.
    pub open_discrepancies: BTreeMap<String, Rows>,
}

/// Orders sent on the day that have come to the same end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// `succeeded`, `reported` (no bill has it yet), `reversed`, `failed`, `unknown`, `open`.
    pub status: String,
    /// Of those that failed: whose code it is.
    pub bank_code: String,
    /// Of those that failed; empty where none is kept.
    pub code: String,
    pub rows: Rows,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reported {
    pub confirmed: Rows,
    pub not_confirmed: Rows,
    pub reversed: Rows,
}

/// A result file or bill of the day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayFile {
    pub result_file_id: i64,
    pub file_name: String,
    pub bank_code: String,
    /// The days it covers, where it covers more than this one.
    pub covers: Option<(NaiveDate, NaiveDate)>,
    /// Every row, as booked.
    pub rows: i64,
    /// Every row, as the file was read to its end; none where that was not kept yet.
    pub declared_rows: Option<i64>,
    pub payments: Side,
    pub refunds: Side,
    /// Payments whose money went back by its rows; part of what its refunds are, or of what it says to be revoked.
    pub reversed: Rows,
}

/// What a file declares, and what our book has of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Side {
    /// None where it was not kept yet.
    pub declared: Option<Rows>,
    pub held: Vec<(&'static str, Rows)>,
    /// Rows that the book does not have: why, and what they come to.
    pub explained: Vec<(String, Rows)>,
    /// Rows of which nobody can say whether they belong here, or with which sum.
    pub undecided: i64,
    /// What rows that took a part fall short of what was asked: a file may declare either.
    pub not_taken: Decimal,
}

impl Side {
    /// What the file declares, less what the book has of it.
    pub fn difference(&self) -> Option<Rows> {
        Some(self.declared? - self.held.iter().map(|(_, rows)| *rows).sum())
    }

    /// What of the difference no row of the file explains.
    pub fn unexplained(&self) -> Option<Rows> {
        let left = self.left()?;
        Some(if self.is_placed(left) || self.is_placed(left - self.not_taken()) { Rows::default() } else { left })
    }

    /// What was asked and not taken, where the file declares it all the same.
    pub fn declared_not_taken(&self) -> Option<Rows> {
        let left = self.left()?;
        (!self.is_placed(left) && self.is_placed(left - self.not_taken())).then(|| self.not_taken())
    }

    fn left(&self) -> Option<Rows> {
        Some(self.difference()? - self.explained.iter().map(|(_, rows)| *rows).sum())
    }

    /// Rows that nobody can place explain what the others leave, as long as there are so many of them.
    fn is_placed(&self, left: Rows) -> bool {
        let by_undecided = self.undecided > 0 && (0..=self.undecided).contains(&left.count);
        left.is_nothing() || by_undecided && left.total >= Decimal::ZERO
    }

    fn not_taken(&self) -> Rows {
        Rows { count: 0, total: self.not_taken }
    }

    fn is_explained(&self) -> bool {
        self.unexplained().is_none_or(Rows::is_nothing)
    }
}

impl DayFile {
    pub fn is_explained(&self) -> bool {
        let all_rows = self.declared_rows.is_none_or(|rows| rows == self.rows);
        all_rows && self.payments.is_explained() && self.refunds.is_explained()
    }
}

impl DayAccount {
    /// What was sent, less what has become of it.
    pub fn unaccounted(&self) -> Rows {
        self.sent - self.ended.iter().map(|ended| ended.rows).sum()
    }

    /// Whether every difference is nothing or has its lines.
    pub fn balances(&self) -> bool {
        self.unaccounted().is_nothing() && self.files.iter().all(DayFile::is_explained)
    }
}

/// A line that explains a part of the differences, or an order that has not been answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The kind of a discrepancy, or `not_answered`, `unknown`, `not_confirmed`.
    pub what: String,
    pub result_file_id: Option<i64>,
    pub line_no: Option<i64>,
    pub order_no: Option<String>,
    pub code: Option<String>,
    /// Of a discrepancy: `open`, `resolved`.
    pub state: Option<String>,
    pub amount_ours: Option<Decimal>,
    pub amount_theirs: Option<Decimal>,
    pub detail: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: i64, yuan: i64) -> Rows {
        Rows { count, total: Decimal::new(yuan * 100, 2) }
    }

    /// Of what is declared 300 yuan are settled by two rows, and 50 were known.
    fn side(declared: Rows, explained: &[(&str, Rows)], undecided: i64) -> Side {
        Side {
            declared: Some(declared),
            held: vec![("settled by it", rows(2, 300)), ("known before", rows(1, 50))],
            explained: explained.iter().map(|(kind, rows)| ((*kind).to_owned(), *rows)).collect(),
            undecided,
            not_taken: Decimal::ZERO,
        }
    }

    #[test]
    fn a_difference_is_explained_by_rows_that_are_named_and_by_as_many_as_nobody_can_place() {
        let cases = [
            (side(rows(3, 350), &[], 0), rows(0, 0), "what is settled or known is no difference"),
            (side(rows(4, 400), &[], 0), rows(1, 50), "a row that nothing names"),
            (side(rows(4, 400), &[("unknown_order", rows(1, 50))], 0), rows(0, 0), "a row that is named"),
            (side(rows(4, 400), &[("unknown_order", rows(1, 49))], 0), rows(0, 1), "another amount"),
            (side(rows(4, 400), &[("unknown_order", rows(1, 49))], 1), rows(0, 0), "a row whose sum nobody can read"),
            (side(rows(4, 400), &[("unknown_order", rows(1, 51))], 1), rows(0, -1), "less than what can be read"),
            (side(rows(4, 400), &[], 1), rows(0, 0), "a row that may be it"),
            (side(rows(5, 450), &[], 1), rows(2, 100), "two, and one may be it"),
            (side(rows(3, 350), &[], 1), rows(0, 0), "one that is not it"),
            (side(rows(2, 300), &[], 1), rows(-1, -50), "we hold more than they say"),
        ];
        for (side, left, why) in cases {
            assert_eq!(side.unexplained(), Some(left), "{why}");
            assert_eq!(side.is_explained(), left.is_nothing(), "{why}");
        }
        let partly = |declared| Side {
            not_taken: Decimal::new(1200, 2),
            ..side(declared, &[("amount_differs", rows(1, 8))], 0)
        };
        let found = [rows(4, 358), rows(4, 370), rows(4, 369)].map(|declared| partly(declared).unexplained().unwrap());
        assert_eq!(found, [rows(0, 0), rows(0, 0), rows(0, 11)], "what was taken, what was asked, something else");
        assert_eq!(partly(rows(4, 370)).declared_not_taken(), Some(rows(0, 12)));
        assert_eq!(partly(rows(4, 358)).declared_not_taken(), None);
        assert!(Side { declared: None, ..side(rows(9, 9), &[], 0) }.is_explained(), "what is not kept is not judged");
    }
}
