//! A result file becomes paid records, failures and discrepancies: every row ends in exactly one outcome.
//!
//! In: the bytes of a file, and whom it came from. Out: the file is applied, refused whole, or was known.
//! *Commits:* first the bytes, before anything is read from them; then everything the file says, at once.
//! *If it dies:* a file that is `received` is read again from its kept bytes; after the second commit the same bytes
//! are recognised, under whatever name they come.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use sqlx::{Postgres, Transaction};

use super::{Context, StageError, crash_point, telling};
use crate::contract::events::{Data, Event, EventType, ResultFileData, Subject};
use crate::crypt::{Purpose, hex};
use crate::domain::outcome::CodeTable;
use crate::gateway::{Destination, ReadResult, Refused, RefusedKind, ResultHead, ResultRow};
use crate::store::result_files::{self, Line, ResultFile};
use crate::store::{attempts, gates, outbox, request_files, runs};

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
    from: &dyn Destination,
    file_name: &str,
    bytes: &[u8],
) -> Result<Outcome, StageError> {
    let sha256 = Sha256::digest(bytes);
    let mut tx = ctx.begin().await?;
    let content = ctx.sealer(&mut tx).await?.seal(Purpose::FileContent, bytes);
    let (gateway, bank_code, now) = (from.gateway(), from.bank_code(), ctx.clock.now());
    let (file, _) = result_files::find_or_keep(&mut tx, gateway, bank_code, file_name, &sha256, &content, now).await?;
    tx.commit().await?;
    crash_point("reconcile: kept");
    // A file that was refused is read again: the layout or the code table may have been mended.
    if file.state == "applied" {
        return Ok(Outcome::Repeated(file));
    }
    apply(ctx, from, &file, bytes).await
}

/// Applies the files that a worker kept and could not apply any more. One that cannot be applied does not keep the
/// others, or those that come in now, from it.
pub async fn resume(ctx: &Context) -> Result<Vec<Outcome>, StageError> {
    let mut connection = ctx.pool.acquire().await?;
    let received = result_files::received(&mut connection).await?;
    drop(connection);
    let mut outcomes = Vec::new();
    for result_file_id in received {
        match resume_file(ctx, result_file_id).await {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) if error.helps_later() => return Err(error),
            Err(error) => tracing::error!(result_file_id, %error, "a kept result file cannot be applied"),
        }
    }
    Ok(outcomes)
}

async fn resume_file(ctx: &Context, result_file_id: i64) -> Result<Outcome, StageError> {
    let mut connection = ctx.pool.acquire().await?;
    let file = result_files::get(&mut connection, result_file_id).await?;
    let content = result_files::content(&mut connection, result_file_id).await?;
    drop(connection);
    let bytes = ctx.keys.open(Purpose::FileContent, &content)?;
    let Some(from) = ctx.settings.destination(&file.gateway, &file.bank_code) else {
        return Err(StageError::broken(format!("{} {} is no longer configured", file.gateway, file.bank_code)));
    };
    apply(ctx, from, &file, &bytes).await
}

async fn apply(ctx: &Context, from: &dyn Destination, file: &ResultFile, bytes: &[u8]) -> Result<Outcome, StageError> {
    // The whole file is checked before a row of it counts.
    let opened = from.result(&file.file_name).and_then(|format| Ok((format.open(bytes)?, format)));
    let format = match opened {
        Ok((head, format)) => match falls_short(ctx, from, &head).await? {
            None => format,
            Some(refused) => return refuse(ctx, file, &refused).await,
        },
        Err(refused) => return refuse(ctx, file, &refused).await,
    };
    let now = ctx.clock.now();
    let mut tx = ctx.begin().await?;
    gates::own(&mut tx).await?;
    let file = result_files::lock(&mut tx, file.result_file_id).await?;
    if file.state == "applied" {
        return Ok(Outcome::Repeated(file));
    }
    stage_rows(&mut tx, &*format, from.codes(), bytes).await?;
    if result_files::flag_reused_name(&mut tx, &file, now).await? {
        tracing::warn!(file = file.file_name, "a file of this name came before with other bytes");
    }
    let run_ids = result_files::judge_staged(&mut tx, &file).await?;
    let mut events = note_handed_over(&mut tx, &run_ids, &file, now).await?;
    let file = result_files::book_judged(&mut tx, &file, now).await?;
    withdraw_disputed(ctx, &mut tx, &file, now).await?;
    runs::set_settling(&mut tx, &run_ids).await?;
    events.push(result_file_event(EventType::ResultFileApplied, &file, now));
    for run_id in run_ids {
        events.extend(close_run(&mut tx, run_id, &file, now).await?);
    }
    outbox::append(&mut tx, &ctx.settings.events.source, now, &events).await?;
    crash_point("reconcile: before commit");
    tx.commit().await?;
    crash_point("reconcile: applied");
    Ok(Outcome::Applied(file))
}

