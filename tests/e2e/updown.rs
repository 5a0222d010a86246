//! The updown monitor, end to end: the words of its log, the calls of its script, and where it says
//! the fault lies.

use std::time::Duration;

use imon_lab::roles::{Behaviour, DnsMode, Request};
use imon_lab::{Fault, Signal, Wan, instant_ns};
use libtest_mimic::Trial;

use crate::support::{calls, duration, recorder, said, undated, wait_calls, wait_lines};
use crate::{SOON, lab, trials};

pub(crate) fn tests() -> Vec<Trial> {
    trials![
        an_outage_is_seen_and_its_end,
        its_whole_life_word_for_word,
        with_two_monitors_each_has_its_tag,
        b29_a_target_that_is_down_at_the_start,
        the_outage_lasts_from_the_first_lost_probe_to_the_first_reply,
        dead_additional_addresses_do_not_wait_for_each_other,
        issue3_a_change_during_the_outage_is_said,
        issue6_with_the_cable_pulled_the_conclusion_says_so,
        addping_on_the_command_line_goes_first,
        fall_and_rise_want_so_many_checks_in_a_row,
        sigusr1_checks_now,
    ]
}

fn an_outage_is_seen_and_its_end() {
    let lab = lab();
    let internet = lab.responder("inet");
    let imon = lab
        .imon("router")
        .instance("t", r#"{"updown": {"enable": true, "interval": 0.5, "pingwait": 0.2, "monitorip": "1.1.1.1"}}"#)
        .nosyslog()
        .spawn();
    imon.wait_line(|l| l.ends_with("[t] Monitored IP 1.1.1.1 online"), SOON);
    internet.set("1.1.1.1", &Behaviour::silent());
    imon.wait_line(|l| l.ends_with("[t] Monitored IP 1.1.1.1 offline"), SOON);
    let mark = imon.mark();
    internet.set("1.1.1.1", &Behaviour::normal());
    imon.wait_line_from(mark, |l| l.ends_with("[t] Monitored IP 1.1.1.1 online"), SOON);
    imon.wait_line_from(
        mark,
        |l| l.contains("[t] Outage Duration: 0 days 0 hours, 0 minutes "),
        SOON,
    );
    imon.signal(Signal::SIGTERM);
    assert_eq!(imon.wait(Duration::from_secs(2)).code(), Some(0));
}

const WHOLE_LIFE: &str = r#"{
    "global": {
        "action": "/run/lab/action",
        "datefmt": "%Y-%m-%d %H:%M:%S",
        "instance": "gold",
        "note": "a router in a lab",
        "imon-configure-version": "V1.0",
        "imon-configure-created": "2022-04-29 14:42:56"
    },
    "ddns": {
        "enable": false,
        "interval": 10.0,
        "pingcount": 2,
        "pingwait": 1
    },
    "updown": {
        "enable": true,
        "interval": 1.5,
        "pingcount": 2.0,
        "pingwait": 1.0,
        "monitorip": "1.1.1.1",
        "addping": "192.168.42.1,9.9.9.9",
        "dnsserver": "8.8.8.8",
        "dnslookup": "microsoft.com"
    }
}
"#;

