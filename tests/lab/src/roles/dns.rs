//! A name server that knows a small zone and can misbehave in the ways that resolvers and those in
//! their path do.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Control, Later, Role, ok, report, wait};
use crate::lab::Lab;
use crate::timeline::monotonic_ns;
use crate::topology::{INTERNET, INTERNET_V6};

pub(super) const NAME: &str = "dns";

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const TXT: u16 = 16;
/// Seconds that answers are good for.
const TTL: u32 = 60;
/// How many CNAMEs are followed.
const CHAIN: usize = 8;

/// How queries are answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DnsMode {
    /// From the zone; other names do not exist.
    Normal,
    /// Not at all.
    Timeout,
    /// No name exists.
    NxDomain,
    /// NOERROR without an answer.
    Empty,
    /// Server failure.
    ServFail,
    /// Refused.
    Refused,
    /// Every name has this address, also those that cannot exist.
    Lie(IpAddr),
    /// Every name has this address, but names under .invalid do not exist.
    LieExceptInvalid(IpAddr),
    /// The right answer with another transaction id.
    WrongId,
    /// The right answer to another question.
    WrongQuestion,
    /// Truncated: the TC bit and no answer.
    Truncated,
    /// Bytes that are no DNS message.
    Garbage,
    /// The query itself, unchanged: not a response.
    Echo,
    /// The right answer from another address.
    OtherAddress,
    /// The right answer from another port.
    OtherPort,
    /// Two CNAMEs that point to each other.
    CnameLoop,
    /// So many answers that every name has this address, each with another id or to another
    /// question, and then the right one: somebody on the way is faster.
    Forged(u16, IpAddr),
    /// The largest answer that fits into a datagram.
    Huge,
    /// A thousand names, each of which is a pointer to the one before, and one that points to
    /// itself.
    PointerLoop,
    /// From the zone, but those who tell who asks tell this address: somebody on the way answers in
    /// their place.
    Whoami(IpAddr),
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// An address, IPv4 (A) or IPv6 (AAAA).
    Address(IpAddr),
    /// Another name.
    Cname(String),
    /// A text.
    Text(String),
}

/// A query that arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// When.
    pub at_ns: u64,
    /// Who asked.
    pub from: SocketAddr,
    /// Which of our addresses was asked.
    pub server: IpAddr,
    /// Transaction id.
    pub id: u16,
    /// The name in lower case, without the dot at the end.
    pub name: String,
    /// The type of record: 1 A, 28 AAAA.
    pub kind: u16,
    /// Whether it may ask others for the answer.
    pub recursion: bool,
}

#[derive(Serialize, Deserialize)]
enum Command {
    Mode(Option<IpAddr>, DnsMode),
    Delay(Duration),
    Set(String, Vec<Record>),
}

/// The handle of a running name server; dropping it ends the server.
#[derive(Debug)]
pub struct Dns(Role);

impl Lab {
    /// A name server on port 53 of all internet addresses, in inet.
    ///
    /// Its zone: microsoft.com, google.com, host.test and whatismyip.test are 198.18.0.80,
    /// host2.test is 198.18.0.81, whoami.cloudflare, myip.opendns.com and o-o.myaddr.l.google.com
    /// tell who asks, each at its own server only. alias.test is an alias of host2.test, six.test
    /// has only the IPv6 address 2001:db8:80::80, both.test has both.
    #[track_caller]
    pub fn dns(&self) -> Dns {
        let all: Vec<&str> = INTERNET.into_iter().chain(INTERNET_V6).collect();
        self.dns_on("inet", &all)
    }

    /// The same in another namespace and on these addresses, which must be there.
    #[track_caller]
    pub fn dns_on(&self, ns: &str, addresses: &[&str]) -> Dns {
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        Dns(Role::start(self, ns, NAME, &addresses))
    }
}

impl Dns {
    /// How all addresses answer from now on.
    #[track_caller]
    pub fn mode(&self, mode: &DnsMode) {
        self.0.call(&Command::Mode(None, mode.clone()))
    }

