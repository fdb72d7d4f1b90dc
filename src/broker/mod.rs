//! RabbitMQ: messages come in by [`consume`], events go out by [`Publisher`], on exchanges and queues that
//! [`topology`] declares. Knows nothing of what the messages mean: the handler is passed in, bytes go out.
//! Called by the stages' runner (`consume`, with the intake as handler), by the outbox relay, by the demo and by the
//! commands that send test messages ([`Sender`]) and listen to events ([`listener`]).
//!
//! What is promised: at least once, both ways. Nothing is acknowledged before the handler has returned (it has
//! committed by then), nothing counts as published before the broker has confirmed it. So both sides may see a
//! message twice; a publisher's duplicate arrives with `redelivered = false`. Whoever reads must deduplicate.
//!
//! We do not use lapin's recovery: after a restart of the broker it goes on without an error and mixes deliveries
//! of the dead connection with new ones. Whatever goes wrong here, the whole connection is dropped and made anew.

pub mod consumer;
pub mod jsonl;
pub mod listener;
pub mod publisher;
pub mod sender;
pub mod topology;

use std::fmt;
use std::time::Duration;

use lapin::message::Delivery;
use lapin::types::{AMQPValue, ShortString};
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use serde_json::Value;

pub use consumer::{consume, consume_dead, consume_in_line};
pub use publisher::Publisher;
pub use sender::{Letter, Sender, Verdict};

/// How long a connection, with its handshake, may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the broker may take for one answer: a declaration, an acknowledgement written to the socket.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long we wait for a clean goodbye; after it the connection is simply dropped.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// Unless the URL says otherwise. A peer that went away silently is noticed after twice this time.
pub const HEARTBEAT_SECONDS: u16 = 15;
/// Largest batch: four times as many are prefetched, and AMQP counts them in 16 bits.
pub const BATCH_LIMIT: usize = (u16::MAX / 4) as usize;
/// Largest number of unconfirmed messages; each is kept in memory until its confirm.
pub const OUTSTANDING_LIMIT: usize = 10_000;
/// Longest name of ours, in bytes: AMQP allows 255, and `.dead` is appended.
pub const NAME_LIMIT: usize = 200;
/// For the subscriber's filter: lapin writes a message that was returned as unroutable into its log, body and all.
pub const LOG_DIRECTIVE: &str = "lapin::returned_messages=off";

/// Where the broker is and how much is asked of it at a time. No `Debug`: the URL holds the password.
#[derive(Clone)]
pub struct BrokerSettings {
    /// `amqp://user:password@host:port/vhost` or `amqps://…`; `?heartbeat=` and `?connection_timeout=` are heeded.
    pub url: String,
    pub exchange_in: String,
    pub queue_in: String,
    pub exchange_events: String,
    /// Most messages the handler gets at once.
    pub batch_max: usize,
    /// How long the first message of a batch waits for company.
    pub batch_wait: Duration,
    /// How long a published message may stay without its confirm; also how long a blocked broker is waited for.
    pub confirm_timeout: Duration,
    /// Most messages published and not yet confirmed.
    pub outstanding_max: usize,
}

/// One message as the broker handed it over.
#[derive(Clone, PartialEq, Eq)]
pub struct Incoming {
    pub body: Vec<u8>,
    pub content_type: Option<String>,
    /// Values that are no text in AMQP are written as text: numbers and booleans plainly, a timestamp in RFC 3339, lists
    /// and tables as JSON.
    pub headers: Vec<(String, String)>,
    pub routing_key: String,
    /// Says only that the broker has handed it out before; `false` proves nothing.
    pub redelivered: bool,
    pub reply_to: Option<String>,
    pub correlation_id: Option<String>,
}

/// Neither body nor headers: what is personal stays out of logs and panics.
impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incoming {{ routing_key: {:?}, bytes: {} }}", self.routing_key, self.body.len())
    }
}

impl From<Delivery> for Incoming {
    fn from(delivery: Delivery) -> Incoming {
        let properties = &delivery.properties;
        let headers = properties.headers().iter().flatten();
        Incoming {
            content_type: properties.content_type().as_ref().map(ToString::to_string),
            headers: headers.map(|(name, value)| (name.to_string(), plain(value))).collect(),
            routing_key: delivery.routing_key.to_string(),
            redelivered: delivery.redelivered,
            reply_to: properties.reply_to().as_ref().map(ToString::to_string),
            correlation_id: properties.correlation_id().as_ref().map(ToString::to_string),
            body: delivery.data,
        }
    }
}

