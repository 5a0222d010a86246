//! imon as a service: signals, reload, lock, status file, the service manager, and what it costs
//! over time.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use imon_lab::roles::Behaviour;
use imon_lab::{Lab, Proc, Signal};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::tools::{
    both, ping, processes, recorder, secs, started, stop, undated, updown, wait_calls,
};
use crate::{SOON, lab, trials};

pub(crate) fn tests() -> Vec<Trial> {
    trials![
        sigterm_and_sigint_end_it_well_within_200_ms,
        it_ends_within_2_s_with_a_script_that_ignores_sigterm,
        signals_are_blocked_or_handled_from_the_first_instruction_on,
        a_signal_at_the_first_moment_is_obeyed,
        a_reload_keeps_an_outage_and_applies_what_changed,
        a_reload_adds_and_removes_monitors,
        a_reload_refuses_a_bad_file_and_goes_on,
        sigusr1_checks_now,
        a_second_imon_of_an_instance_is_refused,
        the_status_tells_what_each_monitor_sees,
        the_status_is_whole_at_every_moment_and_written_at_most_once_a_second,
        the_status_follows_a_change_within_a_second_or_so,
        the_runtime_directory_is_where_systemd_says,
        a_runtime_directory_that_cannot_be_written_is_a_warning,
        the_service_manager_is_told_what_goes_on,
        the_watchdog_is_fed_while_imon_works,
        the_service_manager_learns_why_it_cannot_start,
        the_unit_is_valid_and_says_what_it_must,
        it_stays_small_over_hundreds_of_checks_and_calls,
        a_script_that_runs_when_imon_stops_is_ended_and_has_not_failed,
    ]
}

/// imon on the router as instance `t`, with its log on the terminal, running.
fn run(lab: &Lab, config: &str) -> Proc {
    let imon = lab.imon("router").instance("t", config).nosyslog().spawn();
    started(&imon);
    imon
}

/// How long imon takes to end after a signal. It must end well.
#[track_caller]
fn ends_after(imon: &Proc, signal: Signal) -> Duration {
    let start = Instant::now();
    imon.signal(signal);
    while imon.alive() {
        assert!(start.elapsed() < SOON, "{} does not end", imon.name());
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = start.elapsed();
    assert_eq!(imon.wait(SOON).code(), Some(0), "{:#?}", imon.texts());
    took
}

fn status(lab: &Lab) -> Value {
    serde_json::from_str(&lab.read("/run/imon/t.json")).unwrap_or_default()
}

#[track_caller]
fn wait_status(lab: &Lab, what: &str, so: impl Fn(&Value) -> bool) -> Value {
    lab.wait_until(&format!("a status with {what}"), SOON, || so(&status(lab)));
    status(lab)
}

fn sigterm_and_sigint_end_it_well_within_200_ms() {
    let lab = lab();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        // Tests that run beside this one may take the processor for a while, but not every time.
        let took: Vec<Duration> =
            (0..5).map(|_| ends_after(&run(&lab, &ping(json!({}))), signal)).collect();
        assert!(took.iter().min() < Some(&Duration::from_millis(200)), "{signal}: {took:?}");
    }
}

fn it_ends_within_2_s_with_a_script_that_ignores_sigterm() {
    let lab = lab();
    lab.script(
        "/run/lab/action",
        "#!/bin/sh\ntrap '' TERM\nsleep 2468 &\necho hangs\nwhile :; do wait; sleep 0.01; done\n",
    );
    let took: Vec<Duration> = (0..3)
        .map(|_| {
            let imon = run(&lab, &ping(json!({"action": "/run/lab/action"})));
            imon.wait_line(|l| l == "hangs", SOON);
            let took = ends_after(&imon, Signal::SIGTERM);
            assert!(
                processes(&lab, "/run/lab/action").is_empty()
                    && processes(&lab, "sleep 2468").is_empty()
            );
            took
        })
        .collect();
    assert!(took.iter().min() < Some(&secs(2)), "{took:?}");
    // One that obeys costs no time.
    lab.script("/run/lab/action", "#!/bin/sh\necho runs\nexec sleep 2468\n");
    let imon = run(&lab, &ping(json!({"action": "/run/lab/action"})));
    imon.wait_line(|l| l == "runs", SOON);
    let took = ends_after(&imon, Signal::SIGTERM);
    assert!(took < secs(1), "{took:?}");
    assert!(processes(&lab, "sleep 2468").is_empty());
}

