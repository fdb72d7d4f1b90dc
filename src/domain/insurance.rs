//! What may be set, in which region, for which year, and when it is collected.

use chrono::{Datelike, NaiveDate};

use super::money::Money;
use super::period::{Cycle, Year};

/// 险种, e.g. `resident_pension`. A list in configuration, so a text and not an enum.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InsuranceType(pub String);

/// Which amounts a payer may choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AmountRule {
    /// Any amount from `minimum` to `maximum` that is a whole number of `step`s above the minimum.
    Range { minimum: Money, maximum: Money, step: Money },
    /// One of these amounts (档次).
    Tiers(Vec<Money>),
}

impl AmountRule {
    pub fn allows(&self, amount: Money) -> bool {
        match self {
            AmountRule::Range { minimum, maximum, step } => {
                (*minimum..=*maximum).contains(&amount)
                    && (step.is_zero() || (amount - *minimum).fen() % step.fen() == 0)
            }
            AmountRule::Tiers(tiers) => tiers.contains(&amount),
        }
    }
}

/// A day of the year without the year, such as 1 April.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MonthDay {
    pub month: u32,
    pub day: u32,
}

impl MonthDay {
    /// Reads `mm-dd`; 29 February is not a day of every year and therefore none of ours.
    pub fn parse(text: &str) -> Option<MonthDay> {
        let (month, day) = text.split_once('-')?;
        let (month, day) = (month.parse().ok()?, day.parse().ok()?);
        NaiveDate::from_ymd_opt(2001, month, day).map(|_| MonthDay { month, day })
    }

    fn in_year(self, year: Year) -> NaiveDate {
        NaiveDate::from_ymd_opt(i32::from(year.0), self.month, self.day).expect("a day of every year")
    }
}

/// How one insurance type is collected in one region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionRule {
    pub cycle: Cycle,
    pub amounts: AmountRule,
    /// First and last day on which a year's contribution is collected (缴费有效期).
    pub window_from: MonthDay,
    pub window_to: MonthDay,
    /// For how many years ahead an amount may be set.
    pub future_years: i16,
    /// In how many runs a deduction is tried that fails for lack of balance.
    pub retry_runs: i16,
}

/// Where a day stands in a year's validity window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// The window has not begun; amounts may be set, nothing is collected.
    Ahead,
    Open,
    Closed,
    /// Further ahead than the region lets payers decide.
    NotYetOffered,
}

impl CollectionRule {
    pub fn window(&self, year: Year, day: NaiveDate) -> Window {
        if i32::from(year.0) > day.year() + i32::from(self.future_years) {
            Window::NotYetOffered
        } else if day < self.window_from.in_year(year) {
            Window::Ahead
        } else if day <= self.window_to.in_year(year) {
            Window::Open
        } else {
            Window::Closed
        }
    }
}

/// A region and what is collected in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    pub name: String,
    /// Leading digits of the division codes (GB/T 2260) that belong to the region.
    pub division_prefix: String,
    pub rules: Vec<(InsuranceType, CollectionRule)>,
}

impl Region {
    pub fn rule(&self, insurance_type: &InsuranceType) -> Option<&CollectionRule> {
        self.rules.iter().find(|(of, _)| of == insurance_type).map(|(_, rule)| rule)
    }
}

/// All regions. A division belongs to the region with the longest fitting prefix, so that a city can decide
/// otherwise than its province.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regions(pub Vec<Region>);

impl Regions {
    pub fn of(&self, division_code: &str) -> Option<&Region> {
        self.0
            .iter()
            .filter(|region| division_code.starts_with(&region.division_prefix))
            .max_by_key(|region| region.division_prefix.len())
    }

    /// The longer prefixes that are cut out of a region's own.
    pub fn cut_out_of(&self, region: &Region) -> Vec<String> {
        let longer = |other: &&Region| {
            other.division_prefix.len() > region.division_prefix.len()
                && other.division_prefix.starts_with(&region.division_prefix)
        };
        self.0.iter().filter(longer).map(|other| other.division_prefix.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yuan(text: &str) -> Money {
        Money::from_yuan(text).unwrap()
    }

    fn rule() -> CollectionRule {
        CollectionRule {
            cycle: Cycle::Yearly,
            amounts: AmountRule::Range { minimum: yuan("1000"), maximum: yuan("9000"), step: yuan("100") },
            window_from: MonthDay::parse("04-01").unwrap(),
            window_to: MonthDay::parse("12-10").unwrap(),
            future_years: 0,
            retry_runs: 3,
        }
    }

    #[test]
    fn a_range_allows_its_ends_and_whole_steps_only() {
        let amounts = rule().amounts;
        let allowed: Vec<&str> = ["999.99", "1000", "1050", "1100", "9000", "9000.01", "9100"]
            .into_iter()
            .filter(|amount| amounts.allows(yuan(amount)))
            .collect();
        assert_eq!(allowed, ["1000", "1100", "9000"]);
    }

    #[test]
    fn tiers_allow_nothing_between_them() {
        let tiers = AmountRule::Tiers(vec![yuan("200"), yuan("400")]);
        assert!(tiers.allows(yuan("400.00")) && !tiers.allows(yuan("300")));
    }

    #[test]
    fn a_window_includes_its_first_and_last_day() {
        let on = |text: &str| rule().window(Year(2026), text.parse().unwrap());
        assert_eq!(on("2026-03-31"), Window::Ahead);
        assert_eq!(on("2026-04-01"), Window::Open);
        assert_eq!(on("2026-12-10"), Window::Open);
        assert_eq!(on("2026-12-11"), Window::Closed);
        assert_eq!(on("2027-01-01"), Window::Closed);
        assert_eq!(on("2025-12-31"), Window::NotYetOffered);
    }

    #[test]
    fn the_longest_prefix_decides_the_region() {
        let region =
            |name: &str, prefix: &str| Region { name: name.into(), division_prefix: prefix.into(), rules: vec![] };
        let regions = Regions(vec![region("province", "52"), region("city", "5201"), region("capital", "11")]);
        assert_eq!(regions.of("520102").unwrap().name, "city");
        assert_eq!(regions.of("520300").unwrap().name, "province");
        assert_eq!(regions.of("310000"), None);
        assert_eq!(regions.cut_out_of(&regions.0[0]), ["5201"]);
    }
}
