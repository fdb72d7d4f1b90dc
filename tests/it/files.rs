//! Request files: their bytes, how they are cut, and how they are handed over whatever a crash has left.

use pikou::crypt::Purpose;
use pikou::crypt::hex;
use pikou::stages::{deliver, lease};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::*;

const NAME: &str = "102_20260415_1_0001.txt";

fn at_bank(payer: &str, bank: &str, name: &str) -> Vec<Value> {
    let fields = json!({"bank_code": bank, "account_name": name});
    vec![
        enrolment(payer),
        agreement_with(payer, &format!("agree-{payer}"), "2026-01-06T00:00:00Z", fields),
        amount_set(payer, &format!("set-{payer}"), "2026-04-02T00:00:00Z", "1500.50"),
    ]
}

/// `bank part state items total` of every file, and the run's `state withdrawn`.
async fn files_and_run(place: &Place) -> Vec<String> {
    let files = "SELECT concat_ws(' ', bank_code, part, state, items, total) FROM request_files ORDER BY lane, part";
    let run = "SELECT 'run ' || state || ' ' || withdrawn FROM runs";
    [place.texts(files).await, place.texts(run).await].concat()
}

#[tokio::test]
async fn a_request_file_has_these_very_bytes_and_its_flag_says_so() {
    let place = Place::new().await;
    place
        .take(&[at_bank("P1", "102", "张三"), at_bank("P2", "102", "𠮷田 明"), at_bank("P3", "105", "李四")].concat())
        .await;
    place.run().await;
    let bytes = |text: &str| encoding_rs::GB18030.encode(text).0.into_owned();
    let of_102 = bytes(
        "H,102,20260415,102_20260415_1_0001.txt,2,3001.00\r\n\
         D,1,P000000100100000001,AP1,6222P1,张三,1500.50\r\n\
         D,2,P000000100100000002,AP2,6222P2,𠮷田 明,1500.50\r\n\
         T,2,3001.00\r\n",
    );
    let of_105 = bytes(
        "H,105,20260415,105_20260415_1_0001.txt,1,1500.50\r\n\
         D,1,P000000100400000001,AP3,6222P3,李四,1500.50\r\n\
         T,1,1500.50\r\n",
    );
    assert_eq!(place.request_files("102"), [(NAME.to_owned(), of_102.clone())]);
    assert_eq!(place.request_files("105"), [("105_20260415_1_0001.txt".to_owned(), of_105)]);
    assert_eq!(folder(&place), [NAME.to_owned(), format!("{NAME}.ok")], "and nothing else lies there");
    let flag = std::fs::read_to_string(place.outbox("102").join(format!("{NAME}.ok"))).unwrap();
    assert_eq!(flag, format!("{} 2\n", hex(&Sha256::digest(&of_102))));
    assert_eq!(files_and_run(&place).await, ["102 1 delivered 2 3001.00", "105 1 delivered 1 1500.50", "run sent 0"]);
    let told = place.data_of("request_file.delivered").await;
    let wanted = json!({"run_id": 1, "gateway": "bank", "bank_code": "102", "file_name": NAME, "items": 2,
        "total": "3001.00", "sha256": hex(&Sha256::digest(&of_102))});
    // Files of different banks are delivered at the same time: nobody promises which is told first.
    assert!(told.len() == 2 && told.contains(&wanted), "{told:#?}");
}

#[tokio::test]
async fn a_run_fills_as_many_files_as_it_needs_and_loses_no_item() {
    let place = Place::with(&[("PIKOU__GATEWAYS__BANK__ITEMS_MAX", "2")]).await;
    let payers: Vec<String> = (1..=6).map(|n| format!("P{n}")).collect();
    place.take(&payers.iter().flat_map(|payer| at_bank(payer, "102", "张三")).collect::<Vec<_>>()).await;
    let lease = place.plan().await;
    // One in the middle goes: its file is smaller, and the others hold what they would have held.
    place.take(&[amount_voided("P2", "void", "2026-04-15T00:30:00Z")]).await;
    place.seal(lease).await;
    place.deliver(lease).await;
    let wanted = ["102 1 delivered 1 1500.50", "102 2 delivered 2 3001.00", "102 3 delivered 2 3001.00", "run sent 1"];
    assert_eq!(files_and_run(&place).await, wanted);
    let items: Vec<Vec<String>> = place
        .request_files("102")
        .iter()
        .map(|(_, bytes)| {
            let text = encoding_rs::GB18030.decode(bytes).0.into_owned();
            text.lines().filter_map(|line| Some(line.strip_prefix("D,")?.split(',').nth(2)?.to_owned())).collect()
        })
        .collect();
    assert_eq!(items, [vec!["AP1"], vec!["AP3", "AP4"], vec!["AP5", "AP6"]]);
    assert_eq!(
        place.count("SELECT count(*) FROM attempt_status WHERE status = 'sent' AND file_name IS NOT NULL").await,
        5
    );
    place.account().await;
}

