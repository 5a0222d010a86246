//! The status file: what each monitor sees, for people and programs. Schema 1, documented in
//! docs/guide/operate.md.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::base::time::{Clock, Wall};
use crate::event::{PingJson, Role};
use crate::monitor::ddns::answer::Nat;
use crate::monitor::ddns::sinks::SinceStamp;
use crate::monitor::ddns::{Ddns, Track};
use crate::monitor::failover::{Failover, Wan};
use crate::monitor::ping::Ping;
use crate::monitor::updown::{Reachability, Updown};
use crate::probe::Owner;
use crate::probe::round::{Checker, Counters, RoundVerdict};
use crate::probe::stats::{Fraction, Millis};
use crate::routing::LinkState;

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
    /// The ddns monitor.
    pub ddns: Option<&'a Ddns>,
    /// The updown monitor.
    pub updown: Option<&'a Updown>,
    /// The failover monitor,
    pub failover: Option<&'a Failover>,
    /// and what the kernel has of it.
    pub kernel: Option<KernelRoutes<'a>>,
    /// The ping monitor.
    pub ping: Option<&'a Ping>,
    /// Calls of the action script: waiting, running, failed.
    pub actions: (usize, usize, u64),
}

/// The kernel's routes, as far as they concern the failover monitor.
pub struct KernelRoutes<'a> {
    /// Our default route in the table main, in words.
    pub default_route: Option<String>,
    /// What leads traffic past it, in words.
    pub outranked: Option<&'a str>,
    /// Why it refuses the road of a WAN, for each of them.
    pub refusals: Vec<Option<&'a str>>,
    /// What others have set up beside our routes and rules: what it means in a word, the rule or
    /// route, and what was said.
    pub beside: Vec<(&'static str, &'a str, &'a str)>,
}

/// Writes the status as JSON with a final newline into `out`, replacing what is there. Allocates
/// nothing that `out` does not.
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
    monitors: MonitorsJson<'a>,
}

#[derive(Serialize)]
struct ActionsStatus {
    waiting: usize,
    running: usize,
    failed: u64,
}

#[derive(Serialize)]
struct MonitorsJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ddns: Option<DdnsStatus<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updown: Option<UpdownStatus<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failover: Option<FailoverStatus<'a>>,
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
            monitors: MonitorsJson {
                ddns: s.ddns.map(|d| DdnsStatus { clock: s.clock, ddns: d }),
                updown: s.updown.map(|u| UpdownStatus::of(s, u)),
                failover: s.failover.map(|f| FailoverStatus::of(s, f)),
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
    probes: ProbesJson,
}

/// The last check.
#[derive(Serialize)]
struct Last {
    start: Wall,
    #[serde(flatten)]
    numbers: PingJson,
}

#[derive(Serialize)]
struct ProbesJson {
    sent: u64,
    replies: u64,
    late: u64,
    duplicates: u64,
    checks: u64,
}

impl From<Counters> for ProbesJson {
    fn from(counters: Counters) -> Self {
        let Counters { sent, replies, late, duplicates, checks } = counters;
        Self { sent, replies, late, duplicates, checks }
    }
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
    secondaries: SecondariesJson<'a>,
}

struct SecondariesJson<'a>(&'a Updown);

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
            Reachability::Unknown => ("unknown", None, None),
            Reachability::Online(since) => ("online", Some(*since), None),
            Reachability::Offline(since, reason) => ("offline", Some(*since), Some(reason)),
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
            secondaries: SecondariesJson(updown),
        }
    }
}

impl<'a> HostStatus<'a> {
    fn of(
        s: &Sources<'_>,
        target: &'a str,
        checker: &Checker,
        last: Option<&'a RoundVerdict>,
    ) -> Self {
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
            last: last.map(|v| Last {
                start: s.clock.wall_of(v.start),
                numbers: PingJson::from(&v.stats),
            }),
            probes: ProbesJson::from(checker.counters),
        }
    }
}

struct DdnsStatus<'a> {
    clock: Clock,
    ddns: &'a Ddns,
}

impl Serialize for DdnsStatus<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(1))?;
        let tracks =
            self.ddns.tracks().iter().map(|track| TrackStatus::of(self.clock, self.ddns, track));
        map.serialize_entry("addresses", &Sequence(Cell::new(Some(tracks))))?;
        map.end()
    }
}

