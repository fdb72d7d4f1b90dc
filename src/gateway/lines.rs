//! A file comes in as a stream of bytes and goes out line by line, in bounded memory however large it is. Every format
//! whose files are text reads them through here.

use std::io::{self, Read};

use super::text::{LINE_BYTES_MAX, LineEnd};
use super::{ReadError, Refused};

/// Bytes that are read ahead: many lines, and at least one of the longest kind.
const BUFFER_BYTES: usize = 256 * 1024;

/// The same at first, as most files are no larger.
const FIRST_BUFFER_BYTES: usize = 4 * LINE_BYTES_MAX;

/// How far the end of a line that is too long is looked for: what has none until then is no text of lines.
pub const LONG_LINE_BYTES_MAX: usize = 1024 * 1024;

/// One line, without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// From 1.
    pub no: u64,
    /// Of a line that is longer than [`LINE_BYTES_MAX`] the first [`LINE_BYTES_MAX`] and one more.
    pub bytes: &'a [u8],
    /// None: the file ends within the line.
    pub end: Option<LineEnd>,
    /// Whether nothing follows.
    pub is_last: bool,
}

/// The lines of a file, one after the other.
pub struct Lines<'r> {
    source: &'r mut dyn Read,
    buffer: Vec<u8>,
    /// What is read ahead and not handed out yet.
    start: usize,
    end: usize,
    is_read: bool,
    line_no: u64,
    /// The beginning of a line that is too long.
    too_long: Vec<u8>,
}

impl<'r> Lines<'r> {
    pub fn of(source: &'r mut dyn Read) -> Lines<'r> {
        Lines {
            source,
            buffer: vec![0; FIRST_BUFFER_BYTES],
            start: 0,
            end: 0,
            is_read: false,
            line_no: 0,
            too_long: Vec::new(),
        }
    }

    /// The next line; `None` behind the last one. A file that ends with a line end has no empty line behind it.
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, ReadError> {
        let Some(length) = self.find_end()? else { return Ok(None) };
        self.line_no += 1;
        if length > LINE_BYTES_MAX + 1 {
            return self.skip_long().map(Some);
        }
        // One byte more, to know whether anything follows.
        if self.start + length + 1 >= self.end {
            self.fill()?;
        }
        let from = self.start;
        let ended = from + length < self.end;
        self.start = (from + length + 1).min(self.end);
        let bytes = &self.buffer[from..from + length];
        let (bytes, end) = match (bytes.strip_suffix(b"\r"), ended) {
            (Some(bytes), true) => (bytes, Some(LineEnd::Crlf)),
            (Some(bytes), false) => (bytes, None),
            (None, true) => (bytes, Some(LineEnd::Lf)),
            (None, false) => (bytes, None),
        };
        Ok(Some(Line { no: self.line_no, bytes, end, is_last: self.start == self.end && self.is_read }))
    }

    /// What the file begins with, at most `count` bytes, without taking it; before the first line only.
    pub fn beginning(&mut self, count: usize) -> Result<&[u8], ReadError> {
        while self.end - self.start < count && !self.is_read {
            self.fill()?;
        }
        Ok(&self.buffer[self.start..self.end.min(self.start + count)])
    }

    /// Steps over what the file begins with, such as a byte order mark.
    pub fn step_over(&mut self, beginning: &[u8]) -> Result<bool, ReadError> {
        let found = self.beginning(beginning.len())? == beginning;
        if found {
            self.start += beginning.len();
        }
        Ok(found)
    }

    /// The number of the line that was handed out last.
    pub fn line_no(&self) -> u64 {
        self.line_no
    }

    /// How far the next line reaches, its end excluded; more than a line may have if its end is not in the buffer.
    fn find_end(&mut self) -> Result<Option<usize>, ReadError> {
        let mut looked_at = 0;
        loop {
            let ahead = &self.buffer[self.start + looked_at..self.end];
            if let Some(place) = memchr::memchr(b'\n', ahead) {
                return Ok(Some(looked_at + place));
            }
            looked_at += ahead.len();
            if self.is_read {
                return Ok((looked_at > 0).then_some(looked_at));
            }
            if looked_at > LINE_BYTES_MAX + 1 {
                return Ok(Some(looked_at));
            }
            self.fill()?;
        }
    }

    fn skip_long(&mut self) -> Result<Line<'_>, ReadError> {
        self.too_long = self.buffer[self.start..=self.start + LINE_BYTES_MAX].to_vec();
        let mut skipped_bytes = 0;
        loop {
            if let Some(place) = memchr::memchr(b'\n', &self.buffer[self.start..self.end]) {
                self.start += place + 1;
                if self.start == self.end {
                    self.fill()?;
                }
                let is_last = self.start == self.end && self.is_read;
                return Ok(Line { no: self.line_no, bytes: &self.too_long, end: Some(LineEnd::Lf), is_last });
            }
            skipped_bytes += self.end - self.start;
            self.start = self.end;
            if skipped_bytes > LONG_LINE_BYTES_MAX {
                let reason = format!("a line of more than {LONG_LINE_BYTES_MAX} bytes: no text of lines");
                return Err(Refused::malformed(self.line_no, None, reason).into());
            }
            if self.is_read {
                return Ok(Line { no: self.line_no, bytes: &self.too_long, end: None, is_last: true });
            }
            self.fill()?;
        }
    }

