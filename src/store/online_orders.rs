//! Online orders with their attempts and settlements, as intake reads and writes them.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::{PgConnection, Row};

use super::amount_settings::{decode_money, impossible};
use crate::domain::money::Money;
use crate::domain::order::{Gateway, Method, OrderState};

/// An order with everything that became of it.
#[derive(Debug, Clone)]
pub struct OnlineOrder {
    pub order_no: String,
    /// Empty for a refused order whose declarations are not known or of several payers.
    pub payer_id: String,
    pub gateway: Gateway,
    pub method: Method,
    pub channel: String,
    pub acting_payer_id: Option<String>,
    pub items: i16,
    pub amount: Money,
    pub refused: Option<String>,
    pub started_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub sequence: i64,
    /// Empty for a refused order.
    pub attempts: Vec<OrderAttempt>,
    pub state: OrderState,
    /// The transaction it was settled by.
    pub gateway_txn_no: Option<String>,
}

#[derive(Debug, Clone)]
pub struct OrderAttempt {
    pub item: i16,
    pub declaration_no: String,
    pub amount: Money,
    /// Of the event declaration.paying.
    pub declaration_sequence: i64,
}

/// Whose orders these are, as far as they are known.
pub async fn payers(tx: &mut PgConnection, numbers: &[&str]) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar("SELECT DISTINCT payer_id FROM online_orders WHERE order_no = ANY ($1)")
        .bind(numbers)
        .fetch_all(tx)
        .await
}

pub async fn load(tx: &mut PgConnection, numbers: &[&str]) -> sqlx::Result<Vec<OnlineOrder>> {
    let rows = sqlx::query(
        "SELECT order_no, payer_id, gateway, method, channel, acting_payer_id, items, amount, code, started_at, expires_at, sequence
         FROM online_orders WHERE order_no = ANY ($1)",
    )
    .bind(numbers)
    .fetch_all(&mut *tx)
    .await?;
    let mut orders = Vec::with_capacity(rows.len());
    for row in rows {
        let refused: Option<String> = row.get(8);
        orders.push(OnlineOrder {
            order_no: row.get(0),
            payer_id: row.get(1),
            gateway: Gateway::parse(row.get(2)).ok_or_else(|| impossible("online_orders.gateway"))?,
            method: Method::parse(row.get(3)).ok_or_else(|| impossible("online_orders.method"))?,
            channel: row.get(4),
            acting_payer_id: row.get(5),
            items: row.get(6),
            amount: decode_money(row.get(7))?,
            state: if refused.is_some() { OrderState::Refused } else { OrderState::Sent },
            refused,
            started_at: row.get(9),
            expires_at: row.get(10),
            sequence: row.get(11),
            attempts: Vec::new(),
            gateway_txn_no: None,
        });
    }
    let rows = sqlx::query(
        "SELECT a.order_no, a.item, a.declaration_no, a.amount, a.declaration_sequence, a.state, s.order_no IS NOT NULL, s.gateway_txn_no
         FROM attempts a LEFT JOIN settlements s USING (order_no, payer_id, item)
         WHERE a.order_no = ANY ($1) AND a.run_id IS NULL
         ORDER BY a.order_no, a.item",
    )
    .bind(numbers)
    .fetch_all(tx)
    .await?;
    for row in rows {
        let order_no: &str = row.get(0);
        let Some(order) = orders.iter_mut().find(|order| order.order_no == order_no) else { continue };
        // The attempts of an order move together.
        order.state = match (row.get(6), row.get(5)) {
            (true, "reversed") => OrderState::Reversed,
            (true, _) => OrderState::Succeeded,
            (false, "sent") => OrderState::Sent,
            (false, "unknown") => OrderState::Unknown,
            (false, "failed") => OrderState::Failed,
            (false, _) => return Err(impossible("attempts.state")),
        };
        order.gateway_txn_no = row.get(7);
        order.attempts.push(OrderAttempt {
            item: row.get(1),
            declaration_no: row.get(2),
            amount: decode_money(row.get(3))?,
            declaration_sequence: row.get(4),
        });
    }
    Ok(orders)
}

