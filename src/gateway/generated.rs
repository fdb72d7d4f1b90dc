//! Every format of result files with made-up files of it: items go in, a file comes out and is read again; a sound
//! file goes in, changed ones come out by the million. Only tests are here.
//!
//! [`item`] is a row of any format, [`files`] and [`bills`] write it in each, [`packing`] packs them; [`mutant`] spoils
//! them; [`claims`] is what must hold of whatever was read; [`tests`] puts them together. Here: which formats there are.

mod bills;
mod claims;
mod files;
mod item;
mod mutant;
mod packing;
mod tests;

use super::{
    AlipayBills, Answers, BankGateway, BankSettings, ResultRow, UnionpayBills, UnionpayFile, WechatBills, code_table,
};
use crate::gateway::settings::{AlipaySettings, UnionpaySettings, WechatSettings};
use item::{Expected, HasTime, Item, Kind};
use packing::{Member, Packing};

const DEDUCTIONS: &[Kind] = &[Kind::Paid, Kind::Failed, Kind::Paid];
const PAYMENTS: &[Kind] = &[Kind::Paid, Kind::Refunded, Kind::Paid];

const ZM: &str = "INN26041688ZM_777290058110097";
const ZME: &str = "INN26041688ZME_777290058110097";
const REPORT: &str = "RD201026041601_777290058110097";
const ADJUSTMENT: &str = "an adjustment (ZME): money was moved for a transaction that it names by its trace number";

/// The most that is unpacked of a made-up file.
const UNPACKED_MAX_BYTES: u64 = 1024 * 1024;

struct Format {
    name: &'static str,
    reader: Box<dyn Answers>,
    file_name: fn(&[u8]) -> String,
    /// Of items that it has rows for.
    kinds: &'static [Kind],
    members: fn(&[Item]) -> Vec<Member>,
    packing: Packing,
    /// The line of the first row.
    first_row: u64,
    expected: fn(&Expected<'_>) -> ResultRow<'static>,
    /// Of which the gateway certainly counts rows as successes.
    success_code: &'static str,
    cut: Cut,
}

/// What a file says that is cut off.
enum Cut {
    /// Nothing: it is refused. Only if just so many bytes are missing, all of the last line, it says what the whole says.
    Refused { may_miss_bytes: &'static [usize] },
    /// Rows that were not cut off are read, and nothing shows that others are missing; so it proves no absence.
    BetweenRows { row_bytes: usize },
}

const WHOLE: Cut = Cut::Refused { may_miss_bytes: &[] };

impl Format {
    fn plain(name: &'static str, reader: impl Answers + 'static) -> Format {
        Format {
            name,
            reader: Box::new(reader),
            file_name: |_| "R.txt".into(),
            kinds: DEDUCTIONS,
            members: |_| Vec::new(),
            packing: Packing::Plain,
            first_row: 2,
            expected: |item| item.read(if item.item.kind == Kind::Paid { "0000" } else { "1001" }, &item.item.text),
            success_code: "0000",
            cut: WHOLE,
        }
    }

    fn file(&self, items: &[Item], blocks: packing::Blocks) -> Vec<u8> {
        self.packing.pack(&(self.members)(items), blocks)
    }

