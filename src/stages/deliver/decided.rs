//! What a person decides on a request file: to see its bytes, to hand the same bytes over again, or that the bank has
//! them. Who, when and why is a row of its own, written in the transaction of what follows from it.

use super::places::{Left, Places};
use super::{finish_run, flag_and_end, open, rename};
use crate::contract::events::Event;
use crate::stages::decider::Decider;
use crate::stages::lease::Lease;
use crate::stages::{Context, StageError, crash_point, telling};
use crate::store::file_decisions::{self, Decision, NewDecision};
use crate::store::outbox;
use crate::store::request_files::{self, Filter, RequestFile};

/// A file with what was decided on it.
#[derive(Debug, Clone)]
pub struct Shown {
    pub file: RequestFile,
    /// Orders of it that the bank has answered.
    pub answered: i64,
    pub decisions: Vec<Decision>,
}

/// Files behind a key. One more than asked for tells that there are more.
pub async fn list(ctx: &Context, filter: Filter<'_>, after: i64, limit: i64) -> Result<Vec<RequestFile>, StageError> {
    let mut connection = ctx.pool.acquire().await?;
    Ok(request_files::list(&mut connection, filter, after, limit).await?)
}

pub async fn show(ctx: &Context, file_id: i64) -> Result<Shown, StageError> {
    let mut snapshot = ctx.snapshot().await?;
    let file = request_files::get(&mut snapshot, file_id).await?.ok_or_else(|| unknown(file_id))?;
    let answered = file_decisions::answered_orders(&mut snapshot, file_id).await?;
    let decisions = file_decisions::of(&mut snapshot, file_id).await?;
    Ok(Shown { file, answered, decisions })
}

/// The run that a file belongs to: whoever decides on the file needs its lease.
pub async fn run_of(ctx: &Context, file_id: i64) -> Result<i64, StageError> {
    Ok(show(ctx, file_id).await?.file.run_id)
}

/// The sealed bytes, for a person's eyes: who looked, and why, is on record before they are handed out.
pub async fn look(ctx: &Context, file_id: i64, decider: &Decider) -> Result<Vec<u8>, StageError> {
    let file = show(ctx, file_id).await?.file;
    let bytes = open(ctx, &file).await?;
    let mut tx = ctx.begin().await?;
    let file = request_files::lock(&mut tx, file_id).await?;
    file_decisions::decide(&mut tx, &decision(ctx, &file, "look", decider)).await?;
    tx.commit().await?;
    Ok(bytes)
}

/// Hands the same bytes over again. For a file of which a person says that the bank does not have it.
pub async fn resend(ctx: &Context, lease: Lease, file_id: i64, decider: &Decider) -> Result<RequestFile, StageError> {
    let file = show(ctx, file_id).await?.file;
    may_resend(&file)?;
    let bytes = open(ctx, &file).await?;
    let places = super::places_of(ctx, lease, &file)?;
    let later = |source| StageError::later(format!("handing over {} again", file.file_name), source);
    places.write_draft(&bytes).map_err(later)?;
    let decided = decide_resend(ctx, lease, file_id, decider).await;
    let file = match decided {
        Ok(file) => file,
        Err(error) => {
            places.forget().map_err(later)?;
            return Err(error);
        }
    };
    crash_point("deliver: resend decided");
    if !places.promote_draft().map_err(later)? {
        return Err(lease.lost());
    }
    match places.take_over(lease.epoch, &bytes).map_err(later)? {
        // What still lies there is put there anew: it may be that nobody looks at what was there before.
        Left::Whole | Left::Part => rename(lease, &places, &bytes, &file)?,
        Left::Foreign => {
            places.forget().map_err(later)?;
            return Err(StageError::Refused(format!("another file lies under the name {}", file.file_name)));
        }
        Left::Nothing | Left::Newer => return Err(lease.lost()),
    }
    flag_and_end(ctx, lease, &places, &bytes, &file).await?;
    finish_run(ctx, lease).await?;
    Ok(show(ctx, file_id).await?.file)
}

