//! The rows of ZM and ZME: lines of fixed width come in, payments, refunds and what is neither go out. Called by
//! [`super`] for each of the two.
//!
//! A row of ZM has 42 fields with a blank between them, 607 bytes and CR LF; the older edition joins the last two. It
//! is cut as bytes, because names in it are GBK. What is not used is blank, also where a number would stand. Sums are
//! whole fen; signed ones have C (to the merchant) or D (from it) in front, and a blank when they are nothing.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, Utc};

use super::{SUCCESS, Sums, UnionpayBills};
use crate::domain::money::Money;
use crate::gateway::field::Unit;
use crate::gateway::lines::{Line, Lines};
use crate::gateway::row::amount;
use crate::gateway::text::{LineEnd, number};
use crate::gateway::unionpay::result::near;
use crate::gateway::{Direction, ReadError, RefundState, Refused, ResultRow};

/// The lengths of the fields of ZM.
const FIELDS: [usize; 42] = [
    3, 11, 11, 6, 10, 19, 12, 4, 2, 21, 2, 32, 2, 6, 10, 13, 13, 4, 15, 2, 2, 6, 2, 4, 32, 1, 21, 15, 1, 15, 32, 13,
    13, 8, 32, 13, 13, 12, 2, 1, 32, 98,
];

/// Those of ZME.
const ADJUSTED_FIELDS: [usize; 22] = [3, 11, 11, 6, 10, 19, 12, 4, 2, 2, 6, 10, 4, 12, 13, 13, 15, 15, 1, 12, 2, 135];

/// The numbers of the fields that are read, from 1.
const SENT_AT: usize = 5;
const AMOUNT: usize = 7;
const QUERY_ID: usize = 10;
const ORDER_NO: usize = 12;
const SETTLED_AMOUNT: usize = 17;
const KIND: usize = 20;
const ORIGINAL_QUERY_ID: usize = 27;
const MERCHANT: usize = 28;
const ORIGINAL_ORDER_NO: usize = 41;

/// What a transaction is by its kind (交易类型).
enum Kind {
    /// 01 a purchase, 11 a deduction.
    Payment,
    /// 04 a refund, 31 a purchase cancelled.
    Refund,
    /// 12 money paid to somebody.
    Payout,
    Unknown,
}

/// What is wrong with a row, and in which field.
type Wrong = (usize, &'static str);

/// A row of ZM of the right length.
struct Row<'a>(&'a [u8]);

impl UnionpayBills {
    pub(super) fn read_settled(
        &self,
        day: NaiveDate,
        lines: &mut Lines<'_>,
        sums: &mut Sums,
        each: &mut dyn FnMut(ResultRow<'_>),
    ) -> Result<(), ReadError> {
        let mut misshapen = 0;
        while let Some(line) = lines.next_line()? {
            whole(&line, &FIELDS)?;
            sums.settled += 1;
            let row = Row(line.bytes);
            if !row.is_spaced() {
                misshapen += 1;
                sums.unreadable += 1;
                sums.payments.add(None);
                let reason = "not the fields of ZM: no blank where one ends".to_owned();
                each(ResultRow::Unparsable { line_no: line.no, column: None, reason });
                continue;
            }
            if !std::str::from_utf8(row.text(MERCHANT)).is_ok_and(|merchant| self.is_ours(merchant)) {
                let reason = "a transaction of another merchant";
                return Err(Refused::wrong_file(line.no, Some(MERCHANT as u64), reason).into());
            }
            each(row.read(line.no, day, sums).unwrap_or_else(|(field, reason)| {
                sums.unreadable += 1;
                let (line_no, column) = (line.no, Some(field as u64));
                ResultRow::Unparsable { line_no, column, reason: reason.to_owned() }
            }));
        }
        if misshapen == sums.settled && misshapen > 0 {
            return Err(Refused::malformed(1, None, "no row has the fields of ZM").into());
        }
        Ok(())
    }
}

/// What was adjusted names a transaction by its trace number, and no order: each row waits for a person. Its lines are
/// counted on from those of ZM.
pub(super) fn read_adjusted(
    lines: &mut Lines<'_>,
    sums: &mut Sums,
    each: &mut dyn FnMut(ResultRow<'_>),
) -> Result<(), ReadError> {
    while let Some(line) = lines.next_line()? {
        whole(&line, &ADJUSTED_FIELDS)?;
        sums.adjusted += 1;
        let reason = "an adjustment (ZME): money was moved for a transaction that it names by its trace number".into();
        each(ResultRow::Unparsable { line_no: sums.settled + line.no, column: None, reason });
    }
    Ok(())
}

/// A file of fixed width is cut off, or was saved by another program, if a line has another length.
fn whole(line: &Line<'_>, fields: &[usize]) -> Result<(), Refused> {
    let bytes = fields.iter().sum::<usize>() + fields.len() - 1;
    if line.bytes.len() == bytes && line.end == Some(LineEnd::Crlf) {
        return Ok(());
    }
    let reason =
        format!("cut off, or saved again by another program: not a line of {bytes} bytes that ends with CR LF");
    Err(Refused::malformed(line.no, None, reason))
}

impl<'a> Row<'a> {
    fn read(&self, line_no: u64, day: NaiveDate, sums: &mut Sums) -> Result<ResultRow<'a>, Wrong> {
        let (kind, found) = (self.kind(), amount(self.field(AMOUNT), Unit::Fen));
        match kind {
            Kind::Payment | Kind::Unknown => sums.payments.add(found),
            Kind::Refund => sums.refunds.add(found),
            Kind::Payout => sums.payouts.add(found),
        }
        let amount = found.ok_or((AMOUNT, "not a sum of money in whole fen"))?;
        let number_of = number(self.text(QUERY_ID)).ok_or((QUERY_ID, "not a transaction number"))?;
        let at = near(self.field(SENT_AT), day).ok_or((SENT_AT, "not a time MMDDhhmmss"))?;
        let moved = self.direction()?;
        match (kind, moved) {
            (Kind::Payment, Some(Direction::In) | None) => self.payment(line_no, amount, number_of, at),
            (Kind::Refund, Some(Direction::Out) | None) => self.refund(line_no, amount, number_of, at),
            (Kind::Payout, Some(Direction::Out) | None) => Ok(ResultRow::Movement {
                line_no,
                movement_no: number_of,
                order_no: number(self.text(ORDER_NO)),
                amount,
                direction: Direction::Out,
            }),
            (Kind::Payment, Some(Direction::Out)) => {
                Err((SETTLED_AMOUNT, "a payment that the merchant is debited for"))
            }
            (Kind::Refund | Kind::Payout, Some(Direction::In)) => {
                Err((SETTLED_AMOUNT, "money paid back or out that the merchant is credited with"))
            }
            (Kind::Unknown, _) => Err((KIND, "a kind of transaction that is not known here")),
        }
    }

    fn payment(
        &self,
        line_no: u64,
        amount: Money,
        query_id: &'a str,
        at: DateTime<Utc>,
    ) -> Result<ResultRow<'a>, Wrong> {
        Ok(ResultRow::Read {
            line_no,
            order_no: number(self.text(ORDER_NO)).ok_or((ORDER_NO, "not an order number"))?,
            amount,
            code: SUCCESS,
            reason: Cow::Borrowed(""),
            gateway_txn_no: Some(query_id),
            settled_at: Some(at),
        })
    }

