//! Reading the arguments. argh does the work; around it, for people who come from V2.99 (Python's
//! argparse): `--option=value`, unique abbreviations of options, and errors that name what was
//! probably meant.

use std::net::{IpAddr, Ipv4Addr};

use argh::FromArgs;

use super::{check, configure};
use crate::addr::family::Family;
use crate::base::text::{Clean, nearest};
use crate::sys::{worker, writer};

/// Which configuration, for every command.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Selection {
    /// `--instance`.
    pub(super) instance: Option<String>,
    /// `--config`.
    pub(super) config: Option<String>,
    /// `--addping`.
    pub(super) addping: Option<String>,
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Command {
    /// Monitor.
    Run {
        /// What.
        selection: Selection,
        /// Log to the terminal.
        nosyslog: bool,
    },
    /// Say why the internet is down.
    Check(check::CheckRequest),
    /// Make or change a configuration.
    Configure(configure::ConfigureRequest),
    /// Check the configuration.
    CheckConfig(Selection),
    /// Ask for the external address.
    ExternalIp(ExternalIpArgs),
    /// Known answers, on this processor; `true`: a panic instead. Not for people.
    SelfTest(bool),
    /// Make one web request, as standard input says; with `true` its result is kept. Not for
    /// people.
    WebWorker(bool),
    /// The daemon's writer of files.
    FileWriter,
    /// Call the action script.
    TestAction {
        /// Whose.
        selection: Selection,
        /// For which event.
        event: Option<String>,
    },
}

/// How to ask for the external address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ExternalIpArgs {
    /// `--source`; none: the default ones.
    pub(super) sources: Vec<String>,
    /// `--family`.
    pub(super) family: Family,
    /// `--bind`.
    pub(super) bind: Option<String>,
    /// `--ca-file`.
    pub(super) ca_file: Option<String>,
    /// `--all`.
    pub(super) all: bool,
    /// `--json`.
    pub(super) json: bool,
}

/// What the arguments mean.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Invocation {
    /// Do it.
    Command(Command),
    /// Print this and end well.
    Show(String),
    /// They are wrong: this goes to standard error.
    Wrong(String),
}

/// imon, an internet monitor: reads /etc/default/imon-NAME and runs what it enables.
#[derive(FromArgs)]
struct Run {
    /// instance
    #[argh(option)]
    instance: Option<String>,
    /// terminal
    #[argh(switch)]
    nosyslog: bool,
    /// file
    #[argh(option)]
    config: Option<String>,
    /// addresses
    #[argh(option)]
    addping: Option<String>,
}

/// checks a configuration.
#[derive(FromArgs)]
struct CheckConfig {
    /// instance
    #[argh(option)]
    instance: Option<String>,
    /// file
    #[argh(option)]
    config: Option<String>,
}

/// says why the internet is down.
#[derive(FromArgs)]
struct CheckArgs {
    /// instance
    #[argh(option)]
    instance: Option<String>,
    /// file
    #[argh(option)]
    config: Option<String>,
    /// address
    #[argh(option)]
    target: Vec<String>,
    /// offline
    #[argh(switch)]
    offline: bool,
    /// json
    #[argh(switch)]
    json: bool,
}

/// makes or changes a configuration.
#[derive(FromArgs)]
struct Configure {
    /// instance
    #[argh(option)]
    instance: Option<String>,
    /// key=value
    #[argh(option)]
    set: Vec<String>,
    /// print
    #[argh(switch)]
    print: bool,
}

/// calls the action script once.
#[derive(FromArgs)]
struct TestAction {
    /// instance
    #[argh(option)]
    instance: Option<String>,
    /// file
    #[argh(option)]
    config: Option<String>,
    /// event
    #[argh(positional)]
    event: Option<String>,
}

