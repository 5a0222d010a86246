//! Finding and checking a configuration: the file, what it says, and what of that can be checked on
//! this machine.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use crate::base::error;
use crate::config::source::{ConfigSource, Loaded};
use crate::config::{self, Config, ConfigProblem, DdnsSettings, Located, Overrides};
use crate::monitor::ddns::update::Secret;
use crate::sys::files::{self, ScriptFault};
use crate::sys::{error_text, secret};

/// Longest configuration file that is read, in bytes.
const LONGEST: u64 = 1024 * 1024;

/// Reads and checks it.
#[must_use]
pub fn load(source: &ConfigSource) -> Loaded {
    let text = match files::read(&source.file, LONGEST) {
        Ok(text) => text,
        Err(e) => return unreadable(source, &e),
    };
    let mut loaded = judge(source, &text, &Overrides { addping: source.addping.as_deref() }, true);
    loaded.warnings.extend(
        files::writable_by_others(&source.file).map(|why| format!("Configuration file: {why}")),
    );
    loaded
}

/// Checks a text that is to be the file's, which only its owner will be able to read.
#[must_use]
pub fn judge_new(source: &ConfigSource, text: &[u8]) -> Loaded {
    judge(source, text, &Overrides::default(), false)
}

/// Checks a text; `stands`: that is in the file already, and whoever may read that knows its
/// secrets.
fn judge(source: &ConfigSource, text: &[u8], overrides: &Overrides<'_>, stands: bool) -> Loaded {
    let parsed = config::parse(&source.file, text, overrides);
    let lines = |problems: &[ConfigProblem]| {
        problems.iter().map(ConfigProblem::to_string).collect::<Vec<_>>()
    };
    let (mut errors, mut warnings) = (lines(&parsed.errors), lines(&parsed.warnings));
    if let Some(action) = &parsed.action {
        check_script(action, &mut errors, &mut warnings);
    }
    if let Some(ddns) = parsed.config.as_ref().and_then(|config| config.ddns.as_ref()) {
        check_ddns(ddns, stands.then_some(source.file.as_str()), &mut errors);
    }
    let config = parsed.config.filter(|_| errors.is_empty());
    let print = print(text, config.as_ref());
    Loaded { config, errors, warnings, echo: parsed.echo, found: true, short: false, print }
}

/// What becomes of a file that cannot be read for this reason.
#[must_use]
pub fn unreadable(source: &ConfigSource, e: &std::io::Error) -> Loaded {
    let missing = e.kind() == std::io::ErrorKind::NotFound;
    let error = match (&source.instance, missing) {
        (Some(name), true) => format!(
            "Instance configuration file '{name}' not found: there is no {}; 'imon configure --instance {name}' makes it",
            source.file
        ),
        (None, true) => format!("Configuration file '{}' not found", source.file),
        _ => format!("Configuration file '{}' cannot be read: {}", source.file, error_text(e)),
    };
    let (warnings, echo, short) = (Vec::new(), Vec::new(), error::is_shortage(e));
    Loaded { config: None, errors: vec![error], warnings, echo, found: !missing, short, print: 0 }
}

/// A number that stands for the text and for the files that it names: the script, secrets,
/// certificates.
fn print(text: &[u8], config: Option<&Config>) -> u64 {
    let script =
        config.and_then(|config| config.global.action.as_ref()).map(|action| action.value.clone());
    let ddns = config.and_then(|config| config.ddns.as_ref());
    let roots = ddns.and_then(|ddns| ddns.roots.as_ref()).map(|roots| roots.value.clone());
    let secrets = ddns
        .iter()
        .flat_map(|ddns| &ddns.updates.value)
        .filter_map(|update| secret::path(&update.secret));
    let named = [script, roots].into_iter().flatten().chain(secrets);
    let stamps: Vec<_> = named.map(|path| files::stamp(&path)).collect();
    // Of any two runs of this program the numbers have nothing in common, which they need not.
    BuildHasherDefault::<DefaultHasher>::default().hash_one((text, stamps))
}

/// The script must be there and executable now, so that a typo is not found out in the first
/// outage.
fn check_script(action: &Located<String>, errors: &mut Vec<String>, warnings: &mut Vec<String>) {
    let (path, place) = (&action.value, &action.place);
    let (fault, todo) = match files::check_script(path) {
        Ok(()) => {
            let others = files::writable_by_others(path);
            return warnings
                .extend(others.map(|why| format!("Action script '{path}': {why} ({place})")));
        }
        Err(ScriptFault::Missing) => ("not found", "write it, or leave action empty".to_owned()),
        Err(ScriptFault::NoFile) => ("not executable", "it is a directory or a device".to_owned()),
        Err(ScriptFault::NotExecutable) => ("not executable", format!("use 'chmod 755 {path}'")),
    };
    errors.push(format!("Action script '{path}' {fault}: {todo} ({place})"));
}

/// What the ddns monitor needs besides its settings. Secrets in `file` must be secret.
fn check_ddns(ddns: &DdnsSettings, file: Option<&str>, errors: &mut Vec<String>) {
    if let Some(Located { value: path, place }) = &ddns.roots
        && let Err(e) = files::read_start(path, 1)
    {
        errors.push(format!("ca-file '{path}' cannot be read: {} ({place})", error_text(&e)));
    }
    let place = &ddns.updates.place;
    let mut open = false;
    for update in &ddns.updates.value {
        let label = update.label();
        match &update.secret {
            Secret::Given(_) => {
                if let Some(file) = file
                    && !std::mem::replace(&mut open, true)
                    && let Some(who) = files::readable_by_others(file)
                {
                    errors.push(format!(
                        "There is a secret in {file}, and {who} may read it: use 'chmod 600 {file}', or keep the secret in a \
                         file of its own ({place})"
                    ));
                }
            }
            secret => {
                if let Err(why) = secret::read(secret) {
                    errors.push(format!("Update of {label}: {why} ({place})"));
                }
            }
        }
    }
}
