//! ICMP and ICMPv6 echo: building requests, and reading what comes back.
//!
//! A reply is ours only if its identifier, sequence number, source address and a keyed hash in its
//! payload all agree. The payload carries the whole [`Token`] of the probe, so no table of
//! outstanding probes is needed, and nobody who has not seen the request can make a reply to it.

use std::fmt;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pnet::packet::Packet;
use pnet::packet::icmp::echo_request::MutableEchoRequestPacket;
use pnet::packet::icmp::{IcmpCode, IcmpPacket, IcmpTypes, checksum};
use pnet::packet::icmpv6::echo_request::MutableEchoRequestPacket as MutableEchoRequestPacketV6;
use pnet::packet::icmpv6::{Icmpv6Code, Icmpv6Packet, Icmpv6Types};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv4::Ipv4Packet;
use pnet::packet::ipv6::Ipv6Packet;

use crate::base::time::Instant;

/// Bytes of an echo header (type, code, checksum, identifier, sequence number; RFC 792, RFC 4443).
const HEADER: usize = 8;
/// Bytes of our payload. Some gateways drop echo requests with an empty one, so never below 16.
const PAYLOAD: usize = 32;
/// Bytes of one of our echo requests, without the IP header.
pub const REQUEST: usize = HEADER + PAYLOAD;

/// What a probe is, as its payload carries it out and back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Token {
    /// Who sent it: the number of a checker.
    pub owner: u32,
    /// The serial number of its check.
    pub check: u32,
    /// Which probe of the check, from 0.
    pub index: u16,
    /// When it left.
    pub sent: Instant,
}

/// Why a probe or a packet failed, as a router told it: `host unreachable from 192.168.42.1`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpError {
    /// In words.
    pub what: &'static str,
    /// Who says so.
    pub from: IpAddr,
}

impl fmt::Display for IcmpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.what, self.from)
    }
}

/// A packet that concerns one of our probes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    /// The reply to a probe.
    Reply(Token),
    /// An ICMP error that quotes the probe with its cookie: this probe will not be answered.
    Failed(Token, IcmpError),
    /// An ICMP error about a request of ours to this address that quotes too little to be believed
    /// (RFC 792 asks for 8 bytes only, and those can be guessed): it may colour a reason, nothing
    /// more.
    Hint(IpAddr, IcmpError),
}

/// Builds and recognises the echo requests of one socket.
/// ```
/// use std::hash::RandomState;
/// use std::net::Ipv6Addr;
/// use imon::base::time::Instant;
/// use imon::wire::icmp::{Codec, Received, Token};
///
/// let codec = Codec::new(0x1234, RandomState::new());
/// let token = Token { owner: 7, check: 1, index: 0, sent: Instant::from_nanos(42) };
/// let request = codec.request(Ipv6Addr::LOCALHOST.into(), &token);
///
/// // The reply is the request with another type (RFC 4443). It brings the token back.
/// let mut reply = request;
/// reply[0] = 129;
/// assert_eq!(codec.heard_icmp6(Ipv6Addr::LOCALHOST, &reply), Some(Received::Reply(token)));
///
/// // From another host, or changed on the way, it is no reply.
/// assert_eq!(codec.heard_icmp6("2001:db8::1".parse().unwrap(), &reply), None);
/// reply[20] ^= 1;
/// assert_eq!(codec.heard_icmp6(Ipv6Addr::LOCALHOST, &reply), None);
/// ```
pub struct Codec<S> {
    /// The identifier of all requests. On a datagram ICMP socket the kernel chooses it.
    pub ident: u16,
    key: S,
}

impl<S: BuildHasher> Codec<S> {
    /// `key` makes the cookies; its seed must be random and secret, `RandomState` is that.
    pub fn new(ident: u16, key: S) -> Self {
        Self { ident, key }
    }

    /// The echo request for a probe. The sequence number is taken from the check and the probe's
    /// place in it.
    pub fn request(&self, to: IpAddr, token: &Token) -> [u8; REQUEST] {
        let mut packet = [0; REQUEST];
        self.write(to, token, &mut packet);
        packet
    }

    /// The same with so many bytes, IP header not counted, but never fewer than [`REQUEST`].
    pub fn request_of(&self, to: IpAddr, token: &Token, size: usize) -> Vec<u8> {
        let mut packet = vec![0; size.max(REQUEST)];
        self.write(to, token, &mut packet);
        packet
    }

