//! A result file becomes paid records, failures and discrepancies: every row ends in exactly one outcome.
//!
//! In: the bytes of a file, and whom it came from. Out: the file is applied, refused whole, or was known.
//! *Commits:* first the bytes, before anything is read from them; then, once all of it is read and its totals hold, range
//! by range what its lines say, each with the mark how far it has come. *If it dies:* a file that is not at its end is read
//! again from its kept bytes and goes on behind its mark; after the last commit the same bytes are recognised, under
//! whatever name they come.

use std::io::Read;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{Connection, PgConnection};

use super::spool::Spool;
use super::staging::{Staged, Way};
use super::{Context, StageError, bill, crash_point, staging, telling};
use crate::contract::events::{Event, EventType};
use crate::gateway::{Answers, Beside, Covers, Refused};
use crate::store::result_files::{self, ResultFile};
use crate::store::{absences, attempts, bill_news, bills, file_rows, gates, outbox, request_files, results, runs};

mod keeping;
pub mod preview;
mod reading;

use keeping::keep;
pub use keeping::kept;
use reading::{read, take};

/// Payers whose planned deductions are looked at in one statement.
const PAYERS_MAX: i64 = 5_000;

/// What became of a file.
#[derive(Debug, Clone)]
pub enum Outcome {
    Applied(ResultFile),
    /// These bytes were applied before; nothing happened.
    Repeated(ResultFile),
    /// Nothing of it is applied; the bytes are kept.
    Refused(ResultFile),
}

impl Outcome {
    pub fn as_str(&self) -> &'static str {
        match self {
            Outcome::Applied(_) => "applied",
            Outcome::Repeated(_) => "repeated",
            Outcome::Refused(_) => "refused",
        }
    }

    pub fn file(&self) -> &ResultFile {
        match self {
            Outcome::Applied(file) | Outcome::Repeated(file) | Outcome::Refused(file) => file,
        }
    }
}

/// Takes a file in and applies it.
pub async fn reconcile(
    ctx: &Context,
    from: &dyn Answers,
    file_name: &str,
    source: impl Read + Send,
) -> Result<Outcome, StageError> {
    reconcile_with(ctx, from, file_name, source, &[]).await
}

/// The same with what lay beside the file.
pub async fn reconcile_with(
    ctx: &Context,
    from: &dyn Answers,
    file_name: &str,
    source: impl Read + Send,
    beside: &[Beside],
) -> Result<Outcome, StageError> {
    let (mut spool, said) = take(ctx, from, file_name, source, beside)?;
    let file = keep(ctx, from, file_name, &mut spool, &said).await?;
    crash_point("reconcile: kept");
    // A file that was refused is read again: the layout or the code table may have been mended. So is one that was undone.
    if file.state == "applied" {
        if file.rows == Some(0) {
            cover_another_day(ctx, from, &file, file_name, spool).await?;
        }
        return Ok(Outcome::Repeated(file));
    }
    apply(ctx, from, file, spool).await
}

/// Bills of days without any payment are all the same, and which day it is only their name says: each of them counts.
async fn cover_another_day(
    ctx: &Context,
    from: &dyn Answers,
    file: &ResultFile,
    file_name: &str,
    spool: Spool,
) -> Result<(), StageError> {
    let mut connection = ctx.pool.acquire().await?;
    let read = staging::stage(ctx, &mut connection, from, file_name, None, spool).await?;
    staging::end(connection).await?;
    let Ok(Covers::Payments { from, to }) = read.map(|staged| staged.head.covers) else { return Ok(()) };
    let mut tx = ctx.begin().await?;
    gates::own(&mut tx).await?;
    // It may have been undone meanwhile.
    if result_files::lock(&mut tx, file.result_file_id).await?.state != "applied" {
        return Ok(());
    }
    let events = cover(&mut tx, file, from, to, ctx.clock.now()).await?;
    outbox::append(&mut tx, &ctx.settings.events.source, ctx.clock.now(), &events).await?;
    Ok(tx.commit().await?)
}

/// An applied bill has every payment of these days: none of them is missing any more.
async fn cover(
    tx: &mut PgConnection,
    file: &ResultFile,
    from: NaiveDate,
    to: NaiveDate,
    now: DateTime<Utc>,
) -> Result<Vec<Event>, StageError> {
    bills::cover(tx, file, from, to).await?;
    let explained = absences::explain_missing_files(tx, file, from, to).await?;
    Ok(explained.iter().map(|row| telling::explained(row, now)).collect())
}

