//! WeChat Pay's bills (微信支付): the trade bill (交易账单: ALL, SUCCESS, REFUND, and ALL as the old interface wrote it)
//! and the fund flow (资金账单). Settings come in, the adapter goes out, or all mistakes; then a file comes in, gzip or
//! plain, and its rows go out. Called by stage `reconcile`.
//!
//! [`unpacked`] is the bytes, [`frame`] the lines between header and totals, [`header`] the columns by their names,
//! [`trade`] and [`fund_flow`] the two kinds of row, [`totals`] what the last line declares, [`foreign`] the files that
//! are something else, [`name`] what a file's name says.

mod foreign;
mod frame;
mod fund_flow;
mod header;
mod name;
mod number;
mod totals;
mod trade;
mod unpacked;

use std::path::{Component, Path, PathBuf};

use chrono::NaiveDate;

use super::layout::{LayoutMistake, note};
use super::lines::Lines;
use super::settings::WechatBillSettings;
use super::{Answers, Covers, ReadError, Refused, ResultHead, ResultRow, ResultSource};
use crate::domain::order::Gateway;
use crate::domain::outcome::CodeTable;
use frame::Bill;
use unpacked::Unpacked;

/// The most that `unpacked_max_bytes` may allow: some two hundred million rows.
pub const UNPACKED_BYTES_LIMIT: u64 = 64 * 1024 * 1024 * 1024;

/// The longest merchant number.
const MERCHANT_ID_DIGITS_MAX: usize = 32;

#[derive(Debug, Clone)]
pub struct WechatBills {
    inbox: PathBuf,
    merchant_ids: Vec<String>,
    unpacked_max_bytes: u64,
    codes: CodeTable,
}

/// What a bill must agree with.
struct Expected<'b> {
    merchant_ids: &'b [String],
    /// The one day in the file's name.
    day: Option<NaiveDate>,
}

impl WechatBills {
    /// None where no merchant number is configured: then no bills are taken.
    pub fn from_settings(
        settings: &WechatBillSettings,
        codes: CodeTable,
    ) -> Result<Option<WechatBills>, Vec<LayoutMistake>> {
        let mut mistakes = Vec::new();
        let folder = &settings.inbox;
        let stays = folder.components().all(|part| part != Component::ParentDir);
        let wrong = folder.as_os_str().is_empty() || !stays;
        note(&mut mistakes, "bill.inbox", wrong, "must be a folder without '..'");
        let ids = &settings.merchant_ids;
        for (place, id) in ids.iter().enumerate() {
            let digits = (1..=MERCHANT_ID_DIGITS_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit());
            note(
                &mut mistakes,
                "bill.merchant_ids",
                !digits,
                format_args!("'{id}' must be 1 to {MERCHANT_ID_DIGITS_MAX} digits"),
            );
            let twice = ids[..place].contains(id);
            note(&mut mistakes, "bill.merchant_ids", twice, format_args!("'{id}' is there twice"));
        }
        let within = (1..=UNPACKED_BYTES_LIMIT).contains(&settings.unpacked_max_bytes);
        note(&mut mistakes, "bill.unpacked_max_bytes", !within, format_args!("must be 1 to {UNPACKED_BYTES_LIMIT}"));
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok((!ids.is_empty()).then(|| WechatBills {
            inbox: folder.clone(),
            merchant_ids: ids.clone(),
            unpacked_max_bytes: settings.unpacked_max_bytes,
            codes,
        }))
    }

    /// Absence from a bill is a word on an order only if the bill is beyond doubt the whole of what was paid on its day:
    /// to the one merchant there is, with every row read. A bill without rows says nowhere whose it is but in its name.
    fn covers(&self, bill: &Bill, file_name: &str, day: Option<NaiveDate>) -> Covers {
        let [merchant_id] = self.merchant_ids.as_slice() else { return Covers::Nothing };
        let is_ours = bill.rows > 0 || name::holds(file_name, merchant_id);
        match day {
            Some(day) if bill.is_whole && is_ours => Covers::Payments { from: day, to: day },
            Some(_) | None => Covers::Nothing,
        }
    }
}

impl Answers for WechatBills {
    fn gateway(&self) -> &'static str {
        Gateway::WechatPay.as_str()
    }

    fn bank_code(&self) -> &str {
        ""
    }

    fn codes(&self) -> &CodeTable {
        &self.codes
    }

    fn inbox(&self) -> &Path {
        &self.inbox
    }

    fn knows(&self, _file_name: &str, beginning: &[u8]) -> bool {
        let text = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning);
        [&b"\x1f\x8b"[..], "交易时间,公众账号ID".as_bytes(), "记账时间,微信支付业务单号".as_bytes()]
            .iter()
            .any(|own| text.starts_with(own))
    }

    fn compares_sha1(&self) -> bool {
        true
    }

    fn answers_in_full(&self) -> bool {
        false
    }

    fn read(&self, file: &mut ResultSource<'_>, each: &mut dyn FnMut(ResultRow<'_>)) -> Result<ResultHead, ReadError> {
        let day = name::day(file.name, &self.merchant_ids);
        let mut unpacked = Unpacked::of(file.bytes, file.sha1.is_some(), self.unpacked_max_bytes)?;
        let expected = Expected { merchant_ids: &self.merchant_ids, day };
        let (line_no, read) = {
            let mut lines = Lines::of(&mut unpacked);
            let read = frame::read(&mut lines, &expected, each);
            (lines.line_no(), read)
        };
        if unpacked.is_too_large() {
            let reason = format!("unpacked it is larger than {} bytes", self.unpacked_max_bytes);
            return Err(Refused::malformed(line_no + 1, None, reason).into());
        }
        let bill = read?;
        if unpacked.sha1() != file.sha1 {
            let reason = "its SHA-1 is not the one that the gateway gave with it";
            return Err(Refused::malformed(1, None, reason).into());
        }
        Ok(ResultHead {
            bank_code: None,
            business_date: None,
            request_file_name: None,
            count: bill.rows,
            total: bill.total,
            success_count: None,
            success_total: None,
            refund_count: None,
            refund_total: bill.refund_total,
            covers: self.covers(&bill, file.name, day),
        })
    }
}

#[cfg(test)]
mod tests;
