use super::*;
use crate::base::random::Random;
use crate::kernel::{Picture, TCP};

use self::world::router::{GW1, GW2, Packet, Router as Kernel, TUNNEL, WAN1, WAN2};

/// Linux's network in memory, which the simulated world has as well.
#[path = "../../tests/world"]
#[allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    reason = "tests have no other readers, and here a part is enough"
)]
mod world {
    pub mod kernel;
    pub mod router;
}

fn rule(priority: u32, table: u32) -> Rule {
    Rule { priority, table, protocol: 2, ..Rule::default() }
}

fn policy() -> Policy {
    let wan = |device: &str, gateway| Uplink {
        device: device.into(),
        gateway: GatewaySource::Fixed(gateway),
        targets: Vec::new(),
        remembered: None,
    };
    Policy::new("main", vec![wan("wan1", GW1), wan("wan2", GW2)], 201)
}

fn foreign(protocol: u8, metric: u32, index: u32, gateway: Ipv4Addr) -> Route {
    let hops = vec![Hop { index, gateway: Some(gateway), onlink: false, dead: false }];
    Route {
        table: MAIN,
        destination: Ipv4Addr::UNSPECIFIED,
        prefix: 0,
        metric,
        protocol,
        tos: 0,
        source: None,
        hops,
        nexthop: 0,
    }
}

#[test]
fn each_wan_has_its_table_and_all_else_follows_the_choice() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.follow(&policy, Some(0));
    assert_eq!(kernel.way(None), Some(3));
    assert_eq!(
        kernel.way(Some(Ipv4Addr::new(192, 168, 62, 2))),
        Some(4),
        "a probe of the other WAN leaves by it"
    );
    assert_eq!(
        kernel.follow(&policy, Some(1)),
        2,
        "a switch is one message for each of the two tables"
    );
    assert_eq!(kernel.way(None), Some(4));
    assert_eq!(kernel.ours(MAIN), 1);
}

#[test]
fn before_the_first_choice_nothing_is_led_anywhere_but_probes() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.add(&foreign(4, 0, 2, Ipv4Addr::new(192, 168, 92, 254)));
    kernel.follow(&policy, None);
    assert_eq!((kernel.way(None), kernel.ours(MAIN)), (Some(2), 0));
    assert_eq!(kernel.way(Some(Ipv4Addr::new(192, 168, 42, 2))), Some(3));
}

#[test]
fn b12_b13_b15_defaults_of_others_neither_win_nor_are_touched() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    let others = [
        foreign(3, 0, 2, Ipv4Addr::new(192, 168, 92, 254)),
        foreign(16, 100, 4, GW2),
        foreign(16, 50, 3, GW1),
    ];
    kernel.add_all(&others.clone());
    for chosen in [0, 1, 0] {
        kernel.follow(&policy, Some(chosen));
        assert_eq!(kernel.way(None), Some([3, 4][chosen]));
    }
    assert!(others.iter().all(|r| kernel.routes.contains(r)));
    let metric = |r: Option<&Route>| r.map(|r| r.metric);
    assert_eq!(metric(policy.rival(&kernel.view())), Some(0), "it would win without the rules");
}

#[test]
fn b11_what_somebody_removed_comes_back() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.follow(&policy, Some(0));
    let whole = kernel.clone();
    kernel.keep_routes(|r| r.table != MAIN);
    assert_eq!(kernel.follow(&policy, Some(0)), 1);
    kernel.keep_rules(|r| r.protocol != PROTOCOL);
    kernel.follow(&policy, Some(0));
    assert_eq!(kernel.rules, whole.rules);
}

#[test]
fn b44_after_a_kill_everything_is_adopted() {
    let (mut kernel, first) = (Kernel::new(), policy());
    kernel.follow(&first, Some(1));
    let again = policy();
    assert_eq!(again.adopted(&kernel.view()), Some(1));
    assert_eq!(kernel.follow(&again, Some(1)), 0);
}

#[test]
fn a_default_of_v2_99_is_taken_over_whatever_made_it() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.add(&foreign(3, 201, 4, GW2));
    assert_eq!(policy.adopted(&kernel.view()), Some(1));
    kernel.follow(&policy, Some(0));
    assert_eq!(kernel.routes.iter().filter(|r| r.table == MAIN).count(), 1);
}

#[test]
fn a_foreign_default_at_our_metric_stays_and_we_use_the_next_free_one() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    let others = [(201, 254), (202, 253)]
        .map(|(metric, last)| foreign(4, metric, 2, Ipv4Addr::new(192, 168, 92, last)));
    kernel.add_all(&others.clone());
    kernel.follow(&policy, Some(0));
    assert!(others.iter().all(|r| kernel.routes.contains(r)));
    assert!(kernel.routes.iter().any(|r| r.is_ours() && r.table == MAIN && r.metric == 203));
    kernel.keep_routes(|r| !others.contains(r));
    kernel.follow(&policy, Some(0));
    assert_eq!(kernel.ours(MAIN), 1, "back at the configured one, and the other is gone");
}

#[test]
fn b9_a_new_address_gets_its_rule_and_the_old_one_goes() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.follow(&policy, Some(0));
    let new = Ipv4Addr::new(192, 168, 42, 77);
    kernel.set_address(WAN1, Some(new));
    kernel.follow(&policy, Some(0));
    let from: Vec<_> = kernel.rules.iter().filter_map(|r| r.source).collect();
    assert_eq!(from.iter().filter(|a| **a == new).count(), 3);
    assert!(!from.contains(&Ipv4Addr::new(192, 168, 42, 2)));
}

#[test]
fn b17_b18_a_wan_without_interface_or_address_has_no_road_and_takes_none_away() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    assert_eq!(policy.state(7, &kernel.view()), None);
    kernel.follow(&policy, Some(0));
    kernel.plug(WAN1, false);
    assert_eq!(policy.state(0, &kernel.view()), Some(LinkState::NoCarrier));
    assert_eq!(kernel.follow(&policy, Some(0)), 0, "the last road stays");
    assert_eq!(kernel.way(None), Some(3));
    kernel.set_up(WAN1, false);
    assert_eq!(policy.state(0, &kernel.view()), Some(LinkState::Down));
    kernel.set_up(WAN1, true);
    kernel.plug(WAN1, true);
    kernel.set_address(WAN1, None);
    assert_eq!(policy.state(0, &kernel.view()), Some(LinkState::NoAddress));
    kernel.change(|kernel| kernel.remove_link(WAN1).unwrap());
    assert_eq!(policy.state(0, &kernel.view()), Some(LinkState::Missing));
}

#[test]
fn a_link_local_address_is_none() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.set_address(WAN1, Some(Ipv4Addr::new(169, 254, 3, 4)));
    assert_eq!(policy.state(0, &kernel.view()), Some(LinkState::NoAddress));
}

#[test]
fn an_interface_that_comes_back_under_another_number_is_followed() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.follow(&policy, Some(0));
    kernel.change_link(WAN1, |link| link.index = 9);
    kernel.follow(&policy, Some(0));
    assert_eq!(kernel.way(None), Some(9));
}

