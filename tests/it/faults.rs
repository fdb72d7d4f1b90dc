//! What happens when a server goes away, says no, or is handed something monstrous, with the real worker between real
//! servers: nothing is lost, nothing counts twice, nothing runs hot, and the work goes on by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::process::Child;

use crate::bus::{Bus, amqp_url};
use crate::process::{Pikou, stop};
use crate::proxy::{Cut, Proxy};
use crate::sending::{interrupted, lines_of, logged};
use crate::support::*;

const MESSAGES: &str = "SELECT count(*) FROM messages";
const ACCEPTED: &str = "SELECT count(*) FROM messages WHERE outcome = 'accepted'";
const UNPUBLISHED: &str = "SELECT count(*) FROM outbox WHERE published_at IS NULL";
const AMOUNTS: &str = "SELECT count(*) FROM amount_settings WHERE state = 'active'";

/// Longest wait for a line in a log: some of them come after two timeouts.
const LONG: Duration = Duration::from_secs(150);

/// A server of one test's own, stopped however the test ends.
struct Server {
    script: &'static str,
    folder: tempfile::TempDir,
}

impl Server {
    async fn start(script: &'static str) -> (Server, String) {
        let folder = tempfile::tempdir().unwrap();
        // PostgreSQL may run as another user.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let server = Server { script, folder };
        let url = server.told("start", &[]).await;
        (server, url.trim().to_owned())
    }

    async fn told(&self, verb: &str, arguments: &[&str]) -> String {
        let mut command = tokio::process::Command::from(self.command(verb, arguments));
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{} {verb}: {}", self.script, String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn command(&self, verb: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(self.script));
        command.arg(verb).arg(self.folder.path()).args(arguments);
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // No panic in here: the test may be panicking already.
        let _ = self.command("stop", &[]).output();
    }
}

/// Lines of a log that hold a text.
fn said(log: &Path, text: &str) -> usize {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    log.lines().filter(|line| line.contains(text)).count()
}

