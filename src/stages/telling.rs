//! Events that more than one stage has to tell, made in one place so that they read alike.

use chrono::{DateTime, Utc};

use crate::contract::envelope::wire_time;
use crate::contract::events::{
    Data, DeclarationData, DeductionData, DeductionNews, DiscrepancyData, Event, EventType, OrderData, PaymentData,
    RequestFileData, ResultFileData, RunData, Subject,
};
use crate::crypt::hex;
use crate::domain::declaration::PublicStatus;
use crate::domain::money::Money;
use crate::store::attempts::Withdrawn;
use crate::store::bill_news::Explained;
use crate::store::declarations::DeclarationRecord;
use crate::store::online_orders::OnlineOrder;
use crate::store::ranges::AttemptRow;
use crate::store::request_files::RequestFile;
use crate::store::result_files::ResultFile;
use crate::store::reversals::Reversed;
use crate::store::runs::Run;

/// A sum as the wire carries it.
pub fn wire_sum(value: rust_decimal::Decimal) -> String {
    Money::from_decimal(value).map_or_else(|_| value.to_string(), |money| money.to_string())
}

/// A bank's code, where the gateway is a bank.
pub fn bank_code(code: &str) -> Option<String> {
    (!code.is_empty()).then(|| code.to_owned())
}

/// An event about a batch order. What only some of them say is the caller's to add.
pub fn deduction(
    kind: EventType,
    row: &AttemptRow,
    sequence: i64,
    causation: &str,
    time: DateTime<Utc>,
    more: DeductionNews,
) -> Event {
    Event {
        kind,
        subject: Subject::Order(row.order_no.clone()),
        sequence,
        causation: causation.to_owned(),
        time,
        data: Data::Deduction(DeductionData {
            order_no: row.order_no.clone(),
            payer_id: row.payer_id.clone(),
            declaration_no: row.declaration_no.clone(),
            insurance_type: row.insurance_type.clone(),
            period_from: row.period_from.clone(),
            period_to: row.period_to.clone(),
            amount: wire_sum(row.amount),
            run_id: row.run_id,
            gateway: row.gateway.clone(),
            bank_code: bank_code(&row.bank_code),
            file_name: row.file_name.clone(),
            news: more,
        }),
    }
}

/// The declaration of an attempt, for its event.
pub fn declaration_of(row: &AttemptRow, sequence: i64, reason: &str) -> DeclarationRecord {
    DeclarationRecord {
        declaration_no: row.declaration_no.clone(),
        payer_id: row.payer_id.clone(),
        insurance_type: row.insurance_type.clone(),
        kind: row.kind.clone(),
        period_from: row.period_from.clone(),
        period_to: row.period_to.clone(),
        amount: row.amount,
        channel: row.channel.clone(),
        sequence,
        reason: reason.to_owned(),
    }
}

/// The two events of a withdrawal: that of the order and that of its declaration.
pub fn withdrawn(row: &Withdrawn, causation: &str, now: DateTime<Utc>) -> [Event; 2] {
    let why = DeductionNews { reason: Some(row.reason.clone()), ..DeductionNews::default() };
    let order = deduction(EventType::DeductionWithdrawn, &row.attempt, row.sequence, causation, now, why);
    let declaration = declaration_of(&row.attempt, row.attempt.declaration_sequence, &row.reason);
    let kind = if row.declaration_state == "voided" {
        EventType::DeclarationVoided
    } else {
        EventType::DeclarationPayableAgain
    };
    [order, declaration_changed(kind, &declaration, causation, now)]
}

/// An event about a declaration, with the public status that goes with it.
pub fn declaration_changed(kind: EventType, row: &DeclarationRecord, causation: &str, now: DateTime<Utc>) -> Event {
    Event {
        kind,
        subject: Subject::Declaration(row.declaration_no.clone()),
        sequence: row.sequence,
        causation: causation.to_owned(),
        time: now,
        data: Data::Declaration(DeclarationData {
            declaration_no: row.declaration_no.clone(),
            payer_id: row.payer_id.clone(),
            insurance_type: row.insurance_type.clone(),
            kind: row.kind.clone(),
            period_from: row.period_from.clone(),
            period_to: row.period_to.clone(),
            amount: wire_sum(row.amount),
            channel: row.channel.clone(),
            public_status: public_status(kind).as_str(),
            paid: kind == EventType::DeclarationPaid,
            reason: (!row.reason.is_empty()).then(|| row.reason.clone()),
        }),
    }
}