    fn write(&self, to: IpAddr, token: &Token, packet: &mut [u8]) {
        let payload = self.payload(to, token);
        let seq = sequence(token);
        match to {
            IpAddr::V4(_) => {
                if let Some(mut p) = MutableEchoRequestPacket::new(packet) {
                    p.set_icmp_type(IcmpTypes::EchoRequest);
                    p.set_identifier(self.ident);
                    p.set_sequence_number(seq);
                    p.set_payload(&payload);
                    let sum = IcmpPacket::new(p.packet()).map_or(0, |p| checksum(&p));
                    p.set_checksum(sum);
                }
            }
            // The kernel fills in the ICMPv6 checksum (RFC 3542, section 3.1).
            IpAddr::V6(_) => {
                if let Some(mut p) = MutableEchoRequestPacketV6::new(packet) {
                    p.set_icmpv6_type(Icmpv6Types::EchoRequest);
                    p.set_identifier(self.ident);
                    p.set_sequence_number(seq);
                    p.set_payload(&payload);
                }
            }
        }
    }

    /// Reads what a raw IPv4 socket received: an IP packet, header first.
    pub fn heard_ip4(&self, bytes: &[u8]) -> Option<Received> {
        let ip = Ipv4Packet::new(bytes)?;
        let length = usize::from(ip.get_total_length());
        let header = usize::from(ip.get_header_length()) * 4;
        if ip.get_version() != 4
            || header < 20
            || ip.get_next_level_protocol() != IpNextHeaderProtocols::Icmp
        {
            return None;
        }
        self.heard_icmp4(ip.get_source(), bytes.get(header..length)?)
    }

    /// Reads an ICMP message without IP header, as a datagram socket receives it.
    pub fn heard_icmp4(&self, source: Ipv4Addr, bytes: &[u8]) -> Option<Received> {
        let icmp = IcmpPacket::new(bytes)?;
        // A raw socket hears packets before anybody has checked this.
        if checksum(&icmp) != icmp.get_checksum() {
            return None;
        }
        match icmp.get_icmp_type() {
            IcmpTypes::EchoReply if icmp.get_icmp_code() == IcmpCode(0) => {
                self.echoed(source.into(), bytes).map(Received::Reply)
            }
            kind @ (IcmpTypes::DestinationUnreachable
            | IcmpTypes::TimeExceeded
            | IcmpTypes::ParameterProblem) => {
                let error =
                    IcmpError { what: words4(kind.0, icmp.get_icmp_code().0), from: source.into() };
                let quoted = Ipv4Packet::new(bytes.get(HEADER..)?)?;
                let header = usize::from(quoted.get_header_length()) * 4;
                if quoted.get_version() != 4
                    || header < 20
                    || quoted.get_next_level_protocol() != IpNextHeaderProtocols::Icmp
                {
                    return None;
                }
                let inner = bytes.get(HEADER + header..)?;
                (inner.first() == Some(&IcmpTypes::EchoRequest.0))
                    .then(|| self.quoted(quoted.get_destination().into(), inner, error))
                    .flatten()
            }
            _ => None,
        }
    }

    /// Reads an ICMPv6 message, which every kind of socket receives without IP header and with its
    /// checksum verified.
    pub fn heard_icmp6(&self, source: Ipv6Addr, bytes: &[u8]) -> Option<Received> {
        let icmp = Icmpv6Packet::new(bytes)?;
        match icmp.get_icmpv6_type() {
            Icmpv6Types::EchoReply if icmp.get_icmpv6_code() == Icmpv6Code(0) => {
                self.echoed(source.into(), bytes).map(Received::Reply)
            }
            kind @ (Icmpv6Types::DestinationUnreachable
            | Icmpv6Types::PacketTooBig
            | Icmpv6Types::TimeExceeded
            | Icmpv6Types::ParameterProblem) => {
                let error = IcmpError {
                    what: words6(kind.0, icmp.get_icmpv6_code().0),
                    from: source.into(),
                };
                let quoted = Ipv6Packet::new(bytes.get(HEADER..)?)?;
                if quoted.get_version() != 6
                    || quoted.get_next_header() != IpNextHeaderProtocols::Icmpv6
                {
                    return None;
                }
                let inner = bytes.get(HEADER + Ipv6Packet::minimum_packet_size()..)?;
                (inner.first() == Some(&Icmpv6Types::EchoRequest.0))
                    .then(|| self.quoted(quoted.get_destination().into(), inner, error))
                    .flatten()
            }
            _ => None,
        }
    }

