//! Reading a result file: a thread of its own reads and parses, this one sends the rows to the database, so that both
//! work at once and no more of the file is in memory than what is on its way. Called by stage `reconcile`.

use std::io;
use std::sync::Arc;

use rust_decimal::Decimal;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres};
use tokio::sync::mpsc;

use super::spool::Spool;
use super::{Context, StageError};
use crate::domain::money::Money;
use crate::domain::outcome::{CodeTable, OutcomeClass};
use crate::domain::rows::Rows;
use crate::gateway::{
    Answers, Covers, Direction, ReadError, RefundState, Refused, ResultHead, ResultRow, ResultSource,
};
use crate::store::bills;
use crate::store::file_rows::Declared;
use crate::store::staging::{self, Line, Says};

/// Bytes of rows that are sent at once, and how many such pieces may wait.
const PIECE_BYTES: usize = 256 * 1024;
const PIECES_WAITING: usize = 4;

/// A file that was read to its end and whose totals hold.
#[derive(Debug)]
pub struct Staged {
    pub head: ResultHead,
    /// The number of its last row's line; 0 if it has none.
    pub last_line: i64,
    /// What its rows come to, for formats that do not declare it.
    paid: Tally,
    refunds: Tally,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    count: u64,
    fen: i128,
}

impl Tally {
    fn add(&mut self, amount: Money) {
        self.count += 1;
        self.fen += amount.fen();
    }

    fn rows(self, count: Option<u64>, total: Option<Money>) -> Rows {
        let total = total.map_or(self.fen, |total| total.fen());
        Rows { count: count.unwrap_or(self.count) as i64, total: Decimal::from_i128_with_scale(total, 2) }
    }
}

/// How a file's lines are booked: as answers to our request files, or as what a gateway has done on its own account.
#[derive(Debug, Clone, Copy)]
pub enum Way {
    Results,
    Bill,
}

impl Staged {
    pub fn way(&self) -> Way {
        match self.head.covers {
            Covers::Results => Way::Results,
            Covers::Payments { .. } | Covers::Nothing => Way::Bill,
        }
    }

    /// What the file says of itself, beside which a day's account sets the book.
    pub fn declared(&self) -> Declared {
        let Staged { head, paid, refunds, .. } = self;
        Declared {
            business_date: head.business_date,
            covers: match head.covers {
                Covers::Payments { from, to } => Some((from, to)),
                Covers::Results | Covers::Nothing => None,
            },
            rows: head.count as i64,
            paid: paid.rows(head.success_count, head.success_total),
            refunds: refunds.rows(head.refund_count, head.refund_total),
        }
    }
}

/// Reads a file into the session's staging table. Or it is refused, and what was staged of it means nothing.
pub async fn stage(
    ctx: &Context,
    connection: &mut PgConnection,
    from: &dyn Answers,
    file_name: &str,
    sha1: Option<[u8; 20]>,
    spool: Spool,
) -> Result<Result<Staged, Refused>, StageError> {
    let (pieces, mut waiting) = mpsc::channel(PIECES_WAITING);
    let settings = Arc::clone(&ctx.settings);
    let (gateway, bank_code, name) = (from.gateway(), from.bank_code().to_owned(), file_name.to_owned());
    let reading = tokio::task::spawn_blocking(move || {
        let from = settings.answerer(gateway, &bank_code, &name);
        from.map(|from| read(from, &name, sha1, spool, &pieces))
    });
    let mut staging = staging::begin(&mut *connection).await?;
    while let Some(piece) = waiting.recv().await {
        staging.send(&piece).await?;
    }
    let read = reading.await.map_err(|error| StageError::broken(format!("reading a result file: {error}")))?;
    let read = read.ok_or_else(|| StageError::broken(format!("{gateway} is not configured for {file_name}")))?;
    match read {
        Ok(staged) => {
            staging.finish().await?;
            match staged.way() {
                Way::Results => staging::rank(connection).await?,
                Way::Bill => bills::rank(connection, staged.last_line).await?,
            }
            Ok(Ok(staged))
        }
        Err(ReadError::Refused(refused)) => {
            staging.abort().await?;
            Ok(Err(refused))
        }
        Err(ReadError::Disk(source)) => {
            staging.abort().await?;
            Err(StageError::later("reading the copy of a result file", source))
        }
    }
}

