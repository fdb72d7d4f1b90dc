//! The contract as files: JSON Schemas of events and messages, `asyncapi.yaml`, and the tables of `docs/CONTRACT.md`, held
//! against the code. The first three are written again by
//!
//! `PIKOU_WRITE_CONTRACT=1 cargo test --test contract the_files`
//!
//! (and the examples of the events likewise by `tests/it/events.rs`, which needs the servers). Read the difference: it
//! is what other systems will see.

mod asyncapi;
mod documents;
mod messages;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use pikou::contract::events::EventType;
use pikou::contract::inbound::MESSAGES;
use pikou::contract::schemas;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(value).unwrap())
}

/// Every file that follows from the code, by its path.
fn written() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for kind in EventType::ALL {
        files.insert(format!("schemas/events/{}.json", kind.as_str()), pretty(&schemas::event(*kind)));
    }
    for name in MESSAGES.iter().copied() {
        let schema =
            schemas::message(name).unwrap_or_else(|| panic!("{name} has no schema: contract/message_fields.rs"));
        files.insert(format!("schemas/messages/{name}.json"), pretty(&schema));
    }
    files.insert("asyncapi.yaml".into(), asyncapi::text());
    files
}

fn files_in(folder: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap();
    entries.map(|entry| format!("{folder}/{}", entry.unwrap().file_name().to_string_lossy())).collect()
}

#[test]
fn the_files_of_the_contract_are_those_of_the_code() {
    let written = written();
    if std::env::var_os("PIKOU_WRITE_CONTRACT").is_some() {
        let _ = std::fs::remove_dir_all(root().join("schemas"));
        for (path, text) in &written {
            let path = root().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }
    let mut there = files_in("schemas/events");
    there.extend(files_in("schemas/messages"));
    there.insert("asyncapi.yaml".into());
    assert_eq!(there, written.keys().cloned().collect::<BTreeSet<_>>());
    for (path, text) in &written {
        assert_eq!(&std::fs::read_to_string(root().join(path)).unwrap(), text, "{path}");
    }
}

#[test]
fn every_event_has_an_example_that_fits_its_schema() {
    let wanted: BTreeSet<String> =
        EventType::ALL.iter().map(|kind| format!("fixtures/events/{}.json", kind.as_str())).collect();
    assert_eq!(files_in("fixtures/events"), wanted, "written by tests/it/events.rs");
    for kind in EventType::ALL {
        let schema = schemas::event(*kind);
        jsonschema::meta::validate(&schema).unwrap();
        let text = std::fs::read_to_string(root().join(format!("fixtures/events/{}.json", kind.as_str()))).unwrap();
        let example = serde_json::from_str(&text).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let wrong: Vec<String> = validator.iter_errors(&example).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{}: {wrong:?}", kind.as_str());
    }
}

#[test]
fn a_schema_requires_what_a_type_always_has_and_knows_only_its_own_words() {
    for kind in EventType::ALL {
        let data = &schemas::event(*kind)["properties"]["data"];
        for field in kind.always() {
            assert!(data["properties"].get(*field).is_some(), "{} has no field {field}", kind.as_str());
        }
        let required: Vec<&str> =
            data["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        assert_eq!(required.iter().collect::<BTreeSet<_>>().len(), required.len(), "{}: named twice", kind.as_str());
    }
    let example = |kind: EventType| {
        let path = root().join(format!("fixtures/events/{}.json", kind.as_str()));
        serde_json::from_str::<serde_json::Value>(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    let fits = |kind: EventType, event: &serde_json::Value| jsonschema::is_valid(&schemas::event(kind), event);
    for kind in EventType::ALL {
        for other in EventType::ALL {
            assert_eq!(fits(*kind, &example(*other)), kind == other, "{} as {}", other.as_str(), kind.as_str());
        }
    }
    for (kind, field, wrong) in [
        (EventType::AmountSet, "amount", serde_json::json!(3000)),
        (EventType::AmountSet, "amount", serde_json::json!("3000.5")),
        (EventType::AmountSet, "status", serde_json::json!("voided")),
        (EventType::AmountSet, "payer_id", serde_json::json!("a b")),
        (EventType::DeductionSent, "period_from", serde_json::json!("202613")),
        (EventType::DeductionFailed, "class", serde_json::json!("success")),
        (EventType::DeductionFailed, "tried_again", serde_json::json!(null)),
        (EventType::RunPlanned, "business_date", serde_json::json!("2026-4-15")),
        (EventType::RequestFileDelivered, "sha256", serde_json::json!("AB")),
        (EventType::MessageRefused, "code", serde_json::json!("not_json")),
        (EventType::MessageQuarantined, "code", serde_json::json!("not_enrolled")),
    ] {
        let mut event = example(kind);
        event["data"][field] = wrong.clone();
        assert!(!fits(kind, &event), "{} takes {field} {wrong}", kind.as_str());
    }
}
