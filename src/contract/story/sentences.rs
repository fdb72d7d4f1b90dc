//! Entries in words: both languages side by side. A line says what happened; those behind it how and why.

use chrono::{DateTime, Utc};

use super::words::{Language, Said, name};
use super::{Disagreement, Entry, Evidence, MoneyStep, Story, What, YearStep};
use crate::domain::amount_setting::HoldReason;
use crate::domain::declaration::DeclarationState;

/// One of two formats, filled with what is in scope.
macro_rules! say {
    ($language:expr, $chinese:literal, $english:literal $(, $name:ident = $value:expr)* $(,)?) => {
        match $language {
            Language::Chinese => format!($chinese $(, $name = $value)*),
            Language::English => format!($english $(, $name = $value)*),
        }
    };
}

// Behind the macro, which they use.
mod facts;
mod runs;

/// In Beijing's time, as everybody there reads it.
fn clock(at: DateTime<Utc>) -> String {
    let beijing = chrono::FixedOffset::east_opt(8 * 3600).expect("eight hours east");
    at.with_timezone(&beijing).format("%Y-%m-%d %H:%M:%S").to_string()
}

pub(super) fn of(entry: &Entry, l: Language) -> Vec<String> {
    let about = about(entry, l);
    let mut lines = match &entry.what {
        What::Message(step) => facts::message(step, &about, l),
        What::Year(step) => year(step, &about, l),
        What::Run(step) => runs::run(step, &about, l),
        What::Money(step) => money(step, &about, l),
        What::Disagreement(step) => disagreement(step, l),
    };
    if !entry.told.is_empty() {
        let told: Vec<&str> = entry.told.iter().map(|kind| kind.as_str()).collect();
        lines.push(format!("→ {}", told.join(", ")));
    }
    lines
}

/// The type and year an entry is about, as the beginning of its sentence.
fn about(entry: &Entry, l: Language) -> String {
    match (&entry.insurance_type, entry.valid_year) {
        (Some(of), Some(year)) => say!(l, "{of} {year} 年度:", "{of} {year}: ", of = name(of, l)),
        (Some(of), None) => say!(l, "{of}:", "{of}: ", of = name(of, l)),
        (None, _) => String::new(),
    }
}

fn year(step: &YearStep, about: &str, l: Language) -> Vec<String> {
    match step {
        YearStep::CarriedOver { from_year, amount, hold_reason } => {
            let said = say!(
                l,
                "{about}缴费金额沿用 {from_year} 年度:{amount} 元",
                "{about}the amount of {from_year} is carried over: {amount} yuan",
            );
            std::iter::once(said).chain(hold_reason.map(|why| held(why, l))).collect()
        }
        YearStep::Expired { amount } => {
            vec![say!(
                l,
                "{about}缴费期已结束,金额 {amount} 元未缴,不再扣款",
                "{about}the year is over, {amount} yuan were not paid and are collected no more",
            )]
        }
        YearStep::HeldByPerson { released, by, reason } => {
            let said = if *released {
                say!(l, "{about}恢复批量扣款", "{about}the hold of the amount is ended")
            } else {
                say!(l, "{about}暂停批量扣款", "{about}the amount is held: no run deducts it")
            };
            vec![said, person(by, None, reason, l)]
        }
    }
}

