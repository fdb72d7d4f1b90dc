//! What the payer, the authorities, the banks and the channels said, in messages; and what became of amounts that
//! nobody sent a message about.

use chrono::{DateTime, Utc};

use super::{About, Rows};
use crate::contract::envelope;
use crate::contract::events::EventType;
use crate::contract::inbound::Message;
use crate::contract::refusal::RefusalCode;
use crate::contract::story::{Answer, Entry, Fact, MessageStep, What, YearStep};
use crate::crypt::Purpose;
use crate::domain::amount_setting::HoldReason;
use crate::domain::order::{Gateway, ReportOutcome};
use crate::domain::outcome::OutcomeClass;
use crate::stages::{Context, StageError};
use crate::store::stories::{MessageRow, QuarantineRow};

/// A message that is opened.
pub(super) struct Said {
    pub row: MessageRow,
    pub fact: Fact,
    pub about: About,
    /// Of a message that has no type and year of its own: the declaration or order that has.
    pub of_declaration: Option<String>,
    pub of_order: Option<String>,
}

/// Opens messages. Of what they say only what may be told is taken along.
pub(super) fn read(ctx: &Context, rows: Vec<MessageRow>) -> Result<Vec<Said>, StageError> {
    let mut facts = Vec::with_capacity(rows.len());
    for row in rows.into_iter().rev() {
        let raw = ctx.keys.open(Purpose::RawMessage, &row.raw)?;
        // A smaller limit than when it came is no reason to be silent about it.
        let message = envelope::read(&raw, raw.len())
            .and_then(|envelope| Message::read(&envelope, &ctx.settings.insurance_types))
            .ok();
        let about = message.as_ref().map_or((None, None), about);
        let of_declaration =
            message.as_ref().and_then(|message| message.declaration_nos().first().map(|&of| of.to_owned()));
        let of_order = message.as_ref().and_then(Message::order_no).map(str::to_owned);
        let fact = message.map_or_else(|| Fact::Other { kind: row.kind.clone() }, fact);
        facts.push(Said { row, fact, about, of_declaration, of_order });
    }
    Ok(facts)
}

/// Those entries of the quarantine that name the payer, anywhere in their bytes.
pub(super) fn of_payer(
    ctx: &Context,
    rows: Vec<QuarantineRow>,
    payer_id: &str,
) -> Result<Vec<QuarantineRow>, StageError> {
    let named = serde_json::Value::from(payer_id).to_string();
    let mut of_payer = Vec::new();
    for row in rows.into_iter().rev() {
        let raw = ctx.keys.open(Purpose::RawMessage, &row.raw)?;
        if memchr::memmem::find(&raw, named.as_bytes()).is_some() {
            of_payer.push(row);
        }
    }
    Ok(of_payer)
}

fn about(message: &Message) -> About {
    match message {
        Message::EnrolmentChanged(m) => (Some(m.insurance_type.0.clone()), None),
        Message::AmountSet(m) => (Some(m.insurance_type.0.clone()), Some(m.valid_year.0)),
        Message::AmountVoided(m) => (Some(m.insurance_type.0.clone()), Some(m.valid_year.0)),
        Message::AssessmentChanged(m) => {
            (Some(m.assessment.insurance_type.clone()), Some(m.assessment.period.from.year().0))
        }
        Message::DeclarationSubmitted(m) => (Some(m.insurance_type.0.clone()), Some(m.obligation.period.from.year().0)),
        Message::AgreementChanged(_)
        | Message::DeclarationVoidRequested(_)
        | Message::PaymentStarted(_)
        | Message::PaymentReported(_)
        | Message::RunRequested(_) => (None, None),
    }
}

