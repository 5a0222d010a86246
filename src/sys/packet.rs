//! A network's own lane: packets that leave by its device to the gateway's hardware address, and
//! what comes back by it (packet(7)). No route, rule, mark or neighbour of the kernel is used or
//! changed, so nobody else's packets are concerned, and nothing is left when the process is killed.
//! Reverse path and packet filters are behind this.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsRawFd, RawFd};

use libc::c_int;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::cerr;
use crate::wire::frame::{self, Answered, Hardware, Knock};
use crate::wire::icmp::{Codec, Received, Token};

/// Messages taken in one turn: a flood must not keep us here.
const MOST: usize = 64;
/// Longer ones than this are not about us: an ICMP error quotes at most what fits into 576 bytes
/// (RFC 1812, 4.3.2.3).
const MESSAGE: usize = 576;

/// What came by a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Came {
    /// An echo reply, or an error about an echo request.
    Echo(Received),
    /// The answer to the knock at this place.
    Knock(usize, Answered),
}

/// The lane of one network.
pub struct PacketSocket {
    ip: Socket,
    arp: Socket,
    /// Holds the port, so that nobody else here gets it.
    _port: Socket,
    codec: Codec<RandomState>,
    from: SocketAddrV4,
    index: c_int,
    own: Hardware,
    /// The link has no hardware addresses to ask for: PPP, tunnels.
    bare: bool,
    /// Gateways and their hardware addresses, as far as they have answered.
    gateways: Vec<(Ipv4Addr, Option<Hardware>)>,
}

impl PacketSocket {
    /// Opens the lane of the device of this number with our address on it. `alone`: it asks nobody
    /// for hardware addresses, though it may have one (`IFF_NOARP`, as mobile modems have it).
    ///
    /// # Errors
    /// As socket(2): `EPERM` without the capability `CAP_NET_RAW`; as bind(2): the device or the
    /// address has just gone.
    pub fn open(index: u32, address: Ipv4Addr, alone: bool) -> io::Result<Self> {
        let index =
            c_int::try_from(index).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
        let port = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        port.bind(&SocketAddr::new(address.into(), 0).into())?;
        let port_number = port.local_addr()?.as_socket().map_or(0, |a| a.port());
        let ip = socket(index, libc::ETH_P_IP, Some(&filter(port_number)))?;
        let arp = socket(index, libc::ETH_P_ARP, None)?;
        let own = name(&arp)?;
        let key = RandomState::new();
        let ident = (key.hash_one("identifier") & 0xffff) as u16;
        Ok(Self {
            ip,
            arp,
            _port: port,
            codec: Codec::new(ident, key),
            from: SocketAddrV4::new(address, port_number),
            index,
            own: own.sll_addr.first_chunk().copied().unwrap_or_default(),
            bare: alone || own.sll_hatype != libc::ARPHRD_ETHER,
            gateways: Vec::new(),
        })
    }

    /// The descriptors to wait for.
    #[must_use]
    pub fn fds(&self) -> [RawFd; 2] {
        [self.ip.as_raw_fd(), self.arp.as_raw_fd()]
    }

    /// Takes note of a gateway; `None`: everything is on the link. Returns its place.
    pub fn add_gateway(&mut self, gateway: Option<Ipv4Addr>) -> usize {
        // The kernel takes the device's own address there.
        let known = self.bare.then_some(self.own);
        self.gateways.push((gateway.unwrap_or(Ipv4Addr::UNSPECIFIED), known));
        self.gateways.len() - 1
    }

    /// Whether this gateway has told its hardware address, or need not.
    #[must_use]
    pub fn is_there(&self, gateway: usize) -> bool {
        self.gateways.get(gateway).is_some_and(|(_, hardware)| hardware.is_some())
    }

    /// Whether the link has hardware addresses.
    #[must_use]
    pub fn has_neighbours(&self) -> bool {
        !self.bare
    }

    /// Asks all gateways that have not answered for their hardware addresses.
    ///
    /// # Errors
    /// As sendto(2): the device has just gone.
    pub fn look_for_gateways(&mut self) -> io::Result<()> {
        for (gateway, _) in self.gateways.iter().filter(|(_, hardware)| hardware.is_none()) {
            let request = frame::arp_request(self.own, *self.from.ip(), *gateway);
            send(&self.arp, self.index, libc::ETH_P_ARP, [0xff; 6], &request)?;
        }
        Ok(())
    }

    /// Sends the echo request of a probe through a gateway that is there.
    ///
    /// # Errors
    /// As sendto(2): the device has just gone, its queue is full.
    pub fn ping(&self, gateway: usize, to: Ipv4Addr, token: &Token) -> io::Result<()> {
        let message = self.codec.request(to.into(), token);
        self.send(gateway, &frame::icmp4(*self.from.ip(), to, &message))
    }

