//! `pikou files`: the request files, what became of them, and what a person decides where nobody else can.

use std::io::Write;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::by::By;
use super::print::{grouped, harmless, time};
use super::{Failure, commands, print};
use crate::crypt::hex;
use crate::stages::decider::Decider;
use crate::stages::deliver::decided::{self, Shown};
use crate::stages::{Context, StageError};
use crate::store::request_files::{Filter, RequestFile};
use crate::worker;

#[derive(Debug, Subcommand)]
pub enum Files {
    /// Request files in the order of their numbers
    List(ListArgs),
    /// Everything known of one; its bytes only with --content, and that is recorded
    Show(ShowArgs),
    /// Hand the same bytes over again: for a file that the bank does not have
    Resend(DecideArgs),
    /// The bank has the file: it was carried by hand, or the bank says so
    MarkSent(DecideArgs),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Open,
    Empty,
    Sealed,
    Delivering,
    /// Delivering, and waiting for a person
    Held,
    Delivered,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only files of this run
    #[arg(long, value_name = "RUN_ID")]
    run: Option<i64>,
    #[arg(long, value_enum)]
    state: Option<State>,
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
    /// Go on behind this file
    #[arg(long, value_name = "FILE_ID", default_value_t = 0)]
    after: i64,
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    #[arg(value_name = "FILE_ID")]
    id: i64,
    /// Write the bytes to stdout, exactly as they go out. They hold names and accounts
    #[arg(long, requires_all = ["by", "reason"])]
    content: bool,
    /// Who looks
    #[arg(long, value_name = "NAME", requires = "content")]
    by: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT", requires = "content")]
    reason: Option<String>,
}

#[derive(Debug, Args)]
pub struct DecideArgs {
    #[arg(value_name = "FILE_ID")]
    id: i64,
    #[command(flatten)]
    by: By,
}

pub async fn files(ctx: Context, what: Files, json: bool) -> Result<(), Failure> {
    match what {
        Files::List(args) => list(&ctx, &args, json).await,
        Files::Show(args) => match (&args.by, &args.reason) {
            (Some(by), Some(reason)) => content(&ctx, args.id, &Decider::new(by, reason)?, json).await,
            _ => show(&ctx, args.id, json).await,
        },
        Files::Resend(args) => {
            let decider = args.by.decider()?;
            decided::run_of(&ctx, args.id).await?;
            decided(&ctx, worker::files::resend(&ctx, args.id, &decider).await, "handed over again", json).await
        }
        Files::MarkSent(args) => {
            let decider = args.by.decider()?;
            decided::run_of(&ctx, args.id).await?;
            decided(&ctx, worker::files::mark_sent(&ctx, args.id, &decider).await, "marked as sent", json).await
        }
    }
}

#[derive(Serialize)]
struct FileReport {
    file_id: i64,
    run_id: i64,
    gateway: String,
    bank_code: String,
    file_name: String,
    part: i32,
    state: String,
    items: Option<i64>,
    total: Option<String>,
    sha256: Option<String>,
    held_reason: Option<String>,
    /// Where it is handed over; none where its bank is no longer configured.
    path: Option<PathBuf>,
    sealed_at: Option<DateTime<Utc>>,
    delivering_at: Option<DateTime<Utc>>,
    delivered_at: Option<DateTime<Utc>>,
    handed_over_at: Option<DateTime<Utc>>,
}

impl FileReport {
    fn new(ctx: &Context, file: RequestFile) -> FileReport {
        let to = ctx.settings.destination(&file.gateway, &file.bank_code);
        FileReport {
            path: to.map(|to| ctx.settings.outbox(to).join(&file.file_name)),
            file_id: file.file_id,
            run_id: file.run_id,
            gateway: file.gateway,
            bank_code: file.bank_code,
            file_name: file.file_name,
            part: file.part,
            state: file.state,
            items: file.items,
            total: file.total.map(|total| total.to_string()),
            sha256: file.sha256.as_deref().map(hex),
            held_reason: file.held_reason,
            sealed_at: file.sealed_at,
            delivering_at: file.delivering_at,
            delivered_at: file.delivered_at,
            handed_over_at: file.handed_over_at,
        }
    }
}

#[derive(Serialize)]
struct ListReport {
    files: Vec<FileReport>,
    /// Where the list goes on, if it does.
    next_after: Option<i64>,
}

