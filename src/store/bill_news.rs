//! The rows behind the events of a judged range of a bill: what was paid, what has failed, and which discrepancies it opened
//! or has resolved. Called by stage `reconcile` in the transaction that books them.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;

use super::outbox::CHUNK_MAX;
use super::result_files::ResultFile;

/// A declaration that an order pays, as its events show it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct PaidItem {
    pub order_no: String,
    pub payer_id: String,
    pub item: i16,
    /// None for an online payment.
    pub run_id: Option<i64>,
    pub declaration_no: String,
    pub amount: Decimal,
    pub insurance_type: String,
    pub kind: String,
    pub channel: String,
    pub period_from: String,
    pub period_to: String,
    pub gateway: String,
    pub bank_code: String,
}

/// A settlement by a line.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Settled {
    pub line_no: i64,
    pub valid_year: i16,
    pub gateway_txn_no: Option<String>,
    pub settled_at: DateTime<Utc>,
    pub sequence: i64,
    pub declaration_sequence: i64,
    pub amount_sequence: Option<i64>,
    #[sqlx(flatten)]
    pub item: PaidItem,
}

/// Settlements by judged lines behind one, of at most so many lines.
pub async fn settled(tx: &mut PgConnection, file: &ResultFile, behind: i64, lines: i64) -> sqlx::Result<Vec<Settled>> {
    sqlx::query_as(
        "SELECT s.line_no, s.order_no, s.payer_id, s.item, j.run_id, s.declaration_no, s.amount, s.insurance_type, s.kind, s.channel,
                s.period_from, s.period_to, s.gateway, s.bank_code, s.valid_year, s.gateway_txn_no, s.settled_at, s.sequence,
                s.declaration_sequence, s.amount_sequence
         FROM (SELECT line_no, run_id FROM judged WHERE verdict = 'settle' AND line_no > $2 ORDER BY line_no LIMIT $3) j
         JOIN settlements s ON s.result_file_id = $1 AND s.line_no = j.line_no
         ORDER BY s.line_no, s.item",
    )
    .bind(file.result_file_id)
    .bind(behind)
    .bind(lines)
    .fetch_all(tx)
    .await
}

/// An online order whose settlement a bill has, too.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Confirmed {
    pub line_no: i64,
    pub order_no: String,
    pub gateway_txn_no: Option<String>,
    pub settled_at: DateTime<Utc>,
    pub sequence: i64,
}

/// Confirmations of online orders by judged lines behind one, at most so many.
pub async fn confirmed(
    tx: &mut PgConnection,
    file: &ResultFile,
    behind: i64,
    lines: i64,
) -> sqlx::Result<Vec<Confirmed>> {
    sqlx::query_as(
        "SELECT c.line_no, c.order_no, COALESCE(c.gateway_txn_no, s.gateway_txn_no) AS gateway_txn_no, COALESCE(c.settled_at, s.settled_at) AS settled_at, c.sequence
         FROM judged j
         JOIN confirmations c ON c.result_file_id = $1 AND c.line_no = j.line_no
         JOIN settlements s ON s.order_no = c.order_no AND s.payer_id = c.payer_id AND s.item = 1
         WHERE j.verdict = 'confirm' AND j.run_id IS NULL AND j.line_no > $2
         ORDER BY c.line_no LIMIT $3",
    )
    .bind(file.result_file_id)
    .bind(behind)
    .bind(lines)
    .fetch_all(tx)
    .await
}

/// What a line says of a declaration's attempt that did not settle.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct NotSettled {
    pub line_no: i64,
    pub class: String,
    pub code: String,
    pub sequence: i64,
    pub declaration_sequence: Option<i64>,
    /// What became of the declaration; none where the attempt is unknown.
    pub declaration_state: Option<String>,
    #[sqlx(flatten)]
    pub item: PaidItem,
}

