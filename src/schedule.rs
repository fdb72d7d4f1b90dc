//! When schedules fire: expressions and a span of time come in, firings go out. No clock of its own.

use chrono::{DateTime, FixedOffset, NaiveDate};

/// A schedule is due.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Firing {
    pub at: DateTime<FixedOffset>,
    pub schedule: String,
}

impl Firing {
    /// The nominal date, by which the run is known for ever.
    pub fn business_date(&self) -> NaiveDate {
        self.at.date_naive()
    }
}

/// Firings in a span looked for at most: a minute-wise expression over a day.
const FIRINGS_MAX: usize = 1500;

/// The firings after `from` up to and including `until`, in order of time. The zone is that of the given times.
pub fn due<'s>(
    schedules: impl Iterator<Item = (&'s str, &'s [cron::Schedule])>,
    from: DateTime<FixedOffset>,
    until: DateTime<FixedOffset>,
) -> Vec<Firing> {
    let mut firings = Vec::new();
    for (name, expressions) in schedules {
        for expression in expressions {
            let times = expression.after(&from).take_while(|at| *at <= until).take(FIRINGS_MAX);
            firings.extend(times.map(|at| Firing { at, schedule: name.to_owned() }));
        }
    }
    firings.sort();
    firings.dedup();
    firings
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    #[test]
    fn a_year_of_beijings_resident_pension_has_nine_firings_in_shanghai_time() {
        let cron: Vec<_> =
            ["0 0 9 15 4-11 *", "0 0 9 7 12 *"].map(|line| cron::Schedule::from_str(line).unwrap()).into();
        let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap();
        let firings = due(
            [("beijing", cron.as_slice())].into_iter(),
            at("2026-01-01T00:00:00+08:00"),
            at("2026-12-31T00:00:00+08:00"),
        );
        let dates: Vec<String> = firings.iter().map(|firing| firing.at.to_rfc3339()).collect();
        assert_eq!(dates.len(), 9);
        assert_eq!((dates[0].as_str(), dates[8].as_str()), ("2026-04-15T09:00:00+08:00", "2026-12-07T09:00:00+08:00"));
    }

    #[test]
    fn the_moment_itself_is_due_once() {
        let cron = [cron::Schedule::from_str("0 0 9 15 4 *").unwrap()];
        let nine = DateTime::parse_from_rfc3339("2026-04-15T09:00:00+08:00").unwrap();
        let second = chrono::Duration::seconds(1);
        let count = |from, until| due([("s", cron.as_slice())].into_iter(), from, until).len();
        assert_eq!((count(nine - second, nine), count(nine, nine + second)), (1, 0));
    }
}
