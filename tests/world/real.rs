//! The real kernel's network, in a namespace of this process's own, by netlink: the same requests,
//! lists, lookups and news as [`Kernel`](crate::kernel::Kernel) has, in its types.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use imon::kernel as net;
use imon::kernel::Change;
use socket2::{Domain, Protocol, Socket, Type};

use crate::kernel::{
    Action, Address, Errno, Flow, Hop, Kind, LOOPBACK, Mode, Neighbour, News, Route, Rule, Way,
};

const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
const REPLACE: u16 = 0x100;
const EXCL: u16 = 0x200;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
/// Groups of news, by their numbers: links, addresses, routes, rules of IPv4; addresses, routes,
/// rules of IPv6.
const GROUPS: [libc::c_int; 7] = [1, 5, 7, 8, 9, 11, 19];
const NETLINK_ADD_MEMBERSHIP: libc::c_int = 1;
const NETLINK_GET_STRICT_CHK: libc::c_int = 12;
const LOOKUP_TABLE: u32 = 0x1000;
const FIB_MATCH: u32 = 0x2000;
const CLONED: u32 = 0x200;
/// `NUD_NOARP`.
const NO_ARP: u16 = 0x40;
const SECONDARY: u32 = 0x01;
const NO_DAD: u32 = 0x02;
const NO_PREFIX_ROUTE: u32 = 0x200;

/// The sockets to the kernel.
pub struct Real {
    requests: Socket,
    news: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

/// Leaves the network for one of its own, where nothing is set up yet.
#[allow(unsafe_code, reason = "there is no safe way to change the namespace")]
fn unshare() {
    // SAFETY: no memory is involved.
    let done = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(done, 0, "no namespace: {}", std::io::Error::last_os_error());
}

#[allow(unsafe_code, reason = "there is no safe way to set an option of netlink")]
fn set(socket: &Socket, level: libc::c_int, option: libc::c_int, value: libc::c_int) {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the value lives through the call and its length is given.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length)
    };
    assert_eq!(done, 0, "option {option}: {}", std::io::Error::last_os_error());
}

fn socket() -> Socket {
    let netlink = Domain::from(libc::AF_NETLINK);
    let socket =
        Socket::new(netlink, Type::RAW, Some(Protocol::from(libc::NETLINK_ROUTE))).unwrap();
    set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 1 << 22);
    socket
}

/// A setting under /proc/sys/net.
pub fn sysctl(name: &str, value: &str) {
    let path = format!("/proc/sys/net/{name}");
    std::fs::write(&path, value).unwrap_or_else(|e| panic!("{path}: {e}"));
}

