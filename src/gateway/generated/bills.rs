//! Bills of WeChat Pay and Alipay: made-up items come in, bytes go out, each cell by the name of its column.

use encoding_rs::GB18030;

use super::item::{Item, Kind, of, yuan};

pub(super) const MERCHANT: &str = "1699990001";
pub(super) const ACCOUNT: &str = "20881234567890120156";

const ALL: &str = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,\
    货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,\
    费率,订单金额,申请退款金额,费率备注";
const SUCCESS: &str = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,\
    货币种类,应结订单金额,代金券金额,商品名称,商户数据包,手续费,费率,订单金额,费率备注";
const REFUND: &str = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,\
    货币种类,应结订单金额,代金券金额,退款申请时间,退款成功时间,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,\
    商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注";
const OLD: &str = "交易时间,公众账号ID,商户号,子商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,\
    总金额,代金券或立减优惠金额,微信退款单号,商户退款单号,退款金额,代金券或立减优惠退款金额,退款类型,退款状态,商品名称,商户数据包,\
    手续费,费率";
const FLOW: &str = "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),\
    资金变更提交申请人,备注,业务凭证号";
const TOTALS: &str = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额";
const OLD_TOTALS: &str = "总交易单数,总交易额,总退款金额,总代金券或立减优惠退款金额,手续费总金额";
const FLOW_TOTALS: &str = "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额";

pub(super) fn wechat_all(items: &[Item]) -> Vec<u8> {
    wechat(ALL, TOTALS, items)
}

pub(super) fn wechat_success(items: &[Item]) -> Vec<u8> {
    wechat(SUCCESS, TOTALS, items)
}

pub(super) fn wechat_refund(items: &[Item]) -> Vec<u8> {
    wechat(REFUND, TOTALS, items)
}

pub(super) fn wechat_old(items: &[Item]) -> Vec<u8> {
    wechat(OLD, OLD_TOTALS, items)
}

pub(super) fn wechat_flow(items: &[Item]) -> Vec<u8> {
    wechat(FLOW, FLOW_TOTALS, items)
}

fn wechat(columns: &str, totals: &str, items: &[Item]) -> Vec<u8> {
    let line = |cells: Vec<String>| format!("`{}\r\n", cells.join(",`"));
    let mut file = format!("\u{feff}{columns}\r\n");
    for item in items {
        file += &line(columns.split(',').map(|name| wechat_cell(name, item)).collect());
    }
    file += &format!("{totals}\r\n");
    file += &line(totals.split(',').map(|name| wechat_total(name, items)).collect());
    file.into_bytes()
}

fn wechat_cell(name: &str, item: &Item) -> String {
    let is_refund = item.kind == Kind::Refunded;
    let either = |refunded: &str, paid: &str| if is_refund { refunded.to_owned() } else { paid.to_owned() };
    match name {
        "交易时间" | "记账时间" | "退款申请时间" | "退款成功时间" => item.time("%Y-%m-%d %H:%M:%S"),
        "商户号" => MERCHANT.into(),
        "特约商户号" | "子商户号" | "商户退款单号" => "0".into(),
        "微信订单号" | "资金流水单号" => item.txn_no(),
        "商户订单号" | "业务凭证号" => item.order_no(),
        "交易状态" => either("REFUND", "SUCCESS"),
        "货币种类" => "CNY".into(),
        "订单金额" | "应结订单金额" | "总金额" => either("0.00", &item.yuan()),
        "微信退款单号" => either(&item.refund_no(), "0"),
        "退款金额" | "申请退款金额" => either(&item.yuan(), "0.00"),
        "退款状态" => either("SUCCESS", ""),
        "商品名称" | "备注" => item.text.clone(),
        "手续费" => either("0.00000", "0.00600"),
        "费率" => "0.60%".into(),
        "业务类型" => "交易".into(),
        "收支类型" => either("支出", "收入"),
        "收支金额(元)" => item.yuan(),
        _ if name.ends_with("金额") => "0.00".into(),
        _ => String::new(),
    }
}

fn wechat_total(name: &str, items: &[Item]) -> String {
    let (paid, refunded) = (of(Kind::Paid, items), of(Kind::Refunded, items));
    match name {
        "总交易单数" | "资金流水总笔数" => format!("{}.0", items.len()),
        "收入笔数" => paid.count.to_string(),
        "支出笔数" => refunded.count.to_string(),
        "订单总金额" | "应结订单总金额" | "总交易额" | "收入金额" => yuan(paid.fen),
        "退款总金额" | "申请退款总金额" | "总退款金额" | "支出金额" => yuan(refunded.fen),
        // Six tenths of a fen each, to the nearest fen.
        "手续费总金额" => yuan((6 * paid.count as u64 + 5) / 10),
        _ => "0.0".into(),
    }
}

const TRADE: &str = "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,\
    订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,\
    商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注";
