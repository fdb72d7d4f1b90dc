//! What came of what was tried: results, payments, what went back, and where people had to decide.

use super::{About, Rows};
use crate::contract::events::EventType;
use crate::contract::story::{Disagreement, Entry, Evidence, MoneyStep, What};
use crate::domain::amount_setting::HoldReason;
use crate::domain::discrepancy::{Decision, DiscrepancyKind};
use crate::domain::order::Gateway;
use crate::domain::outcome::{CodeMeaning, OutcomeClass};
use crate::stages::{Context, StageError};
use crate::store::stories::money::{DecisionRow, DiscrepancyRow, OutcomeRow, SettlementRow};

pub(super) fn tell(ctx: &Context, rows: &Rows, entries: &mut Vec<Entry>) -> Result<(), StageError> {
    let mut push = |at, (insurance_type, valid_year): About, what, told| {
        entries.push(Entry { at, insurance_type, valid_year, what, told });
    };
    for row in &rows.outcomes {
        let (step, told) = result(ctx, row, is_online(rows, &row.order_no))?;
        push(row.booked_at, rows.of_order(&row.order_no), What::Money(step), told);
    }
    for row in &rows.settlements {
        let (step, told) = paid(row, is_online(rows, &row.order_no));
        let about = (Some(row.insurance_type.clone()), Some(row.valid_year));
        push(row.booked_at, about, What::Money(step), told);
    }
    for row in &rows.bill_words {
        let evidence = file(row.file_name.as_ref(), row.line_no).unwrap_or(Evidence::Silence);
        let order_no = row.order_no.clone();
        let amount = row.amount.map(|sum| sum.to_string()).unwrap_or_default();
        let (step, told) = match row.what.as_str() {
            "confirmed" => {
                // Of a deduction nothing is told: it was settled by a file before.
                let told = is_online(rows, &order_no).then_some(EventType::PaymentConfirmed);
                (MoneyStep::Confirmed { order_no, amount, evidence }, told.into_iter().collect())
            }
            "refunded" => (MoneyStep::Refunded { order_no, amount, evidence }, vec![]),
            _ => {
                let told = vec![EventType::PaymentFailed, EventType::DeclarationPayableAgain];
                (MoneyStep::Unpaid { order_no }, told)
            }
        };
        push(row.booked_at, rows.of_order(&row.order_no), What::Money(step), told);
    }
    for row in &rows.reversals {
        let by_file = file(row.file_name.as_ref(), row.line_no);
        let by_person = row.decision_id.map(|decision_id| Evidence::Decision { decision_id });
        let step = MoneyStep::Reversed {
            order_no: row.order_no.clone(),
            declaration_no: row.declaration_no.clone(),
            reversed_at: row.reversed_at,
            evidence: by_file.or(by_person).unwrap_or(Evidence::Silence),
        };
        let told = vec![EventType::PaymentReversed, EventType::DeclarationReversed];
        push(row.booked_at, rows.of_declaration(&row.declaration_no), What::Money(step), told);
    }
    for row in &rows.undone {
        let step = MoneyStep::Undone {
            order_no: row.order_no.clone(),
            file_name: row.file_name.clone(),
            paid: row.paid.map(|sum| sum.to_string()),
            by: row.decided_by.clone(),
            second_by: row.second_by.clone(),
            reason: row.reason.clone(),
        };
        let told = vec![EventType::ResultFileUndone];
        push(row.decided_at, rows.of_order(&row.order_no), What::Money(step), told);
    }
    for row in rows.discrepancies.iter().rev() {
        let about = row.order_no.as_deref().map_or((None, None), |number| rows.of_order(number));
        let step = opened(ctx, row)?;
        push(row.opened_at, about, What::Disagreement(step), vec![EventType::DiscrepancyOpened]);
    }
    for row in &rows.decisions {
        let of = rows.discrepancies.iter().find(|one| one.discrepancy_id == row.discrepancy_id);
        let order_no = of.and_then(|one| one.order_no.as_deref());
        let about = order_no.map_or((None, None), |number| rows.of_order(number));
        let (step, told) = decided(row)?;
        push(row.decided_at, about, What::Disagreement(step), told);
    }
    Ok(())
}

fn file(file_name: Option<&String>, line_no: Option<i64>) -> Option<Evidence> {
    let (file_name, line_no) = file_name.zip(line_no)?;
    Some(Evidence::File { file_name: file_name.clone(), line_no })
}

fn is_online(rows: &Rows, order_no: &str) -> bool {
    rows.attempts.iter().any(|attempt| attempt.order_no == order_no && attempt.run_id.is_none())
}

/// What a gateway's code means by the tables of today.
fn meaning(ctx: &Context, gateway: &str, bank_code: &str, code: &str) -> Option<CodeMeaning> {
    let answers = ctx.settings.destination(gateway, bank_code).map(|from| from.codes());
    let online = Gateway::parse(gateway).map(|gateway| ctx.settings.codes(gateway));
    answers.or(online)?.meaning(code).cloned()
}