/// One of the signal masks in /proc/PID/status, as `SigBlk`; 0 when the process is gone.
fn mask(status: &str, name: &str) -> u64 {
    let value = status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
    value.and_then(|v| u64::from_str_radix(v.trim(), 16).ok()).unwrap_or(0)
}

fn bits(signals: &[Signal]) -> u64 {
    signals.iter().map(|s| 1 << (*s as u64 - 1)).sum()
}

const EARLY: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGUSR1, Signal::SIGTERM];

/// Whatever has been seen of Rust's own preparations, which come before `main`: by then the signals
/// were safe.
fn signals_are_blocked_or_handled_from_the_first_instruction_on() {
    let (mut looks, mut early) = (0, 0);
    for _ in 0..100 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imon"));
        let mut imon = command.arg("--version").stdout(Stdio::null()).spawn().unwrap();
        let file = format!("/proc/{}/status", imon.id());
        while imon.try_wait().unwrap().is_none() {
            let Ok(text) = fs::read_to_string(&file) else { break };
            let safe = mask(&text, "SigBlk") | mask(&text, "SigCgt");
            let begun = mask(&text, "SigCgt") != 0 || mask(&text, "SigBlk") != 0;
            let prepared = mask(&text, "SigCgt") & bits(&[Signal::SIGSEGV]) != 0;
            looks += usize::from(prepared);
            early += usize::from(begun && !prepared);
            assert!(!(begun || prepared) || safe & bits(&EARLY) == bits(&EARLY), "{text}");
        }
        imon.wait().unwrap();
    }
    assert!(looks > 0, "not once seen alive ({early} times before Rust's own handlers)");
}

fn a_signal_at_the_first_moment_is_obeyed() {
    let lab = lab();
    lab.write("/etc/default/imon-t", &ping(json!({})));
    for _ in 0..8 {
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1] {
            let imon = lab.imon("router").args(["--instance", "t", "--nosyslog"]).spawn();
            let safe = || {
                let text =
                    fs::read_to_string(format!("/proc/{}/status", imon.pid())).unwrap_or_default();
                (mask(&text, "SigBlk") | mask(&text, "SigCgt")) & bits(&[signal]) != 0
            };
            // The dynamic loader of a test build comes before the program; of a static one there is
            // none.
            let deadline = Instant::now() + SOON;
            while !safe() && Instant::now() < deadline {}
            match signal {
                Signal::SIGHUP => brings(&imon, signal, "[t] Reloaded /etc/default/imon-t"),
                Signal::SIGUSR1 => brings(&imon, signal, "[t] Checking now (SIGUSR1)"),
                _ => drop(ends_after(&imon, signal)),
            }
            if imon.alive() {
                stop(&imon);
            }
        }
    }
}

/// Sends a signal and waits for the line that it brings.
#[track_caller]
fn brings(imon: &Proc, signal: Signal, text: &str) {
    let mark = imon.mark();
    imon.signal(signal);
    imon.wait_line_from(mark, |l| l.ends_with(text), SOON);
}