#[test]
fn an_automatic_gateway_is_learnt_from_whoever_set_it_and_kept_meanwhile() {
    let mut kernel = Kernel::new();
    let policy = Policy::new(
        "main",
        vec![Uplink {
            device: "wan1".into(),
            gateway: GatewaySource::Auto,
            targets: Vec::new(),
            remembered: None,
        }],
        201,
    );
    assert_eq!(policy.state(0, &kernel.view()), Some(LinkState::NoGateway));
    let mut dhcp = foreign(16, 1002, 3, GW1);
    dhcp.table = 77;
    kernel.add(&dhcp);
    kernel.follow(&policy, Some(0));
    let gateway = |kernel: &Kernel| match policy.state(0, &kernel.view()) {
        Some(LinkState::Ready(road)) => road.gateway,
        other => panic!("{other:?}"),
    };
    assert_eq!(gateway(&kernel), Some(GW1));
    kernel.keep_routes(Route::is_ours);
    assert_eq!(gateway(&kernel), Some(GW1), "the client renews");
    let changed = Ipv4Addr::new(192, 168, 42, 254);
    kernel.add(&foreign(16, 1002, 3, changed));
    assert_eq!(gateway(&kernel), Some(changed));
}

#[test]
fn a_point_to_point_link_needs_no_gateway() {
    let mut kernel = Kernel::new();
    kernel.change_link(WAN1, |link| link.point_to_point = true);
    let policy = Policy::new(
        "main",
        vec![Uplink {
            device: "wan1".into(),
            gateway: GatewaySource::Auto,
            targets: Vec::new(),
            remembered: None,
        }],
        201,
    );
    kernel.follow(&policy, Some(0));
    assert_eq!(kernel.way(None), Some(3));
}

#[test]
fn a_gateway_outside_the_links_network_is_declared_to_be_on_the_link() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.set_address(WAN1, Some(Ipv4Addr::new(10, 0, 0, 2)));
    kernel.follow(&policy, Some(0));
    let onlink = |kernel: &Kernel, main| {
        let routes = kernel.routes.iter().filter(|route| (route.table == MAIN) == main);
        routes.filter_map(Route::hop).map(|hop| hop.onlink).collect::<Vec<_>>()
    };
    assert_eq!(onlink(&kernel, true), [true]);
    kernel.follow(&policy, Some(1));
    assert_eq!(onlink(&kernel, true), [false], "main has the network of the other gateway");
    assert!(onlink(&kernel, false).into_iter().all(|it| it), "our own tables have no network");
}

#[test]
fn a_vpn_that_wants_everything_is_not_led_around() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.follow(&policy, Some(0));
    kernel.add_tunnel();
    kernel.add(&foreign(3, 50, 20, Ipv4Addr::new(10, 8, 0, 1)));
    kernel.follow(&policy, Some(0));
    assert_eq!(kernel.way(None), Some(20));
    assert_eq!(
        kernel.way(Some(Ipv4Addr::new(192, 168, 42, 2))),
        Some(3),
        "the WANs are still probed through themselves"
    );
    kernel.keep_routes(|r| r.metric != 50);
    kernel.follow(&policy, Some(0));
    assert_eq!(kernel.way(None), Some(3));
}

#[test]
fn two_instances_do_not_touch_what_is_the_others() {
    let mut kernel = Kernel::new();
    let one = |name: &str, device: &str, gateway, metric| {
        Policy::new(
            name,
            vec![Uplink {
                device: device.into(),
                gateway: GatewaySource::Fixed(gateway),
                targets: Vec::new(),
                remembered: None,
            }],
            metric,
        )
    };
    let (a, b) = (one("a", "wan1", GW1, 201), one("b", "wan2", GW2, 300));
    kernel.follow(&a, Some(0));
    kernel.follow(&b, Some(0));
    assert_eq!(kernel.follow(&a, Some(0)), 0);
    assert_eq!(kernel.way(None), Some(3), "the lower metric wins, as among routes");
    for change in a.farewell(true, &kernel.view()) {
        kernel.make(&change).unwrap();
    }
    assert_eq!(kernel.follow(&b, Some(0)), 0);
    assert_eq!(kernel.way(None), Some(4));
}

#[test]
fn at_the_end_tables_and_rules_go_and_the_default_stays_or_goes() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    let other = foreign(16, 100, 4, GW2);
    kernel.add(&other.clone());
    kernel.follow(&policy, Some(0));
    let mut kept = kernel.clone();
    for change in policy.farewell(false, &kernel.view()) {
        kept.make(&change).unwrap();
    }
    assert_eq!((kept.rules.len(), kept.ours(MAIN), kept.ours(policy.table())), (3, 1, 0));
    for change in policy.farewell(true, &kernel.view()) {
        kernel.make(&change).unwrap();
    }
    assert_eq!(kernel.routes, [other]);
}

/// Whatever happens, and in whatever order: what is others' is as it was, there is at most one
/// default of ours in main, and it never goes.
#[test]
fn random_weather_never_costs_the_default_nor_anything_of_others() {
    let mut random = Random(7);
    for _ in 0..300 {
        let (mut kernel, policy) = (Kernel::new(), policy());
        let mut others: Vec<Route> = Vec::new();
        let (mut chosen, mut plugged, mut up) = (None, [true; 2], [true; 2]);
        for _ in 0..60 {
            let wan = random.below(2) as usize;
            let link = [WAN1, WAN2][wan];
            match random.below(8) {
                0 => {
                    plugged[wan] ^= true;
                    kernel.plug(link, plugged[wan]);
                }
                1 => {
                    up[wan] ^= true;
                    kernel.set_up(link, up[wan]);
                }
                2 => {
                    let address =
                        Ipv4Addr::new(192, 168, [42, 62][wan], 2 + random.below(50) as u8);
                    kernel.set_address(link, Some(address));
                }
                3 => {
                    let route = foreign(
                        16,
                        199 + random.below(5) as u32,
                        2,
                        Ipv4Addr::new(192, 168, 92, 250 + random.below(4) as u8),
                    );
                    if !kernel.routes.iter().any(|r| r.table == MAIN && r.metric == route.metric) {
                        others.push(route.clone());
                        kernel.add(&route);
                    }
                }
                4 => {
                    kernel.keep_routes(|r| !r.is_ours() || r.table != MAIN || random.below(2) == 0)
                }
                5 => kernel.keep_rules(|r| r.protocol != PROTOCOL || random.below(2) == 0),
                _ => {
                    let ready =
                        matches!(policy.state(wan, &kernel.view()), Some(LinkState::Ready(_)));
                    chosen = if ready { Some(wan) } else { chosen };
                }
            }
            kernel.follow(&policy, chosen);
            assert!(others.iter().all(|r| kernel.routes.contains(r)));
            assert!(kernel.ours(MAIN) <= 1);
            if chosen.is_some_and(|w| {
                matches!(policy.state(w, &kernel.view()), Some(LinkState::Ready(_)))
            }) {
                assert_eq!(kernel.ours(MAIN), 1);
                assert_eq!(kernel.way(None), Some([3, 4][chosen.unwrap_or(0)]));
            }
        }
    }
}

const LAN: Option<Ipv4Addr> = Some(Ipv4Addr::new(192, 168, 92, 50));

/// A set of rules and routes as others make them, and by which interface packets of a LAN host
/// leave with it beside our choice: unmarked ones, and those that it singles out.
struct Set {
    name: &'static str,
    /// In the order in which they are added; of preference 0: without one.
    rules: Vec<Rule>,
    routes: Vec<Route>,
    /// `None`: by the chosen network.
    others: Option<u32>,
    singled_out: Option<(Packet, u32)>,
}

