//! The sections as they stand in TOML, and what is checked of each: a mistake names its key.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use chrono::NaiveTime;
use serde::Deserialize;

use super::Settings;
use super::rules::{channels, cycles, regions};
use super::timing::{calendar, schedules};
use crate::crypt::Algorithm;
use crate::domain::discrepancy::Decision;
use crate::domain::insurance::MonthDay;
use crate::domain::money::Money;
use crate::domain::order::Gateway;
use crate::gateway::{
    AlipayBills, AlipaySettings, BankGateway, BankSettings, LayoutMistake, UnionpayBills, UnionpayFile,
    UnionpaySettings, WechatBills, WechatSettings, code_table,
};

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
    results: ResultsSection,
    log: Log,
    insurance_types: BTreeMap<String, String>,
    channels: BTreeMap<String, ChannelSection>,
    schedules: BTreeMap<String, ScheduleSection>,
    calendar: BTreeMap<String, CalendarSection>,
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
    pub wait_hours: i64,
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
pub(super) struct ResultsSection {
    scan_seconds: u64,
    file_max_bytes: u64,
    range_max: i64,
    two_people: TwoPeople,
    discrepancy_alarm_days: u16,
    due_days: BTreeMap<String, u16>,
    bills: BTreeMap<String, BillRulesSection>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct BillRulesSection {
    ours: Vec<String>,
    expected_by: String,
}

/// Some decisions by name, or those that may change what counts as paid.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum TwoPeople {
    All(bool),
    Named(Vec<String>),
}

/// Result files, and the discrepancies that they leave.
#[derive(Debug, Clone)]
pub struct Results {
    pub scan_seconds: u64,
    pub file_max_bytes: u64,
    /// Lines that are booked in one transaction.
    pub range_max: i64,
    /// Decisions that take two people.
    pub two_people: Vec<Decision>,
    /// After so many days an open discrepancy is old.
    pub discrepancy_alarm_days: u16,
    /// Workdays after the hand-over on which the result of every deduction is due.
    pub due_days: BTreeMap<Gateway, u16>,
    pub bills: BTreeMap<Gateway, BillRules>,
}

/// How the rows of a gateway's bills are taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BillRules {
    /// Patterns of our order numbers, `*` for anything; none: every order number is taken for ours.
    pub ours: Vec<String>,
    /// When the bill of a day is expected, on the day after it.
    pub expected_by: Option<NaiveTime>,
}

