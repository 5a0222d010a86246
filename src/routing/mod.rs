//! Which routes and rules there should be, and what has to change for that: a pure function of what
//! the kernel has and of the road that was chosen. It is asked again whenever something changes, so
//! what somebody removed comes back, what a killed imon left is taken over, and nothing is ever
//! added twice.
//!
//! ```text
//! P  from A1 to TARGET ipproto icmp lookup BASE+1       probes of network 1, for each of its targets
//! B  not from NOBODY lookup main suppress_prefixlength 0  everything but default routes, as always
//! B  from A1 ipproto tcp lookup BASE+1                  connections from and to the address of network 1,
//! B  from A1 ipproto udp dport 53 lookup BASE+1         its lookups,
//! B  from A1 oif DEVICE1 lookup BASE+1                  and what a program has bound to it
//! B  from all lookup BASE                               all else: by the chosen network
//! ```
//!
//! B is the last place before the first rule that leads everybody over one of our networks, mostly
//! main's own: what leads elsewhere stands before it, and goes first. P is before all rules of
//! others, and before B. So traffic follows the choice whatever other defaults the table main
//! holds, none of those is touched, and no tunnel is led around. The default in main at the
//! configured metric is there as well, as it was with V2.99: for people, for programs that look for
//! it, and for the moment in which imon is not there.

mod rules;

use std::fmt;
use std::net::Ipv4Addr;

pub use rules::{Beside, BesideKind, Lead, Probed};

use crate::kernel::{Address, Change, Hop, Link, MAIN, PROTOCOL, Route, Rule};

/// Highest number of WANs: each has a table behind the one of the choice.
pub const MOST_WANS: usize = 8;
/// Our tables are these and above,
pub const TABLES: u32 = 171_000_000;
/// so many for an instance.
pub const TABLES_EACH: u32 = 10;
const INSTANCES: u32 = 99_999;

impl<'a> From<&'a crate::kernel::Picture> for RoutingView<'a> {
    fn from(p: &'a crate::kernel::Picture) -> Self {
        Self {
            links: &p.links,
            addresses: &p.addresses,
            routes: &p.routes,
            rules: &p.rules,
            policy_routing: !p.no_policy_routing,
        }
    }
}

/// A road to the internet, as configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Uplink {
    /// The interface's name.
    pub device: String,
    /// Its gateway.
    pub gateway: GatewaySource,
    /// What its probes are sent to, as far as it has an address and is no neighbour.
    pub targets: Vec<Probed>,
    /// The gateway that somebody has named before, for [`GatewaySource::Auto`].
    pub remembered: Option<Ipv4Addr>,
}

/// Where the gateway's address is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GatewaySource {
    /// The configuration.
    Fixed(Ipv4Addr),
    /// The default route that a DHCP client or PPP puts on the interface.
    Auto,
}

/// What the kernel has, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub struct RoutingView<'a> {
    /// All interfaces.
    pub links: &'a [Link],
    /// All IPv4 addresses.
    pub addresses: &'a [Address],
    /// The default routes of all tables, and everything of ours.
    pub routes: &'a [Route],
    /// All rules.
    pub rules: &'a [Rule],
    /// The kernel has rules, and more than one table.
    pub policy_routing: bool,
}

/// What a road is like at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkState {
    /// There is no such interface.
    Missing,
    /// It is set down.
    Down,
    /// The cable is out, or the other end is off.
    NoCarrier,
    /// It has no address for the internet.
    NoAddress,
    /// It is a port of a bridge or bond, which has the address in its place.
    Port,
    /// Nobody has told yet who the gateway is.
    NoGateway,
    /// The kernel does not take a route over it.
    Refused,
    /// All there; whether it works is another question.
    Ready(WanPath),
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "there is no such interface",
            Self::Down => "the interface is set down",
            Self::NoCarrier => "no carrier: the cable is out, or the other end is off",
            Self::NoAddress => "the interface has no address",
            Self::Port => "the interface is a port of a bridge or bond, which has the address: use that in its place",
            Self::NoGateway => "no gateway is known: nobody has set a default route over the interface",
            Self::Refused => "the kernel refuses a route over it",
            Self::Ready(_) => "the link is ready",
        })
    }
}

/// A road that can be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WanPath {
    /// The interface's number.
    pub index: u32,
    /// Our address on it.
    pub address: Ipv4Addr,
    /// The gateway; a point-to-point link needs none.
    pub gateway: Option<Ipv4Addr>,
    /// The other end of a point-to-point link.
    pub peer: Option<Ipv4Addr>,
}

/// What a change is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Leading the traffic over the chosen WAN.
    Default,
    /// The road of one WAN, by which it is probed.
    Wan(usize),
    /// Everything else.
    Other,
}

