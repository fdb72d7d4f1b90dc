//! The result file (回盘文件) of a bank: bytes come in, typed rows go out. Called by stage `reconcile` through
//! [`Answers::read`], which reads the file once, line by line, and at its end refuses it or vouches for its totals.
//!
//! A file ends with its trailer, or, where its layout has none, with a line end; sums in header and trailer have
//! both their decimals. So a file that was cut off anywhere is refused.
//!
//! [`Answers::read`]: super::Answers::read

use std::io::{self, Read, SeekFrom};

use chrono::NaiveDate;

use super::column::{Cell, Line};
use super::control::{Control, Declared, Tally};
use super::field::{ResultEdge, Unit};
use super::layout::Holds;
use super::lines::{self, Lines};
use super::recognise::{self, BEGINNING_BYTES, Encoding};
use super::row::{Taken, amount, date, digits_of};
use super::text::{COLUMNS_MAX, LINE_BYTES_MAX, number, without_return};
use super::{BankFile, Covers, FileBytes, ReadError, Refused, ResultHead, ResultRow};
use crate::domain::money::Money;
use crate::domain::outcome::OutcomeClass;

impl BankFile {
    pub(super) fn read_result(
        &self,
        lines: &mut Lines<'_>,
        each: &mut dyn FnMut(ResultRow<'_>),
    ) -> Result<ResultHead, ReadError> {
        let layout = &self.layout.result;
        if let Some(refused) = recognise::foreign(lines.beginning(BEGINNING_BYTES)?, &self.layout) {
            return Err(refused.into());
        }
        let mut encoding = Encoding::of(self.layout.text);
        let (mut head, mut rows) = (Head::default(), Rows::default());
        let (mut header, mut trailer) = (None, None);
        while let Some(line) = lines.next_line()? {
            encoding.check(line.no, line.bytes)?;
            if line.no == 1 && !layout.header.is_empty() {
                if line.end.is_none() {
                    return Err(Refused::malformed(1, None, "the file is cut off in its first line").into());
                }
                header = Some(self.read_edge(1, line.bytes, &layout.header, &mut head)?);
            } else if line.is_last && !layout.trailer.is_empty() {
                trailer = Some((line.no, self.read_trailer(&line, &mut head)?));
            } else {
                if line.is_last && line.end.is_none() {
                    let reason = "the file is cut off: the last line has no end";
                    return Err(Refused::malformed(line.no, None, reason).into());
                }
                each(self.read_row(&line, &mut rows)?);
            }
        }
        encoding.end()?;
        if trailer.is_none() && !layout.trailer.is_empty() {
            return Err(
                Refused::malformed(lines.line_no() + 1, None, "the file is cut off: there is no trailer").into()
            );
        }
        if rows.misshapen == rows.tally.all.count && rows.misshapen > 1 {
            let first_row = 1 + u64::from(header.is_some());
            let reason = format!("no row has the {} of this layout", layout.item.cut);
            return Err(Refused::malformed(first_row, None, reason).into());
        }
        let controls = header.into_iter().chain(trailer.map(|(_, control)| control)).collect();
        Ok(checked(controls, &rows.tally, head, layout.holds)?)
    }

    fn read_trailer(&self, line: &lines::Line<'_>, head: &mut Head) -> Result<Control, Refused> {
        let trailer = &self.layout.result.trailer;
        if !trailer.fits(line.bytes, self.layout.text) && trailer.constants().next().is_some() {
            let reason = "the last line is not the trailer: the file is cut off, or something follows the trailer";
            return Err(Refused::malformed(line.no, None, reason));
        }
        self.read_edge(line.no, line.bytes, trailer, head)
    }

    /// Counts a row, sums it up, and says what is in it.
    fn read_row<'a>(&self, line: &lines::Line<'a>, rows: &mut Rows) -> Result<ResultRow<'a>, Refused> {
        let (text, layout) = (self.layout.text, &self.layout.result);
        let (item, line_no, tally) = (&layout.item, line.no, &mut rows.tally);
        let mut cells = [&[] as &[u8]; COLUMNS_MAX];
        let misshapen = if line.bytes.len() > LINE_BYTES_MAX {
            Some(format!("longer than {LINE_BYTES_MAX} bytes"))
        } else {
            item.cut_row(line.bytes, text, &mut cells).err().map(|misshapen| misshapen.to_string())
        };
        if let Some(reason) = misshapen {
            if layout.header.fits(line.bytes, text) || layout.trailer.fits(line.bytes, text) {
                return Err(Refused::malformed(line_no, None, "header or trailer in the middle of the file"));
            }
            rows.misshapen += 1;
            tally.all.add(None);
            tally.undecided.add(None);
            return Ok(ResultRow::Unparsable { line_no, column: None, reason });
        }
        let amount = amount(cells[item.amount], item.unit);
        tally.all.add(amount);
        let class = number(cells[item.code]).and_then(|code| self.codes.meaning(code)).map(|meaning| meaning.class);
        let taken = item.taken(&cells, class);
        match (class, taken) {
            (_, Taken::Sum(taken)) if Some(taken) != amount => tally.undecided.add(None),
            (Some(OutcomeClass::Success), _) => tally.success.add(amount),
            (Some(OutcomeClass::Retryable | OutcomeClass::Final), _) => tally.failed.add(amount),
            (Some(OutcomeClass::Unknown), _) => tally.pending.add(amount),
            (None, _) => tally.undecided.add(amount),
        }
        Ok(self.read_item(line_no, &cells, amount, taken).unwrap_or_else(|(place, reason)| ResultRow::Unparsable {
            line_no,
            column: Some(place as u64 + 1),
            reason: reason.to_owned(),
        }))
    }

    /// Whether the header, or the trailer where there is no header, has this bank's code where its layout says.
    pub(super) fn claims(&self, ends: &FileEnds) -> bool {
        let layout = &self.layout.result;
        let (edge, line) = if layout.header.is_empty() {
            (&layout.trailer, ends.last_line())
        } else {
            (&layout.header, ends.first_line())
        };
        let mut head = Head::default();
        let read = self.read_edge(1, line, edge, &mut head);
        read.is_ok() && head.bank_code.is_some()
    }

    fn read_edge(
        &self,
        line_no: u64,
        line: &[u8],
        edge: &Line<ResultEdge>,
        head: &mut Head,
    ) -> Result<Control, Refused> {
        let text = self.layout.text;
        let mut cells = [&[] as &[u8]; COLUMNS_MAX];
        let cut = edge.cut.cells(text, line, &mut cells);
        cut.map_err(|misshapen| Refused::malformed(line_no, None, misshapen.to_string()))?;
        let mut control = Control::default();
        for ((cell, column), column_no) in cells.into_iter().zip(&edge.columns).zip(1..) {
            let wrong = |what: &str| Refused::malformed(line_no, Some(column_no), what);
            let count = || count(cell).ok_or_else(|| wrong("not a count"));
            let total = |unit| exact(cell, unit).ok_or_else(|| wrong("not a sum of money in its full length"));
            match &column.cell {
                Cell::Constant(constant) if **constant == *cell => {}
                Cell::Constant(_) => return Err(wrong("not the constant of this line")),
                Cell::Field(ResultEdge::BankCode) if self.bank_code.as_bytes() == cell => {
                    head.bank_code = Some(self.bank_code.clone());
                }
                Cell::Field(ResultEdge::BankCode) => {
                    let reason = format!("another bank's file, not one of bank {}", self.bank_code);
                    return Err(Refused::wrong_file(line_no, Some(column_no), reason));
                }
                Cell::Field(ResultEdge::BusinessDate) => {
                    head.business_date = Some(date(cell).ok_or_else(|| wrong("not a date yyyymmdd"))?);
                }
                Cell::Field(ResultEdge::RequestFileName) => {
                    let name = text.charset.decode(cell).filter(|name| !name.chars().any(char::is_control));
                    head.request_file_name = Some(name.ok_or_else(|| wrong("not a file name"))?.into_owned());
                }
                Cell::Field(ResultEdge::Count) => {
                    control.count = Some(Declared { value: count()?, line: line_no, column: column_no });
                }
                Cell::Field(ResultEdge::Total(unit)) => {
                    control.total = Some(Declared { value: total(*unit)?, line: line_no, column: column_no });
                }
                Cell::Field(ResultEdge::SuccessCount) => {
                    control.success_count = Some(Declared { value: count()?, line: line_no, column: column_no });
                }
                Cell::Field(ResultEdge::SuccessTotal(unit)) => {
                    control.success_total = Some(Declared { value: total(*unit)?, line: line_no, column: column_no });
                }
                Cell::Field(ResultEdge::FailedCount) => {
                    control.failed_count = Some(Declared { value: count()?, line: line_no, column: column_no });
                }
                Cell::Field(ResultEdge::FailedTotal(unit)) => {
                    control.failed_total = Some(Declared { value: total(*unit)?, line: line_no, column: column_no });
                }
                Cell::Field(ResultEdge::TailBytes | ResultEdge::Ignored) => {}
            }
        }
        Ok(control)
    }
}

