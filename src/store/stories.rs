//! Everything the book has of one payer, each kind of row by one statement of bounded length. Read only.
//!
//! Every statement finds its rows by payer or by the numbers of the payer's own orders; where a table is ordered by
//! year or run first, the few years and runs there are come before.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;

pub mod money;

/// A message of the payer's, with its answer; `raw` is encrypted.
#[derive(Debug, sqlx::FromRow)]
pub struct MessageRow {
    pub source: String,
    pub id: String,
    pub kind: String,
    pub seq: i64,
    pub sent_at: DateTime<Utc>,
    pub received_at: DateTime<Utc>,
    pub raw: Vec<u8>,
    pub outcome: String,
    pub code: Option<String>,
    pub wait_for: Option<String>,
    pub wait_until: Option<DateTime<Utc>>,
    pub repeated: i32,
}

/// The payer's messages, the newest first.
pub async fn messages(connection: &mut PgConnection, payer_id: &str, limit: i64) -> sqlx::Result<Vec<MessageRow>> {
    sqlx::query_as(
        "SELECT source, id, kind, seq, sent_at, received_at, raw, outcome, code, wait_for, wait_until, repeated
         FROM messages WHERE payer_id = $1 ORDER BY seq DESC LIMIT $2",
    )
    .bind(payer_id)
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// What was not understood, with the code of why; `raw` is encrypted.
#[derive(Debug, sqlx::FromRow)]
pub struct QuarantineRow {
    pub quarantine_id: i64,
    pub received_at: DateTime<Utc>,
    pub code: String,
    pub reason: String,
    pub position: String,
    pub raw: Vec<u8>,
    pub state: String,
    pub repeated: i32,
}

/// The newest entries of the quarantine, of whomever they are: nobody knows before they are opened.
pub async fn quarantined(connection: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<QuarantineRow>> {
    sqlx::query_as(
        "SELECT quarantine_id, received_at, code, reason, position, raw, state, repeated
         FROM quarantine ORDER BY quarantine_id DESC LIMIT $1",
    )
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// Every (insurance type, year) that anybody has an amount for, by hopping from one to the next in the index.
pub async fn years(connection: &mut PgConnection) -> sqlx::Result<Vec<(String, i16)>> {
    sqlx::query_as(
        "WITH RECURSIVE years AS (
             (SELECT insurance_type, valid_year FROM amount_settings ORDER BY insurance_type, valid_year LIMIT 1)
             UNION ALL
             SELECT n.insurance_type, n.valid_year
             FROM years y CROSS JOIN LATERAL (
                 SELECT s.insurance_type, s.valid_year FROM amount_settings s
                 WHERE (s.insurance_type, s.valid_year) > (y.insurance_type, y.valid_year)
                 ORDER BY s.insurance_type, s.valid_year LIMIT 1) n)
         SELECT insurance_type, valid_year FROM years",
    )
    .fetch_all(connection)
    .await
}

/// A version of an amount. What was carried over says when and from where.
#[derive(Debug, sqlx::FromRow)]
pub struct AmountRow {
    pub insurance_type: String,
    pub valid_year: i16,
    pub amount: Decimal,
    pub state: String,
    pub hold_reason: Option<String>,
    pub paid: bool,
    pub carried_from: Option<i16>,
    pub carried_amount: Option<Decimal>,
    pub carried_hold: Option<String>,
    pub carried_at: Option<DateTime<Utc>>,
}

pub async fn amounts(
    connection: &mut PgConnection,
    payer_id: &str,
    years: &[(String, i16)],
    limit: i64,
) -> sqlx::Result<Vec<AmountRow>> {
    let (types, years): (Vec<&str>, Vec<i16>) = years.iter().map(|(of, year)| (of.as_str(), *year)).unzip();
    sqlx::query_as(
        "SELECT s.insurance_type, s.valid_year, s.amount, s.state, s.hold_reason,
                EXISTS (SELECT FROM standing_settlements p
                        WHERE p.payer_id = s.payer_id AND p.insurance_type = s.insurance_type AND p.valid_year = s.valid_year
                          AND p.kind = 'normal' AND p.period_from <> p.period_to) AS paid,
                c.from_year AS carried_from, c.amount AS carried_amount, c.hold_reason AS carried_hold,
                COALESCE(t.done_at, t.begun_at) AS carried_at
         FROM unnest($2::text[], $3::smallint[]) AS y (insurance_type, valid_year)
         JOIN amount_settings s ON s.insurance_type = y.insurance_type AND s.valid_year = y.valid_year AND s.payer_id = $1
         -- What the opening of the year carried is the first of its facts.
         LEFT JOIN carried_amounts c ON c.insurance_type = s.insurance_type AND c.valid_year = s.valid_year
             AND c.payer_id = s.payer_id AND s.fact_id = 'carried_over' AND s.fact_time = '1900-01-01T00:00:00Z'
         LEFT JOIN year_turns t ON t.turn_id = c.turn_id
         ORDER BY s.insurance_type, s.valid_year, s.fact_time, s.fact_id LIMIT $4",
    )
    .bind(payer_id)
    .bind(types)
    .bind(years)
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// An amount that ended with its year.
#[derive(Debug, sqlx::FromRow)]
pub struct ExpiredRow {
    pub insurance_type: String,
    pub valid_year: i16,
    pub amount: Decimal,
    pub expired_at: DateTime<Utc>,
}

pub async fn expired(
    connection: &mut PgConnection,
    payer_id: &str,
    years: &[(String, i16)],
    limit: i64,
) -> sqlx::Result<Vec<ExpiredRow>> {
    let (types, years): (Vec<&str>, Vec<i16>) = years.iter().map(|(of, year)| (of.as_str(), *year)).unzip();
    sqlx::query_as(
        "SELECT e.insurance_type, e.valid_year, e.amount, e.expired_at
         FROM unnest($2::text[], $3::smallint[]) AS y (insurance_type, valid_year)
         JOIN expired_amounts e ON e.insurance_type = y.insurance_type AND e.valid_year = y.valid_year AND e.payer_id = $1
         ORDER BY e.expired_at, e.sequence LIMIT $4",
    )
    .bind(payer_id)
    .bind(types)
    .bind(years)
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// What people held and released.
#[derive(Debug, sqlx::FromRow)]
pub struct HoldRow {
    pub insurance_type: String,
    pub valid_year: i16,
    pub what: String,
    pub decided_at: DateTime<Utc>,
    pub decided_by: String,
    pub reason: String,
}

pub async fn holds(connection: &mut PgConnection, payer_id: &str, limit: i64) -> sqlx::Result<Vec<HoldRow>> {
    sqlx::query_as(
        "SELECT insurance_type, valid_year, what, decided_at, decided_by, reason
         FROM hold_decisions WHERE payer_id = $1 ORDER BY decision_id DESC LIMIT $2",
    )
    .bind(payer_id)
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// A declaration, whoever filed it.
#[derive(Debug, sqlx::FromRow)]
pub struct DeclarationRow {
    pub declaration_no: String,
    pub insurance_type: String,
    pub kind: String,
    pub period_from: String,
    pub period_to: String,
    pub amount: Decimal,
    pub channel: String,
    pub state: String,
    pub paid: bool,
}

pub async fn declarations(
    connection: &mut PgConnection,
    payer_id: &str,
    limit: i64,
) -> sqlx::Result<Vec<DeclarationRow>> {
    sqlx::query_as(
        "SELECT d.declaration_no, d.insurance_type, d.kind, d.period_from, d.period_to, d.amount, d.channel, d.state,
                EXISTS (SELECT FROM standing_settlements p
                        WHERE p.payer_id = d.payer_id AND p.insurance_type = d.insurance_type AND p.declaration_no = d.declaration_no) AS paid
         FROM (SELECT * FROM declarations WHERE payer_id = $1 AND state NOT IN ('voided', 'rejected', 'reversed')
               UNION ALL
               SELECT * FROM declarations WHERE payer_id = $1 AND state IN ('voided', 'rejected', 'reversed')) d
         ORDER BY d.period_from DESC, d.submitted_at DESC, d.declaration_no LIMIT $2",
    )
    .bind(payer_id)
    .bind(limit)
    .fetch_all(connection)
    .await
}
