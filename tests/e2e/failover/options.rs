//! What V2.99 did not have: several targets, other ways to ask them, quality, and a standby where
//! every byte costs.

use std::time::Duration;

use imon_lab::roles::{Behaviour, DnsMode, WireSettings};
use imon_lab::{Fault, Lab, Signal, Wan};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::{count, start, switches, wait_active, wait_up, way};
use crate::support::{wait_lines, wait_status};
use crate::{SOON, lab, trials};

pub(super) fn tests() -> Vec<Trial> {
    trials![
        a_silent_target_changes_nothing_while_another_answers,
        fewer_than_min_up_are_down,
        a_dns_target_is_asked_through_its_wan,
        a_tcp_target_is_connected_to_through_its_wan,
        a_target_by_name_is_looked_up_once_there_is_a_way,
        a_lossy_wan_is_degraded_and_a_better_one_is_used,
        a_slow_wan_is_degraded_and_good_again,
        an_idle_standby_is_left_alone_and_verified_when_primary_misses_a_probe,
        the_status_tells_everything,
        all_monitors_run_together,
    ]
}

/// What the status says about a WAN.
fn wan(status: &Value, at: usize) -> &Value {
    &status["monitors"]["failover"]["wans"][at]
}

fn a_silent_target_changes_nothing_while_another_answers() {
    let lab = lab();
    let internet = lab.responder("inet");
    internet.set("9.9.9.9", &Behaviour::silent());
    let imon = start(&lab, json!({ "primary-ping": ["1.1.1.1", "9.9.9.9"] }));
    wait_up(&imon);
    lab.fault(Fault::GatewaySilent(Wan::One));
    let status = wait_status(&lab, &imon, "t", "the silent one is judged", |s| {
        wan(s, 0)["targets"][1]["probes"]["checks"].as_u64() >= Some(4)
    });
    assert_eq!(wan(&status, 0)["state"], "up");
    assert_eq!(
        (&wan(&status, 0)["targets"][1]["state"], &wan(&status, 0)["targets"][1]["reason"]),
        (&json!("offline"), &json!("no reply"))
    );
    // After a failover it is returned to, though one of its targets never answers.
    lab.fault(Fault::UpstreamDead(Wan::One));
    wait_active(&imon, 0, Wan::Two);
    let mark = imon.mark();
    lab.heal(Fault::UpstreamDead(Wan::One));
    wait_active(&imon, mark, Wan::One);
}

fn fewer_than_min_up_are_down() {
    let lab = lab();
    let internet = lab.responder("inet");
    let imon =
        start(&lab, json!({ "primary-ping": ["1.1.1.1", "8.8.8.8", "9.9.9.9"], "min-up": 2 }));
    wait_up(&imon);
    internet.set("9.9.9.9", &Behaviour::silent());
    wait_status(&lab, &imon, "t", "one is silent", |s| {
        wan(s, 0)["targets"][2]["state"] == "offline"
    });
    assert_eq!(switches(&imon), 1);
    internet.set("8.8.8.8", &Behaviour::silent());
    wait_active(&imon, 0, Wan::Two);
}

fn a_dns_target_is_asked_through_its_wan() {
    let lab = lab();
    let dns = lab.dns();
    let imon = start(&lab, json!({ "primary-ping": "dns:1.1.1.1", "standby-ping": "8.8.8.8" }));
    wait_up(&imon);
    dns.wait_query(0, |q| q.name == "example.com", SOON);
    dns.mode(&DnsMode::ServFail);
    imon.wait_line(
        |line| line.contains("dns:1.1.1.1: the name server says: server failure (SERVFAIL)"),
        SOON,
    );
    wait_active(&imon, 0, Wan::Two);
    dns.mode(&DnsMode::Normal);
    let mark = imon.mark();
    wait_active(&imon, mark, Wan::One);
    lab.fault(Fault::UpstreamDead(Wan::One));
    wait_active(&imon, imon.mark() - 1, Wan::Two);
}

