//! The account of a gateway's day: what we sent and what they declare, and that every difference has its lines.

use std::io::Read;

use pikou::domain::day_account::{DayAccount, Item, Side};
use pikou::domain::rows::Rows;
use pikou::stages::day_account::{self, Reading};
use pikou::stages::{Context, absence};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::preview::sent_by_binary;
use crate::support::*;
use crate::wechat_bill::{BILLS, bill, declared, name_of, of_state, paid, refund, started, take_bill};

const REQUEST: &str = "102_20260415_1_0001.txt";

fn order(number: usize) -> String {
    format!("P0000001001{number:08}")
}

/// P1 to P4 with 1500 yuan each are sent to bank 102.
async fn sent() -> Place {
    let place = Place::new().await;
    let payers = ["P1", "P2", "P3", "P4"];
    place.take(&payers.iter().flat_map(|payer| ready(payer, "1500.00")).collect::<Vec<_>>()).await;
    place.run().await;
    place
}

async fn read(ctx: &Context, gateway: &str, date: &str, bank: Option<&str>) -> Reading {
    day_account::read(ctx, gateway, bank, date.parse().unwrap()).await.unwrap()
}

/// The account as a text, figures that are nothing left out, with its items.
async fn account(ctx: &Context, gateway: &str, date: &str) -> String {
    let mut reading = read(ctx, gateway, date, None).await;
    let mut parts = figures(&reading.account);
    parts.extend(items(&mut reading).await);
    parts.push(if reading.account.balances() { "balances" } else { "does not balance" }.to_owned());
    parts.join(" | ")
}

fn figures(account: &DayAccount) -> Vec<String> {
    let mut lines = vec![];
    let mut line = |what: String, rows: Rows| {
        if !rows.is_nothing() {
            lines.push(format!("{what} {} {}", rows.count, rows.total.normalize()));
        }
    };
    line("sent".into(), account.sent);
    for ended in &account.ended {
        let words = [ended.status.as_str(), &ended.bank_code, &ended.code];
        line(words.iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(" "), ended.rows);
    }
    line("reported and confirmed".into(), account.reported.confirmed);
    line("reported only".into(), account.reported.not_confirmed);
    line("reported and reversed".into(), account.reported.reversed);
    for file in &account.files {
        for (what, side) in [("paid", &file.payments), ("refunded", &file.refunds)] {
            let Side { declared, held, explained, undecided: _, not_taken: _ } = side;
            line(format!("file {} {what}", file.result_file_id), declared.unwrap_or_default());
            held.iter().for_each(|(what, rows)| line((*what).into(), *rows));
            line("difference".into(), side.difference().unwrap_or_default());
            explained.iter().for_each(|(kind, rows)| line(kind.clone(), *rows));
            line("not explained".into(), side.unexplained().unwrap_or_default());
        }
        line("reversed by it".into(), file.reversed);
    }
    for (kind, rows) in &account.open_discrepancies {
        line(format!("open {kind}"), *rows);
    }
    lines
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
    format!("#{} {line} {order} {} {}", item.what, amount(item.amount_ours), amount(item.amount_theirs))
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace(" O", " P00000010010000000")
}

#[tokio::test]
async fn the_day_on_which_files_are_sent_accounts_for_every_order_and_names_those_without_an_answer() {
    let place = sent().await;
    let wanted = "sent 4 6000 | open 4 6000 | #not_answered - O1 1500.00 - | #not_answered - O2 1500.00 - | #not_answered - O3 1500.00 -
                  | #not_answered - O4 1500.00 - | balances";
    assert_eq!(account(&place.ctx, "bank", "2026-04-15").await, squeezed(wanted));
    let rows = [
        Row::paid(&order(1), "1500.00"),
        Row::failed(&order(2), "1500.00", "1001"),
        Row::failed(&order(3), "1500.00", "9001"),
    ];
    place.reconcile("R1.txt", &result_file(REQUEST, &rows)).await;
    let wanted = "sent 4 6000 | failed 102 1001 1 1500 | open 1 1500 | succeeded 1 1500 | unknown 1 1500 | #unknown - O3 1500.00 -
                  | #not_answered - O4 1500.00 - | balances";
    assert_eq!(account(&place.ctx, "bank", "2026-04-15").await, squeezed(wanted));
    let other = read(&place.ctx, "bank", "2026-04-15", Some("103")).await.account;
    assert_eq!(figures(&other), Vec::<String>::new(), "of another bank");
}

