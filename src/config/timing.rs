//! What is configured of schedules and of the business calendar, checked: a mistake names its key.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Datelike, NaiveDate, NaiveTime, Weekday};

use super::Schedule;
use super::sections::{CalendarSection, Check, RegionSection, ScheduleSection};
use crate::domain::calendar::{Calendar, HolidayRule, YearCalendar};
use crate::domain::insurance::InsuranceType;
use crate::domain::threshold::Thresholds;
use crate::schedule::timetable::dates;
use crate::schedule::{CatchUp, Cron, Timetable};

/// The words that `pikou run` understands in place of a schedule's name.
const NO_NAMES: [&str; 5] = ["list", "show", "release", "cancel", "help"];
/// The longest holiday that is believed.
const HOLIDAY_DAYS_MAX: usize = 15;

pub(super) fn schedules(
    sections: &BTreeMap<String, ScheduleSection>,
    regions: &BTreeMap<String, RegionSection>,
    check: &mut Check<'_>,
) -> BTreeMap<String, Schedule> {
    let mut schedules = BTreeMap::new();
    for (name, section) in sections {
        let key = format!("schedules.{name}");
        check.that(!NO_NAMES.contains(&name.as_str()), &key, "is a word of `pikou run` and no name");
        let region = regions.get(&section.region);
        check.that(region.is_some(), &format!("{key}.region"), "there is no such region");
        let collected = region.is_none_or(|region| region.insurance.contains_key(&section.insurance_type));
        check.that(collected, &format!("{key}.insurance_type"), "the region does not collect it");
        check.that((1..=99).contains(&section.slot), &format!("{key}.slot"), "must be 1 to 99");
        let Some(timetable) = timetable(section, &key, check) else { continue };
        let catch_up = section.catch_up.as_deref().map_or(Some(CatchUp::Latest), CatchUp::parse);
        let words = CatchUp::ALL.map(CatchUp::as_str).join(", ");
        check.that(catch_up.is_some(), &format!("{key}.catch_up"), &format!("must be one of {words}"));
        let hold = section.hold.as_ref().map_or_else(Thresholds::default, |hold| Thresholds {
            count_percent: hold.count_percent,
            sum_percent: hold.sum_percent,
            first_of_year: hold.first_of_year,
            two_people: hold.two_people,
        });
        for (what, percent) in [("count_percent", hold.count_percent), ("sum_percent", hold.sum_percent)] {
            let sane = percent.is_none_or(|percent| (1..=1000).contains(&percent));
            check.that(sane, &format!("{key}.hold.{what}"), "must be 1 to 1000");
        }
        let schedule = Schedule {
            name: name.clone(),
            insurance_type: InsuranceType(section.insurance_type.clone()),
            region: section.region.clone(),
            timetable,
            catch_up: catch_up.unwrap_or(CatchUp::Latest),
            hold,
            slot: section.slot,
            enabled: section.enabled,
        };
        schedules.insert(name.clone(), schedule);
    }
    schedules
}

fn timetable(section: &ScheduleSection, key: &str, check: &mut Check<'_>) -> Option<Timetable> {
    let mut cron = Vec::new();
    for line in &section.cron {
        let parsed = Cron::parse(line);
        let should = "needs minute, hour, day, month and weekday (by name), e.g. \"0 9 15 4-11 *\"";
        check.that(parsed.is_some(), &format!("{key}.cron"), should);
        cron.extend(parsed);
    }
    let mut days = Vec::new();
    for text in &section.days {
        days.extend(check.month_day(&format!("{key}.days"), text));
    }
    let time = section.time.as_deref().map(|text| check.time(&format!("{key}.time"), text));
    check.that(days.is_empty() || time.is_some(), &format!("{key}.time"), "is needed where there are days");
    let fires = !section.cron.is_empty() || !section.days.is_empty();
    check.that(fires || !section.enabled, &format!("{key}.cron"), "an enabled schedule needs cron or days");
    let cut_off = section.cut_off.as_deref().map(|text| check.time(&format!("{key}.cut_off"), text));
    let rule = section.holiday_rule.as_deref().map_or(Some(HolidayRule::NextWorkday), HolidayRule::parse);
    let words = HolidayRule::ALL.map(HolidayRule::as_str).join(", ");
    check.that(rule.is_some(), &format!("{key}.holiday_rule"), &format!("must be one of {words}"));
    let time = time.flatten();
    let in_time = time.zip(cut_off.flatten()).is_none_or(|(time, cut_off)| time < cut_off);
    check.that(in_time, &format!("{key}.cut_off"), "must be after the time at which it fires");
    Some(Timetable {
        cron,
        days: days.into_iter().map(|day| (day, time.unwrap_or_default())).collect(),
        holiday_rule: rule?,
        cut_off: cut_off.flatten(),
    })
}

pub(super) fn calendar(sections: &BTreeMap<String, CalendarSection>, check: &mut Check<'_>) -> Calendar {
    let mut years = BTreeMap::new();
    for (name, section) in sections {
        let key = format!("calendar.{name}");
        let year = name.parse::<i32>().ok().filter(|year| (2000..=2999).contains(year));
        check.that(year.is_some(), &key, "must be named by a year");
        check.that(!section.source.trim().is_empty(), &format!("{key}.source"), "must name the notice");
        let Some(year) = year else { continue };
        let mut holidays = BTreeMap::new();
        for holiday in &section.holidays {
            let key = format!("{key}.holidays ({})", holiday.name);
            let days = check.date(&key, &holiday.from, year).zip(check.date(&key, &holiday.to, year));
            let days: Vec<NaiveDate> =
                days.map_or_else(Vec::new, |(from, to)| dates(from, to).take(HOLIDAY_DAYS_MAX + 1).collect());
            let sane = (1..=HOLIDAY_DAYS_MAX).contains(&days.len());
            check.that(sane, &key, &format!("must have 1 to {HOLIDAY_DAYS_MAX} days"));
            holidays.extend(days.into_iter().map(|day| (day, holiday.name.clone())));
        }
        let mut workdays = BTreeSet::new();
        for text in &section.workdays {
            let key = format!("{key}.workdays ({text})");
            let Some(day) = check.date(&key, text, year) else { continue };
            let weekend = matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
            check.that(weekend, &key, "is neither a Saturday nor a Sunday");
            check.that(!holidays.contains_key(&day), &key, "is a holiday, too");
            workdays.insert(day);
        }
        years.insert(year, YearCalendar { source: section.source.clone(), holidays, workdays });
    }
    Calendar(years)
}

