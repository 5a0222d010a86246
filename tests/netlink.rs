//! What the kernel says about its network and what it is told, with the real kernel: each test runs
//! this program again in the router of a lab of its own.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code, not imon's core"
)]

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

use imon::engine::world::Delivery;
use imon::kernel::news::News;
use imon::kernel::{Change, Hop, MAIN, PROTOCOL, Picture, Route, Rule};
use imon::routing::{GatewaySource, LinkState, Policy, RoutingView, Uplink};
use imon::sys::netlink::{Events, Requests};
use imon::sys::poll::Poll;
use imon::sys::real::Real;
use imon_lab::Lab;
use libtest_mimic::{Arguments, Trial};

/// First argument of this program when it is to run a test's inside.
const INSIDE: &str = "--inside";
const SOON: Duration = Duration::from_secs(30);
/// The lab's addresses for the router's second link.
const GATEWAY1: Ipv4Addr = Ipv4Addr::new(192, 168, 42, 1);
const GATEWAY2: Ipv4Addr = Ipv4Addr::new(192, 168, 62, 1);

const INSIDES: [(&str, fn()); 8] = [
    ("s3_only_the_kernel_is_heard", only_the_kernel),
    ("the_picture_is_what_ip_shows", the_picture),
    ("a_default_is_replaced_in_one_step_and_leaves_no_second_one", replaced),
    ("what_is_already_so_is_no_error_and_what_cannot_be_comes_with_the_kernels_words", errors),
    ("changes_by_others_are_heard_at_once", heard),
    ("more_news_than_there_is_room_for_is_an_overrun_and_not_silence", overrun),
    ("the_kernel_says_which_way_packets_would_go", way),
    ("b12_b13_with_the_planned_routes_traffic_follows_the_choice_past_other_defaults", planned),
];

