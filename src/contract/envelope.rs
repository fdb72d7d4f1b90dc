//! CloudEvents 1.0 in structured JSON: raw bytes come in, an [`Envelope`] or a reason for the quarantine goes out.
//! Called for each message by `binary.rs`, which knows the other mode, and for the times of events on their way out.

use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};
use serde_json::{Map, Value};

/// Longest `id`, `source` and other short texts of a message, in bytes.
pub const SHORT_TEXT_MAX: usize = 256;

/// The attributes of a message and its data, not yet understood.
#[derive(Clone, PartialEq)]
pub struct Envelope {
    pub source: String,
    pub id: String,
    /// Such as `pikou.in.amount.set.v1`.
    pub kind: String,
    /// When it happened at the sender; microseconds, as the database keeps it.
    pub time: DateTime<Utc>,
    pub data: Map<String, Value>,
    /// The whole message with sorted keys, by which "the same content again" is recognised.
    pub canonical: String,
}

/// Neither data nor content: what is personal stays out of logs and panics.
impl std::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Envelope")
            .field("source", &self.source)
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("time", &self.time)
            .finish_non_exhaustive()
    }
}

/// Why bytes are not a message we understand. Goes into the quarantine with the bytes; carries nothing personal:
/// the reason names fields and never repeats their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotUnderstood {
    pub code: NotUnderstoodCode,
    pub reason: String,
    /// Where: a field's name, or line and column of the JSON.
    pub position: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotUnderstoodCode {
    TooBig,
    NotJson,
    NotAnEvent,
    UnknownType,
    WrongField,
    /// The id is known with other content.
    Conflict,
    /// The database refused the values: our reading let something through that it should not have.
    Unstorable,
    /// The broker gave the message up before we had taken it.
    DeadLetter,
}

impl NotUnderstoodCode {
    pub const ALL: [NotUnderstoodCode; 8] = [
        NotUnderstoodCode::TooBig,
        NotUnderstoodCode::NotJson,
        NotUnderstoodCode::NotAnEvent,
        NotUnderstoodCode::UnknownType,
        NotUnderstoodCode::WrongField,
        NotUnderstoodCode::Conflict,
        NotUnderstoodCode::Unstorable,
        NotUnderstoodCode::DeadLetter,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            NotUnderstoodCode::TooBig => "too_big",
            NotUnderstoodCode::NotJson => "not_json",
            NotUnderstoodCode::NotAnEvent => "not_an_event",
            NotUnderstoodCode::UnknownType => "unknown_type",
            NotUnderstoodCode::WrongField => "wrong_field",
            NotUnderstoodCode::Conflict => "conflict",
            NotUnderstoodCode::Unstorable => "unstorable",
            NotUnderstoodCode::DeadLetter => "dead_letter",
        }
    }
}

impl NotUnderstood {
    pub fn field(name: &str, reason: impl Into<String>) -> NotUnderstood {
        NotUnderstood { code: NotUnderstoodCode::WrongField, reason: reason.into(), position: name.to_owned() }
    }
}

/// Reads an event of at most `max_bytes`.
pub fn read(raw: &[u8], max_bytes: usize) -> Result<Envelope, NotUnderstood> {
    from_json(json(raw, max_bytes)?)
}

pub(super) fn json(raw: &[u8], max_bytes: usize) -> Result<Value, NotUnderstood> {
    fits(raw.len(), max_bytes)?;
    serde_json::from_slice(raw).map_err(|error| {
        let position = format!("line {} column {}", error.line(), error.column());
        fault(NotUnderstoodCode::NotJson, format!("{:?} error", error.classify()), &position)
    })
}

pub(super) fn fits(bytes: usize, max_bytes: usize) -> Result<(), NotUnderstood> {
    if bytes <= max_bytes {
        return Ok(());
    }
    let reason = format!("{bytes} bytes, at most {max_bytes} are taken");
    Err(fault(NotUnderstoodCode::TooBig, reason, ""))
}

fn fault(code: NotUnderstoodCode, reason: String, position: &str) -> NotUnderstood {
    NotUnderstood { code, reason, position: position.to_owned() }
}

