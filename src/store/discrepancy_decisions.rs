//! What people decided on discrepancies, and the discrepancies as they see them.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::{AssertSqlSafe, PgConnection};

/// A discrepancy with the names of what it rests on.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Discrepancy {
    pub discrepancy_id: i64,
    pub kind: String,
    pub gateway: String,
    pub bank_code: String,
    pub result_file_id: Option<i64>,
    pub file_name: Option<String>,
    pub line_no: Option<i64>,
    pub message_source: Option<String>,
    pub message_id: Option<String>,
    pub order_no: Option<String>,
    pub payer_id: Option<String>,
    pub declaration_no: Option<String>,
    pub amount_ours: Option<Decimal>,
    pub amount_theirs: Option<Decimal>,
    pub code: Option<String>,
    pub gateway_txn_no: Option<String>,
    pub settled_at: Option<DateTime<Utc>>,
    pub detail: Option<String>,
    pub state: String,
    pub opened_at: DateTime<Utc>,
    /// Of the last event about it.
    pub sequence: i64,
}

const COLUMNS: &str = "c.discrepancy_id, c.kind, c.gateway, c.bank_code, c.result_file_id, f.file_name, c.line_no, c.message_source, \
                       c.message_id, c.order_no, c.payer_id, c.declaration_no, c.amount_ours, c.amount_theirs, c.code, c.gateway_txn_no, \
                       c.settled_at, c.detail, c.state, c.opened_at, c.sequence";
const FROM: &str = "FROM discrepancies c LEFT JOIN result_files f USING (result_file_id)";

/// Which ones; what is not given does not narrow.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub kind: Option<String>,
    pub gateway: Option<String>,
    pub state: Option<String>,
    /// Opened at this time or before.
    pub opened_by: Option<DateTime<Utc>>,
    pub result_file_id: Option<i64>,
    pub payer_id: Option<String>,
}

/// Discrepancies behind a number, in the order of their numbers.
pub async fn list(
    connection: &mut PgConnection,
    filter: &Filter,
    after: i64,
    limit: i64,
) -> sqlx::Result<Vec<Discrepancy>> {
    let sql = format!(
        "SELECT {COLUMNS} {FROM}
         WHERE c.discrepancy_id > $1 AND ($2::text IS NULL OR c.kind = $2) AND ($3::text IS NULL OR c.gateway = $3)
           AND ($4::text IS NULL OR c.state = $4) AND ($5::timestamptz IS NULL OR c.opened_at <= $5)
           AND ($6::bigint IS NULL OR c.result_file_id = $6) AND ($7::text IS NULL OR c.payer_id = $7)
         ORDER BY c.discrepancy_id LIMIT $8"
    );
    sqlx::query_as(AssertSqlSafe(sql))
        .bind(after)
        .bind(&filter.kind)
        .bind(&filter.gateway)
        .bind(&filter.state)
        .bind(filter.opened_by)
        .bind(filter.result_file_id)
        .bind(&filter.payer_id)
        .bind(limit)
        .fetch_all(connection)
        .await
}

pub async fn get(connection: &mut PgConnection, discrepancy_id: i64) -> sqlx::Result<Option<Discrepancy>> {
    let sql = format!("SELECT {COLUMNS} {FROM} WHERE c.discrepancy_id = $1");
    sqlx::query_as(AssertSqlSafe(sql)).bind(discrepancy_id).fetch_optional(connection).await
}

/// The discrepancy, locked for a decision.
pub async fn lock(tx: &mut PgConnection, discrepancy_id: i64) -> sqlx::Result<Option<Discrepancy>> {
    let sql = format!("SELECT {COLUMNS} {FROM} WHERE c.discrepancy_id = $1 FOR UPDATE OF c");
    sqlx::query_as(AssertSqlSafe(sql)).bind(discrepancy_id).fetch_optional(tx).await
}

/// The other open ones of the same kind, order, and file or message, locked: they say one thing together.
pub async fn lock_beside(tx: &mut PgConnection, one: &Discrepancy) -> sqlx::Result<Vec<Discrepancy>> {
    let sql = format!(
        "SELECT {COLUMNS} {FROM}
         WHERE c.order_no = $1 AND c.kind = $2 AND c.gateway = $3 AND c.bank_code = $4 AND c.state = 'open' AND c.discrepancy_id <> $5
           AND c.result_file_id IS NOT DISTINCT FROM $6 AND c.message_source IS NOT DISTINCT FROM $7
           AND c.message_id IS NOT DISTINCT FROM $8 AND c.payer_id IS NOT DISTINCT FROM $9
         ORDER BY c.discrepancy_id FOR UPDATE OF c"
    );
    sqlx::query_as(AssertSqlSafe(sql))
        .bind(&one.order_no)
        .bind(&one.kind)
        .bind(&one.gateway)
        .bind(&one.bank_code)
        .bind(one.discrepancy_id)
        .bind(one.result_file_id)
        .bind(&one.message_source)
        .bind(&one.message_id)
        .bind(&one.payer_id)
        .fetch_all(tx)
        .await
}

