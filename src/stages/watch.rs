//! What only time decides: waits that have ended.
//!
//! In: messages that waited for an enrolment longer than is allowed. Out: refused, and their declarations rejected.
//! *Commits:* once for each batch. *If it dies:* they are still overdue.

use sqlx::PgConnection;

use super::{Context, StageError, telling};
use crate::contract::envelope;
use crate::contract::events::{Data, Event, EventType, MessageData, Subject};
use crate::contract::refusal::RefusalCode;
use crate::crypt::Purpose;
use crate::domain::declaration::Kind;
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

/// Refuses given messages, as (source, id, payer), where they still wait: their wait has ended, whatever the time is.
pub async fn end_these(ctx: &Context, waits: &[(String, String, String)]) -> Result<(), StageError> {
    let mut tx = ctx.begin().await?;
    end(ctx, &mut tx, waits).await?;
    Ok(tx.commit().await?)
}

async fn end_some(ctx: &Context) -> Result<usize, StageError> {
    let mut tx = ctx.begin().await?;
    let overdue = messages::overdue(&mut tx, ctx.clock.now(), BATCH_MAX).await?;
    if overdue.is_empty() {
        return Ok(0);
    }
    let refused = end(ctx, &mut tx, &overdue).await?;
    tx.commit().await?;
    Ok(refused)
}

async fn end(ctx: &Context, tx: &mut PgConnection, overdue: &[(String, String, String)]) -> Result<usize, StageError> {
    let now = ctx.clock.now();
    gates::share(tx).await?;
    gates::keys(tx, overdue.iter().map(|(_, _, payer)| payer.as_str())).await?;
    let keys: Vec<(String, String)> = overdue.iter().map(|(source, id, _)| (source.clone(), id.clone())).collect();
    let mut ended = Vec::with_capacity(overdue.len());
    for message in messages::raw(tx, &keys).await? {
        let raw = ctx.keys.open(Purpose::RawMessage, &message.raw)?;
        let data = envelope::read(&raw, ctx.settings.intake.message_max_bytes).map(|envelope| envelope.data);
        let text = |name: &str| data.as_ref().ok()?.get(name)?.as_str().map(str::to_owned);
        let special = text("kind").as_deref() == Some(Kind::Special.as_str());
        let code = if special { RefusalCode::AssessmentRequired } else { RefusalCode::NotEnrolled };
        ended.push((message.source, message.id, code, text("payer_id").unwrap_or_default(), text("declaration_no")));
    }
    // Under the locks, only those that still wait: an enrolment may have come in the meantime.
    let answers: Vec<(&str, &str, &str)> =
        ended.iter().map(|(source, id, code, ..)| (source.as_str(), id.as_str(), code.as_str())).collect();
    let refused = messages::end_waits(tx, &answers).await?;
    let mut events = Vec::new();
    let mut rejected: Vec<(&str, &str, &str)> = Vec::new();
    for (source, id, code, payer_id, number) in &ended {
        if !refused.iter().any(|key| (&key.0, &key.1) == (source, id)) {
            continue;
        }
        rejected.extend(number.as_ref().map(|number| (number.as_str(), payer_id.as_str(), code.as_str())));
        events.push(Event {
            kind: EventType::MessageRefused,
            subject: Subject::Message(format!("{source}/{id}")),
            sequence: 1,
            causation: "time".into(),
            time: now,
            data: Data::Message(MessageData::refused(source, id, payer_id, *code)),
        });
    }
    for row in declarations::reject_awaiting(tx, &rejected).await? {
        events.push(telling::declaration_changed(EventType::DeclarationRejected, &row, "time", now));
    }
    outbox::append(tx, &ctx.settings.events.source, now, &events).await?;
    Ok(refused.len())
}
