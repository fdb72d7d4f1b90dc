//! Quarantined messages go through the intake again, one by one; and what the broker gave up on comes to them.

use tokio_util::sync::CancellationToken;

use super::intake::{cannot_consume, delivery};
use super::report;
use crate::app::broker_settings;
use crate::broker::{self, HandlerLater, Incoming};
use crate::stages::aside::replay_origin;
use crate::stages::decider::Decider;
use crate::stages::intake::{Delivery, Taken, take};
use crate::stages::quarantine::{self, Bytes, Claimed, DeadLetter, Replayed};
use crate::stages::{Context, StageError};

/// Replays an entry: its own bytes, or mended ones under its headers.
pub async fn replay(
    ctx: &Context,
    quarantine_id: i64,
    mended: Option<Vec<u8>>,
    decider: &Decider,
) -> Result<Replayed, StageError> {
    let mut claim = match quarantine::claim(ctx, quarantine_id).await? {
        Claimed::Open(claim) => claim,
        Claimed::Decided(state) => return Ok(Replayed::Decided(state)),
    };
    let headers = std::mem::take(&mut claim.bytes.headers);
    let own = std::mem::take(&mut claim.bytes.raw);
    let is_mended = mended.as_ref().is_some_and(|mended| *mended != own);
    let delivery = Delivery { raw: mended.unwrap_or(own), headers, origin: replay_origin(quarantine_id) };
    let taken = take(ctx, &[delivery]).await?;
    claim.settle(ctx, answer(taken), decider, is_mended).await
}

/// The outcome of the one message that was taken; nothing if it was not understood.
fn answer(taken: Taken) -> Option<&'static str> {
    let Taken { accepted, refused, stale, waiting, repeated, quarantined: _ } = taken;
    let counts =
        [(accepted, "accepted"), (refused, "refused"), (stale, "stale"), (waiting, "waiting"), (repeated, "repeated")];
    counts.into_iter().find(|(count, _)| *count > 0).map(|(_, answer)| answer)
}

/// Drains the broker's dead letters until shutdown. Without a broker there are none.
pub async fn consume_dead(ctx: &Context, shutdown: CancellationToken) -> Result<(), StageError> {
    if ctx.settings.is_embedded_broker() {
        shutdown.cancelled().await;
        return Ok(());
    }
    let settings = broker_settings(&ctx.settings);
    let queue = settings.dead();
    let handler = |batch: Vec<Incoming>| {
        let (ctx, queue) = (ctx.clone(), queue.clone());
        async move {
            let letters: Vec<DeadLetter> = batch
                .into_iter()
                .map(|message| {
                    let death = message.death();
                    let Delivery { raw, headers, origin } = delivery(&queue, message);
                    DeadLetter { death, origin, bytes: Bytes { raw, headers } }
                })
                .collect();
            match quarantine::put_dead(&ctx, &letters).await {
                Ok(()) => {
                    tracing::warn!(messages = letters.len(), "the broker gave messages up; they are in the quarantine");
                    Ok(())
                }
                Err(error) => {
                    report("dead letters", &error);
                    Err(HandlerLater { reason: error.to_string() })
                }
            }
        }
    };
    broker::consume_dead(&settings, shutdown, handler).await.map_err(cannot_consume)
}
