//! The rules of a region as the statements that judge many payers at once take them.
//!
//! In: what is configured. Out: values to bind. Called by the stages that plan, look ahead and carry over, so that one
//! rule reads alike to all of them.

use rust_decimal::Decimal;

use crate::config::Settings;
use crate::domain::insurance::{AmountRule, CollectionRule, Region, Steps, Window};
use crate::domain::period::Year;
use crate::store::plans::{Allowed, RangeRules, Scope};

/// How the candidates of a region are judged on a day.
pub fn rules(
    settings: &Settings,
    region: &Region,
    rule: &CollectionRule,
    scope: &Scope,
    retry_runs: i16,
) -> RangeRules {
    RangeRules {
        division_prefix: region.division_prefix.clone(),
        cut_out: settings.regions.cut_out_of(region),
        allowed: allowed(&rule.amounts),
        rate: rate(&rule.amounts),
        retry_runs,
        in_window: rule.window(Year(scope.valid_year), scope.business_date) == Window::Open,
    }
}

/// Which amounts may be chosen; for base-rate types, which bases.
pub fn allowed(amounts: &AmountRule) -> Allowed {
    match amounts {
        AmountRule::Range(steps) | AmountRule::BaseRate { bases: steps, .. } => {
            let Steps { minimum, maximum, step } = steps;
            Allowed {
                minimum: minimum.decimal(),
                maximum: maximum.decimal(),
                step: step.decimal(),
                ..Allowed::default()
            }
        }
        AmountRule::Tiers(tiers) => {
            Allowed { tiers: Some(tiers.iter().map(|tier| tier.decimal()).collect()), ..Allowed::default() }
        }
        AmountRule::Fixed(fixed) => Allowed {
            categories: Some(fixed.keys().cloned().collect()),
            amounts: Some(fixed.values().map(|amount| amount.decimal()).collect()),
            ..Allowed::default()
        },
    }
}

fn rate(amounts: &AmountRule) -> Option<Decimal> {
    match amounts {
        AmountRule::BaseRate { rate, .. } => Some(*rate),
        AmountRule::Range(_) | AmountRule::Tiers(_) | AmountRule::Fixed(_) => None,
    }
}
