//! What was not understood, kept for a person, and what people decided on it.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

/// Bytes and headers (already encrypted) with the reason they are here.
#[derive(Debug)]
pub struct Quarantined {
    pub origin: String,
    pub code: &'static str,
    pub reason: String,
    pub position: String,
    pub digest: Vec<u8>,
    pub raw: Vec<u8>,
    pub headers: Vec<u8>,
    /// How often it came in this batch.
    pub times: i32,
}

/// What a replay of an entry said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedReplay {
    pub quarantine_id: i64,
    pub code: String,
    pub reason: String,
    pub position: String,
}

/// An entry without its bytes.
#[derive(Debug, Clone)]
pub struct Entry {
    pub quarantine_id: i64,
    pub received_at: DateTime<Utc>,
    pub origin: String,
    pub code: String,
    pub reason: String,
    pub position: String,
    pub state: String,
    pub repeated: i32,
    pub last_received_at: Option<DateTime<Utc>>,
    pub replays: i32,
    /// Code, reason and position of the last replay that was not understood.
    pub last_replay: Option<FailedReplay>,
}

/// Bytes and headers of an entry, encrypted.
#[derive(Debug)]
pub struct Content {
    pub code: String,
    pub digest: Option<Vec<u8>>,
    pub raw: Vec<u8>,
    pub headers: Vec<u8>,
}

/// What somebody did with an entry.
#[derive(Debug, Clone)]
pub struct Decision {
    pub decided_at: DateTime<Utc>,
    pub decided_by: String,
    pub reason: String,
    pub what: String,
    pub outcome: String,
    pub mended: bool,
    /// `code at position: reason` of a replay that was not understood.
    pub fault: Option<String>,
}

/// A decision to be written down; the same words for each of its entries.
#[derive(Debug)]
pub struct NewDecision<'a> {
    pub decided_at: DateTime<Utc>,
    pub decided_by: &'a str,
    pub reason: &'a str,
    pub what: &'static str,
    pub outcome: &'a str,
    pub mended: bool,
    pub fault: Option<&'a FailedReplay>,
}

/// Which entries a list shows; `None` is any.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    pub state: Option<&'a str>,
    pub code: Option<&'a str>,
}

/// Counts what is known and open, and inserts the rest, in one statement. Returns the new ones, as (number, place in
/// `rows`). The digests are distinct and locked, so nobody else inserts or decides on them now.
pub async fn put(
    tx: &mut PgConnection,
    received_at: DateTime<Utc>,
    rows: &[Quarantined],
) -> sqlx::Result<Vec<(i64, usize)>> {
    let new: Vec<(i64, Vec<u8>)> = sqlx::query_as(include_str!("sql/quarantine.sql"))
        .bind(received_at)
        .bind(rows.iter().map(|row| row.origin.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.code).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.reason.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.position.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.digest.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.raw.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.headers.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.times).collect::<Vec<_>>())
        .fetch_all(tx)
        .await?;
    let places: std::collections::HashMap<&[u8], usize> =
        rows.iter().enumerate().map(|(place, row)| (row.digest.as_slice(), place)).collect();
    let mut new: Vec<(i64, usize)> = new.iter().map(|(id, digest)| (*id, places[digest.as_slice()])).collect();
    new.sort_unstable();
    Ok(new)
}

/// Counts replays that were not understood, on their entries. Returns those that are still open, and were counted.
pub async fn count_replays(tx: &mut PgConnection, replays: &[FailedReplay]) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "UPDATE quarantine q SET replays = q.replays + 1, replay_code = r.code, replay_reason = r.reason, replay_position = r.place
         FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS r (quarantine_id, code, reason, place)
         WHERE q.quarantine_id = r.quarantine_id AND q.state = 'open' RETURNING q.quarantine_id",
    )
    .bind(replays.iter().map(|replay| replay.quarantine_id).collect::<Vec<_>>())
    .bind(replays.iter().map(|replay| replay.code.as_str()).collect::<Vec<_>>())
    .bind(replays.iter().map(|replay| replay.reason.as_str()).collect::<Vec<_>>())
    .bind(replays.iter().map(|replay| replay.position.as_str()).collect::<Vec<_>>())
    .fetch_all(tx)
    .await
}

const ENTRY: &str = "quarantine_id, received_at, origin, code, reason, position, state, repeated, last_received_at,
    replays, replay_code, replay_reason, replay_position";

fn entry(row: &PgRow) -> Entry {
    let quarantine_id = row.get("quarantine_id");
    let code: Option<String> = row.get("replay_code");
    Entry {
        quarantine_id,
        received_at: row.get("received_at"),
        origin: row.get("origin"),
        code: row.get("code"),
        reason: row.get("reason"),
        position: row.get("position"),
        state: row.get("state"),
        repeated: row.get("repeated"),
        last_received_at: row.get("last_received_at"),
        replays: row.get("replays"),
        last_replay: code.map(|code| FailedReplay {
            quarantine_id,
            code,
            reason: row.get("replay_reason"),
            position: row.get("replay_position"),
        }),
    }
}

