//! Money: yuan with exactly two decimals, never a float.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Sub};

use rust_decimal::Decimal;

/// The largest sum that `numeric(14,2)` holds: 999,999,999,999.99 yuan.
const MAX_FEN: i128 = 99_999_999_999_999;

/// A sum of money in yuan, two decimals, at most `numeric(14,2)`; may be zero, never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(Decimal);

/// A text or number that is not a sum of money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a sum in yuan with at most two decimals: {0}")]
pub struct NotMoney(pub &'static str);

impl Money {
    pub const ZERO: Money = Money(Decimal::ZERO);

    /// Reads a decimal text such as `1000`, `1000.5` or `1000.00`. Digits and one point only: no sign,
    /// no exponent, no thousands separator, because each of these has hidden a wrong amount somewhere.
    pub fn from_yuan(text: &str) -> Result<Money, NotMoney> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        if whole.is_empty() || decimals.is_empty() {
            return Err(NotMoney("digits are missing"));
        }
        if decimals.len() > 2 {
            return Err(NotMoney("more than two decimals"));
        }
        if !whole.bytes().chain(decimals.bytes()).all(|b| b.is_ascii_digit()) {
            return Err(NotMoney("something else than digits and a point"));
        }
        if whole.len() > 12 {
            return Err(NotMoney("too large"));
        }
        let scale = if decimals.len() == 1 { 10 } else { 1 };
        let whole: i128 = whole.parse().map_err(|_| NotMoney("too large"))?;
        let decimals: i128 = decimals.parse().map_err(|_| NotMoney("too large"))?;
        Money::from_fen(whole * 100 + decimals * scale)
    }

    /// From fen, the hundredth of a yuan in which some files carry money.
    pub fn from_fen(fen: i128) -> Result<Money, NotMoney> {
        if !(0..=MAX_FEN).contains(&fen) {
            return Err(NotMoney("out of range"));
        }
        Ok(Money(Decimal::from_i128_with_scale(fen, 2)))
    }

    /// From a database value, which is `numeric(14,2)` by its column.
    pub fn from_decimal(value: Decimal) -> Result<Money, NotMoney> {
        if value.is_sign_negative() && !value.is_zero() {
            return Err(NotMoney("negative"));
        }
        if value.normalize().scale() > 2 {
            return Err(NotMoney("more than two decimals"));
        }
        let mut value = value;
        value.rescale(2);
        Money::from_fen(value.mantissa())
    }

    /// The sum with scale 2, as the database and the wire carry it.
    pub fn decimal(self) -> Decimal {
        let mut value = self.0;
        value.rescale(2);
        value
    }

    /// The sum in fen.
    pub fn fen(self) -> i128 {
        self.decimal().mantissa()
    }

    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.decimal().fmt(f)
    }
}

impl Add for Money {
    type Output = Money;
    fn add(self, other: Money) -> Money {
        Money(self.0 + other.0)
    }
}

impl Sub for Money {
    type Output = Money;
    fn sub(self, other: Money) -> Money {
        Money(self.0 - other.0)
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Money>>(sums: I) -> Money {
        sums.fold(Money::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_written_with_two_decimals_whatever_it_was_read_from() {
        let written: Vec<String> = ["1000", "1000.5", "1000.05", "0", "0.10"]
            .into_iter()
            .map(|text| Money::from_yuan(text).unwrap().to_string())
            .collect();
        assert_eq!(written, ["1000.00", "1000.50", "1000.05", "0.00", "0.10"]);
    }

    #[test]
    fn whatever_is_not_plainly_a_sum_is_refused() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,000", "1.005", " 1", "1.0 ", "１", "1234567890123"] {
            assert!(Money::from_yuan(text).is_err(), "{text:?} was taken for money");
        }
    }

    #[test]
    fn fen_and_yuan_are_the_same_sum() {
        assert_eq!(Money::from_fen(100_050).unwrap(), Money::from_yuan("1000.50").unwrap());
        assert_eq!(Money::from_yuan("1000.50").unwrap().fen(), 100_050);
        assert!(Money::from_fen(-1).is_err());
    }
}