/// Orders that the given transactions have settled, as (gateway, transaction number, order).
pub async fn settled_by(
    tx: &mut PgConnection,
    gateways: &[&str],
    numbers: &[&str],
) -> sqlx::Result<Vec<(String, String, String)>> {
    sqlx::query_as(
        "SELECT DISTINCT s.gateway, s.gateway_txn_no, s.order_no
         FROM unnest($1::text[], $2::text[]) AS k (gateway, gateway_txn_no)
         JOIN settlements s ON s.gateway = k.gateway AND s.bank_code = '' AND s.gateway_txn_no = k.gateway_txn_no",
    )
    .bind(gateways)
    .bind(numbers)
    .fetch_all(tx)
    .await
}

/// Writes new orders, their attempts first: the database checks that an order holds its declarations.
pub async fn insert(tx: &mut PgConnection, orders: &[&OnlineOrder]) -> sqlx::Result<()> {
    let attempts: Vec<(&OnlineOrder, &OrderAttempt)> =
        orders.iter().flat_map(|order| order.attempts.iter().map(move |attempt| (*order, attempt))).collect();
    sqlx::query(
        "INSERT INTO attempts (order_no, payer_id, item, declaration_no, amount, state, declaration_sequence, sequence)
         SELECT * FROM unnest($1::text[], $2::text[], $3::smallint[], $4::text[], $5::numeric[], $6::text[], $7::bigint[], $8::bigint[])",
    )
    .bind(attempts.iter().map(|row| row.0.order_no.as_str()).collect::<Vec<_>>())
    .bind(attempts.iter().map(|row| row.0.payer_id.as_str()).collect::<Vec<_>>())
    .bind(attempts.iter().map(|row| row.1.item).collect::<Vec<_>>())
    .bind(attempts.iter().map(|row| row.1.declaration_no.as_str()).collect::<Vec<_>>())
    .bind(attempts.iter().map(|row| row.1.amount.decimal()).collect::<Vec<Decimal>>())
    .bind(attempts.iter().map(|row| stored(row.0.state)).collect::<Vec<_>>())
    .bind(attempts.iter().map(|row| row.1.declaration_sequence).collect::<Vec<_>>())
    .bind(attempts.iter().map(|row| row.0.sequence).collect::<Vec<_>>())
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO online_orders (order_no, payer_id, gateway, method, channel, acting_payer_id, items, amount, state, code,
                                    started_at, expires_at, sequence)
         SELECT order_no, payer_id, gateway, method, channel, acting_payer_id, items, amount,
                CASE WHEN code IS NULL THEN 'started' ELSE 'refused' END, code, started_at, expires_at, sequence
         FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::smallint[], $8::numeric[],
                     $9::text[], $10::timestamptz[], $11::timestamptz[], $12::bigint[])
              AS o (order_no, payer_id, gateway, method, channel, acting_payer_id, items, amount, code, started_at, expires_at, sequence)",
    )
    .bind(orders.iter().map(|order| order.order_no.as_str()).collect::<Vec<_>>())
    .bind(orders.iter().map(|order| order.payer_id.as_str()).collect::<Vec<_>>())
    .bind(orders.iter().map(|order| order.gateway.as_str()).collect::<Vec<_>>())
    .bind(orders.iter().map(|order| order.method.as_str()).collect::<Vec<_>>())
    .bind(orders.iter().map(|order| order.channel.as_str()).collect::<Vec<_>>())
    .bind(orders.iter().map(|order| order.acting_payer_id.as_deref()).collect::<Vec<_>>())
    .bind(orders.iter().map(|order| order.items).collect::<Vec<_>>())
    .bind(orders.iter().map(|order| order.amount.decimal()).collect::<Vec<Decimal>>())
    .bind(orders.iter().map(|order| order.refused.as_deref()).collect::<Vec<_>>())
    .bind(orders.iter().map(|order| order.started_at).collect::<Vec<_>>())
    .bind(orders.iter().map(|order| order.expires_at).collect::<Vec<_>>())
    .bind(orders.iter().map(|order| order.sequence).collect::<Vec<_>>())
    .execute(tx)
    .await
    .map(drop)
}

/// The state of its attempts that is stored: a success follows from the settlement.
fn stored(state: OrderState) -> &'static str {
    match state {
        OrderState::Refused | OrderState::Sent | OrderState::Succeeded => "sent",
        OrderState::Unknown => "unknown",
        OrderState::Failed => "failed",
        OrderState::Reversed => "reversed",
    }
}

