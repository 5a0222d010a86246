//! Configuration: the text of a file in, checked settings out, or everything that is wrong with it
//! at once.
//!
//! Files written for imon V2.99 are read with all its sloppiness about types. What V2.99 died of
//! later (an interval of 0, a missing section, a list where text belongs) is an error here, at
//! start, that names file, line and key. Nothing in this module opens a file.
//! ```
//! use imon::config::{Overrides, parse};
//!
//! let text = br#"{"ping": {"enable": true, "monitorip": "1.1.1.1", "interval": 60}}"#;
//! let ping = parse("imon-main", text, &Overrides::default()).config.unwrap().ping.unwrap();
//! assert_eq!(&**ping.targets[0].text(), "1.1.1.1");
//!
//! let text = br#"{
//!     "ping": {"enable": true, "monitorip": "1.1.1.1", "intervall": 60,
//!              "pingcount": 0}
//! }"#;
//! let parsed = parse("imon-main", text, &Overrides::default());
//! assert!(parsed.config.is_none());
//! assert_eq!(
//!     parsed.errors[0].to_string(),
//!     "Invalid value 0 for pingcount: a whole number from 1 to 100 is allowed (imon-main:3, ping.pingcount)"
//! );
//! assert_eq!(
//!     parsed.warnings[0].to_string(),
//!     "Unknown key intervall is ignored; did you mean interval? (imon-main:2, ping.intervall)"
//! );
//! ```

pub mod dialogue;
mod echo;
pub mod edit;
pub mod instance;
mod schema;
mod settings;
pub mod source;
mod updates;
mod value;

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use crate::addr::family::Family;
use crate::addr::host::Host;
use crate::addr::scope;
use crate::base::json::Document;
pub use crate::base::json::MAX_BYTES;
use crate::base::number::Plain;
use crate::base::text::{Clean, nearest};
use crate::monitor::ddns;
use crate::monitor::ddns::source::{DEFAULTS, Source};
use crate::monitor::ddns::update::Update;
use crate::monitor::failover::ProbeKind;
use crate::monitor::failover::health::{Limit, Quality};
use crate::probe::round::Plan;
use crate::routing::GatewaySource;
pub use echo::Section;
pub use schema::{Key, MONITORS, ValueKind, schema};
use settings::{Complaints, Settings};
pub use updates::keys as update_keys;
use value::{ReadValue, Setting};

/// What the command line says about settings. It wins over the file.
#[derive(Clone, Copy, Default, Debug)]
pub struct Overrides<'a> {
    /// `--addping a,b`: replaces `updown.addping`; empty text for none.
    pub addping: Option<&'a str>,
}

/// What became of a file.
#[derive(Debug)]
pub struct ParsedFile {
    /// The settings, if and only if there is no error.
    pub config: Option<Config>,
    /// What keeps the file from being used, in the order of its lines.
    pub errors: Vec<ConfigProblem>,
    /// What is odd but not fatal, in the order of its lines.
    pub warnings: Vec<ConfigProblem>,
    /// The file's contents for the log, as far as they could be read.
    pub echo: Vec<Section>,
    /// The action script, also when something else is wrong: whether there is such a file is a
    /// problem like the others.
    pub action: Option<Located<String>>,
}

/// Checked settings. A monitor that is not enabled is `None`.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// What concerns all monitors.
    pub global: Global,
    /// The updown monitor.
    pub updown: Option<UpdownSettings>,
    /// The ping monitor.
    pub ping: Option<PingSettings>,
    /// The ddns monitor.
    pub ddns: Option<DdnsSettings>,
    /// The failover monitor.
    pub failover: Option<FailoverSettings>,
}

/// What concerns all monitors.
#[derive(Clone, PartialEq, Debug)]
pub struct Global {
    /// The action script's path, as configured; whether there is such a file has not been looked
    /// at.
    pub action: Option<Located<String>>,
    /// How long an action script may run, 1 s to 1 h.
    pub action_timeout: Duration,
    /// Events beyond V2.99's that call the action script, of [`crate::event::ON_REQUEST`].
    pub events: Vec<&'static str>,
    /// `strftime` format of the date on lines printed to the terminal; may be empty.
    pub datefmt: String,
    /// Instance name for scripts when a configuration file is named directly.
    pub instance: Option<String>,
}