/// The routes and rules of one instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    wans: Vec<Uplink>,
    metric: u32,
    base: u32,
}

impl Policy {
    /// For an instance with these WANs, of which at most [`MOST_WANS`] count, and this metric.
    #[must_use]
    pub fn new(instance: &str, mut wans: Vec<Uplink>, metric: u32) -> Self {
        wans.truncate(MOST_WANS);
        // FNV-1a: any hash will do as long as it is the same after a restart.
        let hash = instance
            .bytes()
            .fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
        Self { wans, metric, base: TABLES + (hash % INSTANCES) * TABLES_EACH }
    }

    /// The table with the road that was chosen, and nothing else.
    #[must_use]
    pub fn table(&self) -> u32 {
        self.base
    }

    /// The table with the road of this WAN, and nothing else.
    #[must_use]
    pub fn table_of(&self, wan: usize) -> u32 {
        self.base + 1 + small(wan)
    }

    /// What the probes of a WAN are sent to from now on. Returns whether that is something else
    /// than before.
    pub fn set_targets(&mut self, wan: usize, targets: Vec<Probed>) -> bool {
        let Some(wan) = self.wans.get_mut(wan).filter(|wan| wan.targets != targets) else {
            return false;
        };
        wan.targets = targets;
        true
    }

    /// Takes note of a default route of others, however soon it is gone: where two networks have no
    /// metrics, the default of one takes the place of the other's.
    pub fn remember(&mut self, route: &Route, links: &[Link]) {
        if !route.is_default() || route.is_ours() {
            return;
        }
        for hop in &route.hops {
            let Some(link) = links.iter().find(|l| l.index == hop.index) else { continue };
            if let (Some(wan), Some(_)) =
                (self.wans.iter_mut().find(|w| w.device == link.name), hop.gateway)
            {
                wan.remembered = hop.gateway;
            }
        }
    }

    /// Whether a network waits for a default route that was replaced by that of another network:
    /// the metrics are missing.
    #[must_use]
    pub fn lacks_metric(&self, wan: usize, view: &RoutingView<'_>) -> bool {
        let others =
            || view.routes.iter().filter(|r| r.table == MAIN && r.is_default() && !r.is_ours());
        let other = |r: &Route| {
            r.hop().and_then(|h| self.wan_of(h, view)).is_some_and(|other| other != wan)
        };
        let elsewhere = |r: &Route| r.metric == 0 && other(r);
        self.state(wan, view) == Some(LinkState::NoGateway)
            && others().count() == 1
            && others().all(elsewhere)
    }

    /// An earlier network that gave us the same address: modems of one make do.
    #[must_use]
    pub fn twin(&self, wan: usize, view: &RoutingView<'_>) -> Option<usize> {
        let address = |wan| self.road(wan, view).map(|road| road.address);
        let own = address(wan)?;
        (0..wan).find(|other| address(*other) == Some(own))
    }