/// Where a result file answers one request file in full, it is that of a file that was sealed, with a row for each order.
async fn falls_short(ctx: &Context, from: &dyn Destination, head: &ResultHead) -> Result<Option<Refused>, StageError> {
    let Some(name) = head.request_file_name.as_deref().filter(|_| from.answers_in_full()) else { return Ok(None) };
    let sealed = request_files::items_sealed(&mut *ctx.pool.acquire().await?, from.gateway(), name).await?;
    let (kind, reason) = match sealed {
        None => (RefusedKind::WrongFile, "no request file of this batch was ever sealed".to_owned()),
        Some(items) if items as u64 == head.count => return Ok(None),
        Some(items) => {
            (RefusedKind::TotalsDiffer, format!("{} rows for the {items} orders of the request file", head.count))
        }
    };
    Ok(Some(Refused { kind, line: 1, column: None, reason }))
}

async fn stage_rows(
    tx: &mut Transaction<'static, Postgres>,
    format: &dyn ReadResult,
    codes: &CodeTable,
    bytes: &[u8],
) -> Result<(), StageError> {
    let mut staging = result_files::stage(tx).await?;
    for row in format.rows(bytes) {
        match &row {
            ResultRow::Read { line_no, order_no, amount, code, gateway_txn_no, settled_at, .. } => {
                let class = codes.meaning(code).map(|meaning| meaning.class.as_str());
                let line = Line {
                    line_no: *line_no,
                    order_no,
                    amount: Some(amount.decimal()),
                    code,
                    class,
                    gateway_txn_no: *gateway_txn_no,
                    settled_at: *settled_at,
                    fault: None,
                };
                staging.line(&line).await?;
            }
            ResultRow::Unparsable { line_no, column, reason } => {
                let column = column.map_or_else(String::new, |column| format!("column {column}: "));
                let fault = format!("{column}{reason}");
                staging.line(&Line { line_no: *line_no, fault: Some(&fault), ..Line::default() }).await?;
            }
        }
    }
    staging.finish().await?;
    Ok(())
}

/// The bank answers orders of a file whose hand-over was interrupted, or that somebody carried: so it has the file, and
/// it must not be handed over again.
async fn note_handed_over(
    tx: &mut Transaction<'static, Postgres>,
    run_ids: &[i64],
    file: &ResultFile,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<Vec<Event>, StageError> {
    let mut events = Vec::new();
    runs::lock_all(tx, run_ids).await?;
    let causation = format!("result_file:{}", file.result_file_id);
    for file_id in result_files::answered_undelivered(tx).await? {
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
    tx: &mut Transaction<'static, Postgres>,
    file: &ResultFile,
    now: DateTime<Utc>,
) -> Result<(), StageError> {
    if file.discrepancies == Some(0) || !runs::any_unsealed(tx).await? {
        return Ok(());
    }
    let causation = format!("result_file:{}", file.result_file_id);
    let mut behind = String::new();
    loop {
        let payers = result_files::disputed_payers(tx, &behind, PAYERS_MAX).await?;
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
    let event = result_file_event(EventType::ResultFileRefused, &file, now);
    outbox::append(&mut tx, &ctx.settings.events.source, now, &[event]).await?;
    tx.commit().await?;
    tracing::warn!(file = file.file_name, %refused, "a result file is refused; nothing of it is applied");
    Ok(Outcome::Refused(file))
}

/// A run closes when every attempt is final or waits for a person. In the transaction of the file that answers the last
/// one: after it nobody would look at the run again.
async fn close_run(
    tx: &mut Transaction<'static, Postgres>,
    run_id: i64,
    file: &ResultFile,
    now: DateTime<Utc>,
) -> Result<Option<Event>, StageError> {
    let Some(run) = runs::close_if_done(tx, run_id, now).await? else { return Ok(None) };
    let files = runs::files(tx, run_id).await?;
    let causation = format!("result_file:{}", file.result_file_id);
    Ok(Some(telling::run_changed(EventType::RunClosed, &run, files, &causation, now)))
}

fn result_file_event(kind: EventType, file: &ResultFile, now: DateTime<Utc>) -> Event {
    Event {
        kind,
        subject: Subject::ResultFile(file.result_file_id),
        sequence: file.sequence,
        causation: format!("result_file:{}", file.result_file_id),
        time: now,
        data: Data::ResultFile(ResultFileData {
            result_file_id: file.result_file_id,
            gateway: file.gateway.clone(),
            bank_code: telling::bank_code(&file.bank_code),
            file_name: file.file_name.clone(),
            sha256: hex(&file.sha256),
            rows: file.rows,
            applied: file.applied,
            repeated: file.repeated,
            discrepancies: file.discrepancies,
            refused: file.refused_as.clone(),
            line: file.refused_line,
            reason: file.refused_reason.clone(),
        }),
    }
}
