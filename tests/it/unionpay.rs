//! UnionPay's batch deduction: its lane, its files, and what it cannot carry.

use pikou::stages::{deliver, lease, plan, seal};
use serde_json::{Value, json};

use crate::support::*;

const MERCHANT: (&str, &str) = ("PIKOU__GATEWAYS__UNIONPAY__BATCH__MERCHANT_ID", "777290058110097");
const NAME: &str = "DK00000000777290058110097202604150001I.txt";

/// A payer whose agreement is with UnionPay, with a card of some bank.
fn with_a_card(payer: &str, bank_code: &str, name: &str) -> Vec<Value> {
    let mut messages = ready(payer, "1500.50");
    let fields = json!({"gateway": "unionpay", "bank_code": bank_code, "account_name": name});
    messages.push(agreement_with(payer, &format!("card-{payer}"), "2026-01-07T00:00:00Z", fields));
    messages
}

async fn lanes(place: &Place) -> Vec<String> {
    place
        .texts("SELECT concat_ws(' ', gateway, bank_code, attempts) FROM run_lanes WHERE attempts > 0 ORDER BY lane")
        .await
}

fn files(place: &Place) -> Vec<(String, String)> {
    let unionpay = place.ctx.settings.unionpay.as_ref().expect("a merchant is configured");
    let name = |path: &std::path::Path| path.file_name().unwrap().to_string_lossy().into_owned();
    read_folder(&place.ctx.settings.outbox(unionpay))
        .iter()
        .map(|path| (name(path), String::from_utf8(std::fs::read(path).unwrap()).unwrap()))
        .collect()
}

#[tokio::test]
async fn cards_of_every_bank_go_into_one_file_beside_those_of_the_banks() {
    let place = Place::with(&[MERCHANT]).await;
    place
        .take(&[with_a_card("P1", "102", "张三"), with_a_card("P2", "999", "𠮷田 明"), ready("P3", "1000.00")].concat())
        .await;
    let run_id = place.run().await;
    assert_eq!(lanes(&place).await, ["bank 102 1", "unionpay  2"]);
    let text = "5.0.0|300100|2||\n\
        orderId|currencyCode|txnAmt|accType|accNo|customerNm|bizType|certifTp|certifId|phoneNo|postscript\n\
        P000000100700000001|156|150050|01|6222P1|张三|000501||||\n\
        P000000100700000002|156|150050|01|6222P2|𠮷田 明|000501||||";
    let found = files(&place);
    assert_eq!(found[0], (NAME.to_owned(), text.to_owned()));
    assert_eq!((found.len(), found[1].0.as_str()), (2, &*format!("{NAME}.ok")));
    assert!(found[1].1.ends_with(" 2\n"), "{}", found[1].1);
    assert_eq!(place.request_files("102").len(), 1);
    assert_eq!(place.attempts_of(run_id).await, ["P3 1000.00 sent", "P1 1500.50 sent", "P2 1500.50 sent"]);
    assert_eq!(place.texts("SELECT state FROM runs").await, ["sent"]);
    let told = place.data_of("request_file.delivered").await;
    // Files of different lanes are delivered at the same time: nobody promises which is told first.
    let mut of_whom: Vec<_> = told.iter().map(|data| (data["gateway"].as_str(), data.get("bank_code"))).collect();
    of_whom.sort_by_key(|(gateway, _)| *gateway);
    assert_eq!(of_whom, [(Some("bank"), Some(&json!("102"))), (Some("unionpay"), None)], "UnionPay is no bank");
    place.account().await;
}

#[tokio::test]
async fn without_a_merchant_nobody_is_deducted_by_unionpay() {
    let place = Place::new().await;
    place.take(&with_a_card("P1", "102", "张三")).await;
    // Their only agreement is with UnionPay now.
    let ended = json!({"status": "ended"});
    place.take(&[agreement_with("P1", "end", "2026-01-08T00:00:00Z", ended)]).await;
    let card = json!({"agreement_no": "U1", "gateway": "unionpay", "bank_code": "102"});
    place.take(&[agreement_with("P1", "card", "2026-01-09T00:00:00Z", card)]).await;
    let run_id = place.run().await;
    assert_eq!(place.skips(run_id).await, ["P1 no_agreement"]);
}

