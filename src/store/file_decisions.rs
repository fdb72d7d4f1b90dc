//! What people decide on request files: rows that are never changed, and what they move.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// A decision to be written down.
#[derive(Debug)]
pub struct NewDecision<'a> {
    pub file_id: i64,
    pub decided_at: DateTime<Utc>,
    pub decided_by: &'a str,
    pub reason: &'a str,
    pub what: &'static str,
    pub state_then: &'a str,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Decision {
    pub decision_id: i64,
    pub decided_at: DateTime<Utc>,
    pub decided_by: String,
    pub reason: String,
    pub what: String,
    pub state_then: String,
}

/// Writes a decision down; its file rests on it from now on.
pub async fn decide(tx: &mut PgConnection, new: &NewDecision<'_>) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "INSERT INTO request_file_decisions (file_id, decided_at, decided_by, reason, what, state_then)
         VALUES ($1, $2, $3, $4, $5, $6) RETURNING decision_id",
    )
    .bind(new.file_id)
    .bind(new.decided_at)
    .bind(new.decided_by)
    .bind(new.reason)
    .bind(new.what)
    .bind(new.state_then)
    .fetch_one(tx)
    .await
}

/// The file rests on a decision. One that waited for it waits no more, and its hand-over begins anew under `epoch`.
pub async fn follow(tx: &mut PgConnection, file_id: i64, decision_id: i64, epoch: i64) -> sqlx::Result<()> {
    sqlx::query("UPDATE request_files SET decision_id = $2, delivery_epoch = $3, held_reason = NULL WHERE file_id = $1")
        .bind(file_id)
        .bind(decision_id)
        .bind(epoch)
        .execute(tx)
        .await
        .map(drop)
}

/// The file rests on a decision, and nothing else of it changes with that.
pub async fn rest_on(tx: &mut PgConnection, file_id: i64, decision_id: i64) -> sqlx::Result<()> {
    sqlx::query("UPDATE request_files SET decision_id = $2 WHERE file_id = $1")
        .bind(file_id)
        .bind(decision_id)
        .execute(tx)
        .await
        .map(drop)
}

/// What was decided on a file, oldest first.
pub async fn of(connection: &mut PgConnection, file_id: i64) -> sqlx::Result<Vec<Decision>> {
    sqlx::query_as(
        "SELECT decision_id, decided_at, decided_by, reason, what, state_then
         FROM request_file_decisions WHERE file_id = $1 ORDER BY decision_id",
    )
    .bind(file_id)
    .fetch_all(connection)
    .await
}

/// Orders of a file that the bank has answered: by a result that was booked, or one that a discrepancy is about.
pub async fn answered_orders(connection: &mut PgConnection, file_id: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "SELECT count(*) FROM request_files f
         JOIN attempts a ON a.run_id = f.run_id AND a.order_no BETWEEN f.first_order_no AND f.last_order_no
         WHERE f.file_id = $1 AND a.state <> 'withdrawn'
           AND (EXISTS (SELECT FROM settlements s WHERE s.order_no = a.order_no AND s.payer_id = a.payer_id)
                OR EXISTS (SELECT FROM attempt_outcomes o WHERE o.order_no = a.order_no AND o.payer_id = a.payer_id)
                OR EXISTS (SELECT FROM discrepancies d WHERE d.order_no = a.order_no))",
    )
    .bind(file_id)
    .fetch_one(connection)
    .await
}
