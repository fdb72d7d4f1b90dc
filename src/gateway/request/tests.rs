use chrono::NaiveDate;
use proptest::prelude::*;

use super::*;
use crate::gateway::text::Uncarriable::*;
use crate::gateway::{BankGateway, BankSettings, RefusedKind};

const SHIPPED: &str = include_str!("../../../config/gateways/bank.toml");

fn bank(change: impl Fn(&mut BankSettings)) -> BankFile {
    let mut settings: BankSettings = toml::from_str(SHIPPED).unwrap();
    change(&mut settings);
    BankGateway::from_settings(&settings).unwrap().bank("102").unwrap().clone()
}

fn standard() -> BankFile {
    bank(|_| ())
}

fn head() -> RequestHead {
    let business_date = NaiveDate::from_ymd_opt(2026, 4, 15).unwrap();
    RequestHead { business_date, run_id: 7, part: 1, batch_date: business_date, batch_no: 1 }
}

fn item<'a>(order_no: &'a str, account_name: &'a str, yuan: &str) -> RequestItem<'a> {
    let amount = Money::from_yuan(yuan).unwrap();
    RequestItem { order_no, agreement_no: "A1", account_no: "6222990000000001", account_name, amount }
}

#[test]
fn a_request_file_is_exactly_these_bytes() {
    let rendered = standard().render(&head(), &[item("P1", "张三", "1000"), item("P2", "李 四 ", "9000.5")]);
    let mut expected = b"H,102,20260415,102_20260415_7_0001.txt,2,10000.50\r\n".to_vec();
    expected.extend_from_slice(b"D,1,P1,A1,6222990000000001,\xd5\xc5\xc8\xfd,1000.00\r\n");
    expected.extend_from_slice(b"D,2,P2,A1,6222990000000001,\xc0\xee \xcb\xc4 ,9000.50\r\n");
    expected.extend_from_slice(b"T,2,10000.50\r\n");
    let total = Money::from_yuan("10000.50").unwrap();
    let file_name = "102_20260415_7_0001.txt".to_owned();
    assert!(rendered == Rendered { file_name, bytes: expected, count: 2, total, held_back: Vec::new() });
    let read = standard().parse_back(&rendered.bytes).unwrap();
    let orders = vec![
        ("P1".to_owned(), Money::from_yuan("1000").unwrap()),
        ("P2".to_owned(), Money::from_yuan("9000.5").unwrap()),
    ];
    assert_eq!(read, RequestRead { count: 2, total, orders });
}

#[test]
fn a_bank_with_tabs_fen_and_no_trailer_gets_what_it_asks_for() {
    let bank = bank(|settings| {
        let layout = settings.layouts.get_mut("standard").unwrap();
        (layout.separator, layout.line_end, layout.encoding) = ("tab".into(), "lf".into(), "utf-8".into());
        layout.request.header = ["count", "total_fen"].map(String::from).into();
        layout.request.item = ["order_no", "amount_fen", "account_no", "=", "=收"].map(String::from).into();
        layout.request.trailer.clear();
    });
    let rendered = bank.render(&head(), &[item("P1", "张三", "1000.01")]);
    assert_eq!(String::from_utf8(rendered.bytes.clone()).unwrap(), "1\t100001\nP1\t100001\t6222990000000001\t\t收\n");
    assert_eq!(bank.parse_back(&rendered.bytes).unwrap().total, rendered.total);
}

#[test]
fn an_item_that_the_file_cannot_carry_is_held_back_and_counted_nowhere() {
    let names = [
        ("a,b", Separator),
        ("a\"b", Quote),
        ("a\nb", LineBreak),
        ("a\rb", LineBreak),
        ("a\u{2028}b", LineBreak),
        ("a\0b", Control),
        ("a\u{1b}b", Control),
        ("a\tb", Control),
        ("a\u{fffd}b", LostCharacter),
        ("a𠮷b", OutsideEncoding),
    ];
    let bank = bank(|settings| settings.layouts.get_mut("standard").unwrap().encoding = "gbk".into());
    let mut items: Vec<RequestItem<'_>> = names.iter().map(|(name, _)| item("P1", name, "5")).collect();
    items.insert(1, item("P2", "张三", "7"));
    items.push(item("", "张三", "5"));
    items.push(item("P 3", "张三", "5"));
    items.push(RequestItem { account_no: "6222,1", ..item("P4", "张三", "5") });
    items.push(RequestItem { agreement_no: "A\n1", ..item("P5", "张三", "5") });
    let rendered = bank.render(&head(), &items);
    let held = |order_no: &str, field, reason| HeldBack { order_no: order_no.into(), field, reason };
    let mut expected: Vec<HeldBack> = names.iter().map(|(_, reason)| held("P1", "account_name", *reason)).collect();
    expected.extend([held("", "order_no", NotANumber), held("P 3", "order_no", NotANumber)]);
    expected.extend([held("P4", "account_no", Separator), held("P5", "agreement_no", LineBreak)]);
    assert_eq!(rendered.held_back, expected);
    let seven = Money::from_yuan("7").unwrap();
    assert_eq!((rendered.count, rendered.total), (1, seven));
    let read = bank.parse_back(&rendered.bytes).unwrap();
    assert_eq!(read, RequestRead { count: 1, total: seven, orders: vec![("P2".into(), seven)] });
}

