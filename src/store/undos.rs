//! Putting an applied result file back: what rests on it, what leaves the book, and how the rest becomes what it was
//! before. Called by stage `undo`, which owns the gate. The rows behind its events are in [`super::undo_news`].

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, PgConnection};

use super::result_files::ResultFile;

/// Looks at everything the file has done to orders, before any of it is moved.
pub async fn look(tx: &mut PgConnection, result_file_id: i64) -> sqlx::Result<()> {
    // A utility statement takes no parameters.
    let sql = include_str!("sql/undo_items.sql").replace("$1", &result_file_id.to_string());
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(tx).await.map(drop)
}

/// Something of a kind that rests on a file: how often, and some of it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Resting {
    pub kind: String,
    pub count: i64,
    pub about: Vec<String>,
}

/// Everything that rests on the file, at most so many of a kind by name.
pub async fn resting(tx: &mut PgConnection, result_file_id: i64, about_max: i32) -> sqlx::Result<Vec<Resting>> {
    sqlx::query_as(include_str!("sql/undo_blocks.sql")).bind(result_file_id).bind(about_max).fetch_all(tx).await
}

/// Who puts a file back, and why.
#[derive(Debug, Clone, Copy)]
pub struct NewUndo<'a> {
    pub decided_by: &'a str,
    pub second_by: Option<&'a str>,
    pub reason: &'a str,
    pub decided_at: DateTime<Utc>,
}

/// Keeps the decision; from now on rows of the file may leave the book in this transaction.
pub async fn record(tx: &mut PgConnection, result_file_id: i64, undo: &NewUndo<'_>) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "INSERT INTO result_file_undos (result_file_id, file_name, rows, applied, repeated, discrepancies, not_ours, applied_at, decided_by,
                                        second_by, reason, decided_at)
         SELECT result_file_id, file_name, rows, applied, repeated, discrepancies, not_ours, applied_at, $2, $3, $4, $5
         FROM result_files WHERE result_file_id = $1
         RETURNING undo_id",
    )
    .bind(result_file_id)
    .bind(undo.decided_by)
    .bind(undo.second_by)
    .bind(undo.reason)
    .bind(undo.decided_at)
    .fetch_one(tx)
    .await
}

/// Tables that a file books into, in the order in which their rows may leave: a reversal before what it reverses.
const BOOK: [&str; 7] =
    ["reversals", "confirmations", "settlements", "attempt_outcomes", "refunds", "bill_days", "discrepancies"];

/// Moves what the file has booked out of the book, each row into `undone_rows` in the statement that takes it away.
pub async fn move_rows(tx: &mut PgConnection, undo_id: i64, result_file_id: i64) -> sqlx::Result<()> {
    let unpaid = "order_no IN (SELECT order_no FROM undoing WHERE unpaid_here)";
    let of_file = format!("result_file_id = {result_file_id}");
    for (table, which) in BOOK.iter().map(|table| (*table, of_file.as_str())).chain([("unpaid_orders", unpaid)]) {
        let sql = format!(
            "WITH gone AS (DELETE FROM {table} o WHERE {which} RETURNING to_jsonb(o) AS row)
             INSERT INTO undone_rows (undo_id, kind, row) SELECT $1, '{table}', row FROM gone"
        );
        sqlx::query(AssertSqlSafe(sql)).bind(undo_id).execute(&mut *tx).await?;
    }
    sqlx::query(
        "INSERT INTO undone_orders (order_no, payer_id, undo_id, sequence_before, sequence_after)
         SELECT DISTINCT order_no, payer_id, $1, order_sequence_before, order_sequence_after FROM undoing
         WHERE order_sequence_after > order_sequence_before",
    )
    .bind(undo_id)
    .execute(tx)
    .await
    .map(drop)
}

