//! Runs in words.

use super::super::RunStep;
use super::super::words::{Language, Said, name};
use super::{clock, person};

pub(super) fn run(step: &RunStep, about: &str, l: Language) -> Vec<String> {
    match step {
        RunStep::Deducted {
            run_id,
            business_date,
            order_no,
            declaration_no,
            amount,
            gateway,
            bank_code,
            filed,
            withdrawal,
        } => {
            let mut lines = vec![say!(
                l,
                "{about}批扣批次 {run_id}({business_date}):扣款 {amount} 元",
                "{about}run {run_id} of {business_date} deducts {amount} yuan",
            )];
            let by = match (filed, l) {
                (true, Language::Chinese) => "(本批次申报)",
                (true, Language::English) => " (filed by the run)",
                (false, _) => "",
            };
            lines.push(say!(
                l,
                "订单 {order_no},申报 {declaration_no}{by},{gateway} {bank_code}",
                "order {order_no}, declaration {declaration_no}{by}, {gateway} {bank_code}",
                gateway = name(gateway, l),
            ));
            lines.extend(withdrawal.map(|why| {
                say!(l, "封存前已撤回:{why}", "withdrawn before its file was sealed: {why}", why = why.said(l))
            }));
            lines
        }
        RunStep::Skipped { run_id, business_date, reason, declaration_no } => {
            let special = declaration_no
                .as_ref()
                .map_or_else(String::new, |number| say!(l, ",申报 {number}", ", declaration {number}"));
            vec![say!(
                l,
                "{about}批扣批次 {run_id}({business_date}{special}):未扣款。{why}({reason})",
                "{about}run {run_id} of {business_date}{special} does not deduct. {why} ({reason})",
                why = reason.said(l),
                reason = reason.as_str(),
            )]
        }
        RunStep::NotCandidate { run_id, business_date } => vec![say!(
            l,
            "{about}批扣批次 {run_id}({business_date}):不在批扣范围。当时没有缴费金额,也没有待批扣的申报",
            "{about}run {run_id} of {business_date}: no candidate. There was no amount, and no declaration to be collected in batch",
        )],
        RunStep::RunHeld { run_id, reasons } => {
            let why: Vec<&str> = reasons.iter().map(|reason| reason.said(l)).collect();
            let why = why.join(if l == Language::Chinese { "、" } else { ", " });
            vec![say!(l, "批扣批次 {run_id} 等待人工放行:{why}", "run {run_id} waits for a person: {why}")]
        }
        RunStep::RunDecided { run_id, cancelled, by, reason } => {
            let said = if *cancelled {
                say!(l, "批扣批次 {run_id} 已取消", "run {run_id} was cancelled")
            } else {
                say!(l, "批扣批次 {run_id} 已放行", "run {run_id} was released")
            };
            vec![said, person(by, None, reason, l)]
        }
        RunStep::InFile { order_no, file_name, place, sealed_at, delivered_at } => {
            let sealed = clock(*sealed_at);
            let handed = match delivered_at {
                Some(at) => say!(l, "{sealed} 封存,{at} 送出", "sealed {sealed}, handed over {at}", at = clock(*at)),
                None => say!(l, "{sealed} 封存,尚未送出", "sealed {sealed}, not handed over yet"),
            };
            vec![
                say!(
                    l,
                    "订单 {order_no} 在送盘文件 {file_name} 第 {place} 笔",
                    "order {order_no} is item {place} of request file {file_name}",
                ),
                handed,
            ]
        }
    }
}
