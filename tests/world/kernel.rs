//! Linux's network in memory: links, addresses, routes and rules with what the kernel makes of
//! them, the lookup of routes, and the news of every change. There are no sockets and no time in
//! it. `differential.rs` holds it against the real kernel.
//!
//! Errors are the kernel's `errno`. What is said here is what Linux 6.18 does; a kernel of another
//! age may differ in details that were mended since. Not modelled, and not drawn by the
//! differential test:
//! - one table for `local` and `main`, which the kernel has until the first rule is added
//!   ([`Kernel::new`] is behind that), and that there is no table `local` before `lo` was up;
//! - the kernel's choice among the hops of a multipath route, and among several defaults of the
//!   same metric, which it makes by hashes and by what it knows of neighbours: a lookup gives all
//!   that it may be;
//! - links but veth pairs, and those whose other end is elsewhere, which only the simulation has
//!   (bridges, bonds, VLANs and tunnels are such links with a flag); changes of names;
//! - IPv6 addresses that the kernel makes itself (link-local, router advertisements), duplicate
//!   address detection, anycast (`forwarding` of IPv6), other ends of addresses, `lo` being set
//!   down, and packets of IPv6 that come in;
//! - next-hop objects, encapsulations, VRF, realms, users, route metrics as `mtu`, routes by source
//!   of IPv6, expiry;
//! - `goto` rules, and limits of interface groups;
//! - what neighbours do by themselves: who answers, and when one that does not is given up, the
//!   world sets;
//! - sysctls, but for those of [`Settings`].

mod ip4;
mod ip6;
mod neighbours;
mod rules;
mod seen;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use imon::kernel::{self, Change};
pub use neighbours::{Neighbour, state};
pub use rules::{Action, Rule};
pub use seen::{Ear, Heard};

pub const MAIN: u32 = 254;
pub const LOCAL: u32 = 255;
pub const DEFAULT: u32 = 253;
/// `lo` is always the first.
pub const LOOPBACK: u32 = 1;

/// `RT_SCOPE_UNIVERSE` and so on: how far away something is.
pub mod scope {
    pub const UNIVERSE: u8 = 0;
    pub const LINK: u8 = 253;
    pub const HOST: u8 = 254;
    pub const NOWHERE: u8 = 255;
}

/// `RTPROT_KERNEL`.
pub const KERNEL: u8 = 2;

/// An `errno`.
pub type Errno = i32;

/// What a route does with a packet (`rtm_type`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Kind {
    Unicast = 1,
    Local = 2,
    Broadcast = 3,
    Anycast = 4,
    Multicast = 5,
    Blackhole = 6,
    Unreachable = 7,
    Prohibit = 8,
    Throw = 9,
}

impl Kind {
    pub const ALL: [Self; 9] = [
        Self::Unicast,
        Self::Local,
        Self::Broadcast,
        Self::Anycast,
        Self::Multicast,
        Self::Blackhole,
        Self::Unreachable,
        Self::Prohibit,
        Self::Throw,
    ];

    /// What a lookup that ends at such a route gives.
    pub fn error(self) -> Option<Errno> {
        match self {
            Self::Blackhole => Some(libc::EINVAL),
            Self::Unreachable => Some(libc::EHOSTUNREACH),
            Self::Prohibit => Some(libc::EACCES),
            Self::Throw => Some(libc::EAGAIN),
            _ => None,
        }
    }
}

/// A network interface, and what is at its other end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    pub link: kernel::Link,
    /// The other end of a veth pair, which is in this kernel as well.
    pub peer: Option<u32>,
    /// A cable is in; of a veth pair the peer decides.
    pub plugged: bool,
}

/// An address of an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    pub index: u32,
    pub address: IpAddr,
    /// The other end (`IFA_ADDRESS`), where it differs.
    pub peer: Option<IpAddr>,
    pub prefix: u8,
    pub scope: u8,
    pub broadcast: Option<Ipv4Addr>,
    /// A further address in the network of an earlier one. The kernel decides.
    pub secondary: bool,
    /// The kernel makes no route to its network (`IFA_F_NOPREFIXROUTE`).
    pub no_prefix_route: bool,
    /// The metric of that route.
    pub metric: u32,
}

