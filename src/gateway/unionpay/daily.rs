//! UnionPay's daily files (对账文件), by which payments are confirmed: ZM is every transaction of a settlement day that
//! went well, ZME what was adjusted afterwards, RD2010 a printed report with their totals. Bytes come in as they were
//! downloaded, typed rows go out. Called by stage `reconcile` through [`Answers::read`].
//!
//! A file is the zip of one day, or that zip as it travels (`packed`), or one member of it. `name` is what names say,
//! which is the only place where the day stands; `zm` reads the rows; `report` compares them with the report.
//!
//! A settlement day lasts from 23:00 of the day before to 23:00. Of a zip its checksums say that nothing is missing;
//! of a member by itself nothing does, so absence from it means nothing.

mod name;
mod packed;
mod report;
mod zm;

use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use chrono::NaiveDate;

use super::result::{as_it_came, rejection};
use crate::domain::money::Money;
use crate::domain::order::Gateway;
use crate::domain::outcome::{CodeTable, OutcomeClass};
use crate::gateway::archive::{self, Archive};
use crate::gateway::control::Sum;
use crate::gateway::layout::{LayoutMistake, note};
use crate::gateway::lines::Lines;
use crate::gateway::settings::UnionpaySettings;
use crate::gateway::{Answers, Covers, FileBytes, ReadError, Refused, ResultHead, ResultRow, ResultSource, recognise};
use name::{BillKind, BillName, PackedName};

/// What a payment has become if it stands in ZM.
pub(super) const SUCCESS: &str = "00";

/// As many bytes as tell what a file is.
const BEGINNING_BYTES: usize = 4096;

/// The daily files of our merchants.
#[derive(Debug, Clone)]
pub struct UnionpayBills {
    inbox: PathBuf,
    merchant_ids: Vec<String>,
    unpacked_max_bytes: u64,
    codes: CodeTable,
}

/// What the rows of a day come to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Sums {
    settled: u64,
    /// Rows of ZM that cannot be read.
    unreadable: u64,
    adjusted: u64,
    /// What may be a payment, bad rows included.
    payments: Sum,
    refunds: Sum,
    /// Paid to somebody.
    payouts: Sum,
}

impl UnionpayBills {
    /// None where no merchant is configured: then no daily file is taken.
    pub fn from_settings(
        settings: &UnionpaySettings,
        codes: CodeTable,
    ) -> Result<Option<UnionpayBills>, Vec<LayoutMistake>> {
        let (bill, batch, mut mistakes) = (&settings.bill, &settings.batch, Vec::new());
        for merchant_id in &bill.merchant_ids {
            let plain = merchant_id.len() == 15 && merchant_id.bytes().all(|b| b.is_ascii_alphanumeric());
            note(&mut mistakes, "bill.merchant_ids", !plain, "each must be 15 letters and digits");
        }
        let stays = bill.inbox.components().all(|part| part != Component::ParentDir);
        let wrong = bill.inbox.as_os_str().is_empty() || !stays;
        note(&mut mistakes, "bill.inbox", wrong, "must be a folder without '..'");
        let shared = [&batch.inbox, &batch.outbox].contains(&&bill.inbox);
        note(&mut mistakes, "bill.inbox", shared, "must not be a folder of the batch");
        note(&mut mistakes, "bill.unpacked_max_bytes", bill.unpacked_max_bytes == 0, "must be at least 1");
        let taken = !bill.merchant_ids.is_empty();
        let succeeds = codes.meaning(SUCCESS).is_some_and(|meaning| meaning.class == OutcomeClass::Success);
        note(&mut mistakes, "codes.00", taken && !succeeds, "must be a success, as all of the daily files is");
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(taken.then(|| UnionpayBills {
            inbox: bill.inbox.clone(),
            merchant_ids: bill.merchant_ids.clone(),
            unpacked_max_bytes: bill.unpacked_max_bytes,
            codes,
        }))
    }

