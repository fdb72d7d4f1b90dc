//! A book is made anew from the message log of another one.
//!
//! In: the log of a database, in its order, and an empty database. Out: pieces of the log, which the caller takes to
//! the intake as of the time at which they came; at the end, every answer is held against the other's.
//! *Commits:* that the rebuild has begun, and that it is done; the pieces commit where they are taken. *If it dies:*
//! the database stays marked as unfinished: it takes no messages and makes no runs. Drop it and begin anew.
//!
//! The log is read in one snapshot. What is rebuilt from it is what rests on messages alone; runs, files and what banks
//! answered rest on other evidence, and requests for runs are passed over. So a book with runs is rebuilt for looking at it only: the database refuses to make runs in it.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use sqlx::{Postgres, Transaction};

use super::{Context, StageError};
use crate::crypt::Purpose;
use crate::store::rebuilds::{self, Answered, Step, What};
use crate::store::{MIGRATOR, gates};

/// Answers compared at a time.
const COMPARE_MAX: usize = 1000;

/// Something of the log, to be done as of then.
#[derive(Debug)]
pub enum Piece {
    /// Messages that were taken at one time.
    Came { at: DateTime<Utc>, messages: Vec<Message> },
    /// Waits, as (source, id), that ended before the next message came.
    WaitsEnded { at: DateTime<Utc>, waits: Vec<(String, String)> },
}

#[derive(Debug)]
pub struct Message {
    pub raw: Vec<u8>,
    /// `source/id`: for the person who looks at the quarantine.
    pub name: String,
}

/// The log of another database as of one moment.
pub struct Log {
    snapshot: Transaction<'static, Postgres>,
    read: VecDeque<Step>,
    /// When the last message came.
    at: DateTime<Utc>,
    pub messages: i64,
    pub runs: i64,
}

/// A message that was answered otherwise there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differing {
    pub source: String,
    pub id: String,
    pub there: String,
    pub here: String,
}

impl Log {
    /// Opens the log; `other` is a context over the other database.
    pub async fn open(other: &Context) -> Result<Log, StageError> {
        let mut snapshot = other.snapshot().await?;
        let ours = MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0);
        match rebuilds::schema_version(&mut snapshot).await? {
            Some(version) if version == ours => {}
            Some(version) => {
                return Err(StageError::Refused(format!(
                    "the database to rebuild from has schema {version}, this pikou has {ours}: use the one that belongs \
                     to it, or let this one bring it up to date by starting on it"
                )));
            }
            None => return Err(StageError::Refused("the database to rebuild from is none of pikou's".into())),
        }
        let (messages, runs) = rebuilds::size(&mut snapshot).await?;
        rebuilds::open_log(&mut snapshot).await?;
        Ok(Log { snapshot, read: VecDeque::new(), at: DateTime::UNIX_EPOCH, messages, runs })
    }

    /// The next piece: of one kind and one time, and no more than a batch.
    pub async fn next(&mut self, ctx: &Context) -> Result<Option<Piece>, StageError> {
        let batch_max = ctx.settings.intake.batch_max;
        let mut messages = Vec::new();
        let mut waits = Vec::new();
        while messages.len() < batch_max && waits.len() < batch_max {
            if self.read.is_empty() {
                self.read.extend(rebuilds::steps(&mut self.snapshot, batch_max).await?);
            }
            match self.read.pop_front() {
                None => break,
                Some(Step { source, id, what: What::WaitEnded }) if messages.is_empty() => {
                    waits.push((source, id));
                }
                Some(Step { source, id, what: What::Came { received_at, raw } })
                    if waits.is_empty() && (messages.is_empty() || received_at == self.at) =>
                {
                    let raw = ctx.keys.open(Purpose::RawMessage, &raw)?;
                    messages.push(Message { raw, name: format!("{source}/{id}") });
                    self.at = received_at;
                }
                Some(other) => {
                    self.read.push_front(other);
                    break;
                }
            }
        }
        Ok(match (messages.is_empty(), waits.is_empty()) {
            (false, _) => Some(Piece::Came { at: self.at, messages }),
            (true, false) => Some(Piece::WaitsEnded { at: self.at, waits }),
            (true, true) => None,
        })
    }
}

/// Marks the empty database as being rebuilt. Nobody else takes messages in it until that is done.
pub async fn begin(ctx: &Context, source: &str, log: &Log) -> Result<(), StageError> {
    let mut tx = ctx.begin().await?;
    // Owned: no batch is under way while we look.
    gates::own(&mut tx).await?;
    match rebuilds::not_empty(&mut tx).await?.as_deref() {
        None => {}
        Some("rebuilds") => {
            return Err(StageError::Refused(
                "a rebuild into this database was begun before: drop it and make a new one".into(),
            ));
        }
        Some(table) => {
            return Err(StageError::Refused(format!(
                "a rebuild needs an empty database, and there are {table} in the one at database.url"
            )));
        }
    }
    rebuilds::begin(&mut tx, source, log.messages, log.runs, ctx.clock.now()).await?;
    tx.commit().await?;
    Ok(())
}

/// Holds every answer against the one that was given there, and closes the rebuild. Returns how many differ, and the
/// first of them.
pub async fn finish(ctx: &Context, mut log: Log, named_max: usize) -> Result<(i64, Vec<Differing>), StageError> {
    let mut connection = ctx.pool.acquire().await?;
    let (mut differing, mut named) = (0, Vec::new());
    rebuilds::open_answers(&mut log.snapshot).await?;
    loop {
        let theirs = rebuilds::answers(&mut log.snapshot, COMPARE_MAX).await?;
        if theirs.is_empty() {
            break;
        }
        for ours in rebuilds::differing(&mut connection, &theirs).await? {
            differing += 1;
            if named.len() < named_max {
                let there = theirs.iter().find(|their| (&their.source, &their.id) == (&ours.source, &ours.id));
                let there = there.and_then(|their| their.answer.clone()).unwrap_or_default();
                let Answered { source, id, answer } = ours;
                named.push(Differing { source, id, there, here: answer.unwrap_or_else(|| "not taken".into()) });
            }
        }
    }
    rebuilds::finish(&mut connection, differing, ctx.clock.now()).await?;
    Ok((differing, named))
}