    /// A knock at a port, by the first gateway.
    #[must_use]
    pub fn knock(&self, to: SocketAddrV4) -> Knock {
        Knock { from: self.from, to, number: (super::net::random() & 0xffff_ffff) as u32 }
    }

    /// Sends an IPv4 packet through a gateway that is there.
    ///
    /// # Errors
    /// As for [`PacketSocket::ping`].
    pub fn send(&self, gateway: usize, packet: &[u8]) -> io::Result<()> {
        let hardware = self.gateways.get(gateway).and_then(|(_, hardware)| *hardware);
        let hardware = hardware.ok_or_else(|| io::Error::from_raw_os_error(libc::EHOSTUNREACH))?;
        send(&self.ip, self.index, libc::ETH_P_IP, hardware, packet)
    }

    /// Takes what has arrived: answers of gateways, echo replies, and what `knocks`, each with its
    /// place, are answered.
    pub fn receive(&mut self, knocks: &[(usize, Knock)], mut heard: impl FnMut(Came)) {
        let mut buffer = [0; MESSAGE];
        for _ in 0..MOST {
            let Ok(n) = io::Read::read(&mut self.arp, &mut buffer) else { break };
            if let Some((from, hardware)) =
                frame::arp_reply(buffer.get(..n).unwrap_or_default(), *self.from.ip())
            {
                self.gateways
                    .iter_mut()
                    .filter(|(gateway, _)| *gateway == from)
                    .for_each(|g| g.1 = Some(hardware));
            }
        }
        for _ in 0..MOST {
            let Ok(n) = io::Read::read(&mut self.ip, &mut buffer) else { break };
            let packet = buffer.get(..n).unwrap_or_default();
            if let Some(echo) = self.codec.heard_ip4(packet) {
                heard(Came::Echo(echo));
            }
            for (place, knock) in knocks {
                if let Some(answered) = knock.heard(packet) {
                    heard(Came::Knock(*place, answered));
                }
            }
        }
    }
}

/// A socket that hears this protocol on this device, from the filter on.
fn socket(index: c_int, protocol: c_int, filter: Option<&[SockFilter]>) -> io::Result<Socket> {
    // Without a protocol it hears nothing yet: no packet of another device, and none that the
    // filter would drop.
    let socket = Socket::new(Domain::from(libc::AF_PACKET), Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    filter.map_or(Ok(()), |filter| socket.attach_filter(filter))?;
    let place = place(index, protocol, Hardware::default());
    // SAFETY: the address is a sockaddr_ll that lives through the call, and its length is given.
    cerr(unsafe { libc::bind(socket.as_raw_fd(), (&raw const place).cast(), LENGTH) })?;
    Ok(socket)
}

const LENGTH: libc::socklen_t = size_of::<libc::sockaddr_ll>() as libc::socklen_t;

fn place(index: c_int, protocol: c_int, hardware: Hardware) -> libc::sockaddr_ll {
    let mut address = [0; 8];
    address.iter_mut().zip(hardware).for_each(|(to, from)| *to = from);
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::sa_family_t,
        sll_protocol: (protocol as u16).to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: hardware.len() as u8,
        sll_addr: address,
    }
}

/// Our own hardware address and its kind.
fn name(socket: &Socket) -> io::Result<libc::sockaddr_ll> {
    let (mut name, mut length) = (place(0, 0, Hardware::default()), LENGTH);
    // SAFETY: the name is a sockaddr_ll that lives through the call, and its length is given.
    cerr(unsafe {
        libc::getsockname(socket.as_raw_fd(), (&raw mut name).cast(), &raw mut length)
    })?;
    Ok(name)
}

fn send(
    socket: &Socket,
    index: c_int,
    protocol: c_int,
    to: Hardware,
    packet: &[u8],
) -> io::Result<()> {
    let (place, bytes) = (place(index, protocol, to), packet.as_ptr().cast());
    // SAFETY: the packet and the address live through the call, and their lengths are given.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            bytes,
            packet.len(),
            libc::MSG_DONTWAIT,
            (&raw const place).cast(),
            LENGTH,
        )
    };
    cerr(sent).map(|_| ())
}

/// A classic BPF program that passes ICMP, and TCP to this port.
fn filter(port: u16) -> [SockFilter; 8] {
    let op = |code, k| SockFilter::new(code, 0, 0, k);
    [
        op(0x30, 9),                                  // 0: A = protocol
        SockFilter::new(0x15, 4, 0, 1),               // 1: ICMP -> 6
        SockFilter::new(0x15, 0, 4, 6),               // 2: TCP, else -> 7
        op(0xb1, 0),                                  // 3: X = length of the IP header
        op(0x48, 2),                                  // 4: A = destination port
        SockFilter::new(0x15, 0, 1, u32::from(port)), // 5: ours, else -> 7
        op(0x06, u32::MAX),                           // 6: pass
        op(0x06, 0),                                  // 7: drop
    ]
}
