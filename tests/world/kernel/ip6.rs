//! Addresses and routes of IPv6. Every route has one hop here; those with a gateway that share a
//! table, a destination and a metric are one multipath route to everybody who asks.

use std::net::{IpAddr, Ipv6Addr};

use super::{
    Address, Errno, Flow, Hop, KERNEL, Kernel, Kind, LOCAL, LOOPBACK, MAIN, Mode, News, Route, Way,
    covers, scope,
};

/// The metric of a route for which none is asked (`IP6_RT_PRIO_USER`),
const METRIC: u32 = 1024;
/// and of one that comes with an address (`IP6_RT_PRIO_ADDRCONF`).
const ADDRESS_METRIC: u32 = 256;
/// `RTPROT_BOOT`.
const BOOT: u8 = 3;
const MULTICAST: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0));

/// Addresses.
impl Kernel {
    /// Adds an address, of which it is not first found out whether another has it (`nodad`).
    pub(super) fn add_address6(&mut self, new: &Address) -> Result<(), Errno> {
        self.link(new.index).ok_or(libc::ENODEV)?;
        let IpAddr::V6(ip) = new.address else { return Err(libc::EINVAL) };
        if self.own6(new.index).iter().any(|a| a.address == new.address) {
            return Err(libc::EEXIST);
        }
        self.add_multicast_route(new.index);
        if ip.is_multicast() || ip.is_unspecified() || ip.is_loopback() && new.index != LOOPBACK {
            return Err(libc::EADDRNOTAVAIL);
        }
        let new = Address { secondary: false, broadcast: None, scope: scope_of(ip), ..new.clone() };
        // Those of a wider scope come first, the newest of a scope before the others.
        let own = |a: &Address| a.index == new.index && a.address.is_ipv6();
        let at = self.addresses.iter().position(|a| own(a) && a.scope >= new.scope);
        let behind = self.addresses.iter().rposition(own).map(|at| at + 1);
        self.addresses.insert(at.or(behind).unwrap_or(self.addresses.len()), new.clone());
        self.add_prefix_route(&new);
        self.tell(News::Address(new.clone()));
        self.insert6(local_route(&new));
        Ok(())
    }

    pub(super) fn remove_address6(&mut self, old: &Address) -> Result<(), Errno> {
        self.link(old.index).ok_or(libc::ENODEV)?;
        let is_it =
            |a: &Address| (a.index, a.address, a.prefix) == (old.index, old.address, old.prefix);
        let at = self.addresses.iter().position(is_it).ok_or(libc::EADDRNOTAVAIL)?;
        let old = self.addresses.remove(at);
        self.tell(News::NoAddress(old.clone()));
        let own = local_route(&old);
        self.delete6_first(|r| *r == own);
        let needed =
            |a: &Address| a.prefix == old.prefix && covers(a.address, a.prefix, old.address);
        if !old.no_prefix_route && !self.own6(old.index).iter().any(needed) {
            let prefix = |r: &Route| {
                (r.table, r.prefix) == (MAIN, old.prefix)
                    && covers(r.destination, r.prefix, old.address)
                    && r.over(old.index)
                    && r.gateway().is_none()
            };
            self.delete6_first(prefix);
        }
        // Routes lose a source that is no address any more.
        if !self.has_address(old.address) {
            let from = |r: &&mut Route| r.source == Some(old.address);
            self.routes6.iter_mut().filter(from).for_each(|r| r.source = None);
        }
        Ok(())
    }

    fn own6(&self, index: u32) -> Vec<Address> {
        self.addresses.iter().filter(|a| a.index == index && a.address.is_ipv6()).cloned().collect()
    }

