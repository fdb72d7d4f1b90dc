//! What we tell the world: a closed set of types, each with what a query service needs to show the new state
//! without asking back, and nothing personal beyond `payer_id`.
//!
//! Stages make [`Event`]s, the outbox keeps them, the relay publishes what [`Event::to_wire`] writes. `id` is
//! made of subject and sequence, so that an event published twice is recognised as the same.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::envelope::wire_time;
use super::refusal::RefusalCode;

macro_rules! event_types {
    ($($variant:ident = $name:literal),* $(,)?) => {
        /// `routing key` = `as_str`; `type` = `pikou.<as_str>.v1`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum EventType { $($variant),* }

        impl EventType {
            pub const ALL: &[EventType] = &[$(EventType::$variant),*];

            pub fn as_str(self) -> &'static str {
                match self { $(EventType::$variant => $name),* }
            }
        }
    };
}

event_types! {
    AmountSet = "amount.set",
    AmountSuperseded = "amount.superseded",
    AmountVoided = "amount.voided",
    AmountVoidTooLate = "amount.void_too_late",
    AmountFulfilled = "amount.fulfilled",
    AmountHeld = "amount.held",
    AmountReleased = "amount.released",
    DeclarationAccepted = "declaration.accepted",
    DeclarationWaiting = "declaration.waiting",
    DeclarationPaying = "declaration.paying",
    DeclarationPayableAgain = "declaration.payable_again",
    DeclarationPaid = "declaration.paid",
    DeclarationVoided = "declaration.voided",
    DeclarationRejected = "declaration.rejected",
    DeductionPlanned = "deduction.planned",
    DeductionSkipped = "deduction.skipped",
    DeductionSent = "deduction.sent",
    DeductionSucceeded = "deduction.succeeded",
    DeductionFailed = "deduction.failed",
    DeductionUnknown = "deduction.unknown",
    DeductionWithdrawn = "deduction.withdrawn",
    PaymentStarted = "payment.started",
    PaymentReported = "payment.reported",
    PaymentRecorded = "payment.recorded",
    PaymentFailed = "payment.failed",
    RunPlanned = "run.planned",
    RunSealed = "run.sealed",
    RunSent = "run.sent",
    RunClosed = "run.closed",
    RequestFileDelivered = "request_file.delivered",
    ResultFileApplied = "result_file.applied",
    ResultFileRefused = "result_file.refused",
    DiscrepancyOpened = "discrepancy.opened",
    MessageRefused = "message.refused",
    MessageStale = "message.stale",
    MessageQuarantined = "message.quarantined",
}

/// One event, complete but not yet written.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub kind: EventType,
    pub subject: Subject,
    /// Strictly increasing for each subject: a consumer orders by it and ignores what is older.
    pub sequence: i64,
    /// What caused it: `message:<source>/<id>`, `run:<id>`, `result_file:<id>#<line>`, `time`.
    pub causation: String,
    pub time: DateTime<Utc>,
    pub data: Data,
}

/// Whose story an event is part of. A deduction and its payment are one story, that of the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    Amount { payer_id: String, insurance_type: String, valid_year: i16 },
    Declaration(String),
    Order(String),
    Skip { run_id: i64, payer_id: String },
    Run(i64),
    RequestFile(String),
    ResultFile(i64),
    Discrepancy(i64),
    Message(String),
}

