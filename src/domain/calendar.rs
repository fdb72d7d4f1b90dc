//! Workdays and days off: weekends, official holidays and the make-up workdays (调休) that go with them. In: what the
//! State Council has announced for each year, and a day. Out: whether it is a workday, or the nearest one that is. A
//! year that nobody has announced is never guessed. Used by schedules, which never start on a day off.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{Datelike, Days, NaiveDate, Weekday};

/// A shift looks no further; the longest holiday so far has nine days.
pub const SHIFT_DAYS_MAX: u64 = 31;

/// What becomes of a firing on a day off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HolidayRule {
    NextWorkday,
    PreviousWorkday,
    /// It stays where it is; needs no calendar.
    AsIs,
}

impl HolidayRule {
    pub const ALL: [HolidayRule; 3] = [HolidayRule::NextWorkday, HolidayRule::PreviousWorkday, HolidayRule::AsIs];

    pub fn as_str(self) -> &'static str {
        match self {
            HolidayRule::NextWorkday => "next_workday",
            HolidayRule::PreviousWorkday => "previous_workday",
            HolidayRule::AsIs => "as_is",
        }
    }

    pub fn parse(text: &str) -> Option<HolidayRule> {
        HolidayRule::ALL.into_iter().find(|rule| rule.as_str() == text)
    }
}

/// What is announced for one year.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YearCalendar {
    /// The notice.
    pub source: String,
    /// Days off with the name of their holiday.
    pub holidays: BTreeMap<NaiveDate, String>,
    /// Saturdays and Sundays on which everybody works.
    pub workdays: BTreeSet<NaiveDate>,
}

/// The years that are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calendar(pub BTreeMap<i32, YearCalendar>);

/// Nothing is announced for a year, so nobody knows which of its days are workdays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no business calendar of {year} (calendar.{year} in the settings)")]
pub struct NoCalendar {
    pub year: i32,
}

/// Why a day is off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DayOff {
    Saturday,
    Sunday,
    Holiday(String),
}

impl fmt::Display for DayOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DayOff::Saturday => f.write_str("Saturday"),
            DayOff::Sunday => f.write_str("Sunday"),
            DayOff::Holiday(name) => f.write_str(name),
        }
    }
}

impl Calendar {
    /// Why nobody works on a day; `None` on a workday.
    pub fn day_off(&self, day: NaiveDate) -> Result<Option<DayOff>, NoCalendar> {
        if !self.0.contains_key(&day.year()) {
            return Err(NoCalendar { year: day.year() });
        }
        // A year's notice may also name the last days of the year before.
        for announced in self.0.range(day.year()..=day.year() + 1).map(|(_, announced)| announced) {
            if announced.workdays.contains(&day) {
                return Ok(None);
            }
            if let Some(name) = announced.holidays.get(&day) {
                return Ok(Some(DayOff::Holiday(name.clone())));
            }
        }
        Ok(match day.weekday() {
            Weekday::Sat => Some(DayOff::Saturday),
            Weekday::Sun => Some(DayOff::Sunday),
            Weekday::Mon | Weekday::Tue | Weekday::Wed | Weekday::Thu | Weekday::Fri => None,
        })
    }

    /// Where a day goes under a rule, and why if it moves.
    pub fn shift(&self, rule: HolidayRule, day: NaiveDate) -> Result<(NaiveDate, Option<DayOff>), NoCalendar> {
        let step: fn(NaiveDate, u64) -> NaiveDate = match rule {
            HolidayRule::AsIs => return Ok((day, None)),
            HolidayRule::NextWorkday => |day, by| day + Days::new(by),
            HolidayRule::PreviousWorkday => |day, by| day - Days::new(by),
        };
        let Some(off) = self.day_off(day)? else { return Ok((day, None)) };
        for by in 1..=SHIFT_DAYS_MAX {
            if self.day_off(step(day, by))?.is_none() {
                return Ok((step(day, by), Some(off)));
            }
        }
        // A calendar of which a whole month is off is no calendar.
        Err(NoCalendar { year: day.year() })
    }

