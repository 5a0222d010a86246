//! Addresses and routes of IPv4.

use std::net::{IpAddr, Ipv4Addr};

use super::{
    Address, Errno, Flow, Hop, KERNEL, Kernel, Kind, LOCAL, LOOPBACK, MAIN, Mode, News, Route, Way,
    covers, scope,
};

/// What is looked for in a table.
struct Find {
    to: IpAddr,
    tos: u8,
    device: u32,
    /// Routes that are not at least as near as this are passed over.
    scope: u8,
}

/// What was found in a table: which route, and which of its hops.
type Found = (usize, Option<usize>);

/// How an interface that goes away does it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gone {
    /// The carrier is lost.
    Carrier,
    /// It is set down.
    Down,
    /// It has no addresses any more.
    Bare,
    /// It is unplugged.
    Away,
}

/// Addresses.
impl Kernel {
    /// Adds an address to an interface.
    pub(super) fn add_address4(&mut self, new: &Address) -> Result<(), Errno> {
        if self.link(new.index).is_none() {
            return Err(libc::ENODEV);
        }
        let mut new = Address { secondary: false, ..new.clone() };
        let own = || {
            self.addresses
                .iter()
                .enumerate()
                .filter(|(_, a)| a.index == new.index && a.address.is_ipv4())
        };
        if own().any(|(_, old)| old.address == new.address && old.same_network(&new)) {
            return Err(libc::EEXIST);
        }
        // Behind the last first address that is at most as near, a further one behind all.
        let mut place = None;
        for (at, old) in own() {
            if !old.secondary && new.scope <= old.scope {
                place = Some(at);
            }
            if old.same_network(&new) {
                if old.scope != new.scope {
                    return Err(libc::EINVAL);
                }
                new.secondary = true;
            }
        }
        let first = own().next().map_or(self.addresses.len(), |(at, _)| at);
        let last = own().next_back().map_or(self.addresses.len(), |(at, _)| at + 1);
        let at = if new.secondary { last } else { place.map_or(first, |at| at + 1) };
        self.addresses.insert(at, new.clone());
        self.tell(News::Address(new.clone()));
        self.address_up(&new);
        Ok(())
    }

    /// Takes the first address away that is this one. Further ones of its network go with a first
    /// one, or the next takes its place.
    pub(super) fn remove_address4(&mut self, old: &Address) -> Result<(), Errno> {
        if self.link(old.index).is_none() {
            return Err(libc::ENODEV);
        }
        let is_it = |a: &&Address| {
            a.index == old.index
                && a.address == old.address
                && a.prefix == old.prefix
                && a.same_network(old)
        };
        let found = self.addresses.iter().find(is_it).cloned().ok_or(libc::EADDRNOTAVAIL)?;
        self.delete_address(&found, false);
        Ok(())
    }

    fn own4(&self, index: u32) -> Vec<Address> {
        self.addresses.iter().filter(|a| a.index == index && a.address.is_ipv4()).cloned().collect()
    }

    /// `away`: its interface is going.
    fn delete_address(&mut self, old: &Address, away: bool) {
        let mut promoted = None;
        if !old.secondary && !away {
            for further in self.own4(old.index).into_iter().skip_while(|a| a != old).skip(1) {
                if !further.secondary || !further.same_network(old) {
                    continue;
                }
                if self.settings.promote_secondaries {
                    promoted = promoted.or(Some(further.clone()));
                    // They lose the first one as the source of their routes.
                    self.delete_routes_of(&further, Some(old), away);
                } else {
                    self.addresses.retain(|a| *a != further);
                    self.tell(News::NoAddress(further.clone()));
                    self.address_down(&further, away);
                }
            }
        }
        self.addresses.retain(|a| a != old);
        self.tell(News::NoAddress(old.clone()));
        self.address_down(old, away);
        if let Some(next) = promoted {
            self.promote(&next, old);
        }
    }

