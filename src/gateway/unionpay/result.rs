//! The result file (`…O.txt`) of UnionPay's batch deduction: bytes come in, typed rows go out. Called by stage
//! `reconcile`, which has it read once, line by line; at its end it is refused, or its totals are vouched for.
//!
//! First line: version, total in fen, count, two reserved, total and count of the successes, two reserved. Second line:
//! the titles, by which the columns are found. Then a row for each order of the request file. Which batch it is, and so
//! the year of its times, is in the name alone. The last line needs no end, so a file that is cut off shows in its
//! count, or in a last line with too few cells.

use std::borrow::Cow;

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Utc};

use super::UnionpayFile;
use super::request::CURRENCY;
use crate::domain::money::Money;
use crate::domain::outcome::OutcomeClass;
use crate::gateway::control::{Control, Declared, Tally};
use crate::gateway::field::Unit;
use crate::gateway::lines::{Line, Lines};
use crate::gateway::recognise::{self, BEGINNING_BYTES, Encoding};
use crate::gateway::result::count;
use crate::gateway::row::{BEIJING, amount, date, digits_of, plain};
use crate::gateway::text::{COLUMNS_MAX, LINE_BYTES_MAX, Text, number};
use crate::gateway::{Covers, ReadError, Refused, ResultHead, ResultRow};

/// The one code of which it is certain that UnionPay counts it among the successes; of a success with a defect (A6),
/// and of what it has not finished, it is not.
const PLAIN_SUCCESS: &str = "00";

/// The first line of a result file, of a request file, and of the word that there is no result.
const HEAD_CELLS: usize = 9;
const REQUEST_HEAD_CELLS: usize = 5;
const REJECTION_CELLS: usize = 2;

/// A result code as it may be told, being no payer's.
const CODE_BYTES_MAX: usize = 8;

/// What the name of a result file says.
pub(super) struct ResultName<'u> {
    file: &'u UnionpayFile,
    batch_date: NaiveDate,
    batch_no: u32,
}

/// Where the cells are that are read, by the titles of the file.
struct Columns {
    count: usize,
    code: usize,
    message: Option<usize>,
    txn_no: usize,
    time: usize,
    order_no: usize,
    amount: usize,
    currency: Option<usize>,
}

/// The rows so far; nothing is kept of them.
#[derive(Default)]
struct Rows {
    tally: Tally,
    misshapen: u64,
}

/// The number of the first row's line.
const FIRST_ROW: u64 = 3;

/// A file that was put aside has its number in front of its name.
pub(super) fn as_it_came(file_name: &str) -> &str {
    let name = file_name.trim_start_matches(|c: char| c.is_ascii_digit());
    if name.len() < file_name.len() { name.strip_prefix('-').unwrap_or(file_name) } else { file_name }
}

impl<'u> ResultName<'u> {
    pub fn parse(file: &'u UnionpayFile, file_name: &str) -> Result<ResultName<'u>, Refused> {
        let name = as_it_came(file_name);
        let wrong = |what: &str| Refused::wrong_file(1, None, what);
        let misnamed = || wrong("the name is not DK, institution, merchant, yyyymmdd, batch number and O.txt");
        let Some((kind, rest)) = name.split_at_checked(2) else { return Err(misnamed()) };
        if ["DF", "TH"].contains(&kind) {
            return Err(wrong("by its name a file of payments out or of refunds, not of deductions"));
        }
        let whose = format!("{}{}", file.institution, file.merchant_id);
        let Some((owner, rest)) = rest.split_at_checked(whose.len()) else { return Err(misnamed()) };
        let Some((day, rest)) = rest.split_at_checked(8) else { return Err(misnamed()) };
        let Some((batch_no, end)) = rest.split_at_checked(4) else { return Err(misnamed()) };
        let batch_date = date(day.as_bytes());
        let batch_no = count(batch_no.as_bytes()).and_then(|number| u32::try_from(number).ok());
        let (Some(batch_date), Some(batch_no), "DK") = (batch_date, batch_no, kind) else { return Err(misnamed()) };
        match end {
            "O.txt" if owner == whose => Ok(ResultName { file, batch_date, batch_no }),
            "O.txt" => Err(wrong("by its name the file of another institution or merchant")),
            "I.txt" => Err(wrong("by its name a request file, not the answer to it")),
            _ => Err(misnamed()),
        }
    }

    fn text(&self) -> Text {
        self.file.text
    }

    pub fn read(&self, lines: &mut Lines<'_>, each: &mut dyn FnMut(ResultRow<'_>)) -> Result<ResultHead, ReadError> {
        if let Some(refused) = recognise::not_lines(lines.beginning(BEGINNING_BYTES)?) {
            return Err(refused.into());
        }
        let mut encoding = Encoding::of(self.text());
        let (mut control, mut columns, mut rows) = (None, None, Rows::default());
        while let Some(line) = lines.next_line()? {
            encoding.check(line.no, line.bytes)?;
            match (&control, &columns) {
                (None, _) => control = Some(self.read_head(&line)?),
                (Some(_), None) => columns = Some(Columns::of(line.bytes, self.text())?),
                (Some(_), Some(columns)) => each(self.read_row(columns, &line, &mut rows)?),
            }
        }
        encoding.end()?;
        let (Some(control), Some(columns)) = (control, columns) else {
            return Err(Refused::malformed(1, None, "the file is cut off: the titles are missing").into());
        };
        rows.check(&columns)?;
        rows.tally.check(&control)?;
        Ok(ResultHead {
            bank_code: None,
            business_date: None,
            request_file_name: Some(self.file.name(self.batch_date, self.batch_no, 'I')),
            count: rows.tally.all.count,
            total: control.total.map_or(Money::ZERO, |total| total.value),
            success_count: control.success_count.map(|count| count.value),
            success_total: control.success_total.map(|total| total.value),
            refund_count: None,
            refund_total: None,
            covers: Covers::Results,
        })
    }

