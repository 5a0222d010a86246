//! ICMP echo sockets: one per address family for all targets, raw where that is allowed, else
//! datagram.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use libc::c_int;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::set_option;
use crate::base::time::Clock;
use crate::engine::world::OpenError;
use crate::kernel::path::{Families, Via};
use crate::wire::icmp::{Codec, IcmpError, REQUEST, Received, Token, words};

/// Messages taken by one system call. More are taken by the next; fewer means that there are no
/// more.
const BATCH: usize = 16;
/// Such calls in one turn of the loop: a flood of copies of a good reply, which no cookie tells
/// from the first, must neither keep us here nor fill the memory.
const BATCHES: usize = 64;
/// An ICMP error quotes at most what fits into 576 bytes (RFC 1812, section 4.3.2.3).
const MESSAGE: usize = 576;
/// Room for one time stamp or one extended error.
const CONTROL: usize = 128;
/// `SO_TIMESTAMPNS`: a stamp with 64-bit fields since Linux 5.1 (`_NEW`), with longs before.
const TIMESTAMPNS_NEW: c_int = 64;
const TIMESTAMPNS_OLD: c_int = 35;

/// Sends echo requests and hears what comes back.
pub struct Pinger {
    v4: Option<Channel>,
    v6: Option<Channel>,
    /// Sockets of IPv4 that are bound to a WAN each, by its number.
    lanes: Vec<WanSocket>,
    batch: Box<Batch>,
}

/// Sends IPv4 echo requests of any size that no router may cut in pieces (RFC 1191), one at a time.
/// A socket of its own: replies are as long.
pub struct Sized {
    channel: Channel,
    buffer: Vec<u8>,
}

/// Bytes of an IPv4 header without options.
const IP4_HEADER: usize = 20;

impl Sized {
    /// Opens the socket.
    ///
    /// # Errors
    /// As [`Pinger::open`].
    pub fn open() -> Result<Self, OpenError> {
        let channel = Channel::open(false)?;
        // Sets the "don't fragment" bit, whatever path MTU the kernel believes in (ip(7)).
        let _ = super::set_option_to(
            &channel.socket,
            libc::SOL_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_PROBE,
        );
        Ok(Self { channel, buffer: vec![0; 1 << 16] })
    }

    /// The descriptor to wait for.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.channel.socket.as_raw_fd()
    }

    /// Sends one whose IP packet has so many bytes, header and all; at least what an ordinary one
    /// has.
    ///
    /// # Errors
    /// As sendto(2); `EMSGSIZE` when it does not fit into the interface's own MTU.
    pub fn send(&mut self, to: Ipv4Addr, token: &Token, size: usize) -> io::Result<()> {
        let packet = self.channel.codec.request_of(
            to.into(),
            token,
            size.saturating_sub(IP4_HEADER).max(REQUEST),
        );
        self.channel.socket.send_to(&packet, &SocketAddr::new(to.into(), 0).into()).map(|_| ())
    }

    /// Takes one message; `None`: there is none.
    pub fn receive(&mut self) -> Option<SizedHeard> {
        let Self { channel, buffer } = self;
        if let Some((n, from)) = receive_from(&channel.socket, buffer, 0) {
            return Some(match channel.read(buffer.get(..n)?, from) {
                Some(Received::Reply(token)) => SizedHeard::Reply(token),
                Some(Received::Failed(_, e) | Received::Hint(_, e))
                    if e.what.starts_with("fragmentation") =>
                {
                    SizedHeard::TooLarge
                }
                _ => SizedHeard::Other,
            });
        }
        // A datagram socket keeps ICMP errors here.
        receive_from(&channel.socket, buffer, libc::MSG_ERRQUEUE).map(|_| SizedHeard::TooLarge)
    }
}

/// What came back to a [`Sized`].
pub enum SizedHeard {
    /// A reply.
    Reply(Token),
    /// A router says that a packet was too large.
    TooLarge,
    /// Something else.
    Other,
}

/// Binds a socket to the path of a WAN.
///
/// # Errors
/// As `SO_BINDTODEVICE` and bind(2): the device or the address has just gone.
pub(super) fn bind(via: &Via, socket: &Socket) -> io::Result<()> {
    socket.bind_device(Some(via.device.as_bytes()))?;
    socket.bind(&SocketAddr::new(via.address.into(), 0).into())
}

/// A WAN's socket, while it has one.
#[derive(Default)]
struct WanSocket {
    via: Option<Via>,
    channel: Option<Channel>,
}

struct Channel {
    socket: Socket,
    raw: bool,
    v6: bool,
    codec: Codec<RandomState>,
}

