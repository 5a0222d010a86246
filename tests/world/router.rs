//! A router with a LAN and two networks to the internet in the simulated kernel, for tests of what
//! imon plans: links, addresses, and what others set up are changed by hand, and the picture
//! follows as imon's own does.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Deref;

use super::kernel::{
    Action, Address, Errno, Flow, Heard, Hop, Kernel, Kind, Mode, Route, Rule, scope,
};
use imon::kernel::news::News;
use imon::kernel::{self, Change, Link, MAIN, PROTOCOL, Picture};
use imon::routing::{Policy, RoutingView};
use imon::wire::rtnetlink::Query;

/// Its links.
pub const LAN: u32 = 2;
pub const WAN1: u32 = 3;
pub const WAN2: u32 = 4;
pub const TUNNEL: u32 = 20;
/// The gateways behind the networks.
pub const GW1: Ipv4Addr = Ipv4Addr::new(192, 168, 42, 1);
pub const GW2: Ipv4Addr = Ipv4Addr::new(192, 168, 62, 1);

/// The router: its kernel, and imon's picture of that.
#[derive(Clone, Debug)]
pub struct Router {
    pub kernel: Kernel,
    picture: Picture,
}

impl Deref for Router {
    type Target = Picture;

    fn deref(&self) -> &Picture {
        &self.picture
    }
}

/// What a packet is like.
#[derive(Clone, Copy, Default, Debug)]
pub struct Packet {
    /// Of the router itself, or of a host in the LAN.
    pub source: Option<Ipv4Addr>,
    pub to: Option<Ipv4Addr>,
    pub protocol: u8,
    pub port: u16,
    pub mark: u32,
}

impl Router {
    /// All is up, and nobody has set any default route.
    pub fn new() -> Self {
        let mut kernel = Kernel::new();
        kernel.settings.forwarding = true;
        for (index, name, net) in [(LAN, "lan0", 92), (WAN1, "wan1", 42), (WAN2, "wan2", 62)] {
            let link = Link { index, name: name.into(), ..Link::default() };
            kernel.add_link(link, true).unwrap();
            kernel.add_address(&Address::of(index, [192, 168, net, 2])).unwrap();
            kernel.set_up(index, true).unwrap();
        }
        let mut router = Self { kernel, picture: Picture::default() };
        router.look();
        router
    }

    /// Does something by hand.
    pub fn change(&mut self, deed: impl FnOnce(&mut Kernel)) {
        deed(&mut self.kernel);
        self.hear();
    }

    /// Looks at everything.
    fn look(&mut self) {
        self.kernel.look(&mut self.picture);
        self.kernel.hear(|_| {});
    }

    /// Takes the news in.
    fn hear(&mut self) {
        let (mut look, mut rules) = (false, false);
        let picture = &mut self.picture;
        let heard = self.kernel.hear(|message| match message.news {
            News::Rule(_) | News::NoRule(_) => rules = true,
            _ => look |= picture.note(message),
        });
        if look || heard == Heard::Overrun {
            self.look();
        } else if rules {
            let rule = |message: imon::kernel::news::Message| {
                if let News::Rule(rule) = message.news { Some(rule) } else { None }
            };
            self.picture.rules =
                self.kernel.list(Query::Rules).into_iter().filter_map(rule).collect();
        }
    }

