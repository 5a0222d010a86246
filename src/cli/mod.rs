//! The command line: arguments to a command, and what each command says and returns.

// Part of the shell: it reads the environment and the clock.
#![allow(clippy::disallowed_methods)]

mod args;
mod check;
mod configure;
mod external_ip;
mod test_action;

use std::io::Write as _;
use std::process::ExitCode;

use crate::base::error;
use crate::config::source::{ConfigSource, Loaded};
use crate::engine::world::OpenError;
use crate::engine::{Daemon, Start, StartRefused};
use crate::event::Severity;
use crate::sys::files::{self, Runtime, RuntimeError};
use crate::sys::log::Logger;
use crate::sys::notify::Notify;
use crate::sys::real::Real;
use crate::sys::signal::{self, Signals};
use crate::sys::{self, clock, configuration, shortage, web_worker};
use args::{Command, Invocation, Selection};

/// Everything went well, or the daemon was asked to stop.
const OK: u8 = 0;
/// The configuration is wrong, or imon lacks a permission: trying again does not help. The unit
/// does not.
const CONFIGURATION: u8 = 1;
/// Usage.
const USAGE: u8 = 2;
/// Something failed that may work the next time.
const FAILURE: u8 = 3;

/// What arguments mean, in words, for the tests that try any: a command, or what is shown.
///
/// # Errors
/// What is wrong with them.
pub fn meaning(words: &[String]) -> Result<String, String> {
    match args::parse(words) {
        Invocation::Command(command) => Ok(format!("{command:?}")),
        Invocation::Show(text) => Ok(text),
        Invocation::Wrong(why) => Err(why),
    }
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    sys::crash::tell();
    // Signals are blocked until it is clear who handles them (see main.rs).
    clock::adopt_openwrt_zone();
    files::close_inherited_on_exec();
    let notify = Notify::from_environment();
    let mut words = Vec::new();
    for word in std::env::args_os().skip(1) {
        match word.into_string() {
            Ok(word) => words.push(word),
            Err(word) => {
                let is_check = words.first().is_some_and(|word| word == "check");
                return usage(&format!("Argument {word:?} is not UTF-8"), is_check);
            }
        }
    }
    let called = std::env::args_os().next().unwrap_or_default();
    let is_configure =
        std::path::Path::new(&called).file_name().is_some_and(|name| name == configure::NAME);
    let parsed = if is_configure { args::configure(&words) } else { args::parse(&words) };
    let code = match parsed {
        Invocation::Show(text) => {
            print(&text);
            OK
        }
        Invocation::Wrong(text) => {
            let is_check = !is_configure && words.first().is_some_and(|word| word == "check");
            return usage(&text, is_check);
        }
        Invocation::Command(command) => match command {
            Command::Run { selection, nosyslog } => {
                with_signals(|signals| run(&selection, nosyslog, signals, notify, &words))
            }
            Command::Configure(ask) => {
                // Ctrl-C ends it, and nothing was written yet.
                signal::unblock();
                configure::run(&ask)
            }
            Command::Check(ask) => with_signals(|signals| check::run(&ask, signals)),
            Command::TestAction { selection, event } => {
                with_signals(|signals| test_action::run(&selection, event.as_deref(), signals))
            }
            // These do one thing: Ctrl-C ends them at once.
            Command::CheckConfig(selection) => {
                signal::unblock();
                check_config(&selection)
            }
            Command::ExternalIp(ask) => {
                signal::unblock();
                external_ip::run(&ask)
            }
            Command::SelfTest(panics) => {
                if panics {
                    panic_now(&words);
                }
                self_test()
            }
            Command::FileWriter => {
                // Whoever ends the daemon does not end what it has begun to write.
                sys::writer::main();
                OK
            }
            Command::WebWorker(record) => {
                signal::unblock();
                web_worker::main(record)
            }
        },
    };
    ExitCode::from(code)
}

/// A panic as a mistake of ours would be one, to see what becomes of it.
#[allow(clippy::indexing_slicing, reason = "that is what it is for")]
fn panic_now(words: &[String]) {
    complain(&words[words.len()]);
}

/// What the unit tests know, on this processor, and the time as the kernel and the C library tell
/// it.
fn self_test() -> u8 {
    let (mut wrong, tried) = crate::selftest::run();
    let (mut year, far) =
        (String::new(), crate::base::time::Wall { secs: 4_102_444_800 + 86_400, nanos: 0 });
    if !clock::local(far, "%Y", &mut year) || year != "2100" {
        wrong.push(format!("local time: {year:?} instead of \"2100\""));
    }
    if clock::monotonic() > clock::monotonic() {
        wrong.push("the clock goes backwards".to_owned());
    }
    if wrong.is_empty() {
        print(&format!("self-test: {} known answers, all right\n", tried + 2));
        return OK;
    }
    fail(FAILURE, &wrong)
}

