//! Names kept resolved: a stub resolver as a state machine. It sends nothing and waits for nothing
//! itself; the shell asks what it wants asked ([`NameQuery`]) and brings back what came
//! ([`Resolver::answer`]).
//!
//! The C library's resolver blocks, and musl's knows nothing but the hosts file and DNS either, so
//! nothing is lost by having our own. A name that once had an address keeps it: when a lookup
//! fails, the last good address is what a monitor goes on with.

mod files;
mod problem;

use std::collections::VecDeque;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use crate::addr::scope::{Scope, scope};
use crate::base::time::Instant;
use crate::wire::dns::{Class, DnsAnswer, DnsQuestion, Name, NameError, Rcode, RecordType};
pub use files::NameServer;
use files::{Conf, hosts};
pub use problem::{AskError, Failure, NameProblem};

/// Most questions under way at a time. The rest waits, so that a thousand names do not burst at a
/// small router's DNS server (dnsmasq takes 150 at once).
pub const MAX_ASKING: usize = 64;
/// An address is used this long even when its lifetime is shorter.
const MIN_LIFETIME: Duration = Duration::from_secs(30);
/// An address is looked up again after this even when its lifetime is longer.
const MAX_LIFETIME: Duration = Duration::from_secs(3600);
/// Least time between the beginnings of two lookups of a name, and between the end of a failed one
/// and the next.
const MIN_GAP: Duration = Duration::from_secs(1);
/// A failing name is looked up 1, 2, 4 … and then every 60 s.
const MAX_GAP: Duration = Duration::from_secs(60);
/// Questions about names that do not resolve, or whose address does not answer, are asked at this
/// rate in all: a thousand such names are no reason to ask a thousand times a second. So the last
/// of N of them is tried within N / 4 seconds,
const PACE: Duration = Duration::from_millis(250);
/// apart from so many at once,
const BURST: u32 = 8;
/// and what was asked beyond that is made up for during this time at most.
const DEBT: Duration = Duration::from_secs(10);
/// A server that was silent or not there is asked after the others this long, so that a dead first
/// server does not cost every name its timeout.
const AVOID: Duration = Duration::from_secs(30);

/// A watched name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NameId(usize);

/// A question for the shell to send. It chooses an unpredictable id and source port for each,
/// accepts only what comes from the server's address and port 53 and passes
/// [`crate::wire::dns::response`], and gives the result to [`Resolver::answer`]. Timeouts are the
/// resolver's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameQuery {
    /// Goes back with the answer.
    pub token: u32,
    /// Whom to ask.
    pub server: NameServer,
    /// What to ask.
    pub question: DnsQuestion,
    /// An answer after this is of no use.
    pub until: Instant,
}

/// Keeps a set of names resolved.
pub struct Resolver {
    conf: Conf,
    names: Vec<Watched>,
    /// Names whose lookup is due and waits for a place in `asking`; those no longer `Queued` are
    /// skipped.
    queue: VecDeque<NameId>,
    /// One question each, at most `MAX_ASKING`.
    asking: Vec<Lookup>,
    /// For each server, until when it is asked last.
    avoid: Vec<Instant>,
    /// The last token given out.
    token: u32,
    /// With `rotate`, the server to begin with.
    turn: usize,
    /// When the next of the questions may be asked that are kept to [`PACE`].
    gate: Instant,
    /// Stands for the text of the hosts file.
    print: u64,
    /// When `wake` has something to do; kept, because the loop asks far more often than it changes.
    next: Option<Instant>,
}