#[tokio::test]
async fn a_day_on_which_nothing_happened_has_an_account_of_nothing() {
    let place = sent().await;
    for gateway in ["bank", "alipay", "wechat_pay", "unionpay"] {
        assert_eq!(account(&place.ctx, gateway, "2026-04-20").await, "balances", "{gateway}");
    }
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
    let wanted = "file 1 paid 1 1500 | settled by it 1 1500
                  | file 2 paid 4 4420 | settled by it 1 1500 | known before 1 1500 | difference 2 1420 | amount_differs 1 1400
                  | unknown_order 1 20 | open amount_differs 1 1400 | open unknown_order 1 20 | #amount_differs 4 O3 1500.00 1400.00
                  | #unknown_order 5 X1 - 20.00 | balances";
    assert_eq!(account(&place.ctx, "bank", "2026-04-16").await, squeezed(wanted));

    // What nothing explains is said, and is no account.
    let changed = "UPDATE result_files SET paid_count = 5, paid_total = 4430 WHERE file_name = 'R2.txt'";
    sqlx::query(changed).execute(&place.ctx.pool).await.unwrap();
    let found = account(&place.ctx, "bank", "2026-04-16").await;
    assert!(found.contains("| not explained 1 10 |") && found.ends_with("| does not balance"), "{found}");
}

#[tokio::test]
async fn rows_that_cannot_be_read_or_whose_code_nobody_knows_explain_as_many_as_they_are() {
    let place = sent().await;
    let rows = [
        Row::paid(&order(1), "1500.00"),
        Row::failed(&order(2), "1500.00", "Z999"),
        Row { amount: "many".into(), ..Row::paid(&order(3), "1500.00") },
    ];
    let text = encoding_rs::GB18030.decode(&result_file(REQUEST, &rows)).0.into_owned();
    // The bank counts all three as paid.
    let text = text.replacen(",3,3000.00,2,1500.00", ",3,4500.00,3,4500.00", 1).replace("T,3,3000.00", "T,3,4500.00");
    let outcome = place.reconcile("R1.txt", &encoding_rs::GB18030.encode(&text).0).await;
    assert_eq!(outcome.as_str(), "applied", "{:?}", outcome.file().refused_reason);
    let wanted = "file 1 paid 3 4500 | settled by it 1 1500 | difference 2 3000 | open unknown_code 1 1500 | open unparsable_row 1 0
                  | #unknown_code 3 O2 1500.00 1500.00 | #unparsable_row 4 - - - | balances";
    assert_eq!(account(&place.ctx, "bank", "2026-04-16").await, squeezed(wanted));
}

#[tokio::test]
async fn an_account_does_not_wait_for_the_gate_and_is_of_one_moment() {
    let place = sent().await;
    let mut reading = read(&place.ctx, "bank", "2026-04-15", None).await;
    let mut other = place.ctx.pool.begin().await.unwrap();
    pikou::store::gates::own(&mut other).await.unwrap();
    read(&place.ctx, "bank", "2026-04-15", None).await;
    other.rollback().await.unwrap();
    place.reconcile("R1.txt", &result_file(REQUEST, &[Row::paid(&order(1), "1500.00")])).await;
    assert_eq!(items(&mut reading).await.len(), 4, "as it was when the figures were counted");
}

const OURS: (&str, &str) = ("PIKOU__RESULTS__BILLS__WECHAT_PAY__OURS", "[\"W*\"]");

