//! Files to and from banks and payment gateways. A format is one type behind two small traits: orders come in and
//! bytes go out ([`RenderRequest`]), bytes come in and typed rows go out ([`ReadResult`]). Nothing here knows a
//! database, a folder or a clock; the stages `seal` and `reconcile` call it.
//!
//! Read in this order: [`settings`] is what configuration says; [`layout`] the same, parsed once into
//! types, with [`column`], [`field`] and [`width`] for the columns; [`text`] what a cell may hold; [`bank`] puts a bank's layout and code table
//! together; [`request`] writes, [`result`] reads files and `row` their rows, with `control` for the totals and
//! `recognise` for files that are something else. [`unionpay`] is UnionPay's batch, with what it
//! shares with the banks' files in `text`, `row` and `control`.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};

use crate::domain::money::Money;
use crate::domain::outcome::CodeTable;

pub mod bank;
pub mod column;
mod control;
pub mod field;
pub mod hand_over;
pub mod layout;
mod recognise;
pub mod request;
pub mod result;
mod row;
pub mod settings;
pub mod text;
pub mod unionpay;
pub mod width;

pub use bank::{BankFile, BankGateway, code_table};
pub use hand_over::HandOver;
pub use layout::LayoutMistake;
pub use settings::{BankSettings, OnlineSettings, UnionpaySettings};
pub use unionpay::UnionpayFile;

/// Who takes request files and answers them: a bank, or UnionPay for the cards of all banks.
pub trait Destination: RenderRequest {
    fn gateway(&self) -> &'static str;

    /// Empty where the gateway reaches every bank.
    fn bank_code(&self) -> &str;

    fn codes(&self) -> &CodeTable;

    fn hand_over(&self) -> &HandOver;

    /// Whether a result file answers all orders of one request file, whose name its [`ResultHead`] has.
    fn answers_in_full(&self) -> bool;

    /// How to read a result file of that name; or it is refused for its name.
    fn result(&self, file_name: &str) -> Result<Box<dyn ReadResult + '_>, Refused>;
}

/// Writes the request file (送盘文件) of one gateway, and reads it again.
pub trait RenderRequest: Send + Sync {
    fn file_name(&self, head: &RequestHead) -> String;

    /// Items that the format cannot carry are held back, never altered; count and total are of what is in the file.
    fn render(&self, head: &RequestHead, items: &[RequestItem<'_>]) -> Rendered;

    /// Reads a request file by a way of its own, to be compared with what was rendered before it is sealed.
    fn parse_back(&self, bytes: &[u8]) -> Result<RequestRead, Refused>;
}

/// Reads the result file (回盘文件) of one gateway.
pub trait ReadResult: Send + Sync {
    /// Checks the whole file. Nothing of a file that is refused here may be applied.
    fn open(&self, bytes: &[u8]) -> Result<ResultHead, Refused>;

    /// The data rows of a file that [`ReadResult::open`] has accepted, in the order of the file.
    fn rows<'a>(&'a self, bytes: &'a [u8]) -> Box<dyn Iterator<Item = ResultRow<'a>> + Send + 'a>;
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
    pub count: u64,
    pub total: Money,
    pub success_count: Option<u64>,
    pub success_total: Option<Money>,
}

/// One data row. Every line between header and trailer is exactly one of the two.
#[derive(Clone, PartialEq, Eq)]
pub enum ResultRow<'a> {
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
    Unparsable {
        line_no: u64,
        /// From 1; none if the row as a whole is wrong.
        column: Option<u64>,
        reason: String,
    },
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
            ResultRow::Unparsable { line_no, column, reason } => f
                .debug_struct("Unparsable")
                .field("line_no", line_no)
                .field("column", column)
                .field("reason", reason)
                .finish(),
        }
    }
}
