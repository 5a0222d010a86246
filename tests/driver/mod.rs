//! Drives one pure monitor through simulated time. What comes of each probe is a function of the
//! time, so a test knows the truth that the monitor has to find out. Networks, kernel and loop are
//! in the simulated world, see `tests/world`.

#![allow(unreachable_pub, missing_docs, reason = "shared by test programs that use parts of it")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code, not imon's core"
)]
#![allow(clippy::large_enum_variant, reason = "there is one of them")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use imon::base::time::Instant;
use imon::event::What;
use imon::monitor::ping::Ping;
use imon::monitor::updown::{OpinionSetup, Updown, UpdownSetup};
use imon::monitor::{Effect, Observation};
use imon::probe::round::Plan;
use imon::probe::{AskId, OpinionQuestion, Owner, ProbeId, Reason};
use imon::wire::dns::{DnsAnswer, Rcode};

/// What becomes of a probe.
#[derive(Clone, Debug)]
pub enum Fate {
    /// Answered after this time.
    Reply(Duration),
    /// Answered twice.
    Twice(Duration, Duration),
    /// Nothing comes back.
    Silent,
    /// It cannot be sent, or an error comes back.
    Fails(Reason),
}

/// What a name server answers, and after what time; `None`: nothing.
pub type DnsFate = Option<(Duration, Result<DnsAnswer, Rc<str>>)>;

type ProbeRule = Box<dyn FnMut(Instant, Owner) -> Fate>;
type DnsRule = Box<dyn FnMut(Instant, OpinionQuestion) -> DnsFate>;

/// One of the monitors.
pub enum Machine {
    Updown(Updown),
    Ping(Ping),
}

#[derive(Clone, Debug)]
enum Delivery {
    Reply(ProbeId, Duration),
    Lost(ProbeId, Reason),
    Answer(AskId, Result<DnsAnswer, Rc<str>>),
}

/// A monitor, what is on its way to it, and what it said.
pub struct Driver {
    pub now: Instant,
    machine: Machine,
    on_the_way: BinaryHeap<Reverse<(Instant, u64)>>,
    deliveries: Vec<Option<Delivery>>,
    pub hosts: ProbeRule,
    pub dns: DnsRule,
    /// Everything the monitor said, and when.
    pub said: Vec<(Instant, What)>,
    /// Every probe, and when it was sent.
    pub probes: Vec<(Instant, ProbeId)>,
}

pub const TARGET: Owner = 0;

impl Driver {
    pub fn new(machine: Machine) -> Self {
        Self {
            now: at(0.0),
            machine,
            on_the_way: BinaryHeap::new(),
            deliveries: Vec::new(),
            hosts: Box::new(|_, _| Fate::Reply(ms(10))),
            dns: Box::new(|_, _| None),
            said: Vec::new(),
            probes: Vec::new(),
        }
    }

    /// Runs until `end`.
    pub fn run_until(&mut self, end: Instant) {
        let mut steps_at_once = 0;
        loop {
            let tick = match &self.machine {
                Machine::Updown(m) => m.poll_at(),
                Machine::Ping(m) => m.poll_at(),
            };
            let delivery = self.on_the_way.peek().map(|Reverse((at, _))| *at);
            // A delivery first: the loop reads its sockets before it looks at its clock.
            let next = match (tick, delivery) {
                (Some(t), Some(d)) => t.min(d),
                (Some(t), None) => t,
                (None, Some(d)) => d,
                (None, None) => break,
            };
            if next > end {
                break;
            }
            steps_at_once = if next > self.now { 0 } else { steps_at_once + 1 };
            assert!(steps_at_once < 10_000, "it does not get on: {:?}", self.now);
            self.now = self.now.max(next);
            if delivery.is_some_and(|d| d <= self.now) {
                let Some(Reverse((_, n))) = self.on_the_way.pop() else { continue };
                match self.deliveries[n as usize].take() {
                    Some(Delivery::Reply(id, rtt)) => self.see(&Observation::Reply(id, rtt)),
                    Some(Delivery::Lost(id, reason)) => self.see(&Observation::Lost(id, reason)),
                    Some(Delivery::Answer(id, answer)) => {
                        self.see(&Observation::Answer {
                            id,
                            answer: &answer,
                            own: &["192.168.92.1".parse().unwrap()],
                        });
                    }
                    None => {}
                }
            } else {
                self.see(&Observation::Tick);
            }
        }
        self.now = self.now.max(end);
    }

