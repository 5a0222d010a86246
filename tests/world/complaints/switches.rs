//! When traffic is led over the other network, and when not.

use std::net::IpAddr;
use std::time::Duration;

use imon::engine::world::Ending;
use imon::kernel::Link;
use libtest_mimic::Trial;

use super::play::*;
use super::scenarios;

pub(super) fn tests() -> Vec<Trial> {
    scenarios![
        b2_an_upstream_that_dies_behind_a_gateway_that_answers,
        b3_a_primary_that_is_dead_beyond_its_gateway_costs_one_switch,
        b4_it_is_used_again_once_it_works,
        b5_a_dead_standby_is_said_before_it_is_needed,
        b6_a_standby_that_works_is_online_and_takes_over,
        b7_targets_beyond_the_gateways_come_up_without_a_default_route,
        b8_one_missed_check_of_the_last_network_changes_nothing,
        b9_another_address_is_followed_within_a_second,
        b17_without_an_address_a_network_is_offline_until_it_has_one,
        b18_an_interface_that_is_not_there_is_named_and_picked_up,
        b20_a_script_that_hangs_delays_nothing,
        b21_a_name_with_shell_characters_is_one_argument,
        b36_half_of_all_probes_lost_for_a_minute,
        b36_a_gateway_that_flaps_four_times,
        b45_a_cable_that_is_out_for_ten_seconds,
        b46_a_restart_on_standby_leaves_no_gap,
        d8_a_renewal_is_no_outage,
        d9_no_internet_at_all_has_an_end_and_a_length,
        d10_a_standby_that_flickers_for_an_hour_is_a_handful_of_lines,
        d11_a_gateway_that_never_answers_names_the_setting,
        v11_an_outage_without_a_switch_calls_the_script,
    ]
}

const TO_PRIMARY: &str = "Network Failover to Primary Network net42 (wan1)";
const TO_STANDBY: &str = "Network Failover to Standby Network net62 (wan2)";
/// An interval, the gap between two probes, a wait, and a little.
const SILENCE: f64 = 2.3;
/// What the kernel tells of.
const AT_ONCE: f64 = 0.05;
/// Until a network is used again that works: a check, the hold-down, and what it takes to choose.
const BACK: f64 = 6.0;

fn b2_an_upstream_that_dies_behind_a_gateway_that_answers() {
    let story = Play::new().at(60.4, upstream(0, false)).run(120.0);
    story.tells(&["(wan1) is now offline", TO_STANDBY]);
    story.moves(&[(60.4, SILENCE, WAN2)]);
    let call = "failover-standby net62:Standby:wan2:192.168.62.2";
    assert_eq!(story.called("failover-standby"), [call]);
}

fn b3_a_primary_that_is_dead_beyond_its_gateway_costs_one_switch() {
    let story = Play::new().at(60.4, upstream(0, false)).run(600.0);
    story.moves(&[(60.4, SILENCE, WAN2)]);
    let (sent, answered) = story.probes(0, 61.0, 600.0);
    assert!(sent > 500 && answered == 0, "its probes leave by itself: {answered} of {sent}");
}

fn b4_it_is_used_again_once_it_works() {
    let story = Play::new().at(60.4, upstream(0, false)).at(300.2, upstream(0, true)).run(400.0);
    story.moves(&[(60.4, SILENCE, WAN2), (303.0, BACK, WAN1)]);
    assert_eq!(story.count(TO_PRIMARY), 2);
}

fn b5_a_dead_standby_is_said_before_it_is_needed() {
    let story = Play::new().given(upstream(1, false)).at(60.4, gateway(0, false)).run(120.0);
    story.tells(&[
        "Initial State for Standby Network net62 (wan2): offline",
        "Primary Network net42 (wan1) is now offline",
        "Both Primary and Standby Networks are offline",
    ]);
    story.moves(&[]);
    assert!(story.time("Initial State for Standby") < SILENCE);
}

fn b6_a_standby_that_works_is_online_and_takes_over() {
    let story = Play::new().at(60.4, plugged(WAN1, false)).run(120.0);
    assert!(story.time("Initial State for Standby Network net62 (wan2): online") < 1.0);
    let (sent, answered) = story.probes(1, 0.0, 119.0);
    assert_eq!((sent, answered), (sent, sent), "while primary is used, and afterwards");
    story.moves(&[(60.4, AT_ONCE, WAN2)]);
}

fn b7_targets_beyond_the_gateways_come_up_without_a_default_route() {
    let story = Play::new().run(20.0);
    assert_eq!(
        story.ways(),
        [(0.025, WAN1)].map(|(_, way)| (story.ways()[0].0, way)),
        "{:?}",
        story.log()
    );
    assert!(story.time("Primary Route net42 (wan1) is active") < 0.5);
    story.hides(&["offline"]);
}