/// For a command that handles signals.
fn with_signals(command: impl FnOnce(Signals) -> u8) -> u8 {
    match Signals::install() {
        Ok(signals) => command(signals),
        Err(e) => fail(FAILURE, &[format!("Signals cannot be handled: {}", shortage::told(&e))]),
    }
}

/// The monitors.
fn run(
    selection: &Selection,
    nosyslog: bool,
    signals: Signals,
    notify: Notify,
    words: &[String],
) -> u8 {
    let source = match source(selection) {
        Ok((source, warning)) => {
            warning.into_iter().for_each(|w| complain(&format!("Warning: {w}")));
            source
        }
        Err(e) => return fail(CONFIGURATION, &[e]),
    };
    let loaded = configuration::load(&source);
    let instance = source.name(loaded.config.as_ref());
    let mut log = Logger::new(&instance, !nosyslog);
    if let Some(config) = &loaded.config {
        log.configure(&instance, &config.global.datefmt, false);
    }
    let program = std::env::args_os().next().unwrap_or_default();
    let line = std::iter::once(program.to_string_lossy().into_owned()).chain(words.iter().cloned());
    log.line(Severity::Info, None, format_args!("Starting"));
    log.line(Severity::Info, None, format_args!("Version V{}", env!("CARGO_PKG_VERSION")));
    log.line(
        Severity::Info,
        None,
        format_args!("Command line: {}", line.collect::<Vec<_>>().join(" ")),
    );
    if loaded.found {
        log.line(Severity::Info, None, format_args!("Configuration file {}", source.file));
    }
    echo(&loaded, &mut log);
    let print = loaded.print;
    let Some(config) = loaded.config else {
        let code = if loaded.short { FAILURE } else { CONFIGURATION };
        return refuse(code, &loaded.errors, &mut log, &notify);
    };
    let runtime = match Runtime::open(&instance) {
        Ok(runtime) => Some(runtime),
        Err(RuntimeError::Running(lock)) => {
            let text =
                format!("Instance '{instance}' is already running ({} is locked)", lock.display());
            return refuse(FAILURE, &[text], &mut log, &notify);
        }
        Err(RuntimeError::Unusable(directory, e)) if error::is_shortage(&e) => {
            let text = format!("{} cannot be used: {}", directory.display(), shortage::told(&e));
            return refuse(FAILURE, &[text], &mut log, &notify);
        }
        Err(RuntimeError::Unusable(directory, e)) => {
            let (directory, why) = (directory.display(), sys::error_text(&e));
            let text =
                format_args!("No status file and no lock: {directory} cannot be used: {why}");
            log.line(Severity::Warning, None, text);
            None
        }
    };
    match Daemon::new(Start {
        world: Real::new(signals, log, notify, runtime),
        source,
        config,
        print,
        instance,
    }) {
        Ok(mut daemon) => match daemon.run() {
            Ok(()) => OK,
            Err(e) => {
                fail(FAILURE, &[format!("Waiting for events failed: {}", shortage::told(&e))])
            }
        },
        Err(refused) => {
            let (why, mut world) = *refused;
            let (code, text) = match &why {
                StartRefused::Ping(e) if is_forbidden(e) => (CONFIGURATION, no_socket(e)),
                StartRefused::Ping(e) => (FAILURE, no_socket(e)),
                StartRefused::Routes => (CONFIGURATION, no_routes()),
                StartRefused::Device(_) => (
                    CONFIGURATION,
                    format!(
                        "{}: give each failover instance its own interfaces",
                        why.in_words::<Real>()
                    ),
                ),
                StartRefused::Netlink(_) | StartRefused::Short(..) => {
                    (FAILURE, why.in_words::<Real>())
                }
            };
            refuse(code, &[text], &mut world.logger, &world.notify)
        }
    }
}

/// What the file says, as V2.99 logged it, and what is odd about it.
fn echo(loaded: &Loaded, log: &mut Logger) {
    for section in &loaded.echo {
        log.line(Severity::Info, None, format_args!("** [{}] ** ", section.name));
        for (key, value) in &section.lines {
            log.line(Severity::Info, None, format_args!("    {key:<17} {value}"));
        }
    }
    for warning in &loaded.warnings {
        log.line(Severity::Warning, None, format_args!("Warning: {warning}"));
    }
}