struct Watched {
    /// In lower case, without a dot at the end.
    name: Rc<str>,
    /// Written with a dot at the end: no search list.
    absolute: bool,
    state: NameState,
    address: Option<IpAddr>,
    problem: Option<NameProblem>,
    /// Failed lookups in a row.
    failures: u32,
    /// Its address does not answer: it is to be looked up before its time.
    hurried: bool,
    /// When the last lookup began.
    started: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum NameState {
    /// The place is free.
    Free,
    /// Not yet looked for in the hosts file.
    Unread,
    /// Never asked for: an address, `localhost`, or in the hosts file.
    Known,
    /// Waiting for a place among the lookups.
    Queued,
    /// Being looked up.
    Asking,
    /// To be looked up then.
    Due(Instant),
}

/// A lookup with a question under way: candidates (the name with and without search domains) in
/// turn; for each first A, then AAAA; for each of these the servers in turn, all of them `attempts`
/// times.
struct Lookup {
    id: NameId,
    token: u32,
    deadline: Instant,
    candidate: usize,
    question: DnsQuestion,
    /// Indices of the servers, in the order in which they are asked.
    order: Vec<usize>,
    /// Questions sent so far about this candidate and kind, less one.
    step: usize,
    failures: Vec<(NameServer, Failure)>,
    /// The worst that was said about an earlier candidate.
    problem: Option<NameProblem>,
}

impl Resolver {
    /// A resolver without names. The `seed` decides the first token and with which server `rotate`
    /// begins.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let conf = Conf::parse("");
        let avoid = vec![Instant::ZERO; conf.servers.len()];
        // Both take the bits they have room for.
        #[allow(clippy::cast_possible_truncation)]
        let (token, turn) = (seed as u32, (seed >> 32) as u16);
        Self {
            conf,
            names: Vec::new(),
            queue: VecDeque::new(),
            asking: Vec::with_capacity(MAX_ASKING),
            avoid,
            token,
            turn: usize::from(turn),
            gate: Instant::ZERO,
            print: 0,
            next: None,
        }
    }

    /// Adds a name (or an address, which resolves to itself); the same name gets the same id. It is
    /// not looked up before the next [`Resolver::set_files`]: the hosts file goes first, and can be
    /// too large to be kept for this.
    pub fn watch(&mut self, name: &str) -> NameId {
        let absolute = name.ends_with('.');
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let same =
            |w: &Watched| w.state != NameState::Free && w.absolute == absolute && *w.name == *name;
        if let Some(at) = self.names.iter().position(same) {
            return NameId(at);
        }
        let address = itself(&name);
        let state = if address.is_some() { NameState::Known } else { NameState::Unread };
        let watched = Watched { name: name.into(), absolute, state, address, ..Watched::free() };
        if let Some((at, place)) =
            self.names.iter_mut().enumerate().find(|(_, w)| w.state == NameState::Free)
        {
            *place = watched;
            return NameId(at);
        }
        self.names.push(watched);
        NameId(self.names.len() - 1)
    }

    /// Forgets every name that is not in `used`, after a new configuration. Their ids may be given
    /// out again.
    pub fn keep_only(&mut self, used: &[NameId]) {
        for (at, watched) in self.names.iter_mut().enumerate() {
            if !used.contains(&NameId(at)) {
                *watched = Watched::free();
            }
        }
        self.forget_stale();
        self.schedule();
    }

    /// Whether a name waits for [`Resolver::set_files`].
    #[cfg(test)]
    pub(crate) fn needs_files(&self) -> bool {
        self.names.iter().any(|w| w.state == NameState::Unread)
    }

    /// Takes the text of the hosts file and of resolv.conf (empty for one that cannot be read). To
    /// be called after names were added, and when one of the files has changed. Names whose last
    /// lookup failed are then tried again, when the servers changed at once; what is under way is
    /// then asked anew. What says the same as before changes nothing.
    pub fn set_files(&mut self, hosts_text: &str, resolv_conf: &str) {
        let conf = Conf::parse(resolv_conf);
        let anew = conf != self.conf;
        let print = BuildHasherDefault::<DefaultHasher>::default().hash_one(hosts_text);
        let edited = std::mem::replace(&mut self.print, print) != print;
        if anew {
            self.avoid = vec![Instant::ZERO; conf.servers.len()];
            self.conf = conf;
        }
        let listed = self.listed(hosts_text);
        for (watched, listed) in self.names.iter_mut().zip(listed) {
            if let Some(address) = itself(&watched.name).or(listed) {
                watched.known(address);
                continue;
            }
            match watched.state {
                NameState::Unread | NameState::Known => watched.state = NameState::Queued,
                NameState::Asking if anew => watched.state = NameState::Queued,
                NameState::Due(_) if watched.problem.is_some() && (anew || edited) => {
                    watched.state =
                        if anew { NameState::Queued } else { NameState::Due(Instant::ZERO) };
                    watched.failures = 0;
                }
                _ => {}
            }
        }
        self.forget_stale();
        self.schedule();
    }

