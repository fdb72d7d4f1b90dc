//! What may be set, in which region, for which year, and when it is collected.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate};
use rust_decimal::{Decimal, RoundingStrategy};

use super::money::Money;
use super::period::{Cycle, Year};

/// 险种, e.g. `resident_pension`. A list in configuration, so a text and not an enum.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InsuranceType(pub String);

/// Which amounts a payer may choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AmountRule {
    /// Any amount from `minimum` to `maximum` that is a whole number of `step`s above the minimum.
    Range(Steps),
    /// One of these amounts (档次).
    Tiers(Vec<Money>),
    /// One amount for each category of payer.
    Fixed(BTreeMap<String, Money>),
    /// The payer chooses a contribution base (缴费基数); what is owed for a month is `rate` of it.
    BaseRate { bases: Steps, rate: Decimal },
}

/// From `minimum` to `maximum` in whole `step`s above the minimum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    pub minimum: Money,
    pub maximum: Money,
    pub step: Money,
}

impl Steps {
    fn allow(self, amount: Money) -> bool {
        let Steps { minimum, maximum, step } = self;
        (minimum..=maximum).contains(&amount) && (step.is_zero() || (amount - minimum).fen() % step.fen() == 0)
    }
}

impl AmountRule {
    /// Whether a payer of this category may set this amount, which for [`AmountRule::BaseRate`] is the base.
    pub fn allows(&self, amount: Money, category: Option<&str>) -> bool {
        match self {
            AmountRule::Range(steps) => steps.allow(amount),
            AmountRule::Tiers(tiers) => tiers.contains(&amount),
            AmountRule::Fixed(amounts) => category.and_then(|category| amounts.get(category)) == Some(&amount),
            AmountRule::BaseRate { bases, .. } => bases.allow(amount),
        }
    }

    /// Whether this amount may be declared for one period: what is owed, whatever base it comes from.
    pub fn allows_declared(&self, amount: Money, category: Option<&str>) -> bool {
        match self {
            AmountRule::Range(_) | AmountRule::Tiers(_) | AmountRule::Fixed(_) => self.allows(amount, category),
            AmountRule::BaseRate { bases, rate } => {
                (owed(bases.minimum, *rate)..=owed(bases.maximum, *rate)).contains(&amount.decimal())
            }
        }
    }

    /// Whether amounts are contribution bases, which hold from a month on.
    pub fn is_base_rate(&self) -> bool {
        matches!(self, AmountRule::BaseRate { .. })
    }
}

/// `rate` of a base in yuan, half a fen rounded up.
pub fn owed(base: Money, rate: Decimal) -> Decimal {
    (base.decimal() * rate).round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero)
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
    /// After how many failed runs in a row, of whatever year, a payer's amount is suspended; 0: never.
    pub suspend_after: i16,
    /// Whether last year's amount is used where the payer sets none; `None`: it is not.
    pub carry_over: Option<CarryOver>,
}

/// 沿用: how last year's amount is carried over. One that is not within this year's rule is held, never clamped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CarryOver {
    pub after_void: AfterVoid,
}

/// What is carried over from a year that was voided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterVoid {
    /// Who said stop is not debited again without a new word.
    Nothing,
    /// What was last paid for a year before.
    LastPaid,
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

    fn steps(minimum: &str, maximum: &str, step: &str) -> Steps {
        Steps { minimum: yuan(minimum), maximum: yuan(maximum), step: yuan(step) }
    }

    fn rule() -> CollectionRule {
        CollectionRule {
            cycle: Cycle::Yearly,
            amounts: AmountRule::Range(steps("1000", "9000", "100")),
            window_from: MonthDay::parse("04-01").unwrap(),
            window_to: MonthDay::parse("12-10").unwrap(),
            future_years: 0,
            retry_runs: 3,
            suspend_after: 0,
            carry_over: None,
        }
    }

    #[test]
    fn a_range_allows_its_ends_and_whole_steps_only() {
        let amounts = rule().amounts;
        let allowed: Vec<&str> = ["999.99", "1000", "1050", "1100", "9000", "9000.01", "9100"]
            .into_iter()
            .filter(|amount| amounts.allows(yuan(amount), None))
            .collect();
        assert_eq!(allowed, ["1000", "1100", "9000"]);
    }

    #[test]
    fn tiers_allow_nothing_between_them() {
        let tiers = AmountRule::Tiers(vec![yuan("200"), yuan("400")]);
        assert!(tiers.allows(yuan("400.00"), None) && !tiers.allows(yuan("300"), None));
    }

    #[test]
    fn a_fixed_amount_is_that_of_the_payers_category() {
        let fixed =
            AmountRule::Fixed(BTreeMap::from([("student".to_owned(), yuan("380")), ("adult".to_owned(), yuan("400"))]));
        let allowed = [("380", Some("student")), ("400", Some("student")), ("400", Some("adult")), ("380", None)]
            .map(|(amount, category)| fixed.allows(yuan(amount), category));
        assert_eq!(allowed, [true, false, true, false]);
    }

    #[test]
    fn of_a_base_its_rate_is_owed() {
        let bases = steps("6821.00", "35283.00", "0.01");
        let rule = AmountRule::BaseRate { bases, rate: Decimal::new(20, 2) };
        assert!(rule.allows(yuan("6821"), None) && !rule.allows(yuan("6820.99"), None));
        let declared =
            ["1364.19", "1364.20", "7056.60", "7056.61"].map(|amount| rule.allows_declared(yuan(amount), None));
        assert_eq!(declared, [false, true, true, false]);
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