/// When a monitor checks, and how long a check takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// From the start of one check to the start of the next, 0.1 s to 1 day.
    pub interval: Duration,
    /// Probes in a check, 1 to 100.
    pub pingcount: u16,
    /// How long each probe waits for its reply, 10 ms to 60 s.
    pub pingwait: Duration,
}

/// Settings of the updown monitor.
#[derive(Clone, PartialEq, Debug)]
pub struct UpdownSettings {
    /// When it checks.
    pub timing: Timing,
    /// The monitored host.
    pub target: Host,
    /// Hosts to check when the target goes online or offline, at most 16.
    pub addping: Vec<Host>,
    /// Who is asked before an offline is believed.
    pub dns: Option<OpinionSettings>,
    /// Bad checks in a row that make it offline, 1 to 100.
    pub fall: u32,
    /// Good checks in a row that make it online again, 1 to 100.
    pub rise: u32,
}

/// A DNS query that tells whether the internet works although a host does not answer.
#[derive(Clone, PartialEq, Debug)]
pub struct OpinionSettings {
    /// The DNS server.
    pub server: Host,
    /// The name to ask it for.
    pub name: String,
}

/// Settings of the ping monitor.
#[derive(Clone, PartialEq, Debug)]
pub struct PingSettings {
    /// When it checks.
    pub timing: Timing,
    /// The hosts to ping, 1 to 1,000.
    pub targets: Vec<Host>,
}

/// Settings of the failover monitor.
#[derive(Clone, PartialEq, Debug)]
pub struct FailoverSettings {
    /// When it checks.
    pub timing: Timing,
    /// The WANs, in order of preference: primary and standby.
    pub wans: Vec<WanSettings>,
    /// Whether the first that works is used, or the one in use until it fails.
    pub prefer_primary: bool,
    /// Metric of the default route in the table main.
    pub metric: u32,
    /// How many of a WAN's targets must answer.
    pub min_up: usize,
    /// How long a preferred WAN must work before it is used again.
    pub hold_down: Duration,
    /// Limits beyond which a WAN is degraded.
    pub quality: Quality,
    /// Between single probes of a WAN that carries no traffic; `None`: it is checked as any other.
    pub idle_interval: Option<Duration>,
    /// From the beginning of an outage to its first reminder, and from one to the next; `None`:
    /// there are none.
    pub remind: Option<Duration>,
    /// Whether a switch ends connections over the WAN that is left.
    pub flush_conntrack: bool,
    /// Whether the default route in the table main is removed at the end.
    pub remove_on_exit: bool,
}

/// Settings of the ddns monitor.
#[derive(Clone, PartialEq, Debug)]
pub struct DdnsSettings {
    /// From one lookup to the next, at least; politeness may make it longer.
    pub interval: Duration,
    /// Who is asked, at least one.
    pub sources: Vec<Source>,
    /// IPv4, IPv6 or both.
    pub families: Vec<Family>,
    /// Each WAN's address is kept track of, instead of that of the one in use.
    pub per_wan: bool,
    /// Each start is announced to the action script.
    pub announce_start: bool,
    /// An address that stays the same is published again after so long.
    pub refresh: Option<Duration>,
    /// File of certificates to trust in place of the built-in ones.
    pub roots: Option<Located<String>>,
    /// Providers to update.
    pub updates: Located<Vec<Update>>,
}

/// One WAN.
#[derive(Clone, PartialEq, Debug)]
pub struct WanSettings {
    /// Its interface.
    pub device: String,
    /// What people call it; may be empty.
    pub name: String,
    /// Its gateway.
    pub gateway: GatewaySource,
    /// What tells whether it works; empty: its gateway.
    pub targets: Vec<TargetSettings>,
    /// What is pinged after a switch to it.
    pub postping: Option<Host>,
}

/// What tells whether a WAN works.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TargetSettings {
    /// As configured.
    pub text: Rc<str>,
    /// Who is asked.
    pub host: Host,
    /// And how.
    pub probe: ProbeKind,
}

impl fmt::Display for TargetSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A value and where it is written. Equal values are equal wherever they are written.
#[derive(Clone, Debug)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it is written.
    pub place: SettingPlace,
}

