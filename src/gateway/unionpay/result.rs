//! The result file (`…O.txt`) of UnionPay's batch deduction: bytes come in, typed rows go out. Called by stage
//! `reconcile`, first [`ReadResult::open`], which reads the whole file once and refuses it or vouches for its totals,
//! then [`ReadResult::rows`].
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
use crate::gateway::result::count;
use crate::gateway::row::{BEIJING, amount, date, digits_of, plain};
use crate::gateway::text::{COLUMNS_MAX, LINE_BYTES_MAX, Text, number, numbered_lines, without_return};
use crate::gateway::{ReadResult, Refused, ResultHead, ResultRow, recognise};

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

struct Frame<'a> {
    control: Control,
    columns: Columns,
    rows: &'a [u8],
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

    fn frame<'a>(&self, bytes: &'a [u8]) -> Result<Frame<'a>, Refused> {
        let (first, rest) = cut_line(bytes);
        let mut cells = [&[] as &[u8]; COLUMNS_MAX];
        match self.text().split(first, &mut cells) {
            HEAD_CELLS => {}
            REQUEST_HEAD_CELLS => {
                return Err(Refused::wrong_file(1, None, "a request file of our own, not the answer to it"));
            }
            REJECTION_CELLS if rest.is_empty() => return Err(rejection(cells[0])),
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
        let control = Control {
            total: Some(total(1)?),
            count: Some(counted(2)?),
            success_total: Some(total(5)?),
            success_count: Some(counted(6)?),
        };
        if rest.is_empty() {
            return Err(Refused::malformed(1, None, "the file is cut off: the titles are missing"));
        }
        let (titles, rows) = cut_line(rest);
        Ok(Frame { control, columns: Columns::of(titles, self.text())?, rows })
    }

    /// Counts and sums the rows; nothing is kept of them.
    fn tally(&self, frame: &Frame<'_>) -> Result<Tally, Refused> {
        let columns = &frame.columns;
        let ended = frame.rows.ends_with(b"\n");
        if !ended && columns.reads(columns.count - 1) {
            return Err(Refused::malformed(2, None, "without an end of the last line its last cell may be cut off"));
        }
        let (mut tally, mut misshapen, mut last) = (Tally::default(), 0, None);
        let mut cells = [&[] as &[u8]; COLUMNS_MAX];
        for (line_no, line) in numbered_lines(frame.rows, FIRST_ROW) {
            let shaped = columns.shapes(line, self.text(), &mut cells);
            last = Some((line_no, shaped));
            if !shaped {
                misshapen += 1;
                tally.all.add(None);
                tally.undecided.add(None);
                continue;
            }
            let amount = amount(cells[columns.amount], Unit::Fen);
            tally.all.add(amount);
            let class = number(cells[columns.code]).and_then(|code| self.file.codes.meaning(code)).map(|m| m.class);
            match class {
                Some(OutcomeClass::Success) if cells[columns.code] == PLAIN_SUCCESS.as_bytes() => {
                    tally.success.add(amount);
                }
                Some(OutcomeClass::Retryable | OutcomeClass::Final) => {}
                Some(OutcomeClass::Success | OutcomeClass::Unknown) | None => tally.undecided.add(amount),
            }
        }
        if let (Some((line_no, false)), false) = (last, ended) {
            return Err(Refused::malformed(line_no, None, "the file is cut off in its last line"));
        }
        if misshapen == tally.all.count && misshapen > 1 {
            let reason = format!("no row has the {} columns of the titles", columns.count);
            return Err(Refused::malformed(FIRST_ROW, None, reason));
        }
        Ok(tally)
    }

    fn read_row<'a>(
        &self,
        columns: &Columns,
        line_no: u64,
        line: &'a [u8],
    ) -> Result<ResultRow<'a>, (Option<usize>, String)> {
        let wrong = |place: usize, what: &str| (Some(place), what.to_owned());
        let mut cells = [&[] as &[u8]; COLUMNS_MAX];
        if !columns.shapes(line, self.text(), &mut cells) {
            return Err((None, format!("not {} columns, or longer than {LINE_BYTES_MAX} bytes", columns.count)));
        }
        let order_no = number(cells[columns.order_no]).ok_or_else(|| wrong(columns.order_no, "not an order number"))?;
        let amount = amount(cells[columns.amount], Unit::Fen);
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
            cell => Some(self.instant(cell).ok_or_else(|| wrong(columns.time, "not a time MMDDhhmmss"))?),
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

    /// A time without a year is of the year that brings it nearest to the day of the batch: what was handed over on 31
    /// December is deducted in January.
    fn instant(&self, cell: &[u8]) -> Option<DateTime<Utc>> {
        if cell.len() != 10 || !cell.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let two = |at: usize| digits_of(&cell[at..at + 2]) as u32;
        let batch = self.batch_date.and_time(NaiveTime::MIN);
        let of_year = |year| NaiveDate::from_ymd_opt(year, two(0), two(2))?.and_hms_opt(two(4), two(6), two(8));
        let year = self.batch_date.year();
        let near = (year - 1..=year + 1).filter_map(of_year).min_by_key(|time| (*time - batch).abs())?;
        Some(near.and_local_timezone(BEIJING).single()?.to_utc())
    }
}

impl ReadResult for ResultName<'_> {
    fn open(&self, bytes: &[u8]) -> Result<ResultHead, Refused> {
        if let Some(refused) = recognise::not_lines(bytes).or_else(|| recognise::misencoded(bytes, self.text())) {
            return Err(refused);
        }
        let frame = self.frame(bytes)?;
        let tally = self.tally(&frame)?;
        let Control { count: _, total, success_count, success_total } = &frame.control;
        tally.check(&frame.control)?;
        Ok(ResultHead {
            bank_code: None,
            business_date: None,
            request_file_name: Some(self.file.name(self.batch_date, self.batch_no, 'I')),
            count: tally.all.count,
            total: total.as_ref().map_or(Money::ZERO, |total| total.value),
            success_count: success_count.as_ref().map(|count| count.value),
            success_total: success_total.as_ref().map(|total| total.value),
        })
    }

    fn rows<'a>(&'a self, bytes: &'a [u8]) -> Box<dyn Iterator<Item = ResultRow<'a>> + Send + 'a> {
        let Ok(frame) = self.frame(bytes) else { return Box::new(std::iter::empty()) };
        let columns = frame.columns;
        Box::new(numbered_lines(frame.rows, FIRST_ROW).map(move |(line_no, line)| {
            self.read_row(&columns, line_no, line).unwrap_or_else(|(place, reason)| ResultRow::Unparsable {
                line_no,
                column: place.map(|place| place as u64 + 1),
                reason,
            })
        }))
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

/// The first line, and what comes after it.
fn cut_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => (without_return(&bytes[..end]), &bytes[end + 1..]),
        None => (bytes, &[]),
    }
}

/// One line of code and message instead of a file: there is no result, and nothing in it is of a payer.
fn rejection(code: &[u8]) -> Refused {
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
