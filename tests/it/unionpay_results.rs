//! UnionPay answers: a run with a bank and UnionPay from its plan to its end, what is refused and leaves the book as it
//! was, and where the files are found.

use std::path::PathBuf;

use pikou::demo::bank::{Bank, Unionpay, Verdict};
use pikou::stages::reconcile::{self, Outcome};
use pikou::worker::inboxes::Inboxes;
use serde_json::{Value, json};

use crate::process::Pikou;
use crate::support::*;

const MERCHANT: (&str, &str) = ("PIKOU__GATEWAYS__UNIONPAY__BATCH__MERCHANT_ID", "777290058110097");
const RESULT: &str = "DK00000000777290058110097202604150001O.txt";
const SETTLED: &str = "2026-04-16T10:15:00+08:00";

fn with_a_card(payer: &str) -> Vec<Value> {
    let mut messages = ready(payer, "1500.00");
    let fields = json!({"gateway": "unionpay", "bank_code": "102", "account_name": "欧阳建国"});
    messages.push(agreement_with(payer, &format!("card-{payer}"), "2026-01-07T00:00:00Z", fields));
    messages
}

fn order(number: usize) -> String {
    format!("P0000001007{number:08}")
}

fn unionpay(place: &Place) -> Unionpay {
    let settings = &place.ctx.settings;
    let to = settings.unionpay.as_ref().expect("a merchant is configured");
    Unionpay::new(&settings.outbox(to), &settings.inbox(to), "utf-8", 1)
}

/// So many payers have been sent to UnionPay.
async fn sent(count: usize) -> Place {
    let place = Place::with(&[MERCHANT]).await;
    place.take(&(1..=count).flat_map(|number| with_a_card(&format!("P{number}"))).collect::<Vec<_>>()).await;
    place.run().await;
    place
}

/// The bytes of UnionPay's answer.
fn answer(place: &Place, verdict: impl FnMut(&str, u64) -> Verdict) -> Vec<u8> {
    let answers = unionpay(place).answer_with(at(SETTLED), verdict).unwrap();
    assert_eq!(answers.len(), 1);
    let bytes = std::fs::read(&answers[0].path).unwrap();
    std::fs::remove_file(&answers[0].path).unwrap();
    bytes
}

async fn take(place: &Place, name: &str, bytes: &[u8]) -> Outcome {
    let from = place.ctx.settings.unionpay.as_ref().unwrap();
    reconcile::reconcile(&place.ctx, from, name, bytes).await.unwrap()
}

/// Outcome, and the counts of the rows or why it is refused.
fn told(outcome: &Outcome) -> String {
    let file = outcome.file();
    match &file.refused_as {
        Some(kind) => format!("{} {kind}: {}", outcome.as_str(), file.refused_reason.as_deref().unwrap()),
        None => {
            let counts = [file.rows, file.applied, file.repeated, file.discrepancies].map(Option::unwrap);
            format!("{} {counts:?}", outcome.as_str())
        }
    }
}

/// Everything that a result changes.
async fn book(place: &Place) -> Vec<String> {
    place.account().await;
    let mut all = place.attempts().await;
    for sql in [
        "SELECT order_no || ' paid by ' || concat_ws('/', gateway, bank_code) || ' ' || gateway_txn_no || ' ' ||
                to_char(settled_at AT TIME ZONE 'Asia/Shanghai', 'YYYY-MM-DD HH24:MI') FROM settlements ORDER BY 1",
        "SELECT kind || ' ' || COALESCE(order_no, '-') || ' ' || concat_ws('/', gateway, bank_code) FROM discrepancies ORDER BY discrepancy_id",
        "SELECT 'run ' || state FROM runs",
    ] {
        all.extend(place.texts(sql).await);
    }
    all
}