fn may_resend(file: &RequestFile) -> Result<(), StageError> {
    match file.state.as_str() {
        "delivering" | "delivered" => Ok(()),
        "sealed" => Err(StageError::Refused(format!("{} has not gone out yet, and will by itself", file.file_name))),
        state => Err(StageError::Refused(format!("{} is {state}: it has no bytes to be handed over", file.file_name))),
    }
}

async fn decide_resend(
    ctx: &Context,
    lease: Lease,
    file_id: i64,
    decider: &Decider,
) -> Result<RequestFile, StageError> {
    let mut tx = ctx.begin().await?;
    // Applying a result file locks the run, too: it is either seen here, or sees that the file went out again.
    lease.lock(ctx, &mut tx).await?;
    let file = request_files::lock(&mut tx, file_id).await?;
    may_resend(&file)?;
    let answered = file_decisions::answered_orders(&mut tx, file_id).await?;
    if answered > 0 {
        let what = format!("the bank has answered {answered} orders of {}, so it has the file", file.file_name);
        return Err(StageError::Refused(what));
    }
    let decision_id = file_decisions::decide(&mut tx, &decision(ctx, &file, "resend", decider)).await?;
    file_decisions::follow(&mut tx, file_id, decision_id, lease.epoch).await?;
    let file = request_files::lock(&mut tx, file_id).await?;
    tx.commit().await?;
    Ok(file)
}

/// The bank has the file, by other ways than ours: it was carried, or the bank says so.
pub async fn mark_sent(
    ctx: &Context,
    lease: Lease,
    file_id: i64,
    decider: &Decider,
) -> Result<RequestFile, StageError> {
    let file = show(ctx, file_id).await?.file;
    may_mark_sent(&file)?;
    let bytes = open(ctx, &file).await?;
    let places: Places = super::places_of(ctx, lease, &file)?;
    let later = |source| StageError::later(format!("looking for {}", file.file_name), source);
    places.clear().map_err(later)?;
    if places.take_over(i64::MAX, &bytes).map_err(later)? == Left::Whole {
        let what = format!("{} lies in its folder, where the bank may take it: take it away first", file.file_name);
        return Err(StageError::Refused(what));
    }
    let mut tx = ctx.begin().await?;
    lease.lock(ctx, &mut tx).await?;
    let file = request_files::lock(&mut tx, file_id).await?;
    may_mark_sent(&file)?;
    let now = ctx.clock.now();
    let decision_id = file_decisions::decide(&mut tx, &decision(ctx, &file, "mark_sent", decider)).await?;
    request_files::set_delivering(&mut tx, file_id, None, now).await?;
    file_decisions::rest_on(&mut tx, file_id, decision_id).await?;
    let events: Vec<Event> = match request_files::set_delivered(&mut tx, &file, now).await? {
        true => vec![telling::request_file_delivered(&file, &format!("file_decision:{decision_id}"), now)],
        false => return Err(StageError::broken(format!("{} cannot be marked as sent", file.file_name))),
    };
    outbox::append(&mut tx, &ctx.settings.events.source, now, &events).await?;
    crash_point("deliver: marked sent");
    tx.commit().await?;
    finish_run(ctx, lease).await?;
    Ok(show(ctx, file_id).await?.file)
}

fn may_mark_sent(file: &RequestFile) -> Result<(), StageError> {
    match file.state.as_str() {
        "sealed" | "delivering" => Ok(()),
        "delivered" => Err(StageError::Refused(format!("{} is delivered already", file.file_name))),
        state => {
            Err(StageError::Refused(format!("{} is {state}: it has no bytes that a bank could have", file.file_name)))
        }
    }
}

fn decision<'a>(ctx: &Context, file: &'a RequestFile, what: &'static str, decider: &'a Decider) -> NewDecision<'a> {
    NewDecision {
        file_id: file.file_id,
        decided_at: ctx.clock.now(),
        decided_by: decider.by(),
        reason: decider.reason(),
        what,
        state_then: &file.state,
    }
}

fn unknown(file_id: i64) -> StageError {
    StageError::Refused(format!("there is no request file {file_id}"))
}