    /// The last good address of a name.
    #[must_use]
    pub fn address(&self, id: NameId) -> Option<IpAddr> {
        self.names.get(id.0)?.address
    }

    /// Why the last lookup of a name failed; `None` when it did not. With neither an address nor a
    /// problem the first lookup is not over yet.
    #[must_use]
    pub fn problem(&self, id: NameId) -> Option<&NameProblem> {
        self.names.get(id.0)?.problem.as_ref()
    }

    /// Has a name looked up before its time, because its address no longer answers; at most once a
    /// second, and at the pace of all such lookups. The wait after a failed lookup is not cut
    /// short. For every bad check, not for every lost probe.
    pub fn refresh(&mut self, id: NameId, now: Instant) {
        let Some(watched) = self.names.get_mut(id.0).filter(|w| w.problem.is_none()) else {
            return;
        };
        let NameState::Due(due) = watched.state else { return };
        let soonest = watched.started.map_or(now, |started| now.max(started + MIN_GAP));
        if soonest < due {
            watched.state = NameState::Due(soonest);
            watched.hurried = true;
            let soonest = soonest.max(self.gate);
            self.next = Some(self.next.map_or(soonest, |next| next.min(soonest)));
        }
    }

    /// When [`Resolver::wake`] wants to be called; a moment in the past means now.
    #[must_use]
    pub fn poll_at(&self) -> Option<Instant> {
        self.next
    }

    /// Begins the lookups that are due and gives up waiting for servers that take too long. The new
    /// questions are added to `out`. Costs nothing before [`Resolver::poll_at`].
    pub fn wake(&mut self, now: Instant, out: &mut Vec<NameQuery>) {
        if self.next.is_none_or(|next| next > now) {
            return;
        }
        while let Some(late) = self.asking.iter().position(|l| l.deadline <= now) {
            let lookup = self.asking.swap_remove(late);
            self.hear(now, lookup, Err(Failure::Silent), out);
        }
        for (at, watched) in self.names.iter_mut().enumerate() {
            if watched.due().is_some_and(|due| due <= now) && !watched.is_paced() {
                watched.state = NameState::Queued;
                self.queue.push_back(NameId(at));
            }
        }
        self.begin(now, out);
        // Whoever has waited longest, one by one: each moves the gate.
        while self.gate <= now && self.asking.len() < MAX_ASKING {
            let due = self.names.iter().enumerate().filter(|(_, w)| w.is_paced());
            let due = due.filter_map(|(at, w)| Some((w.due()?, at))).filter(|(due, _)| *due <= now);
            let Some((_, at)) = due.min() else { break };
            if let Some(watched) = self.names.get_mut(at) {
                watched.state = NameState::Queued;
            }
            self.queue.push_back(NameId(at));
            self.begin(now, out);
        }
        self.schedule();
    }

    /// Takes what came of the [`NameQuery`] with this token; a token that is no longer waited for
    /// is ignored. What is to be asked next is added to `out`.
    pub fn answer(
        &mut self,
        now: Instant,
        token: u32,
        result: Result<DnsAnswer, AskError>,
        out: &mut Vec<NameQuery>,
    ) {
        let Some(at) = self.asking.iter().position(|l| l.token == token) else { return };
        let lookup = self.asking.swap_remove(at);
        self.hear(now, lookup, result.map_err(Failure::Ask), out);
        self.begin(now, out);
        self.schedule();
    }

    /// The hosts file's address of each watched name: the first, but an IPv4 address rather than an
    /// IPv6 one.
    fn listed(&self, hosts_text: &str) -> Vec<Option<IpAddr>> {
        let mut found = vec![None; self.names.len()];
        let mut sorted: Vec<(&str, usize)> =
            self.names.iter().enumerate().map(|(at, w)| (&*w.name, at)).collect();
        sorted.sort_unstable();
        for (address, name) in hosts(hosts_text) {
            let lower = || name.bytes().map(|b| b.to_ascii_lowercase());
            let from = sorted.partition_point(|(n, _)| n.bytes().lt(lower()));
            // The same name may be watched twice, with and without a dot at the end.
            for (_, at) in sorted.iter().skip(from).take_while(|(n, _)| n.bytes().eq(lower())) {
                if let Some(place) = found.get_mut(*at) {
                    *place = match *place {
                        Some(IpAddr::V6(_)) if address.is_ipv4() => Some(address),
                        None => Some(address),
                        first => first,
                    };
                }
            }
        }
        found
    }

