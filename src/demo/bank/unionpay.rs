//! A stand-in for UnionPay's batch deduction: request files that have their `.ok` come in, result files go out. Like the
//! banks beside it it knows the files of `docs/UNIONPAY-FILE.md` and nothing else of this program. Called by the demo
//! where a merchant is configured, and by tests.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, FixedOffset, Utc};
use encoding_rs::Encoding;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Answer, Verdict, entries, file_name, flag, ordinary, read_whole, write_answer};

/// The columns that an answer has before those of the request.
const OWN_TITLES: &str = "respCode|respMsg|queryId|sysTraNo|sysTm|settleDate|reserved1|reserved2";

/// UnionPay's side of the two folders.
pub struct Unionpay {
    outbox: PathBuf,
    inbox: PathBuf,
    encoding: &'static Encoding,
    random: ChaCha8Rng,
    answered: BTreeSet<PathBuf>,
}

impl Unionpay {
    /// `encoding` is what the files are written in, by a name that the web knows.
    pub fn new(outbox: &Path, inbox: &Path, encoding: &str, seed: u64) -> Unionpay {
        Unionpay {
            outbox: outbox.to_owned(),
            inbox: inbox.to_owned(),
            encoding: Encoding::for_label(encoding.as_bytes()).unwrap_or(encoding_rs::UTF_8),
            random: ChaCha8Rng::seed_from_u64(seed),
            answered: BTreeSet::new(),
        }
    }

    /// Answers every request file as on an ordinary day.
    pub fn answer_all(&mut self, settled_at: DateTime<Utc>) -> io::Result<Vec<Answer>> {
        let mut random = self.random.clone();
        let answers = self.answer_with(settled_at, |_, _| ordinary(&mut random));
        self.random = random;
        answers
    }

    /// Answers every request file as `verdict` says for each order number and amount in fen.
    pub fn answer_with(
        &mut self,
        settled_at: DateTime<Utc>,
        mut verdict: impl FnMut(&str, u64) -> Verdict,
    ) -> io::Result<Vec<Answer>> {
        let mut requests = entries(&self.outbox)?;
        requests.retain(|path| file_name(path).ends_with("I.txt") && flag(path).exists());
        requests.retain(|path| !self.answered.contains(path));
        requests.sort();
        let mut answers = Vec::new();
        for request in requests {
            let wrong = |what: &str| super::wrong(&request, what);
            let bytes = read_whole(&request)?;
            let text = self.encoding.decode_without_bom_handling_and_without_replacement(&bytes);
            let text = text.ok_or_else(|| wrong("not in the encoding agreed on"))?;
            let name = file_name(&request);
            let name = name.strip_suffix("I.txt").unwrap_or(&name);
            let batch = name.get(25..).ok_or_else(|| wrong("not the name of a request file"))?;
            let mut answer = reply(&text, batch, settled_at, &mut verdict).map_err(wrong)?;
            let bytes = self.encoding.encode(&answer.text).0.into_owned();
            answer.done.path = write_answer(&self.inbox, &format!("{name}O.txt"), &bytes)?;
            self.answered.insert(request.clone());
            answers.push(Answer { request, ..answer.done });
        }
        Ok(answers)
    }
}

struct Reply {
    text: String,
    done: Answer,
}

