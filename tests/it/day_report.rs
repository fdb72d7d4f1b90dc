//! The account of a gateway's day: what we sent and what they declare, and that every difference has its lines.

use std::io::Read;

use pikou::domain::day_account::{DayAccount, Item};
use pikou::domain::rows::Rows;
use pikou::stages::day_account::{self, Reading};
use rust_decimal::Decimal;
use serde_json::json;

use crate::preview::sent_by_binary;
use crate::support::*;

const REQUEST: &str = "102_20260415_1_0001.txt";

fn order(number: usize) -> String {
    format!("P0000001001{number:08}")
}

fn rows(count: i64, yuan: i64) -> Rows {
    Rows { count, total: Decimal::new(yuan * 100, 2) }
}

/// P1 to P4 with 1500 yuan each are sent to bank 102.
async fn sent() -> Place {
    let place = Place::new().await;
    let payers = ["P1", "P2", "P3", "P4"];
    place.take(&payers.iter().flat_map(|payer| ready(payer, "1500.00")).collect::<Vec<_>>()).await;
    place.run().await;
    place
}

async fn read(place: &Place, date: &str, bank: Option<&str>) -> Reading {
    day_account::read(&place.ctx, "bank", bank, date.parse().unwrap()).await.unwrap()
}

async fn items(reading: &mut Reading) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let page = reading.items().await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page.iter().map(words));
    }
}

fn words(item: &Item) -> String {
    let amount = |amount: Option<Decimal>| amount.map_or_else(|| "-".into(), |amount| amount.to_string());
    let line = item.line_no.map_or_else(|| "-".into(), |line| line.to_string());
    let order = item.order_no.as_deref().unwrap_or("-");
    format!("{} {line} {order} {} {}", item.what, amount(item.amount_ours), amount(item.amount_theirs))
}

/// sent = succeeded + reversed + failed + unknown + open
fn ends(account: &DayAccount) -> (Rows, Rows, Rows, Vec<(String, String, Rows)>, Rows, Rows) {
    let failed = account.failed.iter().map(|one| (one.bank_code.clone(), one.code.clone(), one.rows)).collect();
    (account.sent, account.succeeded, account.reversed, failed, account.unknown, account.open)
}

#[tokio::test]
async fn the_day_on_which_files_are_sent_accounts_for_every_order_and_names_those_without_an_answer() {
    let place = sent().await;
    let mut before = read(&place, "2026-04-15", None).await;
    assert_eq!(ends(&before.account), (rows(4, 6000), rows(0, 0), rows(0, 0), vec![], rows(0, 0), rows(4, 6000)));
    assert!(before.account.balances(), "what is not answered yet is itemised");
    let wanted: Vec<String> = (1..=4).map(|number| format!("not_answered - {} 1500.00 -", order(number))).collect();
    assert_eq!(items(&mut before).await, wanted);
    drop(before);

    place
        .reconcile(
            "R1.txt",
            &result_file(
                REQUEST,
                &[
                    Row::paid(&order(1), "1500.00"),
                    Row::failed(&order(2), "1500.00", "1001"),
                    Row::failed(&order(3), "1500.00", "9001"),
                ],
            ),
        )
        .await;
    let mut after = read(&place, "2026-04-15", None).await;
    let failed = vec![("102".into(), "1001".into(), rows(1, 1500))];
    assert_eq!(ends(&after.account), (rows(4, 6000), rows(1, 1500), rows(0, 0), failed, rows(1, 1500), rows(1, 1500)));
    assert!(after.account.balances() && after.account.files.is_empty());
    let wanted = [format!("unknown - {} 1500.00 -", order(3)), format!("not_answered - {} 1500.00 -", order(4))];
    assert_eq!(items(&mut after).await, wanted);
    assert_eq!(ends(&read(&place, "2026-04-15", Some("103")).await.account).0, rows(0, 0), "of another bank");
    assert_eq!(ends(&read(&place, "2026-04-16", None).await.account).0, rows(0, 0), "of another day");
}

#[tokio::test]
async fn what_a_file_declares_is_settled_known_or_explained_line_by_line() {
    let place = sent().await;
    place.reconcile("R1.txt", &result_file(REQUEST, &[Row::paid(&order(1), "1500.00")])).await;
    let second = [
        Row::paid(&order(1), "1500.00"),
        Row::paid(&order(2), "1500.00"),
        Row::paid(&order(3), "1400.00"),
        Row::paid("X1", "20.00"),
        Row::failed(&order(4), "1500.00", "1001"),
    ];
    place.reconcile("R2.txt", &result_file(REQUEST, &second)).await;
    let mut reading = read(&place, "2026-04-16", Some("102")).await;
    let [first, second] = &reading.account.files[..] else { panic!("two files") };
    assert_eq!(
        (first.declared_success, first.settled, first.known, first.difference(), first.unexplained()),
        (Some(rows(1, 1500)), rows(1, 1500), rows(0, 0), Some(rows(0, 0)), Some(rows(0, 0)))
    );
    assert_eq!(
        (second.declared_success, second.settled, second.known, second.difference(), second.unexplained()),
        (Some(rows(4, 4420)), rows(1, 1500), rows(1, 1500), Some(rows(2, 1420)), Some(rows(0, 0)))
    );
    assert_eq!((second.rows, second.declared_rows), (5, Some(5)));
    assert!(reading.account.balances());
    assert_eq!(
        items(&mut reading).await,
        [format!("amount_differs 4 {} 1500.00 1400.00", order(3)), "unknown_order 5 X1 - 20.00".to_owned()]
    );
    let open: Vec<_> = reading.account.open_discrepancies.iter().map(|(kind, rows)| (kind.as_str(), *rows)).collect();
    assert_eq!(open, [("amount_differs", rows(1, 1400)), ("unknown_order", rows(1, 20))]);
    drop(reading);

    // What nothing explains is said, and is no account.
    sqlx::query(
        "UPDATE result_files SET declared_success_count = 5, declared_success_total = 4430 WHERE file_name = 'R2.txt'",
    )
    .execute(&place.ctx.pool)
    .await
    .unwrap();
    let account = read(&place, "2026-04-16", None).await.account;
    assert_eq!((account.balances(), account.files[1].unexplained()), (false, Some(rows(1, 10))));
}

