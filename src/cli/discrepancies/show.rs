//! The whole story of one discrepancy.

use serde::Serialize;

use super::DiscrepancyReport;
use crate::cli::print::{harmless, time};
use crate::cli::{Failure, print};
use crate::stages::Context;
use crate::stages::resolve::{self, Shown};
use crate::store::decided_orders::{Booked, OrderItem};
use crate::store::discrepancy_decisions::DiscrepancyDecision;

#[derive(Serialize)]
struct ShowReport {
    #[serde(flatten)]
    discrepancy: DiscrepancyReport,
    /// What its code means by the tables of today.
    #[serde(skip_serializing_if = "Option::is_none")]
    code_class: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code_reason: Option<String>,
    /// What we hold of the order.
    order: Vec<ItemReport>,
    /// The payment that stands for the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    booked: Option<serde_json::Value>,
    may_decide: Vec<ChoiceReport>,
    decisions: Vec<serde_json::Value>,
    others_of_the_order: Vec<i64>,
}

#[derive(Serialize)]
struct ItemReport {
    order_no: String,
    payer_id: String,
    declaration_no: String,
    insurance_type: String,
    period_from: String,
    period_to: String,
    amount: String,
    attempt: String,
    declaration: String,
    run_id: Option<i64>,
    request_file: Option<String>,
    settled_at: Option<String>,
    gateway_txn_no: Option<String>,
    /// Another order that is out for the declaration, or has paid it.
    other_order_no: Option<String>,
}

#[derive(Serialize)]
struct ChoiceReport {
    decision: &'static str,
    effect: &'static str,
}

/// Under the names of the rule book.
fn attempt(item: &OrderItem) -> String {
    match item.state.as_str() {
        _ if item.settled => "succeeded",
        "planned" if item.sent => "sent",
        state => state,
    }
    .to_owned()
}

fn item(item: OrderItem) -> ItemReport {
    ItemReport {
        attempt: attempt(&item),
        declaration: if item.settled { "paid".to_owned() } else { item.declaration_state },
        order_no: item.order_no,
        payer_id: item.payer_id,
        declaration_no: item.declaration_no,
        insurance_type: item.insurance_type,
        period_from: item.period_from,
        period_to: item.period_to,
        amount: item.amount.to_string(),
        run_id: item.run_id,
        request_file: item.file_name,
        settled_at: item.settled_at.map(time),
        gateway_txn_no: item.gateway_txn_no,
        other_order_no: item.other_order_no,
    }
}

fn booked(booked: &Booked) -> serde_json::Value {
    serde_json::json!({"order_no": booked.order_no, "gateway_txn_no": booked.gateway_txn_no, "settled_at": booked.settled_at})
}

fn decision(decision: &DiscrepancyDecision) -> serde_json::Value {
    serde_json::json!({"decision_id": decision.decision_id, "decided_at": decision.decided_at, "what": decision.what,
        "order_no": decision.order_no, "by": decision.decided_by, "second": decision.second_by, "reason": decision.reason})
}

pub async fn show(ctx: &Context, id: i64, json: bool) -> Result<(), Failure> {
    let Shown { discrepancy, kind, meaning, items, booked: paid, decisions, others } = resolve::show(ctx, id).await?;
    let choices = kind.decisions().iter();
    let report = ShowReport {
        discrepancy: DiscrepancyReport::new(ctx, discrepancy),
        code_class: meaning.as_ref().map(|meaning| meaning.class.as_str()),
        code_reason: meaning.map(|meaning| meaning.reason),
        order: items.into_iter().map(item).collect(),
        booked: paid.as_ref().map(booked),
        may_decide: choices
            .map(|choice| ChoiceReport { decision: choice.as_str(), effect: choice.effect(kind) })
            .collect(),
        decisions: decisions.iter().map(decision).collect(),
        others_of_the_order: others.iter().map(|other| other.discrepancy_id).collect(),
    };
    if json {
        print::document(&report);
        return Ok(());
    }
    for line in lines(&report, &decisions) {
        println!("{line}");
    }
    Ok(())
}

