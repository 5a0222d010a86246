//! What the kernel's network looks like to the failover monitor: links, addresses, routes and rules, as values. The
//! netlink messages behind it are in `wire::rtnetlink`; nothing here talks to the kernel.

use std::fmt;
use std::net::Ipv4Addr;

use crate::wire::rtnetlink::{Default6, Message, News};

/// The mark on every route and rule of ours (`RTA_PROTOCOL`, `FRA_PROTOCOL`). Not taken in iproute2's `rt_protos`.
pub const PROTOCOL: u8 = 171;
/// Routes of at most this prefix length are pieces of a default route: halves, quarters, eighths.
pub const BROAD: u8 = 3;
/// The table that everything uses that nobody told otherwise (`RT_TABLE_MAIN`).
pub const MAIN: u32 = 254;

/// A network interface.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Link {
    /// Its number, which changes when it is unplugged and plugged in again.
    pub index: u32,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// Set up by the administrator (`IFF_UP`).
    pub up: bool,
    /// The cable is in and the other end answers (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// One peer and no neighbours to ask for: PPP, tunnels (`IFF_POINTOPOINT`).
    pub point_to_point: bool,
    /// It leads to a network elsewhere, inside other packets: point-to-point, or of a kind that is a tunnel's
    /// (`IFLA_INFO_KIND`).
    pub tunnel: bool,
    /// The number of the bridge or bond that it is a port of; 0: of none (`IFLA_MASTER`).
    pub master: u32,
}

/// An IPv4 address of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    /// The interface's number.
    pub index: u32,
    /// The address (`IFA_LOCAL`).
    pub address: Ipv4Addr,
    /// The other end of a point-to-point link (`IFA_ADDRESS`, where it differs).
    pub peer: Option<Ipv4Addr>,
    /// Length of its network's prefix, 0 to 32.
    pub prefix: u8,
    /// Of this machine or this link only: not for the internet (`ifa_scope` is not `RT_SCOPE_UNIVERSE`).
    pub local: bool,
    /// A further address in the network of an earlier one (`IFA_F_SECONDARY`).
    pub secondary: bool,
}

/// One way out: a gateway, a device, or both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// The interface's number; 0 where there is none (a gateway of the other family, a next-hop object that is not known).
    pub index: u32,
    /// The gateway; `None`: everything is on the link.
    pub gateway: Option<Ipv4Addr>,
    /// The gateway is taken to be on the link, whatever the addresses say (`RTNH_F_ONLINK`).
    pub onlink: bool,
    /// It cannot be used: `RTNH_F_DEAD`. (`RTNH_F_LINKDOWN` alone is no carrier; the kernel still uses it.)
    pub dead: bool,
}

/// A next-hop object, which routes name by its number (ip-nexthop(8)).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Nexthop {
    /// Its number.
    pub id: u32,
    /// Its way out; none for a black hole and for a group.
    pub hop: Option<Hop>,
    /// The numbers of its members.
    pub group: Vec<u32>,
}

/// An IPv4 route: unicast, or one that leads nowhere (`blackhole`, `unreachable`, `prohibit`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// The table it is in.
    pub table: u32,
    /// Its destination,
    pub destination: Ipv4Addr,
    /// and the length of that prefix, 0 for a default route.
    pub prefix: u8,
    /// The lower one wins within a table.
    pub metric: u32,
    /// Who made it (`rtm_protocol`).
    pub protocol: u8,
    /// The type of service it is for; ours have 0.
    pub tos: u8,
    /// The source address it prefers.
    pub source: Option<Ipv4Addr>,
    /// Its ways out; several for a multipath route, none for one that leads nowhere.
    pub hops: Vec<Hop>,
    /// The number of its next-hop object; 0: it has none.
    pub nexthop: u32,
}

