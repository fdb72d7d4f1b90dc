//! Messages go to somebody's exchange, and each gets a verdict of its own: for who sends test messages and wants to know
//! which of them the broker did not take. The relay, which must not go past a message, uses [`Publisher`] instead.

use std::collections::{HashSet, VecDeque};
use std::task::Poll;
use std::time::Duration;

use futures::future::{Either, ready};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection};

use super::publisher::PERSISTENT;
use super::{BrokerError, BrokerSettings, answer, close, connect, short, topology};

/// One message with the properties it shall have.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    pub routing_key: String,
    pub message_id: String,
    pub content_type: Option<String>,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What the broker did with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Confirmed,
    /// No queue is bound that it would have gone to.
    Unroutable,
    Refused,
}

/// A connection and a channel of its own, with confirms.
pub struct Sender {
    connection: Connection,
    channel: Channel,
    exchange: String,
    confirm_timeout: Duration,
    outstanding_max: usize,
}

/// By what a message that came back is recognised: lapin may hand it over with another one's confirm.
type Address = (String, String);

impl Sender {
    /// For the exchange that messages come in by.
    pub async fn connect(settings: &BrokerSettings) -> Result<Sender, BrokerError> {
        let connection = connect(settings, "pikou sender").await?;
        let channel = answer("opening a channel", connection.create_channel()).await?;
        topology::declare(&channel, settings).await?;
        let confirms = channel.confirm_select(ConfirmSelectOptions { nowait: false });
        answer("asking for confirms", confirms).await?;
        Ok(Sender {
            connection,
            channel,
            exchange: settings.exchange_in.clone(),
            confirm_timeout: settings.confirm_timeout,
            outstanding_max: settings.outstanding_max,
        })
    }

    /// Sends messages in their order and says of each what became of it. After an error that is not known of any.
    pub async fn send(&mut self, letters: Vec<Letter>) -> Result<Vec<Verdict>, BrokerError> {
        let addresses: Vec<Address> =
            letters.iter().map(|letter| (letter.routing_key.clone(), letter.message_id.clone())).collect();
        let mut returned: HashSet<Address> = HashSet::new();
        let mut verdicts = Vec::with_capacity(letters.len());
        let mut under_way = VecDeque::with_capacity(self.outstanding_max);
        for letter in letters {
            if under_way.len() == self.outstanding_max
                && let Some(oldest) = under_way.pop_front()
            {
                verdicts.push(verdict(self.confirmed(oldest).await?, &mut returned));
            }
            let mut sending = Box::pin(send(&self.channel, &self.exchange, letter));
            // Polled once, it is in lapin's queue: this keeps them in order. A fast broker may have confirmed it by then.
            under_way.push_back(match futures::poll!(&mut sending) {
                Poll::Ready(done) => Either::Left(ready(Ok(done?))),
                Poll::Pending => Either::Right(sending),
            });
        }
        for sending in under_way {
            verdicts.push(verdict(self.confirmed(sending).await?, &mut returned));
        }
        for (verdict, address) in verdicts.iter_mut().zip(&addresses) {
            if *verdict == Verdict::Confirmed && returned.contains(address) {
                *verdict = Verdict::Unroutable;
            }
        }
        Ok(verdicts)
    }

    pub async fn close(self) {
        close(self.connection).await;
    }

    async fn confirmed<F>(&self, sending: F) -> Result<Confirmation, BrokerError>
    where
        F: Future<Output = Result<Confirmation, BrokerError>>,
    {
        let waited = self.confirm_timeout;
        match tokio::time::timeout(waited, sending).await {
            Ok(done) => done,
            Err(_) if self.connection.status().blocked() => Err(BrokerError::Blocked { waited }),
            Err(_) => Err(BrokerError::NoAnswer { step: "confirming a message", waited }),
        }
    }
}

/// What comes back is noted and looked at when all confirms are there; each is handed over by then.
fn verdict(confirmation: Confirmation, returned: &mut HashSet<Address>) -> Verdict {
    let (verdict, back) = match confirmation {
        Confirmation::Ack(back) => (Verdict::Confirmed, back),
        Confirmation::Nack(back) => (Verdict::Refused, back),
        Confirmation::NotRequested => (Verdict::Refused, None),
    };
    if let Some(back) = back {
        let message_id = back.delivery.properties.message_id().as_ref().map(ToString::to_string);
        returned.insert((back.delivery.routing_key.to_string(), message_id.unwrap_or_default()));
    }
    verdict
}

/// From the queue of the socket to the confirm, for one message.
async fn send(channel: &Channel, exchange: &str, letter: Letter) -> Result<Confirmation, BrokerError> {
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_message_id(short("a message's id", &letter.message_id)?);
    if let Some(content_type) = &letter.content_type {
        properties = properties.with_content_type(short("a content type", content_type)?);
    }
    let mut headers = FieldTable::default();
    for (name, value) in letter.headers {
        headers.insert(short("a header's name", &name)?, AMQPValue::LongString(value.into()));
    }
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    let (exchange, key) = (short("an exchange's name", exchange)?, short("a routing key", &letter.routing_key)?);
    let failed = |source| BrokerError::Failed { step: "publishing", source };
    let publishing = channel.basic_publish(exchange, key, options, &letter.body, properties.with_headers(headers));
    publishing.await.map_err(failed)?.await.map_err(failed)
}