/// The address of a link.
fn own(kernel: &Kernel, index: u32) -> Ipv4Addr {
    kernel.addresses.iter().find(|a| a.index == index).unwrap().address
}

fn table(table: u32, route: Route) -> Route {
    Route { table, ..route }
}

fn to(destination: [u8; 4], prefix: u8, route: Route) -> Route {
    Route { destination: destination.into(), prefix, ..route }
}

fn sets() -> Vec<Set> {
    let tunnel = |metric| foreign(3, metric, TUNNEL, Ipv4Addr::new(10, 8, 0, 1));
    let (wan1, wan2) = (foreign(4, 0, 3, GW1), foreign(4, 0, 4, GW2));
    let nowhere = |metric| Route { hops: Vec::new(), ..tunnel(metric) };
    let unmarked =
        |priority, table| Rule { inverted: true, special: true, ..rule(priority, table) };
    let marked = |priority, table| Rule { special: true, ..rule(priority, table) };
    let main_only = |priority| Rule { suppress: Some(0), ..rule(priority, MAIN) };
    let from = |priority, table, last| Rule {
        source: Some(Ipv4Addr::new(192, 168, 92, last)),
        source_length: 32,
        ..rule(priority, table)
    };
    let host = Packet { source: LAN, protocol: TCP, ..Packet::default() };
    let with_mark = Packet { mark: 0x80000, ..host };
    let half = |first, route| to([first, 0, 0, 0], 1, route);
    let set = |name, rules, routes, others| Set { name, rules, routes, others, singled_out: None };
    let single = |set, packet, way| Set { singled_out: Some((packet, way)), ..set };
    vec![
        set("nothing", vec![], vec![], None),
        set(
            "wg-quick",
            vec![unmarked(0, 51820), main_only(0)],
            vec![table(51820, tunnel(0))],
            Some(TUNNEL),
        ),
        set(
            "wg-quick by hand",
            vec![unmarked(32765, 51820), main_only(32764)],
            vec![table(51820, tunnel(0))],
            Some(TUNNEL),
        ),
        single(
            set(
                "a client in a tunnel",
                vec![from(30000, 200, 50)],
                vec![table(200, tunnel(0))],
                None,
            ),
            host,
            TUNNEL,
        ),
        single(
            set(
                "a client on wan2",
                vec![from(30000, 201, 50)],
                vec![table(201, wan2.clone())],
                None,
            ),
            host,
            4,
        ),
        single(
            set(
                "Tailscale",
                vec![marked(5210, MAIN), rule(5270, 52)],
                vec![foreign(16, 100, 3, GW1)],
                None,
            ),
            with_mark,
            3,
        ),
        single(
            set("pbr", vec![marked(29999, 256)], vec![table(256, wan2.clone())], None),
            with_mark,
            4,
        ),
        single(
            set("mwan3", vec![marked(2001, 1)], vec![table(1, wan1.clone())], None),
            with_mark,
            3,
        ),
        set(
            "NetworkManager's VPN",
            vec![unmarked(31000, 52000), main_only(30999)],
            vec![table(52000, tunnel(0))],
            Some(TUNNEL),
        ),
        set(
            "tables of two uplinks",
            vec![from(100, 101, 2), from(101, 102, 3)],
            vec![table(101, wan1.clone()), table(102, wan2)],
            None,
        ),
        set("everybody over wan1", vec![rule(100, 100)], vec![table(100, wan1.clone())], None),
        set(
            "everybody over wan1, without a preference",
            vec![rule(0, 100)],
            vec![table(100, wan1.clone())],
            None,
        ),
        set(
            "everybody, behind a tunnel",
            vec![unmarked(90, 51820), rule(100, 100)],
            vec![table(51820, tunnel(0)), table(100, wan1.clone())],
            Some(TUNNEL),
        ),
        set("main first", vec![rule(10, MAIN)], vec![wan1.clone()], None),
        set(
            "a kill switch",
            vec![Rule { nowhere: true, table: 0, ..rule(32700, 0) }],
            vec![],
            Some(0),
        ),
        set(
            "a kill switch behind a tunnel in main",
            vec![],
            vec![tunnel(50), nowhere(100)],
            Some(TUNNEL),
        ),
        set("a black hole in main", vec![], vec![nowhere(100), foreign(16, 300, 3, GW1)], Some(0)),
        set("a black hole in main of a metric above ours", vec![], vec![nowhere(9999)], Some(0)),
        set("a black hole in main of the highest metric", vec![], vec![nowhere(u32::MAX)], None),
        set(
            "a black hole for what has no hosts",
            vec![],
            vec![to([224, 0, 0, 0], 3, nowhere(0))],
            None,
        ),
        set(
            "a table with a black hole for what has no hosts",
            vec![rule(900, 700)],
            vec![table(700, to([224, 0, 0, 0], 3, nowhere(0))), table(700, wan1.clone())],
            None,
        ),
        set("a tunnel in main", vec![], vec![tunnel(50), foreign(16, 100, 3, GW1)], Some(TUNNEL)),
        set(
            "a tunnel in main behind our metric",
            vec![],
            vec![tunnel(300), foreign(16, 1000, 3, GW1)],
            Some(TUNNEL),
        ),
        set(
            "halves by a tunnel",
            vec![],
            vec![half(0, tunnel(0)), half(128, tunnel(0))],
            Some(TUNNEL),
        ),
        set("halves over wan1", vec![], vec![half(0, wan1.clone()), half(128, wan1.clone())], None),
        set(
            "quarters over wan1",
            vec![],
            vec![to([0; 4], 2, wan1.clone()), to([64, 0, 0, 0], 2, wan1.clone())],
            None,
        ),
        set(
            "a stray default of the LAN",
            vec![],
            vec![foreign(3, 0, 2, Ipv4Addr::new(192, 168, 92, 254))],
            None,
        ),
        set(
            "the last place before main",
            vec![rule(32765, 100)],
            vec![table(100, tunnel(0))],
            Some(TUNNEL),
        ),
        set(
            "everybody at the last place",
            vec![rule(32765, 100)],
            vec![table(100, wan1.clone())],
            None,
        ),
        set(
            "both halves of a tunnel in a table",
            vec![rule(500, 77)],
            vec![table(77, half(0, tunnel(0))), table(77, half(128, tunnel(0)))],
            Some(TUNNEL),
        ),
        set("the first preference there is", vec![rule(1, 100)], vec![table(100, wan1)], Some(3)),
    ]
}

