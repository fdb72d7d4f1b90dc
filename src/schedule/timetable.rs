//! On which days a schedule fires, and where the business calendar moves them.

use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime};

use super::Cron;
use crate::domain::calendar::{Calendar, DayOff, HolidayRule, NoCalendar, SHIFT_DAYS_MAX};
use crate::domain::insurance::MonthDay;

/// One firing of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firing {
    /// By which its run is known for ever.
    pub nominal: NaiveDate,
    /// When it fires, Asia/Shanghai.
    pub at: NaiveDateTime,
    /// Why it does not fire on its nominal date.
    pub shifted: Option<DayOff>,
}

/// What is configured of a schedule's times.
#[derive(Debug, Clone)]
pub struct Timetable {
    pub cron: Vec<Cron>,
    /// Days of every year, all at one time.
    pub days: Vec<(MonthDay, NaiveTime)>,
    pub holiday_rule: HolidayRule,
    /// From this time on a day's firing no longer starts by the clock.
    pub cut_off: Option<NaiveTime>,
}

/// Several firings are moved to one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ambiguous(pub Vec<NaiveDate>);

impl Timetable {
    /// The time at which it fires on a day, wherever the calendar may move that.
    pub fn nominal(&self, date: NaiveDate) -> Option<NaiveTime> {
        let by_day = self.days.iter().filter(|(on, _)| (on.month, on.day) == (date.month(), date.day()));
        self.cron.iter().filter_map(|cron| cron.on(date)).chain(by_day.map(|(_, time)| *time)).min()
    }

    /// The firing of a nominal date, if it is one.
    pub fn firing(&self, nominal: NaiveDate, calendar: &Calendar) -> Result<Option<Firing>, NoCalendar> {
        let Some(time) = self.nominal(nominal) else { return Ok(None) };
        let (date, shifted) = calendar.shift(self.holiday_rule, nominal)?;
        Ok(Some(Firing { nominal, at: date.and_time(time), shifted }))
    }

    /// The firing that a date means: that of the nominal date, else the one that is moved to it.
    pub fn find(&self, date: NaiveDate, calendar: &Calendar) -> Result<Result<Option<Firing>, Ambiguous>, NoCalendar> {
        if let Some(firing) = self.firing(date, calendar)? {
            return Ok(Ok(Some(firing)));
        }
        let mut moved = Vec::new();
        let mut unknown = None;
        for nominal in dates(date - Days::new(SHIFT_DAYS_MAX), date + Days::new(SHIFT_DAYS_MAX)) {
            match self.firing(nominal, calendar) {
                Ok(firing) => moved.extend(firing.filter(|firing| firing.at.date() == date)),
                Err(missing) => unknown = Some(missing),
            }
        }
        match (moved.len(), unknown) {
            (0, Some(missing)) => Err(missing),
            (0 | 1, _) => Ok(Ok(moved.pop())),
            _ => Ok(Err(Ambiguous(moved.into_iter().map(|firing| firing.nominal).collect()))),
        }
    }

    /// How far before its nominal date a firing may come.
    pub fn reach_days(&self) -> u64 {
        match self.holiday_rule {
            HolidayRule::PreviousWorkday => SHIFT_DAYS_MAX,
            HolidayRule::NextWorkday | HolidayRule::AsIs => 0,
        }
    }
}

/// Each day of a span, both ends included.
pub fn dates(from: NaiveDate, to: NaiveDate) -> impl Iterator<Item = NaiveDate> {
    from.iter_days().take_while(move |day| *day <= to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::calendar::YearCalendar;
    use std::collections::{BTreeMap, BTreeSet};

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn october() -> Calendar {
        let holidays = dates(day("2026-10-01"), day("2026-10-07")).map(|day| (day, "国庆节".to_owned()));
        let workdays = BTreeSet::from([day("2026-10-10")]);
        Calendar(BTreeMap::from([(
            2026,
            YearCalendar { source: String::new(), holidays: holidays.collect(), workdays },
        )]))
    }

    fn timetable(cron: &[&str], days: &[&str], holiday_rule: HolidayRule) -> Timetable {
        let time = NaiveTime::from_hms_opt(9, 0, 0).unwrap();
        Timetable {
            cron: cron.iter().map(|line| Cron::parse(line).unwrap()).collect(),
            days: days.iter().map(|text| (MonthDay::parse(text).unwrap(), time)).collect(),
            holiday_rule,
            cut_off: None,
        }
    }

    fn year(timetable: &Timetable) -> Vec<String> {
        dates(day("2026-01-01"), day("2026-12-31"))
            .filter_map(|date| timetable.firing(date, &october()).unwrap())
            .map(|firing| format!("{} {}", firing.nominal.format("%m-%d"), firing.at.format("%m-%d %H:%M")))
            .collect()
    }

    #[test]
    fn a_year_by_expressions_is_the_same_as_by_days() {
        let cron = timetable(&["0 9 15 4-11 *", "0 9 7 12 *"], &[], HolidayRule::NextWorkday);
        let days = ["04-15", "05-15", "06-15", "07-15", "08-15", "09-15", "10-15", "11-15", "12-07"];
        let wanted = [
            "04-15 04-15 09:00",
            "05-15 05-15 09:00",
            "06-15 06-15 09:00",
            "07-15 07-15 09:00",
            // A Saturday, and a Sunday in November.
            "08-15 08-17 09:00",
            "09-15 09-15 09:00",
            "10-15 10-15 09:00",
            "11-15 11-16 09:00",
            "12-07 12-07 09:00",
        ];
        assert_eq!(year(&cron), wanted);
        assert_eq!(year(&timetable(&[], &days, HolidayRule::NextWorkday)), wanted);
    }

    #[test]
    fn either_date_finds_the_firing_and_a_nominal_one_comes_first() {
        let next = timetable(&["0 9 3,8,18 * *"], &[], HolidayRule::NextWorkday);
        let found = |date: &str| next.find(day(date), &october()).unwrap().unwrap().map(|found| found.nominal);
        // 3 October goes to the 8th, which is one itself; 18 October, a Sunday, to the 19th.
        let asked = ["2026-10-03", "2026-10-08", "2026-10-18", "2026-10-19", "2026-10-20"];
        let wanted = [Some("2026-10-03"), Some("2026-10-08"), Some("2026-10-18"), Some("2026-10-18"), None];
        assert_eq!(asked.map(found), wanted.map(|date| date.map(day)));
    }

    #[test]
    fn a_date_that_several_firings_are_moved_to_means_none_of_them() {
        let next = timetable(&["0 9 2,3 10 *"], &[], HolidayRule::NextWorkday);
        let found = next.find(day("2026-10-08"), &october()).unwrap();
        assert_eq!(found, Err(Ambiguous(vec![day("2026-10-02"), day("2026-10-03")])));
    }

    #[test]
    fn a_firing_in_a_year_without_calendar_is_an_error_and_as_it_is_needs_none() {
        let in_2027 = |rule| timetable(&["0 9 15 4 *"], &[], rule).find(day("2027-04-15"), &october());
        assert_eq!(in_2027(HolidayRule::NextWorkday), Err(NoCalendar { year: 2027 }));
        assert_eq!(in_2027(HolidayRule::AsIs).unwrap().unwrap().unwrap().at.to_string(), "2027-04-15 09:00:00");
    }
}
