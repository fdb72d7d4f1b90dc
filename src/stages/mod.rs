//! The story: work is a row, and a stage takes rows from one state to the next in short transactions, together with
//! the event that tells the world. Read them in the order in which money moves:
//!
//! | stage | takes | leaves |
//! |---|---|---|
//! | [`intake`] | messages; time, when a wait has ended | facts, declarations, online orders, answers |
//! | [`fire`] | time, when a schedule is due | a run to be planned, or why there is none |
//! | [`preview`] | a schedule's firing | nothing: it shows what the plan would do |
//! | [`plan`] | a schedule's firing | a run: attempts, and skips with their reasons; or one that waits for a person |
//! | [`release`] | a run that waits | a planned one, by a person's decision |
//! | [`cancel`] | a run that is not sealed | none of its attempts, by a person's decision |
//! | [`seal`] | a planned run | request files, sealed bytes |
//! | [`deliver`] | sealed files | files in the gateway's folder |
//! | [`reconcile`] | a result file | payments, failures, discrepancies |
//! | [`resolve`] | a discrepancy | what a person decides on it: payments, failures, reversals |
//! | [`undo`] | an applied result file | the book as it was before it, by a person's decision |
//! | [`absence`] | time, when days are covered, due or over | what silence says: failures, discrepancies |
//! | [`reconcile::preview`] | a result file | nothing: it shows what the file would do |
//! | [`day_account`] | a gateway and a day | nothing: it shows whether their sums and ours agree |
//! | [`publish`] | the outbox | events, confirmed |
//! | [`hold`] | a person's decision | an amount that is held, or is not any more |
//! | [`quarantine`] | what was not understood | a person's decision on it |
//! | [`explain`] | a payer | nothing: it tells their whole story |
//! | [`rebuild`] | the message log of another book | an empty one, to be filled from it |
//! | [`rekey`] | values of older keys | the same values under the current key |
//!
//! No stage calls another: the row's state is the only hand-off, so a crash, a second worker and a missed tick are
//! all the same case. Only stages open transactions, and no network or file hand-over happens inside one.

use std::sync::Arc;

use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use crate::clock::Clock;
use crate::config::Settings;
use crate::crypt::{Keys, Ring, SealedError};
use crate::store::{self, Family, gates};

mod abreast;
pub mod absence;
pub mod aside;
mod bill;
pub mod cancel;
pub mod day_account;
pub mod decider;
pub mod deliver;
pub mod explain;
pub mod fire;
pub mod firing;
pub mod hold;
pub mod intake;
pub mod judging;
pub mod lease;
pub mod plan;
pub mod preview;
pub mod publish;
pub mod quarantine;
pub mod rebuild;
pub mod reconcile;
pub mod rekey;
pub mod release;
pub mod resolve;
pub mod seal;
mod spool;
mod staging;
pub mod telling;
pub mod turning;
pub mod undo;

/// What every stage gets.
#[derive(Clone)]
pub struct Context {
    pub pool: PgPool,
    pub settings: Arc<Settings>,
    pub keys: Arc<Keys>,
    pub clock: Clock,
    /// Who holds a lease: unique for each process.
    pub worker: String,
}

impl Context {
    /// Begins a transaction. It must never be cancelled half-way (no `select!`, no timeout around it): the
    /// connection would return to the pool inside it.
    pub async fn begin(&self) -> Result<Transaction<'static, Postgres>, StageError> {
        Ok(self.pool.begin().await?)
    }

    /// The keys that this transaction may seal values with. To be asked before it locks a row. A key that is retired
    /// in the database is never used again, also by a worker that has not heard of its successor.
    pub async fn sealer(&self, tx: &mut PgConnection) -> Result<Arc<Ring>, StageError> {
        let ring = self.keys.current();
        if gates::may_seal(tx, ring.key_id()).await? {
            return Ok(ring);
        }
        let ring = self.keys.look();
        if gates::may_seal(tx, ring.key_id()).await? {
            return Ok(ring);
        }
        let what = format!("key {} is retired, but the current one in this worker's key file", ring.key_id());
        Err(StageError::Later { what, source: None })
    }

    /// A transaction that reads everything as of one moment and writes nothing.
    pub async fn snapshot(&self) -> Result<Transaction<'static, Postgres>, StageError> {
        Ok(self.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?)
    }
}

/// Why a stage did not do its work. What the input is to blame for is an answer, not an error, except for
/// [`StageError::Refused`], where there is nobody to answer but the caller.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The world is not ready; the work stays where it is and trying again later helps.
    #[error("not now: {what}")]
    Later { what: String, source: Option<Box<dyn std::error::Error + Send + Sync>> },
    /// The input is wrong; trying again does not help.
    #[error("{0}")]
    Refused(String),
    /// Values that the database refuses.
    #[error("the database refuses the values")]
    Data(#[source] sqlx::Error),
    /// Our own book contradicts itself: that work stops, loudly.
    #[error("our own book is broken: {what}")]
    Broken { what: String, source: Option<Box<dyn std::error::Error + Send + Sync>> },
}

impl StageError {
    pub fn later(what: impl Into<String>, source: impl std::error::Error + Send + Sync + 'static) -> StageError {
        StageError::Later { what: what.into(), source: Some(Box::new(source)) }
    }

    pub fn broken(what: impl Into<String>) -> StageError {
        StageError::Broken { what: what.into(), source: None }
    }

    pub fn helps_later(&self) -> bool {
        matches!(self, StageError::Later { .. })
    }
}

impl From<sqlx::Error> for StageError {
    fn from(error: sqlx::Error) -> StageError {
        match store::family(&error) {
            // The pool does not say what each of its attempts has met.
            Family::Later if matches!(error, sqlx::Error::PoolTimedOut) => {
                let what = "no connection to the database: it is away, or all connections are in use".into();
                StageError::Later { what, source: None }
            }
            Family::Later => StageError::Later { what: "the database".into(), source: Some(Box::new(error)) },
            Family::Data => StageError::Data(error),
            Family::Broken => {
                let what = store::violated(&error).map(|name| format!("constraint {name}"));
                StageError::Broken { what: what.unwrap_or_else(|| "a statement".into()), source: Some(Box::new(error)) }
            }
        }
    }
}

impl From<SealedError> for StageError {
    fn from(error: SealedError) -> StageError {
        StageError::Broken { what: "an encrypted value".into(), source: Some(Box::new(error)) }
    }
}

/// A place where tests let the worker die. `PIKOU_DIE_AT=name` kills the process with SIGKILL when it gets there, and
/// `PIKOU_PANIC_AT=name` lets it panic, and `PIKOU_PAUSE_AT=name` stops it until it is told to go on; builds without debug
/// assertions, which is to say every release, do not contain it.
pub fn crash_point(name: &str) {
    #[cfg(debug_assertions)]
    assert!(std::env::var("PIKOU_PANIC_AT").as_deref() != Ok(name), "told to panic at {name}");
    #[cfg(debug_assertions)]
    if std::env::var("PIKOU_DIE_AT").is_ok_and(|at| at == name) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
    #[cfg(debug_assertions)]
    if std::env::var("PIKOU_PAUSE_AT").is_ok_and(|at| at == name) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
        // The signal may go to another thread, and this one must not go on until that has stopped them all.
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    #[cfg(not(debug_assertions))]
    let _ = name;
}
