//! The bytes of a result file, kept piece by piece and encrypted before anything is read from them, and read from there
//! again.

use super::super::spool::{Filling, PIECE_BYTES, Spool};
use super::super::{Context, StageError};
use crate::crypt::Purpose;
use crate::gateway::Answers;
use crate::gateway::companion::Said;
use crate::store::result_files::{self, ResultFile};

/// Pieces of a file that is kept; more were never written.
const PIECES_MAX: i32 = 1_000_000;

/// Keeps the bytes before anything is read from them, piece by piece; or finds the file that has them.
pub(super) async fn keep(
    ctx: &Context,
    from: &dyn Answers,
    file_name: &str,
    spool: &mut Spool,
    said: &Said,
) -> Result<ResultFile, StageError> {
    let mut tx = ctx.begin().await?;
    let ring = ctx.sealer(&mut tx).await?;
    let (gateway, bank_code, now) = (from.gateway(), from.bank_code(), ctx.clock.now());
    let sha256 = spool.sha256;
    let (mut file, is_new) = result_files::find_or_keep(&mut tx, gateway, bank_code, file_name, &sha256, now).await?;
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    for piece_no in 1..=PIECES_MAX {
        let copied = spool.next_piece(&mut piece);
        copied.map_err(|source| StageError::later("reading the copy of a result file", source))?;
        if !is_new || piece.is_empty() {
            break;
        }
        let content = ring.seal(Purpose::FileContent, &piece);
        result_files::keep_piece(&mut tx, file.result_file_id, piece_no, &content).await?;
    }
    if ["received", "refused", "undone"].contains(&file.state.as_str()) {
        let (sha1, rows) = (said.sha1.as_ref().map(|sha1| &sha1[..]), said.rows.map(|rows| rows as i64));
        let id = file.result_file_id;
        file = result_files::set_companions(&mut tx, id, said.fault.as_deref(), sha1, rows).await?;
    }
    tx.commit().await?;
    Ok(file)
}

/// The bytes of a file as they were kept.
pub async fn kept(ctx: &Context, file: &ResultFile) -> Result<Spool, StageError> {
    let mut filling = Filling::within(&ctx.settings.spool_folder()).map_err(copying)?;
    let mut connection = ctx.pool.acquire().await?;
    for piece_no in 1..=PIECES_MAX {
        let Some(content) = result_files::piece(&mut connection, file.result_file_id, piece_no).await? else { break };
        filling.add(&ctx.keys.open(Purpose::FileContent, &content)?).map_err(copying)?;
    }
    let spool = filling.end().map_err(copying)?;
    if spool.sha256[..] != file.sha256 {
        let what = format!("the kept bytes of result file {} are not those that came", file.result_file_id);
        return Err(StageError::broken(what));
    }
    Ok(spool)
}

pub(super) fn copying(source: std::io::Error) -> StageError {
    StageError::later("copying a result file", source)
}
