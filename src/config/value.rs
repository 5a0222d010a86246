//! From what people write to what a setting means: `10`, `10.0`, `"10"` and `" 10 "` are all ten,
//! and `"Y"` is true. `null` is nobody's way to leave a setting out (V2.99 died of it, or pinged a
//! host `None`): an error everywhere.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::value::RawValue;

use super::schema::{Key, MAX_PATH, MAX_REMARK, ValueKind};
use super::{ProbeKind, TargetSettings, instance, updates};
use crate::addr::family::Family;
use crate::addr::host::{self, Host};
use crate::base::json::{self, Value};
use crate::base::text::{Clean, nearest};
use crate::event::{Event, ON_REQUEST};
use crate::monitor::ddns::source::Source;
use crate::monitor::ddns::update::Update;
use crate::routing::GatewaySource;
use crate::secret::mask;

/// A value that is as its [`ValueKind`] says.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Setting {
    Flag(bool),
    Seconds(Duration),
    Count(u32),
    /// Text, path, device, DNS name, instance; empty when not set.
    Text(String),
    /// The hosts of a list, or the one of a single host; empty when not set.
    Hosts(Vec<Host>),
    Number(f64),
    /// `None` when not set.
    Gateway(Option<GatewaySource>),
    Targets(Vec<TargetSettings>),
    Sources(Vec<Source>),
    Families(Vec<Family>),
    /// Of those on request.
    Events(Vec<&'static str>),
    Updates(Vec<Update>),
    Remark,
}

/// What came of reading a value: a setting unless there is an error, and what there is to say about
/// it.
#[derive(Default)]
pub(super) struct ReadValue {
    pub(super) setting: Option<Setting>,
    pub(super) errors: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// Longest piece of a value that a message repeats, in characters.
const SHOWN: usize = 60;

/// Reads the value of a setting.
pub(super) fn read(key: &Key, raw: &RawValue) -> ReadValue {
    let value = json::decode(raw);
    let mut reading = ReadValue::default();
    let setting = match key.kind {
        ValueKind::Flag => flag(key, &value, &mut reading.warnings),
        ValueKind::Seconds { min, max } => number(&value)
            .filter(|n| (min..=max).contains(n))
            .and_then(|n| Duration::try_from_secs_f64(n).ok())
            .map(Setting::Seconds)
            .ok_or_else(|| invalid(key, &value, "")),
        ValueKind::Count { min, max } => number(&value)
            .filter(|n| n.fract() == 0.0)
            .and_then(|n| (min..=max).contains(&whole(n)?).then_some(Setting::Count(whole(n)?)))
            .ok_or_else(|| invalid(key, &value, "")),
        ValueKind::Hosts { max } => {
            let hosts = list(key, max, &value, &mut reading, one_host);
            reading.setting = reading.errors.is_empty().then_some(Setting::Hosts(hosts));
            return reading;
        }
        ValueKind::Number { max, .. } => number(&value)
            .filter(|n| (0.0..=max).contains(n))
            .map(Setting::Number)
            .ok_or_else(|| invalid(key, &value, "")),
        ValueKind::Targets { max } => {
            let targets = list(key, max, &value, &mut reading, one_target);
            reading.setting = reading.errors.is_empty().then_some(Setting::Targets(targets));
            return reading;
        }
        ValueKind::Sources { max } => {
            let sources = sources(key, max, &value, &mut reading);
            reading.setting = reading.errors.is_empty().then_some(Setting::Sources(sources));
            return reading;
        }
        ValueKind::Families => {
            families(&value).map(Setting::Families).ok_or_else(|| invalid(key, &value, ""))
        }
        ValueKind::Events => {
            let events = events(key, &value, &mut reading);
            reading.setting = reading.errors.is_empty().then_some(Setting::Events(events));
            return reading;
        }
        ValueKind::Updates { max } => {
            let updates = updates::read(key, max, &value, &mut reading);
            reading.setting = reading.errors.is_empty().then_some(Setting::Updates(updates));
            return reading;
        }
        ValueKind::Remark => {
            if !matches!(&value, Value::Text(text) if text.len() <= MAX_REMARK) {
                reading.warnings.push(invalid(key, &value, "it is ignored"));
            }
            Ok(Setting::Remark)
        }
        _ => match &value {
            Value::Text(text) => from_text(key, text).map_err(|why| invalid(key, &value, &why)),
            _ => Err(invalid(key, &value, "")),
        },
    };
    match setting {
        Ok(setting) => reading.setting = Some(setting),
        Err(error) => reading.errors.push(error),
    }
    reading
}

/// Reads a list of hosts from the command line, where it is text.
pub(super) fn read_hosts(key: &Key, text: &str) -> ReadValue {
    let mut reading = ReadValue::default();
    let max = if let ValueKind::Hosts { max } = key.kind { max } else { 1 };
    let hosts = list(key, max, &Value::Text(text.to_owned()), &mut reading, one_host);
    reading.setting = reading.errors.is_empty().then_some(Setting::Hosts(hosts));
    reading
}

/// A value as a message may show it: cut, without control characters, secrets masked.
pub(super) fn shown(key: &str, value: &Value<'_>) -> String {
    if mask::is_secret(key) {
        return mask::HIDDEN.to_owned();
    }
    match value {
        Value::Null => "null".to_owned(),
        Value::Flag(flag) => flag.to_string(),
        Value::Number(text) => cut(text),
        Value::Text(text) => format!("\"{}\"", Clean(&cut(&mask::masked(key, text)))),
        Value::List(list) => if list.is_empty() { "[]" } else { "[…]" }.to_owned(),
        Value::Object(object) => if object.is_empty() { "{}" } else { "{…}" }.to_owned(),
        Value::Unreadable(_) => "…".to_owned(),
    }
}

/// The first [`SHOWN`] characters, and a sign when there were more.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or("")),
        None => text.to_owned(),
    }
}

