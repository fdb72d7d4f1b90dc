//! Many discrepancies at once: a sheet goes out, comes back filled in, and is answered row by row.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::sheet;
use super::{ResolveArgs, Which, decide};
use crate::cli::print::{grouped, time};
use crate::cli::{Failure, commands, print};
use crate::domain::discrepancy::{Decision, DiscrepancyKind};
use crate::stages::Context;
use crate::stages::decider::Decider;
use crate::stages::resolve::{self, Resolution, Resolved};
use crate::store::discrepancy_decisions::Discrepancy;

/// Discrepancies read at a time.
const PAGE_MAX: i64 = 1_000;

/// Columns of a sheet; the last three are to be filled in.
const COLUMNS: [&str; 17] = [
    "discrepancy_id",
    "kind",
    "gateway",
    "bank_code",
    "file_name",
    "line_no",
    "order_no",
    "payer_id",
    "amount_ours",
    "amount_theirs",
    "code",
    "gateway_txn_no",
    "opened_at",
    "may_decide",
    "decision",
    "attach_order_no",
    "reason",
];

fn later(path: &Path, error: std::io::Error) -> Failure {
    Failure::Other(anyhow::Error::new(error).context(path.display().to_string()))
}

/// A new file: what somebody has filled in is never overwritten.
fn create(path: &Path) -> Result<BufWriter<File>, Failure> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(file) => Ok(BufWriter::new(file)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Failure::Usage(format!("{} exists already", path.display())))
        }
        Err(error) => Err(later(path, error)),
    }
}

pub async fn export(ctx: &Context, path: &Path, which: &Which, json: bool) -> Result<(), Failure> {
    let filter = which.filter(ctx.clock.now());
    let mut out = create(path)?;
    let head: Vec<String> = COLUMNS.map(str::to_owned).into();
    sheet::begin(&mut out).and_then(|()| sheet::write(&mut out, &head)).map_err(|error| later(path, error))?;
    let (mut after, mut count) = (0, 0);
    loop {
        let page = resolve::list(ctx, &filter, after, PAGE_MAX).await?;
        let Some(last) = page.last() else { break };
        after = last.discrepancy_id;
        count += page.len() as i64;
        for one in page {
            sheet::write(&mut out, &cells(one)).map_err(|error| later(path, error))?;
        }
    }
    out.flush().map_err(|error| later(path, error))?;
    if json {
        print::document(&serde_json::json!({"csv": path, "discrepancies": count}));
    } else {
        println!("{}: {} discrepancies; fill in decision, attach_order_no and reason", path.display(), grouped(count));
    }
    Ok(())
}

fn cells(one: Discrepancy) -> Vec<String> {
    let may = DiscrepancyKind::parse(&one.kind).map_or(&[][..], DiscrepancyKind::decisions);
    let may: Vec<&str> = may.iter().map(|decision| decision.as_str()).collect();
    vec![
        one.discrepancy_id.to_string(),
        one.kind,
        one.gateway,
        one.bank_code,
        one.file_name.unwrap_or_default(),
        one.line_no.map_or_else(String::new, |line| line.to_string()),
        one.order_no.unwrap_or_default(),
        one.payer_id.unwrap_or_default(),
        one.amount_ours.map_or_else(String::new, |sum| sum.to_string()),
        one.amount_theirs.map_or_else(String::new, |sum| sum.to_string()),
        one.code.unwrap_or_default(),
        one.gateway_txn_no.unwrap_or_default(),
        time(one.opened_at),
        may.join(" "),
        String::new(),
        String::new(),
        String::new(),
    ]
}

/// Where a sheet has what is filled in.
struct Filled {
    width: usize,
    id: usize,
    decision: usize,
    order_no: usize,
    reason: usize,
}

impl Filled {
    fn of(head: &[String]) -> Option<Filled> {
        let place = |name: &str| head.iter().position(|cell| cell.trim() == name);
        Some(Filled {
            width: head.len(),
            id: place("discrepancy_id")?,
            decision: place("decision")?,
            order_no: place("attach_order_no")?,
            reason: place("reason")?,
        })
    }
}

#[derive(Default, Serialize)]
struct Counts {
    rows: i64,
    done: i64,
    repeated: i64,
    refused: i64,
    /// Rows without a decision.
    left: i64,
}