#[test]
fn a_file_without_items_is_still_a_file() {
    let rendered = standard().render(&head(), &[]);
    assert_eq!(rendered.bytes, b"H,102,20260415,102_20260415_7_0001.txt,0,0.00\r\nT,0,0.00\r\n");
    assert_eq!(standard().parse_back(&rendered.bytes).unwrap().count, 0);
}

#[test]
fn a_request_file_that_was_changed_or_cut_is_not_read() {
    let bytes = standard().render(&head(), &[item("P1", "张三", "1000"), item("P2", "李四", "2000")]).bytes;
    for cut in 0..bytes.len() {
        assert!(standard().parse_back(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let text = String::from_utf8_lossy(&bytes).replace('\u{fffd}', "?");
    let refused = |from: &str, to: &str| standard().parse_back(text.replacen(from, to, 1).as_bytes()).unwrap_err();
    assert_eq!(refused("1000.00", "1000.01").kind, RefusedKind::TotalsDiffer);
    assert_eq!(refused("T,2", "T,3").to_string(), "totals_differ, line 4: the rows are 2 with 3000.00 yuan");
    assert_eq!(refused("H,102", "H,103").to_string(), "malformed, line 1, column 2: another bank's code");
    assert_eq!(refused("D,2", "E,2").to_string(), "malformed, line 3, column 1: not the constant of this line");
}

/// Bank 301 of the shipped settings: cells of fixed width, in GBK and in fen.
fn fixed() -> BankFile {
    let settings: BankSettings = toml::from_str(SHIPPED).unwrap();
    BankGateway::from_settings(&settings).unwrap().bank("301").unwrap().clone()
}

#[test]
fn cells_of_fixed_width_are_counted_in_bytes_and_not_in_characters() {
    let rendered = fixed().render(&head(), &[item("P1", "张三", "1000"), item("P2", "欧阳 Ming", "9000.5")]);
    let name = "301202604157-0001.txt".to_owned();
    let mut expected = format!("F301         20260415{name:<60}\r\n").into_bytes();
    let mut line = |number: u8, order: &str, name: &[u8], fen: &str| {
        expected
            .extend_from_slice(format!("D0000000{number}{order:<32}{:<40}{:<35}", "A1", "6222990000000001").as_bytes());
        expected.extend_from_slice(name);
        expected.resize(expected.len() + 60 - name.len(), b' ');
        expected.extend_from_slice(format!("{fen:0>15}{:10}\r\n", "").as_bytes());
    };
    line(1, "P1", b"\xd5\xc5\xc8\xfd", "100000");
    line(2, "P2", b"\xc5\xb7\xd1\xf4 Ming", "900050");
    expected.extend_from_slice(b"T00000000020000000001000050\r\n");
    assert_eq!(rendered.bytes.escape_ascii().to_string(), expected.escape_ascii().to_string());
    assert_eq!((rendered.file_name, rendered.count, rendered.held_back), (name, 2, vec![]));
    let read = fixed().parse_back(&rendered.bytes).unwrap();
    let orders: Vec<(&str, String)> = read.orders.iter().map(|(order, sum)| (&**order, sum.to_string())).collect();
    assert_eq!(orders, [("P1", "1000.00".into()), ("P2", "9000.50".into())]);
    for cut in 0..rendered.bytes.len() {
        assert!(fixed().parse_back(&rendered.bytes[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_cell_that_is_too_wide_for_its_column_holds_the_item_back() {
    let (fits, wide) = ("汉".repeat(30), format!("{}a", "汉".repeat(30)));
    let (account, order) = ("6".repeat(36), "P".repeat(33));
    let items = [
        item("P1", &fits, "5"),
        item("P2", &wide, "5"),
        item("P3", "张三 ", "5"),
        item("P4", "𠮷田", "5"),
        RequestItem { account_no: &account, ..item("P5", "张三", "5") },
        item(&order, "张三", "5"),
        item("P7", " 张三", "5"),
    ];
    let rendered = fixed().render(&head(), &items);
    let held: Vec<(&str, &str, Uncarriable)> =
        rendered.held_back.iter().map(|held| (&held.order_no[..2], held.field, held.reason)).collect();
    let expected = [
        ("P2", "account_name", TooWide),
        ("P3", "account_name", Padding),
        ("P4", "account_name", OutsideEncoding),
        ("P5", "account_no", TooWide),
        ("PP", "order_no", TooWide),
    ];
    assert_eq!(held, expected);
    let read = fixed().parse_back(&rendered.bytes).unwrap();
    assert_eq!((read.count, rendered.count, read.orders.len()), (2, 2, 2));
}

#[test]
fn an_item_for_which_the_total_has_no_room_is_held_back() {
    let bank = bank(|settings| {
        let layout = settings.layouts.get_mut("fixed").unwrap();
        layout.request.item[6] = "amount_fen 6".into();
        layout.request.trailer = ["=T", "count 5", "total_yuan 7"].map(String::from).into();
        (settings.layout, settings.items_max) = ("fixed".into(), 9);
    });
    let items = [
        item("P1", "张三", "9999.98"),
        item("P2", "张三", "0.02"),
        item("P3", "张三", "0.01"),
        item("P4", "张三", "10000"),
    ];
    let rendered = bank.render(&head(), &items);
    let held: Vec<(&str, &str, Uncarriable)> =
        rendered.held_back.iter().map(|held| (&*held.order_no, held.field, held.reason)).collect();
    assert_eq!(held, [("P2", "total", TooWide), ("P4", "total", TooWide)]);
    assert_eq!((rendered.count, rendered.total), (2, Money::from_yuan("9999.99").unwrap()));
    assert!(rendered.bytes.ends_with(b"T000029999.99\r\n"));
    assert_eq!(bank.parse_back(&rendered.bytes).unwrap().count, 2);
}

proptest! {
    #[test]
    fn whatever_is_rendered_in_fixed_width_is_read_back_as_it_was(
        items in prop::collection::vec(("[A-Z0-9]{0,40}", any::<String>(), 0..100_000_000i128), 0..20),
        encoding in 0..3usize, pads in 0..4usize,
    ) {
        let bank = bank(|settings| {
            let layout = settings.layouts.get_mut("fixed").unwrap();
            layout.encoding = ["gb18030", "gbk", "utf-8"][encoding].into();
            layout.request.item[5] = "account_name 40 ".to_owned() + ["left", "right", "right pad 0", "left pad *"][pads];
            settings.layout = "fixed".into();
        });
        let items: Vec<RequestItem<'_>> = items
            .iter()
            .map(|(no, name, fen)| RequestItem { amount: Money::from_fen(*fen).unwrap(), ..item(no, name, "0") })
            .collect();
        let rendered = bank.render(&head(), &items);
        let read = bank.parse_back(&rendered.bytes).unwrap();
        prop_assert_eq!((read.count, read.total), (rendered.count, rendered.total));
        prop_assert_eq!(read.orders.len() + rendered.held_back.len(), items.len());
        for (line, length) in rendered.bytes.split(|byte| *byte == b'\n').skip(1).zip(std::iter::repeat_n(182, read.orders.len())) {
            prop_assert_eq!(line.len(), length);
        }
    }
}

proptest! {
    #[test]
    fn whatever_is_rendered_is_read_back_as_it_was(
        items in prop::collection::vec(("[A-Z0-9]{0,20}", any::<String>(), 0..100_000_000i128), 0..20),
        encoding in 0..3usize, separator in 0..3usize,
    ) {
        let bank = bank(|settings| {
            let layout = settings.layouts.get_mut("standard").unwrap();
            layout.encoding = ["gb18030", "gbk", "utf-8"][encoding].into();
            layout.separator = [",", "|", "tab"][separator].into();
        });
        let items: Vec<RequestItem<'_>> = items
            .iter()
            .map(|(no, name, fen)| RequestItem { amount: Money::from_fen(*fen).unwrap(), ..item(no, name, "0") })
            .collect();
        let rendered = bank.render(&head(), &items);
        let read = bank.parse_back(&rendered.bytes).unwrap();
        prop_assert_eq!((read.count, read.total), (rendered.count, rendered.total));
        prop_assert_eq!(read.orders.len() + rendered.held_back.len(), items.len());
        let text = bank.layout.text.charset.decode(&rendered.bytes).unwrap();
        for item in items {
            let held = rendered.held_back.iter().any(|held| held.order_no == item.order_no);
            prop_assert!(held || text.contains(item.account_name));
        }
    }
}
