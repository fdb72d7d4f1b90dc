//! `pikou keys`: which keys there are, one more, all values under the newest, one less.

use std::collections::BTreeMap;

use clap::Subcommand;
use serde::Serialize;

use super::print::grouped;
use super::{Failure, print};
use crate::config::Settings;
use crate::crypt::key_file;
use crate::stages::Context;
use crate::stages::rekey::{self, KeyState, KeyStatus, Removal};

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Every key: current or not, what it is for, and how many values of each encrypted column carry it
    Status,
    /// Add a random key to the key file and make it the current one; workers use it within seconds
    Rotate,
    /// Encrypt every value of an older key with the current one, while everything works
    Reencrypt,
    /// Take a key that no value carries out of the key file
    Remove { id: String },
}

#[derive(Serialize)]
struct KeyReport {
    id: String,
    algorithm: Option<&'static str>,
    state: &'static str,
    values: BTreeMap<String, i64>,
    total: i64,
}

/// Fails if there are values that no key of the file opens.
pub async fn status(ctx: Context, json: bool) -> Result<(), Failure> {
    let keys = rekey::status(&ctx).await?;
    let lost = keys.iter().any(|key| !key.state.is_here());
    if json {
        let report = |key: KeyStatus| KeyReport {
            total: key.total(),
            algorithm: key.algorithm.map(|algorithm| algorithm.as_str()),
            state: key.state.as_str(),
            id: key.id,
            values: key.values,
        };
        print::document(&serde_json::json!({ "keys": keys.into_iter().map(report).collect::<Vec<_>>() }));
    } else {
        for key in &keys {
            let algorithm = key.algorithm.map_or("unknown", |algorithm| algorithm.as_str());
            let id = if key.state == KeyState::Damaged { "no key" } else { &key.id };
            println!("{id} {algorithm} {}: {} values", key.state.as_str(), grouped(key.total()));
            for (column, values) in key.values.iter().filter(|(_, values)| **values > 0) {
                println!("  {column}: {}", grouped(*values));
            }
        }
    }
    if lost { Err(Failure::Bad) } else { Ok(()) }
}

/// Needs the key file only. A missing one is an error: a new one would open nothing.
pub fn rotate(settings: &Settings, json: bool) -> Result<(), Failure> {
    let id = key_file::rotate(&settings.keys_file, settings.keys_algorithm).map_err(anyhow::Error::from)?;
    let algorithm = settings.keys_algorithm.as_str();
    if json {
        print::document(&serde_json::json!({ "current": id, "algorithm": algorithm }));
    } else {
        println!("{id} ({algorithm}) is the current key; back up {}", settings.keys_file.display());
    }
    Ok(())
}

pub async fn reencrypt(ctx: Context, json: bool) -> Result<(), Failure> {
    let bar = print::bar("rows", rekey::rows_to_do(&ctx).await?.unsigned_abs());
    let done = rekey::reencrypt(&ctx, |rows| bar.inc(rows.unsigned_abs())).await?;
    bar.finish_and_clear();
    let current = ctx.keys.current().key_id().to_owned();
    if json {
        print::document(&serde_json::json!({ "current": current, "rows": done.rows, "left": done.left }));
    } else {
        println!("{} rows are encrypted anew with {current}", grouped(done.rows));
        for left in &done.left {
            println!("  left as it is: {left}");
        }
    }
    if done.left.is_empty() { Ok(()) } else { Err(Failure::Bad) }
}

pub async fn remove(ctx: Context, id: &str, json: bool) -> Result<(), Failure> {
    let removal = rekey::remove(&ctx, id).await?;
    let (removed, carried) = match removal {
        Removal::Removed => (true, BTreeMap::new()),
        Removal::Carried(values) => (false, values),
    };
    if json {
        print::document(&serde_json::json!({ "id": id, "removed": removed, "carried": carried }));
    } else if removed {
        println!("{id} is no longer in the key file; keep it with the backups that were made while values carried it");
    } else {
        println!("{id} stays: values carry it (pikou keys reencrypt)");
        for (column, values) in &carried {
            println!("  {column}: {}", grouped(*values));
        }
    }
    if removed { Ok(()) } else { Err(Failure::Bad) }
}
