//! The table of hosts: who has which number, and the address of each. Names are kept resolved here.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use super::dns_client::Questions;
use super::world::{Store, World};
use crate::addr::host::Host;
use crate::base::error;
use crate::base::time::Instant;
use crate::config::Config;
use crate::dns::resolver::{AskError, NameId, NameQuery, Resolver};
use crate::engine::world::FileStamp;
use crate::event::Monitor;
use crate::kernel;
use crate::kernel::path::Families;
use crate::monitor::failover::ProbeKind;
use crate::probe::Owner;
use crate::routing::Probed;
use crate::wire::dns::DnsAnswer;

const DNS_PORT: u16 = 53;
const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Of a larger file only this much is read: what is below in a hosts file of a million blocked
/// names is not found.
const LONGEST: u64 = 4 * 1024 * 1024;
/// How often the two files are looked at for a change while there are names.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The files that say which addresses names have, and who is asked for the others.
pub(super) struct Files {
    stamps: [FileStamp; 2],
    hosts: Vec<u8>,
    conf: Vec<u8>,
}

impl Files {
    /// Reads them. One that is not there or cannot be read by us is as an empty one.
    ///
    /// # Errors
    /// When the system has no descriptor or memory for that: this says nothing about the file.
    pub(super) fn read(world: &mut impl Store) -> io::Result<Self> {
        let stamps = Self::stamps(world);
        let mut read = |path| match world.read_start(path, LONGEST) {
            Err(e) if error::is_shortage(&e) => Err(e),
            other => Ok(other.unwrap_or_default()),
        };
        Ok(Self { stamps, hosts: read(HOSTS)?, conf: read(RESOLV_CONF)? })
    }

    fn stamps(world: &mut impl Store) -> [FileStamp; 2] {
        [world.stamp(HOSTS), world.stamp(RESOLV_CONF)]
    }
}

/// What the hosts of a configuration need, before there is a table of them.
#[derive(Clone, Copy, Default)]
pub(super) struct Needs {
    v4: bool,
    v6: bool,
    /// There are names.
    names: bool,
}

impl Needs {
    pub(super) fn of(config: &Config) -> Self {
        let mut needs = Self::default();
        if let Some(u) = &config.updown {
            let server = u.dns.as_ref().map(|dns| &dns.server);
            [&u.target]
                .into_iter()
                .chain(&u.addping)
                .chain(server)
                .for_each(|host| needs.add(host, true));
        }
        config.ping.iter().flat_map(|ping| &ping.targets).for_each(|host| needs.add(host, true));
        for wan in config.failover.iter().flat_map(|failover| &failover.wans) {
            // Also where nothing but a gateway is probed: whether imon may send at all is known
            // only from this socket, before it is needed.
            needs.v4 = true;
            let targets = wan.targets.iter().map(|target| &target.host);
            targets.chain(&wan.postping).for_each(|host| needs.add(host, false));
        }
        needs
    }

    /// A name may have an address of either family, by the way of a WAN only one of IPv4.
    fn add(&mut self, host: &Host, both: bool) {
        match host.address() {
            Some(address) => {
                self.v4 |= address.is_ipv4();
                self.v6 |= address.is_ipv6();
            }
            None => (self.v4, self.v6, self.names) = (true, self.v6 | both, true),
        }
    }

    /// The address families that are needed.
    pub(super) fn families(self) -> Families {
        Families { v4: self.v4, v6: self.v6 }
    }

    /// The files, if they are needed.
    ///
    /// # Errors
    /// As [`Files::read`].
    pub(super) fn files(self, world: &mut impl Store) -> io::Result<Option<Files>> {
        self.names.then(|| Files::read(world)).transpose()
    }
}

/// All hosts of the configuration.
pub(super) struct Hosts {
    /// In the order of their numbers.
    all: Vec<HostEntry>,
    /// The next number. None is given out twice: a late answer to whoever had it would be taken for
    /// another's.
    next: Owner,
    resolver: Resolver,
    stamps: [FileStamp; 2],
    /// When to look at the files again.
    look: Option<Instant>,
    /// Those whose monitor waits for the first lookup.
    held: Vec<Owner>,
    asks: Vec<NameQuery>,
    /// Of each WAN, or the other end of its link.
    gateways: Vec<Option<Ipv4Addr>>,
    /// Addresses of names may have changed since this was asked last.
    moved: bool,
}

struct HostEntry {
    owner: Owner,
    monitor: Monitor,
    known: KnownAddress,
    way: Option<ProbePath>,
}