    /// Moves what is left to the front and reads on.
    fn fill(&mut self) -> Result<(), ReadError> {
        if self.is_read {
            return Ok(());
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(BUFFER_BYTES, 0);
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let read = loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let read = read.map_err(|error| damaged(self.line_no + 1, error))?;
        self.end += read;
        self.is_read = read == 0;
        Ok(())
    }
}

/// What unpacking says of damaged bytes is about the file; anything else is about the disk below it.
fn damaged(line_no: u64, error: io::Error) -> ReadError {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput => {
            Refused::malformed(line_no, None, "the packed content is damaged or cut off here").into()
        }
        _ => ReadError::Disk(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads as a slow source does, a few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    type Told = (u64, Vec<u8>, Option<LineEnd>, bool);

    fn lines(bytes: &[u8], at_a_time: usize) -> Vec<Told> {
        let mut source = Slow(bytes, at_a_time);
        let mut lines = Lines::of(&mut source);
        let mut told = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            told.push((line.no, line.bytes.to_vec(), line.end, line.is_last));
        }
        told
    }

    #[test]
    fn each_line_comes_with_its_number_and_its_end() {
        let (crlf, lf) = (Some(LineEnd::Crlf), Some(LineEnd::Lf));
        let told = [
            (1, b"a".to_vec(), crlf, false),
            (2, b"".to_vec(), lf, false),
            (3, b"b\rc".to_vec(), lf, false),
            (4, b"d".to_vec(), None, true),
        ];
        assert_eq!(lines(b"a\r\n\nb\rc\nd", 1), told);
        assert_eq!(lines(b"a\n", 7), [(1, b"a".to_vec(), lf, true)]);
        assert_eq!(lines(b"", 1), []);
    }

    #[test]
    fn of_a_line_that_is_too_long_the_beginning_is_kept_and_the_next_one_is_whole() {
        for length in [LINE_BYTES_MAX + 1, LINE_BYTES_MAX + 2, 3 * BUFFER_BYTES] {
            let mut bytes = vec![b'x'; length];
            bytes.extend(b"\nnext");
            let told = lines(&bytes, 10_007);
            let long = vec![b'x'; LINE_BYTES_MAX + 1];
            assert_eq!(told[0], (1, long, Some(LineEnd::Lf), false), "{length}");
            assert_eq!(told[1], (2, b"next".to_vec(), None, true), "{length}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_not_looked_through_for_ever() {
        let reason = "malformed, line 2: a line of more than 1048576 bytes: no text of lines";
        let mut source = b"first\n".chain(io::repeat(b'x'));
        let mut lines = Lines::of(&mut source);
        assert_eq!(lines.next_line().unwrap().unwrap().bytes, b"first");
        assert_eq!(lines.next_line().unwrap_err().to_string(), reason);
    }

    #[test]
    fn a_file_that_is_larger_than_what_is_read_ahead_comes_line_by_line_too() {
        let text: Vec<u8> = (0..30_000_usize).flat_map(|no| [vec![b'x'; no * 7 % 61], vec![b'\n']].concat()).collect();
        assert!(text.len() > 3 * BUFFER_BYTES);
        for at_a_time in [1_000_003, 10_007, FIRST_BUFFER_BYTES, BUFFER_BYTES] {
            let told = lines(&text, at_a_time);
            assert_eq!(told.len(), 30_000, "{at_a_time}");
            assert!(told.iter().zip(0..).all(|((_, line, ..), no)| line.len() == no * 7 % 61), "{at_a_time}");
            assert!(told[29_999].3 && !told[29_998].3);
        }
    }

    #[test]
    fn what_cannot_be_unpacked_is_refused_and_a_broken_disk_is_not() {
        struct Broken(io::ErrorKind);
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
        }
        let told = |kind| Lines::of(&mut Broken(kind)).next_line().unwrap_err().to_string();
        let packed = "malformed, line 1: the packed content is damaged or cut off here";
        assert_eq!(told(io::ErrorKind::UnexpectedEof), packed);
        assert!(matches!(
            Lines::of(&mut Broken(io::ErrorKind::Other)).next_line(),
            Err(ReadError::Disk(error)) if error.kind() == io::ErrorKind::Other
        ));
    }

    #[test]
    fn a_beginning_is_looked_at_and_stepped_over() {
        let mut source = Slow("\u{feff}a\nb".as_bytes(), 1);
        let mut lines = Lines::of(&mut source);
        assert!(!lines.step_over(b"PK").unwrap());
        assert!(lines.step_over("\u{feff}".as_bytes()).unwrap());
        assert_eq!(lines.beginning(100).unwrap(), b"a\nb");
        assert_eq!(lines.next_line().unwrap().unwrap().bytes, b"a");
    }

    proptest! {
        #[test]
        fn however_it_is_read_the_lines_are_the_same(text in "[a\r\n]{0,40}", at_a_time in 1..9usize) {
            let mut wanted: Vec<&str> = text.split('\n').collect();
            if text.is_empty() || text.ends_with('\n') {
                wanted.pop();
            }
            let told = lines(text.as_bytes(), at_a_time);
            let count = told.len();
            prop_assert_eq!(count, wanted.len());
            for ((no, bytes, end, is_last), wanted) in told.into_iter().zip(wanted) {
                prop_assert_eq!(bytes, wanted.strip_suffix('\r').unwrap_or(wanted).as_bytes());
                prop_assert_eq!(end.is_some(), no as usize != count || text.ends_with('\n'));
                prop_assert_eq!(is_last, no as usize == count);
            }
        }
    }
}
