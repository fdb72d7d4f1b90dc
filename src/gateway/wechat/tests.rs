use std::fs;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use sha1::{Digest, Sha1};

use super::*;

const MERCHANT: &str = "1699990001";
/// What each file of `fixtures/results/wechat_pay` is read as.
const WANTED: &str = include_str!("tests.txt");

fn settings(merchant_ids: &[&str], unpacked_max_bytes: u64) -> WechatBillSettings {
    let merchant_ids = merchant_ids.iter().map(|id| (*id).to_owned()).collect();
    WechatBillSettings { inbox: "inbox".into(), merchant_ids, unpacked_max_bytes }
}

fn bills_of(merchant_ids: &[&str], unpacked_max_bytes: u64) -> WechatBills {
    WechatBills::from_settings(&settings(merchant_ids, unpacked_max_bytes), CodeTable::default()).unwrap().unwrap()
}

fn bills() -> WechatBills {
    bills_of(&[MERCHANT], 1_000_000)
}

fn told_row(row: ResultRow<'_>) -> String {
    let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
    let time = |at: Option<chrono::DateTime<chrono::Utc>>| at.map_or("-".to_owned(), |at| at.to_rfc3339());
    match row {
        ResultRow::Read { line_no, order_no, amount, code, reason, gateway_txn_no, settled_at } => {
            format!("{line_no} {order_no} {amount} {code}{reason} {} {}", or_dash(gateway_txn_no), time(settled_at))
        }
        ResultRow::Refund { line_no, order_no, gateway_txn_no, refund_no, amount, state, refunded_at } => format!(
            "{line_no} refund {refund_no} of {order_no} {} {amount} {state:?} {}",
            or_dash(gateway_txn_no),
            time(refunded_at)
        ),
        ResultRow::Movement { line_no, movement_no, order_no, amount, direction } => {
            format!("{line_no} movement {movement_no} of {} {amount} {direction:?}", or_dash(order_no))
        }
        ResultRow::Unparsable { line_no, column, reason } => match column {
            Some(column) => format!("{line_no} unparsable, column {column}: {reason}"),
            None => format!("{line_no} unparsable: {reason}"),
        },
    }
}

fn told_head(head: &ResultHead) -> String {
    let ResultHead { count, total, refund_total, covers, .. } = head;
    let none = (&head.bank_code, head.business_date, &head.request_file_name, head.success_count, head.success_total);
    assert_eq!((none, head.refund_count), ((&None, None, &None, None, None), None));
    let refunds = refund_total.map_or("-".to_owned(), |total| total.to_string());
    let covers = match covers {
        Covers::Results => "results".to_owned(),
        Covers::Payments { from, to } => format!("payments of {from} to {to}"),
        Covers::Nothing => "nothing".to_owned(),
    };
    format!("{count} rows, {total} yuan, refunds {refunds}, covers {covers}")
}

/// The rows and the head, or the refusal alone.
fn told_of(bills: &WechatBills, name: &str, bytes: &[u8], sha1: Option<[u8; 20]>) -> Vec<String> {
    let mut rows = Vec::new();
    let mut bytes = Cursor::new(bytes);
    let mut source = ResultSource { name, bytes: &mut bytes, sha1 };
    match bills.read(&mut source, &mut |row| rows.push(told_row(row))) {
        Ok(head) => {
            assert_eq!(head.count, rows.len() as u64);
            rows.push(told_head(&head));
            rows
        }
        Err(error) => vec![error.to_string()],
    }
}

fn told(name: &str, bytes: &[u8]) -> Vec<String> {
    told_of(&bills(), name, bytes, None)
}

/// Each case with the name and the bytes of its file.
fn fixtures() -> Vec<(String, String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/results/wechat_pay");
    let mut cases = Vec::new();
    for folder in fs::read_dir(root).unwrap() {
        let folder = folder.unwrap();
        let case = folder.file_name().into_string().unwrap();
        for file in fs::read_dir(folder.path()).unwrap() {
            let file = file.unwrap();
            let name = file.file_name().into_string().unwrap();
            if !["given.jsonl", "expected.json", "settings.toml"].contains(&name.as_str()) {
                cases.push((case.clone(), name, fs::read(file.path()).unwrap()));
            }
        }
    }
    cases.sort();
    cases
}

