//! What `pikou serve` does all day: each loop looks at the world, lets a stage do what is due, and looks again.
//! A loop stops between two pieces of work, never within one; what it had not begun the next start finds.

pub mod alarms;
pub mod companions;
pub mod files;
pub mod inboxes;
pub mod intake;
pub mod quarantine;
pub mod rebuild;
pub mod relay;
pub mod runs;
pub mod sending;
pub mod tail;

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::stages::{self, Context, StageError};

/// How often the clock is looked at for firings and unfinished runs.
const RUNS_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether a year opens or is over.
const YEARS_EVERY: Duration = Duration::from_secs(60);
/// How often it is looked for what should be there and is not.
const ABSENCES_EVERY: Duration = Duration::from_secs(60);
/// How often ended waits are looked for.
const WAITS_EVERY: Duration = Duration::from_secs(10);
/// How often it is looked whether a day has had its warnings.
const ALARMS_EVERY: Duration = Duration::from_secs(60);
/// Pause after a fault, doubled up to the maximum.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Serves until `shutdown`. Ends with an error only if the broker cannot be reached at the start, or is not set up as
/// we need it.
pub async fn serve(ctx: &Context, shutdown: CancellationToken) -> Result<(), StageError> {
    match shutdown.run_until_cancelled(intake::prepare(ctx)).await {
        None => return Ok(()),
        Some(prepared) => prepared?,
    }
    let mut firings = runs::Firings::default();
    let mut inboxes = inboxes::Inboxes::default();
    let mut alarms = alarms::Alarms::default();
    let every_scan = Duration::from_secs(ctx.settings.results.scan_seconds);
    let (consumed, drained, (), (), (), (), (), (), ()) = tokio::join!(
        or_stop(&shutdown, intake::consume(ctx, shutdown.clone())),
        or_stop(&shutdown, quarantine::consume_dead(ctx, shutdown.clone())),
        relay::run(ctx, shutdown.clone()),
        repeat("years", YEARS_EVERY, &shutdown, async || stages::turning::turn_years(ctx).await),
        repeat("runs", RUNS_EVERY, &shutdown, async || firings.look(ctx).await),
        repeat("inboxes", every_scan, &shutdown, async || inboxes.look(ctx).await),
        repeat("alarms", ALARMS_EVERY, &shutdown, async || alarms.look(ctx).await.map(drop)),
        repeat("absences", ABSENCES_EVERY, &shutdown, async || stages::absence::look(ctx).await.map(drop)),
        repeat("waits", WAITS_EVERY, &shutdown, async || stages::intake::end_waits(ctx).await.map(drop)),
    );
    consumed.and(drained)
}

/// Work without which the others stop, too.
async fn or_stop(
    shutdown: &CancellationToken,
    work: impl Future<Output = Result<(), StageError>>,
) -> Result<(), StageError> {
    let done = work.await;
    if done.is_err() {
        shutdown.cancel();
    }
    done
}

/// Does a piece of work again and again. A fault is logged and pauses this loop only, longer each time.
async fn repeat<W>(what: &str, every: Duration, shutdown: &CancellationToken, mut work: W)
where
    W: AsyncFnMut() -> Result<(), StageError>,
{
    let mut pause = PAUSE_FIRST;
    while !shutdown.is_cancelled() {
        let wait = match work().await {
            Ok(()) => {
                pause = PAUSE_FIRST;
                every
            }
            Err(error) => {
                report(what, &error);
                pause = (pause * 2).min(PAUSE_MAX);
                pause
            }
        };
        pause_until(shutdown, tokio::time::sleep(wait)).await;
    }
}

/// Waits, but not beyond the shutdown.
async fn pause_until(shutdown: &CancellationToken, wait: impl Future<Output = ()>) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = wait => {}
    }
}

/// Says an error once, with its causes.
pub fn report(what: &str, error: &StageError) {
    let text = chain(error);
    if error.helps_later() {
        tracing::warn!(what, "{text}; trying again");
    } else {
        tracing::error!(what, "{text}");
    }
}

/// An error and its causes in one line. Some repeat their cause in their own words.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |error| error.source()) {
        let cause = cause.to_string();
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