/// Payers P1 to P6 have each started an order W1 to W6 of WeChat Pay on the 11th, for 2000.00 each.
async fn online(reported: &[&str]) -> Place {
    let place = Place::with(&[BILLS, OURS]).await;
    let mut messages: Vec<Value> = Vec::new();
    for number in 1..=6 {
        let payer = format!("P{number}");
        messages.extend(declared(&payer));
        messages.push(started(&format!("W{number}"), &[(&format!("N-{payer}"), "2000.00")], json!({})));
    }
    for order_no in reported {
        let fields = json!({"gateway_txn_no": format!("T-{order_no}"), "paid_at": "2026-04-11T08:05:00+08:00"});
        messages.push(payment_reported(order_no, &format!("report-{order_no}"), "succeeded", fields));
    }
    assert_eq!(place.take(&messages).await.accepted, messages.len());
    place
}

fn row(number: usize, amount: &'static str) -> crate::wechat_bill::BillRow {
    paid(&format!("W{number}"), &format!("T-W{number}"), amount)
}

#[tokio::test]
async fn a_bill_settles_confirms_and_reverses_and_what_is_not_ours_or_lacks_is_named() {
    let place = online(&["W1", "W2"]).await;
    let rows = [
        row(1, "2000.00"),
        row(3, "2000.00"),
        row(4, "1999.00"),
        row(5, "2000.00"),
        paid("X9", "T-X9", "70.00"),
        paid("W9", "T-W9", "30.00"),
        of_state("REVOKED", row(6, "2000.00")),
        refund("W5", "T-W5", "B1", "2000.00", "SUCCESS"),
        refund("W3", "T-W3", "B2", "500.00", "SUCCESS"),
        refund("X8", "T-X8", "B3", "8.00", "SUCCESS"),
    ];
    assert_eq!(take_bill(&place.ctx, 11, &rows).await.as_str(), "applied");
    let wanted = "sent 6 12000 | failed REVOKED 1 2000 | reported 1 2000 | reversed 1 2000 | succeeded 2 4000 | unknown 1 2000
                  | reported and confirmed 1 2000 | reported only 1 2000
                  | file 1 paid 6 8099 | settled by it 2 4000 | confirmed by it 1 2000 | difference 3 2099 | amount_differs 1 1999
                  | not_ours 1 70 | unknown_order 1 30
                  | file 1 refunded 3 2508 | noted by it 2 2500 | difference 1 8 | not_ours 1 8 | reversed by it 1 2000
                  | open amount_differs 1 1999 | open partial_refund 1 500 | open unknown_order 1 30
                  | #amount_differs 4 W4 2000.00 1999.00 | #unknown_order 7 W9 - 30.00 | #partial_refund 10 W3 2000.00 500.00
                  | #not_confirmed - W2 2000.00 - | #unknown - W4 2000.00 - | balances";
    let wanted = wanted.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(account(&place.ctx, "wechat_pay", "2026-04-11").await, wanted);
}

#[tokio::test]
async fn the_same_payments_in_a_second_bill_are_known_and_so_are_its_refunds() {
    let place = online(&[]).await;
    let rows = [row(1, "2000.00"), row(2, "2000.00"), refund("W2", "T-W2", "B1", "2000.00", "SUCCESS")];
    take_bill(&place.ctx, 11, &rows).await;
    let again = [&rows[..], &[row(3, "2000.00")]].concat();
    let from = place.ctx.settings.wechat.as_ref().unwrap();
    let name = format!("again-{}", name_of(11));
    let outcome = pikou::stages::reconcile::reconcile(&place.ctx, from, &name, &bill(&again)[..]).await.unwrap();
    assert_eq!(outcome.as_str(), "applied", "{:?}", outcome.file().refused_reason);
    let found = account(&place.ctx, "wechat_pay", "2026-04-11").await;
    let wanted = "file 1 paid 2 4000 | settled by it 2 4000 | file 1 refunded 1 2000 | noted by it 1 2000 | reversed by it 1 2000 \
                  | file 2 paid 3 6000 | settled by it 1 2000 | known before 2 4000 | file 2 refunded 1 2000 | known before 1 2000 \
                  | #not_answered - W4 2000.00 - | #not_answered - W5 2000.00 - | #not_answered - W6 2000.00 - | balances";
    assert!(found.ends_with(wanted), "{found}");
}

