//! Answers pings to all addresses of a namespace instead of the kernel, rightly or wrongly.

use std::collections::HashMap;
use std::fs;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc::in6_pktinfo;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt,
    sockopt::Ipv6RecvPacketInfo,
};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv4::{self, Ipv4Packet, MutableIpv4Packet};
use pnet::packet::ipv6::MutableIpv6Packet;
use pnet::packet::{MutablePacket as _, Packet as _};
use pnet::util;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Control, Later, Random, Role, ok, wait};
use crate::lab::Lab;
use crate::timeline::monotonic_ns;

pub(super) const NAME: &str = "responder";

/// Length of the ICMP echo header: type, code, checksum, id, sequence.
const HEADER: usize = 8;
/// How long a request held back for reordering waits for a next one.
const HELD: Duration = Duration::from_secs(1);

/// What is done with the requests to an address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Behaviour {
    /// What is sent.
    pub reply: Reply,
    /// How much later than the request.
    pub delay: Duration,
    /// The delay varies by at most this in either direction, evenly.
    pub jitter: Duration,
    /// Percent of the requests that get nothing.
    pub loss: f64,
}

/// What an echo request is answered with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// A correct echo reply.
    Echo,
    /// Nothing.
    Silent,
    /// The correct reply, twice.
    Twice,
    /// The correct reply so many times.
    Repeated(u16),
    /// The correct reply, but of each two requests the second is answered first.
    Reordered,
    /// An echo reply whose id is another.
    WrongId,
    /// An echo reply whose sequence number is another.
    WrongSequence,
    /// An echo reply whose payload is another, all of its bits inverted.
    WrongPayload,
    /// An echo reply with only the first bytes of the payload.
    Truncated(usize),
    /// The correct reply, from another address.
    WrongSource(IpAddr),
    /// The correct reply with a wrong ICMP checksum.
    WrongChecksum,
    /// An ICMP error that quotes the request.
    Error {
        /// ICMP type: for IPv4 3 is unreachable and 11 time exceeded, for IPv6 1 and 3.
        kind: u8,
        /// ICMP code.
        code: u8,
        /// Who sends it.
        from: IpAddr,
        /// How much of the request it quotes.
        quote: Quote,
        /// Whether the correct reply follows (what a forger in the network would look like).
        then_reply: bool,
    },
}

/// How an ICMP error quotes the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Quote {
    /// The whole packet.
    Full,
    /// The IP header and 8 bytes: id and sequence number, but no payload.
    Short,
    /// The whole packet with the payload inverted: somebody guessed the rest.
    Forged,
}

impl Behaviour {
    /// This reply at once, without loss.
    #[must_use]
    pub const fn new(reply: Reply) -> Self {
        Self { reply, delay: Duration::ZERO, jitter: Duration::ZERO, loss: 0.0 }
    }

    /// Correct replies.
    #[must_use]
    pub const fn normal() -> Self {
        Self::new(Reply::Echo)
    }

    /// No replies.
    #[must_use]
    pub const fn silent() -> Self {
        Self::new(Reply::Silent)
    }

    /// Answers this much later.
    #[must_use]
    pub const fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Varies the delay by at most this in either direction.
    #[must_use]
    pub const fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Ignores this percentage of the requests.
    #[must_use]
    pub const fn loss(mut self, percent: f64) -> Self {
        self.loss = percent;
        self
    }
}

/// An echo request that arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Who asked.
    pub src: IpAddr,
    /// Who was asked.
    pub dst: IpAddr,
    /// ICMP id.
    pub id: u16,
    /// ICMP sequence number.
    pub seq: u16,
    /// Bytes of payload.
    pub len: usize,
    /// Whether its ICMP checksum was right. It is not answered otherwise.
    pub valid: bool,
    /// When it was read.
    pub at_ns: u64,
    /// When something was first sent back, if anything was (yet).
    pub replied_ns: Option<u64>,
    /// Whether it was ignored because of [`Behaviour::loss`].
    pub lost: bool,
}

