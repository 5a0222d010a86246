//! What this machine knows by itself: interfaces, addresses, routes, and what stands in imon's way.
//! Nothing is sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::addr::family::Family;
use crate::addr::scope::{Scope, scope};
use crate::base::text::nearest;
use crate::config::Config;
use crate::diagnose::others::Detours;
use crate::diagnose::own::Own;
use crate::diagnose::{
    ConfigEvidence, GatewayEvidence, Instead, LinkEvidence, NeighbourState, PathEvidence,
    TargetEvidence, TestReply, WanEvidence,
};
use crate::kernel::path::Bound;
use crate::kernel::{MAIN, Picture, Route, protocol_name};
use crate::routing::{self, LinkState, Policy, RoutingView, WanPath};
use crate::sys::netlink::Requests;
use crate::sys::{files, http};

/// So many errors, and one packet of so many, are worth a word.
const ERRORS: u64 = 100;
const ERRORS_OF: u64 = 1000;
/// `IFF_NOARP`, see netdevice(7).
const NO_ARP: u32 = 0x80;
/// Other gateways of a network that are asked.
const MOST_INSTEAD: usize = 4;

/// A number that the kernel tells in a file.
fn number(path: &str) -> Option<u64> {
    String::from_utf8(files::read_start(path, 64).ok()?).ok()?.trim().parse().ok()
}

/// The MTU of an interface, in bytes.
pub(super) fn mtu(device: &str) -> Option<u32> {
    number(&format!("/sys/class/net/{device}/mtu")).and_then(|n| u32::try_from(n).ok())
}

/// Whether an interface asks nobody for hardware addresses (`IFF_NOARP`).
pub(super) fn asks_nobody(device: &str) -> bool {
    let text = files::read_start(format!("/sys/class/net/{device}/flags"), 64).unwrap_or_default();
    let flags = String::from_utf8_lossy(&text);
    let flags = flags.trim().strip_prefix("0x").and_then(|hex| u32::from_str_radix(hex, 16).ok());
    flags.is_some_and(|flags| flags & NO_ARP != 0)
}

/// Transmission errors of an interface, where there are many.
fn errors(device: &str) -> Option<String> {
    let count =
        |name: &str| number(&format!("/sys/class/net/{device}/statistics/{name}")).unwrap_or(0);
    ["rx", "tx"].into_iter().find_map(|side| {
        let (wrong, all) = (count(&format!("{side}_errors")), count(&format!("{side}_packets")));
        let many = wrong >= ERRORS && wrong.saturating_mul(ERRORS_OF) > all;
        many.then(|| {
            format!("{wrong} of {all} packets had errors ({side}_errors): try another cable")
        })
    })
}

/// The way that packets to the first of `to` that there is a way to take now, or, where there is
/// none, as far as it goes: probably by one of the interfaces `likely`, if there are any.
pub(super) fn main_way(
    picture: &Picture,
    requests: &mut Requests,
    to: &[IpAddr],
    likely: &[&str],
) -> PathEvidence {
    let mut v4 = to.iter().filter_map(|to| if let IpAddr::V4(to) = to { Some(*to) } else { None });
    let route = v4.find_map(|to| way(picture, requests, to));
    let index = route.as_ref().and_then(|r| r.hops.first()).map(|h| h.index);
    let named = || {
        likely
            .iter()
            .find_map(|name| picture.links.iter().find(|l| l.name == *name))
            .map(|l| l.index)
    };
    let Some(index) = index.or_else(named).or_else(|| candidate(picture)) else {
        return PathEvidence::unknown();
    };
    let mut way = of_device(picture, index);
    if let Some(route) = route {
        let hop = route.hops.first();
        way.gateway = hop.and_then(|h| h.gateway).map(gateway);
        way.route = Some(in_words(picture, &route));
    }
    way
}

/// The route that packets to this address take now.
pub(super) fn way(picture: &Picture, requests: &mut Requests, to: Ipv4Addr) -> Option<Route> {
    let mut route = requests.way(to).ok()?;
    picture.resolve(&mut route);
    Some(route)
}