    /// Gives the monitor an observation and carries out what it wants.
    pub fn see(&mut self, seen: &Observation<'_>) {
        let mut effects = Vec::new();
        match &mut self.machine {
            Machine::Updown(m) => m.on(self.now, seen, &mut effects),
            Machine::Ping(m) => m.on(self.now, seen, &mut effects),
        }
        for effect in effects {
            match effect {
                Effect::Probe(id) => {
                    self.probes.push((self.now, id));
                    match (self.hosts)(self.now, id.owner) {
                        Fate::Reply(rtt) => self.deliver(rtt, Delivery::Reply(id, rtt)),
                        Fate::Twice(a, b) => {
                            self.deliver(a, Delivery::Reply(id, a));
                            self.deliver(b, Delivery::Reply(id, b));
                        }
                        Fate::Silent => {}
                        Fate::Fails(reason) => {
                            self.deliver(Duration::ZERO, Delivery::Lost(id, reason))
                        }
                    }
                }
                Effect::Ask(id, _) => {
                    if let Some((after, answer)) = (self.dns)(self.now, id.about) {
                        self.deliver(after, Delivery::Answer(id, answer));
                    }
                }
                Effect::Refresh(_) => {}
                Effect::Route(_)
                | Effect::Detour(_)
                | Effect::Resolve(_)
                | Effect::Lookup(_)
                | Effect::Publish(_)
                | Effect::Save => {
                    panic!("{effect:?}")
                }
                Effect::Emit(event) => self.said.push((self.now, event.what)),
            }
        }
    }

    pub fn updown(&mut self) -> &mut Updown {
        match &mut self.machine {
            Machine::Updown(m) => m,
            Machine::Ping(_) => panic!("this is a ping monitor"),
        }
    }

    /// The log as a person would read it, with seconds.
    pub fn log(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (at, what) in &self.said {
            let event = imon::event::Event {
                monitor: imon::event::Monitor::Updown,
                owner: TARGET,
                what: what.clone(),
            };
            event.log(false, &mut |_, line| lines.push(format!("{:.1} {line}", seconds(*at))));
        }
        lines
    }

    fn deliver(&mut self, after: Duration, what: Delivery) {
        self.deliveries.push(Some(what));
        self.on_the_way.push(Reverse((self.now + after, self.deliveries.len() as u64 - 1)));
    }
}

/// An updown monitor of `1.1.1.1` (owner 0).
pub fn updown(plan: Plan, secondaries: &[&str], dns: bool) -> UpdownSetup {
    let secondaries = (1..).zip(secondaries.iter().map(|s| Rc::from(*s))).collect::<Vec<_>>();
    let server = (secondaries.len() as Owner + 1, Rc::from("8.8.8.8"));
    UpdownSetup {
        target: (TARGET, "1.1.1.1".into()),
        plan,
        fall: 1,
        rise: 1,
        secondaries,
        dns: dns.then(|| OpinionSetup { server, name: "microsoft.com".into() }),
    }
}

pub fn driver(setup: UpdownSetup) -> Driver {
    Driver::new(Machine::Updown(Updown::new(setup, at(0.0))))
}

pub fn plan(interval: f64, count: u16, wait: f64) -> Plan {
    Plan::new(Duration::from_secs_f64(interval), count, Duration::from_secs_f64(wait))
}

/// A name server's answer with these addresses.
pub fn addresses(list: &[&str]) -> Result<DnsAnswer, Rc<str>> {
    let addresses: Vec<IpAddr> = list.iter().map(|a| a.parse().unwrap()).collect();
    let rcode = if addresses.is_empty() { Rcode::NXDOMAIN } else { Rcode::NOERROR };
    Ok(DnsAnswer {
        rcode,
        truncated: false,
        referral: false,
        addresses,
        texts: Vec::new(),
        ttl: 60,
    })
}

pub fn at(seconds: f64) -> Instant {
    Instant::ZERO + Duration::from_secs_f64(seconds)
}

pub fn seconds(at: Instant) -> f64 {
    at.as_nanos() as f64 / 1e9
}

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Random numbers from a seed (xorshift64*), so that a failure can be run again.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From 0 to below 1.
    pub fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + self.fraction() * (high - low)
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        self.fraction() < probability
    }
}
