//! Whole files: repeated, renamed, refused, mended; and what a void has to do with them.

use pikou::stages::reconcile::Outcome;
use pikou::store::result_files;
use sha2::{Digest, Sha256};

use crate::support::*;

const REQUEST: &str = "102_20260415_1_0001.txt";

fn order(number: usize) -> String {
    format!("P0000001001{number:08}")
}

/// P1 and P2 are sent to the bank.
async fn sent() -> Place {
    let place = Place::new().await;
    let messages: Vec<_> = ["P1", "P2"].iter().flat_map(|payer| ready(payer, "1500.00")).collect();
    place.take(&messages).await;
    place.run().await;
    place
}

/// P1 has paid, P2 could not.
fn answer() -> Vec<u8> {
    result_file(REQUEST, &[Row::paid(&order(1), "1500.00"), Row::failed(&order(2), "1500.00", "1001")])
}

/// Everything a result file may change, but for the file's own row.
async fn effects(place: &Place) -> Vec<String> {
    place.account().await;
    let mut all = place.attempts().await;
    all.extend(
        place.texts("SELECT declaration_no || ' ' || state || ' ' || sequence FROM declarations ORDER BY 1").await,
    );
    all.extend(place.texts("SELECT order_no || ' ' || amount FROM settlements ORDER BY 1").await);
    all.extend(place.texts("SELECT order_no || ' ' || code FROM attempt_outcomes ORDER BY 1").await);
    all.extend(place.texts("SELECT kind || ' ' || COALESCE(order_no, '') FROM discrepancies ORDER BY 1").await);
    all
}

fn counts(outcome: &Outcome) -> (&'static str, [Option<i64>; 4]) {
    let file = outcome.file();
    (outcome.as_str(), [file.rows, file.applied, file.repeated, file.discrepancies])
}

#[tokio::test]
async fn the_same_file_again_has_no_effect_under_any_name_and_with_any_line_ends() {
    let place = sent().await;
    let first = place.reconcile("R1.txt", &answer()).await;
    assert_eq!(counts(&first), ("applied", [Some(2), Some(2), Some(0), Some(0)]));
    let (after, told) = (effects(&place).await, place.told().await.len());
    for name in ["R1.txt", "renamed.txt"] {
        let again = place.reconcile(name, &answer()).await;
        assert_eq!(counts(&again), ("repeated", [Some(2), Some(2), Some(0), Some(0)]), "{name}");
    }
    assert_eq!((effects(&place).await, place.told().await.len()), (after.clone(), told));
    // Other bytes that say the same: a file of its own, every row of which is known.
    let unix: Vec<u8> = answer().into_iter().filter(|byte| *byte != b'\r').collect();
    let variant = place.reconcile("unix.txt", &unix).await;
    assert_eq!(counts(&variant), ("applied", [Some(2), Some(0), Some(2), Some(0)]));
    assert_eq!(effects(&place).await, after);
}

#[tokio::test]
async fn a_known_name_with_other_bytes_is_a_new_file_and_flagged() {
    let place = sent().await;
    place.reconcile("R1.txt", &result_file(REQUEST, &[Row::paid(&order(1), "1500.00")])).await;
    let second = place.reconcile("R1.txt", &result_file(REQUEST, &[Row::paid(&order(2), "1500.00")])).await;
    assert_eq!(counts(&second), ("applied", [Some(1), Some(1), Some(0), Some(0)]));
    assert_eq!(place.attempts().await, ["P1 succeeded", "P2 succeeded"]);
    let flagged =
        place.texts("SELECT kind || ' ' || result_file_id || ' ' || COALESCE(line_no, 0) FROM discrepancies").await;
    assert_eq!(flagged, [format!("name_reused {} 0", second.file().result_file_id)]);
    place.account().await;
}

