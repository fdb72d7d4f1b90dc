//! What the staged lines of a gateway's bill do to the book: a range of them is judged, then booked, as one set each.
//! Called by stage `reconcile`, which owns the gate. What events show of it is in [`super::bill_news`].

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{PgConnection, Row};

use super::result_files::{Booked, ResultFile};
use super::results::literal;
use super::reversals::{Evidence, NewReversal};

/// Verdicts that need no person.
const IN_ORDER: &str = "('settle', 'confirm', 'reverse', 'fail', 'unknown', 'noted', 'repeated', 'not_ours')";

/// Looks at the file as a whole: what is booked behind what.
pub async fn rank(connection: &mut PgConnection, last_line: i64) -> sqlx::Result<()> {
    let sql = include_str!("sql/rank_bill.sql").replace("$1", &last_line.to_string());
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(connection).await.map(drop)
}

/// The end of the next range behind a place, and whether it is the file's last. Lines of different passes are never in
/// one range: what a line finds, an earlier range has booked.
pub async fn next_range(
    connection: &mut PgConnection,
    last_line: i64,
    behind: i64,
    range_max: i64,
) -> sqlx::Result<(i64, bool)> {
    let (next, end): (Option<i64>, i64) = sqlx::query_as(
        "SELECT min(place) FILTER (WHERE place > $1), COALESCE(max(place), 0) FROM bill_ranks WHERE place > $2",
    )
    .bind(behind.max(last_line))
    .bind(last_line)
    .fetch_one(connection)
    .await?;
    let through = match next {
        Some(next) if behind >= last_line => {
            let end_of_pass = (next - 1) / last_line * last_line + last_line;
            end_of_pass.min(next - 1 + range_max)
        }
        _ => last_line.min(behind + range_max),
    };
    Ok((through, through >= end.max(last_line)))
}

/// Judges the staged lines at the places behind `file.booked_through`, at most up to `through`, one verdict each. Returns
/// the runs they are about. The caller holds the gate and the file's lock.
pub async fn judge(
    tx: &mut PgConnection,
    file: &ResultFile,
    through: i64,
    last_line: i64,
    ours: &[String],
) -> sqlx::Result<Vec<i64>> {
    // As for results: a range is small against the book.
    sqlx::raw_sql(
        "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off;
         SET LOCAL default_statistics_target = 1; SET LOCAL work_mem = '32MB'; SET LOCAL jit = off",
    )
    .execute(&mut *tx)
    .await?;
    let patterns: Vec<String> = ours.iter().map(|pattern| literal(&like(pattern))).collect();
    // A utility statement takes no parameters, so they go in as literals: numbers, and texts of our own configuration.
    let judged = include_str!("sql/judge_bill.sql")
        .replace("$1", &literal(&file.gateway))
        .replace("$2", &literal(&file.bank_code))
        .replace("$3", &file.booked_through.to_string())
        .replace("$4", &through.to_string())
        .replace("$5", &last_line.to_string())
        .replace("$6", &format!("ARRAY[{}]::text[]", patterns.join(", ")));
    sqlx::query(sqlx::AssertSqlSafe(judged)).execute(&mut *tx).await?;
    sqlx::query("ANALYZE judged").execute(&mut *tx).await?;
    let runs = sqlx::query("SELECT DISTINCT run_id FROM judged WHERE run_id IS NOT NULL ORDER BY run_id");
    Ok(runs.fetch_all(tx).await?.iter().map(|row| row.get(0)).collect())
}

/// A pattern of ours, in which `*` stands for anything, as LIKE has it.
fn like(pattern: &str) -> String {
    let escaped = pattern.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    escaped.replace('*', "%")
}

/// Books every judged line but the reversals, which are [`to_reverse`]. Returns what they came to.
pub async fn book(tx: &mut PgConnection, file: &ResultFile, through: i64, now: DateTime<Utc>) -> sqlx::Result<Booked> {
    sqlx::query("UPDATE result_files SET is_bill = true WHERE result_file_id = $1 AND NOT is_bill")
        .bind(file.result_file_id)
        .execute(&mut *tx)
        .await?;
    for statement in [
        include_str!("sql/settle_bill.sql"),
        include_str!("sql/confirm_bill.sql"),
        include_str!("sql/dispute_bill.sql"),
        "INSERT INTO refunds (gateway, bank_code, refund_no, state, order_no, gateway_txn_no, amount, refunded_at, result_file_id, line_no, booked_at)
         SELECT $1, $2, refund_no, code, their_order_no, gateway_txn_no, amount, settled_at, $3, line_no, $4
         FROM judged WHERE what = 'refund' AND verdict NOT IN ('repeated', 'not_ours')",
    ] {
        sqlx::query(statement)
            .bind(&file.gateway)
            .bind(&file.bank_code)
            .bind(file.result_file_id)
            .bind(now)
            .execute(&mut *tx)
            .await?;
    }
    sqlx::query(include_str!("sql/fail_bill.sql")).bind(file.result_file_id).bind(now).execute(&mut *tx).await?;
    let counted = format!(
        "SELECT $1::bigint AS through, count(*) FILTER (WHERE verdict IN ('settle', 'confirm', 'reverse', 'fail', 'unknown', 'noted')) AS applied,
                count(*) FILTER (WHERE verdict = 'repeated') AS repeated, count(*) FILTER (WHERE verdict = 'not_ours') AS not_ours,
                count(*) FILTER (WHERE verdict NOT IN {IN_ORDER}) AS discrepancies
         FROM judged"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(counted)).bind(through).fetch_one(tx).await
}

/// A settlement whose money went back, by a line of this or an earlier file.
#[derive(Debug, sqlx::FromRow)]
pub struct ToReverse {
    order_no: String,
    payer_id: String,
    item: i16,
    result_file_id: i64,
    line_no: i64,
    refund_no: Option<String>,
    reversed_at: DateTime<Utc>,
}

impl ToReverse {
    pub fn key(&self) -> (&str, i16) {
        (&self.order_no, self.item)
    }

    pub fn causation(&self) -> String {
        format!("result_file:{}#{}", self.result_file_id, self.line_no)
    }

    pub fn reversal(&self) -> NewReversal<'_> {
        NewReversal {
            order_no: &self.order_no,
            payer_id: &self.payer_id,
            item: self.item,
            evidence: Evidence::Line { result_file_id: self.result_file_id, line_no: self.line_no },
            gateway_txn_no: self.refund_no.as_deref(),
            reversed_at: self.reversed_at,
        }
    }
}

