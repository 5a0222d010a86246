//! What the documents say is what the program does.
#![allow(clippy::disallowed_methods, clippy::panic, reason = "test code, not imon's core")]

mod documents;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use documents::{Block, Kind, blocks, commands, file, transcript, users};
use imon::base::time::{Clock, Instant, Wall};
use imon::config::schema;
use imon::event::Event;

/// Text as mdoc(7) wants it: a sentence begins a line, no line is long, and nothing is taken for a
/// request.
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
    let row = |(id, exit, meaning): &(&str, u8, &str)| {
        format!(".It Cm {id}\n{}", roff(&format!("{exit}: {meaning}.")))
    };
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
    assert_holds(
        "docs/guide/check.md",
        &imon::diagnose::VERDICTS.iter().map(row).collect::<String>(),
    );
}

/// Both ways: no key is missing, and none is there that the program does not know.
#[test]
fn the_manual_lists_every_key_of_an_update() {
    let wanted: BTreeSet<&str> = imon::config::update_keys().collect();
    let manual = file("docs/imon.conf.5");
    let section = manual
        .split(".Ss Updates\n")
        .nth(1)
        .and_then(|rest| rest.split("\n.S").next())
        .unwrap_or_default();
    let found: BTreeSet<&str> =
        section.lines().filter_map(|line| line.strip_prefix(".It Cm ")).collect();
    assert_eq!(found, wanted);
}

/// The options of a text, `--json`.
fn options(text: &str) -> BTreeSet<String> {
    let is_word = |c: char| c.is_ascii_lowercase() || c == '-';
    let starts = text
        .match_indices("--")
        .filter(|(at, _)| !text[..*at].ends_with(is_word))
        .map(|(at, _)| at);
    let words = starts.map(|at| text[at..].chars().take_while(|c| is_word(*c)).collect::<String>());
    words.filter(|word| word.len() > 3).collect()
}

/// The options in the help of a command, without `--help`; the empty name is imon itself.
fn helped(command: &str) -> BTreeSet<String> {
    let mut imon = Command::new(env!("CARGO_BIN_EXE_imon"));
    let help = imon
        .args(Some(command).filter(|c| !c.is_empty()))
        .arg("--help")
        .output()
        .map(|out| out.stdout);
    let help = String::from_utf8(help.unwrap_or_default()).unwrap_or_default();
    let listed = help
        .lines()
        .filter(|l| l.starts_with("  --"))
        .map(|l| l.split("  ").nth(1).unwrap_or_default());
    let found: BTreeSet<String> = listed.flat_map(options).filter(|o| o != "--help").collect();
    assert!(command == "check-config" || !found.is_empty(), "{command}: {help}");
    found
}

/// imon itself and its commands.
const COMMANDS: [&str; 6] =
    ["", "check", "configure", "check-config", "test-action", "external-ip"];

/// What each command's help and the manual say about options is the same, both ways.
#[test]
fn the_manual_lists_every_option_of_every_command() {
    let manual = file("docs/imon.8");
    for command in COMMANDS {
        let wanted = helped(command);
        let title = format!(".Ss {}\n", format!("imon {command}").trim_end());
        let section = manual.split(&title).nth(1).unwrap_or_else(|| panic!("no '{title}'"));
        let section = section.split("\n.S").next().unwrap_or_default();
        let items = section.lines().filter_map(|l| l.strip_prefix(".It Fl \\-"));
        let found: BTreeSet<String> =
            items.map(|l| format!("--{}", l.split(' ').next().unwrap_or_default())).collect();
        assert_eq!(found, wanted, "{command}");
    }
}

#[test]
fn the_guide_names_every_field_of_an_event() {
    let guide = file("docs/guide/operate.md");
    let clock = Clock {
        now: Instant::from_nanos(3_600_000_000_000),
        wall: Wall { secs: 1_795_330_107, nanos: 0 },
    };
    let mut fields = BTreeSet::new();
    for event in Event::examples(clock.now) {
        let json = event.json("main", clock, Some(std::net::Ipv4Addr::LOCALHOST.into()));
        let value: serde_json::Value =
            serde_json::from_str(&json).unwrap_or_else(|e| panic!("{json}: {e}"));
        fields.extend(value.as_object().into_iter().flat_map(|o| o.keys().cloned()));
    }
    assert!(fields.len() >= 15, "{fields:?}");
    for field in fields {
        assert!(
            guide.contains(&format!("| `{field}` |")),
            "The table of event fields lacks `{field}`"
        );
    }
}

