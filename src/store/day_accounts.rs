//! The account of a gateway's day, counted from the rows themselves. Called by stage `day_account`, in one snapshot.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use crate::domain::day_account::{DayFile, Item};
use crate::domain::rows::Rows;

/// Which account: of a gateway, maybe of one bank, on a day.
#[derive(Debug, Clone)]
pub struct Scope {
    pub gateway: String,
    pub bank_code: Option<String>,
    pub day: NaiveDate,
    /// The day's first instant, and that of the next.
    pub begin: DateTime<Utc>,
    pub end: DateTime<Utc>,
}

/// Orders sent on the day that have come to the same end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub status: String,
    pub bank_code: String,
    pub code: String,
    pub rows: Rows,
}

/// What the request files and online orders of the day come to.
pub async fn sent(tx: &mut PgConnection, scope: &Scope) -> sqlx::Result<Rows> {
    let row = sqlx::query(
        "SELECT COALESCE(sum(count), 0)::bigint, COALESCE(sum(total), 0) FROM (
             SELECT sum(items) AS count, sum(total) AS total FROM request_files
             WHERE gateway = $1 AND ($2::text IS NULL OR bank_code = $2) AND state = 'delivered' AND delivered_at >= $3 AND delivered_at < $4
             UNION ALL
             SELECT sum(items), sum(amount) FROM online_orders
             WHERE gateway = $1 AND $2 IS NULL AND state = 'started' AND started_at >= $3 AND started_at < $4) s",
    );
    let row = bound(row, scope).fetch_one(tx).await?;
    Ok(Rows { count: row.get(0), total: row.get(1) })
}

pub async fn ended(tx: &mut PgConnection, scope: &Scope) -> sqlx::Result<Vec<Ended>> {
    let rows = bound(sqlx::query(include_str!("sql/day_sent.sql")), scope).fetch_all(tx).await?;
    let ended = |row: &PgRow| Ended {
        status: row.get("status"),
        bank_code: row.get("bank_code"),
        code: row.get("code"),
        rows: figures(row, "count", "total"),
    };
    Ok(rows.iter().map(ended).collect())
}

fn bound<'q>(
    query: sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>,
    scope: &'q Scope,
) -> sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments> {
    query.bind(&scope.gateway).bind(&scope.bank_code).bind(scope.begin).bind(scope.end)
}

fn figures(row: &PgRow, count: &str, total: &str) -> Rows {
    Rows { count: row.get(count), total: row.get(total) }
}

fn declared(row: &PgRow, count: &str, total: &str) -> Option<Rows> {
    let (count, total): (Option<i64>, Option<Decimal>) = (row.get(count), row.get(total));
    Some(Rows { count: count?, total: total? })
}

/// The day's applied files; what is wrong with their rows is [`wrong_rows`].
pub async fn files(tx: &mut PgConnection, scope: &Scope) -> sqlx::Result<Vec<DayFile>> {
    let rows =
        sqlx::query(include_str!("sql/day_files.sql")).bind(&scope.gateway).bind(&scope.bank_code).bind(scope.day);
    let file = |row: &PgRow| {
        let covers: (Option<NaiveDate>, Option<NaiveDate>) = (row.get("covers_from"), row.get("covers_to"));
        DayFile {
            result_file_id: row.get("result_file_id"),
            file_name: row.get("file_name"),
            bank_code: row.get("bank_code"),
            covers: covers.0.zip(covers.1).filter(|(from, to)| from != to),
            rows: row.get("rows"),
            declared_rows: row.get("declared_count"),
            declared_success: declared(row, "declared_success_count", "declared_success_total"),
            declared_refund: declared(row, "declared_refund_count", "declared_refund_total"),
            settled: figures(row, "settled_count", "settled_total"),
            known: figures(row, "known_success_count", "known_success_total"),
            reversed: figures(row, "reversed_count", "reversed_total"),
            wrong: Vec::new(),
        }
    };
    Ok(rows.fetch_all(tx).await?.iter().map(file).collect())
}

/// Rows of these files that became discrepancies: file, kind, code.
pub async fn wrong_rows(
    tx: &mut PgConnection,
    files: &[i64],
) -> sqlx::Result<Vec<(i64, String, Option<String>, Rows)>> {
    let rows = sqlx::query(
        "SELECT result_file_id, kind, code, count(DISTINCT line_no), COALESCE(sum(amount_theirs), 0) AS total FROM discrepancies
         WHERE result_file_id = ANY($1) AND line_no IS NOT NULL GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
    );
    let rows = rows.bind(files).fetch_all(tx).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), figures(row, "count", "total"))).collect())
}