    /// The first year up to that of `day` that is not known, seen from another day.
    pub fn missing_between(&self, from: NaiveDate, until: NaiveDate) -> Option<NoCalendar> {
        (from.year()..=until.year()).find(|year| !self.0.contains_key(year)).map(|year| NoCalendar { year })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    /// National Day 2026, with the Sunday before it that makes up for it, and a New Year that begins in the old year.
    fn calendar() -> Calendar {
        let days = |from: &str, count: u64, name: &str| -> Vec<(NaiveDate, String)> {
            (0..count).map(|n| (day(from) + Days::new(n), name.to_owned())).collect()
        };
        let announced = |holidays: Vec<(NaiveDate, String)>, workdays: &[&str]| YearCalendar {
            source: "test".into(),
            holidays: holidays.into_iter().collect(),
            workdays: workdays.iter().map(|text| day(text)).collect(),
        };
        Calendar(BTreeMap::from([
            (2026, announced(days("2026-10-01", 7, "国庆节"), &["2026-09-20", "2026-10-10"])),
            (2027, announced(days("2026-12-31", 3, "元旦"), &[])),
        ]))
    }

    #[test]
    fn weekends_and_holidays_are_off_and_make_up_days_are_not() {
        let off = |text: &str| calendar().day_off(day(text)).unwrap().map(|off| off.to_string());
        let found = ["2026-09-19", "2026-09-20", "2026-09-27", "2026-10-01", "2026-10-03", "2026-10-08", "2026-12-31"];
        let wanted = [Some("Saturday"), None, Some("Sunday"), Some("国庆节"), Some("国庆节"), None, Some("元旦")];
        assert_eq!(found.map(off), wanted.map(|name| name.map(str::to_owned)));
    }

    #[test]
    fn a_day_off_goes_to_the_nearest_workday_as_the_rule_says() {
        let shift = |rule, text: &str| {
            let (date, off) = calendar().shift(rule, day(text)).unwrap();
            (date.to_string(), off.map(|off| off.to_string()))
        };
        let moved = |date: &str, why: &str| (date.to_owned(), Some(why.to_owned()));
        assert_eq!(shift(HolidayRule::NextWorkday, "2026-10-03"), moved("2026-10-08", "国庆节"));
        assert_eq!(shift(HolidayRule::PreviousWorkday, "2026-10-03"), moved("2026-09-30", "国庆节"));
        assert_eq!(shift(HolidayRule::NextWorkday, "2026-09-19"), moved("2026-09-20", "Saturday"));
        assert_eq!(shift(HolidayRule::AsIs, "2026-10-03"), ("2026-10-03".to_owned(), None));
        assert_eq!(shift(HolidayRule::NextWorkday, "2026-10-10"), ("2026-10-10".to_owned(), None));
        assert_eq!(shift(HolidayRule::NextWorkday, "2026-12-31"), moved("2027-01-04", "元旦"));
    }

    #[test]
    fn a_year_that_nobody_has_announced_is_not_guessed() {
        let missing = NoCalendar { year: 2028 };
        assert_eq!(calendar().day_off(day("2028-03-01")), Err(missing));
        assert_eq!(calendar().shift(HolidayRule::NextWorkday, day("2028-03-01")), Err(missing));
        assert_eq!(calendar().shift(HolidayRule::AsIs, day("2028-03-01")), Ok((day("2028-03-01"), None)));
        // 1 January 2028 is a Saturday: what is before it is known, what is behind it is not.
        assert_eq!(calendar().shift(HolidayRule::PreviousWorkday, day("2028-01-01")), Err(missing));
        assert_eq!(calendar().missing_between(day("2027-12-01"), day("2028-01-02")), Some(missing));
        assert_eq!(calendar().missing_between(day("2026-12-01"), day("2027-12-31")), None);
        assert!(missing.to_string().contains("calendar.2028"));
    }
}
