//! Reading a result file, before anything of it counts: its bytes become a copy that is ours alone, are held against what lay
//! beside the file, and its rows are staged; or there is a reason to refuse it. Called by stage `reconcile` and its preview.

use std::io::Read;

use sqlx::PgConnection;

use super::keeping::copying;
use crate::gateway::companion::Said;
use crate::gateway::{Answers, Beside, Refused, RefusedKind, ResultHead};
use crate::stages::spool::Spool;
use crate::stages::staging::{self, Staged};
use crate::stages::{Context, StageError};
use crate::store::request_files;
use crate::store::result_files::ResultFile;

/// A copy of the bytes that is ours alone, and what lay beside the file, compared with them.
pub fn take(
    ctx: &Context,
    from: &dyn Answers,
    file_name: &str,
    mut source: impl Read + Send,
    beside: &[Beside],
) -> Result<(Spool, Said), StageError> {
    let mut spool = Spool::of(&ctx.settings.spool_folder(), &mut source).map_err(copying)?;
    let said = Said::of(beside, file_name, spool.bytes().map_err(copying)?);
    let mut said =
        said.map_err(|error| StageError::later("comparing a result file with what lies beside it", error))?;
    if let Some(sha1) = said.sha1.filter(|_| !from.compares_sha1())
        && spool.sha1().map_err(copying)? != sha1
    {
        said.fault = Some(".sha1: not the hash of the file".to_owned());
    }
    spool.bytes().map_err(copying)?;
    Ok((spool, said))
}

/// Reads all of a file into the session's staging table, before anything of it counts; or says why it is refused.
pub async fn read(
    ctx: &Context,
    connection: &mut PgConnection,
    from: &dyn Answers,
    file: &ResultFile,
    spool: Spool,
) -> Result<Result<Staged, Refused>, StageError> {
    if let Some(fault) = &file.companion_fault {
        return Ok(Err(beside_the_file(fault.clone())));
    }
    let sha1 = file.companion_sha1.as_deref().and_then(|sha1| sha1.try_into().ok());
    let staged = match staging::stage(ctx, &mut *connection, from, &file.file_name, sha1, spool).await? {
        Ok(staged) => staged,
        Err(refused) => return Ok(Err(refused)),
    };
    if file.companion_rows.is_some_and(|rows| rows as u64 != staged.head.count) {
        return Ok(Err(beside_the_file(format!(".ok: other than the {} rows of the file", staged.head.count))));
    }
    let refused = falls_short(connection, from, &staged.head).await?;
    Ok(refused.map_or(Ok(staged), Err))
}

fn beside_the_file(reason: String) -> Refused {
    Refused { kind: RefusedKind::TotalsDiffer, line: 1, column: None, reason }
}

/// Where a result file answers one request file in full, it is that of a file that was sealed, with a row for each order.
async fn falls_short(
    connection: &mut PgConnection,
    from: &dyn Answers,
    head: &ResultHead,
) -> Result<Option<Refused>, StageError> {
    let Some(name) = head.request_file_name.as_deref().filter(|_| from.answers_in_full()) else { return Ok(None) };
    let sealed = request_files::items_sealed(connection, from.gateway(), name).await?;
    let (kind, reason) = match sealed {
        None => (RefusedKind::WrongFile, "no request file of this batch was ever sealed".to_owned()),
        Some(items) if items as u64 == head.count => return Ok(None),
        Some(items) => {
            (RefusedKind::TotalsDiffer, format!("{} rows for the {items} orders of the request file", head.count))
        }
    };
    Ok(Some(Refused { kind, line: 1, column: None, reason }))
}
