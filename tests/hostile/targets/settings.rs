//! What people write: configurations, arguments, dates and numbers.

use std::collections::HashSet;

use serde_json::Value;

use super::{Input, assert_clean, parts};
use imon::base::number::{self, Plain};
use imon::base::text::{Clean, nearest};
use imon::base::time::date::Local;
use imon::base::time::{self, Wall};
use imon::config::{Config, Overrides, edit, parse};
use imon::secret::mask;

pub(super) const CONFIG_WORDS: &[&str] = &[
    "\"enable\": true",
    "\"ddns\": {",
    "\"updown\": {",
    "\"failover\": {",
    "\"ping\": {",
    "\"global\": {",
    "}",
    ",",
    "# ",
    "\n",
    "\"monitorip\": \"1.1.1.1,a.example\"",
    "\"password\": \"Zq7xSecretZ9\"",
    "\"token\": [\"Zq7xSecretZ9\"]",
    "\"url\": \"https://u:Zq7xSecretZ9@h.example/?k={secret}\"",
    "\"update\": [{\"protocol\": \"url\"}]",
    "\"x\": {\"headers\": {\"a\": \"Zq7xSecretZ9\"}}",
    "primary-if",
    "standby-gw",
    "interval",
    "auto",
    "tcp://1.1.1.1:443",
    "dns://1.1.1.1/a.example",
    "\0",
    "failover.metric=150",
    "ping.monitorip=",
];

/// A configuration, and behind a zero `section.key=value`, a change to be made to it.
pub(super) fn config(data: &[u8]) {
    let [text, change] = parts(data);
    let [with_addping, change] = match change.strip_prefix(b"addping=") {
        Some(addping) => [Some(addping), None],
        None => [None, Some(change)],
    };
    let addping = with_addping.map(|addping| String::from_utf8_lossy(addping).into_owned());
    let parsed = parse("file", text, &Overrides { addping: addping.as_deref() });
    assert_eq!(parsed.config.is_some(), parsed.errors.is_empty(), "{:?}", parsed.errors);
    let lines = text.iter().filter(|byte| **byte == b'\n').count() + 1;
    let mut shown: Vec<String> = Vec::new();
    for problem in parsed.errors.iter().chain(&parsed.warnings) {
        let said = problem.to_string();
        assert!(
            problem.place.line.is_none_or(|line| (1..=lines).contains(&line)),
            "{said} of {lines} lines"
        );
        assert!(said.len() < 8 * 1024, "{} bytes", said.len());
        assert_clean(&said);
        shown.push(said);
    }
    for section in &parsed.echo {
        for text in
            section.lines.iter().flat_map(|(key, value)| [key, value]).chain([&section.name])
        {
            assert_clean(text);
            shown.push(text.clone());
        }
    }
    if let Ok(all) = edit::effective("file", text) {
        for setting in &all {
            assert_clean(&setting.value);
            shown.extend([setting.name.clone(), setting.value.clone()]);
            shown.extend(setting.wrong.clone());
        }
        if let Some(config) = parsed.config.as_ref().filter(|_| addping.is_none()) {
            assert_same_when_written_anew(&all, config);
        }
    } else {
        assert!(parsed.config.is_none(), "it cannot be shown, but used");
    }
    if addping.is_none() {
        assert_nothing_secret(text, &shown);
    }
    if let Some(config) = &parsed.config {
        write_date(&config.global.datefmt);
    }
    if let (Ok(text), Some(change)) =
        (std::str::from_utf8(text), change.and_then(|change| std::str::from_utf8(change).ok()))
    {
        edited(text, change);
    }
}

/// What stands there is in force, so a file with just that means the same.
fn assert_same_when_written_anew(all: &[edit::Effective], config: &Config) {
    let mut anew = String::from("{}");
    for setting in all.iter().filter(|setting| setting.line.is_some() && !setting.unknown) {
        // What is masked or cut for people cannot be read again.
        if setting.value.contains(mask::HIDDEN)
            || setting.value.contains('…')
            || setting.value.contains("\\u{")
        {
            return;
        }
        let key = edit::key(&setting.name).unwrap();
        match edit::set("anew", &anew, key, &setting.value) {
            Ok(text) => anew = text,
            Err(e) => panic!("{setting:?} cannot be set: {e}"),
        }
    }
    let again = parse("anew", anew.as_bytes(), &Overrides::default());
    assert_eq!(
        again.config.as_ref(),
        Some(config),
        "written anew it is {anew}, and {:?}",
        again.errors
    );
}

/// Values below the keys of secrets that stand in the text only once are not shown anywhere.
fn assert_nothing_secret(text: &[u8], shown: &[String]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    // Comments are not JSON.
    let plain: Vec<&str> = text
        .trim_start_matches('\u{feff}')
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect();
    let Ok(Value::Object(root)) = serde_json::from_str(&plain.join("\n")) else { return };
    let mut secrets = HashSet::new();
    for value in root.values().filter_map(Value::as_object) {
        find_secrets(&Value::Object(value.clone()), false, &mut secrets);
    }
    // Words of imon's own are no secrets: those have letters of both sizes and digits.
    let kinds = [char::is_ascii_uppercase, char::is_ascii_lowercase, char::is_ascii_digit];
    secrets.retain(|secret: &String| kinds.iter().all(|kind| secret.contains(|c| kind(&c))));
    for secret in secrets.iter().filter(|secret| text.matches(secret.as_str()).count() == 1) {
        let leak = shown.iter().find(|shown| shown.contains(secret.as_str()));
        assert!(leak.is_none(), "the secret {secret:?} is in {leak:?}");
    }
}

