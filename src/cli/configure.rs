//! `imon configure`: the dialogue of V2.99's `imon-configure`, and on a terminal more.

use std::io::{BufRead, Write as _};
use std::net::IpAddr;
use std::path::Path;

use super::args::Selection;
use super::{CONFIGURATION, OK, USAGE, check, complain, fail, print, with_signals};
use crate::base::text::Clean;
use crate::config::dialogue::{
    AnswerKind, Device, Given, Head, Machine, Prompt, QUESTIONS, fresh, head, prompt, typed, yes,
};
use crate::config::source::{ConfigSource, Loaded};
use crate::config::{self, MONITORS, edit, instance};
use crate::dns::resolver;
use crate::kernel::{MAIN, Picture};
use crate::sys::files::{self, ScriptFault};
use crate::sys::netlink::Requests;
use crate::sys::{clock, configuration, error_text, signal, terminal};

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct ConfigureRequest {
    /// `--instance`.
    pub(super) instance: Option<String>,
    /// `--set`.
    pub(super) set: Vec<String>,
    /// `--print`.
    pub(super) print: bool,
}

/// The program's other name, which makes it this command.
pub(super) const NAME: &str = "imon-configure";
/// Longest answer, in bytes.
const LONGEST: u64 = 64 * 1024;
/// Longest file that is read, in bytes.
const LARGEST: u64 = config::MAX_BYTES as u64;

/// Runs the command.
pub(super) fn run(ask: &ConfigureRequest) -> u8 {
    let given = ask.instance.as_deref();
    match given.map(instance::check) {
        Some(Err(e)) => return fail(CONFIGURATION, &[e]),
        Some(Ok(Some(warning))) => complain(&format!("Warning: {warning}")),
        _ => {}
    }
    let instance = given.unwrap_or("main");
    if ask.print {
        return show(instance);
    }
    if !ask.set.is_empty() {
        return set(instance, &ask.set);
    }
    match Dialogue::new().hold(given) {
        Ok(code) => code,
        Err(End) => {
            print("\n");
            complain("? The answers ended too early. Nothing was written");
            CONFIGURATION
        }
    }
}

fn file_of(instance: &str) -> String {
    ConfigSource::instance(instance, None).file
}

/// The text of an instance's file; `None`: there is none.
fn read(file: &str) -> Result<Option<String>, String> {
    match files::read(file, LARGEST) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(format!("{file} is not UTF-8: save it in that encoding")),
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("{file} cannot be read: {}{}", error_text(&e), as_root(&e))),
    }
}

fn as_root(e: &std::io::Error) -> &'static str {
    if e.kind() == std::io::ErrorKind::PermissionDenied {
        ". Run this as root (sudo imon configure)"
    } else {
        ""
    }
}

/// Writes a file, with the one before it kept beside it.
fn write(file: &str, old: Option<&str>, new: &str) -> Result<(), String> {
    let path = files::resolved(Path::new(file));
    let beside = |end: &str| {
        path.with_file_name(format!(
            "{}{end}",
            path.file_name().unwrap_or_default().to_string_lossy()
        ))
    };
    let temporary = beside(&format!(".{}.new", std::process::id()));
    let cannot = |what: &Path, e: &std::io::Error| {
        format!("{} cannot be written: {}{}", what.display(), error_text(e), as_root(e))
    };
    // Ctrl-C comes before or after this, not in between.
    signal::block();
    let _let_in_again = Unblock;
    if let Some(directory) = path.parent() {
        files::make_directory(directory).map_err(|e| cannot(directory, &e))?;
    }
    if let Some(old) = old.filter(|old| *old != new) {
        let backup = beside(".bak");
        files::save(&backup, &temporary, old.as_bytes()).map_err(|e| cannot(&backup, &e))?;
    }
    files::save(&path, &temporary, new.as_bytes()).map_err(|e| cannot(&path, &e))
}

/// Lets signals in when it goes.
struct Unblock;

impl Drop for Unblock {
    fn drop(&mut self) {
        signal::unblock();
    }
}

