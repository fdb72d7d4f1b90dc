//! The rows of a trade bill (交易账单): cells come in, payments and refunds go out. Called by [`super::frame`]. Which of
//! the bills it is (ALL, SUCCESS, REFUND, the old ALL) follows from the columns it has.
//!
//! A payment's amount is 订单金额; 应结订单金额 is what is left of it after coupons. A refund's row repeats number, order
//! and time of its payment, which may be days older than the bill.

use std::borrow::Cow;

use super::Expected;
use super::frame::Fault;
use super::header::Header;
use super::number::{fen, money, time};
use super::totals::{Agreed, Measure, Total};
use crate::gateway::text::number;
use crate::gateway::{RefundState, Refused, ResultRow};

/// Totals and the columns they are of. The first is that of the payments.
type Sums = &'static [(&'static str, &'static str, Measure)];

const PAYMENTS: Sums = &[
    ("订单总金额", "订单金额", Measure::Fen),
    ("应结订单总金额", "应结订单金额", Measure::Fen),
    ("手续费总金额", "手续费", Measure::Fees),
];
/// The first is that of the refunds as they were asked for.
const REFUNDS: Sums = &[("申请退款总金额", "申请退款金额", Measure::Fen), ("退款总金额", "退款金额", Measure::Fen)];
const OLD_PAYMENTS: Sums = &[("总交易额", "总金额", Measure::Fen), ("手续费总金额", "手续费", Measure::Fees)];
const OLD_REFUNDS: Sums = &[("总退款金额", "退款金额", Measure::Fen)];

const NOT_A_TIME: &str = "not a time yyyy-mm-dd HH:MM:SS";
const NOT_A_SUM: &str = "not a sum of money in yuan";

pub(super) struct Trade {
    time: usize,
    merchant: usize,
    sub_merchant: Option<usize>,
    txn_no: usize,
    order_no: usize,
    state: usize,
    currency: usize,
    amount: usize,
    refund: Option<RefundColumns>,
    /// The columns of all totals but the number of rows, in their order.
    summed: Vec<usize>,
    totals: Vec<Total>,
    /// Which of the totals is that of the refunds.
    refunds_at: Option<usize>,
    /// What the rows of refunds say in the column of the payments' amounts: 0.00, as far as is known.
    in_refunds_fen: i128,
    /// Whether payments of the day can be missing: it is a bill of refunds alone, or a service provider's, which may
    /// have been asked for one of its merchants.
    may_be_part: bool,
}

struct RefundColumns {
    refund_no: usize,
    amount: usize,
    state: usize,
    refunded_at: Option<usize>,
}

impl Trade {
    pub fn of(header: &Header) -> Result<Trade, Refused> {
        let is_old = !header.has("订单金额") && header.has("总金额");
        let (payments, refunds) = if is_old { (OLD_PAYMENTS, OLD_REFUNDS) } else { (PAYMENTS, REFUNDS) };
        let refund = match header.at("微信退款单号") {
            Some(refund_no) => Some(RefundColumns {
                refund_no,
                amount: header.needed(refunds[0].1)?,
                state: header.needed("退款状态")?,
                refunded_at: header.at("退款成功时间"),
            }),
            None => None,
        };
        let refunds = if refund.is_some() { refunds } else { &[] };
        let mut totals = vec![Total::of("总交易单数", Measure::Count)];
        let mut summed = Vec::new();
        for (total, column, measure) in payments.iter().chain(refunds) {
            totals.push(Total::of(total, *measure));
            summed.push(header.needed(column)?);
        }
        Ok(Trade {
            time: header.needed("交易时间")?,
            merchant: header.needed("商户号")?,
            sub_merchant: header.at_any(["特约商户号", "子商户号"]),
            txn_no: header.needed("微信订单号")?,
            order_no: header.needed("商户订单号")?,
            state: header.needed("交易状态")?,
            currency: header.needed("货币种类")?,
            amount: summed[0],
            refunds_at: refund.is_some().then_some(1 + payments.len()),
            refund,
            summed,
            totals,
            in_refunds_fen: 0,
            may_be_part: header.has("退款申请时间"),
        })
    }

    pub fn totals(&mut self) -> &mut [Total] {
        &mut self.totals
    }

    pub fn is_whole(&self) -> bool {
        !self.may_be_part
    }

    /// What the payments and the refunds come to, in fen, by the totals that were checked.
    pub fn sums(&self, agreed: &[Agreed]) -> (i128, Option<i128>) {
        (agreed[1].value - self.in_refunds_fen, self.refunds_at.map(|at| agreed[at].value))
    }

