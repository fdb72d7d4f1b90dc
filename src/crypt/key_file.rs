//! The key file, in TOML, and how it changes: made once, then a key more ([`rotate`]) or less ([`remove`]).
//!
//! ```toml
//! current = "k2-9f3a"           # new values are encrypted with it
//! lookup = "base64, 32 bytes"   # secret of the keyed hashes; never changes
//! [keys]
//! k1 = "base64, 32 bytes"       # as the first release wrote it: aes-256-gcm
//! [keys.k2-9f3a]
//! algorithm = "sm4-gcm"
//! secret = "base64, 16 bytes"
//! ```
//!
//! Every change is written beside, synced and renamed: whoever reads finds the old file or the new one, after a crash
//! too. Two who change it at once wait for each other. Called by `Keys`, and by the commands that change keys.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::cipher::Algorithm;
use super::value::KEY_ID_MAX;

const LOOKUP_BYTES: usize = 32;

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot read or write the key file {path}")]
    File { path: PathBuf, source: io::Error },
    #[error("key file{}: {reason}", .path.as_ref().map(|path| format!(" {}", path.display())).unwrap_or_default())]
    Content { path: Option<PathBuf>, reason: String },
    #[error("there is no key {0} in the key file")]
    NoSuchKey(String),
    #[error("{0} is the current key: rotate first")]
    IsCurrent(String),
}

impl KeyError {
    fn content(reason: impl Into<String>) -> KeyError {
        KeyError::Content { path: None, reason: reason.into() }
    }

    fn at(self, path: &Path) -> KeyError {
        match self {
            KeyError::Content { reason, .. } => KeyError::Content { path: Some(path.to_owned()), reason },
            other => other,
        }
    }
}

fn file_error(path: &Path) -> impl Fn(io::Error) -> KeyError {
    move |source| KeyError::File { path: path.to_owned(), source }
}

/// Id, algorithm, and bytes of a key.
type Secret<'f> = (&'f str, Algorithm, Vec<u8>);

/// What stands in the file. No `Debug`: it is all secrets.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    current: String,
    lookup: String,
    keys: BTreeMap<String, Key>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Key {
    /// The first release knew one algorithm.
    Aes256Gcm(String),
    Named(NamedKey),
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedKey {
    algorithm: String,
    secret: String,
}

impl KeyFile {
    pub fn read(path: &Path) -> Result<KeyFile, KeyError> {
        let text = std::fs::read_to_string(path).map_err(file_error(path))?;
        KeyFile::parse(&text).map_err(|error| error.at(path))
    }

    pub fn parse(text: &str) -> Result<KeyFile, KeyError> {
        // toml's own message would quote the line, and with it the secret.
        let file: KeyFile =
            toml::from_str(text).map_err(|_| KeyError::content("not a key file (current, lookup, [keys])"))?;
        file.secrets()?;
        file.lookup_secret()?;
        if !file.keys.contains_key(&file.current) {
            return Err(KeyError::content(format!("the current key {} is not among the keys", file.current)));
        }
        Ok(file)
    }

    pub fn current(&self) -> &str {
        &self.current
    }

    /// Each key with its algorithm and secret, which is as long as the algorithm's keys are.
    pub(super) fn secrets(&self) -> Result<Vec<Secret<'_>>, KeyError> {
        let mut secrets = Vec::with_capacity(self.keys.len());
        for (id, key) in &self.keys {
            if id.is_empty() || id.len() > KEY_ID_MAX {
                return Err(KeyError::content(format!("a key id has 1 to {KEY_ID_MAX} characters")));
            }
            let (algorithm, secret) = match key {
                Key::Aes256Gcm(secret) => (Algorithm::Aes256Gcm, secret),
                Key::Named(NamedKey { algorithm, secret }) => {
                    let unknown = || KeyError::content(format!("key {id} has an algorithm that we do not know"));
                    (Algorithm::from_name(algorithm).ok_or_else(unknown)?, secret)
                }
            };
            secrets.push((id.as_str(), algorithm, decode(&format!("key {id}"), secret, algorithm.key_bytes())?));
        }
        Ok(secrets)
    }

    pub(super) fn lookup_secret(&self) -> Result<Vec<u8>, KeyError> {
        decode("lookup", &self.lookup, LOOKUP_BYTES)
    }

    fn add(&mut self, algorithm: Algorithm) -> &str {
        // The number is for people. The rest keeps a key made after an old file was put back from having the id of
        // the one that is lost with the newer file.
        let number = self.keys.keys().filter_map(|id| number(id)).max().unwrap_or(0) + 1;
        self.current = format!("k{number}-{:04x}", rand::random::<u16>());
        self.keys.insert(self.current.clone(), new_key(algorithm));
        &self.current
    }

    fn text(&self) -> String {
        toml::to_string(self).expect("a key file is plain TOML")
    }
}

