//! Files that are no bill of a merchant's: what a file begins with comes in, the name of what it is goes out. Called by
//! [`super::frame`] and [`super::header`].

use encoding_rs::GB18030;

use crate::gateway::{Refused, recognise};

/// How much of a file is looked at to name it.
pub(super) const BEGINNING_BYTES: usize = 4096;

/// The first columns of a trade bill and of a fund flow, of its totals, and of a personal bill's first line.
const TRADE: &str = "交易时间,公众账号ID";
const FUND_FLOW: &str = "记账时间,";
pub(super) const TRADE_TOTALS: &str = "总交易单数";
pub(super) const FUND_FLOW_TOTALS: &str = "资金流水总笔数";
const PERSONAL: &str = "微信支付账单明细";
/// In the columns of a personal bill and in no other.
const PERSONAL_COLUMN: &str = "收/支,";

/// What WeChat Pay answers instead of a bill, by the code or message in it; nothing of a payer's.
const ANSWERS: [(&str, &str); 5] = [
    ("NO_STATEMENT_EXIST", "there is no bill of that day"),
    ("STATEMENT_CREATING", "the bill is still being made"),
    ("FREQUENCY_LIMITED", "asked for too often"),
    ("No Bill Exist", "there is no bill of that day"),
    ("Bill Creating", "the bill is still being made"),
];

/// The refusal of a file that is plainly no bill.
pub(super) fn named(beginning: &[u8]) -> Option<Refused> {
    if let Some(refused) = recognise::not_lines(beginning) {
        let document = beginning.trim_ascii_start();
        let answered = document.starts_with(b"<") || document.starts_with(b"{");
        let holds = |words: &str| memchr::memmem::find(beginning, words.as_bytes()).is_some();
        let answer = ANSWERS.iter().find(|(words, _)| answered && holds(words));
        return Some(match answer {
            Some((words, what)) => {
                Refused::wrong_file(1, None, format!("an answer of WeChat Pay's instead of a bill: {words}, {what}"))
            }
            None => refused,
        });
    }
    let (first, _) = beginning.split_at(memchr::memchr(b'\n', beginning).unwrap_or(beginning.len()));
    let Ok(first) = std::str::from_utf8(first) else { return None };
    is_other(first).or_else(|| {
        let row = first.starts_with('`');
        row.then(|| Refused::malformed(1, None, "a row in place of the columns' names: the beginning is missing"))
    })
}

/// Of the first line.
fn is_other(first: &str) -> Option<Refused> {
    let what = if first.starts_with(PERSONAL) || first.contains(PERSONAL_COLUMN) {
        "a personal bill (微信支付账单明细), not a merchant's"
    } else if first.starts_with(TRADE_TOTALS) || first.starts_with(FUND_FLOW_TOTALS) {
        "the totals only, without the rows"
    } else {
        return None;
    };
    Some(Refused::wrong_file(1, None, what))
}

/// Whether a line could be the beginning of a bill's first one.
pub(super) fn begins_a_bill(first: &[u8]) -> bool {
    [TRADE, FUND_FLOW].iter().any(|names| first.starts_with(names.as_bytes()) || names.as_bytes().starts_with(first))
}

/// The refusal of a line of names that is not UTF-8.
pub(super) fn misencoded(line_no: u64, line: &[u8]) -> Refused {
    let text = GB18030.decode_without_bom_handling_and_without_replacement(line).unwrap_or_default();
    let ours = [TRADE, FUND_FLOW, TRADE_TOTALS, FUND_FLOW_TOTALS].iter().any(|names| text.starts_with(names));
    if let Some(refused) = is_other(&text).filter(|_| line_no == 1) {
        return refused;
    }
    if ours {
        return saved_again(line_no, "encoded in GBK, not UTF-8");
    }
    Refused::malformed(line_no, None, "not UTF-8: malformed bytes")
}

/// The refusal of what a spreadsheet program leaves of a bill.
pub(super) fn saved_again(line_no: u64, sign: &str) -> Refused {
    Refused::malformed(line_no, None, format!("{sign}: probably saved again by a spreadsheet program"))
}
