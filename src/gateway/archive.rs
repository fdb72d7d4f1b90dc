//! Zip archives that gateways pack their files into: bytes come in, the list of members and a chosen one as a stream go
//! out, in bounded memory, or what is wrong with the archive. Called by the formats that come packed.
//!
//! Nothing is written to a disk, and a member's name is only looked at. Names that would lead out of a folder are
//! refused all the same: no gateway writes them.

use std::borrow::Cow;
use std::io::{self, Read, SeekFrom};

use zip::ZipArchive;
use zip::result::ZipError;

use super::text::Charset;
use super::{FileBytes, ReadError, Refused};

/// The most members, folders included, that an archive may have.
pub const MEMBERS_MAX: usize = 16;

/// How many times its packed size a member may have; columns of a bill come to some 20.
const RATIO_MAX: u64 = 200;

/// What a member may have whatever its packed size.
const RATIO_FREE_BYTES: u64 = 1024 * 1024;

/// What a zip archive begins with, and one without members.
const BEGINNING: &[u8] = b"PK\x03\x04";
const END: &[u8] = b"PK\x05\x06";
const GZIP_BEGINNING: &[u8] = b"\x1f\x8b";

/// The end of an archive, and the longest comment that follows it.
const END_BYTES: usize = 22;
const COMMENT_BYTES_MAX: u64 = 65_535;

/// An archive whose every member may be read.
pub struct Archive<'f> {
    zip: ZipArchive<&'f mut dyn FileBytes>,
    members: Vec<Member>,
}

/// A file in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// As it stands in the archive, with its folders.
    pub raw_name: Vec<u8>,
    /// The last part of the name as text: UTF-8 if that is what it is, else GBK, which archives from China have
    /// without saying so.
    pub name: String,
    pub size_bytes: u64,
    place: usize,
}

/// Whether a file is to be read as an archive, by what it begins with.
pub fn is_zip(beginning: &[u8]) -> bool {
    beginning.starts_with(BEGINNING) || beginning.starts_with(END)
}

impl<'f> Archive<'f> {
    /// Looks at every member, and refuses the archive if one of them is not to be trusted.
    pub fn open(bytes: &'f mut dyn FileBytes, unpacked_max_bytes: u64) -> Result<Archive<'f>, ReadError> {
        let count = members_declared(bytes)?;
        let mut zip = ZipArchive::new(bytes).map_err(refused)?;
        if zip.len() != count {
            return Err(malformed("two members of the archive have the same name"));
        }
        let mut members = Vec::with_capacity(count);
        for place in 0..count {
            members.extend(member(&mut zip, place, unpacked_max_bytes)?);
        }
        if zip.has_overlapping_entries().map_err(refused)? {
            return Err(malformed("members of the archive overlap"));
        }
        Ok(Archive { zip, members })
    }

    /// The files, in the order of the archive's directory.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Where the one member of a kind is.
    pub fn only(&self, kind: &str, is_of_kind: impl Fn(&Member) -> bool) -> Result<Option<usize>, Refused> {
        let mut found = (0..self.members.len()).filter(|at| is_of_kind(&self.members[*at]));
        match (found.next(), found.next()) {
            (at, None) => Ok(at),
            (_, Some(_)) => Err(Refused::wrong_file(1, None, format!("more than one {kind} in the archive"))),
        }
    }

    /// The content of a member. What is damaged, or larger than the directory says, is an error of the stream.
    pub fn unpack(&mut self, at: usize) -> Result<impl Read + use<'_, 'f>, ReadError> {
        self.zip.by_index(self.members[at].place).map_err(refused)
    }
}

/// Checks a member; none if it is a folder.
fn member(
    zip: &mut ZipArchive<&mut dyn FileBytes>,
    place: usize,
    unpacked_max_bytes: u64,
) -> Result<Option<Member>, ReadError> {
    let entry = zip.by_index_data(place).map_err(refused)?;
    let raw_name = entry.name_raw().to_vec();
    let (size_bytes, packed_bytes) = (entry.size(), entry.compressed_size());
    let (is_encrypted, is_symlink) = (entry.encrypted(), entry.is_symlink());
    let of_member = |reason: &str| malformed(&format!("member {} of the archive {reason}", place + 1));
    let path = text_of(&raw_name).ok_or_else(|| of_member("has a name that is neither UTF-8 nor GBK"))?;
    if let Some(trick) = trick(&path) {
        return Err(of_member(&format!("has {trick} in its name")));
    }
    if is_encrypted {
        return Err(of_member("is encrypted"));
    }
    if is_symlink {
        return Err(of_member("is a link"));
    }
    if size_bytes > unpacked_max_bytes {
        return Err(of_member(&format!("unpacks to more than {unpacked_max_bytes} bytes")));
    }
    if size_bytes > RATIO_FREE_BYTES && size_bytes / RATIO_MAX > packed_bytes {
        return Err(of_member(&format!("unpacks to more than {RATIO_MAX} times its packed size")));
    }
    if path.ends_with('/') {
        return Ok(None);
    }
    let mut beginning = Vec::with_capacity(BEGINNING.len());
    let unpacked = zip.by_index(place).map_err(refused)?;
    unpacked.take(BEGINNING.len() as u64).read_to_end(&mut beginning).map_err(|error| refused(error.into()))?;
    if is_zip(&beginning) || beginning.starts_with(GZIP_BEGINNING) {
        let reason = format!("member {} of the archive is an archive itself", place + 1);
        return Err(Refused::wrong_file(1, None, reason).into());
    }
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    Ok(Some(Member { name, raw_name, size_bytes, place }))
}

fn text_of(raw_name: &[u8]) -> Option<Cow<'_, str>> {
    Charset::Utf8.decode(raw_name).or_else(|| Charset::Gb18030.decode(raw_name))
}

