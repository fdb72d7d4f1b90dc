//! Who is a candidate and the one reason why not, judged by the plan and by a plain reading of the rule book beside it.
//! Payers are laid out as rows, so that any standing can be had, also those that take months of messages to come about.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use pikou::config::Schedule;
use pikou::domain::amount_setting::{FactOrder, SettingState, YearHistory};
use pikou::domain::eligibility::SkipReason;
use pikou::domain::insurance::{AmountRule, CollectionRule, InsuranceType, Window, owed};
use pikou::domain::money::Money;
use pikou::domain::period::{Cycle, Month, Period, Year};
use pikou::stages::{Context, lease, plan, preview};
use pikou::store::runs;
use sqlx::types::Decimal;

use crate::support::*;

#[derive(Debug, Clone)]
pub struct Agreement {
    pub number: String,
    pub signed: DateTime<Utc>,
    pub active: bool,
    pub batch_enabled: bool,
    pub covers: bool,
    pub amount_max: Option<Decimal>,
    /// 999 is a bank that we cannot write files for.
    pub bank_code: &'static str,
}

#[derive(Debug, Clone)]
pub struct Filed {
    pub number: String,
    pub amount: Decimal,
    pub state: &'static str,
    pub collect_by: &'static str,
    /// The version that a run filed it on.
    pub setting: Option<FactOrder>,
    pub failed_runs: i16,
    pub held: bool,
    /// Of a special one: its assessment's last day, and whether that stands as it was.
    pub assessed: Option<(NaiveDate, bool)>,
    pub disputed: bool,
}

#[derive(Debug, Clone, Default)]
pub struct Payer {
    pub enrolment: Option<(&'static str, NaiveDate, &'static str, Option<&'static str>)>,
    pub agreements: Vec<Agreement>,
    pub history: YearHistory,
    pub hold: Option<&'static str>,
    pub filed: Option<Filed>,
    pub specials: Vec<Filed>,
    pub paid: bool,
}

/// A run's scope, as the rule book sees it.
pub struct Scope {
    pub ctx: Context,
    pub schedule: String,
    pub date: NaiveDate,
}

impl Scope {
    fn schedule(&self) -> &Schedule {
        &self.ctx.settings.schedules[&self.schedule]
    }

    pub fn rule(&self) -> &CollectionRule {
        let region = self.ctx.settings.regions.0.iter().find(|region| region.name == self.schedule().region).unwrap();
        region.rule(&self.schedule().insurance_type).unwrap()
    }

    pub fn kind(&self) -> &InsuranceType {
        &self.schedule().insurance_type
    }

    fn period(&self) -> Period {
        Period::due_on(self.rule().cycle, self.date)
    }

