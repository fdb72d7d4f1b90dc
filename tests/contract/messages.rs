//! The reader of the messages is written by hand, and so are their schemas. They are held together by changing an example
//! of each message in every way that comes to mind: both take it, or both refuse it. What only the reader can know
//! is listed in [`KNOWN`].

use pikou::contract::envelope;
use pikou::contract::inbound::{MESSAGES, Message};
use pikou::contract::schemas;
use pikou::domain::insurance::InsuranceType;
use serde_json::{Value, json};

/// A value that fits the schema (its formats included, by which it knows how long February is), and that the reader refuses all the same.
struct Difference {
    /// Any message where it is empty.
    message: &'static str,
    field: &'static str,
    why: &'static str,
    holds: fn(&Value) -> bool,
}

fn is_text(value: &Value, says: impl Fn(&str) -> bool) -> bool {
    value.as_str().is_some_and(says)
}

const KNOWN: &[Difference] = &[
    Difference {
        message: "",
        field: "",
        why: "a text has at most 256 bytes; a schema counts characters",
        holds: |value| is_text(value, |text| text.len() > 256 && text.chars().count() <= 256),
    },
    Difference {
        message: "",
        field: "insurance_type",
        why: "which types there are is configuration",
        holds: |value| is_text(value, |text| text != "resident_pension"),
    },
    Difference {
        message: "",
        field: "valid_year",
        why: "2026.0 is a whole number to a schema",
        holds: |value| value.is_f64(),
    },
    Difference {
        message: "enrolment.changed",
        field: "id_number",
        why: "the date of birth and the check character of a resident identity number",
        holds: |value| is_text(value, |text| text.len() == 18),
    },
    Difference {
        message: "payment.started",
        field: "items",
        why: "an order names a declaration once",
        holds: |value| {
            let numbers = value.as_array().into_iter().flatten().map(|item| item["declaration_no"].to_string());
            numbers.clone().collect::<std::collections::BTreeSet<_>>().len() < numbers.count()
        },
    },
    Difference {
        message: "payment.started",
        field: "items",
        why: "a text has at most 256 bytes, also in a list",
        holds: |value| value[0]["declaration_no"].as_str().is_some_and(|text| text.len() > 256),
    },
    Difference {
        message: "run.requested",
        field: "slot",
        why: "1.0 is a whole number to a schema",
        holds: |value| value.is_f64(),
    },
    Difference {
        message: "",
        field: "period_from",
        why: "a period (202001 to 202012 in the examples) does not end before it begins",
        holds: |value| is_text(value, |text| text > "202012"),
    },
    Difference {
        message: "",
        field: "period_to",
        why: "a period does not end before it begins",
        holds: |value| is_text(value, |text| text < "202001"),
    },
];

