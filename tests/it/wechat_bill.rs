//! Trade bills of WeChat Pay as the gateway writes them, with totals that agree with their rows.

use pikou::gateway::Answers;
use pikou::stages::Context;
use pikou::stages::reconcile::{self, Outcome};
use serde_json::{Value, json};

use crate::support::*;

pub const MERCHANT: &str = "1699990001";
pub const BILLS: (&str, &str) = ("PIKOU__GATEWAYS__WECHAT_PAY__BILL__MERCHANT_IDS", "[\"1699990001\"]");

/// Fields of a row that tests are about; amounts in yuan.
#[derive(Clone)]
pub struct BillRow {
    pub time: &'static str,
    pub txn_no: String,
    pub order_no: String,
    pub state: &'static str,
    pub amount: &'static str,
    pub refund: Option<(&'static str, &'static str, &'static str)>,
}

/// 08:04:59 on the 11th, where tests have no other time.
const TIME: &str = "2026-04-11 08:04:59";

pub fn paid(order_no: &str, txn_no: &str, amount: &'static str) -> BillRow {
    BillRow { time: TIME, txn_no: txn_no.into(), order_no: order_no.into(), state: "SUCCESS", amount, refund: None }
}

pub fn of_state(state: &'static str, row: BillRow) -> BillRow {
    BillRow { state, ..row }
}

/// A refund `(number, amount, state)` of a payment; `amount` of the row itself is 0.00.
pub fn refund(
    order_no: &str,
    txn_no: &str,
    refund_no: &'static str,
    amount: &'static str,
    state: &'static str,
) -> BillRow {
    BillRow { refund: Some((refund_no, amount, state)), ..of_state("REFUND", paid(order_no, txn_no, "0.00")) }
}

fn fen(amount: &str) -> i64 {
    amount.replace('.', "").parse().unwrap()
}

/// The bill of a day.
pub fn bill(rows: &[BillRow]) -> Vec<u8> {
    let yuan = |fen: i64| format!("{}.{:02}", fen / 100, fen % 100);
    let mut text = "\u{feff}交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,\
                    应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,\
                    费率,订单金额,申请退款金额,费率备注\r\n"
        .to_owned();
    let (mut total, mut refunded) = (0, 0);
    for row in rows {
        let (refund_no, back, state) = row.refund.unwrap_or(("0", "0.00", ""));
        let kind = if row.refund.is_some() { "ORIGINAL" } else { "" };
        total += fen(row.amount);
        refunded += fen(back);
        let cells = [
            row.time,
            "wx99990000aaaa0001",
            MERCHANT,
            "0",
            "",
            &row.txn_no,
            &row.order_no,
            "oU999",
            "JSAPI",
            row.state,
            "OTHERS",
            "CNY",
            row.amount,
            "0.00",
            refund_no,
            refund_no,
            back,
            "0.00",
            kind,
            state,
            "保险费",
            "",
            "0.00000",
            "0.00%",
            row.amount,
            back,
            "",
        ];
        text += &format!("`{}\r\n", cells.join(",`"));
    }
    text += "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额\r\n";
    let (total, refunded) = (yuan(total), yuan(refunded));
    text += &format!("`{},`{total},`{refunded},`0.00,`0.00000,`{total},`{refunded}\r\n", rows.len());
    text.into_bytes()
}

/// The name of the bill of a day of April.
pub fn name_of(day: u32) -> String {
    format!("{MERCHANT}All2026-04-{day:02}_2026-04-{day:02}.csv")
}

/// Applies a bill of a day of April.
pub async fn take_bill(ctx: &Context, day: u32, rows: &[BillRow]) -> Outcome {
    take_named(ctx, &name_of(day), &bill(rows)).await
}

pub async fn take_named(ctx: &Context, name: &str, bytes: &[u8]) -> Outcome {
    let from = ctx.settings.wechat.as_ref().unwrap() as &dyn Answers;
    reconcile::reconcile(ctx, from, name, bytes).await.unwrap()
}

/// An order by WeChat Pay; the one declaration or the two of [`declared`].
pub fn started(order_no: &str, items: &[(&str, &str)], fields: Value) -> Value {
    let message = payment_started(order_no, items, json!({"gateway": "wechat_pay", "method": "wechat_pay"}));
    with_data(message, fields)
}

/// A payer with a declaration for the year, N-payer of 2000.00, and one for an assessed back payment, S-payer of 1200.00.
pub fn declared(payer: &str) -> Vec<Value> {
    vec![
        enrolment(payer),
        amount_set(payer, &format!("set-{payer}"), "2026-04-02T00:00:00Z", "2000.00"),
        declaration(payer, &format!("N-{payer}"), json!({"collect_by": "online"})),
        assessment(payer, &format!("A-{payer}"), &format!("assess-{payer}"), "2026-03-01T00:00:00Z", json!({})),
        special(payer, &format!("S-{payer}"), &format!("A-{payer}")),
    ]
}

/// What bills do to the book, as one text: orders, declarations, settlements (by file#line or report), confirmations,
/// reversals, discrepancies, refunds, files with `rows = applied + repeated + discrepancies + not ours`, and the events
/// that were told since.
pub async fn bill_book(place: &Place, told: usize) -> String {
    place.account().await;
    let mut parts = Vec::new();
    for (name, sql) in [
        ("", "SELECT order_no || CASE item WHEN 1 THEN ' ' ELSE '/' || item || ' ' END || status FROM attempt_status ORDER BY order_no, item"),
        (
            "",
            "SELECT d.declaration_no || ' ' || CASE WHEN s.order_no IS NULL THEN d.state ELSE 'paid' END
             FROM declarations d LEFT JOIN standing_settlements s USING (declaration_no) ORDER BY 1",
        ),
        (
            "settled ",
            "SELECT concat_ws(' ', order_no || CASE item WHEN 1 THEN '' ELSE '/' || item END, amount, gateway_txn_no, 'by',
                    COALESCE(result_file_id || '#' || line_no, message_id)) FROM settlements ORDER BY order_no, item",
        ),
        (
            "confirmed ",
            "SELECT concat_ws(' ', order_no, amount, gateway_txn_no, 'by', result_file_id || '#' || line_no) FROM confirmations ORDER BY 1",
        ),
        (
            "reversed ",
            "SELECT concat_ws(' ', order_no || CASE item WHEN 1 THEN '' ELSE '/' || item END, gateway_txn_no, 'by', result_file_id || '#' || line_no)
             FROM reversals ORDER BY 1",
        ),
        (
            "wrong ",
            "SELECT concat_ws(' ', result_file_id || '#' || line_no || CASE item WHEN 1 THEN '' ELSE '/' || item END, kind, day, order_no,
                    declaration_no, 'ours ' || amount_ours, 'theirs ' || amount_theirs, evidence)
             FROM discrepancies ORDER BY discrepancy_id",
        ),
        (
            "file ",
            "SELECT result_file_id || ' ' || CASE state WHEN 'applied' THEN rows || ' = ' || applied || ' + ' || repeated
                    || ' + ' || discrepancies || ' + ' || not_ours ELSE state || ' ' || COALESCE(refused_as || ' ' || refused_reason, '') END
             FROM result_files ORDER BY result_file_id",
        ),
    ] {
        let lines = place.texts(sql).await;
        if !lines.is_empty() {
            parts.push(format!("{name}{}", lines.join(", ")));
        }
    }
    let events = place.told().await;
    let events: Vec<String> =
        events[told..].iter().map(|(kind, subject, seq)| format!("{kind} {subject} {seq}")).collect();
    if !events.is_empty() {
        parts.push(format!("told {}", events.join(", ")));
    }
    parts.join(" | ").replace("/resident_pension/2026", "/2026")
}
