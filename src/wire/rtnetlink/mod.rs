//! The kernel's route messages (rtnetlink(7)): from bytes to the values of [`crate::kernel`] and
//! back. Everything is in the byte order of the machine, and every piece begins at a multiple of
//! four bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::netlink::{
    DONE, DUMP, ERROR, HEADER, REQUEST, aligned, attribute, attributes, begin, finish, ip, u16_at,
    u32_at,
};
use crate::kernel::news::{Default6, Message, Neighbour, News};
use crate::kernel::{Address, Change, Hop, Link, MAIN, Nexthop, Route, Rule};

/// `struct rtmsg` and `struct fib_rule_hdr`.
const ROUTE_HEADER: usize = 12;
/// `struct ifinfomsg`.
const LINK_HEADER: usize = 16;
/// `struct ifaddrmsg`.
const ADDRESS_HEADER: usize = 8;
/// `struct rtnexthop`.
const HOP_HEADER: usize = 8;

const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const GETLINK: u16 = 18;
const NEWADDR: u16 = 20;
const DELADDR: u16 = 21;
const GETADDR: u16 = 22;
const NEWROUTE: u16 = 24;
const DELROUTE: u16 = 25;
const GETROUTE: u16 = 26;
const NEWNEIGH: u16 = 28;
const DELNEIGH: u16 = 29;
const GETNEIGH: u16 = 30;
const NEWRULE: u16 = 32;
const DELRULE: u16 = 33;
const GETRULE: u16 = 34;
const NEWNEXTHOP: u16 = 104;
const DELNEXTHOP: u16 = 105;
const GETNEXTHOP: u16 = 106;

const ACK: u16 = 0x4;
const DUMP_INTR: u16 = 0x10;
const REPLACE: u16 = 0x100;
const EXCL: u16 = 0x200;
const CREATE: u16 = 0x400;
/// On an answer: the request is cut short in it, and attributes follow.
const CAPPED: u16 = 0x100;
const ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;

const UNICAST: u8 = 1;
/// `RTN_BLACKHOLE`, `RTN_UNREACHABLE`, `RTN_PROHIBIT`, and their actions of rules.
const NOWHERE: std::ops::RangeInclusive<u8> = 6..=8;
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_LINK: u8 = 253;
const CLONED: u32 = 0x200;
const LOOKUP_TABLE: u32 = 0x1000;
const FIB_MATCH: u32 = 0x2000;
const HOP_DEAD: u8 = 1;
const HOP_ONLINK: u8 = 4;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_NH_ID: u16 = 30;

/// `struct nhmsg`, and `struct nexthop_grp`.
const NEXTHOP_HEADER: usize = 8;
const MEMBER: usize = 8;
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_SECONDARY: u32 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
/// Kinds of links that are tunnels, by how their names begin.
const TUNNELS: [&[u8]; 16] = [
    b"tun",
    b"wireguard",
    b"ppp",
    b"gre",
    b"ipip",
    b"sit",
    b"vti",
    b"xfrm",
    b"ip6tnl",
    b"ip6gre",
    b"vxlan",
    b"geneve",
    b"gtp",
    b"l2tp",
    b"erspan",
    b"ovpn",
];

const NDA_DST: u16 = 1;
/// `struct ndmsg`.
const NEIGHBOUR_HEADER: usize = 12;
const NUD_INCOMPLETE: u16 = 0x01;
const NUD_REACHABLE: u16 = 0x02;
const NUD_PROBE: u16 = 0x10;
const NUD_FAILED: u16 = 0x20;
const NUD_PERMANENT: u16 = 0xc0;

const FRA_DST: u16 = 1;
const FRA_SRC: u16 = 2;
const FRA_IIFNAME: u16 = 3;
const FRA_GOTO: u16 = 4;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_OIFNAME: u16 = 17;
const FRA_SUPPRESS_IFGROUP: u16 = 13;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const FRA_PROTOCOL: u16 = 21;
const FRA_IP_PROTO: u16 = 22;
const FRA_DPORT_RANGE: u16 = 24;
/// Since Linux 6.15: which bits of the port count.
const FRA_DPORT_MASK: u16 = 29;
const TO_TABLE: u8 = 1;
const RULE_INVERT: u32 = 2;