/// asks for the external address.
#[derive(FromArgs)]
struct ExternalIp {
    /// source
    #[argh(option)]
    source: Vec<String>,
    /// family
    #[argh(option)]
    family: Option<String>,
    /// interface
    #[argh(option)]
    bind: Option<String>,
    /// file
    #[argh(option)]
    ca_file: Option<String>,
    /// all
    #[argh(switch)]
    all: bool,
    /// json
    #[argh(switch)]
    json: bool,
}

const HELP: &str = "\
Usage: imon [--instance NAME | --config FILE] [--nosyslog] [--addping A,B]
       imon COMMAND [OPTION]... | imon COMMAND --help

Watches internet connections as /etc/default/imon-NAME says: the external
address, outages, the default route on one of two networks, ping statistics.

  --instance NAME   use /etc/default/imon-NAME [default: main]
  --config FILE     use this configuration file instead
  --nosyslog        log to the terminal [default: to the system log]
  --addping A,B     look at these too when the monitored address changes
  --version         print the version (-h, --help: this)

Commands:
  check             say why the internet is down, or that all is well
  configure         make or change a configuration
  check-config      say whether a configuration is valid, or all that is wrong
  test-action       call the action script once and show what it did
  external-ip       print this system's external address

Signals: TERM and INT stop it, HUP reloads the configuration, USR1 checks now.
Exit status: 0 stopped, 1 configuration or permission, 2 usage, 3 other failure.

Example: sudo imon --instance main --nosyslog
";

const HELP_CHECK: &str = "\
Usage: imon check [--instance NAME | --config FILE] [--json] [--offline]
                  [--target ADDRESS]...

Looks at every step from this system to the internet at once, in at most ten
seconds, and says in one sentence what is wrong and what to do; then one fact
a line. Needs neither configuration nor root, but does more with them.

  --instance NAME   look at /etc/default/imon-NAME as well, and at each of its
                    networks by its own link [default: main or the only one]
  --config FILE     look at this configuration instead
  --offline         send nothing: only what this system knows by itself
  --target ADDRESS  ask this address in place of 1.1.1.1 and 8.8.8.8, and
                    nobody else in the internet; may be repeated
  --json            print the result for programs
  -h, --help        print this

Colours are left out with NO_COLOR set. Exit status: 0 all is well, 1 it works
but not well, 2 it does not work, 3 it could not be tested, or wrong usage.

Example: imon check
";

const HELP_CONFIGURE: &str = "\
Usage: imon configure [--instance NAME]
       imon configure --set SECTION.KEY=VALUE... [--instance NAME]
       imon configure --print [--instance NAME]

Asks for every setting and writes /etc/default/imon-NAME. On a terminal it
proposes what this machine has, and what the file says if there is one; Ctrl-C
leaves everything as it was. 'imon-configure' is the same.

  --instance NAME   which file [default: main; asked for, if not given]
  --set KEY=VALUE   change this setting, failover.metric=150 for instance, and
                    ask nothing; may be repeated; all or nothing is written.
                    Lists with commas, objects as JSON
  --print           print every setting and where its value comes from
  -h, --help        print this

Exit status: 0 written or nothing to do, 1 a value is wrong or the file cannot
be written, 2 usage.

Example: sudo imon configure --instance main --set ping.enable=true
";

const HELP_CHECK_CONFIG: &str = "\
Usage: imon check-config [--instance NAME | --config FILE]

Reads a configuration as imon itself does, and starts nothing. Prints one line
and exits with 0 if it is valid, else prints everything that is wrong with it,
with file and line, and exits with 1. Warnings do not count.

Options:
  --instance NAME   check /etc/default/imon-NAME [default: main]
  --config FILE     check this file instead
  -h, --help        print this

Example: imon check-config --instance main
";

const HELP_EXTERNAL_IP: &str = "\
Usage: imon external-ip [--all] [--json] [--source SOURCE]... [--family 4|6]
                        [--bind IF] [--ca-file FILE]

