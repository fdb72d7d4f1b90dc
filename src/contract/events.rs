//! What we tell the world: a closed set of types, each with what a query service needs to show the new state
//! without asking back, and nothing personal beyond `payer_id`.
//!
//! Stages make [`Event`]s, the outbox keeps them, the relay publishes what [`Event::to_wire`] writes. `id` is
//! made of subject and sequence, so that an event published twice is recognised as the same.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

pub use super::data::{
    AmountData, Data, DataKind, DeclarationData, DeductionData, DeductionNews, DiscrepancyData, MessageData, OrderData,
    PaymentData, RefundData, RequestFileData, ResultFileData, RunData, SkipData,
};
use super::envelope::wire_time;
use super::words::*;

macro_rules! event_types {
    ($($variant:ident = $name:literal: $kind:ident [$($always:literal),*]),* $(,)?) => {
        /// `routing key` = `as_str`; `type` = `pikou.<as_str>.v1`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum EventType { $($variant),* }

        impl EventType {
            pub const ALL: &[EventType] = &[$(EventType::$variant),*];

            pub fn as_str(self) -> &'static str {
                match self { $(EventType::$variant => $name),* }
            }

            /// What its `data` is.
            pub fn data(self) -> DataKind {
                match self { $(EventType::$variant => DataKind::$kind),* }
            }

            /// Those fields of `data` that may be left out in general, but never in this type.
            pub fn always(self) -> &'static [&'static str] {
                match self { $(EventType::$variant => &[$($always),*]),* }
            }
        }
    };
}

// Name, data, and the fields of it that this type always has.
event_types! {
    AmountSet = "amount.set": Amount ["channel"],
    AmountSuperseded = "amount.superseded": Amount ["channel"],
    AmountVoided = "amount.voided": Amount ["channel"],
    AmountVoidTooLate = "amount.void_too_late": Amount ["channel", "order_no", "if_succeeded", "if_failed"],
    AmountCarriedOver = "amount.carried_over": Amount ["channel"],
    AmountFulfilled = "amount.fulfilled": Amount [],
    AmountExpired = "amount.expired": Amount ["channel"],
    AmountHeld = "amount.held": Amount ["hold_reason"],
    AmountReleased = "amount.released": Amount ["channel"],
    DeclarationAccepted = "declaration.accepted": Declaration [],
    DeclarationWaiting = "declaration.waiting": Declaration [],
    DeclarationPaying = "declaration.paying": Declaration [],
    DeclarationPayableAgain = "declaration.payable_again": Declaration ["reason"],
    DeclarationPaid = "declaration.paid": Declaration [],
    DeclarationVoided = "declaration.voided": Declaration ["reason"],
    DeclarationRejected = "declaration.rejected": Declaration ["reason"],
    DeclarationReversed = "declaration.reversed": Declaration [],
    DeductionPlanned = "deduction.planned": Deduction [],
    DeductionSkipped = "deduction.skipped": Skip [],
    DeductionSent = "deduction.sent": Deduction ["file_name"],
    DeductionSucceeded = "deduction.succeeded": Deduction [],
    DeductionFailed = "deduction.failed": Deduction ["code", "class", "tried_again"],
    DeductionUnknown = "deduction.unknown": Deduction ["code", "class"],
    DeductionWithdrawn = "deduction.withdrawn": Deduction ["reason"],
    PaymentStarted = "payment.started": Order [],
    PaymentReported = "payment.reported": Order ["outcome"],
    PaymentRecorded = "payment.recorded": Payment [],
    PaymentConfirmed = "payment.confirmed": Order ["paid_at"],
    PaymentFailed = "payment.failed": Order ["code"],
    PaymentReversed = "payment.reversed": Payment ["reversed_at"],
    RefundProposed = "refund.proposed": Refund [],
    RunPlanned = "run.planned": Run [],
    RunHeld = "run.held": Run ["hold_reasons"],
    RunCancelled = "run.cancelled": Run [],
    RunSealed = "run.sealed": Run [],
    RunSent = "run.sent": Run [],
    RunClosed = "run.closed": Run [],
    RequestFileDelivered = "request_file.delivered": RequestFile [],
    ResultFileApplied = "result_file.applied": ResultFile ["rows", "applied", "repeated", "discrepancies"],
    ResultFileRefused = "result_file.refused": ResultFile ["refused", "reason"],
    ResultFileUndone = "result_file.undone": ResultFile ["rows", "applied", "repeated", "discrepancies"],
    DiscrepancyOpened = "discrepancy.opened": Discrepancy [],
    DiscrepancyResolved = "discrepancy.resolved": Discrepancy [],
    DiscrepancyReopened = "discrepancy.reopened": Discrepancy [],
    MessageRefused = "message.refused": Message ["source", "id", "code", "message_zh", "message_en"],
    MessageStale = "message.stale": Message ["source", "id"],
    MessageQuarantined = "message.quarantined": Message ["code", "quarantine_id", "reason", "position"],
}

