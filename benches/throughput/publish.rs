//! The relay with all kinds of events against a publisher that has as many bodies of the same mean size in hand, and
//! against publishing one at a time. Somebody listens all the while, as in life.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pikou::app::broker_settings;
use pikou::broker::{Incoming, Outgoing, Publisher, topology};
use pikou::stages::Context;
use pikou::worker::relay;
use tokio_util::sync::CancellationToken;

use crate::Outcome;
use crate::table::{Measured, Turn, forget_peak, peak_rss_mib};

/// Messages that are published one at a time.
const SAMPLE: usize = 1000;

#[derive(Default)]
struct Heard {
    events: AtomicU64,
    bytes: AtomicU64,
}

impl Heard {
    fn now(&self) -> (usize, usize) {
        (self.events.load(Ordering::SeqCst) as usize, self.bytes.load(Ordering::SeqCst) as usize)
    }

    async fn until(&self, events: usize) {
        while self.now().0 < events {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

pub async fn measure(ctx: &Context, rounds: usize) -> Outcome<Measured> {
    let settings = broker_settings(&ctx.settings);
    let mut audience = settings.clone();
    audience.exchange_in.clone_from(&settings.exchange_events);
    audience.queue_in = format!("{}.audience", settings.exchange_events);
    Publisher::connect(&audience).await?.close().await;
    let heard = Arc::new(Heard::default());
    let stop = CancellationToken::new();
    let listener = tokio::spawn({
        let (audience, stop, heard) = (audience.clone(), stop.clone(), Arc::clone(&heard));
        async move {
            let listen = move |events: Vec<Incoming>| {
                heard.bytes.fetch_add(events.iter().map(|event| event.body.len() as u64).sum(), Ordering::SeqCst);
                heard.events.fetch_add(events.len() as u64, Ordering::SeqCst);
                async { Ok(()) }
            };
            pikou::broker::consume(&audience, stop, listen).await
        }
    });
    let publisher = Publisher::connect(&settings).await?;
    let mut turns = Vec::new();
    for round in 0..rounds {
        // A share of every kind of row for each round.
        sqlx::query("UPDATE outbox SET published_at = CASE WHEN outbox_id % $1 = $2 THEN NULL ELSE created_at END")
            .bind(rounds as i64)
            .bind(round as i64)
            .execute(&ctx.pool)
            .await?;
        let before = heard.now();
        forget_peak();
        let clock = Instant::now();
        let events = relay::drain(ctx).await?;
        let took = clock.elapsed().as_secs_f64();
        let peak_rss_mib = peak_rss_mib();
        heard.until(before.0 + events).await;
        let body = vec![b'x'; (heard.now().1 - before.1) / events.max(1)];
        let plain = |number: usize| Outgoing {
            routing_key: "amount.set".into(),
            message_id: format!("amount/10110000000000000001/resident_pension/2026/{number}"),
            body: body.clone(),
        };
        let clock = Instant::now();
        publisher.publish(&settings.exchange_events, (0..events).map(plain)).await?;
        let limit = clock.elapsed().as_secs_f64();
        heard.until(before.0 + 2 * events).await;
        let clock = Instant::now();
        for number in 0..SAMPLE {
            publisher.publish(&settings.exchange_events, [plain(number)]).await?;
        }
        let naive = Some(SAMPLE as f64 / clock.elapsed().as_secs_f64());
        heard.until(before.0 + 2 * events + SAMPLE).await;
        turns.push(Turn { naive, peak_rss_mib, ..Turn::one(events, took, "bare confirmed publishing", limit) });
    }
    publisher.close().await;
    stop.cancel();
    listener.await??;
    topology::remove(&audience).await?;
    Ok(Measured { stage: "publish", turns })
}
