//! What the documents say is what the program does.
#![allow(clippy::disallowed_methods, clippy::panic, reason = "test code, not imon's core")]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use imon::config::schema;
use imon::event::Event;
use imon::time::{Clock, Instant, Wall};

fn file(name: &str) -> String {
    let path = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The rows that the README's tables of settings must have, in this order.
fn rows(section: &str) -> String {
    let mut rows = String::new();
    for key in schema().iter().filter(|k| k.section == section) {
        let default = match key.default {
            _ if key.required => "required".to_owned(),
            "\"\"" | "" => "–".to_owned(),
            set => format!("`{set}`"),
        };
        let _ = writeln!(rows, "| `{}` | {} | {default} | {} |", key.name, key.allowed().replace('|', "\\|"), key.doc);
    }
    rows
}

#[test]
fn the_readme_lists_every_setting_with_its_range_and_default() {
    let readme = file("README.md");
    for section in ["global", "ddns", "updown", "failover", "ping"] {
        let rows = rows(section);
        assert!(readme.contains(&rows), "The README's table of {section} must be:\n{rows}");
    }
}

#[test]
fn the_readme_names_every_field_of_an_event() {
    let readme = file("README.md");
    let clock = Clock { now: Instant::from_nanos(3_600_000_000_000), wall: Wall { secs: 1_795_330_107, nanos: 0 } };
    let mut fields = BTreeSet::new();
    for event in Event::examples(clock.now) {
        let json = event.json("main", clock, Some(std::net::Ipv4Addr::LOCALHOST.into()));
        let value: serde_json::Value = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{json}: {e}"));
        fields.extend(value.as_object().into_iter().flat_map(|o| o.keys().cloned()));
    }
    assert!(fields.len() >= 15, "{fields:?}");
    for field in fields {
        assert!(readme.contains(&format!("| `{field}` |")), "The README's table of event fields lacks `{field}`");
    }
}

#[test]
fn the_readmes_configuration_is_valid() {
    let readme = file("README.md");
    let blocks: Vec<&str> = readme.split("```json\n").skip(1).filter_map(|b| b.split("```").next()).collect();
    assert!(!blocks.is_empty(), "The README shows no configuration");
    for block in blocks {
        let parsed = imon::config::parse("README.md", block.as_bytes(), &imon::config::Overrides::default());
        assert!(parsed.errors.is_empty() && parsed.warnings.is_empty(), "{:?} {:?}", parsed.errors, parsed.warnings);
    }
}

#[test]
fn the_changelog_begins_with_this_version() {
    let changelog = file("CHANGELOG.md");
    let first = changelog.lines().find(|l| l.starts_with("## ")).unwrap_or_default();
    assert!(first.starts_with(concat!("## ", env!("CARGO_PKG_VERSION"))), "{first}");
}