    /// How one address answers from now on.
    #[track_caller]
    pub fn mode_of(&self, server: &str, mode: &DnsMode) {
        let server = server.parse().unwrap_or_else(|e| panic!("{server}: {e}"));
        self.0.call(&Command::Mode(Some(server), mode.clone()))
    }

    /// How much later than the query all answers from now on are sent.
    #[track_caller]
    pub fn delay(&self, delay: Duration) {
        self.0.call(&Command::Delay(delay))
    }

    /// What a name stands for from now on; nothing at all makes it not exist.
    #[track_caller]
    pub fn set(&self, name: &str, records: &[Record]) {
        self.0.call(&Command::Set(name.to_lowercase(), records.to_vec()))
    }

    /// All queries so far.
    #[must_use]
    pub fn queries(&self) -> Vec<Query> {
        self.0.events()
    }

    /// Waits for a query, leaving out the first `skip`.
    ///
    /// # Panics
    /// When there is none after `limit`.
    #[track_caller]
    pub fn wait_query(
        &self,
        skip: usize,
        wanted: impl Fn(&Query) -> bool,
        limit: Duration,
    ) -> Query {
        self.0.wait_event(skip, wanted, limit)
    }
}

/// The role's life. Its arguments are its addresses.
pub(super) fn play(addresses: &[String]) -> io::Result<()> {
    let mut server = Server::new(addresses)?;
    let mut control = Control::ready()?;
    let mut buffer = [0; 4096];
    loop {
        let mut fds = vec![control.as_fd()];
        fds.extend(server.sockets.iter().map(|(_, s)| s.as_fd()));
        let ready = wait(&fds, server.later.next_ns())?;
        let readable = ready.iter().skip(1).enumerate().filter(|(_, ready)| **ready);
        for (at, _) in readable {
            server.receive(at, &mut buffer)?;
        }
        while let Some(answer) = server.later.pop(monotonic_ns()) {
            server.send(&answer);
        }
        if ready[0] {
            let Some(commands) = control.read()? else { return Ok(()) };
            for command in commands {
                server.obey(command);
            }
        }
    }
}

struct Server {
    sockets: Vec<(IpAddr, UdpSocket)>,
    zone: BTreeMap<String, Vec<Record>>,
    mode: DnsMode,
    modes: BTreeMap<IpAddr, DnsMode>,
    delay: Duration,
    later: Later<Answer>,
}

struct Answer {
    /// Index of the socket it leaves by; none for a port of its own.
    by: Option<usize>,
    server: IpAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// The question of a query, and its bytes as they are repeated in the response.
struct Question<'a> {
    name: String,
    kind: u16,
    bytes: &'a [u8],
}

