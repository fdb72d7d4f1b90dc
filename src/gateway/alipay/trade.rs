//! The trade bill (业务明细): the rows of a table come in, what was paid and refunded goes out. Called by
//! [`super::AlipayBills`].
//!
//! It holds what succeeded and nothing else. A row of a refund repeats the numbers of its payment; which it is, the
//! business type (业务类型) says, never the sign. What counts is the order's amount (订单金额); the foot adds up what the
//! merchant received (商家实收), which is less where the merchant gave a discount.

use std::borrow::Cow;

use chrono::{Days, NaiveTime};

use super::cell::{instant, resaved, signed};
use super::frame::{Foot, Frame, Row, Table};
use super::totals::{Account, PAYMENTS_AND_REFUNDS, Tally};
use crate::domain::money::Money;
use crate::gateway::control::Sum;
use crate::gateway::text::{COLUMNS_MAX, LINE_BYTES_MAX, NUMBER_BYTES_MAX, Text, number};
use crate::gateway::{Covers, ReadError, RefundState, Refused, ResultHead, ResultRow};

/// The business types that the foot counts; the first is a success in the code table.
const TYPES: [&str; 2] = ["交易", "退款"];
const PAYMENT: usize = 0;
const REFUND: usize = 1;

/// Where the columns are, from 0.
struct Columns {
    text: Text,
    count: usize,
    txn_no: usize,
    order_no: usize,
    business_type: usize,
    completed_at: usize,
    amount: usize,
    received: usize,
    refund_no: usize,
    /// [`TYPES`] in the file's encoding.
    types: [Vec<u8>; 2],
}

/// Why a row cannot be read: the column, from 0, and what it should have been.
type Unreadable = (usize, &'static str);

pub(super) fn read(mut table: Table<'_>, each: &mut dyn FnMut(ResultRow<'_>)) -> Result<Account, ReadError> {
    let columns = Columns::of(&table)?;
    let (mut received, mut ordered, mut misshapen) = (Tally::default(), Tally::default(), 0);
    let mut all_read = true;
    while let Some(Row { line_no, cells }) = table.next_row()? {
        let Some(cells) = cells else {
            misshapen += 1;
            all_read = false;
            received.add(None, None);
            ordered.add(None, None);
            let reason = format!("not {} columns, or longer than {LINE_BYTES_MAX} bytes", columns.count);
            each(ResultRow::Unparsable { line_no, column: None, reason });
            continue;
        };
        if let Some(refused) = columns.resaved(line_no, &cells) {
            return Err(refused.into());
        }
        let side = columns.types.iter().position(|of_type| of_type == cells[columns.business_type]);
        received.add(side, columns.sum(side, cells[columns.received]));
        ordered.add(side, columns.sum(side, cells[columns.amount]));
        let word = columns.word(side, cells[columns.business_type]);
        each(columns.row(line_no, side, &word, &cells).unwrap_or_else(|(place, reason)| {
            all_read = false;
            ResultRow::Unparsable { line_no, column: Some(place as u64 + 1), reason: reason.to_owned() }
        }));
    }
    let frame = table.frame.clone();
    let foot = table.foot()?;
    if misshapen > 1 && misshapen == received.undecided.count && received.sides == [Sum::default(); 2] {
        let reason = format!("no row has the {} columns of the titles", columns.count);
        return Err(Refused::malformed(6, None, reason).into());
    }
    let declared = received.check(&PAYMENTS_AND_REFUNDS, &foot)?;
    // A row that cannot be read may be any order's: then absence says nothing.
    let covers = if all_read { covers(&frame, &foot) } else { Covers::Nothing };
    let head = head(&frame, &foot, &ordered, covers)?;
    let is_whole = received.is_whole() && ordered.is_whole();
    let ordered = is_whole.then(|| ordered.sides.map(|side| side.fen));
    Ok(Account { head, frame, sides: &PAYMENTS_AND_REFUNDS, declared, ordered })
}