fn a_reload_keeps_an_outage_and_applies_what_changed() {
    let lab = lab();
    let internet = lab.responder("inet");
    recorder(&lab, "/run/lab/action", "");
    let imon = run(&lab, &updown(json!({"action": "/run/lab/action"})));
    imon.wait_line(|l| l.ends_with("Monitored IP 1.1.1.1 online"), SOON);
    internet.set("1.1.1.1", &Behaviour::silent());
    wait_calls(&lab, "updown", 1);
    let since = wait_status(&lab, "an outage", |s| s["monitors"]["updown"]["state"] == "offline");
    let since = since["monitors"]["updown"]["since"].clone();
    // Another interval, another date, another script: the same outage.
    recorder(&lab, "/run/lab/other", ": >/run/lab/other.called");
    let mut config: Value =
        serde_json::from_str(&updown(json!({"action": "/run/lab/other", "datefmt": "D"}))).unwrap();
    config["updown"]["interval"] = json!(0.3);
    lab.write("/etc/default/imon-t", &config.to_string());
    let mark = imon.mark();
    imon.signal(Signal::SIGHUP);
    imon.wait_line_from(mark, |l| l == "D [t] Reloaded /etc/default/imon-t", SOON);
    let before = internet.count();
    lab.wait_until("checks go on", SOON, || internet.count() > before + 4);
    let now = wait_status(&lab, "an outage", |s| s["monitors"]["updown"]["state"] == "offline");
    assert_eq!(now["monitors"]["updown"]["since"], since);
    internet.set("1.1.1.1", &Behaviour::normal());
    imon.wait_line_from(mark, |l| l == "D [t] Monitored IP 1.1.1.1 online", SOON);
    let calls = wait_calls(&lab, "updown", 2);
    let event: Value = serde_json::from_str(&calls[1].env["IMON_JSON"]).unwrap();
    assert_eq!((calls[1].args[2].as_str(), &event["since"]), ("updown-online", &since));
    assert!(lab.path("/run/lab/other.called").exists(), "the new script is called");
    stop(&imon);
    let offline =
        imon.texts().iter().filter(|l| l.ends_with("Monitored IP 1.1.1.1 offline")).count();
    assert_eq!(offline, 1, "the outage is said once: {:#?}", imon.texts());
}

fn a_reload_adds_and_removes_monitors() {
    let lab = lab();
    let internet = lab.responder("inet");
    let imon = run(&lab, &ping(json!({})));
    imon.wait_line(|l| undated(l).starts_with("[t] Ping Result: IP:1.1.1.1 "), SOON);
    let reload = |config: &str| {
        lab.write("/etc/default/imon-t", config);
        let mark = imon.mark();
        imon.signal(Signal::SIGHUP);
        imon.wait_line_from(mark, |l| l.ends_with("[t] Reloaded /etc/default/imon-t"), SOON);
        mark
    };
    let mark = reload(&both(json!({})));
    imon.wait_line_from(mark, |l| undated(l) == "[t-updown] Monitored IP 1.1.1.1 online", SOON);
    imon.wait_line_from(
        mark,
        |l| undated(l).starts_with("[t-ping] Ping Result: IP:1.1.1.1 "),
        SOON,
    );
    // Another address, and only one monitor.
    let mark = reload(&updown(json!({})).replace("1.1.1.1", "8.8.8.8"));
    imon.wait_line_from(mark, |l| undated(l) == "[t] Monitored IP 8.8.8.8 online", SOON);
    let before = internet.requests_to("1.1.1.1").len();
    let now = internet.requests_to("8.8.8.8").len();
    lab.wait_until("checks of the new one", SOON, || {
        internet.requests_to("8.8.8.8").len() > now + 4
    });
    assert_eq!(internet.requests_to("1.1.1.1").len(), before, "the old one is left alone");
    let keys = wait_status(&lab, "updown only", |s| s["monitors"]["ping"].is_null());
    assert!(keys["monitors"]["updown"].is_object(), "{keys}");
    // Many times, and with nothing changed: nothing is said twice, nothing is left behind.
    let fds = imon.usage().descriptors;
    let mark = imon.mark();
    for _ in 0..20 {
        reload(&updown(json!({})).replace("1.1.1.1", "8.8.8.8"));
    }
    assert_eq!(imon.usage().descriptors, fds);
    assert!(
        !imon.texts()[mark..].iter().any(|l| l.contains("Monitored IP")),
        "{:#?}",
        &imon.texts()[mark..]
    );
    stop(&imon);
}