    pub fn year(&self) -> Year {
        self.period().from.year()
    }
}

/// What becomes of a candidate: the amount that is deducted, or why not.
type Verdict = Result<String, &'static str>;

/// A plain reading of the rule book: candidates by the number of their special declaration, empty for the normal one.
fn judge(scope: &Scope, payer: &Payer) -> BTreeMap<String, Verdict> {
    let mut verdicts = BTreeMap::new();
    let served = |division: &str| scope.ctx.settings.regions.of(division).map(|region| region.name.as_str());
    if payer.enrolment.is_some_and(|(_, _, division, _)| served(division) != Some(scope.schedule().region.as_str())) {
        return verdicts;
    }
    let month = scope.period().from;
    let setting = setting(payer, month);
    let filed = payer.filed.as_ref().filter(|filed| !is_outdated(payer, filed, month));
    let batch = filed.filter(|filed| filed.state == "payable" && filed.collect_by == "batch");
    let candidate = setting.as_ref().is_some_and(|setting| setting.for_month) || batch.is_some();
    if candidate {
        verdicts.insert(String::new(), judge_normal(scope, payer, setting.as_ref(), filed));
    }
    for special in &payer.specials {
        // What may have moved money is not voided, whatever became of its assessment.
        let stands = special.assessed.is_some_and(|(_, stands)| stands) || special.disputed;
        if special.state == "payable" && special.collect_by == "batch" && stands {
            verdicts.insert(special.number.clone(), judge_special(scope, payer, special));
        }
    }
    verdicts
}

struct Setting {
    for_month: bool,
    voided: bool,
    amount: Money,
}

/// The newest word that has begun by the month; a void after it ends it. An expired year has none.
fn setting(payer: &Payer, month: Month) -> Option<Setting> {
    let versions = &payer.history.versions;
    if versions.iter().any(|version| version.state == SettingState::Expired) {
        return None;
    }
    let begun = |from: Option<Month>| from.is_none_or(|from| from <= month);
    let newest = versions.iter().rev().find(|version| begun(version.period_from));
    match newest {
        Some(version) => {
            let voided = payer.history.voids.iter().any(|void| *void > version.order);
            Some(Setting { for_month: true, voided, amount: version.amount })
        }
        None => {
            let voided = versions.iter().find(|version| version.state == SettingState::Voided)?;
            Some(Setting { for_month: false, voided: true, amount: voided.amount })
        }
    }
}

fn is_outdated(payer: &Payer, filed: &Filed, month: Month) -> bool {
    let may_be_voided = filed.state == "payable" && !filed.disputed;
    let Some(order) = filed.setting.as_ref().filter(|_| may_be_voided) else { return false };
    let newer = payer.history.versions.iter().filter(|version| version.order > *order);
    let replaced = newer.clone().any(|version| version.period_from.is_none_or(|from| from <= month));
    let ended = |state| matches!(state, SettingState::Voided | SettingState::Expired);
    replaced || payer.history.versions.iter().any(|version| version.order >= *order && ended(version.state))
}

fn judge_normal(scope: &Scope, payer: &Payer, setting: Option<&Setting>, filed: Option<&Filed>) -> Verdict {
    let rule = scope.rule();
    closed(scope, payer)?;
    if setting.is_some_and(|setting| setting.voided) {
        return Err("voided");
    }
    if payer.paid {
        return Err("already_paid");
    }
    if filed.is_some_and(|filed| filed.state == "paying" || filed.disputed) {
        return Err("attempt_in_flight");
    }
    let hold = payer.hold.filter(|_| setting.is_some_and(|setting| !setting.voided));
    let held = hold == Some("no_agreement") || filed.is_some_and(|filed| filed.held);
    let due = |setting: &Setting| match &rule.amounts {
        AmountRule::BaseRate { rate, .. } => owed(setting.amount, *rate),
        AmountRule::Range(_) | AmountRule::Tiers(_) | AmountRule::Fixed(_) => setting.amount.decimal(),
    };
    let amount = filed.map(|filed| filed.amount).or(setting.map(due)).expect("a candidate has an amount");
    agreed(payer, held, amount)?;
    let category = payer.enrolment.and_then(|(.., category)| category);
    let allowed = setting.is_some_and(|setting| rule.amounts.allows(setting.amount, category));
    if hold == Some("amount_out_of_range") || (filed.is_none() && !allowed) {
        return Err("amount_out_of_range");
    }
    if filed.is_some_and(|filed| filed.failed_runs >= rule.retry_runs) {
        return Err("retry_exhausted");
    }
    if hold == Some("suspended") {
        return Err("suspended");
    }
    if rule.window(scope.year(), scope.date) != Window::Open {
        return Err("not_due");
    }
    Ok(amount.to_string())
}

fn judge_special(scope: &Scope, payer: &Payer, special: &Filed) -> Verdict {
    closed(scope, payer)?;
    if special.disputed {
        return Err("attempt_in_flight");
    }
    agreed(payer, special.held, special.amount)?;
    if special.failed_runs >= scope.rule().retry_runs {
        return Err("retry_exhausted");
    }
    match special.assessed {
        Some((pay_by, _)) if scope.date <= pay_by => Ok(special.amount.to_string()),
        _ => Err("not_due"),
    }
}

fn closed(scope: &Scope, payer: &Payer) -> Result<(), &'static str> {
    match payer.enrolment {
        None => Err("not_enrolled"),
        Some(("active", from, ..)) if from > scope.date => Err("not_enrolled"),
        Some((status, from, ..)) if status != "active" && from <= scope.date => Err("enrolment_closed"),
        Some(_) => Ok(()),
    }
}

fn agreed(payer: &Payer, held: bool, amount: Decimal) -> Result<(), &'static str> {
    let usable = payer.agreements.iter().filter(|agreement| agreement.active && agreement.batch_enabled);
    let newest = usable.max_by_key(|agreement| (agreement.signed, agreement.number.clone()));
    let Some(newest) = newest.filter(|newest| newest.bank_code != "999" && !held) else { return Err("no_agreement") };
    if !newest.covers || newest.amount_max.is_some_and(|max| max < amount) {
        return Err("agreement_scope");
    }
    Ok(())
}