fn its_whole_life_word_for_word() {
    let lab = lab();
    let (internet, dns, script) = (lab.responder("inet"), lab.dns(), recorder(&lab));
    assert!(WHOLE_LIFE.contains(script));
    let imon = lab.imon("router").instance("gold", WHOLE_LIFE).nosyslog().spawn();
    wait_lines(&lab, &imon, "Secondary IP", 2);
    // Silent, but the internet is there.
    internet.set("1.1.1.1", &Behaviour::silent());
    wait_lines(&lab, &imon, "refuted", 1);
    // Three more checks: it is said once.
    let asked = dns.queries().len();
    dns.wait_query(asked + 5, |q| q.name == "microsoft.com", SOON);
    // Now the internet is gone, and with it the further of the two additional addresses.
    internet.set("9.9.9.9", &Behaviour::silent());
    dns.mode(&DnsMode::Timeout);
    wait_lines(&lab, &imon, "the fault lies", 1);
    internet.set("9.9.9.9", &Behaviour::normal());
    wait_lines(&lab, &imon, "the fault lies", 2);
    internet.set("1.1.1.1", &Behaviour::normal());
    wait_lines(&lab, &imon, "Secondary IP", 7);
    let calls = wait_calls(&lab, 2);
    lab.wait_until("the script has ended", SOON, || imon.usage().children.is_empty());
    imon.signal(Signal::SIGTERM);
    assert_eq!(imon.wait(SOON).code(), Some(0));

    let program = env!("CARGO_BIN_EXE_imon");
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(
        "\
Starting
Version V{version}
Command line: {program} --instance gold --nosyslog
Configuration file /etc/default/imon-gold
** [global] **\x20
    action            /run/lab/action
    datefmt           %Y-%m-%d %H:%M:%S
    instance          gold
    note              a router in a lab
    imon-configure-version V1.0
    imon-configure-created 2022-04-29 14:42:56
** [ddns] **\x20
    enable            False
    interval          10.0
    pingcount         2
    pingwait          1
** [updown] **\x20
    enable            True
    interval          1.5
    pingcount         2
    pingwait          1
    monitorip         1.1.1.1
    addping           192.168.42.1,9.9.9.9
    dnsserver         8.8.8.8
    dnslookup         microsoft.com
Start Updown Monitor for IP Address 1.1.1.1
Monitored IP 1.1.1.1 online
Secondary IP 192.168.42.1 online
Secondary IP 9.9.9.9 online
Offline of 1.1.1.1 refuted by DNS query of 'microsoft.com' on DNS server '8.8.8.8'
Monitored IP 1.1.1.1 offline
Secondary IP 192.168.42.1 online
Secondary IP 9.9.9.9 offline
192.168.42.1 answers, 9.9.9.9 does not: the fault lies in or before 9.9.9.9
Secondary IP 9.9.9.9 online
192.168.42.1, 9.9.9.9 answer: the fault lies beyond them, or in 1.1.1.1
Monitored IP 1.1.1.1 online
Outage Duration: 0 days 0 hours, 0 minutes N seconds
Secondary IP 192.168.42.1 online
Secondary IP 9.9.9.9 online
Stopped"
    );
    let expected: Vec<String> = expected.lines().map(|l| format!("[gold] {l}")).collect();
    let seen: Vec<String> = said(&imon).iter().map(|l| duration(l).1).collect();
    assert_eq!(seen, expected, "{}", lab.timeline());

    let seconds = said(&imon).iter().map(|l| duration(l).0).max().unwrap_or_default();
    let argv: Vec<Vec<&str>> =
        calls.iter().map(|c| c.argv.iter().map(String::as_str).collect()).collect();
    let lasted = format!("0:0:0:{seconds}");
    let expected = [
        vec!["4", "gold", "1", "updown-offline", "1.1.1.1"],
        vec!["5", "gold", "1", "updown-online", "1.1.1.1", &lasted],
    ];
    assert_eq!(argv, expected, "{}", lab.timeline());
}

fn with_two_monitors_each_has_its_tag() {
    let lab = lab();
    let script = recorder(&lab);
    let config = format!(
        r#"{{"global": {{"action": "{script}"}}, "updown": {{"enable": true, "monitorip": "9.9.9.9"}},
            "ping": {{"enable": true, "monitorip": "1.1.1.1"}}}}"#
    );
    let imon = lab.imon("router").instance("two", &config).nosyslog().spawn();
    for text in [
        "[two] Starting",
        "[two-updown] Start Updown Monitor for IP Address 9.9.9.9",
        "[two-ping] Start Ping Monitor",
        "[two-updown] Monitored IP 9.9.9.9 online",
    ] {
        imon.wait_line(|l| undated(l) == text, SOON);
    }
    // $1 is the plain name of the instance all the same.
    assert_eq!(wait_calls(&lab, 1)[0].argv[..4], ["4", "two", "1", "ping-result"]);
    drop(imon);
    // $2 says where the log goes.
    let _log = lab.syslog();
    let imon = lab.imon("router").instance("sys", &config).spawn();
    lab.wait_until("a call", SOON, || {
        calls(&lab).iter().any(|c| c.argv[..4] == ["4", "sys", "0", "ping-result"])
    });
    assert_eq!(imon.texts(), [""; 0]);
}

