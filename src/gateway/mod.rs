//! Files to and from banks and payment gateways. A format is one type behind two small traits: orders come in and
//! bytes go out ([`RenderRequest`]), bytes come in and typed rows go out ([`Answers`]). Nothing here knows a
//! database, a folder or a clock; the stages `seal` and `reconcile` call it.
//!
//! Read in this order: [`settings`] is what configuration says; [`layout`] the same, parsed once into
//! types, with [`column`], [`field`] and [`width`] for the columns; [`text`] what a cell may hold; [`bank`] puts a bank's layout and code table
//! together; [`request`] writes, [`result`] reads files and `row` their rows, with `control` for the totals and
//! `recognise` for files that are something else. [`unionpay`] is UnionPay's batch and its daily files, with what they
//! share with the banks' files in `text`, `row` and `control`. [`wechat`] and [`alipay`] read bills of online payments,
//! packed or not, [`archive`] what they are packed in. [`companion`] is what lies beside a result file.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read, Seek};
use std::path::Path;

use chrono::{DateTime, NaiveDate, Utc};

use crate::domain::money::Money;
use crate::domain::outcome::CodeTable;

pub mod alipay;
pub mod archive;
pub mod bank;
pub mod column;
pub mod companion;
mod control;
pub mod field;
#[cfg(test)]
mod generated;
pub mod hand_over;
pub mod layout;
pub mod lines;
mod recognise;
pub mod request;
pub mod result;
mod row;
pub mod settings;
#[cfg(test)]
pub(crate) mod testing;
pub mod text;
pub mod unionpay;
pub mod wechat;
pub mod width;

pub use alipay::AlipayBills;
pub use bank::{BankFile, BankGateway, code_table};
pub use companion::{Beside, Companion, CompanionKind};
pub use hand_over::HandOver;
pub use layout::LayoutMistake;
pub use settings::{AlipaySettings, BankSettings, UnionpaySettings, WechatSettings};
pub use unionpay::{UnionpayBills, UnionpayFile};
pub use wechat::WechatBills;

/// Who answers: a bank with its result files, a gateway with its bills.
pub trait Answers: Send + Sync {
    fn gateway(&self) -> &'static str;

    /// Empty where the gateway reaches every bank.
    fn bank_code(&self) -> &str;

    fn codes(&self) -> &CodeTable;

    /// The folder that files are dropped in, below the data folder.
    fn inbox(&self) -> &Path;

    /// Whether a file of this name is for this one, where a gateway has files of several kinds.
    fn takes(&self, _file_name: &str) -> bool {
        true
    }

    /// Whether a file that came without a folder looks like one of these, by its name and its beginning.
    fn knows(&self, _file_name: &str, _beginning: &[u8]) -> bool {
        false
    }

    /// Whether [`ResultSource::sha1`] is compared while the file is unpacked; where nothing is unpacked it is of the file.
    fn compares_sha1(&self) -> bool {
        false
    }

    /// Whether a result file answers all orders of one request file, whose name its [`ResultHead`] has.
    fn answers_in_full(&self) -> bool;

    /// Reads a result file once, from its first byte to its last, in bounded memory: hands over each data row in the
    /// order of the file, and vouches at the end for its totals. What was handed over counts only if this ends well:
    /// of a file that is refused nothing may be applied.
    fn read(&self, file: &mut ResultSource<'_>, each: &mut dyn FnMut(ResultRow<'_>)) -> Result<ResultHead, ReadError>;
}

/// Who takes request files and answers them: a bank, or UnionPay for the cards of all banks.
pub trait Destination: RenderRequest + Answers {
    fn hand_over(&self) -> &HandOver;
}

/// Bytes of a file, as often as they are needed.
pub trait FileBytes: Read + Seek + Send {}

impl<T: Read + Seek + Send> FileBytes for T {}

/// A result file as it came.
pub struct ResultSource<'f> {
    pub name: &'f str,
    /// At their beginning.
    pub bytes: &'f mut dyn FileBytes,
    /// The SHA-1 of the unpacked bytes, where the gateway gave it beside the file (WeChat Pay's `hash_value`).
    pub sha1: Option<[u8; 20]>,
}

/// Writes the request file (送盘文件) of one gateway, and reads it again.
pub trait RenderRequest: Send + Sync {
    fn file_name(&self, head: &RequestHead) -> String;

    /// Items that the format cannot carry are held back, never altered; count and total are of what is in the file.
    fn render(&self, head: &RequestHead, items: &[RequestItem<'_>]) -> Rendered;

    /// Reads a request file by a way of its own, to be compared with what was rendered before it is sealed.
    fn parse_back(&self, bytes: &[u8]) -> Result<RequestRead, Refused>;
}

/// Which file it is: the part-th of a run, and the batch-th of a day. The bank is the format's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHead {
    pub business_date: NaiveDate,
    pub run_id: i64,
    /// From 1; one run fills several files when it has more items than one file may hold.
    pub part: u32,
    /// The day on which the file was made, and its number among the destination's files of that day, from 1.
    pub batch_date: NaiveDate,
    pub batch_no: u32,
}

/// One deduction. Its line number is given by the rendering.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestItem<'a> {
    pub order_no: &'a str,
    pub agreement_no: &'a str,
    pub account_no: &'a str,
    pub account_name: &'a str,
    pub amount: Money,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    pub file_name: String,
    pub bytes: Vec<u8>,
    pub count: u64,
    pub total: Money,
    pub held_back: Vec<HeldBack>,
}

/// An item that is not in the file, and the first cell that kept it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBack {
    pub order_no: String,
    pub field: &'static str,
    pub reason: text::Uncarriable,
}

