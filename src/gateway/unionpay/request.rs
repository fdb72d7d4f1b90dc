//! The request file of UnionPay's batch deduction: items come in, bytes go out; and the way back. Called by stage
//! `seal`, which compares the two before it seals the bytes.
//!
//! First line: version, total in fen, count, two empty columns. Second line: the titles. Then a line for each item.
//! Bars between the cells, no escaping, and no end of the last line.

use super::{Title, UnionpayFile};
use crate::domain::money::Money;
use crate::gateway::request::money;
use crate::gateway::text::{LineEnd, Uncarriable};
use crate::gateway::{
    HeldBack, Refused, RefusedKind, RenderRequest, Rendered, RequestHead, RequestItem, RequestRead, field::Unit,
};

/// Renminbi, by ISO 4217.
pub(super) const CURRENCY: &str = "156";

/// The longest agreement number that the column has room for.
const AGREEMENT_BYTES_MAX: usize = 60;

/// Letters and digits that an order number may have.
const ORDER_LENGTHS: std::ops::RangeInclusive<usize> = 8..=32;

impl RenderRequest for UnionpayFile {
    fn file_name(&self, head: &RequestHead) -> String {
        self.name(head.batch_date, head.batch_no, 'I')
    }

    fn render(&self, head: &RequestHead, items: &[RequestItem<'_>]) -> Rendered {
        let line_end = self.text.line_end.bytes();
        let mut body = Vec::with_capacity(items.len() * 96 + 256);
        let (mut count, mut total, mut held_back) = (0, Money::ZERO, Vec::new());
        for item in items {
            let line_begin = body.len();
            match self.put_item(item, &mut body) {
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
        // The amount before the count, unlike everywhere else.
        let mut bytes = format!("{}|{}|{count}||", self.version, total.fen()).into_bytes();
        bytes.extend_from_slice(line_end);
        let titles: Vec<&str> = self.titles.iter().map(|(name, _)| *name).collect();
        bytes.extend_from_slice(titles.join("|").as_bytes());
        bytes.append(&mut body);
        Rendered { file_name: self.file_name(head), bytes, count, total, held_back }
    }

    /// Decodes the whole file first and then goes by its own titles, where the rendering writes bytes cell by cell.
    fn parse_back(&self, bytes: &[u8]) -> Result<RequestRead, Refused> {
        let text = self.text.charset.decode(bytes);
        let text = text.ok_or_else(|| Refused::malformed(1, None, "the encoding is malformed"))?;
        let line_end = match self.text.line_end {
            LineEnd::Crlf => "\r\n",
            LineEnd::Lf => "\n",
        };
        let mut lines = text.split(line_end).zip(1..);
        let mut line = || lines.next().map(|(line, _)| line.split('|').collect::<Vec<_>>());
        let (Some(head), Some(titles)) = (line(), line()) else {
            return Err(Refused::malformed(1, None, "header or titles are missing"));
        };
        let [_, total, count, "", ""] = head[..] else {
            return Err(Refused::malformed(1, None, "five columns expected, the last two empty"));
        };
        let total = money(total, Unit::Fen).ok_or_else(|| Refused::malformed(1, Some(2), "not a sum of money"))?;
        let count: u64 = count.parse().map_err(|_| Refused::malformed(1, Some(3), "not a count"))?;
        let at = |title: &str| titles.iter().position(|name| *name == title);
        let (Some(order_at), Some(amount_at)) = (at("orderId"), at("txnAmt")) else {
            return Err(Refused::malformed(2, None, "orderId or txnAmt is missing"));
        };
        let mut orders = Vec::new();
        for (line, line_no) in lines {
            let cells: Vec<&str> = line.split('|').collect();
            if cells.len() != titles.len() {
                let reason = format!("{} columns expected, {} found", titles.len(), cells.len());
                return Err(Refused::malformed(line_no, None, reason));
            }
            let amount = money(cells[amount_at], Unit::Fen);
            let amount = amount.ok_or_else(|| Refused::malformed(line_no, None, "the amount is not a sum of money"))?;
            orders.push((cells[order_at].to_owned(), amount));
        }
        let read = RequestRead { count: orders.len() as u64, total: orders.iter().map(|(_, sum)| *sum).sum(), orders };
        if (count, total) != (read.count, read.total) {
            let reason = format!("the rows are {} with {} yuan", read.count, read.total);
            return Err(Refused { kind: RefusedKind::TotalsDiffer, line: 1, column: None, reason });
        }
        Ok(read)
    }
}

impl UnionpayFile {
    /// A line begins with the end of the one before: the last one has none.
    fn put_item(&self, item: &RequestItem<'_>, out: &mut Vec<u8>) -> Result<(), (&'static str, Uncarriable)> {
        let plain = item.order_no.bytes().all(|b| b.is_ascii_alphanumeric());
        if !plain || !ORDER_LENGTHS.contains(&item.order_no.len()) {
            return Err(("orderId", Uncarriable::NotANumber));
        }
        if item.agreement_no.len() > AGREEMENT_BYTES_MAX && self.titles.iter().any(|(_, t)| *t == Title::ContractAgrNo)
        {
            return Err(("contractAgrNo", Uncarriable::TooWide));
        }
        out.extend_from_slice(self.text.line_end.bytes());
        for (place, (name, title)) in self.titles.iter().enumerate() {
            if place > 0 {
                out.push(b'|');
            }
            let cell = match title {
                Title::OrderId => item.order_no,
                Title::CurrencyCode => CURRENCY,
                Title::TxnAmt => &item.amount.fen().to_string(),
                Title::AccType => &self.account_type,
                Title::AccNo => item.account_no,
                Title::CustomerNm => item.account_name,
                Title::BizType => &self.business_type,
                Title::ContractAgrNo => item.agreement_no,
                Title::Empty => "",
            };
            self.text.put(cell, out).map_err(|reason| (*name, reason))?;
        }
        Ok(())
    }
}
