//! The account of a day as files for people: comma-separated text, and a workbook. Both are written a row at a time, so
//! that an account of any size needs no more memory than one row.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use rust_xlsxwriter::{Format, Workbook, Worksheet, XlsxError};

use super::{ItemReport, Line};
use crate::cli::Failure;
use crate::cli::discrepancies::sheet;

const HEAD: [&str; 14] = [
    "part",
    "what",
    "bank_code",
    "result_file_id",
    "line",
    "order_no",
    "code",
    "reason",
    "rows",
    "yuan",
    "yuan_ours",
    "yuan_theirs",
    "state",
    "detail",
];

/// In characters.
const WIDTHS: [f64; HEAD.len()] = [18.0, 26.0, 10.0, 12.0, 8.0, 24.0, 10.0, 28.0, 10.0, 16.0, 14.0, 14.0, 10.0, 30.0];

/// Columns of numbers: how many, and sums. What is no number, such as an empty cell, is left out.
const COUNTS: [usize; 1] = [8];
const SUMS: [usize; 3] = [9, 10, 11];

/// The most rows that a sheet of a workbook holds; more go into the next one.
const SHEET_ROWS_MAX: u32 = 1_000_000;

/// The files that are asked for.
pub struct Sheets {
    csv: Option<(PathBuf, BufWriter<File>)>,
    xlsx: Option<Book>,
}

struct Book {
    path: PathBuf,
    file: File,
    book: Workbook,
    sheets: usize,
    next_row: u32,
    head_format: Format,
    sum_format: Format,
}

impl Sheets {
    pub fn open(csv: Option<&Path>, xlsx: Option<&Path>) -> Result<Sheets, Failure> {
        let csv = match csv {
            Some(path) => {
                let mut out = BufWriter::new(create(path)?);
                sheet::begin(&mut out).map_err(|error| broken(path, &error))?;
                Some((path.to_owned(), out))
            }
            None => None,
        };
        let xlsx = match xlsx {
            Some(path) => Some(Book {
                path: path.to_owned(),
                file: create(path)?,
                book: Workbook::new(),
                sheets: 0,
                next_row: SHEET_ROWS_MAX,
                head_format: Format::new().set_bold(),
                sum_format: Format::new().set_num_format("#,##0.00"),
            }),
            None => None,
        };
        let mut sheets = Sheets { csv, xlsx };
        if let Some((path, out)) = &mut sheets.csv {
            sheet::write(out, &HEAD.map(str::to_owned)).map_err(|error| broken(path, &error))?;
        }
        Ok(sheets)
    }

    pub fn figure(&mut self, line: &Line) -> Result<(), Failure> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let mut cells = [const { String::new() }; HEAD.len()];
        cells[0] = line.part.to_owned();
        cells[1] = line.what.clone();
        cells[2] = text(&line.bank_code);
        cells[3] = line.result_file_id.map(|id| id.to_string()).unwrap_or_default();
        cells[6] = text(&line.code);
        cells[7] = text(&line.reason);
        cells[8] = line.rows.rows.to_string();
        cells[9] = line.rows.total.clone();
        self.row(&cells)
    }

    pub fn item(&mut self, item: &ItemReport) -> Result<(), Failure> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
        let mut cells = [const { String::new() }; HEAD.len()];
        cells[0] = "item".to_owned();
        cells[1] = item.what.clone();
        cells[3] = number(item.result_file_id);
        cells[4] = number(item.line);
        cells[5] = text(&item.order_no);
        cells[6] = text(&item.code);
        cells[10] = text(&item.amount_ours);
        cells[11] = text(&item.amount_theirs);
        cells[12] = text(&item.state);
        cells[13] = text(&item.reason);
        self.row(&cells)
    }

    fn row(&mut self, cells: &[String]) -> Result<(), Failure> {
        if let Some((path, out)) = &mut self.csv {
            sheet::write(out, cells).map_err(|error| broken(path, &error))?;
        }
        if let Some(book) = &mut self.xlsx {
            book.row(cells).map_err(|error| broken(&book.path, &error))?;
        }
        Ok(())
    }

    /// Writes what is left; only then are the files complete.
    pub fn close(self) -> Result<(), Failure> {
        if let Some((path, mut out)) = self.csv {
            out.flush().map_err(|error| broken(&path, &error))?;
        }
        if let Some(mut book) = self.xlsx {
            let saved = book.book.save_to_writer(&book.file);
            saved.map_err(|error| broken(&book.path, &error))?;
        }
        Ok(())
    }
}

impl Book {
    /// Texts stay texts: a workbook calculates nothing that is not written as a formula. Sums are numbers, to be added up.
    fn row(&mut self, cells: &[String]) -> Result<(), XlsxError> {
        if self.next_row == SHEET_ROWS_MAX {
            self.begin_sheet()?;
        }
        let sheet: &mut Worksheet = self.book.worksheet_from_index(self.sheets - 1)?;
        for (place, cell) in cells.iter().enumerate().filter(|(_, cell)| !cell.is_empty()) {
            let column = place as u16;
            match cell.parse::<f64>() {
                Ok(count) if COUNTS.contains(&place) => sheet.write_number(self.next_row, column, count)?,
                Ok(sum) if SUMS.contains(&place) => {
                    sheet.write_number_with_format(self.next_row, column, sum, &self.sum_format)?
                }
                Ok(_) | Err(_) => sheet.write_string(self.next_row, column, cell)?,
            };
        }
        self.next_row += 1;
        Ok(())
    }

    fn begin_sheet(&mut self) -> Result<(), XlsxError> {
        let sheet = self.book.add_worksheet_with_constant_memory()?;
        sheet.set_freeze_panes(1, 0)?;
        for (column, (name, width)) in (0..).zip(HEAD.iter().zip(WIDTHS)) {
            sheet.set_column_width(column, width)?;
            sheet.write_string_with_format(0, column, *name, &self.head_format)?;
        }
        (self.sheets, self.next_row) = (self.sheets + 1, 1);
        Ok(())
    }
}

fn create(path: &Path) -> Result<File, Failure> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    file.map_err(|error| Failure::Usage(format!("cannot write {}: {error}", path.display())))
}

fn broken(path: &Path, error: &dyn std::error::Error) -> Failure {
    Failure::Other(anyhow::anyhow!("writing {}: {error}", path.display()))
}
