//! What made-up result files are made of: one [`Item`] is one row, whatever the format. Written by [`super::files`] and
//! [`super::bills`].

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};

use crate::domain::money::Money;
use crate::gateway::row::BEIJING;
use crate::gateway::{Direction, RefundState, ResultRow};

/// In every cell that is a payer's or could be: no reason may have it in it.
pub(super) const CANARY: &str = "CANARY-Q7";

/// The most that numbers of items may be, for their digits.
pub(super) const NO_MAX: u32 = 999_999;

#[derive(Debug, Clone)]
pub(super) struct Item {
    pub no: u32,
    pub fen: u64,
    pub kind: Kind,
    /// Of the day.
    pub second: u32,
    /// A reason or what was bought.
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Paid,
    Failed,
    Refunded,
}

/// How many items there are, and what they come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sum {
    pub count: usize,
    pub fen: u64,
}

pub(super) fn day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 4, 16).unwrap()
}

pub(super) fn yuan(fen: u64) -> String {
    format!("{}.{:02}", fen / 100, fen % 100)
}

pub(super) fn all(items: &[Item]) -> Sum {
    Sum { count: items.len(), fen: items.iter().map(|item| item.fen).sum() }
}

pub(super) fn of(kind: Kind, items: &[Item]) -> Sum {
    let of_kind = items.iter().filter(|item| item.kind == kind);
    Sum { count: of_kind.clone().count(), fen: of_kind.map(|item| item.fen).sum() }
}

/// Items of these kinds in turn, alike on every machine.
pub(super) fn some(count: u32, kinds: &[Kind]) -> Vec<Item> {
    let item = |(no, kind): (u32, &Kind)| Item {
        no,
        fen: 30_050 + 101 * u64::from(no),
        kind: *kind,
        second: 7 * no,
        text: format!("社保{CANARY}"),
    };
    (1..=count).zip(kinds.iter().cycle()).map(item).collect()
}

impl Item {
    pub fn order_no(&self) -> String {
        format!("{CANARY}{:07}", self.no)
    }

    pub fn txn_no(&self) -> String {
        format!("{CANARY}T{:06}", self.no)
    }

    pub fn refund_no(&self) -> String {
        format!("{CANARY}R{:06}", self.no)
    }

    pub fn yuan(&self) -> String {
        yuan(self.fen)
    }

    /// What stands for this kind in a file, and nothing for the others.
    pub fn if_is<'t>(&self, kind: Kind, text: &'t str) -> &'t str {
        if self.kind == kind { text } else { "" }
    }

    pub fn time(&self, format: &str) -> String {
        self.local().format(format).to_string()
    }

    fn local(&self) -> NaiveDateTime {
        day().and_hms_opt(0, 0, 0).unwrap() + TimeDelta::seconds(self.second.into())
    }

    fn at(&self) -> DateTime<Utc> {
        self.local().and_local_timezone(BEIJING).unwrap().to_utc()
    }

    fn amount(&self) -> Money {
        Money::from_fen(self.fen.into()).unwrap()
    }
}

/// What an item must be read as, for as long as the test lasts.
pub(super) struct Expected<'i> {
    pub item: &'i Item,
    pub line_no: u64,
}

impl Expected<'_> {
    /// A payment, or a deduction that succeeded or failed.
    pub fn read(&self, code: &'static str, reason: &str) -> ResultRow<'static> {
        let is_paid = self.item.kind == Kind::Paid;
        ResultRow::Read {
            line_no: self.line_no,
            order_no: self.item.order_no().leak(),
            amount: self.item.amount(),
            code,
            reason: reason.to_owned().into(),
            gateway_txn_no: is_paid.then(|| &*self.item.txn_no().leak()),
            settled_at: is_paid.then(|| self.item.at()),
        }
    }

    /// The same where the file says the day and no time.
    pub fn read_on_its_day(&self, code: &'static str) -> ResultRow<'static> {
        match self.read(code, "") {
            ResultRow::Read { line_no, order_no, amount, code, reason, gateway_txn_no, settled_at } => {
                let settled_at = settled_at.map(|at| at - TimeDelta::seconds(self.item.second.into()));
                ResultRow::Read { line_no, order_no, amount, code, reason, gateway_txn_no, settled_at }
            }
            other => other,
        }
    }

    pub fn refund(&self, has_time: HasTime) -> ResultRow<'static> {
        ResultRow::Refund {
            line_no: self.line_no,
            order_no: self.item.order_no().leak(),
            gateway_txn_no: Some(self.item.txn_no().leak()),
            refund_no: self.item.refund_no().leak(),
            amount: self.item.amount(),
            state: RefundState::Succeeded,
            refunded_at: match has_time {
                HasTime::Yes => Some(self.item.at()),
                HasTime::No => None,
            },
        }
    }

    pub fn movement(&self) -> ResultRow<'static> {
        let direction = if self.item.kind == Kind::Paid { Direction::In } else { Direction::Out };
        ResultRow::Movement {
            line_no: self.line_no,
            movement_no: self.item.txn_no().leak(),
            order_no: Some(self.item.order_no().leak()),
            amount: self.item.amount(),
            direction,
        }
    }
}

/// Whether a file says when a refund was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HasTime {
    Yes,
    No,
}
