//! What configuration says about the banks (`config/gateways/bank.toml`, the tree `gateways.bank`), as it stands
//! there. Words with a fixed choice are still text here, so that [`super::layout`] can report all mistakes at once
//! instead of the first one only.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BankSettings {
    /// Request files are handed over in `<outbox>/<bank code>/`.
    pub outbox: PathBuf,
    /// Result files are dropped in `<inbox>/<bank code>/`.
    pub inbox: PathBuf,
    pub refuses_repeated_names: bool,
    pub items_max: u32,
    /// The layout of every bank that names none of its own.
    pub layout: String,
    /// The code table of every bank that names none of its own.
    pub code_table: String,
    pub banks: BTreeMap<String, BankEntry>,
    pub layouts: BTreeMap<String, LayoutSettings>,
    pub code_tables: BTreeMap<String, BTreeMap<String, CodeSettings>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BankEntry {
    pub name: String,
    pub layout: Option<String>,
    pub code_table: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayoutSettings {
    pub encoding: String,
    pub separator: String,
    pub line_end: String,
    pub file_name: String,
    pub request: SectionSettings,
    pub result: ResultSettings,
}

/// The columns of one kind of file. A header or trailer that the file does not have is left out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SectionSettings {
    #[serde(default)]
    pub header: Vec<String>,
    pub item: Vec<String>,
    #[serde(default)]
    pub trailer: Vec<String>,
}

/// The columns of a result file, and what it is as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultSettings {
    /// None: all rows.
    pub holds: Option<String>,
    /// None: its name says nothing of its length.
    pub name_length_digits: Option<usize>,
    #[serde(default)]
    pub header: Vec<String>,
    pub item: Vec<String>,
    #[serde(default)]
    pub trailer: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeSettings {
    pub class: String,
    pub reason: String,
    #[serde(default)]
    pub next_step: String,
}

/// What is configured of WeChat Pay: the codes of both ways, and the bills.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WechatSettings {
    pub bill: WechatBillSettings,
    pub codes: BTreeMap<String, CodeSettings>,
}

/// WeChat Pay's bills.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WechatBillSettings {
    pub inbox: PathBuf,
    /// Empty: no bills are taken.
    pub merchant_ids: Vec<String>,
    pub unpacked_max_bytes: u64,
}

/// What is configured of Alipay: the codes of the channels' reports and of its bills, and the bills.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlipaySettings {
    pub bill: AlipayBillSettings,
    pub codes: BTreeMap<String, CodeSettings>,
}

/// Alipay's bills.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlipayBillSettings {
    pub inbox: PathBuf,
    /// Empty: no bills are taken.
    pub accounts: Vec<String>,
    pub unpacked_max_bytes: u64,
}

/// What is configured of UnionPay: the codes of both ways, the batch and the daily files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnionpaySettings {
    pub batch: UnionpayBatchSettings,
    pub bill: UnionpayBillSettings,
    pub codes: BTreeMap<String, CodeSettings>,
}

/// UnionPay's batch deduction.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnionpayBatchSettings {
    /// Empty: there is none.
    pub merchant_id: String,
    pub institution: String,
    pub outbox: PathBuf,
    pub inbox: PathBuf,
    pub refuses_repeated_names: bool,
    pub items_max: u32,
    pub encoding: String,
    pub line_end: String,
    pub version: String,
    pub business_type: String,
    pub account_type: String,
    pub titles: Vec<String>,
}

/// UnionPay's daily files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnionpayBillSettings {
    /// Empty: none are taken.
    pub merchant_ids: Vec<String>,
    pub inbox: PathBuf,
    pub unpacked_max_bytes: u64,
}