/// All about an order, resolved ones too.
pub async fn of_order(connection: &mut PgConnection, order_no: &str) -> sqlx::Result<Vec<Discrepancy>> {
    let sql = format!("SELECT {COLUMNS} {FROM} WHERE c.order_no = $1 ORDER BY c.discrepancy_id LIMIT 100");
    sqlx::query_as(AssertSqlSafe(sql)).bind(order_no).fetch_all(connection).await
}

/// A decision as it was kept; `reopen` is one, too.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct DiscrepancyDecision {
    pub decision_id: i64,
    pub what: String,
    pub order_no: Option<String>,
    pub decided_by: String,
    pub second_by: Option<String>,
    pub reason: String,
    pub decided_at: DateTime<Utc>,
}

/// All decisions on a discrepancy, in their order.
pub async fn of(connection: &mut PgConnection, discrepancy_id: i64) -> sqlx::Result<Vec<DiscrepancyDecision>> {
    sqlx::query_as(
        "SELECT decision_id, what, order_no, decided_by, second_by, reason, decided_at FROM discrepancy_decisions
         WHERE discrepancy_id = $1 ORDER BY decision_id",
    )
    .bind(discrepancy_id)
    .fetch_all(connection)
    .await
}

/// Whether two names are one person's, as the guard in the database takes it.
pub async fn are_one_person(connection: &mut PgConnection, one: &str, other: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT lower(btrim($1)) = lower(btrim($2))").bind(one).bind(other).fetch_one(connection).await
}

/// A decision to be kept.
#[derive(Debug, Clone, Copy)]
pub struct NewDecision<'a> {
    pub what: &'a str,
    /// attach: the order of ours.
    pub order_no: Option<&'a str>,
    pub decided_by: &'a str,
    pub second_by: Option<&'a str>,
    pub reason: &'a str,
    pub decided_at: DateTime<Utc>,
}

/// Keeps a decision on a discrepancy, and the state that follows from it: `resolved`, or `open` again. `events` are told of
/// it. Returns the number of the decision.
pub async fn decide(
    tx: &mut PgConnection,
    about: &Discrepancy,
    decision: &NewDecision<'_>,
    events: i64,
) -> sqlx::Result<i64> {
    let decision_id: i64 = sqlx::query_scalar(
        "INSERT INTO discrepancy_decisions (discrepancy_id, kind, what, order_no, decided_by, second_by, reason, decided_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING decision_id",
    )
    .bind(about.discrepancy_id)
    .bind(&about.kind)
    .bind(decision.what)
    .bind(decision.order_no)
    .bind(decision.decided_by)
    .bind(decision.second_by)
    .bind(decision.reason)
    .bind(decision.decided_at)
    .fetch_one(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE discrepancies SET state = CASE $2 WHEN 'reopen' THEN 'open' ELSE 'resolved' END, decision_id = $3,
                sequence = sequence + $4
         WHERE discrepancy_id = $1",
    )
    .bind(about.discrepancy_id)
    .bind(decision.what)
    .bind(decision_id)
    .bind(events)
    .execute(tx)
    .await?;
    Ok(decision_id)
}

/// Open discrepancies of a gateway that were opened at a time or before.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Aged {
    pub gateway: String,
    pub discrepancies: i64,
    /// Their amounts at the gateway, as far as they are known.
    pub total: Decimal,
    pub oldest: DateTime<Utc>,
}

pub async fn aged(connection: &mut PgConnection, opened_by: DateTime<Utc>) -> sqlx::Result<Vec<Aged>> {
    sqlx::query_as(
        "SELECT gateway, count(*) AS discrepancies, COALESCE(sum(amount_theirs), 0) AS total, min(opened_at) AS oldest
         FROM discrepancies WHERE state = 'open' AND opened_at <= $1 GROUP BY gateway ORDER BY gateway",
    )
    .bind(opened_by)
    .fetch_all(connection)
    .await
}
