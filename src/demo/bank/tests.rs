use super::answer::yuan;
use super::*;
use chrono::TimeZone;
use encoding_rs::GB18030;

const NAME: &str = "102_20260415_7_0001.txt";

fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 4, 15, 4, 0, 0).unwrap()
}

/// A folder with one request file of so many orders of 1,000 yuan, with or without its flag.
fn folder(orders: u64, flagged: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out/102");
    fs::create_dir_all(&out).unwrap();
    let total = yuan(orders * 100_000);
    let mut text = format!("H,102,20260415,{NAME},{orders},{total}\r\n");
    for no in 1..=orders {
        text += &format!("D,{no},P{no},A{no},6222990000000001,张三,1000.00\r\n");
    }
    text += &format!("T,{orders},{total}\r\n");
    fs::write(out.join(NAME), GB18030.encode(&text).0).unwrap();
    if flagged {
        fs::write(out.join(format!("{NAME}.ok")), "").unwrap();
    }
    folder
}

fn bank(folder: &tempfile::TempDir, seed: u64) -> Bank {
    Bank::new(&folder.path().join("out"), &folder.path().join("in"), seed)
}

fn read(answer: &Answer) -> String {
    let bytes = fs::read(&answer.path).unwrap();
    GB18030.decode_without_bom_handling_and_without_replacement(&bytes).unwrap().into_owned()
}

#[test]
fn an_order_gets_the_verdict_that_was_chosen_for_it() {
    let folder = folder(5, true);
    let mut bank = bank(&folder, 1);
    let verdict = |order_no: &str, fen: u64, agreement_no: &str| match (order_no, fen, agreement_no) {
        ("P2", 100_000, "A2") => Verdict::InsufficientBalance,
        ("P3", ..) => Verdict::Silent,
        ("P4", ..) => Verdict::PaidOtherAmount { fen: 1 },
        ("P5", ..) => Verdict::InDoubt,
        _ => Verdict::Paid,
    };
    let answers = bank.answer_with(noon(), verdict).unwrap();
    let expected = "H,102,20260415,102_20260415_7_0001.txt,4,3000.01,2,1000.01\r\n\
        D,1,P1,1000.00,0000,扣款成功,1022026041570001\
        00000001,20260415120000\r\n\
        D,2,P2,1000.00,1001,账户余额不足,,\r\n\
        D,4,P4,0.01,0000,扣款成功,102202604157000100000004,20260415120000\r\n\
        D,5,P5,1000.00,9001,系统异常,,\r\n\
        T,4,3000.01\r\n";
    assert_eq!(read(&answers[0]), expected);
    assert_eq!(answers[0].path, folder.path().join("in/102/R_102_20260415_7_0001.txt"));
    assert_eq!((answers[0].rows, answers[0].success, answers[0].success_total_fen), (4, 2, 100_001));
    assert_eq!(bank.answer_with(noon(), |_, _, _| Verdict::Paid).unwrap(), []);
}

#[test]
fn an_answer_of_some_size_has_each_oddity_once_and_is_the_same_for_the_same_seed() {
    let folder = folder(200, true);
    let answers = bank(&folder, 3).answer_all(noon()).unwrap();
    let text = read(&answers[0]);
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('D')).collect();
    let distinct: BTreeSet<&str> = rows.iter().copied().collect();
    assert_eq!((rows.len(), distinct.len()), (202, 201));
    let count = |wanted: &str| rows.iter().filter(|row| row.contains(wanted)).count();
    assert_eq!((count(",7777,"), count(",XP"), count(",900.00,")), (1, 1, 0));
    assert_eq!(count(",999.00,0000,"), 1);
    assert!((20..60).contains(&count(",1001,")), "{}", count(",1001,"));
    assert_eq!(read(&bank(&folder, 3).answer_all(noon()).unwrap()[0]), text);
    assert_ne!(read(&bank(&folder, 4).answer_all(noon()).unwrap()[0]), text);
}

#[test]
fn a_request_without_its_flag_is_not_there_yet() {
    assert_eq!(bank(&folder(5, false), 1).answer_all(noon()).unwrap(), []);
    assert_eq!(bank(&tempfile::tempdir().unwrap(), 1).answer_all(noon()).unwrap(), []);
}

#[test]
fn a_request_that_is_not_what_its_flag_or_its_totals_say_is_an_error() {
    let folder = folder(5, true);
    let out = folder.path().join("out/102");
    fs::write(out.join(format!("{NAME}.ok")), format!("{} 5\n", "0".repeat(64))).unwrap();
    assert!(bank(&folder, 1).answer_all(noon()).unwrap_err().to_string().ends_with("has the SHA-256"));
    fs::write(out.join(format!("{NAME}.ok")), "").unwrap();
    let mut bytes = fs::read(out.join(NAME)).unwrap();
    let last = bytes.len() - 3;
    bytes[last] = b'1';
    fs::write(out.join(NAME), bytes).unwrap();
    assert!(bank(&folder, 1).answer_all(noon()).unwrap_err().to_string().ends_with("differ from the items"));
}