/// Every set of rules comes before imon and after it; it goes; imon goes.
#[test]
fn v1_what_leads_elsewhere_is_never_led_around_whoever_comes_first() {
    for set in sets() {
        for first in [true, false] {
            for chosen in [0, 1] {
                let (mut kernel, policy) = (Kernel::new(), policy());
                kernel.add_tunnel();
                if !first {
                    kernel.follow(&policy, Some(chosen));
                }
                kernel.add_all(&set.routes.clone());
                for rule in &set.rules {
                    if rule.priority == 0 {
                        kernel.add_rule_first(rule)
                    } else {
                        kernel.add_rule(rule)
                    }
                }
                kernel.follow(&policy, Some(chosen));
                let context = format!(
                    "{}, {}, network {chosen}: {:#?}",
                    set.name,
                    if first { "before" } else { "after" },
                    kernel.rules.iter().map(ToString::to_string).collect::<Vec<_>>()
                );
                let by_choice = [3, 4][chosen];
                let expected = set.others.unwrap_or(by_choice);
                let packet = Packet {
                    source: Some(Ipv4Addr::new(192, 168, 92, 9)),
                    protocol: TCP,
                    ..Packet::default()
                };
                assert_eq!(kernel.way_of(packet).unwrap_or(0), expected, "{context}");
                if let Some((packet, way)) = set.singled_out {
                    assert_eq!(kernel.way_of(packet), Some(way), "{context}");
                }
                assert_eq!(kernel.follow(&policy, Some(chosen)), 0, "{context}");
                for change in policy.farewell(true, &kernel.view()) {
                    kernel.make(&change).unwrap();
                    let now = kernel.way_of(packet).unwrap_or(0);
                    let elsewhere = set.others.is_some_and(|way| way != 3);
                    assert!(!elsewhere || now == expected, "{context}: after {change}");
                }
                assert!(!kernel.rules.iter().any(|r| r.protocol == PROTOCOL), "{context}");
            }
        }
    }
}

#[test]
fn v10_a_network_without_a_default_is_told_to_lack_a_metric_only_where_the_others_has_none() {
    let wan = |device: &str| Uplink {
        device: device.into(),
        gateway: GatewaySource::Auto,
        targets: Vec::new(),
        remembered: None,
    };
    let policy = Policy::new("main", vec![wan("wan1"), wan("wan2")], 201);
    for (metric, lacks) in [(0, true), (200, false)] {
        let mut kernel = Kernel::new();
        kernel.keep_routes(|r| !r.is_default());
        kernel.add(&foreign(16, metric, 4, GW2));
        assert_eq!(policy.state(0, &kernel.view()), Some(LinkState::NoGateway));
        assert_eq!(policy.lacks_metric(0, &kernel.view()), lacks, "metric {metric}");
    }
}

#[test]
fn v1_a_tunnel_in_main_that_goes_leaves_its_traffic_to_the_black_hole_behind_it() {
    let nowhere = |metric| Route {
        hops: Vec::new(),
        ..foreign(3, metric, TUNNEL, Ipv4Addr::new(10, 8, 0, 1))
    };
    for (black_hole, then) in [(100, None), (9999, None), (u32::MAX, Some(3))] {
        let (mut kernel, policy) = (Kernel::new(), policy());
        kernel.add_tunnel();
        let tunnel = foreign(3, 50, TUNNEL, Ipv4Addr::new(10, 8, 0, 1));
        kernel.add_all(&[tunnel.clone(), nowhere(black_hole)]);
        kernel.follow(&policy, Some(0));
        kernel.keep_routes(|r| *r != tunnel);
        assert_eq!(
            kernel.way(LAN).filter(|way| *way != 0),
            then,
            "black hole of metric {black_hole}: in the same moment"
        );
        // imon has been stopped, and its default in main stays.
        for change in policy.farewell(false, &kernel.view()) {
            kernel.make(&change).unwrap();
        }
        assert_eq!(
            kernel.way(LAN).filter(|way| *way != 0),
            then,
            "black hole of metric {black_hole}: without imon"
        );
    }
}

#[test]
fn v1_a_change_that_is_cut_short_anywhere_leaks_nothing_and_is_finished_later() {
    for set in sets() {
        let (mut kernel, policy) = (Kernel::new(), policy());
        kernel.add_tunnel();
        kernel.follow(&policy, Some(0));
        kernel.add_all(&set.routes.clone());
        for rule in &set.rules {
            if rule.priority == 0 { kernel.add_rule_first(rule) } else { kernel.add_rule(rule) }
        }
        let packet = Packet {
            source: Some(Ipv4Addr::new(192, 168, 92, 9)),
            protocol: TCP,
            ..Packet::default()
        };
        let changes = policy.changes(Some(0), &kernel.view());
        for cut in 0..changes.len() {
            let mut kernel = kernel.clone();
            let mut inside = kernel.way_of(packet) == Some(TUNNEL);
            for change in &changes[..cut] {
                kernel.make(change).unwrap();
                assert!(
                    !inside || kernel.way_of(packet) == Some(TUNNEL),
                    "{}: after {change}",
                    set.name
                );
                inside = kernel.way_of(packet) == Some(TUNNEL);
            }
            kernel.follow(&policy, Some(0));
            assert_eq!(
                kernel.way_of(packet).unwrap_or(0),
                set.others.unwrap_or(3),
                "{}, cut after {cut}",
                set.name
            );
        }
    }
}

#[test]
fn v1_what_it_means_is_said_of_each() {
    let kinds = |name: &str| {
        let (mut kernel, policy) = (Kernel::new(), policy());
        kernel.add_tunnel();
        let set = sets().into_iter().find(|set| set.name == name).unwrap();
        kernel.add_all(&set.routes);
        set.rules.into_iter().for_each(|rule| kernel.add_rule(&rule));
        kernel.follow(&policy, Some(0));
        policy.beside(&kernel.view()).into_iter().map(|b| (b.kind, b.wan)).collect::<Vec<_>>()
    };
    assert_eq!(kinds("nothing"), []);
    assert_eq!(kinds("wg-quick by hand"), [(BesideKind::Yielded, None)]);
    assert_eq!(kinds("a client on wan2"), [(BesideKind::Narrow, Some(1))]);
    assert_eq!(kinds("a client in a tunnel"), []);
    assert_eq!(kinds("Tailscale"), [(BesideKind::Narrow, Some(0))]);
    assert_eq!(kinds("everybody over wan1"), [(BesideKind::Overtaken, Some(0))]);
    assert_eq!(kinds("the first preference there is"), [(BesideKind::First, Some(0))]);
    assert_eq!(kinds("a tunnel in main"), [(BesideKind::Yielded, None)]);
    assert_eq!(
        kinds("halves by a tunnel"),
        [(BesideKind::Yielded, None), (BesideKind::Yielded, None)]
    );
    assert_eq!(
        kinds("halves over wan1"),
        [(BesideKind::Overtaken, None), (BesideKind::Overtaken, None)]
    );
    assert_eq!(kinds("a stray default of the LAN"), [(BesideKind::Overtaken, None)]);
}

#[test]
fn v4_two_networks_with_one_address_are_told_apart_by_what_is_probed() {
    let (mut kernel, mut policy) = (Kernel::new(), policy());
    let same = own(&kernel, WAN1);
    kernel.set_address(WAN2, Some(same));
    assert_eq!(
        (policy.twin(0, &kernel.view()), policy.twin(1, &kernel.view())),
        (None, Some(0)),
        "said of one"
    );
    policy.set_targets(0, vec![probed(1), probed(3)]);
    policy.set_targets(1, vec![probed(2), probed(3)]);
    kernel.follow(&policy, Some(1));
    let source = Some(same);
    assert_eq!(kernel.way(source), Some(4), "its own connections follow the choice");
    let probe =
        |last| Packet { to: Some(probed(last).address), source, protocol: 1, ..Packet::default() };
    assert_eq!((kernel.way_of(probe(1)), kernel.way_of(probe(2))), (Some(3), Some(4)));
    let devices: Vec<_> =
        kernel.rules.iter().filter(|r| r.destination == Some(probed(3).address)).collect();
    assert_eq!(
        devices.iter().filter_map(|r| r.device.as_deref()).collect::<Vec<_>>(),
        ["wan1", "wan2"]
    );
}