impl Server {
    fn new(addresses: &[String]) -> io::Result<Self> {
        let mut sockets = Vec::new();
        for text in addresses {
            let address: IpAddr =
                text.parse().map_err(|e| io::Error::other(format!("{text}: {e}")))?;
            let socket = UdpSocket::bind((address, 53))
                .map_err(|e| io::Error::other(format!("{text}: {e}")))?;
            socket.set_nonblocking(true)?;
            sockets.push((address, socket));
        }
        let (mode, modes, delay) = (DnsMode::Normal, BTreeMap::new(), Duration::ZERO);
        Ok(Self { sockets, zone: zone(), mode, modes, delay, later: Later::new() })
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Mode(Some(server), mode) => drop(self.modes.insert(server, mode)),
            Command::Mode(None, mode) => {
                self.mode = mode;
                self.modes.clear();
            }
            Command::Delay(delay) => self.delay = delay,
            Command::Set(name, records) if records.is_empty() => drop(self.zone.remove(&name)),
            Command::Set(name, records) => drop(self.zone.insert(name, records)),
        }
        ok(&());
    }

    /// Takes all queries that wait at one address.
    fn receive(&mut self, at: usize, buffer: &mut [u8]) -> io::Result<()> {
        loop {
            match self.sockets[at].1.recv_from(buffer) {
                Ok((n, from)) => self.query(at, from, &buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // An ICMP error for an earlier answer: the asker is gone.
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn query(&mut self, by: usize, from: SocketAddr, bytes: &[u8]) {
        let Some(question) = question(bytes) else { return };
        let server = self.sockets[by].0;
        let (at_ns, id) = (monotonic_ns(), u16::from_be_bytes([bytes[0], bytes[1]]));
        let recursion = bytes.get(2).is_some_and(|flags| flags & 1 == 1);
        report(&Query {
            at_ns,
            from,
            server,
            id,
            name: question.name.clone(),
            kind: question.kind,
            recursion,
        });
        let mode = &self.modes.get(&server).unwrap_or(&self.mode).clone();
        let from_ip = from.ip().to_canonical();
        let Some(answer) = self.respond(mode, id, &question, bytes, (server, from_ip)) else {
            return;
        };
        let by = match mode {
            DnsMode::OtherPort => None,
            DnsMode::OtherAddress => {
                let family = |a: &IpAddr| a.is_ipv4() == server.is_ipv4() && *a != server;
                self.sockets.iter().position(|(a, _)| family(a))
            }
            _ => Some(by),
        };
        let delay = u64::try_from(self.delay.as_nanos()).unwrap_or(u64::MAX);
        if let DnsMode::Forged(count, address) = mode {
            for bytes in forgeries(id, &question, *count, *address) {
                self.later.push(at_ns + delay, Answer { by, server, to: from, bytes });
            }
        }
        self.later.push(at_ns + delay, Answer { by, server, to: from, bytes: answer });
    }

    fn respond(
        &self,
        mode: &DnsMode,
        id: u16,
        question: &Question<'_>,
        query: &[u8],
        (server, from): (IpAddr, IpAddr),
    ) -> Option<Vec<u8>> {
        let told = if let DnsMode::Whoami(address) = mode { *address } else { from };
        let hijacked = matches!(mode, DnsMode::Whoami(_));
        let known =
            || match whoami(question, server, told, hijacked).or_else(|| self.lookup(question)) {
                Some(records) => response(id, 0, question, &records),
                None => response(id, 3, question, &[]),
            };
        let lie = |address: IpAddr| {
            let kind = if address.is_ipv4() { A } else { AAAA };
            let records = [(question.name.clone(), Record::Address(address))];
            response(id, 0, question, if question.kind == kind { &records } else { &[] })
        };
        Some(match mode {
            DnsMode::Timeout => return None,
            DnsMode::Normal
            | DnsMode::OtherAddress
            | DnsMode::OtherPort
            | DnsMode::Whoami(_)
            | DnsMode::Forged(..) => known(),
            DnsMode::Huge => {
                const LARGEST: usize = 65_507;
                let record =
                    (question.name.clone(), Record::Address(Ipv4Addr::new(203, 0, 113, 66).into()));
                let room = (LARGEST - 12 - question.bytes.len()) / 16;
                response(id, 0, question, &vec![record; room])
            }
            DnsMode::PointerLoop => pointers(id, question),
            DnsMode::NxDomain => response(id, 3, question, &[]),
            DnsMode::Empty => response(id, 0, question, &[]),
            DnsMode::ServFail => response(id, 2, question, &[]),
            DnsMode::Refused => response(id, 5, question, &[]),
            DnsMode::Lie(address) => lie(*address),
            DnsMode::LieExceptInvalid(_) if question.name.ends_with(".invalid") => {
                response(id, 3, question, &[])
            }
            DnsMode::LieExceptInvalid(address) => lie(*address),
            DnsMode::WrongId => {
                let mut bytes = known();
                bytes[0] ^= 0x55;
                bytes
            }
            DnsMode::WrongQuestion => {
                let mut other = name_bytes("other.test");
                other.extend([question.kind.to_be_bytes(), [0, 1]].concat());
                let records = self.lookup(question).unwrap_or_default();
                response(
                    id,
                    0,
                    &Question { name: "other.test".into(), kind: question.kind, bytes: &other },
                    &records,
                )
            }
            DnsMode::Truncated => {
                let mut bytes = response(id, 0, question, &[]);
                bytes[2] |= 0x02;
                bytes
            }
            DnsMode::Garbage => (0..40_u8).map(|i| i.wrapping_mul(37) ^ 0xa5).collect(),
            DnsMode::Echo => query.to_vec(),
            DnsMode::CnameLoop => {
                let other = format!("loop.{}", question.name);
                let there = (question.name.clone(), Record::Cname(other.clone()));
                response(id, 0, question, &[there, (other, Record::Cname(question.name.clone()))])
            }
        })
    }

    /// The records that answer a question, aliases first; `None` when the name does not exist.
    fn lookup(&self, question: &Question<'_>) -> Option<Vec<(String, Record)>> {
        let mut answer = Vec::new();
        let mut name = question.name.clone();
        for _ in 0..CHAIN {
            let Some(records) = self.zone.get(&name) else { break };
            let mut next = None;
            for record in records {
                match record {
                    Record::Address(a) if (if a.is_ipv4() { A } else { AAAA }) != question.kind => {
                        continue;
                    }
                    Record::Text(_) if question.kind != TXT => continue,
                    Record::Address(_) | Record::Text(_) => {}
                    Record::Cname(target) => next = Some(target.clone()),
                }
                answer.push((name.clone(), record.clone()));
            }
            match next {
                Some(target) => name = target,
                None => break,
            }
        }
        self.zone.contains_key(&question.name).then_some(answer)
    }

    /// Sends an answer. Failing is what networks do: the route may just be gone.
    fn send(&self, answer: &Answer) {
        let _ = match answer.by {
            Some(by) => self.sockets[by].1.send_to(&answer.bytes, answer.to),
            None => UdpSocket::bind((answer.server, 0))
                .and_then(|s| s.send_to(&answer.bytes, answer.to)),
        };
    }
}

/// The answer of those who tell who asks; `None` when the question is none for this server.
fn whoami(
    question: &Question<'_>,
    server: IpAddr,
    told: IpAddr,
    anywhere: bool,
) -> Option<Vec<(String, Record)>> {
    let at = |servers: [&str; 2]| anywhere || servers.iter().any(|s| s.parse() == Ok(server));
    let record = match (question.name.as_str(), question.kind) {
        ("whoami.cloudflare", TXT) if at(["1.1.1.1", "2606:4700:4700::1111"]) => {
            Record::Text(told.to_string())
        }
        ("o-o.myaddr.l.google.com", TXT) if at(["216.239.32.10", "2001:4860:4802:32::a"]) => {
            Record::Text(told.to_string())
        }
        ("myip.opendns.com", kind @ (A | AAAA)) if at(["208.67.222.222", "2620:119:35::35"]) => {
            if told.is_ipv4() != (kind == A) {
                return Some(Vec::new());
            }
            Record::Address(told)
        }
        _ => return None,
    };
    Some(vec![(question.name.clone(), record)])
}

fn zone() -> BTreeMap<String, Vec<Record>> {
    let four = |last| Record::Address(Ipv4Addr::new(198, 18, 0, last).into());
    let six = || Record::Address(Ipv6Addr::new(0x2001, 0xdb8, 0x80, 0, 0, 0, 0, 0x80).into());
    let entries = [
        ("microsoft.com", vec![four(80)]),
        ("google.com", vec![four(80)]),
        ("host.test", vec![four(80)]),
        // What `imon check` asks for.
        (
            "one.one.one.one",
            vec![
                Record::Address(Ipv4Addr::new(1, 1, 1, 1).into()),
                Record::Address(Ipv4Addr::new(1, 0, 0, 1).into()),
            ],
        ),
        ("icanhazip.com", vec![four(81)]),
        ("cp.cloudflare.com", vec![four(82)]),
        ("connectivitycheck.gstatic.com", vec![four(83)]),
        ("whatismyip.test", vec![four(80)]),
        ("host2.test", vec![four(81)]),
        ("alias.test", vec![Record::Cname("host2.test".into())]),
        ("six.test", vec![six()]),
        ("both.test", vec![four(80), six()]),
    ];
    entries.into_iter().map(|(name, records)| (name.to_owned(), records)).collect()
}

/// Answers to a question that are none.
fn forgeries(id: u16, question: &Question<'_>, count: u16, address: IpAddr) -> Vec<Vec<u8>> {
    let other = [&name_bytes("other.test")[..], &question.kind.to_be_bytes(), &[0, 1]].concat();
    let other = Question { name: "other.test".into(), kind: question.kind, bytes: &other };
    let forgery = |n: u16| {
        let (id, question) = if n.is_multiple_of(8) { (id, &other) } else { (id ^ n, question) };
        let mut bytes =
            response(id, 0, question, &[(question.name.clone(), Record::Address(address))]);
        // A query instead of a response.
        bytes[2] &= if n % 8 == 1 { 0x7f } else { 0xff };
        bytes
    };
    (1..=count).map(forgery).collect()
}

/// A response whose names are a chain of pointers, which a careless reader follows from each anew.
fn pointers(id: u16, question: &Question<'_>) -> Vec<u8> {
    const NAMES: u16 = 1000;
    let mut bytes = response(id, 0, question, &[]);
    bytes[6..8].copy_from_slice(&(NAMES + 1).to_be_bytes());
    let mut to = 12;
    for n in 0..=NAMES {
        let here = u16::try_from(bytes.len()).unwrap_or(0);
        let pointer = 0xc000 | if n == NAMES { here } else { to };
        bytes.extend(pointer.to_be_bytes());
        bytes.extend([0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 66]);
        to = here;
    }
    bytes
}

/// The question of a query with exactly one; anything else is not for us (RFC 1035, 4.1).
fn question(bytes: &[u8]) -> Option<Question<'_>> {
    let is_query = bytes.get(2)? & 0x80 == 0;
    if !is_query || bytes.get(4..6)? != [0, 1] {
        return None;
    }
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let len = usize::from(*bytes.get(at)?);
        at += 1;
        if len == 0 {
            break;
        }
        let label = bytes.get(at..at + len).filter(|_| len < 64)?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += len;
    }
    let kind = u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]);
    Some(Question { name: labels.join("."), kind, bytes: bytes.get(12..at + 4)? })
}

