//! The kernel as imon sees it: lists, answers and news in the types of the crate, with what can go
//! wrong on the way.

use super::{Action, Address, Errno, Flow, Kernel, Kind, News, Route, Rule, scope};
use imon::kernel::news::{Default6, Message, News as Said};
use imon::kernel::{self, Change, MAIN, Picture};
use imon::wire::rtnetlink::Query;

/// A list that changes while it is written is asked for again, this often.
const TRIES: usize = 5;

/// What imon has not heard yet, and what it will not hear.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ear {
    /// Room for this many news; `None`: for all. What does not fit is lost.
    pub room: Option<usize>,
    /// So many of the next lists change while they are written: they lack their end, and say so.
    pub interruptions: usize,
    waiting: Vec<Message>,
    lost: bool,
}

/// Whether news were lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    Fine,
    Overrun,
}

impl Kernel {
    /// Looks at everything, in place of what the picture has.
    pub fn look(&mut self, picture: &mut Picture) {
        let all = [
            Query::Links,
            Query::Addresses,
            Query::Nexthops,
            Query::Routes,
            Query::Rules,
            Query::Routes6,
        ];
        for _ in 0..TRIES {
            *picture = Picture::default();
            let mut interrupted = false;
            for message in all.into_iter().flat_map(|query| self.list(query)) {
                interrupted |= message.interrupted;
                picture.note(message);
            }
            if !interrupted {
                break;
            }
        }
    }

    /// Makes a change. What is already so is no error.
    pub fn make(&mut self, change: &Change) -> Result<(), Errno> {
        match (change, self.request(change)) {
            (Change::AddRule(_) | Change::AppendRule(_), Err(libc::EEXIST)) => Ok(()),
            (Change::RemoveRoute(_) | Change::RemoveRule(_), Err(libc::ESRCH | libc::ENOENT)) => {
                Ok(())
            }
            (_, result) => result,
        }
    }

    /// The route that packets to this address take.
    pub fn way_to(&self, to: std::net::Ipv4Addr) -> Result<kernel::Route, Errno> {
        // Asked without a protocol, the kernel takes UDP.
        let flow = Flow { protocol: kernel::UDP, ..Flow::to(to.into()) };
        let route = self.way(&flow)?.route.ok_or(libc::EHOSTUNREACH)?;
        route_of(&route).ok_or(libc::ENETUNREACH)
    }

    /// Whether there is something to hear.
    pub fn has_news(&mut self) -> bool {
        self.pass_on();
        self.ear.lost || !self.ear.waiting.is_empty()
    }

    /// Takes what has arrived.
    pub fn hear(&mut self, heard: impl FnMut(Message)) -> Heard {
        self.pass_on();
        // What arrived before something was lost is heard after that was told.
        if std::mem::take(&mut self.ear.lost) {
            return Heard::Overrun;
        }
        std::mem::take(&mut self.ear.waiting).into_iter().for_each(heard);
        Heard::Fine
    }

    fn pass_on(&mut self) {
        for news in std::mem::take(&mut self.news) {
            let Some(message) = heard(&news) else { continue };
            if self.ear.room.is_some_and(|room| self.ear.waiting.len() >= room) {
                self.ear.lost = true;
            } else {
                self.ear.waiting.push(message);
            }
        }
    }

    /// The messages of a list, without its end.
    pub fn list(&mut self, query: Query) -> Vec<Message> {
        let links = |index: Option<u32>| {
            self.links().filter(move |l| index.is_none_or(|i| l.index == i)).cloned()
        };
        let mut all: Vec<Said> = match query {
            Query::Links => links(None).map(Said::Link).collect(),
            Query::Link(index) => links(Some(index)).map(Said::Link).collect(),
            Query::Addresses => {
                let mut all: Vec<_> = self.addresses().iter().filter_map(address_of).collect();
                all.sort_by_key(|a| a.index);
                all.into_iter().map(Said::Address).collect()
            }
            Query::Routes => self.routes4().iter().map(said_route).collect(),
            Query::RoutesOver(index) => {
                let over = |r: &&Route| r.table == MAIN && r.hops.iter().any(|h| h.index == index);
                self.routes4().iter().filter(over).map(said_route).collect()
            }
            Query::Routes6 => self.routes6().iter().map(said_route).collect(),
            Query::Rules => self.rules(false).iter().map(|r| Said::Rule(rule_of(r))).collect(),
            Query::Way(to) => self.way_to(to).map(Said::Route).into_iter().collect(),
            Query::Neighbours => {
                self.neighbours().iter().map(|n| Said::Neighbour(n.said())).collect()
            }
            Query::Nexthops => Vec::new(),
        };
        let interrupted = self.ear.interruptions > 0 && !all.is_empty();
        if interrupted {
            self.ear.interruptions -= 1;
            all.pop();
        }
        let message = |news| Message { sequence: 0, interrupted, replaces: false, news };
        let mut all: Vec<Message> = all.into_iter().map(message).collect();
        // Where nothing is left there is still the end, which says so.
        if interrupted && all.is_empty() {
            all.push(message(Said::Other));
        }
        all
    }
}

