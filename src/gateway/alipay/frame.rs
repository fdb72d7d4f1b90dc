//! What Alipay's four CSV files have in common: a stream comes in; what the lines above the table say, its rows as
//! cells, and the lines below it go out. Called by [`super::trade`], [`super::ledger`] and [`super::summary`].
//!
//! ```text
//! #支付宝业务明细查询
//! #账号：[20880211096256330156]
//! #起始日期：[2019年09月16日 00:00:00]   终止日期：[2019年09月17日 00:00:00]
//! #------业务明细列表------
//! titles, rows
//! #------业务明细列表结束------
//! #交易合计：…
//! #导出时间：[2019年09月17日 05:46:49]
//! ```
//!
//! The words count: dashes, colons and brackets changed over the years. Every line has its end, the last one too, so a
//! file that was cut off anywhere is refused.

use std::io::Read;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};

use super::cell::trimmed;
use super::{foreign, is_account};
use crate::gateway::lines::{Line, Lines};
use crate::gateway::recognise::{self, BEGINNING_BYTES};
use crate::gateway::text::{COLUMNS_MAX, Charset, LINE_BYTES_MAX, LineEnd, Separator, Text};
use crate::gateway::{ReadError, Refused};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The most lines below the table.
const FOOT_LINES_MAX: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Trade,
    TradeSummary,
    Ledger,
    LedgerSummary,
}

/// What the lines above the table say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub kind: Kind,
    pub account: String,
    pub from: NaiveDateTime,
    /// Exclusive.
    pub until: NaiveDateTime,
}

/// A file of which the lines above the table and its titles are read.
pub(super) struct Table<'r> {
    pub frame: Frame,
    pub text: Text,
    titles: Vec<String>,
    lines: Lines<'r>,
}

/// A line of the table.
pub(super) struct Row<'a> {
    pub line_no: u64,
    /// As many as there are titles, without TABs and blanks around them; none if the line has more or fewer.
    pub cells: Option<[&'a [u8]; COLUMNS_MAX]>,
}

/// What the lines below the table say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Foot {
    /// With their numbers.
    pub totals: Vec<(u64, String)>,
    pub exported_at: NaiveDateTime,
    /// The number of the last line.
    pub line_no: u64,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Trade, Kind::TradeSummary, Kind::Ledger, Kind::LedgerSummary];

    fn word(self) -> &'static str {
        match self {
            Kind::Trade => "业务明细",
            Kind::TradeSummary => "业务汇总",
            Kind::Ledger => "账务明细",
            Kind::LedgerSummary => "账务汇总",
        }
    }
}

impl Frame {
    /// The day of a file that is about one.
    pub fn day(&self) -> Option<NaiveDate> {
        let is_one = self.from.time() == NaiveTime::MIN && self.until - self.from == TimeDelta::days(1);
        is_one.then(|| self.from.date())
    }
}

