//! The broker's side seen from outside: events in binary mode, `pikou publish`, `pikou events tail`.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use pikou::broker::{Letter, Sender, Verdict};
use pikou::crypt::{Algorithm, Keys, Purpose};
use serde_json::{Value, json};

use crate::bus::{Bus, amqp_url};
use crate::process::{PATIENCE, Pikou, end_of, stop};
use crate::support::*;

fn lines(messages: &[Value]) -> Vec<u8> {
    messages.iter().map(|message| format!("{message}\n")).collect::<String>().into_bytes()
}

/// What the log says of each message: `id outcome repeated`.
const LOG: &str = "SELECT concat_ws(' ', id, outcome, repeated) FROM messages ORDER BY id";

#[tokio::test]
async fn an_event_is_the_same_message_in_structured_and_in_binary_mode() {
    let bus = Bus::new(&amqp_url()).await;
    let pikou = bus.pikou().await;
    let worker = pikou.serve(&[]);
    let mut all = ready("P1", "1500.00");
    all[1]["traceparent"] = json!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    all[2].as_object_mut().unwrap().remove("datacontenttype");
    let file = pikou.write("messages.jsonl", &lines(&all));
    let file = file.to_str().unwrap();
    let whole = json!({"messages": 3, "confirmed": 3, "unroutable": 0, "refused": 0, "not_events": 0, "faults": []});
    for times in 1..=2 {
        assert_eq!(pikou.document(&["publish", file, "--binary"], 0).await, whole);
        assert_eq!(pikou.document(&["publish", file], 0).await, whole);
        pikou.until("SELECT sum(1 + repeated)::bigint FROM messages", 6 * times).await;
    }
    stop(&pikou, worker).await;
    assert_eq!(pikou.texts(LOG).await, ["agree-P1 accepted 3", "enrol-P1 accepted 3", "set-P1 accepted 3"]);
    assert_eq!(pikou.count("SELECT count(*) FROM quarantine").await, 0);
    bus.delete().await;
}

