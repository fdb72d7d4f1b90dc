//! The steps of a story, by what they are about.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;

use super::{all_words, word};
use crate::contract::refusal::RefusalCode;
use crate::domain::amount_setting::HoldReason;
use crate::domain::attempt::Withdrawal;
use crate::domain::discrepancy::{Decision, DiscrepancyKind};
use crate::domain::eligibility::SkipReason;
use crate::domain::outcome::OutcomeClass;
use crate::domain::threshold::RunHoldReason;

/// A message came.
#[derive(Debug, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum MessageStep {
    /// A message came, and was answered.
    Message {
        source: String,
        id: String,
        sent_at: DateTime<Utc>,
        #[serde(flatten)]
        fact: Fact,
        answer: Answer,
        repeated: i32,
        /// Of a void: the file that its deduction was in already.
        too_late_for: Option<String>,
    },
    /// A message that names the payer was not understood.
    Quarantined { quarantine_id: i64, code: String, reason: String, position: String, state: String, repeated: i32 },
}

/// An amount that nobody sent a message about.
#[derive(Debug, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum YearStep {
    CarriedOver {
        from_year: i16,
        amount: String,
        #[serde(serialize_with = "word")]
        hold_reason: Option<HoldReason>,
    },
    Expired {
        amount: String,
    },
    /// A person holds an amount, or releases it.
    HeldByPerson {
        released: bool,
        by: String,
        reason: String,
    },
}

/// What a run did.
#[derive(Debug, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum RunStep {
    /// A run deducts.
    Deducted {
        run_id: i64,
        business_date: NaiveDate,
        order_no: String,
        declaration_no: String,
        amount: String,
        gateway: String,
        bank_code: String,
        /// The run filed the declaration itself.
        filed: bool,
        #[serde(serialize_with = "word")]
        withdrawal: Option<Withdrawal>,
    },
    Skipped {
        run_id: i64,
        business_date: NaiveDate,
        #[serde(serialize_with = "word")]
        reason: SkipReason,
        declaration_no: Option<String>,
    },
    /// A run of the payer's region and type, in which the payer was no candidate.
    NotCandidate {
        run_id: i64,
        business_date: NaiveDate,
    },
    RunHeld {
        run_id: i64,
        #[serde(serialize_with = "all_words")]
        reasons: Vec<RunHoldReason>,
    },
    RunDecided {
        run_id: i64,
        cancelled: bool,
        by: String,
        reason: String,
    },
    /// It is in a request file.
    InFile {
        order_no: String,
        file_name: String,
        place: i64,
        sealed_at: DateTime<Utc>,
        delivered_at: Option<DateTime<Utc>>,
    },
}

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum MoneyStep {
    /// A row of a result file, unless it says that the money came.
    Result {
        order_no: String,
        file_name: String,
        line_no: i64,
        code: String,
        #[serde(serialize_with = "word")]
        class: OutcomeClass,
        /// By the gateway's code table of today.
        meaning: Option<String>,
        next_step: Option<String>,
        tried_again: bool,
        declaration_state: Option<String>,
        #[serde(serialize_with = "word")]
        held: Option<HoldReason>,
    },
    Paid {
        order_no: String,
        declaration_no: String,
        amount: String,
        gateway: String,
        bank_code: String,
        gateway_txn_no: Option<String>,
        settled_at: DateTime<Utc>,
        evidence: Evidence,
    },
    /// A gateway's bill has what a channel reported.
    Confirmed {
        order_no: String,
        amount: String,
        evidence: Evidence,
    },
    /// A gateway's bill says that money went back.
    Refunded {
        order_no: String,
        amount: String,
        evidence: Evidence,
    },
    /// The bills of all its days lack the order.
    Unpaid {
        order_no: String,
    },
    Reversed {
        order_no: String,
        declaration_no: String,
        reversed_at: DateTime<Utc>,
        evidence: Evidence,
    },
    /// A result file was put back: what it had said of the order holds no more.
    Undone {
        order_no: String,
        file_name: String,
        /// What it had said was paid.
        paid: Option<String>,
        by: String,
        second_by: Option<String>,
        reason: String,
    },
}

/// Our book and theirs disagree.
#[derive(Debug, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Disagreement {
    Discrepancy {
        discrepancy_id: i64,
        #[serde(serialize_with = "word")]
        kind: DiscrepancyKind,
        order_no: Option<String>,
        amount_ours: Option<String>,
        amount_theirs: Option<String>,
        code: Option<String>,
        meaning: Option<String>,
        evidence: Evidence,
        state: String,
        /// What came later and has resolved it without a person.
        resolved_by: Option<String>,
    },
    Decided {
        discrepancy_id: i64,
        #[serde(serialize_with = "word")]
        kind: DiscrepancyKind,
        /// None: it was opened again.
        #[serde(serialize_with = "word")]
        decision: Option<Decision>,
        attached_to: Option<String>,
        by: String,
        second: Option<String>,
        reason: String,
    },
}

/// What a message says.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    Enrolment {
        status: String,
        effective_on: NaiveDate,
        division_code: String,
        category: Option<String>,
    },
    Agreement {
        agreement_no: String,
        gateway: String,
        bank_code: String,
        status: String,
        batch_enabled: bool,
        insurance_types: Vec<String>,
        amount_max: Option<String>,
    },
    AmountSet {
        amount: String,
        channel: String,
        period_from: Option<String>,
    },
    AmountVoided {
        channel: String,
    },
    Assessment {
        assessment_no: String,
        assessed: String,
        period_from: String,
        period_to: String,
        amount: String,
        pay_by: NaiveDate,
        issued: bool,
    },
    Declaration {
        declaration_no: String,
        kind: String,
        period_from: String,
        period_to: String,
        amount: String,
        channel: String,
        collect_by: String,
    },
    VoidRequested {
        declaration_no: String,
        channel: String,
    },
    PaymentStarted {
        order_no: String,
        declaration_nos: Vec<String>,
        amount: String,
        gateway: String,
        channel: String,
        expires_at: DateTime<Utc>,
    },
    PaymentReported {
        order_no: String,
        outcome: String,
        gateway_txn_no: Option<String>,
        code: Option<String>,
        meaning: Option<String>,
    },
    /// Of a kind that says nothing of a payer, or one that is not understood under the settings of today.
    Other {
        kind: String,
    },
}

/// What was answered.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Answer {
    Accepted,
    Refused {
        #[serde(serialize_with = "word")]
        code: RefusalCode,
    },
    Stale,
    Waiting {
        wait_for: String,
        wait_until: Option<DateTime<Utc>>,
    },
}

/// What an entry rests on.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Evidence {
    File {
        file_name: String,
        line_no: i64,
    },
    Report {
        source: String,
        id: String,
    },
    Decision {
        decision_id: i64,
    },
    /// Time has passed, and nothing came.
    Silence,
}
