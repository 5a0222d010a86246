//! The log: exact bytes, and that no log daemon and no terminal can hold up monitoring.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader};

use imon_lab::roles::{Behaviour, Responder, Syslog};
use imon_lab::{Lab, Proc, Signal};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::tools::{both, ping, stop, undated, updown};
use crate::{SOON, lab, trials};

pub(crate) fn tests() -> Vec<Trial> {
    trials![
        a_system_log_message_has_exactly_this_form,
        severities_fit_the_events,
        the_stamp_is_local_time,
        the_tag_names_the_monitor_when_there_are_two,
        without_a_system_log_lines_go_to_standard_error,
        a_restarted_system_log_costs_nothing_but_its_absence,
        what_a_system_log_does_not_take_at_once_comes_later,
        a_system_log_that_does_not_read_stops_nothing_and_learns_what_it_lost,
        control_characters_never_reach_a_log,
        long_lines_are_cut_where_a_character_ends,
        terminal_lines_begin_with_the_date_as_configured,
        a_terminal_that_does_not_read_stops_nothing_and_learns_what_it_lost,
        a_closed_terminal_stops_nothing,
        standard_error_that_nobody_reads_stops_nothing,
        a_signal_that_ends_it_is_told,
    ]
}

/// imon on the router as instance `t`, logging to the system log.
fn run(lab: &Lab, config: &str) -> Proc {
    lab.imon("router").instance("t", config).spawn()
}

/// Of a signal that ends it: who has sent it, the service manager's watchdog for one. (A panic of
/// the static binaries is a signal as well: see foreign.rs.)
fn a_signal_that_ends_it_is_told() {
    use std::os::unix::process::ExitStatusExt as _;
    for signal in [Signal::SIGILL, Signal::SIGTRAP, Signal::SIGABRT, Signal::SIGSEGV] {
        let lab = lab();
        let syslog = lab.syslog();
        let imon = run(&lab, &updown(json!({})));
        wait_end(&syslog, 0, "Monitored IP 1.1.1.1 online");
        imon.signal(signal);
        assert_eq!(imon.wait(SOON).signal(), Some(signal as i32));
        let words = format!("imon: ? Ended by signal {:02}, which process ", signal as i32);
        let last = wait_end(&syslog, 0, " has sent");
        assert!(last.starts_with(&format!("<26>{words}")), "{last}");
        assert!(imon.texts().iter().any(|l| l.starts_with(&words)), "{:?}", imon.texts());
    }
}

/// Every 0.1 s a probe and a line.
fn chatty() -> String {
    let mut config: Value = serde_json::from_str(&ping(json!({}))).unwrap();
    config["ping"]["interval"] = json!(0.1);
    config["ping"]["pingcount"] = json!(1);
    config.to_string()
}

/// Waits for so many more probes: monitoring goes on.
#[track_caller]
fn goes_on(lab: &Lab, responder: &Responder, probes: usize) {
    let before = responder.count();
    lab.wait_until("monitoring goes on", SOON, || responder.count() >= before + probes);
}

/// The part of a system log message that does not depend on when and who: `<PRI>` and what follows
/// `imon[PID]: `.
fn timeless(message: &str) -> String {
    let (priority, rest) = message.split_once('>').expect("a priority");
    let (_, text) = rest.split_once("]: ").expect("a program and its number");
    format!("{priority}> {text}")
}

#[track_caller]
fn wait_end(syslog: &Syslog, skip: usize, end: &str) -> String {
    syslog.wait(skip, |m| m.ends_with(end), SOON).text()
}

