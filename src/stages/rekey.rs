//! Keys change while everything works: values are encrypted anew, and a key that nothing carries is taken out.
//!
//! In: values of keys that are no longer current. Out: the same values under the current key; or a shorter key file.
//! *Commits:* first that the older keys are retired, then once for each bounded batch of rows. *If it dies:* what is
//! done is done; the next time only what still carries an older key is found.
//!
//! Why it ends: whoever seals asks whether its key is retired, under a lock that retiring waits for
//! ([`Context::sealer`]). After that no value of an older key can be added, so they only become less.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Context, StageError, crash_point};
use crate::crypt::{Algorithm, KeyError, Purpose, Ring, SealedError, key_file};
use crate::store::gates;
use crate::store::sealed_values::{self, Holds, SEALED, SealedRow, SealedTable};

/// Pause before rows that somebody else had locked are looked for again, doubled up to the maximum.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// New values are encrypted with it.
    Current,
    /// In the key file; a worker that has not looked yet may still encrypt with it.
    Older,
    /// In the key file; nothing is encrypted with it any more.
    Retired,
    /// Values carry it, and the key file does not hold it.
    Missing,
    /// The value is not one of ours.
    Damaged,
}

impl KeyState {
    pub fn as_str(self) -> &'static str {
        match self {
            KeyState::Current => "current",
            KeyState::Older => "older",
            KeyState::Retired => "retired",
            KeyState::Missing => "missing",
            KeyState::Damaged => "damaged",
        }
    }

    /// Whether its values open.
    pub fn is_here(self) -> bool {
        match self {
            KeyState::Current | KeyState::Older | KeyState::Retired => true,
            KeyState::Missing | KeyState::Damaged => false,
        }
    }
}

/// A key, and what carries it.
#[derive(Debug)]
pub struct KeyStatus {
    pub id: String,
    pub algorithm: Option<Algorithm>,
    pub state: KeyState,
    /// `table.column` → values; every encrypted column is there.
    pub values: BTreeMap<String, i64>,
}

impl KeyStatus {
    pub fn total(&self) -> i64 {
        self.values.values().sum()
    }
}

/// Every key of the file, and every other that a value names.
pub async fn status(ctx: &Context) -> Result<Vec<KeyStatus>, StageError> {
    let ring = ctx.keys.look();
    let mut tx = ctx.snapshot().await?;
    let retired = sealed_values::retired(&mut tx).await?;
    let columns = || SEALED.iter().flat_map(|table| table.columns.iter().map(|(column, _)| (table.name, *column)));
    let none: BTreeMap<String, i64> = columns().map(|(table, column)| (format!("{table}.{column}"), 0)).collect();
    let of_file = |(id, algorithm): (&str, Algorithm)| {
        let state = match id {
            _ if id == ring.key_id() => KeyState::Current,
            _ if retired.iter().any(|retired| retired == id) => KeyState::Retired,
            _ => KeyState::Older,
        };
        (id.to_owned(), KeyStatus { id: id.to_owned(), algorithm: Some(algorithm), state, values: none.clone() })
    };
    let mut keys: BTreeMap<String, KeyStatus> = ring.keys().map(of_file).collect();
    for (table, column) in columns() {
        for (id, values) in sealed_values::count(&mut tx, table, column).await? {
            let id = String::from_utf8_lossy(&id).into_owned();
            let state = if id.is_empty() { KeyState::Damaged } else { KeyState::Missing };
            let unknown = || KeyStatus { id: id.clone(), algorithm: None, state, values: none.clone() };
            keys.entry(id.clone()).or_insert_with(unknown).values.insert(format!("{table}.{column}"), values);
        }
    }
    tx.commit().await?;
    Ok(keys.into_values().collect())
}

/// What became of the values of older keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reencrypted {
    pub rows: i64,
    /// Rows that do not open, as `table key: why`. They stay as they are.
    pub left: Vec<String>,
}

/// Rows with a value of an older key, as of now.
pub async fn rows_to_do(ctx: &Context) -> Result<i64, StageError> {
    let ring = ctx.keys.look();
    let mut connection = ctx.pool.acquire().await?;
    let mut rows = 0;
    for table in &SEALED {
        rows += sealed_values::rows_of_other_keys(&mut connection, table, ring.key_id()).await?;
    }
    Ok(rows)
}

/// Encrypts every value of an older key with the current one. `progress` hears of each batch's rows.
pub async fn reencrypt(ctx: &Context, mut progress: impl FnMut(i64)) -> Result<Reencrypted, StageError> {
    let ring = ctx.keys.look();
    let older: Vec<&str> = ring.keys().map(|(id, _)| id).filter(|id| *id != ring.key_id()).collect();
    retire(ctx, &older).await?;
    let mut done = Reencrypted::default();
    for table in &SEALED {
        reencrypt_table(ctx, table, &mut done, &mut progress).await?;
    }
    Ok(done)
}

