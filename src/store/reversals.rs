//! Settlements whose money went back. Whoever finds that out, by a row of a result file or by a person's decision, books
//! it here: the attempt and the declaration go along, and the obligation may be declared anew.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;

/// A settlement that is to be reversed, with its one piece of evidence.
#[derive(Debug, Clone)]
pub struct NewReversal<'a> {
    pub order_no: &'a str,
    pub payer_id: &'a str,
    pub item: i16,
    pub evidence: Evidence,
    /// Of the refund, where the gateway gives it a number of its own.
    pub gateway_txn_no: Option<&'a str>,
    /// The gateway's time, or that of the decision.
    pub reversed_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    Line { result_file_id: i64, line_no: i64 },
    Decision(i64),
}

impl Evidence {
    fn line(self) -> Option<(i64, i64)> {
        match self {
            Evidence::Line { result_file_id, line_no } => Some((result_file_id, line_no)),
            Evidence::Decision(_) => None,
        }
    }

    fn decision(self) -> Option<i64> {
        match self {
            Evidence::Line { .. } => None,
            Evidence::Decision(decision_id) => Some(decision_id),
        }
    }
}

/// What was reversed, as its events show it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Reversed {
    pub order_no: String,
    pub payer_id: String,
    pub item: i16,
    pub declaration_no: String,
    pub insurance_type: String,
    pub kind: String,
    pub period_from: String,
    pub period_to: String,
    pub amount: Decimal,
    pub channel: String,
    pub gateway: String,
    pub bank_code: String,
    /// Of the payment.
    pub gateway_txn_no: Option<String>,
    pub settled_at: DateTime<Utc>,
    pub reversed_at: DateTime<Utc>,
    /// Of the event payment.reversed.
    pub sequence: i64,
    /// Of the event declaration.reversed.
    pub declaration_sequence: i64,
}

/// Books reversals; what is reversed already is passed over. The caller owns the gate.
pub async fn reverse(
    tx: &mut PgConnection,
    booked_at: DateTime<Utc>,
    rows: &[NewReversal<'_>],
) -> sqlx::Result<Vec<Reversed>> {
    sqlx::query_as(include_str!("sql/reverse.sql"))
        .bind(rows.iter().map(|row| row.order_no).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.payer_id).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.item).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.evidence.line().map(|(file, _)| file)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.evidence.line().map(|(_, line)| line)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.evidence.decision()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.gateway_txn_no).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.reversed_at).collect::<Vec<_>>())
        .bind(booked_at)
        .fetch_all(tx)
        .await
}
