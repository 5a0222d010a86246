//! The questions of `imon check`, all side by side in one loop.

use crate::addr::scope;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::addr::family::Family;
use crate::base::time::Instant;
use crate::diagnose::names::{Answers, KNOWN, NEAR, OTHER, Said};
use crate::diagnose::{External, Instead, Mtu, Neighbour, Portal, Reply, Resolver, Seen, Way};
use crate::dns::plausible;
use crate::dns::resolver::Server;
use crate::kernel::path::Bound;
use crate::monitor::ddns::source::Source;
use crate::routing::Road;
use crate::sys::packet::{Came, Lane};
use crate::sys::ping::{Pinger, Sized, SizedHeard};
use crate::sys::poll::Poll;
use crate::sys::web_worker;
use crate::sys::worker::Worker;
use crate::sys::{clock, error_text, net, tcp, udp};
use crate::web::{GRACE, Job, LOOKUP_LIMIT, Report, Said as Reported, Task};
use crate::wire::dns;
use crate::wire::dns::{Class, Kind, MAX_MESSAGE, Name, Question, Reject};
use crate::wire::frame::{Answered, Knock};
use crate::wire::icmp::{Heard, Token};

/// A ping is sent up to so often,
const PINGS: u16 = 4;
/// so far apart,
const PING_GAP: Duration = Duration::from_millis(500);
/// and waited for so long in all.
const PING_LIMIT: Duration = Duration::from_millis(2500);
/// TCP repeats its first packet after 1 s and again 2 s later (RFC 6298).
const TCP_LIMIT: Duration = Duration::from_millis(3500);
const TCP_GAP: Duration = Duration::from_secs(1);
/// The port that is tried: whoever serves names or pages over TLS has it open.
const PORT: u16 = 443;
/// A gateway is asked for its hardware address so often,
const ARPS: u16 = 6;
/// so far apart,
const ARP_GAP: Duration = Duration::from_millis(400);
/// and what goes through it waits for that, looking this often.
const ARP_LOOK: Duration = Duration::from_millis(20);
/// A DNS question is repeated after this,
const DNS_GAP: Duration = Duration::from_millis(900);
/// and given up after this.
const DNS_LIMIT: Duration = Duration::from_millis(3000);
/// A name that cannot exist takes a resolver longer; nobody waits for that one when all else is known.
const INVALID_LIMIT: Duration = Duration::from_millis(2000);
/// Packets of full size are tried for this long before smaller ones are,
const FULL: Duration = Duration::from_millis(1600);
/// and these for this long.
const LADDER: Duration = Duration::from_millis(1600);
const SIZED_GAP: Duration = Duration::from_millis(500);
/// Sizes of packets that ways are known for: Ethernet behind larger ones, PPPoE, tunnels, mobile networks, IPv6's least, the
/// old least of IPv4.
const SIZES: [u16; 20] = [
    1500, 1492, 1480, 1472, 1464, 1460, 1452, 1440, 1430, 1420, 1412, 1400, 1380, 1360, 1340, 1300, 1280, 1200, 1000,
    576,
];

/// Which way a question goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Which {
    Main,
    Wan(usize),
    V6,
}

