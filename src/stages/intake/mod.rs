//! Messages become facts and declarations.
//!
//! In: a batch of deliveries, from the broker's consumer or from a file. Out: each is accepted, refused, stale,
//! waiting, repeated or quarantined, and the caller may acknowledge the batch.
//! *Commits:* once for the batch: log, facts, withdrawals, events. *If it dies:* nothing of the batch is there, the
//! broker delivers it again; after the commit it comes again too, and is recognised as repeated.

mod amounts;
mod book;
mod declarations;
mod entry;
mod facts;
mod line;
mod load;
mod orders;
mod runs;
mod waits;
mod write;

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::{Postgres, Transaction};

use crate::contract::envelope::{NotUnderstood, NotUnderstoodCode};
use crate::contract::events::{Data, Event, EventType, MessageData, Subject, WireEvent};
use crate::crypt::Purpose;
use crate::store::quarantine::Quarantined;
use crate::store::{attempts, gates, messages, outbox, quarantine, runs as stored_runs};

use super::{Context, StageError, crash_point, telling};
use book::Book;
use entry::{Entry, Standing, Understood, understand};
pub use line::{Line, Turn};
pub use waits::end_waits;

/// A message as it was delivered.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub raw: Vec<u8>,
    pub headers: Vec<(String, String)>,
    /// Queue, or file and line: for the person who looks at the quarantine.
    pub origin: String,
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

/// Takes a batch: [`prepare`] and [`commit`] in one go.
pub async fn take(ctx: &Context, deliveries: &[Delivery]) -> Result<Taken, StageError> {
    commit(ctx, &prepare(ctx, deliveries.to_vec()), Line::default().turn()).await
}

/// The part of the work that needs no database, so that it can be done for one batch while another one is committed.
pub fn prepare(ctx: &Context, deliveries: Vec<Delivery>) -> Vec<Prepared> {
    let one = |delivery: Delivery| Prepared {
        understood: understand(ctx, &delivery.raw).map(Arc::new),
        sealed: ctx.keys.seal(Purpose::RawMessage, &delivery.raw),
        delivery,
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
    let sources: Vec<&str> = understood().map(|one| one.source.as_str()).collect();
    let ids: Vec<&str> = understood().map(|one| one.id.as_str()).collect();
    let known = if looks { messages::known(&mut tx, &sources, &ids).await? } else { Vec::new() };
    let before = known.len();
    let known = known.into_iter().map(|(source, id, digest)| ((source, id), digest)).collect();
    let Sorted { fresh, repeated, quarantined } = sort(batch, unstorable, known);
    let sealed: Vec<&[u8]> = fresh.iter().map(|(_, one)| one.sealed.as_slice()).collect();
    let entries = fresh.iter().map(|(understood, _)| Entry::new(Arc::clone(understood), Standing::Fresh)).collect();
    let mut book = Book::new(ctx, entries, ctx.clock.now());
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
    later.extend(put_aside(ctx, &mut tx, quarantined, now).await?);
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
        events.extend(telling::withdrawn(&row, causes.get(row.payer_id.as_str()).unwrap_or(&""), now));
    }
    Ok(())
}

/// Bytes, headers, reason and position go into the quarantine; only then may the message be acknowledged.
async fn put_aside(
    ctx: &Context,
    tx: &mut sqlx::PgConnection,
    quarantined: Vec<(NotUnderstood, &Delivery)>,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<Vec<Event>, StageError> {
    let seal = |bytes: &[u8]| ctx.keys.seal(Purpose::RawMessage, bytes);
    let rows: Vec<Quarantined> = quarantined
        .iter()
        .map(|(fault, delivery)| Quarantined {
            origin: delivery.origin.clone(),
            code: fault.code.as_str(),
            reason: fault.reason.clone(),
            position: fault.position.clone(),
            raw: seal(&delivery.raw),
            headers: seal(&serde_json::to_vec(&delivery.headers).expect("headers are plain texts")),
        })
        .collect();
    let ids = quarantine::insert(tx, now, &rows).await?;
    let event = |(id, row): (&i64, &Quarantined)| Event {
        kind: EventType::MessageQuarantined,
        subject: Subject::Message(format!("quarantine/{id}")),
        sequence: 1,
        causation: format!("delivery:{}", row.origin),
        time: now,
        data: Data::Message(MessageData {
            code: Some(row.code),
            quarantine_id: Some(*id),
            reason: Some(row.reason.clone()),
            position: Some(row.position.clone()),
            ..MessageData::default()
        }),
    };
    Ok(ids.iter().zip(&rows).map(event).collect())
}

/// Payers whose standing has changed, each with the message that did it.
type Moved = Vec<(String, String)>;
