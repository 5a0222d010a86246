//! The resident memory of the static binary with all four monitors on, against the row of
//! `cross/budget`, and what the process that writes for it needs beside. `cargo test --test memory`
//! needs dist/ with the x86_64 binary; it is no part of `cargo test --workspace`, which needs no
//! binaries of `cross/build`.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code, not imon's core"
)]

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use imon_lab::{Lab, Proc, Signal, Wan};
use libtest_mimic::{Arguments, Trial};
use serde_json::Value;

const TARGET: &str = "x86_64-unknown-linux-musl";
/// The private memory of the process that writes to the disk, in KiB.
const WRITER: u64 = 150;
const SOON: Duration = Duration::from_secs(30);
/// So long it is looked at once it has settled: some checks of each monitor, and its status is
/// written.
const LOOKED_AT: Duration = Duration::from_secs(15);

fn main() {
    imon_lab::roles::intercept();
    let trial = |name: &str, test: fn()| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    let trials = vec![
        trial(
            "all_monitors_together_stay_within_the_budget_for_resident_memory",
            all_monitors_together,
        ),
        trial("a_writer_that_hangs_has_little_memory_of_its_own", a_writer_that_hangs),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// A lab with the binary of dist.
fn lab() -> Lab {
    let file = format!("{}/dist/{TARGET}/imon", env!("CARGO_MANIFEST_DIR"));
    assert!(Path::new(&file).exists(), "{file} is not there: cross/build {TARGET}");
    Lab::builder().imon(file).public().up()
}

fn a_writer_that_hangs() {
    let lab = lab();
    let (_dns, _http) = (lab.dns(), lab.http());
    let config = r#"{"ddns": {"enable": true, "sources": ["http://198.18.0.80/", "dns:opendns", "dns:google"]}}"#;
    let imon = lab.imon("router").instance("all", config).nosyslog().spawn();
    let saved = || lab.read("/var/lib/imon/all.ddns.json").contains("203.0.113.1");
    lab.wait_until("the address is saved", SOON, saved);
    // What saves the next address stalls as on a bad SD card.
    let pid = lab.sh("router", "pgrep -xo imon").trim().to_owned();
    let line = format!(
        "exec strace -f -qq -e trace=fsync -e inject=fsync:delay_enter=60000000 -o /dev/null -p {pid}"
    );
    let strace = lab.spawn("router", "sh", ["-c", &line]);
    let traced =
        || !lab.sh("router", &format!("grep TracerPid /proc/{pid}/status")).trim().ends_with("\t0");
    lab.wait_until("strace is attached", SOON, traced);
    lab.public_address(Wan::One, "203.0.113.77");
    imon.signal(Signal::SIGUSR1);
    let mut seen = (String::new(), Instant::now());
    lab.wait_until("a writer hangs", SOON, || {
        let now = lab.sh("router", "pgrep -f 'imon file-write[r]' || true").trim().to_owned();
        if now != seen.0 {
            seen = (now, Instant::now());
        }
        !seen.0.is_empty() && seen.1.elapsed() > Duration::from_secs(1)
    });
    let sum = format!(
        "awk '/^Private_Dirty/ {{ sum += $2 }} END {{ print sum }}' /proc/{}/smaps",
        seen.0
    );
    let own: u64 = lab.sh("router", &sum).trim().parse().unwrap();
    println!("a writer that hangs: {own} of {WRITER} KiB are its own");
    assert!(own <= WRITER, "{own} KiB is more than {WRITER} KiB");
    strace.signal(Signal::SIGKILL);
}

fn all_monitors_together() {
    let limit_kib = budget() / 1024;
    let lab = lab();
    let (_dns, _http, _syslog) = (lab.dns(), lab.http(), lab.syslog());
    let config = r#"{
        "ping": {"enable": true, "interval": 1, "monitorip": "198.18.0.80"},
        "updown": {"enable": true, "interval": 1, "monitorip": "9.9.9.9"},
        "ddns": {"enable": true, "sources": ["http://198.18.0.80/", "dns:opendns", "dns:google"]},
        "failover": {"enable": true, "interval": 1, "prefer-primary": true, "hold-down": 0,
            "primary-if": "wan1", "primary-gw": "192.168.42.1", "primary-ping": "1.1.1.1",
            "standby-if": "wan2", "standby-gw": "192.168.62.1", "standby-ping": "8.8.8.8"}
    }"#;
    let imon = lab.imon("router").instance("all", config).spawn();
    let mut asked = Value::Null;
    lab.wait_until("all monitors at work", SOON, || {
        let status: Value =
            serde_json::from_str(&lab.read("/run/imon/all.json")).unwrap_or_default();
        let monitors = &status["monitors"];
        let settled = monitors["ddns"]["addresses"][0]["state"] == "known"
            && monitors["failover"]["wans"][1]["state"] == "up"
            && monitors["updown"]["state"] == "online"
            && monitors["ping"].is_object();
        if !settled && status["written"] != asked {
            asked = status["written"].clone();
            imon.signal(Signal::SIGUSR1);
        }
        settled
    });
    let most = most_kib(&imon);
    println!("resident memory with all monitors on: {most} of {limit_kib} KiB");
    assert!(most <= limit_kib, "{most} KiB is more than {limit_kib} KiB (cross/budget)");
}

/// The largest resident memory seen, in KiB.
fn most_kib(imon: &Proc) -> u64 {
    let began = Instant::now();
    let mut most = 0;
    while began.elapsed() < LOOKED_AT {
        most = most.max(imon.usage().rss_kib);
        sleep(Duration::from_millis(200));
    }
    assert!(most > 0, "a running program has some memory");
    most
}

/// The row's limit in bytes.
fn budget() -> u64 {
    let rows =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/cross/budget")).unwrap();
    let mut rows = rows.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row.first() == Some(&TARGET) && row.get(3) == Some(&"memory"));
    row.expect("cross/budget has a row for memory")[2].parse().expect("a number of bytes")
}
