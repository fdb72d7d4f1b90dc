//! The sections as they stand in TOML, and what is checked of each: a mistake names its key.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

use super::{Schedule, Settings};
use crate::crypt::Algorithm;
use crate::domain::insurance::{AmountRule, CollectionRule, InsuranceType, MonthDay, Region, Regions};
use crate::domain::money::Money;
use crate::domain::period::Cycle;
use crate::gateway::{BankGateway, BankSettings};

/// The whole tree.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tree {
    data: Data,
    database: Database,
    broker: Broker,
    keys: KeysSection,
    intake: Intake,
    run: RunSettings,
    events: Events,
    results: Results,
    log: Log,
    insurance_types: BTreeMap<String, String>,
    schedules: BTreeMap<String, ScheduleSection>,
    regions: BTreeMap<String, RegionSection>,
    gateways: Gateways,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    folder: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysSection {
    file: PathBuf,
    algorithm: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    pub url: String,
    pub connections_max: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    pub url: String,
    pub exchange_in: String,
    pub queue_in: String,
    pub exchange_events: String,
    pub confirm_seconds: u64,
    pub outstanding_max: usize,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intake {
    pub batch_max: usize,
    pub batch_wait_ms: u64,
    pub message_max_bytes: usize,
    pub enrolment_wait_hours: i64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSettings {
    pub range_max: i64,
    pub lease_seconds: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Events {
    pub source: String,
    pub file: PathBuf,
    pub deduction_planned: bool,
    pub deduction_skipped: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    pub scan_seconds: u64,
    pub file_max_bytes: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub level: String,
    pub format: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScheduleSection {
    insurance_type: String,
    region: String,
    cron: Vec<String>,
    slot: i16,
    enabled: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegionSection {
    name: String,
    division_prefix: String,
    insurance: BTreeMap<String, RuleSection>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleSection {
    rule: String,
    minimum: Option<String>,
    maximum: Option<String>,
    step: Option<String>,
    tiers: Option<Vec<String>>,
    window_from: String,
    window_to: String,
    future_years: i16,
    retry_runs: i16,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gateways {
    bank: BankSettings,
}

/// Collects mistakes: each names a key and says what it should be.
struct Check<'m>(&'m mut Vec<String>);

impl Check<'_> {
    fn that(&mut self, holds: bool, key: &str, should: &str) {
        if !holds {
            self.0.push(format!("{key}: {should}"));
        }
    }

    fn money(&mut self, key: &str, text: Option<&str>) -> Option<Money> {
        let money = text.and_then(|text| Money::from_yuan(text).ok());
        self.that(money.is_some(), key, "must be a sum in yuan such as \"1000.00\"");
        money
    }

    fn month_day(&mut self, key: &str, text: &str) -> Option<MonthDay> {
        let day = MonthDay::parse(text);
        self.that(day.is_some(), key, "must be a day of every year as mm-dd");
        day
    }
}

impl Tree {
    /// Checks the values; what is right is in the settings, what is not among the mistakes.
    pub(super) fn check(self, in_force: toml::Table, mistakes: &mut Vec<String>) -> Option<Settings> {
        let before = mistakes.len();
        let mut check = Check(mistakes);
        check.that(!self.data.folder.as_os_str().is_empty(), "data.folder", "must not be empty");
        check.that(
            (2..=1000).contains(&self.database.connections_max),
            "database.connections_max",
            "must be 2 to 1000",
        );
        check.that(
            self.database.url == super::EMBEDDED || self.database.url.starts_with("postgres"),
            "database.url",
            "must be \"embedded\" or begin with postgres://",
        );
        check.that(
            self.broker.url == super::EMBEDDED || self.broker.url.starts_with("amqp"),
            "broker.url",
            "must be \"embedded\" or begin with amqp:// or amqps://",
        );
        check.that((1..=10_000).contains(&self.broker.outstanding_max), "broker.outstanding_max", "must be 1 to 10000");
        check.that((1..=3600).contains(&self.broker.confirm_seconds), "broker.confirm_seconds", "must be 1 to 3600");
        // Each message of a batch takes an advisory lock; a server with default settings has room for some 6,400.
        check.that((1..=2000).contains(&self.intake.batch_max), "intake.batch_max", "must be 1 to 2000");
        check.that((1..=60_000).contains(&self.intake.batch_wait_ms), "intake.batch_wait_ms", "must be 1 to 60000");
        check.that(
            (1024..=16_777_216).contains(&self.intake.message_max_bytes),
            "intake.message_max_bytes",
            "must be 1024 to 16777216",
        );
        check.that(
            (0..=24 * 365).contains(&self.intake.enrolment_wait_hours),
            "intake.enrolment_wait_hours",
            "must be 0 to 8760",
        );
        check.that((1..=1_000_000).contains(&self.run.range_max), "run.range_max", "must be 1 to 1000000");
        check.that((5..=3600).contains(&self.run.lease_seconds), "run.lease_seconds", "must be 5 to 3600");
        check.that(!self.events.source.is_empty(), "events.source", "must not be empty");
        check.that((1..=3600).contains(&self.results.scan_seconds), "results.scan_seconds", "must be 1 to 3600");
        check.that(
            tracing_subscriber::EnvFilter::from_str(&self.log.level).is_ok(),
            "log.level",
            "must be error, warn, info, debug, trace or a filter",
        );
        let algorithm = Algorithm::from_name(&self.keys.algorithm);
        check.that(algorithm.is_some(), "keys.algorithm", "must be aes-256-gcm or sm4-gcm");
        check.that(["text", "json"].contains(&self.log.format.as_str()), "log.format", "must be text or json");

        let cycles = cycles(&self.insurance_types, &mut check);
        let regions = regions(&self.regions, &cycles, &mut check);
        let schedules = schedules(&self.schedules, &self.regions, &mut check);
        let bank = match BankGateway::from_settings(&self.gateways.bank) {
            Ok(bank) => Some(bank),
            Err(of_bank) => {
                mistakes.extend(of_bank.into_iter().map(|mistake| format!("gateways.bank.{mistake}")));
                None
            }
        };
        let bank = bank.filter(|_| mistakes.len() == before)?;
        let keys_algorithm = algorithm?;
        Some(Settings {
            keys_file: self.data.folder.join(self.keys.file),
            keys_algorithm,
            data_folder: self.data.folder,
            database: self.database,
            broker: self.broker,
            intake: self.intake,
            run: self.run,
            events: self.events,
            results: self.results,
            log: self.log,
            insurance_types: cycles.keys().cloned().collect(),
            cycles,
            regions,
            schedules,
            bank,
            in_force,
        })
    }
}

fn cycles(types: &BTreeMap<String, String>, check: &mut Check<'_>) -> BTreeMap<InsuranceType, Cycle> {
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

fn regions(
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
    let amounts = match section.rule.as_str() {
        "range" => {
            let minimum = check.money(&format!("{key}.minimum"), section.minimum.as_deref());
            let maximum = check.money(&format!("{key}.maximum"), section.maximum.as_deref());
            let step = check.money(&format!("{key}.step"), section.step.as_deref());
            check.that(section.tiers.is_none(), &format!("{key}.tiers"), "goes with rule = \"tiers\"");
            let (minimum, maximum, step) = (minimum?, maximum?, step?);
            check.that(minimum <= maximum, &format!("{key}.maximum"), "must not be below the minimum");
            check.that(!step.is_zero(), &format!("{key}.step"), "must be at least 0.01");
            Some(AmountRule::Range { minimum, maximum, step })
        }
        "tiers" => {
            let tiers = section.tiers.clone().unwrap_or_default();
            check.that(!tiers.is_empty(), &format!("{key}.tiers"), "must be a list of sums");
            let given = section.minimum.is_some() || section.maximum.is_some() || section.step.is_some();
            check.that(!given, key, "minimum, maximum and step go with rule = \"range\"");
            let tiers: Vec<Option<Money>> =
                tiers.iter().map(|tier| check.money(&format!("{key}.tiers"), Some(tier))).collect();
            tiers.into_iter().collect::<Option<Vec<Money>>>().map(AmountRule::Tiers)
        }
        _ => {
            check.that(false, &format!("{key}.rule"), "must be range or tiers");
            None
        }
    };
    let window_from = check.month_day(&format!("{key}.window_from"), &section.window_from);
    let window_to = check.month_day(&format!("{key}.window_to"), &section.window_to);
    check.that((0..=10).contains(&section.future_years), &format!("{key}.future_years"), "must be 0 to 10");
    check.that((1..=366).contains(&section.retry_runs), &format!("{key}.retry_runs"), "must be 1 to 366");
    Some(CollectionRule {
        cycle,
        amounts: amounts?,
        window_from: window_from?,
        window_to: window_to?,
        future_years: section.future_years,
        retry_runs: section.retry_runs,
    })
}

fn schedules(
    sections: &BTreeMap<String, ScheduleSection>,
    regions: &BTreeMap<String, RegionSection>,
    check: &mut Check<'_>,
) -> BTreeMap<String, Schedule> {
    let mut schedules = BTreeMap::new();
    for (name, section) in sections {
        let key = format!("schedules.{name}");
        let region = regions.get(&section.region);
        check.that(region.is_some(), &format!("{key}.region"), "there is no such region");
        let collected = region.is_none_or(|region| region.insurance.contains_key(&section.insurance_type));
        check.that(collected, &format!("{key}.insurance_type"), "the region does not collect it");
        check.that((1..=99).contains(&section.slot), &format!("{key}.slot"), "must be 1 to 99");
        let mut cron = Vec::new();
        for line in &section.cron {
            let parsed = five_fields(line);
            check.that(
                parsed.is_some(),
                &format!("{key}.cron"),
                "needs minute, hour, day, month and weekday (by name), e.g. \"0 9 15 4-11 *\"",
            );
            cron.extend(parsed);
        }
        let schedule = Schedule {
            name: name.clone(),
            insurance_type: InsuranceType(section.insurance_type.clone()),
            region: section.region.clone(),
            cron,
            slot: section.slot,
            enabled: section.enabled,
        };
        schedules.insert(name.clone(), schedule);
    }
    schedules
}

/// The library wants seconds in front, and numbers weekdays from 1 = Sunday, which is not what people mean by `1`.
fn five_fields(line: &str) -> Option<cron::Schedule> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let by_name = fields.get(4).is_some_and(|weekday| !weekday.bytes().any(|b| b.is_ascii_digit()));
    (fields.len() == 5 && by_name).then(|| cron::Schedule::from_str(&format!("0 {line}")).ok()).flatten()
}