fn plain(value: &AMQPValue) -> String {
    match value {
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::ShortShortInt(value) => value.to_string(),
        AMQPValue::ShortShortUInt(value) => value.to_string(),
        AMQPValue::ShortInt(value) => value.to_string(),
        AMQPValue::ShortUInt(value) => value.to_string(),
        AMQPValue::LongInt(value) => value.to_string(),
        AMQPValue::LongUInt(value) => value.to_string(),
        AMQPValue::LongLongInt(value) => value.to_string(),
        AMQPValue::Float(value) => value.to_string(),
        AMQPValue::Double(value) => value.to_string(),
        AMQPValue::ShortString(value) => value.to_string(),
        AMQPValue::LongString(value) => value.to_string(),
        AMQPValue::Timestamp(seconds) => instant(*seconds),
        AMQPValue::ByteArray(bytes) => String::from_utf8_lossy(bytes.as_slice()).into_owned(),
        AMQPValue::Void => String::new(),
        decimal @ AMQPValue::DecimalValue(_) => format!("{decimal:?}"),
        nested @ (AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_)) => json(nested).to_string(),
    }
}

/// Lists and tables as JSON with plain texts in them, such as the broker's own `x-death`.
fn json(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(json).collect(),
        AMQPValue::FieldTable(table) => {
            table.inner().iter().map(|(name, value)| (name.to_string(), json(value))).collect()
        }
        plainly => Value::String(plain(plainly)),
    }
}

/// Headers that the broker writes, not the sender: they tell of the way, and differ each time.
pub fn is_brokers_own(header: &str) -> bool {
    let header = header.to_ascii_lowercase();
    header == "x-death"
        || header == "x-delivery-count"
        || ["x-first-death-", "x-last-death-"].iter().any(|own| header.starts_with(own))
}

impl Incoming {
    /// Why the broker gave it up, in the broker's words: `expired in pikou.inbox`. Of several times, the last.
    pub fn death(&self) -> String {
        let header = |name: &str| self.headers.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str());
        let deaths: Value = header("x-death").and_then(|deaths| serde_json::from_str(deaths).ok()).unwrap_or_default();
        let said = |name: &str, first: &str| {
            deaths[0][name].as_str().or_else(|| header(first)).unwrap_or("unknown").to_owned()
        };
        format!("{} in {}", said("reason", "x-first-death-reason"), said("queue", "x-first-death-queue"))
    }
}

/// RFC 3339, as far as there are such years.
fn instant(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0));
    time.map_or_else(|| seconds.to_string(), |time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
}

/// "Not now": the world is not ready (database away, lock timeout). The messages stay in the broker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not now: {reason}")]
pub struct HandlerLater {
    pub reason: String,
}

/// One event on its way out.
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub routing_key: String,
    pub message_id: String,
    pub body: Vec<u8>,
}

