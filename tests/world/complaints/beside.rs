//! Beside other people's routes, rules and tunnels.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use imon::kernel::{Link, TCP, UDP};
use libtest_mimic::Trial;

use super::play::*;
use super::scenarios;
use crate::kernel::{Address, MAIN, Rule};
use crate::sim::SimWorld;

pub(super) fn tests() -> Vec<Trial> {
    scenarios![
        v1_a_tunnel_keeps_its_traffic_whoever_comes_first,
        v1_rules_that_lead_everybody_over_one_network_are_overtaken_and_named,
        v2_who_deletes_looks_into_main_until_none_is_left_is_soon_done,
        v3_the_routers_own_tunnel_follows_both_ways,
        v4_two_modems_with_one_address_serve_the_lan_and_the_router,
        v5_marked_traffic_that_stays_on_a_dead_network_is_named,
        v6_what_a_killed_instance_left_is_cleared_by_another,
        v7_a_host_route_over_a_dead_network_is_named,
        v8_a_port_of_a_bridge_is_named,
        v10_defaults_that_replace_each_other_are_named_and_the_first_gateway_is_kept,
        v12_an_address_that_is_replaced_brings_no_false_word,
        v12_where_there_is_only_the_loopback_that_is_said,
    ]
}

const SILENCE: f64 = 2.3;

/// A tunnel's link.
fn tunnel(world: &mut SimWorld) {
    let link = Link { index: TUNNEL, name: "wg0".into(), tunnel: true, ..Link::default() };
    world.kernel.add_link(link, true).unwrap();
    world.kernel.add_address(&Address::of(TUNNEL, [10, 9, 9, 2])).unwrap();
    world.kernel.set_up(TUNNEL, true).unwrap();
}

fn not_marked() -> Rule {
    Rule { inverted: true, mark: 51_820, mask: u32::MAX, ..lookup(0, 51_820) }
}

fn look_into_main() -> Rule {
    Rule { suppress: Some(0), ..lookup(0, MAIN) }
}

/// A tunnel for everything, as wg-quick makes it.
fn wg_quick(world: &mut SimWorld) {
    tunnel(world);
    add_route(tunnel_default(51_820))(world);
    add_rule(not_marked())(world);
    add_rule(look_into_main())(world);
}

fn v1_a_tunnel_keeps_its_traffic_whoever_comes_first() {
    let story = Play::new().given(wg_quick).at(60.4, plugged(WAN1, false)).run(120.0);
    assert_eq!(story.ways().iter().map(|(_, way)| *way).collect::<Vec<_>>(), [TUNNEL]);
    story.tells(&[
        "leads all traffic elsewhere and goes first: imon leads what it leaves",
        "Network Failover to Standby",
    ]);
    let story = Play::new().at(30.01, wg_quick).at(60.4, plugged(WAN1, false)).run(120.0);
    story.moves(&[(30.01, 0.0, TUNNEL)]);
    story.tells(&[
        "leads all traffic elsewhere and goes first: imon leads what it leaves",
        "Network Failover to Standby",
    ]);
}

fn v1_rules_that_lead_everybody_over_one_network_are_overtaken_and_named() {
    let everybody = |world: &mut SimWorld| {
        add_route(crate::kernel::Route { table: 100, ..default_by(WAN1, GATEWAYS[0], 0) })(world);
        add_rule(lookup(100, 100))(world);
    };
    for first in [true, false] {
        let play =
            if first { Play::new().given(everybody) } else { Play::new().at(30.0, everybody) };
        let story = play.at(60.4, upstream(0, false)).run(120.0);
        story.moves(&[(60.4, SILENCE, WAN2)]);
        story.tells(&[
            "would lead all traffic over Primary Network net42 (wan1): imon's choice goes first",
        ]);
    }
}