fn main() {
    imon_lab::roles::intercept();
    if std::env::args().nth(1).as_deref() == Some(INSIDE) {
        let name = std::env::args().nth(2).unwrap();
        INSIDES.iter().find(|(n, _)| *n == name).unwrap().1();
        return println!("done");
    }
    let trial = |(name, _): &(&'static str, fn())| {
        let name = *name;
        Trial::test(name, move || {
            let lab = Lab::new();
            let inside = lab.spawn("router", std::env::current_exe().unwrap(), [INSIDE, name]);
            inside.wait_line(|line| line == "done", SOON);
            assert!(inside.wait(SOON).success(), "{}", lab.timeline());
            Ok(())
        })
    };
    libtest_mimic::run(&Arguments::from_args(), INSIDES.iter().map(trial).collect()).exit();
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

fn look(requests: &mut Requests) -> Picture {
    let mut picture = Picture::default();
    requests.look(&mut picture).unwrap();
    picture
}

fn index(picture: &Picture, name: &str) -> u32 {
    picture.links.iter().find(|l| l.name == name).unwrap().index
}

fn default(metric: u32, gateway: Ipv4Addr, index: u32) -> Route {
    Route {
        table: MAIN,
        destination: Ipv4Addr::UNSPECIFIED,
        prefix: 0,
        metric,
        protocol: PROTOCOL,
        tos: 0,
        source: None,
        hops: vec![Hop { index, gateway: Some(gateway), onlink: false, dead: false }],
        nexthop: 0,
    }
}

fn the_picture() {
    ip("route add default via 192.168.62.1 metric 77 proto 171");
    ip("route add default via 192.168.62.1 table 4711");
    ip("rule add from 192.168.62.2 lookup 4711 pref 500 proto 171");
    let picture = look(&mut Requests::open().unwrap());
    let wan1 = picture.links.iter().find(|l| l.name == "wan1").unwrap();
    assert!(wan1.up && wan1.carrier && !wan1.point_to_point);
    let own = Ipv4Addr::new(192, 168, 42, 2);
    let address = picture.addresses.iter().find(|a| a.address == own).unwrap();
    assert_eq!(
        (address.index, address.prefix, address.local, address.secondary),
        (wan1.index, 24, false, false)
    );
    assert!(picture.routes.contains(&default(77, GATEWAY2, index(&picture, "wan2"))));
    assert!(
        picture
            .routes
            .iter()
            .any(|r| r.table == 4711 && r.hop().unwrap().gateway == Some(GATEWAY2))
    );
    assert!(picture.routes.iter().all(|r| r.prefix <= 3 || r.is_ours()), "{:?}", picture.routes);
    let rule = picture.rules.iter().find(|r| r.priority == 500).unwrap();
    assert_eq!(
        (rule.table, rule.protocol, rule.source),
        (4711, PROTOCOL, Some(Ipv4Addr::new(192, 168, 62, 2)))
    );
    let main = picture.rules.iter().find(|r| r.priority == 32766).unwrap();
    assert_eq!((main.table, main.source, main.suppress, main.special), (MAIN, None, None, false));
    assert_eq!(
        picture.defaults6.iter().filter(|d| d.hops[0].0 == wan1.index && d.table == MAIN).count(),
        1
    );
}

fn replaced() {
    let mut requests = Requests::open().unwrap();
    let picture = look(&mut requests);
    let routes = [
        default(201, GATEWAY1, index(&picture, "wan1")),
        default(201, GATEWAY2, index(&picture, "wan2")),
    ];
    for route in routes.iter().cycle().take(5) {
        requests.make(&Change::Replace(route.clone())).unwrap();
        let picture = look(&mut requests);
        let ours: Vec<_> = picture.routes.iter().filter(|r| r.is_ours()).collect();
        assert_eq!(ours, [route]);
    }
    let foreign =
        look(&mut requests).routes.iter().filter(|r| !r.is_ours() && r.table == MAIN).count();
    assert_eq!(foreign, 1, "the lab's own default is untouched");
}

fn errors() {
    let mut requests = Requests::open().unwrap();
    let wan1 = index(&look(&mut requests), "wan1");
    let route = default(201, GATEWAY1, wan1);
    let rule = Rule {
        priority: 22_010,
        table: MAIN,
        protocol: PROTOCOL,
        suppress: Some(0),
        ..Rule::default()
    };
    for change in [Change::AddRule(rule.clone()), Change::Replace(route.clone())] {
        requests.make(&change).unwrap();
        requests.make(&change).unwrap();
    }
    let picture = look(&mut requests);
    assert_eq!(picture.rules.iter().filter(|r| **r == rule).count(), 1);
    for change in [Change::RemoveRule(rule), Change::RemoveRoute(route)] {
        requests.make(&change).unwrap();
        requests.make(&change).unwrap();
    }
    let unreachable = default(201, Ipv4Addr::new(10, 99, 0, 1), wan1);
    let refused = requests.make(&Change::Replace(unreachable)).unwrap_err();
    assert_eq!(refused.in_words::<Real>(), "Network is unreachable (Nexthop has invalid gateway)");
    assert_eq!(look(&mut requests).routes.iter().filter(|r| r.is_ours()).count(), 0);
    assert_eq!(requests.link(wan1).unwrap().unwrap().name, "wan1");
    assert_eq!(requests.link(9_999).unwrap(), None);
}

/// Takes news into the picture until it is as wanted.
fn until(events: &mut Events, picture: &mut Picture, what: &str, so: impl Fn(&Picture) -> bool) {
    let deadline = Instant::now() + SOON / 2;
    while !so(picture) {
        assert!(Instant::now() < deadline, "not heard: {what}\n{picture:?}");
        let mut poll = Poll::default();
        poll.add((), events.fd());
        poll.wait(100).unwrap();
        assert_eq!(events.receive(|m| _ = picture.note(m)), Delivery::Complete);
    }
}

fn heard() {
    let mut events = Events::open().unwrap();
    let mut picture = look(&mut Requests::open().unwrap());
    let wan2 = index(&picture, "wan2");
    let is_up = move |p: &Picture| p.links.iter().any(|l| l.index == wan2 && l.up && l.carrier);
    ip("route add default via 192.168.62.1 metric 300");
    until(&mut events, &mut picture, "a new route", |p| p.routes.iter().any(|r| r.metric == 300));
    ip("route replace default via 192.168.42.1 metric 300");
    until(&mut events, &mut picture, "a replaced route", |p| {
        let routes: Vec<_> = p.routes.iter().filter(|r| r.metric == 300).collect();
        routes.len() == 1 && routes[0].hop().unwrap().gateway == Some(GATEWAY1)
    });
    ip("route del default via 192.168.42.1 metric 300");
    until(&mut events, &mut picture, "a removed route", |p| {
        !p.routes.iter().any(|r| r.metric == 300)
    });
    ip("rule add from 192.168.62.2 lookup 4711 pref 500");
    until(&mut events, &mut picture, "a new rule", |p| p.rules.iter().any(|r| r.priority == 500));
    ip("rule del pref 500");
    until(&mut events, &mut picture, "a removed rule", |p| {
        !p.rules.iter().any(|r| r.priority == 500)
    });
    ip("addr add 192.168.62.77/24 dev wan2");
    let new = Ipv4Addr::new(192, 168, 62, 77);
    until(&mut events, &mut picture, "an address", |p| {
        p.addresses.iter().any(|a| a.address == new && a.secondary)
    });
    ip("addr del 192.168.62.77/24 dev wan2");
    until(&mut events, &mut picture, "a removed address", |p| {
        !p.addresses.iter().any(|a| a.address == new)
    });
    ip("link set wan2 down");
    until(&mut events, &mut picture, "a link set down", |p| !is_up(p));
    ip("link set wan2 up");
    until(&mut events, &mut picture, "carrier", is_up);
    ip("link del wan2");
    until(&mut events, &mut picture, "a link that is gone", |p| {
        !p.links.iter().any(|l| l.index == wan2)
    });
}

/// Another process, which may be root's, sends to the socket's port and to the groups it listens
/// to.
#[allow(unsafe_code, reason = "there is no safe way to send to another process by netlink")]
fn only_the_kernel() {
    let mut events = Events::open().unwrap();
    let picture = look(&mut Requests::open().unwrap());
    let lo = picture.links.iter().find(|l| l.name == "lo").unwrap();
    // A message RTM_DELLINK about wan1: header of 16 bytes, interface of 16.
    let wan1 = index(&picture, "wan1");
    let head =
        [&32_u32.to_ne_bytes()[..], &libc::RTM_DELLINK.to_ne_bytes(), &[0; 10], &[0; 4]].concat();
    let message = [&head[..], &wan1.to_ne_bytes(), &[0; 8]].concat();
    // The ports of all sockets of this kind; the second column is the protocol, the third the port.
    let table = std::fs::read_to_string("/proc/self/net/netlink").unwrap();
    let ports = table.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words[1] == "0").then(|| words[2].parse::<u32>().ok()).flatten()
    });
    let ports: Vec<u32> = ports.filter(|port| *port != 0).collect();
    assert!(!ports.is_empty(), "{table}");
    let (mut taken, mut refused) = (0, 0);
    for (port, groups) in
        ports.iter().map(|port| (*port, 0)).chain((0..8).map(|bit| (0, 1_u32 << bit)))
    {
        // SAFETY: a structure of integers; the message and the address live through the call, their
        // lengths are given.
        let sent = unsafe {
            let mut to: libc::sockaddr_nl = std::mem::zeroed();
            (to.nl_family, to.nl_pid, to.nl_groups) =
                (libc::AF_NETLINK as libc::sa_family_t, port, groups);
            let socket = libc::socket(
                libc::AF_NETLINK,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                libc::NETLINK_ROUTE,
            );
            let length = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
            let sent = libc::sendto(
                socket,
                message.as_ptr().cast(),
                32,
                0,
                (&raw const to).cast(),
                length,
            );
            libc::close(socket);
            sent
        };
        if sent < 0 { refused += 1 } else { taken += 1 }
    }
    println!("{taken} messages sent, {refused} refused");
    assert!(refused > 0, "a connected socket refuses those of others");
    // What the kernel says behind them is heard, and they are not.
    ip("link set lo down");
    let deadline = Instant::now() + SOON / 2;
    let mut news: Vec<(u32, bool)> = Vec::new();
    while !news.iter().any(|(index, gone)| *index == lo.index && !*gone) {
        assert!(Instant::now() < deadline, "the kernel is not heard: {news:?}");
        let mut poll = Poll::default();
        poll.add((), events.fd());
        poll.wait(100).unwrap();
        events.receive(|message| match message.news {
            News::Link(link) => news.push((link.index, false)),
            News::NoLink(index) => news.push((index, true)),
            _ => {}
        });
    }
    assert!(!news.iter().any(|(_, gone)| *gone), "{news:?}");
}