/// The beginning and the end of a file: whose it is stands in its first or its last line.
pub struct FileEnds {
    pub beginning: Vec<u8>,
    pub end: Vec<u8>,
}

impl FileEnds {
    pub fn of(bytes: &mut dyn FileBytes) -> io::Result<FileEnds> {
        let (mut beginning, mut end) = (Vec::new(), Vec::new());
        bytes.rewind()?;
        bytes.take(BEGINNING_BYTES as u64).read_to_end(&mut beginning)?;
        let size_bytes = bytes.seek(SeekFrom::End(0))?;
        bytes.seek(SeekFrom::Start(size_bytes.saturating_sub(BEGINNING_BYTES as u64)))?;
        bytes.take(BEGINNING_BYTES as u64).read_to_end(&mut end)?;
        bytes.rewind()?;
        Ok(FileEnds { beginning, end })
    }

    fn first_line(&self) -> &[u8] {
        without_return(self.beginning.split(|byte| *byte == b'\n').next().unwrap_or_default())
    }

    fn last_line(&self) -> &[u8] {
        let end = self.end.strip_suffix(b"\n").unwrap_or(&self.end);
        without_return(end.rsplit(|byte| *byte == b'\n').next().unwrap_or_default())
    }
}

/// The rows so far; nothing is kept of them.
#[derive(Default)]
struct Rows {
    tally: Tally,
    misshapen: u64,
}

