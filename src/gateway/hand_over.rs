//! Where the files of a gateway lie and how they are handed over: settings come in, checked folders and limits go out.

use std::path::{Component, Path, PathBuf};

use super::layout::{LayoutMistake, note};

/// The most items that `items_max` may allow in one request file.
pub const ITEMS_LIMIT: u32 = 1_000_000;

/// Folders are below the data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandOver {
    /// Request files go out here.
    pub outbox: PathBuf,
    /// Result files come in here.
    pub inbox: PathBuf,
    /// Whether a file name that was seen before is refused out there: then a hand-over of which nobody knows how it
    /// ended may be repeated.
    pub refuses_repeated_names: bool,
    pub items_max: u32,
}

impl HandOver {
    /// Every mistake is added to `mistakes`, by the names of its settings.
    pub(super) fn check(&self, key: &str, items_limit: u32, mistakes: &mut Vec<LayoutMistake>) {
        for (name, folder) in [("outbox", &self.outbox), ("inbox", &self.inbox)] {
            let stays = folder.components().all(|part| part != Component::ParentDir);
            let wrong = folder.as_os_str().is_empty() || !stays;
            note(mistakes, &format!("{key}{name}"), wrong, "must be a folder without '..'");
        }
        note(mistakes, &format!("{key}inbox"), self.inbox == self.outbox, "must not be the outbox");
        let within = (1..=items_limit).contains(&self.items_max);
        note(mistakes, &format!("{key}items_max"), !within, format_args!("must be 1 to {items_limit}"));
    }

    /// The same in folders of one bank's own.
    pub(super) fn of(&self, bank_code: &str) -> HandOver {
        let own = |folder: &Path| folder.join(bank_code);
        HandOver { outbox: own(&self.outbox), inbox: own(&self.inbox), ..self.clone() }
    }
}
