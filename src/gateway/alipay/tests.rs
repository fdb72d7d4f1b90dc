//! The files of `fixtures/results/alipay/`, byte by byte as they would come, and what is read of each.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::gateway::settings::AlipaySettings;
use crate::gateway::testing::ReadWhole;
use crate::gateway::{Covers, code_table};

mod properties;

const SHIPPED: &str = include_str!("../../../config/gateways/alipay.toml");
const ACCOUNT: &str = "20881234567890120156";

/// The rows of the day that most files are about.
const DAY: [&str; 5] = [
    "6 交易 PK2026041600000001 300.00 2026041622001400000000000001 2026-04-16T02:15:23+00:00",
    "7 交易 PK2026041600000002 1500.50 2026041622001400000000000002 2026-04-16T02:20:00+00:00",
    "8 交易 PK2026041600000003 1000.00 2026041622001400000000000003 2026-04-16T03:00:00+00:00",
    "9 Succeeded R2026041600000001 of PK2026041600000002 500.00 2026041622001400000000000002 2026-04-16T07:00:00+00:00",
    "10 Succeeded R2026041600000002 of PK2026041600000003 1000.00 2026041622001400000000000003 2026-04-16T08:30:00+00:00",
];

const LEDGER: [&str; 5] = [
    "6 In 20260416000000000001 300.00 PK2026041600000001",
    "7 Out 20260416000000000002 300.00 -",
    "8 In 20260416000000000003 25133.56 PK2026041600000003",
    "9 Out 20260416000000000004 97.00 PK2026041600000003",
    "10 In 20260416000000000005 0.00 -",
];

