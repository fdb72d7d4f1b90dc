//! UnionPay's batch deduction (银联批量代收): one file for the cards of every bank. Settings come in, the adapter goes
//! out, or all mistakes. Here: what it is; [`request`] writes the request file and reads it back, [`result`] reads the answer.
//! [`daily`] is something else: the files by which UnionPay tells what was settled on a day.
//!
//! The file's content is the plain text. What UnionPay's interface wants of it, base64 of the DEFLATE-compressed text in
//! the field `fileContent` of a signed message, is made by whoever sends that message: so that the bytes which are
//! sealed, hashed and shown to a person are the ones that say what is deducted.

mod daily;
mod request;
mod result;

use std::path::Path;

use chrono::NaiveDate;

use super::hand_over::HandOver;
use super::layout::{LayoutMistake, note};
use super::lines::Lines;
use super::settings::UnionpayBatchSettings;
use super::text::{Charset, LineEnd, Separator, Text};
use super::{Answers, Destination, FileBytes, ReadError, ResultHead, ResultRow, ResultSource};
use crate::domain::order::Gateway;
use crate::domain::outcome::CodeTable;
pub use daily::UnionpayBills;
use result::ResultName;

/// The most items that UnionPay takes in one file.
const ITEMS_LIMIT: u32 = 100_000;

/// A title of the second line, by which UnionPay finds the column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Title {
    OrderId,
    CurrencyCode,
    TxnAmt,
    AccType,
    AccNo,
    CustomerNm,
    BizType,
    ContractAgrNo,
    /// A column of theirs that we have nothing for.
    Empty,
}

const TITLES: [(&str, Title); 16] = [
    ("orderId", Title::OrderId),
    ("currencyCode", Title::CurrencyCode),
    ("txnAmt", Title::TxnAmt),
    ("accType", Title::AccType),
    ("accNo", Title::AccNo),
    ("customerNm", Title::CustomerNm),
    ("bizType", Title::BizType),
    ("contractAgrNo", Title::ContractAgrNo),
    ("certifTp", Title::Empty),
    ("certifId", Title::Empty),
    ("phoneNo", Title::Empty),
    ("postscript", Title::Empty),
    ("reqReserved1", Title::Empty),
    ("reqReserved2", Title::Empty),
    ("billType", Title::Empty),
    ("billNo", Title::Empty),
];

/// What every file must say of an item.
const NEEDED: [&str; 7] = ["orderId", "currencyCode", "txnAmt", "accType", "accNo", "customerNm", "bizType"];

#[derive(Debug, Clone)]
pub struct UnionpayFile {
    merchant_id: String,
    institution: String,
    version: String,
    business_type: String,
    account_type: String,
    text: Text,
    titles: Vec<(&'static str, Title)>,
    hand_over: HandOver,
    codes: CodeTable,
}

impl UnionpayFile {
    /// None where no merchant id is configured: then nothing is deducted by UnionPay in batches.
    pub fn from_settings(
        settings: &UnionpayBatchSettings,
        codes: CodeTable,
    ) -> Result<Option<UnionpayFile>, Vec<LayoutMistake>> {
        let mut mistakes = Vec::new();
        let plain = |text: &str, length: usize| text.len() == length && text.bytes().all(|b| b.is_ascii_alphanumeric());
        let merchant = settings.merchant_id.as_str();
        note(
            &mut mistakes,
            "batch.merchant_id",
            !merchant.is_empty() && !plain(merchant, 15),
            "must be empty, or 15 letters and digits",
        );
        note(
            &mut mistakes,
            "batch.institution",
            !plain(&settings.institution, 8),
            "must be 8 digits; 00000000 without an institution",
        );
        for (key, value, length) in
            [("batch.business_type", &settings.business_type, 6), ("batch.account_type", &settings.account_type, 2)]
        {
            note(&mut mistakes, key, !plain(value, length), format_args!("must be {length} letters and digits"));
        }
        let version = &settings.version;
        let dotted = !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        note(&mut mistakes, "batch.version", !dotted, "must be digits and points, such as 5.0.0");
        let charset = Charset::parse(&settings.encoding);
        note(&mut mistakes, "batch.encoding", charset.is_none(), "must be gb18030, gbk or utf-8");
        let line_end = LineEnd::parse(&settings.line_end);
        note(&mut mistakes, "batch.line_end", line_end.is_none(), "must be crlf or lf");
        let titles = titles(&settings.titles, &mut mistakes);
        let hand_over = HandOver {
            outbox: settings.outbox.clone(),
            inbox: settings.inbox.clone(),
            refuses_repeated_names: settings.refuses_repeated_names,
            items_max: settings.items_max,
        };
        hand_over.check("batch.", ITEMS_LIMIT, &mut mistakes);
        let (Some(charset), Some(line_end), true) = (charset, line_end, mistakes.is_empty()) else {
            return Err(mistakes);
        };
        Ok((!merchant.is_empty()).then(|| UnionpayFile {
            merchant_id: merchant.to_owned(),
            institution: settings.institution.clone(),
            version: version.clone(),
            business_type: settings.business_type.clone(),
            account_type: settings.account_type.clone(),
            text: Text { charset, separator: Some(Separator::Pipe), line_end },
            titles,
            hand_over,
            codes,
        }))
    }