/// `--print`.
fn show(instance: &str) -> u8 {
    let file = file_of(instance);
    let text = match read(&file) {
        Ok(Some(text)) => text,
        Ok(None) => {
            return fail(
                CONFIGURATION,
                &[format!("There is no {file}: 'imon configure --instance {instance}' makes it")],
            );
        }
        Err(e) => return fail(CONFIGURATION, &[e]),
    };
    let all = match edit::effective(&file, text.as_bytes()) {
        Ok(all) => all,
        Err(problem) => return fail(CONFIGURATION, &[problem.to_string()]),
    };
    let width = all.iter().map(|e| e.name.len()).max().unwrap_or(0);
    let mut wrong = Vec::new();
    for e in all {
        let origin = match (e.line, e.unknown) {
            (Some(line), false) => {
                format!("{file}:{line}{}", if e.wrong.is_some() { ", not valid" } else { "" })
            }
            (Some(line), true) => format!("{file}:{line}, not known to imon"),
            (None, _) => "default".to_owned(),
        };
        print(&format!("{:width$}  {}  ({origin})\n", e.name, e.value));
        wrong.extend(e.wrong);
    }
    fail(if wrong.is_empty() { OK } else { CONFIGURATION }, &wrong)
}

/// `--set`.
fn set(instance: &str, changes: &[String]) -> u8 {
    let file = file_of(instance);
    let old = match read(&file) {
        Ok(old) => old,
        Err(e) => return fail(CONFIGURATION, &[e]),
    };
    let mut text = old.clone().unwrap_or_else(|| {
        fresh(&head(&Head { instance: instance.to_owned(), note: String::new(), created: now() }))
    });
    let mut errors = Vec::new();
    for change in changes {
        let Some((name, value)) = change.split_once('=') else {
            complain(&format!(
                "--set is SECTION.KEY=VALUE, not '{}'. See 'imon configure --help'.",
                Clean(change)
            ));
            return USAGE;
        };
        let changed = edit::key(name.trim()).and_then(|key| {
            let raw = edit::value(key, value)?;
            edit::set(&file, &text, key, &raw).map_err(|problem| problem.to_string())
        });
        match changed {
            Ok(changed) => text = changed,
            Err(e) => errors.push(e),
        }
    }
    if errors.is_empty() {
        let loaded = judged(instance, &file, &text);
        loaded.warnings.iter().for_each(|w| complain(&format!("Warning: {w}")));
        errors = loaded.errors;
    }
    if !errors.is_empty() {
        errors.push(match old {
            Some(_) => format!("{file} was left as it was"),
            None => format!("{file} was not made"),
        });
        return fail(CONFIGURATION, &errors);
    }
    if old.as_deref() == Some(text.as_str()) {
        print(&format!("'{file}' is so already\n"));
        return OK;
    }
    match write(&file, old.as_deref(), &text) {
        Ok(()) => {
            print(&format!("Wrote '{file}'\n"));
            OK
        }
        Err(e) => fail(CONFIGURATION, &[e]),
    }
}

/// What imon will say to this text.
fn judged(instance: &str, file: &str, text: &str) -> Loaded {
    let source =
        ConfigSource { file: file.to_owned(), instance: Some(instance.to_owned()), addping: None };
    configuration::judge_new(&source, text.as_bytes())
}

fn now() -> String {
    let mut text = String::new();
    clock::local(clock::wall(), "%Y-%m-%d %H:%M:%S", &mut text);
    text
}

/// There are no more answers.
struct End;

struct Dialogue {
    /// A person types.
    person: bool,
    machine: Machine,
    given: Vec<Given>,
    /// The file that there is already, by whose values a person goes on.
    old: Option<String>,
}

impl Dialogue {
    fn new() -> Self {
        let person = terminal::is_input() && terminal::is_output();
        let machine = if person { machine() } else { Machine::default() };
        Self { person, machine, given: Vec::new(), old: None }
    }