#[test]
fn v3_datagrams_follow_the_choice_and_connections_stay_with_their_address() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.follow(&policy, Some(1));
    let source = Some(Ipv4Addr::new(192, 168, 42, 2));
    let datagram = Packet { source, protocol: 17, port: 51820, ..Packet::default() };
    assert_eq!((kernel.way_of(datagram), kernel.way(source)), (Some(4), Some(3)));
}

#[test]
fn v9_a_next_hop_object_is_as_good_as_its_way_out() {
    let mut picture = Picture::default();
    let hop = Hop { index: 3, gateway: Some(GW1), onlink: false, dead: false };
    let bare = Route {
        hops: vec![Hop { index: 0, gateway: None, ..hop }],
        nexthop: 7,
        ..foreign(4, 100, 0, GW1)
    };
    let news = |news| crate::kernel::news::Message {
        sequence: 0,
        interrupted: false,
        replaces: false,
        news,
    };
    use crate::kernel::news::News;
    let object = |id, hop, group| News::Nexthop(crate::kernel::Nexthop { id, hop, group });
    picture.note(news(object(5, Some(hop), vec![])));
    picture.note(news(object(7, None, vec![5])));
    picture.note(news(News::Route(bare)));
    assert_eq!(picture.routes[0].hops, [hop]);
}

#[test]
fn v8_a_port_of_a_bridge_is_called_one() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.change_link(WAN1, |link| link.master = 9);
    kernel.set_address(WAN1, None);
    assert_eq!(policy.state(0, &kernel.view()), Some(LinkState::Port));
}

fn probed(last: u8) -> Probed {
    Probed { address: Ipv4Addr::new(1, 1, 1, last), protocol: crate::kernel::ICMP, port: 0 }
}

#[test]
fn v1_probes_leave_by_their_network_beside_every_set_of_others() {
    for set in sets() {
        let (mut kernel, mut policy) = (Kernel::new(), policy());
        policy.set_targets(0, vec![probed(1)]);
        policy.set_targets(1, vec![probed(2)]);
        kernel.add_tunnel();
        kernel.add_all(&set.routes.clone());
        for rule in &set.rules {
            if rule.priority == 0 { kernel.add_rule_first(rule) } else { kernel.add_rule(rule) }
        }
        for chosen in [0, 1, 0] {
            kernel.follow(&policy, Some(chosen));
            let probe = |net, last| Packet {
                source: Some(Ipv4Addr::new(192, 168, net, 2)),
                to: Some(probed(last).address),
                protocol: 1,
                ..Packet::default()
            };
            let ways = (kernel.way_of(probe(42, 1)), kernel.way_of(probe(62, 2)));
            // Before the first preference there is no room for anybody.
            let expected = if set.name.starts_with("the first") {
                (Some(3), Some(3))
            } else {
                (Some(3), Some(4))
            };
            assert_eq!(ways, expected, "{}", set.name);
        }
    }
}

/// The rules leave one by one; what makes exceptions from the choice may not go before it.
#[test]
fn v1_a_choice_that_moves_never_stands_without_the_look_into_main() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.add(&table(100, foreign(4, 0, 3, GW1)));
    kernel.add_rule(&rule(100, 100));
    kernel.follow(&policy, Some(1));
    kernel.keep_rules(|rule| rule.priority != 100);
    let inside = Packet { to: LAN, protocol: TCP, ..Packet::default() };
    for change in policy.changes(Some(1), &kernel.view()) {
        kernel.make(&change).unwrap();
        assert_eq!(kernel.way_of(inside), Some(2), "after {change}");
    }
}

#[test]
fn v1_two_imons_with_two_networks_each_come_to_rest_whoever_comes_first() {
    let wan = |device: &str, gateway| Uplink {
        device: device.into(),
        gateway: GatewaySource::Fixed(gateway),
        targets: vec![probed(1)],
        remembered: None,
    };
    let (gw3, gw4) = (Ipv4Addr::new(192, 168, 43, 1), Ipv4Addr::new(192, 168, 44, 1));
    let a = Policy::new("a", vec![wan("wan1", GW1), wan("wan2", GW2)], 201);
    let b = Policy::new("b", vec![wan("wan3", gw3), wan("ppp0", gw4)], 300);
    for (order, chosen) in [([&a, &b], true), ([&b, &a], true), ([&a, &b], false)] {
        for (mine, theirs) in [(0, 0), (1, 1), (0, 1)] {
            let mut kernel = Kernel::new();
            for (index, name, c) in [(5, "wan3", 43), (6, "ppp0", 44)] {
                let tunnel = name == "ppp0";
                kernel.add_link(Link { index, name: name.into(), tunnel, ..Link::default() });
                kernel.set_address(index, Some(Ipv4Addr::new(192, 168, c, 2)));
            }
            let choice =
                |policy: &Policy| chosen.then_some(if *policy == a { mine } else { theirs });
            // Each hears of what the other does.
            for policy in order.into_iter().chain(order) {
                kernel.follow(policy, choice(policy));
            }
            let rest = order.map(|policy| kernel.follow(policy, choice(policy)));
            assert_eq!(rest, [0, 0], "{mine} {theirs}: {:#?}", kernel.rules);
            if chosen {
                assert_eq!(kernel.way(LAN), Some([3, 4][mine]), "the lower metric wins");
            }
        }
    }
}

/// Two networks whose gateways are learnt.
fn learning() -> Policy {
    let wan = |device: &str| Uplink {
        device: device.into(),
        gateway: GatewaySource::Auto,
        targets: Vec::new(),
        remembered: None,
    };
    Policy::new("main", vec![wan("wan1"), wan("wan2")], 201)
}

fn gateway(policy: &Policy, wan: usize, kernel: &Kernel) -> Option<Ipv4Addr> {
    if let Some(LinkState::Ready(road)) = policy.state(wan, &kernel.view()) {
        road.gateway
    } else {
        None
    }
}

#[test]
fn a_kernel_without_rules_is_seen_as_one() {
    let mut picture = Picture::default();
    assert!(RoutingView::from(&picture).policy_routing);
    picture.no_policy_routing = true;
    assert!(!RoutingView::from(&picture).policy_routing);
}

#[test]
fn each_state_has_words_of_its_own() {
    let road = WanPath { index: 3, address: GW1, gateway: None, peer: None };
    let states = [
        LinkState::Missing,
        LinkState::Down,
        LinkState::NoCarrier,
        LinkState::NoAddress,
        LinkState::Port,
        LinkState::NoGateway,
        LinkState::Refused,
        LinkState::Ready(road),
    ];
    let words: std::collections::BTreeSet<String> =
        states.iter().map(ToString::to_string).collect();
    assert!(words.len() == states.len() && words.iter().all(|text| text.len() > 10), "{words:?}");
}

#[test]
fn the_choice_is_in_a_table_of_the_instances_own() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.follow(&policy, Some(0));
    assert_eq!(kernel.ours(policy.table()), 1);
    let others = ["a", "b", "main-2"].map(|name| Policy::new(name, Vec::new(), 201).table());
    for (n, table) in others.into_iter().enumerate() {
        assert!(table >= TABLES && table % TABLES_EACH == 0 && table != policy.table(), "{table}");
        assert!(!others[..n].contains(&table), "{table}");
    }
}

