//! The columns of one kind of line: names of configuration come in, typed columns go out, and the way a line is cut
//! into their cells, by separators or by widths. Called by [`super::layout`], and for every line that is read.

use std::fmt;

use super::field::Named;
use super::layout::{LayoutMistake, note};
use super::text::{COLUMNS_MAX, LINE_BYTES_MAX, Text};
use super::width::Width;

/// One kind of line. Without columns: the file has no such line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<F> {
    pub columns: Vec<Column<F>>,
    pub cut: Cut,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column<F> {
    pub cell: Cell<F>,
    /// Where cells are not separated, every column has one.
    pub width: Option<Width>,
}

/// A cell is a constant, kept as its bytes without padding, or a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell<F> {
    Constant(Box<[u8]>),
    Field(F),
}

/// How the cells of a line are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    Separated {
        columns: usize,
    },
    /// With a tail, the last cell says how many bytes follow it.
    Fixed {
        widths: Box<[Width]>,
        bytes: usize,
        tail: Tail,
    },
}

/// Whether something follows the last column of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    Nothing,
    Counted,
}

/// A line that has not the cells of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Misshapen {
    expected: usize,
    found: usize,
    what: &'static str,
}

impl fmt::Display for Misshapen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} expected, {} found", self.expected, self.what, self.found)
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cut::Separated { columns } => write!(f, "{columns} columns"),
            Cut::Fixed { bytes, tail: Tail::Nothing, .. } => write!(f, "{bytes} bytes"),
            Cut::Fixed { bytes, tail: Tail::Counted, .. } => write!(f, "{bytes} bytes and a tail"),
        }
    }
}

impl Cut {
    /// Cuts a line into its cells, their padding taken off.
    pub fn cells<'a>(&self, text: Text, line: &'a [u8], cells: &mut [&'a [u8]; COLUMNS_MAX]) -> Result<(), Misshapen> {
        match self {
            Cut::Separated { columns } => match text.split(line, cells) {
                found if found == *columns => Ok(()),
                found => Err(Misshapen { expected: *columns, found, what: "columns" }),
            },
            Cut::Fixed { bytes, tail: Tail::Nothing, .. } if line.len() != *bytes => {
                Err(Misshapen { expected: *bytes, found: line.len(), what: "bytes" })
            }
            Cut::Fixed { bytes, tail: Tail::Counted, .. } if line.len() < *bytes => {
                Err(Misshapen { expected: *bytes, found: line.len(), what: "bytes and a tail" })
            }
            Cut::Fixed { widths, bytes, tail } => {
                let mut rest = line;
                for (cell, width) in cells.iter_mut().zip(widths) {
                    let (own, after) = rest.split_at(width.bytes);
                    *cell = width.strip(own);
                    rest = after;
                }
                match tail {
                    Tail::Nothing => Ok(()),
                    Tail::Counted if tail_bytes(cells[widths.len() - 1]) == Some(rest.len()) => Ok(()),
                    Tail::Counted => Err(Misshapen {
                        expected: *bytes,
                        found: line.len(),
                        what: "bytes and a tail as long as it says",
                    }),
                }
            }
        }
    }
}

impl<F: Named> Column<F> {
    /// What configuration calls it; nothing for a constant.
    pub fn name(&self) -> &'static str {
        match self.cell {
            Cell::Constant(_) => "",
            Cell::Field(field) => field.name(),
        }
    }
}

impl<F: Named> Line<F> {
    /// Every mistake is added to `mistakes`.
    pub(super) fn parse(key: &str, names: &[String], text: Text, mistakes: &mut Vec<LayoutMistake>) -> Line<F> {
        note(mistakes, key, names.len() > COLUMNS_MAX, format_args!("has more than {COLUMNS_MAX} columns"));
        let mut line = Line { columns: Vec::new(), cut: Cut::Separated { columns: 0 } };
        for name in names {
            match line.column(name, text) {
                Ok(column) => line.columns.push(column),
                Err(mistake) => note(mistakes, key, true, mistake),
            }
        }
        let widths: Box<[Width]> = line.columns.iter().filter_map(|column| column.width).collect();
        line.cut = if text.separator.is_some() {
            Cut::Separated { columns: line.columns.len() }
        } else {
            let bytes = widths.iter().map(|width| width.bytes).sum();
            note(mistakes, key, bytes > LINE_BYTES_MAX, format_args!("is wider than {LINE_BYTES_MAX} bytes"));
            let counted = line.place(F::is_tail).is_some();
            Cut::Fixed { widths, bytes, tail: if counted { Tail::Counted } else { Tail::Nothing } }
        };
        if let Some((place, tail)) = line.place(F::is_tail) {
            let name = tail.name();
            let separated = text.separator.is_some();
            note(mistakes, key, separated, format_args!("'{name}' is there only where the cells are not separated"));
            let last = place + 1 == line.columns.len();
            note(mistakes, key, !last, format_args!("'{name}' must be the last column"));
        }
        line
    }

