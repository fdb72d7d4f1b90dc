//! When a planned run waits for a person: it is compared with the run before it, and what is out of the ordinary is a
//! reason to look first. In: thresholds, the run's figures and those of the last one. Out: the reasons.

use rust_decimal::Decimal;

/// What makes a schedule's run wait, and who lets it go on. Nothing is set by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// By how many percent the number of attempts may differ from the last run's.
    pub count_percent: Option<u32>,
    /// The same of their sum.
    pub sum_percent: Option<u32>,
    /// The first run of a year waits in any case.
    pub first_of_year: bool,
    /// It takes two different people to release it.
    pub two_people: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunHoldReason {
    CountDeviates,
    SumDeviates,
    FirstOfYear,
}

impl RunHoldReason {
    pub const ALL: [RunHoldReason; 3] =
        [RunHoldReason::CountDeviates, RunHoldReason::SumDeviates, RunHoldReason::FirstOfYear];

    pub fn as_str(self) -> &'static str {
        match self {
            RunHoldReason::CountDeviates => "count_deviates",
            RunHoldReason::SumDeviates => "sum_deviates",
            RunHoldReason::FirstOfYear => "first_of_year",
        }
    }
}

/// What is compared of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    pub valid_year: i16,
    pub attempts: i64,
    pub attempts_total: Decimal,
}

impl Thresholds {
    /// Why a run has to wait; `last` is the schedule's run before it.
    pub fn reasons(&self, run: Figures, last: Option<Figures>) -> Vec<RunHoldReason> {
        let mut reasons = Vec::new();
        if let Some(last) = last {
            if deviates(self.count_percent, run.attempts.into(), last.attempts.into()) {
                reasons.push(RunHoldReason::CountDeviates);
            }
            if deviates(self.sum_percent, run.attempts_total, last.attempts_total) {
                reasons.push(RunHoldReason::SumDeviates);
            }
        }
        if self.first_of_year && last.is_none_or(|last| last.valid_year != run.valid_year) {
            reasons.push(RunHoldReason::FirstOfYear);
        }
        reasons
    }

    /// How many people have to release a run.
    pub fn releases_needed(&self) -> i16 {
        if self.two_people { 2 } else { 1 }
    }
}

/// By more than so many percent of what it was; anything is more than nothing.
fn deviates(percent: Option<u32>, is: Decimal, was: Decimal) -> bool {
    percent.is_some_and(|percent| (is - was).abs() * Decimal::ONE_HUNDRED > was * Decimal::from(percent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(valid_year: i16, attempts: i64, yuan: i64) -> Figures {
        Figures { valid_year, attempts, attempts_total: yuan.into() }
    }

    fn reasons(thresholds: &Thresholds, run: (i64, i64), last: Option<(i64, i64)>) -> Vec<&'static str> {
        let last = last.map(|(attempts, yuan)| figures(2026, attempts, yuan));
        thresholds.reasons(figures(2026, run.0, run.1), last).into_iter().map(RunHoldReason::as_str).collect()
    }

    #[test]
    fn a_run_waits_when_it_differs_by_more_than_the_percentage_up_or_down() {
        let thresholds = Thresholds { count_percent: Some(20), sum_percent: Some(10), ..Thresholds::default() };
        let last = Some((100, 1000));
        assert_eq!(reasons(&thresholds, (120, 1100), last), [""; 0]);
        assert_eq!(reasons(&thresholds, (80, 900), last), [""; 0]);
        assert_eq!(reasons(&thresholds, (121, 1100), last), ["count_deviates"]);
        assert_eq!(reasons(&thresholds, (79, 900), last), ["count_deviates"]);
        assert_eq!(reasons(&thresholds, (100, 1101), last), ["sum_deviates"]);
        assert_eq!(reasons(&thresholds, (0, 0), last), ["count_deviates", "sum_deviates"]);
        assert_eq!(reasons(&thresholds, (1, 1), Some((0, 0))), ["count_deviates", "sum_deviates"]);
        assert_eq!(reasons(&thresholds, (0, 0), Some((0, 0))), [""; 0]);
        assert_eq!(reasons(&thresholds, (5000, 5000), None), [""; 0]);
        assert_eq!(reasons(&Thresholds::default(), (5000, 5000), last), [""; 0]);
    }

    #[test]
    fn the_first_run_of_a_year_waits_where_that_is_wanted() {
        let thresholds = Thresholds { first_of_year: true, ..Thresholds::default() };
        assert_eq!(reasons(&thresholds, (1, 1), None), ["first_of_year"]);
        assert_eq!(reasons(&thresholds, (1, 1), Some((1, 1))), [""; 0]);
        let last_year = Some(figures(2025, 1, 1));
        assert_eq!(thresholds.reasons(figures(2026, 1, 1), last_year), [RunHoldReason::FirstOfYear]);
    }
}