#[derive(Serialize, Deserialize)]
enum Command {
    Set(Option<IpAddr>, Behaviour),
    Seed(u64),
    Requests,
    Count,
    Forget,
}

/// The handle of a running responder; when it is dropped the kernel does not answer for it: see
/// [`Lab::responder`].
#[derive(Debug)]
pub struct Responder(Role);

impl Lab {
    /// Answers pings to all addresses of a namespace in the kernel's place, until the handle is
    /// dropped; then nobody answers there any more.
    #[track_caller]
    pub fn responder(&self, ns: &str) -> Responder {
        Responder(Role::start(self, ns, NAME, &[]))
    }
}

impl Responder {
    /// How requests to one address are treated from now on.
    #[track_caller]
    pub fn set(&self, address: &str, behaviour: &Behaviour) {
        let address = address.parse().unwrap_or_else(|e| panic!("{address}: {e}"));
        self.0.call(&Command::Set(Some(address), behaviour.clone()))
    }

    /// How requests to all other addresses are treated from now on.
    #[track_caller]
    pub fn set_default(&self, behaviour: &Behaviour) {
        self.0.call(&Command::Set(None, behaviour.clone()))
    }

    /// Starts the random numbers for loss and jitter anew from this seed.
    #[track_caller]
    pub fn seed(&self, seed: u64) {
        self.0.call(&Command::Seed(seed))
    }

    /// All requests since the start or the last [`Self::forget`], in order of arrival.
    #[track_caller]
    pub fn requests(&self) -> Vec<Request> {
        self.0.call(&Command::Requests)
    }

    /// Those to one address.
    #[track_caller]
    pub fn requests_to(&self, address: &str) -> Vec<Request> {
        let address: IpAddr = address.parse().unwrap_or_else(|e| panic!("{address}: {e}"));
        self.requests().into_iter().filter(|r| r.dst == address).collect()
    }

    /// How many requests there were.
    #[track_caller]
    pub fn count(&self) -> usize {
        self.0.call(&Command::Count)
    }

    /// Forgets the requests so far.
    #[track_caller]
    pub fn forget(&self) {
        self.0.call(&Command::Forget)
    }

    /// The role's pid, for its costs.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.0.proc().pid()
    }
}

/// The role's life.
pub(super) fn play() -> io::Result<()> {
    let mut sockets = Sockets::open()?;
    // Only now, so that there is no moment in which nobody answers.
    fs::write("/proc/sys/net/ipv4/icmp_echo_ignore_all", "1")?;
    fs::write("/proc/sys/net/ipv6/icmp/echo_ignore_all", "1")?;
    let mut state = State::new();
    let mut control = Control::ready()?;
    loop {
        let ready = wait(
            &[control.as_fd(), sockets.receive4.as_fd(), sockets.receive6.as_fd()],
            state.later.next_ns(),
        )?;
        state.send_due(&sockets);
        if ready[1] {
            while let Some(packet) = sockets.next4()? {
                state.request(&packet);
                state.send_due(&sockets);
            }
        }
        if ready[2] {
            while let Some(packet) = sockets.next6()? {
                state.request(&packet);
                state.send_due(&sockets);
            }
        }
        if ready[0] {
            let Some(commands) = control.read()? else { return Ok(()) };
            for command in commands {
                state.obey(command);
            }
        }
    }
}

/// An ICMP echo request as it came: who, whom, and the ICMP message.
struct Packet {
    src: IpAddr,
    dst: IpAddr,
    at_ns: u64,
    icmp: Vec<u8>,
}

struct Sockets {
    receive4: Socket,
    receive6: Socket,
    send4: Socket,
    send6: Socket,
    buffer: Vec<u8>,
    control: Vec<u8>,
}

