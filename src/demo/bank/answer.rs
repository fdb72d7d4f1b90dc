//! A result file as the bank writes it: rows come in, bytes and a file go out. Tests make their own answers with it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use encoding_rs::GB18030;

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
    /// The whole file, in GB18030.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (count, total) = (self.rows.len(), yuan(self.total_fen()));
        let (success, success_total) = self.success();
        let mut text = format!(
            "H,{},{},{},{count},{total},{success},{}\r\n",
            self.bank_code,
            self.business_date,
            self.request_file_name,
            yuan(success_total)
        );
        for row in &self.rows {
            let cells = [
                "D",
                &row.line_no.to_string(),
                &row.order_no,
                &yuan(row.amount_fen),
                &row.code,
                &row.reason,
                &row.txn_no,
                &row.settled_at,
            ];
            text.push_str(&cells.join(","));
            text.push_str("\r\n");
        }
        text.push_str(&format!("T,{count},{total}\r\n"));
        GB18030.encode(&text).0.into_owned()
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
