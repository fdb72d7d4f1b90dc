//! Files that are something else: bytes that no layout fits come in, the name of what they are goes out. Called
//! before a file is read, and again when its header does not fit.

use super::layout::Layout;
use super::text::{Charset, Text, without_return};
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

/// The refusal of a file that is plainly something else, or `None` if it may be what the layout describes.
pub(super) fn foreign(bytes: &[u8], layout: &Layout) -> Option<Refused> {
    not_lines(bytes).or_else(|| {
        let reason = "a request file of our own, not the bank's answer to it";
        is_request(bytes, layout).then(|| Refused::wrong_file(1, None, reason))
    })
}

/// The refusal of a file that is no text of lines at all.
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

/// The refusal of a file that is not in the encoding it should be in.
pub(super) fn misencoded(bytes: &[u8], text: Text) -> Option<Refused> {
    let encoding = text.charset.as_str();
    if is_utf8_instead(bytes, text) {
        return Some(Refused::malformed(1, None, format!("encoded in UTF-8, not {encoding}")));
    }
    let offset = text.charset.first_malformed(bytes)?;
    let line = 1 + bytes[..offset].iter().filter(|byte| **byte == b'\n').count() as u64;
    Some(Refused::malformed(line, None, format!("not {encoding}: malformed bytes")))
}

/// Chinese text in UTF-8 often passes for GB18030 and reads as nonsense: that the whole file is UTF-8, and none of
/// it the two-byte kind that GB18030 can be by accident, is how it is told.
fn is_utf8_instead(bytes: &[u8], text: Text) -> bool {
    text.charset != Charset::Utf8
        && !bytes.is_ascii()
        && std::str::from_utf8(bytes).is_ok_and(|text| text.chars().all(|c| c.is_ascii() || c >= '\u{800}'))
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