/// An IPv4 routing policy rule.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rule {
    /// Rules are tried from the lowest priority number on; those of the same number in the order in which they were added.
    pub priority: u32,
    /// The table it leads to; 0 for a rule that does something else.
    pub table: u32,
    /// It leads nowhere: `blackhole`, `unreachable`, `prohibit`.
    pub nowhere: bool,
    /// Who made it.
    pub protocol: u8,
    /// It is for all that its conditions do not describe.
    pub inverted: bool,
    /// Only for this source,
    pub source: Option<Ipv4Addr>,
    /// of which this many bits count.
    pub source_length: u8,
    /// Only for this destination,
    pub destination: Option<Ipv4Addr>,
    /// of which this many bits count.
    pub destination_length: u8,
    /// Only for this protocol, by its IP number (`FRA_IP_PROTO`); 0: any.
    pub ip_protocol: u8,
    /// Only for this destination port; 0: any.
    pub port: u16,
    /// Only for packets with exactly this mark; 0: any.
    pub mark: u32,
    /// Only for what a program has bound to this interface (`FRA_OIFNAME`).
    pub device: Option<String>,
    /// Routes of at most this prefix length are not taken from the table (`FRA_SUPPRESS_PREFIXLEN`).
    pub suppress: Option<u32>,
    /// It has further conditions (marks, incoming interface, users, ranges of ports), which ours never have.
    pub special: bool,
}

impl Address {
    /// The bits that all addresses of its network share.
    #[must_use]
    pub fn mask(&self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0)
    }

    /// Whether a host is in its network, or its peer.
    #[must_use]
    pub fn reaches(&self, host: Ipv4Addr) -> bool {
        let network = self.peer.unwrap_or(self.address);
        (u32::from(network) ^ u32::from(host)) & self.mask() == 0
    }

    /// What makes two addresses the same one.
    fn place(&self) -> (u32, Ipv4Addr, u8) {
        (self.index, self.address, self.prefix)
    }
}

impl Route {
    /// Whether it is for everything.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.prefix == 0
    }

    /// Whether it bears our mark.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.protocol == PROTOCOL
    }

    /// Whether it may decide where packets for the internet go: a default, a piece of one as VPNs make them, or ours.
    fn matters(&self) -> bool {
        self.prefix <= BROAD || self.is_ours()
    }

    /// What makes two routes the same to a replacement.
    fn place(&self) -> (u32, Ipv4Addr, u8, u32, u8) {
        (self.table, self.destination, self.prefix, self.metric, self.tos)
    }

    /// Its ways out, without what becomes of them.
    fn ways(&self) -> impl Iterator<Item = (u32, Option<Ipv4Addr>)> {
        self.hops.iter().map(|h| (h.index, h.gateway))
    }

    /// The only hop of an ordinary route.
    #[must_use]
    pub fn hop(&self) -> Option<&Hop> {
        if let [hop] = self.hops.as_slice() { Some(hop) } else { None }
    }
}

/// The network as far as it has been told: everything that decides where packets for the internet go.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Picture {
    /// All interfaces.
    pub links: Vec<Link>,
    /// All IPv4 addresses.
    pub addresses: Vec<Address>,
    /// Of all tables: default routes, halves of one (`0.0.0.0/1`, as VPNs make them), and ours. A router may have a
    /// million others.
    pub routes: Vec<Route>,
    /// All IPv4 rules, in the order in which they are tried.
    pub rules: Vec<Rule>,
    /// All next-hop objects.
    pub nexthops: Vec<Nexthop>,
    /// The IPv6 default routes.
    pub defaults6: Vec<Default6>,
    /// The kernel has no rules, and no tables but main.
    pub no_policy_routing: bool,
}

