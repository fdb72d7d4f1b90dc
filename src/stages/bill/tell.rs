//! The events of a bill's lines: those of a deduction are told as its bank's result would be, those of an online order as
//! its channel's report would be.

use chrono::{DateTime, Utc};

use crate::config::Settings;
use crate::contract::envelope::wire_time;
use crate::contract::events::{AmountData, Data, DeductionNews, Event, EventType, OrderData, PaymentData, Subject};
use crate::domain::order::Gateway;
use crate::domain::outcome::CodeMeaning;
use crate::stages::telling::{self, bank_code, declaration_changed, wire_sum};
use crate::store::bill_news::{Confirmed, NotSettled, PaidItem, Settled};
use crate::store::declarations::DeclarationRecord;
use crate::store::online_orders::OnlineOrder;
use crate::store::ranges::AttemptRow;
use crate::store::result_files::ResultFile;

fn causation(file: &ResultFile, line_no: i64) -> String {
    format!("result_file:{}#{line_no}", file.result_file_id)
}

/// deduction.succeeded of a deduction, payment.recorded, declaration.paid; amount.fulfilled where an amount was set.
pub fn settled(row: &Settled, file: &ResultFile, now: DateTime<Utc>) -> Vec<Event> {
    let (item, cause) = (&row.item, causation(file, row.line_no));
    let mut events = Vec::new();
    if let Some(attempt) = attempt(item, row.declaration_sequence) {
        let none = DeductionNews::default();
        events.push(telling::deduction(EventType::DeductionSucceeded, &attempt, row.sequence, &cause, now, none));
    }
    events.push(Event {
        kind: EventType::PaymentRecorded,
        subject: Subject::Order(item.order_no.clone()),
        sequence: row.sequence + 1,
        causation: cause.clone(),
        time: now,
        data: Data::Payment(PaymentData {
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
            settled_at: wire_time(row.settled_at),
            channel: item.channel.clone(),
            confirmed: true,
            reversed_at: None,
            reason: None,
        }),
    });
    let record = declaration(item, row.declaration_sequence, "");
    events.push(declaration_changed(EventType::DeclarationPaid, &record, &cause, now));
    if let Some(sequence) = row.amount_sequence {
        let (payer_id, insurance_type) = (item.payer_id.clone(), item.insurance_type.clone());
        events.push(Event {
            kind: EventType::AmountFulfilled,
            subject: Subject::Amount { payer_id, insurance_type, valid_year: row.valid_year },
            sequence,
            causation: cause,
            time: now,
            data: Data::Amount(AmountData {
                payer_id: item.payer_id.clone(),
                insurance_type: item.insurance_type.clone(),
                valid_year: row.valid_year,
                amount: wire_sum(item.amount),
                status: "fulfilled",
                ..AmountData::default()
            }),
        });
    }
    events
}

/// payment.confirmed
pub fn confirmed(row: &Confirmed, order: &OnlineOrder, file: &ResultFile, now: DateTime<Utc>) -> Event {
    let data = OrderData {
        gateway_txn_no: row.gateway_txn_no.clone(),
        paid_at: Some(wire_time(row.settled_at)),
        ..telling::order_data(order)
    };
    let cause = causation(file, row.line_no);
    telling::order(EventType::PaymentConfirmed, data, row.sequence, &cause, now)
}

/// deduction.failed or deduction.unknown of a deduction; payment.failed of an online order, once; and what became of the
/// declaration. That an online order is in doubt is told by its discrepancy.
pub fn not_settled(
    row: &NotSettled,
    orders: &[OnlineOrder],
    settings: &Settings,
    file: &ResultFile,
    now: DateTime<Utc>,
) -> Vec<Event> {
    let (item, cause) = (&row.item, causation(file, row.line_no));
    let meaning = Gateway::parse(&file.gateway).and_then(|gateway| settings.codes(gateway).meaning(&row.code));
    // A doubt about a row that says "paid" must not tell the payer that it is paid.
    let meaning = meaning.filter(|meaning| meaning.class.as_str() == row.class);
    let next_step = |meaning: &CodeMeaning| (!meaning.next_step.is_empty()).then(|| meaning.next_step.clone());
    let mut events = Vec::new();
    if let Some(attempt) = attempt(item, row.declaration_sequence.unwrap_or_default()) {
        let failed = row.declaration_state.is_some();
        let kind = if failed { EventType::DeductionFailed } else { EventType::DeductionUnknown };
        let news = DeductionNews {
            code: Some(row.code.clone()),
            class: Some(row.class.clone()),
            reason: meaning.map(|meaning| meaning.reason.clone()),
            next_step: meaning.and_then(next_step),
            tried_again: failed.then_some(false),
        };
        events.push(telling::deduction(kind, &attempt, row.sequence, &cause, now, news));
    } else if row.declaration_state.is_some()
        && item.item == 1
        && let Some(order) = orders.iter().find(|order| order.order_no == item.order_no)
    {
        let data = OrderData {
            code: Some(row.code.clone()),
            class: meaning.map(|meaning| meaning.class.as_str()),
            reason: meaning.map(|meaning| meaning.reason.clone()),
            next_step: meaning.and_then(next_step),
            ..telling::order_data(order)
        };
        events.push(telling::order(EventType::PaymentFailed, data, row.sequence, &cause, now));
    }
    if let (Some(state), Some(sequence)) = (&row.declaration_state, row.declaration_sequence) {
        let (kind, reason) = match (state.as_str(), item.run_id) {
            ("voided", _) => (EventType::DeclarationVoided, "setting_changed"),
            (_, Some(_)) => (EventType::DeclarationPayableAgain, "deduction_failed"),
            (_, None) => (EventType::DeclarationPayableAgain, "payment_failed"),
        };
        events.push(declaration_changed(kind, &declaration(item, sequence, reason), &cause, now));
    }
    events
}

/// The attempt of a deduction; none of an online payment.
fn attempt(item: &PaidItem, declaration_sequence: i64) -> Option<AttemptRow> {
    Some(AttemptRow {
        order_no: item.order_no.clone(),
        payer_id: item.payer_id.clone(),
        run_id: item.run_id?,
        declaration_no: item.declaration_no.clone(),
        declaration_sequence,
        amount: item.amount,
        insurance_type: item.insurance_type.clone(),
        kind: item.kind.clone(),
        channel: item.channel.clone(),
        period_from: item.period_from.clone(),
        period_to: item.period_to.clone(),
        gateway: item.gateway.clone(),
        bank_code: item.bank_code.clone(),
        file_name: None,
    })
}

fn declaration(item: &PaidItem, sequence: i64, reason: &str) -> DeclarationRecord {
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
        reason: reason.to_owned(),
    }
}
