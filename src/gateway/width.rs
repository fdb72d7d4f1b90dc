//! A cell of fixed width, counted in bytes of the encoding and never in characters: what configuration says of one
//! comes in, padded cells go into a file and stripped ones come out. Called by [`super::column`] and [`super::request`].

use super::text::Uncarriable;

/// The widest cell that a layout may ask for.
const WIDTH_MAX: usize = 1024;

/// What a cell holds. It decides how it is padded where configuration does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A count, a line number or a sum: on the right, zeros before it.
    Number,
    /// Anything else: on the left, blanks behind it.
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Align {
    Left,
    Right,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Width {
    pub bytes: usize,
    align: Align,
    pad: u8,
    kind: Kind,
}

impl Width {
    /// Reads what stands behind a column's name: `20`, `20 right`, `20 left pad *`, `20 pad space`.
    pub fn parse(words: &str, kind: Kind) -> Result<Width, &'static str> {
        let mut words = words.split_ascii_whitespace().peekable();
        let bytes = words.next().and_then(|word| word.parse().ok());
        let bytes = bytes.filter(|bytes| (1..=WIDTH_MAX).contains(bytes)).ok_or("a width is 1 to 1024 bytes")?;
        let align = match words.next_if(|word| ["left", "right"].contains(word)) {
            Some("left") => Align::Left,
            Some(_) => Align::Right,
            None if kind == Kind::Number => Align::Right,
            None => Align::Left,
        };
        let pad = match (words.next(), words.next(), words.next()) {
            (None, ..) if kind == Kind::Number && align == Align::Right => b'0',
            (None, ..) | (Some("pad"), Some("space"), None) => b' ',
            // No byte of a GBK character looks like one of these.
            (Some("pad"), Some(pad), None) if pad.len() == 1 && (b'!'..=b'0').contains(&pad.as_bytes()[0]) => {
                pad.as_bytes()[0]
            }
            _ => {
                return Err("behind the width come left or right, and pad with space, 0 or one of !\"#$%&'()*+,-./");
            }
        };
        if kind == Kind::Number && !(pad == b' ' || (pad == b'0' && align == Align::Right)) {
            return Err("a number is padded with blanks, or with 0 on its left");
        }
        Ok(Width { bytes, align, pad, kind })
    }

    /// A constant that is as wide as it is.
    pub fn of_constant(bytes: usize) -> Width {
        Width { bytes, align: Align::Left, pad: b' ', kind: Kind::Text }
    }

    /// Pads the cell that `out` ends with since `from`. One that would not come back as it was is not carried.
    pub fn fit(self, from: usize, out: &mut Vec<u8>) -> Result<(), Uncarriable> {
        let length = out.len() - from;
        if length > self.bytes {
            return Err(Uncarriable::TooWide);
        }
        let beside = match self.align {
            Align::Left => out[from..].last(),
            Align::Right => out[from..].first(),
        };
        if self.kind == Kind::Text && beside == Some(&self.pad) {
            return Err(Uncarriable::Padding);
        }
        let missing = self.bytes - length;
        out.resize(from + self.bytes, self.pad);
        if self.align == Align::Right {
            out.copy_within(from..from + length, from + missing);
            out[from..from + missing].fill(self.pad);
        }
        Ok(())
    }

    /// The cell without its padding. Of a number's zeros the last one stays.
    pub fn strip(self, mut cell: &[u8]) -> &[u8] {
        match (self.align, self.kind, self.pad) {
            (Align::Right, Kind::Number, b'0') => {
                while let [b'0', rest @ ..] = cell
                    && rest.first().is_some_and(u8::is_ascii_digit)
                {
                    cell = rest;
                }
            }
            (Align::Left, ..) => {
                while let [rest @ .., last] = cell
                    && *last == self.pad
                {
                    cell = rest;
                }
            }
            (Align::Right, ..) => {
                while let [first, rest @ ..] = cell
                    && *first == self.pad
                {
                    cell = rest;
                }
            }
        }
        cell
    }

    /// The same for text that has been decoded, by another way: for what is read back.
    pub fn strip_text(self, cell: &str) -> &str {
        let pad = char::from(self.pad);
        match (self.align, self.kind, self.pad) {
            (Align::Right, Kind::Number, b'0') => {
                let value = cell.trim_start_matches('0');
                let kept = if value.starts_with(|first: char| first.is_ascii_digit()) { 0 } else { 1 };
                &cell[cell.len().saturating_sub(value.len() + kept)..]
            }
            (Align::Left, ..) => cell.trim_end_matches(pad),
            (Align::Right, ..) => cell.trim_start_matches(pad),
        }
    }

    /// The largest whole number that there is room for, at most eighteen nines.
    pub fn largest(self) -> u64 {
        10_u64.pow(self.bytes.min(18) as u32) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(words: &str, kind: Kind, cell: &[u8]) -> Result<String, Uncarriable> {
        let width = Width::parse(words, kind).unwrap();
        let mut out = b"before".to_vec();
        out.extend_from_slice(cell);
        width.fit(6, &mut out)?;
        let stripped = width.strip(&out[6..]);
        if kind == Kind::Text {
            assert_eq!(stripped, cell, "it comes back as it was");
        }
        let text = std::str::from_utf8(&out[6..]).unwrap();
        assert_eq!(width.strip_text(text).as_bytes(), stripped, "by both ways");
        Ok(String::from_utf8(out[6..].to_vec()).unwrap())
    }

    #[test]
    fn a_cell_is_padded_on_its_side_and_comes_back() {
        let cells = [
            fitted("5", Kind::Text, b"ab"),
            fitted("5 right", Kind::Text, b"ab"),
            fitted("5 pad *", Kind::Text, b"ab"),
            fitted("5 right pad 0", Kind::Text, b"ab"),
            fitted("5", Kind::Text, b""),
            fitted("2", Kind::Text, b"ab"),
            fitted("5", Kind::Number, b"12"),
            fitted("5", Kind::Number, b"0"),
            fitted("8", Kind::Number, b"0.50"),
            fitted("5 right pad space", Kind::Number, b"12"),
            fitted("5 left", Kind::Number, b"12"),
        ];
        let expected =
            ["ab   ", "   ab", "ab***", "000ab", "     ", "ab", "00012", "00000", "00000.50", "   12", "12   "];
        assert_eq!(cells, expected.map(|cell| Ok(cell.to_owned())));
    }

    #[test]
    fn a_cell_that_is_too_wide_or_would_not_come_back_is_not_carried() {
        let cells = [
            fitted("2", Kind::Text, b"abc"),
            fitted("2", Kind::Number, b"123"),
            fitted("5", Kind::Text, b"ab "),
            fitted("5 right", Kind::Text, b" ab"),
            fitted("5 right pad 0", Kind::Text, b"012"),
            fitted("5", Kind::Text, b" ab"),
        ];
        use Uncarriable::*;
        assert_eq!(cells, [Err(TooWide), Err(TooWide), Err(Padding), Err(Padding), Err(Padding), Ok(" ab  ".into())]);
    }

    #[test]
    fn what_is_no_width_is_said() {
        let numbers = "a number is padded with blanks, or with 0 on its left";
        for (words, kind, mistake) in [
            ("", Kind::Text, "a width is 1 to 1024 bytes"),
            ("0", Kind::Text, "a width is 1 to 1024 bytes"),
            ("1025", Kind::Text, "a width is 1 to 1024 bytes"),
            ("wide", Kind::Text, "a width is 1 to 1024 bytes"),
            ("5 left pad 0", Kind::Number, numbers),
            ("5 pad *", Kind::Number, numbers),
        ] {
            assert_eq!(Width::parse(words, kind), Err(mistake), "{words}");
        }
        for words in ["5 middle", "5 pad", "5 pad ab", "5 pad A", "5 right pad 0 0", "5 pad 1"] {
            assert!(Width::parse(words, Kind::Text).unwrap_err().starts_with("behind the width"), "{words}");
        }
    }
}
