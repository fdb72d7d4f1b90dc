//! What events about discrepancies and proposed refunds say; the rest is in [`data`](super::data).

use schemars::JsonSchema;
use serde::Serialize;

use super::words::*;

#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct DiscrepancyData {
    #[schemars(schema_with = "number")]
    pub discrepancy_id: i64,
    #[schemars(schema_with = "discrepancy_kind")]
    pub kind: String,
    #[schemars(schema_with = "gateway")]
    pub gateway: String,
    /// None for an online payment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text")]
    pub bank_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number")]
    pub result_file_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number")]
    pub line_no: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_text")]
    pub order_no: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "payer_id")]
    pub payer_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "money")]
    pub amount_ours: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "money")]
    pub amount_theirs: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_text")]
    pub code: Option<String>,
    /// `discrepancy.resolved`: what a person decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "decision")]
    pub decision: Option<&'static str>,
    /// The order that its money was attached to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text")]
    pub attached_to: Option<String>,
    /// `discrepancy.resolved` without a decision: what came later and explains it, written as `causation`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "saying")]
    pub evidence: Option<String>,
    /// `file_missing`: the day whose bill has not come.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "date")]
    pub day: Option<String>,
}

/// Money that should go back to whom it came from. We do not move it ourselves.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct RefundData {
    /// The kind of the discrepancy by whose decision it is proposed.
    #[schemars(schema_with = "discrepancy_kind")]
    pub reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number")]
    pub discrepancy_id: Option<i64>,
    #[schemars(schema_with = "gateway")]
    pub gateway: String,
    /// None for an online payment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text")]
    pub bank_code: Option<String>,
    #[schemars(schema_with = "money")]
    pub amount: String,
    /// As the gateway names it; it may be none of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_text")]
    pub order_no: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "payer_id")]
    pub payer_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text")]
    pub declaration_no: Option<String>,
    /// Of the money that should go back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_text")]
    pub gateway_txn_no: Option<String>,
    /// The gateway's time of that money, where it said one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "instant")]
    pub settled_at: Option<String>,
    /// The payment that is booked for the same, and the gateway's time of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text")]
    pub booked_order_no: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_text")]
    pub booked_txn_no: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "instant")]
    pub booked_settled_at: Option<String>,
    /// Which of the two was earlier by the gateway's time: `this` or the `booked` one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "earlier")]
    pub earlier: Option<&'static str>,
}
