//! The broker module against a real RabbitMQ. Each test has exchanges and queues of its own and deletes them.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lapin::options::{BasicGetOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ConnectionProperties};
use pikou::broker::{
    BrokerError, BrokerSettings, HandlerLater, Incoming, Outgoing, Publisher, consume, consume_in_line, topology,
};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longest wait for any state, a restart of the broker included.
const PATIENCE: Duration = Duration::from_secs(60);

/// Exchanges and a queue that nobody else has, and a channel to look at them from outside.
struct Place {
    settings: BrokerSettings,
    connection: Connection,
    channel: Channel,
}

impl Place {
    async fn new() -> Place {
        let url = std::env::var("PIKOU_TEST_AMQP_URL")
            .expect("PIKOU_TEST_AMQP_URL names no RabbitMQ to test against; scripts/test starts one and sets it");
        Place::at(url).await
    }

    async fn at(url: String) -> Place {
        let unique = format!("{:032x}", rand::random::<u128>());
        let settings = BrokerSettings {
            url,
            exchange_in: format!("test.in.{unique}"),
            queue_in: format!("test.inbox.{unique}"),
            exchange_events: format!("test.events.{unique}"),
            batch_max: 100,
            batch_wait: Duration::from_millis(20),
            confirm_timeout: Duration::from_secs(10),
            outstanding_max: 500,
        };
        let (connection, channel) = look(&settings).await;
        topology::declare(&channel, &settings).await.expect("the topology can be declared");
        Place { settings, connection, channel }
    }

    async fn publish(&self, ids: impl IntoIterator<Item = usize>) {
        let publisher = Publisher::connect(&self.settings).await.expect("connected");
        publisher.publish(&self.settings.exchange_in, ids.into_iter().map(message)).await.expect("published");
        publisher.close().await;
    }

    /// Messages in the queue that nobody holds.
    async fn ready(&self) -> u32 {
        ready(&self.channel, &self.settings.queue_in).await
    }

    async fn until_ready(&self, expected: u32) {
        let start = Instant::now();
        while self.ready().await != expected {
            assert!(start.elapsed() < PATIENCE, "{} ready, not {expected}", self.ready().await);
            tokio::task::yield_now().await;
        }
    }

    async fn delete(self) {
        let (queue, dead) = (self.settings.queue_in.clone(), self.settings.dead());
        assert_eq!(ready(&self.channel, &dead).await, 0, "the broker has given up on messages");
        for queue in [&queue, &dead] {
            self.channel.queue_delete(name(queue), QueueDeleteOptions::default()).await.expect("deleted");
        }
        for exchange in [&self.settings.exchange_in, &self.settings.exchange_events, &dead] {
            self.channel.exchange_delete(name(exchange), ExchangeDeleteOptions::default()).await.expect("deleted");
        }
        self.connection.close(200, "OK".into()).await.expect("closed");
    }
}

async fn look(settings: &BrokerSettings) -> (Connection, Channel) {
    let connection = Connection::connect(&settings.url, ConnectionProperties::default()).await.expect("connected");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

async fn ready(channel: &Channel, queue: &str) -> u32 {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name(queue), passive, FieldTable::default()).await.expect("the queue exists").message_count()
}

fn name(text: &str) -> ShortString {
    text.into()
}

fn message(id: usize) -> Outgoing {
    Outgoing { routing_key: "amount.set".to_owned(), message_id: id.to_string(), body: id.to_string().into_bytes() }
}

fn id(incoming: &Incoming) -> usize {
    std::str::from_utf8(&incoming.body).expect("text").parse().expect("a number")
}

fn ids(batch: &[Incoming]) -> Vec<usize> {
    batch.iter().map(id).collect()
}

fn later(reason: &str) -> Result<(), HandlerLater> {
    Err(HandlerLater { reason: reason.to_owned() })
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

/// A consumer whose handler tells which batch it got and then waits for a permit.
struct Gated {
    batches: mpsc::UnboundedReceiver<Vec<Incoming>>,
    gate: Arc<Semaphore>,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), BrokerError>>,
}