/// The message as imon reads it; `None`: imon does not listen to such.
fn heard(news: &News) -> Option<Message> {
    let mut replaces = false;
    let news = match news {
        News::Link(link) => Said::Link(link.clone()),
        News::NoLink(link) => Said::NoLink(link.index),
        News::Address(address) => Said::Address(address_of(address)?),
        News::NoAddress(address) => Said::NoAddress(address_of(address)?),
        News::Route(route, instead) => {
            replaces = *instead;
            said_route(route)
        }
        News::NoRoute(route) => match said_route(route) {
            Said::Route(route) => Said::NoRoute(route),
            Said::Default6(default) => Said::NoDefault6(default),
            other => other,
        },
        News::Rule(rule) if !rule.v6 => Said::Rule(rule_of(rule)),
        News::NoRule(rule) if !rule.v6 => Said::NoRule(rule_of(rule)),
        News::Rule(_) | News::NoRule(_) => return None,
    };
    Some(Message { sequence: 0, interrupted: false, replaces, news })
}

fn address_of(address: &Address) -> Option<kernel::Address> {
    let v4 = |ip| if let std::net::IpAddr::V4(ip) = ip { Some(ip) } else { None };
    Some(kernel::Address {
        index: address.index,
        address: v4(address.address)?,
        peer: address.peer.and_then(v4),
        prefix: address.prefix,
        local: address.scope != scope::UNIVERSE,
        secondary: address.secondary,
    })
}

fn said_route(route: &Route) -> Said {
    if let Some(route) = route_of(route) {
        return Said::Route(route);
    }
    if route.destination.is_ipv4() || route.prefix != 0 || route.kind != Kind::Unicast {
        return Said::Other;
    }
    let v6 = |ip| if let std::net::IpAddr::V6(ip) = ip { Some(ip) } else { None };
    Said::Default6(Default6 {
        table: route.table,
        metric: route.metric,
        protocol: route.protocol,
        hops: route.hops.iter().map(|h| (h.index, h.gateway.and_then(v6))).collect(),
    })
}

fn route_of(route: &Route) -> Option<kernel::Route> {
    let v4 = |ip| if let std::net::IpAddr::V4(ip) = ip { Some(ip) } else { None };
    let destination = v4(route.destination)?;
    let hop = |h: &super::Hop| kernel::Hop {
        index: h.index,
        gateway: h.gateway.and_then(v4),
        onlink: h.onlink,
        dead: h.dead,
    };
    let known =
        matches!(route.kind, Kind::Unicast | Kind::Blackhole | Kind::Unreachable | Kind::Prohibit);
    known.then(|| kernel::Route {
        table: route.table,
        destination,
        prefix: route.prefix,
        metric: route.metric,
        protocol: route.protocol,
        tos: route.tos,
        source: route.source.and_then(v4),
        hops: route.hops.iter().map(hop).collect(),
        nexthop: 0,
    })
}

fn rule_of(rule: &Rule) -> kernel::Rule {
    let v4 = |of: Option<(std::net::IpAddr, u8)>| {
        if let Some((std::net::IpAddr::V4(ip), length)) = of {
            (Some(ip), length)
        } else {
            (None, 0)
        }
    };
    let (source, source_length) = v4(rule.source);
    let (destination, destination_length) = v4(rule.destination);
    let one = rule.port.as_ref().filter(|range| range.start() == range.end());
    kernel::Rule {
        priority: rule.priority,
        table: if let Action::Table(table) = rule.action { table } else { 0 },
        nowhere: !matches!(rule.action, Action::Table(_)),
        protocol: rule.protocol,
        inverted: rule.inverted,
        source,
        source_length,
        destination,
        destination_length,
        ip_protocol: rule.ip_protocol,
        port: one.map_or(0, |range| *range.start()),
        mark: rule.mark,
        device: rule.device.clone(),
        suppress: rule.suppress,
        special: rule.tos != 0
            || rule.incoming.is_some()
            || rule.source_port.is_some()
            || (rule.port.is_some() && one.is_none())
            || (rule.mask != 0 && (rule.mask != u32::MAX || rule.mark == 0)),
    }
}