impl Real {
    /// A new namespace with `lo` up, in which another rule of each family has been there for a
    /// moment.
    pub fn new() -> Self {
        unshare();
        let (requests, news) = (socket(), socket());
        set(&requests, libc::SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
        requests.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        for group in GROUPS {
            set(&news, libc::SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group);
        }
        news.set_nonblocking(true).unwrap();
        // Whoever has sent nothing has no address, and hears nothing. This message does nothing
        // (NLMSG_NOOP).
        let nothing = [16_u32.to_ne_bytes(), [1, 0, 0, 0], [0; 4], [0; 4]].concat();
        news.send(&nothing).unwrap();
        let mut real = Self { requests, news, sequence: 0, buffer: vec![0; 1 << 16] };
        for v6 in [false, true] {
            let rule = Rule { v6, protocol: 99, ..Rule::default() };
            real.add_rule(&rule, Some(1), true).unwrap();
            real.remove_rule(&rule, Some(1)).unwrap();
        }
        real.set_up(1, true).unwrap();
        real.take_news();
        real
    }

    /// Sends a request and takes its answers up to the end: messages with their type, flags and
    /// body, or `errno`.
    fn ask(&mut self, mut request: Vec<u8>) -> Result<Vec<Raw>, Errno> {
        self.sequence += 1;
        let length = request.len() as u32;
        request[..4].copy_from_slice(&length.to_ne_bytes());
        request[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        let sent = self.requests.send(&request).unwrap();
        assert_eq!(sent, request.len());
        let mut answers = Vec::new();
        loop {
            let n = self.requests.read(&mut self.buffer).expect("the kernel answers");
            for raw in messages(&self.buffer[..n]) {
                match raw.kind {
                    _ if raw.sequence != self.sequence => {}
                    2 | 3 => {
                        let errno = -i32::from_ne_bytes(raw.body[..4].try_into().unwrap());
                        return if errno == 0 { Ok(answers) } else { Err(errno) };
                    }
                    _ => answers.push(raw),
                }
            }
        }
    }

    /// A change as imon writes it.
    pub fn make(&mut self, change: &Change) -> Result<(), Errno> {
        let mut out = Vec::new();
        imon::wire::rtnetlink::change(change, 0, &mut out);
        self.ask(out).map(drop)
    }

    pub fn add_pair(&mut self, ends: [(u32, &str); 2]) -> Result<(), Errno> {
        let header = |index: u32| [&[0; 4][..], &index.to_ne_bytes(), &[0; 8]].concat();
        let name = |name: &str| attribute(3, &[name.as_bytes(), &[0]].concat());
        let [one, other] = ends;
        let peer = attribute(1, &[header(other.0), name(other.1)].concat());
        let info = [attribute(1, b"veth"), attribute(2, &peer)].concat();
        let body = [header(one.0), name(one.1), attribute(18, &info)].concat();
        self.ask(request(16, ACK | CREATE | EXCL, &body)).map(drop)
    }

    pub fn remove_link(&mut self, index: u32) -> Result<(), Errno> {
        self.ask(request(17, ACK, &[&[0; 4][..], &index.to_ne_bytes(), &[0; 8]].concat())).map(drop)
    }

    pub fn set_up(&mut self, index: u32, up: bool) -> Result<(), Errno> {
        let (flags, mask) = (u32::from(up), 1_u32);
        let body =
            [&[0; 4][..], &index.to_ne_bytes(), &flags.to_ne_bytes(), &mask.to_ne_bytes()].concat();
        self.ask(request(16, ACK, &body)).map(drop)
    }

    pub fn add_address(&mut self, address: &Address) -> Result<(), Errno> {
        self.ask(request(20, ACK | CREATE | EXCL, &address_body(address))).map(drop)
    }

    pub fn remove_address(&mut self, address: &Address) -> Result<(), Errno> {
        self.ask(request(21, ACK, &address_body(address))).map(drop)
    }

    pub fn add_route(&mut self, route: &Route, mode: Mode) -> Result<(), Errno> {
        let flag = |on, flag| if on { flag } else { 0 };
        let flags = flag(mode.create, CREATE)
            | flag(mode.exclusive, EXCL)
            | flag(mode.replace, REPLACE)
            | flag(mode.append, APPEND);
        self.ask(request(24, ACK | flags, &route_body(route, route.kind as u8, route.scope)))
            .map(drop)
    }

    pub fn remove_route(&mut self, route: &Route, exact: bool) -> Result<(), Errno> {
        let (kind, scope) = if exact { (route.kind as u8, route.scope) } else { (0, 255) };
        self.ask(request(25, ACK, &route_body(route, kind, scope))).map(drop)
    }

    pub fn add_rule(
        &mut self,
        rule: &Rule,
        priority: Option<u32>,
        exclusive: bool,
    ) -> Result<(), Errno> {
        let flags = if exclusive { CREATE | EXCL } else { CREATE };
        self.ask(request(32, ACK | flags, &rule_body(rule, priority))).map(drop)
    }

    pub fn remove_rule(&mut self, rule: &Rule, priority: Option<u32>) -> Result<(), Errno> {
        self.ask(request(33, ACK, &rule_body(rule, priority))).map(drop)
    }

    /// Learns of a neighbour, as a person would set it.
    pub fn set_neighbour(&mut self, neighbour: Neighbour) -> Result<(), Errno> {
        let mut body = neighbour_body(neighbour.index, neighbour.address, neighbour.state);
        body.extend(attribute(2, &[2, 0, 0, 0, 0, 9]));
        self.ask(request(28, ACK | CREATE | REPLACE, &body)).map(drop)
    }

    pub fn forget(&mut self, index: u32, address: IpAddr) -> Result<(), Errno> {
        self.ask(request(29, ACK, &neighbour_body(index, address, 0))).map(drop)
    }

    /// As imon asks for it.
    pub fn verify(&mut self, index: u32, address: Ipv4Addr) -> Result<(), Errno> {
        let mut out = Vec::new();
        imon::wire::rtnetlink::verify(index, address, 0, &mut out);
        self.ask(out).map(drop)
    }

    /// Those that are asked for at all: groups of hosts need not be.
    pub fn neighbours(&mut self) -> Vec<Neighbour> {
        let answers = self.ask(request(30, DUMP, &[0; 12])).unwrap();
        let mut all: Vec<_> = answers.iter().filter_map(|raw| neighbour(&raw.body)).collect();
        all.sort_unstable();
        all
    }

    pub fn links(&mut self) -> Vec<net::Link> {
        let answers = self.ask(request(18, DUMP, &[0; 16])).unwrap();
        answers.iter().filter_map(|raw| link(&raw.body)).collect()
    }

    /// Has the kernel do now what it does a moment after a change of links: a question about a
    /// single one makes it look (since Linux 6.8).
    pub fn settle(&mut self) {
        for link in self.links() {
            let body = [&[0; 4][..], &link.index.to_ne_bytes(), &[0; 8]].concat();
            let _ = self.ask(request(18, ACK, &body));
        }
    }

    pub fn addresses(&mut self, v6: bool) -> Vec<Address> {
        let answers = self.ask(request(22, DUMP, &[&[family(v6)][..], &[0; 7]].concat())).unwrap();
        answers.iter().filter_map(|raw| address(&raw.body)).collect()
    }

    pub fn routes(&mut self, v6: bool) -> Vec<Route> {
        let answers = self.ask(request(26, DUMP, &[&[family(v6)][..], &[0; 11]].concat())).unwrap();
        answers.iter().filter_map(|raw| route(&raw.body)).collect()
    }

    pub fn rules(&mut self, v6: bool) -> Vec<Rule> {
        let answers = self.ask(request(34, DUMP, &[&[family(v6)][..], &[0; 11]].concat())).unwrap();
        answers.iter().filter_map(|raw| rule(&raw.body)).collect()
    }

    /// The way of a packet, and the route that was found for it.
    pub fn lookup(&mut self, flow: &Flow) -> (Result<Way, Errno>, Result<Route, Errno>) {
        // IPv6 always says the table.
        let table = if flow.to.is_ipv6() { 0 } else { LOOKUP_TABLE };
        let answer = self.ask(request(26, ACK, &flow_body(flow, table)));
        let way = answer.map(|answers| way(&answers.first().unwrap().body));
        let answer = self.ask(request(26, ACK, &flow_body(flow, table | FIB_MATCH)));
        (way, answer.map(|answers| route(&answers.first().unwrap().body).unwrap()))
    }

    /// What was told since the last time.
    pub fn take_news(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        while let Ok(n) = self.news.read(&mut self.buffer) {
            news.extend(messages(&self.buffer[..n]).iter().filter_map(news_of));
        }
        news
    }
}

fn news_of(raw: &Raw) -> Option<News> {
    let body = &raw.body;
    Some(match raw.kind {
        16 => News::Link(link(body)?),
        17 => News::NoLink(link(body)?),
        20 => News::Address(address(body)?),
        21 => News::NoAddress(address(body)?),
        24 => News::Route(route(body)?, raw.flags & REPLACE != 0),
        25 => News::NoRoute(route(body)?),
        32 => News::Rule(rule(body)?),
        33 => News::NoRule(rule(body)?),
        _ => return None,
    })
}

/// A message as it came.
struct Raw {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: Vec<u8>,
}

fn messages(mut bytes: &[u8]) -> Vec<Raw> {
    let mut all = Vec::new();
    while bytes.len() >= 16 {
        let length = u32_at(bytes, 0) as usize;
        let (kind, flags, sequence) = (u16_at(bytes, 4), u16_at(bytes, 6), u32_at(bytes, 8));
        all.push(Raw { kind, flags, sequence, body: bytes[16..length].to_vec() });
        bytes = bytes.get((length + 3) & !3..).unwrap_or_default();
    }
    all
}

fn request(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 16];
    out[4..6].copy_from_slice(&kind.to_ne_bytes());
    out[6..8].copy_from_slice(&(REQUEST | flags).to_ne_bytes());
    out.extend(body);
    out
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = value.len() as u16 + 4;
    let mut out = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    out.resize((out.len() + 3) & !3, 0);
    out
}

fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut all = Vec::new();
    while bytes.len() >= 4 {
        let length = usize::from(u16_at(bytes, 0));
        all.push((u16_at(bytes, 2) & 0x3fff, &bytes[4..length]));
        bytes = bytes.get((length + 3) & !3..).unwrap_or_default();
    }
    all
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn family(v6: bool) -> u8 {
    if v6 { libc::AF_INET6 as u8 } else { libc::AF_INET as u8 }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn ip(bytes: &[u8]) -> IpAddr {
    match bytes.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).unwrap()).into(),
        _ => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).unwrap()).into(),
    }
}

