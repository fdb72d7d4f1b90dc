//! One row of a bank's result file: a line comes in, what it says goes out, or the column that cannot be read. Called
//! by [`super::result`] for every line between header and trailer.

use std::borrow::Cow;

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveTime, Utc};

use super::column::Misshapen;
use super::field::Unit;
use super::layout::ResultItem;
use super::request::money;
use super::text::{COLUMNS_MAX, LINE_BYTES_MAX, Text, number};
use super::{BankFile, ResultRow};
use crate::domain::money::Money;
use crate::domain::outcome::OutcomeClass;

/// Banks write Beijing time, which has no daylight saving.
pub(super) const BEIJING: FixedOffset = FixedOffset::east_opt(8 * 3600).expect("eight hours are less than a day");

impl BankFile {
    /// What a row says, its cells being cut.
    pub(super) fn read_item<'a>(
        &self,
        line_no: u64,
        cells: &[&'a [u8]; COLUMNS_MAX],
        amount: Option<Money>,
        taken: Taken,
    ) -> Result<ResultRow<'a>, (usize, &'static str)> {
        let (text, item) = (self.layout.text, &self.layout.result.item);
        let wrong = |place: usize, what: &'static str| (place, what);
        if let Some((place, _)) = item.constants.iter().find(|(place, constant)| cells[*place] != &**constant) {
            return Err(wrong(*place, "not the constant of a row"));
        }
        let order_no = number(cells[item.order_no]).ok_or_else(|| wrong(item.order_no, "not an order number"))?;
        let asked = amount.ok_or_else(|| wrong(item.amount, "not a sum of money"))?;
        let code = number(cells[item.code]).ok_or_else(|| wrong(item.code, "not a result code"))?;
        let class = self.codes.meaning(code).map(|meaning| meaning.class);
        let amount = match taken {
            Taken::AsAsked => asked,
            Taken::Sum(taken) if taken == asked && fails(class) => {
                return Err(wrong(item.code, "a failure, although the whole amount was taken"));
            }
            // Another sum than was asked for is never booked: the difference is told as one.
            Taken::Sum(taken) => taken,
            Taken::Unreadable(place) => return Err(wrong(place, "not a sum of money")),
        };
        let reason = match item.reason {
            Some(place) => plain(text, cells[place]).ok_or_else(|| wrong(place, "not plain text"))?,
            None => Cow::Borrowed(""),
        };
        let gateway_txn_no = match item.gateway_txn_no {
            Some(place) if !cells[place].is_empty() => {
                Some(number(cells[place]).ok_or_else(|| wrong(place, "not a transaction number"))?)
            }
            Some(_) | None => None,
        };
        let settled_at = match (item.settled_at, item.settled_on) {
            (Some(place), _) if !cells[place].is_empty() => {
                Some(instant(cells[place]).ok_or_else(|| wrong(place, "not a time yyyymmddHHMMSS"))?)
            }
            (_, Some(place)) if !cells[place].iter().all(|byte| *byte == b'0') => {
                Some(midnight(cells[place]).ok_or_else(|| wrong(place, "not a date yyyymmdd"))?)
            }
            (Some(_) | None, Some(_) | None) => None,
        };
        if class == Some(OutcomeClass::Success) {
            if let (Some(place), None) = (item.gateway_txn_no, gateway_txn_no) {
                return Err(wrong(place, "a success without transaction number"));
            }
            if let (Some(place), None) = (item.settled_at.or(item.settled_on), settled_at) {
                return Err(wrong(place, "a success without time"));
            }
        }
        Ok(ResultRow::Read { line_no, order_no, amount, code, reason, gateway_txn_no, settled_at })
    }
}

/// What a row says of the money that was really taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Nothing else than its code says.
    AsAsked,
    Sum(Money),
    Unreadable(usize),
}

impl ResultItem {
    /// Of what did not succeed nothing is taken, unless the row says so.
    pub(super) fn taken(&self, cells: &[&[u8]; COLUMNS_MAX], class: Option<OutcomeClass>) -> Taken {
        let Some((place, unit)) = self.deducted.filter(|(place, _)| !cells[*place].is_empty()) else {
            return Taken::AsAsked;
        };
        match amount(cells[place], unit) {
            Some(taken) if taken.is_zero() && class != Some(OutcomeClass::Success) => Taken::AsAsked,
            Some(taken) => Taken::Sum(taken),
            None => Taken::Unreadable(place),
        }
    }

    /// Cuts a row; or it has not the cells of one.
    pub(super) fn cut_row<'a>(
        &self,
        line: &'a [u8],
        text: Text,
        cells: &mut [&'a [u8]; COLUMNS_MAX],
    ) -> Result<(), Misshapen> {
        self.cut.cells(text, line, cells)
    }

    /// Whether a line has the cells and the constants of a row.
    pub(super) fn fits(&self, line: &[u8], text: Text) -> bool {
        let mut cells = [&[] as &[u8]; COLUMNS_MAX];
        line.len() <= LINE_BYTES_MAX
            && self.cut_row(line, text, &mut cells).is_ok()
            && self.constants.iter().all(|(place, constant)| cells[*place] == &**constant)
    }
}

fn fails(class: Option<OutcomeClass>) -> bool {
    match class {
        Some(OutcomeClass::Retryable | OutcomeClass::Final) => true,
        Some(OutcomeClass::Success | OutcomeClass::Unknown) | None => false,
    }
}

pub(super) fn amount(cell: &[u8], unit: Unit) -> Option<Money> {
    money(std::str::from_utf8(cell).ok()?, unit)
}

pub(super) fn plain(text: Text, cell: &[u8]) -> Option<Cow<'_, str>> {
    text.charset.decode(cell).filter(|reason| !reason.chars().any(char::is_control))
}

pub(super) fn date(cell: &[u8]) -> Option<NaiveDate> {
    if cell.len() != 8 || !cell.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let (year, month, day) = (digits_of(&cell[..4]), digits_of(&cell[4..6]), digits_of(&cell[6..]));
    let year = i32::try_from(year).ok().filter(|year| (2000..=2999).contains(year))?;
    NaiveDate::from_ymd_opt(year, month as u32, day as u32)
}

/// The beginning of a day, of which the time is not told.
fn midnight(cell: &[u8]) -> Option<DateTime<Utc>> {
    Some(date(cell)?.and_time(NaiveTime::MIN).and_local_timezone(BEIJING).single()?.to_utc())
}

fn instant(cell: &[u8]) -> Option<DateTime<Utc>> {
    if cell.len() != 14 || !cell.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let (hour, minute, second) = (digits_of(&cell[8..10]), digits_of(&cell[10..12]), digits_of(&cell[12..]));
    let local = date(&cell[..8])?.and_hms_opt(hour as u32, minute as u32, second as u32)?;
    Some(local.and_local_timezone(BEIJING).single()?.to_utc())
}

/// The value of at most twelve or so digits.
pub(super) fn digits_of(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'))
}
