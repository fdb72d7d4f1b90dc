//! A year opens, and a year is over.
//!
//! In: a region, a type and a year. Out: last year's amounts carried over, or what was still active expired. Called when
//! a window opens or has closed, by `pikou year open`, and by the plan, which judges no year that is not open yet: it is
//! shared by them, as whoever comes first does the work.
//! *Commits:* once for each range of payers, under the gate. *If it dies:* the turn says through which payer it has come;
//! whoever comes next goes on behind that one. What an earlier pass carried is there by the keys of its rows.

use chrono::{Datelike, NaiveDate};
use sqlx::PgConnection;

use super::{Context, StageError, crash_point, judging};
use crate::domain::insurance::{AfterVoid, CarryOver, CollectionRule, InsuranceType, Region, Window};
use crate::domain::period::Year;
use crate::store::gates;
use crate::store::plans::Scope;
use crate::store::year_turns::{self, CarryRules, Turn, TurnKey, What};

/// Years before this one whose amounts are looked at for their end.
const YEARS_BACK_MAX: i16 = 3;

/// The region of a year, and how it is collected there.
fn rule_of<'c>(ctx: &'c Context, key: &TurnKey) -> Result<(&'c Region, &'c CollectionRule), StageError> {
    let region = ctx.settings.regions.0.iter().find(|region| region.name == key.region);
    let rule = region.and_then(|region| region.rule(&InsuranceType(key.insurance_type.clone())));
    let missing = || StageError::Refused(format!("{} is not collected in {}", key.insurance_type, key.region));
    region.zip(rule).ok_or_else(missing)
}

/// Whether a year's amounts are carried over and have not all been yet.
pub async fn is_unopened(
    connection: &mut PgConnection,
    rule: &CollectionRule,
    key: &TurnKey,
    day: NaiveDate,
) -> Result<bool, StageError> {
    if rule.carry_over.is_none() || rule.window(Year(key.valid_year), day) != Window::Open {
        return Ok(false);
    }
    let turn = year_turns::find(connection, key, What::Opening).await?;
    Ok(turn.is_none_or(|turn| !turn.is_done()))
}

/// Opens a year as far as one range of payers goes. `None`: it is open.
pub async fn open_some(ctx: &Context, key: &TurnKey, day: NaiveDate) -> Result<Option<Turn>, StageError> {
    let (region, rule) = rule_of(ctx, key)?;
    let Some(carry_over) = rule.carry_over else {
        return Err(StageError::Refused(format!(
            "nothing is carried over for {} in {}",
            key.insurance_type, key.region
        )));
    };
    let now = ctx.clock.now();
    let mut tx = ctx.begin().await?;
    gates::own(&mut tx).await?;
    let turn = year_turns::lock(&mut tx, key, What::Opening, now).await?;
    if turn.is_done() {
        return Ok(None);
    }
    let limit = ctx.settings.run.range_max;
    let range = year_turns::range_end(&mut tx, &key.insurance_type, key.valid_year - 1, &turn.through, limit).await?;
    let Some(range_end) = range else {
        year_turns::set_done(&mut tx, turn.turn_id, now).await?;
        tx.commit().await?;
        crash_point("turning: year opened");
        return Ok(None);
    };
    let scope = scope_of(key, day);
    let rules = judging::rules(&ctx.settings, region, rule, &scope, rule.retry_runs);
    year_turns::carry_range(&mut tx, &turn, &scope, &range_end, &rules, carry_rules(rule, carry_over), now).await?;
    crash_point("turning: before commit");
    tx.commit().await?;
    crash_point("turning: range carried");
    Ok(Some(turn))
}

/// Opens a year. Returns what was carried over and how much of it is held, by whomever.
pub async fn open(ctx: &Context, key: &TurnKey, day: NaiveDate) -> Result<(i64, i64), StageError> {
    let (_, rule) = rule_of(ctx, key)?;
    if rule.window(Year(key.valid_year), day) != Window::Open {
        return Err(StageError::Refused(format!("the window of {} is not open on {day}", key.valid_year)));
    }
    while open_some(ctx, key, day).await?.is_some() {}
    let mut connection = ctx.pool.acquire().await?;
    let turn = year_turns::find(&mut connection, key, What::Opening).await?;
    Ok(turn.map_or((0, 0), |turn| (turn.amounts, turn.held)))
}

