//! The least that the database has to do for what the intake left: the very same rows, as arrays that were prepared
//! beforehand, into copies of the tables with all their columns, keys, indexes and checks; one transaction a batch.

use std::time::Instant;

use pikou::stages::Context;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sqlx::{AssertSqlSafe, Column, Connection, Encode, Postgres, Row, Type, ValueRef};

use crate::Outcome;

/// Tables whose rows go in as one array a column. What is rare is left out, and the log's row of a message that came
/// again, which may be an earlier turn's: the limit is a little higher for it.
const TABLES: [&str; 7] =
    ["messages", "enrolments", "agreements", "amount_settings", "amount_voids", "declarations", "intake_batches"];
/// A row holds arrays itself, and there is about one a batch.
const CHUNKS: &str = "outbox";

/// A value just as the server sent it, to be sent back.
struct AsItCame {
    bytes: Option<Vec<u8>>,
    kind: PgTypeInfo,
}

impl Type<Postgres> for AsItCame {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("text")
    }
}

impl Encode<'_, Postgres> for AsItCame {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let Some(bytes) = &self.bytes else { return Ok(IsNull::Yes) };
        buffer.extend_from_slice(bytes);
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(self.kind.clone())
    }
}

/// One insert of one batch.
struct Insert {
    sql: &'static str,
    values: Vec<AsItCame>,
}

pub async fn prepare(ctx: &Context) -> Outcome<()> {
    for table in TABLES.into_iter().chain([CHUNKS]) {
        let sql = format!("CREATE TABLE bare_{table} (LIKE {table} INCLUDING ALL)");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&ctx.pool).await?;
    }
    Ok(())
}

/// Rows written from now on carry this number or a later one.
pub async fn now(ctx: &Context) -> Outcome<i64> {
    Ok(sqlx::query_scalar("SELECT pg_current_xact_id()::text::bigint").fetch_one(&ctx.pool).await?)
}

/// Inserts what was written since, in so many batches; messages per second.
pub async fn insert(ctx: &Context, since: i64, batches: usize, messages: usize) -> Outcome<f64> {
    let mut prepared: Vec<Vec<Insert>> = (0..batches).map(|_| Vec::new()).collect();
    for table in TABLES {
        arrays(ctx, table, since, &mut prepared).await?;
    }
    rows(ctx, CHUNKS, since, &mut prepared).await?;
    let mut connection = ctx.pool.acquire().await?;
    let clock = Instant::now();
    for batch in prepared {
        let mut tx = connection.begin().await?;
        for insert in batch {
            let mut query = sqlx::query(insert.sql);
            for value in insert.values {
                query = query.bind(value);
            }
            query.execute(&mut *tx).await?;
        }
        tx.commit().await?;
    }
    Ok(messages as f64 / clock.elapsed().as_secs_f64())
}

/// Name and type of each column that is not numbered by the database.
async fn columns(ctx: &Context, table: &str) -> Outcome<Vec<(String, String)>> {
    let columns = sqlx::query_as(
        "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute
         WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attidentity = '' ORDER BY attnum",
    );
    Ok(columns.bind(table).fetch_all(&ctx.pool).await?)
}

fn values(row: &sqlx::postgres::PgRow, from: usize) -> Outcome<Vec<AsItCame>> {
    let mut values = Vec::new();
    for (place, column) in row.columns().iter().enumerate().skip(from) {
        let value = row.try_get_raw(place)?;
        let bytes = if value.is_null() { None } else { Some(value.as_bytes()?.to_vec()) };
        values.push(AsItCame { bytes, kind: column.type_info().clone() });
    }
    Ok(values)
}

async fn arrays(ctx: &Context, table: &str, since: i64, batches: &mut [Vec<Insert>]) -> Outcome<()> {
    let columns = columns(ctx, table).await?;
    // unnest flattens arrays of arrays: those travel as texts.
    let cast = |kind: &str| if kind.ends_with("[]") { "::text" } else { "" };
    let each = |of: &dyn Fn(usize, &(String, String)) -> String| {
        columns.iter().enumerate().map(|(place, column)| of(place, column)).collect::<Vec<_>>().join(", ")
    };
    let aggregated = each(&|_, (name, kind)| format!("array_agg({name}{} ORDER BY t.ctid)", cast(kind)));
    let names = each(&|_, (name, _)| name.clone());
    let sent =
        each(&|place, (_, kind)| format!("${}::{}[]", place + 1, if cast(kind).is_empty() { kind } else { "text" }));
    let back = each(&|_, (name, kind)| if cast(kind).is_empty() { name.clone() } else { format!("{name}::{kind}") });
    let sql = format!("INSERT INTO bare_{table} ({names}) SELECT {back} FROM unnest({sent}) AS r ({names})");
    let sql: &'static str = sql.leak();
    let once = if table == "messages" { "AND repeated = 0" } else { "" };
    let read = format!(
        "SELECT (batch - 1)::int, {aggregated}
         FROM (SELECT *, ctid, ntile($2) OVER (ORDER BY ctid) AS batch FROM {table}
               WHERE xmin::text::bigint >= $1 {once}) t
         GROUP BY batch"
    );
    let rows = sqlx::query(AssertSqlSafe(read)).bind(since).bind(batches.len() as i32).fetch_all(&ctx.pool).await?;
    for row in rows {
        batches[row.get::<i32, _>(0) as usize].push(Insert { sql, values: values(&row, 1)? });
    }
    Ok(())
}

async fn rows(ctx: &Context, table: &str, since: i64, batches: &mut [Vec<Insert>]) -> Outcome<()> {
    let names: Vec<String> = columns(ctx, table).await?.into_iter().map(|(name, _)| name).collect();
    let sent: Vec<String> = (1..=names.len()).map(|place| format!("${place}")).collect();
    let names = names.join(", ");
    let sql: &'static str = format!("INSERT INTO bare_{table} ({names}) VALUES ({})", sent.join(", ")).leak();
    let read = format!(
        "SELECT (ntile($2) OVER (ORDER BY ctid) - 1)::int, {names} FROM {table} WHERE xmin::text::bigint >= $1"
    );
    let rows = sqlx::query(AssertSqlSafe(read)).bind(since).bind(batches.len() as i32).fetch_all(&ctx.pool).await?;
    for row in rows {
        batches[row.get::<i32, _>(0) as usize].push(Insert { sql, values: values(&row, 1)? });
    }
    Ok(())
}