/// Attempts, orders, declarations, counts of failed runs: as before the file, with the sequences of the events that say so.
pub async fn put_back(tx: &mut PgConnection) -> sqlx::Result<()> {
    for statement in [
        "UPDATE attempts a SET state = i.state_before, sequence = i.order_sequence_after
         FROM undoing i
         WHERE a.order_no = i.order_no AND a.payer_id = i.payer_id AND a.item = i.item AND (NOT i.settled_elsewhere OR i.reversed_here)",
        "UPDATE online_orders o SET sequence = i.order_sequence_after
         FROM (SELECT DISTINCT order_no, payer_id, order_sequence_after FROM undoing WHERE run_id IS NULL) i
         WHERE o.order_no = i.order_no AND o.payer_id = i.payer_id",
        "UPDATE declarations d
         SET state = 'paying', sequence = i.declaration_sequence, failed_runs = d.failed_runs - (i.freed AND i.is_retryable)::int,
             hold_reason = CASE WHEN i.freed AND i.is_final THEN NULL ELSE d.hold_reason END
         FROM undoing i
         WHERE d.declaration_no = i.declaration_no AND d.payer_id = i.payer_id AND i.declaration_news IS NOT NULL",
        // What is told next of a year that is not fulfilled any more counts on from there.
        "UPDATE amount_settings s SET sequence = i.sequence
         FROM (SELECT payer_id, insurance_type, valid_year, max(settled_amount_sequence) AS sequence FROM undoing
               WHERE settled_here AND settled_amount_sequence IS NOT NULL GROUP BY 1, 2, 3) i
         WHERE s.payer_id = i.payer_id AND s.insurance_type = i.insurance_type AND s.valid_year = i.valid_year AND s.state = 'active'
           AND s.sequence < i.sequence",
        // As before the first of the payer's failures in the file. What was counted anew since, stays so.
        "WITH counted AS MATERIALIZED (
             SELECT DISTINCT ON (payer_id, insurance_type) payer_id, insurance_type, streak_before AS before FROM undoing
             WHERE streak_before IS NOT NULL ORDER BY payer_id, insurance_type, first_line
         ), begun AS (
             DELETE FROM failure_streaks k USING counted i
             WHERE k.payer_id = i.payer_id AND k.insurance_type = i.insurance_type AND i.before = '{}'
         )
         UPDATE failure_streaks k
         SET runs = (i.before ->> 'runs')::int, last_run_id = (i.before ->> 'last_run_id')::bigint,
             last_file_id = (i.before ->> 'last_file_id')::bigint, failed_at = (i.before ->> 'failed_at')::timestamptz
         FROM counted i
         WHERE k.payer_id = i.payer_id AND k.insurance_type = i.insurance_type AND k.runs > 0 AND i.before <> '{}'",
        // An amount that is held because of a failure, and about which nobody has decided since, is not held any more.
        "CREATE TEMP TABLE releasing ON COMMIT DROP AS
         SELECT DISTINCT ON (s.payer_id, s.insurance_type, s.valid_year)
                s.payer_id, s.insurance_type, s.valid_year, s.fact_time, s.fact_id, s.amount, s.channel,
                (SELECT max(y.sequence) FROM amount_settings y
                 WHERE y.insurance_type = s.insurance_type AND y.valid_year = s.valid_year AND y.payer_id = s.payer_id) + 1 AS sequence
         FROM undoing i
         JOIN amount_settings s ON s.insurance_type = i.insurance_type AND s.valid_year = i.valid_year AND s.payer_id = i.payer_id
             AND s.state = 'active' AND s.hold_reason = CASE WHEN i.is_final THEN 'no_agreement' ELSE 'suspended' END
         WHERE i.held_sequence IS NOT NULL
           AND NOT EXISTS (SELECT FROM hold_decisions h WHERE h.payer_id = s.payer_id AND h.insurance_type = s.insurance_type
                           AND h.valid_year = s.valid_year AND h.decided_at > i.booked_at)
         ORDER BY 1, 2, 3",
        "UPDATE amount_settings s SET hold_reason = NULL, sequence = r.sequence
         FROM releasing r
         WHERE s.insurance_type = r.insurance_type AND s.valid_year = r.valid_year AND s.payer_id = r.payer_id
           AND s.fact_time = r.fact_time AND s.fact_id = r.fact_id",
    ] {
        sqlx::query(statement).execute(&mut *tx).await?;
    }
    Ok(())
}

/// Runs whose orders are out again, in the order of their numbers.
pub async fn runs(tx: &mut PgConnection) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar("SELECT DISTINCT run_id FROM undoing WHERE run_id IS NOT NULL ORDER BY run_id")
        .fetch_all(tx)
        .await
}

/// The file is undone: nothing of it counts.
pub async fn set_undone(tx: &mut PgConnection, file: &ResultFile) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "UPDATE result_files SET state = 'undone', booked_through = 0, rows = NULL, applied = NULL, repeated = NULL, discrepancies = NULL,
                not_ours = NULL, applied_at = NULL, sequence = sequence + 1
         WHERE result_file_id = $1 RETURNING sequence",
    )
    .bind(file.result_file_id)
    .fetch_one(tx)
    .await
}

/// What a person names a file by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    Id(i64),
    Sha256(Vec<u8>),
    Name(String),
}

/// The numbers of the files that are named so; of several with one name those that are applied, if any is.
pub async fn find(connection: &mut PgConnection, named: &Named) -> sqlx::Result<Vec<i64>> {
    let (id, sha256, name) = match named {
        Named::Id(id) => (Some(*id), None, None),
        Named::Sha256(sha256) => (None, Some(sha256.as_slice()), None),
        Named::Name(name) => (None, None, Some(name.as_str())),
    };
    sqlx::query_scalar(
        "WITH named AS (SELECT result_file_id, state FROM result_files WHERE result_file_id = $1 OR sha256 = $2 OR file_name = $3)
         SELECT result_file_id FROM named WHERE state = 'applied' OR NOT EXISTS (SELECT FROM named WHERE state = 'applied')
         ORDER BY result_file_id",
    )
    .bind(id)
    .bind(sha256)
    .bind(name)
    .fetch_all(connection)
    .await
}