/// What a question is about.
#[derive(Clone, Copy)]
enum About {
    Gateway(Which),
    Ping(Which, usize),
    Tcp(Which, usize),
    /// Whether another gateway of this network leads on.
    Instead(usize, usize),
    /// A server, and which of the questions to it; the number after the last server is 1.1.1.1.
    Name(usize, Asked),
    Portal(usize),
    External(usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Known,
    Other,
    Invalid,
    Near,
}

enum Means {
    Ping {
        to: IpAddr,
        sent: u16,
    },
    Tcp(tcp::Opening),
    /// By the lane of a network, through one of its gateways.
    LanePing {
        wan: usize,
        gateway: usize,
        to: Ipv4Addr,
        sent: u16,
    },
    Knock {
        wan: usize,
        knock: Knock,
        sent: u16,
    },
    Dns {
        to: SocketAddr,
        question: Box<Question>,
        sockets: Vec<(udp::Question, u16)>,
    },
    Web(Worker),
}

struct Open {
    about: About,
    means: Means,
    began: Instant,
    until: Instant,
    again: Option<Instant>,
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waited {
    /// The caller's descriptor.
    Other,
    /// Pings of any size, and lanes.
    Pings,
    /// The question at this place, and which of its sockets.
    Open(usize, usize),
}

/// A lane whose gateways are looked for.
struct Asking {
    lane: Lane,
    again: Instant,
    sent: u16,
}

/// All that is under way.
pub(super) struct Probes {
    pinger: Option<Pinger>,
    /// Of each network that has one.
    lanes: Vec<(usize, Asking)>,
    sized: Option<Sized>,
    open: Vec<Option<Open>>,
    names: Vec<Answers>,
    began: Instant,
    sized_again: Option<Instant>,
    /// Smaller packets are being tried since.
    ladder: Option<Instant>,
    poll: Poll<Waited>,
}

impl Probes {
    pub(super) fn new(pinger: Option<Pinger>) -> Self {
        let sized = pinger.as_ref().and_then(|_| Sized::open().ok());
        let began = clock::monotonic();
        let (open, names, poll) = (Vec::new(), Vec::new(), Poll::default());
        Self { pinger, lanes: Vec::new(), sized, open, names, began, sized_again: None, ladder: None, poll }
    }

    /// From now on the questions of this network leave by it; see [`Lane::open`].
    ///
    /// # Errors
    /// As [`Lane::open`].
    pub(super) fn set_lane(&mut self, wan: usize, road: &Road, alone: bool) -> std::io::Result<()> {
        let mut lane = Lane::open(road.index, road.address, alone)?;
        lane.add_gateway(road.gateway.or(road.peer));
        self.lanes.push((wan, Asking { lane, again: clock::monotonic(), sent: 0 }));
        Ok(())
    }

    fn lane(&mut self, wan: usize) -> Option<&mut Asking> {
        self.lanes.iter_mut().find(|(of, _)| *of == wan).map(|(_, asking)| asking)
    }

    /// Asks along a way: its gateway, and the hosts beyond.
    pub(super) fn ask_way(&mut self, which: Which, way: &mut Way) {
        if let Some(gateway) = &mut way.gateway {
            // A link-local address needs its zone; what the kernel thinks of it tells enough.
            let near = matches!(scope::scope(gateway.address), scope::Scope::LinkLocal);
            gateway.ping =
                if near { Reply::NotAsked } else { self.ping(About::Gateway(which), which, gateway.address) };
        }
        for (place, target) in way.targets.iter_mut().enumerate() {
            target.ping = self.ping(About::Ping(which, place), which, target.address);
            target.tcp = self.tcp(About::Tcp(which, place), which, SocketAddr::new(target.address, PORT));
        }
    }

    /// Asks whether one of these gateways would lead on.
    pub(super) fn ask_instead(&mut self, wan: usize, instead: &mut [Instead], targets: &[IpAddr]) {
        for (place, other) in instead.iter_mut().enumerate() {
            let Some(asking) = self.lane(wan) else { return };
            let gateway = asking.lane.add_gateway(Some(other.gateway));
            (asking.again, asking.sent) = (clock::monotonic(), 0);
            for to in targets {
                let IpAddr::V4(to) = *to else { continue };
                let means = Means::LanePing { wan, gateway, to, sent: 0 };
                other.reply = self.push(About::Instead(wan, place), means, PING_LIMIT, Some(Duration::ZERO));
            }
        }
    }

    fn push(&mut self, about: About, means: Means, limit: Duration, gap: Option<Duration>) -> Reply {
        let began = clock::monotonic();
        let again = gap.map(|gap| began + gap);
        self.open.push(Some(Open { about, means, began, until: began + limit, again }));
        Reply::Waiting
    }