/// Lays the payers out, looks ahead and plans: what the run made of each, which is what was foreseen.
async fn planned(
    place: &Place,
    scope: &Scope,
    payers: &[(String, Payer)],
) -> BTreeMap<String, BTreeMap<String, Verdict>> {
    let mut connection = place.ctx.pool.acquire().await.unwrap();
    // Without the guards, which know how such rows come about; in one transaction, for speed.
    sqlx::raw_sql("BEGIN; SET LOCAL session_replication_role = replica").execute(&mut *connection).await.unwrap();
    for (id, payer) in payers {
        lay_out(&mut connection, scope, id, payer).await;
    }
    sqlx::raw_sql("COMMIT").execute(&mut *connection).await.unwrap();
    drop(connection);
    let run_id = plan_as_foreseen(place, &scope.ctx, &scope.schedule, scope.date).await;
    let rows: Vec<(String, String, Option<String>, Option<String>)> = sqlx::query_as(
        "SELECT payer_id, declaration_no, reason, NULL FROM run_skips WHERE run_id = $1
         UNION ALL
         SELECT a.payer_id, CASE WHEN d.kind = 'special' THEN d.declaration_no ELSE '' END, NULL, a.amount::text
         FROM attempts a JOIN declarations d USING (payer_id, declaration_no) WHERE a.run_id = $1",
    )
    .bind(run_id)
    .fetch_all(&place.ctx.pool)
    .await
    .unwrap();
    let candidates = place.count(&format!("SELECT candidates FROM runs WHERE run_id = {run_id}")).await;
    assert_eq!(candidates, rows.len() as i64, "candidates = attempts + skips");
    let mut verdicts: BTreeMap<String, BTreeMap<String, Verdict>> = BTreeMap::new();
    for (payer, number, reason, amount) in rows {
        let word =
            |reason: String| SkipReason::ALL.into_iter().map(SkipReason::as_str).find(|word| *word == reason).unwrap();
        let verdict = reason.map_or_else(|| Ok(amount.unwrap()), |reason| Err(word(reason)));
        verdicts.entry(payer).or_default().insert(number, verdict);
    }
    verdicts
}

/// Everything in the database: rows of every table, and where every sequence stands.
pub async fn everything(place: &Place) -> Vec<String> {
    let tables = place
        .texts("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE '\\_sqlx%' ORDER BY 1")
        .await;
    let mut found = place.texts("SELECT concat_ws(' ', sequencename, last_value) FROM pg_sequences ORDER BY 1").await;
    for table in tables {
        let sql = format!(
            "SELECT concat_ws(' ', '{table}', count(*), md5(string_agg(t::text, ',' ORDER BY t::text))) FROM {table} t"
        );
        found.extend(place.texts(&sql).await);
    }
    found
}

/// Plans a run that does what `pikou plan` has said, which has written nothing.
pub async fn plan_as_foreseen(place: &Place, ctx: &Context, schedule: &str, date: NaiveDate) -> i64 {
    let before = everything(place).await;
    let foreseen = preview::preview(ctx, schedule, date, |_| ()).await.unwrap();
    assert_eq!(everything(place).await, before, "a look ahead writes nothing");
    let run_id = plan::fire(ctx, schedule, date).await.unwrap();
    let lease = lease::take(ctx, run_id).await.unwrap().unwrap();
    plan::plan(ctx, lease, |_| ()).await.unwrap();
    let mut connection = place.ctx.pool.acquire().await.unwrap();
    let run = runs::get(&mut connection, run_id).await.unwrap();
    let skips = runs::skips(&mut connection, run_id).await.unwrap();
    assert_eq!(
        (foreseen.candidates, foreseen.attempts, foreseen.attempts_total, &foreseen.skips),
        (run.candidates, run.attempts, run.attempts_total, &skips),
        "{schedule} on {date}"
    );
    let known: Vec<(String, String)> = sqlx::query_as(
        "SELECT reason, payer_id FROM run_skips WHERE run_id = $1
         UNION SELECT 'planned', payer_id FROM attempts WHERE run_id = $1",
    )
    .bind(run_id)
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    for (reason, payers) in &foreseen.samples {
        assert!(!payers.is_empty() && payers.len() <= 5, "{reason}: {payers:?}");
        for payer in payers {
            assert!(known.contains(&(reason.clone(), payer.clone())), "{payer} is not {reason}");
        }
    }
    run_id
}