/// A router's default route may be gone because of what is wrong with its interface: the one that
/// looks most like it.
fn candidate(picture: &Picture) -> Option<u32> {
    let has_address = |index: u32| picture.addresses.iter().any(|a| a.index == index && !a.local);
    let real = || {
        picture.links.iter().filter(|l| l.name != "lo" && !l.point_to_point && is_hardware(&l.name))
    };
    // One that asks in vain for an address, one that gave itself one, and one without a carrier are
    // likely ones; one with an address is probably somebody's LAN.
    let asks = real()
        .find(|l| l.up && l.carrier && (!has_address(l.index) || own_making(picture, l.index)));
    let other =
        asks.or_else(|| real().find(|l| l.up && !l.carrier)).or_else(|| real().find(|l| !l.up));
    other.map(|l| l.index)
}

/// Not a bridge or a port of one, a tunnel, or another thing made of software. (A veth pair is how
/// containers and our tests get a cable.)
fn is_hardware(device: &str) -> bool {
    let path = format!("/sys/class/net/{device}");
    let kind = files::read_start(format!("{path}/uevent"), 512).unwrap_or_default();
    let kind = String::from_utf8_lossy(&kind);
    !files::exists(&format!("{path}/master"))
        && !["bridge", "bond", "vlan", "wireguard", "vxlan"]
            .iter()
            .any(|k| kind.contains(&format!("DEVTYPE={k}")))
        && !["sit", "gre", "erspan", "ip6", "tunl", "ifb", "dummy", "teql"]
            .iter()
            .any(|k| device.starts_with(k))
}

fn own_making(picture: &Picture, index: u32) -> bool {
    let mut of = picture
        .addresses
        .iter()
        .filter(|a| a.index == index && !a.address.is_loopback())
        .peekable();
    of.peek().is_some() && of.all(|a| a.address.is_link_local())
}

fn of_device(picture: &Picture, index: u32) -> PathEvidence {
    let mut way = PathEvidence::unknown();
    let Some(link) = picture.links.iter().find(|l| l.index == index) else {
        way.link = LinkEvidence::Missing;
        return way;
    };
    way.device.clone_from(&link.name);
    way.errors = errors(&link.name);
    way.link = match (link.up, link.carrier) {
        (false, _) => LinkEvidence::Down,
        (true, false) => LinkEvidence::NoCarrier,
        (true, true) => LinkEvidence::Up,
    };
    way.own_making = own_making(picture, index);
    let of = || picture.addresses.iter().filter(|a| a.index == index);
    let address = of().find(|a| !a.local && !a.address.is_link_local()).or_else(|| of().next());
    way.address = address.map(|a| format!("{}/{}", a.address, a.prefix));
    way
}

fn gateway(address: impl Into<IpAddr>) -> GatewayEvidence {
    GatewayEvidence {
        address: address.into(),
        neighbour: NeighbourState::Unknown,
        ping: TestReply::NotAsked,
        misplaced: false,
    }
}

/// `default via 192.168.42.1 dev wan1 metric 100 proto dhcp`.
pub(super) fn in_words(picture: &Picture, route: &Route) -> String {
    let mut text = route.to_string();
    for hop in &route.hops {
        let name = device(picture, hop.index);
        text = text.replace(&format!("dev #{} ", hop.index), &format!("dev {name} "));
    }
    // What the kernel answers for one address is a route to that; what it is part of is of
    // interest.
    match text.strip_prefix(&format!("{}/32", route.destination)) {
        Some(rest) if route.prefix == 32 => format!("default{rest}"),
        _ => text,
    }
}

fn device(picture: &Picture, index: u32) -> &str {
    picture.links.iter().find(|l| l.index == index).map_or("?", |l| &l.name)
}

/// The default routes of the table main that are not taken now.
pub(super) fn other_routes(picture: &Picture, main: &PathEvidence) -> Vec<String> {
    let mut all: Vec<&Route> =
        picture.routes.iter().filter(|r| r.table == MAIN && r.is_default()).collect();
    all.sort_by_key(|r| r.metric);
    let gateway = main.gateway.as_ref().map(|g| g.address);
    let is_taken = |r: &&Route| {
        r.hops.first().is_some_and(|h| {
            device(picture, h.index) == main.device && h.gateway.map(IpAddr::V4) == gateway
        })
    };
    if let Some(taken) = all.iter().position(is_taken) {
        all.remove(taken);
    }
    all.into_iter().map(|r| in_words(picture, r)).collect()
}