fn overrun() {
    let mut events = Events::open().unwrap();
    let mut requests = Requests::open().unwrap();
    let wan1 = index(&look(&mut requests), "wan1");
    // Each is a message of some hundred bytes that takes a kilobyte of room.
    for metric in 1000..9000 {
        requests.make(&Change::Replace(default(metric, GATEWAY1, wan1))).unwrap();
    }
    let mut news = 0;
    let deadline = Instant::now() + SOON / 2;
    while events.receive(|_| news += 1) != Delivery::Overrun {
        assert!(Instant::now() < deadline, "{news} messages and no overrun");
    }
    let picture = look(&mut requests);
    assert_eq!(picture.routes.iter().filter(|r| r.is_ours()).count(), 8000);
}

fn way() {
    let mut requests = Requests::open().unwrap();
    let out_there = Ipv4Addr::new(198, 51, 100, 200);
    let route = requests.way(out_there).unwrap();
    assert_eq!((route.table, route.hop().unwrap().gateway), (MAIN, Some(GATEWAY1)));
    ip("route add default via 192.168.62.1 table 4711");
    ip("rule add lookup 4711 pref 500");
    let route = requests.way(out_there).unwrap();
    assert_eq!((route.table, route.hop().unwrap().gateway), (4711, Some(GATEWAY2)));
    ip("rule del pref 500");
    ip("route del default");
    assert_eq!(requests.way(out_there).unwrap_err().errno, libc::ENETUNREACH);
}

