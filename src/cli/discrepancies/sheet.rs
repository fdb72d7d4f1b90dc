//! Sheets for people: comma-separated, UTF-8 with a mark so that spreadsheets see it, a record at a time. A cell that a
//! spreadsheet would take for a formula goes out behind an apostrophe, and comes in without it.

use std::io::{self, BufRead, Write};

/// A longer record is no row of ours.
const RECORD_BYTES_MAX: usize = 64 * 1024;

/// What a spreadsheet would calculate, or what would be taken for our own apostrophe.
fn is_dangerous(cell: &str) -> bool {
    cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\''])
}

/// Writes a record.
pub fn write(out: &mut impl Write, cells: &[String]) -> io::Result<()> {
    let mut text = String::new();
    for (place, cell) in cells.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        let harmless = if is_dangerous(cell) { format!("'{cell}") } else { cell.clone() };
        if harmless.contains([',', '"', '\r', '\n']) {
            text.push_str(&format!("\"{}\"", harmless.replace('"', "\"\"")));
        } else {
            text.push_str(&harmless);
        }
    }
    text.push_str("\r\n");
    out.write_all(text.as_bytes())
}

/// Begins a sheet.
pub fn begin(out: &mut impl Write) -> io::Result<()> {
    out.write_all("\u{feff}".as_bytes())
}

/// A record that was read, or what is wrong with it.
pub type Record = Result<Vec<String>, &'static str>;

/// Reads the next record; none at the end. Empty lines are none.
pub fn read(input: &mut impl BufRead) -> io::Result<Option<Record>> {
    loop {
        let mut bytes = Vec::new();
        // Within quotes a line end does not end the record.
        let mut open = false;
        let mut fault = None;
        loop {
            let begin = bytes.len();
            if io::Read::take(&mut *input, RECORD_BYTES_MAX as u64).read_until(b'\n', &mut bytes)? == 0 {
                break;
            }
            open ^= bytes[begin..].iter().filter(|byte| **byte == b'"').count() % 2 == 1;
            let line_ends = bytes.last() == Some(&b'\n');
            if bytes.len() > RECORD_BYTES_MAX {
                fault = Some("the row is too long");
                bytes.truncate(RECORD_BYTES_MAX);
            }
            if line_ends && (!open || fault.is_some()) {
                break;
            }
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        if open {
            fault = fault.or(Some("a quote is not closed"));
        }
        if let Some(fault) = fault {
            return Ok(Some(Err(fault)));
        }
        let Ok(text) = std::str::from_utf8(&bytes) else { return Ok(Some(Err("the row is not UTF-8"))) };
        let text = text.trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n']);
        if !text.is_empty() {
            return Ok(Some(cells(text)));
        }
    }
}

fn cells(text: &str) -> Record {
    let mut cells = Vec::new();
    let mut rest = text;
    loop {
        let (cell, behind) = match rest.strip_prefix('"') {
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
            Some(quoted) => {
                let mut cell = String::new();
                let mut chars = quoted.char_indices().peekable();
                let end = loop {
                    match chars.next() {
                        None => return Err("a quote is not closed"),
                        Some((_, '"')) if chars.peek().is_some_and(|(_, next)| *next == '"') => {
                            cell.push('"');
                            chars.next();
                        }
                        Some((place, '"')) => break place + 1,
                        Some((_, c)) => cell.push(c),
                    }
                };
                (cell, &quoted[end..])
            }
        };
        cells.push(match cell.strip_prefix('\'') {
            Some(own) if is_dangerous(own) => own.to_owned(),
            Some(_) | None => cell,
        });
        match behind.strip_prefix(',') {
            Some(next) => rest = next,
            None if behind.is_empty() => return Ok(cells),
            None => return Err("there is something behind a quoted cell"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<Record> {
        let mut input = bytes;
        std::iter::from_fn(|| read(&mut input).unwrap()).collect()
    }

    fn written(rows: &[Vec<String>]) -> Vec<u8> {
        let mut out = Vec::new();
        begin(&mut out).unwrap();
        for row in rows {
            write(&mut out, row).unwrap();
        }
        out
    }

    #[test]
    fn what_is_written_is_read_back_and_no_cell_is_a_formula() {
        let texts = [
            "",
            "a",
            "中文,逗号",
            "\"",
            "=1+1",
            "+86",
            "-5.00",
            "@x",
            "'",
            "'=1",
            "''",
            "two\r\nlines",
            "\tt",
            " =",
            "a'b",
        ];
        let rows: Vec<Vec<String>> = texts
            .iter()
            .flat_map(|one| texts.iter().map(move |other| vec![(*one).to_owned(), "x".into(), (*other).to_owned()]))
            .collect();
        let bytes = written(&rows);
        assert_eq!(all(&bytes), rows.into_iter().map(Ok).collect::<Vec<_>>());
        let text = String::from_utf8(written(&[vec!["=1+1".into(), "-5.00".into(), "'a".into(), "@".into()]])).unwrap();
        assert_eq!(text, "\u{feff}'=1+1,'-5.00,''a,'@\r\n");
    }

    #[test]
    fn what_a_spreadsheet_makes_of_a_sheet_is_read_and_a_bad_row_does_not_hide_the_next() {
        let long = "x".repeat(RECORD_BYTES_MAX + 1);
        let text = format!("a,b\n\r\n'c,\"d \"\"e\"\"\"\n\"f\"g,h\n{long}\ni,j\n\"k");
        let row = |cells: &[&str]| Ok(cells.iter().map(|cell| (*cell).to_owned()).collect());
        let wanted: Vec<Record> = vec![
            row(&["a", "b"]),
            row(&["'c", "d \"e\""]),
            Err("there is something behind a quoted cell"),
            Err("the row is too long"),
            row(&["i", "j"]),
            Err("a quote is not closed"),
        ];
        assert_eq!(all(text.as_bytes()), wanted);
        assert_eq!(all("张".as_bytes()), [row(&["张"])]);
        let gbk = encoding_rs::GBK.encode("a,张\nb,c\n").0;
        assert_eq!(all(&gbk), [Err("the row is not UTF-8"), row(&["b", "c"])]);
    }
}
