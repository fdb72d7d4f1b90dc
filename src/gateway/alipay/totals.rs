//! Control totals of Alipay's files: what the foot declares is compared with what the rows are. Called by
//! [`super::trade`] and [`super::ledger`] at the end of a file.
//!
//! Each file has two sides, payments and refunds or income and expense, each with a count and a sum. Signs are left out:
//! the side says where the money went, and files differ in whether expenses and refunds are below zero. A row that
//! cannot be read may be of either side; a difference that such rows do not explain refuses the file.

use super::cell::signed;
use super::frame::{Foot, Frame};
use crate::domain::money::Money;
use crate::gateway::control::Sum;
use crate::gateway::{Refused, RefusedKind, ResultHead};

/// By which words the foot declares a side, and what it is.
pub(super) struct SideWords {
    total: &'static str,
    sum: &'static str,
    pub name: &'static str,
}

pub(super) const PAYMENTS_AND_REFUNDS: [SideWords; 2] = [
    SideWords { total: "#交易合计:", sum: "商家实收共", name: "payments" },
    SideWords { total: "#退款合计:", sum: "商家实收退款共", name: "refunds" },
];

pub(super) const INCOME_AND_EXPENSE: [SideWords; 2] = [
    SideWords { total: "#收入合计:", sum: "共", name: "income" },
    SideWords { total: "#支出合计:", sum: "共", name: "expense" },
];

/// What a foot declares of a side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Declared {
    pub line_no: u64,
    pub count: u64,
    pub sum: Money,
}

/// What the rows are.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub sides: [Sum; 2],
    /// Rows of which we do not know on which side Alipay counts them, if at all.
    pub undecided: Sum,
}

/// A file that was read to its end.
pub(super) struct Account {
    pub head: ResultHead,
    pub frame: Frame,
    pub sides: &'static [SideWords; 2],
    pub declared: [Declared; 2],
    /// What was ordered, before merchants' discounts; none where that cannot be said of every row.
    pub ordered: Option<[i128; 2]>,
}

impl Tally {
    /// To a side, or to none of them.
    pub fn add(&mut self, side: Option<usize>, amount: Option<Money>) {
        match side {
            Some(side) => self.sides[side].add(amount),
            None => self.undecided.add(amount),
        }
    }

    pub fn is_whole(&self) -> bool {
        self.undecided.count == 0 && self.sides.iter().all(|side| side.unread == 0)
    }

    /// Compares the rows with the foot, and gives back what that declares.
    pub fn check(&self, words: &[SideWords; 2], foot: &Foot) -> Result<[Declared; 2], Refused> {
        let declared = [declared(&words[0], foot)?, declared(&words[1], foot)?];
        let mut taken = 0;
        for ((side, declared), name) in self.sides.iter().zip(declared).zip(words.iter().map(|words| words.name)) {
            let more = declared.count.checked_sub(side.count).filter(|more| taken + more <= self.undecided.count);
            let Some(more) = more else {
                let reason = format!("{name}: {} rows declared, {} found", declared.count, side.count);
                return Err(differ(declared.line_no, reason));
            };
            taken += more;
            let more_fen = declared.sum.fen() - side.fen;
            let explained = if side.unread > 0 || (more > 0 && self.undecided.unread > 0) {
                more_fen >= 0
            } else if more == 0 {
                more_fen == 0
            } else {
                (0..=self.undecided.fen).contains(&more_fen)
            };
            if !explained {
                let found = yuan(side.fen);
                let reason = format!("{name}: {} yuan declared, the rows come to {found}", declared.sum);
                return Err(differ(declared.line_no, reason));
            }
        }
        Ok(declared)
    }
}

fn declared(words: &SideWords, foot: &Foot) -> Result<Declared, Refused> {
    let mut lines = foot.totals.iter().filter(|(_, text)| text.starts_with(words.total));
    let name = words.total.trim_matches(['#', ':']);
    let (line_no, text) = match (lines.next(), lines.next()) {
        (Some(line), None) => line,
        (None, _) => return Err(Refused::malformed(foot.line_no, None, format!("{name} is missing"))),
        (_, Some((twice, _))) => return Err(Refused::malformed(*twice, None, format!("{name} is there twice"))),
    };
    let parts = text[words.total.len()..].split_once('笔').and_then(|(count, rest)| {
        let (_, sum) = rest.split_once(words.sum)?;
        let (sum, _) = sum.split_once('元')?;
        let count = plain(count).parse().ok()?;
        Some(Declared { line_no: *line_no, count, sum: signed(plain(sum).as_bytes())?.amount })
    });
    parts.ok_or_else(|| Refused::malformed(*line_no, None, format!("{name} is not a count and a sum")))
}