impl ResultsSection {
    fn check(self, check: &mut Check<'_>) -> Results {
        check.that((1..=3600).contains(&self.scan_seconds), "results.scan_seconds", "must be 1 to 3600");
        check.that((1..=1_000_000).contains(&self.range_max), "results.range_max", "must be 1 to 1000000");
        let days = (1..=365).contains(&self.discrepancy_alarm_days);
        check.that(days, "results.discrepancy_alarm_days", "must be 1 to 365");
        let moving = || Decision::ALL.into_iter().filter(|decision| decision.moves_paid_status());
        let two_people = match self.two_people {
            TwoPeople::All(true) => moving().collect(),
            TwoPeople::All(false) => Vec::new(),
            TwoPeople::Named(names) => {
                let known: Vec<Decision> = names.iter().filter_map(|name| Decision::parse(name)).collect();
                let words = "must be true, false, or a list of decisions such as \"accept_success\"";
                check.that(known.len() == names.len(), "results.two_people", words);
                known
            }
        };
        let mut due_days = BTreeMap::new();
        for (name, days) in self.due_days {
            let key = format!("results.due_days.{name}");
            let gateway = Gateway::parse(&name).filter(|one| matches!(one, Gateway::Bank | Gateway::Unionpay));
            check.that(gateway.is_some(), &key, "must be of bank or unionpay");
            check.that(days <= 60, &key, "must be 0 to 60");
            due_days.extend(gateway.filter(|_| days > 0).map(|gateway| (gateway, days)));
        }
        let mut bills = BTreeMap::new();
        for (name, rules) in self.bills {
            let key = format!("results.bills.{name}");
            let gateway = Gateway::parse(&name).filter(|one| *one != Gateway::Bank);
            check.that(gateway.is_some(), &key, "must be of alipay, wechat_pay or unionpay");
            let patterns = rules.ours.iter().all(|pattern| !pattern.is_empty());
            check.that(patterns, &format!("{key}.ours"), "must be patterns such as \"PK*\"");
            let by = Some(rules.expected_by).filter(|by| !by.is_empty());
            let expected_by = by.as_deref().and_then(|by| NaiveTime::parse_from_str(by, "%H:%M").ok());
            let time = by.is_some() == expected_by.is_some();
            check.that(time, &format!("{key}.expected_by"), "must be a time as HH:MM, or empty");
            bills.extend(gateway.map(|gateway| (gateway, BillRules { ours: rules.ours, expected_by })));
        }
        Results {
            due_days,
            bills,
            scan_seconds: self.scan_seconds,
            file_max_bytes: self.file_max_bytes,
            range_max: self.range_max,
            two_people,
            discrepancy_alarm_days: self.discrepancy_alarm_days,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub level: String,
    pub format: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScheduleSection {
    pub insurance_type: String,
    pub region: String,
    #[serde(default)]
    pub cron: Vec<String>,
    #[serde(default)]
    pub days: Vec<String>,
    pub time: Option<String>,
    pub holiday_rule: Option<String>,
    pub cut_off: Option<String>,
    pub catch_up: Option<String>,
    pub hold: Option<HoldSection>,
    pub slot: i16,
    pub enabled: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HoldSection {
    pub count_percent: Option<u32>,
    pub sum_percent: Option<u32>,
    #[serde(default)]
    pub first_of_year: bool,
    #[serde(default)]
    pub two_people: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CalendarSection {
    pub source: String,
    pub holidays: Vec<HolidaySection>,
    pub workdays: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HolidaySection {
    pub name: String,
    pub from: String,
    pub to: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegionSection {
    pub name: String,
    pub division_prefix: String,
    pub insurance: BTreeMap<String, RuleSection>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleSection {
    pub rule: String,
    pub minimum: Option<String>,
    pub maximum: Option<String>,
    pub step: Option<String>,
    pub tiers: Option<Vec<String>>,
    pub amounts: Option<BTreeMap<String, String>>,
    pub rate: Option<String>,
    pub window_from: String,
    pub window_to: String,
    pub future_years: i16,
    pub retry_runs: i16,
    #[serde(default)]
    pub suspend_after: i16,
    #[serde(default)]
    pub carry_over: bool,
    pub after_void: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gateways {
    bank: BankSettings,
    alipay: AlipaySettings,
    wechat_pay: WechatSettings,
    unionpay: UnionpaySettings,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChannelSection {
    pub self_only: bool,
    pub methods: Vec<String>,
}

/// Collects mistakes: each names a key and says what it should be.
pub(super) struct Check<'m>(pub &'m mut Vec<String>);

impl Check<'_> {
    pub fn that(&mut self, holds: bool, key: &str, should: &str) {
        if !holds {
            self.0.push(format!("{key}: {should}"));
        }
    }

    pub fn money(&mut self, key: &str, text: Option<&str>) -> Option<Money> {
        let money = text.and_then(|text| Money::from_yuan(text).ok());
        self.that(money.is_some(), key, "must be a sum in yuan such as \"1000.00\"");
        money
    }

    pub fn month_day(&mut self, key: &str, text: &str) -> Option<MonthDay> {
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
        check.that((0..=24 * 365).contains(&self.intake.wait_hours), "intake.wait_hours", "must be 0 to 8760");
        check.that((1..=1_000_000).contains(&self.run.range_max), "run.range_max", "must be 1 to 1000000");
        check.that((5..=3600).contains(&self.run.lease_seconds), "run.lease_seconds", "must be 5 to 3600");
        check.that(!self.events.source.is_empty(), "events.source", "must not be empty");
        let results = self.results.check(&mut check);
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
        let calendar = calendar(&self.calendar, &mut check);
        let channels = channels(&self.channels, &mut check);
        let online = [
            (Gateway::Alipay, &self.gateways.alipay.codes),
            (Gateway::WechatPay, &self.gateways.wechat_pay.codes),
            (Gateway::Unionpay, &self.gateways.unionpay.codes),
        ];
        let mut codes = BTreeMap::new();
        for (gateway, table) in online {
            let mut of_gateway = Vec::new();
            codes.insert(gateway, code_table("codes", table, &mut of_gateway));
            let key = gateway.as_str();
            check.0.extend(of_gateway.into_iter().map(|mistake| format!("gateways.{key}.{mistake}")));
        }
        let of_unionpay = codes.get(&Gateway::Unionpay).cloned().unwrap_or_default();
        let bills = UnionpayBills::from_settings(&self.gateways.unionpay, of_unionpay.clone());
        let unionpay = UnionpayFile::from_settings(&self.gateways.unionpay.batch, of_unionpay);
        let mut of_unionpay = |wrong: Vec<LayoutMistake>| {
            mistakes.extend(wrong.into_iter().map(|mistake| format!("gateways.unionpay.{mistake}")));
        };
        let unionpay = unionpay.map_err(&mut of_unionpay).ok().flatten();
        let unionpay_bills = bills.map_err(&mut of_unionpay).ok().flatten();
        let of_alipay = codes.get(&Gateway::Alipay).cloned().unwrap_or_default();
        let alipay = AlipayBills::from_settings(&self.gateways.alipay.bill, of_alipay).unwrap_or_else(|wrong| {
            mistakes.extend(wrong.into_iter().map(|mistake| format!("gateways.alipay.{mistake}")));
            None
        });
        let of_wechat = codes.get(&Gateway::WechatPay).cloned().unwrap_or_default();
        let wechat = WechatBills::from_settings(&self.gateways.wechat_pay.bill, of_wechat);
        let wechat = wechat.unwrap_or_else(|wrong| {
            mistakes.extend(wrong.into_iter().map(|mistake| format!("gateways.wechat_pay.{mistake}")));
            None
        });
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
            results,
            log: self.log,
            insurance_types: cycles.keys().cloned().collect(),
            cycles,
            regions,
            schedules,
            calendar,
            bank,
            unionpay,
            unionpay_bills,
            alipay,
            wechat,
            codes,
            channels,
            in_force,
        })
    }
}
