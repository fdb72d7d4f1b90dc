//! `pikou publish`: messages go to the broker with confirms, and each line that it does not have is named.

use serde::Serialize;
use tokio::io::BufReader;

use super::{Failure, print};
use crate::config::Settings;
use crate::contract::binary::Mode;
use crate::worker::sending::{Fault, Sent, send};

#[derive(Serialize)]
struct PublishReport {
    messages: u64,
    confirmed: u64,
    unroutable: u64,
    refused: u64,
    not_events: u64,
    faults: Vec<FaultReport>,
}

#[derive(Serialize)]
struct FaultReport {
    line: u64,
    fault: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
}

impl FaultReport {
    fn new(line: u64, fault: Fault) -> FaultReport {
        let (fault, reason, position) = match fault {
            Fault::Unroutable => ("unroutable", None, None),
            Fault::Refused => ("refused", None, None),
            Fault::NotAnEvent { reason, position } => ("not_an_event", Some(reason), Some(position)),
        };
        FaultReport { line, fault, reason, position: position.filter(|position| !position.is_empty()) }
    }
}

pub async fn publish(settings: &Settings, file: &str, mode: Mode, json: bool) -> Result<(), Failure> {
    if settings.is_embedded_broker() {
        let what = "broker.url names no broker to publish to; `pikou ingest` takes messages from a file";
        return Err(Failure::Usage(what.into()));
    }
    let bar = print::bar("messages", 0);
    let mut faults = Vec::new();
    let faulty = |line, fault| faults.push(FaultReport::new(line, fault));
    let progress = |more: usize| bar.inc(more as u64);
    let sent = if file == "-" {
        send(settings, "stdin", BufReader::new(tokio::io::stdin()), mode, faulty, progress).await
    } else {
        let open = tokio::fs::File::open(file).await;
        let open = open.map_err(|error| Failure::Usage(format!("cannot read {file}: {error}")))?;
        send(settings, file, BufReader::new(open), mode, faulty, progress).await
    };
    bar.finish_and_clear();
    faults.sort_by_key(|fault| fault.line);
    for FaultReport { line, fault, reason, position } in &faults {
        let reason = reason.iter().chain(position).map(String::as_str).collect::<Vec<_>>().join(", ");
        eprintln!("line {line}: {fault}{}{reason}", if reason.is_empty() { "" } else { ": " });
    }
    let Sent { lines: messages, confirmed, unroutable, refused, not_events } = sent?;
    if json {
        print::document(&PublishReport { messages, confirmed, unroutable, refused, not_events, faults });
    } else {
        println!(
            "{messages} messages: {confirmed} confirmed, {unroutable} unroutable, {refused} refused by the broker, \
             {not_events} not events"
        );
    }
    if unroutable + refused > 0 {
        return Err(Failure::Bad);
    }
    if not_events > 0 { Err(Failure::Refused) } else { Ok(()) }
}