    fn ping(&mut self, about: About, which: Which, to: IpAddr) -> Reply {
        let means = match (which, to) {
            (Which::Wan(wan), IpAddr::V4(to)) => Means::LanePing { wan, gateway: 0, to, sent: 0 },
            _ if self.pinger.is_none() => return Reply::NotAsked,
            _ => Means::Ping { to, sent: 0 },
        };
        self.push(about, means, PING_LIMIT, Some(Duration::ZERO))
    }

    fn tcp(&mut self, about: About, which: Which, to: SocketAddr) -> Reply {
        let now = clock::monotonic();
        match (which, to) {
            (Which::Wan(wan), SocketAddr::V4(to)) => {
                let Some(knock) = self.lane(wan).map(|asking| asking.lane.knock(to)) else { return Reply::NotAsked };
                self.push(about, Means::Knock { wan, knock, sent: 0 }, TCP_LIMIT, Some(Duration::ZERO))
            }
            _ => match tcp::Opening::begin(None, to) {
                Ok(opening) => self.push(about, Means::Tcp(opening), TCP_LIMIT, None),
                Err(e) => {
                    Reply::Failed(format!("port {PORT}: {}", error_text(&e)).into(), clock::monotonic().since(now))
                }
            },
        }
    }

    /// Asks the name servers, and 1.1.1.1; with `private` none that is public.
    pub(super) fn ask_names(&mut self, servers: &[Server], private: bool, seen: &mut Seen) {
        let direct = [SocketAddr::from(([1, 1, 1, 1], 53))];
        let to = servers.iter().map(|s| net::server_address(s.address, s.zone.as_deref(), 53));
        let to = to.chain(direct.into_iter().filter(|_| !private));
        let invalid = plausible::invalid_label(net::random());
        for (at, to) in to.enumerate() {
            self.names.push(Answers::default());
            if crate::diagnose::judge::is_off_limits(private, to.ip()) {
                continue;
            }
            let all = [(Asked::Known, KNOWN), (Asked::Other, OTHER), (Asked::Invalid, &invalid)];
            let near = [(Asked::Near, NEAR)];
            for (asked, name) in if private { near.iter() } else { all.iter() } {
                let Ok(name) = Name::parse(name) else { continue };
                let question = Box::new(Question { name, kind: Kind::A, class: Class::In });
                let means = Means::Dns { to, question, sockets: Vec::new() };
                let limit = if *asked == Asked::Invalid { INVALID_LIMIT } else { DNS_LIMIT };
                self.push(About::Name(at, *asked), means, limit, Some(Duration::ZERO));
                self.name(at, *asked, Said::Waiting);
            }
        }
        let empty = |s: &Server| {
            let is_asked = !crate::diagnose::judge::is_off_limits(private, s.address);
            let reply = if is_asked { Reply::Waiting } else { Reply::NotAsked };
            Resolver { server: s.to_string(), reply, lie: None, lost_with: None }
        };
        seen.resolvers = servers.iter().map(empty).collect();
    }

    fn name(&mut self, server: usize, asked: Asked, said: Said) {
        let Some(answers) = self.names.get_mut(server) else { return };
        *match asked {
            Asked::Known => &mut answers.known,
            Asked::Other => &mut answers.other,
            Asked::Invalid => &mut answers.invalid,
            Asked::Near => &mut answers.near,
        } = said;
    }

    /// Asks for pages that are empty, and for the external address.
    pub(super) fn ask_web(&mut self, pages: &[&str], sources: &[&str], seen: &mut Seen) {
        for (at, page) in pages.iter().enumerate() {
            let reply = self.web(About::Portal(at), Job::Page((*page).to_owned()));
            seen.portals.push(Portal { url: (*page).to_owned(), reply, instead: None });
        }
        for (at, text) in sources.iter().enumerate() {
            let reply = match Source::parse(text) {
                Ok(source) => self.web(About::External(at), Job::Lookup(source)),
                Err(_) => Reply::NotAsked,
            };
            seen.externals.push(External { source: (*text).to_owned(), reply, address: None, local: None });
        }
    }

