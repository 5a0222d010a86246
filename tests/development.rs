//! What docs/development says is so: requirements and their tests, `unsafe` and its reasons,
//! dependencies, releases, hosted CI.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code, not imon's core"
)]

mod project;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use project::{files, read, root};
use serde_json::Value;

const REQUIREMENTS: &str = "docs/development/requirements.md";
const THREAT_MODEL: &str = "docs/development/threat-model.md";

/// The families of ids.
const FAMILIES: &str = "BDVSCUN";

/// Returns the id that a word is: `B8`, `b8`.
fn id(word: &str) -> Option<String> {
    let (family, number) = word.split_at_checked(1)?;
    let family = family.to_ascii_uppercase();
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    (is_number && FAMILIES.contains(&family)).then(|| family + number)
}

fn user_issue(number: &str) -> Option<String> {
    number.parse::<u32>().ok().map(|number| format!("user issue #{number}"))
}

/// Returns the ids in front of a test's name: `b2_b3_…`, `issue3_…`, `user_issue_5_…`.
fn ids_of_name(name: &str) -> Vec<String> {
    let mut words = name.split('_').peekable();
    let mut ids = Vec::new();
    while let Some(word) = words.next() {
        let found = match word {
            "user" if words.peek() == Some(&"issue") => words.nth(1).and_then(user_issue),
            // Of a function that reads a number.
            "u8" | "u16" | "u32" | "u64" => None,
            _ => id(word).or_else(|| user_issue(word.strip_prefix("issue")?)),
        };
        match found {
            Some(id) => ids.push(id),
            None => break,
        }
    }
    ids
}

/// Returns the ids that a comment line consists of, if it has nothing else: `/// B26`, `/// D8,
/// user issue #3`.
fn ids_of_comment(line: &str) -> Vec<String> {
    let Some(text) = line.trim_start().strip_prefix("//") else { return Vec::new() };
    let parts = text.trim_start_matches('/').trim().split(", ");
    let ids =
        parts.map(|part| part.strip_prefix("user issue #").map_or_else(|| id(part), user_issue));
    ids.collect::<Option<_>>().unwrap_or_default()
}

/// Returns the ids in a text for people. `V2.99` is none.
fn ids_of_text(text: &str) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for (at, _) in text.match_indices(|c| FAMILIES.contains(c)) {
        let before = text[..at].chars().next_back();
        let digits: String = text[at + 1..].chars().take_while(char::is_ascii_digit).collect();
        let mut after = text[at + 1 + digits.len()..].chars();
        let next = after.next();
        let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let is_version = next == Some('.') && after.next().is_some_and(|c| c.is_ascii_digit());
        if !is_part(before) && !is_part(next) && !is_version {
            ids.extend(id(&text[at..at + 1 + digits.len()]));
        }
    }
    for part in text.split("user issue #").skip(1) {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        ids.extend(user_issue(&digits));
    }
    ids
}

/// Returns the requirements, and whether each is met.
fn requirements() -> BTreeMap<String, bool> {
    let mut found = BTreeMap::new();
    for line in read(REQUIREMENTS).lines().filter_map(|line| line.strip_prefix("- **")) {
        let (id, text) = line.split_once("** ").unwrap_or_else(|| panic!("{line}"));
        let wanted = text.strip_prefix("*Not yet met.* ");
        let says = wanted.unwrap_or(text);
        assert!(says.ends_with('.') && says.len() > 20, "{id} says nothing: {says}");
        assert_eq!(found.insert(id.to_owned(), wanted.is_none()), None, "{id} is defined twice");
    }
    assert!(found.len() > 80, "{found:?}");
    found
}

/// Returns the ids that tests carry, each with one of those tests.
fn tested() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for file in files(&["src", "tests"], "rs") {
        for line in read(&file).lines() {
            let name =
                line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
            let name = name
                .strip_prefix("fn ")
                .and_then(|rest| rest.split(['(', '<']).next())
                .unwrap_or_default();
            for id in ids_of_name(name).into_iter().chain(ids_of_comment(line)) {
                found.insert(id, format!("{}: {}", file.display(), line.trim()));
            }
        }
    }
    for patch in files(&["tests/world/mutants"], "patch") {
        let name = patch.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        found.extend(id(name).map(|id| (id, patch.display().to_string())));
    }
    found
}

#[test]
fn every_id_is_a_requirement_and_every_requirement_has_a_test() {
    let (requirements, tested) = (requirements(), tested());
    for (id, place) in &tested {
        assert!(
            requirements.contains_key(id),
            "{REQUIREMENTS} does not define {id}, which is used in {place}"
        );
    }
    let lacking: Vec<&String> = requirements
        .iter()
        .filter(|(id, met)| **met && !tested.contains_key(*id))
        .map(|(id, _)| id)
        .collect();
    assert!(
        lacking.is_empty(),
        "no test carries these requirements, though they are called met: {lacking:?}"
    );
}

