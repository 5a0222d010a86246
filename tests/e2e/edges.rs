//! The loop around the monitors: that none of them keeps it from the others, whatever else goes on.

use std::time::{Duration, Instant};

use imon_lab::{Fault, Lab, Proc, Signal, Wan};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::said;
use crate::{SOON, lab, trials};

pub(crate) fn tests() -> Vec<Trial> {
    trials![
        d1_two_hundred_pings_a_second_keep_no_news_from_failover,
        d1_a_thousand_targets_leave_dns_probes_scripts_and_signals_their_turn,
        d1_an_address_change_with_an_interface_source_is_no_spin,
    ]
}

/// The failover monitor as in the field: a target beyond each gateway.
fn base(more: &[(&str, Value)]) -> Value {
    let mut config = json!({ "failover": {
        "enable": true, "interval": 1, "prefer-primary": true, "hold-down": 3,
        "primary-if": "wan1", "primary-gw": "192.168.42.1", "primary-ping": "1.1.1.1",
        "standby-if": "wan2", "standby-gw": "192.168.62.1", "standby-ping": "8.8.8.8",
    }});
    for (key, value) in more {
        config[*key] = value.clone();
    }
    config
}

fn start(lab: &Lab, config: &Value) -> Proc {
    lab.imon("router").instance("t", &config.to_string()).nosyslog().spawn()
}

fn wait_up(imon: &Proc) {
    for role in ["Primary", "Standby"] {
        let state = format!("Initial State for {role}");
        imon.wait_line(|line| line.contains(&state) && line.ends_with("online"), SOON);
    }
}

/// Processor time that imon takes in two seconds.
fn busy(imon: &Proc) -> Duration {
    let before = imon.usage().cpu;
    // A window of time is what is measured.
    std::thread::sleep(Duration::from_secs(2));
    imon.usage().cpu - before
}

/// Pulls the first cable and waits for the switch, which names its reason.
fn pulled(lab: &Lab, imon: &Proc) -> Duration {
    let mark = imon.mark();
    let since = lab.fault(Fault::Carrier(Wan::One));
    imon.wait_line_from(mark, |line| line.ends_with("is active"), SOON);
    let took = since.elapsed();
    assert!(said(imon).iter().any(|line| line.contains("no carrier")), "no reason: {:?}", said(imon));
    took
}

fn d1_two_hundred_pings_a_second_keep_no_news_from_failover() {
    for count in [9, 10] {
        let lab = lab();
        let ping = json!({ "enable": true, "interval": 0.1, "pingcount": count, "monitorip": "1.1.1.1,8.8.8.8" });
        let imon = start(&lab, &base(&[("ping", ping)]));
        wait_up(&imon);
        let cpu = busy(&imon);
        assert!(cpu < Duration::from_millis(800), "{count} probes a check: {cpu:?} of 2 s");
        let took = pulled(&lab, &imon);
        assert!(took < Duration::from_millis(700), "{count} probes a check: {took:?}");
    }
}

fn d1_a_thousand_targets_leave_dns_probes_scripts_and_signals_their_turn() {
    let lab = lab();
    lab.sh("inet", "ip route add local 198.19.0.0/22 dev lo");
    let _dns = lab.dns();
    let targets: Vec<String> = (0..1000).map(|n| format!("198.19.{}.{}", n / 250, n % 250 + 1)).collect();
    // It says something, and goes on saying it in the background.
    lab.script("/run/lab/action", "#!/bin/sh\n[ \"$3\" = failover-standby ] && echo the script has seen it\n:\n");
    let mut config = base(&[
        ("ping", json!({ "enable": true, "interval": 5, "pingcount": 2, "monitorip": targets.join(",") })),
        ("global", json!({ "action": "/run/lab/action" })),
        ("updown", json!({ "enable": true, "interval": 1, "monitorip": "does.not.exist" })),
    ]);
    config["failover"]["primary-ping"] = json!("dns:1.1.1.1");
    let imon = start(&lab, &config);
    wait_up(&imon);
    let took = pulled(&lab, &imon);
    assert!(took < Duration::from_millis(1500), "{took:?}");
    imon.wait_line(|line| line.contains("the script has seen it"), SOON);
    let since = Instant::now();
    imon.signal(Signal::SIGTERM);
    imon.wait(SOON);
    assert!(since.elapsed() < Duration::from_secs(5));
}

fn d1_an_address_change_with_an_interface_source_is_no_spin() {
    let lab = lab();
    let ddns = json!({ "enable": true, "interval": 10, "sources": ["interface"] });
    let imon = start(&lab, &json!({ "ddns": ddns }));
    imon.wait_line(|line| line.contains("Unable to obtain"), SOON);
    lab.sh("router", "ip addr add 203.0.113.77/32 dev wan1");
    let cpu = busy(&imon);
    assert!(cpu < Duration::from_millis(500), "{cpu:?} of 2 s");
    lab.sh("router", "ip addr del 203.0.113.77/32 dev wan1; ip addr add 203.0.113.78/32 dev wan1");
    let cpu = busy(&imon);
    assert!(cpu < Duration::from_millis(500), "{cpu:?} of 2 s");
}
