//! Probes on the wire: over both kinds of socket and both families, against right, wrong, late and
//! forged answers.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use imon_lab::roles::{Behaviour, Quote, Reply};
use imon_lab::{Fault, Lab, Proc, Signal, Wan};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::{said, status, wait_lines, wait_status};
use crate::{SOON, lab, trials};

pub(crate) fn tests() -> Vec<Trial> {
    trials![
        right_and_wrong_answers_over_raw_ipv4,
        right_and_wrong_answers_over_raw_ipv6,
        right_and_wrong_answers_over_datagram_ipv4,
        right_and_wrong_answers_over_datagram_ipv6,
        b47_a_reply_after_pingwait_is_late_and_counted,
        b41_half_a_second_of_pingwait_is_half_a_second,
        an_error_with_our_cookie_ends_the_check_long_before_pingwait,
        b34_what_cannot_be_sent_is_lost_with_its_reason_until_it_can_be,
        b34_over_datagram_sockets_as_well,
        b35_without_any_permission_one_error_says_what_to_do,
        all_targets_share_one_socket_of_each_family,
        a_dead_next_hop_is_told_by_our_own_kernel,
    ]
}

/// What a target does to its requests, and what imon must make of it.
struct Case {
    address: String,
    behaviour: Behaviour,
    online: bool,
    reason: String,
}

/// Addresses of the lab and ICMP numbers of one family.
struct Family {
    /// Of the targets, up to the last number.
    prefix: &'static str,
    /// Where the internet's answers to nobody's questions come from.
    elsewhere: &'static str,
    /// ICMP type and code of "host unreachable".
    unreachable: (u8, u8),
}

const V4: Family = Family { prefix: "198.18.3.", elsewhere: "203.0.113.254", unreachable: (3, 1) };
const V6: Family =
    Family { prefix: "2001:db8:3::", elsewhere: "2001:db8:f1::fe", unreachable: (1, 3) };

fn right_and_wrong_answers_over_raw_ipv4() {
    right_and_wrong_answers(&V4, true);
}

fn right_and_wrong_answers_over_raw_ipv6() {
    right_and_wrong_answers(&V6, true);
}

fn right_and_wrong_answers_over_datagram_ipv4() {
    right_and_wrong_answers(&V4, false);
}

fn right_and_wrong_answers_over_datagram_ipv6() {
    right_and_wrong_answers(&V6, false);
}

