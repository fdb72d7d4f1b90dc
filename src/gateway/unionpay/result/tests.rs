use proptest::prelude::*;

use super::*;
use crate::domain::outcome::CodeTable;
use crate::gateway::bank::code_table;
use crate::gateway::settings::UnionpaySettings;
use crate::gateway::testing::ReadWhole;
use crate::gateway::{RenderRequest, RequestHead, RequestItem};

const SHIPPED: &str = include_str!("../../../../config/gateways/unionpay.toml");
const NAME: &str = "DK00000000777290058110097202612310012O.txt";
const REQUEST: &[u8] = include_bytes!("../../../../fixtures/unionpay/DK00000000777290058110097202612310012I.txt");
const RESULT: &[u8] = include_bytes!("../../../../fixtures/unionpay/DK00000000777290058110097202612310012O.txt");
/// The same in GBK with CR LF, also behind the last line. One name holds a character that has the byte of the bar in it.
const GBK: &[u8] = include_bytes!("../../../../fixtures/unionpay/DK00000000777290058110097202612310012O.gbk.txt");
const REJECTED: &[u8] =
    include_bytes!("../../../../fixtures/unionpay/DK00000000777290058110097202612310012O.rejected.txt");

fn shipped() -> (UnionpaySettings, CodeTable) {
    let settings: UnionpaySettings = toml::from_str(SHIPPED).unwrap();
    let mut mistakes = Vec::new();
    let codes = code_table("codes", &settings.codes, &mut mistakes);
    assert_eq!(mistakes, []);
    (settings, codes)
}

fn file(encoding: &str) -> UnionpayFile {
    let (mut settings, codes) = shipped();
    settings.batch.merchant_id = "777290058110097".into();
    settings.batch.encoding = encoding.into();
    UnionpayFile::from_settings(&settings.batch, codes).unwrap().unwrap()
}

/// A row in one line; what is not there is `-`.
fn told(row: &ResultRow<'_>) -> String {
    match row {
        ResultRow::Read { line_no, order_no, amount, code, reason, gateway_txn_no, settled_at } => {
            let time = settled_at.map_or("-".into(), |at| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
            let txn_no = gateway_txn_no.unwrap_or("-");
            format!("{line_no} {} {amount} {code} {reason} {txn_no} {time}", &order_no[17..])
        }
        ResultRow::Unparsable { line_no, column, reason } => format!("{line_no} bad {column:?} {reason}"),
        ResultRow::Refund { .. } | ResultRow::Movement { .. } => panic!("not in a batch: {row:?}"),
    }
}

fn read(file: &UnionpayFile, name: &str, bytes: &[u8]) -> Result<(ResultHead, Vec<String>), String> {
    let (head, rows) = file.read_whole(name, bytes).map_err(|refused| refused.to_string())?;
    Ok((head, rows.iter().map(told).collect()))
}

fn refusal(bytes: &[u8]) -> String {
    read(&file("utf-8"), NAME, bytes).expect_err("it is refused")
}

/// The golden result with one thing changed.
fn changed(from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(RESULT).unwrap();
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1).into_bytes()
}

const ROWS: [&str; 6] = [
    "3 01 1500.50 00 成功 202612310012000000001 2026-12-31T15:59:58Z",
    "4 02 1000.00 A6 有缺陷的成功 202612310012000000002 2026-12-31T16:02:01Z",
    "5 03 2000.00 64 余额不足 - -",
    "6 04 1200.00 61 卡号无效 - -",
    "7 05 1300.00 05 交易已受理 202612310012000000005 2026-12-31T16:02:03Z",
    "8 06 1400.00 45 原交易已被成功退货或已被成功撤销 202612310012000000006 2026-12-31T16:02:04Z",
];

#[test]
fn a_result_file_says_what_became_of_each_order_and_its_times_turn_the_year() {
    let yuan = |text: &str| Money::from_yuan(text).unwrap();
    let head = ResultHead {
        bank_code: None,
        business_date: None,
        request_file_name: Some("DK00000000777290058110097202612310012I.txt".into()),
        count: 6,
        total: yuan("8400.50"),
        success_count: Some(2),
        success_total: Some(yuan("2500.50")),
        refund_count: None,
        refund_total: None,
        covers: Covers::Results,
    };
    let expected = (head, ROWS.map(String::from).to_vec());
    assert_eq!(read(&file("utf-8"), NAME, RESULT).unwrap(), expected);
    assert_eq!(read(&file("gbk"), NAME, GBK).unwrap(), expected);
    assert_eq!(read(&file("gb18030"), NAME, GBK).unwrap(), expected);
    // As `serve` put it aside.
    assert_eq!(read(&file("utf-8"), &format!("41-{NAME}"), RESULT).unwrap(), expected);
    assert_eq!(file("utf-8").parse_back(REQUEST).unwrap().count, 6, "and this is what it answers");
}