fn public_status(kind: EventType) -> PublicStatus {
    match kind {
        EventType::DeclarationWaiting | EventType::DeclarationPaying => PublicStatus::Processing,
        EventType::DeclarationVoided | EventType::DeclarationRejected => PublicStatus::Voided,
        _ => PublicStatus::Accepted,
    }
}

/// An online order as its events show it.
pub fn order_data(order: &OnlineOrder) -> OrderData {
    OrderData {
        order_no: order.order_no.clone(),
        payer_id: order.payer_id.clone(),
        gateway: order.gateway.as_str(),
        method: order.method.as_str(),
        channel: order.channel.clone(),
        amount: order.amount.to_string(),
        declaration_nos: order.attempts.iter().map(|attempt| attempt.declaration_no.clone()).collect(),
        expires_at: wire_time(order.expires_at),
        outcome: None,
        gateway_txn_no: None,
        paid_at: None,
        code: None,
        class: None,
        reason: None,
        next_step: None,
    }
}

/// An event about an online order.
pub fn order(kind: EventType, data: OrderData, sequence: i64, causation: &str, now: DateTime<Utc>) -> Event {
    let (subject, causation) = (Subject::Order(data.order_no.clone()), causation.to_owned());
    Event { kind, subject, sequence, causation, time: now, data: Data::Order(data) }
}

/// payment.reversed and declaration.reversed.
pub fn reversed(row: &Reversed, causation: &str, now: DateTime<Utc>) -> [Event; 2] {
    let data = PaymentData {
        order_no: row.order_no.clone(),
        payer_id: row.payer_id.clone(),
        declaration_no: row.declaration_no.clone(),
        insurance_type: row.insurance_type.clone(),
        kind: row.kind.clone(),
        period_from: row.period_from.clone(),
        period_to: row.period_to.clone(),
        amount: wire_sum(row.amount),
        gateway: row.gateway.clone(),
        bank_code: bank_code(&row.bank_code),
        gateway_txn_no: row.gateway_txn_no.clone(),
        settled_at: wire_time(row.settled_at),
        channel: row.channel.clone(),
        confirmed: true,
        reversed_at: Some(wire_time(row.reversed_at)),
        reason: None,
    };
    let record = DeclarationRecord {
        declaration_no: row.declaration_no.clone(),
        payer_id: row.payer_id.clone(),
        insurance_type: row.insurance_type.clone(),
        kind: row.kind.clone(),
        period_from: row.period_from.clone(),
        period_to: row.period_to.clone(),
        amount: row.amount,
        channel: row.channel.clone(),
        sequence: row.declaration_sequence,
        reason: String::new(),
    };
    let payment = Event {
        kind: EventType::PaymentReversed,
        subject: Subject::Order(row.order_no.clone()),
        sequence: row.sequence,
        causation: causation.to_owned(),
        time: now,
        data: Data::Payment(data),
    };
    [payment, declaration_changed(EventType::DeclarationReversed, &record, causation, now)]
}

/// A discrepancy is explained by what came later.
pub fn explained(row: &Explained, now: DateTime<Utc>) -> Event {
    Event {
        kind: EventType::DiscrepancyResolved,
        subject: Subject::Discrepancy(row.discrepancy_id),
        sequence: row.sequence,
        causation: row.evidence.clone().unwrap_or_default(),
        time: now,
        data: Data::Discrepancy(DiscrepancyData { evidence: row.evidence.clone(), ..discrepancy_data(row) }),
    }
}