    fn read_head(&self, line: &Line<'_>) -> Result<Control, Refused> {
        let mut cells = [&[] as &[u8]; COLUMNS_MAX];
        match self.text().split(line.bytes, &mut cells) {
            HEAD_CELLS => {}
            REQUEST_HEAD_CELLS => {
                return Err(Refused::wrong_file(1, None, "a request file of our own, not the answer to it"));
            }
            REJECTION_CELLS if line.is_last => return Err(rejection(cells[0])),
            found => {
                return Err(Refused::malformed(1, None, format!("{HEAD_CELLS} columns expected, {found} found")));
            }
        }
        let total = |place: usize| {
            let value = amount(cells[place], Unit::Fen);
            value
                .map(|value| declared(value, place))
                .ok_or_else(|| Refused::malformed(1, Some(place as u64 + 1), "not a sum of money in whole fen"))
        };
        let counted = |place: usize| {
            let value = count(cells[place]).map(|value| declared(value, place));
            value.ok_or_else(|| Refused::malformed(1, Some(place as u64 + 1), "not a count"))
        };
        Ok(Control {
            total: Some(total(1)?),
            count: Some(counted(2)?),
            success_total: Some(total(5)?),
            success_count: Some(counted(6)?),
            ..Control::default()
        })
    }

    /// Counts a row, sums it up, and says what is in it.
    fn read_row<'a>(&self, columns: &Columns, line: &Line<'a>, rows: &mut Rows) -> Result<ResultRow<'a>, Refused> {
        let mut cells = [&[] as &[u8]; COLUMNS_MAX];
        let line_no = line.no;
        if line.end.is_none() && columns.reads(columns.count - 1) {
            return Err(Refused::malformed(2, None, "without an end of the last line its last cell may be cut off"));
        }
        let tally = &mut rows.tally;
        if !columns.shapes(line.bytes, self.text(), &mut cells) {
            if line.end.is_none() {
                return Err(Refused::malformed(line_no, None, "the file is cut off in its last line"));
            }
            rows.misshapen += 1;
            tally.all.add(None);
            tally.undecided.add(None);
            let reason = format!("not {} columns, or longer than {LINE_BYTES_MAX} bytes", columns.count);
            return Ok(ResultRow::Unparsable { line_no, column: None, reason });
        }
        let amount = amount(cells[columns.amount], Unit::Fen);
        tally.all.add(amount);
        let class = number(cells[columns.code]).and_then(|code| self.file.codes.meaning(code)).map(|m| m.class);
        match class {
            Some(OutcomeClass::Success) if cells[columns.code] == PLAIN_SUCCESS.as_bytes() => tally.success.add(amount),
            Some(OutcomeClass::Retryable | OutcomeClass::Final) => {}
            Some(OutcomeClass::Success | OutcomeClass::Unknown) | None => tally.undecided.add(amount),
        }
        Ok(self.read_item(columns, line_no, &cells, amount).unwrap_or_else(|(place, reason)| ResultRow::Unparsable {
            line_no,
            column: Some(place as u64 + 1),
            reason: reason.to_owned(),
        }))
    }

    fn read_item<'a>(
        &self,
        columns: &Columns,
        line_no: u64,
        cells: &[&'a [u8]; COLUMNS_MAX],
        amount: Option<Money>,
    ) -> Result<ResultRow<'a>, (usize, &'static str)> {
        let wrong = |place: usize, what: &'static str| (place, what);
        let order_no = number(cells[columns.order_no]).ok_or_else(|| wrong(columns.order_no, "not an order number"))?;
        let amount = amount.ok_or_else(|| wrong(columns.amount, "not a sum of money in whole fen"))?;
        if let Some(place) = columns.currency.filter(|place| cells[*place] != CURRENCY.as_bytes()) {
            return Err(wrong(place, "another currency"));
        }
        let code = number(cells[columns.code]).ok_or_else(|| wrong(columns.code, "not a result code"))?;
        let reason = match columns.message {
            Some(place) => plain(self.text(), cells[place]).ok_or_else(|| wrong(place, "not plain text"))?,
            None => Cow::Borrowed(""),
        };
        let gateway_txn_no = match cells[columns.txn_no] {
            b"" => None,
            cell => Some(number(cell).ok_or_else(|| wrong(columns.txn_no, "not a transaction number"))?),
        };
        let settled_at = match cells[columns.time] {
            b"" => None,
            cell => Some(near(cell, self.batch_date).ok_or_else(|| wrong(columns.time, "not a time MMDDhhmmss"))?),
        };
        if self.file.codes.meaning(code).is_some_and(|meaning| meaning.class == OutcomeClass::Success) {
            if gateway_txn_no.is_none() {
                return Err(wrong(columns.txn_no, "a success without transaction number"));
            }
            if settled_at.is_none() {
                return Err(wrong(columns.time, "a success without time"));
            }
        }
        Ok(ResultRow::Read { line_no, order_no, amount, code, reason, gateway_txn_no, settled_at })
    }
}