impl<T: PartialEq> PartialEq for Located<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// Where something is written. Shown as `FILE:LINE, section.key`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettingPlace {
    /// The file, as it was named; for the command line the option.
    pub file: Rc<str>,
    /// The line, counted from 1; `None` for the command line.
    pub line: Option<usize>,
    /// `section.key`, the section alone, or nothing.
    pub key: String,
}

/// Something wrong or odd, in one line: `MESSAGE (FILE:LINE, section.key)`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigProblem {
    /// What is wrong and what is allowed. Secrets are masked.
    pub message: String,
    /// Where.
    pub place: SettingPlace,
}

impl Config {
    /// How many monitors are enabled.
    #[must_use]
    pub fn monitors(&self) -> usize {
        let enabled = [
            self.ddns.is_some(),
            self.updown.is_some(),
            self.failover.is_some(),
            self.ping.is_some(),
        ];
        enabled.into_iter().filter(|on| *on).count()
    }
}

impl Timing {
    /// How that becomes probes.
    #[must_use]
    pub fn plan(&self) -> Plan {
        Plan::new(self.interval, self.pingcount, self.pingwait)
    }
}

impl fmt::Display for SettingPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Clean(&self.file))?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ", {}", Clean(&self.key))?;
        }
        Ok(())
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", Clean(&self.message), self.place)
    }
}

/// A monitor that would send more than this many probes a second is a mistake.
const MAX_RATE: f64 = 10_000.0;

/// Most probes of one monitor that may wait for a reply at once: each takes memory.
const MAX_UNDER_WAY: f64 = 20_000.0;

/// Reads a configuration. `file` is its name for messages and `text` its contents, of which
/// anything beyond [`MAX_BYTES`] need not be read.
#[must_use]
pub fn parse(file: &str, text: &[u8], overrides: &Overrides<'_>) -> ParsedFile {
    let mut report = Complaints { file: file.into(), errors: Vec::new(), warnings: Vec::new() };
    let (errors, warnings) = (Vec::new(), Vec::new());
    let mut parsed = ParsedFile { config: None, errors, warnings, echo: Vec::new(), action: None };
    match Document::new(text) {
        Ok(document) => parsed.config = read(&document, overrides, &mut report, &mut parsed),
        Err(fault) => report.fault("", fault),
    }
    (parsed.errors, parsed.warnings) = (report.errors, report.warnings);
    parsed.errors.sort_by_key(|problem| problem.place.line);
    parsed.warnings.sort_by_key(|problem| problem.place.line);
    parsed.config = parsed.config.filter(|_| parsed.errors.is_empty());
    parsed
}

fn read(
    document: &Document,
    overrides: &Overrides<'_>,
    report: &mut Complaints,
    parsed: &mut ParsedFile,
) -> Option<Config> {
    let root = match document.root() {
        Ok(root) => report.last_of_each("", root),
        Err(fault) => {
            report.fault("", fault);
            return None;
        }
    };
    let mut sections = Vec::new();
    for entry in root {
        let known = section_names().find(|name| *name == entry.key);
        match document.entries(entry.value) {
            Ok(Some(entries)) => {
                let entries = report.last_of_each(&entry.key, entries);
                parsed.echo.push(echo::section(&entry.key, &entries));
                sections.extend(known.map(|name| (name, entry.line, entries)));
            }
            Ok(None) if known.is_some() => report.error(
                entry.line,
                &entry.key,
                format!("Section {} must be an object in braces {{ }}", entry.key),
            ),
            Ok(None) => {}
            Err(fault) => report.fault(&entry.key, fault),
        }
        if known.is_none() {
            report.unknown("section", &entry, "", nearest(&entry.key, section_names()));
        }
    }
    let mut settings =
        |name: &'static str| match sections.iter().find(|(section, ..)| *section == name) {
            Some((_, line, entries)) => Settings::read(name, *line, entries, report),
            None => Settings::read(name, 1, &[], report),
        };
    let [global, ddns, updown, failover, ping] =
        ["global", "ddns", "updown", "failover", "ping"].map(&mut settings);
    // A section that is wrong as a whole might have enabled its monitor.
    let unclear = report.errors.iter().any(|error| MONITORS.contains(&error.place.key.as_str()));
    if !unclear
        && [&ddns, &updown, &failover, &ping]
            .iter()
            .all(|monitor| monitor.flag("enable") == Some(false))
    {
        let todo = "set enable to true in a section ddns, updown, failover or ping";
        report.error(1, "", format!("No monitors are enabled. See documentation: {todo}"));
    }
    parsed.action = read_action(&global, report);
    let addping = overrides.addping.and_then(|text| read_addping(text, &updown, report));
    // Each of them is read before one that failed ends this, so that the problems of all are
    // reported.
    let global = read_global(&global, parsed.action.clone(), report);
    let wans = if failover.enabled() {
        [failover.text("primary-if"), failover.text("standby-if")]
    } else {
        [None; 2]
    };
    let wans: Vec<&str> = wans.into_iter().flatten().collect();
    let ddns = ddns.enabled().then(|| read_ddns(&ddns, &wans, report));
    let updown = updown.enabled().then(|| read_updown(&updown, addping, report));
    let failover = failover.enabled().then(|| read_failover(&failover, report));
    let ping = ping.enabled().then(|| read_ping(&ping, report));
    Some(Config {
        global: global?,
        updown: if let Some(updown) = updown { Some(updown?) } else { None },
        ping: if let Some(ping) = ping { Some(ping?) } else { None },
        ddns: if let Some(ddns) = ddns { Some(ddns?) } else { None },
        failover: if let Some(failover) = failover { Some(failover?) } else { None },
    })
}