fn b8_one_missed_check_of_the_last_network_changes_nothing() {
    let story = Play::new()
        .at(30.0, plugged(WAN1, false))
        .at(60.3, gateway(1, false))
        .at(62.5, gateway(1, true))
        .run(120.0);
    story.moves(&[(30.0, AT_ONCE, WAN2)]);
    story.has_no_gap();
    assert_eq!(story.count("Network Failover to"), 2);
}

fn b9_another_address_is_followed_within_a_second() {
    let renumber = |world: &mut _| {
        remove_address(address(0, 2))(world);
        add_address(address(0, 77))(world);
    };
    let story = Play::new().at(60.4, renumber).run(120.0);
    assert!(story.time("its address is 192.168.42.77 now, it was 192.168.42.2") < 61.4);
    story.hides(&["offline"]);
    let (sent, answered) = story.probes(0, 61.0, 119.0);
    assert!(sent > 50 && answered == sent, "{answered} of {sent}");
    story.moves(&[]);
}

fn b17_without_an_address_a_network_is_offline_until_it_has_one() {
    let gone = address(0, 2);
    let story =
        Play::new().given(remove_address(gone.clone())).at(60.4, add_address(gone)).run(120.0);
    story.tells(&[
        "Primary Network net42 (wan1): the interface has no address",
        "Initial State for Primary Network net42 (wan1): offline",
        TO_STANDBY,
        TO_PRIMARY,
    ]);
    assert!(story.time("Primary Route") > 60.4);
    story.moves(&[(60.4, BACK, WAN1)]);
}

fn b18_an_interface_that_is_not_there_is_named_and_picked_up() {
    let plug_in = |world: &mut crate::sim::SimWorld| {
        world
            .kernel
            .add_link(Link { index: WAN1, name: "wan1".into(), ..Link::default() }, true)
            .unwrap();
        add_address(address(0, 2))(world);
        world.kernel.set_up(WAN1, true).unwrap();
    };
    let story = Play::new()
        .given(|world| world.kernel.remove_link(WAN1).unwrap())
        .at(60.4, plug_in)
        .run(120.0);
    story.tells(&[
        "there is no interface wan1. Did you mean wan2? There are lan0, wan2. It is used as soon as it appears",
        "Initial State for Primary Network net42 (wan1): offline",
        TO_STANDBY,
        TO_PRIMARY,
    ]);
    story.moves(&[(60.4, BACK, WAN1)]);
}

fn b20_a_script_that_hangs_delays_nothing() {
    let hangs = |world: &mut crate::sim::SimWorld| {
        world.script = Box::new(|_| (Duration::from_secs(100_000), Ending::Status(0)));
        world.stubborn = true;
    };
    let play = Play::new().set("global", "action-timeout", 5).given(hangs);
    let story = play.at(60.4, plugged(WAN1, false)).run(120.0);
    story.moves(&[(60.4, AT_ONCE, WAN2)]);
    assert!(story.count("5 s") > 0, "its end is told: {:?}", story.log());
    assert!(
        story.calls().len() > 3,
        "one that is killed makes place for the next: {:?}",
        story.calls()
    );
}

fn b21_a_name_with_shell_characters_is_one_argument() {
    let name = "a b;touch /x $(touch /x) `id` \"'&";
    let story = Play::new().set("failover", "primary-name", name).run(20.0);
    assert_eq!(story.world.calls[0].words[1], format!("{name}:Primary:wan1:192.168.42.2"));
}

fn b36_half_of_all_probes_lost_for_a_minute() {
    for interval in [1, 2, 5, 10] {
        let lossy = |loss| move |world: &mut crate::sim::SimWorld| world.networks[0].loss = loss;
        let play =
            Play::new().set("failover", "interval", interval).set("failover", "hold-down", 10);
        let story = play.at(30.0, lossy(50)).at(90.0, lossy(0)).run(900.0);
        let ways: Vec<_> = story.ways().into_iter().filter(|(at, _)| *at > 20.0).collect();
        assert!(ways.len() <= 2, "interval {interval}: {ways:?}");
        assert!(
            ways.last().is_none_or(|(_, way)| *way == WAN1),
            "interval {interval}: it comes back"
        );
    }
}

fn b36_a_gateway_that_flaps_four_times() {
    let mut play = Play::new().set("failover", "hold-down", 10);
    for n in 0..4 {
        let begin = 60.0 + 10.0 * f64::from(n);
        play = play.at(begin, gateway(0, false)).at(begin + 5.0, gateway(0, true));
    }
    let story = play.run(600.0);
    let ways: Vec<_> =
        story.ways().into_iter().filter(|(at, _)| *at > 20.0).map(|(_, way)| way).collect();
    assert_eq!(ways, [WAN2, WAN1]);
}