    fn promote(&mut self, next: &Address, old: &Address) {
        let new = Address { secondary: false, ..next.clone() };
        let rest: Vec<Address> = self
            .own4(old.index)
            .into_iter()
            .skip_while(|a| a != next)
            .skip(1)
            .filter(|a| a.same_network(old))
            .collect();
        self.addresses.retain(|a| a != next);
        // Behind the last first address that is at most as near.
        let after = |a: &Address| {
            a.index == old.index && a.address.is_ipv4() && !a.secondary && old.scope <= a.scope
        };
        let first = self.addresses.iter().position(|a| a.index == old.index && a.address.is_ipv4());
        let at = self
            .addresses
            .iter()
            .rposition(after)
            .map(|at| at + 1)
            .or(first)
            .unwrap_or(self.addresses.len());
        self.addresses.insert(at, new.clone());
        self.tell(News::Address(new.clone()));
        self.address_up(&new);
        for further in rest {
            self.add_routes_of(&further);
        }
    }

    fn address_up(&mut self, new: &Address) {
        self.add_routes_of(new);
        self.revive(new.index, true);
    }

    fn address_down(&mut self, old: &Address, away: bool) {
        self.delete_routes_of(old, None, away);
        if self.own4(old.index).is_empty() {
            self.disable(old.index, Gone::Bare);
        }
    }

    /// The first address of the network that an address is in.
    fn first_of(&self, address: &Address) -> Option<Address> {
        self.own4(address.index).into_iter().find(|a| !a.secondary && a.same_network(address))
    }

    /// The routes that come with an address: to itself, to its network, to that one's broadcast
    /// address.
    fn add_routes_of(&mut self, address: &Address) {
        let first = if address.secondary { self.first_of(address) } else { Some(address.clone()) };
        let Some(first) = first else { return };
        let up = self.is_up(address.index);
        let mut add = |kind, to: u32, prefix, metric| {
            let _ = self.add_route4(&own_route(kind, to, prefix, &first, metric), Mode::APPEND);
        };
        add(Kind::Local, v4(address.address), 32, 0);
        if !up {
            return;
        }
        if let Some(broadcast) = address.broadcast.filter(|b| !b.is_broadcast()) {
            add(Kind::Broadcast, broadcast.into(), 32, 0);
        }
        let (network, last) = network(address);
        let zero = network >> 24 == 0;
        if !zero && !address.secondary && (network != v4(address.address) || address.prefix < 32) {
            if !address.no_prefix_route {
                add(network_kind(address), network, address.prefix, address.metric);
            }
            if address.prefix < 31 {
                add(Kind::Broadcast, last, 32, 0);
            }
        }
    }

    /// Takes the routes of an address away, as far as no other one of its interface needs them.
    /// `first`: the first address of its network, which is about to go, while this one stays.
    fn delete_routes_of(&mut self, address: &Address, first: Option<&Address>, away: bool) {
        let (any, brd) = network(address);
        let broadcast = |a: &Address| a.broadcast.map_or(0, u32::from);
        let mut subnet = false;
        let mut gone = true;
        let prim = if address.secondary {
            // The caller may have taken it out of the list already.
            match first.cloned().or_else(|| self.first_of(address)) {
                Some(first) => first,
                None => return,
            }
        } else {
            if any >> 24 != 0 && (any != v4(address.address) || address.prefix < 32) {
                if !address.no_prefix_route {
                    self.remove_own(network_kind(address), any, address.prefix, address);
                }
                subnet = true;
            }
            address.clone()
        };
        let (mut local_ok, mut brd_ok, mut brd0_ok, mut brd1_ok) = (false, false, false, false);
        let mut same_source = false;
        let mut prim1: Option<Address> = None;
        let others = if away { Vec::new() } else { self.own4(address.index) };
        for other in &others {
            if other == address {
                gone = false;
                continue;
            }
            if first.is_some_and(|first| other.same_network(first)) {
                continue;
            }
            if other.secondary {
                if other.same_network(&prim) {
                    prim1 = Some(prim.clone());
                } else {
                    if !same_source {
                        continue;
                    }
                    if prim1.as_ref().is_none_or(|p| !other.same_network(p)) {
                        prim1 = self.first_of(other);
                    }
                    if prim1.as_ref().is_none_or(|p| p.address != prim.address) {
                        continue;
                    }
                }
            } else {
                if prim.address != other.address {
                    continue;
                }
                prim1 = Some(other.clone());
                same_source |= prim != *other;
            }
            local_ok |= address.address == other.address;
            brd_ok |= broadcast(address) == broadcast(other);
            brd1_ok |= brd == broadcast(other);
            brd0_ok |= any == broadcast(other);
            if prim1.as_ref() == Some(other) && other.prefix < 31 {
                let (any1, brd1) = network(other);
                if any1 >> 24 != 0 {
                    let either = |b: u32| b == brd1 || b == any1;
                    brd_ok |= either(broadcast(address));
                    brd1_ok |= either(brd);
                    brd0_ok |= either(any);
                }
            }
        }
        if !brd_ok {
            self.remove_own(Kind::Broadcast, broadcast(address), 32, &prim);
        }
        if subnet && address.prefix < 31 {
            if !brd1_ok {
                self.remove_own(Kind::Broadcast, brd, 32, &prim);
            }
            if !brd0_ok {
                self.remove_own(Kind::Broadcast, any, 32, &prim);
            }
        }
        if !local_ok {
            self.remove_own(Kind::Local, v4(address.address), 32, &prim);
            if gone && self.kind_of(address.address, LOCAL) != Kind::Local {
                self.forget_source(address.address);
            }
        }
    }