impl Address {
    /// An ordinary IPv4 address in a network of 256.
    pub fn of(index: u32, address: [u8; 4]) -> Self {
        Self {
            index,
            address: address.into(),
            peer: None,
            prefix: 24,
            scope: scope::UNIVERSE,
            broadcast: None,
            secondary: false,
            no_prefix_route: false,
            metric: 0,
        }
    }

    /// What decides its network (`ifa_address`).
    pub fn base(&self) -> IpAddr {
        self.peer.unwrap_or(self.address)
    }

    /// Whether both are in the same network, written the same way.
    fn same_network(&self, other: &Self) -> bool {
        self.prefix == other.prefix && covers(self.base(), self.prefix, other.base())
    }
}

/// One way out of a route.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hop {
    pub index: u32,
    pub gateway: Option<IpAddr>,
    /// How often it is taken, less one (`rtnh_hops`).
    pub weight: u8,
    pub onlink: bool,
    pub dead: bool,
    pub linkdown: bool,
    /// How far away the next hop is; nobody is told.
    pub reach: u8,
}

/// A route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    pub table: u32,
    pub destination: IpAddr,
    pub prefix: u8,
    pub tos: u8,
    pub metric: u32,
    pub kind: Kind,
    pub scope: u8,
    pub protocol: u8,
    pub source: Option<IpAddr>,
    /// None of a route that leads nowhere.
    pub hops: Vec<Hop>,
}

impl Route {
    /// What a replacement goes by.
    fn place(&self) -> (u32, IpAddr, u8, u8, u32) {
        (self.table, self.destination, self.prefix, self.tos, self.metric)
    }

    fn alike(&self, other: &Self) -> bool {
        let hops = |r: &Self| -> Vec<_> {
            r.hops.iter().map(|h| (h.index, h.gateway, h.weight, h.onlink, h.reach)).collect()
        };
        self.place() == other.place()
            && (self.kind, self.scope, self.protocol, self.source)
                == (other.kind, other.scope, other.protocol, other.source)
            && hops(self) == hops(other)
    }

    fn is_dead(&self) -> bool {
        !self.hops.is_empty() && self.hops.iter().all(|h| h.dead)
    }
}

/// How a route is put in (`ip route add`, `replace`, `change`, `append`, `prepend`): flags of the
/// request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode {
    pub create: bool,
    pub exclusive: bool,
    pub replace: bool,
    pub append: bool,
}

impl Mode {
    pub const ADD: Self = Self { create: true, exclusive: true, replace: false, append: false };
    pub const REPLACE: Self = Self { create: true, exclusive: false, replace: true, append: false };
    pub const CHANGE: Self = Self { create: false, exclusive: false, replace: true, append: false };
    pub const APPEND: Self = Self { create: true, exclusive: false, replace: false, append: true };
    pub const PREPEND: Self =
        Self { create: true, exclusive: false, replace: false, append: false };
}

/// What a packet is like, for the lookup of its route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flow {
    pub to: IpAddr,
    pub from: Option<IpAddr>,
    /// The interface that the socket is bound to; 0: none.
    pub device: u32,
    /// The interface that it has come in by; `lo`: it is of this machine.
    pub incoming: u32,
    pub mark: u32,
    pub protocol: u8,
    pub source_port: u16,
    pub port: u16,
    pub tos: u8,
}

impl Flow {
    pub fn to(to: IpAddr) -> Self {
        Self {
            to,
            from: None,
            device: 0,
            incoming: LOOPBACK,
            mark: 0,
            protocol: 0,
            source_port: 0,
            port: 0,
            tos: 0,
        }
    }
}

/// Which way a packet takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Way {
    /// The route that was found. `None`: the packet is taken to be for a neighbour of the interface
    /// it is bound to.
    pub route: Option<Route>,
    /// The table it is in; 0: none.
    pub table: u32,
    pub kind: Kind,
    pub index: u32,
    pub gateway: Option<IpAddr>,
    /// The source address it gets, if it has none.
    pub source: Option<IpAddr>,
}

/// Something that has changed, as the kernel tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum News {
    Link(kernel::Link),
    NoLink(kernel::Link),
    Address(Address),
    NoAddress(Address),
    /// A route, and whether it took another's place.
    Route(Route, bool),
    NoRoute(Route),
    Rule(Rule),
    NoRule(Rule),
}

