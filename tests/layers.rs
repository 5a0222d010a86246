//! Modules stand in layers: each uses only those below its own. The picture is in
//! docs/development/architecture.md.
#![allow(clippy::disallowed_methods, clippy::panic, reason = "test code, not imon's core")]

mod project;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use project::{files, read, root};

/// Top-level modules from the lowest layer to the highest. Modules of one layer do not know each
/// other.
const LAYERS: [&[&str]; 13] = [
    &["base"],
    &["addr", "secret"],
    &["kernel"],
    &["wire", "routing"],
    &["dns"],
    &["probe"],
    &["event"],
    &["monitor"],
    &["config", "web"],
    &["snapshot", "diagnose"],
    &["engine"],
    &["sys", "selftest"],
    &["cli"],
];
/// Lines of the file with the engine's loop.
const LONGEST_LOOP: usize = 400;

fn source() -> PathBuf {
    root().join("src")
}

/// All files of the source, each by its path in it.
fn sources() -> Vec<PathBuf> {
    let inside = |path: PathBuf| path.strip_prefix(source()).map(Path::to_path_buf).ok();
    files(&["src"], "rs").into_iter().filter_map(inside).collect()
}

/// A file's code without comments and without its tests.
fn code(path: &Path) -> String {
    let text = read(source().join(path));
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .fold(String::new(), |all, line| all + line + "\n")
}

/// The first names behind `crate::`, those in braces too.
fn used(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let name = |text: &str| -> String {
            text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
        };
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut item = String::new();
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        names.insert(name(item.trim()));
                        item.clear();
                        continue;
                    }
                    _ => {}
                }
                item.push(c);
            }
            names.insert(name(item.trim()));
        } else {
            names.insert(name(rest));
        }
    }
    names
}

#[test]
fn a_module_uses_only_modules_of_lower_layers() {
    let layer = |module: &str| LAYERS.iter().position(|layer| layer.contains(&module));
    let (mut wrong, mut edges) = (Vec::new(), 0);
    for path in sources() {
        let Some(first) = path.iter().next().and_then(|first| first.to_str()) else { continue };
        let module = first.trim_end_matches(".rs");
        if ["lib", "main"].contains(&module) || path.ends_with("tests.rs") {
            continue;
        }
        let Some(own) = layer(module) else {
            panic!("{}: the module {module} has no layer", path.display())
        };
        for other in used(&code(&path)) {
            if other == module || layer(&other).is_none() {
                continue;
            }
            edges += 1;
            if layer(&other) >= Some(own) {
                wrong.push(format!("{} uses crate::{other}", path.display()));
            }
        }
    }
    assert!(edges > 150, "only {edges} uses were found");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_layer_is_there() {
    let lib = code(Path::new("lib.rs"));
    let declared: BTreeSet<&str> = lib
        .lines()
        .filter_map(|line| line.trim().strip_suffix(';')?.rsplit_once("mod ").map(|(_, name)| name))
        .collect();
    let layers: BTreeSet<&str> = LAYERS.iter().flat_map(|layer| layer.iter().copied()).collect();
    assert_eq!(declared, layers);
}

/// A folder's module is `mod.rs` in it, never a file of its name beside it.
#[test]
fn one_convention_for_module_files() {
    for path in sources() {
        let beside = source().join(&path).with_extension("");
        assert!(!beside.is_dir(), "{} belongs into {}/mod.rs", path.display(), beside.display());
    }
}

#[test]
fn a_list_in_braces_is_read() {
    let names = used("use crate::{a, b::{c, d}};\nlet x = crate::e::f();");
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a", "b", "e"]);
}

#[test]
fn the_loop_fits_on_a_few_screens() {
    let lines = read("src/engine/mod.rs").lines().count();
    assert!((1..=LONGEST_LOOP).contains(&lines), "{lines} lines");
}

/// A reader who meets a name anywhere knows which type it is.
#[test]
fn a_types_bare_name_is_unique_and_none_has_an_alias() {
    let mut types: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut aliases = Vec::new();
    for path in sources().iter().filter(|path| !path.ends_with("tests.rs")) {
        let inside = path.display().to_string();
        for line in code(path).lines() {
            let words: Vec<&str> =
                line.split_whitespace().filter(|word| !word.starts_with("pub")).collect();
            // Those inside a trait or an implementation are indented.
            if let ["struct" | "enum" | "type" | "trait", name, ..] = words[..]
                && !line.starts_with(' ')
            {
                let name: String = name.chars().take_while(|c| c.is_alphanumeric()).collect();
                types.entry(name).or_default().insert(inside.clone());
            }
            let renamed = line
                .rsplit_once(" as ")
                .map(|(_, name)| name.trim_end_matches([';', ',', '}', ' ']));
            let is_use = line.trim_start().starts_with("use ") || line.starts_with("pub use ");
            if is_use
                && !line.contains("pnet::")
                && renamed.is_some_and(|name| name.starts_with(char::is_uppercase))
            {
                aliases.push(format!("{inside}: {line}"));
            }
        }
    }
    assert!(types.len() > 200, "only {} types were found", types.len());
    let shared: Vec<_> = types.iter().filter(|(_, files)| files.len() > 1).collect();
    assert!(shared.is_empty(), "{shared:#?}");
    assert!(aliases.is_empty(), "{aliases:#?}");
}
