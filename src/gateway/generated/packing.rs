//! What made-up files are packed in: members come in, the bytes of a file go out, as gateways pack them or, cheaply, in
//! plain blocks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use encoding_rs::GBK;
use flate2::Crc;

pub(super) use crate::gateway::archive::zipped::Blocks;
use crate::gateway::archive::zipped::Zipped;

#[derive(Debug, Clone)]
pub(super) struct Member {
    name: Vec<u8>,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// The one member as it is.
    Plain,
    Gzip,
    Zip,
    /// A zip, compressed once more and written in base64.
    Base64,
}

impl Member {
    pub fn alone(bytes: Vec<u8>) -> Vec<Member> {
        vec![Member::of("", bytes)]
    }

    pub fn of(name: &str, bytes: Vec<u8>) -> Member {
        Member { name: GBK.encode(name).0.into_owned(), bytes }
    }
}

impl Packing {
    pub fn pack(self, members: &[Member], blocks: Blocks) -> Vec<u8> {
        match self {
            Packing::Plain => members[0].bytes.clone(),
            Packing::Gzip => gzip(&members[0].bytes, blocks),
            Packing::Zip => zip(members, blocks),
            Packing::Base64 => STANDARD.encode(zlib(&zip(members, blocks), blocks)).into_bytes(),
        }
    }
}

fn gzip(content: &[u8], blocks: Blocks) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(content);
    let size = (content.len() as u32).to_le_bytes();
    [b"\x1f\x8b\x08\0\0\0\0\0\0\x03", &blocks.deflated(content)[..], &crc.sum().to_le_bytes(), &size].concat()
}

fn zip(members: &[Member], blocks: Blocks) -> Vec<u8> {
    let empty = Zipped::in_blocks(blocks);
    members.iter().fold(empty, |zip, member| zip.with(&member.name, &member.bytes)).bytes()
}

fn zlib(content: &[u8], blocks: Blocks) -> Vec<u8> {
    let (one, two) = content.iter().fold((1, 0), |(one, two), byte| {
        let one = (one + u32::from(*byte)) % 65_521;
        (one, (two + one) % 65_521)
    });
    [b"\x78\x9c", &blocks.deflated(content)[..], &(two << 16 | one).to_be_bytes()].concat()
}