/// Every event by its name, with the arguments that its example has.
#[test]
fn the_guide_lists_every_event_with_its_arguments() {
    let guide = file("docs/guide/operate.md");
    let rows: Vec<Vec<&str>> =
        guide.lines().map(|l| l.trim_matches('|').split('|').map(str::trim).collect()).collect();
    for event in Event::examples(Instant::from_nanos(3_600_000_000_000)) {
        let action = event.action().unwrap_or_else(|| panic!("{event:?} calls no script"));
        let name = format!("`{}`", action.name);
        let row = rows.iter().find(|row| row.len() == 6 && row[3].split(", ").any(|it| it == name));
        let row = row.unwrap_or_else(|| panic!("The table of events lacks {name}"));
        // The first three are the same for all: instance, log, name.
        let given = row.iter().skip(4).filter(|cell| !cell.is_empty()).count();
        assert_eq!(given, action.args.len(), "{name}: {row:?}, called with {:?}", action.args);
    }
}

#[test]
fn n1_no_copy_overwrites_another() {
    let mut copies = 0;
    for document in users() {
        for block in blocks(&document).iter().filter(|block| is_shell(block)) {
            for copy in commands(&block.text).into_iter().filter(|words| words[0] == "scp") {
                let words: Vec<&String> =
                    copy.iter().skip(1).filter(|word| !word.starts_with('-')).collect();
                let (_to, files) = words.split_last().unwrap_or_else(|| panic!("{copy:?}"));
                let names: BTreeSet<_> =
                    files.iter().filter_map(|path| path.rsplit('/').next()).collect();
                assert_eq!(
                    names.len(),
                    files.len(),
                    "{}: two files of one name: {copy:?}",
                    block.place
                );
                copies += 1;
            }
        }
    }
    assert!(copies >= 4, "{copies}");
}

#[test]
fn the_guides_rules_are_those_that_imon_makes() {
    use imon::kernel::{Address, Change, Link, Picture, Rule};
    use imon::routing::{GatewaySource, Policy, Probed, RoutingView, Uplink};
    let (own, gateway, target) =
        ([192, 168, 42, 2].into(), [192, 168, 42, 1].into(), [1, 1, 1, 1].into());
    let targets = vec![Probed { address: target, protocol: imon::kernel::ICMP, port: 0 }];
    let wan = Uplink {
        device: "eth1".into(),
        gateway: GatewaySource::Fixed(gateway),
        targets,
        remembered: None,
    };
    let standard = Rule { priority: 32_766, table: imon::kernel::MAIN, ..Rule::default() };
    let picture = Picture {
        links: vec![Link {
            index: 3,
            name: "eth1".into(),
            up: true,
            carrier: true,
            ..Link::default()
        }],
        addresses: vec![Address {
            index: 3,
            address: own,
            peer: None,
            prefix: 24,
            local: false,
            secondary: false,
        }],
        rules: vec![standard],
        ..Picture::default()
    };
    let made = Policy::new("main", vec![wan], 201).changes(Some(0), &RoutingView::from(&picture));
    let rules = made.iter().filter_map(|change| match change {
        Change::AddRule(rule) | Change::AppendRule(rule) => {
            let nobody = rule
                .source
                .filter(|_| rule.inverted)
                .map_or_else(|| "-".to_owned(), |it| it.to_string());
            Some(rule.to_string().replace(&nobody, "255.255.x.y"))
        }
        _ => None,
    });
    // As the guide writes them: number, condition.
    let general = |rule: String| {
        let text = rule
            .replace("pref ", "")
            .replace("192.168.42.2", "ADDRESS")
            .replace("1.1.1.1", "TARGET");
        let (number, rest) = text.split_once(' ').unwrap_or_else(|| panic!("{text}"));
        let end = rest.find(" lookup 171").unwrap_or(rest.len());
        format!("{number}  {}", &rest[..end])
    };
    let rules: Vec<String> = rules.map(general).collect();
    let blocks = blocks("docs/guide/failover.md");
    let block = blocks.iter().find(|block| block.text.starts_with("ip rule  "));
    let shown: Vec<&str> =
        block.unwrap_or_else(|| panic!("The guide shows rules")).text.lines().skip(1).collect();
    assert_eq!((rules.len(), shown.len()), (6, 4), "{rules:#?}");
    for line in shown {
        let rule = line.trim_start().split(" lookup TABLE").next().unwrap_or_default();
        let rule = rule.split("  default").next().unwrap_or_default();
        assert!(rules.iter().any(|made| made.starts_with(rule)), "'{rule}' is none of {rules:#?}");
    }
}