    fn web(&mut self, about: About, job: Job) -> Reply {
        let task = Task { job, family: Family::V4, bound: Bound::default(), roots: None };
        match web_worker::start(&task) {
            Ok(worker) => self.push(about, Means::Web(worker), LOOKUP_LIMIT + GRACE, None),
            Err(why) => Reply::Failed(why.into(), Duration::ZERO),
        }
    }

    /// Begins to measure how large packets may be.
    pub(super) fn ask_mtu(&mut self, link: u32, mtu: &mut Mtu) {
        *mtu = Mtu { link, waiting: self.sized.is_some(), ..Mtu::default() };
        self.sized_again = self.sized.as_ref().map(|_| clock::monotonic());
    }

    /// Does what is due, and waits for answers, at most until `end`. Returns whether a signal or the like wants the end:
    /// the descriptor `other` is ready.
    pub(super) fn turn(&mut self, seen: &mut Seen, end: Instant, other: i32) -> bool {
        let now = clock::monotonic();
        self.look_for_gateways(now);
        self.send(seen, now);
        self.send_sized(seen, now);
        if self.expire(seen, now) {
            // Perhaps that was all.
            return false;
        }
        self.poll.clear();
        self.poll.add(Waited::Other, other);
        let mut next = end;
        for (at, open) in self.open.iter().enumerate() {
            let Some(open) = open else { continue };
            next = next.min(open.until).min(open.again.unwrap_or(open.until));
            match &open.means {
                Means::Ping { .. } | Means::LanePing { .. } | Means::Knock { .. } => {}
                Means::Tcp(opening) => self.poll.add_write(Waited::Open(at, 0), opening.fd()),
                Means::Web(worker) => self.poll.add(Waited::Open(at, 0), worker.fd()),
                Means::Dns { sockets, .. } => {
                    for (n, (socket, _)) in sockets.iter().enumerate() {
                        self.poll.add(Waited::Open(at, n), socket.fd());
                    }
                }
            }
        }
        if seen.mtu.waiting {
            next = next.min(self.sized_again.unwrap_or(end)).min(self.sized_end());
        }
        let pings = self.pinger.iter().flat_map(Pinger::fds);
        let lanes = self.lanes.iter().flat_map(|(_, asking)| asking.lane.fds());
        for fd in pings.chain(self.sized.iter().map(Sized::fd)).chain(lanes) {
            self.poll.add(Waited::Pings, fd);
        }
        let broken = self.poll.wait(clock::poll_timeout(clock::monotonic(), Some(next))).is_err();
        self.hear(seen);
        broken || self.poll.ready(Waited::Other)
    }

    fn look_for_gateways(&mut self, now: Instant) {
        for (_, asking) in &mut self.lanes {
            if asking.again <= now && asking.sent < ARPS {
                // A device that has just gone answers nothing: that is told then.
                let _ = asking.lane.look_for_gateways();
                (asking.again, asking.sent) = (now + ARP_GAP, asking.sent + 1);
            }
        }
    }

