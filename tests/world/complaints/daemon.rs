//! The program around the monitors: reloads, signals, disks, permissions, and that nothing waits
//! for anything else.

use std::path::Path;
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::json;

use super::play::*;
use super::scenarios;
use crate::sim::SimWorld;

pub(super) fn tests() -> Vec<Trial> {
    scenarios![
        b35_without_permission_it_does_not_begin,
        d1_two_hundred_pings_a_second_keep_no_news_from_failover,
        d2_a_reload_that_is_refused_changes_nothing,
        d3_a_disk_that_stalls_delays_nothing,
        d4_what_a_full_disk_did_not_take_is_written_later,
        d6_reloads_of_the_same_file_hide_no_outage,
        d6_a_storm_of_signals_is_one,
        d7_too_few_descriptors_are_no_want_of_permission,
    ]
}

const AT_ONCE: f64 = 0.05;

fn b35_without_permission_it_does_not_begin() {
    let said = Play::new().given(|world| world.no_pings = Some(libc::EPERM)).refusal();
    // The command line adds what grants it.
    assert_eq!(said, "No ICMP socket: Operation not permitted");
}

fn d1_two_hundred_pings_a_second_keep_no_news_from_failover() {
    for pingcount in [9, 10] {
        let ping = json!({ "enable": true, "interval": 0.1, "pingcount": pingcount, "monitorip": "1.1.1.1,8.8.8.8" });
        let mut play = Play::new().at(60.4, plugged(WAN1, false));
        play.config["ping"] = ping;
        let story = play.run(90.0);
        story.moves(&[(60.4, AT_ONCE, WAN2)]);
        story.tells(&["no carrier", "Primary Network net42 (wan1) is now offline"]);
        let most = story.world.pings * 2 + 10_000;
        assert!(
            story.world.waits < most,
            "{} waits for {} pings",
            story.world.waits,
            story.world.pings
        );
    }
}

fn d2_a_reload_that_is_refused_changes_nothing() {
    let ping = json!({ "enable": true, "interval": 1, "monitorip": "1.1.1.1,2001:db8::1" });
    let refuse = |world: &mut SimWorld| world.no_pings = Some(libc::EPERM);
    let mut play = Play::new().at(59.0, refuse).reload(60.0, &json!({ "ping": ping }).to_string());
    play = play.at(70.4, plugged(WAN1, false));
    let story = play.run(120.0);
    story.tells(&["the old configuration goes on", "Network Failover to Standby"]);
    story.moves(&[(70.4, AT_ONCE, WAN2)]);
    story.has_no_gap();
}

fn d3_a_disk_that_stalls_delays_nothing() {
    let story = published()
        .given(|world| world.stall = Duration::from_secs(8))
        .at(4.4, plugged(WAN1, false))
        .run(60.0);
    story.moves(&[(4.4, AT_ONCE, WAN2)]);
    assert!(!story.called("ddns-ip-update").is_empty(), "and the address is published");
}

fn d4_what_a_full_disk_did_not_take_is_written_later() {
    let state =
        |world: &SimWorld| world.files.get(Path::new("/var/lib/imon/sim.ddns.json")).cloned();
    let full = |number| move |world: &mut SimWorld| world.disk_error = number;
    let story = published().given(full(Some(libc::ENOSPC))).at(10.0, full(None)).run(100.0);
    let saved = state(&story.world)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    assert!(saved.contains("81.2.69.3"), "{saved} {:#?}", story.log());
    let words = story.count("No space left");
    // The directory, the status, the address, and the note of the publication.
    assert!((1..=4).contains(&words), "{words}: {:#?}", story.log());
    let calls = story.called("ddns-ip-update").len();
    assert_eq!(calls, 1, "{:?}", story.calls());
    // The next start knows it.
    let mut world = story.world;
    world.signal(at(200.0), TERM);
    let world = world.start(crate::sim::INSTANCE);
    assert_eq!(world.calls.iter().filter(|call| call.words[0] == "ddns-ip-update").count(), 1);
}

/// Failover, and the external address told to the script.
fn published() -> Play {
    let mut play = Play::new();
    play.config["ddns"] =
        json!({ "enable": true, "interval": 600, "sources": ["http://a.example/", "dns:opendns"] });
    play
}

fn d6_reloads_of_the_same_file_hide_no_outage() {
    let updown = json!({ "enable": true, "interval": 1, "pingcount": 2, "pingwait": 1, "monitorip": "1.1.1.1" });
    let mut play = Play::new().at(60.4, upstream(0, false)).at(60.4, upstream(1, false));
    play.config["updown"] = updown;
    for n in 0..50 {
        play.world.signal(at(40.0 + f64::from(n)), HUP);
    }
    let story = play.run(100.0);
    assert!(story.time("Monitored IP 1.1.1.1 offline") < 63.5, "{:#?}", story.log());
    assert!(story.time("Both Primary and Standby") < 63.5, "{:#?}", story.log());
}

fn d6_a_storm_of_signals_is_one() {
    let mut play = Play::new();
    for n in 0..10_000 {
        let signal = if n % 2 == 0 { HUP } else { USR1 };
        play.world.signal(at(30.0 + f64::from(n) / 1000.0), signal);
    }
    let story = play.run(100.0);
    for word in ["Checking now", "Reloaded"] {
        assert!((2..=12).contains(&story.count(word)), "{word}: {:#?}", story.log());
    }
    story.moves(&[]);
}

fn d7_too_few_descriptors_are_no_want_of_permission() {
    let said = Play::new().given(|world| world.no_pings = Some(libc::EMFILE)).refusal();
    assert!(said.contains("Too many open files") && !said.contains("setcap"), "{said}");
}
