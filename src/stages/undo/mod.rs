//! An applied result file is put back, while nothing rests on it.
//!
//! In: a file, with who decides, why, and who else where two are needed. Out: the book as it was before the file, and the
//! events that say so; what the file had booked is kept beside the book, row by row. Its bytes may then be applied again,
//! as if they had not come. Or everything that rests on it, and nothing happened. Called by `pikou reconcile undo`.
//! *Commits:* once, under the gate, whatever the file's size: nobody sees half of it put back, and nothing is booked on its
//! orders in between. Intake waits meanwhile; statements go over the whole file in the database, events are made page by
//! page, so the worker's memory does not grow with it. *If it dies:* nothing has happened.

mod tell;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::decider::Decider;
use super::{Context, StageError, crash_point, telling};
use crate::contract::events::{Event, EventType};
use crate::domain::discrepancy::Decision;
use crate::domain::undoing::Rest;
use crate::store::online_orders;
use crate::store::result_files::{self, ResultFile};
use crate::store::{discrepancy_decisions, gates, outbox, runs, undo_news, undos};

pub use crate::store::undos::Named;

/// Of each kind of what rests on a file, so many are named.
pub const NAMED_MAX: usize = 20;

/// Rows whose events are made at once.
const ROWS_MAX: i64 = 500;

/// Who puts a file back, and why.
#[derive(Debug, Clone)]
pub struct Undo {
    pub decider: Decider,
    /// The second person, where two are needed.
    pub second: Option<String>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undone {
    Done {
        undo_id: i64,
        result_file_id: i64,
        file_name: String,
    },
    /// It is undone; nothing happened.
    Repeated {
        result_file_id: i64,
        file_name: String,
    },
    Refused(NotUndone),
}

/// Why a file is not put back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotUndone {
    #[error("there is no such result file")]
    Unknown,
    #[error("several result files are named so: {0:?}; give the number of one")]
    Several(Vec<i64>),
    #[error("it is {0}, not applied")]
    NotApplied(String),
    #[error("undoing may change what counts as paid and takes two people: name the second one")]
    SecondPersonNeeded,
    #[error("the second person is the first: {0}")]
    SamePerson(String),
    #[error("something rests on it")]
    RestedOn(Vec<Resting>),
}

impl NotUndone {
    pub fn code(&self) -> &'static str {
        match self {
            NotUndone::Unknown => "unknown_file",
            NotUndone::Several(_) => "several_files",
            NotUndone::NotApplied(_) => "not_applied",
            NotUndone::SecondPersonNeeded => "second_person_needed",
            NotUndone::SamePerson(_) => "same_person",
            NotUndone::RestedOn(_) => "rested_on",
        }
    }
}

/// Something that rests on a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resting {
    pub rest: Rest,
    pub count: i64,
    /// The first [`NAMED_MAX`] of them.
    pub about: Vec<String>,
}

pub async fn undo(ctx: &Context, named: &Named, undo: &Undo) -> Result<Undone, StageError> {
    let now = ctx.clock.now();
    let mut tx = ctx.begin().await?;
    gates::own(&mut tx).await?;
    let file = match &undos::find(&mut tx, named).await?[..] {
        [] => return Ok(Undone::Refused(NotUndone::Unknown)),
        [one] => result_files::lock(&mut tx, *one).await?,
        several => return Ok(Undone::Refused(NotUndone::Several(several.to_vec()))),
    };
    if file.state == "undone" {
        return Ok(Undone::Repeated { result_file_id: file.result_file_id, file_name: file.file_name });
    }
    if file.state != "applied" {
        return Ok(Undone::Refused(NotUndone::NotApplied(file.state)));
    }
    if let Some(refused) = people(ctx, &mut tx, undo).await? {
        return Ok(Undone::Refused(refused));
    }
    undos::look(&mut tx, file.result_file_id).await?;
    let resting = resting(&mut tx, &file).await?;
    if !resting.is_empty() {
        return Ok(Undone::Refused(NotUndone::RestedOn(resting)));
    }
    let decided = undos::NewUndo {
        decided_by: undo.decider.by(),
        second_by: undo.second.as_deref(),
        reason: undo.decider.reason(),
        decided_at: now,
    };
    let undo_id = undos::record(&mut tx, file.result_file_id, &decided).await?;
    undos::move_rows(&mut tx, undo_id, file.result_file_id).await?;
    undos::put_back(&mut tx).await?;
    let run_ids = undos::runs(&mut tx).await?;
    runs::lock_all(&mut tx, &run_ids).await?;
    let story = Story { ctx, undo_id, now };
    story.tell_orders(&mut tx).await?;
    story.tell_amounts(&mut tx).await?;
    story.tell_discrepancies(&mut tx, &file).await?;
    story.tell_runs(&mut tx, &run_ids).await?;
    let sequence = undos::set_undone(&mut tx, &file).await?;
    // With the counts that it had come to.
    let was = ResultFile { sequence, ..file.clone() };
    let event = Event { causation: story.cause(), ..telling::result_file(EventType::ResultFileUndone, &was, now) };
    story.append(&mut tx, &[event]).await?;
    crash_point("undo: before commit");
    tx.commit().await?;
    crash_point("undo: undone");
    Ok(Undone::Done { undo_id, result_file_id: file.result_file_id, file_name: file.file_name })
}

