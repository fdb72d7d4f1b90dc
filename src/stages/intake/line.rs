//! Batches in line: the next one is read and judged while the one before is written, and writes nothing until that is
//! committed. To the database they are like batches of two workers: each is read under its locks, and begins only when
//! the one before holds all of its own, so that what both are about is read when that is committed. If one fails, the
//! one behind it writes nothing either, and both come again in their order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::watch;

use crate::stages::StageError;

/// For so many batches known messages are looked for, from the beginning of a line and whenever one has come again.
/// Else that is left to the key of the log: a batch that breaks it begins again, and looks.
const LOOKS: u32 = 8;

/// How far a batch has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// It does not hold all its locks yet.
    Begun,
    /// It holds them, and needs nothing any more that the next one could have.
    Locked,
    /// It has lost them and begins again in parts: the next one must let go of its own.
    Again,
    Committed,
}

/// Gives out turns, in the order in which they are asked for.
#[derive(Debug)]
pub struct Line {
    last: Option<watch::Receiver<Progress>>,
    /// Batches that still look for known messages.
    looks: Arc<AtomicU32>,
}

impl Default for Line {
    fn default() -> Line {
        Line { last: None, looks: Arc::new(AtomicU32::new(LOOKS)) }
    }
}

impl Line {
    pub fn turn(&mut self) -> Turn {
        let (mine, behind) = watch::channel(Progress::Begun);
        Turn { before: self.last.replace(behind), mine, looks: Arc::clone(&self.looks) }
    }
}

/// A batch's place in the line; dropped before its commit, it has failed.
#[derive(Debug)]
pub struct Turn {
    before: Option<watch::Receiver<Progress>>,
    mine: watch::Sender<Progress>,
    looks: Arc<AtomicU32>,
}

impl Turn {
    /// Waits until the batch may be read.
    pub(super) async fn may_read(&mut self) -> Result<(), StageError> {
        let Some(before) = &mut self.before else { return Ok(()) };
        let reached = before.wait_for(|progress| *progress != Progress::Begun).await.map(|progress| *progress);
        match reached {
            Ok(Progress::Begun | Progress::Locked | Progress::Committed) => Ok(()),
            Ok(Progress::Again) => {
                let committed = before.wait_for(|progress| *progress == Progress::Committed).await;
                committed.map(drop).map_err(|_| failed())
            }
            Err(_) => Err(failed()),
        }
    }

    /// Waits until what was read may be written; `false`: it has to be let go and read again.
    pub(super) async fn may_write(&mut self) -> Result<bool, StageError> {
        self.mine.send_if_modified(|mine| {
            let first = *mine == Progress::Begun;
            if first {
                *mine = Progress::Locked;
            }
            first
        });
        let Some(before) = &mut self.before else { return Ok(true) };
        let ended = |progress: &Progress| matches!(progress, Progress::Again | Progress::Committed);
        let reached = before.wait_for(ended).await.map(|progress| *progress).map_err(|_| failed())?;
        Ok(reached == Progress::Committed)
    }

    /// Whether known messages are to be looked for.
    pub(super) fn looks(&self) -> bool {
        self.looks.load(Ordering::Relaxed) > 0
    }

    /// Notes how many known ones there were.
    pub(super) fn found(&self, known: usize) {
        let _ = self.looks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |looks| {
            Some(if known > 0 { LOOKS } else { looks.saturating_sub(1) })
        });
    }

    pub(super) fn begins_again(&self) {
        self.mine.send_replace(Progress::Again);
    }

    pub(super) fn committed(self) {
        self.mine.send_replace(Progress::Committed);
    }
}

fn failed() -> StageError {
    StageError::Later { what: "the batch before was not committed".into(), source: None }
}