/// What in a name would lead somewhere else than into the folder that an archive is unpacked to. Looked for in the
/// text: in GBK a backslash may be the second half of a character.
fn trick(path: &str) -> Option<&'static str> {
    let first = path.split('/').next().unwrap_or_default();
    if path.is_empty() {
        Some("nothing")
    } else if path.contains('\0') {
        Some("a NUL")
    } else if path.contains('\\') {
        Some("a backslash")
    } else if path.split('/').any(|part| part == "..") {
        Some("a step out of its folder")
    } else if first.is_empty() {
        Some("an absolute path")
    } else if first.contains(':') {
        Some("a drive")
    } else {
        None
    }
}

/// How many members the end of the archive declares, before anything is made of them.
fn members_declared(bytes: &mut dyn FileBytes) -> Result<usize, ReadError> {
    let size = bytes.seek(SeekFrom::End(0)).map_err(ReadError::Disk)?;
    let from = size.saturating_sub(END_BYTES as u64 + COMMENT_BYTES_MAX);
    bytes.seek(SeekFrom::Start(from)).map_err(ReadError::Disk)?;
    let mut tail = Vec::new();
    (&mut *bytes).take(size - from).read_to_end(&mut tail).map_err(ReadError::Disk)?;
    bytes.seek(SeekFrom::Start(0)).map_err(ReadError::Disk)?;
    let end = memchr::memmem::rfind(&tail, END).map(|at| &tail[at..]);
    let two = |end: &[u8], at: usize| usize::from(u16::from_le_bytes([end[at], end[at + 1]]));
    let Some(end) = end.filter(|end| end.len() >= END_BYTES && two(end, 20) == end.len() - END_BYTES) else {
        return Err(malformed("not a whole zip archive: its directory is missing or cut off"));
    };
    match two(end, 10) {
        0 => Err(Refused::wrong_file(1, None, "an empty zip archive").into()),
        count if count > MEMBERS_MAX => Err(malformed(&format!("more than {MEMBERS_MAX} members in the archive"))),
        count => Ok(count),
    }
}

fn malformed(reason: &str) -> ReadError {
    Refused::malformed(1, None, reason).into()
}

/// What the zip reader says is about the file, but for an error of the disk below it.
fn refused(error: ZipError) -> ReadError {
    match error {
        ZipError::Io(error) => match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput => {
                malformed("the archive is damaged or cut off")
            }
            _ => ReadError::Disk(error),
        },
        ZipError::CompressionMethodNotSupported(_) => malformed("a member of the archive is not packed by DEFLATE"),
        ZipError::UnsupportedArchive(_) => malformed("a kind of zip archive that is not read here"),
        // Its own list may grow.
        _ => malformed("the archive is damaged or cut off"),
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(in crate::gateway) mod zipped;