fn a_system_log_message_has_exactly_this_form() {
    let lab = lab();
    let syslog = lab.syslog();
    let imon = lab.imon("router").instance("t", &updown(json!({}))).env("TZ", "UTC").spawn();
    let online = wait_end(&syslog, 0, "Monitored IP 1.1.1.1 online");
    let mut status = Value::Null;
    lab.wait_until("the status is written", SOON, || {
        status = serde_json::from_str(&lab.read("/run/imon/t.json")).unwrap_or_default();
        !status.is_null()
    });
    stop(&imon);
    let message = syslog.messages().swap_remove(0).text();
    // `<PRI>Mmm dd hh:mm:ss imon[pid]: imon [TAG] text`, the day padded with a blank (RFC 3164).
    let (stamp, rest) = message.strip_prefix("<30>").expect("daemon.info").split_at(16);
    let date = lab.sh("router", "date -u '+%b %e %H:'");
    let previous = lab.sh("router", "date -u -d '1 minute ago' '+%b %e %H:'");
    assert!(
        stamp.starts_with(&date) || stamp.starts_with(&previous),
        "{stamp:?} is not about {date:?}"
    );
    assert!(
        stamp.ends_with(' ') && stamp.as_bytes()[9] == b':' && stamp.as_bytes()[12] == b':',
        "{stamp:?}"
    );
    let pid = rest.strip_prefix("imon[").and_then(|r| r.split_once(']')).expect("a pid").0;
    assert_eq!(rest, format!("imon[{pid}]: imon [t] Starting"));
    assert_eq!(status["pid"].to_string(), pid);
    assert_eq!(timeless(&online), "<29> imon [t] Monitored IP 1.1.1.1 online");
    // A datagram is a message: no line end, no NUL.
    assert!(syslog.messages().iter().all(|m| !m.bytes.iter().any(|b| *b < b' ')));
    let all: Vec<String> = syslog.messages().iter().map(|m| timeless(&m.text())).collect();
    let head = ["Starting", concat!("Version V", env!("CARGO_PKG_VERSION"))]
        .map(|text| format!("<30> imon [t] {text}"));
    assert_eq!(all[..2], head);
    assert_eq!(all.last().map(String::as_str), Some("<30> imon [t] Stopped"));
}

fn severities_fit_the_events() {
    let lab = lab();
    let syslog = lab.syslog();
    let internet = lab.responder("inet");
    let imon = run(&lab, &updown(json!({"debug": true})));
    let seen = |end: &str| timeless(&wait_end(&syslog, 0, end));
    assert!(seen("Monitored IP 1.1.1.1 online").starts_with("<29>"), "notice");
    internet.set("1.1.1.1", &Behaviour::silent());
    assert!(seen("Monitored IP 1.1.1.1 offline").starts_with("<28>"), "warning");
    assert!(seen("Start Updown Monitor for IP Address 1.1.1.1").starts_with("<30>"), "info");
    assert!(
        seen("(/etc/default/imon-t:1, global.debug)").starts_with("<28> imon [t] Warning: "),
        "warning"
    );
    lab.write("/etc/default/imon-t", "{");
    imon.signal(Signal::SIGHUP);
    assert!(seen("is not taken over, the old configuration goes on").starts_with("<27>"), "error");
    stop(&imon);
}

fn the_stamp_is_local_time() {
    let lab = lab();
    let syslog = lab.syslog();
    // Half a day apart, and none of them the machine's: POSIX zones count westwards.
    for zone in ["AAA-11:30", "BBB11:15"] {
        let skip = syslog.messages().len();
        let before = lab.sh("router", &format!("TZ={zone} date '+%b %e %H:%M'"));
        let imon = lab.imon("router").instance("t", &ping(json!({}))).env("TZ", zone).spawn();
        let message = wait_end(&syslog, skip, "Starting");
        let after = lab.sh("router", &format!("TZ={zone} date '+%b %e %H:%M'"));
        let stamp = message.get(4..16).expect("a stamp");
        assert!(stamp == before || stamp == after, "{stamp}, not {before} or {after}, in {zone}");
        stop(&imon);
    }
}

fn the_tag_names_the_monitor_when_there_are_two() {
    let lab = lab();
    let imon = lab.imon("router").instance("t", &both(json!({}))).nosyslog().spawn();
    for line in [
        "[t] Starting",
        "[t-updown] Start Updown Monitor for IP Address 1.1.1.1",
        "[t-ping] Start Ping Monitor",
    ] {
        imon.wait_line(|l| undated(l) == line, SOON);
    }
    imon.wait_line(|l| undated(l) == "[t-updown] Monitored IP 1.1.1.1 online", SOON);
    imon.wait_line(
        |l| undated(l).starts_with("[t-ping] Ping Result: IP:1.1.1.1 State:True "),
        SOON,
    );
    let lines = imon.texts();
    let at = |end: &str| lines.iter().position(|l| l.ends_with(end)).expect("it was logged");
    assert!(
        at("Start Updown Monitor for IP Address 1.1.1.1") < at("Start Ping Monitor"),
        "the order of V2.99"
    );
    // One monitor less: the tag is the instance again.
    lab.write("/etc/default/imon-t", &ping(json!({})));
    let mark = imon.mark();
    imon.signal(Signal::SIGHUP);
    imon.wait_line_from(mark, |l| undated(l).starts_with("[t] Ping Result: "), SOON);
    stop(&imon);
}