/// Every behaviour at once, each at an address of its own.
fn right_and_wrong_answers(family: &Family, raw: bool) {
    let from: IpAddr = family.elsewhere.parse().unwrap();
    let (kind, code) = family.unreachable;
    let error = |quote, then_reply| Reply::Error { kind, code, from, quote, then_reply };
    let unproven = format!("no reply (unproven: host unreachable from {from})");
    let table = [
        (Reply::Echo, true, String::new()),
        (Reply::Twice, true, String::new()),
        (Reply::Reordered, true, String::new()),
        (Reply::Silent, false, "no reply".into()),
        (Reply::WrongId, false, "no reply".into()),
        (Reply::WrongSequence, false, "no reply".into()),
        (Reply::WrongPayload, false, "no reply".into()),
        (Reply::Truncated(20), false, "no reply".into()),
        (Reply::Truncated(0), false, "no reply".into()),
        (Reply::WrongSource(from), false, "no reply".into()),
        (Reply::WrongChecksum, false, "no reply".into()),
        (error(Quote::Full, false), false, format!("host unreachable from {from}")),
        (error(Quote::Short, false), false, unproven.clone()),
        (error(Quote::Forged, false), false, unproven),
        (error(Quote::Short, true), true, String::new()),
        (error(Quote::Forged, true), true, String::new()),
    ];
    let cases: Vec<Case> = (1..)
        .zip(table)
        .map(|(n, (reply, online, reason))| {
            let address = format!("{}{n}", family.prefix);
            Case { address, behaviour: Behaviour::new(reply), online, reason }
        })
        .collect();
    let lab = lab();
    let internet = lab.responder("inet");
    lab.sh(
        "inet",
        "ip route add local 198.18.3.0/24 dev lo; ip -6 route add local 2001:db8:3::/64 dev lo",
    );
    for case in &cases {
        internet.set(&case.address, &case.behaviour);
    }
    let targets: Vec<&str> = cases.iter().map(|c| c.address.as_str()).collect();
    let config = format!(
        r#"{{"ping": {{"enable": true, "interval": 2, "pingcount": 2, "pingwait": 2, "monitorip": "{}"}}}}"#,
        targets.join(", ")
    );
    let imon = imon_with_sockets(&lab, raw, &config);
    wait_lines(&lab, &imon, "Ping Result", cases.len());
    let seen = wait_status(&lab, &imon, "t", "every target is judged", |s| {
        targets_of(s)
            .iter()
            .all(|t| t["probes"]["checks"].as_u64() >= Some(1) && t["state"] != "unknown")
    });
    for (case, target) in cases.iter().zip(targets_of(&seen)) {
        let (expected, reason) =
            (if case.online { "online" } else { "offline" }, target["reason"].as_str());
        let what = format!("{:?}: {target:#}\n{}", case.behaviour.reply, lab.timeline());
        assert_eq!(target["target"], case.address.as_str(), "{what}");
        assert_eq!(
            (target["state"].as_str(), reason.unwrap_or_default()),
            (Some(expected), &*case.reason),
            "{what}"
        );
        let counted = |name: &str| target["probes"][name].as_u64().unwrap_or_default();
        if case.online {
            // Of the check that SIGUSR1 started, requests may be under way.
            assert!(counted("replies") > 0 && counted("replies") <= counted("sent"), "{what}");
        } else {
            assert_eq!(
                (counted("replies"), counted("late"), counted("duplicates")),
                (0, 0, 0),
                "{what}"
            );
        }
        if case.behaviour.reply != Reply::Twice {
            assert_eq!(counted("duplicates"), 0, "{what}");
        }
    }
    wait_status(&lab, &imon, "t", "every second reply is a duplicate", |s| {
        let twice = &targets_of(s)[1]["probes"];
        twice["duplicates"].as_u64() >= Some(4)
            && twice["duplicates"].as_u64() <= twice["replies"].as_u64()
    });
}

/// imon as instance t, by raw sockets, or by datagram sockets because it may not have others.
fn imon_with_sockets(lab: &Lab, raw: bool, config: &str) -> Proc {
    let imon = lab.imon("router").instance("t", config).nosyslog();
    if raw {
        return imon.spawn();
    }
    lab.sh("router", "echo '0 0' >/proc/sys/net/ipv4/ping_group_range");
    let imon = imon.without_capabilities().spawn();
    imon.wait_line(|l| l.ends_with("Start Ping Monitor"), SOON);
    assert_eq!(raw_sockets(&imon), (0, 0), "without capabilities there are no raw sockets");
    imon
}

/// Raw sockets of each family in the program's network namespace.
fn raw_sockets(imon: &Proc) -> (usize, usize) {
    let count = |file: &str| {
        let table = fs::read_to_string(format!("/proc/{}/net/{file}", imon.pid())).unwrap();
        table.lines().count() - 1
    };
    (count("raw"), count("raw6"))
}

fn targets_of(status: &Value) -> &[Value] {
    status["monitors"]["ping"]["targets"].as_array().map_or(&[], Vec::as_slice)
}

fn b47_a_reply_after_pingwait_is_late_and_counted() {
    let lab = lab();
    let internet = lab.responder("inet");
    internet.set("1.1.1.1", &Behaviour::normal().delay(Duration::from_millis(1200)));
    let config = r#"{"updown": {"enable": true, "interval": 5, "pingcount": 2, "pingwait": 1, "monitorip": "1.1.1.1"}}"#;
    let imon = lab.imon("router").instance("t", config).nosyslog().spawn();
    imon.wait_line(|l| l.ends_with("Monitored IP 1.1.1.1 offline"), SOON);
    let seen = wait_status(&lab, &imon, "t", "late replies", |s| {
        s["monitors"]["updown"]["probes"]["late"].as_u64() >= Some(2)
    });
    let updown = &seen["monitors"]["updown"];
    assert_eq!(
        (&updown["state"], &updown["probes"]["replies"]),
        (&"offline".into(), &0.into()),
        "{updown:#}"
    );
    let reason = updown["reason"].as_str().unwrap_or_default();
    let late = reason
        .strip_prefix("reply too late, after ")
        .and_then(|r| r.strip_suffix(" ms")?.parse::<f64>().ok());
    assert!(late.is_some_and(|ms| (1200.0..3000.0).contains(&ms)), "{reason}");
}

