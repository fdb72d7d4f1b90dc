//! The plan of a run, range by range: the one judgement of candidates, and what a run makes of it.

use std::sync::LazyLock;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::QueryAs;
use sqlx::{AssertSqlSafe, PgConnection};

use super::outbox::CHUNK_MAX;
use super::runs::{Run, order_prefix};
use super::year_turns::{CARRYING, CarryRules};

/// Whose normal contribution is judged, and by which rules, as the statements take them.
#[derive(Debug, Clone)]
pub struct RangeRules {
    pub division_prefix: String,
    pub cut_out: Vec<String>,
    pub allowed: Allowed,
    /// For base-rate types, whose amounts hold from a month on: what is owed of the base.
    pub rate: Option<Decimal>,
    pub retry_runs: i16,
    pub in_window: bool,
}

/// Which amounts may be chosen, as `is_amount_allowed` takes it.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    pub minimum: Decimal,
    pub maximum: Decimal,
    pub step: Decimal,
    pub tiers: Option<Vec<Decimal>>,
    pub categories: Option<Vec<String>>,
    pub amounts: Option<Vec<Decimal>>,
}

/// What a run collects on its day.
#[derive(Debug, Clone)]
pub struct Scope {
    pub insurance_type: String,
    pub valid_year: i16,
    pub period_from: String,
    pub business_date: NaiveDate,
}

impl Scope {
    pub fn of(run: &Run) -> Scope {
        Scope {
            insurance_type: run.insurance_type.clone(),
            valid_year: run.valid_year,
            period_from: run.period_from.clone(),
            business_date: run.business_date,
        }
    }
}

/// Payers after the first and up to the last.
#[derive(Debug, Clone, Copy)]
pub struct Payers<'p> {
    pub after: &'p str,
    pub up_to: &'p str,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct RangePlanned {
    pub candidates: i64,
    pub attempts: i64,
    pub attempts_total: Decimal,
    pub skips: i64,
    /// Every payable declaration that was chosen could be taken.
    pub all_taken: bool,
}

/// Payable declarations that have lost their ground, whose row is `d`.
pub(super) const OUTDATED: &str = include_str!("sql/outdated.sql");

// Types with a contribution base ask for the version of the month; all others have one amount a year.
static OF_YEAR: LazyLock<String> = LazyLock::new(|| planning(include_str!("sql/settings_of_year.sql")));
static OF_MONTH: LazyLock<String> = LazyLock::new(|| planning(include_str!("sql/settings_of_month.sql")));

static PREVIEW_OF_YEAR: LazyLock<String> = LazyLock::new(|| previewing(include_str!("sql/settings_of_year.sql")));
static PREVIEW_OF_MONTH: LazyLock<String> = LazyLock::new(|| previewing(include_str!("sql/settings_of_month.sql")));

/// What the plan would void before it judges is left out.
fn previewing(settings: &str) -> String {
    let not_outdated = format!("\n      AND NOT (d.state = 'payable' AND d.collect_by = 'batch' AND (\n{OUTDATED}))");
    include_str!("sql/preview_range.sql")
        .replace("{carrying}", CARRYING.trim_end())
        .replace("{judged}", judging(settings, "versions", &not_outdated).trim_end())
}

fn planning(settings: &str) -> String {
    include_str!("sql/plan_range.sql").replace("{judged}", &judging(settings, "amount_settings", ""))
}

/// The judgement's text, over these versions of amounts, with a condition that leaves declarations out.
fn judging(settings: &str, versions: &str, not_outdated: &str) -> String {
    include_str!("sql/judge_range.sql")
        .replace("{settings}", settings.trim_end())
        .replace("{versions}", versions)
        .replace("{not_outdated}", not_outdated)
}

/// The last payer of the next range of at most `limit` candidates, or `None` when all are judged.
pub async fn range_end(
    connection: &mut PgConnection,
    scope: &Scope,
    after: &str,
    limit: i64,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar(include_str!("sql/range_end.sql"))
        .bind(&scope.insurance_type)
        .bind(scope.valid_year)
        .bind(&scope.period_from)
        .bind(after)
        .bind(limit)
        .fetch_one(connection)
        .await
}

