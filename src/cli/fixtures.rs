//! `pikou fixtures`: runs cases of result files and says how each differs from what is expected of it.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::print::harmless;
use super::{Failure, print};
use crate::fixtures::{self, Outcome, Premises, Report, Wish};

#[derive(Debug, Subcommand)]
pub enum FixturesCommand {
    /// Run every case below a folder, with the settings in force, and compare; exit code 1 where one differs
    Check {
        /// Holds <gateway>/<case>/
        folder: PathBuf,
        /// Look at each file before it is applied, and compare what is done with what the preview has said, and account for its days
        #[arg(long)]
        preview: bool,
    },
    /// Write what comes of every case as its expected.json, for a person to read the difference
    Write {
        /// Holds <gateway>/<case>/
        folder: PathBuf,
    },
}

#[derive(Serialize)]
struct FixturesReport {
    cases: Vec<CaseReport>,
    as_expected: usize,
    written: usize,
    differ: usize,
    failed: usize,
}

#[derive(Serialize)]
struct CaseReport {
    case: String,
    outcome: &'static str,
    /// `-` expected, `+` found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl From<&Report> for CaseReport {
    fn from(report: &Report) -> CaseReport {
        let (differences, reason) = match &report.outcome {
            Outcome::AsExpected | Outcome::Written => (Vec::new(), None),
            Outcome::Differs(lines) => (lines.clone(), None),
            Outcome::Failed(reason) => (Vec::new(), Some(reason.clone())),
        };
        CaseReport { case: report.case.clone(), outcome: name(&report.outcome), differences, reason }
    }
}

fn name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::AsExpected => "as_expected",
        Outcome::Differs(_) => "differs",
        Outcome::Failed(_) => "failed",
        Outcome::Written => "written",
    }
}

pub async fn fixtures(command: FixturesCommand, premises: Premises, json: bool) -> Result<(), Failure> {
    let (folder, wish) = match command {
        FixturesCommand::Check { folder, preview: true } => (folder, Wish::Foresee),
        FixturesCommand::Check { folder, preview: false } => (folder, Wish::Check),
        FixturesCommand::Write { folder } => (folder, Wish::Write),
    };
    let told = |report: &Report| {
        if !json {
            print_case(report);
        }
    };
    let reports = fixtures::run(&folder, &premises, wish, told).await?;
    let count = |of: &str| reports.iter().filter(|report| name(&report.outcome) == of).count();
    let (as_expected, written) = (count("as_expected"), count("written"));
    let (differ, failed) = (count("differs"), count("failed"));
    if json {
        let cases = reports.iter().map(CaseReport::from).collect();
        print::document(&FixturesReport { cases, as_expected, written, differ, failed });
    } else {
        let all = reports.len();
        println!("{all} cases: {as_expected} as expected, {written} written, {differ} differ, {failed} failed");
    }
    if reports.iter().all(Report::is_good) { Ok(()) } else { Err(Failure::Bad) }
}

fn print_case(report: &Report) {
    let case = harmless(&report.case);
    match &report.outcome {
        Outcome::AsExpected => println!("ok       {case}"),
        Outcome::Written => println!("written  {case}"),
        Outcome::Failed(reason) => println!("failed   {case}: {}", harmless(reason)),
        Outcome::Differs(lines) => {
            println!("differs  {case}");
            for line in lines {
                println!("           {}", harmless(line));
            }
        }
    }
}