/// The sysctls that matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// `promote_secondaries`: the next address of a network takes the place of the first, and does
    /// not go with it.
    pub promote_secondaries: bool,
    /// `ip_forward`.
    pub forwarding: bool,
    /// `conf/all/rp_filter`: 1 takes only what would be answered by the interface it came in by, 2
    /// what would be answered.
    pub rp_filter: u8,
}

/// The kernel's network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kernel {
    pub settings: Settings,
    /// In the order in which they were made.
    devices: Vec<Device>,
    /// Those of a device in the kernel's order.
    addresses: Vec<Address>,
    routes4: Vec<Route>,
    routes6: Vec<Route>,
    /// Tables of IPv6 that there are, with routes or without.
    tables6: BTreeSet<u32>,
    rules4: Vec<Rule>,
    rules6: Vec<Rule>,
    no_ipv6: bool,
    neighbours: Vec<Neighbour>,
    news: Vec<News>,
    /// What imon hears of it.
    pub ear: Ear,
}

impl Default for Kernel {
    fn default() -> Self {
        Self::new()
    }
}

impl Kernel {
    /// A network namespace in which `lo` is up, and in which there was another rule for a moment,
    /// and nothing else.
    pub fn new() -> Self {
        let link = kernel::Link { index: LOOPBACK, name: "lo".into(), ..kernel::Link::default() };
        let table = |v6, priority, table| {
            let action = Action::Table(table);
            Rule { v6, priority, action, protocol: KERNEL, ..Rule::default() }
        };
        let mut kernel = Self {
            settings: Settings::default(),
            devices: vec![Device { link, peer: None, plugged: true }],
            addresses: Vec::new(),
            routes4: Vec::new(),
            routes6: Vec::new(),
            tables6: [LOCAL, MAIN].into(),
            rules4: vec![
                table(false, 0, LOCAL),
                table(false, 32_766, MAIN),
                table(false, 32_767, DEFAULT),
            ],
            rules6: vec![table(true, 0, LOCAL), table(true, 32_766, MAIN)],
            no_ipv6: false,
            neighbours: Vec::new(),
            news: Vec::new(),
            ear: Ear::default(),
        };
        kernel.open(LOOPBACK);
        kernel.news.clear();
        kernel
    }

    /// Switches IPv6 off (`disable_ipv6`), before there is anything of it.
    pub fn disable_ipv6(&mut self) {
        self.no_ipv6 = true;
        self.routes6.clear();
        self.addresses.retain(|a| a.address.is_ipv4());
    }

    /// What was told since it was last heard.
    pub fn peek_news(&self) -> &[News] {
        &self.news
    }

    pub fn links(&self) -> impl Iterator<Item = &kernel::Link> {
        self.devices.iter().map(|d| &d.link)
    }

    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Those of IPv4, ordered by table, destination, longest prefix, largest type of service,
    /// lowest metric.
    pub fn routes4(&self) -> &[Route] {
        &self.routes4
    }

    /// Those of a family, in the order in which they are tried.
    pub fn rules(&self, v6: bool) -> &[Rule] {
        if v6 { &self.rules6 } else { &self.rules4 }
    }

    fn device(&self, index: u32) -> Option<&Device> {
        self.devices.iter().find(|d| d.link.index == index)
    }

    fn link(&self, index: u32) -> Option<&kernel::Link> {
        self.device(index).map(|d| &d.link)
    }

    fn is_up(&self, index: u32) -> bool {
        self.link(index).is_some_and(|l| l.up)
    }

    /// Whether there is a carrier, which is not told of a link that is down.
    fn has_carrier(&self, index: u32) -> bool {
        self.link(index).is_some_and(|l| l.carrier)
    }

    fn index_of(&self, name: &str) -> Option<u32> {
        self.links().find(|l| l.name == name).map(|l| l.index)
    }

    fn tell(&mut self, news: News) {
        self.news.push(news);
    }

    fn tell_link(&mut self, index: u32) {
        self.news.extend(self.link(index).cloned().map(News::Link));
    }
}

