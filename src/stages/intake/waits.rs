//! Waits that have ended.
//!
//! In: messages that waited longer than is allowed. Out: refused, their declarations rejected, their orders kept as
//! refused; judged like any other message, only that waiting on is no answer any more. Called every few seconds.
//! *Commits:* once for each batch. *If it dies:* they are still overdue.

use sqlx::PgConnection;

use super::book::Book;
use super::entry::{Entry, Standing};
use super::load::{lock, understand_waiting};
use super::withdraw_moved;
use crate::stages::{Context, StageError};
use crate::store::messages::{self, Waiting};
use crate::store::{gates, outbox};

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
    let mut tx = ctx.begin().await?;
    let overdue = messages::overdue(&mut tx, ctx.clock.now(), BATCH_MAX).await?;
    if overdue.is_empty() {
        return Ok(0);
    }
    end(ctx, &mut tx, &overdue).await?;
    tx.commit().await?;
    Ok(overdue.len())
}

/// Ends given waits, by source and id, where they are not over: a rebuild ends them in their place in the log.
pub async fn end_these(ctx: &Context, keys: &[(String, String)]) -> Result<(), StageError> {
    let mut tx = ctx.begin().await?;
    let waits = messages::waits_of(&mut tx, keys).await?;
    end(ctx, &mut tx, &waits).await?;
    Ok(tx.commit().await?)
}

async fn end(ctx: &Context, tx: &mut PgConnection, overdue: &[Waiting]) -> Result<(), StageError> {
    let now = ctx.clock.now();
    gates::share(tx).await?;
    let entries: Result<Vec<Entry>, StageError> = overdue
        .iter()
        .map(|waiting| understand_waiting(ctx, waiting, Standing::Ended(waiting.wait_for.clone())))
        .collect();
    let mut entries = entries?;
    lock(tx, entries.iter().map(|entry| &entry.understood.message)).await?;
    // Under the locks, only those that still wait: what they waited for may have come in the meantime.
    let still = messages::still_waiting(tx, overdue).await?;
    let waits = |entry: &Entry| still.iter().any(|(s, i)| (s, i) == (&entry.understood.source, &entry.understood.id));
    entries.retain(waits);
    let ended: Vec<(String, String)> =
        entries.iter().map(|entry| (entry.understood.source.clone(), entry.understood.id.clone())).collect();
    let sealer = ctx.sealer(tx).await?;
    let mut book = Book::new(ctx, sealer, entries, now);
    book.load(tx).await?;
    book.judge();
    let moved = book.write(tx).await?;
    messages::end_waits(tx, &ended).await?;
    let mut events = std::mem::take(&mut book.events);
    withdraw_moved(tx, &moved, now, &mut events).await?;
    outbox::append(tx, &ctx.settings.events.source, now, &events).await?;
    Ok(())
}
