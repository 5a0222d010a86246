//! A router with networks to the internet in which everything answers, for scenarios with a name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use imon::base::time::Instant;
use imon::engine::world::Arrived;
use imon::kernel::Link;

use crate::internet::{Name, Server};
use crate::kernel::{Address, Hop, Kind, MAIN, Mode, Route, scope};
use crate::networks::Network;
use crate::sim::SimWorld;

pub const STOP: Arrived = Arrived { stop: true, reload: false, check_now: false, child: false };
/// Name servers in the internet.
pub const SERVERS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(198, 51, 100, 53)), IpAddr::V4(Ipv4Addr::new(203, 0, 113, 53))];
pub const MINUTE: u64 = 60;

pub fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

/// The gateway of a network, and our own address there.
pub fn near(wan: usize) -> [Ipv4Addr; 2] {
    let net = if wan == 0 { 42 } else { 62 };
    [Ipv4Addr::new(192, 168, net, 1), Ipv4Addr::new(192, 168, net, 2)]
}

/// A router with so many networks, and the name servers in its resolv.conf.
pub fn router(wans: usize) -> SimWorld {
    let mut world = SimWorld::new(1);
    for wan in 0..wans {
        let index = 3 + wan as u32;
        let link = Link { index, name: format!("wan{wan}"), ..Link::default() };
        world.kernel.add_link(link, true).unwrap();
        world.kernel.set_up(index, true).unwrap();
        let [gateway, own] = near(wan);
        let six = |last| Ipv6Addr::new(0x2001, 0xdb8, 0x42 + wan as u16, 0, 0, 0, 0, last);
        world.kernel.add_address(&Address::of(index, own.octets())).unwrap();
        let address6 = Address { address: six(2).into(), prefix: 64, ..Address::of(index, [0; 4]) };
        world.kernel.add_address(&address6).unwrap();
        for (everywhere, gateway) in [
            (IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(gateway)),
            (Ipv6Addr::UNSPECIFIED.into(), six(1).into()),
        ] {
            let route = Route {
                table: MAIN,
                destination: everywhere,
                prefix: 0,
                tos: 0,
                metric: 100 + wan as u32,
                kind: Kind::Unicast,
                scope: scope::UNIVERSE,
                protocol: 16,
                source: None,
                hops: vec![Hop { index, gateway: Some(gateway), ..Hop::default() }],
            };
            world.kernel.add_route(&route, Mode::ADD).unwrap();
        }
        world.networks.push(Network { gateway6: Some(six(1)), ..Network::new(index, gateway) });
    }
    let conf: String = SERVERS.iter().map(|server| format!("nameserver {server}\n")).collect();
    world.files.insert("/etc/resolv.conf".into(), conf.into());
    world.internet.servers = SERVERS.map(|server| (server, Server::Truth)).into();
    name(&mut world, "example.com", [198, 51, 100, 80], 3600);
    world.probes = Some(Vec::new());
    world
}

/// A name has this address from now on.
pub fn name(world: &mut SimWorld, name: &str, address: [u8; 4], ttl: u32) {
    world.internet.zone.insert(name.to_owned(), Name::v4(address, ttl));
}

/// Where pings went, by no WAN's way, and when that changed.
pub fn pinged(world: &SimWorld) -> Vec<(Instant, IpAddr)> {
    let mut all: Vec<(Instant, IpAddr)> = Vec::new();
    for probe in world.probes.iter().flatten().filter(|probe| probe.wan.is_none()) {
        if all.last().is_none_or(|(_, to)| *to != probe.to) {
            all.push((probe.at, probe.to));
        }
    }
    all
}

/// How often a line was said that has this in it.
pub fn said(world: &SimWorld, text: &str) -> usize {
    world.lines.iter().filter(|line| line.text.contains(text)).count()
}
