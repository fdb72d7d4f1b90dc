//! The worker dies at every named place, as by a power cut, and is started again: the books are those of a twin that
//! was never disturbed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tokio::task::JoinSet;

use crate::process::Pikou;
use crate::support::*;

/// The commands of the day, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Ingest,
    Run,
    Reconcile,
}

/// Where it dies, in which command, and how often in a row: a place that is passed for each range or file is passed
/// once more by each life.
const PLACES: [(&str, Step, usize); 21] = [
    ("intake: before commit", Step::Ingest, 1),
    ("intake: after commit", Step::Ingest, 2),
    ("plan: run made", Step::Run, 1),
    ("plan: range planned", Step::Run, 3),
    ("plan: before commit", Step::Run, 1),
    ("plan: planned", Step::Run, 1),
    ("seal: before commit", Step::Run, 1),
    ("seal: run sealed", Step::Run, 1),
    ("seal: file sealed", Step::Run, 3),
    ("deliver: part written", Step::Run, 1),
    ("deliver: delivering", Step::Run, 3),
    ("deliver: before the rename", Step::Run, 2),
    ("deliver: renamed", Step::Run, 1),
    ("deliver: flagged", Step::Run, 1),
    ("deliver: before commit", Step::Run, 1),
    ("reconcile: kept", Step::Reconcile, 1),
    ("reconcile: before commit", Step::Reconcile, 1),
    ("reconcile: range booked", Step::Reconcile, 2),
    ("reconcile: applied", Step::Reconcile, 1),
    ("publish: confirmed", Step::Run, 2),
    ("publish: marked", Step::Run, 1),
];

/// Every `crash_point("…")` of the sources.
fn places_in(folder: &Path, found: &mut BTreeSet<String>) {
    for path in read_folder(folder) {
        if path.is_dir() {
            places_in(&path, found);
            continue;
        }
        let code = std::fs::read_to_string(&path).unwrap();
        let calls = code.split("crash_point(\"").skip(1);
        found.extend(calls.map(|call| call.split_once('"').unwrap().0.to_owned()));
    }
}

#[test]
fn every_place_where_the_worker_can_die_is_died_at() {
    let mut found = BTreeSet::new();
    places_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    // Those of the day are here, others where their command is tested.
    let tests = read_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it"));
    let tests: String = tests.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let forgotten: Vec<_> = found.iter().filter(|place| !tests.contains(&format!("\"{place}\""))).collect();
    assert!(found.len() >= PLACES.len() && forgotten.is_empty(), "{forgotten:?} of {found:?}");
}

/// Lives of one day at a time; most of their time they wait for the lease of the one that died.
const DAYS_AT_ONCE: usize = 8;

async fn place() -> Pikou {
    Pikou::new(&[
        ("PIKOU__INTAKE__BATCH_MAX", "8"),
        ("PIKOU__RUN__RANGE_MAX", "2"),
        ("PIKOU__RESULTS__RANGE_MAX", "3"),
        ("PIKOU__RUN__LEASE_SECONDS", "5"),
        ("PIKOU__GATEWAYS__BANK__ITEMS_MAX", "2"),
        ("PIKOU__LOG__LEVEL", "warn"),
    ])
    .await
}

/// Seven payers: six in three files, of whom the bank says six different things; one has voided. And a message of
/// each bad kind.
fn messages() -> Vec<u8> {
    let mut all: Vec<Value> = (1..=7).flat_map(|number| ready(&format!("P{number}"), "1500.00")).collect();
    all.push(amount_voided("P7", "void-P7", "2026-04-03T00:00:00Z"));
    all.push(amount_set("P1", "refused", "2026-04-03T00:00:00Z", "17.00"));
    all.push(amount_set("P2", "stale", "2026-04-01T00:00:00Z", "1600.00"));
    all.push(all[0].clone());
    let mut text: String = all.iter().map(|message| format!("{message}\n")).collect();
    text.push_str("{\"not\": \"an event\"}\n");
    text.into_bytes()
}

fn answer() -> Vec<u8> {
    let order = |number: usize| format!("P0000001001{number:08}");
    let mut rows = vec![
        Row::paid(&order(1), "1500.00"),
        Row::failed(&order(2), "1500.00", "1001"),
        Row::failed(&order(3), "1500.00", "2001"),
        Row::failed(&order(4), "1500.00", "7777"),
        Row::paid(&order(5), "1400.00"),
        Row::paid(&order(6), "1500.00"),
        Row::paid("X1", "1500.00"),
    ];
    rows.push(rows[0].clone());
    result_file("102_20260415_1_0001.txt", &rows)
}

/// A whole day; dies as often as is said at the given place of the given step, and goes on each time.
async fn day_with(disturbed: Option<(&str, Step, usize)>) -> Books {
    let pikou = place().await;
    let messages = pikou.write("messages.jsonl", &messages());
    let answer = pikou.write("R1.txt", &answer());
    for step in [Step::Ingest, Step::Run, Step::Reconcile] {
        let arguments = match step {
            Step::Ingest => vec!["ingest", messages.to_str().unwrap()],
            Step::Run => vec!["run", SCHEDULE, "--date", "2026-04-15"],
            Step::Reconcile => vec!["reconcile", answer.to_str().unwrap()],
        };
        if let Some((at, _, deaths)) = disturbed.filter(|(_, of, _)| *of == step) {
            for death in 1..=deaths {
                let ended = pikou.run_with(&arguments, &[("PIKOU_DIE_AT", at)]).await;
                assert!(ended.was_killed(), "{at}: lived through death {death}: {}{}", ended.stdout, ended.stderr);
            }
        }
        let ended = pikou.run(&arguments).await;
        assert_eq!(ended.code(), 0, "{disturbed:?} {step:?}: {}", ended.stderr);
    }
    let account = pikou.document(&["account"], 0).await;
    assert_eq!(account["balanced"], Value::Bool(true), "{disturbed:?}: {account:#}");
    books(&pikou).await
}

