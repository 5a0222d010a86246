//! Packets at a steady rate that look like answers and are none: what somebody sends who can forge
//! addresses but has not seen the questions.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::time::Duration;

use pnet::packet::MutablePacket as _;
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv4::{self, MutableIpv4Packet};
use pnet::util;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Control, Random, Role, ok, wait};
use crate::lab::Lab;
use crate::timeline::monotonic_ns;

pub(super) const NAME: &str = "flood";
/// Packets are sent in bursts, one each millisecond.
const BURST: Duration = Duration::from_millis(1);
/// What could not be sent in time is not made up for beyond so many bursts.
const BEHIND: u32 = 20;

#[derive(Serialize, Deserialize)]
enum Command {
    Report,
}

/// The handle of a flood; dropping it ends it.
#[derive(Debug)]
pub struct Flood(Role);

/// What a flood has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flooded {
    /// Packets that the kernel took.
    pub sent: u64,
    /// Since its start.
    pub took: Duration,
}

impl Flooded {
    /// Packets a second.
    #[must_use]
    pub fn rate(self) -> u64 {
        u64::try_from(u128::from(self.sent) * 1000 / self.took.as_millis().max(1))
            .unwrap_or(u64::MAX)
    }
}

impl Lab {
    /// Sends so many forged packets a second from a namespace to an address: echo replies with any
    /// id, sequence number and payload from each of `claimed` and from elsewhere, ICMP errors about
    /// echo requests to them that were never sent, and DNS answers from them, with any id, to any
    /// port, that host.test is 203.0.113.66.
    #[track_caller]
    pub fn flood(&self, ns: &str, to: Ipv4Addr, claimed: &[&str], rate: u32) -> Flood {
        let numbers = [to.to_string(), rate.to_string()];
        let args: Vec<String> =
            numbers.into_iter().chain(claimed.iter().map(ToString::to_string)).collect();
        Flood(Role::start(self, ns, NAME, &args))
    }
}

impl Flood {
    /// So far.
    #[track_caller]
    pub fn report(&self) -> Flooded {
        self.0.call(&Command::Report)
    }
}

pub(super) fn play(args: &[String]) -> io::Result<()> {
    let [to, rate, claimed @ ..] = args else {
        return Err(io::Error::other("flood ADDRESS RATE CLAIMED..."));
    };
    let address = |text: &String| text.parse::<Ipv4Addr>().map_err(io::Error::other);
    let (to, rate) = (address(to)?, rate.parse::<u32>().map_err(io::Error::other)?);
    let claimed: Vec<Ipv4Addr> = claimed.iter().map(address).collect::<io::Result<_>>()?;
    // Protocol 255 (IPPROTO_RAW): the IP header is ours.
    let socket = Socket::new_raw(Domain::IPV4, Type::RAW, Some(Protocol::from(255)))?;
    let target = SocketAddr::from((to, 0)).into();
    let mut control = Control::ready()?;
    let mut random = Random(1);
    let mut sent = 0;
    let (began, every) = (monotonic_ns(), u64::try_from(BURST.as_nanos()).unwrap_or(1));
    let mut next = began;
    loop {
        for _ in 0..rate / 1000 {
            // A full queue, or no carrier: as much as goes out is meant.
            sent += u64::from(socket.send_to(&packet(&mut random, &claimed, to), &target).is_ok());
        }
        next = (next + every).max(monotonic_ns().saturating_sub(every * u64::from(BEHIND)));
        while wait(&[control.as_fd()], Some(next))?[0] {
            let Some(commands) = control.read::<Command>()? else { return Ok(()) };
            let took = Duration::from_nanos(monotonic_ns() - began);
            commands.iter().for_each(|_| ok(&Flooded { sent, took }));
        }
    }
}