    /// The older edition has no field for the order that was paid; then the transaction names it.
    fn refund(
        &self,
        line_no: u64,
        amount: Money,
        refund_no: &'a str,
        at: DateTime<Utc>,
    ) -> Result<ResultRow<'a>, Wrong> {
        let gateway_txn_no = match self.text(ORIGINAL_QUERY_ID) {
            b"" => None,
            cell => Some(number(cell).ok_or((ORIGINAL_QUERY_ID, "not a transaction number"))?),
        };
        let order_no = match self.text(ORIGINAL_ORDER_NO) {
            _ if self.is_older() => "",
            b"" => "",
            cell => number(cell).ok_or((ORIGINAL_ORDER_NO, "not an order number"))?,
        };
        if order_no.is_empty() && gateway_txn_no.is_none() {
            return Err((ORIGINAL_QUERY_ID, "a refund that does not say of which payment"));
        }
        let state = RefundState::Succeeded;
        Ok(ResultRow::Refund { line_no, order_no, gateway_txn_no, refund_no, amount, state, refunded_at: Some(at) })
    }

    fn kind(&self) -> Kind {
        match self.text(KIND) {
            b"" | b"01" | b"11" => Kind::Payment,
            b"04" | b"31" => Kind::Refund,
            b"12" => Kind::Payout,
            _ => Kind::Unknown,
        }
    }

    /// Which way the settled amount goes; none if it is blank or nothing.
    fn direction(&self) -> Result<Option<Direction>, Wrong> {
        let wrong = (SETTLED_AMOUNT, "not a signed sum of money in whole fen");
        let cell = self.field(SETTLED_AMOUNT);
        if cell.iter().all(|byte| *byte == b' ') {
            return Ok(None);
        }
        let (sign, digits) = cell.split_at(1);
        let settled = amount(digits, Unit::Fen).ok_or(wrong)?;
        match sign {
            _ if settled.is_zero() => Ok(None),
            b"C" => Ok(Some(Direction::In)),
            b"D" => Ok(Some(Direction::Out)),
            _ => Err(wrong),
        }
    }

    /// A field by its number, in its full length.
    fn field(&self, field_no: usize) -> &'a [u8] {
        let from = OFFSETS[field_no - 1];
        &self.0[from..from + FIELDS[field_no - 1]]
    }

    /// A field without the blanks behind it.
    fn text(&self, field_no: usize) -> &'a [u8] {
        self.field(field_no).trim_ascii_end()
    }

    /// Whether there is a blank between all fields, but for the last two, which the older edition joins.
    fn is_spaced(&self) -> bool {
        OFFSETS[1..ORIGINAL_ORDER_NO].iter().all(|from| self.0[from - 1] == b' ')
    }

    /// Whether the last two fields are joined, which shows where something stands between them.
    fn is_older(&self) -> bool {
        self.0[OFFSETS[ORIGINAL_ORDER_NO] - 1] != b' '
    }
}

/// Where the fields of ZM begin.
const OFFSETS: [usize; 42] = {
    let mut offsets = [0; 42];
    let mut field = 1;
    while field < 42 {
        offsets[field] = offsets[field - 1] + FIELDS[field - 1] + 1;
        field += 1;
    }
    offsets
};
