//! The event catalogue. An event knows its log text, its action arguments and its JSON; nothing is
//! spelled twice, so log, script and JSON cannot drift apart. Texts and argument positions are
//! those of imon V2.99.

pub mod cause;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::addr::family::Family;
use crate::base::time::{self, Clock, Instant, Wall};
use crate::event::cause::Cause;
use crate::probe::stats::{Fraction, Millis, Stats};
use crate::probe::{Owner, Reason};

/// Severity of a log line, as syslog numbers them (RFC 5424).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Something does not work and somebody must act.
    Error = 3,
    /// Something is wrong that may pass.
    Warning = 4,
    /// A change worth knowing.
    Notice = 5,
    /// Everything else.
    Info = 6,
    /// Output of action scripts.
    Debug = 7,
}

/// Which monitor speaks. Its name tags log lines when several run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Monitor {
    /// The external address.
    Ddns,
    /// Outages of an address.
    Updown,
    /// The default route on a working one of two WANs.
    Failover,
    /// Statistics at intervals.
    Ping,
}

impl Monitor {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ddns, Self::Updown, Self::Failover, Self::Ping];

    /// As in the configuration and in log tags.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ddns => "ddns",
            Self::Updown => "updown",
            Self::Failover => "failover",
            Self::Ping => "ping",
        }
    }
}

/// Something worth telling.
/// ```
/// use imon::event::{Event, Monitor, What};
/// use imon::probe::Reason;
/// use imon::base::time::{Clock, Instant, Wall};
///
/// let now = Instant::from_nanos(60_000_000_000);
/// let what = What::Offline { target: "1.1.1.1".into(), began: now, reason: Reason::Silent };
/// let event = Event { monitor: Monitor::Updown, owner: 0, what };
///
/// event.log(true, &mut |_, line| assert_eq!(line.to_string(), "Monitored IP 1.1.1.1 offline"));
///
/// let call = event.action().unwrap();
/// assert_eq!((call.name, call.args), ("updown-offline", vec!["1.1.1.1".to_owned()]));
///
/// let clock = Clock { now, wall: Wall { secs: 1_795_330_107, nanos: 0 } };
/// let json = event.json("main", clock, None);
/// assert!(json.starts_with(r#"{"schema":1,"event":"updown-offline","monitor":"updown","instance":"main""#));
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// Who noticed it.
    pub monitor: Monitor,
    /// The host it is about.
    pub owner: Owner,
    /// What it is.
    pub what: What,
}