const LEDGER: &str = "账务流水号,业务流水号,商户订单号,商品名称,发生时间,对方账号,收入金额（+元）,支出金额（-元）,账户余额（元）,\
    交易渠道,业务类型,备注";

pub(super) fn alipay_trade(items: &[Item]) -> Vec<u8> {
    let (paid, refunded) = (of(Kind::Paid, items), of(Kind::Refunded, items));
    let rows = items.iter().map(|item| {
        let is_refund = item.kind == Kind::Refunded;
        let sum = if is_refund { format!("-{}", item.yuan()) } else { item.yuan() };
        let cell = |name: &str| match name {
            "支付宝交易号" => format!("{}\t", item.txn_no()),
            "商户订单号" => format!("{}\t", item.order_no()),
            "业务类型" => if is_refund { "退款\t" } else { "交易\t" }.into(),
            "商品名称" => item.text.clone(),
            "创建时间" | "完成时间" => item.time("%Y-%m-%d %H:%M:%S"),
            "订单金额（元）" | "商家实收（元）" => sum.clone(),
            "退款批次号/请求号" if is_refund => format!("{}\t", item.refund_no()),
            _ if name.ends_with("（元）") => "0.00".into(),
            _ => "\t".into(),
        };
        TRADE.split(',').map(cell).collect::<Vec<_>>().join(",")
    });
    let foot = [
        format!("#交易合计：{}笔，商家实收共{}元，商家优惠共0.00元", paid.count, yuan(paid.fen)),
        format!("#退款合计：{}笔，商家实收退款共-{}元，商家优惠退款共0.00元", refunded.count, yuan(refunded.fen)),
    ];
    alipay("业务明细", TRADE, rows.collect(), &foot)
}

pub(super) fn alipay_ledger(items: &[Item]) -> Vec<u8> {
    let (paid, refunded) = (of(Kind::Paid, items), of(Kind::Refunded, items));
    let mut balance_fen = refunded.fen;
    let rows = items.iter().map(|item| {
        let is_out = item.kind == Kind::Refunded;
        balance_fen = if is_out { balance_fen - item.fen } else { balance_fen + item.fen };
        let cell = |name: &str| match name {
            "账务流水号" => format!("{}\t", item.txn_no()),
            "商户订单号" => format!("{}\t", item.order_no()),
            "商品名称" => item.text.clone(),
            "发生时间" => item.time("%Y-%m-%d %H:%M:%S"),
            "收入金额（+元）" if !is_out => item.yuan(),
            "支出金额（-元）" if is_out => format!("-{}", item.yuan()),
            "收入金额（+元）" | "支出金额（-元）" => String::new(),
            "账户余额（元）" => yuan(balance_fen),
            _ => "\t".into(),
        };
        LEDGER.split(',').map(cell).collect::<Vec<_>>().join(",")
    });
    let rows = rows.collect();
    let foot = [
        format!("#支出合计：{}笔，共-{}元", refunded.count, yuan(refunded.fen)),
        format!("#收入合计：{}笔，共{}元", paid.count, yuan(paid.fen)),
    ];
    alipay("账务明细", LEDGER, rows, &foot)
}

pub(super) fn alipay_trade_summary(items: &[Item]) -> Vec<u8> {
    let (paid, refunded) = (of(Kind::Paid, items), of(Kind::Refunded, items));
    let titles = "门店编号,门店名称,交易订单总笔数,退款订单总笔数,订单金额（元）,商家实收（元）";
    let total = format!("合计\t,\t,{},{},{},{}", paid.count, refunded.count, yuan(paid.fen), yuan(paid.fen));
    alipay("业务汇总", titles, vec![total], &[])
}

pub(super) fn alipay_ledger_summary(items: &[Item]) -> Vec<u8> {
    let (paid, refunded) = (of(Kind::Paid, items), of(Kind::Refunded, items));
    let titles = "类型,收入笔数,收入金额（+元）,支出笔数,支出金额（-元）,总金额（元）";
    let (income, expense) = (yuan(paid.fen), yuan(refunded.fen));
    let total = format!("合计\t,{}\t,{income}\t,{}\t,-{expense}\t,0.00\t", paid.count, refunded.count);
    alipay("账务汇总", titles, vec![total], &[])
}

/// A table between the lines that all of Alipay's files have.
fn alipay(word: &str, titles: &str, rows: Vec<String>, foot: &[String]) -> Vec<u8> {
    let mut lines = vec![
        format!("#支付宝{word}查询"),
        format!("#账号：[{ACCOUNT}]"),
        "#起始日期：[2026年04月16日 00:00:00]   终止日期：[2026年04月17日 00:00:00]".into(),
        format!("#----------{}列表----------", word),
        titles.into(),
    ];
    lines.extend(rows);
    lines.push(format!("#----------{word}列表结束----------"));
    lines.extend_from_slice(foot);
    lines.push("#导出时间：[2026年04月17日 05:46:49]".into());
    let text: String = lines.into_iter().map(|line| line + "\r\n").collect();
    GB18030.encode(&text).0.into_owned()
}