/// What a field is changed to: every kind of value, the ends of every range, every word.
fn pool() -> Vec<Value> {
    let texts = [
        "",
        " ",
        "x",
        "a b",
        "a\nb",
        "a\u{0}b",
        "a\u{7f}b",
        "a\u{85}b",
        "测试",
        "１２３４",
        "0",
        "0.00",
        "00.0",
        "1.",
        ".5",
        "1",
        "1.5",
        "1000.00",
        "1000.001",
        "-1.00",
        "+1.00",
        "1e3",
        "1,000.00",
        "999999999999.99",
        "1000000000000.00",
        "1999",
        "2000",
        "2026",
        "2999",
        "3000",
        "202600",
        "202601",
        "202613",
        "199912",
        "300001",
        "200001",
        "299912",
        "2026-04-01",
        "2026-4-1",
        "2026-13-01",
        "2026-02-30",
        "1899-12-31",
        "1900-01-01",
        "2999-12-31",
        "3000-01-01",
        "+2026-04-01",
        " 2026-04-01",
        "12345",
        "123456",
        "123456789012",
        "1234567890123",
        "12345x",
        "D000000100100000001",
        "D00000010010000001",
        "P000000100100000001",
        "1.0",
        "1.1",
        "2026-04-01T08:00:00Z",
        "2026-04-01T08:00:00.123456789+08:00",
        "2026-04-01T08:00:00",
        "2026-04-01",
        "2026-02-30T00:00:00Z",
        "2026-04-01T25:00:00Z",
        "1999-12-31T00:00:00Z",
        "3000-01-02T00:00:00Z",
        "2026-04-01T08:00:00+25:00",
        "batch",
        "online",
        "active",
        "suspended",
        "ended",
        "normal",
        "special",
        "bank",
        "alipay",
        "wechat_pay",
        "unionpay",
        "agreement",
        "issued",
        "withdrawn",
        "back_payment",
        "lump_sum",
        "paid_on_behalf",
        "succeeded",
        "failed",
        "closed",
        "unknown",
        "ACTIVE",
        "active ",
        "resident_pension",
        "resident_medical",
        "resident_id",
        "passport",
        "990101198503150025",
        "990101198503150026",
        "99010119850315002X",
        "990101198502300020",
        "9901011985031500255",
    ];
    let lengths = [32, 33, 256, 257].map(|length| json!("x".repeat(length)));
    let mut pool: Vec<Value> = texts.into_iter().map(Value::from).chain(lengths).collect();
    pool.push(json!("测".repeat(100)));
    pool.extend([
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(-1),
        json!(1.0),
        json!(1.5),
        json!(99),
        json!(100),
        json!(2026.0),
    ]);
    pool.extend([1999, 2000, 2026, 2999, 3000, 32767, 32768].map(Value::from));
    pool.extend([json!(18_446_744_073_709_551_615_u64), json!([]), json!({}), json!({"a": 1})]);
    pool.extend([json!([""]), json!(["x"]), json!(["x", 7]), json!([null]), json!(["a\nb"]), json!(["x", "x"])]);
    pool
}

fn reader_takes(message: &Value) -> bool {
    let insurance_types = [InsuranceType("resident_pension".into())];
    let read = envelope::read(message.to_string().as_bytes(), 262_144);
    read.and_then(|envelope| Message::read(&envelope, &insurance_types)).is_ok()
}

