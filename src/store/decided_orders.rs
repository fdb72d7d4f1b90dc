//! Orders as people's decisions find and leave them. What a decision books is what a result row would have booked, with
//! the decision as its evidence; the caller owns the gate.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;

/// One declaration of an order. Of a batch order it is the only one.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct OrderItem {
    pub order_no: String,
    pub payer_id: String,
    pub item: i16,
    /// None for an online payment.
    pub run_id: Option<i64>,
    pub declaration_no: String,
    pub amount: Decimal,
    /// Of the attempt, as stored.
    pub state: String,
    pub insurance_type: String,
    pub kind: String,
    pub channel: String,
    pub period_from: String,
    pub period_to: String,
    pub declaration_state: String,
    pub gateway: String,
    pub bank_code: String,
    pub valid_year: i16,
    pub file_name: Option<String>,
    /// It is in a sealed file, or was started online.
    pub sent: bool,
    /// There is a settlement, and it stands.
    pub settled: bool,
    pub settled_at: Option<DateTime<Utc>>,
    pub gateway_txn_no: Option<String>,
    pub sequence: i64,
    pub declaration_sequence: i64,
    /// Another order that is out for the declaration, or has paid it.
    pub other_order_no: Option<String>,
    /// Another declaration that has taken the place of this one.
    pub other_declaration_no: Option<String>,
    /// A run filed it on a setting that holds no more.
    pub outdated: bool,
    pub retries_left: bool,
    /// Its amount setting is held.
    pub held: bool,
    pub set_amount: Option<Decimal>,
    pub whole_year: bool,
    /// Of the last event about the year, where an amount is set for it.
    pub amount_sequence: Option<i64>,
}

/// The items of an order of ours; of this payer, where one is named.
pub async fn load(tx: &mut PgConnection, order_no: &str, payer_id: Option<&str>) -> sqlx::Result<Vec<OrderItem>> {
    sqlx::query_as(include_str!("sql/decided_order.sql")).bind(order_no).bind(payer_id).fetch_all(tx).await
}

/// The order that a transaction of a gateway has settled, if any.
pub async fn settled_by(
    tx: &mut PgConnection,
    gateway: &str,
    bank_code: &str,
    gateway_txn_no: &str,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar(
        "SELECT order_no FROM settlements WHERE gateway = $1 AND bank_code = $2 AND gateway_txn_no = $3 LIMIT 1",
    )
    .bind(gateway)
    .bind(bank_code)
    .bind(gateway_txn_no)
    .fetch_optional(tx)
    .await
}

/// A payment that was booked for the same.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Booked {
    pub order_no: String,
    pub gateway_txn_no: Option<String>,
    pub settled_at: DateTime<Utc>,
}

/// The payment that stands for an order or a declaration of a payer.
pub async fn booked_for(
    tx: &mut PgConnection,
    payer_id: &str,
    order_no: Option<&str>,
    declaration_no: Option<&str>,
) -> sqlx::Result<Option<Booked>> {
    sqlx::query_as(
        "SELECT order_no, gateway_txn_no, settled_at FROM standing_settlements
         WHERE payer_id = $1 AND (order_no = $2 OR declaration_no = $3)
         ORDER BY settled_at, order_no LIMIT 1",
    )
    .bind(payer_id)
    .bind(order_no)
    .bind(declaration_no)
    .fetch_optional(tx)
    .await
}

/// An item's settlement, with the sequences of its events.
#[derive(Debug)]
pub struct DecidedSettlement<'a> {
    pub item: &'a OrderItem,
    pub sequence: i64,
    pub declaration_sequence: i64,
    pub amount_sequence: Option<i64>,
}

/// By what an order is settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Money {
    pub gateway_txn_no: Option<String>,
    pub settled_at: DateTime<Utc>,
}