/// What imon asks for.
impl Kernel {
    /// Makes a change as the kernel does it with the request that imon writes for it, with the bare
    /// `errno`.
    pub fn request(&mut self, change: &Change) -> Result<(), Errno> {
        match change {
            Change::Replace(route) => self.add_route4(&Route::asked(route), Mode::REPLACE),
            Change::RemoveRoute(route) => self.remove_route4(&Route::asked(route), true),
            Change::AddRule(rule) => self.add_rule(&Rule::asked(rule), Some(rule.priority), true),
            Change::AppendRule(rule) => {
                self.add_rule(&Rule::asked(rule), Some(rule.priority), false)
            }
            Change::RemoveRule(rule) => self.remove_rule(&Rule::asked(rule), Some(rule.priority)),
        }
    }
}

impl Route {
    /// What imon's request for a route says.
    fn asked(route: &kernel::Route) -> Self {
        let hop = |h: &kernel::Hop| Hop {
            index: h.index,
            gateway: h.gateway.map(IpAddr::V4),
            onlink: h.onlink,
            ..Hop::default()
        };
        let by_gateway = route.hop().is_some_and(|h| h.gateway.is_some());
        Self {
            table: route.table,
            destination: route.destination.into(),
            prefix: route.prefix,
            tos: route.tos,
            metric: route.metric,
            kind: Kind::Unicast,
            scope: if by_gateway { scope::UNIVERSE } else { scope::LINK },
            protocol: route.protocol,
            source: route.source.map(IpAddr::V4),
            hops: route.hop().map(hop).into_iter().collect(),
        }
    }
}

impl Rule {
    /// What imon's request for a rule says.
    pub fn asked(rule: &kernel::Rule) -> Self {
        Self {
            priority: rule.priority,
            action: Action::Table(rule.table),
            protocol: rule.protocol,
            inverted: rule.inverted,
            source: rule.source.map(|ip| (ip.into(), rule.source_length)),
            destination: rule.destination.map(|ip| (ip.into(), rule.destination_length)),
            mark: rule.mark,
            mask: if rule.mark == 0 { 0 } else { u32::MAX },
            device: rule.device.clone(),
            ip_protocol: rule.ip_protocol,
            port: (rule.port != 0).then_some(rule.port..=rule.port),
            suppress: rule.suppress,
            ..Self::default()
        }
    }
}

/// Addresses and routes.
impl Kernel {
    pub fn add_address(&mut self, new: &Address) -> Result<(), Errno> {
        if new.address.is_ipv6() { self.add_address6(new) } else { self.add_address4(new) }
    }

    pub fn remove_address(&mut self, old: &Address) -> Result<(), Errno> {
        if old.address.is_ipv6() { self.remove_address6(old) } else { self.remove_address4(old) }
    }

    pub fn add_route(&mut self, new: &Route, mode: Mode) -> Result<(), Errno> {
        if new.destination.is_ipv6() {
            self.add_route6(new, mode)
        } else {
            self.add_route4(new, mode)
        }
    }

    /// Takes the first route away that has what is named. What is not given may be any: a metric, a
    /// protocol, a source, a hop. Of IPv4 the kind and the scope count if it is to be `exact`.
    pub fn remove_route(&mut self, old: &Route, exact: bool) -> Result<(), Errno> {
        if old.destination.is_ipv6() {
            self.remove_route6(old)
        } else {
            self.remove_route4(old, exact)
        }
    }
}

/// Lookups.
impl Kernel {
    /// What may become of a packet, of this machine or received; one thing, unless the kernel
    /// chooses among several hops.
    pub fn ways(&self, flow: &Flow) -> Vec<Result<Way, Errno>> {
        let ways = if flow.to.is_ipv6() { self.lookup6(flow) } else { self.lookup4(flow) };
        ways.unwrap_or_else(|errno| vec![Err(errno)])
    }

    /// Which way a packet takes: the first that the kernel may choose.
    pub fn way(&self, flow: &Flow) -> Result<Way, Errno> {
        self.ways(flow).into_iter().next().unwrap_or(Err(libc::ENETUNREACH))
    }
}

/// Links.
impl Kernel {
    /// A pair of virtual links that are each other's cable.
    pub fn add_pair(&mut self, ends: [(u32, &str); 2]) -> Result<(), Errno> {
        if ends
            .iter()
            .any(|(index, name)| self.link(*index).is_some() || self.index_of(name).is_some())
        {
            return Err(libc::EEXIST);
        }
        let [(one, _), (other, _)] = ends;
        // The second is registered first.
        for ((index, name), peer) in [(ends[1], one), (ends[0], other)] {
            let link = kernel::Link { index, name: name.into(), ..kernel::Link::default() };
            self.tell(News::Link(link.clone()));
            self.devices.push(Device { link, peer: Some(peer), plugged: true });
        }
        Ok(())
    }