/// `k12-9f3a` → 12
fn number(id: &str) -> Option<u32> {
    id.strip_prefix('k')?.split('-').next()?.parse().ok()
}

fn decode(name: &str, text: &str, length: usize) -> Result<Vec<u8>, KeyError> {
    let bytes = STANDARD.decode(text).map_err(|_| KeyError::content(format!("{name} is not base64")))?;
    if bytes.len() == length { Ok(bytes) } else { Err(KeyError::content(format!("{name} is not {length} bytes long"))) }
}

fn new_key(algorithm: Algorithm) -> Key {
    let secret: [u8; 32] = rand::random();
    let secret = STANDARD.encode(&secret[..algorithm.key_bytes()]);
    Key::Named(NamedKey { algorithm: algorithm.as_str().into(), secret })
}

/// Makes the file with one key, unless there is one. Says whether it did.
pub fn make(path: &Path, algorithm: Algorithm) -> Result<bool, KeyError> {
    if path.try_exists().map_err(file_error(path))? {
        return Ok(false);
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(file_error(path))?;
    }
    let lookup = STANDARD.encode(rand::random::<[u8; LOOKUP_BYTES]>());
    let file = KeyFile { current: "k1".into(), lookup, keys: BTreeMap::from([("k1".into(), new_key(algorithm))]) };
    let draft = write_beside(path, &file).map_err(file_error(path))?;
    // Linked, not renamed: of two processes the second must not replace what the first has begun to use.
    let made = match std::fs::hard_link(&draft, path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    };
    std::fs::remove_file(&draft).and(made).map_err(file_error(path))
}

/// Adds a random key and makes it the current one. Returns its id.
pub fn rotate(path: &Path, algorithm: Algorithm) -> Result<String, KeyError> {
    change(path, |file| Ok(file.add(algorithm).to_owned()))
}

/// Takes a key out of the file. Whether a value still carries it, the caller must know.
pub fn remove(path: &Path, id: &str) -> Result<(), KeyError> {
    change(path, |file| {
        if file.current == id {
            return Err(KeyError::IsCurrent(id.to_owned()));
        }
        file.keys.remove(id).map(drop).ok_or_else(|| KeyError::NoSuchKey(id.to_owned()))
    })
}

fn change<T>(path: &Path, edit: impl FnOnce(&mut KeyFile) -> Result<T, KeyError>) -> Result<T, KeyError> {
    // The lock is a file of its own: the key file itself is another one after each change.
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(beside(path, "lock"));
    let lock = lock.and_then(|lock| lock.lock().map(|()| lock)).map_err(file_error(path))?;
    let mut file = KeyFile::read(path)?;
    let done = edit(&mut file)?;
    let draft = write_beside(path, &file).map_err(file_error(path))?;
    let renamed = std::fs::rename(&draft, path).and_then(|()| match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    });
    renamed.map_err(file_error(path))?;
    drop(lock);
    Ok(done)
}

fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{what}"));
    path.with_file_name(name)
}