fn read_action(settings: &Settings, report: &mut Complaints) -> Option<Located<String>> {
    let path = settings.text("action").filter(|path| !path.is_empty())?;
    if !path.starts_with('/') {
        let message = "action is not a full path: which file it means depends on the directory imon is started in";
        settings.warn(report, "action", message.to_owned());
    }
    Some(Located { value: path.to_owned(), place: settings.place(report, "action") })
}

fn read_global(
    settings: &Settings,
    action: Option<Located<String>>,
    report: &mut Complaints,
) -> Option<Global> {
    if settings.line_of("debug").is_some() {
        settings.warn(
            report,
            "debug",
            "debug does nothing any more; the key can be removed".to_owned(),
        );
    }
    let set = |name: &str| settings.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
    Some(Global {
        action,
        action_timeout: settings.seconds("action-timeout")?,
        events: settings.events("events")?.to_vec(),
        datefmt: settings.text("datefmt")?.to_owned(),
        instance: set("instance"),
    })
}

fn read_updown(
    settings: &Settings,
    addping: Option<Vec<Host>>,
    report: &mut Complaints,
) -> Option<UpdownSettings> {
    let dns = read_opinion(settings, report);
    let timing = settings.timing()?;
    // While offline it checks every second, so that is what it must be able to keep up.
    let every = timing.interval.min(Duration::from_secs(1));
    check_load(settings, &timing, every, 1, report);
    Some(UpdownSettings {
        timing,
        target: settings.hosts("monitorip")?.first()?.clone(),
        addping: match addping {
            Some(hosts) => hosts,
            None => settings.hosts("addping")?.to_vec(),
        },
        dns: dns?,
        fall: settings.count("fall")?,
        rise: settings.count("rise")?,
    })
}

/// The inner `None` is a second opinion that is not wanted, or not possible.
fn read_opinion(settings: &Settings, report: &mut Complaints) -> Option<Option<OpinionSettings>> {
    let server = settings.hosts("dnsserver")?.first().cloned();
    let name = settings.text("dnslookup")?.to_owned();
    match (server, name.is_empty()) {
        (Some(server), false) => {
            if server.address().is_some_and(scope::is_private) {
                let message = format!(
                    "dnsserver {server} is on the local network: it answers from its cache and cannot tell whether the \
                     internet works"
                );
                settings.warn(report, "dnsserver", message);
            }
            return Some(Some(OpinionSettings { server, name }));
        }
        (Some(_), true) => {
            let message =
                "dnsserver is not used: dnslookup, the name to ask it for, is not set".to_owned();
            settings.warn(report, "dnsserver", message);
        }
        (None, false) => {
            let message =
                "dnslookup is not used: dnsserver, the server to ask, is not set".to_owned();
            settings.warn(report, "dnslookup", message);
        }
        (None, true) => {}
    }
    Some(None)
}