async fn lay_out(connection: &mut sqlx::PgConnection, scope: &Scope, id: &str, payer: &Payer) {
    let (kind, year, period) = (scope.kind().0.as_str(), scope.year().0, scope.period());
    let (from, to) = (period.from.to_string(), period.to.to_string());
    if let Some((status, effective_on, division, category)) = payer.enrolment {
        let sql = "INSERT INTO enrolments VALUES ($1, $2, $3, $4, '', 'other', '', '', $5, $6, '2026-01-01', 'e')";
        let query = sqlx::query(sql).bind(id).bind(kind).bind(status).bind(effective_on).bind(division).bind(category);
        query.execute(&mut *connection).await.unwrap();
    }
    for agreement in &payer.agreements {
        let types = vec![if agreement.covers { kind } else { "another" }];
        let status = if agreement.active { "active" } else { "ended" };
        sqlx::query("INSERT INTO agreements VALUES ($1, $2, 'bank', $3, '', '', $4, $5, $6, $7, $8, 'a')")
            .bind(id)
            .bind(&agreement.number)
            .bind(agreement.bank_code)
            .bind(status)
            .bind(agreement.batch_enabled)
            .bind(types)
            .bind(agreement.amount_max)
            .bind(agreement.signed)
            .execute(&mut *connection)
            .await
            .unwrap();
    }
    for version in &payer.history.versions {
        let hold = payer.hold.filter(|_| version.state == SettingState::Active);
        sqlx::query(
            "INSERT INTO amount_settings (insurance_type, valid_year, payer_id, fact_time, fact_id, amount, channel, state, hold_reason,
                                          sequence, period_from) VALUES ($1, $2, $3, $4, $5, $6, 'etax', $7, $8, 1, $9)",
        )
        .bind(kind)
        .bind(year)
        .bind(id)
        .bind(version.order.time)
        .bind(&version.order.id)
        .bind(version.amount.decimal())
        .bind(version.state.as_str())
        .bind(hold)
        .bind(version.period_from.map(|month| month.to_string()))
        .execute(&mut *connection)
        .await
        .unwrap();
    }
    for filed in payer.filed.iter().chain(&payer.specials) {
        let special = filed.assessed.is_some();
        let assessment_no = if special { format!("H{}", filed.number) } else { String::new() };
        let (from, to) = if special { ("202401", "202412") } else { (from.as_str(), to.as_str()) };
        sqlx::query(
            "INSERT INTO declarations (declaration_no, payer_id, insurance_type, kind, period_from, period_to, assessment_no, amount,
                                       channel, collect_by, state, setting_time, setting_id, failed_runs, hold_reason, submitted_at, sequence)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, '2026-01-01', 1)",
        )
        .bind(&filed.number)
        .bind(id)
        .bind(kind)
        .bind(if special { "special" } else { "normal" })
        .bind(from)
        .bind(to)
        .bind(&assessment_no)
        .bind(filed.amount)
        .bind(if filed.setting.is_some() { "batch" } else { "etax" })
        .bind(filed.collect_by)
        .bind(filed.state)
        .bind(filed.setting.as_ref().map(|order| order.time))
        .bind(filed.setting.as_ref().map(|order| order.id.clone()))
        .bind(filed.failed_runs)
        .bind(filed.held.then_some("no_agreement"))
        .execute(&mut *connection)
        .await
        .unwrap();
        if let Some((pay_by, stands)) = filed.assessed {
            let sql = "INSERT INTO assessments VALUES ($1, $2, $3, 'back_payment', '202401', '202412', $4, $5, $6, '2026-01-01', 'h')";
            sqlx::query(sql)
                .bind(id)
                .bind(&assessment_no)
                .bind(kind)
                .bind(filed.amount)
                .bind(pay_by)
                .bind(if stands { "issued" } else { "withdrawn" })
                .execute(&mut *connection)
                .await
                .unwrap();
        }
        if filed.disputed {
            sqlx::query(
                "INSERT INTO discrepancies (kind, gateway, bank_code, result_file_id, payer_id, declaration_no, opened_at)
                 VALUES ('contradiction', 'bank', '102', 1, $1, $2, '2026-01-01')",
            )
            .bind(id)
            .bind(&filed.number)
            .execute(&mut *connection)
            .await
            .unwrap();
        }
    }
    if payer.paid {
        sqlx::query(
            "INSERT INTO settlements (order_no, payer_id, declaration_no, insurance_type, kind, period_from, period_to, valid_year, amount,
                                      channel, gateway, bank_code, settled_at, result_file_id, line_no, booked_at, sequence, declaration_sequence)
             VALUES ('O' || $1, $1, 'D' || $1, $2, 'normal', $3, $4, $5, 1, 'etax', 'bank', '102', '2026-01-01', 1, 1, '2026-01-01', 1, 1)",
        )
        .bind(id)
        .bind(kind)
        .bind(&from)
        .bind(&to)
        .bind(year)
        .execute(connection)
        .await
        .unwrap();
    }
}