#[tokio::test]
async fn a_file_cut_off_anywhere_is_refused_whole_and_kept() {
    let place = sent().await;
    let before = effects(&place).await;
    let whole = answer();
    let ends: Vec<usize> = (1..whole.len()).filter(|at| whole[at - 1] == b'\n').collect();
    assert_eq!(ends.len(), 3, "four lines, the last one's end is the file's");
    let trailer = ends[2] + 3;
    for cut in [0, 5].into_iter().chain(ends).chain([trailer]) {
        let outcome = place.reconcile("R1.txt", &whole[..cut]).await;
        assert!(matches!(outcome, Outcome::Refused(_)), "cut at {cut}: {}", outcome.as_str());
        assert_eq!(outcome.file().refused_as.as_deref(), Some("malformed"), "cut at {cut}");
        let id = outcome.file().result_file_id;
        let mut connection = place.ctx.pool.acquire().await.unwrap();
        let kept = pikou::store::result_files::piece(&mut connection, id, 1).await.unwrap().unwrap_or_default();
        assert!(cut < 5 || !kept.windows(cut).any(|window| *window == whole[..cut]), "the bytes are encrypted");
        let mut opened = Vec::new();
        if cut > 0 {
            opened = place.ctx.keys.open(pikou::crypt::Purpose::FileContent, &kept).unwrap();
        }
        assert_eq!(opened, whole[..cut], "kept byte for byte");
        let told = place.told().await.pop();
        assert_eq!(told, Some(("result_file.refused".into(), id.to_string(), 1)));
    }
    assert_eq!(effects(&place).await, before);
    // The mended file has the refused ones' name, and that is nobody's business.
    let mended = place.reconcile("R1.txt", &whole).await;
    assert_eq!(counts(&mended), ("applied", [Some(2), Some(2), Some(0), Some(0)]));
    assert_eq!(place.count("SELECT count(*) FROM discrepancies").await, 0);
    assert_eq!(place.attempts().await, ["P1 succeeded", "P2 failed"]);
}

#[tokio::test]
async fn one_bad_row_becomes_a_discrepancy_with_its_line_and_the_others_are_applied() {
    let place = sent().await;
    let rows = [Row::paid("bad order", "1500.00"), Row::paid(&order(2), "1500.00")];
    let outcome = place.reconcile("R1.txt", &result_file(REQUEST, &rows)).await;
    assert_eq!(counts(&outcome), ("applied", [Some(2), Some(1), Some(0), Some(1)]));
    assert_eq!(place.attempts().await, ["P1 sent", "P2 succeeded"]);
    let wrong = place.texts("SELECT kind || ' ' || line_no || ' ' || detail FROM discrepancies").await;
    assert_eq!(wrong, ["unparsable_row 2 column 3: not an order number"]);
    place.account().await;
}

#[tokio::test]
async fn totals_that_are_not_those_of_the_rows_refuse_the_whole_file() {
    let place = sent().await;
    let before = effects(&place).await;
    let text = encoding_rs::GB18030.decode(&answer()).0.into_owned();
    let header = "102_20260415_1_0001.txt,2,3000.00,1,1500.00";
    assert!(text.contains(header) && text.ends_with("T,2,3000.00\r\n"));
    for (from, to) in [
        (header, "102_20260415_1_0001.txt,3,3000.00,1,1500.00"),
        (header, "102_20260415_1_0001.txt,2,3000.01,1,1500.00"),
        (header, "102_20260415_1_0001.txt,2,3000.00,2,1500.00"),
        (header, "102_20260415_1_0001.txt,2,3000.00,1,1499.99"),
        ("T,2,3000.00", "T,1,3000.00"),
        ("T,2,3000.00", "T,2,2999.00"),
    ] {
        let changed = encoding_rs::GB18030.encode(&text.replace(from, to)).0.into_owned();
        let outcome = place.reconcile("R1.txt", &changed).await;
        assert_eq!(outcome.file().refused_as.as_deref(), Some("totals_differ"), "{to}");
    }
    assert_eq!(effects(&place).await, before);
    assert_eq!(place.count("SELECT count(*) FROM result_files WHERE state = 'refused'").await, 6);
}