/// Entries behind a key, in the order of their keys.
pub async fn list(
    connection: &mut PgConnection,
    filter: Filter<'_>,
    after: i64,
    limit: i64,
) -> sqlx::Result<Vec<Entry>> {
    // Written out where it is `open`, so that the indexes of what is open can serve.
    let open = if filter.state == Some("open") { "state = 'open' AND" } else { "" };
    let sql = format!(
        "SELECT {ENTRY} FROM quarantine WHERE {open} quarantine_id > $1 AND ($3::text IS NULL OR state = $3)
             AND ($4::text IS NULL OR code = $4) ORDER BY quarantine_id LIMIT $2"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(after)
        .bind(limit)
        .bind(filter.state)
        .bind(filter.code)
        .fetch_all(connection)
        .await?;
    Ok(rows.iter().map(entry).collect())
}

pub async fn get(connection: &mut PgConnection, quarantine_id: i64) -> sqlx::Result<Option<Entry>> {
    let sql = format!("SELECT {ENTRY} FROM quarantine WHERE quarantine_id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(quarantine_id).fetch_optional(connection).await?;
    Ok(row.as_ref().map(entry))
}

pub async fn content(connection: &mut PgConnection, quarantine_id: i64) -> sqlx::Result<Content> {
    let row = sqlx::query("SELECT code, digest, raw, headers FROM quarantine WHERE quarantine_id = $1")
        .bind(quarantine_id)
        .fetch_one(connection)
        .await?;
    Ok(Content { code: row.get(0), digest: row.get(1), raw: row.get(2), headers: row.get(3) })
}

/// Open entries of a code behind a key and up to another one: a bulk decision is about what was there when it began.
pub async fn open_ids(
    connection: &mut PgConnection,
    code: &str,
    after: i64,
    through: i64,
    limit: i64,
) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "SELECT quarantine_id FROM quarantine WHERE state = 'open' AND code = $1 AND quarantine_id > $2 AND quarantine_id <= $3
         ORDER BY quarantine_id LIMIT $4",
    )
    .bind(code)
    .bind(after)
    .bind(through)
    .bind(limit)
    .fetch_all(connection)
    .await
}

/// The newest open entry of a code, and how many are open.
pub async fn open_of(connection: &mut PgConnection, code: &str) -> sqlx::Result<(i64, i64)> {
    sqlx::query_as(
        "SELECT COALESCE(max(quarantine_id), 0), count(*) FROM quarantine WHERE state = 'open' AND code = $1",
    )
    .bind(code)
    .fetch_one(connection)
    .await
}

/// Number, state and digest of entries that are to be decided on; the caller has their decision locks.
pub async fn states(
    tx: &mut PgConnection,
    quarantine_ids: &[i64],
) -> sqlx::Result<Vec<(i64, String, Option<Vec<u8>>)>> {
    sqlx::query_as("SELECT quarantine_id, state, digest FROM quarantine WHERE quarantine_id = ANY ($1)")
        .bind(quarantine_ids)
        .fetch_all(tx)
        .await
}

/// Writes a decision down for each of the entries, and moves those that it moves.
pub async fn decide(tx: &mut PgConnection, quarantine_ids: &[i64], decision: &NewDecision<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "WITH decided AS (
             INSERT INTO quarantine_decisions (quarantine_id, decided_at, decided_by, reason, what, outcome, mended,
                                               fault_code, fault_reason, fault_position)
             SELECT id, $2, $3, $4, $5, $6, $7, $8, $9, $10 FROM unnest($1::bigint[]) AS id
             RETURNING decision_id, quarantine_id, leads_to)
         UPDATE quarantine q SET state = d.leads_to, decision_id = d.decision_id
         FROM decided d WHERE q.quarantine_id = d.quarantine_id AND d.leads_to IS NOT NULL",
    )
    .bind(quarantine_ids)
    .bind(decision.decided_at)
    .bind(decision.decided_by)
    .bind(decision.reason)
    .bind(decision.what)
    .bind(decision.outcome)
    .bind(decision.mended)
    .bind(decision.fault.map(|fault| fault.code.as_str()))
    .bind(decision.fault.map(|fault| fault.reason.as_str()))
    .bind(decision.fault.map(|fault| fault.position.as_str()))
    .execute(tx)
    .await
    .map(drop)
}

/// What was decided on an entry, oldest first.
pub async fn decisions(connection: &mut PgConnection, quarantine_id: i64) -> sqlx::Result<Vec<Decision>> {
    let rows = sqlx::query(
        "SELECT decided_at, decided_by, reason, what, outcome, mended,
                fault_code || COALESCE(' at ' || NULLIF(fault_position, ''), '') || ': ' || fault_reason AS fault
         FROM quarantine_decisions WHERE quarantine_id = $1 ORDER BY decision_id",
    )
    .bind(quarantine_id)
    .fetch_all(connection)
    .await?;
    let decision = |row: &PgRow| Decision {
        decided_at: row.get("decided_at"),
        decided_by: row.get("decided_by"),
        reason: row.get("reason"),
        what: row.get("what"),
        outcome: row.get("outcome"),
        mended: row.get("mended"),
        fault: row.get("fault"),
    };
    Ok(rows.iter().map(decision).collect())
}
