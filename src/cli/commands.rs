//! `pikou ingest`, `pikou run`, `pikou reconcile`: one piece of work each, then its events are published.

use std::path::Path;

use serde::Serialize;
use tokio::io::BufReader;

use super::{Failure, print};
use crate::contract::inbound::MESSAGES;
use crate::crypt::hex;
use crate::gateway::result::FileEnds;
use crate::gateway::{Answers, Beside};
use crate::stages::intake::Taken;
use crate::stages::reconcile::{self as stage, Outcome};
use crate::stages::{Context, absence};
use crate::store::request_files::RequestFile;
use crate::store::{request_files, runs};
use crate::worker::{self, companions, intake, relay};

#[derive(Serialize)]
struct IngestReport {
    messages: usize,
    accepted: usize,
    refused: usize,
    stale: usize,
    waiting: usize,
    repeated: usize,
    quarantined: usize,
    events_published: usize,
}

pub async fn ingest(ctx: Context, file: &str, json: bool) -> Result<(), Failure> {
    let bar = print::bar("messages", 0);
    let progress = |more: usize| bar.inc(more as u64);
    let taken = if file == "-" {
        intake::ingest(&ctx, "stdin", BufReader::new(tokio::io::stdin()), progress).await?
    } else {
        let open = tokio::fs::File::open(file).await;
        let open = open.map_err(|error| Failure::Usage(format!("cannot read {file}: {error}")))?;
        intake::ingest(&ctx, file, BufReader::new(open), progress).await?
    };
    bar.finish_and_clear();
    let events_published = publish(&ctx).await;
    let Taken { accepted, refused, stale, waiting, repeated, quarantined } = taken;
    let messages = taken.total();
    let report = IngestReport { messages, accepted, refused, stale, waiting, repeated, quarantined, events_published };
    if json {
        print::document(&report);
    } else {
        println!(
            "{messages} messages: {accepted} accepted, {refused} refused, {stale} stale, {waiting} waiting, \
             {repeated} repeated, {quarantined} quarantined"
        );
        if quarantined > 0 {
            eprintln!(
                "what was not understood is kept in the quarantine; see `pikou messages list`; messages are {}",
                MESSAGES.join(", ")
            );
        }
    }
    Ok(())
}

/// Tells what the command has done. Events that cannot go out now stay in the outbox, and that is said.
pub(super) async fn publish(ctx: &Context) -> usize {
    match relay::drain(ctx).await {
        Ok(published) => published,
        Err(error) => {
            worker::report("events stay in the outbox", &error);
            0
        }
    }
}

#[derive(Serialize)]
struct RunReport {
    run_id: i64,
    schedule: String,
    business_date: String,
    state: String,
    candidates: i64,
    attempts: i64,
    attempts_total: String,
    skips: std::collections::BTreeMap<String, i64>,
    withdrawn: i64,
    /// Why it waits for a person.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hold_reasons: Vec<String>,
    files: Vec<FileReport>,
    events_published: usize,
}

#[derive(Serialize)]
struct FileReport {
    file_name: String,
    path: String,
    bank_code: String,
    state: String,
    items: i64,
    total: String,
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_reason: Option<String>,
}

