//! What a sealed value looks like: `01 | length of key id | key id | nonce (12) | ciphertext and tag`.
//!
//! The head and the column are authenticated, so a value cannot be moved to another column or be passed off under
//! another key. The key's algorithm is not in it: the key file says it. Called by the ring.

use super::cipher::NONCE_BYTES;

const FORMAT: u8 = 1;
pub const KEY_ID_MAX: usize = 64;

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

/// A value taken apart.
pub(super) struct Parts<'v> {
    pub key_id: &'v str,
    pub head: &'v [u8],
    pub nonce: [u8; NONCE_BYTES],
    pub sealed: &'v [u8],
}

pub(super) fn head(key_id: &str, room: usize) -> Vec<u8> {
    let mut value = Vec::with_capacity(2 + key_id.len() + room);
    value.extend_from_slice(&[FORMAT, key_id.len() as u8]);
    value.extend_from_slice(key_id.as_bytes());
    value
}

pub(super) fn parts(value: &[u8]) -> Result<Parts<'_>, SealedError> {
    let [FORMAT, id_bytes, rest @ ..] = value else { return Err(SealedError::Format) };
    let id_bytes = usize::from(*id_bytes);
    let (id, rest) = rest.split_at_checked(id_bytes).ok_or(SealedError::Format)?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(SealedError::Format)?;
    let key_id = std::str::from_utf8(id).map_err(|_| SealedError::Format)?;
    Ok(Parts { key_id, head: &value[..2 + id_bytes], nonce: *nonce, sealed })
}

/// The key that a value names.
pub fn key_id(value: &[u8]) -> Result<&str, SealedError> {
    parts(value).map(|parts| parts.key_id)
}