    /// Whether a file is called like one of a day: for files that come without a folder.
    pub fn claims(&self, file_name: &str) -> bool {
        let name = as_it_came(file_name);
        BillName::parse(name).is_some() || PackedName::parse(name).is_some()
    }

    fn is_ours(&self, merchant_id: &str) -> bool {
        self.merchant_ids.iter().any(|ours| ours == merchant_id)
    }

    /// By its name, as nothing else in it says of which day it is.
    fn read_alone(
        &self,
        file_name: &str,
        lines: &mut Lines<'_>,
        each: &mut dyn FnMut(ResultRow<'_>),
    ) -> Result<ResultHead, ReadError> {
        let wrong = |what: &str| ReadError::from(Refused::wrong_file(1, None, what));
        let Some(name) = BillName::parse(as_it_came(file_name)) else {
            return Err(wrong("the name is not INN, yymmdd, 88ZM or 88ZME and the merchant id, nor that of a zip"));
        };
        if !self.is_ours(name.merchant_id) {
            return Err(wrong("by its name the file of another merchant"));
        }
        let mut sums = Sums::default();
        match name.kind {
            BillKind::Settled => self.read_settled(name.day, lines, &mut sums, each)?,
            BillKind::Adjusted => zm::read_adjusted(lines, &mut sums, each)?,
            BillKind::Report => return Err(wrong("the printed report (RD2010), not the transactions")),
        }
        sums.head(name.day, Covers::Nothing)
    }

    fn read_archive(
        &self,
        file_name: &str,
        bytes: &mut dyn FileBytes,
        each: &mut dyn FnMut(ResultRow<'_>),
    ) -> Result<ResultHead, ReadError> {
        let wrong = |what: &str| ReadError::from(Refused::wrong_file(1, None, what));
        let mut archive = Archive::open(bytes, self.unpacked_max_bytes)?;
        let place = |kind: BillKind| {
            archive.only(kind.as_str(), |member| BillName::parse(&member.name).is_some_and(|name| name.kind == kind))
        };
        let settled = place(BillKind::Settled)?;
        let (adjusted, reported) = (place(BillKind::Adjusted)?, place(BillKind::Report)?);
        let mut whose = PackedName::parse(as_it_came(file_name)).map(|name| (name.merchant_id.to_owned(), name.day));
        for at in [settled, adjusted, reported].into_iter().flatten() {
            let Some(name) = BillName::parse(&archive.members()[at].name) else { continue };
            let own = (name.merchant_id.to_owned(), name.day);
            if whose.get_or_insert_with(|| own.clone()) != &own {
                return Err(wrong("the names of the archive and of its members are of different merchants or days"));
            }
        }
        let (Some((merchant_id, day)), true) = (whose, settled.is_some() || adjusted.is_some()) else {
            return Err(wrong("the archive has neither ZM nor ZME in it"));
        };
        if !self.is_ours(&merchant_id) {
            return Err(wrong("by its name the file of another merchant"));
        }
        let report = match reported {
            Some(at) => Some(report::read(&mut archive.unpack(at)?)?),
            None => None,
        };
        let mut sums = Sums::default();
        if let Some(at) = settled {
            let mut member = archive.unpack(at)?;
            self.read_settled(day, &mut Lines::of(&mut member), &mut sums, each)
                .map_err(in_member(BillKind::Settled))?;
        }
        if let Some(at) = adjusted {
            let mut member = archive.unpack(at)?;
            let read = zm::read_adjusted(&mut Lines::of(&mut member), &mut sums, each);
            read.map_err(in_member(BillKind::Adjusted))?;
        }
        if let Some(report) = report {
            report.check(&sums).map_err(ReadError::from).map_err(in_member(BillKind::Report))?;
        }
        // What was settled on this day only: a payment late in the evening stands in the file of the next day.
        // Nor does a row that cannot be read say whose payment it is.
        let whole = settled.is_some() && sums.unreadable == 0;
        let covers = if whole { Covers::Payments { from: day, to: day } } else { Covers::Nothing };
        sums.head(day, covers)
    }
}

impl Sums {
    fn head(self, day: NaiveDate, covers: Covers) -> Result<ResultHead, ReadError> {
        let money = |sum: &Sum| {
            let too_large = || Refused::malformed(1, None, "the amounts come to more than a sum of money may be");
            Money::from_fen(sum.fen).map_err(|_| too_large())
        };
        let (payments, refunds) = (money(&self.payments)?, money(&self.refunds)?);
        Ok(ResultHead {
            bank_code: None,
            business_date: Some(day),
            request_file_name: None,
            count: self.settled + self.adjusted,
            total: payments,
            success_count: Some(self.payments.count),
            success_total: Some(payments),
            refund_count: Some(self.refunds.count),
            refund_total: Some(refunds),
            covers,
        })
    }
}

impl Answers for UnionpayBills {
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
        &self.inbox
    }

    fn takes(&self, file_name: &str) -> bool {
        !name::is_of_batch(as_it_came(file_name))
    }

    /// Called as UnionPay calls them: by the merchant, or by the day and the merchant.
    fn knows(&self, file_name: &str, _beginning: &[u8]) -> bool {
        self.takes(file_name) && self.merchant_ids.iter().any(|merchant| file_name.contains(merchant.as_str()))
    }

    fn answers_in_full(&self) -> bool {
        false
    }

    fn read(&self, file: &mut ResultSource<'_>, each: &mut dyn FnMut(ResultRow<'_>)) -> Result<ResultHead, ReadError> {
        if name::is_of_batch(as_it_came(file.name)) {
            let reason = "by its name a file of the batch, not of a day; it has a folder of its own";
            return Err(Refused::wrong_file(1, None, reason).into());
        }
        let beginning = beginning(file.bytes).map_err(ReadError::Disk)?;
        if archive::is_zip(&beginning) {
            return self.read_archive(file.name, file.bytes, each);
        }
        if let Some(refused) = recognise::not_lines(&beginning).or_else(|| answer(&beginning)) {
            return Err(refused.into());
        }
        if packed::is_packed(&beginning) {
            let mut unpacked = packed::unpack(file.bytes, self.unpacked_max_bytes)?;
            return self.read_archive(file.name, &mut unpacked, each);
        }
        let mut bytes: &mut dyn FileBytes = file.bytes;
        self.read_alone(file.name, &mut Lines::of(&mut bytes), each)
    }
}

