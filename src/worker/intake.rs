//! Messages from the broker, or from a file of JSON lines, go to the intake stage in batches.

use tokio::io::{AsyncBufRead, AsyncBufReadExt};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use super::report;
use crate::app::broker_settings;
use crate::broker::{self, BrokerError, HandlerLater, Incoming};
use crate::contract::binary::CONTENT_TYPE;
use crate::stages::intake::{self, Delivery, Line, Prepared, Taken, origin};
use crate::stages::{Context, StageError};

/// Consumes until shutdown. Without a broker there is nothing to consume.
pub async fn consume(ctx: &Context, shutdown: CancellationToken) -> Result<(), StageError> {
    if ctx.settings.is_embedded_broker() {
        shutdown.cancelled().await;
        return Ok(());
    }
    let prepare = {
        let ctx = ctx.clone();
        move |batch: Vec<Incoming>| {
            let queue = &ctx.settings.broker.queue_in;
            intake::prepare(&ctx, batch.into_iter().map(|message| delivery(queue, message)).collect())
        }
    };
    let handler = |line: &mut Line, batch: Vec<Prepared>| {
        let (ctx, turn) = (ctx.clone(), line.turn());
        async move {
            match intake::commit(&ctx, &batch, turn).await {
                Ok(_) => Ok(()),
                // Whatever it is, the messages stay in the broker: nothing is acknowledged that is not committed.
                Err(error) => {
                    report("intake", &error);
                    Err(HandlerLater { reason: error.to_string() })
                }
            }
        }
    };
    broker::consume_in_line(&broker_settings(&ctx.settings), shutdown, prepare, handler).await.map_err(cannot_consume)
}

/// Sees to it that the broker has what we need, as we need it, before any work begins.
pub async fn prepare(ctx: &Context) -> Result<(), StageError> {
    if ctx.settings.is_embedded_broker() {
        return Ok(());
    }
    broker::topology::prepare(&broker_settings(&ctx.settings)).await.map_err(cannot_consume)
}

/// A broker that is set up otherwise needs a person; one that is away does not.
pub(super) fn cannot_consume(error: BrokerError) -> StageError {
    match error {
        BrokerError::OtherArguments { .. } | BrokerError::Setting { .. } => StageError::Refused(error.to_string()),
        error => StageError::later("consuming from the broker", error),
    }
}

/// A message of a queue, as the intake takes it.
pub(super) fn delivery(queue: &str, message: Incoming) -> Delivery {
    let content_type = message.content_type.map(|kind| (CONTENT_TYPE.to_owned(), kind));
    Delivery {
        raw: message.body,
        headers: content_type.into_iter().chain(message.headers).collect(),
        origin: origin(queue, &message.routing_key),
    }
}

/// Takes every line of a file as a message, through the very same intake. Blank lines are passed over. Two batches are
/// under way at a time, each in a task that nothing cancels.
pub async fn ingest(
    ctx: &Context,
    name: &str,
    mut lines: impl AsyncBufRead + Unpin,
    mut progress: impl FnMut(usize),
) -> Result<Taken, StageError> {
    let mut taken = Taken::default();
    let mut line = Line::default();
    let mut before: Option<JoinHandle<Result<Taken, StageError>>> = None;
    let mut line_no = 0_u64;
    loop {
        let batch = match read_batch(ctx, name, &mut lines, &mut line_no).await {
            Ok(batch) => batch,
            Err(error) => {
                if let Some(before) = before {
                    let _ = before.await;
                }
                return Err(error);
            }
        };
        let next = (!batch.is_empty()).then(|| {
            let (ctx, turn) = (ctx.clone(), line.turn());
            tokio::spawn(async move {
                let preparing = ctx.clone();
                let prepared = ended(tokio::task::spawn_blocking(move || intake::prepare(&preparing, batch)).await);
                intake::commit(&ctx, &prepared, turn).await
            })
        });
        if let Some(before) = before.take() {
            match ended(before.await) {
                Ok(some) => {
                    taken.add(some);
                    progress(some.total());
                }
                Err(error) => {
                    // The next one comes to nothing too, and is not left behind in a transaction.
                    if let Some(next) = next {
                        let _ = next.await;
                    }
                    return Err(error);
                }
            }
        }
        if next.is_none() {
            return Ok(taken);
        }
        before = next;
    }
}

/// What a task has come to. None is ever cancelled, so that an error is a panic, and goes on here.
fn ended<T>(joined: Result<T, JoinError>) -> T {
    joined.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// The next lines with something on them, at most a batch; none at the end of the file.
async fn read_batch(
    ctx: &Context,
    name: &str,
    lines: &mut (impl AsyncBufRead + Unpin),
    line_no: &mut u64,
) -> Result<Vec<Delivery>, StageError> {
    let mut batch = Vec::with_capacity(ctx.settings.intake.batch_max);
    while batch.len() < ctx.settings.intake.batch_max {
        let mut raw = Vec::new();
        let read = read_line(lines, &mut raw, ctx.settings.intake.message_max_bytes).await;
        if !read.map_err(|source| StageError::later(format!("reading {name}"), source))? {
            break;
        }
        *line_no += 1;
        if !raw.iter().all(u8::is_ascii_whitespace) {
            batch.push(Delivery { raw, headers: Vec::new(), origin: format!("{name}:{line_no}") });
        }
    }
    Ok(batch)
}

/// One line without its end. Of a line that is longer than any message may be, no more is kept in memory than shows
/// that it is: the intake then refuses it for its size.
pub(super) async fn read_line(
    lines: &mut (impl AsyncBufRead + Unpin),
    raw: &mut Vec<u8>,
    max: usize,
) -> std::io::Result<bool> {
    let mut any = false;
    loop {
        let piece = lines.fill_buf().await?;
        if piece.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = piece.iter().position(|byte| *byte == b'\n');
        let line = &piece[..end.unwrap_or(piece.len())];
        let room = (max + 1).saturating_sub(raw.len());
        raw.extend_from_slice(&line[..line.len().min(room)]);
        let used = end.map_or(piece.len(), |end| end + 1);
        lines.consume(used);
        if end.is_some() {
            if raw.last() == Some(&b'\r') {
                raw.pop();
            }
            return Ok(true);
        }
    }
}
