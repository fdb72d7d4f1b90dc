//! The account of a gateway's day.
//!
//! In: a gateway, maybe one of its banks, and a day of Beijing. Out: what was sent and what has become of it, what the
//! gateway's files of the day declare beside what we hold for them, and every line that explains a difference; all of one
//! snapshot, the lines page by page. Called by `pikou report day`.
//! *Commits:* nothing. *If it dies:* nothing has happened.

use chrono::{Days, NaiveDate, NaiveTime};
use sqlx::{Postgres, Transaction};

use super::{Context, StageError};
use crate::clock::SHANGHAI;
use crate::domain::day_account::{DayAccount, DayFile, Item};
use crate::domain::rows::Rows;
use crate::store::day_accounts::{self, Scope};
use crate::store::file_rows::{self, Outcome};

/// Lines that are read at a time.
const ITEMS_MAX: i64 = 5_000;

/// An account, and its lines that are still to be read.
pub struct Reading {
    pub account: DayAccount,
    tx: Transaction<'static, Postgres>,
    scope: Scope,
    files: Vec<i64>,
    behind: Behind,
}

/// How far the lines are read.
enum Behind {
    Discrepancy(i64),
    Order(String, i16),
    All,
}

pub async fn read(
    ctx: &Context,
    gateway: &str,
    bank_code: Option<&str>,
    day: NaiveDate,
) -> Result<Reading, StageError> {
    let begin = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_local_timezone(SHANGHAI).single();
    let next = day.checked_add_days(Days::new(1));
    let (Some(from), Some(to)) = (begin(day), next.and_then(begin)) else {
        return Err(StageError::Refused(format!("there is no day {day}")));
    };
    let scope = Scope {
        gateway: gateway.to_owned(),
        bank_code: bank_code.map(str::to_owned),
        day,
        begin: from.to_utc(),
        end: to.to_utc(),
    };
    let mut tx = ctx.snapshot().await?;
    let mut account = DayAccount {
        day,
        gateway: scope.gateway.clone(),
        bank_code: scope.bank_code.clone(),
        sent: day_accounts::sent(&mut tx, &scope).await?,
        ended: day_accounts::ended(&mut tx, &scope).await?,
        reported: day_accounts::reported(&mut tx, &scope).await?,
        files: day_accounts::files(&mut tx, &scope).await?,
        refused_files: day_accounts::refused_files(&mut tx, &scope).await?,
        open_discrepancies: Default::default(),
    };
    let files: Vec<i64> = account.files.iter().map(|file| file.result_file_id).collect();
    for (result_file_id, outcome, rows) in file_rows::of_files(&mut tx, &files).await? {
        if let Some(file) = account.files.iter_mut().find(|file| file.result_file_id == result_file_id) {
            explain(file, &outcome, rows);
        }
    }
    account.open_discrepancies = day_accounts::open_discrepancies(&mut tx, &scope, &files).await?;
    Ok(Reading { account, tx, scope, files, behind: Behind::Discrepancy(0) })
}

/// Puts rows of a file to what they say something about. What they have settled, confirmed and noted is counted from the
/// book itself.
fn explain(file: &mut DayFile, outcome: &Outcome, rows: Rows) {
    let Outcome { what, class, verdict } = outcome;
    let side = match (what.as_str(), class.as_str()) {
        ("refund", _) => &mut file.refunds,
        ("result", "success") => &mut file.payments,
        ("unparsable", _) => {
            file.payments.undecided += rows.count;
            file.refunds.undecided += rows.count;
            return;
        }
        // The code is not in the table, or the bank does not know yet: it may count them among those that have not failed.
        ("result", "" | "unknown") => {
            file.payments.undecided += rows.count;
            return;
        }
        _ => return,
    };
    match (what.as_str(), verdict.as_str()) {
        (_, "repeated") => side.held.push(("known before", rows)),
        (_, "not_ours") => side.explained.push((verdict.clone(), rows)),
        ("refund", _) | (_, "settle" | "confirm") => {}
        _ => side.explained.push((verdict.clone(), rows)),
    }
}

impl Reading {
    /// The next lines; none behind the last one.
    pub async fn items(&mut self) -> Result<Vec<Item>, StageError> {
        loop {
            let (tx, files) = (&mut self.tx, &self.files);
            match &self.behind {
                Behind::Discrepancy(behind) => {
                    let items = day_accounts::wrong_items(tx, &self.scope, files, *behind, ITEMS_MAX).await?;
                    self.behind = match items.last() {
                        Some((discrepancy_id, _)) => Behind::Discrepancy(*discrepancy_id),
                        None => Behind::Order(String::new(), 0),
                    };
                    if !items.is_empty() {
                        return Ok(items.into_iter().map(|(_, item)| item).collect());
                    }
                }
                Behind::Order(order_no, item) => {
                    let items = day_accounts::unanswered_items(tx, &self.scope, (order_no, *item), ITEMS_MAX).await?;
                    self.behind = match items.last() {
                        Some(((order_no, item), _)) => Behind::Order(order_no.clone(), *item),
                        None => Behind::All,
                    };
                    return Ok(items.into_iter().map(|(_, item)| item).collect());
                }
                Behind::All => return Ok(Vec::new()),
            }
        }
    }
}
