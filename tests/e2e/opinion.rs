//! The DNS second opinion: which answers refute an outage, and that asking costs no time.

use std::net::IpAddr;
use std::time::Duration;

use imon_lab::roles::{Behaviour, DnsMode, Record};
use imon_lab::{Fault, Proc, Wan, instant_ns};
use libtest_mimic::Trial;

use crate::support::{said, status, wait_lines, wait_status};
use crate::{SOON, lab, trials};

pub(crate) fn tests() -> Vec<Trial> {
    trials![
        b31_only_a_believable_answer_refutes,
        issue5_the_home_router_answers_with_its_own_address,
        issue5_the_provider_answers_in_the_name_of_the_server,
        the_opinion_costs_no_time,
        a_refuted_outage_is_said_once_in_each_online_period,
        a_name_server_is_given_by_name_or_by_address_of_either_family,
    ]
}

/// An answer, and what imon must say about it: `None` if it refutes.
struct Case {
    mode: DnsMode,
    name: &'static str,
    doubt: Option<&'static str>,
}

fn cases() -> Vec<Case> {
    let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
    let public = |mode, doubt| Case { mode, name: "microsoft.com", doubt };
    let late = Some("no answer in time");
    vec![
        public(DnsMode::Normal, None),
        Case { mode: DnsMode::Normal, name: "www.chain.example", doubt: None },
        public(DnsMode::LieExceptInvalid(ip("203.0.113.99")), None),
        public(DnsMode::Timeout, late),
        public(DnsMode::NxDomain, Some("the answer is no such name (NXDOMAIN)")),
        Case {
            mode: DnsMode::Normal,
            name: "gone.example",
            doubt: Some("the answer is no such name (NXDOMAIN)"),
        },
        public(DnsMode::Empty, Some("the answer has no address")),
        public(DnsMode::ServFail, Some("the answer is server failure (SERVFAIL)")),
        public(DnsMode::Refused, Some("the answer is refused (REFUSED)")),
        public(
            DnsMode::Lie(ip("203.0.113.99")),
            Some("it also knows an address for a name that cannot exist"),
        ),
        public(
            DnsMode::Lie(ip("10.66.66.66")),
            Some("the answer 10.66.66.66 is a private address"),
        ),
        public(
            DnsMode::LieExceptInvalid(ip("10.66.66.66")),
            Some("the answer 10.66.66.66 is a private address"),
        ),
        public(
            DnsMode::LieExceptInvalid(ip("0.0.0.0")),
            Some("the answer 0.0.0.0 is a null address"),
        ),
        public(
            DnsMode::LieExceptInvalid(ip("127.0.0.1")),
            Some("the answer 127.0.0.1 is a loopback address"),
        ),
        public(
            DnsMode::LieExceptInvalid(ip("203.0.113.77")),
            Some("the answer 203.0.113.77 is an address of this machine"),
        ),
        public(DnsMode::WrongId, late),
        public(DnsMode::WrongQuestion, late),
        public(DnsMode::Echo, late),
        public(DnsMode::Garbage, late),
        public(DnsMode::OtherAddress, late),
        public(DnsMode::OtherPort, late),
        public(DnsMode::Truncated, Some("the answer has no address")),
        public(DnsMode::CnameLoop, Some("the answer has no address")),
    ]
}

