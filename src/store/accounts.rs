//! The books as they stand, counted from the rows themselves.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use sqlx::{PgConnection, Row};

use super::amount_settings::decode_money;
use crate::domain::account::{Account, Attempts, Events, Files, Messages, Orders, Reversed, Sums};

/// Counts everything in one snapshot: the caller's transaction is REPEATABLE READ.
pub async fn count(tx: &mut PgConnection) -> sqlx::Result<Account> {
    let messages = messages(tx).await?;
    let candidates: i64 =
        sqlx::query_scalar("SELECT COALESCE(sum(candidates), 0)::bigint FROM runs").fetch_one(&mut *tx).await?;
    let (attempts, sums) = attempts(tx).await?;
    let orders = orders(tx).await?;
    let reversed = reversed(tx).await?;
    let skips = by(tx, "SELECT reason, count(*) FROM run_skips GROUP BY 1").await?;
    let withdrawals = by(tx, "SELECT withdrawal, count(*) FROM attempts WHERE state = 'withdrawn' GROUP BY 1").await?;
    let discrepancies = by(tx, "SELECT kind, count(*) FROM discrepancies GROUP BY 1").await?;
    let row = sqlx::query(
        "SELECT COALESCE(sum(rows), 0)::bigint, COALESCE(sum(applied), 0)::bigint, COALESCE(sum(repeated), 0)::bigint,
                (SELECT count(*) FROM discrepancies WHERE line_no IS NOT NULL AND item = 1), COALESCE(sum(not_ours), 0)::bigint
         FROM result_files WHERE state = 'applied'",
    )
    .fetch_one(&mut *tx)
    .await?;
    let files = Files {
        rows: row.get(0),
        applied: row.get(1),
        repeated: row.get(2),
        discrepancies: row.get(3),
        not_ours: row.get(4),
    };
    let row = sqlx::query(
        "SELECT COALESCE(sum(events), 0)::bigint, COALESCE(sum(events) FILTER (WHERE published_at IS NOT NULL), 0)::bigint
         FROM outbox WHERE NOT withheld",
    )
    .fetch_one(&mut *tx)
    .await?;
    let events = Events { outbox: row.get(0), published: row.get(1) };
    Ok(Account {
        messages,
        candidates,
        attempts,
        skips,
        withdrawals,
        sums,
        orders,
        reversed,
        files,
        discrepancies,
        events,
    })
}

async fn messages(tx: &mut PgConnection) -> sqlx::Result<Messages> {
    let row = sqlx::query(
        "SELECT (SELECT COALESCE(sum(deliveries), 0)::bigint FROM intake_batches),
                count(*) FILTER (WHERE outcome = 'accepted'), count(*) FILTER (WHERE outcome = 'refused'),
                count(*) FILTER (WHERE outcome = 'stale'), count(*) FILTER (WHERE outcome = 'waiting'),
                COALESCE(sum(repeated), 0)::bigint,
                (SELECT COALESCE(sum(1 + repeated + replays), 0)::bigint FROM quarantine)
         FROM messages",
    )
    .fetch_one(tx)
    .await?;
    Ok(Messages {
        received: row.get(0),
        accepted: row.get(1),
        refused: row.get(2),
        stale: row.get(3),
        waiting: row.get(4),
        repeated: row.get(5),
        quarantined: row.get(6),
    })
}