/// `Invalid value "x" for interval: WHY; a number of seconds from 0.1 to 86400 is allowed`
pub(super) fn invalid(key: &Key, value: &Value<'_>, why: &str) -> String {
    let why = match value {
        Value::Unreadable(why) => why,
        Value::Null if why.is_empty() => "leave the key out to get its default",
        _ => why,
    };
    let (gap, value) = (if why.is_empty() { "" } else { "; " }, shown(key.name, value));
    format!("Invalid value {value} for {}: {why}{gap}{} is allowed", key.name, key.allowed())
}

/// The number of a JSON number or of text with nothing else in it.
fn number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Number(text) => crate::base::number::read(text),
        Value::Text(text) => crate::base::number::read(text.trim()),
        _ => None,
    }
}

/// A whole number that fits, exactly.
fn whole(n: f64) -> Option<u32> {
    // The cast saturates, and a number that was not whole or did not fit comes back as another one.
    let whole = n as u32;
    (f64::from(whole) == n).then_some(whole)
}

fn flag(key: &Key, value: &Value<'_>, warnings: &mut Vec<String>) -> Result<Setting, String> {
    let flag = match value {
        Value::Flag(flag) => Some(*flag),
        Value::Number(_) => match number(value) {
            Some(1.0) => Some(true),
            Some(0.0) => Some(false),
            _ => None,
        },
        Value::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "y" | "yes" | "on" | "1" => Some(true),
            "false" | "n" | "no" | "off" | "0" => {
                warnings.push(format!(
                    "{} for {} is false; imon V2.99 took any text for true. Write false without quotes",
                    shown(key.name, value),
                    key.name
                ));
                Some(false)
            }
            // V2.99 took empty text for false as well.
            "" => Some(false),
            _ => None,
        },
        _ => None,
    };
    flag.map(Setting::Flag).ok_or_else(|| invalid(key, value, ""))
}