    fn has_address(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|a| a.address == address)
    }

    fn add_prefix_route(&mut self, address: &Address) {
        if address.no_prefix_route {
            return;
        }
        let metric = if address.metric == 0 { ADDRESS_METRIC } else { address.metric };
        let route =
            own_route(MAIN, address.address, address.prefix, metric, Kind::Unicast, address.index);
        if let Ok(route) = self.checked6(&route) {
            self.insert6(route);
        }
    }

    fn add_multicast_route(&mut self, index: u32) {
        let route = own_route(LOCAL, MULTICAST, 8, ADDRESS_METRIC, Kind::Multicast, index);
        if index != LOOPBACK
            && let Ok(route) = self.checked6(&route)
        {
            self.insert6(route);
        }
    }

    /// The address that packets over an interface get (RFC 6724): of the scope of the destination,
    /// of that interface, of the same label, with most of the destination's bits.
    fn select_source6(&self, index: u32, to: IpAddr) -> Option<IpAddr> {
        let IpAddr::V6(to_ip) = to else { return None };
        let wanted = scope_of(to_ip);
        let mut best: Option<(Vec<i32>, IpAddr)> = None;
        for link in self.links() {
            if wanted >= scope::LINK && !to_ip.is_loopback() && link.index != index {
                continue;
            }
            for address in self.addresses.iter().filter(|a| a.index == link.index) {
                let IpAddr::V6(ip) = address.address else { continue };
                // A larger number is a nearer scope.
                let near = i32::from(address.scope) - i32::from(wanted);
                let fit = if near <= 0 { 1_000 + near } else { -near };
                let alike = (u128::from(ip) ^ u128::from(to_ip))
                    .leading_zeros()
                    .min(u32::from(address.prefix));
                let score = vec![
                    i32::from(address.address == to),
                    fit,
                    i32::from(address.index == index),
                    i32::from(label(ip) == label(to_ip)),
                    i32::try_from(alike).unwrap_or(0),
                ];
                if best.as_ref().is_none_or(|(highest, _)| score > *highest) {
                    best = Some((score, address.address));
                }
            }
        }
        best.map(|(_, address)| address)
    }
}

/// Interfaces that come and go.
impl Kernel {
    pub(super) fn device_up6(&mut self, index: u32) {
        if self.no_ipv6 {
            return;
        }
        if index == LOOPBACK && self.own6(index).is_empty() {
            let lo = Address {
                index,
                address: Ipv6Addr::LOCALHOST.into(),
                peer: None,
                prefix: 128,
                scope: scope::HOST,
                broadcast: None,
                secondary: false,
                no_prefix_route: false,
                metric: 0,
            };
            self.addresses.push(lo.clone());
            self.tell(News::Address(lo.clone()));
            self.insert6(local_route(&lo));
            return;
        }
        for address in self.own6(index) {
            self.add_prefix_route(&address);
        }
        if self.has_carrier(index) {
            self.ready6(index);
        }
    }

    /// The interface is up and has a carrier.
    fn ready6(&mut self, index: u32) {
        self.add_multicast_route(index);
        for hop in self.hops_over(index) {
            (hop.dead, hop.linkdown) = (false, false);
        }
    }

    pub(super) fn carrier_changed6(&mut self, index: u32, carrier: bool) {
        if self.no_ipv6 {
            return;
        }
        if carrier {
            return self.ready6(index);
        }
        self.forget_all(index, true, false);
        for route in self.routes6.iter_mut().filter(|r| r.over(index) && r.kind != Kind::Local) {
            route.hops.iter_mut().for_each(|h| h.linkdown = true);
        }
    }

    pub(super) fn device_down6(&mut self, index: u32) {
        self.forget_all(index, true, true);
        let group = |r: &Route| (r.table, r.destination, r.prefix, r.metric);
        let stays = |all: &[Route], route: &Route| {
            // A hop of several stays, and is dead, as long as one is over another interface.
            all.iter().any(|r| {
                group(r) == group(route) && r.gateway().is_some() && !r.over(index) && !r.is_dead()
            })
        };
        for route in self.routes6.clone().iter().filter(|r| r.over(index)) {
            if route.gateway().is_some() && stays(&self.routes6, route) {
                for hop in self.routes6.iter_mut().filter(|r| *r == route).flat_map(|r| &mut r.hops)
                {
                    (hop.dead, hop.linkdown) = (true, true);
                }
            } else {
                self.delete6_first(|r| r == route);
            }
        }
        for route in self.routes6.clone().iter().filter(|r| r.is_dead()) {
            if !stays(&self.routes6, route) {
                self.delete6_first(|r| r == route);
            }
        }
        self.remove_addresses6(index);
    }

    fn remove_addresses6(&mut self, index: u32) {
        for address in self.own6(index) {
            self.addresses.retain(|a| *a != address);
            self.tell(News::NoAddress(address));
        }
    }