/// `--addping`, which replaces what the file says.
fn read_addping(text: &str, updown: &Settings, report: &mut Complaints) -> Option<Vec<Host>> {
    let key = schema().iter().find(|key| key.section == "updown" && key.name == "addping")?;
    let ReadValue { setting, errors, mut warnings } = value::read_hosts(key, text);
    if !updown.enabled() {
        warnings.push("--addping does nothing: the updown monitor is not enabled".to_owned());
    }
    let problem = |message| {
        let place = SettingPlace { file: "--addping".into(), line: None, key: String::new() };
        ConfigProblem { message, place }
    };
    report.errors.extend(errors.into_iter().map(problem));
    report.warnings.extend(warnings.into_iter().map(problem));
    match setting {
        Some(Setting::Hosts(hosts)) => Some(hosts),
        _ => None,
    }
}

/// `wans` are the interfaces of the failover monitor, if that runs.
fn read_ddns(settings: &Settings, wans: &[&str], report: &mut Complaints) -> Option<DdnsSettings> {
    let per_wan = settings.flag("per-wan")?;
    if per_wan && wans.is_empty() {
        settings.warn(
            report,
            "per-wan",
            "per-wan does nothing: the failover monitor is not enabled".to_owned(),
        );
    }
    let per_wan = per_wan && !wans.is_empty();
    let updates = settings.updates("update")?.to_vec();
    for wan in updates.iter().filter_map(|update| update.wan.as_ref()) {
        if !per_wan {
            settings.error(
                report,
                "update",
                format!("wan is {wan}, but per-wan is not true: there is one address only"),
            );
        } else if !wans.contains(&wan.as_str()) {
            settings.error(
                report,
                "update",
                format!("wan is {wan}, which is neither primary-if nor standby-if"),
            );
        }
    }
    let mut sources = settings.sources("sources")?.to_vec();
    if sources.is_empty() {
        sources = DEFAULTS.iter().filter_map(|text| Source::parse(text).ok()).collect();
    }
    for doubt in ddns::doubts(&sources) {
        settings.warn(report, "sources", doubt);
    }
    let roots = settings.text("ca-file")?;
    let roots = (!roots.is_empty())
        .then(|| Located { value: roots.to_owned(), place: settings.place(report, "ca-file") });
    let days = settings.number("refresh")?;
    Some(DdnsSettings {
        interval: settings.seconds("interval")?,
        sources,
        families: settings.families("families")?.to_vec(),
        per_wan,
        announce_start: settings.text("announce")? == "start",
        refresh: (days > 0.0).then(|| Duration::from_secs_f64(days * 86_400.0)),
        roots,
        updates: Located { value: updates, place: settings.place(report, "update") },
    })
}

fn read_ping(settings: &Settings, report: &mut Complaints) -> Option<PingSettings> {
    let timing = settings.timing()?;
    let targets = settings.hosts("monitorip")?.to_vec();
    check_load(settings, &timing, timing.interval, targets.len(), report);
    Some(PingSettings { timing, targets })
}

