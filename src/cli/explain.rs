//! `pikou explain`: the whole story of a payer, for a clerk on the phone.

use serde_json::json;

use super::print::{harmless, reading_width, time, wrapped};
use super::{Failure, print};
use crate::contract::story::{Language, Story};
use crate::stages::Context;
use crate::stages::explain::{self, Question};

#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// Whose story
    #[arg(long, value_name = "PAYER_ID")]
    payer: String,
    /// Only of this year, and what has none, such as agreements
    #[arg(long, value_name = "YYYY", value_parser = clap::value_parser!(i16).range(2000..=2999))]
    year: Option<i16>,
    /// Only of this insurance type, and what has none
    #[arg(long = "type", value_name = "INSURANCE_TYPE")]
    insurance_type: Option<String>,
    /// zh or en [default: that of LC_ALL, LC_MESSAGES or LANG]
    #[arg(long, value_name = "LANGUAGE", value_parser = language)]
    language: Option<Language>,
}

fn language(text: &str) -> Result<Language, String> {
    Language::parse(text).ok_or_else(|| "one of zh, en".to_owned())
}

impl ExplainArgs {
    /// As asked for, or as the terminal speaks.
    pub fn language(&self, environment: &[(String, String)]) -> Language {
        let of = |name: &str| environment.iter().find(|(key, value)| key == name && !value.is_empty());
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(of);
        self.language.unwrap_or_else(|| Language::of_locale(locale.map_or("", |(_, value)| value)))
    }
}

pub async fn explain(ctx: Context, args: &ExplainArgs, language: Language, json: bool) -> Result<(), Failure> {
    if let Some(of) = &args.insurance_type
        && !ctx.settings.insurance_types.iter().any(|known| known.0 == *of)
    {
        return Err(Failure::Usage(format!("there is no insurance type {of} in the settings")));
    }
    let question =
        Question { payer_id: args.payer.clone(), insurance_type: args.insurance_type.clone(), valid_year: args.year };
    let story = explain::explain(&ctx, &question).await?;
    if json {
        print::document(&document(&story, language)?);
    } else {
        for line in lines(&story, language, reading_width()) {
            println!("{line}");
        }
    }
    Ok(())
}

/// The story with its sentences beside the entries.
fn document(story: &Story, language: Language) -> Result<serde_json::Value, Failure> {
    let mut document = serde_json::to_value(story).map_err(anyhow::Error::from)?;
    for (entry, told) in story.entries.iter().zip(document["entries"].as_array_mut().into_iter().flatten()) {
        told["sentences"] = json!(entry.sentences(language));
    }
    document["now"] = json!(story.standing(language));
    document["notes"] = json!(story.notes(language));
    Ok(document)
}

/// Where sentences begin: behind the time.
const INDENT: usize = 12;

fn lines(story: &Story, language: Language, columns: usize) -> Vec<String> {
    let mut lines = vec![harmless(&story.title(language))];
    let mut day = String::new();
    for entry in &story.entries {
        let at = time(entry.at);
        let (date, clock) = at.split_at(10);
        if date != day {
            date.clone_into(&mut day);
            lines.extend([String::new(), day.clone()]);
        }
        let mut before = format!("  {:<10}", clock.trim());
        for sentence in entry.sentences(language) {
            for part in wrapped(&harmless(&sentence), columns - INDENT) {
                lines.push(format!("{before}{part}"));
                before = " ".repeat(INDENT);
            }
        }
    }
    let standing = story.standing(language);
    if !standing.is_empty() {
        lines.extend([String::new(), story.heading_of_now(language).to_owned()]);
    }
    for sentence in standing {
        let mut before = "  ";
        for part in wrapped(&harmless(&sentence), columns - 4) {
            lines.push(format!("{before}{part}"));
            before = "    ";
        }
    }
    let notes = story.notes(language);
    if !notes.is_empty() {
        lines.push(String::new());
    }
    lines.extend(notes);
    lines
}
