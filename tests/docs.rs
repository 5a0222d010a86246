//! What the documents say is what the program does.
#![allow(clippy::disallowed_methods, clippy::panic, reason = "test code, not imon's core")]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use imon::config::schema;
use imon::event::Event;
use imon::base::time::{Clock, Instant, Wall};

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

/// Text as mdoc(7) wants it: a sentence begins a line, no line is long, and nothing is taken for a request.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace(". ", ".\n").replace("? ", "?\n");
    let mut out = String::new();
    for sentence in text.lines() {
        let mut column = 0;
        for word in sentence.split(' ') {
            if column > 0 && column + 1 + word.len() > 78 {
                out.push('\n');
                column = 0;
            } else if column > 0 {
                out.push(' ');
                column += 1;
            }
            if column == 0 && word.starts_with(['.', '\'']) {
                out.push_str("\\&");
            }
            out.push_str(word);
            column += word.len();
        }
        out.push('\n');
    }
    out
}

/// The settings as the manual must have them.
fn manual_settings() -> String {
    let mut out = String::new();
    for section in ["global", "ddns", "updown", "failover", "ping"] {
        let _ = write!(out, ".Ss {section}\n.Bl -tag -width Ds\n");
        for key in schema().iter().filter(|k| k.section == section) {
            let default = match key.default {
                _ if key.required => "It is required.".to_owned(),
                "\"\"" | "" => "It is not set by default.".to_owned(),
                set => format!("The default is {set}."),
            };
            let _ = write!(
                out,
                ".It Cm {}\n{}{}",
                key.name,
                roff(key.doc),
                roff(&format!("Takes {}. {default}", key.allowed()))
            );
        }
        out.push_str(".El\n");
    }
    out
}

fn manual_verdicts() -> String {
    let row = |(id, exit, meaning): &(&str, u8, &str)| format!(".It Cm {id}\n{}", roff(&format!("{exit}: {meaning}.")));
    imon::diagnose::VERDICTS.iter().map(row).collect()
}

/// The expected part of a document is printed whole when it is not there, to be put there.
fn assert_holds(name: &str, part: &str) {
    assert!(file(name).contains(part), "{name} must have:\n{part}");
}

#[test]
fn the_manual_lists_every_setting_and_every_verdict() {
    assert_holds("docs/imon.conf.5", &manual_settings());
    assert_holds("docs/imon.8", &manual_verdicts());
    let row = |(id, exit, meaning): &(&str, u8, &str)| format!("| `{id}` | {exit} | {meaning} |\n");
    assert_holds("README.md", &imon::diagnose::VERDICTS.iter().map(row).collect::<String>());
}

/// Both ways: no key is missing, and none is there that the program does not know.
#[test]
fn readme_and_manual_list_every_key_of_an_update() {
    let wanted: BTreeSet<&str> = imon::config::update_keys().collect();
    let manual = file("docs/imon.conf.5");
    let section = manual.split(".Ss Updates\n").nth(1).and_then(|rest| rest.split("\n.S").next()).unwrap_or_default();
    let found: BTreeSet<&str> = section.lines().filter_map(|line| line.strip_prefix(".It Cm ")).collect();
    assert_eq!(found, wanted);
    let readme = file("README.md");
    let section = readme.split("### Updates\n").nth(1).and_then(|rest| rest.split("\n### ").next()).unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let names = rows.filter_map(|row| row.split(" | ").next());
    let found: BTreeSet<&str> = names.flat_map(|names| names.split(", ")).map(|name| name.trim_matches('`')).collect();
    assert_eq!(found, wanted);
}

/// The options of a text, `--json`.
fn options(text: &str) -> BTreeSet<String> {
    let is_word = |c: char| c.is_ascii_lowercase() || c == '-';
    let starts = text.match_indices("--").filter(|(at, _)| !text[..*at].ends_with(is_word)).map(|(at, _)| at);
    let words = starts.map(|at| text[at..].chars().take_while(|c| is_word(*c)).collect::<String>());
    words.filter(|word| word.len() > 3).collect()
}

