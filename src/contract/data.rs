//! What each kind of event says: the types that are written are the types that the JSON Schemas come from. The
//! functions named at the fields are in [`words`](super::words).

use schemars::JsonSchema;
use serde::Serialize;

pub use super::discrepancy_data::{DiscrepancyData, RefundData};
pub use super::file_data::{RequestFileData, ResultFileData};
use super::refusal::RefusalCode;
use super::words::*;

macro_rules! data_kinds {
    ($($kind:ident($data:ident)),* $(,)?) => {
        /// What an event says, by kind.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum Data { $($kind($data)),* }

        /// Each type of event is bound to one of these.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum DataKind { $($kind),* }

        impl Data {
            pub fn kind(&self) -> DataKind {
                match self { $(Data::$kind(_) => DataKind::$kind),* }
            }
        }

        impl DataKind {
            pub(super) fn schema(self, generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                match self { $(DataKind::$kind => $data::json_schema(generator)),* }
            }
        }
    };
}

data_kinds! {
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
    Refund(RefundData),
    Message(MessageData),
}

/// Sums are texts in yuan with two decimals, as everywhere on the wire.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct AmountData {
    #[schemars(schema_with = "payer_id")]
    pub payer_id: String,
    #[schemars(schema_with = "text")]
    pub insurance_type: String,
    #[schemars(schema_with = "year")]
    pub valid_year: i16,
    #[schemars(schema_with = "money")]
    pub amount: String,
    #[schemars(schema_with = "amount_status")]
    pub status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text")]
    pub channel: Option<String>,
    /// `amount.held`: why nothing is deducted for the time being.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "hold_reason")]
    pub hold_reason: Option<String>,
    /// `amount.void_too_late`: the order that is out and the file it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text")]
    pub order_no: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text")]
    pub file_name: Option<String>,
    /// `amount.void_too_late`: what happens either way.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "saying")]
    pub if_succeeded: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "saying")]
    pub if_failed: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct DeclarationData {
    #[schemars(schema_with = "text")]
    pub declaration_no: String,
    #[schemars(schema_with = "payer_id")]
    pub payer_id: String,
    #[schemars(schema_with = "text")]
    pub insurance_type: String,
    #[schemars(schema_with = "declaration_kind")]
    pub kind: String,
    #[schemars(schema_with = "month")]
    pub period_from: String,
    #[schemars(schema_with = "month")]
    pub period_to: String,
    #[schemars(schema_with = "money")]
    pub amount: String,
    #[schemars(schema_with = "text")]
    pub channel: String,
    /// 申报处理中, 申报成功 or 已作废.
    #[schemars(schema_with = "public_status")]
    pub public_status: &'static str,
    pub paid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "declaration_reason")]
    pub reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct DeductionData {
    #[schemars(schema_with = "text")]
    pub order_no: String,
    #[schemars(schema_with = "payer_id")]
    pub payer_id: String,
    #[schemars(schema_with = "text")]
    pub declaration_no: String,
    #[schemars(schema_with = "text")]
    pub insurance_type: String,
    #[schemars(schema_with = "month")]
    pub period_from: String,
    #[schemars(schema_with = "month")]
    pub period_to: String,
    #[schemars(schema_with = "money")]
    pub amount: String,
    #[schemars(schema_with = "number")]
    pub run_id: i64,
    #[schemars(schema_with = "gateway")]
    pub gateway: String,
    /// None where the gateway is not a bank.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text")]
    pub bank_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text")]
    pub file_name: Option<String>,
    #[serde(flatten)]
    pub news: DeductionNews,
}

// What only some events of an order say.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct DeductionNews {
    /// The gateway's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_text")]
    pub code: Option<String>,
    /// Whether trying again helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "outcome_class")]
    pub class: Option<String>,
    /// What happened, in words for the payer; of a withdrawal, its code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "saying")]
    pub reason: Option<String>,
    /// What the payer should do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "saying")]
    pub next_step: Option<String>,
    /// Whether a later run of the schedule tries again.
    #[schemars(schema_with = "flag")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tried_again: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct SkipData {
    #[schemars(schema_with = "number")]
    pub run_id: i64,
    #[schemars(schema_with = "payer_id")]
    pub payer_id: String,
    #[schemars(schema_with = "text")]
    pub insurance_type: String,
    #[schemars(schema_with = "declaration_kind")]
    pub kind: String,
    #[schemars(schema_with = "month")]
    pub period_from: String,
    #[schemars(schema_with = "month")]
    pub period_to: String,
    /// Of a special one, of which a payer may have several.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text")]
    pub declaration_no: Option<String>,
    #[schemars(schema_with = "skip_reason")]
    pub reason: String,
    #[schemars(schema_with = "saying")]
    pub sentence: String,
}