/// For a nominal date.
pub(super) async fn run(ctx: Context, schedule: &str, date: chrono::NaiveDate, json: bool) -> Result<(), Failure> {
    let run_id = worker::runs::run_now(&ctx, schedule, date, &mut |_, _| ()).await?;
    let events_published = publish(&ctx).await;
    let mut connection = ctx.pool.acquire().await.map_err(anyhow::Error::from)?;
    let run = runs::get(&mut connection, run_id).await.map_err(anyhow::Error::from)?;
    let skips = runs::skips(&mut connection, run_id).await.map_err(anyhow::Error::from)?;
    let states = ["open", "sealed", "delivering", "delivered"];
    let files = request_files::in_states(&mut connection, run_id, &states).await.map_err(anyhow::Error::from)?;
    let files: Vec<FileReport> = files
        .into_iter()
        .map(|file| FileReport {
            path: path(&ctx, &file),
            sha256: hex(file.sha256.as_deref().unwrap_or_default()),
            items: file.items.unwrap_or(0),
            total: file.total.map_or_else(String::new, |total| total.to_string()),
            file_name: file.file_name,
            bank_code: file.bank_code,
            state: file.state,
            held_reason: file.held_reason,
        })
        .collect();
    let held = files.iter().filter(|file| file.held_reason.is_some()).count();
    let hold_reasons = if run.state == "held" { run.hold_reasons } else { Vec::new() };
    let report = RunReport {
        run_id,
        schedule: run.schedule,
        business_date: run.business_date.to_string(),
        state: run.state,
        candidates: run.candidates,
        attempts: run.attempts,
        attempts_total: run.attempts_total.to_string(),
        skips,
        withdrawn: run.withdrawn,
        hold_reasons,
        files,
        events_published,
    };
    if json {
        print::document(&report);
    } else {
        println!("run {} of {} for {}: {}", report.run_id, report.schedule, report.business_date, report.state);
        println!(
            "{} candidates = {} attempts ({} yuan) + {} skips",
            report.candidates,
            report.attempts,
            report.attempts_total,
            report.candidates - report.attempts
        );
        for (reason, count) in &report.skips {
            println!("  skipped {reason}: {count}");
        }
        if report.withdrawn > 0 {
            println!("{} attempts withdrawn before their file was sealed", report.withdrawn);
        }
        if !report.hold_reasons.is_empty() {
            println!(
                "held for a person: {}; see `pikou run show {id}`, then `pikou run release {id}` or `cancel {id}`",
                report.hold_reasons.join(", "),
                id = report.run_id
            );
        }
        for file in &report.files {
            println!("  {} {} items, {} yuan, {}", file.path, file.items, file.total, file.state);
            if let Some(reason) = &file.held_reason {
                println!("    held for a person: {reason}");
            }
        }
    }
    match report.state.as_str() {
        "held" => Err(Failure::Held),
        "cancelled" => Err(Failure::Cancelled),
        _ if held > 0 => Err(Failure::Bad),
        _ => Ok(()),
    }
}

/// Where a file is handed over, or its name alone where its bank is no longer configured.
fn path(ctx: &Context, file: &RequestFile) -> String {
    let folder = ctx.settings.destination(&file.gateway, &file.bank_code).map(|to| ctx.settings.outbox(to));
    folder.unwrap_or_default().join(&file.file_name).display().to_string()
}

#[derive(Serialize)]
struct ReconcileReport {
    outcome: &'static str,
    result_file_id: i64,
    file_name: String,
    gateway: String,
    bank_code: String,
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeated: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    discrepancies: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_ours: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused_as: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    events_published: usize,
}

/// A result file that a person gives, and whom it came from.
pub(super) struct Given<'c> {
    pub from: &'c dyn Answers,
    pub name: String,
    pub bytes: std::fs::File,
    pub beside: Vec<Beside>,
}

pub(super) fn given<'c>(ctx: &'c Context, path: &Path, whose: Whose<'_>) -> Result<Given<'c>, Failure> {
    let unreadable = |error: std::io::Error| Failure::Usage(format!("cannot read {}: {error}", path.display()));
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > ctx.settings.results.file_max_bytes {
        return Err(Failure::Usage(format!("{} has {size} bytes, more than results.file_max_bytes", path.display())));
    }
    let mut bytes = std::fs::File::open(path).map_err(unreadable)?;
    let ends = FileEnds::of(&mut bytes).map_err(unreadable)?;
    let from = sender_of(ctx, whose, path, &ends)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Given { from, name, bytes, beside: companions::beside(path).map_err(unreadable)? })
}

