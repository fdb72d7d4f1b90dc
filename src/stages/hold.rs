//! A person holds an amount, or releases it.
//!
//! In: a payer, type and year, with who and why. Out: an amount that no plan selects (`suspended`), or one that the next
//! plan selects again, and the decision, which is never changed. Called by `pikou hold`. What is planned or out goes on.
//! *Commits:* once. *If it dies:* nothing is there; decided again, it is the same.

use chrono::{DateTime, Utc};

use super::{Context, StageError, crash_point};
use crate::contract::events::{AmountData, Data, Event, EventType, Subject};
use crate::domain::amount_setting::{HoldReason, Version};
use crate::store::amount_settings::{self, SettingRow, YearKey, YearRecord};
use crate::store::gates::{self, Keys};
use crate::store::holds::{self, HoldDecision};
use crate::store::{Stored, outbox};

/// What a person wants of an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    Set,
    Release,
}

/// Who decides, and why.
#[derive(Debug, Clone)]
pub struct Decision {
    pub by: String,
    pub reason: String,
}

/// Holds the active amount of a year, or ends its suspension. What else holds an amount ends otherwise: a new agreement
/// ends `no_agreement`, a new amount `amount_out_of_range`.
pub async fn decide(ctx: &Context, key: &YearKey, wish: Wish, decision: &Decision) -> Result<(), StageError> {
    if decision.by.trim().is_empty() || decision.reason.trim().is_empty() {
        return Err(StageError::Refused("a decision needs a name and a reason".into()));
    }
    let now = ctx.clock.now();
    let mut tx = ctx.begin().await?;
    gates::share(&mut tx).await?;
    gates::keys(&mut tx, Keys::Payers, std::iter::once(key.0.as_str())).await?;
    let mut years = amount_settings::load(&mut tx, std::slice::from_ref(key)).await?;
    let year = years.remove(key).unwrap_or_default();
    let (version, held) = active(key, &year)?;
    let suspended = Some(HoldReason::Suspended.as_str());
    let (hold_reason, what, kind) = match (wish, held) {
        (Wish::Set, None) => (suspended, "set", EventType::AmountHeld),
        (Wish::Release, held) if held == suspended => (None, "release", EventType::AmountReleased),
        (Wish::Set, Some(reason)) => return Err(refused(key, &format!("is held already: {reason}"))),
        (Wish::Release, None) => return Err(refused(key, "is not held")),
        (Wish::Release, Some(reason)) => {
            let what = format!("is held as {reason}, which no decision ends but a new agreement or amount");
            return Err(refused(key, &what));
        }
    };
    let row = SettingRow {
        key: key.clone(),
        version: version.clone(),
        hold_reason: hold_reason.map(str::to_owned),
        sequence: year.sequence + 1,
    };
    amount_settings::write(&mut tx, std::slice::from_ref(&row), Stored::Before).await?;
    if wish == Wish::Release {
        holds::end_streaks(&mut tx, std::iter::once((key.0.as_str(), key.1.as_str()))).await?;
    }
    let (decided_by, reason) = (decision.by.trim(), decision.reason.trim());
    let decided = HoldDecision { key, what, decided_at: now, decided_by, reason };
    let decision_id = holds::record(&mut tx, &decided).await?;
    let event = changed(kind, &row, decision_id, now);
    outbox::append(&mut tx, &ctx.settings.events.source, now, &[event]).await?;
    crash_point("hold: before commit");
    Ok(tx.commit().await?)
}

/// The active version, and why it is held.
fn active<'y>(key: &YearKey, year: &'y YearRecord) -> Result<(&'y Version, Option<&'y str>), StageError> {
    if year.paid {
        return Err(refused(key, "is paid"));
    }
    let version = year.history.active().ok_or_else(|| refused(key, "is not active"))?;
    Ok((version, year.marks.get(&version.order).and_then(|(reason, _)| reason.as_deref())))
}

fn refused(key: &YearKey, what: &str) -> StageError {
    StageError::Refused(format!("the amount of {} for {} {} {what}", key.0, key.1, key.2))
}

fn changed(kind: EventType, row: &SettingRow, decision_id: i64, now: DateTime<Utc>) -> Event {
    let (payer_id, insurance_type, valid_year) = row.key.clone();
    Event {
        kind,
        subject: Subject::Amount { payer_id: payer_id.clone(), insurance_type: insurance_type.clone(), valid_year },
        sequence: row.sequence,
        causation: format!("hold:{decision_id}"),
        time: now,
        data: Data::Amount(AmountData {
            payer_id,
            insurance_type,
            valid_year,
            amount: row.version.amount.to_string(),
            status: if row.hold_reason.is_some() { "held" } else { "active" },
            channel: Some(row.version.channel.clone()),
            hold_reason: row.hold_reason.clone(),
            ..AmountData::default()
        }),
    }
}