/// A case, what its file says of itself, and its rows.
const READ: [(&str, &str, &[&str]); 23] = [
    (
        "ledger-2012",
        "3 0.00, paid -, refunded -, 2026-04-16, covers nothing",
        &[
            "6 In 20260416000000000001 300.00 PK2026041600000001",
            "7 Out 20260416000000000002 300.00 -",
            "8 In 20260416000000000003 5.00 A-1",
        ],
    ),
    ("ledger-2021-zip", "5 0.00, paid -, refunded -, no day, covers nothing", &LEDGER),
    ("ledger-2023", "5 0.00, paid -, refunded -, 2026-04-16, covers nothing", &LEDGER),
    (
        "ledger-bad-rows",
        "5 0.00, paid -, refunded -, 2026-04-16, covers nothing",
        &[
            "6 In 20260416000000000001 300.00 PK2026041600000001",
            "7 column 8: income and expense in one row",
            "8 column 7: income below zero",
            "9 column -: not 12 columns, or longer than 4096 bytes",
            "10 Out 20260416000000000004 97.00 PK2026041600000003",
        ],
    ),
    (
        "ledger-second-part",
        "3 0.00, paid -, refunded -, no day, covers nothing",
        &[
            "6 In 20260416000000000003 25133.56 PK2026041600000003",
            "7 Out 20260416000000000004 97.00 PK2026041600000003",
            "8 In 20260416000000000005 0.00 -",
        ],
    ),
    ("ledger-thousands-commas", "5 0.00, paid -, refunded -, 2026-04-16, covers nothing", &LEDGER),
    ("ledger-without-balance", "2 0.00, paid -, refunded -, 2026-04-16, covers nothing", &[LEDGER[0], LEDGER[1]]),
    (
        "trade-27-columns",
        "2 300.00, paid 1 300.00, refunded 1 500.00, 2026-04-16, covers 2026-04-16 to 2026-04-16",
        &[
            "6 交易 PK2026041600000001 300.00 2026041622001400000000000001 2026-04-16T02:15:23+00:00",
            "7 Succeeded R2026041600000001 of PK2026041600000002 500.00 2026041622001400000000000002 2026-04-16T07:00:00+00:00",
        ],
    ),
    (
        "trade-bad-rows",
        "6 500.00, paid 4 500.00, refunded 1 2.00, 2026-04-16, covers nothing",
        &[
            "6 交易 PK2026041600000001 300.00 2026041622001400000000000001 2026-04-16T02:15:23+00:00",
            "7 column 2: not an order number",
            "8 column 12: not a sum of money in yuan",
            "9 column 22: a refund without its number",
            "10 column 6: not a time",
            "11 column 3: not a business type",
        ],
    ),
    (
        "trade-comma-in-name",
        "3 1800.50, paid 2 1800.50, refunded 0 0.00, 2026-04-16, covers nothing",
        &[
            "6 交易 PK2026041600000001 300.00 2026041622001400000000000001 2026-04-16T02:15:23+00:00",
            "7 交易 PK2026041600000002 1500.50 2026041622001400000000000002 2026-04-16T02:20:00+00:00",
            "8 column -: not 25 columns, or longer than 4096 bytes",
        ],
    ),
    ("trade-day", "5 2800.50, paid 3 2800.50, refunded 2 1500.00, 2026-04-16, covers 2026-04-16 to 2026-04-16", &DAY),
    (
        "trade-long-row",
        "2 300.00, paid 1 300.00, refunded 0 0.00, 2026-04-16, covers nothing",
        &[
            "6 交易 PK2026041600000001 300.00 2026041622001400000000000001 2026-04-16T02:15:23+00:00",
            "7 column -: not 25 columns, or longer than 4096 bytes",
        ],
    ),
    (
        "trade-made-before-its-end",
        "5 2800.50, paid 3 2800.50, refunded 2 1500.00, no day, covers 2026-04-15 to 2026-04-15",
        &DAY,
    ),
    ("trade-month", "5 2800.50, paid 3 2800.50, refunded 2 1500.00, no day, covers 2026-04-01 to 2026-04-30", &DAY),
    ("trade-no-rows", "0 0.00, paid 0 0.00, refunded 0 0.00, 2026-04-16, covers 2026-04-16 to 2026-04-16", &[]),
    (
        "trade-other-business-type",
        "2 350.00, paid 1 300.00, refunded 0 0.00, 2026-04-16, covers 2026-04-16 to 2026-04-16",
        &[
            "6 交易 PK2026041600000001 300.00 2026041622001400000000000001 2026-04-16T02:15:23+00:00",
            "7 充值 CZ20260416000001 50.00 2026041622001400000000000009 2026-04-16T02:15:23+00:00",
        ],
    ),
    (
        "trade-refunds-without-sign",
        "5 2800.50, paid 3 2800.50, refunded 2 1500.00, 2026-04-16, covers 2026-04-16 to 2026-04-16",
        &DAY,
    ),
    (
        "trade-tabs-lost",
        "5 2800.50, paid 3 2800.50, refunded 2 1500.00, 2026-04-16, covers 2026-04-16 to 2026-04-16",
        &DAY,
    ),
    (
        "trade-until-a-second-before-midnight",
        "1 300.00, paid 1 300.00, refunded 0 0.00, no day, covers 2026-04-15 to 2026-04-15",
        &[DAY[0]],
    ),
    (
        "trade-utf8-with-mark",
        "5 2800.50, paid 3 2800.50, refunded 2 1500.00, 2026-04-16, covers 2026-04-16 to 2026-04-16",
        &DAY,
    ),
    (
        "trade-zip-net-summary-last",
        "5 2800.50, paid 3 2800.50, refunded 2 1500.00, 2026-04-16, covers 2026-04-16 to 2026-04-16",
        &DAY,
    ),
    (
        "trade-zip-summary-first",
        "5 2800.50, paid 3 2800.50, refunded 2 1500.00, 2026-04-16, covers 2026-04-16 to 2026-04-16",
        &DAY,
    ),
    (
        "trade-zip-without-summary",
        "1 300.00, paid 1 300.00, refunded 0 0.00, 2026-04-16, covers 2026-04-16 to 2026-04-16",
        &[DAY[0]],
    ),
];

