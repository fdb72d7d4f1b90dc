//! A firing becomes a run: for each candidate an attempt, or one reason why not.
//!
//! In: a schedule and the nominal date of its firing. Out: a run that is `planned`. Called when a schedule fires and
//! by `pikou run`.
//! *Commits:* once to make the run, then once for each range of payers, then once to close the plan.
//! *If it dies:* the run says through which payer it is planned, and the next worker goes on behind that one.

use chrono::NaiveDate;

use super::lease::Lease;
use super::{Context, StageError, crash_point, telling};
use crate::contract::events::EventType;
use crate::domain::insurance::{AmountRule, CollectionRule, Region, Window};
use crate::domain::money::Money;
use crate::domain::period::{Period, Year};
use crate::store::runs::{self, NewRun, RangeRules, Run};
use crate::store::{declarations, gates, outbox};

/// Finds or makes the run of a firing: however often it fires, by whatever clock, it is one run.
pub async fn fire(ctx: &Context, schedule: &str, business_date: NaiveDate) -> Result<i64, StageError> {
    let Some(schedule) = ctx.settings.schedules.get(schedule) else {
        let known: Vec<&str> = ctx.settings.schedules.keys().map(String::as_str).collect();
        return Err(StageError::Refused(format!("there is no schedule {schedule}; known are {}", known.join(", "))));
    };
    let (_, rule) = rule(ctx, &schedule.name)?;
    let period = Period::due_on(rule.cycle, business_date);
    let new = NewRun {
        schedule: schedule.name.clone(),
        business_date,
        slot: schedule.slot,
        insurance_type: schedule.insurance_type.0.clone(),
        valid_year: period.from.year().0,
        period_from: period.from.to_string(),
        period_to: period.to.to_string(),
        retry_runs: rule.retry_runs,
        tells_planned: ctx.settings.events.deduction_planned,
        destinations: ctx.settings.bank.banks().map(|bank| ("bank".to_owned(), bank.bank_code().to_owned())).collect(),
    };
    let mut tx = ctx.begin().await?;
    let run_id = runs::find_or_make(&mut tx, &new, ctx.clock.now()).await?;
    tx.commit().await?;
    crash_point("plan: run made");
    Ok(run_id)
}

/// Judges the candidates of a run that is `planning`, range by range. `progress` hears how many are judged.
pub async fn plan(ctx: &Context, lease: Lease, mut progress: impl FnMut(i64)) -> Result<(), StageError> {
    let mut connection = ctx.pool.acquire().await?;
    if runs::get(&mut connection, lease.run_id).await?.state != "planning" {
        return Ok(());
    }
    runs::analyze_facts(&mut connection).await?;
    while let Some(run) = plan_next_range(ctx, lease).await? {
        progress(run.candidates);
        crash_point("plan: range planned");
    }
    Ok(runs::analyze_plan(&mut connection).await?)
}

/// `None`: the plan is closed.
async fn plan_next_range(ctx: &Context, lease: Lease) -> Result<Option<Run>, StageError> {
    let now = ctx.clock.now();
    let mut tx = ctx.begin().await?;
    gates::own(&mut tx).await?;
    let run = lease.lock(ctx, &mut tx).await?;
    if run.state != "planning" {
        return Ok(None);
    }
    let causation = format!("run:{}", run.run_id);
    let Some(range_end) = runs::range_end(&mut tx, &run, ctx.settings.run.range_max).await? else {
        let run = runs::set_planned(&mut tx, run.run_id, now).await?;
        let event = telling::run_changed(EventType::RunPlanned, &run, 0, &causation, now);
        outbox::append(&mut tx, &ctx.settings.events.source, now, &[event]).await?;
        crash_point("plan: before commit");
        tx.commit().await?;
        crash_point("plan: planned");
        return Ok(None);
    };
    // What an earlier run filed and could not collect is void where the payer has since chosen otherwise.
    let payers = (run.planned_through.as_str(), range_end.as_str());
    let voided =
        declarations::void_outdated(&mut tx, &run.insurance_type, run.valid_year, &run.period_from, payers).await?;
    let voided: Vec<_> = voided
        .iter()
        .map(|row| telling::declaration_changed(EventType::DeclarationVoided, row, &causation, now))
        .collect();
    outbox::append(&mut tx, &ctx.settings.events.source, now, &voided).await?;
    let (region, rule) = rule(ctx, &run.schedule)?;
    let planned = runs::plan_range(&mut tx, &run, &range_end, &range_rules(ctx, region, rule, &run), now).await?;
    if !planned.all_taken {
        return Err(StageError::broken(format!("run {}: a declaration changed hands under the gate", run.run_id)));
    }
    tx.commit().await?;
    Ok(Some(Run { candidates: run.candidates + planned.candidates, ..run }))
}

fn rule<'c>(ctx: &'c Context, schedule: &str) -> Result<(&'c Region, &'c CollectionRule), StageError> {
    let missing = || StageError::Refused(format!("schedule {schedule} is no longer configured"));
    let schedule = ctx.settings.schedules.get(schedule).ok_or_else(missing)?;
    let region = ctx.settings.regions.0.iter().find(|region| region.name == schedule.region).ok_or_else(missing)?;
    let rule = region.rule(&schedule.insurance_type).ok_or_else(missing)?;
    Ok((region, rule))
}

fn range_rules(ctx: &Context, region: &Region, rule: &CollectionRule, run: &Run) -> RangeRules {
    let (minimum, maximum, step, tiers) = match &rule.amounts {
        AmountRule::Range { minimum, maximum, step } => (*minimum, *maximum, *step, None),
        AmountRule::Tiers(tiers) => {
            (Money::ZERO, Money::ZERO, Money::ZERO, Some(tiers.iter().map(|tier| tier.decimal()).collect()))
        }
    };
    RangeRules {
        division_prefix: region.division_prefix.clone(),
        cut_out: ctx.settings.regions.cut_out_of(region),
        minimum: minimum.decimal(),
        maximum: maximum.decimal(),
        step: step.decimal(),
        tiers,
        in_window: rule.window(Year(run.valid_year), run.business_date) == Window::Open,
        tell_skipped: ctx.settings.events.deduction_skipped,
    }
}
