//! Discrepancies that a message opens. Those of result files are opened by the set statements of `result_files`.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;

use crate::domain::discrepancy::DiscrepancyKind;
use crate::domain::money::Money;
use crate::domain::order::Gateway;

/// What a channel reported and our book does not bear out.
#[derive(Debug, Clone)]
pub struct ReportedDiscrepancy {
    pub kind: DiscrepancyKind,
    pub gateway: Gateway,
    pub message_source: String,
    pub message_id: String,
    pub order_no: String,
    pub payer_id: Option<String>,
    pub declaration_no: Option<String>,
    pub amount: Money,
    pub code: Option<String>,
    pub gateway_txn_no: Option<String>,
    /// The gateway's time.
    pub settled_at: Option<DateTime<Utc>>,
}

/// Opens them, except what is open already. Returns the number of each that was opened, with its place in `rows`, from 1.
pub async fn open(
    tx: &mut PgConnection,
    opened_at: DateTime<Utc>,
    rows: &[&ReportedDiscrepancy],
) -> sqlx::Result<Vec<(i64, i64)>> {
    sqlx::query_as(
        "WITH given AS MATERIALIZED (
             SELECT k.*, nextval(pg_get_serial_sequence('discrepancies', 'discrepancy_id')) AS discrepancy_id
             FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::numeric[], $10::text[],
                         $11::text[], $12::timestamptz[])
                  WITH ORDINALITY
                  AS k (kind, gateway, message_source, message_id, order_no, payer_id, declaration_no, amount, code, gateway_txn_no, settled_at, place)
             WHERE NOT EXISTS (SELECT FROM discrepancies d
                               WHERE d.order_no = k.order_no AND d.state = 'open' AND d.kind = k.kind
                                 AND d.declaration_no IS NOT DISTINCT FROM k.declaration_no
                                 AND d.gateway_txn_no IS NOT DISTINCT FROM k.gateway_txn_no)
         ), opened AS (
             INSERT INTO discrepancies (discrepancy_id, kind, gateway, bank_code, message_source, message_id, order_no, payer_id,
                                        declaration_no, amount_ours, amount_theirs, code, gateway_txn_no, settled_at,
                                        opened_at)
             OVERRIDING SYSTEM VALUE
             SELECT discrepancy_id, kind, gateway, '', message_source, message_id, order_no, payer_id, declaration_no, amount, amount,
                    code, gateway_txn_no, settled_at, $1
             FROM given)
         SELECT discrepancy_id, place FROM given ORDER BY place",
    )
    .bind(opened_at)
    .bind(rows.iter().map(|row| row.kind.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.gateway.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.message_source.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.message_id.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.order_no.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.payer_id.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.declaration_no.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.amount.decimal()).collect::<Vec<Decimal>>())
    .bind(rows.iter().map(|row| row.code.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.gateway_txn_no.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.settled_at).collect::<Vec<_>>())
    .fetch_all(tx)
    .await
}
