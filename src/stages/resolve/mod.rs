//! A person works a discrepancy off, or opens it again.
//!
//! In: a discrepancy and a decision that fits its kind, with who, why, and who else where two are needed. Out: the
//! decision, which is never changed and is evidence like a result row, and what follows from it: an order settled or
//! failed, a payment reversed, a refund proposed, or nothing. An obligation about which nothing is open any more is
//! free again for runs, payments and voids. Called by `pikou discrepancies`.
//! *Commits:* once: decision, effect and events. *If it dies:* nothing is there; decided again, it is the same. Whoever
//! decides the same a second time finds it done.

mod effects;
mod judge;
mod tell;

use chrono::{DateTime, Utc};
use sqlx::{Postgres, Transaction};

use super::decider::Decider;
use super::{Context, StageError, crash_point, telling};
use crate::contract::events::{Event, EventType};
use crate::domain::discrepancy::{Decision, DiscrepancyKind};
use crate::domain::outcome::{CodeMeaning, OutcomeClass};
use crate::store::decided_orders::{self, Booked, OrderItem};
use crate::store::discrepancy_decisions::{self, Discrepancy, DiscrepancyDecision, NewDecision};
use crate::store::{attempts, gates, outbox, runs};

pub use crate::store::discrepancy_decisions::Filter;
pub use judge::NotResolved;

/// What a person has decided.
#[derive(Debug, Clone)]
pub struct Resolution {
    pub decision: Decision,
    /// attach: the order of ours that the money is for.
    pub order_no: Option<String>,
    pub decider: Decider,
    /// The second person, where two are needed.
    pub second: Option<String>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// These are resolved: the one that was decided on, and those that say the same thing of its order.
    Done(Vec<i64>),
    /// The same was decided before; nothing happened.
    Repeated,
    Refused(NotResolved),
}

/// A discrepancy with what it is about, as it is judged.
struct Case {
    kind: DiscrepancyKind,
    /// The one that is decided on, then those beside it.
    all: Vec<Discrepancy>,
    /// Of the order it is about, or that is attached to.
    items: Vec<OrderItem>,
    /// Of each of them, what its code means.
    meanings: Vec<Option<CodeMeaning>>,
    /// The order that the transaction of each has settled already.
    settled_by: Vec<Option<String>>,
    /// The payment that stands for the same.
    booked: Option<Booked>,
}

impl Case {
    fn one(&self) -> &Discrepancy {
        &self.all[0]
    }
}

/// Decides on a discrepancy.
pub async fn resolve(ctx: &Context, discrepancy_id: i64, resolution: &Resolution) -> Result<Resolved, StageError> {
    let now = ctx.clock.now();
    let mut tx = ctx.begin().await?;
    gates::own(&mut tx).await?;
    let Some(one) = discrepancy_decisions::lock(&mut tx, discrepancy_id).await? else {
        return Ok(Resolved::Refused(NotResolved::Unknown(discrepancy_id)));
    };
    if one.state == "resolved" {
        return repeated(&mut tx, discrepancy_id, resolution).await;
    }
    if let Some(refused) = people(ctx, &mut tx, resolution).await? {
        return Ok(Resolved::Refused(refused));
    }
    let case = load(ctx, &mut tx, one, resolution).await?;
    let effect = match judge::judge(&case, resolution) {
        Ok(effect) => effect,
        Err(refused) => return Ok(Resolved::Refused(refused)),
    };
    let said = NewDecision {
        what: resolution.decision.as_str(),
        order_no: resolution.order_no.as_deref(),
        decided_by: resolution.decider.by(),
        second_by: resolution.second.as_deref(),
        reason: resolution.decider.reason(),
        decided_at: now,
    };
    let mut decision_id = 0;
    let mut events = Vec::new();
    for (place, about) in case.all.iter().enumerate() {
        // A refund is told with the first of them.
        let tells = 1 + i64::from(place == 0 && effect.refund.is_some());
        let id = discrepancy_decisions::decide(&mut tx, about, &said, tells).await?;
        if place == 0 {
            decision_id = id;
        }
        events.push(tell::resolved(about, resolution, id, now));
    }
    let causation = tell::causation(decision_id);
    events.extend(effects::apply(&mut tx, &case, &effect, decision_id, now).await?);
    events.extend(close_runs(&mut tx, &case.items, &causation, now).await?);
    outbox::append(&mut tx, &ctx.settings.events.source, now, &events).await?;
    crash_point("resolve: before commit");
    tx.commit().await?;
    crash_point("resolve: resolved");
    Ok(Resolved::Done(case.all.iter().map(|about| about.discrepancy_id).collect()))
}