/// A yearly type with a range, a yearly one with an amount for each category, and a monthly one with a base.
const RULES: &str = r#"
[insurance_types]
resident_medical = "year"
flex_pension = "month"
[regions.beijing.insurance.resident_pension]
retry_runs = 2
[regions.beijing.insurance.resident_medical]
rule = "fixed"
amounts = { student = "380.00", adult = "400.00" }
window_from = "04-01"
window_to = "12-10"
future_years = 1
retry_runs = 2
[regions.beijing.insurance.flex_pension]
rule = "base_rate"
minimum = "6821.00"
maximum = "35283.00"
step = "0.01"
rate = "0.2015"
window_from = "01-01"
window_to = "12-10"
future_years = 0
retry_runs = 2
[schedules.medical]
insurance_type = "resident_medical"
region = "beijing"
cron = []
slot = 1
enabled = false
[schedules.flex]
insurance_type = "flex_pension"
region = "beijing"
cron = []
slot = 1
enabled = false
"#;

const SCHEDULES: [&str; 3] = [SCHEDULE, "medical", "flex"];
/// In every window, and behind it.
const DUE: (u32, u32) = (6, 15);
const OVER: (u32, u32) = (12, 20);

async fn scope(schedule: &str, (month, day): (u32, u32)) -> (Place, Scope) {
    let place = Place::new().await;
    let mut ctx = place.under_file(RULES);
    // Several ranges.
    Arc::make_mut(&mut ctx.settings).run.range_max = 300;
    let date = NaiveDate::from_ymd_opt(2026, month, day).unwrap();
    (place, Scope { ctx, schedule: schedule.to_owned(), date })
}

fn fact(day: i64, id: &str) -> FactOrder {
    FactOrder { time: at("2026-01-10T00:00:00Z") + TimeDelta::days(day), id: id.into() }
}

fn yuan(text: &str) -> Money {
    Money::from_yuan(text).unwrap()
}

fn good(scope: &Scope) -> Money {
    match &scope.rule().amounts {
        AmountRule::Range(_) | AmountRule::Tiers(_) => yuan("1500.00"),
        AmountRule::Fixed(_) => yuan("400.00"),
        AmountRule::BaseRate { .. } => yuan("7000.33"),
    }
}

/// A base has a first month; other amounts have none.
fn begins(scope: &Scope, month: &str) -> Option<Month> {
    (scope.rule().cycle == Cycle::Monthly).then(|| Month::parse(month).unwrap())
}

fn filed(number: &str, scope: &Scope) -> Filed {
    Filed {
        number: number.into(),
        amount: good(scope).decimal(),
        state: "payable",
        collect_by: "batch",
        setting: None,
        failed_runs: 0,
        held: false,
        assessed: None,
        disputed: false,
    }
}

/// Nothing keeps this payer from being deducted.
fn ready_payer(id: &str, scope: &Scope) -> Payer {
    let mut history = YearHistory::default();
    history.set(fact(0, "set"), good(scope), begins(scope, "202601"), "etax".into());
    let agreement = Agreement {
        number: format!("A{id}"),
        signed: at("2026-01-05T00:00:00Z"),
        active: true,
        batch_enabled: true,
        covers: true,
        amount_max: None,
        bank_code: "102",
    };
    let from = NaiveDate::from_ymd_opt(2020, 1, 1).unwrap();
    Payer {
        enrolment: Some(("active", from, "110101", Some("adult"))),
        agreements: vec![agreement],
        history,
        ..Payer::default()
    }
}