fn write_beside(path: &Path, file: &KeyFile) -> io::Result<PathBuf> {
    let draft = beside(path, &format!("new{}", std::process::id()));
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    out.write_all(file.text().as_bytes())?;
    out.sync_all()?;
    Ok(draft)
}

/// By which a changed file is told: each change makes another file under the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Mark {
    pub fn of(path: &Path) -> Option<Mark> {
        let data = std::fs::metadata(path).ok()?;
        Some(Mark { inode: data.ino(), bytes: data.len(), changed: (data.mtime(), data.mtime_nsec()) })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const SECRET: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    fn released() -> String {
        format!("current = \"k1\"\nlookup = \"{SECRET}\"\n\n[keys]\nk1 = \"{SECRET}\"\n")
    }

    fn ids(path: &Path) -> Vec<String> {
        let file = KeyFile::read(path).unwrap();
        file.secrets().unwrap().into_iter().map(|(id, kind, _)| format!("{id} {}", kind.as_str())).collect()
    }

    #[test]
    fn a_key_file_is_made_once_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/keys.toml");
        assert!(make(&path, Algorithm::Sm4Gcm).unwrap());
        let made = std::fs::read_to_string(&path).unwrap();
        assert!(!make(&path, Algorithm::Aes256Gcm).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), made);
        rotate(&path, Algorithm::Aes256Gcm).unwrap();
        for file in std::fs::read_dir(path.parent().unwrap()).unwrap() {
            assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_key_more_and_a_key_less_leave_the_others_and_the_hashes_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        std::fs::write(&path, released()).unwrap();
        let second = rotate(&path, Algorithm::Sm4Gcm).unwrap();
        let third = rotate(&path, Algorithm::Aes256Gcm).unwrap();
        assert!(second.starts_with("k2-") && third.starts_with("k3-"), "{second} {third}");
        let all = ["k1 aes-256-gcm".to_owned(), format!("{second} sm4-gcm"), format!("{third} aes-256-gcm")];
        assert_eq!(ids(&path), all);
        let file = KeyFile::read(&path).unwrap();
        assert_eq!((file.current(), file.lookup_secret().unwrap()), (third.as_str(), vec![1; 32]));
        assert_eq!(file.secrets().unwrap()[0].2, [1; 32]);

        assert!(matches!(remove(&path, &third), Err(KeyError::IsCurrent(_))));
        assert!(matches!(remove(&path, "k9"), Err(KeyError::NoSuchKey(_))));
        remove(&path, "k1").unwrap();
        assert_eq!(ids(&path), all[1..]);
        assert!(matches!(rotate(&folder.path().join("none"), Algorithm::Sm4Gcm), Err(KeyError::File { .. })));
    }

    #[test]
    fn keys_added_at_once_are_all_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        make(&path, Algorithm::Aes256Gcm).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| rotate(&path, Algorithm::Aes256Gcm).unwrap());
            }
        });
        assert_eq!(ids(&path).len(), 9);
    }

    #[test]
    fn a_broken_key_file_is_an_error_that_does_not_repeat_its_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        for (broken, said) in [
            (released().replacen(SECRET, "c2VjcmV0", 2), "not 32 bytes long"),
            (released().replace("k1 = ", "k2 = "), "the current key k1 is not among the keys"),
            (
                released() + "[keys.k2]\nalgorithm = \"rot13\"\nsecret = \"c2VjcmV0\"\n",
                "an algorithm that we do not know",
            ),
            (released() + "[keys.k2]\nalgorithm = \"sm4-gcm\"\nsecret = \"c2VjcmV0\"\n", "not 16 bytes long"),
            (released() + "[keys.k2]\nsecret = \"c2VjcmV0\"\n", "not a key file"),
            (released() + "c2VjcmV0", "not a key file"),
        ] {
            std::fs::write(&path, broken).unwrap();
            let error = KeyFile::read(&path).err().unwrap().to_string();
            assert!(error.contains(said) && !error.contains("c2VjcmV0") && !error.contains(SECRET), "{error}");
            assert!(error.contains("keys.toml"), "{error}");
        }
    }
}