impl Gated {
    fn start(settings: &BrokerSettings) -> Gated {
        let (sender, batches) = mpsc::unbounded_channel();
        let gate = Arc::new(Semaphore::new(0));
        let shutdown = CancellationToken::new();
        let (settings, token, permits) = (settings.clone(), shutdown.clone(), gate.clone());
        let task = tokio::spawn(async move {
            consume(&settings, token, move |batch| {
                let (sender, permits) = (sender.clone(), permits.clone());
                async move {
                    sender.send(batch).expect("the test listens");
                    permits.acquire().await.expect("never closed").forget();
                    Ok(())
                }
            })
            .await
        });
        Gated { batches, gate, shutdown, task }
    }

    async fn batch(&mut self) -> Vec<Incoming> {
        soon("a batch", self.batches.recv()).await.expect("the consumer lives")
    }

    async fn stop(self) {
        self.shutdown.cancel();
        soon("the end of the consumer", self.task).await.expect("no panic").expect("a clean end");
    }
}

#[tokio::test]
async fn a_batch_is_acknowledged_only_after_its_handler_returned() {
    let place = Place::new().await;
    place.publish(0..5).await;

    // The consumer goes away while the handler works: the broker still has everything.
    let mut consumer = Gated::start(&place.settings);
    assert_eq!(ids(&consumer.batch().await), [0, 1, 2, 3, 4]);
    assert_eq!(place.ready().await, 0, "they are held by the consumer");
    consumer.task.abort();
    place.until_ready(5).await;

    // The handler returns: they are gone for good.
    let mut consumer = Gated::start(&place.settings);
    let batch = consumer.batch().await;
    assert_eq!(ids(&batch), [0, 1, 2, 3, 4]);
    assert!(batch.iter().all(|message| message.redelivered));
    consumer.gate.add_permits(1);
    consumer.stop().await;
    place.until_ready(0).await;
    assert!(
        place.channel.basic_get(name(&place.settings.queue_in), BasicGetOptions::default()).await.unwrap().is_none()
    );
    place.delete().await;
}