/// What happened.
#[derive(Clone, PartialEq, Debug)]
pub enum What {
    /// The monitored address answers: for the first time, or again after an outage.
    Online {
        /// As configured.
        target: Rc<str>,
        /// The outage that ended, `None` at the first check.
        outage: Option<Outage>,
        /// It is DNS that says so, the address itself does not answer.
        by_dns: bool,
    },
    /// The monitored address does not answer.
    Offline {
        /// As configured.
        target: Rc<str>,
        /// When the first lost probe was sent.
        began: Instant,
        /// Why.
        reason: Reason,
    },
    /// One of the additional addresses, looked at because of a change of the monitored one, or
    /// itself changed.
    Secondary {
        /// As configured.
        target: Rc<str>,
        /// Whether it answers.
        online: bool,
    },
    /// What the additional addresses say about where the fault is.
    Conclusion(Rc<str>),
    /// The monitored address does not answer, but DNS does.
    Refuted {
        /// As configured.
        target: Rc<str>,
        /// The name that was looked up.
        name: Rc<str>,
        /// Who answered.
        server: Rc<str>,
    },
    /// Result of one check of the ping monitor.
    PingResult {
        /// As configured.
        target: Rc<str>,
        /// The numbers.
        stats: Stats,
        /// Why there was no reply.
        reason: Option<Reason>,
    },
    /// A change in what keeps probes from being sent; `None`: they are sent again.
    Sending {
        /// As configured.
        target: Rc<str>,
        /// What keeps them.
        problem: Option<Reason>,
    },
    /// The first that is known of a WAN.
    WanInitial {
        /// Which.
        wan: WanRef,
        /// Whether it works.
        online: bool,
        /// Why it does not.
        reason: Option<Rc<str>>,
    },
    /// A WAN does not work any more.
    WanOffline {
        /// Which.
        wan: WanRef,
        /// When its first lost probe was sent, or its link was lost.
        began: Instant,
        /// Why it does not work.
        reason: Option<Rc<str>>,
        /// It changes too often for a line each time.
        quiet: bool,
    },
    /// A WAN works again.
    WanOnline {
        /// Which.
        wan: WanRef,
        /// The outage that has ended.
        outage: Outage,
        /// It changes too often for a line each time.
        quiet: bool,
    },
    /// A WAN still does not work.
    WanReminder {
        /// Which.
        wan: WanRef,
        /// The outage so far.
        outage: Outage,
        /// How often this was said.
        count: u32,
        /// Why it does not work.
        reason: Option<Rc<str>>,
    },
    /// What has changed too often for a line each time.
    Changes {
        /// A WAN; `None`: whether any WAN works.
        wan: Option<WanRef>,
        /// How often,
        times: u32,
        /// since the last line, so long ago.
        lasted: Duration,
        /// What it is now, in a word.
        state: &'static str,
        /// Why, if it does not work.
        reason: Option<Rc<str>>,
    },
    /// A WAN works badly, and how; `None`: not any more.
    WanDegraded {
        /// Which.
        wan: WanRef,
        /// How badly.
        how: Option<Rc<str>>,
    },
    /// The default route goes over this WAN now.
    Switched {
        /// Which.
        wan: WanRef,
        /// Why.
        cause: Cause,
    },
    /// The default route should go over this WAN, and the kernel says why it does not.
    Refused {
        /// Which.
        wan: WanRef,
        /// The kernel's words.
        why: Rc<str>,
    },
    /// No WAN works. The route stays where it is.
    AllDown {
        /// All of them, in order of preference.
        wans: Vec<WanRef>,
        /// It happens too often for a line each time.
        quiet: bool,
    },
    /// A WAN works and carries the traffic, after none did.
    Restored {
        /// Which.
        wan: WanRef,
        /// From the moment the last one failed.
        outage: Outage,
        /// It happens too often for a line each time.
        quiet: bool,
    },
    /// The ping after a switch.
    Postping {
        /// Over which WAN.
        wan: WanRef,
        /// As configured.
        target: Rc<str>,
        /// Whether it was answered.
        online: bool,
    },
    /// The external address is another.
    ExternalChanged {
        /// The address.
        new: IpAddr,
        /// The one before; `None`: there is no history.
        old: Option<IpAddr>,
        /// IPv4 or IPv6.
        family: Family,
        /// The WAN's interface, where each WAN's address is kept track of.
        wan: Option<Rc<str>>,
    },
    /// The external address cannot be found.
    ExternalLost {
        /// It could not be found before either.
        again: bool,
        /// Why, in the words of the last source.
        why: Rc<str>,
        /// IPv4 or IPv6.
        family: Family,
        /// The WAN's interface, where each WAN's address is kept track of.
        wan: Option<Rc<str>>,
    },
    /// It can be found again.
    ExternalFound {
        /// How long it could not.
        lasted: Duration,
        /// IPv4 or IPv6.
        family: Family,
        /// The WAN's interface, where each WAN's address is kept track of.
        wan: Option<Rc<str>>,
    },
    /// Something for people only.
    Note {
        /// How bad it is.
        severity: Severity,
        /// In words.
        text: Rc<str>,
    },
}

/// Which of the WANs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Role {
    /// The preferred one.
    Primary,
    /// The other one.
    Standby,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "Primary",
            Self::Standby => "Standby",
        })
    }
}