pub async fn refused_files(tx: &mut PgConnection, scope: &Scope) -> sqlx::Result<i64> {
    let count = sqlx::query(
        "SELECT count(*) FROM result_files
         WHERE gateway = $1 AND ($2::text IS NULL OR bank_code = $2) AND state = 'refused' AND received_at >= $3 AND received_at < $4",
    );
    Ok(bound(count, scope).fetch_one(tx).await?.get(0))
}

/// Open discrepancies by kind: of these files, and of those orders sent on the day that other files or messages were about.
pub async fn open_discrepancies(
    tx: &mut PgConnection,
    scope: &Scope,
    files: &[i64],
) -> sqlx::Result<BTreeMap<String, Rows>> {
    let rows = sqlx::query(
        "SELECT d.kind, count(*), COALESCE(sum(d.amount_theirs), 0) AS total FROM discrepancies d
         WHERE d.state = 'open' AND d.gateway = $1 AND ($2::text IS NULL OR d.bank_code = $2)
           AND (d.result_file_id = ANY($5)
                OR EXISTS (SELECT FROM attempts a JOIN request_files f ON f.run_id = a.run_id AND f.lane = a.lane
                               AND a.order_no BETWEEN f.first_order_no AND f.last_order_no
                           WHERE a.order_no = d.order_no AND f.state = 'delivered' AND f.delivered_at >= $3 AND f.delivered_at < $4)
                OR EXISTS (SELECT FROM online_orders o WHERE o.order_no = d.order_no AND o.started_at >= $3 AND o.started_at < $4))
         GROUP BY 1 ORDER BY 1",
    );
    let rows = bound(rows, scope).bind(files).fetch_all(tx).await?;
    Ok(rows.iter().map(|row| (row.get("kind"), figures(row, "count", "total"))).collect())
}

/// Lines of these files that became discrepancies, behind one of them; each with its number.
pub async fn wrong_items(
    tx: &mut PgConnection,
    files: &[i64],
    behind: i64,
    limit: i64,
) -> sqlx::Result<Vec<(i64, Item)>> {
    let rows = sqlx::query(
        "SELECT discrepancy_id, kind AS what, result_file_id, line_no, order_no, code, state, amount_ours, amount_theirs, detail
         FROM discrepancies WHERE result_file_id = ANY($1) AND line_no IS NOT NULL AND discrepancy_id > $2
         ORDER BY discrepancy_id LIMIT $3",
    );
    let rows = rows.bind(files).bind(behind).bind(limit).fetch_all(tx).await?;
    Ok(rows.iter().map(|row| (row.get(0), item(row))).collect())
}

/// Orders sent on the day of which nobody can say what has become of them, behind one of them.
pub async fn unanswered_items(
    tx: &mut PgConnection,
    scope: &Scope,
    behind: (&str, i16),
    limit: i64,
) -> sqlx::Result<Vec<((String, i16), Item)>> {
    let rows = sqlx::query(
        "SELECT s.order_no, s.item, CASE s.state WHEN 'unknown' THEN 'unknown' ELSE 'not_answered' END AS what,
                NULL::bigint AS result_file_id, NULL::bigint AS line_no, NULL AS code, NULL AS state, s.amount AS amount_ours,
                NULL::numeric AS amount_theirs, NULL AS detail
         FROM (SELECT a.* FROM request_files f
               JOIN attempts a ON a.run_id = f.run_id AND a.lane = f.lane AND a.order_no BETWEEN f.first_order_no AND f.last_order_no
               WHERE f.gateway = $1 AND ($2::text IS NULL OR f.bank_code = $2) AND f.state = 'delivered'
                 AND f.delivered_at >= $3 AND f.delivered_at < $4
               UNION ALL
               SELECT a.* FROM online_orders o JOIN attempts a ON a.order_no = o.order_no AND a.payer_id = o.payer_id AND a.run_id IS NULL
               WHERE o.gateway = $1 AND $2 IS NULL AND o.state = 'started' AND o.started_at >= $3 AND o.started_at < $4) s
         WHERE s.state IN ('planned', 'sent', 'unknown') AND (s.order_no, s.item) > ($5, $6)
           AND NOT EXISTS (SELECT FROM settlements p WHERE p.order_no = s.order_no AND p.payer_id = s.payer_id AND p.item = s.item)
         ORDER BY s.order_no, s.item LIMIT $7",
    );
    let rows = bound(rows, scope).bind(behind.0).bind(behind.1).bind(limit).fetch_all(tx).await?;
    Ok(rows.iter().map(|row| ((row.get("order_no"), row.get("item")), item(row))).collect())
}

fn item(row: &PgRow) -> Item {
    Item {
        what: row.get("what"),
        result_file_id: row.get("result_file_id"),
        line_no: row.get("line_no"),
        order_no: row.get("order_no"),
        code: row.get("code"),
        state: row.get("state"),
        amount_ours: row.get("amount_ours"),
        amount_theirs: row.get("amount_theirs"),
        detail: row.get("detail"),
    }
}
