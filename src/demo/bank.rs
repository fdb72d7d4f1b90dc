//! A stand-in for the banks. They know the files of `docs/BANK-FILE.md`, each in the layout that is shipped for it, and
//! nothing else of this program: request files that have their `.ok` come in, result files go out. They read and write
//! them in a way of their own (`format`), so that a mistake on either side shows. Called by the demo, and by tests, which may decide what
//! happens to each order or write an answer by hand.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, FixedOffset, Utc};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

mod answer;
mod format;
mod unionpay;

pub use answer::{AnswerFile, AnswerRow, write_answer};
use format::Format;
pub use unionpay::Unionpay;

/// From this many orders on, an answer has its four oddities.
const ODDITIES_FROM: usize = 10;

/// Of 1,000 orders, how many fail for lack of balance, for a closed account, and how many end nobody knows how.
const INSUFFICIENT_PER_MILLE: u32 = 180;
const CLOSED_PER_MILLE: u32 = 10;
const IN_DOUBT_PER_MILLE: u32 = 2;

/// The bank's side of the two folders.
pub struct Bank {
    outbox: PathBuf,
    inbox: PathBuf,
    random: ChaCha8Rng,
    answered: BTreeSet<PathBuf>,
}

/// What the bank does with an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Paid,
    InsufficientBalance,
    AccountClosed,
    /// Code 9001: the bank itself does not know.
    InDoubt,
    /// Paid, but another sum than was asked for.
    PaidOtherAmount {
        fen: u64,
    },
    /// A code that is in no table.
    UnknownCode,
    /// No row at all.
    Silent,
}

/// One answer, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub request: PathBuf,
    pub path: PathBuf,
    /// Rows of the answer, those that are there twice or answer nothing included.
    pub rows: u64,
    pub total_fen: u64,
    /// Rows with code 0000.
    pub success: u64,
    pub success_total_fen: u64,
}

/// An order as the request file has it.
struct Order {
    line_no: u64,
    order_no: String,
    agreement_no: String,
    amount_fen: u64,
}

struct Request {
    bank_code: String,
    business_date: String,
    orders: Vec<Order>,
}

impl Bank {
    /// `outbox` and `inbox` are the worker's folders, with a folder per bank code in each.
    pub fn new(outbox: &Path, inbox: &Path, seed: u64) -> Bank {
        let (outbox, inbox) = (outbox.to_owned(), inbox.to_owned());
        Bank { outbox, inbox, random: ChaCha8Rng::seed_from_u64(seed), answered: BTreeSet::new() }
    }

    /// Answers every request file that is complete and not answered yet, as a bank on an ordinary day: most orders
    /// are paid, and each answer of some size has one row twice, an unknown order, a wrong amount and an unknown code.
    pub fn answer_all(&mut self, settled_at: DateTime<Utc>) -> io::Result<Vec<Answer>> {
        let mut answers = Vec::new();
        for request in self.waiting()? {
            let orders = read_request(&request)?;
            let random = &mut self.random;
            let mut verdicts: Vec<Verdict> = orders.orders.iter().map(|_| ordinary(random)).collect();
            let odd = orders.orders.len() >= ODDITIES_FROM;
            let first = random.random_range(0..verdicts.len().max(1));
            let mut places = (0..verdicts.len()).cycle().skip(first);
            let mut twice = None;
            if odd {
                let mut next = || places.next().unwrap_or_default();
                let (other_amount, unknown_code, repeated) = (next(), next(), next());
                let asked = orders.orders[other_amount].amount_fen;
                verdicts[other_amount] =
                    Verdict::PaidOtherAmount { fen: if asked > 100 { asked - 100 } else { asked + 100 } };
                verdicts[unknown_code] = Verdict::UnknownCode;
                verdicts[repeated] = Verdict::Paid;
                twice = Some(repeated);
            }
            let mut file = answer_file(&request, &orders, &verdicts, settled_at);
            if let Some(repeated) = twice {
                let again = file.rows[repeated].clone();
                let mut stray = again.clone();
                stray.line_no = file.rows.len() as u64 + 1;
                stray.order_no = format!("X{}", stray.order_no);
                stray.txn_no = txn_no(&request, stray.line_no);
                file.rows.extend([stray, again]);
            }
            answers.push(self.write(request, &file)?);
        }
        Ok(answers)
    }

    /// Answers every waiting request file as `verdict` says for each order number, amount in fen and agreement.
    pub fn answer_with(
        &mut self,
        settled_at: DateTime<Utc>,
        mut verdict: impl FnMut(&str, u64, &str) -> Verdict,
    ) -> io::Result<Vec<Answer>> {
        let mut answers = Vec::new();
        for request in self.waiting()? {
            let orders = read_request(&request)?;
            let decide = |order: &Order| verdict(&order.order_no, order.amount_fen, &order.agreement_no);
            let verdicts: Vec<Verdict> = orders.orders.iter().map(decide).collect();
            let file = answer_file(&request, &orders, &verdicts, settled_at);
            answers.push(self.write(request, &file)?);
        }
        Ok(answers)
    }