/// Lets a reason hold, whatever else holds already. Applied from the last reason to the first.
fn let_hold(reason: SkipReason, id: &str, scope: &Scope, payer: &mut Payer) {
    let own = || filed(&format!("S{id}"), scope);
    match reason {
        SkipReason::NotEnrolled => payer.enrolment = None,
        SkipReason::EnrolmentClosed => payer.enrolment = Some(("ended", scope.date, "110101", Some("adult"))),
        SkipReason::Voided => {
            payer.history.void(fact(20, "void"));
            payer.hold = None;
        }
        SkipReason::AlreadyPaid => payer.paid = true,
        SkipReason::AttemptInFlight => payer.filed.get_or_insert_with(own).state = "paying",
        SkipReason::NoAgreement => payer.agreements.clear(),
        SkipReason::AgreementScope => payer.agreements[0].amount_max = Some(Decimal::ONE),
        SkipReason::AmountOutOfRange if payer.filed.is_some() => payer.hold = Some("amount_out_of_range"),
        SkipReason::AmountOutOfRange => {
            payer.history = YearHistory::default();
            payer.history.set(fact(0, "set"), yuan("99.00"), begins(scope, "202601"), "etax".into());
        }
        SkipReason::RetryExhausted => payer.filed.get_or_insert_with(own).failed_runs = 2,
        SkipReason::Suspended => payer.hold = Some("suspended"),
        // The whole run is on a day outside the window.
        SkipReason::NotDue => {}
    }
}

/// What holds for whom: each reason alone, and each before each that comes after it.
fn cases() -> Vec<(String, Vec<SkipReason>)> {
    let mut cases = Vec::new();
    for (place, first) in SkipReason::ALL.into_iter().enumerate() {
        cases.push((format!("{}-alone", first.as_str()), vec![first]));
        for later in &SkipReason::ALL[place + 1..] {
            // Who is not enrolled has no enrolment that could be closed.
            if (first, *later) != (SkipReason::NotEnrolled, SkipReason::EnrolmentClosed) {
                cases.push((format!("{}-before-{}", first.as_str(), later.as_str()), vec![first, *later]));
            }
        }
    }
    cases
}

#[tokio::test]
async fn each_reason_holds_before_all_that_come_after_it() {
    for schedule in SCHEDULES {
        for day in [DUE, OVER] {
            let (place, scope) = scope(schedule, day).await;
            let is_due = day == DUE;
            let cases: Vec<_> =
                cases().into_iter().filter(|(_, hold)| is_due != hold.contains(&SkipReason::NotDue)).collect();
            let mut payers = Vec::new();
            let mut wanted = BTreeMap::new();
            for (id, hold) in &cases {
                let mut payer = ready_payer(id, &scope);
                for reason in hold.iter().rev() {
                    let_hold(*reason, id, &scope, &mut payer);
                }
                payers.push((id.clone(), payer));
                wanted.insert(id.clone(), BTreeMap::from([(String::new(), Err(hold[0].as_str()))]));
            }
            if is_due {
                payers.push(("nothing".into(), ready_payer("nothing", &scope)));
                let amount = match schedule {
                    SCHEDULE => "1500.00",
                    "medical" => "400.00",
                    // 7000.33 x 0.2015 = 1410.566495
                    _ => "1410.57",
                };
                wanted.insert("nothing".into(), BTreeMap::from([(String::new(), Ok(amount.into()))]));
            }
            assert_eq!(planned(&place, &scope, &payers).await, wanted, "{schedule} on {}", scope.date);
        }
    }
}

/// A year of facts in any order of their times.
fn random_history(dice: &mut Dice, scope: &Scope) -> YearHistory {
    let mut history = YearHistory::default();
    for number in 0..dice.below(5) {
        let order = fact(dice.below(200) as i64, &format!("{number}"));
        if dice.below(4) == 0 {
            history.void(order);
            continue;
        }
        let amount = match dice.below(6) {
            0 => yuan("999.99"),
            1 => yuan("380.00"),
            2 => yuan("6821.00"),
            _ => good(scope),
        };
        let month = format!("2026{:02}", 1 + dice.below(12));
        history.set(order, amount, begins(scope, &month), "etax".into());
    }
    if dice.below(12) == 0
        && let Some(version) = history.versions.last_mut().filter(|version| version.state == SettingState::Active)
    {
        version.state = SettingState::Expired;
    }
    history
}

