//! A private, real PostgreSQL below the data folder: `database.url = "embedded"`.
//!
//! In comes the data folder, out come connection options for the database `pikou` in a server that only
//! this folder's users know. Called by the application when it starts (`start`) and when it has drained (`leave`).
//!
//! Several processes may share one data folder. Two lock files order them:
//! - `gate.lock`, exclusive, held only while somebody starts, attaches or leaves;
//! - `users.lock`, shared, held by every user for as long as it uses the server.
//!
//! Who leaves and then gets `users.lock` exclusively was the last, and stops the server. One file would not
//! do: flock gives a lock up before it takes it in another mode, and a leaver could slip in between.
//!
//! *If it dies:* the kernel drops the locks, the server lives on, the next start attaches and its leave stops it.
//! The cluster is made in a folder of another name and renamed when whole; role and database are made again
//! as long as they are missing.

mod account;
mod binaries;
mod database;
mod error;
mod locks;
mod place;
mod postmaster;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};

use binaries::Binaries;
pub use error::EmbeddedError;
use place::{Place, Secret};

/// A start may include recovery after a crash, of at most `max_wal_size` (4 GB) of log.
const READY_MAX_WAIT: Duration = Duration::from_secs(180);
/// Sessions of a server that was killed may outlive it; while they do, PostgreSQL refuses to start another one.
const ORPHANS_MAX_WAIT: Duration = Duration::from_secs(30);
const READY_POLL: Duration = Duration::from_millis(50);

/// A private PostgreSQL server below the data folder.
///
/// Dropping it without `leave` is like dying: the server goes on, for whoever comes next.
pub struct Embedded {
    place: Place,
    socket_folder: PathBuf,
    password: String,
    /// Shared for as long as this value lives.
    use_lock: File,
}

impl Embedded {
    /// Finds binaries, initdb on first use, starts or attaches; returns when it accepts connections and
    /// database `pikou` exists.
    pub async fn start(data_folder: &Path) -> Result<Embedded, EmbeddedError> {
        let place = Place::choose(data_folder)?;
        let gate = locks::pass_gate(&place.gate_lock()).await?;

        let socket_folder = place.socket_folder()?;
        if !place.has_cluster() {
            create_cluster(&place).await?;
        }
        let superuser = database::superuser(&socket_folder, &place.existing_secret(Secret::Superuser)?);
        let connection = ready(&place, &socket_folder, &superuser).await?;
        let begun = async {
            let password = place.secret(Secret::Worker)?;
            database::prepare(connection, &password).await?;
            Ok((password, locks::share(&place.use_lock())?))
        };
        match begun.await {
            Ok((password, use_lock)) => {
                drop(gate);
                Ok(Embedded { place, socket_folder, password, use_lock })
            }
            Err(error) => {
                // The first error is the one to tell.
                stop_unless_used(&place, &socket_folder).await.ok();
                Err(error)
            }
        }
    }

    /// Connection options for database `pikou` as its owner, the role `pikou`.
    pub fn options(&self) -> PgConnectOptions {
        database::worker(&self.socket_folder, &self.password)
    }

    /// Connection options of its superuser, who makes and drops other databases beside `pikou`.
    pub fn superuser(&self) -> Result<PgConnectOptions, EmbeddedError> {
        Ok(database::superuser(&self.socket_folder, &self.place.existing_secret(Secret::Superuser)?))
    }

    /// Where it lives, for messages to people. Not below the data folder if that is out of the server's reach.
    pub fn folder(&self) -> &Path {
        self.place.home()
    }

    /// Leaves the server; stops it cleanly (fast) if nobody else uses it.
    pub async fn leave(self) -> Result<(), EmbeddedError> {
        let _gate = locks::pass_gate(&self.place.gate_lock()).await?;
        drop(self.use_lock);
        stop_unless_used(&self.place, &self.socket_folder).await
    }
}

/// Without the password.
impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").field("folder", &self.place.home()).finish_non_exhaustive()
    }
}

/// Under the gate.
async fn stop_unless_used(place: &Place, socket_folder: &Path) -> Result<(), EmbeddedError> {
    // Held to the end, although the gate alone already keeps everybody else out.
    let Some(_nobody_else) = locks::alone(&place.use_lock()).await? else {
        tracing::info!(folder = %place.home().display(), "PostgreSQL goes on, others use it");
        return Ok(());
    };
    if let Some(pid) = postmaster::alive(place) {
        postmaster::stop(place, pid).await?;
        tracing::info!(folder = %place.home().display(), "PostgreSQL stopped");
    }
    place.forget_socket_folder(socket_folder);
    Ok(())
}

async fn create_cluster(place: &Place) -> Result<(), EmbeddedError> {
    let binaries = binaries::find(place.account(), None).await?;
    // On disk before initdb: a cluster never exists without its password.
    let password = place.secret(Secret::Superuser)?;
    let part = place.part_folder()?;
    let made = postmaster::initdb(place, &binaries, &part, &password).await;
    let made = made.and_then(|()| place.adopt_cluster(&part));
    place.remove_parts();
    made?;
    tracing::info!(folder = %place.home().display(), "new PostgreSQL cluster");
    Ok(())
}

/// Attaches to the server if it lives, starts it if not, waits if it is on its way up or down. Under the gate.
async fn ready(
    place: &Place,
    socket_folder: &Path,
    superuser: &PgConnectOptions,
) -> Result<PgConnection, EmbeddedError> {
    let began = Instant::now();
    let mut binaries: Option<Binaries> = None;
    let mut launched: Option<postmaster::Launched> = None;
    loop {
        let not_yet = match database::connect(superuser).await {
            Ok(connection) => {
                let doing = if launched.is_some() { "started" } else { "attached to" };
                tracing::info!(folder = %place.home().display(), "{doing} PostgreSQL");
                return Ok(connection);
            }
            Err(error) if database::comes_later(&error) => error,
            Err(source) => return Err(EmbeddedError::Database { doing: "connecting as its superuser", source }),
        };

        match &mut launched {
            Some(server) => {
                if let Some(status) = server.ended()? {
                    let tail = postmaster::log_since(place, server.log_start_bytes);
                    if !(postmaster::tells_of_orphans(&tail) && began.elapsed() < ORPHANS_MAX_WAIT) {
                        return Err(EmbeddedError::Died { status: status.to_string(), log: place.log(), tail });
                    }
                    launched = None;
                }
            }
            None if postmaster::alive(place).is_none() => {
                let binaries = match &binaries {
                    Some(found) => found,
                    None => binaries.insert(binaries::find(place.account(), Some(place.cluster_version()?)).await?),
                };
                postmaster::disarm_stale_pid_files(place, socket_folder)?;
                launched = Some(postmaster::launch(place, binaries, socket_folder)?);
            }
            None => {} // it lives, and is starting, recovering or stopping
        }

        if began.elapsed() > READY_MAX_WAIT {
            // Left running: it may still be recovering, and the next start attaches to it.
            return Err(EmbeddedError::NotReady {
                waited_seconds: READY_MAX_WAIT.as_secs(),
                socket_folder: socket_folder.to_owned(),
                tail: postmaster::log_since(place, 0),
                log: place.log(),
                source: Box::new(not_yet),
            });
        }
        tokio::time::sleep(READY_POLL).await;
    }
}
