//! Layouts after the files of clearing houses: failures that are counted, tails, lengths in names, sums that were
//! really taken, files of successes alone.

use std::sync::LazyLock;

use super::*;
use crate::gateway::layout::LayoutMistake;

/// A row of an answer.
#[derive(Clone)]
struct Answered {
    order_no: String,
    fen: u64,
    txn_no: &'static str,
    code: &'static str,
    day: &'static str,
    tail: String,
}

fn made(order_no: &str, fen: u64, code: &'static str) -> Answered {
    let (txn_no, day) = if code == "0000" { ("T000000000000001", "20260416") } else { ("", "00000000") };
    Answered { order_no: order_no.into(), fen, txn_no, code, day, tail: String::new() }
}

/// An answer of bank 105 in the layout `cfbs`, its names in GBK.
fn answer(rows: &[Answered], failed_count: u64, failed_fen: u64) -> Vec<u8> {
    let total: u64 = rows.iter().map(|row| row.fen).sum();
    let mut file = format!(
        "{:60}{:60}{:12}{:12}{:35}{:12}{:5}{:6}{:4}CNY{:010}{total:016}{failed_count:010}{failed_fen:016}{:8}{:08}ok\r\n",
        "CFBS_ANSWER", "CFBS202604151057-0001.txt", "105", "105100", "6222", "TAX", "00100", "000001", "0002", rows.len(),
        "00000000", 2
    )
    .into_bytes();
    for (row, no) in rows.iter().zip(1..) {
        let Answered { order_no, fen, txn_no, code, day, tail } = row;
        let tail = bytes(tail);
        let length = tail.len();
        file.extend(format!("{no:016}20260415{day:8}{:18}{:12}{:12}{:35}", "", "", "", "6222990000000001").bytes());
        // Sixty bytes of a name, which are fewer characters.
        file.extend([bytes("欧阳建国"), vec![b' '; 52]].concat());
        file.extend(
            format!("{:60}{:60}{fen:015}{:015}{order_no:60}{txn_no:16}{code:8}{length:08}", "", "A0001", 0).bytes(),
        );
        file.extend(tail);
        file.extend(b"\r\n");
    }
    file
}

fn cfbs(change: impl Fn(&mut BankSettings)) -> BankFile {
    let gateway = gateway(|settings| {
        settings.banks.get_mut("105").unwrap().layout = Some("cfbs".into());
        change(settings);
    });
    gateway.bank("105").unwrap().clone()
}

static CFBS: LazyLock<BankFile> = LazyLock::new(|| cfbs(|_| ()));

fn named(bytes: &[u8]) -> String {
    format!("CFBS_ANSWER_{:08}", bytes.len())
}

fn refused(bank: &BankFile, bytes: &[u8]) -> String {
    bank.read_whole(&named(bytes), bytes).unwrap_err().to_string()
}

fn rows() -> Vec<Answered> {
    let with_tail = Answered { tail: "余额不足,请充值".into(), ..made("P00000000001", 200_050, "1001") };
    vec![made("P00000000000", 100_000, "0000"), with_tail, made("P00000000002", 300_000, "2001")]
}

#[test]
fn an_answer_that_counts_failures_becomes_its_head_and_its_rows() {
    let (bank, file) = (cfbs(|_| ()), answer(&rows(), 2, 500_050));
    let (head, read) = bank.read_whole(&format!("12-{}", named(&file)), &file).unwrap();
    let expected = ResultHead {
        bank_code: Some("105".into()),
        business_date: None,
        request_file_name: Some("CFBS202604151057-0001.txt".into()),
        count: 3,
        total: yuan("6000.50"),
        success_count: Some(1),
        success_total: Some(yuan("1000")),
        refund_count: None,
        refund_total: None,
        covers: Covers::Results,
    };
    assert_eq!(head, expected);
    let row = |line_no, order_no, amount, code, gateway_txn_no, settled_at| ResultRow::Read {
        line_no,
        order_no,
        amount: yuan(amount),
        code,
        reason: "".into(),
        gateway_txn_no,
        settled_at,
    };
    let at = Utc.with_ymd_and_hms(2026, 4, 15, 16, 0, 0).unwrap();
    let expected = [
        row(2, "P00000000000", "1000", "0000", Some("T000000000000001"), Some(at)),
        row(3, "P00000000001", "2000.50", "1001", None, None),
        row(4, "P00000000002", "3000", "2001", None, None),
    ];
    assert_eq!(read, expected);
}