/// Moves orders on: their attempts to `failed` or `unknown` where they are that now, and the sequence of each.
pub async fn update(tx: &mut PgConnection, orders: &[&OnlineOrder]) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE attempts a SET state = o.state, sequence = o.sequence
         FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS o (order_no, payer_id, state, sequence)
         WHERE a.order_no = o.order_no AND a.payer_id = o.payer_id AND a.run_id IS NULL AND a.state <> o.state AND o.state <> 'sent'",
    )
    .bind(orders.iter().map(|order| order.order_no.as_str()).collect::<Vec<_>>())
    .bind(orders.iter().map(|order| order.payer_id.as_str()).collect::<Vec<_>>())
    .bind(orders.iter().map(|order| stored(order.state)).collect::<Vec<_>>())
    .bind(orders.iter().map(|order| order.sequence).collect::<Vec<_>>())
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE online_orders o SET sequence = k.sequence
         FROM unnest($1::text[], $2::bigint[]) AS k (order_no, sequence) WHERE o.order_no = k.order_no",
    )
    .bind(orders.iter().map(|order| order.order_no.as_str()).collect::<Vec<_>>())
    .bind(orders.iter().map(|order| order.sequence).collect::<Vec<_>>())
    .execute(tx)
    .await
    .map(drop)
}

/// By what an order is paid.
#[derive(Debug, Clone)]
pub struct Paid {
    pub gateway_txn_no: Option<String>,
    pub settled_at: DateTime<Utc>,
    pub by: SettledBy,
}

/// The evidence.
#[derive(Debug, Clone)]
pub enum SettledBy {
    Report { source: String, id: String },
    Line { result_file_id: i64, line_no: i64 },
}

impl SettledBy {
    fn report(&self) -> (Option<&str>, Option<&str>) {
        match self {
            SettledBy::Report { source, id } => (Some(source), Some(id)),
            SettledBy::Line { .. } => (None, None),
        }
    }

    fn line(&self) -> (Option<i64>, Option<i64>) {
        match self {
            SettledBy::Report { .. } => (None, None),
            SettledBy::Line { result_file_id, line_no } => (Some(*result_file_id), Some(*line_no)),
        }
    }
}

/// A declaration that an order has paid.
#[derive(Debug)]
pub struct OrderSettlement {
    pub order_no: String,
    pub payer_id: String,
    pub item: i16,
    pub declaration_no: String,
    pub gateway: Gateway,
    pub amount: Money,
    pub paid: Paid,
    pub sequence: i64,
    pub declaration_sequence: i64,
    pub amount_sequence: Option<i64>,
}

/// Books settlements; what they are for is copied from their declarations.
pub async fn settle(tx: &mut PgConnection, booked_at: DateTime<Utc>, rows: &[OrderSettlement]) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO settlements (order_no, payer_id, item, declaration_no, insurance_type, kind, period_from, period_to, valid_year,
                                  amount, channel, gateway, bank_code, gateway_txn_no, settled_at, message_source, message_id, result_file_id,
                                  line_no, booked_at, sequence, declaration_sequence, amount_sequence)
         SELECT k.order_no, k.payer_id, k.item, k.declaration_no, d.insurance_type, d.kind, d.period_from, d.period_to,
                left(d.period_from, 4)::smallint, k.amount, d.channel, k.gateway, '', k.gateway_txn_no, k.settled_at, k.message_source,
                k.message_id, k.result_file_id, k.line_no, $1, k.sequence, k.declaration_sequence, k.amount_sequence
         FROM unnest($2::text[], $3::text[], $4::smallint[], $5::text[], $6::text[], $7::text[], $8::numeric[], $9::timestamptz[],
                     $10::text[], $11::text[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[])
              AS k (order_no, payer_id, item, declaration_no, gateway, gateway_txn_no, amount, settled_at, message_source, message_id,
                    sequence, declaration_sequence, amount_sequence, result_file_id, line_no)
         JOIN declarations d ON d.declaration_no = k.declaration_no AND d.payer_id = k.payer_id",
    )
    .bind(booked_at)
    .bind(rows.iter().map(|row| row.order_no.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.payer_id.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.item).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.declaration_no.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.gateway.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.paid.gateway_txn_no.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.amount.decimal()).collect::<Vec<Decimal>>())
    .bind(rows.iter().map(|row| row.paid.settled_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.paid.by.report().0).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.paid.by.report().1).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.sequence).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.declaration_sequence).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.amount_sequence).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.paid.by.line().0).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.paid.by.line().1).collect::<Vec<_>>())
    .execute(tx)
    .await
    .map(drop)
}
