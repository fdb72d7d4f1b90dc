//! The rows behind an outbox row that stands for a range, as its events need them. They are evidence: the same range
//! gives the same rows whenever it is read.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;

use super::outbox::Range;

/// An attempt as its events show it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct AttemptRow {
    pub order_no: String,
    pub payer_id: String,
    pub run_id: i64,
    pub declaration_no: String,
    pub declaration_sequence: i64,
    pub amount: Decimal,
    pub insurance_type: String,
    pub kind: String,
    pub channel: String,
    pub period_from: String,
    pub period_to: String,
    pub gateway: String,
    pub bank_code: String,
    pub file_name: Option<String>,
}

const ATTEMPT: &str = "a.order_no, a.payer_id, a.run_id, a.declaration_no, a.declaration_sequence, a.amount, d.insurance_type, d.kind, \
                       d.channel, d.period_from, d.period_to, l.gateway, l.bank_code";

/// Attempts planned in a run, between two order numbers.
pub async fn planned(connection: &mut PgConnection, range: &Range) -> sqlx::Result<Vec<AttemptRow>> {
    let sql = format!(
        "SELECT {ATTEMPT}, NULL AS file_name
         FROM attempts a
         JOIN declarations d ON d.declaration_no = a.declaration_no AND d.payer_id = a.payer_id
         JOIN run_lanes l ON l.run_id = a.run_id AND l.lane = a.lane
         WHERE a.run_id = $1 AND a.order_no BETWEEN $2 AND $3
         ORDER BY a.order_no"
    );
    rows(connection, sql, range).await
}

/// An attempt that was sent, with the sequence of that event: the second about the order, or the first where the run
/// does not tell what it planned.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct SentRow {
    pub sequence: i64,
    #[sqlx(flatten)]
    pub attempt: AttemptRow,
}

/// Attempts in a delivered file, between two order numbers.
pub async fn sent(connection: &mut PgConnection, range: &Range) -> sqlx::Result<Vec<SentRow>> {
    let sql = format!(
        "SELECT {ATTEMPT}, f.file_name, 1 + r.tells_planned::int::bigint AS sequence
         FROM request_files f
         JOIN runs r ON r.run_id = f.run_id
         JOIN attempts a ON a.run_id = f.run_id AND a.order_no BETWEEN $2 AND $3 AND a.state <> 'withdrawn'
         JOIN declarations d ON d.declaration_no = a.declaration_no AND d.payer_id = a.payer_id
         JOIN run_lanes l ON l.run_id = a.run_id AND l.lane = a.lane
         WHERE f.file_id = $1
         ORDER BY a.order_no"
    );
    rows(connection, sql, range).await
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct SkipRow {
    pub run_id: i64,
    pub payer_id: String,
    pub reason: String,
    pub insurance_type: String,
    /// Of a special declaration; empty for the normal contribution.
    pub declaration_no: String,
    pub kind: String,
    pub period_from: String,
    pub period_to: String,
}

/// Skips of a run, between two payers.
pub async fn skipped(connection: &mut PgConnection, range: &Range) -> sqlx::Result<Vec<SkipRow>> {
    let sql = "SELECT k.run_id, k.payer_id, k.reason, r.insurance_type, k.declaration_no, COALESCE(d.kind, 'normal') AS kind,
                COALESCE(d.period_from, r.period_from) AS period_from, COALESCE(d.period_to, r.period_to) AS period_to
         FROM run_skips k
         JOIN runs r ON r.run_id = k.run_id
         LEFT JOIN declarations d ON d.declaration_no = k.declaration_no AND d.payer_id = k.payer_id AND k.declaration_no <> ''
         WHERE k.run_id = $1 AND k.payer_id BETWEEN $2 AND $3
         ORDER BY k.payer_id, k.declaration_no";
    rows(connection, sql.to_owned(), range).await
}

/// A booked success. What is paid is what the settlement says, which is what the attempt asked for.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct SettlementRow {
    pub line_no: i64,
    pub valid_year: i16,
    pub gateway_txn_no: Option<String>,
    pub settled_at: DateTime<Utc>,
    pub booked_at: DateTime<Utc>,
    pub sequence: i64,
    pub amount_sequence: Option<i64>,
    #[sqlx(flatten)]
    pub attempt: AttemptRow,
}

