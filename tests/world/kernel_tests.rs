//! What the kernel in memory does for imon, which no real one is needed for.

use std::net::{IpAddr, Ipv4Addr};

use imon::kernel::{Change, Link, Picture};
use imon::routing::{GatewaySource, LinkState, Policy, RoutingView, Uplink};
use libtest_mimic::Trial;

use crate::kernel::{self, Address, Flow, Heard, Hop, Kernel, Kind, Mode, Route, scope};

pub fn tests() -> Vec<Trial> {
    let tests: [(&str, fn()); 4] = [
        ("kernel::what_imon_plans_leads_packets_where_it_wants_them", planned),
        ("kernel::the_picture_that_follows_the_news_is_the_one_that_is_looked_at", followed),
        ("kernel::news_that_do_not_fit_are_an_overrun", overrun),
        ("kernel::a_list_that_changes_while_it_is_written_is_asked_for_again", interrupted),
    ];
    let trial = |(name, test): (&str, fn())| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    tests.into_iter().map(trial).collect()
}

const GATEWAYS: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 168, 42, 1), Ipv4Addr::new(192, 168, 62, 1)];
const OUT_THERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 200);

/// A router with a LAN and two networks to the internet.
fn router() -> (Kernel, Policy) {
    let mut kernel = Kernel::new();
    for (index, name, c) in [(2, "lan0", 92), (3, "wan0", 42), (4, "wan1", 62)] {
        let link = Link { index, name: name.into(), ..Link::default() };
        kernel.add_link(link, true).unwrap();
        kernel.add_address(&Address::of(index, [192, 168, c, 2])).unwrap();
        kernel.set_up(index, true).unwrap();
    }
    let wan = |n: usize| Uplink {
        device: format!("wan{n}"),
        gateway: GatewaySource::Fixed(GATEWAYS[n]),
        targets: Vec::new(),
        remembered: None,
    };
    (kernel, Policy::new("test", vec![wan(0), wan(1)], 201))
}

fn look(kernel: &mut Kernel) -> Picture {
    let mut picture = Picture::default();
    kernel.look(&mut picture);
    picture
}

fn follow(kernel: &mut Kernel, policy: &Policy, chosen: usize) {
    let picture = look(kernel);
    for change in policy.changes(Some(chosen), &RoutingView::from(&picture)) {
        kernel.make(&change).unwrap();
    }
    let picture = look(kernel);
    assert_eq!(
        policy.changes(Some(chosen), &RoutingView::from(&picture)),
        [],
        "there is an end to it"
    );
}

fn planned() {
    let (mut kernel, policy) = router();
    let foreign = Route { metric: 5, protocol: 16, ..default(2, Ipv4Addr::new(192, 168, 92, 254)) };
    kernel.add_route(&foreign, Mode::ADD).unwrap();
    let from = |address: [u8; 4]| Flow { from: Some(address.into()), ..Flow::to(OUT_THERE.into()) };
    for chosen in [0, 1, 0] {
        follow(&mut kernel, &policy, chosen);
        let way = kernel.way_to(OUT_THERE).unwrap();
        assert_eq!(
            (way.table, way.hop().unwrap().gateway),
            (policy.table(), Some(GATEWAYS[chosen]))
        );
        // A client in the LAN takes the same way.
        let client = Flow { incoming: 2, ..from([192, 168, 92, 77]) };
        assert_eq!(kernel.way(&client).unwrap_err(), libc::EHOSTUNREACH, "this is no router yet");
        kernel.settings.forwarding = true;
        assert_eq!(kernel.way(&client).unwrap().index, 3 + chosen as u32);
        kernel.settings.forwarding = false;
        assert_eq!(kernel.way_to(Ipv4Addr::new(192, 168, 92, 10)).unwrap().hop().unwrap().index, 2);
    }
    assert!(
        kernel.routes4().iter().any(|r| r.metric == 5 && r.protocol == 16),
        "what belongs to others stays"
    );
    // A cable that is out keeps the route, a link that is set down does not.
    kernel.set_plugged(3, false);
    assert_eq!(kernel.way_to(OUT_THERE).unwrap().hop().unwrap().index, 3);
    let picture = look(&mut kernel);
    assert_eq!(policy.state(0, &RoutingView::from(&picture)), Some(LinkState::NoCarrier));
    kernel.set_up(3, false).unwrap();
    assert_eq!(kernel.way_to(OUT_THERE).unwrap().hop().unwrap().index, 2);
    let Some(Change::Replace(again)) =
        policy.changes(Some(1), &RoutingView::from(&look(&mut kernel))).first().cloned()
    else {
        panic!("the default is set again");
    };
    kernel.remove_address(&Address::of(4, [192, 168, 62, 2])).unwrap();
    assert_eq!(kernel.make(&Change::Replace(again)), Ok(()), "it is said to be on the link");
}

fn default(index: u32, gateway: Ipv4Addr) -> Route {
    let hop = Hop { index, gateway: Some(gateway.into()), ..Hop::default() };
    Route {
        table: kernel::MAIN,
        destination: IpAddr::from([0; 4]),
        prefix: 0,
        tos: 0,
        metric: 0,
        kind: Kind::Unicast,
        scope: scope::UNIVERSE,
        protocol: 3,
        source: None,
        hops: vec![hop],
    }
}

fn followed() {
    let (mut kernel, policy) = router();
    let mut picture = look(&mut kernel);
    assert_eq!(kernel.hear(|_| {}), Heard::Fine);
    assert!(!kernel.has_news());
    for chosen in [0, 1, 1, 0] {
        follow(&mut kernel, &policy, chosen);
        assert_eq!(kernel.has_news(), picture != look(&mut kernel));
        assert_eq!(
            kernel.hear(|message| assert!(!picture.note(message), "nothing was lost on the way")),
            Heard::Fine
        );
        let mut now = look(&mut kernel);
        for picture in [&mut picture, &mut now] {
            picture.routes.sort_by_key(|r| (r.table, r.metric));
        }
        assert_eq!(picture, now);
    }
    // What goes with a link, the kernel does not tell.
    kernel.set_up(3, false).unwrap();
    let mut again = false;
    assert_eq!(kernel.hear(|message| again |= picture.note(message)), Heard::Fine);
    assert!(again);
    assert_ne!(picture, look(&mut kernel));
}

fn overrun() {
    let (mut kernel, policy) = router();
    assert_eq!(kernel.hear(|_| {}), Heard::Fine);
    kernel.ear.room = Some(3);
    follow(&mut kernel, &policy, 0);
    let mut heard = 0;
    assert!(kernel.has_news());
    assert_eq!(kernel.hear(|_| heard += 1), Heard::Overrun);
    assert_eq!(kernel.hear(|_| heard += 1), Heard::Fine);
    assert_eq!(heard, 3, "what there was room for comes after it");
    assert_eq!(kernel.hear(|_| heard += 1), Heard::Fine);
    assert_eq!(heard, 3);
}

fn interrupted() {
    let (mut kernel, policy) = router();
    follow(&mut kernel, &policy, 0);
    let picture = look(&mut kernel);
    kernel.ear.interruptions = 3;
    assert_eq!(look(&mut kernel), picture);
    assert_eq!(kernel.ear.interruptions, 0);
    // At the latest after the fifth time what there is has to do.
    kernel.ear.interruptions = usize::MAX;
    assert_ne!(look(&mut kernel), picture);
}