/// Failures and doubts by judged lines behind one, of at most so many lines.
pub async fn not_settled(
    tx: &mut PgConnection,
    file: &ResultFile,
    behind: i64,
    lines: i64,
) -> sqlx::Result<Vec<NotSettled>> {
    sqlx::query_as(
        "SELECT u.line_no, u.order_no, u.payer_id, u.item, j.run_id, a.declaration_no, a.amount, d.insurance_type, d.kind, d.channel,
                d.period_from, d.period_to, $4 AS gateway, $5 AS bank_code, u.class, u.code, u.sequence, u.declaration_sequence, u.declaration_state
         FROM (SELECT line_no, run_id FROM judged WHERE (verdict IN ('fail', 'unknown') OR doubt) AND line_no > $2 ORDER BY line_no LIMIT $3) j
         JOIN attempt_outcomes u ON u.result_file_id = $1 AND u.line_no = j.line_no
         JOIN attempts a ON a.order_no = u.order_no AND a.payer_id = u.payer_id AND a.item = u.item
         JOIN declarations d ON d.declaration_no = a.declaration_no AND d.payer_id = a.payer_id
         ORDER BY u.line_no, u.item",
    )
    .bind(file.result_file_id)
    .bind(behind)
    .bind(lines)
    .bind(&file.gateway)
    .bind(&file.bank_code)
    .fetch_all(tx)
    .await
}

/// A discrepancy that evidence has resolved.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Explained {
    pub discrepancy_id: i64,
    pub kind: String,
    pub gateway: String,
    pub bank_code: String,
    pub result_file_id: Option<i64>,
    pub line_no: Option<i64>,
    pub order_no: Option<String>,
    pub payer_id: Option<String>,
    pub amount_ours: Option<Decimal>,
    pub amount_theirs: Option<Decimal>,
    pub code: Option<String>,
    pub day: Option<chrono::NaiveDate>,
    /// None where it was only opened.
    pub evidence: Option<String>,
    pub sequence: i64,
}

/// Columns of an [`Explained`], of a discrepancy `d`.
pub(super) const EXPLAINED: &str = "d.discrepancy_id, d.kind, d.gateway, d.bank_code, d.result_file_id, d.line_no, d.order_no, d.payer_id, \
                                    d.amount_ours, d.amount_theirs, d.code, d.day, d.evidence, d.sequence";

/// What was missing and has come with the judged lines: a late result, a reported payment in a late bill.
pub async fn explain_absences(tx: &mut PgConnection, file: &ResultFile) -> sqlx::Result<Vec<Explained>> {
    let sql = format!(
        "UPDATE discrepancies d SET state = 'resolved', evidence = 'result_file:' || $1 || '#' || j.line_no, sequence = d.sequence + 1
         FROM (SELECT order_no, payer_id, verdict, min(line_no) AS line_no FROM judged
               WHERE verdict IN ('settle', 'fail', 'confirm', 'reverse') GROUP BY 1, 2, 3) j
         WHERE d.order_no = j.order_no AND d.payer_id = j.payer_id AND d.state = 'open'
           AND (d.kind = 'result_missing' AND j.verdict IN ('settle', 'fail') OR d.kind = 'not_in_bill' AND j.verdict = 'confirm')
         RETURNING {EXPLAINED}"
    );
    let query = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(file.result_file_id);
    let mut rows: Vec<Explained> = query.fetch_all(tx).await?;
    rows.sort_by_key(|row| row.discrepancy_id);
    Ok(rows)
}

/// Outbox rows for the discrepancies of the judged lines, written by the relay (`stages/publish`).
pub async fn tell_discrepancies(tx: &mut PgConnection, file: &ResultFile, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO outbox (kind, events, scope_id, first_key, last_key, created_at)
         SELECT 'discrepancies', count(*), $1, min(place)::text, max(place)::text, $2
         FROM (SELECT discrepancy_id AS place, row_number() OVER (ORDER BY discrepancy_id) - 1 AS nth
               FROM (SELECT d.discrepancy_id FROM judged j JOIN discrepancies d ON d.result_file_id = $1 AND d.line_no = j.line_no
                     UNION ALL
                     SELECT discrepancy_id FROM discrepancies WHERE result_file_id = $1 AND line_no IS NULL AND $4 = 0) o) d
         GROUP BY nth / $3
         ORDER BY min(place)",
    )
    .bind(file.result_file_id)
    .bind(now)
    .bind(CHUNK_MAX as i64)
    .bind(file.booked_through)
    .execute(tx)
    .await
    .map(drop)
}