/// Settlements of a result file, between two lines.
pub async fn settled(connection: &mut PgConnection, range: &Range) -> sqlx::Result<Vec<SettlementRow>> {
    let sql = "SELECT s.line_no, s.order_no, s.payer_id, a.run_id, s.declaration_no, s.insurance_type, s.kind, s.period_from, s.period_to,
                s.valid_year, s.amount, s.channel, s.gateway, s.bank_code, s.gateway_txn_no, s.settled_at, s.booked_at,
                s.sequence, s.declaration_sequence, s.amount_sequence, NULL AS file_name
         FROM settlements s JOIN attempts a ON a.order_no = s.order_no AND a.payer_id = s.payer_id
         WHERE s.result_file_id = $1 AND s.line_no BETWEEN $2::bigint AND $3::bigint
         ORDER BY s.line_no";
    rows(connection, sql.to_owned(), range).await
}

/// A result row that did not settle.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct OutcomeRow {
    pub line_no: i64,
    pub class: String,
    pub code: String,
    pub booked_at: DateTime<Utc>,
    pub sequence: i64,
    pub outcome_declaration_sequence: Option<i64>,
    pub declaration_state: Option<String>,
    pub amount_sequence: Option<i64>,
    pub held_amount: Option<Decimal>,
    pub tried_again: bool,
    pub valid_year: i16,
    #[sqlx(flatten)]
    pub attempt: AttemptRow,
}

/// Other outcomes of a result file, between two lines.
pub async fn not_settled(connection: &mut PgConnection, range: &Range) -> sqlx::Result<Vec<OutcomeRow>> {
    let sql = format!(
        "SELECT {ATTEMPT}, NULL AS file_name, o.line_no, o.class, o.code, o.booked_at, o.sequence,
                o.declaration_sequence AS outcome_declaration_sequence, o.declaration_state, o.amount_sequence, o.held_amount,
                o.tried_again,
                r.valid_year
         FROM attempt_outcomes o
         JOIN attempts a ON a.order_no = o.order_no AND a.payer_id = o.payer_id
         JOIN runs r ON r.run_id = a.run_id
         JOIN declarations d ON d.declaration_no = a.declaration_no AND d.payer_id = a.payer_id
         JOIN run_lanes l ON l.run_id = a.run_id AND l.lane = a.lane
         WHERE o.result_file_id = $1 AND o.line_no BETWEEN $2::bigint AND $3::bigint
         ORDER BY o.line_no"
    );
    rows(connection, sql, range).await
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct DiscrepancyRow {
    pub discrepancy_id: i64,
    pub kind: String,
    pub gateway: String,
    pub bank_code: String,
    pub result_file_id: i64,
    pub line_no: Option<i64>,
    pub order_no: Option<String>,
    pub payer_id: Option<String>,
    pub amount_ours: Option<Decimal>,
    pub amount_theirs: Option<Decimal>,
    pub code: Option<String>,
    pub opened_at: DateTime<Utc>,
}

/// Discrepancies of a result file, between two numbers.
pub async fn discrepancies(connection: &mut PgConnection, range: &Range) -> sqlx::Result<Vec<DiscrepancyRow>> {
    let sql = "SELECT discrepancy_id, kind, gateway, bank_code, result_file_id, line_no, order_no, payer_id, amount_ours, amount_theirs,
                code, opened_at
         FROM discrepancies
         WHERE result_file_id = $1 AND discrepancy_id BETWEEN $2::bigint AND $3::bigint
         ORDER BY discrepancy_id";
    rows(connection, sql.to_owned(), range).await
}

/// $1 is the scope, $2 and $3 the first and last key of the range.
async fn rows<R>(connection: &mut PgConnection, sql: String, range: &Range) -> sqlx::Result<Vec<R>>
where
    R: for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow> + Send + Unpin,
{
    sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(range.scope_id)
        .bind(&range.first_key)
        .bind(&range.last_key)
        .fetch_all(connection)
        .await
}
