//! Tells the whole story of one payer.
//!
//! In: a payer, perhaps one insurance type and year. Out: a [`Story`], everything in it as of one moment. Called by `pikou
//! explain`.
//! *Commits:* nothing: it reads one snapshot. *If it dies:* nothing has happened.

mod facts;
mod money;
mod runs;

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;

use super::{Context, StageError};
use crate::contract::story::{AmountNow, DeclarationNow, Entry, Story};
use crate::domain::amount_setting::HoldReason;
use crate::domain::declaration::DeclarationState;
use crate::store::stories::{self, AmountRow, DeclarationRow, ExpiredRow, HoldRow, QuarantineRow, money as tries};

/// Rows of each kind that a story is made of, at most: the newest.
pub const ROWS_MAX: usize = 2_000;
/// Entries of the quarantine that are looked through, and messages that came before what they are about, at most: the
/// newest. Only when opened do they say whose they are.
pub const OPENED_MAX: usize = 1_000;

/// Whose story is asked for.
#[derive(Debug, Clone, Default)]
pub struct Question {
    pub payer_id: String,
    /// Only what is of this type, or of none.
    pub insurance_type: Option<String>,
    /// Only what is of this year, or of none.
    pub valid_year: Option<i16>,
}

/// The rows of a payer, and where they belong.
struct Rows {
    facts: Vec<facts::Said>,
    quarantined: Vec<QuarantineRow>,
    amounts: Vec<AmountRow>,
    expired: Vec<ExpiredRow>,
    holds: Vec<HoldRow>,
    declarations: BTreeMap<String, DeclarationRow>,
    attempts: Vec<tries::AttemptRow>,
    runs: Vec<tries::RunRow>,
    run_decisions: Vec<tries::RunDecisionRow>,
    outcomes: Vec<tries::OutcomeRow>,
    settlements: Vec<tries::SettlementRow>,
    reversals: Vec<tries::ReversalRow>,
    undone: Vec<tries::UndoneRow>,
    bill_words: Vec<tries::BillWordRow>,
    discrepancies: Vec<tries::DiscrepancyRow>,
    decisions: Vec<tries::DecisionRow>,
}

/// Insurance type and year of something; neither where it has none.
type About = (Option<String>, Option<i16>);

pub async fn explain(ctx: &Context, question: &Question) -> Result<Story, StageError> {
    let mut snapshot = ctx.snapshot().await?;
    let mut cut = false;
    let rows = load(ctx, &mut snapshot, &question.payer_id, &mut cut).await?;
    let events_wait_since = tries::unpublished_since(&mut snapshot).await?;
    drop(snapshot);
    if rows.is_empty() {
        return Err(StageError::Refused(format!("nothing is known of a payer {}", question.payer_id)));
    }
    let mut entries = Vec::new();
    facts::tell(ctx, &rows, &mut entries);
    runs::tell(ctx, &rows, &mut entries);
    money::tell(ctx, &rows, &mut entries)?;
    entries.retain(|entry| question.asks_for(entry));
    // Each kind comes in the order of its numbers, which what was written at one moment keeps.
    entries.sort_by_key(|entry: &Entry| (entry.at, entry.what.rank()));
    Ok(Story {
        amounts_now: amounts_now(&rows, question),
        declarations_now: declarations_now(&rows, question)?,
        payer_id: question.payer_id.clone(),
        insurance_type: question.insurance_type.clone(),
        valid_year: question.valid_year,
        entries,
        cut_at: cut.then_some(ROWS_MAX),
        events_wait_since,
    })
}

impl Question {
    fn asks_for(&self, entry: &Entry) -> bool {
        self.is_about(entry.insurance_type.as_deref(), entry.valid_year)
    }

    fn is_about(&self, insurance_type: Option<&str>, valid_year: Option<i16>) -> bool {
        let of_type = self.insurance_type.as_deref().zip(insurance_type).is_none_or(|(asked, of)| asked == of);
        of_type && self.valid_year.zip(valid_year).is_none_or(|(asked, year)| asked == year)
    }
}

impl Rows {
    fn is_empty(&self) -> bool {
        self.facts.is_empty()
            && self.quarantined.is_empty()
            && self.amounts.is_empty()
            && self.holds.is_empty()
            && self.declarations.is_empty()
            && self.attempts.is_empty()
    }

    fn of_declaration(&self, declaration_no: &str) -> About {
        let known = self.declarations.get(declaration_no);
        known.map_or((None, None), |of| (Some(of.insurance_type.clone()), year_of(&of.period_from)))
    }

    fn of_order(&self, order_no: &str) -> About {
        let attempt = self.attempts.iter().find(|attempt| attempt.order_no == order_no);
        attempt.map_or((None, None), |attempt| self.of_declaration(&attempt.declaration_no))
    }
}

/// The year of a month `yyyymm`.
fn year_of(month: &str) -> Option<i16> {
    month.get(..4).and_then(|year| year.parse().ok())
}

