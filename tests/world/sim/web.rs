//! Workers: processes that ask a page, a name server or a provider, by the simulated networks.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::dialer::Trip;
use super::{Arrival, SimWorld};
use crate::internet::{self, DNS, Look, Manner, Taken};
use crate::networks::Fate;
use imon::addr::family::Family;
use imon::addr::scope;
use imon::dns::resolver;
use imon::kernel::path::Bound;
use imon::kernel::{TCP, UDP};
use imon::monitor::ddns::source::SourceMeans;
use imon::monitor::ddns::update::{self, Request, UpdateOutcome};
use imon::monitor::ddns::{Found, NotFound, answer};
use imon::secret::Secrets;
use imon::web::{LOOKUP_LIMIT, TOO_LATE, Task, TaskJob, TaskReport, TaskResult, UPDATE_LIMIT};

/// How long a process takes to begin.
const BEGIN: Duration = Duration::from_millis(5);
/// A worker ends by itself so long after its limit.
const AT_LAST: Duration = Duration::from_secs(2);
/// A name server is waited for so long.
const NAME_SERVER: Duration = Duration::from_millis(1200);
/// Where web servers are: nobody looks at their addresses.
const SOMEWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 80);
const LOGIN: &str = "<html><title>Welcome</title><form action=\"/login\"></form></html>";

/// A worker that runs.
pub struct Worker {
    pub(super) number: u64,
    _alive: Rc<()>,
}

/// What is known of one.
pub(super) struct Working {
    alive: Weak<()>,
    /// Whoever has started it was killed: nobody ends it.
    orphan: bool,
    /// What it has said, in full.
    pub(super) line: Option<Vec<u8>>,
}

/// What a worker does, and when.
enum Answer {
    /// It says so after this time.
    After(Duration, TaskResult),
    /// It ends without a word.
    Dies(Duration),
    Never,
}

/// Whom a name leads to.
enum Leads {
    Right(Duration),
    /// To somebody who has made up the address.
    Astray(Duration),
    Nowhere(Duration, String),
}

/// What is said over HTTP, and how long it took.
type Http = Result<(Duration, u16, String), (Duration, String)>;

impl SimWorld {
    pub(super) fn begin_work(
        &mut self,
        request: &[u8],
        record: Option<&PathBuf>,
    ) -> io::Result<Worker> {
        self.may_fail()?;
        let task = Task::read(request).ok_or(io::ErrorKind::InvalidInput)?;
        let (number, alive) = (self.number(), Rc::new(()));
        self.workers
            .insert(number, Working { alive: Rc::downgrade(&alive), orphan: false, line: None });
        self.records.extend(record.map(|path| (number, (path.clone(), Vec::new()))));
        self.arrive(self.now + BEGIN, Arrival::Work(number, Box::new(task)));
        Ok(Worker { number, _alive: alive })
    }

    /// Those that run for the program.
    pub fn workers(&self) -> usize {
        self.workers.values().filter(|worker| worker.alive.strong_count() > 0).count()
    }

    /// Those whose imon is killed go on.
    pub(super) fn orphan_workers(&mut self) {
        self.workers
            .values_mut()
            .filter(|worker| worker.alive.strong_count() > 0)
            .for_each(|w| w.orphan = true);
    }

    /// Forgets those that were ended, and their locks with them.
    pub(super) fn bury_workers(&mut self) {
        let dead = |worker: &Working| !worker.orphan && worker.alive.strong_count() == 0;
        let gone: Vec<u64> =
            self.workers.iter().filter(|(_, w)| dead(w)).map(|(number, _)| *number).collect();
        for number in gone {
            self.workers.remove(&number);
            self.records.remove(&number);
        }
    }

    /// A worker does what it was started for.
    pub(super) fn work(&mut self, number: u64, task: &Task) {
        self.bury_workers();
        if !self.workers.contains_key(&number) {
            return;
        }
        let limit =
            if matches!(task.job, TaskJob::Update(..)) { UPDATE_LIMIT } else { LOOKUP_LIMIT };
        let answer = match &task.job {
            TaskJob::Lookup(source) => match source.means {
                SourceMeans::Page { secure, trace } => self.page(task, &source.text, secure, trace),
                SourceMeans::Dns(service) => {
                    self.service(task, &source.text, service.server(task.family))
                }
                SourceMeans::Interface => self.own(task),
            },
            TaskJob::Update(request, address) => self.update(number, task, request, *address),
            TaskJob::Page(_) => Answer::Never,
        };
        let now = self.now;
        let (at, line) = match answer {
            Answer::After(after, said) if after < limit => (now + after, Some(said)),
            Answer::After(..) => (now + limit, Some(too_late(task))),
            Answer::Dies(after) => (now + after, None),
            Answer::Never => (now + limit + AT_LAST, None),
        };
        let line = line
            .map(|said| TaskReport { said, unconfined: None }.line().into_bytes())
            .unwrap_or_default();
        self.arrive(at, Arrival::Said(number, line));
    }