/// The kinds that are written as text. The error says what is wrong, if there is more to say than
/// what is allowed.
fn from_text(key: &Key, text: &str) -> Result<Setting, String> {
    let trimmed = text.trim();
    let plain = |max: usize| match text {
        _ if text.len() > max => Err(format!("it has {} bytes", text.len())),
        _ if text.chars().any(char::is_control) => {
            Err("it contains a control character".to_owned())
        }
        _ => Ok(Setting::Text(text.to_owned())),
    };
    match key.kind {
        ValueKind::Text { max } => plain(max),
        ValueKind::Path => plain(MAX_PATH),
        ValueKind::Instance if text.is_empty() => Ok(Setting::Text(String::new())),
        // What is worth a warning about the name concerns --instance only.
        ValueKind::Instance => {
            instance::check(text).map(|_| Setting::Text(text.to_owned())).map_err(|_| String::new())
        }
        ValueKind::Device if trimmed.is_empty() || is_device(trimmed) => {
            Ok(Setting::Text(trimmed.to_owned()))
        }
        ValueKind::Name if trimmed.is_empty() => Ok(Setting::Text(String::new())),
        ValueKind::Name if trimmed.parse::<IpAddr>().is_ok() => {
            Err("it is an address, not a name to look up".to_owned())
        }
        ValueKind::Name => host::check_name(trimmed)
            .map(|()| Setting::Text(trimmed.to_owned()))
            .map_err(|why| format!("it {why}")),
        ValueKind::Host if trimmed.is_empty() => Ok(Setting::Hosts(Vec::new())),
        ValueKind::Host if trimmed.contains(',') => Err("it is a list".to_owned()),
        ValueKind::Host => one_host(trimmed).map(|host| Setting::Hosts(vec![host])),
        ValueKind::Word(words) => {
            match words.iter().find(|word| word.eq_ignore_ascii_case(trimmed)) {
                Some(word) => Ok(Setting::Text((*word).to_owned())),
                None => Err(String::new()),
            }
        }
        ValueKind::Gateway if trimmed.is_empty() => Ok(Setting::Gateway(None)),
        ValueKind::Gateway if trimmed.eq_ignore_ascii_case("auto") => {
            Ok(Setting::Gateway(Some(GatewaySource::Auto)))
        }
        ValueKind::Gateway => match one_host(trimmed)?.address() {
            Some(IpAddr::V4(address)) => Ok(Setting::Gateway(Some(GatewaySource::Fixed(address)))),
            Some(IpAddr::V6(_)) => Err("failover switches IPv4".to_owned()),
            None => Err("it is a name".to_owned()),
        },
        // A device that is none, and the kinds that are not written as text.
        _ => Err(String::new()),
    }
}

/// What the kernel takes for an interface's name (`dev_valid_name` in net/core/dev.c).
fn is_device(name: &str) -> bool {
    let good = |c: char| !c.is_whitespace() && !c.is_control() && c != '/' && c != ':';
    name.len() <= 15 && name != "." && name != ".." && name.chars().all(good)
}

/// A host that can be probed: not an address of many, or of none.
fn one_host(text: &str) -> Result<Host, String> {
    let host = Host::parse(text).map_err(|why| format!("it {why}"))?;
    match host.address() {
        Some(a) if a.is_multicast() || a.is_unspecified() || a == IpAddr::from([255; 4]) => {
            Err("it is not the address of one host".to_owned())
        }
        _ => Ok(host),
    }
}