#[tokio::test]
async fn a_message_arrives_as_it_was_sent() {
    let place = Place::new().await;
    let mut headers = FieldTable::default();
    headers.insert("cloudEvents:type".into(), AMQPValue::LongString("pikou.in.amount.set.v1".into()));
    headers.insert("attempt".into(), AMQPValue::LongInt(3));
    let properties = lapin::BasicProperties::default()
        .with_content_type("application/json".into())
        .with_headers(headers)
        .with_reply_to("answers".into())
        .with_correlation_id("c-1".into());
    let (exchange, key) = (name(&place.settings.exchange_in), "payables.query".into());
    let sent = place.channel.basic_publish(exchange, key, Default::default(), b"{\"\xff\"}", properties).await;
    sent.expect("sent").await.expect("no confirm asked for");

    let mut consumer = Gated::start(&place.settings);
    consumer.gate.add_permits(1);
    let expected = Incoming {
        body: b"{\"\xff\"}".to_vec(),
        content_type: Some("application/json".to_owned()),
        headers: [("attempt", "3"), ("cloudEvents:type", "pikou.in.amount.set.v1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        routing_key: "payables.query".to_owned(),
        redelivered: false,
        reply_to: Some("answers".to_owned()),
        correlation_id: Some("c-1".to_owned()),
    };
    assert!(consumer.batch().await == [expected]);
    consumer.stop().await;
    place.delete().await;
}

#[tokio::test]
async fn messages_keep_their_order_within_and_across_batches() {
    let mut place = Place::new().await;
    place.settings.batch_max = 7;
    place.publish(0..100).await;
    let mut consumer = Gated::start(&place.settings);
    consumer.gate.add_permits(100);
    let mut seen = Vec::new();
    while seen.len() < 100 {
        let batch = consumer.batch().await;
        assert!(batch.len() <= 7, "{} in a batch", batch.len());
        seen.extend(ids(&batch));
    }
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
    consumer.stop().await;
    place.delete().await;
}

#[tokio::test]
async fn not_now_leaves_every_message_in_the_broker_and_they_are_delivered_again() {
    let place = Place::new().await;
    place.publish(0..3).await;
    let calls = Arc::new(Mutex::new(Vec::new()));
    let shutdown = CancellationToken::new();
    let (seen, token) = (calls.clone(), shutdown.clone());
    let consuming = consume(&place.settings, shutdown.clone(), move |batch| {
        let (seen, token) = (seen.clone(), token.clone());
        async move {
            let call = {
                let mut seen = seen.lock().unwrap();
                seen.push((Instant::now(), ids(&batch), batch[0].redelivered));
                seen.len()
            };
            if call < 4 {
                return later("no database");
            }
            token.cancel();
            Ok(())
        }
    });
    soon("the fourth call", consuming).await.expect("a clean end");

    let calls = calls.lock().unwrap().clone();
    assert_eq!(calls.len(), 4);
    for (call, (_, ids, redelivered)) in calls.iter().enumerate() {
        assert_eq!(*ids, [0, 1, 2]);
        assert_eq!(*redelivered, call > 0);
    }
    for (call, least_ms) in [(0, 50), (1, 100), (2, 200)] {
        let gap = calls[call + 1].0 - calls[call].0;
        assert!(gap >= Duration::from_millis(least_ms), "pause {call} was only {gap:?}");
    }
    place.until_ready(0).await;
    place.delete().await;
}

#[tokio::test]
async fn not_now_for_ever_loses_nothing() {
    let place = Place::new().await;
    place.publish(0..3).await;
    let shutdown = CancellationToken::new();
    let (token, calls) = (shutdown.clone(), AtomicUsize::new(0));
    let consuming = consume(&place.settings, shutdown, move |_| {
        if calls.fetch_add(1, Ordering::SeqCst) == 2 {
            token.cancel();
        }
        async { later("no database") }
    });
    soon("the third call", consuming).await.expect("a clean end");
    place.until_ready(3).await;
    place.delete().await;
}

#[tokio::test]
async fn shutdown_finishes_the_batch_in_hand_and_no_other() {
    let mut place = Place::new().await;
    place.settings.batch_max = 5;
    place.publish(0..8).await;
    let mut consumer = Gated::start(&place.settings);
    assert_eq!(ids(&consumer.batch().await), [0, 1, 2, 3, 4]);
    consumer.shutdown.cancel();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!consumer.task.is_finished(), "it must wait for its handler");
    consumer.gate.add_permits(10);
    consumer.stop().await;
    place.until_ready(3).await;
    place.delete().await;
}

#[tokio::test]
async fn a_handler_that_panics_stops_the_consumer_and_loses_nothing() {
    let place = Place::new().await;
    place.publish(0..3).await;
    let consuming = consume(&place.settings, CancellationToken::new(), |batch| async move {
        assert!(batch.is_empty(), "a fault of ours, on purpose");
        Ok(())
    });
    let error = soon("the end of the consumer", consuming).await.expect_err("it must not go on");
    assert!(matches!(error, BrokerError::HandlerPanicked { .. }), "{error}");
    place.until_ready(3).await;
    place.delete().await;
}

/// A consumer in line: what was prepared is told on one channel, what the handler has begun on another. A batch is done
/// when its first message is allowed; a failed one fails those behind it, as it must.
struct InLine {
    prepared: mpsc::UnboundedReceiver<Vec<usize>>,
    begun: mpsc::UnboundedReceiver<Vec<usize>>,
    /// Batches that may end, by their first message, and how.
    allowed: Arc<watch::Sender<HashMap<usize, bool>>>,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), BrokerError>>,
}

