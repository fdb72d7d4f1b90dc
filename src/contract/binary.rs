//! Binary mode of CloudEvents (AMQP binding): the attributes stand in headers, the body is `data` alone. A delivery
//! comes in, and the same [`Envelope`] as of a structured event goes out, so that nothing behind the intake knows the
//! difference. Called by the intake for each message, and the other way round by who publishes in binary mode.

use serde_json::map::Entry;
use serde_json::{Map, Value};

use super::envelope::{self, Envelope, NotUnderstood, NotUnderstoodCode};

/// Under this name a delivery's headers hold the content type of its message, which in AMQP is no header.
pub const CONTENT_TYPE: &str = "content-type";
/// What the names of headers with attributes begin with: today's form, and the one for those who cannot write a colon.
const PREFIXES: [&str; 2] = ["cloudEvents:", "cloudEvents_"];
/// In binary mode the content type is this attribute.
const DATA_CONTENT_TYPE: &str = "datacontenttype";

/// How an event is laid into a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Structured,
    Binary,
}

/// An event in binary mode, on its way out.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    pub content_type: Option<String>,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Reads a delivery in whichever mode it is. Of one in binary mode, `canonical` is the event as structured JSON, and
/// not longer than `max_bytes` either: it takes the place of the bytes in the log.
pub fn read(raw: &[u8], headers: &[(String, String)], max_bytes: usize) -> Result<(Envelope, Mode), NotUnderstood> {
    let mode = mode_of(headers)?;
    let envelope = match mode {
        Mode::Structured => envelope::read(raw, max_bytes)?,
        Mode::Binary => {
            let mut event = attributes(headers)?;
            event.insert("data".to_owned(), envelope::json(raw, max_bytes)?);
            let envelope = envelope::from_json(Value::Object(event))?;
            envelope::fits(envelope.canonical.len(), max_bytes)?;
            envelope
        }
    };
    Ok((envelope, mode))
}

/// The content type decides if it names CloudEvents, else whether there are attributes among the headers.
fn mode_of(headers: &[(String, String)]) -> Result<Mode, NotUnderstood> {
    let content_type = headers.iter().find(|(name, _)| name == CONTENT_TYPE).map(|(_, value)| value.as_str());
    let kind = content_type.unwrap_or_default().to_ascii_lowercase();
    if kind.starts_with("application/cloudevents") {
        let structured = kind.starts_with("application/cloudevents+json") && is_json(&kind);
        return if structured {
            Ok(Mode::Structured)
        } else {
            Err(fault(CONTENT_TYPE, "an event format other than JSON"))
        };
    }
    let binary = headers.iter().any(|(name, _)| attribute(name).is_some());
    Ok(if binary { Mode::Binary } else { Mode::Structured })
}

/// The event that the headers tell of, without its data.
fn attributes(headers: &[(String, String)]) -> Result<Map<String, Value>, NotUnderstood> {
    let mut event = Map::new();
    for (header, value) in headers {
        let name = if header == CONTENT_TYPE { Some(DATA_CONTENT_TYPE) } else { attribute(header) };
        match name {
            None => {}
            Some("data" | "data_base64") => return Err(fault("data", "stands among the attributes")),
            Some(name) => match event.entry(name) {
                Entry::Vacant(free) => {
                    free.insert(Value::String(value.clone()));
                }
                Entry::Occupied(given) if given.get() == value.as_str() => {}
                Entry::Occupied(_) => return Err(fault("headers", "an attribute is given twice")),
            },
        }
    }
    if let Some(Value::String(kind)) = event.get(DATA_CONTENT_TYPE)
        && !is_json(kind)
    {
        return Err(fault(CONTENT_TYPE, "not JSON in UTF-8"));
    }
    Ok(event)
}

/// Takes a structured event apart: the same event in binary mode.
pub fn split(raw: &[u8]) -> Result<Parts, NotUnderstood> {
    let Value::Object(mut fields) = envelope::json(raw, usize::MAX)? else {
        return Err(fault("", "not a JSON object"));
    };
    let data = fields.remove("data").ok_or_else(|| fault("data", "missing"))?;
    let text = |value: Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    };
    let content_type = fields.remove(DATA_CONTENT_TYPE).and_then(text);
    let headers = fields.into_iter().filter_map(|(name, value)| Some((format!("{}{name}", PREFIXES[0]), text(value)?)));
    Ok(Parts { content_type, headers: headers.collect(), body: data.to_string().into_bytes() })
}

fn attribute(header: &str) -> Option<&str> {
    PREFIXES.into_iter().find_map(|prefix| header.strip_prefix(prefix))
}

fn is_json(content_type: &str) -> bool {
    let content_type = content_type.to_ascii_lowercase();
    let mut parts = content_type.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let charset = parts.find_map(|part| part.strip_prefix("charset="));
    let utf8 = charset.is_none_or(|charset| matches!(charset.trim_matches('"'), "utf-8" | "utf8" | "us-ascii"));
    utf8 && (kind == "application/json" || kind.ends_with("+json"))
}