#[tokio::test]
async fn a_file_from_the_wrong_inbox_is_applied_when_it_comes_to_the_right_one() {
    let place = sent().await;
    let other = place.ctx.settings.bank.bank("103").unwrap();
    let wrong = pikou::stages::reconcile::reconcile(&place.ctx, other, "R1.txt", &answer()[..]).await.unwrap();
    assert_eq!((wrong.as_str(), wrong.file().refused_as.as_deref()), ("refused", Some("wrong_file")));
    let right = place.reconcile("R1.txt", &answer()).await;
    assert_eq!(counts(&right), ("applied", [Some(2), Some(2), Some(0), Some(0)]));
    assert_eq!(right.file().bank_code, "102");
    assert_eq!(place.attempts().await, ["P1 succeeded", "P2 failed"]);
}

#[tokio::test]
async fn an_order_of_one_bank_in_a_file_of_another_is_unknown() {
    let place = sent().await;
    let other = place.ctx.settings.bank.bank("103").unwrap();
    let text = encoding_rs::GB18030.decode(&answer()).0.replacen("H,102,", "H,103,", 1);
    let bytes = encoding_rs::GB18030.encode(&text).0.into_owned();
    let outcome = pikou::stages::reconcile::reconcile(&place.ctx, other, "R1.txt", &bytes[..]).await.unwrap();
    assert_eq!(counts(&outcome), ("applied", [Some(2), Some(0), Some(0), Some(2)]));
    assert_eq!(place.attempts().await, ["P1 sent", "P2 sent"]);
    let kinds =
        place.texts("SELECT kind || ' ' || bank_code || ' ' || COALESCE(payer_id, '-') FROM discrepancies").await;
    assert_eq!(kinds, ["unknown_order 103 -", "unknown_order 103 -"]);
}

#[tokio::test]
async fn a_result_that_came_before_its_order_was_sent_does_not_stand_for_the_one_after() {
    let place = Place::new().await;
    place.take(&ready("P1", "1500.00")).await;
    let lease = place.plan().await;
    let answer = |name: &str| result_file(name, &[Row::paid(&order(1), "1500.00")]);
    let early = place.reconcile("R0.txt", &answer("early.txt")).await;
    assert_eq!(counts(&early), ("applied", [Some(1), Some(0), Some(0), Some(1)]));
    place.seal(lease).await;
    place.deliver(lease).await;
    assert_eq!(place.attempts().await, ["P1 sent"]);
    let proper = place.reconcile("R1.txt", &answer(REQUEST)).await;
    assert_eq!(counts(&proper), ("applied", [Some(1), Some(1), Some(0), Some(0)]));
    assert_eq!(place.attempts().await, ["P1 succeeded"]);
    assert_eq!(place.texts("SELECT kind FROM discrepancies").await, ["unknown_order"]);
    place.account().await;
}

#[tokio::test]
async fn money_taken_for_a_deduction_voided_in_time_is_paid_after_void() {
    let place = Place::new().await;
    let messages: Vec<_> = ["P1", "P2"].iter().flat_map(|payer| ready(payer, "1500.00")).collect();
    place.take(&messages).await;
    let lease = place.plan().await;
    place.take(&[amount_voided("P1", "void-P1", "2026-04-15T00:30:00Z")]).await;
    place.seal(lease).await;
    place.deliver(lease).await;
    assert_eq!(place.attempts().await, ["P1 withdrawn voided", "P2 sent"]);
    let first = place.reconcile("R1.txt", &answer()).await;
    assert_eq!(counts(&first), ("applied", [Some(2), Some(1), Some(0), Some(1)]));
    assert_eq!(effects(&place).await[0], "P1 withdrawn voided");
    let kinds = "SELECT kind || ' ' || order_no || ' ' || payer_id FROM discrepancies";
    assert_eq!(place.texts(kinds).await, [format!("paid_after_void {} P1", order(1))]);
    assert_eq!(place.count("SELECT count(*) FROM settlements").await, 0);
}