/// A WAN as logs and scripts name it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct WanRef {
    /// Its place.
    pub role: Role,
    /// As configured; may be empty.
    #[serde(serialize_with = "text")]
    pub name: Rc<str>,
    /// Its interface.
    #[serde(rename = "interface", serialize_with = "text")]
    pub device: Rc<str>,
    /// Our address on it; for one that is offline the last one.
    pub address: Option<Ipv4Addr>,
}

impl WanRef {
    /// For `$4` of scripts: `net42:Primary:wan1:192.168.42.2`. An empty name keeps its colon.
    fn info(&self) -> String {
        let address = self.address.map(|a| a.to_string()).unwrap_or_default();
        format!("{}:{}:{}:{address}", self.name, self.role, self.device)
    }

    /// `net42 (wan1)`, without a name `'wan1'`.
    #[must_use]
    pub fn label(&self) -> String {
        match (&*self.name, &*self.device) {
            ("", device) => format!("'{device}'"),
            (name, device) => format!("{name} ({device})"),
        }
    }
}

impl fmt::Display for WanRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} Network {}", self.role, self.label())
    }
}

/// An outage from the first lost probe to the first reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outage {
    /// When the first lost probe was sent.
    pub began: Instant,
    /// On the monotonic clock: a stepped wall clock does not bend it.
    pub lasted: Duration,
}

impl Outage {
    /// Since when, and for how many seconds.
    fn json(&self, clock: Clock) -> (Option<Wall>, Option<Millis>) {
        (Some(clock.wall_of(self.began)), Some(Millis(self.lasted.as_secs_f64())))
    }
}

/// Events that V2.99 did not have: they call the script only where the configuration names them.
pub const ON_REQUEST: [&str; 4] =
    ["failover-offline", "failover-online", "failover-remind", "failover-restored"];

/// A call of the action script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Action {
    /// `$3`.
    pub name: &'static str,
    /// `$4` and on.
    pub args: Vec<String>,
}