impl Pinger {
    /// Opens the sockets. A family that this kernel does not have is left out; its targets then
    /// fail with the reason.
    ///
    /// # Errors
    /// When neither raw nor datagram sockets are allowed, or there is no descriptor or memory left
    /// for one.
    pub fn open(families: Families) -> Result<Self, OpenError> {
        let channel = |wanted, v6| match wanted {
            true => match Channel::open(v6) {
                Err(e) if is_missing(&e.raw) && is_missing(&e.datagram) => Ok(None),
                other => other.map(Some),
            },
            false => Ok(None),
        };
        Ok(Self {
            v4: channel(families.v4, false)?,
            v6: channel(families.v6, true)?,
            lanes: Vec::new(),
            batch: Batch::new(),
        })
    }

    /// From now on probes of this WAN go this way; `None`: there is none. Returns whether that is
    /// news.
    ///
    /// # Errors
    /// No socket can be had, or it cannot be bound. It is tried again the next time.
    pub fn set_lane(&mut self, wan: usize, via: Option<&Via>) -> io::Result<bool> {
        if self.lanes.len() <= wan {
            self.lanes.resize_with(wan + 1, WanSocket::default);
        }
        let Some(lane) = self.lanes.get_mut(wan) else { return Ok(false) };
        if lane.via.as_ref() == via && lane.channel.is_some() == via.is_some() {
            return Ok(false);
        }
        *lane = WanSocket { via: via.cloned(), channel: None };
        if let Some(via) = via {
            lane.channel = Some(Channel::open_by(false, Some(via)).map_err(|e| e.raw)?);
        }
        Ok(true)
    }

    /// Takes over from sockets that were opened to replace these. A family that was there already
    /// keeps its socket, and so what is on its way; with `lanes` the WANs get the new ones.
    pub fn replace(&mut self, new: Self, lanes: bool) {
        let keep = |old: &mut Option<Channel>, new: Option<Channel>| {
            *old = new.map(|new| old.take().unwrap_or(new))
        };
        keep(&mut self.v4, new.v4);
        keep(&mut self.v6, new.v6);
        if lanes {
            self.lanes = new.lanes;
        }
    }

    /// The descriptors to wait for.
    pub fn fds(&self) -> impl Iterator<Item = RawFd> {
        self.channels().map(|(_, c)| c.socket.as_raw_fd())
    }

    /// Sends the echo request of a probe, by a WAN's way or by whatever way the kernel chooses.
    ///
    /// # Errors
    /// As sendto(2): no route, no buffer, forbidden by a firewall. `ENETDOWN`: the WAN has no way
    /// at the moment.
    pub fn send(&mut self, wan: Option<usize>, to: IpAddr, token: &Token) -> io::Result<()> {
        let (channel, missing) = match wan {
            Some(wan) => {
                (self.lanes.get(wan).and_then(|lane| lane.channel.as_ref()), libc::ENETDOWN)
            }
            None => (if to.is_ipv4() { &self.v4 } else { &self.v6 }.as_ref(), libc::EAFNOSUPPORT),
        };
        let channel = channel.filter(|c| c.v6 == to.is_ipv6());
        let channel = channel.ok_or_else(|| io::Error::from_raw_os_error(missing))?;
        let packet = channel.codec.request(to, token);
        let result = channel.socket.send_to(&packet, &SocketAddr::new(to, 0).into());
        // An error that ICMP brought for an earlier packet ends this call; the packet itself has
        // not been tried.
        let result =
            result.or_else(|_| channel.socket.send_to(&packet, &SocketAddr::new(to, 0).into()));
        result.map(|_| ())
    }

    /// Takes what has arrived: with `many` as much as there is, in a flood only a part of it, else
    /// one message of each socket. Where replies come one by one, asking for more costs more than
    /// it brings, and what is left is waited for in vain by nobody: poll(2) says so at once.
    /// `heard` gets the WAN by whose way it came, each message and, for a reply, its round-trip
    /// time: the kernel's time stamp tells how long the reply waited for us, which does not count.
    pub fn receive(
        &mut self,
        many: bool,
        mut heard: impl FnMut(Option<usize>, Received, Duration),
    ) {
        let (most, times) = if many { (BATCH, BATCHES) } else { (1, 1) };
        let Self { v4, v6, lanes, batch } = self;
        for (wan, channel) in channels(v4, v6, lanes) {
            let mut heard = |message, rtt| heard(wan, message, rtt);
            for flags in if channel.raw { &[0][..] } else { &[0, libc::MSG_ERRQUEUE] } {
                let full = |_: &usize| batch.receive(channel, *flags, most, &mut heard) == most;
                (0..times).take_while(full).for_each(drop);
            }
        }
    }

