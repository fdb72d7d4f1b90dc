//! Replays and discards, of single entries or of all of a code. What was there when a bulk decision began is decided
//! on, page by page; what comes meanwhile is for another time.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::cli::by::By;
use crate::cli::print::{self, grouped, harmless};
use crate::cli::{Failure, commands};
use crate::stages::Context;
use crate::stages::quarantine::{self, Replayed};
use crate::worker;

#[derive(Debug, Args)]
pub struct ReplayArgs {
    #[arg(required_unless_present = "code")]
    id: Option<i64>,
    /// Take these bytes in place of the entry's, under its headers
    #[arg(long, value_name = "MENDED", requires = "id")]
    file: Option<PathBuf>,
    /// All open entries of this code
    #[arg(long, conflicts_with = "id")]
    code: Option<String>,
    #[command(flatten)]
    by: By,
}

#[derive(Debug, Args)]
pub struct DiscardArgs {
    #[arg(value_name = "ID", required_unless_present = "code")]
    ids: Vec<i64>,
    /// All open entries of this code
    #[arg(long, conflicts_with = "ids")]
    code: Option<String>,
    #[command(flatten)]
    by: By,
}

#[derive(Serialize)]
struct ReplayReport {
    replayed: usize,
    not_understood: usize,
    already_decided: usize,
    entries: Vec<ReplayedReport>,
    events_published: usize,
}

#[derive(Serialize)]
struct ReplayedReport {
    id: i64,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Entries named one by one in a report of many; the list shows the rest.
const NAMED_MAX: usize = 100;

impl ReplayReport {
    fn add(&mut self, id: i64, replayed: Replayed) {
        let bare = |state: &str| ReplayedReport {
            id,
            state: state.to_owned(),
            answer: None,
            code: None,
            position: None,
            reason: None,
        };
        let entry = match replayed {
            Replayed::Understood(answer) => {
                self.replayed += 1;
                ReplayedReport { answer: Some(answer), ..bare("replayed") }
            }
            Replayed::NotUnderstood(fault) => {
                self.not_understood += 1;
                let (code, position, reason) = (Some(fault.code), Some(fault.position), Some(fault.reason));
                ReplayedReport { code, position, reason, ..bare("open") }
            }
            Replayed::Decided(state) => {
                self.already_decided += 1;
                bare(&state)
            }
        };
        if self.entries.len() < NAMED_MAX {
            self.entries.push(entry);
        }
    }

    fn print(&self) {
        for entry in &self.entries {
            match (&entry.answer, &entry.reason) {
                (Some(answer), _) => println!("{}: replayed, {answer}", entry.id),
                (None, Some(reason)) => {
                    let at = entry.position.as_deref().filter(|position| !position.is_empty());
                    let at = at.map_or_else(String::new, |position| format!(" at {position}"));
                    let code = entry.code.as_deref().unwrap_or_default();
                    println!("{}: still not understood: {code}{}", entry.id, harmless(&format!("{at}: {reason}")));
                }
                (None, None) => println!("{}: was {} before; nothing happened", entry.id, entry.state),
            }
        }
        println!(
            "{} replayed, {} still not understood, {} decided before",
            grouped(self.replayed as i64),
            grouped(self.not_understood as i64),
            grouped(self.already_decided as i64)
        );
    }
}

pub(super) async fn replay(ctx: &Context, args: &ReplayArgs, json: bool) -> Result<(), Failure> {
    let decider = args.by.decider()?;
    let mended = args.file.as_deref().map(|path| mended(ctx, path)).transpose()?;
    let mut report =
        ReplayReport { replayed: 0, not_understood: 0, already_decided: 0, entries: Vec::new(), events_published: 0 };
    match (args.id, &args.code) {
        (Some(id), _) => {
            report.add(id, worker::quarantine::replay(ctx, id, mended, &decider).await?);
        }
        (None, code) => {
            let code = code.as_deref().unwrap_or_default();
            let (through, open) = quarantine::open_of(ctx, code).await?;
            let bar = print::bar("replays", open as u64);
            let mut after = 0;
            loop {
                let page = quarantine::open_page(ctx, code, after, through).await?;
                let Some(last) = page.last() else { break };
                after = *last;
                for id in page {
                    report.add(id, worker::quarantine::replay(ctx, id, None, &decider).await?);
                    bar.inc(1);
                }
            }
            bar.finish_and_clear();
        }
    }
    report.events_published = commands::publish(ctx).await;
    if json {
        print::document(&report);
    } else {
        report.print();
    }
    if report.not_understood + report.already_decided > 0 { Err(Failure::Refused) } else { Ok(()) }
}

fn mended(ctx: &Context, path: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable = |error: std::io::Error| Failure::Usage(format!("cannot read {}: {error}", path.display()));
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > ctx.settings.intake.message_max_bytes as u64 {
        return Err(Failure::Usage(format!("{} has {size} bytes, more than intake.message_max_bytes", path.display())));
    }
    std::fs::read(path).map_err(unreadable)
}

#[derive(Serialize)]
struct DiscardReport {
    discarded: usize,
    already_decided: Vec<DecidedReport>,
}

#[derive(Serialize)]
struct DecidedReport {
    id: i64,
    state: String,
}

pub(super) async fn discard(ctx: &Context, args: &DiscardArgs, json: bool) -> Result<(), Failure> {
    let decider = args.by.decider()?;
    let mut report = DiscardReport { discarded: 0, already_decided: Vec::new() };
    let mut add = |ids: &[i64], decided: Vec<(i64, String)>| {
        report.discarded += ids.len() - decided.len();
        report.already_decided.extend(decided.into_iter().map(|(id, state)| DecidedReport { id, state }));
    };
    match &args.code {
        Some(code) => {
            let (through, open) = quarantine::open_of(ctx, code).await?;
            let bar = print::bar("discards", open as u64);
            let mut after = 0;
            loop {
                let page = quarantine::open_page(ctx, code, after, through).await?;
                let Some(last) = page.last() else { break };
                after = *last;
                add(&page, quarantine::discard(ctx, &page, &decider).await?);
                bar.inc(page.len() as u64);
            }
            bar.finish_and_clear();
        }
        None => {
            let mut ids = args.ids.clone();
            ids.sort_unstable();
            ids.dedup();
            add(&ids, quarantine::discard(ctx, &ids, &decider).await?);
        }
    }
    let refused = !report.already_decided.is_empty();
    if json {
        print::document(&report);
    } else {
        for entry in &report.already_decided {
            println!("{}: was {} before; nothing happened", entry.id, entry.state);
        }
        println!("{} discarded", grouped(report.discarded as i64));
    }
    if refused { Err(Failure::Refused) } else { Ok(()) }
}
