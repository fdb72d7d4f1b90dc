//! Encryption at rest, in one place: names, identity numbers, accounts, raw messages and bytes of files.
//!
//! In goes plain text with the name of the column it belongs to, out comes a value that names its key. Called by the
//! stages, never by the store: the database sees nothing readable. Also how a hash is written.
//!
//! [`cipher`] has the algorithms, [`key_file`] what stands in the key file and how it changes, [`ring`] the keys that
//! were in it at one moment, [`value`] what a sealed value looks like. [`Keys`] is what a worker holds: it follows the
//! file, so a key that is added while the worker works is used without a restart.

pub mod cipher;
pub mod key_file;
pub mod ring;
pub mod value;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use hmac::Mac;

pub use cipher::Algorithm;
use key_file::Mark;
pub use key_file::{KeyError, KeyFile};
pub use ring::{Purpose, Ring};
pub use value::SealedError;

/// How often a worker that seals looks whether the key file has changed: the longest time it may go on with a key
/// that is no longer the current one.
pub const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The keys of a worker, as the key file has them.
pub struct Keys {
    path: PathBuf,
    held: RwLock<Held>,
}

struct Held {
    ring: Arc<Ring>,
    /// Of the file that was read last, also of one that was not taken over.
    mark: Option<Mark>,
    looked: Instant,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Keys {
    /// Reads the key file; where there is none, makes one with random secrets that only its owner may read, and a key
    /// of the given algorithm.
    pub fn load_or_make(path: &Path, algorithm: Algorithm) -> Result<Keys, KeyError> {
        if key_file::make(path, algorithm)? {
            tracing::warn!(path = %path.display(), "made a new key file: keep it safe, without it no value opens");
        }
        // The mark first: a change in between is then seen at the next look.
        let mark = Mark::of(path);
        let ring = Arc::new(Ring::of(&KeyFile::read(path)?)?);
        Ok(Keys { path: path.to_owned(), held: RwLock::new(Held { ring, mark, looked: Instant::now() }) })
    }

    /// The keys to seal with now; looks at the file if it was not looked at for [`LOOK_EVERY`]. What a stage writes is
    /// sealed by its context's `sealer`, which also asks the database whether that key is still in use.
    pub fn current(&self) -> Arc<Ring> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        if held.looked.elapsed() < LOOK_EVERY {
            return Arc::clone(&held.ring);
        }
        drop(held);
        self.look()
    }

    /// Looks at the file now.
    pub fn look(&self) -> Arc<Ring> {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.looked = Instant::now();
        let mark = Mark::of(&self.path);
        if mark == held.mark {
            return Arc::clone(&held.ring);
        }
        // Said once for each change of the file, not at each look.
        held.mark = mark;
        match KeyFile::read(&self.path).and_then(|file| Ring::of(&file)) {
            Ok(ring) if !ring.same_hashes(&held.ring) => {
                tracing::error!(path = %self.path.display(), "the key file has another lookup secret: it is not taken over");
            }
            Ok(ring) => {
                if ring.key_id() != held.ring.key_id() {
                    tracing::info!(key = ring.key_id(), "the key file has a new current key: it is used from now on");
                }
                held.ring = Arc::new(ring);
            }
            Err(error) => {
                tracing::error!(%error, "the key file has changed and cannot be used: going on with the old keys")
            }
        }
        Arc::clone(&held.ring)
    }

    /// Opens a value. One that names a key we do not have makes us look at the file before we give up.
    pub fn open(&self, purpose: Purpose, value: &[u8]) -> Result<Vec<u8>, SealedError> {
        let ring = Arc::clone(&self.held.read().unwrap_or_else(PoisonError::into_inner).ring);
        match ring.open(purpose, value) {
            Err(SealedError::UnknownKey(_)) => self.look().open(purpose, value),
            opened => opened,
        }
    }

    /// [`Keys::open`] for text.
    pub fn open_text(&self, purpose: Purpose, value: &[u8]) -> Result<String, SealedError> {
        String::from_utf8(self.open(purpose, value)?).map_err(|_| SealedError::Format)
    }

    /// A keyed hash: equal for equal content, useless to whoever does not have the key file. Its secret never changes:
    /// hashes cannot be made anew from hashes, and one made with another secret would find nothing.
    pub fn digest(&self, content: &[u8]) -> [u8; 32] {
        let mut mac = self.held.read().unwrap_or_else(PoisonError::into_inner).ring.hashes();
        mac.update(content);
        mac.finalize().into_bytes().into()
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(folder: &Path) -> Keys {
        Keys::load_or_make(&folder.join("keys.toml"), Algorithm::Aes256Gcm).unwrap()
    }

    #[test]
    fn a_key_added_to_the_file_opens_values_in_a_worker_that_has_not_looked_yet() {
        let folder = tempfile::tempdir().unwrap();
        let (worker, other) = (keys(folder.path()), keys(folder.path()));
        let before = worker.current().seal(Purpose::PersonName, b"before");
        let id = key_file::rotate(&folder.path().join("keys.toml"), Algorithm::Sm4Gcm).unwrap();
        assert_eq!(other.look().key_id(), id);
        let after = other.current().seal(Purpose::PersonName, b"after");
        assert_eq!(value::key_id(&after).unwrap(), id);
        assert_eq!(worker.open(Purpose::PersonName, &after).unwrap(), b"after");
        assert_eq!(worker.current().key_id(), id, "and is used from then on");
        assert_eq!(worker.open(Purpose::PersonName, &before).unwrap(), b"before");
    }

    #[test]
    fn a_file_that_became_unusable_or_has_other_hashes_is_not_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        let worker = keys(folder.path());
        let (id, digest) = (worker.current().key_id().to_owned(), worker.digest(b"x"));
        std::fs::write(&path, "nonsense").unwrap();
        assert_eq!((worker.look().key_id(), worker.digest(b"x")), (id.as_str(), digest));
        std::fs::remove_file(&path).unwrap();
        assert_eq!((worker.look().key_id(), worker.digest(b"x")), (id.as_str(), digest));
        keys(folder.path());
        assert_eq!((worker.look().key_id(), worker.digest(b"x")), (id.as_str(), digest));
    }
}