impl Picture {
    /// Takes note of a message. What it cannot know is which IPv4 routes went with an interface or an address: the
    /// kernel says nothing about those, so after such news everything must be looked at again. Returns whether this is
    /// such news.
    pub fn note(&mut self, message: Message) -> bool {
        match message.news {
            News::Link(link) => {
                let index = link.index;
                let lost = self.links.iter().any(|l| l.index == index && l.up && !link.up);
                put(&mut self.links, link, |l| l.index == index);
                return lost;
            }
            News::NoLink(index) => {
                self.links.retain(|l| l.index != index);
                self.addresses.retain(|a| a.index != index);
                return true;
            }
            News::Address(address) => put(&mut self.addresses, address, |a| a.place() == address.place()),
            News::NoAddress(address) => {
                self.addresses.retain(|a| a.place() != address.place());
                return true;
            }
            News::Route(mut route) if route.matters() => {
                self.resolve(&mut route);
                let same = |r: &Route| r.place() == route.place() && (message.replaces || *r == route);
                put(&mut self.routes, route.clone(), same);
            }
            News::NoRoute(mut route) => {
                self.resolve(&mut route);
                take(&mut self.routes, |r| {
                    r.place() == route.place() && r.protocol == route.protocol && r.ways().eq(route.ways())
                });
            }
            News::Rule(rule) => {
                let at = self.rules.iter().position(|r| r.priority > rule.priority).unwrap_or(self.rules.len());
                self.rules.insert(at, rule);
            }
            News::NoRule(rule) => take(&mut self.rules, |r| *r == rule),
            News::Nexthop(nexthop) => {
                put(&mut self.nexthops, nexthop.clone(), |n| n.id == nexthop.id);
                return true;
            }
            News::NoNexthop(id) => {
                self.nexthops.retain(|n| n.id != id);
                return true;
            }
            News::Default6(default) => put(&mut self.defaults6, default.clone(), |d| *d == default),
            News::NoDefault6(default) => take(&mut self.defaults6, |d| *d == default),
            News::Route(_) | News::Neighbour(_) | News::End(..) | News::Other => {}
        }
        false
    }
}

impl Picture {
    /// Puts the ways out of a next-hop object in, which the kernel leaves out of the route (`nexthop_compat_mode`).
    pub fn resolve(&self, route: &mut Route) {
        let find = |id: u32| self.nexthops.iter().find(|n| n.id == id);
        if route.hops.iter().any(|hop| hop.index != 0) {
            return;
        }
        if let Some(nexthop) = find(route.nexthop) {
            let members = nexthop.group.iter().filter_map(|id| find(*id)?.hop);
            route.hops = nexthop.hop.into_iter().chain(members).collect();
        }
    }

    /// Takes note of a change of ours that the kernel has made. It tells the same in a moment, which changes nothing.
    pub fn made(&mut self, change: &Change) {
        let news = match change.clone() {
            Change::Replace(route) => News::Route(route),
            Change::RemoveRoute(route) => News::NoRoute(route),
            Change::AddRule(rule) | Change::AppendRule(rule) => News::Rule(rule),
            Change::RemoveRule(rule) => News::NoRule(rule),
        };
        self.note(Message { sequence: 0, interrupted: false, replaces: true, news });
    }

    /// The name of an interface; its number where there is none.
    #[must_use]
    pub fn name_of(&self, index: u32) -> String {
        let link = self.links.iter().find(|l| l.index == index);
        link.map_or_else(|| format!("#{index}"), |l| l.name.clone())
    }

    /// A route as `ip route` writes it, with the names of interfaces.
    #[must_use]
    pub fn in_words(&self, route: &Route) -> String {
        self.names_in(route.to_string())
    }

    /// A text with `dev #3` as [`Route`] writes it, with the names of interfaces.
    #[must_use]
    pub fn names_in(&self, mut text: String) -> String {
        for link in self.links.iter().rev() {
            text = text.replace(&format!("dev #{} ", link.index), &format!("dev {} ", link.name));
        }
        text
    }
}

/// Puts it in the place of the first that is the same thing, else behind all.
fn put<T>(all: &mut Vec<T>, new: T, same: impl Fn(&T) -> bool) {
    match all.iter_mut().find(|old| same(old)) {
        Some(old) => *old = new,
        None => all.push(new),
    }
}

/// Takes the first that is it out.
fn take<T>(all: &mut Vec<T>, is_it: impl Fn(&T) -> bool) {
    if let Some(at) = all.iter().position(is_it) {
        all.remove(at);
    }
}

/// The name of a route's maker, as `ip route` prints it: from the kernel's `rtnetlink.h` and iproute2's `rt_protos`.
#[must_use]
pub fn protocol_name(protocol: u8) -> Option<&'static str> {
    Some(match protocol {
        1 => "redirect",
        2 => "kernel",
        3 => "boot",
        4 => "static",
        8 => "gated",
        9 => "ra",
        11 => "zebra",
        12 => "bird",
        14 => "xorp",
        15 => "ntk",
        16 => "dhcp",
        18 => "keepalived",
        42 => "babel",
        PROTOCOL => "imon",
        186 => "bgp",
        187 => "isis",
        188 => "ospf",
        189 => "rip",
        192 => "eigrp",
        _ => return None,
    })
}