/// The messages of a datagram. Ends at the first that is cut short.
pub fn messages(bytes: &[u8]) -> impl Iterator<Item = Message> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(rest, 0)?).ok().filter(|n| *n >= HEADER)?;
        let message = rest.get(..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        let flags = u16_at(message, 6)?;
        let body = message.get(HEADER..)?;
        let news = read(u16_at(message, 4)?, flags, body).unwrap_or(News::Other);
        let (interrupted, replaces) = (flags & DUMP_INTR != 0, flags & REPLACE != 0);
        Some(Message { sequence: u32_at(message, 8)?, interrupted, replaces, news })
    })
}

fn read(kind: u16, flags: u16, body: &[u8]) -> Option<News> {
    let ip4 = body.first() == Some(&(libc::AF_INET as u8));
    Some(match kind {
        NEWLINK => News::Link(link(body)?),
        DELLINK => News::NoLink(u32_at(body, 4)?),
        NEWADDR if ip4 => News::Address(address(body)?),
        DELADDR if ip4 => News::NoAddress(address(body)?),
        NEWROUTE if ip4 => News::Route(route(body)?),
        DELROUTE if ip4 => News::NoRoute(route(body)?),
        NEWROUTE => News::Default6(default6(body)?),
        DELROUTE => News::NoDefault6(default6(body)?),
        NEWNEIGH => News::Neighbour(neighbour(body)?),
        NEWRULE if ip4 => News::Rule(rule(body)?),
        DELRULE if ip4 => News::NoRule(rule(body)?),
        NEWNEXTHOP => News::Nexthop(nexthop(body)?),
        DELNEXTHOP => News::NoNexthop(nexthop(body)?.id),
        DONE | ERROR => {
            let errno = u32_at(body, 0)?.cast_signed().checked_neg().unwrap_or(0);
            News::End(errno, if kind == ERROR { words(flags, body) } else { None })
        }
        _ => return None,
    })
}

/// The kernel's own words for an error, `Nexthop has invalid gateway`. They follow a copy of the
/// request.
fn words(flags: u16, body: &[u8]) -> Option<String> {
    if flags & ACK_TLVS == 0 {
        return None;
    }
    let quoted = if flags & CAPPED == 0 { usize::try_from(u32_at(body, 4)?).ok()? } else { HEADER };
    let rest = body.get(4_usize.checked_add(aligned(quoted))?..)?;
    let text = attributes(rest).find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG)?.1;
    let text = text.split(|b| *b == 0).next()?;
    Some(String::from_utf8_lossy(text).into_owned())
}

fn link(body: &[u8]) -> Option<Link> {
    // A bridge tells of its ports in messages of a family of its own, which lack most.
    if *body.first()? != libc::AF_UNSPEC as u8 {
        return None;
    }
    let flags = u32_at(body, 8)?;
    let (mut name, mut master, mut kind) = (None, 0, &[][..]);
    for (attribute, value) in attributes(body.get(LINK_HEADER..)?) {
        match attribute {
            IFLA_IFNAME => name = value.split(|b| *b == 0).next(),
            IFLA_MASTER => master = u32_at(value, 0)?,
            IFLA_LINKINFO => {
                kind = attributes(value)
                    .find(|(kind, _)| *kind == IFLA_INFO_KIND)
                    .map_or(kind, |(_, value)| value);
            }
            _ => {}
        }
    }
    let name = name?;
    let has = |flag: libc::c_int| flags & flag.cast_unsigned() != 0;
    let point_to_point = has(libc::IFF_POINTOPOINT);
    Some(Link {
        tunnel: point_to_point || TUNNELS.iter().any(|tunnel| kind.starts_with(tunnel)),
        master,
        index: u32_at(body, 4)?,
        name: String::from_utf8_lossy(name).into_owned(),
        up: has(libc::IFF_UP),
        carrier: has(libc::IFF_LOWER_UP),
        point_to_point,
    })
}

fn address(body: &[u8]) -> Option<Address> {
    let mut flags = u32::from(*body.get(2)?);
    let (mut local, mut other) = (None, None);
    for (kind, value) in attributes(body.get(ADDRESS_HEADER..)?) {
        match kind {
            IFA_LOCAL => local = ip(value),
            IFA_ADDRESS => other = ip(value),
            IFA_FLAGS => flags = u32_at(value, 0)?,
            _ => {}
        }
    }
    let address = local.or(other)?;
    Some(Address {
        index: u32_at(body, 4)?,
        address,
        peer: other.filter(|peer| *peer != address),
        prefix: (*body.get(1)?).min(32),
        local: *body.get(3)? != SCOPE_UNIVERSE,
        secondary: flags & IFA_SECONDARY != 0,
    })
}