/// One event, complete but not yet written.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub kind: EventType,
    pub subject: Subject,
    /// 1, 2, 3 … for each subject: a consumer orders by it, ignores what is older and sees what it has missed.
    pub sequence: i64,
    /// What caused it: `message:<source>/<id>`, `run:<id>`, `run_decision:<id>`, `result_file:<id>#<line>`,
    /// `result_file_undo:<id>`, `discrepancy_decision:<id>`, `hold:<decision>`, `time`.
    pub causation: String,
    pub time: DateTime<Utc>,
    pub data: Data,
}

/// Whose story an event is part of. A deduction and its payment are one story, that of the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    Amount {
        payer_id: String,
        insurance_type: String,
        valid_year: i16,
    },
    Declaration(String),
    Order(String),
    /// Of a run that passes a payer's normal contribution by, or (with its number) a special declaration.
    Skip {
        run_id: i64,
        payer_id: String,
        declaration_no: String,
    },
    Run(i64),
    RequestFile(String),
    ResultFile(i64),
    Discrepancy(i64),
    Message(String),
}

impl Subject {
    /// A slash in the id is written `%2F`, so that two messages never read alike: sources hold slashes, too.
    pub fn message(source: &str, id: &str) -> Subject {
        Subject::Message(format!("{source}/{}", id.replace('%', "%25").replace('/', "%2F")))
    }

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
            Subject::Skip { run_id, payer_id, declaration_no } if declaration_no.is_empty() => {
                write!(f, "{run_id}/{payer_id}")
            }
            Subject::Skip { run_id, payer_id, declaration_no } => write!(f, "{run_id}/{payer_id}/{declaration_no}"),
            Subject::Declaration(text) | Subject::Order(text) | Subject::RequestFile(text) | Subject::Message(text) => {
                f.write_str(text)
            }
            Subject::Run(id) | Subject::ResultFile(id) | Subject::Discrepancy(id) => id.fmt(f),
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

/// A CloudEvent (1.0, structured JSON) of pikou.
#[derive(Serialize, JsonSchema)]
pub(super) struct Wire<'a> {
    #[schemars(schema_with = "specversion")]
    specversion: &'static str,
    /// Thing, subject and sequence; the same again when the event is published again.
    #[schemars(schema_with = "saying")]
    id: &'a str,
    /// The installation.
    #[schemars(schema_with = "text")]
    source: &'a str,
    #[serde(rename = "type")]
    #[schemars(schema_with = "text")]
    kind: String,
    #[schemars(schema_with = "instant")]
    time: String,
    #[schemars(schema_with = "saying")]
    subject: String,
    #[schemars(schema_with = "datacontenttype")]
    datacontenttype: &'static str,
    /// 1, 2, 3 … for each subject.
    #[schemars(schema_with = "number")]
    sequence: i64,
    /// The message, run, file and line that caused it, or `time`.
    #[schemars(schema_with = "saying")]
    causation: &'a str,
    #[schemars(schema_with = "anything")]
    data: &'a Data,
}

impl Event {
    /// `source` is the URI by which this installation is known (`events.source`).
    pub fn to_wire(&self, source: &str) -> WireEvent {
        debug_assert_eq!(self.kind.data(), self.data.kind(), "{}", self.kind.as_str());
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
    fn two_messages_never_have_one_subject() {
        let of = |source, id| Subject::message(source, id).to_string();
        assert_eq!(of("//a.example", "2026-1"), "//a.example/2026-1");
        assert_ne!(of("//a", "b/c"), of("//a/b", "c"));
        assert_ne!(of("//a", "b%2Fc"), of("//a", "b/c"));
    }

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