#[tokio::test]
async fn an_item_that_the_file_cannot_carry_is_withdrawn_and_the_others_go() {
    let place = Place::with(&[("PIKOU__GATEWAYS__BANK__LAYOUTS__STANDARD__ENCODING", "gbk")]).await;
    let names = [("P1", "张三"), ("P2", "𠮷田 明"), ("P3", "张,三"), ("P4", "李四")];
    place.take(&names.iter().flat_map(|(payer, name)| at_bank(payer, "102", name)).collect::<Vec<_>>()).await;
    let run_id = place.run().await;
    let wanted =
        ["P1 1500.50 sent", "P2 1500.50 withdrawn unencodable", "P3 1500.50 withdrawn unencodable", "P4 1500.50 sent"];
    assert_eq!(place.attempts_of(run_id).await, wanted);
    assert_eq!(files_and_run(&place).await, ["102 1 delivered 2 3001.00", "run sent 2"]);
    assert_eq!(place.told_of("P000000100100000002").await, ["deduction.planned", "deduction.withdrawn"]);
    assert_eq!(place.data_of("deduction.withdrawn").await[0]["reason"], "unencodable");
    let declared = ["declaration.accepted", "declaration.paying", "declaration.payable_again"];
    assert_eq!(place.told_of("D000000100100000002").await, declared);
    let text = encoding_rs::GBK.decode(&place.request_files("102")[0].1).0.into_owned();
    assert!(text.contains("D,2,P000000100100000004") && !text.contains('?'), "{text}");
    place.account().await;
}

#[tokio::test]
async fn a_file_of_which_nothing_is_left_is_empty_and_the_run_still_ends() {
    let place = Place::new().await;
    place.take(&at_bank("P1", "102", "张,三")).await;
    let run_id = place.run().await;
    assert_eq!(files_and_run(&place).await, ["102 1 empty", "run closed 1"]);
    assert_eq!(place.attempts_of(run_id).await, ["P1 1500.50 withdrawn unencodable"]);
    assert_eq!(folder(&place), Vec::<String>::new());
    place.account().await;
}