    /// Drops the lookups of names that are no longer being looked up, and puts every waiting name
    /// into the queue.
    fn forget_stale(&mut self) {
        let names = &self.names;
        let is = |id: NameId, state| names.get(id.0).is_some_and(|w| w.state == state);
        self.asking.retain(|l| is(l.id, NameState::Asking));
        self.queue.clear();
        self.queue.extend((0..names.len()).map(NameId).filter(|id| is(*id, NameState::Queued)));
    }

    /// Works out when there is something to do. Not cheap with many names, so only after a change.
    fn schedule(&mut self) {
        self.next = if !self.queue.is_empty() && self.asking.len() < MAX_ASKING {
            Some(Instant::ZERO)
        } else {
            let due = self.names.iter().filter_map(|w| {
                let due = w.due()?;
                // As long as there is no place among those under way, one of those comes first.
                let full = self.asking.len() >= MAX_ASKING;
                if w.is_paced() { (!full).then(|| due.max(self.gate)) } else { Some(due) }
            });
            due.chain(self.asking.iter().map(|l| l.deadline)).min()
        };
    }

    /// Begins waiting lookups while there is room.
    fn begin(&mut self, now: Instant, out: &mut Vec<NameQuery>) {
        while self.asking.len() < MAX_ASKING {
            let Some(id) = self.queue.pop_front() else { return };
            let Some(watched) = self.names.get_mut(id.0).filter(|w| w.state == NameState::Queued)
            else {
                continue;
            };
            watched.state = NameState::Asking;
            watched.started = Some(now);
            let order = self.order(now);
            self.try_candidate(now, id, 0, order, None, out);
        }
    }

