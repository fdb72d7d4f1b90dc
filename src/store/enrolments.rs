//! Enrolments: the newest known of each (payer, insurance type).

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{PgConnection, Row};

use super::Stored;
use crate::domain::amount_setting::FactOrder;

/// What the rules need to know of an enrolment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    pub division_code: String,
    pub category: Option<String>,
    pub order: FactOrder,
}

/// A row to be written; the personal columns are encrypted already.
#[derive(Debug)]
pub struct EnrolmentRow {
    pub payer_id: String,
    pub insurance_type: String,
    pub status: String,
    pub effective_on: NaiveDate,
    pub name: Vec<u8>,
    pub id_type: String,
    pub id_number: Vec<u8>,
    pub id_number_hash: Vec<u8>,
    pub enrolment: Enrolment,
    pub stored: Stored,
}

/// The enrolments of the given keys, as (payer, insurance type, enrolment).
pub async fn load(
    tx: &mut PgConnection,
    payers: &[&str],
    types: &[&str],
) -> sqlx::Result<Vec<(String, String, Enrolment)>> {
    let rows = sqlx::query(
        "SELECT e.payer_id, e.insurance_type, e.division_code, e.category, e.fact_time, e.fact_id
         FROM unnest($1::text[], $2::text[]) AS k (payer_id, insurance_type)
         JOIN enrolments e ON e.payer_id = k.payer_id AND e.insurance_type = k.insurance_type",
    )
    .bind(payers)
    .bind(types)
    .fetch_all(tx)
    .await?;
    Ok(rows.iter().map(decode).collect())
}

fn decode(row: &sqlx::postgres::PgRow) -> (String, String, Enrolment) {
    let order = FactOrder { time: row.get(4), id: row.get(5) };
    (row.get(0), row.get(1), Enrolment { division_code: row.get(2), category: row.get(3), order })
}

/// Replaces what is stored of a key.
const REPLACE: &str = "ON CONFLICT (payer_id, insurance_type) DO UPDATE SET
    status = excluded.status, effective_on = excluded.effective_on, name = excluded.name, id_type = excluded.id_type,
    id_number = excluded.id_number, id_number_hash = excluded.id_number_hash, division_code = excluded.division_code,
    category = excluded.category, fact_time = excluded.fact_time, fact_id = excluded.fact_id";

/// Writes the newest word of each key (at most one row a key), all of them stored alike.
pub async fn write(tx: &mut PgConnection, rows: &[&EnrolmentRow], stored: Stored) -> sqlx::Result<()> {
    let replace = match stored {
        Stored::Not => "",
        Stored::Before => REPLACE,
    };
    let sql = format!(
        "INSERT INTO enrolments (payer_id, insurance_type, status, effective_on, name, id_type, id_number, id_number_hash,
                                 division_code, category, fact_time, fact_id)
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::date[], $5::bytea[], $6::text[], $7::bytea[], $8::bytea[],
                              $9::text[], $10::text[], $11::timestamptz[], $12::text[])
         {replace}"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(rows.iter().map(|row| row.payer_id.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.insurance_type.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.status.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.effective_on).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.name.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.id_type.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.id_number.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.id_number_hash.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.enrolment.division_code.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.enrolment.category.as_deref()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.enrolment.order.time).collect::<Vec<DateTime<Utc>>>())
        .bind(rows.iter().map(|row| row.enrolment.order.id.as_str()).collect::<Vec<_>>())
        .execute(tx)
        .await
        .map(drop)
}

/// What was known of these enrolments before the newest word, as (payer, insurance type, enrolment), oldest first.
pub async fn earlier(
    tx: &mut PgConnection,
    payers: &[&str],
    types: &[&str],
) -> sqlx::Result<Vec<(String, String, Enrolment)>> {
    let rows = sqlx::query(
        "SELECT e.payer_id, e.insurance_type, e.division_code, e.category, e.fact_time, e.fact_id
         FROM unnest($1::text[], $2::text[]) AS k (payer_id, insurance_type)
         JOIN earlier_enrolments e ON e.payer_id = k.payer_id AND e.insurance_type = k.insurance_type
         ORDER BY e.fact_time, e.fact_id",
    )
    .bind(payers)
    .bind(types)
    .fetch_all(tx)
    .await?;
    Ok(rows.iter().map(decode).collect())
}

/// Keeps what is no longer, or never was, the newest word.
pub async fn insert_earlier(tx: &mut PgConnection, rows: &[(String, String, Enrolment)]) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO earlier_enrolments (payer_id, insurance_type, division_code, category, fact_time, fact_id)
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::text[])",
    )
    .bind(rows.iter().map(|row| row.0.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.1.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.2.division_code.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.2.category.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.2.order.time).collect::<Vec<DateTime<Utc>>>())
    .bind(rows.iter().map(|row| row.2.order.id.as_str()).collect::<Vec<_>>())
    .execute(tx)
    .await
    .map(drop)
}
