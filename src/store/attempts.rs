//! Attempts: withdrawing those whose ground has gone, and reading them for events.

use std::sync::LazyLock;

use rust_decimal::Decimal;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::domain::attempt::Withdrawal;

/// An attempt that was withdrawn, with what became of its declaration.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Withdrawn {
    pub order_no: String,
    pub payer_id: String,
    pub run_id: i64,
    pub declaration_no: String,
    pub amount: Decimal,
    pub insurance_type: String,
    pub kind: String,
    pub channel: String,
    pub period_from: String,
    pub period_to: String,
    pub reason: String,
    pub sequence: i64,
    pub declaration_state: String,
    pub declaration_sequence: i64,
    pub gateway: String,
    pub bank_code: String,
}

// Two texts of one statement: with one text for both, the plan for a few payers would be that for a whole run.
static OF_RUN: LazyLock<String> = LazyLock::new(|| scoped("a.run_id = $1"));
static OF_PAYERS: LazyLock<String> = LazyLock::new(|| scoped("a.payer_id = ANY ($1)"));

fn scoped(scope: &str) -> String {
    include_str!("sql/withdraw_outdated.sql").replace("{scope}", scope)
}

/// Before a run is sealed: everything that changed since it was planned.
pub async fn withdraw_outdated_of_run(tx: &mut PgConnection, run_id: i64) -> sqlx::Result<Vec<Withdrawn>> {
    sqlx::query_as(AssertSqlSafe(OF_RUN.as_str())).bind(run_id).fetch_all(tx).await
}

/// After facts of these payers have changed: their attempts in runs that are not sealed yet.
pub async fn withdraw_outdated_of_payers(tx: &mut PgConnection, payers: &[&str]) -> sqlx::Result<Vec<Withdrawn>> {
    sqlx::query_as(AssertSqlSafe(OF_PAYERS.as_str())).bind(payers).fetch_all(tx).await
}

/// Items that the bank's file cannot hold, or whose agreement has gone to another bank: their attempts are withdrawn before
/// the file is sealed, their declarations are payable again.
pub async fn withdraw_items(
    tx: &mut PgConnection,
    order_nos: &[String],
    reason: Withdrawal,
) -> sqlx::Result<Vec<Withdrawn>> {
    sqlx::query_as(
        "WITH withdrawn AS (
             UPDATE attempts SET state = 'withdrawn', withdrawal = $2, sequence = sequence + 1
             WHERE order_no = ANY ($1) AND state = 'planned'
             RETURNING order_no, payer_id, run_id, lane, declaration_no, amount, sequence
         ), freed AS (
             UPDATE declarations d SET state = 'payable', sequence = d.sequence + 1
             FROM withdrawn w
             WHERE d.declaration_no = w.declaration_no AND d.payer_id = w.payer_id AND d.state = 'paying'
             RETURNING d.declaration_no, d.payer_id, d.insurance_type, d.kind, d.channel, d.period_from, d.period_to, d.state, d.sequence
         )
         SELECT w.order_no, w.payer_id, w.run_id, w.declaration_no, w.amount, f.insurance_type, f.kind, f.channel, f.period_from,
                f.period_to, $2 AS reason, w.sequence, f.state AS declaration_state,
                f.sequence AS declaration_sequence, l.gateway, l.bank_code
         FROM withdrawn w JOIN freed f USING (declaration_no, payer_id)
         JOIN run_lanes l ON l.run_id = w.run_id AND l.lane = w.lane
         ORDER BY w.order_no",
    )
    .bind(order_nos)
    .bind(reason.as_str())
    .fetch_all(tx)
    .await
}
