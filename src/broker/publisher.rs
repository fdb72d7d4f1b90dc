//! Events go out: bytes with a routing key come in, and `Ok` means that the broker has every one of them on disk.
//! Called by the outbox relay, which marks rows as published only after that, and by whoever sends messages to us.
//!
//! *What cannot be promised:* a confirm that is lost on its way leaves the message in the broker and us with an error;
//! the caller publishes it again, under the same id.

use std::collections::VecDeque;
use std::task::Poll;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use tokio::sync::Mutex;

use super::{BrokerError, BrokerSettings, Outgoing, answer, close, connect, short, topology};

/// What every event is, in the words of CloudEvents.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";
/// AMQP's number for "survives a restart of the broker".
pub(super) const PERSISTENT: u8 = 2;

/// A connection and a channel of its own, with confirms.
pub struct Publisher {
    connection: Connection,
    /// Taken while messages are under way and given back only when all of them are confirmed, so that an error, or a
    /// caller that stops waiting, leaves nothing behind that could be mistaken for the next caller's confirm. The
    /// lock also keeps two callers apart: lapin hands a returned message to whichever confirm comes next.
    channel: Mutex<Option<Channel>>,
    confirm_timeout: Duration,
    outstanding_max: usize,
}

impl Publisher {
    pub async fn connect(settings: &BrokerSettings) -> Result<Publisher, BrokerError> {
        let connection = connect(settings, "pikou publisher").await?;
        let channel = answer("opening a channel", connection.create_channel()).await?;
        topology::declare(&channel, settings).await?;
        // Without this every publish counts as done at once, whatever the broker does with it.
        let confirms = channel.confirm_select(ConfirmSelectOptions { nowait: false });
        answer("asking for confirms", confirms).await?;
        Ok(Publisher {
            connection,
            channel: Mutex::new(Some(channel)),
            confirm_timeout: settings.confirm_timeout,
            outstanding_max: settings.outstanding_max,
        })
    }

    /// Publishes all messages in their order and returns how many, when each of them is confirmed. After an error it is
    /// not known which of them the broker has; this publisher then refuses everything, connect a new one.
    pub async fn publish(
        &self,
        exchange: &str,
        messages: impl IntoIterator<Item = Outgoing>,
    ) -> Result<usize, BrokerError> {
        let mut slot = self.channel.lock().await;
        let channel = slot.take().ok_or(BrokerError::PublisherSpent)?;
        let published = self.publish_on(&channel, exchange, messages).await?;
        *slot = Some(channel);
        Ok(published)
    }

    pub async fn close(self) {
        close(self.connection).await;
    }

    /// Keeps a window of messages under way and waits for the oldest when it is full. The broker confirms mostly in
    /// order and many at once, so that waiting for the oldest rarely waits twice.
    async fn publish_on(
        &self,
        channel: &Channel,
        exchange: &str,
        messages: impl IntoIterator<Item = Outgoing>,
    ) -> Result<usize, BrokerError> {
        let mut under_way = VecDeque::with_capacity(self.outstanding_max);
        let mut published = 0;
        for message in messages {
            if under_way.len() == self.outstanding_max {
                self.oldest_confirmed(exchange, &mut under_way).await?;
            }
            let message_id = message.message_id.clone();
            let mut sending = Box::pin(send(channel, exchange, message));
            // lapin puts the message into its queue at the first poll: polling here, one after the other, is what
            // keeps them in order.
            match futures::poll!(&mut sending) {
                Poll::Ready(done) => done?,
                Poll::Pending => under_way.push_back((message_id, sending)),
            }
            published += 1;
        }
        while !under_way.is_empty() {
            self.oldest_confirmed(exchange, &mut under_way).await?;
        }
        Ok(published)
    }

    async fn oldest_confirmed(
        &self,
        exchange: &str,
        under_way: &mut VecDeque<(String, impl Future<Output = Result<(), BrokerError>> + Unpin)>,
    ) -> Result<(), BrokerError> {
        let Some((message_id, sending)) = under_way.pop_front() else { return Ok(()) };
        match tokio::time::timeout(self.confirm_timeout, sending).await {
            Ok(done) => done,
            Err(_) if self.connection.status().blocked() => Err(BrokerError::Blocked { waited: self.confirm_timeout }),
            Err(_) => Err(BrokerError::ConfirmTimeout {
                exchange: exchange.to_owned(),
                message_id,
                waited: self.confirm_timeout,
            }),
        }
    }
}

/// From the queue of the socket to the confirm, for one message.
async fn send(channel: &Channel, exchange: &str, message: Outgoing) -> Result<(), BrokerError> {
    let Outgoing { routing_key, message_id, body } = message;
    let properties = BasicProperties::default().with_content_type(CONTENT_TYPE.into()).with_delivery_mode(PERSISTENT);
    // The property holds 255 bytes. A longer id is in the body alone: it must not keep what is behind it waiting.
    let properties = match ShortString::try_new(message_id.as_str()) {
        Ok(message_id) => properties.with_message_id(message_id),
        Err(_) => properties,
    };
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    let exchange_name = short("an exchange's name", exchange)?;
    let routing_key = short("a routing key", &routing_key)?;
    let failed = |source| BrokerError::Failed { step: "publishing", source };
    let confirm =
        channel.basic_publish(exchange_name, routing_key, options, &body, properties).await.map_err(failed)?;
    match confirm.await.map_err(failed)? {
        Confirmation::Ack(None) => Ok(()),
        // An unroutable message is acknowledged too. The routing key is the returned message's own: with several
        // confirms in one frame, lapin may hand it to another one's.
        Confirmation::Ack(Some(returned)) => Err(BrokerError::Unroutable {
            exchange: exchange.to_owned(),
            routing_key: returned.delivery.routing_key.to_string(),
        }),
        // "Not requested" is no confirm: the channel is not in the mode we asked for.
        Confirmation::Nack(_) | Confirmation::NotRequested => {
            Err(BrokerError::Refused { exchange: exchange.to_owned(), message_id })
        }
    }
}
