//! Result files: kept first, piece by piece, then booked range by range, then applied. What becomes of their lines is in
//! [`super::staging`] and [`super::results`].

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

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
    /// The last line that is booked.
    pub booked_through: i64,
    pub companion_fault: Option<String>,
    pub companion_sha1: Option<Vec<u8>>,
    pub companion_rows: Option<i64>,
}

const COLUMNS: &str = "result_file_id, gateway, bank_code, file_name, sha256, state, refused_as, refused_line, refused_column, \
                       refused_reason, rows, applied, repeated, discrepancies, not_ours, sequence, booked_through, companion_fault, companion_sha1, companion_rows";

/// Keeps a file before anything is read from it. The same bytes again find the row that is there; what was refused or undone
/// becomes the file of the bank, and has the name, that it is now given with: it may have been so for either.
pub async fn find_or_keep(
    tx: &mut PgConnection,
    gateway: &str,
    bank_code: &str,
    file_name: &str,
    sha256: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<(ResultFile, bool)> {
    let sql = format!(
        "INSERT INTO result_files (gateway, bank_code, file_name, sha256, received_at, state)
         VALUES ($1, $2, $3, $4, $5, 'received')
         ON CONFLICT ON CONSTRAINT bytes_are_applied_once DO NOTHING RETURNING {COLUMNS}"
    );
    let kept: Option<ResultFile> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(gateway)
        .bind(bank_code)
        .bind(file_name)
        .bind(sha256)
        .bind(now)
        .fetch_optional(&mut *tx)
        .await?;
    if let Some(file) = kept {
        return Ok((file, true));
    }
    let sql = format!(
        "UPDATE result_files SET bank_code = CASE WHEN state IN ('refused', 'undone') THEN $3 ELSE bank_code END,
                file_name = CASE WHEN state IN ('refused', 'undone') THEN $4 ELSE file_name END
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

/// Notes what lay beside a file when it came, as long as nothing of it is booked.
pub async fn set_companions(
    tx: &mut PgConnection,
    result_file_id: i64,
    fault: Option<&str>,
    sha1: Option<&[u8]>,
    rows: Option<i64>,
) -> sqlx::Result<ResultFile> {
    let sql = format!(
        "UPDATE result_files SET companion_fault = $2, companion_sha1 = $3, companion_rows = $4
         WHERE result_file_id = $1 RETURNING {COLUMNS}"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(result_file_id).bind(fault).bind(sha1).bind(rows).fetch_one(tx).await
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

/// The file that has these bytes.
pub async fn find(connection: &mut PgConnection, gateway: &str, sha256: &[u8]) -> sqlx::Result<Option<ResultFile>> {
    let sql = format!("SELECT {COLUMNS} FROM result_files WHERE gateway = $1 AND sha256 = $2");
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(gateway).bind(sha256).fetch_optional(connection).await
}

/// Files that were kept but not yet applied or refused: a worker died in between.
pub async fn unfinished(connection: &mut PgConnection) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "SELECT result_file_id FROM result_files WHERE state IN ('received', 'staged') ORDER BY result_file_id",
    )
    .fetch_all(connection)
    .await
}

/// Keeps a piece of a file's bytes, encrypted.
pub async fn keep_piece(tx: &mut PgConnection, result_file_id: i64, piece_no: i32, content: &[u8]) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO result_file_pieces (result_file_id, piece_no, content) VALUES ($1, $2, $3)")
        .bind(result_file_id)
        .bind(piece_no)
        .bind(content)
        .execute(tx)
        .await
        .map(drop)
}

/// A piece of a file's bytes, encrypted; none behind the last one.
pub async fn piece(connection: &mut PgConnection, result_file_id: i64, piece_no: i32) -> sqlx::Result<Option<Vec<u8>>> {
    sqlx::query_scalar("SELECT content FROM result_file_pieces WHERE result_file_id = $1 AND piece_no = $2")
        .bind(result_file_id)
        .bind(piece_no)
        .fetch_optional(connection)
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

/// A known name that comes with other bytes is told to a person; it says nothing about the rows.
pub async fn flag_reused_name(tx: &mut PgConnection, file: &ResultFile, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let Some(earlier) = same_name(tx, file).await? else { return Ok(false) };
    sqlx::query(
        "INSERT INTO discrepancies (kind, gateway, bank_code, result_file_id, detail, opened_at)
         VALUES ('name_reused', $2, $3, $1, 'the name was used by result file ' || $5, $4)",
    )
    .bind(file.result_file_id)
    .bind(&file.gateway)
    .bind(&file.bank_code)
    .bind(now)
    .bind(earlier)
    .execute(tx)
    .await?;
    Ok(true)
}

/// The first other file that came under the name of this one and was neither refused nor undone.
pub async fn same_name(connection: &mut PgConnection, file: &ResultFile) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar(
        "SELECT min(result_file_id) FROM result_files
         WHERE gateway = $2 AND bank_code = $3 AND file_name = $4 AND result_file_id <> $1 AND state NOT IN ('refused', 'undone')",
    )
    .bind(file.result_file_id)
    .bind(&file.gateway)
    .bind(&file.bank_code)
    .bind(&file.file_name)
    .fetch_one(connection)
    .await
}

/// Where a file came under a name that was used: by which one, in words.
pub async fn name_used_by(connection: &mut PgConnection, result_file_id: i64) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("SELECT detail FROM discrepancies WHERE result_file_id = $1 AND kind = 'name_reused'")
        .bind(result_file_id)
        .fetch_optional(connection)
        .await
}

/// The lines of a range are booked, and the file is not at its end.
pub async fn set_staged(tx: &mut PgConnection, file: &ResultFile, booked: &Booked) -> sqlx::Result<ResultFile> {
    let sql = format!(
        "UPDATE result_files SET state = 'staged', booked_through = $2, {COUNTED}, refused_as = NULL, refused_line = NULL,
                refused_column = NULL, refused_reason = NULL
         WHERE result_file_id = $1 AND booked_through = $7 RETURNING {COLUMNS}"
    );
    bound(&sql, file, booked).fetch_one(tx).await
}

/// The last lines are booked: the file is applied, and every row of it has its outcome.
pub async fn set_applied(
    tx: &mut PgConnection,
    file: &ResultFile,
    booked: &Booked,
    now: DateTime<Utc>,
) -> sqlx::Result<ResultFile> {
    let sql = format!(
        "UPDATE result_files SET state = 'applied', booked_through = $2, {COUNTED},
                rows = COALESCE(applied + repeated + discrepancies + not_ours, 0) + $3 + $4 + $5 + $6, applied_at = $8, sequence = sequence + 1,
                refused_as = NULL, refused_line = NULL, refused_column = NULL, refused_reason = NULL
         WHERE result_file_id = $1 AND booked_through = $7 RETURNING {COLUMNS}"
    );
    bound(&sql, file, booked).bind(now).fetch_one(tx).await
}

/// What the lines of a range came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Booked {
    /// The last line of the range.
    pub through: i64,
    pub applied: i64,
    pub repeated: i64,
    pub discrepancies: i64,
    pub not_ours: i64,
}

const COUNTED: &str = "applied = COALESCE(applied, 0) + $3, repeated = COALESCE(repeated, 0) + $4,
                discrepancies = COALESCE(discrepancies, 0) + $5, not_ours = COALESCE(not_ours, 0) + $6";

fn bound<'q>(
    sql: &str,
    file: &ResultFile,
    booked: &Booked,
) -> sqlx::query::QueryAs<'q, sqlx::Postgres, ResultFile, sqlx::postgres::PgArguments> {
    sqlx::query_as(sqlx::AssertSqlSafe(sql.to_owned()))
        .bind(file.result_file_id)
        .bind(booked.through)
        .bind(booked.applied)
        .bind(booked.repeated)
        .bind(booked.discrepancies)
        .bind(booked.not_ours)
        .bind(file.booked_through)
}