    fn channels(&self) -> impl Iterator<Item = (Option<usize>, &Channel)> {
        channels(&self.v4, &self.v6, &self.lanes)
    }
}

/// All sockets, and the WAN of each that is bound to one.
fn channels<'a>(
    v4: &'a Option<Channel>,
    v6: &'a Option<Channel>,
    lanes: &'a [WanSocket],
) -> impl Iterator<Item = (Option<usize>, &'a Channel)> {
    let free = [v4, v6].into_iter().flatten().map(|channel| (None, channel));
    free.chain(
        lanes
            .iter()
            .enumerate()
            .filter_map(|(wan, lane)| Some((Some(wan), lane.channel.as_ref()?))),
    )
}

impl Channel {
    fn open(v6: bool) -> Result<Self, OpenError> {
        Self::open_by(v6, None)
    }

    fn open_by(v6: bool, via: Option<&Via>) -> Result<Self, OpenError> {
        let (domain, protocol) =
            if v6 { (Domain::IPV6, Protocol::ICMPV6) } else { (Domain::IPV4, Protocol::ICMPV4) };
        let key = RandomState::new();
        let ident = (key.hash_one("identifier") & 0xffff) as u16;
        match Self::open_raw(domain, protocol, v6, ident, via) {
            Ok(socket) => Ok(Self { socket, raw: true, v6, codec: Codec::new(ident, key) }),
            Err(raw) => match Self::open_datagram(domain, protocol, v6, via) {
                Ok((socket, ident)) => {
                    Ok(Self { socket, raw: false, v6, codec: Codec::new(ident, key) })
                }
                Err(datagram) => Err(OpenError { raw, datagram }),
            },
        }
    }

    fn open_raw(
        domain: Domain,
        protocol: Protocol,
        v6: bool,
        ident: u16,
        via: Option<&Via>,
    ) -> io::Result<Socket> {
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        via.map_or(Ok(()), |via| bind(via, &socket))?;
        // A raw socket hears all ICMP of the machine: let the kernel keep what is not ours.
        socket.attach_filter(&filter(v6, ident))?;
        prepare(&socket)?;
        Ok(socket)
    }

    fn open_datagram(
        domain: Domain,
        protocol: Protocol,
        v6: bool,
        via: Option<&Via>,
    ) -> io::Result<(Socket, u16)> {
        let socket = Socket::new(domain, Type::DGRAM, Some(protocol))?;
        // Binding makes the kernel choose the identifier, which it calls the port.
        let any: IpAddr =
            if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        match via {
            Some(via) => bind(via, &socket)?,
            None => socket.bind(&SocketAddr::new(any, 0).into())?,
        }
        let ident = socket.local_addr()?.as_socket().map_or(0, |a| a.port());
        // ICMP errors come by the error queue here.
        let (level, option) = if v6 {
            (libc::SOL_IPV6, libc::IPV6_RECVERR)
        } else {
            (libc::SOL_IP, libc::IP_RECVERR)
        };
        set_option(&socket, level, option)?;
        prepare(&socket)?;
        Ok((socket, ident))
    }

    fn read(&self, bytes: &[u8], source: Option<IpAddr>) -> Option<Received> {
        match source {
            _ if self.raw && !self.v6 => self.codec.heard_ip4(bytes),
            Some(IpAddr::V4(source)) => self.codec.heard_icmp4(source, bytes),
            Some(IpAddr::V6(source)) => self.codec.heard_icmp6(source, bytes),
            None => None,
        }
    }
}

/// One message and who sent it.
fn receive_from(
    socket: &Socket,
    buffer: &mut [u8],
    flags: c_int,
) -> Option<(usize, Option<IpAddr>)> {
    // SAFETY: integers only, for which zero is valid.
    let mut name: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let mut length = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    let (fd, flags) = (socket.as_raw_fd(), flags | libc::MSG_DONTWAIT);
    let (bytes, most) = (buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: the buffer and the name live through the call, and their lengths are given.
    let n =
        unsafe { libc::recvfrom(fd, bytes, most, flags, (&raw mut name).cast(), &raw mut length) };
    Some((usize::try_from(n).ok()?, address(&name)))
}

fn prepare(socket: &Socket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    // Without stamps round-trip times are only a little worse.
    let _ = set_option(socket, libc::SOL_SOCKET, TIMESTAMPNS_NEW)
        .or_else(|_| set_option(socket, libc::SOL_SOCKET, TIMESTAMPNS_OLD));
    Ok(())
}

/// Whether the kernel does not have this kind of socket, which is no fault of ours or of the
/// moment.
fn is_missing(e: &io::Error) -> bool {
    matches!(
        e.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT | libc::ESOCKTNOSUPPORT)
    )
}

