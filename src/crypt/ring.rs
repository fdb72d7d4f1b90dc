//! The keys that were in the key file at one moment: they seal and open values, and never change. Made by `Keys`,
//! handed to whoever has many values to seal.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::cipher::{Algorithm, Cipher, NONCE_BYTES, TAG_BYTES};
use super::key_file::{KeyError, KeyFile};
use super::value::{self, SealedError};

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

pub struct Ring {
    current: String,
    ciphers: BTreeMap<String, (Algorithm, Cipher)>,
    lookup: Hmac<Sha256>,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("current", &self.current).finish_non_exhaustive()
    }
}

impl Ring {
    pub fn of(file: &KeyFile) -> Result<Ring, KeyError> {
        let mut ciphers = BTreeMap::new();
        for (id, algorithm, secret) in file.secrets()? {
            let cipher = Cipher::new(algorithm, &secret).expect("the file's secrets are as long as they must be");
            ciphers.insert(id.to_owned(), (algorithm, cipher));
        }
        let lookup = Hmac::new_from_slice(&file.lookup_secret()?).expect("HMAC takes any length");
        Ok(Ring { current: file.current().to_owned(), ciphers, lookup })
    }

    /// The key that [`Ring::seal`] uses.
    pub fn key_id(&self) -> &str {
        &self.current
    }

    /// Every key with its algorithm.
    pub fn keys(&self) -> impl Iterator<Item = (&str, Algorithm)> {
        self.ciphers.iter().map(|(id, (algorithm, _))| (id.as_str(), *algorithm))
    }

    pub fn seal(&self, purpose: Purpose, plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let mut value = value::head(&self.current, NONCE_BYTES + plain.len() + TAG_BYTES);
        let authenticated = [&value, purpose.label()].concat();
        value.extend_from_slice(&nonce);
        let from = value.len();
        value.extend_from_slice(plain);
        let (_, cipher) = &self.ciphers[&self.current];
        cipher.encrypt(nonce, &authenticated, &mut value, from);
        value
    }

    pub fn open(&self, purpose: Purpose, value: &[u8]) -> Result<Vec<u8>, SealedError> {
        let parts = value::parts(value)?;
        let unknown = || SealedError::UnknownKey(parts.key_id.to_owned());
        let (_, cipher) = self.ciphers.get(parts.key_id).ok_or_else(unknown)?;
        let authenticated = [parts.head, purpose.label()].concat();
        cipher.decrypt(parts.nonce, parts.sealed, &authenticated).ok_or(SealedError::Changed)
    }

    pub(super) fn hashes(&self) -> Hmac<Sha256> {
        self.lookup.clone()
    }

    /// Whether both make the same hashes.
    pub(super) fn same_hashes(&self, other: &Ring) -> bool {
        let of = |ring: &Ring| ring.hashes().finalize().into_bytes();
        of(self) == of(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the first release wrote it.
    const RELEASED: &str = "current = \"k2\"\nlookup = \"CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\"\n\n[keys]\n\
                            k1 = \"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\"\n\
                            k2 = \"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\"\n";

    fn ring(text: &str) -> Ring {
        Ring::of(&KeyFile::parse(text).unwrap()).unwrap()
    }

    fn sm4(text: &str) -> String {
        text.replace("\"k2\"", "\"k3\"") + "[keys.k3]\nalgorithm = \"sm4-gcm\"\nsecret = \"AwMDAwMDAwMDAwMDAwMDAw==\"\n"
    }

    #[test]
    fn what_was_sealed_opens_in_its_own_column_only() {
        for ring in [ring(RELEASED), ring(&sm4(RELEASED))] {
            let value = ring.seal(Purpose::PersonName, "测试".as_bytes());
            assert_eq!(ring.open(Purpose::PersonName, &value).unwrap(), "测试".as_bytes());
            assert_eq!(ring.open(Purpose::AccountName, &value), Err(SealedError::Changed));
        }
    }

    #[test]
    fn the_same_text_is_never_sealed_alike_twice() {
        let ring = ring(RELEASED);
        assert_ne!(ring.seal(Purpose::AccountNumber, b"1"), ring.seal(Purpose::AccountNumber, b"1"));
    }

    #[test]
    fn values_of_both_algorithms_open_side_by_side_and_one_of_a_lost_key_names_it() {
        let (aes, both) = (ring(RELEASED), ring(&sm4(RELEASED)));
        let of_aes = aes.seal(Purpose::FileContent, b"x");
        let of_sm4 = both.seal(Purpose::FileContent, b"y");
        assert_eq!(both.open(Purpose::FileContent, &of_aes).unwrap(), b"x");
        assert_eq!(both.open(Purpose::FileContent, &of_sm4).unwrap(), b"y");
        assert_eq!(aes.open(Purpose::FileContent, &of_sm4), Err(SealedError::UnknownKey("k3".into())));
        assert_eq!(of_aes.len(), of_sm4.len(), "both look alike");
    }

    /// A name, written by the first release with this very key file.
    #[test]
    fn a_value_of_the_first_release_opens() {
        let ring = ring(
            "current = \"k1\"\nlookup = \"KqSUQ1H47WX5LvFXqGWW68PU9CZKuQhyNq2YM7ohdQw=\"\n\n[keys]\n\
             k1 = \"vHInhIAMRv2K7CkpX4UVwOO6a7YIrQwfywvcrOnj2v0=\"\n",
        );
        let value = "01026b314283b6e803c17d652fc8dbd1b466b68e4a1dc1a7bd3da9bc848896d04859524c6ee8";
        let value: Vec<u8> =
            (0..value.len()).step_by(2).map(|at| u8::from_str_radix(&value[at..at + 2], 16).unwrap()).collect();
        assert_eq!(ring.open(Purpose::PersonName, &value).unwrap(), "张三".as_bytes());
    }

    #[test]
    fn a_value_changed_or_cut_anywhere_does_not_open() {
        for ring in [ring(RELEASED), ring(&sm4(RELEASED))] {
            let value = ring.seal(Purpose::RawMessage, b"message");
            for at in 0..value.len() {
                let mut changed = value.clone();
                changed[at] ^= 1;
                assert!(ring.open(Purpose::RawMessage, &changed).is_err(), "byte {at}");
                assert!(ring.open(Purpose::RawMessage, &value[..at]).is_err(), "cut at {at}");
            }
        }
    }
}
