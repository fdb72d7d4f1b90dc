//! What reconciliation is held against: the finished rows, put by COPY into tables of the shape that most systems end in,
//! with their keys: an outcome for each row, a paid record and an event for each success.

use std::time::Instant;

use futures::StreamExt;
use pikou::stages::Context;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPoolCopyExt;

use crate::Outcome;

const TABLES: [(&str, &str, &str); 3] = [
    (
        "bench_outcomes",
        "(result_file_id bigint, line_no bigint, order_no text COLLATE \"C\" UNIQUE, class text, code text, amount numeric(14,2),
          gateway_txn_no text, settled_at timestamptz, PRIMARY KEY (result_file_id, line_no))",
        "SELECT result_file_id, line_no, order_no, 'success', '0000', amount, gateway_txn_no, settled_at FROM settlements
         UNION ALL
         SELECT result_file_id, line_no, order_no, class, code, held_amount, NULL, booked_at FROM attempt_outcomes",
    ),
    (
        "bench_payments",
        "(payment_id bigint PRIMARY KEY, order_no text COLLATE \"C\" UNIQUE, payer_id text COLLATE \"C\", declaration_no text,
          insurance_type text, period_from text, period_to text, amount numeric(14,2), gateway text, bank_code text,
          gateway_txn_no text, settled_at timestamptz, UNIQUE (gateway, bank_code, gateway_txn_no))",
        "SELECT row_number() OVER (), order_no, payer_id, declaration_no, insurance_type, period_from, period_to, amount, gateway,
                bank_code, gateway_txn_no, settled_at FROM settlements",
    ),
    (
        "bench_events",
        "(event_id bigint PRIMARY KEY, subject text, kind text, data jsonb)",
        "SELECT row_number() OVER (), order_no, 'payment.recorded', to_jsonb(s) FROM settlements s",
    ),
];

/// Bytes sent at once.
const PIECE_BYTES: usize = 256 * 1024;

/// Seconds to put them, in one transaction; fetching them is not counted.
pub async fn copied(ctx: &Context) -> Outcome<f64> {
    let mut rows = Vec::new();
    for (table, columns, select) in TABLES {
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE TABLE {table} {columns}"))).execute(&ctx.pool).await?;
        let mut stream = ctx.pool.copy_out_raw(&format!("COPY ({select}) TO STDOUT")).await?;
        let mut text = Vec::new();
        while let Some(some) = stream.next().await {
            text.extend_from_slice(&some?);
        }
        rows.push((table, text));
    }
    let clock = Instant::now();
    let mut tx = ctx.pool.begin().await?;
    for (table, text) in &rows {
        let mut copy = sqlx::postgres::PgConnection::copy_in_raw(&mut tx, &format!("COPY {table} FROM STDIN")).await?;
        for piece in text.chunks(PIECE_BYTES) {
            copy.send(piece).await?;
        }
        copy.finish().await?;
    }
    tx.commit().await?;
    Ok(clock.elapsed().as_secs_f64())
}