fn random_payer(dice: &mut Dice, id: &str, scope: &Scope) -> Payer {
    let mut payer = ready_payer(id, scope);
    let day = |dice: &mut Dice| scope.date + TimeDelta::days(dice.below(3) as i64 - 1);
    if dice.below(3) == 0 {
        let status = dice.one_of(&["active", "active", "suspended", "ended"]);
        let division = dice.one_of(&["110101", "110101", "119900", "520102", "990000"]);
        let category = dice.one_of(&[Some("adult"), Some("student"), Some("guest"), None]);
        payer.enrolment = (dice.below(6) > 0).then(|| (status, day(dice), division, category));
    }
    if dice.below(2) == 0 {
        payer.history = random_history(dice, scope);
    }
    if payer.history.active().is_some() && dice.below(4) == 0 {
        payer.hold = Some(dice.one_of(&["no_agreement", "amount_out_of_range", "suspended"]));
    }
    if dice.below(3) == 0 {
        payer.agreements = (0..dice.below(3))
            .map(|number| Agreement {
                number: format!("A{number}"),
                signed: at("2026-01-05T00:00:00Z") + TimeDelta::days(dice.below(2) as i64),
                active: dice.below(4) > 0,
                batch_enabled: dice.below(4) > 0,
                covers: dice.below(5) > 0,
                amount_max: (dice.below(3) == 0).then(|| Decimal::from(dice.one_of(&[380, 400, 1400, 1500, 9000]))),
                bank_code: dice.one_of(&["102", "102", "103", "999"]),
            })
            .collect();
    }
    if dice.below(3) == 0 {
        let setting = payer.history.versions.get(dice.below(3)).map(|version| version.order.clone());
        payer.filed = Some(Filed {
            state: dice.one_of(&["payable", "payable", "payable", "paying"]),
            collect_by: if setting.is_some() { "batch" } else { dice.one_of(&["batch", "online"]) },
            setting,
            failed_runs: dice.below(4) as i16,
            held: dice.below(6) == 0,
            disputed: dice.below(8) == 0,
            ..filed(&format!("N{id}"), scope)
        });
    }
    for number in 0..[0, 0, 0, 1, 3][dice.below(5)] {
        payer.specials.push(Filed {
            state: dice.one_of(&["payable", "payable", "paying", "voided"]),
            collect_by: dice.one_of(&["batch", "batch", "online"]),
            failed_runs: dice.below(3) as i16,
            held: dice.below(6) == 0,
            disputed: dice.below(8) == 0,
            assessed: Some((day(dice), dice.below(5) > 0)),
            ..filed(&format!("H{number}{id}"), scope)
        });
    }
    payer.paid = dice.below(12) == 0;
    payer
}

#[tokio::test]
async fn thousands_of_payers_are_judged_as_a_plain_reading_of_the_rules_judges_them() {
    let seed = std::env::var("PIKOU_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    let mut dice = Dice(seed);
    let mut seen = std::collections::BTreeSet::new();
    for schedule in SCHEDULES {
        for day in [DUE, OVER] {
            let (place, scope) = scope(schedule, day).await;
            let payers: Vec<(String, Payer)> = (0..700)
                .map(|number| format!("{number:04}"))
                .map(|id| (id.clone(), random_payer(&mut dice, &id, &scope)))
                .collect();
            let mut judged = planned(&place, &scope, &payers).await;
            for (id, payer) in &payers {
                let wanted = judge(&scope, payer);
                let found = judged.remove(id).unwrap_or_default();
                assert_eq!(found, wanted, "PIKOU_SEED={seed} {schedule} on {}: {payer:#?}", scope.date);
                seen.extend(
                    wanted.values().map(|verdict| verdict.as_ref().map_or_else(|reason| *reason, |_| "planned")),
                );
            }
            assert!(judged.is_empty(), "PIKOU_SEED={seed}: strangers {judged:?}");
        }
    }
    let all: std::collections::BTreeSet<&str> =
        SkipReason::ALL.into_iter().map(SkipReason::as_str).chain(["planned"]).collect();
    assert_eq!(seen, all, "PIKOU_SEED={seed}: everything occurs");
}
