//! What is not there: orders that no bill has, reported payments that no bill has, results that are due, bills that are
//! expected. Called by stage `absence`, which owns the gate, and by `reconcile` when a bill has come.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;

use super::bill_news::{EXPLAINED, Explained, PaidItem};
use super::ranges::AttemptRow;
use super::result_files::ResultFile;

/// Days that an order may be open, to be failed by the silence of its bills.
const ORDER_DAYS_MAX: i32 = 366;

/// A declaration of an order that was never paid.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Unpaid {
    /// Of the event payment.failed.
    pub sequence: i64,
    pub declaration_sequence: i64,
    #[sqlx(flatten)]
    pub item: PaidItem,
}

/// Fails online orders that have expired and that no bill has, though those of all their days are applied: at most so many.
pub async fn fail_unpaid(tx: &mut PgConnection, now: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<Unpaid>> {
    sqlx::query_as(include_str!("sql/fail_unpaid.sql")).bind(now).bind(limit).bind(ORDER_DAYS_MAX).fetch_all(tx).await
}

/// Opens `not_in_bill` for payments that a channel has reported since a time and that the complete bills of their days
/// lack, at most so many declarations.
pub async fn open_not_in_bill(
    tx: &mut PgConnection,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<Explained>> {
    let sql = include_str!("sql/open_not_in_bill.sql").replace("EXPLAINED", EXPLAINED);
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(since).bind(now).bind(limit).fetch_all(tx).await
}

/// Runs with files that a gateway took before a time and that may still be without results.
pub async fn runs_due(tx: &mut PgConnection, gateway: &str, before: DateTime<Utc>) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "SELECT DISTINCT r.run_id FROM runs r JOIN request_files f ON f.run_id = r.run_id
         WHERE r.state IN ('sent', 'settling') AND f.gateway = $1 AND f.state = 'delivered' AND f.delivered_at < $2
         ORDER BY r.run_id",
    )
    .bind(gateway)
    .bind(before)
    .fetch_all(tx)
    .await
}

/// A deduction whose result is overdue.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Overdue {
    pub discrepancy_id: i64,
    /// Of the event deduction.unknown.
    pub sequence: i64,
    #[sqlx(flatten)]
    pub attempt: AttemptRow,
}

/// Makes deductions of a run unknown whose results are overdue, behind an order number, at most so many.
pub async fn open_result_missing(
    tx: &mut PgConnection,
    run_id: i64,
    gateway: &str,
    before: DateTime<Utc>,
    behind: &str,
    limit: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Overdue>> {
    sqlx::query_as(include_str!("sql/open_result_missing.sql"))
        .bind(run_id)
        .bind(gateway)
        .bind(before)
        .bind(behind)
        .bind(limit)
        .bind(now)
        .fetch_all(tx)
        .await
}

/// Opens `file_missing` for the days of a gateway up to one whose bills have not come, from the first one on of which a
/// bill is expected; `today` is that where none was expected before.
pub async fn open_file_missing(
    tx: &mut PgConnection,
    gateway: &str,
    today: NaiveDate,
    up_to: NaiveDate,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Explained>> {
    sqlx::query("INSERT INTO bills_expected_since (gateway, day) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(gateway)
        .bind(today)
        .execute(&mut *tx)
        .await?;
    let sql = format!(
        "INSERT INTO discrepancies AS d (kind, gateway, bank_code, day, opened_at)
         SELECT 'file_missing', $1, '', missed.day::date, $3
         FROM bills_expected_since e CROSS JOIN LATERAL generate_series(greatest(e.day, $2::date - {ORDER_DAYS_MAX}), $2::date, interval '1 day') AS missed (day)
         WHERE e.gateway = $1 AND NOT EXISTS (SELECT FROM bill_days b WHERE b.gateway = $1 AND b.day = missed.day::date)
           AND NOT EXISTS (SELECT FROM discrepancies n WHERE n.kind = 'file_missing' AND n.gateway = $1 AND n.day = missed.day::date)
         ORDER BY missed.day
         RETURNING {EXPLAINED}"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(gateway).bind(up_to).bind(now).fetch_all(tx).await
}

/// A bill has come that was missing.
pub async fn explain_missing_files(
    tx: &mut PgConnection,
    file: &ResultFile,
    from: NaiveDate,
    to: NaiveDate,
) -> sqlx::Result<Vec<Explained>> {
    let sql = format!(
        "UPDATE discrepancies d SET state = 'resolved', evidence = 'result_file:' || $1, sequence = d.sequence + 1
         WHERE d.kind = 'file_missing' AND d.gateway = $2 AND d.day BETWEEN $3 AND $4 AND d.state = 'open'
         RETURNING {EXPLAINED}"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(file.result_file_id)
        .bind(&file.gateway)
        .bind(from)
        .bind(to)
        .fetch_all(tx)
        .await
}

/// Money in an earlier bill for an order that was not known then.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Kept {
    pub discrepancy_id: i64,
    pub order_no: String,
    pub gateway: String,
    pub amount: Decimal,
    pub code: String,
    pub gateway_txn_no: Option<String>,
    pub settled_at: Option<DateTime<Utc>>,
    pub result_file_id: i64,
    pub line_no: i64,
}

/// What is kept of online orders, and nobody has decided on.
pub async fn kept(tx: &mut PgConnection, order_nos: &[&str]) -> sqlx::Result<Vec<Kept>> {
    sqlx::query_as(
        "SELECT discrepancy_id, order_no, gateway, amount_theirs AS amount, code, gateway_txn_no, settled_at, result_file_id, line_no
         FROM discrepancies
         WHERE order_no = ANY ($1) AND kind = 'unknown_order' AND state = 'open' AND bank_code = '' AND line_no IS NOT NULL
           AND code IS NOT NULL AND amount_theirs IS NOT NULL
         ORDER BY discrepancy_id",
    )
    .bind(order_nos)
    .fetch_all(tx)
    .await
}

/// Their order is known now: `evidence` says since what.
pub async fn explain_kept(tx: &mut PgConnection, rows: &[(i64, &str)]) -> sqlx::Result<Vec<Explained>> {
    let sql = format!(
        "UPDATE discrepancies d SET state = 'resolved', evidence = k.evidence, sequence = d.sequence + 1
         FROM unnest($1::bigint[], $2::text[]) AS k (discrepancy_id, evidence)
         WHERE d.discrepancy_id = k.discrepancy_id AND d.state = 'open'
         RETURNING {EXPLAINED}"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(rows.iter().map(|row| row.0).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.1).collect::<Vec<_>>())
        .fetch_all(tx)
        .await
}