/// The rules as the head of this module has them.
#[test]
fn the_rules_are_those_that_are_described() {
    let (mut kernel, mut policy) = (Kernel::new(), policy());
    policy.set_targets(0, vec![probed(1)]);
    kernel.follow(&policy, Some(0));
    let [base, one, two] = [policy.table(), policy.table_of(0), policy.table_of(1)];
    let ours = kernel.rules.iter().filter(|r| r.protocol == PROTOCOL);
    let shown: Vec<_> = ours.map(ToString::to_string).collect();
    let nobody = kernel.rules.iter().find(|r| r.inverted).and_then(|r| r.source).unwrap();
    assert!(nobody.octets().starts_with(&[255, 255]), "{nobody}");
    let mut wanted = vec![
        format!("pref 22011 from 192.168.42.2 to 1.1.1.1 ipproto icmp lookup {one}"),
        format!("pref 32765 not from {nobody} lookup main suppress_prefixlength 0"),
    ];
    for (address, device, table) in [("192.168.42.2", "wan1", one), ("192.168.62.2", "wan2", two)] {
        wanted.push(format!("pref 32765 from {address} ipproto tcp lookup {table}"));
        wanted.push(format!("pref 32765 from {address} ipproto udp dport 53 lookup {table}"));
        wanted.push(format!("pref 32765 from {address} oif {device} lookup {table}"));
    }
    wanted.push(format!("pref 32765 from all lookup {base}"));
    assert_eq!(shown, wanted);
}

#[test]
fn of_two_networks_without_metrics_the_gateway_of_the_first_is_remembered() {
    let (mut kernel, mut policy) = (Kernel::new(), learning());
    policy.remember(&foreign(16, 0, 3, GW1), &kernel.links);
    kernel.add(&foreign(16, 0, 4, GW2));
    assert_eq!(
        (gateway(&policy, 0, &kernel), gateway(&policy, 1, &kernel)),
        (Some(GW1), Some(GW2))
    );
    kernel.set_routes(&[]);
    assert_eq!(gateway(&policy, 1, &kernel), None, "it was not told of");
    kernel.set_address(WAN1, Some(Ipv4Addr::new(10, 0, 0, 2)));
    assert_eq!(
        policy.state(0, &kernel.view()),
        Some(LinkState::NoGateway),
        "the gateway is another network's"
    );
}

#[test]
fn a_gateway_is_not_remembered_from_a_route_of_ours_nor_from_a_piece_of_a_default() {
    let kernel = Kernel::new();
    for route in [
        foreign(PROTOCOL, 0, 3, GW1),
        to([0; 4], 1, foreign(16, 0, 3, GW1)),
        foreign(16, 0, 2, GW1),
    ] {
        let mut policy = learning();
        policy.remember(&route, &kernel.links);
        assert_eq!(policy, learning(), "{route}");
    }
}

#[test]
fn each_interface_has_the_gateway_of_its_own_default() {
    let (mut kernel, policy) = (Kernel::new(), learning());
    let detour = Ipv4Addr::new(192, 168, 42, 9);
    kernel.add_all(&[
        foreign(16, 50, 4, GW2),
        to([0; 4], 1, foreign(3, 0, 3, detour)),
        foreign(16, 100, 3, GW1),
        foreign(16, 200, 3, detour),
    ]);
    assert_eq!(
        (gateway(&policy, 0, &kernel), gateway(&policy, 1, &kernel)),
        (Some(GW1), Some(GW2))
    );
}

#[test]
fn while_a_client_renews_the_gateway_is_that_in_the_networks_own_table() {
    let (mut kernel, policy) = (Kernel::new(), learning());
    let earlier = Ipv4Addr::new(192, 168, 42, 9);
    kernel.add(&foreign(PROTOCOL, 201, 3, earlier));
    kernel.add(&table(policy.table_of(0), foreign(PROTOCOL, 0, 3, GW1)));
    assert_eq!(gateway(&policy, 0, &kernel), Some(GW1));
    kernel.set_routes(&[
        table(policy.table(), foreign(PROTOCOL, 201, 3, earlier)),
        table(policy.table_of(0), foreign(4, 0, 3, GW1)),
    ]);
    assert_eq!(gateway(&policy, 0, &kernel), Some(GW1), "in whatever table others have put it");
}

#[test]
fn v10_a_default_in_another_table_replaces_nobodys() {
    let (mut kernel, policy) = (Kernel::new(), learning());
    kernel.add_all(&[foreign(16, 0, 4, GW2), table(77, foreign(16, 0, 2, GW1))]);
    assert!(policy.lacks_metric(0, &kernel.view()));
    assert!(!policy.lacks_metric(1, &kernel.view()), "it has its default");
}

#[test]
fn another_configuration_is_like_this_one_whatever_is_probed_and_remembered() {
    let (kernel, mut other) = (Kernel::new(), learning());
    other.set_targets(0, vec![probed(1)]);
    other.remember(&foreign(16, 0, 3, GW1), &kernel.links);
    assert!(other != learning() && other.is_like(&learning()));
    assert!(!policy().is_like(&learning()), "the gateways are others");
    assert!(!policy().is_like(&Policy { metric: 202, ..policy() }));
}

#[test]
fn a_default_is_ours_by_its_mark_or_by_the_configured_metric_and_gateway() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    let stranger = Ipv4Addr::new(192, 168, 42, 9);
    for (route, ours) in [
        (foreign(PROTOCOL, 7, 3, stranger), true),
        (foreign(PROTOCOL, 7, 2, stranger), false),
        (foreign(3, 201, 3, GW1), true),
        (foreign(3, 201, 3, GW2), false),
        (foreign(3, 50, 3, GW1), false),
        (table(77, foreign(PROTOCOL, 201, 3, GW1)), false),
        (to([0; 4], 1, foreign(PROTOCOL, 201, 3, GW1)), false),
    ] {
        assert_eq!(policy.is_our_default(&route, &kernel.view()), ours, "{route}");
        kernel.set_routes(&[route]);
        assert_eq!(policy.adopted(&kernel.view()), ours.then_some(0));
    }
}

#[test]
fn a_rival_is_the_default_of_others_that_the_kernel_would_prefer() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.follow(&policy, Some(0));
    let lan = Ipv4Addr::new(192, 168, 92, 254);
    let no_rivals = [
        table(77, foreign(16, 0, 2, lan)),
        to([0; 4], 1, foreign(16, 0, 2, lan)),
        Route { tos: 8, ..foreign(16, 0, 2, lan) },
        foreign(16, 300, 2, lan),
    ];
    kernel.add_all(&no_rivals);
    assert_eq!(policy.rival(&kernel.view()), None);
    let mut picture = Picture::clone(&kernel);
    let mut dead = foreign(16, 10, 2, lan);
    dead.hops[0].dead = true;
    picture.routes.push(dead);
    assert_eq!(policy.rival(&RoutingView::from(&picture)), None);
    kernel.add_all(&[foreign(16, 100, 2, lan), foreign(16, 50, 4, GW2)]);
    assert_eq!(policy.rival(&kernel.view()).map(|r| r.metric), Some(50));
    // Behind the highest metric there is no place: ours replaces what is there.
    let last = Policy { metric: u32::MAX, ..policy };
    kernel.set_routes(&[foreign(16, u32::MAX, 2, lan)]);
    assert_eq!(last.rival(&kernel.view()), None);
}