fn fact(message: Message) -> Fact {
    match message {
        Message::EnrolmentChanged(m) => Fact::Enrolment {
            status: m.status,
            effective_on: m.effective_on,
            division_code: m.division_code,
            category: m.category,
        },
        Message::AgreementChanged(m) => Fact::Agreement {
            agreement_no: m.agreement_no,
            gateway: m.gateway.as_str().to_owned(),
            bank_code: m.bank_code,
            status: m.status,
            batch_enabled: m.batch_enabled,
            insurance_types: m.insurance_types,
            amount_max: m.amount_max.map(|sum| sum.to_string()),
        },
        Message::AmountSet(m) => Fact::AmountSet {
            amount: m.amount.to_string(),
            channel: m.channel,
            period_from: m.period_from.map(|month| month.to_string()),
        },
        Message::AmountVoided(m) => Fact::AmountVoided { channel: m.channel },
        Message::AssessmentChanged(m) => Fact::Assessment {
            assessment_no: m.assessment_no,
            assessed: m.assessment.kind.as_str().to_owned(),
            period_from: m.assessment.period.from.to_string(),
            period_to: m.assessment.period.to.to_string(),
            amount: m.assessment.amount.to_string(),
            pay_by: m.assessment.pay_by,
            issued: m.assessment.issued,
        },
        Message::DeclarationSubmitted(m) => Fact::Declaration {
            declaration_no: m.declaration_no,
            kind: m.obligation.kind.as_str().to_owned(),
            period_from: m.obligation.period.from.to_string(),
            period_to: m.obligation.period.to.to_string(),
            amount: m.amount.to_string(),
            channel: m.channel,
            collect_by: m.collect_by.as_str().to_owned(),
        },
        Message::DeclarationVoidRequested(m) => {
            Fact::VoidRequested { declaration_no: m.declaration_no, channel: m.channel }
        }
        Message::PaymentStarted(m) => Fact::PaymentStarted {
            order_no: m.order_no,
            declaration_nos: m.items.into_iter().map(|item| item.declaration_no).collect(),
            amount: m.amount.to_string(),
            gateway: m.gateway.as_str().to_owned(),
            channel: m.channel,
            expires_at: m.expires_at,
        },
        Message::PaymentReported(m) => Fact::PaymentReported {
            // Its gateway is that of the order: see `with_meaning`.
            meaning: None,
            order_no: m.order_no,
            outcome: m.outcome.as_str().to_owned(),
            gateway_txn_no: m.gateway_txn_no,
            code: m.code,
        },
        Message::RunRequested(_) => Fact::Other { kind: "run.requested".to_owned() },
    }
}

/// A report with what its code means, and whether it frees the order's declarations: a failure does so with a final code.
fn with_meaning(ctx: &Context, rows: &Rows, fact: &Fact) -> (Fact, bool) {
    let Fact::PaymentReported { order_no, outcome, gateway_txn_no, code, .. } = fact else {
        return (fact.clone(), false);
    };
    let started = rows.facts.iter().find_map(|said| match &said.fact {
        Fact::PaymentStarted { order_no: of, gateway, .. } if of == order_no => Gateway::parse(gateway),
        _ => None,
    });
    let meaning = started.zip(code.as_deref()).and_then(|(gateway, code)| ctx.settings.codes(gateway).meaning(code));
    let is_final = meaning.is_some_and(|meaning| meaning.class == OutcomeClass::Final);
    let frees = outcome == ReportOutcome::Closed.as_str() || (outcome == ReportOutcome::Failed.as_str() && is_final);
    let reported = Fact::PaymentReported {
        order_no: order_no.clone(),
        outcome: outcome.clone(),
        gateway_txn_no: gateway_txn_no.clone(),
        code: code.clone(),
        meaning: meaning.map(|meaning| meaning.reason.clone()),
    };
    (reported, frees)
}

pub(super) fn tell(ctx: &Context, rows: &Rows, entries: &mut Vec<Entry>) {
    for said in &rows.facts {
        let by_declaration = said.of_declaration.as_deref().map(|number| rows.of_declaration(number));
        let by_order = said.of_order.as_deref().map(|number| rows.of_order(number));
        let found = [Some(said.about.clone()), by_declaration, by_order].into_iter().flatten();
        let (insurance_type, valid_year) = found.into_iter().find(|(of, _)| of.is_some()).unwrap_or((None, None));
        let too_late_for = too_late(rows, said);
        let Some(answer) = answer(&said.row) else { continue };
        let (fact, frees) = with_meaning(ctx, rows, &said.fact);
        let mut told = told(&fact, &answer, too_late_for.is_some());
        if frees && matches!(answer, Answer::Accepted) {
            told.extend([EventType::PaymentFailed, EventType::DeclarationPayableAgain]);
        }
        let what = What::Message(MessageStep::Message {
            source: said.row.source.clone(),
            id: said.row.id.clone(),
            sent_at: said.row.sent_at,
            fact,
            answer,
            repeated: said.row.repeated,
            too_late_for,
        });
        entries.push(Entry { at: said.row.received_at, insurance_type, valid_year, what, told });
    }
    for row in &rows.quarantined {
        let what = What::Message(MessageStep::Quarantined {
            quarantine_id: row.quarantine_id,
            code: row.code.clone(),
            reason: row.reason.clone(),
            position: row.position.clone(),
            state: row.state.clone(),
            repeated: row.repeated,
        });
        let told = vec![EventType::MessageQuarantined];
        entries.push(Entry { at: row.received_at, insurance_type: None, valid_year: None, what, told });
    }
    years(rows, entries);
}

