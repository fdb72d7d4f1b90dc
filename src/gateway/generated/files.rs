//! Banks' result files and UnionPay's: made-up items come in, bytes go out. Written cell by cell as the descriptions of
//! the files have it, by nothing that the readers use.

use encoding_rs::{GB18030, GBK};

use super::item::{Item, Kind, all, of, yuan};

pub(super) const MERCHANT: &str = "777290058110097";

fn code(item: &Item) -> &'static str {
    if item.kind == Kind::Paid { "0000" } else { "1001" }
}

/// Cells between commas, in GB18030.
pub(super) fn standard(items: &[Item]) -> Vec<u8> {
    let (all, paid) = (all(items), of(Kind::Paid, items));
    let (total, paid_total) = (yuan(all.fen), yuan(paid.fen));
    let mut file = format!("H,102,20260416,R.txt,{},{total},{},{paid_total}\r\n", all.count, paid.count);
    for (item, no) in items.iter().zip(1..) {
        let (order_no, sum, code, text) = (item.order_no(), item.yuan(), code(item), &item.text);
        let (txn_no, time) = (item.txn_no(), item.time("%Y%m%d%H%M%S"));
        let (txn_no, time) = (item.if_is(Kind::Paid, &txn_no), item.if_is(Kind::Paid, &time));
        file += &format!("D,{no},{order_no},{sum},{code},{text},{txn_no},{time}\r\n");
    }
    file += &format!("T,{},{total}\r\n", all.count);
    GB18030.encode(&file).0.into_owned()
}

/// Without a header, cells between bars, in UTF-8.
pub(super) fn bars(items: &[Item]) -> Vec<u8> {
    let (all, paid) = (all(items), of(Kind::Paid, items));
    let mut file = String::new();
    for item in items {
        let (order_no, sum, code, text) = (item.order_no(), item.yuan(), code(item), &item.text);
        let (txn_no, time) = (item.txn_no(), item.time("%Y%m%d%H%M%S"));
        let (txn_no, time) = (item.if_is(Kind::Paid, &txn_no), item.if_is(Kind::Paid, &time));
        file += &format!("RES|{order_no}|{code}|{sum}|{txn_no}|{time}|{text}\n");
    }
    let (count, total, paid_count, paid_total) = (all.count, yuan(all.fen), paid.count, yuan(paid.fen));
    file += &format!("END|403|20260416|R.txt|{count}|{total}|{paid_count}|{paid_total}\n");
    file.into_bytes()
}

/// Cells of fixed width, in GBK.
pub(super) fn fixed(items: &[Item]) -> Vec<u8> {
    let (all, paid) = (all(items), of(Kind::Paid, items));
    let (count, fen, paid_count, paid_fen) = (all.count, all.fen, paid.count, paid.fen);
    let head = format!("F{:12}20260416{:60}{count:010}{fen:016}{paid_count:010}{paid_fen:016}\r\n", "301", "R.txt");
    let mut file = head.into_bytes();
    for (item, no) in items.iter().zip(1..) {
        let (order_no, fen, code) = (item.order_no(), item.fen, code(item));
        file.extend(format!("D{no:08}{order_no:32}{fen:015}{code:8}").bytes());
        file.extend(padded(&item.text, 60));
        let (txn_no, time) = (item.txn_no(), item.time("%Y%m%d%H%M%S"));
        let (txn_no, time) = (item.if_is(Kind::Paid, &txn_no), item.if_is(Kind::Paid, &time));
        file.extend(format!("{txn_no:32}{time:14}\r\n").bytes());
    }
    file.extend(format!("T{count:010}{fen:016}\r\n").bytes());
    file
}

