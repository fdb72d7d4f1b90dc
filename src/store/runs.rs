//! Runs: the slot, the lease, planning by ranges, sealing, and what their events show.

use crate::domain::threshold::Figures;
use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::{PgConnection, Row};

/// A run to be made, if its slot has none yet.
#[derive(Debug, Clone)]
pub struct NewRun {
    pub schedule: String,
    pub business_date: NaiveDate,
    pub slot: i16,
    pub insurance_type: String,
    pub valid_year: i16,
    pub period_from: String,
    pub period_to: String,
    /// In how many runs a deduction is tried that fails for a reason that passes.
    pub retry_runs: i16,
    /// After how many failed runs in a row a payer's amount is suspended; 0: never.
    pub suspend_after: i16,
    /// Whether `deduction.planned` is told: an order's sequence counts from its first event that is.
    pub tells_planned: bool,
    /// The gateways' banks that we can write files for, in the order of their lanes.
    pub destinations: Vec<(String, String)>,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Run {
    pub run_id: i64,
    pub schedule: String,
    pub business_date: NaiveDate,
    pub slot: i16,
    pub insurance_type: String,
    pub valid_year: i16,
    pub period_from: String,
    pub period_to: String,
    pub retry_runs: i16,
    pub tells_planned: bool,
    pub state: String,
    pub planned_through: String,
    pub candidates: i64,
    pub attempts: i64,
    pub attempts_total: Decimal,
    pub skips: i64,
    pub withdrawn: i64,
    pub sequence: i64,
    /// Why it waits, or waited, for a person; the run it was compared with; how many people must release it.
    pub hold_reasons: Vec<String>,
    pub compared_with: Option<i64>,
    pub releases_needed: i16,
    /// The decision to cancel it: nothing of it is sealed any more.
    pub cancellation: Option<i64>,
}

impl Run {
    /// What is compared with another run.
    pub fn figures(&self) -> Figures {
        Figures { valid_year: self.valid_year, attempts: self.attempts, attempts_total: self.attempts_total }
    }
}

/// Makes the slot's run, or finds the one that is there: however often a schedule fires, it is one run.
pub async fn find_or_make(tx: &mut PgConnection, new: &NewRun, now: DateTime<Utc>) -> sqlx::Result<i64> {
    // Looked for first: an insert that meets a conflict has used a number up, and those who ask are many.
    if let Some(run_id) = of_slot(tx, new).await? {
        return Ok(run_id);
    }
    let made: Option<i64> = sqlx::query_scalar(
        "INSERT INTO runs (schedule, business_date, slot, insurance_type, valid_year, period_from, period_to, retry_runs,
                           suspend_after, tells_planned, state, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'planning', $11)
         ON CONFLICT ON CONSTRAINT one_run_a_slot DO NOTHING RETURNING run_id",
    )
    .bind(&new.schedule)
    .bind(new.business_date)
    .bind(new.slot)
    .bind(&new.insurance_type)
    .bind(new.valid_year)
    .bind(&new.period_from)
    .bind(&new.period_to)
    .bind(new.retry_runs)
    .bind(new.suspend_after)
    .bind(new.tells_planned)
    .bind(now)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(run_id) = made else {
        return of_slot(tx, new).await?.ok_or(sqlx::Error::RowNotFound);
    };
    sqlx::query(
        "INSERT INTO run_lanes (run_id, lane, gateway, bank_code)
         SELECT $1, place::smallint, gateway, bank_code
         FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS d (gateway, bank_code, place)",
    )
    .bind(run_id)
    .bind(new.destinations.iter().map(|(gateway, _)| gateway.as_str()).collect::<Vec<_>>())
    .bind(new.destinations.iter().map(|(_, bank_code)| bank_code.as_str()).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(run_id)
}

async fn of_slot(tx: &mut PgConnection, new: &NewRun) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar("SELECT run_id FROM runs WHERE schedule = $1 AND business_date = $2 AND slot = $3")
        .bind(&new.schedule)
        .bind(new.business_date)
        .bind(new.slot)
        .fetch_optional(tx)
        .await
}

