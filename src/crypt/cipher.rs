//! The algorithms: AES-256 and SM4, both in Galois/counter mode with nonces of 12 and tags of 16 bytes, so a value
//! looks the same whichever made it. Called by the ring only.

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead, AeadInOut, KeyInit, Nonce, Payload};
use aes_gcm::{Aes256Gcm, AesGcm};
use sm4::Sm4;

/// What a key is for. The key file says it of each key; `keys.algorithm` decides what a new key is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Aes256Gcm,
    /// GB/T 32907 in the mode of RFC 8998.
    Sm4Gcm,
}

pub const NONCE_BYTES: usize = 12;
pub const TAG_BYTES: usize = 16;

impl Algorithm {
    pub const ALL: [Algorithm; 2] = [Algorithm::Aes256Gcm, Algorithm::Sm4Gcm];

    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Aes256Gcm => "aes-256-gcm",
            Algorithm::Sm4Gcm => "sm4-gcm",
        }
    }

    pub fn from_name(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    pub fn key_bytes(self) -> usize {
        match self {
            Algorithm::Aes256Gcm => 32,
            Algorithm::Sm4Gcm => 16,
        }
    }
}

/// A key, ready for use.
#[derive(Clone)]
pub(super) enum Cipher {
    Aes256Gcm(Box<Aes256Gcm>),
    Sm4Gcm(Box<AesGcm<Sm4, U12>>),
}

impl Cipher {
    /// Nothing, if the secret is not as long as the algorithm's keys are.
    pub fn new(algorithm: Algorithm, secret: &[u8]) -> Option<Cipher> {
        Some(match algorithm {
            Algorithm::Aes256Gcm => Cipher::Aes256Gcm(Box::new(Aes256Gcm::new_from_slice(secret).ok()?)),
            Algorithm::Sm4Gcm => Cipher::Sm4Gcm(Box::new(AesGcm::new_from_slice(secret).ok()?)),
        })
    }

    /// Encrypts what stands in `buffer` from there on, where it stands, and adds the tag: a file is not copied for it.
    pub fn encrypt(&self, nonce: [u8; NONCE_BYTES], authenticated: &[u8], buffer: &mut Vec<u8>, from: usize) {
        let plain = (&mut buffer[from..]).into();
        let tag: [u8; TAG_BYTES] = match self {
            Cipher::Aes256Gcm(cipher) => {
                cipher.encrypt_inout_detached(&Nonce::<Aes256Gcm>::from(nonce), authenticated, plain).map(Into::into)
            }
            Cipher::Sm4Gcm(cipher) => cipher
                .encrypt_inout_detached(&Nonce::<AesGcm<Sm4, U12>>::from(nonce), authenticated, plain)
                .map(Into::into),
        }
        .expect("GCM encrypts anything below 64 GiB");
        buffer.extend_from_slice(&tag);
    }

    /// Nothing, if the tag says that something was changed.
    pub fn decrypt(&self, nonce: [u8; NONCE_BYTES], sealed: &[u8], authenticated: &[u8]) -> Option<Vec<u8>> {
        let payload = Payload { msg: sealed, aad: authenticated };
        match self {
            Cipher::Aes256Gcm(cipher) => cipher.decrypt(&Nonce::<Aes256Gcm>::from(nonce), payload),
            Cipher::Sm4Gcm(cipher) => cipher.decrypt(&Nonce::<AesGcm<Sm4, U12>>::from(nonce), payload),
        }
        .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    fn holds(algorithm: Algorithm, key: &str, nonce: &str, plain: &str, aad: &str, sealed: &str) {
        let cipher = Cipher::new(algorithm, &bytes(key)).unwrap();
        let nonce: [u8; NONCE_BYTES] = bytes(nonce).try_into().unwrap();
        let mut buffer = [b"head", &bytes(plain)[..]].concat();
        cipher.encrypt(nonce, &bytes(aad), &mut buffer, 4);
        assert_eq!(buffer, [b"head", &bytes(sealed)[..]].concat());
        assert_eq!(cipher.decrypt(nonce, &bytes(sealed), &bytes(aad)).unwrap(), bytes(plain));
    }

    #[test]
    fn sm4_gives_what_rfc_8998_says() {
        holds(
            Algorithm::Sm4Gcm,
            "0123456789abcdeffedcba9876543210",
            "00001234567800000000abcd",
            "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccddddddddddddddddeeeeeeeeeeeeeeeeffffffffffffffffeeeeeeeeeeeeeeeeaaaaaaaaaaaaaaaa",
            "feedfacedeadbeeffeedfacedeadbeefabaddad2",
            "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d\
             83de3541e4c2b58177e065a9bf7b62ec",
        );
    }

    #[test]
    fn aes_gives_what_the_gcm_specification_says() {
        holds(
            Algorithm::Aes256Gcm,
            "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
            "cafebabefacedbaddecaf888",
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
            "feedfacedeadbeeffeedfacedeadbeefabaddad2",
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662\
             76fc6ece0f4e1768cddf8853bb2d551b",
        );
    }

    #[test]
    fn a_secret_of_another_length_is_no_key() {
        for algorithm in Algorithm::ALL {
            assert!(Cipher::new(algorithm, &vec![1; algorithm.key_bytes()]).is_some());
            assert!(Cipher::new(algorithm, &vec![1; algorithm.key_bytes() + 1]).is_none());
            assert_eq!(Algorithm::from_name(algorithm.as_str()), Some(algorithm));
        }
    }
}
