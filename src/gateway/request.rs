//! The request file (送盘文件) of a bank: items come in, bytes go out; and the way back. Called by stage `seal`,
//! which compares the two before it seals the bytes.

use super::field::{RequestEdge, RequestField, Unit};
use super::layout::Column;
use super::text::{LineEnd, Uncarriable, number};
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
        for item in items {
            let line_begin = body.len();
            match self.put_item(count + 1, item, &mut body) {
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
        for (place, column) in self.layout.request.item.iter().enumerate() {
            if place > 0 {
                out.push(text.separator.byte());
            }
            match column {
                Column::Constant(bytes) => out.extend_from_slice(bytes),
                Column::Field(RequestField::LineNo) => out.extend_from_slice(line_no.to_string().as_bytes()),
                Column::Field(RequestField::Amount(unit)) => put_money(item.amount, *unit, out),
                Column::Field(RequestField::OrderNo) => put(text, "order_no", item.order_no, out)?,
                Column::Field(RequestField::AgreementNo) => put(text, "agreement_no", item.agreement_no, out)?,
                Column::Field(RequestField::AccountNo) => put(text, "account_no", item.account_no, out)?,
                Column::Field(RequestField::AccountName) => put(text, "account_name", item.account_name, out)?,
            }
        }
        out.extend_from_slice(text.line_end.bytes());
        Ok(())
    }

    /// Everything in a header or trailer is ASCII by configuration, so that it can always be written.
    fn put_edge(&self, columns: &[Column<RequestEdge>], edge: &Edge<'_>, out: &mut Vec<u8>) {
        if columns.is_empty() {
            return;
        }
        for (place, column) in columns.iter().enumerate() {
            if place > 0 {
                out.push(self.layout.text.separator.byte());
            }
            match column {
                Column::Constant(bytes) => out.extend_from_slice(bytes),
                Column::Field(RequestEdge::BankCode) => out.extend_from_slice(self.bank_code.as_bytes()),
                Column::Field(RequestEdge::BusinessDate) => {
                    out.extend_from_slice(edge.head.business_date.format("%Y%m%d").to_string().as_bytes());
                }
                Column::Field(RequestEdge::FileName) => out.extend_from_slice(edge.file_name.as_bytes()),
                Column::Field(RequestEdge::Count) => out.extend_from_slice(edge.count.to_string().as_bytes()),
                Column::Field(RequestEdge::Total(unit)) => put_money(edge.total, *unit, out),
            }
        }
        out.extend_from_slice(self.layout.text.line_end.bytes());
    }

    fn read_request_edge(
        &self,
        line_no: u64,
        line: &str,
        columns: &[Column<RequestEdge>],
    ) -> Result<Declared, Refused> {
        let cells = self.read_cells(line_no, line, columns)?;
        let (mut count, mut total) = (None, None);
        for ((cell, column), column_no) in cells.into_iter().zip(columns).zip(1..) {
            let wrong = |what| Refused::malformed(line_no, Some(column_no), what);
            match column {
                Column::Constant(_) | Column::Field(RequestEdge::BusinessDate | RequestEdge::FileName) => {}
                Column::Field(RequestEdge::BankCode) if cell == self.bank_code => {}
                Column::Field(RequestEdge::BankCode) => return Err(wrong("another bank's code")),
                Column::Field(RequestEdge::Count) => {
                    count = Some(cell.parse().map_err(|_| wrong("the count is not a number"))?);
                }
                Column::Field(RequestEdge::Total(unit)) => {
                    total = Some(money(cell, *unit).ok_or_else(|| wrong("the total is not a sum of money"))?);
                }
            }
        }
        Ok((count, total))
    }

    fn read_request_item(&self, line_no: u64, line: &str) -> Result<(String, Money), Refused> {
        let columns = &self.layout.request.item;
        let cells = self.read_cells(line_no, line, columns)?;
        let (mut order_no, mut amount) = (None, None);
        for (cell, column) in cells.into_iter().zip(columns) {
            match column {
                Column::Field(RequestField::OrderNo) => order_no = Some(cell.to_owned()),
                Column::Field(RequestField::Amount(unit)) => amount = money(cell, *unit),
                Column::Field(_) | Column::Constant(_) => {}
            }
        }
        order_no.zip(amount).ok_or_else(|| Refused::malformed(line_no, None, "the amount is not a sum of money"))
    }

    fn read_cells<'a, F>(&self, line_no: u64, line: &'a str, columns: &[Column<F>]) -> Result<Vec<&'a str>, Refused> {
        let cells: Vec<&str> = line.split(char::from(self.layout.text.separator.byte())).collect();
        if cells.len() != columns.len() {
            let reason = format!("{} columns expected, {} found", columns.len(), cells.len());
            return Err(Refused::malformed(line_no, None, reason));
        }
        for ((cell, column), column_no) in cells.iter().zip(columns).zip(1..) {
            if let Column::Constant(bytes) = column
                && self.layout.text.charset.decode(bytes).as_deref() != Some(cell)
            {
                return Err(Refused::malformed(line_no, Some(column_no), "not the constant of this line"));
            }
        }
        Ok(cells)
    }
}

fn put(
    text: super::text::Text,
    field: &'static str,
    cell: &str,
    out: &mut Vec<u8>,
) -> Result<(), (&'static str, Uncarriable)> {
    text.put(cell, out).map_err(|reason| (field, reason))
}

fn put_money(amount: Money, unit: Unit, out: &mut Vec<u8>) {
    let written = match unit {
        Unit::Yuan => amount.to_string(),
        Unit::Fen => amount.fen().to_string(),
    };
    out.extend_from_slice(written.as_bytes());
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