fn result(ctx: &Context, row: &OutcomeRow, online: bool) -> Result<(MoneyStep, Vec<EventType>), StageError> {
    let class = OutcomeClass::parse(&row.class)
        .ok_or_else(|| StageError::broken(format!("an outcome of class {}", row.class)))?;
    // A doubt about a row that says "paid" must not tell the payer that it is paid.
    let meaning = meaning(ctx, &row.gateway, &row.bank_code, &row.code).filter(|means| means.class == class);
    let held = row.held_amount.map(|_| match class {
        OutcomeClass::Final => HoldReason::NoAgreement,
        OutcomeClass::Success | OutcomeClass::Retryable | OutcomeClass::Unknown => HoldReason::Suspended,
    });
    let said = match (class, online) {
        (OutcomeClass::Success | OutcomeClass::Unknown, false) => Some(EventType::DeductionUnknown),
        (OutcomeClass::Retryable | OutcomeClass::Final, false) => Some(EventType::DeductionFailed),
        (OutcomeClass::Success | OutcomeClass::Unknown, true) => None,
        (OutcomeClass::Retryable | OutcomeClass::Final, true) => Some(EventType::PaymentFailed),
    };
    let freed = row.declaration_state.as_deref().map(|state| match state {
        "voided" => EventType::DeclarationVoided,
        _ => EventType::DeclarationPayableAgain,
    });
    let told = [said, freed, held.map(|_| EventType::AmountHeld)].into_iter().flatten().collect();
    let step = MoneyStep::Result {
        order_no: row.order_no.clone(),
        file_name: row.file_name.clone(),
        line_no: row.line_no,
        code: row.code.clone(),
        class,
        next_step: meaning.as_ref().map(|means| means.next_step.clone()).filter(|step| !step.is_empty()),
        meaning: meaning.map(|means| means.reason),
        tried_again: row.tried_again,
        declaration_state: row.declaration_state.clone(),
        held,
    };
    Ok((step, told))
}

fn paid(row: &SettlementRow, online: bool) -> (MoneyStep, Vec<EventType>) {
    let reported = row.message_source.as_ref().zip(row.message_id.as_ref());
    let reported = reported.map(|(source, id)| Evidence::Report { source: source.clone(), id: id.clone() });
    let by_person = row.decision_id.map(|decision_id| Evidence::Decision { decision_id });
    let evidence = file(row.file_name.as_ref(), row.line_no).or(reported).or(by_person).unwrap_or(Evidence::Silence);
    let told = [
        (!online, EventType::DeductionSucceeded),
        (true, EventType::PaymentRecorded),
        (true, EventType::DeclarationPaid),
        (row.fulfilled, EventType::AmountFulfilled),
    ];
    let step = MoneyStep::Paid {
        order_no: row.order_no.clone(),
        declaration_no: row.declaration_no.clone(),
        amount: row.amount.to_string(),
        gateway: row.gateway.clone(),
        bank_code: row.bank_code.clone(),
        gateway_txn_no: row.gateway_txn_no.clone(),
        settled_at: row.settled_at,
        evidence,
    };
    (step, told.into_iter().filter(|(is, _)| *is).map(|(_, kind)| kind).collect())
}

fn kind_of(word: &str) -> Result<DiscrepancyKind, StageError> {
    DiscrepancyKind::parse(word).ok_or_else(|| StageError::broken(format!("a discrepancy of kind {word}")))
}

fn opened(ctx: &Context, row: &DiscrepancyRow) -> Result<Disagreement, StageError> {
    let reported = row.message_source.as_ref().zip(row.message_id.as_ref());
    let reported = reported.map(|(source, id)| Evidence::Report { source: source.clone(), id: id.clone() });
    let means = row.code.as_deref().and_then(|code| meaning(ctx, &row.gateway, &row.bank_code, code));
    Ok(Disagreement::Discrepancy {
        discrepancy_id: row.discrepancy_id,
        kind: kind_of(&row.kind)?,
        order_no: row.order_no.clone(),
        amount_ours: row.amount_ours.map(|sum| sum.to_string()),
        amount_theirs: row.amount_theirs.map(|sum| sum.to_string()),
        code: row.code.clone(),
        meaning: means.map(|means| means.reason),
        evidence: file(row.file_name.as_ref(), row.line_no).or(reported).unwrap_or(Evidence::Silence),
        state: row.state.clone(),
        resolved_by: row.evidence.clone(),
    })
}

fn decided(row: &DecisionRow) -> Result<(Disagreement, Vec<EventType>), StageError> {
    let decision = Decision::parse(&row.what);
    if decision.is_none() && row.what != "reopen" {
        return Err(StageError::broken(format!("a decision to {}", row.what)));
    }
    let told = decision.map_or(EventType::DiscrepancyReopened, |_| EventType::DiscrepancyResolved);
    let step = Disagreement::Decided {
        discrepancy_id: row.discrepancy_id,
        kind: kind_of(&row.kind)?,
        decision,
        attached_to: row.order_no.clone(),
        by: row.decided_by.clone(),
        second: row.second_by.clone(),
        reason: row.reason.clone(),
    };
    Ok((step, vec![told]))
}