    fn hold(mut self, instance: Option<&str>) -> Result<u8, End> {
        print(
            "\nBuild imon configuration file\nSee https://github.com/gitbls/imon for configuration details\n\n",
        );
        let instance = match instance {
            Some(instance) => instance.to_owned(),
            None => self.instance()?,
        };
        let file = file_of(&instance);
        let old = match read(&file) {
            Ok(old) => old,
            Err(e) => return Ok(fail(CONFIGURATION, &[e])),
        };
        // Now, and not after thirty questions.
        let directory = files::resolved(Path::new(&file));
        let directory = directory.parent().unwrap_or(Path::new("/"));
        if let Err(e) = files::can_write_in(directory) {
            let (directory, why) = (directory.display(), error_text(&e));
            return Ok(fail(
                CONFIGURATION,
                &[format!("Nothing can be written in {directory}: {why}{}", as_root(&e))],
            ));
        }
        if let Some(text) = old.as_ref().filter(|_| self.person) {
            match edit::readable(&file, text.as_bytes()) {
                Ok(()) => {
                    print(&format!(
                        "'{file}' is there: what it says is in brackets, and a - empties a setting\n"
                    ));
                    self.old.clone_from(&old);
                }
                Err(problem) => {
                    print(&format!("% '{file}' is there and cannot be read: {problem}\n"));
                    if !self.yes("Start afresh, and keep it as .bak? [y/N]: ", false)? {
                        return Ok(CONFIGURATION);
                    }
                }
            }
        }
        let note = self.old_value("global", "note");
        let note = match self.line(&prompt("Note to add to config file", &note))?.as_str() {
            "" => note,
            "-" if self.person => String::new(),
            answer => answer.to_owned(),
        };
        for section in std::iter::once("global").chain(MONITORS) {
            if section != "global" && !self.enable(section)? {
                continue;
            }
            for question in QUESTIONS.iter().filter(|q| q.section == section) {
                let raw = self.ask(question)?;
                self.given.push(Given { section, name: question.name, raw });
            }
            if section == "failover" && self.person {
                self.propose_events()?;
            }
        }
        let head = head(&Head { instance: instance.clone(), note, created: now() });
        self.given.extend(head);
        let text = match self.text(&file) {
            Ok(text) => text,
            Err(e) => return Ok(fail(CONFIGURATION, &[e])),
        };
        let loaded = judged(&instance, &file, &text);
        let problems = loaded.errors.iter().chain(&loaded.warnings);
        problems.for_each(|problem| self.warn(problem));
        // The quote that is missing was missing in the documented dialogue, too.
        if !self.yes(&format!("\nWrite configuration file '{file}? [Y/n] "), true)? {
            return Ok(OK);
        }
        if let Err(e) = write(&file, old.as_deref(), &text) {
            return Ok(fail(CONFIGURATION, &[e]));
        }
        print(&format!("Wrote '{file}'\n"));
        if self.person {
            self.afterwards(&instance, &file, old.is_some_and(|old| old != text));
        }
        Ok(OK)
    }

    fn instance(&self) -> Result<String, End> {
        loop {
            let answer = self.line(&prompt("Instance name", "main"))?;
            let name = if answer.is_empty() { "main".to_owned() } else { answer };
            match instance::check(&name) {
                Ok(warning) => {
                    warning.iter().for_each(|w| self.warn(w));
                    return Ok(name);
                }
                Err(e) => print(&format!("% {e}\n")),
            }
        }
    }

    /// Whether a monitor is to run.
    fn enable(&mut self, section: &'static str) -> Result<bool, End> {
        let before = self.old_flag(section, "enable") == Some(true);
        let choice = if before { "[Y/n]" } else { "[y/N]" };
        let on = self.yes(&format!("* Enable the '{section}' monitor? {choice}: "), before)?;
        self.given.push(Given { section, name: "enable", raw: on.to_string() });
        Ok(on)
    }

    /// What V2.99 did not have and scripts do not know is proposed to a person, once.
    fn propose_events(&mut self) -> Result<(), End> {
        let script = self.given.iter().any(|given| given.name == "action" && given.raw != "\"\"");
        if !script || self.old_raw("global", "events").is_some() {
            return Ok(());
        }
        let question = "Call the action script at each outage of a network too, and each 10 minutes of it? [Y/n]: ";
        if self.yes(question, true)? {
            self.given.push(Given { section: "global", name: "events", raw: "\"all\"".to_owned() });
            self.given.push(Given { section: "failover", name: "remind", raw: "600".to_owned() });
        }
        Ok(())
    }

