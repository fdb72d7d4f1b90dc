//! Each run of the payer's insurance types: deducted, or the one reason why not.

use chrono::{DateTime, Utc};

use super::{About, Rows};
use crate::contract::events::EventType;
use crate::contract::story::{Entry, Fact, RunStep, What};
use crate::domain::attempt::Withdrawal;
use crate::domain::eligibility::SkipReason;
use crate::domain::threshold::RunHoldReason;
use crate::stages::Context;
use crate::store::stories::money::{AttemptRow, RunRow};

pub(super) fn tell(ctx: &Context, rows: &Rows, entries: &mut Vec<Entry>) {
    let mut push = |at, (insurance_type, valid_year): About, step, told| {
        entries.push(Entry { at, insurance_type, valid_year, what: What::Run(step), told });
    };
    let mut looked_at = None;
    // By run, and within a run by what was skipped in it.
    for run in rows.runs.iter().rev() {
        let Some(at) = run.planned_at else { continue };
        let about = (Some(run.insurance_type.clone()), Some(run.valid_year));
        if let Some(reason) = run.skip_reason.as_deref().and_then(skip_reason) {
            let about = run.declaration_no.as_deref().map_or(about.clone(), |number| rows.of_declaration(number));
            let told = if ctx.settings.events.deduction_skipped { vec![EventType::DeductionSkipped] } else { vec![] };
            let step = RunStep::Skipped {
                run_id: run.run_id,
                business_date: run.business_date,
                reason,
                declaration_no: run.declaration_no.clone(),
            };
            push(at, about.clone(), step, told);
        }
        if looked_at == Some(run.run_id) {
            continue;
        }
        looked_at = Some(run.run_id);
        let attempts: Vec<&AttemptRow> =
            rows.attempts.iter().filter(|attempt| attempt.run_id == Some(run.run_id)).collect();
        for attempt in &attempts {
            let about = rows.of_declaration(&attempt.declaration_no);
            let (step, told) = deducted(rows, run, attempt);
            push(at, about.clone(), step, told);
            if let Some((at, step, told)) = in_file(attempt) {
                push(at, about, step, told);
            }
        }
        if attempts.is_empty() && run.skip_reason.is_none() && may_have_expected(ctx, rows, run, at) {
            let step = RunStep::NotCandidate { run_id: run.run_id, business_date: run.business_date };
            push(at, about.clone(), step, vec![]);
        }
        if !attempts.is_empty() {
            held(rows, run, at, &about, &mut push);
        }
    }
}

fn skip_reason(word: &str) -> Option<SkipReason> {
    SkipReason::ALL.into_iter().find(|reason| reason.as_str() == word)
}

fn deducted(rows: &Rows, run: &RunRow, attempt: &AttemptRow) -> (RunStep, Vec<EventType>) {
    // The run that filed a declaration gave it the number of its first order.
    let filed = rows.declarations.get(&attempt.declaration_no).is_some_and(|of| of.channel == "batch")
        && attempt.declaration_no.get(1..) == attempt.order_no.get(1..);
    let withdrawal = attempt.withdrawal.as_deref();
    let withdrawal = withdrawal.and_then(|word| Withdrawal::ALL.into_iter().find(|why| why.as_str() == word));
    let state = rows.declarations.get(&attempt.declaration_no).map(|of| of.state.as_str());
    let freed = if state == Some("voided") { EventType::DeclarationVoided } else { EventType::DeclarationPayableAgain };
    let told = [
        (filed, EventType::DeclarationAccepted),
        (true, EventType::DeclarationPaying),
        (run.tells_planned, EventType::DeductionPlanned),
        (withdrawal.is_some(), EventType::DeductionWithdrawn),
        (withdrawal.is_some(), freed),
    ];
    let step = RunStep::Deducted {
        run_id: run.run_id,
        business_date: run.business_date,
        order_no: attempt.order_no.clone(),
        declaration_no: attempt.declaration_no.clone(),
        amount: attempt.amount.to_string(),
        gateway: attempt.gateway.clone().unwrap_or_default(),
        bank_code: attempt.bank_code.clone().unwrap_or_default(),
        filed,
        withdrawal,
    };
    (step, told.into_iter().filter(|(is, _)| *is).map(|(_, kind)| kind).collect())
}

fn in_file(attempt: &AttemptRow) -> Option<(DateTime<Utc>, RunStep, Vec<EventType>)> {
    let (Some(file_name), Some(place), Some(sealed_at)) = (&attempt.file_name, attempt.place, attempt.sealed_at) else {
        return None;
    };
    let step = RunStep::InFile {
        order_no: attempt.order_no.clone(),
        file_name: file_name.clone(),
        place,
        sealed_at,
        delivered_at: attempt.delivered_at,
    };
    let told = attempt.delivered_at.map(|_| EventType::DeductionSent);
    Some((sealed_at, step, told.into_iter().collect()))
}

/// Whether the payer was enrolled where the run collects, when it was planned.
fn may_have_expected(ctx: &Context, rows: &Rows, run: &RunRow, planned_at: DateTime<Utc>) -> bool {
    let enrolled = rows.facts.iter().rev().find_map(|said| match &said.fact {
        Fact::Enrolment { status, division_code, .. }
            if said.row.outcome == "accepted"
                && said.row.received_at <= planned_at
                && said.about.0.as_deref() == Some(run.insurance_type.as_str()) =>
        {
            Some((status.as_str(), division_code.as_str()))
        }
        _ => None,
    });
    let Some(("active", division_code)) = enrolled else { return false };
    let region = ctx.settings.schedules.get(&run.schedule).map(|schedule| schedule.region.as_str());
    ctx.settings.regions.of(division_code).map(|region| region.name.as_str()) == region
}

fn held(
    rows: &Rows,
    run: &RunRow,
    planned_at: DateTime<Utc>,
    about: &About,
    push: &mut impl FnMut(DateTime<Utc>, About, RunStep, Vec<EventType>),
) {
    let reasons: Vec<RunHoldReason> =
        RunHoldReason::ALL.into_iter().filter(|why| run.hold_reasons.iter().any(|word| word == why.as_str())).collect();
    if !reasons.is_empty() {
        push(planned_at, about.clone(), RunStep::RunHeld { run_id: run.run_id, reasons }, vec![EventType::RunHeld]);
    }
    for decision in rows.run_decisions.iter().filter(|decision| decision.run_id == run.run_id) {
        let cancelled = decision.kind == "cancel";
        let step = RunStep::RunDecided {
            run_id: run.run_id,
            cancelled,
            by: decision.decided_by.clone(),
            reason: decision.reason.clone(),
        };
        let told = if cancelled { EventType::RunCancelled } else { EventType::RunPlanned };
        push(decision.decided_at, about.clone(), step, vec![told]);
    }
}
