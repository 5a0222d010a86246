//! What is in the internet: names and who answers for them, ports, pages that tell the asker's
//! address, and providers of dynamic DNS. Each does what it is told to: the truth, or one of the
//! many other things that happen.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use imon::base::time::Instant;

/// The port of name servers.
pub const DNS: u16 = 53;
const A: u16 = 1;
const AAAA: u16 = 28;
/// A second datagram of a server comes so much later.
const NEXT: Duration = Duration::from_millis(1);

/// Addresses of a name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Name {
    pub v4: Vec<Ipv4Addr>,
    pub v6: Vec<Ipv6Addr>,
    pub ttl: u32,
}

impl Name {
    pub fn v4(address: [u8; 4], ttl: u32) -> Self {
        Self { v4: vec![address.into()], v6: Vec::new(), ttl }
    }
}

/// How a name server answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Server {
    Truth,
    Silent,
    /// With this verdict, whatever it is asked.
    Verdict(u8),
    /// With this address, whatever it is asked.
    Everything(Ipv4Addr),
    /// With this address for names that there are.
    Wrong(Ipv4Addr),
    /// The answer did not fit.
    Truncated,
    /// So much later.
    Late(Duration),
    /// With a message that ends in the middle of a record.
    Broken,
    /// Nobody listens on the port.
    Closed,
    /// Somebody who does not see the question answers before it.
    Forged(Ipv4Addr),
}

/// What an answer is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said {
    /// It is as the zone has it.
    Truth,
    /// It is an address, and a wrong one.
    Lie,
    /// It is none.
    Nothing,
}

/// What happens to whoever connects to a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Port {
    Open,
    Closed,
    Silent,
}

/// How a page, a name server that tells who asks, or a provider answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Manner {
    Right,
    /// With this status of HTTP, and this body. A name server is silent.
    Status(u16, &'static str),
    /// With another address, or that it has another.
    Says(Ipv4Addr),
    /// So much later.
    Late(Duration),
    Silent,
    /// It does what it is asked, and its answer does not arrive.
    Unheard,
    /// The worker that asks it never ends.
    Hangs,
    /// It ends without a word.
    Dies,
}

/// A page or service that tells the asker's address has been asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Look {
    pub at: Instant,
    pub source: String,
    /// What it told was right.
    pub right: bool,
    /// It told another address, or does not want to be asked: it is left alone for a while.
    pub resting: bool,
}

/// A provider was to be told an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Taken {
    pub at: Instant,
    pub provider: String,
    pub address: IpAddr,
    /// The instance that told it.
    pub instance: String,
    /// The number of its worker.
    pub worker: u64,
    /// The provider has taken it.
    pub reached: bool,
    /// The worker has heard it, and left word.
    pub heard: bool,
}

/// All of it.
#[derive(Default)]
pub struct Internet {
    pub zone: BTreeMap<String, Name>,
    pub servers: BTreeMap<IpAddr, Server>,
    /// Nobody answers at others.
    pub ports: BTreeMap<(IpAddr, u16), Port>,
    /// By the source's text; what is not here is right.
    pub sources: BTreeMap<String, Manner>,
    /// By the host's name.
    pub providers: BTreeMap<String, Manner>,
    pub looks: Vec<Look>,
    pub taken: Vec<Taken>,
}

/// What comes back, and how much later.
type Answers = Vec<(Duration, Result<Vec<u8>, i32>)>;

impl Internet {
    pub fn port(&self, at: SocketAddr) -> Port {
        self.ports.get(&(at.ip(), at.port())).copied().unwrap_or(Port::Silent)
    }

    /// What becomes of a question to a server. `made_up`: somebody on the way answers in its place.
    pub fn ask(
        &self,
        server: IpAddr,
        made_up: Option<Ipv4Addr>,
        packet: &[u8],
    ) -> (Option<Said>, Answers) {
        let Some((name, kind)) = question(packet) else { return (None, Vec::new()) };
        let manner = match made_up {
            Some(address) => Server::Everything(address),
            None => self.servers.get(&server).copied().unwrap_or(Server::Silent),
        };
        let known = self.zone.get(&name);
        let truth = || {
            let addresses: Vec<IpAddr> = match kind {
                A => known.iter().flat_map(|name| &name.v4).map(|a| (*a).into()).collect(),
                AAAA => known.iter().flat_map(|name| &name.v6).map(|a| (*a).into()).collect(),
                _ => Vec::new(),
            };
            answer(
                packet,
                if known.is_some() { 0 } else { 3 },
                &addresses,
                known.map_or(0, |name| name.ttl),
            )
        };
        let lie = |address: Ipv4Addr| {
            let addresses: Vec<IpAddr> = if kind == A { vec![address.into()] } else { Vec::new() };
            answer(packet, 0, &addresses, 60)
        };
        let soon = Duration::ZERO;
        match manner {
            Server::Truth => (Some(Said::Truth), vec![(soon, Ok(truth()))]),
            Server::Silent => (None, Vec::new()),
            Server::Verdict(code) => {
                (Some(Said::Nothing), vec![(soon, Ok(answer(packet, code, &[], 0)))])
            }
            Server::Wrong(_) if known.is_none() => (Some(Said::Truth), vec![(soon, Ok(truth()))]),
            Server::Everything(address) | Server::Wrong(address) => {
                (Some(Said::Lie), vec![(soon, Ok(lie(address)))])
            }
            Server::Truncated => {
                let mut message = answer(packet, 0, &[], 0);
                message[2] |= 0x02;
                (Some(Said::Nothing), vec![(soon, Ok(message))])
            }
            Server::Late(later) => (Some(Said::Truth), vec![(later, Ok(truth()))]),
            Server::Broken => {
                let mut message = lie(Ipv4Addr::LOCALHOST);
                message[7] = 1;
                message.truncate(message.len() - 3);
                (Some(Said::Nothing), vec![(soon, Ok(message))])
            }
            Server::Closed => (Some(Said::Nothing), vec![(soon, Err(libc::ECONNREFUSED))]),
            Server::Forged(address) => {
                let mut forged = lie(address);
                forged[0] ^= 0x55;
                (Some(Said::Truth), vec![(soon, Ok(forged)), (NEXT, Ok(truth()))])
            }
        }
    }
}

/// The name that a query asks for, in lower case, and the type.
pub fn question(packet: &[u8]) -> Option<(String, u16)> {
    let mut labels = Vec::new();
    let mut rest = packet.get(12..)?;
    loop {
        let (length, after) = rest.split_first()?;
        let (label, after) = after.split_at_checked(usize::from(*length))?;
        rest = after;
        if label.is_empty() {
            break;
        }
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
    }
    Some((labels.join("."), u16::from_be_bytes(*rest.first_chunk()?)))
}

/// The message that answers a query.
fn answer(query: &[u8], verdict: u8, addresses: &[IpAddr], ttl: u32) -> Vec<u8> {
    let mut message = query.to_vec();
    message[2] = 0x81;
    message[3] = 0x80 | verdict;
    message[7] = addresses.len() as u8;
    for address in addresses {
        let (kind, data) = match address {
            IpAddr::V4(v4) => (A, v4.octets().to_vec()),
            IpAddr::V6(v6) => (AAAA, v6.octets().to_vec()),
        };
        // The name is that of the question.
        message.extend([0xc0, 12]);
        message.extend(kind.to_be_bytes());
        message.extend(1_u16.to_be_bytes());
        message.extend(ttl.to_be_bytes());
        message.extend((data.len() as u16).to_be_bytes());
        message.extend(data);
    }
    message
}
