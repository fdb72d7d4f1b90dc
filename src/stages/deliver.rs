//! Sealed files are handed over in the gateway's folder.
//!
//! In: request files that are `sealed`, or `delivering` since a crash; or a person's decision on one (`decided`). Out:
//! the file under its name, then its `.ok` with SHA-256 and count; the row is `delivered`, the run `sent` when it was
//! the last one.
//! *Commits:* `delivering` before the file gets the name under which the bank may take it, `delivered` after.
//! *If it dies:* what lies in the folder says how far it came (`places`). Where nothing lies there the bank may have
//! taken it: a person decides, unless the bank refuses a name it has seen, and then the same bytes may go again.
//! A worker that was paused until another one took over finds nothing to hand over any more.

pub mod decided;
mod places;

use sha2::{Digest, Sha256};

use super::abreast::{FILES_ABREAST, abreast};
use super::lease::Lease;
use super::{Context, StageError, crash_point, telling};
use crate::contract::events::EventType;
use crate::crypt::Purpose;
use crate::gateway::Destination;
use crate::store::request_files::{self, RequestFile};
use crate::store::{outbox, runs};
use places::{Left, Places};

/// Hands over the files of a sealed run. Returns how many were delivered, and those that wait for a person.
pub async fn deliver(ctx: &Context, lease: Lease) -> Result<(usize, Vec<RequestFile>), StageError> {
    let mut connection = ctx.pool.acquire().await?;
    let files = request_files::in_states(&mut connection, lease.run_id, &["sealed", "delivering"]).await?;
    drop(connection);
    let mut delivered = 0;
    let mut held = Vec::new();
    let one = |file: RequestFile| {
        let ctx = ctx.clone();
        async move { Ok((deliver_file(&ctx, lease, &file).await?, file)) }
    };
    let done = |(is_delivered, file)| if is_delivered { delivered += 1 } else { held.push(file) };
    abreast(files, FILES_ABREAST, one, done).await?;
    finish_run(ctx, lease).await?;
    Ok((delivered, held))
}

async fn deliver_file(ctx: &Context, lease: Lease, file: &RequestFile) -> Result<bool, StageError> {
    let bytes = open(ctx, file).await?;
    let places = places_of(ctx, lease, file)?;
    let later = |source| StageError::later(format!("handing over {}", file.file_name), source);

    if file.state == "sealed" {
        places.write_part(&bytes).map_err(later)?;
        crash_point("deliver: part written");
    }
    // Whose run it is must be asked before the file gets the name under which the bank takes it.
    let Some(since) = begin_delivery(ctx, lease, file, &places).await? else {
        places.forget().map_err(later)?;
        return Ok(true);
    };
    crash_point("deliver: delivering");
    let refuses = destination(ctx, file)?.hand_over().refuses_repeated_names;
    match places.take_over(since, &bytes).map_err(later)? {
        Left::Whole => {}
        Left::Part => rename(lease, &places, &bytes, file)?,
        Left::Nothing if refuses => {
            places.write_part(&bytes).map_err(later)?;
            rename(lease, &places, &bytes, file)?;
        }
        Left::Nothing => {
            return hold(ctx, lease, file, "the hand-over was interrupted, and the bank may have taken the file").await;
        }
        Left::Foreign => return hold(ctx, lease, file, "another file lies under its name").await,
        Left::Newer => return Err(lease.lost()),
    }
    crash_point("deliver: renamed");
    flag_and_end(ctx, lease, &places, &bytes, file).await?;
    Ok(true)
}

/// The sealed bytes, which must be those of the hash.
async fn open(ctx: &Context, file: &RequestFile) -> Result<Vec<u8>, StageError> {
    if file.sha256.is_none() {
        return Err(StageError::Refused(format!("{} is {}: it has no bytes", file.file_name, file.state)));
    }
    let mut connection = ctx.pool.acquire().await?;
    let content = request_files::content(&mut connection, file.file_id).await?;
    drop(connection);
    let bytes = ctx.keys.open(Purpose::FileContent, &content)?;
    if file.sha256.as_deref() != Some(&Sha256::digest(&bytes)[..]) {
        return Err(StageError::broken(format!("{}: the sealed bytes are not those of its hash", file.file_name)));
    }
    Ok(bytes)
}