/// The plan, carried out by the real kernel.
fn planned() {
    let mut requests = Requests::open().unwrap();
    let wan = |device: &str, gateway| Uplink {
        device: device.into(),
        gateway: GatewaySource::Fixed(gateway),
        targets: Vec::new(),
        remembered: None,
    };
    let policy = Policy::new("main", vec![wan("wan1", GATEWAY1), wan("wan2", GATEWAY2)], 201);
    ip("route add default via 192.168.92.10 metric 5");
    ip("route add default via 192.168.62.1 metric 100 proto dhcp");
    let others =
        |p: &Picture| p.routes.iter().filter(|r| !r.is_ours()).cloned().collect::<Vec<_>>();
    let before = others(&look(&mut requests));
    for chosen in [0, 1, 0, 1] {
        let picture = look(&mut requests);
        assert!(matches!(
            policy.state(chosen, &RoutingView::from(&picture)),
            Some(LinkState::Ready(_))
        ));
        for change in policy.changes(Some(chosen), &RoutingView::from(&picture)) {
            requests.make(&change).unwrap();
        }
        let picture = look(&mut requests);
        assert_eq!(
            policy.changes(Some(chosen), &RoutingView::from(&picture)),
            [],
            "the kernel has what was planned"
        );
        let gateway = |r: Route| r.hop().unwrap().gateway;
        let way = requests.way(Ipv4Addr::new(198, 51, 100, 200)).unwrap();
        assert_eq!((way.table, gateway(way)), (policy.table(), Some([GATEWAY1, GATEWAY2][chosen])));
        assert_eq!(
            requests.way(Ipv4Addr::new(192, 168, 92, 10)).unwrap().table,
            MAIN,
            "the LAN is where it was"
        );
        assert_eq!(picture.routes.iter().filter(|r| r.is_ours() && r.table == MAIN).count(), 1);
    }
    let picture = look(&mut requests);
    for change in policy.farewell(true, &RoutingView::from(&picture)) {
        requests.make(&change).unwrap();
    }
    let after = look(&mut requests);
    assert_eq!(others(&after), before);
    assert!(
        !after.routes.iter().any(Route::is_ours)
            && !after.rules.iter().any(|r| r.protocol == PROTOCOL)
    );
}