/// What a WAN is judged by: `HOST`, `dns:HOST` or `tcp:HOST:PORT`.
fn one_target(text: &str) -> Result<TargetSettings, String> {
    let by = |probe, host: &str| {
        let host = one_host(host.trim())?;
        match host.address() {
            Some(IpAddr::V6(_)) => Err("failover switches IPv4".to_owned()),
            _ => Ok(TargetSettings { text: text.into(), host, probe }),
        }
    };
    let lower = text.to_ascii_lowercase();
    if let Some(host) = lower.strip_prefix("dns:") {
        by(ProbeKind::Dns, host)
    } else if let Some(rest) = lower.strip_prefix("tcp:") {
        let (host, port) = rest.rsplit_once(':').ok_or("it has no port, as in tcp:1.1.1.1:443")?;
        match port.trim().parse() {
            Ok(port) if port > 0 => by(ProbeKind::Tcp(port), host),
            _ => Err("its port is not a number from 1 to 65535".to_owned()),
        }
    } else {
        by(ProbeKind::Echo, text)
    }
}

/// Reads `"a, b"` or `["a", "b"]`. Every entry that is wrong is an error of its own.
fn list<T: PartialEq + fmt::Display>(
    key: &Key,
    max: usize,
    value: &Value<'_>,
    reading: &mut ReadValue,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Vec<T> {
    let entries: Vec<Value<'_>> = match value {
        Value::Text(text) if text.trim().is_empty() => Vec::new(),
        Value::Text(text) => text.split(',').map(|entry| Value::Text(entry.to_owned())).collect(),
        Value::List(list) => list.iter().map(|raw| json::decode(raw)).collect(),
        _ => {
            reading.errors.push(invalid(key, value, ""));
            return Vec::new();
        }
    };
    if entries.len() > max {
        let count = entries.len();
        reading.errors.push(format!(
            "Too many values for {}: there are {count}; {} is allowed",
            key.name,
            key.allowed()
        ));
        return Vec::new();
    }
    let mut read: Vec<T> = Vec::with_capacity(entries.len());
    for entry in &entries {
        let Value::Text(text) = entry else {
            reading.errors.push(invalid(key, entry, "an entry of the list is not text"));
            continue;
        };
        let text = text.trim();
        match parse(text) {
            _ if text.is_empty() => {
                reading.warnings.push(format!("An empty entry of {} is ignored", key.name))
            }
            Ok(one) if read.contains(&one) => {
                reading
                    .warnings
                    .push(format!("{one} is listed twice for {} and used once", key.name));
            }
            Ok(one) => read.push(one),
            Err(why) => reading.errors.push(invalid(key, entry, &why)),
        }
    }
    read
}

/// Reads sources: texts as in any list, or objects that name the operator as well.
fn sources(key: &Key, max: usize, value: &Value<'_>, reading: &mut ReadValue) -> Vec<Source> {
    let Value::List(entries) = value else {
        return list(key, max, value, reading, Source::parse);
    };
    let mut named = Vec::new();
    let mut texts = Vec::new();
    for entry in entries {
        match json::decode(entry) {
            Value::Object(object) => {
                let text = |name: &str| {
                    let found = object
                        .iter()
                        .find(|(key, _)| key == name)
                        .map(|(_, raw)| json::decode(raw));
                    if let Some(Value::Text(text)) = found { Some(text) } else { None }
                };
                let (url, operator) = (text("url"), text("operator"));
                let good = object.iter().all(|(key, _)| key == "url" || key == "operator");
                match (url, operator) {
                    (Some(url), Some(operator))
                        if good && !operator.trim().is_empty() && operator.len() <= 128 =>
                    {
                        match Source::parse(&url) {
                            Ok(source) => {
                                let operator = Clean(operator.trim()).to_string().into();
                                named.push((
                                    texts.len() + named.len(),
                                    Source { operator, ..source },
                                ));
                            }
                            Err(why) => reading.errors.push(invalid(key, &Value::Text(url), &why)),
                        }
                    }
                    _ => {
                        let why = "an entry in braces has a url and an operator, both text";
                        reading.errors.push(invalid(key, &Value::Object(object), why));
                    }
                }
            }
            _ => texts.push(*entry),
        }
    }
    let mut sources = list(key, max, &Value::List(texts), reading, Source::parse);
    for (at, source) in named {
        sources.insert(at.min(sources.len()), source);
    }
    if sources.len() > max {
        reading.errors.push(format!(
            "Too many values for {}: {} is allowed",
            key.name,
            key.allowed()
        ));
    }
    sources
}

