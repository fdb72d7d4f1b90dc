//! Messages come in: batches go to a handler, and are acknowledged when it has returned `Ok`. Runs until it is told to
//! stop; one caller, which is whoever runs the intake.
//!
//! The handler holds a database transaction. So it runs in a task of its own that nothing here ever cancels, and one
//! after the other: if the connection is lost meanwhile, its end is waited for before anything is handled again.
//!
//! *If it dies:* what was handled and not acknowledged comes again, and is the same message by its id.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Acker, Channel, Connection};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{BrokerError, BrokerSettings, HandlerLater, Incoming, answer, chain, close, connect, short, topology};

/// First pause after something went wrong; each following one is twice as long.
pub const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// Longest pause. The first acknowledged batch starts again from the first.
pub const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Consumes the inbox until `shutdown`. An error means that it cannot be done at all: the first connection failed, a
/// queue has other arguments at the start, a setting is wrong, or the handler panicked. A broker that goes away later
/// is waited for, however long it takes.
pub async fn consume<H, F>(
    settings: &BrokerSettings,
    shutdown: CancellationToken,
    handler: H,
) -> Result<(), BrokerError>
where
    H: Fn(Vec<Incoming>) -> F,
    F: Future<Output = Result<(), HandlerLater>> + Send + 'static,
{
    consume_queue(settings, &settings.queue_in, shutdown, handler).await
}

/// [`consume`], from the queue of what the broker itself gave up on.
pub async fn consume_dead<H, F>(
    settings: &BrokerSettings,
    shutdown: CancellationToken,
    handler: H,
) -> Result<(), BrokerError>
where
    H: Fn(Vec<Incoming>) -> F,
    F: Future<Output = Result<(), HandlerLater>> + Send + 'static,
{
    consume_queue(settings, &settings.dead(), shutdown, handler).await
}

async fn consume_queue<H, F>(
    settings: &BrokerSettings,
    queue: &str,
    shutdown: CancellationToken,
    handler: H,
) -> Result<(), BrokerError>
where
    H: Fn(Vec<Incoming>) -> F,
    F: Future<Output = Result<(), HandlerLater>> + Send + 'static,
{
    let mut pauses = Pauses::new();
    let Some(first) = shutdown.run_until_cancelled(Session::open(settings, queue)).await else { return Ok(()) };
    let mut session = first?;
    info!(queue, "consuming");
    loop {
        match session.run(queue, &shutdown, &handler, &mut pauses).await {
            End::Shutdown => return Ok(()),
            End::Panicked => return Err(BrokerError::HandlerPanicked { queue: queue.to_owned() }),
            End::Later(later) => warn!(queue, reason = later.reason, "consuming pauses"),
            End::Lost(error) => {
                warn!(queue, error = chain(&error), "the connection to the broker is lost")
            }
        }
        session = loop {
            let pause = pauses.take();
            debug!(queue, ?pause, "waiting before the next connection");
            let opening = async {
                sleep(pause).await;
                Session::open(settings, queue).await
            };
            match shutdown.run_until_cancelled(opening).await {
                None => return Ok(()),
                Some(Ok(session)) => break session,
                Some(Err(error)) => {
                    warn!(queue, error = chain(&error), "cannot consume yet, trying again")
                }
            }
        };
        info!(queue, "consuming again");
    }
}

/// Why a session is over.
enum End {
    Shutdown,
    Later(HandlerLater),
    Lost(BrokerError),
    Panicked,
}

/// One connection with one channel and one consumer; never mended, only replaced.
struct Session {
    connection: Connection,
    /// Dropping it would close it.
    _channel: Channel,
    gathering: Gathering,
}

/// A batch in the handler's hands, and how to acknowledge it.
struct InHand {
    task: JoinHandle<Result<(), HandlerLater>>,
    last: Acker,
    messages: usize,
}

impl Session {
    async fn open(settings: &BrokerSettings, queue: &str) -> Result<Session, BrokerError> {
        let connection = connect(settings, "pikou consumer").await?;
        let channel = answer("opening a channel", connection.create_channel()).await?;
        topology::declare(&channel, settings).await?;
        // One batch in hand and one gathering; `check` has seen to it that this fits.
        let prefetch = u16::try_from(settings.batch_max * 2).unwrap_or(u16::MAX);
        answer("setting the prefetch", channel.basic_qos(prefetch, BasicQosOptions { global: false })).await?;
        let options = BasicConsumeOptions { no_local: false, no_ack: false, exclusive: false, nowait: false };
        let name = short("a queue's name", queue)?;
        let consuming = channel.basic_consume(name, "".into(), options, FieldTable::default());
        let stream = answer("starting to consume", consuming).await?;
        let gathering = Gathering {
            stream,
            queue: queue.to_owned(),
            deliveries: Vec::with_capacity(settings.batch_max),
            batch_max: settings.batch_max,
            batch_wait: settings.batch_wait,
            due: None,
        };
        Ok(Session { connection, _channel: channel, gathering })
    }

    async fn run<H, F>(mut self, queue: &str, shutdown: &CancellationToken, handler: &H, pauses: &mut Pauses) -> End
    where
        H: Fn(Vec<Incoming>) -> F,
        F: Future<Output = Result<(), HandlerLater>> + Send + 'static,
    {
        let mut in_hand: Option<InHand> = None;
        let end = loop {
            let free = in_hand.is_none();
            let due = self.gathering.due;
            if free && (self.gathering.is_full() || due.is_some_and(|due| due <= Instant::now())) {
                in_hand = self.gathering.hand_over(handler);
                continue;
            }
            let room = !self.gathering.is_full();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break End::Shutdown,
                handled = handled(&mut in_hand), if !free => {
                    match finish(queue, in_hand.take(), handled).await {
                        Ok(()) => pauses.reset(),
                        Err(end) => break end,
                    }
                }
                more = self.gathering.more(), if room => if let Err(error) = more { break End::Lost(error) },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if free && due.is_some() => {}
            }
        };
        let end = last_in_hand(queue, end, in_hand).await;
        close(self.connection).await;
        end
    }
}

