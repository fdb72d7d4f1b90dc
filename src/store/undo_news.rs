//! The rows behind the events of an undo, page by page: orders that are out again or paid again, amounts that are not held
//! any more, and discrepancies that are gone or open again. Called by stage `undo` in the transaction that does it.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::{AssertSqlSafe, PgConnection};

use super::bill_news::{EXPLAINED, Explained, PaidItem};

/// An item of an order, with what is told of it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct UndoneItem {
    pub place: i64,
    /// `undone`, `recorded` or `open`; none where nothing is told of the order.
    pub order_news: Option<String>,
    pub news_sequence: i64,
    /// `paying` or `paid`.
    pub declaration_news: Option<String>,
    pub declaration_sequence: i64,
    pub file_name: Option<String>,
    /// Of the payment that is not recorded any more, or again.
    pub gateway_txn_no: Option<String>,
    pub settled_at: Option<DateTime<Utc>>,
    pub is_confirmed: bool,
    /// `planned`, `sent` or `unknown`, and the code that says why it is unknown.
    pub state_before: String,
    pub unknown_code: Option<String>,
    #[sqlx(flatten)]
    pub item: PaidItem,
}

/// Items behind a place, at most so many.
pub async fn items(tx: &mut PgConnection, behind: i64, limit: i64) -> sqlx::Result<Vec<UndoneItem>> {
    sqlx::query_as(
        "SELECT i.place, i.order_news, i.news_sequence, i.declaration_news, i.declaration_sequence, i.file_name, i.gateway_txn_no, i.settled_at,
                COALESCE(i.stays_confirmed, false) AS is_confirmed, i.state_before, u.code AS unknown_code, i.order_no, i.payer_id, i.item, i.run_id,
                i.declaration_no, i.amount, i.insurance_type, i.kind, i.channel, i.period_from, i.period_to, i.gateway, i.bank_code
         FROM undoing i
         LEFT JOIN LATERAL (SELECT o.code FROM attempt_outcomes o
                            WHERE o.order_no = i.order_no AND o.payer_id = i.payer_id AND o.item = i.item
                            ORDER BY o.sequence DESC LIMIT 1) u ON i.state_before = 'unknown'
         WHERE i.place > $1 ORDER BY i.place LIMIT $2",
    )
    .bind(behind)
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// An amount that is not held any more.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Released {
    pub payer_id: String,
    pub insurance_type: String,
    pub valid_year: i16,
    pub amount: Decimal,
    pub channel: String,
    pub sequence: i64,
}

/// Amounts behind one, in the order of payer, type and year, at most so many.
pub async fn released(tx: &mut PgConnection, behind: (&str, &str, i16), limit: i64) -> sqlx::Result<Vec<Released>> {
    sqlx::query_as(
        "SELECT payer_id, insurance_type, valid_year, amount, channel, sequence FROM releasing
         WHERE (payer_id, insurance_type, valid_year) > ($1, $2, $3)
         ORDER BY payer_id, insurance_type, valid_year LIMIT $4",
    )
    .bind(behind.0)
    .bind(behind.1)
    .bind(behind.2)
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// Discrepancies of the file that are gone, behind a number, at most so many; each with the sequence of that event.
pub async fn gone(tx: &mut PgConnection, undo_id: i64, behind: i64, limit: i64) -> sqlx::Result<Vec<Explained>> {
    let columns = EXPLAINED
        .replace("d.sequence", "d.sequence + 1 AS sequence")
        .replace("d.evidence", "'result_file_undo:' || $1 AS evidence");
    let sql = format!(
        "SELECT {columns}
         FROM undone_rows u CROSS JOIN LATERAL jsonb_populate_record(NULL::discrepancies, u.row) d
         WHERE u.undo_id = $1 AND u.kind = 'discrepancies' AND d.discrepancy_id > $2 ORDER BY d.discrepancy_id LIMIT $3"
    );
    sqlx::query_as(AssertSqlSafe(sql)).bind(undo_id).bind(behind).bind(limit).fetch_all(tx).await
}

/// Opens what the file had explained, at most so many at a time.
pub async fn reopen(tx: &mut PgConnection, result_file_id: i64, limit: i64) -> sqlx::Result<Vec<Explained>> {
    let sql = format!(
        "UPDATE discrepancies d SET state = 'open', evidence = NULL, sequence = d.sequence + 1
         WHERE d.discrepancy_id IN (SELECT discrepancy_id FROM discrepancies
                                    WHERE split_part(evidence, '#', 1) = 'result_file:' || $1 AND state = 'resolved' AND decision_id IS NULL
                                    ORDER BY discrepancy_id LIMIT $2)
         RETURNING {EXPLAINED}"
    );
    let mut rows: Vec<Explained> =
        sqlx::query_as(AssertSqlSafe(sql)).bind(result_file_id).bind(limit).fetch_all(tx).await?;
    rows.sort_by_key(|row| row.discrepancy_id);
    Ok(rows)
}