Prints the address by which the internet sees this system, once two operators,
a web page and a name server among them, agree. A single --source is believed
alone. An answer that is not one public address and nothing else is refused,
and so are redirects and any status but 2xx. No proxy is used; each source has
5 seconds. Exits with 1, and says who said what, when nothing is believed.

Options:
  --all             ask every source, and print a table of their answers, how
                    long each took, and what is wrong with it
  --json            print that as JSON
  --source SOURCE   ask this one: https:// or http://, dns:cloudflare,
                    dns:opendns, dns:google, or interface; may be repeated
  --family 4|6      over IPv4 or IPv6 [default: 4]
  --bind IF         by this interface
  --ca-file FILE    trust these certificates (PEM), not the built-in ones
  -h, --help        print this

Example: imon external-ip --all
";

/// Completed by the list of events.
const HELP_TEST_ACTION: &str = "\
Usage: imon test-action EVENT [--instance NAME | --config FILE]

Calls the action script of a configuration once, as the event would, with
example arguments, and shows the call, what the script printed, and how it
ended. Exits with 0 if the script did.

Options:
  --instance NAME   the script of /etc/default/imon-NAME [default: main]
  --config FILE     the script of this file instead
  -h, --help        print this

Events: ";

const COMMANDS: [&str; 5] = ["check", "configure", "check-config", "test-action", "external-ip"];

/// Reads the arguments (without the program's name).
pub(super) fn parse(words: &[String]) -> Invocation {
    let first = words.iter().position(|w| !w.starts_with('-'));
    // An option's value is not a command.
    let command = first.filter(|at| *at == 0).and_then(|at| words.get(at)).map(String::as_str);
    match command {
        Some("check") => check(words.get(1..).unwrap_or_default()),
        Some("configure") => configure(words.get(1..).unwrap_or_default()),
        Some("check-config") => check_config(words.get(1..).unwrap_or_default()),
        Some("test-action") => test_action(words.get(1..).unwrap_or_default()),
        Some("external-ip") => external_ip(words.get(1..).unwrap_or_default()),
        // What the daemon starts itself by.
        Some(worker::ARGUMENT) => Invocation::Command(Command::WebWorker(
            words.get(1).is_some_and(|word| word == "record"),
        )),
        Some(writer::ARGUMENT) => Invocation::Command(Command::FileWriter),
        Some("self-test") => {
            Invocation::Command(Command::SelfTest(words.get(1).is_some_and(|word| word == "panic")))
        }
        Some("help") => match words.get(1).filter(|word| COMMANDS.contains(&word.as_str())) {
            Some(command) => parse(&[command.clone(), "--help".to_owned()]),
            None => Invocation::Show(HELP.to_owned()),
        },
        Some(other) => {
            let begins = COMMANDS
                .iter()
                .copied()
                .find(|command| command.starts_with(other) && !other.is_empty());
            let near = begins.or_else(|| nearest(other, COMMANDS));
            let hint = near.map_or_else(String::new, |near| format!(" Did you mean '{near}'?"));
            Invocation::Wrong(format!(
                "Unknown command '{}'.{hint} See 'imon --help'.",
                Clean(other)
            ))
        }
        None => run(words),
    }
}

fn run(words: &[String]) -> Invocation {
    let options = ["--instance", "--config", "--addping"];
    let parsed = read::<Run>(words, &options, &["--nosyslog", "--version"], HELP, "imon --help");
    parsed.unwrap_or_else(|r| {
        let selection = Selection { instance: r.instance, config: r.config, addping: r.addping };
        checked(selection, |selection| Command::Run { selection, nosyslog: r.nosyslog })
    })
}