/// A case, and why its file is refused.
const REFUSED: [(&str, &str); 50] = [
    ("refused-account-of-16-digits", "malformed, line 2: not an account of 20 digits"),
    ("refused-another-account", "wrong_file, line 2: a file of another account"),
    ("refused-bank-file", "wrong_file, line 1: not a file of Alipay's: its first line says something else"),
    ("refused-column-missing", "malformed, line 5: 完成时间 is missing"),
    ("refused-column-twice", "malformed, line 5, column 25: the same title twice"),
    ("refused-comma-in-name-unexplained", "totals_differ, line 10: payments: 4 rows declared, 2 found"),
    ("refused-cut-off-in-a-row", "malformed, line 8: the file is cut off: its last line has no end"),
    ("refused-gbk-with-mark", "malformed, line 1: not utf-8: malformed bytes"),
    ("refused-html", "wrong_file, line 1: an HTML or XML document, probably an error page"),
    ("refused-json", "wrong_file, line 1: a JSON document, probably an error message"),
    ("refused-last-line-without-end", "malformed, line 14: the file is cut off: its last line has no end"),
    (
        "refused-ledger-balance",
        "totals_differ, line 8, column 9: the balance is not that of the row before and what was moved",
    ),
    ("refused-ledger-summary", "wrong_file, line 1: a summary (账务汇总), not the detail"),
    ("refused-ledger-total", "totals_differ, line 12: expense: 398.00 yuan declared, the rows come to 397.00"),
    ("refused-malformed-byte", "malformed, line 6: not gb18030: malformed bytes"),
    ("refused-padded-with-commas", "malformed, line 1: commas behind the words: saved again by a spreadsheet"),
    ("refused-personal-2018", "wrong_file, line 1: a personal Alipay bill, not a merchant's"),
    ("refused-personal-2024", "wrong_file, line 1: a personal Alipay bill, not a merchant's"),
    ("refused-refund-total", "totals_differ, line 13: refunds: 1500.01 yuan declared, the rows come to 1500.00"),
    (
        "refused-scientific-notation",
        "malformed, line 6, column 1: a number in scientific notation: saved again by a spreadsheet, which rounded it",
    ),
    ("refused-semicolons", "malformed, line 6: no row has the 25 columns of the titles"),
    ("refused-summary", "wrong_file, line 1: a summary (业务汇总), not the detail"),
    ("refused-times-with-slashes", "malformed, line 7, column 6: a time with slashes: saved again by a spreadsheet"),
    ("refused-total-count", "totals_differ, line 12: payments: 4 rows declared, 3 found"),
    ("refused-total-sum", "totals_differ, line 12: payments: 2800.01 yuan declared, the rows come to 2800.00"),
    ("refused-utf16", "malformed, line 1: encoded in UTF-16"),
    (
        "refused-utf8-without-mark",
        "malformed, line 1: encoded in UTF-8 without a byte order mark: saved again by another program",
    ),
    ("refused-wechat-bill", "wrong_file, line 1: a bill of WeChat Pay"),
    ("refused-without-end-of-list", "malformed, line 11: the file is cut off: the list has no end"),
    ("refused-without-export-time", "malformed, line 14: the file is cut off: 导出时间 is missing"),
    ("refused-without-totals", "malformed, line 12: 交易合计 is missing"),
    ("refused-words-behind-the-end", "malformed, line 15: something follows the end of the list"),
    ("refused-xml", "wrong_file, line 1: an HTML or XML document, probably an error page"),
    ("refused-zip-bomb", "malformed, line 1: member 1 of the archive unpacks to more than 200 times its packed size"),
    ("refused-zip-crc", "malformed, line 1: the packed content is damaged or cut off here"),
    ("refused-zip-cut-off", "malformed, line 1: not a whole zip archive: its directory is missing or cut off"),
    (
        "refused-zip-detail-under-the-name-of-a-summary",
        "wrong_file, line 1: in the summary: a detail under the name of a summary",
    ),
    ("refused-zip-empty", "wrong_file, line 1: an empty zip archive"),
    ("refused-zip-encrypted", "malformed, line 1: member 1 of the archive is encrypted"),
    (
        "refused-zip-ledger-summary-differs",
        "totals_differ, line 7: 397.01 yuan in the summary, the detail comes to 397.00",
    ),
    ("refused-zip-nested", "wrong_file, line 1: member 1 of the archive is an archive itself"),
    ("refused-zip-only-a-summary", "wrong_file, line 1: only a summary in the archive, not the detail"),
    (
        "refused-zip-path-out-of-its-folder",
        "malformed, line 1: member 1 of the archive has a step out of its folder in its name",
    ),
    ("refused-zip-summary-count-differs", "totals_differ, line 7: refunds: 1 rows in the summary, 2 in the detail"),
    ("refused-zip-summary-cut-off", "malformed, line 9: in the summary: the file is cut off: its last line has no end"),
    (
        "refused-zip-summary-of-another-day",
        "wrong_file, line 1: the summary in the archive is of another kind, account or time than the detail",
    ),
    (
        "refused-zip-summary-sum-differs",
        "totals_differ, line 7: 2800.49 yuan in the summary, the detail comes to 2800.50 or 1300.50",
    ),
    ("refused-zip-two-details", "wrong_file, line 1: more than one detail in the archive"),
    ("refused-zip-two-parts-of-a-ledger", "wrong_file, line 1: more than one detail in the archive"),
    ("refused-zip-without-csv", "wrong_file, line 1: no CSV in the archive"),
];