/// An answer of the interface in place of a file: `respCode|respMsg`, or the fields of a message.
fn answer(beginning: &[u8]) -> Option<Refused> {
    if memchr::memmem::find(beginning, b"respCode=").is_some() {
        let reason = "a message of the interface, not a file; where it has a fileContent, that alone is the file";
        return Some(Refused::wrong_file(1, None, reason));
    }
    let line = beginning.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let (code, message) = line.split_at(line.iter().position(|byte| *byte == b'|')?);
    let short = beginning.len() < BEGINNING_BYTES && code.len() == SUCCESS.len() && !message[1..].contains(&b'|');
    short.then(|| rejection(code))
}

/// Leaves the file at its beginning.
fn beginning(bytes: &mut dyn FileBytes) -> io::Result<Vec<u8>> {
    let mut beginning = Vec::with_capacity(BEGINNING_BYTES);
    (&mut *bytes).take(BEGINNING_BYTES as u64).read_to_end(&mut beginning)?;
    bytes.rewind()?;
    Ok(beginning)
}

/// A line of a member is told with the member that it is a line of.
fn in_member(kind: BillKind) -> impl Fn(ReadError) -> ReadError {
    move |error| match error {
        ReadError::Refused(refused) => {
            Refused { reason: format!("{}: {}", kind.as_str(), refused.reason), ..refused }.into()
        }
        ReadError::Disk(error) => ReadError::Disk(error),
    }
}

#[cfg(test)]
mod tests;
