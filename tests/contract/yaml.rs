//! A JSON document as YAML, for people to read: block style, quotes where a plain text could be taken for something else.

use std::fmt::Write as _;

use serde_json::Value;

/// `first` are the keys of the document that come first.
pub fn text(document: &Value, first: &[&str]) -> String {
    let mut out = String::new();
    let fields = document.as_object().unwrap();
    let rest = fields.keys().map(String::as_str).filter(|key| !first.contains(key));
    for key in first.iter().copied().filter(|key| fields.contains_key(*key)).chain(rest) {
        field(&mut out, 0, key, &fields[key]);
    }
    out
}

fn field(out: &mut String, depth: usize, key: &str, value: &Value) {
    let _ = write!(out, "{}{}:", "  ".repeat(depth), scalar(key));
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            out.push('\n');
            for (key, value) in fields {
                field(out, depth + 1, key, value);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            for item in items {
                element(out, depth + 1, item);
            }
        }
        plain => {
            let _ = writeln!(out, " {}", leaf(plain));
        }
    }
}

fn element(out: &mut String, depth: usize, value: &Value) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let mut block = String::new();
            for (key, value) in fields {
                field(&mut block, depth + 1, key, value);
            }
            let dash = format!("{}- ", "  ".repeat(depth));
            out.push_str(&block.replacen(&"  ".repeat(depth + 1), &dash, 1));
        }
        plain => {
            let _ = writeln!(out, "{}- {}", "  ".repeat(depth), leaf(plain));
        }
    }
}

fn leaf(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// A JSON text is a quoted text of YAML, too.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._/-".contains(c))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_ascii_lowercase().as_str());
    if plain { text.to_owned() } else { Value::from(text).to_string() }
}

#[test]
fn a_text_is_quoted_where_it_could_be_something_else() {
    let document =
        serde_json::json!({"b": [{"x": 1, "y": []}, "no", "a: b"], "a": {"3.0.0": "3.0.0", "$ref": "#/a"}, "z": true});
    let expected = "z: true\na:\n  \"$ref\": \"#/a\"\n  \"3.0.0\": \"3.0.0\"\nb:\n  - x: 1\n    \"y\": []\n  - \"no\"\n  - \"a: b\"\n";
    assert_eq!(text(&document, &["z"]), expected);
}