impl<'r> Table<'r> {
    pub fn open(source: &'r mut dyn Read) -> Result<Table<'r>, ReadError> {
        let mut lines = Lines::of(source);
        let charset = if lines.step_over(BYTE_ORDER_MARK)? { Charset::Utf8 } else { Charset::Gb18030 };
        if let Some(refused) = recognise::not_lines(lines.beginning(BEGINNING_BYTES)?) {
            return Err(refused.into());
        }
        if charset == Charset::Gb18030 && begins_in_utf8(lines.beginning(BEGINNING_BYTES)?) {
            let reason = "encoded in UTF-8 without a byte order mark: saved again by another program";
            return Err(Refused::malformed(1, None, reason).into());
        }
        let first = next_text(&mut lines, charset)?;
        let kind = Kind::ALL.into_iter().find(|kind| first.starts_with(&format!("#支付宝{}查询", kind.word())));
        let Some(kind) = kind else { return Err(foreign::named(&first, charset, &mut lines)?.into()) };
        not_padded(1, &first)?;
        let second = next_text(&mut lines, charset)?;
        let account = bracketed(&second, "#账号:").filter(|account| is_account(account));
        let account = account.ok_or_else(|| misfit(2, &second, "not an account of 20 digits"))?.to_owned();
        let third = next_text(&mut lines, charset)?;
        let time = |word: &str, what: &str| {
            let time = bracketed(&third, word).and_then(time).ok_or_else(|| misfit(3, &third, what));
            time.map_err(ReadError::from)
        };
        let from = time("#起始日期:", "not a time from which")?;
        let until = time("终止日期:", "not a time until which")?;
        if from >= until {
            return Err(Refused::malformed(3, None, "the time ends before it begins").into());
        }
        let fourth = next_text(&mut lines, charset)?;
        if !is_mark(&fourth, &format!("{}列表", kind.word())) {
            return Err(misfit(4, &fourth, "not the line in front of the list").into());
        }
        let titles = next_text(&mut lines, charset)?.split(',').map(title).collect::<Vec<String>>();
        if titles.len() > COLUMNS_MAX {
            return Err(Refused::malformed(5, None, format!("more than {COLUMNS_MAX} titles")).into());
        }
        let text = Text { charset, separator: Some(Separator::Comma), line_end: LineEnd::Crlf };
        Ok(Table { frame: Frame { kind, account, from, until }, text, titles, lines })
    }

    pub fn column_count(&self) -> usize {
        self.titles.len()
    }

    /// Where the column is that has one of these titles.
    pub fn column(&self, titles: &[&str]) -> Result<Option<usize>, Refused> {
        let mut found = (0..self.titles.len()).filter(|place| titles.contains(&self.titles[*place].as_str()));
        match (found.next(), found.next()) {
            (place, None) => Ok(place),
            (_, Some(twice)) => Err(Refused::malformed(5, Some(twice as u64 + 1), "the same title twice")),
        }
    }

    pub fn needed(&self, titles: &[&str]) -> Result<usize, Refused> {
        let missing = || Refused::malformed(5, None, format!("{} is missing", titles[0]));
        self.column(titles)?.ok_or_else(missing)
    }

    /// The next row; none at the end of the list.
    pub fn next_row(&mut self) -> Result<Option<Row<'_>>, ReadError> {
        let (charset, kind) = (self.text.charset, self.frame.kind);
        let line_no = self.lines.line_no() + 1;
        let Some(line) = self.lines.next_line()? else {
            return Err(Refused::malformed(line_no, None, "the file is cut off: the list has no end").into());
        };
        whole(&line, charset)?;
        if line.bytes.starts_with(b"#") {
            let text = normal(&charset.decode(line.bytes).unwrap_or_default());
            if is_mark(&text, &format!("{}列表结束", kind.word())) {
                return Ok(None);
            }
            return Err(misfit(line_no, &text, "neither a row nor the end of the list").into());
        }
        let mut cells = [&[] as &[u8]; COLUMNS_MAX];
        let fits = line.bytes.len() <= LINE_BYTES_MAX && self.text.split(line.bytes, &mut cells) == self.titles.len();
        let cells = fits.then(|| cells.map(trimmed));
        Ok(Some(Row { line_no, cells }))
    }

