//! The account of a gateway's day, counted from the rows themselves. Called by stage `day_account`, in one snapshot.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row};

use crate::domain::day_account::{DayFile, Ended, Item, Reported, Side};
use crate::domain::rows::Rows;

const DISCREPANCIES: &str = include_str!("sql/day_discrepancies.sql");

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

fn bound<'q>(query: Query<'q, Postgres, PgArguments>, scope: &'q Scope) -> Query<'q, Postgres, PgArguments> {
    query.bind(&scope.gateway).bind(&scope.bank_code).bind(scope.begin).bind(scope.end)
}

fn figures(row: &PgRow, count: &str, total: &str) -> Rows {
    Rows { count: row.get(count), total: row.get(total) }
}

fn declared(row: &PgRow, count: &str, total: &str) -> Option<Rows> {
    let (count, total): (Option<i64>, Option<Decimal>) = (row.get(count), row.get(total));
    Some(Rows { count: count?, total: total? })
}

/// What the request files and online orders of the day come to.
pub async fn sent(tx: &mut PgConnection, scope: &Scope) -> sqlx::Result<Rows> {
    let row = sqlx::query(
        "SELECT COALESCE(sum(count), 0)::bigint AS count, COALESCE(sum(total), 0) AS total FROM (
             SELECT sum(items) AS count, sum(total) AS total FROM request_files
             WHERE gateway = $1 AND ($2::text IS NULL OR bank_code = $2) AND state = 'delivered' AND delivered_at >= $3 AND delivered_at < $4
             UNION ALL
             SELECT sum(items), sum(amount) FROM online_orders
             WHERE gateway = $1 AND $2 IS NULL AND state = 'started' AND started_at >= $3 AND started_at < $4) s",
    );
    Ok(figures(&bound(row, scope).fetch_one(tx).await?, "count", "total"))
}

/// The same orders by what has become of them.
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

/// Online payments that channels have reported as of the day, by the gateway's time.
pub async fn reported(tx: &mut PgConnection, scope: &Scope) -> sqlx::Result<Reported> {
    let rows = sqlx::query(
        "SELECT CASE WHEN v.order_no IS NOT NULL THEN 'reversed' WHEN c.order_no IS NOT NULL THEN 'confirmed' ELSE 'not_confirmed' END AS status,
                count(*) AS count, sum(s.amount) AS total
         FROM settlements s
         LEFT JOIN reversals v ON v.order_no = s.order_no AND v.payer_id = s.payer_id AND v.item = s.item
         LEFT JOIN confirmations c ON c.order_no = s.order_no AND c.payer_id = s.payer_id
         WHERE s.gateway = $1 AND ($2::text IS NULL OR s.bank_code = $2) AND s.message_id IS NOT NULL
           AND s.settled_at >= $3 AND s.settled_at < $4
         GROUP BY 1",
    );
    let mut reported = Reported::default();
    for row in bound(rows, scope).fetch_all(tx).await? {
        let rows = figures(&row, "count", "total");
        match row.get("status") {
            "confirmed" => reported.confirmed = rows,
            "reversed" => reported.reversed = rows,
            _ => reported.not_confirmed = rows,
        }
    }
    Ok(reported)
}

/// The day's applied files; what explains their differences is in [`super::file_rows`].
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
            declared_rows: row.get("declared_rows"),
            payments: Side {
                declared: declared(row, "paid_count", "paid_total"),
                held: vec![
                    ("settled by it", figures(row, "settled_count", "settled_total")),
                    ("confirmed by it", figures(row, "confirmed_count", "confirmed_total")),
                ],
                not_taken: row.get("not_taken"),
                ..Side::default()
            },
            refunds: Side {
                declared: declared(row, "refund_count", "refund_total"),
                held: vec![("noted by it", figures(row, "refunded_count", "refunded_total"))],
                ..Side::default()
            },
            reversed: figures(row, "reversed_count", "reversed_total"),
        }
    };
    Ok(rows.fetch_all(tx).await?.iter().map(file).collect())
}

pub async fn refused_files(tx: &mut PgConnection, scope: &Scope) -> sqlx::Result<i64> {
    let count = sqlx::query(
        "SELECT count(*) FROM result_files
         WHERE gateway = $1 AND ($2::text IS NULL OR bank_code = $2) AND state = 'refused' AND received_at >= $3 AND received_at < $4",
    );
    Ok(bound(count, scope).fetch_one(tx).await?.get(0))
}

/// Every gateway and day that applied files are of.
pub async fn days(connection: &mut PgConnection) -> sqlx::Result<Vec<(String, NaiveDate)>> {
    sqlx::query_as(
        "SELECT DISTINCT f.gateway, COALESCE(b.day, f.business_date, (f.received_at AT TIME ZONE 'Asia/Shanghai')::date)
         FROM result_files f LEFT JOIN bill_days b ON b.result_file_id = f.result_file_id
         WHERE f.state = 'applied' ORDER BY 1, 2",
    )
    .fetch_all(connection)
    .await
}

/// Open discrepancies of the day by kind; their sums are the gateway's, else ours.
pub async fn open_discrepancies(
    tx: &mut PgConnection,
    scope: &Scope,
    files: &[i64],
) -> sqlx::Result<BTreeMap<String, Rows>> {
    let sql = format!(
        "SELECT kind, count(*) AS count, COALESCE(sum(COALESCE(amount_theirs, amount_ours)), 0) AS total
         FROM ({DISCREPANCIES}) d WHERE state = 'open' GROUP BY 1 ORDER BY 1"
    );
    let rows = bound(sqlx::query(AssertSqlSafe(sql)), scope).bind(files).bind(scope.day).fetch_all(tx).await?;
    Ok(rows.iter().map(|row| (row.get("kind"), figures(row, "count", "total"))).collect())
}

/// The discrepancies of the day, behind one of them; each with its number.
pub async fn wrong_items(
    tx: &mut PgConnection,
    scope: &Scope,
    files: &[i64],
    behind: i64,
    limit: i64,
) -> sqlx::Result<Vec<(i64, Item)>> {
    let sql = format!(
        "SELECT *, kind AS what FROM ({DISCREPANCIES}) d WHERE discrepancy_id > $7 ORDER BY discrepancy_id LIMIT $8"
    );
    let rows = bound(sqlx::query(AssertSqlSafe(sql)), scope).bind(files).bind(scope.day).bind(behind).bind(limit);
    Ok(rows.fetch_all(tx).await?.iter().map(|row| (row.get("discrepancy_id"), item(row))).collect())
}

/// Orders sent on the day of which nobody can say what has become of them, and payments reported as of it that no bill has
/// yet, behind one of them.
pub async fn unanswered_items(
    tx: &mut PgConnection,
    scope: &Scope,
    behind: (&str, i16),
    limit: i64,
) -> sqlx::Result<Vec<((String, i16), Item)>> {
    let rows = sqlx::query(include_str!("sql/day_unanswered.sql"));
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
