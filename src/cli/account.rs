//! `pikou account`: the books as they stand.

use std::collections::BTreeMap;

use serde::Serialize;

use super::print::{grouped, grouped_yuan};
use super::{Failure, print};
use crate::domain::account::{Account, Messages, Orders};
use crate::domain::money::Money;
use crate::stages::Context;
use crate::store::accounts;

/// The account as a document.
#[derive(Serialize)]
pub struct AccountReport {
    pub balanced: bool,
    pub equations: BTreeMap<&'static str, bool>,
    messages: BTreeMap<&'static str, i64>,
    candidates: i64,
    attempts: BTreeMap<&'static str, i64>,
    skips: BTreeMap<String, i64>,
    withdrawals: BTreeMap<String, i64>,
    sums: BTreeMap<&'static str, String>,
    orders: BTreeMap<&'static str, i64>,
    order_sums: BTreeMap<&'static str, String>,
    /// Of what succeeded, in runs and online, what went back.
    reversed: i64,
    reversed_sum: String,
    result_rows: BTreeMap<&'static str, i64>,
    discrepancies: BTreeMap<String, i64>,
    events: BTreeMap<&'static str, i64>,
}

impl AccountReport {
    pub fn new(account: &Account, equations: Vec<(&'static str, bool)>) -> AccountReport {
        let (m, a, s, f) = (&account.messages, &account.attempts, &account.sums, &account.files);
        AccountReport {
            balanced: equations.iter().all(|(_, holds)| *holds),
            equations: equations.into_iter().collect(),
            messages: message_counts(m).into_iter().collect(),
            candidates: account.candidates,
            attempts: BTreeMap::from([
                ("planned", a.planned),
                ("withdrawn", a.withdrawn),
                ("sent", a.sent),
                ("succeeded", a.succeeded),
                ("failed", a.failed),
                ("unknown", a.unknown),
                ("open", a.open),
                ("unsent", a.unsent),
            ]),
            skips: account.skips.clone(),
            withdrawals: account.withdrawals.clone(),
            sums: BTreeMap::from([
                ("planned", s.planned.to_string()),
                ("withdrawn", s.withdrawn.to_string()),
                ("sent", s.sent.to_string()),
                ("paid", s.paid.to_string()),
                ("failed", s.failed.to_string()),
                ("unknown", s.unknown.to_string()),
                ("open", s.open.to_string()),
                ("unsent", s.unsent.to_string()),
            ]),
            orders: order_counts(&account.orders).map(|(name, count, _)| (name, count)).into(),
            order_sums: order_counts(&account.orders)
                .into_iter()
                .filter_map(|(name, _, total)| Some((name, total?.to_string())))
                .collect(),
            reversed: account.reversed.settlements,
            reversed_sum: account.reversed.total.to_string(),
            result_rows: BTreeMap::from([
                ("rows", f.rows),
                ("applied", f.applied),
                ("repeated", f.repeated),
                ("discrepancies", f.discrepancies),
                ("not_ours", f.not_ours),
            ]),
            discrepancies: account.discrepancies.clone(),
            events: BTreeMap::from([("outbox", account.events.outbox), ("published", account.events.published)]),
        }
    }
}

fn message_counts(m: &Messages) -> [(&'static str, i64); 7] {
    [
        ("received", m.received),
        ("accepted", m.accepted),
        ("refused", m.refused),
        ("stale", m.stale),
        ("waiting", m.waiting),
        ("repeated", m.repeated),
        ("quarantined", m.quarantined),
    ]
}

fn order_counts(o: &Orders) -> [(&'static str, i64, Option<Money>); 6] {
    [
        ("started", o.started, Some(o.started_total)),
        ("succeeded", o.succeeded, Some(o.paid_total)),
        ("failed", o.failed, Some(o.failed_total)),
        ("unknown", o.unknown, Some(o.unknown_total)),
        ("open", o.open, Some(o.open_total)),
        ("refused", o.refused, None),
    ]
}

/// Reads the account in one snapshot.
pub async fn read(ctx: &Context) -> Result<Account, Failure> {
    let mut snapshot = ctx.snapshot().await?;
    Ok(accounts::count(&mut snapshot).await.map_err(anyhow::Error::from)?)
}

pub async fn account(ctx: Context, json: bool) -> Result<(), Failure> {
    let account = read(&ctx).await?;
    let equations = account.equations();
    let report = AccountReport::new(&account, equations.clone());
    if json {
        print::document(&report);
    } else {
        print_account(&account);
        print_equations(&equations);
    }
    if report.balanced { Ok(()) } else { Err(Failure::Bad) }
}

/// The account as a person reads it.
pub fn print_account(account: &Account) {
    let line = |name: &str, count: i64| println!("  {name:<24}{:>12}", grouped(count));
    let sum = |name: &str, count: i64, total| {
        println!("  {name:<24}{:>12}{:>22}", grouped(count), grouped_yuan(total));
    };
    println!("Messages");
    for (name, count) in message_counts(&account.messages) {
        line(name, count);
    }
    println!("\nCandidates                {:>12}", grouped(account.candidates));
    line("attempts", account.attempts.planned);
    for (reason, count) in &account.skips {
        line(&format!("skipped {reason}"), *count);
    }
    let (a, s) = (&account.attempts, &account.sums);
    println!("\nAttempts                                          yuan");
    sum("planned", a.planned, s.planned);
    sum("withdrawn", a.withdrawn, s.withdrawn);
    for (reason, count) in &account.withdrawals {
        line(&format!("  {reason}"), *count);
    }
    sum("sent", a.sent, s.sent);
    sum("  succeeded = paid", a.succeeded, s.paid);
    sum("  failed", a.failed, s.failed);
    sum("  unknown", a.unknown, s.unknown);
    sum("  open", a.open, s.open);
    if a.unsent > 0 {
        sum("not yet sent", a.unsent, s.unsent);
    }
    if account.orders.started + account.orders.refused > 0 {
        println!("\nOnline orders                                     yuan");
        for (name, count, total) in order_counts(&account.orders) {
            match total {
                Some(total) => sum(name, count, total),
                None => line(name, count),
            }
        }
    }
    if account.reversed.settlements > 0 {
        println!();
        sum("Reversed of these", account.reversed.settlements, account.reversed.total);
    }
    let f = &account.files;
    println!("\nResult rows               {:>12}", grouped(f.rows));
    line("applied", f.applied);
    line("repeated", f.repeated);
    line("discrepancies", f.discrepancies);
    for (kind, count) in &account.discrepancies {
        line(&format!("  {kind}"), *count);
    }
    println!("\nEvents");
    line("in the outbox", account.events.outbox);
    line("published", account.events.published);
}

pub fn print_equations(equations: &[(&'static str, bool)]) {
    println!();
    for (name, holds) in equations {
        println!("  {} {name}", if *holds { "✓" } else { "✗ DOES NOT HOLD:" });
    }
}