async fn attempts(tx: &mut PgConnection) -> sqlx::Result<(Attempts, Sums)> {
    // What was sent is taken from the files and what was paid from the settlements: other rows than the attempts.
    let row = sqlx::query(
        "WITH counted AS (
             SELECT CASE WHEN s.order_no IS NOT NULL THEN 'settled' WHEN a.state <> 'planned' THEN a.state
                         WHEN f.file_id IS NOT NULL THEN 'open' ELSE 'unsent' END AS state,
                    count(*) AS n, sum(a.amount) AS total
             FROM attempts a
             LEFT JOIN settlements s ON s.order_no = a.order_no AND s.payer_id = a.payer_id
             LEFT JOIN request_files f ON f.run_id = a.run_id AND f.lane = a.lane AND f.state = 'delivered'
                 AND a.order_no BETWEEN f.first_order_no AND f.last_order_no
             WHERE a.run_id IS NOT NULL
             GROUP BY 1)
         SELECT COALESCE(sum(n), 0)::bigint, COALESCE(sum(total), 0),
                COALESCE(sum(n) FILTER (WHERE state = 'withdrawn'), 0)::bigint, COALESCE(sum(total) FILTER (WHERE state = 'withdrawn'), 0),
                COALESCE(sum(n) FILTER (WHERE state = 'failed'), 0)::bigint, COALESCE(sum(total) FILTER (WHERE state = 'failed'), 0),
                COALESCE(sum(n) FILTER (WHERE state = 'unknown'), 0)::bigint, COALESCE(sum(total) FILTER (WHERE state = 'unknown'), 0),
                COALESCE(sum(n) FILTER (WHERE state = 'open'), 0)::bigint, COALESCE(sum(total) FILTER (WHERE state = 'open'), 0),
                COALESCE(sum(n) FILTER (WHERE state = 'unsent'), 0)::bigint, COALESCE(sum(total) FILTER (WHERE state = 'unsent'), 0)
         FROM counted",
    )
    .fetch_one(&mut *tx)
    .await?;
    let (sent, sent_total): (i64, Decimal) = sqlx::query_as(
        "SELECT COALESCE(sum(items), 0)::bigint, COALESCE(sum(total), 0) FROM request_files WHERE state = 'delivered'",
    )
    .fetch_one(&mut *tx)
    .await?;
    let (succeeded, paid): (i64, Decimal) = sqlx::query_as(
        "SELECT count(*), COALESCE(sum(s.amount), 0) FROM settlements s
             WHERE NOT EXISTS (SELECT FROM online_orders o WHERE o.order_no = s.order_no AND o.state = 'started')",
    )
    .fetch_one(tx)
    .await?;
    let attempts = Attempts {
        planned: row.get(0),
        withdrawn: row.get(2),
        sent,
        succeeded,
        failed: row.get(4),
        unknown: row.get(6),
        open: row.get(8),
        unsent: row.get(10),
    };
    let sums = Sums {
        planned: decode_money(row.get(1))?,
        withdrawn: decode_money(row.get(3))?,
        sent: decode_money(sent_total)?,
        paid: decode_money(paid)?,
        failed: decode_money(row.get(5))?,
        unknown: decode_money(row.get(7))?,
        open: decode_money(row.get(9))?,
        unsent: decode_money(row.get(11))?,
    };
    Ok((attempts, sums))
}

/// What was started is taken from the orders, what became of it from their attempts and settlements.
async fn orders(tx: &mut PgConnection) -> sqlx::Result<Orders> {
    let row = sqlx::query(
        "WITH moved AS (
             SELECT a.order_no, sum(a.amount) AS total,
                    min(CASE WHEN s.order_no IS NOT NULL THEN 'paid' WHEN a.state = 'sent' THEN 'open' ELSE a.state END) AS state
             FROM attempts a LEFT JOIN settlements s USING (order_no, payer_id, item)
             WHERE a.run_id IS NULL
             GROUP BY 1)
         SELECT (SELECT count(*) FROM online_orders WHERE state = 'refused'),
                (SELECT count(*) FROM online_orders WHERE state = 'started'),
                (SELECT COALESCE(sum(amount), 0) FROM online_orders WHERE state = 'started'),
                count(*) FILTER (WHERE state = 'paid'), COALESCE(sum(total) FILTER (WHERE state = 'paid'), 0),
                count(*) FILTER (WHERE state = 'failed'), COALESCE(sum(total) FILTER (WHERE state = 'failed'), 0),
                count(*) FILTER (WHERE state = 'unknown'), COALESCE(sum(total) FILTER (WHERE state = 'unknown'), 0),
                count(*) FILTER (WHERE state = 'open'), COALESCE(sum(total) FILTER (WHERE state = 'open'), 0)
         FROM moved",
    )
    .fetch_one(tx)
    .await?;
    Ok(Orders {
        refused: row.get(0),
        started: row.get(1),
        started_total: decode_money(row.get(2))?,
        succeeded: row.get(3),
        paid_total: decode_money(row.get(4))?,
        failed: row.get(5),
        failed_total: decode_money(row.get(6))?,
        unknown: row.get(7),
        unknown_total: decode_money(row.get(8))?,
        open: row.get(9),
        open_total: decode_money(row.get(10))?,
    })
}

/// Of what succeeded, in runs and online, what went back.
async fn reversed(tx: &mut PgConnection) -> sqlx::Result<Reversed> {
    let (settlements, total): (i64, Decimal) = sqlx::query_as(
        "SELECT count(*), COALESCE(sum(s.amount), 0) FROM reversals r JOIN settlements s USING (order_no, payer_id, item)",
    )
    .fetch_one(tx)
    .await?;
    Ok(Reversed { settlements, total: decode_money(total)? })
}

async fn by(tx: &mut PgConnection, sql: &'static str) -> sqlx::Result<BTreeMap<String, i64>> {
    let rows: Vec<(String, i64)> = sqlx::query_as(sql).fetch_all(tx).await?;
    Ok(rows.into_iter().collect())
}
