//! Changing a configuration's text, and showing what it means. A change touches the value that it
//! is about: comments, order, and keys that imon does not know stay as they are.

use std::rc::Rc;

use serde_json::value::RawValue;

use super::schema::{Key, ValueKind, schema};
use super::value::Setting;
use super::{ConfigProblem, SettingPlace, echo, section_names, value};
use crate::base::json::{Document, Fault, JsonEntry};
use crate::base::number::Plain;
use crate::base::text::{Clean, nearest};

/// The setting of this name, `section.key`.
///
/// # Errors
/// There is none; the nearest one is named.
pub fn key(name: &str) -> Result<&'static Key, String> {
    let full = |key: &Key| format!("{}.{}", key.section, key.name);
    if let Some(key) = schema().iter().find(|key| full(key) == name) {
        return Ok(key);
    }
    let all: Vec<String> = schema().iter().map(full).collect();
    // The key alone, where it is in one section only.
    let mut short = schema().iter().filter(|key| key.name == name);
    let near = match (short.next(), short.next()) {
        (Some(key), None) => Some(full(key)),
        _ => nearest(name, all.iter().map(String::as_str)).map(str::to_owned),
    };
    let hint = near.map_or_else(
        || "it is SECTION.KEY, such as failover.metric".to_owned(),
        |n| format!("did you mean '{n}'?"),
    );
    Err(format!("There is no setting '{}': {hint}", Clean(name)))
}

/// A value as JSON, from what a person writes on a command line: numbers and `true` as they are,
/// text without quotes; a list or an object as JSON.
///
/// # Errors
/// It is not a value of the setting.
pub fn value(key: &Key, text: &str) -> Result<String, String> {
    let is = |kinds: &str| text.trim_start().starts_with(|c| kinds.contains(c));
    let raw = match key.kind {
        ValueKind::Flag => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "y" | "on" | "1" => "true".to_owned(),
            "false" | "no" | "n" | "off" | "0" => "false".to_owned(),
            _ => serde_json::to_string(text).unwrap_or_default(),
        },
        ValueKind::Seconds { .. } | ValueKind::Count { .. } | ValueKind::Number { .. }
            if serde_json::from_str::<f64>(text.trim()).is_ok() =>
        {
            text.trim().to_owned()
        }
        // `[::1]` is an address, and `[{` a list that is not closed: the error is about that.
        ValueKind::Hosts { .. }
        | ValueKind::Targets { .. }
        | ValueKind::Sources { .. }
        | ValueKind::Families
        | ValueKind::Events
        | ValueKind::Updates { .. }
            if is("[{") && (is("{") || text.contains('"') || text.trim() == "[]") =>
        {
            text.trim().to_owned()
        }
        ValueKind::Families => {
            let families: Vec<&str> = text.split(',').map(str::trim).collect();
            serde_json::to_string(&families).unwrap_or_default()
        }
        _ => serde_json::to_string(text).unwrap_or_default(),
    };
    check(key, &raw).map(|()| raw)
}