fn without_a_system_log_lines_go_to_standard_error() {
    let lab = lab();
    let imon = run(&lab, &updown(json!({})));
    let line = imon.wait_line(|l| l.ends_with("Monitored IP 1.1.1.1 online"), SOON);
    assert_eq!(line.stream, imon_lab::Stream::Err);
    assert!(
        line.text.contains(" imon[")
            && line.text.contains("]: imon [t] ")
            && !line.text.contains('<'),
        "{line:?}"
    );
    // One that comes later is used from then on.
    let syslog = lab.syslog();
    lab.write("/etc/default/imon-t", "{");
    imon.signal(Signal::SIGHUP);
    wait_end(&syslog, 0, "is not taken over, the old configuration goes on");
    stop(&imon);
    assert!(!imon.texts().iter().any(|l| l.contains("not taken over")), "{:#?}", imon.texts());
}

fn a_restarted_system_log_costs_nothing_but_its_absence() {
    let lab = lab();
    let internet = lab.responder("inet");
    let syslog = lab.syslog();
    let imon = run(&lab, &chatty());
    syslog.wait(0, |m| m.contains("Ping Result: "), SOON);
    for _ in 0..3 {
        syslog.stop();
        // What is said meanwhile goes to standard error.
        let mark = imon.mark();
        imon.wait_line_from(mark, |l| l.contains("Ping Result: "), SOON);
        syslog.start();
        let skip = syslog.messages().len();
        syslog.wait(skip, |m| m.contains("Ping Result: "), SOON);
    }
    stop(&imon);
    let all = [imon.texts(), syslog.messages().iter().map(|m| m.text()).collect()].concat();
    let said = all.iter().filter(|l| l.contains("Ping Result: ")).count();
    // A line for each probe, but for the last, whose answer may not have come.
    let probes = internet.count();
    assert!(said <= probes && said + 1 >= probes, "{said} lines of {probes} probes");
    assert!(!all.iter().any(|l| l.contains("lost here")), "{all:#?}");
}

/// Without systemd the kernel keeps ten messages for the log daemon. imon says more than that at
/// its start.
fn what_a_system_log_does_not_take_at_once_comes_later() {
    let lab = lab();
    let internet = lab.responder("inet");
    let syslog = lab.syslog();
    syslog.pause();
    let imon = run(
        &lab,
        include_str!("../data/readme-sample.json")
            .replace("/usr/local/bin/imon-action", "")
            .as_str(),
    );
    lab.wait_until("it runs", SOON, || internet.count() > 0);
    syslog.resume();
    wait_end(&syslog, 0, "Monitored IP 1.1.1.1 online");
    stop(&imon);
    let all: Vec<String> = syslog.messages().iter().map(|m| m.text()).collect();
    assert!(all.len() > 50 && !all.iter().any(|m| m.contains("lost here")), "{all:#?}");
    assert!(all[0].ends_with("Starting") && all[all.len() - 1].ends_with("Stopped"), "{all:#?}");
}

fn a_system_log_that_does_not_read_stops_nothing_and_learns_what_it_lost() {
    let lab = lab();
    let internet = lab.responder("inet");
    let syslog = lab.syslog();
    // Forty addresses: four hundred lines a second, which fill the socket's queue and imon's own
    // store.
    let mut config: Value = serde_json::from_str(&chatty()).unwrap();
    config["ping"]["monitorip"] =
        json!((80..120).map(|n| format!("198.18.0.{n}")).collect::<Vec<_>>());
    lab.sh(
        "inet",
        "for n in $(seq 84 119); do echo addr add 198.18.0.$n/32 dev lo; done | ip -batch -",
    );
    let imon = run(&lab, &config.to_string());
    syslog.wait(0, |m| m.contains("Ping Result"), SOON);
    syslog.pause();
    goes_on(&lab, &internet, 1200);
    let requests = internet.requests_to("198.18.0.80");
    let longest = requests.windows(2).map(|w| w[1].at_ns - w[0].at_ns).max().unwrap_or(0);
    assert!(longest < 900_000_000, "{longest} ns without a probe");
    syslog.resume();
    let note = syslog
        .wait(0, |m| m.contains("lines were lost here, the system log did not take more"), SOON)
        .text();
    let lost: usize =
        note.split("] ").nth(1).and_then(|t| t.split(' ').next()?.parse().ok()).expect("a number");
    assert!(lost > 20, "{note}");
    assert!(note.starts_with('<') && note.contains("imon [t] "), "{note}");
    stop(&imon);
    let logged = syslog.messages().iter().filter(|m| m.text().contains("Ping Result")).count();
    let results = internet.count();
    assert!(
        logged + lost <= results && logged + lost + 60 >= results,
        "{logged} + {lost} of {results}"
    );
}

