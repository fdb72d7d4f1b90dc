//! The opening of a year, in which last year's amounts are carried over, and its end, at which amounts expire.

use std::sync::LazyLock;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::{AssertSqlSafe, PgConnection};

use super::outbox::{CHUNK_MAX, Range};
use super::plans::{self, Payers, RangeRules, Scope};

/// Whose year it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnKey {
    pub region: String,
    pub insurance_type: String,
    pub valid_year: i16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Opening,
    Expiry,
}

impl What {
    pub fn as_str(self) -> &'static str {
        match self {
            What::Opening => "opening",
            What::Expiry => "expiry",
        }
    }
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Turn {
    pub turn_id: i64,
    pub state: String,
    pub through: String,
    pub amounts: i64,
    pub held: i64,
    pub looked_on: Option<NaiveDate>,
}

impl Turn {
    pub fn is_done(&self) -> bool {
        self.state == "done"
    }
}

/// What carrying depends on besides the rules of the range.
#[derive(Debug, Clone, Copy)]
pub struct CarryRules {
    /// After a void what was last paid is carried, else nothing.
    pub after_void_last_paid: bool,
    pub is_base_rate: bool,
}

pub(super) const CARRYING: &str = include_str!("sql/carrying.sql");

static CARRY: LazyLock<String> =
    LazyLock::new(|| include_str!("sql/carry_range.sql").replace("{carrying}", CARRYING.trim_end()));

pub async fn find(connection: &mut PgConnection, key: &TurnKey, what: What) -> sqlx::Result<Option<Turn>> {
    sqlx::query_as(
        "SELECT turn_id, state, through, amounts, held, looked_on FROM year_turns
         WHERE region = $1 AND insurance_type = $2 AND valid_year = $3 AND what = $4",
    )
    .bind(&key.region)
    .bind(&key.insurance_type)
    .bind(key.valid_year)
    .bind(what.as_str())
    .fetch_optional(connection)
    .await
}

/// The turn, locked, made if there is none yet: whoever comes second goes on behind the first.
pub async fn lock(tx: &mut PgConnection, key: &TurnKey, what: What, now: DateTime<Utc>) -> sqlx::Result<Turn> {
    sqlx::query(
        "INSERT INTO year_turns (region, insurance_type, valid_year, what, begun_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT ON CONSTRAINT a_year_turns_once DO NOTHING",
    )
    .bind(&key.region)
    .bind(&key.insurance_type)
    .bind(key.valid_year)
    .bind(what.as_str())
    .bind(now)
    .execute(&mut *tx)
    .await?;
    sqlx::query_as(
        "SELECT turn_id, state, through, amounts, held, looked_on FROM year_turns
         WHERE region = $1 AND insurance_type = $2 AND valid_year = $3 AND what = $4 FOR UPDATE",
    )
    .bind(&key.region)
    .bind(&key.insurance_type)
    .bind(key.valid_year)
    .bind(what.as_str())
    .fetch_one(tx)
    .await
}

/// Which years have begun to open, or to end: (region, insurance type, valid year).
pub async fn begun(connection: &mut PgConnection, what: What) -> sqlx::Result<Vec<(String, String, i16)>> {
    sqlx::query_as("SELECT region, insurance_type, valid_year FROM year_turns WHERE what = $1")
        .bind(what.as_str())
        .fetch_all(connection)
        .await
}

/// The last payer of the next range of at most `limit` payers with an amount for a year.
pub async fn range_end(
    connection: &mut PgConnection,
    insurance_type: &str,
    valid_year: i16,
    after: &str,
    limit: i64,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar(
        "SELECT max(payer_id) FROM (SELECT DISTINCT payer_id FROM amount_settings
                                    WHERE insurance_type = $1 AND valid_year = $2 AND payer_id > $3
                                    ORDER BY payer_id LIMIT $4) r",
    )
    .bind(insurance_type)
    .bind(valid_year)
    .bind(after)
    .bind(limit)
    .fetch_one(connection)
    .await
}

/// How many amounts a range had, and of a carried one how many are held, of an ended one how many are still out.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub struct RangeTurned {
    pub amounts: i64,
    pub held: i64,
}

/// Carries a range over. See `sql/carry_range.sql`.
pub async fn carry_range(
    tx: &mut PgConnection,
    turn: &Turn,
    scope: &Scope,
    range_end: &str,
    rules: &RangeRules,
    carry: CarryRules,
    now: DateTime<Utc>,
) -> sqlx::Result<RangeTurned> {
    plans::set_for_ranges(tx).await?;
    let payers = Payers { after: &turn.through, up_to: range_end };
    let query = sqlx::query_as(AssertSqlSafe(CARRY.as_str()));
    let turned: RangeTurned = plans::judged_by(query, scope, payers, rules)
        .bind(carry.after_void_last_paid)
        .bind(carry.is_base_rate)
        .bind(turn.turn_id)
        .bind(now)
        .bind(CHUNK_MAX as i64)
        .fetch_one(&mut *tx)
        .await?;
    plans::reset_for_ranges(tx).await?;
    advance(tx, turn, range_end, turned).await?;
    Ok(turned)
}