    fn send(&mut self, seen: &mut Seen, now: Instant) {
        let lanes = &self.lanes;
        let lane = |wan: usize| lanes.iter().find(|(of, _)| *of == wan).map(|(_, asking)| &asking.lane);
        for (at, slot) in self.open.iter_mut().enumerate() {
            let Some(open) = slot.as_mut().filter(|open| open.again.is_some_and(|again| again <= now)) else {
                continue;
            };
            let failed = match &mut open.means {
                Means::LanePing { wan, gateway, .. } if !lane(*wan).is_some_and(|l| l.is_there(*gateway)) => {
                    open.again = Some(now + ARP_LOOK);
                    None
                }
                Means::Knock { wan, .. } if !lane(*wan).is_some_and(|l| l.is_there(0)) => {
                    open.again = Some(now + ARP_LOOK);
                    None
                }
                Means::Ping { to, sent } => {
                    let token = token(at, *sent, now);
                    let result = self.pinger.as_mut().map_or(Ok(()), |pinger| pinger.send(None, *to, &token));
                    *sent += 1;
                    open.again = Some(now + PING_GAP).filter(|_| *sent < PINGS);
                    result.err()
                }
                Means::LanePing { wan, gateway, to, sent } => {
                    let token = token(at, *sent, now);
                    let result = lane(*wan).map_or(Ok(()), |lane| lane.ping(*gateway, *to, &token));
                    *sent += 1;
                    open.again = Some(now + PING_GAP).filter(|_| *sent < PINGS);
                    result.err()
                }
                Means::Knock { wan, knock, sent } => {
                    let result = lane(*wan).map_or(Ok(()), |lane| lane.send(0, &knock.request()));
                    *sent += 1;
                    open.again = Some(now + TCP_GAP * u32::from(*sent)).filter(|_| *sent < 3);
                    result.err()
                }
                Means::Dns { to, question, sockets } => {
                    let id = (net::random() & 0xffff) as u16;
                    let mut packet = Vec::new();
                    // What is near is to answer by itself, and to ask nobody in the internet.
                    match open.about {
                        About::Name(_, Asked::Near) => dns::query_of_its_own(id, question, &mut packet),
                        _ => dns::query(id, question, &mut packet),
                    }
                    open.again = Some(now + DNS_GAP).filter(|_| sockets.len() < 2);
                    match udp::Question::send(None, *to, &packet) {
                        Ok(socket) => {
                            sockets.push((socket, id));
                            None
                        }
                        Err(e) => Some(e),
                    }
                }
                Means::Tcp(_) | Means::Web(_) => None,
            };
            if let Some(e) = failed
                && let Some(open) = slot.take()
            {
                put(seen, &mut self.names, open.about, Outcome::Failed(error_text(&e)), now.since(open.began));
            }
        }
    }

    /// Gives up what is waited for too long; whether there was anything.
    fn expire(&mut self, seen: &mut Seen, now: Instant) -> bool {
        let mut any = false;
        for slot in &mut self.open {
            if let Some(open) = slot.take_if(|open| open.until <= now) {
                let is_tcp = matches!(open.means, Means::Tcp(_) | Means::Knock { .. });
                let why = if is_tcp { "port 443: no answer" } else { "no answer" };
                put(seen, &mut self.names, open.about, Outcome::Failed(why.to_owned()), now.since(open.began));
                any = true;
            }
        }
        self.sum_up(seen);
        any
    }

    fn hear(&mut self, seen: &mut Seen) {
        let now = clock::monotonic();
        let Self { pinger, lanes, open, names, poll, .. } = self;
        if let Some(pinger) = pinger {
            pinger.receive(true, |_, heard, rtt| {
                let (token, outcome) = match heard {
                    Heard::Reply(token) => (token, Outcome::Good(rtt)),
                    Heard::Failed(token, error) => (token, Outcome::Rejected(error.to_string())),
                    Heard::Hint(..) => return,
                };
                let slot = usize::try_from(token.owner).ok().and_then(|at| open.get_mut(at));
                let is_ping = |open: &mut Open| matches!(open.means, Means::Ping { .. });
                if let Some(open) = slot.and_then(|slot| slot.take_if(is_ping)) {
                    put(seen, names, open.about, outcome, now.since(open.began));
                }
            });
        }
        for (wan, asking) in lanes {
            hear_lane(*wan, &mut asking.lane, open, now, |about, outcome, took| put(seen, names, about, outcome, took));
        }
        for (at, slot) in open.iter_mut().enumerate() {
            let Some(Open { about, means, began, .. }) = slot else { continue };
            let ready = |n| poll.ready(Waited::Open(at, n));
            let outcome = match means {
                Means::Ping { .. } | Means::LanePing { .. } | Means::Knock { .. } => None,
                Means::Tcp(opening) if ready(0) => Some(match opening.result() {
                    Ok(()) => Outcome::Good(now.since(*began)),
                    Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => Outcome::Refused,
                    Err(e) => Outcome::Failed(format!("port 443: {}", error_text(&e))),
                }),
                Means::Web(worker) if ready(0) => {
                    worker.read().map(|line| Outcome::Web(Report::read(&line).map(|report| report.said)))
                }
                Means::Tcp(_) | Means::Web(_) => None,
                Means::Dns { question, sockets, .. } => answer(sockets, question, ready),
            };
            if let Some(outcome) = outcome {
                let (about, took) = (*about, now.since(*began));
                *slot = None;
                put(seen, names, about, outcome, took);
            }
        }
        self.hear_sized(seen);
        self.sum_up(seen);
    }

