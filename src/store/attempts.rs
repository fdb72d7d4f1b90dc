//! Attempts: withdrawing those whose ground has gone, and reading them for events.

use sqlx::PgConnection;

use super::ranges::AttemptRow;
use crate::domain::attempt::Withdrawal;

/// An attempt that was withdrawn, with what became of its declaration (whose sequence is the attempt row's here).
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Withdrawn {
    pub reason: String,
    pub sequence: i64,
    pub declaration_state: String,
    #[sqlx(flatten)]
    pub attempt: AttemptRow,
}

/// After facts of these payers have changed: their attempts in runs that are not sealed yet.
pub async fn withdraw_outdated_of_payers(tx: &mut PgConnection, payers: &[&str]) -> sqlx::Result<Vec<Withdrawn>> {
    sqlx::query_as(include_str!("sql/withdraw_outdated.sql")).bind(payers).fetch_all(tx).await
}

/// Items that the bank's file cannot hold, or whose agreement has gone to another bank, or whose run is cancelled: their
/// attempts are withdrawn before the file is sealed, their declarations are payable again.
pub async fn withdraw_items(
    tx: &mut PgConnection,
    order_nos: &[String],
    reason: Withdrawal,
) -> sqlx::Result<Vec<Withdrawn>> {
    sqlx::query_as(
        "WITH items AS MATERIALIZED (
             SELECT a.order_no, a.payer_id, a.run_id, a.declaration_no, a.amount, d.insurance_type, d.kind, d.channel, d.period_from,
                    d.period_to, $2 AS reason, a.sequence + 1 AS sequence, 'payable' AS declaration_state,
                    d.sequence + 1 AS declaration_sequence, l.gateway, l.bank_code
             FROM attempts a
             JOIN declarations d ON d.declaration_no = a.declaration_no AND d.payer_id = a.payer_id
             JOIN run_lanes l ON l.run_id = a.run_id AND l.lane = a.lane
             WHERE a.order_no = ANY ($1) AND a.state = 'planned'
         ), withdrawn AS (
             UPDATE attempts a SET state = 'withdrawn', withdrawal = $2, sequence = i.sequence
             FROM items i
             WHERE a.order_no = i.order_no AND a.payer_id = i.payer_id
         ), freed AS (
             UPDATE declarations d SET state = i.declaration_state, sequence = i.declaration_sequence
             FROM items i
             WHERE d.declaration_no = i.declaration_no AND d.payer_id = i.payer_id
         )
         SELECT *, NULL AS file_name FROM items ORDER BY order_no",
    )
    .bind(order_nos)
    .bind(reason.as_str())
    .fetch_all(tx)
    .await
}
