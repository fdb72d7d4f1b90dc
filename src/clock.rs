//! The time of day, passed in: nothing else asks the system for it.

use chrono::{DateTime, FixedOffset, NaiveDate, Utc};

/// Business dates are those of Asia/Shanghai, which has had no daylight-saving time since 1991.
pub const SHANGHAI: FixedOffset = FixedOffset::east_opt(8 * 3600).expect("eight hours east");

/// Which instant it is.
#[derive(Debug, Clone, Copy)]
pub enum Clock {
    System,
    /// Stands still: the demo's day, and tests.
    Fixed(DateTime<Utc>),
}

impl Clock {
    /// In whole microseconds, as the database keeps it.
    pub fn now(self) -> DateTime<Utc> {
        let now = match self {
            #[allow(clippy::disallowed_methods)]
            Clock::System => Utc::now(),
            Clock::Fixed(time) => time,
        };
        chrono::SubsecRound::trunc_subsecs(now, 6)
    }

    pub fn business_date(self) -> NaiveDate {
        business_date(self.now())
    }
}

/// The business date of an instant.
pub fn business_date(time: DateTime<Utc>) -> NaiveDate {
    time.with_timezone(&SHANGHAI).date_naive()
}
