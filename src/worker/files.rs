//! Decisions on request files, by somebody who first gets the run's lease: no worker hands the file over meanwhile.

use std::time::Duration;

use crate::stages::decider::Decider;
use crate::stages::deliver::decided;
use crate::stages::lease::{self, Lease};
use crate::stages::{Context, StageError};
use crate::store::request_files::RequestFile;

/// How often is looked whether another worker has let go of the run, and how much longer than a lease can last.
const LEASE_POLL: Duration = Duration::from_millis(200);
const LEASE_GRACE: Duration = Duration::from_secs(5);

/// Hands the same bytes over again.
pub async fn resend(ctx: &Context, file_id: i64, decider: &Decider) -> Result<RequestFile, StageError> {
    let lease = lease_of(ctx, file_id).await?;
    let done = decided::resend(ctx, lease, file_id, decider).await;
    let released = lease.release(ctx).await;
    let file = done?;
    released.map(|()| file)
}

/// Marks a file that the bank has by other ways.
pub async fn mark_sent(ctx: &Context, file_id: i64, decider: &Decider) -> Result<RequestFile, StageError> {
    let lease = lease_of(ctx, file_id).await?;
    let done = decided::mark_sent(ctx, lease, file_id, decider).await;
    let released = lease.release(ctx).await;
    let file = done?;
    released.map(|()| file)
}

/// Waits for a worker that is at the run, or has died there, but not longer than its lease can last.
async fn lease_of(ctx: &Context, file_id: i64) -> Result<Lease, StageError> {
    let run_id = decided::run_of(ctx, file_id).await?;
    let patience = Duration::from_secs(ctx.settings.run.lease_seconds.into()) + LEASE_GRACE;
    for _ in 0..=patience.as_millis() / LEASE_POLL.as_millis() {
        if let Some(lease) = lease::take(ctx, run_id).await? {
            return Ok(lease);
        }
        tokio::time::sleep(LEASE_POLL).await;
    }
    let what = format!("another worker is at run {run_id} and renews its lease");
    Err(StageError::Later { what, source: None })
}
