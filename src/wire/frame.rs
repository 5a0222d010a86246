//! Packets as a link carries them: who asks a network by these needs no route, rule, socket or
//! packet filter of this system, and so changes nothing for anybody else.

use std::net::{Ipv4Addr, SocketAddrV4};

use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::util;

use super::icmp::{IcmpError, words};

/// A hardware address of Ethernet, and of whatever looks like it (Wi-Fi, bridges, VLANs).
pub type Hardware = [u8; 6];

/// Bytes of an ARP packet for Ethernet and IPv4 (RFC 826).
const ARP: usize = 28;
/// Ethernet, IPv4, and the lengths of their addresses.
const ARP_KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];
const ARP_REPLY: [u8; 2] = [0, 2];
/// Bytes of an IPv4 header without options (RFC 791), and of a TCP header (RFC 9293).
const HEADER: usize = 20;
const TIME_TO_LIVE: u8 = 64;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const FLAGS_AT: usize = 13;
const RST: u8 = 0x04;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
/// Offset and maximum segment size: without that option a host takes 536, and a firewall may take
/// it for a scan.
const WITH_MSS: u8 = 6 << 4;
const MSS: [u8; 4] = [2, 4, 0x05, 0x64];

/// The question who has the address `to`.
#[must_use]
pub fn arp_request(hardware: Hardware, address: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let mut packet = Vec::with_capacity(ARP);
    packet.extend(ARP_KIND);
    packet.extend([0, 1]);
    packet.extend(hardware);
    packet.extend(address.octets());
    packet.extend(Hardware::default());
    packet.extend(to.octets());
    packet
}

/// Who answers `address`, and by which hardware address. `None`: it is no such answer.
#[must_use]
pub fn arp_reply(packet: &[u8], address: Ipv4Addr) -> Option<(Ipv4Addr, Hardware)> {
    let is_ours = packet.get(..8)? == [&ARP_KIND[..], &ARP_REPLY].concat()
        && address_at(packet, 24)? == address;
    let hardware = *packet.get(8..)?.first_chunk()?;
    let from = address_at(packet, 14)?;
    // Neither the answer of nobody nor one that speaks for all leads anywhere.
    (is_ours && hardware != [0; 6] && hardware[0] & 1 == 0).then_some((from, hardware))
}

/// An IPv4 packet with an ICMP message.
#[must_use]
pub fn icmp4(source: Ipv4Addr, to: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    ip4(source, to, ICMP, message)
}

fn ip4(source: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER + payload.len()).unwrap_or(u16::MAX);
    let mut packet = Vec::with_capacity(HEADER + payload.len());
    packet.extend([0x45, 0]);
    packet.extend(length.to_be_bytes());
    // Never to be cut in pieces, so it needs no number (RFC 6864).
    packet.extend([0, 0, 0x40, 0, TIME_TO_LIVE, protocol, 0, 0]);
    packet.extend(source.octets());
    packet.extend(to.octets());
    put_sum(&mut packet, 10, |header| util::checksum(header, 5));
    packet.extend(payload);
    packet
}

/// The beginning of a TCP connection that goes no further.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Knock {
    /// Our end; nobody else here has the port.
    pub from: SocketAddrV4,
    /// The other end.
    pub to: SocketAddrV4,
    /// The number of its first packet, which nobody can guess.
    pub number: u32,
}

/// What came back to a [`Knock`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answered {
    /// The port is open.
    Open,
    /// It is closed, which the host itself says.
    Closed,
    /// Somebody on the way says that it does not go on.
    Failed(IcmpError),
}

impl Knock {
    /// The packet that asks for a connection.
    #[must_use]
    pub fn request(&self) -> Vec<u8> {
        self.packet(self.number, WITH_MSS, SYN, &MSS)
    }

    /// The packet that ends it at once, so that nothing is left behind there.
    #[must_use]
    pub fn end(&self) -> Vec<u8> {
        self.packet(self.number.wrapping_add(1), 5 << 4, RST, &[])
    }

    fn packet(&self, number: u32, offset: u8, flags: u8, options: &[u8]) -> Vec<u8> {
        let (source, to) = (*self.from.ip(), *self.to.ip());
        let mut tcp = Vec::with_capacity(HEADER + options.len());
        tcp.extend(self.from.port().to_be_bytes());
        tcp.extend(self.to.port().to_be_bytes());
        tcp.extend(number.to_be_bytes());
        tcp.extend([0, 0, 0, 0, offset, flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend(options);
        put_sum(&mut tcp, 16, |tcp| {
            util::ipv4_checksum(tcp, 8, &[], &source, &to, IpNextHeaderProtocols::Tcp)
        });
        ip4(source, to, TCP, &tcp)
    }

    /// Reads an IPv4 packet. `None`: it is about something else.
    #[must_use]
    pub fn heard(&self, packet: &[u8]) -> Option<Answered> {
        let (protocol, from, to, inner) = ip4_parts(packet)?;
        if protocol == ICMP {
            let (kind, code) = (*inner.first()?, *inner.get(1)?);
            let (quoted, source, target, tcp) = ip4_parts(inner.get(8..)?)?;
            let is_ours = (quoted, source, target) == (TCP, *self.from.ip(), *self.to.ip())
                && (port_at(tcp, 0)?, port_at(tcp, 2)?) == (self.from.port(), self.to.port())
                && number_at(tcp, 4)? == self.number;
            let error = IcmpError { what: words(false, kind, code), from: from.into() };
            return (is_ours && matches!(kind, 3 | 11 | 12)).then_some(Answered::Failed(error));
        }
        let is_ours = (protocol, from, to) == (TCP, *self.to.ip(), *self.from.ip())
            && (port_at(inner, 0)?, port_at(inner, 2)?) == (self.to.port(), self.from.port())
            && number_at(inner, 8)? == self.number.wrapping_add(1);
        match *inner.get(FLAGS_AT)? & (SYN | ACK | RST) {
            flags if !is_ours || flags & ACK == 0 => None,
            flags if flags & RST != 0 => Some(Answered::Closed),
            flags => (flags & SYN != 0).then_some(Answered::Open),
        }
    }
}

/// Protocol, source, destination and payload.
fn ip4_parts(packet: &[u8]) -> Option<(u8, Ipv4Addr, Ipv4Addr, &[u8])> {
    let first = *packet.first()?;
    let header = usize::from(first & 0xf) * 4;
    let is_whole = number_at(packet, 4)? & 0x1fff == 0;
    let parts =
        (*packet.get(9)?, address_at(packet, 12)?, address_at(packet, 16)?, packet.get(header..)?);
    (first >> 4 == 4 && header >= HEADER && is_whole).then_some(parts)
}

fn put_sum(bytes: &mut [u8], at: usize, sum: impl Fn(&[u8]) -> u16) {
    let sum = sum(bytes).to_be_bytes();
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&sum);
    }
}

