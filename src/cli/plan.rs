//! `pikou plan`: what a run would do, before anything is done.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Failure;
use super::print::{self, grouped, grouped_yuan};
use crate::domain::money::Money;
use crate::stages::Context;
use crate::stages::preview::{self, Preview};

#[derive(Serialize)]
struct PlanReport {
    schedule: String,
    business_date: String,
    /// The run of this date, if it is made already.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<i64>,
    opens_year: bool,
    candidates: i64,
    attempts: i64,
    attempts_total: String,
    skips: BTreeMap<String, i64>,
    samples: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_run: Option<LastRun>,
}

#[derive(Serialize)]
struct LastRun {
    run_id: i64,
    business_date: String,
    candidates: i64,
    attempts: i64,
    attempts_total: String,
    skips: BTreeMap<String, i64>,
}

pub async fn plan(ctx: Context, schedule: &str, date: Option<chrono::NaiveDate>, json: bool) -> Result<(), Failure> {
    let date = date.unwrap_or_else(|| ctx.clock.business_date());
    let bar = print::bar("candidates", 0);
    let preview = preview::preview(&ctx, schedule, date, |judged| bar.set_position(judged as u64)).await?;
    bar.finish_and_clear();
    let report = report(preview);
    if json {
        print::document(&report);
    } else {
        show(&report);
    }
    Ok(())
}

fn report(preview: Preview) -> PlanReport {
    let last_run = preview.last.map(|(run, skips)| LastRun {
        run_id: run.run_id,
        business_date: run.business_date.to_string(),
        candidates: run.candidates,
        attempts: run.attempts,
        attempts_total: run.attempts_total.to_string(),
        skips,
    });
    PlanReport {
        schedule: preview.schedule,
        business_date: preview.business_date.to_string(),
        run_id: preview.existing.map(|run| run.run_id),
        opens_year: preview.opens_year,
        candidates: preview.candidates,
        attempts: preview.attempts,
        attempts_total: preview.attempts_total.to_string(),
        skips: preview.skips,
        samples: preview.samples,
        last_run,
    }
}

fn show(report: &PlanReport) {
    println!("{} on {} would have, as of now (nothing is written):", report.schedule, report.business_date);
    if let Some(run_id) = report.run_id {
        println!("its run {run_id} is made already; what that has planned is in flight here");
    }
    if report.opens_year {
        println!("the year would be opened first: amounts that are carried over are among these");
    }
    let none = BTreeMap::new();
    let last = report.last_run.as_ref();
    let head = match last {
        Some(run) => format!("run {} of {}", run.run_id, run.business_date),
        None => "no run before".to_owned(),
    };
    let line = |what: &str, now: i64, before: Option<i64>, samples: &[String]| {
        let change = before.map(|before| format!("{:+}", now - before)).unwrap_or_default();
        let before = before.map(grouped).unwrap_or_default();
        vec![what.to_owned(), grouped(now), before, change, samples.join(" ")]
    };
    let samples = |what: &str| report.samples.get(what).map(Vec::as_slice).unwrap_or_default();
    let mut rows = vec![
        line("candidates", report.candidates, last.map(|run| run.candidates), &[]),
        line("attempts", report.attempts, last.map(|run| run.attempts), samples("planned")),
    ];
    let before = last.map_or(&none, |run| &run.skips);
    let reasons: BTreeSet<&String> = report.skips.keys().chain(before.keys()).collect();
    for reason in reasons {
        let of = |skips: &BTreeMap<String, i64>| skips.get(reason).copied().unwrap_or(0);
        let what = format!("skipped {reason}");
        rows.push(line(&what, of(&report.skips), last.map(|_| of(before)), samples(reason)));
    }
    print::table(&["", "now", &head, "change", "such as"], &rows);
    println!(
        "{} yuan{}",
        yuan(&report.attempts_total),
        last.map_or_else(String::new, |run| { format!(", {} yuan in run {}", yuan(&run.attempts_total), run.run_id) })
    );
}

fn yuan(sum: &str) -> String {
    Money::from_yuan(sum).map_or_else(|_| sum.to_owned(), grouped_yuan)
}