fn find_secrets(value: &Value, secret: bool, found: &mut HashSet<String>) {
    match value {
        Value::String(text) if secret && text.len() >= 8 => drop(found.insert(text.clone())),
        Value::Array(list) => list.iter().for_each(|item| find_secrets(item, secret, found)),
        Value::Object(object) => {
            object.iter().for_each(|(key, value)| {
                find_secrets(value, secret || mask::is_secret(key), found)
            });
        }
        _ => {}
    }
}

/// A change is made where it belongs: the value is there, everything else is as it was, and the
/// same change changes nothing any more.
fn edited(text: &str, change: &str) {
    let (name, value) = change.split_once('=').unwrap_or((change, ""));
    let key = match edit::key(name) {
        Ok(key) => key,
        Err(said) => return assert_clean(&said),
    };
    let raw = match edit::value(key, value) {
        Ok(raw) => raw,
        Err(said) => return assert_clean(&said),
    };
    assert_eq!(edit::check(key, &raw), Ok(()));
    let Ok(new) = edit::set("file", text, key, &raw) else { return };
    assert_eq!(
        edit::raw(new.as_bytes(), key.section, key.name).as_deref(),
        Some(raw.as_str()),
        "in {new}"
    );
    assert_eq!(edit::set("file", &new, key, &raw).as_ref(), Ok(&new));
    let comments =
        |text: &str| text.lines().filter(|line| line.trim_start().starts_with('#')).count();
    let Ok(before) = edit::effective("file", text.as_bytes()) else { return };
    let after = edit::effective("file", new.as_bytes()).unwrap();
    // Those within the value that is replaced are part of it.
    let old = edit::raw(text.as_bytes(), key.section, key.name);
    assert!(
        comments(&new) == comments(text) || old.is_some_and(|old| old.contains('\n')),
        "a comment is lost: {new}"
    );
    let others = |all: Vec<edit::Effective>| -> Vec<_> {
        let others = all.into_iter().filter(|setting| setting.name != name);
        others
            .map(|setting| (setting.name, setting.value, setting.unknown, setting.wrong))
            .collect()
    };
    assert_eq!(others(after), others(before), "{change} has changed more than that: {new}");
}

pub(super) const ARGUMENT_WORDS: &[&str] = &[
    "--instance",
    "--instance=",
    "--config",
    "--nosyslog",
    "--addping",
    "--version",
    "--help",
    "-h",
    "check",
    "configure",
    "check-config",
    "test-action",
    "external-ip",
    "help",
    "--set",
    "--print",
    "--target",
    "--offline",
    "--json",
    "--source",
    "--family",
    "--bind",
    "--ca-file",
    "--all",
    "--",
    "-",
    "=",
    "--i",
    "updown-offline",
    "web-worker",
    "file-writer",
    "self-test",
    "\n",
];

/// Arguments, one a line: what they mean is said in one clean line, or is a command.
pub(super) fn arguments(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let words: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let twice = [imon::cli::meaning(&words), imon::cli::meaning(&words)];
    assert_eq!(twice[0], twice[1]);
    match &twice[0] {
        Ok(command) => assert!(!command.is_empty()),
        Err(said) => {
            assert_clean(said);
            assert!(said.len() < 500 + 10 * data.len(), "{said}");
        }
    }
}

pub(super) const TEXT_WORDS: &[&str] = &[
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "2026-11-22T06:48:27.123Z",
    "%Y",
    "%-d",
    "%_H",
    "%0e",
    "%E",
    "%c",
    "%f",
    "%s",
    "%Z",
    "%%",
    "1e3",
    ".5",
    "5.",
    "+",
    "e-",
    "Feb",
    "60",
];

/// Dates, formats of dates, numbers, and words with typos.
pub(super) fn text(data: &[u8]) {
    let mut input = Input(data);
    let form = input.byte();
    let text = String::from_utf8_lossy(input.0);
    match form % 4 {
        0 => {
            for seconds in [time::http_date(&text), time::read_time(&text)].into_iter().flatten() {
                let shown = Wall { secs: seconds, nanos: 0 }.to_string();
                assert_eq!(time::read_time(&shown), Some(seconds), "{text:?} is {shown}");
            }
        }
        1 => write_date(&text),
        2 => {
            let (ours, std) =
                (number::read(&text), text.parse::<f64>().ok().filter(|n| n.is_finite()));
            // Exact to the last digit but one.
            let same =
                |a: f64, b: f64| (a - b).abs() <= b.abs() * 4.0 * f64::EPSILON + f64::MIN_POSITIVE;
            match (ours, std) {
                (Some(ours), Some(std)) => {
                    assert!(same(ours, std), "{text:?}: {ours:?} {std:?}");
                    let shown = Plain(ours).to_string();
                    assert!(
                        number::read(&shown).is_some_and(|read| same(read, ours)),
                        "{text:?} is {shown}"
                    );
                }
                (ours, std) => assert_eq!(ours, std, "{text:?}"),
            }
        }
        _ => {
            let shown = Clean(&text).to_string();
            assert_clean(&shown);
            assert_eq!(Clean(&shown).to_string(), shown);
            let known = ["interval", "pingcount", "monitorip", ""];
            assert!(nearest(&text, known).is_none_or(|word| known.contains(&word)));
        }
    }
}

fn write_date(format: &str) {
    let wall = Wall { secs: 1_795_478_400, nanos: 987_654_321 };
    let local = Local {
        wall,
        year: 2026,
        month: 10,
        day: 24,
        hour: 0,
        minute: 0,
        second: 0,
        weekday: 2,
        yearday: 327,
        offset: -12_600,
        zone: "NST",
    };
    let mut out = String::from("before");
    let written = local.write(format, &mut out);
    assert!(out.starts_with("before") && out.len() <= 6 + 16 * format.len());
    assert!(written || out.len() == 6);
}