fn route(body: &[u8]) -> Option<Route> {
    let flags = u32_at(body, 8)?;
    let kind = *body.get(7)?;
    let nowhere = NOWHERE.contains(&kind);
    if !(kind == UNICAST || nowhere) || flags & CLONED != 0 {
        return None;
    }
    let mut route = Route {
        table: u32::from(*body.get(4)?),
        destination: Ipv4Addr::UNSPECIFIED,
        prefix: (*body.get(1)?).min(32),
        metric: 0,
        protocol: *body.get(5)?,
        tos: *body.get(3)?,
        source: None,
        hops: Vec::new(),
        nexthop: 0,
    };
    let hop_flags = (flags & 0xff) as u8;
    let mut hop = Hop {
        index: 0,
        gateway: None,
        onlink: hop_flags & HOP_ONLINK != 0,
        dead: hop_flags & HOP_DEAD != 0,
    };
    for (kind, value) in attributes(body.get(ROUTE_HEADER..)?) {
        match kind {
            RTA_DST => route.destination = ip(value)?,
            RTA_OIF => hop.index = u32_at(value, 0)?,
            RTA_GATEWAY => hop.gateway = ip(value),
            RTA_PRIORITY => route.metric = u32_at(value, 0)?,
            RTA_PREFSRC => route.source = ip(value),
            RTA_TABLE => route.table = u32_at(value, 0)?,
            RTA_MULTIPATH => route.hops = hops(value),
            RTA_NH_ID => route.nexthop = u32_at(value, 0)?,
            // A gateway of IPv6, an encapsulation: the device tells enough.
            _ => {}
        }
    }
    if route.hops.is_empty() && !nowhere {
        route.hops.push(hop);
    }
    Some(route)
}

fn hops(bytes: &[u8]) -> Vec<Hop> {
    let hop = |(index, flags, gateway): (u32, u8, Option<&[u8]>)| Hop {
        index,
        gateway: gateway.and_then(ip),
        onlink: flags & HOP_ONLINK != 0,
        dead: flags & HOP_DEAD != 0,
    };
    hops_of(bytes).map(hop).collect()
}

/// The ways out of a multipath route (`struct rtnexthop`): interface, flags, gateway. Ends at the
/// first that is cut short.
fn hops_of(mut bytes: &[u8]) -> impl Iterator<Item = (u32, u8, Option<&[u8]>)> {
    std::iter::from_fn(move || {
        let length = u16_at(bytes, 0).map(usize::from).filter(|n| *n >= HOP_HEADER)?;
        let (hop, flags, index) = (bytes.get(..length)?, *bytes.get(2)?, u32_at(bytes, 4)?);
        let gateway = attributes(hop.get(HOP_HEADER..)?).find(|(kind, _)| *kind == RTA_GATEWAY);
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
        Some((index, flags, gateway.map(|(_, value)| value)))
    })
}

fn nexthop(body: &[u8]) -> Option<Nexthop> {
    let flags = (u32_at(body, 4)? & 0xff) as u8;
    let mut nexthop = Nexthop::default();
    let (mut index, mut gateway) = (0, None);
    for (kind, value) in attributes(body.get(NEXTHOP_HEADER..)?) {
        match kind {
            NHA_ID => nexthop.id = u32_at(value, 0)?,
            NHA_OIF => index = u32_at(value, 0)?,
            NHA_GATEWAY => gateway = ip(value),
            NHA_GROUP => {
                nexthop.group =
                    value.chunks_exact(MEMBER).filter_map(|member| u32_at(member, 0)).collect()
            }
            _ => {}
        }
    }
    let hop = Hop { index, gateway, onlink: flags & HOP_ONLINK != 0, dead: flags & HOP_DEAD != 0 };
    nexthop.hop = (index != 0).then_some(hop);
    Some(nexthop)
}