/// Waits until a log has said something so many times.
async fn until_said(log: &Path, text: &str, times: usize) {
    let start = Instant::now();
    while said(log, text) < times {
        let all = || std::fs::read_to_string(log).unwrap();
        assert!(start.elapsed() < LONG, "{text:?} was said {} times: {}", said(log, text), all());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Everything the log complains of: no loop runs hot while there are so few of them.
fn assert_calm(pikou: &Pikou, most: usize) {
    let complaints = said(&pikou.log(), " WARN ") + said(&pikou.log(), " ERROR ");
    // The calendar of next year is not known for most of this one.
    let complaints = complaints - said(&pikou.log(), "there is no business calendar of ");
    assert!(complaints <= most, "{complaints}: {}", std::fs::read_to_string(pikou.log()).unwrap());
}

/// Open sockets of a worker: its connections to both servers.
fn sockets(worker: &Child) -> usize {
    let links = std::fs::read_dir(format!("/proc/{}/fd", worker.id().expect("it runs"))).unwrap();
    let links = links.filter_map(|link| std::fs::read_link(link.unwrap().path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

/// The largest that a worker has been in memory, in MiB.
fn peak_mib(worker: &Child) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.id().expect("it runs"))).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
}

fn payers(numbers: std::ops::Range<usize>) -> Vec<Value> {
    numbers.flat_map(|number| ready(&format!("P{number:04}"), "1500.00")).collect()
}

/// Every event as often as it may come, each time the same, none missing: `amount.set` of the payers given.
async fn assert_told(bus: &Bus, numbers: std::ops::Range<usize>) {
    let events = bus.heard().await;
    let mut bodies: BTreeMap<&str, &Value> = BTreeMap::new();
    for event in &events {
        let body = bodies.entry(event["id"].as_str().unwrap()).or_insert(event);
        assert_eq!(*body, event, "one id, two events");
    }
    let told: BTreeSet<String> = bodies.into_keys().map(str::to_owned).collect();
    let expected = numbers.map(|number| format!("amount/P{number:04}/resident_pension/2026/1")).collect();
    assert_eq!(told, expected);
}

async fn assert_balanced(pikou: &Pikou) {
    let account = pikou.document(&["account"], 0).await;
    assert_eq!(account["balanced"], Value::Bool(true), "{account:#}");
}

#[tokio::test]
async fn a_database_that_is_away_for_a_minute_costs_no_message_and_no_event() {
    let (postgres, url) = Server::start("scripts/postgres").await;
    let bus = Bus::new(&amqp_url()).await;
    let pikou = bus.pikou_on(url).await;
    let worker = pikou.serve(&[]);
    let (other, other_path) = logged(&pikou, "other", &["serve"]);
    let publishing = async {
        bus.publish(&payers(0..150)).await;
    };
    let stopping = async {
        pikou.until_in(MESSAGES, 50..=i64::MAX).await;
        postgres.told("stop", &[]).await;
    };
    tokio::join!(publishing, stopping);
    bus.publish(&payers(150..200)).await;
    // The pool asks for half a minute before it gives up; twice is a minute. Another worker is told to stop meanwhile.
    until_said(&pikou.log(), "no connection to the database: it is away", 1).await;
    let log = pikou.log();
    tokio::join!(until_said(&log, "consuming pauses", 3), interrupted(other, &other_path));
    // Each loop complains once for each time that the pool gives up, however long a slow machine takes for it.
    let at_most = || 12 * (1 + said(&log, "consuming pauses"));
    assert_calm(&pikou, at_most());
    postgres.told("start", &[]).await;
    pikou.until(MESSAGES, 600).await;
    pikou.until(UNPUBLISHED, 0).await;
    assert_eq!((pikou.count(ACCEPTED).await, pikou.count(AMOUNTS).await), (600, 200));
    assert_eq!(bus.waiting().await, 0);
    assert_calm(&pikou, at_most());
    assert_balanced(&pikou).await;
    stop(&pikou, worker).await;
    assert_told(&bus, 0..200).await;
    bus.delete().await;
}

#[tokio::test]
async fn a_connection_cut_inside_commit_counts_every_message_once() {
    let bus = Bus::new(&amqp_url()).await;
    let url = new_database().await;
    let proxy = Proxy::before(&url).await;
    let through = proxy.url(&url);
    let pikou = bus.pikou_on(url).await;
    let worker = pikou.serve(&[("PIKOU__DATABASE__URL", &through)]);
    bus.publish(&payers(0..1)).await;
    pikou.until(MESSAGES, 3).await;
    proxy.cut([Cut::BeforeTheServer, Cut::BeforeTheAnswer, Cut::BeforeTheAnswer, Cut::BeforeTheServer]);
    bus.publish(&payers(1..200)).await;
    pikou.until(MESSAGES, 600).await;
    pikou.until(UNPUBLISHED, 0).await;
    assert_eq!(proxy.to_come(), 0);
    stop(&pikou, worker).await;
    assert_eq!((pikou.count(ACCEPTED).await, pikou.count(AMOUNTS).await), (600, 200));
    assert_eq!(pikou.count("SELECT sum(events)::bigint FROM outbox").await, 200, "each effect once");
    let again = pikou.count("SELECT sum(repeated)::bigint FROM messages").await;
    assert!(again > 0, "what was committed and not answered has come again");
    assert_calm(&pikou, 20);
    assert_balanced(&pikou).await;
    assert_told(&bus, 0..200).await;
    bus.delete().await;
}

#[tokio::test]
async fn a_message_of_twenty_megabytes_is_put_aside_and_the_queue_goes_on() {
    let bus = Bus::new(&amqp_url()).await;
    let pikou = bus.pikou().await;
    let worker = pikou.serve(&[]);
    let mut huge = amount_set("P0000", "huge", "2026-04-02T00:00:00Z", "1500.00");
    huge["data"]["note"] = Value::String("字".repeat(7 << 20));
    let bytes = huge.to_string().len() as i64;
    assert!(bytes > 20 << 20);
    bus.publish(&payers(0..10)).await;
    bus.publish(&[huge]).await;
    bus.publish(&payers(10..20)).await;
    pikou.until(MESSAGES, 60).await;
    pikou.until("SELECT count(*) FROM quarantine", 1).await;
    pikou.until(UNPUBLISHED, 0).await;
    assert_eq!(pikou.texts("SELECT code FROM quarantine").await, ["too_big"]);
    let kept = pikou.count("SELECT octet_length(raw)::bigint FROM quarantine").await;
    assert!((bytes..bytes + 1000).contains(&kept), "{kept} bytes are kept of {bytes}");
    let peak = peak_mib(&worker);
    assert!(peak < 250, "{peak} MiB");
    assert_eq!(bus.waiting().await, 0);
    assert_calm(&pikou, 1); // the new key file
    stop(&pikou, worker).await;
    assert_balanced(&pikou).await;
    bus.delete().await;
}

#[tokio::test]
async fn a_thousand_times_the_same_message_has_one_effect() {
    let bus = Bus::new(&amqp_url()).await;
    let pikou = bus.pikou().await;
    let worker = pikou.serve(&[]);
    let mut messages = payers(0..1);
    let amount = messages.pop().unwrap();
    messages.extend(vec![amount; 1000]);
    bus.publish(&messages).await;
    pikou.until("SELECT sum(1 + repeated)::bigint FROM messages", 1002).await;
    pikou.until(UNPUBLISHED, 0).await;
    stop(&pikou, worker).await;
    let log = pikou.texts("SELECT concat_ws(' ', id, outcome, repeated) FROM messages ORDER BY id").await;
    assert_eq!(log, ["agree-P0000 accepted 0", "enrol-P0000 accepted 0", "set-P0000 accepted 999"]);
    assert_balanced(&pikou).await;
    assert_told(&bus, 0..1).await;
    bus.delete().await;
}

#[tokio::test]
async fn an_event_that_nobody_listens_to_waits_is_named_and_goes_out_when_somebody_does() {
    let bus = Bus::new(&amqp_url()).await;
    let pikou = bus.pikou().await;
    let worker = pikou.serve(&[]);
    bus.publish(&payers(0..3)).await;
    pikou.until(MESSAGES, 9).await;
    pikou.until(UNPUBLISHED, 0).await;
    let open = sockets(&worker);
    bus.deafen().await;
    bus.publish(&payers(3..6)).await;
    let complaint =
        format!("nobody has bound a queue to exchange {} for routing key amount.set", bus.settings.exchange_events);
    until_said(&pikou.log(), &complaint, 1).await;
    // Messages are taken meanwhile.
    bus.publish(&payers(6..10)).await;
    pikou.until(ACCEPTED, 30).await;
    until_said(&pikou.log(), &complaint, 4).await;
    assert_eq!(pikou.count("SELECT sum(events)::bigint FROM outbox WHERE published_at IS NULL").await, 7);
    assert_calm(&pikou, 8);
    assert!(sockets(&worker) <= open + 1, "{} sockets, not {open}: connections are left behind", sockets(&worker));
    bus.listen().await;
    pikou.until(UNPUBLISHED, 0).await;
    stop(&pikou, worker).await;
    assert_told(&bus, 0..10).await;
    bus.delete().await;
}

#[tokio::test]
async fn a_broker_that_its_disk_alarm_blocks_is_waited_for_and_nothing_is_marked() {
    let (node, url) = Server::start("scripts/rabbitmq").await;
    let bus = Bus::new(&url).await;
    let pikou = bus.pikou().await;
    let worker = pikou.serve(&[("PIKOU__BROKER__CONFIRM_SECONDS", "2")]);
    bus.publish(&payers(0..20)).await;
    pikou.until(MESSAGES, 60).await;
    pikou.until(UNPUBLISHED, 0).await;
    let open = sockets(&worker);
    let published = pikou.count("SELECT count(*) FROM outbox").await;
    node.told("ctl", &["set_disk_free_limit", "1000000000000000"]).await;
    // No sender can publish now; what comes by another way is taken.
    let lines: String = payers(20..40).iter().map(|message| format!("{message}\n")).collect();
    let ended = pikou.run_fed(&["--json", "ingest", "-"], lines.as_bytes()).await;
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    let taken: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&taken["accepted"], &taken["events_published"]), (&json!(60), &json!(0)));
    until_said(&pikou.log(), "the broker takes no messages (its memory or disk alarm)", 4).await;
    assert_eq!(pikou.count("SELECT count(*) FROM outbox WHERE published_at IS NOT NULL").await, published);
    assert_calm(&pikou, 10);
    assert!(sockets(&worker) <= open + 1, "{} sockets, not {open}: connections are left behind", sockets(&worker));
    node.told("ctl", &["set_disk_free_limit", "10000000"]).await;
    pikou.until(UNPUBLISHED, 0).await;
    bus.publish(&payers(40..50)).await;
    pikou.until(ACCEPTED, 150).await;
    pikou.until(UNPUBLISHED, 0).await;

    // And all connections are closed, by an operator say: each of us comes back.
    let (tail, tail_path) = logged(&pikou, "tail", &["events", "tail"]);
    lines_of(&tail_path, "err", 1).await;
    node.told("ctl", &["close_all_connections", "--global", "for maintenance"]).await;
    let tail_log = tail_path.with_extension("err");
    until_said(&tail_log, "events may be missing here, trying again", 1).await;
    until_said(&tail_log, "following what is published from now on", 2).await;
    bus.publish(&payers(50..60)).await;
    pikou.until(ACCEPTED, 180).await;
    pikou.until(UNPUBLISHED, 0).await;
    assert_eq!(lines_of(&tail_path, "out", 10).await.len(), 10);
    interrupted(tail, &tail_path).await;
    stop(&pikou, worker).await;
    assert_balanced(&pikou).await;
    assert_told(&bus, 0..60).await;
    drop(node);
}