#[test]
fn a_file_whose_name_has_another_length_is_refused_wherever_it_was_cut_off() {
    let (bank, file) = (cfbs(|_| ()), answer(&rows(), 2, 500_050));
    let name = named(&file);
    for cut in 0..file.len() {
        assert!(bank.read_whole(&name, &file[..cut]).is_err(), "cut at {cut}");
    }
    let told = |name: &str, bytes: &[u8]| bank.read_whole(name, bytes).unwrap_err().to_string();
    let size = file.len();
    let cut = format!("malformed, line 1: {size} bytes by its name, {} found: cut off, or changed", size - 2);
    assert_eq!(told(&name, &file[..size - 2]), cut);
    let nothing = "wrong_file, line 1: the name does not end with the length of the file in 8 digits";
    for name in ["", "1", "CFBS_ANSWER.txt", "CFBS_ANSWER_1234567", "CFBS_+0001234", "余00000001x"] {
        assert_eq!(told(name, &file), nothing, "{name}");
    }
}

#[test]
fn the_failures_that_are_declared_are_those_of_the_rows() {
    let bank = cfbs(|_| ());
    let of = |rows: &[Answered], count, fen| {
        let file = answer(rows, count, fen);
        bank.read_whole(&named(&file), &file).map(|(head, _)| head.success_count).map_err(|refused| refused.to_string())
    };
    assert_eq!(of(&rows(), 2, 500_050), Ok(Some(1)));
    let count = "totals_differ, line 1, column 13: 1 failures declared, 2 found";
    assert_eq!(of(&rows(), 1, 500_050), Err(count.into()));
    let total = "totals_differ, line 1, column 14: 5000.51 yuan declared for failures, they come to 5000.50";
    assert_eq!(of(&rows(), 2, 500_051), Err(total.into()));
    // What the bank does not know yet it may count as failed or not, and so what is in no table.
    for code in ["9001", "7777"] {
        let rows = [rows(), vec![made("P00000000003", 70_000, code)]].concat();
        assert_eq!(of(&rows, 2, 500_050), Ok(Some(2)), "{code}");
        assert_eq!(of(&rows, 3, 570_050), Ok(Some(1)), "{code}");
        assert!(of(&rows, 4, 570_050).is_err() && of(&rows, 3, 500_050).is_err(), "{code}");
    }
}

#[test]
fn a_tail_is_as_long_as_it_says() {
    let bank = cfbs(|_| ());
    let mut file = answer(&rows(), 2, 500_050);
    let place = file.windows(16).position(|bytes| bytes == b"1001    00000015").unwrap();
    file[place + 15] = b'6';
    let (_, read) = bank.read_whole(&named(&file), &file).unwrap();
    let reason = "411 bytes and a tail as long as it says expected, 426 found".to_owned();
    let bad = ResultRow::Unparsable { line_no: 3, column: None, reason: reason.clone() };
    assert_eq!(read[1], bad);
    file[place + 15] = b'x';
    assert_eq!(bank.read_whole(&named(&file), &file).unwrap().1[1], bad);
    let mut file = answer(&rows(), 2, 500_050);
    let end = file.iter().position(|byte| *byte == b'\r').unwrap();
    file[end - 3] = b'1';
    let refusal = "malformed, line 1: 277 bytes and a tail as long as it says expected, 279 found";
    assert_eq!(refused(&bank, &file), refusal);
    file.drain(100..end);
    assert_eq!(refused(&bank, &file), "malformed, line 1: 277 bytes and a tail expected, 100 found");
}

