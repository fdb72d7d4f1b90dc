//! Booking a range of a gateway's bill, with the events that tell of it. Part of stage `reconcile`, which owns the gate and
//! the transaction.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Context, StageError};
use crate::contract::events::Event;
use crate::store::result_files::{Booked, ResultFile};
use crate::store::{bill_news, bills, online_orders, outbox, reversals};

mod tell;

/// Lines whose events are made at once.
const LINES_MAX: i64 = 500;

/// Books what is judged, and tells it.
pub async fn book(
    ctx: &Context,
    tx: &mut PgConnection,
    file: &ResultFile,
    through: i64,
    now: DateTime<Utc>,
) -> Result<Booked, StageError> {
    let booked = bills::book(tx, file, through, now).await?;
    tell_settled(ctx, tx, file, now).await?;
    tell_confirmed(ctx, tx, file, now).await?;
    tell_not_settled(ctx, tx, file, now).await?;
    reverse(ctx, tx, file, now).await?;
    bill_news::tell_discrepancies(tx, file, now).await?;
    Ok(booked)
}

async fn tell_settled(
    ctx: &Context,
    tx: &mut PgConnection,
    file: &ResultFile,
    now: DateTime<Utc>,
) -> Result<(), StageError> {
    let mut behind = 0;
    loop {
        let rows = bill_news::settled(tx, file, behind, LINES_MAX).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        behind = last.line_no;
        let events: Vec<Event> = rows.iter().flat_map(|row| tell::settled(row, file, now)).collect();
        outbox::append(tx, &ctx.settings.events.source, now, &events).await?;
    }
}

async fn tell_confirmed(
    ctx: &Context,
    tx: &mut PgConnection,
    file: &ResultFile,
    now: DateTime<Utc>,
) -> Result<(), StageError> {
    let mut behind = 0;
    loop {
        let rows = bill_news::confirmed(tx, file, behind, LINES_MAX).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        behind = last.line_no;
        let numbers: Vec<&str> = rows.iter().map(|row| row.order_no.as_str()).collect();
        let orders = online_orders::load(tx, &numbers).await?;
        let order_of = |number: &str| orders.iter().find(|order| order.order_no == number);
        let told = rows.iter().filter_map(|row| Some(tell::confirmed(row, order_of(&row.order_no)?, file, now)));
        let events: Vec<Event> = told.collect();
        outbox::append(tx, &ctx.settings.events.source, now, &events).await?;
    }
}

async fn tell_not_settled(
    ctx: &Context,
    tx: &mut PgConnection,
    file: &ResultFile,
    now: DateTime<Utc>,
) -> Result<(), StageError> {
    let mut behind = 0;
    loop {
        let rows = bill_news::not_settled(tx, file, behind, LINES_MAX).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        behind = last.line_no;
        let online = rows.iter().filter(|row| row.item.run_id.is_none() && row.item.item == 1);
        let numbers: Vec<&str> = online.map(|row| row.item.order_no.as_str()).collect();
        let orders = online_orders::load(tx, &numbers).await?;
        let events: Vec<Event> =
            rows.iter().flat_map(|row| tell::not_settled(row, &orders, &ctx.settings, file, now)).collect();
        outbox::append(tx, &ctx.settings.events.source, now, &events).await?;
    }
}

async fn reverse(
    ctx: &Context,
    tx: &mut PgConnection,
    file: &ResultFile,
    now: DateTime<Utc>,
) -> Result<(), StageError> {
    let found = bills::to_reverse(tx, file, now).await?;
    if found.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = found.iter().map(bills::ToReverse::reversal).collect();
    let causes: std::collections::HashMap<(&str, i16), String> =
        found.iter().map(|row| (row.key(), row.causation())).collect();
    let reversed = reversals::reverse(tx, now, &rows).await?;
    let cause = |row: &reversals::Reversed| causes.get(&(row.order_no.as_str(), row.item)).cloned().unwrap_or_default();
    let events: Vec<Event> = reversed.iter().flat_map(|row| super::telling::reversed(row, &cause(row), now)).collect();
    Ok(outbox::append(tx, &ctx.settings.events.source, now, &events).await?)
}