/// After CFBS: failures are counted, and each line has a tail.
pub(super) fn cfbs(items: &[Item]) -> Vec<u8> {
    let (all, failed) = (all(items), of(Kind::Failed, items));
    let (count, fen, failed_count, failed_fen) = (all.count, all.fen, failed.count, failed.fen);
    let mut file = format!(
        "{:60}{:60}{:12}{:12}{:35}{:12}{:5}{:6}{:4}CNY{count:010}{fen:016}{failed_count:010}{failed_fen:016}{:8}{:08}ok\r\n",
        "A", "R.txt", "105", "1", "2", "3", "4", "5", "6", "00000000", 2
    )
    .into_bytes();
    for (item, no) in items.iter().zip(1..) {
        let (order_no, txn_no, fen, code) = (item.order_no(), item.txn_no(), item.fen, code(item));
        let (txn_no, day) = match item.kind {
            Kind::Paid => (txn_no.as_str(), item.time("%Y%m%d")),
            Kind::Failed | Kind::Refunded => ("", "0".repeat(8)),
        };
        file.extend(format!("{no:016}20260415{day:8}{:18}{:12}{:12}{:35}", "", "", "", "6222").bytes());
        file.extend(padded("欧阳建国", 60));
        let tail = GBK.encode(&item.text).0;
        file.extend(
            format!("{:60}{:60}{fen:015}{:015}{order_no:60}{txn_no:16}{code:8}{:08}", "", "A1", 0, tail.len()).bytes(),
        );
        file.extend(&*tail);
        file.extend(b"\r\n");
    }
    file
}

/// What its name ends with is its length.
pub(super) fn cfbs_name(file: &[u8]) -> String {
    format!("CFBS_{:08}", file.len())
}

fn padded(text: &str, bytes: usize) -> Vec<u8> {
    let mut cell = GBK.encode(text).0.into_owned();
    cell.resize(bytes, b' ');
    cell
}

/// UnionPay's answer to a batch.
pub(super) fn batch(items: &[Item]) -> Vec<u8> {
    let (all, paid) = (all(items), of(Kind::Paid, items));
    let mut file = format!(
        "5.0.0|{}|{}|||{}|{}||\nrespCode|respMsg|queryId|sysTraNo|sysTm|settleDate|reserved1|reserved2|orderId|\
         currencyCode|txnAmt|accType|accNo|customerNm|bizType|postscript",
        all.fen, all.count, paid.fen, paid.count
    );
    for item in items {
        let code = if item.kind == Kind::Paid { "00" } else { "64" };
        let (txn_no, time) = (item.txn_no(), item.time("%m%d%H%M%S"));
        let (txn_no, time) = (item.if_is(Kind::Paid, &txn_no), item.if_is(Kind::Paid, &time));
        let (text, order_no, fen) = (&item.text, item.order_no(), item.fen);
        file += &format!("\n{code}|{text}|{txn_no}||{time}||||{order_no}|156|{fen}|01|6222|{text}|000501|");
    }
    file.into_bytes()
}

/// UnionPay's transactions of a day (ZM): each field where its description says that it begins.
pub(super) fn settled(items: &[Item]) -> Vec<u8> {
    items.iter().flat_map(settled_row).collect()
}

fn settled_row(item: &Item) -> Vec<u8> {
    let mut row = [b' '; 609];
    row[607..].copy_from_slice(b"\r\n");
    let (kind, sign) = if item.kind == Kind::Refunded { ("04", "D") } else { ("01", "C") };
    let paid = item.if_is(Kind::Refunded, "x");
    let (original_query, original_order, query_id) = match paid {
        "" => (String::new(), String::new(), item.txn_no()),
        _ => (item.txn_no(), item.order_no(), item.refund_no()),
    };
    let fields = [
        (0, "S56".to_owned()),
        (35, item.time("%m%d%H%M%S")),
        (46, "622299*********0001".into()),
        (66, format!("{:012}", item.fen)),
        (87, query_id),
        (112, item.order_no()),
        (180, format!("{sign}{:012}", item.fen)),
        (215, kind.into()),
        (271, original_query),
        (293, MERCHANT.into()),
        (476, original_order),
    ];
    for (from, field) in fields {
        row[from..from + field.len()].copy_from_slice(field.as_bytes());
    }
    let name = GBK.encode("社保億元").0;
    row[327..327 + name.len()].copy_from_slice(&name);
    row.to_vec()
}

/// What UnionPay adjusted (ZME), of which nothing is read but that it is there.
pub(super) fn adjusted(items: &[Item]) -> Vec<u8> {
    items.iter().flat_map(|item| format!("{:339}\r\n", item.order_no()).into_bytes()).collect()
}

/// UnionPay's printed report of a day (RD2010).
pub(super) fn report(items: &[Item]) -> Vec<u8> {
    let (paid, refunded) = (yuan(of(Kind::Paid, items).fen), yuan(of(Kind::Refunded, items).fen));
    let text = format!("   商户清算日报表\r\n交易类型 交易笔数\r\n总计 {} {refunded} {paid} 0.00\r\n", items.len());
    GBK.encode(&text).0.into_owned()
}