    fn remove_own(&mut self, kind: Kind, to: u32, prefix: u8, first: &Address) {
        let _ = self.remove_route4(&own_route(kind, to, prefix, first, 0), true);
    }

    /// Routes of main that prefer a source address that is gone go with it, and this is told.
    fn forget_source(&mut self, source: IpAddr) {
        let (gone, stay) = std::mem::take(&mut self.routes4)
            .into_iter()
            .partition(|r| r.table == MAIN && r.source == Some(source) && r.kind.error().is_none());
        self.routes4 = stay;
        let mut gone: Vec<Route> = gone;
        // The kernel goes through its table from the end.
        gone.sort_by_key(|r| std::cmp::Reverse(r.destination));
        self.news.extend(gone.into_iter().map(News::NoRoute));
    }

    /// The address that packets over an interface get: a first one, of the gateway's network if
    /// there is one, otherwise that of another interface.
    fn select_source(&self, index: u32, gateway: Option<IpAddr>, scope: u8) -> Option<IpAddr> {
        let near = |a: &&Address| a.address.is_ipv4() && !a.secondary && a.scope <= scope;
        let own = || self.addresses.iter().filter(move |a| a.index == index).filter(near);
        let with = |gateway: IpAddr| own().find(|a| covers(a.base(), a.prefix, gateway));
        let elsewhere = || {
            let of =
                |index: u32| self.addresses.iter().filter(move |a| a.index == index).filter(near);
            self.links().find_map(|l| of(l.index).find(|a| a.scope != scope::LINK))
        };
        gateway.and_then(with).or_else(|| own().next()).or_else(elsewhere).map(|a| a.address)
    }
}

/// Interfaces that come and go.
impl Kernel {
    pub(super) fn device_up4(&mut self, index: u32) {
        if index == LOOPBACK && self.own4(index).is_empty() {
            let lo = Address {
                index,
                address: Ipv4Addr::LOCALHOST.into(),
                peer: None,
                prefix: 8,
                scope: scope::HOST,
                broadcast: None,
                secondary: false,
                no_prefix_route: false,
                metric: 0,
            };
            let _ = self.add_address4(&lo);
        }
        for address in self.own4(index) {
            self.add_routes_of(&address);
        }
        self.revive(index, true);
    }

    pub(super) fn device_down4(&mut self, index: u32) {
        self.disable(index, Gone::Down);
    }

    pub(super) fn device_gone4(&mut self, index: u32) {
        while let Some(address) = self.own4(index).first().cloned() {
            self.delete_address(&address, true);
        }
        self.disable(index, Gone::Away);
    }

    pub(super) fn carrier_changed4(&mut self, index: u32, carrier: bool) {
        if carrier {
            self.revive(index, false);
        } else {
            self.disable(index, Gone::Carrier);
        }
    }

    /// Marks the hops over an interface, and takes the routes away that have no other. Nothing is
    /// told.
    fn disable(&mut self, index: u32, how: Gone) {
        self.forget_all(index, false, how != Gone::Carrier);
        for route in &mut self.routes4 {
            let mut over = false;
            for hop in route.hops.iter_mut().filter(|h| h.index == index) {
                over = true;
                // Addresses of this machine stay while the interface does.
                if hop.reach == scope::NOWHERE && matches!(how, Gone::Carrier | Gone::Down) {
                    continue;
                }
                hop.linkdown = true;
                hop.dead |= how != Gone::Carrier;
            }
            if over && how == Gone::Away {
                route.hops.iter_mut().for_each(|h| h.dead = true);
            }
        }
        self.routes4.retain(|r| !r.is_dead());
    }

