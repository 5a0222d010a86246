//! The whole loop through a day of which everything is known.

use std::net::IpAddr;
use std::time::Duration;

use imon::base::time::Instant;
use imon::engine::world::Arrived;
use imon::engine::world::Ending;
use imon::event::Monitor;
use libtest_mimic::Trial;

use crate::sim::{SimWorld, seconds};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

const STOP: Arrived = Arrived { stop: true, reload: false, check_now: false, child: false };
const RELOAD: Arrived = Arrived { stop: false, reload: true, check_now: false, child: false };

pub fn tests() -> Vec<Trial> {
    let trial = |name: &str, test: fn()| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    vec![
        trial("a_day_with_one_outage_tells_it_once", a_day_with_one_outage_tells_it_once),
        trial("a_day_from_one_seed_is_always_the_same", a_day_from_one_seed_is_always_the_same),
        trial(
            "an_outage_goes_on_over_reloads_good_and_bad",
            an_outage_goes_on_over_reloads_good_and_bad,
        ),
        trial(
            "replies_of_very_many_targets_are_collected",
            replies_of_very_many_targets_are_collected,
        ),
        trial(
            "the_end_waits_for_a_script_no_longer_than_its_bound",
            the_end_waits_for_a_script_no_longer_than_its_bound,
        ),
        trial(
            "a_wait_that_fails_ends_the_program_as_it_is",
            a_wait_that_fails_ends_the_program_as_it_is,
        ),
    ]
}

const CONFIG: &str = r#"{"global": {"action": "/script"},
    "updown": {"enable": true, "interval": 60, "pingcount": 3, "pingwait": 2, "monitorip": "192.0.2.1"},
    "ping": {"enable": true, "interval": 60, "pingcount": 4, "monitorip": "192.0.2.1,203.0.113.9"}}"#;

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

/// 192.0.2.1 does not answer from three to half past three, 203.0.113.9 always does. The program is
/// stopped after a day.
fn world() -> SimWorld {
    let mut world = SimWorld::new(1);
    world.weather = Box::new(|now, to| {
        let is_out = now >= at(3 * HOUR) && now < at(3 * HOUR + 1800);
        (!is_out || to == IpAddr::from([203, 0, 113, 9])).then_some(Duration::from_millis(20))
    });
    world.signal(at(DAY), STOP);
    world
}

/// What was said of the outages, and when.
fn told(world: &SimWorld) -> Vec<(f64, &str)> {
    let lines = world.lines.iter().filter(|line| line.monitor == Some(Monitor::Updown));
    lines.map(|line| (seconds(line.at), line.text.as_str())).collect()
}

fn called<'a>(world: &'a SimWorld, name: &str) -> Vec<&'a [String]> {
    world.calls.iter().map(|call| call.words.as_slice()).filter(|words| words[0] == name).collect()
}

fn a_day_with_one_outage_tells_it_once() {
    let world = world().run(CONFIG);
    assert!(world.is_over());
    assert_eq!(
        told(&world),
        [
            (0.0, "Start Updown Monitor for IP Address 192.0.2.1"),
            (0.02, "Monitored IP 192.0.2.1 online"),
            (10_804.0, "Monitored IP 192.0.2.1 offline"),
            (12_601.0, "Monitored IP 192.0.2.1 online"),
            (12_601.0, "Outage Duration: 0 days 0 hours, 30 minutes 0 seconds"),
        ]
    );
    assert_eq!(called(&world, "updown-offline"), [["updown-offline", "192.0.2.1"]]);
    assert_eq!(called(&world, "updown-online"), [["updown-online", "192.0.2.1", "0:0:30:0"]]);
    let results = called(&world, "ping-result");
    let lost = results.iter().filter(|words| words[1].starts_with("192.0.2.1:False:")).count();
    assert_eq!((results.len(), lost), (2 * 24 * 60, 30));
    assert_eq!(world.notified, ["READY=1", "STOPPING=1"]);
    assert_eq!(world.status(), None, "the status file goes at the end");
    // A probe's time, its reply, and for a result of four probes the start and the end of the
    // script.
    let most = 2 * world.pings + 3 * world.calls.len() as u64 + DAY / 20;
    assert!(world.waits <= most, "{} waits for {} pings", world.waits, world.pings);
}

fn a_day_from_one_seed_is_always_the_same() {
    let (one, two) = (world().run(CONFIG), world().run(CONFIG));
    assert_eq!((&one.lines, &one.calls), (&two.lines, &two.calls));
    assert_eq!((one.waits, one.pings), (two.waits, two.pings));
}

fn an_outage_goes_on_over_reloads_good_and_bad() {
    let mut world = world();
    let ping = CONFIG
        .replace("203.0.113.9", "203.0.113.10")
        .replace("\"pingcount\": 4", "\"pingcount\": 5");
    for (minute, config) in [(5, CONFIG), (10, "nonsense"), (15, &ping)] {
        world.configure(at(3 * HOUR + minute * 60), config);
        world.signal(at(3 * HOUR + minute * 60 + 1), RELOAD);
    }
    let world = world.run(CONFIG);
    assert!(world.is_over());
    let said = |text: &str| world.lines.iter().filter(|line| line.text.contains(text)).count();
    assert_eq!(
        (said("Reloaded "), said("Nothing has changed"), said("the old configuration goes on")),
        (2, 1, 1)
    );
    assert_eq!(called(&world, "updown-offline").len(), 1);
    assert_eq!(called(&world, "updown-online"), [["updown-online", "192.0.2.1", "0:0:30:0"]]);
    let results = |host: &str| {
        called(&world, "ping-result").iter().filter(|words| words[1].starts_with(host)).count()
    };
    assert!(results("203.0.113.9:") < 200 && results("203.0.113.10:") > 1200);
}

fn replies_of_very_many_targets_are_collected() {
    let targets: Vec<String> =
        (0..1000).map(|n| format!("10.0.{}.{}", n / 250, n % 250 + 1)).collect();
    let config = format!(
        r#"{{"ping": {{"enable": true, "interval": 2, "pingcount": 2, "monitorip": "{}"}}}}"#,
        targets.join(",")
    );
    let mut world = SimWorld::new(1);
    world.signal(at(60), STOP);
    let world = world.run(&config);
    assert!(world.is_over());
    assert!(world.pings > 50_000, "{}", world.pings);
    assert!(world.waits < world.pings / 4, "{} waits for {} pings", world.waits, world.pings);
    assert!(!world.lines.iter().any(|line| line.text.contains(":False:")));
}

fn the_end_waits_for_a_script_no_longer_than_its_bound() {
    for stubborn in [false, true] {
        let mut world = SimWorld::new(1);
        world.script = Box::new(|_| (Duration::from_secs(HOUR), Ending::Status(0)));
        world.stubborn = stubborn;
        world.signal(at(10), STOP);
        let world = world.run(CONFIG);
        assert!(world.is_over(), "{:?}", world.lines);
        let last = seconds(world.lines.last().unwrap().at);
        let bounds = if stubborn { 11.2..11.3 } else { 10.0..10.1 };
        assert!(bounds.contains(&last), "{last}");
    }
}

fn a_wait_that_fails_ends_the_program_as_it_is() {
    let mut world = SimWorld::new(1);
    world.broken = Some(at(HOUR));
    let world = world.run(CONFIG);
    assert!(!world.is_over());
    assert!(world.status().is_some(), "as after a kill");
    assert!(world.lines.iter().all(|line| line.at <= at(HOUR)));
}
