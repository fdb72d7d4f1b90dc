//! `pikou reconcile`: applies a result file, or shows what it would do; `undo` puts one back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use rust_decimal::Decimal;
use serde::Serialize;

use super::commands::{Given, Whose};
use super::print::{grouped, harmless};
use super::undo::{self, ReconcileCommand};
use super::{Failure, commands, print};
use crate::crypt::hex;
use crate::domain::rows::Rows;
use crate::gateway::Refused;
use crate::stages::Context;
use crate::stages::reconcile::preview::{self, Foreseen, Preview};
use crate::store::file_rows::WrongLine;
use crate::store::result_files::ResultFile;

/// What becomes of rows that need no person, in the order in which they are shown.
const IN_ORDER: [(&str, &str); 8] = [
    ("settle", "succeeded"),
    ("confirm", "confirmed"),
    ("reverse", "reversed"),
    ("fail", "failed"),
    ("unknown", "unknown"),
    ("noted", "noted without effect"),
    ("repeated", "repeated"),
    ("not_ours", "not ours"),
];

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct ReconcileArgs {
    #[command(subcommand)]
    what: Option<ReconcileCommand>,
    #[arg(required = true)]
    file: Option<PathBuf>,
    /// Which bank it is from [default: the one its header names]
    #[arg(long, value_name = "BANK_CODE")]
    bank: Option<String>,
    /// Which gateway it is from [default: told by its name and content]
    #[arg(long, conflicts_with = "bank", value_parser = ["alipay", "wechat_pay", "unionpay"])]
    gateway: Option<String>,
    /// Only say what would become of its rows; nothing is written
    #[arg(long)]
    preview: bool,
}

pub async fn reconcile(ctx: Context, args: ReconcileArgs, json: bool) -> Result<(), Failure> {
    if let Some(ReconcileCommand::Undo(what)) = &args.what {
        return undo::undo(ctx, what, json).await;
    }
    let whose = Whose { gateway: args.gateway.as_deref(), bank: args.bank.as_deref() };
    let file = args.file.unwrap_or_default();
    if !args.preview {
        return commands::reconcile(ctx, &file, whose, json).await;
    }
    let Given { from, name, bytes, beside } = commands::given(&ctx, &file, whose)?;
    let bar = print::bar("lines", 0);
    let preview =
        preview::preview(&ctx, from, &name, bytes, &beside, |line_no| bar.set_position(line_no as u64)).await?;
    bar.finish_and_clear();
    if json {
        print::document(&PreviewReport::of(&preview));
    } else {
        show(&preview);
    }
    if matches!(preview, Preview::Refused(..)) { Err(Failure::Refused) } else { Ok(()) }
}

#[derive(Serialize)]
struct PreviewReport {
    /// would_be_applied, would_be_refused, or repeated where these bytes were applied before.
    outcome: &'static str,
    /// None where these bytes never came before.
    result_file_id: Option<i64>,
    file_name: String,
    gateway: String,
    bank_code: String,
    sha256: String,
    #[serde(flatten)]
    foreseen: Option<ForeseenReport>,
    #[serde(flatten)]
    refused: Option<RefusedReport>,
}

#[derive(Serialize)]
struct ForeseenReport {
    rows: i64,
    /// What was applied of it before it was interrupted: of the lines up to here.
    booked_through: i64,
    succeeded: RowsReport,
    /// Settled before by a channel's report or a person; the bill has them, too.
    confirmed: RowsReport,
    /// Payments whose money went back.
    reversed: RowsReport,
    failed: RowsReport,
    unknown: RowsReport,
    noted: RowsReport,
    repeated: RowsReport,
    not_ours: RowsReport,
    discrepancies: BTreeMap<String, RowsReport>,
    wrong_lines: Vec<WrongLineReport>,
    /// The file of this name that came with other bytes: discrepancy name_reused.
    same_name: Option<i64>,
}

#[derive(Serialize)]
struct RowsReport {
    rows: i64,
    total: String,
}

#[derive(Serialize)]
struct WrongLineReport {
    line: i64,
    kind: String,
    order_no: Option<String>,
    amount_ours: Option<String>,
    amount_theirs: Option<String>,
    code: Option<String>,
    reason: Option<String>,
}

#[derive(Serialize)]
struct RefusedReport {
    refused_as: &'static str,
    line: u64,
    column: Option<u64>,
    reason: String,
}

impl PreviewReport {
    fn of(preview: &Preview) -> PreviewReport {
        let (outcome, file, foreseen, refused) = match preview {
            Preview::Known(file) => ("repeated", file, None, None),
            Preview::Refused(file, refused) => ("would_be_refused", file, None, Some(RefusedReport::of(refused))),
            Preview::Foreseen(foreseen) => {
                ("would_be_applied", &foreseen.file, Some(ForeseenReport::of(foreseen)), None)
            }
        };
        PreviewReport {
            outcome,
            result_file_id: Some(file.result_file_id).filter(|id| *id > 0),
            file_name: file.file_name.clone(),
            gateway: file.gateway.clone(),
            bank_code: file.bank_code.clone(),
            sha256: hex(&file.sha256),
            foreseen,
            refused,
        }
    }
}

