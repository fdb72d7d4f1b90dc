//! The whole book of a small case as rows to be read by people: what became of each line of the result files, of orders,
//! declarations and payments, and what waits for a person. Called by `fixtures`; a real book is too long for it.

use rust_decimal::Decimal;
use sqlx::PgConnection;

/// What a line of a result file did to the book. Lines without effect leave nothing of their own.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct LineRow {
    pub line_no: i64,
    pub verdict: String,
}

pub async fn lines(connection: &mut PgConnection, result_file_id: i64) -> sqlx::Result<Vec<LineRow>> {
    sqlx::query_as(
        "SELECT DISTINCT line_no, verdict FROM (
             SELECT line_no, kind AS verdict FROM discrepancies WHERE result_file_id = $1 AND line_no IS NOT NULL
             UNION ALL
             SELECT line_no, 'succeeded' FROM settlements WHERE result_file_id = $1
             UNION ALL
             SELECT line_no, 'confirmed' FROM confirmations WHERE result_file_id = $1
             UNION ALL
             SELECT line_no, 'refund ' || state FROM refunds WHERE result_file_id = $1
             UNION ALL
             SELECT line_no, 'reversed' FROM reversals WHERE result_file_id = $1 AND line_no IS NOT NULL
             UNION ALL
             -- An order that becomes unknown by a line about which a person decides is told by its own state.
             SELECT o.line_no, CASE o.class WHEN 'unknown' THEN 'unknown ' ELSE 'failed ' || o.class || ' ' END || o.code
             FROM attempt_outcomes o
             WHERE o.result_file_id = $1
               AND NOT EXISTS (SELECT FROM discrepancies d WHERE d.result_file_id = $1 AND d.line_no = o.line_no)) l
         ORDER BY line_no, verdict",
    )
    .bind(result_file_id)
    .fetch_all(connection)
    .await
}

/// An attempt under the names of the rule book, or a refused online order.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct OrderRow {
    pub order_no: String,
    pub item: i16,
    pub items: i64,
    pub status: String,
    /// Why it was withdrawn or refused.
    pub reason: Option<String>,
    pub amount: Decimal,
}

pub async fn orders(connection: &mut PgConnection) -> sqlx::Result<Vec<OrderRow>> {
    sqlx::query_as(
        "SELECT order_no, item, count(*) OVER (PARTITION BY order_no) AS items, status, withdrawal AS reason, amount FROM attempt_status
         UNION ALL
         SELECT order_no, 1::smallint, 1, state, code, amount FROM online_orders WHERE state = 'refused'
         ORDER BY order_no, item",
    )
    .fetch_all(connection)
    .await
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct DeclarationRow {
    pub declaration_no: String,
    pub status: String,
    pub amount: Decimal,
    pub failed_runs: i64,
}

pub async fn declarations(connection: &mut PgConnection) -> sqlx::Result<Vec<DeclarationRow>> {
    sqlx::query_as(
        "SELECT d.declaration_no, CASE WHEN d.state = 'paying' AND s.order_no IS NOT NULL THEN 'paid' ELSE d.state END AS status,
                d.amount, d.failed_runs::bigint AS failed_runs
         FROM declarations d LEFT JOIN settlements s ON s.declaration_no = d.declaration_no AND s.payer_id = d.payer_id
         ORDER BY d.declaration_no",
    )
    .fetch_all(connection)
    .await
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct PaymentRow {
    pub order_no: String,
    pub item: i16,
    pub items: i64,
    pub amount: Decimal,
    pub gateway_txn_no: Option<String>,
    /// The gateway's time, as in Beijing.
    pub settled_at: String,
    pub declaration_no: String,
    /// The line of a result file; none where a channel reported it.
    pub file_name: Option<String>,
    pub line_no: Option<i64>,
    pub is_reversed: bool,
}

pub async fn payments(connection: &mut PgConnection) -> sqlx::Result<Vec<PaymentRow>> {
    sqlx::query_as(
        "SELECT s.order_no, s.item, count(*) OVER (PARTITION BY s.order_no) AS items, s.amount, s.gateway_txn_no,
                to_char(s.settled_at AT TIME ZONE 'Asia/Shanghai', 'YYYY-MM-DD HH24:MI:SS') AS settled_at, s.declaration_no,
                f.file_name, s.line_no, r.order_no IS NOT NULL AS is_reversed
         FROM settlements s LEFT JOIN result_files f ON f.result_file_id = s.result_file_id
         LEFT JOIN reversals r ON r.order_no = s.order_no AND r.payer_id = s.payer_id AND r.item = s.item
         ORDER BY s.order_no, s.item",
    )
    .fetch_all(connection)
    .await
}

/// An amount that no run selects, and why.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct HeldRow {
    pub payer_id: String,
    pub insurance_type: String,
    pub valid_year: i16,
    pub hold_reason: String,
}

pub async fn held(connection: &mut PgConnection) -> sqlx::Result<Vec<HeldRow>> {
    sqlx::query_as(
        "SELECT payer_id, insurance_type, valid_year, hold_reason FROM amount_settings WHERE hold_reason IS NOT NULL
         ORDER BY payer_id, insurance_type, valid_year",
    )
    .fetch_all(connection)
    .await
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct DiscrepancyRow {
    pub kind: String,
    pub state: String,
    pub file_name: Option<String>,
    pub line_no: Option<i64>,
    pub order_no: Option<String>,
    pub declaration_no: Option<String>,
    pub amount_ours: Option<Decimal>,
    pub amount_theirs: Option<Decimal>,
    pub code: Option<String>,
    pub gateway_txn_no: Option<String>,
    pub detail: Option<String>,
}

pub async fn discrepancies(connection: &mut PgConnection) -> sqlx::Result<Vec<DiscrepancyRow>> {
    sqlx::query_as(
        "SELECT d.kind, d.state, f.file_name, d.line_no, d.order_no, d.declaration_no, d.amount_ours, d.amount_theirs, d.code,
                d.gateway_txn_no, d.detail
         FROM discrepancies d LEFT JOIN result_files f ON f.result_file_id = d.result_file_id
         ORDER BY d.discrepancy_id",
    )
    .fetch_all(connection)
    .await
}

/// (number, state) of every run.
pub async fn runs(connection: &mut PgConnection) -> sqlx::Result<Vec<(i64, String)>> {
    sqlx::query_as("SELECT run_id, state FROM runs ORDER BY run_id").fetch_all(connection).await
}
