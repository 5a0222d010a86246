//! Once it runs, imon allocates nothing for a probe: neither for sending it, nor for its reply, its
//! result in the log or the status file. Memory of a service that is to run for years then cannot
//! grow with the number of its probes.
//!
//! This program counts all allocations. To measure, it runs itself again inside a lab as the
//! daemon, in process.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code, not imon's core"
)]

use std::alloc::System;
use std::thread;
use std::time::Duration;

use imon::config::source::ConfigSource;
use imon::engine::{Daemon, Start};
use imon::sys::files::Runtime;
use imon::sys::log::Logger;
use imon::sys::notify::Notify;
use imon::sys::real::Real;
use imon::sys::signal::Signals;
use imon_lab::Lab;
use imon_lab::roles::{Behaviour, Responder};
use libtest_mimic::{Arguments, Trial};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// First argument of this program when it is to be the daemon.
const MEASURE: &str = "--measure";
const INSTANCE: &str = "t";
/// Long enough for buffers to find their size.
const WARM_UP: Duration = Duration::from_secs(4);
const SHORT: Duration = Duration::from_secs(8);
/// Long enough for the status to be written, which takes half a minute while nothing changes.
const LONG: Duration = Duration::from_secs(30);

/// What starting the child takes, and how often it is started, in seconds. Fewer than any test has
/// probes.
const PER_STATUS: u64 = 40;
const EVERY: u64 = 30;

fn main() {
    imon_lab::roles::intercept();
    match std::env::args().nth(1).as_deref() {
        Some(MEASURE) => return measure(),
        // The daemon starts this same program again to write its status.
        Some(imon::sys::writer::ARGUMENT) => return imon::sys::writer::main(),
        _ => {}
    }
    let mut arguments = Arguments::from_args();
    // They mostly wait.
    arguments.test_threads.get_or_insert(6);
    let trial = |name: &str, test: fn()| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    let trials = vec![
        trial("updown_allocates_nothing_while_its_address_answers", updown_online),
        trial("updown_allocates_nothing_in_an_outage", updown_offline),
        trial("ping_allocates_nothing_with_its_results_in_the_system_log", ping_syslog),
        trial("ping_allocates_nothing_with_its_results_on_the_terminal", ping_terminal),
        trial("ping_allocates_nothing_with_a_thousand_targets", ping_thousand),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

fn updown_online() {
    let (lab, internet) = lab();
    let config = r#"{"updown": {"enable": true, "interval": 0.1, "monitorip": "1.1.1.1", "addping": "8.8.8.8"}}"#;
    assert_nothing_allocated(&lab, &internet, config, "syslog", LONG, 200);
}

fn updown_offline() {
    let (lab, internet) = lab();
    internet.set("1.1.1.1", &Behaviour::silent());
    let config = r#"{"updown": {"enable": true, "interval": 0.1, "pingwait": 0.05, "monitorip": "1.1.1.1",
        "addping": "8.8.8.8"}}"#;
    assert_nothing_allocated(&lab, &internet, config, "syslog", SHORT, 60);
}

fn ping_syslog() {
    let (lab, internet) = lab();
    let _log = lab.syslog();
    assert_nothing_allocated(&lab, &internet, &ping("1.1.1.1,8.8.8.8", 0.5), "syslog", SHORT, 50);
}

fn ping_terminal() {
    let (lab, internet) = lab();
    assert_nothing_allocated(&lab, &internet, &ping("1.1.1.1,8.8.8.8", 0.5), "terminal", SHORT, 50);
}

fn ping_thousand() {
    let (lab, internet) = lab();
    lab.sh("inet", "ip route add local 198.19.0.0/22 dev lo");
    let targets: Vec<String> =
        (0..1000).map(|n| format!("198.19.{}.{}", n / 250, n % 250 + 1)).collect();
    // The last target has its second check, the last one to need memory of its own, well within the
    // time to warm up.
    assert_nothing_allocated(
        &lab,
        &internet,
        &ping(&targets.join(","), 1.4),
        "terminal",
        SHORT,
        4000,
    );
}

/// Two probes every `interval` seconds.
fn ping(targets: &str, interval: f64) -> String {
    format!(
        r#"{{"ping": {{"enable": true, "interval": {interval}, "pingcount": 2, "monitorip": "{targets}"}}}}"#
    )
}

fn lab() -> (Lab, Responder) {
    let lab = Lab::new();
    let internet = lab.responder("inet");
    (lab, internet)
}

/// Runs the daemon on this configuration. It must send at least this many probes and must not
/// allocate while it does, but for starting the child that writes the status.
#[track_caller]
fn assert_nothing_allocated(
    lab: &Lab,
    internet: &Responder,
    config: &str,
    log: &str,
    window: Duration,
    least: usize,
) {
    lab.write(&format!("/etc/default/imon-{INSTANCE}"), config);
    let daemon = lab.spawn(
        "router",
        std::env::current_exe().unwrap(),
        [MEASURE, log, &window.as_secs().to_string()],
    );
    let limit = (WARM_UP + window) * 3;
    daemon.wait_line(|l| l == "warm", limit);
    let before = internet.count();
    let line = daemon.wait_line(|l| l.starts_with("allocations "), limit).text;
    let probes = internet.count() - before;
    assert!(probes >= least, "only {probes} probes\n{}", lab.timeline());
    let numbers: Vec<u64> =
        line.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
    let most = PER_STATUS * (window.as_secs() / EVERY + 1);
    assert!(
        numbers.len() == 2 && numbers.iter().sum::<u64>() <= most,
        "{line} in {probes} probes, at most {most}"
    );
    assert!(daemon.wait(limit).success());
}

/// The daemon, and beside it a thread that counts and then ends it. The thread itself allocates
/// nothing in between.
fn measure() {
    let signals = Signals::install().unwrap();
    let source = ConfigSource::instance(INSTANCE, None);
    let config = imon::sys::configuration::load(&source).config.unwrap();
    let log = Logger::new(INSTANCE, std::env::args().nth(2).as_deref() == Some("syslog"));
    let runtime = Runtime::open(INSTANCE).ok();
    assert!(runtime.is_some(), "the status file is part of what is measured");
    let notify = Notify::from_environment();
    let start = Start {
        world: Real::new(signals, log, notify, runtime),
        source,
        config,
        print: 0,
        instance: INSTANCE.to_owned(),
    };
    let Ok(mut daemon) = Daemon::new(start) else { panic!("no ICMP socket") };
    let window = Duration::from_secs(std::env::args().nth(3).unwrap().parse().unwrap());
    let counter = thread::spawn(move || {
        thread::sleep(WARM_UP);
        println!("warm");
        let region = Region::new(ALLOCATOR);
        thread::sleep(window);
        let change = region.change();
        println!("allocations {}, reallocations {}", change.allocations, change.reallocations);
        signal_hook::low_level::raise(libc::SIGTERM).unwrap();
    });
    daemon.run().unwrap();
    counter.join().unwrap();
}
