//! Monitored names: where their addresses come from, and what happens when they come late, change
//! or go away.

use std::time::Duration;

use imon_lab::roles::{Behaviour, DnsMode, Record};
use imon_lab::{Lab, Proc};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::{said, status, wait_lines, wait_status};
use crate::{SOON, lab, trials};

pub(crate) fn tests() -> Vec<Trial> {
    trials![
        names_are_found_by_hosts_file_search_list_and_alias,
        a_dead_first_name_server_costs_nothing_but_a_little_time,
        b1_issue9_a_monitored_name_stops_resolving,
        b1_issue9_its_name_server_talks_rubbish,
        a_name_that_never_resolved_is_offline_until_it_does,
        a_slow_name_server_at_start_is_no_outage,
        a_name_that_moves_is_followed,
        a_new_resolv_conf_is_noticed,
        an_edited_hosts_file_is_noticed,
        the_address_in_use_outlives_a_dead_name_server,
        many_names_and_a_dead_name_server_take_few_descriptors,
    ]
}

/// The resolv.conf that programs in the router's namespace see.
const RESOLV_CONF: &str = "/etc/netns/router/resolv.conf";

/// An updown monitor of a name with short times.
fn watching(lab: &Lab, name: &str) -> Proc {
    let config = format!(
        r#"{{"updown": {{"enable": true, "interval": 0.5, "pingcount": 2, "pingwait": 1.5, "monitorip": "{name}"}}}}"#
    );
    lab.imon("router").instance("t", &config).nosyslog().spawn()
}

fn updown(status: &Value) -> &Value {
    &status["monitors"]["updown"]
}

fn names_are_found_by_hosts_file_search_list_and_alias() {
    let lab = lab();
    let (_internet, _dns) = (lab.responder("inet"), lab.dns());
    lab.write(
        "/etc/hosts",
        "127.0.0.1 localhost\n192.168.42.1\tGateway.home gw # the provider's\n::1 localhost\n",
    );
    lab.write(RESOLV_CONF, "# by hand\nsearch example.net test\nnameserver 8.8.8.8\n");
    let table = [
        ("gw", "192.168.42.1", ""),
        ("gateway.HOME", "192.168.42.1", ""),
        ("host", "198.18.0.80", ""),
        ("host.test", "198.18.0.80", ""),
        ("alias.test", "198.18.0.81", ""),
        ("six.test", "2001:db8:80::80", ""),
        ("both.test", "198.18.0.80", ""),
        ("localhost", "127.0.0.1", ""),
        ("nowhere.test.", "", "name does not resolve: no such name (NXDOMAIN) from 8.8.8.8"),
    ];
    let names: Vec<&str> = table.iter().map(|(name, ..)| *name).collect();
    let config = format!(
        r#"{{"ping": {{"enable": true, "interval": 1, "monitorip": "{}"}}}}"#,
        names.join(", ")
    );
    let imon = lab.imon("router").instance("t", &config).nosyslog().spawn();
    wait_lines(&lab, &imon, "State:True", table.len() - 1);
    let targets =
        |s: &Value| s["monitors"]["ping"]["targets"].as_array().cloned().unwrap_or_default();
    let seen = wait_status(&lab, &imon, "t", "all are judged", |s| {
        targets(s).iter().all(|t| t["state"] != "unknown")
    });
    for ((name, address, reason), target) in table.into_iter().zip(targets(&seen)) {
        let text = |key: &str| target[key].as_str().unwrap_or_default();
        assert_eq!(
            (text("target"), text("address"), text("reason")),
            (name, address, reason),
            "{target:#}"
        );
        assert_eq!(
            text("state"),
            if address.is_empty() { "offline" } else { "online" },
            "{target:#}"
        );
    }
    let lost = "Ping Result: IP:nowhere.test. State:False minrtt:0.0 avgrtt:0.0 maxrtt:0.0 loss:1.0 jitter:0.0";
    imon.wait_line(|l| l.ends_with(lost), SOON);
}

fn a_dead_first_name_server_costs_nothing_but_a_little_time() {
    let lab = lab();
    let (_internet, dns) = (lab.responder("inet"), lab.dns());
    dns.mode_of("9.9.9.9", &DnsMode::Timeout);
    // Nobody listens at the gateway: that is told at once. The next is silent.
    lab.write(RESOLV_CONF, "nameserver 192.168.42.1\nnameserver 9.9.9.9\nnameserver 8.8.8.8\n");
    let imon = watching(&lab, "host.test");
    imon.wait_line(|l| l.ends_with("[t] Monitored IP host.test online"), SOON);
    assert!(!said(&imon).iter().any(|l| l.contains("offline")), "{}", lab.timeline());
}

fn b1_issue9_a_monitored_name_stops_resolving() {
    stops_resolving(&[DnsMode::Timeout, DnsMode::NxDomain]);
}

fn b1_issue9_its_name_server_talks_rubbish() {
    stops_resolving(&[DnsMode::ServFail, DnsMode::Garbage]);
}

fn stops_resolving(modes: &[DnsMode]) {
    for mode in modes {
        let lab = lab();
        let (internet, dns) = (lab.responder("inet"), lab.dns());
        let imon = watching(&lab, "host.test");
        imon.wait_line(|l| l.ends_with("[t] Monitored IP host.test online"), SOON);
        dns.mode(mode);
        internet.set("198.18.0.80", &Behaviour::silent());
        // The outage is reported, and makes it look the name up again, in vain.
        imon.wait_line(|l| l.ends_with("[t] Monitored IP host.test offline"), SOON);
        let asked = dns.queries().len();
        dns.wait_query(asked, |q| q.name == "host.test", SOON);
        assert_eq!(
            updown(&status(&lab, "t"))["address"],
            "198.18.0.80",
            "the last good address is kept"
        );
        // The host is back, its name is not.
        internet.set("198.18.0.80", &Behaviour::normal());
        let mark = imon.mark();
        imon.wait_line(|l| l.contains("[t] Outage Duration"), SOON);
        // And a later outage is reported like the first.
        internet.set("198.18.0.80", &Behaviour::silent());
        imon.wait_line_from(mark, |l| l.ends_with("[t] Monitored IP host.test offline"), SOON);
        assert!(imon.alive(), "{mode:?}");
    }
}