async fn load(ctx: &Context, snapshot: &mut PgConnection, payer_id: &str, cut: &mut bool) -> Result<Rows, StageError> {
    // One more than is told shows that there are more.
    let limit = ROWS_MAX as i64 + 1;
    let messages = whole(stories::messages(snapshot, payer_id, limit).await?, cut);
    let quarantined = stories::quarantined(snapshot, OPENED_MAX as i64).await?;
    let mut facts = facts::read(ctx, messages)?;
    let nobodys = facts::read(ctx, stories::messages(snapshot, "", OPENED_MAX as i64).await?)?;
    let quarantined = facts::of_payer(ctx, quarantined, payer_id)?;
    let years = stories::years(snapshot).await?;
    let amounts = whole(stories::amounts(snapshot, payer_id, &years, limit).await?, cut);
    let expired = whole(stories::expired(snapshot, payer_id, &years, limit).await?, cut);
    let holds = whole(stories::holds(snapshot, payer_id, limit).await?, cut);
    let declarations = whole(stories::declarations(snapshot, payer_id, limit).await?, cut);
    let attempts = whole(tries::attempts(snapshot, payer_id, limit).await?, cut);
    let mut types: BTreeSet<String> = facts.iter().filter_map(|said| said.about.0.clone()).collect();
    types.extend(amounts.iter().map(|amount| amount.insurance_type.clone()));
    types.extend(declarations.iter().map(|declaration| declaration.insurance_type.clone()));
    let types: Vec<String> = types.into_iter().collect();
    let runs = whole(tries::runs(snapshot, payer_id, &types, limit).await?, cut);
    let in_runs: BTreeSet<i64> = attempts.iter().filter_map(|attempt| attempt.run_id).collect();
    let in_runs: Vec<i64> = in_runs.into_iter().collect();
    let run_decisions = tries::run_decisions(snapshot, &in_runs).await?;
    let order_nos: BTreeSet<String> = attempts.iter().map(|attempt| attempt.order_no.clone()).collect();
    let order_nos: Vec<String> = order_nos.into_iter().collect();
    // Some came before anybody knew whose they were.
    facts.extend(nobodys.into_iter().filter(|said| {
        said.of_order.as_ref().is_some_and(|of| order_nos.contains(of))
            || said.of_declaration.as_ref().is_some_and(|of| declarations.iter().any(|one| one.declaration_no == *of))
    }));
    let outcomes = whole(tries::outcomes(snapshot, payer_id, &order_nos, limit).await?, cut);
    let settlements = whole(tries::settlements(snapshot, payer_id, limit).await?, cut);
    let reversals = whole(tries::reversals(snapshot, payer_id, limit).await?, cut);
    let undone = whole(tries::undone(snapshot, payer_id, &order_nos, limit).await?, cut);
    let bill_words = whole(tries::bill_words(snapshot, payer_id, &order_nos, limit).await?, cut);
    let by_people: Vec<i64> = settlements.iter().filter_map(|settlement| settlement.decision_id).collect();
    let found = tries::discrepancies(snapshot, payer_id, &order_nos, &by_people, limit).await?;
    let discrepancies = whole(found, cut);
    let numbers: Vec<i64> = discrepancies.iter().map(|one| one.discrepancy_id).collect();
    let decisions = tries::decisions(snapshot, &numbers).await?;
    let declarations = declarations.into_iter().map(|of| (of.declaration_no.clone(), of)).collect();
    Ok(Rows {
        facts,
        quarantined,
        amounts,
        expired,
        holds,
        declarations,
        attempts,
        runs,
        run_decisions,
        outcomes,
        settlements,
        reversals,
        undone,
        bill_words,
        discrepancies,
        decisions,
    })
}

/// At most as many rows as are told of one kind; the newest come first.
fn whole<T>(mut rows: Vec<T>, cut: &mut bool) -> Vec<T> {
    *cut |= rows.len() > ROWS_MAX;
    rows.truncate(ROWS_MAX);
    rows
}

/// Of each year the active version, or else the last one.
fn amounts_now(rows: &Rows, question: &Question) -> Vec<AmountNow> {
    let mut newest: BTreeMap<(&str, i16), &AmountRow> = BTreeMap::new();
    for row in &rows.amounts {
        let place = newest.entry((row.insurance_type.as_str(), row.valid_year)).or_insert(row);
        if place.state != "active" {
            *place = row;
        }
    }
    newest
        .into_values()
        .filter(|row| question.is_about(Some(&row.insurance_type), Some(row.valid_year)))
        .map(|row| AmountNow {
            insurance_type: row.insurance_type.clone(),
            valid_year: row.valid_year,
            amount: row.amount.to_string(),
            status: match row.state.as_str() {
                "active" if row.paid => "fulfilled",
                "active" => "active",
                "voided" => "voided",
                "superseded" => "superseded",
                _ => "expired",
            },
            hold_reason: row.hold_reason.as_deref().and_then(HoldReason::parse),
        })
        .collect()
}

fn declarations_now(rows: &Rows, question: &Question) -> Result<Vec<DeclarationNow>, StageError> {
    let asked = rows
        .declarations
        .values()
        .filter(|row| question.is_about(Some(&row.insurance_type), year_of(&row.period_from)));
    asked
        .map(|row| {
            let state = DeclarationState::parse(&row.state)
                .ok_or_else(|| StageError::broken(format!("a declaration in state {}", row.state)))?;
            Ok(DeclarationNow {
                declaration_no: row.declaration_no.clone(),
                insurance_type: row.insurance_type.clone(),
                kind: row.kind.clone(),
                period_from: row.period_from.clone(),
                period_to: row.period_to.clone(),
                amount: row.amount.to_string(),
                channel: row.channel.clone(),
                public_status: state.public_status(row.paid).as_str(),
                paid: row.paid,
                state: state.as_str(),
            })
        })
        .collect()
}
