//! One line of a cron expression: minute, hour, day, month and weekday (by name), in Asia/Shanghai.

use std::str::FromStr;

use chrono::{Duration, NaiveDate, NaiveTime};

#[derive(Debug, Clone)]
pub struct Cron(cron::Schedule);

impl Cron {
    /// The library wants seconds in front, and numbers weekdays from 1 = Sunday, which is not what people mean by `1`.
    pub fn parse(line: &str) -> Option<Cron> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let by_name = fields.get(4).is_some_and(|weekday| !weekday.bytes().any(|b| b.is_ascii_digit()));
        (fields.len() == 5 && by_name).then(|| cron::Schedule::from_str(&format!("0 {line}")).ok().map(Cron)).flatten()
    }

    /// The first time of a day at which it fires. A day has one run, so what comes later on it is the same firing.
    pub fn on(&self, date: NaiveDate) -> Option<NaiveTime> {
        // Times without a zone are those of a zone without daylight-saving time, whichever it is.
        let midnight = date.and_time(NaiveTime::MIN).and_utc();
        let first = self.0.after(&(midnight - Duration::seconds(1))).next()?;
        (first.date_naive() == date).then(|| first.time())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_fields_with_the_weekday_by_name_are_understood_and_nothing_else() {
        let understood = ["0 9 15 4-11 *", "30 8 * * Mon-Fri", "0 9 * * 1", "0 0 9 15 4 *", "61 9 * * *", ""];
        assert_eq!(understood.map(|line| Cron::parse(line).is_some()), [true, true, false, false, false, false]);
    }

    #[test]
    fn a_day_fires_at_the_first_of_its_times() {
        let cron = Cron::parse("0,30 9-11 8,18 * *").unwrap();
        let on = |text: &str| cron.on(text.parse().unwrap()).map(|time| time.to_string());
        assert_eq!(on("2026-02-08"), Some("09:00:00".into()));
        assert_eq!((on("2026-02-07"), on("2026-02-09")), (None, None));
        let midnight = Cron::parse("0 0 1 * *").unwrap();
        assert_eq!(midnight.on("2026-02-01".parse().unwrap()), Some(NaiveTime::MIN));
    }
}