    /// A link whose other end is elsewhere.
    pub fn add_link(&mut self, link: kernel::Link, plugged: bool) -> Result<(), Errno> {
        if self.link(link.index).is_some() || self.index_of(&link.name).is_some() {
            return Err(libc::EEXIST);
        }
        self.tell(News::Link(link.clone()));
        self.devices.push(Device { link, peer: None, plugged });
        Ok(())
    }

    /// Takes a link away, of a pair both.
    pub fn remove_link(&mut self, index: u32) -> Result<(), Errno> {
        let device = self.device(index).ok_or(libc::ENODEV)?;
        if index == LOOPBACK {
            return Err(libc::EOPNOTSUPP);
        }
        let ends: Vec<u32> = [index].into_iter().chain(device.peer).collect();
        let up: Vec<u32> = ends.iter().copied().filter(|end| self.is_up(*end)).collect();
        up.iter().for_each(|end| self.mark_down(*end));
        for end in up {
            self.tell_link(end);
            self.device_down4(end);
            self.device_down6(end);
        }
        for end in ends {
            self.device_gone4(end);
            self.device_gone6(end);
            let link = self.link(end).cloned();
            self.devices.retain(|d| d.link.index != end);
            self.news.extend(link.map(News::NoLink));
        }
        Ok(())
    }

    /// `ip link set up` and `down`.
    pub fn set_up(&mut self, index: u32, up: bool) -> Result<(), Errno> {
        match self.link(index) {
            None => Err(libc::ENODEV),
            Some(link) if link.up == up => Ok(()),
            Some(_) if up => {
                self.open(index);
                Ok(())
            }
            Some(_) => {
                self.close(index);
                Ok(())
            }
        }
    }

    /// Puts the cable in or out.
    pub fn set_plugged(&mut self, index: u32, plugged: bool) {
        self.devices.iter_mut().filter(|d| d.link.index == index).for_each(|d| d.plugged = plugged);
        self.watch(index);
    }

    fn open(&mut self, index: u32) {
        self.devices.iter_mut().filter(|d| d.link.index == index).for_each(|d| d.link.up = true);
        let carrier = self.carrier_of(index);
        self.devices
            .iter_mut()
            .filter(|d| d.link.index == index)
            .for_each(|d| d.link.carrier = carrier);
        self.tell_link(index);
        self.device_up4(index);
        self.device_up6(index);
        if let Some(peer) = self.device(index).and_then(|d| d.peer) {
            self.watch(peer);
        }
    }

    fn close(&mut self, index: u32) {
        self.mark_down(index);
        self.tell_link(index);
        self.device_down4(index);
        self.device_down6(index);
        if let Some(peer) = self.device(index).and_then(|d| d.peer) {
            self.watch(peer);
        }
    }

    fn mark_down(&mut self, index: u32) {
        for device in self.devices.iter_mut().filter(|d| d.link.index == index) {
            (device.link.up, device.link.carrier) = (false, false);
        }
    }

    fn carrier_of(&self, index: u32) -> bool {
        self.device(index)
            .is_some_and(|d| d.link.up && d.peer.map_or(d.plugged, |peer| self.is_up(peer)))
    }

    /// The kernel notices a change of the carrier, a moment later.
    fn watch(&mut self, index: u32) {
        let carrier = self.carrier_of(index);
        let changed = |d: &&mut Device| d.link.index == index && d.link.carrier != carrier;
        if let Some(device) = self.devices.iter_mut().find(changed) {
            device.link.carrier = carrier;
            self.carrier_changed4(index, carrier);
            self.carrier_changed6(index, carrier);
            self.tell_link(index);
        }
    }
}

/// Whether an address is in a network.
pub fn covers(network: IpAddr, prefix: u8, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            (u32::from(a) ^ u32::from(b)).checked_shr(32 - u32::from(prefix)).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            (u128::from(a) ^ u128::from(b)).checked_shr(128 - u32::from(prefix)).unwrap_or(0) == 0
        }
        _ => false,
    }
}