/// Waits for the handler's end; for ever if it has nothing in hand. Safe to be dropped: the task goes on.
async fn handled(in_hand: &mut Option<InHand>) -> Option<Result<(), HandlerLater>> {
    match in_hand {
        Some(in_hand) => (&mut in_hand.task).await.ok(),
        None => std::future::pending().await,
    }
}

/// Acknowledges what the handler has done; `handled` is nothing if it panicked.
async fn finish(queue: &str, in_hand: Option<InHand>, handled: Option<Result<(), HandlerLater>>) -> Result<(), End> {
    let Some(InHand { last, messages, .. }) = in_hand else { return Ok(()) };
    handled.ok_or(End::Panicked)?.map_err(End::Later)?;
    // Everything up to the last of the batch: what came before it is acknowledged already.
    let acked = answer("acknowledging a batch", last.ack(BasicAckOptions { multiple: true })).await;
    match acked {
        Ok(true) => {
            debug!(queue, messages, "batch acknowledged");
            Ok(())
        }
        Ok(false) => Err(End::Lost(BrokerError::NotAcked { queue: queue.to_owned() })),
        Err(error) => Err(End::Lost(error)),
    }
}

/// The batch in hand when a session ends is always waited for. At shutdown it is acknowledged as usual, and if that
/// fails it comes again at the next start; on a lost connection there is nothing left to acknowledge it on.
async fn last_in_hand(queue: &str, end: End, mut in_hand: Option<InHand>) -> End {
    if in_hand.is_none() {
        return end;
    }
    let handled = handled(&mut in_hand).await;
    match (end, handled) {
        (_, None) => End::Panicked,
        (End::Shutdown, handled) => {
            match finish(queue, in_hand, handled).await {
                Ok(()) => {}
                Err(End::Later(later)) => info!(queue, reason = later.reason, "left for later"),
                Err(End::Lost(error)) => warn!(queue, error = chain(&error), "will come again"),
                Err(other) => return other,
            }
            End::Shutdown
        }
        (end, Some(_)) => end,
    }
}

/// The batch that is coming together while the handler works on the one before it.
struct Gathering {
    stream: lapin::Consumer,
    queue: String,
    deliveries: Vec<Delivery>,
    batch_max: usize,
    batch_wait: Duration,
    /// When the oldest of the deliveries has waited long enough.
    due: Option<Instant>,
}

impl Gathering {
    fn is_full(&self) -> bool {
        self.deliveries.len() >= self.batch_max
    }

    /// Takes what is there, at least one and at most what still fits. Safe to be dropped: what was taken is kept.
    fn more(&mut self) -> impl Future<Output = Result<(), BrokerError>> {
        std::future::poll_fn(|cx| self.poll_more(cx))
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BrokerError>> {
        let before = self.deliveries.len();
        while !self.is_full() {
            match Pin::new(&mut self.stream).poll_next(cx) {
                Poll::Ready(Some(Ok(delivery))) if delivery.usable() => self.deliveries.push(delivery),
                Poll::Ready(Some(Ok(_))) => {
                    return Poll::Ready(Err(BrokerError::UnusableDelivery { queue: self.queue.clone() }));
                }
                Poll::Ready(Some(Err(source))) => {
                    return Poll::Ready(Err(BrokerError::Failed { step: "consuming", source }));
                }
                Poll::Ready(None) => return Poll::Ready(Err(BrokerError::ConsumerEnded { queue: self.queue.clone() })),
                Poll::Pending if self.deliveries.len() == before => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        if before == 0 {
            self.due = Some(Instant::now() + self.batch_wait);
        }
        Poll::Ready(Ok(()))
    }

    /// Starts the handler on what has been gathered.
    fn hand_over<H, F>(&mut self, handler: &H) -> Option<InHand>
    where
        H: Fn(Vec<Incoming>) -> F,
        F: Future<Output = Result<(), HandlerLater>> + Send + 'static,
    {
        let last = self.deliveries.last()?.acker.clone();
        self.due = None;
        let batch: Vec<Incoming> = self.deliveries.drain(..).map(Incoming::from).collect();
        Some(InHand { messages: batch.len(), task: tokio::spawn(handler(batch)), last })
    }
}

/// Growing pauses with jitter, so that many workers do not come back at the same moment.
pub(super) struct Pauses {
    next: Duration,
}

impl Pauses {
    pub(super) fn new() -> Pauses {
        Pauses { next: PAUSE_FIRST }
    }

    /// Between half of the current pause and all of it; the next one is twice as long.
    pub(super) fn take(&mut self) -> Duration {
        let pause = self.next.mul_f64(rand::random_range(0.5..=1.0));
        self.next = (self.next * 2).min(PAUSE_MAX);
        pause
    }

    pub(super) fn reset(&mut self) {
        self.next = PAUSE_FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_maximum_and_start_again_after_a_success() {
        let mut pauses = Pauses::new();
        let mut expected = PAUSE_FIRST;
        for _ in 0..20 {
            let pause = pauses.take();
            assert!(pause >= expected / 2 && pause <= expected, "{pause:?} of {expected:?}");
            expected = (expected * 2).min(PAUSE_MAX);
        }
        assert_eq!(pauses.next, PAUSE_MAX);
        pauses.reset();
        assert!(pauses.take() <= PAUSE_FIRST);
    }
}
