//! What the kernel's network looks like to the failover monitor: links, addresses, routes and
//! rules, as values. The netlink messages behind it are in `wire::rtnetlink`; nothing here talks to
//! the kernel.

pub mod news;
pub mod path;

use std::fmt;
use std::net::Ipv4Addr;

use crate::kernel::news::{Default6, Message, News};

/// The mark on every route and rule of ours (`RTA_PROTOCOL`, `FRA_PROTOCOL`). Not taken in
/// iproute2's `rt_protos`.
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
    /// It leads to a network elsewhere, inside other packets: point-to-point, or of a kind that is
    /// a tunnel's (`IFLA_INFO_KIND`).
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
    /// Of this machine or this link only: not for the internet (`ifa_scope` is not
    /// `RT_SCOPE_UNIVERSE`).
    pub local: bool,
    /// A further address in the network of an earlier one (`IFA_F_SECONDARY`).
    pub secondary: bool,
}

/// One way out: a gateway, a device, or both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// The interface's number; 0 where there is none (a gateway of the other family, a next-hop
    /// object that is not known).
    pub index: u32,
    /// The gateway; `None`: everything is on the link.
    pub gateway: Option<Ipv4Addr>,
    /// The gateway is taken to be on the link, whatever the addresses say (`RTNH_F_ONLINK`).
    pub onlink: bool,
    /// It cannot be used: `RTNH_F_DEAD`. (`RTNH_F_LINKDOWN` alone is no carrier; the kernel still
    /// uses it.)
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
    /// Rules are tried from the lowest priority number on; those of the same number in the order in
    /// which they were added.
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
    /// Routes of at most this prefix length are not taken from the table
    /// (`FRA_SUPPRESS_PREFIXLEN`).
    pub suppress: Option<u32>,
    /// It has further conditions (marks, incoming interface, users, ranges of ports), which ours
    /// never have.
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

    /// Whether it may decide where packets for the internet go: a default, a piece of one as VPNs
    /// make them, or ours.
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