/// Applies the files that a worker kept and could not apply any more. One that cannot be applied does not keep the
/// others, or those that come in now, from it.
pub async fn resume(ctx: &Context) -> Result<Vec<Outcome>, StageError> {
    let mut connection = ctx.pool.acquire().await?;
    let unfinished = result_files::unfinished(&mut connection).await?;
    drop(connection);
    let mut outcomes = Vec::new();
    for result_file_id in unfinished {
        match resume_file(ctx, result_file_id).await {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) if error.helps_later() => return Err(error),
            Err(error) => tracing::error!(result_file_id, %error, "a kept result file cannot be applied"),
        }
    }
    Ok(outcomes)
}

async fn resume_file(ctx: &Context, result_file_id: i64) -> Result<Outcome, StageError> {
    let file = result_files::get(&mut *ctx.pool.acquire().await?, result_file_id).await?;
    let spool = kept(ctx, &file).await?;
    let Some(from) = ctx.settings.answerer(&file.gateway, &file.bank_code, &file.file_name) else {
        return Err(StageError::broken(format!("{} {} is no longer configured", file.gateway, file.bank_code)));
    };
    apply(ctx, from, file, spool).await
}

async fn apply(ctx: &Context, from: &dyn Answers, file: ResultFile, spool: Spool) -> Result<Outcome, StageError> {
    let mut connection = ctx.pool.acquire().await?;
    let outcome = match read(ctx, &mut connection, from, &file, spool).await? {
        Ok(staged) => {
            file_rows::declare(&mut connection, file.result_file_id, &staged.declared()).await?;
            book(ctx, &mut connection, file, &staged).await
        }
        Err(refused) => refuse(ctx, &file, &refused).await,
    };
    // Where something went wrong, whoever stages next on this connection clears them away.
    if outcome.is_ok() {
        staging::end(connection).await?;
    }
    outcome
}

/// Books what is staged, range by range.
async fn book(
    ctx: &Context,
    connection: &mut PgConnection,
    mut file: ResultFile,
    staged: &Staged,
) -> Result<Outcome, StageError> {
    loop {
        let mut tx = connection.begin().await?;
        gates::own(&mut tx).await?;
        // Another worker may have come further with it meanwhile.
        file = result_files::lock(&mut tx, file.result_file_id).await?;
        if file.state == "applied" {
            return Ok(Outcome::Repeated(file));
        }
        let range = next_range(ctx, &mut tx, &file, staged).await?;
        file = book_range(ctx, &mut tx, &file, staged, range).await?;
        crash_point("reconcile: before commit");
        tx.commit().await?;
        if file.state == "applied" {
            crash_point("reconcile: applied");
            return Ok(Outcome::Applied(file));
        }
        crash_point("reconcile: range booked");
    }
}

/// Lines that are booked in one transaction.
#[derive(Debug, Clone, Copy)]
struct Range {
    through: i64,
    is_last: bool,
}

async fn next_range(
    ctx: &Context,
    tx: &mut PgConnection,
    file: &ResultFile,
    staged: &Staged,
) -> Result<Range, StageError> {
    let range_max = ctx.settings.results.range_max;
    let (through, is_last) = match staged.way() {
        Way::Results => {
            let through = staged.last_line.min(file.booked_through + range_max);
            (through, through == staged.last_line)
        }
        Way::Bill => bills::next_range(tx, staged.last_line, file.booked_through, range_max).await?,
    };
    Ok(Range { through, is_last })
}

/// Books the lines behind the file's mark, up to the end of a range; with the last ones the file is applied.
async fn book_range(
    ctx: &Context,
    tx: &mut PgConnection,
    file: &ResultFile,
    staged: &Staged,
    range: Range,
) -> Result<ResultFile, StageError> {
    let (now, through, way) = (ctx.clock.now(), range.through, staged.way());
    if file.booked_through == 0 && result_files::flag_reused_name(tx, file, now).await? {
        tracing::warn!(file = file.file_name, "a file of this name came before with other bytes");
    }
    let run_ids = match way {
        Way::Results => results::judge(tx, file, through).await?,
        Way::Bill => {
            let ours = ctx.settings.bill_rules(&file.gateway).map_or(&[][..], |rules| &rules.ours);
            bills::judge(tx, file, through, staged.last_line, ours).await?
        }
    };
    let mut events = note_handed_over(tx, &run_ids, file, now).await?;
    file_rows::count(tx, file).await?;
    let booked = match way {
        Way::Results => results::book(tx, file, through, now).await?,
        Way::Bill => bill::book(ctx, tx, file, through, now).await?,
    };
    if booked.discrepancies > 0 {
        withdraw_disputed(ctx, tx, file, way, now).await?;
    }
    let explained = bill_news::explain_absences(tx, file).await?;
    events.extend(explained.iter().map(|row| telling::explained(row, now)));
    runs::set_settling(tx, &run_ids).await?;
    let file = if range.is_last {
        let file = result_files::set_applied(tx, file, &booked, now).await?;
        if let Covers::Payments { from, to } = staged.head.covers {
            events.extend(cover(tx, &file, from, to, now).await?);
        }
        events.push(telling::result_file(EventType::ResultFileApplied, &file, now));
        // Whichever run the file was about, in this range or an earlier one.
        for run_id in runs::settling(tx, &file.gateway, &file.bank_code).await? {
            events.extend(close_run(tx, run_id, &file, now).await?);
        }
        file
    } else {
        result_files::set_staged(tx, file, &booked).await?
    };
    outbox::append(tx, &ctx.settings.events.source, now, &events).await?;
    Ok(file)
}