async fn list(ctx: &Context, args: &ListArgs, json: bool) -> Result<(), Failure> {
    let (state, held) = match args.state {
        None => (None, None),
        Some(State::Open) => (Some("open"), None),
        Some(State::Empty) => (Some("empty"), None),
        Some(State::Sealed) => (Some("sealed"), None),
        Some(State::Delivering) => (Some("delivering"), Some(false)),
        Some(State::Held) => (Some("delivering"), Some(true)),
        Some(State::Delivered) => (Some("delivered"), None),
    };
    let filter = Filter { run_id: args.run, state, held };
    let mut found = decided::list(ctx, filter, args.after, args.limit + 1).await?;
    let more = found.len() as i64 > args.limit;
    found.truncate(args.limit as usize);
    let next_after = found.last().filter(|_| more).map(|file| file.file_id);
    let files: Vec<FileReport> = found.into_iter().map(|file| FileReport::new(ctx, file)).collect();
    if json {
        print::document(&ListReport { files, next_after });
        return Ok(());
    }
    let row = |file: &FileReport| {
        vec![
            file.file_id.to_string(),
            file.run_id.to_string(),
            file.gateway.clone(),
            file.file_name.clone(),
            if file.held_reason.is_some() { "held".to_owned() } else { file.state.clone() },
            file.items.map_or_else(String::new, grouped),
            file.total.clone().unwrap_or_default(),
            file.held_reason.as_deref().map(harmless).unwrap_or_default(),
        ]
    };
    let rows: Vec<Vec<String>> = files.iter().map(row).collect();
    print::table(&["id", "run", "gateway", "file", "state", "items", "yuan", "reason"], &rows);
    if let Some(after) = next_after {
        eprintln!("there are more: --after {after}");
    }
    Ok(())
}

#[derive(Serialize)]
struct ShowReport {
    #[serde(flatten)]
    file: FileReport,
    /// Orders of it that the bank has answered.
    answered: i64,
    decisions: Vec<DecisionReport>,
}

#[derive(Serialize)]
struct DecisionReport {
    decision_id: i64,
    decided_at: DateTime<Utc>,
    by: String,
    reason: String,
    what: String,
    /// The state of the file when it was decided.
    state_then: String,
}

async fn show(ctx: &Context, id: i64, json: bool) -> Result<(), Failure> {
    let Shown { file, answered, decisions } = decided::show(ctx, id).await?;
    let decisions = decisions.into_iter().map(|decision| DecisionReport {
        decision_id: decision.decision_id,
        decided_at: decision.decided_at,
        by: decision.decided_by,
        reason: decision.reason,
        what: decision.what,
        state_then: decision.state_then,
    });
    let report = ShowReport { file: FileReport::new(ctx, file), answered, decisions: decisions.collect() };
    if json {
        print::document(&report);
        return Ok(());
    }
    let file = &report.file;
    let line = |name: &str, text: &str| println!("{name:<12}{}", harmless(text));
    line("id", &file.file_id.to_string());
    line("run", &file.run_id.to_string());
    line("gateway", format!("{} {}", file.gateway, file.bank_code).trim_end());
    line("file", &file.path.as_ref().map_or_else(|| file.file_name.clone(), |path| path.display().to_string()));
    line("state", &file.state);
    if let Some(reason) = &file.held_reason {
        line("held", reason);
    }
    if let (Some(items), Some(total), Some(sha256)) = (file.items, &file.total, &file.sha256) {
        line("items", &format!("{}, {total} yuan", grouped(items)));
        line("sha256", sha256);
    }
    for (name, at) in [
        ("sealed", file.sealed_at),
        ("delivering", file.delivering_at),
        ("delivered", file.delivered_at),
        ("handed over", file.handed_over_at),
    ] {
        if let Some(at) = at {
            line(name, &time(at));
        }
    }
    line("answered", &format!("{} orders", grouped(report.answered)));
    for decision in &report.decisions {
        let DecisionReport { decided_at, by, what, state_then, .. } = decision;
        line("decision", &format!("{} {what} by {by}, when it was {state_then}", time(*decided_at)));
        line("", &format!("  because: {}", decision.reason));
    }
    Ok(())
}

async fn content(ctx: &Context, id: i64, decider: &Decider, json: bool) -> Result<(), Failure> {
    if json {
        return Err(Failure::Usage("--content writes bytes, not a document: leave --json out".into()));
    }
    let bytes = decided::look(ctx, id, decider).await?;
    let mut out = std::io::stdout().lock();
    out.write_all(&bytes).and_then(|()| out.flush()).map_err(|error| Failure::Other(error.into()))
}

#[derive(Serialize)]
struct DecidedReport {
    #[serde(flatten)]
    file: FileReport,
    events_published: usize,
}

/// What the book has against a decision is no wrong usage: the file is not what the person thinks it is.
async fn decided(ctx: &Context, done: Result<RequestFile, StageError>, what: &str, json: bool) -> Result<(), Failure> {
    let file = match done {
        Ok(file) => FileReport::new(ctx, file),
        Err(StageError::Refused(why)) => {
            eprintln!("pikou: {why}; nothing happened");
            return Err(Failure::Refused);
        }
        Err(error) => return Err(error.into()),
    };
    let report = DecidedReport { events_published: commands::publish(ctx).await, file };
    if json {
        print::document(&report);
    } else {
        println!("{}: {what}; it is {}", report.file.file_name, report.file.state);
    }
    Ok(())
}
