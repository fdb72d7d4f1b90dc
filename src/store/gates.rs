//! The order of locks: first the gate, then numbers, then payers, then sealing, then rows. All are held until the
//! transaction ends.
//!
//! The gate is a reader–writer lock over the book. Intake *shares* it and locks the numbers and payers of its batch, so any
//! number of workers take messages side by side. A run's stages and reconciliation *own* it for one bounded batch
//! each, so what they judge cannot change under them: a void is either committed before a run is sealed, and then
//! sealing sees it, or it waits and then sees the sealed file. There is no third case.
//! *Sealing* is shared by everybody who encrypts values; who retires a key owns it for a moment, and with that has
//! waited for all who may have used the key. Whoever shares it holds no row yet, so nobody waits in a circle.
//! Advisory locks queue fairly, so a stream of sharers cannot starve an owner, as it could with row locks.

use sqlx::PgConnection;

const GATE: i64 = 0x7069_6b6f_7501;
const RELAY: i64 = 0x7069_6b6f_7502;
const SEALING: i64 = 0x7069_6b6f_7503;
const NUMBERS: i32 = 0x706a;
const PAYERS: i32 = 0x7069;
const DIGESTS: i32 = 0x706b;
const DECISIONS: i32 = 0x706c;

/// Shared by intake. Every statement behind it looks some hundred keys up, so the planner is told to go by index: while
/// tables grow faster than their statistics it would rather read them whole, a little slower with every batch. Nor need
/// it plan a statement anew for the keys of each batch.
pub async fn share(tx: &mut PgConnection) -> sqlx::Result<()> {
    let in_one_message = format!(
        "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off;
         SET LOCAL plan_cache_mode = force_generic_plan;
         SELECT pg_advisory_xact_lock_shared({GATE})"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(in_one_message)).execute(&mut *tx).await.map(drop)
}

/// Owned by one bounded batch of a run or a result file.
pub async fn own(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(GATE).execute(tx).await.map(drop)
}

/// What a lock is on. Numbers come before payers for everybody: whose they are is looked up in between.
#[derive(Debug, Clone, Copy)]
pub enum Keys {
    /// Of declarations and orders.
    Numbers,
    Payers,
}

/// Locks the keys of a batch, in one order for everybody. A collision of hashes only makes two wait for each other.
pub async fn keys<'k>(tx: &mut PgConnection, of: Keys, keys: impl Iterator<Item = &'k str>) -> sqlx::Result<()> {
    let mut hashes: Vec<i32> = keys.map(hash).collect();
    if hashes.is_empty() {
        return Ok(());
    }
    hashes.sort_unstable();
    hashes.dedup();
    let class = match of {
        Keys::Numbers => NUMBERS,
        Keys::Payers => PAYERS,
    };
    sqlx::query("SELECT pg_advisory_xact_lock($1, key) FROM unnest($2::int[]) AS key")
        .bind(class)
        .bind(hashes)
        .execute(tx)
        .await
        .map(drop)
}

/// The digests of a batch's poison, behind its payers and again in one order for everybody: two workers that count the
/// same poison wait for each other and for nobody else.
pub async fn digests<'k>(tx: &mut PgConnection, digests: impl Iterator<Item = &'k [u8]>) -> sqlx::Result<()> {
    let mut hashes: Vec<i32> = digests.filter_map(|digest| Some(i32::from_be_bytes(*digest.first_chunk()?))).collect();
    hashes.sort_unstable();
    hashes.dedup();
    sqlx::query("SELECT pg_advisory_xact_lock($1, key) FROM unnest($2::int[]) AS key")
        .bind(DIGESTS)
        .bind(hashes)
        .execute(tx)
        .await
        .map(drop)
}

/// Quarantined messages that are decided on in this transaction, in one order for everybody. A replay in another
/// session is waited for.
pub async fn decide(tx: &mut PgConnection, quarantine_ids: &[i64]) -> sqlx::Result<()> {
    let mut keys: Vec<i32> = quarantine_ids.iter().map(|id| *id as i32).collect();
    keys.sort_unstable();
    keys.dedup();
    sqlx::query("SELECT pg_advisory_xact_lock($1, key) FROM unnest($2::int[]) AS key")
        .bind(DECISIONS)
        .bind(keys)
        .execute(tx)
        .await
        .map(drop)
}

/// The same for one message, held by the session, as a replay has the intake's transactions in its middle.
pub async fn decide_alone(connection: &mut PgConnection, quarantine_id: i64) -> sqlx::Result<()> {
    sqlx::query("SELECT pg_advisory_lock($1, $2)")
        .bind(DECISIONS)
        .bind(quarantine_id as i32)
        .execute(connection)
        .await
        .map(drop)
}

/// Whether this connection is the one that publishes. Held by the session: it ends with the process, however that ends.
pub async fn try_relay(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(RELAY).fetch_one(connection).await
}

/// Shared by whoever is about to encrypt values with the key. `false`: the key is retired, nothing may be.
pub async fn may_seal(tx: &mut PgConnection, key_id: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT may_seal($1, $2)").bind(SEALING).bind(key_id).fetch_one(tx).await
}

/// Waits for everybody who is encrypting values.
pub async fn own_sealing(tx: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(SEALING).execute(tx).await.map(drop)
}

/// FNV-1a: all workers must agree on it, also across versions of the standard library.
fn hash(text: &str) -> i32 {
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash as i32
}
