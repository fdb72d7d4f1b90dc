//! `pikou reconcile undo`: an applied result file is put back, while nothing rests on it.

use std::io::{self, Read};
use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::by::By;
use super::print::harmless;
use super::{Failure, commands, print};
use crate::stages::Context;
use crate::stages::decider::Decider;
use crate::stages::undo::{self as stage, Named, NotUndone, Resting, Undo, Undone};

/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 256 * 1024;

#[derive(Debug, Subcommand)]
pub enum ReconcileCommand {
    /// Put an applied file back, while nothing rests on it: its bytes may then be applied again
    Undo(UndoArgs),
}

#[derive(Debug, Args)]
pub struct UndoArgs {
    /// Its number (result_file_id), its SHA-256, its name, or where its bytes lie
    file: String,
    #[command(flatten)]
    by: By,
    /// The second person, where decisions that may change what counts as paid take two (results.two_people)
    #[arg(long, value_name = "NAME")]
    second: Option<String>,
}

pub async fn undo(ctx: Context, args: &UndoArgs, json: bool) -> Result<(), Failure> {
    let named = named(&args.file)?;
    let second = args.second.as_deref().map(|name| Decider::new(name, "-").map(|checked| checked.by().to_owned()));
    let second = second.transpose().map_err(|_| Failure::Usage("--second: not a name".into()))?;
    // Events of the file that still wait would be in the way.
    let before = commands::publish(&ctx).await;
    let undo = Undo { decider: args.by.decider()?, second };
    let (result_file_id, file_name, undo_id) = match stage::undo(&ctx, &named, &undo).await? {
        Undone::Done { undo_id, result_file_id, file_name } => (result_file_id, file_name, Some(undo_id)),
        Undone::Repeated { result_file_id, file_name } => (result_file_id, file_name, None),
        Undone::Refused(no) => return refused(&args.file, &no, json),
    };
    let events_published = before + commands::publish(&ctx).await;
    if json {
        let outcome = if undo_id.is_some() { "undone" } else { "repeated" };
        print::document(
            &json!({"result_file_id": result_file_id, "file_name": file_name, "outcome": outcome, "undo_id": undo_id,
            "events_published": events_published}),
        );
    } else if undo_id.is_some() {
        println!("{file_name}: undone; the book is as it was before it, and its bytes may be applied again");
    } else {
        println!("{file_name}: undone before; nothing happened");
    }
    Ok(())
}

/// A number, a hash, a file that is there, or a name.
fn named(text: &str) -> Result<Named, Failure> {
    if let Ok(id) = text.parse() {
        return Ok(Named::Id(id));
    }
    let hash = |text: &str| -> Option<Vec<u8>> {
        (0..32).map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()).collect()
    };
    if let Some(sha256) = hash(text).filter(|_| text.len() == 64) {
        return Ok(Named::Sha256(sha256));
    }
    let path = Path::new(text);
    if path.is_file() {
        let sha256 = sha256_of(path).map_err(|error| Failure::Usage(format!("cannot read {text}: {error}")))?;
        return Ok(Named::Sha256(sha256));
    }
    Ok(Named::Name(path.file_name().map_or_else(|| text.to_owned(), |name| name.to_string_lossy().into_owned())))
}

fn sha256_of(path: &Path) -> io::Result<Vec<u8>> {
    let (mut file, mut digest) = (std::fs::File::open(path)?, Sha256::new());
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(digest.finalize().to_vec());
        }
        digest.update(&piece[..read]);
    }
}

fn refused(file: &str, no: &NotUndone, json: bool) -> Result<(), Failure> {
    let resting: &[Resting] = if let NotUndone::RestedOn(resting) = no { resting } else { &[] };
    if json {
        let list = resting.iter().map(|one| {
            json!({"kind": one.rest.as_str(), "sentence": one.rest.sentence(), "count": one.count, "about": one.about})
        });
        print::document(
            &json!({"refused": no.code(), "reason": no.to_string(), "file": file, "resting": list.collect::<Vec<_>>()}),
        );
        return Err(Failure::Refused);
    }
    eprintln!("pikou: refused as {}: {no}; nothing happened", no.code());
    for one in resting {
        eprintln!("  {} ({}): {}", one.rest.as_str(), print::grouped(one.count), one.rest.sentence());
        let more = one.count - one.about.len() as i64;
        let about: Vec<String> = one.about.iter().map(|about| harmless(about)).collect();
        let rest = if more > 0 { format!(", and {} more", print::grouped(more)) } else { String::new() };
        eprintln!("    {}{rest}", about.join(", "));
    }
    Err(Failure::Refused)
}
