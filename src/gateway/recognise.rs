//! Files that are something else: bytes that no layout fits come in, the name of what they are goes out. Called
//! before a file is read, and again when its header does not fit.

use super::layout::Layout;
use super::text::{Charset, LINE_BYTES_MAX, Text, without_return};
use super::{Refused, RefusedKind};

/// What a file begins with that is not a text file of lines at all.
const BEGINNINGS: [(&[u8], RefusedKind, &str); 7] = [
    (b"PK\x05\x06", RefusedKind::WrongFile, "an empty zip archive"),
    (b"PK\x03\x04", RefusedKind::WrongFile, "a zip archive; unpack it first"),
    (b"\x1f\x8b", RefusedKind::WrongFile, "a gzip archive; unpack it first"),
    (b"\xff\xfe", RefusedKind::Malformed, "encoded in UTF-16"),
    (b"\xfe\xff", RefusedKind::Malformed, "encoded in UTF-16"),
    (
        b"\xef\xbb\xbf",
        RefusedKind::Malformed,
        "begins with a UTF-8 byte order mark: probably saved again by another program",
    ),
    (b"%PDF", RefusedKind::WrongFile, "a PDF document"),
];

/// Bytes of a file's beginning that tell what it is: two of the longest lines.
pub(super) const BEGINNING_BYTES: usize = 2 * LINE_BYTES_MAX;

/// The refusal of a file that is plainly something else by its beginning, or `None` if it may be what the layout describes.
pub(super) fn foreign(beginning: &[u8], layout: &Layout) -> Option<Refused> {
    not_lines(beginning).or_else(|| {
        let reason = "a request file of our own, not the bank's answer to it";
        is_request(beginning, layout).then(|| Refused::wrong_file(1, None, reason))
    })
}

/// The refusal of a file that by its beginning is no text of lines at all.
pub(super) fn not_lines(bytes: &[u8]) -> Option<Refused> {
    let refused = |kind, reason: &str| Some(Refused { kind, line: 1, column: None, reason: reason.to_owned() });
    if bytes.is_empty() {
        return refused(RefusedKind::Malformed, "the file is empty");
    }
    if let Some((_, kind, what)) = BEGINNINGS.iter().find(|(beginning, ..)| bytes.starts_with(beginning)) {
        return refused(*kind, what);
    }
    match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => refused(RefusedKind::Malformed, "there is nothing but blanks in the file"),
        Some(b'<') => refused(RefusedKind::WrongFile, "an HTML or XML document, probably an error page"),
        Some(b'{') => refused(RefusedKind::WrongFile, "a JSON document, probably an error message"),
        Some(_) => None,
    }
}

/// Looks at each line of a file for what is not in the encoding it should be in.
pub(super) struct Encoding {
    charset: Charset,
    /// Whether all of it may be UTF-8, none of it of the two-byte kind that GB18030 can be by accident.
    may_be_utf8: bool,
    is_ascii: bool,
}

impl Encoding {
    pub fn of(text: Text) -> Encoding {
        Encoding { charset: text.charset, may_be_utf8: text.charset != Charset::Utf8, is_ascii: true }
    }

    pub fn check(&mut self, line_no: u64, line: &[u8]) -> Result<(), Refused> {
        // Of a line that is too long the end is missing, perhaps in the middle of a character: it is a bad row anyway.
        if line.is_ascii() || line.len() > LINE_BYTES_MAX {
            return Ok(());
        }
        self.is_ascii = false;
        let utf8 =
            |line| std::str::from_utf8(line).is_ok_and(|text| text.chars().all(|c| c.is_ascii() || c >= '\u{800}'));
        self.may_be_utf8 = self.may_be_utf8 && utf8(line);
        match self.charset.first_malformed(line) {
            Some(_) if self.may_be_utf8 => self.end(),
            Some(_) => {
                Err(Refused::malformed(line_no, None, format!("not {}: malformed bytes", self.charset.as_str())))
            }
            None => Ok(()),
        }
    }

    /// Chinese text in UTF-8 often passes for GB18030 and reads as nonsense: that all of the file is UTF-8 is how it is told.
    pub fn end(&self) -> Result<(), Refused> {
        if self.may_be_utf8 && !self.is_ascii {
            return Err(Refused::malformed(1, None, format!("encoded in UTF-8, not {}", self.charset.as_str())));
        }
        Ok(())
    }
}

fn is_request(bytes: &[u8], layout: &Layout) -> bool {
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n').map(without_return);
    let (first, second) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let text = layout.text;
    if layout.request.header.is_empty() || layout.result.header.is_empty() {
        return layout.request.item.fits(first, text) && !layout.result.item.fits(first, text);
    }
    let alike = layout.result.header.fits(first, text);
    let second_tells = layout.request.item.fits(second, text) && !layout.result.item.fits(second, text);
    layout.request.header.fits(first, text) && (!alike || second_tells)
}