/// Reads a request as strictly as UnionPay does, and answers each of its orders. `batch` is its day and number.
fn reply(
    text: &str,
    batch: &str,
    settled_at: DateTime<Utc>,
    verdict: &mut impl FnMut(&str, u64) -> Verdict,
) -> Result<Reply, &'static str> {
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let lines: Vec<Vec<&str>> = text.split(end).map(|line| line.split('|').collect()).collect();
    let [head, titles, items @ ..] = &lines[..] else { return Err("no head or no titles") };
    let [version, total, count, "", ""] = head[..] else { return Err("bad head") };
    let column = |title: &str| titles.iter().position(|name| *name == title).ok_or("a title is missing");
    let (order_at, amount_at, currency_at) = (column("orderId")?, column("txnAmt")?, column("currencyCode")?);
    let beijing = FixedOffset::east_opt(8 * 3600).expect("eight hours are less than a day");
    let settled_at = settled_at.with_timezone(&beijing);
    let (asked_fen, mut done) = (
        items.iter().map(|item| item.get(amount_at).and_then(|fen| fen.parse::<u64>().ok())).sum::<Option<u64>>(),
        Answer {
            request: PathBuf::new(),
            path: PathBuf::new(),
            rows: items.len() as u64,
            total_fen: 0,
            success: 0,
            success_total_fen: 0,
        },
    );
    if asked_fen.map(|fen| fen.to_string()).as_deref() != Some(total) || items.len().to_string() != count {
        return Err("count or total differ from the items");
    }
    let mut rows = String::new();
    for (item, number) in items.iter().zip(1..) {
        if item.len() != titles.len() || item[currency_at] != "156" {
            return Err("bad item");
        }
        let asked: u64 = item[amount_at].parse().map_err(|_| "bad amount")?;
        let (code, message, fen) = match verdict(item[order_at], asked) {
            Verdict::Paid => ("00", "成功", asked),
            Verdict::InsufficientBalance => ("64", "余额不足", asked),
            Verdict::AccountClosed => ("61", "卡号无效", asked),
            Verdict::InDoubt => ("05", "交易已受理", asked),
            Verdict::PaidOtherAmount { fen } => ("00", "成功", fen),
            Verdict::UnknownCode => ("45", "原交易已被成功退货或已被成功撤销", asked),
            Verdict::Silent => return Err("UnionPay answers every order"),
        };
        let own = if code == "00" {
            done.success += 1;
            done.success_total_fen += fen;
            let (time, day) = (settled_at.format("%m%d%H%M%S"), settled_at.format("%m%d"));
            format!("{code}|{message}|{batch}{number:09}|{number:06}|{time}|{day}||")
        } else {
            format!("{code}|{message}||||||")
        };
        done.total_fen += fen;
        let fen = fen.to_string();
        let echoed: Vec<&str> =
            (0..item.len()).map(|at| if at == amount_at { fen.as_str() } else { item[at] }).collect();
        rows += &format!("{end}{own}|{}", echoed.join("|"));
    }
    let (total, success, success_total) = (done.total_fen, done.success, done.success_total_fen);
    let head = format!("{version}|{total}|{count}|||{success_total}|{success}||");
    let text = format!("{head}{end}{OWN_TITLES}|{}{rows}", titles.join("|"));
    Ok(Reply { text, done })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_each_order_with_its_code_and_totals_that_agree() {
        let request = "5.0.0|350|2||\norderId|currencyCode|txnAmt|accNo\nP00000001|156|100|62\nP00000002|156|250|63";
        let at = DateTime::parse_from_rfc3339("2026-04-16T10:15:00+08:00").unwrap().to_utc();
        let mut poor = |order: &str, _| if order.ends_with('2') { Verdict::InsufficientBalance } else { Verdict::Paid };
        let answer = reply(request, "202604150001", at, &mut poor).unwrap();
        let expected = "5.0.0|350|2|||100|1||\n\
            respCode|respMsg|queryId|sysTraNo|sysTm|settleDate|reserved1|reserved2|orderId|currencyCode|txnAmt|accNo\n\
            00|成功|202604150001000000001|000001|0416101500|0416|||P00000001|156|100|62\n\
            64|余额不足|||||||P00000002|156|250|63";
        assert_eq!(answer.text, expected);
        for (from, to) in
            [("|350|", "|351|"), ("|2||", "|3||"), ("|156|100", "|840|100"), ("|62", ""), ("orderId", "x")]
        {
            assert!(reply(&request.replacen(from, to, 1), "", at, &mut poor).is_err(), "{from}");
        }
    }
}