/// Judges one range: attempts for some, one skip reason for each other. See `sql/plan_range.sql`.
pub async fn plan_range(
    tx: &mut PgConnection,
    run: &Run,
    range_end: &str,
    rules: &RangeRules,
    tells_skipped: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<RangePlanned> {
    let payers = Payers { after: &run.planned_through, up_to: range_end };
    let sql = if rules.rate.is_some() { &OF_MONTH } else { &OF_YEAR };
    let query = sqlx::query_as(AssertSqlSafe(sql.as_str()));
    set_for_ranges(tx).await?;
    let planned: RangePlanned = judged_by(query, &Scope::of(run), payers, rules)
        .bind(run.run_id)
        .bind(&run.period_to)
        .bind(now)
        .bind(order_prefix(run.run_id))
        .bind(CHUNK_MAX as i64)
        .bind(run.tells_planned)
        .bind(tells_skipped)
        .fetch_one(&mut *tx)
        .await?;
    reset_for_ranges(tx).await?;
    sqlx::query(
        "UPDATE runs SET planned_through = $2, candidates = candidates + $3, attempts = attempts + $4,
                attempts_total = attempts_total + $5, skips = skips + $6 WHERE run_id = $1",
    )
    .bind(run.run_id)
    .bind(range_end)
    .bind(planned.candidates)
    .bind(planned.attempts)
    .bind(planned.attempts_total)
    .bind(planned.skips)
    .execute(tx)
    .await?;
    Ok(planned)
}

/// What a plan would be judged by.
#[derive(Debug, Clone)]
pub struct PreviewRules {
    pub range: RangeRules,
    pub carry: CarryRules,
    /// Whether what is carried over is still to come.
    pub opens_year: bool,
    pub destinations: Vec<(String, String)>,
    pub samples_max: i32,
}

/// Candidates of one range with one reason, or without.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Judged {
    pub reason: Option<String>,
    pub candidates: i64,
    pub total: Decimal,
    pub samples: Vec<String>,
    /// What is carried over in the range, the same in all of its rows.
    #[sqlx(flatten)]
    pub carried: Carried,
}

/// What an opening carries over: how many amounts, their sum (of contribution bases where those are set), how many held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Carried {
    #[sqlx(rename = "carried")]
    pub amounts: i64,
    #[sqlx(rename = "carried_total")]
    pub total: Decimal,
    #[sqlx(rename = "carried_held")]
    pub held: i64,
}

/// Judges one range and leaves it at that. See `sql/preview_range.sql`.
pub async fn preview_range(
    tx: &mut PgConnection,
    scope: &Scope,
    payers: Payers<'_>,
    rules: &PreviewRules,
) -> sqlx::Result<Vec<Judged>> {
    let sql = if rules.range.rate.is_some() { &PREVIEW_OF_MONTH } else { &PREVIEW_OF_YEAR };
    set_for_ranges(tx).await?;
    let judged = judged_by(sqlx::query_as(AssertSqlSafe(sql.as_str())), scope, payers, &rules.range)
        .bind(rules.carry.after_void_last_paid)
        .bind(rules.carry.is_base_rate)
        .bind(rules.destinations.iter().map(|(gateway, _)| gateway.clone()).collect::<Vec<_>>())
        .bind(rules.destinations.iter().map(|(_, bank_code)| bank_code.clone()).collect::<Vec<_>>())
        .bind(rules.opens_year)
        .bind(rules.samples_max)
        .fetch_all(&mut *tx)
        .await?;
    reset_for_ranges(tx).await?;
    Ok(judged)
}

/// Binds $1 to $17 of `sql/judge_range.sql`.
pub(super) fn judged_by<'q, R>(
    query: QueryAs<'q, Postgres, R, PgArguments>,
    scope: &Scope,
    payers: Payers<'_>,
    rules: &RangeRules,
) -> QueryAs<'q, Postgres, R, PgArguments> {
    let Allowed { minimum, maximum, step, tiers, categories, amounts } = rules.allowed.clone();
    query
        .bind(scope.insurance_type.clone())
        .bind(scope.valid_year)
        .bind(scope.period_from.clone())
        .bind(scope.business_date)
        .bind(payers.after.to_owned())
        .bind(payers.up_to.to_owned())
        .bind(pattern(&rules.division_prefix))
        .bind(rules.cut_out.iter().map(|prefix| pattern(prefix)).collect::<Vec<_>>())
        .bind(minimum)
        .bind(maximum)
        .bind(step)
        .bind(tiers)
        .bind(categories)
        .bind(amounts)
        .bind(rules.rate.unwrap_or(Decimal::ONE))
        .bind(rules.retry_runs)
        .bind(rules.in_window)
}

pub(super) fn pattern(prefix: &str) -> String {
    format!("{prefix}%")
}

/// Room to sort and hash a range in memory, and no loops over two ranges.
pub(super) async fn set_for_ranges(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::raw_sql("SET LOCAL enable_nestloop = off; SET LOCAL work_mem = '64MB'").execute(tx).await.map(drop)
}

pub(super) async fn reset_for_ranges(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::raw_sql("RESET enable_nestloop; RESET work_mem").execute(tx).await.map(drop)
}
