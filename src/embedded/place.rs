//! Where the server lives, and as whom it runs.
//!
//! In comes the data folder, out goes a home for cluster, socket, log, locks and passwords, together with the
//! account that owns the cluster. Called by `start` before anything else.
//!
//! Started as root, the home belongs to root and only cluster and socket belong to the server's account, so
//! that a broken-into server cannot make us write through links of its making. A cluster that exists always
//! wins over what would be chosen for a new one: data never disappears because permissions changed.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::EmbeddedError;
use super::account::{Account, account_in, may_enter, own_folder};

/// Only part of the socket's name, nothing listens on it.
pub(super) const PORT: u16 = 5432;
pub(super) const SUPERUSER: &str = "postgres";

/// For data folders the server's account cannot reach.
const AWAY: &str = "/var/lib/pikou";
const SOCKET_PATH_MAX_BYTES: usize = 100;
const SECRET_BYTES: usize = 24;
const PART: &str = "cluster.part-";

/// The passwords we keep.
#[derive(Debug, Clone, Copy)]
pub(super) enum Secret {
    Superuser,
    Worker,
}

pub(super) struct Place {
    home: PathBuf,
    account: Account,
}

impl Place {
    pub(super) fn choose(data_folder: &Path) -> Result<Place, EmbeddedError> {
        fs::create_dir_all(data_folder).map_err(at(data_folder))?;
        let data_folder = fs::canonicalize(data_folder).map_err(at(data_folder))?;
        let below = data_folder.join("postgres");
        let our_uid = rustix::process::geteuid().as_raw();
        if our_uid == 0 {
            return Place::choose_as_root(&data_folder, below);
        }
        let account = Account { uid: our_uid, gid: rustix::process::getegid().as_raw(), is_other: false };
        let place = Place { home: below, account };
        if place.has_cluster() {
            place.account_of_cluster()?;
        }
        make_home(&place.home, 0o700)?;
        Ok(place)
    }

    fn choose_as_root(data_folder: &Path, below: PathBuf) -> Result<Place, EmbeddedError> {
        let away = Path::new(AWAY).join(short_hash(data_folder));
        for home in [&below, &away] {
            let mut place = Place { home: home.clone(), account: Account { uid: 0, gid: 0, is_other: true } };
            if place.has_cluster() {
                place.account = place.account_of_cluster()?;
                if !may_enter(place.account, home) {
                    return Err(EmbeddedError::OutOfReach { home: home.clone(), uid: place.account.uid });
                }
                return Ok(place);
            }
        }
        let passwd = fs::read_to_string("/etc/passwd").map_err(at(Path::new("/etc/passwd")))?;
        let account = account_in(&passwd).ok_or(EmbeddedError::NoAccount)?;
        if may_enter(account, data_folder) {
            make_home(&below, 0o711)?;
            return Ok(Place { home: below, account });
        }
        make_home(Path::new(AWAY), 0o711)?;
        make_home(&away, 0o711)?;
        // For the person who finds it and wonders.
        let note = away.join("data-folder");
        fs::write(&note, format!("{}\n", data_folder.display())).map_err(at(&note))?;
        Ok(Place { home: away, account })
    }

    /// The owner of an existing cluster decides as whom the server runs.
    fn account_of_cluster(&self) -> Result<Account, EmbeddedError> {
        let cluster = self.cluster();
        let owner = fs::symlink_metadata(&cluster).map_err(at(&cluster))?;
        let is_root = rustix::process::geteuid().is_root();
        if owner.uid() == 0 || (!is_root && owner.uid() != self.account.uid) {
            return Err(EmbeddedError::ForeignCluster { cluster, owner_uid: owner.uid() });
        }
        Ok(Account { uid: owner.uid(), gid: owner.gid(), is_other: is_root })
    }

    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    pub(super) fn account(&self) -> Account {
        self.account
    }

    pub(super) fn cluster(&self) -> PathBuf {
        self.home.join("cluster")
    }

    /// It gets its name when it is whole, so the name is enough.
    pub(super) fn has_cluster(&self) -> bool {
        self.cluster().symlink_metadata().is_ok()
    }

    /// The major version that made the cluster, and alone can run it.
    pub(super) fn cluster_version(&self) -> Result<u32, EmbeddedError> {
        let path = self.cluster().join("PG_VERSION");
        let text = fs::read_to_string(&path).map_err(at(&path))?;
        text.trim().parse().map_err(|_| EmbeddedError::VersionUnreadable { path })
    }

    pub(super) fn log(&self) -> PathBuf {
        self.home.join("server.log")
    }

    pub(super) fn gate_lock(&self) -> PathBuf {
        self.home.join("gate.lock")
    }

    pub(super) fn use_lock(&self) -> PathBuf {
        self.home.join("users.lock")
    }