    /// From the answers to the servers and gateways.
    fn sum_up(&mut self, seen: &mut Seen) {
        for (wan, Asking { lane, .. }) in self.lanes.iter().filter(|(_, asking)| asking.lane.has_neighbours()) {
            let gateway = seen.wans.get_mut(*wan).and_then(|wan| wan.way.gateway.as_mut());
            if let Some(gateway) = gateway {
                gateway.neighbour = match gateway.ping {
                    _ if lane.is_there(0) => Neighbour::Answers,
                    Reply::Failed(..) => Neighbour::Silent,
                    _ => Neighbour::Unknown,
                };
            }
        }
        let servers = seen.resolvers.len();
        for (at, answers) in self.names.iter().enumerate() {
            let (reply, lie) = answers.judge();
            match seen.resolvers.get_mut(at) {
                Some(resolver) => (resolver.reply, resolver.lie) = (reply, lie),
                None if at == servers => (seen.direct, seen.direct_lie) = (reply, lie),
                None => {}
            }
        }
    }

    /// Whether everything is known.
    pub(super) fn is_done(&self, seen: &Seen) -> bool {
        self.open.iter().all(Option::is_none) && !seen.mtu.waiting
    }

    fn sized_end(&self) -> Instant {
        self.ladder.map_or(self.began + FULL, |since| since + LADDER)
    }

    fn send_sized(&mut self, seen: &mut Seen, now: Instant) {
        let Some(sized) = &mut self.sized else { return };
        if !seen.mtu.waiting || self.sized_again.is_none_or(|again| again > now) {
            return;
        }
        let pingable = |t: &&crate::diagnose::Target| self.ladder.is_none() || t.ping.is_good();
        for target in seen.main.targets.iter().filter(pingable) {
            let IpAddr::V4(to) = target.address else { continue };
            let link = u16::try_from(seen.mtu.link).unwrap_or(u16::MAX);
            let full = [link];
            let smaller = SIZES.iter().filter(|size| **size < link);
            let sizes: Vec<u16> = if self.ladder.is_some() { smaller.copied().collect() } else { full.to_vec() };
            for index in sizes {
                // No answer says the same as an error here: too large.
                let _ = sized.send(to, &Token { owner: 0, check: 0, index, sent: now }, usize::from(index));
            }
        }
        self.sized_again = Some(now + SIZED_GAP);
    }