/// The event that a JSON value is.
pub(super) fn from_json(value: Value) -> Result<Envelope, NotUnderstood> {
    let canonical = serde_json::to_string(&value).expect("a value is JSON"); // keys are kept sorted
    let Value::Object(mut fields) = value else {
        return Err(fault(NotUnderstoodCode::NotAnEvent, "not a JSON object".into(), ""));
    };
    let mut text = |name: &str| -> Result<String, NotUnderstood> {
        match fields.remove(name) {
            Some(Value::String(text)) => {
                short_text(&text).map_err(|reason| fault(NotUnderstoodCode::NotAnEvent, reason.into(), name))?;
                Ok(text)
            }
            Some(_) => Err(fault(NotUnderstoodCode::NotAnEvent, "not a text".into(), name)),
            None => Err(fault(NotUnderstoodCode::NotAnEvent, "missing".into(), name)),
        }
    };
    if text("specversion")? != "1.0" {
        return Err(fault(NotUnderstoodCode::NotAnEvent, "not 1.0".into(), "specversion"));
    }
    let (source, id, kind, time) = (text("source")?, text("id")?, text("type")?, text("time")?);
    let time = DateTime::parse_from_rfc3339(&time)
        .map_err(|_| fault(NotUnderstoodCode::NotAnEvent, "not RFC 3339".into(), "time"))?
        .with_timezone(&Utc)
        .trunc_subsecs(6);
    if !(2000..3000).contains(&chrono::Datelike::year(&time)) {
        return Err(fault(NotUnderstoodCode::NotAnEvent, "year out of range".into(), "time"));
    }
    let Some(Value::Object(data)) = fields.remove("data") else {
        return Err(fault(NotUnderstoodCode::NotAnEvent, "missing or not an object".into(), "data"));
    };
    Ok(Envelope { source, id, kind, time, data, canonical })
}

/// Short texts hold no control characters (the database refuses U+0000, logs and files the others).
pub fn short_text(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        Err("empty")
    } else if text.len() > SHORT_TEXT_MAX {
        Err("too long")
    } else if text.chars().any(char::is_control) {
        Err("has control characters")
    } else {
        Ok(())
    }
}

/// Writes an instant as the wire carries it: RFC 3339 in UTC, as precise as it is.
pub fn wire_time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"specversion":"1.0","id":"1","source":"//s","type":"t","time":"2026-04-01T08:00:00.1234567+08:00","data":{}}"#;

    #[test]
    fn an_event_is_read_with_its_time_in_utc_microseconds() {
        let envelope = read(GOOD.as_bytes(), 1000).unwrap();
        assert_eq!(wire_time(envelope.time), "2026-04-01T00:00:00.123456Z");
        assert_eq!((envelope.source.as_str(), envelope.id.as_str(), envelope.kind.as_str()), ("//s", "1", "t"));
    }

    #[test]
    fn the_same_content_in_another_order_of_keys_is_the_same() {
        let other = r#" {"data":{},"time":"2026-04-01T08:00:00.1234567+08:00","type":"t","source":"//s","id":"1","specversion":"1.0"}"#;
        assert_eq!(read(GOOD.as_bytes(), 1000).unwrap().canonical, read(other.as_bytes(), 1000).unwrap().canonical);
    }

    #[test]
    fn what_is_no_event_is_named_with_its_place() {
        let cases = [
            ("{\"a\":", "not_json", "line 1 column 5"),
            ("[]", "not_an_event", ""),
            (r#"{"specversion":"0.3"}"#, "not_an_event", "specversion"),
            (&GOOD.replace("\"id\":\"1\"", "\"id\":1"), "not_an_event", "id"),
            (&GOOD.replace("\"id\":\"1\"", "\"id\":\"\\u0000\""), "not_an_event", "id"),
            (&GOOD.replace("2026-04-01T", "2026-04-01 the "), "not_an_event", "time"),
            (&GOOD.replace("{}", "[]"), "not_an_event", "data"),
            (&format!("{GOOD}{}", " ".repeat(1000)), "too_big", ""),
            ("\u{feff}", "not_json", "line 1 column 1"),
        ];
        for (raw, code, position) in cases {
            let fault = read(raw.as_bytes(), 1000).unwrap_err();
            assert_eq!((fault.code.as_str(), fault.position.as_str()), (code, position), "{raw}");
        }
    }
}