/// It is resolved: by the same decision, or by another.
async fn repeated(
    tx: &mut Transaction<'static, Postgres>,
    discrepancy_id: i64,
    resolution: &Resolution,
) -> Result<Resolved, StageError> {
    let last = discrepancy_decisions::of(tx, discrepancy_id).await?.pop();
    let Some(last) = last else {
        return Err(StageError::broken(format!("discrepancy {discrepancy_id} is resolved by nobody")));
    };
    let same = last.what == resolution.decision.as_str() && last.order_no == resolution.order_no;
    Ok(if same { Resolved::Repeated } else { Resolved::Refused(NotResolved::Decided { what: last.what }) })
}

/// Whether as many different people decide as the settings ask for.
async fn people(
    ctx: &Context,
    tx: &mut Transaction<'static, Postgres>,
    resolution: &Resolution,
) -> Result<Option<NotResolved>, StageError> {
    let Some(second) = &resolution.second else {
        let needed = ctx.settings.results.two_people.contains(&resolution.decision);
        return Ok(needed.then_some(NotResolved::SecondPersonNeeded(resolution.decision)));
    };
    let same = discrepancy_decisions::are_one_person(tx, resolution.decider.by(), second).await?;
    Ok(same.then(|| NotResolved::SamePerson(second.clone())))
}

async fn load(
    ctx: &Context,
    tx: &mut Transaction<'static, Postgres>,
    one: Discrepancy,
    resolution: &Resolution,
) -> Result<Case, StageError> {
    let Some(kind) = DiscrepancyKind::parse(&one.kind) else {
        return Err(StageError::broken(format!("a discrepancy of kind {}", one.kind)));
    };
    let mut all = vec![one];
    if all[0].order_no.is_some() && (kind.is_about_an_outcome() || all[0].message_id.is_some()) {
        let beside = discrepancy_decisions::lock_beside(tx, &all[0]).await?;
        all.extend(beside);
    }
    let one = &all[0];
    let (order_no, payer_id) = match resolution.decision {
        Decision::Attach => (resolution.order_no.as_deref(), None),
        _ => (one.order_no.as_deref(), one.payer_id.as_deref()),
    };
    let items = match order_no {
        Some(order_no) => decided_orders::load(tx, order_no, payer_id).await?,
        None => Vec::new(),
    };
    let mut settled_by = Vec::with_capacity(all.len());
    for about in &all {
        settled_by.push(match &about.gateway_txn_no {
            Some(number) => decided_orders::settled_by(tx, &about.gateway, &about.bank_code, number).await?,
            None => None,
        });
    }
    let booked = match &one.payer_id {
        Some(payer) => {
            let declaration_no = one.declaration_no.as_deref();
            decided_orders::booked_for(tx, payer, one.order_no.as_deref(), declaration_no).await?
        }
        None => None,
    };
    let meanings = all.iter().map(|about| meaning(ctx, about)).collect();
    Ok(Case { kind, meanings, all, items, settled_by, booked })
}

/// What its code means by the tables of today.
pub fn meaning(ctx: &Context, about: &Discrepancy) -> Option<CodeMeaning> {
    let code = about.code.as_deref()?;
    let answers = ctx.settings.destination(&about.gateway, &about.bank_code).map(|from| from.codes());
    let online = crate::domain::order::Gateway::parse(&about.gateway).map(|gateway| ctx.settings.codes(gateway));
    answers.or(online)?.meaning(code).cloned()
}

/// Runs that have nothing open any more are closed.
async fn close_runs(
    tx: &mut Transaction<'static, Postgres>,
    items: &[OrderItem],
    causation: &str,
    now: DateTime<Utc>,
) -> Result<Option<Event>, StageError> {
    let Some(run_id) = items.iter().find_map(|item| item.run_id) else { return Ok(None) };
    let Some(run) = runs::close_if_done(tx, run_id, now).await? else { return Ok(None) };
    let files = runs::files(tx, run_id).await?;
    Ok(Some(telling::run_changed(EventType::RunClosed, &run, files, causation, now)))
}

/// What came of opening one again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reopened {
    Done,
    /// It is open; nothing happened.
    IsOpen,
    Unknown,
}