fn small_table(table: u32) -> u8 {
    u8::try_from(table).unwrap_or(0)
}

fn address_body(a: &Address) -> Vec<u8> {
    let mut flags: u32 = if a.no_prefix_route { NO_PREFIX_ROUTE } else { 0 };
    if a.address.is_ipv6() {
        flags |= NO_DAD;
    }
    let mut out = vec![family(a.address.is_ipv6()), a.prefix, 0, a.scope];
    out.extend(a.index.to_ne_bytes());
    out.extend(attribute(2, &octets(a.address)));
    out.extend(attribute(1, &octets(a.base())));
    if let Some(broadcast) = a.broadcast {
        out.extend(attribute(4, &broadcast.octets()));
    }
    if flags != 0 {
        out.extend(attribute(8, &flags.to_ne_bytes()));
    }
    if a.metric != 0 {
        out.extend(attribute(9, &a.metric.to_ne_bytes()));
    }
    out
}

/// `struct ndmsg`: family, padding, interface, state, flags, type.
fn neighbour_body(index: u32, address: IpAddr, state: u16) -> Vec<u8> {
    let mut out = vec![family(address.is_ipv6()), 0, 0, 0];
    out.extend(index.to_ne_bytes());
    out.extend(state.to_ne_bytes());
    out.extend([0; 2]);
    out.extend(attribute(1, &octets(address)));
    out
}