/// Settles an order whole. What had failed is open again first, and its declarations are taken.
pub async fn settle(
    tx: &mut PgConnection,
    rows: &[DecidedSettlement<'_>],
    money: &Money,
    decision_id: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let Some(first) = rows.first() else { return Ok(()) };
    let (order_no, payer_id) = (&first.item.order_no, &first.item.payer_id);
    sqlx::query("UPDATE attempts SET state = 'unknown' WHERE order_no = $1 AND payer_id = $2 AND state = 'failed'")
        .bind(order_no)
        .bind(payer_id)
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "UPDATE declarations d SET state = 'paying'
         FROM attempts a
         WHERE a.order_no = $1 AND a.payer_id = $2 AND d.declaration_no = a.declaration_no AND d.payer_id = a.payer_id AND d.state <> 'paying'",
    )
    .bind(order_no)
    .bind(payer_id)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO settlements (order_no, payer_id, item, declaration_no, insurance_type, kind, period_from, period_to, valid_year,
                                  amount, channel, gateway, bank_code, gateway_txn_no, settled_at, decision_id, booked_at, sequence,
                                  declaration_sequence, amount_sequence)
         SELECT a.order_no, a.payer_id, a.item, a.declaration_no, d.insurance_type, d.kind, d.period_from, d.period_to, k.valid_year,
                a.amount, d.channel, $3, $4, $5, $6, $7, $8, k.sequence, k.declaration_sequence, k.amount_sequence
         FROM unnest($9::smallint[], $10::smallint[], $11::bigint[], $12::bigint[], $13::bigint[])
              AS k (item, valid_year, sequence, declaration_sequence, amount_sequence)
         JOIN attempts a ON a.order_no = $1 AND a.payer_id = $2 AND a.item = k.item
         JOIN declarations d ON d.declaration_no = a.declaration_no AND d.payer_id = a.payer_id
         ORDER BY a.item",
    )
    .bind(order_no)
    .bind(payer_id)
    .bind(&first.item.gateway)
    .bind(&first.item.bank_code)
    .bind(&money.gateway_txn_no)
    .bind(money.settled_at)
    .bind(decision_id)
    .bind(now)
    .bind(rows.iter().map(|row| row.item.item).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.item.valid_year).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.sequence).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.declaration_sequence).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.amount_sequence).collect::<Vec<_>>())
    .execute(tx)
    .await
    .map(drop)
}

/// What an item's failure makes of its declaration and amount.
#[derive(Debug)]
pub struct DecidedFailure<'a> {
    pub item: &'a OrderItem,
    pub sequence: i64,
    pub declaration_sequence: i64,
    /// `payable` or `voided`.
    pub declaration_state: &'static str,
    /// It counts as one of the runs in which a deduction is tried.
    pub counts: bool,
    /// Failed for good: its declaration is held until a new agreement comes; and its amount, with the sequence of that event.
    pub held: bool,
    pub amount_sequence: Option<i64>,
}

/// Fails an order whole and frees its declarations.
pub async fn fail(tx: &mut PgConnection, rows: &[DecidedFailure<'_>]) -> sqlx::Result<()> {
    for row in rows {
        let item = row.item;
        sqlx::query(
            "UPDATE attempts SET state = 'failed', sequence = $4 WHERE order_no = $1 AND payer_id = $2 AND item = $3",
        )
        .bind(&item.order_no)
        .bind(&item.payer_id)
        .bind(item.item)
        .bind(row.sequence)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "UPDATE declarations SET state = $3, sequence = $4, failed_runs = failed_runs + $5::int,
                    hold_reason = CASE WHEN $6 AND $3 = 'payable' THEN 'no_agreement' END
             WHERE declaration_no = $1 AND payer_id = $2",
        )
        .bind(&item.declaration_no)
        .bind(&item.payer_id)
        .bind(row.declaration_state)
        .bind(row.declaration_sequence)
        .bind(i32::from(row.counts))
        .bind(row.held)
        .execute(&mut *tx)
        .await?;
        if let Some(amount_sequence) = row.amount_sequence {
            sqlx::query(
                "UPDATE amount_settings SET hold_reason = 'no_agreement', sequence = $4
                 WHERE insurance_type = $1 AND valid_year = $2 AND payer_id = $3 AND state = 'active'",
            )
            .bind(&item.insurance_type)
            .bind(item.valid_year)
            .bind(&item.payer_id)
            .bind(amount_sequence)
            .execute(&mut *tx)
            .await?;
        }
    }
    Ok(())
}

/// The number of the last event about an online order.
pub async fn set_order_sequence(tx: &mut PgConnection, order_no: &str, sequence: i64) -> sqlx::Result<()> {
    sqlx::query("UPDATE online_orders SET sequence = $2 WHERE order_no = $1 AND state = 'started'")
        .bind(order_no)
        .bind(sequence)
        .execute(tx)
        .await
        .map(drop)
}
