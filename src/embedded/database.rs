//! Inside the server: the superuser's connection, the worker's role and its database.
//!
//! In come the socket's folder and passwords, out go connection options and a database that is ready for
//! migrations. Called by `start`, under the gate, so two processes never make the role at once.

use std::path::Path;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::EmbeddedError;
use super::place::{PORT, SUPERUSER};

const CONNECT_MAX_WAIT: Duration = Duration::from_secs(10);
const CANNOT_CONNECT_NOW: &str = "57P03";
const TOO_MANY_CONNECTIONS: &str = "53300";

pub(super) fn superuser(socket_folder: &Path, password: &str) -> PgConnectOptions {
    // Statements are not logged here: one of them carries a password.
    options(socket_folder).username(SUPERUSER).password(password).database("postgres").disable_statement_logging()
}

pub(super) fn worker(socket_folder: &Path, password: &str) -> PgConnectOptions {
    options(socket_folder).username("pikou").password(password).database("pikou")
}

/// Everything named, so that nothing of the environment (`PGPORT`, `PGSSLMODE` …) gets in.
fn options(socket_folder: &Path) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass().socket(socket_folder).port(PORT).ssl_mode(PgSslMode::Disable)
}

pub(super) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    match tokio::time::timeout(CONNECT_MAX_WAIT, PgConnection::connect_with(options)).await {
        Ok(answer) => answer,
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

/// Nobody listens yet, or the server is starting, recovering or stopping.
pub(super) fn comes_later(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() != std::io::ErrorKind::PermissionDenied,
        sqlx::Error::Database(error) => {
            matches!(error.code().as_deref(), Some(CANNOT_CONNECT_NOW | TOO_MANY_CONNECTIONS))
        }
        _ => false,
    }
}

/// Role and database exist, the role has the password of our file. Safe to repeat after dying at any point.
pub(super) async fn prepare(mut connection: PgConnection, password: &str) -> Result<(), EmbeddedError> {
    let failed = |doing| move |source| EmbeddedError::Database { doing, source };

    if !exists(&mut connection, "SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'pikou')").await? {
        run(&mut connection, "CREATE ROLE pikou", "making its role").await?;
    }
    // Base64 has nothing to quote. Errors of the worker's statements may name values, so they go to the
    // worker alone, not to the server's log.
    let alter = format!("ALTER ROLE pikou LOGIN PASSWORD '{password}'; ALTER ROLE pikou SET log_min_messages = 'log'");
    let altered = sqlx::raw_sql(AssertSqlSafe(alter)).execute(&mut connection).await;
    altered.map_err(failed("setting the role's password"))?;

    if !exists(&mut connection, "SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = 'pikou')").await? {
        // Sorted by bytes: the same on every machine, and no index breaks when the C library changes.
        let create = "CREATE DATABASE pikou OWNER pikou TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C'";
        run(&mut connection, create, "making its database").await?;
    }
    connection.close().await.map_err(failed("saying goodbye"))
}

async fn exists(connection: &mut PgConnection, question: &'static str) -> Result<bool, EmbeddedError> {
    let answer = sqlx::query_scalar(question).fetch_one(connection).await;
    answer.map_err(|source| EmbeddedError::Database { doing: "looking for its role and database", source })
}

async fn run(connection: &mut PgConnection, sql: &'static str, doing: &'static str) -> Result<(), EmbeddedError> {
    let done = sqlx::raw_sql(sql).execute(connection).await;
    done.map(drop).map_err(|source| EmbeddedError::Database { doing, source })
}