fn fixture(wanted: &str) -> (String, Vec<u8>) {
    let (_, name, bytes) = fixtures().into_iter().find(|(case, ..)| case == wanted).unwrap();
    (name, bytes)
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_fixture_is_read_as_it_is_written_down() {
    let mut wanted = WANTED.split("\n\n").filter_map(|text| text.trim().strip_prefix("# ")?.split_once('\n'));
    for (case, name, bytes) in fixtures() {
        let (wanted_case, wanted) = wanted.next().unwrap_or_default();
        assert_eq!((wanted_case, wanted.to_owned()), (case.as_str(), told(&name, &bytes).join("\n")));
    }
    assert_eq!(wanted.next(), None);
}

#[test]
fn the_sha1_is_of_the_unpacked_bytes_with_their_byte_order_mark_and_line_ends() {
    let (name, bytes) = fixture("all-of-a-day");
    let digest = |bytes: &[u8]| -> Option<[u8; 20]> { Some(Sha1::digest(bytes).into()) };
    let whole = told(&name, &bytes);
    for file in [bytes.clone(), packed(&bytes)] {
        assert_eq!(told_of(&bills(), &name, &file, digest(&bytes)), whole);
        for other in [digest(&bytes[3..]), digest(&packed(&bytes)), Some([0; 20])] {
            assert_eq!(
                told_of(&bills(), &name, &file, other),
                ["malformed, line 1: its SHA-1 is not the one that the gateway gave with it"]
            );
        }
    }
    // The last line end is hashed like the rest.
    let cut = bytes.strip_suffix(b"\r\n").unwrap();
    assert_eq!(told(&name, cut), whole);
    assert_ne!(told_of(&bills(), &name, cut, digest(&bytes)), whole);
}

#[test]
fn a_bill_counts_as_the_whole_day_only_of_the_one_merchant_and_with_every_row_read() {
    let (name, bytes) = fixture("all-of-a-day");
    let covers = |ids: &[&str], name: &str, bytes: &[u8]| {
        let told = told_of(&bills_of(ids, 1_000_000), name, bytes, None);
        told.last().unwrap().split_once("covers ").unwrap().1.to_owned()
    };
    assert_eq!(covers(&[MERCHANT], &name, &bytes), "payments of 2026-04-16 to 2026-04-16");
    assert_eq!(covers(&[MERCHANT, "1699990002"], &name, &bytes), "nothing");
    let text = String::from_utf8(bytes).unwrap();
    let unread = text.replacen(",`CNY,", ",`HKD,", 1);
    assert_eq!(covers(&[MERCHANT], &name, unread.as_bytes()), "nothing");
}

#[test]
fn money_that_went_back_is_not_passed_over_in_a_row_that_is_no_refund() {
    let (name, bytes) = fixture("refund-with-the-amount-of-its-payment");
    let text = String::from_utf8(bytes).unwrap();
    for state in ["SUCCESS", "REVOKED", "REFUNDED"] {
        let told = told(&name, text.replacen("`REFUND,", &format!("`{state},"), 1).as_bytes());
        assert_eq!(told[1], "3 unparsable, column 26: money paid back in a row that is no refund", "{state}");
    }
}

/// Bytes without end.
struct Endless(&'static [u8], usize);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for byte in buffer.iter_mut() {
            *byte = self.0[self.1 % self.0.len()];
            self.1 += 1;
        }
        Ok(buffer.len())
    }
}

impl Seek for Endless {
    fn seek(&mut self, place: SeekFrom) -> io::Result<u64> {
        assert_eq!(place, SeekFrom::Start(0));
        self.1 = 0;
        Ok(0)
    }
}

#[test]
fn what_unpacks_to_more_than_allowed_is_refused_and_ends() {
    let header = fixture("all-of-a-day").1;
    let header = &header[..header.iter().position(|byte| *byte == b'\n').unwrap() + 1];
    let too_large = "unpacked it is larger than 1000000 bytes";
    for filling in ["x", "`\n", "`a,`b\n"] {
        let bomb = packed(&[header, filling.repeat(20_000_000 / filling.len()).as_bytes()].concat());
        assert!(bomb.len() < 200_000);
        let told = told("bill.csv", &bomb);
        assert!(told.len() == 1 && told[0].ends_with(too_large), "{told:?}");
    }
    let endless = ["交易时间,公众账号ID\n", "`\n", "x", "\n", "a,"];
    for filling in endless {
        let mut bytes = Endless(filling.as_bytes(), 0);
        let mut source = ResultSource { name: "bill.csv", bytes: &mut bytes, sha1: None };
        let refused = bills().read(&mut source, &mut |_| {});
        assert!(matches!(refused, Err(ReadError::Refused(_))), "{filling:?}");
    }
    let (name, bytes) = fixture("all-of-a-day");
    let size = bytes.len() as u64;
    assert_eq!(told_of(&bills_of(&[MERCHANT], size), &name, &bytes, None), told(&name, &bytes));
    let told = told_of(&bills_of(&[MERCHANT], size - 1), &name, &packed(&bytes), None);
    assert_eq!(told, [format!("malformed, line 1: unpacked it is larger than {} bytes", size - 1)]);
}

