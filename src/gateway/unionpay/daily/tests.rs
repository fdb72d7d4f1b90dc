//! Daily files that are made here and read again. [`Transaction`] writes a row of ZM by a way of its own.

use std::io::{Cursor, Write};
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeZone, Utc};
use encoding_rs::GBK;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use proptest::prelude::*;

use super::*;
use crate::gateway::archive::zipped::Zipped;
use crate::gateway::settings::UnionpaySettings;
use crate::gateway::{Direction, RefundState};

mod refused;
mod settings;

const SHIPPED: &str = include_str!("../../../../config/gateways/unionpay.toml");
const MERCHANT: &str = "777290058110097";
const ZM: &str = "INN26041288ZM_777290058110097";
const ZME: &str = "INN26041288ZME_777290058110097";
const REPORT: &str = "RD201026041201_777290058110097";
const ZIP: &str = "777290058110097_20260412.zip";

#[derive(Clone)]
struct Transaction {
    kind: &'static str,
    order_no: String,
    query_id: String,
    fen: u64,
    fee_fen: u64,
    at: String,
    merchant_id: &'static str,
    original_query_id: String,
    original_order_no: String,
    is_older: bool,
}

impl Transaction {
    fn payment(order_no: &str, query_id: &str, fen: u64) -> Transaction {
        Transaction {
            kind: "01",
            order_no: order_no.to_owned(),
            query_id: query_id.to_owned(),
            fen,
            fee_fen: fen / 166,
            at: "0412101530".to_owned(),
            merchant_id: MERCHANT,
            original_query_id: String::new(),
            original_order_no: String::new(),
            is_older: false,
        }
    }

    fn refund(order_no: &str, query_id: &str, fen: u64, of: &Transaction) -> Transaction {
        let (original_query_id, original_order_no) = (of.query_id.clone(), of.order_no.clone());
        Transaction {
            kind: "04",
            original_query_id,
            original_order_no,
            ..Transaction::payment(order_no, query_id, fen)
        }
    }

    fn row(&self) -> Vec<u8> {
        let Transaction { kind, order_no, query_id, fen, fee_fen, at, merchant_id, .. } = self;
        let (fee_sign, sign) = if ["04", "31", "12"].contains(kind) { ("C", "D") } else { ("D", "C") };
        let signed = |sign: &str, fen: u64| if fen == 0 { " 000000000000".into() } else { format!("{sign}{fen:012}") };
        let net = signed(sign, fen - fee_fen);
        let fee = signed(fee_sign, *fee_fen);
        let (original_id, original_order) = (&self.original_query_id, &self.original_order_no);
        let front = format!(
            "S56 00010000    00010000    000123 {at} 622299*********0001 {fen:012} 9399 08 {query_id:21} 01 {order_no:32} \
             01 {:6} {:10} {fee} {net} 1002 {:15} {kind:2} 01 000201 01 {:4} {:32} 0 {original_id:21} {merchant_id:15} 0 \
             {:15} ",
            "", "", "", "", "", ""
        );
        let mut row = front.into_bytes();
        // Eight bytes of GBK, four of them below 0x80 like no letter's: 億 ends in a bar.
        row.extend(GBK.encode("社保億元").0.iter());
        row.extend(format!("{:24} {:13} {net} 01080209 {:32} {:13} {:13} {:12} 00 0 ", "", "", "", "", "", "").bytes());
        let last = if self.is_older {
            format!("{:131}", "reserved for something, up to its very end, that is long")
        } else {
            format!("{original_order:32} {:98}", "")
        };
        row.extend(last.bytes());
        row.extend(b"\r\n");
        row
    }
}

fn file(transactions: &[Transaction]) -> Vec<u8> {
    transactions.iter().flat_map(Transaction::row).collect()
}

/// A row of ZME, of which the lengths are known and nothing else.
fn adjusted() -> Vec<u8> {
    let lengths = [3, 11, 11, 6, 10, 19, 12, 4, 2, 2, 6, 10, 4, 12, 13, 13, 15, 15, 1, 12, 2, 135];
    let cells: Vec<String> = lengths.iter().map(|length| "1".repeat(*length)).collect();
    format!("{}\r\n", cells.join(" ")).into_bytes()
}

