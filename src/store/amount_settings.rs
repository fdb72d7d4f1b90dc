//! Amount settings and voids of (payer, insurance type, valid year), with what else the rules ask about a year:
//! whether it is paid, and which file it is in.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::{PgConnection, Row};

use super::Stored;
use crate::domain::amount_setting::{FactOrder, SettingState, Version, YearHistory};
use crate::domain::money::Money;
use crate::domain::period::Month;

/// (payer, insurance type, valid year)
pub type YearKey = (String, String, i16);

/// A year as stored.
#[derive(Debug, Clone, Default)]
pub struct YearRecord {
    pub history: YearHistory,
    /// For each version: why it is held, and the sequence of the last event when it was written.
    pub marks: BTreeMap<FactOrder, (Option<String>, i64)>,
    /// What is stored of each version that may change: state, why it is held, sequence.
    pub stored: BTreeMap<FactOrder, (SettingState, Option<String>, i64)>,
    /// Sequence of the last event about the year.
    pub sequence: i64,
    /// A settlement of the whole year is booked.
    pub paid: bool,
    /// The live attempt of a sealed run, and its file once there is one.
    pub out: Option<(String, Option<String>)>,
}

/// A version to be written as it is now.
#[derive(Debug)]
pub struct SettingRow {
    pub key: YearKey,
    pub version: Version,
    pub hold_reason: Option<String>,
    pub sequence: i64,
}

#[derive(Debug)]
pub struct VoidRow {
    pub key: YearKey,
    pub order: FactOrder,
    pub channel: String,
}

struct Keys<'a> {
    payers: Vec<&'a str>,
    types: Vec<&'a str>,
    years: Vec<i16>,
}