fn settings() -> AlipaySettings {
    let mut settings: AlipaySettings = toml::from_str(SHIPPED).unwrap();
    settings.bill.accounts = vec!["20889999999999990156".into(), ACCOUNT.into()];
    settings
}

fn bills() -> AlipayBills {
    let settings = settings();
    let codes = code_table("codes", &settings.codes, &mut Vec::new());
    AlipayBills::from_settings(&settings.bill, codes).unwrap().unwrap()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/results/alipay")
}

fn file_of(case: &str) -> Vec<u8> {
    let is_file =
        |path: &PathBuf| !["given.jsonl", "expected.json", "settings.toml"].iter().any(|other| path.ends_with(other));
    let mut files = fs::read_dir(folder().join(case)).unwrap().map(|entry| entry.unwrap().path()).filter(is_file);
    let file = files.next().unwrap();
    assert_eq!(files.next(), None, "one file in {case}");
    fs::read(file).unwrap()
}

/// A file as text: what it says of itself, then each row.
fn told(bytes: &[u8]) -> Result<Vec<String>, String> {
    let (head, rows) = bills().read_whole("", bytes).map_err(|refused| refused.to_string())?;
    let ResultHead { bank_code: None, request_file_name: None, .. } = &head else { panic!("{head:?}") };
    let side = |count: Option<u64>, sum: Option<crate::domain::money::Money>| match (count, sum) {
        (Some(count), Some(sum)) => format!("{count} {sum}"),
        (None, None) => "-".into(),
        _ => panic!("{head:?}"),
    };
    let covers = match head.covers {
        Covers::Payments { from, to } => format!("{from} to {to}"),
        Covers::Nothing => "nothing".into(),
        Covers::Results => panic!("a bill answers no request file"),
    };
    let day = head.business_date.map_or("no day".into(), |day| day.to_string());
    let (success, refunds) = (side(head.success_count, head.success_total), side(head.refund_count, head.refund_total));
    let mut told =
        vec![format!("{} {}, paid {success}, refunded {refunds}, {day}, covers {covers}", head.count, head.total)];
    told.extend(rows.iter().map(text_of));
    Ok(told)
}

