//! The bytes of a bill as WeChat Pay hashed them: a gzip or plain file comes in, its unpacked bytes go out, counted
//! against a limit and, where a SHA-1 came with the file, hashed. Read by [`crate::gateway::lines`].

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use sha1::{Digest, Sha1};

use crate::gateway::{FileBytes, ReadError};

/// What a gzip file begins with, whatever it is called.
const GZIP: [u8; 2] = [0x1f, 0x8b];

pub(super) struct Unpacked<'f> {
    source: Source<'f>,
    sha1: Option<Sha1>,
    left_bytes: u64,
    is_too_large: bool,
}

enum Source<'f> {
    Plain(&'f mut dyn FileBytes),
    Gzip(Box<MultiGzDecoder<&'f mut dyn FileBytes>>),
}

impl<'f> Unpacked<'f> {
    pub fn of(bytes: &'f mut dyn FileBytes, hashed: bool, max_bytes: u64) -> Result<Unpacked<'f>, ReadError> {
        let mut beginning = Vec::with_capacity(GZIP.len());
        (&mut *bytes).take(GZIP.len() as u64).read_to_end(&mut beginning).map_err(ReadError::Disk)?;
        bytes.rewind().map_err(ReadError::Disk)?;
        let source =
            if beginning == GZIP { Source::Gzip(Box::new(MultiGzDecoder::new(bytes))) } else { Source::Plain(bytes) };
        Ok(Unpacked { source, sha1: hashed.then(Sha1::new), left_bytes: max_bytes, is_too_large: false })
    }

    /// Whether reading ended because the limit was passed.
    pub fn is_too_large(&self) -> bool {
        self.is_too_large
    }

    /// Of what has been read.
    pub fn sha1(self) -> Option<[u8; 20]> {
        self.sha1.map(|sha1| sha1.finalize().into())
    }
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.source {
            Source::Plain(bytes) => bytes.read(buffer)?,
            Source::Gzip(bytes) => bytes.read(buffer)?,
        };
        match self.left_bytes.checked_sub(count as u64) {
            Some(left_bytes) => self.left_bytes = left_bytes,
            None => {
                self.is_too_large = true;
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        if let Some(sha1) = &mut self.sha1 {
            sha1.update(&buffer[..count]);
        }
        Ok(count)
    }
}
