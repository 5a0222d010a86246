//! The monitors: pure state machines. `on(now, seen) → effects`, and `poll_at()` says when they
//! want to be woken.
//!
//! They know no socket, clock or file. That is what lets a test run a year of bad weather in
//! seconds, and what keeps a monitor from ever waiting for anything.
//! ```
//! use std::rc::Rc;
//! use std::time::Duration;
//! use imon::base::time::Instant;
//! use imon::monitor::ping::Ping;
//! use imon::monitor::{Effect, Observation};
//! use imon::probe::round::Plan;
//!
//! // Two probes every ten seconds, each of which is waited for one second.
//! let plan = Plan::new(Duration::from_secs(10), 2, Duration::from_secs(1));
//! let mut now = Instant::ZERO;
//! let mut ping = Ping::new(0, &[Rc::from("192.0.2.1")], plan, now);
//!
//! // This loop is the network: the first probe is lost, the second is answered after 20 ms.
//! let mut log = Vec::new();
//! while log.is_empty() {
//!     now = ping.poll_at().unwrap();
//!     let mut effects = Vec::new();
//!     ping.on(now, &Observation::Tick, &mut effects);
//!     while let Some(effect) = effects.pop() {
//!         match effect {
//!             Effect::Probe(id) if id.index == 1 => {
//!                 let rtt = Duration::from_millis(20);
//!                 now = now + rtt;
//!                 ping.on(now, &Observation::Reply(id, rtt), &mut effects);
//!             }
//!             Effect::Emit(event) => event.log(false, &mut |_, line| log.push(line.to_string())),
//!             _ => {}
//!         }
//!     }
//! }
//! assert_eq!(
//!     log,
//!     ["Ping Result: IP:192.0.2.1 State:True minrtt:20.0 avgrtt:20.0 maxrtt:20.0 loss:0.5 jitter:0.0"]
//! );
//! ```

pub mod ddns;
pub mod failover;
pub mod ping;
pub mod updown;

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::base::time::Instant;
use crate::event::Event;
use crate::monitor::ddns::update::UpdateOutcome;
use crate::probe::{AskId, Owner, ProbeId, Reason};
use crate::routing::LinkState;
use crate::wire::dns::DnsAnswer;
use crate::wire::icmp::IcmpError;
use ddns::sinks::Publication;
use ddns::{Found, LookupId, LookupPath, NotFound};

/// What a monitor wants done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send an echo request to the host.
    Probe(ProbeId),
    /// Ask the name server; for [`OpinionQuestion::Name`](crate::probe::OpinionQuestion::Name) about this name.
    Ask(AskId, Rc<str>),
    /// The host did not answer: if it is a name, look it up again soon.
    Refresh(Owner),
    /// Tell people: log, action script, JSON.
    Emit(Event),
    /// Lead the traffic over this WAN. [`Observation::Routed`] is the answer.
    Route(usize),
    /// Lead the traffic over this WAN for as long as it takes to find out whether the one in use is
    /// gone or only changes its address: at most [`failover::health::PASSING`]. Connections over
    /// the other one are left alone.
    Detour(usize),
    /// Forget the link address of this WAN's gateway, so that the kernel asks for it at the next
    /// packet.
    Resolve(usize),
    /// Ask a source for the external address. [`Observation::Found`] is the answer.
    Lookup(LookupId),
    /// Tell the action script or a provider of an address. [`Observation::Published`] is the
    /// answer.
    Publish(Box<Publication>),
    /// Write what is to outlive a restart to its file, before anything else is done.
    Save,
}

impl From<ProbeId> for Effect {
    fn from(id: ProbeId) -> Self {
        Self::Probe(id)
    }
}

/// What was seen.
#[derive(Clone, Debug)]
pub enum Observation<'a> {
    /// Nothing: a time the monitor asked for has come.
    Tick,
    /// A probe was answered after this round-trip time.
    Reply(ProbeId, Duration),
    /// A probe is lost, and it is known why.
    Lost(ProbeId, Reason),
    /// Somebody, perhaps a liar, says why probes of this host are not answered.
    Hint(Owner, IcmpError),
    /// An answer to a question, or why there is none. `own` are this machine's addresses.
    Answer {
        /// The question.
        id: AskId,
        /// What came back.
        answer: &'a Result<DnsAnswer, Rc<str>>,
        /// Addresses of this machine's own interfaces.
        own: &'a [IpAddr],
    },
    /// The host's name is being looked up for the first time: its checks must wait.
    Hold(Owner),
    /// That lookup is over, whatever came of it: its checks may begin.
    Ready(Owner),
    /// What the link of each WAN is like, in their order.
    Links(&'a [LinkState]),
    /// What the kernel has made of [`Effect::Route`].
    Routed {
        /// Over which WAN.
        wan: usize,
        /// Or why not.
        result: Result<(), Rc<str>>,
    },
    /// What a source of the external address said.
    Found(LookupId, &'a Result<Found, NotFound>),
    /// What came of [`Effect::Publish`].
    Published {
        /// Which.
        key: &'a str,
        /// The address that was to be told.
        address: IpAddr,
        /// Whether it was.
        outcome: &'a UpdateOutcome,
    },
    /// By which way each track of the ddns monitor is looked up, in their order.
    Ways(&'a [LookupPath]),
    /// An address or a default route of this system is another.
    Moved,
    /// The machine slept: what was under way says nothing.
    Resumed,
    /// Somebody asked to check now.
    CheckNow,
}

/// When a monitor that keeps its times must have judged again. The watchdog is fed only while every
/// monitor does.
pub trait Progress {
    /// Whether the monitor is where it should be by `now`.
    fn keeps_up(&self, now: Instant) -> bool;
}
