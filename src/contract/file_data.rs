//! What events about files say, in both directions; the rest is in [`data`](super::data).

use schemars::JsonSchema;
use serde::Serialize;

use super::words::*;

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct RequestFileData {
    #[schemars(schema_with = "number")]
    pub run_id: i64,
    #[schemars(schema_with = "gateway")]
    pub gateway: String,
    /// None where the gateway is not a bank.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text")]
    pub bank_code: Option<String>,
    #[schemars(schema_with = "text")]
    pub file_name: String,
    #[schemars(schema_with = "count")]
    pub items: i64,
    #[schemars(schema_with = "money")]
    pub total: String,
    #[schemars(schema_with = "sha256")]
    pub sha256: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ResultFileData {
    #[schemars(schema_with = "number")]
    pub result_file_id: i64,
    #[schemars(schema_with = "gateway")]
    pub gateway: String,
    /// None where the gateway is not a bank.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text")]
    pub bank_code: Option<String>,
    #[schemars(schema_with = "text")]
    pub file_name: String,
    #[schemars(schema_with = "sha256")]
    pub sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "count")]
    pub rows: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "count")]
    pub applied: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "count")]
    pub repeated: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "count")]
    pub discrepancies: Option<i64>,
    /// `malformed`, `totals_differ` or `wrong_file`, with line and reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "file_refusal")]
    pub refused: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "count")]
    pub line: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "saying")]
    pub reason: Option<String>,
}
