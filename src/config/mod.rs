//! Settings: the shipped defaults, the operator's file and the environment come in, typed [`Settings`] go out,
//! or every mistake there is. Called once by each command.

mod layers;
mod rules;
mod sections;
mod timing;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::crypt::Algorithm;
use crate::domain::calendar::Calendar;
use crate::domain::insurance::{InsuranceType, Regions};
use crate::domain::order::{Channels, Gateway};
use crate::domain::outcome::CodeTable;
use crate::domain::period::Cycle;
use crate::domain::threshold::Thresholds;
use crate::gateway::{AlipayBills, Answers, BankGateway, Destination, UnionpayBills, UnionpayFile, WechatBills};
use crate::schedule::{CatchUp, Timetable};

pub use layers::{ConfigError, load, load_layers, shipped_keys};
pub use sections::{BillRules, Broker, Database, Events, Intake, Log, Results, RunSettings};

/// `database.url` and `broker.url` that ask for no server.
pub const EMBEDDED: &str = "embedded";

/// Everything configured, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folders of the settings are below it.
    pub data_folder: PathBuf,
    pub keys_file: PathBuf,
    /// What new keys are made for.
    pub keys_algorithm: Algorithm,
    pub database: Database,
    pub broker: Broker,
    pub intake: Intake,
    pub run: RunSettings,
    pub events: Events,
    pub results: Results,
    pub log: Log,
    pub insurance_types: Vec<InsuranceType>,
    pub cycles: BTreeMap<InsuranceType, Cycle>,
    pub regions: Regions,
    pub schedules: BTreeMap<String, Schedule>,
    pub calendar: Calendar,
    pub bank: BankGateway,
    /// UnionPay's batch, where a merchant is configured.
    pub unionpay: Option<UnionpayFile>,
    /// UnionPay's daily files, where their merchants are configured.
    pub unionpay_bills: Option<UnionpayBills>,
    /// Alipay's bills, where an account is configured.
    pub alipay: Option<AlipayBills>,
    /// WeChat Pay's bills, where a merchant is configured.
    pub wechat: Option<WechatBills>,
    /// Of the gateways that payers pay through online.
    pub codes: BTreeMap<Gateway, CodeTable>,
    pub channels: Channels,
    /// What is in force, secrets masked: for `pikou config`.
    pub in_force: toml::Table,
}

/// When which runs are due.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub name: String,
    pub insurance_type: InsuranceType,
    pub region: String,
    pub timetable: Timetable,
    pub catch_up: CatchUp,
    pub hold: Thresholds,
    pub slot: i16,
    pub enabled: bool,
}

impl Settings {
    /// What the codes in a channel's report on an order of this gateway mean.
    pub fn codes(&self, gateway: Gateway) -> &CodeTable {
        self.codes.get(&gateway).unwrap_or_else(|| self.bank.common_codes())
    }

    /// How the bills of a gateway are taken.
    pub fn bill_rules(&self, gateway: &str) -> Option<&BillRules> {
        self.results.bills.get(&Gateway::parse(gateway)?)
    }

    pub fn is_embedded_broker(&self) -> bool {
        self.broker.url == EMBEDDED
    }

    /// The file that events are appended to where there is no broker.
    pub fn events_file(&self) -> PathBuf {
        self.data_folder.join(&self.events.file)
    }

    /// Everybody who takes request files: the banks by their codes, then UnionPay.
    pub fn destinations(&self) -> impl Iterator<Item = &dyn Destination> {
        let banks = self.bank.banks().map(|bank| bank as &dyn Destination);
        banks.chain(self.unionpay.iter().map(|unionpay| unionpay as &dyn Destination))
    }

    pub fn destination(&self, gateway: &str, bank_code: &str) -> Option<&dyn Destination> {
        self.destinations().find(|to| to.gateway() == gateway && to.bank_code() == bank_code)
    }

    /// Everybody whose result files are taken.
    pub fn answerers(&self) -> impl Iterator<Item = &dyn Answers> {
        let banks = self.bank.banks().map(|bank| bank as &dyn Answers);
        let unionpay = self.unionpay.iter().map(|unionpay| unionpay as &dyn Answers);
        let alipay = self.alipay.iter().map(|alipay| alipay as &dyn Answers);
        let wechat = self.wechat.iter().map(|wechat| wechat as &dyn Answers);
        let unionpay_bills = self.unionpay_bills.iter().map(|bills| bills as &dyn Answers);
        banks.chain(unionpay).chain(unionpay_bills).chain(alipay).chain(wechat)
    }

    /// Whose file it is, of a gateway that may have several kinds told apart by their names.
    pub fn answerer(&self, gateway: &str, bank_code: &str, file_name: &str) -> Option<&dyn Answers> {
        let theirs = |from: &&dyn Answers| from.gateway() == gateway && from.bank_code() == bank_code;
        let by_name = self.answerers().filter(theirs).find(|from| from.takes(file_name));
        by_name.or_else(|| self.answerers().find(theirs))
    }

    /// Where files are copied to while they are read.
    pub fn spool_folder(&self) -> PathBuf {
        self.data_folder.join("spool")
    }

    /// Request files are handed over here.
    pub fn outbox(&self, to: &dyn Destination) -> PathBuf {
        self.data_folder.join(&to.hand_over().outbox)
    }

    /// Result files are dropped here.
    pub fn inbox(&self, from: &dyn Answers) -> PathBuf {
        self.data_folder.join(from.inbox())
    }
}

impl Intake {
    pub fn batch_wait(&self) -> Duration {
        Duration::from_millis(self.batch_wait_ms)
    }

    pub fn wait(&self) -> chrono::Duration {
        chrono::Duration::hours(self.wait_hours)
    }
}