fn control_characters_never_reach_a_log() {
    let lab = lab();
    let syslog = lab.syslog();
    lab.script(
        "/run/lab/action",
        "#!/bin/sh\nprintf 'a\\rb\\033[1mc\\001\\342\\200\\256d\\n<11>Jan  1 00:00:00 su: root\\n'\n",
    );
    let config = json!({
        "global": {"action": "/run/lab/action", "note": "one\ntwo\u{1b}[2J\u{7f}\u{202e}", "k\ney": 1},
        "ping": {"enable": true, "interval": 0.2, "monitorip": "1.1.1.1"}
    });
    let imon = run(&lab, &config.to_string());
    wait_end(&syslog, 0, "ping-result: <11>Jan  1 00:00:00 su: root");
    wait_end(&syslog, 0, r"ping-result: a\rb\u{1b}[1mc\u{1}\u{202e}d");
    wait_end(&syslog, 0, r"imon [t]     note              one\ntwo\u{1b}[2J\u{7f}\u{202e}");
    stop(&imon);
    for message in syslog.messages() {
        let text = message.text();
        assert!(!text.contains(|c: char| c.is_control() || c == '\u{202e}'), "{text:?}");
        assert!(text.starts_with("<3") || text.starts_with("<2"), "{text:?}");
    }
    // The terminal, too.
    let imon = lab.imon("router").args(["--instance", "t", "--nosyslog"]).spawn();
    imon.wait_line(|l| l == r"a\rb\u{1b}[1mc\u{1}\u{202e}d", SOON);
    stop(&imon);
    assert!(
        imon.texts().iter().all(|l| !l.contains(|c: char| c.is_control() || c == '\u{202e}')),
        "{:#?}",
        imon.texts()
    );
}

fn long_lines_are_cut_where_a_character_ends() {
    let lab = lab();
    let syslog = lab.syslog();
    lab.script(
        "/run/lab/action",
        "#!/bin/sh\nhead -c 100000 /dev/zero | tr '\\0' x; echo; echo end\n",
    );
    let imon = run(&lab, &ping(json!({"action": "/run/lab/action", "note": "é".repeat(3000)})));
    wait_end(&syslog, 0, "ping-result: end");
    stop(&imon);
    for message in syslog.messages() {
        assert!(
            message.bytes.len() <= 1010,
            "OpenWrt's log takes 1 KiB, this has {}",
            message.bytes.len()
        );
        assert!(std::str::from_utf8(&message.bytes).is_ok(), "{:?}", message.text());
    }
    let cut = |what: &str| {
        syslog.messages().iter().any(|m| m.text().contains(what) && m.bytes.len() > 480)
    };
    assert!(cut("note              é") && cut("ping-result: xxx"));
}

fn terminal_lines_begin_with_the_date_as_configured() {
    let lab = lab();
    for (format, check) in [
        (
            "%Y-%m-%d %H:%M:%S",
            (|d| d.len() == 19 && d.starts_with("20") && &d[10..11] == " ") as fn(&str) -> bool,
        ),
        // Python's microseconds.
        ("%H:%M:%S.%f", |d| {
            d.len() == 15 && &d[8..9] == "." && d[9..].bytes().all(|b| b.is_ascii_digit())
        }),
        ("100%% %f", |d| d.starts_with("100% ") && d.len() == 11),
        ("", str::is_empty),
        ("now", |d| d == "now"),
    ] {
        let imon =
            lab.imon("router").instance("t", &ping(json!({"datefmt": format}))).nosyslog().spawn();
        imon.wait_line(|l| l.contains(" [t] Ping Result: IP:1.1.1.1 State:True minrtt:"), SOON);
        stop(&imon);
        for line in imon.texts() {
            let (date, _) = line.split_once(" [t] ").expect("date, blank, tag, blank");
            assert!(check(date), "{format:?} gave {line:?}");
        }
    }
}

