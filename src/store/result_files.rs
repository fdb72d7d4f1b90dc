//! Result files: kept first, then staged, judged and applied as one set in one transaction.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::{PgConnection, Row};

use super::outbox::CHUNK_MAX;

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct ResultFile {
    pub result_file_id: i64,
    pub gateway: String,
    pub bank_code: String,
    pub file_name: String,
    pub sha256: Vec<u8>,
    pub state: String,
    pub refused_as: Option<String>,
    pub refused_line: Option<i64>,
    pub refused_column: Option<i64>,
    pub refused_reason: Option<String>,
    pub rows: Option<i64>,
    pub applied: Option<i64>,
    pub repeated: Option<i64>,
    pub discrepancies: Option<i64>,
    pub not_ours: Option<i64>,
    pub sequence: i64,
}

const COLUMNS: &str = "result_file_id, gateway, bank_code, file_name, sha256, state, refused_as, refused_line, refused_column, \
                       refused_reason, rows, applied, repeated, discrepancies, not_ours, sequence";

/// A line as staged; `fault` says why it could not be read.
#[derive(Debug, Default)]
pub struct Line<'a> {
    pub line_no: u64,
    pub order_no: &'a str,
    pub amount: Option<Decimal>,
    pub code: &'a str,
    pub class: Option<&'a str>,
    pub gateway_txn_no: Option<&'a str>,
    pub settled_at: Option<DateTime<Utc>>,
    pub fault: Option<&'a str>,
}

/// Keeps a file before anything is read from it. The same bytes again find the row that is there; what was refused becomes
/// the file of the bank, and has the name, that it is now given with: it may have been refused for either.
pub async fn find_or_keep(
    tx: &mut PgConnection,
    gateway: &str,
    bank_code: &str,
    file_name: &str,
    sha256: &[u8],
    content: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<(ResultFile, bool)> {
    let sql = format!(
        "INSERT INTO result_files (gateway, bank_code, file_name, sha256, content, received_at, state)
         VALUES ($1, $2, $3, $4, $5, $6, 'received')
         ON CONFLICT ON CONSTRAINT bytes_are_applied_once DO NOTHING RETURNING {COLUMNS}"
    );
    let kept: Option<ResultFile> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(gateway)
        .bind(bank_code)
        .bind(file_name)
        .bind(sha256)
        .bind(content)
        .bind(now)
        .fetch_optional(&mut *tx)
        .await?;
    if let Some(file) = kept {
        return Ok((file, true));
    }
    let sql = format!(
        "UPDATE result_files SET bank_code = CASE state WHEN 'refused' THEN $3 ELSE bank_code END,
                file_name = CASE state WHEN 'refused' THEN $4 ELSE file_name END
         WHERE gateway = $1 AND sha256 = $2 RETURNING {COLUMNS}"
    );
    let file = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(gateway)
        .bind(sha256)
        .bind(bank_code)
        .bind(file_name)
        .fetch_one(tx)
        .await?;
    Ok((file, false))
}

/// The file's row, locked: of two who apply it, the second finds it applied.
pub async fn lock(tx: &mut PgConnection, result_file_id: i64) -> sqlx::Result<ResultFile> {
    let sql = format!("SELECT {COLUMNS} FROM result_files WHERE result_file_id = $1 FOR UPDATE");
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(result_file_id).fetch_one(tx).await
}

pub async fn get(connection: &mut PgConnection, result_file_id: i64) -> sqlx::Result<ResultFile> {
    let sql = format!("SELECT {COLUMNS} FROM result_files WHERE result_file_id = $1");
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(result_file_id).fetch_one(connection).await
}

/// Files that were kept but not yet applied or refused: a worker died in between.
pub async fn received(connection: &mut PgConnection) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar("SELECT result_file_id FROM result_files WHERE state = 'received' ORDER BY result_file_id")
        .fetch_all(connection)
        .await
}

pub async fn content(connection: &mut PgConnection, result_file_id: i64) -> sqlx::Result<Vec<u8>> {
    sqlx::query_scalar("SELECT content FROM result_files WHERE result_file_id = $1")
        .bind(result_file_id)
        .fetch_one(connection)
        .await
}

