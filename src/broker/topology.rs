//! What has to exist in the broker, with every option written out, so that nothing rests on a default of one of the
//! broker's versions. Declared by each consumer and publisher when it connects: whoever comes first, no message is
//! published into nothing.
//!
//! A queue or exchange that exists with other options is an error that names it. Deleting it, or using it as it is,
//! would be a decision about somebody's messages. What AMQP does not show cannot be checked: policies (one may put a
//! lower delivery limit, a length limit or a time to live on a queue), bindings that others made, who else consumes.

use lapin::options::{
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ErrorKind, ExchangeKind};

use super::{BrokerError, BrokerSettings, answer, short};

/// How often a message may come back before the broker gives up on it. Some versions have a limit of 20 without being
/// asked, and an hour without the database would use that up for every message in hand. Poison is stored and
/// acknowledged by the intake, so the limit has no work to do; the shortest pause between two deliveries is 50 ms,
/// and at that pace this number lasts for a year and a half.
pub const DELIVERY_LIMIT: i32 = 1_000_000_000;

/// An exchange that has to exist; durable, like everything here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    pub name: String,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Topic,
    Fanout,
}

/// A queue that has to exist, and what it is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    pub name: String,
    pub arguments: Vec<(&'static str, Argument)>,
    pub exchange: String,
    pub routing_key: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    Text(String),
    Number(i32),
}

/// The exchange of the events, that of the messages, and that of the dead: a fanout, because a dead message keeps the
/// routing key it came with.
pub fn exchanges(settings: &BrokerSettings) -> Vec<Exchange> {
    vec![
        Exchange { name: settings.exchange_events.clone(), kind: Kind::Topic },
        Exchange { name: settings.exchange_in.clone(), kind: Kind::Topic },
        Exchange { name: settings.dead(), kind: Kind::Fanout },
    ]
}

/// The place for the dead, and the inbox. A dead message leaves the inbox only when the dead queue has it:
/// at-least-once, which insists on `reject-publish`.
pub fn queues(settings: &BrokerSettings) -> Vec<Queue> {
    let dead = settings.dead();
    let mut inbox = quorum_arguments();
    inbox.push(("x-dead-letter-exchange", Argument::Text(dead.clone())));
    inbox.push(("x-dead-letter-strategy", Argument::Text("at-least-once".into())));
    vec![
        Queue { name: dead.clone(), arguments: quorum_arguments(), exchange: dead, routing_key: "" },
        Queue {
            name: settings.queue_in.clone(),
            arguments: inbox,
            exchange: settings.exchange_in.clone(),
            routing_key: "#",
        },
    ]
}

/// Declares the exchange of the events, and an unnamed queue that hears those of the patterns for as long as this
/// connection lives. Returns its name.
pub async fn declare_listener(
    channel: &Channel,
    settings: &BrokerSettings,
    patterns: &[String],
) -> Result<String, BrokerError> {
    exchange(channel, &settings.exchange_events, ExchangeKind::Topic).await?;
    let options =
        QueueDeclareOptions { passive: false, durable: false, exclusive: true, auto_delete: true, nowait: false };
    let declared = channel.queue_declare("".into(), options, FieldTable::default());
    let queue = answer("declaring a queue", declared).await?.name().to_string();
    for pattern in patterns {
        bind(channel, &queue, &settings.exchange_events, pattern).await?;
    }
    Ok(queue)
}

/// Quorum: what is confirmed has been synced to disk, on a majority of the nodes.
fn quorum_arguments() -> Vec<(&'static str, Argument)> {
    vec![
        ("x-queue-type", Argument::Text("quorum".into())),
        ("x-delivery-limit", Argument::Number(DELIVERY_LIMIT)),
        // Were a length limit ever put on it by policy: new messages are refused, old ones are never dropped.
        ("x-overflow", Argument::Text("reject-publish".into())),
    ]
}

/// Sees to it that everything is there as it must be, before any work begins.
pub async fn prepare(settings: &BrokerSettings) -> Result<(), BrokerError> {
    let connection = super::connect(settings, "pikou start").await?;
    let channel = answer("opening a channel", connection.create_channel()).await?;
    let declared = declare(&channel, settings).await;
    super::close(connection).await;
    declared
}

