//! How messages get to us and events to the world: over RabbitMQ where configuration names one, else by files.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::payers::Message;
use crate::app::broker_settings;
use crate::broker::jsonl::JsonLines;
use crate::broker::{self, BrokerSettings, Incoming, Outgoing, Publisher, topology};
use crate::stages::{Context, StageError};
use crate::store;
use crate::worker::intake;

/// How long nothing may move before the demo gives up.
const STALL_MAX: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);
/// Lines that are written to the disk at a time.
const LINES_MAX: usize = 1000;

/// Carries messages in, and counts the events that come out.
pub enum Carrier {
    Broker { stop: CancellationToken, consumer: Option<JoinHandle<Result<(), StageError>>>, audience: Box<Audience> },
    File { path: PathBuf },
}

/// Somebody who listens: a queue of the demo's own on the exchange of events.
pub struct Audience {
    settings: BrokerSettings,
    heard: Arc<AtomicU64>,
    task: JoinHandle<Result<(), broker::BrokerError>>,
}

fn lost(error: broker::BrokerError) -> StageError {
    StageError::later("the broker", error)
}

impl Carrier {
    pub async fn open(ctx: &Context) -> Result<Carrier, StageError> {
        if ctx.settings.is_embedded_broker() {
            return Ok(Carrier::File { path: ctx.settings.data_folder.join("messages.jsonl") });
        }
        let stop = CancellationToken::new();
        let mut settings = broker_settings(&ctx.settings);
        // Bound to everything, as a consumer's queue would be.
        settings.exchange_in = settings.exchange_events.clone();
        settings.queue_in = format!("{}.audience", settings.exchange_events);
        let heard = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn({
            let (settings, heard, stop) = (settings.clone(), Arc::clone(&heard), stop.clone());
            async move {
                let listen = move |events: Vec<Incoming>| {
                    heard.fetch_add(events.len() as u64, Ordering::Relaxed);
                    async { Ok(()) }
                };
                broker::consume(&settings, stop, listen).await
            }
        });
        Ok(Carrier::Broker { stop, consumer: None, audience: Box::new(Audience { settings, heard, task }) })
    }

    pub fn name(&self) -> &'static str {
        match self {
            Carrier::Broker { .. } => "RabbitMQ",
            Carrier::File { .. } => "files (no broker configured)",
        }
    }

    /// Sends messages: published with confirms, or written to the file. Returns how many.
    pub async fn send(
        &mut self,
        ctx: &Context,
        messages: impl Iterator<Item = Message>,
        mut progress: impl FnMut(u64),
    ) -> Result<u64, StageError> {
        let mut sent = 0;
        match self {
            Carrier::Broker { .. } => {
                let settings = broker_settings(&ctx.settings);
                let publisher = Publisher::connect(&settings).await.map_err(lost)?;
                let outgoing = messages.map(|message| {
                    sent += 1;
                    progress(1);
                    Outgoing { routing_key: message.name.to_owned(), message_id: message.id, body: message.body }
                });
                publisher.publish(&settings.exchange_in, outgoing).await.map_err(lost)?;
                publisher.close().await;
            }
            Carrier::File { path } => {
                let failed = |error| StageError::later("writing messages", error);
                let mut file = JsonLines::open(path).map_err(failed)?;
                file.clear().map_err(failed)?;
                let mut messages =
                    messages.map(|message| String::from_utf8_lossy(&message.body).into_owned()).peekable();
                while messages.peek().is_some() {
                    let lines: Vec<String> = messages.by_ref().take(LINES_MAX).collect();
                    file.append(lines.iter().map(String::as_str)).map_err(failed)?;
                    sent += lines.len() as u64;
                    progress(lines.len() as u64);
                }
            }
        }
        Ok(sent)
    }

    /// Lets the intake take what was sent, up to `total` deliveries in all.
    pub async fn take(&mut self, ctx: &Context, total: u64, mut progress: impl FnMut(u64)) -> Result<(), StageError> {
        match self {
            Carrier::Broker { stop, consumer, .. } => {
                let consumer = consumer.get_or_insert_with(|| {
                    let (ctx, stop) = (ctx.clone(), stop.clone());
                    tokio::spawn(async move { intake::consume(&ctx, stop).await })
                });
                let mut taken = 0;
                let mut moved = Instant::now();
                while taken < total {
                    if consumer.is_finished() {
                        return Err(StageError::broken("the consumer has ended"));
                    }
                    let now = store::messages::deliveries(&mut *ctx.pool.acquire().await?).await? as u64;
                    if now > taken {
                        progress(now - taken);
                        (taken, moved) = (now, Instant::now());
                    } else if moved.elapsed() > STALL_MAX {
                        return Err(StageError::broken(format!("{taken} of {total} messages were taken, then none")));
                    }
                    tokio::time::sleep(POLL).await;
                }
            }
            Carrier::File { path } => {
                let file = tokio::fs::File::open(&*path).await;
                let file = file.map_err(|error| StageError::later("reading messages", error))?;
                let lines = tokio::io::BufReader::with_capacity(1 << 20, file);
                intake::ingest(ctx, "messages.jsonl", lines, |more| progress(more as u64)).await?;
            }
        }
        Ok(())
    }

    /// Events that came out: heard at the broker, or lines of the file. Waits until `expected` have.
    pub async fn heard(&self, ctx: &Context, expected: u64) -> Result<u64, StageError> {
        match self {
            Carrier::Broker { audience, .. } => {
                let heard = || audience.heard.load(Ordering::Relaxed);
                let (mut last, mut moved) = (heard(), Instant::now());
                while heard() < expected && moved.elapsed() < STALL_MAX {
                    if heard() > last {
                        (last, moved) = (heard(), Instant::now());
                    }
                    tokio::time::sleep(POLL).await;
                }
                Ok(heard())
            }
            Carrier::File { .. } => count_lines(&ctx.settings.events_file()),
        }
    }

    /// Stops consuming, and removes the queues and exchanges of the demo.
    pub async fn close(self, ctx: &Context) -> Result<(), StageError> {
        if let Carrier::Broker { stop, consumer, audience } = self {
            stop.cancel();
            if let Some(consumer) = consumer {
                consumer.await.map_err(|error| StageError::later("the consumer", error))??;
            }
            audience.task.await.map_err(|error| StageError::later("the audience", error))?.map_err(lost)?;
            topology::remove(&audience.settings).await.map_err(lost)?;
            topology::remove(&broker_settings(&ctx.settings)).await.map_err(lost)?;
        }
        Ok(())
    }
}

fn count_lines(path: &std::path::Path) -> Result<u64, StageError> {
    use std::io::BufRead;
    let failed = |error| StageError::later("reading the file of events", error);
    let mut lines = std::io::BufReader::new(std::fs::File::open(path).map_err(failed)?);
    let (mut count, mut line) = (0, Vec::new());
    while lines.read_until(b'\n', &mut line).map_err(failed)? > 0 {
        count += 1;
        line.clear();
    }
    Ok(count)
}
