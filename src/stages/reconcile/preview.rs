//! What a result file would do, without doing it.
//!
//! In: the bytes of a file, and whom it came from. Out: what its rows would come to, and the first of those that somebody
//! would have to look at; or why it would be refused; or that it is known. Called by `pikou reconcile --preview`.
//!
//! Lines of a result file are judged by the statements that apply them, in one snapshot, and nobody waits for it. What a
//! bill's line comes to may rest on lines of the same bill that were booked before it: so a bill is booked as if it were
//! applied, in one transaction that owns the gate and is rolled back. No bytes are kept, and no event leaves.
//! *Commits:* nothing. *If it dies:* nothing has happened.

use std::io::Read;

use sqlx::{Connection, PgConnection, Postgres, Transaction};

use super::{Range, ResultFile, book_range, next_range, read, take};
use crate::gateway::companion::Said;
use crate::gateway::{Answers, Beside, Refused};
use crate::stages::staging::{self, Staged, Way};
use crate::stages::{Context, StageError};
use crate::store::file_rows::{self, Outcomes, WrongLine};
use crate::store::{gates, result_files, results};

/// Lines shown of those that would become discrepancies.
pub const WRONG_LINES_MAX: usize = 10;

/// A file that was not applied.
#[derive(Debug, Clone)]
pub enum Preview {
    /// These bytes were applied before: nothing would happen.
    Known(ResultFile),
    Refused(ResultFile, Refused),
    Foreseen(Box<Foreseen>),
}

/// What would become of a file's rows.
#[derive(Debug, Clone)]
pub struct Foreseen {
    /// As it would be kept; its id is 0 where it was never seen before.
    pub file: ResultFile,
    pub outcomes: Outcomes,
    /// The first ones of the file.
    pub wrong_lines: Vec<WrongLine>,
    /// The file that came earlier under the same name with other bytes: a discrepancy of its own, of no line.
    pub same_name: Option<i64>,
}

/// Reads and judges a file. `progress` hears how many lines are judged.
pub async fn preview(
    ctx: &Context,
    from: &dyn Answers,
    file_name: &str,
    source: impl Read + Send,
    beside: &[Beside],
    progress: impl FnMut(i64),
) -> Result<Preview, StageError> {
    let (spool, said) = take(ctx, from, file_name, source, beside)?;
    let mut connection = ctx.pool.acquire().await?;
    let known = result_files::find(&mut connection, from.gateway(), &spool.sha256).await?;
    let file = match known {
        Some(file) if file.state == "applied" => return Ok(Preview::Known(file)),
        Some(file) if file.state == "staged" => file,
        known => as_it_would_be_kept(from, file_name, &spool.sha256, said, known),
    };
    let preview = match read(ctx, &mut connection, from, &file, spool).await? {
        Ok(staged) => foresee(ctx, &mut connection, file, &staged, progress).await?,
        Err(refused) => Preview::Refused(file, refused),
    };
    staging::end(connection).await?;
    Ok(preview)
}

fn as_it_would_be_kept(
    from: &dyn Answers,
    file_name: &str,
    sha256: &[u8],
    said: Said,
    known: Option<ResultFile>,
) -> ResultFile {
    ResultFile {
        result_file_id: known.map_or(0, |file| file.result_file_id),
        gateway: from.gateway().to_owned(),
        bank_code: from.bank_code().to_owned(),
        file_name: file_name.to_owned(),
        sha256: sha256.to_vec(),
        state: "received".to_owned(),
        refused_as: None,
        refused_line: None,
        refused_column: None,
        refused_reason: None,
        rows: None,
        applied: None,
        repeated: None,
        discrepancies: None,
        not_ours: None,
        sequence: 0,
        booked_through: 0,
        companion_fault: said.fault,
        companion_sha1: said.sha1.map(|sha1| sha1.to_vec()),
        companion_rows: said.rows.map(|rows| rows as i64),
    }
}

/// Judges the lines behind the file's mark, in a transaction that is rolled back.
async fn foresee(
    ctx: &Context,
    connection: &mut PgConnection,
    file: ResultFile,
    staged: &Staged,
    mut progress: impl FnMut(i64),
) -> Result<Preview, StageError> {
    let (mut tx, mut behind) = match staged.way() {
        // What is judged goes into a table of the session: the transaction is not read-only, but nothing of it stays.
        Way::Results => (connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await?, file.clone()),
        Way::Bill => {
            let mut tx = connection.begin().await?;
            gates::own(&mut tx).await?;
            let (bytes, now) = (&file.sha256, ctx.clock.now());
            let kept = result_files::find_or_keep(&mut tx, &file.gateway, &file.bank_code, &file.file_name, bytes, now)
                .await?;
            (tx, kept.0)
        }
    };
    if behind.state == "applied" {
        // By another worker meanwhile.
        return Ok(Preview::Known(behind));
    }
    let is_new = behind.booked_through == 0;
    let same_name = if is_new { result_files::same_name(&mut tx, &behind).await? } else { None };
    let (mut outcomes, mut wrong_lines) = (Outcomes::new(), Vec::new());
    loop {
        let range = next_range(ctx, &mut tx, &behind, staged).await?;
        behind = judge(ctx, &mut tx, behind, staged, range).await?;
        for (outcome, rows) in file_rows::judged(&mut tx).await? {
            *outcomes.entry(outcome).or_default() += rows;
        }
        // A bill's ranges are not in the order of its lines.
        wrong_lines.extend(file_rows::wrong_lines(&mut tx, WRONG_LINES_MAX as i64).await?);
        wrong_lines.sort_by_key(|line: &WrongLine| line.line_no);
        wrong_lines.truncate(WRONG_LINES_MAX);
        file_rows::forget(&mut tx).await?;
        progress(range.through.min(staged.last_line));
        if range.is_last {
            break;
        }
    }
    tx.rollback().await?;
    Ok(Preview::Foreseen(Box::new(Foreseen { file, outcomes, wrong_lines, same_name })))
}

/// Judges a range; what later ranges may find of it is booked. Returns the file with its mark moved on.
async fn judge(
    ctx: &Context,
    tx: &mut Transaction<'_, Postgres>,
    file: ResultFile,
    staged: &Staged,
    range: Range,
) -> Result<ResultFile, StageError> {
    match staged.way() {
        Way::Results => {
            results::judge(tx, &file, range.through).await?;
            Ok(ResultFile { booked_through: range.through, ..file })
        }
        Way::Bill => book_range(ctx, tx, &file, staged, range).await,
    }
}