#[tokio::test]
async fn a_day_whose_bill_has_not_come_says_so_and_what_expired_without_it_is_not_paid() {
    let place = online(&["W1"]).await;
    let worker = place.at("2026-04-11T09:00:00+08:00");
    absence::look(&worker).await.unwrap();
    let late = place.at("2026-04-14T20:00:00+08:00");
    absence::look(&late).await.unwrap();
    let found = account(&place.ctx, "wechat_pay", "2026-04-11").await;
    assert!(
        found.contains("| open file_missing 1 0 | #file_missing - - - - | #not_confirmed - W1 2000.00 - |"),
        "{found}"
    );
    for day in [11, 12] {
        take_bill(&late, day, &[]).await;
        absence::look(&late).await.unwrap();
    }
    let of_days = [10, 11, 12, 13].map(|day| format!("2026-04-{day}"));
    for (date, files) in of_days.iter().zip([0, 1, 1, 0]) {
        let account = read(&place.ctx, "wechat_pay", date, None).await.account;
        assert_eq!(account.files.len(), files, "a bill without rows is that of both days: {date}");
    }
    let found = account(&place.ctx, "wechat_pay", "2026-04-11").await;
    let wanted = "sent 6 12000 | failed not_paid 5 10000 | reported 1 2000 | reported only 1 2000 | open not_in_bill 1 2000 \
                  | #not_in_bill - W1 2000.00 - | #not_confirmed - W1 2000.00 - | balances";
    assert_eq!(found, wanted);
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
        "bank on 2026-04-16 (Asia/Shanghai), as of now",
        "Sent on this day orders yuan",
        "sent 0 0.00",
        "succeeded 0 0.00",
        "not accounted for 0 0.00",
        "File 1: R1.txt",
        "Its payments rows yuan",
        "declared by the file 2 1,520.00",
        "settled by it 1 1,500.00",
        "difference 1 20.00",
        "of which unknown_order 1 20.00",
        "not explained 0 0.00",
        "Open discrepancies count yuan",
        "unknown_order 1 20.00",
        "Line by line",
        "what file line order code ours theirs state reason",
        "unknown_order 1 4 =1+1 0000 20.00 open",
        "✓ what was sent is accounted for",
        "✓ every difference has its lines",
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
    assert!(lines.contains(&"payments,declared by the file,102,1,,,,,2,1520.00,,,,"), "{csv}");
    assert_eq!(lines.last().unwrap(), &"item,unknown_order,,1,4,'=1+1,0000,,,,,20.00,open,");
    let book = std::fs::File::open(pikou.folder.path().join("day.xlsx")).unwrap();
    let mut book = zip::ZipArchive::new(book).unwrap();
    let mut sheet = String::new();
    book.by_name("xl/worksheets/sheet1.xml").unwrap().read_to_string(&mut sheet).unwrap();
    assert!(sheet.contains("=1+1") && !sheet.contains("<f>"), "a text, and no formula: {sheet}");
    assert!(sheet.contains("<v>1520</v>"), "sums are numbers: {sheet}");
    assert_eq!(sheet.matches("<row ").count(), lines.len());
    let again = pikou.run(&[&report[..], &["--csv", "day.csv"]].concat()).await;
    assert_eq!(again.code(), 2, "a file that is there is not overwritten");

    let document = pikou.document(&report, 0).await;
    assert_eq!((&document["balances"], &document["items_left_out"]), (&json!(true), &json!(0)));
    assert_eq!(
        document["items"],
        json!([{"what": "unknown_order", "result_file_id": 1, "line": 4, "order_no": "=1+1", "code": "0000", "state": "open",
            "amount_ours": null, "amount_theirs": "20.00", "reason": null}])
    );
    sqlx::query("UPDATE result_files SET paid_total = 1521").execute(&pikou.pool).await.unwrap();
    let document = pikou.document(&report, 6).await;
    assert_eq!(document["balances"], json!(false));
    assert_eq!(
        document["figures"].as_array().unwrap().iter().find(|line| line["what"] == "not explained").unwrap(),
        &json!({"part": "payments", "what": "not explained", "bank_code": "102", "result_file_id": 1, "rows": 0, "total": "1.00"})
    );
}
