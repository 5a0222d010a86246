//! What a probe costs: system calls, wake-ups, threads. How long it takes is for `benches/run` to
//! show, since no two runs on a busy machine agree; counts do.

use std::process::{Command, Stdio};
use std::time::Duration;

use imon_lab::{Lab, Proc};
use libtest_mimic::Trial;

use crate::{SOON, lab, trials};

/// Ten probes a second to one address, and nothing to log while it answers.
const UPDOWN: &str =
    r#"{"updown": {"enable": true, "interval": 0.1, "pingwait": 1, "monitorip": "1.1.1.1"}}"#;
/// Probes in a window.
const PROBES: usize = 110;
/// From the first probe of a window to the last, on a machine that is busy with other tests.
const WINDOW: Duration = Duration::from_secs(40);
/// Having the status written by a child, which is done every 30 s however many probes there are: a
/// file in memory with the content, a pair of sockets, the child's start (in a debug build the
/// standard library asks before each close whether the descriptor is open), its report and its end.
/// What the child itself does is not the loop's.
const CALLS_PER_STATUS: usize = 48;

pub(crate) fn tests() -> Vec<Trial> {
    trials![
        a_probe_takes_four_system_calls,
        a_probe_of_a_thousand_targets_takes_fewer_than_two_system_calls,
        a_probe_takes_one_wake_up_beside_the_replys,
        one_thread_with_all_monitors_and_a_script,
    ]
}

/// Calls ≤ 4 × probes + 7 × times the status was written. The four: send; wait for the reply; take
/// it; wait for the next probe's time.
fn a_probe_takes_four_system_calls() {
    let trace = traced(&lab(), UPDOWN, PROBES);
    let limit = 4 * trace.probes() + CALLS_PER_STATUS * trace.of("memfd_create");
    assert!(
        trace.calls.len() <= limit,
        "{} probes: {} calls, over {limit}: {}",
        trace.probes(),
        trace.calls.len(),
        trace.summary()
    );
}

/// Replies to very many probes are collected for some milliseconds. A result of each of the checks
/// of ten probes goes to the log, which takes two calls: may it be written, and write.
fn a_probe_of_a_thousand_targets_takes_fewer_than_two_system_calls() {
    let lab = lab();
    lab.sh("inet", "ip route add local 198.19.0.0/22 dev lo");
    let targets: Vec<String> =
        (0..1000).map(|n| format!("198.19.{}.{}", n / 250, n % 250 + 1)).collect();
    let config = format!(
        r#"{{"ping": {{"enable": true, "interval": 10, "pingcount": 10, "pingwait": 1, "monitorip": "{}"}}}}"#,
        targets.join(",")
    );
    let trace = traced(&lab, &config, 3000);
    let results = trace.of("write");
    let limit = 2 * trace.probes() + 2 * results + CALLS_PER_STATUS * trace.of("memfd_create");
    assert!(
        trace.calls.len() <= limit,
        "{} probes: {} calls, over {limit}: {}",
        trace.probes(),
        trace.calls.len(),
        trace.summary()
    );
}

/// Voluntary context switches ≤ 2 × probes: one to send, one for the reply.
fn a_probe_takes_one_wake_up_beside_the_replys() {
    let lab = lab();
    let internet = lab.responder("inet");
    let imon = lab.imon("router").instance("t", UPDOWN).nosyslog().spawn();
    let wait_for =
        |probes| lab.wait_until(&format!("{probes} probes"), WINDOW, || internet.count() >= probes);
    imon.wait_line(|l| l.ends_with("Monitored IP 1.1.1.1 online"), SOON);
    // A count is taken somewhere between two probes: either end may be off by one probe's wake-ups.
    let before = (imon.usage(), internet.count());
    wait_for(before.1 + PROBES);
    let after = (imon.usage(), internet.count());
    let woken = after.0.voluntary_switches - before.0.voluntary_switches;
    let probes = u64::try_from(after.1 - before.1).unwrap() + 2;
    assert!(woken <= 2 * probes, "{woken} wake-ups in {probes} probes\n{}", lab.timeline());
    assert_eq!(after.0.threads, 1, "{:?}", after.0);
}

fn one_thread_with_all_monitors_and_a_script() {
    let lab = lab();
    let _dns = lab.dns();
    lab.script("/run/lab/action", "#!/bin/sh\necho called \"$3\"\nsleep 1\n");
    let config = r#"{
        "global": {"action": "/run/lab/action"},
        "updown": {"enable": true, "interval": 1, "pingwait": 0.2, "monitorip": "203.0.113.99", "addping": "8.8.8.8"},
        "ping": {"enable": true, "interval": 1, "pingwait": 0.2, "monitorip": "1.1.1.1"}}"#;
    let imon = lab.imon("router").instance("t", config).nosyslog().spawn();
    imon.wait_line(|l| l == "called ping-result", SOON);
    let usage = imon.usage();
    assert_eq!((usage.threads, usage.children.len()), (1, 1), "{usage:?}\n{}", lab.timeline());
}

/// System calls between two probes, the first of them included.
struct Trace {
    /// Their names in order.
    calls: Vec<String>,
}

impl Trace {
    fn probes(&self) -> usize {
        self.of("sendto")
    }

    fn of(&self, name: &str) -> usize {
        self.calls.iter().filter(|c| *c == name).count()
    }

    fn summary(&self) -> String {
        let mut names = self.calls.clone();
        names.sort();
        names
            .chunk_by(|a, b| a == b)
            .map(|same| format!("{} {}", same.len(), same[0]))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// Runs imon under strace until this many probes have been sent, after a second's worth of others.
#[track_caller]
fn traced(lab: &Lab, config: &str, probes: usize) -> Trace {
    let version = Command::new("strace").arg("-V").stdout(Stdio::null()).status();
    assert!(
        version.is_ok(),
        "this test needs the program `strace`: install the package strace (apt install strace)"
    );
    let warm = probes / 10;
    let _internet = lab.responder("inet");
    lab.write("/etc/default/imon-t", config);
    let imon = env!("CARGO_BIN_EXE_imon");
    let args = ["-f", "-qq", "-o", "/run/lab/trace", imon, "--instance", "t", "--nosyslog"];
    let strace: Proc = lab.spawn("router", "strace", args);
    let sends = || of_imon(&lab.read("/run/lab/trace")).filter(|l| name(l) == "sendto").count();
    lab.wait_until("the probes to be sent", WINDOW, || {
        assert!(strace.alive(), "strace or imon has ended\n{}", lab.timeline());
        sends() > warm + probes
    });
    let text = lab.read("/run/lab/trace");
    let mut names =
        of_imon(&text).map(name).filter(|n| !n.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let nth =
        |n| names.iter().enumerate().filter(|(_, name)| *name == "sendto").nth(n).map(|(at, _)| at);
    let (first, last) = (nth(warm).unwrap(), nth(warm + probes).unwrap());
    names.truncate(last);
    Trace { calls: names.split_off(first) }
}

/// The lines of a trace that are about imon itself and not about a child of its.
fn of_imon(trace: &str) -> impl Iterator<Item = &str> {
    let pid = trace.split(' ').next().unwrap_or_default();
    trace.lines().filter(move |line| line.split(' ').next() == Some(pid))
}

/// The call in a line of a trace, `PID name(arguments) = result`; empty for a signal and the end of
/// a call that another line began.
fn name(line: &str) -> &str {
    let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
    match call.split_once('(') {
        Some((name, _)) if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => name,
        _ => "",
    }
}
