//! The summary (汇总) that lies beside a detail in Alipay's archives: a CSV comes in, its last row is compared with the
//! detail. Called by [`super::AlipayBills`].

use std::io::Read;

use super::cell::signed;
use super::frame::{Frame, Kind, Row, Table};
use super::totals::{Account, differ, yuan};
use crate::domain::money::Money;
use crate::gateway::text::COLUMNS_MAX;
use crate::gateway::{ReadError, Refused};

/// What the row of totals begins with.
const TOTAL: &str = "合计";

pub(super) struct Summary {
    frame: Frame,
    line_no: u64,
    /// Of the two sides.
    counts: [u64; 2],
    sums: Sums,
}

enum Sums {
    /// What was ordered and what was received. Whether refunds are taken off, no description says.
    Trade {
        ordered: Money,
        received: Money,
    },
    Ledger([Money; 2]),
}

impl Summary {
    pub fn read(csv: &mut dyn Read) -> Result<Summary, ReadError> {
        Summary::of(csv).map_err(|error| match error {
            ReadError::Refused(refused) => {
                Refused { reason: format!("in the summary: {}", refused.reason), ..refused }.into()
            }
            disk @ ReadError::Disk(_) => disk,
        })
    }

    fn of(csv: &mut dyn Read) -> Result<Summary, ReadError> {
        let mut table = Table::open(csv)?;
        let (counts, sums) = match table.frame.kind {
            Kind::TradeSummary => (["交易订单总笔数", "退款订单总笔数"], ["订单金额", "商家实收"]),
            Kind::LedgerSummary => (["收入笔数", "支出笔数"], ["收入金额", "支出金额"]),
            Kind::Trade | Kind::Ledger => {
                return Err(Refused::wrong_file(1, None, "a detail under the name of a summary").into());
            }
        };
        let counts = [table.needed(&counts[..1])?, table.needed(&counts[1..])?];
        let sums = [table.needed(&sums[..1])?, table.needed(&sums[1..])?];
        let (charset, kind) = (table.text.charset, table.frame.kind);
        let mut found = None;
        while let Some(Row { line_no, cells }) = table.next_row()? {
            let cells = cells.ok_or_else(|| Refused::malformed(line_no, None, "not the columns of the titles"))?;
            if found.is_some() {
                return Err(Refused::malformed(line_no, None, "a row behind that of the totals").into());
            }
            if charset.decode(cells[0]).as_deref() == Some(TOTAL) {
                let counts = [count(line_no, counts[0], &cells)?, count(line_no, counts[1], &cells)?];
                let sums = [sum(line_no, sums[0], &cells)?, sum(line_no, sums[1], &cells)?];
                found = Some((line_no, counts, sums));
            }
        }
        let frame = table.frame.clone();
        let foot = table.foot()?;
        let missing = || Refused::malformed(foot.line_no, None, "the row of the totals is missing");
        let (line_no, counts, sums) = found.ok_or_else(missing)?;
        let sums = match kind {
            Kind::Trade | Kind::TradeSummary => Sums::Trade { ordered: sums[0], received: sums[1] },
            Kind::Ledger | Kind::LedgerSummary => Sums::Ledger(sums),
        };
        Ok(Summary { frame, line_no, counts, sums })
    }

    pub fn compare(&self, detail: &Account) -> Result<(), Refused> {
        let (own, other) = (&self.frame, &detail.frame);
        let is_pair =
            matches!((own.kind, other.kind), (Kind::TradeSummary, Kind::Trade) | (Kind::LedgerSummary, Kind::Ledger));
        if !is_pair || (&own.account, own.from, own.until) != (&other.account, other.from, other.until) {
            let reason = "the summary in the archive is of another kind, account or time than the detail";
            return Err(Refused::wrong_file(1, None, reason));
        }
        for ((declared, own), words) in detail.declared.iter().zip(self.counts).zip(detail.sides) {
            if declared.count != own {
                let reason = format!("{}: {own} rows in the summary, {} in the detail", words.name, declared.count);
                return Err(differ(self.line_no, reason));
            }
        }
        let declared = detail.declared.map(|side| side.sum.fen());
        match self.sums {
            Sums::Ledger([income, expense]) => {
                self.compare_sum(income, &[declared[0]])?;
                self.compare_sum(expense, &[declared[1]])
            }
            Sums::Trade { ordered, received } => {
                let with_and_without = |[payments, refunds]: [i128; 2]| [payments, (payments - refunds).abs()];
                self.compare_sum(received, &with_and_without(declared))?;
                detail.ordered.map_or(Ok(()), |sides| self.compare_sum(ordered, &with_and_without(sides)))
            }
        }
    }

    /// A sum of the summary is one of those that the detail comes to.
    fn compare_sum(&self, own: Money, found_fen: &[i128]) -> Result<(), Refused> {
        if found_fen.contains(&own.fen()) {
            return Ok(());
        }
        let found = found_fen.iter().map(|fen| yuan(*fen)).collect::<Vec<String>>().join(" or ");
        Err(differ(self.line_no, format!("{own} yuan in the summary, the detail comes to {found}")))
    }
}

fn count(line_no: u64, place: usize, cells: &[&[u8]; COLUMNS_MAX]) -> Result<u64, Refused> {
    let count = std::str::from_utf8(cells[place]).ok().and_then(|text| text.parse().ok());
    count.ok_or_else(|| Refused::malformed(line_no, Some(place as u64 + 1), "not a count"))
}

/// Signs are left out, as in the detail.
fn sum(line_no: u64, place: usize, cells: &[&[u8]; COLUMNS_MAX]) -> Result<Money, Refused> {
    let sum = signed(cells[place]).map(|sum| sum.amount);
    sum.ok_or_else(|| Refused::malformed(line_no, Some(place as u64 + 1), "not a sum of money in yuan"))
}
