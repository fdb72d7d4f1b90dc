//! A result file as the bank writes it: rows come in, bytes and a file go out. Tests make their own answers with it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::format::Format;

/// A result file made by hand. Its totals are those of its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerFile {
    pub bank_code: String,
    /// `yyyymmdd`
    pub business_date: String,
    pub request_file_name: String,
    pub rows: Vec<AnswerRow>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerRow {
    pub line_no: u64,
    pub order_no: String,
    pub amount_fen: u64,
    pub code: String,
    pub reason: String,
    pub txn_no: String,
    /// `yyyymmddHHMMSS`, or empty
    pub settled_at: String,
}

impl AnswerFile {
    /// The whole file, as its bank writes it.
    pub fn to_bytes(&self) -> Vec<u8> {
        Format::of(&self.bank_code).write(self)
    }

    pub fn total_fen(&self) -> u64 {
        self.rows.iter().map(|row| row.amount_fen).sum()
    }

    /// How many rows have code 0000, and their sum.
    pub fn success(&self) -> (u64, u64) {
        let success = self.rows.iter().filter(|row| row.code == "0000");
        success.fold((0, 0), |(count, sum), row| (count + 1, sum + row.amount_fen))
    }
}

/// Puts a file into a folder the way banks do: under another name first, so that nobody reads half of it.
pub fn write_answer(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let (part, path) = (folder.join(format!("{name}.part")), folder.join(name));
    fs::write(&part, bytes)?;
    fs::rename(&part, &path)?;
    Ok(path)
}

pub(super) fn yuan(fen: u64) -> String {
    format!("{}.{:02}", fen / 100, fen % 100)
}