    /// What stands below the table, to the end of the file.
    pub fn foot(mut self) -> Result<Foot, ReadError> {
        let (mut totals, mut exported_at) = (Vec::new(), None);
        for _ in 0..FOOT_LINES_MAX {
            let line_no = self.lines.line_no() + 1;
            let Some(line) = self.lines.next_line()? else {
                let cut_off = || Refused::malformed(line_no, None, "the file is cut off: 导出时间 is missing");
                let exported_at = exported_at.ok_or_else(cut_off)?;
                return Ok(Foot { totals, exported_at, line_no: line_no - 1 });
            };
            whole(&line, self.text.charset)?;
            let text = normal(&self.text.charset.decode(line.bytes).unwrap_or_default());
            if text.is_empty() {
                continue;
            }
            if exported_at.is_some() || !text.starts_with('#') {
                return Err(Refused::malformed(line_no, None, "something follows the end of the list").into());
            }
            not_padded(line_no, &text)?;
            if text.starts_with("#导出时间") {
                let time = bracketed(&text, "#导出时间:").and_then(time);
                exported_at = Some(time.ok_or_else(|| Refused::malformed(line_no, None, "not a time of export"))?);
            } else {
                totals.push((line_no, text));
            }
        }
        let reason = format!("more than {FOOT_LINES_MAX} lines below the list");
        Err(Refused::malformed(self.lines.line_no(), None, reason).into())
    }
}

/// The next line as text, without its variants.
fn next_text(lines: &mut Lines<'_>, charset: Charset) -> Result<String, ReadError> {
    let line_no = lines.line_no() + 1;
    let Some(line) = lines.next_line()? else {
        return Err(Refused::malformed(line_no, None, "the file is cut off above its list").into());
    };
    whole(&line, charset)?;
    Ok(normal(&charset.decode(line.bytes).unwrap_or_default()))
}

/// Whether a line has its end, and all its bytes are of the encoding.
fn whole(line: &Line<'_>, charset: Charset) -> Result<(), Refused> {
    let is_long = line.bytes.len() > LINE_BYTES_MAX;
    // Of a long line there is only the beginning, which may end within a character.
    if !is_long && !line.bytes.is_ascii() && charset.first_malformed(line.bytes).is_some() {
        return Err(Refused::malformed(line.no, None, format!("not {}: malformed bytes", charset.as_str())));
    }
    match line.end {
        Some(_) => Ok(()),
        None => Err(Refused::malformed(line.no, None, "the file is cut off: its last line has no end")),
    }
}

fn begins_in_utf8(beginning: &[u8]) -> bool {
    let line = beginning.split(|byte| *byte == b'\n').next().unwrap_or_default();
    !line.is_ascii() && Charset::Utf8.decode(line).is_some_and(|text| text.contains("支付"))
}

/// Full-width signs as half-width ones, 帐 as 账, no blanks and TABs around.
fn normal(text: &str) -> String {
    let plain = |character| match character {
        '：' => ':',
        '（' => '(',
        '）' => ')',
        '，' => ',',
        '［' => '[',
        '］' => ']',
        '帐' => '账',
        other => other,
    };
    text.trim().chars().map(plain).collect()
}

/// The name of a column without its unit.
fn title(cell: &str) -> String {
    let name = cell.trim();
    let unit = name.strip_suffix("元)").and_then(|name| name.rfind('('));
    name[..unit.unwrap_or(name.len())].trim().to_owned()
}

/// What stands in the brackets behind a word.
fn bracketed<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let behind = &text[text.find(word)? + word.len()..];
    let (inside, _) = behind.strip_prefix('[')?.split_once(']')?;
    Some(inside)
}

fn time(text: &str) -> Option<NaiveDateTime> {
    NaiveDateTime::parse_from_str(text, "%Y年%m月%d日 %H:%M:%S").ok()
}

/// Whether a line is nothing but these words among dashes.
fn is_mark(text: &str, words: &str) -> bool {
    text.strip_prefix('#').is_some_and(|text| text.trim_matches('-') == words)
}

/// A spreadsheet gives every line as many commas as the widest one has.
fn not_padded(line_no: u64, text: &str) -> Result<(), Refused> {
    let reason = "commas behind the words: saved again by a spreadsheet";
    if text.ends_with(',') { Err(Refused::malformed(line_no, None, reason)) } else { Ok(()) }
}

/// The refusal of a line above the table, or within it.
fn misfit(line_no: u64, text: &str, what: &str) -> Refused {
    not_padded(line_no, text).err().unwrap_or_else(|| Refused::malformed(line_no, None, what))
}