    /// Takes the marks off: that of the carrier, and with `up` that of being dead.
    fn revive(&mut self, index: u32, up: bool) {
        if !self.is_up(index) {
            return;
        }
        let carrier = !up || self.has_carrier(index);
        for hop in self.routes4.iter_mut().flat_map(|r| &mut r.hops).filter(|h| h.index == index) {
            hop.dead &= !up;
            hop.linkdown &= !carrier;
        }
    }
}

/// Routes.
impl Kernel {
    /// Puts a route in.
    pub(super) fn add_route4(&mut self, new: &Route, mode: Mode) -> Result<(), Errno> {
        let new = self.checked(new)?;
        let key =
            |r: &Route| (r.table, v4(r.destination), 32 - r.prefix, u8::MAX - r.tos, r.metric);
        let first = self.routes4.partition_point(|r| key(r) < key(&new));
        let end = self.routes4.partition_point(|r| key(r) <= key(&new));
        let mut at = first;
        if first < end {
            if mode.exclusive {
                return Err(libc::EEXIST);
            }
            let same = (first..end).find(|at| self.routes4[*at].alike(&new));
            if mode.replace {
                return match same {
                    Some(at) if at == first => Ok(()),
                    Some(_) => Err(libc::EEXIST),
                    None => {
                        self.routes4[first] = new.clone();
                        self.tell(News::Route(new, true));
                        Ok(())
                    }
                };
            }
            if same.is_some() {
                return Err(libc::EEXIST);
            }
            if mode.append {
                at = end;
            }
        }
        if !mode.create {
            return Err(libc::ENOENT);
        }
        self.routes4.insert(at, new.clone());
        self.tell(News::Route(new, false));
        Ok(())
    }

    /// Takes the first route away that has what is named: a metric, protocol, source or hop that is
    /// not given may be any, and unless `exact` the kind and scope as well.
    pub(super) fn remove_route4(&mut self, old: &Route, exact: bool) -> Result<(), Errno> {
        valid_prefix(old)?;
        let named = |r: &Route| {
            (r.table, r.destination, r.prefix, r.tos)
                == (old.table, old.destination, old.prefix, old.tos)
                && (!exact || (r.kind, r.scope) == (old.kind, old.scope))
                && [0, r.metric].contains(&old.metric)
                && [0, r.protocol].contains(&old.protocol)
                && (old.source.is_none() || r.source == old.source)
                && hops_named(&old.hops, &r.hops)
        };
        let at = self.routes4.iter().position(named).ok_or(libc::ESRCH)?;
        let gone = self.routes4.remove(at);
        self.tell(News::NoRoute(gone));
        Ok(())
    }

    /// The route as the kernel takes it, if it does.
    fn checked(&self, new: &Route) -> Result<Route, Errno> {
        let mut new = new.clone();
        valid_prefix(&new)?;
        let least = match new.kind {
            Kind::Local => scope::HOST,
            Kind::Broadcast | Kind::Anycast => scope::LINK,
            _ => scope::UNIVERSE,
        };
        if least > new.scope {
            return Err(libc::EINVAL);
        }
        if new.kind.error().is_some() {
            return if new.hops.is_empty() { Ok(new) } else { Err(libc::EINVAL) };
        }
        if new.scope > scope::HOST {
            return Err(libc::EINVAL);
        }
        if new.hops.is_empty() {
            new.hops.push(Hop::default());
        }
        let single = new.hops.len() == 1;
        for hop in &mut new.hops {
            (hop.dead, hop.linkdown) = (false, false);
            if new.scope == scope::HOST {
                if !single || hop.gateway.is_some() {
                    return Err(libc::EINVAL);
                }
                hop.reach = scope::NOWHERE;
                self.link(hop.index).ok_or(libc::ENODEV)?;
            } else {
                self.check_hop(hop, new.table, new.scope)?;
            }
        }
        if let Some(source) = new.source {
            let itself = new.kind == Kind::Local && source == new.destination;
            let table = if new.table == MAIN { LOCAL } else { new.table };
            let local = |table| self.kind_of(source, table) == Kind::Local;
            if !itself && !local(table) && !local(LOCAL) {
                return Err(libc::EINVAL);
            }
        }
        Ok(new)
    }