fn b41_half_a_second_of_pingwait_is_half_a_second() {
    let lab = lab();
    let internet = lab.responder("inet");
    internet.set("1.1.1.1", &Behaviour::normal().delay(Duration::from_millis(250)));
    internet.set("9.9.9.9", &Behaviour::normal().delay(Duration::from_millis(750)));
    let config = r#"{"ping": {"enable": true, "interval": 1, "pingcount": 3, "pingwait": 0.5, "monitorip": "1.1.1.1, 9.9.9.9"}}"#;
    let imon = lab.imon("router").instance("t", config).nosyslog().spawn();
    let lines = wait_lines(&lab, &imon, "Ping Result", 4);
    assert!(
        said(&imon).contains(&"[t]     pingwait          0.5".to_owned()),
        "{}",
        lab.timeline()
    );
    let is = |line: &String, text: &str| line.contains(text);
    assert!(
        lines.iter().any(|l| is(l, "IP:1.1.1.1 State:True") && !is(l, "minrtt:0")),
        "{lines:?}"
    );
    assert!(
        lines.iter().all(|l| is(l, "IP:1.1.1.1") || is(l, "IP:9.9.9.9 State:False")),
        "{lines:?}"
    );
}

fn an_error_with_our_cookie_ends_the_check_long_before_pingwait() {
    for raw in [true, false] {
        let lab = lab();
        // The gateway's own kernel says so, and quotes all of the request.
        lab.fault(Fault::UpstreamRejecting(Wan::One));
        let config = r#"{"ping": {"enable": false}, "updown": {"enable": true, "interval": 60, "pingcount": 1, "pingwait": 60, "monitorip": "1.1.1.1"}}"#;
        let imon = lab.imon("router").instance("t", config).nosyslog();
        let imon = if raw {
            imon.spawn()
        } else {
            lab.sh("router", "echo '0 0' >/proc/sys/net/ipv4/ping_group_range");
            imon.without_capabilities().spawn()
        };
        imon.wait_line(|l| l.ends_with("Monitored IP 1.1.1.1 offline"), SOON);
        let seen = wait_status(&lab, &imon, "t", "offline", |s| {
            s["monitors"]["updown"]["state"] == "offline"
        });
        assert_eq!(
            seen["monitors"]["updown"]["reason"], "host unreachable from 192.168.42.1",
            "raw: {raw}"
        );
    }
}

fn b34_what_cannot_be_sent_is_lost_with_its_reason_until_it_can_be() {
    unsendable(true);
}

fn b34_over_datagram_sockets_as_well() {
    unsendable(false);
}

fn unsendable(raw: bool) {
    let lab = lab();
    let _internet = lab.responder("inet");
    let config = r#"{"ping": {"enable": true, "interval": 0.5, "pingcount": 2, "pingwait": 0.4, "monitorip": "1.1.1.1"},
        "updown": {"enable": true, "interval": 0.5, "pingwait": 0.4, "monitorip": "8.8.8.8"}}"#;
    let imon = imon_with_sockets(&lab, raw, config);
    imon.wait_line(|l| l.ends_with("[t-updown] Monitored IP 8.8.8.8 online"), SOON);
    imon.wait_line(|l| l.contains("[t-ping] Ping Result: IP:1.1.1.1 State:True"), SOON);
    lab.delete_default_routes();
    let why = "could not be sent: Network is unreachable";
    let mark = imon.mark();
    imon.wait_line(|l| l.ends_with(&format!("[t-ping] Probe of 1.1.1.1: {why}")), SOON);
    imon.wait_line(|l| l.ends_with("[t-updown] Monitored IP 8.8.8.8 offline"), SOON);
    let lost = "[t-ping] Ping Result: IP:1.1.1.1 State:False minrtt:0.0 avgrtt:0.0 maxrtt:0.0 loss:1.0 jitter:0.0";
    for _ in 0..2 {
        imon.wait_line_from(mark, |l| l.ends_with(lost), SOON);
    }
    let seen = wait_status(&lab, &imon, "t", "the reason", |s| targets_of(s)[0]["reason"] == why);
    assert_eq!(seen["monitors"]["updown"]["reason"], why);
    let mark = imon.mark();
    lab.add_default_route(Wan::One, 0);
    imon.wait_line(|l| l.ends_with("[t-ping] Probes of 1.1.1.1 are sent again"), SOON);
    imon.wait_line_from(mark, |l| l.ends_with("[t-updown] Monitored IP 8.8.8.8 online"), SOON);
    imon.wait_line_from(mark, |l| l.contains("State:True") && l.contains(" loss:0.0 "), SOON);
    for monitor in ["[t-ping]", "[t-updown]"] {
        let problems =
            said(&imon).iter().filter(|l| l.contains(monitor) && l.contains(why)).count();
        assert_eq!(problems, 1, "{monitor} says it once\n{}", lab.timeline());
    }
}