pub async fn reconcile(ctx: Context, path: &Path, whose: Whose<'_>, json: bool) -> Result<(), Failure> {
    let Given { from, name, bytes, beside } = given(&ctx, path, whose)?;
    let outcome = stage::reconcile_with(&ctx, from, &name, bytes, &beside).await?;
    if let Outcome::Applied(_) | Outcome::Repeated(_) = outcome {
        // What the file lacks says something, too; who died before it was looked for, gives the file again.
        absence::look(&ctx).await?;
    }
    let events_published = publish(&ctx).await;
    let file = outcome.file().clone();
    let report = ReconcileReport {
        outcome: outcome.as_str(),
        result_file_id: file.result_file_id,
        file_name: file.file_name,
        gateway: file.gateway,
        bank_code: file.bank_code,
        sha256: hex(&file.sha256),
        rows: file.rows,
        applied: file.applied,
        repeated: file.repeated,
        discrepancies: file.discrepancies,
        not_ours: file.not_ours,
        refused_as: file.refused_as,
        line: file.refused_line,
        column: file.refused_column,
        reason: file.refused_reason,
        events_published,
    };
    if json {
        print::document(&report);
    } else {
        let number = |count: Option<i64>| count.unwrap_or(0);
        match &outcome {
            Outcome::Applied(_) => println!(
                "{}: applied; {} rows = {} applied + {} repeated + {} discrepancies + {} not ours",
                report.file_name,
                number(report.rows),
                number(report.applied),
                number(report.repeated),
                number(report.discrepancies),
                number(report.not_ours)
            ),
            Outcome::Repeated(_) => {
                println!("{}: these bytes were applied before; nothing happened", report.file_name);
            }
            Outcome::Refused(_) => println!(
                "{}: refused as {}, line {}: {}; nothing of it is applied, the bytes are kept",
                report.file_name,
                report.refused_as.as_deref().unwrap_or_default(),
                number(report.line),
                report.reason.as_deref().unwrap_or_default()
            ),
        }
    }
    if matches!(outcome, Outcome::Refused(_)) { Err(Failure::Refused) } else { Ok(()) }
}

/// Whose file a person says it is.
#[derive(Debug, Clone, Copy)]
pub struct Whose<'a> {
    pub gateway: Option<&'a str>,
    pub bank: Option<&'a str>,
}

/// Whose file it is: what the person says; or who knows it by its name or its beginning; or the bank that its header
/// names; or whose inbox it lies in, or whose code its folder has. Where none of them says, the first bank reads it, so that the
/// refusal names what the file is.
fn sender_of<'c>(ctx: &'c Context, whose: Whose<'_>, path: &Path, ends: &FileEnds) -> Result<&'c dyn Answers, Failure> {
    let settings = &ctx.settings;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let bank = |code: &str| settings.bank.bank(code).map(|bank| bank as &dyn Answers);
    if let Some(code) = whose.bank {
        return bank(code).ok_or_else(|| Failure::Usage(format!("there is no bank {code}")));
    }
    if let Some(gateway) = whose.gateway {
        let from = settings.answerer(gateway, "", name);
        return from.ok_or_else(|| Failure::Usage(format!("no files are taken of {gateway}: it is not configured")));
    }
    let inbox_of = |from: &&dyn Answers| {
        let inbox = settings.inbox(*from).canonicalize();
        path.canonicalize().is_ok_and(|path| inbox.is_ok_and(|inbox| path.parent() == Some(inbox.as_path())))
    };
    if let Some(from) = settings.answerers().find(|from| from.knows(name, &ends.beginning)) {
        return Ok(from);
    }
    if let Ok(bank) = settings.bank.bank_of_result(ends) {
        return Ok(bank);
    }
    let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let from = settings.answerers().find(inbox_of).or_else(|| folder.and_then(bank));
    let from = from.or_else(|| settings.answerers().next());
    from.ok_or_else(|| Failure::Usage("nobody is configured whose files are taken".into()))
}