/// Decides each row by itself; one that is refused does not keep the next from being decided.
pub async fn resolve(ctx: &Context, path: &Path, args: &ResolveArgs, json: bool) -> Result<(), Failure> {
    // A name that is none is not found out row by row.
    Decider::new(&args.by, args.reason.as_deref().unwrap_or("-"))?;
    let second = decide::second(args)?;
    let mut input = BufReader::new(File::open(path).map_err(|error| later(path, error))?);
    let head = match sheet::read(&mut input).map_err(|error| later(path, error))? {
        Some(Ok(head)) => head,
        Some(Err(_)) | None => Vec::new(),
    };
    let Some(filled) = Filled::of(&head) else {
        eprintln!(
            "pikou: {} has no columns discrepancy_id, decision, attach_order_no and reason in UTF-8",
            path.display()
        );
        return Err(Failure::Refused);
    };
    let answers = args.answers.clone().unwrap_or_else(|| {
        let mut name = path.as_os_str().to_owned();
        name.push(".answers.csv");
        PathBuf::from(name)
    });
    let mut out = create(&answers)?;
    let answer_head: Vec<String> = head.iter().cloned().chain(["outcome".to_owned()]).collect();
    let begun = sheet::begin(&mut out).and_then(|()| sheet::write(&mut out, &answer_head));
    begun.map_err(|error| later(&answers, error))?;
    let mut counts = Counts::default();
    while let Some(record) = sheet::read(&mut input).map_err(|error| later(path, error))? {
        counts.rows += 1;
        let (mut cells, outcome) = match record {
            Err(fault) => (vec![String::new(); filled.width], Err(fault.to_owned())),
            Ok(cells) if cells.len() != filled.width => {
                let why = format!("{} cells instead of {}", cells.len(), filled.width);
                (cells, Err(why))
            }
            Ok(cells) => {
                let outcome = row(ctx, &filled, &cells, args, second.as_deref()).await?;
                (cells, outcome)
            }
        };
        let outcome = match outcome {
            Ok(outcome) => outcome.to_owned(),
            Err(why) => format!("refused: {why}"),
        };
        match outcome.as_str() {
            "done" => counts.done += 1,
            "repeated" => counts.repeated += 1,
            "" => counts.left += 1,
            _ => counts.refused += 1,
        }
        cells.resize(filled.width, String::new());
        cells.push(outcome);
        // A row is on record as soon as it is decided, however this ends.
        sheet::write(&mut out, &cells).and_then(|()| out.flush()).map_err(|error| later(&answers, error))?;
    }
    let events_published = commands::publish(ctx).await;
    if json {
        print::document(&serde_json::json!({"csv": path, "answers": answers, "outcomes": counts,
            "events_published": events_published}));
    } else {
        let Counts { rows, done, repeated, refused, left } = counts;
        println!("{rows} rows = {done} done + {repeated} repeated + {refused} refused + {left} without a decision");
        println!("the outcome of each is in {}", answers.display());
    }
    if counts.refused > 0 { Err(Failure::Refused) } else { Ok(()) }
}

/// `done`, `repeated`, nothing where nothing is filled in; or why it is refused.
async fn row(
    ctx: &Context,
    filled: &Filled,
    cells: &[String],
    args: &ResolveArgs,
    second: Option<&str>,
) -> Result<Result<&'static str, String>, Failure> {
    let cell = |place: usize| cells[place].trim();
    if cell(filled.decision).is_empty() {
        return Ok(Ok(""));
    }
    let Ok(id) = cell(filled.id).parse::<i64>() else { return Ok(Err("discrepancy_id is not a number".into())) };
    let Some(decision) = Decision::parse(cell(filled.decision)) else {
        return Ok(Err(super::decision(cell(filled.decision)).err().unwrap_or_default()));
    };
    let reason = Some(cell(filled.reason)).filter(|reason| !reason.is_empty()).or(args.reason.as_deref());
    let decider = match Decider::new(&args.by, reason.unwrap_or_default()) {
        Ok(decider) => decider,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let order_no = Some(cell(filled.order_no)).filter(|order_no| !order_no.is_empty()).map(str::to_owned);
    let resolution = Resolution { decision, order_no, decider, second: second.map(str::to_owned) };
    Ok(match resolve::resolve(ctx, id, &resolution).await? {
        Resolved::Done(_) => Ok("done"),
        Resolved::Repeated => Ok("repeated"),
        Resolved::Refused(no) => Err(no.to_string()),
    })
}
