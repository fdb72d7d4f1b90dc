//! What a cell may hold and how lines become cells: encoding, separator, line end. There is no quoting in these
//! files, so a cell that would need it cannot be carried.

use std::borrow::Cow;

use encoding_rs::{DecoderResult, Encoding, GB18030, GBK, UTF_8};

/// The most columns a line may have.
pub const COLUMNS_MAX: usize = 32;

/// The longest data row that is read; a longer one is a bad row.
pub const LINE_BYTES_MAX: usize = 4096;

/// The longest order number, result code or transaction number.
pub const NUMBER_BYTES_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    Gb18030,
    Gbk,
    Utf8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Separator {
    Comma,
    Pipe,
    Tab,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEnd {
    Crlf,
    Lf,
}

/// Why a file cannot carry a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Uncarriable {
    Separator,
    Quote,
    LineBreak,
    Control,
    OutsideEncoding,
    /// U+FFFD: a character that was lost before it came to us.
    LostCharacter,
    /// Empty, too long, or something else than printable ASCII without blanks.
    NotANumber,
    /// More bytes than its column, or a count or total with it.
    TooWide,
    /// It begins or ends with what its column is padded with, and would come back without.
    Padding,
}

/// How the text of one kind of file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text {
    pub charset: Charset,
    /// None: the cells have fixed widths.
    pub separator: Option<Separator>,
    pub line_end: LineEnd,
}

impl Charset {
    pub fn parse(name: &str) -> Option<Charset> {
        [Charset::Gb18030, Charset::Gbk, Charset::Utf8].into_iter().find(|charset| charset.as_str() == name)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Charset::Gb18030 => "gb18030",
            Charset::Gbk => "gbk",
            Charset::Utf8 => "utf-8",
        }
    }

    fn encoding(self) -> &'static Encoding {
        match self {
            Charset::Gb18030 => GB18030,
            Charset::Gbk => GBK,
            Charset::Utf8 => UTF_8,
        }
    }

    /// The text of a cell, borrowed where the bytes are the text already; `None` if they are malformed.
    pub fn decode(self, bytes: &[u8]) -> Option<Cow<'_, str>> {
        self.encoding().decode_without_bom_handling_and_without_replacement(bytes)
    }

    /// How many bytes a character takes.
    pub fn length_bytes(self, character: char) -> usize {
        if character.is_ascii() {
            return 1;
        }
        self.encoding().encode(character.encode_utf8(&mut [0; 4])).0.len()
    }

    /// Where the first malformed character begins. One pass over the file, with a small buffer on the stack.
    pub fn first_malformed(self, bytes: &[u8]) -> Option<usize> {
        if self == Charset::Utf8 {
            return std::str::from_utf8(bytes).err().map(|error| error.valid_up_to());
        }
        let mut decoder = self.encoding().new_decoder_without_bom_handling();
        let mut buffer = [0; 8192];
        let mut offset = 0;
        loop {
            let (outcome, read, _) = decoder.decode_to_utf8_without_replacement(&bytes[offset..], &mut buffer, true);
            offset += read;
            match outcome {
                DecoderResult::InputEmpty => return None,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(bad, after) => return Some(offset - usize::from(bad) - usize::from(after)),
            }
        }
    }
}

impl Separator {
    pub fn parse(name: &str) -> Option<Separator> {
        match name {
            "," => Some(Separator::Comma),
            "|" => Some(Separator::Pipe),
            "tab" => Some(Separator::Tab),
            _ => None,
        }
    }

    pub fn byte(self) -> u8 {
        match self {
            Separator::Comma => b',',
            Separator::Pipe => b'|',
            Separator::Tab => b'\t',
        }
    }
}

impl LineEnd {
    pub fn parse(name: &str) -> Option<LineEnd> {
        match name {
            "crlf" => Some(LineEnd::Crlf),
            "lf" => Some(LineEnd::Lf),
            _ => None,
        }
    }