/// Publishes as a stranger would, with the header names and values of his choice.
async fn publish(bus: &Bus, key: &str, content_type: Option<&str>, headers: &[(&str, AMQPValue)], body: &str) {
    let connection = Connection::connect(&bus.settings.url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let mut table = FieldTable::default();
    for (name, value) in headers {
        table.insert((*name).into(), value.clone());
    }
    let mut properties = BasicProperties::default().with_headers(table);
    if let Some(content_type) = content_type {
        properties = properties.with_content_type(content_type.into());
    }
    let (exchange, options) = (bus.settings.exchange_in.as_str().into(), BasicPublishOptions::default());
    let sent = channel.basic_publish(exchange, key.into(), options, body.as_bytes(), properties).await.unwrap();
    assert!(sent.await.unwrap().is_ack());
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

#[tokio::test]
async fn binary_mode_takes_both_prefixes_and_a_timestamp_and_what_waits_in_it_is_found_again() {
    let bus = Bus::new(&amqp_url()).await;
    let pikou = bus.pikou().await;
    let worker = pikou.serve(&[]);
    let amount = amount_set("P1", "set-P1", "2026-04-02T00:00:00Z", "1500.00");
    let attributes = |prefix: &str, time: AMQPValue| {
        [("specversion", text("1.0")), ("id", text("set-P1")), ("source", text("//test")), ("time", time)]
            .into_iter()
            .chain([("type", text("pikou.in.amount.set.v1"))])
            .map(|(name, value)| (format!("{prefix}{name}"), value))
            .collect::<Vec<_>>()
    };
    let seconds = at("2026-04-02T00:00:00Z").timestamp() as u64;
    for (prefix, time) in
        [("cloudEvents:", text("2026-04-02T00:00:00Z")), ("cloudEvents_", AMQPValue::Timestamp(seconds))]
    {
        let headers = attributes(prefix, time);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let data = serde_json::to_string_pretty(&amount["data"]).unwrap();
        publish(&bus, "amount.set", Some("application/json"), &headers, &data).await;
    }
    // Structured, with the content type of its own, or with none at all.
    for content_type in [Some("application/cloudevents+json; charset=utf-8"), None] {
        publish(&bus, "amount.set", content_type, &[("x-origin", text("test"))], &amount.to_string()).await;
    }
    pikou.until("SELECT sum(1 + repeated)::bigint FROM messages", 4).await;
    assert_eq!(pikou.texts(LOG).await, ["set-P1 waiting 3"]);
    bus.publish(&[enrolment("P1")]).await;
    pikou.until("SELECT count(*) FROM messages WHERE outcome = 'accepted'", 2).await;
    stop(&pikou, worker).await;
    assert_eq!(pikou.texts(LOG).await, ["enrol-P1 accepted 0", "set-P1 accepted 3"]);
    bus.delete().await;
}

#[tokio::test]
async fn what_is_not_understood_is_kept_with_its_bytes_and_headers_whatever_is_in_them() {
    let bus = Bus::new(&amqp_url()).await;
    let pikou = bus.pikou().await;
    let worker = pikou.serve(&[]);
    let id = ("cloudEvents:id", text("1"));
    publish(&bus, "amount.set", Some("text/xml"), std::slice::from_ref(&id), "<a/>").await;
    publish(&bus, "amount.set", Some("application/json"), &[id, ("n", AMQPValue::LongInt(7))], "{\"a\": 1}").await;
    // Bytes that no column of the database takes.
    publish(&bus, "a\0b", None, &[("x\0y", text("\0"))], "\0").await;
    bus.publish(&ready("P1", "1500.00")).await;
    pikou.until("SELECT count(*) FROM messages WHERE outcome = 'accepted'", 3).await;
    stop(&pikou, worker).await;

    let keys = Keys::load_or_make(&pikou.data().join("keys.toml"), Algorithm::Aes256Gcm).unwrap();
    type Row = (String, String, String, Vec<u8>, Vec<u8>);
    let rows: Vec<Row> =
        sqlx::query_as("SELECT code, position, origin, raw, headers FROM quarantine ORDER BY quarantine_id")
            .fetch_all(&pikou.pool)
            .await
            .unwrap();
    let open = |bytes: &[u8]| String::from_utf8(keys.open(Purpose::RawMessage, bytes).unwrap()).unwrap();
    let kept: Vec<_> = rows
        .iter()
        .map(|(code, position, origin, raw, headers)| {
            let headers: Value = serde_json::from_str(&open(headers)).unwrap();
            (code.as_str(), position.as_str(), origin.split_once('#').unwrap().1, open(raw), headers)
        })
        .collect();
    let expected = [
        (
            "not_an_event",
            "content-type",
            "amount.set",
            "<a/>",
            json!([["content-type", "text/xml"], ["cloudEvents:id", "1"]]),
        ),
        (
            "not_an_event",
            "specversion",
            "amount.set",
            "{\"a\": 1}",
            json!([["content-type", "application/json"], ["cloudEvents:id", "1"], ["n", "7"]]),
        ),
        ("not_json", "line 1 column 1", "?", "\0", json!([["x\0y", "\0"]])),
    ];
    let expected = expected.map(|(code, position, key, raw, headers)| (code, position, key, raw.to_owned(), headers));
    assert_eq!(kept, expected);
    bus.delete().await;
}

#[tokio::test]
async fn publish_names_the_lines_that_are_no_events_and_never_their_content() {
    let bus = Bus::new(&amqp_url()).await;
    let pikou = bus.pikou().await;
    let mut input = lines(&ready("P1", "1500.00"));
    input.extend(b"\n{\"secret\": 1}\nsecret\n");
    input.extend(lines(&[message("amount.set", &"9".repeat(256), "2026-04-02T00:00:00Z", json!({"secret": 1}))]));
    input.extend(lines(&[message("of.the.future", "f", "2026-04-02T00:00:00Z", json!({"secret": 1}))]));
    let ended = pikou.run_fed(&["--json", "publish", "-"], &input).await;
    assert_eq!(ended.code(), 3, "{}", ended.stderr);
    let expected = json!({"messages": 7, "confirmed": 4, "unroutable": 0, "refused": 0, "not_events": 3, "faults": [
        {"line": 5, "fault": "not_an_event", "reason": "missing", "position": "specversion"},
        {"line": 6, "fault": "not_an_event", "reason": "Syntax error", "position": "line 1 column 1"},
        {"line": 7, "fault": "not_an_event", "reason": "too long for AMQP", "position": "id"},
    ]});
    assert_eq!(serde_json::from_str::<Value>(&ended.stdout).unwrap(), expected);
    assert_eq!(ended.stderr.lines().count(), 3, "{}", ended.stderr);
    assert!(ended.stderr.contains("line 6: not_an_event: Syntax error, line 1 column 1"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("secret") && !ended.stdout.contains("secret"));
    assert_eq!(bus.waiting().await, 4);

    let plain = pikou.run_fed(&["publish", "-"], &lines(&ready("P2", "1500.00"))).await;
    let said = "3 messages: 3 confirmed, 0 unroutable, 0 refused by the broker, 0 not events\n";
    assert_eq!((plain.code(), plain.stdout.as_str(), plain.stderr.as_str()), (0, said, ""));
    let nobody = [("PIKOU__BROKER__URL", "amqp://me:secret@127.0.0.1:1/x")];
    let ended = pikou.run_with(&["publish", "/dev/null"], &nobody).await;
    assert_eq!(ended.code(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("cannot connect") && !ended.stderr.contains("secret"), "{}", ended.stderr);
    let embedded = pikou.run_with(&["publish", "/dev/null"], &[("PIKOU__BROKER__URL", "embedded")]).await;
    assert_eq!(embedded.code(), 2, "{}", embedded.stderr);
    bus.delete().await;
}

#[tokio::test]
async fn each_message_sent_has_a_verdict_of_its_own() {
    let bus = Bus::new(&amqp_url()).await;
    let mut sender = Sender::connect(&bus.settings).await.unwrap();
    let connection = Connection::connect(&bus.settings.url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let (queue, exchange) = (bus.settings.queue_in.as_str(), bus.settings.exchange_in.as_str());
    // From now on only amounts have somewhere to go.
    let bind = channel.queue_bind(
        queue.into(),
        exchange.into(),
        "amount.*".into(),
        lapin::options::QueueBindOptions::default(),
        FieldTable::default(),
    );
    bind.await.unwrap();
    let any = channel.queue_unbind(queue.into(), exchange.into(), "#".into(), FieldTable::default());
    any.await.unwrap();
    let letter = |number: usize| Letter {
        routing_key: if number % 7 == 3 { "nobody.wants.this".into() } else { "amount.set".into() },
        // Each id is given twice.
        message_id: (number / 2).to_string(),
        content_type: None,
        headers: vec![],
        body: vec![],
    };
    let expected = |number: usize| if number % 7 == 3 { Verdict::Unroutable } else { Verdict::Confirmed };
    for _ in 0..2 {
        let verdicts = sender.send((0..2000).map(letter).collect()).await.unwrap();
        assert_eq!(verdicts, (0..2000).map(expected).collect::<Vec<_>>());
    }
    sender.close().await;
    assert_eq!(bus.waiting().await as usize, 2 * (0..2000).filter(|number| number % 7 != 3).count());
    bus.delete().await;
}

/// Another process in the same place, its output in two files.
pub fn logged(pikou: &Pikou, name: &str, arguments: &[&str]) -> (tokio::process::Child, std::path::PathBuf) {
    let path = pikou.folder.path().join(name);
    let file = |end: &str| Stdio::from(std::fs::File::create(path.with_extension(end)).unwrap());
    let mut command = pikou.command(arguments);
    (command.stdout(file("out")).stderr(file("err")).spawn().expect("it starts"), path)
}

/// Waits until a file has so many lines.
pub async fn lines_of(path: &Path, end: &str, expected: usize) -> Vec<String> {
    let start = Instant::now();
    loop {
        let text = std::fs::read_to_string(path.with_extension(end)).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if lines.len() >= expected {
            return lines;
        }
        assert!(start.elapsed() < PATIENCE, "{expected} lines in {path:?}, not {lines:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub async fn interrupted(mut child: tokio::process::Child, path: &Path) {
    let pid = rustix::process::Pid::from_raw(child.id().expect("it runs") as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let status = end_of(&mut child, &path.with_extension("err")).await;
    assert_eq!(status.code(), Some(0), "{}", std::fs::read_to_string(path.with_extension("err")).unwrap());
}

#[tokio::test]
async fn tail_follows_what_is_published_from_now_on_and_takes_it_from_nobody() {
    let bus = Bus::new(&amqp_url()).await;
    let pikou = bus.pikou().await;
    let worker = pikou.serve(&[]);
    bus.publish(&ready("P0", "1500.00")).await;
    pikou.until("SELECT count(*) FROM outbox WHERE published_at IS NOT NULL", 1).await;
    let (voids, voids_path) = logged(&pikou, "voids", &["events", "tail", "--pattern", "amount.voided"]);
    let (all, all_path) = logged(&pikou, "all", &["events", "tail", "--json"]);
    for path in [&voids_path, &all_path] {
        assert_eq!(lines_of(path, "err", 1).await, ["following what is published from now on"]);
    }
    bus.publish(&ready("P1", "1500.00")).await;
    bus.publish(&[amount_voided("P1", "void-P1", "2026-04-03T00:00:00Z")]).await;
    let heard: Vec<Value> =
        lines_of(&all_path, "out", 2).await.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = lines_of(&voids_path, "out", 1).await;
    let time = heard[1]["time"].as_str().unwrap();
    assert_eq!(line, [format!("{time} amount.voided P1/resident_pension/2026 2 message://test/void-P1")]);
    interrupted(voids, &voids_path).await;
    interrupted(all, &all_path).await;
    stop(&pikou, worker).await;
    let others = bus.heard().await;
    assert_eq!(others.len(), 3);
    assert_eq!(heard, others[1..]);
    bus.delete().await;
}

#[tokio::test]
async fn tail_follows_the_file_of_events_where_there_is_no_broker() {
    let pikou = Pikou::new(&[]).await;
    let first = pikou.run_fed(&["ingest", "-"], &lines(&ready("P0", "1500.00"))).await;
    assert_eq!(first.code(), 0, "{}", first.stderr);
    let (child, path) = logged(&pikou, "tail", &["events", "tail", "--pattern", "amount.*"]);
    assert_eq!(lines_of(&path, "err", 1).await, ["following what is published from now on"]);
    let mut more = ready("P1", "1500.00");
    more.push(json!({"not": "an event"}));
    more.push(amount_voided("P0", "void-P0", "2026-04-03T00:00:00Z"));
    assert_eq!(pikou.run_fed(&["ingest", "-"], &lines(&more)).await.code(), 0);
    let heard = lines_of(&path, "out", 2).await;
    let expected: Vec<String> = pikou
        .events()
        .iter()
        .filter(|event| event["causation"].as_str().unwrap() != "message://test/set-P0")
        .filter(|event| event["type"].as_str().unwrap().starts_with("pikou.amount."))
        .map(|event| {
            let text = |name: &str| event[name].as_str().unwrap().to_owned();
            let kind = text("type").trim_start_matches("pikou.").trim_end_matches(".v1").to_owned();
            format!("{} {kind} {} {} {}", text("time"), text("subject"), event["sequence"], text("causation"))
        })
        .collect();
    assert_eq!(heard, expected);
    interrupted(child, &path).await;
}
