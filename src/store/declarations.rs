//! Declarations, as intake reads and writes them. Runs and reconciliation move them in their own set statements.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::amount_settings::{decode_money, impossible};
use super::plans::OUTDATED;
use crate::domain::declaration::{CollectBy, DeclarationState, Kind, Obligation};
use crate::domain::money::Money;
use crate::domain::period::{Month, Period};

/// A declaration and what else the rules ask about it.
#[derive(Debug, Clone)]
pub struct Declaration {
    pub declaration_no: String,
    pub payer_id: String,
    pub insurance_type: String,
    pub obligation: Obligation,
    pub amount: Money,
    pub channel: String,
    pub collect_by: CollectBy,
    pub state: DeclarationState,
    pub submitted_at: DateTime<Utc>,
    /// Of the last event about it.
    pub sequence: i64,
    /// A settlement of it is booked, and stands.
    pub paid: bool,
    /// A person has still to decide whether money moved for it.
    pub disputed: bool,
}

const COLUMNS: &str = "d.declaration_no, d.payer_id, d.insurance_type, d.kind, d.period_from, d.period_to, d.assessment_no, d.amount, \
                       d.channel, d.collect_by, d.state, d.submitted_at, greatest(d.sequence, s.declaration_sequence), \
                       s.order_no IS NOT NULL AND d.state <> 'reversed', EXISTS (SELECT FROM discrepancies c WHERE c.declaration_no = d.declaration_no \
                           AND c.payer_id = d.payer_id AND c.state = 'open')";
const SETTLED: &str = "LEFT JOIN settlements s ON s.payer_id = d.payer_id AND s.insurance_type = d.insurance_type \
                       AND s.period_from = d.period_from AND s.declaration_no = d.declaration_no";

fn decode(row: &PgRow) -> sqlx::Result<Declaration> {
    Ok(Declaration {
        declaration_no: row.get(0),
        payer_id: row.get(1),
        insurance_type: row.get(2),
        obligation: Obligation {
            kind: Kind::parse(row.get(3)).ok_or_else(|| impossible("declarations.kind"))?,
            period: decode_period(row.get(4), row.get(5))?,
            assessment_no: row.get(6),
        },
        amount: decode_money(row.get(7))?,
        channel: row.get(8),
        collect_by: if row.get::<&str, _>(9) == "batch" { CollectBy::Batch } else { CollectBy::Online },
        state: DeclarationState::parse(row.get(10)).ok_or_else(|| impossible("declarations.state"))?,
        submitted_at: row.get(11),
        sequence: row.get(12),
        paid: row.get(13),
        disputed: row.get(14),
    })
}

/// Two `yyyymm` as the database keeps them.
pub fn decode_period(from: &str, to: &str) -> sqlx::Result<Period> {
    let month = |text| Month::parse(text).ok_or_else(|| impossible("period"));
    Ok(Period { from: month(from)?, to: month(to)? })
}

/// Whose declarations these are, as far as they are known.
pub async fn payers(tx: &mut PgConnection, numbers: &[&str]) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar("SELECT DISTINCT payer_id FROM declarations WHERE declaration_no = ANY ($1)")
        .bind(numbers)
        .fetch_all(tx)
        .await
}

/// Those of the numbers that exist.
pub async fn by_number(tx: &mut PgConnection, numbers: &[&str]) -> sqlx::Result<Vec<Declaration>> {
    let sql = format!("SELECT {COLUMNS} FROM declarations d {SETTLED} WHERE d.declaration_no = ANY ($1)");
    sqlx::query(AssertSqlSafe(sql)).bind(numbers).fetch_all(tx).await?.iter().map(decode).collect()
}

/// The live declarations of the given obligations.
pub async fn live(tx: &mut PgConnection, keys: &[(&str, &str, &Obligation)]) -> sqlx::Result<Vec<Declaration>> {
    let sql = format!(
        "SELECT {COLUMNS}
         FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
              AS k (payer_id, insurance_type, period_from, period_to, kind, assessment_no)
         JOIN declarations d ON d.payer_id = k.payer_id AND d.insurance_type = k.insurance_type AND d.period_from = k.period_from
             AND d.period_to = k.period_to AND d.kind = k.kind AND d.assessment_no = k.assessment_no
         {SETTLED}
         WHERE d.state NOT IN ('voided', 'rejected', 'reversed')"
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(keys.iter().map(|key| key.0).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.1).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.2.period.from.to_string()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.2.period.to.to_string()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.2.kind.as_str()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.2.assessment_no.as_str()).collect::<Vec<_>>())
        .fetch_all(tx)
        .await?
        .iter()
        .map(decode)
        .collect()
}

