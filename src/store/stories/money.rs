//! What was tried and what came of it: runs, attempts, outcomes, payments, discrepancies.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;

/// A run of a type, with the reason if the payer was skipped in it.
#[derive(Debug, sqlx::FromRow)]
pub struct RunRow {
    pub run_id: i64,
    pub schedule: String,
    pub business_date: NaiveDate,
    pub insurance_type: String,
    pub valid_year: i16,
    pub hold_reasons: Vec<String>,
    pub tells_planned: bool,
    pub planned_at: Option<DateTime<Utc>>,
    pub sealed_at: Option<DateTime<Utc>>,
    pub skip_reason: Option<String>,
    /// Of a special declaration that was skipped.
    pub declaration_no: Option<String>,
}

/// The planned runs of these types, the newest first; one with several skips comes several times.
pub async fn runs(
    connection: &mut PgConnection,
    payer_id: &str,
    insurance_types: &[String],
    limit: i64,
) -> sqlx::Result<Vec<RunRow>> {
    sqlx::query_as(
        "SELECT r.run_id, r.schedule, r.business_date, r.insurance_type, r.valid_year, r.hold_reasons, r.tells_planned,
                r.planned_at, r.sealed_at, s.reason AS skip_reason, NULLIF(s.declaration_no, '') AS declaration_no
         FROM (SELECT * FROM runs WHERE insurance_type = ANY ($2) AND planned_at IS NOT NULL ORDER BY run_id DESC LIMIT $3) r
         LEFT JOIN run_skips s ON s.run_id = r.run_id AND s.payer_id = $1
         ORDER BY r.run_id DESC, s.declaration_no LIMIT $3",
    )
    .bind(payer_id)
    .bind(insurance_types)
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// What people decided about held runs.
#[derive(Debug, sqlx::FromRow)]
pub struct RunDecisionRow {
    pub run_id: i64,
    pub kind: String,
    pub decided_by: String,
    pub reason: String,
    pub decided_at: DateTime<Utc>,
}

pub async fn run_decisions(connection: &mut PgConnection, run_ids: &[i64]) -> sqlx::Result<Vec<RunDecisionRow>> {
    sqlx::query_as(
        "SELECT run_id, kind, decided_by, reason, decided_at FROM run_decisions WHERE run_id = ANY ($1)
         ORDER BY decision_id",
    )
    .bind(run_ids)
    .fetch_all(connection)
    .await
}

/// One try to collect a declaration, and the request file it is in.
#[derive(Debug, sqlx::FromRow)]
pub struct AttemptRow {
    pub order_no: String,
    pub item: i16,
    pub run_id: Option<i64>,
    pub declaration_no: String,
    pub agreement_no: Option<String>,
    pub amount: Decimal,
    pub withdrawal: Option<String>,
    pub gateway: Option<String>,
    pub bank_code: Option<String>,
    pub file_name: Option<String>,
    /// Which of the file's items it is.
    pub place: Option<i64>,
    pub sealed_at: Option<DateTime<Utc>>,
    pub delivered_at: Option<DateTime<Utc>>,
}

pub async fn attempts(connection: &mut PgConnection, payer_id: &str, limit: i64) -> sqlx::Result<Vec<AttemptRow>> {
    sqlx::query_as(
        "SELECT a.order_no, a.item, a.run_id, a.declaration_no, a.agreement_no, a.amount, a.withdrawal, l.gateway, l.bank_code,
                f.file_name, f.sealed_at, f.delivered_at,
                -- Items lie in a file in the order of their numbers, without those that were withdrawn.
                CASE WHEN f.file_id IS NOT NULL THEN
                    (SELECT count(*) FROM attempts b
                     WHERE b.order_no BETWEEN f.first_order_no AND a.order_no AND b.state <> 'withdrawn') END AS place
         FROM (SELECT * FROM attempts WHERE payer_id = $1 AND state NOT IN ('failed', 'withdrawn', 'reversed')
               UNION ALL
               SELECT * FROM attempts WHERE payer_id = $1 AND state IN ('failed', 'withdrawn', 'reversed')
               ORDER BY order_no DESC, item LIMIT $2) a
         LEFT JOIN run_lanes l ON l.run_id = a.run_id AND l.lane = a.lane
         LEFT JOIN request_files f ON f.run_id = a.run_id AND f.lane = a.lane AND f.state IN ('sealed', 'delivering', 'delivered')
             AND a.order_no BETWEEN f.first_order_no AND f.last_order_no AND a.state <> 'withdrawn'
         ORDER BY a.order_no, a.item",
    )
    .bind(payer_id)
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// What a row of a result file said of an attempt, unless that it was paid.
#[derive(Debug, sqlx::FromRow)]
pub struct OutcomeRow {
    pub order_no: String,
    pub item: i16,
    pub class: String,
    pub code: String,
    pub file_name: String,
    pub line_no: i64,
    pub gateway: String,
    pub bank_code: String,
    pub booked_at: DateTime<Utc>,
    pub declaration_state: Option<String>,
    pub tried_again: bool,
    pub held_amount: Option<Decimal>,
}

pub async fn outcomes(
    connection: &mut PgConnection,
    payer_id: &str,
    order_nos: &[String],
    limit: i64,
) -> sqlx::Result<Vec<OutcomeRow>> {
    sqlx::query_as(
        "SELECT o.order_no, o.item, o.class, o.code, f.file_name, o.line_no, f.gateway, f.bank_code, o.booked_at,
                o.declaration_state, o.tried_again, o.held_amount
         FROM attempt_outcomes o JOIN result_files f USING (result_file_id)
         WHERE o.order_no = ANY ($2) AND o.payer_id = $1
         ORDER BY o.booked_at DESC, o.result_file_id, o.line_no, o.item LIMIT $3",
    )
    .bind(payer_id)
    .bind(order_nos)
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// A payment, and what it rests on: a row of a file, a channel's report or a person's decision.
#[derive(Debug, sqlx::FromRow)]
pub struct SettlementRow {
    pub order_no: String,
    pub item: i16,
    pub declaration_no: String,
    pub insurance_type: String,
    pub valid_year: i16,
    pub amount: Decimal,
    pub gateway: String,
    pub bank_code: String,
    pub gateway_txn_no: Option<String>,
    pub settled_at: DateTime<Utc>,
    pub booked_at: DateTime<Utc>,
    pub file_name: Option<String>,
    pub line_no: Option<i64>,
    pub message_source: Option<String>,
    pub message_id: Option<String>,
    pub decision_id: Option<i64>,
    pub fulfilled: bool,
}

pub async fn settlements(
    connection: &mut PgConnection,
    payer_id: &str,
    limit: i64,
) -> sqlx::Result<Vec<SettlementRow>> {
    sqlx::query_as(
        "SELECT s.order_no, s.item, s.declaration_no, s.insurance_type, s.valid_year, s.amount, s.gateway, s.bank_code,
                s.gateway_txn_no, s.settled_at, s.booked_at, f.file_name, s.line_no, s.message_source, s.message_id,
                s.decision_id, s.amount_sequence IS NOT NULL AS fulfilled
         FROM settlements s LEFT JOIN result_files f USING (result_file_id)
         WHERE s.payer_id = $1 ORDER BY s.booked_at DESC, s.order_no, s.item LIMIT $2",
    )
    .bind(payer_id)
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// A payment that went back.
#[derive(Debug, sqlx::FromRow)]
pub struct ReversalRow {
    pub order_no: String,
    pub declaration_no: String,
    pub file_name: Option<String>,
    pub line_no: Option<i64>,
    pub decision_id: Option<i64>,
    pub reversed_at: DateTime<Utc>,
    pub booked_at: DateTime<Utc>,
}

pub async fn reversals(connection: &mut PgConnection, payer_id: &str, limit: i64) -> sqlx::Result<Vec<ReversalRow>> {
    sqlx::query_as(
        "SELECT r.order_no, r.declaration_no, f.file_name, r.line_no, r.decision_id, r.reversed_at, r.booked_at
         FROM reversals r LEFT JOIN result_files f USING (result_file_id)
         WHERE r.payer_id = $1 ORDER BY r.booked_at DESC, r.order_no, r.item LIMIT $2",
    )
    .bind(payer_id)
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// A file that was put back, though it had said something of an order.
#[derive(Debug, sqlx::FromRow)]
pub struct UndoneRow {
    pub order_no: String,
    pub file_name: String,
    pub paid: Option<Decimal>,
    pub decided_by: String,
    pub second_by: Option<String>,
    pub reason: String,
    pub decided_at: DateTime<Utc>,
}

pub async fn undone(
    connection: &mut PgConnection,
    payer_id: &str,
    order_nos: &[String],
    limit: i64,
) -> sqlx::Result<Vec<UndoneRow>> {
    sqlx::query_as(
        "SELECT o.order_no, u.file_name, w.paid, u.decided_by, u.second_by, u.reason, u.decided_at
         FROM undone_orders o JOIN result_file_undos u ON u.undo_id = o.undo_id
         CROSS JOIN LATERAL (SELECT sum((w.row ->> 'amount')::numeric(14,2)) AS paid FROM undone_rows w
                             WHERE w.undo_id = o.undo_id AND w.order_no = o.order_no AND w.kind = 'settlements') w
         WHERE o.payer_id = $1 AND o.order_no = ANY ($2)
         ORDER BY u.decided_at DESC, o.order_no LIMIT $3",
    )
    .bind(payer_id)
    .bind(order_nos)
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// What a bill says of an order: that it has it, too, that money went back, or (without a file) that none of its days
/// has it.
#[derive(Debug, sqlx::FromRow)]
pub struct BillWordRow {
    pub what: String,
    pub order_no: String,
    pub amount: Option<Decimal>,
    pub file_name: Option<String>,
    pub line_no: Option<i64>,
    pub booked_at: DateTime<Utc>,
}

pub async fn bill_words(
    connection: &mut PgConnection,
    payer_id: &str,
    order_nos: &[String],
    limit: i64,
) -> sqlx::Result<Vec<BillWordRow>> {
    sqlx::query_as(
        "SELECT w.what, w.order_no, w.amount, f.file_name, w.line_no, w.booked_at
         FROM (SELECT 'confirmed' AS what, order_no, amount, result_file_id, line_no, booked_at
               FROM confirmations WHERE order_no = ANY ($2) AND payer_id = $1
               UNION ALL
               SELECT 'refunded', order_no, amount, result_file_id, line_no, booked_at
               FROM refunds WHERE order_no = ANY ($2) AND state = 'succeeded'
               UNION ALL
               SELECT 'unpaid', order_no, NULL, NULL, NULL, booked_at FROM unpaid_orders WHERE order_no = ANY ($2)) w
         LEFT JOIN result_files f USING (result_file_id)
         ORDER BY w.booked_at DESC, w.order_no, w.line_no LIMIT $3",
    )
    .bind(payer_id)
    .bind(order_nos)
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// A discrepancy about the payer's orders, or by whose decision one of them was paid.
#[derive(Debug, sqlx::FromRow)]
pub struct DiscrepancyRow {
    pub discrepancy_id: i64,
    pub kind: String,
    pub gateway: String,
    pub bank_code: String,
    pub order_no: Option<String>,
    pub amount_ours: Option<Decimal>,
    pub amount_theirs: Option<Decimal>,
    pub code: Option<String>,
    pub file_name: Option<String>,
    pub line_no: Option<i64>,
    pub message_source: Option<String>,
    pub message_id: Option<String>,
    pub state: String,
    pub evidence: Option<String>,
    pub opened_at: DateTime<Utc>,
}

pub async fn discrepancies(
    connection: &mut PgConnection,
    payer_id: &str,
    order_nos: &[String],
    decision_ids: &[i64],
    limit: i64,
) -> sqlx::Result<Vec<DiscrepancyRow>> {
    sqlx::query_as(
        "SELECT c.discrepancy_id, c.kind, c.gateway, c.bank_code, c.order_no, c.amount_ours, c.amount_theirs, c.code, f.file_name,
                c.line_no, c.message_source, c.message_id, c.state, c.evidence, c.opened_at
         FROM (SELECT discrepancy_id FROM discrepancies WHERE order_no = ANY ($2) AND payer_id = $1
               UNION
               SELECT discrepancy_id FROM discrepancies WHERE payer_id = $1 AND state = 'open'
               UNION
               SELECT discrepancy_id FROM discrepancy_decisions WHERE decision_id = ANY ($3)) found
         JOIN discrepancies c USING (discrepancy_id)
         LEFT JOIN result_files f USING (result_file_id)
         ORDER BY c.discrepancy_id DESC LIMIT $4",
    )
    .bind(payer_id)
    .bind(order_nos)
    .bind(decision_ids)
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// What people decided on them.
#[derive(Debug, sqlx::FromRow)]
pub struct DecisionRow {
    pub decision_id: i64,
    pub discrepancy_id: i64,
    pub kind: String,
    pub what: String,
    pub order_no: Option<String>,
    pub decided_by: String,
    pub second_by: Option<String>,
    pub reason: String,
    pub decided_at: DateTime<Utc>,
}

pub async fn decisions(connection: &mut PgConnection, discrepancy_ids: &[i64]) -> sqlx::Result<Vec<DecisionRow>> {
    sqlx::query_as(
        "SELECT decision_id, discrepancy_id, kind, what, order_no, decided_by, second_by, reason, decided_at
         FROM discrepancy_decisions WHERE discrepancy_id = ANY ($1) ORDER BY decision_id",
    )
    .bind(discrepancy_ids)
    .fetch_all(connection)
    .await
}

/// Since when events wait to be published; none if nothing waits.
pub async fn unpublished_since(connection: &mut PgConnection) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar("SELECT created_at FROM outbox WHERE published_at IS NULL ORDER BY outbox_id LIMIT 1")
        .fetch_optional(connection)
        .await
}
