//! `imon check`: what was seen of this system's way to the internet, as values, and what to say
//! about it. Nothing here looks or asks: the shell does (`cli::check`).

pub mod judge;
pub mod names;
pub mod others;
pub mod own;
pub mod report;

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use crate::base::time::Wall;
use crate::routing::Beside;
use others::Detours;
use own::Own;

/// All verdicts: name, exit status, meaning. The nearest to the user first, as they are chosen.
pub const VERDICTS: &[(&str, u8, &str)] = &[
    ("not-readable", 3, "this user has no permission to read the configuration"),
    ("configuration", 2, "the configuration is wrong, or does not fit this machine"),
    ("link-down", 2, "the interface is switched off"),
    ("no-carrier", 2, "the interface has no carrier"),
    ("no-address", 2, "the interface has no address: no DHCP answer"),
    ("no-route", 2, "there is no default route"),
    ("gateway-dead", 2, "the gateway does not answer, not even ARP"),
    ("provider-dead", 2, "the gateway answers, nothing beyond it does"),
    ("target-dead", 2, "with --target: the address is in the local network and does not answer"),
    ("captive-portal", 2, "a login page intercepts the traffic"),
    ("no-resolver", 2, "no name server is configured"),
    ("dns-blocked", 2, "no name server resolves names, not even 1.1.1.1"),
    ("resolver-dead", 2, "the configured name servers do not resolve names, 1.1.1.1 does"),
    ("dns-hijacked", 2, "a name server forges answers, or another host does in its place"),
    ("clock-wrong", 1, "this system's clock is wrong"),
    ("resolver-partly-dead", 1, "one of several name servers does not work"),
    ("mtu-black-hole", 1, "large packets are lost on the path"),
    ("imon-differs", 1, "imon considers a working network offline"),
    ("wan-dead", 1, "one network of two is dead (2: and traffic still takes it)"),
    ("standby-unusable", 1, "the internet works, the other network could not take over"),
    ("ipv6-broken", 1, "IPv4 works, IPv6 does not"),
    ("ping-filtered", 0, "the internet works, pings are filtered"),
    ("no-permission", 0, "everything that can be tested without permission to ping works"),
    ("well-offline", 0, "with --offline: this system sees no fault without sending"),
    ("well", 0, "all is well"),
    ("not-tested", 3, "nothing could be tested"),
];

/// What became of one question.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum TestReply {
    /// It was not asked.
    #[default]
    NotAsked,
    /// No answer yet.
    Waiting,
    /// An answer, after this time.
    Got(Duration),
    /// None, or one that says no, and what is known about that; after this time.
    Failed(Rc<str>, Duration),
}

impl TestReply {
    /// Whether there was an answer.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Got(_))
    }

    /// Whether it is known that there is none.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        matches!(self, Self::Failed(..))
    }

    /// How long it took.
    #[must_use]
    pub fn took(&self) -> Option<Duration> {
        match self {
            Self::Got(took) | Self::Failed(_, took) => Some(*took),
            Self::NotAsked | Self::Waiting => None,
        }
    }
}

/// An interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkEvidence {
    /// There is none of this name.
    Missing,
    /// It is set down.
    Down,
    /// No carrier.
    NoCarrier,
    /// As it should be.
    Up,
}

/// What the kernel thinks of a gateway: the states of its neighbour table (ip-neighbour(8)).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NeighbourState {
    /// Not known, or not asked lately.
    #[default]
    Unknown,
    /// It has answered (ARP, neighbour discovery).
    Answers,
    /// It does not.
    Silent,
}

/// A gateway.
#[derive(Clone, PartialEq, Debug)]
pub struct GatewayEvidence {
    /// Its address.
    pub address: IpAddr,
    /// What the kernel thinks of it.
    pub neighbour: NeighbourState,
    /// Whether it answers a ping.
    pub ping: TestReply,
    /// It is in none of its interface's networks.
    pub misplaced: bool,
}

impl GatewayEvidence {
    /// Whether it has answered anything.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.ping.is_good() || self.neighbour == NeighbourState::Answers
    }
}

/// A host out there.
#[derive(Clone, PartialEq, Debug)]
pub struct TargetEvidence {
    /// Its address.
    pub address: IpAddr,
    /// Whether it answers a ping.
    pub ping: TestReply,
    /// Whether its TCP port 443 can be opened.
    pub tcp: TestReply,
    /// It cannot, because the host says no, and so is there.
    pub refused: bool,
    /// The ping was sent back with an error, so whoever said no may have been somebody on the way.
    pub rejected: bool,
}

