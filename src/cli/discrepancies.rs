//! `pikou discrepancies`: where our book and theirs disagree, and what people decide about it.

mod bulk;
mod decide;
pub(super) mod sheet;
mod show;

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::by::By;
use super::print::harmless;
use super::{Failure, print};
use crate::domain::discrepancy::{Decision, DiscrepancyKind};
use crate::domain::order::Gateway;
use crate::stages::Context;
use crate::stages::resolve::{self, Filter};
use crate::store::discrepancy_decisions::Discrepancy;

#[derive(Debug, Subcommand)]
pub enum Discrepancies {
    /// What waits for a decision, in the order of the numbers; those that wait too long are marked
    List(ListArgs),
    /// Everything known of one: what we hold, what they say and where, and what each decision would do
    Show {
        #[arg(value_name = "DISCREPANCY_ID")]
        id: i64,
    },
    /// Decide on one, or on all those of a sheet that was exported and filled in
    Resolve(ResolveArgs),
    /// Open a resolved one again, for another decision; what was booked stays booked
    Reopen {
        #[arg(value_name = "DISCREPANCY_ID")]
        id: i64,
        #[command(flatten)]
        by: By,
    },
    /// Write a sheet (CSV) to be filled in and given to `resolve --csv`
    Export {
        /// Must not exist yet
        #[arg(long, value_name = "FILE")]
        csv: PathBuf,
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Debug, Clone, Args)]
pub struct Which {
    /// Only of this kind, e.g. unknown_order
    #[arg(long, value_parser = kind)]
    kind: Option<DiscrepancyKind>,
    /// Only of this gateway
    #[arg(long, value_parser = gateway)]
    gateway: Option<Gateway>,
    #[arg(long, value_enum, default_value_t = State::Open)]
    state: State,
    /// Only those that were opened so many days ago, or earlier
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(i64).range(0..=10_000))]
    older_than: Option<i64>,
    /// Only of this result file
    #[arg(long, value_name = "RESULT_FILE_ID")]
    file: Option<i64>,
    /// Only of this payer
    #[arg(long, value_name = "PAYER_ID")]
    payer: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum State {
    Open,
    Resolved,
    All,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    which: Which,
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
    /// Go on behind this one
    #[arg(long, value_name = "DISCREPANCY_ID", default_value_t = 0)]
    after: i64,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["id", "csv"])))]
