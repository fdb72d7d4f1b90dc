//! Encryption at rest, in one place: names, identity numbers, accounts, raw messages and bytes of files.
//!
//! In goes plain text with the name of the column it belongs to, out comes a value that names its key:
//! `01 | length of key id | key id | nonce (12) | ciphertext and tag`. The head and the column are
//! authenticated, so a value cannot be moved to another column or be passed off under another key.
//! Called by the stages, never by the store: the database sees nothing readable. Also how a hash is written.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, KeyInit, Nonce, Payload};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

const FORMAT: u8 = 1;
const NONCE_BYTES: usize = 12;
const SECRET_BYTES: usize = 32;

/// The column a value belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    PersonName,
    IdentityNumber,
    AccountName,
    AccountNumber,
    RawMessage,
    FileContent,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Purpose::PersonName => b"name",
            Purpose::IdentityNumber => b"id_number",
            Purpose::AccountName => b"account_name",
            Purpose::AccountNumber => b"account_no",
            Purpose::RawMessage => b"message",
            Purpose::FileContent => b"file",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot read or write the key file {path}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("key file {path}: {reason}")]
    Content { path: PathBuf, reason: String },
}

/// A stored value that does not open. Never carries any of its content.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SealedError {
    #[error("the value is not one of ours (damaged, or not encrypted)")]
    Format,
    #[error("the value was encrypted with key {0}, which the key file does not hold")]
    UnknownKey(String),
    #[error("the value does not open: it was changed, or belongs to another column")]
    Changed,
}

/// The key file, in TOML: `current`, a table `keys` (id → base64 of 32 bytes) and `lookup` (base64 of 32 bytes).
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    /// The key new values are encrypted with. Older ones stay in `keys` as long as values carry their id.
    current: String,
    /// The secret of the keyed hashes by which encrypted values are looked up. Never changes.
    lookup: String,
    keys: BTreeMap<String, String>,
}

/// Keys to seal and open values with.
pub struct Keys {
    current: String,
    ciphers: BTreeMap<String, Aes256Gcm>,
    lookup: Hmac<Sha256>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("current", &self.current).finish_non_exhaustive()
    }
}

impl Keys {
    /// Reads the key file; where there is none, makes one with random secrets that only its owner may read.
    pub fn load_or_make(path: &Path) -> Result<Keys, KeyError> {
        let file_error = |source| KeyError::File { path: path.to_owned(), source };
        match std::fs::read_to_string(path) {
            Ok(text) => Keys::from_text(&text).map_err(|reason| KeyError::Content { path: path.to_owned(), reason }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                write_new(path).map_err(file_error)?;
                tracing::warn!(path = %path.display(), "made a new key file: keep it safe, without it no value opens");
                // Another process may have been first: what counts is the file that is there now.
                let text = std::fs::read_to_string(path).map_err(file_error)?;
                Keys::from_text(&text).map_err(|reason| KeyError::Content { path: path.to_owned(), reason })
            }
            Err(error) => Err(file_error(error)),
        }
    }

    fn from_text(text: &str) -> Result<Keys, String> {
        // toml's own message would quote the line, and with it the secret.
        let file: KeyFile = toml::from_str(text).map_err(|_| "not a key file (current, lookup, [keys])".to_owned())?;
        let secret = |name: &str, text: &str| -> Result<[u8; SECRET_BYTES], String> {
            let bytes = STANDARD.decode(text).map_err(|_| format!("{name} is not base64"))?;
            bytes.try_into().map_err(|_| format!("{name} is not {SECRET_BYTES} bytes long"))
        };
        let mut ciphers = BTreeMap::new();
        for (id, text) in &file.keys {
            if id.is_empty() || id.len() > 64 {
                return Err("a key id has 1 to 64 characters".into());
            }
            ciphers.insert(id.clone(), Aes256Gcm::new(&secret(&format!("key {id}"), text)?.into()));
        }
        if !ciphers.contains_key(&file.current) {
            return Err(format!("the current key {} is not among the keys", file.current));
        }
        let lookup = Hmac::new_from_slice(&secret("lookup", &file.lookup)?).expect("HMAC takes any length");
        Ok(Keys { current: file.current, ciphers, lookup })
    }

    pub fn seal(&self, purpose: Purpose, plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let mut value = Vec::with_capacity(2 + self.current.len() + NONCE_BYTES + plain.len() + 16);
        value.push(FORMAT);
        value.push(self.current.len() as u8);
        value.extend_from_slice(self.current.as_bytes());
        let aad = [&value, purpose.label()].concat();
        let sealed = self.ciphers[&self.current]
            .encrypt(&Nonce::<Aes256Gcm>::from(nonce), Payload { msg: plain, aad: &aad })
            .expect("AES-GCM encrypts anything below 64 GiB");
        value.extend_from_slice(&nonce);
        value.extend_from_slice(&sealed);
        value
    }