/// What each command's help and the manual say about options is the same, both ways.
#[test]
fn the_manual_lists_every_option_of_every_command() {
    let manual = file("docs/imon.8");
    for command in ["", "check", "configure", "check-config", "test-action", "external-ip"] {
        let mut imon = std::process::Command::new(env!("CARGO_BIN_EXE_imon"));
        let help = imon.args(Some(command).filter(|c| !c.is_empty())).arg("--help").output().map(|out| out.stdout);
        let help = String::from_utf8(help.unwrap_or_default()).unwrap_or_default();
        let listed = help.lines().filter(|l| l.starts_with("  --")).map(|l| l.split("  ").nth(1).unwrap_or_default());
        let wanted: BTreeSet<String> = listed.flat_map(options).filter(|o| o != "--help").collect();
        assert!(command == "check-config" || !wanted.is_empty(), "{command}: {help}");
        let title = format!(".Ss {}\n", format!("imon {command}").trim_end());
        let section = manual.split(&title).nth(1).unwrap_or_else(|| panic!("no '{title}'"));
        let section = section.split("\n.S").next().unwrap_or_default();
        let items = section.lines().filter_map(|l| l.strip_prefix(".It Fl \\-"));
        let found: BTreeSet<String> = items.map(|l| format!("--{}", l.split(' ').next().unwrap_or_default())).collect();
        assert_eq!(found, wanted, "{command}");
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
fn n1_no_copy_of_the_readme_overwrites_another() {
    let readme = file("README.md");
    let copies: Vec<&str> = readme.lines().filter(|line| line.starts_with("    scp ")).collect();
    assert!(copies.len() >= 4, "{copies:?}");
    for copy in copies {
        let words: Vec<&str> = copy.split_whitespace().skip(1).filter(|word| !word.starts_with('-')).collect();
        let (_to, files) = words.split_last().unwrap_or_else(|| panic!("{copy}"));
        let names: BTreeSet<_> = files.iter().filter_map(|path| path.rsplit('/').next()).collect();
        assert_eq!(names.len(), files.len(), "two files of one name: {copy}");
    }
}

#[test]
fn the_readmes_rules_are_those_that_imon_makes() {
    use imon::kernel::{Address, Change, Link, Picture, Rule};
    use imon::routing::{Gateway, Policy, Probed, View, Wan};
    let (own, gateway, target) = ([192, 168, 42, 2].into(), [192, 168, 42, 1].into(), [1, 1, 1, 1].into());
    let targets = vec![Probed { address: target, protocol: imon::kernel::ICMP, port: 0 }];
    let wan = Wan { device: "eth1".into(), gateway: Gateway::Fixed(gateway), targets, remembered: None };
    let standard = Rule { priority: 32_766, table: imon::kernel::MAIN, ..Rule::default() };
    let picture = Picture {
        links: vec![Link { index: 3, name: "eth1".into(), up: true, carrier: true, ..Link::default() }],
        addresses: vec![Address { index: 3, address: own, peer: None, prefix: 24, local: false, secondary: false }],
        rules: vec![standard],
        ..Picture::default()
    };
    let made = Policy::new("main", vec![wan], 201).changes(Some(0), &View::from(&picture));
    let rules = made.iter().filter_map(|change| match change {
        Change::AddRule(rule) | Change::AppendRule(rule) => {
            let nobody = rule.source.filter(|_| rule.inverted).map_or_else(|| "-".to_owned(), |it| it.to_string());
            Some(rule.to_string().replace(&nobody, "255.255.x.y"))
        }
        _ => None,
    });
    // As the README writes them: number, condition.
    let general = |rule: String| {
        let text = rule.replace("pref ", "").replace("192.168.42.2", "ADDRESS").replace("1.1.1.1", "TARGET");
        let (number, rest) = text.split_once(' ').unwrap_or_else(|| panic!("{text}"));
        let end = rest.find(" lookup 171").unwrap_or(rest.len());
        format!("{number}  {}", &rest[..end])
    };
    let rules: Vec<String> = rules.map(general).collect();
    let readme = file("README.md");
    let block = readme.split("    ip rule  ").nth(1).and_then(|rest| rest.split("\n\n").next());
    let shown: Vec<&str> = block.unwrap_or_else(|| panic!("The README shows rules")).lines().skip(1).collect();
    assert_eq!((rules.len(), shown.len()), (6, 4), "{rules:#?}");
    for line in shown {
        let rule = line.trim_start().split(" lookup TABLE").next().unwrap_or_default();
        let rule = rule.split("  default").next().unwrap_or_default();
        assert!(rules.iter().any(|made| made.starts_with(rule)), "'{rule}' is none of {rules:#?}");
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
    // What is on the way to the next one may stand before it.
    let mut sections = changelog.lines().filter(|l| l.starts_with("## ") && *l != "## Unreleased");
    let first = sections.next().unwrap_or_default();
    assert!(first.starts_with(concat!("## ", env!("CARGO_PKG_VERSION"))), "{first}");
}