    pub(super) fn device_gone6(&mut self, index: u32) {
        self.forget_all(index, true, true);
        while self.delete6_first(|r| r.over(index)) {}
        self.remove_addresses6(index);
    }

    fn hops_over(&mut self, index: u32) -> impl Iterator<Item = &mut Hop> {
        self.routes6.iter_mut().flat_map(|r| &mut r.hops).filter(move |h| h.index == index)
    }
}

/// Routes.
impl Kernel {
    pub(super) fn add_route6(&mut self, new: &Route, mode: Mode) -> Result<(), Errno> {
        if new.hops.len() < 2 {
            self.tables6.insert(new.table);
            let new = self.checked6(new)?;
            return self.insert(new, mode).map(|news| self.tell(news));
        }
        if new.hops.iter().any(|hop| hop.gateway.is_none()) {
            return Err(libc::EINVAL);
        }
        self.tables6.insert(new.table);
        let mut hops: Vec<Route> = Vec::new();
        for hop in &new.hops {
            let one = self.checked6(&Route { hops: vec![hop.clone()], ..new.clone() })?;
            if hops.iter().any(|other| same_hop(other, &one)) {
                return Err(libc::EEXIST);
            }
            hops.push(one);
        }
        let mut mode_now = mode;
        let mut done: Vec<Route> = Vec::new();
        for one in hops {
            if let Err(errno) = self.insert(one.clone(), mode_now) {
                self.tell_multipath(&done, mode);
                for made in done {
                    self.delete6_first(|r| *r == made);
                }
                return Err(errno);
            }
            mode_now = Mode { create: true, exclusive: false, replace: false, append: mode.append };
            done.push(one);
        }
        self.tell_multipath(&done, mode);
        Ok(())
    }

    /// Tells of the route with these new hops, those that it had before first if they were
    /// appended.
    fn tell_multipath(&mut self, new: &[Route], mode: Mode) {
        let at = |route: &Route| self.routes6.iter().position(|r| r == route);
        let before = new.last().and_then(at).and_then(|at| self.siblings(at).first().copied());
        let first = if mode.append { before } else { new.first().and_then(at) };
        let news = first.map(|at| News::Route(self.whole(at), mode.replace));
        self.news.extend(news);
    }

    /// Takes the first route away that fits. One that names a gateway is about a single hop; others
    /// about all that are in one multipath route.
    pub(super) fn remove_route6(&mut self, old: &Route) -> Result<(), Errno> {
        if old.hops.len() > 1 {
            let one = |hop: &Hop| Route { hops: vec![hop.clone()], ..old.clone() };
            let all: Vec<_> = old.hops.iter().map(|hop| self.remove_hops6(&one(hop))).collect();
            return all.into_iter().rfind(Result::is_err).unwrap_or(Ok(()));
        }
        self.remove_hops6(old)
    }

    fn remove_hops6(&mut self, old: &Route) -> Result<(), Errno> {
        let (index, gateway) = old.hops.first().map_or((0, None), |h| (h.index, h.gateway));
        let named = |r: &Route| {
            (r.table, r.prefix) == (old.table, old.prefix)
                && covers(r.destination, r.prefix, old.destination)
                && [0, r.metric].contains(&old.metric)
                && [0, r.protocol].contains(&old.protocol)
                && (index == 0 || r.over(index))
                && (gateway.is_none() || r.gateway() == gateway)
        };
        let Some(found) = self.routes6.iter().position(named) else {
            // A table has a default in the place of one, which cannot be taken away.
            let any = |r: &Route| (r.table, r.prefix) == (old.table, 0);
            let bare = self.tables6.contains(&old.table) && !self.routes6.iter().any(any);
            let fits = old.metric == 0
                && [0, KERNEL].contains(&old.protocol)
                && [0, LOOPBACK].contains(&index);
            let is_it = old.prefix == 0 && bare && fits && gateway.is_none();
            return Err(if is_it { libc::ENOENT } else { libc::ESRCH });
        };
        let siblings = if gateway.is_some() { vec![found] } else { self.siblings(found) };
        let gone = if siblings.len() > 1 { self.whole(found) } else { self.routes6[found].clone() };
        self.remove_at(&siblings);
        self.tell(News::NoRoute(gone));
        Ok(())
    }

