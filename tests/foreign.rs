//! Binaries of `cross/build` for other processors, under qemu-user, in a lab: known answers, ping,
//! DNS, HTTP, and what the kernel tells by netlink. `cargo test --test foreign` needs dist/ with at
//! least aarch64 and armv7, and qemu-user-static; it is no part of `cargo test --workspace`, which
//! needs no binaries.
//!
//! What qemu-user cannot do: start the binary from itself (the worker for web requests is therefore
//! started by hand here), show time as the processor takes it, and tell its memory.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code, not imon's core"
)]

use std::path::Path;
use std::time::Duration;

use imon_lab::{Finished, Lab};
use libtest_mimic::{Arguments, Trial};
use serde_json::Value;

const BINARIES: [(&str, &str, bool); 5] = [
    ("aarch64-unknown-linux-musl", "qemu-aarch64-static", true),
    ("armv7-unknown-linux-musleabihf", "qemu-arm-static", true),
    ("arm-unknown-linux-musleabihf", "qemu-arm-static", false),
    ("mipsel-unknown-linux-musl", "qemu-mipsel-static", false),
    ("mips-unknown-linux-musl", "qemu-mips-static", false),
];

fn main() {
    imon_lab::roles::intercept();
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(2);
    let mut trials = Vec::new();
    for (target, qemu, required) in BINARIES {
        for name in ["imon", "imon-nano"] {
            let file = format!("{}/dist/{target}/{name}", env!("CARGO_MANIFEST_DIR"));
            // Those that CI does not build are tested where they are.
            if required || Path::new(&file).exists() {
                trials.push(Trial::test(format!("{target}::{name}"), move || {
                    lives(&file, qemu);
                    Ok(())
                }));
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// The address in the last words lies in the program's code.
fn says_where_it_panics(panicked: &Finished, file: &str) {
    let said = panicked.stderr();
    let line = said
        .lines()
        .find(|l| l.starts_with("imon: ? Internal error in imon "))
        .unwrap_or_else(|| panic!("{panicked:?}"));
    let address =
        line.split("at 0x").nth(1).and_then(|rest| rest.strip_suffix(". Please report this line"));
    let address = address
        .and_then(|hex| u64::from_str_radix(hex, 16).ok())
        .unwrap_or_else(|| panic!("{line}"));
    let segments = std::process::Command::new("readelf")
        .args(["-lW", file])
        .output()
        .expect("readelf (binutils)");
    let segments = String::from_utf8_lossy(&segments.stdout).into_owned();
    let hex = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or(0);
    let code = segments
        .lines()
        .map(|l| l.split_whitespace().collect::<Vec<_>>())
        .find(|f| f.first() == Some(&"LOAD") && f.contains(&"E"));
    let code = code.unwrap_or_else(|| panic!("{segments}"));
    let (start, size) = (hex(code[2]), hex(code[5]));
    assert!(
        (start..start + size).contains(&address),
        "{line}: the code is {size:#x} bytes at {start:#x}"
    );
}

fn lives(file: &str, qemu: &str) {
    assert!(Path::new(file).exists(), "{file} is not there: cross/build TARGET --nano");
    let lab = Lab::builder().up();
    let (_dns, _http) = (lab.dns(), lab.http());
    let run = |args: &[&str]| -> Finished {
        lab.spawn("router", qemu, [&[file], args].concat()).finish(Duration::from_secs(60))
    };
    let version = run(&["--version"]);
    assert_eq!(version.stdout(), concat!("imon ", env!("CARGO_PKG_VERSION"), "\n"), "{version:?}");
    let known = run(&["self-test"]);
    assert!(known.code() == 0 && known.stdout().ends_with("all right\n"), "{known:?}");
    says_where_it_panics(&run(&["self-test", "panic"]), file);
    lab.write("/run/lab/good", r#"{"ping": {"enable": true, "monitorip": "1.1.1.1"}}"#);
    lab.write("/run/lab/bad", r#"{"ping": {"enable": true, "monitorip": "1.1.1"}}"#);
    let good = run(&["check-config", "--config", "/run/lab/good"]);
    assert_eq!(
        (good.code(), good.stdout().as_str()),
        (0, "/run/lab/good: valid, enables ping\n"),
        "{good:?}"
    );
    let bad = run(&["check-config", "--config", "/run/lab/bad"]);
    assert!(bad.code() == 1 && bad.stderr().contains("/run/lab/bad:1, ping.monitorip"), "{bad:?}");
    // Netlink, ICMP with the kernel's time stamps, TCP and DNS.
    let check = run(&["check", "--json", "--config", "/run/lab/good"]);
    let value: Value =
        serde_json::from_str(&check.stdout()).unwrap_or_else(|e| panic!("{e}: {check:?}"));
    let detail = |id: &str| {
        let tests = value["tests"].as_array().unwrap();
        let test =
            tests.iter().find(|t| t["id"] == id).unwrap_or_else(|| panic!("no {id} in {value:#}"));
        assert_eq!(test["state"], "ok", "{value:#}");
        test["detail"].as_str().unwrap().to_owned()
    };
    assert!(detail("route").starts_with("default via 192.168.42.1 dev wan1"), "{value:#}");
    assert!(detail("address").contains("192.168.42.2/24"), "{value:#}");
    assert!(detail("gateway").contains("answers in"), "{value:#}");
    for id in
        ["ping:1.1.1.1", "tcp:8.8.8.8", "resolver:8.8.8.8", "mtu", "ipv6-ping:2606:4700:4700::1111"]
    {
        let _ = detail(id);
    }
    // A round trip in one machine takes less than a second, whatever the size of a time stamp's
    // fields.
    let rtt: f64 = detail("ping:1.1.1.1")
        .trim_start_matches("answers in ")
        .trim_end_matches(" ms")
        .parse()
        .unwrap();
    assert!((0.0..1000.0).contains(&rtt), "{rtt}");
    // One web request, as the daemon asks for it.
    lab.write(
        "/run/lab/task",
        r#"{"source":"http://198.18.0.80/","family":"4","device":null,"from":null,"roots":null}"#,
    );
    let line = format!("exec {qemu} '{file}' web-worker </run/lab/task");
    let web = lab.spawn("router", "sh", ["-c", &line]).finish(Duration::from_secs(30));
    assert!(
        web.stdout().contains("\"found\":\"192.168.42.2\"")
            || web.stdout().contains("a private address"),
        "{web:?}"
    );
    // And the monitors themselves.
    let imon = lab.spawn("router", qemu, [file, "--config", "/run/lab/good", "--nosyslog"]);
    imon.wait_line(
        |l| l.contains("Ping Result: IP:1.1.1.1 State:True minrtt:0."),
        Duration::from_secs(30),
    );
}
