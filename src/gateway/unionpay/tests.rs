use proptest::prelude::*;

use super::*;
use crate::domain::money::Money;
use crate::gateway::settings::UnionpaySettings;
use crate::gateway::text::Uncarriable::{self, *};
use crate::gateway::{HeldBack, RefusedKind, RenderRequest, RequestHead, RequestItem, RequestRead};

const SHIPPED: &str = include_str!("../../../config/gateways/unionpay.toml");

fn settings() -> UnionpayBatchSettings {
    let settings: UnionpaySettings = toml::from_str(SHIPPED).unwrap();
    UnionpayBatchSettings { merchant_id: "777290058110097".into(), ..settings.batch }
}

fn file(change: impl Fn(&mut UnionpayBatchSettings)) -> UnionpayFile {
    let mut settings = settings();
    change(&mut settings);
    UnionpayFile::from_settings(&settings, CodeTable::default()).unwrap().unwrap()
}

fn head() -> RequestHead {
    let date = |month, day| NaiveDate::from_ymd_opt(2026, month, day).unwrap();
    RequestHead { business_date: date(4, 15), run_id: 7, part: 1, batch_date: date(4, 16), batch_no: 12 }
}

fn item<'a>(order_no: &'a str, account_name: &'a str, yuan: &str) -> RequestItem<'a> {
    let amount = Money::from_yuan(yuan).unwrap();
    RequestItem { order_no, agreement_no: "A1", account_no: "6221558812340000", account_name, amount }
}

#[test]
fn a_request_file_is_exactly_these_bytes() {
    let file = file(|_| ());
    let rendered = file
        .render(&head(), &[item("P000000100100000001", "张三", "1.56"), item("P000000100100000002", "𠮷田", "1000")]);
    assert_eq!(rendered.file_name, "DK00000000777290058110097202604160012I.txt");
    let expected = "5.0.0|100156|2||\n\
        orderId|currencyCode|txnAmt|accType|accNo|customerNm|bizType|certifTp|certifId|phoneNo|postscript\n\
        P000000100100000001|156|156|01|6221558812340000|张三|000501||||\n\
        P000000100100000002|156|100000|01|6221558812340000|𠮷田|000501||||";
    assert_eq!(String::from_utf8(rendered.bytes.clone()).unwrap(), expected);
    let yuan = |text: &str| Money::from_yuan(text).unwrap();
    assert_eq!((rendered.count, rendered.total, rendered.held_back.len()), (2, yuan("1001.56"), 0));
    let orders = vec![("P000000100100000001".into(), yuan("1.56")), ("P000000100100000002".into(), yuan("1000"))];
    assert_eq!(file.parse_back(&rendered.bytes), Ok(RequestRead { count: 2, total: yuan("1001.56"), orders }));
}

#[test]
fn the_example_of_the_formats_page_is_what_is_written() {
    let page = include_str!("../../../docs/UNIONPAY-FILE.md");
    let example = page.split("```\n").nth(1).unwrap().trim_end();
    let with = |order_no, account_no, name| RequestItem { account_no, ..item(order_no, name, "1500.50") };
    let items = [
        with("P000000100700000001", "6222990000000001", "张三"),
        with("P000000100700000002", "6222990000000002", "欧阳建国"),
    ];
    assert_eq!(String::from_utf8(file(|_| ()).render(&head(), &items).bytes).unwrap(), example);
}

#[test]
fn the_titles_decide_which_columns_there_are_and_in_which_order() {
    let file = file(|settings| {
        settings.titles =
            ["contractAgrNo", "txnAmt", "orderId", "currencyCode", "accType", "accNo", "customerNm", "bizType"]
                .map(String::from)
                .into();
        (settings.encoding, settings.line_end) = ("gbk".into(), "crlf".into());
    });
    let rendered = file.render(&head(), &[item("P000000100100000001", "张三", "1.56")]);
    let mut expected =
        b"5.0.0|156|1||\r\ncontractAgrNo|txnAmt|orderId|currencyCode|accType|accNo|customerNm|bizType\r\n".to_vec();
    expected.extend_from_slice(b"A1|156|P000000100100000001|156|01|6221558812340000|\xd5\xc5\xc8\xfd|000501");
    assert_eq!(rendered.bytes, expected);
    assert_eq!(file.parse_back(&rendered.bytes).unwrap().count, 1);
}

