//! What only time decides: waits that have ended.
//!
//! In: messages that waited for an enrolment longer than is allowed. Out: refused, and their declarations rejected.
//! *Commits:* once for each batch. *If it dies:* they are still overdue.

use super::{Context, StageError, telling};
use crate::contract::envelope;
use crate::contract::events::{Data, Event, EventType, MessageData, Subject};
use crate::contract::refusal::RefusalCode;
use crate::crypt::Purpose;
use crate::domain::identity::PayerId;
use crate::store::{declarations, gates, messages, outbox};

/// Messages in one transaction.
const BATCH_MAX: i64 = 500;

/// Refuses the messages whose wait is over. Returns how many.
pub async fn end_waits(ctx: &Context) -> Result<usize, StageError> {
    let mut ended = 0;
    loop {
        let some = end_some(ctx).await?;
        ended += some;
        if some < BATCH_MAX as usize {
            return Ok(ended);
        }
    }
}

async fn end_some(ctx: &Context) -> Result<usize, StageError> {
    let now = ctx.clock.now();
    let code = RefusalCode::NotEnrolled;
    let mut tx = ctx.begin().await?;
    let overdue = messages::overdue(&mut tx, now, BATCH_MAX).await?;
    if overdue.is_empty() {
        return Ok(0);
    }
    gates::share(&mut tx).await?;
    let payers: Vec<PayerId> = overdue.iter().filter_map(|(_, _, payer)| PayerId::new(payer)).collect();
    gates::payers(&mut tx, payers.iter()).await?;
    // Under the locks, only those that still wait: an enrolment may have come in the meantime.
    let answers: Vec<(&str, &str, &str, Option<&str>)> =
        overdue.iter().map(|(source, id, _)| (source.as_str(), id.as_str(), "refused", Some(code.as_str()))).collect();
    let refused = messages::answer_waiting(&mut tx, &answers).await?;
    let mut events = Vec::new();
    let (mut numbers, mut owners) = (Vec::new(), Vec::new());
    for message in messages::raw(&mut tx, &refused).await? {
        let raw = ctx.keys.open(Purpose::RawMessage, &message.raw)?;
        let number = envelope::read(&raw, ctx.settings.intake.message_max_bytes)
            .ok()
            .and_then(|envelope| envelope.data.get("declaration_no")?.as_str().map(str::to_owned));
        let payer_id = overdue
            .iter()
            .find(|(source, id, _)| (source, id) == (&message.source, &message.id))
            .map_or("", |(_, _, payer)| payer);
        if let Some(number) = number {
            numbers.push(number);
            owners.push(payer_id);
        }
        events.push(Event {
            kind: EventType::MessageRefused,
            subject: Subject::Message(format!("{}/{}", message.source, message.id)),
            sequence: 1,
            causation: "time".into(),
            time: now,
            data: Data::Message(MessageData::refused(&message.source, &message.id, payer_id, code)),
        });
    }
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    for row in declarations::reject_awaiting(&mut tx, &numbers, &owners, code.as_str()).await? {
        events.push(telling::declaration_changed(EventType::DeclarationRejected, &row, "time", now));
    }
    outbox::append(&mut tx, &ctx.settings.events.source, now, &events).await?;
    tx.commit().await?;
    Ok(refused.len())
}