    /// Whether it is the same but for what is probed and remembered.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let bare = |policy: &Self| {
            let mut bare = policy.clone();
            bare.wans.iter_mut().for_each(|wan| (wan.remembered, wan.targets) = (None, Vec::new()));
            bare
        };
        bare(self) == bare(other)
    }

    /// What the WAN is like. `None`: there is no such WAN.
    #[must_use]
    pub fn state(&self, wan: usize, view: &RoutingView<'_>) -> Option<LinkState> {
        let configured = self.wans.get(wan)?;
        let Some(link) = view.links.iter().find(|l| l.name == configured.device) else {
            return Some(LinkState::Missing);
        };
        if !link.up {
            return Some(LinkState::Down);
        }
        if !link.carrier {
            return Some(LinkState::NoCarrier);
        }
        let gateway = match configured.gateway {
            GatewaySource::Fixed(gateway) => Some(gateway),
            GatewaySource::Auto => self.learnt(wan, link, view),
        };
        let Some(Address { address, peer, .. }) = address(link, gateway, view) else {
            return Some(if link.master == 0 { LinkState::NoAddress } else { LinkState::Port });
        };
        if gateway.is_none() && !link.point_to_point {
            return Some(LinkState::NoGateway);
        }
        Some(LinkState::Ready(WanPath { index: link.index, address, gateway, peer }))
    }

    /// The gateway of the default that others put on the interface, in any table; the one with the
    /// lowest metric. While there is none, a renewal for example, the one we used last, which the
    /// kernel keeps for us as long as the address stays.
    fn learnt(&self, wan: usize, link: &Link, view: &RoutingView<'_>) -> Option<Ipv4Addr> {
        let through = |r: &&Route| r.is_default() && r.hops.iter().any(|h| h.index == link.index);
        let gateway =
            |r: &Route| r.hops.iter().find(|h| h.index == link.index).and_then(|h| h.gateway);
        let foreign =
            view.routes.iter().filter(through).filter(|r| !r.is_ours()).min_by_key(|r| r.metric);
        match foreign {
            Some(route) => gateway(route),
            None => {
                let kept = view
                    .routes
                    .iter()
                    .filter(through)
                    .find(|r| self.is_wan_table(r, wan))
                    .and_then(gateway);
                // It is another one's as soon as the address is another network's.
                let near = |g: &Ipv4Addr| {
                    view.addresses.iter().any(|a| a.index == link.index && a.reaches(*g))
                };
                kept.or(self.wans.get(wan).and_then(|w| w.remembered).filter(near))
            }
        }
    }

    /// The metric of our default in main: the configured one, or the next that nobody else uses.
    #[must_use]
    pub fn free_metric(&self, view: &RoutingView<'_>) -> u32 {
        let taken = |metric: u32| self.foreign_at(metric, view).is_some();
        // Main itself must not lead around what all traffic is left to.
        let first = self.metric.max(self.behind_yielded(view));
        let metrics = (0..=1000).filter_map(|n| first.checked_add(n));
        metrics.into_iter().find(|m| !taken(*m)).unwrap_or(self.metric)
    }

    /// Somebody else's default in main at this metric.
    #[must_use]
    pub fn foreign_at<'a>(&self, metric: u32, view: &RoutingView<'a>) -> Option<&'a Route> {
        view.routes.iter().find(|r| {
            r.table == MAIN && r.is_default() && r.metric == metric && !self.is_our_default(r, view)
        })
    }

    /// Whether a default in main is ours: it has our mark and goes over one of our WANs, or it is
    /// what V2.99 has left, at the configured metric over a configured interface and gateway.
    #[must_use]
    pub fn is_our_default(&self, route: &Route, view: &RoutingView<'_>) -> bool {
        if route.table != MAIN || !route.is_default() {
            return false;
        }
        let Some(hop) = route.hop() else { return false };
        self.wan_of(hop, view).is_some_and(|wan| {
            route.is_ours()
                || (route.metric == self.metric
                    && self.wans.get(wan).is_some_and(|w| {
                        hop.gateway.is_some_and(|g| w.gateway == GatewaySource::Fixed(g))
                    }))
        })
    }

    /// The WAN over which a default of ours in main goes at the moment: what an earlier imon left.
    #[must_use]
    pub fn adopted(&self, view: &RoutingView<'_>) -> Option<usize> {
        let ours = view.routes.iter().find(|r| self.is_our_default(r, view))?;
        self.wan_of(ours.hop()?, view)
    }

    /// The best default of others in main that would win over ours if there were no rules.
    #[must_use]
    pub fn rival<'a>(&self, view: &RoutingView<'a>) -> Option<&'a Route> {
        let metric = self.free_metric(view);
        view.routes
            .iter()
            .filter(|r| {
                r.table == MAIN && r.is_default() && r.tos == 0 && !self.is_our_default(r, view)
            })
            .filter(|r| r.metric < metric && !r.hops.iter().all(|h| h.dead))
            .min_by_key(|r| r.metric)
    }

    /// What has to change, in this order, so that the kernel has what it should have. Empty when it
    /// has.
    ///
    /// A WAN that is not ready keeps what it has: the last road is never taken away. Roads come
    /// before the rules that lead to them, and what is no longer wanted goes last, so that there is
    /// no moment without a road.
    #[must_use]
    pub fn changes(&self, chosen: Option<usize>, view: &RoutingView<'_>) -> Vec<Change> {
        let mut out = Vec::new();
        let roads: Vec<Option<WanPath>> =
            (0..self.wans.len()).map(|wan| self.road(wan, view)).collect();
        let chosen_road = chosen.and_then(|wan| roads.get(wan).copied().flatten());
        let metric = self.free_metric(view);
        if let Some(road) = chosen_road {
            if view.policy_routing {
                put(&mut out, default(self.base, 0, &road, true), view);
            }
            put(&mut out, default(MAIN, metric, &road, needs_onlink(&road, view)), view);
        }
        for (wan, road) in roads.iter().enumerate().filter(|_| view.policy_routing) {
            if let Some(road) = road {
                put(&mut out, default(self.table_of(wan), 0, road, true), view);
            }
        }
        if view.policy_routing {
            out.extend(self.rule_changes(chosen.is_some(), view));
        }
        // Of an earlier metric. V2.99's own has been replaced, or is at the metric that is in use.
        let old = |r: &&Route| r.is_ours() && r.metric != metric && self.is_our_default(r, view);
        if chosen_road.is_some() {
            out.extend(view.routes.iter().filter(old).cloned().map(Change::RemoveRoute));
        }
        out
    }

    /// What has to go at the end: rules first, then the roads of our tables; with `all` the default
    /// in main as well.
    #[must_use]
    pub fn farewell(&self, all: bool, view: &RoutingView<'_>) -> Vec<Change> {
        // The last one first: what leads everything goes before what makes exceptions from it.
        let rules = view
            .rules
            .iter()
            .rev()
            .filter(|rule| self.is_our_rule(rule))
            .cloned()
            .map(Change::RemoveRule);
        let ours = |r: &&Route| {
            r.is_ours() && (self.is_our_table(r.table) || (all && self.is_our_default(r, view)))
        };
        rules.chain(view.routes.iter().filter(ours).cloned().map(Change::RemoveRoute)).collect()
    }

    /// Of what a change is a part.
    #[must_use]
    pub fn part(&self, change: &Change) -> Part {
        let wan = |table: u32| (0..self.wans.len()).find(|wan| self.table_of(*wan) == table);
        match change {
            Change::Replace(route) if route.table == MAIN || route.table == self.base => {
                Part::Default
            }
            Change::Replace(route) => wan(route.table).map_or(Part::Other, Part::Wan),
            Change::AddRule(rule) | Change::AppendRule(rule) if rule.table == self.base => {
                Part::Default
            }
            Change::AddRule(_)
            | Change::AppendRule(_)
            | Change::RemoveRoute(_)
            | Change::RemoveRule(_) => Part::Other,
        }
    }

    fn road(&self, wan: usize, view: &RoutingView<'_>) -> Option<WanPath> {
        if let Some(LinkState::Ready(road)) = self.state(wan, view) { Some(road) } else { None }
    }

    fn is_our_table(&self, table: u32) -> bool {
        (self.base..self.base + TABLES_EACH).contains(&table)
    }

    fn is_wan_table(&self, route: &Route, wan: usize) -> bool {
        route.is_ours() && route.table == self.table_of(wan)
    }

    fn wan_of(&self, hop: &Hop, view: &RoutingView<'_>) -> Option<usize> {
        let link = view.links.iter().find(|l| l.index == hop.index)?;
        self.wans.iter().position(|w| w.device == link.name)
    }
}

