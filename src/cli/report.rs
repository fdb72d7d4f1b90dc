//! `pikou report day`: the account of a gateway's day, for a terminal, as a document, and as a sheet.

mod sheets;

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{Args, Subcommand};
use rust_decimal::Decimal;
use serde::Serialize;

use super::print::{grouped, harmless};
use super::{Failure, print};
use crate::domain::day_account::{DayAccount, DayFile, Item};
use crate::domain::order::Gateway;
use crate::domain::rows::Rows;
use crate::stages::Context;
use crate::stages::day_account::{self, Reading};
use sheets::Sheets;

/// Lines on a terminal, and in a document; sheets have them all.
const SHOWN_MAX: usize = 20;
const LISTED_MAX: usize = 1_000;

#[derive(Debug, Subcommand)]
pub enum Report {
    /// What was sent to a gateway on a day and what became of it, beside what its files of that day declare; exit code 6
    /// where a difference is not explained
    Day(DayArgs),
}

#[derive(Debug, Args)]
pub struct DayArgs {
    /// Of Asia/Shanghai, yyyy-mm-dd
    day: NaiveDate,
    #[arg(long, value_parser = gateway)]
    gateway: Gateway,
    /// Only of this bank
    #[arg(long, value_name = "BANK_CODE")]
    bank: Option<String>,
    /// All of it, every line, as comma-separated text; must not exist yet
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// The same as a workbook; must not exist yet
    #[arg(long, value_name = "FILE")]
    xlsx: Option<PathBuf>,
}

fn gateway(text: &str) -> Result<Gateway, String> {
    Gateway::parse(text).ok_or_else(|| format!("one of {}", Gateway::ALL.map(Gateway::as_str).join(", ")))
}

/// A line of the account in its own words: a figure, or what explains a difference.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Line {
    part: &'static str,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    bank_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_file_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(flatten)]
    rows: RowsReport,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct RowsReport {
    rows: i64,
    total: String,
    #[serde(skip)]
    sum: Rows,
}

impl RowsReport {
    fn of(rows: Rows) -> RowsReport {
        RowsReport { rows: rows.count, total: format!("{:.2}", rows.total), sum: rows }
    }

    fn is_nothing(&self) -> bool {
        self.sum.is_nothing()
    }
}

#[derive(Serialize)]
struct DayReport {
    day: NaiveDate,
    gateway: String,
    bank_code: Option<String>,
    balances: bool,
    figures: Vec<Line>,
    refused_files: i64,
    /// What explains the differences; of more than a thousand the rest is only counted.
    items: Vec<ItemReport>,
    items_left_out: usize,
}

#[derive(Serialize)]
struct ItemReport {
    what: String,
    result_file_id: Option<i64>,
    line: Option<i64>,
    order_no: Option<String>,
    code: Option<String>,
    state: Option<String>,
    amount_ours: Option<String>,
    amount_theirs: Option<String>,
    reason: Option<String>,
}

impl From<Item> for ItemReport {
    fn from(item: Item) -> ItemReport {
        let amount = |amount: Option<Decimal>| amount.map(|amount| amount.to_string());
        ItemReport {
            what: item.what,
            result_file_id: item.result_file_id,
            line: item.line_no,
            order_no: item.order_no,
            code: item.code,
            state: item.state,
            amount_ours: amount(item.amount_ours),
            amount_theirs: amount(item.amount_theirs),
            reason: item.detail,
        }
    }
}

pub async fn report(ctx: Context, what: Report, json: bool) -> Result<(), Failure> {
    let Report::Day(args) = what;
    let mut reading = day_account::read(&ctx, args.gateway.as_str(), args.bank.as_deref(), args.day).await?;
    let figures = figures(&ctx, &reading.account);
    let mut sheets = Sheets::open(args.csv.as_deref(), args.xlsx.as_deref())?;
    for line in &figures {
        sheets.figure(line)?;
    }
    let listed_max = if json { LISTED_MAX } else { SHOWN_MAX };
    let (items, left_out) = items(&mut reading, &mut sheets, listed_max).await?;
    sheets.close()?;
    let account = reading.account;
    let balances = account.balances();
    if json {
        print::document(&DayReport {
            day: account.day,
            gateway: account.gateway,
            bank_code: account.bank_code,
            balances,
            figures,
            refused_files: account.refused_files,
            items,
            items_left_out: left_out,
        });
    } else {
        show(&account, &figures, &items, left_out);
    }
    if balances { Ok(()) } else { Err(Failure::Unexplained) }
}