impl TargetEvidence {
    fn is_reached(&self) -> bool {
        self.ping.is_good() || self.tcp.is_good() || (self.refused && !self.rejected)
    }
}

/// A way to the internet, link by link.
#[derive(Clone, PartialEq, Debug)]
pub struct PathEvidence {
    /// Its interface; empty if none can be told.
    pub device: String,
    /// What that is like.
    pub link: LinkEvidence,
    /// Transmission errors, where there are many.
    pub errors: Option<String>,
    /// Its address, with the length of its network's prefix.
    pub address: Option<String>,
    /// An address that it gave itself, because no DHCP server did (RFC 3927).
    pub own_making: bool,
    /// Its default route.
    pub route: Option<String>,
    /// Its gateway; a point-to-point link has none.
    pub gateway: Option<GatewayEvidence>,
    /// Hosts beyond.
    pub targets: Vec<TargetEvidence>,
    /// A page came from beyond, or from whoever stands in the way there: a network may let nothing
    /// else through.
    pub page: bool,
}

/// Where a way ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// At the interface.
    Link,
    /// It has no address.
    Address,
    /// It has no default route.
    Route,
    /// The gateway.
    Gateway,
    /// Behind the gateway.
    Internet,
}

impl Stage {
    /// The name of its test.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Address => "address",
            Self::Route => "route",
            Self::Gateway => "gateway",
            Self::Internet => "internet",
        }
    }
}

impl PathEvidence {
    /// One of which nothing is known.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            device: String::new(),
            link: LinkEvidence::Up,
            errors: None,
            address: None,
            own_making: false,
            route: None,
            gateway: None,
            targets: Vec::new(),
            page: false,
        }
    }

    /// Whether something beyond answers.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.page || self.targets.iter().any(TargetEvidence::is_reached)
    }

    /// Where it ends. `None`: it does not, or that is not known (yet).
    #[must_use]
    pub fn fault(&self) -> Option<Stage> {
        if self.is_reached() {
            return None;
        }
        // Nothing tells which interface it would be.
        if self.device.is_empty() {
            return Some(Stage::Route);
        }
        if self.link != LinkEvidence::Up {
            return Some(Stage::Link);
        }
        if self.address.is_none() || self.own_making {
            return Some(Stage::Address);
        }
        if self.route.is_none() {
            return Some(Stage::Route);
        }
        let mut asked = self
            .targets
            .iter()
            .flat_map(|t| [&t.ping, &t.tcp])
            .filter(|r| **r != TestReply::NotAsked)
            .peekable();
        if asked.peek().is_none() || !asked.all(TestReply::is_bad) {
            return None;
        }
        match &self.gateway {
            Some(GatewayEvidence { ping: TestReply::Waiting, .. }) => None,
            Some(gateway) if gateway.is_there() => Some(Stage::Internet),
            // Nobody could ask it, and the kernel has not found out: it is not to blame for that.
            Some(GatewayEvidence {
                ping: TestReply::NotAsked,
                neighbour: NeighbourState::Unknown,
                ..
            }) => Some(Stage::Internet),
            // Nobody has heard of it: the nearer of the two that may be dead.
            Some(_) => Some(Stage::Gateway),
            None => Some(Stage::Internet),
        }
    }

    /// Whether nothing that is still waited for can change the verdict.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let waits = |reply: &TestReply| *reply == TestReply::Waiting;
        !self.targets.iter().any(|t| waits(&t.ping) || waits(&t.tcp))
            && !self.gateway.iter().any(|g| waits(&g.ping))
    }
}

/// The configuration that was looked at.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ConfigEvidence {
    /// Its file; `None`: there is none, which is fine.
    pub file: Option<String>,
    /// Only somebody else may read it.
    pub forbidden: bool,
    /// What is wrong with it, on this machine.
    pub errors: Vec<String>,
    /// What is odd.
    pub warnings: Vec<String>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
}

/// A name server of this system.
#[derive(Clone, PartialEq, Debug)]
pub struct ResolverEvidence {
    /// Its address.
    pub server: String,
    /// Whether it gives a public name a believable address.
    pub reply: TestReply,
    /// What shows that it makes answers up.
    pub lie: Option<String>,
    /// Only through this network, which is dead, it can be reached.
    pub lost_with: Option<String>,
}

/// A page that is empty unless somebody on the way shows another one.
#[derive(Clone, PartialEq, Debug)]
pub struct Portal {
    /// Its address.
    pub url: String,
    /// [`TestReply::Got`]: the page came as it should.
    pub reply: TestReply,
    /// Another page came instead: what it was.
    pub instead: Option<String>,
}

