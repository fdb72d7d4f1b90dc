//! What we publish, as it is published: from the broker, by a queue of our own, or from the file of events. Called by
//! `pikou events tail`; needs no database.

use std::io::{Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::pause_until;
use crate::app::broker_settings;
use crate::broker::listener::{Heard, listen};
use crate::config::Settings;
use crate::stages::StageError;

/// How often the file is looked at.
const FILE_EVERY: Duration = Duration::from_millis(200);

/// What the tail tells.
pub enum Told {
    Event(Value),
    /// Something may be missing from here on.
    Lost(String),
    /// From now on events are heard.
    Listening,
}

/// Follows until `shutdown`, or until `told` breaks off.
pub async fn tail(
    settings: &Settings,
    patterns: &[String],
    shutdown: &CancellationToken,
    mut told: impl FnMut(Told) -> ControlFlow<()>,
) -> Result<(), StageError> {
    if settings.is_embedded_broker() {
        return follow(&settings.events_file(), patterns, shutdown, told).await;
    }
    let heard = |heard: Heard<'_>| match heard {
        Heard::Event(body) => match serde_json::from_slice(body) {
            Ok(event) => told(Told::Event(event)),
            Err(_) => told(Told::Lost("somebody published what is no JSON".to_owned())),
        },
        Heard::Lost(error) => told(Told::Lost(super::chain(error))),
        Heard::Listening => told(Told::Listening),
    };
    let done = listen(&broker_settings(settings), patterns, shutdown, heard).await;
    done.map_err(|error| StageError::later("listening to the broker", error))
}

async fn follow(
    path: &Path,
    patterns: &[String],
    shutdown: &CancellationToken,
    mut told: impl FnMut(Told) -> ControlFlow<()>,
) -> Result<(), StageError> {
    let mut read = std::fs::metadata(path).map_or(0, |file| file.len());
    let mut flow = told(Told::Listening);
    while flow.is_continue() && !shutdown.is_cancelled() {
        let lines = lines_after(path, &mut read);
        let lines = lines.map_err(|error| StageError::later(format!("reading {}", path.display()), error))?;
        for event in lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let heard = patterns.iter().any(|pattern| matches(pattern, short_name(&event)));
            if heard && flow.is_continue() {
                flow = told(Told::Event(event));
            }
        }
        pause_until(shutdown, tokio::time::sleep(FILE_EVERY)).await;
    }
    Ok(())
}

/// The whole lines that have come since; half a line is left for the next look.
fn lines_after(path: &Path, read: &mut u64) -> std::io::Result<Vec<String>> {
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    if file.metadata()?.len() < *read {
        *read = 0; // somebody has begun a new one
    }
    file.seek(SeekFrom::Start(*read))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    *read += whole as u64;
    Ok(String::from_utf8_lossy(&bytes[..whole]).lines().map(str::to_owned).collect())
}

/// What an event is called in routing keys and patterns: `pikou.amount.set.v1` is `amount.set`.
pub fn short_name(event: &Value) -> &str {
    let kind = event["type"].as_str().unwrap_or_default();
    let kind = kind.strip_prefix("pikou.").unwrap_or(kind);
    kind.strip_suffix(".v1").unwrap_or(kind)
}

/// AMQP's patterns for topics: `*` is one word, `#` any number of words.
fn matches(pattern: &str, key: &str) -> bool {
    fn words(pattern: &[&str], key: &[&str]) -> bool {
        match pattern.split_first() {
            None => key.is_empty(),
            Some((&"#", rest)) => (0..=key.len()).any(|skipped| words(rest, &key[skipped..])),
            Some((first, rest)) => {
                key.split_first().is_some_and(|(word, others)| (*first == "*" || first == word) && words(rest, others))
            }
        }
    }
    words(&pattern.split('.').collect::<Vec<_>>(), &key.split('.').collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_a_topic_exchange() {
        for (pattern, key, is) in [
            ("#", "deduction.sent", true),
            ("deduction.*", "deduction.sent", true),
            ("deduction.*", "declaration.paid", false),
            ("deduction.*", "deduction", false),
            ("deduction.*", "deduction.sent.twice", false),
            ("deduction.#", "deduction", true),
            ("#.sent", "run.sent", true),
            ("*.sent", "run.sent", true),
            ("sent", "run.sent", false),
        ] {
            assert_eq!(matches(pattern, key), is, "{pattern} {key}");
        }
    }

    #[test]
    fn half_a_line_waits_for_its_other_half() {
        use std::io::Write;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let mut read = 0;
        assert!(lines_after(&path, &mut read).unwrap().is_empty());
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(b"one\ntw").unwrap();
        assert_eq!(lines_after(&path, &mut read).unwrap(), ["one"]);
        file.write_all(b"o\nthree\n").unwrap();
        assert_eq!(lines_after(&path, &mut read).unwrap(), ["two", "three"]);
        std::fs::write(&path, "new\n").unwrap();
        assert_eq!(lines_after(&path, &mut read).unwrap(), ["new"], "a file begun anew");
    }
}
