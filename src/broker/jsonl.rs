//! A file with a JSON document a line, in place of a broker: the sink of events where `broker.url = "embedded"`.
//! A line counts when it is whole and on the disk; a crash may leave half of one, which is cut off at the next start.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Bytes looked at from the end to find the last whole line; no event is near that long.
const TAIL_MAX: u64 = 16 * 1024 * 1024;

/// A file that lines are appended to.
pub struct JsonLines(File);

impl JsonLines {
    /// Opens or makes the file.
    ///
    /// # Errors
    /// Those of the file system; also where the file's tail holds no line end, as then it is none of ours.
    pub fn open(path: &Path) -> io::Result<JsonLines> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new().create(true).read(true).write(true).truncate(false).open(path)?;
        let length = file.seek(SeekFrom::End(0))?;
        let from = length.saturating_sub(TAIL_MAX);
        file.seek(SeekFrom::Start(from))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        let whole = match tail.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => from + at as u64 + 1,
            None if from == 0 => 0,
            None => return Err(io::Error::other("the end of the file is no line of JSON")),
        };
        file.set_len(whole)?;
        file.seek(SeekFrom::End(0))?;
        Ok(JsonLines(file))
    }

    /// Empties the file.
    pub fn clear(&mut self) -> io::Result<()> {
        self.0.set_len(0)?;
        self.0.seek(SeekFrom::Start(0)).map(drop)
    }

    /// Appends lines; they are on the disk when this returns.
    pub fn append<'l>(&mut self, lines: impl Iterator<Item = &'l str>) -> io::Result<()> {
        let mut out = BufWriter::new(&mut self.0);
        for line in lines {
            out.write_all(line.as_bytes())?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
        drop(out);
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_left_by_a_crash_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/events.jsonl");
        JsonLines::open(&path).unwrap().append(["{\"a\":1}", "{\"b\":2}"].into_iter()).unwrap();
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"c\":").unwrap();
        JsonLines::open(&path).unwrap().append(["{\"d\":4}"].into_iter()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"a\":1}\n{\"b\":2}\n{\"d\":4}\n");
    }
}