impl<'a> Keys<'a> {
    fn of(keys: impl Iterator<Item = &'a YearKey>) -> Keys<'a> {
        let mut arrays = Keys { payers: vec![], types: vec![], years: vec![] };
        for (payer, insurance_type, year) in keys {
            arrays.payers.push(payer);
            arrays.types.push(insurance_type);
            arrays.years.push(*year);
        }
        arrays
    }
}

/// Everything known of the given years; a year nothing is known of comes back empty.
pub async fn load(tx: &mut PgConnection, keys: &[YearKey]) -> sqlx::Result<BTreeMap<YearKey, YearRecord>> {
    let mut years: BTreeMap<YearKey, YearRecord> =
        keys.iter().map(|key| (key.clone(), YearRecord::default())).collect();
    if keys.is_empty() {
        return Ok(years);
    }
    let arrays = Keys::of(keys.iter());
    let rows = sqlx::query(
        "SELECT s.payer_id, s.insurance_type, s.valid_year, s.fact_time, s.fact_id, s.amount, s.channel, s.state, s.hold_reason, s.sequence,
                s.period_from
         FROM unnest($1::text[], $2::text[], $3::smallint[]) AS k (payer_id, insurance_type, valid_year)
         JOIN amount_settings s USING (payer_id, insurance_type, valid_year)
         ORDER BY s.fact_time, s.fact_id",
    )
    .bind(&arrays.payers)
    .bind(&arrays.types)
    .bind(&arrays.years)
    .fetch_all(&mut *tx)
    .await?;
    for row in rows {
        let Some(year) = years.get_mut(&(row.get(0), row.get(1), row.get(2))) else { continue };
        let order = FactOrder { time: row.get(3), id: row.get(4) };
        let sequence: i64 = row.get(9);
        year.sequence = year.sequence.max(sequence);
        let state = SettingState::parse(row.get(7)).ok_or_else(|| impossible("amount_settings.state"))?;
        year.marks.insert(order.clone(), (row.get(8), sequence));
        year.stored.insert(order.clone(), (state, row.get(8), sequence));
        year.history.versions.push(Version {
            order,
            amount: decode_money(row.get(5))?,
            period_from: row.get::<Option<&str>, _>(10).map(month).transpose()?,
            channel: row.get(6),
            state,
        });
    }
    // What most years have none of, in one statement: a word to stop (time, id), what is booked (sequence, whole year), what
    // is out (order, file).
    let rows = sqlx::query(
        "WITH k AS MATERIALIZED (SELECT * FROM unnest($1::text[], $2::text[], $3::smallint[]) AS k (payer_id, insurance_type, valid_year))
         SELECT 'void', v.payer_id, v.insurance_type, v.valid_year, v.fact_time, v.fact_id, NULL::bigint, NULL::boolean, NULL
         FROM k JOIN amount_voids v USING (payer_id, insurance_type, valid_year)
         UNION ALL
         SELECT 'booked', s.payer_id, s.insurance_type, s.valid_year, NULL, NULL, max(s.amount_sequence),
                bool_or(s.period_from <> s.period_to AND r.order_no IS NULL), NULL
         FROM k JOIN settlements s USING (payer_id, insurance_type, valid_year)
         LEFT JOIN reversals r ON r.order_no = s.order_no AND r.payer_id = s.payer_id AND r.item = s.item
         WHERE s.kind = 'normal'
         GROUP BY 2, 3, 4
         UNION ALL
         SELECT 'out', k.payer_id, k.insurance_type, k.valid_year, NULL, a.order_no, NULL, NULL, f.file_name
         FROM k
         JOIN declarations d ON d.payer_id = k.payer_id AND d.insurance_type = k.insurance_type AND d.kind = 'normal'
             AND left(d.period_from, 4) = k.valid_year::text AND d.state = 'paying'
         JOIN attempts a ON a.payer_id = d.payer_id AND a.declaration_no = d.declaration_no AND a.state IN ('planned', 'unknown')
         JOIN runs r ON r.run_id = a.run_id AND r.sealed_at IS NOT NULL
         LEFT JOIN request_files f ON f.run_id = a.run_id AND f.lane = a.lane
             AND a.order_no BETWEEN f.first_order_no AND f.last_order_no
         WHERE NOT EXISTS (SELECT FROM settlements s WHERE s.order_no = a.order_no AND s.payer_id = a.payer_id)",
    )
    .bind(&arrays.payers)
    .bind(&arrays.types)
    .bind(&arrays.years)
    .fetch_all(&mut *tx)
    .await?;
    for row in rows {
        let Some(year) = years.get_mut(&(row.get(1), row.get(2), row.get(3))) else { continue };
        match row.get(0) {
            "void" => year.history.voids.push(FactOrder { time: row.get(4), id: row.get(5) }),
            "booked" => {
                year.sequence = year.sequence.max(row.get::<Option<i64>, _>(6).unwrap_or(0));
                year.paid = row.get(7);
            }
            "out" => year.out = year.out.take().max(Some((row.get(5), row.get(8)))),
            _ => return Err(impossible("the kind of a row about a year")),
        }
    }
    years.values_mut().for_each(|year| year.history.voids.sort());
    Ok(years)
}

/// What was last paid before the given years, where anything was.
pub async fn last_paid(tx: &mut PgConnection, keys: &[YearKey]) -> sqlx::Result<BTreeMap<YearKey, Money>> {
    let arrays = Keys::of(keys.iter());
    let rows: Vec<(String, String, i16, Decimal)> = sqlx::query_as(
        "SELECT DISTINCT ON (k.payer_id, k.insurance_type, k.valid_year) k.payer_id, k.insurance_type, k.valid_year, s.amount
         FROM unnest($1::text[], $2::text[], $3::smallint[]) AS k (payer_id, insurance_type, valid_year)
         JOIN standing_settlements s ON s.payer_id = k.payer_id AND s.insurance_type = k.insurance_type AND s.valid_year < k.valid_year
         WHERE s.kind = 'normal'
         ORDER BY k.payer_id, k.insurance_type, k.valid_year, s.valid_year DESC, s.settled_at DESC",
    )
    .bind(&arrays.payers)
    .bind(&arrays.types)
    .bind(&arrays.years)
    .fetch_all(tx)
    .await?;
    let decoded = |(payer, kind, year, amount)| Ok(((payer, kind, year), decode_money(amount)?));
    rows.into_iter().map(decoded).collect()
}

/// The years of these payers that are held for want of an agreement.
pub async fn held_for_agreement(tx: &mut PgConnection, payers: &[&str]) -> sqlx::Result<Vec<YearKey>> {
    sqlx::query_as(
        "SELECT payer_id, insurance_type, valid_year FROM amount_settings
         WHERE payer_id = ANY ($1) AND hold_reason = 'no_agreement'",
    )
    .bind(payers)
    .fetch_all(tx)
    .await
}

/// Writes versions as they are now, all of them stored alike; those that are may have another state, hold or sequence.
/// What is no longer active comes first: one_active_amount is checked row by row.
pub async fn write(tx: &mut PgConnection, rows: &[SettingRow], stored: Stored) -> sqlx::Result<()> {
    let keys = Keys::of(rows.iter().map(|row| &row.key));
    let replace = match stored {
        Stored::Not => "",
        Stored::Before => {
            "ON CONFLICT (insurance_type, valid_year, payer_id, fact_time, fact_id) DO UPDATE SET
                 state = excluded.state, hold_reason = excluded.hold_reason, sequence = excluded.sequence"
        }
    };
    let sql = format!(
        "INSERT INTO amount_settings (payer_id, insurance_type, valid_year, fact_time, fact_id, amount, channel, state, hold_reason, sequence,
                                      period_from)
         SELECT * FROM unnest($1::text[], $2::text[], $3::smallint[], $4::timestamptz[], $5::text[], $6::numeric[], $7::text[],
                              $8::text[], $9::text[], $10::bigint[], $11::text[])
              AS s (payer_id, insurance_type, valid_year, fact_time, fact_id, amount, channel, state, hold_reason, sequence, period_from)
         ORDER BY s.state = 'active'
         {replace}"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(keys.payers)
        .bind(keys.types)
        .bind(keys.years)
        .bind(rows.iter().map(|row| row.version.order.time).collect::<Vec<DateTime<Utc>>>())
        .bind(rows.iter().map(|row| row.version.order.id.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.version.amount.decimal()).collect::<Vec<Decimal>>())
        .bind(rows.iter().map(|row| row.version.channel.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.version.state.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.hold_reason.as_deref()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.sequence).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.version.period_from.map(|month| month.to_string())).collect::<Vec<_>>())
        .execute(tx)
        .await
        .map(drop)
}

pub async fn insert_voids(tx: &mut PgConnection, rows: &[VoidRow]) -> sqlx::Result<()> {
    let keys = Keys::of(rows.iter().map(|row| &row.key));
    sqlx::query(
        "INSERT INTO amount_voids (payer_id, insurance_type, valid_year, fact_time, fact_id, channel)
         SELECT * FROM unnest($1::text[], $2::text[], $3::smallint[], $4::timestamptz[], $5::text[], $6::text[])",
    )
    .bind(keys.payers)
    .bind(keys.types)
    .bind(keys.years)
    .bind(rows.iter().map(|row| row.order.time).collect::<Vec<DateTime<Utc>>>())
    .bind(rows.iter().map(|row| row.order.id.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.channel.as_str()).collect::<Vec<_>>())
    .execute(tx)
    .await
    .map(drop)
}

fn month(text: &str) -> sqlx::Result<Month> {
    Month::parse(text).ok_or_else(|| impossible("amount_settings.period_from"))
}

/// A sum as the database keeps it; anything else there is our own book contradicting itself.
pub fn decode_money(value: Decimal) -> sqlx::Result<Money> {
    Money::from_decimal(value).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// A value that the column's CHECK excludes.
pub fn impossible(column: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("impossible value in {column}").into())
}
