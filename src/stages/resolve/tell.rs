//! The events of a decision and of what follows from it. Who decided and why stays here: neither name nor reason leaves.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::judge::Failure;
use super::{Case, Resolution};
use crate::contract::envelope::wire_time;
use crate::contract::events::{
    AmountData, Data, DeductionNews, DiscrepancyData, Event, EventType, OrderData, PaymentData, RefundData, Subject,
};
use crate::domain::amount_setting::HoldReason;
use crate::domain::discrepancy::{Decision, DiscrepancyKind};
use crate::domain::outcome::OutcomeClass;
use crate::stages::telling::{self, bank_code, declaration_changed, wire_sum};
use crate::store::decided_orders::{DecidedFailure, DecidedSettlement, Money, OrderItem};
use crate::store::declarations::DeclarationRecord;
use crate::store::discrepancy_decisions::Discrepancy;
use crate::store::online_orders::OnlineOrder;
use crate::store::ranges::AttemptRow;
use crate::store::reversals::Reversed;

pub fn causation(decision_id: i64) -> String {
    format!("discrepancy_decision:{decision_id}")
}

pub fn resolved(about: &Discrepancy, resolution: &Resolution, decision_id: i64, now: DateTime<Utc>) -> Event {
    let data = DiscrepancyData {
        decision: Some(resolution.decision.as_str()),
        attached_to: resolution.order_no.clone().filter(|_| resolution.decision == Decision::Attach),
        ..discrepancy(about)
    };
    changed(EventType::DiscrepancyResolved, about, data, decision_id, now)
}

pub fn reopened(about: &Discrepancy, decision_id: i64, now: DateTime<Utc>) -> Event {
    changed(EventType::DiscrepancyReopened, about, discrepancy(about), decision_id, now)
}

fn changed(kind: EventType, about: &Discrepancy, data: DiscrepancyData, decision_id: i64, now: DateTime<Utc>) -> Event {
    Event {
        kind,
        subject: Subject::Discrepancy(about.discrepancy_id),
        sequence: about.sequence + 1,
        causation: causation(decision_id),
        time: now,
        data: Data::Discrepancy(data),
    }
}

fn discrepancy(about: &Discrepancy) -> DiscrepancyData {
    DiscrepancyData {
        discrepancy_id: about.discrepancy_id,
        kind: about.kind.clone(),
        gateway: about.gateway.clone(),
        bank_code: bank_code(&about.bank_code),
        result_file_id: about.result_file_id,
        line_no: about.line_no,
        order_no: about.order_no.clone(),
        payer_id: about.payer_id.clone(),
        amount_ours: about.amount_ours.map(wire_sum),
        amount_theirs: about.amount_theirs.map(wire_sum),
        code: about.code.clone(),
        ..DiscrepancyData::default()
    }
}

/// Behind the event that it is resolved.
pub fn refund(case: &Case, amount: Decimal, decision_id: i64, now: DateTime<Utc>) -> Event {
    let about = case.one();
    // Only where the same was paid twice is there another payment to compare with.
    let booked = case.booked.as_ref().filter(|_| case.kind == DiscrepancyKind::DoublePayment);
    let times = booked.map(|booked| booked.settled_at).zip(about.settled_at);
    let data = RefundData {
        reason: about.kind.clone(),
        discrepancy_id: Some(about.discrepancy_id),
        gateway: about.gateway.clone(),
        bank_code: bank_code(&about.bank_code),
        amount: wire_sum(amount),
        order_no: about.order_no.clone(),
        payer_id: about.payer_id.clone(),
        declaration_no: about.declaration_no.clone(),
        gateway_txn_no: about.gateway_txn_no.clone(),
        settled_at: about.settled_at.map(wire_time),
        booked_order_no: booked.map(|booked| booked.order_no.clone()),
        booked_txn_no: booked.and_then(|booked| booked.gateway_txn_no.clone()),
        booked_settled_at: booked.map(|booked| wire_time(booked.settled_at)),
        earlier: times.map(|(booked, this)| if this < booked { "this" } else { "booked" }),
    };
    Event {
        kind: EventType::RefundProposed,
        subject: Subject::Discrepancy(about.discrepancy_id),
        sequence: about.sequence + 2,
        causation: causation(decision_id),
        time: now,
        data: Data::Refund(data),
    }
}

/// deduction.succeeded of a deduction, payment.recorded, declaration.paid; amount.fulfilled where an amount was set.
pub fn settled(row: &DecidedSettlement<'_>, money: &Money, decision_id: i64, now: DateTime<Utc>) -> Vec<Event> {
    let (item, cause) = (row.item, causation(decision_id));
    let mut events = Vec::new();
    if let Some(attempt) = attempt(item) {
        let none = DeductionNews::default();
        events.push(telling::deduction(EventType::DeductionSucceeded, &attempt, row.sequence, &cause, now, none));
    }
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
        gateway_txn_no: money.gateway_txn_no.clone(),
        settled_at: wire_time(money.settled_at),
        channel: item.channel.clone(),
        // A person has looked at it.
        confirmed: true,
        reversed_at: None,
        reason: None,
    };
    events.push(payment(EventType::PaymentRecorded, data, row.sequence + 1, &cause, now));
    let record = declaration(item, row.declaration_sequence, "");
    events.push(declaration_changed(EventType::DeclarationPaid, &record, &cause, now));
    if let Some(sequence) = row.amount_sequence {
        let data = AmountData { status: "fulfilled", ..amount_of(item, item.amount) };
        events.push(amount(EventType::AmountFulfilled, data, sequence, &cause, now));
    }
    events
}

