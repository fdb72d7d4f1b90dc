//! Sealed files are handed over in the gateway's folder.
//!
//! In: request files that are `sealed`, or `delivering` since a crash. Out: the file under its name, then its `.ok`
//! with SHA-256 and count; the row is `delivered`, the run `sent` when it was the last one.
//! *Commits:* `delivering` before the file gets the name under which the bank may take it, `delivered` after.
//! *If it dies:* what lies in the folder says how far it came. Where nothing lies there the bank may have taken it:
//! a person decides, unless the bank refuses a name it has seen, and then the same bytes may go again.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::lease::Lease;
use super::{Context, StageError, crash_point, telling};
use crate::contract::events::EventType;
use crate::crypt::{Purpose, hex};
use crate::store::request_files::{self, RequestFile};
use crate::store::{outbox, runs};

/// Where a file lies while it is handed over.
struct Places {
    part: PathBuf,
    whole: PathBuf,
    ok: PathBuf,
}

/// What a crash left in the folder.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    /// Under its name, with our bytes.
    Whole,
    /// Under its name, with other bytes.
    Foreign,
    Part,
    Nothing,
}

/// Hands over the files of a sealed run. Returns how many were delivered, and those that wait for a person.
pub async fn deliver(ctx: &Context, lease: Lease) -> Result<(usize, Vec<RequestFile>), StageError> {
    let mut connection = ctx.pool.acquire().await?;
    let files = request_files::in_states(&mut connection, lease.run_id, &["sealed", "delivering"]).await?;
    drop(connection);
    let mut delivered = 0;
    let mut held = Vec::new();
    for file in files {
        match deliver_file(ctx, lease, &file).await? {
            true => delivered += 1,
            false => held.push(file),
        }
    }
    finish_run(ctx, lease).await?;
    Ok((delivered, held))
}

async fn deliver_file(ctx: &Context, lease: Lease, file: &RequestFile) -> Result<bool, StageError> {
    let mut connection = ctx.pool.acquire().await?;
    let content = request_files::content(&mut connection, file.file_id).await?;
    drop(connection);
    let bytes = ctx.keys.open(Purpose::FileContent, &content)?;
    if file.sha256.as_deref() != Some(&Sha256::digest(&bytes)[..]) {
        return Err(StageError::broken(format!("{}: the sealed bytes are not those of its hash", file.file_name)));
    }
    let folder = ctx.settings.outbox(&file.bank_code);
    let places = Places::of(&folder, &file.file_name);
    let later = |source| StageError::later(format!("handing over {}", file.file_name), source);

    if file.state == "sealed" {
        // The bank never looks at a .part, so writing it decides nothing yet.
        places.write_part(&folder, &bytes).map_err(later)?;
        crash_point("deliver: part written");
    }
    // After a crash, too: whose run it is must be asked before the file gets the name under which the bank takes it.
    if !begin_delivery(ctx, lease, file).await? {
        return Ok(true);
    }
    crash_point("deliver: delivering");
    match places.left(&bytes).map_err(later)? {
        Left::Whole => {}
        Left::Part => places.finish(&folder, &bytes).map_err(later)?,
        Left::Nothing if ctx.settings.bank.refuses_repeated_names() => places.finish(&folder, &bytes).map_err(later)?,
        Left::Nothing => {
            return hold(ctx, lease, file, "the hand-over was interrupted, and the bank may have taken the file").await;
        }
        Left::Foreign => return hold(ctx, lease, file, "another file lies under its name").await,
    }
    crash_point("deliver: renamed");
    places.flag(&folder, &bytes, file.items.unwrap_or(0)).map_err(later)?;
    crash_point("deliver: flagged");
    end_delivery(ctx, lease, file).await?;
    Ok(true)
}

/// `false`: the bank has answered the file in the meantime, so it has it.
async fn begin_delivery(ctx: &Context, lease: Lease, file: &RequestFile) -> Result<bool, StageError> {
    let mut tx = ctx.begin().await?;
    lease.lock(ctx, &mut tx).await?;
    request_files::set_delivering(&mut tx, file.file_id, ctx.clock.now()).await?;
    let state = request_files::lock(&mut tx, file.file_id).await?.state;
    tx.commit().await?;
    Ok(state == "delivering")
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

impl Places {
    fn of(folder: &Path, file_name: &str) -> Places {
        let place = |end: &str| folder.join(format!("{file_name}{end}"));
        Places { part: place(".part"), whole: place(""), ok: place(".ok") }
    }

    fn left(&self, bytes: &[u8]) -> std::io::Result<Left> {
        match fs::read(&self.whole) {
            Ok(found) if found == bytes => Ok(Left::Whole),
            Ok(_) => Ok(Left::Foreign),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(if self.part.try_exists()? { Left::Part } else { Left::Nothing })
            }
            Err(error) => Err(error),
        }
    }

    fn write_part(&self, folder: &Path, bytes: &[u8]) -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        write_synced(&self.part, bytes)
    }

    /// A part from before a crash may be cut short, so it is written again.
    fn finish(&self, folder: &Path, bytes: &[u8]) -> std::io::Result<()> {
        self.write_part(folder, bytes)?;
        fs::rename(&self.part, &self.whole)?;
        File::open(folder)?.sync_all()
    }

    /// The flag file appears whole or not at all: the file's SHA-256 and its number of items.
    fn flag(&self, folder: &Path, bytes: &[u8], items: i64) -> std::io::Result<()> {
        let text = format!("{} {items}\n", hex(&Sha256::digest(bytes)));
        let draft = self.ok.with_extension("ok.part");
        write_synced(&draft, text.as_bytes())?;
        fs::rename(&draft, &self.ok)?;
        File::open(folder)?.sync_all()
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut out = File::create(path)?;
    out.write_all(bytes)?;
    out.sync_all()
}