#[test]
fn a_change_is_part_of_the_choice_of_a_network_or_of_neither() {
    let (kernel, policy) = (Kernel::new(), policy());
    let route = |t| table(t, foreign(PROTOCOL, 0, 3, GW1));
    let parts = |changes: Vec<Change>| changes.iter().map(|c| policy.part(c)).collect::<Vec<_>>();
    let [base, one, two] = [policy.table(), policy.table_of(0), policy.table_of(1)];
    let routes = [MAIN, base, one, two, 77].map(|t| Change::Replace(route(t)));
    assert_eq!(
        parts(routes.to_vec()),
        [Part::Default, Part::Default, Part::Wan(0), Part::Wan(1), Part::Other]
    );
    let rules = [base, one, MAIN].map(|t| rule(100, t));
    assert_eq!(
        parts(rules.clone().map(Change::AddRule).to_vec()),
        [Part::Default, Part::Other, Part::Other]
    );
    assert_eq!(
        parts(rules.clone().map(Change::AppendRule).to_vec()),
        [Part::Default, Part::Other, Part::Other]
    );
    assert_eq!(
        parts(rules.map(Change::RemoveRule).to_vec()),
        [Part::Other; 3],
        "what is taken away leads nothing"
    );
    assert_eq!(
        parts([MAIN, base, one].map(|t| Change::RemoveRoute(route(t))).to_vec()),
        [Part::Other; 3]
    );
    // As the kernel refuses them one by one.
    let all = parts(policy.changes(Some(1), &kernel.view()));
    assert_eq!(
        all.iter().filter(|part| **part == Part::Default).count(),
        3,
        "two routes and the rule"
    );
}

#[test]
fn the_primary_address_of_a_link_is_ours_where_none_is_the_gateways() {
    let (kernel, policy) = (Kernel::new(), policy());
    let wan1 = *kernel.addresses.iter().find(|a| a.index == WAN1).unwrap();
    // In whatever order they are told.
    let mut picture = Picture::clone(&kernel);
    let address = |picture: &Picture| match policy.state(0, &RoutingView::from(picture)) {
        Some(LinkState::Ready(road)) => road.address,
        other => panic!("{other:?}"),
    };
    let at =
        |last, secondary| Address { address: Ipv4Addr::new(10, 0, 0, last), secondary, ..wan1 };
    picture.addresses = vec![at(3, true), at(2, false)];
    assert_eq!(address(&picture), Ipv4Addr::new(10, 0, 0, 2));
    picture.addresses.push(Address { address: Ipv4Addr::new(192, 168, 42, 5), ..at(0, true) });
    assert_eq!(address(&picture), Ipv4Addr::new(192, 168, 42, 5), "in the gateway's network");
}

#[test]
fn a_gateway_is_declared_to_be_on_the_link_where_the_kernel_may_not_find_it() {
    let nowhere = |t| table(t, Route { hops: Vec::new(), ..foreign(4, 999, 0, GW1) });
    let switch = Rule { nowhere: true, table: 0, ..rule(32700, 0) };
    for (rules, routes, onlink) in [
        (vec![], vec![], false),
        (vec![switch], vec![], true),
        (vec![], vec![nowhere(77)], true),
        (vec![], vec![nowhere(MAIN)], false),
    ] {
        let (mut kernel, policy) = (Kernel::new(), policy());
        rules.into_iter().for_each(|rule| kernel.add_rule(&rule));
        kernel.add_all(&routes);
        kernel.follow(&policy, Some(0));
        let ours = kernel.routes.iter().filter(|r| r.is_ours() && r.table == MAIN);
        assert_eq!(
            ours.filter_map(Route::hop).map(|h| h.onlink).collect::<Vec<_>>(),
            [onlink],
            "{:?}",
            kernel.rules
        );
    }
}

#[test]
fn where_a_table_leads() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.add_tunnel();
    let lan = foreign(16, 0, 2, Ipv4Addr::new(192, 168, 92, 254));
    let tunnel = foreign(3, 0, TUNNEL, Ipv4Addr::new(10, 8, 0, 1));
    let wan = foreign(4, 0, 3, GW1);
    let nowhere = Route { hops: Vec::new(), ..wan.clone() };
    let half = |route: &Route| to([0; 4], 1, route.clone());
    for (routes, in_main, elsewhere) in [
        (vec![], Lead::None, Lead::None),
        (vec![foreign(PROTOCOL, 201, 3, GW1)], Lead::Wan(0), Lead::None),
        (vec![wan.clone()], Lead::Wan(0), Lead::Wan(0)),
        (vec![lan], Lead::Stray, Lead::Elsewhere),
        (vec![tunnel.clone()], Lead::Elsewhere, Lead::Elsewhere),
        (vec![nowhere], Lead::Elsewhere, Lead::Elsewhere),
        (vec![half(&wan)], Lead::Wan(0), Lead::Wan(0)),
        (vec![wan, half(&tunnel)], Lead::Elsewhere, Lead::Elsewhere),
    ] {
        kernel.set_routes(&routes);
        assert_eq!(policy.lead(MAIN, &kernel.view()), in_main, "{routes:?}");
        let elsewhere_ones: Vec<Route> =
            routes.iter().map(|route| table(77, route.clone())).collect();
        kernel.set_routes(&elsewhere_ones);
        assert_eq!(policy.lead(77, &kernel.view()), elsewhere, "{routes:?}");
        assert_eq!(policy.lead(78, &kernel.view()), Lead::None);
    }
}

#[test]
fn where_nobody_looks_into_main_the_choice_stands_where_it_would_stand_before_that() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.add_tunnel();
    kernel.keep_rules(|rule| rule.priority == 0);
    kernel.add(&foreign(16, 0, 4, GW2));
    kernel.follow(&policy, Some(0));
    kernel.add_rule(&rule(32766, MAIN));
    assert_eq!(
        (kernel.follow(&policy, Some(0)), kernel.way(LAN)),
        (0, Some(3)),
        "what comes back is behind it"
    );
    kernel.keep_rules(|rule| rule.priority != 32766);
    kernel.add(&table(77, foreign(3, 0, TUNNEL, Ipv4Addr::new(10, 8, 0, 1))));
    kernel.add_rule(&rule(32765, 77));
    kernel.follow(&policy, Some(0));
    assert_eq!(
        kernel.way(LAN),
        Some(TUNNEL),
        "what leads elsewhere goes first, also when it was added later"
    );
}

#[test]
fn rules_of_probes_leave_room_for_others_without_a_preference() {
    let narrow = |priority| Rule { source: LAN, source_length: 32, ..rule(priority, 101) };
    for (first, expected) in [(32000, 22_011), (100, 99), (5, 4), (4, 22_011), (1, 22_011)] {
        let (mut kernel, mut policy) = (Kernel::new(), policy());
        policy.set_targets(0, vec![probed(1)]);
        kernel.add_rule(&narrow(first));
        kernel.follow(&policy, Some(0));
        let probes: Vec<_> =
            kernel.rules.iter().filter(|r| r.destination.is_some()).map(|r| r.priority).collect();
        assert_eq!(probes, [expected], "first rule at {first}");
    }
}

