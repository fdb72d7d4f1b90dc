//! What stands in a cell of Alipay's files: bytes come in, sums, times and numbers go out. Called by the readers of
//! rows and by [`super::frame`].

use chrono::{DateTime, NaiveDate, Utc};

use crate::domain::money::Money;
use crate::gateway::Refused;
use crate::gateway::row::BEIJING;

/// A sum with its sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signed {
    pub is_negative: bool,
    pub amount: Money,
}

/// A cell without the TAB and the blanks around it: a spreadsheet loses them, which changes nothing.
pub(super) fn trimmed(cell: &[u8]) -> &[u8] {
    cell.trim_ascii()
}

/// Yuan with or without a sign.
pub(super) fn signed(cell: &[u8]) -> Option<Signed> {
    let text = std::str::from_utf8(cell).ok()?;
    let (is_negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    Some(Signed { is_negative, amount: Money::from_yuan(digits).ok()? })
}

/// `yyyy-MM-dd HH:mm:ss` in Beijing.
pub(super) fn instant(cell: &[u8]) -> Option<DateTime<Utc>> {
    let number = |range: std::ops::Range<usize>| {
        let digits = &cell[range];
        let value = digits.iter().fold(0, |value, digit| value * 10 + u32::from(digit.wrapping_sub(b'0')));
        digits.iter().all(u8::is_ascii_digit).then_some(value)
    };
    let between = |(place, byte): (usize, u8)| cell[place] == byte;
    if cell.len() != 19 || ![(4, b'-'), (7, b'-'), (10, b' '), (13, b':'), (16, b':')].into_iter().all(between) {
        return None;
    }
    let year = i32::try_from(number(0..4)?).ok().filter(|year| (2000..=2999).contains(year))?;
    let day = NaiveDate::from_ymd_opt(year, number(5..7)?, number(8..10)?)?;
    let local = day.and_hms_opt(number(11..13)?, number(14..16)?, number(17..19)?)?;
    Some(local.and_local_timezone(BEIJING).single()?.to_utc())
}

/// The refusal of a file whose numbers and times a spreadsheet has written anew; what it rounded is lost.
pub(super) fn resaved(line_no: u64, place: usize, cell: &[u8]) -> Option<Refused> {
    let reason = if is_scientific(cell) {
        "a number in scientific notation: saved again by a spreadsheet, which rounded it"
    } else if is_slashed(cell) {
        "a time with slashes: saved again by a spreadsheet"
    } else {
        return None;
    };
    Some(Refused::malformed(line_no, Some(place as u64 + 1), reason))
}

/// `2.02109E+27`
fn is_scientific(cell: &[u8]) -> bool {
    let Some(at) = cell.iter().position(|byte| matches!(byte, b'E' | b'e')) else { return false };
    let (mantissa, exponent) = (&cell[..at], &cell[at + 1..]);
    let Some(exponent) = exponent.strip_prefix(b"+") else { return false };
    !exponent.is_empty()
        && exponent.iter().all(u8::is_ascii_digit)
        && mantissa.first().is_some_and(u8::is_ascii_digit)
        && mantissa.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
}

/// `2019/9/16 10:55`
fn is_slashed(cell: &[u8]) -> bool {
    cell.len() > 8 && cell.get(4) == Some(&b'/') && cell[..4].iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_read_with_their_sign() {
        let read = |cell: &str| signed(cell.as_bytes()).map(|sum| (sum.is_negative, sum.amount.to_string()));
        assert_eq!(read("0.01"), Some((false, "0.01".into())));
        assert_eq!(read("-97.00"), Some((true, "97.00".into())));
        assert_eq!(read("+5"), Some((false, "5.00".into())));
        for cell in ["", "-", "--1", "1,000.00", "1.005", "1E+2", "１"] {
            assert_eq!(read(cell), None, "{cell}");
        }
    }

    #[test]
    fn times_are_of_beijing_and_exactly_so_written() {
        let read = |cell: &str| instant(cell.as_bytes()).map(|time| time.to_rfc3339());
        assert_eq!(read("2026-01-01 07:30:05"), Some("2025-12-31T23:30:05+00:00".into()));
        for cell in [
            "",
            "2026-01-01",
            "2026-02-30 00:00:00",
            "2026-01-01 24:00:00",
            "1026-01-01 00:00:00",
            "2026-1-01 000:00:00",
            "２-01-01 00:00:00",
        ] {
            assert_eq!(read(cell), None, "{cell}");
        }
    }

    #[test]
    fn only_what_a_spreadsheet_writes_is_taken_for_its_work() {
        let told = |cell: &str| resaved(7, 0, cell.as_bytes()).is_some();
        assert!(told("2.02109E+27") && told("2E+27") && told("2019/9/16 10:55"));
        for cell in ["P000000100700000001", "2021E27", "E+27", "1E+", "ab/cd/efgh", "2019-09-16 10:55:00"] {
            assert!(!told(cell), "{cell}");
        }
    }
}
