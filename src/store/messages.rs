//! The log of messages: which are known, what was answered, which wait.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Row};

/// A message to be written down with its answer.
#[derive(Debug)]
pub struct NewMessage {
    pub source: String,
    pub id: String,
    pub kind: String,
    pub payer_id: String,
    pub sent_at: DateTime<Utc>,
    pub digest: Vec<u8>,
    pub raw: Vec<u8>,
    pub outcome: &'static str,
    pub code: Option<&'static str>,
    pub wait_for: Option<String>,
    pub wait_until: Option<DateTime<Utc>>,
}

/// A message as it came, encrypted.
#[derive(Debug)]
pub struct Waiting {
    pub source: String,
    pub id: String,
    pub raw: Vec<u8>,
}

/// The digests of those of the keys that are known, as (source, id, digest).
pub async fn known(
    tx: &mut PgConnection,
    sources: &[&str],
    ids: &[&str],
) -> sqlx::Result<Vec<(String, String, Vec<u8>)>> {
    sqlx::query_as(
        "SELECT m.source, m.id, m.digest
         FROM unnest($1::text[], $2::text[]) AS k (source, id) JOIN messages m ON m.source = k.source AND m.id = k.id",
    )
    .bind(sources)
    .bind(ids)
    .fetch_all(tx)
    .await
}

/// Writes messages down. Fewer than given come back as `false`: another worker was faster with one of the ids.
pub async fn insert(tx: &mut PgConnection, received_at: DateTime<Utc>, rows: &[NewMessage]) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "INSERT INTO messages (source, id, kind, payer_id, sent_at, received_at, digest, raw, outcome, code, wait_for, wait_until)
         SELECT source, id, kind, payer_id, sent_at, $1, digest, raw, outcome, code, wait_for, wait_until
         FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::bytea[], $8::bytea[],
                     $9::text[], $10::text[], $11::text[], $12::timestamptz[])
              AS m (source, id, kind, payer_id, sent_at, digest, raw, outcome, code, wait_for, wait_until)
         ON CONFLICT (source, id) DO NOTHING",
    )
    .bind(received_at)
    .bind(rows.iter().map(|row| row.source.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.kind.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.payer_id.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.sent_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.digest.as_slice()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.raw.as_slice()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.outcome).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.code).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.wait_for.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.wait_until).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == rows.len() as u64)
}

/// Counts messages that came again; a key given twice came twice.
pub async fn count_repeated(tx: &mut PgConnection, sources: &[String], ids: &[String]) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE messages m SET repeated = m.repeated + k.times
         FROM (SELECT source, id, count(*)::int AS times FROM unnest($1::text[], $2::text[]) AS k (source, id) GROUP BY 1, 2) k
         WHERE m.source = k.source AND m.id = k.id",
    )
    .bind(sources)
    .bind(ids)
    .execute(tx)
    .await
    .map(drop)
}

/// Messages that wait for the enrolments given as (payer, insurance type).
pub async fn waiting(tx: &mut PgConnection, payers: &[&str], types: &[&str]) -> sqlx::Result<Vec<Waiting>> {
    let rows = sqlx::query(
        "SELECT m.source, m.id, m.raw
         FROM unnest($1::text[], $2::text[]) AS k (payer_id, wait_for)
         JOIN messages m ON m.payer_id = k.payer_id AND m.wait_for = k.wait_for AND m.outcome = 'waiting'
         ORDER BY m.seq",
    )
    .bind(payers)
    .bind(types)
    .fetch_all(tx)
    .await?;
    Ok(rows.iter().map(|row| Waiting { source: row.get(0), id: row.get(1), raw: row.get(2) }).collect())
}

/// Messages whose wait has ended, oldest first, as (source, id, payer).
pub async fn overdue(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<(String, String, String)>> {
    sqlx::query_as(
        "SELECT source, id, payer_id FROM messages WHERE outcome = 'waiting' AND wait_until <= $1
         ORDER BY wait_until LIMIT $2",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(tx)
    .await
}

/// Gives waiting messages their final answer, as (source, id, outcome, code). Returns those that still waited.
pub async fn answer_waiting(
    tx: &mut PgConnection,
    answers: &[(&str, &str, &str, Option<&str>)],
) -> sqlx::Result<Vec<(String, String)>> {
    sqlx::query_as(
        "UPDATE messages m SET outcome = a.outcome, code = a.code, wait_for = NULL, wait_until = NULL
         FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS a (source, id, outcome, code)
         WHERE m.source = a.source AND m.id = a.id AND m.outcome = 'waiting'
         RETURNING m.source, m.id",
    )
    .bind(answers.iter().map(|answer| answer.0).collect::<Vec<_>>())
    .bind(answers.iter().map(|answer| answer.1).collect::<Vec<_>>())
    .bind(answers.iter().map(|answer| answer.2).collect::<Vec<_>>())
    .bind(answers.iter().map(|answer| answer.3).collect::<Vec<_>>())
    .fetch_all(tx)
    .await
}

/// Refuses messages whose wait is over, as (source, id, code), and gives the end of each wait its place in the order of
/// the log; the caller holds the payers' locks. Returns those that still waited.
pub async fn end_waits(tx: &mut PgConnection, answers: &[(&str, &str, &str)]) -> sqlx::Result<Vec<(String, String)>> {
    sqlx::query_as(
        "UPDATE messages m SET outcome = 'refused', code = a.code, wait_for = NULL, wait_until = NULL,
             wait_ended_seq = nextval(pg_get_serial_sequence('messages', 'seq'))
         FROM unnest($1::text[], $2::text[], $3::text[]) AS a (source, id, code)
         WHERE m.source = a.source AND m.id = a.id AND m.outcome = 'waiting'
         RETURNING m.source, m.id",
    )
    .bind(answers.iter().map(|answer| answer.0).collect::<Vec<_>>())
    .bind(answers.iter().map(|answer| answer.1).collect::<Vec<_>>())
    .bind(answers.iter().map(|answer| answer.2).collect::<Vec<_>>())
    .fetch_all(tx)
    .await
}

/// Notes that a batch of deliveries was taken.
pub async fn note_batch(tx: &mut PgConnection, taken_at: DateTime<Utc>, deliveries: usize) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO intake_batches (taken_at, deliveries) VALUES ($1, $2)")
        .bind(taken_at)
        .bind(deliveries as i32)
        .execute(tx)
        .await
        .map(drop)
}

/// The given messages as they came, encrypted.
pub async fn raw(tx: &mut PgConnection, keys: &[(String, String)]) -> sqlx::Result<Vec<Waiting>> {
    let (sources, ids): (Vec<&str>, Vec<&str>) = keys.iter().map(|(source, id)| (source.as_str(), id.as_str())).unzip();
    let rows = sqlx::query(
        "SELECT m.source, m.id, m.raw
         FROM unnest($1::text[], $2::text[]) AS k (source, id) JOIN messages m ON m.source = k.source AND m.id = k.id
         ORDER BY m.seq",
    )
    .bind(sources)
    .bind(ids)
    .fetch_all(tx)
    .await?;
    Ok(rows.iter().map(|row| Waiting { source: row.get(0), id: row.get(1), raw: row.get(2) }).collect())
}

/// Deliveries taken so far.
pub async fn deliveries(connection: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT COALESCE(sum(deliveries), 0)::bigint FROM intake_batches").fetch_one(connection).await
}