/// A number without the commas between its thousands.
fn plain(number: &str) -> String {
    number.replace(',', "")
}

pub(super) fn differ(line_no: u64, reason: String) -> Refused {
    Refused { kind: RefusedKind::TotalsDiffer, line: line_no, column: None, reason }
}

/// Sums of rows may be more than any sum of money that we would book.
pub(super) fn yuan(fen: i128) -> String {
    format!("{}.{:02}", fen / 100, fen % 100)
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDateTime;

    use super::*;

    fn foot(lines: &[&str]) -> Foot {
        let totals = (9..).zip(lines.iter().map(|line| (*line).to_owned())).collect();
        Foot { totals, exported_at: NaiveDateTime::MIN, line_no: 12 }
    }

    fn sum(count: u64, fen: i128, unread: u64) -> Sum {
        Sum { count, fen, unread }
    }

    fn told(tally: &Tally, income: &str, expense: &str) -> Result<(), String> {
        let foot = foot(&[&format!("#支出合计:{expense}元"), &format!("#收入合计:{income}元")]);
        tally.check(&INCOME_AND_EXPENSE, &foot).map(|_| ()).map_err(|refused| refused.to_string())
    }

    #[test]
    fn counts_and_sums_are_those_of_the_rows_whatever_their_sign_and_commas() {
        let tally = Tally { sides: [sum(1_200, 251_335_600, 0), sum(2, 300, 0)], undecided: Sum::default() };
        assert_eq!(told(&tally, "1,200笔,共2,513,356.00", "2笔,共-3.00"), Ok(()));
        assert_eq!(told(&tally, "1200笔,共2513356.00", "2笔,共3.00"), Ok(()));
        assert_eq!(
            told(&tally, "1200笔,共2513356.00", "2笔,共-3.01"),
            Err("totals_differ, line 9: expense: 3.01 yuan declared, the rows come to 3.00".into())
        );
        assert_eq!(
            told(&tally, "1199笔,共2513356.00", "2笔,共-3.00"),
            Err("totals_differ, line 10: income: 1199 rows declared, 1200 found".into())
        );
    }

    #[test]
    fn a_row_that_cannot_be_read_explains_one_row_of_one_side_and_no_more() {
        let tally = Tally { sides: [sum(1, 100, 0), sum(1, 100, 0)], undecided: sum(1, 0, 1) };
        for (income, expense, is_explained) in [
            ("1笔,共1.00", "1笔,共1.00", true),
            ("2笔,共9.00", "1笔,共1.00", true),
            ("1笔,共1.00", "2笔,共9.00", true),
            ("2笔,共0.99", "1笔,共1.00", false),
            ("2笔,共9.00", "1笔,共1.01", false),
            ("2笔,共9.00", "2笔,共9.00", false),
            ("3笔,共9.00", "1笔,共1.00", false),
        ] {
            assert_eq!(told(&tally, income, expense).is_ok(), is_explained, "{income} {expense}");
        }
        let known = Tally { undecided: sum(1, 50, 0), ..tally };
        assert!(told(&known, "2笔,共1.50", "1笔,共1.00").is_ok());
        assert!(told(&known, "2笔,共1.51", "1笔,共1.00").is_err());
    }

    #[test]
    fn a_foot_without_its_totals_is_refused() {
        let tally = Tally::default();
        let told = |lines: &[&str]| tally.check(&INCOME_AND_EXPENSE, &foot(lines)).unwrap_err().to_string();
        let (income, expense) = ("#收入合计:0笔,共0.00元", "#支出合计:0笔,共0.00元");
        assert_eq!(told(&[income]), "malformed, line 12: 支出合计 is missing");
        assert_eq!(told(&[income, expense, expense]), "malformed, line 11: 支出合计 is there twice");
        assert_eq!(told(&["#收入合计:0笔", expense]), "malformed, line 9: 收入合计 is not a count and a sum");
    }
}