/// Something to change. Each is one message to the kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Put the route there, in the place of one of the same table, destination, metric and type of service.
    Replace(Route),
    /// Take the route away; only one with exactly these properties.
    RemoveRoute(Route),
    /// Add the rule, unless there is one like it.
    AddRule(Rule),
    /// Add the rule behind all of its priority, also when there is one like it.
    AppendRule(Rule),
    /// Take the rule away, the first one like it.
    RemoveRule(Rule),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replace(r) => write!(f, "ip route replace {r}"),
            Self::RemoveRoute(r) => write!(f, "ip route del {r}"),
            Self::AddRule(r) | Self::AppendRule(r) => write!(f, "ip rule add {r}"),
            Self::RemoveRule(r) => write!(f, "ip rule del {r}"),
        }
    }
}

/// As a person would write it for `ip route`; interfaces by their numbers (`dev #3`).
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.hops.is_empty() {
            f.write_str("blackhole ")?;
        }
        match self.prefix {
            0 => f.write_str("default")?,
            prefix => write!(f, "{}/{prefix}", self.destination)?,
        }
        for hop in &self.hops {
            if let Some(gateway) = hop.gateway {
                write!(f, " via {gateway}")?;
            }
            if hop.index != 0 {
                write!(f, " dev #{}", hop.index)?;
            }
            if hop.onlink {
                f.write_str(" onlink")?;
            }
        }
        if self.table != MAIN {
            write!(f, " table {}", self.table)?;
        }
        if self.metric != 0 {
            write!(f, " metric {}", self.metric)?;
        }
        match protocol_name(self.protocol) {
            Some(name) => write!(f, " proto {name}"),
            None => write!(f, " proto {}", self.protocol),
        }
    }
}

/// As a person would write it for `ip rule`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pref {}{} from ", self.priority, if self.inverted { " not" } else { "" })?;
        host(f, self.source, self.source_length)?;
        if self.destination.is_some() {
            f.write_str(" to ")?;
            host(f, self.destination, self.destination_length)?;
        }
        if let Some(device) = &self.device {
            write!(f, " oif {device}")?;
        }
        match self.ip_protocol {
            0 => {}
            ICMP => f.write_str(" ipproto icmp")?,
            TCP => f.write_str(" ipproto tcp")?,
            UDP => f.write_str(" ipproto udp")?,
            other => write!(f, " ipproto {other}")?,
        }
        if self.mark != 0 {
            write!(f, " fwmark {:#x}", self.mark)?;
        }
        if self.port != 0 {
            write!(f, " dport {}", self.port)?;
        }
        if self.special {
            f.write_str(" (and more conditions)")?;
        }
        match self.table {
            _ if self.nowhere => f.write_str(" prohibit")?,
            MAIN => f.write_str(" lookup main")?,
            table => write!(f, " lookup {table}")?,
        }
        if let Some(length) = self.suppress {
            write!(f, " suppress_prefixlength {length}")?;
        }
        Ok(())
    }
}

/// Numbers of IP protocols, as rules name them (RFC 790).
pub const ICMP: u8 = 1;
/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;

fn host(f: &mut fmt::Formatter<'_>, address: Option<Ipv4Addr>, length: u8) -> fmt::Result {
    match address {
        Some(address) if length == 32 => write!(f, "{address}"),
        Some(address) => write!(f, "{address}/{length}"),
        None => f.write_str("all"),
    }
}

impl Rule {
    /// Whether it is for everything: it has no conditions.
    #[must_use]
    pub fn is_broad(&self) -> bool {
        let bare = Self {
            priority: self.priority,
            table: self.table,
            nowhere: self.nowhere,
            protocol: self.protocol,
            suppress: self.suppress,
            ..Self::default()
        };
        *self == bare
    }
}
