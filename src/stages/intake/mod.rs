//! Messages become facts and declarations.
//!
//! In: a batch of deliveries, from the broker's consumer or from a file. Out: each is accepted, refused, stale,
//! waiting, repeated or quarantined, and the caller may acknowledge the batch.
//! *Commits:* once for the batch: log, facts, withdrawals, events. *If it dies:* nothing of the batch is there, the
//! broker delivers it again; after the commit it comes again too, and is recognised as repeated.

mod amounts;
mod book;
mod carried;
mod declarations;
mod entry;
mod facts;
mod kept;
mod line;
mod load;
mod orders;
mod runs;
mod waits;
mod write;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use sqlx::{Postgres, Transaction};

use crate::contract::envelope::{NotUnderstood, NotUnderstoodCode};
use crate::contract::events::{Event, WireEvent};
use crate::contract::inbound::MESSAGES;
use crate::crypt::{Purpose, Ring, value};
use crate::store::{attempts, gates, messages, outbox, runs as stored_runs};

use super::aside::{self, Aside};
use super::{Context, StageError, crash_point, telling};
use book::Book;
use entry::{Entry, Standing, Understood, understand};
pub use line::{Line, Turn};
pub use waits::{end_these, end_waits};

/// A message as it was delivered.
#[derive(Clone)]
pub struct Delivery {
    pub raw: Vec<u8>,
    /// Those of the broker, with the content type as `content-type`: an event in binary mode is in them.
    pub headers: Vec<(String, String)>,
    /// Queue, or file and line: for the person who looks at the quarantine.
    pub origin: String,
}

/// Neither body nor headers: what is personal stays out of logs and panics.
impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Delivery {{ origin: {:?}, bytes: {} }}", self.origin, self.raw.len())
    }
}

/// Where a message of the broker came from. A routing key that is none of ours may hold anything, and is not repeated:
/// origins are stored as they are, and published.
pub fn origin(queue: &str, routing_key: &str) -> String {
    format!("{queue}#{}", if MESSAGES.contains(&routing_key) { routing_key } else { "?" })
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    pub accepted: usize,
    pub refused: usize,
    pub stale: usize,
    pub waiting: usize,
    pub repeated: usize,
    pub quarantined: usize,
}

impl Taken {
    pub fn total(&self) -> usize {
        self.accepted + self.refused + self.stale + self.waiting + self.repeated + self.quarantined
    }

    pub fn add(&mut self, other: Taken) {
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.stale += other.stale;
        self.waiting += other.waiting;
        self.repeated += other.repeated;
        self.quarantined += other.quarantined;
    }
}

/// A delivery after everything that needs no database: read, and its bytes encrypted.
pub struct Prepared {
    understood: Result<Arc<Understood>, NotUnderstood>,
    sealed: Vec<u8>,
    delivery: Delivery,
}

/// What the log keeps of a delivery that is understood: a structured event, in whichever mode it came.
fn logged<'d>(understood: &'d Result<Arc<Understood>, NotUnderstood>, delivery: &'d Delivery) -> &'d [u8] {
    understood.as_ref().map_or(&delivery.raw[..], |message| message.logged(&delivery.raw))
}

impl Prepared {
    /// Its bytes under the key that the transaction may use; by then it may be another one.
    fn sealed_with(&self, sealer: &Ring) -> Cow<'_, [u8]> {
        match value::key_id(&self.sealed) {
            Ok(id) if id == sealer.key_id() => Cow::Borrowed(&self.sealed),
            Ok(_) | Err(_) => Cow::Owned(sealer.seal(Purpose::RawMessage, logged(&self.understood, &self.delivery))),
        }
    }
}

/// Takes a batch: [`prepare`] and [`commit`] in one go.
pub async fn take(ctx: &Context, deliveries: &[Delivery]) -> Result<Taken, StageError> {
    commit(ctx, &prepare(ctx, deliveries.to_vec()), Line::default().turn()).await
}

/// The part of the work that needs no database, so that it can be done for one batch while another one is committed.
pub fn prepare(ctx: &Context, deliveries: Vec<Delivery>) -> Vec<Prepared> {
    let ring = ctx.keys.current();
    let one = |delivery: Delivery| {
        let understood = understand(ctx, &delivery.raw, &delivery.headers).map(Arc::new);
        let sealed = ring.seal(Purpose::RawMessage, logged(&understood, &delivery));
        Prepared { sealed, understood, delivery }
    };
    deliveries.into_iter().map(one).collect()
}

