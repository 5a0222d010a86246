//! A ping of the lab's own, so that its tests trust neither the program under test nor an installed
//! one: it reports every ICMP message that reaches its namespace, right or wrong.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{SockaddrStorage, recvfrom};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Control, Role, ok, wait};
use crate::lab::Lab;
use crate::timeline::monotonic_ns;

pub(super) const NAME: &str = "pinger";

/// ICMP header and a payload of 16 bytes.
const HEADER: usize = 8;
const COOKIE: [u8; 16] = *b"imon-lab's ping!";

/// What to send.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ping {
    to: IpAddr,
    count: u16,
    every: Duration,
    wait: Duration,
    patient: bool,
    device: Option<String>,
    from: Option<IpAddr>,
}

impl Ping {
    /// One echo request to an address, waiting up to 1 s.
    #[must_use]
    pub fn new(to: &str) -> Self {
        let to = to.parse().unwrap_or_else(|e| panic!("{to}: {e}"));
        let (every, wait) = (Duration::from_millis(10), Duration::from_secs(1));
        Self { to, count: 1, every, wait, patient: false, device: None, from: None }
    }

    /// This many requests, this far apart.
    #[must_use]
    pub fn count(mut self, count: u16, every: Duration) -> Self {
        (self.count, self.every) = (count, every);
        self
    }

    /// Waits at most this long after the last request.
    #[must_use]
    pub fn at_most(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Listens this long after the last request, even when all are answered.
    #[must_use]
    pub fn listen(mut self, wait: Duration) -> Self {
        (self.wait, self.patient) = (wait, true);
        self
    }

    /// Bound to this interface.
    #[must_use]
    pub fn device(mut self, device: &str) -> Self {
        self.device = Some(device.to_owned());
        self
    }

    /// From this address.
    #[must_use]
    pub fn from(mut self, from: IpAddr) -> Self {
        self.from = Some(from);
        self
    }
}

/// What was sent and what came.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pinged {
    /// The id of all requests.
    pub id: u16,
    /// The requests, with their error if they could not be sent.
    pub sent: Vec<Sent>,
    /// Every ICMP message (without our own requests and neighbour discovery) that was heard
    /// meanwhile.
    pub heard: Vec<Heard>,
}

/// A request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sent {
    /// Sequence number, from 1.
    pub seq: u16,
    /// When.
    pub at_ns: u64,
    /// Why it could not be sent.
    pub error: Option<String>,
}

/// An ICMP message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Heard {
    /// When it was read.
    pub at_ns: u64,
    /// Who sent it.
    pub from: IpAddr,
    /// ICMP type.
    pub kind: u8,
    /// ICMP code.
    pub code: u8,
    /// Bytes 4 and 5: the id of an echo reply.
    pub id: u16,
    /// Bytes 6 and 7: the sequence number of an echo reply.
    pub seq: u16,
    /// What follows the first 8 bytes.
    pub payload: Vec<u8>,
}

impl Pinged {
    /// The correct replies to a request: right address, id, sequence number and payload.
    #[must_use]
    pub fn replies(&self, to: &str, seq: u16) -> Vec<&Heard> {
        self.correct(to).filter(|h| h.seq == seq).collect()
    }

    /// How many requests were answered correctly.
    #[must_use]
    pub fn answered(&self, to: &str) -> usize {
        let answered: HashSet<u16> = self.correct(to).map(|h| h.seq).collect();
        self.sent.iter().filter(|s| answered.contains(&s.seq)).count()
    }

    fn correct(&self, to: &str) -> impl Iterator<Item = &Heard> {
        let to: IpAddr = to.parse().unwrap_or_else(|e| panic!("{to}: {e}"));
        let right = move |h: &Heard| {
            [0, 129].contains(&h.kind) && h.from == to && h.id == self.id && h.payload == COOKIE
        };
        self.heard.iter().filter(move |h| right(h))
    }