fn b45_a_cable_that_is_out_for_ten_seconds() {
    let story = Play::new().at(60.4, plugged(WAN1, false)).at(70.4, plugged(WAN1, true)).run(120.0);
    story.tells(&[
        "Primary Network net42 (wan1): no carrier",
        "Primary Network net42 (wan1) is now offline",
        TO_STANDBY,
        "Primary Network net42 (wan1) is now online",
        "Primary Network Outage Duration: 0 days 0 hours, 0 minutes 10 seconds",
    ]);
    story.moves(&[(60.4, AT_ONCE, WAN2), (73.4, BACK, WAN1)]);
}

fn b46_a_restart_on_standby_leaves_no_gap() {
    let stop_and_start = |world: &mut crate::sim::SimWorld| world.killed = true;
    let story = Play::new().at(30.0, gateway(0, false)).at(60.4, stop_and_start).run(120.0);
    story.moves(&[(30.0, SILENCE, WAN2)]);
    story.has_no_gap();
}

fn d8_a_renewal_is_no_outage() {
    for (away, told) in [(0.005, false), (0.15, false), (0.29, false), (0.5, true)] {
        let story = Play::new()
            .at(60.4, remove_address(address(0, 2)))
            .at(60.4 + away, add_address(address(0, 2)))
            .run(120.0);
        let word = story.count("offline") + story.count("Failover to Standby");
        assert_eq!(word > 0, told, "{away} s: {:?}", story.log());
        assert_eq!(story.called("failover-standby").len(), usize::from(told), "{away} s");
    }
}

fn d9_no_internet_at_all_has_an_end_and_a_length() {
    let play = Play::new().set("global", "events", "all");
    let story = play
        .at(20.4, upstream(1, false))
        .at(30.4, upstream(0, false))
        .at(50.4, upstream(0, true))
        .run(120.0);
    story.tells(&[
        "Standby Network net62 (wan2): nothing answers: 2 probes to 8.8.8.8 in a row unanswered",
        "Standby Network net62 (wan2) is now offline",
        "Primary Network net42 (wan1): nothing answers: 2 probes to 1.1.1.1 in a row unanswered",
        "Primary Network net42 (wan1) is now offline",
        "Both Primary and Standby Networks are offline",
        "Primary Network net42 (wan1) is now online",
        "No network was online for 0 days 0 hours, 0 minutes 20 seconds; traffic goes over Primary Network net42 (wan1) now",
    ]);
    assert_eq!(
        story.called("failover-restored"),
        ["failover-restored net42:Primary:wan1:192.168.42.2 0:0:0:20"]
    );
}

fn d10_a_standby_that_flickers_for_an_hour_is_a_handful_of_lines() {
    let mut play = Play::new();
    for n in 0..1200 {
        let begin = 60.0 + 3.0 * f64::from(n);
        play = play.at(begin, upstream(1, n % 2 == 1));
    }
    let story = play.run(3700.0);
    let lines = story.world.lines.iter().filter(|line| line.at > at(60.0)).count();
    assert!((2..=36).contains(&lines), "{lines} lines: {:#?}", story.log());
    assert!(story.time("(wan2) is now offline") < 66.0, "the first at once");
    story.moves(&[]);
}

fn d11_a_gateway_that_never_answers_names_the_setting() {
    let deaf =
        |world: &mut crate::sim::SimWorld| world.networks[0].dead = vec![IpAddr::from(GATEWAYS[0])];
    let story = Play::new().set("failover", "primary-ping", "").given(deaf).run(60.0);
    story.tells(&[
        "Primary Network net42 (wan1): nothing answers: 2 probes to its gateway 192.168.42.1 in a row unanswered; it has never \
         answered: if it answers no pings at all, set primary-ping",
        "Initial State for Primary Network net42 (wan1): offline",
    ]);
    story.moves(&[]);
}

fn v11_an_outage_without_a_switch_calls_the_script() {
    let play = Play::new().set("global", "events", "all").set("failover", "remind", 10);
    let story = play.at(60.4, plugged(WAN2, false)).at(85.4, plugged(WAN2, true)).run(120.0);
    let all: Vec<_> = story
        .world
        .calls
        .iter()
        .filter(|call| call.at > at(60.0))
        .map(|call| call.words[0].as_str())
        .collect();
    assert_eq!(all, ["failover-offline", "failover-remind", "failover-remind", "failover-online"]);
    let offline = &story.called("failover-offline")[0];
    assert!(
        offline.starts_with("failover-offline net62:Standby:wan2:")
            && offline.contains("no carrier"),
        "{offline}"
    );
    // Whoever did not ask for them hears what V2.99 said.
    let story = Play::new().at(60.4, plugged(WAN2, false)).at(85.4, plugged(WAN2, true)).run(120.0);
    assert!(story.world.calls.iter().all(|call| call.at < at(60.0)), "{:?}", story.calls());
}