#[tokio::test]
async fn an_account_does_not_wait_for_the_gate_and_is_of_one_moment() {
    let place = sent().await;
    let mut reading = read(&place, "2026-04-15", None).await;
    let bytes = result_file(REQUEST, &[Row::paid(&order(1), "1500.00")]);
    place.reconcile("R1.txt", &bytes).await;
    assert_eq!(items(&mut reading).await.len(), 4, "as it was when the figures were counted");
}

#[tokio::test]
async fn the_report_is_printed_written_to_sheets_and_ends_with_6_where_something_is_not_explained() {
    let pikou = sent_by_binary().await;
    let request = &pikou.texts("SELECT file_name FROM request_files").await[0];
    let results =
        [Row::paid(&order(1), "1500.00"), Row::failed(&order(2), "1500.00", "1001"), Row::paid("=1+1", "20.00")];
    let path = pikou.write("R1.txt", &result_file(request, &results));
    assert_eq!(pikou.run(&["reconcile", path.to_str().unwrap()]).await.code(), 0);
    let wanted = [
        "bank on 2026-04-16 (Asia/Shanghai), as of now.",
        "Sent on this day rows yuan",
        "sent 0 0.00",
        "succeeded 0 0.00",
        "reversed 0 0.00",
        "unknown 0 0.00",
        "open 0 0.00",
        "not accounted for 0 0.00",
        "Result file 1 R1.txt rows yuan",
        "declared succeeded 2 1520.00",
        "settled by it 1 1500.00",
        "succeeded and known before 0 0.00",
        "difference 1 20.00",
        "explained by unknown_order 1 20.00",
        "not explained 0 0.00",
        "Open discrepancies rows yuan",
        "unknown_order 1 20.00",
        "What explains the differences:",
        "what file line order code ours theirs state reason",
        "unknown_order 1 4 =1+1 0000 20.00 open",
        "✓ what was sent is accounted for",
        "✓ what the files declare is explained line by line",
    ];
    let report = ["report", "day", "2026-04-16", "--gateway", "bank"];
    let ended = pikou.run(&[&report[..], &["--csv", "day.csv", "--xlsx", "day.xlsx"]].concat()).await;
    assert_eq!(ended.code(), 0, "{}{}", ended.stdout, ended.stderr);
    let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let printed: Vec<String> = ended.stdout.lines().map(squeezed).filter(|line| !line.is_empty()).collect();
    assert_eq!(printed, wanted);

    let csv = std::fs::read_to_string(pikou.folder.path().join("day.csv")).unwrap();
    let lines: Vec<&str> = csv.trim_start_matches('\u{feff}').lines().collect();
    assert_eq!(
        lines[0],
        "part,what,bank_code,result_file_id,line,order_no,code,reason,rows,yuan,yuan_ours,yuan_theirs,state,detail"
    );
    assert_eq!(lines[7], "result file,declared succeeded,102,1,,,,,2,1520.00,,,,");
    assert_eq!(lines.last().unwrap(), &"item,unknown_order,,1,4,'=1+1,0000,,,,,20.00,open,");
    assert_eq!(lines.len(), 15);
    let book = std::fs::File::open(pikou.folder.path().join("day.xlsx")).unwrap();
    let mut book = zip::ZipArchive::new(book).unwrap();
    let mut sheet = String::new();
    book.by_name("xl/worksheets/sheet1.xml").unwrap().read_to_string(&mut sheet).unwrap();
    assert!(sheet.contains("=1+1") && !sheet.contains("<f>"), "a text, and no formula: {sheet}");
    assert_eq!(sheet.matches("<row ").count(), 15);
    let again = pikou.run(&[&report[..], &["--csv", "day.csv"]].concat()).await;
    assert_eq!(again.code(), 2, "a file that is there is not overwritten");

    let document = pikou.document(&report, 0).await;
    assert_eq!((&document["balances"], &document["items_left_out"]), (&json!(true), &json!(0)));
    assert_eq!(
        document["items"],
        json!([{"what": "unknown_order", "result_file_id": 1, "line": 4, "order_no": "=1+1", "code": "0000", "state": "open",
            "amount_ours": null, "amount_theirs": "20.00", "reason": null}])
    );
    sqlx::query("UPDATE result_files SET declared_success_total = 1521").execute(&pikou.pool).await.unwrap();
    let document = pikou.document(&report, 6).await;
    assert_eq!(document["balances"], json!(false));
    assert_eq!(
        document["figures"].as_array().unwrap().iter().find(|line| line["what"] == "not explained").unwrap(),
        &json!({"part": "result file", "what": "not explained", "bank_code": "102", "result_file_id": 1, "rows": 0, "total": "1.00"})
    );
}