fn b29_a_target_that_is_down_at_the_start() {
    let lab = lab();
    let (internet, script) = (lab.responder("inet"), recorder(&lab));
    internet.set("1.1.1.1", &Behaviour::silent());
    let imon = lab.imon("router").instance("t", &with_script(script, "")).nosyslog().spawn();
    imon.wait_line(|l| l.ends_with("[t] Monitored IP 1.1.1.1 offline"), SOON);
    assert_eq!(wait_calls(&lab, 1)[0].argv, ["4", "t", "1", "updown-offline", "1.1.1.1"]);
    internet.set("1.1.1.1", &Behaviour::normal());
    imon.wait_line(|l| l.contains("[t] Outage Duration: 0 days 0 hours, 0 minutes "), SOON);
    let calls = wait_calls(&lab, 2);
    assert_eq!(calls[1].argv[..5], ["5", "t", "1", "updown-online", "1.1.1.1"]);
}

/// An updown monitor of 1.1.1.1 with short times, a script and some more settings.
fn with_script(script: &str, more: &str) -> String {
    format!(
        r#"{{"global": {{"action": "{script}"}},
            "updown": {{"enable": true, "interval": 0.5, "pingcount": 1, "pingwait": 0.3, "monitorip": "1.1.1.1"{more}}}}}"#
    )
}

fn the_outage_lasts_from_the_first_lost_probe_to_the_first_reply() {
    let lab = lab();
    let (internet, script) = (lab.responder("inet"), recorder(&lab));
    let imon = lab
        .imon("router")
        .instance("t", &with_script(script, r#", "fall": 3, "rise": 2"#))
        .nosyslog()
        .spawn();
    imon.wait_line(|l| l.ends_with("Monitored IP 1.1.1.1 online"), SOON);
    internet.set("1.1.1.1", &Behaviour::silent());
    imon.wait_line(|l| l.ends_with("Monitored IP 1.1.1.1 offline"), SOON);
    internet.set("1.1.1.1", &Behaviour::normal());
    let line = imon.wait_line(|l| l.contains("Outage Duration"), SOON);
    let calls = wait_calls(&lab, 2);
    let requests = internet.requests();
    let lost = requests.iter().position(|r| r.replied_ns.is_none()).expect("some are lost");
    let first: &Request = &requests[lost];
    let silent = requests[lost..].iter().take_while(|r| r.replied_ns.is_none()).count();
    // Before the outage is over, two checks in a row must be good; the outage ended when it ended
    // for imon to see.
    let replies: Vec<&Request> = requests[lost + silent..].iter().collect();
    let (early, late) = (replies[0].at_ns - first.at_ns, replies[1].at_ns - first.at_ns);
    let lasted = calls[1].json["outage_seconds"].as_f64().expect("a number");
    let (early, late) =
        (Duration::from_nanos(early).as_secs_f64(), Duration::from_nanos(late).as_secs_f64());
    assert!(
        lasted > early - 0.2 && lasted < late + 0.2,
        "{lasted} of {early} to {late}\n{}",
        lab.timeline()
    );
    let (seconds, _) = duration(&undated(&line.text));
    // Whole seconds here, rounded milliseconds there.
    let rest = lasted - seconds as f64;
    assert!((0.0..=1.0).contains(&rest), "{seconds} s are said of {lasted}");
    assert_eq!(calls[1].argv[5], format!("0:0:0:{seconds}"));
    let offline = &calls[0].json;
    assert_eq!(
        (&offline["event"], &offline["reason"]),
        (&"updown-offline".into(), &"no reply".into()),
        "{offline}"
    );
    assert_eq!(offline["since"], calls[1].json["since"], "both speak of the same outage");
}

fn dead_additional_addresses_do_not_wait_for_each_other() {
    let lab = lab();
    let internet = lab.responder("inet");
    for dead in ["9.9.9.9", "8.8.8.8", "198.18.0.80", "198.18.0.81"] {
        internet.set(dead, &Behaviour::silent());
    }
    let config = r#"{"updown": {"enable": true, "interval": 10, "pingcount": 1, "pingwait": 1.5, "monitorip": "1.1.1.1",
        "addping": ["9.9.9.9", "8.8.8.8", "192.168.42.1", "198.18.0.80", "198.18.0.81"]}}"#;
    let imon = lab.imon("router").instance("t", config).nosyslog().spawn();
    let online = imon.wait_line(|l| l.ends_with("Monitored IP 1.1.1.1 online"), SOON);
    let last = imon.wait_line(|l| l.ends_with("Secondary IP 198.18.0.81 offline"), SOON);
    // One after the other the dead ones alone would take 6 s.
    let took = last.at.duration_since(online.at);
    assert!(took < Duration::from_secs(4), "{took:?}\n{}", lab.timeline());
    let lines = wait_lines(&lab, &imon, "Secondary IP", 5);
    let states = [
        "9.9.9.9 offline",
        "8.8.8.8 offline",
        "192.168.42.1 online",
        "198.18.0.80 offline",
        "198.18.0.81 offline",
    ];
    assert_eq!(
        lines,
        states.map(|s| format!("[t] Secondary IP {s}")),
        "in the order of the configuration"
    );
    // All were asked at once.
    let asked: Vec<u64> =
        internet.requests().iter().filter(|r| r.replied_ns.is_none()).map(|r| r.at_ns).collect();
    let spread = asked
        .iter()
        .max()
        .zip(asked.iter().min())
        .map(|(last, first)| Duration::from_nanos(last - first));
    assert!(asked.len() == 4 && spread < Some(Duration::from_secs(1)), "{asked:?}");
}