fn b35_without_any_permission_one_error_says_what_to_do() {
    let lab = lab();
    for target in ["1.1.1.1", "2606:4700:4700::1111", "host.test"] {
        let config = format!(r#"{{"ping": {{"enable": true, "monitorip": "{target}"}}}}"#);
        let ended =
            lab.imon("router").instance("t", &config).nosyslog().without_capabilities().run(SOON);
        assert_eq!(ended.code(), 1, "{}", lab.timeline());
        let said = ended.stderr();
        let first = "? No permission to send ICMP echo requests (raw socket: ";
        assert!(said.starts_with(first) && said.matches('?').count() == 1, "one error: {said}");
        for help in [
            "CAP_NET_RAW",
            "setcap cap_net_raw+ep /",
            "net.ipv4.ping_group_range=",
            "systemctl start imon@",
        ] {
            assert!(said.contains(help), "{help}: {said}");
        }
    }
    assert!(status(&lab, "t").is_null(), "no status of what never ran");
}

fn all_targets_share_one_socket_of_each_family() {
    let lab = lab();
    let _internet = lab.responder("inet");
    lab.sh("inet", "ip route add local 198.18.3.0/24 dev lo");
    let mut targets: Vec<String> = (1..=40).map(|n| format!("198.18.3.{n}")).collect();
    targets.extend(["2001:db8:80::80".to_owned(), "2606:4700:4700::1111".to_owned()]);
    let config = format!(
        r#"{{"ping": {{"enable": true, "interval": 1, "monitorip": "{}"}},
            "updown": {{"enable": true, "interval": 1, "monitorip": "8.8.8.8", "addping": "9.9.9.9, 192.168.42.1"}}}}"#,
        targets.join(",")
    );
    let imon = lab.imon("router").instance("t", &config).nosyslog().spawn();
    wait_lines(&lab, &imon, "State:True", targets.len());
    assert_eq!(raw_sockets(&imon), (1, 1));
    assert_eq!(imon.usage().threads, 1);
    // Three standard ones, the signals' pipe, the lock, two sockets; twice that leaves room for
    // what is to come. More are open only while the status is on its way to the disk.
    lab.wait_until("few descriptors", SOON, || imon.usage().descriptors < 16);
}

fn a_dead_next_hop_is_told_by_our_own_kernel() {
    let lab = lab();
    let config = r#"{"updown": {"enable": true, "interval": 60, "pingcount": 1, "pingwait": 30, "monitorip": "192.168.42.77"}}"#;
    let imon = lab.imon("router").instance("t", config).nosyslog().spawn();
    // Sending succeeds; address resolution gives up after 3 s.
    imon.wait_line(|l| l.ends_with("Monitored IP 192.168.42.77 offline"), SOON);
    let seen =
        wait_status(&lab, &imon, "t", "offline", |s| s["monitors"]["updown"]["state"] == "offline");
    assert_eq!(seen["monitors"]["updown"]["reason"], "host unreachable from 192.168.42.2");
    imon.signal(Signal::SIGTERM);
    assert_eq!(imon.wait(SOON).code(), Some(0));
}