    fn rows(&self, items: &[Item]) -> Vec<ResultRow<'static>> {
        let expected = |(item, line_no)| (self.expected)(&Expected { item, line_no });
        items.iter().zip(self.first_row..).map(expected).collect()
    }
}

/// One of each kind of file that is read.
fn formats() -> Vec<Format> {
    [banks(), unionpay(), wechat_pay(), alipay()].into_iter().flatten().collect()
}

fn banks() -> Vec<Format> {
    let mut settings: BankSettings = toml::from_str(include_str!("../../config/gateways/bank.toml")).unwrap();
    settings.banks.get_mut("105").unwrap().layout = Some("cfbs".into());
    let gateway = BankGateway::from_settings(&settings).unwrap();
    let bank = |code: &str| gateway.bank(code).unwrap().clone();
    vec![
        Format {
            members: |items| Member::alone(files::standard(items)),
            cut: Cut::Refused { may_miss_bytes: &[2, 1] },
            ..Format::plain("bank, between commas", bank("102"))
        },
        Format {
            members: |items| Member::alone(files::bars(items)),
            first_row: 1,
            cut: Cut::Refused { may_miss_bytes: &[1] },
            ..Format::plain("bank, between bars", bank("403"))
        },
        Format {
            members: |items| Member::alone(files::fixed(items)),
            cut: Cut::Refused { may_miss_bytes: &[2, 1] },
            ..Format::plain("bank, fixed width", bank("301"))
        },
        Format {
            members: |items| Member::alone(files::cfbs(items)),
            file_name: files::cfbs_name,
            expected: |item| item.read_on_its_day(if item.item.kind == Kind::Paid { "0000" } else { "1001" }),
            ..Format::plain("bank, CFBS", bank("105"))
        },
    ]
}

fn unionpay() -> Vec<Format> {
    let mut settings: UnionpaySettings = toml::from_str(include_str!("../../config/gateways/unionpay.toml")).unwrap();
    settings.batch.merchant_id = files::MERCHANT.into();
    settings.bill.merchant_ids = vec![files::MERCHANT.into()];
    settings.bill.unpacked_max_bytes = UNPACKED_MAX_BYTES;
    let codes = code_table("codes", &settings.codes, &mut Vec::new());
    let batch = UnionpayFile::from_settings(&settings.batch, codes.clone()).unwrap().unwrap();
    let bills = UnionpayBills::from_settings(&settings, codes).unwrap().unwrap();
    let daily = |name| Format {
        first_row: 1,
        kinds: PAYMENTS,
        success_code: "00",
        expected: |item| match item.item.kind {
            Kind::Refunded => item.refund(HasTime::Yes),
            Kind::Paid | Kind::Failed => item.read("00", ""),
        },
        ..Format::plain(name, bills.clone())
    };
    let day = |items: &[Item]| vec![Member::of(REPORT, files::report(items)), Member::of(ZM, files::settled(items))];
    vec![
        Format {
            file_name: |_| "DK00000000777290058110097202604160001O.txt".into(),
            members: |items| Member::alone(files::batch(items)),
            first_row: 3,
            success_code: "00",
            expected: |item| item.read(if item.item.kind == Kind::Paid { "00" } else { "64" }, &item.item.text),
            ..Format::plain("UnionPay, batch", batch)
        },
        Format {
            file_name: |_| ZM.into(),
            members: |items| Member::alone(files::settled(items)),
            cut: Cut::BetweenRows { row_bytes: 609 },
            ..daily("UnionPay, ZM")
        },
        Format {
            file_name: |_| ZME.into(),
            members: |items| Member::alone(files::adjusted(items)),
            expected: |item| ResultRow::Unparsable { line_no: item.line_no, column: None, reason: ADJUSTMENT.into() },
            cut: Cut::BetweenRows { row_bytes: 341 },
            ..daily("UnionPay, ZME")
        },
        Format { members: day, packing: Packing::Zip, ..daily("UnionPay, zip of a day") },
        Format { members: day, packing: Packing::Base64, ..daily("UnionPay, fileContent") },
    ]
}

fn wechat_pay() -> Vec<Format> {
    let mut settings: WechatSettings = toml::from_str(include_str!("../../config/gateways/wechat_pay.toml")).unwrap();
    settings.bill.merchant_ids = vec![bills::MERCHANT.into()];
    settings.bill.unpacked_max_bytes = UNPACKED_MAX_BYTES;
    let codes = code_table("codes", &settings.codes, &mut Vec::new());
    let bills = WechatBills::from_settings(&settings.bill, codes).unwrap().unwrap();
    let bill = |name| Format {
        file_name: |_| "2026-04-16.csv".into(),
        kinds: PAYMENTS,
        success_code: "SUCCESS",
        expected: |item| match item.item.kind {
            Kind::Refunded => item.refund(HasTime::No),
            Kind::Paid | Kind::Failed => item.read("SUCCESS", ""),
        },
        cut: Cut::Refused { may_miss_bytes: &[2, 1] },
        ..Format::plain(name, bills.clone())
    };
    vec![
        Format { members: |items| Member::alone(bills::wechat_all(items)), ..bill("WeChat Pay, ALL") },
        Format {
            members: |items| Member::alone(bills::wechat_success(items)),
            kinds: &[Kind::Paid],
            cut: WHOLE,
            ..bill("WeChat Pay, SUCCESS")
        },
        Format {
            members: |items| Member::alone(bills::wechat_refund(items)),
            kinds: &[Kind::Refunded],
            expected: |item| item.refund(HasTime::Yes),
            ..bill("WeChat Pay, REFUND")
        },
        Format {
            members: |items| Member::alone(bills::wechat_old(items)),
            // 0.3 is 0.30 as well.
            cut: Cut::Refused { may_miss_bytes: &[3, 2, 1] },
            ..bill("WeChat Pay, ALL of old")
        },
        Format {
            members: |items| Member::alone(bills::wechat_flow(items)),
            expected: |item| item.movement(),
            ..bill("WeChat Pay, fund flow")
        },
        Format {
            members: |items| Member::alone(bills::wechat_all(items)),
            packing: Packing::Gzip,
            cut: WHOLE,
            ..bill("WeChat Pay, ALL in gzip")
        },
    ]
}

fn alipay() -> Vec<Format> {
    let mut settings: AlipaySettings = toml::from_str(include_str!("../../config/gateways/alipay.toml")).unwrap();
    settings.bill.accounts = vec![bills::ACCOUNT.into()];
    settings.bill.unpacked_max_bytes = UNPACKED_MAX_BYTES;
    let codes = code_table("codes", &settings.codes, &mut Vec::new());
    let bills = AlipayBills::from_settings(&settings.bill, codes).unwrap().unwrap();
    let trade = |name| Format {
        kinds: PAYMENTS,
        first_row: 6,
        success_code: "交易",
        expected: |item| match item.item.kind {
            Kind::Refunded => item.refund(HasTime::Yes),
            Kind::Paid | Kind::Failed => item.read("交易", ""),
        },
        ..Format::plain(name, bills.clone())
    };
    let ledger = |name| Format { expected: |item| item.movement(), ..trade(name) };
    let trades = |items: &[Item]| {
        let (detail, summary) = (bills::alipay_trade(items), bills::alipay_trade_summary(items));
        vec![Member::of("业务明细(汇总).csv", summary), Member::of("业务明细.csv", detail)]
    };
    let ledgers = |items: &[Item]| {
        let (detail, summary) = (bills::alipay_ledger(items), bills::alipay_ledger_summary(items));
        vec![Member::of("账务明细_1.csv", detail), Member::of("账务明细(汇总)_1.csv", summary)]
    };
    vec![
        Format { members: |items| Member::alone(bills::alipay_trade(items)), ..trade("Alipay, trade bill") },
        Format { members: |items| Member::alone(bills::alipay_ledger(items)), ..ledger("Alipay, ledger") },
        Format { members: trades, packing: Packing::Zip, ..trade("Alipay, trade bill in zip") },
        Format { members: ledgers, packing: Packing::Zip, ..ledger("Alipay, ledger in zip") },
    ]
}
