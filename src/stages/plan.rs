//! A firing becomes a run: for each candidate an attempt, or one reason why not.
//!
//! In: a schedule and the nominal date of its firing. Out: a run that is `planned`, or `held` where it trips a threshold of
//! its schedule. Called when a schedule fires and by `pikou run`.
//! *Commits:* once to make the run, then once for each range of payers, then once to close the plan.
//! *If it dies:* the run says through which payer it is planned, and the next worker goes on behind that one.

use chrono::NaiveDate;
use sqlx::PgConnection;

use super::lease::Lease;
use super::{Context, StageError, crash_point, firing, judging, telling, turning};
use crate::contract::events::{Event, EventType};
use crate::domain::threshold::RunHoldReason;
use crate::store::plans::{self, Scope};
use crate::store::runs::{self, Run};
use crate::store::year_turns::TurnKey;
use crate::store::{declarations, gates, outbox, run_decisions};

/// Finds or makes the run of a firing: however often it fires, by whatever clock, it is one run.
pub async fn fire(ctx: &Context, schedule: &str, business_date: NaiveDate) -> Result<i64, StageError> {
    let Some(schedule) = ctx.settings.schedules.get(schedule) else {
        let known: Vec<&str> = ctx.settings.schedules.keys().map(String::as_str).collect();
        return Err(StageError::Refused(format!("there is no schedule {schedule}; known are {}", known.join(", "))));
    };
    let missing = || StageError::Refused(format!("schedule {} has no rule to collect by", schedule.name));
    let new = firing::run_of(&ctx.settings, &schedule.name, business_date, None).ok_or_else(missing)?;
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
    open_year(ctx, lease).await?;
    runs::analyze_facts(&mut connection).await?;
    while let Some(run) = plan_next_range(ctx, lease).await? {
        progress(run.candidates);
        crash_point("plan: range planned");
    }
    Ok(runs::analyze_plan(&mut connection).await?)
}

/// Amounts that are carried over are there before the first of them is judged.
async fn open_year(ctx: &Context, lease: Lease) -> Result<(), StageError> {
    let mut connection = ctx.pool.acquire().await?;
    let run = runs::get(&mut connection, lease.run_id).await?;
    let Some((region, rule)) = firing::rule(&ctx.settings, &run.schedule) else { return Ok(()) };
    let (insurance_type, valid_year) = (run.insurance_type.clone(), run.valid_year);
    let key = TurnKey { region: region.name.clone(), insurance_type, valid_year };
    if turning::is_unopened(&mut connection, rule, &key, run.business_date).await? {
        while turning::open_some(ctx, &key, run.business_date).await?.is_some() {
            lease.renew(ctx).await?;
        }
    }
    Ok(())
}

/// `None`: the plan is closed.
async fn plan_next_range(ctx: &Context, lease: Lease) -> Result<Option<Run>, StageError> {
    let now = ctx.clock.now();
    let mut tx = ctx.begin().await?;
    gates::own(&mut tx).await?;
    let run = lease.lock(ctx, &mut tx).await?;
    if run.state != "planning" || run.cancellation.is_some() {
        return Ok(None);
    }
    let causation = format!("run:{}", run.run_id);
    let Some(range_end) =
        plans::range_end(&mut tx, &Scope::of(&run), &run.planned_through, ctx.settings.run.range_max).await?
    else {
        let event = close(ctx, &mut tx, &run, &causation).await?;
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
    let missing = || StageError::Refused(format!("schedule {} is no longer configured", run.schedule));
    let (region, rule) = firing::rule(&ctx.settings, &run.schedule).ok_or_else(missing)?;
    let rules = judging::rules(&ctx.settings, region, rule, &Scope::of(&run), run.retry_runs);
    let tells_skipped = ctx.settings.events.deduction_skipped;
    let planned = plans::plan_range(&mut tx, &run, &range_end, &rules, tells_skipped, now).await?;
    if !planned.all_taken {
        return Err(StageError::broken(format!("run {}: a declaration changed hands under the gate", run.run_id)));
    }
    tx.commit().await?;
    Ok(Some(Run { candidates: run.candidates + planned.candidates, ..run }))
}

/// The plan is whole: the run goes on, or waits for a person to look at it.
async fn close(ctx: &Context, tx: &mut PgConnection, run: &Run, causation: &str) -> Result<Event, StageError> {
    let now = ctx.clock.now();
    let thresholds = firing::thresholds(&ctx.settings, &run.schedule);
    let last = run_decisions::before(tx, &run.schedule, run.slot, run.business_date).await?;
    let reasons = thresholds.reasons(run.figures(), last.as_ref().map(Run::figures));
    if reasons.is_empty() {
        let run = runs::set_planned(tx, run.run_id, now).await?;
        return Ok(telling::run_changed(EventType::RunPlanned, &run, 0, causation, now));
    }
    let reasons: Vec<&str> = reasons.into_iter().map(RunHoldReason::as_str).collect();
    let held_against = (last.as_ref().map(|last| last.run_id), thresholds.releases_needed());
    let run = run_decisions::set_held(tx, run.run_id, &reasons, held_against, now).await?;
    Ok(telling::run_held(&run, last.as_ref(), causation, now))
}
