//! The lines of one result file on their way into the book: a table of the session, filled by COPY while the file is
//! still being read. Called by stage `reconcile`; [`super::results`] judges and books them.

use std::io::Write as _;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::money::Money;

/// A line as staged.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    pub line_no: u64,
    pub says: Says<'a>,
}

/// What a line is about.
#[derive(Debug, Clone, Copy)]
pub enum Says<'a> {
    /// What became of an order. `class` is none where the code is in no table.
    Result {
        order_no: &'a str,
        amount: Money,
        code: &'a str,
        class: Option<&'static str>,
        gateway_txn_no: Option<&'a str>,
        settled_at: Option<DateTime<Utc>>,
    },
    /// Money that goes back; the numbers and `gateway_txn_no` are of the payment, `refund_no` of the refund.
    Refund {
        order_no: &'a str,
        amount: Money,
        state: &'static str,
        gateway_txn_no: Option<&'a str>,
        refund_no: &'a str,
        refunded_at: Option<DateTime<Utc>>,
    },
    /// Money that came or went on the merchant's account; `movement_no` is the gateway's number of the line.
    Movement { order_no: Option<&'a str>, amount: Money, direction: &'static str, movement_no: &'a str },
    /// Why it cannot be read.
    Unparsable { fault: &'a str },
}

impl Line<'_> {
    /// Writes the line as a row of COPY.
    pub fn put(&self, out: &mut Vec<u8>) {
        let _ = write!(out, "{}\t", self.line_no);
        match self.says {
            Says::Result { order_no, amount, code, class, gateway_txn_no, settled_at } => {
                out.extend_from_slice(b"result\t");
                row(out, Some(order_no), Some(amount), Some(code), class, gateway_txn_no, None, settled_at, None);
            }
            Says::Refund { order_no, amount, state, gateway_txn_no, refund_no, refunded_at } => {
                out.extend_from_slice(b"refund\t");
                row(
                    out,
                    Some(order_no),
                    Some(amount),
                    Some(state),
                    None,
                    gateway_txn_no,
                    Some(refund_no),
                    refunded_at,
                    None,
                );
            }
            Says::Movement { order_no, amount, direction, movement_no } => {
                out.extend_from_slice(b"movement\t");
                row(out, order_no, Some(amount), Some(direction), None, None, Some(movement_no), None, None);
            }
            Says::Unparsable { fault } => {
                out.extend_from_slice(b"unparsable\t");
                row(out, None, None, None, None, None, None, None, Some(fault));
            }
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "one argument a column, in their order")]
fn row(
    out: &mut Vec<u8>,
    order_no: Option<&str>,
    amount: Option<Money>,
    code: Option<&str>,
    class: Option<&str>,
    gateway_txn_no: Option<&str>,
    refund_no: Option<&str>,
    settled_at: Option<DateTime<Utc>>,
    fault: Option<&str>,
) {
    text(out, order_no);
    match amount {
        Some(amount) => _ = write!(out, "{}.{:02}\t", amount.fen() / 100, amount.fen() % 100),
        None => out.extend_from_slice(b"\\N\t"),
    }
    for value in [code, class, gateway_txn_no, refund_no] {
        text(out, value);
    }
    match settled_at {
        // Seconds: a date in words takes longer to write and to read than all the rest of a row.
        Some(time) => _ = write!(out, "{}\t", time.timestamp()),
        None => out.extend_from_slice(b"\\N\t"),
    }
    text(out, fault);
    out.pop();
    out.push(b'\n');
}

/// COPY's text format: what would end a field or a row is escaped.
fn text(out: &mut Vec<u8>, value: Option<&str>) {
    let Some(value) = value else { return out.extend_from_slice(b"\\N\t") };
    if value.bytes().any(|byte| matches!(byte, b'\\' | b'\t' | b'\n' | b'\r')) {
        for byte in value.bytes() {
            match byte {
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\t' => out.extend_from_slice(b"\\t"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                byte => out.push(byte),
            }
        }
    } else {
        out.extend_from_slice(value.as_bytes());
    }
    out.push(b'\t');
}

/// Lines that are being staged.
pub struct Staging<'c> {
    copy: sqlx::postgres::PgCopyIn<&'c mut PgConnection>,
}

/// Begins to stage a file's lines. The table is the session's, so that ranges of it can be booked one by one.
pub async fn begin(connection: &mut PgConnection) -> sqlx::Result<Staging<'_>> {
    sqlx::raw_sql(
        "DROP TABLE IF EXISTS result_lines, line_ranks, bill_ranks;
         CREATE TEMP TABLE result_lines (line_no bigint NOT NULL, what text NOT NULL, order_no text COLLATE \"C\", amount numeric(14,2),
             code text, class text, gateway_txn_no text, refund_no text, settled_epoch bigint, fault text)",
    )
    .execute(&mut *connection)
    .await?;
    let copy = sqlx::postgres::PgConnection::copy_in_raw(connection, "COPY result_lines FROM STDIN").await?;
    Ok(Staging { copy })
}

impl Staging<'_> {
    pub async fn send(&mut self, rows: &[u8]) -> sqlx::Result<()> {
        self.copy.send(rows).await.map(drop)
    }

    pub async fn finish(self) -> sqlx::Result<u64> {
        self.copy.finish().await
    }

    pub async fn abort(self) -> sqlx::Result<()> {
        self.copy.abort("the file is refused").await
    }
}

/// Looks at the file as a whole: which of its lines are about an order or a transaction that another line is about too.
/// They are few, and the rest need not be ranked.
pub async fn rank(connection: &mut PgConnection) -> sqlx::Result<()> {
    let (before, after) = (
        "SET default_statistics_target = 10; SET work_mem = '64MB';",
        "RESET default_statistics_target; RESET work_mem",
    );
    let ranked = include_str!("sql/rank_lines.sql");
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("{before} {ranked} {after}"))).execute(connection).await.map(drop)
}

/// Nothing is left of the staged lines.
pub async fn end(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::raw_sql("DROP TABLE IF EXISTS result_lines, line_ranks, bill_ranks").execute(connection).await.map(drop)
}
