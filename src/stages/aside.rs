//! What was not understood goes into the quarantine: bytes, headers, reason and position. For the stages that take
//! messages, in their transaction; only after its commit may a message be acknowledged.
//!
//! The very same poison again (same code, bytes and headers of the sender) is counted on its open entry, without a
//! second event. A replay that is not understood is counted on the entry that was replayed.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Context, StageError};
use crate::broker;
use crate::contract::envelope::NotUnderstood;
use crate::contract::events::{Data, Event, EventType, MessageData, Subject};
use crate::crypt::{Purpose, Ring};
use crate::store::gates;
use crate::store::quarantine::{self, FailedReplay, Quarantined};

/// Origin of a replay; an entry's number follows. No queue (`queue#key`) and no file (`file:line`) looks like it.
const REPLAY_OF: &str = "quarantine/";

/// One message to be put aside.
pub struct Aside<'a> {
    pub fault: NotUnderstood,
    pub raw: &'a [u8],
    pub headers: &'a [(String, String)],
    pub origin: &'a str,
}

impl Aside<'_> {
    fn replay_of(&self) -> Option<i64> {
        self.origin.strip_prefix(REPLAY_OF)?.parse().ok()
    }
}

/// The origin by which a delivery is known as the replay of an entry.
pub fn replay_origin(quarantine_id: i64) -> String {
    format!("{REPLAY_OF}{quarantine_id}")
}

/// Puts them aside and returns the events of the new entries.
pub async fn put(
    ctx: &Context,
    sealer: &Ring,
    tx: &mut PgConnection,
    asides: &[Aside<'_>],
    now: DateTime<Utc>,
) -> Result<Vec<Event>, StageError> {
    let replays: Vec<FailedReplay> = asides.iter().filter_map(|aside| failed_replay(aside)).collect();
    let counted = if replays.is_empty() { Vec::new() } else { quarantine::count_replays(tx, &replays).await? };

    let mut rows: Vec<Quarantined> = Vec::new();
    let mut places: HashMap<[u8; 32], usize> = HashMap::new();
    for aside in asides.iter().filter(|aside| aside.replay_of().is_none_or(|id| !counted.contains(&id))) {
        let digest = digest(ctx, aside.fault.code.as_str(), aside.raw, aside.headers);
        match places.get(&digest) {
            Some(place) => rows[*place].times += 1,
            None => {
                places.insert(digest, rows.len());
                rows.push(row(sealer, aside, digest));
            }
        }
    }
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    gates::digests(tx, rows.iter().map(|row| row.digest.as_slice())).await?;
    let new = quarantine::put(tx, now, &rows).await?;
    Ok(new.into_iter().map(|(id, place)| quarantined(id, &rows[place], now)).collect())
}

/// By what poison is recognised, whichever way it came.
pub fn digest(ctx: &Context, code: &str, raw: &[u8], headers: &[(String, String)]) -> [u8; 32] {
    let mut senders: Vec<&(String, String)> =
        headers.iter().filter(|(name, _)| !broker::is_brokers_own(name)).collect();
    senders.sort();
    let mut content = serde_json::to_vec(&("quarantine", code, senders)).expect("headers are plain texts");
    content.extend_from_slice(raw);
    ctx.keys.digest(&content)
}

fn failed_replay(aside: &Aside<'_>) -> Option<FailedReplay> {
    Some(FailedReplay {
        quarantine_id: aside.replay_of()?,
        code: aside.fault.code.as_str().to_owned(),
        reason: aside.fault.reason.clone(),
        position: aside.fault.position.clone(),
    })
}

fn row(sealer: &Ring, aside: &Aside<'_>, digest: [u8; 32]) -> Quarantined {
    let seal = |bytes: &[u8]| sealer.seal(Purpose::RawMessage, bytes);
    Quarantined {
        // A routing key is the sender's: the database and a terminal are spared its control characters.
        origin: aside.origin.replace(char::is_control, "\u{fffd}"),
        code: aside.fault.code.as_str(),
        reason: aside.fault.reason.clone(),
        position: aside.fault.position.clone(),
        digest: digest.to_vec(),
        raw: seal(aside.raw),
        headers: seal(&serde_json::to_vec(aside.headers).expect("headers are plain texts")),
        times: 1,
    }
}

fn quarantined(quarantine_id: i64, row: &Quarantined, now: DateTime<Utc>) -> Event {
    Event {
        kind: EventType::MessageQuarantined,
        subject: Subject::Message(format!("quarantine/{quarantine_id}")),
        sequence: 1,
        causation: format!("delivery:{}", row.origin),
        time: now,
        data: Data::Message(MessageData {
            code: Some(row.code),
            quarantine_id: Some(quarantine_id),
            reason: Some(row.reason.clone()),
            position: Some(row.position.clone()),
            ..MessageData::default()
        }),
    }
}
