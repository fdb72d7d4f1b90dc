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
        self.check_success(control)
    }

    fn check_success(&self, control: &Control) -> Result<(), Refused> {
        let (success, undecided) = (&self.success, &self.undecided);
        if let Some(count) = &control.success_count
            && !(success.count..=success.count + undecided.count).contains(&count.value)
        {
            return Err(differ(count, format!("{} successes declared, {} found", count.value, success.count)));
        }
        let Some(total) = &control.success_total else { return Ok(()) };
        // How many of the undecided rows the bank took for successes, where it says so.
        let taken = control.success_count.map(|count| count.value - success.count);
        let more = total.value.fen() - success.fen;
        let explained = if success.unread + undecided.unread > 0 {
            more >= 0
        } else if taken == Some(0) {
            more == 0
        } else if taken == Some(undecided.count) {
            more == undecided.fen
        } else {
            (0..=undecided.fen).contains(&more)
        };
        if explained && total.value.fen() <= control.total.map_or(i128::MAX, |all| all.value.fen()) {
            return Ok(());
        }
        Err(differ(total, format!("{} yuan declared for successes, they come to {}", total.value, yuan(success.fen))))
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
        let tally = Tally { all: sum(4, 1000, 0), success: sum(2, 300, 0), undecided: sum(1, 50, 0) };
        assert!(accepted(&tally, 2, 300) && accepted(&tally, 3, 350));
        for (count, fen) in [(1, 300), (4, 400), (2, 350), (3, 300), (2, 299), (3, 351)] {
            assert!(!accepted(&tally, count, fen), "{count} {fen}");
        }
    }
}
