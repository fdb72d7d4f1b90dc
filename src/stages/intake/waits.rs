//! Waits that have ended.
//!
//! In: messages that waited longer than is allowed. Out: refused, their declarations rejected, their orders kept as
//! refused; judged like any other message, only that waiting on is no answer any more. Called every few seconds.
//! *Commits:* once for each batch. *If it dies:* they are still overdue.

use super::book::Book;
use super::entry::{Entry, Standing};
use super::load::{lock, understand_waiting};
use super::withdraw_moved;
use crate::stages::{Context, StageError};
use crate::store::{gates, messages, outbox};

/// Messages in one transaction.
const BATCH_MAX: i64 = 500;

/// Answers the messages whose wait is over. Returns how many.
pub async fn end_waits(ctx: &Context) -> Result<usize, StageError> {
    let mut ended = 0;
    loop {
        let some = end_some(ctx).await?;
        ended += some;
        if some < BATCH_MAX as usize {
            return Ok(ended);
        }
    }
}

async fn end_some(ctx: &Context) -> Result<usize, StageError> {
    let now = ctx.clock.now();
    let mut tx = ctx.begin().await?;
    let overdue = messages::overdue(&mut tx, now, BATCH_MAX).await?;
    if overdue.is_empty() {
        return Ok(0);
    }
    gates::share(&mut tx).await?;
    let entries: Result<Vec<Entry>, StageError> = overdue
        .iter()
        .map(|waiting| understand_waiting(ctx, waiting, Standing::Ended(waiting.wait_for.clone())))
        .collect();
    let mut entries = entries?;
    lock(&mut tx, entries.iter().map(|entry| &entry.understood.message)).await?;
    // Under the locks, only those that still wait: what they waited for may have come in the meantime.
    let still = messages::still_waiting(&mut tx, &overdue).await?;
    let waits = |entry: &Entry| still.iter().any(|(s, i)| (s, i) == (&entry.understood.source, &entry.understood.id));
    entries.retain(waits);
    let sealer = ctx.sealer(&mut tx).await?;
    let mut book = Book::new(ctx, &sealer, entries, now);
    book.load(&mut tx).await?;
    book.judge();
    let moved = book.write(&mut tx).await?;
    let mut events = std::mem::take(&mut book.events);
    withdraw_moved(&mut tx, &moved, now, &mut events).await?;
    outbox::append(&mut tx, &ctx.settings.events.source, now, &events).await?;
    tx.commit().await?;
    Ok(overdue.len())
}
