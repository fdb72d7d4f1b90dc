//! `pikou plan`: what a run would do, before anything is done.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use serde::Serialize;

use super::Failure;
use super::print::{self, grouped, grouped_yuan};
use super::runs::RunLine;
use crate::domain::money::Money;
use crate::stages::Context;
use crate::stages::preview::{self, Preview};

#[derive(Serialize)]
struct PlanReport {
    schedule: String,
    business_date: String,
    /// When it fires; none where it does not fire by itself.
    fires_at: Option<String>,
    /// Why that is not on its nominal date.
    shifted_because: Option<String>,
    /// Why it is no firing of the schedule's: `pikou run` refuses this date unless it is told `--unscheduled`.
    not_a_run_date: Option<String>,
    /// The run of this date, if it is made already; what it has planned is in flight in what follows.
    run: Option<RunLine>,
    /// What the year's opening would carry over first.
    carried_over: Option<CarriedReport>,
    candidates: i64,
    attempts: i64,
    attempts_total: String,
    skips: i64,
    /// By reason.
    skipped: BTreeMap<String, i64>,
    samples: BTreeMap<String, Vec<String>>,
    /// Why the run would wait for people, and for how many.
    would_hold: Vec<&'static str>,
    releases_needed: i16,
    last_run: Option<LastRun>,
}

#[derive(Serialize)]
struct CarriedReport {
    amounts: i64,
    total: String,
    held: i64,
}

#[derive(Serialize)]
struct LastRun {
    #[serde(flatten)]
    run: RunLine,
    skipped: BTreeMap<String, i64>,
}

pub async fn plan(ctx: Context, schedule: &str, date: Option<chrono::NaiveDate>, json: bool) -> Result<(), Failure> {
    let date = date.unwrap_or_else(|| ctx.clock.business_date());
    let bar = print::bar("candidates", 0);
    let preview = preview::preview(&ctx, schedule, date, |judged| bar.set_position(judged as u64)).await?;
    bar.finish_and_clear();
    if json {
        print::document(&report(preview));
    } else {
        show(&preview);
    }
    Ok(())
}

fn report(preview: Preview) -> PlanReport {
    let (firing, refused) = match preview.firing {
        Ok(firing) => (Some(firing), None),
        Err(no) => (None, Some(no.to_string())),
    };
    PlanReport {
        schedule: preview.schedule,
        business_date: preview.business_date.to_string(),
        fires_at: firing.as_ref().map(|firing| firing.at.format("%Y-%m-%dT%H:%M:%S+08:00").to_string()),
        shifted_because: firing.and_then(|firing| firing.shifted).map(|off| off.to_string()),
        not_a_run_date: refused,
        run: preview.existing.map(RunLine::from),
        carried_over: preview.opening.map(|opening| CarriedReport {
            amounts: opening.amounts,
            total: opening.total.to_string(),
            held: opening.held,
        }),
        candidates: preview.candidates,
        attempts: preview.attempts,
        attempts_total: preview.attempts_total.to_string(),
        skips: preview.skips.values().sum(),
        skipped: preview.skips,
        samples: preview.samples,
        would_hold: preview.would_hold.into_iter().map(|reason| reason.as_str()).collect(),
        releases_needed: preview.releases_needed,
        last_run: preview.last.map(|(run, skipped)| LastRun { run: run.into(), skipped }),
    }
}

fn show(preview: &Preview) {
    let date = preview.business_date;
    println!("{} of {date}, as of now; nothing is written.", preview.schedule);
    match &preview.firing {
        Err(no) => println!("Not a run date: {no}. `pikou run` makes this run only with --unscheduled."),
        Ok(firing) => {
            let because = firing.shifted.as_ref().map(|off| format!(", as {date} is a day off: {off}"));
            println!("Fires on {}{}.", firing.at.format("%Y-%m-%d at %H:%M"), because.unwrap_or_default());
        }
    }
    if let Some(run) = &preview.existing {
        println!(
            "Run {} of this date is made already and {}: {} candidates, {} attempts of {} yuan ({} withdrawn), {} skipped.",
            run.run_id,
            run.state,
            grouped(run.candidates),
            grouped(run.attempts),
            yuan(run.attempts_total),
            grouped(run.withdrawn),
            grouped(run.skips)
        );
        println!("Firing again finds that run. Judged anew, what it has planned is attempt_in_flight:");
    }
    if let Some(opening) = &preview.opening {
        println!(
            "Opens the year first: {} amounts of {} yuan are carried over, {} of them held. They are among these:",
            grouped(opening.amounts),
            yuan(opening.total),
            grouped(opening.held)
        );
    }
    println!();
    table(preview);
    if !preview.would_hold.is_empty() {
        let reasons: Vec<&str> = preview.would_hold.iter().map(|reason| reason.as_str()).collect();
        let people = if preview.releases_needed == 1 { "one person" } else { "two people" };
        println!("\nWould be held ({}) until released by {people}.", reasons.join(", "));
    }
}

fn table(preview: &Preview) {
    let last = preview.last.as_ref().map(|(run, _)| run);
    let head = match last {
        Some(run) => format!("run {} of {}", run.run_id, run.business_date),
        None => "no run before".to_owned(),
    };
    let line = |what: &str, now: i64, before: Option<i64>, samples: &[String]| {
        let change = before.map(|before| format!("{:+}", now - before)).unwrap_or_default();
        let before = before.map(grouped).unwrap_or_default();
        vec![what.to_owned(), grouped(now), before, change, samples.join(" ")]
    };
    let samples = |what: &str| preview.samples.get(what).map(Vec::as_slice).unwrap_or_default();
    let before = last.map(|run| run.attempts_total);
    let change = before.map(|before| format!("{:+}", preview.attempts_total - before)).unwrap_or_default();
    let mut rows = vec![
        line("candidates", preview.candidates, last.map(|run| run.candidates), &[]),
        line("attempts", preview.attempts, last.map(|run| run.attempts), samples("planned")),
        vec![
            "their yuan".to_owned(),
            yuan(preview.attempts_total),
            before.map(yuan).unwrap_or_default(),
            change,
            String::new(),
        ],
    ];
    let skipped_before = preview.last.as_ref().map(|(_, skips)| skips);
    let reasons: BTreeSet<&String> =
        preview.skips.keys().chain(skipped_before.into_iter().flat_map(BTreeMap::keys)).collect();
    for reason in reasons {
        let of = |skips: &BTreeMap<String, i64>| skips.get(reason).copied().unwrap_or(0);
        rows.push(line(&format!("skipped {reason}"), of(&preview.skips), skipped_before.map(of), samples(reason)));
    }
    print::table(&["", "now", &head, "change", "such as"], &rows);
}

fn yuan(sum: Decimal) -> String {
    Money::from_decimal(sum).map_or_else(|_| sum.to_string(), grouped_yuan)
}
