//! Sound files spoilt: bytes and a number come in, other bytes go out, the same for the same number on every machine.
//! It knows what such files are made of (lines, cells, separators, numbers, encodings), so that what it makes gets far
//! into a reader before it is refused, or is read.

use encoding_rs::GB18030;

use super::item::CANARY;

/// The most changes of one file.
const CHANGES_MAX: usize = 3;

/// The longest run of bytes that is moved or made up.
const RUN_BYTES_MAX: usize = 32;

/// What is put where it does not belong.
const TOKENS: [&[u8]; 40] = [
    b",",
    b"|",
    b"`",
    b",`",
    b"`,",
    b"\"",
    b"'",
    b"\t",
    b" ",
    b"\r",
    b"\n",
    b"\r\n",
    b"\0",
    b"#",
    b"-",
    b"+",
    b".",
    b"0",
    b"\xef\xbb\xbf", // a byte order mark
    b"\xff\xfe",
    b"\x81",             // half a character of GBK
    b"\xce\xd2",         // one
    b"\x83\x7c",         // one whose second byte is a bar
    b"\x81\x30\x81\x30", // one of GB18030
    b"\xe4\xb8\xad",     // one of UTF-8
    b"\xe2\x80\xa8",
    b"99999999999999999999999999999999999999999",
    b"999999999999.99",
    b"170141183460469231731687303715884105728",
    b"2.02109E+27",
    b"-0.01",
    b"0.005",
    b"1,000.00",
    b"20260231",
    b"2026/4/16 9:01",
    b"=1+1",
    b"PK\x03\x04",
    b"\x1f\x8b",
    b"<html>",
    CANARY.as_bytes(),
];

const SEPARATORS: &[u8] = b",|\t`\r\n";

/// Numbers by chance, and the same ones again for the same beginning (splitmix64).
pub(super) struct Dice(u64);

impl Dice {
    pub fn of(seed: u64, index: u64) -> Dice {
        Dice(seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, count: usize) -> usize {
        (self.next() % count.max(1) as u64) as usize
    }
}

/// Changes a file in one to three places, or puts noise or a short line in place of it.
pub(super) fn spoil(bytes: &mut Vec<u8>, dice: &mut Dice) {
    match dice.below(64) {
        0 => {
            bytes.clear();
            let length = dice.below(4 * RUN_BYTES_MAX);
            return noise(bytes, length, dice);
        }
        1 => {
            bytes.clear();
            return short_line(bytes, dice);
        }
        _ => {}
    }
    for _ in 0..=dice.below(CHANGES_MAX) {
        change(bytes, dice);
    }
}

fn change(bytes: &mut Vec<u8>, dice: &mut Dice) {
    if bytes.is_empty() {
        return noise(bytes, RUN_BYTES_MAX, dice);
    }
    let at = dice.below(bytes.len());
    match dice.below(32) {
        0..3 => bytes[at] ^= 1 << dice.below(8),
        3..5 => bytes[at] = dice.next() as u8,
        5..9 => another_digit(bytes, at, dice),
        9..13 => insert(bytes, at, TOKENS[dice.below(TOKENS.len())]),
        13..15 => {
            // In place of a cell.
            let (from, to) = cell(bytes, at);
            bytes.splice(from..to, TOKENS[dice.below(TOKENS.len())].iter().copied());
        }
        15..17 => swap_cells(bytes, at, dice),
        17..20 => copy_over(bytes, at, dice),
        20..22 => {
            bytes.drain(at..(at + 1 + dice.below(RUN_BYTES_MAX)).min(bytes.len()));
        }
        22 => bytes.truncate(at),
        23..25 => {
            let (from, to) = line(bytes, at);
            let repeated = bytes[from..to].to_vec();
            insert(bytes, from, &repeated);
        }
        25 => {
            let (from, to) = line(bytes, at);
            bytes.drain(from..to);
        }
        26..28 => {
            // A line to somewhere else.
            let (from, to) = line(bytes, at);
            let moved: Vec<u8> = bytes.drain(from..to).collect();
            let (to, _) = if bytes.is_empty() { (0, 0) } else { line(bytes, dice.below(bytes.len())) };
            insert(bytes, to, &moved);
        }
        28 => noise(bytes, RUN_BYTES_MAX, dice),
        29 => bytes.extend_from_within(at..),
        30 => other_line_ends(bytes),
        // Seldom, as it takes its time.
        _ if dice.below(16) == 0 => other_encoding(bytes),
        _ => bytes[at] = bytes[at].wrapping_add(0x80),
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, inserted: &[u8]) {
    bytes.splice(at..at, inserted.iter().copied());
}

fn noise(bytes: &mut Vec<u8>, count: usize, dice: &mut Dice) {
    for _ in 0..=count / 8 {
        bytes.extend(dice.next().to_le_bytes());
    }
}

/// A few cells, as an answer or an error has in place of a file.
fn short_line(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let separator = SEPARATORS[dice.below(3)];
    for _ in 0..=dice.below(4) {
        bytes.extend_from_slice(TOKENS[dice.below(TOKENS.len())]);
        bytes.push(separator);
    }
    bytes.pop();
}

/// So that a sum, a count, a date or a number is another one and still looks like one.
fn another_digit(bytes: &mut [u8], at: usize, dice: &mut Dice) {
    let place = bytes[at..].iter().position(u8::is_ascii_digit).map_or(at, |ahead| at + ahead);
    bytes[place] = b'0' + dice.below(10) as u8;
}

/// From where to where what stands here reaches, without its separators.
fn cell(bytes: &[u8], at: usize) -> (usize, usize) {
    let ends = |byte: &u8| SEPARATORS.contains(byte);
    let from = bytes[..at].iter().rposition(ends).map_or(0, |place| place + 1);
    (from, bytes[at..].iter().position(ends).map_or(bytes.len(), |ahead| at + ahead).max(from))
}

/// A line with its end.
fn line(bytes: &[u8], at: usize) -> (usize, usize) {
    let from = memchr::memrchr(b'\n', &bytes[..at]).map_or(0, |place| place + 1);
    (from, memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |ahead| at + ahead + 1))
}

fn swap_cells(bytes: &mut Vec<u8>, at: usize, dice: &mut Dice) {
    let (one, two) = (cell(bytes, at), cell(bytes, dice.below(bytes.len())));
    let (first, second) = if one.0 <= two.0 { (one, two) } else { (two, one) };
    if first.1 > second.0 {
        return;
    }
    let (front, back) = (bytes[first.0..first.1].to_vec(), bytes[second.0..second.1].to_vec());
    bytes.splice(second.0..second.1, front);
    bytes.splice(first.0..first.1, back);
}

/// So that what has a fixed width keeps it.
fn copy_over(bytes: &mut [u8], at: usize, dice: &mut Dice) {
    let from = dice.below(bytes.len());
    let count = (1 + dice.below(RUN_BYTES_MAX)).min(bytes.len() - at.max(from));
    bytes.copy_within(from..from + count, at);
}

fn other_line_ends(bytes: &mut Vec<u8>) {
    if memchr::memchr(b'\r', bytes).is_some() {
        bytes.retain(|byte| *byte != b'\r');
    } else {
        *bytes = bytes.split(|byte| *byte == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..]);
    }
}

/// As a program leaves it that reads one encoding and writes another.
fn other_encoding(bytes: &mut Vec<u8>) {
    let other = match std::str::from_utf8(bytes) {
        Ok(text) => GB18030.encode(text).0.into_owned(),
        Err(_) => GB18030.decode_without_bom_handling(bytes).0.into_owned().into_bytes(),
    };
    *bytes = other;
}