    /// Time from a request to its first correct reply.
    #[must_use]
    pub fn rtt(&self, to: &str, seq: u16) -> Option<Duration> {
        let sent = self.sent.iter().find(|s| s.seq == seq)?;
        let heard = *self.replies(to, seq).first()?;
        Some(Duration::from_nanos(heard.at_ns.saturating_sub(sent.at_ns)))
    }
}

impl Lab {
    /// Pings from a namespace and returns when all requests are answered correctly or the time is
    /// over.
    #[track_caller]
    pub fn ping(&self, ns: &str, ping: &Ping) -> Pinged {
        Role::start(self, ns, NAME, &[]).call(ping)
    }
}

/// The role's life: one command.
pub(super) fn play() -> io::Result<()> {
    let mut control = Control::ready()?;
    while let Some(commands) = control.read()? {
        for command in commands {
            ok(&ping(&command)?);
        }
    }
    Ok(())
}

fn ping(ping: &Ping) -> io::Result<Pinged> {
    let (domain, protocol, request) = match ping.to {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128),
    };
    let socket = Socket::new_raw(domain, Type::RAW, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if let Some(device) = &ping.device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    if let Some(from) = ping.from {
        socket.bind(&SocketAddr::new(from, 0).into())?;
    }
    let to = SocketAddr::new(ping.to, 0).into();
    let id = u16::try_from(std::process::id() & 0xffff).unwrap_or(0);
    let mut pinged = Pinged { id, ..Pinged::default() };
    let text = ping.to.to_string();
    let ns = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
    let start = monotonic_ns();
    for seq in 1..=ping.count {
        listen(&socket, start + ns(ping.every) * u64::from(seq - 1), &mut pinged, |_| false)?;
        let mut icmp =
            [&[request, 0, 0, 0][..], &id.to_be_bytes(), &seq.to_be_bytes(), &COOKIE].concat();
        if ping.to.is_ipv4() {
            let sum = pnet::util::checksum(&icmp, 1);
            icmp[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        let at_ns = monotonic_ns();
        let error = socket.send_to(&icmp, &to).err().map(|e| e.to_string());
        pinged.sent.push(Sent { seq, at_ns, error });
    }
    let last = monotonic_ns() + ns(ping.wait);
    listen(&socket, last, &mut pinged, |p| !ping.patient && p.answered(&text) == p.sent.len())?;
    Ok(pinged)
}

/// Hears until the moment has come or it is enough.
fn listen(
    socket: &Socket,
    until_ns: u64,
    pinged: &mut Pinged,
    enough: impl Fn(&Pinged) -> bool,
) -> io::Result<()> {
    let mut buffer = [0; 65_536];
    loop {
        while let Some(heard) = hear(socket, &mut buffer)? {
            pinged.heard.push(heard);
        }
        if monotonic_ns() >= until_ns || enough(pinged) {
            return Ok(());
        }
        wait(&[socket.as_fd()], Some(until_ns))?;
    }
}

fn hear(socket: &Socket, buffer: &mut [u8]) -> io::Result<Option<Heard>> {
    loop {
        let (n, from) = match recvfrom::<SockaddrStorage>(socket.as_raw_fd(), buffer) {
            Ok(received) => received,
            Err(Errno::EAGAIN) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let at_ns = monotonic_ns();
        let Some(from) = from else { continue };
        let v4 = from.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        let from = v4.or_else(|| from.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())));
        // A raw IPv4 socket gets the IP header as well.
        let header = if v4.is_some() { usize::from(buffer[0] & 15) * 4 } else { 0 };
        let (Some(from), Some(icmp)) = (from, buffer[..n].get(header..)) else { continue };
        if icmp.len() < HEADER || icmp[0] == 8 || icmp[0] == 128 || (133..=137).contains(&icmp[0]) {
            continue;
        }
        let word = |at| u16::from_be_bytes([icmp[at], icmp[at + 1]]);
        let (kind, code, id, seq) = (icmp[0], icmp[1], word(4), word(6));
        return Ok(Some(Heard {
            at_ns,
            from,
            kind,
            code,
            id,
            seq,
            payload: icmp[HEADER..].to_vec(),
        }));
    }
}
