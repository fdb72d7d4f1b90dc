//! Consuming without pikou: raw, as the limit of the intake; and the loop that is usually written.

use std::time::Instant;

use futures::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties, Consumer};
use pikou::broker::BrokerSettings;
use pikou::stages::Context;
use serde_json::Value;

use crate::Outcome;

async fn open(settings: &BrokerSettings, prefetch: u16) -> Outcome<(Connection, Consumer)> {
    let connection = Connection::connect(&settings.url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let queue = settings.queue_in.as_str().into();
    let consumer =
        channel.basic_consume(queue, "".into(), BasicConsumeOptions::default(), FieldTable::default()).await?;
    Ok((connection, consumer))
}

/// Consumes, parses, and acknowledges in batches: nothing else. Messages per second, from the first to the last.
pub async fn consume(settings: &BrokerSettings, count: usize) -> Outcome<f64> {
    let batch = settings.batch_max;
    let (connection, mut consumer) = open(settings, 4 * batch as u16).await?;
    let mut clock = Instant::now();
    let mut parsed = 0;
    for number in 1..=count {
        let delivery = consumer.next().await.ok_or("the consumer has ended")??;
        if number == 1 {
            clock = Instant::now();
        }
        parsed += usize::from(serde_json::from_slice::<Value>(&delivery.data).is_ok());
        if number % batch == 0 || number == count {
            delivery.acker.ack(BasicAckOptions { multiple: true }).await?;
        }
    }
    let seconds = clock.elapsed().as_secs_f64();
    connection.close(200, "OK".into()).await?;
    if parsed == 0 {
        return Err("nothing could be parsed".into());
    }
    Ok(count as f64 / seconds)
}

pub async fn prepare(ctx: &Context) -> Outcome<()> {
    sqlx::raw_sql(
        "CREATE TABLE loop_log (source text, id text, raw bytea, PRIMARY KEY (source, id));
         CREATE TABLE loop_facts (payer_id text, kind text, fact text, PRIMARY KEY (payer_id, kind));
         CREATE TABLE loop_outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text)",
    )
    .execute(&ctx.pool)
    .await?;
    Ok(())
}

/// A message, a transaction, an acknowledgement. Messages per second.
pub async fn one_by_one(ctx: &Context, settings: &BrokerSettings, count: usize) -> Outcome<f64> {
    let (connection, mut consumer) = open(settings, 100).await?;
    let clock = Instant::now();
    for _ in 0..count {
        let delivery = consumer.next().await.ok_or("the consumer has ended")??;
        if let Ok(message) = serde_json::from_slice::<Value>(&delivery.data) {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let mut tx = ctx.begin().await?;
            let new = sqlx::query("INSERT INTO loop_log VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
                .bind(text(&message["source"]))
                .bind(text(&message["id"]))
                .bind(&delivery.data)
                .execute(&mut *tx)
                .await?;
            if new.rows_affected() == 1 {
                sqlx::query(
                    "INSERT INTO loop_facts VALUES ($1, $2, $3) ON CONFLICT (payer_id, kind) DO UPDATE SET fact = $3",
                )
                .bind(text(&message["data"]["payer_id"]))
                .bind(text(&message["type"]))
                .bind(message["data"].to_string())
                .execute(&mut *tx)
                .await?;
                sqlx::query("INSERT INTO loop_outbox (body) VALUES ($1)")
                    .bind(message.to_string())
                    .execute(&mut *tx)
                    .await?;
            }
            tx.commit().await?;
        }
        delivery.acker.ack(BasicAckOptions { multiple: false }).await?;
    }
    let seconds = clock.elapsed().as_secs_f64();
    connection.close(200, "OK".into()).await?;
    Ok(count as f64 / seconds)
}
