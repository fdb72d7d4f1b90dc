//! A corner of the real broker for one test: what a sender and a listener need.

use std::time::{Duration, Instant};

use lapin::options::{
    BasicGetOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use pikou::broker::{BrokerSettings, Outgoing, Publisher};
use serde_json::Value;

use crate::process::{PATIENCE, Pikou};
use crate::support::{new_database, unique};

/// Exchanges and queues that nobody else has, and a queue that hears every event.
pub struct Bus {
    pub settings: BrokerSettings,
    heard: String,
    _connection: Connection,
    channel: Channel,
}

impl Bus {
    pub async fn new(url: &str) -> Bus {
        let name = unique("bus");
        let settings = BrokerSettings {
            url: url.to_owned(),
            exchange_in: format!("{name}.in"),
            queue_in: format!("{name}.inbox"),
            exchange_events: format!("{name}.events"),
            batch_max: 100,
            batch_wait: Duration::from_millis(20),
            confirm_timeout: Duration::from_secs(10),
            outstanding_max: 500,
        };
        // Declares what has to exist.
        Publisher::connect(&settings).await.expect("the broker answers").close().await;
        let (connection, channel) = connect(url).await.expect("the broker answers");
        let heard = format!("{name}.heard");
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(heard.as_str().into(), durable, FieldTable::default()).await.unwrap();
        let bus = Bus { settings, heard, _connection: connection, channel };
        bus.listen().await;
        bus
    }

    /// A worker that uses it, and fires nothing by itself.
    pub async fn pikou(&self) -> Pikou {
        self.pikou_on(new_database().await).await
    }

    /// The same with its book in a given database.
    pub async fn pikou_on(&self, url: String) -> Pikou {
        let all = &self.settings;
        let settings: [(&str, &str); 9] = [
            ("PIKOU__BROKER__URL", &all.url),
            ("PIKOU__BROKER__EXCHANGE_IN", &all.exchange_in),
            ("PIKOU__BROKER__QUEUE_IN", &all.queue_in),
            ("PIKOU__BROKER__EXCHANGE_EVENTS", &all.exchange_events),
            ("PIKOU__INTAKE__BATCH_MAX", "50"),
            ("PIKOU__RESULTS__SCAN_SECONDS", "1"),
            ("PIKOU__RUN__LEASE_SECONDS", "5"),
            ("PIKOU__SCHEDULES__BEIJING_RESIDENT_PENSION__ENABLED", "false"),
            ("PIKOU__SCHEDULES__GUIZHOU_RESIDENT_PENSION__ENABLED", "false"),
        ];
        Pikou::on(url, &settings).await
    }

    /// Nobody listens to the events any more.
    pub async fn deafen(&self) {
        let (queue, exchange) = (self.heard.as_str().into(), self.settings.exchange_events.as_str().into());
        self.channel.queue_unbind(queue, exchange, "#".into(), FieldTable::default()).await.unwrap();
    }

    /// Somebody listens to every event.
    pub async fn listen(&self) {
        let (queue, exchange) = (self.heard.as_str().into(), self.settings.exchange_events.as_str().into());
        let options = QueueBindOptions::default();
        self.channel.queue_bind(queue, exchange, "#".into(), options, FieldTable::default()).await.unwrap();
    }

    /// Publishes with confirms; tries until it has succeeded, as a sender does.
    pub async fn publish(&self, messages: &[Value]) {
        let outgoing = |message: &Value| Outgoing {
            routing_key: message["type"].as_str().unwrap()["pikou.in.".len()..].trim_end_matches(".v1").to_owned(),
            message_id: message["id"].as_str().unwrap().to_owned(),
            body: message.to_string().into_bytes(),
        };
        let start = Instant::now();
        while let Err(error) = async {
            let publisher = Publisher::connect(&self.settings).await?;
            publisher.publish(&self.settings.exchange_in, messages.iter().map(outgoing)).await?;
            publisher.close().await;
            Ok::<(), pikou::broker::BrokerError>(())
        }
        .await
        {
            assert!(start.elapsed() < PATIENCE, "{error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Messages that wait to be taken.
    pub async fn waiting(&self) -> u32 {
        self.waiting_in(&self.settings.queue_in).await
    }

    pub async fn waiting_in(&self, queue: &str) -> u32 {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(queue.into(), passive, FieldTable::default()).await.unwrap().message_count()
    }

    /// To do what pikou would not do.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Everything that was heard so far, in order.
    pub async fn heard(&self) -> Vec<Value> {
        let (_connection, channel) = connect(&self.settings.url).await.expect("the broker answers");
        let mut events = Vec::new();
        while let Some(got) =
            channel.basic_get(self.heard.as_str().into(), BasicGetOptions { no_ack: true }).await.unwrap()
        {
            events.push(serde_json::from_slice(&got.delivery.data).unwrap());
        }
        events
    }

    pub async fn delete(self) {
        let dead = self.settings.dead();
        for queue in [&self.settings.queue_in, &dead, &self.heard] {
            self.channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
        }
        for exchange in [&self.settings.exchange_in, &self.settings.exchange_events, &dead] {
            self.channel.exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default()).await.unwrap();
        }
    }
}

async fn connect(url: &str) -> Result<(Connection, Channel), lapin::Error> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

pub fn amqp_url() -> String {
    std::env::var("PIKOU_TEST_AMQP_URL").expect("PIKOU_TEST_AMQP_URL is not set: run the tests with scripts/test")
}
