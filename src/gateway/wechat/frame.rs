//! The frame that all of WeChat Pay's bills have: lines come in, rows go out to whoever asked, and at the end what the
//! bill comes to. Called by [`super::WechatBills`].
//!
//! UTF-8, with or without byte order mark, CR LF or LF. The columns' names; a row a line, each cell behind a backtick,
//! commas between, no quoting; the names of the totals; the totals. A comma within a cell does no harm, as no backtick
//! follows it. What breaks a row into two lines does: its first part is a bad row, and lines that follow it without a
//! backtick are the rest of it.

use super::foreign::{self, BEGINNING_BYTES, FUND_FLOW_TOTALS, TRADE_TOTALS, saved_again};
use super::fund_flow::FundFlow;
use super::header::Header;
use super::totals::{Declared, Total};
use super::trade::Trade;
use super::{Expected, number};
use crate::domain::money::Money;
use crate::gateway::lines::{Line, Lines};
use crate::gateway::text::{COLUMNS_MAX, LINE_BYTES_MAX};
use crate::gateway::{ReadError, Refused, ResultRow};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What a bill comes to, its totals checked.
pub(super) struct Bill {
    pub rows: u64,
    /// Whether it has all payments of its day, as far as the bill tells.
    pub is_whole: bool,
    /// Of the payments.
    pub total: Money,
    pub refund_total: Option<Money>,
}

