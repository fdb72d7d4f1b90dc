//! Carries out what a decision does, in its transaction, and makes the events that tell of it.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::judge::{Effect, Failure, OrderEffect};
use super::{Case, tell};
use crate::contract::events::Event;
use crate::domain::outcome::OutcomeClass;
use crate::stages::StageError;
use crate::store::decided_orders::{self, DecidedFailure, DecidedSettlement, Money, OrderItem};
use crate::store::online_orders::{self, OnlineOrder};
use crate::store::reversals::{self, Evidence, NewReversal};

pub async fn apply(
    tx: &mut PgConnection,
    case: &Case,
    effect: &Effect,
    decision_id: i64,
    now: DateTime<Utc>,
) -> Result<Vec<Event>, StageError> {
    let mut events = Vec::new();
    if let Some(amount) = effect.refund {
        events.push(tell::refund(case, amount, decision_id, now));
    }
    match &effect.order {
        OrderEffect::Nothing => {}
        OrderEffect::Settle(money) => events.extend(settle(tx, &case.items, money, decision_id, now).await?),
        OrderEffect::Fail(failure) => events.extend(fail(tx, &case.items, failure, decision_id, now).await?),
        OrderEffect::Reverse => events.extend(reverse(tx, &case.items, decision_id, now).await?),
    }
    Ok(events)
}

async fn settle(
    tx: &mut PgConnection,
    items: &[OrderItem],
    money: &Money,
    decision_id: i64,
    now: DateTime<Utc>,
) -> Result<Vec<Event>, StageError> {
    let mut events = Vec::new();
    let mut rows = Vec::with_capacity(items.len());
    for (place, item) in (0..).zip(items) {
        // Of a deduction two events, of an online payment one for each item: payment.recorded has the next one.
        let sequence = if item.run_id.is_some() { item.sequence + 1 } else { item.sequence + place };
        let row = DecidedSettlement {
            item,
            sequence,
            declaration_sequence: item.declaration_sequence + 1,
            amount_sequence: item.amount_sequence.filter(|_| item.whole_year).map(|sequence| sequence + 1),
        };
        events.extend(tell::settled(&row, money, decision_id, now));
        rows.push(row);
    }
    decided_orders::settle(tx, &rows, money, decision_id, now).await?;
    count_online(tx, items, items.len() as i64).await?;
    Ok(events)
}

async fn fail(
    tx: &mut PgConnection,
    items: &[OrderItem],
    failure: &Failure,
    decision_id: i64,
    now: DateTime<Utc>,
) -> Result<Vec<Event>, StageError> {
    let is_final = failure.class == OutcomeClass::Final;
    let mut rows = Vec::with_capacity(items.len());
    for item in items {
        // What an online failure says of an account is not the withholding agreement's.
        let of_run = item.run_id.is_some();
        let holds = of_run && is_final && !item.held && item.set_amount.is_some();
        rows.push(DecidedFailure {
            item,
            sequence: item.sequence + 1,
            declaration_sequence: item.declaration_sequence + 1,
            declaration_state: if of_run && item.outdated { "voided" } else { "payable" },
            counts: of_run && failure.class == OutcomeClass::Retryable,
            held: of_run && is_final,
            amount_sequence: item.amount_sequence.filter(|_| holds).map(|sequence| sequence + 1),
        });
    }
    decided_orders::fail(tx, &rows).await?;
    let order = online(tx, items).await?;
    count_online(tx, items, 1).await?;
    Ok(tell::failed(&rows, order.as_ref(), failure, decision_id, now))
}

async fn reverse(
    tx: &mut PgConnection,
    items: &[OrderItem],
    decision_id: i64,
    now: DateTime<Utc>,
) -> Result<Vec<Event>, StageError> {
    let rows: Vec<NewReversal> = items
        .iter()
        .map(|item| NewReversal {
            order_no: &item.order_no,
            payer_id: &item.payer_id,
            item: item.item,
            evidence: Evidence::Decision(decision_id),
            gateway_txn_no: None,
            reversed_at: now,
        })
        .collect();
    let reversed = reversals::reverse(tx, now, &rows).await?;
    if reversed.len() != items.len() {
        return Err(StageError::broken(format!("order {} is settled in part", items[0].order_no)));
    }
    Ok(reversed.iter().flat_map(|row| tell::reversed(row, decision_id, now)).collect())
}

/// The online order that the items are of; none for a deduction.
async fn online(tx: &mut PgConnection, items: &[OrderItem]) -> Result<Option<OnlineOrder>, StageError> {
    let Some(first) = items.first().filter(|first| first.run_id.is_none()) else { return Ok(None) };
    Ok(online_orders::load(tx, &[&first.order_no]).await?.pop())
}

/// So many events more about an online order.
async fn count_online(tx: &mut PgConnection, items: &[OrderItem], events: i64) -> Result<(), StageError> {
    if let Some(first) = items.first().filter(|first| first.run_id.is_none()) {
        decided_orders::set_order_sequence(tx, &first.order_no, first.sequence + events).await?;
    }
    Ok(())
}
