//! The log of messages: which are known, what was answered, which wait.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres, Row};

/// A message to be written down with its answer; `raw` is encrypted already.
#[derive(Debug)]
pub struct NewMessage<'m> {
    pub source: &'m str,
    pub id: &'m str,
    pub kind: &'m str,
    /// Empty where it is not known.
    pub payer_id: &'m str,
    pub sent_at: DateTime<Utc>,
    pub digest: &'m [u8],
    pub raw: &'m [u8],
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
    pub wait_for: String,
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

/// Messages that can be written at once: their arrays are made before the transaction that others wait for.
pub struct Ready(Query<'static, Postgres, PgArguments>);

/// Makes messages ready to be written, with a note that a batch of so many deliveries was taken.
pub fn ready(received_at: DateTime<Utc>, rows: &[NewMessage<'_>], deliveries: usize) -> Ready {
    Ready(
        sqlx::query(
        "WITH batch AS (INSERT INTO intake_batches (taken_at, deliveries) VALUES ($1, $13))
         INSERT INTO messages (source, id, kind, payer_id, sent_at, received_at, digest, raw, outcome, code, wait_for, wait_until)
         SELECT source, id, kind, payer_id, sent_at, $1, digest, raw, outcome, code, wait_for, wait_until
         FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::bytea[], $8::bytea[],
                     $9::text[], $10::text[], $11::text[], $12::timestamptz[])
              AS m (source, id, kind, payer_id, sent_at, digest, raw, outcome, code, wait_for, wait_until)",
    )
    .bind(received_at)
    .bind(rows.iter().map(|row| row.source).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.id).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.kind).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.payer_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.sent_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.digest).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.raw).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.outcome).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.code).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.wait_for.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.wait_until).collect::<Vec<_>>())
    .bind(deliveries as i32),
    )
}

/// Writes messages down. `false`: another worker was faster with one of the ids, and the transaction is lost.
/// (`ON CONFLICT` would look each key up a second time.)
pub async fn insert(tx: &mut PgConnection, Ready(messages): Ready) -> sqlx::Result<bool> {
    match messages.execute(tx).await {
        Ok(_) => Ok(true),
        Err(error) if super::violated(&error) == Some("messages_pkey") => Ok(false),
        Err(error) => Err(error),
    }
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

/// Messages that wait for what is given.
pub async fn waiting(tx: &mut PgConnection, awaited: &[String]) -> sqlx::Result<Vec<Waiting>> {
    let rows = sqlx::query(
        "SELECT m.source, m.id, m.raw, m.wait_for FROM messages m
         WHERE m.wait_for = ANY ($1) AND m.outcome = 'waiting' ORDER BY m.seq",
    )
    .bind(awaited)
    .fetch_all(tx)
    .await?;
    Ok(rows.iter().map(waiting_row).collect())
}

fn waiting_row(row: &sqlx::postgres::PgRow) -> Waiting {
    Waiting { source: row.get(0), id: row.get(1), raw: row.get(2), wait_for: row.get(3) }
}

/// Messages whose wait has ended, oldest first.
pub async fn overdue(tx: &mut PgConnection, now: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<Waiting>> {
    let rows = sqlx::query(
        "SELECT source, id, raw, wait_for FROM messages WHERE outcome = 'waiting' AND wait_until <= $1
         ORDER BY wait_until, seq LIMIT $2",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(tx)
    .await?;
    Ok(rows.iter().map(waiting_row).collect())
}

/// Those of the messages that still wait for what they are given with, as (source, id, wait_for).
pub async fn still_waiting(tx: &mut PgConnection, rows: &[Waiting]) -> sqlx::Result<Vec<(String, String)>> {
    sqlx::query_as(
        "SELECT m.source, m.id FROM unnest($1::text[], $2::text[], $3::text[]) AS k (source, id, wait_for)
         JOIN messages m ON m.source = k.source AND m.id = k.id AND m.wait_for = k.wait_for AND m.outcome = 'waiting'",
    )
    .bind(rows.iter().map(|row| row.source.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.wait_for.as_str()).collect::<Vec<_>>())
    .fetch_all(tx)
    .await
}

/// Lets messages wait for something else now, as (source, id, what); until when does not change.
pub async fn wait_on(tx: &mut PgConnection, rows: &[(&str, &str, String)]) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE messages m SET wait_for = k.wait_for FROM unnest($1::text[], $2::text[], $3::text[]) AS k (source, id, wait_for)
         WHERE m.source = k.source AND m.id = k.id AND m.outcome = 'waiting'",
    )
    .bind(rows.iter().map(|row| row.0).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.1).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.2.as_str()).collect::<Vec<_>>())
    .execute(tx)
    .await
    .map(drop)
}

/// Gives waiting messages their final answer, as (source, id, outcome, code).
pub async fn answer_waiting(tx: &mut PgConnection, answers: &[(&str, &str, &str, Option<&str>)]) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE messages m SET outcome = a.outcome, code = a.code, wait_for = NULL, wait_until = NULL
         FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS a (source, id, outcome, code)
         WHERE m.source = a.source AND m.id = a.id AND m.outcome = 'waiting'",
    )
    .bind(answers.iter().map(|answer| answer.0).collect::<Vec<_>>())
    .bind(answers.iter().map(|answer| answer.1).collect::<Vec<_>>())
    .bind(answers.iter().map(|answer| answer.2).collect::<Vec<_>>())
    .bind(answers.iter().map(|answer| answer.3).collect::<Vec<_>>())
    .execute(tx)
    .await
    .map(drop)
}

/// Gives the end of each wait its place in the order of the log; the caller has the locks under which it is judged.
pub async fn end_waits(tx: &mut PgConnection, keys: &[(String, String)]) -> sqlx::Result<()> {
    let (sources, ids): (Vec<&str>, Vec<&str>) = keys.iter().map(|(source, id)| (source.as_str(), id.as_str())).unzip();
    sqlx::query(
        "UPDATE messages m SET wait_ended_seq = k.place
         FROM (SELECT source, id, nextval(pg_get_serial_sequence('messages', 'seq')) AS place
               FROM unnest($1::text[], $2::text[]) AS u (source, id)) k
         WHERE m.source = k.source AND m.id = k.id",
    )
    .bind(sources)
    .bind(ids)
    .execute(tx)
    .await
    .map(drop)
}

/// The given messages that wait, in the order given.
pub async fn waits_of(tx: &mut PgConnection, keys: &[(String, String)]) -> sqlx::Result<Vec<Waiting>> {
    let (sources, ids): (Vec<&str>, Vec<&str>) = keys.iter().map(|(source, id)| (source.as_str(), id.as_str())).unzip();
    let rows = sqlx::query(
        "SELECT m.source, m.id, m.raw, m.wait_for
         FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (source, id, place)
         JOIN messages m ON m.source = k.source AND m.id = k.id AND m.outcome = 'waiting' ORDER BY k.place",
    )
    .bind(sources)
    .bind(ids)
    .fetch_all(tx)
    .await?;
    Ok(rows.iter().map(waiting_row).collect())
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

/// Deliveries taken so far.
pub async fn deliveries(connection: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT COALESCE(sum(deliveries), 0)::bigint FROM intake_batches").fetch_one(connection).await
}