/// What lies in bank 102's folder.
fn folder(place: &Place) -> Vec<String> {
    let paths = read_folder(&place.outbox("102"));
    paths.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

/// A file that lies in the folder when the worker comes back.
#[derive(Clone, Copy)]
enum Lies {
    Ours(&'static str),
    CutShort(&'static str),
    Foreign(&'static str),
}

/// State in the book, what lies in the folder, whether the bank refuses a name it has seen; then for which reason the
/// file is held back, if it is, and what lies there afterwards.
type Case = (&'static str, &'static [Lies], bool, Option<&'static str>, Vec<String>);

const INTERRUPTED: &str = "the hand-over was interrupted, and the bank may have taken the file";
const OTHER: &str = "another file lies under its name";

#[tokio::test]
async fn after_a_crash_what_lies_in_the_folder_says_how_far_the_hand_over_came() {
    use Lies::*;
    let ours = || vec![NAME.to_owned(), format!("{NAME}.ok")];
    let names = |ends: &[&str]| ends.iter().map(|end| format!("{NAME}{end}")).collect::<Vec<_>>();
    let cases: [Case; 17] = [
        ("sealed", &[], false, None, ours()),
        ("sealed", &[CutShort(".2.part")], false, None, ours()),
        ("sealed", &[Foreign("")], false, Some(OTHER), names(&["", ".3.part"])),
        ("delivering", &[Ours("")], false, None, ours()),
        ("delivering", &[Ours(""), Foreign(".ok")], false, None, ours()),
        ("delivering", &[Ours(""), CutShort(".ok.2.part")], false, None, ours()),
        ("delivering", &[Ours(".2.part")], false, None, ours()),
        ("delivering", &[CutShort(".2.part")], false, None, ours()),
        // Taken over once before.
        ("delivering", &[Ours(".3.part")], false, None, ours()),
        // Written by a worker that had lost the run by then, or for a decision that was never committed.
        ("delivering", &[Ours(".1.part")], false, Some(INTERRUPTED), vec![]),
        ("delivering", &[Ours(".part")], false, Some(INTERRUPTED), names(&[".part"])),
        ("delivering", &[Ours(".2.draft.part")], false, Some(INTERRUPTED), vec![]),
        ("delivering", &[], false, Some(INTERRUPTED), vec![]),
        ("delivering", &[], true, None, ours()),
        ("delivering", &[Foreign("")], false, Some(OTHER), names(&[""])),
        ("delivering", &[Foreign("")], true, Some(OTHER), names(&[""])),
        ("delivering", &[CutShort("")], false, Some(OTHER), names(&[""])),
    ];
    for (number, (state, lies, refuses, held, left)) in cases.into_iter().enumerate() {
        let place =
            Place::with(&[("PIKOU__GATEWAYS__BANK__REFUSES_REPEATED_NAMES", if refuses { "true" } else { "false" })])
                .await;
        place.take(&at_bank("P1", "102", "张三")).await;
        let lease = place.plan().await;
        place.seal(lease).await;
        let bytes = sealed_bytes(&place).await;
        // The file became delivering under the second lease; now somebody has the third.
        if state == "delivering" {
            let sql = "UPDATE request_files SET state = 'delivering', delivering_at = now(), delivery_epoch = 2";
            sqlx::query(sql).execute(&place.ctx.pool).await.unwrap();
        }
        sqlx::query("UPDATE runs SET lease_epoch = 3").execute(&place.ctx.pool).await.unwrap();
        let lease = lease::take(&place.ctx, lease.run_id).await.unwrap().unwrap();
        assert_eq!(lease.epoch, 3);
        let folder_path = place.outbox("102");
        std::fs::create_dir_all(&folder_path).unwrap();
        for lie in lies {
            let (end, content) = match lie {
                Ours(end) => (end, &bytes[..]),
                CutShort(end) => (end, &bytes[..bytes.len() / 2]),
                Foreign(end) => (end, &b"not ours"[..]),
            };
            std::fs::write(folder_path.join(format!("{NAME}{end}")), content).unwrap();
        }
        let (delivered, waiting) = deliver::deliver(&place.ctx, lease).await.unwrap();
        assert_eq!((delivered, waiting.len()), if held.is_some() { (0, 1) } else { (1, 0) }, "case {number}");
        assert_eq!(folder(&place), left, "case {number}");
        let book = "SELECT state || COALESCE(': ' || held_reason, '') FROM request_files";
        let wanted = held.map_or_else(|| "delivered".to_owned(), |reason| format!("delivering: {reason}"));
        assert_eq!(place.texts(book).await, [wanted], "case {number}");
        assert_eq!(place.texts("SELECT state FROM runs").await, [if held.is_some() { "sealed" } else { "sent" }]);
        if held.is_some() {
            // A person finds that it did go out, and puts it where it belongs: that settles it.
            assert_eq!(deliver::deliver(&place.ctx, lease).await.unwrap().0, 0, "case {number}: it goes on waiting");
            assert_eq!(folder(&place), left, "case {number}: untouched");
            std::fs::write(folder_path.join(NAME), &bytes).unwrap();
            assert_eq!(deliver::deliver(&place.ctx, lease).await.unwrap().0, 1, "case {number}");
            assert_eq!(place.texts(book).await, ["delivered"], "case {number}");
        }
        let legacy = left.iter().any(|name| name.ends_with(".txt.part"));
        let lies: Vec<String> =
            folder(&place).into_iter().filter(|name| !legacy || !name.ends_with(".txt.part")).collect();
        assert_eq!(lies, ours(), "case {number}: and nothing else lies there");
        assert_eq!(
            place.request_files("102"),
            [(NAME.to_owned(), bytes)],
            "case {number}: byte for byte what was sealed"
        );
        assert_eq!(deliver::deliver(&place.ctx, lease).await.unwrap().0, 0, "case {number}: once");
        assert_eq!(place.data_of("request_file.delivered").await.len(), 1, "case {number}");
        place.account().await;
    }
}

async fn sealed_bytes(place: &Place) -> Vec<u8> {
    let sealed: Vec<u8> =
        sqlx::query_scalar("SELECT content FROM request_files").fetch_one(&place.ctx.pool).await.unwrap();
    place.ctx.keys.open(Purpose::FileContent, &sealed).unwrap()
}

#[tokio::test]
async fn a_file_whose_bytes_are_not_those_of_its_hash_never_goes_out() {
    let place = Place::new().await;
    place.take(&at_bank("P1", "102", "张三")).await;
    let lease = place.plan().await;
    place.seal(lease).await;
    let other = place.ctx.keys.current().seal(Purpose::FileContent, b"other bytes");
    // Only who switches the guards off can do that.
    for sql in ["ALTER TABLE request_files DISABLE TRIGGER USER", "UPDATE request_files SET content = $1"] {
        let query = sqlx::query(sql);
        let query = if sql.contains("$1") { query.bind(&other) } else { query };
        query.execute(&place.ctx.pool).await.unwrap();
    }
    let error = deliver::deliver(&place.ctx, lease).await.unwrap_err();
    assert!(!error.helps_later() && error.to_string().contains("not those of its hash"), "{error}");
    assert_eq!(folder(&place), Vec::<String>::new());
}