fn default6(body: &[u8]) -> Option<Default6> {
    let is_ip6 = *body.first()? == libc::AF_INET6 as u8;
    if !is_ip6 || *body.get(1)? != 0 || *body.get(7)? != UNICAST || u32_at(body, 8)? & CLONED != 0 {
        return None;
    }
    let mut d = Default6 {
        table: u32::from(*body.get(4)?),
        metric: 0,
        protocol: *body.get(5)?,
        hops: Vec::new(),
    };
    let (mut index, mut gateway) = (0, None);
    for (kind, value) in attributes(body.get(ROUTE_HEADER..)?) {
        match kind {
            RTA_GATEWAY => gateway = ip6(value),
            RTA_TABLE => d.table = u32_at(value, 0)?,
            RTA_PRIORITY => d.metric = u32_at(value, 0)?,
            RTA_OIF => index = u32_at(value, 0)?,
            RTA_MULTIPATH => {
                d.hops = hops_of(value)
                    .map(|(index, _, gateway)| (index, gateway.and_then(ip6)))
                    .collect()
            }
            _ => {}
        }
    }
    if d.hops.is_empty() {
        d.hops.push((index, gateway));
    }
    Some(d)
}

fn ip6(bytes: &[u8]) -> Option<Ipv6Addr> {
    bytes.first_chunk().map(|b: &[u8; 16]| Ipv6Addr::from(*b))
}

fn neighbour(body: &[u8]) -> Option<Neighbour> {
    let state = u16_at(body, 8)?;
    let destination =
        attributes(body.get(NEIGHBOUR_HEADER..)?).find(|(kind, _)| *kind == NDA_DST)?.1;
    let address = match destination.len() {
        4 => IpAddr::V4(ip(destination)?),
        _ => IpAddr::V6(Ipv6Addr::from(*destination.first_chunk::<16>()?)),
    };
    Some(Neighbour {
        index: u32_at(body, 4)?,
        address,
        answers: state & (NUD_REACHABLE | NUD_PERMANENT) != 0,
        silent: state & (NUD_INCOMPLETE | NUD_PROBE | NUD_FAILED) != 0,
    })
}

fn rule(body: &[u8]) -> Option<Rule> {
    let action = *body.get(7)?;
    let mut rule = Rule {
        table: u32::from(*body.get(4)?),
        nowhere: NOWHERE.contains(&action),
        inverted: u32_at(body, 8)? & RULE_INVERT != 0,
        source_length: (*body.get(2)?).min(32),
        destination_length: (*body.get(1)?).min(32),
        // A type of service, or an action that is neither a table nor an end.
        special: *body.get(3)? != 0 || !(action == TO_TABLE || NOWHERE.contains(&action)),
        ..Rule::default()
    };
    let mut mask = 0;
    for (kind, value) in attributes(body.get(ROUTE_HEADER..)?) {
        match kind {
            FRA_SRC => rule.source = ip(value),
            FRA_DST => rule.destination = ip(value),
            FRA_IP_PROTO => rule.ip_protocol = *value.first()?,
            FRA_DPORT_RANGE if u16_at(value, 0) == u16_at(value, 2) => {
                rule.port = u16_at(value, 0)?
            }
            FRA_OIFNAME => {
                let name = value.split(|b| *b == 0).next()?;
                rule.device = Some(String::from_utf8_lossy(name).into_owned());
            }
            FRA_PRIORITY => rule.priority = u32_at(value, 0)?,
            FRA_TABLE => rule.table = u32_at(value, 0)?,
            FRA_PROTOCOL => rule.protocol = *value.first()?,
            // All bits set: there is none.
            FRA_SUPPRESS_PREFIXLEN => rule.suppress = u32_at(value, 0).filter(|n| *n != u32::MAX),
            FRA_DPORT_MASK if u16_at(value, 0) == Some(u16::MAX) => {}
            FRA_SUPPRESS_IFGROUP if u32_at(value, 0) == Some(u32::MAX) => {}
            FRA_FWMARK => rule.mark = u32_at(value, 0)?,
            FRA_FWMASK => mask = u32_at(value, 0)?,
            FRA_IIFNAME | FRA_GOTO => rule.special = true,
            // Padding, realms, and conditions that this does not know: interfaces, ports, users,
            // tunnels.
            0 | 5 | 7..=9 | 11 | 18 => {}
            _ => rule.special = true,
        }
    }
    // Some bits of the mark, or that they are zero.
    rule.special |= mask != 0 && (mask != u32::MAX || rule.mark == 0);
    if rule.source.is_none() {
        rule.source_length = 0;
    }
    if rule.destination.is_none() {
        rule.destination_length = 0;
    }
    if action != TO_TABLE {
        rule.table = 0;
    }
    Some(rule)
}