fn destination<'c>(ctx: &'c Context, file: &RequestFile) -> Result<&'c dyn Destination, StageError> {
    let to = ctx.settings.destination(&file.gateway, &file.bank_code);
    to.ok_or_else(|| {
        let (gateway, bank_code, name) = (&file.gateway, &file.bank_code, &file.file_name);
        StageError::broken(format!("{gateway} {bank_code} is no longer configured, but has {name} to be handed over"))
    })
}

fn places_of(ctx: &Context, lease: Lease, file: &RequestFile) -> Result<Places, StageError> {
    Ok(Places::of(ctx.settings.outbox(destination(ctx, file)?), &file.file_name, lease.epoch))
}

/// Our part gets the file's name, if it is still there.
fn rename(lease: Lease, places: &Places, bytes: &[u8], file: &RequestFile) -> Result<(), StageError> {
    let later = |source| StageError::later(format!("handing over {}", file.file_name), source);
    let whole = places.mend_part(bytes).map_err(later)?;
    crash_point("deliver: before the rename");
    if whole && places.rename_part().map_err(later)? { Ok(()) } else { Err(lease.lost()) }
}

async fn flag_and_end(
    ctx: &Context,
    lease: Lease,
    places: &Places,
    bytes: &[u8],
    file: &RequestFile,
) -> Result<(), StageError> {
    let flagged = places.flag(bytes, file.items.unwrap_or(0));
    flagged.map_err(|source| StageError::later(format!("flagging {}", file.file_name), source))?;
    crash_point("deliver: flagged");
    end_delivery(ctx, lease, file).await
}

/// The epoch from which on a part counts. `None`: the bank has answered the file in the meantime, so it has it.
async fn begin_delivery(
    ctx: &Context,
    lease: Lease,
    file: &RequestFile,
    places: &Places,
) -> Result<Option<i64>, StageError> {
    let mut tx = ctx.begin().await?;
    if lease.try_lock(ctx, &mut tx).await?.is_none() {
        if file.state == "sealed" {
            let later = |source| StageError::later(format!("leaving {}", file.file_name), source);
            places.forget().map_err(later)?;
        }
        return Err(lease.lost());
    }
    request_files::set_delivering(&mut tx, file.file_id, Some(lease.epoch), ctx.clock.now()).await?;
    let now = request_files::lock(&mut tx, file.file_id).await?;
    tx.commit().await?;
    // Before the epoch was kept a part proved nothing.
    Ok((now.state == "delivering").then_some(now.delivery_epoch.unwrap_or(i64::MAX)))
}

async fn hold(ctx: &Context, lease: Lease, file: &RequestFile, reason: &str) -> Result<bool, StageError> {
    tracing::error!(file = file.file_name, reason, "a request file waits for a person");
    let mut tx = ctx.begin().await?;
    lease.lock(ctx, &mut tx).await?;
    request_files::set_held(&mut tx, file.file_id, reason).await?;
    tx.commit().await?;
    Ok(false)
}

async fn end_delivery(ctx: &Context, lease: Lease, file: &RequestFile) -> Result<(), StageError> {
    let now = ctx.clock.now();
    let mut tx = ctx.begin().await?;
    lease.lock(ctx, &mut tx).await?;
    request_files::note_hand_over(&mut tx, file.file_id, now).await?;
    if request_files::set_delivered(&mut tx, file, now).await? {
        let event = telling::request_file_delivered(file, &format!("run:{}", file.run_id), now);
        outbox::append(&mut tx, &ctx.settings.events.source, now, &[event]).await?;
    }
    crash_point("deliver: before commit");
    Ok(tx.commit().await?)
}

/// The run is sent when its last file is; one in which nothing was left to collect is closed with that.
async fn finish_run(ctx: &Context, lease: Lease) -> Result<(), StageError> {
    let now = ctx.clock.now();
    let mut tx = ctx.begin().await?;
    lease.lock(ctx, &mut tx).await?;
    if let Some(run) = runs::set_sent(&mut tx, lease.run_id, now).await? {
        let files = runs::files(&mut tx, run.run_id).await?;
        let causation = format!("run:{}", run.run_id);
        let mut events = vec![telling::run_changed(EventType::RunSent, &run, files, &causation, now)];
        if let Some(run) = runs::close_if_done(&mut tx, run.run_id, now).await? {
            events.push(telling::run_changed(EventType::RunClosed, &run, files, &causation, now));
        }
        outbox::append(&mut tx, &ctx.settings.events.source, now, &events).await?;
    }
    Ok(tx.commit().await?)
}