#[tokio::test]
async fn a_run_with_a_bank_and_unionpay_is_planned_sealed_delivered_answered_and_closed() {
    let place = Place::with(&[MERCHANT]).await;
    let mut messages: Vec<Value> = (1..=6).flat_map(|number| with_a_card(&format!("P{number}"))).collect();
    messages.extend(ready("P7", "2000.00"));
    place.take(&messages).await;
    place.run().await;
    let settings = &place.ctx.settings;
    let bank_folders = [settings.bank.outbox(), settings.bank.inbox()].map(|folder| settings.data_folder.join(folder));
    let mut bank = Bank::new(&bank_folders[0], &bank_folders[1], 1);
    bank.answer_with(at(SETTLED), |_, _, _| Verdict::Paid).unwrap();
    let mut first = unionpay(&place);
    let verdicts = [
        Verdict::Paid,
        Verdict::InsufficientBalance,
        Verdict::AccountClosed,
        Verdict::InDoubt,
        Verdict::UnknownCode,
        Verdict::PaidOtherAmount { fen: 149_999 },
    ];
    let of = |order_no: &str| verdicts[order_no[11..].parse::<usize>().unwrap() - 1];
    first.answer_with(at(SETTLED), |order_no, _| of(order_no)).unwrap();
    // Found in the folders, by the second look.
    let mut inboxes = Inboxes::default();
    inboxes.look(&place.ctx).await.unwrap();
    assert_eq!(place.count("SELECT count(*) FROM result_files").await, 0);
    inboxes.look(&place.ctx).await.unwrap();
    let files = "SELECT concat_ws(' ', gateway, bank_code, file_name, state, rows, applied, repeated, discrepancies)
                 FROM result_files ORDER BY result_file_id";
    let unionpays = format!("unionpay  {RESULT} applied 6 4 0 2");
    assert_eq!(place.texts(files).await, ["bank 102 R_102_20260415_1_0001.txt applied 1 1 0 0", &unionpays]);
    let done = settings.inbox(settings.unionpay.as_ref().unwrap()).join("done");
    assert_eq!(read_folder(&done), [done.join(format!("2-{RESULT}"))]);
    let book_now = book(&place).await;
    let by_bank = "P000000100100000001 paid by bank/102 102202604151000100000001 2026-04-16 10:15".to_owned();
    assert!(book_now.contains(&by_bank), "{book_now:?}");
    let paid = |number: usize| format!("{} paid by unionpay/ 202604150001{number:09} 2026-04-16 10:15", order(number));
    let expect = |fourth: &str, settled: &[usize], run: &str| {
        let mut all: Vec<String> = ["P7 succeeded", "P1 succeeded", "P2 failed", "P3 failed"].map(String::from).into();
        all.push(format!("P4 {fourth}"));
        all.extend(["P5 unknown".into(), "P6 unknown".into()]);
        all.extend(settled.iter().map(|number| paid(*number)));
        all.push(format!("unknown_code {} unionpay/", order(5)));
        all.push(format!("amount_differs {} unionpay/", order(6)));
        all.push(format!("run {run}"));
        all
    };
    let own = |all: Vec<String>| -> Vec<String> { all.into_iter().filter(|line| !line.contains("bank/102")).collect() };
    assert_eq!(own(book_now), expect("unknown", &[1], "settling"));

    // Asked again, UnionPay knows of the one in doubt, and says the rest as before. The name is known, so it is told.
    let later = |order_no: &str| if order_no == order(4) { Verdict::Paid } else { of(order_no) };
    let bytes = answer(&place, |order_no, _| later(order_no));
    assert_eq!(told(&take(&place, RESULT, &bytes).await), "applied [6, 1, 5, 0]");
    let mut expected = expect("succeeded", &[1, 4], "closed");
    expected.insert(expected.len() - 1, "name_reused - unionpay/".into());
    assert_eq!(own(book(&place).await), expected);
    assert_eq!(told(&take(&place, RESULT, &bytes).await), "repeated [6, 1, 5, 0]");

    // What is told of it has no bank, and the code in words.
    let failed: Vec<Value> = place.data_of("deduction.failed").await;
    let words: Vec<(&Value, &Value, Option<&Value>)> =
        failed.iter().map(|data| (&data["code"], &data["reason"], data.get("bank_code"))).collect();
    assert_eq!(words, [(&json!("64"), &json!("余额不足"), None), (&json!("61"), &json!("卡号无效"), None)]);
    let applied = place.data_of("result_file.applied").await;
    let who: Vec<(&Value, Option<&Value>)> =
        applied.iter().map(|data| (&data["gateway"], data.get("bank_code"))).collect();
    let unionpay = (&json!("unionpay"), None);
    assert_eq!(who, [(&json!("bank"), Some(&json!("102"))), unionpay, unionpay]);
    assert_eq!(place.told_of("1").await.last().map(String::as_str), Some("run.closed"));
    place.account().await;
}