/// Opens what opens today and ends what is over, for every region and type.
pub async fn turn_years(ctx: &Context) -> Result<(), StageError> {
    let day = ctx.clock.business_date();
    let this_year = day.year() as i16;
    for region in &ctx.settings.regions.0 {
        for (insurance_type, rule) in &region.rules {
            let key = |valid_year| TurnKey {
                region: region.name.clone(),
                insurance_type: insurance_type.0.clone(),
                valid_year,
            };
            let mut connection = ctx.pool.acquire().await?;
            let opens = is_unopened(&mut connection, rule, &key(this_year), day).await?;
            let mut over = Vec::new();
            for valid_year in this_year - YEARS_BACK_MAX..=this_year {
                if rule.window(Year(valid_year), day) == Window::Closed
                    && year_turns::any_amounts(&mut connection, &insurance_type.0, valid_year).await?
                {
                    over.push(valid_year);
                }
            }
            drop(connection);
            if opens {
                let (amounts, held) = open(ctx, &key(this_year), day).await?;
                let (region, kind) = (&region.name, &insurance_type.0);
                tracing::info!(region, kind, year = this_year, amounts, held, "a year is open");
            }
            for valid_year in over {
                expire(ctx, &key(valid_year)).await?;
            }
        }
    }
    Ok(())
}

/// Ends what is active in a year that is over and for which nothing is out, once a day until nothing is left.
pub async fn expire(ctx: &Context, key: &TurnKey) -> Result<(), StageError> {
    while expire_some(ctx, key).await? {}
    Ok(())
}

/// `false`: there is nothing more to be done today.
async fn expire_some(ctx: &Context, key: &TurnKey) -> Result<bool, StageError> {
    let (region, rule) = rule_of(ctx, key)?;
    let (now, day) = (ctx.clock.now(), ctx.clock.business_date());
    if rule.window(Year(key.valid_year), day) != Window::Closed {
        return Err(StageError::Refused(format!("the window of {} is not over on {day}", key.valid_year)));
    }
    let mut connection = ctx.pool.acquire().await?;
    let known = year_turns::find(&mut connection, key, What::Expiry).await?;
    drop(connection);
    if known.is_some_and(|turn| turn.is_done() || turn.looked_on == Some(day)) {
        return Ok(false);
    }
    let mut tx = ctx.begin().await?;
    gates::own(&mut tx).await?;
    let turn = year_turns::lock(&mut tx, key, What::Expiry, now).await?;
    if turn.is_done() || turn.looked_on == Some(day) {
        return Ok(false);
    }
    let limit = ctx.settings.run.range_max;
    let range = year_turns::range_end(&mut tx, &key.insurance_type, key.valid_year, &turn.through, limit).await?;
    match range {
        Some(range_end) => {
            let cut_out = ctx.settings.regions.cut_out_of(region);
            let of_region = (region.division_prefix.as_str(), cut_out.as_slice());
            year_turns::expire_range(&mut tx, &turn, key, &range_end, of_region, now).await?;
        }
        None if turn.held == 0 => year_turns::set_done(&mut tx, turn.turn_id, now).await?,
        None => year_turns::set_looked(&mut tx, turn.turn_id, day).await?,
    }
    tx.commit().await?;
    Ok(true)
}

/// The opening of a year as the judgement's scope.
pub fn scope_of(key: &TurnKey, day: NaiveDate) -> Scope {
    Scope {
        insurance_type: key.insurance_type.clone(),
        valid_year: key.valid_year,
        period_from: format!("{}01", key.valid_year),
        business_date: day,
    }
}

pub fn carry_rules(rule: &CollectionRule, carry_over: CarryOver) -> CarryRules {
    CarryRules {
        after_void_last_paid: carry_over.after_void == AfterVoid::LastPaid,
        is_base_rate: rule.amounts.is_base_rate(),
    }
}
