//! A firing as a run to be found or made: by the clock, by a command or by a message, it is the same one.

use chrono::NaiveDate;

use crate::config::Settings;
use crate::domain::insurance::{CollectionRule, Region};
use crate::domain::period::Period;
use crate::store::runs::NewRun;

/// What a schedule collects and by which rule; `None` where it is not configured.
pub fn rule<'s>(settings: &'s Settings, schedule: &str) -> Option<(&'s Region, &'s CollectionRule)> {
    let schedule = settings.schedules.get(schedule)?;
    let region = settings.regions.0.iter().find(|region| region.name == schedule.region)?;
    Some((region, region.rule(&schedule.insurance_type)?))
}

/// The run of a schedule's nominal date; the slot is the schedule's own where none is given.
pub fn run_of(settings: &Settings, schedule: &str, business_date: NaiveDate, slot: Option<i16>) -> Option<NewRun> {
    let (_, rule) = rule(settings, schedule)?;
    let schedule = settings.schedules.get(schedule)?;
    let period = Period::due_on(rule.cycle, business_date);
    Some(NewRun {
        schedule: schedule.name.clone(),
        business_date,
        slot: slot.unwrap_or(schedule.slot),
        insurance_type: schedule.insurance_type.0.clone(),
        valid_year: period.from.year().0,
        period_from: period.from.to_string(),
        period_to: period.to.to_string(),
        retry_runs: rule.retry_runs,
        suspend_after: rule.suspend_after,
        tells_planned: settings.events.deduction_planned,
        destinations: settings.bank.banks().map(|bank| ("bank".to_owned(), bank.bank_code().to_owned())).collect(),
    })
}