    pub fn open(&self, purpose: Purpose, value: &[u8]) -> Result<Vec<u8>, SealedError> {
        let [FORMAT, id_bytes, rest @ ..] = value else { return Err(SealedError::Format) };
        let id_bytes = usize::from(*id_bytes);
        if rest.len() < id_bytes + NONCE_BYTES {
            return Err(SealedError::Format);
        }
        let (id, rest) = rest.split_at(id_bytes);
        let (nonce, sealed) = rest.split_at(NONCE_BYTES);
        let id = std::str::from_utf8(id).map_err(|_| SealedError::Format)?;
        let cipher = self.ciphers.get(id).ok_or_else(|| SealedError::UnknownKey(id.to_owned()))?;
        let aad = [&value[..2 + id_bytes], purpose.label()].concat();
        let nonce = Nonce::<Aes256Gcm>::try_from(nonce).map_err(|_| SealedError::Format)?;
        cipher.decrypt(&nonce, Payload { msg: sealed, aad: &aad }).map_err(|_| SealedError::Changed)
    }

    /// [`Keys::open`] for text.
    pub fn open_text(&self, purpose: Purpose, value: &[u8]) -> Result<String, SealedError> {
        String::from_utf8(self.open(purpose, value)?).map_err(|_| SealedError::Format)
    }

    /// A keyed hash: equal for equal content, useless to whoever does not have the key file.
    pub fn digest(&self, content: &[u8]) -> [u8; 32] {
        let mut mac = self.lookup.clone();
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

/// Writes beside and links, so that a crash leaves no half file and two processes agree on one.
fn write_new(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let secret = || STANDARD.encode(rand::random::<[u8; SECRET_BYTES]>());
    let file = KeyFile { current: "k1".into(), lookup: secret(), keys: BTreeMap::from([("k1".into(), secret())]) };
    let text = toml::to_string(&file).expect("a key file is plain TOML");
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let draft = path.with_extension(format!("new{}", std::process::id()));
    let mut out = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    let linked = match std::fs::hard_link(&draft, path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    };
    std::fs::remove_file(&draft)?;
    linked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        let file = KeyFile {
            current: "k2".into(),
            lookup: STANDARD.encode([9; 32]),
            keys: BTreeMap::from([("k1".into(), STANDARD.encode([1; 32])), ("k2".into(), STANDARD.encode([2; 32]))]),
        };
        Keys::from_text(&toml::to_string(&file).unwrap()).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_in_its_own_column_only() {
        let keys = keys();
        let value = keys.seal(Purpose::PersonName, "测试".as_bytes());
        assert_eq!(keys.open_text(Purpose::PersonName, &value).unwrap(), "测试");
        assert_eq!(keys.open(Purpose::AccountName, &value), Err(SealedError::Changed));
    }

    #[test]
    fn the_same_text_is_never_sealed_alike_twice() {
        let keys = keys();
        assert_ne!(keys.seal(Purpose::AccountNumber, b"1"), keys.seal(Purpose::AccountNumber, b"1"));
    }

    #[test]
    fn a_value_of_an_older_key_opens_and_one_of_a_lost_key_names_it() {
        let mut older = keys();
        older.current = "k1".into();
        let value = older.seal(Purpose::FileContent, b"x");
        assert_eq!(keys().open(Purpose::FileContent, &value).unwrap(), b"x");
        let mut lost = keys();
        lost.ciphers.remove("k1");
        assert_eq!(lost.open(Purpose::FileContent, &value), Err(SealedError::UnknownKey("k1".into())));
    }

    #[test]
    fn a_value_changed_or_cut_anywhere_does_not_open() {
        let keys = keys();
        let value = keys.seal(Purpose::RawMessage, b"message");
        for at in 0..value.len() {
            let mut changed = value.clone();
            changed[at] ^= 1;
            assert!(keys.open(Purpose::RawMessage, &changed).is_err(), "byte {at}");
            assert!(keys.open(Purpose::RawMessage, &value[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_key_file_is_made_once_and_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/keys.toml");
        let value = Keys::load_or_make(&path).unwrap().seal(Purpose::PersonName, b"x");
        assert_eq!(Keys::load_or_make(&path).unwrap().open(Purpose::PersonName, &value).unwrap(), b"x");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_broken_key_file_is_an_error_that_does_not_repeat_its_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        std::fs::write(&path, "current = \"k1\"\nlookup = \"c2VjcmV0\"\n[keys]\nk1 = \"c2VjcmV0\"\n").unwrap();
        let error = Keys::load_or_make(&path).unwrap_err().to_string();
        assert!(error.contains("not 32 bytes long") && !error.contains("c2VjcmV0"), "{error}");
    }
}