/// A discrepancy as its events show it.
pub fn discrepancy_data(row: &Explained) -> DiscrepancyData {
    DiscrepancyData {
        discrepancy_id: row.discrepancy_id,
        kind: row.kind.clone(),
        gateway: row.gateway.clone(),
        bank_code: bank_code(&row.bank_code),
        result_file_id: row.result_file_id,
        line_no: row.line_no,
        order_no: row.order_no.clone(),
        payer_id: row.payer_id.clone(),
        amount_ours: row.amount_ours.map(wire_sum),
        amount_theirs: row.amount_theirs.map(wire_sum),
        code: row.code.clone(),
        day: row.day.map(|day| day.to_string()),
        ..DiscrepancyData::default()
    }
}

/// A request file is with its bank: handed over by us, or answered by the bank.
pub fn request_file_delivered(file: &RequestFile, causation: &str, now: DateTime<Utc>) -> Event {
    Event {
        kind: EventType::RequestFileDelivered,
        subject: Subject::RequestFile(format!("{}/{}", file.gateway, file.file_name)),
        sequence: 1,
        causation: causation.to_owned(),
        time: now,
        data: Data::RequestFile(RequestFileData {
            run_id: file.run_id,
            gateway: file.gateway.clone(),
            bank_code: bank_code(&file.bank_code),
            file_name: file.file_name.clone(),
            items: file.items.unwrap_or(0),
            total: file.total.map_or_else(String::new, |total| total.to_string()),
            sha256: hex(file.sha256.as_deref().unwrap_or_default()),
        }),
    }
}

/// A result file is applied, refused or undone.
pub fn result_file(kind: EventType, file: &ResultFile, now: DateTime<Utc>) -> Event {
    Event {
        kind,
        subject: Subject::ResultFile(file.result_file_id),
        sequence: file.sequence,
        causation: format!("result_file:{}", file.result_file_id),
        time: now,
        data: Data::ResultFile(ResultFileData {
            result_file_id: file.result_file_id,
            gateway: file.gateway.clone(),
            bank_code: bank_code(&file.bank_code),
            file_name: file.file_name.clone(),
            sha256: hex(&file.sha256),
            rows: file.rows,
            applied: file.applied,
            repeated: file.repeated,
            discrepancies: file.discrepancies,
            refused: file.refused_as.clone(),
            line: file.refused_line,
            reason: file.refused_reason.clone(),
        }),
    }
}

/// A run's event with its counts and sums.
pub fn run_changed(kind: EventType, run: &Run, files: i64, causation: &str, now: DateTime<Utc>) -> Event {
    run_event(kind, run, run_data(run, files), causation, now)
}

/// A run waits for a person: why, and the figures of the run that it was compared with.
pub fn run_held(run: &Run, last: Option<&Run>, causation: &str, now: DateTime<Utc>) -> Event {
    let data = RunData {
        hold_reasons: Some(run.hold_reasons.clone()),
        last_run_id: last.map(|last| last.run_id),
        last_attempts: last.map(|last| last.attempts),
        last_attempts_total: last.map(|last| wire_sum(last.attempts_total)),
        ..run_data(run, 0)
    };
    run_event(EventType::RunHeld, run, data, causation, now)
}

fn run_event(kind: EventType, run: &Run, data: RunData, causation: &str, now: DateTime<Utc>) -> Event {
    Event {
        kind,
        subject: Subject::Run(run.run_id),
        sequence: run.sequence,
        causation: causation.to_owned(),
        time: now,
        data: Data::Run(data),
    }
}

fn run_data(run: &Run, files: i64) -> RunData {
    RunData {
        run_id: run.run_id,
        schedule: run.schedule.clone(),
        business_date: run.business_date.to_string(),
        slot: run.slot,
        insurance_type: run.insurance_type.clone(),
        period_from: run.period_from.clone(),
        period_to: run.period_to.clone(),
        state: run.state.clone(),
        candidates: run.candidates,
        attempts: run.attempts,
        attempts_total: run.attempts_total.to_string(),
        skips: run.skips,
        withdrawn: run.withdrawn,
        files,
        ..RunData::default()
    }
}
