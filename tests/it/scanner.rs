//! Finds a text in bytes in whatever form it may have got there: encodings, escapes, and the last digits of a number
//! beyond the four that may be shown.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use encoding_rs::GB18030;

/// What must not be found, and in which forms it is looked for.
pub struct Scanner {
    needles: Vec<Needle>,
    /// Needles by their first bytes, so that one pass finds all.
    begin: HashMap<[u8; BEGIN], Vec<usize>>,
}

struct Needle {
    canary: String,
    form: String,
    bytes: Vec<u8>,
    /// So short that a hash or a fraction of a second might hold it: looked for in what is left without those.
    short: bool,
}

const BEGIN: usize = 4;
/// Last four digits may be shown, five not.
const LAST_DIGITS: usize = 5;
/// Longer runs of hexadecimal digits are hashes and sealed values.
const HEX_RUN: usize = 24;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// In base64 a text looks different at each of three places; the characters that its neighbours share are left out.
fn base64(engine: &impl Engine, bytes: &[u8], place: usize) -> Vec<u8> {
    let text = engine.encode([&vec![0; place], bytes].concat()).into_bytes();
    let begin = (place * 8).div_ceil(6);
    let end = (place + bytes.len()) * 8 / 6;
    text[begin..end].to_vec()
}

/// All that a text may look like.
fn forms(text: &str) -> Vec<(String, Vec<u8>)> {
    let gb18030 = GB18030.encode(text).0.into_owned();
    let mut forms = vec![("utf-8".to_owned(), text.as_bytes().to_vec()), ("gb18030".into(), gb18030.clone())];
    for (name, bytes) in [("utf-8", text.as_bytes()), ("gb18030", &gb18030)] {
        let mut add = |form: &str, bytes: Vec<u8>| forms.push((format!("{form} of {name}"), bytes));
        add("hex", hex(bytes).into_bytes());
        add("upper-case hex", hex(bytes).to_uppercase().into_bytes());
        for place in 0..3 {
            add("base64", base64(&STANDARD_NO_PAD, bytes, place));
            add("url-safe base64", base64(&URL_SAFE_NO_PAD, bytes, place));
        }
        add("list of numbers", bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ").into_bytes());
        add("percent escapes", bytes.iter().map(|byte| format!("%{byte:02X}")).collect::<String>().into_bytes());
        add("octal escapes", bytes.iter().map(|byte| format!("\\{byte:03o}")).collect::<String>().into_bytes());
        add("byte escapes", bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>().into_bytes());
    }
    let utf16: Vec<u16> = text.encode_utf16().collect();
    let escaped = |write: fn(&u16) -> String| utf16.iter().map(write).collect::<String>().into_bytes();
    forms.push(("JSON escapes".into(), escaped(|unit| format!("\\u{unit:04x}"))));
    forms.push(("upper-case JSON escapes".into(), escaped(|unit| format!("\\u{unit:04X}"))));
    forms.push(("Rust escapes".into(), escaped(|unit| format!("\\u{{{unit:x}}}"))));
    forms
}

impl Scanner {
    pub fn new<'t>(canaries: impl IntoIterator<Item = &'t str>) -> Scanner {
        let mut scanner = Scanner { needles: Vec::new(), begin: HashMap::new() };
        for canary in canaries {
            for (form, bytes) in forms(canary) {
                scanner.add(canary, form, bytes, false);
            }
            let chars: Vec<char> = canary.chars().collect();
            if canary.is_ascii() {
                let last: String = chars[chars.len() - LAST_DIGITS..].iter().collect();
                scanner.add(canary, format!("last {LAST_DIGITS}"), last.into_bytes(), true);
                for length in LAST_DIGITS + 1..chars.len() {
                    let last: String = chars[chars.len() - length..].iter().collect();
                    scanner.add(canary, format!("hex of the last {length}"), hex(last.as_bytes()).into_bytes(), false);
                }
            } else {
                // A name with its first character masked is still a name.
                let given: String = chars[chars.len() - 2..].iter().collect();
                for (form, bytes) in forms(&given) {
                    scanner.add(canary, format!("{form}, the last two"), bytes, false);
                }
            }
        }
        scanner
    }

    fn add(&mut self, canary: &str, form: String, bytes: Vec<u8>, short: bool) {
        let begin = bytes[..BEGIN].try_into().unwrap();
        self.begin.entry(begin).or_default().push(self.needles.len());
        self.needles.push(Needle { canary: canary.to_owned(), form, bytes, short });
    }

    /// What is found, as `canary (form)`.
    pub fn scan(&self, haystack: &[u8]) -> Vec<String> {
        let mut found: Vec<String> = self.hits(haystack, false);
        found.extend(self.hits(&without_noise(haystack), true));
        found.sort();
        found.dedup();
        found
    }

    fn hits(&self, haystack: &[u8], short: bool) -> Vec<String> {
        let mut found = Vec::new();
        for at in 0..haystack.len().saturating_sub(BEGIN - 1) {
            let begin: [u8; BEGIN] = haystack[at..at + BEGIN].try_into().unwrap();
            for needle in self.begin.get(&begin).into_iter().flatten().map(|place| &self.needles[*place]) {
                if needle.short == short && haystack[at..].starts_with(&needle.bytes) {
                    let around = &haystack[at.saturating_sub(60)..(at + 60).min(haystack.len())];
                    found.push(format!("{} ({}): …{}…", needle.canary, needle.form, String::from_utf8_lossy(around)));
                }
            }
        }
        found
    }

    /// Which canaries are found at all.
    pub fn canaries_in<'s>(&'s self, haystack: &[u8]) -> Vec<&'s str> {
        let found = self.scan(haystack);
        let mut canaries: Vec<&str> = self.needles.iter().map(|needle| needle.canary.as_str()).collect();
        canaries.dedup();
        canaries.retain(|canary| found.iter().any(|hit| hit.starts_with(&format!("{canary} ("))));
        canaries
    }
}

