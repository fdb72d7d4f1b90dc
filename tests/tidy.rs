//! The layout, held against what the sources say: who may use whom, who opens transactions, how long a file is, and
//! that every setting is explained. `docs/ARCHITECTURE.md` gives the reasons.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module of the crate, the modules it may use, and words that must not occur in it.
const MODULES: [(&str, &[&str], &[&str]); 19] = [
    ("domain", &[], &["sqlx", "lapin", "serde", "tokio", "async ", "rand::", "tracing", "std::fs", "std::net"]),
    ("contract", &["domain"], &["sqlx", "lapin", "tokio", "async "]),
    ("store", &["contract", "domain"], &["lapin", "csv::", ".begin(", ".commit(", ".rollback(", "\"BEGIN", "\"COMMIT"]),
    ("gateway", &["domain"], &["sqlx", "lapin", "tokio", "async ", "std::fs"]),
    ("broker", &[], &["sqlx"]),
    ("schedule", &["domain"], &["sqlx", "lapin", "tokio", "async "]),
    (
        "stages",
        &["broker", "clock", "config", "contract", "crypt", "domain", "gateway", "schedule", "store"],
        &["lapin", "csv::", "sqlx::query", "SELECT ", "UPDATE ", "INSERT "],
    ),
    (
        "worker",
        &["app", "broker", "clock", "config", "contract", "domain", "gateway", "schedule", "stages", "store"],
        &["sqlx::query", "lapin", "csv::"],
    ),
    (
        "cli",
        &[
            "app",
            "clock",
            "config",
            "contract",
            "crypt",
            "demo",
            "domain",
            "fixtures",
            "gateway",
            "schedule",
            "stages",
            "store",
            "telemetry",
            "worker",
        ],
        &["sqlx", "lapin", "csv::"],
    ),
    (
        "fixtures",
        &["app", "clock", "config", "crypt", "domain", "embedded", "gateway", "stages", "store", "worker"],
        &["sqlx::query", "lapin", "csv::"],
    ),
    (
        "demo",
        &["app", "broker", "clock", "config", "contract", "crypt", "domain", "gateway", "stages", "store", "worker"],
        &[],
    ),
    ("app", &["broker", "clock", "config", "crypt", "embedded", "stages", "store"], &[]),
    ("config", &["crypt", "domain", "gateway", "schedule"], &["sqlx", "lapin", "tokio"]),
    ("crypt", &[], &["sqlx", "lapin", "tokio"]),
    ("clock", &[], &["sqlx", "lapin", "tokio"]),
    ("embedded", &[], &["lapin"]),
    ("telemetry", &["broker", "config"], &["sqlx", "lapin"]),
    ("lib", &[], &[]),
    ("main", &[], &[]),
];

/// Each knows nothing of the others; what they share is in `abreast`, `aside`, `bill`, `decider`, `firing`, `judging`, `lease`,
/// `telling` and `turning`.
const STAGES: [&str; 18] = [
    "absence",
    "fire",
    "intake",
    "preview",
    "plan",
    "release",
    "cancel",
    "seal",
    "deliver",
    "explain",
    "reconcile",
    "resolve",
    "undo",
    "publish",
    "hold",
    "quarantine",
    "rebuild",
    "rekey",
];
const LINES_MAX: usize = 450;

/// The sources with their module, comments and unit tests left out.
fn sources() -> Vec<(PathBuf, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap();
                let code: String = code
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"))
                    .map(|line| format!("{line}\n"))
                    .collect();
                let path = path.strip_prefix(&root).unwrap().to_owned();
                let first = path.iter().next().unwrap().to_string_lossy();
                let module = first.trim_end_matches(".rs").to_owned();
                found.push((path, module, code));
            }
        }
    }
    found.sort();
    assert!(found.len() > 50, "the sources are found");
    found
}

/// The names that follow `prefix`, those in braces one by one: `crate::{a::b, c}` gives a and c.
fn named_after<'c>(code: &'c str, prefix: &str) -> BTreeSet<&'c str> {
    let ident = |text: &'c str| text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            names.insert(ident(rest));
            continue;
        };
        let (mut depth, mut begin) = (1, 0);
        for (place, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 || (depth == 1 && c == ',') {
                names.insert(ident(list[begin..place].trim_start()));
                begin = place + 1;
            }
            if depth == 0 {
                break;
            }
        }
    }
    names.remove("");
    names
}

#[test]
fn the_names_of_a_use_are_read_whatever_its_form() {
    let code =
        "use crate::a;\nuse crate::{b::{x, y}, c};\nlet z = crate::d::e();\nuse othercrate::f;\nuse super::{g, h::i};";
    assert_eq!(named_after(code, "crate::"), BTreeSet::from(["a", "b", "c", "d"]));
    assert_eq!(named_after(code, "super::"), BTreeSet::from(["g", "h"]));
}