/// A time MMDDhhmmss, which has no year, is of the year that brings it nearest to a day: what was handed over on 31
/// December is deducted in January.
pub(super) fn near(cell: &[u8], day: NaiveDate) -> Option<DateTime<Utc>> {
    if cell.len() != 10 || !cell.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let two = |at: usize| digits_of(&cell[at..at + 2]) as u32;
    let of_year = |year| NaiveDate::from_ymd_opt(year, two(0), two(2))?.and_hms_opt(two(4), two(6), two(8));
    let (year, midnight) = (day.year(), day.and_time(NaiveTime::MIN));
    let near = (year - 1..=year + 1).filter_map(of_year).min_by_key(|time| (*time - midnight).abs())?;
    Some(near.and_local_timezone(BEIJING).single()?.to_utc())
}

impl Rows {
    fn check(&self, columns: &Columns) -> Result<(), Refused> {
        if self.misshapen == self.tally.all.count && self.misshapen > 1 {
            let reason = format!("no row has the {} columns of the titles", columns.count);
            return Err(Refused::malformed(FIRST_ROW, None, reason));
        }
        Ok(())
    }
}

impl Columns {
    fn of(line: &[u8], text: Text) -> Result<Columns, Refused> {
        let mut cells = [&[] as &[u8]; COLUMNS_MAX];
        let count = text.split(line, &mut cells);
        if count > COLUMNS_MAX {
            return Err(Refused::malformed(2, None, format!("more than {COLUMNS_MAX} titles")));
        }
        let titles = &cells[..count];
        let at = |title: &str| titles.iter().position(|cell| *cell == title.as_bytes());
        let needed = |title: &str| at(title).ok_or_else(|| Refused::malformed(2, None, format!("{title} is missing")));
        if let Some(twice) = (1..count).find(|place| titles[..*place].contains(&titles[*place])) {
            return Err(Refused::malformed(2, Some(twice as u64 + 1), "the same title twice"));
        }
        Ok(Columns {
            count,
            code: needed("respCode")?,
            message: at("respMsg"),
            txn_no: needed("queryId")?,
            time: needed("sysTm")?,
            order_no: needed("orderId")?,
            amount: needed("txnAmt")?,
            currency: at("currencyCode"),
        })
    }

    fn shapes<'a>(&self, line: &'a [u8], text: Text, cells: &mut [&'a [u8]; COLUMNS_MAX]) -> bool {
        line.len() <= LINE_BYTES_MAX && text.split(line, cells) == self.count
    }

    fn reads(&self, place: usize) -> bool {
        let needed = [self.code, self.txn_no, self.time, self.order_no, self.amount];
        needed.contains(&place) || self.currency == Some(place)
    }
}

/// One line of code and message instead of a file: there is no result, and nothing in it is of a payer.
pub(super) fn rejection(code: &[u8]) -> Refused {
    match number(code).filter(|code| code.len() <= CODE_BYTES_MAX) {
        Some(code) => {
            Refused::wrong_file(1, Some(1), format!("no result but an answer for the whole file: respCode {code}"))
        }
        None => Refused::malformed(1, Some(1), "not a result code"),
    }
}

fn declared<T>(value: T, place: usize) -> Declared<T> {
    Declared { value, line: 1, column: place as u64 + 1 }
}

#[cfg(test)]
mod tests;