/// What must be the same whatever happened on the way.
#[derive(Debug, PartialEq)]
struct Books {
    rows: Vec<String>,
    files: BTreeMap<String, Vec<u8>>,
    events: BTreeSet<String>,
}

/// Numbers that a rolled-back transaction uses up (of quarantine and discrepancies) are named by what they stand for.
async fn books(pikou: &Pikou) -> Books {
    let mut rows = Vec::new();
    for sql in [
        "SELECT concat_ws(' ', 'message', source, id, outcome, code) FROM messages ORDER BY source, id",
        "SELECT concat_ws(' ', 'quarantine', code, position, substring(origin FROM '[^/]*$')) FROM quarantine ORDER BY 1",
        "SELECT concat_ws(' ', 'amount', payer_id, amount, state, hold_reason, sequence) FROM amount_settings ORDER BY 1",
        "SELECT concat_ws(' ', declaration_no, payer_id, amount, state, failed_runs, sequence) FROM declarations ORDER BY 1",
        "SELECT concat_ws(' ', order_no, payer_id, amount, status, withdrawal, file_name) FROM attempt_status ORDER BY 1",
        "SELECT concat_ws(' ', 'settled', order_no, payer_id, amount, gateway_txn_no, line_no, sequence) FROM settlements ORDER BY 1",
        "SELECT concat_ws(' ', 'not settled', order_no, class, code, line_no, sequence, tried_again) FROM attempt_outcomes ORDER BY 1",
        "SELECT concat_ws(' ', kind, line_no, order_no, payer_id, amount_ours, amount_theirs) FROM discrepancies ORDER BY 1",
        "SELECT concat_ws(' ', 'skipped', payer_id, reason) FROM run_skips ORDER BY 1",
        "SELECT concat_ws(' ', 'run', run_id, state, candidates, attempts, attempts_total, skips, withdrawn, sequence) FROM runs",
        "SELECT concat_ws(' ', file_name, state, items, total, encode(sha256, 'hex')) FROM request_files ORDER BY 1",
        "SELECT concat_ws(' ', file_name, state, rows, applied, repeated, discrepancies) FROM result_files ORDER BY 1",
        "SELECT concat_ws(' ', 'unpublished', outbox_id) FROM outbox WHERE published_at IS NULL",
        "SELECT concat_ws(' ', 'events', sum(events)) FROM outbox",
    ] {
        rows.extend(pikou.texts(sql).await);
    }
    let folder = pikou.data().join("gateways/bank/outbox/102");
    let files = read_folder(&folder)
        .into_iter()
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap()))
        .collect();
    Books { rows, files, events: told(&pikou.events()) }
}

/// The events, each at least once, and the same whenever it is told.
fn told(events: &[Value]) -> BTreeSet<String> {
    let mut bodies: BTreeMap<&str, &Value> = BTreeMap::new();
    for event in events {
        let body = bodies.entry(event["id"].as_str().unwrap()).or_insert(event);
        assert_eq!(*body, event, "one id, two events");
    }
    let name = |event: &Value| {
        let kind = event["type"].as_str().unwrap();
        let id = match kind {
            "pikou.discrepancy.opened.v1" | "pikou.message.quarantined.v1" => &event["causation"],
            _ => &event["id"],
        };
        let id = id.as_str().unwrap();
        // The folder of the file that a bad message came from is each twin's own.
        format!("{kind} {}", id.strip_prefix("delivery:").map_or(id, |path| path.rsplit('/').next().unwrap()))
    };
    let names: BTreeSet<String> = bodies.values().map(|event| name(event)).collect();
    assert_eq!(names.len(), bodies.len(), "every event has a name of its own");
    names
}

#[tokio::test]
async fn a_worker_killed_anywhere_leaves_the_books_of_one_that_was_not() {
    let twin = Arc::new(day_with(None).await);
    assert_eq!(twin.files.len(), 6, "three files and their flags: {:?}", twin.files.keys());
    assert!(twin.rows.contains(&format!("events {}", twin.events.len())), "every event once: {:?}", twin.rows);
    let mut lives = JoinSet::new();
    let mut places = PLACES.into_iter();
    loop {
        while lives.len() < DAYS_AT_ONCE
            && let Some(disturbed) = places.next()
        {
            let twin = Arc::clone(&twin);
            lives.spawn(async move {
                let books = day_with(Some(disturbed)).await;
                assert_eq!(books.rows, twin.rows, "{disturbed:?}");
                assert_eq!(
                    books.files.keys().collect::<Vec<_>>(),
                    twin.files.keys().collect::<Vec<_>>(),
                    "{disturbed:?}"
                );
                assert_eq!(books.files, twin.files, "{disturbed:?}");
                assert_eq!(books.events, twin.events, "{disturbed:?}");
            });
        }
        match lives.join_next().await {
            Some(life) => life.unwrap(),
            None => break,
        }
    }
}
