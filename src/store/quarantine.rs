//! What was not understood, kept for a person.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// Bytes (already encrypted) with the reason they are here.
#[derive(Debug)]
pub struct Quarantined {
    pub origin: String,
    pub code: &'static str,
    pub reason: String,
    pub position: String,
    pub raw: Vec<u8>,
    pub headers: Vec<u8>,
}

/// Returns their numbers in the order given.
pub async fn insert(tx: &mut PgConnection, received_at: DateTime<Utc>, rows: &[Quarantined]) -> sqlx::Result<Vec<i64>> {
    let mut ids = Vec::with_capacity(rows.len());
    // Poison is rare and must not be lost to a batch's order: one by one.
    for row in rows {
        let id = sqlx::query_scalar(
            "INSERT INTO quarantine (received_at, origin, code, reason, position, raw, headers)
             VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING quarantine_id",
        )
        .bind(received_at)
        .bind(&row.origin)
        .bind(row.code)
        .bind(&row.reason)
        .bind(&row.position)
        .bind(&row.raw)
        .bind(&row.headers)
        .fetch_one(&mut *tx)
        .await?;
        ids.push(id);
    }
    Ok(ids)
}
