//! What is configured of types, regions and channels, checked: a mistake names its key.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::sections::{ChannelSection, Check, RegionSection, RuleSection};
use crate::domain::insurance::{
    AfterVoid, AmountRule, CarryOver, CollectionRule, InsuranceType, Region, Regions, Steps, owed,
};
use crate::domain::money::Money;
use crate::domain::order::{Channel, Channels, Method};
use crate::domain::period::Cycle;

pub(super) fn cycles(types: &BTreeMap<String, String>, check: &mut Check<'_>) -> BTreeMap<InsuranceType, Cycle> {
    let mut cycles = BTreeMap::new();
    for (name, cycle) in types {
        let cycle = match cycle.as_str() {
            "year" => Some(Cycle::Yearly),
            "month" => Some(Cycle::Monthly),
            _ => None,
        };
        check.that(cycle.is_some(), &format!("insurance_types.{name}"), "must be year or month");
        cycles.extend(cycle.map(|cycle| (InsuranceType(name.clone()), cycle)));
    }
    cycles
}

pub(super) fn regions(
    sections: &BTreeMap<String, RegionSection>,
    cycles: &BTreeMap<InsuranceType, Cycle>,
    check: &mut Check<'_>,
) -> Regions {
    let mut regions = Vec::new();
    for (name, section) in sections {
        let key = format!("regions.{name}");
        let prefix = &section.division_prefix;
        let digits = (1..=12).contains(&prefix.len()) && prefix.bytes().all(|b| b.is_ascii_digit());
        check.that(digits, &format!("{key}.division_prefix"), "must be 1 to 12 digits");
        check.that(!section.name.is_empty(), &format!("{key}.name"), "must not be empty");
        let twins = sections.iter().filter(|(_, other)| other.division_prefix == *prefix).count();
        check.that(twins == 1, &format!("{key}.division_prefix"), "is another region's, too");
        let mut rules = Vec::new();
        for (kind, rule) in &section.insurance {
            let key = format!("{key}.insurance.{kind}");
            let kind = InsuranceType(kind.clone());
            let cycle = cycles.get(&kind).copied();
            check.that(cycle.is_some(), &key, "is not among insurance_types");
            let parsed = collection_rule(rule, &key, cycle.unwrap_or(Cycle::Yearly), check);
            rules.extend(parsed.map(|rule| (kind, rule)));
        }
        regions.push(Region { name: name.clone(), division_prefix: prefix.clone(), rules });
    }
    Regions(regions)
}

