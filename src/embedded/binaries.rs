//! Which `initdb` and `postgres` to run.
//!
//! In come the account that has to run them and, for a cluster that exists, its version; out go two paths.
//! Called by `start` when there is a cluster to make or a server to launch; attaching needs no binaries.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::EmbeddedError;
use super::account::{Account, may_enter};
use super::postmaster::command;

/// Names the folder, and nothing else is looked at.
const BINDIR: &str = "PIKOU_PG_BINDIR";
/// `log_parameter_max_length_on_error`, without which values could get into the log, came with 13.
const OLDEST_VERSION: u32 = 13;
const ASK_MAX_WAIT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) initdb: PathBuf,
    pub(super) postgres: PathBuf,
    version: u32,
}

pub(super) async fn find(account: Account, cluster_version: Option<u32>) -> Result<Binaries, EmbeddedError> {
    let named = std::env::var_os(BINDIR).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folders = match &named {
        Some(folder) => vec![folder.clone()],
        None => usual_folders(account).await,
    };
    let mut found = Vec::new();
    for folder in &folders {
        found.extend(in_folder(folder, account).await);
    }
    if found.is_empty() {
        return Err(match named {
            Some(folder) => {
                EmbeddedError::WrongFolder { variable: BINDIR, folder, oldest: OLDEST_VERSION, uid: account.uid }
            }
            None => EmbeddedError::NoBinaries {
                oldest: OLDEST_VERSION,
                looked_in: "PATH, pg_config --bindir, /usr/lib/postgresql, /usr/pgsql-*, Homebrew".into(),
                variable: BINDIR,
            },
        });
    }
    let Some(wanted) = cluster_version else { return Ok(found.swap_remove(0)) };
    let mut versions: Vec<String> = found.iter().map(|binaries| binaries.version.to_string()).collect();
    versions.dedup();
    let fits = found.into_iter().find(|binaries| binaries.version == wanted);
    fits.ok_or_else(|| EmbeddedError::WrongVersion { wanted, found: versions.join(", ") })
}

/// In the order of preference; where several versions stand side by side, the highest first.
async fn usual_folders(account: Account) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    for folder in folders.clone() {
        if let Some(bindir) = ask(&folder.join("pg_config"), "--bindir", account).await {
            folders.push(PathBuf::from(bindir.trim()));
            break;
        }
    }
    for (parent, prefix) in [
        ("/usr/lib/postgresql", ""),
        ("/usr", "pgsql-"),
        ("/opt/homebrew/opt", "postgresql"),
        ("/usr/local/opt", "postgresql"),
        ("/home/linuxbrew/.linuxbrew/opt", "postgresql"),
    ] {
        folders.extend(versions_below(Path::new(parent), prefix));
    }
    folders
}

fn versions_below(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let mut versions: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix(prefix)?.trim_start_matches('@');
            // Homebrew's `postgresql` without a number is the newest.
            let version = if version.is_empty() { u32::MAX } else { version.parse().ok()? };
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort_by(|a, b| b.cmp(a));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

/// The folder's binaries, if they are there, new enough, and the account can run them.
async fn in_folder(folder: &Path, account: Account) -> Option<Binaries> {
    let folder = std::fs::canonicalize(folder).ok()?;
    let (initdb, postgres) = (folder.join("initdb"), folder.join("postgres"));
    if !initdb.is_file() || !postgres.is_file() || !may_enter(account, &folder) {
        return None;
    }
    let version = major(&ask(&postgres, "--version", account).await?)?;
    (version >= OLDEST_VERSION).then_some(Binaries { initdb, postgres, version })
}

/// What the program answers, if it runs at all.
async fn ask(program: &Path, question: &str, account: Account) -> Option<String> {
    if !program.is_file() {
        return None;
    }
    let mut asked = command(program, account, Path::new("/"));
    let output = asked.arg(OsString::from(question)).kill_on_drop(true).output();
    let output = tokio::time::timeout(ASK_MAX_WAIT, output).await.ok()?.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)` is 15, `… 19devel` is 19.
fn major(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL) ")?.1;
    let end = number.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(number.len());
    number[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_postgres_says() {
        assert_eq!(major("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 19devel\n"), Some(19));
        assert_eq!(major("postgres (Other) 19\n"), None);
    }

    #[test]
    fn higher_versions_come_first_by_number() {
        let parent = tempfile::tempdir().expect("a folder");
        for name in ["pgsql-9", "pgsql-17", "pgsql-x", "other"] {
            std::fs::create_dir(parent.path().join(name)).expect("a version");
        }
        let expected = ["pgsql-17/bin", "pgsql-9/bin"].map(|name| parent.path().join(name));
        assert_eq!(versions_below(parent.path(), "pgsql-"), expected);
    }
}