    /// Whether the next hop can be reached, and by which interface.
    fn check_hop(&self, hop: &mut Hop, table: u32, of: u8) -> Result<(), Errno> {
        let Some(gateway) = hop.gateway else {
            if hop.onlink {
                return Err(libc::EINVAL);
            }
            let link = self.link(hop.index).ok_or(libc::ENODEV)?;
            if !link.up {
                return Err(libc::ENETDOWN);
            }
            hop.reach = scope::HOST;
            hop.linkdown = !link.carrier;
            return Ok(());
        };
        if hop.onlink {
            if of >= scope::LINK {
                return Err(libc::EINVAL);
            }
            let link = self.link(hop.index).ok_or(libc::ENODEV)?;
            if !link.up {
                return Err(libc::ENETDOWN);
            }
            if self.kind_of(gateway, LOCAL) != Kind::Unicast {
                return Err(libc::EINVAL);
            }
            hop.reach = scope::LINK;
            hop.linkdown = !link.carrier;
            return Ok(());
        }
        let find = Find {
            to: gateway,
            tos: 0,
            device: hop.index,
            scope: of.saturating_add(1).max(scope::LINK),
        };
        let here = if table == MAIN { Err(libc::EAGAIN) } else { self.find(table, &find) };
        let flow = Flow { device: hop.index, ..Flow::to(gateway) };
        let look =
            |table| self.find(table, &find).map(|found| (found, self.routes4[found.0].prefix));
        let (route, way) = here.or_else(|_| self.walk(&self.rules4, &flow, look))?;
        let route = &self.routes4[route];
        if !matches!(route.kind, Kind::Unicast | Kind::Local) {
            return Err(libc::EINVAL);
        }
        let over = way.and_then(|at| route.hops.get(at)).ok_or(libc::EINVAL)?;
        hop.index = over.index;
        hop.reach = route.scope;
        let link = self.link(hop.index).ok_or(libc::EINVAL)?;
        hop.linkdown = !link.carrier;
        if link.up { Ok(()) } else { Err(libc::ENETDOWN) }
    }

    /// What kind of address it is by the routes of a table.
    fn kind_of(&self, address: IpAddr, table: u32) -> Kind {
        let IpAddr::V4(ip) = address else { return Kind::Unicast };
        if ip.octets()[0] == 0 || ip.is_broadcast() {
            return Kind::Broadcast;
        }
        if ip.is_multicast() {
            return Kind::Multicast;
        }
        self.find(table, &Find { to: address, tos: 0, device: 0, scope: 0 })
            .map_or(Kind::Unicast, |(at, _)| self.routes4[at].kind)
    }

    /// The best route of a table, and the first of its hops that will do. `EAGAIN`: there is none.
    fn find(&self, table: u32, find: &Find) -> Result<Found, Errno> {
        let fits = |r: &Route| r.table == table && covers(r.destination, r.prefix, find.to);
        let mut fitting: Vec<usize> =
            (0..self.routes4.len()).filter(|at| fits(&self.routes4[*at])).collect();
        fitting.sort_by_key(|at| u8::MAX - self.routes4[*at].prefix);
        for at in fitting {
            let route = &self.routes4[at];
            if ![0, find.tos].contains(&route.tos) || route.scope < find.scope {
                continue;
            }
            if let Some(errno) = route.kind.error() {
                return Err(errno);
            }
            let good = |h: &Hop| !h.dead && [0, h.index].contains(&find.device);
            if let Some(hop) = route.hops.iter().position(good) {
                return Ok((at, Some(hop)));
            }
        }
        Err(libc::EAGAIN)
    }