fn read_failover(settings: &Settings, report: &mut Complaints) -> Option<FailoverSettings> {
    let mut wan = |keys: [&'static str; 5]| {
        let [device, name, gateway, ping, postping] = keys;
        Some(WanSettings {
            device: settings.text(device)?.to_owned(),
            name: settings.text(name)?.to_owned(),
            gateway: settings.gateway(gateway)?,
            targets: settings.targets(ping)?.to_vec(),
            postping: ipv4_only(settings, postping, report)?,
        })
    };
    let primary =
        wan(["primary-if", "primary-name", "primary-gw", "primary-ping", "primary-postping"]);
    let standby =
        wan(["standby-if", "standby-name", "standby-gw", "standby-ping", "standby-postping"]);
    let timing = settings.timing()?;
    let (primary, standby) = (primary?, standby?);
    if primary.device == standby.device && !primary.device.is_empty() {
        let message = format!(
            "primary-if and standby-if are both {}: two interfaces are needed",
            primary.device
        );
        settings.error(report, "standby-if", message);
    }
    let targets = primary.targets.len().max(1) + standby.targets.len().max(1);
    check_load(settings, &timing, timing.interval, targets, report);
    let fewest = primary.targets.len().max(1).min(standby.targets.len().max(1));
    let min_up = usize::try_from(settings.count("min-up")?).ok()?;
    if min_up > fewest {
        let message = format!(
            "min-up is {min_up}, but a network has {fewest} of them: all of those must answer"
        );
        settings.warn(report, "min-up", message);
    }
    let quality = Quality {
        loss: limit(settings, ["max-loss", "return-loss"], |percent| percent / 100.0, report)?,
        rtt: limit(
            settings,
            ["max-rtt", "return-rtt"],
            |ms| Duration::from_secs_f64(ms / 1000.0),
            report,
        )?,
    };
    let remind = settings.seconds("remind")?;
    if !remind.is_zero() && remind < Duration::from_secs(1) {
        settings.error(
            report,
            "remind",
            "remind is less than a second: 0 for never, or 1 and more".to_owned(),
        );
    }
    Some(FailoverSettings {
        timing,
        wans: vec![primary, standby],
        prefer_primary: settings.flag("prefer-primary")?,
        metric: settings.count("metric")?,
        min_up,
        hold_down: settings.seconds("hold-down")?,
        quality,
        idle_interval: settings
            .seconds("idle-interval")
            .map(|every| (!every.is_zero()).then_some(every))?,
        remind: (!remind.is_zero()).then_some(remind),
        flush_conntrack: settings.flag("flush-conntrack")?,
        remove_on_exit: settings.text("on-exit")? == "remove",
    })
}

/// A host that is probed through a WAN.
fn ipv4_only(
    settings: &Settings,
    name: &'static str,
    report: &mut Complaints,
) -> Option<Option<Host>> {
    let host = settings.hosts(name)?.first().cloned();
    if host.as_ref().and_then(Host::address).is_some_and(|address| address.is_ipv6()) {
        settings.error(report, name, format!("{name} is an IPv6 address; failover switches IPv4"));
    }
    Some(host)
}

/// A limit and where it is good again. The inner `None` is one that is not set.
fn limit<T>(
    settings: &Settings,
    [most, again]: [&'static str; 2],
    unit: impl Fn(f64) -> T,
    report: &mut Complaints,
) -> Option<Option<Limit<T>>> {
    let (max, back) = (settings.number(most)?, settings.number(again)?);
    let set = |n: f64| n > 0.0;
    if set(back) && !set(max) {
        settings.warn(report, again, format!("{again} is not used: {most} is not set"));
    } else if back > max {
        settings.error(
            report,
            again,
            format!("{again} is {}, above {most}, which is {}", Plain(back), Plain(max)),
        );
    }
    let again = if set(back) { back } else { max / 2.0 };
    Some(set(max).then(|| Limit { most: unit(max), again: unit(again) }))
}

/// Refuses settings that are good one by one and together flood a network or fill the memory.
fn check_load(
    settings: &Settings,
    timing: &Timing,
    every: Duration,
    targets: usize,
    report: &mut Complaints,
) {
    let targets = f64::from(u32::try_from(targets).unwrap_or(u32::MAX));
    let probes = targets * f64::from(timing.pingcount);
    let (every, check) = (every.as_secs_f64(), timing.plan().span().as_secs_f64());
    let (rate, under_way) = (probes / every, probes * (check / every).ceil());
    // Both at their limit is still fine, whatever the last bit of a quotient is.
    let beyond = |n: f64, max: f64| n > max * 1.000_001;
    let section = settings.section;
    if beyond(rate, MAX_RATE) {
        let message = format!(
            "{section} would send {} probes a second, at most {} are allowed: raise interval, or lower \
             pingcount or the number of addresses",
            Plain(rate.round()),
            Plain(MAX_RATE)
        );
        settings.error(report, "interval", message);
    } else if beyond(under_way, MAX_UNDER_WAY) {
        let message = format!(
            "{section} would have {} probes under way at once, at most {} are allowed: raise \
             interval, or lower pingwait, pingcount or the number of addresses",
            Plain(under_way.round()),
            Plain(MAX_UNDER_WAY)
        );
        settings.error(report, "interval", message);
    }
}

fn section_names() -> impl Iterator<Item = &'static str> {
    std::iter::once("global").chain(MONITORS)
}

#[cfg(test)]
mod tests;
