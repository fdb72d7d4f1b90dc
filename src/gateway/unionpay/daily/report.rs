//! The printed report of a day (RD2010): text comes in, the totals in it go out, and are compared with the rows. Called
//! by [`super`] where a zip has one.
//!
//! It is made for people: tables by kind of transaction and by kind of card, each with a row 总计 of a count and amounts
//! in yuan, debit and credit apart. What else is printed is not looked at.

use std::io::Read;

use super::Sums;
use crate::domain::money::Money;
use crate::gateway::text::Charset;
use crate::gateway::{ReadError, Refused, RefusedKind};

/// A report is a page or two.
const REPORT_MAX_BYTES: u64 = 1024 * 1024;

/// The rows 总计.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report(Vec<Totals>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Totals {
    line: u64,
    count: u64,
    fen: Vec<i128>,
}

pub(super) fn read(member: &mut dyn Read) -> Result<Report, ReadError> {
    let wrong = |what: &str| ReadError::from(Refused::malformed(1, None, format!("RD2010: {what}")));
    let mut bytes = Vec::new();
    let read = member.take(REPORT_MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|_| wrong("the packed content is damaged"))?;
    if bytes.len() as u64 > REPORT_MAX_BYTES {
        return Err(wrong("longer than a report"));
    }
    let text = Charset::Gb18030.decode(&bytes).ok_or_else(|| wrong("not gb18030: malformed bytes"))?;
    let totals: Vec<Totals> = text.lines().zip(1..).filter_map(|(line, line_no)| totals(line_no, line)).collect();
    if totals.is_empty() { Err(wrong("no row 总计 with a count and an amount")) } else { Ok(Report(totals)) }
}

/// The numbers of a row 总计, whatever lines are drawn around its cells.
fn totals(line_no: u64, line: &str) -> Option<Totals> {
    let cells: String = line.chars().filter(|c| !c.is_whitespace() || *c == ' ').collect();
    let letters: String = cells.chars().filter(|c| c.is_alphabetic()).collect();
    if !letters.starts_with("总计") {
        return None;
    }
    let numbers = cells.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == ','));
    let mut numbers = numbers.filter(|number| number.contains(|c: char| c.is_ascii_digit()));
    let count = numbers.next()?.replace(',', "").parse().ok()?;
    let fen = numbers.map(|number| Money::from_yuan(&number.replace(',', "")).ok().map(Money::fen));
    let fen = fen.collect::<Option<Vec<i128>>>()?;
    (!fen.is_empty()).then_some(Totals { line: line_no, count, fen })
}

impl Report {
    pub fn check(&self, sums: &Sums) -> Result<(), Refused> {
        let unread = sums.payments.unread + sums.refunds.unread + sums.payouts.unread;
        let (credit, debit) = (sums.payments.fen, sums.refunds.fen + sums.payouts.fen);
        for totals in &self.0 {
            let differ = |column, reason| {
                let kind = RefusedKind::TotalsDiffer;
                Err(Refused { kind, line: totals.line, column: Some(column), reason })
            };
            if totals.count != sums.settled {
                return differ(1, format!("{} transactions declared, {} found", totals.count, sums.settled));
            }
            // Each side by itself, or what is left of them.
            let has = |fen: i128| fen == 0 || totals.fen.contains(&fen);
            let left = credit != debit && totals.fen.contains(&(credit - debit).abs());
            let agrees = left || (has(credit) && has(debit));
            if unread == 0 && !agrees {
                let yuan = |fen: i128| format!("{}.{:02}", fen / 100, fen % 100);
                let found = format!("{} yuan in and {} out", yuan(credit), yuan(debit));
                return differ(2, format!("other amounts declared than the rows come to, {found}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::control::Sum;

    fn of(text: &str) -> Result<Report, String> {
        let bytes = encoding_rs::GBK.encode(text).0.into_owned();
        read(&mut &bytes[..]).map_err(|error| error.to_string())
    }

    fn sums(settled: u64, payments_fen: i128, refunds_fen: i128) -> Sums {
        let sum = |fen| Sum { count: 1, fen, unread: 0 };
        Sums { settled, payments: sum(payments_fen), refunds: sum(refunds_fen), ..Sums::default() }
    }

    #[test]
    fn the_totals_are_found_however_the_table_is_drawn() {
        let totals = |line, fen: &[i128]| Totals { line, count: 8, fen: fen.to_vec() };
        let drawn = "商户日报\n交易类型 交易笔数 交易金额\n│消费│8│\n│总  计│ 8│0.00│13,227.00│79.36│\n\
                     按卡性质\n借记卡 8\n总计      8   13227.00  79.36 13147.64\r\n";
        let expected = [totals(4, &[0, 1_322_700, 7_936]), totals(7, &[1_322_700, 7_936, 1_314_764])];
        assert_eq!(of(drawn), Ok(Report(expected.to_vec())));
        for text in ["", "总计", "总计 8", "总计 8.5 1.00", "合计 8 1.00", "总计 8 1.005"] {
            assert_eq!(
                of(text),
                Err("malformed, line 1: RD2010: no row 总计 with a count and an amount".into()),
                "{text}"
            );
        }
        let long = read(&mut std::io::repeat(b' ')).unwrap_err().to_string();
        assert_eq!(long, "malformed, line 1: RD2010: longer than a report");
    }

    #[test]
    fn what_the_report_declares_is_compared_with_the_rows() {
        let check = |text: &str, sums: Sums| of(text).unwrap().check(&sums).map_err(|refused| refused.to_string());
        let both = "总计 3 20.00 150.00 0.00 0.10 20.00 149.90";
        assert_eq!(check(both, sums(3, 15_000, 2_000)), Ok(()));
        assert_eq!(check("总计 3 130.00 0.10 129.90", sums(3, 15_000, 2_000)), Ok(()));
        let count = "totals_differ, line 1, column 1: 3 transactions declared, 2 found";
        assert_eq!(check(both, sums(2, 15_000, 2_000)), Err(count.to_owned()));
        let amount = "totals_differ, line 1, column 2: other amounts declared than the rows come to, 150.00 yuan in \
                      and 20.01 out";
        assert_eq!(check(both, sums(3, 15_000, 2_001)), Err(amount.to_owned()));
        let mut unread = sums(3, 15_000, 0);
        unread.payments.unread = 1;
        assert_eq!(check(both, unread), Ok(()));
    }
}