fn neighbour(body: &[u8]) -> Option<Neighbour> {
    let address =
        attributes(&body[12..]).iter().find(|(kind, _)| *kind == 1).map(|(_, value)| ip(value))?;
    let state = u16_at(body, 8);
    (state & NO_ARP == 0).then_some(Neighbour { index: u32_at(body, 4), address, state })
}

fn route_body(r: &Route, kind: u8, scope: u8) -> Vec<u8> {
    let single = if let [hop] = r.hops.as_slice() { Some(hop) } else { None };
    let flags: u32 = if single.is_some_and(|h| h.onlink) { 4 } else { 0 };
    let v6 = r.destination.is_ipv6();
    let mut out =
        vec![family(v6), r.prefix, 0, r.tos, small_table(r.table), r.protocol, scope, kind];
    out.extend(flags.to_ne_bytes());
    out.extend(attribute(15, &r.table.to_ne_bytes()));
    if r.prefix > 0 {
        out.extend(attribute(1, &octets(r.destination)));
    }
    if r.metric != 0 {
        out.extend(attribute(6, &r.metric.to_ne_bytes()));
    }
    if let Some(source) = r.source {
        out.extend(attribute(7, &octets(source)));
    }
    match single {
        Some(hop) => out.extend(hop_attributes(hop)),
        None if r.hops.is_empty() => {}
        None => {
            let hops = r.hops.iter().flat_map(|hop| {
                let gateway = hop.gateway.map(|g| attribute(5, &octets(g))).unwrap_or_default();
                let length = 8 + gateway.len() as u16;
                let head = [
                    &length.to_ne_bytes()[..],
                    &[if hop.onlink { 4 } else { 0 }, hop.weight],
                    &hop.index.to_ne_bytes(),
                ];
                [head.concat(), gateway].concat()
            });
            out.extend(attribute(9, &hops.collect::<Vec<u8>>()));
        }
    }
    out
}

fn hop_attributes(hop: &Hop) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(gateway) = hop.gateway {
        out.extend(attribute(5, &octets(gateway)));
    }
    if hop.index != 0 {
        out.extend(attribute(4, &hop.index.to_ne_bytes()));
    }
    out
}

