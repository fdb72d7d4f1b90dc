//! Words on a terminal: documents, numbers for people, progress.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use chrono::{DateTime, Utc};
use indicatif::{ProgressBar, ProgressStyle};
use rust_decimal::Decimal;
use serde::Serialize;

use crate::clock::SHANGHAI;
use crate::domain::rows::Rows;

/// One JSON document on stdout.
pub fn document(value: &impl Serialize) {
    let text = serde_json::to_string_pretty(value).expect("documents are plain JSON");
    // A reader that has gone away is no reason to fail.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A line for people. A reader that has gone away, as `head` does, is no reason to fail.
pub fn line(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// 1234567 → `1,234,567`
pub fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// `1234567.80` → `1,234,567.80`
pub fn grouped_yuan(sum: crate::domain::money::Money) -> String {
    let text = sum.to_string();
    let (yuan, decimals) = text.split_once('.').unwrap_or((&text, "00"));
    format!("{}.{decimals}", grouped(yuan.parse().unwrap_or(0)))
}

/// `-1234567.8` → `-1,234,567.80`
fn grouped_sum(sum: Decimal) -> String {
    let text = format!("{:.2}", sum.abs());
    let (yuan, decimals) = text.split_once('.').unwrap_or((&text, "00"));
    let sign = if sum.is_sign_negative() && !sum.is_zero() { "-" } else { "" };
    format!("{sign}{}.{decimals}", grouped(yuan.parse().unwrap_or(0)))
}

/// The first line of a block of figures.
pub fn figures_head(title: &str, what: &str) -> String {
    format!("{}{what:>12}{:>20}", padded(title, FIGURES_AT), "yuan")
}

/// A count and a sum under their head; what is said behind them may be of any length.
pub fn figures(label: &str, rows: Rows, behind: &str) -> String {
    let label = padded(&format!("  {label}"), FIGURES_AT);
    let line = format!("{label}{:>12}{:>20}  {behind}", grouped(rows.count), grouped_sum(rows.total));
    line.trim_end().to_owned()
}

/// Where the figures of a block begin.
const FIGURES_AT: usize = 36;

/// Columns of a table are not cut below this.
const COLUMN_MIN: usize = 8;

/// A table that fits the terminal: the widest columns give way. Elsewhere than on a terminal nothing is cut.
pub fn table(head: &[&str], rows: &[Vec<String>]) {
    let stdout = std::io::stdout();
    let room = if stdout.is_terminal() {
        rustix::termios::tcgetwinsize(&stdout).map_or(80, |size| usize::from(size.ws_col).max(40))
    } else {
        usize::MAX
    };
    let mut out = stdout.lock();
    for line in table_lines(head, rows, room) {
        // A reader that has gone away is no reason to fail.
        let _ = writeln!(out, "{line}");
    }
}

fn table_lines(head: &[&str], rows: &[Vec<String>], room: usize) -> Vec<String> {
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    let mut widths: Vec<usize> = head.iter().map(|name| width(name)).collect();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            widths[column] = widths[column].max(width(cell));
        }
    }
    let gaps = 2 * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > room {
        let Some(widest) = widths.iter_mut().max() else { break };
        if *widest <= COLUMN_MIN {
            break;
        }
        *widest -= 1;
    }
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| padded(cell, *width));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    std::iter::once(&head).chain(rows).map(line).collect()
}

/// Columns of text that is read, at most: longer lines are hard to follow.
const READING_MAX: usize = 100;

/// How wide text may be that is broken into lines.
pub fn reading_width() -> usize {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return READING_MAX;
    }
    rustix::termios::tcgetwinsize(&stdout).map_or(80, |size| usize::from(size.ws_col).clamp(40, READING_MAX))
}

/// Text in lines of at most so many columns: broken behind blanks and Chinese characters, never before a comma or the like.
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = text;
    while width(rest) > columns {
        let (mut used, mut fits, mut at) = (0, 0, None);
        let mut before = ' ';
        for (place, c) in rest.char_indices() {
            let may_break = (before == ' ' || char_width(before) == 2 || char_width(c) == 2)
                && c != ' '
                && !",。;:、)!?".contains(c)
                && !"(".contains(before);
            if place > 0 && may_break {
                at = Some(place);
            }
            if used + char_width(c) > columns {
                break;
            }
            used += char_width(c);
            fits = place + c.len_utf8();
            before = c;
        }
        let at = at.filter(|at| *at <= fits).unwrap_or(fits).max(1);
        lines.push(rest[..at].trim_end().to_owned());
        rest = rest[at..].trim_start();
    }
    lines.push(rest.to_owned());
    lines
}

/// A cell as wide as its column: filled with blanks, or cut with an ellipsis.
fn padded(cell: &str, column: usize) -> String {
    let mut text = String::new();
    let cut = width(cell) > column;
    let room = if cut { column.saturating_sub(1) } else { column };
    let mut used = 0;
    for c in cell.chars() {
        if used + char_width(c) > room {
            break;
        }
        used += char_width(c);
        text.push(c);
    }
    if cut {
        text.push('…');
        used += 1;
    }
    text.extend(std::iter::repeat_n(' ', column.saturating_sub(used)));
    text
}

fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

/// Chinese characters take two places.
fn char_width(c: char) -> usize {
    if ('\u{1100}'..='\u{115f}').contains(&c) || ('\u{2e80}'..='\u{ffe6}').contains(&c) && c != '\u{fffd}' {
        2
    } else {
        1
    }
}

/// Text of a sender's, without what a terminal would obey.
pub fn harmless(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// Of the day's own zone, to the second.
pub fn time(at: DateTime<Utc>) -> String {
    at.with_timezone(&SHANGHAI).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// A progress bar on a terminal, nothing elsewhere.
pub fn bar(what: &str, length: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = "{msg:12} {bar:30} {human_pos:>11}/{human_len:11} {per_sec:>14} {eta:>4}";
    let bar = ProgressBar::new(length).with_message(what.to_owned());
    bar.set_style(ProgressStyle::with_template(style).expect("a template of ours"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_where_a_reader_would_break_it() {
        let text = "委托扣款协议不包括该险种或金额超出协议限额(agreement_scope),以及其他";
        assert_eq!(wrapped(text, 44), ["委托扣款协议不包括该险种或金额超出协议限额", "(agreement_scope),以及其他"]);
        assert_eq!(wrapped("one two three", 8), ["one two", "three"]);
        assert_eq!(wrapped("a-word-that-is-too-long", 10), ["a-word-tha", "t-is-too-l", "ong"]);
        assert_eq!(wrapped("", 8), [""]);
    }

    #[test]
    fn a_table_is_cut_to_its_room_where_it_is_widest_and_nowhere_else() {
        let rows = vec![
            vec!["1".to_owned(), "pikou.inbox#amount.set".to_owned(), "不是 JSON 的消息不能理解".to_owned()],
            vec!["12345".to_owned(), "stdin:3".to_owned(), "missing".to_owned()],
        ];
        assert_eq!(
            table_lines(&["id", "origin", "reason"], &rows, usize::MAX),
            [
                "id     origin                  reason",
                "1      pikou.inbox#amount.set  不是 JSON 的消息不能理解",
                "12345  stdin:3                 missing",
            ]
        );
        let cut = table_lines(&["id", "origin", "reason"], &rows, 40);
        assert_eq!(
            cut,
            [
                "id     origin            reason",
                "1      pikou.inbox#amo…  不是 JSON 的消…",
                "12345  stdin:3           missing"
            ]
        );
        assert!(cut.iter().all(|line| width(line) <= 40));
    }
}