impl Sockets {
    fn open() -> io::Result<Self> {
        // Protocol 255 (IPPROTO_RAW): the IP header is ours, so replies can come from any address.
        let raw = Protocol::from(255);
        let receive4 = Socket::new_raw(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
        let receive6 = Socket::new_raw(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
        setsockopt(&receive6, Ipv6RecvPacketInfo, &true)?;
        for socket in [&receive4, &receive6] {
            socket.set_nonblocking(true)?;
            // As much as the kernel allows: a burst must not be lost here.
            socket.set_recv_buffer_size(4 << 20)?;
        }
        Ok(Self {
            receive4,
            receive6,
            send4: Socket::new_raw(Domain::IPV4, Type::RAW, Some(raw))?,
            send6: Socket::new_raw(Domain::IPV6, Type::RAW, Some(raw))?,
            buffer: vec![0; 65_536],
            control: cmsg_space!(in6_pktinfo),
        })
    }

    /// The next echo request over IPv4, if there is one.
    fn next4(&mut self) -> io::Result<Option<Packet>> {
        loop {
            let n = match nix::sys::socket::recv(
                self.receive4.as_raw_fd(),
                &mut self.buffer,
                MsgFlags::empty(),
            ) {
                Ok(n) => n,
                Err(Errno::EAGAIN) => return Ok(None),
                Err(e) => return Err(e.into()),
            };
            let at_ns = monotonic_ns();
            let Some(ip) = Ipv4Packet::new(&self.buffer[..n]) else { continue };
            let icmp = ip.payload();
            if icmp.len() >= HEADER && icmp[0] == 8 {
                let (src, dst) = (ip.get_source().into(), ip.get_destination().into());
                return Ok(Some(Packet { src, dst, at_ns, icmp: icmp.to_vec() }));
            }
        }
    }

    /// The next echo request over IPv6, if there is one.
    fn next6(&mut self) -> io::Result<Option<Packet>> {
        loop {
            let mut parts = [IoSliceMut::new(&mut self.buffer)];
            let fd = self.receive6.as_raw_fd();
            let message = match recvmsg::<SockaddrStorage>(
                fd,
                &mut parts,
                Some(&mut self.control),
                MsgFlags::empty(),
            ) {
                Ok(message) => message,
                Err(Errno::EAGAIN) => return Ok(None),
                Err(e) => return Err(e.into()),
            };
            let at_ns = monotonic_ns();
            let src = message
                .address
                .as_ref()
                .and_then(SockaddrStorage::as_sockaddr_in6)
                .map(|a| IpAddr::V6(a.ip()));
            let dst = message.cmsgs()?.find_map(|c| match c {
                ControlMessageOwned::Ipv6PacketInfo(i) => {
                    Some(IpAddr::V6(Ipv6Addr::from(i.ipi6_addr.s6_addr)))
                }
                _ => None,
            });
            let n = message.bytes;
            let icmp = self.buffer[..n].to_vec();
            if let (Some(src), Some(dst), true) = (src, dst, icmp.len() >= HEADER && icmp[0] == 128)
            {
                return Ok(Some(Packet { src, dst, at_ns, icmp }));
            }
        }
    }

    /// Sends an ICMP message. Failing is what networks do: the route may just be gone.
    fn send(&self, src: IpAddr, dst: IpAddr, icmp: &[u8]) {
        let to = SocketAddr::new(dst, 0).into();
        let _ = match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => self.send4.send_to(&packet4(src, dst, icmp), &to),
            (IpAddr::V6(src), IpAddr::V6(dst)) => self.send6.send_to(&packet6(src, dst, icmp), &to),
            _ => Ok(0),
        };
    }
}

struct State {
    behaviours: HashMap<IpAddr, Behaviour>,
    default: Behaviour,
    random: Random,
    requests: Vec<Request>,
    /// Number of requests forgotten: `requests[0]` is the one with this number.
    forgotten: usize,
    /// Reordered addresses: the request that waits for the next, its number and when it is sent at
    /// the latest.
    held: HashMap<IpAddr, (usize, Message)>,
    later: Later<Action>,
}

enum Action {
    /// Sends an answer to the request of this number.
    Send(usize, Message),
    /// Sends what is held back for this address if it still is this request.
    Release(IpAddr, usize),
}

#[derive(Clone)]
struct Message {
    src: IpAddr,
    dst: IpAddr,
    icmp: Vec<u8>,
}

impl State {
    fn new() -> Self {
        Self {
            behaviours: HashMap::new(),
            default: Behaviour::normal(),
            random: Random(1),
            requests: Vec::new(),
            forgotten: 0,
            held: HashMap::new(),
            later: Later::new(),
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Set(Some(address), behaviour) => {
                self.behaviours.insert(address, behaviour);
            }
            Command::Set(None, behaviour) => self.default = behaviour,
            Command::Seed(seed) => self.random = Random(seed),
            Command::Requests => return ok(&self.requests),
            Command::Count => return ok(&self.requests.len()),
            Command::Forget => {
                self.forgotten += self.requests.len();
                self.requests.clear();
            }
        }
        ok(&());
    }

