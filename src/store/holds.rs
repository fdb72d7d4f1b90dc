//! Amounts that are held: what people decided about them, and the count of failed runs that suspends.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;

use super::amount_settings::YearKey;

/// What a person did, and why.
#[derive(Debug)]
pub struct HoldDecision<'d> {
    pub key: &'d YearKey,
    /// `set` or `release`.
    pub what: &'static str,
    pub decided_at: DateTime<Utc>,
    pub decided_by: &'d str,
    pub reason: &'d str,
}

/// An amount that is held, with the last decision about it.
#[derive(Debug, sqlx::FromRow)]
pub struct Held {
    pub payer_id: String,
    pub insurance_type: String,
    pub valid_year: i16,
    pub amount: Decimal,
    pub hold_reason: String,
    pub decided_by: Option<String>,
    pub decided_at: Option<DateTime<Utc>>,
    pub reason: Option<String>,
}

pub async fn record(tx: &mut PgConnection, decision: &HoldDecision<'_>) -> sqlx::Result<i64> {
    let (payer_id, insurance_type, valid_year) = decision.key;
    sqlx::query_scalar(
        "INSERT INTO hold_decisions (payer_id, insurance_type, valid_year, what, decided_at, decided_by, reason)
         VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING decision_id",
    )
    .bind(payer_id)
    .bind(insurance_type)
    .bind(valid_year)
    .bind(decision.what)
    .bind(decision.decided_at)
    .bind(decision.decided_by)
    .bind(decision.reason)
    .fetch_one(tx)
    .await
}

/// Held amounts behind a key, in its order, at most so many.
pub async fn list(connection: &mut PgConnection, after: Option<&YearKey>, limit: i64) -> sqlx::Result<Vec<Held>> {
    let (payer_id, insurance_type, valid_year) = after.map_or(("", "", 0), |(p, t, y)| (p.as_str(), t.as_str(), *y));
    sqlx::query_as(
        "SELECT s.payer_id, s.insurance_type, s.valid_year, s.amount, s.hold_reason, d.decided_by, d.decided_at, d.reason
         FROM amount_settings s
         LEFT JOIN LATERAL (
             SELECT what, decided_by, decided_at, reason FROM hold_decisions d
             WHERE d.payer_id = s.payer_id AND d.insurance_type = s.insurance_type AND d.valid_year = s.valid_year
             ORDER BY decision_id DESC LIMIT 1) d ON d.what = 'set' AND s.hold_reason = 'suspended'
         WHERE s.hold_reason IS NOT NULL AND (s.payer_id, s.insurance_type, s.valid_year) > ($1, $2, $3)
         ORDER BY s.payer_id, s.insurance_type, s.valid_year LIMIT $4",
    )
    .bind(payer_id)
    .bind(insurance_type)
    .bind(valid_year)
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// Failed runs of these (payer, insurance type) are counted anew.
pub async fn end_streaks<'k>(
    tx: &mut PgConnection,
    keys: impl Iterator<Item = (&'k str, &'k str)>,
) -> sqlx::Result<()> {
    let (payers, types): (Vec<&str>, Vec<&str>) = keys.unzip();
    sqlx::query(
        "UPDATE failure_streaks f SET runs = 0
         FROM unnest($1::text[], $2::text[]) AS k (payer_id, insurance_type)
         WHERE f.payer_id = k.payer_id AND f.insurance_type = k.insurance_type",
    )
    .bind(payers)
    .bind(types)
    .execute(tx)
    .await
    .map(drop)
}
