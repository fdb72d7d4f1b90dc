//! The outbox goes out, in order, at least once.
//!
//! In: rows of the outbox that are not marked. Out: events at the broker (or in a file), and marked rows. Called by
//! the relay, which is one process at a time, and by commands that end with nothing left to tell. While some rows are
//! with the broker, the next ones are read.
//! *Commits:* the mark, after every event of the rows was confirmed. *If it dies:* between confirm and mark the same
//! events go out again with the same ids, subjects and sequences; a consumer recognises them.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Context, StageError, crash_point, telling};
use crate::broker::jsonl::JsonLines;
use crate::broker::{Outgoing, Publisher};
use crate::contract::envelope::wire_time;
use crate::contract::events::{
    AmountData, Data, DeductionNews, DiscrepancyData, Event, EventType, PaymentData, SkipData, Subject, WireEvent,
};
use crate::domain::amount_setting::HoldReason;
use crate::domain::eligibility::SkipReason;
use crate::store::outbox::{self, Chunk, Content, Range, RangeKind};
use crate::store::ranges::{self, AttemptRow, OutcomeRow, SettlementRow};
use crate::store::year_turns::{self, TurnedRow};
use telling::{bank_code, declaration_changed, declaration_of, deduction, wire_sum};

/// Outbox rows taken at a time, and events after which no further row is: the broker's confirms are waited for each time.
const ROWS_MAX: i64 = 64;
const EVENTS_MAX: i64 = 8_000;

/// Where events go.
pub enum Sink {
    Broker { publisher: Box<Publisher>, exchange: String },
    File(JsonLines),
}

impl Sink {
    async fn publish(&mut self, events: Vec<WireEvent>) -> Result<(), StageError> {
        match self {
            Sink::Broker { publisher, exchange } => {
                let messages = events.into_iter().map(|event| Outgoing {
                    routing_key: event.routing_key,
                    message_id: event.id,
                    body: event.body.into_bytes(),
                });
                let done = publisher.publish(exchange, messages).await;
                done.map(drop).map_err(|error| StageError::later("the broker did not confirm every event", error))
            }
            Sink::File(file) => {
                let bodies = events.iter().map(|event| event.body.as_str());
                file.append(bodies).map_err(|error| StageError::later("writing events to their file", error))
            }
        }
    }
}

/// Rows that are read and not published yet.
#[derive(Debug, Default)]
pub struct Ahead {
    outbox_ids: Vec<i64>,
    events: Vec<WireEvent>,
}

/// Publishes the oldest rows. Returns how many events went out; 0 when there is nothing to tell. `ahead` is what the
/// last call has read, and belongs to the connection: whoever leads anew, begins with nothing.
pub async fn publish_some(
    ctx: &Context,
    connection: &mut PgConnection,
    sink: &mut Sink,
    ahead: &mut Ahead,
) -> Result<usize, StageError> {
    let mut now = std::mem::take(ahead);
    if now.outbox_ids.is_empty() {
        now = read(ctx, connection, &[]).await?;
    }
    if now.outbox_ids.is_empty() {
        return Ok(0);
    }
    let count = now.events.len();
    // Neither is given up for the other's fault: what was published is marked.
    let (published, next) = tokio::join!(sink.publish(now.events), read(ctx, connection, &now.outbox_ids));
    published?;
    crash_point("publish: confirmed");
    outbox::mark_published(connection, &now.outbox_ids, ctx.clock.now()).await?;
    crash_point("publish: marked");
    *ahead = next?;
    Ok(count)
}

/// The oldest rows but those that are under way.
async fn read(ctx: &Context, connection: &mut PgConnection, under_way: &[i64]) -> Result<Ahead, StageError> {
    let mut ahead = Ahead::default();
    for chunk in outbox::unpublished(connection, under_way, ROWS_MAX, EVENTS_MAX).await? {
        let outbox_id = chunk.outbox_id;
        match expand(ctx, connection, chunk).await {
            Ok(events) => ahead.events.extend(events),
            Err(error) if ahead.outbox_ids.is_empty() => return Err(error),
            // Those before it go out first; then it is the oldest.
            Err(_) => break,
        }
        ahead.outbox_ids.push(outbox_id);
    }
    Ok(ahead)
}

