//! Routes: ours are kept, others' are neither in the way nor touched.

use libtest_mimic::Trial;

use super::play::*;
use super::scenarios;
use crate::sim::SimWorld;

pub(super) fn tests() -> Vec<Trial> {
    scenarios![
        b11_a_default_route_that_somebody_deletes_is_set_again,
        b11_all_rules_that_somebody_flushes_are_set_again,
        b12_a_stray_default_through_the_lan_does_not_win,
        b13_a_dhcp_default_through_the_other_network_does_not_win,
        b15_a_dhcp_default_with_a_source_stays_beside_ours,
        b19_a_refused_route_is_never_called_active,
        b44_at_the_end_the_default_stays_or_goes_and_all_else_goes,
        b44_after_a_kill_everything_is_adopted,
    ]
}

fn b11_a_default_route_that_somebody_deletes_is_set_again() {
    let delete = |world: &mut SimWorld| {
        let ours = routes_of_ours(world)
            .into_iter()
            .find(|route| route.table == crate::kernel::MAIN)
            .unwrap();
        remove_route(ours)(world);
    };
    let story = Play::new().at(60.01, delete).run(120.0);
    story.has_no_gap();
    story.tells(&["was removed or changed by somebody, it is set again"]);
    story.moves(&[]);
}

/// `ip rule flush` leaves but the look into the table of local addresses, and takes main's away as
/// well.
fn b11_all_rules_that_somebody_flushes_are_set_again() {
    let flush = |world: &mut SimWorld| {
        for rule in world.kernel.rules(false).to_vec().iter().filter(|rule| rule.priority != 0) {
            remove_rule(rule.clone())(world);
        }
    };
    let count = std::rc::Rc::new(std::cell::Cell::new(0));
    let (before, after) = (std::rc::Rc::clone(&count), std::rc::Rc::clone(&count));
    let play = Play::new().at(60.0, move |world| before.set(rules_of_ours(world).len()));
    let play = play.at(60.4, flush).at(60.4, plugged(WAN1, false));
    let story =
        play.at(61.5, move |world| assert_eq!(rules_of_ours(world).len(), after.get())).run(120.0);
    story.moves(&[(60.4, 0.05, WAN2)]);
    story.hides(&["cannot be set", "not as they should be"]);
    assert!(count.get() > 0);
}

fn b12_a_stray_default_through_the_lan_does_not_win() {
    let stray = default_by(LAN, [192, 168, 92, 254], 0);
    let story = Play::new().given(add_route(stray.clone())).at(60.4, upstream(0, false)).run(120.0);
    story.moves(&[(60.4, 2.3, WAN2)]);
    assert!(story.keeps(&stray));
    story.tells(&["would lead all traffic: imon's choice goes first"]);
}

fn b13_a_dhcp_default_through_the_other_network_does_not_win() {
    let dhcp = default_by(WAN2, GATEWAYS[1], 100);
    let story =
        Play::new().at(30.0, add_route(dhcp.clone())).at(60.4, plugged(WAN2, false)).run(120.0);
    story.moves(&[]);
    story.tells(&["Standby Network net62 (wan2) is now offline"]);
    assert!(story.keeps(&dhcp));
}

fn b15_a_dhcp_default_with_a_source_stays_beside_ours() {
    let theirs = crate::kernel::Route {
        source: Some([192, 168, 42, 2].into()),
        ..default_by(WAN1, GATEWAYS[0], 0)
    };
    let story = Play::new().given(add_route(theirs.clone())).at(60.4, gateway(0, false)).run(120.0);
    story.moves(&[(60.4, 2.3, WAN2)]);
    story.has_no_gap();
    assert!(story.keeps(&theirs), "{:?}", story.world.kernel.routes4());
}

fn b19_a_refused_route_is_never_called_active() {
    // A broadcast address is no gateway. The target is on the link and answers.
    let play = Play::new().set("failover", "primary-gw", "192.168.42.255").set(
        "failover",
        "primary-ping",
        "192.168.42.1",
    );
    let story = play.run(120.0);
    story.hides(&["Primary Route", "to Primary"]);
    assert!(story.count("the kernel refuses 'ip route") >= 1, "{:#?}", story.log());
    assert!(story.count("Invalid argument") <= 4, "{:#?}", story.log());
    assert_eq!(story.ways().last().unwrap().1, WAN2);
}

fn b44_at_the_end_the_default_stays_or_goes_and_all_else_goes() {
    for (on_exit, left) in [("keep", 1), ("remove", 0)] {
        let story = Play::new().set("failover", "on-exit", on_exit).run(60.0);
        let (routes, rules) = story.leaves();
        assert_eq!((routes.len(), rules.len()), (left, 0), "{on_exit}: {routes:?} {rules:?}");
        assert!(routes.iter().all(|route| route.table == crate::kernel::MAIN));
    }
}

fn b44_after_a_kill_everything_is_adopted() {
    let before = std::rc::Rc::new(std::cell::RefCell::new((Vec::new(), Vec::new())));
    let kept = std::rc::Rc::clone(&before);
    let kill = move |world: &mut SimWorld| {
        world.killed = true;
        *kept.borrow_mut() = (routes_of_ours(world), rules_of_ours(world));
    };
    let same = std::rc::Rc::clone(&before);
    let compare = move |world: &mut SimWorld| {
        assert_eq!((routes_of_ours(world), rules_of_ours(world)), *same.borrow());
    };
    let story = Play::new().at(60.4, kill).at(90.0, compare).run(120.0);
    story.has_no_gap();
    story.moves(&[]);
    assert!(!before.borrow().1.is_empty());
}
