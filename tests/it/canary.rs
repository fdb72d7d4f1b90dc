//! A day with names, identity numbers and accounts that are easy to recognise, in every place a sender or a bank may
//! put them; then they are looked for in everything that others can see. They are where they belong and nowhere else.

use std::path::Path;
use std::process::Stdio;

use lapin::options::{BasicGetOptions, BasicNackOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use pikou::crypt::{Algorithm, Keys, Purpose};
use pikou::domain::identity::{is_resident_id, resident_id_check};
use pikou::store::sealed_values::{Holds, SEALED};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tokio::process::Child;

use crate::bus::{Bus, amqp_url};
use crate::process::{PATIENCE, Pikou, end_of, stop};
use crate::scanner::Scanner;
use crate::support::*;

/// Payer, name, first 17 digits of the identity number, account, account's name: all of them rare and all different.
const PEOPLE: [(&str, &str, &str, &str, &str); 5] = [
    ("P1", "欧阳龘靐", "99010119850315739", "6222990000008675309", "端木鱻麤"),
    ("P2", "司马齾爩", "99010119860416858", "6222990000009764218", "夏侯灪籱"),
    ("P3", "诸葛犇羴", "99010119870517973", "6222990000007953186", "皇甫骉猋"),
    ("P4", "上官麣钃", "99010119880618164", "6222990000004826937", "尉迟纞虋"),
    // Comes only in what is not taken.
    ("P5", "公孙讟黸", "99010119890719286", "6222990000003719528", "澹台爧癵"),
];

fn id_number(first: &str) -> String {
    format!("{first}{}", char::from(resident_id_check(first.as_bytes())))
}

fn canaries() -> Vec<String> {
    let all = PEOPLE.iter().flat_map(|(_, name, id, account, holder)| {
        [(*name).to_owned(), id_number(id), (*account).to_owned(), (*holder).to_owned()]
    });
    all.collect()
}

/// An enrolment and an agreement, each with the person also in fields that nobody asked for.
fn personal(person: usize) -> [Value; 2] {
    let (payer, name, id, account, holder) = PEOPLE[person];
    let odd = json!({"note": name, name: account, "extra": {"deep": [id_number(id), account]}});
    let mut enrolment = enrolment_with(
        payer,
        &format!("e-{payer}"),
        "2026-01-05T00:00:00Z",
        json!({"name": name, "id_type": "resident_id", "id_number": id_number(id)}),
    );
    let mut agreement = agreement_with(
        payer,
        &format!("a-{payer}"),
        "2026-01-06T00:00:00Z",
        json!({"account_no": account, "account_name": holder}),
    );
    for message in [&mut enrolment, &mut agreement] {
        *message = with_data(message.clone(), odd.clone());
        message["subject"] = json!(name);
        message["comment"] = json!(format!("{holder} {account}"));
    }
    [enrolment, agreement]
}

/// A message with a person in a field that nobody asked for.
fn remarked(mut message: Value, person: usize) -> Value {
    let (_, name, id, account, holder) = PEOPLE[person];
    message["data"]["remark"] = json!(format!("{name} {} {account} {holder}", id_number(id)));
    message["data"]["reason"] = json!(name);
    message
}

/// A back payment, paid online without success and voided, each with a remark about the payer.
fn online() -> Vec<Value> {
    let closed = json!({"reason": PEOPLE[3].1});
    let all = [
        assessment("P4", "B4", "assess-P4", "2026-03-01T00:00:00Z", json!({})),
        special("P4", "S4", "B4"),
        payment_started("O4", &[("S4", "1200.00")], json!({})),
        payment_reported("O4", "report-O4", "closed", closed),
        void_requested("S4", "void-S4"),
    ];
    all.into_iter().map(|message| remarked(message, 3)).collect()
}

/// What is refused, stale, waiting, and what is not understood, each with somebody in it: the bodies with their
/// routing keys.
fn odd_messages() -> Vec<(String, Vec<u8>)> {
    let (_, name, id, account, holder) = PEOPLE[4];
    let id = id_number(id);
    let mut odd: Vec<Value> = vec![
        remarked(amount_set("P1", "out-of-range", "2026-04-03T00:00:00Z", "17.00"), 0),
        remarked(amount_set("P1", "stale", "2026-04-01T00:00:00Z", "1700.00"), 0),
        remarked(amount_set("P5", "waits", "2026-04-03T00:00:00Z", "1700.00"), 4),
        remarked(amount_voided("P9", "nothing-to-void", "2026-04-03T00:00:00Z"), 4),
        // Known ids with other content.
        with_data(personal(0)[0].clone(), json!({"name": name, "id_number": id})),
        with_data(personal(1)[1].clone(), json!({"account_no": account, "account_name": holder})),
    ];
    for (at, fields) in [
        json!({"name": [name]}),
        json!({"id_number": account}),
        json!({"id_number": id.replace("9901", "9902"), "name": name}),
        json!({"status": name}),
        json!({"effective_on": id}),
        json!({"division_code": holder}),
        json!({"payer_id": name}),
        json!({"insurance_type": account}),
        json!({"name": format!("{name}\u{0}{account}")}),
        json!({"name": name.repeat(100)}),
    ]
    .into_iter()
    .enumerate()
    {
        let message =
            enrolment_with("P5", &format!("wrong-{at}"), "2026-01-05T00:00:00Z", json!({"id_type": "resident_id"}));
        odd.push(with_data(with_data(message, json!({"id_number": id})), fields));
    }
    for (at, fields) in [
        json!({"amount": account}),
        json!({"amount": format!("{name}.00")}),
        json!({"valid_year": id}),
        json!({"channel": [holder]}),
    ]
    .into_iter()
    .enumerate()
    {
        odd.push(with_data(amount_set("P1", &format!("amount-{at}"), "2026-04-03T00:00:00Z", "1500.00"), fields));
    }
    let mut bodies: Vec<(String, Vec<u8>)> =
        odd.into_iter().map(|message| ("enrolment.changed".to_owned(), message.to_string().into_bytes())).collect();
    let whole = personal(4)[0].to_string();
    let broken = [
        whole[..whole.len() - 3].to_owned(),
        whole.replace("\"name\":", "\"name\""),
        format!("{name},{id},{account},{holder}"),
        whole.replace("pikou.in.enrolment.changed.v1", &format!("pikou.in.{name}.v1")),
        whole.replace("\"1.0\"", &format!("\"{account}\"")),
        whole.replace("2026-01-05T00:00:00Z", &id),
        format!("{whole}{}", format!(" {name} {account}").repeat(20_000)),
        serde_json::to_string(&[name, &id, account, holder]).unwrap(),
    ];
    bodies.extend(broken.into_iter().map(|text| (text.chars().take(3).collect(), text.into_bytes())));
    bodies.push(("bytes".into(), encoding_rs::GB18030.encode(&whole).0.into_owned()));
    // A routing key is anybody's, too.
    bodies.push((format!("{name}.{account}"), whole.replace("\"data\"", "\"date\"").into_bytes()));
    bodies
}

/// The sender's side of the broker.
struct Sender {
    _connection: Connection,
    channel: Channel,
    bus: pikou::broker::BrokerSettings,
}

impl Sender {
    async fn new(bus: &Bus) -> Sender {
        let connection = Connection::connect(&bus.settings.url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        Sender { _connection: connection, channel, bus: bus.settings.clone() }
    }

    /// With somebody in the headers and properties.
    async fn send(&self, routing_key: &str, body: &[u8]) {
        let (_, name, id, account, holder) = PEOPLE[4];
        let mut headers = FieldTable::default();
        headers.insert("x-payer".into(), AMQPValue::LongString(format!("{name} {}", id_number(id)).into()));
        headers.insert(account.into(), AMQPValue::LongString(holder.into()));
        let properties =
            BasicProperties::default().with_headers(headers).with_delivery_mode(2).with_message_id(account.into());
        let exchange = self.bus.exchange_in.as_str().into();
        let sent =
            self.channel.basic_publish(exchange, routing_key.into(), BasicPublishOptions::default(), body, properties);
        sent.await.unwrap().await.unwrap();
    }

    async fn get(&self, queue: &str) -> lapin::message::BasicGetMessage {
        let start = std::time::Instant::now();
        loop {
            let got = self.channel.basic_get(queue.into(), BasicGetOptions { no_ack: false }).await.unwrap();
            if let Some(got) = got {
                return got;
            }
            assert!(start.elapsed() < PATIENCE, "nothing comes to {queue}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// A message that the broker gives up on, as its place for the dead shows it: headers and properties.
    async fn dead_letter(&self, body: &[u8]) -> String {
        // Without headers of the sender's own: those are what it sent.
        let exchange = self.bus.exchange_in.as_str().into();
        let options = BasicPublishOptions::default();
        let sent =
            self.channel.basic_publish(exchange, "enrolment.changed".into(), options, body, BasicProperties::default());
        sent.await.unwrap().await.unwrap();
        let got = self.get(&self.bus.queue_in).await;
        got.delivery.acker.nack(BasicNackOptions { requeue: false, multiple: false }).await.unwrap();
        let dead = self.get(&self.bus.dead()).await;
        let shown = format!("{} {:?}", dead.delivery.routing_key, dead.delivery.properties);
        dead.delivery.acker.nack(BasicNackOptions { requeue: true, multiple: false }).await.unwrap();
        assert!(shown.contains("x-death"), "{shown}");
        shown
    }

    /// Takes the listeners' queue away from the events, or gives it back.
    async fn listen(&self, bound: bool) {
        let queue = self.bus.queue_in.replace(".inbox", ".heard");
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(queue.as_str().into(), passive, FieldTable::default()).await.unwrap();
        let (queue, exchange) = (queue.as_str().into(), self.bus.exchange_events.as_str().into());
        if bound {
            let options = QueueBindOptions::default();
            self.channel.queue_bind(queue, exchange, "#".into(), options, FieldTable::default()).await.unwrap();
        } else {
            self.channel.queue_unbind(queue, exchange, "#".into(), FieldTable::default()).await.unwrap();
        }
    }
}

/// A worker whose output goes to a file, all of it.
fn serve(pikou: &Pikou, name: &str, environment: &[(&str, &str)]) -> (Child, std::path::PathBuf) {
    let path = pikou.folder.path().join(name);
    let log = std::fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
    let mut command = pikou.command(&["serve"]);
    command.env("PIKOU__LOG__LEVEL", "info,pikou=trace").env("RUST_BACKTRACE", "full");
    let child = command.envs(environment.iter().copied()).stdout(Stdio::from(log.try_clone().unwrap())).stderr(log);
    (child.spawn().expect("it starts"), path)
}

async fn until_said(path: &Path, words: &str) {
    let start = std::time::Instant::now();
    while !std::fs::read_to_string(path).unwrap_or_default().contains(words) {
        assert!(start.elapsed() < PATIENCE, "nobody says {words}: {}", std::fs::read_to_string(path).unwrap());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// The bank's answer, with people in its remarks, and rows that cannot be believed or read.
fn answers() -> [Vec<u8>; 2] {
    let (_, name, id, account, holder) = PEOPLE[0];
    let order = |number: usize| format!("P0000001001{number:08}");
    let text = format!(
        "H,102,20260416,102_20260415_1_0001.txt,6,9000.00,2,3000.00\r\n\
         D,1,{},1500.00,0000,{name} {account},T1,20260416101500\r\n\
         D,2,{},1500.00,1001,{holder} {},,\r\n\
         D,3,{},1500.00,7777,{name},,\r\n\
         D,4,{name},1500.00,0000,{holder},T4,20260416101500\r\n\
         D,5,{},1500.00,{name},{account},,\r\n\
         D,6,X1,1500.00,1001,{account} {holder},{holder},\r\n\
         T,6,9000.00\r\n",
        order(1),
        order(2),
        id_number(id),
        order(3),
        order(4),
    );
    let whole = encoding_rs::GB18030.encode(&text).0.into_owned();
    let refused =
        encoding_rs::GB18030.encode(&text.replace("T,6,9000.00", &format!("T,{account},{name}"))).0.into_owned();
    [whole, refused]
}

/// Files below a folder, with those left out whose path begins with one of the given.
fn files_below(folder: &Path, without: &[&Path]) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for path in read_folder(folder) {
        if without.iter().any(|left_out| path.starts_with(left_out)) {
            continue;
        }
        if path.is_dir() { files.extend(files_below(&path, without)) } else { files.push(path) }
    }
    files
}

/// Everything that the database would give away in a plain dump; binary columns come in hexadecimal.
async fn dump(pikou: &Pikou) -> Vec<u8> {
    let url: String = pikou.settings().into_iter().find(|(key, _)| key == "PIKOU__DATABASE__URL").unwrap().1;
    let mut found = vec![std::path::PathBuf::from("pg_dump")];
    found.extend(read_folder(Path::new("/usr/lib/postgresql")).into_iter().rev().map(|path| path.join("bin/pg_dump")));
    for program in found {
        let output = tokio::process::Command::new(&program).args(["--format=plain", "--dbname", &url]).output().await;
        let Ok(output) = output else { continue };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return output.stdout;
    }
    panic!("there is no pg_dump; it comes with PostgreSQL's client package");
}

/// Everything that is encrypted in the database, opened with the key file.
async fn opened(pikou: &Pikou) -> Vec<u8> {
    let keys = Keys::load_or_make(&pikou.data().join("keys.toml"), Algorithm::Aes256Gcm).unwrap();
    let mut all = Vec::new();
    for table in &SEALED {
        for (column, holds) in table.columns {
            let purpose = match holds {
                Holds::PersonName => Purpose::PersonName,
                Holds::IdentityNumber => Purpose::IdentityNumber,
                Holds::AccountName => Purpose::AccountName,
                Holds::AccountNumber => Purpose::AccountNumber,
                Holds::Message => Purpose::RawMessage,
                Holds::File => Purpose::FileContent,
            };
            let sql = format!("SELECT {column} FROM {} WHERE {column} IS NOT NULL", table.name);
            let values: Vec<(Vec<u8>,)> = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&pikou.pool).await.unwrap();
            for (value,) in values {
                all.extend(keys.open(purpose, &value).unwrap());
                all.push(b'\n');
            }
        }
    }
    all
}

#[tokio::test]
async fn names_numbers_and_accounts_are_where_they_belong_and_nowhere_else() {
    let all = canaries();
    assert!(PEOPLE.iter().all(|(_, _, id, _, _)| is_resident_id(&id_number(id))));
    let scanner = Scanner::new(all.iter().map(String::as_str));
    let bus = Bus::new(&amqp_url()).await;
    let sender = Sender::new(&bus).await;
    let pikou = bus.pikou().await;
    let mut seen: Vec<(String, Vec<u8>)> = Vec::new();
    seen.push((
        "dead-letter headers".into(),
        sender.dead_letter(&personal(4)[0].to_string().into_bytes()).await.into(),
    ));

    // The messages; a worker that panics with a batch in its hands, and two others that take it.
    for (person, (payer, ..)) in PEOPLE.iter().enumerate().take(4) {
        for message in personal(person) {
            sender.send("enrolment.changed", message.to_string().as_bytes()).await;
        }
        let amount = amount_set(payer, &format!("s-{payer}"), "2026-04-02T00:00:00Z", "1500.00");
        sender.send("amount.set", remarked(amount, person).to_string().as_bytes()).await;
    }
    let (mut panicking, panicked) = serve(&pikou, "panic.log", &[("PIKOU_PANIC_AT", "intake: before commit")]);
    assert_eq!(end_of(&mut panicking, &panicked).await.code(), Some(1));
    assert!(std::fs::read_to_string(&panicked).unwrap().contains("told to panic at intake"));
    let (one, one_log) = serve(&pikou, "one.log", &[]);
    let (other, other_log) = serve(&pikou, "other.log", &[("PIKOU__LOG__FORMAT", "json")]);
    pikou.until("SELECT count(*) FROM messages WHERE outcome = 'accepted'", 12).await;
    // One after the other: two workers take them, and a void that overtakes the report finds a payment in flight.
    for (before, message) in online().into_iter().enumerate() {
        sender.send("payment.started", message.to_string().as_bytes()).await;
        pikou.until("SELECT count(*) FROM messages WHERE outcome = 'accepted'", 13 + before as i64).await;
    }
    let odd = odd_messages();
    let not_understood = odd.len() as i64 - 4;
    for (routing_key, body) in &odd {
        sender.send(routing_key, body).await;
    }
    pikou.until_in("SELECT count(*) FROM quarantine", not_understood..=not_understood + 1).await;
    pikou.until("SELECT count(*) FROM messages WHERE outcome <> 'accepted'", 4).await;
    let outcomes = pikou.texts("SELECT DISTINCT outcome FROM messages ORDER BY 1").await;
    assert_eq!(outcomes, ["accepted", "refused", "stale", "waiting"]);

    // Commands, with their documents and errors; an event that nobody listens to.
    let messages = pikou.write(
        "messages.jsonl",
        &odd.iter().flat_map(|(_, body)| [body.as_slice(), b"\n"].concat()).collect::<Vec<u8>>(),
    );
    let [whole, refused] = answers();
    let (whole, refused) = (pikou.write("whole.txt", &whole), pikou.write("refused.txt", &refused));
    sender.listen(false).await;
    let path = |path: &std::path::PathBuf| path.to_str().unwrap().to_owned();
    let commands: Vec<(Vec<String>, i32)> = vec![
        (["run", SCHEDULE, "--date", "2026-04-15"].map(str::to_owned).to_vec(), 0),
        (vec!["ingest".into(), path(&messages)], 0),
        (vec!["reconcile".into(), path(&refused)], 3),
        (vec!["reconcile".into(), path(&whole)], 0),
        (vec!["reconcile".into(), path(&messages)], 3),
        (vec!["account".into()], 0),
        (["explain", "--payer", "P1", "--language", "zh"].map(str::to_owned).to_vec(), 0),
        (["explain", "--payer", "P2", "--language", "en"].map(str::to_owned).to_vec(), 0),
        (["explain", "--payer", "P3", "--language", "zh"].map(str::to_owned).to_vec(), 0),
        (["explain", "--payer", "P4", "--language", "en"].map(str::to_owned).to_vec(), 0),
        (vec!["config".into()], 0),
        (vec!["keys".into(), "rotate".into()], 0),
        (vec!["keys".into(), "reencrypt".into()], 0),
        (vec!["keys".into(), "remove".into(), "k1".into()], 0),
        (vec!["keys".into(), "status".into()], 0),
        (["run", "no_such_schedule"].map(str::to_owned).to_vec(), 2),
    ];
    for (arguments, code) in &commands {
        for json in [true, false] {
            let arguments: Vec<&str> =
                json.then_some("--json").into_iter().chain(arguments.iter().map(String::as_str)).collect();
            let ended = pikou.run_with(&arguments, &[("PIKOU__LOG__LEVEL", "info,pikou=trace")]).await;
            // What is done once is done: a key is removed once.
            if json {
                assert_eq!(ended.code(), *code, "{arguments:?}: {}{}", ended.stdout, ended.stderr);
            }
            seen.push((format!("{arguments:?}"), format!("{}{}", ended.stdout, ended.stderr).into_bytes()));
        }
    }
    // The bank drops files, too.
    let inbox = pikou.data().join("gateways/bank/inbox/102");
    let again = std::fs::read(&refused).unwrap();
    std::fs::write(inbox.join("R2.txt"), [again.as_slice(), b"\r\n"].concat()).unwrap();
    pikou.until("SELECT count(*) FROM result_files WHERE state = 'refused'", 3).await;
    let logs = [panicked, one_log, other_log];
    let unheard = async {
        loop {
            let said = logs.iter().map(|log| std::fs::read_to_string(log).unwrap()).collect::<String>();
            if said.contains("nobody has bound a queue") {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, unheard).await.expect("the relay says that nobody listens");
    sender.listen(true).await;
    pikou.until("SELECT count(*) FROM outbox WHERE published_at IS NULL", 0).await;
    until_said(&logs[1], "pikou").await;
    stop(&pikou, one).await;
    stop(&pikou, other).await;

    // What they left.
    let events: Vec<String> = bus.heard().await.iter().map(Value::to_string).collect();
    for kind in [
        "message.quarantined",
        "message.refused",
        "message.stale",
        "payment.recorded",
        "payment.failed",
        "discrepancy.opened",
        "result_file.refused",
    ] {
        assert!(events.iter().any(|event| event.contains(&format!("pikou.{kind}.v1"))), "{kind} was told");
    }
    seen.push(("events".into(), events.join("\n").into_bytes()));
    seen.push(("database".into(), dump(&pikou).await));
    let bank = pikou.data().join("gateways/bank");
    let not_ours = [bank.join("outbox"), bank.join("inbox"), pikou.data().join("keys.toml")];
    let not_ours: Vec<&Path> = not_ours.iter().map(std::path::PathBuf::as_path).collect();
    let data = files_below(&pikou.data(), &not_ours);
    for path in logs.iter().chain(&data) {
        seen.push((path.display().to_string(), std::fs::read(path).unwrap()));
    }

    // Control: where they belong, the scanner finds them, each in the bank's own encoding and everything that is encrypted.
    let request = std::fs::read(bank.join("outbox/102/102_20260415_1_0001.txt")).unwrap();
    let belong: Vec<&str> = PEOPLE[..4].iter().flat_map(|(_, _, _, account, holder)| [*account, *holder]).collect();
    assert_eq!(scanner.canaries_in(&request), belong);
    assert_eq!(scanner.canaries_in(&opened(&pikou).await), all);
    let dumped = &seen.iter().find(|(place, _)| place == "database").unwrap().1;
    assert!(dumped.len() > 50_000 && String::from_utf8_lossy(dumped).contains("resident_pension"));

    let mut hits = Vec::new();
    for (place, bytes) in &seen {
        assert!(!bytes.is_empty() || place.ends_with(".lock"), "{place} is read");
        hits.extend(scanner.scan(bytes).into_iter().map(|hit| format!("{place}: {hit}")));
    }
    assert!(hits.is_empty(), "{} hits:\n{}", hits.len(), hits.join("\n"));
    bus.delete().await;
}