/// One of the forgeries.
fn packet(random: &mut Random, claimed: &[Ipv4Addr], to: Ipv4Addr) -> Vec<u8> {
    let drawn = random.next();
    let [kind, which, a, b, c, d, ..] = drawn.to_be_bytes();
    let source = claimed
        .get(usize::from(which) % claimed.len().max(1))
        .copied()
        .unwrap_or(Ipv4Addr::LOCALHOST);
    let elsewhere = Ipv4Addr::new(203, 0, 113, 254);
    match kind % 8 {
        0..=3 => icmp(source, to, &echo(0, random, [a, b, c, d], usize::from(which))),
        4 => icmp(elsewhere, to, &echo(0, random, [a, b, c, d], 32)),
        kind @ 5..=6 => {
            let quoted = packet_of(
                to,
                source,
                1,
                &echo(8, random, [a, b, c, d], if which & 1 == 0 { 0 } else { 48 }),
            );
            let error = if kind == 5 { [3, 1 + (which & 3)] } else { [11, 0] };
            let message = [&error[..], &[0; 6], &quoted].concat();
            icmp(if which & 2 == 0 { elsewhere } else { source }, to, &message)
        }
        _ => packet_of(source, to, 17, &dns([a, b], u16::from_be_bytes([c, d]) | 0x8000)),
    }
}

/// An echo message with a payload of so many bytes at random.
fn echo(kind: u8, random: &mut Random, numbers: [u8; 4], length: usize) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0];
    message.extend(numbers);
    while message.len() < 8 + length {
        message.extend(random.next().to_be_bytes());
    }
    message.truncate(8 + length);
    message
}

/// UDP from port 53 to this port, without a checksum: host.test is 203.0.113.66.
fn dns(id: [u8; 2], port: u16) -> Vec<u8> {
    let question = b"\x04host\x04test\x00\x00\x01\x00\x01";
    let answer = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xcb\x00\x71\x42";
    let message = [&id[..], b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00", question, answer].concat();
    let length = u16::try_from(8 + message.len()).unwrap_or(0);
    [&[0, 53], &port.to_be_bytes()[..], &length.to_be_bytes(), &[0, 0], &message].concat()
}

fn icmp(from: Ipv4Addr, to: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    let sum = util::checksum(&message, 1);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    packet_of(from, to, IpNextHeaderProtocols::Icmp.0, &message)
}

fn packet_of(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 20 + payload.len()];
    if let Some(mut ip) = MutableIpv4Packet::new(&mut bytes) {
        ip.set_version(4);
        ip.set_header_length(5);
        ip.set_total_length(u16::try_from(20 + payload.len()).unwrap_or(u16::MAX));
        ip.set_ttl(64);
        ip.set_next_level_protocol(pnet::packet::ip::IpNextHeaderProtocol(protocol));
        ip.set_source(from);
        ip.set_destination(to);
        ip.payload_mut().copy_from_slice(payload);
        ip.set_checksum(ipv4::checksum(&ip.to_immutable()));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use pnet::packet::Packet as _;

    use super::*;

    #[test]
    fn each_kind_is_a_packet_with_right_checksums() {
        let mut random = Random(3);
        let (claimed, to) = ([Ipv4Addr::new(1, 1, 1, 1)], Ipv4Addr::new(192, 168, 42, 2));
        let mut protocols = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let bytes = packet(&mut random, &claimed, to);
            let ip = ipv4::Ipv4Packet::new(&bytes).unwrap();
            assert_eq!(
                (usize::from(ip.get_total_length()), ip.get_checksum()),
                (bytes.len(), ipv4::checksum(&ip))
            );
            if ip.get_next_level_protocol() == IpNextHeaderProtocols::Icmp {
                assert_eq!(util::checksum(ip.payload(), ip.payload().len() / 2 + 1), 0);
            }
            protocols.insert(ip.get_next_level_protocol().0);
        }
        assert_eq!(protocols.into_iter().collect::<Vec<_>>(), [1, 17]);
        assert_eq!(Flooded { sent: 50_000, took: Duration::from_secs(2) }.rate(), 25_000);
    }
}
