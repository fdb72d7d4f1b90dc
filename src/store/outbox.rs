//! Events on their way out, in chunks: either their bodies, or a range of rows that the relay writes them from.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Row};

use crate::contract::events::{Event, WireEvent};

/// Events in one outbox row: bounds what the relay holds at a time.
pub const CHUNK_MAX: usize = 1000;

/// A row of the outbox.
#[derive(Debug)]
pub struct Chunk {
    pub outbox_id: i64,
    pub events: i32,
    pub content: Content,
}

#[derive(Debug)]
pub enum Content {
    Written(Vec<WireEvent>),
    Range(Range),
}

/// Rows that stand for events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    pub kind: RangeKind,
    pub scope_id: i64,
    pub first_key: String,
    pub last_key: String,
    pub created_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeKind {
    /// Attempts of a run, as planned.
    Planned,
    /// Skips of a run.
    Skipped,
    /// Attempts in a request file.
    Sent,
    /// Settlements and other outcomes of a result file.
    Results,
    /// Discrepancies of a result file.
    Discrepancies,
    /// Amounts carried over at the opening of a year.
    Carried,
    /// Amounts that ended with their year.
    Expired,
}

/// Appends events in the transaction of the change they tell of.
pub async fn append(
    tx: &mut PgConnection,
    source: &str,
    created_at: DateTime<Utc>,
    events: &[Event],
) -> sqlx::Result<()> {
    let wires: Vec<WireEvent> = events.iter().map(|event| event.to_wire(source)).collect();
    append_written(tx, created_at, &wires).await
}

/// [`append`] for events that are written already.
pub async fn append_written(
    tx: &mut PgConnection,
    created_at: DateTime<Utc>,
    events: &[WireEvent],
) -> sqlx::Result<()> {
    for wires in events.chunks(CHUNK_MAX) {
        sqlx::query(
            "INSERT INTO outbox (kind, events, routing_keys, ids, bodies, created_at) VALUES ('events', $1, $2, $3, $4, $5)",
        )
        .bind(wires.len() as i32)
        .bind(wires.iter().map(|wire| wire.routing_key.as_str()).collect::<Vec<_>>())
        .bind(wires.iter().map(|wire| wire.id.as_str()).collect::<Vec<_>>())
        .bind(wires.iter().map(|wire| wire.body.as_str()).collect::<Vec<_>>())
        .bind(created_at)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// The oldest unpublished rows but those that are under way: at most `rows_max`, and none behind `events_max` events.
pub async fn unpublished(
    connection: &mut PgConnection,
    under_way: &[i64],
    rows_max: i64,
    events_max: i64,
) -> sqlx::Result<Vec<Chunk>> {
    let rows = sqlx::query(
        "SELECT o.outbox_id, kind, o.events, routing_keys, ids, bodies, scope_id, first_key, last_key, created_at
         FROM (SELECT outbox_id, sum(events) OVER (ORDER BY outbox_id) - events AS before
               FROM (SELECT outbox_id, events FROM outbox WHERE published_at IS NULL AND outbox_id <> ALL ($1)
                     ORDER BY outbox_id LIMIT $2) unpublished) oldest
         JOIN outbox o ON o.outbox_id = oldest.outbox_id
         WHERE oldest.before < $3
         ORDER BY o.outbox_id",
    )
    .bind(under_way)
    .bind(rows_max)
    .bind(events_max)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let kind = match row.get::<&str, _>("kind") {
                "events" => None,
                "planned" => Some(RangeKind::Planned),
                "skipped" => Some(RangeKind::Skipped),
                "sent" => Some(RangeKind::Sent),
                "results" => Some(RangeKind::Results),
                "discrepancies" => Some(RangeKind::Discrepancies),
                "carried" => Some(RangeKind::Carried),
                "expired" => Some(RangeKind::Expired),
                _ => return Err(super::amount_settings::impossible("outbox.kind")),
            };
            let content = match kind {
                None => {
                    let keys: Vec<String> = row.get("routing_keys");
                    let ids: Vec<String> = row.get("ids");
                    let bodies: Vec<String> = row.get("bodies");
                    let wires = keys.into_iter().zip(ids).zip(bodies);
                    Content::Written(
                        wires.map(|((routing_key, id), body)| WireEvent { routing_key, id, body }).collect(),
                    )
                }
                Some(kind) => Content::Range(Range {
                    kind,
                    scope_id: row.get("scope_id"),
                    first_key: row.get("first_key"),
                    last_key: row.get("last_key"),
                    created_at: row.get("created_at"),
                }),
            };
            Ok(Chunk { outbox_id: row.get("outbox_id"), events: row.get("events"), content })
        })
        .collect()
}

/// Marks rows whose events were all confirmed.
pub async fn mark_published(
    connection: &mut PgConnection,
    outbox_ids: &[i64],
    published_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE outbox SET published_at = $2 WHERE outbox_id = ANY ($1) AND published_at IS NULL")
        .bind(outbox_ids)
        .bind(published_at)
        .execute(connection)
        .await
        .map(drop)
}