fn rule_body(r: &Rule, priority: Option<u32>) -> Vec<u8> {
    let length = |of: Option<(IpAddr, u8)>| of.map_or(0, |(_, length)| length);
    let (table, action) = match r.action {
        Action::Table(table) => (table, 1),
        Action::Blackhole => (0, 6),
        Action::Unreachable => (0, 7),
        Action::Prohibit => (0, 8),
    };
    let flags: u32 = if r.inverted { 2 } else { 0 };
    let mut out = vec![
        family(r.v6),
        length(r.destination),
        length(r.source),
        r.tos,
        small_table(table),
        0,
        0,
        action,
    ];
    out.extend(flags.to_ne_bytes());
    let mut add = |kind, value: &[u8]| out.extend(attribute(kind, value));
    if table != 0 {
        add(15, &table.to_ne_bytes());
    }
    for (kind, network) in [(2, r.source), (1, r.destination)] {
        if let Some((address, _)) = network {
            add(kind, &octets(address));
        }
    }
    for (kind, name) in [(3, &r.incoming), (17, &r.device)] {
        if let Some(name) = name {
            add(kind, &[name.as_bytes(), &[0]].concat());
        }
    }
    if let Some(priority) = priority {
        add(6, &priority.to_ne_bytes());
    }
    if r.mask != 0 {
        add(10, &r.mark.to_ne_bytes());
        add(16, &r.mask.to_ne_bytes());
    }
    if r.protocol != 0 {
        add(21, &[r.protocol]);
    }
    if r.ip_protocol != 0 {
        add(22, &[r.ip_protocol]);
    }
    for (kind, range) in [(23, &r.source_port), (24, &r.port)] {
        if let Some(range) = range {
            add(kind, &[range.start().to_ne_bytes(), range.end().to_ne_bytes()].concat());
        }
    }
    if let Some(most) = r.suppress {
        add(14, &most.to_ne_bytes());
    }
    out
}

fn flow_body(flow: &Flow, flags: u32) -> Vec<u8> {
    let v6 = flow.to.is_ipv6();
    let bits = if v6 { 128 } else { 32 };
    let mut out =
        vec![family(v6), bits, if flow.from.is_some() { bits } else { 0 }, flow.tos, 0, 0, 0, 0];
    out.extend(flags.to_ne_bytes());
    out.extend(attribute(1, &octets(flow.to)));
    if let Some(from) = flow.from {
        out.extend(attribute(2, &octets(from)));
    }
    if flow.device != 0 {
        out.extend(attribute(4, &flow.device.to_ne_bytes()));
    }
    if flow.incoming != LOOPBACK {
        out.extend(attribute(3, &flow.incoming.to_ne_bytes()));
    }
    if flow.mark != 0 {
        out.extend(attribute(16, &flow.mark.to_ne_bytes()));
    }
    if flow.protocol != 0 {
        out.extend(attribute(27, &[flow.protocol]));
    }
    for (kind, port) in [(28, flow.source_port), (29, flow.port)] {
        if port != 0 {
            out.extend(attribute(kind, &port.to_be_bytes()));
        }
    }
    out
}

fn link(body: &[u8]) -> Option<net::Link> {
    if body[0] != 0 {
        return None;
    }
    let flags = u32_at(body, 8);
    let mut link = net::Link {
        index: u32_at(body, 4),
        up: flags & 1 != 0,
        carrier: flags & 0x10000 != 0,
        ..net::Link::default()
    };
    for (kind, value) in attributes(&body[16..]) {
        match kind {
            3 => link.name = text(value),
            10 => link.master = u32_at(value, 0),
            _ => {}
        }
    }
    Some(link)
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.split(|b| *b == 0).next().unwrap_or_default()).into_owned()
}

fn address(body: &[u8]) -> Option<Address> {
    let mut flags = u32::from(body[2]);
    let (mut local, mut base, mut broadcast, mut metric) = (None, None, None, 0);
    for (kind, value) in attributes(&body[8..]) {
        match kind {
            1 => base = Some(ip(value)),
            2 => local = Some(ip(value)),
            4 => broadcast = if let IpAddr::V4(ip) = ip(value) { Some(ip) } else { None },
            8 => flags = u32_at(value, 0),
            9 => metric = u32_at(value, 0),
            _ => {}
        }
    }
    let address = local.or(base)?;
    Some(Address {
        index: u32_at(body, 4),
        address,
        peer: base.filter(|base| *base != address),
        prefix: body[1],
        scope: body[3],
        broadcast,
        secondary: flags & SECONDARY != 0,
        no_prefix_route: flags & NO_PREFIX_ROUTE != 0,
        metric,
    })
}

