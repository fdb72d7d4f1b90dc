//! A file layout: the column lists of configuration come in, typed columns and positions go out, or every mistake
//! there is. Called once, when configuration is loaded; afterwards no column is looked up by its name.

use std::fmt;
use std::io::SeekFrom;

use chrono::NaiveDate;

use super::column::{Cell, Cut, Line};
use super::field::{Named, RequestEdge, RequestField, ResultEdge, ResultField, Unit};
use super::settings::{LayoutSettings, ResultSettings, SectionSettings};
use super::text::{Charset, LineEnd, Separator, Text};
use super::{ReadError, Refused, ResultSource};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    pub text: Text,
    pub file_name: FileName,
    pub request: RequestLayout,
    pub result: ResultLayout,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestLayout {
    pub header: Line<RequestEdge>,
    pub item: Line<RequestField>,
    pub trailer: Line<RequestEdge>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultLayout {
    pub header: Line<ResultEdge>,
    pub item: ResultItem,
    pub trailer: Line<ResultEdge>,
    pub holds: Holds,
    /// How many digits at the end of a file's name are its length in bytes; none if its name does not say it.
    pub name_length_digits: Option<usize>,
}

/// Which rows a result file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    All,
    /// What is not there has not failed.
    Successes,
}

/// Where the fields of a result row stand, from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultItem {
    pub cut: Cut,
    pub constants: Vec<(usize, Box<[u8]>)>,
    pub order_no: usize,
    pub amount: usize,
    pub unit: Unit,
    /// What was really taken.
    pub deducted: Option<(usize, Unit)>,
    pub code: usize,
    pub reason: Option<usize>,
    pub gateway_txn_no: Option<usize>,
    pub settled_at: Option<usize>,
    /// The same without its time.
    pub settled_on: Option<usize>,
}

/// The name of a request file, taken apart at its placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName(Vec<NamePart>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum NamePart {
    Text(String),
    Bank,
    Date,
    Run,
    Part,
}

/// One mistake in the configuration of a gateway: where it is, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {mistake}")]
pub struct LayoutMistake {
    pub key: String,
    pub mistake: String,
}

impl Layout {
    /// Every mistake is added to `mistakes`; a layout comes back only if there is none in it.
    pub fn parse(key: &str, settings: &LayoutSettings, mistakes: &mut Vec<LayoutMistake>) -> Option<Layout> {
        let before = mistakes.len();
        let charset = Charset::parse(&settings.encoding);
        note(mistakes, &format!("{key}.encoding"), charset.is_none(), "must be gb18030, gbk or utf-8");
        let separator = Separator::parse(&settings.separator);
        let known = separator.is_some() || settings.separator == "none";
        note(mistakes, &format!("{key}.separator"), !known, "must be \",\", \"|\", \"tab\" or \"none\"");
        let line_end = LineEnd::parse(&settings.line_end);
        note(mistakes, &format!("{key}.line_end"), line_end.is_none(), "must be crlf or lf");
        let file_name = FileName::parse(&format!("{key}.file_name"), &settings.file_name, mistakes);
        // The columns are read even if the text rules are wrong, so that their mistakes are reported as well.
        let text = Text {
            charset: charset.unwrap_or(Charset::Gb18030),
            separator: if known { separator } else { Some(Separator::Comma) },
            line_end: line_end.unwrap_or(LineEnd::Crlf),
        };
        let request = RequestLayout::parse(&format!("{key}.request"), &settings.request, text, mistakes);
        let result = ResultLayout::parse(&format!("{key}.result"), &settings.result, text, mistakes);
        match (file_name, result) {
            (Some(file_name), Some(result)) if mistakes.len() == before => {
                Some(Layout { text, file_name, request, result })
            }
            _ => None,
        }
    }
}

impl Layout {
    /// What header and trailer of a bank's files must have room for, as they cannot be held back.
    pub(super) fn check_room(&self, key: &str, bank_code: &str, items_max: u32, mistakes: &mut Vec<LayoutMistake>) {
        for column in self.request.header.columns.iter().chain(&self.request.trailer.columns) {
            let (Cell::Field(field), Some(width)) = (&column.cell, column.width) else { continue };
            let least_bytes = match field {
                RequestEdge::BankCode => bank_code.len(),
                RequestEdge::FileName => self.file_name.longest(bank_code),
                RequestEdge::Count => items_max.to_string().len(),
                // "0.00"; what a total has no room for holds back the items that would make it so large.
                RequestEdge::Total(_) => 4,
                RequestEdge::BusinessDate => 8,
            };
            let name = field.name();
            let wrong = width.bytes < least_bytes;
            note(
                mistakes,
                key,
                wrong,
                format_args!("its layout gives '{name}' {} bytes of {least_bytes}", width.bytes),
            );
        }
    }
}

