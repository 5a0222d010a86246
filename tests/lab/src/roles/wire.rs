//! A cable in user space: frames between two interfaces, late, lost, doubled, out of order or
//! rationed as the test says, with a record of what happened to each ping on the way.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::libc::timespec;
use nix::sys::prctl::set_timerslack;
use nix::sys::socket::{
    ControlMessageOwned, LinkAddr, MsgFlags, SockaddrStorage, bind, recvmsg, setsockopt,
    sockopt::ReceiveTimestampns,
};
use pnet::packet::ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket};
use pnet::packet::ip::{IpNextHeaderProtocol, IpNextHeaderProtocols};
use pnet::packet::ipv4::Ipv4Packet;
use pnet::packet::ipv6::Ipv6Packet;
use pnet::packet::{MutablePacket as _, Packet as _};
use pnet::util;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Control, Later, Random, Role, ok, wait};
use crate::fault::Wan;
use crate::lab::Lab;
use crate::timeline::{monotonic_ns, realtime_ns};

pub(super) const NAME: &str = "wire";

/// `ETH_P_ALL` in network byte order, as the last argument of socket(2) wants it.
const ALL_PROTOCOLS: i32 = 0x0003_u16.to_be() as i32;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
/// How long a frame held back for reordering waits for a next one.
const HELD: Duration = Duration::from_secs(1);

/// What the cable does to the frames of one direction. ARP and neighbour discovery are delayed like
/// the rest but never lost, doubled or reordered, so that the figures are those of a test's own
/// packets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WireSettings {
    /// How long a frame is on its way. The round trip takes twice as long when both directions have
    /// it.
    pub delay: Duration,
    /// The delay varies by at most this in either direction, evenly; frames may overtake each
    /// other.
    pub jitter: Duration,
    /// Percent of the frames that never arrive.
    pub loss: f64,
    /// Percent of the frames that arrive twice.
    pub duplicate: f64,
    /// Percent of the frames that wait until the next one has arrived (for at most a second).
    pub reorder: f64,
    /// Kilobits a second; 0 is without limit.
    pub rate_kbit: u32,
}

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// From the router to the provider.
    Out,
    /// From the provider to the router.
    In,
}

/// A ping's request or reply on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// Which way.
    pub direction: Direction,
    /// Whether it is an echo reply, not a request.
    pub reply: bool,
    /// ICMP id.
    pub id: u16,
    /// ICMP sequence number.
    pub seq: u16,
    /// When it entered the cable, by the kernel's time stamp.
    pub in_ns: u64,
    /// When it left the cable: at once for each of a doubled one; none for a lost one or one still
    /// on its way.
    pub out_ns: Vec<u64>,
    /// Whether it was lost.
    pub lost: bool,
}

#[derive(Serialize, Deserialize)]
enum Command {
    Set(Option<Direction>, WireSettings),
    Seed(u64),
    Passages,
    Forget,
}

/// The handle of a running cable; dropping it cuts the cable (with the carrier still up).
#[derive(Debug)]
pub struct Wire(Role);

impl Lab {
    /// Starts the cable that [`crate::Builder::wire`] left open.
    ///
    /// # Panics
    /// When the lab was built without it.
    #[track_caller]
    pub fn wire(&self, wan: Wan) -> Wire {
        assert!(self.wired(wan), "the lab was built without Lab::builder().wire({wan:?})");
        let n = wan.number();
        Wire(Role::start(self, "wire", NAME, &[format!("w{n}r"), format!("w{n}i")]))
    }
}

impl Wire {
    /// What happens to frames of both directions that enter from now on.
    #[track_caller]
    pub fn set(&self, settings: &WireSettings) {
        self.0.call(&Command::Set(None, settings.clone()))
    }

    /// What happens to frames of one direction that enter from now on.
    #[track_caller]
    pub fn set_direction(&self, direction: Direction, settings: &WireSettings) {
        self.0.call(&Command::Set(Some(direction), settings.clone()))
    }

    /// Starts the random numbers anew from this seed.
    #[track_caller]
    pub fn seed(&self, seed: u64) {
        self.0.call(&Command::Seed(seed))
    }

    /// All pings that entered since the start or the last [`Self::forget`].
    #[track_caller]
    pub fn passages(&self) -> Vec<Passage> {
        self.0.call(&Command::Passages)
    }

    /// Forgets the pings so far.
    #[track_caller]
    pub fn forget(&self) {
        self.0.call(&Command::Forget)
    }