fn money(step: &MoneyStep, about: &str, l: Language) -> Vec<String> {
    match step {
        MoneyStep::Result {
            order_no,
            file_name,
            line_no,
            code,
            class,
            meaning,
            next_step,
            tried_again,
            declaration_state,
            held: why,
        } => {
            let mut lines = vec![say!(
                l,
                "{about}回盘文件 {file_name} 第 {line_no} 行:{class}",
                "{about}result file {file_name}, line {line_no}: {class}",
                class = class.said(l),
            )];
            let code = coded(code, meaning.as_deref(), l);
            lines.push(say!(l, "订单 {order_no},{code}", "order {order_no}, {code}"));
            lines.extend(next_step.as_ref().map(|step| say!(l, "缴费人:{step}", "the payer: {step}")));
            let state = declaration_state.as_deref().and_then(DeclarationState::parse).map(|state| state.said(l));
            lines.extend(state.map(|state| say!(l, "申报:{state}", "declaration: {state}")));
            if *tried_again {
                lines.push(say!(l, "下一批次再次扣款", "the next run tries again"));
            }
            lines.extend(why.map(|why| held(why, l)));
            lines
        }
        MoneyStep::Paid {
            order_no,
            declaration_no,
            amount,
            gateway,
            bank_code,
            gateway_txn_no,
            settled_at,
            evidence,
        } => {
            vec![
                say!(
                    l,
                    "{about}已缴费 {amount} 元,订单 {order_no},申报 {declaration_no}",
                    "{about}{amount} yuan paid, order {order_no}, declaration {declaration_no}",
                ),
                say!(
                    l,
                    "{gateway}{bank} {at} 入账{number},依据:{by}",
                    "{gateway}{bank} took it {at}{number}, by {by}",
                    gateway = name(gateway, l),
                    bank = if bank_code.is_empty() { String::new() } else { format!(" {bank_code}") },
                    at = clock(*settled_at),
                    number = transaction(gateway_txn_no.as_deref(), l),
                    by = rests_on(evidence, l),
                ),
            ]
        }
        MoneyStep::Confirmed { order_no, amount, evidence } => vec![say!(
            l,
            "对账单确认订单 {order_no} 已支付 {amount} 元:{by}",
            "a bill confirms order {order_no}, {amount} yuan: {by}",
            by = rests_on(evidence, l),
        )],
        MoneyStep::Refunded { order_no, amount, evidence } => vec![say!(
            l,
            "对账单:订单 {order_no} 退款 {amount} 元,{by}",
            "a bill says that {amount} yuan of order {order_no} went back: {by}",
            by = rests_on(evidence, l),
        )],
        MoneyStep::Unpaid { order_no } => vec![say!(
            l,
            "订单 {order_no} 已过期,有效期内各日对账单均无此订单:未支付",
            "order {order_no} has expired, and no bill of its days has it: not paid",
        )],
        MoneyStep::Reversed { order_no, declaration_no, reversed_at, evidence } => vec![
            say!(
                l,
                "{about}款项已退回,订单 {order_no},申报 {declaration_no};该费款可重新申报",
                "{about}the money of order {order_no}, declaration {declaration_no}, went back; it may be declared anew",
            ),
            say!(
                l,
                "{at} 退回,依据:{by}",
                "it went back {at}, by {by}",
                at = clock(*reversed_at),
                by = rests_on(evidence, l),
            ),
        ],
        MoneyStep::Undone { order_no, file_name, paid, by, second_by, reason } => {
            let was = paid
                .as_ref()
                .map(|paid| say!(l, "原记缴费 {paid} 元不再计入", "the {paid} yuan that it had as paid count no more"));
            let what = say!(
                l,
                "{about}回盘文件 {file_name} 已撤销,其中订单 {order_no} 的结果不再有效",
                "{about}result file {file_name} was put back: what it said of order {order_no} holds no more",
            );
            [Some(what), was, Some(person(by, second_by.as_deref(), reason, l))].into_iter().flatten().collect()
        }
    }
}

fn disagreement(step: &Disagreement, l: Language) -> Vec<String> {
    match step {
        Disagreement::Discrepancy {
            discrepancy_id,
            kind,
            order_no,
            amount_ours,
            amount_theirs,
            code,
            meaning,
            evidence,
            state: _,
            resolved_by,
        } => {
            let mut lines = vec![say!(
                l,
                "差错 {discrepancy_id}:{what}({kind}),待人工处理",
                "discrepancy {discrepancy_id}: {what} ({kind}); it waits for a person",
                what = kind.said(l),
                kind = kind.as_str(),
            )];
            let order = order_no.as_ref().map(|number| say!(l, "订单 {number}", "order {number}"));
            let ours = amount_ours.as_ref().map(|sum| say!(l, "我方 {sum} 元", "ours {sum} yuan"));
            let theirs = amount_theirs.as_ref().map(|sum| say!(l, "对方 {sum} 元", "theirs {sum} yuan"));
            let parts: Vec<String> = [order, ours, theirs, Some(rests_on(evidence, l))].into_iter().flatten().collect();
            lines.push(parts.join(if l == Language::Chinese { "," } else { ", " }));
            lines.extend(code.as_ref().map(|code| coded(code, meaning.as_deref(), l)));
            lines.extend(
                resolved_by
                    .as_ref()
                    .map(|by| say!(l, "后来的信息已解决:{by}", "what came later has resolved it: {by}")),
            );
            lines
        }
        Disagreement::Decided { discrepancy_id, kind: _, decision, attached_to, by, second, reason } => {
            let said = match decision {
                Some(decision) => say!(
                    l,
                    "差错 {discrepancy_id} 已处理:{what}({decision})",
                    "discrepancy {discrepancy_id} is resolved: {what} ({decision})",
                    what = decision.said(l),
                    decision = decision.as_str(),
                ),
                None => say!(l, "差错 {discrepancy_id} 重新打开", "discrepancy {discrepancy_id} is opened again"),
            };
            let attached =
                attached_to.as_ref().map(|number| say!(l, "归入订单 {number}", "attached to order {number}"));
            std::iter::once(said).chain(attached).chain([person(by, second.as_deref(), reason, l)]).collect()
        }
    }
}

