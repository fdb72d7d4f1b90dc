//! `pikou serve` between the real broker and the real database: the golden path, and what happens when one of them,
//! or the worker itself, goes away in the middle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use pikou::demo::bank::Bank;
use serde_json::Value;

use crate::bus::{Bus, amqp_url};
use crate::process::{Pikou, end_of, stop};
use crate::support::*;

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
        pikou.until_in(MESSAGES, 200..=i64::MAX).await;
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
    assert_eq!(bus.waiting().await, 0);
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
    let node = Node { folder: folder.path().to_owned() };
    let bus = Bus::new(node.script("start").trim()).await;
    let pikou = bus.pikou().await;
    let worker = pikou.serve(&[]);
    let messages: Vec<Value> = (1..=200).flat_map(|number| ready(&format!("P{number:03}"), "1500.00")).collect();
    let (before, after) = messages.split_at(300);
    bus.publish(before).await;
    pikou.until_in(MESSAGES, 1..=300).await;
    // What comes while the broker is away, its sender tries again.
    let restart = tokio::task::spawn_blocking(move || {
        node.script("restart");
        node
    });
    let ((), node) = tokio::join!(bus.publish(after), restart);
    pikou.until(MESSAGES, 600).await;
    pikou.until(UNPUBLISHED, 0).await;
    assert_eq!(pikou.texts("SELECT DISTINCT outcome FROM messages").await, ["accepted"]);
    assert_eq!(distinct(&bus.heard().await).0.len(), 200);
    stop(&pikou, worker).await;
    drop(node.unwrap());
}

/// A broker of the test's own, stopped however the test ends.
struct Node {
    folder: PathBuf,
}

impl Node {
    fn script(&self, verb: &str) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/rabbitmq");
        let output = Command::new(script).arg(verb).arg(&self.folder).output().unwrap();
        assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Node {
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
