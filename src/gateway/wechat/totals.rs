//! Control totals (统计行): what the last line of a bill declares is compared with what its rows are. Filled by
//! [`super::trade`] and [`super::fund_flow`], row by row; checked by [`super::frame`] at the end.
//!
//! A bad row counts as a row. Where a value of it cannot be read, the rows' sum is a lower bound; a sum of fees, which
//! may be negative, has then no bound at all. A difference that such rows do not explain refuses the file.

use super::header::Header;
use super::number::{MILLIONTHS, MILLIONTHS_OF_A_FEN, fen, millionths, whole};
use crate::gateway::text::COLUMNS_MAX;
use crate::gateway::{Refused, RefusedKind};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    /// Rows.
    Count,
    /// Whole fen, none negative.
    Fen,
    /// Fees: with parts of a fen, negative where one is given back, and declared rounded to the nearest fen. How
    /// WeChat Pay rounds what lies just between is not known, so either neighbour will do.
    Fees,
}

pub(super) struct Total {
    /// Of the column in which it is declared.
    name: &'static str,
    measure: Measure,
    /// Rows, fen or millionths of a yuan.
    found: i128,
    unread: u64,
}

/// What is declared, and whether it could be anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Agreed {
    pub value: i128,
    is_certain: bool,
    place: usize,
}

impl Measure {
    pub fn read(self, cell: &[u8]) -> Option<i64> {
        match self {
            Measure::Count => whole(cell),
            Measure::Fen => fen(cell),
            Measure::Fees => millionths(cell),
        }
    }

    fn what(self) -> &'static str {
        match self {
            Measure::Count => "not a count",
            Measure::Fen | Measure::Fees => "not a sum of money in yuan",
        }
    }

    fn text(self, value: i128) -> String {
        let of = |whole: i128, decimals: usize| {
            let sign = if value < 0 { "-" } else { "" };
            let value = value.abs();
            format!("{sign}{}.{:0decimals$} yuan", value / whole, value % whole)
        };
        match self {
            Measure::Count => value.to_string(),
            Measure::Fen => of(100, 2),
            Measure::Fees => of(MILLIONTHS.into(), 6),
        }
    }
}

impl Total {
    pub fn of(name: &'static str, measure: Measure) -> Total {
        Total { name, measure, found: 0, unread: 0 }
    }

    pub fn measure(&self) -> Measure {
        self.measure
    }

    /// None is a value that cannot be read.
    pub fn add(&mut self, value: Option<i64>) {
        match value {
            Some(value) => self.found += i128::from(value),
            None => self.unread += 1,
        }
    }

    pub fn check(&self, declared: &Declared<'_>) -> Result<Agreed, Refused> {
        let place = declared.names.needed(self.name)?;
        let value = self.measure.read(declared.cells[place]).map(i128::from);
        let column = Some(place as u64 + 1);
        let value = value.ok_or_else(|| Refused::malformed(declared.line_no, column, self.measure.what()))?;
        let (found, unread) = (self.found, self.unread);
        let agrees = match self.measure {
            Measure::Count => (found..=found + i128::from(unread)).contains(&value),
            Measure::Fen => value == found || (unread > 0 && value > found),
            Measure::Fees => unread > 0 || value == found || is_rounded(value, found),
        };
        if agrees {
            return Ok(Agreed { value, is_certain: unread == 0, place });
        }
        let (value, found) = (self.measure.text(value), self.measure.text(found));
        let reason = format!("{}: {value} declared, the rows come to {found}", self.name);
        Err(Refused { kind: RefusedKind::TotalsDiffer, line: declared.line_no, column, reason })
    }
}

fn is_rounded(value: i128, exact: i128) -> bool {
    let fen = i128::from(MILLIONTHS_OF_A_FEN);
    value % fen == 0 && (value - exact).abs() * 2 <= fen
}

/// The last line, under the names of the line before it.
pub(super) struct Declared<'a> {
    pub names: &'a Header,
    pub line_no: u64,
    pub cells: &'a [&'a [u8]; COLUMNS_MAX],
}

impl Declared<'_> {
    /// Whether the last cell is one that the rows vouch for: else it may have been cut off within.
    pub fn is_whole(&self, agreed: &[Agreed]) -> bool {
        agreed.iter().any(|agreed| agreed.is_certain && agreed.place + 1 == self.names.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agrees(measure: Measure, values: &[Option<i64>], declared: &str) -> bool {
        let names = Header::parse(2, b"n").unwrap();
        let mut cells = [&[] as &[u8]; COLUMNS_MAX];
        cells[0] = declared.as_bytes();
        let mut total = Total::of("n", measure);
        values.iter().for_each(|value| total.add(*value));
        total.check(&Declared { names: &names, line_no: 3, cells: &cells }).is_ok()
    }

    #[test]
    fn a_sum_of_fees_is_declared_to_the_nearest_fen_or_exactly() {
        let fees = |millionths: &[i64], declared| {
            let values: Vec<_> = millionths.iter().map(|value| Some(*value)).collect();
            agrees(Measure::Fees, &values, declared)
        };
        // Three fees of 0.00333 yuan are one fen, though each alone is none.
        assert!(fees(&[3330, 3330, 3330], "0.01") && !fees(&[3330, 3330, 3330], "0.00"));
        assert!(fees(&[3330, 3330, 3330], "0.00999"));
        assert!(fees(&[5000], "0.01") && fees(&[5000], "0.0") && !fees(&[5010], "0.0") && !fees(&[4990], "0.01"));
        assert!(fees(&[-5010], "-0.01") && !fees(&[-5010], "0.0") && !fees(&[12_000], "0.013"));
        assert!(fees(&[], "0") && fees(&[], "0.0") && !fees(&[], "0.01"));
    }

    #[test]
    fn an_unread_value_explains_a_higher_sum_and_never_a_lower_one() {
        assert!(agrees(Measure::Fen, &[Some(200), None], "2.00") && agrees(Measure::Fen, &[Some(200), None], "9.00"));
        assert!(!agrees(Measure::Fen, &[Some(200), None], "1.99") && !agrees(Measure::Fen, &[Some(200)], "2.01"));
        assert!(agrees(Measure::Count, &[Some(1), None], "2.0") && !agrees(Measure::Count, &[Some(1), None], "3"));
        assert!(!agrees(Measure::Count, &[Some(1), None], "0"));
    }

    #[test]
    fn a_difference_says_both_sides_and_where() {
        let names = Header::parse(2, "a,退款总金额".as_bytes()).unwrap();
        let mut cells = [&[] as &[u8]; COLUMNS_MAX];
        cells[1] = b"0.5";
        let mut total = Total::of("退款总金额", Measure::Fen);
        total.add(Some(51));
        let refused = total.check(&Declared { names: &names, line_no: 3, cells: &cells }).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "totals_differ, line 3, column 2: 退款总金额: 0.50 yuan declared, the rows come to 0.51 yuan"
        );
    }
}
