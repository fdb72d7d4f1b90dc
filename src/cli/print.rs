//! Words on a terminal: documents, numbers for people, progress.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// One JSON document on stdout.
pub fn document(value: &impl Serialize) {
    let text = serde_json::to_string_pretty(value).expect("documents are plain JSON");
    // A reader that has gone away is no reason to fail.
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