/// What a request file says when it is read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRead {
    pub count: u64,
    pub total: Money,
    pub orders: Vec<(String, Money)>,
}

/// What a result file says about itself; its counts and sums have been compared with its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultHead {
    pub bank_code: Option<String>,
    pub business_date: Option<NaiveDate>,
    pub request_file_name: Option<String>,
    /// Of all data rows.
    pub count: u64,
    /// Of all rows but refunds and movements.
    pub total: Money,
    pub success_count: Option<u64>,
    pub success_total: Option<Money>,
    pub refund_count: Option<u64>,
    pub refund_total: Option<Money>,
    pub covers: Covers,
}

/// What it means that an order is not in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Covers {
    /// The file answers orders of request files, successes and failures: what is missing is still to come.
    Results,
    /// Every payment that succeeded on these days of Beijing, the first and the last included: what is missing did not
    /// succeed on them. Where a gateway's day of settlement ends before midnight (UnionPay), a payment late in the
    /// evening is of the next day.
    Payments { from: NaiveDate, to: NaiveDate },
    /// Nothing.
    Nothing,
}

/// One data row. Every line between header and trailer is exactly one of these.
#[derive(Clone, PartialEq, Eq)]
pub enum ResultRow<'a> {
    /// What became of an order.
    Read {
        /// The line in the file, from 1; not the number that the bank may have written into the row.
        line_no: u64,
        order_no: &'a str,
        amount: Money,
        code: &'a str,
        reason: Cow<'a, str>,
        gateway_txn_no: Option<&'a str>,
        settled_at: Option<DateTime<Utc>>,
    },
    /// Money that goes back to a payer.
    Refund {
        line_no: u64,
        /// Of the payment.
        order_no: &'a str,
        /// Of the payment.
        gateway_txn_no: Option<&'a str>,
        /// The gateway's number of the refund itself.
        refund_no: &'a str,
        amount: Money,
        state: RefundState,
        refunded_at: Option<DateTime<Utc>>,
    },
    /// A line of an account's ledger: money came or went, which is no word on an order.
    Movement {
        line_no: u64,
        /// The gateway's number of the line.
        movement_no: &'a str,
        order_no: Option<&'a str>,
        amount: Money,
        direction: Direction,
    },
    Unparsable {
        line_no: u64,
        /// From 1; none if the row as a whole is wrong.
        column: Option<u64>,
        reason: String,
    },
}

/// How far a refund is, at the time of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefundState {
    Succeeded,
    Processing,
    /// The payment stands.
    Failed,
    /// It can be neither done nor undone without a person.
    Abnormal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    In,
    Out,
}

/// Why reading a file came to no end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Our own copy of the file cannot be read: nothing is said about the file.
    #[error("reading the copy of the file")]
    Disk(#[source] io::Error),
}

/// A file that is refused whole. The reason never quotes a cell, so that it may be logged and published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Refused {
    pub kind: RefusedKind,
    /// From 1.
    pub line: u64,
    /// From 1; none if the line or file as a whole is wrong.
    pub column: Option<u64>,
    pub reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusedKind {
    Malformed,
    TotalsDiffer,
    WrongFile,
}

impl RefusedKind {
    pub fn as_str(self) -> &'static str {
        match self {
            RefusedKind::Malformed => "malformed",
            RefusedKind::TotalsDiffer => "totals_differ",
            RefusedKind::WrongFile => "wrong_file",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.kind.as_str(), self.line)?;
        if let Some(column) = self.column {
            write!(f, ", column {column}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl Refused {
    fn malformed(line: u64, column: Option<u64>, reason: impl Into<String>) -> Refused {
        Refused { kind: RefusedKind::Malformed, line, column, reason: reason.into() }
    }

    fn wrong_file(line: u64, column: Option<u64>, reason: impl Into<String>) -> Refused {
        Refused { kind: RefusedKind::WrongFile, line, column, reason: reason.into() }
    }
}

// Names, accounts and what a bank writes about a payer do not end up in logs by a stray `{:?}`.

impl fmt::Debug for RequestItem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestItem")
            .field("order_no", &self.order_no)
            .field("amount", &self.amount)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rendered")
            .field("file_name", &self.file_name)
            .field("size_bytes", &self.bytes.len())
            .field("count", &self.count)
            .field("total", &self.total)
            .field("held_back", &self.held_back)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ResultRow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResultRow::Read { line_no, order_no, amount, code, gateway_txn_no, settled_at, .. } => f
                .debug_struct("Read")
                .field("line_no", line_no)
                .field("order_no", order_no)
                .field("amount", amount)
                .field("code", code)
                .field("gateway_txn_no", gateway_txn_no)
                .field("settled_at", settled_at)
                .finish_non_exhaustive(),
            ResultRow::Refund { line_no, order_no, gateway_txn_no, refund_no, amount, state, refunded_at } => f
                .debug_struct("Refund")
                .field("line_no", line_no)
                .field("order_no", order_no)
                .field("gateway_txn_no", gateway_txn_no)
                .field("refund_no", refund_no)
                .field("amount", amount)
                .field("state", state)
                .field("refunded_at", refunded_at)
                .finish(),
            ResultRow::Movement { line_no, movement_no, order_no, amount, direction } => f
                .debug_struct("Movement")
                .field("line_no", line_no)
                .field("movement_no", movement_no)
                .field("order_no", order_no)
                .field("amount", amount)
                .field("direction", direction)
                .finish(),
            ResultRow::Unparsable { line_no, column, reason } => f
                .debug_struct("Unparsable")
                .field("line_no", line_no)
                .field("column", column)
                .field("reason", reason)
                .finish(),
        }
    }
}
