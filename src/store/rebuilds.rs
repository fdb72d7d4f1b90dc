//! The message log of another database, read in order; and that a database was rebuilt from one.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

/// One step of the log: a message that came, or a wait that ended.
#[derive(Debug)]
pub struct Step {
    pub source: String,
    pub id: String,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    Came { received_at: DateTime<Utc>, raw: Vec<u8> },
    WaitEnded,
}

/// What a message was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub source: String,
    pub id: String,
    /// `outcome` or `outcome code`; nothing if it is not in the log.
    pub answer: Option<String>,
}

/// The newest migration that a database has; nothing if it is none of ours.
pub async fn schema_version(connection: &mut PgConnection) -> sqlx::Result<Option<i64>> {
    let ours: bool = sqlx::query_scalar(
        "SELECT to_regclass('_sqlx_migrations') IS NOT NULL AND to_regclass('messages') IS NOT NULL",
    )
    .fetch_one(&mut *connection)
    .await?;
    if !ours {
        return Ok(None);
    }
    sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success").fetch_one(connection).await
}

/// Messages of a database but for requests of runs, and its runs.
pub async fn size(connection: &mut PgConnection) -> sqlx::Result<(i64, i64)> {
    sqlx::query_as(
        "SELECT (SELECT count(*) FROM messages WHERE kind <> 'pikou.in.run.requested.v1'), (SELECT count(*) FROM runs)",
    )
    .fetch_one(connection)
    .await
}

/// Opens the log in its order, without requests for runs, which are no facts; read by [`steps`]. A cursor, as nothing else needs an index by `seq`.
pub async fn open_log(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query(
        "DECLARE log NO SCROLL CURSOR FOR
         SELECT source, id, received_at, raw, seq AS place FROM messages WHERE kind <> 'pikou.in.run.requested.v1'
         UNION ALL
         SELECT source, id, NULL, NULL, wait_ended_seq FROM messages WHERE wait_ended_seq IS NOT NULL
         ORDER BY place",
    )
    .execute(tx)
    .await
    .map(drop)
}

pub async fn steps(tx: &mut PgConnection, limit: usize) -> sqlx::Result<Vec<Step>> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!("FETCH {limit} FROM log"))).fetch_all(tx).await?;
    let step = |row: &PgRow| Step {
        source: row.get("source"),
        id: row.get("id"),
        what: match row.get::<Option<DateTime<Utc>>, _>("received_at") {
            Some(received_at) => What::Came { received_at, raw: row.get("raw") },
            None => What::WaitEnded,
        },
    };
    Ok(rows.iter().map(step).collect())
}

/// Opens the answers; read by [`answers`].
pub async fn open_answers(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query(
        "DECLARE answers NO SCROLL CURSOR FOR
         SELECT source, id, outcome || COALESCE(' ' || code, '') AS answer FROM messages
         WHERE kind <> 'pikou.in.run.requested.v1' ORDER BY source, id",
    )
    .execute(tx)
    .await
    .map(drop)
}

pub async fn answers(tx: &mut PgConnection, limit: usize) -> sqlx::Result<Vec<Answered>> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!("FETCH {limit} FROM answers"))).fetch_all(tx).await?;
    Ok(rows.iter().map(answered).collect())
}

/// Our answers to the same messages, where they are others.
pub async fn differing(connection: &mut PgConnection, theirs: &[Answered]) -> sqlx::Result<Vec<Answered>> {
    let rows = sqlx::query(
        "SELECT k.source, k.id, m.outcome || COALESCE(' ' || m.code, '') AS answer
         FROM unnest($1::text[], $2::text[], $3::text[]) AS k (source, id, answer)
         LEFT JOIN messages m ON m.source = k.source AND m.id = k.id
         WHERE k.answer IS DISTINCT FROM m.outcome || COALESCE(' ' || m.code, '')
         ORDER BY k.source, k.id",
    )
    .bind(theirs.iter().map(|answered| answered.source.as_str()).collect::<Vec<_>>())
    .bind(theirs.iter().map(|answered| answered.id.as_str()).collect::<Vec<_>>())
    .bind(theirs.iter().map(|answered| answered.answer.as_deref()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    Ok(rows.iter().map(answered).collect())
}

fn answered(row: &PgRow) -> Answered {
    Answered { source: row.get("source"), id: row.get("id"), answer: row.get("answer") }
}

/// The first of the tables that is not empty, if one is not.
pub async fn not_empty(tx: &mut PgConnection) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar(
        "SELECT name FROM (VALUES
             ('rebuilds', EXISTS (SELECT FROM rebuilds)), ('messages', EXISTS (SELECT FROM messages)),
             ('intake_batches', EXISTS (SELECT FROM intake_batches)), ('quarantine', EXISTS (SELECT FROM quarantine)),
             ('enrolments', EXISTS (SELECT FROM enrolments)), ('agreements', EXISTS (SELECT FROM agreements)),
             ('amount_settings', EXISTS (SELECT FROM amount_settings)), ('amount_voids', EXISTS (SELECT FROM amount_voids)),
             ('assessments', EXISTS (SELECT FROM assessments)), ('online_orders', EXISTS (SELECT FROM online_orders)),
             ('declarations', EXISTS (SELECT FROM declarations)), ('runs', EXISTS (SELECT FROM runs)),
             ('result_files', EXISTS (SELECT FROM result_files)), ('outbox', EXISTS (SELECT FROM outbox))) t (name, filled)
         WHERE filled LIMIT 1",
    )
    .fetch_optional(tx)
    .await
}

pub async fn begin(
    tx: &mut PgConnection,
    source: &str,
    messages: i64,
    source_runs: i64,
    started_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO rebuilds (source, messages, source_runs, started_at) VALUES ($1, $2, $3, $4)")
        .bind(source)
        .bind(messages)
        .bind(source_runs)
        .bind(started_at)
        .execute(tx)
        .await
        .map(drop)
}

pub async fn finish(connection: &mut PgConnection, differing: i64, finished_at: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query("UPDATE rebuilds SET differing = $1, finished_at = $2 WHERE finished_at IS NULL")
        .bind(differing)
        .bind(finished_at)
        .execute(connection)
        .await
        .map(drop)
}