/// The external address as one source tells it.
#[derive(Clone, PartialEq, Debug)]
pub struct External {
    /// Who was asked.
    pub source: String,
    /// What came of it.
    pub reply: TestReply,
    /// The address.
    pub address: Option<IpAddr>,
    /// Our own address on the way.
    pub local: Option<IpAddr>,
}

/// The largest packets that go through.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Mtu {
    /// Of the interface, in bytes; 0 if not known.
    pub link: u32,
    /// Of the way; `None`: not known (yet).
    pub path: Option<u32>,
    /// Whoever drops larger ones says so, as it should (RFC 1191).
    pub told: bool,
    /// Still being measured.
    pub waiting: bool,
    /// How long that took.
    pub took: Duration,
}

/// A network of the failover monitor.
#[derive(Clone, PartialEq, Debug)]
pub struct WanEvidence {
    /// `primary` or `standby`.
    pub role: &'static str,
    /// `net42 (wan1)`.
    pub label: String,
    /// What it is like.
    pub way: PathEvidence,
    /// Why it could not be looked at by its own link.
    pub barred: Option<String>,
    /// Its gateway is written in the configuration.
    pub fixed: bool,
    /// Other gateways on its link that were asked when that one led nowhere.
    pub instead: Vec<Instead>,
    /// Routes of others that lead a part of the traffic over it.
    pub detours: Detours,
    /// What to do about it, where more is known than its way tells.
    pub cure: Option<String>,
}

/// Another gateway on the link of a network.
#[derive(Clone, PartialEq, Debug)]
pub struct Instead {
    /// Its address.
    pub gateway: Ipv4Addr,
    /// Whether hosts beyond answer through it.
    pub reply: TestReply,
}

impl WanEvidence {
    /// Its gateway in the configuration leads nowhere.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.fixed && matches!(self.way.fault(), Some(Stage::Gateway | Stage::Internet))
    }

    /// The mistake in the configuration `file`, if another gateway on the link leads on where the
    /// configured one does not.
    #[must_use]
    pub fn mistake(&self, main: &PathEvidence, file: &str) -> Option<String> {
        let (role, device, wrong) = (self.role, &self.way.device, self.way.gateway.as_ref()?);
        let works = main.device == *device && main.is_reached();
        let is_taken = |other: &Instead| {
            works && main.gateway.as_ref().is_some_and(|g| g.address == other.gateway)
        };
        // One that is there may only have an outage, unless all else here goes by another one.
        let leads =
            |other: &&Instead| is_taken(other) || (other.reply.is_good() && !wrong.is_there());
        let right = self.instead.iter().find(leads).filter(|_| self.is_lost())?.gateway;
        let how = if wrong.is_there() { "is there and leads nowhere" } else { "does not answer" };
        Some(format!(
            "{role}-gw {} {how}, while {right} on {device} leads to the internet: write {role}-gw {right} into {file}",
            wrong.address
        ))
    }
}

/// All that was seen.
#[derive(Clone, PartialEq, Debug)]
pub struct Evidence {
    /// Nothing was to be sent.
    pub offline: bool,
    /// `--target`: nothing public was to be asked.
    pub private: bool,
    /// The configuration.
    pub setup: ConfigEvidence,
    /// Why no pings can be sent, if so.
    pub no_ping: Option<String>,
    /// The time by our clock.
    pub now: Wall,
    /// By how many seconds our clock is ahead of the web servers'.
    pub ahead: Option<i64>,
    /// The way that traffic takes now.
    pub main: PathEvidence,
    /// Other default routes.
    pub other_routes: Vec<String>,
    /// The networks of the failover monitor.
    pub wans: Vec<WanEvidence>,
    /// What the imon that runs says of them; `None`: none does.
    pub own: Option<Own>,
    /// What others have set up beside imon's choice.
    pub others: Vec<Beside>,
    /// The name servers of this system.
    pub resolvers: Vec<ResolverEvidence>,
    /// 1.1.1.1, asked directly.
    pub direct: TestReply,
    /// What shows that somebody answers in its place.
    pub direct_lie: Option<String>,
    /// The pages.
    pub portals: Vec<Portal>,
    /// The external address.
    pub externals: Vec<External>,
    /// Packet sizes.
    pub mtu: Mtu,
    /// The way of IPv6; `None`: this system has none.
    pub v6: Option<PathEvidence>,
    /// It has a default route of IPv6, and no public address to use it with.
    pub v6_unused: bool,
}

impl Evidence {
    /// Whether IPv4 is asked about: with `--target` that may be IPv6 alone.
    #[must_use]
    pub fn is_v4(&self) -> bool {
        self.offline || !self.private || !self.main.targets.is_empty()
    }
}