    /// An error about the echo request `inner` (from its ICMP header on) that we may have sent to
    /// `to`.
    pub fn quoted(&self, to: IpAddr, inner: &[u8], error: IcmpError) -> Option<Received> {
        match self.echoed(to, inner) {
            Some(token) => Some(Received::Failed(token, error)),
            None => (field(inner, 4) == Some(self.ident)).then_some(Received::Hint(to, error)),
        }
    }

    /// The token in an echo message (from its ICMP header on) to or from `peer`, if it is wholly
    /// ours.
    fn echoed(&self, peer: IpAddr, bytes: &[u8]) -> Option<Token> {
        if field(bytes, 4)? != self.ident {
            return None;
        }
        let payload: &[u8; PAYLOAD] = bytes.get(HEADER..)?.first_chunk()?;
        let (cookie, rest) = payload.split_first_chunk::<8>()?;
        let (sent, rest) = rest.split_first_chunk::<8>()?;
        let (owner, rest) = rest.split_first_chunk::<4>()?;
        let (check, rest) = rest.split_first_chunk::<4>()?;
        let token = Token {
            owner: u32::from_be_bytes(*owner),
            check: u32::from_be_bytes(*check),
            index: u16::from_be_bytes(*rest.first_chunk()?),
            sent: Instant::from_nanos(u64::from_be_bytes(*sent)),
        };
        (u64::from_be_bytes(*cookie) == self.cookie(peer, &token)
            && field(bytes, 6) == Some(sequence(&token)))
        .then_some(token)
    }

    fn payload(&self, to: IpAddr, token: &Token) -> [u8; PAYLOAD] {
        let mut p = [0; PAYLOAD];
        let fields = self
            .cookie(to, token)
            .to_be_bytes()
            .into_iter()
            .chain(token.sent.as_nanos().to_be_bytes())
            .chain(token.owner.to_be_bytes())
            .chain(token.check.to_be_bytes())
            .chain(token.index.to_be_bytes())
            .chain(*b"imon");
        for (to, byte) in p.iter_mut().zip(fields) {
            *to = byte;
        }
        p
    }

    fn cookie(&self, peer: IpAddr, token: &Token) -> u64 {
        self.key.hash_one((peer, token))
    }
}

/// Consecutive probes of a target have consecutive sequence numbers only within a check; between
/// checks they are spread, so that a middlebox that remembers recent ones does not take a new probe
/// for an old one.
fn sequence(token: &Token) -> u16 {
    let wide = token.check.wrapping_mul(101).wrapping_add(u32::from(token.index));
    (wide & 0xffff) as u16
}

/// The 16-bit field at `at`, in network order.
fn field(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}

/// The type and code of an ICMP error in words.
#[must_use]
pub fn words(v6: bool, kind: u8, code: u8) -> &'static str {
    if v6 { words6(kind, code) } else { words4(kind, code) }
}

/// ICMP error types and codes in words (RFC 792, RFC 1122 section 3.2.2.1, RFC 1812 section
/// 5.2.7.1).
fn words4(kind: u8, code: u8) -> &'static str {
    match (kind, code) {
        (3, 0 | 6 | 11) => "network unreachable",
        (3, 1 | 7 | 12) => "host unreachable",
        (3, 2) => "protocol unreachable",
        (3, 3) => "port unreachable",
        (3, 4) => "fragmentation needed",
        (3, 9 | 10 | 13) => "administratively prohibited",
        (3, _) => "destination unreachable",
        (11, _) => "time to live exceeded",
        _ => "parameter problem",
    }
}