    /// Asks until the answer is a good one, which is returned as JSON.
    fn ask(&self, question: &Prompt) -> Result<String, End> {
        let before = match question.answer {
            AnswerKind::Flag => match self.old_flag(question.section, question.name) {
                Some(true) => "Y".to_owned(),
                Some(false) => "N".to_owned(),
                None => String::new(),
            },
            _ => self.old_value(question.section, question.name),
        };
        // As it is written, if it is a good value.
        let kept = self.old_raw(question.section, question.name).filter(|raw| {
            !before.is_empty() && question.key().is_some_and(|key| edit::check(key, raw).is_ok())
        });
        let default = if before.is_empty() { question.default.to_owned() } else { before };
        let choices =
            if self.person { self.machine.choices(question, &self.given) } else { Vec::new() };
        let width = choices.iter().map(|(value, _)| value.len()).max().unwrap_or(0);
        for (number, (value, what)) in (1..).zip(&choices) {
            print(&format!("  {number}) {:width$}  {}\n", Clean(value).to_string(), Clean(what)));
        }
        loop {
            let answer = self.line(&question.line(&default))?;
            let chosen = answer.parse::<usize>().ok().and_then(|n| choices.get(n.checked_sub(1)?));
            let text = match (chosen, answer.as_str()) {
                (Some((value, _)), _) => value.clone(),
                (None, "") => default.clone(),
                (None, "-") if self.person && question.is_optional() => String::new(),
                (None, answer) => answer.to_owned(),
            };
            let raw = match question.read(&text) {
                _ if text == default && kept.is_some() => kept.clone().unwrap_or_default(),
                Ok(raw) => raw,
                Err(why) => {
                    print(&format!("{why}\n"));
                    continue;
                }
            };
            let doubt = match question.answer {
                AnswerKind::File if !text.is_empty() => script(&text),
                _ if self.person => self
                    .machine
                    .doubt(question, &text, &self.given)
                    .map(|doubt| format!("% {doubt}")),
                _ => None,
            };
            match doubt {
                None => return Ok(raw),
                Some(doubt) if !self.person => {
                    complain(&doubt);
                    return Ok(raw);
                }
                Some(doubt) => {
                    print(&format!("{doubt}\n"));
                    if self.yes("Use it all the same? [y/N]: ", false)? {
                        return Ok(raw);
                    }
                }
            }
        }
    }

    /// What the file says that is there already, as JSON.
    fn old_raw(&self, section: &str, name: &str) -> Option<String> {
        edit::raw(self.old.as_ref()?.as_bytes(), section, name)
    }

    /// The same as a person would type it; empty: nothing.
    fn old_value(&self, section: &str, name: &str) -> String {
        self.old_raw(section, name).map_or_else(String::new, |raw| typed(&raw))
    }

    fn old_flag(&self, section: &str, name: &str) -> Option<bool> {
        edit::flag(self.old.as_ref()?.as_bytes(), section, name)
    }

    /// The new file: a fresh one, or the old one with the answers put in.
    fn text(&self, file: &str) -> Result<String, String> {
        let Some(old) = &self.old else { return Ok(fresh(&self.given)) };
        let mut text = old.clone();
        for given in &self.given {
            if edit::raw(text.as_bytes(), given.section, given.name).as_deref() == Some(&given.raw)
            {
                continue;
            }
            let key = edit::key(&format!("{}.{}", given.section, given.name))?;
            text =
                edit::set(file, &text, key, &given.raw).map_err(|problem| problem.to_string())?;
        }
        Ok(text)
    }

    /// The file is written: what now?
    fn afterwards(&self, instance: &str, file: &str, changed: bool) {
        if changed {
            print(&format!("The file before is '{file}.bak'\n"));
        }
        // The end of the answers is a no: what was to be written is.
        if self.yes("Run 'imon check' on it now? [Y/n]: ", true).unwrap_or(false) {
            print("\n");
            let selection =
                Selection { instance: Some(instance.to_owned()), ..Selection::default() };
            let ask = check::CheckRequest { selection, ..check::CheckRequest::default() };
            with_signals(|signals| check::run(&ask, signals));
        }
        print(&format!("\n{}", next_commands(instance, file)));
    }

    fn warn(&self, text: &str) {
        if self.person {
            print(&format!("% {text}\n"))
        } else {
            complain(&format!("Warning: {text}"))
        }
    }

    fn yes(&self, question: &str, default: bool) -> Result<bool, End> {
        let answer = self.line(question)?;
        Ok(if answer.is_empty() { default } else { yes(&answer) })
    }

    /// Asks, and takes one line. What can be no answer is asked for again.
    fn line(&self, question: &str) -> Result<String, End> {
        loop {
            print(question);
            let _ = std::io::stdout().flush();
            let mut input = std::io::stdin().lock();
            let mut bytes = Vec::new();
            let read = std::io::Read::take(&mut input, LONGEST).read_until(b'\n', &mut bytes);
            if read.is_err() || bytes.is_empty() {
                return Err(End);
            }
            if bytes.len() as u64 == LONGEST && !bytes.ends_with(b"\n") {
                // The rest of it is no answer to the next question.
                input.skip_until(b'\n').map_err(|_| End)?;
                print("% This is too long\n");
                continue;
            }
            match String::from_utf8(bytes) {
                Ok(text) if self.person && text.trim().chars().any(char::is_control) => {
                    print("% Letters, digits and signs only: arrow keys do not work here\n");
                }
                Ok(text) => return Ok(text.trim().to_owned()),
                Err(_) => print("% This is not UTF-8\n"),
            }
        }
    }
}

