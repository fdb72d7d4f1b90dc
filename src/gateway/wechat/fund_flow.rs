//! The rows of a fund flow (资金账单), the ledger of a merchant's account: cells come in, movements go out. Called by
//! [`super::frame`].

use super::frame::Fault;
use super::header::Header;
use super::number::{fen, money};
use super::totals::{Measure, Total};
use crate::gateway::text::number;
use crate::gateway::{Direction, Refused, ResultRow};

/// The 业务类型 whose 业务凭证号 is the number of an order; a refund's, for one, is the number of the refund.
const TRADE: &[u8] = "交易".as_bytes();

/// Where count and sum of a direction are among the totals.
const IN: usize = 1;
const OUT: usize = 3;

pub(super) struct FundFlow {
    movement_no: usize,
    direction: usize,
    amount: usize,
    business: Option<usize>,
    voucher: Option<usize>,
    totals: [Total; 5],
}

impl FundFlow {
    pub fn of(header: &Header) -> Result<FundFlow, Refused> {
        Ok(FundFlow {
            movement_no: header.needed("资金流水单号")?,
            direction: header.needed("收支类型")?,
            amount: header.needed("收支金额")?,
            business: header.at("业务类型"),
            voucher: header.at("业务凭证号"),
            totals: [
                Total::of("资金流水总笔数", Measure::Count),
                Total::of("收入笔数", Measure::Count),
                Total::of("收入金额", Measure::Fen),
                Total::of("支出笔数", Measure::Count),
                Total::of("支出金额", Measure::Fen),
            ],
        })
    }

    pub fn totals(&mut self) -> &mut [Total] {
        &mut self.totals
    }

    pub fn row<'a>(&mut self, line_no: u64, cells: &[&'a [u8]]) -> Result<ResultRow<'a>, Fault> {
        let direction = self.add_up(cells)?;
        let movement_no = Fault::unless_scientific(cells, self.movement_no, number, "not the number of a movement")?;
        let order_no = match (self.business, self.voucher) {
            (Some(business), Some(voucher)) if cells[business] == TRADE => number(cells[voucher]),
            (Some(_) | None, Some(_) | None) => None,
        };
        let amount = money(cells[self.amount]).ok_or(Fault::Row(self.amount, "not a sum of money in yuan"))?;
        Ok(ResultRow::Movement { line_no, movement_no, order_no, amount, direction })
    }

    fn add_up(&mut self, cells: &[&[u8]]) -> Result<Direction, Fault> {
        let value = fen(cells[self.amount]);
        let (direction, at) = match std::str::from_utf8(cells[self.direction]) {
            Ok("收入") => (Direction::In, IN),
            Ok("支出") => (Direction::Out, OUT),
            Ok(_) | Err(_) => {
                self.totals[IN..].iter_mut().for_each(|total| total.add(None));
                return Err(Fault::Row(self.direction, "neither 收入 nor 支出"));
            }
        };
        self.totals[at].add(Some(1));
        self.totals[at + 1].add(value);
        match value {
            Some(_) => Ok(direction),
            None => Err(Fault::of(cells, self.amount, "not a sum of money in yuan")),
        }
    }
}