impl Event {
    /// The log lines, in order, each given to `line`. `has_action`: a script is configured, which
    /// then gets the ping results instead of the log.
    pub fn log(&self, has_action: bool, line: &mut dyn FnMut(Severity, fmt::Arguments<'_>)) {
        use Severity::{Info, Notice, Warning};
        match &self.what {
            What::Online { target, outage, .. } => {
                line(Notice, format_args!("Monitored IP {target} online"));
                if let Some(outage) = outage {
                    line(
                        Notice,
                        format_args!("Outage Duration: {}", time::in_words(outage.lasted)),
                    );
                }
            }
            What::Offline { target, reason, .. } => {
                // V2.99 never said why. Nothing comes between the offline line and those about the
                // secondary addresses.
                if *reason != Reason::Silent {
                    line(Warning, format_args!("Probe of {target}: {reason}"));
                }
                line(Warning, format_args!("Monitored IP {target} offline"));
            }
            What::Secondary { target, online } => {
                line(Notice, format_args!("Secondary IP {target} {}", on_off(*online)));
            }
            What::Conclusion(text) => line(Notice, format_args!("{text}")),
            What::Refuted { target, name, server } => line(
                Notice,
                format_args!(
                    "Offline of {target} refuted by DNS query of '{name}' on DNS server '{server}'"
                ),
            ),
            What::PingResult { target, stats: s, .. } if !has_action => line(
                Info,
                format_args!(
                    "Ping Result: IP:{target} State:{} minrtt:{} avgrtt:{} maxrtt:{} loss:{} jitter:{}",
                    python_bool(s.alive),
                    Millis(s.min),
                    Millis(s.avg),
                    Millis(s.max),
                    Fraction(s.loss),
                    Millis(s.jitter)
                ),
            ),
            What::PingResult { .. } => {}
            What::Sending { target, problem: Some(why) } => {
                line(Warning, format_args!("Probe of {target}: {why}"))
            }
            What::Sending { target, problem: None } => {
                line(Notice, format_args!("Probes of {target} are sent again"))
            }
            What::WanInitial { wan, online, reason } => {
                if let Some(reason) = reason {
                    line(Warning, format_args!("{wan}: {reason}"));
                }
                let severity = if *online { Notice } else { Warning };
                line(
                    severity,
                    format_args!("Network Failover Initial State for {wan}: {}", on_off(*online)),
                );
            }
            What::WanOffline { quiet: true, .. } | What::WanOnline { quiet: true, .. } => {}
            What::WanOnline { wan, outage, .. } => {
                line(Notice, format_args!("{wan} is now online"));
                line(
                    Notice,
                    format_args!(
                        "{} Network Outage Duration: {}",
                        wan.role,
                        time::in_words(outage.lasted)
                    ),
                );
            }
            What::WanOffline { wan, reason, .. } => {
                if let Some(reason) = reason {
                    line(Warning, format_args!("{wan}: {reason}"));
                }
                line(Warning, format_args!("{wan} is now offline"));
            }
            What::WanReminder { wan, outage, .. } => {
                line(
                    Warning,
                    format_args!("{wan} is still offline, for {}", time::in_words(outage.lasted)),
                );
            }
            What::Changes { wan, times, lasted, state, reason } => {
                let (n, s) = (lasted.as_secs().div_ceil(60), if *times == 1 { "" } else { "s" });
                let who = wan.as_ref().map_or_else(|| "The internet".to_owned(), WanRef::to_string);
                let why = reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
                let text = format_args!(
                    "{who} changed {times} time{s} in the last {n} min, now {state}{why}"
                );
                line(if why.is_empty() { Notice } else { Warning }, text);
            }
            What::WanDegraded { wan, how: Some(how) } => {
                line(Warning, format_args!("{wan} is degraded: {how}"))
            }
            What::WanDegraded { wan, how: None } => {
                line(Notice, format_args!("{wan} is no longer degraded"))
            }
            What::Switched { wan, .. } => {
                line(Notice, format_args!("Network Failover to {wan}"));
                line(
                    Notice,
                    format_args!("Network Failover {} Route {} is active", wan.role, wan.label()),
                );
            }
            What::Refused { wan, why } => {
                line(
                    Severity::Error,
                    format_args!("The default route over {wan} cannot be set, tried again: {why}"),
                );
            }
            What::AllDown { quiet: true, .. } | What::Restored { quiet: true, .. } => {}
            What::AllDown { .. } => {
                line(Warning, format_args!("Both Primary and Standby Networks are offline"))
            }
            What::Restored { wan, outage, .. } => {
                let lasted = time::in_words(outage.lasted);
                line(
                    Notice,
                    format_args!("No network was online for {lasted}; traffic goes over {wan} now"),
                );
            }
            What::Postping { wan, target, online: true } => {
                line(
                    Notice,
                    format_args!(
                        "Info: {} Network Ping Target {target} Online After Failover",
                        wan.role
                    ),
                );
            }
            What::Postping { wan, target, online: false } => line(
                Warning,
                format_args!(
                    "Warn: {} Network Ping Target {target} Not Responding After Failover",
                    wan.role
                ),
            ),
            What::ExternalChanged { new, old, wan, .. } => {
                let text = |old: &dyn fmt::Display| {
                    format!("External IP Address changed from {old} to {new}")
                };
                let text = old.as_ref().map_or_else(|| text(&"unknown"), |old| text(old));
                line(Notice, format_args!("{text}{}", Behind(wan.as_deref())));
            }
            What::ExternalLost { again, why, family, wan } => {
                if !again {
                    line(Warning, format_args!("Lookup of the external address: {why}"));
                }
                let family = if *family == Family::V6 { Some("IPv6") } else { None };
                let (family, wan) = (Behind(family), Behind(wan.as_deref()));
                line(Warning, format_args!("%% Unable to obtain External IP Address{family}{wan}"));
            }
            What::ExternalFound { lasted, family, wan } => {
                let family = if *family == Family::V6 { Some("IPv6") } else { None };
                let (family, wan, lasted) =
                    (Behind(family), Behind(wan.as_deref()), time::in_words(*lasted));
                line(
                    Notice,
                    format_args!(
                        "External IP Address is obtained again{family}{wan}, after {lasted}"
                    ),
                );
            }
            What::Note { severity, text } => line(*severity, format_args!("{text}")),
        }
    }

    /// The address family and the WAN that an event of the ddns monitor is about, for `IMON_FAMILY`
    /// and `IMON_WAN`.
    #[must_use]
    pub fn external(&self) -> Option<(Family, Option<&str>)> {
        match &self.what {
            What::ExternalChanged { family, wan, .. } | What::ExternalLost { family, wan, .. } => {
                Some((*family, wan.as_deref()))
            }
            _ => None,
        }
    }

    /// The call of the action script, for events that have one. `None` for the first "online", for
    /// secondary addresses, and for everything else that V2.99 only logged.
    #[must_use]
    pub fn action(&self) -> Option<Action> {
        let (name, args) = match &self.what {
            What::Online { target, outage: Some(outage), .. } => {
                ("updown-online", vec![target.to_string(), time::for_script(outage.lasted)])
            }
            What::Offline { target, .. } => ("updown-offline", vec![target.to_string()]),
            What::PingResult { target, stats: s, .. } => (
                "ping-result",
                vec![format!(
                    "{target}:{}:{}:{}:{}:{}:{}",
                    python_bool(s.alive),
                    Millis(s.min),
                    Millis(s.avg),
                    Millis(s.max),
                    Fraction(s.loss),
                    Millis(s.jitter)
                )],
            ),
            What::WanInitial { wan, online, .. } => {
                ("failover-initial", vec![wan.info(), on_off(*online).to_owned()])
            }
            What::Switched { wan, .. } => match wan.role {
                Role::Primary => ("failover-primary", vec![wan.info()]),
                Role::Standby => ("failover-standby", vec![wan.info()]),
            },
            What::WanOffline { wan, reason, .. } => (
                "failover-offline",
                vec![wan.info(), reason.as_deref().unwrap_or_default().to_owned()],
            ),
            What::WanOnline { wan, outage, .. } => {
                ("failover-online", vec![wan.info(), time::for_script(outage.lasted)])
            }
            What::WanReminder { wan, outage, .. } => {
                ("failover-remind", vec![wan.info(), time::for_script(outage.lasted)])
            }
            What::Restored { wan, outage, .. } => {
                ("failover-restored", vec![wan.info(), time::for_script(outage.lasted)])
            }
            What::AllDown { wans, .. } => {
                ("failover-bothdown", wans.iter().map(WanRef::info).collect())
            }
            What::Postping { wan, online, .. } => {
                ("failover-postping", vec![wan.info(), on_off(*online).to_owned()])
            }
            What::ExternalChanged { new, old, .. } => {
                let old = old.map_or_else(|| "unknown".to_owned(), |old| old.to_string());
                ("ddns-ip-update", vec![new.to_string(), old])
            }
            What::ExternalLost { again: false, .. } => ("ddns-no-update", Vec::new()),
            What::ExternalLost { again: true, .. }
            | What::ExternalFound { .. }
            | What::Note { .. } => return None,
            What::Online { .. }
            | What::Secondary { .. }
            | What::Conclusion(_)
            | What::Refuted { .. }
            | What::Changes { .. }
            | What::WanDegraded { .. }
            | What::Refused { .. }
            | What::Sending { .. } => return None,
        };
        Some(Action { name, args })
    }

    /// The call, if it is one that V2.99 made as well, or that is named in `requested`.
    #[must_use]
    pub fn call(&self, requested: &[&str]) -> Option<Action> {
        self.action()
            .filter(|call| !ON_REQUEST.contains(&call.name) || requested.contains(&call.name))
    }

    /// The whole event as one line of JSON, for `IMON_JSON`. docs/guide/operate.md documents its
    /// fields.
    #[must_use]
    pub fn json(&self, instance: &str, clock: Clock, address: Option<IpAddr>) -> String {
        let mut j = Json {
            schema: 1,
            event: self.action().map_or("", |a| a.name),
            monitor: self.monitor,
            instance,
            time: clock.wall,
            target: None,
            address,
            since: None,
            outage_seconds: None,
            by_dns: None,
            count: None,
            reason: None,
            ping: None,
            wan: None,
            wans: None,
            online: None,
            cause: None,
            old_address: None,
            family: None,
            wan_interface: None,
        };
        match &self.what {
            What::Online { target, outage, by_dns } => {
                j.target = Some(target);
                j.since = outage.map(|o| clock.wall_of(o.began));
                j.outage_seconds = outage.map(|o| Millis(o.lasted.as_secs_f64()));
                j.by_dns = Some(*by_dns);
            }
            What::Offline { target, began, reason } => {
                j.target = Some(target);
                j.since = Some(clock.wall_of(*began));
                j.reason = Some(reason.to_string());
            }
            What::PingResult { target, stats, reason } => {
                j.target = Some(target);
                j.reason = reason.as_ref().map(Reason::to_string);
                j.ping = Some(PingJson::from(stats));
            }
            What::Secondary { target, .. }
            | What::Refuted { target, .. }
            | What::Sending { target, .. } => {
                j.target = Some(target);
            }
            What::WanInitial { wan, online, reason } => {
                (j.wan, j.online, j.reason) =
                    (Some(wan), Some(*online), reason.as_deref().map(str::to_owned));
            }
            What::WanOffline { wan, began, reason, .. } => {
                j.wan = Some(wan);
                j.since = Some(clock.wall_of(*began));
                j.outage_seconds = Some(Millis(clock.now.since(*began).as_secs_f64()));
                j.reason = reason.as_deref().map(str::to_owned);
            }
            What::WanOnline { wan, outage, .. } | What::Restored { wan, outage, .. } => {
                (j.wan, j.online) = (Some(wan), Some(true));
                (j.since, j.outage_seconds) = outage.json(clock);
            }
            What::WanReminder { wan, outage, count, reason } => {
                (j.wan, j.online, j.count) = (Some(wan), Some(false), Some(*count));
                (j.since, j.outage_seconds) = outage.json(clock);
                j.reason = reason.as_deref().map(str::to_owned);
            }
            What::WanDegraded { wan, .. } | What::Refused { wan, .. } => j.wan = Some(wan),
            What::Switched { wan, cause } => (j.wan, j.cause) = (Some(wan), Some(cause.word())),
            What::AllDown { wans, .. } => j.wans = Some(wans),
            What::Postping { wan, target, online } => {
                j.target = Some(target);
                (j.wan, j.online) = (Some(wan), Some(*online));
            }
            What::ExternalChanged { new, old, family, wan } => {
                (j.address, j.old_address, j.family) = (Some(*new), *old, Some(family.digit()));
                j.wan_interface = wan.as_deref();
            }
            What::ExternalLost { why, family, wan, .. } => {
                (j.address, j.reason, j.family) =
                    (None, Some(why.to_string()), Some(family.digit()));
                j.wan_interface = wan.as_deref();
            }
            What::Conclusion(_)
            | What::Changes { .. }
            | What::ExternalFound { .. }
            | What::Note { .. } => {}
        }
        serde_json::to_string(&j).unwrap_or_default()
    }

    /// The names of all events that call the action script.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        Self::examples(Instant::ZERO).iter().filter_map(|e| e.action().map(|a| a.name)).collect()
    }