/// How the instance is tried and started by the service manager that runs here.
fn next_commands(instance: &str, file: &str) -> String {
    let quoted = super::test_action::quoted(instance);
    let instance_option = if instance.starts_with('-') {
        format!("--instance={quoted}")
    } else {
        format!("--instance {quoted}")
    };
    let try_it = |sudo: &str| format!("Try it: {sudo}imon {instance_option} --nosyslog\nThen:\n");
    let plain = instance::check(instance).is_ok_and(|warning| warning.is_none());
    if files::exists("/run/systemd/system") && plain {
        return format!(
            "{}  sudo systemctl enable --now imon@{quoted}     start it, now and at every boot\n\
             \x20 sudo systemctl reload imon@{quoted}           if it runs already\n\
             \x20 journalctl -u imon@{quoted} -f                what it says\n",
            try_it("sudo ")
        );
    }
    if files::exists("/etc/openwrt_release") {
        // uci takes nothing else for the name of a section.
        let section: String =
            instance.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let missing = if files::exists("/etc/init.d/imon") {
            ""
        } else {
            "  (first copy openwrt/files/imon.init and imon.config to /etc/init.d/imon and /etc/config/imon)\n"
        };
        return format!(
            "{}{missing}  uci set imon.{section}=instance\n\
             \x20 uci set imon.{section}.config_file={}\n\
             \x20 uci set imon.{section}.enabled=1\n\
             \x20 uci commit imon\n\
             \x20 service imon enable      start it at every boot\n\
             \x20 service imon restart     and now\n\
             \x20 logread -f -e imon       what it says\n",
            try_it(""),
            super::test_action::quoted(file)
        );
    }
    if files::exists("/etc/init.d") && !files::exists("/run/systemd/system") && plain {
        let missing = if files::exists("/etc/init.d/imon") {
            ""
        } else {
            "  sudo install -m 755 init.d/imon /etc/init.d/imon     (from imon's sources, once)\n"
        };
        let enable = [
            (
                "/usr/sbin/update-rc.d",
                "  sudo update-rc.d imon defaults     start it at every boot\n",
            ),
            ("/sbin/rc-update", "  sudo rc-update add imon            start it at every boot\n"),
        ];
        let enable =
            enable.iter().find(|(tool, _)| files::exists(tool)).map_or("", |(_, line)| line);
        return format!(
            "{}{missing}{enable}  sudo /etc/init.d/imon restart {quoted}   and now\n",
            try_it("sudo ")
        );
    }
    format!("Try it: sudo imon {instance_option} --nosyslog\n")
}

/// What keeps an action script from being run, in V2.99's words.
fn script(path: &str) -> Option<String> {
    match files::check_script(path) {
        Ok(()) => None,
        Err(ScriptFault::Missing) => Some(format!("% File '{}' does not exist", Clean(path))),
        Err(ScriptFault::NoFile | ScriptFault::NotExecutable) => {
            Some(format!("% File '{}' is not executable", Clean(path)))
        }
    }
}

/// What this machine has.
fn machine() -> Machine {
    let mut picture = Picture::default();
    let _ = Requests::open().map(|mut requests| requests.look(&mut picture).is_ok());
    let gateway = |index: u32| {
        let through = picture.routes.iter().filter(|r| r.table == MAIN && r.is_default());
        let hops = through.flat_map(|r| &r.hops).filter(|h| h.index == index);
        hops.filter_map(|h| h.gateway).next()
    };
    let devices = picture.links.iter().filter(|link| link.name != "lo").map(|link| Device {
        name: link.name.clone(),
        addresses: picture.addresses.iter().filter(|a| a.index == link.index).copied().collect(),
        gateway: gateway(link.index),
    });
    let conf = files::read_start("/etc/resolv.conf", 1 << 16).unwrap_or_default();
    let conf = String::from_utf8_lossy(&conf);
    let servers = if resolver::is_assumed(&conf) { Vec::new() } else { resolver::servers(&conf) };
    let is_here = |a: &IpAddr| !a.is_loopback();
    let servers =
        servers.into_iter().filter(|s| is_here(&s.address)).map(|s| s.to_string()).collect();
    Machine { devices: devices.collect(), servers }
}