    /// The round trip as seen from the cable's end at the router: from the request's entry to the
    /// first reply's exit.
    #[track_caller]
    pub fn round_trip(&self, id: u16, seq: u16) -> Option<Duration> {
        round_trip(&self.passages(), id, seq)
    }
}

/// See [`Wire::round_trip`], for many of them from one list.
#[must_use]
pub fn round_trip(passages: &[Passage], id: u16, seq: u16) -> Option<Duration> {
    let find = |reply| passages.iter().find(|p| p.id == id && p.seq == seq && p.reply == reply);
    let (request, reply) = (find(false)?, find(true)?);
    Some(Duration::from_nanos(reply.out_ns.first()?.saturating_sub(request.in_ns)))
}

/// The role's life. Its arguments are the two interfaces, the router's first.
pub(super) fn play(interfaces: &[String]) -> io::Result<()> {
    let [router, provider] = interfaces else {
        return Err(io::Error::other("a wire has two ends"));
    };
    // The kernel may wake us up to 50 us late to save energy; a wire should not.
    set_timerslack(1)?;
    let mut ends = [End::open(router)?, End::open(provider)?];
    let mut state = State::new();
    let mut control = Control::ready()?;
    loop {
        let fds = [control.as_fd(), ends[0].socket.as_fd(), ends[1].socket.as_fd()];
        let ready = wait(&fds, state.later.next_ns())?;
        state.deliver(&ends);
        for (at, direction) in [(0, Direction::Out), (1, Direction::In)] {
            if !ready[at + 1] {
                continue;
            }
            while let Some((in_ns, frame)) = ends[at].receive()? {
                state.enter(direction, in_ns, frame);
                state.deliver(&ends);
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

/// One end: a packet socket on its interface.
struct End {
    socket: Socket,
    index: usize,
    buffer: Vec<u8>,
    control: Vec<u8>,
}

impl End {
    fn open(interface: &str) -> io::Result<Self> {
        let named = |name: &str| io::Error::other(format!("{name}: no such interface"));
        let mut addresses =
            getifaddrs()?.filter(|a| a.interface_name == interface).filter_map(|a| a.address);
        let link: LinkAddr =
            addresses.find_map(|a| a.as_link_addr().copied()).ok_or_else(|| named(interface))?;
        let socket =
            Socket::new_raw(Domain::PACKET, Type::RAW, Some(Protocol::from(ALL_PROTOCOLS)))?;
        bind(socket.as_raw_fd(), &link)?;
        setsockopt(&socket, ReceiveTimestampns, &true)?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(4 << 20)?;
        Ok(Self {
            socket,
            index: link.ifindex(),
            buffer: vec![0; 65_536],
            control: cmsg_space!(timespec),
        })
    }

    /// The next frame that came to this end, and when.
    fn receive(&mut self) -> io::Result<Option<(u64, Vec<u8>)>> {
        loop {
            let mut parts = [IoSliceMut::new(&mut self.buffer)];
            let fd = self.socket.as_raw_fd();
            let message = match recvmsg::<SockaddrStorage>(
                fd,
                &mut parts,
                Some(&mut self.control),
                MsgFlags::empty(),
            ) {
                Ok(message) => message,
                Err(Errno::EAGAIN) => return Ok(None),
                // The interface went down, which is a fault like any other.
                Err(Errno::ENETDOWN) => continue,
                Err(e) => return Err(e.into()),
            };
            let (now, real) = (monotonic_ns(), realtime_ns());
            let stamp = message.cmsgs()?.find_map(|c| match c {
                ControlMessageOwned::ScmTimestampns(t) => Some(t),
                _ => None,
            });
            // The stamp is of the other clock, so only its age counts.
            let stamp = stamp.map_or(real, |t| nanoseconds(Duration::from(t)));
            let in_ns = now.saturating_sub(real.saturating_sub(stamp));
            let link = message.address.as_ref().and_then(SockaddrStorage::as_link_addr).copied();
            let n = message.bytes;
            // Between its creation and bind the socket heard all interfaces.
            if link.is_some_and(|l| l.ifindex() == self.index) {
                return Ok(Some((in_ns, self.buffer[..n].to_vec())));
            }
        }
    }
}

struct State {
    settings: [WireSettings; 2],
    random: Random,
    /// When the last bit of the last frame leaves, for the rate.
    free_ns: [u64; 2],
    /// The frame that waits for the next one.
    held: [Option<Frame>; 2],
    held_number: u64,
    later: Later<Event>,
    passages: Vec<Passage>,
    forgotten: usize,
}

enum Event {
    Leave(Direction, Frame),
    /// What is held back leaves if it is still the one of this number.
    Release(Direction, u64),
}

#[derive(Clone)]
struct Frame {
    bytes: Vec<u8>,
    /// Number of its record, for a ping.
    passage: Option<usize>,
    number: u64,
}

impl State {
    fn new() -> Self {
        Self {
            settings: [WireSettings::default(), WireSettings::default()],
            random: Random(1),
            free_ns: [0; 2],
            held: [None, None],
            held_number: 0,
            later: Later::new(),
            passages: Vec::new(),
            forgotten: 0,
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Set(None, settings) => self.settings = [settings.clone(), settings],
            Command::Set(Some(direction), settings) => self.settings[direction as usize] = settings,
            Command::Seed(seed) => self.random = Random(seed),
            Command::Passages => return ok(&self.passages),
            Command::Forget => {
                self.forgotten += self.passages.len();
                self.passages.clear();
            }
        }
        ok(&());
    }

    /// A frame enters: decides when, how often and whether it leaves.
    fn enter(&mut self, direction: Direction, in_ns: u64, mut bytes: Vec<u8>) {
        let way = direction as usize;
        let settings = self.settings[way].clone();
        let exempt = !carries_data(&bytes);
        finish_checksum(&mut bytes);
        let lost = !exempt && self.random.chance(settings.loss);
        let twice = !exempt && self.random.chance(settings.duplicate);
        let hold = !exempt && self.random.chance(settings.reorder);
        let passage = echo(&bytes).map(|(reply, id, seq)| {
            self.passages.push(Passage {
                direction,
                reply,
                id,
                seq,
                in_ns,
                out_ns: Vec::new(),
                lost,
            });
            self.forgotten + self.passages.len() - 1
        });
        if lost {
            return;
        }
        let mut start = in_ns;
        if settings.rate_kbit > 0 {
            let bits = u64::try_from(bytes.len()).unwrap_or(0) * 8;
            self.free_ns[way] =
                self.free_ns[way].max(in_ns) + bits * 1_000_000 / u64::from(settings.rate_kbit);
            start = self.free_ns[way];
        }
        self.held_number += 1;
        let frame = Frame { bytes, passage, number: self.held_number };
        let out = start + self.random.around(settings.delay, settings.jitter);
        if hold && self.held[way].is_none() {
            self.later.push(out + nanoseconds(HELD), Event::Release(direction, frame.number));
            self.held[way] = Some(frame);
            return;
        }
        if twice {
            self.later.push(out, Event::Leave(direction, frame.clone()));
        }
        self.later.push(out, Event::Leave(direction, frame));
        if let Some(held) = self.held[way].take() {
            self.later.push(out, Event::Leave(direction, held));
        }
    }

    /// Lets leave what is due.
    fn deliver(&mut self, ends: &[End; 2]) {
        while let Some(event) = self.later.pop(monotonic_ns()) {
            let (direction, frame) = match event {
                Event::Leave(direction, frame) => (direction, frame),
                Event::Release(direction, number) => {
                    let held = self.held[direction as usize].take_if(|f| f.number == number);
                    let Some(frame) = held else { continue };
                    (direction, frame)
                }
            };
            let to = &ends[1 - direction as usize].socket;
            let now = monotonic_ns();
            // A link that is down loses its frames.
            let sent = to.send(&frame.bytes).is_ok();
            let passage = frame.passage.and_then(|n| n.checked_sub(self.forgotten));
            if let Some(passage) = passage.and_then(|n| self.passages.get_mut(n)).filter(|_| sent) {
                passage.out_ns.push(now);
            }
        }
    }
}

fn nanoseconds(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

/// Whether a frame is IP, and not the IPv6 half of ARP (ICMPv6 133 to 137).
fn carries_data(frame: &[u8]) -> bool {
    let Some(ethernet) = EthernetPacket::new(frame) else { return false };
    match ethernet.get_ethertype() {
        EtherTypes::Ipv4 => true,
        EtherTypes::Ipv6 => {
            !(ethernet.payload().get(6) == Some(&58)
                && ethernet
                    .payload()
                    .get(IPV6_HEADER)
                    .is_some_and(|kind| (133..=137).contains(kind)))
        }
        _ => false,
    }
}

/// Whether a ping's frame is a reply, its id and its sequence number; `None` for all other frames.
fn echo(frame: &[u8]) -> Option<(bool, u16, u16)> {
    let ethernet = EthernetPacket::new(frame)?;
    let ip = ethernet.payload();
    let icmp = match ethernet.get_ethertype() {
        EtherTypes::Ipv4 if ip.get(9) == Some(&1) => ip.get(usize::from(ip[0] & 15) * 4..)?,
        EtherTypes::Ipv6 if ip.get(6) == Some(&58) => ip.get(IPV6_HEADER..)?,
        _ => return None,
    };
    let reply = match *icmp.first()? {
        0 | 129 => true,
        8 | 128 => false,
        _ => return None,
    };
    let word = |at: usize| Some(u16::from_be_bytes([*icmp.get(at)?, *icmp.get(at + 1)?]));
    Some((reply, word(4)?, word(6)?))
}

/// veth leaves the checksums of UDP and TCP to a network card that is not there: computes them.
fn finish_checksum(frame: &mut [u8]) {
    let Some(mut ethernet) = MutableEthernetPacket::new(frame) else { return };
    let kind = ethernet.get_ethertype();
    let packet = ethernet.payload_mut();
    // Headers with options or extensions, and fragments, pass as they are; nothing in the lab sends
    // them.
    let (start, end, protocol) = match kind {
        EtherTypes::Ipv4 => {
            let Some(ip) = Ipv4Packet::new(packet) else { return };
            if ip.get_header_length() != 5
                || ip.get_fragment_offset() != 0
                || ip.get_flags() & 1 != 0
            {
                return;
            }
            (IPV4_HEADER, usize::from(ip.get_total_length()), ip.get_next_level_protocol())
        }
        EtherTypes::Ipv6 => {
            let Some(ip) = Ipv6Packet::new(packet) else { return };
            (IPV6_HEADER, IPV6_HEADER + usize::from(ip.get_payload_length()), ip.get_next_header())
        }
        _ => return,
    };
    let at = match protocol {
        IpNextHeaderProtocols::Udp => 6,
        IpNextHeaderProtocols::Tcp => 16,
        _ => return,
    };
    let (header, rest) = packet.split_at_mut(start);
    let Some(segment) = rest.get_mut(..end.saturating_sub(start)).filter(|s| s.len() >= at + 2)
    else {
        return;
    };
    // UDP over IPv4 may go without.
    if protocol == IpNextHeaderProtocols::Udp && segment[at..at + 2] == [0, 0] {
        return;
    }
    let sum = checksum(header, segment, at / 2, protocol);
    segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// The checksum over pseudo header and segment, leaving out the word that holds it; 0 is sent as
/// ffff (RFC 768), which for TCP means the same.
fn checksum(header: &[u8], segment: &[u8], skip: usize, protocol: IpNextHeaderProtocol) -> u16 {
    let sum = if let (6, Some(ip)) = (header[0] >> 4, Ipv6Packet::new(header)) {
        util::ipv6_checksum(segment, skip, &[], &ip.get_source(), &ip.get_destination(), protocol)
    } else if let Some(ip) = Ipv4Packet::new(header) {
        util::ipv4_checksum(segment, skip, &[], &ip.get_source(), &ip.get_destination(), protocol)
    } else {
        0
    };
    if sum == 0 { 0xffff } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ethernet, IPv4 from 10.0.0.1 to 10.0.0.2, UDP from port 1 to port 2 with "hi" and a checksum
    /// to be finished.
    fn udp() -> Vec<u8> {
        let ip = [0x45, 0, 0, 30, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        [&[0; 12][..], &[8, 0], &ip, &[0, 1, 0, 2, 0, 10, 0xaa, 0xbb], b"hi"].concat()
    }

    #[test]
    fn an_open_checksum_is_finished() {
        let mut frame = udp();
        finish_checksum(&mut frame);
        // 0a00+0001+0a00+0002 + 0011+000a + 0001+0002+000a + 6869 = 7c94, inverted.
        assert_eq!(frame[40..42], [0x83, 0x6b]);
    }

    #[test]
    fn a_missing_checksum_and_a_fragment_stay_as_they_are() {
        let mut none = udp();
        none[40..42].fill(0);
        let mut fragment = udp();
        fragment[20] = 0x20;
        for frame in [none, fragment] {
            let mut passed = frame.clone();
            finish_checksum(&mut passed);
            assert_eq!(passed, frame);
        }
    }

    #[test]
    fn pings_are_told_from_the_rest() {
        let ip = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        let ping = [&[0; 12][..], &[8, 0], &ip, &[0, 0, 0, 0, 0x12, 0x34, 0, 7]].concat();
        assert_eq!(echo(&ping), Some((true, 0x1234, 7)));
        assert_eq!(echo(&udp()), None);
        assert!(carries_data(&ping) && carries_data(&udp()));
        let arp = [&[0; 12][..], &[8, 6], &[0; 28]].concat();
        assert!(!carries_data(&arp) && echo(&arp).is_none());
    }
}