#[test]
fn a_request_in_this_layout_is_read_back_as_it_was() {
    let bank = cfbs(|_| ());
    let business_date = NaiveDate::from_ymd_opt(2026, 4, 15).unwrap();
    let head = RequestHead { business_date, run_id: 7, part: 1, batch_date: business_date, batch_no: 1 };
    let item = RequestItem {
        order_no: "P00000000000",
        agreement_no: "A1",
        account_no: "6222990000000001",
        account_name: "欧阳建国",
        amount: yuan("1000"),
    };
    let rendered = bank.render(&head, &[item]);
    assert_eq!(rendered.file_name, "CFBS202604151057-0001.txt");
    let lengths: Vec<usize> = rendered.bytes.split(|byte| *byte == b'\n').map(<[u8]>::len).collect();
    assert_eq!(lengths, [278, 412, 0]);
    let read = bank.parse_back(&rendered.bytes).unwrap();
    assert_eq!((read.count, read.total, read.orders), (1, yuan("1000"), vec![("P00000000000".into(), yuan("1000"))]));
    assert!(bank.read_whole(&named(&rendered.bytes), &rendered.bytes).is_err(), "not taken for its answer");
}

/// A layout with bars that says what was really taken.
fn taken(change: impl Fn(&mut BankSettings)) -> BankFile {
    let gateway = gateway(|settings| {
        let layout = settings.layouts.get_mut("bars").unwrap();
        layout.result.item = ["order_no", "code", "amount_yuan", "deducted_amount_fen"].map(String::from).into();
        layout.result.trailer =
            ["=END", "count", "total_yuan", "success_count", "success_total_yuan"].map(String::from).into();
        change(settings);
    });
    gateway.bank("403").unwrap().clone()
}

#[test]
fn another_sum_than_was_asked_for_is_told_as_the_sum_of_the_row() {
    let bank = taken(|_| ());
    let file = b"P1|0000|10.00|1000\nP2|0000|10.00|400\nP3|9001|10.00|400\nP4|1001|10.00|0\nP5|1001|10.00|\n\
                 P6|0000|10.00|0\nP7|1001|10.00|400\nP8|1001|10.00|1000\nP9|0000|10.00|x\nEND|9|90.00|4|40.00\n";
    let (head, rows) = bank.read_whole("", file).unwrap();
    assert_eq!((head.count, head.total, head.success_count), (9, yuan("90"), Some(4)));
    let told: Vec<Result<String, (Option<u64>, String)>> = rows
        .into_iter()
        .map(|row| match row {
            ResultRow::Read { order_no, amount, .. } => Ok(format!("{order_no} {amount}")),
            ResultRow::Unparsable { column, reason, .. } => Err((column, reason)),
            other => panic!("{other:?}"),
        })
        .collect();
    let read = |text: &str| Ok(text.to_owned());
    let expected = [
        read("P1 10.00"),
        read("P2 4.00"),
        read("P3 4.00"),
        read("P4 10.00"),
        read("P5 10.00"),
        read("P6 0.00"),
        read("P7 4.00"),
        Err((Some(2), "a failure, although the whole amount was taken".into())),
        Err((Some(4), "not a sum of money".into())),
    ];
    assert_eq!(told, expected);
    // Rows of which more or less was taken may be in the bank's count or not; the others must.
    let counted = |count: &str| bank.open(String::from_utf8_lossy(file).replace("|4|40.00", count).as_bytes());
    assert!(counted("|2|24.00").is_ok() && counted("|1|10.00").is_err() && counted("|7|70.00").is_err());
}

