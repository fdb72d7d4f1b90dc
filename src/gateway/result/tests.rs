use std::borrow::Cow;

use chrono::{TimeZone, Utc};
use encoding_rs::GB18030;
use proptest::prelude::*;

use super::*;
use crate::domain::money::Money;
use crate::gateway::testing::ReadWhole;
use crate::gateway::{Answers, BankGateway, BankSettings, RenderRequest, RequestHead, RequestItem, ResultRow};

mod cfbs;
mod fixed;

const SHIPPED: &str = include_str!("../../../config/gateways/bank.toml");

const GOOD: &str = "H,102,20260415,102_20260415_7_0001.txt,3,6000.00,1,1000.00\r\n\
    D,1,P1,1000.00,0000,扣款成功,T1,20260415093000\r\n\
    D,2,P2,2000.00,1001,账户余额不足,,\r\n\
    D,3,P3,3000.00,7777,其他,,\r\n\
    T,3,6000.00\r\n";

fn gateway(change: impl Fn(&mut BankSettings)) -> BankGateway {
    let mut settings: BankSettings = toml::from_str(SHIPPED).unwrap();
    change(&mut settings);
    BankGateway::from_settings(&settings).unwrap()
}

fn bank() -> BankFile {
    gateway(|_| ()).bank("102").unwrap().clone()
}

fn bytes(text: &str) -> Vec<u8> {
    GB18030.encode(text).0.into_owned()
}

fn ends(bytes: &[u8]) -> FileEnds {
    FileEnds::of(&mut std::io::Cursor::new(bytes)).unwrap()
}

fn yuan(text: &str) -> Money {
    Money::from_yuan(text).unwrap()
}

fn refusal(bytes: &[u8]) -> String {
    bank().open(bytes).unwrap_err().to_string()
}

/// The refusal of the good file with one change.
fn changed(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from));
    refusal(&bytes(&GOOD.replacen(from, to, 1)))
}