fn issue3_a_change_during_the_outage_is_said() {
    let lab = lab();
    let internet = lab.responder("inet");
    internet.set("1.1.1.1", &Behaviour::silent());
    let imon =
        lab.imon("router").instance("t", &addping("192.168.42.1, 9.9.9.9")).nosyslog().spawn();
    wait_lines(&lab, &imon, "the fault lies", 1);
    lab.fault(Fault::GatewaySilent(Wan::One));
    wait_lines(&lab, &imon, "the fault lies", 2);
    lab.heal(Fault::GatewaySilent(Wan::One));
    wait_lines(&lab, &imon, "the fault lies", 3);
    let expected = [
        "Monitored IP 1.1.1.1 offline",
        "Secondary IP 192.168.42.1 online",
        "Secondary IP 9.9.9.9 online",
        "192.168.42.1, 9.9.9.9 answer: the fault lies beyond them, or in 1.1.1.1",
        "Secondary IP 192.168.42.1 offline",
        "9.9.9.9 answers, 192.168.42.1 does not: the fault lies in or before 192.168.42.1",
        "Secondary IP 192.168.42.1 online",
        "192.168.42.1, 9.9.9.9 answer: the fault lies beyond them, or in 1.1.1.1",
    ];
    assert_eq!(
        after_start(&said(&imon)),
        expected.map(|l| format!("[t] {l}")),
        "{}",
        lab.timeline()
    );
}

/// An updown monitor of 1.1.1.1 with short times and additional addresses.
fn addping(addresses: &str) -> String {
    format!(
        r#"{{"updown": {{"enable": true, "interval": 0.5, "pingcount": 1, "pingwait": 1.5, "monitorip": "1.1.1.1",
            "addping": "{addresses}"}}}}"#
    )
}