/// Whether there is a default route of IPv6.
pub(super) fn has_route_v6(picture: &Picture) -> bool {
    picture.defaults6.iter().any(|d| d.table == MAIN)
}

/// The way of IPv6, if this system has one.
pub(super) fn way_v6(picture: &Picture, to: Ipv6Addr) -> Option<PathEvidence> {
    let route = picture.defaults6.iter().filter(|d| d.table == MAIN).min_by_key(|d| d.metric)?;
    let local =
        http::local_towards(&Bound::default(), to.into()).filter(|a| scope(*a) == Scope::Public)?;
    // Of several ways out the kernel chooses one for each destination: the one that has the address
    // it would send from.
    let sends_from = |hop: &&(u32, Option<Ipv6Addr>)| {
        let device = Some(device(picture, hop.0).to_owned());
        http::local_towards(&Bound { device, from: None }, to.into()) == Some(local)
    };
    let (index, via) = *route.hops.iter().find(sends_from).or(route.hops.first())?;
    let mut way = of_device(picture, index);
    let name = way.device.clone();
    let gateway_text = via.map_or_else(String::new, |g| format!(" via {g}"));
    let protocol = protocol_name(route.protocol).unwrap_or("?");
    way.route =
        Some(format!("default{gateway_text} dev {name} metric {} proto {protocol}", route.metric));
    way.address = Some(local.to_string());
    way.own_making = false;
    way.gateway = via.map(gateway);
    Some(way)
}

/// Hosts beyond that are to be asked.
pub(super) fn targets(addresses: &[IpAddr], family: Family) -> Vec<TargetEvidence> {
    let of = addresses.iter().filter(|address| family.has(**address));
    let target = |address: &IpAddr| TargetEvidence {
        address: *address,
        ping: TestReply::NotAsked,
        tcp: TestReply::NotAsked,
        refused: false,
        rejected: false,
    };
    of.map(target).collect()
}