#[test]
fn every_bank_and_its_gateway_read_each_others_files() {
    use crate::domain::money::Money;
    use crate::gateway::result::FileEnds;
    use crate::gateway::testing::ReadWhole;
    use crate::gateway::{Answers, BankGateway, RenderRequest, RequestHead, RequestItem, ResultRow};
    let settings = toml::from_str(include_str!("../../../config/gateways/bank.toml")).unwrap();
    let gateway = BankGateway::from_settings(&settings).unwrap();
    let numbers: Vec<String> = (1..=500).map(|no| format!("P{no}")).collect();
    let amount = Money::from_yuan("1000.5").unwrap();
    let item =
        |order_no| RequestItem { order_no, agreement_no: "A", account_no: "6222", account_name: "欧阳 明", amount };
    let items: Vec<RequestItem<'_>> = numbers.iter().map(|no| item(no)).collect();
    let business_date = chrono::NaiveDate::from_ymd_opt(2026, 4, 15).unwrap();
    for format in gateway.banks() {
        let bank_code = format.bank_code();
        let rendered = format
            .render(&RequestHead { business_date, run_id: 7, part: 1, batch_date: business_date, batch_no: 1 }, &items);
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out").join(bank_code);
        fs::create_dir_all(&out).unwrap();
        fs::write(out.join(&rendered.file_name), &rendered.bytes).unwrap();
        fs::write(out.join(format!("{}.ok", rendered.file_name)), "").unwrap();
        let answer = bank(&folder, 1).answer_all(noon()).unwrap().remove(0);
        let bytes = fs::read(&answer.path).unwrap();
        let head = format.open(&bytes).unwrap();
        assert_eq!((head.count, head.success_count), (answer.rows, Some(answer.success)), "{bank_code}");
        assert_eq!(head.request_file_name.as_deref(), Some(&*rendered.file_name), "{bank_code}");
        assert_eq!(
            gateway.bank_of_result(&FileEnds::of(&mut std::io::Cursor::new(&bytes)).unwrap()).unwrap().bank_code(),
            bank_code
        );
        let read = format.rows(&bytes).filter(|row| matches!(row, ResultRow::Read { .. })).count();
        assert_eq!((answer.rows, read), (502, 502), "{bank_code}");
        // Neither takes the other's file, nor its own, for the one that it reads.
        assert!(format.open(&rendered.bytes).is_err(), "{bank_code}");
        for other in gateway.banks().filter(|other| other.bank_code() != bank_code) {
            assert!(other.open(&bytes).is_err(), "{} reads a file of {bank_code}", other.bank_code());
        }
    }
}

/// The example of that name in the format's page, with the line ends of the file.
fn example(name: &str) -> String {
    let page = include_str!("../../../docs/BANK-FILE.md");
    let (_, after) = page.split_once(&format!("```{name}\n")).unwrap();
    after.split_once("```").unwrap().0.replace('\n', "\r\n")
}

#[test]
fn the_examples_of_the_formats_page_are_what_everybody_reads_and_writes() {
    use crate::domain::money::Money;
    use crate::gateway::testing::ReadWhole;
    use crate::gateway::{BankGateway, RenderRequest, RequestHead, RequestItem};
    let settings = toml::from_str(include_str!("../../../config/gateways/bank.toml")).unwrap();
    let gateway = BankGateway::from_settings(&settings).unwrap();
    let format = gateway.bank("102").unwrap();
    let text = example("request");
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    let items: Vec<RequestItem<'_>> = lines[1..lines.len() - 1]
        .iter()
        .map(|cells| RequestItem {
            order_no: cells[2],
            agreement_no: cells[3],
            account_no: cells[4],
            account_name: cells[5],
            amount: Money::from_yuan(cells[6]).unwrap(),
        })
        .collect();
    let business_date = chrono::NaiveDate::from_ymd_opt(2026, 4, 15).unwrap();
    let rendered = format
        .render(&RequestHead { business_date, run_id: 7, part: 1, batch_date: business_date, batch_no: 1 }, &items);
    assert_eq!(GB18030.decode_without_bom_handling(&rendered.bytes).0, text);

    let result = example("result");
    assert_eq!(format.open(&GB18030.encode(&result).0).unwrap().count, 3);
    let folder = folder(0, true);
    let out = folder.path().join("out/102");
    fs::write(out.join(NAME), &rendered.bytes).unwrap();
    let digest: String = Sha256::digest(&rendered.bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(out.join(format!("{NAME}.ok")), format!("{digest} 3\n")).unwrap();
    let verdict = |order_no: &str, _: u64, _: &str| match order_no {
        "P0000000002" => Verdict::InsufficientBalance,
        "P0000000003" => Verdict::AccountClosed,
        _ => Verdict::Paid,
    };
    let answers = bank(&folder, 1).answer_with(noon(), verdict).unwrap();
    let own = ["102202604157000100000001", "20260415120000"];
    let expected = result.replace("10220260415000001", own[0]).replace("20260415093000", own[1]);
    assert_eq!(read(&answers[0]), expected);
}