/// What can be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Query {
    /// All interfaces.
    Links,
    /// The interface of this number.
    Link(u32),
    /// All IPv4 addresses.
    Addresses,
    /// All IPv4 routes of all tables.
    Routes,
    /// IPv4 routes of the table main over the interface of this number. Kernels before 4.20 answer
    /// with all of all tables.
    RoutesOver(u32),
    /// All IPv6 routes of all tables.
    Routes6,
    /// All IPv4 rules.
    Rules,
    /// All next-hop objects.
    Nexthops,
    /// All neighbours of all interfaces, of both families.
    Neighbours,
    /// The route that the kernel would use for this destination, with the table it is in.
    Way(Ipv4Addr),
}

/// Writes a request into `out`, replacing what is there.
pub fn query(query: Query, sequence: u32, out: &mut Vec<u8>) {
    let (kind, flags) = match query {
        Query::Links => (GETLINK, DUMP),
        Query::Link(_) => (GETLINK, 0),
        Query::Addresses => (GETADDR, DUMP),
        Query::Routes | Query::Routes6 | Query::RoutesOver(_) => (GETROUTE, DUMP),
        Query::Rules => (GETRULE, DUMP),
        Query::Nexthops => (GETNEXTHOP, DUMP),
        Query::Neighbours => (GETNEIGH, DUMP),
        Query::Way(_) => (GETROUTE, 0),
    };
    begin(out, kind, REQUEST | flags, sequence);
    match query {
        Query::Links => out.extend([0; LINK_HEADER]),
        Query::Link(index) => {
            out.extend([0; 4]);
            out.extend(index.to_ne_bytes());
            out.extend([0; 8]);
        }
        Query::Addresses => family(out, libc::AF_INET, ADDRESS_HEADER),
        Query::Routes | Query::Rules => family(out, libc::AF_INET, ROUTE_HEADER),
        Query::RoutesOver(index) => {
            out.extend([libc::AF_INET as u8, 0, 0, 0, small_table(MAIN), 0, 0, 0, 0, 0, 0, 0]);
            attribute(out, RTA_OIF, &index.to_ne_bytes());
        }
        Query::Routes6 => family(out, libc::AF_INET6, ROUTE_HEADER),
        Query::Nexthops => out.extend([0; NEXTHOP_HEADER]),
        Query::Neighbours => out.extend([0; NEIGHBOUR_HEADER]),
        Query::Way(to) => {
            out.extend([libc::AF_INET as u8, 32, 0, 0, 0, 0, 0, 0]);
            out.extend((LOOKUP_TABLE | FIB_MATCH).to_ne_bytes());
            attribute(out, RTA_DST, &to.octets());
        }
    }
    finish(out);
}

/// Writes the request to forget what is known of a neighbour's link address into `out`, replacing
/// what is there. The kernel answers with [`News::End`].
pub fn forget(index: u32, neighbour: Ipv4Addr, sequence: u32, out: &mut Vec<u8>) {
    begin(out, DELNEIGH, REQUEST | ACK, sequence);
    about(index, neighbour, 0, out);
}

/// Writes the request to find out now whether a known neighbour still answers, as [`forget`]. The
/// kernel asks it three times within as many seconds (`ucast_solicit`, `retrans_time_ms`).
pub fn verify(index: u32, neighbour: Ipv4Addr, sequence: u32, out: &mut Vec<u8>) {
    begin(out, NEWNEIGH, REQUEST | ACK | REPLACE, sequence);
    about(index, neighbour, NUD_PROBE, out);
}

/// `struct ndmsg`: family, padding, interface, state, flags, type.
fn about(index: u32, neighbour: Ipv4Addr, state: u16, out: &mut Vec<u8>) {
    out.extend([libc::AF_INET as u8, 0, 0, 0]);
    out.extend(index.to_ne_bytes());
    out.extend(state.to_ne_bytes());
    out.extend([0; 2]);
    attribute(out, NDA_DST, &neighbour.octets());
    finish(out);
}

