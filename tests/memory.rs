//! The resident memory of the static binary with all four monitors on, against the row of `cross/budget`.
//! `cargo test --test memory` needs dist/ with the x86_64 binary; it is no part of `cargo test --workspace`, which needs no
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

use imon_lab::{Lab, Proc, Signal};
use libtest_mimic::{Arguments, Trial};
use serde_json::Value;

const TARGET: &str = "x86_64-unknown-linux-musl";
const SOON: Duration = Duration::from_secs(30);
/// So long it is looked at once it has settled: some checks of each monitor, and its status is written.
const LOOKED_AT: Duration = Duration::from_secs(15);

fn main() {
    imon_lab::roles::intercept();
    let name = "all_monitors_together_stay_within_the_budget_for_resident_memory";
    let trial = Trial::test(name, || {
        all_monitors_together();
        Ok(())
    });
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit();
}

fn all_monitors_together() {
    let file = format!("{}/dist/{TARGET}/imon", env!("CARGO_MANIFEST_DIR"));
    assert!(Path::new(&file).exists(), "{file} is not there: cross/build {TARGET}");
    let limit_kib = budget() / 1024;
    let lab = Lab::builder().imon(file).public().up();
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
        let status: Value = serde_json::from_str(&lab.read("/run/imon/all.json")).unwrap_or_default();
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
    let rows = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/cross/budget")).unwrap();
    let mut rows = rows.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row.first() == Some(&TARGET) && row.get(3) == Some(&"memory"));
    row.expect("cross/budget has a row for memory")[2].parse().expect("a number of bytes")
}