/// ICMPv6 error types and codes in words (RFC 4443).
fn words6(kind: u8, code: u8) -> &'static str {
    match (kind, code) {
        (1, 0) => "no route to destination",
        (1, 1 | 5 | 6) => "administratively prohibited",
        (1, 3) => "host unreachable",
        (1, 4) => "port unreachable",
        (1, _) => "destination unreachable",
        (2, _) => "packet too big",
        (3, _) => "hop limit exceeded",
        _ => "parameter problem",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasherDefault, DefaultHasher, RandomState};

    type Fixed = BuildHasherDefault<DefaultHasher>;
    const TARGET: Ipv4Addr = Ipv4Addr::new(1, 1, 1, 1);
    const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 42, 1);
    const TARGET6: Ipv6Addr = Ipv6Addr::new(0x2606, 0x4700, 0, 0, 0, 0, 0, 0x1111);

    /// A reply to `request` as a host would send it.
    fn reply_to(request: &[u8], v6: bool) -> Vec<u8> {
        let mut reply = request.to_vec();
        if let Some(kind) = reply.first_mut() {
            *kind = if v6 { Icmpv6Types::EchoReply.0 } else { IcmpTypes::EchoReply.0 };
        }
        if !v6 {
            fix_checksum(&mut reply);
        }
        reply
    }

    fn fix_checksum(icmp: &mut [u8]) {
        let sum = IcmpPacket::new(icmp).map_or(0, |p| checksum(&p));
        if let Some(field) = icmp.get_mut(2..4) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
    }

    fn codec() -> Codec<Fixed> {
        Codec::new(0x1234, Fixed::default())
    }

    fn token() -> Token {
        Token { owner: 7, check: 70_000, index: 2, sent: Instant::from_nanos(123_456_789_012) }
    }

    fn ip4(source: Ipv4Addr, destination: Ipv4Addr, icmp: &[u8]) -> Vec<u8> {
        let mut p = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0];
        p.extend(source.octets());
        p.extend(destination.octets());
        p.extend(icmp);
        let length = u16::try_from(p.len()).unwrap().to_be_bytes();
        p[2..4].copy_from_slice(&length);
        p
    }

    fn error4(kind: u8, code: u8, quoted: &[u8]) -> Vec<u8> {
        let mut p = vec![kind, code, 0, 0, 0, 0, 0, 0];
        p.extend(quoted);
        fix_checksum(&mut p);
        p
    }

    #[test]
    fn errors_have_the_words_of_their_rfcs() {
        let words = |words: fn(u8, u8) -> &'static str, list: &[(u8, u8)]| -> Vec<&str> {
            list.iter().map(|(kind, code)| words(*kind, *code)).collect()
        };
        for (list, expected) in [
            (&[(3, 0), (3, 6), (3, 11)][..], "network unreachable"),
            (&[(3, 1), (3, 7), (3, 12)], "host unreachable"),
            (&[(3, 2)], "protocol unreachable"),
            (&[(3, 3)], "port unreachable"),
            (&[(3, 4)], "fragmentation needed"),
            (&[(3, 9), (3, 10), (3, 13)], "administratively prohibited"),
            (&[(3, 5), (3, 15)], "destination unreachable"),
            (&[(11, 0), (11, 1)], "time to live exceeded"),
            (&[(12, 0)], "parameter problem"),
        ] {
            assert_eq!(words(words4, list), vec![expected; list.len()], "ICMP {list:?}");
        }
        for (list, expected) in [
            (&[(1, 0)][..], "no route to destination"),
            (&[(1, 1), (1, 5), (1, 6)], "administratively prohibited"),
            (&[(1, 3)], "host unreachable"),
            (&[(1, 4)], "port unreachable"),
            (&[(1, 2), (1, 7)], "destination unreachable"),
            (&[(2, 0)], "packet too big"),
            (&[(3, 0), (3, 1)], "hop limit exceeded"),
            (&[(4, 0)], "parameter problem"),
        ] {
            assert_eq!(words(words6, list), vec![expected; list.len()], "ICMPv6 {list:?}");
        }
    }

    #[test]
    fn a_reply_brings_its_token_back() {
        let c = codec();
        let reply = reply_to(&c.request(TARGET.into(), &token()), false);
        let me = Ipv4Addr::new(10, 0, 0, 1);
        assert_eq!(c.heard_ip4(&ip4(TARGET, me, &reply)), Some(Received::Reply(token())));
        let reply = reply_to(&c.request(TARGET6.into(), &token()), true);
        assert_eq!(c.heard_icmp6(TARGET6, &reply), Some(Received::Reply(token())));
    }

    #[test]
    fn a_reply_from_another_address_is_not_ours() {
        let c = codec();
        let reply = reply_to(&c.request(TARGET.into(), &token()), false);
        assert_eq!(c.heard_icmp4(ROUTER, &reply), None);
        let reply = reply_to(&c.request(TARGET6.into(), &token()), true);
        assert_eq!(c.heard_icmp6("::1".parse().unwrap(), &reply), None);
    }

    #[test]
    fn a_reply_to_somebody_else_is_not_ours() {
        let reply = reply_to(
            &Codec::new(0x1234, RandomState::new()).request(TARGET.into(), &token()),
            false,
        );
        assert_eq!(codec().heard_icmp4(TARGET, &reply), None, "the cookie's key differs");
        let reply =
            reply_to(&Codec::new(0x1235, Fixed::default()).request(TARGET.into(), &token()), false);
        assert_eq!(codec().heard_icmp4(TARGET, &reply), None, "the identifier differs");
    }

    #[test]
    fn our_own_request_is_no_reply() {
        let c = codec();
        assert_eq!(c.heard_icmp4(TARGET, &c.request(TARGET.into(), &token())), None);
    }

    #[test]
    fn an_error_with_our_cookie_ends_the_probe() {
        let c = codec();
        let request = ip4(Ipv4Addr::new(10, 0, 0, 1), TARGET, &c.request(TARGET.into(), &token()));
        let heard = c.heard_ip4(&ip4(ROUTER, Ipv4Addr::new(10, 0, 0, 1), &error4(3, 1, &request)));
        let Some(Received::Failed(t, e)) = heard else { panic!("{heard:?}") };
        assert_eq!((t, e.to_string()), (token(), "host unreachable from 192.168.42.1".to_owned()));
    }

    #[test]
    fn an_error_that_quotes_eight_bytes_only_colours() {
        let c = codec();
        let request = ip4(Ipv4Addr::new(10, 0, 0, 1), TARGET, &c.request(TARGET.into(), &token()));
        let heard = c.heard_icmp4(ROUTER, &error4(11, 0, &request[..28]));
        let error = IcmpError { what: "time to live exceeded", from: ROUTER.into() };
        assert_eq!(heard, Some(Received::Hint(TARGET.into(), error)));
    }

    #[test]
    fn an_icmp6_error_with_our_cookie_ends_the_probe() {
        let c = codec();
        let mut quoted = vec![0x60, 0, 0, 0, 0, 40, 58, 64];
        quoted.extend([0; 16]);
        quoted.extend(TARGET6.octets());
        quoted.extend(c.request(TARGET6.into(), &token()));
        let mut p = vec![1, 3, 0, 0, 0, 0, 0, 0];
        p.extend(quoted);
        let from: Ipv6Addr = "2001:db8::1".parse().unwrap();
        let error = IcmpError { what: "host unreachable", from: from.into() };
        assert_eq!(c.heard_icmp6(from, &p), Some(Received::Failed(token(), error)));
    }

    /// Any change to a reply makes it somebody else's: nothing that arrives by accident or malice
    /// is a reply of ours.
    #[test]
    fn random_and_mutated_packets_are_never_accepted() {
        let c = codec();
        let good = ip4(
            TARGET,
            Ipv4Addr::new(10, 0, 0, 1),
            &reply_to(&c.request(TARGET.into(), &token()), false),
        );
        let request = ip4(Ipv4Addr::new(10, 0, 0, 1), TARGET, &c.request(TARGET.into(), &token()));
        let error = ip4(ROUTER, Ipv4Addr::new(10, 0, 0, 1), &error4(3, 1, &request));
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for round in 0..100_000 {
            let mut p = match round % 3 {
                0 => good.clone(),
                1 => error.clone(),
                _ => (0..random() % 120).map(|_| random() as u8).collect(),
            };
            for _ in 0..=random() % 3 {
                let at = random() as usize % p.len().max(1);
                match random() % 3 {
                    0 => p.truncate(at),
                    1 => p.insert(at.min(p.len()), random() as u8),
                    _ => {
                        if let Some(b) = p.get_mut(at) {
                            *b ^= 1 << (random() % 8);
                        }
                    }
                }
            }
            // Only the token's own bytes count: a packet that still carries them all may be
            // accepted, nothing else.
            match c.heard_ip4(&p) {
                Some(Received::Reply(t) | Received::Failed(t, _)) => {
                    assert_eq!(t, token(), "round {round}: {p:02x?}")
                }
                Some(Received::Hint(..)) | None => {}
            }
            let _ = c.heard_icmp4(TARGET, &p);
            let _ = c.heard_icmp6(TARGET6, &p);
        }
    }
}
