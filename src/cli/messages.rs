//! `pikou messages`: what could not be understood. Here: lists and single entries; `decide.rs` has the decisions.

mod decide;

use std::io::Write;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::print::{grouped, harmless, time};
use super::{Failure, print};
use crate::stages::Context;
use crate::stages::decider::Decider;
use crate::stages::quarantine;
use crate::store::quarantine::{Entry, Filter};

#[derive(Debug, Subcommand)]
pub enum Messages {
    /// Quarantined messages, oldest first, without their content
    List(ListArgs),
    /// Everything known of one; its bytes only with --raw, and that is recorded
    Show(ShowArgs),
    /// Take messages again, as they came or mended
    Replay(decide::ReplayArgs),
    /// Close entries of messages that are not wanted
    Discard(decide::DiscardArgs),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Open,
    Replayed,
    Discarded,
    All,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    #[arg(long, value_enum, default_value = "open")]
    state: State,
    /// Only this code, e.g. unknown_type
    #[arg(long)]
    code: Option<String>,
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
    /// Go on behind this entry
    #[arg(long, value_name = "ID", default_value_t = 0)]
    after: i64,
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    id: i64,
    /// Write the bytes to stdout, exactly as they came. They may hold personal data
    #[arg(long, requires_all = ["by", "reason"])]
    raw: bool,
    /// Who looks
    #[arg(long, value_name = "NAME", requires = "raw")]
    by: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT", requires = "raw")]
    reason: Option<String>,
}

pub async fn messages(ctx: Context, what: Messages, json: bool) -> Result<(), Failure> {
    match what {
        Messages::List(args) => list(&ctx, &args, json).await,
        Messages::Show(args) => match (&args.by, &args.reason) {
            (Some(by), Some(reason)) => raw(&ctx, args.id, &Decider::new(by, reason)?, json).await,
            _ => show(&ctx, args.id, json).await,
        },
        Messages::Replay(args) => decide::replay(&ctx, &args, json).await,
        Messages::Discard(args) => decide::discard(&ctx, &args, json).await,
    }
}

#[derive(Serialize)]
struct EntryReport {
    id: i64,
    received_at: DateTime<Utc>,
    origin: String,
    code: String,
    position: String,
    reason: String,
    state: String,
    /// How often the same came, the first time included.
    times: i32,
    last_received_at: Option<DateTime<Utc>>,
    replays_not_understood: i32,
}

impl From<Entry> for EntryReport {
    fn from(entry: Entry) -> EntryReport {
        EntryReport {
            id: entry.quarantine_id,
            received_at: entry.received_at,
            origin: entry.origin,
            code: entry.code,
            position: entry.position,
            reason: entry.reason,
            state: entry.state,
            times: entry.repeated + 1,
            last_received_at: entry.last_received_at,
            replays_not_understood: entry.replays,
        }
    }
}

#[derive(Serialize)]
struct ListReport {
    entries: Vec<EntryReport>,
    /// Where the list goes on, if it does.
    next_after: Option<i64>,
}

async fn list(ctx: &Context, args: &ListArgs, json: bool) -> Result<(), Failure> {
    let state = match args.state {
        State::Open => Some("open"),
        State::Replayed => Some("replayed"),
        State::Discarded => Some("discarded"),
        State::All => None,
    };
    let filter = Filter { state, code: args.code.as_deref() };
    let mut found = quarantine::list(ctx, filter, args.after, args.limit + 1).await?;
    let more = found.len() as i64 > args.limit;
    found.truncate(args.limit as usize);
    let next_after = found.last().filter(|_| more).map(|entry| entry.quarantine_id);
    let entries: Vec<EntryReport> = found.into_iter().map(EntryReport::from).collect();
    if json {
        print::document(&ListReport { entries, next_after });
        return Ok(());
    }
    let row = |entry: &EntryReport| {
        vec![
            entry.id.to_string(),
            time(entry.received_at),
            entry.state.clone(),
            entry.code.clone(),
            entry.times.to_string(),
            harmless(&entry.origin),
            harmless(&entry.position),
            harmless(&entry.reason),
        ]
    };
    let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
    print::table(&["id", "received", "state", "code", "times", "origin", "position", "reason"], &rows);
    if let Some(after) = next_after {
        eprintln!("there are more: --after {after}");
    }
    Ok(())
}

#[derive(Serialize)]
struct ShowReport {
    #[serde(flatten)]
    entry: EntryReport,
    size_bytes: usize,
    header_names: Vec<String>,
    decisions: Vec<DecisionReport>,
}

#[derive(Serialize)]
struct DecisionReport {
    decided_at: DateTime<Utc>,
    by: String,
    reason: String,
    what: String,
    outcome: String,
    mended: bool,
    fault: Option<String>,
}

async fn show(ctx: &Context, id: i64, json: bool) -> Result<(), Failure> {
    let shown = quarantine::show(ctx, id).await?;
    let decision = |decision: crate::store::quarantine::Decision| DecisionReport {
        decided_at: decision.decided_at,
        by: decision.decided_by,
        reason: decision.reason,
        what: decision.what,
        outcome: decision.outcome,
        mended: decision.mended,
        fault: decision.fault,
    };
    let report = ShowReport {
        entry: shown.entry.into(),
        size_bytes: shown.size_bytes,
        header_names: shown.header_names,
        decisions: shown.decisions.into_iter().map(decision).collect(),
    };
    if json {
        print::document(&report);
        return Ok(());
    }
    let entry = &report.entry;
    let line = |name: &str, text: &str| println!("{name:<12}{}", harmless(text));
    line("id", &entry.id.to_string());
    line("state", &entry.state);
    line("received", &time(entry.received_at));
    line("origin", &entry.origin);
    line("code", &entry.code);
    line("position", &entry.position);
    line("reason", &entry.reason);
    line(
        "came",
        &match entry.last_received_at {
            Some(last) => format!("{} times, last {}", grouped(entry.times.into()), time(last)),
            None => "once".to_owned(),
        },
    );
    line("size", &format!("{} bytes", grouped(report.size_bytes as i64)));
    line("headers", &if report.header_names.is_empty() { "none".to_owned() } else { report.header_names.join(", ") });
    for decision in &report.decisions {
        let mended = if decision.mended { " mended" } else { "" };
        let text =
            format!("{} {}{mended} by {}: {}", time(decision.decided_at), decision.what, decision.by, decision.outcome);
        line("decision", &text);
        line("", &format!("  because: {}", decision.reason));
        if let Some(fault) = &decision.fault {
            line("", &format!("  {fault}"));
        }
    }
    Ok(())
}

async fn raw(ctx: &Context, id: i64, decider: &Decider, json: bool) -> Result<(), Failure> {
    if json {
        return Err(Failure::Usage("--raw writes bytes, not a document: leave --json out".into()));
    }
    let bytes = quarantine::look(ctx, id, decider).await?;
    let mut out = std::io::stdout().lock();
    out.write_all(&bytes).and_then(|()| out.flush()).map_err(|error| Failure::Other(error.into()))
}
