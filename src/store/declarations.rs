//! Declarations, as intake reads and writes them. Runs and reconciliation move them in their own set statements.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;

use crate::domain::declaration::{DeclarationState, Obligation};

/// A declaration to be inserted, or one that waited to be moved on.
#[derive(Debug, Clone)]
pub struct DeclarationRow {
    pub declaration_no: String,
    pub payer_id: String,
    pub insurance_type: String,
    pub obligation: Obligation,
    pub amount: Decimal,
    pub channel: String,
    pub collect_by: &'static str,
    pub state: DeclarationState,
    pub submitted_at: DateTime<Utc>,
    pub sequence: i64,
}

/// Those of the numbers that exist, with their sequence.
pub async fn known(tx: &mut PgConnection, numbers: &[&str]) -> sqlx::Result<Vec<(String, i64)>> {
    sqlx::query_as("SELECT declaration_no, sequence FROM declarations WHERE declaration_no = ANY ($1)")
        .bind(numbers)
        .fetch_all(tx)
        .await
}

/// The live declarations of the given obligations, as (place in the arrays, paid).
pub async fn live(tx: &mut PgConnection, keys: &[(&str, &str, &Obligation)]) -> sqlx::Result<Vec<(i64, bool)>> {
    sqlx::query_as(
        "SELECT k.place, s.order_no IS NOT NULL
         FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
              WITH ORDINALITY AS k (payer_id, insurance_type, period_from, period_to, kind, assessment_no, place)
         JOIN declarations d USING (payer_id, insurance_type, period_from, period_to, kind, assessment_no)
         LEFT JOIN settlements s ON s.payer_id = d.payer_id AND s.insurance_type = d.insurance_type
             AND s.period_from = d.period_from AND s.declaration_no = d.declaration_no
         WHERE d.state NOT IN ('voided', 'rejected')",
    )
    .bind(keys.iter().map(|key| key.0).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.1).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.2.period.from.to_string()).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.2.period.to.to_string()).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.2.kind.as_str()).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.2.assessment_no.as_str()).collect::<Vec<_>>())
    .fetch_all(tx)
    .await
}

pub async fn upsert(tx: &mut PgConnection, rows: &[DeclarationRow]) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO declarations (declaration_no, payer_id, insurance_type, period_from, period_to, kind, assessment_no,
                                   amount, channel, collect_by, state, submitted_at, sequence)
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                              $8::numeric[], $9::text[], $10::text[], $11::text[], $12::timestamptz[], $13::bigint[])
         ON CONFLICT (declaration_no, payer_id) DO UPDATE SET state = excluded.state, sequence = excluded.sequence",
    )
    .bind(rows.iter().map(|row| row.declaration_no.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.payer_id.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.insurance_type.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.obligation.period.from.to_string()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.obligation.period.to.to_string()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.obligation.kind.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.obligation.assessment_no.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.amount).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.channel.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.collect_by).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.state.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.submitted_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.sequence).collect::<Vec<_>>())
    .execute(tx)
    .await
    .map(drop)
}

/// A declaration that changed, for its event.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct DeclarationRecord {
    pub declaration_no: String,
    pub payer_id: String,
    pub insurance_type: String,
    pub kind: String,
    pub period_from: String,
    pub period_to: String,
    pub amount: Decimal,
    pub channel: String,
    pub sequence: i64,
    pub reason: String,
}

/// Rejects those of (declaration number, payer, reason) that still await their enrolment when the wait has ended.
pub async fn reject_awaiting(
    tx: &mut PgConnection,
    rejected: &[(&str, &str, &str)],
) -> sqlx::Result<Vec<DeclarationRecord>> {
    sqlx::query_as(
        "UPDATE declarations d SET state = 'rejected', sequence = d.sequence + 1
         FROM unnest($1::text[], $2::text[], $3::text[]) AS k (declaration_no, payer_id, reason)
         WHERE d.declaration_no = k.declaration_no AND d.payer_id = k.payer_id AND d.state = 'awaiting_enrolment'
         RETURNING d.declaration_no, d.payer_id, d.insurance_type, d.kind, d.period_from, d.period_to, d.amount, d.channel,
                   d.sequence, k.reason",
    )
    .bind(rejected.iter().map(|row| row.0).collect::<Vec<_>>())
    .bind(rejected.iter().map(|row| row.1).collect::<Vec<_>>())
    .bind(rejected.iter().map(|row| row.2).collect::<Vec<_>>())
    .fetch_all(tx)
    .await
}

/// Voids what an earlier run filed, failed to collect and whose setting is no longer the active one, for the payers
/// of one range of a run.
pub async fn void_outdated(
    tx: &mut PgConnection,
    insurance_type: &str,
    valid_year: i16,
    period_from: &str,
    payers: (&str, &str),
) -> sqlx::Result<Vec<DeclarationRecord>> {
    sqlx::query_as(
        "UPDATE declarations d SET state = 'voided', sequence = d.sequence + 1
         WHERE d.insurance_type = $1 AND d.period_from = $3 AND d.payer_id > $4 AND d.payer_id <= $5
           AND d.state = 'payable' AND d.channel = 'batch' AND d.collect_by = 'batch'
           AND NOT EXISTS (SELECT FROM amount_settings s
                           WHERE s.insurance_type = $1 AND s.valid_year = $2 AND s.payer_id = d.payer_id
                             AND s.fact_time = d.setting_time AND s.fact_id = d.setting_id AND s.state = 'active')
         RETURNING d.declaration_no, d.payer_id, d.insurance_type, d.kind, d.period_from, d.period_to, d.amount, d.channel,
                   d.sequence, CASE WHEN EXISTS (SELECT FROM amount_settings s
                                                 WHERE s.insurance_type = $1 AND s.valid_year = $2 AND s.payer_id = d.payer_id
                                                   AND s.state = 'active') THEN 'setting_changed' ELSE 'voided' END AS reason",
    )
    .bind(insurance_type)
    .bind(valid_year)
    .bind(period_from)
    .bind(payers.0)
    .bind(payers.1)
    .fetch_all(tx)
    .await
}

/// A new agreement ends the hold that a final failure put on the payers' declarations.
pub async fn release_held(tx: &mut PgConnection, payers: &[&str]) -> sqlx::Result<()> {
    sqlx::query("UPDATE declarations SET hold_reason = NULL WHERE payer_id = ANY ($1) AND hold_reason IS NOT NULL")
        .bind(payers)
        .execute(tx)
        .await
        .map(drop)
}
