//! The request file (送盘文件) of a bank: items come in, bytes go out; and the way back. Called by stage `seal`,
//! which compares the two before it seals the bytes.

use super::column::{Cell, Column, Line};
use super::field::{Named, RequestEdge, RequestField, Unit};
use super::text::{Charset, LineEnd, Text, Uncarriable, number};
use super::{BankFile, HeldBack, Refused, RenderRequest, Rendered, RequestHead, RequestItem, RequestRead};
use crate::domain::money::Money;

impl RenderRequest for BankFile {
    fn file_name(&self, head: &RequestHead) -> String {
        self.layout.file_name.fill(&self.bank_code, head.business_date, head.run_id, head.part)
    }

    fn render(&self, head: &RequestHead, items: &[RequestItem<'_>]) -> Rendered {
        let file_name = self.file_name(head);
        let mut body = Vec::with_capacity(items.len() * 96 + 256);
        let (mut count, mut total, mut held_back) = (0, Money::ZERO, Vec::new());
        let room = Room::of(&self.layout.request.header).with(&self.layout.request.trailer);
        for item in items {
            let line_begin = body.len();
            let put = room.takes(count + 1, total.fen() + item.amount.fen());
            match put.and_then(|()| self.put_item(count + 1, item, &mut body)) {
                Ok(()) => {
                    count += 1;
                    total = total + item.amount;
                }
                Err((field, reason)) => {
                    body.truncate(line_begin);
                    held_back.push(HeldBack { order_no: item.order_no.to_owned(), field, reason });
                }
            }
        }
        let edge = Edge { file_name: &file_name, head, count, total };
        let mut bytes = Vec::with_capacity(body.len() + 512);
        self.put_edge(&self.layout.request.header, &edge, &mut bytes);
        bytes.append(&mut body);
        self.put_edge(&self.layout.request.trailer, &edge, &mut bytes);
        Rendered { file_name, bytes, count, total, held_back }
    }

    /// Decodes the whole file first and then splits text, where the rendering writes bytes cell by cell.
    fn parse_back(&self, bytes: &[u8]) -> Result<RequestRead, Refused> {
        let layout = &self.layout;
        let text = layout.text.charset.decode(bytes);
        let text = text.ok_or_else(|| Refused::malformed(1, None, "the encoding is malformed"))?;
        let line_end = match layout.text.line_end {
            LineEnd::Crlf => "\r\n",
            LineEnd::Lf => "\n",
        };
        let text = text.strip_suffix(line_end);
        let text = text.ok_or_else(|| Refused::malformed(1, None, "the last line has no end"))?;
        let mut lines: Vec<&str> = text.split(line_end).collect();
        let edges = usize::from(!layout.request.header.is_empty()) + usize::from(!layout.request.trailer.is_empty());
        if lines.len() < edges {
            return Err(Refused::malformed(1, None, "header or trailer is missing"));
        }
        let last = lines.len() as u64;
        let mut declared = Vec::new();
        let mut first_item = 1;
        if !layout.request.header.is_empty() {
            declared.push((1, self.read_request_edge(1, lines.remove(0), &layout.request.header)?));
            first_item = 2;
        }
        if !layout.request.trailer.is_empty() {
            let line = lines.pop().unwrap_or_default();
            declared.push((last, self.read_request_edge(last, line, &layout.request.trailer)?));
        }
        let mut orders = Vec::with_capacity(lines.len());
        for (line, line_no) in lines.into_iter().zip(first_item..) {
            orders.push(self.read_request_item(line_no, line)?);
        }
        let read =
            RequestRead { count: orders.len() as u64, total: orders.iter().map(|(_, amount)| *amount).sum(), orders };
        for (line_no, (count, total)) in declared {
            if count.is_some_and(|count| count != read.count) || total.is_some_and(|total| total != read.total) {
                let kind = super::RefusedKind::TotalsDiffer;
                let reason = format!("the rows are {} with {} yuan", read.count, read.total);
                return Err(Refused { kind, line: line_no, column: None, reason });
            }
        }
        Ok(read)
    }
}

/// What header and trailer of one file are filled with.
struct Edge<'a> {
    file_name: &'a str,
    head: &'a RequestHead,
    count: u64,
    total: Money,
}

/// Count and total of a header or trailer, as far as it has them.
type Declared = (Option<u64>, Option<Money>);

/// The largest count and total that header and trailer have room for.
#[derive(Clone, Copy)]
struct Room {
    count: u64,
    fen: i128,
}