fn v2_who_deletes_looks_into_main_until_none_is_left_is_soon_done() {
    /// Deletes the next one a millisecond later, as a shell that runs `ip` would.
    fn delete(world: &mut SimWorld, deleted: Rc<Cell<u32>>, over: Rc<Cell<Option<f64>>>) {
        if world.kernel.remove_rule(&look_into_main(), None).is_err() {
            over.set(Some(crate::sim::seconds(world.time())));
            return;
        }
        deleted.set(deleted.get() + 1);
        let next = world.time() + Duration::from_millis(1);
        world.when(next, move |world| delete(world, deleted, over));
    }
    let (deleted, over) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(None)));
    let (count, end) = (Rc::clone(&deleted), Rc::clone(&over));
    let down = move |world: &mut SimWorld| {
        remove_rule(not_marked())(world);
        delete(world, count, end);
    };
    let story = Play::new().given(wg_quick).at(60.0, down).run(120.0);
    assert!(deleted.get() <= 3, "{} deletions", deleted.get());
    assert!(over.get().is_some_and(|at| at < 60.2), "{over:?}");
    story.moves(&[(60.0, 0.05, WAN1)]);
    assert!(story.count("set again") <= 1, "{:#?}", story.log());
}

/// Its socket keeps the source address that it had at first.
fn v3_the_routers_own_tunnel_follows_both_ways() {
    let seen = Rc::new(Cell::new([0; 3]));
    let mut play = Play::new().at(60.4, plugged(WAN1, false)).at(90.4, plugged(WAN1, true));
    for (n, second) in [50.0, 61.0, 110.0].into_iter().enumerate() {
        let seen = Rc::clone(&seen);
        play = play.at(second, move |world| {
            let mut ways = seen.get();
            ways[n] = own_way(world, [192, 168, 42, 2], UDP);
            seen.set(ways);
        });
    }
    play.run(120.0);
    assert_eq!(seen.get(), [WAN1, WAN2, WAN1]);
}

fn v4_two_modems_with_one_address_serve_the_lan_and_the_router() {
    let same = |world: &mut SimWorld| {
        for (wan, index) in [WAN1, WAN2].into_iter().enumerate() {
            remove_address(address(wan, 2))(world);
            add_address(Address::of(index, [192, 168, 8, 100]))(world);
            world.networks[wan].gateway = [192, 168, 8, 1].into();
        }
    };
    let ways = Rc::new(Cell::new((0, 0)));
    let own = Rc::clone(&ways);
    let look = move |world: &mut SimWorld| {
        own.set((own_way(world, [192, 168, 8, 100], TCP), own_way(world, [192, 168, 8, 100], UDP)));
    };
    let play = Play::new().set("failover", "primary-gw", "192.168.8.1").set(
        "failover",
        "standby-gw",
        "192.168.8.1",
    );
    let story = play.given(same).at(60.4, upstream(0, false)).at(70.0, look).run(120.0);
    story.moves(&[(60.4, SILENCE, WAN2)]);
    assert_eq!(ways.get(), (WAN2, WAN2), "the router's own");
    assert!(
        story.time("has the address 192.168.8.100 too. imon tells them apart by what is probed")
            < 2.0
    );
}

fn v5_marked_traffic_that_stays_on_a_dead_network_is_named() {
    let others = |world: &mut SimWorld| {
        add_route(default_by(WAN1, GATEWAYS[0], 100))(world);
        add_route(default_by(WAN2, GATEWAYS[1], 200))(world);
        add_rule(Rule { mark: 0x80000, mask: 0xff0000, ..lookup(5210, MAIN) })(world);
    };
    let story = Play::new().given(others).at(60.4, upstream(0, false)).run(120.0);
    assert!(
        story.time("keeps its traffic on Primary Network net42 (wan1), which does not work: set metric below") > 60.4
    );
    story.moves(&[(60.4, SILENCE, WAN2)]);
}

fn v6_what_a_killed_instance_left_is_cleared_by_another() {
    let mut other = Play::new().config;
    other["failover"]["metric"] = 300.into();
    let story = Play::new()
        .at(60.4, |world| world.killed = true)
        .at(90.4, plugged(WAN1, false))
        .run_and_replace("b", &other, 120.0);
    story.tells(&["An imon that was killed has left"]);
    story.moves(&[(90.4, 0.05, WAN2)]);
    let (routes, rules) = story.leaves();
    assert_eq!((routes.len(), routes[0].metric, rules.len()), (1, 300, 0), "{routes:?} {rules:?}");
}

