//! `pikou rebuild`: the facts of another book, made anew from its messages.

use serde::Serialize;

use super::print::grouped;
use super::{Failure, print};
use crate::app::{self, App};
use crate::clock::Clock;
use crate::config::Settings;
use crate::stages::Context;
use crate::stages::intake::Taken;
use crate::worker;
use crate::worker::rebuild::{Progress, Rebuilt};

#[derive(Serialize)]
struct RebuildReport {
    messages: i64,
    accepted: usize,
    refused: usize,
    stale: usize,
    waiting: usize,
    repeated: usize,
    quarantined: usize,
    runs_not_rebuilt: i64,
    answered_otherwise: i64,
    examples: Vec<Example>,
}

#[derive(Serialize)]
struct Example {
    source: String,
    id: String,
    there: String,
    here: String,
}

pub async fn rebuild(settings: Settings, from: &str, json: bool) -> Result<(), Failure> {
    let other = app::reader(from).await.map_err(|error| Failure::Usage(format!("cannot read from --from: {error}")))?;
    let app = App::open_to_rebuild(settings, Clock::System).await?;
    let other = Context { pool: other, ..app.ctx.clone() };
    let bar = print::bar("messages", 0);
    let progress = |progress| match progress {
        Progress::Total(messages) => bar.set_length(messages as u64),
        Progress::Taken(more) => bar.inc(more as u64),
    };
    let rebuilt = worker::rebuild::rebuild(&app.ctx, &other, &app::database_name(from), progress).await;
    bar.finish_and_clear();
    other.pool.close().await;
    let closed = app.close().await;
    let rebuilt = rebuilt?;
    closed?;
    report(rebuilt, json)
}

fn report(rebuilt: Rebuilt, json: bool) -> Result<(), Failure> {
    let Taken { accepted, refused, stale, waiting, repeated, quarantined } = rebuilt.taken;
    let example = |differing: crate::stages::rebuild::Differing| Example {
        source: differing.source,
        id: differing.id,
        there: differing.there,
        here: differing.here,
    };
    let report = RebuildReport {
        messages: rebuilt.messages,
        accepted,
        refused,
        stale,
        waiting,
        repeated,
        quarantined,
        runs_not_rebuilt: rebuilt.runs_there,
        answered_otherwise: rebuilt.differing,
        examples: rebuilt.named.into_iter().map(example).collect(),
    };
    let bad = report.answered_otherwise > 0;
    if json {
        print::document(&report);
    } else {
        println!(
            "{} messages taken: {} accepted, {} refused, {} stale, {} waiting, {} not understood",
            grouped(report.messages),
            grouped(accepted as i64),
            grouped(refused as i64),
            grouped(stale as i64),
            grouped(waiting as i64),
            grouped(quarantined as i64)
        );
        if report.runs_not_rebuilt > 0 {
            let runs = grouped(report.runs_not_rebuilt);
            println!("{runs} runs were made there. What they collected is not known here: this database makes no runs");
        }
        println!("{} messages were answered otherwise there", grouped(report.answered_otherwise));
        for example in &report.examples {
            println!("  {} {}: there {}, here {}", example.source, example.id, example.there, example.here);
        }
    }
    if bad { Err(Failure::Bad) } else { Ok(()) }
}