#[test]
fn rules_stay_while_a_link_is_down_and_go_with_its_address() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.follow(&policy, Some(1));
    let from = |kernel: &Kernel| {
        let ours = kernel.rules.iter().filter(|r| r.protocol == PROTOCOL);
        ours.filter(|r| r.source == Some(Ipv4Addr::new(192, 168, 42, 2))).count()
    };
    kernel.plug(WAN1, false);
    assert_eq!((kernel.follow(&policy, Some(1)), from(&kernel)), (0, 3));
    kernel.set_address(WAN1, None);
    kernel.follow(&policy, Some(1));
    assert_eq!(from(&kernel), 0);
}

#[test]
fn only_the_probes_themselves_are_led_by_their_network() {
    let (mut kernel, mut policy) = (Kernel::new(), policy());
    let far = Ipv4Addr::new(1, 1, 1, 5);
    let datagram = Probed { address: far, protocol: crate::kernel::UDP, port: 123 };
    policy.set_targets(0, vec![datagram, Probed { address: GW1, ..datagram }]);
    kernel.follow(&policy, Some(1));
    let source = Some(Ipv4Addr::new(192, 168, 42, 2));
    let packet = |port| Packet {
        source,
        to: Some(far),
        protocol: crate::kernel::UDP,
        port,
        ..Packet::default()
    };
    assert_eq!((kernel.way_of(packet(123)), kernel.way_of(packet(51820))), (Some(3), Some(4)));
    let to: Vec<_> = kernel.rules.iter().filter_map(|rule| rule.destination).collect();
    assert_eq!(to, [far], "a neighbour needs no rule");
}

#[test]
fn what_others_have_set_up_has_words_for_programs() {
    let words = [BesideKind::Yielded, BesideKind::Overtaken, BesideKind::First, BesideKind::Narrow]
        .map(|k| k.word());
    assert_eq!(words, ["yielded", "overtaken", "first", "narrow"]);
}

#[test]
fn v1_what_it_means_of_rules_and_routes_of_any_kind() {
    let kinds = |rules: Vec<Rule>, routes: Vec<Route>| {
        let (mut kernel, policy) = (Kernel::new(), policy());
        kernel.add_tunnel();
        kernel.add_all(&routes);
        rules.into_iter().for_each(|rule| kernel.add_rule(&rule));
        kernel.follow(&policy, Some(0));
        policy
            .beside(&kernel.view())
            .into_iter()
            .map(|b| (b.kind, b.wan, b.via_main))
            .collect::<Vec<_>>()
    };
    let tunnel = foreign(3, 0, TUNNEL, Ipv4Addr::new(10, 8, 0, 1));
    let (into_tunnel, over_wan1) = (table(77, tunnel.clone()), table(100, foreign(4, 0, 3, GW1)));
    let nowhere = Route { hops: Vec::new(), ..tunnel.clone() };
    let halves =
        |route: &Route| [0, 128].map(|first| to([first, 0, 0, 0], 1, route.clone())).to_vec();
    let from = |rule| Rule { source: LAN, source_length: 32, ..rule };
    let unmarked = Rule { inverted: true, mark: 0xca6c, ..rule(90, 77) };
    let yielded = [(BesideKind::Yielded, None, false)];

    assert_eq!(kinds(vec![unmarked.clone()], vec![into_tunnel.clone()]), yielded);
    assert_eq!(
        kinds(vec![from(unmarked.clone())], vec![into_tunnel.clone()]),
        [],
        "only a part of it"
    );
    let to_lan = Rule { destination: LAN, destination_length: 32, ..unmarked.clone() };
    assert_eq!(kinds(vec![to_lan], vec![into_tunnel.clone()]), []);
    assert_eq!(
        kinds(vec![Rule { inverted: false, ..unmarked.clone() }], vec![into_tunnel.clone()]),
        []
    );
    assert_eq!(
        kinds(vec![from(Rule { inverted: true, ..rule(90, 77) })], vec![into_tunnel.clone()]),
        []
    );
    let switch = Rule { nowhere: true, table: 0, ..rule(32700, 0) };
    assert_eq!(kinds(vec![switch], vec![]), yielded);
    assert_eq!(
        kinds(vec![Rule { special: true, ..rule(5210, MAIN) }], vec![foreign(16, 100, 3, GW1)]),
        [(BesideKind::Narrow, Some(0), true)]
    );
    // Nothing stands between two rules of the same preference, nor before the first ones.
    assert_eq!(
        kinds(
            vec![Rule { priority: 100, ..unmarked.clone() }, rule(100, 100)],
            vec![into_tunnel.clone(), over_wan1.clone()]
        ),
        [(BesideKind::Yielded, None, false), (BesideKind::First, Some(0), false)]
    );
    for (priority, kind) in [(3, BesideKind::First), (4, BesideKind::Overtaken)] {
        assert_eq!(
            kinds(vec![rule(priority, 100)], vec![over_wan1.clone()]),
            [(kind, Some(0), false)]
        );
    }
    // Of parts of the traffic there may be many: they come last.
    assert_eq!(
        kinds(vec![from(rule(80, 100)), unmarked], vec![into_tunnel, over_wan1]),
        [(BesideKind::Yielded, None, false), (BesideKind::Narrow, Some(0), false)]
    );
    // Routes count in main only.
    let in_table = halves(&tunnel).into_iter().map(|route| table(77, route)).collect();
    assert_eq!(kinds(vec![rule(90, 77)], in_table), yielded);
    assert_eq!(
        kinds(vec![], halves(&foreign(16, 0, 2, GW1))),
        [],
        "neither a tunnel's nor over a network of ours"
    );
    assert_eq!(kinds(vec![], vec![Route { metric: u32::MAX, ..nowhere.clone() }]), []);
    assert_eq!(kinds(vec![], vec![to([224, 0, 0, 0], 3, nowhere)]), []);
}

#[test]
fn a_choice_that_cannot_go_first_stands_before_main() {
    let (mut kernel, policy) = (Kernel::new(), policy());
    kernel.add(&table(100, foreign(4, 0, 3, GW1)));
    // There is no place between two rules of one preference.
    kernel.add_rule(&Rule { source: LAN, source_length: 32, ..rule(100, 101) });
    kernel.add_rule(&rule(100, 100));
    kernel.follow(&policy, Some(1));
    let choice = kernel.rules.iter().find(|rule| rule.table == policy.table());
    assert_eq!(choice.map(|rule| rule.priority), Some(32765));
}

#[test]
fn v1_rules_of_another_imon_that_leads_nothing_are_not_gone_behind() {
    let mut kernel = Kernel::new();
    let wan = |device: &str, gateway| Uplink {
        device: device.into(),
        gateway: GatewaySource::Fixed(gateway),
        targets: Vec::new(),
        remembered: None,
    };
    let (a, b) = (
        Policy::new("a", vec![wan("wan1", GW1)], 201),
        Policy::new("b", vec![wan("wan2", GW2)], 300),
    );
    kernel.add_tunnel();
    kernel.add(&foreign(3, 50, TUNNEL, Ipv4Addr::new(10, 8, 0, 1)));
    kernel.follow(&b, Some(0));
    kernel.follow(&a, Some(0));
    assert_eq!(kernel.follow(&b, Some(0)), 0);
}