#[derive(Serialize)]
struct TrackStatus<'a> {
    family: &'static str,
    /// The interface, where each WAN's address is kept track of.
    #[serde(skip_serializing_if = "str::is_empty")]
    wan: &'a str,
    /// `unknown`, `known`, `lost`.
    state: &'static str,
    address: Option<IpAddr>,
    since: Option<Wall>,
    /// Why it cannot be found.
    reason: Option<&'a str>,
    /// What stands between this system and the internet.
    nat: Option<&'static str>,
    sources: Vec<SourceStatus<'a>>,
    published: Vec<SinkStatus<'a>>,
}

#[derive(Serialize)]
struct SourceStatus<'a> {
    source: &'a str,
    operator: &'a str,
    asked: Option<Wall>,
    address: Option<IpAddr>,
    problem: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<&'static str>,
}

#[derive(Serialize)]
struct SinkStatus<'a> {
    to: &'a str,
    address: Option<IpAddr>,
    since: Option<Wall>,
    tries: u32,
    /// How long until the next try.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_seconds: Option<u64>,
    problem: Option<&'a str>,
    stopped: bool,
}

impl<'a> TrackStatus<'a> {
    fn of(clock: Clock, ddns: &'a Ddns, track: &'a Track) -> Self {
        let wall = |stamp: SinceStamp| match stamp.wall(clock) {
            0 => None,
            secs => Some(Wall { secs, nanos: 0 }),
        };
        let sources = ddns.sources().iter().zip(&track.views).map(|(source, view)| {
            let last = view.last.as_ref();
            SourceStatus {
                source: &source.text,
                operator: &source.operator,
                asked: last.map(|(at, _)| clock.wall_of(*at)),
                address: last.and_then(|(_, said)| said.as_ref().ok().copied()),
                problem: last.and_then(|(_, said)| said.as_ref().err().map(|why| &**why)),
                left_out: view.left_out.filter(|(until, _)| *until > clock.now).map(|(_, why)| why),
            }
        });
        let published = track.sinks.iter().map(|sink| SinkStatus {
            to: &sink.name,
            address: sink.published,
            since: wall(sink.at),
            tries: sink.tries,
            next_seconds: sink
                .next(track.address)
                .filter(|_| track.met)
                .map(|at| at.since(clock.now).as_secs()),
            problem: sink.stopped.as_deref().or(sink.problem.as_deref()),
            stopped: sink.stopped.is_some(),
        });
        Self {
            family: track.family.digit(),
            wan: &track.wan,
            state: match (&track.failing, track.met) {
                (Some(_), _) => "lost",
                (None, true) => "known",
                (None, false) => "unknown",
            },
            address: track.address,
            since: track.address.and_then(|_| wall(track.since)),
            reason: track.failing.as_ref().map(|failing| &*failing.why),
            nat: track.nat.map(Nat::word),
            sources: sources.collect(),
            published: published.collect(),
        }
    }
}

#[derive(Serialize)]
struct FailoverStatus<'a> {
    /// The interface over which imon leads the traffic; `None`: it has not chosen yet, or the
    /// kernel refuses.
    active: Option<&'a str>,
    /// The kernel's reason, while it refuses the route that is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<&'a str>,
    /// Our default route in the table main.
    default_route: Option<&'a str>,
    /// What leads traffic past it.
    outranked_by: Option<&'a str>,
    /// What others have set up, as far as something was said of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    beside: Vec<BesideStatus<'a>>,
    switches: u64,
    last_switch: Option<LastSwitch<'a>>,
    wans: Vec<WanStatus<'a>>,
}

/// A rule or route of somebody else's.
#[derive(Serialize)]
struct BesideStatus<'a> {
    /// `yielded`, `overtaken`, `narrow`.
    kind: &'static str,
    what: &'a str,
    text: &'a str,
}

impl<'a> BesideStatus<'a> {
    fn of(&(kind, what, text): &(&'static str, &'a str, &'a str)) -> Self {
        Self { kind, what, text }
    }
}

#[derive(Serialize)]
struct LastSwitch<'a> {
    time: Wall,
    to: &'a str,
    cause: &'static str,
}