fn a_tcp_target_is_connected_to_through_its_wan() {
    let lab = lab();
    let http = lab.http();
    let imon = start(
        &lab,
        json!({ "primary-ping": "tcp:198.18.0.80:80", "standby-ping": "tcp:198.18.0.80:81" }),
    );
    wait_active(&imon, 0, Wan::One);
    imon.wait_line(|line| line.contains("tcp:198.18.0.80:81: Connection refused"), SOON);
    imon.wait_line(
        |line| line.contains("Initial State for Standby") && line.ends_with(": offline"),
        SOON,
    );
    drop(http);
    imon.wait_line(|line| line.ends_with("Both Primary and Standby Networks are offline"), SOON);
}

fn a_target_by_name_is_looked_up_once_there_is_a_way() {
    let lab = Lab::builder().imon(env!("CARGO_BIN_EXE_imon")).default_route(None).up();
    let dns = lab.dns();
    dns.set("primary.test", &[imon_lab::roles::Record::Address([1, 1, 1, 1].into())]);
    let imon = start(&lab, json!({ "primary-ping": "primary.test", "standby-ping": "8.8.8.8" }));
    wait_up(&imon);
    wait_status(&lab, &imon, "t", "the name has its address", |s| {
        wan(s, 0)["targets"][0]["address"] == "1.1.1.1"
    });
    let internet = lab.responder("inet");
    internet.set("1.1.1.1", &Behaviour::silent());
    wait_active(&imon, 0, Wan::Two);
}

fn wired() -> Lab {
    Lab::builder().imon(env!("CARGO_BIN_EXE_imon")).wire(Wan::One).up()
}

fn a_lossy_wan_is_degraded_and_a_better_one_is_used() {
    let lab = wired();
    let wire = lab.wire(Wan::One);
    wire.seed(1);
    let imon = start(
        &lab,
        json!({ "interval": 0.1, "pingwait": 0.2, "pingcount": 9, "max-loss": 20, "prefer-primary": false }),
    );
    wait_up(&imon);
    wire.set(&WireSettings { loss: 30.0, ..Default::default() });
    imon.wait_line(|line| line.contains("Primary Network net42 (wan1) is degraded: "), SOON);
    wait_active(&imon, 0, Wan::Two);
    assert_eq!(count(&imon, "is now offline"), 0);
    wire.set(&WireSettings::default());
    imon.wait_line(
        |line| line.ends_with("Primary Network net42 (wan1) is no longer degraded"),
        SOON,
    );
    let status = wait_status(&lab, &imon, "t", "cause", |s| {
        s["monitors"]["failover"]["last_switch"]["cause"] == "degraded"
    });
    assert_eq!(status["monitors"]["failover"]["active"], "wan2");
}

fn a_slow_wan_is_degraded_and_good_again() {
    let lab = wired();
    let wire = lab.wire(Wan::One);
    let imon = start(&lab, json!({ "interval": 0.1, "max-rtt": 60 }));
    wait_up(&imon);
    wire.set(&WireSettings { delay: Duration::from_millis(60), ..Default::default() });
    imon.wait_line(|line| line.contains("is degraded: "), SOON);
    wait_active(&imon, 0, Wan::Two);
    wire.set(&WireSettings::default());
    imon.wait_line(|line| line.ends_with("is no longer degraded"), SOON);
    let mark = imon.mark() - 1;
    wait_active(&imon, mark, Wan::One);
}