impl Subject {
    fn thing(&self) -> &'static str {
        match self {
            Subject::Amount { .. } => "amount",
            Subject::Declaration(_) => "declaration",
            Subject::Order(_) => "order",
            Subject::Skip { .. } => "skip",
            Subject::Run(_) => "run",
            Subject::RequestFile(_) => "request_file",
            Subject::ResultFile(_) => "result_file",
            Subject::Discrepancy(_) => "discrepancy",
            Subject::Message(_) => "message",
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Subject::Amount { payer_id, insurance_type, valid_year } => {
                write!(f, "{payer_id}/{insurance_type}/{valid_year}")
            }
            Subject::Skip { run_id, payer_id } => write!(f, "{run_id}/{payer_id}"),
            Subject::Declaration(text) | Subject::Order(text) | Subject::RequestFile(text) | Subject::Message(text) => {
                f.write_str(text)
            }
            Subject::Run(id) | Subject::ResultFile(id) | Subject::Discrepancy(id) => id.fmt(f),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Data {
    Amount(AmountData),
    Declaration(DeclarationData),
    Deduction(DeductionData),
    Skip(SkipData),
    Order(OrderData),
    Payment(PaymentData),
    Run(RunData),
    RequestFile(RequestFileData),
    ResultFile(ResultFileData),
    Discrepancy(DiscrepancyData),
    Message(MessageData),
}

/// Sums are texts in yuan with two decimals, as everywhere on the wire.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct AmountData {
    pub payer_id: String,
    pub insurance_type: String,
    pub valid_year: i16,
    pub amount: String,
    pub status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// `amount.held`: why nothing is deducted for the time being.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_reason: Option<String>,
    /// `amount.void_too_late`: the order that is out and the file it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_no: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// `amount.void_too_late`: what happens either way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_succeeded: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_failed: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeclarationData {
    pub declaration_no: String,
    pub payer_id: String,
    pub insurance_type: String,
    pub kind: String,
    pub period_from: String,
    pub period_to: String,
    pub amount: String,
    pub channel: String,
    /// 申报处理中, 申报成功 or 已作废.
    pub public_status: &'static str,
    pub paid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeductionData {
    pub order_no: String,
    pub payer_id: String,
    pub declaration_no: String,
    pub insurance_type: String,
    pub period_from: String,
    pub period_to: String,
    pub amount: String,
    pub run_id: i64,
    pub gateway: String,
    pub bank_code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// The gateway's code, its class (`retryable`, `final`, `unknown`) and what the payer should do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
    /// `deduction.failed`: whether a later run of the schedule tries again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tried_again: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SkipData {
    pub run_id: i64,
    pub payer_id: String,
    pub insurance_type: String,
    pub period_from: String,
    pub period_to: String,
    pub reason: String,
    pub sentence: String,
}

/// An online order: its declarations succeed or fail together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OrderData {
    pub order_no: String,
    pub payer_id: String,
    pub gateway: &'static str,
    pub method: &'static str,
    pub channel: String,
    pub amount: String,
    pub declaration_nos: Vec<String>,
    /// When the gateway takes no money for it any more.
    pub expires_at: String,
    /// `payment.reported`: what the channel said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_txn_no: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paid_at: Option<String>,
    /// The gateway's code, what it means and what the payer should do; `not_paid` for an order that was closed unpaid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PaymentData {
    pub order_no: String,
    pub payer_id: String,
    pub declaration_no: String,
    pub insurance_type: String,
    pub kind: String,
    pub period_from: String,
    pub period_to: String,
    pub amount: String,
    pub gateway: String,
    /// None for an online payment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bank_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_txn_no: Option<String>,
    pub settled_at: String,
    pub channel: String,
    /// False while only the channel has reported it, and no file of the gateway has it yet.
    pub confirmed: bool,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct RunData {
    pub run_id: i64,
    pub schedule: String,
    pub business_date: String,
    pub slot: i16,
    pub insurance_type: String,
    pub period_from: String,
    pub period_to: String,
    pub state: String,
    pub candidates: i64,
    pub attempts: i64,
    pub attempts_total: String,
    pub skips: i64,
    pub withdrawn: i64,
    pub files: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestFileData {
    pub run_id: i64,
    pub gateway: String,
    pub bank_code: String,
    pub file_name: String,
    pub items: i64,
    pub total: String,
    pub sha256: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResultFileData {
    pub result_file_id: i64,
    pub gateway: String,
    pub bank_code: String,
    pub file_name: String,
    pub sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeated: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discrepancies: Option<i64>,
    /// `malformed`, `totals_differ` or `wrong_file`, with line and reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DiscrepancyData {
    pub discrepancy_id: i64,
    pub kind: String,
    pub gateway: String,
    /// None for an online payment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bank_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_file_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line_no: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_no: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payer_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_ours: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_theirs: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct MessageData {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payer_id: Option<String>,
    /// A refusal's code, or why a message was not understood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_zh: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_en: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantine_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
}

impl MessageData {
    pub fn refused(source: &str, id: &str, payer_id: Option<String>, code: RefusalCode) -> MessageData {
        MessageData {
            source: Some(source.to_owned()),
            id: Some(id.to_owned()),
            payer_id,
            code: Some(code.as_str()),
            message_zh: Some(code.chinese()),
            message_en: Some(code.english()),
            ..MessageData::default()
        }
    }
}

/// An event as it goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireEvent {
    pub routing_key: String,
    pub id: String,
    pub body: String,
}

#[derive(Serialize)]
struct Wire<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    kind: String,
    time: String,
    subject: String,
    datacontenttype: &'static str,
    sequence: i64,
    causation: &'a str,
    data: &'a Data,
}

impl Event {
    /// `source` is the URI by which this installation is known (`events.source`).
    pub fn to_wire(&self, source: &str) -> WireEvent {
        let subject = self.subject.to_string();
        let id = format!("{}/{subject}/{}", self.subject.thing(), self.sequence);
        let wire = Wire {
            specversion: "1.0",
            id: &id,
            source,
            kind: format!("pikou.{}.v1", self.kind.as_str()),
            time: wire_time(self.time),
            subject,
            datacontenttype: "application/json",
            sequence: self.sequence,
            causation: &self.causation,
            data: &self.data,
        };
        let body = serde_json::to_string(&wire).expect("an event is plain JSON");
        WireEvent { routing_key: self.kind.as_str().to_owned(), id, body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_goes_out_as_a_cloud_event_named_by_subject_and_sequence() {
        let event = Event {
            kind: EventType::AmountVoided,
            subject: Subject::Amount {
                payer_id: "101".into(),
                insurance_type: "resident_pension".into(),
                valid_year: 2026,
            },
            sequence: 2,
            causation: "message://s/1".into(),
            time: DateTime::from_timestamp(0, 0).unwrap(),
            data: Data::Amount(AmountData {
                payer_id: "101".into(),
                insurance_type: "resident_pension".into(),
                valid_year: 2026,
                amount: "1000.00".into(),
                status: "voided",
                ..AmountData::default()
            }),
        };
        let wire = event.to_wire("//pikou");
        assert_eq!(wire.routing_key, "amount.voided");
        assert_eq!(
            wire.body,
            r#"{"specversion":"1.0","id":"amount/101/resident_pension/2026/2","source":"//pikou","type":"pikou.amount.voided.v1","time":"1970-01-01T00:00:00Z","subject":"101/resident_pension/2026","datacontenttype":"application/json","sequence":2,"causation":"message://s/1","data":{"payer_id":"101","insurance_type":"resident_pension","valid_year":2026,"amount":"1000.00","status":"voided"}}"#
        );
    }
}