/// Reads every line into the sheets; returns the first ones, and how many more there are.
async fn items(
    reading: &mut Reading,
    sheets: &mut Sheets,
    listed_max: usize,
) -> Result<(Vec<ItemReport>, usize), Failure> {
    let (mut listed, mut left_out) = (Vec::new(), 0);
    loop {
        let page = reading.items().await?;
        if page.is_empty() {
            return Ok((listed, left_out));
        }
        for item in page {
            let item = ItemReport::from(item);
            sheets.item(&item)?;
            if listed.len() < listed_max {
                listed.push(item);
            } else {
                left_out += 1;
            }
        }
    }
}

/// The account line by line, in the order in which it is shown.
fn figures(ctx: &Context, account: &DayAccount) -> Vec<Line> {
    let of = |part: &'static str, what: &str, rows: Rows| Line {
        part,
        what: what.to_owned(),
        rows: RowsReport::of(rows),
        ..Line::default()
    };
    let ended =
        |status: &str| account.ended.iter().filter(|ended| ended.status == status).map(|ended| ended.rows).sum();
    let mut lines = vec![of("sent", "sent", account.sent), of("sent", "succeeded", ended("succeeded"))];
    lines.push(of("sent", "reported, in no bill yet", ended("reported")));
    lines.push(of("sent", "reversed", ended("reversed")));
    for failed in account.ended.iter().filter(|ended| ended.status == "failed") {
        let from = ctx.settings.answerer(&account.gateway, &failed.bank_code, "");
        let meaning = from.and_then(|from| from.codes().meaning(&failed.code));
        lines.push(Line {
            bank_code: Some(failed.bank_code.clone()).filter(|code| !code.is_empty()),
            code: Some(failed.code.clone()).filter(|code| !code.is_empty()),
            reason: meaning.map(|meaning| meaning.reason.clone()),
            ..of("sent", "failed", failed.rows)
        });
    }
    lines.push(of("sent", "unknown", ended("unknown")));
    lines.push(of("sent", "not answered yet", ended("open")));
    lines.push(of("sent", "not accounted for", account.unaccounted()));
    let reported = account.reported;
    lines.push(of("reported", "confirmed by a bill", reported.confirmed));
    lines.push(of("reported", "in no bill yet", reported.not_confirmed));
    lines.push(of("reported", "reversed since", reported.reversed));
    for file in &account.files {
        lines.extend(figures_of(file));
    }
    lines.extend(account.open_discrepancies.iter().map(|(kind, rows)| of("open discrepancies", kind, *rows)));
    lines
}

/// What a file declares, what our book has of its lines, and what explains the difference.
fn figures_of(file: &DayFile) -> Vec<Line> {
    let of = |part: &'static str, what: &str, rows: Rows| Line {
        part,
        what: what.to_owned(),
        bank_code: Some(file.bank_code.clone()).filter(|code| !code.is_empty()),
        result_file_id: Some(file.result_file_id),
        rows: RowsReport::of(rows),
        ..Line::default()
    };
    let mut lines = Vec::new();
    for (part, side) in [("payments", &file.payments), ("refunds", &file.refunds)] {
        lines.extend(side.declared.map(|declared| of(part, "declared by the file", declared)));
        lines.extend(side.held.iter().map(|(what, rows)| of(part, what, *rows)));
        if let (Some(difference), Some(unexplained)) = (side.difference(), side.unexplained()) {
            lines.push(of(part, "difference", difference));
            lines.extend(side.explained.iter().map(|(kind, rows)| of(part, &format!("of which {kind}"), *rows)));
            lines.extend(side.declared_not_taken().map(|rows| of(part, "of which asked and not taken", rows)));
            lines.push(of(part, "not explained", unexplained));
        }
        if part == "refunds" {
            lines.push(of(part, "payments reversed by it", file.reversed));
        }
    }
    lines
}

