//! Small files beside a result file that say what it should be: a name and bytes come in, a typed word goes out, or a
//! refusal where one is there and cannot be understood. Called by whoever takes a result file from a folder, before
//! the file is read.

use std::io::{self, Read, Seek};

use md5::Md5;
use sha2::{Digest, Sha256};

use super::{ReadError, Refused, RefusedKind};

/// The most bytes that a companion may have: a digest and a file's name.
pub const COMPANION_BYTES_MAX: usize = 1024;

/// Bytes that are read at a time.
const BUFFER_BYTES: usize = 64 * 1024;

/// The kinds of companions, told by what they add to the name of their file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CompanionKind {
    Ok,
    Md5,
    Sha256,
    Sha1,
}

/// What a companion says of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Companion {
    /// An empty `.ok`: the file is complete, and nothing else.
    Complete,
    /// A `.ok` such as we write: the hash of the file, and how many rows it has.
    Ok {
        sha256: [u8; 32],
        count: u64,
    },
    Md5([u8; 16]),
    Sha256([u8; 32]),
    /// Of the bytes as they are after unpacking.
    Sha1([u8; 20]),
}

impl CompanionKind {
    pub const ALL: [CompanionKind; 4] =
        [CompanionKind::Ok, CompanionKind::Md5, CompanionKind::Sha256, CompanionKind::Sha1];

    /// What is added to the name of a file.
    pub fn ending(self) -> &'static str {
        match self {
            CompanionKind::Ok => ".ok",
            CompanionKind::Md5 => ".md5",
            CompanionKind::Sha256 => ".sha256",
            CompanionKind::Sha1 => ".sha1",
        }
    }

    /// Whose companion a file is by its name, and of which kind; `None` if it is none.
    pub fn of(name: &str) -> Option<(&str, CompanionKind)> {
        let found = CompanionKind::ALL.into_iter().find_map(|kind| Some((name.strip_suffix(kind.ending())?, kind)));
        found.filter(|(file_name, _)| !file_name.is_empty())
    }

    /// Reads the companion of a file. `.ok`: nothing, or the SHA-256 and the number of rows; the others: the digest in
    /// hex, alone or, as `md5sum` and its like write it, with the name of the file behind it.
    pub fn read(self, file_name: &str, bytes: &[u8]) -> Result<Companion, Refused> {
        let wrong = |what: &str| Refused {
            kind: RefusedKind::Malformed,
            line: 1,
            column: None,
            reason: format!("{}: {what}", self.ending()),
        };
        if bytes.len() > COMPANION_BYTES_MAX {
            return Err(wrong("longer than a digest and a name"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("not plain text"))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_ascii();
        if self == CompanionKind::Ok && text.is_empty() {
            return Ok(Companion::Complete);
        }
        let (digest, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        let rest = rest.trim_ascii_start();
        if rest.contains('\n') || digest.contains('\n') {
            return Err(wrong("more than one line"));
        }
        if self == CompanionKind::Ok {
            let sha256 = hex(digest).ok_or_else(|| wrong("no SHA-256 in 64 hex digits"))?;
            let plain = (1..=12).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_digit());
            let count = rest.parse().ok().filter(|_| plain).ok_or_else(|| wrong("no count behind the hash"))?;
            return Ok(Companion::Ok { sha256, count });
        }
        // A star before the name says that the bytes were read as they are.
        let name = rest.strip_prefix('*').unwrap_or(rest);
        let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
        if !name.is_empty() && name != file_name {
            return Err(wrong("the digest of another file"));
        }
        match self {
            CompanionKind::Md5 => hex(digest).map(Companion::Md5).ok_or_else(|| wrong("no MD5 in 32 hex digits")),
            CompanionKind::Sha256 | CompanionKind::Ok => {
                hex(digest).map(Companion::Sha256).ok_or_else(|| wrong("no SHA-256 in 64 hex digits"))
            }
            CompanionKind::Sha1 => hex(digest).map(Companion::Sha1).ok_or_else(|| wrong("no SHA-1 in 40 hex digits")),
        }
    }
}

/// A small file as it lay beside a result file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    pub kind: CompanionKind,
    pub bytes: Vec<u8>,
}

/// What all that lay beside a file says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Why one of them does not fit the file.
    pub fault: Option<String>,
    /// Still to be compared, by who unpacks the file.
    pub sha1: Option<[u8; 20]>,
    /// Still to be compared, by who reads it.
    pub rows: Option<u64>,
}

impl Said {
    /// Compares the file, opened anew for each, with what lay beside it.
    pub fn of<F: Read + Seek>(beside: &[Beside], file_name: &str, file: &mut F) -> Result<Said, ReadError> {
        let mut said = Said::default();
        for Beside { kind, bytes } in beside {
            file.rewind().map_err(ReadError::Disk)?;
            let checked = match kind.read(file_name, bytes) {
                Ok(companion) => companion.check(file).map(|()| companion),
                Err(refused) => Err(refused.into()),
            };
            match checked {
                Ok(companion) => {
                    said.sha1 = said.sha1.or(companion.unpacked_sha1());
                    said.rows = said.rows.or(companion.count());
                }
                Err(ReadError::Refused(refused)) => said.fault = Some(refused.reason),
                Err(ReadError::Disk(error)) => return Err(ReadError::Disk(error)),
            }
        }
        Ok(said)
    }
}

impl Companion {
    /// How many rows the file should have.
    pub fn count(&self) -> Option<u64> {
        match self {
            Companion::Ok { count, .. } => Some(*count),
            Companion::Complete | Companion::Md5(_) | Companion::Sha256(_) | Companion::Sha1(_) => None,
        }
    }

    /// For [`super::ResultSource::sha1`]: only who unpacks the file can compare it.
    pub fn unpacked_sha1(&self) -> Option<[u8; 20]> {
        match self {
            Companion::Sha1(sha1) => Some(*sha1),
            Companion::Complete | Companion::Ok { .. } | Companion::Md5(_) | Companion::Sha256(_) => None,
        }
    }

    /// Compares the digest of the file as it came, where there is one, with its bytes: reads them to their end.
    pub fn check(&self, bytes: &mut dyn Read) -> Result<(), ReadError> {
        let same = match self {
            Companion::Complete | Companion::Sha1(_) => true,
            Companion::Ok { sha256, .. } | Companion::Sha256(sha256) => digest::<Sha256>(bytes)? == sha256,
            Companion::Md5(md5) => digest::<Md5>(bytes)? == md5,
        };
        if same {
            return Ok(());
        }
        let reason = "not the bytes that the file beside it has the digest of: cut off, changed, or another file";
        Err(Refused::malformed(1, None, reason).into())
    }
}

fn digest<D: Digest>(bytes: &mut dyn Read) -> Result<Vec<u8>, ReadError> {
    let (mut digest, mut buffer) = (D::new(), vec![0; BUFFER_BYTES]);
    loop {
        match bytes.read(&mut buffer) {
            Ok(0) => return Ok(digest.finalize().to_vec()),
            Ok(count) => digest.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ReadError::Disk(error)),
        }
    }
}

/// Exactly `N` bytes in hex digits of either case.
fn hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let plain = digits.len() == 2 * N && digits.bytes().all(|b| b.is_ascii_hexdigit());
    for (byte, two) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)).filter(|_| plain) {
        *byte = u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()?;
    }
    plain.then_some(bytes)
}

#[cfg(test)]
mod tests;
