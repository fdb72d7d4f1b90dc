//! What a result file declares of itself, and how many of its rows came to what. Called by stage `reconcile`, which has
//! judged a range of them, and by whoever looks ahead or accounts for a day.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use rust_decimal::Decimal;
use sqlx::{PgConnection, Row};

use super::result_files::ResultFile;
use crate::domain::rows::Rows;

/// What a file declares, as it was read to its end, before anything of it is booked.
#[derive(Debug, Clone, Copy)]
pub struct Declared {
    pub business_date: Option<NaiveDate>,
    /// Days of which it has every payment.
    pub covers: Option<(NaiveDate, NaiveDate)>,
    pub rows: i64,
    pub paid: Rows,
    pub refunds: Rows,
}

pub async fn declare(connection: &mut PgConnection, result_file_id: i64, declared: &Declared) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE result_files SET business_date = $2, covers_from = $3, covers_to = $4, declared_rows = $5, paid_count = $6, paid_total = $7,
                refund_count = $8, refund_total = $9
         WHERE result_file_id = $1 AND state <> 'applied'",
    )
    .bind(result_file_id)
    .bind(declared.business_date)
    .bind(declared.covers.map(|(from, _)| from))
    .bind(declared.covers.map(|(_, to)| to))
    .bind(declared.rows)
    .bind(declared.paid.count)
    .bind(declared.paid.total)
    .bind(declared.refunds.count)
    .bind(declared.refunds.total)
    .execute(connection)
    .await
    .map(drop)
}

/// Rows of one kind that came to the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outcome {
    /// `result`, `refund`, `movement` or `unparsable`.
    pub what: String,
    /// Of their code; empty where the code is not known, or there is none.
    pub class: String,
    /// `settle`, `confirm`, `reverse`, `fail`, `unknown`, `noted`, `repeated`, `not_ours`, or a discrepancy's kind.
    pub verdict: String,
}

pub type Outcomes = BTreeMap<Outcome, Rows>;

const JUDGED: &str =
    "SELECT what, COALESCE(class, '') AS class, verdict, count(*) AS count, COALESCE(sum(amount), 0) AS total
                      FROM judged GROUP BY 1, 2, 3";

/// The judged lines of a range.
pub async fn judged(tx: &mut PgConnection) -> sqlx::Result<Outcomes> {
    let rows = sqlx::query(JUDGED).fetch_all(tx).await?;
    Ok(rows.iter().map(|row| (outcome(row, 0), Rows { count: row.get(3), total: row.get(4) })).collect())
}

/// Adds the judged lines of a range to what is counted of a file.
pub async fn count(tx: &mut PgConnection, file: &ResultFile) -> sqlx::Result<()> {
    if file.booked_through == 0 {
        // Of an earlier application that was undone.
        let earlier = sqlx::query("DELETE FROM result_file_rows WHERE result_file_id = $1");
        earlier.bind(file.result_file_id).execute(&mut *tx).await?;
    }
    let sql = format!(
        "INSERT INTO result_file_rows AS r (result_file_id, what, class, verdict, count, total)
         SELECT $1, j.* FROM ({JUDGED}) j
         ON CONFLICT (result_file_id, what, class, verdict) DO UPDATE
             SET count = r.count + excluded.count, total = r.total + excluded.total"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql)).bind(file.result_file_id).execute(tx).await.map(drop)
}

/// What is counted of these files.
pub async fn of_files(connection: &mut PgConnection, files: &[i64]) -> sqlx::Result<Vec<(i64, Outcome, Rows)>> {
    let rows = sqlx::query(
        "SELECT result_file_id, what, class, verdict, count, total FROM result_file_rows
         WHERE result_file_id = ANY ($1) ORDER BY 1, 2, 3, 4",
    );
    let rows = rows.bind(files).fetch_all(connection).await?;
    Ok(rows.iter().map(|row| (row.get(0), outcome(row, 1), Rows { count: row.get(4), total: row.get(5) })).collect())
}

fn outcome(row: &sqlx::postgres::PgRow, first: usize) -> Outcome {
    Outcome { what: row.get(first), class: row.get(first + 1), verdict: row.get(first + 2) }
}

/// A judged line about which somebody would have to decide.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct WrongLine {
    pub line_no: i64,
    pub kind: String,
    pub order_no: Option<String>,
    /// Of the whole order.
    pub amount_ours: Option<Decimal>,
    pub amount_theirs: Option<Decimal>,
    pub code: Option<String>,
    /// Why it cannot be read.
    pub detail: Option<String>,
}

/// The first of them.
pub async fn wrong_lines(tx: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<WrongLine>> {
    sqlx::query_as(
        "SELECT line_no, verdict AS kind, COALESCE(order_no, their_order_no) AS order_no, ours AS amount_ours, amount AS amount_theirs,
                code, fault AS detail
         FROM judged
         WHERE verdict NOT IN ('settle', 'confirm', 'reverse', 'fail', 'unknown', 'noted', 'repeated', 'not_ours')
         ORDER BY line_no LIMIT $1",
    )
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// The same of a file that is booked.
pub async fn wrong_lines_booked(
    connection: &mut PgConnection,
    result_file_id: i64,
    limit: i64,
) -> sqlx::Result<Vec<WrongLine>> {
    sqlx::query_as(
        "SELECT line_no, min(kind) AS kind, min(order_no) AS order_no, sum(amount_ours) AS amount_ours, sum(amount_theirs) AS amount_theirs,
                min(code) AS code, min(detail) AS detail
         FROM discrepancies WHERE result_file_id = $1 AND line_no IS NOT NULL
         GROUP BY line_no ORDER BY line_no LIMIT $2",
    )
    .bind(result_file_id)
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// The judged lines make way for those of the next range in the same transaction.
pub async fn forget(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("DROP TABLE judged").execute(tx).await.map(drop)
}