/// The bank answers orders of a file whose hand-over was interrupted, or that somebody carried: so it has the file, and
/// it must not be handed over again.
async fn note_handed_over(
    tx: &mut PgConnection,
    run_ids: &[i64],
    file: &ResultFile,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<Vec<Event>, StageError> {
    let mut events = Vec::new();
    runs::lock_all(tx, run_ids).await?;
    let causation = format!("result_file:{}", file.result_file_id);
    for file_id in results::answered_undelivered(tx).await? {
        request_files::set_delivering(tx, file_id, None, now).await?;
        let request = request_files::lock(tx, file_id).await?;
        if request_files::set_delivered(tx, &request, now).await? {
            events.push(telling::request_file_delivered(&request, &causation, now));
        }
    }
    for run_id in run_ids {
        if let Some(run) = runs::set_sent(tx, *run_id, now).await? {
            let files = runs::files(tx, *run_id).await?;
            events.push(telling::run_changed(EventType::RunSent, &run, files, &causation, now));
        }
    }
    Ok(events)
}

/// What the file says of earlier orders may put into doubt what a run has planned since: it is withdrawn, as long as it
/// may be.
async fn withdraw_disputed(
    ctx: &Context,
    tx: &mut PgConnection,
    file: &ResultFile,
    way: Way,
    now: DateTime<Utc>,
) -> Result<(), StageError> {
    if !runs::any_unsealed(tx).await? {
        return Ok(());
    }
    let causation = format!("result_file:{}", file.result_file_id);
    let mut behind = String::new();
    loop {
        let payers = match way {
            Way::Results => results::disputed_payers(tx, &behind, PAYERS_MAX).await?,
            Way::Bill => bills::disputed_payers(tx, &behind, PAYERS_MAX).await?,
        };
        let Some(last) = payers.last() else { return Ok(()) };
        let keys: Vec<&str> = payers.iter().map(String::as_str).collect();
        let withdrawn = attempts::withdraw_outdated_of_payers(tx, &keys).await?;
        let events: Vec<Event> = withdrawn.iter().flat_map(|row| telling::withdrawn(row, &causation, now)).collect();
        outbox::append(tx, &ctx.settings.events.source, now, &events).await?;
        behind.clone_from(last);
    }
}

async fn refuse(ctx: &Context, file: &ResultFile, refused: &Refused) -> Result<Outcome, StageError> {
    let now = ctx.clock.now();
    let mut tx = ctx.begin().await?;
    let known = result_files::lock(&mut tx, file.result_file_id).await?;
    if known.state == "applied" {
        return Ok(Outcome::Repeated(known));
    }
    if known.state == "staged" {
        let what = format!("result file {} is half booked and no longer reads: {refused}", file.result_file_id);
        return Err(StageError::broken(what));
    }
    let column = refused.column.map(|column| column as i64);
    let file = result_files::set_refused(
        &mut tx,
        file.result_file_id,
        refused.kind.as_str(),
        refused.line as i64,
        column,
        &refused.reason,
    )
    .await?;
    let event = telling::result_file(EventType::ResultFileRefused, &file, now);
    outbox::append(&mut tx, &ctx.settings.events.source, now, &[event]).await?;
    tx.commit().await?;
    tracing::warn!(file = file.file_name, %refused, "a result file is refused; nothing of it is applied");
    Ok(Outcome::Refused(file))
}

/// A run closes when every attempt is final or waits for a person. In the transaction of the file that answers the last
/// one: after it nobody would look at the run again.
async fn close_run(
    tx: &mut PgConnection,
    run_id: i64,
    file: &ResultFile,
    now: DateTime<Utc>,
) -> Result<Option<Event>, StageError> {
    let Some(run) = runs::close_if_done(tx, run_id, now).await? else { return Ok(None) };
    let files = runs::files(tx, run_id).await?;
    let causation = format!("result_file:{}", file.result_file_id);
    Ok(Some(telling::run_changed(EventType::RunClosed, &run, files, &causation, now)))
}