#[test]
fn an_item_that_the_file_cannot_carry_is_held_back_and_counted_nowhere() {
    let file = file(|settings| {
        settings.encoding = "gbk".into();
        settings.titles.push("contractAgrNo".into());
    });
    let names = [
        ("张|三", Separator),
        ("张\"三", Quote),
        ("张\n三", LineBreak),
        ("张\t三", Control),
        ("𠮷田", OutsideEncoding),
    ];
    let order = "P000000100100000001";
    let mut items: Vec<RequestItem<'_>> = names.iter().map(|(name, _)| item(order, name, "5")).collect();
    items.push(item("P0000001-1", "张三", "5"));
    items.push(item("P123456", "张三", "5"));
    let (long, fits) = ("A".repeat(61), "A".repeat(60));
    items.push(RequestItem { agreement_no: &long, ..item(order, "张三", "5") });
    items.push(RequestItem { agreement_no: &fits, ..item(order, "张,三", "7") });
    let rendered = file.render(&head(), &items);
    let held = |order_no: &str, field, reason: Uncarriable| HeldBack { order_no: order_no.into(), field, reason };
    let mut expected: Vec<HeldBack> = names.iter().map(|(_, reason)| held(order, "customerNm", *reason)).collect();
    expected.extend([held("P0000001-1", "orderId", NotANumber), held("P123456", "orderId", NotANumber)]);
    expected.push(held(order, "contractAgrNo", TooWide));
    assert_eq!(rendered.held_back, expected);
    let read = file.parse_back(&rendered.bytes).unwrap();
    assert_eq!((read.count, read.total), (1, Money::from_yuan("7").unwrap()));
}

#[test]
fn a_request_file_that_was_changed_or_cut_is_not_read() {
    let file = file(|_| ());
    let bytes = file.render(&head(), &[item("P000000100100000001", "张三", "1.56")]).bytes;
    for cut in 0..bytes.len() {
        assert!(file.parse_back(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let text = String::from_utf8(bytes).unwrap();
    let refused = |from: &str, to: &str| file.parse_back(text.replacen(from, to, 1).as_bytes()).unwrap_err();
    assert_eq!(refused("|156|01", "|157|01").kind, RefusedKind::TotalsDiffer);
    assert_eq!(
        refused("5.0.0|156|1", "5.0.0|156|2").to_string(),
        "totals_differ, line 1: the rows are 1 with 1.56 yuan"
    );
    assert_eq!(refused("txnAmt", "amount").to_string(), "malformed, line 2: orderId or txnAmt is missing");
}

#[test]
fn without_a_merchant_there_is_no_batch_and_every_mistake_is_named() {
    let shipped: UnionpaySettings = toml::from_str(SHIPPED).unwrap();
    assert!(UnionpayFile::from_settings(&shipped.batch, CodeTable::default()).unwrap().is_none());
    let wrong = UnionpayBatchSettings {
        merchant_id: "77".into(),
        institution: "".into(),
        version: "five".into(),
        business_type: "代收".into(),
        account_type: "1".into(),
        encoding: "latin1".into(),
        line_end: "cr".into(),
        titles: ["orderId", "orderId", "name"].map(String::from).into(),
        outbox: "".into(),
        items_max: 100_001,
        ..settings()
    };
    let mistakes = UnionpayFile::from_settings(&wrong, CodeTable::default()).unwrap_err();
    let keys: Vec<String> = mistakes.iter().map(|mistake| format!("{mistake}")).collect();
    let expected = [
        "batch.merchant_id: must be empty, or 15 letters and digits",
        "batch.institution: must be 8 digits; 00000000 without an institution",
        "batch.business_type: must be 6 letters and digits",
        "batch.account_type: must be 2 letters and digits",
        "batch.version: must be digits and points, such as 5.0.0",
        "batch.encoding: must be gb18030, gbk or utf-8",
        "batch.line_end: must be crlf or lf",
        "batch.titles: 'orderId' is there twice",
        "batch.titles: unknown title 'name'; known here: orderId, currencyCode, txnAmt, accType, accNo, customerNm, \
         bizType, contractAgrNo, certifTp, certifId, phoneNo, postscript, reqReserved1, reqReserved2, billType, billNo",
        "batch.titles: currencyCode is missing",
        "batch.titles: txnAmt is missing",
        "batch.titles: accType is missing",
        "batch.titles: accNo is missing",
        "batch.titles: customerNm is missing",
        "batch.titles: bizType is missing",
        "batch.outbox: must be a folder without '..'",
        "batch.items_max: must be 1 to 100000",
    ];
    assert_eq!(keys, expected);
}

proptest! {
    #[test]
    fn whatever_is_rendered_is_read_back_as_it_was(
        items in prop::collection::vec(("[A-Z0-9]{6,20}", any::<String>(), 0..100_000_000i128), 0..20),
        encoding in 0..3usize,
    ) {
        let file = file(|settings| settings.encoding = ["gb18030", "gbk", "utf-8"][encoding].into());
        let items: Vec<RequestItem<'_>> = items
            .iter()
            .map(|(no, name, fen)| RequestItem { amount: Money::from_fen(*fen).unwrap(), ..item(no, name, "0") })
            .collect();
        let rendered = file.render(&head(), &items);
        let read = file.parse_back(&rendered.bytes).unwrap();
        prop_assert_eq!((read.count, read.total), (rendered.count, rendered.total));
        prop_assert_eq!(read.orders.len() + rendered.held_back.len(), items.len());
    }
}