fn lines(report: &ShowReport, decisions: &[DiscrepancyDecision]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |name: &str, text: &str| lines.push(format!("{name:<12}{}", harmless(text)).trim_end().to_owned());
    let one = &report.discrepancy;
    line("id", &one.discrepancy_id.to_string());
    line("kind", &one.kind);
    line("state", &format!("{}{}", one.state, if one.old { ", for too long" } else { "" }));
    line("opened", &time(one.opened_at));
    let gateway = format!("{} {}", one.gateway, one.bank_code);
    line("they", gateway.trim_end());
    if let (Some(file), Some(name)) = (one.result_file_id, &one.file_name) {
        let at = one.line_no.map_or_else(String::new, |line| format!(", line {line}"));
        line("", &format!("in result file {file}, {name}{at}"));
    }
    if let (Some(source), Some(message)) = (&one.message_source, &one.message_id) {
        line("", &format!("in message {message} of {source}"));
    }
    if let Some(order_no) = &one.order_no {
        line("", &format!("of order {order_no}"));
    }
    if let Some(amount) = &one.amount_theirs {
        line("", &format!("{amount} yuan"));
    }
    if let Some(code) = &one.code {
        let means = report.code_reason.as_ref().zip(report.code_class);
        let means =
            means.map_or_else(|| "of no meaning that we know".to_owned(), |(why, class)| format!("{class}: {why}"));
        line("", &format!("code {code}, {means}"));
    }
    if let Some(number) = &one.gateway_txn_no {
        line("", &format!("transaction {number}"));
    }
    if let Some(at) = one.settled_at {
        line("", &format!("money moved {}", time(at)));
    }
    if let Some(detail) = &one.detail {
        line("", detail);
    }
    if report.order.is_empty() {
        line("we", "have no such order");
    }
    for (place, item) in report.order.iter().enumerate() {
        let name = if place == 0 { "we" } else { "" };
        let ItemReport { order_no, payer_id, declaration_no, amount, attempt, declaration, .. } = item;
        line(name, &format!("order {order_no} of payer {payer_id} is {attempt}, {amount} yuan"));
        let (kind, from, to) = (&item.insurance_type, &item.period_from, &item.period_to);
        line("", &format!("declaration {declaration_no} is {declaration}: {kind} {from} to {to}"));
        if let (Some(run_id), Some(file)) = (item.run_id, &item.request_file) {
            line("", &format!("run {run_id}, request file {file}"));
        }
        if let Some(at) = &item.settled_at {
            let by =
                item.gateway_txn_no.as_ref().map_or_else(String::new, |number| format!(" by transaction {number}"));
            line("", &format!("settled {at}{by}"));
        }
        if let Some(other) = &item.other_order_no {
            line("", &format!("order {other} is out for it, or has paid it"));
        }
    }
    if let Some(booked) = report.booked.as_ref().filter(|_| report.order.is_empty()) {
        line("booked", &format!("order {} {}", booked["order_no"].as_str().unwrap_or_default(), booked["settled_at"]));
    }
    for other in &report.others_of_the_order {
        line("see also", &other.to_string());
    }
    for decision in decisions {
        let DiscrepancyDecision { decided_at, what, decided_by, .. } = decision;
        let to = decision.order_no.as_ref().map_or_else(String::new, |order| format!(" to {order}"));
        let second = decision.second_by.as_ref().map_or_else(String::new, |second| format!(" and {second}"));
        line("decision", &format!("{} {what}{to} by {decided_by}{second}", time(*decided_at)));
        line("", &format!("  because: {}", decision.reason));
    }
    if one.state == "open" {
        for choice in &report.may_decide {
            line("may decide", &format!("{}: {}", choice.decision, choice.effect));
        }
    }
    lines
}