/// Takes or renews the lease by the database's clock. `None`: another worker holds it.
pub async fn lease(
    connection: &mut PgConnection,
    run_id: i64,
    holder: &str,
    seconds: f64,
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar(
        "UPDATE runs SET lease_epoch = lease_epoch + (lease_holder IS DISTINCT FROM $2)::int, lease_holder = $2,
                lease_until = clock_timestamp() + make_interval(secs => $3)
         WHERE run_id = $1 AND (lease_holder IS NULL OR lease_holder = $2 OR lease_until < clock_timestamp())
         RETURNING lease_epoch",
    )
    .bind(run_id)
    .bind(holder)
    .bind(seconds)
    .fetch_optional(connection)
    .await
}

/// Gives the lease back, so that the next worker need not wait for it to run out.
pub async fn release(connection: &mut PgConnection, run_id: i64, epoch: i64) -> sqlx::Result<()> {
    sqlx::query("UPDATE runs SET lease_holder = NULL, lease_until = NULL WHERE run_id = $1 AND lease_epoch = $2")
        .bind(run_id)
        .bind(epoch)
        .execute(connection)
        .await
        .map(drop)
}

/// The run, locked, if the lease is still ours. Every write of a run starts here: a worker that was paused until
/// somebody else took over finds nothing to write to.
pub async fn lock(tx: &mut PgConnection, run_id: i64, epoch: i64) -> sqlx::Result<Option<Run>> {
    sqlx::query_as("SELECT * FROM runs WHERE run_id = $1 AND lease_epoch = $2 FOR UPDATE")
        .bind(run_id)
        .bind(epoch)
        .fetch_optional(tx)
        .await
}

pub async fn get(connection: &mut PgConnection, run_id: i64) -> sqlx::Result<Run> {
    sqlx::query_as("SELECT * FROM runs WHERE run_id = $1").bind(run_id).fetch_one(connection).await
}

/// The run of a slot, if it is made.
pub async fn in_slot(
    connection: &mut PgConnection,
    schedule: &str,
    business_date: NaiveDate,
    slot: i16,
) -> sqlx::Result<Option<Run>> {
    sqlx::query_as("SELECT * FROM runs WHERE schedule = $1 AND business_date = $2 AND slot = $3")
        .bind(schedule)
        .bind(business_date)
        .bind(slot)
        .fetch_optional(connection)
        .await
}

/// Runs that still have something to be planned, sealed, handed over or cancelled, oldest first. One of which all that is
/// left waits for a person is not among them.
pub async fn unfinished(connection: &mut PgConnection) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "SELECT run_id FROM runs r
         WHERE (state IN ('planning', 'planned', 'sealed') OR (state = 'held' AND cancellation IS NOT NULL))
           AND (NOT EXISTS (SELECT FROM request_files f WHERE f.run_id = r.run_id AND f.held_reason IS NOT NULL)
                OR EXISTS (SELECT FROM request_files f WHERE f.run_id = r.run_id AND f.held_reason IS NULL
                               AND f.state NOT IN ('delivered', 'empty')))
         ORDER BY run_id",
    )
    .fetch_all(connection)
    .await
}

pub async fn any_unsealed(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM runs WHERE sealed_at IS NULL AND state <> 'cancelled')")
        .fetch_one(connection)
        .await
}

/// Statistics of what the next statements read: messages and a run bring a million rows in seconds, long before the
/// server would look by itself, and statements planned without knowing of them go wrong by factors of a hundred. Only
/// the columns that are searched by: sampling the encrypted ones would cost more than it tells.
pub async fn analyze_facts(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query(
        "ANALYZE amount_settings (insurance_type, valid_year, payer_id, state), agreements (payer_id, agreement_no, status),
                 enrolments (payer_id, insurance_type, division_code), settlements (payer_id, insurance_type, period_from)",
    )
    .execute(connection)
    .await
    .map(drop)
}

/// The same for what a plan has written.
pub async fn analyze_plan(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query(
        "ANALYZE declarations (declaration_no, payer_id, insurance_type, period_from, state),
                 attempts (order_no, payer_id, run_id, lane, declaration_no, state)",
    )
    .execute(connection)
    .await
    .map(drop)
}

