//! Messages come in: batches go to a handler, and are acknowledged when it has returned `Ok`. Runs until it is told to
//! stop; one caller, which is whoever runs the intake.
//!
//! The handler holds a database transaction. So it runs in a task of its own that nothing here ever cancels, and one
//! after the other: if the connection is lost meanwhile, its end is waited for before anything is handled again.
//! Where that is too slow, [`consume_in_line`] prepares a batch while others are in hand, and has two of those.
//!
//! *If it dies:* what was handled and not acknowledged comes again, and is the same message by its id.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
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
/// Batches in hand at most, where the handler keeps them apart.
const IN_HAND_MAX: usize = 2;

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
    run(settings, &settings.queue_in, shutdown, 1, |batch| batch, |(): &mut (), batch| handler(batch)).await
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
    run(settings, &settings.dead(), shutdown, 1, |batch| batch, |(): &mut (), batch| handler(batch)).await
}

/// [`consume`] in two steps, and two batches in hand. `prepare` is called on a thread of its own for one batch after the
/// other, ahead of the handler, and what it makes of a batch may be dropped: then the messages come again. The handler
/// is called for each batch in their order, but for the next one before the last has ended: keeping them apart is its
/// own task, with what it is given for that, a new one for each connection. If one is not done, none behind it may be.
/// Batches are acknowledged in their order.
pub async fn consume_in_line<S, P, L, H, F>(
    settings: &BrokerSettings,
    shutdown: CancellationToken,
    prepare: S,
    handler: H,
) -> Result<(), BrokerError>
where
    S: Fn(Vec<Incoming>) -> P + Send + Sync + 'static,
    P: Send + 'static,
    L: Default,
    H: Fn(&mut L, P) -> F,
    F: Future<Output = Result<(), HandlerLater>> + Send + 'static,
{
    run(settings, &settings.queue_in, shutdown, IN_HAND_MAX, prepare, handler).await
}