    /// The servers in the order of the file, or with `rotate` beginning elsewhere, those to be
    /// avoided last.
    fn order(&mut self, now: Instant) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.conf.servers.len()).collect();
        if self.conf.rotate {
            let first = self.turn % order.len().max(1);
            order.rotate_left(first);
            self.turn = self.turn.wrapping_add(1);
        }
        order.sort_by_key(|server| self.avoid.get(*server).is_some_and(|until| *until > now));
        order
    }

    /// Asks for the first candidate from number `from` on that can be asked for; without one the
    /// lookup has failed.
    fn try_candidate(
        &mut self,
        now: Instant,
        id: NameId,
        from: usize,
        order: Vec<usize>,
        mut problem: Option<NameProblem>,
        out: &mut Vec<NameQuery>,
    ) {
        let Some(watched) = self.names.get(id.0) else { return };
        let mut candidate = from;
        while let Some(name) = watched.candidate(&self.conf, candidate) {
            match name {
                Ok(name) => {
                    let question = DnsQuestion { name, kind: RecordType::A, class: Class::In };
                    let (failures, deadline) = (Vec::new(), now);
                    let lookup = Lookup {
                        id,
                        token: 0,
                        deadline,
                        candidate,
                        question,
                        order,
                        step: 0,
                        failures,
                        problem,
                    };
                    return self.ask(now, lookup, out);
                }
                Err(why) => problem = NameProblem::worse(problem, NameProblem::BadName(why)),
            }
            candidate += 1;
        }
        if let Some(problem) = problem {
            self.fail(now, id, problem);
        }
    }

    /// Asks the server whose turn it is.
    fn ask(&mut self, now: Instant, mut lookup: Lookup, out: &mut Vec<NameQuery>) {
        let Some(server) = lookup.server().and_then(|at| self.conf.servers.get(at)) else { return };
        if self.names.get(lookup.id.0).is_some_and(Watched::is_paced) {
            self.gate = (self.gate.max(now - PACE * (BURST - 1)) + PACE).min(now + DEBT);
        }
        self.token = self.token.wrapping_add(1);
        lookup.token = self.token;
        lookup.deadline = now + self.conf.timeout;
        let (token, question, until) = (lookup.token, lookup.question, lookup.deadline);
        out.push(NameQuery { token, server: server.clone(), question, until });
        self.asking.push(lookup);
    }

    /// Goes on with a lookup after its question was answered, or was not.
    fn hear(
        &mut self,
        now: Instant,
        mut lookup: Lookup,
        result: Result<DnsAnswer, Failure>,
        out: &mut Vec<NameQuery>,
    ) {
        let Some(at) = lookup.server() else { return };
        let Some(server) = self.conf.servers.get(at).cloned() else { return };
        if let Some(until) = self.avoid.get_mut(at) {
            *until = if result.is_ok() { Instant::ZERO } else { now + AVOID };
        }
        match result.and_then(judge) {
            Ok(AnswerMeaning::Addresses(addresses, ttl)) => {
                if let Some(watched) = self.names.get_mut(lookup.id.0) {
                    watched.resolved(now, &addresses, ttl);
                }
            }
            Ok(AnswerMeaning::Nothing) if lookup.question.kind == RecordType::A => {
                lookup.question.kind = RecordType::Aaaa;
                lookup.failures.clear();
                // This server works, so it goes first.
                let first = lookup.step % lookup.order.len().max(1);
                lookup.order.rotate_left(first);
                lookup.step = 0;
                self.ask(now, lookup, out);
            }
            Ok(AnswerMeaning::Nothing) => {
                self.next_candidate(now, lookup, NameProblem::NoAddress(server), out)
            }
            Ok(AnswerMeaning::NoSuchName) => {
                self.next_candidate(now, lookup, NameProblem::NoSuchName(server), out)
            }
            Ok(AnswerMeaning::NotAHost(address)) => {
                self.next_candidate(now, lookup, NameProblem::NotAHost(server, address), out);
            }
            Err(failure) => {
                lookup.failures.retain(|(s, _)| *s != server);
                lookup.failures.push((server, failure));
                lookup.step += 1;
                if lookup.step < lookup.order.len() * self.conf.attempts {
                    return self.ask(now, lookup, out);
                }
                // A server that says something may say something else about the next candidate;
                // with silence all around, waiting for it again would only take time.
                let silence = lookup.failures.iter().all(|(_, f)| f.is_silence());
                let failures = std::mem::take(&mut lookup.failures);
                let problem = NameProblem::Servers { failures, assumed: self.conf.assumed };
                if silence {
                    self.fail(now, lookup.id, problem);
                } else {
                    self.next_candidate(now, lookup, problem, out);
                }
            }
        }
    }

    fn next_candidate(
        &mut self,
        now: Instant,
        lookup: Lookup,
        problem: NameProblem,
        out: &mut Vec<NameQuery>,
    ) {
        let problem = NameProblem::worse(lookup.problem, problem);
        self.try_candidate(now, lookup.id, lookup.candidate + 1, lookup.order, problem, out);
    }

    fn fail(&mut self, now: Instant, id: NameId, problem: NameProblem) {
        if let Some(watched) = self.names.get_mut(id.0) {
            watched.failed(now, problem);
        }
    }
}

/// What a readable answer to an address question means.
enum AnswerMeaning {
    /// At least one, and the lifetime in seconds.
    Addresses(Vec<IpAddr>, u32),
    /// The name exists, but has no address of this family.
    Nothing,
    NoSuchName,
    /// Nothing but addresses like this one.
    NotAHost(IpAddr),
}

fn judge(mut answer: DnsAnswer) -> Result<AnswerMeaning, Failure> {
    match answer.rcode {
        Rcode::NOERROR => {}
        Rcode::NXDOMAIN => return Ok(AnswerMeaning::NoSuchName),
        other => return Err(Failure::Verdict(other)),
    }
    let Some(first) = answer.addresses.first().copied() else {
        return match answer {
            DnsAnswer { truncated: true, .. } => Err(Failure::Truncated),
            DnsAnswer { referral: true, .. } => Err(Failure::Referral),
            _ => Ok(AnswerMeaning::Nothing),
        };
    };
    let nowhere = [Scope::Null, Scope::Loopback, Scope::Multicast];
    answer.addresses.retain(|address| !nowhere.contains(&scope(*address)));
    if answer.addresses.is_empty() {
        return Ok(AnswerMeaning::NotAHost(first));
    }
    Ok(AnswerMeaning::Addresses(answer.addresses, answer.ttl))
}