    /// Request files whose `.ok` is there, in the order of bank and name.
    fn waiting(&self) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for folder in entries(&self.outbox)? {
            if folder.is_dir() {
                found.extend(entries(&folder)?.into_iter().filter(|path| path.extension() == Some(OsStr::new("txt"))));
            }
        }
        found.retain(|path| !self.answered.contains(path) && flag(path).exists());
        found.sort();
        Ok(found)
    }

    fn write(&mut self, request: PathBuf, file: &AnswerFile) -> io::Result<Answer> {
        let folder = self.inbox.join(&file.bank_code);
        let path = write_answer(&folder, &format!("R_{}", file.request_file_name), &file.to_bytes())?;
        self.answered.insert(request.clone());
        let (success, success_total_fen) = file.success();
        let (rows, total_fen) = (file.rows.len() as u64, file.total_fen());
        Ok(Answer { request, path, rows, total_fen, success, success_total_fen })
    }
}

fn ordinary(random: &mut ChaCha8Rng) -> Verdict {
    let mut dice = random.random_range(0..1000u32);
    for (share, verdict) in [
        (INSUFFICIENT_PER_MILLE, Verdict::InsufficientBalance),
        (CLOSED_PER_MILLE, Verdict::AccountClosed),
        (IN_DOUBT_PER_MILLE, Verdict::InDoubt),
    ] {
        if dice < share {
            return verdict;
        }
        dice -= share;
    }
    Verdict::Paid
}

fn answer_file(path: &Path, request: &Request, verdicts: &[Verdict], settled_at: DateTime<Utc>) -> AnswerFile {
    let beijing = FixedOffset::east_opt(8 * 3600).expect("eight hours are less than a day");
    let settled_at = settled_at.with_timezone(&beijing).format("%Y%m%d%H%M%S").to_string();
    let mut rows = Vec::with_capacity(verdicts.len() + 2);
    for (order, verdict) in request.orders.iter().zip(verdicts) {
        let (code, reason, amount_fen) = match verdict {
            Verdict::Paid => ("0000", "扣款成功", order.amount_fen),
            Verdict::InsufficientBalance => ("1001", "账户余额不足", order.amount_fen),
            Verdict::AccountClosed => ("2001", "账户不存在或已销户", order.amount_fen),
            Verdict::InDoubt => ("9001", "系统异常", order.amount_fen),
            Verdict::PaidOtherAmount { fen } => ("0000", "扣款成功", *fen),
            Verdict::UnknownCode => ("7777", "其他原因", order.amount_fen),
            Verdict::Silent => continue,
        };
        let paid = code == "0000";
        rows.push(AnswerRow {
            line_no: order.line_no,
            order_no: order.order_no.clone(),
            amount_fen,
            code: code.to_owned(),
            reason: reason.to_owned(),
            txn_no: if paid { txn_no(path, order.line_no) } else { String::new() },
            settled_at: if paid { settled_at.clone() } else { String::new() },
        });
    }
    AnswerFile {
        bank_code: request.bank_code.clone(),
        business_date: request.business_date.clone(),
        request_file_name: file_name(path),
        rows,
    }
}

/// The bank's number for what it did: the digits of the request file's name, and the line.
fn txn_no(request: &Path, line_no: u64) -> String {
    let digits: String = file_name(request).chars().filter(char::is_ascii_digit).collect();
    format!("{digits}{line_no:08}")
}

/// Reads a request file as strictly as a bank does. That it can is half of what the demo shows.
fn read_request(path: &Path) -> io::Result<Request> {
    let wrong = |what: &str| wrong(path, what);
    let bytes = read_whole(path)?;
    let folder = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
    let request = Format::of(&folder).read(&bytes, &file_name(path)).map_err(wrong)?;
    if request.bank_code != folder {
        return Err(wrong("it names another bank"));
    }
    Ok(request)
}

/// The bytes of a request file, which are those that its `.ok` tells of.
fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let bytes = fs::read(path)?;
    let flag = fs::read_to_string(flag(path))?;
    if let Some(hash) = flag.split_whitespace().find(|word| word.len() == 64) {
        let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        if hash != digest {
            return Err(wrong(path, "not the bytes of which its .ok has the SHA-256"));
        }
    }
    Ok(bytes)
}

fn wrong(path: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()))
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn flag(request: &Path) -> PathBuf {
    request.with_file_name(format!("{}.ok", file_name(request)))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