pub async fn set_refused(
    tx: &mut PgConnection,
    result_file_id: i64,
    refused_as: &str,
    line: i64,
    column: Option<i64>,
    reason: &str,
) -> sqlx::Result<ResultFile> {
    let sql = format!(
        "UPDATE result_files SET state = 'refused', refused_as = $2, refused_line = $3, refused_column = $4, refused_reason = $5,
                sequence = sequence + 1
         WHERE result_file_id = $1 RETURNING {COLUMNS}"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(result_file_id)
        .bind(refused_as)
        .bind(line)
        .bind(column)
        .bind(reason)
        .fetch_one(tx)
        .await
}

/// Lines on their way into the staging table, sent in pieces of bounded size.
pub struct Staging<'c> {
    copy: sqlx::postgres::PgCopyIn<&'c mut PgConnection>,
    buffer: String,
}

/// Bytes of a piece that is sent to the server.
const PIECE_BYTES: usize = 256 * 1024;

/// Begins to stage a file's lines; the table lives as long as the transaction.
pub async fn stage(tx: &mut PgConnection) -> sqlx::Result<Staging<'_>> {
    sqlx::query(
        "CREATE TEMP TABLE result_lines (line_no bigint NOT NULL, order_no text COLLATE \"C\", amount numeric(14,2), code text, class text,
             gateway_txn_no text, settled_at timestamptz, fault text) ON COMMIT DROP",
    )
    .execute(&mut *tx)
    .await?;
    let copy = sqlx::postgres::PgConnection::copy_in_raw(tx, "COPY result_lines FROM STDIN").await?;
    Ok(Staging { copy, buffer: String::with_capacity(PIECE_BYTES + 1024) })
}

impl Staging<'_> {
    pub async fn line(&mut self, line: &Line<'_>) -> sqlx::Result<()> {
        let out = &mut self.buffer;
        let _ = write!(out, "{}\t", line.line_no);
        text(out, (!line.order_no.is_empty()).then_some(line.order_no));
        out.push('\t');
        match line.amount {
            Some(amount) => _ = write!(out, "{amount}"),
            None => out.push_str("\\N"),
        }
        out.push('\t');
        text(out, Some(line.code));
        out.push('\t');
        text(out, line.class);
        out.push('\t');
        text(out, line.gateway_txn_no);
        out.push('\t');
        match line.settled_at {
            Some(time) => _ = write!(out, "{}", time.format("%Y-%m-%dT%H:%M:%SZ")),
            None => out.push_str("\\N"),
        }
        out.push('\t');
        text(out, line.fault);
        out.push('\n');
        if self.buffer.len() >= PIECE_BYTES {
            self.copy.send(self.buffer.as_bytes()).await?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Ends the copy; returns the number of lines.
    pub async fn finish(mut self) -> sqlx::Result<u64> {
        if !self.buffer.is_empty() {
            self.copy.send(self.buffer.as_bytes()).await?;
        }
        self.copy.finish().await
    }
}

/// COPY's text format: what would end a field or a row is escaped.
fn text(out: &mut String, value: Option<&str>) {
    let Some(value) = value else { return out.push_str("\\N") };
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c => out.push(c),
        }
    }
}

/// What the staged lines came to.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Applied {
    pub rows: i64,
    pub applied: i64,
    pub repeated: i64,
    pub discrepancies: i64,
}