/// Lines that are shown also where they are nothing.
const ALWAYS: [&str; 4] = ["sent", "succeeded", "not accounted for", "not explained"];

fn show(account: &DayAccount, figures: &[Line], items: &[ItemReport], left_out: usize) {
    let bank = account.bank_code.as_ref().map(|code| format!(" {code}")).unwrap_or_default();
    print::line(format_args!("{}{bank} on {} (Asia/Shanghai), as of now", account.gateway, account.day));
    let mut shown = None;
    for line in figures {
        let part = (line.part, line.result_file_id);
        let of_part = || figures.iter().filter(|other| (other.part, other.result_file_id) == part);
        let says_something =
            ["sent", "payments"].contains(&line.part) || of_part().any(|other| !other.rows.is_nothing());
        if line.rows.is_nothing() && !(says_something && ALWAYS.contains(&line.what.as_str())) {
            continue;
        }
        if shown != Some(part) {
            shown = Some(part);
            print::line(format_args!("\n{}", heading(account, line)));
        }
        let code = [line.bank_code.as_deref().filter(|_| line.code.is_some()), line.code.as_deref()];
        let words: Vec<&str> = [Some(line.what.as_str())].into_iter().chain(code).flatten().collect();
        let reason = line.reason.as_deref().map(harmless).unwrap_or_default();
        print::line(format_args!("{}", print::figures(&words.join(" "), line.rows.sum, &reason)));
    }
    if account.files.is_empty() {
        print::line(format_args!("\nNo result file of this day is applied."));
    }
    if account.refused_files > 0 {
        print::line(format_args!("\nRefused on this day: {} result files.", grouped(account.refused_files)));
    }
    if !items.is_empty() {
        print::line(format_args!("\nLine by line"));
        let text = |text: &Option<String>| text.as_deref().map(harmless).unwrap_or_default();
        let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
        let row = |item: &ItemReport| {
            vec![
                format!("  {}", item.what),
                number(item.result_file_id),
                number(item.line),
                text(&item.order_no),
                text(&item.code),
                text(&item.amount_ours),
                text(&item.amount_theirs),
                text(&item.state),
                text(&item.reason),
            ]
        };
        let rows: Vec<Vec<String>> = items.iter().map(row).collect();
        print::table(&["  what", "file", "line", "order", "code", "ours", "theirs", "state", "reason"], &rows);
        if left_out > 0 {
            print::line(format_args!("  and {} more: --csv and --xlsx have them all", grouped(left_out as i64)));
        }
    }
    print::line(format_args!(""));
    for (what, holds) in [
        ("what was sent is accounted for", account.unaccounted().is_nothing()),
        ("every difference has its lines", account.files.iter().all(DayFile::is_explained)),
    ] {
        print::line(format_args!("  {} {what}", if holds { "✓" } else { "✗ DOES NOT HOLD:" }));
    }
}

/// Of a part of the account, with the names of its columns.
fn heading(account: &DayAccount, line: &Line) -> String {
    let file = account.files.iter().find(|file| Some(file.result_file_id) == line.result_file_id);
    let (title, what) = match (file, line.part) {
        (Some(file), "payments") => {
            let covers = file.covers.map(|(from, to)| format!(", of {from} to {to}")).unwrap_or_default();
            let name = format!("File {}: {}{covers}", file.result_file_id, harmless(&file.file_name));
            return format!("{name}\n{}", print::figures_head("Its payments", "rows"));
        }
        (Some(_), _) => ("Its refunds", "rows"),
        (None, "sent") => ("Sent on this day", "orders"),
        (None, "reported") => ("Reported as paid on this day", "orders"),
        (None, _) => ("Open discrepancies", "count"),
    };
    print::figures_head(title, what)
}