#[tokio::test]
async fn a_success_of_a_deduction_voided_after_the_seal_stands_and_a_failure_is_not_tried_again() {
    let place = sent().await;
    let voids = ["P1", "P2"].map(|payer| amount_voided(payer, &format!("void-{payer}"), "2026-04-15T02:00:00Z"));
    place.take(&voids).await;
    let told = place.told().await.len();
    place.reconcile("R1.txt", &answer()).await;
    assert_eq!(place.attempts().await, ["P1 succeeded", "P2 failed"]);
    let states = place.texts("SELECT state FROM declarations ORDER BY declaration_no").await;
    assert_eq!(states, ["paying", "voided"], "the payment stands; what a run filed is voided with its failure");
    assert_eq!(place.count("SELECT count(*) FROM discrepancies").await, 0);
    let kinds: Vec<String> = place.told().await.split_off(told).into_iter().map(|(kind, _, _)| kind).collect();
    assert_eq!(
        kinds,
        [
            "deduction.succeeded",
            "payment.recorded",
            "declaration.paid",
            "deduction.failed",
            "declaration.voided",
            "result_file.applied",
            "run.closed"
        ]
    );
    let again = chrono::NaiveDate::from_ymd_opt(2026, 5, 15).unwrap();
    place.plan_on(again).await;
    let skips = place.texts("SELECT payer_id || ' ' || reason FROM run_skips ORDER BY payer_id").await;
    assert_eq!(skips, ["P1 voided", "P2 voided"]);
}

#[tokio::test]
async fn a_doubt_about_a_row_that_says_paid_does_not_tell_the_payer_so() {
    let place = sent().await;
    let rows = [Row::paid(&order(1), "1400.00"), Row::failed(&order(2), "1500.00", "9001")];
    place.reconcile("R1.txt", &result_file(REQUEST, &rows)).await;
    let events = place.events().await;
    let unknown = events.iter().filter(|event| event["type"] == "pikou.deduction.unknown.v1");
    let said: Vec<_> = unknown.map(|event| (event["data"]["code"].clone(), event["data"]["reason"].clone())).collect();
    assert_eq!(said, [("0000".into(), serde_json::Value::Null), ("9001".into(), "银行系统异常,扣款结果未知".into())]);
}

#[tokio::test]
async fn a_file_left_by_a_dead_worker_is_applied_and_one_of_a_lost_bank_does_not_stop_it() {
    let place = sent().await;
    let settings = &place.ctx.settings;
    let keep = async |bank_code: &str, bytes: &[u8]| {
        let content = place.ctx.keys.current().seal(pikou::crypt::Purpose::FileContent, bytes);
        let mut connection = place.ctx.pool.acquire().await.unwrap();
        let now = place.ctx.clock.now();
        let hash = Sha256::digest(bytes);
        let kept = result_files::find_or_keep(&mut connection, "bank", bank_code, "R.txt", &hash, now).await.unwrap();
        result_files::keep_piece(&mut connection, kept.0.result_file_id, 1, &content).await.unwrap();
    };
    assert!(settings.bank.bank("999").is_none());
    keep("999", b"of a bank that is gone").await;
    keep("102", &answer()).await;
    let outcomes = pikou::stages::reconcile::resume(&place.ctx).await.unwrap();
    assert_eq!(outcomes.iter().map(Outcome::as_str).collect::<Vec<_>>(), ["applied"]);
    assert_eq!(place.attempts().await, ["P1 succeeded", "P2 failed"]);
    assert_eq!(place.texts("SELECT state FROM result_files ORDER BY 1").await, ["applied", "received"]);
}