/// How a host is probed that belongs to a WAN.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct ProbePath {
    pub(super) wan: usize,
    pub(super) probe: ProbeKind,
    /// It tells whether the WAN works. As long as its name has no address, the gateway does:
    /// without a default route there would never be one.
    pub(super) judges: bool,
}

enum KnownAddress {
    Address(IpAddr),
    Name(NameId, Rc<str>),
    /// The WAN's own gateway, whatever it is at the moment.
    Gateway(usize),
}

impl Hosts {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            all: Vec::new(),
            next: 0,
            resolver: Resolver::new(seed),
            stamps: [None, None],
            look: None,
            held: Vec::new(),
            asks: Vec::new(),
            gateways: Vec::new(),
            moved: true,
        }
    }

    /// Forgets the hosts of all monitors but these. What is known of their names stays until
    /// [`Hosts::begin`].
    pub(super) fn keep(&mut self, is_kept: impl Fn(Monitor) -> bool) {
        self.all.retain(|entry| is_kept(entry.monitor));
        if !is_kept(Monitor::Failover) {
            self.gateways.clear();
        }
        if self.all.is_empty() && self.is_worn() {
            self.next = 0;
        }
    }

    /// Whether numbers may run out with the next configurations, so that all must begin anew.
    pub(super) fn is_worn(&self) -> bool {
        self.next > Owner::MAX / 2
    }

    pub(super) fn add(&mut self, host: &Host, monitor: Monitor) -> Owner {
        self.add_by(None, host, monitor)
    }

    /// The same for a host that is probed through a WAN.
    pub(super) fn add_by(
        &mut self,
        way: Option<ProbePath>,
        host: &Host,
        monitor: Monitor,
    ) -> Owner {
        let known = match host.address() {
            Some(address) => KnownAddress::Address(address),
            None => KnownAddress::Name(self.resolver.watch(host.text()), Rc::clone(host.text())),
        };
        self.push(monitor, known, way)
    }

    /// The gateway of a WAN as a target.
    pub(super) fn add_gateway(&mut self, wan: usize, monitor: Monitor) -> Owner {
        let way = Some(ProbePath { wan, probe: ProbeKind::Echo, judges: true });
        self.push(monitor, KnownAddress::Gateway(wan), way)
    }

    fn push(&mut self, monitor: Monitor, known: KnownAddress, way: Option<ProbePath>) -> Owner {
        let owner = self.next;
        self.next = owner.saturating_add(1);
        self.all.push(HostEntry { owner, monitor, known, way });
        owner
    }

    /// Who the gateway of a WAN is from now on.
    pub(super) fn set_gateway(&mut self, wan: usize, gateway: Option<Ipv4Addr>) {
        if self.gateways.len() <= wan {
            self.gateways.resize(wan + 1, None);
        }
        if let Some(place) = self.gateways.get_mut(wan) {
            self.moved |= *place != gateway;
            *place = gateway;
        }
    }

    pub(super) fn gateway(&self, wan: usize) -> Option<Ipv4Addr> {
        self.gateways.get(wan).copied().flatten()
    }

    /// How a host is probed that belongs to a WAN.
    pub(super) fn way(&self, owner: Owner) -> Option<ProbePath> {
        self.entry(owner)?.way
    }

    /// All hosts are here: takes what the files say, and forgets names that nobody asks for any
    /// more.
    pub(super) fn begin(&mut self, files: Option<Files>, now: Instant) {
        let used: Vec<_> = self.names().map(|(_, id)| id).collect();
        self.resolver.keep_only(&used);
        self.moved = true;
        (self.look, self.held) = (None, Vec::new());
        let Some(files) = files else { return };
        self.take_files(files, now);
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
            Some(KnownAddress::Name(id, _)) => !self.is_open(*id),
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
            Some(KnownAddress::Address(address)) => Ok(*address),
            Some(KnownAddress::Name(id, _)) => self.resolver.address(*id).ok_or_else(|| {
                let problem = self.resolver.problem(*id);
                problem.map_or_else(|| "name is being looked up".into(), |p| p.to_string().into())
            }),
            Some(KnownAddress::Gateway(wan)) => {
                let none = || "there is no gateway to ping: say what to ping in its place".into();
                self.gateway(*wan).map(IpAddr::V4).ok_or_else(none)
            }
            None => Err("no such host".into()),
        }
    }

    /// The name of a host that was not configured as an address.
    pub(super) fn name(&self, owner: Owner) -> Option<Rc<str>> {
        match &self.entry(owner)?.known {
            KnownAddress::Address(_) | KnownAddress::Gateway(_) => None,
            KnownAddress::Name(_, name) => Some(Rc::clone(name)),
        }
    }

    /// All hosts with this address that are probed by the way of this WAN, or by none's.
    pub(super) fn at(&self, address: IpAddr, wan: Option<usize>) -> impl Iterator<Item = Owner> {
        let all = self.all.iter().filter(move |e| e.way.map(|way| way.wan) == wan);
        all.filter(move |e| self.known_address(e) == Some(address)).map(|e| e.owner)
    }

    pub(super) fn refresh(&mut self, owner: Owner, now: Instant) {
        if let Some(HostEntry { known: KnownAddress::Name(id, _), .. }) = self.entry(owner) {
            let id = *id;
            self.resolver.refresh(id, now);
        }
    }

    pub(super) fn poll_at(&self) -> Option<Instant> {
        [self.resolver.poll_at(), self.look].into_iter().flatten().min()
    }

    /// Starts the lookups that are due, and reads the files again when they have changed.
    pub(super) fn tick<W: World>(
        &mut self,
        now: Instant,
        questions: &mut Questions<W>,
        world: &mut W,
    ) {
        if self.look.is_some_and(|at| at <= now) {
            self.look = Some(now + LOOK_AGAIN);
            // What cannot be read for want of a descriptor is read the next time.
            if Files::stamps(world) != self.stamps
                && let Ok(files) = Files::read(world)
            {
                self.take_files(files, now);
            }
        }
        self.resolver.wake(now, &mut self.asks);
        self.send(now, questions, world);
    }

    /// The answer to a resolver's question.
    pub(super) fn answer(&mut self, now: Instant, token: u32, answer: Result<DnsAnswer, AskError>) {
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
                ProbeKind::Echo => (kernel::ICMP, 0),
                ProbeKind::Dns => (kernel::UDP, DNS_PORT),
                ProbeKind::Tcp(port) => (kernel::TCP, port),
            };
            let probed = Probed { address, protocol, port };
            if !all.contains(&probed) {
                all.push(probed);
            }
        }
        all
    }

    /// Sends what the resolver wants to ask. A question that cannot be sent is answered at once,
    /// which may bring the next one.
    pub(super) fn send<W: World>(
        &mut self,
        now: Instant,
        questions: &mut Questions<W>,
        world: &mut W,
    ) {
        while let Some(ask) = self.asks.pop() {
            let token = ask.token;
            if let Err(e) = questions.lookup(ask, world) {
                self.resolver.answer(now, token, Err(e), &mut self.asks);
            }
        }
    }

    fn take_files(&mut self, files: Files, now: Instant) {
        self.look = Some(now + LOOK_AGAIN);
        self.stamps = files.stamps;
        self.moved = true;
        self.resolver.set_files(
            &String::from_utf8_lossy(&files.hosts),
            &String::from_utf8_lossy(&files.conf),
        );
    }

    fn entry(&self, owner: Owner) -> Option<&HostEntry> {
        // Mostly nothing was ever taken out.
        let place = usize::try_from(owner).ok()?;
        let entry = self.all.get(place).filter(|entry| entry.owner == owner);
        entry.or_else(|| {
            self.all.get(self.all.binary_search_by_key(&owner, |entry| entry.owner).ok()?)
        })
    }

    fn names(&self) -> impl Iterator<Item = (Owner, NameId)> {
        self.all.iter().filter_map(|e| match &e.known {
            KnownAddress::Name(id, _) => Some((e.owner, *id)),
            KnownAddress::Address(_) | KnownAddress::Gateway(_) => None,
        })
    }

    fn known_address(&self, entry: &HostEntry) -> Option<IpAddr> {
        match &entry.known {
            KnownAddress::Address(a) => Some(*a),
            KnownAddress::Name(id, _) => self.resolver.address(*id),
            KnownAddress::Gateway(wan) => self.gateway(*wan).map(IpAddr::V4),
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
    fn d6_what_is_kept_keeps_its_number_and_no_number_is_given_out_twice() {
        let host = |name| Host::parse(name).unwrap();
        let mut hosts = Hosts::new(1);
        let gone = hosts.add(&host("192.0.2.1"), Monitor::Ping);
        let kept = hosts.add(&host("localhost"), Monitor::Updown);
        hosts.keep(|monitor| monitor == Monitor::Updown);
        let new = hosts.add(&host("other.localhost"), Monitor::Ping);
        hosts.begin(None, Instant::ZERO);
        assert_eq!(hosts.address(kept), Ok(IpAddr::from([127, 0, 0, 1])));
        assert_eq!((hosts.monitor(gone), hosts.monitor(new)), (None, Some(Monitor::Ping)));
        assert_eq!(hosts.at(IpAddr::from([127, 0, 0, 1]), None).collect::<Vec<_>>(), [kept, new]);
    }
}
