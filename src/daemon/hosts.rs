//! The table of hosts: who has which number, and the address of each. Names are kept resolved here.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use super::ask::Questions;
use crate::event::Monitor;
use crate::host::Host;
use crate::monitor::Owner;
use crate::monitor::failover::Probe;
use crate::net;
use crate::resolve::{Ask, AskError, NameId, Resolver};
use crate::routing::Probed;
use crate::sys::files;
use crate::sys::net::random;
use crate::sys::ping::Families;
use crate::time::Instant;
use crate::wire::dns::Answer;

const DNS_PORT: u16 = 53;
const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Of a larger file only this much is read: what is below in a hosts file of a million blocked names is not found.
const LONGEST: u64 = 4 * 1024 * 1024;
/// How often the two files are looked at for a change while there are names.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

type Stamp = Option<(u64, i64, i64, u64)>;

/// All hosts of the configuration.
pub(super) struct Hosts {
    all: Vec<Entry>,
    resolver: Resolver,
    stamps: [Stamp; 2],
    /// When to look at the files again.
    look: Option<Instant>,
    /// Those whose monitor waits for the first lookup.
    held: Vec<Owner>,
    asks: Vec<Ask>,
    /// Of each WAN, or the other end of its link.
    gateways: Vec<Option<Ipv4Addr>>,
    /// Addresses of names may have changed since this was asked last.
    moved: bool,
}

struct Entry {
    monitor: Monitor,
    known: Known,
    way: Option<Way>,
}

/// How a host is probed that belongs to a WAN.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) wan: usize,
    pub(super) probe: Probe,
    /// It tells whether the WAN works. As long as its name has no address, the gateway does: without a default route
    /// there would never be one.
    pub(super) judges: bool,
}

enum Known {
    Address(IpAddr),
    Name(NameId, Rc<str>),
    /// The WAN's own gateway, whatever it is at the moment.
    Gateway(usize),
}

impl Hosts {
    pub(super) fn new() -> Self {
        Self::with(Resolver::new(random()))
    }

    /// An empty table that keeps what `old` knows of names.
    pub(super) fn after(old: &mut Self) -> Self {
        Self::with(std::mem::replace(&mut old.resolver, Resolver::new(0)))
    }

    /// Undoes [`Hosts::after`], unless the new table has begun.
    pub(super) fn take_back(&mut self, from: Self) {
        self.resolver = from.resolver;
        let used: Vec<_> = self.names().map(|(_, id)| id).collect();
        self.resolver.keep_only(&used);
    }

    fn with(resolver: Resolver) -> Self {
        Self {
            all: Vec::new(),
            resolver,
            stamps: [None, None],
            look: None,
            held: Vec::new(),
            asks: Vec::new(),
            gateways: Vec::new(),
            moved: true,
        }
    }

    pub(super) fn add(&mut self, host: &Host, monitor: Monitor) -> Owner {
        self.add_by(None, host, monitor)
    }

    /// The same for a host that is probed through a WAN.
    pub(super) fn add_by(&mut self, way: Option<Way>, host: &Host, monitor: Monitor) -> Owner {
        let known = match host.address() {
            Some(address) => Known::Address(address),
            None => Known::Name(self.resolver.watch(host.text()), Rc::clone(host.text())),
        };
        self.push(Entry { monitor, known, way })
    }

    /// The gateway of a WAN as a target.
    pub(super) fn add_gateway(&mut self, wan: usize, monitor: Monitor) -> Owner {
        let way = Some(Way { wan, probe: Probe::Echo, judges: true });
        self.push(Entry { monitor, known: Known::Gateway(wan), way })
    }

    fn push(&mut self, entry: Entry) -> Owner {
        self.all.push(entry);
        Owner::try_from(self.all.len() - 1).unwrap_or(Owner::MAX)
    }

    /// Who the gateway of a WAN is from now on.
    pub(super) fn set_gateway(&mut self, wan: usize, gateway: Option<Ipv4Addr>) {
        if self.gateways.len() <= wan {
            self.gateways.resize(wan + 1, None);
        }
        if let Some(place) = self.gateways.get_mut(wan) {
            *place = gateway;
        }
    }