fn text_of(row: &ResultRow<'_>) -> String {
    let at = |time: &Option<chrono::DateTime<chrono::Utc>>| time.map_or("-".into(), |time| time.to_rfc3339());
    match row {
        ResultRow::Read { line_no, order_no, amount, code, reason, gateway_txn_no, settled_at } => {
            assert_eq!(reason, "");
            format!("{line_no} {code} {order_no} {amount} {} {}", gateway_txn_no.unwrap_or("-"), at(settled_at))
        }
        ResultRow::Refund { line_no, order_no, gateway_txn_no, refund_no, amount, state, refunded_at } => {
            let txn_no = gateway_txn_no.unwrap_or("-");
            format!("{line_no} {state:?} {refund_no} of {order_no} {amount} {txn_no} {}", at(refunded_at))
        }
        ResultRow::Movement { line_no, movement_no, order_no, amount, direction } => {
            format!("{line_no} {direction:?} {movement_no} {amount} {}", order_no.unwrap_or("-"))
        }
        ResultRow::Unparsable { line_no, column, reason } => {
            format!("{line_no} column {}: {reason}", column.map_or("-".into(), |column| column.to_string()))
        }
    }
}

#[test]
fn each_file_is_read_as_it_stands() {
    for (case, head, rows) in READ {
        let told = told(&file_of(case)).unwrap_or_else(|refused| panic!("{case}: {refused}"));
        assert_eq!(
            (told[0].as_str(), told[1..].iter().map(String::as_str).collect::<Vec<_>>()),
            (head, rows.to_vec()),
            "{case}"
        );
    }
}

#[test]
fn each_wrong_file_is_refused_by_the_name_of_what_it_is() {
    for (case, reason) in REFUSED {
        assert_eq!(told(&file_of(case)), Err(reason.to_owned()), "{case}");
    }
}

#[test]
fn no_file_of_the_folder_is_forgotten() {
    let cases = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let named = READ.iter().map(|(case, ..)| *case).chain(REFUSED.iter().map(|(case, _)| *case));
    let (mut cases, mut named): (Vec<String>, Vec<String>) = (cases.collect(), named.map(str::to_owned).collect());
    cases.sort();
    named.sort();
    assert_eq!(cases, named);
}

#[test]
fn the_limit_of_an_unpacked_file_is_the_configured_one() {
    let bills = AlipayBills { unpacked_max_bytes: 500, ..bills() };
    let refused = bills.read_whole("", &file_of("trade-zip-without-summary")).unwrap_err();
    assert_eq!(refused.to_string(), "malformed, line 1: member 1 of the archive unpacks to more than 500 bytes");
}

#[test]
fn the_shipped_settings_take_no_bills_and_every_mistake_is_told_at_once() {
    let shipped: AlipaySettings = toml::from_str(SHIPPED).unwrap();
    assert!(AlipayBills::from_settings(&shipped.bill, CodeTable::default()).unwrap().is_none());
    let wrong = AlipayBillSettings {
        inbox: "../elsewhere".into(),
        accounts: vec!["2088".into(), ACCOUNT.into(), ACCOUNT.into()],
        unpacked_max_bytes: 1,
    };
    let mistakes = AlipayBills::from_settings(&wrong, CodeTable::default()).unwrap_err();
    let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "bill.inbox: must be a folder without '..'",
            "bill.accounts: must be numbers of 20 digits",
            "bill.accounts: must not have the same number twice",
            "bill.unpacked_max_bytes: must be 1048576 to 68719476736",
        ]
    );
}

#[test]
fn a_payment_is_a_success_in_the_shipped_code_table_and_no_other_business_type_is_known() {
    let bills = bills();
    let class = |code: &str| bills.codes().meaning(code).map(|meaning| meaning.class.as_str());
    assert_eq!((class("交易"), class("充值"), class("退款")), (Some("success"), None, None));
}