fn v7_a_host_route_over_a_dead_network_is_named() {
    let host = route_to([8, 8, 4, 4], 32, default_by(WAN1, GATEWAYS[0], 0));
    let story = Play::new().given(add_route(host)).at(60.4, upstream(0, false)).run(120.0);
    let line = "'ip route 8.8.4.4/32 via 192.168.42.1 dev wan1";
    assert!(
        story.time(line) > 60.4 && story.count("keeps its traffic on Primary Network net42") == 1
    );
}

fn v8_a_port_of_a_bridge_is_named() {
    let bridge = |world: &mut SimWorld| {
        world.kernel.remove_link(WAN1).unwrap();
        let port = Link { index: WAN1, name: "wan1".into(), master: 9, ..Link::default() };
        world.kernel.add_link(port, true).unwrap();
        world
            .kernel
            .add_link(Link { index: 9, name: "br0".into(), ..Link::default() }, true)
            .unwrap();
        add_address(Address { index: 9, ..address(0, 2) })(world);
        world.kernel.set_up(WAN1, true).unwrap();
        world.kernel.set_up(9, true).unwrap();
    };
    let story = Play::new().given(bridge).run(20.0);
    story.tells(&["wan1 is a port of br0, which has the address: use br0 in its place"]);
    assert_eq!(story.ways().last().unwrap().1, WAN2);
}

fn v10_defaults_that_replace_each_other_are_named_and_the_first_gateway_is_kept() {
    let by = |wan: usize| replace_route(default_by([WAN1, WAN2][wan], GATEWAYS[wan], 0));
    let play =
        Play::new().set("failover", "primary-gw", "auto").set("failover", "standby-gw", "auto");
    let story =
        play.given(by(0)).given(by(1)).at(30.0, by(0)).at(60.0, by(1)).at(70.0, by(0)).run(120.0);
    story.tells(&[
        "Primary Network net42 (wan1): its default route was replaced by that of the other network, since neither has a metric",
        "Primary Network net42 (wan1) is now online",
    ]);
    story.moves(&[(30.0, 6.0, WAN1)]);
}

fn v12_an_address_that_is_replaced_brings_no_false_word() {
    let mut play = Play::new().given(add_route(default_by(WAN2, GATEWAYS[1], 300)));
    for (n, last) in [(0, 77), (1, 78), (2, 79)] {
        let (begin, old) = (60.4 + 10.0 * f64::from(n), if n == 0 { 2 } else { last - 1 });
        let new = Address { no_prefix_route: true, ..address(0, last) };
        let subnet = crate::kernel::Route {
            scope: crate::kernel::scope::LINK,
            hops: vec![crate::kernel::Hop { index: WAN1, ..crate::kernel::Hop::default() }],
            ..route_to([192, 168, 42, 0], 24, default_by(WAN1, GATEWAYS[0], 0))
        };
        // Those that the kernel made go with the old address, later ones do as well.
        play = play
            .at(
                begin,
                remove_address(if n == 0 {
                    address(0, old)
                } else {
                    Address { no_prefix_route: true, ..address(0, old) }
                }),
            )
            .at(begin + 0.1, add_address(new))
            .at(begin + 0.12, replace_route(subnet));
    }
    let story = play.run(120.0);
    story.hides(&[
        "Traffic does not go",
        "invalid gateway",
        "not as they should be",
        "set again",
        "offline",
    ]);
    assert_eq!(story.ways().last().unwrap().1, WAN1);
}

fn v12_where_there_is_only_the_loopback_that_is_said() {
    let bare = |world: &mut SimWorld| {
        [LAN, WAN1, WAN2].into_iter().for_each(|index| world.kernel.remove_link(index).unwrap())
    };
    let story = Play::new().given(bare).run(20.0);
    assert_eq!(
        story.count("There is none at all. It is used as soon as it appears"),
        2,
        "{:#?}",
        story.log()
    );
}
