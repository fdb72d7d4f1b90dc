//! The result file (回盘文件) of a bank: bytes come in, typed rows go out. Called by stage `reconcile`, first
//! [`ReadResult::open`], which reads the whole file once without keeping a row and refuses it or vouches for its
//! totals, then [`ReadResult::rows`].
//!
//! A file ends with its trailer, or, where its layout has none, with a line end; sums in header and trailer have
//! both their decimals. So a file that was cut off anywhere is refused.

use chrono::NaiveDate;

use super::column::{Cell, Line};
use super::control::{Control, Declared, Tally};
use super::field::{ResultEdge, Unit};
use super::row::{amount, date, digits_of};
use super::text::{COLUMNS_MAX, number, numbered_lines, without_return};
use super::{BankFile, ReadResult, Refused, ResultHead, ResultRow, recognise};
use crate::domain::money::Money;
use crate::domain::outcome::OutcomeClass;

impl ReadResult for BankFile {
    fn open(&self, bytes: &[u8]) -> Result<ResultHead, Refused> {
        let layout = &self.layout;
        let foreign = recognise::foreign(bytes, layout).or_else(|| recognise::misencoded(bytes, layout.text));
        if let Some(refused) = foreign {
            return Err(refused);
        }
        let frame = self.frame(bytes)?;
        let mut head = Head::default();
        let mut controls = Vec::new();
        if let Some(line) = frame.header {
            controls.push(self.read_edge(1, line, &layout.result.header, &mut head)?);
        }
        let tally = self.tally(&frame)?;
        if let Some(line) = frame.trailer {
            controls.push(self.read_edge(
                frame.first_row + tally.all.count,
                line,
                &layout.result.trailer,
                &mut head,
            )?);
        }
        // A value that only one of header and trailer has helps to check what the other has.
        let (total, count) = (first(&controls, |all| all.total), first(&controls, |all| all.success_count));
        for control in &mut controls {
            (control.total, control.success_count) = (control.total.or(total), control.success_count.or(count));
            tally.check(control)?;
        }
        Ok(ResultHead {
            bank_code: head.bank_code,
            business_date: head.business_date,
            request_file_name: head.request_file_name,
            count: tally.all.count,
            // Where an amount cannot be read, the rows say less than the file declares.
            total: total.ok_or_else(|| Refused::malformed(1, None, "no total"))?.value,
            success_count: count.map(|count| count.value),
            success_total: first(&controls, |control| control.success_total).map(|total| total.value),
        })
    }

    fn rows<'a>(&'a self, bytes: &'a [u8]) -> Box<dyn Iterator<Item = ResultRow<'a>> + Send + 'a> {
        match self.frame(bytes) {
            Ok(frame) => Box::new(frame.rows().map(|(line_no, line)| self.read_row(line_no, line))),
            Err(_) => Box::new(std::iter::empty()),
        }
    }
}

/// A file taken apart: the rows are what is between header and trailer, each with its line end.
struct Frame<'a> {
    header: Option<&'a [u8]>,
    rows: &'a [u8],
    trailer: Option<&'a [u8]>,
    /// The number of the first row's line.
    first_row: u64,
}

/// What header and trailer say beside the totals.
#[derive(Default)]
struct Head {
    bank_code: Option<String>,
    business_date: Option<NaiveDate>,
    request_file_name: Option<String>,
}

impl<'a> Frame<'a> {
    fn rows(&self) -> impl Iterator<Item = (u64, &'a [u8])> + Send + use<'a> {
        numbered_lines(self.rows, self.first_row)
    }
}

impl BankFile {
    /// Whether the header, or the trailer where there is no header, has this bank's code where its layout says.
    pub(super) fn claims(&self, bytes: &[u8]) -> bool {
        let layout = &self.layout.result;
        let mut lines = bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|byte| *byte == b'\n');
        let (edge, line) = if layout.header.is_empty() {
            (&layout.trailer, lines.next_back())
        } else {
            (&layout.header, lines.next())
        };
        let mut head = Head::default();
        let read = self.read_edge(1, without_return(line.unwrap_or_default()), edge, &mut head);
        read.is_ok() && head.bank_code.is_some()
    }

    fn frame<'a>(&self, bytes: &'a [u8]) -> Result<Frame<'a>, Refused> {
        let layout = &self.layout.result;
        let (mut header, mut trailer, mut rows, mut first_row) = (None, None, bytes, 1);
        if !layout.header.is_empty() {
            let end = rows.iter().position(|byte| *byte == b'\n');
            let end = end.ok_or_else(|| Refused::malformed(1, None, "the file is cut off in its first line"))?;
            header = Some(without_return(&rows[..end]));
            rows = &rows[end + 1..];
            first_row = 2;
        }
        if layout.trailer.is_empty() {
            if !rows.is_empty() && !rows.ends_with(b"\n") {
                return Err(Refused::malformed(lines(bytes), None, "the file is cut off: the last line has no end"));
            }
        } else {
            let whole = without_return(rows.strip_suffix(b"\n").unwrap_or(rows));
            let begin = whole.iter().rposition(|byte| *byte == b'\n').map_or(0, |before| before + 1);
            let line = &whole[begin..];
            if !layout.trailer.fits(line, self.layout.text) && layout.trailer.constants().next().is_some() {
                let reason = "the last line is not the trailer: the file is cut off, or something follows the trailer";
                return Err(Refused::malformed(lines(bytes), None, reason));
            }
            trailer = Some(line);
            rows = &rows[..begin];
        }
        Ok(Frame { header, rows, trailer, first_row })
    }

    /// Counts and sums the rows; nothing is kept of them.
    fn tally(&self, frame: &Frame<'_>) -> Result<Tally, Refused> {
        let (text, layout) = (self.layout.text, &self.layout.result);
        let item = &layout.item;
        let mut tally = Tally::default();
        let mut misshapen = 0;
        let mut cells = [&[] as &[u8]; COLUMNS_MAX];
        for (line_no, line) in frame.rows() {
            if !item.shapes(line, text, &mut cells) {
                let edge = layout.header.fits(line, text) || layout.trailer.fits(line, text);
                if edge {
                    return Err(Refused::malformed(line_no, None, "header or trailer in the middle of the file"));
                }
                misshapen += 1;
                tally.all.add(None);
                tally.undecided.add(None);
                continue;
            }
            let amount = amount(cells[item.amount], item.unit);
            tally.all.add(amount);
            match number(cells[item.code]).and_then(|code| self.codes.meaning(code)) {
                Some(meaning) if meaning.class == OutcomeClass::Success => tally.success.add(amount),
                Some(_) => {}
                None => tally.undecided.add(amount),
            }
        }
        if misshapen == tally.all.count && misshapen > 1 {
            return Err(Refused::malformed(
                frame.first_row,
                None,
                format!("no row has the {} of this layout", item.cut),
            ));
        }
        Ok(tally)
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
                Cell::Field(ResultEdge::Ignored) => {}
            }
        }
        Ok(control)
    }
}

fn first<T>(controls: &[Control], declared: impl Fn(&Control) -> Option<Declared<T>>) -> Option<Declared<T>> {
    controls.iter().find_map(declared)
}

fn lines(bytes: &[u8]) -> u64 {
    let line_ends = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    if bytes.ends_with(b"\n") { line_ends } else { line_ends + 1 }
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