/// Opens a resolved one again: another decision may follow. What the first one booked stays booked, and what a run has
/// planned for the payer meanwhile is withdrawn, as long as it may be.
pub async fn reopen(ctx: &Context, discrepancy_id: i64, decider: &Decider) -> Result<Reopened, StageError> {
    let now = ctx.clock.now();
    let mut tx = ctx.begin().await?;
    gates::own(&mut tx).await?;
    let Some(one) = discrepancy_decisions::lock(&mut tx, discrepancy_id).await? else { return Ok(Reopened::Unknown) };
    if one.state == "open" {
        return Ok(Reopened::IsOpen);
    }
    let said = NewDecision {
        what: "reopen",
        order_no: None,
        decided_by: decider.by(),
        second_by: None,
        reason: decider.reason(),
        decided_at: now,
    };
    let decision_id = discrepancy_decisions::decide(&mut tx, &one, &said, 1).await?;
    let causation = tell::causation(decision_id);
    let mut events = vec![tell::reopened(&one, decision_id, now)];
    if let Some(payer_id) = &one.payer_id {
        let withdrawn = attempts::withdraw_outdated_of_payers(&mut tx, &[payer_id]).await?;
        events.extend(withdrawn.iter().flat_map(|row| telling::withdrawn(row, &causation, now)));
    }
    outbox::append(&mut tx, &ctx.settings.events.source, now, &events).await?;
    crash_point("reopen: before commit");
    tx.commit().await?;
    Ok(Reopened::Done)
}

/// Everything known of one, as of one moment.
pub struct Shown {
    pub discrepancy: Discrepancy,
    pub kind: DiscrepancyKind,
    /// What its code means by the tables of today.
    pub meaning: Option<CodeMeaning>,
    pub items: Vec<OrderItem>,
    pub booked: Option<Booked>,
    pub decisions: Vec<DiscrepancyDecision>,
    /// Others about the same order.
    pub others: Vec<Discrepancy>,
}

pub async fn show(ctx: &Context, discrepancy_id: i64) -> Result<Shown, StageError> {
    let mut snapshot = ctx.snapshot().await?;
    let Some(discrepancy) = discrepancy_decisions::get(&mut snapshot, discrepancy_id).await? else {
        return Err(StageError::Refused(format!("there is no discrepancy {discrepancy_id}")));
    };
    let Some(kind) = DiscrepancyKind::parse(&discrepancy.kind) else {
        return Err(StageError::broken(format!("a discrepancy of kind {}", discrepancy.kind)));
    };
    let (mut items, mut others, mut booked) = (Vec::new(), Vec::new(), None);
    if let Some(order_no) = &discrepancy.order_no {
        items = decided_orders::load(&mut snapshot, order_no, discrepancy.payer_id.as_deref()).await?;
        others = discrepancy_decisions::of_order(&mut snapshot, order_no).await?;
        others.retain(|other| other.discrepancy_id != discrepancy_id);
    }
    if let Some(payer) = &discrepancy.payer_id {
        let (order_no, declaration_no) = (discrepancy.order_no.as_deref(), discrepancy.declaration_no.as_deref());
        booked = decided_orders::booked_for(&mut snapshot, payer, order_no, declaration_no).await?;
    }
    let decisions = discrepancy_decisions::of(&mut snapshot, discrepancy_id).await?;
    Ok(Shown { kind, meaning: meaning(ctx, &discrepancy), items, booked, decisions, others, discrepancy })
}

/// Discrepancies behind a number. One more than asked for tells that there are more.
pub async fn list(ctx: &Context, filter: &Filter, after: i64, limit: i64) -> Result<Vec<Discrepancy>, StageError> {
    let mut connection = ctx.pool.acquire().await?;
    Ok(discrepancy_decisions::list(&mut connection, filter, after, limit).await?)
}

/// When one that is too old now was opened at the latest.
pub fn old_since(ctx: &Context) -> DateTime<Utc> {
    ctx.clock.now() - chrono::Duration::days(i64::from(ctx.settings.results.discrepancy_alarm_days))
}

/// Whether a code says that money moved. A row of money without a code says so, too.
fn says_paid(about: &Discrepancy, meaning: Option<&CodeMeaning>) -> bool {
    match (&about.code, meaning) {
        (None, _) => true,
        // A report is opened about only where it says that money moved; what its code means is not asked.
        (Some(_), _) if about.message_id.is_some() => true,
        (Some(_), meaning) => meaning.is_some_and(|meaning| meaning.class == OutcomeClass::Success),
    }
}