fn hop(flags: u8) -> Hop {
    Hop {
        onlink: flags & 4 != 0,
        dead: flags & 1 != 0,
        linkdown: flags & 16 != 0,
        ..Hop::default()
    }
}

fn route(body: &[u8]) -> Option<Route> {
    let flags = u32_at(body, 8);
    if flags & CLONED != 0 {
        return None;
    }
    let unspecified: IpAddr = if body[0] == family(true) { [0; 16].into() } else { [0; 4].into() };
    let mut route = Route {
        table: u32::from(body[4]),
        destination: unspecified,
        prefix: body[1],
        tos: body[3],
        metric: 0,
        kind: *Kind::ALL.iter().find(|kind| **kind as u8 == body[7])?,
        scope: body[6],
        protocol: body[5],
        source: None,
        hops: Vec::new(),
    };
    let mut only = hop(flags as u8);
    for (kind, value) in attributes(&body[12..]) {
        match kind {
            1 => route.destination = ip(value),
            4 => only.index = u32_at(value, 0),
            5 => only.gateway = Some(ip(value)),
            6 => route.metric = u32_at(value, 0),
            7 => route.source = Some(ip(value)),
            9 => route.hops = hops(value),
            15 => route.table = u32_at(value, 0),
            _ => {}
        }
    }
    if route.hops.is_empty() && only.index != 0 {
        route.hops.push(only);
    }
    Some(route)
}

fn hops(mut bytes: &[u8]) -> Vec<Hop> {
    let mut all = Vec::new();
    while bytes.len() >= 8 {
        let length = usize::from(u16_at(bytes, 0));
        let gateway = attributes(&bytes[8..length])
            .iter()
            .find(|(kind, _)| *kind == 5)
            .map(|(_, value)| ip(value));
        all.push(Hop { index: u32_at(bytes, 4), weight: bytes[3], gateway, ..hop(bytes[2]) });
        bytes = bytes.get((length + 3) & !3..).unwrap_or_default();
    }
    all
}

fn rule(body: &[u8]) -> Option<Rule> {
    let mut table = u32::from(body[4]);
    let mut rule = Rule {
        v6: body[0] == family(true),
        inverted: u32_at(body, 8) & 2 != 0,
        tos: body[3],
        ..Rule::default()
    };
    let range = |value: &[u8]| Some(u16_at(value, 0)..=u16_at(value, 2));
    for (kind, value) in attributes(&body[12..]) {
        match kind {
            1 => rule.destination = Some((ip(value), body[1])),
            2 => rule.source = Some((ip(value), body[2])),
            3 => rule.incoming = Some(text(value)),
            6 => rule.priority = u32_at(value, 0),
            10 => rule.mark = u32_at(value, 0),
            14 => rule.suppress = Some(u32_at(value, 0)).filter(|most| *most != u32::MAX),
            15 => table = u32_at(value, 0),
            16 => rule.mask = u32_at(value, 0),
            17 => rule.device = Some(text(value)),
            21 => rule.protocol = value[0],
            22 => rule.ip_protocol = value[0],
            23 => rule.source_port = range(value),
            24 => rule.port = range(value),
            _ => {}
        }
    }
    rule.action = match body[7] {
        1 => Action::Table(table),
        6 => Action::Blackhole,
        7 => Action::Unreachable,
        8 => Action::Prohibit,
        _ => return None,
    };
    Some(rule)
}

/// The way; the route is asked for separately.
fn way(body: &[u8]) -> Way {
    let mut way = Way {
        route: None,
        table: u32::from(body[4]),
        kind: *Kind::ALL.iter().find(|kind| **kind as u8 == body[7]).unwrap(),
        index: 0,
        gateway: None,
        source: None,
    };
    for (kind, value) in attributes(&body[12..]) {
        match kind {
            4 => way.index = u32_at(value, 0),
            5 => way.gateway = Some(ip(value)),
            7 => way.source = Some(ip(value)),
            15 => way.table = u32_at(value, 0),
            _ => {}
        }
    }
    way
}