    /// Notes a request and plans what becomes of it.
    fn request(&mut self, packet: &Packet) {
        let &Packet { src, dst, at_ns, ref icmp } = packet;
        let behaviour = self.behaviours.get(&dst).unwrap_or(&self.default).clone();
        let valid = checksum(src, dst, icmp) == 0;
        let lost = valid && self.random.chance(behaviour.loss);
        let word = |at| u16::from_be_bytes([icmp[at], icmp[at + 1]]);
        let (id, seq, len) = (word(4), word(6), icmp.len() - HEADER);
        let number = self.forgotten + self.requests.len();
        self.requests.push(Request {
            src,
            dst,
            id,
            seq,
            len,
            valid,
            at_ns,
            replied_ns: None,
            lost,
        });
        if !valid || lost {
            return;
        }
        let at_ns = at_ns + self.random.around(behaviour.delay, behaviour.jitter);
        let echo = echo_reply(packet);
        if behaviour.reply == Reply::Reordered {
            let Some((first, held)) = self.held.remove(&dst) else {
                self.held.insert(dst, (number, echo));
                let latest = at_ns + u64::try_from(HELD.as_nanos()).unwrap_or(u64::MAX);
                return self.later.push(latest, Action::Release(dst, number));
            };
            self.later.push(at_ns, Action::Send(number, echo));
            return self.later.push(at_ns, Action::Send(first, held));
        }
        for message in answers(packet, echo, &behaviour.reply) {
            self.later.push(at_ns, Action::Send(number, message));
        }
    }