/// Judges a batch, and writes it down when its turn comes. One that the database refuses for its values is halved until
/// the one message is found, and that one goes into the quarantine: poison never blocks the queue.
pub async fn commit(ctx: &Context, prepared: &[Prepared], mut turn: Turn) -> Result<Taken, StageError> {
    let mut taken = Taken::default();
    let mut batches = vec![prepared];
    while let Some(batch) = batches.pop() {
        match take_batch(ctx, batch, None, &mut turn).await {
            Ok(some) => taken.add(some),
            Err(StageError::Data(error)) if batch.len() == 1 => {
                turn.begins_again();
                tracing::error!(%error, "a message holds values that the database refuses");
                let fault = NotUnderstood {
                    code: NotUnderstoodCode::Unstorable,
                    reason: "the database refuses the values".into(),
                    position: String::new(),
                };
                taken.add(take_batch(ctx, batch, Some(fault), &mut turn).await?);
            }
            Err(StageError::Data(_)) => {
                turn.begins_again();
                let (first, second) = batch.split_at(batch.len() / 2);
                batches.extend([second, first]);
            }
            Err(error) => return Err(error),
        }
    }
    turn.committed();
    Ok(taken)
}

/// A batch, told apart.
#[derive(Default)]
struct Sorted<'p> {
    fresh: Vec<(&'p Arc<Understood>, &'p Prepared)>,
    /// Source and id of each.
    repeated: (Vec<String>, Vec<String>),
    quarantined: Vec<(NotUnderstood, &'p Delivery)>,
}

/// `known` holds the digests of those that came before; the first of a kind within the batch counts as new, too.
fn sort<'p>(
    batch: &'p [Prepared],
    unstorable: Option<&NotUnderstood>,
    mut known: HashMap<(String, String), Vec<u8>>,
) -> Sorted<'p> {
    let mut sorted = Sorted::default();
    for one in batch {
        let message = match (unstorable, &one.understood) {
            (Some(fault), _) | (None, Err(fault)) => {
                sorted.quarantined.push((fault.clone(), &one.delivery));
                continue;
            }
            (None, Ok(message)) => message,
        };
        match known.get(&(message.source.clone(), message.id.clone())) {
            None => {
                known.insert((message.source.clone(), message.id.clone()), message.digest.to_vec());
                sorted.fresh.push((message, one));
            }
            Some(digest) if digest[..] == message.digest => {
                sorted.repeated.0.push(message.source.clone());
                sorted.repeated.1.push(message.id.clone());
            }
            Some(_) => {
                let reason = format!("message {} of {} came before with other content", message.id, message.source);
                let fault = NotUnderstood { code: NotUnderstoodCode::Conflict, reason, position: "id".into() };
                sorted.quarantined.push((fault, &one.delivery));
            }
        }
    }
    sorted
}

async fn take_batch(
    ctx: &Context,
    batch: &[Prepared],
    unstorable: Option<NotUnderstood>,
    turn: &mut Turn,
) -> Result<Taken, StageError> {
    loop {
        turn.may_read().await?;
        let looked = turn.looks();
        let read = read_batch(ctx, batch, unstorable.as_ref(), looked).await?;
        if !turn.may_write().await? {
            turn.begins_again();
            read.tx.rollback().await?;
            continue;
        }
        let known = read.known;
        if let Some(taken) = write_batch(ctx, read).await? {
            turn.found(known);
            return Ok(taken);
        }
        if looked {
            // Same id under two payers, taken by two workers at once: the second look will recognise it.
            return Err(StageError::Later { what: "another worker took one of the messages".into(), source: None });
        }
        turn.found(1);
        turn.begins_again();
    }
}

/// A batch that is judged, under its locks, and not written yet.
struct Read<'p> {
    tx: Transaction<'static, Postgres>,
    book: Book<'p>,
    /// Messages that came before, if they were looked for.
    known: usize,
    /// What is sure to be written if the fresh ones are, made ready while another batch may be under way.
    messages: messages::Ready,
    events: Vec<WireEvent>,
    taken: Taken,
    repeated: (Vec<String>, Vec<String>),
    quarantined: Vec<(NotUnderstood, &'p Delivery)>,
}