/// Gives the connection back without the staged lines.
pub async fn end(mut connection: PoolConnection<Postgres>) -> Result<(), StageError> {
    Ok(staging::end(&mut connection).await?)
}

fn read(
    from: &dyn Answers,
    name: &str,
    sha1: Option<[u8; 20]>,
    mut spool: Spool,
    pieces: &mpsc::Sender<Vec<u8>>,
) -> Result<Staged, ReadError> {
    let codes = from.codes();
    let (mut piece, mut last_line, mut gone) = (Vec::with_capacity(PIECE_BYTES + 4096), 0, false);
    let (mut paid, mut refunds) = (Tally::default(), Tally::default());
    let mut source = ResultSource { name, bytes: spool.bytes().map_err(ReadError::Disk)?, sha1 };
    let head = from.read(&mut source, &mut |row| {
        // Where nobody takes them any more, the database has said why.
        if gone {
            return;
        }
        match &row {
            ResultRow::Read { amount, code, .. } if is_success(codes, code) => paid.add(*amount),
            ResultRow::Refund { amount, .. } => refunds.add(*amount),
            ResultRow::Read { .. } | ResultRow::Movement { .. } | ResultRow::Unparsable { .. } => {}
        }
        last_line = put(&row, codes, &mut piece);
        if piece.len() >= PIECE_BYTES {
            let full = std::mem::replace(&mut piece, Vec::with_capacity(PIECE_BYTES + 4096));
            gone = pieces.blocking_send(full).is_err();
        }
    })?;
    if !piece.is_empty() && !gone && pieces.blocking_send(piece).is_err() {
        return Err(ReadError::Disk(io::ErrorKind::BrokenPipe.into()));
    }
    Ok(Staged { head, last_line: last_line as i64, paid, refunds })
}

fn is_success(codes: &CodeTable, code: &str) -> bool {
    codes.meaning(code).is_some_and(|meaning| meaning.class == OutcomeClass::Success)
}

/// Writes a row for the staging table; returns its line number.
fn put(row: &ResultRow<'_>, codes: &CodeTable, out: &mut Vec<u8>) -> u64 {
    match row {
        ResultRow::Read { line_no, order_no, amount, code, reason: _, gateway_txn_no, settled_at } => {
            let says = Says::Result {
                order_no,
                amount: *amount,
                code,
                class: codes.meaning(code).map(|meaning| meaning.class.as_str()),
                gateway_txn_no: *gateway_txn_no,
                settled_at: *settled_at,
            };
            Line { line_no: *line_no, says }.put(out);
            *line_no
        }
        ResultRow::Refund { line_no, order_no, gateway_txn_no, refund_no, amount, state, refunded_at } => {
            let state = match state {
                RefundState::Succeeded => "succeeded",
                RefundState::Processing => "processing",
                RefundState::Failed => "failed",
                RefundState::Abnormal => "abnormal",
            };
            let says = Says::Refund {
                order_no,
                amount: *amount,
                state,
                gateway_txn_no: *gateway_txn_no,
                refund_no,
                refunded_at: *refunded_at,
            };
            Line { line_no: *line_no, says }.put(out);
            *line_no
        }
        ResultRow::Movement { line_no, movement_no, order_no, amount, direction } => {
            let direction = match direction {
                Direction::In => "in",
                Direction::Out => "out",
            };
            let says = Says::Movement { order_no: *order_no, amount: *amount, direction, movement_no };
            Line { line_no: *line_no, says }.put(out);
            *line_no
        }
        ResultRow::Unparsable { line_no, column, reason } => {
            let column = column.map_or_else(String::new, |column| format!("column {column}: "));
            let fault = format!("{column}{reason}");
            Line { line_no: *line_no, says: Says::Unparsable { fault: &fault } }.put(out);
            *line_no
        }
    }
}