/// What the good file's rows are with one change, the file being accepted.
fn row(line: usize, from: &str, to: &str) -> (Option<u64>, String) {
    let file = bytes(&GOOD.replacen(from, to, 1));
    let bank = bank();
    bank.open(&file).unwrap();
    match bank.rows(&file).nth(line - 2).unwrap() {
        ResultRow::Unparsable { line_no, column, reason } if line_no == line as u64 => (column, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sound_file_becomes_its_head_and_its_rows() {
    let (bank, file) = (bank(), bytes(GOOD));
    let head = ResultHead {
        bank_code: Some("102".into()),
        business_date: NaiveDate::from_ymd_opt(2026, 4, 15),
        request_file_name: Some("102_20260415_7_0001.txt".into()),
        count: 3,
        total: yuan("6000"),
        success_count: Some(1),
        success_total: Some(yuan("1000")),
        refund_count: None,
        refund_total: None,
        covers: Covers::Results,
    };
    assert_eq!(bank.open(&file), Ok(head));
    let read = |line_no, order_no, amount, code, reason| ResultRow::Read {
        line_no,
        order_no,
        amount: yuan(amount),
        code,
        reason: Cow::Borrowed(reason),
        gateway_txn_no: None,
        settled_at: None,
    };
    let rows: Vec<ResultRow<'_>> = bank.rows(&file).collect();
    let success = ResultRow::Read {
        line_no: 2,
        order_no: "P1",
        amount: yuan("1000"),
        code: "0000",
        reason: "扣款成功".into(),
        gateway_txn_no: Some("T1"),
        settled_at: Some(Utc.with_ymd_and_hms(2026, 4, 15, 1, 30, 0).unwrap()),
    };
    assert_eq!(rows, [success, read(3, "P2", "2000", "1001", "账户余额不足"), read(4, "P3", "3000", "7777", "其他")]);
}

#[test]
fn line_ends_of_either_kind_and_a_missing_last_one_are_read() {
    let whole = bank().open(&bytes(GOOD)).unwrap();
    assert_eq!(bank().open(&bytes(&GOOD.replace("\r\n", "\n"))), Ok(whole.clone()));
    assert_eq!(bank().open(&bytes(GOOD.trim_end())), Ok(whole));
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_never_accepted() {
    let (bank, file) = (bank(), bytes(GOOD));
    for cut in 0..file.len() - 2 {
        let refused = bank.open(&file[..cut]);
        assert!(refused.is_err(), "cut at {cut}");
        let _ = bank.rows(&file[..cut]).count();
    }
}

#[test]
fn a_file_without_trailer_that_is_cut_off_anywhere_is_never_accepted() {
    let gateway = gateway(|settings| settings.layouts.get_mut("standard").unwrap().result.trailer.clear());
    let bank = gateway.bank("102").unwrap();
    let file = bytes(GOOD.split("T,3").next().unwrap());
    assert_eq!(bank.open(&file).unwrap().count, 3);
    for cut in 0..file.len() {
        assert!(bank.open(&file[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_file_that_is_something_else_is_refused_by_name() {
    let refused = [
        refusal(b""),
        refusal(b"\r\n"),
        refusal(b"<html><body>502</body></html>"),
        refusal(b"\n <?xml version=\"1.0\"?>"),
        refusal(b"{\"code\":500}"),
        refusal(b"PK\x03\x04rest"),
        refusal(b"\x1f\x8b\x08"),
        refusal(b"\xff\xfeH\0,\0"),
        refusal("\u{feff}H,102".as_bytes()),
        refusal(GOOD.as_bytes()),
        refusal(&bytes(GOOD).repeat(2)),
        changed("H,102", "H,103"),
    ];
    let expected = [
        "malformed, line 1: the file is empty",
        "malformed, line 1: there is nothing but blanks in the file",
        "wrong_file, line 1: an HTML or XML document, probably an error page",
        "wrong_file, line 1: an HTML or XML document, probably an error page",
        "wrong_file, line 1: a JSON document, probably an error message",
        "wrong_file, line 1: a zip archive; unpack it first",
        "wrong_file, line 1: a gzip archive; unpack it first",
        "malformed, line 1: encoded in UTF-16",
        "malformed, line 1: begins with a UTF-8 byte order mark: probably saved again by another program",
        "malformed, line 1: encoded in UTF-8, not gb18030",
        "malformed, line 5: header or trailer in the middle of the file",
        "wrong_file, line 1, column 2: another bank's file, not one of bank 102",
    ];
    assert_eq!(refused, expected);
}

#[test]
fn our_own_request_file_is_not_taken_for_its_answer() {
    let business_date = NaiveDate::from_ymd_opt(2026, 4, 15).unwrap();
    let head = RequestHead { business_date, run_id: 7, part: 1, batch_date: business_date, batch_no: 1 };
    let item = RequestItem {
        order_no: "P1",
        agreement_no: "A1",
        account_no: "6222990000000001",
        account_name: "张三",
        amount: yuan("1000"),
    };
    let expected = "wrong_file, line 1: a request file of our own, not the bank's answer to it";
    assert_eq!(refusal(&bank().render(&head, &[item]).bytes), expected);
    assert_eq!(refusal(&bank().render(&head, &[]).bytes), expected);
    // Told by the rows where the headers are alike.
    let gateway = gateway(|settings| {
        let layout = settings.layouts.get_mut("standard").unwrap();
        layout.result.header = layout.request.header.clone();
        layout.result.header[3] = "request_file_name".into();
    });
    let bank = gateway.bank("102").unwrap();
    assert_eq!(bank.open(&bank.render(&head, &[item]).bytes).unwrap_err().to_string(), expected);
}

#[test]
fn header_and_trailer_must_be_what_the_layout_says() {
    let refused = [
        changed("H,102", "X,102"),
        changed("20260415,", "20260431,"),
        changed(",1,1000.00\r\n", ",1,1000.0\r\n"),
        changed(",1,1000.00\r\n", ",1\r\n"),
        changed("7_0001.txt,3", "7_0001.txt,+3"),
        changed("T,3,6000.00\r\n", ""),
        changed("T,3,6000.00\r\n", "T,3,6000.00\r\n\r\n"),
        changed("T,3,6000.00", "T,3,6000.00,"),
        changed("T,3,6000.00", "T,3,6E3"),
    ];
    let cut = "the last line is not the trailer: the file is cut off, or something follows the trailer";
    let expected = [
        "malformed, line 1, column 1: not the constant of this line".to_owned(),
        "malformed, line 1, column 3: not a date yyyymmdd".to_owned(),
        "malformed, line 1, column 8: not a sum of money in its full length".to_owned(),
        "malformed, line 1: 8 columns expected, 7 found".to_owned(),
        "malformed, line 1, column 5: not a count".to_owned(),
        format!("malformed, line 4: {cut}"),
        "malformed, line 5: header or trailer in the middle of the file".to_owned(),
        format!("malformed, line 5: {cut}"),
        "malformed, line 5, column 3: not a sum of money in its full length".to_owned(),
    ];
    assert_eq!(refused, expected);
    let mut file = bytes(GOOD);
    let broken = file.iter().rposition(|byte| *byte >= 0x80).unwrap();
    file[broken] = 0xff;
    assert_eq!(refusal(&file), "malformed, line 4: not gb18030: malformed bytes");
}

#[test]
fn totals_that_differ_from_the_rows_refuse_the_file() {
    let refused = [
        changed("0001.txt,3", "0001.txt,4"),
        changed("T,3", "T,2"),
        changed("T,3,6000.00", "T,3,6000.01"),
        changed("3,6000.00,1", "3,5999.99,1"),
        changed("P2,2000.00", "P2,2000.01"),
        changed("6000.00,1,", "6000.00,3,"),
        changed("6000.00,1,", "6000.00,0,"),
        changed("6000.00,1,1000.00", "6000.00,1,999.99"),
        changed("6000.00,1,1000.00", "6000.00,2,1000.00"),
        changed("D,2,P2,2000.00,1001,账户余额不足,,\r\n", ""),
    ];
    let expected = [
        "totals_differ, line 1, column 5: 4 rows declared, 3 found",
        "totals_differ, line 5, column 2: 2 rows declared, 3 found",
        "totals_differ, line 5, column 3: 6000.01 yuan declared, the rows come to 6000.00",
        "totals_differ, line 1, column 6: 5999.99 yuan declared, the rows come to 6000.00",
        "totals_differ, line 1, column 6: 6000.00 yuan declared, the rows come to 6000.01",
        "totals_differ, line 1, column 7: 3 successes declared, 1 found",
        "totals_differ, line 1, column 7: 0 successes declared, 1 found",
        "totals_differ, line 1, column 8: 999.99 yuan declared for successes, they come to 1000.00",
        "totals_differ, line 1, column 8: 1000.00 yuan declared for successes, they come to 1000.00",
        "totals_differ, line 1, column 5: 3 rows declared, 2 found",
    ];
    assert_eq!(refused, expected);
}

#[test]
fn a_code_we_do_not_know_may_be_the_banks_success() {
    let file = GOOD.replacen("6000.00,1,1000.00", "6000.00,2,4000.00", 1);
    assert_eq!(bank().open(&bytes(&file)).unwrap().success_count, Some(2));
}

#[test]
fn one_bad_row_does_not_refuse_the_file() {
    let whole = |reason: &str| (None, reason.to_owned());
    let at = |column, reason: &str| (Some(column), reason.to_owned());
    let long = "P".repeat(65);
    let rows = [
        row(3, ",1001,账户余额不足,,", ",1001,账户余额不足,"),
        row(3, "账户余额不足", "账户,余额不足"),
        row(3, "D,2", "X,2"),
        row(3, "P2", ""),
        row(3, "P2", "P 2"),
        row(3, "P2", "单2"),
        row(3, "P2", &long),
        row(3, "2000.00", "2e3"),
        row(3, "1001", ""),
        row(3, "账户余额不足", "账户\0余额不足"),
        row(2, "T1", ""),
        row(2, "20260415093000", ""),
        row(2, "20260415093000", "20260415240000"),
        row(2, "20260415093000", "2026-04-15"),
        row(3, "账户余额不足", &"长".repeat(3000)),
        row(3, "D,2,P2,2000.00,1001,账户余额不足,,", ""),
    ];
    let expected = [
        whole("8 columns expected, 7 found"),
        whole("8 columns expected, 9 found"),
        at(1, "not the constant of a row"),
        at(3, "not an order number"),
        at(3, "not an order number"),
        at(3, "not an order number"),
        at(3, "not an order number"),
        at(4, "not a sum of money"),
        at(5, "not a result code"),
        at(6, "not plain text"),
        at(7, "a success without transaction number"),
        at(8, "a success without time"),
        at(8, "not a time yyyymmddHHMMSS"),
        at(8, "not a time yyyymmddHHMMSS"),
        whole("longer than 4096 bytes"),
        whole("8 columns expected, 1 found"),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn a_file_of_which_no_row_fits_is_not_this_layouts() {
    let file = GOOD.replace("\r\nD,", "\r\nD;");
    assert_eq!(refusal(&bytes(&file)), "malformed, line 2: no row has the 8 columns of this layout");
}

#[test]
fn an_empty_answer_is_a_sound_file() {
    let file = b"H,102,20260415,R.txt,0,0.00,0,0.00\r\nT,0,0.00\r\n";
    assert_eq!(bank().open(file).unwrap().count, 0);
    assert_eq!(bank().rows(file).count(), 0);
}

#[test]
fn a_file_without_a_folder_is_recognised_by_its_header() {
    let gateway = gateway(|_| ());
    assert_eq!(gateway.bank_of_result(&ends(&bytes(GOOD))).unwrap().bank_code(), "102");
    let other = bytes(&GOOD.replacen("H,102", "H,104", 1));
    assert_eq!(gateway.bank_of_result(&ends(&other)).unwrap().bank_code(), "104");
    let refused = |bytes: &[u8]| gateway.bank_of_result(&ends(bytes)).unwrap_err().to_string();
    assert_eq!(refused(b"<html>"), "wrong_file, line 1: an HTML or XML document, probably an error page");
    assert_eq!(refused(b"a,b,c\r\n"), "wrong_file, line 1: the header is not of a result file of a configured bank");
}

#[test]
fn a_gbk_file_with_bars_is_split_between_characters_and_sums_may_be_fen() {
    let gateway = gateway(|settings| {
        let layout = settings.layouts.get_mut("standard").unwrap();
        (layout.encoding, layout.separator) = ("gbk".into(), "|".into());
        layout.result.header = ["count", "total_fen"].map(String::from).into();
        layout.result.item = ["order_no", "ignored", "reason", "code", "amount_fen"].map(String::from).into();
        layout.result.trailer = ["=END", "ignored"].map(String::from).into();
    });
    let bank = gateway.bank("102").unwrap();
    // The first character of the reason ends with the byte of the bar.
    let file = b"2|000000300\nP1|x|\x83\x7c\xb3\xc9|0000|100\nP2|x||1001|200\nEND|x\n";
    assert_eq!((bank.open(file).unwrap().count, bank.open(file).unwrap().total), (2, yuan("3")));
    let reasons: Vec<String> = bank
        .rows(file)
        .map(|row| match row {
            ResultRow::Read { reason, .. } => reason.into_owned(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(reasons, ["億成", ""]);
}

proptest! {
    #[test]
    fn a_damaged_file_is_refused_or_read_and_never_a_panic(at in 0..300usize, byte in any::<u8>()) {
        let mut file = bytes(GOOD);
        let at = at % file.len();
        file[at] = byte;
        let rows = bank().rows(&file).count();
        if let Ok(head) = bank().open(&file) {
            prop_assert_eq!((head.count, head.total, rows), (3, yuan("6000"), 3));
        }
    }
}

/// The cases of `fixtures/results/bank`; their whole outcomes are compared elsewhere.
#[test]
fn the_fixtures_are_read_or_refused_as_they_are_called() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/results/bank");
    let gateway = gateway(|settings| settings.banks.get_mut("105").unwrap().layout = Some("cfbs".into()));
    let (mut read, mut refused) = (0, 0);
    for case in std::fs::read_dir(root).unwrap() {
        let case = case.unwrap();
        let case_name = case.file_name().into_string().unwrap();
        let files = std::fs::read_dir(case.path()).unwrap().map(|file| file.unwrap().path());
        let is_result = |end: &std::ffi::OsStr| !["json", "jsonl", "toml"].iter().any(|other| end == *other);
        let files: Vec<_> = files.filter(|path| path.extension().is_none_or(is_result)).collect();
        // Of several files, or with settings of its own, a case says more than this test asks.
        let [path] = &files[..] else { continue };
        if case.path().join("settings.toml").exists() {
            continue;
        }
        let of = [("cfbs", "105"), ("fixed", "301"), ("bars", "403")];
        let own =
            of.into_iter().find(|(layout, _)| case_name.contains(layout)).and_then(|(_, code)| gateway.bank(code));
        let (name, bytes) = (path.file_name().unwrap().to_str().unwrap(), std::fs::read(path).unwrap());
        let bank = own.or_else(|| gateway.bank_of_result(&ends(&bytes)).ok()).or_else(|| gateway.bank("102")).unwrap();
        let told = bank.read_whole(name, &bytes);
        assert_eq!(told.is_err(), case_name.starts_with("refused-"), "{case_name}: {told:?}");
        (read, refused) = if told.is_ok() { (read + 1, refused) } else { (read, refused + 1) };
    }
    assert!(read >= 10 && refused >= 10, "{read} {refused}");
}