/// The failover monitor's networks, with the road of each that has one.
pub(super) fn wans(
    config: &Config,
    picture: &Picture,
    policy: &Policy,
) -> Vec<(WanEvidence, Option<WanPath>)> {
    let view: RoutingView<'_> = picture.into();
    let settings: Vec<&crate::config::WanSettings> =
        config.failover.iter().flat_map(|f| &f.wans).collect();
    let roles = ["primary", "standby"].into_iter();
    let one = |(place, (wan, role)): (usize, (&crate::config::WanSettings, &'static str))| {
        let index = picture.links.iter().find(|l| l.name == wan.device).map_or(0, |l| l.index);
        let mut way = of_device(picture, index);
        way.device.clone_from(&wan.device);
        let mut road = None;
        match policy.state(place, &view) {
            Some(LinkState::Ready(ready)) => {
                way.gateway = ready.gateway.map(gateway);
                if let (Some(gateway), routing::GatewaySource::Fixed(address)) =
                    (&mut way.gateway, wan.gateway)
                {
                    gateway.misplaced = !is_within(picture, index, address);
                }
                way.route = Some("its own".to_owned());
                road = Some(ready);
            }
            Some(LinkState::NoGateway | LinkState::Refused) | None => way.route = None,
            Some(LinkState::NoAddress | LinkState::Port) => way.address = None,
            Some(LinkState::Missing) => way.link = LinkEvidence::Missing,
            Some(LinkState::Down) => way.link = LinkEvidence::Down,
            Some(LinkState::NoCarrier) => way.link = LinkEvidence::NoCarrier,
        }
        let label = match wan.name.is_empty() {
            true => wan.device.clone(),
            false => format!("{} ({})", wan.name, wan.device),
        };
        let fixed = matches!(wan.gateway, routing::GatewaySource::Fixed(_));
        let instead = if fixed { instead(picture, index, &settings) } else { Vec::new() };
        // No default on an automatic one, and one elsewhere: whoever sets them keeps one for all.
        let cure = match policy.state(place, &view) {
            Some(LinkState::NoGateway) if policy.lacks_metric(place, &view) => {
                let name = format!("or set {role}-gw in imon's configuration");
                let metric = super::beside::metric_advice(&wan.device);
                Some(metric.map_or_else(
                    || {
                        format!(
                            "give it a metric where its address comes from, so that its default route stays, {name}"
                        )
                    },
                    |metric| format!("{metric}, {name}"),
                ))
            }
            _ => None,
        };
        (
            WanEvidence {
                role,
                label,
                way,
                barred: None,
                fixed,
                instead,
                detours: Detours::default(),
                cure,
            },
            road,
        )
    };
    settings.iter().copied().zip(roles).enumerate().map(one).collect()
}

/// Gateways that a network may have in place of the configured one: those that others have set
/// routes by, and the first and the last host of its subnet, which is where gateways are.
fn instead(
    picture: &Picture,
    index: u32,
    configured: &[&crate::config::WanSettings],
) -> Vec<Instead> {
    let hops = picture.routes.iter().filter(|r| !r.is_ours()).flat_map(|r| &r.hops);
    let set = hops.filter(|h| h.index == index).filter_map(|h| h.gateway);
    let of = picture
        .addresses
        .iter()
        .filter(|a| a.index == index && !a.local && (8..31).contains(&a.prefix));
    let ends = of.flat_map(|a| {
        let network = u32::from(a.peer.unwrap_or(a.address)) & a.mask();
        [network + 1, (network | !a.mask()) - 1].map(Ipv4Addr::from)
    });
    let is_own = |host: Ipv4Addr| picture.addresses.iter().any(|a| a.address == host);
    let is_configured =
        |host| configured.iter().any(|wan| wan.gateway == routing::GatewaySource::Fixed(host));
    let mut found: Vec<Instead> = Vec::new();
    for gateway in set.chain(ends).filter(|host| !is_own(*host) && !is_configured(*host)) {
        if found.len() < MOST_INSTEAD && !found.iter().any(|other| other.gateway == gateway) {
            found.push(Instead { gateway, reply: TestReply::NotAsked });
        }
    }
    found
}

/// Whether an address is in one of the networks of an interface, or at its other end.
fn is_within(picture: &Picture, index: u32, to: Ipv4Addr) -> bool {
    picture.addresses.iter().any(|a| a.index == index && !a.local && a.reaches(to))
}

/// What imon routes for this configuration, or would.
pub(super) fn policy(config: &Config, instance: &str, own: Option<&Own>) -> Policy {
    // The imon that runs may remember a default that was replaced by another network's.
    let known = |device: &str| own?.wans.iter().find(|wan| wan.device == device)?.gateway;
    let wans = config.failover.iter().flat_map(|f| &f.wans);
    let wans = wans
        .map(|w| routing::Uplink {
            device: w.device.clone(),
            gateway: w.gateway,
            targets: Vec::new(),
            remembered: known(&w.device),
        })
        .collect();
    Policy::new(instance, wans, config.failover.as_ref().map_or(0, |f| f.metric))
}

/// What is wrong with a configuration on this machine.
pub(super) fn check_setup(
    config: &Config,
    picture: &Picture,
    policy: &Policy,
    main: &PathEvidence,
    setup: &mut ConfigEvidence,
) {
    let Some(failover) = &config.failover else { return };
    let view: RoutingView<'_> = picture.into();
    // What is configured already is no typo of something else.
    let is_configured = |name: &str| failover.wans.iter().any(|w| w.device == name);
    let names =
        || picture.links.iter().map(|l| l.name.as_str()).filter(|name| !is_configured(name));
    for (place, (wan, role)) in failover.wans.iter().zip(["primary", "standby"]).enumerate() {
        let device = &wan.device;
        let Some(link) = picture.links.iter().find(|l| l.name == *device) else {
            match nearest(device, names()) {
                Some(near) => setup
                    .errors
                    .push(format!("{role}-if '{device}': no such interface (is it '{near}'?)")),
                // A modem that is not plugged in: imon waits for it, and the other network works.
                None => setup
                    .warnings
                    .push(format!("{role}-if '{device}': there is no such interface now")),
            }
            continue;
        };
        if let routing::GatewaySource::Fixed(gateway) = wan.gateway {
            let has_own = picture.addresses.iter().any(|a| a.index == link.index && !a.local);
            if has_own && !is_within(picture, link.index, gateway) {
                setup.warnings.push(format!(
                    "{role}-gw {gateway} is not in the network of {device}: is it the right one?"
                ));
            }
        }
        if let (Some(LinkState::Port), Some(bridge)) =
            (policy.state(place, &view), picture.links.iter().find(|l| l.index == link.master))
        {
            setup.errors.push(format!(
                "{role}-if '{device}' is a port of {0}, which has the address: write {role}-if {0}",
                bridge.name
            ));
        }
        let filter =
            |name: &str| number(&format!("/proc/sys/net/ipv4/conf/{name}/rp_filter")).unwrap_or(0);
        if filter("all").max(filter(device)) == 1 {
            setup
                .notes
                .push(format!("rp_filter of {device} is strict, which imon's rules take care of"));
        }
        setup.warnings.extend(managers(device, link.index));
    }
    let running = picture.rules.iter().any(|rule| rule.table == policy.table());
    if policy.yielded_default(&view).is_none()
        && let Some(rival) = policy.rival(&view)
    {
        let route = in_words(picture, rival);
        if picture.no_policy_routing {
            setup.errors.push(format!(
                "the route '{route}' wins over imon's, and this kernel has no rules: remove it"
            ));
        } else {
            setup.notes.push(format!(
                "the route '{route}' has a lower metric than imon's, whose rules go first"
            ));
        }
    }
    if running
        && main.route.is_some()
        && !failover.wans.iter().any(|w| w.device == main.device)
        && policy.beside(&view).iter().all(|other| other.kind != routing::BesideKind::Yielded)
    {
        let route = main.route.as_deref().unwrap_or_default();
        setup.errors.push(format!("traffic does not follow imon's choice: it leaves by '{route}'"));
    }
}

/// Who else sets routes on this interface, and how to make peace.
fn managers(device: &str, index: u32) -> Vec<String> {
    let mut found = Vec::new();
    let text = |path: &str| {
        let text = files::read_start(path, 1 << 16).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    };
    let has = |path: String, word: &str| text(&path).lines().any(|l| l == word);
    if has(format!("/run/systemd/netif/links/{index}"), "ADMIN_STATE=configured") {
        // networkd.conf(5): the file, then the drop-ins, of whatever directory, by their names.
        let directories = ["/usr/lib/systemd", "/run/systemd", "/etc/systemd"];
        let mut lines: String =
            directories.iter().map(|d| text(&format!("{d}/networkd.conf")) + "\n").collect();
        for directory in directories.map(|d| format!("{d}/networkd.conf.d")) {
            let names = files::names(&directory);
            lines.extend(names.iter().map(|name| text(&format!("{directory}/{name}")) + "\n"));
        }
        let left_alone = |key: &str| {
            let mut values = lines
                .lines()
                .filter_map(|l| l.trim().strip_prefix(key)?.trim_start().strip_prefix('='));
            values
                .next_back()
                .is_some_and(|v| matches!(v.trim(), "no" | "false" | "off" | "0" | "n" | "f"))
        };
        if !left_alone("ManageForeignRoutes") || !left_alone("ManageForeignRoutingPolicyRules") {
            found.push(format!(
                "systemd-networkd manages {device} and removes routes and rules that are not its own: set \
                 ManageForeignRoutes=no and ManageForeignRoutingPolicyRules=no in /etc/systemd/networkd.conf"
            ));
        }
    }
    if has(format!("/run/NetworkManager/devices/{index}"), "managed=true") {
        found.push(format!(
            "NetworkManager manages {device} and sets a default route of its own there: nmcli connection modify NAME \
             ipv4.never-default yes"
        ));
    }
    found
}

/// What the kernel thinks of the gateways.
pub(super) fn note_neighbours(
    requests: &mut Requests,
    picture: &Picture,
    ways: &mut [&mut PathEvidence],
) {
    let Ok(neighbours) = requests.neighbours() else { return };
    for way in ways {
        let Some(gateway) = &mut way.gateway else { continue };
        let of = |n: &&crate::kernel::news::Neighbour| {
            n.address == gateway.address && device(picture, n.index) == way.device
        };
        gateway.neighbour = match neighbours.iter().find(of) {
            Some(n) if n.answers => NeighbourState::Answers,
            Some(n) if n.silent => NeighbourState::Silent,
            _ => NeighbourState::Unknown,
        };
    }
}