fn a_reload_refuses_a_bad_file_and_goes_on() {
    let lab = lab();
    let internet = lab.responder("inet");
    let imon = run(&lab, &ping(json!({})));
    let file = "/etc/default/imon-t";
    for (text, error) in [
        ("{", "[t] ? "),
        (
            r#"{"ping": {"enable": true, "interval": 0, "monitorip": "1.1.1.1"}}"#,
            "[t] ? Invalid value 0 for interval: ",
        ),
        (r#"{"ping": {"enable": false}}"#, "[t] ? No monitors are enabled."),
        (
            r#"{"ddns": {"enable": true, "sources": "nonsense"}}"#,
            "[t] ? Invalid value \"nonsense\" for sources",
        ),
    ] {
        lab.write(file, text);
        let mark = imon.mark();
        imon.signal(Signal::SIGHUP);
        let refused = format!("[t] {file} is not taken over, the old configuration goes on");
        imon.wait_line_from(mark, |l| undated(l) == refused, SOON);
        assert!(
            imon.texts()[mark..].iter().any(|l| undated(l).starts_with(error)),
            "{:#?}",
            &imon.texts()[mark..]
        );
        let before = internet.count();
        lab.wait_until("checks go on", SOON, || internet.count() > before + 4);
    }
    fs::remove_file(lab.path(file)).unwrap();
    let mark = imon.mark();
    imon.signal(Signal::SIGHUP);
    imon.wait_line_from(
        mark,
        |l| undated(l).starts_with("[t] ? Instance configuration file 't' not found"),
        SOON,
    );
    imon.wait_line_from(mark, |l| l.contains("Ping Result: "), SOON);
    stop(&imon);
}

fn sigusr1_checks_now() {
    let lab = lab();
    let internet = lab.responder("inet");
    let mut config: Value = serde_json::from_str(&both(json!({}))).unwrap();
    (config["ping"]["interval"], config["updown"]["interval"]) = (json!(3600), json!(3600));
    config["updown"]["monitorip"] = json!("8.8.8.8");
    let imon = run(&lab, &config.to_string());
    let counts = || (internet.requests_to("1.1.1.1").len(), internet.requests_to("8.8.8.8").len());
    // The ping monitor sends two probes a check, 1 s apart; updown stops at the first reply.
    lab.wait_until("the first checks", SOON, || counts() == (2, 1));
    imon.signal(Signal::SIGUSR1);
    imon.wait_line(|l| undated(l) == "[t] Checking now (SIGUSR1)", SOON);
    lab.wait_until("the checks asked for", SOON, || counts() == (4, 2));
    stop(&imon);
}

fn a_second_imon_of_an_instance_is_refused() {
    let lab = lab();
    let first = run(&lab, &ping(json!({})));
    let second = lab.imon("router").args(["--instance", "t", "--nosyslog"]).run(SOON);
    assert_eq!(second.code(), 3, "it may be tried again, unlike a configuration error");
    assert_eq!(second.stderr(), "? Instance 't' is already running (/run/imon/t.lock is locked)\n");
    assert!(status(&lab)["pid"].is_u64(), "the first one's status is still there");
    let mode = fs::metadata(lab.path("/run/imon/t.lock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "who can open it can lock it");
    // Another instance is no conflict.
    let other = lab.imon("router").instance("other", &ping(json!({}))).nosyslog().spawn();
    started(&other);
    stop(&other);
    assert!(first.alive());
    // Neither a crash nor a background process of a script holds the lock.
    first.signal(Signal::SIGKILL);
    let _ = first.wait(SOON);
    lab.script("/run/lab/action", "#!/bin/sh\nsleep 1357 >/dev/null 2>&1 &\n");
    let third = run(&lab, &ping(json!({"action": "/run/lab/action"})));
    lab.wait_until("a process left behind", SOON, || !processes(&lab, "sleep 1357").is_empty());
    third.signal(Signal::SIGKILL);
    let _ = third.wait(SOON);
    stop(&run(&lab, &ping(json!({}))));
}

fn the_status_tells_what_each_monitor_sees() {
    let lab = lab();
    let internet = lab.responder("inet");
    let mut config: Value = serde_json::from_str(&both(json!({}))).unwrap();
    config["ping"]["monitorip"] = json!("1.1.1.1, 9.9.9.9");
    config["updown"]["addping"] = json!("8.8.8.8");
    internet.set("9.9.9.9", &Behaviour::silent());
    let imon = run(&lab, &config.to_string());
    imon.wait_line(|l| l.ends_with("Monitored IP 1.1.1.1 online"), SOON);
    internet.set("1.1.1.1", &Behaviour::silent());
    imon.wait_line(|l| l.ends_with("Monitored IP 1.1.1.1 offline"), SOON);
    let now = wait_status(&lab, "an outage", |s| s["monitors"]["updown"]["state"] == "offline");
    let keys = |v: &Value| v.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let set = |names: &str| names.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(keys(&now), set("schema version instance pid since written actions monitors"));
    assert_eq!((&now["schema"], &now["version"]), (&json!(1), &json!(env!("CARGO_PKG_VERSION"))));
    assert_eq!((&now["instance"], now["pid"].is_u64()), (&json!("t"), true));
    assert!(now["since"].as_str() <= now["written"].as_str(), "{now}");
    assert_eq!(keys(&now["actions"]), set("waiting running failed"));
    let updown = &now["monitors"]["updown"];
    let host = "target address state reason last probes";
    assert_eq!(keys(updown), set(&format!("{host} since outage_seconds secondaries")), "{updown}");
    assert_eq!((&updown["target"], &updown["address"]), (&json!("1.1.1.1"), &json!("1.1.1.1")));
    assert!(updown["reason"].as_str().is_some_and(|r| r.contains("no reply")), "{updown}");
    assert!(
        updown["outage_seconds"].as_f64().is_some_and(|s| (0.0..10.0).contains(&s)),
        "{updown}"
    );
    assert_eq!(keys(&updown["probes"]), set("sent replies late duplicates checks"));
    assert_eq!(keys(&updown["last"]), set("start alive min_ms avg_ms max_ms loss jitter_ms"));
    assert_eq!((&updown["last"]["alive"], &updown["last"]["loss"]), (&json!(false), &json!(1.0)));
    assert_eq!(updown["secondaries"][0]["target"], "8.8.8.8");
    let targets = now["monitors"]["ping"]["targets"].as_array().unwrap();
    assert_eq!(
        targets.iter().map(|t| t["target"].as_str().unwrap()).collect::<Vec<_>>(),
        ["1.1.1.1", "9.9.9.9"]
    );
    assert_eq!(targets[1]["state"], "offline");
    assert_eq!(keys(&targets[1]), set(host));
    stop(&imon);
    assert!(!lab.path("/run/imon/t.json").exists(), "nobody keeps it true any more");
    let left: Vec<_> =
        fs::read_dir(lab.path("/run/imon")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["t.lock"]);
}

fn the_status_is_whole_at_every_moment_and_written_at_most_once_a_second() {
    let lab = lab();
    let internet = lab.responder("inet");
    let imon = run(&lab, &updown(json!({})));
    wait_status(&lab, "a state", |s| s["monitors"]["updown"]["state"] == "online");
    // Whoever has it open reads to its end what it was when it was opened.
    let before = lab.read("/run/imon/t.json");
    let mut open = fs::File::open(lab.path("/run/imon/t.json")).unwrap();
    let (mut looks, mut written) = (0_u64, BTreeSet::new());
    let start = Instant::now();
    for turn in 0..6 {
        // A change of state every half second.
        internet
            .set("1.1.1.1", &if turn % 2 == 0 { Behaviour::silent() } else { Behaviour::normal() });
        while start.elapsed() < Duration::from_millis(500) * (turn + 1) {
            let text =
                fs::read_to_string(lab.path("/run/imon/t.json")).expect("it is always there");
            let status: Value =
                serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in {text:?}"));
            assert!(text.ends_with("}\n") && status["schema"] == 1, "{text:?}");
            written.insert(status["written"].as_str().expect("a time").to_owned());
            looks += 1;
        }
    }
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, before, "another file takes its place");
    let most = usize::try_from(start.elapsed().as_secs()).unwrap() + 2;
    assert!(
        looks > 100 && written.len() >= 2 && written.len() <= most,
        "{looks} looks, {written:?}"
    );
    stop(&imon);
}

fn the_status_follows_a_change_within_a_second_or_so() {
    let lab = lab();
    let internet = lab.responder("inet");
    let imon = run(&lab, &updown(json!({})));
    wait_status(&lab, "a state", |s| s["monitors"]["updown"]["state"] == "online");
    let mut took = Vec::new();
    for state in ["offline", "online", "offline", "online"] {
        internet.set(
            "1.1.1.1",
            &if state == "offline" { Behaviour::silent() } else { Behaviour::normal() },
        );
        let mark = imon.mark();
        let line = imon.wait_line_from(
            mark,
            |l| l.ends_with(&format!("Monitored IP 1.1.1.1 {state}")),
            SOON,
        );
        wait_status(&lab, state, |s| s["monitors"]["updown"]["state"] == state);
        took.push(line.at.elapsed());
    }
    assert!(
        took.iter().min() < Some(&Duration::from_millis(1200))
            && took.iter().max() < Some(&secs(6)),
        "{took:?}"
    );
    stop(&imon);
}

fn the_runtime_directory_is_where_systemd_says() {
    let lab = lab();
    lab.write("/etc/default/imon-t", &ping(json!({})));
    let imon = lab.imon("router").args(["--instance", "t", "--nosyslog"]);
    let imon = imon.env("RUNTIME_DIRECTORY", "/run/lab/runtime:/run/lab/other").spawn();
    lab.wait_until("a status", SOON, || lab.path("/run/lab/runtime/t.json").exists());
    assert!(lab.path("/run/lab/runtime/t.lock").exists());
    assert!(!lab.path("/run/imon/t.json").exists() && !lab.path("/run/lab/other").exists());
    stop(&imon);
}

fn a_runtime_directory_that_cannot_be_written_is_a_warning() {
    let lab = lab();
    lab.write("/etc/default/imon-t", &ping(json!({})));
    let command = "mkdir -p /run/imon && mount -t tmpfs -o ro tmpfs /run/imon && exec \"$@\" --instance t --nosyslog";
    let args = ["-c", command, "sh", env!("CARGO_BIN_EXE_imon")];
    let imon = lab.start("imon", &mut lab.command("router", "sh", args));
    imon.wait_line(|l| l.contains("Ping Result: "), SOON);
    stop(&imon);
    let warnings: Vec<_> = imon.texts().into_iter().filter(|l| l.contains("/run/imon")).collect();
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    let text = "[t] No status file and no lock: /run/imon cannot be used: Read-only file system";
    assert_eq!(undated(&warnings[0]), text);
    // Something else lies there while imon runs: said once, and written again when it is gone.
    let imon = run(&lab, &updown(json!({})));
    wait_status(&lab, "a state", |s| s["monitors"]["updown"]["state"] == "online");
    fs::rename(lab.path("/run/imon"), lab.path("/run/away")).unwrap();
    lab.write("/run/imon", "in the way");
    imon.signal(Signal::SIGUSR1);
    imon.wait_line(
        |l| undated(l).starts_with("[t] /run/imon/t.json cannot be written, tried again: "),
        SOON,
    );
    fs::remove_file(lab.path("/run/imon")).unwrap();
    fs::rename(lab.path("/run/away"), lab.path("/run/imon")).unwrap();
    let before = status(&lab)["written"].clone();
    imon.signal(Signal::SIGUSR1);
    wait_status(&lab, "a new time", |s| s["written"].is_string() && s["written"] != before);
    stop(&imon);
    assert_eq!(
        imon.texts().iter().filter(|l| l.contains("cannot be written")).count(),
        1,
        "{:#?}",
        imon.texts()
    );
}

/// A service manager: what it was told, and when.
struct Manager {
    socket: UnixDatagram,
    told: Vec<(Instant, String)>,
}

const NOTIFY: &str = "/run/lab/notify";

impl Manager {
    fn new(lab: &Lab) -> Self {
        let socket = UnixDatagram::bind(lab.path(NOTIFY)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        Self { socket, told: Vec::new() }
    }

    /// Listens for so long.
    fn listen(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let mut bytes = [0; 4096];
            match self.socket.recv(&mut bytes) {
                Ok(n) => self
                    .told
                    .push((Instant::now(), String::from_utf8(bytes[..n].to_vec()).unwrap())),
                Err(e) => assert_eq!(e.kind(), io::ErrorKind::WouldBlock),
            }
        }
    }

    /// Waits until it has been told this so often.
    #[track_caller]
    fn wait(&mut self, text: &str, times: usize) {
        let end = Instant::now() + SOON;
        while self.times(text) < times {
            assert!(Instant::now() < end, "not told {text}: {:#?}", self.told);
            self.listen(Duration::from_millis(1));
        }
    }

    fn times(&self, text: &str) -> usize {
        self.told.iter().filter(|(_, t)| t == text).count()
    }

    /// All but the watchdog's food.
    fn said(&self) -> Vec<&str> {
        self.told.iter().map(|(_, t)| t.as_str()).filter(|t| *t != "WATCHDOG=1").collect()
    }
}

fn the_service_manager_is_told_what_goes_on() {
    let lab = lab();
    let mut manager = Manager::new(&lab);
    let imon = lab
        .imon("router")
        .instance("t", &ping(json!({})))
        .nosyslog()
        .env("NOTIFY_SOCKET", NOTIFY)
        .spawn();
    manager.wait("READY=1", 1);
    imon.signal(Signal::SIGHUP);
    manager.wait("READY=1", 2);
    lab.write("/etc/default/imon-t", "{");
    imon.signal(Signal::SIGHUP);
    manager.wait("READY=1", 3);
    stop(&imon);
    manager.wait("STOPPING=1", 1);
    let said = manager.said();
    assert_eq!(
        (said.len(), said[0], said[2], said[4], said[5]),
        (6, "READY=1", "READY=1", "READY=1", "STOPPING=1")
    );
    for reload in [said[1], said[3]] {
        // sd_notify(3): with this, Type=notify-reload can tell one reload from the next.
        let stamp = reload.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("a stamp");
        let usec = imon_lab::monotonic_ns() / 1000;
        assert!(
            stamp.parse::<u64>().is_ok_and(|s| s <= usec && usec - s < 60_000_000),
            "{stamp}, now {usec}"
        );
    }
    // No watchdog was asked for.
    assert_eq!(manager.times("WATCHDOG=1"), 0);
}

fn the_watchdog_is_fed_while_imon_works() {
    let lab = lab();
    lab.responder("inet").set_default(&Behaviour::silent());
    lab.script("/run/lab/action", "#!/bin/sh\nexec sleep 1000\n");
    lab.write("/etc/default/imon-t", &ping(json!({"action": "/run/lab/action"})));
    let mut manager = Manager::new(&lab);
    let start = |who: &str| {
        let command = format!(
            "WATCHDOG_PID={who} NOTIFY_SOCKET={NOTIFY} WATCHDOG_USEC=900000 exec \"$@\" --instance t --nosyslog"
        );
        lab.start(
            "imon",
            &mut lab.command("router", "sh", ["-c", &command, "sh", env!("CARGO_BIN_EXE_imon")]),
        )
    };
    // Neither silent targets nor a script that hangs keep it from being fed.
    let imon = start("$$");
    manager.wait("READY=1", 1);
    manager.wait("WATCHDOG=1", 8);
    let mut gaps: Vec<_> = manager.told.windows(2).map(|w| w[1].0 - w[0].0).collect();
    gaps.sort_unstable();
    assert!(
        gaps[gaps.len() / 2] <= Duration::from_millis(450),
        "at least every half of it: {gaps:?}"
    );
    imon.signal(Signal::SIGSTOP);
    // What was on the way.
    manager.listen(Duration::from_millis(300));
    let fed = manager.times("WATCHDOG=1");
    manager.listen(secs(1));
    assert_eq!(manager.times("WATCHDOG=1"), fed, "it stands still");
    imon.signal(Signal::SIGCONT);
    manager.wait("WATCHDOG=1", fed + 2);
    stop(&imon);
    manager.wait("STOPPING=1", 1);
    // A watchdog for another process is not ours to feed.
    let fed = manager.times("WATCHDOG=1");
    let imon = start("1");
    manager.wait("READY=1", 2);
    manager.listen(secs(1));
    assert_eq!(manager.times("WATCHDOG=1"), fed);
    stop(&imon);
}

fn the_service_manager_learns_why_it_cannot_start() {
    let lab = lab();
    let mut manager = Manager::new(&lab);
    let imon =
        lab.imon("router").args(["--instance", "nope"]).env("NOTIFY_SOCKET", NOTIFY).run(SOON);
    assert_eq!(imon.code(), 1);
    manager.listen(Duration::from_millis(100));
    let said = manager.said();
    assert!(
        said.len() == 1
            && said[0].starts_with("STATUS=? Instance configuration file 'nope' not found"),
        "{said:?}"
    );
}

fn the_unit_is_valid_and_says_what_it_must() {
    let unit = include_str!("../../systemd/imon@.service");
    let lines: Vec<&str> = unit.lines().filter(|l| !l.starts_with('#')).collect();
    for line in [
        "StartLimitIntervalSec=0",
        "Type=notify",
        "NotifyAccess=main",
        "ExecStart=/usr/local/bin/imon --instance=%i",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "Restart=on-failure",
        "RestartPreventExitStatus=1 2",
        "KillMode=mixed",
        "OOMPolicy=continue",
        "RuntimeDirectory=imon",
        "RuntimeDirectoryPreserve=yes",
        "StateDirectory=imon",
        "WantedBy=multi-user.target",
    ] {
        assert_eq!(lines.iter().filter(|l| **l == line).count(), 1, "{line}");
    }
    assert!(lines.iter().any(|l| l.starts_with("WatchdogSec=")));
    assert!(
        !lines.iter().any(|l| l.contains("network-online")),
        "imon reports that there is no network"
    );
    for restriction in [
        "Protect",
        "Private",
        "NoNewPrivileges",
        "Restrict",
        "SystemCall",
        "CapabilityBounding",
        "ReadOnly",
        "User=",
    ] {
        assert!(
            !lines.iter().any(|l| l.starts_with(restriction)),
            "action scripts inherit {restriction}"
        );
    }
    // And systemd's own opinion, where there is systemd. It verifies a unit whose program is there.
    let lab = lab();
    lab.write(
        "/run/lab/imon@.service",
        &unit.replace("/usr/local/bin/imon", env!("CARGO_BIN_EXE_imon")),
    );
    let verify = "if command -v systemd-analyze >/dev/null; then systemd-analyze verify --man=no /run/lab/imon@.service 2>&1; fi";
    let opinion = lab.sh("router", verify);
    assert!(!opinion.contains("imon@"), "{opinion}");
}

fn it_stays_small_over_hundreds_of_checks_and_calls() {
    let lab = lab();
    lab.script("/run/lab/action", "#!/bin/false\n");
    let mut config: Value =
        serde_json::from_str(&both(json!({"action": "/run/lab/action"}))).unwrap();
    (config["ping"]["interval"], config["ping"]["pingcount"]) = (json!(0.1), json!(1));
    config["ping"]["monitorip"] =
        json!("1.1.1.1, 8.8.8.8, 9.9.9.9, 198.18.0.80, 198.18.0.81, 192.168.42.1");
    config["updown"]["interval"] = json!(0.1);
    let imon = run(&lab, &config.to_string());
    let some = |n: usize| {
        let failed = |l: &&String| l.contains("failed for ");
        lab.wait_until(&format!("{n} calls"), secs(60), || {
            imon.texts().iter().filter(failed).count() >= n
        });
        imon.usage()
    };
    let before = some(60);
    let after = some(360);
    assert_eq!((before.threads, after.threads), (1, 1));
    // Calls that run have a pipe each, and the writer of the status has its socket: sooner or later
    // there is none.
    lab.wait_until("no descriptor is left over", SOON, || {
        imon.usage().descriptors <= before.descriptors
    });
    assert!(after.anonymous_kib <= before.anonymous_kib + 128, "{before:?} {after:?}");
    lab.wait_until("every child is reaped", SOON, || imon.usage().children.is_empty());
    stop(&imon);
}

fn a_script_that_runs_when_imon_stops_is_ended_and_has_not_failed() {
    let lab = lab();
    lab.script("/run/lab/action", "#!/bin/sh\necho here\nsleep 1000\n");
    let config = r#"{"global": {"action": "/run/lab/action"},
        "ping": {"enable": true, "interval": 0.3, "pingcount": 1, "monitorip": "192.168.42.1"}}"#;
    let imon = lab.imon("router").instance("t", config).nosyslog().spawn();
    imon.wait_line(|l| l == "here", SOON);
    imon.signal(Signal::SIGTERM);
    assert_eq!(imon.wait(SOON).code(), Some(0));
    let said = |end: &str| imon.texts().iter().any(|l| l.ends_with(end));
    assert!(
        said("[t] Stopping: ending the action script that runs for ping-result"),
        "{}",
        lab.timeline()
    );
    assert!(said("[t] Stopped"), "{}", lab.timeline());
    assert!(!imon.texts().iter().any(|l| l.contains("failed")), "{}", lab.timeline());
}
