//! The relay: one process at a time publishes the outbox. Who it is, is a lock of its database session, which ends
//! with the process however that ends.

use std::time::Duration;

use sqlx::Connection;
use tokio_util::sync::CancellationToken;

use super::{PAUSE_FIRST, PAUSE_MAX, pause_until, report};
use crate::app::broker_settings;
use crate::broker::Publisher;
use crate::broker::jsonl::JsonLines;
use crate::stages::publish::{Ahead, Sink, publish_some};
use crate::stages::{Context, StageError};
use crate::store::gates;

/// How long the relay waits when there was nothing to tell.
const IDLE: Duration = Duration::from_millis(100);

/// Publishes until shutdown.
pub async fn run(ctx: &Context, shutdown: CancellationToken) {
    let mut pause = PAUSE_FIRST;
    while !shutdown.is_cancelled() {
        match relay(ctx, &shutdown, &mut pause).await {
            Ok(()) => {}
            Err(error) => {
                report("relay", &error);
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
        pause_until(&shutdown, tokio::time::sleep(pause)).await;
    }
}

/// Publishes everything there is, once, unless another process is the relay. Returns the number of events.
pub async fn drain(ctx: &Context) -> Result<usize, StageError> {
    drain_with(ctx, |_| ()).await
}

/// [`drain`], telling after each piece how many events it was.
pub async fn drain_with(ctx: &Context, mut progress: impl FnMut(usize)) -> Result<usize, StageError> {
    let Some(mut connection) = lead(ctx).await? else { return Ok(0) };
    let (mut sink, mut ahead) = (open(ctx).await?, Ahead::default());
    let mut published = 0;
    let drained = loop {
        match publish_some(ctx, &mut connection, &mut sink, &mut ahead).await {
            Ok(0) => break Ok(published),
            Ok(some) => {
                progress(some);
                published += some;
            }
            Err(error) => break Err(error),
        }
    };
    close(sink).await;
    // Said goodbye to, or the server would hold the lock a moment longer than we do.
    let _ = connection.close().await;
    drained
}

async fn relay(ctx: &Context, shutdown: &CancellationToken, pause: &mut Duration) -> Result<(), StageError> {
    let Some(mut connection) = lead(ctx).await? else {
        *pause = PAUSE_FIRST;
        return Ok(());
    };
    let (mut sink, mut ahead) = (open(ctx).await?, Ahead::default());
    while !shutdown.is_cancelled() {
        match publish_some(ctx, &mut connection, &mut sink, &mut ahead).await {
            Ok(0) => pause_until(shutdown, tokio::time::sleep(IDLE)).await,
            Ok(_) => *pause = PAUSE_FIRST,
            // After a fault the publisher is spent; the next turn connects anew.
            Err(error) => return Err(error),
        }
    }
    close(sink).await;
    let _ = connection.close().await;
    Ok(())
}

/// A connection that holds the relay's lock. It is taken out of the pool, so that dropping it ends the session and
/// with it the lock; one that was not given the lock goes back.
async fn lead(ctx: &Context) -> Result<Option<sqlx::PgConnection>, StageError> {
    let mut connection = ctx.pool.acquire().await?;
    Ok(gates::try_relay(&mut connection).await?.then(|| connection.detach()))
}

async fn open(ctx: &Context) -> Result<Sink, StageError> {
    if ctx.settings.is_embedded_broker() {
        let path = ctx.settings.events_file();
        let file = JsonLines::open(&path)
            .map_err(|error| StageError::later(format!("opening the file of events {}", path.display()), error))?;
        return Ok(Sink::File(file));
    }
    let settings = broker_settings(&ctx.settings);
    let later = |error| StageError::later("connecting to the broker", error);
    let publisher = Box::new(Publisher::connect(&settings).await.map_err(later)?);
    Ok(Sink::Broker { publisher, exchange: settings.exchange_events })
}

async fn close(sink: Sink) {
    if let Sink::Broker { publisher, .. } = sink {
        publisher.close().await;
    }
}