#[tokio::test]
async fn what_the_file_cannot_carry_is_withdrawn_and_the_others_go() {
    let place = Place::with(&[MERCHANT, ("PIKOU__GATEWAYS__UNIONPAY__BATCH__ENCODING", "gbk")]).await;
    let names = [("P1", "张三"), ("P2", "张|三"), ("P3", "𠮷田"), ("P4", "张,三")];
    place.take(&names.iter().flat_map(|(payer, name)| with_a_card(payer, "102", name)).collect::<Vec<_>>()).await;
    let run_id = place.run().await;
    let wanted =
        ["P1 1500.50 sent", "P2 1500.50 withdrawn unencodable", "P3 1500.50 withdrawn unencodable", "P4 1500.50 sent"];
    assert_eq!(place.attempts_of(run_id).await, wanted);
    assert_eq!(place.texts("SELECT items || ' ' || total FROM request_files").await, ["2 3001.00"]);
    place.account().await;
}

#[tokio::test]
async fn a_cell_that_is_too_wide_for_a_banks_columns_is_withdrawn_too() {
    let place = Place::new().await;
    let at_bank = |payer: &str, name: &str| {
        let mut messages = ready(payer, "1500.00");
        let fields = json!({"bank_code": "301", "account_name": name});
        messages.push(agreement_with(payer, &format!("move-{payer}"), "2026-01-07T00:00:00Z", fields));
        messages
    };
    place
        .take(&[at_bank("P1", &"汉".repeat(30)), at_bank("P2", &"汉".repeat(31)), at_bank("P3", "张三")].concat())
        .await;
    let run_id = place.run().await;
    assert_eq!(
        place.attempts_of(run_id).await,
        ["P1 1500.00 sent", "P2 1500.00 withdrawn unencodable", "P3 1500.00 sent"]
    );
    place.account().await;
}

#[tokio::test]
async fn the_files_of_a_day_are_numbered_on_whatever_run_they_are_of() {
    let settings = [MERCHANT, ("PIKOU__GATEWAYS__UNIONPAY__BATCH__ITEMS_MAX", "1")];
    let place = Place::with(&settings).await;
    place.take(&[with_a_card("P1", "102", "张三"), with_a_card("P2", "103", "李四")].concat()).await;
    place.run().await;
    // Another run on the same day, and one on another day.
    place.take(&with_a_card("P3", "102", "王五")).await;
    place.run_on(chrono::NaiveDate::from_ymd_opt(2026, 5, 15).unwrap()).await;
    place.take(&with_a_card("P4", "102", "赵六")).await;
    let later = place.at("2026-06-15T09:00:00+08:00");
    let run_id = plan::fire(&later, SCHEDULE, chrono::NaiveDate::from_ymd_opt(2026, 6, 15).unwrap()).await.unwrap();
    let lease = lease::take(&later, run_id).await.unwrap().unwrap();
    plan::plan(&later, lease, |_| ()).await.unwrap();
    seal::seal(&later, lease, |_| ()).await.unwrap();
    deliver::deliver(&later, lease).await.unwrap();
    let names: Vec<String> =
        files(&place).into_iter().map(|(name, _)| name).filter(|name| name.ends_with(".txt")).collect();
    let expected = ["202604150001", "202604150002", "202604150003", "202606150001"];
    assert_eq!(names, expected.map(|number| format!("DK00000000777290058110097{number}I.txt")));
    let numbered = |number: u32| {
        format!(
            "INSERT INTO request_files (run_id, lane, part, gateway, bank_code, file_name, first_order_no, last_order_no, state,
                                        batch_date, batch_no)
             SELECT run_id, lane, 99, gateway, bank_code, 'another', first_order_no, last_order_no, 'open', batch_date, {number}
             FROM request_files WHERE file_id = 1"
        )
    };
    assert_eq!(place.refused_by(&numbered(10_000)).await, "unionpay_numbers_with_four_digits");
    assert_eq!(place.refused_by(&numbered(3)).await, "one_batch_a_number");
}