/// A response with this code: 0 no error, 2 server failure, 3 no such name, 5 refused.
fn response(id: u16, code: u8, question: &Question<'_>, records: &[(String, Record)]) -> Vec<u8> {
    let mut bytes = Vec::from(id.to_be_bytes());
    // Response, recursion desired and available; one question; so many answers; nothing else.
    bytes.extend([0x81, 0x80 | code, 0, 1]);
    bytes.extend(u16::try_from(records.len()).unwrap_or(0).to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(question.bytes);
    for (name, record) in records {
        let (kind, data) = match record {
            Record::Address(IpAddr::V4(a)) => (A, a.octets().to_vec()),
            Record::Address(IpAddr::V6(a)) => (AAAA, a.octets().to_vec()),
            Record::Cname(target) => (CNAME, name_bytes(target)),
            Record::Text(text) => {
                let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
                (TXT, [&[length], text.as_bytes()].concat())
            }
        };
        // The name asked for is a pointer to the question, as real servers send it.
        bytes.extend(if *name == question.name { vec![0xc0, 12] } else { name_bytes(name) });
        bytes.extend(kind.to_be_bytes());
        // In the class that was asked for, the question's last two bytes.
        bytes.extend(question.bytes.get(question.bytes.len() - 2..).unwrap_or(&[0, 1]));
        bytes.extend(TTL.to_be_bytes());
        bytes.extend(u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
        bytes.extend(data);
    }
    bytes
}

fn name_bytes(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|l| !l.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap_or(63));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_and_its_question_repeated() {
        let query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05Alias\x04test\x00\x00\x01\x00\x01";
        let asked = question(query).unwrap();
        assert_eq!((asked.name.as_str(), asked.kind), ("alias.test", A));
        let answer = response(
            0x1234,
            0,
            &asked,
            &[("host2.test".into(), Record::Address([1, 2, 3, 4].into()))],
        );
        let tail = b"\x05host2\x04test\x00\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x01\x02\x03\x04";
        let head = b"\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00";
        assert_eq!(answer, [&head[..], &query[12..], tail].concat());
    }

    #[test]
    fn what_is_no_query_is_left_alone() {
        assert!(question(b"").is_none());
        assert!(question(&[0; 12]).is_none());
        assert!(
            question(b"\x12\x34\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01")
                .is_none()
        );
        assert!(question(b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x3fshort").is_none());
    }
}
