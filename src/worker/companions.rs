//! Small files beside a result file: read with it, and put aside with it. Called for files of the inboxes and for those
//! that a command names.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::gateway::companion::COMPANION_BYTES_MAX;
use crate::gateway::{Beside, CompanionKind};

/// Where the companion of a file would be.
pub fn path_of(file: &Path, kind: CompanionKind) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(kind.ending());
    file.with_file_name(name)
}

/// What lies beside a file. Of one that is too large no more is read than shows it.
pub fn beside(file: &Path) -> io::Result<Vec<Beside>> {
    let mut found = Vec::new();
    for kind in CompanionKind::ALL {
        let opened = match File::open(path_of(file, kind)) {
            Ok(opened) => opened,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        opened.take(COMPANION_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        found.push(Beside { kind, bytes });
    }
    Ok(found)
}