/// The name servers of a resolv.conf(5), 1 to 3.
#[must_use]
pub fn servers(conf: &str) -> Vec<NameServer> {
    Conf::parse(conf).servers
}

/// Whether a resolv.conf(5) names no server, so that this system itself is taken for one.
#[must_use]
pub fn is_assumed(conf: &str) -> bool {
    Conf::parse(conf).assumed
}

/// The address of this family that a name has without being asked for: by itself, or else by a
/// hosts(5), as the daemon's [`Resolver`] has it.
#[must_use]
pub fn in_hosts(hosts: &str, name: &str, v6: bool) -> Option<IpAddr> {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let known = files::hosts(hosts)
        .filter(|(_, alias)| alias.eq_ignore_ascii_case(&name))
        .map(|(address, _)| address);
    itself(&name).into_iter().chain(known).find(|address| address.is_ipv6() == v6)
}

/// The address a name has without any lookup: one written as such, and `localhost` with all below
/// it (RFC 6761, 6.3).
fn itself(name: &str) -> Option<IpAddr> {
    if name == "localhost" || name.ends_with(".localhost") {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    name.parse().ok()
}

impl Lookup {
    /// The index of the server that was or will be asked.
    fn server(&self) -> Option<usize> {
        self.order.get(self.step % self.order.len().max(1)).copied()
    }
}

impl Watched {
    fn free() -> Self {
        Self {
            name: "".into(),
            absolute: false,
            state: NameState::Free,
            address: None,
            problem: None,
            failures: 0,
            hurried: false,
            started: None,
        }
    }

    /// When it is to be looked up next, if that is known.
    fn due(&self) -> Option<Instant> {
        if let NameState::Due(due) = self.state { Some(due) } else { None }
    }

    /// Whether it is looked up at the pace of all that do not work. The first time it is not.
    fn is_paced(&self) -> bool {
        self.problem.is_some() || self.hurried
    }

    /// The name to ask for in the given place of the list: the name itself, and before or after it
    /// the name within each search domain (resolv.conf(5), `ndots`).
    fn candidate(&self, conf: &Conf, place: usize) -> Option<Result<Name, NameError>> {
        let search = if self.absolute { &[] } else { conf.search.as_slice() };
        let dots = self.name.bytes().filter(|b| *b == b'.').count();
        let itself = if dots >= conf.ndots { 0 } else { search.len() };
        if place == itself {
            return Some(Name::parse(&self.name));
        }
        let domain = search.get(if place < itself { place } else { place - 1 })?;
        Some(Name::parse(&format!("{}.{domain}", self.name)))
    }

    fn known(&mut self, address: IpAddr) {
        self.state = NameState::Known;
        self.address = Some(address);
        self.problem = None;
        self.failures = 0;
    }

    /// Takes the first address, unless the one in use is still among them: a round-robin name would
    /// otherwise wander from host to host.
    fn resolved(&mut self, now: Instant, addresses: &[IpAddr], ttl: u32) {
        if !self.address.is_some_and(|current| addresses.contains(&current)) {
            self.address = addresses.first().copied();
        }
        self.problem = None;
        (self.failures, self.hurried) = (0, false);
        let lifetime = Duration::from_secs(ttl.into()).clamp(MIN_LIFETIME, MAX_LIFETIME);
        self.state = NameState::Due(now + lifetime);
    }

    /// Counts the time to the next lookup from the beginning of this one, so that slow servers do
    /// not add to it: a name that resolves again is found within a minute of that.
    fn failed(&mut self, now: Instant, problem: NameProblem) {
        self.problem = Some(problem);
        self.hurried = false;
        let gap = MIN_GAP.saturating_mul(1 << self.failures.min(6)).min(MAX_GAP);
        self.failures = self.failures.saturating_add(1);
        self.state = NameState::Due((self.started.unwrap_or(now) + gap).max(now + MIN_GAP));
    }
}

#[cfg(test)]
mod tests;
