//! `pikou events tail`: what is published, a line each, as it is published.

use std::io::Write;
use std::ops::ControlFlow;

use clap::Subcommand;
use serde_json::Value;

use super::{Failure, serve};
use crate::config::Settings;
use crate::worker::tail::{Told, short_name, tail};

#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Follow what is published from now on, an event a line, until Ctrl-C. With a broker this is a queue of its own:
    /// if it is the only one bound to the exchange, the events count as published
    Tail {
        /// Only events of these types; `*` is one word, `#` any number of words
        #[arg(long, value_name = "PATTERN", default_values_t = ["#".to_owned()])]
        pattern: Vec<String>,
    },
}

pub async fn events(settings: &Settings, command: EventsCommand, json: bool) -> Result<(), Failure> {
    let EventsCommand::Tail { pattern } = command;
    let shutdown = serve::until_told(|| ())?;
    let mut out = std::io::stdout();
    let told = |told: Told| {
        let written = match told {
            Told::Event(event) if json => writeln!(out, "{event}"),
            Told::Event(event) => writeln!(out, "{}", line(&event)),
            Told::Lost(why) => {
                eprintln!("{why}; events may be missing here, trying again");
                Ok(())
            }
            Told::Listening => {
                eprintln!("following what is published from now on");
                Ok(())
            }
        };
        // A reader that has gone away is no reason to fail.
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    Ok(tail(settings, &pattern, &shutdown, told).await?)
}

/// Time, type, subject, sequence, causation.
fn line(event: &Value) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or("-");
    let (time, subject, causation) = (text("time"), text("subject"), text("causation"));
    format!("{time} {} {subject} {} {causation}", short_name(event), event["sequence"])
}