#[test]
fn every_configuration_is_valid() {
    let mut tried = 0;
    for block in users()
        .iter()
        .flat_map(|document| blocks(document))
        .filter(|b| b.kind() == Some(Kind::Configuration))
    {
        let parsed = imon::config::parse(
            &block.place,
            block.text.as_bytes(),
            &imon::config::Overrides::default(),
        );
        assert!(
            parsed.errors.is_empty() && parsed.warnings.is_empty(),
            "{:?} {:?}",
            parsed.errors,
            parsed.warnings
        );
        tried += 1;
    }
    assert!(tried >= 5, "{tried}");
}

/// Each is a fenced block of a kind that the tests know: nothing is shown that nobody tries without
/// a reason.
#[test]
fn every_code_block_is_of_a_known_kind() {
    for document in users() {
        for block in blocks(&document) {
            assert!(
                block.kind().is_some(),
                "{}: '{}' is none of {:?}",
                block.place,
                block.tag,
                documents::KINDS
            );
            let in_lab =
                matches!(block.kind(), Some(Kind::Lab | Kind::Transcript | Kind::Configuration));
            assert!(in_lab || block.lab.is_none(), "{}: is not tried in the lab", block.place);
        }
        let text = file(&document);
        let outside = text.split("\n```").step_by(2);
        let indented = outside.flat_map(str::lines).find(|line| line.starts_with("    "));
        assert_eq!(indented, None, "{document}: code is to stand in a fenced block");
    }
}

fn is_shell(block: &Block) -> bool {
    !matches!(block.kind(), Some(Kind::Configuration | Kind::Text) | None)
}

/// The commands of all blocks and of the text between them, each with its place.
fn all_commands() -> Vec<(String, Vec<String>)> {
    let mut all = Vec::new();
    for document in users() {
        for block in blocks(&document).iter().filter(|block| is_shell(block)) {
            let shown = if block.kind() == Some(Kind::Transcript) {
                transcript(block).into_iter().map(|(command, _)| command).collect()
            } else {
                vec![block.text.clone()]
            };
            all.extend(
                shown
                    .iter()
                    .flat_map(|text| commands(text))
                    .map(|command| (block.place.clone(), command)),
            );
        }
        let text = file(&document);
        for paragraph in text.split("\n```").step_by(2) {
            let spans = paragraph.split('`').skip(1).step_by(2);
            let inline = spans.flat_map(|span| commands(&span.replace('\n', " ")));
            let calls = inline.filter(|words| words.first().is_some_and(|word| word == "imon"));
            all.extend(calls.map(|command| (document.clone(), command)));
        }
    }
    all
}

#[test]
fn every_call_of_imon_has_options_that_it_knows() {
    let known: BTreeMap<&str, BTreeSet<String>> =
        COMMANDS.map(|command| (command, helped(command))).into();
    let mut tried = 0;
    for (place, words) in all_commands() {
        // `ssh HOST imon …` is none of these.
        let Some((_, rest)) = words.split_first().filter(|(program, _)| *program == "imon") else {
            continue;
        };
        let name = rest.first().filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
        let known = known
            .get(name.map_or("", String::as_str))
            .unwrap_or_else(|| panic!("{place}: {words:?}"));
        for option in rest.iter().filter(|word| word.starts_with("--")) {
            let option = option.split('=').next().unwrap_or_default();
            assert!(known.contains(option), "{place}: {words:?}: no {option} in {known:?}");
        }
        tried += 1;
    }
    assert!(tried >= 20, "{tried}");
}

/// Files of the project that commands name are there, and the version of packages is this one.
#[test]
fn every_file_in_a_command_is_there() {
    const FOLDERS: [&str; 9] = [
        "benches/",
        "cross/",
        "debian/",
        "docs/",
        "examples/",
        "init.d/",
        "openwrt/",
        "systemd/",
        "tests/",
    ];
    let mut tried = 0;
    for (place, words) in all_commands() {
        for word in &words {
            if FOLDERS.iter().any(|folder| word.starts_with(folder)) {
                assert!(
                    Path::new(env!("CARGO_MANIFEST_DIR")).join(word).exists(),
                    "{place}: there is no {word}"
                );
                tried += 1;
            }
            if let Some((_, version)) = word.split_once("imon_") {
                assert!(
                    version.starts_with(concat!(env!("CARGO_PKG_VERSION"), "-1_")),
                    "{place}: {word}"
                );
                tried += 1;
            }
        }
    }
    assert!(tried >= 15, "{tried}");
}

