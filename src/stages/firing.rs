//! A firing as a run to be found or made: by the clock, by a command or by a message, it is the same one.

use chrono::NaiveDate;

use crate::config::Settings;
use crate::domain::calendar::NoCalendar;
use crate::domain::insurance::{CollectionRule, Region};
use crate::domain::period::Period;
use crate::domain::threshold::Thresholds;
use crate::schedule::{Ambiguous, Firing};
use crate::store::runs::NewRun;

pub use crate::domain::calendar::SHIFT_DAYS_MAX;

/// What a schedule collects and by which rule; `None` where it is not configured.
pub fn rule<'s>(settings: &'s Settings, schedule: &str) -> Option<(&'s Region, &'s CollectionRule)> {
    let schedule = settings.schedules.get(schedule)?;
    let region = settings.regions.0.iter().find(|region| region.name == schedule.region)?;
    Some((region, region.rule(&schedule.insurance_type)?))
}

/// Why a date is not one on which a schedule's run may be asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotARunDate {
    #[error("the run is due on {0}")]
    NotDue(NaiveDate),
    #[error("{0} is neither a nominal nor a shifted date of the schedule")]
    NotADate(NaiveDate),
    #[error("several runs are shifted to this date; name the nominal one: {}", .0.iter().map(NaiveDate::to_string).collect::<Vec<_>>().join(", "))]
    Several(Vec<NaiveDate>),
    #[error(transparent)]
    NoCalendar(#[from] NoCalendar),
}

impl NotARunDate {
    pub fn code(&self) -> &'static str {
        match self {
            NotARunDate::NotDue(_) => "not_due",
            NotARunDate::NotADate(_) | NotARunDate::Several(_) => "not_a_run_date",
            NotARunDate::NoCalendar(_) => "calendar_missing",
        }
    }
}

/// The firing that a date means: by its nominal date, or by the one that the calendar shifts it to.
pub fn meant(settings: &Settings, schedule: &str, date: NaiveDate) -> Result<Firing, NotARunDate> {
    let found = settings.schedules.get(schedule).map(|schedule| schedule.timetable.find(date, &settings.calendar));
    match found {
        Some(Ok(Ok(Some(firing)))) => Ok(firing),
        Some(Ok(Err(Ambiguous(nominal)))) => Err(NotARunDate::Several(nominal)),
        Some(Err(missing)) => Err(missing.into()),
        Some(Ok(Ok(None))) | None => Err(NotARunDate::NotADate(date)),
    }
}

/// The firing that somebody means who asks for a run. It must be due by now, wherever it is shifted to.
pub fn asked_for(
    settings: &Settings,
    schedule: &str,
    date: NaiveDate,
    today: NaiveDate,
) -> Result<Firing, NotARunDate> {
    match meant(settings, schedule, date) {
        Ok(firing) if firing.at.date() > today => Err(NotARunDate::NotDue(firing.at.date())),
        // What is to come is to come, whether it is a date of the schedule or not.
        Err(NotARunDate::NotADate(_) | NotARunDate::NoCalendar(_)) if date > today => Err(NotARunDate::NotDue(date)),
        meant => meant,
    }
}

/// When a planned run waits for people; not, where the schedule is not configured.
pub fn thresholds(settings: &Settings, schedule: &str) -> Thresholds {
    settings.schedules.get(schedule).map(|schedule| schedule.hold.clone()).unwrap_or_default()
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
        destinations: settings.destinations().map(|to| (to.gateway().to_owned(), to.bank_code().to_owned())).collect(),
    })
}