/// The events of a row. A range that gives another number of events than the row says is a broken book.
async fn expand(ctx: &Context, connection: &mut PgConnection, chunk: Chunk) -> Result<Vec<WireEvent>, StageError> {
    let range = match chunk.content {
        Content::Written(events) => return Ok(events),
        Content::Range(range) => range,
    };
    let promised = chunk.events as usize;
    let events = match range.kind {
        RangeKind::Planned => planned(connection, &range, promised).await?,
        RangeKind::Skipped => skipped(connection, &range).await?,
        RangeKind::Sent => sent(connection, &range).await?,
        RangeKind::Results => results(ctx, connection, &range).await?,
        RangeKind::Discrepancies => discrepancies(connection, &range).await?,
        RangeKind::Carried => {
            turned(EventType::AmountCarriedOver, &year_turns::carried(connection, &range).await?, &range)
        }
        RangeKind::Expired => turned(EventType::AmountExpired, &year_turns::expired(connection, &range).await?, &range),
    };
    if events.len() != promised {
        let what = format!("outbox row {} stands for {promised} events and gives {}", chunk.outbox_id, events.len());
        return Err(StageError::broken(what));
    }
    let source = &ctx.settings.events.source;
    Ok(events.iter().map(|event| event.to_wire(source)).collect())
}

/// declaration.accepted where the run filed it, declaration.paying, and deduction.planned if that is published.
async fn planned(connection: &mut PgConnection, range: &Range, promised: usize) -> Result<Vec<Event>, StageError> {
    let causation = format!("run:{}", range.scope_id);
    let rows = ranges::planned(connection, range).await?;
    let filed = |row: &AttemptRow| row.declaration_no.strip_prefix('D') == row.order_no.strip_prefix('P');
    // Whether deduction.planned was to be told is known from the count.
    let with_planned = promised > rows.len() + rows.iter().filter(|row| filed(row)).count();
    let mut events = Vec::with_capacity(promised);
    for row in &rows {
        let declared = |kind, sequence| {
            declaration_changed(kind, &declaration_of(row, sequence, ""), &causation, range.created_at)
        };
        if filed(row) {
            events.push(declared(EventType::DeclarationAccepted, row.declaration_sequence - 1));
        }
        events.push(declared(EventType::DeclarationPaying, row.declaration_sequence));
        if with_planned {
            let kind = EventType::DeductionPlanned;
            events.push(deduction(kind, row, 1, &causation, range.created_at, DeductionNews::default()));
        }
    }
    Ok(events)
}

async fn skipped(connection: &mut PgConnection, range: &Range) -> Result<Vec<Event>, StageError> {
    let rows = ranges::skipped(connection, range).await?;
    let event = |row: &ranges::SkipRow| {
        let reason = SkipReason::ALL.into_iter().find(|reason| reason.as_str() == row.reason);
        Event {
            kind: EventType::DeductionSkipped,
            subject: Subject::Skip {
                run_id: row.run_id,
                payer_id: row.payer_id.clone(),
                declaration_no: row.declaration_no.clone(),
            },
            sequence: 1,
            causation: format!("run:{}", row.run_id),
            time: range.created_at,
            data: Data::Skip(SkipData {
                run_id: row.run_id,
                payer_id: row.payer_id.clone(),
                insurance_type: row.insurance_type.clone(),
                kind: row.kind.clone(),
                period_from: row.period_from.clone(),
                period_to: row.period_to.clone(),
                declaration_no: (!row.declaration_no.is_empty()).then(|| row.declaration_no.clone()),
                reason: row.reason.clone(),
                sentence: reason.map_or("", SkipReason::sentence).to_owned(),
            }),
        }
    };
    Ok(rows.iter().map(event).collect())
}