/// Targets and architectures are those that the scripts know. They are not run here: they download
/// a toolchain.
#[test]
fn what_is_built_can_be_built() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tried = 0;
    for (place, words) in all_commands() {
        let script = ["cross/build", "debian/package", "openwrt/ipk"]
            .into_iter()
            .find(|script| *script == words[0]);
        let Some(script) = script else { continue };
        let help = Command::new(root.join(script))
            .arg("--help")
            .current_dir(root)
            .output()
            .map(|out| out.stdout);
        let help = String::from_utf8(help.unwrap_or_default()).unwrap_or_default();
        let known: BTreeSet<&str> = help
            .split(|c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']'))
            .filter(|w| !w.is_empty())
            .collect();
        for word in words.iter().skip(1).filter(|word| *word != "--help") {
            assert!(
                known.contains(word.as_str()),
                "{place}: {script} does not know {word}: {help}"
            );
            tried += 1;
        }
    }
    assert!(tried >= 5, "{tried}");
}

/// .ci/run runs the first `cargo test` of the README, and the rest by name.
#[test]
fn the_readmes_two_commands_are_run_by_ci() {
    let readme = file("README.md");
    let test = readme.lines().find(|line| line.trim_start().starts_with("cargo test"));
    let ci = file(".ci/run");
    let mut tried = 0;
    for block in
        users().iter().flat_map(|document| blocks(document)).filter(|b| b.kind() == Some(Kind::Ci))
    {
        for line in block.text.lines() {
            assert!(
                test == Some(line) || ci.contains(line),
                "{}: .ci/run does not run '{line}'",
                block.place
            );
            tried += 1;
        }
    }
    assert_eq!(tried, 2);
}

#[test]
fn the_readme_has_at_most_200_lines() {
    let lines = file("README.md").lines().count();
    assert!(lines <= 200, "{lines} lines: move something to docs/guide");
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// The headings of a document from this level on, without those in code.
fn headings(document: &str, level: usize) -> Vec<String> {
    let text = file(document);
    let outside = format!("\n{text}");
    let lines: Vec<&str> = outside.split("\n```").step_by(2).flat_map(str::lines).collect();
    let mut headings = Vec::new();
    for line in lines {
        if let Some((hashes, heading)) = line.split_once("# ")
            && hashes.bytes().all(|b| b == b'#')
            && hashes.len() + 1 >= level
        {
            headings.push(heading.to_owned());
        }
    }
    headings
}

/// The links of a document: text and target.
fn links(document: &str) -> Vec<(String, String)> {
    let text = file(document);
    let outside = format!("\n{text}");
    let mut links = Vec::new();
    for part in outside.split("\n```").step_by(2) {
        for (at, _) in part.match_indices("](") {
            let text = part[..at].rsplit('[').next().unwrap_or_default();
            let target = part[at + 2..].split(')').next().unwrap_or_default();
            links.push((text.replace('\n', " "), target.to_owned()));
        }
    }
    links
}

#[test]
fn every_page_of_the_guide_begins_with_its_contents() {
    for page in users().into_iter().skip(1) {
        let text = file(&page);
        let listed = text.lines().skip(2).take_while(|line| line.starts_with("* ["));
        let listed: Vec<&str> =
            listed.filter_map(|line| line.strip_prefix("* [")?.split("](").next()).collect();
        let headings: Vec<String> = headings(&page, 2);
        let sections: Vec<&str> = text
            .lines()
            .filter_map(|l| l.strip_prefix("## "))
            .filter(|l| headings.iter().any(|h| h == l))
            .collect();
        assert_eq!(listed, sections, "{page}: the contents at its top are not its sections");
    }
}

#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let more = ["docs/beside.md", "docs/renewal.md", "CHANGELOG.md"].map(str::to_owned);
    for document in users().into_iter().chain(more) {
        for (text, target) in links(&document) {
            if target.contains("://") {
                continue;
            }
            let (path, section) =
                target.split_once('#').map_or((&*target, None), |(path, at)| (path, Some(at)));
            let folder = Path::new(&document).parent().unwrap_or(Path::new(""));
            let file =
                if path.is_empty() { Path::new(&document).to_owned() } else { folder.join(path) };
            assert!(
                root.join(&file).exists(),
                "{document}: [{text}]({target}): there is no {}",
                file.display()
            );
            if let Some(section) = section {
                let name = file.to_string_lossy();
                let there = headings(&name, 1).iter().any(|heading| anchor(heading) == section);
                assert!(there, "{document}: [{text}]({target}): {name} has no such section");
            }
        }
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