#[test]
fn a_disk_that_cannot_be_read_says_nothing_about_the_file() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::Other.into())
        }
    }
    impl Seek for Broken {
        fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
            Ok(0)
        }
    }
    let mut source = ResultSource { name: "bill.csv", bytes: &mut Broken, sha1: None };
    assert!(matches!(bills().read(&mut source, &mut |_| {}), Err(ReadError::Disk(_))));
}

#[test]
fn mistakes_in_the_settings_are_all_told() {
    let of = |settings: &WechatBillSettings| {
        let read = WechatBills::from_settings(settings, CodeTable::default());
        let mistakes = read.map(|bills| bills.is_some());
        mistakes.map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(of(&settings(&[], 1)), Ok(false));
    assert_eq!(of(&settings(&[MERCHANT], UNPACKED_BYTES_LIMIT)), Ok(true));
    let mut wrong = settings(&["1699990001 ", "", "12", "12"], UNPACKED_BYTES_LIMIT + 1);
    wrong.inbox = "../inbox".into();
    assert_eq!(
        of(&wrong),
        Err(vec![
            "bill.inbox: must be a folder without '..'".to_owned(),
            "bill.merchant_ids: '1699990001 ' must be 1 to 32 digits".to_owned(),
            "bill.merchant_ids: '' must be 1 to 32 digits".to_owned(),
            "bill.merchant_ids: '12' is there twice".to_owned(),
            "bill.unpacked_max_bytes: must be 1 to 68719476736".to_owned(),
        ])
    );
}

/// A bill of fifty rows, of which every second is a refund.
fn fifty() -> Vec<u8> {
    let (_, bytes) = fixture("all-of-a-day");
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<&str> = text.split_inclusive("\r\n").collect();
    let mut bill = lines[0].to_owned();
    for _ in 0..25 {
        bill.push_str(lines[1]);
        bill.push_str(lines[5]);
    }
    bill.push_str(lines[6]);
    bill.push_str("`50.0,`25000.0,`12500.0,`0.0,`0.0,`25000.0,`12500.0\r\n");
    bill.into_bytes()
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_refused_or_says_the_same() {
    let mut cases: Vec<_> =
        ["refund-bill", "old-all-with-24-columns", "fund-flow-with-full-width-units", "empty-day"].map(fixture).into();
    cases.push(("2026-04-16.csv".to_owned(), fifty()));
    for (name, bytes) in cases {
        let whole = told(&name, &bytes);
        assert!(whole.last().unwrap().contains(" rows, "), "{whole:?}");
        for length in 0..bytes.len() {
            let cut = told(&name, &bytes[..length]);
            let refused = ["malformed", "totals_differ"].iter().any(|kind| cut[0].starts_with(kind));
            assert!(refused || cut == whole, "{name} {length}: {cut:?}");
        }
    }
}

/// One row of a made-up bill: its amount in fen, its fee in hundred-thousandths, and what the payer bought.
#[derive(Debug, Clone)]
struct Made {
    is_refund: bool,
    fen: u32,
    fee: i32,
    second: u32,
    goods: String,
}

fn made() -> impl Strategy<Value = Made> {
    let goods = "[^\r\n`]{0,12}|[a,`]{0,3}x";
    (any::<bool>(), any::<u32>(), -99_999..999_999i32, 0..86_400u32, goods).prop_map(
        |(is_refund, fen, fee, second, goods)| {
            let goods = goods.replace(",`", "");
            Made { is_refund, fen, fee, second, goods }
        },
    )
}

fn yuan(fen: u64) -> String {
    format!("{}.{:02}", fen / 100, fen % 100)
}

/// The bill of these rows, and what it must be read as.
fn rendered(rows: &[Made], line_end: &str) -> (String, Vec<String>) {
    let day = chrono::NaiveDate::from_ymd_opt(2026, 4, 16).unwrap();
    let text = String::from_utf8(fixture("all-of-a-day").1).unwrap();
    let given: Vec<&str> = text.lines().collect();
    let mut bill = given[0].to_owned() + line_end;
    let (mut told, mut paid, mut refunded, mut fees) = (Vec::new(), 0, 0, 0);
    for (number, row) in rows.iter().enumerate() {
        let line_no = number + 2;
        let at = day.and_hms_opt(row.second / 3600, row.second / 60 % 60, row.second % 60).unwrap();
        let utc = (at - chrono::Duration::hours(8)).and_utc().to_rfc3339();
        let sum = yuan(row.fen.into());
        let sign = if row.fee < 0 { "-" } else { "" };
        let fee = format!("{sign}{}.{:05}", row.fee.abs() / 100_000, row.fee.abs() % 100_000);
        fees += i64::from(row.fee);
        let (state, amount, refund_no, refund, refund_state) = if row.is_refund {
            refunded += u64::from(row.fen);
            told.push(format!("{line_no} refund B{number} of W{number} T{number} {sum} Succeeded -"));
            ("REFUND", "0.00", format!("B{number}"), sum.as_str(), "SUCCESS")
        } else {
            paid += u64::from(row.fen);
            told.push(format!("{line_no} W{number} {sum} SUCCESS T{number} {utc}"));
            ("SUCCESS", sum.as_str(), "0".to_owned(), "0.00", "")
        };
        let goods = &row.goods;
        bill += &format!(
            "`{at},`wx,`{MERCHANT},`0,`,`T{number},`W{number},`o,`APP,`{state},`OTHERS,`CNY,`{amount},`0.00,`{refund_no},`0,\
             `{refund},`0.00,`,`{refund_state},`{goods},`,`{fee},`0.60%,`{amount},`{refund},`{line_end}"
        );
    }
    // To the nearest fen, as it is written on paper.
    let fen = (fees.abs() + 500) / 1000;
    let sign = if fees < 0 { "-" } else { "" };
    let (fees, paid, refunded) = (yuan(fen.unsigned_abs()), yuan(paid), yuan(refunded));
    let count = rows.len();
    bill += &format!(
        "{}{line_end}`{count}.0,`{paid},`{refunded},`0.0,`{sign}{fees},`{paid},`{refunded}{line_end}",
        given[6]
    );
    let covers = if rows.is_empty() { "nothing" } else { "payments of 2026-04-16 to 2026-04-16" };
    told.push(format!("{count} rows, {paid} yuan, refunds {refunded}, covers {covers}"));
    (bill, told)
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        rows in prop::collection::vec(made(), 0..12), is_crlf in any::<bool>(), is_packed in any::<bool>(),
    ) {
        let (bill, wanted) = rendered(&rows, if is_crlf { "\r\n" } else { "\n" });
        let bytes = if is_packed { packed(bill.as_bytes()) } else { bill.into_bytes() };
        prop_assert_eq!(told("2026-04-16.csv", &bytes), wanted);
    }
}

const FUZZED: usize = 3000;

#[test]
fn no_bytes_at_all_make_it_panic() {
    bolero::check!().with_iterations(FUZZED).with_type::<Vec<u8>>().for_each(|bytes| {
        told("2026-04-16.csv", bytes);
        told("2026-04-16.csv", &[b"\x1f\x8b\x08\0\0\0\0\0\0\x03", bytes.as_slice()].concat());
    });
}

#[test]
fn no_change_to_a_bill_makes_it_panic_or_lose_a_row() {
    let given = ["all-of-a-day", "fund-flow-with-full-width-units"].map(fixture);
    let edits = bolero::check!().with_iterations(FUZZED).with_type::<(bool, Vec<(u16, u8)>)>();
    edits.for_each(|(is_flow, edits)| {
        let (name, mut bytes) = given[usize::from(*is_flow)].clone();
        for (place, byte) in edits {
            let place = usize::from(*place) % bytes.len();
            bytes[place] = *byte;
        }
        // That each row is handed over, and counted once, is asserted on the way.
        told(&name, &bytes);
    });
}
