//! The message log of another database goes through the intake once more, at the times at which it came.

use crate::clock::Clock;
use crate::stages::intake::{Delivery, Taken, end_these, take};
use crate::stages::rebuild::{self, Differing, Log, Piece};
use crate::stages::{Context, StageError};

/// Differing answers that are named; all are counted.
const NAMED_MAX: usize = 20;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    pub messages: i64,
    pub taken: Taken,
    /// Runs of the other book, of which nothing is rebuilt.
    pub runs_there: i64,
    pub differing: i64,
    pub named: Vec<Differing>,
}

/// Rebuilds the book of `ctx` from that of `other`, which `name` says which it is. `progress` hears how many messages
/// there are, and then of each piece.
pub async fn rebuild(
    ctx: &Context,
    other: &Context,
    name: &str,
    mut progress: impl FnMut(Progress),
) -> Result<Rebuilt, StageError> {
    let mut log = Log::open(other).await?;
    // Read before anything is marked: a log that our keys do not open is not begun with.
    let mut next = log.next(ctx).await?;
    rebuild::begin(ctx, name, &log).await?;
    progress(Progress::Total(log.messages));
    let mut taken = Taken::default();
    let (messages, runs_there) = (log.messages, log.runs);
    while let Some(piece) = next {
        match piece {
            Piece::Came { at, messages } => {
                let deliveries: Vec<Delivery> = messages
                    .into_iter()
                    .map(|message| Delivery {
                        raw: message.raw,
                        headers: Vec::new(),
                        origin: format!("rebuild#{}", message.name),
                    })
                    .collect();
                taken.add(take(&as_of(ctx, at), &deliveries).await?);
                progress(Progress::Taken(deliveries.len()));
            }
            Piece::WaitsEnded { at, waits } => end_these(&as_of(ctx, at), &waits).await?,
        }
        next = log.next(ctx).await?;
    }
    let (differing, named) = rebuild::finish(ctx, log, NAMED_MAX).await?;
    Ok(Rebuilt { messages, taken, runs_there, differing, named })
}

pub enum Progress {
    Total(i64),
    Taken(usize),
}

/// The time of the log: a wait begins when it began there, a row says when its message came.
fn as_of(ctx: &Context, at: chrono::DateTime<chrono::Utc>) -> Context {
    Context { clock: Clock::Fixed(at), ..ctx.clone() }
}
