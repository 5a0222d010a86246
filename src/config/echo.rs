//! The configuration as the log shows it at start: in the order of the file, values as Python
//! printed them for V2.99, secrets masked.

use serde_json::value::RawValue;

use crate::base::json::{self, JsonEntry, Value};
use crate::base::number;
use crate::base::text::Clean;
use crate::secret::mask;

/// A section of the file and its keys, for the log: `** [name] ** `, then a line for each key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section {
    /// The name of the section.
    pub name: String,
    /// Keys and values in the order of the file. Nothing in them needs masking or escaping any
    /// more.
    pub lines: Vec<(String, String)>,
}

/// Longest value that is shown, in characters.
const MAX_SHOWN: usize = 1000;

/// Deepest nesting that is shown.
const MAX_DEPTH: usize = 4;

pub(super) fn section(name: &str, entries: &[JsonEntry<'_>]) -> Section {
    let line = |entry: &JsonEntry<'_>| (clean(&entry.key), shown(&entry.key, entry.value));
    Section { name: clean(name), lines: entries.iter().map(line).collect() }
}

fn shown(key: &str, raw: &RawValue) -> String {
    if mask::is_secret(key) {
        return mask::HIDDEN.to_owned();
    }
    let value = json::decode(raw);
    let mut text = match &value {
        Value::Text(text) => mask::masked(key, text),
        other => written(key, other, MAX_DEPTH, Notation::Python),
    };
    // V2.99 turned these two into integers before it showed them: 2.0 is shown as 2.
    if matches!(key, "pingcount" | "pingwait")
        && let Some(number) = number::read(text.trim())
        && number.fract() == 0.0
        && number.abs() < 1e15
    {
        text = (number as i64).to_string();
    }
    clean(&text)
}

/// A value as JSON, masked as well, on one line.
pub(super) fn json(key: &str, raw: &RawValue) -> String {
    if mask::is_secret(key) {
        return format!("\"{}\"", mask::HIDDEN);
    }
    clean(&written(key, &json::decode(raw), MAX_DEPTH, Notation::Json))
}

/// How to write a value.
#[derive(Clone, Copy, PartialEq)]
enum Notation {
    Python,
    Json,
}

/// The value of a key, or of an entry of its list, in one of the notations.
fn written(of: &str, value: &Value<'_>, depth: usize, notation: Notation) -> String {
    let python = notation == Notation::Python;
    let quoted = |text: &str| match python {
        true => quoted(text),
        false => serde_json::to_string(text).unwrap_or_default(),
    };
    match value {
        Value::Null if python => "None".to_owned(),
        Value::Null => "null".to_owned(),
        Value::Flag(true) if python => "True".to_owned(),
        Value::Flag(false) if python => "False".to_owned(),
        Value::Flag(flag) => flag.to_string(),
        Value::Number(text) if python => number(text),
        Value::Number(text) => (*text).to_owned(),
        Value::Text(text) => quoted(&mask::masked(of, text)),
        Value::List(_) | Value::Object(_) if depth == 0 => "…".to_owned(),
        Value::List(list) => {
            let items: Vec<String> = list
                .iter()
                .map(|raw| written(of, &json::decode(raw), depth - 1, notation))
                .collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(object) => {
            let item = |(key, raw): &(String, &RawValue)| {
                let value = match json::decode(raw) {
                    _ if mask::is_secret(key) => quoted(mask::HIDDEN),
                    Value::Text(url) if of == "update" && key == "url" => {
                        quoted(&mask::host_only(&url))
                    }
                    value => written(key, &value, depth - 1, notation),
                };
                format!("{}: {value}", quoted(key))
            };
            format!("{{{}}}", object.iter().map(item).collect::<Vec<_>>().join(", "))
        }
        Value::Unreadable(_) => "…".to_owned(),
    }
}

/// Python's `repr` of a text, as far as quotes and backslashes go.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let text = text.replace('\\', r"\\");
    let text = if quote == '\'' { text.replace('\'', r"\'") } else { text };
    format!("{quote}{text}{quote}")
}

/// Integers as written, others as Python's `repr` of a float: the shortest digits that mean the
/// same number, with an exponent of two digits or more below 0.0001 and from 1e16 on.
fn number(text: &str) -> String {
    if text == "-0" {
        return "0".to_owned();
    }
    if !text.contains(['.', 'e', 'E']) {
        return text.to_owned();
    }
    let Some(n) = number::read(text) else {
        // It is too large for a number.
        return if text.starts_with('-') { "-inf" } else { "inf" }.to_owned();
    };
    let plain = number::shortest(n);
    if let Some((digits, exponent)) = plain.split_once("e-") {
        format!("{digits}e-{exponent:0>2}")
    } else if let Some((sign @ ("" | "-"), digits)) = plain.split_once("0.0000") {
        // Only Python writes these with an exponent as well.
        let (first, rest) = digits.split_at_checked(1).unwrap_or((digits, ""));
        let point = if rest.is_empty() { "" } else { "." };
        format!("{sign}{first}{point}{rest}e-05")
    } else {
        plain
    }
}

fn clean(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((at, _)) => format!("{}…", Clean(text.get(..at).unwrap_or(""))),
        None => Clean(text).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo(key: &str, json: &str) -> String {
        shown(key, serde_json::from_str(json).unwrap())
    }

    #[test]
    fn values_are_shown_as_python_shows_them() {
        // The right-hand sides are what Python 3 prints for json.loads of the left ones.
        for (json, text) in [
            ("true", "True"),
            ("false", "False"),
            ("null", "None"),
            ("10", "10"),
            ("10.0", "10.0"),
            ("1e1", "10.0"),
            ("0.1", "0.1"),
            ("-0", "0"),
            ("-0.0", "-0.0"),
            ("1E16", "1e+16"),
            ("1234567890123456e2", "1.234567890123456e+17"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("-0.0000123", "-1.23e-05"),
            ("100.00001", "100.00001"),
            ("1e-300", "1e-300"),
            ("1e999", "inf"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("\"Y\"", "Y"),
            ("\"\"", ""),
            ("[\"a\", 1, true, {\"k\": null}]", "['a', 1, True, {'k': None}]"),
            (r#""it's""#, "it's"),
            (r#"["it's", "\\"]"#, r#"["it's", '\\']"#),
        ] {
            assert_eq!(echo("x", json), text, "{json}");
        }
    }

    #[test]
    fn pingcount_and_pingwait_are_shown_as_the_integers_v299_made_of_them() {
        for (json, text) in [
            ("2.0", "2"),
            ("\"2\"", "2"),
            ("1", "1"),
            ("0.5", "0.5"),
            ("\"x\"", "x"),
            ("null", "None"),
        ] {
            assert_eq!(echo("pingwait", json), text);
        }
        assert_eq!(echo("interval", "2.0"), "2.0");
    }

    #[test]
    fn secrets_are_masked_at_any_depth() {
        let json = r#"{"url": "https://u:hunter2@h/p?k=hunter2", "headers": {"X": "hunter2"}, "list": [{"token": "hunter2"}],
            "urls": ["https://h/?hunter2"], "api_key": 5}"#;
        let text = echo("provider", json);
        assert!(!text.contains("hunter2") && !text.contains('5'), "{text}");
        assert!(text.contains("https://***@h/p?***"), "{text}");
        assert_eq!(echo("headers", r#"["hunter2"]"#), "***");
        let text =
            echo("update", r#"[{"type": "url", "url": "https://h.example/u/hunter2/{ip}"}]"#);
        assert_eq!(text, "[{'type': 'url', 'url': 'https://h.example/***'}]");
        assert_eq!(echo("password", "\"hunter2\""), "***");
    }

    #[test]
    fn a_value_cannot_forge_a_line_or_fill_the_log() {
        assert_eq!(echo("note", r#""a\nb\u001b[2J""#), r"a\nb\u{1b}[2J");
        assert!(echo("note", &format!("\"{}\"", "x".repeat(100_000))).len() < 1100);
        assert!(
            echo("note", &format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))).len() < 20
        );
    }
}