#[test]
fn the_example_of_the_formats_page_is_read() {
    let page = include_str!("../../../../docs/UNIONPAY-FILE.md");
    let example = page.split("```\n").nth(3).unwrap().trim_end();
    let (_, rows) = read(&file("utf-8"), "DK00000000777290058110097202604150001O.txt", example.as_bytes()).unwrap();
    let first = "3 01 1500.50 00 成功 202604150001000000001 2026-04-16T02:15:00Z";
    assert_eq!(rows, [first, "4 02 1500.50 64 余额不足 - -"]);
}

#[test]
fn a_time_is_of_the_year_nearest_to_the_day_of_the_batch() {
    let file = file("utf-8");
    let time = |day: &str, time: &str| {
        let name = ResultName::parse(&file, &format!("DK00000000777290058110097{day}0001O.txt")).unwrap();
        near(time.as_bytes(), name.batch_date)
            .map(|at| at.with_timezone(&BEIJING).format("%Y-%m-%d %H:%M:%S").to_string())
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(time("20260415", "0416101500"), some("2026-04-16 10:15:00"));
    assert_eq!(time("20261231", "0102000000"), some("2027-01-02 00:00:00"));
    assert_eq!(time("20261231", "1231235959"), some("2026-12-31 23:59:59"));
    assert_eq!(time("20270101", "1231235959"), some("2026-12-31 23:59:59"), "their clock is a little behind");
    assert_eq!(time("20280228", "0229080000"), some("2028-02-29 08:00:00"));
    for wrong in ["0229080000", "1301000000", "0416240000", "041610150", "04161015000", "041610150x"] {
        assert_eq!(time("20260415", wrong), None, "{wrong}");
    }
}

#[test]
fn the_columns_are_found_by_their_titles() {
    let text = "5.0.0|100|1|a|b|100|1|c|d\ntxnAmt|sysTm|orderId|respCode|more|queryId|accNo\n\
        100|0416101500|P0000001007000000001|00||Q1|62";
    let file = file("utf-8");
    let (_, rows) = read(&file, NAME, text.as_bytes()).unwrap();
    assert_eq!(rows, ["3 001 1.00 00  Q1 2027-04-16T02:15:00Z"]);
    let other = text.replacen("orderId", "order", 1);
    assert_eq!(read(&file, NAME, other.as_bytes()).unwrap_err(), "malformed, line 2: orderId is missing");
    let twice = text.replacen("more", "accNo", 1);
    assert_eq!(read(&file, NAME, twice.as_bytes()).unwrap_err(), "malformed, line 2, column 7: the same title twice");
    let many = text.replacen("more", &"x|".repeat(40), 1);
    assert_eq!(read(&file, NAME, many.as_bytes()).unwrap_err(), "malformed, line 2: more than 32 titles");
    // Where the last cell is one that counts, only an end of the line shows that it is whole.
    let last = text.replacen("|accNo", "", 1).replacen("|62", "", 1);
    let refused = "malformed, line 2: without an end of the last line its last cell may be cut off";
    assert_eq!(read(&file, NAME, last.as_bytes()).unwrap_err(), refused);
    assert_eq!(read(&file, NAME, format!("{last}\n").as_bytes()).unwrap().1, rows);
}

#[test]
fn a_name_that_is_not_of_an_answer_to_this_merchant_is_refused() {
    let of = |name: &str| read(&file("utf-8"), name, RESULT).expect_err(name);
    let misnamed = "wrong_file, line 1: the name is not DK, institution, merchant, yyyymmdd, batch number and O.txt";
    let names = [
        "",
        "银联",
        "result.txt",
        "DK",
        "XX00000000777290058110097202612310012O.txt",
        "DK00000000777290058110097202613310012O.txt",
        "DK0000000077729005811009720261231001xO.txt",
        "DK00000000777290058110097202612310012O.txt.bak",
        "DK00000000777290058110097202612310012O (1).txt",
    ];
    for name in names {
        assert_eq!(of(name), misnamed, "{name}");
    }
    let other = "wrong_file, line 1: by its name the file of another institution or merchant";
    assert_eq!(of("DK00000000777290058110098202612310012O.txt"), other);
    assert_eq!(of("DK00000001777290058110097202612310012O.txt"), other);
    let request = "wrong_file, line 1: by its name a request file, not the answer to it";
    assert_eq!(of("DK00000000777290058110097202612310012I.txt"), request);
    for kind in ["DF", "TH"] {
        let wanted = "wrong_file, line 1: by its name a file of payments out or of refunds, not of deductions";
        assert_eq!(of(&NAME.replacen("DK", kind, 1)), wanted);
    }
}

#[test]
fn what_is_no_result_is_refused_by_what_it_is() {
    assert_eq!(
        refusal(REJECTED),
        "wrong_file, line 1, column 1: no result but an answer for the whole file: respCode 14"
    );
    assert_eq!(
        refusal(b"98|\xe6\x96\x87\xe4\xbb\xb6\r\n"),
        "wrong_file, line 1, column 1: no result but an answer for the whole file: respCode 98"
    );
    assert_eq!(refusal("张 三|x".as_bytes()), "malformed, line 1, column 1: not a result code");
    assert_eq!(refusal(REQUEST), "wrong_file, line 1: a request file of our own, not the answer to it");
    assert_eq!(refusal(b""), "malformed, line 1: the file is empty");
    for page in ["<html><body>502", "<?xml version=\"1.0\"?><r/>"] {
        assert_eq!(refusal(page.as_bytes()), "wrong_file, line 1: an HTML or XML document, probably an error page");
    }
    assert_eq!(refusal(b"eJwrSS0uAQAEXQHB"), "malformed, line 1: 9 columns expected, 1 found");
    assert_eq!(refusal(&[b"\xef\xbb\xbf", RESULT].concat()).split(':').next(), Some("malformed, line 1"));
    assert_eq!(refusal(GBK), "malformed, line 3: not utf-8: malformed bytes");
    assert_eq!(read(&file("gbk"), NAME, RESULT).unwrap_err(), "malformed, line 1: encoded in UTF-8, not gbk");
}

#[test]
fn totals_that_are_not_those_of_the_rows_refuse_the_file() {
    let cases = [
        ("|840050|", "|840051|", "totals_differ, line 1, column 2: 8400.51 yuan declared, the rows come to 8400.50"),
        ("|6|||", "|7|||", "totals_differ, line 1, column 3: 7 rows declared, 6 found"),
        (
            "|156|200000|",
            "|156|200001|",
            "totals_differ, line 1, column 2: 8400.50 yuan declared, the rows come to 8400.51",
        ),
        // A6, 05 and 45 may be successes in their count; 64 and 61 are not.
        ("|250050|2||", "|150050|0||", "totals_differ, line 1, column 7: 0 successes declared, 1 found"),
        ("|250050|2||", "|520050|5||", "totals_differ, line 1, column 7: 5 successes declared, 1 found"),
        (
            "|250050|2||",
            "|150049|1||",
            "totals_differ, line 1, column 6: 1500.49 yuan declared for successes, they come to 1500.50",
        ),
        (
            "|250050|2||",
            "|250050|1||",
            "totals_differ, line 1, column 6: 2500.50 yuan declared for successes, they come to 1500.50",
        ),
        ("|840050|", "|8400.50|", "malformed, line 1, column 2: not a sum of money in whole fen"),
        ("|6|||", "|six|||", "malformed, line 1, column 3: not a count"),
    ];
    for (from, to, refused) in cases {
        assert_eq!(refusal(&changed(from, to)), refused, "{to}");
    }
    for (from, to) in [("|250050|2||", "|150050|1||"), ("|250050|2||", "|520050|4||")] {
        assert!(read(&file("utf-8"), NAME, &changed(from, to)).is_ok(), "{to}");
    }
}

#[test]
fn a_bad_row_is_told_by_line_and_column_and_the_others_are_read() {
    let cases = [
        ("P000000100700000003", "P0 3", "5 bad Some(9) not an order number"),
        ("|156|200000|", "|840|200000|", "5 bad Some(10) another currency"),
        ("|156|200000|", "|156|2000.00|", "5 bad Some(11) not a sum of money in whole fen"),
        ("\n64|", "\n|", "5 bad Some(1) not a result code"),
        ("余额不足|||||||", "余额不足|||0416||||", "5 bad Some(5) not a time MMDDhhmmss"),
        ("余额不足|||||||", "余额\t不足|||||||", "5 bad Some(2) not plain text"),
        ("余额不足|||||||", "余额不足|||||||x|", "5 bad None not 19 columns, or longer than 4096 bytes"),
    ];
    for (from, to, told) in cases {
        let (_, rows) =
            read(&file("utf-8"), NAME, &changed(from, to)).unwrap_or_else(|refused| panic!("{to}: {refused}"));
        let mut expected = ROWS.map(String::from);
        expected[2] = told.into();
        assert_eq!(rows, expected, "{to}");
    }
    // A success without its number or time is not booked.
    let no_txn = changed("|202612310012000000001|", "||");
    assert_eq!(read(&file("utf-8"), NAME, &no_txn).unwrap().1[0], "3 bad Some(3) a success without transaction number");
    let no_time = changed("|1231235958|", "||");
    assert_eq!(read(&file("utf-8"), NAME, &no_time).unwrap().1[0], "3 bad Some(5) a success without time");
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_refused() {
    for (encoding, whole) in [("utf-8", RESULT), ("gbk", GBK)] {
        let file = file(encoding);
        let rows = read(&file, NAME, whole).unwrap().1;
        let accepted: Vec<usize> = (0..whole.len())
            .filter(|cut| match read(&file, NAME, &whole[..*cut]) {
                Ok((_, read)) => {
                    assert_eq!(read, rows, "cut at {cut}");
                    true
                }
                Err(_) => false,
            })
            .collect();
        // Nothing but the end of the last line may be missing.
        let ends = if whole.ends_with(b"\r\n") { 2 } else { 0 };
        assert_eq!(accepted, (whole.len() - ends..whole.len()).collect::<Vec<_>>(), "{encoding}");
    }
}

#[test]
fn what_may_have_moved_money_is_never_a_failure() {
    let (_, codes) = shipped();
    let class = |code: &str| codes.meaning(code).map(|meaning| meaning.class);
    for code in ["00", "A6"] {
        assert_eq!(class(code), Some(OutcomeClass::Success), "{code}");
    }
    for code in ["03", "04", "05", "42", "74", "75"] {
        assert_eq!(class(code), Some(OutcomeClass::Unknown), "{code}");
    }
    for code in ["02", "33", "39", "64"] {
        assert_eq!(class(code), Some(OutcomeClass::Retryable), "{code}");
    }
    // Not listed, so that each is a discrepancy for a person.
    for code in ["01", "12", "34", "35", "36", "37", "45", "60", "98", "99"] {
        assert_eq!(class(code), None, "{code}");
    }
}

/// A counterpart's answer, written row by row from what it found in the request.
fn answered(request: &[u8], codes: &[usize]) -> Vec<u8> {
    let text = String::from_utf8(request.to_vec()).unwrap();
    let mut lines = text.split('\n');
    let (head, titles) = (lines.next().unwrap(), lines.next().unwrap());
    let head: Vec<&str> = head.split('|').collect();
    let (mut rows, mut good, mut good_fen) = (String::new(), 0, 0u64);
    for (line, code) in lines.zip(codes.iter().cycle()) {
        let code = ["00", "64", "05"][*code];
        if code == "00" {
            good += 1;
            good_fen += line.split('|').nth(2).unwrap().parse::<u64>().unwrap();
        }
        let txn_no = if code == "00" { format!("Q{good}|1|0102030405|0102||") } else { "|||||".into() };
        rows += &format!("\n{code}|m|{txn_no}|{line}");
    }
    let own = "respCode|respMsg|queryId|sysTraNo|sysTm|settleDate|reserved1|reserved2";
    format!("{}|{}|{}|||{good_fen}|{good}||\n{own}|{titles}{rows}", head[0], head[1], head[2]).into_bytes()
}

proptest! {
    #[test]
    fn what_we_render_and_a_counterpart_answers_is_read_back_order_by_order(
        items in prop::collection::vec(("[A-Z0-9]{20}", "\\PC{1,12}", 1..100_000_000i128), 1..20),
        codes in prop::collection::vec(0..3usize, 20),
    ) {
        let file = file("utf-8");
        let items: Vec<RequestItem<'_>> = items
            .iter()
            .map(|(order_no, account_name, fen)| RequestItem {
                order_no, account_name, agreement_no: "A1", account_no: "62", amount: Money::from_fen(*fen).unwrap(),
            })
            .collect();
        let date = NaiveDate::from_ymd_opt(2026, 12, 31).unwrap();
        let head = RequestHead { business_date: date, run_id: 1, part: 1, batch_date: date, batch_no: 12 };
        let rendered = file.render(&head, &items);
        let name = rendered.file_name.replace("I.txt", "O.txt");
        let bytes = answered(&rendered.bytes, &codes);
        let (read, rows) = file.read_whole(&name, &bytes).unwrap();
        prop_assert_eq!(read.request_file_name.as_deref(), Some(&*rendered.file_name));
        prop_assert_eq!((read.count, read.total), (rendered.count, rendered.total));
        let sent = file.parse_back(&rendered.bytes).unwrap().orders;
        let orders: Vec<(String, Money)> = rows
            .iter()
            .map(|row| match row {
                ResultRow::Read { order_no, amount, .. } => ((*order_no).to_owned(), *amount),
                other => panic!("{other:?}"),
            })
            .collect();
        prop_assert_eq!(orders, sent);
    }

    #[test]
    fn any_bytes_are_refused_or_read_without_panic(bytes in any::<Vec<u8>>(), at in 0..900usize) {
        let file = file("gbk");
        let _ = read(&file, NAME, &bytes);
        let mut spoilt = GBK.to_vec();
        spoilt.splice(at..(at + bytes.len()).min(GBK.len()).max(at), bytes);
        let _ = read(&file, NAME, &spoilt);
    }
}