    /// A worker ends, with a line or an empty one.
    pub(super) fn end_work(&mut self, number: u64, line: Vec<u8>) {
        self.bury_workers();
        let Some(worker) = self.workers.get_mut(&number) else { return };
        let orphan = worker.orphan;
        worker.line = Some(line.clone());
        if let Some((path, _)) = self.records.remove(&number)
            && !line.is_empty()
        {
            self.write(path, line.clone());
        }
        let done = TaskReport::read(&line)
            .is_some_and(|r| matches!(r.said, TaskResult::Update(_, UpdateOutcome::Done)));
        self.internet
            .taken
            .iter_mut()
            .filter(|taken| taken.worker == number)
            .for_each(|taken| taken.heard = done);
        if orphan {
            self.workers.remove(&number);
        }
    }

    fn page(&mut self, task: &Task, url: &str, secure: bool, trace: bool) -> Answer {
        let manner = self.internet.sources.get(url).cloned().unwrap_or(Manner::Right);
        let (answer, way) = self.fetch(task, url, secure, &manner, |world, index| {
            let seen = world.seen(index, task, &manner, secure);
            if trace { format!("fl=1f1\nh=x\nip={seen}\nts=1.0\n") } else { format!("{seen}\n") }
        });
        let (after, status, body) = match answer {
            Ok(answer) => answer,
            Err((after, why)) => {
                return self.looked(task, url, after, Err(NotFound::because(&why)), &manner);
            }
        };
        let result = if (200..300).contains(&status) {
            let read = if trace { answer::trace } else { answer::address };
            let found = read(body.as_bytes(), task.family)
                .map_err(|refusal| NotFound::because(&refusal.to_string()));
            found.map(|address| Found { address, local: way })
        } else {
            let why = format!("the answer has HTTP status {status}").into();
            Err(NotFound { why, unwanted: matches!(status, 403 | 429) })
        };
        self.looked(task, url, after, result, &manner)
    }

    /// The address that a page shows to whoever comes by this network.
    fn seen(&self, index: u32, task: &Task, manner: &Manner, secure: bool) -> IpAddr {
        let network = self.networks.iter().find(|n| n.index == index);
        let external =
            |n: &crate::networks::Network| n.proxy.filter(|_| !secure).unwrap_or(n.external).into();
        match manner {
            Manner::Says(address) => (*address).into(),
            _ if task.family == Family::V6 => self.local6(index).unwrap_or(IpAddr::from([0; 16])),
            _ => network.map_or(IpAddr::from([0; 4]), external),
        }
    }

    fn local6(&self, index: u32) -> Option<IpAddr> {
        let mut all =
            self.kernel.addresses().iter().filter(|a| a.index == index && a.address.is_ipv6());
        all.next().map(|a| a.address)
    }

    /// A name server that tells who asks.
    fn service(&mut self, task: &Task, text: &str, server: IpAddr) -> Answer {
        let manner = self.internet.sources.get(text).cloned().unwrap_or(Manner::Right);
        let no_answer = || Err(NotFound::because("no answer"));
        let to = SocketAddr::new(server, DNS);
        let mut result = no_answer();
        let mut after = Duration::ZERO;
        // A datagram may be lost.
        for _ in 0..3 {
            let trip = self.lead(&task.bound, to).and_then(|lead| self.travel(lead, to, UDP));
            let Trip { way, fate } = match trip {
                Ok(trip) => trip,
                Err(e) => {
                    result = Err(NotFound::because(&e.to_string()));
                    break;
                }
            };
            let Fate::Arrives(took) = fate else {
                after += NAME_SERVER;
                continue;
            };
            let network = self.networks.iter().find(|n| n.index == way.index);
            let made_up = network.and_then(|n| n.made_up()).filter(|_| server.is_ipv4());
            let address = match (made_up, &manner) {
                (Some(address), _) => Some(address.into()),
                (None, Manner::Right | Manner::Says(_)) => {
                    Some(self.seen(way.index, task, &manner, true))
                }
                (None, Manner::Late(later)) if *later < NAME_SERVER => {
                    after += *later;
                    Some(self.seen(way.index, task, &manner, true))
                }
                _ => None,
            };
            let Some(address) = address else {
                after += NAME_SERVER;
                continue;
            };
            after += took;
            let local = task.bound.from.or(way.source);
            let checked = answer::public(address, task.family);
            let refused = |refusal: answer::Refusal| NotFound::because(&refusal.to_string());
            result = checked.map(|address| Found { address, local }).map_err(refused);
            break;
        }
        self.looked(task, text, after, result, &manner)
    }

