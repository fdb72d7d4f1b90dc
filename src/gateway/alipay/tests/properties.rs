//! What holds of any bill: it is read as it was written, refused if anything of its end is missing, and whatever the
//! bytes are nothing breaks.

use encoding_rs::GB18030;
use proptest::prelude::*;

use super::{ACCOUNT, bills, file_of, told};
use crate::gateway::archive::zipped::Zipped;
use crate::gateway::testing::ReadWhole;

const TITLES: &str = "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注";

#[derive(Debug, Clone)]
struct Trade {
    no: u32,
    is_refund: bool,
    fen: i64,
    discount_fen: i64,
    second: u32,
    name: String,
}

/// How a file is written: with byte order mark in UTF-8 or in GB18030, CR LF or LF, with TABs or without.
#[derive(Debug, Clone, Copy)]
struct Manner {
    in_utf8: bool,
    crlf: bool,
    tabs: bool,
}

fn yuan(fen: i64) -> String {
    let sign = if fen < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", fen.abs() / 100, fen.abs() % 100)
}

fn time(second: u32) -> String {
    format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

fn line(trade: &Trade) -> String {
    let Trade { no, is_refund, fen, discount_fen, second, name } = trade;
    let (sign, kind) = if *is_refund { (-1, "退款") } else { (1, "交易") };
    let refund_no = if *is_refund { format!("R{no}") } else { String::new() };
    let (amount, received, discount) = (yuan(sign * fen), yuan(sign * (fen - discount_fen)), yuan(sign * discount_fen));
    format!(
        "2026041622{no:018}\t,PK{no:08}\t,{kind}\t,{name},2026-04-16 00:00:00,2026-04-16 {},\t,\t,\t,\t,*某(182****01)\t,\
         {amount},{received},0.00,0.00,0.00,{discount},0.00,,0.00\t,0.00,{refund_no}\t,0.00,0.00,",
        time(*second)
    )
}

fn render(trades: &[Trade], manner: Manner) -> Vec<u8> {
    let side = |is_refund| {
        let of_side = trades.iter().filter(move |trade| trade.is_refund == is_refund);
        let received: i64 = of_side.clone().map(|trade| trade.fen - trade.discount_fen).sum();
        (of_side.count(), received)
    };
    let ((paid, paid_fen), (refunded, refunded_fen)) = (side(false), side(true));
    let mut lines = vec![
        "#支付宝业务明细查询".to_owned(),
        format!("#账号：[{ACCOUNT}]"),
        "#起始日期：[2026年04月16日 00:00:00]   终止日期：[2026年04月17日 00:00:00]".to_owned(),
        "#-----------------------------------------业务明细列表----------------------------------------".to_owned(),
        TITLES.to_owned(),
    ];
    lines.extend(trades.iter().map(line));
    lines.push(
        "#-----------------------------------------业务明细列表结束------------------------------------".to_owned(),
    );
    lines.push(format!("#交易合计：{paid}笔，商家实收共{}元，商家优惠共0.00元", yuan(paid_fen)));
    lines.push(format!("#退款合计：{refunded}笔，商家实收退款共{}元，商家优惠退款共0.00元", yuan(-refunded_fen)));
    lines.push("#导出时间：[2026年04月17日 05:46:49]".to_owned());
    let end = if manner.crlf { "\r\n" } else { "\n" };
    let mut text: String = lines.into_iter().map(|line| line + end).collect();
    if !manner.tabs {
        text.retain(|character| character != '\t');
    }
    if manner.in_utf8 { format!("\u{feff}{text}").into_bytes() } else { GB18030.encode(&text).0.into_owned() }
}

fn expected(trades: &[Trade]) -> Vec<String> {
    let sum = |is_refund: bool| {
        let of_side = trades.iter().filter(|trade| trade.is_refund == is_refund);
        let (count, fen): (usize, i64) = (of_side.clone().count(), of_side.map(|trade| trade.fen).sum());
        (count, yuan(fen))
    };
    let ((paid, paid_yuan), (refunded, refunded_yuan)) = (sum(false), sum(true));
    let head = format!(
        "{} {paid_yuan}, paid {paid} {paid_yuan}, refunded {refunded} {refunded_yuan}, 2026-04-16, \
         covers 2026-04-16 to 2026-04-16",
        trades.len()
    );
    let row = |(line_no, trade): (usize, &Trade)| {
        let Trade { no, is_refund, fen, second, .. } = trade;
        let (txn_no, amount) = (format!("2026041622{no:018}"), yuan(*fen));
        let completed_at =
            chrono::DateTime::parse_from_rfc3339(&format!("2026-04-16T{}+08:00", time(*second))).unwrap();
        let at = completed_at.to_utc().to_rfc3339();
        match is_refund {
            true => format!("{line_no} Succeeded R{no} of PK{no:08} {amount} {txn_no} {at}"),
            false => format!("{line_no} 交易 PK{no:08} {amount} {txn_no} {at}"),
        }
    };
    std::iter::once(head).chain((6..).zip(trades).map(row)).collect()
}

fn trade() -> impl Strategy<Value = Trade> {
    let name = "[\u{4e00}-\u{9fa5}a-zA-Z0-9 '/()-]{0,12}";
    (any::<u32>(), any::<bool>(), 0..10_000_000_000_i64, 0..=100_i64, 0..86_400_u32, name).prop_map(
        |(no, is_refund, fen, percent, second, name)| {
            let discount_fen = fen * percent / 100;
            Trade { no: no % 100_000_000, is_refund, fen, discount_fen, second, name }
        },
    )
}

proptest! {
    #[test]
    fn a_bill_is_read_as_it_was_written(
        trades in proptest::collection::vec(trade(), 0..20), in_utf8: bool, crlf: bool, tabs: bool,
    ) {
        let bytes = render(&trades, Manner { in_utf8, crlf, tabs });
        prop_assert_eq!(told(&bytes), Ok(expected(&trades)));
        let zip = Zipped::default().with("bill.csv", &bytes).bytes();
        prop_assert_eq!(told(&zip), Ok(expected(&trades)));
    }
}

#[test]
fn a_file_of_50_lines_that_is_cut_off_at_any_byte_is_refused() {
    let trades: Vec<Trade> = (0..41)
        .map(|no| Trade { no, is_refund: no % 5 == 4, fen: 30_000, discount_fen: 0, second: no, name: "养老".into() })
        .collect();
    let bytes = render(&trades, Manner { in_utf8: false, crlf: true, tabs: true });
    assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 50);
    assert!(told(&bytes).is_ok());
    let bills = bills();
    for length in 0..bytes.len() {
        assert!(bills.open(&bytes[..length]).is_err(), "{length} bytes were taken");
    }
}

#[test]
fn a_ledger_that_is_cut_off_at_any_byte_is_refused() {
    let bytes = file_of("ledger-2023");
    assert!(told(&bytes).is_ok());
    for length in 0..bytes.len() {
        assert!(bills().open(&bytes[..length]).is_err(), "{length} bytes were taken");
    }
}

#[test]
fn any_bytes_are_read_or_refused_without_panic() {
    let cases =
        ["trade-day", "trade-27-columns", "ledger-2012", "ledger-2023", "trade-zip-summary-first", "refused-summary"];
    let (bills, files) = (bills(), cases.map(file_of));
    bolero::check!().with_type::<(u8, u16, Vec<u8>)>().with_iterations(3_000).for_each(|(case, place, bytes)| {
        let _ = bills.open(bytes);
        // In the midst of a file that would be read.
        let mut file = files[usize::from(*case) % files.len()].clone();
        let place = usize::from(*place) % file.len();
        let end = (place + bytes.len()).min(file.len());
        file[place..end].copy_from_slice(&bytes[..end - place]);
        let _ = bills.open(&file);
        let packed = Zipped::default().with("a(汇总).csv", &file).with("b.csv", &file).bytes();
        let _ = bills.open(&packed);
    });
}
