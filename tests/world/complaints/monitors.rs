//! Single addresses, the external address, and configurations.

use std::time::Duration;

use imon::engine::world::Store;
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::play::*;
use super::scenarios;
use crate::sim::{INSTANCE, SimWorld};

pub(super) fn tests() -> Vec<Trial> {
    scenarios![
        b24_ten_restarts_call_nobody,
        b25_an_address_that_cannot_be_found_is_told_once_and_then_seldom,
        b28_a_network_that_flaps_publishes_nothing_untrue,
        b29_a_target_that_is_down_at_the_start_is_told_and_has_a_duration,
        b34_what_cannot_be_sent_is_lost_with_its_reason,
        b37_a_clock_that_is_set_bends_no_duration,
        b40_each_bad_interval_is_one_error_and_changes_nothing,
        b41_half_a_second_of_pingwait_is_half_a_second,
        b42_what_is_missing_has_defaults_or_is_a_clear_error,
        b47_a_reply_after_pingwait_is_late,
        issue3_addresses_beside_are_looked_at_while_the_outage_lasts,
        issue6_what_follows_from_the_addresses_beside_is_said,
    ]
}

const HOUR: f64 = 3600.0;

fn ddns() -> Value {
    json!({ "enable": true, "interval": 600, "sources": ["http://a.example/", "dns:opendns", "dns:google"] })
}

/// One address, every ten seconds, over a network that is there without failover.
fn updown(more: &[(&str, Value)]) -> Play {
    let mut updown = json!({ "enable": true, "interval": 10, "pingcount": 2, "pingwait": 1, "monitorip": "1.1.1.1" });
    for (key, value) in more {
        updown[key] = value.clone();
    }
    Play::with(json!({ "updown": updown })).given(add_route(default_by(WAN1, GATEWAYS[0], 100)))
}

fn b24_ten_restarts_call_nobody() {
    let mut play = Play::new();
    play.config["ddns"] = ddns();
    let mut world = play.run(600.0).world;
    for restart in 1..=10 {
        world.signal(at(600.0 + 600.0 * f64::from(restart)), TERM);
        world = world.start(INSTANCE);
    }
    let calls = world.calls.iter().filter(|call| call.words[0].starts_with("ddns-")).count();
    assert_eq!(calls, 1, "{:?}", world.calls);
    assert_eq!(world.lines.iter().filter(|line| line.text.contains("Address changed")).count(), 1);
}

fn b25_an_address_that_cannot_be_found_is_told_once_and_then_seldom() {
    let both =
        |answers| move |world: &mut SimWorld| (0..2).for_each(|wan| upstream(wan, answers)(world));
    let mut play = Play::new().at(HOUR, both(false)).at(9.0 * HOUR, both(true));
    play.config["ddns"] = ddns();
    let story = play.run(11.0 * HOUR);
    assert_eq!(story.called("ddns-no-update").len(), 1, "{:?}", story.calls());
    assert!((1..=5).contains(&story.count("%% Unable to obtain")), "{:#?}", story.log());
    story.tells(&["External IP Address is obtained again"]);
    assert_eq!(story.called("ddns-ip-update").len(), 1, "the same address is no change");
}

fn b28_a_network_that_flaps_publishes_nothing_untrue() {
    let mut play = Play::new();
    play.config["ddns"] = ddns();
    for n in 0..20 {
        let begin = HOUR + 20.0 * f64::from(n);
        play = play.at(begin, plugged(WAN1, false)).at(begin + 5.0, plugged(WAN1, true));
    }
    let story = play.run(3.0 * HOUR);
    let updates: Vec<_> =
        story.world.calls.iter().filter(|call| call.words[0] == "ddns-ip-update").collect();
    for call in &updates {
        // The external address of a network ends with the number of its link.
        assert_eq!(call.words[1], format!("81.2.69.{}", story.way_at(call.at)), "{updates:?}");
    }
    assert_eq!(updates.last().unwrap().words[1], "81.2.69.3", "and in the end");
    let switches = story.ways().len();
    assert!(updates.len() <= switches, "{} for {switches} switches", updates.len());
}

fn b29_a_target_that_is_down_at_the_start_is_told_and_has_a_duration() {
    let story = updown(&[]).given(upstream(0, false)).at(60.5, upstream(0, true)).run(120.0);
    story.tells(&[
        "Monitored IP 1.1.1.1 offline",
        "Monitored IP 1.1.1.1 online",
        "Outage Duration: 0 days 0 hours, 1 minutes 1 seconds",
    ]);
    assert!(story.time("offline") < 2.5);
    assert_eq!(story.calls(), ["updown-offline 1.1.1.1", "updown-online 1.1.1.1 0:0:1:1"]);
}

fn b34_what_cannot_be_sent_is_lost_with_its_reason() {
    let ping = json!({ "enable": true, "interval": 10, "pingcount": 2, "pingwait": 1, "monitorip": "1.1.1.1" });
    let route = default_by(WAN1, GATEWAYS[0], 100);
    let play = Play::with(json!({ "ping": ping })).given(add_route(route.clone()));
    let story = play.at(25.0, remove_route(route.clone())).at(55.0, add_route(route)).run(90.0);
    story.tells(&[
        "Probe of 1.1.1.1: could not be sent: Network is unreachable",
        "Probes of 1.1.1.1 are sent again",
    ]);
    let lost = story.called("ping-result").iter().filter(|call| call.contains(":False:")).count();
    assert_eq!(lost, 3, "{:#?}", story.calls());
    assert!(
        story.calls().iter().any(|call| call.contains(":False:") && call.contains("1.0")),
        "{:#?}",
        story.calls()
    );
}