    fn remove_at(&mut self, places: &[usize]) {
        let mut at = 0;
        self.routes6.retain(|_| {
            at += 1;
            !places.contains(&(at - 1))
        });
    }

    /// The route as the kernel takes it, if it does.
    fn checked6(&self, new: &Route) -> Result<Route, Errno> {
        let mut new = new.clone();
        if new.prefix > 128 {
            return Err(libc::EINVAL);
        }
        (new.destination, new.scope, new.tos) =
            (masked(new.destination, new.prefix), scope::UNIVERSE, 0);
        if new.metric == 0 {
            new.metric = METRIC;
        }
        if new.protocol == 0 {
            new.protocol = BOOT;
        }
        let mut hop = new.hops.first().cloned().unwrap_or_default();
        (hop.dead, hop.linkdown, hop.reach) = (false, false, 0);
        let known = |index: u32| self.link(index).ok_or(libc::ENODEV);
        if hop.index != 0 {
            known(hop.index)?;
        }
        if hop.onlink && !known(hop.index)?.up {
            return Err(libc::ENETDOWN);
        }
        if new.kind.error().is_some() {
            new.hops = vec![Hop { index: LOOPBACK, ..Hop::default() }];
        } else {
            if let Some(gateway) = hop.gateway {
                hop.index = self.check_gateway6(gateway, &hop, new.table)?;
            }
            let link = known(hop.index)?;
            if !link.up {
                return Err(libc::ENETDOWN);
            }
            hop.linkdown = !link.carrier && new.kind != Kind::Local;
            new.hops = vec![hop];
        }
        if new.source.is_some_and(|source| !self.has_address(source)) {
            return Err(libc::EINVAL);
        }
        Ok(new)
    }

    /// By which interface the gateway is reached.
    fn check_gateway6(&self, gateway: IpAddr, hop: &Hop, table: u32) -> Result<u32, Errno> {
        let IpAddr::V6(ip) = gateway else { return Err(libc::EINVAL) };
        let near = ip.is_unicast_link_local();
        let own = |index: u32| {
            self.addresses.iter().any(|a| a.address == gateway && (!near || a.index == index))
        };
        if hop.index != 0 && own(hop.index) {
            return Err(libc::EINVAL);
        }
        let mut index = hop.index;
        if !near {
            if ip.is_multicast() || ip.is_loopback() || ip.is_unspecified() {
                return Err(libc::EINVAL);
            }
            // It is nobody's packet, not even this machine's.
            let flow = Flow { device: hop.index, incoming: 0, ..Flow::to(gateway) };
            if hop.onlink {
                let found =
                    self.find6(MAIN, gateway, hop.index, false).map(|all| &self.routes6[all[0]]);
                // A route to `::/1` passes for a default one as well.
                let wrong = |r: &Route| {
                    !r.destination.is_unspecified()
                        && (r.kind != Kind::Unicast || !r.over(hop.index))
                };
                if found.is_some_and(|r| r.kind.error().is_none() && wrong(r)) {
                    return Err(libc::EINVAL);
                }
            } else {
                let on_link = |r: &&Route| r.kind.error().is_none() && r.gateway().is_none();
                let over = |r: &&Route| hop.index == 0 || r.over(hop.index);
                let here =
                    self.find6(table, gateway, hop.index, true).map(|all| &self.routes6[all[0]]);
                let found = match here.filter(on_link).filter(over) {
                    Some(route) => route,
                    None => {
                        let all = self.walk_to_gateway6(&flow).map_err(|_| libc::EHOSTUNREACH)?;
                        Some(&self.routes6[all[0]])
                            .filter(on_link)
                            .filter(over)
                            .ok_or(libc::EHOSTUNREACH)?
                    }
                };
                index = found.hops.first().map_or(0, |h| h.index);
            }
        }
        if index == 0 || index == LOOPBACK {
            return Err(libc::EINVAL);
        }
        if hop.index == 0 && own(index) {
            return Err(libc::EINVAL);
        }
        Ok(index)
    }