/// Declares exchanges, queues and bindings: the inbox with its place for the dead, and the exchange of the events.
pub async fn declare(channel: &Channel, settings: &BrokerSettings) -> Result<(), BrokerError> {
    for Exchange { name, kind } in exchanges(settings) {
        let kind = match kind {
            Kind::Topic => ExchangeKind::Topic,
            Kind::Fanout => ExchangeKind::Fanout,
        };
        exchange(channel, &name, kind).await?;
    }
    for Queue { name, arguments, exchange, routing_key } in queues(settings) {
        let mut table = FieldTable::default();
        for (argument, value) in arguments {
            let value = match value {
                Argument::Text(text) => AMQPValue::LongString(text.into()),
                Argument::Number(number) => AMQPValue::LongInt(number),
            };
            table.insert(argument.into(), value);
        }
        queue(channel, &name, table).await?;
        bind(channel, &name, &exchange, routing_key).await?;
    }
    Ok(())
}

async fn exchange(channel: &Channel, name: &str, kind: ExchangeKind) -> Result<(), BrokerError> {
    let options =
        ExchangeDeclareOptions { passive: false, durable: true, auto_delete: false, internal: false, nowait: false };
    let declared = channel.exchange_declare(short("an exchange's name", name)?, kind, options, FieldTable::default());
    answer("declaring an exchange", declared).await.map_err(|error| other_arguments("exchange", name, error))
}

async fn queue(channel: &Channel, name: &str, arguments: FieldTable) -> Result<(), BrokerError> {
    let options =
        QueueDeclareOptions { passive: false, durable: true, exclusive: false, auto_delete: false, nowait: false };
    let declared = channel.queue_declare(short("a queue's name", name)?, options, arguments);
    match answer("declaring a queue", declared).await {
        Ok(_) => Ok(()),
        Err(error) => Err(other_arguments("queue", name, error)),
    }
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, pattern: &str) -> Result<(), BrokerError> {
    let queue = short("a queue's name", queue)?;
    let exchange = short("an exchange's name", exchange)?;
    let pattern = short("a routing pattern", pattern)?;
    let bound = channel.queue_bind(queue, exchange, pattern, QueueBindOptions { nowait: false }, FieldTable::default());
    answer("binding a queue", bound).await
}

/// `PRECONDITION_FAILED - inequivalent arg 'x' for queue 'y' in vhost 'z': …` becomes a typed error.
fn other_arguments(kind: &'static str, name: &str, error: BrokerError) -> BrokerError {
    let BrokerError::Failed { source, .. } = &error else { return error };
    let ErrorKind::ProtocolError(reply) = source.kind() else { return error };
    if *reply.kind() != AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) {
        return error;
    }
    let reply = reply.get_message().to_string();
    BrokerError::OtherArguments { kind, name: name.to_owned(), argument: argument_in(&reply), reply }
}

fn argument_in(reply: &str) -> String {
    let named = reply.split_once("inequivalent arg '").and_then(|(_, rest)| rest.split_once('\''));
    named.map_or("an argument it does not name", |(argument, _)| argument).to_owned()
}

/// Deletes what [`declare`] has declared, with whatever is in it: for those whose exchanges are theirs alone.
pub async fn remove(settings: &BrokerSettings) -> Result<(), BrokerError> {
    let connection = super::connect(settings, "removal").await?;
    let channel = answer("opening a channel", connection.create_channel()).await?;
    let dead = settings.dead();
    for name in [&settings.queue_in, &dead] {
        let deleted = channel.queue_delete(short("a queue's name", name)?, QueueDeleteOptions::default());
        answer("deleting a queue", deleted).await?;
    }
    for name in [&settings.exchange_in, &dead, &settings.exchange_events] {
        let deleted = channel.exchange_delete(short("an exchange's name", name)?, ExchangeDeleteOptions::default());
        answer("deleting an exchange", deleted).await?;
    }
    super::close(connection).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_is_read_from_the_brokers_reply() {
        let reply = "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'q' in vhost 'v': received …";
        assert_eq!(argument_in(reply), "x-delivery-limit");
        assert_eq!(argument_in("PRECONDITION_FAILED - something else"), "an argument it does not name");
    }
}
