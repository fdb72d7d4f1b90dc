//! Puts the parts together: settings come in, a [`Context`] with a migrated database goes out.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use crate::broker::BrokerSettings;
use crate::clock::Clock;
use crate::config::{EMBEDDED, Settings};
use crate::crypt::{KeyError, Keys};
use crate::embedded::{Embedded, EmbeddedError};
use crate::stages::Context;
use crate::store;

/// How long a statement waits for a connection of the pool.
const ACQUIRE_MAX_WAIT: Duration = Duration::from_secs(30);

/// Limits of every session: what hangs is ended by the server, and the work is done again.
const SESSION: [(&str, &str); 6] = [
    ("lock_timeout", "60s"),
    ("idle_in_transaction_session_timeout", "120s"),
    ("statement_timeout", "30min"),
    ("client_min_messages", "error"),
    ("timezone", "UTC"),
    ("jit", "off"),
];

#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error("cannot reach the database at database.url (there is no falling back)")]
    Database(#[source] sqlx::Error),
    #[error("cannot bring the database's schema up to date")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("cannot make the data folder {path}")]
    Folder { path: std::path::PathBuf, source: std::io::Error },
}

/// An open installation.
pub struct App {
    pub ctx: Context,
    embedded: Option<Embedded>,
}

impl App {
    pub async fn open(settings: Settings, clock: Clock) -> Result<App, AppError> {
        App::open_with(settings, clock, &[]).await
    }

    /// With sessions that may fill a database that is being rebuilt, and whose events are withheld.
    pub async fn open_to_rebuild(settings: Settings, clock: Clock) -> Result<App, AppError> {
        App::open_with(settings, clock, &[("pikou.rebuild", "on")]).await
    }

    async fn open_with(settings: Settings, clock: Clock, session: &[(&str, &str)]) -> Result<App, AppError> {
        let folder = &settings.data_folder;
        std::fs::create_dir_all(folder).map_err(|source| AppError::Folder { path: folder.clone(), source })?;
        let keys = Keys::load_or_make(&settings.keys_file, settings.keys_algorithm)?;
        let embedded = if settings.database.url == EMBEDDED { Some(Embedded::start(folder).await?) } else { None };
        let options = match &embedded {
            Some(embedded) => embedded.options(),
            None => PgConnectOptions::from_str(&settings.database.url).map_err(AppError::Database)?,
        };
        let pool = pool(options, settings.database.connections_max, session).await?;
        store::MIGRATOR.run(&pool).await?;
        let worker = format!("{}-{:08x}", std::process::id(), rand::random::<u32>());
        let ctx = Context { pool, settings: Arc::new(settings), keys: Arc::new(keys), clock, worker };
        Ok(App { ctx, embedded })
    }

    /// Closes the pool, and the embedded database if nobody else uses it.
    pub async fn close(self) -> Result<(), AppError> {
        self.ctx.pool.close().await;
        if let Some(embedded) = self.embedded {
            embedded.leave().await?;
        }
        Ok(())
    }
}

/// A pool of sessions as every part of an installation uses them.
pub async fn pool(
    options: PgConnectOptions,
    connections_max: u32,
    session: &[(&str, &str)],
) -> Result<PgPool, AppError> {
    let options = options
        .application_name("pikou")
        .options(SESSION)
        .options(session.iter().copied())
        // Statements are not logged: their texts say nothing new, and slow ones are the server's to report.
        .disable_statement_logging();
    // The pool would ask a server that refuses again and again, and then not say why.
    let reached = tokio::time::timeout(ACQUIRE_MAX_WAIT, options.connect()).await;
    reached.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(AppError::Database)?;
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_MAX_WAIT)
        // A cancelled begin() would return a connection inside an open transaction.
        .after_release(|connection, _| {
            Box::pin(async move {
                // With BEGIN, or the server would log a warning each time there is nothing to roll back.
                sqlx::raw_sql("BEGIN; ROLLBACK").execute(connection).await?;
                Ok(true)
            })
        })
        .connect_with(options)
        .await
        .map_err(AppError::Database)
}

/// One connection to another database, which is only read.
pub async fn reader(url: &str) -> Result<PgPool, sqlx::Error> {
    let options = PgConnectOptions::from_str(url)?.application_name("pikou reader").disable_statement_logging();
    let options = options.options([("default_transaction_read_only", "on"), ("timezone", "UTC")]);
    // First without the pool, which would ask again and again and not say why.
    let reached = tokio::time::timeout(ACQUIRE_MAX_WAIT, options.connect()).await;
    reached.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
    PgPoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE_MAX_WAIT).connect_with(options).await
}

/// `host:port/database` of a URL, without who and by which password.
pub fn database_name(url: &str) -> String {
    PgConnectOptions::from_str(url).map_or_else(
        |_| "unknown".to_owned(),
        |options| {
            format!("{}:{}/{}", options.get_host(), options.get_port(), options.get_database().unwrap_or_default())
        },
    )
}

/// The broker's part of the settings.
pub fn broker_settings(settings: &Settings) -> BrokerSettings {
    BrokerSettings {
        url: settings.broker.url.clone(),
        exchange_in: settings.broker.exchange_in.clone(),
        queue_in: settings.broker.queue_in.clone(),
        exchange_events: settings.broker.exchange_events.clone(),
        batch_max: settings.intake.batch_max,
        batch_wait: settings.intake.batch_wait(),
        confirm_timeout: Duration::from_secs(settings.broker.confirm_seconds),
        outstanding_max: settings.broker.outstanding_max,
    }
}