impl RequestLayout {
    fn parse(key: &str, settings: &SectionSettings, text: Text, mistakes: &mut Vec<LayoutMistake>) -> RequestLayout {
        use RequestField::*;
        let header = Line::<RequestEdge>::parse(&format!("{key}.header"), &settings.header, text, mistakes);
        let item = Line::<RequestField>::parse(&format!("{key}.item"), &settings.item, text, mistakes);
        let trailer = Line::<RequestEdge>::parse(&format!("{key}.trailer"), &settings.trailer, text, mistakes);
        let edges = [&header, &trailer];
        let counted = edges.iter().any(|edge| edge.place(|field| field == RequestEdge::Count).is_some());
        let summed = edges.iter().any(|edge| edge.place(|field| matches!(field, RequestEdge::Total(_))).is_some());
        note(mistakes, key, !counted, "count is in neither header nor trailer");
        note(mistakes, key, !summed, "total_yuan or total_fen is in neither header nor trailer");
        let has = |wanted: fn(RequestField) -> bool| item.place(wanted).is_some();
        let item_key = format!("{key}.item");
        note(mistakes, &item_key, !has(|field| field == OrderNo), "order_no is missing");
        note(mistakes, &item_key, !has(|field| matches!(field, Amount(_))), "amount_yuan or amount_fen is missing");
        let payer = has(|field| matches!(field, AccountNo | AgreementNo));
        note(mistakes, &item_key, !payer, "account_no and agreement_no are both missing");
        RequestLayout { header, item, trailer }
    }
}

impl ResultLayout {
    fn parse(
        key: &str,
        settings: &ResultSettings,
        text: Text,
        mistakes: &mut Vec<LayoutMistake>,
    ) -> Option<ResultLayout> {
        let holds = match settings.holds.as_deref() {
            None | Some("all") => Some(Holds::All),
            Some("successes") => Some(Holds::Successes),
            Some(_) => None,
        };
        note(mistakes, &format!("{key}.holds"), holds.is_none(), "must be \"all\" or \"successes\"");
        let holds = holds.unwrap_or(Holds::All);
        let digits = settings.name_length_digits;
        let wrong = digits.is_some_and(|digits| !(1..=12).contains(&digits));
        note(mistakes, &format!("{key}.name_length_digits"), wrong, "must be 1 to 12");
        let header = Line::<ResultEdge>::parse(&format!("{key}.header"), &settings.header, text, mistakes);
        let item = Line::<ResultField>::parse(&format!("{key}.item"), &settings.item, text, mistakes);
        let trailer = Line::<ResultEdge>::parse(&format!("{key}.trailer"), &settings.trailer, text, mistakes);
        let edges = [&header, &trailer];
        let counted = edges.iter().any(|edge| edge.place(|field| field == ResultEdge::Count).is_some());
        let summed = edges.iter().any(|edge| edge.place(|field| matches!(field, ResultEdge::Total(_))).is_some());
        // Where only successes are told, a file that was cut off tells of fewer, and proves nothing of the others.
        let told = holds == Holds::Successes;
        note(mistakes, key, !counted && !told, "count is in neither header nor trailer");
        note(mistakes, key, !summed && !told, "total_yuan or total_fen is in neither header nor trailer");
        let item = ResultItem::parse(&format!("{key}.item"), &item, mistakes)?;
        Some(ResultLayout { header, item, trailer, holds, name_length_digits: digits })
    }
}

impl ResultLayout {
    /// A name that ends with the length of its file says whether the file is whole.
    pub(super) fn check_name(&self, file: &mut ResultSource<'_>) -> Result<(), ReadError> {
        let Some(digits) = self.name_length_digits else { return Ok(()) };
        let size_bytes = file.bytes.seek(SeekFrom::End(0)).map_err(ReadError::Disk)?;
        file.bytes.rewind().map_err(ReadError::Disk)?;
        let end = file.name.len().checked_sub(digits).and_then(|from| file.name.get(from..));
        let plain = end.filter(|end| end.bytes().all(|b| b.is_ascii_digit()));
        let declared: u64 = plain.and_then(|end| end.parse().ok()).ok_or_else(|| {
            let reason = format!("the name does not end with the length of the file in {digits} digits");
            Refused::wrong_file(1, None, reason)
        })?;
        if declared == size_bytes {
            return Ok(());
        }
        let reason = format!("{declared} bytes by its name, {size_bytes} found: cut off, or changed");
        Err(Refused::malformed(1, None, reason).into())
    }
}

