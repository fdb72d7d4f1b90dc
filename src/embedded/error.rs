//! What can go wrong around the private PostgreSQL, in words for the person who has to mend it.
//!
//! In come paths, exit codes and the last lines of the server's log; out go messages. Made by every file of
//! this module, printed once by whoever started the worker.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    #[error("cannot use {path}")]
    File { path: PathBuf, source: std::io::Error },

    #[error(
        "PostgreSQL refuses to run as root, and /etc/passwd has neither a user `postgres` nor `nobody`: \
         add one, or start pikou as an ordinary user"
    )]
    NoAccount,

    #[error(
        "the PostgreSQL cluster {cluster} belongs to uid {owner_uid}: start pikou as that user{}",
        if *owner_uid == 0 { " (PostgreSQL refuses root: chown -R it to an ordinary user)" } else { " or as root" }
    )]
    ForeignCluster { cluster: PathBuf, owner_uid: u32 },

    #[error(
        "the PostgreSQL cluster below {home} runs as uid {uid}, which may not enter that folder: \
         chmod o+x it and its parents"
    )]
    OutOfReach { home: PathBuf, uid: u32 },

    #[error("{path} is not a folder of uid {uid}: remove it")]
    FolderTaken { path: PathBuf, uid: u32 },

    #[error("{path} is gone, and with it the way into the PostgreSQL cluster beside it: restore it from a backup")]
    SecretLost { path: PathBuf },

    #[error(
        "no PostgreSQL server found (version {oldest} or later; looked in {looked_in}). Install it (Debian, Ubuntu: \
         apt-get install postgresql; Fedora, RHEL: dnf install postgresql-server; macOS: brew install postgresql), \
         or name the folder of initdb and postgres in {variable}"
    )]
    NoBinaries { oldest: u32, looked_in: String, variable: &'static str },

    #[error(
        "{variable} names {folder}, which does not hold programs `initdb` and `postgres`, version {oldest} or later, \
         that uid {uid} may run"
    )]
    WrongFolder { variable: &'static str, folder: PathBuf, oldest: u32, uid: u32 },

    #[error("the cluster was made by PostgreSQL {wanted}, but only {found} was found: install {wanted}")]
    WrongVersion { wanted: u32, found: String },

    #[error("{path} does not hold the version of a PostgreSQL cluster")]
    VersionUnreadable { path: PathBuf },

    #[error("cannot run {program}")]
    Run { program: PathBuf, source: std::io::Error },

    #[error("initdb failed ({status}):\n{output}")]
    Initdb { status: String, output: String },

    #[error("PostgreSQL did not start ({status}); the end of its log {log}:\n{tail}")]
    Died { status: String, log: PathBuf, tail: String },

    #[error(
        "PostgreSQL does not accept connections in {socket_folder} after {waited_seconds} s; \
         the end of its log {log}:\n{tail}"
    )]
    NotReady { waited_seconds: u64, socket_folder: PathBuf, log: PathBuf, tail: String, source: Box<sqlx::Error> },

    #[error("PostgreSQL (pid {pid}) does not stop after {waited_seconds} s; the end of its log {log}:\n{tail}")]
    NotStopped { pid: i32, waited_seconds: u64, log: PathBuf, tail: String },

    #[error("cannot send PostgreSQL (pid {pid}) the signal to stop")]
    Signal { pid: i32, source: std::io::Error },

    #[error(
        "another pikou process has been starting or stopping PostgreSQL for more than {waited_seconds} s \
         (it holds {path})"
    )]
    GateBusy { path: PathBuf, waited_seconds: u64 },

    #[error("{path} is locked by something that is not pikou")]
    UseLockTaken { path: PathBuf },

    #[error("the private PostgreSQL failed while {doing}")]
    Database { doing: &'static str, source: sqlx::Error },
}