/// Nothing is encrypted with these keys any more when this has returned: who had begun to has ended.
async fn retire(ctx: &Context, key_ids: &[&str]) -> Result<(), StageError> {
    let mut tx = ctx.begin().await?;
    sealed_values::retire(&mut tx, key_ids, ctx.clock.now()).await?;
    tx.commit().await?;
    let mut tx = ctx.begin().await?;
    gates::own_sealing(&mut tx).await?;
    tx.commit().await?;
    Ok(())
}

/// Goes through the table by its key, again and again until only what does not open is left: rows that others had
/// locked were passed over.
async fn reencrypt_table(
    ctx: &Context,
    table: &SealedTable,
    done: &mut Reencrypted,
    progress: &mut impl FnMut(i64),
) -> Result<(), StageError> {
    let mut pause = PAUSE_FIRST;
    loop {
        let mut left = Vec::new();
        let mut after = table.start();
        while let Some((last, rows)) = reencrypt_some(ctx, table, &after, &mut left).await? {
            after = last;
            done.rows += rows;
            progress(rows);
        }
        let mut connection = ctx.pool.acquire().await?;
        let rows = sealed_values::rows_of_other_keys(&mut connection, table, ctx.keys.current().key_id()).await?;
        drop(connection);
        if rows <= left.len() as i64 {
            done.left.extend(left);
            return Ok(());
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// One batch behind `after`. Returns its last key, and how many rows were written.
async fn reencrypt_some(
    ctx: &Context,
    table: &SealedTable,
    after: &[String],
    left: &mut Vec<String>,
) -> Result<Option<(Vec<String>, i64)>, StageError> {
    let mut tx = ctx.begin().await?;
    let ring = ctx.sealer(&mut tx).await?;
    sealed_values::say_reencrypting(&mut tx).await?;
    let found = sealed_values::next_of_other_keys(&mut tx, table, ring.key_id(), after).await?;
    let Some(last) = found.last().map(|row| row.key.clone()) else { return Ok(None) };
    let mut rows = Vec::with_capacity(found.len());
    for row in found {
        let key = row.key.join(" ");
        match anew(ctx, &ring, table, row) {
            Ok(row) => rows.push(row),
            Err(error) => left.push(format!("{} {key}: {error}", table.name)),
        }
    }
    let written = sealed_values::write(&mut tx, table, &rows).await?;
    if written != rows.len() as u64 {
        return Err(StageError::broken(format!("{}: {} rows are locked, {written} written", table.name, rows.len())));
    }
    crash_point("rekey: before commit");
    tx.commit().await?;
    crash_point("rekey: after commit");
    Ok(Some((last, rows.len() as i64)))
}

fn anew(ctx: &Context, ring: &Ring, table: &SealedTable, row: SealedRow) -> Result<SealedRow, SealedError> {
    let mut values = Vec::with_capacity(row.values.len());
    for (value, (_, holds)) in row.values.into_iter().zip(table.columns) {
        values.push(match value {
            Some(value) if crate::crypt::value::key_id(&value)? != ring.key_id() => {
                let purpose = purpose(*holds);
                Some(ring.seal(purpose, &ctx.keys.open(purpose, &value)?))
            }
            current => current,
        });
    }
    Ok(SealedRow { key: row.key, values })
}

fn purpose(holds: Holds) -> Purpose {
    match holds {
        Holds::PersonName => Purpose::PersonName,
        Holds::IdentityNumber => Purpose::IdentityNumber,
        Holds::AccountName => Purpose::AccountName,
        Holds::AccountNumber => Purpose::AccountNumber,
        Holds::Message => Purpose::RawMessage,
        Holds::File => Purpose::FileContent,
    }
}

/// What became of a key that was to be removed.
#[derive(Debug, PartialEq, Eq)]
pub enum Removal {
    Removed,
    /// Values carry it, as `table.column` → values. It is still in the file.
    Carried(BTreeMap<String, i64>),
}

/// Takes a key out of the key file that nothing carries and nothing will carry.
pub async fn remove(ctx: &Context, id: &str) -> Result<Removal, StageError> {
    let ring = ctx.keys.look();
    if !ring.keys().any(|(known, _)| known == id) {
        return Err(refused(KeyError::NoSuchKey(id.to_owned())));
    }
    if ring.key_id() == id {
        return Err(refused(KeyError::IsCurrent(id.to_owned())));
    }
    retire(ctx, &[id]).await?;
    let keys = status(ctx).await?;
    let carried = keys.into_iter().filter(|key| key.id == id).flat_map(|key| key.values);
    let carried: BTreeMap<String, i64> = carried.filter(|(_, values)| *values > 0).collect();
    if !carried.is_empty() {
        return Ok(Removal::Carried(carried));
    }
    key_file::remove(&ctx.settings.keys_file, id).map_err(refused)?;
    Ok(Removal::Removed)
}

fn refused(error: KeyError) -> StageError {
    StageError::Refused(error.to_string())
}
