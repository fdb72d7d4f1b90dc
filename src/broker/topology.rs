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
    let dead = settings.dead();
    exchange(channel, &settings.exchange_events, ExchangeKind::Topic).await?;
    exchange(channel, &settings.exchange_in, ExchangeKind::Topic).await?;
    // A fanout, because a dead message keeps the routing key it came with.
    exchange(channel, &dead, ExchangeKind::Fanout).await?;
    queue(channel, &dead, quorum_arguments()).await?;
    bind(channel, &dead, &dead, "").await?;
    queue(channel, &settings.queue_in, inbox_arguments(&dead)).await?;
    bind(channel, &settings.queue_in, &settings.exchange_in, "#").await
}

/// Quorum: what is confirmed has been synced to disk, on a majority of the nodes.
fn quorum_arguments() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(DELIVERY_LIMIT));
    // Were a length limit ever put on it by policy: new messages are refused, old ones are never dropped.
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments
}

/// At-least-once: a message leaves the inbox only when the dead queue has it. (It insists on `reject-publish`.)
fn inbox_arguments(dead: &str) -> FieldTable {
    let mut arguments = quorum_arguments();
    arguments.insert("x-dead-letter-exchange".into(), text(dead));
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    arguments
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
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
    let bound =
        channel.queue_bind(queue, exchange, pattern.into(), QueueBindOptions { nowait: false }, FieldTable::default());
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