    fn own(&mut self, task: &Task) -> Answer {
        let to = SocketAddr::new(SOMEWHERE.into(), 80);
        let trip = self.lead(&task.bound, to).and_then(|lead| self.travel(lead, to, UDP));
        let local = trip.ok().and_then(|trip| task.bound.from.or(trip.way.source));
        let address =
            local.ok_or_else(|| NotFound::because("there is no route")).and_then(|address| {
                answer::public(address, task.family)
                    .map_err(|refusal| NotFound::because(&refusal.to_string()))
            });
        let result = address.map(|address| Found { address, local });
        self.looked(task, "interface", Duration::ZERO, result, &Manner::Right)
    }

    /// Takes note of a look, and says what came of it.
    fn looked(
        &mut self,
        task: &Task,
        source: &str,
        after: Duration,
        result: Result<Found, NotFound>,
        manner: &Manner,
    ) -> Answer {
        let truth = self.external_by(&task.bound);
        let right = result.as_ref().is_ok_and(|found| Some(found.address) == truth);
        let resting = result.as_ref().map_or_else(|e| e.unwanted, |_| !right);
        self.internet.looks.push(Look { at: self.now, source: source.to_owned(), right, resting });
        match manner {
            Manner::Hangs => Answer::Never,
            Manner::Dies => Answer::Dies(after),
            _ => Answer::After(after, TaskResult::Lookup(result)),
        }
    }

    /// The address by which the internet sees whoever sends like this.
    fn external_by(&self, bound: &Bound) -> Option<IpAddr> {
        let network = match &bound.device {
            None => return self.external().map(IpAddr::V4),
            Some(name) => self.kernel.links().find(|l| l.name == *name).map(|l| l.index),
        };
        self.networks.iter().find(|n| Some(n.index) == network).map(|n| n.external.into())
    }

    fn update(&mut self, worker: u64, task: &Task, request: &Request, address: IpAddr) -> Answer {
        let rest = request.url.split_once("://").map_or("", |(_, rest)| rest);
        let host = rest.split(['/', ':']).next().unwrap_or_default().to_owned();
        let secure = request.url.starts_with("https://");
        let manner = self.internet.providers.get(&host).cloned().unwrap_or(Manner::Right);
        let dyndns2 = request.reading == update::AnswerReading::DynDns2;
        assert!(request.secret == "secret");
        let has =
            self.internet.taken.iter().rev().find(|taken| taken.reached && taken.provider == host);
        let known = has.is_some_and(|taken| taken.address == address);
        let (at, provider, instance) = (self.now, host.clone(), self.instance().to_owned());
        self.internet.taken.push(Taken {
            at,
            provider,
            address,
            instance,
            worker,
            reached: false,
            heard: false,
        });
        let (answer, _) = self.fetch(task, &request.url, secure, &manner, |world, _| {
            let said = if let Manner::Says(other) = manner { other.into() } else { address };
            if let Some(taken) = world.internet.taken.last_mut() {
                taken.reached = said == address || !dyndns2;
            }
            match (dyndns2, known) {
                (true, true) => format!("nochg {said}\n"),
                (true, false) => format!("good {said}\n"),
                (false, _) => "OK\n".to_owned(),
            }
        });
        let (after, outcome) = match answer {
            Ok((after, status, body)) => (
                after,
                update::outcome(
                    &request.reading,
                    status,
                    body.as_bytes(),
                    address,
                    &Secrets::default(),
                ),
            ),
            Err((after, why)) => (after, UpdateOutcome::Failed(why.into())),
        };
        match manner {
            Manner::Hangs => Answer::Never,
            Manner::Dies | Manner::Unheard => Answer::Dies(after),
            _ => Answer::After(after, TaskResult::Update(address, outcome)),
        }
    }