impl Check<'_> {
    fn time(&mut self, key: &str, text: &str) -> Option<NaiveTime> {
        let time = NaiveTime::parse_from_str(text, "%H:%M").ok().filter(|_| text.len() == 5);
        self.that(time.is_some(), key, "must be a time as hh:mm");
        time
    }

    /// A day that a year's notice may name: of the year itself, or one of the last of the year before.
    fn date(&mut self, key: &str, text: &str, year: i32) -> Option<NaiveDate> {
        let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| text.len() == 10);
        let date = date.filter(|date| date.year() == year || (date.year() == year - 1 && date.month() == 12));
        self.that(date.is_some(), key, &format!("must be a day of {year} as yyyy-mm-dd"));
        date
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{ConfigError, load};
    use crate::domain::calendar::DayOff;

    fn with(file: &str) -> Result<crate::config::Settings, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pikou.toml");
        std::fs::write(&path, file).unwrap();
        load(Some(&path), std::iter::empty())
    }

    #[test]
    fn the_shipped_calendars_are_those_of_the_state_council() {
        let calendar = with("").unwrap().calendar;
        let counts: Vec<_> = calendar.0.values().map(|year| (year.holidays.len(), year.workdays.len())).collect();
        assert_eq!(counts, [(28, 5), (33, 6)]);
        let off = |text: &str| calendar.day_off(text.parse().unwrap()).unwrap();
        assert_eq!(off("2026-02-16"), Some(DayOff::Holiday("春节".into())));
        assert_eq!(["2025-10-11", "2026-02-14", "2026-02-28", "2026-05-09"].map(off), [None, None, None, None]);
        assert!(calendar.0.values().all(|year| year.source.contains("国办发明电〔202")));
    }

    #[test]
    fn the_shipped_schedules_fire_when_the_bureau_says() {
        let settings = with("").unwrap();
        let fires = |name: &str| -> Vec<String> {
            let (from, to) = ("2026-01-01".parse().unwrap(), "2026-12-31".parse().unwrap());
            let timetable = &settings.schedules[name].timetable;
            let firings = super::dates(from, to).filter_map(|day| timetable.firing(day, &settings.calendar).unwrap());
            firings.map(|firing| firing.at.format("%m-%d %H:%M").to_string()).collect()
        };
        let pension = fires("beijing_resident_pension");
        assert_eq!((pension.len(), pension[0].as_str(), pension[8].as_str()), (9, "04-15 09:00", "12-07 09:00"));
        assert_eq!((pension[4].as_str(), pension[7].as_str()), ("08-17 09:00", "11-16 09:00"));
        for kind in ["pension", "medical", "unemployment"] {
            let flex = fires(&format!("beijing_flex_{kind}"));
            // 8 February is a Sunday, 18 February within the Spring Festival.
            assert_eq!((flex.len(), flex[2].as_str(), flex[3].as_str()), (24, "02-09 10:00", "02-24 10:00"));
        }
        assert!(!fires("beijing_resident_medical").is_empty());
    }

    #[test]
    fn mistakes_in_calendars_and_schedules_are_named() {
        let file = "[calendar.2027]\nsource = \"\"\nworkdays = [\"2027-01-04\", \"2026-05-09\", \"2027-2-6\"]\n\
                    holidays = [{ name = \"元旦\", from = \"2027-01-03\", to = \"2027-01-01\" }, { name = \"春节\", from = \"2027-02-06\", to = \"2027-03-06\" }]\n\
                    [schedules.list]\ninsurance_type = \"resident_pension\"\nregion = \"beijing\"\ndays = [\"02-29\"]\n\
                    holiday_rule = \"never\"\ncatch_up = \"some\"\ncut_off = \"25:00\"\nslot = 1\nenabled = true\n\
                    [schedules.beijing_resident_pension]\ndays = [\"04-15\"]\ntime = \"09:00\"\ncut_off = \"08:00\"\nhold = { count_percent = 0 }\n";
        let error = with(file).unwrap_err().to_string();
        for said in [
            "calendar.2027.source: must name the notice",
            "calendar.2027.workdays (2027-01-04): is neither a Saturday nor a Sunday",
            "calendar.2027.workdays (2026-05-09): must be a day of 2027",
            "calendar.2027.workdays (2027-2-6): must be a day of 2027",
            "calendar.2027.holidays (元旦): must have 1 to 15 days",
            "calendar.2027.holidays (春节): must have 1 to 15 days",
            "schedules.list: is a word of `pikou run`",
            "schedules.list.days: must be a day of every year",
            "schedules.list.holiday_rule: must be one of next_workday, previous_workday, as_is",
            "schedules.list.cut_off: must be a time as hh:mm",
            "schedules.beijing_resident_pension.cut_off: must be after the time",
            "schedules.beijing_resident_pension.hold.count_percent: must be 1 to 1000",
        ] {
            assert!(error.contains(said), "{said} is not in: {error}");
        }
    }
}
