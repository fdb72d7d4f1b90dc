//! What is done about firings that have come: started, kept for the next workday, or missed for good.
//!
//! A firing starts by the clock only between its time of day and the cut-off, and never on a day off (unless its
//! schedule's holiday rule is `as_is`). One that could not start on its own day is late: the schedule's catch-up says
//! whether it still starts, then on the next day on which it may.

use chrono::NaiveDateTime;

use super::{Firing, Timetable};
use crate::domain::calendar::{Calendar, HolidayRule, NoCalendar};

/// What becomes of late firings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatchUp {
    /// Each of them starts.
    All,
    /// One starts, unless a later firing has come meanwhile.
    Latest,
    /// None starts.
    None,
}

impl CatchUp {
    pub const ALL: [CatchUp; 3] = [CatchUp::All, CatchUp::Latest, CatchUp::None];

    pub fn as_str(self) -> &'static str {
        match self {
            CatchUp::All => "all",
            CatchUp::Latest => "latest",
            CatchUp::None => "none",
        }
    }

    pub fn parse(text: &str) -> Option<CatchUp> {
        CatchUp::ALL.into_iter().find(|catch_up| catch_up.as_str() == text)
    }
}

/// Why a firing never started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// It was late, and the schedule does not catch up.
    NotCaughtUp,
    /// It was late, and a later firing takes its place.
    LaterFiring,
    /// The validity window of its year is over.
    WindowClosed,
}

impl Missed {
    pub const ALL: [Missed; 3] = [Missed::NotCaughtUp, Missed::LaterFiring, Missed::WindowClosed];

    pub fn as_str(self) -> &'static str {
        match self {
            Missed::NotCaughtUp => "not_caught_up",
            Missed::LaterFiring => "later_firing",
            Missed::WindowClosed => "window_closed",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Start,
    /// For the next workday, or for the next morning.
    Wait,
    Miss(Missed),
}

/// Whether the day that a firing collects for can still be collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collecting {
    Open,
    Over,
}

/// Decides on firings whose time has come, in the order of their nominal dates. `now` is Asia/Shanghai.
pub fn decide(
    timetable: &Timetable,
    calendar: &Calendar,
    catch_up: CatchUp,
    firings: &[(Firing, Collecting)],
    now: NaiveDateTime,
) -> Result<Vec<Decision>, NoCalendar> {
    let before_cut_off = timetable.cut_off.is_none_or(|cut_off| now.time() < cut_off);
    let newest = firings.iter().filter(|(_, collecting)| *collecting == Collecting::Open).map(|(firing, _)| firing);
    let newest = newest.max_by_key(|firing| (firing.at, firing.nominal));
    let mut decisions = Vec::with_capacity(firings.len());
    for (firing, collecting) in firings {
        let late = firing.at.date() < now.date() || !before_cut_off;
        decisions.push(match (collecting, late, catch_up) {
            (Collecting::Over, _, _) => Decision::Miss(Missed::WindowClosed),
            (Collecting::Open, false, _) => Decision::Start,
            (Collecting::Open, true, CatchUp::None) => Decision::Miss(Missed::NotCaughtUp),
            (Collecting::Open, true, CatchUp::Latest) if newest != Some(firing) => Decision::Miss(Missed::LaterFiring),
            (Collecting::Open, true, CatchUp::All | CatchUp::Latest) => {
                let works = match timetable.holiday_rule {
                    HolidayRule::AsIs => true,
                    HolidayRule::NextWorkday | HolidayRule::PreviousWorkday => calendar.day_off(now.date())?.is_none(),
                };
                let starts = works && before_cut_off && now.time() >= firing.at.time();
                if starts { Decision::Start } else { Decision::Wait }
            }
        });
    }
    Ok(decisions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::calendar::YearCalendar;
    use chrono::NaiveTime;
    use std::collections::{BTreeMap, BTreeSet};

    fn at(text: &str) -> NaiveDateTime {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap()
    }

    fn firing(text: &str) -> (Firing, Collecting) {
        (Firing { nominal: at(text).date(), at: at(text), shifted: None }, Collecting::Open)
    }

    /// 2026 without holidays; 15 April is a Wednesday.
    fn decide_at(catch_up: CatchUp, firings: &[(Firing, Collecting)], now: &str) -> Vec<Decision> {
        let plain = YearCalendar { source: String::new(), holidays: BTreeMap::new(), workdays: BTreeSet::new() };
        let timetable = Timetable {
            cron: vec![],
            days: vec![],
            holiday_rule: HolidayRule::NextWorkday,
            cut_off: NaiveTime::from_hms_opt(16, 0, 0),
        };
        decide(&timetable, &Calendar(BTreeMap::from([(2026, plain)])), catch_up, firings, at(now)).unwrap()
    }

    #[test]
    fn on_its_day_a_firing_starts_until_the_cut_off_whatever_the_catch_up() {
        for catch_up in CatchUp::ALL {
            for now in ["2026-04-15 09:00", "2026-04-15 15:59"] {
                assert_eq!(decide_at(catch_up, &[firing("2026-04-15 09:00")], now), [Decision::Start], "{catch_up:?}");
            }
        }
    }

    #[test]
    fn after_the_cut_off_it_waits_for_the_next_workday_at_its_time() {
        let friday = [firing("2026-04-17 09:00")];
        let on = |now: &str| decide_at(CatchUp::Latest, &friday, now);
        for now in ["2026-04-17 16:00", "2026-04-18 10:00", "2026-04-19 10:00", "2026-04-20 08:59", "2026-04-20 16:00"]
        {
            assert_eq!(on(now), [Decision::Wait], "{now}");
        }
        assert_eq!(on("2026-04-20 09:00"), [Decision::Start]);
        assert_eq!(decide_at(CatchUp::None, &friday, "2026-04-17 16:00"), [Decision::Miss(Missed::NotCaughtUp)]);
    }

    #[test]
    fn of_missed_firings_all_the_latest_or_none_start() {
        let missed = [firing("2026-04-15 09:00"), firing("2026-05-15 09:00"), firing("2026-06-15 09:00")];
        let on = |catch_up| decide_at(catch_up, &missed, "2026-06-17 10:00");
        let later = Decision::Miss(Missed::LaterFiring);
        assert_eq!(on(CatchUp::All), [Decision::Start; 3]);
        assert_eq!(on(CatchUp::Latest), [later, later, Decision::Start]);
        assert_eq!(on(CatchUp::None), [Decision::Miss(Missed::NotCaughtUp); 3]);
        // Today's own firing takes the place of those before it.
        let today = |catch_up| decide_at(catch_up, &missed, "2026-06-15 10:00");
        assert_eq!(today(CatchUp::Latest), [later, later, Decision::Start]);
        assert_eq!(today(CatchUp::None)[2], Decision::Start);
    }

    #[test]
    fn what_can_no_longer_be_collected_is_missed_and_takes_nobodys_place() {
        let mut firings = [firing("2026-04-15 09:00"), firing("2026-05-15 09:00")];
        firings[1].1 = Collecting::Over;
        let decided = decide_at(CatchUp::Latest, &firings, "2026-05-18 10:00");
        assert_eq!(decided, [Decision::Start, Decision::Miss(Missed::WindowClosed)]);
    }
}
