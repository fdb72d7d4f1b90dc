//! Messages in words.

use super::super::words::{IF_FAILED, IF_SUCCEEDED, Language, Said, name};
use super::super::{Answer, Fact, MessageStep};
use super::{clock, coded, transaction};
use crate::domain::declaration::Kind;

pub(super) fn message(step: &MessageStep, about: &str, l: Language) -> Vec<String> {
    match step {
        MessageStep::Message { source, id, sent_at, fact, answer, repeated, too_late_for } => {
            let mut lines = vec![format!("{about}{}", said(fact, l))];
            match answer {
                Answer::Accepted => {}
                Answer::Refused { code } => {
                    lines.push(say!(
                        l,
                        "未受理:{why}({code})",
                        "refused: {why} ({code})",
                        why = code.said(l),
                        code = code.as_str()
                    ));
                }
                Answer::Stale => {
                    lines.push(say!(l, "已有更新的信息,此条不生效", "something newer was known: this changed nothing"));
                }
                Answer::Waiting { wait_for, wait_until } => {
                    let awaited = name(wait_for.split('/').next().unwrap_or_default(), l);
                    let until = wait_until.map(clock).unwrap_or_default();
                    lines.push(say!(
                        l,
                        "等待{awaited}到达,最迟至 {until}",
                        "waits for {awaited}, until {until} at the latest"
                    ));
                }
            }
            if let Some(file) = too_late_for {
                lines.push(say!(
                    l,
                    "送盘文件 {file} 已封存:{good},{bad}",
                    "its deduction was in the sealed file {file} already: {good}, {bad}",
                    good = l.pick(IF_SUCCEEDED),
                    bad = l.pick(IF_FAILED),
                ));
            }
            if let Fact::PaymentReported { code: Some(code), meaning, .. } = fact {
                lines.push(coded(code, meaning.as_deref(), l));
            }
            lines.extend(again(*repeated, l));
            lines.push(say!(
                l,
                "消息 {id}({source}),{at} 发出",
                "message {id} of {source}, sent {at}",
                at = clock(*sent_at)
            ));
            lines
        }
        MessageStep::Quarantined { quarantine_id, code, reason, position, state, repeated } => {
            let mut lines = vec![say!(
                l,
                "消息无法理解,已隔离(第 {quarantine_id} 号,{state})",
                "a message was not understood and is in the quarantine (entry {quarantine_id}, {state})",
                state = name(state, l),
            )];
            let at = if position.is_empty() { String::new() } else { format!(" ({position})") };
            lines.push(format!("{code}: {reason}{at}"));
            lines.extend(again(*repeated, l));
            lines
        }
    }
}

fn again(times: i32, l: Language) -> Option<String> {
    (times > 0).then(|| {
        say!(l, "同一消息又收到 {times} 次,不重复处理", "the same message came again, times: {times}; no effect")
    })
}

fn said(fact: &Fact, l: Language) -> String {
    match fact {
        Fact::Enrolment { status, effective_on, division_code, category } => {
            let kind = category.as_ref().map_or_else(String::new, |kind| say!(l, ",类别 {kind}", ", category {kind}"));
            let status = name(status, l);
            say!(
                l,
                "参保信息{status},自 {effective_on} 起,行政区划 {division_code}{kind}",
                "enrolment {status} from {effective_on}, division {division_code}{kind}",
            )
        }
        Fact::Agreement { agreement_no, gateway, bank_code, status, batch_enabled, insurance_types, amount_max } => {
            let scope: Vec<&str> = insurance_types.iter().map(|of| name(of, l)).collect();
            let batch = match (batch_enabled, l) {
                (true, Language::Chinese) => "可批扣",
                (false, Language::Chinese) => "不可批扣",
                (true, Language::English) => "batch deduction allowed",
                (false, Language::English) => "no batch deduction",
            };
            let most = amount_max
                .as_ref()
                .map_or_else(String::new, |sum| say!(l, ",每笔最高 {sum} 元", ", at most {sum} yuan"));
            say!(
                l,
                "委托扣款协议 {agreement_no} {status}:{gateway} {bank_code},{batch}{most},险种:{scope}",
                "withholding agreement {agreement_no} {status}: {gateway} {bank_code}, {batch}{most}, for {scope}",
                status = name(status, l),
                gateway = name(gateway, l),
                scope = scope.join(if l == Language::Chinese { "、" } else { ", " }),
            )
        }
        Fact::AmountSet { amount, channel, period_from } => {
            let from =
                period_from.as_ref().map_or_else(String::new, |month| say!(l, ",自 {month} 起", ", from {month} on"));
            let channel = name(channel, l);
            say!(l, "设置缴费金额 {amount} 元{from},渠道 {channel}", "amount set to {amount} yuan{from}, by {channel}")
        }
        Fact::AmountVoided { channel } => {
            say!(l, "作废缴费金额,渠道 {channel}", "amount voided, by {channel}", channel = name(channel, l))
        }
        Fact::Assessment { assessment_no, assessed, period_from, period_to, amount, pay_by, issued } => {
            let assessed = name(assessed, l);
            if *issued {
                say!(
                    l,
                    "特殊缴费核定 {assessment_no}:{assessed} {period_from}–{period_to},{amount} 元,{pay_by} 前缴纳",
                    "assessment {assessment_no}: {assessed} {period_from}–{period_to}, {amount} yuan, to be paid by {pay_by}",
                )
            } else {
                say!(l, "特殊缴费核定 {assessment_no} 已撤回", "assessment {assessment_no} withdrawn")
            }
        }
        Fact::Declaration { declaration_no, kind, period_from, period_to, amount, channel, collect_by } => {
            let by = match (collect_by.as_str(), l) {
                ("batch", Language::Chinese) => "批量扣款",
                ("batch", Language::English) => "to be collected in batch",
                (_, Language::Chinese) => "自行缴纳",
                (_, Language::English) => "to be paid by the payer",
            };
            say!(
                l,
                "申报 {declaration_no}({kind}):费款所属期 {period_from}–{period_to},{amount} 元,渠道 {channel},{by}",
                "declaration {declaration_no} ({kind}): period {period_from}–{period_to}, {amount} yuan, by {channel}, {by}",
                kind = Kind::parse(kind).map_or(kind.as_str(), |kind| kind.said(l)),
                channel = name(channel, l),
            )
        }
        Fact::VoidRequested { declaration_no, channel } => {
            let channel = name(channel, l);
            say!(
                l,
                "请求作废申报 {declaration_no},渠道 {channel}",
                "declaration {declaration_no} to be voided, by {channel}"
            )
        }
        Fact::PaymentStarted { order_no, declaration_nos, amount, gateway, channel, expires_at } => say!(
            l,
            "发起支付:订单 {order_no},{amount} 元,{gateway},渠道 {channel},申报 {declarations},{until} 前有效",
            "payment started: order {order_no}, {amount} yuan, {gateway}, by {channel}, declarations {declarations}, until {until}",
            gateway = name(gateway, l),
            channel = name(channel, l),
            declarations = declaration_nos.join(", "),
            until = clock(*expires_at),
        ),
        Fact::PaymentReported { order_no, outcome, gateway_txn_no, .. } => {
            let number = transaction(gateway_txn_no.as_deref(), l);
            let outcome = name(outcome, l);
            say!(l, "渠道报告订单 {order_no}:{outcome}{number}", "report on order {order_no}: {outcome}{number}")
        }
        Fact::Other { kind } => kind.clone(),
    }
}