#[test]
fn documents_use_no_other_ids_and_the_changelog_only_those_that_are_met() {
    let requirements = requirements();
    let changelog = root().join("CHANGELOG.md");
    let mut documents = files(&["docs"], "md");
    documents.extend([changelog.clone(), root().join("README.md"), root().join("CONTRIBUTING.md")]);
    for document in documents {
        for id in ids_of_text(&read(&document)) {
            let met = requirements.get(&id).unwrap_or_else(|| {
                panic!("{REQUIREMENTS} does not define {id}, which {} uses", document.display())
            });
            assert!(
                *met || document != changelog,
                "the changelog has {id}, which {REQUIREMENTS} calls not yet met"
            );
        }
    }
}

#[test]
fn ids_are_recognised() {
    let names = |name: &str| ids_of_name(name).join(" ");
    assert_eq!(names("b2_b3_an_upstream_that_dies"), "B2 B3");
    assert_eq!(names("b1_issue9_a_name"), "B1 user issue #9");
    assert_eq!(names("user_issue_5_our_own_address"), "user issue #5");
    assert_eq!(
        (names("u32_at"), names("binary"), names("a_b1_name")),
        (String::new(), String::new(), String::new())
    );
    assert_eq!(ids_of_comment("    /// B26, user issue #3"), ["B26", "user issue #3"]);
    assert!(
        ids_of_comment("// B26 is about pings").is_empty()
            && ids_of_comment("fn b26() {}").is_empty()
    );
    let text: Vec<String> =
        ids_of_text("(B2 to B7, user issue #4); V2.99's IPv4, V11. Not A1, xB1 or B1x")
            .into_iter()
            .collect();
    assert_eq!(text, ["B2", "B7", "V11", "user issue #4"]);
}

/// Counts the keyword in a source, comments left out.
fn unsafes(source: &str) -> usize {
    let code = source.lines().map(|line| line.split("//").next().unwrap_or_default());
    code.flat_map(|code| code.split(|c: char| !c.is_alphanumeric() && c != '_'))
        .filter(|word| *word == "unsafe")
        .count()
}

#[test]
fn the_threat_model_has_a_reason_for_every_unsafe() {
    let mut used = BTreeMap::new();
    for file in files(&["src"], "rs") {
        let count = unsafes(&read(&file));
        if count > 0 {
            used.insert(file.strip_prefix(root()).unwrap().display().to_string(), count);
        }
    }
    let text = read(THREAT_MODEL);
    let mut listed = BTreeMap::new();
    for row in text.lines().filter(|line| line.starts_with("| `src/")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [file, count, purpose, soundness] = cells[..] else { panic!("{row}") };
        assert!(!purpose.is_empty() && !soundness.is_empty(), "{row}");
        listed.insert(
            file.trim_matches('`').to_owned(),
            count.parse().unwrap_or_else(|e| panic!("{row}: {e}")),
        );
    }
    let differ = |one: &BTreeMap<String, usize>, other: &BTreeMap<String, usize>| {
        one.clone()
            .into_iter()
            .filter(|(file, count)| other.get(file) != Some(count))
            .collect::<Vec<_>>()
    };
    let (stale, missing) = (differ(&listed, &used), differ(&used, &listed));
    assert_eq!(
        (&stale, &missing),
        (&vec![], &vec![]),
        "{THREAT_MODEL} lists the first, the source has the second"
    );
}

/// Licences that only demand to be named along with the program.
const LICENCES: [&str; 7] =
    ["MIT", "Apache-2.0", "BSD-3-Clause", "CDLA-Permissive-2.0", "ISC", "Unicode-3.0", "Unlicense"];

/// Packages of which there is more than one version, and why.
const TWICE: [(&str, &str); 1] = [(
    "syn",
    "only used by macros at build time; argh_derive and pnet_macros still need version 2",
)];

/// Returns cargo's description of the workspace's packages and all they need on this machine, tests
/// included. Needs no network: whoever runs this test has just compiled them.
fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let run = |arguments: &[&str]| {
        let done = Command::new(&cargo).args(arguments).current_dir(root()).output().unwrap();
        assert!(
            done.status.success(),
            "cargo {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&done.stderr)
        );
        String::from_utf8(done.stdout).unwrap()
    };
    let version = run(&["-vV"]);
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap_or_else(|| panic!("{version}"));
    let mut arguments =
        vec!["metadata", "--locked", "--offline", "--format-version=1", "--filter-platform", host];
    if !cfg!(feature = "tls") {
        arguments.push("--no-default-features");
    }
    serde_json::from_str(&run(&arguments)).unwrap()
}