    /// The ways that a packet of this machine may take; one, unless the kernel chooses among
    /// several.
    pub(super) fn lookup4(&self, flow: &Flow) -> Result<Vec<Result<Way, Errno>>, Errno> {
        if flow.incoming != LOOPBACK {
            return self.received4(flow);
        }
        if let Some(from) = flow.from {
            let IpAddr::V4(ip) = from else { return Err(libc::EINVAL) };
            if ip.is_multicast() || ip.is_broadcast() || ip.octets()[0] == 0 {
                return Err(libc::EINVAL);
            }
            let own = self.addresses.iter().any(|a| a.address == from);
            if !own && self.kind_of(from, LOCAL) != Kind::Local {
                return Err(libc::ENETUNREACH);
            }
        }
        if flow.device != 0 {
            let link = self.link(flow.device).ok_or(libc::ENODEV)?;
            if !link.up {
                return Err(libc::ENETUNREACH);
            }
        }
        let find = Find { to: flow.to, tos: flow.tos, device: flow.device, scope: 0 };
        let look =
            |table| self.find(table, &find).map(|found| (found, self.routes4[found.0].prefix));
        let (at, hop) = match self.walk(&self.rules4, flow, look) {
            Ok(found) => found,
            Err(_) if flow.device != 0 => {
                let source =
                    flow.from.or_else(|| self.select_source(flow.device, None, scope::LINK));
                let way = Way {
                    route: None,
                    table: 0,
                    kind: Kind::Unicast,
                    index: flow.device,
                    gateway: None,
                    source,
                };
                return Ok(vec![self.sendable(flow, way)]);
            }
            Err(errno) => return Err(errno),
        };
        let route = &self.routes4[at];
        if route.kind == Kind::Local {
            let source = flow.from.or(route.source).or(Some(flow.to));
            let (table, route) = (route.table, Some(route.clone()));
            let way =
                Way { route, table, kind: Kind::Local, index: LOOPBACK, gateway: None, source };
            return Ok(vec![self.sendable(flow, way)]);
        }
        let by = |route: &Route, hop: &Hop| {
            let source =
                || route.source.or_else(|| self.select_source(hop.index, hop.gateway, route.scope));
            let way = Way {
                route: Some(route.clone()),
                table: route.table,
                kind: route.kind,
                index: hop.index,
                gateway: hop.gateway.filter(|_| hop.reach == scope::LINK),
                source: flow.from.or_else(source),
            };
            self.sendable(flow, way)
        };
        if flow.device != 0 {
            let hop = hop.and_then(|hop| route.hops.get(hop)).ok_or(libc::EINVAL)?;
            return Ok(vec![by(route, hop)]);
        }
        let mut ways: Vec<_> =
            route.hops.iter().filter(|h| !h.dead).map(|hop| by(route, hop)).collect();
        // Among defaults of the same metric it chooses by what is known of the gateways.
        if route.prefix == 0 && route.hops.len() == 1 && route.kind == Kind::Unicast {
            let rivals = self.routes4.iter().filter(|r| r.place() == route.place() && *r != route);
            for rival in
                rivals.filter(|r| r.scope == route.scope && r.kind == Kind::Unicast && !r.is_dead())
            {
                ways.extend(rival.hops.first().map(|hop| by(rival, hop)));
            }
        }
        Ok(ways)
    }

    /// What becomes of a packet that has come in: it is for this machine, goes on, or is dropped.
    fn received4(&self, flow: &Flow) -> Result<Vec<Result<Way, Errno>>, Errno> {
        self.link(flow.incoming).ok_or(libc::ENODEV)?;
        let Some(IpAddr::V4(from)) = flow.from else { return Err(libc::EINVAL) };
        let nobody = from.is_multicast()
            || from.is_broadcast()
            || from.octets()[0] == 0
            || from.is_loopback();
        if nobody || flow.to.is_loopback() {
            return Err(libc::EINVAL);
        }
        let find = Find { to: flow.to, tos: flow.tos, device: 0, scope: 0 };
        let look =
            |table| self.find(table, &find).map(|found| (found, self.routes4[found.0].prefix));
        let unreachable = |errno| if self.settings.forwarding { errno } else { libc::EHOSTUNREACH };
        let (at, _) = self.walk(&self.rules4, flow, look).map_err(unreachable)?;
        let route = &self.routes4[at];
        let way = |index, gateway| {
            let (table, kind, route) = (route.table, route.kind, Some(route.clone()));
            Way { route, table, kind, index, gateway, source: None }
        };
        if matches!(route.kind, Kind::Local | Kind::Broadcast) {
            let to = if route.kind == Kind::Local { flow.to } else { Ipv4Addr::UNSPECIFIED.into() };
            return Ok(vec![self.accepts(flow, to, LOOPBACK).map(|()| way(LOOPBACK, None))]);
        }
        if !self.settings.forwarding {
            return Err(libc::EHOSTUNREACH);
        }
        if route.kind != Kind::Unicast {
            return Err(libc::EINVAL);
        }
        let by = |hop: &Hop| {
            let gateway = hop.gateway.filter(|_| hop.reach == scope::LINK);
            self.accepts(flow, flow.to, hop.index).map(|()| way(hop.index, gateway))
        };
        Ok(route.hops.iter().filter(|h| !h.dead).map(by).collect())
    }