    fn hear_sized(&mut self, seen: &mut Seen) {
        let now = clock::monotonic();
        let end = self.sized_end();
        let Some(sized) = &mut self.sized else { return };
        let mtu = &mut seen.mtu;
        for _ in 0..64 {
            match sized.receive() {
                Some(SizedHeard::Reply(token)) => {
                    mtu.path = Some(u32::from(token.index)).max(mtu.path);
                }
                Some(SizedHeard::TooLarge) => mtu.told = true,
                Some(SizedHeard::Other) => {}
                None => break,
            }
        }
        if !mtu.waiting {
            return;
        }
        mtu.took = now.since(self.began);
        let reached = seen.main.targets.iter().any(|t| t.ping.is_good());
        match self.ladder {
            _ if mtu.path >= Some(mtu.link) => mtu.waiting = false,
            None if now >= end && reached => {
                self.ladder = Some(now);
                self.sized_again = Some(now);
            }
            _ if now >= end => mtu.waiting = false,
            _ => {}
        }
    }
}

/// The mark of a ping: where its question stands, and which of its pings it is.
fn token(at: usize, index: u16, sent: Instant) -> Token {
    Token { owner: u32::try_from(at).unwrap_or(u32::MAX), check: u32::from(index), index, sent }
}

fn place(token: Token) -> Option<usize> {
    usize::try_from(token.owner).ok()
}

/// Takes what came by the lane of a network.
fn hear_lane(
    wan: usize,
    lane: &mut Lane,
    open: &mut [Option<Open>],
    now: Instant,
    mut put: impl FnMut(About, Outcome, Duration),
) {
    let knock = |(at, open): (usize, &Option<Open>)| match open.as_ref()?.means {
        Means::Knock { wan: of, knock, .. } if of == wan => Some((at, knock)),
        _ => None,
    };
    let knocks: Vec<(usize, Knock)> = open.iter().enumerate().filter_map(knock).collect();
    let mut opened = Vec::new();
    lane.receive(&knocks, |came| {
        let (at, outcome) = match came {
            Came::Echo(Heard::Reply(token)) => (place(token), Outcome::Good(now.since(token.sent))),
            Came::Echo(Heard::Failed(token, error)) => (place(token), Outcome::Rejected(error.to_string())),
            Came::Echo(Heard::Hint(..)) => return,
            Came::Knock(at, Answered::Open) => (Some(at), Outcome::Opened),
            Came::Knock(at, Answered::Closed) => (Some(at), Outcome::Refused),
            Came::Knock(at, Answered::Failed(error)) => (Some(at), Outcome::Failed(format!("port {PORT}: {error}"))),
        };
        let is_lane = |open: &mut Open| matches!(open.means, Means::LanePing { .. } | Means::Knock { .. });
        if let Some(open) = at.and_then(|at| open.get_mut(at)).and_then(|slot| slot.take_if(is_lane)) {
            if let (Means::Knock { knock, .. }, Outcome::Opened) = (&open.means, &outcome) {
                opened.push(*knock);
            }
            put(open.about, outcome, now.since(open.began));
        }
    });
    for knock in opened {
        let _ = lane.send(0, &knock.end());
    }
}

/// What came of a question.
enum Outcome {
    Good(Duration),
    /// A port opens.
    Opened,
    Refused,
    /// Somebody says that it does not go on.
    Rejected(String),
    Failed(String),
    Answer(dns::Answer),
    Web(Option<Reported>),
}

fn answer(sockets: &mut [(udp::Question, u16)], question: &Question, ready: impl Fn(usize) -> bool) -> Option<Outcome> {
    let mut buffer = [0; MAX_MESSAGE];
    for (n, (socket, id)) in sockets.iter_mut().enumerate() {
        if !ready(n) {
            continue;
        }
        match socket.receive(&mut buffer) {
            Ok(None) => {}
            Ok(Some(bytes)) => match dns::response(bytes, *id, question) {
                Ok(answer) => return Some(Outcome::Answer(answer)),
                Err(Reject::Malformed(why)) => return Some(Outcome::Failed(format!("broken answer: {why}"))),
                Err(Reject::Mismatch(_)) => {}
            },
            Err(e) => return Some(Outcome::Failed(error_text(&e))),
        }
    }
    None
}

/// Puts it where it belongs.
fn put(seen: &mut Seen, names: &mut [Answers], about: About, outcome: Outcome, took: Duration) {
    let reply = |outcome: &Outcome| match outcome {
        Outcome::Good(rtt) => Reply::Got(*rtt),
        Outcome::Failed(why) | Outcome::Rejected(why) => Reply::Failed(why.as_str().into(), took),
        Outcome::Refused => Reply::Failed("port 443 is closed, which is an answer".into(), took),
        Outcome::Opened | Outcome::Answer(_) | Outcome::Web(_) => Reply::Got(took),
    };
    match about {
        About::Gateway(which) => {
            if let Some(gateway) = way(seen, which).and_then(|way| way.gateway.as_mut()) {
                gateway.ping = reply(&outcome);
            }
        }
        About::Ping(which, place) | About::Tcp(which, place) => {
            if let Some(target) = way(seen, which).and_then(|way| way.targets.get_mut(place)) {
                let is_ping = matches!(about, About::Ping(..));
                target.refused |= matches!(outcome, Outcome::Refused);
                target.rejected |= matches!(outcome, Outcome::Rejected(_));
                *if is_ping { &mut target.ping } else { &mut target.tcp } = reply(&outcome);
            }
        }
        About::Instead(wan, place) => {
            let other = seen.wans.get_mut(wan).and_then(|wan| wan.instead.get_mut(place));
            if let Some(other) = other.filter(|other| !other.reply.is_good()) {
                other.reply = reply(&outcome);
            }
        }
        About::Name(server, asked) => {
            let said = match outcome {
                Outcome::Answer(answer) => Said::Answer(answer, took),
                Outcome::Failed(why) => Said::Nothing(why, took),
                _ => return,
            };
            if let Some(answers) = names.get_mut(server) {
                *match asked {
                    Asked::Known => &mut answers.known,
                    Asked::Other => &mut answers.other,
                    Asked::Invalid => &mut answers.invalid,
                    Asked::Near => &mut answers.near,
                } = said;
            }
        }
        About::Portal(place) => {
            if let Some(portal) = seen.portals.get_mut(place) {
                // Whatever page: somebody out there has sent it, or whoever stands in the way.
                let answered = matches!(outcome, Outcome::Web(Some(Reported::Page(Ok(_)))));
                let (reply, instead, date) = page(outcome, took);
                (portal.reply, portal.instead) = (reply, instead);
                seen.main.page |= portal.reply.is_good() || answered;
                seen.ahead = seen.ahead.or(date.map(|date| clock::wall().secs - date));
            }
        }
        About::External(place) => {
            let Some(external) = seen.externals.get_mut(place) else { return };
            match outcome {
                Outcome::Web(Some(Reported::Lookup(Ok(found)))) => {
                    external.reply = Reply::Got(took);
                    (external.address, external.local) = (Some(found.address), found.local);
                    seen.main.page |= external.source.starts_with("http");
                }
                Outcome::Web(Some(Reported::Lookup(Err(e)))) => external.reply = Reply::Failed(e.why, took),
                Outcome::Failed(why) => external.reply = Reply::Failed(why.into(), took),
                _ => external.reply = Reply::Failed("no answer".into(), took),
            }
        }
    }
}

/// Whether a page came as it should, what came instead, and the server's time.
fn page(outcome: Outcome, took: Duration) -> (Reply, Option<String>, Option<i64>) {
    let page = match outcome {
        Outcome::Web(Some(Reported::Page(Ok(page)))) => page,
        Outcome::Web(Some(Reported::Page(Err(why)))) => return (Reply::Failed(why, took), None, None),
        Outcome::Failed(why) => return (Reply::Failed(why.into(), took), None, None),
        _ => return (Reply::Failed("no answer".into(), took), None, None),
    };
    let failed = |why: &str| Reply::Failed(why.into(), took);
    let instead = match (page.status, &page.location) {
        (204, _) => return (Reply::Got(took), None, page.date),
        (200, _) if page.empty => return (Reply::Got(took), None, page.date),
        (300..400, Some(to)) => format!("one that leads to {to}"),
        (200..400, _) | (511, _) => format!("one with HTTP status {}", page.status),
        (status, _) => return (failed(&format!("HTTP status {status}")), None, page.date),
    };
    // The clock of whoever stands in the way says nothing about ours.
    (failed("another page came"), Some(instead), None)
}

fn way(seen: &mut Seen, which: Which) -> Option<&mut Way> {
    match which {
        Which::Main => Some(&mut seen.main),
        Which::Wan(place) => seen.wans.get_mut(place).map(|wan| &mut wan.way),
        Which::V6 => seen.v6.as_mut(),
    }
}