fn report(count: u64, payments: &str, refunds: &str) -> Vec<u8> {
    let text = format!(
        "                 商户清算日报表\r\n交易类型  交易笔数  交易金额借  交易金额贷  费用借  费用贷\r\n\
         消费      {count}\r\n总计      {count}  {refunds}  {payments}  0.00  0.00\r\n"
    );
    GBK.encode(&text).0.into_owned()
}

fn packed(zip: &[u8]) -> Vec<u8> {
    let mut deflated = ZlibEncoder::new(Vec::new(), Compression::default());
    deflated.write_all(zip).unwrap();
    STANDARD.encode(deflated.finish().unwrap()).into_bytes()
}

static BILLS: LazyLock<UnionpayBills> = LazyLock::new(|| {
    let mut settings: UnionpaySettings = toml::from_str(SHIPPED).unwrap();
    settings.bill.merchant_ids = vec![MERCHANT.to_owned()];
    settings.bill.unpacked_max_bytes = 16 * 1024 * 1024;
    let codes = crate::gateway::code_table("codes", &settings.codes, &mut Vec::new());
    UnionpayBills::from_settings(&settings, codes).unwrap().unwrap()
});

/// A row as it can be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Paid(u64, String, Money, String, DateTime<Utc>),
    Refunded(u64, String, Option<String>, String, Money),
    Moved(u64, String, Option<String>, Money, Direction),
    Bad(u64, Option<u64>, String),
}

fn told(row: ResultRow<'_>) -> Told {
    match row {
        ResultRow::Read { line_no, order_no, amount, code, reason, gateway_txn_no, settled_at } => {
            assert_eq!((code, &*reason), (SUCCESS, ""));
            let txn_no = gateway_txn_no.unwrap().to_owned();
            Told::Paid(line_no, order_no.to_owned(), amount, txn_no, settled_at.unwrap())
        }
        ResultRow::Refund { line_no, order_no, gateway_txn_no, refund_no, amount, state, refunded_at } => {
            assert_eq!((state, refunded_at.is_some()), (RefundState::Succeeded, true));
            let of = gateway_txn_no.map(str::to_owned);
            Told::Refunded(line_no, order_no.to_owned(), of, refund_no.to_owned(), amount)
        }
        ResultRow::Movement { line_no, movement_no, order_no, amount, direction } => {
            Told::Moved(line_no, movement_no.to_owned(), order_no.map(str::to_owned), amount, direction)
        }
        ResultRow::Unparsable { line_no, column, reason } => Told::Bad(line_no, column, reason),
    }
}

fn read(name: &str, bytes: &[u8]) -> Result<(ResultHead, Vec<Told>), String> {
    let mut source = Cursor::new(bytes);
    let mut rows = Vec::new();
    let mut file = ResultSource { name, bytes: &mut source, sha1: None };
    let head = BILLS.read(&mut file, &mut |row| rows.push(told(row)));
    head.map(|head| (head, rows)).map_err(|error| error.to_string())
}

fn refusal(name: &str, bytes: &[u8]) -> String {
    read(name, bytes).unwrap_err()
}

fn fen(fen: u64) -> Money {
    Money::from_fen(fen.into()).unwrap()
}

fn day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 4, 12).unwrap()
}

fn in_the_morning() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 4, 12, 2, 15, 30).unwrap()
}

/// Two payments, and one of them given back in part.
fn transactions() -> Vec<Transaction> {
    let first = Transaction::payment("W0001", "202604121015300000018", 100_000);
    let second = Transaction::payment("W0002", "202604121015300000028", 50_050);
    let refund = Transaction::refund("RW0001", "202604121015300000038", 20_000, &first);
    vec![first, second, refund]
}

fn rows() -> Vec<Told> {
    vec![
        Told::Paid(1, "W0001".into(), fen(100_000), "202604121015300000018".into(), in_the_morning()),
        Told::Paid(2, "W0002".into(), fen(50_050), "202604121015300000028".into(), in_the_morning()),
        Told::Refunded(
            3,
            "W0001".into(),
            Some("202604121015300000018".into()),
            "202604121015300000038".into(),
            fen(20_000),
        ),
    ]
}

fn head(count: u64, covers: Covers) -> ResultHead {
    ResultHead {
        bank_code: None,
        business_date: Some(day()),
        request_file_name: None,
        count,
        total: fen(150_050),
        success_count: Some(2),
        success_total: Some(fen(150_050)),
        refund_count: Some(1),
        refund_total: Some(fen(20_000)),
        covers,
    }
}

