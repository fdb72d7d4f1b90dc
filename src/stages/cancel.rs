//! A person takes a run back before it is sealed.
//!
//! In: a run that is `planning`, `held` or `planned`, and who cancels it, and why. Out: a run that is `cancelled`, none of
//! whose attempts is left; its declarations are payable again. Its slot stays taken: firing again finds it.
//! *Commits:* the decision first; from then on nothing of the run can be sealed. Then once for each range of its
//! attempts, with their events, and once more to say that it is cancelled.
//! *If it dies:* the decision stands, and the next worker goes on withdrawing what is still planned.

use super::decider::Decider;
use super::lease::Lease;
use super::{Context, StageError, crash_point, telling};
use crate::contract::events::EventType;
use crate::domain::attempt::Withdrawal;
use crate::store::run_decisions::{self, DecisionKind};
use crate::store::{attempts, gates, outbox, runs};

/// Attempts withdrawn in one transaction: each has two events.
const RANGE_MAX: i64 = 5_000;

/// What came of it.
#[derive(Debug)]
pub enum Cancellation {
    /// From now on nothing of it is sealed.
    Decided,
    Refused(NotCancelled),
}

/// Why a run is not cancelled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCancelled {
    #[error("there is no run {0}")]
    UnknownRun(i64),
    #[error("run {run_id} is {state}: its files may be with the banks")]
    TooLate { run_id: i64, state: String },
    #[error("run {0} is cancelled already")]
    Already(i64),
}

impl NotCancelled {
    pub fn code(&self) -> &'static str {
        match self {
            NotCancelled::UnknownRun(_) => "unknown_run",
            NotCancelled::TooLate { .. } => "too_late",
            NotCancelled::Already(_) => "already_cancelled",
        }
    }
}

/// Decides: whoever works on the run finds it cancelled before the next range, and before the seal.
pub async fn decide(ctx: &Context, run_id: i64, decider: &Decider) -> Result<Cancellation, StageError> {
    let now = ctx.clock.now();
    let mut tx = ctx.begin().await?;
    let Some(run) = run_decisions::lock(&mut tx, run_id).await? else {
        return Ok(Cancellation::Refused(NotCancelled::UnknownRun(run_id)));
    };
    if run.cancellation.is_some() {
        return Ok(Cancellation::Refused(NotCancelled::Already(run_id)));
    }
    if !["planning", "held", "planned"].contains(&run.state.as_str()) {
        return Ok(Cancellation::Refused(NotCancelled::TooLate { run_id, state: run.state }));
    }
    let said = (decider.by(), decider.reason());
    let decision_id = run_decisions::insert(&mut tx, run_id, DecisionKind::Cancel, said, now).await?;
    run_decisions::set_cancellation(&mut tx, run_id, decision_id).await?;
    crash_point("cancel: before the decision");
    tx.commit().await?;
    crash_point("cancel: decided");
    Ok(Cancellation::Decided)
}

/// Carries out the decision, if there is one. `progress` hears how many attempts each range has withdrawn.
pub async fn cancel(ctx: &Context, lease: Lease, mut progress: impl FnMut(i64)) -> Result<(), StageError> {
    let mut behind = String::new();
    while let Some(last) = cancel_next_range(ctx, lease, &behind, &mut progress).await? {
        behind = last;
        crash_point("cancel: range withdrawn");
    }
    Ok(())
}

/// The last order number that is withdrawn. `None`: there is nothing to cancel, any more.
async fn cancel_next_range(
    ctx: &Context,
    lease: Lease,
    behind: &str,
    progress: &mut impl FnMut(i64),
) -> Result<Option<String>, StageError> {
    let mut connection = ctx.pool.acquire().await?;
    let run = runs::get(&mut connection, lease.run_id).await?;
    drop(connection);
    let Some(decision_id) = run.cancellation.filter(|_| run.state != "cancelled") else { return Ok(None) };
    let causation = format!("run_decision:{decision_id}");
    let now = ctx.clock.now();
    let mut tx = ctx.begin().await?;
    gates::own(&mut tx).await?;
    lease.lock(ctx, &mut tx).await?;
    let planned = run_decisions::next_planned(&mut tx, run.run_id, behind, RANGE_MAX).await?;
    let withdrawn = attempts::withdraw_items(&mut tx, &planned, Withdrawal::Cancelled).await?;
    let mut events: Vec<_> = withdrawn.iter().flat_map(|row| telling::withdrawn(row, &causation, now)).collect();
    if planned.is_empty() {
        let run = run_decisions::set_cancelled(&mut tx, run.run_id, now).await?;
        events.push(telling::run_changed(EventType::RunCancelled, &run, 0, &causation, now));
    }
    outbox::append(&mut tx, &ctx.settings.events.source, now, &events).await?;
    crash_point("cancel: before commit");
    tx.commit().await?;
    progress(withdrawn.len() as i64);
    Ok(planned.last().cloned())
}