fn check(words: &[String]) -> Invocation {
    const SEE: &str = "imon check --help";
    const ALL: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);
    let options = ["--instance", "--config", "--target"];
    let parsed = read::<CheckArgs>(words, &options, &["--offline", "--json"], HELP_CHECK, SEE);
    parsed.unwrap_or_else(|c| {
        let mut targets = Vec::new();
        for text in c.target {
            match text.parse::<IpAddr>() {
                Ok(address) => {
                    let address = address.to_canonical();
                    if address.is_loopback() || address.is_multicast() || address.is_unspecified() || address == ALL {
                        return Invocation::Wrong(format!(
                            "--target is the address of one host elsewhere, not {address}. See '{SEE}'."
                        ));
                    }
                    if !targets.contains(&address) {
                        targets.push(address);
                    }
                }
                Err(_) => {
                    return Invocation::Wrong(format!(
                        "--target is an IP address, not '{}'. See '{SEE}'.",
                        Clean(&text)
                    ));
                }
            }
        }
        let selection = Selection { instance: c.instance, config: c.config, addping: None };
        let (json, offline) = (c.json, c.offline);
        checked(selection, |selection| Command::Check(check::CheckRequest { selection, json, offline, targets }))
    })
}

/// Also for the program when it is called `imon-configure`.
pub(super) fn configure(words: &[String]) -> Invocation {
    let see = "imon configure --help";
    let parsed =
        read::<Configure>(words, &["--instance", "--set"], &["--print"], HELP_CONFIGURE, see);
    parsed.unwrap_or_else(|c| {
        if c.print && !c.set.is_empty() {
            return Invocation::Wrong(format!(
                "--print and --set exclude each other. See '{see}'."
            ));
        }
        Invocation::Command(Command::Configure(configure::ConfigureRequest {
            instance: c.instance,
            set: c.set,
            print: c.print,
        }))
    })
}

fn check_config(words: &[String]) -> Invocation {
    let parsed = read::<CheckConfig>(
        words,
        &["--instance", "--config"],
        &[],
        HELP_CHECK_CONFIG,
        "imon check-config --help",
    );
    parsed.unwrap_or_else(|c| {
        checked(
            Selection { instance: c.instance, config: c.config, addping: None },
            Command::CheckConfig,
        )
    })
}

fn test_action(words: &[String]) -> Invocation {
    // Three of them fit a line.
    let names: Vec<String> =
        crate::event::Event::names().chunks(3).map(|names| names.join(", ")).collect();
    let names = names.join(",\n        ");
    let help = format!(
        "{HELP_TEST_ACTION}{names}\n\nExample: sudo imon test-action updown-offline --instance main\n"
    );
    let parsed = read::<TestAction>(
        words,
        &["--instance", "--config"],
        &[],
        &help,
        "imon test-action --help",
    );
    parsed.unwrap_or_else(|t| {
        let selection = Selection { instance: t.instance, config: t.config, addping: None };
        checked(selection, |selection| Command::TestAction { selection, event: t.event })
    })
}

fn external_ip(words: &[String]) -> Invocation {
    const SEE: &str = "imon external-ip --help";
    let options = ["--source", "--family", "--bind", "--ca-file"];
    let parsed = read::<ExternalIp>(words, &options, &["--all", "--json"], HELP_EXTERNAL_IP, SEE);
    parsed.unwrap_or_else(|e| {
        let family = e.family.as_deref().unwrap_or("4");
        let Some(family) = Family::parse(family) else {
            return Invocation::Wrong(format!(
                "--family is 4 or 6, not '{}'. See '{SEE}'.",
                Clean(family)
            ));
        };
        let (sources, bind, ca_file) = (e.source, e.bind, e.ca_file);
        Invocation::Command(Command::ExternalIp(ExternalIpArgs {
            sources,
            family,
            bind,
            ca_file,
            all: e.all,
            json: e.json,
        }))
    })
}

fn checked(selection: Selection, command: impl FnOnce(Selection) -> Command) -> Invocation {
    if selection.instance.is_some() && selection.config.is_some() {
        return Invocation::Wrong(
            "--instance and --config exclude each other: each names a configuration".to_owned(),
        );
    }
    Invocation::Command(command(selection))
}

