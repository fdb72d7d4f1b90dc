//! Three layers become one tree: the defaults in the binary, the operator's file, the environment.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::Settings;
use super::sections::Tree;

const DEFAULT: &str = include_str!("../../config/default.toml");
const REGIONS: &[(&str, &str)] = &[
    ("beijing", include_str!("../../config/regions/beijing.toml")),
    ("guizhou", include_str!("../../config/regions/guizhou.toml")),
];
const CALENDARS: &[(&str, &str)] = &[
    ("2025", include_str!("../../config/calendar/2025.toml")),
    ("2026", include_str!("../../config/calendar/2026.toml")),
];
const GATEWAYS: &[(&str, &str)] = &[
    ("bank", include_str!("../../config/gateways/bank.toml")),
    ("alipay", include_str!("../../config/gateways/alipay.toml")),
    ("wechat_pay", include_str!("../../config/gateways/wechat_pay.toml")),
    ("unionpay", include_str!("../../config/gateways/unionpay.toml")),
];

/// Keys of the environment look like `PIKOU__DATABASE__URL`.
const PREFIX: &str = "PIKOU__";

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the settings in {path}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("{} in the settings:\n  {}", count(.0), .0.join("\n  "))]
    Mistakes(Vec<String>),
}

fn count(mistakes: &[String]) -> String {
    if mistakes.len() == 1 { "1 mistake".into() } else { format!("{} mistakes", mistakes.len()) }
}

/// Loads the settings. `environment` is that of the process, or a test's.
pub fn load(file: Option<&Path>, environment: impl Iterator<Item = (String, String)>) -> Result<Settings, ConfigError> {
    load_layers(file.as_slice(), environment)
}

/// Loads the settings of several files: what a later one says counts.
pub fn load_layers(
    files: &[&Path],
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Settings, ConfigError> {
    let mut mistakes = Vec::new();
    let defaults = shipped();
    let mut layers = Vec::new();
    for &path in files {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
        match text.parse::<Table>() {
            Ok(table) => layers.push((path.display().to_string(), table)),
            Err(error) => mistakes.push(format!("{}: {}", path.display(), error.to_string().trim_end())),
        }
    }
    let from_environment = environment_layer(environment, &defaults);
    layers.push(("environment".into(), from_environment));

    // Each given key is tried alone on top of the defaults: so every mistake is found, not just the first.
    for (origin, layer) in &layers {
        for (path, value) in leaves(layer, &defaults) {
            let mut tree = defaults.clone();
            put(&mut tree, &path, value.clone());
            if let Err(error) = tree.try_into::<Tree>() {
                let message = error.message().to_owned();
                mistakes.push(format!("{}: {message} ({origin})", path.join(".")));
            }
        }
    }
    if !mistakes.is_empty() {
        return Err(ConfigError::Mistakes(mistakes));
    }
    let mut tree = defaults;
    for (_, layer) in layers {
        merge(&mut tree, layer);
    }
    let in_force = masked(&tree);
    let settings = match tree.try_into::<Tree>() {
        Ok(tree) => tree.check(in_force, &mut mistakes),
        Err(error) => {
            mistakes.push(error.message().to_owned());
            None
        }
    };
    settings.ok_or(ConfigError::Mistakes(mistakes))
}

/// Every key of the shipped settings, dotted: for the test that each is explained.
pub fn shipped_keys() -> Vec<String> {
    let table = shipped();
    leaves(&table, &table).into_iter().map(|(path, _)| path.join(".")).collect()
}

fn shipped() -> Table {
    let parse = |text: &str| text.parse::<Table>().expect("the shipped settings are TOML");
    let mut tree = parse(DEFAULT);
    for (section, files) in [("regions", REGIONS), ("calendar", CALENDARS), ("gateways", GATEWAYS)] {
        let tables = files.iter().map(|(name, text)| ((*name).to_owned(), Value::Table(parse(text))));
        tree.insert(section.into(), Value::Table(tables.collect()));
    }
    tree
}

/// A text of the environment becomes the kind of value that the default is.
fn environment_layer(environment: impl Iterator<Item = (String, String)>, defaults: &Table) -> Table {
    let mut layer = Table::new();
    for (key, text) in environment {
        let Some(path) = key.strip_prefix(PREFIX) else { continue };
        let path: Vec<String> = path.split("__").map(str::to_lowercase).collect();
        let is_text = matches!(get(defaults, &path), Some(Value::String(_)));
        let parsed =
            if is_text { None } else { format!("v = {text}").parse::<Table>().ok().and_then(|mut t| t.remove("v")) };
        put(&mut layer, &path, parsed.unwrap_or(Value::String(text)));
    }
    layer
}

/// The values of a layer with their paths. A table that the defaults do not know (another region, another bank) is
/// one value: its keys make sense only together.
fn leaves<'t>(layer: &'t Table, defaults: &Table) -> Vec<(Vec<String>, &'t Value)> {
    let mut found = Vec::new();
    for (key, value) in layer {
        match (value, defaults.get(key)) {
            (Value::Table(below), Some(Value::Table(known))) => {
                for (mut path, value) in leaves(below, known) {
                    path.insert(0, key.clone());
                    found.push((path, value));
                }
            }
            _ => found.push((vec![key.clone()], value)),
        }
    }
    found
}

