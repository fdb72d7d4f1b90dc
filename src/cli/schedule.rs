//! `pikou schedule list`: every firing of a year, where the calendar shifts it and why, and what became of it.

use chrono::{Datelike, NaiveDate};
use clap::Subcommand;
use serde::Serialize;

use super::{Failure, print};
use crate::config::Schedule;
use crate::schedule::timetable::dates;
use crate::stages::Context;
use crate::store::firings;
use crate::worker::runs::calendar_warnings;

#[derive(Debug, Subcommand)]
pub enum ScheduleCommand {
    /// The firings of a year with their dates, the reason of each shift, and the run if there is one
    List {
        /// [default: this year, from today on]
        #[arg(long, value_parser = clap::value_parser!(i32).range(2000..=2999))]
        year: Option<i32>,
        /// Only this schedule
        schedule: Option<String>,
    },
}

#[derive(Serialize)]
struct FiringReport {
    schedule: String,
    enabled: bool,
    nominal_date: String,
    /// Where the calendar puts it; none in a year without calendar.
    date: Option<String>,
    time: String,
    /// Why it is not on its nominal date.
    shifted_because: Option<String>,
    run_id: Option<i64>,
    run_state: Option<String>,
    /// Why it made no run.
    missed: Option<String>,
    /// Why it will not happen as things are.
    refused: Option<String>,
}

pub async fn schedule(ctx: Context, what: &ScheduleCommand, json: bool) -> Result<(), Failure> {
    let ScheduleCommand::List { year, schedule: only } = what;
    let today = ctx.clock.business_date();
    let day = |year: i32, month: u32, day: u32| NaiveDate::from_ymd_opt(year, month, day).unwrap_or(today);
    let span = match year {
        Some(year) => (day(*year, 1, 1), day(*year, 12, 31)),
        None => (today, day(today.year(), 12, 31)),
    };
    if let Some(only) = only
        && !ctx.settings.schedules.contains_key(only)
    {
        let known: Vec<&str> = ctx.settings.schedules.keys().map(String::as_str).collect();
        return Err(Failure::Usage(format!("there is no schedule {only}; known are {}", known.join(", "))));
    }
    let mut found = Vec::new();
    for schedule in ctx.settings.schedules.values().filter(|one| only.as_ref().is_none_or(|only| *only == one.name)) {
        found.extend(firings_of(&ctx, schedule, span).await?);
    }
    found.sort_by(|a, b| (&a.date, &a.nominal_date, &a.time).cmp(&(&b.date, &b.nominal_date, &b.time)));
    let warnings = calendar_warnings(&ctx, today);
    if json {
        print::document(&serde_json::json!({
            "from": span.0.to_string(), "to": span.1.to_string(), "warnings": warnings, "firings": found
        }));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    print::table(&["schedule", "nominal", "fires", "shifted because", "run"], &rows);
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    Ok(())
}

fn row(firing: &FiringReport) -> Vec<String> {
    let run = match (firing.run_id, &firing.missed) {
        (Some(run_id), _) => format!("{run_id} {}", firing.run_state.as_deref().unwrap_or_default()),
        (None, Some(reason)) => format!("missed: {reason}"),
        (None, None) if !firing.enabled => "not enabled".to_owned(),
        (None, None) => String::new(),
    };
    let refused = || format!("does not fire: {}", firing.refused.as_deref().unwrap_or_default());
    vec![
        firing.schedule.clone(),
        firing.nominal_date.clone(),
        firing.date.as_ref().map_or_else(refused, |date| format!("{date} {}", firing.time)),
        firing.shifted_because.clone().unwrap_or_default(),
        run,
    ]
}

async fn firings_of(
    ctx: &Context,
    schedule: &Schedule,
    span: (NaiveDate, NaiveDate),
) -> Result<Vec<FiringReport>, Failure> {
    let mut connection = ctx.pool.acquire().await.map_err(anyhow::Error::from)?;
    let resolved = firings::resolved(&mut connection, &schedule.name, schedule.slot, span, ctx.clock.now());
    let resolved = resolved.await.map_err(anyhow::Error::from)?;
    drop(connection);
    let mut found = Vec::new();
    for nominal in dates(span.0, span.1) {
        let Some(time) = schedule.timetable.nominal(nominal) else { continue };
        let became = resolved.get(&nominal);
        let mut report = FiringReport {
            schedule: schedule.name.clone(),
            enabled: schedule.enabled,
            nominal_date: nominal.to_string(),
            date: None,
            time: time.format("%H:%M").to_string(),
            shifted_because: None,
            run_id: became.and_then(|one| one.run_id),
            run_state: became.and_then(|one| one.run_state.clone()),
            missed: became.and_then(|one| one.missed.clone()),
            refused: None,
        };
        match schedule.timetable.firing(nominal, &ctx.settings.calendar) {
            Ok(firing) => {
                report.date = firing.as_ref().map(|firing| firing.at.date().to_string());
                report.shifted_because = firing.and_then(|firing| firing.shifted).map(|off| off.to_string());
            }
            Err(missing) => report.refused = Some(missing.to_string()),
        }
        found.push(report);
    }
    Ok(found)
}