/// What the judged lines reverse: what they say themselves, and what an earlier file has refunded that only these settle.
pub async fn to_reverse(tx: &mut PgConnection, file: &ResultFile, now: DateTime<Utc>) -> sqlx::Result<Vec<ToReverse>> {
    sqlx::query_as(
        "SELECT s.order_no, s.payer_id, s.item, $1::bigint AS result_file_id, j.line_no, j.refund_no, COALESCE(j.settled_at, $4) AS reversed_at
         FROM judged j JOIN settlements s ON s.order_no = j.order_no AND s.payer_id = j.payer_id
         WHERE j.verdict = 'reverse'
         UNION ALL
         SELECT s.order_no, s.payer_id, s.item, r.result_file_id, r.line_no, r.refund_no, COALESCE(r.refunded_at, $4)
         FROM judged j
         JOIN LATERAL (SELECT r.* FROM refunds r
                       WHERE r.order_no = j.their_order_no AND r.gateway = $2 AND r.bank_code = $3 AND r.state = 'succeeded' AND r.amount = j.ours
                         AND (r.gateway_txn_no IS NULL OR j.gateway_txn_no IS NULL OR r.gateway_txn_no = j.gateway_txn_no)
                       ORDER BY r.refunded_at, r.refund_no LIMIT 1) r ON true
         JOIN settlements s ON s.order_no = j.order_no AND s.payer_id = j.payer_id
         WHERE j.verdict = 'settle'
         ORDER BY 1, 3",
    )
    .bind(file.result_file_id)
    .bind(&file.gateway)
    .bind(&file.bank_code)
    .bind(now)
    .fetch_all(tx)
    .await
}

/// Settlements of these online orders that earlier bills have refunded whole.
pub async fn refunded(tx: &mut PgConnection, order_nos: &[String], now: DateTime<Utc>) -> sqlx::Result<Vec<ToReverse>> {
    sqlx::query_as(
        "SELECT s.order_no, s.payer_id, s.item, r.result_file_id, r.line_no, r.refund_no, COALESCE(r.refunded_at, $2) AS reversed_at
         FROM unnest($1::text[]) AS k (order_no)
         JOIN online_orders o ON o.order_no = k.order_no
         JOIN settlements s ON s.order_no = o.order_no AND s.payer_id = o.payer_id
         JOIN LATERAL (SELECT r.* FROM refunds r
                       WHERE r.order_no = o.order_no AND r.gateway = o.gateway AND r.bank_code = '' AND r.state = 'succeeded'
                         AND r.amount = o.amount
                         AND (r.gateway_txn_no IS NULL OR s.gateway_txn_no IS NULL OR r.gateway_txn_no = s.gateway_txn_no)
                       ORDER BY r.refunded_at, r.refund_no LIMIT 1) r ON true
         ORDER BY s.order_no, s.item",
    )
    .bind(order_nos)
    .bind(now)
    .fetch_all(tx)
    .await
}

/// Payers behind one about whom the judged lines open discrepancies, at most so many.
pub async fn disputed_payers(tx: &mut PgConnection, behind: &str, limit: i64) -> sqlx::Result<Vec<String>> {
    let sql = format!(
        "SELECT DISTINCT payer_id FROM judged
         WHERE verdict NOT IN {IN_ORDER} AND payer_id > $1 ORDER BY payer_id LIMIT $2"
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(behind).bind(limit).fetch_all(tx).await
}

/// An applied bill has every payment of these days.
pub async fn cover(tx: &mut PgConnection, file: &ResultFile, from: NaiveDate, to: NaiveDate) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO bill_days (gateway, day, result_file_id)
         SELECT $1, day::date, $2 FROM generate_series($3::date, $4::date, interval '1 day') AS day
         ON CONFLICT DO NOTHING",
    )
    .bind(&file.gateway)
    .bind(file.result_file_id)
    .bind(from)
    .bind(to)
    .execute(tx)
    .await
    .map(drop)
}
