//! Withholding agreements: the newest known of each (payer, agreement number).

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::{PgConnection, Row};

use super::Stored;
use crate::domain::amount_setting::FactOrder;

/// A row to be written; account and name are encrypted already.
#[derive(Debug)]
pub struct AgreementRow {
    pub payer_id: String,
    pub agreement_no: String,
    pub gateway: String,
    pub bank_code: String,
    pub account_no: Vec<u8>,
    pub account_name: Vec<u8>,
    pub status: String,
    pub batch_enabled: bool,
    pub insurance_types: Vec<String>,
    pub amount_max: Option<Decimal>,
    pub order: FactOrder,
    pub stored: Stored,
}

/// The newest known word of each of the given agreements, as (payer, agreement number, order).
pub async fn load(
    tx: &mut PgConnection,
    payers: &[&str],
    numbers: &[&str],
) -> sqlx::Result<Vec<(String, String, FactOrder)>> {
    let rows = sqlx::query(
        "SELECT a.payer_id, a.agreement_no, a.fact_time, a.fact_id
         FROM unnest($1::text[], $2::text[]) AS k (payer_id, agreement_no)
         JOIN agreements a ON a.payer_id = k.payer_id AND a.agreement_no = k.agreement_no",
    )
    .bind(payers)
    .bind(numbers)
    .fetch_all(tx)
    .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), FactOrder { time: row.get(2), id: row.get(3) })).collect())
}

/// Replaces what is stored of a key.
const REPLACE: &str = "ON CONFLICT (payer_id, agreement_no) DO UPDATE SET
    gateway = excluded.gateway, bank_code = excluded.bank_code, account_no = excluded.account_no,
    account_name = excluded.account_name, status = excluded.status, batch_enabled = excluded.batch_enabled,
    insurance_types = excluded.insurance_types, amount_max = excluded.amount_max,
    fact_time = excluded.fact_time, fact_id = excluded.fact_id";

/// Writes the newest word of each agreement (at most one row a key), all of them stored alike.
pub async fn write(tx: &mut PgConnection, rows: &[&AgreementRow], stored: Stored) -> sqlx::Result<()> {
    let replace = match stored {
        Stored::Not => "",
        Stored::Before => REPLACE,
    };
    // unnest flattens arrays of arrays, so the scope travels as one text with a separator no short text can hold.
    let scopes: Vec<String> = rows.iter().map(|row| row.insurance_types.join("\n")).collect();
    let sql = format!(
        "INSERT INTO agreements (payer_id, agreement_no, gateway, bank_code, account_no, account_name, status, batch_enabled,
                                 insurance_types, amount_max, fact_time, fact_id)
         SELECT payer_id, agreement_no, gateway, bank_code, account_no, account_name, status, batch_enabled,
                string_to_array(scope, E'\n'), amount_max, fact_time, fact_id
         FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::bytea[], $7::text[], $8::bool[],
                     $9::text[], $10::numeric[], $11::timestamptz[], $12::text[])
              AS a (payer_id, agreement_no, gateway, bank_code, account_no, account_name, status, batch_enabled,
                    scope, amount_max, fact_time, fact_id)
         {replace}"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(rows.iter().map(|row| row.payer_id.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.agreement_no.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.gateway.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.bank_code.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.account_no.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.account_name.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.status.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.batch_enabled).collect::<Vec<_>>())
        .bind(scopes)
        .bind(rows.iter().map(|row| row.amount_max).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.order.time).collect::<Vec<DateTime<Utc>>>())
        .bind(rows.iter().map(|row| row.order.id.as_str()).collect::<Vec<_>>())
        .execute(tx)
        .await
        .map(drop)
}