    /// One example of each event that calls the action script, by its name, for `imon test-action`
    /// and tests.
    #[must_use]
    pub fn examples(now: Instant) -> Vec<Self> {
        let target: Rc<str> = "1.1.1.1".into();
        let outage =
            Outage { began: now - Duration::from_secs(18), lasted: Duration::from_secs(18) };
        let long =
            Outage { began: now - Duration::from_secs(600), lasted: Duration::from_secs(600) };
        let silent = Some("nothing answers: 2 probes to 1.1.1.1 in a row unanswered".into());
        let rtts = [0.142, 0.368].map(|ms: f64| Duration::from_secs_f64(ms / 1000.0));
        let event = |monitor, what| Self { monitor, owner: 0, what };
        let wan = |role, name: &str, device: &str, address| WanRef {
            role,
            name: name.into(),
            device: device.into(),
            address: Some(Ipv4Addr::from(address)),
        };
        let primary = wan(Role::Primary, "net42", "wan1", [192, 168, 42, 2]);
        let standby = wan(Role::Standby, "net62", "wan2", [192, 168, 62, 2]);
        let failover = |what| event(Monitor::Failover, what);
        let new = Ipv4Addr::new(203, 0, 113, 1).into();
        let ddns = |what| event(Monitor::Ddns, what);
        vec![
            ddns(What::ExternalChanged {
                new,
                old: None,
                family: Family::V4,
                wan: Some("wan1".into()),
            }),
            ddns(What::ExternalLost {
                again: false,
                why: "the answer has HTTP status 500".into(),
                family: Family::V4,
                wan: None,
            }),
            event(
                Monitor::Updown,
                What::Online { target: target.clone(), outage: Some(outage), by_dns: false },
            ),
            event(
                Monitor::Updown,
                What::Offline {
                    target: target.clone(),
                    began: outage.began,
                    reason: Reason::Silent,
                },
            ),
            failover(What::WanInitial { wan: primary.clone(), online: true, reason: None }),
            failover(What::Switched { wan: primary.clone(), cause: Cause::Start }),
            failover(What::Switched { wan: standby.clone(), cause: Cause::Failed }),
            failover(What::AllDown { wans: vec![primary.clone(), standby.clone()], quiet: false }),
            failover(What::Postping { wan: standby, target: target.clone(), online: true }),
            failover(What::WanOffline {
                wan: primary.clone(),
                began: outage.began,
                reason: silent.clone(),
                quiet: false,
            }),
            failover(What::WanOnline { wan: primary.clone(), outage, quiet: false }),
            failover(What::WanReminder {
                wan: primary.clone(),
                outage: long,
                count: 1,
                reason: silent,
            }),
            failover(What::Restored { wan: primary, outage, quiet: false }),
            event(
                Monitor::Ping,
                What::PingResult { target, stats: Stats::of(rtts.into_iter(), 3), reason: None },
            ),
        ]
    }
}