fn held(why: HoldReason, l: Language) -> String {
    say!(l, "暂不扣款:{why}", "not collected for the time being: {why}", why = why.said(l))
}

fn person(by: &str, second: Option<&str>, reason: &str, l: Language) -> String {
    let second = second.map_or_else(String::new, |name| say!(l, "、{name}", " and {name}"));
    say!(l, "经办:{by}{second};理由:{reason}", "by {by}{second}, because: {reason}")
}

fn coded(code: &str, meaning: Option<&str>, l: Language) -> String {
    match meaning {
        Some(meaning) => say!(l, "代码 {code}:{meaning}", "code {code}: {meaning}"),
        None => say!(l, "代码 {code},含义不明", "code {code}, of no meaning that we know"),
    }
}

fn transaction(number: Option<&str>, l: Language) -> String {
    number.map_or_else(String::new, |number| say!(l, ",流水号 {number}", ", transaction {number}"))
}

fn rests_on(evidence: &Evidence, l: Language) -> String {
    match evidence {
        Evidence::File { file_name, line_no } => {
            say!(l, "文件 {file_name} 第 {line_no} 行", "file {file_name}, line {line_no}")
        }
        Evidence::Report { source, id } => say!(l, "渠道报告 {id}({source})", "report {id} of {source}"),
        Evidence::Decision { decision_id } => say!(l, "人工处理 {decision_id}", "a person's decision {decision_id}"),
        Evidence::Silence => say!(l, "逾期没有消息", "silence"),
    }
}

pub(super) fn title(story: &Story, l: Language) -> String {
    let of = story.insurance_type.as_deref().map(|of| name(of, l).to_owned());
    let year = story.valid_year.map(|year| say!(l, "{year} 年度", "{year}"));
    let only: Vec<String> = of.into_iter().chain(year).collect();
    let only = if only.is_empty() { String::new() } else { format!(" · {}", only.join(" · ")) };
    say!(l, "缴费人 {payer}{only}", "payer {payer}{only}", payer = story.payer_id)
}

pub(super) fn notes(story: &Story, l: Language) -> Vec<String> {
    let cut = story.cut_at.map(|most| {
        say!(
            l,
            "记录过多:每一类只列出最近 {most} 条",
            "there is more than this: of each kind the newest {most} are told",
        )
    });
    let nothing = story.entries.is_empty().then(|| say!(l, "没有相关记录", "there is nothing of that"));
    let waiting = story.events_wait_since.map(|since| {
        say!(l, "自 {since} 起有事件尚未发出", "since {since} events wait to be published", since = clock(since),)
    });
    nothing.into_iter().chain(cut).chain(waiting).collect()
}

pub(super) fn standing(story: &Story, l: Language) -> Vec<String> {
    let amounts = story.amounts_now.iter().map(|one| {
        let held = one.hold_reason.map_or_else(String::new, |why| say!(l, ";{why}", "; {why}", why = held(why, l)));
        say!(
            l,
            "{of} {year} 年度缴费金额 {amount} 元:{status}{held}",
            "{of} {year}: amount {amount} yuan, {status}{held}",
            of = name(&one.insurance_type, l),
            year = one.valid_year,
            amount = one.amount,
            status = name(one.status, l),
        )
    });
    let declarations = story.declarations_now.iter().map(|one| {
        let state = if one.paid {
            name("fulfilled", l)
        } else {
            DeclarationState::parse(one.state).map_or(one.state, |s| s.said(l))
        };
        say!(
            l,
            "申报 {number}:{of} {from}–{to},{amount} 元,渠道 {channel}:{state}",
            "declaration {number}: {of} {from}–{to}, {amount} yuan, by {channel}: {state}",
            number = one.declaration_no,
            of = name(&one.insurance_type, l),
            from = one.period_from,
            to = one.period_to,
            amount = one.amount,
            channel = name(&one.channel, l),
        )
    });
    amounts.chain(declarations).collect()
}