fn port_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn number_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn address_at(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(*bytes.get(at..)?.first_chunk::<4>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Ipv4Addr = Ipv4Addr::new(192, 168, 42, 2);
    const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 42, 1);
    const HOST: Ipv4Addr = Ipv4Addr::new(1, 1, 1, 1);

    fn knock() -> Knock {
        Knock {
            from: SocketAddrV4::new(OWN, 40_000),
            to: SocketAddrV4::new(HOST, 443),
            number: u32::MAX,
        }
    }

    /// What the other end sends.
    fn answer(flags: u8, acknowledged: u32) -> Vec<u8> {
        let back = Knock { from: knock().to, to: knock().from, number: 7 };
        let mut packet = back.packet(7, WITH_MSS, flags, &MSS);
        packet[28..32].copy_from_slice(&acknowledged.to_be_bytes());
        packet
    }

    #[test]
    fn who_has_the_gateway_s_address_is_asked_and_heard() {
        let asked = arp_request([2, 0, 0, 0, 0, 9], OWN, GATEWAY);
        assert_eq!(asked.len(), ARP);
        assert_eq!(arp_reply(&asked, OWN), None, "a question is no answer");
        let mut reply = arp_request([2, 0, 0, 0, 0, 1], GATEWAY, OWN);
        reply[7] = 2;
        assert_eq!(arp_reply(&reply, OWN), Some((GATEWAY, [2, 0, 0, 0, 0, 1])));
        assert_eq!(arp_reply(&reply, HOST), None, "somebody else's");
        reply[8] = 0xff;
        assert_eq!(arp_reply(&reply, OWN), None, "a group is nobody");
        (0..ARP).for_each(|n| assert_eq!(arp_reply(&reply[..n], OWN), None));
    }

    #[test]
    fn a_packet_s_sums_are_right() {
        let packet = knock().request();
        assert_eq!(util::checksum(&packet[..HEADER], 5).to_be_bytes(), packet[10..12]);
        let tcp = &packet[HEADER..];
        let sum = util::ipv4_checksum(tcp, 8, &[], &OWN, &HOST, IpNextHeaderProtocols::Tcp);
        assert_eq!(sum.to_be_bytes(), tcp[16..18]);
        assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), packet.len());
        // Added up elsewhere: the header of an echo request to 1.1.1.1.
        let packet = icmp4(OWN, HOST, &[8, 0, 0xf7, 0xff, 0, 0, 0, 0]);
        assert_eq!(packet[..12], [0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 1, 0x4e, 0x35]);
    }

    #[test]
    fn an_open_and_a_closed_port_are_told_apart_and_others_are_not_heard() {
        assert_eq!(knock().heard(&answer(SYN | ACK, 0)), Some(Answered::Open));
        assert_eq!(knock().heard(&answer(RST | ACK, 0)), Some(Answered::Closed));
        assert_eq!(knock().heard(&answer(SYN | ACK, 1)), None, "somebody guesses");
        assert_eq!(knock().heard(&answer(RST, 0)), None);
        assert_eq!(knock().heard(&knock().request()), None);
        let mut other = knock();
        other.from.set_port(40_001);
        assert_eq!(other.heard(&answer(SYN | ACK, 0)), None);
    }

    #[test]
    fn an_error_that_quotes_the_packet_is_heard() {
        let quote = |kind: u8, packet: &[u8]| {
            let message = [&[kind, 1, 0, 0, 0, 0, 0, 0], &packet[..HEADER + 8]].concat();
            icmp4(GATEWAY, OWN, &message)
        };
        let heard = knock().heard(&quote(3, &knock().request()));
        assert_eq!(
            heard,
            Some(Answered::Failed(IcmpError { what: "host unreachable", from: GATEWAY.into() }))
        );
        assert_eq!(knock().heard(&quote(5, &knock().request())), None, "a redirect is no error");
        let mut forged = knock();
        forged.number = 1;
        assert_eq!(knock().heard(&quote(3, &forged.request())), None);
    }

    #[test]
    fn whatever_arrives_is_read_without_harm() {
        let mut random = 1_u32;
        for n in 0..20_000_usize {
            let mut packet = answer(SYN | ACK, 0);
            for _ in 0..=n % 4 {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = random as usize / 7 % packet.len();
                packet[at] = (random >> 13) as u8;
            }
            packet.truncate(packet.len() - n % 44);
            let _ = (knock().heard(&packet), arp_reply(&packet, OWN));
        }
    }
}
