//! What the staged lines of a result file do to the book: a range of them is judged, then booked, as one set each. Called by
//! stage `reconcile`, which owns the gate.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Row};

use super::outbox::CHUNK_MAX;
use super::result_files::{Booked, ResultFile};

/// Judges the staged lines behind `file.booked_through`, at most up to `through`, one verdict each. Returns the runs they
/// are about. The caller holds the gate and the file's lock.
pub async fn judge(tx: &mut PgConnection, file: &ResultFile, through: i64) -> sqlx::Result<Vec<i64>> {
    // A small sample of what lives for one range is enough. Keys of a range lie close to each other, and no whole table is
    // read for them, whoever looks.
    let planner =
        "SET LOCAL default_statistics_target = 1; SET LOCAL work_mem = '32MB'; SET LOCAL random_page_cost = 1.1;
         SET LOCAL enable_seqscan = off; SET LOCAL jit = off";
    sqlx::raw_sql(planner).execute(&mut *tx).await?;
    let judged = include_str!("sql/judge_result.sql");
    // A utility statement takes no parameters, so they go in as literals: numbers, and texts of our own configuration.
    let judged = judged
        .replace("$1", &literal(&file.gateway))
        .replace("$2", &literal(&file.bank_code))
        .replace("$3", &file.booked_through.to_string())
        .replace("$4", &through.to_string());
    sqlx::query(sqlx::AssertSqlSafe(judged)).execute(&mut *tx).await?;
    sqlx::query("ANALYZE judged").execute(&mut *tx).await?;
    let runs = sqlx::query("SELECT DISTINCT run_id FROM judged WHERE run_id IS NOT NULL ORDER BY run_id");
    Ok(runs.fetch_all(tx).await?.iter().map(|row| row.get(0)).collect())
}

/// Request files that have not been marked as handed over, though the bank answers orders in them: it has them.
pub async fn answered_undelivered(tx: &mut PgConnection) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "SELECT f.file_id FROM request_files f
         WHERE f.state IN ('sealed', 'delivering')
           AND EXISTS (SELECT FROM judged j JOIN attempts a ON a.order_no = j.order_no AND a.payer_id = j.payer_id
                       WHERE a.run_id = f.run_id AND a.lane = f.lane AND a.state <> 'withdrawn'
                         AND j.order_no BETWEEN f.first_order_no AND f.last_order_no)
         ORDER BY f.file_id",
    )
    .fetch_all(tx)
    .await
}

/// Books every judged line. Returns what they came to.
pub async fn book(tx: &mut PgConnection, file: &ResultFile, through: i64, now: DateTime<Utc>) -> sqlx::Result<Booked> {
    sqlx::query(include_str!("sql/settle.sql"))
        .bind(&file.gateway)
        .bind(&file.bank_code)
        .bind(file.result_file_id)
        .bind(now)
        .execute(&mut *tx)
        .await?;
    sqlx::query(include_str!("sql/fail.sql")).bind(file.result_file_id).bind(now).execute(&mut *tx).await?;
    sqlx::query(
        "INSERT INTO discrepancies (kind, gateway, bank_code, result_file_id, line_no, order_no, payer_id, declaration_no, amount_ours, amount_theirs,
                                    code, gateway_txn_no, settled_at, detail, opened_at)
         SELECT verdict, $2, $3, $1, line_no, order_no, payer_id, declaration_no, ours, amount, code, gateway_txn_no, settled_at, fault, $4
         FROM judged WHERE verdict NOT IN ('settle', 'fail', 'unknown', 'noted', 'repeated')
         ORDER BY line_no",
    )
    .bind(file.result_file_id)
    .bind(&file.gateway)
    .bind(&file.bank_code)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    tell(tx, file, through, now).await?;
    sqlx::query_as(
        "SELECT $1::bigint AS through, count(*) FILTER (WHERE verdict IN ('settle', 'fail', 'unknown', 'noted')) AS applied,
                count(*) FILTER (WHERE verdict = 'repeated') AS repeated, 0::bigint AS not_ours,
                count(*) FILTER (WHERE verdict NOT IN ('settle', 'fail', 'unknown', 'noted', 'repeated')) AS discrepancies
         FROM judged",
    )
    .bind(through)
    .fetch_one(&mut *tx)
    .await
}

/// Payers behind one about whom the judged file opens discrepancies, at most so many.
pub async fn disputed_payers(tx: &mut PgConnection, behind: &str, limit: i64) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT DISTINCT payer_id FROM judged
         WHERE verdict NOT IN ('settle', 'fail', 'unknown', 'noted', 'repeated') AND payer_id > $1
         ORDER BY payer_id LIMIT $2",
    )
    .bind(behind)
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// Outbox rows for what the lines did, a row for each stretch of lines. The counts are those of the events that the
/// relay will write from the same rows (`stages/publish`).
async fn tell(tx: &mut PgConnection, file: &ResultFile, through: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO outbox (kind, events, scope_id, first_key, last_key, created_at)
         SELECT 'results', sum(events), $1, min(line_no)::text, max(line_no)::text, $2
         FROM (
             -- deduction.succeeded, payment.recorded, declaration.paid; amount.fulfilled where an amount was set
             SELECT line_no, 3 + (amount_sequence IS NOT NULL)::int AS events FROM settlements
             WHERE result_file_id = $1 AND line_no > $4 AND line_no <= $5
             UNION ALL
             -- deduction.failed and what became of the declaration, amount.held; or deduction.unknown alone
             SELECT line_no, 1 + (declaration_state IS NOT NULL)::int + (amount_sequence IS NOT NULL)::int
             FROM attempt_outcomes WHERE result_file_id = $1 AND line_no > $4 AND line_no <= $5) e
         GROUP BY line_no / $3
         ORDER BY min(line_no)",
    )
    .bind(file.result_file_id)
    .bind(now)
    // Up to four events a line.
    .bind((CHUNK_MAX / 4) as i64)
    .bind(file.booked_through)
    .bind(through)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO outbox (kind, events, scope_id, first_key, last_key, created_at)
         SELECT 'discrepancies', count(*), $1, min(discrepancy_id)::text, max(discrepancy_id)::text, $2
         FROM discrepancies
         WHERE result_file_id = $1 AND (line_no > $4 AND line_no <= $5 OR line_no IS NULL AND $4 = 0)
         GROUP BY discrepancy_id / $3
         ORDER BY min(discrepancy_id)",
    )
    .bind(file.result_file_id)
    .bind(now)
    .bind(CHUNK_MAX as i64)
    .bind(file.booked_through)
    .bind(through)
    .execute(tx)
    .await
    .map(drop)
}

/// A text in a statement that takes no parameters.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
