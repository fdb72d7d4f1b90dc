//! The folder as the place of the hand-over: where a file lies before, under and beside its name, and what of it is
//! left when somebody else goes on. Knows no database; called by [`super`] and by the decisions beside it.
//!
//! A **part** carries the epoch of a lease in its name, and exactly one leads to the file's name: by being renamed. It is
//! written before the book says `delivering`, and from then on only moved. Whoever takes over moves it to an epoch of
//! their own first, so that a worker which was paused finds nothing to rename. Hence a part of the epoch in which the file
//! became `delivering`, or of a later one, was never taken. One of an earlier epoch says nothing: its worker
//! may have written it long after it had lost the run. A **draft** becomes a part when a decision is committed.

use std::fs::{self, File};
use std::io::{Error, ErrorKind, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::crypt::hex;

/// Where a file lies while it is handed over under one lease.
pub(super) struct Places {
    folder: PathBuf,
    file_name: String,
    epoch: i64,
    draft: PathBuf,
    part: PathBuf,
    pub(super) whole: PathBuf,
    ok: PathBuf,
}

/// What is left in the folder of an earlier hand-over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// Under its name, with our bytes.
    Whole,
    /// Under its name, with other bytes.
    Foreign,
    /// Ready to be renamed, and ours now.
    Part,
    Nothing,
    /// A part of a later lease: the run is not ours any more.
    Newer,
}

impl Places {
    pub fn of(folder: PathBuf, file_name: &str, epoch: i64) -> Places {
        let place = |end: &str| folder.join(format!("{file_name}{end}"));
        Places {
            draft: place(&format!(".{epoch}.draft.part")),
            part: place(&format!(".{epoch}.part")),
            whole: place(""),
            ok: place(".ok"),
            file_name: file_name.to_owned(),
            folder,
            epoch,
        }
    }

    /// The bank never looks at a part, so writing it decides nothing yet.
    pub fn write_part(&self, bytes: &[u8]) -> std::io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        write_synced(&self.part, bytes)
    }

    pub fn write_draft(&self, bytes: &[u8]) -> std::io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        write_synced(&self.draft, bytes)
    }

    /// The draft becomes our part. `false`: whoever took over has removed it.
    pub fn promote_draft(&self) -> std::io::Result<bool> {
        found(fs::rename(&self.draft, &self.part))
    }

    /// Our own part and draft, written for nothing.
    pub fn forget(&self) -> std::io::Result<()> {
        found(fs::remove_file(&self.part))?;
        found(fs::remove_file(&self.draft)).map(drop)
    }

    /// Removes every part and draft up to our epoch: whoever was paused before the rename finds none.
    pub fn clear(&self) -> std::io::Result<()> {
        for (epoch, path) in self.of_epochs(".draft.part")?.into_iter().chain(self.of_epochs(".part")?) {
            if epoch <= self.epoch {
                found(fs::remove_file(path))?;
            }
        }
        Ok(())
    }

    /// Takes the file out of the hands of whoever had it, then looks what there is. `since`: the epoch from which on a
    /// part counts.
    pub fn take_over(&self, since: i64, bytes: &[u8]) -> std::io::Result<Left> {
        for (epoch, draft) in self.of_epochs(".draft.part")? {
            if epoch < self.epoch {
                found(fs::remove_file(draft))?;
            }
        }
        for (epoch, part) in self.of_epochs(".part")? {
            if epoch > self.epoch {
                return Ok(Left::Newer);
            } else if epoch < since {
                found(fs::remove_file(part))?;
            } else if epoch < self.epoch {
                // Renamed under our eyes it is found under the file's name, or with the bank.
                found(fs::rename(part, &self.part))?;
            }
        }
        match fs::read(&self.whole) {
            Ok(whole) if whole == bytes => Ok(Left::Whole),
            Ok(_) => Ok(Left::Foreign),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Ok(if self.part.try_exists()? { Left::Part } else { Left::Nothing })
            }
            Err(error) => Err(error),
        }
    }

    /// Sees that the part has all its bytes. It is never made here: then it could be one that somebody took over.
    pub fn mend_part(&self, bytes: &[u8]) -> std::io::Result<bool> {
        match fs::read(&self.part) {
            Ok(part) if part == bytes => Ok(true),
            Ok(_) => {
                let opened = File::options().write(true).truncate(true).open(&self.part);
                found(opened.and_then(|mut part| part.write_all(bytes).and_then(|()| part.sync_all())))
            }
            Err(error) => found(Err(error)),
        }
    }

    /// The file gets its name. `false`: the part is gone, so another worker has taken over.
    pub fn rename_part(&self) -> std::io::Result<bool> {
        if !found(fs::rename(&self.part, &self.whole))? {
            return Ok(false);
        }
        File::open(&self.folder)?.sync_all()?;
        Ok(true)
    }

    /// The flag file appears whole or not at all: the file's SHA-256 and its number of items. Beside a file that is no
    /// longer there it would only puzzle.
    pub fn flag(&self, bytes: &[u8], items: i64) -> std::io::Result<()> {
        let text = format!("{} {items}\n", hex(&Sha256::digest(bytes)));
        let draft = self.folder.join(format!("{}.ok.{}.part", self.file_name, self.epoch));
        write_synced(&draft, text.as_bytes())?;
        if !self.whole.try_exists()? {
            return fs::remove_file(&draft);
        }
        fs::rename(&draft, &self.ok)?;
        // A flag that somebody was interrupted at is of no use to anybody.
        let prefix = format!("{}.ok", self.file_name);
        for (epoch, path) in of_epochs(&self.folder, &prefix, ".part")? {
            if epoch < self.epoch {
                found(fs::remove_file(path))?;
            }
        }
        found(fs::remove_file(&self.part))?;
        File::open(&self.folder)?.sync_all()
    }

    fn of_epochs(&self, end: &str) -> std::io::Result<Vec<(i64, PathBuf)>> {
        of_epochs(&self.folder, &self.file_name, end)
    }
}

/// Files of a folder called `<prefix>.<epoch><end>`.
fn of_epochs(folder: &Path, prefix: &str, end: &str) -> std::io::Result<Vec<(i64, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut parts = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let epoch = name.to_str().and_then(|name| name.strip_prefix(prefix)?.strip_prefix('.')?.strip_suffix(end));
        if let Some(epoch) = epoch.and_then(|epoch| epoch.parse().ok()) {
            parts.push((epoch, entry.path()));
        }
    }
    parts.sort();
    Ok(parts)
}

/// `false`: there was no such file.
fn found(done: Result<(), Error>) -> std::io::Result<bool> {
    match done {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut out = File::create(path)?;
    out.write_all(bytes)?;
    out.sync_all()
}