fn an_idle_standby_is_left_alone_and_verified_when_primary_misses_a_probe() {
    let lab = lab();
    let imon = start(&lab, json!({ "idle-interval": 600, "standby-ping": "8.8.8.8" }));
    wait_up(&imon);
    let idle = |s: &Value| {
        wan(s, 1)["idle"] == true && wan(s, 0)["targets"][0]["probes"]["sent"].as_u64() >= Some(8)
    };
    let status = wait_status(&lab, &imon, "t", "primary is checked, standby is not", idle);
    let sent = |s: &Value| wan(s, 1)["targets"][0]["probes"]["sent"].as_u64().unwrap();
    // SIGUSR1, by which the status is asked for, checks now; else there is the first check and no
    // other.
    assert!(sent(&status) <= 5, "{status}");
    // It has died unnoticed: that is found out before it is relied on.
    lab.fault(Fault::UpstreamDead(Wan::Two));
    lab.fault(Fault::GatewaySilent(Wan::One));
    imon.wait_line(|line| line.ends_with("Both Primary and Standby Networks are offline"), SOON);
    assert_eq!((switches(&imon), way(&lab, "1.1.1.1").as_str()), (1, "wan1"));
    lab.heal(Fault::UpstreamDead(Wan::Two));
    wait_active(&imon, 0, Wan::Two);
}

fn the_status_tells_everything() {
    let lab = lab();
    let imon = start(&lab, json!({ "hold-down": 600, "primary-ping": "1.1.1.1" }));
    wait_up(&imon);
    lab.fault(Fault::UpstreamRejecting(Wan::One));
    wait_active(&imon, 0, Wan::Two);
    let status = wait_status(&lab, &imon, "t", "primary is down", |s| wan(s, 0)["state"] == "down");
    let failover = &status["monitors"]["failover"];
    assert_eq!(failover["active"], "wan2");
    assert_eq!(
        failover["default_route"],
        "default via 192.168.62.1 dev wan2 metric 201 proto imon"
    );
    assert_eq!(
        (&failover["switches"], &failover["last_switch"]["to"]),
        (&json!(1), &json!("wan2"))
    );
    assert_eq!(failover["last_switch"]["cause"], "failed");
    assert!(failover["outranked_by"].is_null(), "{failover}");
    let primary = wan(&status, 0);
    assert_eq!(
        (&primary["role"], &primary["name"], &primary["interface"]),
        (&json!("Primary"), &json!("net42"), &json!("wan1"))
    );
    assert_eq!(primary["reason"], "1.1.1.1: host unreachable from 192.168.42.1");
    assert_eq!(
        (&primary["address"], &primary["gateway"]),
        (&json!("192.168.42.2"), &json!("192.168.42.1"))
    );
    lab.heal(Fault::UpstreamRejecting(Wan::One));
    let status = wait_status(&lab, &imon, "t", "primary waits", |s| {
        wan(s, 0)["hold_down_left_seconds"].is_f64()
    });
    assert!(wan(&status, 0)["hold_down_left_seconds"].as_f64().unwrap() > 500.0);
    assert!(wan(&status, 1)["targets"][0]["rtt_ms"].is_f64(), "{status}");
}

fn all_monitors_run_together() {
    let lab = lab();
    let mut all: Value = serde_json::from_str(&super::config(json!({}))).unwrap();
    all["updown"] =
        json!({ "enable": true, "interval": 0.5, "pingwait": 0.5, "monitorip": "1.1.1.1" });
    all["ping"] = json!({ "enable": true, "interval": 0.5, "monitorip": "8.8.8.8" });
    let imon = lab.imon("router").instance("t", &all.to_string()).nosyslog().spawn();
    imon.wait_line(
        |line| line.contains("[t-failover] Network Failover Primary Route net42 (wan1) is active"),
        SOON,
    );
    imon.wait_line(|line| line.contains("[t-updown] Monitored IP 1.1.1.1 online"), SOON);
    wait_lines(&lab, &imon, "[t-ping] Ping Result: IP:8.8.8.8 State:True", 2);
    lab.fault(Fault::Carrier(Wan::One));
    wait_active(&imon, 0, Wan::Two);
    let mark = imon.mark();
    imon.wait_line_from(mark, |line| line.contains("Ping Result: IP:8.8.8.8 State:True"), SOON);
    imon.signal(Signal::SIGTERM);
    assert!(imon.wait(SOON).success());
}