/// One imon for each answer, each asking a server of its own, while the address they all watch
/// falls silent.
fn b31_only_a_believable_answer_refutes() {
    let cases = cases();
    let lab = lab();
    let internet = lab.responder("inet");
    lab.sh("inet", "ip route add local 198.18.4.0/24 dev lo");
    lab.sh("router", "ip addr add 203.0.113.77/32 dev lo");
    let server = |n: usize| format!("198.18.4.{n}");
    let servers: Vec<String> = (0..cases.len()).map(server).collect();
    let dns = lab.dns_on("inet", &servers.iter().map(String::as_str).collect::<Vec<_>>());
    dns.set("www.chain.example", &[Record::Cname("edge.chain.example".into())]);
    dns.set("edge.chain.example", &[Record::Cname("host.cdn.example".into())]);
    dns.set("host.cdn.example", &[Record::Address([203, 0, 113, 9].into())]);
    let imons: Vec<Proc> = (0..)
        .zip(&cases)
        .map(|(n, case)| {
            dns.mode_of(&server(n), &case.mode);
            let config = format!(
                r#"{{"updown": {{"enable": true, "interval": 1, "pingcount": 2, "pingwait": 0.8,
                    "monitorip": "1.1.1.1", "dnsserver": "{}", "dnslookup": "{}"}}}}"#,
                server(n),
                case.name
            );
            lab.imon("router").instance(&n.to_string(), &config).nosyslog().spawn()
        })
        .collect();
    for imon in &imons {
        imon.wait_line(|l| l.ends_with("Monitored IP 1.1.1.1 online"), SOON);
    }
    internet.set("1.1.1.1", &Behaviour::silent());
    for (n, (case, imon)) in cases.iter().zip(&imons).enumerate() {
        let what = format!("{:?} about {}", case.mode, case.name);
        let refuted = format!(
            "[{n}] Offline of 1.1.1.1 refuted by DNS query of '{}' on DNS server '{}'",
            case.name,
            server(n)
        );
        let offline = format!("[{n}] Monitored IP 1.1.1.1 offline");
        let line = imon.wait_line(|l| l.ends_with(&refuted) || l.ends_with(&offline), SOON).text;
        assert_eq!(
            line.ends_with(&refuted),
            case.doubt.is_none(),
            "{what}: {line}\n{}",
            lab.timeline()
        );
        let state = if case.doubt.is_none() { "online" } else { "offline" };
        let instance = n.to_string();
        let seen = wait_status(&lab, imon, &instance, &what, |s| {
            s["monitors"]["updown"]["state"] == state
        });
        assert_eq!(seen["monitors"]["updown"]["dns"].as_str(), case.doubt, "{what}");
    }
}

fn issue5_the_home_router_answers_with_its_own_address() {
    let lab = lab();
    let _internet = lab.responder("inet");
    let dns = lab.dns_on("isp1", &["192.168.42.1"]);
    dns.mode(&DnsMode::LieExceptInvalid([192, 168, 42, 1].into()));
    let config = r#"{"updown": {"enable": true, "interval": 1, "pingcount": 1, "pingwait": 0.8, "monitorip": "1.1.1.1",
        "dnsserver": "192.168.42.1", "dnslookup": "google.com"}}"#;
    let imon = lab.imon("router").instance("t", config).nosyslog().spawn();
    imon.wait_line(
        |l| l.contains("[t] Warning: dnsserver 192.168.42.1 is on the local network"),
        SOON,
    );
    imon.wait_line(|l| l.ends_with("Monitored IP 1.1.1.1 online"), SOON);
    lab.fault(Fault::UpstreamDead(Wan::One));
    imon.wait_line(|l| l.ends_with("Monitored IP 1.1.1.1 offline"), SOON);
    assert!(dns.queries().iter().any(|q| q.name == "google.com"), "it was asked");
    assert!(!said(&imon).iter().any(|l| l.contains("refuted")), "{}", lab.timeline());
}

fn issue5_the_provider_answers_in_the_name_of_the_server() {
    let lab = lab();
    let _internet = lab.responder("inet");
    lab.sh("isp1", "ip addr add 8.8.8.8/32 dev lo");
    let dns = lab.dns_on("isp1", &["8.8.8.8"]);
    // A captive portal's address, public and all, but for every name there is.
    dns.mode(&DnsMode::Lie([203, 0, 113, 99].into()));
    let imon = lab.imon("router").instance("t", &asking("8.8.8.8")).nosyslog().spawn();
    imon.wait_line(|l| l.ends_with("Monitored IP 1.1.1.1 online"), SOON);
    lab.fault(Fault::UpstreamDead(Wan::One));
    imon.wait_line(|l| l.ends_with("Monitored IP 1.1.1.1 offline"), SOON);
    assert!(dns.queries().iter().any(|q| q.name == "microsoft.com"), "it was asked");
    // A random name each time, so that nobody can learn it.
    wait_lines(&lab, &imon, "offline", 1);
    let invalid = |skip: usize| dns.wait_query(skip, |q| q.name.ends_with(".invalid"), SOON).name;
    let (first, later) = (invalid(0), invalid(dns.queries().len()));
    assert_ne!(first, later);
    assert!(!said(&imon).iter().any(|l| l.contains("refuted")), "{}", lab.timeline());
}

/// An updown monitor of 1.1.1.1 with short times and a second opinion.
fn asking(server: &str) -> String {
    format!(
        r#"{{"updown": {{"enable": true, "interval": 1, "pingcount": 1, "pingwait": 0.8, "monitorip": "1.1.1.1",
            "dnsserver": "{server}", "dnslookup": "microsoft.com"}}}}"#
    )
}

