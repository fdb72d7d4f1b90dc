//! What silence says.
//!
//! In: the time, the days that the gateways' bills cover, and what is open. Out: online orders that expired and that no bill
//! has are failed (`not_paid`); and what should be there and is not becomes a discrepancy, once: a payment that a channel
//! reported and its bills lack (`not_in_bill`), a deduction without result behind its due days (`result_missing`), a bill
//! that has not come by its hour (`file_missing`). Called by the worker's clock, and when a bill was applied.
//! *Commits:* once for each bounded range of orders, under the gate. *If it dies:* what was not committed is still missing,
//! and found again by the next look; what was, is not missing any more, or was noticed.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};

use super::{Context, StageError, crash_point, telling};
use crate::clock::SHANGHAI;
use crate::contract::events::{Data, DeductionNews, DiscrepancyData, Event, EventType, OrderData, Subject};
use crate::domain::calendar::{NoCalendar, SHIFT_DAYS_MAX};
use crate::domain::order::Gateway;
use crate::store::absences::{self, Overdue, Unpaid};
use crate::store::bill_news::{Explained, PaidItem};
use crate::store::declarations::DeclarationRecord;
use crate::store::online_orders::{self, OnlineOrder};
use crate::store::{gates, outbox, runs};

/// Orders that are looked at in one transaction.
const ORDERS_MAX: i64 = 1_000;

/// A reported payment that is older is not looked for any more: gateways give out bills for three months.
const REPORTED_DAYS_MAX: u64 = 100;

/// The code by which an order fails that was never paid.
const NOT_PAID: &str = "not_paid";
const RESULT_MISSING: &str = "result_missing";

/// What a look has found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// Declarations that may be paid again.
    pub not_paid: usize,
    pub not_in_bill: usize,
    pub results_missing: usize,
    pub files_missing: usize,
}

/// Looks at everything once.
pub async fn look(ctx: &Context) -> Result<Found, StageError> {
    let mut found = Found::default();
    while let more @ 1.. = fail_unpaid(ctx).await? {
        found.not_paid += more;
    }
    while let more @ 1.. = notice_not_in_bill(ctx).await? {
        found.not_in_bill += more;
    }
    for (gateway, due_days) in &ctx.settings.results.due_days {
        if let Some(before) = overdue_before(ctx, *due_days) {
            found.results_missing += notice_results_missing(ctx, *gateway, before).await?;
        }
    }
    for (gateway, rules) in &ctx.settings.results.bills {
        if let Some(by) = rules.expected_by.filter(|_| takes_bills(ctx, *gateway)) {
            found.files_missing += notice_files_missing(ctx, *gateway, by).await?;
        }
    }
    Ok(found)
}

async fn fail_unpaid(ctx: &Context) -> Result<usize, StageError> {
    let now = ctx.clock.now();
    let mut tx = ctx.begin().await?;
    gates::own(&mut tx).await?;
    let rows = absences::fail_unpaid(&mut tx, now, ORDERS_MAX).await?;
    let numbers: Vec<&str> = rows.iter().map(|row| row.item.order_no.as_str()).collect();
    let orders = online_orders::load(&mut tx, &numbers).await?;
    let events: Vec<Event> = rows.iter().flat_map(|row| unpaid(row, &orders, now)).collect();
    outbox::append(&mut tx, &ctx.settings.events.source, now, &events).await?;
    crash_point("absence: before commit");
    tx.commit().await?;
    Ok(rows.len())
}

/// payment.failed once an order, and its declarations.
fn unpaid(row: &Unpaid, orders: &[OnlineOrder], now: DateTime<Utc>) -> Vec<Event> {
    let mut events = Vec::new();
    let order = orders.iter().find(|order| order.order_no == row.item.order_no && row.item.item == 1);
    if let Some(order) = order {
        let data = OrderData { code: Some(NOT_PAID.to_owned()), ..telling::order_data(order) };
        events.push(telling::order(EventType::PaymentFailed, data, row.sequence, "time", now));
    }
    let record = record_of(&row.item, row.declaration_sequence);
    events.push(telling::declaration_changed(EventType::DeclarationPayableAgain, &record, "time", now));
    events
}

fn record_of(item: &PaidItem, sequence: i64) -> DeclarationRecord {
    DeclarationRecord {
        declaration_no: item.declaration_no.clone(),
        payer_id: item.payer_id.clone(),
        insurance_type: item.insurance_type.clone(),
        kind: item.kind.clone(),
        period_from: item.period_from.clone(),
        period_to: item.period_to.clone(),
        amount: item.amount,
        channel: item.channel.clone(),
        sequence,
        reason: "payment_failed".to_owned(),
    }
}

async fn notice_not_in_bill(ctx: &Context) -> Result<usize, StageError> {
    let now = ctx.clock.now();
    let mut tx = ctx.begin().await?;
    gates::own(&mut tx).await?;
    let opened = absences::open_not_in_bill(&mut tx, now - Days::new(REPORTED_DAYS_MAX), now, ORDERS_MAX).await?;
    let events: Vec<Event> = opened.iter().map(|row| noticed(row, now)).collect();
    outbox::append(&mut tx, &ctx.settings.events.source, now, &events).await?;
    tx.commit().await?;
    Ok(opened.len())
}

