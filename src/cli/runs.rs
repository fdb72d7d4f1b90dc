//! `pikou run`: fires a schedule, shows runs, and takes people's decisions on them.

use chrono::{DateTime, NaiveDate, Utc};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Failure, commands, print};
use crate::clock::SHANGHAI;
use crate::stages::cancel::{self, Cancellation};
use crate::stages::decider::Decider;
use crate::stages::release::{self, Release};
use crate::stages::{Context, firing};
use crate::store::run_decisions::{self, RunDecision};
use crate::store::runs::{self, Run};
use crate::worker;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct RunArgs {
    #[command(subcommand)]
    what: Option<RunCommand>,
    /// Its name in the settings (`pikou config` shows them), e.g. beijing_resident_pension
    #[arg(required = true)]
    schedule: Option<String>,
    /// Nominal or shifted date of a firing, yyyy-mm-dd [default: today in Asia/Shanghai]
    #[arg(long)]
    date: Option<NaiveDate>,
    /// Also on a date that is none of the schedule's, or not due yet: then that is the nominal date
    #[arg(long)]
    unscheduled: bool,
}

#[derive(Debug, Subcommand)]
enum RunCommand {
    /// Runs, newest first
    List {
        /// Only in this state, e.g. held
        #[arg(long)]
        state: Option<String>,
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Everything known of one: its counts, why it waits, who decided what
    Show { id: i64 },
    /// Let a run go on that waits
    Release(DecisionArgs),
    /// Take a run back that is not sealed; its slot stays taken
    Cancel(DecisionArgs),
}

#[derive(Debug, Args)]
struct DecisionArgs {
    id: i64,
    /// Who decides
    #[arg(long, value_name = "NAME")]
    by: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub async fn runs(ctx: Context, args: RunArgs, json: bool) -> Result<(), Failure> {
    match args.what {
        Some(RunCommand::List { state, limit }) => list(&ctx, state.as_deref(), limit, json).await,
        Some(RunCommand::Show { id }) => show(&ctx, id, json).await,
        Some(RunCommand::Release(args)) => release(&ctx, &args, json).await,
        Some(RunCommand::Cancel(args)) => cancel(&ctx, &args, json).await,
        None => fire(ctx, &args, json).await,
    }
}

async fn fire(ctx: Context, args: &RunArgs, json: bool) -> Result<(), Failure> {
    let schedule = args.schedule.as_deref().unwrap_or_default();
    let today = ctx.clock.business_date();
    let date = args.date.unwrap_or(today);
    // A schedule that there is not is said by who fires.
    if args.unscheduled || !ctx.settings.schedules.contains_key(schedule) {
        return commands::run(ctx, schedule, date, json).await;
    }
    match firing::asked_for(&ctx.settings, schedule, date, today) {
        Ok(firing) => commands::run(ctx, schedule, firing.nominal, json).await,
        Err(no) => {
            let date = date.to_string();
            refused(json, no.code(), &no.to_string(), &[("schedule", schedule.into()), ("date", date.into())])
        }
    }
}

/// A run as every command shows it.
#[derive(Serialize)]
pub(super) struct RunLine {
    run_id: i64,
    schedule: String,
    business_date: String,
    slot: i16,
    state: String,
    /// A decision to cancel it is being carried out.
    cancelling: bool,
    insurance_type: String,
    period_from: String,
    period_to: String,
    candidates: i64,
    attempts: i64,
    attempts_total: String,
    skips: i64,
    withdrawn: i64,
    hold_reasons: Vec<String>,
    releases_needed: i16,
    compared_with: Option<i64>,
}

impl From<Run> for RunLine {
    fn from(run: Run) -> RunLine {
        RunLine {
            run_id: run.run_id,
            business_date: run.business_date.to_string(),
            slot: run.slot,
            cancelling: run.cancellation.is_some() && run.state != "cancelled",
            state: run.state,
            schedule: run.schedule,
            insurance_type: run.insurance_type,
            period_from: run.period_from,
            period_to: run.period_to,
            candidates: run.candidates,
            attempts: run.attempts,
            attempts_total: run.attempts_total.to_string(),
            skips: run.skips,
            withdrawn: run.withdrawn,
            hold_reasons: run.hold_reasons,
            releases_needed: run.releases_needed,
            compared_with: run.compared_with,
        }
    }
}

async fn list(ctx: &Context, state: Option<&str>, limit: i64, json: bool) -> Result<(), Failure> {
    let mut connection = ctx.pool.acquire().await.map_err(anyhow::Error::from)?;
    let found = runs::list(&mut connection, state, limit).await.map_err(anyhow::Error::from)?;
    let lines: Vec<RunLine> = found.into_iter().map(RunLine::from).collect();
    if json {
        print::document(&serde_json::json!({ "runs": lines }));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            vec![
                line.run_id.to_string(),
                line.schedule.clone(),
                line.business_date.clone(),
                line.state.clone(),
                print::grouped(line.candidates),
                print::grouped(line.attempts),
                line.attempts_total.clone(),
                print::grouped(line.withdrawn),
            ]
        })
        .collect();
    print::table(&["run", "schedule", "date", "state", "candidates", "attempts", "yuan", "withdrawn"], &rows);
    Ok(())
}

#[derive(Serialize)]
struct DecisionLine {
    kind: String,
    by: String,
    reason: String,
    at: String,
}

impl From<RunDecision> for DecisionLine {
    fn from(decision: RunDecision) -> DecisionLine {
        let at: DateTime<Utc> = decision.decided_at;
        DecisionLine {
            kind: decision.kind,
            by: decision.decided_by,
            reason: decision.reason,
            at: at.with_timezone(&SHANGHAI).to_rfc3339(),
        }
    }
}

async fn show(ctx: &Context, run_id: i64, json: bool) -> Result<(), Failure> {
    let mut connection = ctx.pool.acquire().await.map_err(anyhow::Error::from)?;
    let Some(run) = runs::find(&mut connection, run_id).await.map_err(anyhow::Error::from)? else {
        return refused(json, "unknown_run", &format!("there is no run {run_id}"), &[("run_id", run_id.into())]);
    };
    let skips = runs::skips(&mut connection, run_id).await.map_err(anyhow::Error::from)?;
    let last = match run.compared_with {
        Some(last) => runs::find(&mut connection, last).await.map_err(anyhow::Error::from)?.map(RunLine::from),
        None => None,
    };
    let decisions = run_decisions::of_run(&mut connection, run_id).await.map_err(anyhow::Error::from)?;
    let decisions: Vec<DecisionLine> = decisions.into_iter().map(DecisionLine::from).collect();
    let line = RunLine::from(run);
    if json {
        print::document(
            &serde_json::json!({ "run": line, "skips": skips, "compared_with": last, "decisions": decisions }),
        );
        return Ok(());
    }
    println!("run {} of {} for {}: {}", line.run_id, line.schedule, line.business_date, line.state);
    println!(
        "{} candidates = {} attempts ({} yuan) + {} skips",
        line.candidates, line.attempts, line.attempts_total, line.skips
    );
    for (reason, count) in &skips {
        println!("  skipped {reason}: {count}");
    }
    if !line.hold_reasons.is_empty() {
        println!("held: {}; released by {} people", line.hold_reasons.join(", "), line.releases_needed);
    }
    if let Some(last) = last {
        println!(
            "  run {} for {} had {} attempts ({} yuan)",
            last.run_id, last.business_date, last.attempts, last.attempts_total
        );
    }
    for decision in &decisions {
        println!(
            "  {} {} by {}: {}",
            decision.at,
            decision.kind,
            print::harmless(&decision.by),
            print::harmless(&decision.reason)
        );
    }
    Ok(())
}

async fn release(ctx: &Context, args: &DecisionArgs, json: bool) -> Result<(), Failure> {
    let decider = Decider::new(&args.by, &args.reason)?;
    let (released, run) = match release::release(ctx, args.id, &decider).await? {
        Release::Released(run) => (true, run),
        Release::OneMore(run) => (false, run),
        Release::Refused(no) => {
            return refused(json, no.code(), &no.to_string(), &[("run_id", args.id.into())]);
        }
    };
    let events_published = commands::publish(ctx).await;
    if json {
        print::document(&serde_json::json!({
            "run_id": run.run_id, "state": run.state, "released": released, "events_published": events_published
        }));
    } else if released {
        println!(
            "run {} is released; a worker goes on with it, or `pikou run {} --date {}`",
            run.run_id, run.schedule, run.business_date
        );
    } else {
        println!("kept; another person has to release run {}, too", run.run_id);
    }
    if released { Ok(()) } else { Err(Failure::Held) }
}

async fn cancel(ctx: &Context, args: &DecisionArgs, json: bool) -> Result<(), Failure> {
    let decider = Decider::new(&args.by, &args.reason)?;
    if let Cancellation::Refused(no) = cancel::decide(ctx, args.id, &decider).await? {
        return refused(json, no.code(), &no.to_string(), &[("run_id", args.id.into())]);
    }
    let bar = print::bar("withdrawn", 0);
    worker::runs::finish(ctx, args.id, &mut |_, more| bar.inc(more.unsigned_abs())).await?;
    bar.finish_and_clear();
    let events_published = commands::publish(ctx).await;
    let mut connection = ctx.pool.acquire().await.map_err(anyhow::Error::from)?;
    let run = runs::get(&mut connection, args.id).await.map_err(anyhow::Error::from)?;
    if json {
        print::document(&serde_json::json!({
            "run_id": run.run_id, "state": run.state, "withdrawn": run.withdrawn, "events_published": events_published
        }));
    } else {
        println!("run {} is {}; {} attempts are withdrawn", run.run_id, run.state, print::grouped(run.withdrawn));
    }
    Ok(())
}

/// Says what is refused and why, as a document or in a sentence.
pub(super) fn refused(
    json: bool,
    code: &str,
    reason: &str,
    about: &[(&str, serde_json::Value)],
) -> Result<(), Failure> {
    if json {
        let mut document = serde_json::json!({ "refused": code, "reason": reason });
        for (name, value) in about {
            document[*name] = value.clone();
        }
        print::document(&document);
    } else {
        eprintln!("pikou: refused as {code}: {reason}");
    }
    Err(Failure::Refused)
}
