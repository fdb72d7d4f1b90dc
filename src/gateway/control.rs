//! Control totals: what header and trailer declare is compared with what the rows are. Called by [`super::result`]
//! once a file has been read to its end.
//!
//! A bad row counts as a row, and its amount counts if it can be read. Where an amount cannot be read the rows'
//! sum is a lower bound; where a row may or may not be a success (its code is not in the table, or cannot be
//! read) the successes have an upper bound. A difference that such rows do not explain refuses the file.

use super::{Refused, RefusedKind};
use crate::domain::money::Money;

/// A value that header or trailer declares, and where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Declared<T> {
    pub value: T,
    pub line: u64,
    pub column: u64,
}

/// What one of header and trailer declares.
#[derive(Debug, Default)]
pub(super) struct Control {
    pub count: Option<Declared<u64>>,
    pub total: Option<Declared<Money>>,
    pub success_count: Option<Declared<u64>>,
    pub success_total: Option<Declared<Money>>,
    pub failed_count: Option<Declared<u64>>,
    pub failed_total: Option<Declared<Money>>,
}

/// A group of rows: how many, what they come to, and how many amounts are not in that sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub count: u64,
    pub fen: i128,
    pub unread: u64,
}

/// What the rows are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub all: Sum,
    pub success: Sum,
    pub failed: Sum,
    /// Rows of which the bank says that it does not know: no successes, but maybe failures in its count.
    pub pending: Sum,
    /// Rows of which we do not know whether the bank counts them as success.
    pub undecided: Sum,
}

impl Sum {
    pub fn add(&mut self, amount: Option<Money>) {
        self.count += 1;
        match amount {
            Some(amount) => self.fen += amount.fen(),
            None => self.unread += 1,
        }
    }

    fn with(self, other: Sum) -> Sum {
        let Sum { count, fen, unread } = other;
        Sum { count: self.count + count, fen: self.fen + fen, unread: self.unread + unread }
    }
}

/// The rows that a bank counts as one kind, those that it may count as such, those that it does not, and what it
/// declares of them.
struct Part<'a> {
    name: &'static str,
    sure: Sum,
    undecided: Sum,
    others: Sum,
    count: &'a Option<Declared<u64>>,
    total: &'a Option<Declared<Money>>,
}

impl Tally {
    pub fn check(&self, control: &Control) -> Result<(), Refused> {
        if let Some(count) = &control.count
            && count.value != self.all.count
        {
            return Err(differ(count, format!("{} rows declared, {} found", count.value, self.all.count)));
        }
        if let Some(total) = &control.total {
            let declared = total.value.fen();
            if declared < self.all.fen || (declared > self.all.fen && self.all.unread == 0) {
                return Err(differ(
                    total,
                    format!("{} yuan declared, the rows come to {}", total.value, yuan(self.all.fen)),
                ));
            }
        }
        let (successes, failures) = (&control.success_count, &control.failed_count);
        let (success_total, failed_total) = (&control.success_total, &control.failed_total);
        let (sure, undecided, others) = (self.success, self.undecided, self.failed.with(self.pending));
        Part { name: "successes", sure, undecided, others, count: successes, total: success_total }.check(control)?;
        let (sure, undecided, others) = (self.failed, self.undecided.with(self.pending), self.success);
        Part { name: "failures", sure, undecided, others, count: failures, total: failed_total }.check(control)
    }
}

impl Part<'_> {
    fn check(&self, control: &Control) -> Result<(), Refused> {
        let Part { name, sure, undecided, others, count, total } = self;
        if let Some(count) = count
            && !(sure.count..=sure.count + undecided.count).contains(&count.value)
        {
            return Err(differ(count, format!("{} {name} declared, {} found", count.value, sure.count)));
        }
        let Some(total) = total else { return Ok(()) };
        // How many of the undecided rows the bank counted, where it says so.
        let taken = count.map(|count| count.value - sure.count);
        let more = total.value.fen() - sure.fen;
        let explained = if sure.unread + undecided.unread > 0 {
            more >= 0
        } else if taken == Some(0) {
            more == 0
        } else if taken == Some(undecided.count) {
            more == undecided.fen
        } else {
            (0..=undecided.fen).contains(&more)
        };
        // An amount that cannot be read leaves the other rows theirs.
        if explained && total.value.fen() <= control.total.map_or(i128::MAX, |all| all.value.fen() - others.fen) {
            return Ok(());
        }
        Err(differ(total, format!("{} yuan declared for {name}, they come to {}", total.value, yuan(sure.fen))))
    }
}

fn differ<T>(declared: &Declared<T>, reason: String) -> Refused {
    Refused { kind: RefusedKind::TotalsDiffer, line: declared.line, column: Some(declared.column), reason }
}

/// Sums of rows may be more than any sum of money that we would book.
fn yuan(fen: i128) -> String {
    format!("{}.{:02}", fen / 100, fen % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(count: u64, fen: i128, unread: u64) -> Sum {
        Sum { count, fen, unread }
    }

    fn declared<T>(value: T) -> Option<Declared<T>> {
        Some(Declared { value, line: 1, column: 1 })
    }

    fn money(fen: i128) -> Money {
        Money::from_fen(fen).unwrap()
    }

    fn accepted(tally: &Tally, success_count: u64, success_fen: i128) -> bool {
        let control = Control {
            success_count: declared(success_count),
            success_total: declared(money(success_fen)),
            ..Control::default()
        };
        tally.check(&control).is_ok()
    }

    #[test]
    fn an_unread_amount_explains_a_higher_total_and_never_a_lower_one() {
        let tally = Tally { all: sum(3, 200, 1), ..Tally::default() };
        let total = |fen| tally.check(&Control { total: declared(money(fen)), ..Control::default() });
        assert_eq!((total(199).is_ok(), total(200).is_ok(), total(300).is_ok()), (false, true, true));
        let whole = Tally { all: sum(3, 200, 0), ..Tally::default() };
        assert!(whole.check(&Control { total: declared(money(300)), ..Control::default() }).is_err());
    }

    #[test]
    fn rows_of_unknown_code_may_be_successes_or_not_but_only_with_their_own_amounts() {
        let (success, undecided) = (sum(2, 300, 0), sum(1, 50, 0));
        let tally = Tally { all: sum(4, 1000, 0), success, undecided, ..Tally::default() };
        assert!(accepted(&tally, 2, 300) && accepted(&tally, 3, 350));
        for (count, fen) in [(1, 300), (4, 400), (2, 350), (3, 300), (2, 299), (3, 351)] {
            assert!(!accepted(&tally, count, fen), "{count} {fen}");
        }
    }

    #[test]
    fn successes_and_failures_together_come_to_no_more_than_all() {
        let (success, failed, undecided) = (sum(2, 605, 0), sum(1, 100, 0), sum(1, 0, 1));
        let tally = Tally { all: sum(4, 705, 1), success, failed, undecided, ..Tally::default() };
        let told = |success_fen: Option<i128>, failed_fen: Option<i128>| {
            let (success_total, failed_total) =
                (success_fen.and_then(|fen| declared(money(fen))), failed_fen.and_then(|fen| declared(money(fen))));
            let control = Control { total: declared(money(900)), success_total, failed_total, ..Control::default() };
            tally.check(&control).is_ok()
        };
        assert!(told(None, Some(295)) && !told(None, Some(296)));
        assert!(told(Some(800), None) && !told(Some(801), None));
    }
}