fn answer(row: &MessageRow) -> Option<Answer> {
    match row.outcome.as_str() {
        "accepted" => Some(Answer::Accepted),
        "stale" => Some(Answer::Stale),
        "waiting" => {
            Some(Answer::Waiting { wait_for: row.wait_for.clone().unwrap_or_default(), wait_until: row.wait_until })
        }
        _ => {
            let code = row.code.as_deref()?;
            RefusalCode::ALL.iter().find(|known| known.as_str() == code).map(|&code| Answer::Refused { code })
        }
    }
}

/// The sealed file that the deduction was in when its amount was voided.
fn too_late(rows: &Rows, said: &Said) -> Option<String> {
    let (Fact::AmountVoided { .. }, "accepted") = (&said.fact, said.row.outcome.as_str()) else { return None };
    let voided_at = said.row.received_at;
    let is_open = |order_no: &str| {
        let ended = |at: DateTime<Utc>| at < voided_at;
        !rows.outcomes.iter().any(|row| row.order_no == order_no && row.class != "unknown" && ended(row.booked_at))
            && !rows.settlements.iter().any(|row| row.order_no == order_no && ended(row.booked_at))
    };
    let attempt = rows.attempts.iter().find(|attempt| {
        attempt.withdrawal.is_none()
            && attempt.sealed_at.is_some_and(|at| at <= voided_at)
            && rows.of_declaration(&attempt.declaration_no) == said.about
            && is_open(&attempt.order_no)
    });
    attempt.and_then(|attempt| attempt.file_name.clone())
}

fn told(fact: &Fact, answer: &Answer, too_late: bool) -> Vec<EventType> {
    use EventType as E;
    match (answer, fact) {
        (Answer::Refused { .. }, _) => vec![E::MessageRefused],
        (Answer::Stale, _) => vec![E::MessageStale],
        (Answer::Waiting { .. }, Fact::Declaration { .. }) => vec![E::DeclarationWaiting],
        (Answer::Waiting { .. }, _) => vec![],
        (Answer::Accepted, fact) => match fact {
            Fact::AmountSet { .. } => vec![E::AmountSet],
            Fact::AmountVoided { .. } if too_late => vec![E::AmountVoidTooLate],
            Fact::AmountVoided { .. } => vec![E::AmountVoided],
            Fact::Declaration { .. } => vec![E::DeclarationAccepted],
            Fact::VoidRequested { .. } => vec![E::DeclarationVoided],
            Fact::PaymentStarted { .. } => vec![E::PaymentStarted, E::DeclarationPaying],
            Fact::PaymentReported { .. } => vec![E::PaymentReported],
            Fact::Enrolment { .. } | Fact::Agreement { .. } | Fact::Assessment { .. } | Fact::Other { .. } => vec![],
        },
    }
}

/// Years that opened and ended, and what people held.
fn years(rows: &Rows, entries: &mut Vec<Entry>) {
    let mut push = |at, insurance_type: &str, valid_year, step, told| {
        let insurance_type = Some(insurance_type.to_owned());
        entries.push(Entry { at, insurance_type, valid_year: Some(valid_year), what: What::Year(step), told });
    };
    for row in &rows.amounts {
        let (Some(at), Some(from_year), Some(amount)) = (row.carried_at, row.carried_from, row.carried_amount) else {
            continue;
        };
        let hold_reason = row.carried_hold.as_deref().and_then(HoldReason::parse);
        let step = YearStep::CarriedOver { from_year, amount: amount.to_string(), hold_reason };
        push(at, &row.insurance_type, row.valid_year, step, vec![EventType::AmountCarriedOver]);
    }
    for row in &rows.expired {
        let step = YearStep::Expired { amount: row.amount.to_string() };
        push(row.expired_at, &row.insurance_type, row.valid_year, step, vec![EventType::AmountExpired]);
    }
    for row in rows.holds.iter().rev() {
        let released = row.what == "release";
        let step = YearStep::HeldByPerson { released, by: row.decided_by.clone(), reason: row.reason.clone() };
        let told = if released { EventType::AmountReleased } else { EventType::AmountHeld };
        push(row.decided_at, &row.insurance_type, row.valid_year, step, vec![told]);
    }
}