/// What is said after the monitor's start.
fn after_start(lines: &[String]) -> Vec<String> {
    lines.iter().skip_while(|l| !l.contains("Start Updown Monitor")).skip(1).cloned().collect()
}

fn issue6_with_the_cable_pulled_the_conclusion_says_so() {
    let lab = lab();
    let _internet = lab.responder("inet");
    let imon =
        lab.imon("router").instance("t", &addping("192.168.42.1,9.9.9.9")).nosyslog().spawn();
    wait_lines(&lab, &imon, "Secondary IP", 2);
    lab.fault(Fault::Carrier(Wan::One));
    imon.wait_line(
        |l| {
            l.ends_with(
                "[t] 192.168.42.1, 9.9.9.9 do not answer either: \
                 the fault lies between this system and them, or in them",
            )
        },
        SOON,
    );
    let mark = imon.mark();
    lab.heal(Fault::Carrier(Wan::One));
    imon.wait_line_from(mark, |l| l.ends_with("[t] Monitored IP 1.1.1.1 online"), SOON);
    imon.wait_line_from(mark, |l| l.ends_with("[t] Secondary IP 9.9.9.9 online"), SOON);
}

fn addping_on_the_command_line_goes_first() {
    let lab = lab();
    let config = addping("9.9.9.9");
    let imon = lab
        .imon("router")
        .instance("t", &config)
        .nosyslog()
        .args(["--addping", "192.168.42.1,192.168.92.10"])
        .spawn();
    let lines = wait_lines(&lab, &imon, "Secondary IP", 2);
    assert_eq!(
        lines,
        ["[t] Secondary IP 192.168.42.1 online", "[t] Secondary IP 192.168.92.10 online"]
    );
}

fn fall_and_rise_want_so_many_checks_in_a_row() {
    let lab = lab();
    let internet = lab.responder("inet");
    let config = r#"{"updown": {"enable": true, "interval": 0.3, "pingcount": 1, "pingwait": 0.2, "monitorip": "1.1.1.1",
        "fall": 3, "rise": 4}}"#;
    let imon = lab.imon("router").instance("t", config).nosyslog().spawn();
    imon.wait_line(|l| l.ends_with("Monitored IP 1.1.1.1 online"), SOON);
    internet.set("1.1.1.1", &Behaviour::silent());
    let offline = imon.wait_line(|l| l.ends_with("Monitored IP 1.1.1.1 offline"), SOON);
    let mark = imon.mark();
    internet.set("1.1.1.1", &Behaviour::normal());
    let online = imon.wait_line_from(mark, |l| l.ends_with("Monitored IP 1.1.1.1 online"), SOON);
    let requests = internet.requests();
    let (offline, online) = (instant_ns(offline.at), instant_ns(online.at));
    let lost = requests.iter().filter(|r| r.replied_ns.is_none() && r.at_ns < offline).count();
    assert!((3..9).contains(&lost), "{lost} lost probes before it was offline\n{}", lab.timeline());
    let last_lost =
        requests.iter().filter(|r| r.replied_ns.is_none()).map(|r| r.at_ns).max().unwrap();
    let good = requests.iter().filter(|r| r.at_ns > last_lost && r.at_ns < online).count();
    assert!((4..10).contains(&good), "{good} replies before it was online\n{}", lab.timeline());
}

fn sigusr1_checks_now() {
    let lab = lab();
    let internet = lab.responder("inet");
    let config =
        r#"{"updown": {"enable": true, "interval": 3600, "pingcount": 1, "monitorip": "1.1.1.1"}}"#;
    let imon = lab.imon("router").instance("t", config).nosyslog().spawn();
    imon.wait_line(|l| l.ends_with("Monitored IP 1.1.1.1 online"), SOON);
    internet.set("1.1.1.1", &Behaviour::silent());
    imon.signal(Signal::SIGUSR1);
    imon.wait_line(|l| l.ends_with("[t] Checking now (SIGUSR1)"), SOON);
    imon.wait_line(|l| l.ends_with("Monitored IP 1.1.1.1 offline"), SOON);
}
