//! The account ledger (账务明细): the rows of a table come in, movements of the account's money go out. Called by
//! [`super::AlipayBills`].
//!
//! A movement is no word on an order, and what is missing from a ledger says nothing: a month comes in parts (`_1`,
//! `_2`), each a file of its own. Columns were added and moved over the years, so they are found by their titles.

use super::cell::{Signed, resaved, signed};
use super::frame::{Row, Table};
use super::totals::{Account, INCOME_AND_EXPENSE, Tally, differ};
use crate::domain::money::Money;
use crate::gateway::text::{COLUMNS_MAX, LINE_BYTES_MAX, number};
use crate::gateway::{Covers, Direction, ReadError, Refused, ResultHead, ResultRow};

const INCOME: usize = 0;
const EXPENSE: usize = 1;

/// Where the columns are, from 0.
struct Columns {
    count: usize,
    movement_no: usize,
    order_no: Option<usize>,
    income: usize,
    expense: usize,
    balance: Option<usize>,
}

/// Why a row cannot be read: the column, from 0, and what it should have been.
type Unreadable = (usize, &'static str);

pub(super) fn read(mut table: Table<'_>, each: &mut dyn FnMut(ResultRow<'_>)) -> Result<Account, ReadError> {
    let columns = Columns::of(&table)?;
    let (mut tally, mut misshapen, mut count) = (Tally::default(), 0, 0);
    // Of the account after the row before, where that is known.
    let mut balance_fen = None;
    while let Some(Row { line_no, cells }) = table.next_row()? {
        count += 1;
        let Some(cells) = cells else {
            misshapen += 1;
            balance_fen = None;
            tally.add(None, None);
            let reason = format!("not {} columns, or longer than {LINE_BYTES_MAX} bytes", columns.count);
            each(ResultRow::Unparsable { line_no, column: None, reason });
            continue;
        };
        if let Some(refused) = columns.resaved(line_no, &cells) {
            return Err(refused.into());
        }
        let moved = columns.moved(&cells);
        match moved {
            Ok((side, amount)) if !amount.is_zero() => tally.add(Some(side), Some(amount)),
            // A row of nothing is on neither side.
            Ok(_) => {}
            Err(_) => tally.add(None, None),
        }
        balance_fen = columns.balance(line_no, moved.ok(), balance_fen, &cells)?;
        each(columns.row(line_no, moved, &cells).unwrap_or_else(|(place, reason)| ResultRow::Unparsable {
            line_no,
            column: Some(place as u64 + 1),
            reason: reason.to_owned(),
        }));
    }
    let frame = table.frame.clone();
    let foot = table.foot()?;
    if misshapen > 1 && misshapen == count {
        let reason = format!("no row has the {} columns of the titles", columns.count);
        return Err(Refused::malformed(6, None, reason).into());
    }
    let declared = tally.check(&INCOME_AND_EXPENSE, &foot)?;
    let head = ResultHead {
        bank_code: None,
        business_date: frame.day(),
        request_file_name: None,
        count,
        total: Money::ZERO,
        success_count: None,
        success_total: None,
        refund_count: None,
        refund_total: None,
        covers: Covers::Nothing,
    };
    Ok(Account { head, frame, sides: &INCOME_AND_EXPENSE, declared, ordered: None })
}

impl Columns {
    fn of(table: &Table<'_>) -> Result<Columns, Refused> {
        Ok(Columns {
            count: table.column_count(),
            movement_no: table.needed(&["账务流水号"])?,
            order_no: table.column(&["商户订单号"])?,
            income: table.needed(&["收入金额"])?,
            expense: table.needed(&["支出金额"])?,
            balance: table.column(&["账户余额"])?,
        })
    }

    fn resaved(&self, line_no: u64, cells: &[&[u8]; COLUMNS_MAX]) -> Option<Refused> {
        let places = [Some(self.movement_no), self.order_no];
        places.into_iter().flatten().find_map(|place| resaved(line_no, place, cells[place]))
    }

    /// To which side a row belongs, and how much it moved. An empty cell is nothing; income has no sign, expense is
    /// below zero or has none.
    fn moved(&self, cells: &[&[u8]; COLUMNS_MAX]) -> Result<(usize, Money), Unreadable> {
        let read = |place: usize| match cells[place] {
            b"" => Ok(Signed { is_negative: false, amount: Money::ZERO }),
            cell => signed(cell).ok_or((place, "not a sum of money in yuan")),
        };
        let (income, expense) = (read(self.income)?, read(self.expense)?.amount);
        if income.is_negative {
            return Err((self.income, "income below zero"));
        }
        let income = income.amount;
        match (income.is_zero(), expense.is_zero()) {
            (false, false) => Err((self.expense, "income and expense in one row")),
            (_, true) => Ok((INCOME, income)),
            (true, false) => Ok((EXPENSE, expense)),
        }
    }

    /// The account's balance after a row, which is that after the row before and what was moved.
    fn balance(
        &self,
        line_no: u64,
        moved: Option<(usize, Money)>,
        before_fen: Option<i128>,
        cells: &[&[u8]; COLUMNS_MAX],
    ) -> Result<Option<i128>, Refused> {
        let Some(place) = self.balance else { return Ok(None) };
        let balance = signed(cells[place]);
        let balance_fen = balance.map(|sum| if sum.is_negative { -sum.amount.fen() } else { sum.amount.fen() });
        if let (Some(before), Some((side, amount)), Some(after)) = (before_fen, moved, balance_fen) {
            let fen = if side == INCOME { amount.fen() } else { -amount.fen() };
            if before + fen != after {
                let reason = "the balance is not that of the row before and what was moved";
                return Err(Refused { column: Some(place as u64 + 1), ..differ(line_no, reason.to_owned()) });
            }
        }
        Ok(balance_fen)
    }

    fn row<'a>(
        &self,
        line_no: u64,
        moved: Result<(usize, Money), Unreadable>,
        cells: &[&'a [u8]; COLUMNS_MAX],
    ) -> Result<ResultRow<'a>, Unreadable> {
        let movement_no = number(cells[self.movement_no]).ok_or((self.movement_no, "not a number of the ledger"))?;
        let order_no = match self.order_no {
            Some(place) if !cells[place].is_empty() => {
                Some(number(cells[place]).ok_or((place, "not an order number"))?)
            }
            Some(_) | None => None,
        };
        let (side, amount) = moved?;
        let direction = if side == INCOME { Direction::In } else { Direction::Out };
        Ok(ResultRow::Movement { line_no, movement_no, order_no, amount, direction })
    }
}