#[derive(Serialize)]
struct WanStatus<'a> {
    role: Role,
    name: &'a str,
    interface: &'a str,
    /// `unknown`, `down`, `degraded`, `up`.
    state: &'static str,
    /// Since when; for one that is down the time of its first lost probe.
    since: Option<Wall>,
    reason: Option<String>,
    /// What might help.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'static str>,
    active: bool,
    address: Option<Ipv4Addr>,
    gateway: Option<Ipv4Addr>,
    /// Of the last probes.
    loss: Option<Fraction>,
    rtt_ms: Option<Millis>,
    /// How long it must still work without a lost probe before it is used again.
    #[serde(skip_serializing_if = "Option::is_none")]
    hold_down_left_seconds: Option<Millis>,
    /// It carries no traffic and is probed at idle-interval.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    idle: bool,
    targets: Vec<TargetStatus<'a>>,
}

#[derive(Serialize)]
struct TargetStatus<'a> {
    target: &'a str,
    address: Option<IpAddr>,
    state: &'static str,
    reason: Option<Shown<'a>>,
    rtt_ms: Option<Millis>,
    probes: ProbesJson,
}

impl<'a> FailoverStatus<'a> {
    fn of(s: &'a Sources<'a>, failover: &'a Failover) -> Self {
        let wans = failover.wans();
        let device = |at: usize| wans.get(at).map_or("", |wan| wan.device());
        let kernel = s.kernel.as_ref();
        let (switches, last) = failover.switches();
        Self {
            active: failover.active().map(device),
            refused: failover.refused().map(|why| &**why),
            default_route: kernel.and_then(|kernel| kernel.default_route.as_deref()),
            outranked_by: kernel.and_then(|kernel| kernel.outranked),
            beside: kernel.iter().flat_map(|kernel| &kernel.beside).map(BesideStatus::of).collect(),
            switches,
            last_switch: last.map(|last| LastSwitch {
                time: s.clock.wall_of(last.at),
                to: device(last.to),
                cause: last.cause.word(),
            }),
            wans: (0..).zip(wans).map(|(at, wan)| WanStatus::of(s, failover, at, wan)).collect(),
        }
    }
}

impl<'a> WanStatus<'a> {
    fn of(s: &'a Sources<'a>, failover: &'a Failover, at: usize, wan: &'a Wan) -> Self {
        let health = &wan.health;
        let (lost, settled, rtt) = health.figures(s.clock.now);
        let refused =
            s.kernel.as_ref().and_then(|kernel| kernel.refusals.get(at).copied().flatten());
        let (address, gateway) = match health.link() {
            Some(LinkState::Ready(road)) => (Some(road.address), road.gateway),
            _ => (None, None),
        };
        let millis = |d: std::time::Duration| Millis(d.as_secs_f64() * 1000.0);
        let targets = health.targets().iter().map(|target| TargetStatus {
            target: &target.text,
            address: (s.address)(target.checker.owner()),
            state: match target.answers {
                None => "unknown",
                Some(true) => "online",
                Some(false) => "offline",
            },
            reason: target.reason.as_ref().map(|reason| Shown(reason)),
            rtt_ms: target.rtt.map(millis),
            probes: ProbesJson::from(target.checker.counters),
        });
        Self {
            role: failover.role(at),
            name: wan.name(),
            interface: wan.device(),
            state: health.condition().word(),
            since: health.since().map(|at| s.clock.wall_of(at)),
            reason: health.why().map(|why| refused.map_or_else(|| why.to_string(), str::to_owned)),
            advice: failover.advice(at),
            active: failover.active() == Some(at),
            address,
            gateway,
            loss: (settled > 0).then(|| Fraction(lost as f64 / settled as f64)),
            rtt_ms: rtt.map(millis),
            hold_down_left_seconds: failover
                .hold_down_left(s.clock.now, at)
                .map(|d| Millis(d.as_secs_f64())),
            idle: health.is_idle(),
            targets: targets.collect(),
        }
    }
}

impl Serialize for SecondariesJson<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.0.secondaries().map(|(target, online)| SecondaryJson {
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
struct SecondaryJson<'a> {
    target: &'a str,
    state: &'static str,
}

impl Serialize for PingStatus<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(1))?;
        let targets = self
            .ping
            .targets()
            .iter()
            .map(|t| HostStatus::of(self.sources, &t.text, &t.checker, t.last.as_ref()));
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

#[cfg(test)]
mod tests;
