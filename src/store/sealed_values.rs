//! Every encrypted column, wherever it is: counted by key, and written anew. Called by the stage that changes keys.
//!
//! A test holds the list against the schema: a column of bytes is either here or said to be a hash.

use sqlx::{AssertSqlSafe, PgConnection, Row};

/// What an encrypted column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    PersonName,
    IdentityNumber,
    AccountName,
    AccountNumber,
    Message,
    File,
}

/// A table with encrypted columns.
#[derive(Debug)]
pub struct SealedTable {
    pub name: &'static str,
    /// Its primary key, with the types of its columns.
    key: &'static [(&'static str, &'static str)],
    pub columns: &'static [(&'static str, Holds)],
    /// Rows written anew in one transaction: by what a row may weigh.
    rows_max: i64,
}

pub const SEALED: [SealedTable; 6] = [
    SealedTable {
        name: "enrolments",
        key: &[("payer_id", "text"), ("insurance_type", "text")],
        columns: &[("name", Holds::PersonName), ("id_number", Holds::IdentityNumber)],
        rows_max: 1000,
    },
    SealedTable {
        name: "agreements",
        key: &[("payer_id", "text"), ("agreement_no", "text")],
        columns: &[("account_no", Holds::AccountNumber), ("account_name", Holds::AccountName)],
        rows_max: 1000,
    },
    SealedTable {
        name: "messages",
        key: &[("source", "text"), ("id", "text")],
        columns: &[("raw", Holds::Message)],
        rows_max: 500,
    },
    SealedTable {
        name: "quarantine",
        key: &[("quarantine_id", "bigint")],
        columns: &[("raw", Holds::Message), ("headers", Holds::Message)],
        rows_max: 10,
    },
    SealedTable {
        name: "request_files",
        key: &[("file_id", "bigint")],
        columns: &[("content", Holds::File)],
        rows_max: 1,
    },
    SealedTable {
        name: "result_file_pieces",
        key: &[("result_file_id", "bigint"), ("piece_no", "integer")],
        columns: &[("content", Holds::File)],
        rows_max: 1,
    },
];

/// A row's key, as texts, and its encrypted values in the order of the table's columns.
#[derive(Debug)]
pub struct SealedRow {
    pub key: Vec<String>,
    pub values: Vec<Option<Vec<u8>>>,
}

impl SealedTable {
    /// Below every key.
    pub fn start(&self) -> Vec<String> {
        let first = |kind: &str| if kind == "text" { String::new() } else { "0".to_owned() };
        self.key.iter().map(|(_, kind)| first(kind)).collect()
    }

    fn key_columns(&self) -> String {
        list(self.key.iter().map(|(name, _)| (*name).to_owned()))
    }

    /// Holds for a row with a value of another key than `$1`.
    fn is_of_another_key(&self) -> String {
        let other = self.columns.iter().map(|(name, _)| format!("sealed_with({name}) <> $1"));
        other.collect::<Vec<_>>().join(" OR ")
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

/// How many values of a column carry which key.
pub async fn count(connection: &mut PgConnection, table: &str, column: &str) -> sqlx::Result<Vec<(Vec<u8>, i64)>> {
    let sql = format!("SELECT sealed_with({column}), count(*) FROM {table} WHERE {column} IS NOT NULL GROUP BY 1");
    sqlx::query_as(AssertSqlSafe(sql)).fetch_all(connection).await
}

/// How many rows have a value of another key.
pub async fn rows_of_other_keys(connection: &mut PgConnection, table: &SealedTable, key_id: &str) -> sqlx::Result<i64> {
    let sql = format!("SELECT count(*) FROM {} WHERE {}", table.name, table.is_of_another_key());
    sqlx::query_scalar(AssertSqlSafe(sql)).bind(key_id.as_bytes()).fetch_one(connection).await
}

/// Says that this transaction changes the encryption of values, and nothing else: the guards hold it to that.
pub async fn say_reencrypting(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::raw_sql("SET LOCAL pikou.reencrypting = 'on'").execute(tx).await.map(drop)
}

/// The next rows with a value of another key, locked. Rows that somebody else has locked are passed over, so we never
/// wait for a row while we hold others.
pub async fn next_of_other_keys(
    tx: &mut PgConnection,
    table: &SealedTable,
    key_id: &str,
    after: &[String],
) -> sqlx::Result<Vec<SealedRow>> {
    let keys = table.key_columns();
    let texts = list(table.key.iter().map(|(name, _)| format!("{name}::text")));
    let after_keys =
        list(table.key.iter().enumerate().map(|(at, (_, kind))| format!("($2::text[])[{}]::{kind}", at + 1)));
    let columns = list(table.columns.iter().map(|(name, _)| (*name).to_owned()));
    let sql = format!(
        "SELECT {texts}, {columns} FROM {} WHERE ({keys}) > ({after_keys}) AND ({}) ORDER BY {keys} LIMIT $3
         FOR NO KEY UPDATE SKIP LOCKED",
        table.name,
        table.is_of_another_key()
    );
    let rows =
        sqlx::query(AssertSqlSafe(sql)).bind(key_id.as_bytes()).bind(after).bind(table.rows_max).fetch_all(tx).await?;
    let width = table.key.len();
    let read = |row: &sqlx::postgres::PgRow| SealedRow {
        key: (0..width).map(|at| row.get(at)).collect(),
        values: (0..table.columns.len()).map(|at| row.get(width + at)).collect(),
    };
    Ok(rows.iter().map(read).collect())
}

/// Writes the values of locked rows. Returns how many rows that were.
pub async fn write(tx: &mut PgConnection, table: &SealedTable, rows: &[SealedRow]) -> sqlx::Result<u64> {
    let width = table.key.len();
    let set = list(table.columns.iter().map(|(name, _)| format!("{name} = n.{name}")));
    let arrays = list(
        (1..=width)
            .map(|at| format!("${at}::text[]"))
            .chain((1..=table.columns.len()).map(|at| format!("${}::bytea[]", width + at))),
    );
    let names = list(
        table.key.iter().map(|(name, _)| *name).chain(table.columns.iter().map(|(name, _)| *name)).map(str::to_owned),
    );
    let same = table.key.iter().map(|(name, kind)| format!("t.{name} = n.{name}::{kind}")).collect::<Vec<_>>();
    let sql =
        format!("UPDATE {} t SET {set} FROM unnest({arrays}) AS n ({names}) WHERE {}", table.name, same.join(" AND "));
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for at in 0..width {
        query = query.bind(rows.iter().map(|row| row.key[at].as_str()).collect::<Vec<_>>());
    }
    for at in 0..table.columns.len() {
        query = query.bind(rows.iter().map(|row| row.values[at].as_deref()).collect::<Vec<_>>());
    }
    Ok(query.execute(tx).await?.rows_affected())
}

/// Keys that nothing is encrypted with any more.
pub async fn retired(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar("SELECT key_id FROM retired_keys ORDER BY key_id").fetch_all(connection).await
}

pub async fn retire(tx: &mut PgConnection, key_ids: &[&str], now: chrono::DateTime<chrono::Utc>) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO retired_keys (key_id, retired_at) SELECT key, $2 FROM unnest($1::text[]) AS key ON CONFLICT DO NOTHING")
        .bind(key_ids)
        .bind(now)
        .execute(tx)
        .await
        .map(drop)
}
