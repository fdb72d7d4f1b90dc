//! The account of one gateway and one day of Beijing: what we sent and what became of it, what the gateway's files of the
//! day declare, and whether every difference between the two is explained by rows that can be named.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::discrepancy::DiscrepancyKind;
use super::rows::Rows;

/// Everything the books say about the day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayAccount {
    pub day: NaiveDate,
    pub gateway: String,
    /// Only of this bank.
    pub bank_code: Option<String>,
    /// Handed over or started on the day, as the request files and orders say.
    pub sent: Rows,
    /// The same orders by what has become of them since, as their own rows say.
    pub succeeded: Rows,
    pub reversed: Rows,
    pub failed: Vec<Failed>,
    pub unknown: Rows,
    pub open: Rows,
    pub files: Vec<DayFile>,
    /// Files that came on the day and of which nothing is applied.
    pub refused_files: i64,
    /// Still open, by kind: of the day's files and of the orders sent on it.
    pub open_discrepancies: BTreeMap<String, Rows>,
}

/// Orders that failed with one code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    pub bank_code: String,
    /// Empty where none is kept.
    pub code: String,
    pub rows: Rows,
}

/// A result file of the day.
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
    /// None where the format does not declare it.
    pub declared_success: Option<Rows>,
    pub declared_refund: Option<Rows>,
    /// Settled by its lines.
    pub settled: Rows,
    /// Successes that the book had already.
    pub known: Rows,
    pub reversed: Rows,
    pub wrong: Vec<WrongRows>,
}

/// Rows of a file that became discrepancies of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongRows {
    pub kind: String,
    pub rows: Rows,
    /// Whether their code is one of success; none where nobody can say.
    pub is_success: Option<bool>,
}

impl DayFile {
    /// What the file says has succeeded, less what we hold for it.
    pub fn difference(&self) -> Option<Rows> {
        Some(self.declared_success? - self.settled - self.known)
    }

    /// What of the difference no row of the file explains: rows of success that became discrepancies explain their own
    /// amount; rows that may or may not be successes explain what is left, as long as there are so many of them.
    pub fn unexplained(&self) -> Option<Rows> {
        let mut left = self.difference()?;
        let mut undecided = 0;
        for wrong in &self.wrong {
            match wrong.is_success {
                Some(true) => left = left - wrong.rows,
                Some(false) => {}
                None => undecided += wrong.rows.count,
            }
        }
        let explained = undecided > 0 && (0..=undecided).contains(&left.count) && !left.total.is_sign_negative();
        Some(if explained { Rows::default() } else { left })
    }

    pub fn is_explained(&self) -> bool {
        self.unexplained().is_none_or(Rows::is_nothing) && self.declared_rows.is_none_or(|rows| rows == self.rows)
    }
}

impl DayAccount {
    /// What was sent, less what has become of it.
    pub fn unaccounted(&self) -> Rows {
        let failed = self.failed.iter().map(|failed| failed.rows);
        let parts = [self.succeeded, self.reversed, self.unknown, self.open].into_iter().chain(failed);
        parts.fold(self.sent, |left, rows| left - rows)
    }

    /// Whether every difference is nothing or has its lines.
    pub fn balances(&self) -> bool {
        self.unaccounted().is_nothing() && self.files.iter().all(DayFile::is_explained)
    }
}

/// Whether rows of a discrepancy are of success, where their code says so.
pub fn is_success(kind: &str, success_code: Option<bool>) -> Option<bool> {
    let unreadable = [DiscrepancyKind::UnparsableRow, DiscrepancyKind::UnknownCode];
    if unreadable.iter().any(|unreadable| unreadable.as_str() == kind) { None } else { success_code }
}

/// A line that explains a part of the differences, or an order that has not been answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The kind of a discrepancy, or `not_answered`, or `unknown`.
    pub what: String,
    pub result_file_id: Option<i64>,
    pub line_no: Option<i64>,
    pub order_no: Option<String>,
    pub code: Option<String>,
    /// Of a discrepancy: `open`, `resolved`.
    pub state: Option<String>,
    pub amount_ours: Option<rust_decimal::Decimal>,
    pub amount_theirs: Option<rust_decimal::Decimal>,
    pub detail: Option<String>,
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::*;

    fn rows(count: i64, yuan: i64) -> Rows {
        Rows { count, total: Decimal::new(yuan * 100, 2) }
    }

    fn file(declared: Rows, wrong: &[(&str, Rows, Option<bool>)]) -> DayFile {
        let wrong = wrong.iter().map(|(kind, rows, is_success)| WrongRows {
            kind: (*kind).to_owned(),
            rows: *rows,
            is_success: *is_success,
        });
        DayFile {
            result_file_id: 1,
            file_name: "R".into(),
            bank_code: "102".into(),
            covers: None,
            rows: 9,
            declared_rows: Some(9),
            declared_success: Some(declared),
            declared_refund: None,
            settled: rows(2, 300),
            known: rows(1, 50),
            reversed: rows(0, 0),
            wrong: wrong.collect(),
        }
    }

    #[test]
    fn a_difference_is_explained_by_rows_of_success_and_by_as_many_as_nobody_can_read() {
        let cases = [
            (file(rows(3, 350), &[]), rows(0, 0), "what is settled or known is no difference"),
            (file(rows(4, 400), &[]), rows(1, 50), "a row that nothing names"),
            (file(rows(4, 400), &[("unknown_order", rows(1, 50), Some(true))]), rows(0, 0), "a row of success"),
            (file(rows(4, 400), &[("contradiction", rows(1, 50), Some(false))]), rows(1, 50), "a row of failure"),
            (file(rows(4, 400), &[("unknown_order", rows(1, 49), Some(true))]), rows(0, 1), "another amount"),
            (file(rows(4, 400), &[("unparsable_row", rows(1, 0), None)]), rows(0, 0), "a row that may be it"),
            (file(rows(5, 450), &[("unparsable_row", rows(1, 0), None)]), rows(2, 100), "two, and one may be it"),
            (file(rows(2, 300), &[("unparsable_row", rows(1, 0), None)]), rows(-1, -50), "we hold more than they say"),
        ];
        for (file, left, why) in cases {
            assert_eq!(file.unexplained(), Some(left), "{why}");
            assert_eq!(file.is_explained(), left.is_nothing(), "{why}");
        }
    }
}
