//! Who works on a run. A lease has an epoch that grows with every change of hands, and every write of a run asks for
//! it: a worker that was paused until another took over writes nothing and hands nothing over.

use sqlx::PgConnection;

use super::{Context, StageError};
use crate::store::runs::{self, Run};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub run_id: i64,
    pub epoch: i64,
}

/// Takes the lease of a run, or renews our own. `None`: another worker has it.
pub async fn take(ctx: &Context, run_id: i64) -> Result<Option<Lease>, StageError> {
    let mut connection = ctx.pool.acquire().await?;
    let seconds = f64::from(ctx.settings.run.lease_seconds);
    let epoch = runs::lease(&mut connection, run_id, &ctx.worker, seconds).await?;
    Ok(epoch.map(|epoch| Lease { run_id, epoch }))
}

impl Lease {
    /// Locks the run for a write, and renews the lease.
    pub async fn lock(self, ctx: &Context, tx: &mut PgConnection) -> Result<Run, StageError> {
        self.try_lock(ctx, tx).await?.ok_or_else(|| self.lost())
    }

    /// The same; `None`: another worker has taken over.
    pub async fn try_lock(self, ctx: &Context, tx: &mut PgConnection) -> Result<Option<Run>, StageError> {
        let seconds = f64::from(ctx.settings.run.lease_seconds);
        let Some(run) = runs::lock(tx, self.run_id, self.epoch).await? else { return Ok(None) };
        let renewed = runs::lease(tx, self.run_id, &ctx.worker, seconds).await?;
        Ok(renewed.filter(|epoch| *epoch == self.epoch).map(|_| run))
    }

    /// Says that we are still at it, in work that writes nothing of the run.
    pub async fn renew(self, ctx: &Context) -> Result<(), StageError> {
        match take(ctx, self.run_id).await? {
            Some(lease) if lease == self => Ok(()),
            _ => Err(self.lost()),
        }
    }

    pub async fn release(self, ctx: &Context) -> Result<(), StageError> {
        let mut connection = ctx.pool.acquire().await?;
        Ok(runs::release(&mut connection, self.run_id, self.epoch).await?)
    }

    pub fn lost(self) -> StageError {
        StageError::Later { what: format!("another worker has taken over run {}", self.run_id), source: None }
    }
}