fn the_opinion_costs_no_time() {
    let lab = lab();
    let internet = lab.responder("inet");
    let dns = lab.dns();
    dns.mode(&DnsMode::Timeout);
    internet.set("1.1.1.1", &Behaviour::silent());
    let config = r#"{"updown": {"enable": true, "interval": 3, "pingcount": 3, "pingwait": 2, "monitorip": "1.1.1.1",
        "dnsserver": "8.8.8.8", "dnslookup": "microsoft.com"}}"#;
    let imon = lab.imon("router").instance("t", config).nosyslog().spawn();
    let offline =
        instant_ns(imon.wait_line(|l| l.ends_with("Monitored IP 1.1.1.1 offline"), SOON).at);
    let requests = internet.requests_to("1.1.1.1");
    let (first, last) = (requests[0].at_ns, requests[2].at_ns);
    let asked = dns.queries();
    let since_last = |ns: u64| Duration::from_nanos(ns.saturating_sub(last));
    // Both questions leave with the last probe, not after its two seconds; and nothing comes on top
    // of these.
    assert!(
        asked
            .iter()
            .take(2)
            .all(|q| q.at_ns > first && since_last(q.at_ns) < Duration::from_secs(1)),
        "{asked:?}"
    );
    let took = since_last(offline);
    assert!(
        took > Duration::from_millis(1000) && took < Duration::from_millis(3700),
        "{took:?}\n{}",
        lab.timeline()
    );
}

fn a_refuted_outage_is_said_once_in_each_online_period() {
    let lab = lab();
    let internet = lab.responder("inet");
    let dns = lab.dns();
    let imon = lab.imon("router").instance("t", &asking("8.8.8.8")).nosyslog().spawn();
    imon.wait_line(|l| l.ends_with("Monitored IP 1.1.1.1 online"), SOON);
    internet.set("1.1.1.1", &Behaviour::silent());
    wait_lines(&lab, &imon, "refuted", 1);
    dns.mode(&DnsMode::ServFail);
    wait_lines(&lab, &imon, "offline", 1);
    // DNS alone ends the outage, as in V2.99: another online period begins with a refutation.
    dns.mode(&DnsMode::Normal);
    wait_lines(&lab, &imon, "Outage Duration", 1);
    let asked = dns.queries().len();
    dns.wait_query(asked + 5, |q| q.name == "microsoft.com", SOON);
    let lines: Vec<String> =
        said(&imon).into_iter().skip_while(|l| !l.contains(" online")).collect();
    let refuted =
        "[t] Offline of 1.1.1.1 refuted by DNS query of 'microsoft.com' on DNS server '8.8.8.8'";
    assert_eq!(
        lines[..5],
        [
            "[t] Monitored IP 1.1.1.1 online",
            refuted,
            "[t] Monitored IP 1.1.1.1 offline",
            refuted,
            "[t] Monitored IP 1.1.1.1 online"
        ],
        "{}",
        lab.timeline()
    );
    assert_eq!(lines.len(), 6, "with the duration: {lines:?}");
    assert_eq!(status(&lab, "t")["monitors"]["updown"]["state"], "online");
}

fn a_name_server_is_given_by_name_or_by_address_of_either_family() {
    let lab = lab();
    let internet = lab.responder("inet");
    let dns = lab.dns();
    dns.set("resolver.example", &[Record::Address([9, 9, 9, 9].into())]);
    for (server, address) in [
        ("resolver.example", "9.9.9.9"),
        ("2001:4860:4860::8888", "2001:4860:4860::8888"),
        ("8.8.8.8", "8.8.8.8"),
    ] {
        internet.set("1.1.1.1", &Behaviour::normal());
        let imon = lab.imon("router").instance("t", &asking(server)).nosyslog().spawn();
        imon.wait_line(|l| l.ends_with("Monitored IP 1.1.1.1 online"), SOON);
        internet.set("1.1.1.1", &Behaviour::silent());
        let refuted = format!("refuted by DNS query of 'microsoft.com' on DNS server '{server}'");
        imon.wait_line(|l| l.ends_with(&refuted), SOON);
        let address: IpAddr = address.parse().unwrap();
        assert!(
            dns.queries().iter().any(|q| q.server == address && q.name == "microsoft.com"),
            "{server}"
        );
    }
}