    /// A fresh folder of the server's account for initdb. Never one that exists: an initdb whose worker was
    /// killed may still be writing there.
    pub(super) fn part_folder(&self) -> Result<PathBuf, EmbeddedError> {
        let part = self.home.join(format!("{PART}{:016x}", rand::random::<u64>()));
        own_folder(&part, self.account)?;
        Ok(part)
    }

    /// The finished cluster gets its name. Under the gate.
    pub(super) fn adopt_cluster(&self, part: &Path) -> Result<(), EmbeddedError> {
        let cluster = self.cluster();
        fs::rename(part.join("cluster"), &cluster).map_err(at(&cluster))?;
        sync_folder(&self.home)
    }

    /// Clears what this and earlier, interrupted attempts left. One that cannot be removed yet is removed next time.
    pub(super) fn remove_parts(&self) {
        let Ok(entries) = fs::read_dir(&self.home) else { return };
        for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PART)) {
            if let Err(error) = fs::remove_dir_all(entry.path()) {
                tracing::warn!(path = %entry.path().display(), %error, "cannot remove what an interrupted initdb left");
            }
        }
    }

    /// Below home if the socket's name is short and plain enough there; else in /tmp, named after home.
    pub(super) fn socket_folder(&self) -> Result<PathBuf, EmbeddedError> {
        let folder = socket_folder_for(&self.home);
        own_folder(&folder, self.account)?;
        Ok(folder)
    }

    /// After a clean stop nothing stays in /tmp.
    pub(super) fn forget_socket_folder(&self, folder: &Path) {
        if !folder.starts_with(&self.home)
            && let Err(error) = fs::remove_dir(folder)
        {
            tracing::debug!(folder = %folder.display(), %error, "the socket's folder stays");
        }
    }

    fn secret_path(&self, secret: Secret) -> PathBuf {
        self.home.join(match secret {
            Secret::Superuser => "superuser.password",
            Secret::Worker => "pikou.password",
        })
    }

    /// The password in the file, which is made if it is missing. Mode 0600, on disk before it is used.
    pub(super) fn secret(&self, secret: Secret) -> Result<String, EmbeddedError> {
        let path = self.secret_path(secret);
        match fs::read_to_string(&path) {
            Ok(text) => return Ok(text.trim_end().to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(at(&path)(error)),
        }
        let text = URL_SAFE_NO_PAD.encode(rand::random::<[u8; SECRET_BYTES]>());
        let part = path.with_extension("password.part");
        write_private(&part, text.as_bytes())?;
        fs::rename(&part, &path).map_err(at(&path))?;
        sync_folder(&self.home)?;
        Ok(text)
    }

    /// A password that a cluster was made with: a new one would not open it.
    pub(super) fn existing_secret(&self, secret: Secret) -> Result<String, EmbeddedError> {
        let path = self.secret_path(secret);
        match path.try_exists() {
            Ok(true) => self.secret(secret),
            Ok(false) => Err(EmbeddedError::SecretLost { path }),
            Err(error) => Err(at(&path)(error)),
        }
    }
}

/// An I/O error with its path.
pub(super) fn at(path: &Path) -> impl FnOnce(std::io::Error) -> EmbeddedError {
    let path = path.to_owned();
    move |source| EmbeddedError::File { path, source }
}

/// A new file of mode 0600, on disk; one that a killed worker left half-written is replaced.
pub(super) fn write_private(path: &Path, content: &[u8]) -> Result<(), EmbeddedError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(at(path)(error)),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(at(path))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(at(path))
}

fn socket_folder_for(home: &Path) -> PathBuf {
    let below = home.join("run");
    let length_bytes = below.join(format!(".s.PGSQL.{PORT}")).as_os_str().len();
    // The setting is a list with commas and quotes: a path of letters, digits and `/._-` needs none.
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
    if length_bytes < SOCKET_PATH_MAX_BYTES && below.as_os_str().as_encoded_bytes().iter().all(is_plain) {
        return below;
    }
    Path::new("/tmp").join(format!("pikou-{}", short_hash(home)))
}

fn short_hash(path: &Path) -> String {
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn make_home(home: &Path, mode: u32) -> Result<(), EmbeddedError> {
    DirBuilder::new().recursive(true).mode(mode).create(home).map_err(at(home))?;
    // Whatever the umask says.
    fs::set_permissions(home, Permissions::from_mode(mode)).map_err(at(home))
}

fn sync_folder(folder: &Path) -> Result<(), EmbeddedError> {
    File::open(folder).and_then(|opened| opened.sync_all()).map_err(at(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_or_odd_paths_put_the_socket_into_a_short_folder() {
        assert_eq!(socket_folder_for(Path::new("/srv/pikou/postgres")), Path::new("/srv/pikou/postgres/run"));
        for home in [format!("/srv/{}", "x".repeat(100)), "/srv/a,b".into(), "/srv/a b".into(), "/srv/批扣".into()] {
            let folder = socket_folder_for(Path::new(&home));
            assert!(folder.starts_with("/tmp") && folder.as_os_str().len() < 40, "{folder:?}");
        }
    }
}