pub struct ResolveArgs {
    #[arg(value_name = "DISCREPANCY_ID", requires = "decision", requires = "reason")]
    id: Option<i64>,
    /// One of those that `show` names
    #[arg(long, value_parser = decision, conflicts_with = "csv")]
    decision: Option<Decision>,
    /// attach: the order of ours that the money is for
    #[arg(long, value_name = "ORDER_NO", conflicts_with = "csv")]
    order: Option<String>,
    /// A sheet of `export` with its decisions filled in; each row is decided by itself
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// The sheet with an outcome for each row [default: beside the other one, as FILE.answers.csv]
    #[arg(long, value_name = "FILE", requires = "csv")]
    answers: Option<PathBuf>,
    /// Who decides
    #[arg(long, value_name = "NAME")]
    by: String,
    /// The second person, where two are needed
    #[arg(long, value_name = "NAME")]
    second: Option<String>,
    /// Why; of a sheet, for the rows that do not say
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

fn kind(text: &str) -> Result<DiscrepancyKind, String> {
    DiscrepancyKind::parse(text).ok_or_else(|| one_of(DiscrepancyKind::ALL.map(DiscrepancyKind::as_str).as_slice()))
}

fn gateway(text: &str) -> Result<Gateway, String> {
    Gateway::parse(text).ok_or_else(|| one_of(Gateway::ALL.map(Gateway::as_str).as_slice()))
}

fn decision(text: &str) -> Result<Decision, String> {
    Decision::parse(text).ok_or_else(|| one_of(Decision::ALL.map(Decision::as_str).as_slice()))
}

fn one_of(words: &[&str]) -> String {
    format!("one of {}", words.join(", "))
}

pub async fn discrepancies(ctx: Context, what: Discrepancies, json: bool) -> Result<(), Failure> {
    match what {
        Discrepancies::List(args) => list(&ctx, &args, json).await,
        Discrepancies::Show { id } => show::show(&ctx, id, json).await,
        Discrepancies::Resolve(args) => match args.csv.clone() {
            Some(sheet) => bulk::resolve(&ctx, &sheet, &args, json).await,
            None => decide::resolve(&ctx, &args, json).await,
        },
        Discrepancies::Reopen { id, by } => decide::reopen(&ctx, id, &by, json).await,
        Discrepancies::Export { csv, which } => bulk::export(&ctx, &csv, &which, json).await,
    }
}

impl Which {
    fn filter(&self, now: DateTime<Utc>) -> Filter {
        Filter {
            kind: self.kind.map(|kind| kind.as_str().to_owned()),
            gateway: self.gateway.map(|gateway| gateway.as_str().to_owned()),
            state: match self.state {
                State::Open => Some("open".to_owned()),
                State::Resolved => Some("resolved".to_owned()),
                State::All => None,
            },
            opened_by: self.older_than.map(|days| now - chrono::Duration::days(days)),
            result_file_id: self.file,
            payer_id: self.payer.clone(),
        }
    }
}

/// A discrepancy as a document.
#[derive(Serialize)]
struct DiscrepancyReport {
    discrepancy_id: i64,
    kind: String,
    state: String,
    gateway: String,
    bank_code: String,
    result_file_id: Option<i64>,
    file_name: Option<String>,
    line_no: Option<i64>,
    message_source: Option<String>,
    message_id: Option<String>,
    order_no: Option<String>,
    payer_id: Option<String>,
    declaration_no: Option<String>,
    amount_ours: Option<String>,
    amount_theirs: Option<String>,
    code: Option<String>,
    gateway_txn_no: Option<String>,
    settled_at: Option<DateTime<Utc>>,
    detail: Option<String>,
    opened_at: DateTime<Utc>,
    /// Open for longer than `results.discrepancy_alarm_days`.
    old: bool,
}

impl DiscrepancyReport {
    fn new(ctx: &Context, one: Discrepancy) -> DiscrepancyReport {
        DiscrepancyReport {
            old: one.state == "open" && one.opened_at <= resolve::old_since(ctx),
            discrepancy_id: one.discrepancy_id,
            kind: one.kind,
            state: one.state,
            gateway: one.gateway,
            bank_code: one.bank_code,
            result_file_id: one.result_file_id,
            file_name: one.file_name,
            line_no: one.line_no,
            message_source: one.message_source,
            message_id: one.message_id,
            order_no: one.order_no,
            payer_id: one.payer_id,
            declaration_no: one.declaration_no,
            amount_ours: one.amount_ours.map(|sum| sum.to_string()),
            amount_theirs: one.amount_theirs.map(|sum| sum.to_string()),
            code: one.code,
            gateway_txn_no: one.gateway_txn_no,
            settled_at: one.settled_at,
            detail: one.detail,
            opened_at: one.opened_at,
        }
    }
}

#[derive(Serialize)]
struct ListReport {
    discrepancies: Vec<DiscrepancyReport>,
    /// Go on with `--after` this one; none if these are all.
    next_after: Option<i64>,
}

async fn list(ctx: &Context, args: &ListArgs, json: bool) -> Result<(), Failure> {
    let now = ctx.clock.now();
    let mut found = resolve::list(ctx, &args.which.filter(now), args.after, args.limit + 1).await?;
    let more = found.len() as i64 > args.limit;
    found.truncate(args.limit as usize);
    let next_after = found.last().filter(|_| more).map(|one| one.discrepancy_id);
    let lines: Vec<DiscrepancyReport> = found.into_iter().map(|one| DiscrepancyReport::new(ctx, one)).collect();
    if json {
        print::document(&ListReport { discrepancies: lines, next_after });
        return Ok(());
    }
    let row = |one: &DiscrepancyReport| {
        let days = (now - one.opened_at).num_days();
        let text = |value: &Option<String>| value.as_deref().map(harmless).unwrap_or_default();
        let evidence = match (one.result_file_id, &one.message_id) {
            (Some(file), _) => {
                format!("file {file}{}", one.line_no.map_or_else(String::new, |line| format!("#{line}")))
            }
            (None, Some(message)) => harmless(message),
            (None, None) => String::new(),
        };
        vec![
            one.discrepancy_id.to_string(),
            one.kind.clone(),
            if one.state == "open" { format!("{days}{}", if one.old { " !" } else { "" }) } else { one.state.clone() },
            format!("{} {}", one.gateway, one.bank_code).trim_end().to_owned(),
            evidence,
            text(&one.order_no),
            text(&one.payer_id),
            text(&one.amount_ours),
            text(&one.amount_theirs),
            text(&one.code),
        ]
    };
    let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    let head = ["id", "kind", "days", "gateway", "from", "order", "payer", "ours", "theirs", "code"];
    print::table(&head, &rows);
    if let Some(after) = next_after {
        eprintln!("there are more: --after {after}");
    }
    Ok(())
}
