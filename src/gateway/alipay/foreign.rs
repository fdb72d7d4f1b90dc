//! Files that are something else than a bill of a merchant at Alipay: a beginning that does not fit comes in, the name
//! of what it is goes out. Called by [`super::frame`].

use crate::gateway::lines::Lines;
use crate::gateway::text::Charset;
use crate::gateway::{ReadError, Refused};

/// How many lines are looked at: a personal bill has its columns on line 25.
const LINES_MAX: usize = 40;

/// Words by which a file is known, and what it is.
const WORDS: [(&str, &str); 8] = [
    ("支付宝交易记录明细", "a personal Alipay bill, not a merchant's"),
    ("交易记录明细列表", "a personal Alipay bill, not a merchant's"),
    ("电子客户回单", "a personal Alipay bill, not a merchant's"),
    ("支付宝个人", "a personal Alipay bill, not a merchant's"),
    ("交易分类,交易对方", "a personal Alipay bill, not a merchant's"),
    ("微信支付账单", "a personal WeChat bill"),
    ("公众账号ID", "a bill of WeChat Pay"),
    ("记账时间,微信支付业务单号", "a fund flow of WeChat Pay"),
];

/// The refusal of a file whose first line is not Alipay's.
pub(super) fn named(first: &str, charset: Charset, lines: &mut Lines<'_>) -> Result<Refused, ReadError> {
    let mut what = of_line(first);
    for _ in 1..LINES_MAX {
        if what.is_some() {
            break;
        }
        let Some(line) = lines.next_line()? else { break };
        what = charset.decode(line.bytes).and_then(|text| of_line(&text));
    }
    let what = what.unwrap_or("not a file of Alipay's: its first line says something else");
    Ok(Refused::wrong_file(1, None, what))
}

fn of_line(line: &str) -> Option<&'static str> {
    WORDS.into_iter().find(|(word, _)| line.contains(word)).map(|(_, what)| what)
}