/// Judges the staged lines, one verdict each. Returns the runs they are about. The caller holds the gate and the file's lock.
pub async fn judge_staged(tx: &mut PgConnection, file: &ResultFile) -> sqlx::Result<Vec<i64>> {
    sqlx::query("ANALYZE result_lines").execute(&mut *tx).await?;
    let judged = include_str!("sql/judge_result.sql");
    // A utility statement takes no parameters, so the two texts go in as literals of our own configuration.
    let judged = judged.replace("$1", &literal(&file.gateway)).replace("$2", &literal(&file.bank_code));
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

/// Books every judged line, and closes the file's own count.
pub async fn book_judged(tx: &mut PgConnection, file: &ResultFile, now: DateTime<Utc>) -> sqlx::Result<ResultFile> {
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
                                    code, gateway_txn_no, detail, opened_at)
         SELECT verdict, $2, $3, $1, line_no, order_no, payer_id, declaration_no, ours, amount, code, gateway_txn_no, fault, $4
         FROM judged WHERE verdict NOT IN ('settle', 'fail', 'unknown', 'noted', 'repeated')
         ORDER BY line_no",
    )
    .bind(file.result_file_id)
    .bind(&file.gateway)
    .bind(&file.bank_code)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    tell(tx, file.result_file_id, now).await?;
    let counts: Applied = sqlx::query_as(
        "SELECT count(*) AS rows, count(*) FILTER (WHERE verdict IN ('settle', 'fail', 'unknown', 'noted')) AS applied,
                count(*) FILTER (WHERE verdict = 'repeated') AS repeated,
                count(*) FILTER (WHERE verdict NOT IN ('settle', 'fail', 'unknown', 'noted', 'repeated')) AS discrepancies
         FROM judged",
    )
    .fetch_one(&mut *tx)
    .await?;
    let sql = format!(
        "UPDATE result_files SET state = 'applied', rows = $2, applied = $3, repeated = $4, discrepancies = $5, not_ours = 0,
                applied_at = $6, sequence = sequence + 1, refused_as = NULL, refused_line = NULL, refused_column = NULL,
                refused_reason = NULL
         WHERE result_file_id = $1 RETURNING {COLUMNS}"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(file.result_file_id)
        .bind(counts.rows)
        .bind(counts.applied)
        .bind(counts.repeated)
        .bind(counts.discrepancies)
        .bind(now)
        .fetch_one(tx)
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
async fn tell(tx: &mut PgConnection, result_file_id: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO outbox (kind, events, scope_id, first_key, last_key, created_at)
         SELECT 'results', sum(events), $1, min(line_no)::text, max(line_no)::text, $2
         FROM (
             -- deduction.succeeded, payment.recorded, declaration.paid; amount.fulfilled where an amount was set
             SELECT line_no, 3 + (amount_sequence IS NOT NULL)::int AS events FROM settlements WHERE result_file_id = $1
             UNION ALL
             -- deduction.failed and what became of the declaration, amount.held; or deduction.unknown alone
             SELECT line_no, 1 + (declaration_state IS NOT NULL)::int + (amount_sequence IS NOT NULL)::int
             FROM attempt_outcomes WHERE result_file_id = $1) e
         GROUP BY line_no / $3
         ORDER BY min(line_no)",
    )
    .bind(result_file_id)
    .bind(now)
    // Up to four events a line.
    .bind((CHUNK_MAX / 4) as i64)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO outbox (kind, events, scope_id, first_key, last_key, created_at)
         SELECT 'discrepancies', count(*), $1, min(discrepancy_id)::text, max(discrepancy_id)::text, $2
         FROM discrepancies WHERE result_file_id = $1
         GROUP BY discrepancy_id / $3
         ORDER BY min(discrepancy_id)",
    )
    .bind(result_file_id)
    .bind(now)
    .bind(CHUNK_MAX as i64)
    .execute(tx)
    .await
    .map(drop)
}

/// A known name that comes with other bytes is told to a person; it says nothing about the rows.
pub async fn flag_reused_name(tx: &mut PgConnection, file: &ResultFile, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "INSERT INTO discrepancies (kind, gateway, bank_code, result_file_id, detail, opened_at)
         SELECT 'name_reused', $2, $3, $1, 'the name was used by result file ' || min(result_file_id), $4
         FROM result_files WHERE gateway = $2 AND bank_code = $3 AND file_name = $5 AND result_file_id <> $1 AND state <> 'refused'
         HAVING count(*) > 0",
    )
    .bind(file.result_file_id)
    .bind(&file.gateway)
    .bind(&file.bank_code)
    .bind(now)
    .bind(&file.file_name)
    .execute(tx)
    .await?;
    Ok(done.rows_affected() > 0)
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