/// Returns name, version, licence and source of each package.
fn packages() -> Vec<[String; 4]> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all: Vec<_> = packages
        .iter()
        .map(|p| ["name", "version", "license", "source"].map(|key| text(&p[key])))
        .collect();
    assert!(all.len() > 40, "{all:?}");
    all
}

/// Returns whether an SPDX expression leaves a choice that is allowed. `OR` binds less than `AND`;
/// old crates write `/` for it.
fn is_allowed(expression: &str) -> bool {
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = text.split_whitespace().collect();
    matches!(either(&words), Some((true, [])))
}

/// Whether the part read so far is allowed, and the words after it; `None` if it is not an
/// expression.
type Judged<'a> = Option<(bool, &'a [&'a str])>;

fn either<'a>(words: &'a [&'a str]) -> Judged<'a> {
    let (allowed, left) = both(words)?;
    let ["OR", rest @ ..] = left else { return Some((allowed, left)) };
    let (other, left) = either(rest)?;
    Some((allowed || other, left))
}

fn both<'a>(words: &'a [&'a str]) -> Judged<'a> {
    let (allowed, left) = one(words)?;
    let ["AND", rest @ ..] = left else { return Some((allowed, left)) };
    let (other, left) = both(rest)?;
    Some((allowed && other, left))
}

fn one<'a>(words: &'a [&'a str]) -> Judged<'a> {
    match words {
        ["(", rest @ ..] => match either(rest)? {
            (allowed, [")", rest @ ..]) => Some((allowed, rest)),
            _ => None,
        },
        // An exception only allows more.
        [licence, "WITH", _, rest @ ..] | [licence, rest @ ..] => {
            Some((LICENCES.contains(licence), rest))
        }
        [] => None,
    }
}

#[test]
fn every_dependency_has_a_licence_that_is_allowed_and_comes_from_the_registry() {
    for [name, version, licence, source] in packages() {
        assert!(is_allowed(&licence), "{name} {version}: is its licence fine? '{licence}'");
        let is_ours = source.is_empty() && name.starts_with("imon");
        assert!(
            is_ours || source.starts_with("registry+"),
            "{name} {version} comes from '{source}'"
        );
    }
}

#[test]
fn licences_are_judged_as_spdx_means_them() {
    for fine in [
        "MIT",
        "MIT OR Apache-2.0",
        "MIT/Apache-2.0",
        "GPL-3.0 OR MIT",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
    ] {
        assert!(is_allowed(fine), "{fine}");
    }
    for bad in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR ISC) AND GPL-3.0",
        "MIT OR",
        "(MIT",
        "MIT) OR ISC",
        "MIT ISC",
    ] {
        assert!(!is_allowed(bad), "{bad}");
    }
}

#[test]
fn no_dependency_is_used_in_two_versions() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for [name, version, ..] in packages() {
        versions.entry(name).or_default().insert(version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let allowed: BTreeSet<&str> = TWICE.iter().map(|(name, _)| *name).collect();
    let found: BTreeSet<&str> = versions.keys().map(String::as_str).collect();
    assert_eq!(found, allowed, "{versions:?}; allowed are {TWICE:?}");
}

#[test]
fn the_day_of_the_release_is_the_same_everywhere() {
    let released = imon::base::time::RELEASED;
    let time = imon::base::time::Wall { secs: released, nanos: 0 }.to_string();
    let day = time
        .strip_suffix("T00:00:00.000Z")
        .unwrap_or_else(|| panic!("{time} is no beginning of a day"));
    let heading = format!("## {} ({day})", env!("CARGO_PKG_VERSION"));
    assert!(
        read("CHANGELOG.md").lines().any(|line| line == heading),
        "CHANGELOG.md has no '{heading}'"
    );
    let date = format!("SOURCE_DATE_EPOCH={released}\n");
    assert!(read("debian/package").contains(&date), "debian/package has no {date}");
}

#[test]
fn hosted_ci_runs_our_script_and_nobody_elses_actions() {
    for workflow in files(&[".github/workflows"], "yml") {
        let text = read(&workflow);
        let uses: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split_once("uses: ").map(|(_, action)| action))
            .collect();
        assert!(
            uses.iter().all(|action| action.starts_with("actions/checkout@")),
            "{}: {uses:?}",
            workflow.display()
        );
        assert!(text.contains("- run: .ci/run\n"), "{}", workflow.display());
    }
}