/// Reads the words of one command. `Ok` is what to say instead of running it.
fn read<T: FromArgs>(
    words: &[String],
    with_value: &[&str],
    without: &[&str],
    help: &str,
    see: &str,
) -> Result<Invocation, T> {
    let known: Vec<&str> = with_value.iter().chain(without).copied().collect();
    let mut plain = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        if word == "-h" || word == "--help" {
            return Ok(Invocation::Show(help.to_owned()));
        }
        if !word.starts_with('-') {
            plain.push(word.clone());
            continue;
        }
        let (name, value) =
            word.split_once('=').map_or((word.as_str(), None), |(n, v)| (n, Some(v.to_owned())));
        let Some(name) = complete(name, &known) else {
            let near = nearest(
                name.trim_start_matches('-'),
                known.iter().map(|k| k.trim_start_matches('-')),
            );
            let hint = near.map_or_else(String::new, |near| format!(" Did you mean '--{near}'?"));
            return Ok(Invocation::Wrong(format!(
                "Unknown option '{}'.{hint} See '{see}'.",
                Clean(name)
            )));
        };
        if name == "--version" {
            return Ok(Invocation::Show(format!("imon {}\n", env!("CARGO_PKG_VERSION"))));
        }
        plain.push(name.to_owned());
        if with_value.contains(&name) {
            // `--instance --nosyslog` forgets the name. A name that begins so can be given with
            // `=`.
            let Some(value) =
                value.or_else(|| words.next_if(|next| !next.starts_with('-')).cloned())
            else {
                return Ok(Invocation::Wrong(format!(
                    "Option '{name}' needs a value. See '{see}'."
                )));
            };
            plain.push(value);
        } else if value.is_some() {
            return Ok(Invocation::Wrong(format!("Option '{name}' takes no value. See '{see}'.")));
        }
    }
    let plain: Vec<&str> = plain.iter().map(String::as_str).collect();
    match T::from_args(&["imon"], &plain) {
        Ok(value) => Err(value),
        Err(early) => {
            let first = early
                .output
                .lines()
                .find(|l| !l.trim().is_empty())
                .unwrap_or("The arguments are wrong");
            Ok(Invocation::Wrong(format!("{}. See '{see}'.", Clean(first.trim_end_matches('.')))))
        }
    }
}

