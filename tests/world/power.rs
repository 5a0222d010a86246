//! The power fails: what was promised is on the disk by then.

use std::time::Duration;

use imon::engine::world::Ending;
use libtest_mimic::Trial;

use crate::house::{STOP, at, router, said};
use crate::sim::{INSTANCE, SimWorld};

pub fn tests() -> Vec<Trial> {
    let trial = |name: &str, test: fn()| {
        Trial::test(format!("power::{name}"), move || {
            test();
            Ok(())
        })
    };
    vec![
        trial("what_was_told_is_not_told_again", what_was_told_is_not_told_again),
        trial("what_was_not_told_is_told", what_was_not_told_is_told),
        trial("a_state_is_the_old_or_the_new_one", a_state_is_the_old_or_the_new_one),
    ]
}

const CONFIG: &str = r#"{"global": {"action": "/script"}, "ddns": {"enable": true, "interval": 60,
    "sources": ["http://a.example/", "http://b.example/"],
    "update": [{"type": "url", "url": "http://duck.example/?ip={ip}", "ok": "OK", "insecure": true}]}}"#;

/// The address changes after ten minutes, and the power fails so much later. The disk takes its
/// time.
fn failed(seed: u64, after: Duration, stall: Duration) -> SimWorld {
    let mut world = router(1);
    world.files.remove(std::path::Path::new("/etc/resolv.conf"));
    world.reseed(seed);
    world.script = Box::new(|_| (Duration::from_millis(300), Ending::Status(0)));
    world.when(at(590), move |world| world.stall = stall);
    world.when(at(600), |world| world.networks[0].external = [81, 2, 70, 1].into());
    world.when(at(600) + after, |world| {
        world.stall = Duration::ZERO;
        world.power_failure();
    });
    world.signal(at(1800), STOP);
    world.run(CONFIG).start(INSTANCE)
}

fn what_was_told_is_not_told_again() {
    let mut twice = 0;
    for step in 0..600 {
        let world = failed(
            step + 1,
            Duration::from_millis(step * 150),
            Duration::from_millis(step * 37 % 900),
        );
        let called: Vec<_> =
            world.calls.iter().filter(|call| call.words[1] == "81.2.70.1").collect();
        assert!(!called.is_empty() && called.last().unwrap().done.is_some());
        let done = called.iter().filter(|call| call.done.is_some()).count();
        assert_eq!(
            done,
            1,
            "{step}: {:?}",
            called.iter().map(|call| (call.at, call.done)).collect::<Vec<_>>()
        );
        twice += usize::from(called.len() > 1);
        let taken: Vec<_> =
            world.internet.taken.iter().filter(|t| t.address.to_string() == "81.2.70.1").collect();
        assert_eq!(taken.iter().filter(|taken| taken.heard).count(), 1, "{step}: {taken:?}");
    }
    assert!(twice >= 1, "the power never failed while the script ran");
}

fn what_was_not_told_is_told() {
    // With the disk not even the note of it is to be had in time.
    for step in 0..60 {
        let world =
            failed(step + 1, Duration::from_millis(500 + step * 2000), Duration::from_secs(40));
        let done = world
            .calls
            .iter()
            .filter(|call| call.words[1] == "81.2.70.1" && call.done.is_some())
            .count();
        assert!(done >= 1, "{step}");
    }
}

fn a_state_is_the_old_or_the_new_one() {
    for step in 0..200 {
        let world = failed(step + 1, Duration::from_millis(step * 450), Duration::from_millis(200));
        assert_eq!(said(&world, "is not used"), 0, "{step}: no state is damaged");
        let state = &world.files[std::path::Path::new("/var/lib/imon/sim.ddns.json")];
        assert!(String::from_utf8_lossy(state).contains("\"published\":\"81.2.70.1\""), "{step}");
    }
}
