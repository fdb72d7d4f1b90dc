//! Request files: made as ranges of order numbers when a run is sealed, rendered and handed over one by one.

use chrono::{DateTime, NaiveDate, Utc};
use futures::TryStreamExt;
use rust_decimal::Decimal;
use sqlx::{PgConnection, Row};

use super::outbox::CHUNK_MAX;
use super::runs::order_prefix;

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
    pub batch_date: Option<NaiveDate>,
    pub batch_no: Option<i32>,
    pub delivery_epoch: Option<i64>,
    pub sealed_at: Option<DateTime<Utc>>,
    pub delivering_at: Option<DateTime<Utc>>,
    pub delivered_at: Option<DateTime<Utc>>,
    pub handed_over_at: Option<DateTime<Utc>>,
}

const COLUMNS: &str = "file_id, run_id, lane, part, gateway, bank_code, file_name, first_order_no, last_order_no, state, \
                       items, total, sha256, held_reason, batch_date, batch_no, delivery_epoch, sealed_at, delivering_at, \
                       delivered_at, handed_over_at";

/// What a file needs of an attempt; account and name as stored, encrypted.
#[derive(Debug)]
pub struct Item<'r> {
    pub order_no: &'r str,
    pub agreement_no: &'r str,
    /// Account and its holder, where the agreement is still with the file's bank.
    pub account: Option<(&'r [u8], &'r [u8])>,
    pub amount: Decimal,
}

/// A part of a lane: the range of orders that one file will hold.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Part {
    pub lane: i16,
    pub gateway: String,
    pub bank_code: String,
    pub part: i32,
    pub batch_no: i32,
    pub first_order_no: String,
    pub last_order_no: String,
}

/// Who gets files of a run: gateway and bank code of the lanes with attempts.
pub async fn destinations(tx: &mut PgConnection, run_id: i64) -> sqlx::Result<Vec<(String, String)>> {
    sqlx::query_as("SELECT gateway, bank_code FROM run_lanes WHERE run_id = $1 AND attempts > 0 ORDER BY lane")
        .bind(run_id)
        .fetch_all(tx)
        .await
}

/// The most items in one file for a destination.
#[derive(Debug)]
pub struct Limit<'a> {
    pub gateway: &'a str,
    pub bank_code: &'a str,
    pub items_max: i64,
}

/// Cuts the numbers that a run has given into files of at most `items_max`; what has been withdrawn meanwhile leaves its
/// file smaller, or empty. So nothing is counted again, however large the run is. Every
/// destination of the run has its limit. A file's batch number goes on from those of that day; the caller owns the gate.
pub async fn cut(
    tx: &mut PgConnection,
    run_id: i64,
    limits: &[Limit<'_>],
    batch_date: NaiveDate,
) -> sqlx::Result<Vec<Part>> {
    sqlx::query_as(
        "WITH lanes AS (
             SELECT l.lane, l.gateway, l.bank_code, l.attempts, m.items_max,
                    (SELECT COALESCE(max(f.batch_no), 0) FROM request_files f
                     WHERE f.gateway = l.gateway AND f.bank_code = l.bank_code AND f.batch_date = $5) AS last_no
             FROM run_lanes l
             JOIN unnest($2::text[], $3::text[], $4::bigint[]) AS m (gateway, bank_code, items_max)
                 ON m.gateway = l.gateway AND m.bank_code = l.bank_code
             WHERE l.run_id = $1
         )
         SELECT l.lane, l.gateway, l.bank_code, n.part::int AS part, l.last_no + n.part::int AS batch_no,
                $6 || lpad(l.lane::text, 3, '0') || lpad(((n.part - 1) * l.items_max + 1)::text, 8, '0') AS first_order_no,
                $6 || lpad(l.lane::text, 3, '0') || lpad(least(n.part * l.items_max, l.attempts)::text, 8, '0') AS last_order_no
         FROM lanes l CROSS JOIN LATERAL generate_series(1, (l.attempts + l.items_max - 1) / l.items_max) AS n (part)
         ORDER BY l.lane, n.part",
    )
    .bind(run_id)
    .bind(limits.iter().map(|limit| limit.gateway).collect::<Vec<_>>())
    .bind(limits.iter().map(|limit| limit.bank_code).collect::<Vec<_>>())
    .bind(limits.iter().map(|limit| limit.items_max).collect::<Vec<_>>())
    .bind(batch_date)
    .bind(order_prefix(run_id))
    .fetch_all(tx)
    .await
}