/// The fields of an event. Those that an event does not have are left out.
#[derive(Serialize)]
struct Json<'a> {
    schema: u8,
    event: &'static str,
    monitor: Monitor,
    instance: &'a str,
    time: Wall,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Wall>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outage_seconds: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by_dns: Option<bool>,
    /// Of reminders.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    ping: Option<PingJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wan: Option<&'a WanRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wans: Option<&'a [WanRef]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    online: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wan_interface: Option<&'a str>,
}

/// The numbers of a check, as in the log.
#[derive(Serialize, Clone, Copy, Debug)]
pub struct PingJson {
    alive: bool,
    min_ms: Millis,
    avg_ms: Millis,
    max_ms: Millis,
    loss: Fraction,
    jitter_ms: Millis,
}

impl From<&Stats> for PingJson {
    fn from(s: &Stats) -> Self {
        Self {
            alive: s.alive,
            min_ms: Millis(s.min),
            avg_ms: Millis(s.avg),
            max_ms: Millis(s.max),
            loss: Fraction(s.loss),
            jitter_ms: Millis(s.jitter),
        }
    }
}

fn text<S: Serializer>(text: &Rc<str>, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(text)
}

/// A word in parentheses behind others, or nothing.
struct Behind<'a>(Option<&'a str>);

impl fmt::Display for Behind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |word| write!(f, " ({word})"))
    }
}

fn on_off(online: bool) -> &'static str {
    if online { "online" } else { "offline" }
}

/// V2.99 was Python, and its scripts compare with this.
fn python_bool(b: bool) -> &'static str {
    if b { "True" } else { "False" }
}

#[cfg(test)]
mod tests;
