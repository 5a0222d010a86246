//! The questions of `imon check`, all side by side in one loop.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::addr::family::Family;
use crate::addr::scope;
use crate::base::time::Instant;
use crate::diagnose::names::{Answers, KNOWN, NEAR, NameReply, OTHER};
use crate::diagnose::{
    Evidence, External, Instead, Mtu, NeighbourState, PathEvidence, Portal, ResolverEvidence,
    TestReply,
};
use crate::dns::plausible;
use crate::dns::resolver::NameServer;
use crate::kernel::path::Bound;
use crate::monitor::ddns::source::Source;
use crate::routing::WanPath;
use crate::sys::packet::{Came, PacketSocket};
use crate::sys::ping::{Pinger, Sized, SizedHeard};
use crate::sys::poll::Poll;
use crate::sys::worker::Worker;
use crate::sys::{clock, error_text, net, tcp, udp, web_worker};
use crate::web::{GRACE, LOOKUP_LIMIT, Task, TaskJob, TaskReport, TaskResult};
use crate::wire::dns::{self, Class, DnsQuestion, MAX_MESSAGE, Name, RecordType, Reject};
use crate::wire::frame::{Answered, Knock};
use crate::wire::icmp::{Received, Token};

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
/// A name that cannot exist takes a resolver longer; nobody waits for that one when all else is
/// known.
const INVALID_LIMIT: Duration = Duration::from_millis(2000);
/// Packets of full size are tried for this long before smaller ones are,
const FULL: Duration = Duration::from_millis(1600);
/// and these for this long.
const LADDER: Duration = Duration::from_millis(1600);
const SIZED_GAP: Duration = Duration::from_millis(500);
/// Sizes of packets that ways are known for: Ethernet behind larger ones, PPPoE, tunnels, mobile
/// networks, IPv6's least, the old least of IPv4.
const SIZES: [u16; 20] = [
    1500, 1492, 1480, 1472, 1464, 1460, 1452, 1440, 1430, 1420, 1412, 1400, 1380, 1360, 1340, 1300,
    1280, 1200, 1000, 576,
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
enum TestSubject {
    Gateway(Which),
    Ping(Which, usize),
    Tcp(Which, usize),
    /// Whether another gateway of this network leads on.
    Instead(usize, usize),
    /// A server, and which of the questions to it; the number after the last server is 1.1.1.1.
    Name(usize, PendingTest),
    Portal(usize),
    External(usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PendingTest {
    Known,
    Other,
    Invalid,
    Near,
}

enum TestMeans {
    Ping {
        to: IpAddr,
        sent: u16,
    },
    Tcp(tcp::TcpOpening),
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
        question: Box<DnsQuestion>,
        sockets: Vec<(udp::UdpExchange, u16)>,
    },
    Web(Worker),
}

struct Open {
    about: TestSubject,
    means: TestMeans,
    began: Instant,
    until: Instant,
    again: Option<Instant>,
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ProbeSource {
    /// The caller's descriptor.
    Other,
    /// Pings of any size, and lanes.
    Pings,
    /// The question at this place, and which of its sockets.
    Open(usize, usize),
}

/// A lane whose gateways are looked for.
struct GatewaySearch {
    lane: PacketSocket,
    again: Instant,
    sent: u16,
}

/// All that is under way.
pub(super) struct RunningTests {
    pinger: Option<Pinger>,
    /// Of each network that has one.
    lanes: Vec<(usize, GatewaySearch)>,
    sized: Option<Sized>,
    open: Vec<Option<Open>>,
    names: Vec<Answers>,
    began: Instant,
    sized_again: Option<Instant>,
    /// Smaller packets are being tried since.
    ladder: Option<Instant>,
    poll: Poll<ProbeSource>,
}

impl RunningTests {
    pub(super) fn new(pinger: Option<Pinger>) -> Self {
        let sized = pinger.as_ref().and_then(|_| Sized::open().ok());
        let began = clock::monotonic();
        let (open, names, poll) = (Vec::new(), Vec::new(), Poll::default());
        Self {
            pinger,
            lanes: Vec::new(),
            sized,
            open,
            names,
            began,
            sized_again: None,
            ladder: None,
            poll,
        }
    }

    /// From now on the questions of this network leave by it; see [`PacketSocket::open`].
    ///
    /// # Errors
    /// As [`PacketSocket::open`].
    pub(super) fn set_lane(
        &mut self,
        wan: usize,
        road: &WanPath,
        alone: bool,
    ) -> std::io::Result<()> {
        let mut lane = PacketSocket::open(road.index, road.address, alone)?;
        lane.add_gateway(road.gateway.or(road.peer));
        self.lanes.push((wan, GatewaySearch { lane, again: clock::monotonic(), sent: 0 }));
        Ok(())
    }

    fn lane(&mut self, wan: usize) -> Option<&mut GatewaySearch> {
        self.lanes.iter_mut().find(|(of, _)| *of == wan).map(|(_, asking)| asking)
    }

    /// Asks along a way: its gateway, and the hosts beyond.
    pub(super) fn ask_way(&mut self, which: Which, way: &mut PathEvidence) {
        if let Some(gateway) = &mut way.gateway {
            // A link-local address needs its zone; what the kernel thinks of it tells enough.
            let near = matches!(scope::scope(gateway.address), scope::Scope::LinkLocal);
            gateway.ping = if near {
                TestReply::NotAsked
            } else {
                self.ping(TestSubject::Gateway(which), which, gateway.address)
            };
        }
        for (place, target) in way.targets.iter_mut().enumerate() {
            target.ping = self.ping(TestSubject::Ping(which, place), which, target.address);
            target.tcp = self.tcp(
                TestSubject::Tcp(which, place),
                which,
                SocketAddr::new(target.address, PORT),
            );
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
                let means = TestMeans::LanePing { wan, gateway, to, sent: 0 };
                other.reply = self.push(
                    TestSubject::Instead(wan, place),
                    means,
                    PING_LIMIT,
                    Some(Duration::ZERO),
                );
            }
        }
    }

    fn push(
        &mut self,
        about: TestSubject,
        means: TestMeans,
        limit: Duration,
        gap: Option<Duration>,
    ) -> TestReply {
        let began = clock::monotonic();
        let again = gap.map(|gap| began + gap);
        self.open.push(Some(Open { about, means, began, until: began + limit, again }));
        TestReply::Waiting
    }

    fn ping(&mut self, about: TestSubject, which: Which, to: IpAddr) -> TestReply {
        let means = match (which, to) {
            (Which::Wan(wan), IpAddr::V4(to)) => {
                TestMeans::LanePing { wan, gateway: 0, to, sent: 0 }
            }
            _ if self.pinger.is_none() => return TestReply::NotAsked,
            _ => TestMeans::Ping { to, sent: 0 },
        };
        self.push(about, means, PING_LIMIT, Some(Duration::ZERO))
    }

    fn tcp(&mut self, about: TestSubject, which: Which, to: SocketAddr) -> TestReply {
        let now = clock::monotonic();
        match (which, to) {
            (Which::Wan(wan), SocketAddr::V4(to)) => {
                let Some(knock) = self.lane(wan).map(|asking| asking.lane.knock(to)) else {
                    return TestReply::NotAsked;
                };
                self.push(
                    about,
                    TestMeans::Knock { wan, knock, sent: 0 },
                    TCP_LIMIT,
                    Some(Duration::ZERO),
                )
            }
            _ => match tcp::TcpOpening::begin(None, to) {
                Ok(opening) => self.push(about, TestMeans::Tcp(opening), TCP_LIMIT, None),
                Err(e) => TestReply::Failed(
                    format!("port {PORT}: {}", error_text(&e)).into(),
                    clock::monotonic().since(now),
                ),
            },
        }
    }

    /// Asks the name servers, and 1.1.1.1; with `private` none that is public.
    pub(super) fn ask_names(&mut self, servers: &[NameServer], private: bool, seen: &mut Evidence) {
        let direct = [SocketAddr::from(([1, 1, 1, 1], 53))];
        let to = servers.iter().map(|s| net::server_address(s.address, s.zone.as_deref(), 53));
        let to = to.chain(direct.into_iter().filter(|_| !private));
        let invalid = plausible::invalid_label(net::random());
        for (at, to) in to.enumerate() {
            self.names.push(Answers::default());
            if crate::diagnose::judge::is_off_limits(private, to.ip()) {
                continue;
            }
            let all = [
                (PendingTest::Known, KNOWN),
                (PendingTest::Other, OTHER),
                (PendingTest::Invalid, &invalid),
            ];
            let near = [(PendingTest::Near, NEAR)];
            for (asked, name) in if private { near.iter() } else { all.iter() } {
                let Ok(name) = Name::parse(name) else { continue };
                let question =
                    Box::new(DnsQuestion { name, kind: RecordType::A, class: Class::In });
                let means = TestMeans::Dns { to, question, sockets: Vec::new() };
                let limit = if *asked == PendingTest::Invalid { INVALID_LIMIT } else { DNS_LIMIT };
                self.push(TestSubject::Name(at, *asked), means, limit, Some(Duration::ZERO));
                self.name(at, *asked, NameReply::Waiting);
            }
        }
        let empty = |s: &NameServer| {
            let is_asked = !crate::diagnose::judge::is_off_limits(private, s.address);
            let reply = if is_asked { TestReply::Waiting } else { TestReply::NotAsked };
            ResolverEvidence { server: s.to_string(), reply, lie: None, lost_with: None }
        };
        seen.resolvers = servers.iter().map(empty).collect();
    }

    fn name(&mut self, server: usize, asked: PendingTest, said: NameReply) {
        let Some(answers) = self.names.get_mut(server) else { return };
        *match asked {
            PendingTest::Known => &mut answers.known,
            PendingTest::Other => &mut answers.other,
            PendingTest::Invalid => &mut answers.invalid,
            PendingTest::Near => &mut answers.near,
        } = said;
    }

    /// Asks for pages that are empty, and for the external address.
    pub(super) fn ask_web(&mut self, pages: &[&str], sources: &[&str], seen: &mut Evidence) {
        for (at, page) in pages.iter().enumerate() {
            let reply = self.web(TestSubject::Portal(at), TaskJob::Page((*page).to_owned()));
            seen.portals.push(Portal { url: (*page).to_owned(), reply, instead: None });
        }
        for (at, text) in sources.iter().enumerate() {
            let reply = match Source::parse(text) {
                Ok(source) => self.web(TestSubject::External(at), TaskJob::Lookup(source)),
                Err(_) => TestReply::NotAsked,
            };
            seen.externals.push(External {
                source: (*text).to_owned(),
                reply,
                address: None,
                local: None,
            });
        }
    }

    fn web(&mut self, about: TestSubject, job: TaskJob) -> TestReply {
        let task = Task { job, family: Family::V4, bound: Bound::default(), roots: None };
        match web_worker::start(&task) {
            Ok(worker) => self.push(about, TestMeans::Web(worker), LOOKUP_LIMIT + GRACE, None),
            Err(why) => TestReply::Failed(why.into(), Duration::ZERO),
        }
    }

    /// Begins to measure how large packets may be.
    pub(super) fn ask_mtu(&mut self, link: u32, mtu: &mut Mtu) {
        *mtu = Mtu { link, waiting: self.sized.is_some(), ..Mtu::default() };
        self.sized_again = self.sized.as_ref().map(|_| clock::monotonic());
    }

    /// Does what is due, and waits for answers, at most until `end`. Returns whether a signal or
    /// the like wants the end: the descriptor `other` is ready.
    pub(super) fn turn(&mut self, seen: &mut Evidence, end: Instant, other: i32) -> bool {
        let now = clock::monotonic();
        self.look_for_gateways(now);
        self.send(seen, now);
        self.send_sized(seen, now);
        if self.expire(seen, now) {
            // Perhaps that was all.
            return false;
        }
        self.poll.clear();
        self.poll.add(ProbeSource::Other, other);
        let mut next = end;
        for (at, open) in self.open.iter().enumerate() {
            let Some(open) = open else { continue };
            next = next.min(open.until).min(open.again.unwrap_or(open.until));
            match &open.means {
                TestMeans::Ping { .. } | TestMeans::LanePing { .. } | TestMeans::Knock { .. } => {}
                TestMeans::Tcp(opening) => {
                    self.poll.add_write(ProbeSource::Open(at, 0), opening.fd())
                }
                TestMeans::Web(worker) => self.poll.add(ProbeSource::Open(at, 0), worker.fd()),
                TestMeans::Dns { sockets, .. } => {
                    for (n, (socket, _)) in sockets.iter().enumerate() {
                        self.poll.add(ProbeSource::Open(at, n), socket.fd());
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
            self.poll.add(ProbeSource::Pings, fd);
        }
        let broken = self.poll.wait(clock::poll_timeout(clock::monotonic(), Some(next))).is_err();
        self.hear(seen);
        broken || self.poll.ready(ProbeSource::Other)
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

    fn send(&mut self, seen: &mut Evidence, now: Instant) {
        let lanes = &self.lanes;
        let lane =
            |wan: usize| lanes.iter().find(|(of, _)| *of == wan).map(|(_, asking)| &asking.lane);
        for (at, slot) in self.open.iter_mut().enumerate() {
            let Some(open) =
                slot.as_mut().filter(|open| open.again.is_some_and(|again| again <= now))
            else {
                continue;
            };
            let failed = match &mut open.means {
                TestMeans::LanePing { wan, gateway, .. }
                    if !lane(*wan).is_some_and(|l| l.is_there(*gateway)) =>
                {
                    open.again = Some(now + ARP_LOOK);
                    None
                }
                TestMeans::Knock { wan, .. } if !lane(*wan).is_some_and(|l| l.is_there(0)) => {
                    open.again = Some(now + ARP_LOOK);
                    None
                }
                TestMeans::Ping { to, sent } => {
                    let token = token(at, *sent, now);
                    let result = self
                        .pinger
                        .as_mut()
                        .map_or(Ok(()), |pinger| pinger.send(None, *to, &token));
                    *sent += 1;
                    open.again = Some(now + PING_GAP).filter(|_| *sent < PINGS);
                    result.err()
                }
                TestMeans::LanePing { wan, gateway, to, sent } => {
                    let token = token(at, *sent, now);
                    let result = lane(*wan).map_or(Ok(()), |lane| lane.ping(*gateway, *to, &token));
                    *sent += 1;
                    open.again = Some(now + PING_GAP).filter(|_| *sent < PINGS);
                    result.err()
                }
                TestMeans::Knock { wan, knock, sent } => {
                    let result = lane(*wan).map_or(Ok(()), |lane| lane.send(0, &knock.request()));
                    *sent += 1;
                    open.again = Some(now + TCP_GAP * u32::from(*sent)).filter(|_| *sent < 3);
                    result.err()
                }
                TestMeans::Dns { to, question, sockets } => {
                    let id = (net::random() & 0xffff) as u16;
                    let mut packet = Vec::new();
                    // What is near is to answer by itself, and to ask nobody in the internet.
                    match open.about {
                        TestSubject::Name(_, PendingTest::Near) => {
                            dns::query_of_its_own(id, question, &mut packet)
                        }
                        _ => dns::query(id, question, &mut packet),
                    }
                    open.again = Some(now + DNS_GAP).filter(|_| sockets.len() < 2);
                    match udp::UdpExchange::send(None, *to, &packet) {
                        Ok(socket) => {
                            sockets.push((socket, id));
                            None
                        }
                        Err(e) => Some(e),
                    }
                }
                TestMeans::Tcp(_) | TestMeans::Web(_) => None,
            };
            if let Some(e) = failed
                && let Some(open) = slot.take()
            {
                put(
                    seen,
                    &mut self.names,
                    open.about,
                    QueryOutcome::Failed(error_text(&e)),
                    now.since(open.began),
                );
            }
        }
    }

    /// Gives up what is waited for too long; whether there was anything.
    fn expire(&mut self, seen: &mut Evidence, now: Instant) -> bool {
        let mut any = false;
        for slot in &mut self.open {
            if let Some(open) = slot.take_if(|open| open.until <= now) {
                let is_tcp = matches!(open.means, TestMeans::Tcp(_) | TestMeans::Knock { .. });
                let why = if is_tcp { "port 443: no answer" } else { "no answer" };
                put(
                    seen,
                    &mut self.names,
                    open.about,
                    QueryOutcome::Failed(why.to_owned()),
                    now.since(open.began),
                );
                any = true;
            }
        }
        self.sum_up(seen);
        any
    }

    fn hear(&mut self, seen: &mut Evidence) {
        let now = clock::monotonic();
        let Self { pinger, lanes, open, names, poll, .. } = self;
        if let Some(pinger) = pinger {
            pinger.receive(true, |_, heard, rtt| {
                let (token, outcome) = match heard {
                    Received::Reply(token) => (token, QueryOutcome::Good(rtt)),
                    Received::Failed(token, error) => {
                        (token, QueryOutcome::Rejected(error.to_string()))
                    }
                    Received::Hint(..) => return,
                };
                let slot = usize::try_from(token.owner).ok().and_then(|at| open.get_mut(at));
                let is_ping = |open: &mut Open| matches!(open.means, TestMeans::Ping { .. });
                if let Some(open) = slot.and_then(|slot| slot.take_if(is_ping)) {
                    put(seen, names, open.about, outcome, now.since(open.began));
                }
            });
        }
        for (wan, asking) in lanes {
            hear_lane(*wan, &mut asking.lane, open, now, |about, outcome, took| {
                put(seen, names, about, outcome, took)
            });
        }
        for (at, slot) in open.iter_mut().enumerate() {
            let Some(Open { about, means, began, .. }) = slot else { continue };
            let ready = |n| poll.ready(ProbeSource::Open(at, n));
            let outcome = match means {
                TestMeans::Ping { .. } | TestMeans::LanePing { .. } | TestMeans::Knock { .. } => {
                    None
                }
                TestMeans::Tcp(opening) if ready(0) => Some(match opening.result() {
                    Ok(()) => QueryOutcome::Good(now.since(*began)),
                    Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
                        QueryOutcome::Refused
                    }
                    Err(e) => QueryOutcome::Failed(format!("port 443: {}", error_text(&e))),
                }),
                TestMeans::Web(worker) if ready(0) => worker.read().map(|line| {
                    QueryOutcome::Web(TaskReport::read(&line).map(|report| report.said))
                }),
                TestMeans::Tcp(_) | TestMeans::Web(_) => None,
                TestMeans::Dns { question, sockets, .. } => answer(sockets, question, ready),
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
    fn sum_up(&mut self, seen: &mut Evidence) {
        for (wan, GatewaySearch { lane, .. }) in
            self.lanes.iter().filter(|(_, asking)| asking.lane.has_neighbours())
        {
            let gateway = seen.wans.get_mut(*wan).and_then(|wan| wan.way.gateway.as_mut());
            if let Some(gateway) = gateway {
                gateway.neighbour = match gateway.ping {
                    _ if lane.is_there(0) => NeighbourState::Answers,
                    TestReply::Failed(..) => NeighbourState::Silent,
                    _ => NeighbourState::Unknown,
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
    pub(super) fn is_done(&self, seen: &Evidence) -> bool {
        self.open.iter().all(Option::is_none) && !seen.mtu.waiting
    }

    fn sized_end(&self) -> Instant {
        self.ladder.map_or(self.began + FULL, |since| since + LADDER)
    }

    fn send_sized(&mut self, seen: &mut Evidence, now: Instant) {
        let Some(sized) = &mut self.sized else { return };
        if !seen.mtu.waiting || self.sized_again.is_none_or(|again| again > now) {
            return;
        }
        let pingable =
            |t: &&crate::diagnose::TargetEvidence| self.ladder.is_none() || t.ping.is_good();
        for target in seen.main.targets.iter().filter(pingable) {
            let IpAddr::V4(to) = target.address else { continue };
            let link = u16::try_from(seen.mtu.link).unwrap_or(u16::MAX);
            let full = [link];
            let smaller = SIZES.iter().filter(|size| **size < link);
            let sizes: Vec<u16> =
                if self.ladder.is_some() { smaller.copied().collect() } else { full.to_vec() };
            for index in sizes {
                // No answer says the same as an error here: too large.
                let _ = sized.send(
                    to,
                    &Token { owner: 0, check: 0, index, sent: now },
                    usize::from(index),
                );
            }
        }
        self.sized_again = Some(now + SIZED_GAP);
    }

    fn hear_sized(&mut self, seen: &mut Evidence) {
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
    lane: &mut PacketSocket,
    open: &mut [Option<Open>],
    now: Instant,
    mut put: impl FnMut(TestSubject, QueryOutcome, Duration),
) {
    let knock = |(at, open): (usize, &Option<Open>)| match open.as_ref()?.means {
        TestMeans::Knock { wan: of, knock, .. } if of == wan => Some((at, knock)),
        _ => None,
    };
    let knocks: Vec<(usize, Knock)> = open.iter().enumerate().filter_map(knock).collect();
    let mut opened = Vec::new();
    lane.receive(&knocks, |came| {
        let (at, outcome) = match came {
            Came::Echo(Received::Reply(token)) => {
                (place(token), QueryOutcome::Good(now.since(token.sent)))
            }
            Came::Echo(Received::Failed(token, error)) => {
                (place(token), QueryOutcome::Rejected(error.to_string()))
            }
            Came::Echo(Received::Hint(..)) => return,
            Came::Knock(at, Answered::Open) => (Some(at), QueryOutcome::Opened),
            Came::Knock(at, Answered::Closed) => (Some(at), QueryOutcome::Refused),
            Came::Knock(at, Answered::Failed(error)) => {
                (Some(at), QueryOutcome::Failed(format!("port {PORT}: {error}")))
            }
        };
        let is_lane = |open: &mut Open| {
            matches!(open.means, TestMeans::LanePing { .. } | TestMeans::Knock { .. })
        };
        if let Some(open) =
            at.and_then(|at| open.get_mut(at)).and_then(|slot| slot.take_if(is_lane))
        {
            if let (TestMeans::Knock { knock, .. }, QueryOutcome::Opened) = (&open.means, &outcome)
            {
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
enum QueryOutcome {
    Good(Duration),
    /// A port opens.
    Opened,
    Refused,
    /// Somebody says that it does not go on.
    Rejected(String),
    Failed(String),
    Answer(dns::DnsAnswer),
    Web(Option<TaskResult>),
}

fn answer(
    sockets: &mut [(udp::UdpExchange, u16)],
    question: &DnsQuestion,
    ready: impl Fn(usize) -> bool,
) -> Option<QueryOutcome> {
    let mut buffer = [0; MAX_MESSAGE];
    for (n, (socket, id)) in sockets.iter_mut().enumerate() {
        if !ready(n) {
            continue;
        }
        match socket.receive(&mut buffer) {
            Ok(None) => {}
            Ok(Some(bytes)) => match dns::response(bytes, *id, question) {
                Ok(answer) => return Some(QueryOutcome::Answer(answer)),
                Err(Reject::Malformed(why)) => {
                    return Some(QueryOutcome::Failed(format!("broken answer: {why}")));
                }
                Err(Reject::Mismatch(_)) => {}
            },
            Err(e) => return Some(QueryOutcome::Failed(error_text(&e))),
        }
    }
    None
}

/// Puts it where it belongs.
fn put(
    seen: &mut Evidence,
    names: &mut [Answers],
    about: TestSubject,
    outcome: QueryOutcome,
    took: Duration,
) {
    let reply = |outcome: &QueryOutcome| match outcome {
        QueryOutcome::Good(rtt) => TestReply::Got(*rtt),
        QueryOutcome::Failed(why) | QueryOutcome::Rejected(why) => {
            TestReply::Failed(why.as_str().into(), took)
        }
        QueryOutcome::Refused => {
            TestReply::Failed("port 443 is closed, which is an answer".into(), took)
        }
        QueryOutcome::Opened | QueryOutcome::Answer(_) | QueryOutcome::Web(_) => {
            TestReply::Got(took)
        }
    };
    match about {
        TestSubject::Gateway(which) => {
            if let Some(gateway) = way(seen, which).and_then(|way| way.gateway.as_mut()) {
                gateway.ping = reply(&outcome);
            }
        }
        TestSubject::Ping(which, place) | TestSubject::Tcp(which, place) => {
            if let Some(target) = way(seen, which).and_then(|way| way.targets.get_mut(place)) {
                let is_ping = matches!(about, TestSubject::Ping(..));
                target.refused |= matches!(outcome, QueryOutcome::Refused);
                target.rejected |= matches!(outcome, QueryOutcome::Rejected(_));
                *if is_ping { &mut target.ping } else { &mut target.tcp } = reply(&outcome);
            }
        }
        TestSubject::Instead(wan, place) => {
            let other = seen.wans.get_mut(wan).and_then(|wan| wan.instead.get_mut(place));
            if let Some(other) = other.filter(|other| !other.reply.is_good()) {
                other.reply = reply(&outcome);
            }
        }
        TestSubject::Name(server, asked) => {
            let said = match outcome {
                QueryOutcome::Answer(answer) => NameReply::Answer(answer, took),
                QueryOutcome::Failed(why) => NameReply::Nothing(why, took),
                _ => return,
            };
            if let Some(answers) = names.get_mut(server) {
                *match asked {
                    PendingTest::Known => &mut answers.known,
                    PendingTest::Other => &mut answers.other,
                    PendingTest::Invalid => &mut answers.invalid,
                    PendingTest::Near => &mut answers.near,
                } = said;
            }
        }
        TestSubject::Portal(place) => {
            if let Some(portal) = seen.portals.get_mut(place) {
                // Whatever page: somebody out there has sent it, or whoever stands in the way.
                let answered = matches!(outcome, QueryOutcome::Web(Some(TaskResult::Page(Ok(_)))));
                let (reply, instead, date) = page(outcome, took);
                (portal.reply, portal.instead) = (reply, instead);
                seen.main.page |= portal.reply.is_good() || answered;
                seen.ahead = seen.ahead.or(date.map(|date| clock::wall().secs - date));
            }
        }
        TestSubject::External(place) => {
            let Some(external) = seen.externals.get_mut(place) else { return };
            match outcome {
                QueryOutcome::Web(Some(TaskResult::Lookup(Ok(found)))) => {
                    external.reply = TestReply::Got(took);
                    (external.address, external.local) = (Some(found.address), found.local);
                    seen.main.page |= external.source.starts_with("http");
                }
                QueryOutcome::Web(Some(TaskResult::Lookup(Err(e)))) => {
                    external.reply = TestReply::Failed(e.why, took)
                }
                QueryOutcome::Failed(why) => external.reply = TestReply::Failed(why.into(), took),
                _ => external.reply = TestReply::Failed("no answer".into(), took),
            }
        }
    }
}

/// Whether a page came as it should, what came instead, and the server's time.
fn page(outcome: QueryOutcome, took: Duration) -> (TestReply, Option<String>, Option<i64>) {
    let page = match outcome {
        QueryOutcome::Web(Some(TaskResult::Page(Ok(page)))) => page,
        QueryOutcome::Web(Some(TaskResult::Page(Err(why)))) => {
            return (TestReply::Failed(why, took), None, None);
        }
        QueryOutcome::Failed(why) => return (TestReply::Failed(why.into(), took), None, None),
        _ => return (TestReply::Failed("no answer".into(), took), None, None),
    };
    let failed = |why: &str| TestReply::Failed(why.into(), took);
    let instead = match (page.status, &page.location) {
        (204, _) => return (TestReply::Got(took), None, page.date),
        (200, _) if page.empty => return (TestReply::Got(took), None, page.date),
        (300..400, Some(to)) => format!("one that leads to {to}"),
        (200..400, _) | (511, _) => format!("one with HTTP status {}", page.status),
        (status, _) => return (failed(&format!("HTTP status {status}")), None, page.date),
    };
    // The clock of whoever stands in the way says nothing about ours.
    (failed("another page came"), Some(instead), None)
}

fn way(seen: &mut Evidence, which: Which) -> Option<&mut PathEvidence> {
    match which {
        Which::Main => Some(&mut seen.main),
        Which::Wan(place) => seen.wans.get_mut(place).map(|wan| &mut wan.way),
        Which::V6 => seen.v6.as_mut(),
    }
}