/// Long hexadecimal runs and fractions of seconds are left out: five digits may be anywhere in them.
fn without_noise(bytes: &[u8]) -> Vec<u8> {
    let mut left = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let run = bytes[at..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let fraction = left.len() >= 4 && left[left.len() - 1] == b'.' && left[left.len() - 4] == b':';
        if run >= HEX_RUN || (fraction && digits > 0) {
            at += if run >= HEX_RUN { run } else { digits };
            left.push(b' ');
        } else {
            let step = run.max(1);
            left.extend_from_slice(&bytes[at..at + step]);
            at += step;
        }
    }
    left
}

#[test]
fn the_scanner_finds_every_form_in_which_a_text_may_have_got_somewhere() {
    let canaries = ["欧阳龘靐", "6222990000008675309", "99010119850315739X"];
    let scanner = Scanner::new(canaries);
    for canary in canaries {
        for (form, bytes) in forms(canary) {
            let planted = [b"before ".as_slice(), &bytes, b" after"].concat();
            assert_eq!(scanner.canaries_in(&planted), [canary], "{form}");
        }
        let in_base64 = STANDARD_NO_PAD.encode(format!("{{\"x\":\"{canary}\"}}"));
        assert_eq!(scanner.canaries_in(in_base64.as_bytes()), [canary]);
        assert!(!scanner.scan(serde_json::to_string(&format!("x{canary}")).unwrap().as_bytes()).is_empty());
        assert!(!scanner.scan(format!("{:?}", canary.as_bytes()).as_bytes()).is_empty());
    }
    assert_eq!(scanner.canaries_in("**龘靐".as_bytes()), ["欧阳龘靐"]);
    assert_eq!(scanner.canaries_in(b"account ...75309"), ["6222990000008675309"]);
    assert_eq!(
        scanner.canaries_in(b"last four 5309, at 10:11:12.275309Z, hash 0123456789abcdef75309abcdef01234567"),
        Vec::<&str>::new()
    );
}
