//! Lines of structured events are sent to the exchange that messages come in by, as an upstream system would: for tests
//! and for sending something by hand. Called by `pikou publish`; needs no database.

use tokio::io::AsyncBufRead;

use super::intake::read_line;
use crate::app::broker_settings;
use crate::broker::{Letter, Sender, Verdict};
use crate::config::Settings;
use crate::contract::binary::{self, Mode, Parts};
use crate::contract::envelope;
use crate::stages::StageError;

/// Lines sent at a time; each of them waits for the confirms of all.
const LINES_MAX: usize = 1000;
/// AMQP's limit for ids and routing keys.
const NAME_MAX: usize = 255;
/// What every message is in structured mode.
const STRUCTURED: &str = "application/cloudevents+json";

/// What became of the lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    pub lines: u64,
    pub confirmed: u64,
    pub unroutable: u64,
    pub refused: u64,
    pub not_events: u64,
}

/// Why a line is not in the broker; its content is not repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    Unroutable,
    Refused,
    NotAnEvent { reason: String, position: String },
}

/// Sends every line; blank ones are passed over. `faulty` hears of each line that the broker does not have, by its
/// number, and `progress` how many lines are dealt with.
pub async fn send(
    settings: &Settings,
    name: &str,
    mut lines: impl AsyncBufRead + Unpin,
    mode: Mode,
    mut faulty: impl FnMut(u64, Fault),
    mut progress: impl FnMut(usize),
) -> Result<Sent, StageError> {
    let max = settings.intake.message_max_bytes;
    let lost = |line_no: u64, confirmed: u64| {
        let what =
            format!("sending {name}: {confirmed} confirmed, nothing is known of what follows, up to line {line_no}");
        move |error| StageError::later(what, error)
    };
    let mut sender = Sender::connect(&broker_settings(settings)).await.map_err(lost(0, 0))?;
    let mut sent = Sent::default();
    let mut batch: Vec<(u64, Letter)> = Vec::new();
    let mut line_no = 0;
    loop {
        let mut raw = Vec::new();
        let read = read_line(&mut lines, &mut raw, max).await;
        let more = read.map_err(|source| StageError::later(format!("reading {name}"), source))?;
        if more {
            line_no += 1;
            if !raw.iter().all(u8::is_ascii_whitespace) {
                sent.lines += 1;
                match letter(raw, mode, max) {
                    Ok(letter) => batch.push((line_no, letter)),
                    Err(fault) => {
                        sent.not_events += 1;
                        progress(1);
                        faulty(line_no, fault);
                    }
                }
            }
        }
        if batch.len() >= LINES_MAX || (!more && !batch.is_empty()) {
            let (numbers, letters): (Vec<u64>, Vec<Letter>) = batch.drain(..).unzip();
            let verdicts = sender.send(letters).await.map_err(lost(line_no, sent.confirmed))?;
            progress(verdicts.len());
            for (line_no, verdict) in numbers.into_iter().zip(verdicts) {
                match verdict {
                    Verdict::Confirmed => sent.confirmed += 1,
                    Verdict::Unroutable => {
                        sent.unroutable += 1;
                        faulty(line_no, Fault::Unroutable);
                    }
                    Verdict::Refused => {
                        sent.refused += 1;
                        faulty(line_no, Fault::Refused);
                    }
                }
            }
        }
        if !more {
            sender.close().await;
            return Ok(sent);
        }
    }
}

/// The message that a line becomes. Its routing key is the message's name.
fn letter(raw: Vec<u8>, mode: Mode, max: usize) -> Result<Letter, Fault> {
    let no_event = |reason: String, position: String| Fault::NotAnEvent { reason, position };
    let envelope = envelope::read(&raw, max).map_err(|fault| no_event(fault.reason, fault.position))?;
    let kind = envelope.kind.strip_prefix("pikou.in.").unwrap_or(&envelope.kind);
    let routing_key = kind.strip_suffix(".v1").unwrap_or(kind).to_owned();
    for (position, text) in [("type", &routing_key), ("id", &envelope.id)] {
        if text.len() > NAME_MAX {
            return Err(no_event("too long for AMQP".to_owned(), position.to_owned()));
        }
    }
    let parts = match mode {
        Mode::Structured => Parts { content_type: Some(STRUCTURED.to_owned()), headers: Vec::new(), body: raw },
        Mode::Binary => binary::split(&raw).map_err(|fault| no_event(fault.reason, fault.position))?,
    };
    let Parts { content_type, headers, body } = parts;
    Ok(Letter { routing_key, message_id: envelope.id, content_type, headers, body })
}