/// `P` and seven digits of the run: with lane and number an order number of 19 characters, letters and digits only,
/// which every gateway's format can hold.
pub(super) fn order_prefix(run_id: i64) -> String {
    format!("P{run_id:07}")
}

pub async fn set_planned(tx: &mut PgConnection, run_id: i64, now: DateTime<Utc>) -> sqlx::Result<Run> {
    sqlx::query_as(
        "UPDATE runs SET state = 'planned', planned_at = $2, sequence = sequence + 1 WHERE run_id = $1 RETURNING *",
    )
    .bind(run_id)
    .bind(now)
    .fetch_one(tx)
    .await
}

pub async fn set_sealed(tx: &mut PgConnection, run_id: i64, now: DateTime<Utc>) -> sqlx::Result<Run> {
    sqlx::query_as(
        "UPDATE runs SET state = 'sealed', sealed_at = $2, sequence = sequence + 1,
                withdrawn = (SELECT count(*) FROM attempts WHERE run_id = $1 AND state = 'withdrawn')
         WHERE run_id = $1 RETURNING *",
    )
    .bind(run_id)
    .bind(now)
    .fetch_one(tx)
    .await
}

pub async fn count_withdrawn(tx: &mut PgConnection, run_id: i64, more: i64) -> sqlx::Result<()> {
    sqlx::query("UPDATE runs SET withdrawn = withdrawn + $2 WHERE run_id = $1")
        .bind(run_id)
        .bind(more)
        .execute(tx)
        .await
        .map(drop)
}

/// Marks the run as sent once every file of it is delivered (or turned out empty). `None`: not yet, or already.
pub async fn set_sent(tx: &mut PgConnection, run_id: i64, now: DateTime<Utc>) -> sqlx::Result<Option<Run>> {
    sqlx::query_as(
        "UPDATE runs SET state = 'sent', sent_at = $2, sequence = sequence + 1
         WHERE run_id = $1 AND state = 'sealed'
           AND NOT EXISTS (SELECT FROM request_files WHERE run_id = $1 AND state NOT IN ('delivered', 'empty'))
         RETURNING *",
    )
    .bind(run_id)
    .bind(now)
    .fetch_optional(tx)
    .await
}

/// The runs that a result file has answered are settling. A run whose files are still being handed over stays `sealed`
/// until they are: what is not yet sent must still go out. Locks the runs either way: whoever hands over the last file
/// sees the answers, or is seen by them, and the run is closed by one of the two.
pub async fn set_settling(tx: &mut PgConnection, run_ids: &[i64]) -> sqlx::Result<()> {
    sqlx::query("UPDATE runs SET state = CASE state WHEN 'sent' THEN 'settling' ELSE state END WHERE run_id = ANY ($1)")
        .bind(run_ids)
        .execute(tx)
        .await
        .map(drop)
}

/// Attempts of a run `r` that are neither final nor wait for a person; $2 and $3 are the prefixes of its order numbers and
/// of the next run's.
const OPEN: &str = "SELECT FROM attempts a
               LEFT JOIN settlements s ON s.order_no = a.order_no AND s.payer_id = a.payer_id
               WHERE a.run_id = r.run_id AND a.order_no >= $2 AND a.order_no < $3
                 AND a.state IN ('planned', 'unknown') AND s.order_no IS NULL
                 -- One that knows the payer: what another bank says of the number answers nothing.
                 AND NOT EXISTS (SELECT FROM discrepancies d
                                 WHERE d.order_no = a.order_no AND d.payer_id = a.payer_id AND d.state = 'open')";