/// A classic BPF program that passes echo replies with our identifier, and ICMP errors that quote
/// an ICMP message with our identifier (the quoted header has no options: we send none).
fn filter(v6: bool, ident: u16) -> Vec<SockFilter> {
    const LD_H_IND: u16 = 0x48;
    const LD_B_IND: u16 = 0x50;
    const LDX_IMM: u16 = 0x01;
    const LDX_IHL: u16 = 0xb1;
    const JA: u16 = 0x05;
    const JEQ: u16 = 0x15;
    const RET: u16 = 0x06;
    let op = |code, k| SockFilter::new(code, 0, 0, k);
    // If equal go on, else skip `n` instructions; and the other way round.
    let or_skip = |k, n| SockFilter::new(JEQ, 0, n, k);
    let then_skip = |k, n| SockFilter::new(JEQ, n, 0, k);
    let (start, reply, [a, b, c, d]) =
        if v6 { (op(LDX_IMM, 0), 129, [1, 2, 3, 4]) } else { (op(LDX_IHL, 0), 0, [3, 11, 12, 12]) };
    // Where an error quotes the protocol, which it is, and where the identifier is.
    let (protocol_at, protocol, quoted) = if v6 { (14, 58, 52) } else { (17, 1, 32) };
    vec![
        start,                        //  0: X = length of the IP header, where there is one
        op(LD_B_IND, 0),              //  1: type
        then_skip(reply, 8),          //  2: -> 11
        then_skip(a, 3),              //  3: -> 7
        then_skip(b, 2),              //  4: -> 7
        then_skip(c, 1),              //  5: -> 7
        or_skip(d, 7),                //  6: else -> 14
        op(LD_B_IND, protocol_at),    //  7
        or_skip(protocol, 5),         //  8: else -> 14
        op(LD_H_IND, quoted),         //  9: the quoted identifier
        op(JA, 1),                    // 10: -> 12
        op(LD_H_IND, 4),              // 11: the reply's identifier
        or_skip(u32::from(ident), 1), // 12: else -> 14
        op(RET, u32::MAX),            // 13: pass
        op(RET, 0),                   // 14: drop
    ]
}

/// Memory for one recvmmsg(2), used again and again.
struct Batch {
    bytes: [[u8; MESSAGE]; BATCH],
    control: [PingControl; BATCH],
    names: [libc::sockaddr_storage; BATCH],
}

/// Aligned as control messages must be.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct PingControl([u8; CONTROL]);

impl Batch {
    fn new() -> Box<Self> {
        // SAFETY: plain bytes and a plain C structure of integers, for which zero is valid.
        let names = unsafe { mem::zeroed() };
        Box::new(Self {
            bytes: [[0; MESSAGE]; BATCH],
            control: [PingControl([0; CONTROL]); BATCH],
            names,
        })
    }

    /// Returns how many messages were taken, at most [`BATCH`] and as many as asked for.
    fn receive(
        &mut self,
        from: &Channel,
        flags: c_int,
        most: usize,
        heard: &mut dyn FnMut(Received, Duration),
    ) -> usize {
        // SAFETY: integers and pointers, for which zero is valid.
        let mut vectors: [libc::iovec; BATCH] = unsafe { mem::zeroed() };
        // SAFETY: as above; zero also fills musl's padding fields.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        let parts = self.bytes.iter_mut().zip(&mut self.control).zip(&mut self.names);
        for (((bytes, control), name), (vector, header)) in
            parts.zip(vectors.iter_mut().zip(&mut headers)).take(most)
        {
            vector.iov_base = bytes.as_mut_ptr().cast();
            vector.iov_len = MESSAGE;
            let header = &mut header.msg_hdr;
            header.msg_name = (&raw mut *name).cast();
            header.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL as _;
        }
        let flags = (flags | libc::MSG_DONTWAIT) as _;
        let (fd, list) = (from.socket.as_raw_fd(), headers.as_mut_ptr());
        // SAFETY: every header points to memory of this batch or this frame with its length; no
        // timeout is passed.
        let n = unsafe {
            libc::recvmmsg(fd, list, most.min(BATCH) as libc::c_uint, flags, std::ptr::null_mut())
        };
        let n = usize::try_from(n).unwrap_or(0).min(BATCH);
        // Read together: the one tells how long ago the stamp of the other was.
        let Clock { now, wall } = super::clock::both();
        let wall = nanoseconds(wall.secs, wall.nanos.into());
        for ((header, bytes), name) in headers.iter().zip(&self.bytes).zip(&self.names).take(n) {
            let length = usize::try_from(header.msg_len).unwrap_or(0);
            let Some(bytes) = bytes.get(..length) else { continue };
            let peer = address(name);
            let notes = Notes::of(&header.msg_hdr);
            let message = match (flags as c_int & libc::MSG_ERRQUEUE != 0, notes.error, peer) {
                (false, ..) => from.read(bytes, peer),
                (true, Some(error), Some(to)) => from.codec.quoted(to, bytes, error),
                (true, ..) => None,
            };
            let Some(message) = message else { continue };
            let rtt = match &message {
                Received::Reply(token) => {
                    let rtt = now.since(token.sent);
                    // How long it lay in our queue. A stepped wall clock could make this anything:
                    // hence the clamp.
                    let waited = notes.stamp.map_or(0, |stamp| wall.saturating_sub(stamp)).max(0);
                    rtt - Duration::from_nanos(u64::try_from(waited).unwrap_or(0)).min(rtt)
                }
                _ => Duration::ZERO,
            };
            heard(message, rtt);
        }
        n
    }
}

