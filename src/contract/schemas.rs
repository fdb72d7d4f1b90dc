//! JSON Schemas (draft 07, which AsyncAPI 3 knows) of what goes out and what comes in, one for each type, complete in itself. Written to
//! `schemas/` by `tests/contract/`, which also holds the files against this.

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::events::{EventType, Wire};
use super::message_fields::{self, Needed};
use super::words;

const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// Where a type has fewer words for a field than its kind of data: (type, field, the words).
type Narrower = (EventType, &'static str, fn() -> Vec<&'static str>);
const NARROWER: [Narrower; 14] = [
    (EventType::AmountSet, "status", || vec!["active"]),
    (EventType::AmountSuperseded, "status", || vec!["superseded"]),
    (EventType::AmountVoided, "status", || vec!["voided"]),
    (EventType::AmountVoidTooLate, "status", || vec!["voided"]),
    (EventType::AmountFulfilled, "status", || vec!["fulfilled"]),
    (EventType::AmountHeld, "status", || vec!["held"]),
    (EventType::AmountReleased, "status", || vec!["active"]),
    (EventType::DeclarationRejected, "reason", words::refusal_codes),
    (EventType::DeductionWithdrawn, "reason", words::withdrawals),
    (EventType::DeductionFailed, "class", || vec!["retryable", "final"]),
    (EventType::DeductionUnknown, "class", || vec!["unknown"]),
    (EventType::MessageRefused, "code", words::refusal_codes),
    (EventType::MessageQuarantined, "code", words::quarantine_codes),
    (EventType::ResultFileRefused, "refused", || vec!["malformed", "totals_differ", "wrong_file"]),
];

/// The schema of an event as it goes out. Other attributes and fields may be added one day: readers ignore them.
pub fn event(kind: EventType) -> Value {
    // As it is written: what may be left out is not required.
    let mut generator = SchemaSettings::draft07().for_serialize().into_generator();
    let mut schema = of::<Wire>(&mut generator);
    let mut data = kind.data().schema(&mut generator).to_value();
    plain(&mut data);
    let mut required: Vec<Value> = data["required"].as_array().cloned().unwrap_or_default();
    required.extend(kind.always().iter().map(|field| json!(field)));
    data["required"] = json!(required);
    for (_, field, words) in NARROWER.iter().filter(|(of, ..)| *of == kind) {
        data["properties"][*field]["enum"] = json!(words());
    }
    let name = format!("pikou.{}.v1", kind.as_str());
    schema["properties"]["type"] = json!({"type": "string", "const": name});
    schema["properties"]["data"] = data;
    schema["$schema"] = json!(DRAFT);
    schema["title"] = json!(name);
    schema
}

fn of<T: schemars::JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    let mut schema = T::json_schema(generator).to_value();
    plain(&mut schema);
    schema
}

/// Rust's line ends in the comments are none of a reader's business, nor are the names of our types.
fn plain(schema: &mut Value) {
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("title");
        fields.remove("$schema");
        if let Some(Value::String(text)) = fields.get_mut("description") {
            *text = text.replace('\n', " ");
        }
        for (_, field) in fields.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
            plain(field);
        }
    }
}

/// The schema of a message as it must come in: one of [`MESSAGES`](super::inbound::MESSAGES). The reader is written by
/// hand; a test holds the two together, and lists what only the reader knows.
pub fn message(name: &str) -> Option<Value> {
    let fields = message_fields::of(name)?;
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in fields.fields {
        let schema = match field.needed {
            Needed::Always => {
                required.push(json!(field.name));
                field.schema
            }
            Needed::Maybe => json!({"anyOf": [field.schema, {"type": "null"}]}),
        };
        properties.insert(field.name.to_owned(), schema);
    }
    let mut data = json!({"type": "object", "properties": properties, "required": required});
    if !fields.rules.is_empty() {
        data["allOf"] = json!(fields.rules);
    }
    let text = word(words::text);
    let name = format!("pikou.in.{name}.v1");
    Some(json!({
        "$schema": DRAFT,
        "title": name,
        "description": "A CloudEvent (1.0, structured JSON) for pikou. Other attributes and fields are ignored.",
        "type": "object",
        "required": ["specversion", "id", "source", "type", "time", "data"],
        "properties": {
            "specversion": {"type": "string", "const": "1.0"},
            "id": text,
            "source": text,
            "type": {"type": "string", "const": name},
            "time": word(words::instant_anywhere),
            "data": data,
        }
    }))
}

/// One kind of field, as a JSON document.
pub(super) fn word(of: fn(&mut SchemaGenerator) -> Schema) -> Value {
    of(&mut SchemaSettings::draft07().into_generator()).to_value()
}
