//! What a decision does, or why it cannot be done: the book as it is comes in, an effect goes out. No database.

use rust_decimal::Decimal;

use super::{Case, Resolution, says_paid};
use crate::domain::discrepancy::{Decision, DiscrepancyKind};
use crate::domain::outcome::{CodeMeaning, OutcomeClass};
use crate::store::decided_orders::{Money, OrderItem};

/// Why a decision is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotResolved {
    #[error("there is no discrepancy {0}")]
    Unknown(i64),
    #[error("it was resolved before, by {what}: reopen it first")]
    Decided { what: String },
    #[error("{decision} is not for {kind}; what may be decided: {}", words(.kind))]
    DoesNotFit { decision: &'static str, kind: Kind },
    #[error("{} takes two people: name the second one", .0.as_str())]
    SecondPersonNeeded(Decision),
    #[error("the second person is the first: {0}")]
    SamePerson(String),
    #[error("attach needs the number of an order of ours, and only attach does")]
    OrderNumber,
    #[error("there is no order {0} of ours")]
    NoSuchOrder(String),
    #[error("the row does not say that money moved")]
    NoMoney,
    #[error("the order is of another gateway or bank than the money")]
    OtherGateway,
    #[error("the order is of another payer than the money")]
    OtherPayer,
    #[error("they say {theirs}, the order is of {ours}: no partial payment is booked")]
    AmountDiffers { ours: Decimal, theirs: Decimal },
    #[error("the order was never sent")]
    NotSent,
    #[error("the order is {0}, not open")]
    NotOpen(&'static str),
    #[error("its payment was reversed: the obligation has to be declared anew, and this money refunded outside")]
    Reversed,
    #[error("order {0} is out for its declaration, or has paid it: this money has to be refunded outside")]
    HeldByAnother(String),
    #[error("declaration {0} has taken the place of its own: this money has to be refunded outside")]
    DeclaredAnew(String),
    #[error("its transaction has settled order {0}")]
    TransactionKnown(String),
    #[error(
        "its attempt has failed, so nothing would wait and it could be collected again: say whether it has succeeded"
    )]
    NothingWaits,
}

/// A kind in a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind(pub DiscrepancyKind);

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_str())
    }
}

fn words(kind: &Kind) -> String {
    let words: Vec<&str> = kind.0.decisions().iter().map(|decision| decision.as_str()).collect();
    words.join(", ")
}

impl NotResolved {
    pub fn code(&self) -> &'static str {
        match self {
            NotResolved::Unknown(_) => "unknown_discrepancy",
            NotResolved::Decided { .. } => "decided",
            NotResolved::DoesNotFit { .. } => "does_not_fit",
            NotResolved::SecondPersonNeeded(_) => "second_person_needed",
            NotResolved::SamePerson(_) => "same_person",
            NotResolved::OrderNumber => "order_number",
            NotResolved::NoSuchOrder(_) => "no_such_order",
            NotResolved::NoMoney => "no_money",
            NotResolved::OtherGateway => "other_gateway",
            NotResolved::OtherPayer => "other_payer",
            NotResolved::AmountDiffers { .. } => "amount_differs",
            NotResolved::NotSent => "not_sent",
            NotResolved::NotOpen(_) => "not_open",
            NotResolved::Reversed => "reversed",
            NotResolved::HeldByAnother(_) => "held_by_another",
            NotResolved::DeclaredAnew(_) => "declared_anew",
            NotResolved::TransactionKnown(_) => "transaction_known",
            NotResolved::NothingWaits => "nothing_waits",
        }
    }
}

/// What follows from a decision.
#[derive(Debug, Default)]
pub struct Effect {
    pub order: OrderEffect,
    /// This sum should go back to whom it came from.
    pub refund: Option<Decimal>,
}

/// What becomes of the order.
#[derive(Debug, Default)]
pub enum OrderEffect {
    #[default]
    Nothing,
    Settle(Money),
    Fail(Failure),
    Reverse,
}

/// In what words an order has failed.
#[derive(Debug)]
pub struct Failure {
    pub code: String,
    pub class: OutcomeClass,
    pub meaning: Option<CodeMeaning>,
}

pub fn judge(case: &Case, resolution: &Resolution) -> Result<Effect, NotResolved> {
    let decision = resolution.decision;
    if !case.kind.decisions().contains(&decision) {
        return Err(NotResolved::DoesNotFit { decision: decision.as_str(), kind: Kind(case.kind) });
    }
    if (decision == Decision::Attach) != resolution.order_no.is_some() {
        return Err(NotResolved::OrderNumber);
    }
    let theirs = case.one().amount_theirs;
    let nothing = Effect::default();
    match decision {
        Decision::Attach => attach(case, resolution.order_no.as_deref().unwrap_or_default()),
        Decision::AcceptSuccess => succeed(case),
        Decision::AcceptFailure => Ok(Effect { order: failed(case, decision), refund: None }),
        // A part went back: what is paid stays paid, and what is to be done about the part is decided elsewhere.
        Decision::AcceptGateway if case.kind == DiscrepancyKind::PartialRefund => Ok(nothing),
        Decision::AcceptGateway => Ok(Effect { order: failed(case, decision), refund: theirs }),
        Decision::Failed => {
            // Of a payment that is reversed the part that did not go back yet.
            let rest = case.one().amount_ours.zip(theirs).map(|(ours, theirs)| ours - theirs);
            let rest = rest.filter(|rest| case.kind == DiscrepancyKind::PartialRefund && rest.is_sign_positive());
            Ok(Effect { order: failed(case, decision), refund: rest })
        }
        Decision::Refund => {
            let whole: Decimal = case.all.iter().filter_map(|about| about.amount_theirs).sum();
            Ok(Effect { refund: Some(whole), ..nothing })
        }
        Decision::KeepWaiting if case.items.iter().any(|item| item.state == "failed") => Err(NotResolved::NothingWaits),
        Decision::KeepWaiting | Decision::WriteOff | Decision::Keep | Decision::Corrected => Ok(nothing),
    }
}