/// Whether JSON is a good value of the setting.
///
/// # Errors
/// Why it is not.
pub fn check(key: &Key, raw: &str) -> Result<(), String> {
    let parsed: &RawValue =
        serde_json::from_str(raw).map_err(|_| format!("{} is not valid JSON", key.name))?;
    match value::read(key, parsed).errors.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// The value that counts of a setting, as it is written. `None`: it is not there, or the text
/// cannot be read.
#[must_use]
pub fn raw(text: &[u8], section: &str, name: &str) -> Option<String> {
    let document = Document::new(text).ok()?;
    let root = document.root().ok()?;
    let entries =
        document.entries(root.iter().rfind(|entry| entry.key == section)?.value).ok()??;
    entries.iter().rfind(|entry| entry.key == name).map(|entry| entry.value.get().to_owned())
}

/// The value that counts of a flag, in whatever spelling. `None`: it is not there, or is none.
#[must_use]
pub fn flag(text: &[u8], section: &str, name: &str) -> Option<bool> {
    let key = key(&format!("{section}.{name}")).ok()?;
    let raw = raw(text, section, name)?;
    match value::read(key, serde_json::from_str(&raw).ok()?).setting {
        Some(Setting::Flag(flag)) => Some(flag),
        _ => None,
    }
}

/// Whether the text can be changed value by value: it can be read, and the sections that imon knows
/// are objects.
///
/// # Errors
/// What is wrong, and where.
pub fn readable(file: &str, text: &[u8]) -> Result<(), ConfigProblem> {
    effective(file, text).map(|_| ())
}

/// Sets a value (JSON, which [`check`] has found good) in a configuration's text.
///
/// # Errors
/// The text cannot be read as it is.
pub fn set(file: &str, text: &str, key: &Key, raw: &str) -> Result<String, ConfigProblem> {
    let (mark, text) = text.strip_prefix('\u{feff}').map_or(("", text), |rest| ("\u{feff}", rest));
    let edited = edit(text, key, raw).map_err(|fault| ConfigProblem {
        message: fault.message,
        place: SettingPlace { file: Rc::from(file), line: Some(fault.line), key: fault.key },
    })?;
    Ok(format!("{mark}{edited}"))
}

fn edit(text: &str, key: &Key, raw: &str) -> Result<String, Fault> {
    let document = Document::new(text.as_bytes())?;
    let root = document.root()?;
    let replaced = |range: std::ops::Range<usize>, with: &str| {
        let (before, after) =
            (text.get(..range.start).unwrap_or(""), text.get(range.end..).unwrap_or(""));
        format!("{before}{with}{after}")
    };
    let quoted = serde_json::to_string(key.name).unwrap_or_default();
    // Of several sections of a name, and keys, the last one counts.
    let Some(section) = root.iter().rfind(|entry| entry.key == key.section) else {
        let new = format!("\"{}\": {{\n        {quoted}: {raw}\n    }}", key.section);
        let at = after_last(&document, text, 0..text.len(), &root);
        return Ok(replaced(at.clone(), &inserted(&root, "    ", &new, "")));
    };
    let Some(entries) = document.entries(section.value)? else {
        return Err(no_object(section));
    };
    if let Some(range) =
        entries.iter().rfind(|e| e.key == key.name).and_then(|e| document.range(e.value))
    {
        return Ok(replaced(range, raw));
    }
    let whole = document.range(section.value).unwrap_or(0..0);
    let at = after_last(&document, text, whole, &entries);
    Ok(replaced(at, &inserted(&entries, "        ", &format!("{quoted}: {raw}"), "    ")))
}

/// Where something is added to an object: behind its last value, or, if it has none, before its
/// closing brace.
fn after_last(
    document: &Document,
    text: &str,
    object: std::ops::Range<usize>,
    entries: &[JsonEntry<'_>],
) -> std::ops::Range<usize> {
    if let Some(last) = entries.last().and_then(|entry| document.range(entry.value)) {
        return last.end..last.end;
    }
    // Comments may have braces in them, and stay.
    let plain = document.plain().get(object.clone()).unwrap_or("");
    let close = plain.rfind('}').map_or(object.end, |at| object.start + at);
    text.get(..close).map_or(close, |before| before.trim_ascii_end().len())..close
}

fn inserted(entries: &[JsonEntry<'_>], indent: &str, new: &str, outer: &str) -> String {
    if entries.is_empty() {
        format!("\n{indent}{new}\n{outer}")
    } else {
        format!(",\n{indent}{new}")
    }
}

/// One setting as it is in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Effective {
    /// `section.key`.
    pub name: String,
    /// Its value as JSON, secrets masked.
    pub value: String,
    /// The line that says so; `None`: a default.
    pub line: Option<usize>,
    /// imon does not know it.
    pub unknown: bool,
    /// What is wrong with what stands there.
    pub wrong: Option<String>,
}

/// All settings: what the text says, as imon takes it (`"Y"` is true), else the defaults; and what
/// else it says.
///
/// # Errors
/// The text cannot be read, or a section is no object.
pub fn effective(file: &str, text: &[u8]) -> Result<Vec<Effective>, ConfigProblem> {
    let problem = |fault: Fault| ConfigProblem {
        message: fault.message,
        place: SettingPlace { file: Rc::from(file), line: Some(fault.line), key: fault.key },
    };
    let document = Document::new(text).map_err(problem)?;
    let root = document.root().map_err(problem)?;
    let mut all = Vec::new();
    for section in section_names() {
        let entries = match root.iter().rfind(|entry| entry.key == section) {
            Some(entry) => document
                .entries(entry.value)
                .map_err(problem)?
                .ok_or_else(|| problem(no_object(entry)))?,
            None => Vec::new(),
        };
        for key in schema().iter().filter(|key| key.section == section) {
            let entry = entries.iter().rfind(|entry| entry.key == key.name);
            let mut reading = entry.map(|e| value::read(key, e.value)).unwrap_or_default();
            let value = match (entry, reading.setting.as_ref().and_then(plain)) {
                (Some(_), Some(plain)) => plain,
                (Some(e), None) => echo::json(&e.key, e.value),
                (None, _) => key.default.to_owned(),
            };
            let wrong = (!reading.errors.is_empty()).then(|| reading.errors.swap_remove(0));
            let name = format!("{section}.{}", key.name);
            all.push(Effective { name, value, line: entry.map(|e| e.line), unknown: false, wrong });
        }
        let known = |e: &JsonEntry<'_>| {
            schema().iter().any(|key| key.section == section && key.name == e.key)
        };
        for e in entries.iter().filter(|e| !known(e)) {
            let (name, value) =
                (format!("{section}.{}", Clean(&e.key)), echo::json(&e.key, e.value));
            all.push(Effective { name, value, line: Some(e.line), unknown: true, wrong: None });
        }
    }
    for e in root.iter().filter(|e| !section_names().any(|section| section == e.key)) {
        let (name, value) = (Clean(&e.key).to_string(), echo::json(&e.key, e.value));
        all.push(Effective { name, value, line: Some(e.line), unknown: true, wrong: None });
    }
    Ok(all)
}

/// A setting that people spell in several ways, in the one of JSON.
fn plain(setting: &Setting) -> Option<String> {
    match setting {
        Setting::Flag(flag) => Some(flag.to_string()),
        Setting::Count(n) => Some(n.to_string()),
        Setting::Number(n) => Some(Plain(*n).to_string()),
        Setting::Seconds(seconds) => Some(Plain(seconds.as_secs_f64()).to_string()),
        _ => None,
    }
}

fn no_object(section: &JsonEntry<'_>) -> Fault {
    let message = format!("Section {} must be an object in braces {{ }}", Clean(&section.key));
    Fault { line: section.line, key: section.key.clone(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(text: &str, name: &str, to: &str) -> String {
        let key = key(name).unwrap();
        let raw = value(key, to).unwrap();
        let new = set("x", text, key, &raw).unwrap();
        // Whatever was done, the value is there, and it is still JSON.
        let all = effective("x", new.as_bytes()).unwrap();
        let found = all.iter().find(|e| e.name == name).unwrap();
        assert!(found.line.is_some() && found.value == raw, "{found:?} in {new}");
        new
    }

    #[test]
    fn only_the_value_changes() {
        let text = "\u{feff}# mine\n{\n  \"ping\": { \"interval\": 10,\n  # how often\n  \"x\": [1, 2] }\n}\n";
        let new = changed(text, "ping.interval", "0.5");
        assert_eq!(new, text.replace("10,", "0.5,"));
        // Of two, the one that counts.
        let twice = "{\"ping\": {\"interval\": 1, \"interval\": 2}}";
        assert_eq!(changed(twice, "ping.interval", "3"), twice.replace('2', "3"));
    }

    #[test]
    fn what_is_missing_is_added_at_the_end() {
        assert_eq!(
            changed(
                "{\n    \"ping\": {\n        \"enable\": true\n    }\n}\n",
                "ping.monitorip",
                "1.1.1.1"
            ),
            "{\n    \"ping\": {\n        \"enable\": true,\n        \"monitorip\": \"1.1.1.1\"\n    }\n}\n"
        );
        assert_eq!(
            changed("{\n    \"ping\": {}\n}\n", "ping.enable", "yes"),
            "{\n    \"ping\": {\n        \"enable\": true\n    }\n}\n"
        );
        assert_eq!(
            changed("{\n    \"ping\": {}\n}\n", "updown.interval", "5"),
            "{\n    \"ping\": {},\n    \"updown\": {\n        \"interval\": 5\n    }\n}\n"
        );
        assert_eq!(
            changed("{}", "ping.interval", "5"),
            "{\n    \"ping\": {\n        \"interval\": 5\n    }\n}"
        );
        // A comment that looks like a brace is none.
        changed("{\n# }\n \"ping\": {\n# {\n}}", "ping.enable", "true");
        let new = changed("# {\n{\n    # } none yet\n}\n# }\n", "ping.enable", "true");
        let section = "    \"ping\": {\n        \"enable\": true\n    }\n";
        assert_eq!(new, format!("# {{\n{{\n    # }} none yet\n{section}}}\n# }}\n"));
        assert_eq!(
            changed("{\"ping\": {\n    # two\n}}", "ping.enable", "true"),
            "{\"ping\": {\n    # two\n        \"enable\": true\n    }}"
        );
    }

    #[test]
    fn values_are_what_people_write() {
        let v = |name: &str, text: &str| value(key(name).unwrap(), text);
        for (name, text, raw) in [
            ("ping.enable", "Yes", "true"),
            ("ping.enable", "0", "false"),
            ("ping.interval", "0.5", "0.5"),
            ("failover.metric", "150", "150"),
            ("failover.primary-if", "wan1", "\"wan1\""),
            ("updown.addping", "1.1.1.1, 8.8.8.8", "\"1.1.1.1, 8.8.8.8\""),
            ("ping.monitorip", "[\"1.1.1.1\"]", "[\"1.1.1.1\"]"),
            ("ddns.families", "6", "[\"6\"]"),
            ("ddns.families", "4, 6", "[\"4\",\"6\"]"),
            ("global.note", "a \"b\"", "\"a \\\"b\\\"\""),
            ("updown.addping", "", "\"\""),
        ] {
            assert_eq!(v(name, text), Ok(raw.to_owned()), "{name} {text}");
        }
        for (name, text) in [
            ("ping.enable", "perhaps"),
            ("ping.interval", "0"),
            ("ping.interval", "x"),
            ("ping.pingcount", "1.5"),
            ("failover.metric", "-1"),
            ("updown.monitorip", "a b"),
            ("ping.monitorip", "[\"1.1.1.1\""),
            ("updown.addping", "[::1]"),
        ] {
            assert!(v(name, text).is_err(), "{name} {text}");
        }
    }

    #[test]
    fn a_mistyped_setting_names_what_was_meant() {
        assert!(key("failover.metrik").unwrap_err().contains("'failover.metric'"));
        assert!(key("metric").unwrap_err().contains("'failover.metric'"));
        assert!(key("interval").unwrap_err().contains("SECTION.KEY"));
    }

    #[test]
    fn what_cannot_be_read_is_left_alone() {
        let key = key("ping.interval").unwrap();
        for bad in ["", "[]", "{", "{\"ping\": 5}", "{\"ping\": {\"interval\": }}", "x"] {
            let problem = set("/x", bad, key, "5").unwrap_err();
            assert!(problem.to_string().contains("/x:1"), "{bad}: {problem}");
        }
    }

    #[test]
    fn effective_values_say_where_they_come_from_and_no_secret() {
        let text = b"{\"ping\": {\n\"interval\": 5, \"tokn\": 1, \"password\": \"hunter2\"}}";
        let all = effective("x", text).unwrap();
        let get = |name: &str| all.iter().find(|e| e.name == name).unwrap();
        assert_eq!(
            (get("ping.interval").value.as_str(), get("ping.interval").line),
            ("5", Some(2))
        );
        assert_eq!((get("ping.pingcount").value.as_str(), get("ping.pingcount").line), ("2", None));
        assert!(get("ping.tokn").unknown);
        assert!(!format!("{all:?}").contains("hunter2"));
    }
}