#[test]
fn every_module_uses_only_what_it_may() {
    let rules: BTreeMap<&str, _> = MODULES.iter().map(|(name, may, never)| (*name, (*may, *never))).collect();
    let mut wrong = Vec::new();
    for (path, module, code) in sources() {
        let path = path.display();
        let Some((may, never)) = rules.get(module.as_str()) else {
            wrong.push(format!("{path}: module {module} is in no table of tests/tidy.rs"));
            continue;
        };
        for used in named_after(&code, "crate::") {
            if used != module && rules.contains_key(used) && !may.contains(&used) {
                wrong.push(format!("{path}: {module} may not use {used}"));
            }
        }
        for word in *never {
            if code.contains(word) {
                wrong.push(format!("{path}: {module} must not contain {word:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_stage_uses_another() {
    let mut wrong = Vec::new();
    for (path, module, code) in sources() {
        let Some(own) = path.iter().nth(1).filter(|_| module == "stages") else { continue };
        let own = own.to_string_lossy().trim_end_matches(".rs").to_owned();
        if own == "mod" {
            continue;
        }
        let inside = path.iter().count() > 2;
        let mut used = named_after(&code, "crate::stages::");
        used.extend(named_after(&code, if inside { "super::super::" } else { "super::" }));
        wrong.extend(
            used.into_iter()
                .filter(|name| STAGES.contains(name) && *name != own)
                .map(|name| format!("{own} uses {name}")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_stages_open_transactions_and_only_the_clock_asks_for_the_time() {
    let mut wrong = Vec::new();
    for (path, module, code) in sources() {
        let transacts = [".begin(", ".begin_with("].iter().any(|word| code.contains(word));
        if transacts && module != "stages" {
            wrong.push(format!("{} opens a transaction", path.display()));
        }
        let asks = ["Utc::now", "Local::now", "SystemTime::now"].iter().any(|word| code.contains(word));
        if asks && module != "clock" {
            wrong.push(format!("{} asks for the time", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is written is sealed by the context's `sealer`, which asks whether the key is retired. The intake seals before
/// its transaction, and asks then; the others only name the key.
#[test]
fn nobody_seals_with_a_key_that_may_be_retired() {
    let may = ["stages/mod.rs", "stages/intake/mod.rs", "stages/rekey.rs", "cli/keys.rs"].map(PathBuf::from);
    let found: BTreeSet<PathBuf> = sources()
        .into_iter()
        .filter(|(_, module, code)| {
            module != "crypt" && (code.contains("keys.current()") || code.contains("keys.look()"))
        })
        .map(|(path, _, _)| path)
        .collect();
    assert_eq!(found, BTreeSet::from(may));
}

#[test]
fn the_bank_of_the_demo_knows_only_files() {
    let bank: Vec<_> = sources()
        .into_iter()
        .filter(|(path, _, _)| path.starts_with("demo/bank") || path.ends_with("demo/bank.rs"))
        .collect();
    assert!(!bank.is_empty());
    for (path, _, code) in bank {
        assert_eq!(named_after(&code, "crate::"), BTreeSet::new(), "{}", path.display());
    }
}

#[test]
fn no_file_is_longer_than_one_idea() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lines = |path: &Path| fs::read_to_string(root.join(path)).unwrap().lines().count();
    let long: Vec<_> = sources()
        .into_iter()
        .map(|(path, _, _)| (lines(&path), path))
        .filter(|(count, _)| *count > LINES_MAX)
        .collect();
    assert_eq!(long, []);
}

/// Each key of a file of settings, dotted, and whether it is explained: by a comment above its block of keys, or by
/// its name in one.
fn keys_of(prefix: &str, text: &str) -> BTreeMap<String, bool> {
    let mut section = String::new();
    let mut comments = String::new();
    let mut above = false;
    let mut keys = BTreeMap::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix('#') {
            comments.push_str(comment);
            comments.push('\n');
            above = true;
        } else if let Some(name) = line.strip_prefix('[') {
            // A key in Chinese stands in quotes.
            section = format!("{}.", name.trim_end_matches(']').replace('"', ""));
        } else if line.starts_with(' ') || line == "]" {
            // Within a list.
        } else if let Some((key, _)) = line.split_once(" = ") {
            let named = comments.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == key);
            keys.insert(format!("{prefix}{section}{key}"), above || named);
        } else {
            above = false;
        }
    }
    keys
}

#[test]
fn every_setting_is_explained_where_it_stands() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let mut keys = keys_of("", &read(&root.join("default.toml")));
    for folder in ["regions", "calendar", "gateways"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy();
            keys.extend(keys_of(&format!("{folder}.{name}."), &read(&path)));
        }
    }
    let shipped: BTreeSet<String> = pikou::config::shipped_keys().into_iter().collect();
    assert_eq!(keys.keys().cloned().collect::<BTreeSet<_>>(), shipped, "every key is read by this test");
    let silent: Vec<&String> = keys.iter().filter(|(_, explained)| !**explained).map(|(key, _)| key).collect();
    assert!(silent.is_empty(), "not explained: {silent:?}");
}
