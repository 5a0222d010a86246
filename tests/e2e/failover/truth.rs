//! Each WAN is judged through itself alone, whatever filters and translations are on the way.

use std::time::Duration;

use imon_lab::{Fault, Lab, Nat, Wan};
use libtest_mimic::Trial;
use serde_json::json;

use super::{start, switches, wait_active, wait_up, way};
use crate::support::wait_status;
use crate::{SOON, lab, trial, trials};

pub(super) fn tests() -> Vec<Trial> {
    let mut tests = trials![
        b6_b7_targets_beyond_the_gateways_without_a_default_route,
        of_a_thousand_probes_none_takes_the_other_wan,
        b3_an_upstream_that_rejects,
        b9_b36_a_gateway_that_flaps_costs_at_most_two_switches,
        a_dead_gateway_without_arp,
        on_the_exact_wire,
    ];
    type Case = (&'static str, fn());
    let cases: [Case; 6] = [
        ("rp0_masquerade_all", || b2_b3_b4(0, Nat::All, false)),
        ("rp1_masquerade_lan_bcp38", || b2_b3_b4(1, Nat::Lan, true)),
        ("rp2_fixed_snat", || b2_b3_b4(2, Nat::Fixed, false)),
        ("rp0_masquerade_lan_bcp38", || b2_b3_b4(0, Nat::Lan, true)),
        ("rp1_masquerade_all", || b2_b3_b4(1, Nat::All, false)),
        ("rp2_no_translation", || b2_b3_b4(2, Nat::None, false)),
    ];
    let name = |case| format!("{}::b2_b3_b4_dead_upstream::{case}", module_path!());
    tests.extend(cases.into_iter().map(|(case, test)| trial(&name(case), test)));
    tests
}

fn lab_with(rp_filter: u8, nat: Nat, bcp38: bool) -> Lab {
    let builder = Lab::builder()
        .imon(env!("CARGO_BIN_EXE_imon"))
        .rp_filter(rp_filter)
        .nat(nat)
        .default_route(None);
    if bcp38 { builder.bcp38() } else { builder }.up()
}

/// One switch when the upstream dies, none while it is dead, and back when it is healed.
fn b2_b3_b4(rp_filter: u8, nat: Nat, bcp38: bool) {
    let lab = lab_with(rp_filter, nat, bcp38);
    let imon = start(&lab, json!({ "primary-ping": "8.8.8.8", "standby-ping": "8.8.8.8" }));
    wait_up(&imon);
    lab.fault(Fault::UpstreamDead(Wan::One));
    wait_active(&imon, 0, Wan::Two);
    assert_eq!(way(&lab, "9.9.9.9"), "wan2");
    // Ten checks of a dead primary with the default on standby: B3 flapped here.
    wait_status(&lab, &imon, "t", "ten checks of the dead primary", |s| {
        s["monitors"]["failover"]["wans"][0]["targets"][0]["probes"]["checks"].as_u64() >= Some(15)
    });
    assert_eq!(switches(&imon), 2);
    let mark = imon.mark();
    lab.heal(Fault::UpstreamDead(Wan::One));
    wait_active(&imon, mark, Wan::One);
    assert_eq!((switches(&imon), way(&lab, "9.9.9.9").as_str()), (3, "wan1"));
}

/// user issue #4
fn b6_b7_targets_beyond_the_gateways_without_a_default_route() {
    let lab = lab_with(1, Nat::Lan, true);
    let imon = start(&lab, json!({ "primary-ping": "1.1.1.1", "standby-ping": "8.8.8.8" }));
    wait_up(&imon);
    lab.fault(Fault::Carrier(Wan::One));
    wait_active(&imon, 0, Wan::Two);
    assert_eq!(way(&lab, "1.1.1.1"), "wan2");
}

fn of_a_thousand_probes_none_takes_the_other_wan() {
    let lab = lab_with(2, Nat::All, false);
    // By whose cable an echo request comes, and for whom it is.
    for (isp, own, other) in [
        ("isp1", "1.1.1.1, 9.9.9.9", "8.8.8.8, 198.18.0.80"),
        ("isp2", "8.8.8.8, 198.18.0.80", "1.1.1.1, 9.9.9.9"),
    ] {
        let rule = |set: &str| format!("icmp type echo-request ip daddr {{ {set} }} counter");
        let table = format!(
            "table netdev count {{ chain c {{ type filter hook ingress device cust priority 0; {}; {}; }}; }}",
            rule(own),
            rule(other)
        );
        lab.sh(isp, &format!("nft '{table}'"));
    }
    let counted = |isp: &str| -> Vec<u64> {
        let text = lab.sh(isp, "nft list table netdev count");
        let packets = text.lines().filter_map(|line| {
            line.split_once("counter packets ")?.1.split(' ').next()?.parse().ok()
        });
        packets.collect()
    };
    let imon = start(
        &lab,
        json!({
            "interval": 0.1, "pingcount": 4, "hold-down": 0,
            "primary-ping": ["1.1.1.1", "9.9.9.9"], "standby-ping": ["8.8.8.8", "198.18.0.80"],
        }),
    );
    wait_up(&imon);
    // The default route is on either of them, and nowhere; the upstreams answer and do not.
    let stages = [None, Some(Fault::UpstreamDead(Wan::One)), Some(Fault::UpstreamDead(Wan::Two))];
    for (stage, fault) in (1..).zip(stages) {
        if let Some(fault) = fault {
            lab.fault(fault);
        }
        let enough = |isp| counted(isp)[0] >= stage * 170;
        lab.wait_until("a third of a thousand probes", Duration::from_secs(30), || {
            enough("isp1") && enough("isp2")
        });
        if let Some(fault) = fault {
            lab.heal(fault);
        }
    }
    let (one, two) = (counted("isp1"), counted("isp2"));
    assert!(one[0] + two[0] >= 1000 && one[1] == 0 && two[1] == 0, "{one:?} {two:?}");
}

fn b3_an_upstream_that_rejects() {
    let lab = lab_with(0, Nat::All, false);
    let imon =
        start(&lab, json!({ "primary-ping": "8.8.8.8", "standby-ping": "8.8.8.8", "pingwait": 5 }));
    wait_up(&imon);
    lab.fault(Fault::UpstreamRejecting(Wan::One));
    imon.wait_line(|line| line.contains("8.8.8.8: host unreachable from 192.168.42.1"), SOON);
    wait_active(&imon, 0, Wan::Two);
    // The error concerns primary's probes only, though standby has the same target.
    assert!(
        !imon
            .texts()
            .iter()
            .any(|line| line.contains("Standby Network net62 (wan2) is now offline"))
    );
}

fn b9_b36_a_gateway_that_flaps_costs_at_most_two_switches() {
    let lab = lab();
    let imon = start(&lab, json!({ "interval": 0.2, "pingwait": 0.2, "hold-down": 3 }));
    wait_up(&imon);
    for _ in 0..4 {
        let mark = imon.mark();
        lab.fault(Fault::GatewaySilent(Wan::One));
        imon.wait_line_from(mark, |line| line.ends_with("(wan1) is now offline"), SOON);
        lab.heal(Fault::GatewaySilent(Wan::One));
        imon.wait_line_from(mark, |line| line.ends_with("(wan1) is now online"), SOON);
    }
    assert_eq!(switches(&imon), 2, "the first choice, and away");
    // Three drops beyond the first have made it 24 s.
    wait_status(&lab, &imon, "t", "a hold-down of 24 s", |s| {
        let left = s["monitors"]["failover"]["wans"][0]["hold_down_left_seconds"].as_f64();
        left.is_some_and(|left| left > 12.0 && left <= 24.0)
    });
}

fn a_dead_gateway_without_arp() {
    let lab = lab();
    let imon = start(&lab, json!({}));
    wait_up(&imon);
    lab.fault(Fault::GatewayDead(Wan::One));
    wait_active(&imon, 0, Wan::Two);
    lab.heal(Fault::GatewayDead(Wan::One));
    let mark = imon.mark();
    wait_active(&imon, mark, Wan::One);
}

fn on_the_exact_wire() {
    let lab = Lab::builder()
        .imon(env!("CARGO_BIN_EXE_imon"))
        .wire(Wan::One)
        .wire(Wan::Two)
        .rp_filter(1)
        .up();
    let (one, two) = (lab.wire(Wan::One), lab.wire(Wan::Two));
    let late = |ms| imon_lab::roles::WireSettings {
        delay: Duration::from_millis(ms),
        ..Default::default()
    };
    one.set(&late(40));
    two.set(&late(10));
    let imon = start(&lab, json!({ "primary-ping": "1.1.1.1", "standby-ping": "8.8.8.8" }));
    wait_up(&imon);
    let status = wait_status(&lab, &imon, "t", "round-trip times", |s| {
        let wans = &s["monitors"]["failover"]["wans"];
        wans[0]["rtt_ms"].as_f64() >= Some(80.0) && wans[1]["rtt_ms"].as_f64() >= Some(20.0)
    });
    let rtt = |wan: usize| status["monitors"]["failover"]["wans"][wan]["rtt_ms"].as_f64().unwrap();
    assert!(rtt(0) < 140.0 && rtt(1) < 75.0, "{} {}", rtt(0), rtt(1));
    one.set(&imon_lab::roles::WireSettings { loss: 100.0, ..Default::default() });
    wait_active(&imon, 0, Wan::Two);
    let mark = imon.mark();
    one.set(&late(40));
    wait_active(&imon, mark, Wan::One);
}