/// An example of a message with every field it can have, and its schema.
fn example(name: &str) -> (Value, jsonschema::Validator, Value) {
    let path = crate::root().join(format!("fixtures/messages/{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let example: Value = serde_json::from_str(&text).unwrap();
    let schema = schemas::message(name).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    (example, jsonschema::validator_for(&schema).unwrap(), schema["properties"]["data"].clone())
}

#[test]
fn every_message_has_an_example_with_all_its_fields_that_reader_and_schema_take() {
    for name in MESSAGES.iter().copied() {
        let (example, validator, data) = example(name);
        let wrong: Vec<String> = validator.iter_errors(&example).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{name}: {wrong:?}");
        assert!(reader_takes(&example), "{name}");
        assert_eq!(example["type"], format!("pikou.in.{name}.v1"));
        let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(fields(&example["data"]), fields(&data["properties"]), "{name}");
    }
    let known: std::collections::BTreeSet<String> = MESSAGES.iter().map(|name| format!("{name}.json")).collect();
    for file in crate::files_in("fixtures/messages") {
        let file = file.rsplit('/').next().unwrap().to_owned();
        assert!(known.contains(&file) || file.ends_with(".jsonl"), "{file} is an example of no message");
    }
}

#[test]
fn a_required_field_may_not_be_missing_and_an_optional_one_may() {
    for name in MESSAGES.iter().copied() {
        let (example, validator, data) = example(name);
        let required = data["required"].as_array().unwrap();
        for field in data["properties"].as_object().unwrap().keys() {
            let optional = !required.contains(&json!(field));
            let mut without = example.clone();
            without["data"].as_object_mut().unwrap().remove(field);
            let mut null = example.clone();
            null["data"][field] = Value::Null;
            for (what, changed) in [("missing", without), ("null", null)] {
                let takes = (reader_takes(&changed), validator.is_valid(&changed));
                assert_eq!(takes, (optional, optional), "{name}: {field} is {what}");
            }
        }
        for attribute in ["specversion", "id", "source", "type", "time", "data"] {
            let mut without = example.clone();
            without.as_object_mut().unwrap().remove(attribute);
            assert_eq!((reader_takes(&without), validator.is_valid(&without)), (false, false), "{name}: {attribute}");
        }
        let mut more = example.clone();
        more["subject"] = json!("of the sender");
        more["data"]["of_the_sender"] = json!(7);
        assert_eq!((reader_takes(&more), validator.is_valid(&more)), (true, true), "{name}: fields of the sender");
    }
}

/// Tries a change; `Err` says where reader and schema differ though no difference is known.
fn agree(
    name: &str,
    field: &str,
    value: &Value,
    changed: &Value,
    validator: &jsonschema::Validator,
    seen: &mut [usize],
) -> Result<(), String> {
    let (reader, schema) = (reader_takes(changed), validator.is_valid(changed));
    if reader == schema {
        return Ok(());
    }
    let fits = |known: &Difference| {
        (known.message.is_empty() || known.message == name)
            && (known.field.is_empty() || known.field == field)
            && (known.holds)(value)
    };
    match KNOWN.iter().position(fits) {
        Some(place) if schema && !reader => {
            seen[place] += 1;
            Ok(())
        }
        _ => {
            let by = if reader { "the schema" } else { "the reader" };
            Err(format!("{name}: {field} = {value} is refused by {by} alone"))
        }
    }
}

#[test]
fn reader_and_schema_take_and_refuse_the_same_but_for_what_a_schema_cannot_say() {
    let pool = pool();
    let mut wrong = Vec::new();
    let mut seen = vec![0; KNOWN.len()];
    let mut refused = 0;
    for name in MESSAGES.iter().copied() {
        let (example, validator, data) = example(name);
        for field in data["properties"].as_object().unwrap().keys() {
            let before = refused;
            for value in &pool {
                let mut changed = example.clone();
                changed["data"][field] = value.clone();
                refused += usize::from(!validator.is_valid(&changed));
                wrong.extend(agree(name, field, value, &changed, &validator, &mut seen).err());
            }
            assert!(refused - before > 10, "{name}: {field} is taken whatever it is");
            for (field, value) in inside(&example["data"][field], &pool).into_iter().map(|value| (field, value)) {
                let mut changed = example.clone();
                changed["data"][field] = value.clone();
                wrong.extend(agree(name, field, &value, &changed, &validator, &mut seen).err());
            }
        }
        for attribute in ["specversion", "id", "source", "type", "time", "data"] {
            for value in &pool {
                let mut changed = example.clone();
                changed[attribute] = value.clone();
                wrong.extend(agree(name, attribute, value, &changed, &validator, &mut seen).err());
            }
        }
    }
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
    for (known, seen) in KNOWN.iter().zip(seen) {
        assert!(seen > 0, "no longer a difference: {} ({})", known.field, known.why);
    }
}

/// A list of objects with one field of its first one changed or missing, the list twice as long, and far too long.
fn inside(list: &Value, pool: &[Value]) -> Vec<Value> {
    let Some([first @ Value::Object(fields), ..]) = list.as_array().map(Vec::as_slice) else { return vec![] };
    let mut changed = Vec::new();
    for field in fields.keys() {
        for value in pool {
            let mut item = first.clone();
            item[field] = value.clone();
            changed.push(json!([item]));
        }
        let mut without = first.clone();
        without.as_object_mut().unwrap().remove(field);
        changed.push(json!([without]));
    }
    changed.push(json!([first, first]));
    let many = |count: usize| -> Value {
        (0..count)
            .map(|number| {
                let mut item = first.clone();
                for (_, value) in item.as_object_mut().unwrap().iter_mut().filter(|(name, _)| name.ends_with("_no")) {
                    *value = json!(format!("S{number}"));
                }
                item
            })
            .collect()
    };
    changed.extend([many(100), many(101)]);
    changed
}