/// What header and trailer say beside the totals.
#[derive(Default)]
struct Head {
    bank_code: Option<String>,
    business_date: Option<NaiveDate>,
    request_file_name: Option<String>,
}

/// A value that only one of header and trailer has helps to check what the other has.
fn checked(mut controls: Vec<Control>, tally: &Tally, head: Head, holds: Holds) -> Result<ResultHead, Refused> {
    let total = first(&controls, |all| all.total);
    let (succeeded, failed) = (first(&controls, |all| all.success_count), first(&controls, |all| all.failed_count));
    for control in &mut controls {
        control.total = control.total.or(total);
        control.success_count = control.success_count.or(succeeded);
        control.failed_count = control.failed_count.or(failed);
        tally.check(control)?;
    }
    let success_total = first(&controls, |control| control.success_total).map(|total| total.value);
    let failed_total = first(&controls, |control| control.failed_total).map(|total| total.value);
    let (total, covers) = match (total, holds) {
        // Where an amount cannot be read, the rows say less than the file declares.
        (Some(total), Holds::All) => (total.value, Covers::Results),
        (Some(total), Holds::Successes) => (total.value, Covers::Nothing),
        (None, Holds::Successes) => (summed(tally)?, Covers::Nothing),
        (None, Holds::All) => return Err(Refused::malformed(1, None, "no total")),
    };
    // Who counts the failures says by that how many succeeded, and with how much.
    let not_failed_total = failed_total.filter(|failed| *failed <= total).map(|failed| total - failed);
    let not_failed = failed.map(|failed| tally.all.count - failed.value);
    Ok(ResultHead {
        bank_code: head.bank_code,
        business_date: head.business_date,
        request_file_name: head.request_file_name,
        count: tally.all.count,
        total,
        success_count: succeeded.map(|count| count.value).or(not_failed),
        success_total: success_total.or(not_failed_total),
        refund_count: None,
        refund_total: None,
        covers,
    })
}

/// The total of a file that declares none.
fn summed(tally: &Tally) -> Result<Money, Refused> {
    let reason = "the amounts come to more than a sum of money may be";
    Money::from_fen(tally.all.fen).map_err(|_| Refused::malformed(1, None, reason))
}

fn first<T>(controls: &[Control], declared: impl Fn(&Control) -> Option<Declared<T>>) -> Option<Declared<T>> {
    controls.iter().find_map(declared)
}

/// A sum in header or trailer: yuan with both decimals, so that a sum that was cut off is not taken for a whole one.
fn exact(cell: &[u8], unit: Unit) -> Option<Money> {
    let whole = match unit {
        Unit::Yuan => cell.iter().rev().position(|byte| *byte == b'.') == Some(2),
        Unit::Fen => true,
    };
    if whole { amount(cell, unit) } else { None }
}

pub(super) fn count(cell: &[u8]) -> Option<u64> {
    let digits = (1..=12).contains(&cell.len()) && cell.iter().all(u8::is_ascii_digit);
    if digits { Some(digits_of(cell)) } else { None }
}

#[cfg(test)]
mod tests;