async fn run<S, P, L, H, F>(
    settings: &BrokerSettings,
    queue: &str,
    shutdown: CancellationToken,
    in_hand_max: usize,
    prepare: S,
    handler: H,
) -> Result<(), BrokerError>
where
    S: Fn(Vec<Incoming>) -> P + Send + Sync + 'static,
    P: Send + 'static,
    L: Default,
    H: Fn(&mut L, P) -> F,
    F: Future<Output = Result<(), HandlerLater>> + Send + 'static,
{
    let prepare = Arc::new(prepare);
    let mut pauses = Pauses::new();
    let Some(first) = shutdown.run_until_cancelled(Session::open(settings, queue)).await else { return Ok(()) };
    let mut session = first?;
    info!(queue, "consuming");
    loop {
        match session.run(queue, &shutdown, in_hand_max, &prepare, &handler, &mut pauses).await {
            End::Shutdown => return Ok(()),
            End::Panicked | End::Unprepared => return Err(BrokerError::HandlerPanicked { queue: queue.to_owned() }),
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
    /// A preparation panicked: those before that batch are as good as ever.
    Unprepared,
}

/// One connection with one channel and one consumer; never mended, only replaced.
struct Session {
    connection: Connection,
    /// Dropping it would close it.
    _channel: Channel,
    gathering: Gathering,
}

/// A batch that is being prepared, or waits for the handler.
struct Next<P> {
    task: JoinHandle<P>,
    last: Acker,
    messages: usize,
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
        // Batches in hand, one prepared and one gathering; `check` has seen to it that this fits.
        let prefetch = u16::try_from(settings.batch_max * (IN_HAND_MAX + 2)).unwrap_or(u16::MAX);
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

    async fn run<S, P, L, H, F>(
        mut self,
        queue: &str,
        shutdown: &CancellationToken,
        in_hand_max: usize,
        prepare: &Arc<S>,
        handler: &H,
        pauses: &mut Pauses,
    ) -> End
    where
        S: Fn(Vec<Incoming>) -> P + Send + Sync + 'static,
        P: Send + 'static,
        L: Default,
        H: Fn(&mut L, P) -> F,
        F: Future<Output = Result<(), HandlerLater>> + Send + 'static,
    {
        let mut next: Option<Next<P>> = None;
        let mut in_hand: VecDeque<InHand> = VecDeque::with_capacity(in_hand_max);
        let mut line = L::default();
        let end = loop {
            let (idle, free) = (in_hand.is_empty(), in_hand.len() < in_hand_max);
            let due = self.gathering.due;
            // As long as the handler is busy, a batch that is not full may wait for company.
            let is_due = idle && due.is_some_and(|due| due <= Instant::now());
            if next.is_none() && (self.gathering.is_full() || is_due) {
                next = self.gathering.prepare(prepare);
                continue;
            }
            let room = !self.gathering.is_full();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break End::Shutdown,
                handled = handled(&mut in_hand), if !idle => {
                    match finish(queue, in_hand.pop_front(), handled).await {
                        Ok(()) => pauses.reset(),
                        Err(end) => break end,
                    }
                }
                prepared = prepared(&mut next), if free && next.is_some() => match (prepared, next.take()) {
                    (Some(batch), Some(Next { last, messages, .. })) => {
                        in_hand.push_back(InHand { task: tokio::spawn(handler(&mut line, batch)), last, messages });
                    }
                    (None, _) | (_, None) => break End::Unprepared,
                },
                more = self.gathering.more(), if room => if let Err(error) = more { break End::Lost(error) },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if idle && next.is_none() && due.is_some() => {}
            }
        };
        // What was prepared and not handed over is dropped: it is not acknowledged and comes again.
        let end = last_in_hand(queue, end, in_hand).await;
        close(self.connection).await;
        end
    }
}

/// Waits until the next batch is prepared; for ever if there is none. Nothing if that panicked. Safe to be dropped.
async fn prepared<P>(next: &mut Option<Next<P>>) -> Option<P> {
    match next {
        Some(next) => (&mut next.task).await.ok(),
        None => std::future::pending().await,
    }
}

/// Waits for the end of the oldest in hand; for ever if there is none. Safe to be dropped: the task goes on.
async fn handled(in_hand: &mut VecDeque<InHand>) -> Option<Result<(), HandlerLater>> {
    match in_hand.front_mut() {
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

/// What is in hand when a session ends is always waited for. At shutdown it is acknowledged as usual, and if that
/// fails it comes again at the next start; on a lost connection there is nothing left to acknowledge it on.
async fn last_in_hand(queue: &str, mut end: End, mut in_hand: VecDeque<InHand>) -> End {
    let mut acknowledge = matches!(end, End::Shutdown | End::Unprepared);
    while !in_hand.is_empty() {
        let handled = handled(&mut in_hand).await;
        let oldest = in_hand.pop_front();
        if handled.is_none() {
            end = End::Panicked;
        } else if acknowledge && let Err(fault) = finish(queue, oldest, handled).await {
            // Nothing behind it may be acknowledged: that would acknowledge it, too.
            acknowledge = false;
            match fault {
                End::Later(later) => info!(queue, reason = later.reason, "left for later"),
                End::Lost(error) => warn!(queue, error = chain(&error), "will come again"),
                End::Shutdown | End::Panicked | End::Unprepared => end = fault,
            }
        }
        acknowledge = acknowledge && !matches!(end, End::Panicked);
    }
    end
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

    /// Starts to prepare what has been gathered. On a thread of its own: it computes, and would hold up the others.
    fn prepare<S, P>(&mut self, prepare: &Arc<S>) -> Option<Next<P>>
    where
        S: Fn(Vec<Incoming>) -> P + Send + Sync + 'static,
        P: Send + 'static,
    {
        let last = self.deliveries.last()?.acker.clone();
        self.due = None;
        let gathered = std::mem::replace(&mut self.deliveries, Vec::with_capacity(self.batch_max));
        let messages = gathered.len();
        let prepare = Arc::clone(prepare);
        let task = tokio::task::spawn_blocking(move || prepare(gathered.into_iter().map(Incoming::from).collect()));
        Some(Next { task, last, messages })
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