    /// A route that the kernel puts in by itself.
    fn insert6(&mut self, route: Route) {
        if let Ok(news) = self.insert(route, Mode::PREPEND) {
            self.tell(news);
        }
    }

    /// Puts a route with one hop in its place, and gives what is to be told of it.
    fn insert(&mut self, new: Route, mode: Mode) -> Result<News, Errno> {
        let key = |r: &Route| (r.table, r.destination, r.prefix, r.metric);
        let first = self.routes6.partition_point(|r| key(r) < key(&new));
        let end = self.routes6.partition_point(|r| key(r) <= key(&new));
        let several = new.gateway().is_some();
        if first < end {
            if mode.exclusive {
                return Err(libc::EEXIST);
            }
            if mode.replace {
                // One that is of the same sort, a hop of several or not, else the first.
                let like = (first..end)
                    .find(|at| self.routes6[*at].gateway().is_some() == several)
                    .unwrap_or(first);
                let others: Vec<usize> =
                    self.siblings(like).into_iter().filter(|at| *at != like).collect();
                self.routes6[like] = new.clone();
                self.remove_at(&others);
                return Ok(News::Route(new, true));
            }
            if self.routes6[first..end].iter().any(|r| same_hop(r, &new)) {
                return Err(libc::EEXIST);
            }
        } else if !mode.create {
            return Err(libc::ENOENT);
        }
        self.routes6.insert(end, new);
        Ok(News::Route(self.whole(end), false))
    }

    /// Takes the first away that is it, and tells. Returns whether there was one.
    fn delete6_first(&mut self, is_it: impl Fn(&Route) -> bool) -> bool {
        let Some(at) = self.routes6.iter().position(is_it) else { return false };
        let gone = self.routes6.remove(at);
        self.tell(News::NoRoute(gone));
        true
    }

    /// The places of all hops of the multipath route that the one at a place is in.
    fn siblings(&self, at: usize) -> Vec<usize> {
        let route = &self.routes6[at];
        if route.gateway().is_none() {
            return vec![at];
        }
        let key = |r: &Route| (r.table, r.destination, r.prefix, r.metric);
        let sibling = |r: &Route| key(r) == key(route) && r.gateway().is_some();
        (0..self.routes6.len()).filter(|at| sibling(&self.routes6[*at])).collect()
    }

    /// The multipath route that the one at a place is in, from this one on.
    fn whole(&self, at: usize) -> Route {
        let siblings = self.siblings(at);
        let (before, from) = siblings.split_at(siblings.iter().position(|s| *s == at).unwrap_or(0));
        let hops =
            from.iter().chain(before).flat_map(|at| self.routes6[*at].hops.clone()).collect();
        Route { hops, ..self.routes6[at].clone() }
    }

    /// The routes as they are told of, ordered by table, destination, prefix length and metric.
    pub fn routes6(&self) -> Vec<Route> {
        let mut all = Vec::new();
        let mut at = 0;
        while at < self.routes6.len() {
            all.push(self.whole(at));
            // The kernel leaves out what stands between the hops.
            at = self.siblings(at).last().map_or(at, |last| (*last).max(at)) + 1;
        }
        all
    }

    /// The best route of a table, and the others that it may be in its place. `strict`: only over
    /// this interface.
    fn find6(&self, table: u32, to: IpAddr, device: u32, strict: bool) -> Option<Vec<usize>> {
        let fits = |r: &Route| r.table == table && covers(r.destination, r.prefix, to);
        let mut lengths: Vec<u8> =
            self.routes6.iter().filter(|r| fits(r)).map(|r| r.prefix).collect();
        lengths.sort_unstable();
        lengths.dedup();
        lengths.into_iter().rev().find_map(|length| {
            let all = self.routes6.iter().enumerate();
            let node: Vec<usize> =
                all.filter(|(_, r)| fits(r) && r.prefix == length).map(|(at, _)| at).collect();
            self.select6(&node, device, strict)
        })
    }

