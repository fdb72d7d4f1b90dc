//! A daily zip as it travels: base64 of DEFLATE-compressed bytes (`fileContent`) comes in, the zip goes out. Called by
//! [`super`]. The zip is kept in memory while it is small, else in a file without a name; its size has a limit.

use std::io::{self, BufRead, BufReader, Read, Seek, Write};

use base64::engine::general_purpose::STANDARD;
use base64::read::DecoderReader;
use flate2::{Decompress, FlushDecompress, Status};
use tempfile::SpooledTempFile;

use crate::gateway::{FileBytes, ReadError, Refused};

/// A zip that is larger is not kept in memory.
const IN_MEMORY_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Bytes that are unpacked at a time.
const BUFFER_BYTES: usize = 64 * 1024;

/// Whether a file begins with base64 of what begins like compressed bytes (zlib): the letter `e`, and nothing before
/// the first line's end that base64 has not.
pub(super) fn is_packed(beginning: &[u8]) -> bool {
    let line = beginning.split(|byte| b"\r\n".contains(byte)).next().unwrap_or_default();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    line.len() >= 4 && line[0] == b'e' && line.iter().all(plain)
}

/// The unpacked bytes, at their beginning.
pub(super) fn unpack(bytes: &mut dyn FileBytes, unpacked_max_bytes: u64) -> Result<SpooledTempFile, ReadError> {
    let mut decoded = BufReader::with_capacity(BUFFER_BYTES, DecoderReader::new(WithoutBlanks(bytes), &STANDARD));
    let mut unpacked = SpooledTempFile::new(IN_MEMORY_MAX_BYTES);
    let (mut inflate, mut buffer) = (Decompress::new(true), vec![0; BUFFER_BYTES]);
    loop {
        let packed = decoded.fill_buf().map_err(damaged)?;
        if packed.is_empty() {
            return Err(refused("the packed content is cut off"));
        }
        let (read_before, written_before) = (inflate.total_in(), inflate.total_out());
        let status = inflate.decompress(packed, &mut buffer, FlushDecompress::None);
        let status = status.map_err(|_| refused("the packed content is damaged"))?;
        decoded.consume((inflate.total_in() - read_before) as usize);
        if inflate.total_out() > unpacked_max_bytes {
            return Err(refused(&format!("unpacks to more than {unpacked_max_bytes} bytes")));
        }
        let written = (inflate.total_out() - written_before) as usize;
        unpacked.write_all(&buffer[..written]).map_err(ReadError::Disk)?;
        if status == Status::StreamEnd {
            break;
        }
    }
    if !decoded.fill_buf().map_err(damaged)?.is_empty() {
        return Err(refused("something follows the packed content"));
    }
    unpacked.rewind().map_err(ReadError::Disk)?;
    Ok(unpacked)
}

/// Lines may be broken anywhere.
struct WithoutBlanks<'f>(&'f mut dyn FileBytes);

impl Read for WithoutBlanks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.0.read(buffer)?;
            let mut kept = 0;
            for at in 0..read {
                if !buffer[at].is_ascii_whitespace() {
                    buffer[kept] = buffer[at];
                    kept += 1;
                }
            }
            if kept > 0 || read == 0 {
                return Ok(kept);
            }
        }
    }
}

fn damaged(error: io::Error) -> ReadError {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput => {
            refused("not base64, or cut off")
        }
        _ => ReadError::Disk(error),
    }
}

fn refused(reason: &str) -> ReadError {
    Refused::malformed(1, None, reason).into()
}