    fn send_due(&mut self, sockets: &Sockets) {
        while let Some(action) = self.later.pop(monotonic_ns()) {
            let (number, message) = match action {
                Action::Send(number, message) => (number, message),
                Action::Release(address, number) => match self.held.remove(&address) {
                    Some((held, message)) if held == number => (held, message),
                    Some(other) => {
                        self.held.insert(address, other);
                        continue;
                    }
                    None => continue,
                },
            };
            // Before sending: with nothing but software between, the reply has arrived when send
            // returns.
            let now = monotonic_ns();
            sockets.send(message.src, message.dst, &message.icmp);
            if let Some(request) =
                number.checked_sub(self.forgotten).and_then(|n| self.requests.get_mut(n))
            {
                request.replied_ns.get_or_insert(now);
            }
        }
    }
}

/// The correct reply to a request.
fn echo_reply(packet: &Packet) -> Message {
    let mut icmp = packet.icmp.clone();
    icmp[0] = if packet.src.is_ipv4() { 0 } else { 129 };
    Message { src: packet.dst, dst: packet.src, icmp }.sealed()
}

/// What is sent instead of, or with, the correct reply.
fn answers(packet: &Packet, echo: Message, reply: &Reply) -> Vec<Message> {
    let bent = |bend: fn(&mut Vec<u8>)| {
        let mut message = echo.clone();
        bend(&mut message.icmp);
        vec![message.sealed()]
    };
    match *reply {
        Reply::Silent => Vec::new(),
        // Reordering was dealt with where both requests are known.
        Reply::Echo | Reply::Reordered => vec![echo],
        Reply::Twice => vec![echo.clone(), echo],
        Reply::Repeated(times) => vec![echo; times.into()],
        Reply::WrongId => bent(|icmp| icmp[5] ^= 0x55),
        Reply::WrongSequence => bent(|icmp| icmp[7] ^= 0x55),
        Reply::WrongPayload => bent(|icmp| invert(&mut icmp[HEADER..])),
        Reply::Truncated(len) => {
            let mut message = echo;
            message.icmp.truncate(HEADER + len);
            vec![message.sealed()]
        }
        Reply::WrongSource(src) => vec![Message { src, ..echo }.sealed()],
        Reply::WrongChecksum => {
            let mut message = echo;
            message.icmp[2] ^= 0x55;
            vec![message]
        }
        Reply::Error { kind, code, from, quote, then_reply } => {
            let mut messages = vec![error(packet, kind, code, from, quote)];
            messages.extend(then_reply.then_some(echo));
            messages
        }
    }
}

/// An ICMP error from `from` to who asked: 4 bytes of type, code and checksum, 4 unused, the quoted
/// packet.
fn error(packet: &Packet, kind: u8, code: u8, from: IpAddr, quote: Quote) -> Message {
    let mut quoted = packet.icmp.clone();
    match quote {
        Quote::Full => {}
        Quote::Short => quoted.truncate(HEADER),
        Quote::Forged => invert(&mut quoted[HEADER..]),
    }
    let mut icmp = vec![kind, code, 0, 0, 0, 0, 0, 0];
    icmp.extend(match (packet.src, packet.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => packet4(src, dst, &quoted),
        (IpAddr::V6(src), IpAddr::V6(dst)) => packet6(src, dst, &quoted),
        _ => Vec::new(),
    });
    Message { src: from, dst: packet.src, icmp }.sealed()
}

fn invert(bytes: &mut [u8]) {
    bytes.iter_mut().for_each(|b| *b = !*b);
}

impl Message {
    /// With the right ICMP checksum.
    fn sealed(mut self) -> Self {
        self.icmp[2..4].fill(0);
        let sum = checksum(self.src, self.dst, &self.icmp);
        self.icmp[2..4].copy_from_slice(&sum.to_be_bytes());
        self
    }
}

/// The checksum of an ICMP message, over all of its bytes: 0 when the one it carries is right.
fn checksum(src: IpAddr, dst: IpAddr, icmp: &[u8]) -> u16 {
    // A word beyond the end: none is left out.
    let none = icmp.len() / 2 + 1;
    match (src, dst) {
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            util::ipv6_checksum(icmp, none, &[], &src, &dst, IpNextHeaderProtocols::Icmpv6)
        }
        _ => util::checksum(icmp, none),
    }
}

/// An IPv4 packet around an ICMP message.
fn packet4(src: Ipv4Addr, dst: Ipv4Addr, icmp: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 20 + icmp.len()];
    if let Some(mut ip) = MutableIpv4Packet::new(&mut bytes) {
        ip.set_version(4);
        ip.set_header_length(5);
        ip.set_total_length(u16::try_from(20 + icmp.len()).unwrap_or(u16::MAX));
        ip.set_ttl(64);
        ip.set_next_level_protocol(IpNextHeaderProtocols::Icmp);
        ip.set_source(src);
        ip.set_destination(dst);
        ip.payload_mut().copy_from_slice(icmp);
        ip.set_checksum(ipv4::checksum(&ip.to_immutable()));
    }
    bytes
}

/// An IPv6 packet around an ICMPv6 message.
fn packet6(src: Ipv6Addr, dst: Ipv6Addr, icmp: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 40 + icmp.len()];
    if let Some(mut ip) = MutableIpv6Packet::new(&mut bytes) {
        ip.set_version(6);
        ip.set_payload_length(u16::try_from(icmp.len()).unwrap_or(u16::MAX));
        ip.set_next_header(IpNextHeaderProtocols::Icmpv6);
        ip.set_hop_limit(64);
        ip.set_source(src);
        ip.set_destination(dst);
        ip.payload_mut().copy_from_slice(icmp);
    }
    bytes
}