/// An online order: its declarations succeed or fail together.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct OrderData {
    #[schemars(schema_with = "text")]
    pub order_no: String,
    #[schemars(schema_with = "payer_id")]
    pub payer_id: String,
    #[schemars(schema_with = "gateway")]
    pub gateway: &'static str,
    #[schemars(schema_with = "method")]
    pub method: &'static str,
    #[schemars(schema_with = "text")]
    pub channel: String,
    #[schemars(schema_with = "money")]
    pub amount: String,
    #[schemars(schema_with = "texts")]
    pub declaration_nos: Vec<String>,
    /// When the gateway takes no money for it any more.
    #[schemars(schema_with = "instant")]
    pub expires_at: String,
    /// `payment.reported`: what the channel said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "report_outcome")]
    pub outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text")]
    pub gateway_txn_no: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "instant")]
    pub paid_at: Option<String>,
    /// The gateway's code, what it means and what the payer should do; `not_paid` for an order that was closed unpaid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_text")]
    pub code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "outcome_class")]
    pub class: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "saying")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "saying")]
    pub next_step: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PaymentData {
    #[schemars(schema_with = "text")]
    pub order_no: String,
    #[schemars(schema_with = "payer_id")]
    pub payer_id: String,
    #[schemars(schema_with = "text")]
    pub declaration_no: String,
    #[schemars(schema_with = "text")]
    pub insurance_type: String,
    #[schemars(schema_with = "declaration_kind")]
    pub kind: String,
    #[schemars(schema_with = "month")]
    pub period_from: String,
    #[schemars(schema_with = "month")]
    pub period_to: String,
    #[schemars(schema_with = "money")]
    pub amount: String,
    #[schemars(schema_with = "gateway")]
    pub gateway: String,
    /// None for an online payment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text")]
    pub bank_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text")]
    pub gateway_txn_no: Option<String>,
    #[schemars(schema_with = "instant")]
    pub settled_at: String,
    #[schemars(schema_with = "text")]
    pub channel: String,
    /// False while only the channel has reported it, and no file of the gateway has it yet.
    pub confirmed: bool,
    /// `payment.reversed`: when the money went back, by the gateway's time or that of the decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "instant")]
    pub reversed_at: Option<String>,
    /// `payment.reversed`: `undone` where no money went back, but the result file was put back that said it had come.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "reversal_reason")]
    pub reason: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct RunData {
    #[schemars(schema_with = "number")]
    pub run_id: i64,
    #[schemars(schema_with = "text")]
    pub schedule: String,
    #[schemars(schema_with = "date")]
    pub business_date: String,
    #[schemars(schema_with = "number")]
    pub slot: i16,
    #[schemars(schema_with = "text")]
    pub insurance_type: String,
    #[schemars(schema_with = "month")]
    pub period_from: String,
    #[schemars(schema_with = "month")]
    pub period_to: String,
    #[schemars(schema_with = "run_state")]
    pub state: String,
    #[schemars(schema_with = "count")]
    pub candidates: i64,
    #[schemars(schema_with = "count")]
    pub attempts: i64,
    #[schemars(schema_with = "money")]
    pub attempts_total: String,
    #[schemars(schema_with = "count")]
    pub skips: i64,
    #[schemars(schema_with = "count")]
    pub withdrawn: i64,
    #[schemars(schema_with = "count")]
    pub files: i64,
    /// `run.held`: why it waits for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "hold_reasons")]
    pub hold_reasons: Option<Vec<String>>,
    /// `run.held`: the schedule's run before it, with its figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number")]
    pub last_run_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "count")]
    pub last_attempts: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "money")]
    pub last_attempts_total: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct MessageData {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text")]
    pub source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "payer_id")]
    pub payer_id: Option<String>,
    /// A refusal's code, or why a message was not understood.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "message_code")]
    pub code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "saying")]
    pub message_zh: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "saying")]
    pub message_en: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number")]
    pub quarantine_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "saying")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_text")]
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