fn collection_rule(section: &RuleSection, key: &str, cycle: Cycle, check: &mut Check<'_>) -> Option<CollectionRule> {
    let stray = [
        ("minimum", section.minimum.is_some(), ["range", "base_rate"].as_slice()),
        ("maximum", section.maximum.is_some(), &["range", "base_rate"]),
        ("step", section.step.is_some(), &["range", "base_rate"]),
        ("tiers", section.tiers.is_some(), &["tiers"]),
        ("amounts", section.amounts.is_some(), &["fixed"]),
        ("rate", section.rate.is_some(), &["base_rate"]),
    ];
    for (name, given, rules) in stray {
        let fits = !given || rules.contains(&section.rule.as_str());
        check.that(fits, &format!("{key}.{name}"), &format!("goes with rule = {}", rules.join(" or ")));
    }
    let amounts = match section.rule.as_str() {
        "range" => steps(section, key, check).map(AmountRule::Range),
        "base_rate" => {
            let rate = section.rate.as_deref().and_then(|text| text.parse::<Decimal>().ok());
            let rate = rate.filter(|rate| *rate > Decimal::ZERO && *rate <= Decimal::ONE);
            check.that(rate.is_some(), &format!("{key}.rate"), "must be a share such as \"0.20\"");
            check.that(cycle == Cycle::Monthly, key, "rule = \"base_rate\" is for monthly types");
            let parts = steps(section, key, check).zip(rate);
            let something = parts.is_none_or(|(bases, rate)| owed(bases.minimum, rate) > Decimal::ZERO);
            check.that(something, &format!("{key}.minimum"), "must make at least a fen with this rate");
            parts.map(|(bases, rate)| AmountRule::BaseRate { bases, rate })
        }
        "fixed" => {
            let given = section.amounts.clone().unwrap_or_default();
            check.that(!given.is_empty(), &format!("{key}.amounts"), "must be a table of sums, one a category");
            let amounts: Option<BTreeMap<String, Money>> = given
                .into_iter()
                .map(|(category, text)| {
                    let amount = check.money(&format!("{key}.amounts.{category}"), Some(&text));
                    amount.map(|amount| (category, amount))
                })
                .collect();
            amounts.map(AmountRule::Fixed)
        }
        "tiers" => {
            let tiers = section.tiers.clone().unwrap_or_default();
            check.that(!tiers.is_empty(), &format!("{key}.tiers"), "must be a list of sums");
            let tiers: Vec<Option<Money>> =
                tiers.iter().map(|tier| check.money(&format!("{key}.tiers"), Some(tier))).collect();
            tiers.into_iter().collect::<Option<Vec<Money>>>().map(AmountRule::Tiers)
        }
        _ => {
            check.that(false, &format!("{key}.rule"), "must be range, tiers, fixed or base_rate");
            None
        }
    };
    let window_from = check.month_day(&format!("{key}.window_from"), &section.window_from);
    let window_to = check.month_day(&format!("{key}.window_to"), &section.window_to);
    check.that((0..=10).contains(&section.future_years), &format!("{key}.future_years"), "must be 0 to 10");
    check.that((1..=366).contains(&section.retry_runs), &format!("{key}.retry_runs"), "must be 1 to 366");
    check.that((0..=366).contains(&section.suspend_after), &format!("{key}.suspend_after"), "must be 0 to 366");
    let after_void = match section.after_void.as_deref() {
        None | Some("none") => Some(AfterVoid::Nothing),
        Some("last_paid") => Some(AfterVoid::LastPaid),
        Some(_) => None,
    };
    check.that(after_void.is_some(), &format!("{key}.after_void"), "must be none or last_paid");
    // What was paid for a month is not the base that it was owed of.
    let is_known = after_void != Some(AfterVoid::LastPaid) || section.rule != "base_rate";
    check.that(is_known, &format!("{key}.after_void"), "last_paid does not go with rule = base_rate");
    let carry_over = after_void.map(|after_void| section.carry_over.then_some(CarryOver { after_void }));
    Some(CollectionRule {
        cycle,
        amounts: amounts?,
        window_from: window_from?,
        window_to: window_to?,
        future_years: section.future_years,
        retry_runs: section.retry_runs,
        suspend_after: section.suspend_after,
        carry_over: carry_over?,
    })
}

fn steps(section: &RuleSection, key: &str, check: &mut Check<'_>) -> Option<Steps> {
    let minimum = check.money(&format!("{key}.minimum"), section.minimum.as_deref());
    let maximum = check.money(&format!("{key}.maximum"), section.maximum.as_deref());
    let step = check.money(&format!("{key}.step"), section.step.as_deref());
    let (minimum, maximum, step) = (minimum?, maximum?, step?);
    check.that(minimum <= maximum, &format!("{key}.maximum"), "must not be below the minimum");
    check.that(!step.is_zero(), &format!("{key}.step"), "must be at least 0.01");
    Some(Steps { minimum, maximum, step })
}

pub(super) fn channels(sections: &BTreeMap<String, ChannelSection>, check: &mut Check<'_>) -> Channels {
    let mut channels = Channels::new();
    for (name, section) in sections {
        let key = format!("channels.{name}.methods");
        let methods: Vec<Option<Method>> = section.methods.iter().map(|method| Method::parse(method)).collect();
        let words = Method::ALL.map(Method::as_str).join(", ");
        check.that(methods.iter().all(Option::is_some), &key, &format!("must be among {words}"));
        let methods = methods.into_iter().flatten().collect();
        channels.insert(name.clone(), Channel { self_only: section.self_only, methods });
    }
    channels
}