/// The network as far as it has been told: everything that decides where packets for the internet
/// go.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Picture {
    /// All interfaces.
    pub links: Vec<Link>,
    /// All IPv4 addresses.
    pub addresses: Vec<Address>,
    /// Of all tables: default routes, halves of one (`0.0.0.0/1`, as VPNs make them), and ours. A
    /// router may have a million others.
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
    /// Takes note of a message. What it cannot know is which IPv4 routes went with an interface or
    /// an address: the kernel says nothing about those, so after such news everything must be
    /// looked at again. Returns whether this is such news.
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
            News::Address(address) => {
                put(&mut self.addresses, address, |a| a.place() == address.place())
            }
            News::NoAddress(address) => {
                self.addresses.retain(|a| a.place() != address.place());
                return true;
            }
            News::Route(mut route) if route.matters() => {
                self.resolve(&mut route);
                // Of ours there is one at a place. News of one that was the first there come after
                // it was made, and may come after another has been made in its place: it would stay
                // beside that for ever.
                let both_ours = |r: &Route| r.is_ours() && route.is_ours();
                let same = |r: &Route| {
                    r.place() == route.place() && (message.replaces || *r == route || both_ours(r))
                };
                put(&mut self.routes, route.clone(), same);
            }
            News::NoRoute(mut route) => {
                self.resolve(&mut route);
                take(&mut self.routes, |r| {
                    r.place() == route.place()
                        && r.protocol == route.protocol
                        && r.ways().eq(route.ways())
                });
            }
            News::Rule(rule) => {
                let at = self
                    .rules
                    .iter()
                    .position(|r| r.priority > rule.priority)
                    .unwrap_or(self.rules.len());
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
    /// Puts the ways out of a next-hop object in, which the kernel leaves out of the route
    /// (`nexthop_compat_mode`).
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

    /// Takes note of a change of ours that the kernel has made. It tells the same in a moment,
    /// which changes nothing.
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

/// The name of a route's maker, as `ip route` prints it: from the kernel's `rtnetlink.h` and
/// iproute2's `rt_protos`.
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
    /// Put the route there, in the place of one of the same table, destination, metric and type of
    /// service.
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

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 42, 1);

    fn hop(index: u32) -> Hop {
        Hop { index, gateway: Some(GATEWAY), onlink: false, dead: false }
    }

    fn default_route(index: u32, metric: u32) -> Route {
        Route {
            table: MAIN,
            destination: Ipv4Addr::UNSPECIFIED,
            prefix: 0,
            metric,
            protocol: 16,
            tos: 0,
            source: None,
            hops: vec![hop(index)],
            nexthop: 0,
        }
    }

    fn note(picture: &mut Picture, replaces: bool, news: News) -> bool {
        picture.note(Message { sequence: 0, interrupted: false, replaces, news })
    }

    #[test]
    fn routes_are_kept_that_may_decide_where_packets_for_the_internet_go() {
        let mut picture = Picture::default();
        let to = |prefix: u8, protocol: u8| Route { prefix, protocol, ..default_route(3, 0) };
        for (prefix, protocol, kept) in
            [(0, 2, true), (BROAD, 2, true), (BROAD + 1, 2, false), (24, PROTOCOL, true)]
        {
            assert!(!note(&mut picture, false, News::Route(to(prefix, protocol))));
            assert_eq!(
                picture.routes.contains(&to(prefix, protocol)),
                kept,
                "/{prefix} of {protocol}"
            );
        }
    }

    #[test]
    fn news_of_two_routes_of_ours_leave_the_one_that_was_made_last() {
        let mut picture = Picture::default();
        let ours = |index| Route { protocol: PROTOCOL, ..default_route(index, 0) };
        [3, 4].into_iter().for_each(|index| picture.made(&Change::Replace(ours(index))));
        // The first was made where there was none, so the kernel does not say that it replaces
        // anything.
        note(&mut picture, false, News::Route(ours(3)));
        note(&mut picture, true, News::Route(ours(4)));
        assert_eq!(picture.routes, [ours(4)]);
    }

    #[test]
    fn a_route_takes_the_place_of_another_only_where_the_kernel_says_so() {
        let mut picture = Picture::default();
        let other = Route { protocol: 4, ..default_route(4, 100) };
        note(&mut picture, false, News::Route(default_route(3, 100)));
        note(&mut picture, false, News::Route(other.clone()));
        note(&mut picture, false, News::Route(default_route(3, 100)));
        assert_eq!(
            picture.routes,
            [default_route(3, 100), other.clone()],
            "one more of the same metric, and a repetition"
        );
        note(&mut picture, true, News::Route(default_route(5, 100)));
        assert_eq!(picture.routes, [default_route(5, 100), other.clone()], "a replacement");
        note(&mut picture, true, News::Route(default_route(5, 200)));
        assert_eq!(picture.routes.len(), 3, "of another metric");
        // What goes has to be the same but for what became of its ways.
        for missing in [
            default_route(6, 100),
            Route { protocol: 3, ..default_route(5, 100) },
            default_route(5, 300),
        ] {
            note(&mut picture, false, News::NoRoute(missing));
            assert_eq!(picture.routes.len(), 3);
        }
        let dead = Route { hops: vec![Hop { dead: true, ..hop(5) }], ..default_route(5, 100) };
        note(&mut picture, false, News::NoRoute(dead));
        assert_eq!(picture.routes, [other, default_route(5, 200)]);
    }

    #[test]
    fn news_after_which_routes_may_be_gone_are_told_apart() {
        let link = |up| Link { index: 3, up, name: "wan1".into(), ..Link::default() };
        let own = Ipv4Addr::new(192, 168, 42, 2);
        let address = Address {
            index: 3,
            address: own,
            prefix: 24,
            peer: None,
            local: false,
            secondary: false,
        };
        let mut picture = Picture::default();
        assert!(!note(&mut picture, false, News::Link(link(false))), "one that is new and down");
        assert!(!note(&mut picture, false, News::Link(link(true))), "up");
        assert!(!note(&mut picture, false, News::Link(link(true))), "up as before");
        assert!(
            !note(&mut picture, false, News::Link(Link { index: 4, ..link(false) })),
            "another one"
        );
        assert!(!note(&mut picture, false, News::Address(address)));
        assert!(note(&mut picture, false, News::Link(link(false))), "down");
        assert!(!note(&mut picture, false, News::Link(link(false))), "down as before");
        assert_eq!((picture.links.len(), picture.addresses.len()), (2, 1));
        assert!(note(&mut picture, false, News::NoAddress(address)));
        assert!(picture.addresses.is_empty());
        note(&mut picture, false, News::Address(address));
        assert!(note(&mut picture, false, News::NoLink(3)));
        assert_eq!(
            (picture.links.len(), picture.addresses.len()),
            (1, 0),
            "its addresses go with it"
        );
    }

    #[test]
    fn rules_stand_in_the_order_in_which_they_are_tried() {
        let mut picture = Picture::default();
        let rule = |priority, table| Rule { priority, table, ..Rule::default() };
        for (priority, table) in [(10, 1), (5, 2), (10, 3), (20, 4), (5, 5), (10, 6)] {
            note(&mut picture, false, News::Rule(rule(priority, table)));
        }
        let tables =
            |picture: &Picture| picture.rules.iter().map(|rule| rule.table).collect::<Vec<_>>();
        assert_eq!(tables(&picture), [2, 5, 1, 3, 6, 4], "behind others of the same preference");
        picture.made(&Change::RemoveRule(rule(10, 3)));
        picture.made(&Change::AddRule(rule(5, 7)));
        assert_eq!(tables(&picture), [2, 5, 7, 1, 6, 4]);
    }

    #[test]
    fn ways_of_next_hop_objects_are_put_in_where_the_kernel_leaves_them_out() {
        let mut picture = Picture::default();
        let object = |id, hop, group| Nexthop { id, hop, group };
        assert!(note(&mut picture, false, News::Nexthop(object(1, Some(hop(3)), vec![]))));
        note(&mut picture, false, News::Nexthop(object(2, Some(hop(4)), vec![])));
        note(&mut picture, false, News::Nexthop(object(9, None, vec![1, 7, 2])));
        let by = |nexthop, hops| Route { nexthop, hops, ..default_route(0, 0) };
        for (nexthop, told, ways) in [
            (1, vec![], vec![hop(3)]),
            (1, vec![hop(0)], vec![hop(3)]),
            (9, vec![], vec![hop(3), hop(4)]),
            (1, vec![hop(5)], vec![hop(5)]),
            (8, vec![], vec![]),
            (0, vec![], vec![]),
        ] {
            let mut route = by(nexthop, told);
            picture.resolve(&mut route);
            assert_eq!(route.hops, ways, "object {nexthop}");
        }
        assert!(note(&mut picture, false, News::NoNexthop(1)));
        assert_eq!(picture.nexthops.len(), 2);
    }

    #[test]
    fn changes_are_shown_as_the_commands_that_make_them() {
        let route = Route { source: None, ..default_route(3, 201) };
        let picture = Picture {
            links: vec![Link { index: 3, name: "wan1".into(), ..Link::default() }],
            ..Picture::default()
        };
        let shown = |change: Change| picture.names_in(change.to_string());
        assert_eq!(
            shown(Change::Replace(route.clone())),
            "ip route replace default via 192.168.42.1 dev wan1 metric 201 proto dhcp"
        );
        let black = Route { hops: vec![], table: 200, protocol: 77, metric: 0, ..route.clone() };
        assert_eq!(
            shown(Change::RemoveRoute(black)),
            "ip route del blackhole default table 200 proto 77"
        );
        let half =
            Route { prefix: 1, hops: vec![Hop { gateway: None, onlink: true, ..hop(8) }], ..route };
        assert_eq!(picture.in_words(&half), "0.0.0.0/1 dev #8 onlink metric 201 proto dhcp");
        let rule = Rule {
            priority: 9,
            source: Some(GATEWAY),
            source_length: 32,
            port: 53,
            ip_protocol: UDP,
            table: MAIN,
            suppress: Some(0),
            ..Rule::default()
        };
        let text =
            "pref 9 from 192.168.42.1 ipproto udp dport 53 lookup main suppress_prefixlength 0";
        assert_eq!(shown(Change::AppendRule(rule.clone())), format!("ip rule add {text}"));
        assert_eq!(shown(Change::RemoveRule(rule)), format!("ip rule del {text}"));
        assert_eq!(
            (protocol_name(192), protocol_name(PROTOCOL), protocol_name(5)),
            (Some("eigrp"), Some("imon"), None)
        );
    }

    #[test]
    fn a_rule_without_conditions_is_for_everything_whatever_it_leads_to() {
        let broad = Rule {
            priority: 7,
            table: 9,
            protocol: 3,
            suppress: Some(0),
            nowhere: true,
            ..Rule::default()
        };
        assert!(broad.is_broad());
        for narrow in [
            Rule { mark: 1, ..broad.clone() },
            Rule { inverted: true, ..broad.clone() },
            Rule { source: Some(GATEWAY), source_length: 32, ..broad.clone() },
            Rule { device: Some("wan1".into()), ..broad.clone() },
            Rule { special: true, ..broad.clone() },
            Rule { port: 53, ..broad.clone() },
            Rule { ip_protocol: TCP, ..broad.clone() },
        ] {
            assert!(!narrow.is_broad(), "{narrow}");
        }
    }
}
