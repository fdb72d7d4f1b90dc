//! Request files: made as ranges of order numbers when a run is sealed, rendered and handed over one by one.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;

use super::outbox::CHUNK_MAX;

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct RequestFile {
    pub file_id: i64,
    pub run_id: i64,
    pub lane: i16,
    pub part: i32,
    pub gateway: String,
    pub bank_code: String,
    pub file_name: String,
    pub first_order_no: String,
    pub last_order_no: String,
    pub state: String,
    pub items: Option<i64>,
    pub total: Option<Decimal>,
    pub sha256: Option<Vec<u8>>,
    pub held_reason: Option<String>,
}

const COLUMNS: &str = "file_id, run_id, lane, part, gateway, bank_code, file_name, first_order_no, last_order_no, state, \
                       items, total, sha256, held_reason";

/// What a file needs of an attempt; account and name as stored, encrypted.
#[derive(Debug, sqlx::FromRow)]
pub struct Item {
    pub order_no: String,
    pub agreement_no: String,
    /// Account and its holder, where the agreement is still with the file's bank.
    pub account_no: Option<Vec<u8>>,
    pub account_name: Option<Vec<u8>>,
    pub amount: Decimal,
}

/// A part of a lane: the range of orders that one file will hold.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Part {
    pub lane: i16,
    pub gateway: String,
    pub bank_code: String,
    pub part: i32,
    pub first_order_no: String,
    pub last_order_no: String,
}

/// Cuts the planned attempts of a run into files of at most `items_max` items, in the order of their numbers.
pub async fn cut(tx: &mut PgConnection, run_id: i64, items_max: i64) -> sqlx::Result<Vec<Part>> {
    sqlx::query_as(
        "SELECT n.lane, l.gateway, l.bank_code, n.part, min(n.order_no) AS first_order_no, max(n.order_no) AS last_order_no
         FROM (SELECT lane, order_no, ((row_number() OVER (PARTITION BY lane ORDER BY order_no) - 1) / $2)::int + 1 AS part
               FROM attempts WHERE run_id = $1 AND state = 'planned') n
         JOIN run_lanes l ON l.run_id = $1 AND l.lane = n.lane
         GROUP BY n.lane, l.gateway, l.bank_code, n.part
         ORDER BY n.lane, n.part",
    )
    .bind(run_id)
    .bind(items_max)
    .fetch_all(tx)
    .await
}