/// Writes the request to make a change into `out`, replacing what is there. The kernel answers with
/// [`News::End`].
pub fn change(change: &Change, sequence: u32, out: &mut Vec<u8>) {
    let (kind, flags) = match change {
        Change::Replace(_) => (NEWROUTE, CREATE | REPLACE),
        Change::RemoveRoute(_) => (DELROUTE, 0),
        Change::AddRule(_) => (NEWRULE, CREATE | EXCL),
        Change::AppendRule(_) => (NEWRULE, CREATE),
        Change::RemoveRule(_) => (DELRULE, 0),
    };
    begin(out, kind, REQUEST | ACK | flags, sequence);
    match change {
        Change::Replace(r) | Change::RemoveRoute(r) => write_route(out, r),
        Change::AddRule(r) | Change::AppendRule(r) | Change::RemoveRule(r) => write_rule(out, r),
    }
    finish(out);
}

fn write_route(out: &mut Vec<u8>, r: &Route) {
    let hop = r.hop();
    // What has no gateway is on the link.
    let scope = if hop.is_some_and(|h| h.gateway.is_some()) { SCOPE_UNIVERSE } else { SCOPE_LINK };
    let flags = if hop.is_some_and(|h| h.onlink) { u32::from(HOP_ONLINK) } else { 0 };
    out.extend([
        libc::AF_INET as u8,
        r.prefix,
        0,
        r.tos,
        small_table(r.table),
        r.protocol,
        scope,
        UNICAST,
    ]);
    out.extend(flags.to_ne_bytes());
    if r.prefix > 0 {
        attribute(out, RTA_DST, &r.destination.octets());
    }
    attribute(out, RTA_TABLE, &r.table.to_ne_bytes());
    if r.metric != 0 {
        attribute(out, RTA_PRIORITY, &r.metric.to_ne_bytes());
    }
    if let Some(source) = r.source {
        attribute(out, RTA_PREFSRC, &source.octets());
    }
    if let Some(hop) = hop {
        if let Some(gateway) = hop.gateway {
            attribute(out, RTA_GATEWAY, &gateway.octets());
        }
        if hop.index != 0 {
            attribute(out, RTA_OIF, &hop.index.to_ne_bytes());
        }
    }
}

fn write_rule(out: &mut Vec<u8>, r: &Rule) {
    let table = small_table(r.table);
    out.extend([
        libc::AF_INET as u8,
        r.destination_length,
        r.source_length,
        0,
        table,
        0,
        0,
        TO_TABLE,
    ]);
    out.extend(if r.inverted { RULE_INVERT } else { 0 }.to_ne_bytes());
    for (kind, address) in [(FRA_SRC, r.source), (FRA_DST, r.destination)] {
        if let Some(address) = address {
            attribute(out, kind, &address.octets());
        }
    }
    if let Some(device) = &r.device {
        let name: Vec<u8> = device.bytes().chain([0]).collect();
        attribute(out, FRA_OIFNAME, &name);
    }
    if r.mark != 0 {
        attribute(out, FRA_FWMARK, &r.mark.to_ne_bytes());
        attribute(out, FRA_FWMASK, &u32::MAX.to_ne_bytes());
    }
    if r.ip_protocol != 0 {
        attribute(out, FRA_IP_PROTO, &[r.ip_protocol]);
    }
    if r.port != 0 {
        let port = r.port.to_ne_bytes();
        attribute(out, FRA_DPORT_RANGE, &[port, port].concat());
    }
    attribute(out, FRA_TABLE, &r.table.to_ne_bytes());
    attribute(out, FRA_PRIORITY, &r.priority.to_ne_bytes());
    attribute(out, FRA_PROTOCOL, &[r.protocol]);
    if let Some(length) = r.suppress {
        attribute(out, FRA_SUPPRESS_PREFIXLEN, &length.to_ne_bytes());
    }
}

/// The header's field for the table has one byte; larger ones are in the attribute alone
/// (`RT_TABLE_UNSPEC`).
fn small_table(table: u32) -> u8 {
    u8::try_from(table).unwrap_or(0)
}

fn family(out: &mut Vec<u8>, family: libc::c_int, length: usize) {
    let at = out.len();
    out.push(family as u8);
    out.resize(at + length, 0);
}

#[cfg(test)]
mod tests;