    pub fn encoding(&self) -> &'static str {
        self.text.charset.as_str()
    }

    /// Whether a file is called like an answer of UnionPay's: told by the name, as nothing in it says whose it is.
    pub fn claims(&self, file_name: &str) -> bool {
        let name = result::as_it_came(file_name);
        name.starts_with("DK") && name.ends_with("O.txt")
    }

    /// The name of a file of the merchant's: `I` is asked, `O` is answered.
    fn name(&self, batch_date: NaiveDate, batch_no: u32, direction: char) -> String {
        let (institution, merchant) = (&self.institution, &self.merchant_id);
        format!("DK{institution}{merchant}{}{batch_no:04}{direction}.txt", batch_date.format("%Y%m%d"))
    }
}

fn titles(names: &[String], mistakes: &mut Vec<LayoutMistake>) -> Vec<(&'static str, Title)> {
    let key = "batch.titles";
    let mut titles: Vec<(&'static str, Title)> = Vec::new();
    for name in names {
        let Some(title) = TITLES.into_iter().find(|(known, _)| known == name) else {
            let known = TITLES.map(|(known, _)| known).join(", ");
            note(mistakes, key, true, format_args!("unknown title '{name}'; known here: {known}"));
            continue;
        };
        note(mistakes, key, titles.contains(&title), format_args!("'{name}' is there twice"));
        titles.push(title);
    }
    for needed in NEEDED {
        let missing = !titles.iter().any(|(name, _)| *name == needed);
        note(mistakes, key, missing, format_args!("{needed} is missing"));
    }
    titles
}

impl Answers for UnionpayFile {
    fn gateway(&self) -> &'static str {
        Gateway::Unionpay.as_str()
    }

    fn bank_code(&self) -> &str {
        ""
    }

    fn codes(&self) -> &CodeTable {
        &self.codes
    }

    fn inbox(&self) -> &Path {
        &self.hand_over.inbox
    }

    fn takes(&self, file_name: &str) -> bool {
        self.claims(file_name)
    }

    fn knows(&self, file_name: &str, _beginning: &[u8]) -> bool {
        self.claims(file_name)
    }

    fn answers_in_full(&self) -> bool {
        true
    }

    fn read(&self, file: &mut ResultSource<'_>, each: &mut dyn FnMut(ResultRow<'_>)) -> Result<ResultHead, ReadError> {
        let mut bytes: &mut dyn FileBytes = file.bytes;
        ResultName::parse(self, file.name)?.read(&mut Lines::of(&mut bytes), each)
    }
}

impl Destination for UnionpayFile {
    fn hand_over(&self) -> &HandOver {
        &self.hand_over
    }
}

#[cfg(test)]
mod tests;