    fn select6(&self, node: &[usize], device: u32, strict: bool) -> Option<Vec<usize>> {
        let score = |at: usize| {
            let route = &self.routes6[at];
            let on = device == 0 || route.over(device);
            if route.is_dead() || (strict && !on) { None } else { Some(u8::from(on)) }
        };
        let best = |of: &[usize]| {
            let mut best: Option<(u8, usize)> = None;
            for at in of {
                if let Some(score) =
                    score(*at).filter(|s| best.is_none_or(|(highest, _)| *s > highest))
                {
                    best = Some((score, *at));
                }
            }
            best.map(|(_, at)| at)
        };
        // Those of the lowest metric first, then all others at once.
        let lowest = self.routes6[*node.first()?].metric;
        let cut =
            node.iter().position(|at| self.routes6[*at].metric != lowest).unwrap_or(node.len());
        let found = best(&node[..cut]).or_else(|| best(&node[cut..]))?;
        let route = &self.routes6[found];
        let sibling = |at: &usize| {
            let other = &self.routes6[*at];
            *at != found
                && route.gateway().is_some()
                && other.gateway().is_some()
                && other.metric == route.metric
        };
        let others = node.iter().copied().filter(sibling).filter(|at| score(*at).is_some());
        Some([found].into_iter().chain(others).collect())
    }

    /// As [`Self::walk6`], but the kernel overlooks limits of prefix lengths here, and goes on
    /// behind no `throw` route.
    fn walk_to_gateway6(&self, flow: &Flow) -> Result<Vec<usize>, Errno> {
        self.walk(&self.rules6, flow, |table| {
            self.find6(table, flow.to, flow.device, true)
                .map(|found| (found, u8::MAX))
                .ok_or(libc::EAGAIN)
        })
    }

    fn walk6(&self, flow: &Flow, strict: bool) -> Result<Vec<usize>, Errno> {
        self.walk(&self.rules6, flow, |table| {
            let found = self.find6(table, flow.to, flow.device, strict).ok_or(libc::EAGAIN)?;
            let route = &self.routes6[found[0]];
            route.kind.error().map_or(Ok((found, route.prefix)), Err)
        })
    }

    pub(super) fn lookup6(&self, flow: &Flow) -> Result<Vec<Result<Way, Errno>>, Errno> {
        // A program that is bound to an interface, or has no address yet, gets no other one.
        let strict = flow.device != 0 && flow.from.is_none();
        let found = self.walk6(flow, strict)?;
        let way = |at: &usize| {
            let route = &self.routes6[*at];
            let index = route.hops.first().map_or(0, |h| h.index);
            Ok(Way {
                route: Some(self.whole(*at)),
                table: route.table,
                kind: route.kind,
                index: if route.kind == Kind::Local { LOOPBACK } else { index },
                gateway: route.gateway(),
                source: route.source.or_else(|| self.select_source6(index, flow.to)),
            })
        };
        Ok(found.iter().map(way).collect())
    }
}

impl Route {
    fn over(&self, index: u32) -> bool {
        self.hops.first().is_some_and(|h| h.index == index)
    }

    fn gateway(&self) -> Option<IpAddr> {
        self.hops.first().and_then(|h| h.gateway)
    }
}

fn same_hop(one: &Route, other: &Route) -> bool {
    let hop = |r: &Route| r.hops.first().map(|h| (h.index, h.gateway));
    hop(one) == hop(other)
}

fn local_route(address: &Address) -> Route {
    own_route(LOCAL, address.address, 128, 0, Kind::Local, address.index)
}

fn own_route(table: u32, to: IpAddr, prefix: u8, metric: u32, kind: Kind, index: u32) -> Route {
    Route {
        table,
        destination: masked(to, prefix),
        prefix,
        tos: 0,
        metric,
        kind,
        scope: scope::UNIVERSE,
        protocol: KERNEL,
        source: None,
        hops: vec![Hop { index, ..Hop::default() }],
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let IpAddr::V6(ip) = address else { return address };
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    Ipv6Addr::from(u128::from(ip) & mask).into()
}

fn scope_of(ip: Ipv6Addr) -> u8 {
    if ip.is_loopback() {
        scope::HOST
    } else if ip.is_unicast_link_local() {
        scope::LINK
    } else {
        scope::UNIVERSE
    }
}

/// Of the kernel's table of labels, as far as such addresses are drawn.
fn label(ip: Ipv6Addr) -> u8 {
    match ip.octets() {
        _ if ip.is_loopback() => 0,
        [0xfc | 0xfd, ..] => 5,
        _ => 1,
    }
}