fn zip() -> Vec<u8> {
    let report = report(3, "1,500.50", "200.00");
    Zipped::default().with(REPORT, report).with(ZM, file(&transactions())).with(ZME, adjusted()).bytes()
}

const ADJUSTMENT: &str = "an adjustment (ZME): money was moved for a transaction that it names by its trace number";

#[test]
fn a_file_by_itself_gives_its_rows_and_proves_no_absence() {
    assert_eq!(file(&transactions()).len(), 3 * 609);
    assert_eq!(read(ZM, &file(&transactions())), Ok((head(3, Covers::Nothing), rows())));
    let put_aside = format!("000012-{ZM}.txt");
    assert_eq!(read(&put_aside, &file(&transactions())), Ok((head(3, Covers::Nothing), rows())));
    let adjustments = [adjusted(), adjusted()].concat();
    let (adjusted, rows) = read(ZME, &adjustments).unwrap();
    assert_eq!((adjusted.count, adjusted.total, adjusted.covers), (2, Money::ZERO, Covers::Nothing));
    assert_eq!(rows, [Told::Bad(1, None, ADJUSTMENT.into()), Told::Bad(2, None, ADJUSTMENT.into())]);
}

#[test]
fn a_zip_gives_the_rows_of_both_files_and_covers_its_day() {
    let covers = Covers::Payments { from: day(), to: day() };
    let mut all = rows();
    all.push(Told::Bad(4, None, ADJUSTMENT.into()));
    let read_zip = read(ZIP, &zip());
    assert_eq!(read_zip, Ok((head(4, covers), all)));
    assert_eq!(read("whatever.zip", &zip()), read_zip);
    let mut in_lines = packed(&zip());
    assert_eq!(read("fileContent.txt", &in_lines), read_zip);
    for at in (76..in_lines.len()).step_by(76).rev() {
        in_lines.splice(at..at, *b"\r\n");
    }
    in_lines.push(b'\n');
    assert_eq!(read(ZIP, &in_lines), read_zip);
}

#[test]
fn a_day_without_transactions_is_an_empty_file_in_a_zip() {
    let zip = Zipped::default().with(ZM, "").with(REPORT, report(0, "0.00", "0.00")).bytes();
    let (head, rows) = read(ZIP, &zip).unwrap();
    assert_eq!((head.count, head.total, rows.len()), (0, Money::ZERO, 0));
    assert_eq!(head.covers, Covers::Payments { from: day(), to: day() });
}

#[test]
fn in_the_older_edition_a_refund_is_told_by_the_transaction_it_gives_back() {
    let older: Vec<_> = transactions().into_iter().map(|of| Transaction { is_older: true, ..of }).collect();
    let bytes = file(&older);
    assert_eq!(bytes.len(), 3 * 609);
    let (_, read) = read(ZM, &bytes).unwrap();
    let mut expected = rows();
    if let Told::Refunded(_, order_no, ..) = &mut expected[2] {
        order_no.clear();
    }
    assert_eq!(read, expected);
}

