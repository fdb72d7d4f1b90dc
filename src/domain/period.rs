//! Contribution periods (费款所属期) and the years amounts are set for.

use std::fmt;

use chrono::{Datelike, NaiveDate};

/// A calendar year in which contributions fall due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Year(pub i16);

/// A month, written `yyyymm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    year: i16,
    month: u8,
}

/// `period_from`..`period_to`: a whole year for yearly types, the same month twice for monthly ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    pub from: Month,
    pub to: Month,
}

/// How often a type is collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cycle {
    Yearly,
    Monthly,
}

impl Year {
    /// Contributions are collected in years 2000 to 2999; what lies outside is a mistake of the sender.
    pub fn new(year: i64) -> Option<Year> {
        (2000..=2999).contains(&year).then_some(Year(year as i16))
    }
}

impl fmt::Display for Year {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}", self.0)
    }
}

impl Month {
    /// Reads `yyyymm`.
    pub fn parse(text: &str) -> Option<Month> {
        if text.len() != 6 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let year = Year::new(text[..4].parse().ok()?)?;
        let month: u8 = text[4..].parse().ok()?;
        (1..=12).contains(&month).then_some(Month { year: year.0, month })
    }

    pub fn of(date: NaiveDate) -> Month {
        Month { year: date.year() as i16, month: date.month() as u8 }
    }

    pub fn year(self) -> Year {
        Year(self.year)
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}{:02}", self.year, self.month)
    }
}

impl Period {
    pub fn year(year: Year) -> Period {
        Period { from: Month { year: year.0, month: 1 }, to: Month { year: year.0, month: 12 } }
    }

    pub fn month(month: Month) -> Period {
        Period { from: month, to: month }
    }

    /// The period a run of this cycle collects on `date`.
    pub fn due_on(cycle: Cycle, date: NaiveDate) -> Period {
        match cycle {
            Cycle::Yearly => Period::year(Month::of(date).year()),
            Cycle::Monthly => Period::month(Month::of(date)),
        }
    }

    /// Whether a normal declaration of this cycle can have this period.
    pub fn fits(self, cycle: Cycle) -> bool {
        match cycle {
            Cycle::Yearly => self == Period::year(self.from.year()),
            Cycle::Monthly => self.from == self.to,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_six_digits_of_a_real_month() {
        assert_eq!(Month::parse("202601").unwrap().to_string(), "202601");
        for text in ["2026", "202600", "202613", "20261", "2026-1", "199912", "２０２６０１"] {
            assert!(Month::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_year_is_january_to_december_and_a_month_is_itself_twice() {
        let day = NaiveDate::from_ymd_opt(2026, 4, 15).unwrap();
        let year = Period::due_on(Cycle::Yearly, day);
        let month = Period::due_on(Cycle::Monthly, day);
        assert_eq!((year.from.to_string(), year.to.to_string()), ("202601".into(), "202612".into()));
        assert_eq!((month.from.to_string(), month.to.to_string()), ("202604".into(), "202604".into()));
        assert!(year.fits(Cycle::Yearly) && !year.fits(Cycle::Monthly));
        assert!(month.fits(Cycle::Monthly) && !month.fits(Cycle::Yearly));
    }
}
