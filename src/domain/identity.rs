//! Who a payer is: the tax register's serial number, and the resident identity number behind it.

use std::fmt;

/// 登记序号: opaque, printable ASCII without blanks, at most 32 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayerId(String);

impl PayerId {
    pub const MAX_CHARS: usize = 32;

    pub fn new(text: &str) -> Option<PayerId> {
        let fits = !text.is_empty() && text.len() <= Self::MAX_CHARS && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| PayerId(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text is a resident identity number by GB 11643-1999: 17 digits, of which seven to fourteen are a
/// date of birth, and a check character by ISO 7064 MOD 11-2.
pub fn is_resident_id(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 18
        && bytes[..17].iter().all(u8::is_ascii_digit)
        && chrono::NaiveDate::parse_from_str(&text[6..14], "%Y%m%d").is_ok()
        && bytes[17] == resident_id_check(&bytes[..17])
}

/// The check character of the first 17 digits: weights 2^(18-i) mod 11, remainder 0 to 10 written `1`, `0`, `X`, `9` … `2`.
pub fn resident_id_check(digits: &[u8]) -> u8 {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 = digits.iter().zip(WEIGHTS).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    b"10X98765432"[(sum % 11) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_character_follows_iso_7064_mod_11_2() {
        // The example of the standard itself.
        assert_eq!(resident_id_check(b"11010519491231002"), b'X');
        assert!(is_resident_id("11010519491231002X") && !is_resident_id("110105194912310021"));
    }

    #[test]
    fn a_birthday_that_is_none_is_refused() {
        let digits = "99010119900231123";
        let whole = format!("{digits}{}", resident_id_check(digits.as_bytes()) as char);
        assert!(!is_resident_id(&whole));
    }

    #[test]
    fn exactly_one_check_character_fits() {
        let fitting = "0123456789X".chars().filter(|c| is_resident_id(&format!("99010119900101123{c}"))).count();
        assert_eq!(fitting, 1);
    }

    #[test]
    fn a_payer_id_is_short_and_printable() {
        assert!(PayerId::new("10111000000000000001").is_some());
        for text in ["", "a b", "名", &"9".repeat(33), "a\u{0}"] {
            assert!(PayerId::new(text).is_none(), "{text:?}");
        }
    }
}
