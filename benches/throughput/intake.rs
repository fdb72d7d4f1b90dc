//! Intake with its full effect: from the inbox, through the worker's own consumer, until everything is committed.
//! Beside it, in turn: the same messages consumed raw from a queue of the same kind, the rows that came of them
//! inserted bare, and the loop with a message, a transaction and an acknowledgement at a time.

use std::time::{Duration, Instant};

use pikou::app::broker_settings;
use pikou::broker::{BrokerSettings, Outgoing, Publisher, topology};
use pikou::demo::payers::Payers;
use pikou::stages::Context;
use pikou::store;
use pikou::worker::intake;
use tokio_util::sync::CancellationToken;

use crate::table::{Measured, Turn, forget_peak, peak_rss_mib};
use crate::{Outcome, bare, loops};

/// Messages that the slow loop takes; it would need minutes for all.
const SAMPLE: usize = 1500;
/// How long nothing may move.
const STALL_MAX: Duration = Duration::from_secs(60);

/// Takes `count` messages in `rounds`.
pub async fn measure(ctx: &Context, messages: &mut Payers, count: usize, rounds: usize) -> Outcome<Measured> {
    let settings = broker_settings(&ctx.settings);
    // Bound to the same exchange, so that every message is in both.
    let raw = BrokerSettings { queue_in: format!("{}.raw", settings.queue_in), ..settings.clone() };
    Publisher::connect(&raw).await?.close().await;
    bare::prepare(ctx).await?;
    loops::prepare(ctx).await?;
    let mut turns = Vec::new();
    for _ in 0..rounds {
        let publisher = Publisher::connect(&settings).await?;
        let outgoing = messages.by_ref().take(count / rounds).map(|message| Outgoing {
            routing_key: message.name.to_owned(),
            message_id: message.id,
            body: message.body,
        });
        let rows = publisher.publish(&settings.exchange_in, outgoing).await?;
        publisher.close().await;
        let since = bare::now(ctx).await?;
        forget_peak();
        let rate = take(ctx, rows).await?;
        let peak_rss_mib = peak_rss_mib();
        let naive = loops::one_by_one(ctx, &raw, SAMPLE.min(rows / 2)).await?;
        let consumed = loops::consume(&raw, rows - SAMPLE.min(rows / 2)).await?;
        let inserted = bare::insert(ctx, since, rows.div_ceil(settings.batch_max), rows).await?;
        let limits = vec![("raw consume, parse, ack", consumed), ("bare set inserts", inserted)];
        turns.push(Turn { rows, rate, limits, naive: Some(naive), peak_rss_mib, ..Turn::default() });
    }
    topology::remove(&raw).await?;
    Ok(Measured { stage: "intake", turns })
}

/// Messages per second from the first committed batch to the last, so that connecting does not count.
async fn take(ctx: &Context, rows: usize) -> Outcome<f64> {
    let mut connection = ctx.pool.acquire().await?;
    let before = store::messages::deliveries(&mut connection).await? as usize;
    let stop = CancellationToken::new();
    let consumer = tokio::spawn({
        let (ctx, stop) = (ctx.clone(), stop.clone());
        async move { intake::consume(&ctx, stop).await }
    });
    let (mut first, mut taken, mut moved) = (None, 0, Instant::now());
    while taken < rows {
        let now = store::messages::deliveries(&mut connection).await? as usize - before;
        if now > taken {
            (taken, moved) = (now, Instant::now());
            first.get_or_insert((now, moved));
        } else if consumer.is_finished() || moved.elapsed() > STALL_MAX {
            return Err(format!("{taken} of {rows} messages were taken, then none").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (at_first, since) = first.unwrap_or((0, moved));
    let seconds = (moved - since).as_secs_f64();
    stop.cancel();
    consumer.await??;
    Ok((rows - at_first) as f64 / seconds)
}