/// The live declarations under the given assessments.
pub async fn under(tx: &mut PgConnection, payers: &[&str], assessments: &[&str]) -> sqlx::Result<Vec<Declaration>> {
    let sql = format!(
        "SELECT {COLUMNS}
         FROM unnest($1::text[], $2::text[]) AS k (payer_id, assessment_no)
         JOIN declarations d ON d.payer_id = k.payer_id AND d.assessment_no = k.assessment_no AND d.kind = 'special'
         {SETTLED}
         WHERE d.state NOT IN ('voided', 'rejected', 'reversed')"
    );
    sqlx::query(AssertSqlSafe(sql)).bind(payers).bind(assessments).fetch_all(tx).await?.iter().map(decode).collect()
}

pub async fn insert(tx: &mut PgConnection, rows: &[&Declaration]) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO declarations (declaration_no, payer_id, insurance_type, period_from, period_to, kind, assessment_no,
                                   amount, channel, collect_by, state, submitted_at, sequence)
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                              $8::numeric[], $9::text[], $10::text[], $11::text[], $12::timestamptz[], $13::bigint[])",
    )
    .bind(rows.iter().map(|row| row.declaration_no.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.payer_id.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.insurance_type.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.obligation.period.from.to_string()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.obligation.period.to.to_string()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.obligation.kind.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.obligation.assessment_no.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.amount.decimal()).collect::<Vec<Decimal>>())
    .bind(rows.iter().map(|row| row.channel.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.collect_by.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.state.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.submitted_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.sequence).collect::<Vec<_>>())
    .execute(tx)
    .await
    .map(drop)
}

/// Moves declarations to the state they are in now.
pub async fn update(tx: &mut PgConnection, rows: &[&Declaration]) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE declarations d SET state = k.state, sequence = k.sequence
         FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS k (declaration_no, payer_id, state, sequence)
         WHERE d.declaration_no = k.declaration_no AND d.payer_id = k.payer_id",
    )
    .bind(rows.iter().map(|row| row.declaration_no.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.payer_id.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.state.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.sequence).collect::<Vec<_>>())
    .execute(tx)
    .await
    .map(drop)
}

/// A declaration that changed, for its event.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct DeclarationRecord {
    pub declaration_no: String,
    pub payer_id: String,
    pub insurance_type: String,
    pub kind: String,
    pub period_from: String,
    pub period_to: String,
    pub amount: Decimal,
    pub channel: String,
    pub sequence: i64,
    pub reason: String,
}

static VOID_OUTDATED: LazyLock<String> =
    LazyLock::new(|| include_str!("sql/void_outdated.sql").replace("{outdated}", OUTDATED));

/// Voids, for the payers of one range of a run, what an earlier run filed, failed to collect and whose setting holds no
/// more, and special declarations that are no longer what was assessed.
pub async fn void_outdated(
    tx: &mut PgConnection,
    insurance_type: &str,
    valid_year: i16,
    period_from: &str,
    payers: (&str, &str),
) -> sqlx::Result<Vec<DeclarationRecord>> {
    sqlx::query_as(AssertSqlSafe(VOID_OUTDATED.as_str()))
        .bind(insurance_type)
        .bind(valid_year)
        .bind(period_from)
        .bind(payers.0)
        .bind(payers.1)
        .fetch_all(tx)
        .await
}

/// Whether any of the payers has a declaration that is held. Asked first: an update that finds nothing costs several
/// times as much, for its triggers.
pub async fn any_held(tx: &mut PgConnection, payers: &[&str]) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM declarations WHERE payer_id = ANY ($1) AND hold_reason IS NOT NULL)")
        .bind(payers)
        .fetch_one(tx)
        .await
}

/// A new agreement ends the hold that a final failure put on the payers' declarations.
pub async fn release_held(tx: &mut PgConnection, payers: &[&str]) -> sqlx::Result<()> {
    sqlx::query("UPDATE declarations SET hold_reason = NULL WHERE payer_id = ANY ($1) AND hold_reason IS NOT NULL")
        .bind(payers)
        .execute(tx)
        .await
        .map(drop)
}