pub async fn insert_open(tx: &mut PgConnection, run_id: i64, parts: &[(Part, String)]) -> sqlx::Result<()> {
    for (part, file_name) in parts {
        sqlx::query(
            "INSERT INTO request_files (run_id, lane, part, gateway, bank_code, file_name, first_order_no, last_order_no, state)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'open')",
        )
        .bind(run_id)
        .bind(part.lane)
        .bind(part.part)
        .bind(&part.gateway)
        .bind(&part.bank_code)
        .bind(file_name)
        .bind(&part.first_order_no)
        .bind(&part.last_order_no)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// Files of a run in one of the states, in their order.
pub async fn in_states(connection: &mut PgConnection, run_id: i64, states: &[&str]) -> sqlx::Result<Vec<RequestFile>> {
    let sql = format!("SELECT {COLUMNS} FROM request_files WHERE run_id = $1 AND state = ANY ($2) ORDER BY lane, part");
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(run_id).bind(states).fetch_all(connection).await
}

/// All files, newest run first.
pub async fn all(connection: &mut PgConnection, limit: i64) -> sqlx::Result<Vec<RequestFile>> {
    let sql = format!("SELECT {COLUMNS} FROM request_files ORDER BY run_id DESC, lane, part LIMIT $1");
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(limit).fetch_all(connection).await
}

/// The items of a file, in the order of their numbers.
pub async fn items(connection: &mut PgConnection, file: &RequestFile) -> sqlx::Result<Vec<Item>> {
    sqlx::query_as(
        "SELECT a.order_no, a.agreement_no, g.account_no, g.account_name, a.amount
         FROM attempts a
         LEFT JOIN agreements g ON g.payer_id = a.payer_id AND g.agreement_no = a.agreement_no
             AND g.gateway = $4 AND g.bank_code = $5
         WHERE a.order_no BETWEEN $1 AND $2 AND a.run_id = $3 AND a.state = 'planned'
         ORDER BY a.order_no",
    )
    .bind(&file.first_order_no)
    .bind(&file.last_order_no)
    .bind(file.run_id)
    .bind(&file.gateway)
    .bind(&file.bank_code)
    .fetch_all(connection)
    .await
}

/// Count and sum that the sealed file must agree with, as the database has them.
pub async fn count_and_sum(tx: &mut PgConnection, file: &RequestFile) -> sqlx::Result<(i64, Decimal)> {
    sqlx::query_as(
        "SELECT count(*), COALESCE(sum(amount), 0) FROM attempts
         WHERE order_no BETWEEN $1 AND $2 AND run_id = $3 AND state = 'planned'",
    )
    .bind(&file.first_order_no)
    .bind(&file.last_order_no)
    .bind(file.run_id)
    .fetch_one(tx)
    .await
}

/// The file's row, locked.
pub async fn lock(tx: &mut PgConnection, file_id: i64) -> sqlx::Result<RequestFile> {
    let sql = format!("SELECT {COLUMNS} FROM request_files WHERE file_id = $1 FOR UPDATE");
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(file_id).fetch_one(tx).await
}

pub async fn set_sealed(
    tx: &mut PgConnection,
    file_id: i64,
    items: i64,
    total: Decimal,
    sha256: &[u8],
    content: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE request_files SET state = 'sealed', items = $2, total = $3, sha256 = $4, content = $5, sealed_at = $6
         WHERE file_id = $1 AND state = 'open'",
    )
    .bind(file_id)
    .bind(items)
    .bind(total)
    .bind(sha256)
    .bind(content)
    .bind(now)
    .execute(tx)
    .await
    .map(drop)
}

pub async fn set_empty(tx: &mut PgConnection, file_id: i64) -> sqlx::Result<()> {
    sqlx::query("UPDATE request_files SET state = 'empty' WHERE file_id = $1 AND state = 'open'")
        .bind(file_id)
        .execute(tx)
        .await
        .map(drop)
}

pub async fn set_delivering(tx: &mut PgConnection, file_id: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE request_files SET state = 'delivering', delivering_at = $2 WHERE file_id = $1 AND state = 'sealed'",
    )
    .bind(file_id)
    .bind(now)
    .execute(tx)
    .await
    .map(drop)
}

pub async fn set_held(tx: &mut PgConnection, file_id: i64, reason: &str) -> sqlx::Result<()> {
    sqlx::query("UPDATE request_files SET held_reason = $2 WHERE file_id = $1 AND state = 'delivering'")
        .bind(file_id)
        .bind(reason)
        .execute(tx)
        .await
        .map(drop)
}

/// Marks the file as handed over, and writes the outbox rows for its deductions. `false`: it was marked already.
pub async fn set_delivered(tx: &mut PgConnection, file: &RequestFile, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE request_files SET state = 'delivered', delivered_at = $2, held_reason = NULL
         WHERE file_id = $1 AND state = 'delivering'",
    )
    .bind(file.file_id)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(
        "INSERT INTO outbox (kind, events, scope_id, first_key, last_key, created_at)
         SELECT 'sent', count(*), $1, min(order_no), max(order_no), $2
         FROM (SELECT order_no, (row_number() OVER (ORDER BY order_no) - 1) / $6 AS chunk FROM attempts
               WHERE order_no BETWEEN $3 AND $4 AND run_id = $5 AND state <> 'withdrawn') n
         GROUP BY chunk
         ORDER BY min(order_no)",
    )
    .bind(file.file_id)
    .bind(now)
    .bind(&file.first_order_no)
    .bind(&file.last_order_no)
    .bind(file.run_id)
    .bind(CHUNK_MAX as i64)
    .execute(tx)
    .await?;
    Ok(true)
}

/// The sealed bytes, encrypted as stored.
pub async fn content(connection: &mut PgConnection, file_id: i64) -> sqlx::Result<Vec<u8>> {
    sqlx::query_scalar("SELECT content FROM request_files WHERE file_id = $1 AND content IS NOT NULL")
        .bind(file_id)
        .fetch_one(connection)
        .await
}
