//! What the broker must have, and what is refused by name when it is otherwise: nothing is worked round.

use lapin::options::{ExchangeDeclareOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};
use pikou::broker::{BrokerError, topology};

use crate::bus::{Bus, amqp_url};

const DURABLE_QUEUE: QueueDeclareOptions =
    QueueDeclareOptions { passive: false, durable: true, exclusive: false, auto_delete: false, nowait: false };
const DURABLE_EXCHANGE: ExchangeDeclareOptions =
    ExchangeDeclareOptions { passive: false, durable: true, auto_delete: false, internal: false, nowait: false };

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// The arguments of the inbox, or of the queue of the dead, as they must be.
fn ours(bus: &Bus, queue: &str) -> Vec<(&'static str, AMQPValue)> {
    let mut arguments = vec![
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", AMQPValue::LongInt(topology::DELIVERY_LIMIT)),
        ("x-overflow", text("reject-publish")),
    ];
    if queue == bus.settings.queue_in {
        arguments.push(("x-dead-letter-exchange", text(&bus.settings.dead())));
        arguments.push(("x-dead-letter-strategy", text("at-least-once")));
    }
    arguments
}

fn table(arguments: &[(&'static str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert((*name).into(), value.clone());
    }
    table
}

/// `kind name argument` of the refusal.
async fn refused(bus: &Bus) -> String {
    match topology::prepare(&bus.settings).await {
        Ok(()) => "nothing is refused".to_owned(),
        Err(BrokerError::OtherArguments { kind, name, argument, .. }) => format!("{kind} {name} {argument}"),
        Err(error) => panic!("{error}: {error:?}"),
    }
}

async fn replace_queue(channel: &Channel, queue: &str, options: QueueDeclareOptions, arguments: FieldTable) {
    channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
    channel.queue_declare(queue.into(), options, arguments).await.unwrap();
}

async fn replace_exchange(
    channel: &Channel,
    exchange: &str,
    kind: ExchangeKind,
    options: ExchangeDeclareOptions,
    arguments: FieldTable,
) {
    channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await.unwrap();
    channel.exchange_declare(exchange.into(), kind, options, arguments).await.unwrap();
}

#[tokio::test]
async fn every_argument_of_both_queues_is_checked_and_named() {
    let bus = Bus::new(&amqp_url()).await;
    for queue in [bus.settings.queue_in.clone(), bus.settings.dead()] {
        let own = ours(&bus, &queue);
        let without = |name: &str| -> Vec<(&'static str, AMQPValue)> {
            own.iter().filter(|(of, _)| *of != name).cloned().collect()
        };
        // Other values, and what we do not put on a queue at all.
        let mut others = vec![
            ("x-delivery-limit", AMQPValue::LongInt(20)),
            ("x-overflow", text("drop-head")),
            ("x-dead-letter-exchange", text("elsewhere")),
            ("x-message-ttl", AMQPValue::LongInt(60_000)),
            ("x-max-length", AMQPValue::LongInt(1_000)),
            ("x-max-length-bytes", AMQPValue::LongInt(1_000_000)),
            ("x-expires", AMQPValue::LongInt(3_600_000)),
        ];
        if queue == bus.settings.queue_in {
            others.push(("x-dead-letter-strategy", text("at-most-once")));
        }
        for (argument, value) in others {
            let mut arguments = without(argument);
            arguments.push((argument, value));
            replace_queue(bus.channel(), &queue, DURABLE_QUEUE, table(&arguments)).await;
            assert_eq!(refused(&bus).await, format!("queue {queue} {argument}"));
        }
        // Missing ones.
        for (argument, _) in own.iter().filter(|(name, _)| *name != "x-queue-type") {
            replace_queue(bus.channel(), &queue, DURABLE_QUEUE, table(&without(argument))).await;
            assert_eq!(refused(&bus).await, format!("queue {queue} {argument}"), "without it");
        }
        // Classic queues: the broker names whichever difference it sees first.
        let classic = table(&[("x-queue-type", text("classic"))]);
        for options in [DURABLE_QUEUE, QueueDeclareOptions { durable: false, ..DURABLE_QUEUE }] {
            replace_queue(bus.channel(), &queue, options, classic.clone()).await;
            assert!(refused(&bus).await.starts_with(&format!("queue {queue} ")), "classic");
        }
        replace_queue(bus.channel(), &queue, DURABLE_QUEUE, table(&own)).await;
        assert_eq!(refused(&bus).await, "nothing is refused");
    }
    bus.delete().await;
}

#[tokio::test]
async fn every_exchange_is_checked_and_named() {
    let bus = Bus::new(&amqp_url()).await;
    let all = &bus.settings;
    for (exchange, kind, other) in [
        (all.exchange_in.clone(), ExchangeKind::Topic, ExchangeKind::Direct),
        (all.exchange_events.clone(), ExchangeKind::Topic, ExchangeKind::Fanout),
        (all.dead(), ExchangeKind::Fanout, ExchangeKind::Topic),
    ] {
        let none = FieldTable::default;
        replace_exchange(bus.channel(), &exchange, other, DURABLE_EXCHANGE, none()).await;
        assert_eq!(refused(&bus).await, format!("exchange {exchange} type"));
        for (argument, options) in [
            ("durable", ExchangeDeclareOptions { durable: false, ..DURABLE_EXCHANGE }),
            ("auto_delete", ExchangeDeclareOptions { auto_delete: true, ..DURABLE_EXCHANGE }),
            ("internal", ExchangeDeclareOptions { internal: true, ..DURABLE_EXCHANGE }),
        ] {
            replace_exchange(bus.channel(), &exchange, kind.clone(), options, none()).await;
            assert_eq!(refused(&bus).await, format!("exchange {exchange} {argument}"));
        }
        let elsewhere = table(&[("alternate-exchange", text("elsewhere"))]);
        replace_exchange(bus.channel(), &exchange, kind.clone(), DURABLE_EXCHANGE, elsewhere).await;
        assert_eq!(refused(&bus).await, format!("exchange {exchange} alternate-exchange"));
        replace_exchange(bus.channel(), &exchange, kind, DURABLE_EXCHANGE, none()).await;
        assert_eq!(refused(&bus).await, "nothing is refused");
    }
    bus.delete().await;
}

#[tokio::test]
async fn what_is_missing_is_made_the_place_for_the_dead_included() {
    let bus = Bus::new(&amqp_url()).await;
    let dead = bus.settings.dead();
    for exchange in [&dead, &bus.settings.exchange_in] {
        bus.channel().exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default()).await.unwrap();
    }
    bus.channel().queue_delete(dead.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    assert_eq!(refused(&bus).await, "nothing is refused");
    bus.publish(&[crate::support::enrolment("P1")]).await;
    assert_eq!((bus.waiting_in(&dead).await, bus.waiting().await), (0, 1));
    bus.delete().await;
}

#[tokio::test]
async fn serve_does_not_begin_on_a_broker_that_is_set_up_otherwise() {
    let bus = Bus::new(&amqp_url()).await;
    let dead = bus.settings.dead();
    replace_queue(bus.channel(), &dead, DURABLE_QUEUE, table(&[("x-queue-type", text("quorum"))])).await;
    let pikou = bus.pikou().await;
    let ended = pikou.run(&["serve"]).await;
    assert_eq!(ended.code(), 2, "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("queue {dead} exists with another value of ")), "{}", ended.stderr);
    // It has fired and published nothing.
    assert_eq!(pikou.count("SELECT count(*) FROM runs").await, 0);
    bus.delete().await;
}
