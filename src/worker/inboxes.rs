//! Result files are found in the gateways' inboxes, and put aside when they are dealt with.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{companions, report};
use crate::gateway::{Answers, Beside, CompanionKind};
use crate::stages::reconcile::{self, Outcome};
use crate::stages::{Context, StageError, absence};

/// Endings of files that are still being written.
const NOT_RESULTS: [&str; 3] = [".part", ".tmp", ".filepart"];

/// What lay in the inboxes at the last look. A file that still grows is not taken: half of it would be refused.
#[derive(Default)]
pub struct Inboxes {
    seen: HashMap<PathBuf, (u64, Option<SystemTime>)>,
    resumed: bool,
}

impl Inboxes {
    /// Looks through every inbox once.
    pub async fn look(&mut self, ctx: &Context) -> Result<(), StageError> {
        if !self.resumed {
            reconcile::resume(ctx).await?;
            self.resumed = true;
        }
        let (mut seen, mut applied) = (HashMap::new(), 0);
        for from in ctx.settings.answerers() {
            let folder = ctx.settings.inbox(from);
            for (path, mark) in files(&folder)? {
                if self.seen.get(&path) == Some(&mark) {
                    // One file that cannot be dealt with now must not keep the others waiting.
                    match take(ctx, from, &folder, &path, mark.0).await {
                        Ok(Outcome::Applied(_)) => applied += 1,
                        Ok(Outcome::Repeated(_) | Outcome::Refused(_)) => {}
                        Err(error) => report("result file", &error),
                    }
                } else {
                    seen.insert(path, mark);
                }
            }
        }
        self.seen = seen;
        if applied > 0 {
            // What they lack says something, too.
            absence::look(ctx).await?;
        }
        Ok(())
    }
}

type Found = Vec<(PathBuf, (u64, Option<SystemTime>))>;

fn files(folder: &Path) -> Result<Found, StageError> {
    let later = |source| StageError::later(format!("looking through {}", folder.display()), source);
    std::fs::create_dir_all(folder).map_err(later)?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(later)? {
        let entry = entry.map_err(later)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let metadata = entry.metadata().map_err(later)?;
        let whole = !name.starts_with('.') && !NOT_RESULTS.iter().any(|end| name.ends_with(end));
        let result = whole && CompanionKind::of(&name).is_none();
        if metadata.is_file() && result {
            found.push((entry.path(), (metadata.len(), metadata.modified().ok())));
        }
    }
    found.sort();
    Ok(found)
}

async fn take(ctx: &Context, from: &dyn Answers, folder: &Path, path: &Path, size: u64) -> Result<Outcome, StageError> {
    if size > ctx.settings.results.file_max_bytes {
        let what = format!("{} has {size} bytes, more than results.file_max_bytes", path.display());
        return Err(StageError::Refused(what));
    }
    let later = |source| StageError::later(format!("reading {}", path.display()), source);
    let bytes = File::open(path).map_err(later)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let beside = companions::beside(path).map_err(later)?;
    let outcome = reconcile::reconcile_with(ctx, from, &name, bytes, &beside).await?;
    let file = outcome.file();
    let (gateway, bank) = (from.gateway(), from.bank_code());
    tracing::info!(file = name, gateway, bank, outcome = outcome.as_str(), rows = file.rows, "result file");
    let aside = match &outcome {
        Outcome::Applied(_) | Outcome::Repeated(_) => folder.join("done"),
        Outcome::Refused(_) => folder.join("refused"),
    };
    std::fs::create_dir_all(&aside).map_err(later)?;
    // The same name may come twice; the bytes of both are in the database anyway.
    let number = outcome.file().result_file_id;
    let aside = aside.join(format!("{number}-{name}"));
    for Beside { kind, .. } in beside {
        std::fs::rename(companions::path_of(path, kind), companions::path_of(&aside, kind)).map_err(later)?;
    }
    std::fs::rename(path, aside).map_err(later)?;
    Ok(outcome)
}