impl ForeseenReport {
    fn of(foreseen: &Foreseen) -> ForeseenReport {
        let of = |verdict: &str| RowsReport::of(of_verdict(foreseen, verdict));
        ForeseenReport {
            rows: all(foreseen).count,
            booked_through: foreseen.file.booked_through,
            succeeded: of("settle"),
            confirmed: of("confirm"),
            reversed: of("reverse"),
            failed: of("fail"),
            unknown: of("unknown"),
            noted: of("noted"),
            repeated: of("repeated"),
            not_ours: of("not_ours"),
            discrepancies: wrong(foreseen)
                .into_iter()
                .map(|(kind, rows)| (kind.to_owned(), RowsReport::of(rows)))
                .collect(),
            wrong_lines: foreseen.wrong_lines.iter().map(WrongLineReport::of).collect(),
            same_name: foreseen.same_name,
        }
    }
}

impl RowsReport {
    fn of(rows: Rows) -> RowsReport {
        RowsReport { rows: rows.count, total: format!("{:.2}", rows.total) }
    }
}

impl WrongLineReport {
    fn of(line: &WrongLine) -> WrongLineReport {
        WrongLineReport {
            line: line.line_no,
            kind: line.kind.clone(),
            order_no: line.order_no.clone(),
            amount_ours: line.amount_ours.map(|amount| amount.to_string()),
            amount_theirs: line.amount_theirs.map(|amount| amount.to_string()),
            code: line.code.clone(),
            reason: line.detail.clone(),
        }
    }
}

impl RefusedReport {
    fn of(refused: &Refused) -> RefusedReport {
        let Refused { kind, line, column, reason } = refused;
        RefusedReport { refused_as: kind.as_str(), line: *line, column: *column, reason: reason.clone() }
    }
}

fn of_verdict(foreseen: &Foreseen, verdict: &str) -> Rows {
    foreseen.outcomes.iter().filter(|(outcome, _)| outcome.verdict == verdict).map(|(_, rows)| *rows).sum()
}

fn all(foreseen: &Foreseen) -> Rows {
    foreseen.outcomes.values().copied().sum()
}

/// The kinds of discrepancies that would be opened by lines.
fn wrong(foreseen: &Foreseen) -> BTreeMap<&str, Rows> {
    let mut kinds: BTreeMap<&str, Rows> = BTreeMap::new();
    for (outcome, rows) in &foreseen.outcomes {
        if IN_ORDER.iter().all(|(verdict, _)| *verdict != outcome.verdict) {
            *kinds.entry(&outcome.verdict).or_default() += *rows;
        }
    }
    kinds
}

fn show(preview: &Preview) {
    match preview {
        Preview::Known(file) => {
            let what = if file.rows == Some(0) { "at most its day would be covered" } else { "nothing would happen" };
            let ResultFile { result_file_id, file_name, .. } = file;
            print::line(format_args!(
                "{file_name}: these bytes were applied before, as result file {result_file_id}; {what}"
            ));
        }
        Preview::Refused(file, refused) => {
            print::line(format_args!(
                "{}: would be refused as {refused}; nothing of it would be applied",
                file.file_name
            ));
        }
        Preview::Foreseen(foreseen) => show_foreseen(foreseen),
    }
}

fn show_foreseen(foreseen: &Foreseen) {
    let file = &foreseen.file;
    let whose = [file.gateway.as_str(), &file.bank_code].join(" ");
    print::line(format_args!("{} of {}, as of now; nothing is written.", file.file_name, whose.trim_end()));
    if file.booked_through > 0 {
        print::line(format_args!(
            "Lines up to {} are booked already, as result file {}.",
            file.booked_through, file.result_file_id
        ));
    }
    if let Some(earlier) = foreseen.same_name {
        print::line(format_args!(
            "Result file {earlier} came under this name with other bytes: that would be a discrepancy, too."
        ));
    }
    print::line(format_args!("\n{}", print::figures_head("What would become of its rows", "rows")));
    for (verdict, what) in IN_ORDER {
        let rows = of_verdict(foreseen, verdict);
        if rows.count > 0 || verdict == "settle" {
            print::line(format_args!("{}", print::figures(what, rows, "")));
        }
    }
    for (kind, rows) in wrong(foreseen) {
        print::line(format_args!("{}", print::figures(&format!("discrepancy {kind}"), rows, "")));
    }
    print::line(format_args!("{}", print::figures("all rows", all(foreseen), "")));
    if !foreseen.wrong_lines.is_empty() {
        let all = wrong(foreseen).values().map(|rows| rows.count).sum::<i64>();
        let first = foreseen.wrong_lines.len() as i64;
        let first = if first < all {
            format!("The first {first} of {} discrepancies", grouped(all))
        } else {
            "Discrepancies".to_owned()
        };
        print::line(format_args!("\n{first}"));
        let amount = |amount: Option<Decimal>| amount.map(|amount| amount.to_string()).unwrap_or_default();
        let text = |text: &Option<String>| text.as_deref().map(harmless).unwrap_or_default();
        let row = |line: &WrongLine| {
            vec![
                format!("  {}", line.line_no),
                line.kind.clone(),
                text(&line.order_no),
                amount(line.amount_ours),
                amount(line.amount_theirs),
                text(&line.code),
                text(&line.detail),
            ]
        };
        let rows: Vec<Vec<String>> = foreseen.wrong_lines.iter().map(row).collect();
        print::table(&["  line", "kind", "order", "ours", "theirs", "code", "reason"], &rows);
    }
}
