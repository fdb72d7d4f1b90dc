//! Events are listened to: each that is published from now on, by one who only looks. A queue of its own lives as long
//! as the connection, so nobody's messages are taken and nothing stays behind.
//!
//! *What cannot be promised:* what is published while the connection is lost is not heard. And a listener's queue is a
//! queue: while no other is bound, the events that it hears count as published.

use std::ops::ControlFlow;

use futures::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::consumer::Pauses;
use super::{BrokerError, BrokerSettings, answer, close, connect, short, topology};

/// Events on their way to us, at most: the rest waits in the broker, however slowly we are read.
const PREFETCH: u16 = 500;

/// What a listener is told.
pub enum Heard<'a> {
    /// The body of an event.
    Event(&'a [u8]),
    /// The connection is lost: from here on something may be missing.
    Lost(&'a BrokerError),
    /// Listening, for the first time or again.
    Listening,
}

/// Listens until `shutdown`, or until the listener breaks off. An error means that the first connection failed; one
/// that is lost later is made anew.
pub async fn listen(
    settings: &BrokerSettings,
    patterns: &[String],
    shutdown: &CancellationToken,
    mut heard: impl FnMut(Heard<'_>) -> ControlFlow<()>,
) -> Result<(), BrokerError> {
    let mut pauses = Pauses::new();
    let Some(first) = shutdown.run_until_cancelled(open(settings, patterns)).await else { return Ok(()) };
    let mut session = first?;
    loop {
        if heard(Heard::Listening).is_break() {
            return Ok(());
        }
        let Session { connection, channel, mut stream } = session;
        let error = loop {
            let Some(next) = shutdown.run_until_cancelled(stream.next()).await else {
                close(connection).await;
                return Ok(());
            };
            let delivery = match next {
                Some(Ok(delivery)) => delivery,
                Some(Err(source)) => break BrokerError::Failed { step: "listening", source },
                None => break BrokerError::ConsumerEnded { queue: "of the listener".to_owned() },
            };
            if heard(Heard::Event(&delivery.data)).is_break() {
                close(connection).await;
                return Ok(());
            }
            pauses.reset();
            if let Err(error) = answer("acknowledging an event", delivery.ack(BasicAckOptions::default())).await {
                break error;
            }
        };
        drop((stream, channel, connection));
        let mut error = error;
        session = loop {
            if heard(Heard::Lost(&error)).is_break() {
                return Ok(());
            }
            let opening = async {
                sleep(pauses.take()).await;
                open(settings, patterns).await
            };
            match shutdown.run_until_cancelled(opening).await {
                None => return Ok(()),
                Some(Ok(session)) => break session,
                Some(Err(again)) => error = again,
            }
        };
    }
}

/// One connection with one channel and one consumer; never mended, only replaced.
struct Session {
    connection: Connection,
    /// Dropping it would close it.
    channel: Channel,
    stream: Consumer,
}

async fn open(settings: &BrokerSettings, patterns: &[String]) -> Result<Session, BrokerError> {
    let connection = connect(settings, "pikou listener").await?;
    let channel = answer("opening a channel", connection.create_channel()).await?;
    let queue = topology::declare_listener(&channel, settings, patterns).await?;
    answer("setting the prefetch", channel.basic_qos(PREFETCH, BasicQosOptions { global: false })).await?;
    let options = BasicConsumeOptions { no_local: false, no_ack: false, exclusive: true, nowait: false };
    let consuming = channel.basic_consume(short("a queue's name", &queue)?, "".into(), options, FieldTable::default());
    let stream = answer("starting to consume", consuming).await?;
    Ok(Session { connection, channel, stream })
}