impl Columns {
    fn of(table: &Table<'_>) -> Result<Columns, Refused> {
        let text = table.text;
        let encoded = |word: &str| {
            let mut bytes = Vec::new();
            // Every encoding of these files has these characters.
            let _ = text.put(word, &mut bytes);
            bytes
        };
        Ok(Columns {
            text,
            count: table.column_count(),
            txn_no: table.needed(&["支付宝交易号"])?,
            order_no: table.needed(&["商户订单号"])?,
            business_type: table.needed(&["业务类型"])?,
            completed_at: table.needed(&["完成时间"])?,
            amount: table.needed(&["订单金额"])?,
            received: table.needed(&["商家实收"])?,
            refund_no: table.needed(&["退款批次号/请求号", "退款批次号"])?,
            types: TYPES.map(encoded),
        })
    }

    fn resaved(&self, line_no: u64, cells: &[&[u8]; COLUMNS_MAX]) -> Option<Refused> {
        let places = [self.txn_no, self.order_no, self.refund_no, self.completed_at];
        places.into_iter().find_map(|place| resaved(line_no, place, cells[place]))
    }

    /// The business type as text.
    fn word<'a>(&self, side: Option<usize>, cell: &'a [u8]) -> Cow<'a, str> {
        match side {
            Some(side) => Cow::Borrowed(TYPES[side]),
            None => self.text.charset.decode(cell).unwrap_or_default(),
        }
    }

    /// A sum of a row. One of a payment has no sign.
    fn sum(&self, side: Option<usize>, cell: &[u8]) -> Option<Money> {
        let sum = signed(cell)?;
        (side != Some(PAYMENT) || !sum.is_negative).then_some(sum.amount)
    }

    fn row<'a>(
        &self,
        line_no: u64,
        side: Option<usize>,
        word: &'a str,
        cells: &[&'a [u8]; COLUMNS_MAX],
    ) -> Result<ResultRow<'a>, Unreadable> {
        let number_of = |place: usize, what| number(cells[place]).ok_or((place, what));
        let sum_of = |place: usize| self.sum(side, cells[place]).ok_or((place, "not a sum of money in yuan"));
        let txn_no = number_of(self.txn_no, "not a transaction number")?;
        let order_no = number_of(self.order_no, "not an order number")?;
        let completed_at = instant(cells[self.completed_at]).ok_or((self.completed_at, "not a time"));
        let amount = sum_of(self.amount)?;
        sum_of(self.received)?;
        if side == Some(REFUND) {
            return Ok(ResultRow::Refund {
                line_no,
                order_no,
                gateway_txn_no: Some(txn_no),
                refund_no: number_of(self.refund_no, "a refund without its number")?,
                amount,
                state: RefundState::Succeeded,
                refunded_at: Some(completed_at?),
            });
        }
        let is_word = !word.is_empty() && word.len() <= NUMBER_BYTES_MAX && !word.chars().any(char::is_control);
        if !is_word {
            return Err((self.business_type, "not a business type"));
        }
        Ok(ResultRow::Read {
            line_no,
            order_no,
            amount,
            code: word,
            reason: Cow::Borrowed(""),
            gateway_txn_no: Some(txn_no),
            settled_at: Some(completed_at?),
        })
    }
}

/// What the file says of itself, once its rows are those that its foot declares.
fn head(frame: &Frame, foot: &Foot, ordered: &Tally, covers: Covers) -> Result<ResultHead, Refused> {
    let [payments, refunds] = ordered.sides;
    let money = |fen| {
        let too_large = || Refused::malformed(foot.line_no, None, "the rows come to more than any sum of money");
        Money::from_fen(fen).map_err(|_| too_large())
    };
    Ok(ResultHead {
        bank_code: None,
        business_date: frame.day(),
        request_file_name: None,
        count: payments.count + refunds.count + ordered.undecided.count,
        total: money(payments.fen + ordered.undecided.fen)?,
        success_count: Some(payments.count),
        success_total: Some(money(payments.fen)?),
        refund_count: Some(refunds.count),
        refund_total: Some(money(refunds.fen)?),
        covers,
    })
}

/// The whole days of the bill that were over when it was made.
fn covers(frame: &Frame, foot: &Foot) -> Covers {
    let begins_at_midnight = frame.from.time() == NaiveTime::MIN;
    let from = frame.from.date().checked_add_days(Days::new(u64::from(!begins_at_midnight)));
    let to = frame.until.min(foot.exported_at).date().pred_opt();
    match (from, to) {
        (Some(from), Some(to)) if from <= to => Covers::Payments { from, to },
        _ => Covers::Nothing,
    }
}