/// deduction.failed or payment.failed, and what becomes of the declarations; amount.held.
pub fn failed(
    rows: &[DecidedFailure<'_>],
    online: Option<&OnlineOrder>,
    failure: &Failure,
    decision_id: i64,
    now: DateTime<Utc>,
) -> Vec<Event> {
    let cause = causation(decision_id);
    let mut events = Vec::new();
    if let (Some(order), Some(first)) = (online, rows.first()) {
        events.push(payment_failed(order, first.sequence, failure, &cause, now));
    }
    for row in rows {
        let item = row.item;
        if let Some(attempt) = attempt(item) {
            let next_run = row.counts && item.retries_left && !item.held && row.declaration_state == "payable";
            let news = DeductionNews {
                code: Some(failure.code.clone()),
                class: Some(failure.class.as_str().to_owned()),
                reason: failure.meaning.as_ref().map(|meaning| meaning.reason.clone()),
                next_step: next_step(failure),
                tried_again: Some(next_run),
            };
            events.push(telling::deduction(EventType::DeductionFailed, &attempt, row.sequence, &cause, now, news));
        }
        let (kind, reason) = match (row.declaration_state, item.run_id) {
            ("voided", _) => (EventType::DeclarationVoided, "setting_changed"),
            (_, Some(_)) => (EventType::DeclarationPayableAgain, "deduction_failed"),
            (_, None) => (EventType::DeclarationPayableAgain, "payment_failed"),
        };
        let record = declaration(item, row.declaration_sequence, reason);
        events.push(declaration_changed(kind, &record, &cause, now));
        if let Some(sequence) = row.amount_sequence {
            let data = AmountData {
                status: "held",
                hold_reason: Some(HoldReason::NoAgreement.as_str().to_owned()),
                ..amount_of(item, item.set_amount.unwrap_or(item.amount))
            };
            events.push(amount(EventType::AmountHeld, data, sequence, &cause, now));
        }
    }
    events
}

fn next_step(failure: &Failure) -> Option<String> {
    failure.meaning.as_ref().map(|meaning| meaning.next_step.clone()).filter(|step| !step.is_empty())
}

fn payment_failed(order: &OnlineOrder, sequence: i64, failure: &Failure, cause: &str, now: DateTime<Utc>) -> Event {
    let data = OrderData {
        code: Some(failure.code.clone()),
        class: Some(failure.class).filter(|class| *class != OutcomeClass::Success).map(OutcomeClass::as_str),
        reason: failure.meaning.as_ref().map(|meaning| meaning.reason.clone()),
        next_step: next_step(failure),
        ..telling::order_data(order)
    };
    telling::order(EventType::PaymentFailed, data, sequence, cause, now)
}

/// payment.reversed and declaration.reversed.
pub fn reversed(row: &Reversed, decision_id: i64, now: DateTime<Utc>) -> [Event; 2] {
    telling::reversed(row, &causation(decision_id), now)
}

fn payment(kind: EventType, data: PaymentData, sequence: i64, cause: &str, now: DateTime<Utc>) -> Event {
    let subject = Subject::Order(data.order_no.clone());
    Event { kind, subject, sequence, causation: cause.to_owned(), time: now, data: Data::Payment(data) }
}

/// The attempt of a deduction; none of an online payment.
fn attempt(item: &OrderItem) -> Option<AttemptRow> {
    Some(AttemptRow {
        order_no: item.order_no.clone(),
        payer_id: item.payer_id.clone(),
        run_id: item.run_id?,
        declaration_no: item.declaration_no.clone(),
        declaration_sequence: item.declaration_sequence,
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

fn declaration(item: &OrderItem, sequence: i64, reason: &str) -> DeclarationRecord {
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

fn amount_of(item: &OrderItem, sum: Decimal) -> AmountData {
    AmountData {
        payer_id: item.payer_id.clone(),
        insurance_type: item.insurance_type.clone(),
        valid_year: item.valid_year,
        amount: wire_sum(sum),
        ..AmountData::default()
    }
}

fn amount(kind: EventType, data: AmountData, sequence: i64, cause: &str, now: DateTime<Utc>) -> Event {
    let (payer_id, insurance_type) = (data.payer_id.clone(), data.insurance_type.clone());
    let subject = Subject::Amount { payer_id, insurance_type, valid_year: data.valid_year };
    Event { kind, subject, sequence, causation: cause.to_owned(), time: now, data: Data::Amount(data) }
}
