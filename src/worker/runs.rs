//! Schedules fire, and runs are taken from one state to the next until their files are handed over, they wait for a
//! person, or are cancelled.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{Datelike, Days, NaiveDate};

use super::report;
use crate::domain::calendar::HolidayRule;
use crate::schedule::timetable::dates;
use crate::stages::fire::{self, News};
use crate::stages::lease::{self, Lease};
use crate::stages::{Context, StageError, cancel, deliver, plan, seal};
use crate::store;

/// How often a command looks whether another worker has let go of its run.
const LEASE_POLL: Duration = Duration::from_millis(200);

/// How far ahead a year without calendar is warned of: the State Council announces a year in the autumn before it.
const CALENDAR_WARNING_DAYS: u64 = 150;

/// What has been said of firings already: what waits for days is not said every second.
#[derive(Default)]
pub struct Firings {
    said: BTreeSet<String>,
    warned_on: Option<NaiveDate>,
}

impl Firings {
    /// Fires what is due and goes on with what is unfinished.
    pub async fn look(&mut self, ctx: &Context) -> Result<(), StageError> {
        let today = ctx.clock.business_date();
        if self.warned_on.replace(today) != Some(today) {
            self.said.clear();
            for warning in calendar_warnings(ctx, today) {
                tracing::warn!("{warning}");
            }
        }
        for news in fire::fire(ctx).await? {
            self.say(news);
        }
        let mut connection = ctx.pool.acquire().await?;
        let unfinished = store::runs::unfinished(&mut connection).await?;
        drop(connection);
        for run_id in unfinished {
            // One run that cannot go on must not keep the others from going on.
            if let Some(lease) = lease::take(ctx, run_id).await?
                && let Err(error) = advance(ctx, lease, &mut |_, _| ()).await
            {
                report("run", &error);
            }
        }
        Ok(())
    }
}

impl Firings {
    fn say(&mut self, news: News) {
        match news {
            News::Fired { schedule, firing, run_id } => {
                let (date, shifted) = (firing.nominal, firing.shifted.map(|off| off.to_string()));
                tracing::info!(schedule, %date, shifted, run_id, "a schedule has fired");
            }
            News::Missed { schedule, firing, why } => {
                tracing::warn!(schedule, date = %firing.nominal, reason = why.as_str(), "a firing is missed and makes no run");
            }
            News::Waits { schedule, firing } => {
                if self.said.insert(format!("waits {schedule} {}", firing.nominal)) {
                    tracing::info!(schedule, date = %firing.nominal, "a late firing waits for the next workday before the cut-off");
                }
            }
            News::Refused { schedule, nominal, missing } => {
                if self.said.insert(format!("refused {schedule} {nominal}")) {
                    tracing::error!(schedule, date = %nominal, "a firing does not happen: {missing}");
                }
            }
            News::Failed { schedule, error } => {
                if self.said.insert(format!("failed {schedule}")) {
                    report(&format!("schedule {schedule}"), &error);
                }
            }
        }
    }
}

/// Years in which enabled schedules are due soon and of which there is no calendar.
pub fn calendar_warnings(ctx: &Context, today: NaiveDate) -> Vec<String> {
    let soon = today + Days::new(CALENDAR_WARNING_DAYS);
    let Some(missing) = ctx.settings.calendar.missing_between(today, soon) else { return Vec::new() };
    let needing = ctx.settings.schedules.values().filter(|schedule| {
        schedule.enabled
            && schedule.timetable.holiday_rule != HolidayRule::AsIs
            && dates(today, soon).any(|day| day.year() >= missing.year && schedule.timetable.nominal(day).is_some())
    });
    let names: Vec<&str> = needing.map(|schedule| schedule.name.as_str()).collect();
    if names.is_empty() {
        return Vec::new();
    }
    vec![format!("{missing}; until there is one, these do not fire in {}: {}", missing.year, names.join(", "))]
}

/// Takes a run through planning, sealing and delivery, from wherever it stands. `progress` hears the stage and how
/// many rows it has dealt with.
pub async fn advance(
    ctx: &Context,
    lease: Lease,
    progress: &mut (dyn FnMut(&'static str, i64) + Send),
) -> Result<(), StageError> {
    let advanced = advance_stages(ctx, lease, progress).await;
    // Also after a fault: who tries next, perhaps another worker, need not wait until the lease runs out.
    let released = lease.release(ctx).await;
    advanced.and(released)
}

async fn advance_stages(
    ctx: &Context,
    lease: Lease,
    progress: &mut (dyn FnMut(&'static str, i64) + Send),
) -> Result<(), StageError> {
    cancel::cancel(ctx, lease, |withdrawn| progress("cancel", withdrawn)).await?;
    plan::plan(ctx, lease, |candidates| progress("plan", candidates)).await?;
    seal::seal(ctx, lease, |items| progress("seal", items)).await?;
    let (delivered, held) = deliver::deliver(ctx, lease).await?;
    progress("deliver", delivered as i64);
    for file in held {
        tracing::warn!(file = file.file_name, "held: compare with the bank, then decide");
    }
    Ok(())
}

/// Fires a schedule for a nominal date and stays until its run is handed over, waits for a person or is cancelled, by us
/// or by the worker that has it.
pub async fn run_now(
    ctx: &Context,
    schedule: &str,
    date: NaiveDate,
    progress: &mut (dyn FnMut(&'static str, i64) + Send),
) -> Result<i64, StageError> {
    let run_id = plan::fire(ctx, schedule, date).await?;
    finish(ctx, run_id, progress).await?;
    Ok(run_id)
}

/// Stays with a run until there is nothing left to be done about it for the time being.
pub async fn finish(
    ctx: &Context,
    run_id: i64,
    progress: &mut (dyn FnMut(&'static str, i64) + Send),
) -> Result<(), StageError> {
    let (mut said, mut advanced) = (false, false);
    loop {
        let mut connection = ctx.pool.acquire().await?;
        let run = store::runs::get(&mut connection, run_id).await?;
        drop(connection);
        // Cancelled meanwhile, or before: what is planned of it is still to be withdrawn.
        let cancelling = run.cancellation.is_some() && run.state != "cancelled";
        let unfinished = ["planning", "planned", "sealed"].contains(&run.state.as_str()) && !advanced;
        if !(cancelling || unfinished) {
            return Ok(());
        }
        match lease::take(ctx, run_id).await? {
            Some(lease) => {
                advance(ctx, lease, progress).await?;
                advanced = true;
            }
            // A worker that died lets go when its lease runs out.
            None => {
                if !std::mem::replace(&mut said, true) {
                    let seconds = ctx.settings.run.lease_seconds;
                    tracing::info!(run_id, "another worker has the run; one that died lets go within {seconds} s");
                }
                tokio::time::sleep(LEASE_POLL).await;
            }
        }
    }
}