/// Reads `["4", "6"]`, also as numbers or as `"4, 6"`; without repetitions, and not none.
/// Names of events; those of V2.99 may be among them, and are called in any case.
fn events(key: &Key, value: &Value<'_>, reading: &mut ReadValue) -> Vec<&'static str> {
    let Some(names) = words(value) else {
        reading.errors.push(invalid(key, value, ""));
        return Vec::new();
    };
    let mut requested = Vec::new();
    for name in names.iter().map(String::as_str).filter(|name| !name.is_empty()) {
        match ON_REQUEST.iter().find(|known| **known == name) {
            Some(known) if !requested.contains(known) => requested.push(known),
            Some(_) => {}
            None if name == "all" => requested = ON_REQUEST.to_vec(),
            None if Event::names().contains(&name) => {}
            None => {
                let near = nearest(name, Event::names()).map_or_else(
                    || format!("known are all, {}", ON_REQUEST.join(", ")),
                    |near| format!("did you mean {near}?"),
                );
                reading.errors.push(format!(
                    "{} has {}, which is no event; {near}",
                    key.name,
                    Clean(&cut(name))
                ));
            }
        }
    }
    requested
}

fn families(value: &Value<'_>) -> Option<Vec<Family>> {
    let entries = words(value)?;
    let named: Vec<Family> =
        entries.iter().map(|text| Family::parse(text)).collect::<Option<_>>()?;
    let families: Vec<Family> =
        [Family::V4, Family::V6].into_iter().filter(|f| named.contains(f)).collect();
    (!families.is_empty()).then_some(families)
}

/// A list of words, or a text of them with commas between.
fn words(value: &Value<'_>) -> Option<Vec<String>> {
    Some(match value {
        Value::Text(text) => text.split(',').map(|entry| entry.trim().to_owned()).collect(),
        Value::Number(text) => vec![(*text).to_owned()],
        Value::List(list) => {
            let text = |raw: &&RawValue| match json::decode(raw) {
                Value::Text(text) => Some(text.trim().to_owned()),
                Value::Number(text) => Some(text.to_owned()),
                _ => None,
            };
            list.iter().map(text).collect::<Option<_>>()?
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::schema;

    fn reading(section: &str, name: &str, json: &str) -> ReadValue {
        let key = schema().iter().find(|k| k.section == section && k.name == name).unwrap();
        read(key, serde_json::from_str(json).unwrap())
    }

    /// The setting of a value that is fine without a word.
    fn good(section: &str, name: &str, json: &str) -> Setting {
        let reading = reading(section, name, json);
        assert!(
            reading.errors.is_empty() && reading.warnings.is_empty(),
            "{json}: {:?}",
            reading.errors
        );
        reading.setting.unwrap()
    }

    /// The one error about a value.
    fn bad(section: &str, name: &str, json: &str) -> String {
        let reading = reading(section, name, json);
        assert_eq!((reading.errors.len(), &reading.setting), (1, &None), "{json}");
        reading.errors[0].clone()
    }

    #[test]
    fn every_default_is_a_good_value() {
        for key in schema() {
            let reading = read(key, serde_json::from_str(key.default).unwrap());
            assert!(
                reading.setting.is_some() && reading.warnings.is_empty(),
                "{key:?}: {:?}",
                reading.errors
            );
        }
    }

    #[test]
    fn numbers_in_every_spelling() {
        for json in ["10", "10.0", "1e1", "\"10\"", "\" 10 \"", "\"10.0\""] {
            assert_eq!(
                good("updown", "interval", json),
                Setting::Seconds(Duration::from_secs(10)),
                "{json}"
            );
        }
        for json in ["2", "2.0", "\"2\"", "\"2.0\"", "\" 2 \"", "20e-1"] {
            assert_eq!(good("updown", "pingcount", json), Setting::Count(2), "{json}");
        }
        assert_eq!(good("failover", "metric", "4294967295"), Setting::Count(u32::MAX));
        assert_eq!(good("failover", "metric", "0"), Setting::Count(0));
        for json in ["4294967296", "-1", "201.5", "1e308", "\"\"", "\"0x10\"", "true"] {
            bad("failover", "metric", json);
        }
        for json in ["0", "101", "2.5", "\"two\"", "\"1,5\"", "\"nan\"", "\"inf\"", "1e999"] {
            bad("ping", "pingcount", json);
        }
    }

    #[test]
    fn b41_half_a_second_of_pingwait_is_half_a_second() {
        for section in ["ddns", "updown", "failover", "ping"] {
            assert_eq!(
                good(section, "pingwait", "0.5"),
                Setting::Seconds(Duration::from_millis(500))
            );
        }
        assert_eq!(
            good("ping", "pingwait", "\"0.01\""),
            Setting::Seconds(Duration::from_millis(10))
        );
        bad("ping", "pingwait", "0.009");
    }

    #[test]
    fn truth_in_every_spelling() {
        for json in
            ["true", "1", "1.0", "\"Y\"", "\"yes\"", "\"TRUE\"", "\"on\"", "\"1\"", "\" y \""]
        {
            assert_eq!(good("ping", "enable", json), Setting::Flag(true), "{json}");
        }
        for json in ["false", "0", "0.0", "\"\""] {
            assert_eq!(good("ping", "enable", json), Setting::Flag(false), "{json}");
        }
        for json in ["\"false\"", "\"N\"", "\"no\"", "\"Off\"", "\"0\""] {
            let reading = reading("ping", "enable", json);
            assert_eq!(
                (reading.setting, reading.warnings.len()),
                (Some(Setting::Flag(false)), 1),
                "{json}"
            );
        }
        for json in ["2", "-1", "null", "\"maybe\"", "[]", "{}"] {
            bad("ping", "enable", json);
        }
    }

    #[test]
    fn errors_say_value_key_and_what_is_allowed() {
        for (json, message) in [
            ("0", "Invalid value 0 for interval: a number of seconds from 0.1 to 86400 is allowed"),
            (
                "\"x\"",
                "Invalid value \"x\" for interval: a number of seconds from 0.1 to 86400 is allowed",
            ),
            (
                "null",
                "Invalid value null for interval: leave the key out to get its default; a number of seconds from 0.1 to \
                 86400 is allowed",
            ),
            (
                "[1]",
                "Invalid value […] for interval: a number of seconds from 0.1 to 86400 is allowed",
            ),
            (
                "{}",
                "Invalid value {} for interval: a number of seconds from 0.1 to 86400 is allowed",
            ),
        ] {
            assert_eq!(bad("updown", "interval", json), message);
        }
        let long = bad("updown", "interval", &format!("\"\\u001b[2J{}\"", "x".repeat(100_000)));
        assert!(long.starts_with("Invalid value \"\\u{1b}[2Jxxx") && long.len() < 200, "{long}");
        assert!(bad("updown", "monitorip", "\"1.1.1.256\"").contains("it is not an IPv4 address"));
        assert!(bad("updown", "monitorip", "\"\\ud800\"").contains("surrogate"));
        let url = bad("updown", "monitorip", "\"https://u:hunter2@h/?k=hunter2\"");
        assert!(!url.contains("hunter2"), "{url}");
    }

    #[test]
    fn hosts_from_text_and_lists() {
        let texts = |setting: Setting| match setting {
            Setting::Hosts(hosts) => {
                hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            }
            other => panic!("{other:?}"),
        };
        for json in ["\"a.b, 1.1.1.1\"", "[\"a.b\", \" 1.1.1.1\"]", "\"a.b,1.1.1.1\""] {
            assert_eq!(texts(good("ping", "monitorip", json)), "a.b 1.1.1.1");
        }
        assert_eq!(texts(good("updown", "monitorip", "\" ::1 \"")), "::1");
        assert_eq!(texts(good("updown", "addping", "\"\"")), "");
        assert_eq!(texts(good("updown", "addping", "[]")), "");
        let reading = reading("updown", "addping", "\"a.b,,a.b,\"");
        assert_eq!(
            (texts(reading.setting.unwrap()), reading.warnings.len()),
            ("a.b".to_owned(), 3)
        );

        for json in [
            "null",
            "5",
            "{}",
            "[1]",
            "[[\"a\"]]",
            "\"a b\"",
            "[\"a,b\"]",
            "\"0.0.0.0\"",
            "\"224.0.0.1\"",
        ] {
            bad("updown", "addping", json);
        }
        assert!(bad("updown", "monitorip", "\"1.1.1.1,1.0.0.1\"").contains("it is a list"));
        let numbered = |n: usize| (0..n).map(|i| format!("h{i}")).collect::<Vec<_>>().join(",");
        assert!(
            bad("updown", "addping", &format!("\"{}\"", numbered(17))).contains("there are 17")
        );
        assert!(
            matches!(good("updown", "addping", &format!("\"{}\"", numbered(16))), Setting::Hosts(h) if h.len() == 16)
        );
        assert!(
            matches!(good("ping", "monitorip", &format!("\"{}\"", numbered(1000))), Setting::Hosts(h) if h.len() == 1000)
        );
    }

    #[test]
    fn names_addresses_and_devices() {
        assert_eq!(
            good("updown", "dnslookup", "\"microsoft.com\""),
            Setting::Text("microsoft.com".to_owned())
        );
        assert!(bad("updown", "dnslookup", "\"1.1.1.1\"").contains("not a name to look up"));
        bad("updown", "dnslookup", "\"a..b\"");
        assert_eq!(good("failover", "primary-gw", "\"\""), Setting::Gateway(None));
        assert!(matches!(
            good("failover", "primary-gw", "\"192.168.42.1\""),
            Setting::Gateway(Some(_))
        ));
        assert!(bad("failover", "primary-gw", "\"gateway.lan\"").contains("it is a name"));
        assert_eq!(
            good("failover", "primary-if", "\"enxa0cec8003294\""),
            Setting::Text("enxa0cec8003294".to_owned())
        );
        for json in ["\"a b\"", "\"../eth0\"", "\"eth0:1\"", "\"enxa0cec80032945\"", "\"..\""] {
            bad("failover", "primary-if", json);
        }
        bad("global", "instance", "\"../shadow\"");
        assert_eq!(good("global", "instance", "\"my wan\""), Setting::Text("my wan".to_owned()));
    }

    #[test]
    fn b21_text_with_shell_characters_stays_one_value() {
        let name = "net 42; $(touch /tmp/x) `id` | & > \\ ' \" é";
        let json = serde_json::to_string(name).unwrap();
        assert_eq!(good("failover", "primary-name", &json), Setting::Text(name.to_owned()));
        for json in ["\"a\\u0000b\"", "\"a\\nb\"", "\"\\u009b\""] {
            assert!(bad("failover", "primary-name", json).contains("control character"));
        }
        assert!(
            bad("global", "datefmt", &format!("\"{}\"", "x".repeat(129))).contains("129 bytes")
        );
    }

    #[test]
    fn a_remark_is_never_an_error() {
        assert_eq!(good("global", "note", "\"a\\nb\""), Setting::Remark);
        for json in ["5", "null", "[]", &format!("\"{}\"", "x".repeat(5000))] {
            let reading = reading("global", "note", json);
            assert_eq!((reading.errors.len(), reading.warnings.len()), (0, 1), "{json}");
        }
    }
}