async fn sent(connection: &mut PgConnection, range: &Range) -> Result<Vec<Event>, StageError> {
    let rows = ranges::sent(connection, range).await?;
    let event = |row: &ranges::SentRow| {
        let causation = format!("run:{}", row.attempt.run_id);
        let (kind, none) = (EventType::DeductionSent, DeductionNews::default());
        deduction(kind, &row.attempt, row.sequence, &causation, range.created_at, none)
    };
    Ok(rows.iter().map(event).collect())
}

/// What a stretch of lines of a result file did, in the order of the lines.
async fn results(ctx: &Context, connection: &mut PgConnection, range: &Range) -> Result<Vec<Event>, StageError> {
    let settled = ranges::settled(connection, range).await?;
    let not_settled = ranges::not_settled(connection, range).await?;
    let mut events: Vec<(i64, Event)> = Vec::new();
    for row in &settled {
        let causation = format!("result_file:{}#{}", range.scope_id, row.line_no);
        events.extend(settlement_events(row, &causation).into_iter().map(|event| (row.line_no, event)));
    }
    for row in &not_settled {
        let causation = format!("result_file:{}#{}", range.scope_id, row.line_no);
        events.extend(outcome_events(ctx, row, &causation).into_iter().map(|event| (row.line_no, event)));
    }
    events.sort_by_key(|(line_no, _)| *line_no);
    Ok(events.into_iter().map(|(_, event)| event).collect())
}

fn settlement_events(row: &SettlementRow, causation: &str) -> Vec<Event> {
    let (attempt, time, none) = (&row.attempt, row.booked_at, DeductionNews::default());
    let succeeded = deduction(EventType::DeductionSucceeded, attempt, row.sequence, causation, time, none);
    let recorded = Event {
        kind: EventType::PaymentRecorded,
        subject: Subject::Order(attempt.order_no.clone()),
        sequence: row.sequence + 1,
        causation: causation.to_owned(),
        time,
        data: Data::Payment(PaymentData {
            order_no: attempt.order_no.clone(),
            payer_id: attempt.payer_id.clone(),
            declaration_no: attempt.declaration_no.clone(),
            insurance_type: attempt.insurance_type.clone(),
            kind: attempt.kind.clone(),
            period_from: attempt.period_from.clone(),
            period_to: attempt.period_to.clone(),
            amount: wire_sum(attempt.amount),
            gateway: attempt.gateway.clone(),
            bank_code: bank_code(&attempt.bank_code),
            gateway_txn_no: row.gateway_txn_no.clone(),
            settled_at: wire_time(row.settled_at),
            channel: attempt.channel.clone(),
            confirmed: true,
            reversed_at: None,
            reason: None,
        }),
    };
    let record = declaration_of(attempt, attempt.declaration_sequence, "");
    let paid = declaration_changed(EventType::DeclarationPaid, &record, causation, time);
    let mut events = vec![succeeded, recorded, paid];
    if let Some(sequence) = row.amount_sequence {
        let fulfilled = AmountData { status: "fulfilled", ..amount_of(attempt, row.valid_year) };
        events.push(amount(EventType::AmountFulfilled, fulfilled, sequence, causation, time));
    }
    events
}