    fn column(&self, written: &str, text: Text) -> Result<Column<F>, String> {
        let (name, words) = match text.separator {
            // A constant between separators may have blanks in it.
            Some(_) => (written, None),
            None => written.split_once(' ').map_or((written, None), |(name, words)| (name, Some(words))),
        };
        if let Some(constant) = name.strip_prefix('=') {
            let uncarriable =
                |why: super::text::Uncarriable| format!("the file cannot carry '{name}': {}", why.as_str());
            let mut bytes = Vec::new();
            text.put(constant, &mut bytes).map_err(uncarriable)?;
            let kind = super::width::Kind::Text;
            let width = match (text.separator, words) {
                (Some(_), _) => None,
                (None, Some(words)) => {
                    Some(Width::parse(words, kind).map_err(|mistake| format!("'{written}': {mistake}"))?)
                }
                (None, None) if bytes.is_empty() => return Err(format!("'{written}' needs a width in bytes")),
                (None, None) => Some(Width::of_constant(bytes.len())),
            };
            if let Some(width) = width {
                width.fit(0, &mut bytes.clone()).map_err(uncarriable)?;
            }
            return Ok(Column { cell: Cell::Constant(bytes.into()), width });
        }
        let Some((_, field)) = F::NAMES.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = F::NAMES.iter().map(|(known, _)| *known).collect();
            if text.separator.is_some() && name.contains(' ') {
                return Err(format!("'{name}' has a width, but the cells are separated"));
            }
            return Err(format!("unknown field '{name}'; known here: {}", known.join(", ")));
        };
        // The same thing in yuan and in fen is twice as well.
        let same = |known: F| std::mem::discriminant(&known) == std::mem::discriminant(field);
        if !field.repeatable() && self.place(same).is_some() {
            return Err(format!("'{name}' is there twice"));
        }
        let width = match (text.separator, words) {
            (Some(_), _) => None,
            (None, None) => return Err(format!("'{name}' needs a width in bytes: the cells are not separated")),
            (None, Some(words)) => {
                Some(Width::parse(words, field.kind()).map_err(|mistake| format!("'{written}': {mistake}"))?)
            }
        };
        if let Some(width) = width.filter(|width| width.bytes < field.least_bytes()) {
            return Err(format!("'{name}' needs {} bytes, not {}", field.least_bytes(), width.bytes));
        }
        Ok(Column { cell: Cell::Field(*field), width })
    }

    /// The first field that fits, and where it stands.
    pub(super) fn place(&self, wanted: impl Fn(F) -> bool) -> Option<(usize, F)> {
        self.columns.iter().enumerate().find_map(|(place, column)| match column.cell {
            Cell::Field(field) if wanted(field) => Some((place, field)),
            Cell::Field(_) | Cell::Constant(_) => None,
        })
    }
}

impl<F> Line<F> {
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// The constants of the line, and where they stand.
    pub(super) fn constants(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.columns.iter().enumerate().filter_map(|(place, column)| match &column.cell {
            Cell::Constant(bytes) => Some((place, &**bytes)),
            Cell::Field(_) => None,
        })
    }

    /// Whether a line has the cells and all constants of this kind. A line without constants is told by nothing.
    pub(super) fn fits(&self, line: &[u8], text: Text) -> bool {
        let mut cells = [&[] as &[u8]; COLUMNS_MAX];
        self.constants().next().is_some()
            && self.cut.cells(text, line, &mut cells).is_ok()
            && self.constants().all(|(place, constant)| cells[place] == constant)
    }
}

/// How long a tail is by its cell.
fn tail_bytes(cell: &[u8]) -> Option<usize> {
    let digits = (1..=4).contains(&cell.len()) && cell.iter().all(u8::is_ascii_digit);
    if digits { std::str::from_utf8(cell).ok()?.parse().ok() } else { None }
}
