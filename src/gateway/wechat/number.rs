//! Numbers and times of a bill: cells come in, exact values go out. Never a float: a sum of many fees is compared to
//! the fen.

use chrono::{DateTime, NaiveDate, Utc};

use crate::domain::money::Money;
use crate::gateway::row::{BEIJING, digits_of};

/// Millionths are exact for everything a bill has: fees have five decimals.
pub(super) const MILLIONTHS: i64 = 1_000_000;
pub(super) const MILLIONTHS_OF_A_FEN: i64 = MILLIONTHS / 100;

/// Twelve digits before the point are what a sum of money may have; with six decimals they fit well into 64 bits.
const WHOLE_DIGITS_MAX: usize = 12;
const DECIMALS_MAX: usize = 6;

/// A decimal number such as `45.0`, `3`, `0.00000` or `-0.01`, in millionths.
pub(super) fn millionths(cell: &[u8]) -> Option<i64> {
    let (negative, digits) = match cell {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let mut value: i64 = 0;
    let mut decimals = None;
    for (place, byte) in digits.iter().enumerate() {
        match (byte, &mut decimals) {
            (b'0'..=b'9', None) if place < WHOLE_DIGITS_MAX => {}
            (b'0'..=b'9', Some(count)) if *count < DECIMALS_MAX => *count += 1,
            (b'.', None) if place > 0 => {
                decimals = Some(0);
                continue;
            }
            _ => return None,
        }
        value = value * 10 + i64::from(byte - b'0');
    }
    let decimals = match decimals {
        None if digits.is_empty() => return None,
        None => 0,
        Some(0) => return None,
        Some(count) => count,
    };
    let scaled = value * POWERS[DECIMALS_MAX - decimals];
    Some(if negative { -scaled } else { scaled })
}

const POWERS: [i64; DECIMALS_MAX + 1] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000];

/// A sum in whole fen, not negative.
pub(super) fn fen(cell: &[u8]) -> Option<i64> {
    let value = millionths(cell).filter(|value| *value >= 0 && value % MILLIONTHS_OF_A_FEN == 0)?;
    Some(value / MILLIONTHS_OF_A_FEN)
}

pub(super) fn money(cell: &[u8]) -> Option<Money> {
    Money::from_fen(fen(cell)?.into()).ok()
}

pub(super) fn whole(cell: &[u8]) -> Option<i64> {
    let value = millionths(cell).filter(|value| *value >= 0 && value % MILLIONTHS == 0)?;
    Some(value / MILLIONTHS)
}

/// `yyyy-mm-dd HH:MM:SS`, Beijing time: the day there, and the instant.
pub(super) fn time(cell: &[u8]) -> Option<(NaiveDate, DateTime<Utc>)> {
    let Ok([y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b' ', h1, h2, b':', i1, i2, b':', s1, s2]) =
        <&[u8; 19]>::try_from(cell)
    else {
        return None;
    };
    let digits = [y1, y2, y3, y4, m1, m2, d1, d2, h1, h2, i1, i2, s1, s2].map(|digit| *digit);
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let year = i32::try_from(digits_of(&digits[..4])).ok().filter(|year| (2000..=2999).contains(year))?;
    let two = |at: usize| u32::from(digits[at] - b'0') * 10 + u32::from(digits[at + 1] - b'0');
    let day = NaiveDate::from_ymd_opt(year, two(4), two(6))?;
    let local = day.and_hms_opt(two(8), two(10), two(12))?;
    Some((day, local.and_local_timezone(BEIJING).single()?.to_utc()))
}

/// What spreadsheet programs make of a long number: `4.2E+27`.
pub(super) fn is_scientific(cell: &[u8]) -> bool {
    let Some(place) = cell.windows(2).position(|two| two.eq_ignore_ascii_case(b"e+")) else { return false };
    let (mantissa, exponent) = (&cell[..place], &cell[place + 2..]);
    let digits = |cell: &[u8]| !cell.is_empty() && cell.iter().all(u8::is_ascii_digit);
    digits(exponent) && mantissa.split(|byte| *byte == b'.').all(digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_read_exactly_and_nothing_else_is_a_number() {
        let read = |text: &str| millionths(text.as_bytes());
        let wanted = [
            ("45.0", 45_000_000),
            ("3", 3_000_000),
            ("0.00000", 0),
            ("0.014999", 14_999),
            ("-0.01", -10_000),
            ("999999999999.999999", 999_999_999_999_999_999),
        ];
        for (text, value) in wanted {
            assert_eq!(read(text), Some(value), "{text}");
        }
        for text in
            ["", "-", ".", ".5", "5.", "--1", "+1", "1e3", "4.2E+27", "1,000", " 1", "1 ", "1.0.0", "￥1", "0.0000001"]
        {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read("1234567890123"), None);
        assert_eq!((fen(b"0.10"), fen(b"0.1"), fen(b"0.100"), fen(b"0.101")), (Some(10), Some(10), Some(10), None));
        assert_eq!((fen(b"-0.01"), whole(b"45.0"), whole(b"45.5"), whole(b"-1")), (None, Some(45), None, None));
    }

    #[test]
    fn a_time_has_all_its_digits() {
        let read = |text: &str| time(text.as_bytes()).map(|(day, at)| format!("{day} {at}"));
        assert_eq!(read("2026-04-16 07:01:46"), Some("2026-04-16 2026-04-15 23:01:46 UTC".to_owned()));
        for text in
            ["2026-04-16", "2026/04/16 09:01:46", "2026-04-16 24:00:00", "2026-02-30 00:00:00", "2026-4-16 9:01:46"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn scientific_notation_is_told_from_an_order_number() {
        for text in ["4.2E+27", "4E+27", "1.00000E+05", "4.2e+27"] {
            assert!(is_scientific(text.as_bytes()), "{text}");
        }
        for text in ["4200000263201902167700134212", "E+27", "4.2E+", "A1E+5", "12E345", "4..2E+2"] {
            assert!(!is_scientific(text.as_bytes()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_with_up_to_six_decimals_is_read_back(value in -999_999_999_999_999_999i64..999_999_999_999_999_999) {
            let sign = if value < 0 { "-" } else { "" };
            let text = format!("{sign}{}.{:06}", value.abs() / MILLIONTHS, value.abs() % MILLIONTHS);
            prop_assert_eq!(millionths(text.as_bytes()), Some(value));
        }
    }
}