impl ResultItem {
    fn parse(key: &str, line: &Line<ResultField>, mistakes: &mut Vec<LayoutMistake>) -> Option<ResultItem> {
        let at = |wanted: ResultField| line.place(|field| field == wanted).map(|(place, _)| place);
        let order_no = at(ResultField::OrderNo);
        let amount = line.place(|field| matches!(field, ResultField::Amount(_)));
        let code = at(ResultField::Code);
        note(mistakes, key, order_no.is_none(), "order_no is missing");
        note(mistakes, key, amount.is_none(), "amount_yuan or amount_fen is missing");
        note(mistakes, key, code.is_none(), "code is missing");
        let (settled_at, settled_on) = (at(ResultField::SettledAt), at(ResultField::SettledOn));
        let twice = settled_at.is_some() && settled_on.is_some();
        note(mistakes, key, twice, "settled_at and settled_on are both there");
        let deducted = line.columns.iter().zip(0..).find_map(|(column, place)| match column.cell {
            Cell::Field(ResultField::DeductedAmount(unit)) => Some((place, unit)),
            Cell::Field(_) | Cell::Constant(_) => None,
        });
        let (amount, ResultField::Amount(unit)) = amount? else { return None };
        Some(ResultItem {
            cut: line.cut.clone(),
            order_no: order_no?,
            amount,
            unit,
            deducted,
            code: code?,
            reason: at(ResultField::Reason),
            gateway_txn_no: at(ResultField::GatewayTxnNo),
            settled_at,
            settled_on,
            constants: line.constants().map(|(place, constant)| (place, constant.into())).collect(),
        })
    }
}

impl FileName {
    pub fn fill(&self, bank_code: &str, business_date: NaiveDate, run_id: i64, part: u32) -> String {
        self.0.iter().fold(String::new(), |name, piece| match piece {
            NamePart::Text(text) => name + text,
            NamePart::Bank => name + bank_code,
            NamePart::Date => name + &business_date.format("%Y%m%d").to_string(),
            NamePart::Run => name + &run_id.to_string(),
            NamePart::Part => name + &format!("{part:04}"),
        })
    }

    /// The bytes of the longest name: a run's number has at most the seven digits of its orders.
    pub(super) fn longest(&self, bank_code: &str) -> usize {
        self.fill(bank_code, NaiveDate::default(), 9_999_999, 999_999).len()
    }

    fn parse(key: &str, template: &str, mistakes: &mut Vec<LayoutMistake>) -> Option<FileName> {
        let before = mistakes.len();
        let mut parts = Vec::new();
        let mut rest = template;
        while !rest.is_empty() {
            let (text, after) = rest.split_once('{').unwrap_or((rest, ""));
            let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
            note(mistakes, key, !plain, "may hold letters, digits, '.', '_', '-' and placeholders only");
            parts.push(NamePart::Text(text.to_owned()));
            if text.len() == rest.len() {
                break;
            }
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            match name {
                "bank" => parts.push(NamePart::Bank),
                "date" => parts.push(NamePart::Date),
                "run" => parts.push(NamePart::Run),
                "part" => parts.push(NamePart::Part),
                _ => note(mistakes, key, true, "the placeholders are {bank}, {date}, {run} and {part}"),
            }
            rest = after;
        }
        let unique = parts.contains(&NamePart::Run) && parts.contains(&NamePart::Part);
        note(mistakes, key, !unique, "needs {run} and {part}, or two files would have one name");
        let reserved = template.starts_with('.') || template.ends_with(".part") || template.ends_with(".ok");
        note(mistakes, key, reserved, "must not begin with '.' nor end with .part or .ok");
        (mistakes.len() == before).then_some(FileName(parts))
    }
}

pub(super) fn note(mistakes: &mut Vec<LayoutMistake>, key: &str, wrong: bool, mistake: impl fmt::Display) {
    if wrong {
        mistakes.push(LayoutMistake { key: key.to_owned(), mistake: mistake.to_string() });
    }
}
