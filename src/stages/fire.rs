//! Schedules whose time has come make runs.
//!
//! In: the schedules, the business calendar and the time. Out: a run for each firing that starts, and for each that does
//! not a row that says why. Called by the worker's clock, again and again, in as many workers as there are.
//! *Commits:* once for each schedule that has something due: its runs, its missed firings and how far it has been
//! dealt with.
//! *If it dies:* nothing of that is there, and the next look decides anew; a firing that has its run has it.

use chrono::{DateTime, Days, FixedOffset, NaiveDate, NaiveDateTime, Utc};

use super::{Context, StageError, crash_point, firing};
use crate::clock::SHANGHAI;
use crate::config::Schedule;
use crate::domain::calendar::NoCalendar;
use crate::domain::insurance::Window;
use crate::domain::period::Year;
use crate::schedule::due::{Collecting, decide};
use crate::schedule::timetable::dates;
use crate::schedule::{Decision, Firing, Missed};
use crate::store::firings::{self, Mark, MissedFiring};
use crate::store::runs;

/// A mark that is further behind is taken for this far behind: nobody catches up with more than a year.
const LOOK_BACK_DAYS_MAX: u64 = 400;

/// What a look at a schedule has brought.
#[derive(Debug)]
pub enum News {
    Fired {
        schedule: String,
        firing: Firing,
        run_id: i64,
    },
    Missed {
        schedule: String,
        firing: Firing,
        why: Missed,
    },
    /// For the next workday.
    Waits {
        schedule: String,
        firing: Firing,
    },
    /// The firing of this date does not happen before the year has its calendar.
    Refused {
        schedule: String,
        nominal: NaiveDate,
        missing: NoCalendar,
    },
    /// This schedule cannot fire; the others do.
    Failed {
        schedule: String,
        error: StageError,
    },
}

/// Starts what is due, and writes down what is missed.
pub async fn fire(ctx: &Context) -> Result<Vec<News>, StageError> {
    let now = ctx.clock.now();
    let enabled: Vec<&Schedule> = ctx.settings.schedules.values().filter(|schedule| schedule.enabled).collect();
    let names: Vec<&str> = enabled.iter().map(|schedule| schedule.name.as_str()).collect();
    let mut connection = ctx.pool.acquire().await?;
    let marks = firings::marks(&mut connection).await?;
    if marks.keys().any(|schedule| !names.contains(&schedule.as_str())) {
        firings::forget_others(&mut connection, &names).await?;
    }
    drop(connection);
    let mut news = Vec::new();
    for schedule in enabled {
        match look_at(ctx, schedule, marks.get(&schedule.name).copied(), now).await {
            Ok(more) => news.extend(more),
            Err(error) if error.helps_later() => return Err(error),
            // One schedule that cannot fire must not keep the others from firing.
            Err(error) => news.push(News::Failed { schedule: schedule.name.clone(), error }),
        }
    }
    Ok(news)
}

/// What the calendar and the clock say of a schedule.
struct Look {
    /// Nominal dates that are looked at.
    span: (NaiveDate, NaiveDate),
    due: Vec<(Firing, Collecting)>,
    /// The first nominal date that is not over yet: its firing is still to come, or cannot be told.
    first_open: Option<NaiveDate>,
    refused: Option<(NaiveDate, NoCalendar)>,
}

