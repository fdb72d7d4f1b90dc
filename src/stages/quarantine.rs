//! What was not understood waits for a person, who looks, replays or discards.
//!
//! In: a person's decision on an entry, or what the broker itself gave up on. Out: the decision written down, and the
//! entry `replayed`, `discarded` or still open. The replay's way through the intake is the caller's: [`claim`] gives
//! the bytes out, [`Claim::settle`] takes the intake's answer.
//! *Commits:* once for a look, a settled replay, a batch of discards or of dead letters. *If it dies:* between the
//! intake's commit and the settling of a replay the entry is still open; replayed again, its message is `repeated`,
//! and the entry is settled by that.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::aside::{self, Aside};
pub use super::decider::Decider;
use super::{Context, StageError, crash_point};
use crate::contract::envelope::{NotUnderstood, NotUnderstoodCode};
use crate::crypt::Purpose;
use crate::store::quarantine::{self, Content, Decision, Entry, FailedReplay, Filter, NewDecision};
use crate::store::{gates, messages, outbox};

/// Entries decided on in one transaction, or read for one page of a bulk decision.
pub const BATCH_MAX: i64 = 500;

fn decision<'a>(decider: &'a Decider, what: &'static str, outcome: &'a str, now: DateTime<Utc>) -> NewDecision<'a> {
    NewDecision {
        decided_at: now,
        decided_by: decider.by(),
        reason: decider.reason(),
        what,
        outcome,
        mended: false,
        fault: None,
    }
}

/// A delivery's bytes and headers, as they came.
#[derive(Debug, Clone)]
pub struct Bytes {
    pub raw: Vec<u8>,
    pub headers: Vec<(String, String)>,
}

/// An entry with all that is known of it but its content.
#[derive(Debug, Clone)]
pub struct Shown {
    pub entry: Entry,
    pub size_bytes: usize,
    pub header_names: Vec<String>,
    pub decisions: Vec<Decision>,
}

/// Entries behind a key. One more than asked for tells that there are more.
pub async fn list(ctx: &Context, filter: Filter<'_>, after: i64, limit: i64) -> Result<Vec<Entry>, StageError> {
    let mut connection = ctx.pool.acquire().await?;
    Ok(quarantine::list(&mut connection, filter, after, limit).await?)
}

/// What is known of an entry.
pub async fn show(ctx: &Context, quarantine_id: i64) -> Result<Shown, StageError> {
    let mut snapshot = ctx.snapshot().await?;
    let entry = known(&mut snapshot, quarantine_id).await?;
    let bytes = open(ctx, quarantine::content(&mut snapshot, quarantine_id).await?)?;
    let decisions = quarantine::decisions(&mut snapshot, quarantine_id).await?;
    let header_names = bytes.headers.into_iter().map(|(name, _)| name).collect();
    Ok(Shown { entry, size_bytes: bytes.raw.len(), header_names, decisions })
}

/// The bytes of an entry, for a person's eyes: who looked, and why, is on record before they are handed out.
pub async fn look(ctx: &Context, quarantine_id: i64, decider: &Decider) -> Result<Vec<u8>, StageError> {
    let mut tx = ctx.begin().await?;
    known(&mut tx, quarantine_id).await?;
    let bytes = open(ctx, quarantine::content(&mut tx, quarantine_id).await?)?;
    let now = ctx.clock.now();
    quarantine::decide(&mut tx, &[quarantine_id], &decision(decider, "look", "shown", now)).await?;
    tx.commit().await?;
    Ok(bytes.raw)
}

/// An entry that nobody else decides on while this exists.
pub struct Claim {
    quarantine_id: i64,
    /// Holds the lock; taken out of the pool, so that dropping it ends the session, and the lock with it.
    connection: PgConnection,
    pub bytes: Bytes,
}

/// An open entry to be replayed, or the state of one that is decided.
pub enum Claimed {
    Open(Box<Claim>),
    Decided(String),
}

/// How a replay ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// Understood; what the intake answered.
    Understood(&'static str),
    NotUnderstood(FailedReplay),
    /// Decided before: the state it is in. Nothing happened.
    Decided(String),
}

/// Claims an entry for a replay. Waits for whoever decides on it now.
pub async fn claim(ctx: &Context, quarantine_id: i64) -> Result<Claimed, StageError> {
    let mut connection = ctx.pool.acquire().await?.detach();
    gates::decide_alone(&mut connection, quarantine_id).await?;
    let entry = known(&mut connection, quarantine_id).await?;
    if entry.state != "open" {
        return Ok(Claimed::Decided(entry.state));
    }
    let bytes = open(ctx, quarantine::content(&mut connection, quarantine_id).await?)?;
    Ok(Claimed::Open(Box::new(Claim { quarantine_id, connection, bytes })))
}

