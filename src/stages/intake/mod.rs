//! Messages become facts and declarations.
//!
//! In: a batch of deliveries, from the broker's consumer or from a file. Out: each is accepted, refused, stale,
//! waiting, repeated or quarantined, and the caller may acknowledge the batch.
//! *Commits:* once for the batch: log, facts, withdrawals, events. *If it dies:* nothing of the batch is there, the
//! broker delivers it again; after the commit it comes again too, and is recognised as repeated.

mod book;
mod judge;

use std::collections::{HashMap, HashSet};

use crate::contract::envelope::{self, Envelope, NotUnderstood, NotUnderstoodCode};
use crate::contract::inbound::Message;
use crate::crypt::Purpose;
use crate::domain::amount_setting::FactOrder;
use crate::store::{attempts, gates, messages, outbox, runs};

use super::aside::{self, Aside};
use super::{Context, StageError, crash_point, telling};
use book::Book;

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

/// A message that is understood.
pub(crate) struct Understood {
    pub source: String,
    pub id: String,
    pub kind: String,
    pub order: FactOrder,
    pub message: Message,
    pub digest: [u8; 32],
}

/// Takes a batch. A batch that the database refuses for its values is halved until the one message is found, and
/// that one goes into the quarantine: poison never blocks the queue.
pub async fn take(ctx: &Context, deliveries: &[Delivery]) -> Result<Taken, StageError> {
    let mut taken = Taken::default();
    let mut batches = vec![deliveries];
    while let Some(batch) = batches.pop() {
        match take_batch(ctx, batch, None).await {
            Ok(some) => taken.add(some),
            Err(StageError::Data(error)) if batch.len() == 1 => {
                tracing::error!(%error, "a message holds values that the database refuses");
                let fault = NotUnderstood {
                    code: NotUnderstoodCode::Unstorable,
                    reason: "the database refuses the values".into(),
                    position: String::new(),
                };
                taken.add(take_batch(ctx, batch, Some(fault)).await?);
            }
            Err(StageError::Data(_)) => {
                let (first, second) = batch.split_at(batch.len() / 2);
                batches.extend([second, first]);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}

/// Reads one message.
pub(crate) fn understand(ctx: &Context, raw: &[u8]) -> Result<Understood, NotUnderstood> {
    let envelope = envelope::read(raw, ctx.settings.intake.message_max_bytes)?;
    let message = Message::read(&envelope, &ctx.settings.insurance_types)?;
    let digest = ctx.keys.digest(envelope.canonical.as_bytes());
    let Envelope { source, id, kind, time, .. } = envelope;
    // A blank is lower than every character of an id, so this sorts by id and then by source.
    let order = FactOrder { time, id: format!("{id} {source}") };
    Ok(Understood { source, id, kind, order, message, digest })
}

async fn take_batch(
    ctx: &Context,
    deliveries: &[Delivery],
    unstorable: Option<NotUnderstood>,
) -> Result<Taken, StageError> {
    let now = ctx.clock.now();
    let read = |delivery: &Delivery| match &unstorable {
        Some(fault) => Err(fault.clone()),
        None => understand(ctx, &delivery.raw),
    };
    let read: Vec<Result<Understood, NotUnderstood>> = deliveries.iter().map(read).collect();
    let understood = || read.iter().filter_map(|message| message.as_ref().ok());

    let mut tx = ctx.begin().await?;
    gates::share(&mut tx).await?;
    let payers = understood().map(|message| message.message.payer_id().as_str());
    let numbers = understood().filter_map(|message| message.message.declaration_no());
    gates::keys(&mut tx, payers.chain(numbers)).await?;

    // Which are new? The first of a kind within the batch counts as new, too.
    let sources: Vec<&str> = understood().map(|message| message.source.as_str()).collect();
    let ids: Vec<&str> = understood().map(|message| message.id.as_str()).collect();
    let mut known: HashMap<(String, String), Vec<u8>> =
        messages::known(&mut tx, &sources, &ids).await?.into_iter().map(|(s, i, digest)| ((s, i), digest)).collect();

    let mut fresh = Vec::new();
    let mut repeated = (Vec::new(), Vec::new());
    let mut quarantined = Vec::new();
    for (message, delivery) in read.into_iter().zip(deliveries) {
        match message {
            Err(fault) => quarantined.push((fault, delivery)),
            Ok(message) => match known.get(&(message.source.clone(), message.id.clone())) {
                None => {
                    known.insert((message.source.clone(), message.id.clone()), message.digest.to_vec());
                    fresh.push((message, delivery));
                }
                Some(digest) if digest[..] == message.digest => {
                    repeated.0.push(message.source);
                    repeated.1.push(message.id);
                }
                Some(_) => {
                    let reason = format!("message {} of {} came before with other content", message.id, message.source);
                    let fault = NotUnderstood { code: NotUnderstoodCode::Conflict, reason, position: "id".into() };
                    quarantined.push((fault, delivery));
                }
            },
        }
    }

    let mut taken = Taken { repeated: repeated.0.len(), quarantined: quarantined.len(), ..Taken::default() };
    let (fresh, fresh_deliveries): (Vec<_>, Vec<_>) = fresh.into_iter().unzip();
    let mut book = Book::load(ctx, &mut tx, fresh, now).await?;
    book.judge();
    let rows = book.message_rows(&fresh_deliveries, |raw| ctx.keys.seal(Purpose::RawMessage, raw));
    for row in &rows {
        match row.outcome {
            "accepted" => taken.accepted += 1,
            "refused" => taken.refused += 1,
            "stale" => taken.stale += 1,
            _ => taken.waiting += 1,
        }
    }
    let moved = book.write(&mut tx).await?;
    let mut events = book.into_events();

    if !messages::insert(&mut tx, now, &rows).await? {
        // Same id under two payers, taken by two workers at once: the second look will recognise it.
        return Err(StageError::Later { what: "another worker took one of the messages".into(), source: None });
    }
    if !repeated.0.is_empty() {
        messages::count_repeated(&mut tx, &repeated.0, &repeated.1).await?;
    }
    let asides: Vec<Aside<'_>> = quarantined
        .into_iter()
        .map(|(fault, Delivery { raw, headers, origin })| Aside { fault, raw, headers, origin })
        .collect();
    events.extend(aside::put(ctx, &mut tx, &asides, now).await?);
    if !moved.is_empty() && runs::any_unsealed(&mut tx).await? {
        let payers: Vec<&str> = moved.iter().map(|(payer, _)| payer.as_str()).collect();
        let causes: HashMap<&str, &str> = moved.iter().map(|(payer, cause)| (payer.as_str(), cause.as_str())).collect();
        for row in attempts::withdraw_outdated_of_payers(&mut tx, &payers).await? {
            events.extend(telling::withdrawn(&row, causes.get(row.payer_id.as_str()).unwrap_or(&""), now));
        }
    }
    outbox::append(&mut tx, &ctx.settings.events.source, now, &events).await?;
    messages::note_batch(&mut tx, now, deliveries.len()).await?;
    crash_point("intake: before commit");
    tx.commit().await?;
    crash_point("intake: after commit");
    Ok(taken)
}

/// Payers whose standing has changed, each with the message that did it.
pub(crate) type Moved = Vec<(String, String)>;

/// Distinct texts, as arrays for a statement.
pub(crate) fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = HashSet::new();
    texts.filter(|text| seen.insert(*text)).collect()
}