/// Only [`OtherArguments`](BrokerError::OtherArguments), [`Setting`](BrokerError::Setting) and
/// [`Unroutable`](BrokerError::Unroutable) need a person; the others pass when the broker is well again.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error("broker setting {setting}: {reason}")]
    Setting { setting: &'static str, reason: String },
    #[error("cannot connect to the broker at {at}")]
    Connect { at: String, source: lapin::Error },
    #[error("the broker did not answer within {waited:?} while {step}")]
    NoAnswer { step: &'static str, waited: Duration },
    #[error("the broker failed while {step}")]
    Failed { step: &'static str, source: lapin::Error },
    #[error(
        "{kind} {name} exists with another value of {argument}; mend or delete it, we do not work round it ({reply})"
    )]
    OtherArguments { kind: &'static str, name: String, argument: String, reply: String },
    #[error("the broker ended our consumer of queue {queue}")]
    ConsumerEnded { queue: String },
    #[error("a delivery of queue {queue} belongs to a connection that is gone")]
    UnusableDelivery { queue: String },
    #[error("the acknowledgement for queue {queue} did not reach the broker")]
    NotAcked { queue: String },
    #[error("the handler of queue {queue} panicked; its messages stay in the broker")]
    HandlerPanicked { queue: String },
    #[error("nobody has bound a queue to exchange {exchange} for routing key {routing_key}")]
    Unroutable { exchange: String, routing_key: String },
    #[error("the broker refused message {message_id} for exchange {exchange}")]
    Refused { exchange: String, message_id: String },
    #[error("no confirm for message {message_id} of exchange {exchange} within {waited:?}")]
    ConfirmTimeout { exchange: String, message_id: String, waited: Duration },
    #[error("the broker takes no messages (its memory or disk alarm); nothing was confirmed within {waited:?}")]
    Blocked { waited: Duration },
    #[error("{what} is longer than the 255 bytes AMQP allows")]
    TooLong { what: &'static str },
    #[error("the publisher has failed before; connect a new one")]
    PublisherSpent,
}

impl BrokerSettings {
    /// The queue, and the exchange in front of it, for what the broker itself gives up on.
    pub fn dead(&self) -> String {
        format!("{}.dead", self.queue_in)
    }

    /// Everything that can be wrong without asking the broker.
    fn check(&self) -> Result<AMQPUri, BrokerError> {
        let names = [&self.exchange_in, &self.queue_in, &self.exchange_events];
        for (setting, name) in ["exchange_in", "queue_in", "exchange_events"].into_iter().zip(names) {
            if name.is_empty() || name.len() > NAME_LIMIT {
                return Err(wrong(setting, format!("must have 1 to {NAME_LIMIT} bytes")));
            }
        }
        if !(1..=BATCH_LIMIT).contains(&self.batch_max) {
            return Err(wrong("batch_max", format!("must be 1 to {BATCH_LIMIT}")));
        }
        if !(1..=OUTSTANDING_LIMIT).contains(&self.outstanding_max) {
            return Err(wrong("outstanding_max", format!("must be 1 to {OUTSTANDING_LIMIT}")));
        }
        if self.confirm_timeout.is_zero() {
            return Err(wrong("confirm_timeout", "must be more than nothing".to_owned()));
        }
        self.address()
    }

    /// The parser's own words are not repeated: they may hold the whole URL, and with it the password.
    fn address(&self) -> Result<AMQPUri, BrokerError> {
        let form = || wrong("url", "must look like amqp://user:password@host:port/vhost".to_owned());
        let mut uri: AMQPUri = self.url.parse().map_err(|_| form())?;
        // What the parser does not take for a host (an IPv6 address) it silently replaces by localhost.
        if uri.authority.host == "localhost" && !self.url.contains("localhost") {
            return Err(form());
        }
        ShortString::try_new(uri.vhost.as_str()).map_err(|_| form())?; // lapin panics on a longer one
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        uri.query.connection_timeout.get_or_insert(CONNECT_TIMEOUT.as_millis() as u64);
        Ok(uri)
    }
}

fn wrong(setting: &'static str, reason: String) -> BrokerError {
    BrokerError::Setting { setting, reason }
}

/// A connection of its own for each user: publishing that the broker holds back must not hold back acknowledgements.
async fn connect(settings: &BrokerSettings, role: &'static str) -> Result<Connection, BrokerError> {
    let uri = settings.check()?;
    let at = format!("{}:{} (vhost {})", uri.authority.host, uri.authority.port, uri.vhost);
    let properties = ConnectionProperties::default().with_connection_name(role.into());
    match tokio::time::timeout(CONNECT_TIMEOUT, Connection::connect_uri(uri, properties)).await {
        Ok(connected) => connected.map_err(|source| BrokerError::Connect { at, source }),
        Err(_) => Err(BrokerError::NoAnswer { step: "connecting", waited: CONNECT_TIMEOUT }),
    }
}

/// One answer of the broker, or an error that says what was asked. lapin itself waits for ever when the broker dies
/// at the wrong moment.
async fn answer<T>(step: &'static str, asked: impl Future<Output = Result<T, lapin::Error>>) -> Result<T, BrokerError> {
    match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
        Ok(answered) => answered.map_err(|source| BrokerError::Failed { step, source }),
        Err(_) => Err(BrokerError::NoAnswer { step, waited: ANSWER_TIMEOUT }),
    }
}

/// Says goodbye if that is still possible. What was not acknowledged goes back to the queue either way.
async fn close(connection: Connection) {
    match tokio::time::timeout(CLOSE_TIMEOUT, connection.close(200, "OK".into())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the broker's connection was gone before it was closed"),
        Err(_) => tracing::debug!("the broker did not answer our goodbye"),
    }
}

fn short(what: &'static str, text: &str) -> Result<ShortString, BrokerError> {
    ShortString::try_new(text).map_err(|_| BrokerError::TooLong { what })
}

/// The error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> BrokerSettings {
        BrokerSettings {
            url: url.to_owned(),
            exchange_in: "in".to_owned(),
            queue_in: "inbox".to_owned(),
            exchange_events: "events".to_owned(),
            batch_max: 10,
            batch_wait: Duration::from_millis(10),
            confirm_timeout: Duration::from_secs(5),
            outstanding_max: 10,
        }
    }

    #[test]
    fn a_url_that_is_none_is_refused_without_repeating_its_password() {
        for url in ["secret", "mailto:me:secret@host", "http://me:secret@host", "amqp://me:secret@[::1]:5672/v"] {
            let error = settings(url).check().expect_err(url);
            assert!(!format!("{error} {error:?}").contains("secret"), "{url}: {error}");
        }
        assert!(settings("amqp://me:secret@127.0.0.1:5672/v").check().is_ok());
    }

    #[test]
    fn a_batch_that_cannot_be_prefetched_four_times_is_refused() {
        let fine = settings("amqp://localhost/v");
        assert!(BrokerSettings { batch_max: BATCH_LIMIT, ..fine.clone() }.check().is_ok());
        for batch_max in [0, BATCH_LIMIT + 1] {
            let error = BrokerSettings { batch_max, ..fine.clone() }.check().expect_err("out of range");
            assert!(matches!(error, BrokerError::Setting { setting: "batch_max", .. }), "{error}");
        }
    }
}