impl Claim {
    /// Writes down what the intake answered: one of its outcomes, or nothing if it did not understand the message.
    pub async fn settle(
        mut self,
        ctx: &Context,
        answer: Option<&'static str>,
        decider: &Decider,
        mended: bool,
    ) -> Result<Replayed, StageError> {
        crash_point("quarantine: before the decision");
        let entry = known(&mut self.connection, self.quarantine_id).await?;
        let replayed = match answer {
            Some(answer) => Replayed::Understood(answer),
            None => Replayed::NotUnderstood(entry.last_replay.ok_or_else(|| {
                StageError::broken(format!("the replay of entry {} has left no reason", self.quarantine_id))
            })?),
        };
        let fault = match &replayed {
            Replayed::NotUnderstood(fault) => Some(fault),
            Replayed::Understood(_) | Replayed::Decided(_) => None,
        };
        let outcome = answer.unwrap_or("not_understood");
        let decision = NewDecision { mended, fault, ..decision(decider, "replay", outcome, ctx.clock.now()) };
        // One statement, so one transaction: the decision and the state.
        quarantine::decide(&mut self.connection, &[self.quarantine_id], &decision).await?;
        Ok(replayed)
    }
}

/// Discards entries. Returns those that were decided before, each with its state.
pub async fn discard(
    ctx: &Context,
    quarantine_ids: &[i64],
    decider: &Decider,
) -> Result<Vec<(i64, String)>, StageError> {
    let mut tx = ctx.begin().await?;
    gates::decide(&mut tx, quarantine_ids).await?;
    let states = quarantine::states(&mut tx, quarantine_ids).await?;
    if let Some(unknown) = quarantine_ids.iter().find(|id| !states.iter().any(|(known, ..)| known == *id)) {
        return Err(no_entry(*unknown));
    }
    // The intake may be counting on them: it goes by digest.
    gates::digests(&mut tx, states.iter().filter_map(|(_, _, digest)| digest.as_deref())).await?;
    let (open, decided): (Vec<_>, Vec<_>) = states.into_iter().partition(|(_, state, _)| state == "open");
    let open: Vec<i64> = open.into_iter().map(|(id, ..)| id).collect();
    quarantine::decide(&mut tx, &open, &decision(decider, "discard", "discarded", ctx.clock.now())).await?;
    tx.commit().await?;
    let mut decided: Vec<(i64, String)> = decided.into_iter().map(|(id, state, _)| (id, state)).collect();
    decided.sort_unstable();
    Ok(decided)
}

/// The newest open entry of a code and how many there are: the bounds of a bulk decision.
pub async fn open_of(ctx: &Context, code: &str) -> Result<(i64, i64), StageError> {
    let mut connection = ctx.pool.acquire().await?;
    Ok(quarantine::open_of(&mut connection, code).await?)
}

/// A page of the open entries of a code, by key.
pub async fn open_page(ctx: &Context, code: &str, after: i64, through: i64) -> Result<Vec<i64>, StageError> {
    let mut connection = ctx.pool.acquire().await?;
    Ok(quarantine::open_ids(&mut connection, code, after, through, BATCH_MAX).await?)
}

/// A message that the broker gave up on.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    pub bytes: Bytes,
    pub origin: String,
    /// In the broker's words.
    pub death: String,
}

/// Puts dead letters aside; after this they may be acknowledged.
pub async fn put_dead(ctx: &Context, letters: &[DeadLetter]) -> Result<(), StageError> {
    let now = ctx.clock.now();
    let asides: Vec<Aside<'_>> = letters
        .iter()
        .map(|letter| Aside {
            fault: NotUnderstood {
                code: NotUnderstoodCode::DeadLetter,
                reason: format!("the broker gave it up: {}", letter.death).replace(char::is_control, "\u{fffd}"),
                position: String::new(),
            },
            raw: &letter.bytes.raw,
            headers: &letter.bytes.headers,
            origin: &letter.origin,
        })
        .collect();
    let mut tx = ctx.begin().await?;
    let sealer = ctx.sealer(&mut tx).await?;
    let events = aside::put(ctx, &sealer, &mut tx, &asides, now).await?;
    outbox::append(&mut tx, &ctx.settings.events.source, now, &events).await?;
    messages::note_batch(&mut tx, now, letters.len()).await?;
    crash_point("quarantine: before commit");
    tx.commit().await?;
    crash_point("quarantine: after commit");
    Ok(())
}

async fn known(connection: &mut PgConnection, quarantine_id: i64) -> Result<Entry, StageError> {
    quarantine::get(connection, quarantine_id).await?.ok_or_else(|| no_entry(quarantine_id))
}

fn no_entry(quarantine_id: i64) -> StageError {
    StageError::Refused(format!("there is no entry {quarantine_id} in the quarantine"))
}

/// Opens an entry, and sees that it is what was put aside.
fn open(ctx: &Context, content: Content) -> Result<Bytes, StageError> {
    let raw = ctx.keys.open(Purpose::RawMessage, &content.raw)?;
    let headers = ctx.keys.open(Purpose::RawMessage, &content.headers)?;
    let headers: Vec<(String, String)> =
        serde_json::from_slice(&headers).map_err(|_| StageError::broken("the headers of an entry are no headers"))?;
    let digest = aside::digest(ctx, &content.code, &raw, &headers);
    if content.digest.is_some_and(|known| known != digest) {
        return Err(StageError::broken("the bytes of an entry are not those that were put aside"));
    }
    Ok(Bytes { raw, headers })
}
