//! The events as a checked contract: every type has its schema and its example, and every subject counts from one
//! without gaps. The examples are written again by `PIKOU_WRITE_CONTRACT=1 scripts/test events`; read the difference.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use pikou::contract::events::EventType;
use pikou::contract::schemas;
use serde_json::Value;
use sqlx::query;

use crate::story;
use crate::support::*;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/events")
}

fn type_of(event: &Value) -> EventType {
    let name = event["type"].as_str().unwrap();
    let kind = EventType::ALL.iter().find(|kind| format!("pikou.{}.v1", kind.as_str()) == name);
    *kind.unwrap_or_else(|| panic!("{name} is no type of ours"))
}

#[tokio::test]
async fn every_type_of_event_happens_fits_its_schema_and_has_its_example() {
    let place = Place::new().await;
    story::tell(&place, &place.other_worker()).await;
    place.account().await;
    let events = place.events().await;

    let mut wrong = Vec::new();
    let validators: BTreeMap<EventType, (jsonschema::Validator, Value)> = EventType::ALL
        .iter()
        .map(|kind| {
            let schema = schemas::event(*kind);
            (*kind, (jsonschema::validator_for(&schema).unwrap(), schema))
        })
        .collect();
    for event in &events {
        let (validator, schema) = &validators[&type_of(event)];
        wrong.extend(validator.iter_errors(event).map(|error| format!("{}: {error}", event["id"])));
        for (part, fields) in [("", &schema["properties"]), ("/data", &schema["properties"]["data"]["properties"])] {
            let written = event.pointer(part).unwrap().as_object().unwrap();
            let unknown = written.keys().filter(|field| fields.get(field.as_str()).is_none());
            wrong.extend(unknown.map(|field| format!("{}: {field} is in no schema", event["id"])));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let mut first: BTreeMap<String, String> = BTreeMap::new();
    for event in &events {
        let text = format!("{}\n", serde_json::to_string_pretty(event).unwrap());
        first.entry(format!("{}.json", type_of(event).as_str())).or_insert(text);
    }
    let all: BTreeSet<String> = EventType::ALL.iter().map(|kind| format!("{}.json", kind.as_str())).collect();
    assert_eq!(first.keys().cloned().collect::<BTreeSet<_>>(), all, "each type happens in tests/it/story.rs");
    if std::env::var_os("PIKOU_WRITE_CONTRACT").is_some() {
        let _ = std::fs::remove_dir_all(examples());
        std::fs::create_dir_all(examples()).unwrap();
        for (name, text) in &first {
            std::fs::write(examples().join(name), text).unwrap();
        }
    }
    let kept: BTreeMap<String, String> = read_folder(&examples())
        .iter()
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(path).unwrap()))
        .collect();
    assert_eq!(kept.keys().collect::<Vec<_>>(), first.keys().collect::<Vec<_>>());
    for (name, text) in first {
        assert_eq!(kept[&name], text, "{name}");
    }
}

/// What an event is about: its id without the sequence.
fn subject(event: &Value) -> &str {
    event["id"].as_str().unwrap().rsplit_once('/').unwrap().0
}

#[tokio::test]
async fn every_subject_counts_from_one_without_gaps_and_published_again_it_is_the_same() {
    let only_what_counts =
        [("PIKOU__EVENTS__DEDUCTION_PLANNED", "false"), ("PIKOU__EVENTS__DEDUCTION_SKIPPED", "false")];
    for (first, later) in [(true, true), (false, false), (true, false), (false, true)] {
        let settings = |all: bool| if all { &[][..] } else { &only_what_counts[..] };
        let place = Place::with(settings(first)).await;
        let other = place.under(settings(later));
        story::tell(&place, &other).await;
        place.account().await;
        let events = place.events().await;

        let mut sequences: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
        for event in &events {
            sequences.entry(subject(event)).or_default().push(event["sequence"].as_i64().unwrap());
        }
        let gaps: Vec<_> =
            sequences.iter().filter(|(_, told)| !told.iter().copied().eq(1..=told.len() as i64)).collect();
        assert_eq!(gaps, [], "{first} then {later}");
        let ids: BTreeSet<&str> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), events.len(), "{first} then {later}");
        for event in &events {
            assert_eq!(event["id"], format!("{}/{}", subject(event), event["sequence"]));
        }

        // What a run tells was decided when it was made.
        let planned_of = |run: &str| {
            let of_run = |event: &&Value| type_of(event) == EventType::DeductionPlanned && event["causation"] == run;
            events.iter().filter(of_run).count() > 0
        };
        assert_eq!((planned_of("run:1"), planned_of("run:2")), (first, later));

        query("UPDATE outbox SET published_at = NULL").execute(&place.ctx.pool).await.unwrap();
        let again = place.events().await;
        assert_eq!(again.len(), 2 * events.len());
        for (before, after) in events.iter().zip(&again[events.len()..]) {
            assert_eq!(before, after);
        }
    }
}