fn a_terminal_that_does_not_read_stops_nothing_and_learns_what_it_lost() {
    let lab = lab();
    let internet = lab.responder("inet");
    // Long lines fill the pipe and imon's own store in a second or two.
    let long = "[x](".repeat(100);
    lab.script(
        "/run/lab/action",
        &format!("#!/bin/sh\nfor n in 1 2 3 4 5 6 7 8 9; do echo '{long}'; done\n"),
    );
    let mut config: Value = serde_json::from_str(&chatty()).unwrap();
    config["global"] = json!({"action": "/run/lab/action"});
    lab.write("/etc/default/imon-t", &config.to_string());
    lab.sh("router", "mkfifo /run/lab/terminal");
    let held = "exec 3<>/run/lab/terminal; exec \"$@\" --instance t --nosyslog >/run/lab/terminal";
    let imon = lab.start(
        "imon",
        &mut lab.command("router", "sh", ["-c", held, "sh", env!("CARGO_BIN_EXE_imon")]),
    );
    lab.wait_until("the pipe and the store are full", SOON, || internet.count() > 60);
    let gaps = internet.requests();
    let longest = gaps.windows(2).map(|w| w[1].at_ns - w[0].at_ns).max().unwrap_or(0);
    assert!(longest < 900_000_000, "{longest} ns without a probe");
    assert!(imon.usage().anonymous_kib < 4096, "{:?}", imon.usage());
    // Somebody reads again.
    let mut lines =
        BufReader::new(OpenOptions::new().read(true).open(lab.path("/run/lab/terminal")).unwrap())
            .lines();
    let note = lines
        .find(|l| l.as_ref().is_ok_and(|l| l.contains("lines were lost here")))
        .expect("a note")
        .unwrap();
    assert!(
        note.contains(" [t] ")
            && note.ends_with("lines were lost here, the terminal did not take more"),
        "{note}"
    );
    // And not any more: SIGTERM ends it all the same.
    imon.signal(Signal::SIGTERM);
    assert_eq!(imon.wait(SOON).code(), Some(0));
}

fn a_closed_terminal_stops_nothing() {
    let lab = lab();
    let internet = lab.responder("inet");
    lab.write("/etc/default/imon-t", &chatty());
    lab.sh("router", "mkfifo /run/lab/terminal");
    let command = "exec \"$@\" --instance t --nosyslog >/run/lab/terminal 2>&1";
    let imon = lab.start(
        "imon",
        &mut lab.command("router", "sh", ["-c", command, "sh", env!("CARGO_BIN_EXE_imon")]),
    );
    let mut terminal =
        BufReader::new(OpenOptions::new().read(true).open(lab.path("/run/lab/terminal")).unwrap());
    let mut line = String::new();
    terminal.read_line(&mut line).unwrap();
    assert!(line.ends_with("[t] Starting\n"), "{line}");
    drop(terminal);
    goes_on(&lab, &internet, 10);
    stop(&imon);
    // No descriptors at all.
    let command = "exec \"$@\" --instance t --nosyslog <&- >&- 2>&-";
    let imon = lab.start(
        "imon",
        &mut lab.command("router", "sh", ["-c", command, "sh", env!("CARGO_BIN_EXE_imon")]),
    );
    goes_on(&lab, &internet, 10);
    stop(&imon);
}

/// No system log, and what stands in for it is full: a service manager that hangs.
fn standard_error_that_nobody_reads_stops_nothing() {
    let lab = lab();
    let internet = lab.responder("inet");
    lab.write("/etc/default/imon-t", &chatty());
    lab.sh("router", "mkfifo /run/lab/err");
    let held =
        "exec 3<>/run/lab/err; head -c 65536 /dev/zero >&3; exec \"$@\" --instance t 2>&3 3>&-";
    let imon = lab.start(
        "imon",
        &mut lab.command("router", "sh", ["-c", held, "sh", env!("CARGO_BIN_EXE_imon")]),
    );
    goes_on(&lab, &internet, 10);
    stop(&imon);
}