async fn look_at(
    ctx: &Context,
    schedule: &Schedule,
    mark: Option<Mark>,
    now: DateTime<Utc>,
) -> Result<Vec<News>, StageError> {
    let local = now.with_timezone(&SHANGHAI);
    let yesterday = local.date_naive() - Days::new(1);
    let Some(mark) = mark else {
        // What was due before anybody looked is not caught up.
        let mut connection = ctx.pool.acquire().await?;
        let behind = yesterday - Days::new(firing::SHIFT_DAYS_MAX);
        firings::begin(&mut connection, &schedule.name, Mark { since: now, resolved_through: behind }).await?;
        return Ok(Vec::new());
    };
    let look = look(ctx, schedule, mark, local);
    let mut news: Vec<News> = Vec::new();
    if let Some((nominal, missing)) = look.refused {
        news.push(News::Refused { schedule: schedule.name.clone(), nominal, missing });
    }
    if look.due.is_empty() && mark.resolved_through >= resolved_through(&look, None, yesterday) {
        return Ok(news);
    }

    let mut tx = ctx.begin().await?;
    if firings::lock(&mut tx, &schedule.name).await?.is_none() {
        return Ok(news);
    }
    let resolved = firings::resolved(&mut tx, &schedule.name, schedule.slot, look.span, now).await?;
    let open: Vec<(Firing, Collecting)> =
        look.due.iter().filter(|(firing, _)| !resolved.contains_key(&firing.nominal)).cloned().collect();
    let calendar = &ctx.settings.calendar;
    let decisions = match decide(&schedule.timetable, calendar, schedule.catch_up, &open, local.naive_local()) {
        Ok(decisions) => decisions,
        Err(missing) => {
            let nominal = open.first().map_or(local.date_naive(), |(firing, _)| firing.nominal);
            news.push(News::Refused { schedule: schedule.name.clone(), nominal, missing });
            return Ok(news);
        }
    };
    let mut waits = None;
    for ((firing, _), decision) in open.into_iter().zip(decisions) {
        let name = schedule.name.clone();
        match decision {
            Decision::Start => {
                let new = firing::run_of(&ctx.settings, &name, firing.nominal, None);
                let missing = || StageError::Refused(format!("schedule {name} has no rule to collect by"));
                let run_id = runs::find_or_make(&mut tx, &new.ok_or_else(missing)?, now).await?;
                news.push(News::Fired { schedule: name, firing, run_id });
            }
            Decision::Miss(why) => {
                let missed = MissedFiring {
                    schedule: &schedule.name,
                    business_date: firing.nominal,
                    slot: schedule.slot,
                    due_at: instant(firing.at),
                    reason: why.as_str(),
                };
                firings::miss(&mut tx, missed, now).await?;
                news.push(News::Missed { schedule: name, firing, why });
            }
            Decision::Wait => {
                waits = waits.or(Some(firing.nominal));
                news.push(News::Waits { schedule: name, firing });
            }
        }
    }
    firings::advance(&mut tx, &schedule.name, resolved_through(&look, waits, yesterday)).await?;
    crash_point("fire: before commit");
    tx.commit().await?;
    crash_point("fire: fired");
    Ok(news)
}

fn look(ctx: &Context, schedule: &Schedule, mark: Mark, now: DateTime<FixedOffset>) -> Look {
    let (timetable, calendar) = (&schedule.timetable, &ctx.settings.calendar);
    let today = now.date_naive();
    // A mark ahead of the clock was made by a clock that was ahead.
    let from = mark.resolved_through.min(today - Days::new(1)).max(today - Days::new(LOOK_BACK_DAYS_MAX));
    let span = (from + Days::new(1), today + Days::new(timetable.reach_days()));
    let rule = firing::rule(&ctx.settings, &schedule.name).map(|(_, rule)| rule);
    let mut look = Look { span, due: Vec::new(), first_open: None, refused: None };
    for nominal in dates(span.0, span.1) {
        match timetable.firing(nominal, calendar) {
            Ok(None) => {}
            Ok(Some(firing)) if firing.at > now.naive_local() => {
                look.first_open.get_or_insert(nominal);
            }
            Ok(Some(firing)) if instant(firing.at) > mark.since => {
                let year = firing::run_of(&ctx.settings, &schedule.name, nominal, None).map(|run| Year(run.valid_year));
                let over = rule.zip(year).is_some_and(|(rule, year)| rule.window(year, today) == Window::Closed);
                look.due.push((firing, if over { Collecting::Over } else { Collecting::Open }));
            }
            // Due before the schedule was first seen.
            Ok(Some(_)) => {}
            Err(missing) => {
                look.first_open.get_or_insert(nominal);
                if nominal <= today {
                    look.refused.get_or_insert((nominal, missing));
                }
            }
        }
    }
    look
}

/// Up to yesterday, but not beyond what is still to come or waits.
fn resolved_through(look: &Look, waits: Option<NaiveDate>, yesterday: NaiveDate) -> NaiveDate {
    let open = [look.first_open, waits].into_iter().flatten().map(|nominal| nominal - Days::new(1));
    open.fold(yesterday, NaiveDate::min)
}

fn instant(at: NaiveDateTime) -> DateTime<Utc> {
    (at - chrono::Duration::seconds(i64::from(SHANGHAI.local_minus_utc()))).and_utc()
}
