//! The status file: what each monitor sees, for people and programs. Schema 1, documented in the README.

use std::cell::Cell;
use std::net::IpAddr;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::event::PingJson;
use crate::monitor::Owner;
use crate::monitor::check::{Checker, Counters, Verdict};
use crate::monitor::ping::Ping;
use crate::monitor::stats::Millis;
use crate::monitor::updown::{State, Updown};
use crate::time::{Clock, Wall};

/// What the status is made of.
pub struct Sources<'a> {
    /// The instance's name.
    pub instance: &'a str,
    /// Process number.
    pub pid: u32,
    /// When imon was started.
    pub started: Wall,
    /// Now.
    pub clock: Clock,
    /// The address of a host, as far as it is known.
    pub address: &'a dyn Fn(Owner) -> Option<IpAddr>,
    /// The updown monitor.
    pub updown: Option<&'a Updown>,
    /// The ping monitor.
    pub ping: Option<&'a Ping>,
    /// Calls of the action script: waiting, running, failed.
    pub actions: (usize, usize, u64),
}

/// Writes the status as JSON with a final newline into `out`, replacing what is there. Allocates nothing that `out`
/// does not.
pub fn write(sources: &Sources<'_>, out: &mut Vec<u8>) {
    out.clear();
    if serde_json::to_writer(&mut *out, &Root::of(sources)).is_ok() {
        out.push(b'\n');
    }
}

#[derive(Serialize)]
struct Root<'a> {
    schema: u8,
    version: &'static str,
    instance: &'a str,
    pid: u32,
    /// When imon was started.
    since: Wall,
    /// When this was written.
    written: Wall,
    actions: ActionsStatus,
    monitors: Monitors<'a>,
}

#[derive(Serialize)]
struct ActionsStatus {
    waiting: usize,
    running: usize,
    failed: u64,
}

#[derive(Serialize)]
struct Monitors<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    updown: Option<UpdownStatus<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ping: Option<PingStatus<'a>>,
}

impl<'a> Root<'a> {
    fn of(s: &'a Sources<'a>) -> Self {
        let (waiting, running, failed) = s.actions;
        Self {
            schema: 1,
            version: env!("CARGO_PKG_VERSION"),
            instance: s.instance,
            pid: s.pid,
            since: s.started,
            written: s.clock.wall,
            actions: ActionsStatus { waiting, running, failed },
            monitors: Monitors {
                updown: s.updown.map(|u| UpdownStatus::of(s, u)),
                ping: s.ping.map(|ping| PingStatus { sources: s, ping }),
            },
        }
    }
}

/// One host: what is known of it and its checks.
#[derive(Serialize)]
struct HostStatus<'a> {
    target: &'a str,
    address: Option<IpAddr>,
    state: &'static str,
    /// Since when it is in this state; not kept by the ping monitor.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Wall>,
    /// Why it does not answer.
    reason: Option<Shown<'a>>,
    last: Option<Last>,
    probes: Probes,
}

/// The last check.
#[derive(Serialize)]
struct Last {
    start: Wall,
    #[serde(flatten)]
    numbers: PingJson,
}

#[derive(Serialize)]
struct Probes {
    sent: u64,
    replies: u64,
    late: u64,
    duplicates: u64,
    checks: u64,
}

#[derive(Serialize)]
struct UpdownStatus<'a> {
    #[serde(flatten)]
    host: HostStatus<'a>,
    /// Length of the outage so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    outage_seconds: Option<Millis>,
    /// Why DNS did not refute the last bad check.
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<&'a str>,
    secondaries: Secondaries<'a>,
}

struct Secondaries<'a>(&'a Updown);

struct PingStatus<'a> {
    sources: &'a Sources<'a>,
    ping: &'a Ping,
}

/// Something with a text form.
struct Shown<'a>(&'a dyn std::fmt::Display);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self.0)
    }
}

impl<'a> UpdownStatus<'a> {
    fn of(s: &'a Sources<'a>, updown: &'a Updown) -> Self {
        let (checker, last) = updown.checker_status();
        let (state, since, reason) = match updown.state() {
            State::Unknown => ("unknown", None, None),
            State::Online(since) => ("online", Some(*since), None),
            State::Offline(since, reason) => ("offline", Some(*since), Some(reason)),
        };
        let mut host = HostStatus::of(s, &updown.target().1, checker, last);
        host.state = state;
        host.since = since.map(|at| s.clock.wall_of(at));
        host.reason = reason.map(|r| Shown(r));
        let outage = since.filter(|_| reason.is_some());
        Self {
            host,
            outage_seconds: outage.map(|at| Millis(s.clock.now.since(at).as_secs_f64())),
            dns: updown.doubt().filter(|_| reason.is_some()),
            secondaries: Secondaries(updown),
        }
    }
}

impl<'a> HostStatus<'a> {
    fn of(s: &Sources<'_>, target: &'a str, checker: &Checker, last: Option<&'a Verdict>) -> Self {
        let Counters { sent, replies, late, duplicates, checks } = checker.counters;
        Self {
            target,
            address: (s.address)(checker.owner()),
            state: match last {
                None => "unknown",
                Some(v) if v.good => "online",
                Some(_) => "offline",
            },
            since: None,
            reason: last.filter(|v| !v.good).map(|v| Shown(&v.reason)),
            last: last.map(|v| Last { start: s.clock.wall_of(v.start), numbers: PingJson::from(&v.stats) }),
            probes: Probes { sent, replies, late, duplicates, checks },
        }
    }
}

impl Serialize for Secondaries<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.0.secondaries().map(|(target, online)| Secondary {
            target,
            state: match online {
                None => "unknown",
                Some(true) => "online",
                Some(false) => "offline",
            },
        }))
    }
}

#[derive(Serialize)]
struct Secondary<'a> {
    target: &'a str,
    state: &'static str,
}

impl Serialize for PingStatus<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(1))?;
        let targets =
            self.ping.targets().iter().map(|t| HostStatus::of(self.sources, &t.text, &t.checker, t.last.as_ref()));
        map.serialize_entry("targets", &Sequence(Cell::new(Some(targets))))?;
        map.end()
    }
}

/// An iterator as a JSON list, without collecting it first.
struct Sequence<I>(Cell<Option<I>>);

impl<T: Serialize, I: Iterator<Item = T>> Serialize for Sequence<I> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.0.take().into_iter().flatten())
    }
}