/// What is wrong with a row.
pub(super) enum Fault {
    /// Where, from 0, and what: the row is a bad one.
    Row(usize, &'static str),
    /// The file is not to be read on.
    File(Refused),
}

enum Kind {
    Trade(Box<Trade>),
    FundFlow(Box<FundFlow>),
}

struct Reading {
    kind: Kind,
    columns: usize,
    rows: u64,
    unparsable: u64,
    misshapen: u64,
}

pub(super) fn read(
    lines: &mut Lines<'_>,
    expected: &Expected<'_>,
    each: &mut dyn FnMut(ResultRow<'_>),
) -> Result<Bill, ReadError> {
    lines.step_over(BYTE_ORDER_MARK)?;
    if let Some(refused) = foreign::named(lines.beginning(BEGINNING_BYTES)?) {
        return Err(refused.into());
    }
    let Some(first) = lines.next_line()? else { return Err(cut_off(1, "there is no line").into()) };
    if first.end.is_none() && foreign::begins_a_bill(first.bytes) {
        return Err(cut_off(1, "there are no totals").into());
    }
    let header = Header::parse(1, first.bytes)?;
    let mut reading =
        Reading { kind: Kind::of(&header)?, columns: header.count(), rows: 0, unparsable: 0, misshapen: 0 };
    let mut is_broken = false;
    while let Some(line) = lines.next_line()? {
        if line.bytes.first() == Some(&b'`') {
            is_broken = !reading.row(&line, expected, each)?;
        } else if reading.kind.begins_totals(line.bytes) {
            if line.end.is_none() {
                return Err(cut_off(line.no, "there are no totals").into());
            }
            let names = Header::parse(line.no, line.bytes)?;
            return reading.end(&names, lines);
        } else if !is_broken {
            return Err(reading.loose(&line).into());
        }
    }
    Err(cut_off(lines.line_no(), "there are no totals").into())
}

impl Reading {
    /// Whether the line had the cells of a row.
    fn row(
        &mut self,
        line: &Line<'_>,
        expected: &Expected<'_>,
        each: &mut dyn FnMut(ResultRow<'_>),
    ) -> Result<bool, Refused> {
        self.rows += 1;
        let mut cells = [&[] as &[u8]; COLUMNS_MAX];
        if let Err(reason) = self.split(line.bytes, &mut cells) {
            self.misshapen += 1;
            self.unparsable += 1;
            self.kind.totals()[1..].iter_mut().for_each(|total| total.add(None));
            each(ResultRow::Unparsable { line_no: line.no, column: None, reason });
            return Ok(false);
        }
        let row = match &mut self.kind {
            Kind::Trade(trade) => trade.row(expected, line.no, &cells),
            Kind::FundFlow(flow) => flow.row(line.no, &cells),
        };
        match row {
            Ok(row) => each(row),
            Err(Fault::Row(place, reason)) => {
                self.unparsable += 1;
                let column = Some(place as u64 + 1);
                each(ResultRow::Unparsable { line_no: line.no, column, reason: reason.to_owned() });
            }
            Err(Fault::File(mut refused)) => {
                refused.line = line.no;
                return Err(refused);
            }
        }
        Ok(true)
    }

    fn split<'a>(&self, line: &'a [u8], cells: &mut [&'a [u8]; COLUMNS_MAX]) -> Result<(), String> {
        if line.len() > LINE_BYTES_MAX {
            return Err(format!("longer than {LINE_BYTES_MAX} bytes"));
        }
        if std::str::from_utf8(line).is_err() {
            return Err("not UTF-8: malformed bytes".to_owned());
        }
        match split(line, cells) {
            found if found == self.columns => Ok(()),
            found => Err(format!("{} columns expected, {found} found", self.columns)),
        }
    }

    /// The refusal of a line that is neither row nor totals.
    fn loose(&self, line: &Line<'_>) -> Refused {
        let commas = line.bytes.iter().filter(|byte| **byte == b',').count();
        if line.end.is_none() && self.kind.could_begin_totals(line.bytes) {
            cut_off(line.no, "there are no totals")
        } else if commas + 1 == self.columns {
            saved_again(line.no, "a row without backticks")
        } else {
            Refused::malformed(line.no, None, "neither a row nor the totals")
        }
    }

    /// The last line, and that nothing follows it.
    fn end(mut self, names: &Header, lines: &mut Lines<'_>) -> Result<Bill, ReadError> {
        let names_no = lines.line_no();
        let Some(line) = lines.next_line()? else { return Err(cut_off(names_no, "the totals have no values").into()) };
        let line_no = line.no;
        if self.misshapen == self.rows && self.misshapen > 1 {
            let reason = format!("no row has the {} columns of the first line", self.columns);
            return Err(Refused::malformed(2, None, reason).into());
        }
        let mut cells = [&[] as &[u8]; COLUMNS_MAX];
        if line.bytes.first() != Some(&b'`') {
            return Err(match line.bytes {
                b"" => cut_off(line_no, "the totals have no values"),
                _ => saved_again(line_no, "totals without backticks"),
            }
            .into());
        }
        match split(line.bytes, &mut cells) {
            found if found == names.count() && line.bytes.len() <= LINE_BYTES_MAX => {}
            _ if line.end.is_none() => return Err(cut_off(line_no, "the totals are not complete").into()),
            found => {
                let reason = format!("{} totals expected, {found} found", names.count());
                return Err(Refused::malformed(line_no, None, reason).into());
            }
        }
        let declared = Declared { names, line_no, cells: &cells };
        let rows = self.rows;
        let totals = self.kind.totals();
        totals[0].add(i64::try_from(rows).ok());
        let agreed = totals.iter().map(|total| total.check(&declared)).collect::<Result<Vec<_>, _>>()?;
        if line.end.is_none() && !declared.is_whole(&agreed) {
            return Err(cut_off(line_no, "the last total may not be complete").into());
        }
        while let Some(line) = lines.next_line()? {
            if !line.bytes.is_empty() {
                return Err(Refused::malformed(line.no, None, "something follows the totals").into());
            }
        }
        let (is_whole, (total, refund_total)) = match &self.kind {
            Kind::Trade(trade) => (trade.is_whole() && self.unparsable == 0, trade.sums(&agreed)),
            Kind::FundFlow(_) => (false, (0, None)),
        };
        let money = |fen: i128| {
            Money::from_fen(fen).map_err(|_| Refused::malformed(line_no, None, "a total that no bill comes to"))
        };
        Ok(Bill { rows, is_whole, total: money(total)?, refund_total: refund_total.map(money).transpose()? })
    }
}

impl Kind {
    fn of(header: &Header) -> Result<Kind, Refused> {
        if header.has("交易时间") && header.has("微信订单号") {
            Ok(Kind::Trade(Box::new(Trade::of(header)?)))
        } else if header.has("记账时间") && header.has("资金流水单号") {
            Ok(Kind::FundFlow(Box::new(FundFlow::of(header)?)))
        } else {
            let reason = "its columns are neither those of a trade bill nor of a fund flow";
            Err(Refused::wrong_file(1, None, reason))
        }
    }

    fn totals(&mut self) -> &mut [Total] {
        match self {
            Kind::Trade(trade) => trade.totals(),
            Kind::FundFlow(flow) => flow.totals(),
        }
    }

    fn first_of_totals(&self) -> &'static str {
        match self {
            Kind::Trade(_) => TRADE_TOTALS,
            Kind::FundFlow(_) => FUND_FLOW_TOTALS,
        }
    }

    fn begins_totals(&self, line: &[u8]) -> bool {
        line.starts_with(self.first_of_totals().as_bytes())
    }

    /// Of a line that is cut off.
    fn could_begin_totals(&self, line: &[u8]) -> bool {
        self.first_of_totals().as_bytes().starts_with(line)
    }
}

impl Fault {
    /// A cell that is not what it should be: perhaps a spreadsheet program's doing.
    pub fn of(cells: &[&[u8]], place: usize, what: &'static str) -> Fault {
        if number::is_scientific(cells[place]) {
            let mut refused = saved_again(1, "a number in scientific notation");
            refused.column = Some(place as u64 + 1);
            return Fault::File(refused);
        }
        Fault::Row(place, what)
    }

    /// A number of digits and letters, in which an exponent could pass for one.
    pub fn unless_scientific<'a>(
        cells: &[&'a [u8]],
        place: usize,
        read: fn(&[u8]) -> Option<&str>,
        what: &'static str,
    ) -> Result<&'a str, Fault> {
        match read(cells[place]) {
            Some(number) if !number.contains('+') || !number::is_scientific(cells[place]) => Ok(number),
            Some(_) | None => Err(Fault::of(cells, place, what)),
        }
    }
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Fault {
        Fault::File(refused)
    }
}

fn cut_off(line_no: u64, sign: &str) -> Refused {
    Refused::malformed(line_no, None, format!("the file is cut off: {sign}"))
}

/// Cuts a line that begins with a backtick where a comma and a backtick stand together. Returns how many cells there
/// are; those beyond [`COLUMNS_MAX`] are only counted.
fn split<'a>(line: &'a [u8], cells: &mut [&'a [u8]; COLUMNS_MAX]) -> usize {
    let (mut count, mut from) = (0, 1);
    let mut keep = |cell: &'a [u8]| {
        if let Some(place) = cells.get_mut(count) {
            *place = cell;
        }
        count += 1;
    };
    for at in memchr::memchr_iter(b'`', line) {
        if at > from && line[at - 1] == b',' {
            keep(&line[from..at - 1]);
            from = at + 1;
        }
    }
    keep(&line[from..]);
    count
}