    /// Whether a packet may have come in by its interface: its source is somebody else, and would
    /// be answered, as far as `rp_filter` wants that.
    fn accepts(&self, flow: &Flow, to: IpAddr, out: u32) -> Result<(), Errno> {
        let source = flow.from.unwrap_or(to);
        let back = Flow {
            to: source,
            from: Some(to),
            device: 0,
            incoming: out,
            mark: 0,
            source_port: flow.port,
            port: flow.source_port,
            ..flow.clone()
        };
        let find = Find { to: source, tos: flow.tos, device: 0, scope: 0 };
        let look =
            |table| self.find(table, &find).map(|found| (found, self.routes4[found.0].prefix));
        let filter = self.settings.rp_filter;
        let bare = self.own4(flow.incoming).is_empty();
        let fine = match self.walk(&self.rules4, &back, look) {
            Err(_) => filter == 0,
            Ok((at, _)) => {
                let route = &self.routes4[at];
                let here = route.hops.iter().any(|h| h.index == flow.incoming);
                route.kind == Kind::Unicast
                    && (here || if bare { filter == 0 } else { filter != 1 })
            }
        };
        if fine { Ok(()) } else { Err(libc::EINVAL) }
    }

    /// An address of the loopback network does not leave the machine.
    fn sendable(&self, flow: &Flow, mut way: Way) -> Result<Way, Errno> {
        let loopback = |a: Option<IpAddr>| a.is_some_and(|a| a.is_loopback());
        if loopback(way.source) && way.index != LOOPBACK {
            return Err(libc::EINVAL);
        }
        if flow.from.is_some() {
            way.source = None;
        }
        Ok(way)
    }
}

/// Whether a removal that names these hops is about a route with those.
fn hops_named(named: &[Hop], hops: &[Hop]) -> bool {
    let is = |named: &Hop, hop: &Hop| {
        [0, hop.index].contains(&named.index)
            && (named.gateway.is_none() || named.gateway == hop.gateway)
    };
    // One that leads nowhere has a hop to nowhere.
    let nowhere = [Hop::default()];
    let hops = if hops.is_empty() { &nowhere } else { hops };
    match named {
        [] => true,
        [one] => hops.first().is_some_and(|hop| is(one, hop)),
        many => {
            hops.len() <= many.len() && many.iter().zip(hops).all(|(named, hop)| is(named, hop))
        }
    }
}

/// No bits of the destination are set beyond its prefix.
fn valid_prefix(route: &Route) -> Result<(), Errno> {
    let mask = mask(route.prefix);
    if route.prefix > 32 || v4(route.destination) & !mask != 0 { Err(libc::EINVAL) } else { Ok(()) }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

/// The first and the last address of an address's network.
fn network(address: &Address) -> (u32, u32) {
    let (base, mask) = (v4(address.base()), mask(address.prefix));
    (base & mask, base | !mask)
}

fn network_kind(address: &Address) -> Kind {
    if address.index == LOOPBACK { Kind::Local } else { Kind::Unicast }
}

/// A route that the kernel makes for an address.
fn own_route(kind: Kind, to: u32, prefix: u8, first: &Address, metric: u32) -> Route {
    Route {
        table: if kind == Kind::Unicast { MAIN } else { LOCAL },
        destination: Ipv4Addr::from(to).into(),
        prefix,
        tos: 0,
        metric,
        kind,
        scope: if kind == Kind::Local { scope::HOST } else { scope::LINK },
        protocol: KERNEL,
        source: Some(first.address),
        hops: vec![Hop { index: first.index, ..Hop::default() }],
    }
}

fn v4(address: IpAddr) -> u32 {
    if let IpAddr::V4(ip) = address { ip.into() } else { 0 }
}