fn noticed(row: &Explained, now: DateTime<Utc>) -> Event {
    opened(telling::discrepancy_data(row), now)
}

fn opened(data: DiscrepancyData, now: DateTime<Utc>) -> Event {
    Event {
        kind: EventType::DiscrepancyOpened,
        subject: Subject::Discrepancy(data.discrepancy_id),
        sequence: 1,
        causation: "time".to_owned(),
        time: now,
        data: Data::Discrepancy(data),
    }
}

/// What was handed over before this has had its due days, workdays of the business calendar; none where a year of the
/// calendar is missing, as nobody knows then.
fn overdue_before(ctx: &Context, due_days: u16) -> Option<DateTime<Utc>> {
    let mut day = ctx.clock.business_date();
    let mut left = due_days;
    for _ in 0..=u64::from(due_days) + SHIFT_DAYS_MAX + u64::from(due_days) * 2 {
        if left == 0 {
            return instant(day, NaiveTime::MIN);
        }
        day = day.pred_opt()?;
        let is_workday: Result<bool, NoCalendar> = ctx.settings.calendar.day_off(day).map(|off| off.is_none());
        left -= u16::from(is_workday.ok()?);
    }
    None
}

fn instant(day: NaiveDate, time: NaiveTime) -> Option<DateTime<Utc>> {
    day.and_time(time).and_local_timezone(SHANGHAI).single().map(|at| at.to_utc())
}

async fn notice_results_missing(ctx: &Context, gateway: Gateway, before: DateTime<Utc>) -> Result<usize, StageError> {
    let mut connection = ctx.pool.acquire().await?;
    let due = absences::runs_due(&mut connection, gateway.as_str(), before).await?;
    drop(connection);
    let mut found = 0;
    for run_id in due {
        let mut behind = String::new();
        loop {
            let now = ctx.clock.now();
            let mut tx = ctx.begin().await?;
            gates::own(&mut tx).await?;
            let limit = ctx.settings.results.range_max.min(ORDERS_MAX);
            let rows =
                absences::open_result_missing(&mut tx, run_id, gateway.as_str(), before, &behind, limit, now).await?;
            let mut events: Vec<Event> = rows.iter().flat_map(|row| overdue(row, now)).collect();
            if let Some(last) = rows.last() {
                behind.clone_from(&last.attempt.order_no);
                found += rows.len();
            } else {
                runs::lock_all(&mut tx, &[run_id]).await?;
                runs::set_settling(&mut tx, &[run_id]).await?;
                if let Some(run) = runs::close_if_done(&mut tx, run_id, now).await? {
                    let files = runs::files(&mut tx, run_id).await?;
                    events.push(telling::run_changed(EventType::RunClosed, &run, files, "time", now));
                }
            }
            outbox::append(&mut tx, &ctx.settings.events.source, now, &events).await?;
            crash_point("absence: before commit");
            tx.commit().await?;
            if rows.is_empty() {
                break;
            }
        }
    }
    Ok(found)
}

/// deduction.unknown, and that a person has to look for the result.
fn overdue(row: &Overdue, now: DateTime<Utc>) -> [Event; 2] {
    let news = DeductionNews {
        code: Some(RESULT_MISSING.to_owned()),
        class: Some("unknown".to_owned()),
        ..DeductionNews::default()
    };
    let attempt = &row.attempt;
    let unknown = telling::deduction(EventType::DeductionUnknown, attempt, row.sequence, "time", now, news);
    let data = DiscrepancyData {
        discrepancy_id: row.discrepancy_id,
        kind: RESULT_MISSING.to_owned(),
        gateway: attempt.gateway.clone(),
        bank_code: telling::bank_code(&attempt.bank_code),
        order_no: Some(attempt.order_no.clone()),
        payer_id: Some(attempt.payer_id.clone()),
        amount_ours: Some(telling::wire_sum(attempt.amount)),
        ..DiscrepancyData::default()
    };
    [unknown, opened(data, now)]
}

/// Whether bills of a gateway are taken: only then is one expected.
fn takes_bills(ctx: &Context, gateway: Gateway) -> bool {
    ctx.settings.answerers().any(|from| from.gateway() == gateway.as_str() && !from.answers_in_full())
}

async fn notice_files_missing(ctx: &Context, gateway: Gateway, by: NaiveTime) -> Result<usize, StageError> {
    let (now, today) = (ctx.clock.now(), ctx.clock.business_date());
    let is_time = instant(today, by).is_some_and(|by| now >= by);
    let up_to = today - Days::new(if is_time { 1 } else { 2 });
    let mut tx = ctx.begin().await?;
    gates::own(&mut tx).await?;
    let opened = absences::open_file_missing(&mut tx, gateway.as_str(), today, up_to, now).await?;
    let events: Vec<Event> = opened.iter().map(|row| noticed(row, now)).collect();
    outbox::append(&mut tx, &ctx.settings.events.source, now, &events).await?;
    tx.commit().await?;
    Ok(opened.len())
}