#[test]
fn a_time_is_of_the_year_that_brings_it_nearest_to_the_day_of_settlement() {
    let told_at = |name: &str, at: &str| {
        let row = Transaction { at: at.into(), ..Transaction::payment("W1", "1", 100) };
        match &read(name, &row.row()).unwrap().1[..] {
            [Told::Paid(.., at)] => at.to_rfc3339(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(told_at("INN26123188ZM_777290058110097", "0101003000"), "2026-12-31T16:30:00+00:00");
    assert_eq!(told_at("INN27010188ZM_777290058110097", "1231233000"), "2026-12-31T15:30:00+00:00");
    assert_eq!(told_at("INN28022988ZM_777290058110097", "0229120000"), "2028-02-29T04:00:00+00:00");
    // The official sample: everything a day after the day of settlement.
    assert_eq!(told_at("INN15090588ZM_777290058110097", "0906104700"), "2015-09-06T02:47:00+00:00");
}

#[test]
fn what_is_neither_payment_nor_refund_is_told_apart() {
    let of = |kind| Transaction { kind, ..Transaction::payment("W1", "2", 100) };
    let cancelled = Transaction { kind: "31", ..transactions().remove(2) };
    let rows = read(ZM, &file(&[of("11"), of("12"), of("03"), cancelled])).unwrap().1;
    let expected = [
        Told::Paid(1, "W1".into(), fen(100), "2".into(), in_the_morning()),
        Told::Moved(2, "2".into(), Some("W1".into()), fen(100), Direction::Out),
        Told::Bad(3, Some(20), "a kind of transaction that is not known here".into()),
        Told::Refunded(
            4,
            "W0001".into(),
            Some("202604121015300000018".into()),
            "202604121015300000038".into(),
            fen(20_000),
        ),
    ];
    assert_eq!(rows, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_again(
        made in prop::collection::vec(("[A-Za-z0-9]{8,32}", "[0-9]{21}", 0..1_000_000_000_000_u64, 0..3_usize), 1..20),
        is_older in any::<bool>(),
    ) {
        let of = Transaction::payment("W0001", "202604121015300000018", 1);
        let transactions: Vec<Transaction> = made.iter().map(|(order_no, query_id, fen, kind)| {
            let made = match kind {
                0 => Transaction::payment(order_no, query_id, *fen),
                1 => Transaction { kind: "", ..Transaction::payment(order_no, query_id, *fen) },
                _ => Transaction::refund(order_no, query_id, *fen, &of),
            };
            Transaction { is_older, ..made }
        }).collect();
        let expected: Vec<Told> = transactions.iter().zip(1..).map(|(made, line_no)| {
            if made.kind == "04" {
                let paid = if is_older { "" } else { "W0001" };
                let of = Some(made.original_query_id.clone());
                Told::Refunded(line_no, paid.into(), of, made.query_id.clone(), fen(made.fen))
            } else {
                Told::Paid(line_no, made.order_no.clone(), fen(made.fen), made.query_id.clone(), in_the_morning())
            }
        }).collect();
        let bytes = file(&transactions);
        let zip = Zipped::default().with(ZM, &bytes).bytes();
        prop_assert_eq!(read(ZM, &bytes).unwrap().1, expected.clone());
        prop_assert_eq!(read("fileContent", &packed(&zip)).unwrap().1, expected);
    }
}

/// The cases of `fixtures/results/unionpay`; their whole outcomes are compared elsewhere.
#[test]
fn the_fixtures_are_read_or_refused_as_they_are_called() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/results/unionpay");
    let (mut read_count, mut refused) = (0, Vec::new());
    for case in std::fs::read_dir(root).unwrap() {
        let case = case.unwrap();
        let case_name = case.file_name().into_string().unwrap();
        // Those are of the batch, not of a day.
        if case_name.contains("batch-") {
            continue;
        }
        let files = std::fs::read_dir(case.path()).unwrap().map(|file| file.unwrap().path());
        let is_result = |end: &std::ffi::OsStr| !["json", "jsonl", "toml"].iter().any(|other| end == *other);
        let mut files = files.filter(|path| path.extension().is_none_or(is_result));
        let path = files.next().unwrap();
        let told = read(path.file_name().unwrap().to_str().unwrap(), &std::fs::read(&path).unwrap());
        assert_eq!(told.is_err(), case_name.starts_with("refused-"), "{case_name}: {told:?}");
        match told {
            Ok(_) => read_count += 1,
            Err(reason) => refused.push(format!("{case_name}: {reason}")),
        }
    }
    assert!(read_count >= 10 && refused.len() >= 10, "{read_count} {refused:?}");
}

#[test]
fn any_bytes_are_read_without_panic() {
    bolero::check!().with_iterations(20_000).for_each(|bytes: &[u8]| {
        for name in [ZM, ZME, ZIP] {
            let _ = read(name, bytes);
        }
    });
}

#[test]
fn a_sound_file_with_any_bytes_in_it_is_read_without_panic() {
    let (sound, zip) = (file(&transactions()), zip());
    bolero::check!().with_iterations(10_000).with_type::<(u16, Vec<u8>)>().for_each(|(at, bytes)| {
        for (name, sound) in [(ZM, &sound), (ZIP, &zip)] {
            let mut changed = sound.clone();
            let from = usize::from(*at) % changed.len();
            for (byte, other) in changed[from..].iter_mut().zip(bytes) {
                *byte = *other;
            }
            let _ = read(name, &changed);
        }
    });
}