fn small(wan: usize) -> u32 {
    u32::try_from(wan).unwrap_or(0)
}

/// Our address on the link: one in the gateway's network, else the first that is good for the
/// internet.
fn address(link: &Link, gateway: Option<Ipv4Addr>, view: &RoutingView<'_>) -> Option<Address> {
    let mut usable = view
        .addresses
        .iter()
        .filter(|a| a.index == link.index && !a.local && !a.address.is_link_local());
    let near = usable.clone().find(|a| gateway.is_some_and(|g| a.reaches(g)));
    near.or_else(|| usable.clone().find(|a| !a.secondary)).or_else(|| usable.next()).copied()
}

/// A gateway in none of the link's networks: the kernel takes it only when told that it is on the
/// link all the same. For main it looks for the gateway by the rules, and finds nothing where one
/// of them, or a route it leads to, ends first, or where none looks into main (after `ip rule
/// flush`).
fn needs_onlink(road: &WanPath, view: &RoutingView<'_>) -> bool {
    road.gateway
        .is_some_and(|g| !view.addresses.iter().any(|a| a.index == road.index && a.reaches(g)))
        || view.rules.iter().any(|rule| rule.nowhere)
        || (view.policy_routing && !view.rules.iter().any(|rule| rule.table == MAIN))
        || view.routes.iter().any(|route| route.table != MAIN && route.hops.is_empty())
}

/// A default route of ours. In tables of our own, which have no other routes, the kernel is to take
/// the gateway as it is: it would look for it by the rules, where a kill switch may stand before
/// main.
fn default(table: u32, metric: u32, road: &WanPath, onlink: bool) -> Route {
    Route {
        table,
        destination: Ipv4Addr::UNSPECIFIED,
        prefix: 0,
        metric,
        protocol: PROTOCOL,
        tos: 0,
        source: None,
        hops: vec![Hop {
            index: road.index,
            gateway: road.gateway,
            onlink: onlink && road.gateway.is_some(),
            dead: false,
        }],
        nexthop: 0,
    }
}

fn put(out: &mut Vec<Change>, wanted: Route, view: &RoutingView<'_>) {
    if !view.routes.iter().any(|r| same(r, &wanted)) {
        out.push(Change::Replace(wanted));
    }
}

/// Whether the kernel has the route. It notes by itself what has died, and whether the gateway is
/// on the link.
fn same(have: &Route, wanted: &Route) -> bool {
    let way = |r: &Route| r.hop().map(|h| (h.index, h.gateway));
    let place = |r: &Route| (r.table, r.prefix, r.metric, r.protocol, r.tos, r.source);
    place(have) == place(wanted) && way(have).is_some() && way(have) == way(wanted)
}

#[cfg(test)]
mod tests;
