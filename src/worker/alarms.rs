//! What waits too long for a person is warned of, once a day.

use chrono::NaiveDate;

use crate::stages::{Context, StageError, resolve};
use crate::store::discrepancy_decisions::{self, Aged};

/// The day that was last warned of.
#[derive(Debug, Default)]
pub struct Alarms {
    warned_on: Option<NaiveDate>,
}

impl Alarms {
    /// Warns of old discrepancies, each gateway's in a line: only counts, as a log is read by many. Returns what was warned
    /// of; nothing if the day has had its warning.
    pub async fn look(&mut self, ctx: &Context) -> Result<Vec<Aged>, StageError> {
        let today = ctx.clock.business_date();
        if self.warned_on == Some(today) {
            return Ok(Vec::new());
        }
        let mut connection = ctx.pool.acquire().await?;
        let aged = discrepancy_decisions::aged(&mut connection, resolve::old_since(ctx)).await?;
        for Aged { gateway, discrepancies, total, oldest } in &aged {
            let days = ctx.settings.results.discrepancy_alarm_days;
            tracing::warn!(gateway, discrepancies, %total, %oldest, days, "discrepancies have been open for too long");
        }
        self.warned_on = Some(today);
        Ok(aged)
    }
}