fn b37_a_clock_that_is_set_bends_no_duration() {
    for step in [-3600, 3600, -86_400] {
        let play =
            updown(&[]).at(60.5, upstream(0, false)).at(90.0, move |world| world.stepped += step);
        let story = play.at(120.5, upstream(0, true)).run(180.0);
        story.tells(&["Outage Duration: 0 days 0 hours, 0 minutes 51 seconds"]);
        assert_eq!(story.called("updown-online"), ["updown-online 1.1.1.1 0:0:0:51"]);
    }
}

fn b40_each_bad_interval_is_one_error_and_changes_nothing() {
    let mut play = updown(&[]);
    let bad = ["0", "\"x\"", "null", "-1", "NaN", "1e308", "[1]", "{}"];
    for (n, value) in bad.into_iter().enumerate() {
        let text =
            play.config.to_string().replace("\"interval\":10", &format!("\"interval\":{value}"));
        play.world.files.insert(file("bad").into(), text.clone().into());
        let loaded = play.world.load(&imon::config::source::ConfigSource::instance("bad", None));
        assert_eq!(loaded.errors.len(), 1, "{value}: {:?}", loaded.errors);
        play = play.reload(60.0 + 10.0 * n as f64, &text);
    }
    let story = play.at(200.5, upstream(0, false)).run(300.0);
    assert_eq!(story.count("the old configuration goes on"), bad.len(), "{:#?}", story.log());
    assert!(story.time("Monitored IP 1.1.1.1 offline") < 213.0);
}

fn b41_half_a_second_of_pingwait_is_half_a_second() {
    for (delay, offline) in [(20, false), (450, false), (600, true)] {
        let slow =
            move |world: &mut SimWorld| world.networks[0].delay = Duration::from_millis(delay);
        let story = updown(&[("pingwait", json!(0.5))]).given(slow).run(60.0);
        assert_eq!(story.count("offline") > 0, offline, "{delay} ms: {:#?}", story.log());
    }
}

fn b42_what_is_missing_has_defaults_or_is_a_clear_error() {
    let refused = |text: &str| Play::with(serde_json::from_str(text).unwrap()).refusal();
    for (text, word) in [
        (r#"{"ping": 5}"#, "ping"),
        (r#"{"ping": {"enable": true}}"#, "monitorip"),
        (r#"{"failover": {"enable": true, "primary-if": "wan1"}}"#, "standby-if"),
        (r#"{"updown": {"enable": true, "monitorip": ["1.1.1.1"]}}"#, "monitorip"),
    ] {
        let said = refused(text);
        assert!(said.contains(word) && said.lines().count() == 1, "{text}: {said}");
    }
    let play = Play::with(json!({ "updown": { "enable": true, "monitorip": "1.1.1.1" } }));
    let story = play.given(add_route(default_by(WAN1, GATEWAYS[0], 100))).run(30.0);
    assert_eq!(story.world.probes.iter().flatten().count(), 3, "one every ten seconds: it answers");
}

fn b47_a_reply_after_pingwait_is_late() {
    let slow = |world: &mut SimWorld| world.networks[0].delay = Duration::from_millis(1200);
    let story = updown(&[]).given(slow).run(30.0);
    story.tells(&[
        "Probe of 1.1.1.1: reply too late, after 1200.0 ms",
        "Monitored IP 1.1.1.1 offline",
    ]);
}

fn beside() -> Play {
    updown(&[("addping", json!("8.8.8.8,9.9.9.9"))])
}

fn issue3_addresses_beside_are_looked_at_while_the_outage_lasts() {
    let dead = |hosts: &'static [[u8; 4]]| {
        move |world: &mut SimWorld| {
            world.networks[0].dead = hosts.iter().map(|host| (*host).into()).collect()
        }
    };
    let play =
        beside().at(60.5, dead(&[[1, 1, 1, 1]])).at(300.0, dead(&[[1, 1, 1, 1], [9, 9, 9, 9]]));
    let story = play.at(600.0, dead(&[])).run(700.0);
    story.tells(&[
        "Monitored IP 1.1.1.1 offline",
        "Secondary IP 9.9.9.9 offline",
        "Outage Duration",
    ]);
    assert!((300.0..400.0).contains(&story.time("Secondary IP 9.9.9.9 offline")));
}

fn issue6_what_follows_from_the_addresses_beside_is_said() {
    let story = beside().at(60.5, upstream(0, false)).run(120.0);
    story.tells(&[
        "Monitored IP 1.1.1.1 offline",
        "Secondary IP 8.8.8.8 offline",
        "Secondary IP 9.9.9.9 offline",
        "8.8.8.8, 9.9.9.9 do not answer either: the fault lies between this system and them, or in them",
    ]);
}