/// Ends a range. See `sql/expire_range.sql`.
pub async fn expire_range(
    tx: &mut PgConnection,
    turn: &Turn,
    key: &TurnKey,
    range_end: &str,
    region: (&str, &[String]),
    now: DateTime<Utc>,
) -> sqlx::Result<RangeTurned> {
    let (division_prefix, cut_out) = region;
    let turned: RangeTurned = sqlx::query_as(include_str!("sql/expire_range.sql"))
        .bind(&key.insurance_type)
        .bind(key.valid_year)
        .bind(&turn.through)
        .bind(range_end)
        .bind(plans::pattern(division_prefix))
        .bind(cut_out.iter().map(|prefix| plans::pattern(prefix)).collect::<Vec<_>>())
        .bind(turn.turn_id)
        .bind(now)
        .bind(CHUNK_MAX as i64)
        .fetch_one(&mut *tx)
        .await?;
    advance(tx, turn, range_end, turned).await?;
    Ok(turned)
}

async fn advance(tx: &mut PgConnection, turn: &Turn, through: &str, turned: RangeTurned) -> sqlx::Result<()> {
    sqlx::query("UPDATE year_turns SET through = $2, amounts = amounts + $3, held = held + $4 WHERE turn_id = $1")
        .bind(turn.turn_id)
        .bind(through)
        .bind(turned.amounts)
        .bind(turned.held)
        .execute(tx)
        .await
        .map(drop)
}

pub async fn set_done(tx: &mut PgConnection, turn_id: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query("UPDATE year_turns SET state = 'done', done_at = $2 WHERE turn_id = $1")
        .bind(turn_id)
        .bind(now)
        .execute(tx)
        .await
        .map(drop)
}

/// All payers were looked at and some wait for an attempt: another day it begins anew.
pub async fn set_looked(tx: &mut PgConnection, turn_id: i64, on: NaiveDate) -> sqlx::Result<()> {
    sqlx::query("UPDATE year_turns SET through = '', held = 0, looked_on = $2 WHERE turn_id = $1")
        .bind(turn_id)
        .bind(on)
        .execute(tx)
        .await
        .map(drop)
}

/// Whether anything was said of a year.
pub async fn any_amounts(connection: &mut PgConnection, insurance_type: &str, valid_year: i16) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM amount_settings WHERE insurance_type = $1 AND valid_year = $2)")
        .bind(insurance_type)
        .bind(valid_year)
        .fetch_one(connection)
        .await
}

/// An amount that a year's turn carried over or ended, for its event.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct TurnedRow {
    pub payer_id: String,
    pub insurance_type: String,
    pub valid_year: i16,
    pub amount: Decimal,
    pub channel: String,
    pub hold_reason: Option<String>,
    pub sequence: i64,
}

/// Amounts carried over in a turn, between two payers.
pub async fn carried(connection: &mut PgConnection, range: &Range) -> sqlx::Result<Vec<TurnedRow>> {
    rows(
        connection,
        "SELECT c.payer_id, c.insurance_type, c.valid_year, c.amount, 'carried_over' AS channel, c.hold_reason, 1::bigint AS sequence
         FROM year_turns t
         JOIN carried_amounts c ON c.insurance_type = t.insurance_type AND c.valid_year = t.valid_year AND c.turn_id = t.turn_id
         WHERE t.turn_id = $1 AND c.payer_id BETWEEN $2 AND $3
         ORDER BY c.payer_id",
        range,
    )
    .await
}

/// Amounts that expired in a turn at one time, between two payers.
pub async fn expired(connection: &mut PgConnection, range: &Range) -> sqlx::Result<Vec<TurnedRow>> {
    sqlx::query_as(
        "SELECT x.payer_id, x.insurance_type, x.valid_year, x.amount, x.channel, NULL AS hold_reason, x.sequence
         FROM year_turns t
         JOIN expired_amounts x ON x.insurance_type = t.insurance_type AND x.valid_year = t.valid_year AND x.turn_id = t.turn_id
         WHERE t.turn_id = $1 AND x.payer_id BETWEEN $2 AND $3 AND x.expired_at = $4
         ORDER BY x.payer_id",
    )
    .bind(range.scope_id)
    .bind(&range.first_key)
    .bind(&range.last_key)
    // An expiry goes over the payers again until nothing is out: what ends at another time is another chunk's.
    .bind(range.created_at)
    .fetch_all(connection)
    .await
}

async fn rows(connection: &mut PgConnection, sql: &'static str, range: &Range) -> sqlx::Result<Vec<TurnedRow>> {
    sqlx::query_as(sql).bind(range.scope_id).bind(&range.first_key).bind(&range.last_key).fetch_all(connection).await
}
