//! A copy of a result file that is ours alone: whoever dropped the file may still change or remove it, and what is
//! read twice must be the same. It has no name and vanishes with the process. Called by stage `reconcile`.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Bytes that are copied, encrypted and kept at a time.
pub const PIECE_BYTES: usize = 1024 * 1024;

pub struct Spool {
    file: File,
    pub sha256: [u8; 32],
}

impl Spool {
    /// Copies all of it.
    pub fn of(folder: &Path, source: &mut dyn Read) -> io::Result<Spool> {
        let mut filling = Filling::within(folder)?;
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match source.read(&mut piece)? {
                0 => return filling.end(),
                count => filling.add(&piece[..count])?,
            }
        }
    }

    /// The next piece of it into `piece`; empty behind the last one.
    pub fn next_piece(&mut self, piece: &mut Vec<u8>) -> io::Result<()> {
        piece.clear();
        (&mut self.file).take(PIECE_BYTES as u64).read_to_end(piece).map(drop)
    }

    /// The SHA-1 of the bytes, for those who give that beside a file.
    pub fn sha1(&mut self) -> io::Result<[u8; 20]> {
        let (mut digest, mut piece) = (Sha1::new(), Vec::with_capacity(PIECE_BYTES));
        self.file.rewind()?;
        loop {
            self.next_piece(&mut piece)?;
            if piece.is_empty() {
                return Ok(digest.finalize().into());
            }
            digest.update(&piece);
        }
    }

    /// The bytes, at their beginning.
    pub fn bytes(&mut self) -> io::Result<&mut File> {
        self.file.rewind()?;
        Ok(&mut self.file)
    }
}

/// A copy that is still being made.
pub struct Filling {
    file: File,
    digest: Sha256,
}

impl Filling {
    pub fn within(folder: &Path) -> io::Result<Filling> {
        std::fs::create_dir_all(folder)?;
        Ok(Filling { file: tempfile::tempfile_in(folder)?, digest: Sha256::new() })
    }

    pub fn add(&mut self, piece: &[u8]) -> io::Result<()> {
        self.digest.update(piece);
        self.file.write_all(piece)
    }

    pub fn end(mut self) -> io::Result<Spool> {
        self.file.rewind()?;
        Ok(Spool { file: self.file, sha256: self.digest.finalize().into() })
    }
}
