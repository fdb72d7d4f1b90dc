//! Alipay's files (支付宝对账文件): the trade bill (业务明细), which says what was paid and refunded online, and the
//! account ledger (账务明细), each as the zip archive that Alipay gives or as the CSV in it. Settings come in, the
//! adapter goes out, or all mistakes. Called by stage `reconcile`.
//!
//! Here: whose file it is and which of its members are read. [`frame`] takes a CSV apart, [`trade`] and [`ledger`] read
//! its rows, [`totals`] compares them with what its foot and [`summary`] declare, [`foreign`] names what is no such
//! file, [`cell`] reads sums, times and numbers.

mod cell;
mod foreign;
mod frame;
mod ledger;
mod summary;
mod totals;
mod trade;

use std::io::{self, Read, SeekFrom};
use std::path::{Component, Path, PathBuf};

use super::archive::{self, Archive, Member};
use super::layout::{LayoutMistake, note};
use super::settings::AlipayBillSettings;
use super::{Answers, ReadError, Refused, ResultHead, ResultRow, ResultSource};
use crate::domain::order::Gateway;
use crate::domain::outcome::CodeTable;
use frame::{Kind, Table};
use summary::Summary;
use totals::Account;

/// An account: the 16 digits of the merchant and 0156.
const ACCOUNT_DIGITS: usize = 20;

/// What `unpacked_max_bytes` may be.
const UNPACKED_BYTES: std::ops::RangeInclusive<u64> = 1024 * 1024..=64 * 1024 * 1024 * 1024;

/// What a name says of a member: a summary has this word, and what is read ends like this.
const SUMMARY_WORD: &str = "汇总";
const CSV_END: &str = ".csv";

/// The bills of the configured accounts.
#[derive(Debug, Clone)]
pub struct AlipayBills {
    inbox: PathBuf,
    accounts: Vec<String>,
    unpacked_max_bytes: u64,
    codes: CodeTable,
}

impl AlipayBills {
    /// None where no account is configured: then no bill is taken.
    pub fn from_settings(
        settings: &AlipayBillSettings,
        codes: CodeTable,
    ) -> Result<Option<AlipayBills>, Vec<LayoutMistake>> {
        let mut mistakes = Vec::new();
        let inbox = &settings.inbox;
        let stays = inbox.components().all(|part| part != Component::ParentDir);
        let is_folder = !inbox.as_os_str().is_empty() && stays;
        note(&mut mistakes, "bill.inbox", !is_folder, "must be a folder without '..'");
        for (place, account) in settings.accounts.iter().enumerate() {
            note(&mut mistakes, "bill.accounts", !is_account(account), "must be numbers of 20 digits");
            let twice = settings.accounts[..place].contains(account);
            note(&mut mistakes, "bill.accounts", twice, "must not have the same number twice");
        }
        let within = UNPACKED_BYTES.contains(&settings.unpacked_max_bytes);
        let (least, most) = (UNPACKED_BYTES.start(), UNPACKED_BYTES.end());
        note(&mut mistakes, "bill.unpacked_max_bytes", !within, format_args!("must be {least} to {most}"));
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok((!settings.accounts.is_empty()).then(|| AlipayBills {
            inbox: inbox.clone(),
            accounts: settings.accounts.clone(),
            unpacked_max_bytes: settings.unpacked_max_bytes,
            codes,
        }))
    }

    fn read_archive(
        &self,
        mut archive: Archive<'_>,
        each: &mut dyn FnMut(ResultRow<'_>),
    ) -> Result<Account, ReadError> {
        let detail = archive.only("detail", |member| is_csv(member) && !member.name.contains(SUMMARY_WORD))?;
        let summary = archive.only("summary", |member| is_csv(member) && member.name.contains(SUMMARY_WORD))?;
        let Some(detail) = detail else {
            let reason = match summary {
                Some(_) => "only a summary in the archive, not the detail",
                None => "no CSV in the archive",
            };
            return Err(Refused::wrong_file(1, None, reason).into());
        };
        // First, as it is small: wherever it is in the archive.
        let summary = match summary {
            Some(at) => Some(Summary::read(&mut archive.unpack(at)?)?),
            None => None,
        };
        let account = self.read_detail(&mut archive.unpack(detail)?, each)?;
        if let Some(summary) = summary {
            summary.compare(&account)?;
        }
        Ok(account)
    }

    fn read_detail(&self, csv: &mut dyn Read, each: &mut dyn FnMut(ResultRow<'_>)) -> Result<Account, ReadError> {
        let table = Table::open(csv)?;
        let wrong = |line, reason| Err(ReadError::from(Refused::wrong_file(line, None, reason)));
        match table.frame.kind {
            Kind::TradeSummary => wrong(1, "a summary (业务汇总), not the detail"),
            Kind::LedgerSummary => wrong(1, "a summary (账务汇总), not the detail"),
            Kind::Trade | Kind::Ledger if !self.accounts.contains(&table.frame.account) => {
                wrong(2, "a file of another account")
            }
            Kind::Trade => trade::read(table, each),
            Kind::Ledger => ledger::read(table, each),
        }
    }
}

fn is_account(text: &str) -> bool {
    text.len() == ACCOUNT_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_csv(member: &Member) -> bool {
    let begin = member.name.len().saturating_sub(CSV_END.len());
    member.name.get(begin..).is_some_and(|end| end.eq_ignore_ascii_case(CSV_END))
}

impl Answers for AlipayBills {
    fn gateway(&self) -> &'static str {
        Gateway::Alipay.as_str()
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

    /// `#支付宝` in either encoding, or an archive that is called like the account.
    fn knows(&self, file_name: &str, beginning: &[u8]) -> bool {
        let text = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning);
        let named = self.accounts.iter().any(|account| file_name.contains(&account[..16]));
        [&b"#\xd6\xa7\xb8\xb6\xb1\xa6"[..], "#支付宝".as_bytes()].iter().any(|own| text.starts_with(own))
            || named && beginning.starts_with(b"PK")
    }

    fn answers_in_full(&self) -> bool {
        false
    }

    fn read(&self, file: &mut ResultSource<'_>, each: &mut dyn FnMut(ResultRow<'_>)) -> Result<ResultHead, ReadError> {
        let mut beginning = Vec::new();
        let sniffed = (&mut *file.bytes).take(4).read_to_end(&mut beginning);
        let rewound: io::Result<u64> = sniffed.and_then(|_| file.bytes.seek(SeekFrom::Start(0)));
        rewound.map_err(ReadError::Disk)?;
        let account = if archive::is_zip(&beginning) {
            self.read_archive(Archive::open(file.bytes, self.unpacked_max_bytes)?, each)?
        } else {
            self.read_detail(&mut file.bytes, each)?
        };
        Ok(account.head)
    }
}

#[cfg(test)]
mod tests;