pub async fn insert_open(
    tx: &mut PgConnection,
    run_id: i64,
    batch_date: NaiveDate,
    parts: &[(Part, String)],
) -> sqlx::Result<()> {
    for (part, file_name) in parts {
        sqlx::query(
            "INSERT INTO request_files (run_id, lane, part, gateway, bank_code, file_name, first_order_no, last_order_no, state,
                                        batch_date, batch_no)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'open', $9, $10)",
        )
        .bind(run_id)
        .bind(part.lane)
        .bind(part.part)
        .bind(&part.gateway)
        .bind(&part.bank_code)
        .bind(file_name)
        .bind(&part.first_order_no)
        .bind(&part.last_order_no)
        .bind(batch_date)
        .bind(part.batch_no)
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

/// How many orders a gateway's request file of that name has, once it is sealed.
pub async fn items_sealed(connection: &mut PgConnection, gateway: &str, file_name: &str) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar(
        "SELECT items FROM request_files
         WHERE gateway = $1 AND file_name = $2 AND state IN ('sealed', 'delivering', 'delivered')",
    )
    .bind(gateway)
    .bind(file_name)
    .fetch_optional(connection)
    .await
}

/// Which files a list shows; `None` is any.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    pub run_id: Option<i64>,
    pub state: Option<&'a str>,
    /// Whether it waits for a person.
    pub held: Option<bool>,
}

/// Files behind a key, in the order of their keys.
pub async fn list(
    connection: &mut PgConnection,
    filter: Filter<'_>,
    after: i64,
    limit: i64,
) -> sqlx::Result<Vec<RequestFile>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM request_files WHERE file_id > $1 AND ($3::bigint IS NULL OR run_id = $3)
             AND ($4::text IS NULL OR state = $4)
             AND ($5::bool IS NULL OR (held_reason IS NOT NULL) = $5) ORDER BY file_id LIMIT $2"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(after)
        .bind(limit)
        .bind(filter.run_id)
        .bind(filter.state)
        .bind(filter.held)
        .fetch_all(connection)
        .await
}

pub async fn get(connection: &mut PgConnection, file_id: i64) -> sqlx::Result<Option<RequestFile>> {
    let sql = format!("SELECT {COLUMNS} FROM request_files WHERE file_id = $1");
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(file_id).fetch_optional(connection).await
}

/// Hands over the items of a file, in the order of their numbers. One walk along the key of the attempts, with a look at
/// each one's agreement: what it costs depends on the file and not on how many payers there are. Ends with the transaction.
pub async fn each_item<E: From<sqlx::Error>>(
    tx: &mut PgConnection,
    file: &RequestFile,
    mut each: impl FnMut(Item<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let walk = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off;
                SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_material = off; SET LOCAL jit = off";
    sqlx::raw_sql(walk).execute(&mut *tx).await?;
    let mut rows = sqlx::query(
        "SELECT a.order_no, a.agreement_no, a.amount,
                CASE WHEN g.gateway = $4 AND lane_bank(g.gateway, g.bank_code) = $5 THEN g.account_no END AS account_no,
                CASE WHEN g.gateway = $4 AND lane_bank(g.gateway, g.bank_code) = $5 THEN g.account_name END AS account_name
         FROM attempts a
         LEFT JOIN agreements g ON g.payer_id = a.payer_id AND g.agreement_no = a.agreement_no
         WHERE a.order_no BETWEEN $1 AND $2 AND a.run_id = $3 AND a.state = 'planned'
         ORDER BY a.order_no",
    )
    .bind(&file.first_order_no)
    .bind(&file.last_order_no)
    .bind(file.run_id)
    .bind(&file.gateway)
    .bind(&file.bank_code)
    .fetch(tx);
    while let Some(row) = rows.try_next().await? {
        let account: (Option<&[u8]>, Option<&[u8]>) = (row.try_get(3)?, row.try_get(4)?);
        let account = account.0.zip(account.1);
        let (order_no, agreement_no) = (row.try_get(0)?, row.try_get(1)?);
        each(Item { order_no, agreement_no, account, amount: row.try_get(2)? })?;
    }
    Ok(())
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

/// From now on it may lie in the folder. `epoch`: of the lease under which its part was written; none where it is with the
/// bank by other ways.
pub async fn set_delivering(
    tx: &mut PgConnection,
    file_id: i64,
    epoch: Option<i64>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE request_files SET state = 'delivering', delivery_epoch = $2, delivering_at = $3
         WHERE file_id = $1 AND state = 'sealed'",
    )
    .bind(file_id)
    .bind(epoch)
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

/// It lies in the folder, whole and flagged: put there by us.
pub async fn note_hand_over(tx: &mut PgConnection, file_id: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query("UPDATE request_files SET handed_over_at = $2 WHERE file_id = $1")
        .bind(file_id)
        .bind(now)
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