fn get<'t>(table: &'t Table, path: &[String]) -> Option<&'t Value> {
    let (key, rest) = path.split_first()?;
    match (table.get(key)?, rest) {
        (value, []) => Some(value),
        (Value::Table(below), rest) => get(below, rest),
        _ => None,
    }
}

fn put(table: &mut Table, path: &[String], value: Value) {
    let [key, rest @ ..] = path else { return };
    if rest.is_empty() {
        table.insert(key.clone(), value);
        return;
    }
    let below = table.entry(key.clone()).or_insert_with(|| Value::Table(Table::new()));
    if !below.is_table() {
        *below = Value::Table(Table::new());
    }
    if let Value::Table(below) = below {
        put(below, rest, value);
    }
}

fn merge(into: &mut Table, layer: Table) {
    for (key, value) in layer {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// The tree with passwords in URLs replaced.
fn masked(tree: &Table) -> Table {
    let mut tree = tree.clone();
    for section in ["database", "broker"] {
        let url = tree.get_mut(section).and_then(|section| section.get_mut("url"));
        if let Some(Value::String(url)) = url {
            *url = mask(url);
        }
    }
    tree
}

fn mask(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let Some((user, host)) = rest.rsplit_once('@') else { return url.to_owned() };
    let user = user.split(':').next().unwrap_or_default();
    format!("{scheme}://{user}:***@{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(environment: &[(&str, &str)], file: &str) -> Result<Settings, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pikou.toml");
        std::fs::write(&path, file).unwrap();
        let environment = environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        load(Some(&path), environment)
    }

    #[test]
    fn the_defaults_ask_for_no_server() {
        let settings = load(None, std::iter::empty()).unwrap();
        assert_eq!((settings.database.url.as_str(), settings.broker.url.as_str()), ("embedded", "embedded"));
        assert!(settings.schedules.contains_key("beijing_resident_pension"));
    }

    #[test]
    fn the_environment_beats_the_file_and_the_file_the_defaults() {
        let file = "[intake]\nbatch_max = 7\nbatch_wait_ms = 8\n";
        let settings = with(&[("PIKOU__INTAKE__BATCH_MAX", "9")], file).unwrap();
        assert_eq!((settings.intake.batch_max, settings.intake.batch_wait_ms), (9, 8));
        assert_eq!(settings.intake.message_max_bytes, 262_144);
    }

    #[test]
    fn of_several_files_the_later_one_counts() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["first.toml", "second.toml"].map(|name| folder.path().join(name));
        std::fs::write(&paths[0], "[intake]\nbatch_max = 7\nbatch_wait_ms = 8\n").unwrap();
        std::fs::write(&paths[1], "[intake]\nbatch_max = 9\n").unwrap();
        let settings = load_layers(&[&paths[0], &paths[1]], std::iter::empty()).unwrap();
        assert_eq!((settings.intake.batch_max, settings.intake.batch_wait_ms), (9, 8));
    }

    #[test]
    fn all_mistakes_are_reported_at_once() {
        let file = "[intake]\nbatch_max = \"many\"\nbatch_min = 1\n[nonsense]\nx = 1\n";
        let error = with(&[("PIKOU__RUN__RANGE_MAX", "all")], file).unwrap_err().to_string();
        for key in ["intake.batch_max", "intake.batch_min", "nonsense", "run.range_max"] {
            assert!(error.contains(key), "{key} is not in: {error}");
        }
        assert!(error.starts_with("4 mistakes"), "{error}");
        let file = "[intake]\nbatch_max = 0\n[run]\nrange_max = 0\n[schedules.beijing_resident_pension]\ncron = [\"0 9 15 * 1\"]\n";
        let error = with(&[("PIKOU__LOG__FORMAT", "xml")], file).unwrap_err().to_string();
        for key in ["intake.batch_max", "run.range_max", "cron", "log.format"] {
            assert!(error.contains(key), "{key} is not in: {error}");
        }
    }

    #[test]
    fn another_region_and_bank_are_added_to_the_shipped_ones() {
        let file = "[regions.guiyang]\nname = \"贵阳市\"\ndivision_prefix = \"5201\"\n\
                    [regions.guiyang.insurance.resident_pension]\nrule = \"tiers\"\ntiers = [\"300.00\"]\n\
                    window_from = \"02-01\"\nwindow_to = \"11-30\"\nfuture_years = 0\nretry_runs = 2\n\
                    [gateways.bank.banks.999]\nname = \"示例银行\"\n";
        let settings = with(&[], file).unwrap();
        assert_eq!(settings.regions.of("520102").unwrap().name, "guiyang");
        assert!(settings.bank.bank("999").is_some() && settings.bank.bank("102").is_some());
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(mask("postgres://me:se:cr@et@db:5432/x"), "postgres://me:***@db:5432/x");
        assert_eq!(mask("embedded"), "embedded");
    }
}
