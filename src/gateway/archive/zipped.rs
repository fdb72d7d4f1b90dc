//! Archives for tests, written byte by byte: names are bytes, and whatever is wrong with them can be made so.

use std::io::Write;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

const ENCRYPTED: u16 = 1;

/// What is in front of a member is its local header, what is at the end the directory.
#[derive(Default)]
pub struct Zipped {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    count: u16,
    blocks: Blocks,
}

/// How DEFLATE writes what it is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Blocks {
    #[default]
    Packed,
    /// As it is, which costs next to nothing.
    Plain,
}

impl Blocks {
    /// The longest plain block.
    const PLAIN_BYTES_MAX: usize = 65_535;

    pub fn deflated(self, content: &[u8]) -> Vec<u8> {
        if self == Blocks::Packed {
            let mut packed = DeflateEncoder::new(Vec::new(), Compression::default());
            packed.write_all(content).unwrap();
            return packed.finish().unwrap();
        }
        let mut blocks = Vec::with_capacity(content.len() + 16);
        for block in content.chunks(Blocks::PLAIN_BYTES_MAX) {
            blocks.push(0);
            blocks.extend((block.len() as u16).to_le_bytes());
            blocks.extend((!(block.len() as u16)).to_le_bytes());
            blocks.extend_from_slice(block);
        }
        // An empty one is the last.
        blocks.extend([1, 0, 0, 0xff, 0xff]);
        blocks
    }
}

/// What the directory says of a member.
pub struct Entry<'a> {
    pub name: &'a [u8],
    pub content: &'a [u8],
    pub flags: u16,
    pub size_declared: Option<u32>,
    pub crc_declared: Option<u32>,
    pub mode: u32,
}

impl<'a> Entry<'a> {
    pub fn new(name: &'a [u8], content: &'a [u8]) -> Entry<'a> {
        Entry { name, content, flags: 0, size_declared: None, crc_declared: None, mode: 0o100_644 }
    }

    pub fn encrypted(self) -> Entry<'a> {
        Entry { flags: ENCRYPTED, ..self }
    }
}

impl Zipped {
    pub fn with(mut self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Zipped {
        self.put(&Entry::new(name.as_ref(), content.as_ref()));
        self
    }

    pub fn in_blocks(blocks: Blocks) -> Zipped {
        Zipped { blocks, ..Zipped::default() }
    }

    pub fn put(&mut self, entry: &Entry<'_>) {
        let packed = self.blocks.deflated(entry.content);
        let mut crc = Crc::new();
        crc.update(entry.content);
        let mut common = Vec::new();
        // Flags, deflate, time, day.
        for two in [entry.flags, 8, 0, 0x21] {
            common.extend(two.to_le_bytes());
        }
        let size = entry.size_declared.unwrap_or(entry.content.len() as u32);
        for four in [entry.crc_declared.unwrap_or(crc.sum()), packed.len() as u32, size] {
            common.extend(four.to_le_bytes());
        }
        // Lengths of name and extra field.
        for two in [entry.name.len() as u16, 0] {
            common.extend(two.to_le_bytes());
        }
        let place = self.bytes.len() as u32;
        self.bytes.extend(b"PK\x03\x04\x14\x00");
        self.bytes.extend(&common);
        self.bytes.extend(entry.name);
        self.bytes.extend(packed);
        // Made by Unix, version 2.0.
        self.directory.extend(b"PK\x01\x02\x14\x03\x14\x00");
        self.directory.extend(&common);
        // Comment, disk, kind of text.
        self.directory.extend([0; 6]);
        self.directory.extend((entry.mode << 16).to_le_bytes());
        self.directory.extend(place.to_le_bytes());
        self.directory.extend(entry.name);
        self.count += 1;
    }

    pub fn bytes(self) -> Vec<u8> {
        let Zipped { mut bytes, directory, count, .. } = self;
        let place = bytes.len() as u32;
        bytes.extend(&directory);
        bytes.extend(b"PK\x05\x06\x00\x00\x00\x00");
        bytes.extend(count.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend((directory.len() as u32).to_le_bytes());
        bytes.extend(place.to_le_bytes());
        bytes.extend([0, 0]);
        bytes
    }
}