/// Closes the run if every attempt is final or has an open discrepancy.
pub async fn close_if_done(tx: &mut PgConnection, run_id: i64, now: DateTime<Utc>) -> sqlx::Result<Option<Run>> {
    let sql = format!(
        "UPDATE runs r SET state = 'closed', closed_at = $4, sequence = sequence + 1
         WHERE run_id = $1 AND state IN ('sent', 'settling') AND NOT EXISTS ({OPEN}) RETURNING *"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(run_id)
        // By order number the run's attempts are one stretch of the primary key.
        .bind(order_prefix(run_id))
        .bind(order_prefix(run_id + 1))
        .bind(now)
        .fetch_optional(tx)
        .await
}

/// Takes a run back whose results are undone: it is settling as long as any other result of it stands, else only sent.
/// Returns those that were closed. A closed one stays so where everything that is out again waits for a person.
pub async fn reopen(tx: &mut PgConnection, run_id: i64) -> sqlx::Result<Option<Run>> {
    let sql = format!(
        "UPDATE runs r SET closed_at = NULL, sequence = r.sequence + (r.state = 'closed')::int,
                state = CASE WHEN EXISTS (
                    SELECT FROM attempts a
                    WHERE a.run_id = r.run_id AND a.order_no >= $2 AND a.order_no < $3
                      AND (a.state IN ('failed', 'unknown', 'reversed')
                           OR EXISTS (SELECT FROM settlements s WHERE s.order_no = a.order_no AND s.payer_id = a.payer_id)))
                THEN 'settling' ELSE 'sent' END
         FROM runs before
         WHERE r.run_id = $1 AND before.run_id = $1 AND (r.state = 'settling' OR r.state = 'closed' AND EXISTS ({OPEN}))
         RETURNING r.*, before.state = 'closed' AS was_closed"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(run_id)
        // By order number the run's attempts are one stretch of the primary key.
        .bind(order_prefix(run_id))
        .bind(order_prefix(run_id + 1))
        .fetch_optional(tx)
        .await?;
    let Some(row) = row.filter(|row| row.get("was_closed")) else { return Ok(None) };
    Ok(Some(sqlx::FromRow::from_row(&row)?))
}

/// Runs that a bank has begun to answer and that are not closed.
pub async fn settling(tx: &mut PgConnection, gateway: &str, bank_code: &str) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "SELECT run_id FROM runs r
         WHERE state = 'settling' AND EXISTS (SELECT FROM run_lanes n WHERE n.run_id = r.run_id AND n.gateway = $1 AND n.bank_code = $2)
         ORDER BY run_id",
    )
    .bind(gateway)
    .bind(bank_code)
    .fetch_all(tx)
    .await
}

/// Runs, newest first; all states, or one.
pub async fn list(connection: &mut PgConnection, state: Option<&str>, limit: i64) -> sqlx::Result<Vec<Run>> {
    sqlx::query_as("SELECT * FROM runs WHERE $1::text IS NULL OR state = $1 ORDER BY run_id DESC LIMIT $2")
        .bind(state)
        .bind(limit)
        .fetch_all(connection)
        .await
}

/// The run, if there is one of this number.
pub async fn find(connection: &mut PgConnection, run_id: i64) -> sqlx::Result<Option<Run>> {
    sqlx::query_as("SELECT * FROM runs WHERE run_id = $1").bind(run_id).fetch_optional(connection).await
}

/// How many request files a run has that hold items.
pub async fn files(connection: &mut PgConnection, run_id: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT count(*) FROM request_files WHERE run_id = $1 AND state <> 'empty'")
        .bind(run_id)
        .fetch_one(connection)
        .await
}

/// Skips of a run by reason.
pub async fn skips(
    connection: &mut PgConnection,
    run_id: i64,
) -> sqlx::Result<std::collections::BTreeMap<String, i64>> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT reason, count(*) FROM run_skips WHERE run_id = $1 GROUP BY 1")
            .bind(run_id)
            .fetch_all(connection)
            .await?;
    Ok(rows.into_iter().collect())
}

/// Whether the database holds anything that must not be mixed with a demo.
pub async fn is_used(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM runs) OR EXISTS (SELECT FROM intake_batches)")
        .fetch_one(connection)
        .await
}

/// Locks runs in the order of their numbers, as every stage locks runs before files.
pub async fn lock_all(tx: &mut PgConnection, run_ids: &[i64]) -> sqlx::Result<()> {
    sqlx::query("SELECT FROM runs WHERE run_id = ANY ($1) ORDER BY run_id FOR UPDATE")
        .bind(run_ids)
        .execute(tx)
        .await
        .map(drop)
}
