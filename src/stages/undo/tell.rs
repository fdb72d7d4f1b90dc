//! The events that take back what a result file had told of: the new state of each subject, told like any other.

use chrono::{DateTime, Utc};

use crate::contract::envelope::wire_time;
use crate::contract::events::{AmountData, Data, DeductionNews, Event, EventType, PaymentData, Subject};
use crate::stages::telling::{self, bank_code, declaration_changed, declaration_of, wire_sum};
use crate::store::bill_news::Explained;
use crate::store::declarations::DeclarationRecord;
use crate::store::online_orders::OnlineOrder;
use crate::store::ranges::AttemptRow;
use crate::store::undo_news::{Released, UndoneItem};

/// Why a deduction is unknown of which no row of a result file is left.
const RESULT_MISSING: &str = "result_missing";

/// The online order that is told as started again.
pub fn started(row: &UndoneItem) -> Option<&str> {
    (row.order_news.as_deref() == Some("open") && row.item.run_id.is_none()).then_some(row.item.order_no.as_str())
}

/// payment.reversed (`undone`) or payment.recorded; deduction.sent, deduction.unknown or payment.started; and what became
/// of the declaration.
pub fn item(row: &UndoneItem, orders: &[OnlineOrder], cause: &str, now: DateTime<Utc>) -> Vec<Event> {
    let item = &row.item;
    let mut events = Vec::new();
    let attempt = AttemptRow {
        order_no: item.order_no.clone(),
        payer_id: item.payer_id.clone(),
        run_id: item.run_id.unwrap_or_default(),
        declaration_no: item.declaration_no.clone(),
        declaration_sequence: row.declaration_sequence,
        amount: item.amount,
        insurance_type: item.insurance_type.clone(),
        kind: item.kind.clone(),
        channel: item.channel.clone(),
        period_from: item.period_from.clone(),
        period_to: item.period_to.clone(),
        gateway: item.gateway.clone(),
        bank_code: item.bank_code.clone(),
        file_name: row.file_name.clone(),
    };
    match (row.order_news.as_deref(), item.run_id) {
        (Some("undone"), _) => events.push(payment(EventType::PaymentReversed, row, cause, now)),
        (Some("recorded"), _) => events.push(payment(EventType::PaymentRecorded, row, cause, now)),
        (Some(_), Some(_)) => {
            let is_unknown = row.state_before == "unknown";
            let kind = if is_unknown { EventType::DeductionUnknown } else { EventType::DeductionSent };
            let code = || row.unknown_code.clone().unwrap_or_else(|| RESULT_MISSING.to_owned());
            let news = DeductionNews {
                code: is_unknown.then(code),
                class: is_unknown.then(|| "unknown".to_owned()),
                ..DeductionNews::default()
            };
            events.push(telling::deduction(kind, &attempt, row.news_sequence, cause, now, news));
        }
        (Some(_), None) => {
            let order = orders.iter().find(|order| order.order_no == item.order_no);
            let data = order.map(telling::order_data);
            events.extend(
                data.map(|data| telling::order(EventType::PaymentStarted, data, row.news_sequence, cause, now)),
            );
        }
        (None, _) => {}
    }
    let kind = match row.declaration_news.as_deref() {
        Some("paid") => EventType::DeclarationPaid,
        Some(_) => EventType::DeclarationPaying,
        None => return events,
    };
    let record: DeclarationRecord = declaration_of(&attempt, row.declaration_sequence, "");
    events.push(declaration_changed(kind, &record, cause, now));
    events
}

fn payment(kind: EventType, row: &UndoneItem, cause: &str, now: DateTime<Utc>) -> Event {
    let (item, is_undone) = (&row.item, kind == EventType::PaymentReversed);
    let data = PaymentData {
        order_no: item.order_no.clone(),
        payer_id: item.payer_id.clone(),
        declaration_no: item.declaration_no.clone(),
        insurance_type: item.insurance_type.clone(),
        kind: item.kind.clone(),
        period_from: item.period_from.clone(),
        period_to: item.period_to.clone(),
        amount: wire_sum(item.amount),
        gateway: item.gateway.clone(),
        bank_code: bank_code(&item.bank_code),
        gateway_txn_no: row.gateway_txn_no.clone(),
        settled_at: wire_time(row.settled_at.unwrap_or(now)),
        channel: item.channel.clone(),
        confirmed: row.is_confirmed && !is_undone,
        reversed_at: is_undone.then(|| wire_time(now)),
        reason: is_undone.then_some("undone"),
    };
    Event {
        kind,
        subject: Subject::Order(item.order_no.clone()),
        sequence: row.news_sequence,
        causation: cause.to_owned(),
        time: now,
        data: Data::Payment(data),
    }
}

pub fn released(row: &Released, cause: &str, now: DateTime<Utc>) -> Event {
    let (payer_id, insurance_type, valid_year) = (row.payer_id.clone(), row.insurance_type.clone(), row.valid_year);
    Event {
        kind: EventType::AmountReleased,
        subject: Subject::Amount { payer_id: payer_id.clone(), insurance_type: insurance_type.clone(), valid_year },
        sequence: row.sequence,
        causation: cause.to_owned(),
        time: now,
        data: Data::Amount(AmountData {
            payer_id,
            insurance_type,
            valid_year,
            amount: wire_sum(row.amount),
            status: "active",
            channel: Some(row.channel.clone()),
            ..AmountData::default()
        }),
    }
}

pub fn reopened(row: &Explained, cause: &str, now: DateTime<Utc>) -> Event {
    let data = telling::discrepancy_data(row);
    Event {
        kind: EventType::DiscrepancyReopened,
        subject: Subject::Discrepancy(row.discrepancy_id),
        sequence: row.sequence,
        causation: cause.to_owned(),
        time: now,
        data: Data::Discrepancy(data),
    }
}
