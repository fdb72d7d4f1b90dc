//! What judged lines would come to. Called by the stage that looks at a result file without applying it, after
//! [`super::results`] has judged a range of it.

use rust_decimal::Decimal;
use sqlx::{PgConnection, Row};

use crate::domain::rows::Rows;

/// Verdicts that need no person.
const IN_ORDER: &str = "('settle', 'fail', 'unknown', 'noted', 'repeated')";

/// A line that would become a discrepancy.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct WrongLine {
    pub line_no: i64,
    pub kind: String,
    pub order_no: Option<String>,
    pub amount_ours: Option<Decimal>,
    pub amount_theirs: Option<Decimal>,
    pub code: Option<String>,
    /// Why it cannot be read.
    pub detail: Option<String>,
}

/// The judged lines by verdict.
pub async fn verdicts(tx: &mut PgConnection) -> sqlx::Result<Vec<(String, Rows)>> {
    let rows = sqlx::query("SELECT verdict, count(*), COALESCE(sum(amount), 0) FROM judged GROUP BY verdict");
    let verdict = |row: &sqlx::postgres::PgRow| (row.get(0), Rows { count: row.get(1), total: row.get(2) });
    Ok(rows.fetch_all(tx).await?.iter().map(verdict).collect())
}

/// The first judged lines about which somebody would have to decide.
pub async fn wrong_lines(tx: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<WrongLine>> {
    let sql = format!(
        "SELECT line_no, verdict AS kind, order_no, ours AS amount_ours, amount AS amount_theirs, code, fault AS detail
         FROM judged WHERE verdict NOT IN {IN_ORDER} ORDER BY line_no LIMIT $1"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(limit).fetch_all(tx).await
}