fn a_name_that_never_resolved_is_offline_until_it_does() {
    let lab = lab();
    let (_internet, dns) = (lab.responder("inet"), lab.dns());
    dns.mode(&DnsMode::NxDomain);
    let imon = watching(&lab, "host.test");
    imon.wait_line(|l| l.ends_with("[t] Monitored IP host.test offline"), SOON);
    let reason = "name does not resolve: no such name (NXDOMAIN) from 8.8.8.8";
    wait_status(&lab, &imon, "t", "the reason", |s| {
        updown(s)["reason"] == reason && updown(s)["address"].is_null()
    });
    dns.mode(&DnsMode::Normal);
    imon.wait_line(|l| l.ends_with("[t] Monitored IP host.test online"), SOON);
    imon.wait_line(|l| l.contains("[t] Outage Duration"), SOON);
}

fn a_slow_name_server_at_start_is_no_outage() {
    let lab = lab();
    let (_internet, dns) = (lab.responder("inet"), lab.dns());
    // Several intervals, and longer than a whole check.
    dns.delay(Duration::from_millis(1500));
    let imon = watching(&lab, "host.test");
    imon.wait_line(|l| l.ends_with("[t] Monitored IP host.test online"), SOON);
    assert!(!said(&imon).iter().any(|l| l.contains("offline")), "{}", lab.timeline());
}

fn a_name_that_moves_is_followed() {
    let lab = lab();
    let (internet, dns) = (lab.responder("inet"), lab.dns());
    let imon = watching(&lab, "host.test");
    imon.wait_line(|l| l.ends_with("[t] Monitored IP host.test online"), SOON);
    dns.set("host.test", &[Record::Address([198, 18, 0, 81].into())]);
    internet.set("198.18.0.80", &Behaviour::silent());
    // The old address is good for another minute by its lifetime; that it does not answer is why
    // imon asks before.
    imon.wait_line(|l| l.contains("[t] Outage Duration"), SOON);
    wait_status(&lab, &imon, "t", "the new address", |s| updown(s)["address"] == "198.18.0.81");
}

fn a_new_resolv_conf_is_noticed() {
    let lab = lab();
    let (_internet, _dns) = (lab.responder("inet"), lab.dns());
    lab.write(RESOLV_CONF, "nameserver 192.168.42.1\n");
    let imon = watching(&lab, "host.test");
    imon.wait_line(|l| l.ends_with("[t] Monitored IP host.test offline"), SOON);
    let reason = "name does not resolve: DNS port closed at 192.168.42.1";
    wait_status(&lab, &imon, "t", "the reason", |s| updown(s)["reason"] == reason);
    lab.write(RESOLV_CONF, "nameserver 8.8.8.8\n");
    imon.wait_line(|l| l.ends_with("[t] Monitored IP host.test online"), 2 * SOON);
}

fn an_edited_hosts_file_is_noticed() {
    let lab = lab();
    let internet = lab.responder("inet");
    lab.write("/etc/hosts", "198.18.0.80 server\n");
    let imon = watching(&lab, "server");
    imon.wait_line(|l| l.ends_with("[t] Monitored IP server online"), SOON);
    lab.write("/etc/hosts", "198.18.0.81 server\n");
    lab.wait_until("the new address is probed", 2 * SOON, || {
        !internet.requests_to("198.18.0.81").is_empty()
    });
    assert!(!said(&imon).iter().any(|l| l.contains("offline")), "{}", lab.timeline());
}

fn the_address_in_use_outlives_a_dead_name_server() {
    let lab = lab();
    let (_internet, dns) = (lab.responder("inet"), lab.dns());
    let imon = watching(&lab, "host.test");
    imon.wait_line(|l| l.ends_with("[t] Monitored IP host.test online"), SOON);
    dns.mode(&DnsMode::ServFail);
    // An edit of the file has every name looked up again that failed, and asks another server.
    lab.write(RESOLV_CONF, "nameserver 9.9.9.9\n");
    let checks = |s: &Value| updown(s)["probes"]["checks"].as_u64().unwrap_or_default();
    let before = checks(&status(&lab, "t"));
    let seen = wait_status(&lab, &imon, "t", "it goes on", |s| checks(s) > before + 4);
    assert_eq!(
        (&updown(&seen)["state"], &updown(&seen)["address"]),
        (&"online".into(), &"198.18.0.80".into())
    );
}

fn many_names_and_a_dead_name_server_take_few_descriptors() {
    let lab = lab();
    let dns = lab.dns();
    dns.mode(&DnsMode::Timeout);
    let names: Vec<String> = (0..300).map(|n| format!("n{n}.test")).collect();
    let config = format!(r#"{{"ping": {{"enable": true, "monitorip": "{}"}}}}"#, names.join(", "));
    let imon = lab.imon("router").instance("t", &config).nosyslog().spawn();
    // 64 at a time, and each is given up after 2 s.
    lab.wait_until("three rounds of questions", SOON, || dns.queries().len() > 3 * 64);
    let descriptors = imon.usage().descriptors;
    assert!(descriptors < 90, "{descriptors} descriptors");
}