#[test]
fn a_file_of_successes_proves_nothing_by_what_is_not_in_it() {
    let bank = taken(|settings| {
        let layout = settings.layouts.get_mut("bars").unwrap();
        layout.result.holds = Some("successes".into());
        layout.result.trailer.clear();
    });
    let (head, rows) = bank.read_whole("", b"P1|0000|10.00|1000\nP2|0000|5.50|\n").unwrap();
    assert_eq!((head.count, head.total, head.covers, rows.len()), (2, yuan("15.50"), Covers::Nothing, 2));
    let cut = "malformed, line 2: the file is cut off: the last line has no end";
    assert_eq!(bank.open(b"P1|0000|10.00|1000\nP2|0000|5.50|").unwrap_err().to_string(), cut);
    let counted = taken(|settings| settings.layouts.get_mut("bars").unwrap().result.holds = Some("successes".into()));
    let (head, _) = counted.read_whole("", b"P1|0000|10.00|\nEND|1|10.00|1|10.00\n").unwrap();
    assert_eq!((head.covers, head.success_count), (Covers::Nothing, Some(1)));
    assert!(counted.open(b"P1|0000|10.00|\nEND|2|20.00|2|20.00\n").is_err());
}

#[test]
fn every_mistake_in_such_a_layout_is_named() {
    let mut settings: BankSettings = toml::from_str(SHIPPED).unwrap();
    let result = &mut settings.layouts.get_mut("cfbs").unwrap().result;
    (result.holds, result.name_length_digits) = (Some("failures".into()), Some(0));
    result.header.swap(0, 15);
    result.item[1] = "settled_at 14".into();
    settings.layouts.get_mut("bars").unwrap().result.item.push("tail_bytes".into());
    let mistakes: Vec<String> =
        BankGateway::from_settings(&settings).unwrap_err().iter().map(LayoutMistake::to_string).collect();
    let expected = [
        "layouts.bars.result.item: 'tail_bytes' is there only where the cells are not separated",
        "layouts.cfbs.result.holds: must be \"all\" or \"successes\"",
        "layouts.cfbs.result.name_length_digits: must be 1 to 12",
        "layouts.cfbs.result.header: 'tail_bytes' must be the last column",
        "layouts.cfbs.result.item: settled_at and settled_on are both there",
    ];
    assert_eq!(mistakes, expected);
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        items in prop::collection::vec(("[A-Z0-9]{1,60}", 0..1_000_000_000_u64, 0..3_usize, "[ -~中文]{0,40}"), 0..20),
    ) {
        let rows: Vec<Answered> = items.iter().map(|(order_no, fen, code, tail)| {
            Answered { tail: tail.clone(), ..made(order_no, *fen, ["0000", "1001", "2001"][*code]) }
        }).collect();
        let failed: Vec<&Answered> = rows.iter().filter(|row| row.code != "0000").collect();
        let file = answer(&rows, failed.len() as u64, failed.iter().map(|row| row.fen).sum());
        let (head, read) = CFBS.read_whole(&named(&file), &file).unwrap();
        prop_assert_eq!(head.count, rows.len() as u64);
        for (row, read) in rows.iter().zip(&read) {
            match read {
                ResultRow::Read { order_no, amount, code, .. } => {
                    prop_assert_eq!((*order_no, amount.fen(), *code), (&*row.order_no, i128::from(row.fen), row.code));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn any_bytes_are_read_without_panic() {
    let (bank, sound) = (cfbs(|_| ()), answer(&rows(), 2, 500_050));
    bolero::check!().with_iterations(10_000).with_type::<(u16, Vec<u8>)>().for_each(|(at, bytes)| {
        let mut changed = sound.clone();
        let from = usize::from(*at) % changed.len();
        for (byte, other) in changed[from..].iter_mut().zip(bytes) {
            *byte = *other;
        }
        let _ = bank.read_whole(&named(&changed), &changed);
        let _ = bank.read_whole(&named(bytes), bytes);
    });
}