/// As of a decision that may change what counts as paid.
async fn people(ctx: &Context, tx: &mut PgConnection, undo: &Undo) -> Result<Option<NotUndone>, StageError> {
    let Some(second) = &undo.second else {
        let needed = ctx.settings.results.two_people.iter().copied().any(Decision::moves_paid_status);
        return Ok(needed.then_some(NotUndone::SecondPersonNeeded));
    };
    let same = discrepancy_decisions::are_one_person(tx, undo.decider.by(), second).await?;
    Ok(same.then(|| NotUndone::SamePerson(second.clone())))
}

async fn resting(tx: &mut PgConnection, file: &ResultFile) -> Result<Vec<Resting>, StageError> {
    let found = undos::resting(tx, file.result_file_id, NAMED_MAX as i32).await?;
    let known = |row: undos::Resting| {
        let rest = Rest::parse(&row.kind).ok_or_else(|| StageError::broken(format!("{} is no rest", row.kind)))?;
        Ok(Resting { rest, count: row.count, about: row.about })
    };
    found.into_iter().map(known).collect()
}

/// What is told of an undo, as it is done.
struct Story<'c> {
    ctx: &'c Context,
    undo_id: i64,
    now: DateTime<Utc>,
}

impl Story<'_> {
    fn cause(&self) -> String {
        format!("result_file_undo:{}", self.undo_id)
    }

    async fn append(&self, tx: &mut PgConnection, events: &[Event]) -> Result<(), StageError> {
        Ok(outbox::append(tx, &self.ctx.settings.events.source, self.now, events).await?)
    }

    async fn tell_orders(&self, tx: &mut PgConnection) -> Result<(), StageError> {
        let (mut behind, cause) = (0, self.cause());
        loop {
            let rows = undo_news::items(tx, behind, ROWS_MAX).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            behind = last.place;
            let started: Vec<&str> = rows.iter().filter_map(tell::started).collect();
            let orders = online_orders::load(tx, &started).await?;
            let events: Vec<Event> = rows.iter().flat_map(|row| tell::item(row, &orders, &cause, self.now)).collect();
            self.append(tx, &events).await?;
        }
    }

    async fn tell_amounts(&self, tx: &mut PgConnection) -> Result<(), StageError> {
        let (mut behind, cause) = ((String::new(), String::new(), 0), self.cause());
        loop {
            let rows = undo_news::released(tx, (&behind.0, &behind.1, behind.2), ROWS_MAX).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            behind = (last.payer_id.clone(), last.insurance_type.clone(), last.valid_year);
            let events: Vec<Event> = rows.iter().map(|row| tell::released(row, &cause, self.now)).collect();
            self.append(tx, &events).await?;
        }
    }

    /// Those of the file are gone, and what it had explained is open again.
    async fn tell_discrepancies(&self, tx: &mut PgConnection, file: &ResultFile) -> Result<(), StageError> {
        let (mut behind, cause) = (0, self.cause());
        loop {
            let rows = undo_news::gone(tx, self.undo_id, behind, ROWS_MAX).await?;
            let Some(last) = rows.last() else { break };
            behind = last.discrepancy_id;
            let events: Vec<Event> = rows.iter().map(|row| telling::explained(row, self.now)).collect();
            self.append(tx, &events).await?;
        }
        loop {
            let rows = undo_news::reopen(tx, file.result_file_id, ROWS_MAX).await?;
            if rows.is_empty() {
                return Ok(());
            }
            let events: Vec<Event> = rows.iter().map(|row| tell::reopened(row, &cause, self.now)).collect();
            self.append(tx, &events).await?;
        }
    }

    /// Runs that wait for results again: those that were closed are told as sent. Behind the discrepancies, which say
    /// whether anything waits for a person instead.
    async fn tell_runs(&self, tx: &mut PgConnection, run_ids: &[i64]) -> Result<(), StageError> {
        let (mut events, cause) = (Vec::new(), self.cause());
        for run_id in run_ids {
            let files = runs::files(tx, *run_id).await?;
            if let Some(mut run) = runs::reopen(tx, *run_id).await? {
                // Of what comes between sent and closed nobody is told.
                run.state = "sent".to_owned();
                events.push(telling::run_changed(EventType::RunSent, &run, files, &cause, self.now));
            }
            if let Some(run) = runs::close_if_done(tx, *run_id, self.now).await? {
                events.push(telling::run_changed(EventType::RunClosed, &run, files, &cause, self.now));
            }
        }
        self.append(tx, &events).await
    }
}
