//! When runs wait for people, what people decided on them, and the states that follow from it.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;

use super::runs::{Run, order_prefix};

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecisionKind {
    Release,
    Cancel,
}

impl DecisionKind {
    pub fn as_str(self) -> &'static str {
        match self {
            DecisionKind::Release => "release",
            DecisionKind::Cancel => "cancel",
        }
    }
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct RunDecision {
    pub decision_id: i64,
    pub kind: String,
    pub decided_by: String,
    pub reason: String,
    pub decided_at: DateTime<Utc>,
}

/// The run before a slot of the schedule's that went its way.
pub async fn before(
    tx: &mut PgConnection,
    schedule: &str,
    slot: i16,
    business_date: NaiveDate,
) -> sqlx::Result<Option<Run>> {
    sqlx::query_as(
        "SELECT * FROM runs
         WHERE schedule = $1 AND slot = $2 AND business_date < $3 AND planned_at IS NOT NULL AND state <> 'held' AND cancellation IS NULL
         ORDER BY business_date DESC LIMIT 1",
    )
    .bind(schedule)
    .bind(slot)
    .bind(business_date)
    .fetch_optional(tx)
    .await
}

/// Planned, and waiting for as many people as are needed.
pub async fn set_held(
    tx: &mut PgConnection,
    run_id: i64,
    reasons: &[&str],
    (compared_with, releases_needed): (Option<i64>, i16),
    now: DateTime<Utc>,
) -> sqlx::Result<Run> {
    sqlx::query_as(
        "UPDATE runs SET state = 'held', planned_at = $2, sequence = sequence + 1, hold_reasons = $3, compared_with = $4,
                releases_needed = $5
         WHERE run_id = $1 RETURNING *",
    )
    .bind(run_id)
    .bind(now)
    .bind(reasons)
    .bind(compared_with)
    .bind(releases_needed)
    .fetch_one(tx)
    .await
}

/// The run, locked for a decision: nobody plans, seals or decides meanwhile.
pub async fn lock(tx: &mut PgConnection, run_id: i64) -> sqlx::Result<Option<Run>> {
    sqlx::query_as("SELECT * FROM runs WHERE run_id = $1 FOR UPDATE").bind(run_id).fetch_optional(tx).await
}

/// Keeps a decision and returns its number.
pub async fn insert(
    tx: &mut PgConnection,
    run_id: i64,
    kind: DecisionKind,
    (by, reason): (&str, &str),
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "INSERT INTO run_decisions (run_id, kind, decided_by, reason, decided_at) VALUES ($1, $2, $3, $4, $5)
         RETURNING decision_id",
    )
    .bind(run_id)
    .bind(kind.as_str())
    .bind(by)
    .bind(reason)
    .bind(now)
    .fetch_one(tx)
    .await
}

/// All decisions on a run, in their order.
pub async fn of_run(connection: &mut PgConnection, run_id: i64) -> sqlx::Result<Vec<RunDecision>> {
    sqlx::query_as(
        "SELECT decision_id, kind, decided_by, reason, decided_at FROM run_decisions WHERE run_id = $1 ORDER BY decision_id",
    )
    .bind(run_id)
    .fetch_all(connection)
    .await
}

/// Whether two names are one person's, as the guard in the database takes it.
pub async fn has_released(connection: &mut PgConnection, run_id: i64, by: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM run_decisions WHERE run_id = $1 AND kind = 'release' AND lower(btrim(decided_by)) = lower(btrim($2)))",
    )
    .bind(run_id)
    .bind(by)
    .fetch_one(connection)
    .await
}

/// A held run goes on where it stopped.
pub async fn set_released(tx: &mut PgConnection, run_id: i64) -> sqlx::Result<Run> {
    sqlx::query_as("UPDATE runs SET state = 'planned', sequence = sequence + 1 WHERE run_id = $1 RETURNING *")
        .bind(run_id)
        .fetch_one(tx)
        .await
}

/// From now on nothing of the run can be sealed.
pub async fn set_cancellation(tx: &mut PgConnection, run_id: i64, decision_id: i64) -> sqlx::Result<()> {
    sqlx::query("UPDATE runs SET cancellation = $2 WHERE run_id = $1")
        .bind(run_id)
        .bind(decision_id)
        .execute(tx)
        .await
        .map(drop)
}

/// The next of a run's planned attempts, those behind an order number, at most so many.
pub async fn next_planned(tx: &mut PgConnection, run_id: i64, behind: &str, limit: i64) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT order_no FROM attempts
         WHERE run_id = $1 AND state = 'planned' AND order_no > $2 AND order_no >= $3 AND order_no < $4
         ORDER BY order_no LIMIT $5",
    )
    .bind(run_id)
    .bind(behind)
    // By order number the run's attempts are one stretch of the primary key.
    .bind(order_prefix(run_id))
    .bind(order_prefix(run_id + 1))
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// Its last attempt is withdrawn.
pub async fn set_cancelled(tx: &mut PgConnection, run_id: i64, now: DateTime<Utc>) -> sqlx::Result<Run> {
    sqlx::query_as(
        "UPDATE runs SET state = 'cancelled', cancelled_at = $2, sequence = sequence + 1,
                withdrawn = (SELECT count(*) FROM attempts WHERE run_id = $1 AND state = 'withdrawn')
         WHERE run_id = $1 RETURNING *",
    )
    .bind(run_id)
    .bind(now)
    .fetch_one(tx)
    .await
}