async fn read_batch<'p>(
    ctx: &'p Context,
    batch: &'p [Prepared],
    unstorable: Option<&NotUnderstood>,
    looks: bool,
) -> Result<Read<'p>, StageError> {
    let understood = || batch.iter().filter(|_| unstorable.is_none()).filter_map(|one| one.understood.as_ref().ok());
    let mut tx = ctx.begin().await?;
    gates::share(&mut tx).await?;
    load::lock(&mut tx, understood().map(|one| &one.message)).await?;
    let sealer = ctx.sealer(&mut tx).await?;
    let sources: Vec<&str> = understood().map(|one| one.source.as_str()).collect();
    let ids: Vec<&str> = understood().map(|one| one.id.as_str()).collect();
    let known = if looks { messages::known(&mut tx, &sources, &ids).await? } else { Vec::new() };
    let before = known.len();
    let known = known.into_iter().map(|(source, id, digest)| ((source, id), digest)).collect();
    let Sorted { fresh, repeated, quarantined } = sort(batch, unstorable, known);
    let sealed: Vec<Cow<'_, [u8]>> = fresh.iter().map(|(_, one)| one.sealed_with(&sealer)).collect();
    let sealed: Vec<&[u8]> = sealed.iter().map(AsRef::as_ref).collect();
    let entries = fresh.iter().map(|(understood, _)| Entry::new(Arc::clone(understood), Standing::Fresh)).collect();

    let mut book = Book::new(ctx, sealer, entries, ctx.clock.now());
    book.load(&mut tx).await?;
    book.judge();
    let mut taken = Taken { repeated: repeated.0.len(), quarantined: quarantined.len(), ..Taken::default() };
    let payers = book.payers();
    let rows = book.message_rows(&payers, &sealed);
    for row in &rows {
        match row.outcome {
            "accepted" => taken.accepted += 1,
            "refused" => taken.refused += 1,
            "stale" => taken.stale += 1,
            _ => taken.waiting += 1,
        }
    }
    let messages = messages::ready(book.now, &rows, batch.len());
    let source = &ctx.settings.events.source;
    let events = std::mem::take(&mut book.events).iter().map(|event| event.to_wire(source)).collect();
    Ok(Read { tx, book, known: before, messages, events, taken, repeated, quarantined })
}

/// Nothing, and nothing written, if one of the messages is in the log by now.
async fn write_batch(ctx: &Context, read: Read<'_>) -> Result<Option<Taken>, StageError> {
    let Read { mut tx, mut book, messages, mut events, taken, repeated, quarantined, .. } = read;
    let now = book.now;
    if !messages::insert(&mut tx, messages).await? {
        tx.rollback().await?;
        return Ok(None);
    }
    let moved = book.write(&mut tx).await?;
    let mut later = std::mem::take(&mut book.events);
    if !repeated.0.is_empty() {
        messages::count_repeated(&mut tx, &repeated.0, &repeated.1).await?;
    }
    let asides: Vec<Aside<'_>> = quarantined
        .into_iter()
        .map(|(fault, Delivery { raw, headers, origin })| Aside { fault, raw, headers, origin })
        .collect();
    later.extend(aside::put(ctx, &book.sealer, &mut tx, &asides, now).await?);
    withdraw_moved(&mut tx, &moved, now, &mut later).await?;
    events.extend(later.iter().map(|event| event.to_wire(&ctx.settings.events.source)));
    outbox::append_written(&mut tx, now, &events).await?;
    crash_point("intake: before commit");
    tx.commit().await?;
    crash_point("intake: after commit");
    Ok(Some(taken))
}

/// Withdraws what is planned for these payers and has lost its ground.
async fn withdraw_moved(
    tx: &mut sqlx::PgConnection,
    moved: &Moved,
    now: chrono::DateTime<chrono::Utc>,
    events: &mut Vec<Event>,
) -> Result<(), StageError> {
    if moved.is_empty() || !stored_runs::any_unsealed(tx).await? {
        return Ok(());
    }
    let payers: Vec<&str> = moved.iter().map(|(payer, _)| payer.as_str()).collect();
    let causes: HashMap<&str, &str> = moved.iter().map(|(payer, cause)| (payer.as_str(), cause.as_str())).collect();
    for row in attempts::withdraw_outdated_of_payers(tx, &payers).await? {
        events.extend(telling::withdrawn(&row, causes.get(row.attempt.payer_id.as_str()).unwrap_or(&""), now));
    }
    Ok(())
}

/// Payers whose standing has changed, each with the message that did it.
type Moved = Vec<(String, String)>;
