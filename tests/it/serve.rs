//! `pikou serve` between the real broker and the real database: the golden path, and what happens when one of them,
//! or the worker itself, goes away in the middle.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant};

use lapin::options::{
    BasicGetOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use pikou::broker::{BrokerSettings, Outgoing, Publisher};
use pikou::demo::bank::Bank;
use serde_json::Value;

use crate::process::{PATIENCE, Pikou, end_of, stop};
use crate::support::*;

/// Exchanges and queues that nobody else has, and a queue that hears every event.
struct Bus {
    settings: BrokerSettings,
    heard: String,
    _connection: Connection,
    channel: Channel,
}

impl Bus {
    async fn new(url: &str) -> Bus {
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
        let (queue, exchange) = (heard.as_str().into(), settings.exchange_events.as_str().into());
        channel
            .queue_bind(queue, exchange, "#".into(), QueueBindOptions::default(), FieldTable::default())
            .await
            .unwrap();
        Bus { settings, heard, _connection: connection, channel }
    }

    /// A worker that uses it, and fires nothing by itself.
    async fn pikou(&self) -> Pikou {
        let all = &self.settings;
        Pikou::new(&[
            ("PIKOU__BROKER__URL", &all.url),
            ("PIKOU__BROKER__EXCHANGE_IN", &all.exchange_in),
            ("PIKOU__BROKER__QUEUE_IN", &all.queue_in),
            ("PIKOU__BROKER__EXCHANGE_EVENTS", &all.exchange_events),
            ("PIKOU__INTAKE__BATCH_MAX", "50"),
            ("PIKOU__RESULTS__SCAN_SECONDS", "1"),
            ("PIKOU__RUN__LEASE_SECONDS", "5"),
            ("PIKOU__SCHEDULES__BEIJING_RESIDENT_PENSION__ENABLED", "false"),
            ("PIKOU__SCHEDULES__GUIZHOU_RESIDENT_PENSION__ENABLED", "false"),
        ])
        .await
    }

    /// Publishes with confirms; tries until it has succeeded, as a sender does.
    async fn publish(&self, messages: &[Value]) {
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

    /// Everything that was heard so far, in order.
    async fn heard(&self) -> Vec<Value> {
        let (_connection, channel) = connect(&self.settings.url).await.expect("the broker answers");
        let mut events = Vec::new();
        while let Some(got) =
            channel.basic_get(self.heard.as_str().into(), BasicGetOptions { no_ack: true }).await.unwrap()
        {
            events.push(serde_json::from_slice(&got.delivery.data).unwrap());
        }
        events
    }

    async fn delete(self) {
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

fn amqp_url() -> String {
    std::env::var("PIKOU_TEST_AMQP_URL").expect("PIKOU_TEST_AMQP_URL is not set: run the tests with scripts/test")
}

const UNPUBLISHED: &str = "SELECT count(*) FROM outbox WHERE published_at IS NULL";
const MESSAGES: &str = "SELECT count(*) FROM messages";

/// Each event that was heard under its id, once; that it was the same each time; and how often it came again.
fn distinct(events: &[Value]) -> (BTreeMap<&str, &Value>, usize) {
    let mut bodies: BTreeMap<&str, &Value> = BTreeMap::new();
    for event in events {
        let body = bodies.entry(event["id"].as_str().unwrap()).or_insert(event);
        assert_eq!(*body, event, "one id, two events");
    }
    let again = events.len() - bodies.len();
    (bodies, again)
}

/// Of each subject, in the order in which they were heard: the sequences ascend.
fn assert_in_order(events: &[Value]) {
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for event in events {
        let (story, _) = event["id"].as_str().unwrap().rsplit_once('/').unwrap();
        let sequence = event["sequence"].as_i64().unwrap();
        assert!(last.insert(story, sequence).is_none_or(|before| before < sequence), "{event}");
    }
}

#[tokio::test]
async fn the_golden_path_goes_from_messages_to_payments() {
    let bus = Bus::new(&amqp_url()).await;
    let pikou = bus.pikou().await;
    let worker = pikou.serve(&[]);
    let mut messages: Vec<Value> = (1..=20).flat_map(|number| ready(&format!("P{number:02}"), "1500.00")).collect();
    messages.extend(["P03", "P07"].map(|payer| amount_voided(payer, &format!("void-{payer}"), "2026-04-03T00:00:00Z")));
    bus.publish(&messages).await;
    pikou.until(MESSAGES, 62).await;

    let run = pikou.document(&["run", SCHEDULE, "--date", "2026-04-15"], 0).await;
    assert_eq!((&run["candidates"], &run["attempts"], &run["skips"]["voided"]), (&20.into(), &18.into(), &2.into()));
    let mut bank = Bank::new(&pikou.data().join("gateways/bank/outbox"), &pikou.data().join("gateways/bank/inbox"), 7);
    let answers = bank.answer_all(at("2026-04-16T10:15:00+08:00")).unwrap();
    assert_eq!(answers.len(), 1);
    pikou.until("SELECT count(*) FROM result_files WHERE state = 'applied'", 1).await;
    pikou.until(UNPUBLISHED, 0).await;

    let account = pikou.document(&["account"], 0).await;
    assert_eq!(account["balanced"], Value::Bool(true), "{account:#}");
    let settled = pikou.count("SELECT count(*) FROM settlements").await;
    assert!(settled > 0 && account["attempts"]["succeeded"] == settled, "{account:#}");
    let events = bus.heard().await;
    let (distinct, again) = distinct(&events);
    assert_eq!((distinct.len() as i64, again), (pikou.count("SELECT sum(events) FROM outbox").await, 0));
    let written: BTreeSet<String> =
        pikou.texts("SELECT unnest(ids) FROM outbox WHERE kind = 'events'").await.into_iter().collect();
    assert!(!written.is_empty() && written.iter().all(|id| distinct.contains_key(id.as_str())));
    let payments = events.iter().filter(|event| event["type"] == "pikou.payment.recorded.v1").count();
    assert_eq!(payments as i64, settled);
    assert_in_order(&events);
    let inbox = pikou.data().join("gateways/bank/inbox/102");
    assert_eq!(read_folder(&inbox), [inbox.join("done")], "the answer is put aside");

    stop(&pikou, worker).await;
    bus.delete().await;
}

#[tokio::test]
async fn a_worker_killed_while_messages_come_in_loses_none_and_takes_none_twice() {
    let bus = Bus::new(&amqp_url()).await;
    let pikou = bus.pikou().await;
    let messages: Vec<Value> =
        (1..=667).flat_map(|number| ready(&format!("P{number:03}"), "1500.00")).take(2000).collect();
    let mut worker = pikou.serve(&[]);
    let publishing = async { bus.publish(&messages).await };
    let killing = async {
        let start = Instant::now();
        while pikou.count(MESSAGES).await < 200 {
            assert!(start.elapsed() < PATIENCE, "nothing comes in");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        worker.kill().await.unwrap();
        pikou.count(MESSAGES).await
    };
    let ((), taken) = tokio::join!(publishing, killing);
    assert!((200..2000).contains(&taken), "killed in the middle, not after {taken}");
    let worker = pikou.serve(&[]);
    pikou.until(MESSAGES, 2000).await;
    pikou.until(UNPUBLISHED, 0).await;
    stop(&pikou, worker).await;
    assert_eq!(pikou.texts("SELECT DISTINCT outcome FROM messages").await, ["accepted"]);
    assert_eq!(pikou.count("SELECT count(*) FROM enrolments").await, 667);
    assert_eq!(pikou.count("SELECT count(*) FROM amount_settings WHERE state = 'active'").await, 666);
    let waiting = bus.channel.queue_declare(
        bus.settings.queue_in.as_str().into(),
        QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() },
        FieldTable::default(),
    );
    assert_eq!(waiting.await.unwrap().message_count(), 0);
    let events = bus.heard().await;
    assert_eq!(distinct(&events).0.len(), 666, "amount.set of each, whatever came twice");
    bus.delete().await;
}

#[tokio::test]
async fn a_worker_killed_between_publishing_and_marking_tells_the_same_events_again() {
    let bus = Bus::new(&amqp_url()).await;
    let pikou = bus.pikou().await;
    let messages: Vec<Value> = (1..=5).flat_map(|number| ready(&format!("P{number}"), "1500.00")).collect();
    bus.publish(&messages).await;
    let mut worker = pikou.serve(&[("PIKOU_DIE_AT", "publish: confirmed")]);
    let status = end_of(&mut worker, &pikou.log()).await;
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    let worker = pikou.serve(&[]);
    pikou.until(MESSAGES, 15).await;
    pikou.until(UNPUBLISHED, 0).await;
    stop(&pikou, worker).await;
    let events = bus.heard().await;
    let (distinct, again) = distinct(&events);
    let told: Vec<&str> = distinct.keys().copied().collect();
    let expected: Vec<String> = (1..=5).map(|number| format!("amount/P{number}/resident_pension/2026/1")).collect();
    assert_eq!(told, expected);
    assert!(again > 0, "what was confirmed and not marked comes again");
    bus.delete().await;
}

#[tokio::test]
async fn a_broker_restarted_under_a_worker_costs_no_message_and_no_event() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node { folder: folder.path() };
    let url = node.script("start");
    let bus = Bus::new(url.trim()).await;
    let pikou = bus.pikou().await;
    let worker = pikou.serve(&[]);
    let messages: Vec<Value> = (1..=200).flat_map(|number| ready(&format!("P{number:03}"), "1500.00")).collect();
    let (before, after) = messages.split_at(300);
    bus.publish(before).await;
    node.script("restart");
    bus.publish(after).await;
    pikou.until(MESSAGES, 600).await;
    pikou.until(UNPUBLISHED, 0).await;
    assert_eq!(pikou.texts("SELECT DISTINCT outcome FROM messages").await, ["accepted"]);
    assert_eq!(distinct(&bus.heard().await).0.len(), 200);
    stop(&pikou, worker).await;
}

/// A broker of the test's own, stopped however the test ends.
struct Node<'f> {
    folder: &'f std::path::Path,
}

impl Node<'_> {
    fn script(&self, verb: &str) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/rabbitmq");
        let output = Command::new(script).arg(verb).arg(self.folder).output().unwrap();
        assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        self.script("stop");
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_an_error_and_nothing_falls_back() {
    let pikou = Pikou::new(&[]).await;
    let nobody = [("PIKOU__DATABASE__URL", "postgres://me:secret@127.0.0.1:1/x")];
    for arguments in [&["serve"][..], &["account"]] {
        let ended = pikou.run_with(arguments, &nobody).await;
        assert_eq!((ended.code(), ended.stdout.as_str()), (1, ""), "{}", ended.stderr);
        let said = "pikou: cannot reach the database at database.url (there is no falling back): ";
        assert!(ended.stderr.contains(said) && ended.stderr.contains("refused"), "{}", ended.stderr);
        assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
    }
    let nobody = [("PIKOU__BROKER__URL", "amqp://me:secret@127.0.0.1:1/x")];
    let ended = pikou.run_with(&["serve"], &nobody).await;
    assert_eq!((ended.code(), ended.stdout.as_str()), (1, ""), "{}", ended.stderr);
    assert!(ended.stderr.contains("cannot connect to the broker at 127.0.0.1:1"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
    let left: Vec<_> = read_folder(&pikou.data()).into_iter().filter(|path| !path.ends_with("keys.toml")).collect();
    assert!(!left.iter().any(|path| path.ends_with("postgres") || path.ends_with("events.jsonl")), "{left:?}");
}