fn check_config(selection: &Selection) -> u8 {
    let (source, warning) = match source(selection) {
        Ok(found) => found,
        Err(e) => return fail(CONFIGURATION, &[e]),
    };
    let loaded = configuration::load(&source);
    for warning in warning.iter().chain(&loaded.warnings) {
        complain(&format!("Warning: {warning}"));
    }
    let Some(config) = loaded.config else {
        return fail(if loaded.short { FAILURE } else { CONFIGURATION }, &loaded.errors);
    };
    let enabled = [
        ("ddns", config.ddns.is_some()),
        ("updown", config.updown.is_some()),
        ("failover", config.failover.is_some()),
        ("ping", config.ping.is_some()),
    ];
    let names: Vec<_> = enabled.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect();
    let warnings = match loaded.warnings.len() + usize::from(warning.is_some()) {
        0 => String::new(),
        1 => ", 1 warning".to_owned(),
        n => format!(", {n} warnings"),
    };
    print(&format!("{}: valid, enables {}{warnings}\n", source.file, names.join(", ")));
    OK
}

/// Which file is meant; a warning if the instance's name is an odd one.
fn source(selection: &Selection) -> Result<(ConfigSource, Option<String>), String> {
    let addping = selection.addping.clone();
    if let Some(file) = &selection.config {
        return Ok((ConfigSource::file(file, addping), None));
    }
    let name = selection.instance.as_deref().unwrap_or("main");
    let warning = crate::config::instance::check(name)?;
    Ok((ConfigSource::instance(name, addping), warning))
}

/// Whether a permission is missing. What the system is short of says nothing about that.
fn is_forbidden(e: &OpenError) -> bool {
    let all = [&e.raw, &e.datagram];
    let forbidden = |e: &&std::io::Error| e.kind() == std::io::ErrorKind::PermissionDenied;
    all.iter().any(forbidden) && !all.iter().any(|e| error::is_shortage(e))
}

/// Why there is no socket; where a permission is missing, the commands that grant it.
fn no_socket(e: &OpenError) -> String {
    if !is_forbidden(e) {
        let short = [&e.raw, &e.datagram].into_iter().find(|e| error::is_shortage(e));
        return format!(
            "No socket for ICMP echo requests can be opened: {}",
            shortage::told(short.unwrap_or(&e.raw))
        );
    }
    let program =
        std::env::current_exe().map_or_else(|_| "imon".to_owned(), |p| p.display().to_string());
    format!(
        "No permission to send ICMP echo requests (raw socket: {}; datagram socket: {}): imon needs the capability \
         CAP_NET_RAW. One of these grants it:\n\
         \x20 sudo setcap cap_net_raw+ep {program}\n\
         \x20 sudo sysctl -w net.ipv4.ping_group_range=\"0 2147483647\"\n\
         \x20 sudo systemctl start imon@NAME   (the unit runs it as root)",
        sys::error_text(&e.raw),
        sys::error_text(&e.datagram),
    )
}

/// What is missing for the failover monitor, and the commands that grant it.
fn no_routes() -> String {
    let program =
        std::env::current_exe().map_or_else(|_| "imon".to_owned(), |p| p.display().to_string());
    format!(
        "No permission to change routes: the failover monitor needs the capability CAP_NET_ADMIN. One of these grants \
         it:\n\
         \x20 sudo setcap cap_net_raw,cap_net_admin+ep {program}\n\
         \x20 sudo systemctl start imon@NAME   (the unit runs it as root)"
    )
}

/// Says why the service cannot run: on standard error, in the log, and to the service manager.
fn refuse(code: u8, errors: &[String], log: &mut Logger, notify: &Notify) -> u8 {
    // Where there is no system log, its lines go to standard error as well: once is enough.
    if log.reaches_syslog() {
        for line in errors.iter().flat_map(|e| e.lines()) {
            log.line(Severity::Error, None, format_args!("? {line}"));
        }
    }
    log.finish();
    if let Some(first) = errors.first().and_then(|e| e.lines().next()) {
        notify.send(&format!("STATUS=? {first}"));
    }
    fail(code, errors)
}

fn fail(code: u8, errors: &[String]) -> u8 {
    errors.iter().for_each(|e| complain(&format!("? {e}")));
    code
}

fn usage(text: &str, is_check: bool) -> ExitCode {
    complain(text);
    // Of `check` 2 means that the internet is broken.
    ExitCode::from(if is_check { FAILURE } else { USAGE })
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