fn fault(position: &str, reason: &str) -> NotUnderstood {
    NotUnderstood { code: NotUnderstoodCode::NotAnEvent, reason: reason.to_owned(), position: position.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"//s","type":"t","time":"2026-04-01T08:00:00+08:00",
        "datacontenttype":"application/json","traceparent":"00-a","data":{"b":[1,1.5],"a":"岁"}}"#;

    fn headers(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// As a broker hands it over.
    fn delivered(parts: &Parts) -> Vec<(String, String)> {
        let content_type = parts.content_type.iter().map(|kind| (CONTENT_TYPE.to_owned(), kind.clone()));
        content_type.chain(parts.headers.iter().cloned()).collect()
    }

    #[test]
    fn an_event_is_the_same_in_both_modes() {
        for event in [EVENT.to_owned(), EVENT.replace("\"datacontenttype\":\"application/json\",", "")] {
            let structured = read(event.as_bytes(), &[], 1000).unwrap();
            assert_eq!(structured.1, Mode::Structured);
            let parts = split(event.as_bytes()).unwrap();
            assert_eq!(read(&parts.body, &delivered(&parts), 1000).unwrap(), (structured.0.clone(), Mode::Binary));
            let older: Vec<_> =
                delivered(&parts).into_iter().map(|(name, value)| (name.replace(':', "_"), value)).collect();
            assert_eq!(read(&parts.body, &older, 1000).unwrap(), (structured.0.clone(), Mode::Binary));
            let again = read(structured.0.canonical.as_bytes(), &[], 1000).unwrap();
            assert_eq!(again, (structured.0, Mode::Structured), "what the log keeps is the event");
        }
    }

    #[test]
    fn the_content_type_says_that_it_is_structured_and_without_it_the_headers_say_that_it_is_not() {
        let odd = [("cloudEvents:id", "2"), ("x", "y")];
        for kind in ["application/cloudevents+json", "application/CloudEvents+JSON; charset=UTF-8"] {
            let all = [&[(CONTENT_TYPE, kind)][..], &odd].concat();
            assert_eq!(mode_of(&headers(&all)), Ok(Mode::Structured), "{kind}");
        }
        for kind in ["application/json", "text/plain"] {
            assert_eq!(mode_of(&headers(&[(CONTENT_TYPE, kind), ("x", "y")])), Ok(Mode::Structured), "{kind}");
            assert_eq!(mode_of(&headers(&[&[(CONTENT_TYPE, kind)][..], &odd].concat())), Ok(Mode::Binary), "{kind}");
        }
        assert_eq!(mode_of(&headers(&odd)), Ok(Mode::Binary));
        assert_eq!(mode_of(&[]), Ok(Mode::Structured));
    }

    #[test]
    fn what_is_no_event_in_binary_mode_is_named_with_its_place() {
        let good = delivered(&split(EVENT.as_bytes()).unwrap());
        let with = |name: &str, value: &str| {
            let mut all = good.clone();
            all.retain(|(other, _)| other != name);
            all.insert(0, (name.to_owned(), value.to_owned()));
            all
        };
        let without = |name: &str| good.iter().filter(|(other, _)| other != name).cloned().collect::<Vec<_>>();
        let cases = [
            (with(CONTENT_TYPE, "text/xml"), "{}", "not_an_event", CONTENT_TYPE),
            (with(CONTENT_TYPE, "application/json; charset=gbk"), "{}", "not_an_event", CONTENT_TYPE),
            (with(CONTENT_TYPE, "application/cloudevents-batch+json"), "[]", "not_an_event", CONTENT_TYPE),
            (with(CONTENT_TYPE, "application/cloudevents+avro"), "x", "not_an_event", CONTENT_TYPE),
            (with("cloudEvents:data", "{}"), "{}", "not_an_event", "data"),
            (with("cloudEvents_id", "another"), "{}", "not_an_event", "headers"),
            (without("cloudEvents:id"), "{}", "not_an_event", "id"),
            (with("cloudEvents:id", ""), "{}", "not_an_event", "id"),
            (with("cloudEvents:time", "1775000000"), "{}", "not_an_event", "time"),
            (with("cloudEvents:specversion", "0.3"), "{}", "not_an_event", "specversion"),
            (good.clone(), "[]", "not_an_event", "data"),
            (good.clone(), "{\"a\":", "not_json", "line 1 column 5"),
            (good.clone(), "", "not_json", "line 1 column 0"),
            (good.clone(), &format!("{{}}{}", " ".repeat(1000)), "too_big", ""),
            (with("cloudEvents:long", &"x".repeat(1000)), "{}", "too_big", ""),
        ];
        for (headers, body, code, position) in cases {
            let fault = read(body.as_bytes(), &headers, 1000).unwrap_err();
            assert_eq!((fault.code.as_str(), fault.position.as_str()), (code, position), "{headers:?} {body:.20}");
        }
    }
}