impl InLine {
    fn start(settings: &BrokerSettings) -> InLine {
        let ((tell_prepared, prepared), (tell_begun, begun)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let allowed = Arc::new(watch::Sender::new(HashMap::new()));
        let shutdown = CancellationToken::new();
        let (settings, token, allow) = (settings.clone(), shutdown.clone(), allowed.clone());
        let prepare = move |batch: Vec<Incoming>| {
            let ids = ids(&batch);
            tell_prepared.send(ids.clone()).expect("the test listens");
            assert!(!ids.contains(&PANICS), "a fault of ours, on purpose");
            ids
        };
        let handler = move |_: &mut (), batch: Vec<usize>| {
            let (tell_begun, allow) = (tell_begun.clone(), allow.clone());
            async move {
                tell_begun.send(batch.clone()).expect("the test listens");
                let mut allowed = allow.subscribe();
                drop(allowed.wait_for(|allowed: &HashMap<usize, bool>| allowed.contains_key(&batch[0])).await);
                let mut done = None;
                allow.send_modify(|allowed| done = allowed.remove(&batch[0]));
                if done == Some(true) { Ok(()) } else { later("no database") }
            }
        };
        let task = tokio::spawn(async move { consume_in_line(&settings, token, prepare, handler).await });
        InLine { prepared, begun, allowed, shutdown, task }
    }

    async fn prepared(&mut self) -> Vec<usize> {
        soon("a prepared batch", self.prepared.recv()).await.expect("the consumer lives")
    }

    async fn begun(&mut self) -> Vec<usize> {
        soon("a batch in hand", self.begun.recv()).await.expect("the consumer lives")
    }

    fn end(&self, first: usize, done: bool) {
        self.allowed.send_modify(|allowed| {
            allowed.insert(first, done);
        });
    }

    async fn stop(self) {
        self.shutdown.cancel();
        soon("the end of the consumer", self.task).await.expect("no panic").expect("a clean end");
    }
}

/// A message that cannot be prepared.
const PANICS: usize = 999;

#[tokio::test]
async fn in_line_two_batches_are_in_hand_in_their_order_and_one_is_prepared() {
    let mut place = Place::new().await;
    place.settings.batch_max = 3;
    place.publish(0..15).await;
    let mut consumer = InLine::start(&place.settings);
    assert_eq!((consumer.begun().await, consumer.begun().await), (vec![0, 1, 2], vec![3, 4, 5]));
    for first in [0, 3, 6] {
        assert_eq!(consumer.prepared().await, [first, first + 1, first + 2]);
    }
    // A fourth batch has come together; the others wait in the broker.
    place.until_ready(3).await;
    assert!(consumer.begun.try_recv().is_err() && consumer.prepared.try_recv().is_err(), "and no further");
    let mut begun = Vec::new();
    for first in [0, 3, 6] {
        consumer.end(first, true);
        begun.push(consumer.begun().await);
    }
    assert_eq!(begun, [[6, 7, 8], [9, 10, 11], [12, 13, 14]]);
    consumer.end(9, true);
    consumer.end(12, true);
    consumer.stop().await;
    place.until_ready(0).await;
    place.delete().await;
}

#[tokio::test]
async fn in_line_a_batch_is_acknowledged_only_after_those_before_it() {
    let mut place = Place::new().await;
    place.settings.batch_max = 3;
    place.publish(0..6).await;
    let mut consumer = InLine::start(&place.settings);
    assert_eq!((consumer.begun().await, consumer.begun().await), (vec![0, 1, 2], vec![3, 4, 5]));
    // The second is done; the first is not, and then the consumer is gone.
    consumer.end(3, true);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    consumer.task.abort();
    place.until_ready(6).await;
    place.delete().await;
}

#[tokio::test]
async fn in_line_shutdown_finishes_what_is_in_hand_and_leaves_what_is_prepared() {
    let mut place = Place::new().await;
    place.settings.batch_max = 3;
    place.publish(0..9).await;
    let mut consumer = InLine::start(&place.settings);
    assert_eq!((consumer.begun().await, consumer.begun().await), (vec![0, 1, 2], vec![3, 4, 5]));
    while consumer.prepared().await != [6, 7, 8] {}
    consumer.shutdown.cancel();
    for first in [0, 3, 6] {
        consumer.end(first, true);
    }
    soon("the end of the consumer", consumer.task).await.expect("no panic").expect("a clean end");
    assert!(consumer.begun.try_recv().is_err(), "the prepared batch was handled after the shutdown");
    place.until_ready(3).await;
    place.delete().await;
}

#[tokio::test]
async fn in_line_after_not_now_everything_comes_again_in_its_order() {
    let mut place = Place::new().await;
    place.settings.batch_max = 2;
    place.publish(0..6).await;
    let mut consumer = InLine::start(&place.settings);
    assert_eq!((consumer.begun().await, consumer.begun().await), (vec![0, 1], vec![2, 3]));
    while consumer.prepared().await != [4, 5] {}
    consumer.end(2, false);
    consumer.end(0, false);
    assert_eq!((consumer.begun().await, consumer.begun().await), (vec![0, 1], vec![2, 3]));
    consumer.end(0, true);
    assert_eq!(consumer.begun().await, [4, 5]);
    consumer.end(2, true);
    consumer.end(4, true);
    consumer.stop().await;
    place.until_ready(0).await;
    place.delete().await;
}

#[tokio::test]
async fn in_line_a_preparation_that_panics_stops_the_consumer_after_the_batches_before_it() {
    let mut place = Place::new().await;
    place.settings.batch_max = 2;
    place.publish([0, 1, 2, PANICS, 4, 5]).await;
    let consumer = InLine::start(&place.settings);
    consumer.end(0, true);
    let error = soon("the end", consumer.task).await.expect("no panic of its own").expect_err("it must not go on");
    assert!(matches!(error, BrokerError::HandlerPanicked { .. }), "{error}");
    place.until_ready(4).await;
    place.delete().await;
}

#[tokio::test]
async fn a_broker_that_cannot_be_reached_at_the_start_is_an_error() {
    let place = Place::new().await;
    let unused = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port();
    let settings = BrokerSettings { url: format!("amqp://me:secret@127.0.0.1:{unused}/v"), ..place.settings.clone() };
    let consuming = consume(&settings, CancellationToken::new(), |_| async { Ok(()) });
    let error = soon("the refusal", consuming).await.expect_err("nobody is there");
    assert!(matches!(error, BrokerError::Connect { .. }), "{error}");
    assert!(!format!("{error} {error:?}").contains("secret"));
    assert!(matches!(Publisher::connect(&settings).await, Err(BrokerError::Connect { .. })));
    place.delete().await;
}

#[tokio::test]
async fn an_unroutable_event_is_an_error_and_the_publisher_goes_no_further() {
    let place = Place::new().await;
    let publisher = Publisher::connect(&place.settings).await.expect("connected");
    let error = publisher.publish(&place.settings.exchange_events, [message(1)]).await.expect_err("nobody listens");
    let BrokerError::Unroutable { exchange, routing_key } = error else { panic!("{error}") };
    assert_eq!((exchange, routing_key.as_str()), (place.settings.exchange_events.clone(), "amount.set"));
    let again = publisher.publish(&place.settings.exchange_in, [message(2)]).await;
    assert!(matches!(again, Err(BrokerError::PublisherSpent)));
    publisher.close().await;
    place.delete().await;
}

#[tokio::test]
async fn one_unroutable_event_among_many_is_not_overlooked() {
    let place = Place::new().await;
    for position in [0, 250, 999] {
        let publisher = Publisher::connect(&place.settings).await.expect("connected");
        place
            .channel
            .queue_bind(
                name(&place.settings.queue_in),
                name(&place.settings.exchange_events),
                "amount.set".into(),
                Default::default(),
                FieldTable::default(),
            )
            .await
            .expect("bound");
        let events = (0..1000).map(|id| match id == position {
            true => Outgoing { routing_key: "nobody.wants.this".to_owned(), ..message(id) },
            false => message(id),
        });
        let error = publisher.publish(&place.settings.exchange_events, events).await.expect_err("one is unroutable");
        assert!(
            matches!(&error, BrokerError::Unroutable { routing_key, .. } if routing_key == "nobody.wants.this"),
            "{error}"
        );
    }
    place.delete().await;
}

#[tokio::test]
async fn a_publisher_whose_caller_stopped_waiting_is_not_used_again() {
    let place = Place::new().await;
    let publisher = Publisher::connect(&place.settings).await.expect("connected");
    let mut publishing = Box::pin(publisher.publish(&place.settings.exchange_in, [message(1)]));
    assert!(futures::poll!(&mut publishing).is_pending());
    drop(publishing);
    let again = publisher.publish(&place.settings.exchange_in, [message(2)]).await;
    assert!(matches!(again, Err(BrokerError::PublisherSpent)));
    publisher.close().await;
    place.delete().await;
}

#[tokio::test]
async fn a_queue_deleted_under_the_consumer_is_declared_and_consumed_again() {
    let place = Place::new().await;
    place.publish([1]).await;
    let mut consumer = Gated::start(&place.settings);
    consumer.gate.add_permits(10);
    assert_eq!(ids(&consumer.batch().await), [1]);
    place.channel.queue_delete(name(&place.settings.queue_in), QueueDeleteOptions::default()).await.expect("deleted");
    // Each publisher declares the queue too, so this is routable whoever is first.
    place.publish([2]).await;
    assert_eq!(ids(&consumer.batch().await), [2]);
    consumer.stop().await;
    place.delete().await;
}

#[tokio::test]
async fn an_exchange_of_another_kind_is_refused_by_name() {
    let place = Place::new().await;
    let fanout = place.settings.dead();
    let settings = BrokerSettings { exchange_events: fanout.clone(), ..place.settings.clone() };
    let Err(error) = Publisher::connect(&settings).await else { panic!("it is a fanout, not a topic exchange") };
    let BrokerError::OtherArguments { name, argument, .. } = &error else { panic!("{error}") };
    assert_eq!((name.as_str(), argument.as_str()), (fanout.as_str(), "type"), "{error}");
    place.delete().await;
}

#[tokio::test]
async fn a_routing_key_too_long_for_amqp_is_an_error_and_no_panic() {
    let place = Place::new().await;
    let publisher = Publisher::connect(&place.settings).await.expect("connected");
    let long = Outgoing { routing_key: "k".repeat(256), ..message(1) };
    let error = publisher.publish(&place.settings.exchange_in, [long]).await.expect_err("too long");
    assert!(matches!(error, BrokerError::TooLong { .. }), "{error}");
    place.delete().await;
}

/// The id of an event is made of names that others choose; one that is longer than a property of AMQP must not keep what is
/// behind it waiting.
#[tokio::test]
async fn an_id_too_long_for_amqp_goes_out_in_the_body_alone() {
    let place = Place::new().await;
    let publisher = Publisher::connect(&place.settings).await.expect("connected");
    let ids = [255, 256].map(|length| "i".repeat(length));
    let messages = ids.iter().map(|id| Outgoing { message_id: id.clone(), ..message(1) });
    assert_eq!(publisher.publish(&place.settings.exchange_in, messages).await.expect("published"), 2);
    let mut found = Vec::new();
    for _ in &ids {
        let queue = name(&place.settings.queue_in);
        let got =
            place.channel.basic_get(queue, BasicGetOptions { no_ack: true }).await.expect("asked").expect("a message");
        found.push(got.delivery.properties.message_id().as_ref().map(|id| id.to_string().len()));
    }
    assert_eq!(found, [Some(255), None]);
    place.delete().await;
}

#[tokio::test]
async fn a_queue_with_other_arguments_is_refused_by_name() {
    let place = Place::new().await;
    let queue = place.settings.queue_in.clone();
    let ours = |dead: &str| {
        [
            ("x-queue-type", AMQPValue::LongString("quorum".into())),
            ("x-delivery-limit", AMQPValue::LongInt(topology::DELIVERY_LIMIT)),
            ("x-overflow", AMQPValue::LongString("reject-publish".into())),
            ("x-dead-letter-exchange", AMQPValue::LongString(dead.into())),
            ("x-dead-letter-strategy", AMQPValue::LongString("at-least-once".into())),
        ]
    };
    let others = [
        ("x-queue-type", AMQPValue::LongString("classic".into())),
        ("x-delivery-limit", AMQPValue::LongInt(20)),
        ("x-overflow", AMQPValue::LongString("drop-head".into())),
        ("x-dead-letter-exchange", AMQPValue::LongString("elsewhere".into())),
        ("x-dead-letter-strategy", AMQPValue::LongString("at-most-once".into())),
    ];
    for (argument, other) in others {
        let classic = argument == "x-queue-type";
        let mut arguments = FieldTable::default();
        for (known, value) in ours(&place.settings.dead()) {
            // A classic queue does not know the other arguments.
            if known != argument && !classic {
                arguments.insert(known.into(), value);
            }
        }
        arguments.insert(argument.into(), other);
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        place.channel.queue_delete(name(&queue), QueueDeleteOptions::default()).await.expect("deleted");
        place.channel.queue_declare(name(&queue), durable, arguments).await.expect(argument);

        let consuming = consume(&place.settings, CancellationToken::new(), |_| async { Ok(()) });
        let error = soon("the refusal", consuming).await.expect_err(argument);
        let BrokerError::OtherArguments { name, argument: named, .. } = &error else { panic!("{argument}: {error}") };
        assert_eq!(*name, queue, "{error}");
        // Of a classic queue the broker names whichever of its differences it sees first.
        assert!(named == argument || classic, "{error}");
    }
    place.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_messages_published_with_confirms_arrive() {
    const MESSAGES: usize = 10_000;
    let mut place = Place::new().await;
    place.settings.batch_max = 1_000;
    let publisher = Publisher::connect(&place.settings).await.expect("connected");
    let start = Instant::now();
    let published = publisher.publish(&place.settings.exchange_in, (0..MESSAGES).map(message)).await;
    assert_eq!(published.expect("published"), MESSAGES);
    let publishing = start.elapsed();
    publisher.close().await;

    let mut consumer = Gated::start(&place.settings);
    consumer.gate.add_permits(MESSAGES);
    let start = Instant::now();
    let mut seen = HashSet::new();
    while seen.len() < MESSAGES {
        seen.extend(ids(&consumer.batch().await));
    }
    let consuming = start.elapsed();
    consumer.stop().await;
    place.until_ready(0).await;
    let rate = |time: Duration| MESSAGES as f64 / time.as_secs_f64();
    println!("{:.0} published/s, {:.0} consumed/s", rate(publishing), rate(consuming));
    place.delete().await;
}

/// A broker of this test's own, stopped whatever happens.
struct Node {
    folder: PathBuf,
}

impl Node {
    /// What the script prints.
    fn run(folder: &Path, action: &str) -> Result<String, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/rabbitmq");
        let output = Command::new(script).arg(action).arg(folder).output().map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    async fn told(&self, action: &'static str) -> String {
        let folder = self.folder.clone();
        let ran = tokio::task::spawn_blocking(move || Node::run(&folder, action)).await.expect("no panic");
        ran.unwrap_or_else(|error| panic!("scripts/rabbitmq {action}: {error}"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // No panic in here: the test may be panicking already.
        if let Err(error) = Node::run(&self.folder, "stop") {
            eprintln!("the test's broker in {} could not be stopped: {error}", self.folder.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_broker_loses_nothing_and_the_consumer_goes_on_by_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Node { folder: folder.path().to_owned() };
    let mut place = Place::at(node.told("start").await).await;
    place.settings.batch_max = 10;
    place.publish(0..100).await;

    // Two batches are done, the third is in hand when the broker goes down.
    let mut consumer = Gated::start(&place.settings);
    let mut seen = HashSet::new();
    for _ in 0..2 {
        seen.extend(ids(&consumer.batch().await));
        consumer.gate.add_permits(1);
    }
    let in_hand = ids(&consumer.batch().await);
    node.told("restart").await;
    assert!(consumer.batches.try_recv().is_err(), "nothing else is handled while a batch is in hand");
    consumer.gate.add_permits(1_000);

    // Its acknowledgement was lost with the connection: it comes again, and so does everything else.
    let (connection, channel) = look(&place.settings).await;
    (place.connection, place.channel) = (connection, channel);
    place.publish(100..150).await;
    let mut again = HashSet::new();
    while seen.union(&again).count() < 150 || !in_hand.iter().all(|id| again.contains(id)) {
        again.extend(ids(&consumer.batch().await));
    }
    seen.extend(again);
    assert_eq!(seen, (0..150).collect());
    assert!(!consumer.task.is_finished());
    consumer.stop().await;
    place.until_ready(0).await;
    place.delete().await;
}
