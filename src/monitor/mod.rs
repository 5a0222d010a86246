//! The monitors: pure state machines. `on(now, seen) → effects`, and `poll_at()` says when they want to be woken.
//!
//! They know no socket, clock or file. That is what lets a test run a year of bad weather in seconds, and what keeps a
//! monitor from ever waiting for anything.
//! ```
//! use std::rc::Rc;
//! use std::time::Duration;
//! use imon::monitor::check::Plan;
//! use imon::monitor::ping::Ping;
//! use imon::monitor::{Effect, Seen};
//! use imon::time::Instant;
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
//!     ping.on(now, &Seen::Tick, &mut effects);
//!     while let Some(effect) = effects.pop() {
//!         match effect {
//!             Effect::Probe(id) if id.index == 1 => {
//!                 let rtt = Duration::from_millis(20);
//!                 now = now + rtt;
//!                 ping.on(now, &Seen::Reply(id, rtt), &mut effects);
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

pub mod check;
pub mod ddns;
pub mod failover;
pub mod ping;
pub mod secondary;
pub mod stats;
pub mod updown;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::event::Event;
use crate::routing::State as Link;
use crate::time::Instant;
use crate::update::Outcome;
use crate::wire::dns::Answer;
use crate::wire::icmp::IcmpError;
use ddns::sinks::Publication;
use ddns::{Found, LookupId, NotFound, Way};

/// The number of a host in the daemon's table: whoever probes it, and whoever asks it for a name.
pub type Owner = u32;

/// One echo request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProbeId {
    /// Whose host is probed.
    pub owner: Owner,
    /// The check's serial number.
    pub check: u32,
    /// Which probe of the check, from 0.
    pub index: u16,
}

/// One question to a name server, asked beside a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AskId {
    /// Which host is the name server.
    pub server: Owner,
    /// Serial number of the check that wants to know.
    pub check: u32,
    /// What is asked.
    pub about: About,
}

/// What the DNS second opinion asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum About {
    /// The configured name, which exists.
    Name,
    /// A random name under `.invalid`, which cannot exist (RFC 6761): who knows an address for it makes addresses up.
    Invalid,
}

/// What a monitor wants done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send an echo request to the host.
    Probe(ProbeId),
    /// Ask the name server; for [`About::Name`] about this name.
    Ask(AskId, Rc<str>),
    /// The host did not answer: if it is a name, look it up again soon.
    Refresh(Owner),
    /// Tell people: log, action script, JSON.
    Emit(Event),
    /// Lead the traffic over this WAN. [`Seen::Routed`] is the answer.
    Route(usize),
    /// Lead the traffic over this WAN for as long as it takes to find out whether the one in use is gone or only changes
    /// its address: at most [`failover::health::PASSING`]. Connections over the other one are left alone.
    Detour(usize),
    /// Forget the link address of this WAN's gateway, so that the kernel asks for it at the next packet.
    Resolve(usize),
    /// Ask a source for the external address. [`Seen::Found`] is the answer.
    Lookup(LookupId),
    /// Tell the action script or a provider of an address. [`Seen::Published`] is the answer.
    Publish(Box<Publication>),
    /// Write what is to outlive a restart to its file, before anything else is done.
    Save,
}

/// What was seen.
#[derive(Clone, Debug)]
pub enum Seen<'a> {
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
        answer: &'a Result<Answer, Rc<str>>,
        /// Addresses of this machine's own interfaces.
        own: &'a [IpAddr],
    },
    /// The host's name is being looked up for the first time: its checks must wait.
    Hold(Owner),
    /// That lookup is over, whatever came of it: its checks may begin.
    Ready(Owner),
    /// What the link of each WAN is like, in their order.
    Links(&'a [Link]),
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
        outcome: &'a Outcome,
    },
    /// By which way each track of the ddns monitor is looked up, in their order.
    Ways(&'a [Way]),
    /// An address or a default route of this system is another.
    Moved,
    /// The machine slept: what was under way says nothing.
    Resumed,
    /// Somebody asked to check now.
    CheckNow,
}

/// Why a probe, and so a check, failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// No reply came in time.
    Silent,
    /// A reply came, too late, after this time.
    Late(Duration),
    /// A router or the host itself says it cannot be reached.
    Icmp(IcmpError),
    /// No reply came, and this was heard meanwhile without proof that it is true.
    Hinted(IcmpError),
    /// The kernel would not send it (the `errno`).
    Send(i32),
    /// The name has never been resolved. Says why.
    Unresolved(Rc<str>),
    /// Something else came back than what was asked for. Says what.
    Answered(Rc<str>),
}

impl Reason {
    /// Whether nothing left this machine: the fault is here.
    #[must_use]
    pub fn not_sent(&self) -> bool {
        matches!(self, Self::Send(_) | Self::Unresolved(_))
    }

    /// Whether both say the same. How late a reply came differs each time and tells nothing new.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        self == other || matches!((self, other), (Self::Late(_), Self::Late(_)))
    }

    /// How much this says: of a check's several reasons the most telling one is kept.
    pub(crate) fn weight(&self) -> u8 {
        match self {
            Self::Silent => 0,
            Self::Hinted(_) => 1,
            Self::Late(_) => 2,
            Self::Icmp(_) | Self::Answered(_) => 3,
            Self::Send(_) | Self::Unresolved(_) => 4,
        }
    }

    /// The more telling of two, the newer one when they are alike.
    #[must_use]
    pub fn or(self, newer: Self) -> Self {
        if newer.weight() >= self.weight() { newer } else { self }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("no reply"),
            Self::Late(rtt) => write!(f, "reply too late, after {} ms", stats::Millis(rtt.as_secs_f64() * 1000.0)),
            Self::Icmp(e) => write!(f, "{e}"),
            Self::Hinted(e) => write!(f, "no reply (unproven: {e})"),
            Self::Send(errno) => {
                let text = io::Error::from_raw_os_error(*errno).to_string();
                // Without the number that Rust adds: "Network is unreachable (os error 101)".
                write!(f, "could not be sent: {}", text.split(" (os error").next().unwrap_or_default())
            }
            Self::Unresolved(why) | Self::Answered(why) => f.write_str(why),
        }
    }
}

/// When a monitor that keeps its times must have judged again. The watchdog is fed only while every monitor does.
pub trait Progress {
    /// Whether the monitor is where it should be by `now`.
    fn keeps_up(&self, now: Instant) -> bool;
}