#[tokio::test]
async fn what_is_refused_leaves_the_book_and_the_right_file_is_taken_afterwards() {
    let place = sent(3).await;
    let before = book(&place).await;
    let whole = answer(&place, |_, _| Verdict::Paid);
    let text = String::from_utf8(whole.clone()).unwrap();
    // One order is not there, and the totals are those of the rows.
    let third = text.lines().last().unwrap();
    let short =
        text.replacen(&format!("\n{third}"), "", 1).replacen("|450000|3|||450000|3||", "|300000|2|||300000|2||", 1);
    let cases: [(&str, &[u8], &str); 8] = [
        (
            "DK00000000777290058110097202604150002O.txt",
            &whole,
            "wrong_file: no request file of this batch was ever sealed",
        ),
        (
            "DK00000000777290058110097202604140001O.txt",
            &whole,
            "wrong_file: no request file of this batch was ever sealed",
        ),
        (
            "DK00000000777290058110098202604150001O.txt",
            &whole,
            "wrong_file: by its name the file of another institution or merchant",
        ),
        (
            "answer.txt",
            &whole,
            "wrong_file: the name is not DK, institution, merchant, yyyymmdd, batch number and O.txt",
        ),
        (RESULT, short.as_bytes(), "totals_differ: 2 rows for the 3 orders of the request file"),
        (RESULT, &whole[..whole.len() - 1], "malformed: the file is cut off in its last line"),
        (RESULT, b"<html>502", "wrong_file: an HTML or XML document, probably an error page"),
        (
            RESULT,
            "14|批量文件格式错误".as_bytes(),
            "wrong_file: no result but an answer for the whole file: respCode 14",
        ),
    ];
    for (name, bytes, refused) in cases {
        assert_eq!(told(&take(&place, name, bytes).await), format!("refused {refused}"), "{name}");
    }
    assert_eq!(book(&place).await, before);
    // The same bytes under their own name are what they are, and no name counts as used by what was refused.
    assert_eq!(told(&take(&place, RESULT, &whole).await), "applied [3, 3, 0, 0]");
    assert_eq!(told(&take(&place, "answer.txt", &whole).await), "repeated [3, 3, 0, 0]");
    let kept = "SELECT concat_ws(' ', file_name, state, refused_as) FROM result_files ORDER BY result_file_id";
    let wanted = ["applied", "refused totals_differ", "refused malformed", "refused wrong_file", "refused wrong_file"];
    assert_eq!(place.texts(kept).await, wanted.map(|state| format!("{RESULT} {state}")));
    assert_eq!(place.texts("SELECT state FROM runs").await, ["closed"]);
    place.account().await;
}

#[tokio::test]
async fn rows_that_are_not_ours_or_not_readable_wait_for_a_person_and_the_others_are_booked() {
    let place = sent(4).await;
    let text = String::from_utf8(answer(&place, |_, _| Verdict::Paid)).unwrap();
    let text =
        text.replacen(&order(2), "P0000009007000000001", 1).replacen("00|成功|202604150001000000003", "00|成功|", 1);
    // One transaction under two orders: the first was booked in another file of theirs, so to say.
    let text = text.replacen("202604150001000000004", "202604150001000000001", 1);
    assert_eq!(told(&take(&place, RESULT, text.as_bytes()).await), "applied [4, 0, 0, 4]");
    let kinds = "SELECT kind || ' ' || line_no || COALESCE(' ' || detail, '') FROM discrepancies ORDER BY line_no";
    let wanted = [
        "contradiction 3",
        "unknown_order 4",
        "unparsable_row 5 column 3: a success without transaction number",
        "contradiction 6",
    ];
    assert_eq!(place.texts(kinds).await, wanted);
    assert_eq!(place.attempts().await, ["P1 unknown", "P2 sent", "P3 sent", "P4 unknown"]);
    assert_eq!(place.texts("SELECT state FROM runs").await, ["settling"]);
    place.account().await;
}

#[tokio::test]
async fn an_answer_shows_that_unionpay_has_a_file_whose_hand_over_nobody_marked() {
    let place = Place::with(&[MERCHANT]).await;
    place.take(&with_a_card("P1")).await;
    let lease = place.plan().await;
    place.seal(lease).await;
    let own = "respCode|respMsg|queryId|sysTraNo|sysTm|settleDate|reserved1|reserved2";
    let text = format!(
        "5.0.0|150000|1|||150000|1||\n{own}|orderId|txnAmt|x\n00|ok|Q1|1|0416101500|0416|||{}|150000|",
        order(1)
    );
    assert_eq!(told(&take(&place, RESULT, text.as_bytes()).await), "applied [1, 1, 0, 0]");
    assert_eq!(place.texts("SELECT state FROM request_files").await, ["delivered"]);
    assert_eq!(book(&place).await.last().map(String::as_str), Some("run closed"));
}

#[tokio::test]
async fn the_command_tells_unionpays_files_by_their_name_or_their_inbox() {
    let pikou = Pikou::new(&[MERCHANT]).await;
    let refused = async |path: PathBuf| -> (Value, Value) {
        let document = pikou.document(&["reconcile", path.to_str().unwrap()], 3).await;
        (document["gateway"].clone(), document["reason"].clone())
    };
    let elsewhere = pikou.write("DK00000000777290058110098202604150001O.txt", b"98|x");
    let named = json!("by its name the file of another institution or merchant");
    assert_eq!(refused(elsewhere).await, (json!("unionpay"), named));
    let inbox = pikou.data().join("gateways/unionpay/inbox");
    std::fs::create_dir_all(&inbox).unwrap();
    let misnamed = inbox.join("R.txt");
    std::fs::write(&misnamed, "99|x").unwrap();
    let named = json!("the name is not DK, institution, merchant, yyyymmdd, batch number and O.txt");
    assert_eq!(refused(misnamed).await, (json!("unionpay"), named));
    let aside = inbox.join(format!("7-{RESULT}"));
    std::fs::write(&aside, "97|x").unwrap();
    let code = json!("no result but an answer for the whole file: respCode 97");
    assert_eq!(refused(aside).await, (json!("unionpay"), code));
    let (gateway, _) = refused(pikou.write("R.txt", b"96|x")).await;
    assert_eq!(gateway, json!("bank"));
}