    /// What imon sees.
    pub fn view(&self) -> RoutingView<'_> {
        RoutingView::from(&self.picture)
    }

    /// Makes a change of imon's, which must be one.
    pub fn make(&mut self, change: &Change) -> Result<(), Errno> {
        let result = self.kernel.request(change);
        self.hear();
        result
    }

    /// Makes the changes that the choice needs, and returns how many there were. At no point may
    /// the choice be without a road once it had one.
    pub fn follow(&mut self, policy: &Policy, chosen: Option<usize>) -> usize {
        let changes = policy.changes(chosen, &self.view());
        let mut had = [policy.table(), MAIN].map(|table| self.ours(table));
        for change in &changes {
            assert_eq!(self.make(change), Ok(()), "{change}: {:#?}", self.kernel);
            let have = [policy.table(), MAIN].map(|table| self.ours(table));
            assert!(
                have.iter().zip(&had).all(|(now, before)| *before == 0 || *now > 0),
                "a gap after {change}"
            );
            had = have;
        }
        assert_eq!(policy.changes(chosen, &self.view()), [], "nothing is left to do");
        changes.len()
    }

    /// How many routes of imon's a table has.
    pub fn ours(&self, table: u32) -> usize {
        self.kernel.routes4().iter().filter(|r| r.protocol == PROTOCOL && r.table == table).count()
    }

    /// Somebody adds a route; one whose gateway is elsewhere is said to be on the link.
    pub fn add(&mut self, route: &kernel::Route) {
        let route = theirs(route);
        let added = self.kernel.add_route(&route, Mode::PREPEND);
        if added.is_err() {
            let hops = route.hops.iter().map(|hop| Hop { onlink: true, ..hop.clone() }).collect();
            assert_eq!(self.kernel.add_route(&Route { hops, ..route }, Mode::PREPEND), Ok(()));
        }
        self.hear();
    }

    pub fn add_all<'a>(&mut self, routes: impl IntoIterator<Item = &'a kernel::Route>) {
        routes.into_iter().for_each(|route| self.add(route));
    }

    /// Somebody takes away the routes that imon sees and that are not to stay.
    pub fn keep_routes(&mut self, mut stays: impl FnMut(&kernel::Route) -> bool) {
        for route in self.picture.routes.clone() {
            if !stays(&route) {
                self.kernel.remove_route(&theirs(&route), false).unwrap();
            }
        }
        self.hear();
    }

    /// These, and no others.
    pub fn set_routes(&mut self, routes: &[kernel::Route]) {
        self.keep_routes(|_| false);
        self.add_all(routes);
    }

    /// Somebody adds a rule, behind all of its priority,
    pub fn add_rule(&mut self, rule: &kernel::Rule) {
        self.kernel.add_rule(&their_rule(rule), Some(rule.priority), false).unwrap();
        self.hear();
    }

    /// or without one, as `ip rule add` does it: before the second.
    pub fn add_rule_first(&mut self, rule: &kernel::Rule) {
        self.kernel.add_rule(&their_rule(rule), None, false).unwrap();
        self.hear();
    }

    /// Somebody takes away the rules that are not to stay.
    pub fn keep_rules(&mut self, mut stays: impl FnMut(&kernel::Rule) -> bool) {
        let shown = self.picture.rules.clone();
        let real = self.kernel.rules(false).to_vec();
        assert_eq!(shown.len(), real.len());
        for (shown, real) in shown.iter().zip(&real) {
            if !stays(shown) {
                self.kernel.remove_rule(real, Some(real.priority)).unwrap();
            }
        }
        self.hear();
    }

    /// The cable is in, or out; of a link that is up.
    pub fn plug(&mut self, index: u32, plugged: bool) {
        self.change(|kernel| kernel.set_plugged(index, plugged));
    }

    pub fn set_up(&mut self, index: u32, up: bool) {
        self.change(|kernel| kernel.set_up(index, up).unwrap());
    }

    /// The link has this address and no other, or none.
    pub fn set_address(&mut self, index: u32, address: Option<Ipv4Addr>) {
        self.change(|kernel| {
            for old in kernel.addresses().to_vec().iter().filter(|a| a.index == index) {
                // One that was added after it may have gone with it.
                let _ = kernel.remove_address(old);
            }
            if let Some(address) = address {
                kernel.add_address(&Address::of(index, address.octets())).unwrap();
            }
        });
    }

    /// A link comes, and is set up.
    pub fn add_link(&mut self, link: Link) {
        self.change(|kernel| {
            let index = link.index;
            kernel.add_link(Link { up: false, carrier: false, ..link }, true).unwrap();
            kernel.set_up(index, true).unwrap();
        });
    }

    /// The tunnel's link, with an address.
    pub fn add_tunnel(&mut self) {
        self.add_link(Link { index: TUNNEL, name: "tun0".into(), tunnel: true, ..Link::default() });
        self.set_address(TUNNEL, Some(Ipv4Addr::new(10, 8, 0, 2)));
    }

    /// A link goes and comes back as another, with its addresses.
    pub fn change_link(&mut self, index: u32, change: impl FnOnce(&mut Link)) {
        let mut link = self.links.iter().find(|l| l.index == index).cloned().unwrap();
        let addresses: Vec<_> =
            self.kernel.addresses().iter().filter(|a| a.index == index).cloned().collect();
        self.change(|kernel| kernel.remove_link(index).unwrap());
        change(&mut link);
        let index = link.index;
        self.add_link(link);
        self.change(|kernel| {
            for address in addresses {
                kernel.add_address(&Address { index, ..address }).unwrap();
            }
        });
    }

    /// By which interface a TCP packet to the internet leaves that nobody has marked.
    pub fn way(&self, source: Option<Ipv4Addr>) -> Option<u32> {
        self.way_of(Packet { source, protocol: kernel::TCP, ..Packet::default() })
    }

    /// By which interface a packet leaves. `None`: by none.
    pub fn way_of(&self, packet: Packet) -> Option<u32> {
        let from = packet.source.map(IpAddr::V4);
        let own = from.is_none_or(|from| self.kernel.addresses().iter().any(|a| a.address == from));
        let to = packet.to.unwrap_or(Ipv4Addr::new(1, 1, 1, 1));
        let base = Flow::to(to.into());
        let incoming = if own { base.incoming } else { LAN };
        let flow = Flow {
            from,
            incoming,
            protocol: packet.protocol,
            port: packet.port,
            mark: packet.mark,
            ..base
        };
        self.kernel.way(&flow).ok().map(|way| way.index)
    }
}

/// A route of somebody else's; without a hop it is a black hole.
fn theirs(route: &kernel::Route) -> Route {
    let hop = |h: &kernel::Hop| Hop {
        index: h.index,
        gateway: h.gateway.map(IpAddr::V4),
        onlink: h.onlink,
        ..Hop::default()
    };
    let direct = route.hops.iter().any(|h| h.gateway.is_none());
    Route {
        table: route.table,
        destination: route.destination.into(),
        prefix: route.prefix,
        tos: route.tos,
        metric: route.metric,
        kind: if route.hops.is_empty() { Kind::Blackhole } else { Kind::Unicast },
        scope: if direct { scope::LINK } else { scope::UNIVERSE },
        protocol: route.protocol,
        source: route.source.map(IpAddr::V4),
        hops: route.hops.iter().map(hop).collect(),
    }
}

/// A rule of somebody else's. One with more conditions has a mark under a mask.
fn their_rule(rule: &kernel::Rule) -> Rule {
    let (mark, mask) = match (rule.special, rule.mark) {
        (true, _) => (0x80000, 0xff_0000),
        (false, 0) => (0, 0),
        (false, mark) => (mark, u32::MAX),
    };
    let action = if rule.nowhere { Action::Unreachable } else { Action::Table(rule.table) };
    Rule { action, mark, mask, ..Rule::asked(rule) }
}