    /// Gets a page, which `answer` makes for whoever comes by that network. Our own address on the
    /// way comes with it.
    fn fetch(
        &mut self,
        task: &Task,
        url: &str,
        secure: bool,
        manner: &Manner,
        answer: impl FnOnce(&mut Self, u32) -> String,
    ) -> (Http, Option<IpAddr>) {
        let host = url
            .split_once("://")
            .map_or(url, |(_, rest)| rest)
            .split(['/', ':'])
            .next()
            .unwrap_or_default();
        let (mut after, astray) = match self.resolve(task, host) {
            Leads::Right(after) => (after, false),
            Leads::Astray(after) => (after, true),
            Leads::Nowhere(after, why) => return (Err((after, why)), None),
        };
        let to = match task.family {
            Family::V4 => SocketAddr::new(SOMEWHERE.into(), if secure { 443 } else { 80 }),
            Family::V6 => {
                SocketAddr::new(IpAddr::from([0x2001, 0xdb8, 0xf00, 0, 0, 0, 0, 0x80]), 80)
            }
        };
        let trip = self.lead(&task.bound, to).and_then(|lead| self.travel(lead, to, TCP));
        let Trip { way, fate } = match trip {
            Ok(trip) => trip,
            Err(e) => return (Err((after, e.to_string())), None),
        };
        let local = task.bound.from.or(way.source);
        let portal =
            self.networks.iter().any(|n| n.index == way.index && n.portal && n.has_gateway);
        let answer = match fate {
            _ if portal || astray => {
                after += Duration::from_millis(10);
                if secure {
                    Err((after, "the certificate is of somebody else".to_owned()))
                } else {
                    Ok((after, 200, LOGIN.to_owned()))
                }
            }
            Fate::Arrives(took) => {
                // A handshake, with TLS another, and the request.
                after += took * if secure { 3 } else { 2 };
                match manner {
                    Manner::Silent => Err((after + UPDATE_LIMIT, TOO_LATE.to_owned())),
                    Manner::Status(status, body) => Ok((after, *status, (*body).to_owned())),
                    Manner::Late(later) => Ok((after + *later, 200, answer(self, way.index))),
                    _ => Ok((after, 200, answer(self, way.index))),
                }
            }
            Fate::Rejected(_, took) => Err((after + took, "network unreachable".to_owned())),
            // What was lost is sent again; where nothing arrives it is over some time.
            Fate::Silent => Err((after + UPDATE_LIMIT, TOO_LATE.to_owned())),
        };
        (answer, local)
    }

    /// What a name of a web server leads to, as a worker finds out.
    fn resolve(&mut self, task: &Task, host: &str) -> Leads {
        let conf = self.files.get(std::path::Path::new("/etc/resolv.conf")).cloned();
        // Where a test has no name servers, names are known.
        let Some(conf) = conf else { return Leads::Right(Duration::ZERO) };
        let servers = resolver::servers(&String::from_utf8_lossy(&conf));
        let mut after = Duration::ZERO;
        for server in servers.iter().chain(&servers) {
            let near = scope::is_private(server.address);
            let bound = if near { Bound::default() } else { task.bound.clone() };
            let to = SocketAddr::new(server.address, DNS);
            let trip = self.lead(&bound, to).and_then(|lead| self.travel(lead, to, UDP));
            let Ok(Trip { way, fate: Fate::Arrives(took) }) = trip else {
                after += NAME_SERVER;
                continue;
            };
            let network = self.networks.iter().find(|n| n.index == way.index);
            if network.is_some_and(|n| n.made_up().is_some()) && to.is_ipv4() {
                return Leads::Astray(after + took);
            }
            match self.internet.servers.get(&server.address) {
                Some(internet::Server::Truth | internet::Server::Forged(_)) => {
                    return Leads::Right(after + took);
                }
                Some(internet::Server::Everything(_) | internet::Server::Wrong(_)) => {
                    return Leads::Astray(after + took);
                }
                Some(internet::Server::Late(later)) if *later < NAME_SERVER => {
                    return Leads::Right(after + took + *later);
                }
                Some(internet::Server::Truncated) => {
                    return Leads::Nowhere(
                        after + took,
                        format!("the name {host} has no IPv4 address"),
                    );
                }
                Some(
                    internet::Server::Verdict(_)
                    | internet::Server::Broken
                    | internet::Server::Closed,
                ) => after += took,
                _ => after += NAME_SERVER,
            }
        }
        Leads::Nowhere(after, format!("the name {host} cannot be resolved: no name server answers"))
    }
}

fn too_late(task: &Task) -> TaskResult {
    match &task.job {
        TaskJob::Update(_, address) => {
            TaskResult::Update(*address, UpdateOutcome::Failed(TOO_LATE.into()))
        }
        _ => TaskResult::Lookup(Err(NotFound::because(TOO_LATE))),
    }
}