impl Room {
    fn of(edge: &Line<RequestEdge>) -> Room {
        let all = Room { count: u64::MAX, fen: i128::MAX };
        edge.columns.iter().fold(all, |room, column| match (&column.cell, column.width) {
            (Cell::Field(RequestEdge::Count), Some(width)) => Room { count: width.largest(), ..room },
            (Cell::Field(RequestEdge::Total(Unit::Fen)), Some(width)) => Room { fen: width.largest().into(), ..room },
            // The point takes one of the bytes, and a yuan is a hundred fen.
            (Cell::Field(RequestEdge::Total(Unit::Yuan)), Some(width)) => {
                Room { fen: i128::from(width.largest() / 10), ..room }
            }
            (Cell::Field(_) | Cell::Constant(_), _) => room,
        })
    }

    fn with(self, edge: &Line<RequestEdge>) -> Room {
        let other = Room::of(edge);
        Room { count: self.count.min(other.count), fen: self.fen.min(other.fen) }
    }

    fn takes(self, count: u64, fen: i128) -> Result<(), (&'static str, Uncarriable)> {
        match (count <= self.count, fen <= self.fen) {
            (true, true) => Ok(()),
            (false, _) => Err(("count", Uncarriable::TooWide)),
            (true, false) => Err(("total", Uncarriable::TooWide)),
        }
    }
}

impl BankFile {
    fn put_item(
        &self,
        line_no: u64,
        item: &RequestItem<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), (&'static str, Uncarriable)> {
        let text = self.layout.text;
        if number(item.order_no.as_bytes()).is_none() {
            // What is wrong with it in particular, if it is a character that no cell could carry.
            let why = text.put(item.order_no, out).err().unwrap_or(Uncarriable::NotANumber);
            return Err(("order_no", why));
        }
        put_line(text, &self.layout.request.item, out, |field, out| match field {
            RequestField::LineNo => put_number(line_no, out),
            RequestField::Amount(unit) => put_money(item.amount, unit, out),
            RequestField::OrderNo => text.put(item.order_no, out),
            RequestField::AgreementNo => text.put(item.agreement_no, out),
            RequestField::AccountNo => text.put(item.account_no, out),
            RequestField::AccountName => text.put(item.account_name, out),
        })
    }

    /// Everything in a header or trailer is ASCII by configuration, and the layout has room for it, so that it can
    /// always be written.
    fn put_edge(&self, line: &Line<RequestEdge>, edge: &Edge<'_>, out: &mut Vec<u8>) {
        if line.is_empty() {
            return;
        }
        let put = put_line(self.layout.text, line, out, |field, out| match field {
            RequestEdge::BankCode => put_plain(&self.bank_code, out),
            RequestEdge::BusinessDate => put_plain(&edge.head.business_date.format("%Y%m%d").to_string(), out),
            RequestEdge::FileName => put_plain(edge.file_name, out),
            RequestEdge::Count => put_number(edge.count, out),
            RequestEdge::Total(unit) => put_money(edge.total, unit, out),
        });
        put.expect("the settings were refused if a header or trailer had no room");
    }

    fn read_request_edge(&self, line_no: u64, text: &str, line: &Line<RequestEdge>) -> Result<Declared, Refused> {
        let cells = self.read_cells(line_no, text, line)?;
        let (mut count, mut total) = (None, None);
        for ((cell, column), column_no) in cells.into_iter().zip(&line.columns).zip(1..) {
            let wrong = |what| Refused::malformed(line_no, Some(column_no), what);
            match &column.cell {
                Cell::Constant(_) | Cell::Field(RequestEdge::BusinessDate | RequestEdge::FileName) => {}
                Cell::Field(RequestEdge::BankCode) if cell == self.bank_code => {}
                Cell::Field(RequestEdge::BankCode) => return Err(wrong("another bank's code")),
                Cell::Field(RequestEdge::Count) => {
                    count = Some(cell.parse().map_err(|_| wrong("the count is not a number"))?);
                }
                Cell::Field(RequestEdge::Total(unit)) => {
                    total = Some(money(cell, *unit).ok_or_else(|| wrong("the total is not a sum of money"))?);
                }
            }
        }
        Ok((count, total))
    }

