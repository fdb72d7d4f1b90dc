//! The two lock files that order the processes which share one server.
//!
//! In come paths, out go open files that hold a lock until they are closed, by us or, after a SIGKILL, by the
//! kernel. Called by `start` and `leave` only. Nothing here blocks a thread: a lock that is taken is asked for
//! again, for a bounded time.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::EmbeddedError;

/// Longer than the longest honest stay behind the gate: initdb, start with recovery, role and database.
const GATE_MAX_WAIT: Duration = Duration::from_secs(360);
const GATE_POLL: Duration = Duration::from_millis(20);
/// Longer than a process takes from its fork to its program, on a busy machine.
const COPIES_MAX_WAIT: Duration = Duration::from_millis(400);

/// Exclusive: one at a time starts, attaches or leaves.
pub(super) async fn pass_gate(path: &Path) -> Result<File, EmbeddedError> {
    let file = open(path)?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if began.elapsed() < GATE_MAX_WAIT => {}
            Err(TryLockError::WouldBlock) => {
                let waited_seconds = GATE_MAX_WAIT.as_secs();
                return Err(EmbeddedError::GateBusy { path: path.to_owned(), waited_seconds });
            }
            Err(TryLockError::Error(source)) => return Err(EmbeddedError::File { path: path.to_owned(), source }),
        }
        tokio::time::sleep(GATE_POLL).await;
    }
}

/// Shared, for a user of the server. Under the gate it is free for sharing: exclusively it is taken only there.
pub(super) fn share(path: &Path) -> Result<File, EmbeddedError> {
    let file = open(path)?;
    match file.try_lock_shared() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(EmbeddedError::UseLockTaken { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(EmbeddedError::File { path: path.to_owned(), source }),
    }
}

/// Exclusive, if no user is left. Under the gate. Asked for some time: a process that somebody is just starting has a
/// copy of every open file, and of its lock, until it becomes the program that it is to be.
pub(super) async fn alone(path: &Path) -> Result<Option<File>, EmbeddedError> {
    let file = open(path)?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if began.elapsed() < COPIES_MAX_WAIT => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => return Err(EmbeddedError::File { path: path.to_owned(), source }),
        }
        tokio::time::sleep(GATE_POLL).await;
    }
}

fn open(path: &Path) -> Result<File, EmbeddedError> {
    // Never truncated or removed: a lock belongs to the file, not to its name.
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    opened.map_err(|source| EmbeddedError::File { path: path.to_owned(), source })
}
