//! `docs/CONTRACT.md` names every type, message and code, and none that there is not.

use std::collections::{BTreeMap, BTreeSet};

use pikou::contract::envelope::NotUnderstoodCode;
use pikou::contract::events::EventType;
use pikou::contract::inbound::MESSAGES;
use pikou::contract::refusal::RefusalCode;
use pikou::contract::schemas;
use pikou::domain::discrepancy::DiscrepancyKind;
use pikou::domain::eligibility::SkipReason;

fn page() -> String {
    std::fs::read_to_string(crate::root().join("docs/CONTRACT.md")).unwrap()
}

/// The lines below a heading, up to the next one.
fn section<'p>(page: &'p str, heading: &str) -> Vec<&'p str> {
    let mut lines = page.lines().skip_while(|line| *line != heading);
    assert!(lines.next().is_some(), "docs/CONTRACT.md has no section {heading}");
    lines.take_while(|line| !line.starts_with('#')).collect()
}

/// The cells of the table of a section, without its head.
fn table<'p>(page: &'p str, heading: &str) -> Vec<Vec<&'p str>> {
    let rows = section(page, heading).into_iter().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

fn words(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// What an event says, in a sentence, by its type.
pub fn events() -> BTreeMap<String, String> {
    let page = page();
    let mut told = BTreeMap::new();
    for row in table(&page, "### Types") {
        for name in words(row[0]) {
            assert!(told.insert(name.to_owned(), row[2].to_owned()).is_none(), "{name} is there twice");
        }
    }
    told
}

/// What a message says, in its first sentence, by its name.
pub fn messages() -> BTreeMap<String, String> {
    let page = page();
    let names = page.lines().skip_while(|line| *line != "## Messages in").skip(1);
    let names = names.take_while(|line| !line.starts_with("## ")).filter_map(|line| line.strip_prefix("### "));
    names
        .map(|name| {
            let text: Vec<&str> = section(&page, &format!("### {name}"))
                .into_iter()
                .skip(1)
                .take_while(|line| !line.is_empty())
                .collect();
            let text = text.join(" ");
            let sentence = text.split_once(". ").map_or(text.as_str(), |(first, _)| first);
            (name.to_owned(), format!("{}.", sentence.trim_end_matches('.')))
        })
        .collect()
}

fn set<'n>(names: impl IntoIterator<Item = &'n str>) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

#[test]
fn every_type_of_event_is_in_the_table_with_its_data() {
    assert_eq!(events().into_keys().collect::<BTreeSet<_>>(), set(EventType::ALL.iter().map(|kind| kind.as_str())));
    // The fields of each kind of data, without those that come and go with a `?`.
    let page = page();
    let fields: BTreeMap<&str, BTreeSet<String>> = table(&page, "### Fields of `data`")
        .into_iter()
        .map(|row| {
            let text = row[1..].join(" | ");
            // What is in brackets are the words of a field.
            let mut depth = 0;
            let plain: String = text
                .chars()
                .filter(|c| {
                    depth += i32::from(*c == '(') - i32::from(*c == ')');
                    depth == 0
                })
                .collect();
            (row[0], set(words(&plain)))
        })
        .collect();
    for row in table(&page, "### Types") {
        let data = row[3].split(';').next().unwrap().trim();
        let documented = fields.get(data).unwrap_or_else(|| panic!("no fields of {data}"));
        for name in words(row[0]) {
            let kind = EventType::ALL.iter().find(|kind| kind.as_str() == name).unwrap();
            let schema = schemas::event(*kind);
            let known = schema["properties"]["data"]["properties"].as_object().unwrap();
            assert_eq!(*documented, set(known.keys().map(String::as_str)), "{name}: fields of {data}");
        }
    }
}

#[test]
fn every_message_has_its_section_with_its_fields_and_its_example() {
    assert_eq!(messages().into_keys().collect::<BTreeSet<_>>(), set(MESSAGES.iter().copied()));
    let page = page();
    for name in MESSAGES.iter().copied() {
        let heading = format!("### {name}");
        let documented: Vec<&str> = table(&page, &heading).iter().flat_map(|row| words(row[0])).collect();
        let schema = schemas::message(name).unwrap();
        let known = schema["properties"]["data"]["properties"].as_object().unwrap();
        assert_eq!(set(documented), set(known.keys().map(String::as_str)), "{name}");
        let optional: BTreeSet<String> = known
            .iter()
            .filter(|(_, field)| field.get("anyOf").is_some_and(|any| any[1]["type"] == "null"))
            .map(|(field, _)| field.clone())
            .collect();
        let marked = table(&page, &heading).into_iter().filter(|row| row[0].contains("`?"));
        assert_eq!(set(marked.flat_map(|row| words(row[0]))), optional, "{name}: fields marked with ?");
        let example: String = section(&page, &heading)
            .into_iter()
            .skip_while(|line| *line != "```json")
            .skip(1)
            .take_while(|line| *line != "```")
            .collect();
        let example: serde_json::Value =
            serde_json::from_str(&example).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(jsonschema::is_valid(&schema, &example), "{name}: the example on the page");
    }
}

#[test]
fn every_code_is_in_its_table_with_its_sentences() {
    let page = page();
    let told: Vec<(String, String, String)> = table(&page, "## Answers")
        .into_iter()
        .filter(|row| row[0].starts_with('`') && row.len() == 3)
        .map(|row| (words(row[0])[0].to_owned(), row[1].to_owned(), row[2].to_owned()))
        .collect();
    let all: Vec<(String, String, String)> = RefusalCode::ALL
        .iter()
        .map(|code| (code.as_str().to_owned(), code.chinese().to_owned(), code.english().to_owned()))
        .collect();
    assert_eq!(told.iter().collect::<BTreeSet<_>>(), all.iter().collect::<BTreeSet<_>>());
    let line = section(&page, "## Answers").join(" ");
    let (_, codes) = line.split_once("**Codes of the quarantine.**").unwrap();
    for code in NotUnderstoodCode::ALL {
        assert!(words(codes).contains(&code.as_str()), "{}", code.as_str());
    }
    let reasons: Vec<Vec<&str>> = table(&page, "### Why a candidate was skipped");
    let reasons: Vec<(&str, &str, &str)> = reasons.iter().map(|row| (words(row[0])[0], row[1], row[2])).collect();
    assert_eq!(reasons, SkipReason::ALL.map(|reason| (reason.as_str(), reason.sentence(), reason.english())));
    let kinds = table(&page, "### Kinds of discrepancy");
    let kinds: Vec<&str> = kinds.iter().map(|row| words(row[0])[0]).collect();
    assert_eq!(kinds, DiscrepancyKind::ALL.map(DiscrepancyKind::as_str));
}