    pub fn bytes(self) -> &'static [u8] {
        match self {
            LineEnd::Crlf => b"\r\n",
            LineEnd::Lf => b"\n",
        }
    }
}

impl Uncarriable {
    pub fn as_str(self) -> &'static str {
        match self {
            Uncarriable::Separator => "separator",
            Uncarriable::Quote => "quote",
            Uncarriable::LineBreak => "line_break",
            Uncarriable::Control => "control_character",
            Uncarriable::OutsideEncoding => "outside_encoding",
            Uncarriable::LostCharacter => "lost_character",
            Uncarriable::NotANumber => "not_a_number",
            Uncarriable::TooWide => "too_wide",
            Uncarriable::Padding => "padding",
        }
    }
}

impl Text {
    /// Appends a cell as it is, blanks included, or says why it cannot be carried.
    pub fn put(self, cell: &str, out: &mut Vec<u8>) -> Result<(), Uncarriable> {
        let separator = self.separator.map(|separator| char::from(separator.byte()));
        for character in cell.chars() {
            match character {
                '"' => return Err(Uncarriable::Quote),
                '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}' => return Err(Uncarriable::LineBreak),
                '\u{fffd}' => return Err(Uncarriable::LostCharacter),
                other if Some(other) == separator => return Err(Uncarriable::Separator),
                other if other.is_control() => return Err(Uncarriable::Control),
                _ => {}
            }
        }
        if cell.is_ascii() {
            out.extend_from_slice(cell.as_bytes());
            return Ok(());
        }
        let (bytes, _, unmappable) = self.charset.encoding().encode(cell);
        // GB18030 has a code for nearly everything, but some private-use characters share one: only what comes
        // back as it was is written.
        if unmappable || self.charset.decode(&bytes).as_deref() != Some(cell) {
            return Err(Uncarriable::OutsideEncoding);
        }
        out.extend_from_slice(&bytes);
        Ok(())
    }

    /// Splits a line at its separators. Returns how many cells there are; those beyond [`COLUMNS_MAX`] are only counted.
    ///
    /// In GB18030 and GBK the second byte of a character is 0x30–0x7E or above, so a comma, a tab or a line feed
    /// is never part of one, and lines may always be cut as bytes. `|` (0x7C) can be a second byte: there the
    /// characters are stepped over.
    pub fn split<'a>(self, line: &'a [u8], cells: &mut [&'a [u8]; COLUMNS_MAX]) -> usize {
        let Some(separator) = self.separator.map(Separator::byte) else { return 0 };
        let step_over = self.charset != Charset::Utf8 && separator >= 0x30;
        let (mut count, mut from, mut at) = (0, 0, 0);
        let mut keep = |cell: &'a [u8]| {
            if count < COLUMNS_MAX {
                cells[count] = cell;
            }
            count += 1;
        };
        while at < line.len() {
            let byte = line[at];
            if byte == separator {
                keep(&line[from..at]);
                from = at + 1;
            }
            at += if step_over && byte > 0x80 { character_bytes(&line[at..]) } else { 1 };
        }
        keep(&line[from..]);
        count
    }
}

/// The length of the GB18030 character that begins with a byte above 0x80.
fn character_bytes(bytes: &[u8]) -> usize {
    if bytes.get(1).is_some_and(u8::is_ascii_digit) { 4 } else { 2 }
}

/// An order number, result code or transaction number: printable ASCII without blanks.
pub fn number(cell: &[u8]) -> Option<&str> {
    let plain = !cell.is_empty() && cell.len() <= NUMBER_BYTES_MAX && cell.iter().all(u8::is_ascii_graphic);
    if plain { std::str::from_utf8(cell).ok() } else { None }
}

/// The lines of a text with their numbers, of which the first is `first_no`; the last one needs no end.
pub fn numbered_lines(text: &[u8], first_no: u64) -> impl Iterator<Item = (u64, &[u8])> + Send {
    let mut rest = text;
    let mut line_no = first_no;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let line = without_return(&rest[..end]);
        rest = rest.get(end + 1..).unwrap_or_default();
        line_no += 1;
        Some((line_no - 1, line))
    })
}

