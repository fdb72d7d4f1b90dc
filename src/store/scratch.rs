//! Databases that live as long as a case of the fixtures: made from a template, dropped afterwards. Called by `fixtures`.

use sqlx::{AssertSqlSafe, PgConnection};

/// Makes a database owned by a role, as a copy of a template nobody is connected to.
pub async fn create(connection: &mut PgConnection, name: &str, template: &str, owner: &str) -> sqlx::Result<()> {
    // template0 may be copied in any encoding, others only in their own.
    let words = if template == "template0" { " ENCODING 'UTF8' LC_COLLATE 'C'" } else { "" };
    let (name, template, owner) = (quoted(name), quoted(template), quoted(owner));
    run(connection, format!("CREATE DATABASE {name} OWNER {owner} TEMPLATE {template}{words}")).await
}

/// Drops it, whoever is still connected.
pub async fn drop(connection: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    run(connection, format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(name))).await
}

async fn run(connection: &mut PgConnection, sql: String) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(std::mem::drop)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