/// The option that is meant: itself, or the only one that begins so, as argparse had it.
fn complete<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let mut begins = known.iter().copied().filter(|k| k.starts_with(word) && word.len() > 2);
    let exact = known.iter().copied().find(|k| *k == word);
    exact.or_else(|| begins.next().filter(|_| begins.next().is_none()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').filter(|w| !w.is_empty()).map(str::to_owned).collect()
    }

    fn instance(name: Option<&str>, nosyslog: bool) -> Invocation {
        let selection = Selection { instance: name.map(str::to_owned), ..Selection::default() };
        Invocation::Command(Command::Run { selection, nosyslog })
    }

    fn wrong(line: &str) -> String {
        match parse(&words(line)) {
            Invocation::Wrong(text) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_ways_to_name_an_instance() {
        assert_eq!(parse(&[]), instance(None, false));
        assert_eq!(parse(&words("--instance demo --nosyslog")), instance(Some("demo"), true));
        assert_eq!(parse(&words("--nosyslog --instance=demo")), instance(Some("demo"), true));
        assert_eq!(parse(&words("--inst demo --nosys")), instance(Some("demo"), true));
        assert_eq!(parse(&words("--instance=")), instance(Some(""), false));
        assert_eq!(
            parse(&["--instance".to_owned(), "check-config".to_owned()]),
            instance(Some("check-config"), false)
        );
        assert_eq!(parse(&words("--instance=-x")), instance(Some("-x"), false));
    }

    #[test]
    fn commands_and_their_options() {
        let selection = Selection { config: Some("/x".to_owned()), ..Selection::default() };
        assert_eq!(
            parse(&words("check-config --config /x")),
            Invocation::Command(Command::CheckConfig(selection.clone()))
        );
        let event = Some("updown-offline".to_owned());
        let command = Command::TestAction { selection, event };
        assert_eq!(
            parse(&words("test-action updown-offline --config=/x")),
            Invocation::Command(command)
        );
    }

    #[test]
    fn what_imon_starts_itself_by_and_tests_itself_with() {
        for (line, command) in [
            (worker::ARGUMENT.to_owned(), Command::WebWorker(false)),
            (format!("{} record", worker::ARGUMENT), Command::WebWorker(true)),
            (format!("{} other", worker::ARGUMENT), Command::WebWorker(false)),
            (writer::ARGUMENT.to_owned(), Command::FileWriter),
            ("self-test".to_owned(), Command::SelfTest(false)),
            ("self-test panic".to_owned(), Command::SelfTest(true)),
            ("self-test other".to_owned(), Command::SelfTest(false)),
        ] {
            assert_eq!(parse(&words(&line)), Invocation::Command(command), "{line}");
        }
    }

    #[test]
    fn what_excludes_each_other_is_fine_alone() {
        let ask = |set: &[&str], print| {
            let set = set.iter().map(|&text| text.to_owned()).collect();
            Invocation::Command(Command::Configure(configure::ConfigureRequest {
                instance: None,
                set,
                print,
            }))
        };
        assert_eq!(parse(&words("configure")), ask(&[], false));
        assert_eq!(parse(&words("configure --print")), ask(&[], true));
        assert_eq!(
            parse(&words("configure --set a.b=1 --set c.d=2")),
            ask(&["a.b=1", "c.d=2"], false)
        );
        assert!(
            wrong("configure --print --set a.b=1")
                .starts_with("--print and --set exclude each other.")
        );
        for command in ["", "check", "check-config", "test-action x"] {
            let text = wrong(&format!("{command} --instance a --config b"));
            assert!(
                text.starts_with("--instance and --config exclude each other"),
                "{command}: {text}"
            );
            assert!(
                matches!(parse(&words(&format!("{command} --config b"))), Invocation::Command(_)),
                "{command}"
            );
        }
    }

    #[test]
    fn a_target_is_the_address_of_one_host_elsewhere() {
        let check = |line: &str| match parse(&words(line)) {
            Invocation::Command(Command::Check(ask)) => (ask.targets, ask.json, ask.offline),
            other => panic!("{line}: {other:?}"),
        };
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(check("check --json"), (Vec::new(), true, false));
        assert_eq!(
            check("check --offline --target 192.0.2.1"),
            (vec![address("192.0.2.1")], false, true)
        );
        // One that is written in two ways is one.
        let twice = "check --target 192.0.2.1 --target ::ffff:192.0.2.1 --target 2001:db8::1";
        assert_eq!(check(twice).0, [address("192.0.2.1"), address("2001:db8::1")]);
        for other in [
            "127.0.0.1",
            "::1",
            "224.0.0.1",
            "ff02::1",
            "0.0.0.0",
            "::",
            "255.255.255.255",
            "::ffff:127.0.0.1",
        ] {
            assert!(
                wrong(&format!("check --target {other}")).contains("one host elsewhere"),
                "{other}"
            );
        }
        assert!(wrong("check --target example.com").contains("an IP address, not 'example.com'"));
    }

    #[test]
    fn how_the_external_address_is_asked_for() {
        let ask = ExternalIpArgs {
            sources: vec!["dns:google".to_owned(), "interface".to_owned()],
            family: Family::V6,
            bind: Some("wan1".to_owned()),
            ca_file: Some("/x".to_owned()),
            all: true,
            json: false,
        };
        let line = "external-ip --source dns:google --source interface --family 6 --bind wan1 --ca-file /x --all";
        assert_eq!(parse(&words(line)), Invocation::Command(Command::ExternalIp(ask)));
        let Invocation::Command(Command::ExternalIp(ask)) = parse(&words("external-ip --json"))
        else {
            panic!()
        };
        assert_eq!((ask.family, ask.all, ask.json), (Family::V4, false, true));
        assert!(wrong("external-ip --family 5").contains("4 or 6, not '5'"));
    }

    #[test]
    fn errors_name_what_was_meant() {
        assert_eq!(
            wrong("--instnce x"),
            "Unknown option '--instnce'. Did you mean '--instance'? See 'imon --help'."
        );
        assert_eq!(
            wrong("chek-config"),
            "Unknown command 'chek-config'. Did you mean 'check-config'? See 'imon --help'."
        );
        // What begins so, and nothing that moves the cursor.
        for (word, near) in
            [("conf", "configure"), ("external", "external-ip"), ("test", "test-action")]
        {
            assert!(wrong(word).contains(&format!("Did you mean '{near}'?")), "{word}");
        }
        assert_eq!(wrong("a\u{1b}[2J"), "Unknown command 'a\\u{1b}[2J'. See 'imon --help'.");
        assert!(wrong("external-ip --family a\u{1b}[2J").contains("not 'a\\u{1b}[2J'"));
        assert_eq!(
            wrong("check a\u{1b}[2J"),
            "Unrecognized argument: a\\u{1b}[2J. See 'imon check --help'."
        );
        assert_eq!(parse(&words("help configure")), Invocation::Show(HELP_CONFIGURE.to_owned()));
        assert_eq!(wrong("--instance"), "Option '--instance' needs a value. See 'imon --help'.");
        assert_eq!(
            wrong("--instance --nosyslog"),
            "Option '--instance' needs a value. See 'imon --help'."
        );
        assert_eq!(wrong("--nosyslog=1"), "Option '--nosyslog' takes no value. See 'imon --help'.");
        assert!(wrong("--instance a --config b").contains("exclude each other"));
        assert!(wrong("--nosyslog extra").contains("extra"));
        assert!(wrong("check-config --nosyslog").contains("'imon check-config --help'"));
        assert!(wrong("--").contains("Unknown option"));
        assert!(wrong("--instance a --instance b").contains("instance"));
    }

    #[test]
    fn help_and_version() {
        assert_eq!(
            parse(&words("--version")),
            Invocation::Show(format!("imon {}\n", env!("CARGO_PKG_VERSION")))
        );
        for line in ["-h", "--help", "--nosyslog -h", "help"] {
            assert_eq!(parse(&words(line)), Invocation::Show(HELP.to_owned()), "{line}");
        }
        assert_eq!(
            parse(&words("check-config -h")),
            Invocation::Show(HELP_CHECK_CONFIG.to_owned())
        );
    }

    /// A screen has 24 rows of 80 columns, and the prompt takes one.
    #[test]
    fn every_help_fits_a_screen_and_ends_with_an_example() {
        for command in [""].into_iter().chain(COMMANDS) {
            let Invocation::Show(help) = parse(&words(&format!("{command} --help"))) else {
                panic!("{command}")
            };
            assert!(help.lines().count() <= 24, "{command}: {} lines", help.lines().count());
            assert!(help.lines().all(|l| l.len() <= 80), "{help}");
            let last = help.lines().last().unwrap();
            assert!(last.starts_with("Example: ") && last.contains("imon"), "{command}: {last}");
            assert!(command.is_empty() || HELP.contains(&format!("\n  {command} ")), "{command}");
        }
    }

    /// Whatever the arguments, there is an answer.
    #[test]
    fn random_arguments_never_panic() {
        let pieces = [
            "-",
            "--",
            "--i",
            "=",
            "--instance",
            "--instance=",
            "é",
            "\u{0}",
            "check-config",
            "test-action",
            "",
        ];
        let mut seed = 7_u32;
        for _ in 0..20_000 {
            let mut line = Vec::new();
            for _ in 0..seed % 5 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                line.push(pieces[(seed >> 16) as usize % pieces.len()].to_owned());
            }
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let _ = parse(&line);
        }
    }
}