    fn read_request_item(&self, line_no: u64, text: &str) -> Result<(String, Money), Refused> {
        let line = &self.layout.request.item;
        let cells = self.read_cells(line_no, text, line)?;
        let (mut order_no, mut amount) = (None, None);
        for (cell, column) in cells.into_iter().zip(&line.columns) {
            match column.cell {
                Cell::Field(RequestField::OrderNo) => order_no = Some(cell.to_owned()),
                Cell::Field(RequestField::Amount(unit)) => amount = money(cell, unit),
                Cell::Field(_) | Cell::Constant(_) => {}
            }
        }
        order_no.zip(amount).ok_or_else(|| Refused::malformed(line_no, None, "the amount is not a sum of money"))
    }

    fn read_cells<'a, F>(&self, line_no: u64, line: &'a str, of: &Line<F>) -> Result<Vec<&'a str>, Refused> {
        let cells = match self.layout.text.separator {
            Some(separator) => line.split(char::from(separator.byte())).collect(),
            None => fixed_cells(self.layout.text.charset, line, &of.columns)
                .ok_or_else(|| Refused::malformed(line_no, None, "not as wide as its columns"))?,
        };
        if cells.len() != of.columns.len() {
            let reason = format!("{} columns expected, {} found", of.columns.len(), cells.len());
            return Err(Refused::malformed(line_no, None, reason));
        }
        for ((cell, column), column_no) in cells.iter().zip(&of.columns).zip(1..) {
            if let Cell::Constant(bytes) = &column.cell
                && self.layout.text.charset.decode(bytes).as_deref() != Some(cell)
            {
                return Err(Refused::malformed(line_no, Some(column_no), "not the constant of this line"));
            }
        }
        Ok(cells)
    }
}

/// Cells of fixed width by another way than they were written: character by character, counting what each takes.
/// `None`: a character or the line does not end where a cell does.
fn fixed_cells<'a, F>(charset: Charset, mut line: &'a str, columns: &[Column<F>]) -> Option<Vec<&'a str>> {
    let mut cells = Vec::with_capacity(columns.len());
    for width in columns.iter().filter_map(|column| column.width) {
        let (mut bytes, mut end) = (0, 0);
        for character in line.chars() {
            if bytes >= width.bytes {
                break;
            }
            bytes += charset.length_bytes(character);
            end += character.len_utf8();
        }
        if bytes != width.bytes {
            return None;
        }
        let (cell, rest) = line.split_at(end);
        cells.push(width.strip_text(cell));
        line = rest;
    }
    line.is_empty().then_some(cells)
}

/// Writes a line cell by cell, or says which cell it cannot carry.
fn put_line<F: Named>(
    text: Text,
    line: &Line<F>,
    out: &mut Vec<u8>,
    mut put: impl FnMut(F, &mut Vec<u8>) -> Result<(), Uncarriable>,
) -> Result<(), (&'static str, Uncarriable)> {
    for (place, column) in line.columns.iter().enumerate() {
        if let Some(separator) = text.separator.filter(|_| place > 0) {
            out.push(separator.byte());
        }
        let from = out.len();
        let put = match &column.cell {
            Cell::Constant(bytes) => {
                out.extend_from_slice(bytes);
                Ok(())
            }
            Cell::Field(field) => put(*field, out),
        };
        let fitted = put.and_then(|()| column.width.map_or(Ok(()), |width| width.fit(from, out)));
        fitted.map_err(|why| (column.name(), why))?;
    }
    out.extend_from_slice(text.line_end.bytes());
    Ok(())
}

fn put_plain(cell: &str, out: &mut Vec<u8>) -> Result<(), Uncarriable> {
    out.extend_from_slice(cell.as_bytes());
    Ok(())
}

fn put_number(number: u64, out: &mut Vec<u8>) -> Result<(), Uncarriable> {
    put_plain(&number.to_string(), out)
}

fn put_money(amount: Money, unit: Unit, out: &mut Vec<u8>) -> Result<(), Uncarriable> {
    match unit {
        Unit::Yuan => put_plain(&amount.to_string(), out),
        Unit::Fen => put_plain(&amount.fen().to_string(), out),
    }
}

/// A sum of money as a file carries it.
pub(super) fn money(cell: &str, unit: Unit) -> Option<Money> {
    match unit {
        Unit::Yuan => Money::from_yuan(cell).ok(),
        Unit::Fen if (1..=20).contains(&cell.len()) && cell.bytes().all(|b| b.is_ascii_digit()) => {
            Money::from_fen(cell.parse().ok()?).ok()
        }
        Unit::Fen => None,
    }
}

#[cfg(test)]
mod tests;