fn address(name: &libc::sockaddr_storage) -> Option<IpAddr> {
    match c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that it is a sockaddr_in, which is smaller and less aligned
            // than the storage.
            let a = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in>() };
            Some(Ipv4Addr::from(u32::from_be(a.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for sockaddr_in6.
            let a = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in6>() };
            Some(Ipv6Addr::from(a.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

/// What came beside a message.
#[derive(Default)]
struct Notes {
    /// Receive time of the wall clock in nanoseconds.
    stamp: Option<i64>,
    /// The ICMP error this is about.
    error: Option<IcmpError>,
}

impl Notes {
    fn of(header: &libc::msghdr) -> Self {
        let mut notes = Self::default();
        // SAFETY: the kernel filled in the header; CMSG_FIRSTHDR and CMSG_NXTHDR stay inside its
        // control memory.
        let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
        while !next.is_null() {
            // SAFETY: not null, and inside the control memory, which is aligned for it.
            let c = unsafe { &*next };
            // SAFETY: the length is subtracted from what CMSG_LEN of nothing is: the data's own
            // length.
            let length =
                (c.cmsg_len as usize).saturating_sub(unsafe { libc::CMSG_LEN(0) } as usize);
            // SAFETY: the data begins here and is `length` bytes long, as the kernel says.
            let data = unsafe { std::slice::from_raw_parts(libc::CMSG_DATA(next), length) };
            match (c.cmsg_level, c.cmsg_type) {
                (libc::SOL_SOCKET, TIMESTAMPNS_NEW | TIMESTAMPNS_OLD) => notes.stamp = stamp(data),
                (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR) => {
                    notes.error = error(data)
                }
                _ => {}
            }
            // SAFETY: as for CMSG_FIRSTHDR.
            next = unsafe { libc::CMSG_NXTHDR(header, next) };
        }
        notes
    }
}

/// A time stamp: seconds and nanoseconds, of 64 or 32 bits each.
fn stamp(data: &[u8]) -> Option<i64> {
    let (secs, nanos) = match data.len() {
        16 => {
            let (s, n) = data.split_first_chunk::<8>()?;
            (i64::from_ne_bytes(*s), i64::from_ne_bytes(*n.first_chunk()?))
        }
        8 => {
            let (s, n) = data.split_first_chunk::<4>()?;
            (i32::from_ne_bytes(*s).into(), i32::from_ne_bytes(*n.first_chunk()?).into())
        }
        _ => return None,
    };
    Some(nanoseconds(secs, nanos))
}

/// Of the wall clock; enough for the next 260 years.
fn nanoseconds(secs: i64, nanos: i64) -> i64 {
    secs.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// `struct sock_extended_err` (errno, origin, type, code, …; 16 bytes) and behind it the address of
/// who says so.
fn error(data: &[u8]) -> Option<IcmpError> {
    const FROM_ICMP: u8 = 2;
    const FROM_ICMP6: u8 = 3;
    let (origin, kind, code) = (*data.get(4)?, *data.get(5)?, *data.get(6)?);
    let offender = data.get(16..)?;
    let from: IpAddr = match origin {
        FROM_ICMP => Ipv4Addr::from(*offender.get(4..)?.first_chunk::<4>()?).into(),
        FROM_ICMP6 => Ipv6Addr::from(*offender.get(8..)?.first_chunk::<16>()?).into(),
        _ => return None,
    };
    Some(IcmpError { what: words(from.is_ipv6(), kind, code), from })
}
