//! One round of probes to an address, and its statistics.

pub mod round;
pub mod stats;

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::base::error;
use crate::wire::icmp::IcmpError;

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
    pub about: OpinionQuestion,
}

/// What the DNS second opinion asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpinionQuestion {
    /// The configured name, which exists.
    Name,
    /// A random name under `.invalid`, which cannot exist (RFC 6761): who knows an address for it
    /// makes addresses up.
    Invalid,
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
            Self::Late(rtt) => {
                write!(
                    f,
                    "reply too late, after {} ms",
                    crate::probe::stats::Millis(rtt.as_secs_f64() * 1000.0)
                )
            }
            Self::Icmp(e) => write!(f, "{e}"),
            Self::Hinted(e) => write!(f, "no reply (unproven: {e})"),
            Self::Send(errno) => {
                let why = error::text(&io::Error::from_raw_os_error(*errno));
                write!(f, "could not be sent: {why}")
            }
            Self::Unresolved(why) | Self::Answered(why) => f.write_str(why),
        }
    }
}
