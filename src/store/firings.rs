//! What schedules have fired and missed: a mark for each of them, and why a firing made no run.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;

/// How far a schedule's firings have been dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Mark {
    /// What was due before is not caught up.
    pub since: DateTime<Utc>,
    /// Every firing of a nominal date up to this one has its run or its reason.
    pub resolved_through: NaiveDate,
}

/// The marks of all schedules.
pub async fn marks(connection: &mut PgConnection) -> sqlx::Result<BTreeMap<String, Mark>> {
    let rows: Vec<(String, DateTime<Utc>, NaiveDate)> =
        sqlx::query_as("SELECT schedule, since, resolved_through FROM schedule_marks").fetch_all(connection).await?;
    Ok(rows
        .into_iter()
        .map(|(schedule, since, resolved_through)| (schedule, Mark { since, resolved_through }))
        .collect())
}

/// Makes the mark of a schedule that is seen for the first time.
pub async fn begin(connection: &mut PgConnection, schedule: &str, mark: Mark) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO schedule_marks (schedule, since, resolved_through) VALUES ($1, $2, $3)
         ON CONFLICT ON CONSTRAINT schedule_marks_pkey DO NOTHING",
    )
    .bind(schedule)
    .bind(mark.since)
    .bind(mark.resolved_through)
    .execute(connection)
    .await
    .map(drop)
}

/// Forgets schedules that are not enabled any more: what is due meanwhile is not caught up when they are again.
pub async fn forget_others(connection: &mut PgConnection, enabled: &[&str]) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM schedule_marks WHERE NOT schedule = ANY ($1)")
        .bind(enabled)
        .execute(connection)
        .await
        .map(drop)
}

/// The mark, locked: one worker at a time decides on a schedule's firings. `None`: it was forgotten meanwhile.
pub async fn lock(tx: &mut PgConnection, schedule: &str) -> sqlx::Result<Option<Mark>> {
    sqlx::query_as("SELECT since, resolved_through FROM schedule_marks WHERE schedule = $1 FOR UPDATE")
        .bind(schedule)
        .fetch_optional(tx)
        .await
}

/// Moves the mark forward; it never goes back.
pub async fn advance(tx: &mut PgConnection, schedule: &str, resolved_through: NaiveDate) -> sqlx::Result<()> {
    sqlx::query("UPDATE schedule_marks SET resolved_through = greatest(resolved_through, $2) WHERE schedule = $1")
        .bind(schedule)
        .bind(resolved_through)
        .execute(tx)
        .await
        .map(drop)
}

/// What became of a firing.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Resolved {
    pub business_date: NaiveDate,
    pub run_id: Option<i64>,
    pub run_state: Option<String>,
    pub missed: Option<String>,
}

/// Firings of a span of nominal dates that have a run, or are missed as of `now`: what a clock that was ahead has written
/// down does not count before its time has come.
pub async fn resolved(
    connection: &mut PgConnection,
    schedule: &str,
    slot: i16,
    (from, to): (NaiveDate, NaiveDate),
    now: DateTime<Utc>,
) -> sqlx::Result<BTreeMap<NaiveDate, Resolved>> {
    let rows: Vec<Resolved> = sqlx::query_as(
        "SELECT COALESCE(r.business_date, m.business_date) AS business_date, r.run_id, r.state AS run_state, m.reason AS missed
         FROM (SELECT business_date, run_id, state FROM runs
               WHERE schedule = $1 AND slot = $2 AND business_date BETWEEN $3 AND $4) r
         FULL JOIN (SELECT business_date, reason FROM missed_firings
                    WHERE schedule = $1 AND slot = $2 AND business_date BETWEEN $3 AND $4 AND recorded_at <= $5) m
             ON m.business_date = r.business_date
         ORDER BY 1",
    )
    .bind(schedule)
    .bind(slot)
    .bind(from)
    .bind(to)
    .bind(now)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.business_date, row)).collect())
}

/// A firing that makes no run.
#[derive(Debug, Clone, Copy)]
pub struct MissedFiring<'s> {
    pub schedule: &'s str,
    pub business_date: NaiveDate,
    pub slot: i16,
    pub due_at: DateTime<Utc>,
    pub reason: &'static str,
}

/// Keeps why a firing made no run.
pub async fn miss(tx: &mut PgConnection, missed: MissedFiring<'_>, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO missed_firings (schedule, business_date, slot, due_at, reason, recorded_at)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT ON CONSTRAINT missed_once DO NOTHING",
    )
    .bind(missed.schedule)
    .bind(missed.business_date)
    .bind(missed.slot)
    .bind(missed.due_at)
    .bind(missed.reason)
    .bind(now)
    .execute(tx)
    .await
    .map(drop)
}