/// The money of a row that no order of ours was known for settles the one that is named, as a result row would.
fn attach(case: &Case, order_no: &str) -> Result<Effect, NotResolved> {
    let one = case.one();
    if !says_paid(one, case.meanings[0].as_ref()) {
        return Err(NotResolved::NoMoney);
    }
    let Some(first) = case.items.first().filter(|first| case.items.iter().all(|i| i.payer_id == first.payer_id)) else {
        return Err(NotResolved::NoSuchOrder(order_no.to_owned()));
    };
    if (&first.gateway, &first.bank_code) != (&one.gateway, &one.bank_code) {
        return Err(NotResolved::OtherGateway);
    }
    if one.payer_id.as_ref().is_some_and(|payer| *payer != first.payer_id) {
        return Err(NotResolved::OtherPayer);
    }
    may_settle(&case.items)?;
    if first.state == "failed" {
        return Err(NotResolved::NotOpen("failed"));
    }
    if case.items.iter().any(|item| item.settled) {
        return Err(NotResolved::NotOpen("succeeded"));
    }
    settled_with(case, 0)
}

/// The order has succeeded. Where it is settled already, there is nothing to book.
fn succeed(case: &Case) -> Result<Effect, NotResolved> {
    if case.items.is_empty() {
        return Err(NotResolved::NoSuchOrder(case.one().order_no.clone().unwrap_or_default()));
    }
    if case.items.iter().any(|item| item.settled) {
        return Ok(Effect::default());
    }
    may_settle(&case.items)?;
    // Of rows that say different things, it is the one that speaks of money.
    let paid = |place: &usize| {
        let about = &case.all[*place];
        about.code.is_some() && says_paid(about, case.meanings[*place].as_ref())
    };
    settled_with(case, (0..case.all.len()).find(paid).unwrap_or(0))
}

/// Whether what an order asks for can be booked for its declarations.
fn may_settle(items: &[OrderItem]) -> Result<(), NotResolved> {
    for item in items {
        match item.state.as_str() {
            "reversed" => return Err(NotResolved::Reversed),
            "withdrawn" => return Err(NotResolved::NotOpen("withdrawn")),
            _ if !item.sent => return Err(NotResolved::NotSent),
            _ => {}
        }
        if let Some(other) = &item.other_order_no {
            return Err(NotResolved::HeldByAnother(other.clone()));
        }
        if let Some(other) = &item.other_declaration_no {
            return Err(NotResolved::DeclaredAnew(other.clone()));
        }
    }
    Ok(())
}

/// Settled by the money that one of the discrepancies speaks of.
fn settled_with(case: &Case, place: usize) -> Result<Effect, NotResolved> {
    let about = &case.all[place];
    // A report is about an order whole, and so are its discrepancies together.
    let ours: Decimal = case.items.iter().map(|item| item.amount).sum();
    let theirs: Option<Decimal> = match about.message_id {
        Some(_) => case.all.iter().map(|about| about.amount_theirs).sum(),
        None => about.amount_theirs,
    };
    if let Some(theirs) = theirs.filter(|theirs| *theirs != ours) {
        return Err(NotResolved::AmountDiffers { ours, theirs });
    }
    if let Some(order_no) = &case.settled_by[place] {
        return Err(NotResolved::TransactionKnown(order_no.clone()));
    }
    let settled_at = about.settled_at.unwrap_or(about.opened_at);
    let money = Money { gateway_txn_no: about.gateway_txn_no.clone(), settled_at };
    Ok(Effect { order: OrderEffect::Settle(money), refund: None })
}

/// The order has failed: a payment is reversed, an open attempt fails, and what has failed before or never went out is
/// as it should be.
fn failed(case: &Case, decision: Decision) -> OrderEffect {
    if case.items.iter().any(|item| item.settled) {
        return OrderEffect::Reverse;
    }
    if !case.items.iter().any(|item| item.sent && ["planned", "sent", "unknown"].contains(&item.state.as_str())) {
        return OrderEffect::Nothing;
    }
    // In the gateway's own words, if one of its rows says why; else by the decision, and it may be tried again.
    let said = case.all.iter().zip(&case.meanings).find_map(|(about, meaning)| {
        let failing = |all: &&CodeMeaning| matches!(all.class, OutcomeClass::Retryable | OutcomeClass::Final);
        Some((about.code.clone()?, meaning.as_ref().filter(failing)?))
    });
    OrderEffect::Fail(match said {
        Some((code, meaning)) => Failure { code, class: meaning.class, meaning: Some(meaning.clone()) },
        None => Failure { code: decision.as_str().to_owned(), class: OutcomeClass::Retryable, meaning: None },
    })
}