/// A line without the carriage return that may end it.
pub fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(charset: Charset, separator: Separator) -> Text {
        Text { charset, separator: Some(separator), line_end: LineEnd::Crlf }
    }

    fn cells(text: Text, line: &[u8]) -> Vec<Vec<u8>> {
        let mut cells = [&[] as &[u8]; COLUMNS_MAX];
        let count = text.split(line, &mut cells);
        cells[..count].iter().map(|cell| cell.to_vec()).collect()
    }

    #[test]
    fn a_second_byte_that_looks_like_the_separator_does_not_split_a_character() {
        let pipe = text(Charset::Gbk, Separator::Pipe);
        let mut line = b"1|".to_vec();
        pipe.put("億", &mut line).unwrap();
        assert_eq!(line, b"1|\x83\x7c");
        line.extend_from_slice(b"|2");
        assert_eq!(cells(pipe, &line), [b"1".to_vec(), b"\x83\x7c".to_vec(), b"2".to_vec()]);
    }

    #[test]
    fn a_character_outside_the_encoding_is_never_replaced() {
        let mut out = Vec::new();
        assert_eq!(text(Charset::Gbk, Separator::Comma).put("𠀀", &mut out), Err(Uncarriable::OutsideEncoding));
        assert_eq!(
            text(Charset::Gb18030, Separator::Comma).put("\u{e5e5}", &mut out),
            Err(Uncarriable::OutsideEncoding)
        );
        assert_eq!(out, b"");
        text(Charset::Gb18030, Separator::Comma).put("𠀀", &mut out).unwrap();
        assert_eq!(out, b"\x95\x32\x82\x36");
    }

    #[test]
    fn the_first_malformed_character_is_found_wherever_it_is() {
        assert_eq!(Charset::Gb18030.first_malformed(b"abc\xff"), Some(3));
        assert_eq!(Charset::Gb18030.first_malformed(b"abc\xb3"), Some(3));
        assert_eq!(Charset::Gb18030.first_malformed(b"ab\x81\x30\x81,x"), Some(2));
        assert_eq!(Charset::Utf8.first_malformed(b"abc\xb3"), Some(3));
        let mut long = "中".repeat(20_000);
        assert_eq!(Charset::Utf8.first_malformed(long.as_bytes()), None);
        long.push('x');
        let mut bytes = GB18030.encode(&long).0.into_owned();
        assert_eq!(Charset::Gb18030.first_malformed(&bytes), None);
        bytes[40_000] = 0xff;
        assert_eq!(Charset::Gb18030.first_malformed(&bytes), Some(40_000));
    }

    proptest! {
        #[test]
        fn what_is_put_into_a_line_comes_out_of_it(
            one in any::<String>(), two in any::<String>(), charset in 0..3usize, separator in 0..3usize,
        ) {
            let text = text(
                [Charset::Gb18030, Charset::Gbk, Charset::Utf8][charset],
                [Separator::Comma, Separator::Pipe, Separator::Tab][separator],
            );
            let mut line = Vec::new();
            if text.put(&one, &mut line).is_ok() {
                line.push(text.separator.unwrap().byte());
                if text.put(&two, &mut line).is_ok() {
                    let cells = cells(text, &line);
                    let read: Vec<_> = cells.iter().map(|cell| text.charset.decode(cell).unwrap()).collect();
                    prop_assert_eq!(read, [one, two]);
                }
            }
        }

        #[test]
        fn any_bytes_are_split_without_panic(line in any::<Vec<u8>>()) {
            let text = text(Charset::Gbk, Separator::Pipe);
            let mut cells = [&[] as &[u8]; COLUMNS_MAX];
            prop_assert!(text.split(&line, &mut cells) >= 1);
        }
    }
}