    pub(super) fn gateway(&self, wan: usize) -> Option<Ipv4Addr> {
        self.gateways.get(wan).copied().flatten()
    }

    /// How a host is probed that belongs to a WAN.
    pub(super) fn way(&self, owner: Owner) -> Option<Way> {
        self.entry(owner)?.way
    }

    /// All hosts are here: reads the files, and forgets names that nobody asks for any more.
    pub(super) fn begin(&mut self, now: Instant) {
        let used: Vec<_> = self.names().map(|(_, id)| id).collect();
        self.resolver.keep_only(&used);
        if used.is_empty() {
            return;
        }
        self.read_files(now);
        // A WAN cannot wait for its targets' names: they may need it to be looked up.
        let waits = |owner| self.way(owner).is_none();
        let open = self.names().filter(|(owner, id)| waits(*owner) && self.is_open(*id));
        self.held = open.map(|(owner, _)| owner).collect();
    }

    /// Those whose first lookup is not over.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (Owner, Monitor)> {
        self.held.iter().filter_map(|owner| Some((*owner, self.entry(*owner)?.monitor)))
    }

    /// One of those whose first lookup has come to an end since.
    pub(super) fn take_ready(&mut self) -> Option<(Owner, Monitor)> {
        let at = self.held.iter().position(|owner| match self.entry(*owner).map(|e| &e.known) {
            Some(Known::Name(id, _)) => !self.is_open(*id),
            _ => true,
        })?;
        let owner = self.held.swap_remove(at);
        Some((owner, self.entry(owner)?.monitor))
    }

    pub(super) fn monitor(&self, owner: Owner) -> Option<Monitor> {
        self.entry(owner).map(|e| e.monitor)
    }

    /// The address of a host, or why there is none.
    pub(super) fn address(&self, owner: Owner) -> Result<IpAddr, Rc<str>> {
        match self.entry(owner).map(|e| &e.known) {
            Some(Known::Address(address)) => Ok(*address),
            Some(Known::Name(id, _)) => self.resolver.address(*id).ok_or_else(|| {
                let problem = self.resolver.problem(*id);
                problem.map_or_else(|| "name is being looked up".into(), |p| p.to_string().into())
            }),
            Some(Known::Gateway(wan)) => {
                let none = || "there is no gateway to ping: say what to ping in its place".into();
                self.gateway(*wan).map(IpAddr::V4).ok_or_else(none)
            }
            None => Err("no such host".into()),
        }
    }

    /// The name of a host that was not configured as an address.
    pub(super) fn name(&self, owner: Owner) -> Option<Rc<str>> {
        match &self.entry(owner)?.known {
            Known::Address(_) | Known::Gateway(_) => None,
            Known::Name(_, name) => Some(Rc::clone(name)),
        }
    }

    /// All hosts with this address that are probed by the way of this WAN, or by none's.
    pub(super) fn at(&self, address: IpAddr, wan: Option<usize>) -> impl Iterator<Item = Owner> {
        let all = (0..).zip(&self.all).filter(move |(_, e)| e.way.map(|way| way.wan) == wan);
        all.filter(move |(_, e)| self.known_address(e) == Some(address)).map(|(owner, _)| owner)
    }

    /// The address families that are needed: both for a name.
    pub(super) fn families(&self) -> Families {
        let any = |f: fn(IpAddr) -> bool| {
            self.all.iter().any(|e| match &e.known {
                Known::Address(a) => f(*a),
                // Also for a WAN's: whether it may send at all is known only from this socket, before it is needed.
                Known::Gateway(_) => f(Ipv4Addr::UNSPECIFIED.into()),
                Known::Name(..) => e.way.is_none() || f(Ipv4Addr::UNSPECIFIED.into()),
            })
        };
        Families { v4: any(|a| a.is_ipv4()), v6: any(|a| a.is_ipv6()) }
    }

    pub(super) fn refresh(&mut self, owner: Owner, now: Instant) {
        if let Some(Entry { known: Known::Name(id, _), .. }) =
            self.all.get(usize::try_from(owner).unwrap_or(usize::MAX))
        {
            self.resolver.refresh(*id, now);
        }
    }

    pub(super) fn poll_at(&self) -> Option<Instant> {
        [self.resolver.poll_at(), self.look].into_iter().flatten().min()
    }

    /// Starts the lookups that are due, and reads the files again when they have changed.
    pub(super) fn tick(&mut self, now: Instant, questions: &mut Questions) {
        if self.look.is_some_and(|at| at <= now) {
            self.look = Some(now + LOOK_AGAIN);
            if [files::stamp(HOSTS), files::stamp(RESOLV_CONF)] != self.stamps {
                self.read_files(now);
            }
        }
        self.resolver.wake(now, &mut self.asks);
        self.send(now, questions);
    }

    /// The answer to a resolver's question.
    pub(super) fn answer(&mut self, now: Instant, token: u32, answer: Result<Answer, AskError>) {
        self.resolver.answer(now, token, answer, &mut self.asks);
        self.moved = true;
    }

    /// Whether addresses may have changed since this was asked last.
    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// What the probes of a WAN are sent to, as far as it has an address.
    pub(super) fn probed(&self, wan: usize) -> Vec<Probed> {
        let mut all = Vec::new();
        for entry in &self.all {
            let Some(way) = entry.way.filter(|way| way.wan == wan) else { continue };
            let Some(IpAddr::V4(address)) = self.known_address(entry) else { continue };
            let (protocol, port) = match way.probe {
                Probe::Echo => (net::ICMP, 0),
                Probe::Dns => (net::UDP, DNS_PORT),
                Probe::Tcp(port) => (net::TCP, port),
            };
            let probed = Probed { address, protocol, port };
            if !all.contains(&probed) {
                all.push(probed);
            }
        }
        all
    }

    /// Sends what the resolver wants to ask. A question that cannot be sent is answered at once, which may bring the
    /// next one.
    pub(super) fn send(&mut self, now: Instant, questions: &mut Questions) {
        while let Some(ask) = self.asks.pop() {
            let token = ask.token;
            if let Err(e) = questions.lookup(ask) {
                self.resolver.answer(now, token, Err(e), &mut self.asks);
            }
        }
    }

    fn read_files(&mut self, now: Instant) {
        self.look = Some(now + LOOK_AGAIN);
        self.stamps = [files::stamp(HOSTS), files::stamp(RESOLV_CONF)];
        let [hosts, conf] = [HOSTS, RESOLV_CONF].map(|path| files::read_start(path, LONGEST).unwrap_or_default());
        self.moved = true;
        self.resolver.set_files(&String::from_utf8_lossy(&hosts), &String::from_utf8_lossy(&conf));
    }

    fn entry(&self, owner: Owner) -> Option<&Entry> {
        self.all.get(usize::try_from(owner).ok()?)
    }

    fn names(&self) -> impl Iterator<Item = (Owner, NameId)> {
        (0..).zip(&self.all).filter_map(|(owner, e)| match &e.known {
            Known::Name(id, _) => Some((owner, *id)),
            Known::Address(_) | Known::Gateway(_) => None,
        })
    }

    fn known_address(&self, entry: &Entry) -> Option<IpAddr> {
        match &entry.known {
            Known::Address(a) => Some(*a),
            Known::Name(id, _) => self.resolver.address(*id),
            Known::Gateway(wan) => self.gateway(*wan).map(IpAddr::V4),
        }
    }

    fn is_open(&self, id: NameId) -> bool {
        self.resolver.address(id).is_none() && self.resolver.problem(id).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_table_that_is_not_taken_over_leaves_the_old_one_as_it_was() {
        let host = |name| Host::parse(name).unwrap();
        let mut old = Hosts::new();
        old.add(&host("192.0.2.1"), Monitor::Ping);
        let owner = old.add(&host("localhost"), Monitor::Ping);
        let mut new = Hosts::after(&mut old);
        new.add(&host("other.localhost"), Monitor::Ping);
        old.take_back(new);
        assert_eq!(old.address(owner), Ok(IpAddr::from([127, 0, 0, 1])));
        assert!(!old.resolver.needs_files(), "the new table's names are forgotten");
    }
}