    pub fn row<'a>(
        &mut self,
        expected: &Expected<'_>,
        line_no: u64,
        cells: &[&'a [u8]],
    ) -> Result<ResultRow<'a>, Fault> {
        self.is_ours(expected, line_no, cells)?;
        self.add_up(cells)?;
        if cells[self.currency] != b"CNY" {
            return Err(Fault::Row(self.currency, "another currency than CNY"));
        }
        let code = cells[self.state];
        if code == b"REFUND" {
            self.in_refunds_fen += i128::from(fen(cells[self.amount]).unwrap_or_default());
            return self.refund(line_no, cells);
        }
        if let Some(RefundColumns { amount, .. }) = self.refund
            && fen(cells[amount]) != Some(0)
        {
            return Err(Fault::Row(amount, "money paid back in a row that is no refund"));
        }
        let code = number(code).ok_or(Fault::Row(self.state, "not a state of a payment"))?;
        let (day, settled_at) = time(cells[self.time]).ok_or(Fault::Row(self.time, NOT_A_TIME))?;
        let gateway_txn_no = self.txn_no(cells)?;
        if code == "SUCCESS" {
            if gateway_txn_no.is_none() {
                return Err(Fault::Row(self.txn_no, "a success without transaction number"));
            }
            if expected.day.is_some_and(|expected| expected != day) {
                let reason = "a payment of another day than the one in the file's name";
                return Err(Refused::wrong_file(line_no, Some(self.time as u64 + 1), reason).into());
            }
        }
        Ok(ResultRow::Read {
            line_no,
            order_no: self.order_no(cells)?,
            amount: money(cells[self.amount]).ok_or(Fault::Row(self.amount, NOT_A_SUM))?,
            code,
            reason: Cow::Borrowed(""),
            gateway_txn_no,
            settled_at: Some(settled_at),
        })
    }

    fn refund<'a>(&self, line_no: u64, cells: &[&'a [u8]]) -> Result<ResultRow<'a>, Fault> {
        let Some(refund) = &self.refund else {
            return Err(Fault::Row(self.state, "a refund in a bill without the columns of one"));
        };
        let state = match cells[refund.state] {
            b"SUCCESS" => RefundState::Succeeded,
            b"PROCESSING" => RefundState::Processing,
            b"FAIL" => RefundState::Failed,
            b"CHANGE" => RefundState::Abnormal,
            _ => return Err(Fault::Row(refund.state, "not a state of a refund")),
        };
        let refund_no = Fault::unless_scientific(cells, refund.refund_no, numbered, "not a refund's number")?;
        let refunded_at = match refund.refunded_at {
            Some(place) if !cells[place].is_empty() => Some(time(cells[place]).ok_or(Fault::Row(place, NOT_A_TIME))?.1),
            Some(_) | None => None,
        };
        Ok(ResultRow::Refund {
            line_no,
            order_no: self.order_no(cells)?,
            gateway_txn_no: self.txn_no(cells)?,
            refund_no,
            amount: money(cells[refund.amount]).ok_or(Fault::Row(refund.amount, NOT_A_SUM))?,
            state,
            refunded_at,
        })
    }

    /// A service provider's bill has its own number in the one column and that of the merchant in the other.
    fn is_ours(&mut self, expected: &Expected<'_>, line_no: u64, cells: &[&[u8]]) -> Result<(), Fault> {
        let configured = |place: usize| expected.merchant_ids.iter().any(|id| id.as_bytes() == cells[place]);
        if self.sub_merchant.is_some_and(configured) {
            return Ok(());
        }
        if configured(self.merchant) {
            self.may_be_part |= self.sub_merchant.is_some_and(|place| !matches!(cells[place], b"" | b"0"));
            return Ok(());
        }
        let column = Some(self.merchant as u64 + 1);
        Err(Refused::wrong_file(line_no, column, "the bill of a merchant that is not configured").into())
    }

    fn add_up(&mut self, cells: &[&[u8]]) -> Result<(), Fault> {
        let mut first_unread = None;
        for (total, place) in self.totals[1..].iter_mut().zip(&self.summed) {
            let value = total.measure().read(cells[*place]);
            total.add(value);
            if value.is_none() {
                first_unread = first_unread.or(Some(*place));
            }
        }
        match first_unread {
            Some(place) => Err(Fault::of(cells, place, NOT_A_SUM)),
            None => Ok(()),
        }
    }

    fn order_no<'a>(&self, cells: &[&'a [u8]]) -> Result<&'a str, Fault> {
        Fault::unless_scientific(cells, self.order_no, number, "not an order number")
    }

    fn txn_no<'a>(&self, cells: &[&'a [u8]]) -> Result<Option<&'a str>, Fault> {
        if matches!(cells[self.txn_no], b"" | b"0") {
            return Ok(None);
        }
        Fault::unless_scientific(cells, self.txn_no, number, "not a transaction number").map(Some)
    }
}

/// A number that is there: where there is none, WeChat Pay writes 0.
fn numbered(cell: &[u8]) -> Option<&str> {
    number(cell).filter(|number| *number != "0")
}
