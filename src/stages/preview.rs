//! What a run would do, without doing it.
//!
//! In: a schedule and a date. Out: which firing that means, counts, sums, reasons and a few payers for each, by the very
//! judgement that the plan uses, and whether it would wait for a person; nothing is written, and nobody waits: it reads one snapshot, range by range. Called by
//! `pikou plan`.
//! *Commits:* nothing. *If it dies:* nothing has happened.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use rust_decimal::Decimal;

use super::firing::{self, NotARunDate};
use super::{Context, StageError, judging, turning};
use crate::domain::threshold::{Figures, RunHoldReason};
use crate::schedule::Firing;
use crate::store::plans::{self, Carried, Judged, Payers, PreviewRules, Scope};
use crate::store::run_decisions;
use crate::store::runs::{self, Run};
use crate::store::year_turns::{self, CarryRules, TurnKey};

/// Payers shown for each reason.
const SAMPLES_MAX: usize = 5;

/// A run that was not made.
#[derive(Debug, Clone)]
pub struct Preview {
    pub schedule: String,
    pub business_date: NaiveDate,
    /// When that fires, or why it never does by itself.
    pub firing: Result<Firing, NotARunDate>,
    /// The run of this very slot, where there is one: what it has planned is in flight here.
    pub existing: Option<Run>,
    /// What the opening of the year would carry over first; none where that is done, or nothing to be done.
    pub opening: Option<Carried>,
    pub candidates: i64,
    pub attempts: i64,
    pub attempts_total: Decimal,
    /// By reason.
    pub skips: BTreeMap<String, i64>,
    /// Payers by reason, `planned` for those that would be deducted.
    pub samples: BTreeMap<String, Vec<String>>,
    /// Why it would wait for people, and for how many.
    pub would_hold: Vec<RunHoldReason>,
    pub releases_needed: i16,
    /// The run before it, with its skips: what it is compared with.
    pub last: Option<(Run, BTreeMap<String, i64>)>,
}

/// Judges the firing that a date means as of now; a date that means none is taken for a nominal one. `progress` hears how
/// many candidates are judged.
pub async fn preview(
    ctx: &Context,
    schedule: &str,
    date: NaiveDate,
    mut progress: impl FnMut(i64),
) -> Result<Preview, StageError> {
    let missing = || StageError::Refused(format!("there is no schedule {schedule} with a rule to collect by"));
    let firing = firing::meant(&ctx.settings, schedule, date);
    let business_date = firing.as_ref().map_or(date, |firing| firing.nominal);
    let new = firing::run_of(&ctx.settings, schedule, business_date, None).ok_or_else(missing)?;
    let (region, rule) = firing::rule(&ctx.settings, schedule).ok_or_else(missing)?;
    let scope = Scope {
        insurance_type: new.insurance_type.clone(),
        valid_year: new.valid_year,
        period_from: new.period_from.clone(),
        business_date,
    };
    let mut tx = ctx.snapshot().await?;
    let key =
        TurnKey { region: region.name.clone(), insurance_type: new.insurance_type.clone(), valid_year: new.valid_year };
    let opens_year = turning::is_unopened(&mut tx, rule, &key, business_date).await?;
    let nothing = CarryRules { after_void_last_paid: false, is_base_rate: false };
    let rules = PreviewRules {
        range: judging::rules(&ctx.settings, region, rule, &scope, new.retry_runs),
        carry: rule.carry_over.map_or(nothing, |carry_over| turning::carry_rules(rule, carry_over)),
        opens_year,
        destinations: new.destinations.clone(),
        samples_max: SAMPLES_MAX as i32,
    };
    let thresholds = firing::thresholds(&ctx.settings, schedule);
    let last = match run_decisions::before(&mut tx, schedule, new.slot, business_date).await? {
        Some(run) => {
            let skips = runs::skips(&mut tx, run.run_id).await?;
            Some((run, skips))
        }
        None => None,
    };
    let mut preview = Preview {
        schedule: new.schedule.clone(),
        business_date,
        firing,
        existing: runs::in_slot(&mut tx, schedule, business_date, new.slot).await?,
        opening: opens_year.then(Carried::default),
        candidates: 0,
        attempts: 0,
        attempts_total: Decimal::new(0, 2),
        skips: BTreeMap::new(),
        samples: BTreeMap::new(),
        would_hold: Vec::new(),
        releases_needed: thresholds.releases_needed(),
        last,
    };
    let (mut after, limit) = (String::new(), ctx.settings.run.range_max);
    loop {
        let judged = plans::range_end(&mut tx, &scope, &after, limit).await?;
        let carried = if opens_year {
            year_turns::range_end(&mut tx, &scope.insurance_type, scope.valid_year - 1, &after, limit).await?
        } else {
            None
        };
        // Whichever list is denser bounds the range.
        let Some(range_end) = judged.into_iter().chain(carried).min() else { break };
        let payers = Payers { after: &after, up_to: &range_end };
        preview.add(plans::preview_range(&mut tx, &scope, payers, &rules).await?);
        progress(preview.candidates);
        after = range_end;
    }
    tx.rollback().await?;
    let figures =
        Figures { valid_year: new.valid_year, attempts: preview.attempts, attempts_total: preview.attempts_total };
    if preview.existing.is_none() {
        preview.would_hold = thresholds.reasons(figures, preview.last.as_ref().map(|(run, _)| run.figures()));
    }
    Ok(preview)
}

impl Preview {
    fn add(&mut self, range: Vec<Judged>) {
        if let (Some(opening), Some(row)) = (&mut self.opening, range.first()) {
            opening.amounts += row.carried.amounts;
            opening.total += row.carried.total;
            opening.held += row.carried.held;
        }
        for row in range {
            self.candidates += row.candidates;
            match &row.reason {
                Some(reason) => *self.skips.entry(reason.clone()).or_default() += row.candidates,
                None => {
                    self.attempts += row.candidates;
                    self.attempts_total += row.total;
                }
            }
            let samples = self.samples.entry(row.reason.unwrap_or_else(|| "planned".into())).or_default();
            samples.extend(row.samples);
            samples.truncate(SAMPLES_MAX);
        }
    }
}
