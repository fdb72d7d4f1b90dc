//! A person lets a run go on that waits.
//!
//! In: a run that is `held`, and who lets it go on, and why. Out: a run that is `planned`, and the decision for good; or,
//! where two people are needed and this is the first, the decision alone.
//! *Commits:* once. *If it dies:* nothing has happened, or everything.

use super::decider::Decider;
use super::{Context, StageError, crash_point, telling};
use crate::contract::events::EventType;
use crate::store::run_decisions::{self, DecisionKind};
use crate::store::runs::Run;
use crate::store::{outbox, runs};

/// What came of it.
#[derive(Debug)]
pub enum Release {
    Released(Run),
    /// Kept; another person has to release it, too.
    OneMore(Run),
    Refused(NotReleased),
}

/// Why a run is not released.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReleased {
    #[error("there is no run {0}")]
    UnknownRun(i64),
    #[error("run {run_id} is {state}, it does not wait for a release")]
    NotHeld { run_id: i64, state: String },
    #[error("{by} has released run {run_id} already; it takes another person")]
    SamePerson { run_id: i64, by: String },
}

impl NotReleased {
    pub fn code(&self) -> &'static str {
        match self {
            NotReleased::UnknownRun(_) => "unknown_run",
            NotReleased::NotHeld { .. } => "not_held",
            NotReleased::SamePerson { .. } => "same_person",
        }
    }
}

pub async fn release(ctx: &Context, run_id: i64, decider: &Decider) -> Result<Release, StageError> {
    let now = ctx.clock.now();
    let mut tx = ctx.begin().await?;
    let Some(run) = run_decisions::lock(&mut tx, run_id).await? else {
        return Ok(Release::Refused(NotReleased::UnknownRun(run_id)));
    };
    if run.state != "held" || run.cancellation.is_some() {
        let state = if run.cancellation.is_some() { "cancelled".to_owned() } else { run.state };
        return Ok(Release::Refused(NotReleased::NotHeld { run_id, state }));
    }
    if run_decisions::has_released(&mut tx, run_id, decider.by()).await? {
        return Ok(Release::Refused(NotReleased::SamePerson { run_id, by: decider.by().to_owned() }));
    }
    let said = (decider.by(), decider.reason());
    let decision_id = run_decisions::insert(&mut tx, run_id, DecisionKind::Release, said, now).await?;
    let releases = run_decisions::of_run(&mut tx, run_id).await?.len();
    let release = if releases < usize::from(run.releases_needed.unsigned_abs()) {
        Release::OneMore(run)
    } else {
        let run = run_decisions::set_released(&mut tx, run_id).await?;
        let files = runs::files(&mut tx, run_id).await?;
        let causation = format!("run_decision:{decision_id}");
        let event = telling::run_changed(EventType::RunPlanned, &run, files, &causation, now);
        outbox::append(&mut tx, &ctx.settings.events.source, now, &[event]).await?;
        Release::Released(run)
    };
    crash_point("release: before commit");
    tx.commit().await?;
    Ok(release)
}
