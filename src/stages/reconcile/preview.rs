//! What a result file would do, without doing it.
//!
//! In: the bytes of a file, and whom it came from. Out: what its rows would come to, by the very judgement that applies
//! them, and the first of those that somebody would have to look at; or why it would be refused; or that it is known. It
//! reads one snapshot, range by range, keeps no bytes, and nobody waits for it. Called by `pikou reconcile --preview`.
//! *Commits:* nothing. *If it dies:* nothing has happened.

use std::collections::BTreeMap;
use std::io::Read;

use sqlx::{Connection, PgConnection};

use super::{ResultFile, read, take};
use crate::domain::rows::Rows;
use crate::gateway::companion::Said;
use crate::gateway::{Answers, Beside, Refused, ResultHead};
use crate::stages::staging::{self, Staged};
use crate::stages::{Context, StageError};
use crate::store::foreseen::{self, WrongLine};
use crate::store::{result_files, results};

/// Lines shown of those that would become discrepancies.
const WRONG_LINES_MAX: usize = 10;

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
    pub head: ResultHead,
    /// By verdict: what would be settled, failed and so on, and the kinds of discrepancies.
    pub verdicts: BTreeMap<String, Rows>,
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
        known => as_it_would_be_kept(from, file_name, &spool.sha256, said, known.map(|file| file.result_file_id)),
    };
    let preview = match read(ctx, &mut connection, from, &file, spool).await? {
        Ok(staged) => judge(ctx, &mut connection, file, staged, progress).await?,
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
    result_file_id: Option<i64>,
) -> ResultFile {
    ResultFile {
        result_file_id: result_file_id.unwrap_or(0),
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
async fn judge(
    ctx: &Context,
    connection: &mut PgConnection,
    file: ResultFile,
    staged: Staged,
    mut progress: impl FnMut(i64),
) -> Result<Preview, StageError> {
    // What is judged goes into a table of the session: it is not read-only, but nothing of it stays.
    let mut tx = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
    let same_name = if file.booked_through == 0 { result_files::same_name(&mut tx, &file).await? } else { None };
    let mut foreseen =
        Foreseen { file, head: staged.head, verdicts: BTreeMap::new(), wrong_lines: Vec::new(), same_name };
    let mut behind = foreseen.file.clone();
    loop {
        let through = staged.last_line.min(behind.booked_through + ctx.settings.results.range_max);
        let mut range = tx.begin().await?;
        results::judge(&mut range, &behind, through).await?;
        for (verdict, rows) in foreseen::verdicts(&mut range).await? {
            *foreseen.verdicts.entry(verdict).or_default() += rows;
        }
        let more = WRONG_LINES_MAX - foreseen.wrong_lines.len();
        if more > 0 {
            foreseen.wrong_lines.extend(foreseen::wrong_lines(&mut range, more as i64).await?);
        }
        range.rollback().await?;
        progress(through);
        if through == staged.last_line {
            break;
        }
        behind.booked_through = through;
    }
    tx.rollback().await?;
    Ok(Preview::Foreseen(Box::new(foreseen)))
}
