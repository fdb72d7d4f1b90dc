//! Schedules fire, and runs are taken from one state to the next until their files are handed over.

use std::time::Duration;

use chrono::{DateTime, FixedOffset};

use super::report;
use crate::clock::SHANGHAI;
use crate::schedule::{self, Firing};
use crate::stages::lease::{self, Lease};
use crate::stages::{Context, StageError, deliver, plan, seal};
use crate::store;

/// How often a command looks whether another worker has let go of its run.
const LEASE_POLL: Duration = Duration::from_millis(200);

/// Which firings have been looked at.
pub struct Firings {
    looked: DateTime<FixedOffset>,
}

impl Firings {
    /// From the beginning of the business day: what fired while no worker was up is still today's.
    pub fn since_midnight(ctx: &Context) -> Firings {
        let now = ctx.clock.now().with_timezone(&SHANGHAI);
        let midnight = now.date_naive().and_hms_opt(0, 0, 0).and_then(|at| at.and_local_timezone(SHANGHAI).single());
        Firings { looked: midnight.unwrap_or(now) - chrono::Duration::seconds(1) }
    }

    /// Fires what is due and goes on with what is unfinished.
    pub async fn look(&mut self, ctx: &Context) -> Result<(), StageError> {
        let now = ctx.clock.now().with_timezone(&SHANGHAI);
        let enabled = ctx.settings.schedules.values().filter(|schedule| schedule.enabled);
        let enabled = enabled.map(|schedule| (schedule.name.as_str(), schedule.cron.as_slice()));
        for Firing { at, schedule } in schedule::due(enabled, self.looked, now) {
            match plan::fire(ctx, &schedule, at.date_naive()).await {
                Ok(run_id) => tracing::info!(schedule, date = %at.date_naive(), run_id, "a schedule has fired"),
                // Looked at again: firing twice is one run.
                Err(error) if error.helps_later() => return Err(error),
                // One schedule that cannot fire must not keep the others from firing.
                Err(error) => report("schedule", &error),
            }
        }
        self.looked = now;
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
    plan::plan(ctx, lease, |candidates| progress("plan", candidates)).await?;
    seal::seal(ctx, lease, |items| progress("seal", items)).await?;
    let (delivered, held) = deliver::deliver(ctx, lease).await?;
    progress("deliver", delivered as i64);
    for file in held {
        tracing::warn!(file = file.file_name, "held: compare with the bank, then decide");
    }
    Ok(())
}

/// Fires a schedule and stays until its run is handed over, by us or by the worker that has it.
pub async fn run_now(
    ctx: &Context,
    schedule: &str,
    date: chrono::NaiveDate,
    progress: &mut (dyn FnMut(&'static str, i64) + Send),
) -> Result<i64, StageError> {
    let run_id = plan::fire(ctx, schedule, date).await?;
    let mut said = false;
    loop {
        let mut connection = ctx.pool.acquire().await?;
        let run = store::runs::get(&mut connection, run_id).await?;
        drop(connection);
        if !["planning", "planned", "sealed"].contains(&run.state.as_str()) {
            return Ok(run_id);
        }
        match lease::take(ctx, run_id).await? {
            Some(lease) => {
                advance(ctx, lease, progress).await?;
                return Ok(run_id);
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
