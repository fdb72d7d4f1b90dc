//! Result files in tests: bytes come in, the head and all rows go out.

use std::io::Cursor;

use super::{Answers, ReadError, Refused, ResultHead, ResultRow, ResultSource};

/// How tests read a file that is in memory.
pub(crate) trait ReadWhole: Answers {
    /// The head and the rows of a file of that name; the rows live as long as the test.
    fn read_whole(&self, name: &str, bytes: &[u8]) -> Result<(ResultHead, Vec<ResultRow<'static>>), Refused> {
        let mut rows = Vec::new();
        let mut bytes = Cursor::new(bytes);
        let mut source = ResultSource { name, bytes: &mut bytes, sha1: None };
        match self.read(&mut source, &mut |row| rows.push(kept(row))) {
            Ok(head) => Ok((head, rows)),
            Err(ReadError::Refused(refused)) => Err(refused),
            Err(ReadError::Disk(error)) => panic!("memory does not break: {error}"),
        }
    }

    fn open(&self, bytes: &[u8]) -> Result<ResultHead, Refused> {
        self.read_whole("", bytes).map(|(head, _)| head)
    }

    /// None of a file that is refused.
    fn rows(&self, bytes: &[u8]) -> std::vec::IntoIter<ResultRow<'static>> {
        self.read_whole("", bytes).map(|(_, rows)| rows).unwrap_or_default().into_iter()
    }
}

impl<A: Answers + ?Sized> ReadWhole for A {}

fn leaked(text: &str) -> &'static str {
    text.to_owned().leak()
}

fn kept(row: ResultRow<'_>) -> ResultRow<'static> {
    match row {
        ResultRow::Read { line_no, order_no, amount, code, reason, gateway_txn_no, settled_at } => ResultRow::Read {
            line_no,
            order_no: leaked(order_no),
            amount,
            code: leaked(code),
            reason: reason.into_owned().into(),
            gateway_txn_no: gateway_txn_no.map(leaked),
            settled_at,
        },
        ResultRow::Refund { line_no, order_no, gateway_txn_no, refund_no, amount, state, refunded_at } => {
            ResultRow::Refund {
                line_no,
                order_no: leaked(order_no),
                gateway_txn_no: gateway_txn_no.map(leaked),
                refund_no: leaked(refund_no),
                amount,
                state,
                refunded_at,
            }
        }
        ResultRow::Movement { line_no, movement_no, order_no, amount, direction } => ResultRow::Movement {
            line_no,
            movement_no: leaked(movement_no),
            order_no: order_no.map(leaked),
            amount,
            direction,
        },
        ResultRow::Unparsable { line_no, column, reason } => ResultRow::Unparsable { line_no, column, reason },
    }
}