fn outcome_events(ctx: &Context, row: &OutcomeRow, causation: &str) -> Vec<Event> {
    let answers = ctx.settings.destination(&row.attempt.gateway, &row.attempt.bank_code);
    // A doubt about a row that says "paid" must not tell the payer that it is paid.
    let meaning =
        answers.and_then(|from| from.codes().meaning(&row.code)).filter(|all| all.class.as_str() == row.class);
    let failed = row.declaration_state.is_some();
    let kind = if failed { EventType::DeductionFailed } else { EventType::DeductionUnknown };
    let said = DeductionNews {
        code: Some(row.code.clone()),
        class: Some(row.class.clone()),
        reason: meaning.map(|meaning| meaning.reason.clone()),
        next_step: meaning.map(|meaning| meaning.next_step.clone()).filter(|step| !step.is_empty()),
        tried_again: failed.then_some(row.tried_again),
    };
    let mut events = vec![deduction(kind, &row.attempt, row.sequence, causation, row.booked_at, said)];
    if let (Some(state), Some(sequence)) = (&row.declaration_state, row.outcome_declaration_sequence) {
        let kind = if state == "voided" { EventType::DeclarationVoided } else { EventType::DeclarationPayableAgain };
        let reason = if state == "voided" { "setting_changed" } else { "deduction_failed" };
        let record = declaration_of(&row.attempt, sequence, reason);
        events.push(declaration_changed(kind, &record, causation, row.booked_at));
    }
    if let Some(sequence) = row.amount_sequence {
        let why = if row.class == "final" { HoldReason::NoAgreement } else { HoldReason::Suspended };
        let held = AmountData {
            amount: wire_sum(row.held_amount.unwrap_or(row.attempt.amount)),
            status: "held",
            hold_reason: Some(why.as_str().to_owned()),
            ..amount_of(&row.attempt, row.valid_year)
        };
        events.push(amount(EventType::AmountHeld, held, sequence, causation, row.booked_at));
    }
    events
}

async fn discrepancies(connection: &mut PgConnection, range: &Range) -> Result<Vec<Event>, StageError> {
    let rows = ranges::discrepancies(connection, range).await?;
    let event = |row: &ranges::DiscrepancyRow| Event {
        kind: EventType::DiscrepancyOpened,
        subject: Subject::Discrepancy(row.discrepancy_id),
        sequence: 1,
        causation: match row.line_no {
            Some(line_no) => format!("result_file:{}#{line_no}", row.result_file_id),
            None => format!("result_file:{}", row.result_file_id),
        },
        time: row.opened_at,
        data: Data::Discrepancy(DiscrepancyData {
            discrepancy_id: row.discrepancy_id,
            kind: row.kind.clone(),
            gateway: row.gateway.clone(),
            bank_code: bank_code(&row.bank_code),
            result_file_id: Some(row.result_file_id),
            line_no: row.line_no,
            order_no: row.order_no.clone(),
            payer_id: row.payer_id.clone(),
            amount_ours: row.amount_ours.map(wire_sum),
            amount_theirs: row.amount_theirs.map(wire_sum),
            code: row.code.clone(),
            ..DiscrepancyData::default()
        }),
    };
    Ok(rows.iter().map(event).collect())
}

/// Amounts at the turn of a year.
fn turned(kind: EventType, rows: &[TurnedRow], range: &Range) -> Vec<Event> {
    let event = |row: &TurnedRow| {
        let data = AmountData {
            payer_id: row.payer_id.clone(),
            insurance_type: row.insurance_type.clone(),
            valid_year: row.valid_year,
            amount: wire_sum(row.amount),
            status: match (kind, &row.hold_reason) {
                (EventType::AmountExpired, _) => "expired",
                (_, Some(_)) => "held",
                (_, None) => "active",
            },
            channel: Some(row.channel.clone()),
            hold_reason: row.hold_reason.clone(),
            ..AmountData::default()
        };
        amount(kind, data, row.sequence, "time", range.created_at)
    };
    rows.iter().map(event).collect()
}

/// The amount of an attempt's year.
fn amount_of(row: &AttemptRow, valid_year: i16) -> AmountData {
    AmountData {
        payer_id: row.payer_id.clone(),
        insurance_type: row.insurance_type.clone(),
        valid_year,
        amount: wire_sum(row.amount),
        ..AmountData::default()
    }
}

fn amount(kind: EventType, data: AmountData, sequence: i64, causation: &str, time: DateTime<Utc>) -> Event {
    let (payer_id, insurance_type) = (data.payer_id.clone(), data.insurance_type.clone());
    let subject = Subject::Amount { payer_id, insurance_type, valid_year: data.valid_year };
    Event { kind, subject, sequence, causation: causation.to_owned(), time, data: Data::Amount(data) }
}
