//! The account of a day: what must add up, and which sum does not.

use std::collections::BTreeMap;

use super::money::Money;

/// Everything the books say, as counted by the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub messages: Messages,
    pub candidates: i64,
    pub attempts: Attempts,
    pub skips: BTreeMap<String, i64>,
    pub withdrawals: BTreeMap<String, i64>,
    pub sums: Sums,
    pub orders: Orders,
    pub reversed: Reversed,
    pub files: Files,
    pub discrepancies: BTreeMap<String, i64>,
    pub events: Events,
}

/// Messages by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Messages {
    /// Everything that was taken from the queue, a file or the quarantine, each delivery counted: a replay is a further
    /// delivery of its own.
    pub received: i64,
    pub accepted: i64,
    pub refused: i64,
    pub stale: i64,
    pub waiting: i64,
    pub repeated: i64,
    /// Deliveries that were not understood: first ones, the same again, and replays.
    pub quarantined: i64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attempts {
    pub planned: i64,
    pub withdrawn: i64,
    /// Written to a request file.
    pub sent: i64,
    pub succeeded: i64,
    pub failed: i64,
    pub unknown: i64,
    /// Sent and not yet answered.
    pub open: i64,
    /// Planned, and its file not yet handed over.
    pub unsent: i64,
}

/// The same in yuan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sums {
    pub planned: Money,
    pub withdrawn: Money,
    pub sent: Money,
    pub paid: Money,
    pub failed: Money,
    pub unknown: Money,
    pub open: Money,
    pub unsent: Money,
}

/// Online orders, and in yuan; those that were refused are none of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orders {
    pub refused: i64,
    pub started: i64,
    pub succeeded: i64,
    pub failed: i64,
    pub unknown: i64,
    pub open: i64,
    pub started_total: Money,
    pub paid_total: Money,
    pub failed_total: Money,
    pub unknown_total: Money,
    pub open_total: Money,
}

/// Of the succeeded ones, those whose money went back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reversed {
    pub settlements: i64,
    pub total: Money,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Files {
    /// Rows of all applied result files, and what became of them.
    pub rows: i64,
    pub applied: i64,
    pub repeated: i64,
    pub discrepancies: i64,
    pub not_ours: i64,
}

/// Single events, also where one outbox row stands for many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Events {
    pub outbox: i64,
    pub published: i64,
}

impl Account {
    /// Every equation by name, and whether it holds.
    pub fn equations(&self) -> Vec<(&'static str, bool)> {
        let (m, a, s, f) = (&self.messages, &self.attempts, &self.sums, &self.files);
        let o = &self.orders;
        let skipped: i64 = self.skips.values().sum();
        vec![
            (
                "messages = accepted + refused + stale + waiting + repeated + quarantined",
                m.received == m.accepted + m.refused + m.stale + m.waiting + m.repeated + m.quarantined,
            ),
            ("candidates = attempts + skips", self.candidates == a.planned + skipped),
            ("attempts = withdrawn + sent + unsent", a.planned == a.withdrawn + a.sent + a.unsent),
            ("sent = succeeded + failed + unknown + open", a.sent == a.succeeded + a.failed + a.unknown + a.open),
            ("sums: planned = withdrawn + sent + unsent", s.planned == s.withdrawn + s.sent + s.unsent),
            ("sums: sent = paid + failed + unknown + open", s.sent == s.paid + s.failed + s.unknown + s.open),
            (
                "orders started = succeeded + failed + unknown + open",
                o.started == o.succeeded + o.failed + o.unknown + o.open,
            ),
            (
                "sums: orders started = paid + failed + unknown + open",
                o.started_total == o.paid_total + o.failed_total + o.unknown_total + o.open_total,
            ),
            (
                "result rows = applied + repeated + discrepancies + not_ours",
                f.rows == f.applied + f.repeated + f.discrepancies + f.not_ours,
            ),
        ]
    }

    /// What must hold besides when a day is over: nothing waits to go out.
    pub fn closing_equations(&self) -> Vec<(&'static str, bool)> {
        vec![
            ("every file was handed over (unsent = 0)", self.attempts.unsent == 0),
            ("events published = events in the outbox", self.events.published == self.events.outbox),
        ]
    }
}
