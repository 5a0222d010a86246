//! Routes and rules: ours are kept, others' are never touched, and traffic follows the choice
//! without a gap.

use std::time::Duration;

use imon_lab::{Fault, Lab, Nat, Signal, Wan};
use libtest_mimic::Trial;
use serde_json::json;

use super::{count, defaults, ours, rules, start, switches, wait_active, wait_up, way};
use crate::support::wait_status;
use crate::{SOON, lab, trials};

pub(super) fn tests() -> Vec<Trial> {
    trials![
        b11_a_default_route_that_somebody_deletes_is_set_again,
        rules_and_tables_that_somebody_deletes_are_set_again,
        b12_a_stray_default_through_the_lan_does_not_win,
        b13_a_dhcp_default_through_the_other_wan_does_not_win,
        b15_a_dhcp_default_with_a_source_stays_beside_ours,
        what_v2_99_left_is_taken_over,
        a_foreign_route_at_our_metric_is_left_alone,
        a_vpns_default_is_respected_and_said,
        another_rule_that_wins_is_said,
        somebody_who_always_deletes_our_route_does_not_keep_us_busy,
        a_thousand_switches_lose_no_packet_for_want_of_a_route,
        a_lan_client_loses_only_what_was_sent_over_the_dead_cable,
        connections_over_the_wan_that_is_left_are_ended_and_no_others,
        an_ipv6_default_over_the_dead_wan_is_warned_about,
    ]
}

fn b11_a_default_route_that_somebody_deletes_is_set_again() {
    let lab = lab();
    let imon = start(&lab, json!({}));
    wait_up(&imon);
    lab.sh("router", "ip route del default proto 171");
    lab.wait_until("it is there again", Duration::from_secs(1), || ours(&lab).len() == 1);
    imon.wait_line(
        |line| line.contains("was removed or changed by somebody, it is set again"),
        SOON,
    );
    assert_eq!((count(&imon, "set again"), switches(&imon)), (1, 1));
}

fn rules_and_tables_that_somebody_deletes_are_set_again() {
    let lab = lab();
    let imon = start(&lab, json!({}));
    wait_up(&imon);
    let before = rules(&lab);
    // Each once: imon may have set the first again before the last is deleted.
    let all: String = before.iter().map(|_| "rule del proto 171\\n").collect();
    lab.sh("router", &format!("printf '{all}' | ip -4 -force -batch -"));
    lab.wait_until("the rules are there again", Duration::from_secs(1), || rules(&lab) == before);
    let tables = |lab: &Lab| lab.sh("router", "ip route show table all proto 171 | sort");
    let routes = tables(&lab);
    lab.sh("router", "ip route show table all proto 171 | sed 's/^/ip route del /' | sh");
    lab.wait_until("the routes are there again", Duration::from_secs(1), || tables(&lab) == routes);
    assert_eq!(switches(&imon), 1);
}

fn b12_a_stray_default_through_the_lan_does_not_win() {
    let lab = Lab::builder().imon(env!("CARGO_BIN_EXE_imon")).default_route(None).up();
    lab.sh("router", "ip route add default via 192.168.92.254 dev lan0 onlink");
    let imon = start(&lab, json!({ "primary-ping": "1.1.1.1", "standby-ping": "8.8.8.8" }));
    wait_up(&imon);
    assert_eq!(way(&lab, "9.9.9.9"), "wan1");
    lab.fault(Fault::UpstreamDead(Wan::One));
    wait_active(&imon, 0, Wan::Two);
    assert_eq!(way(&lab, "9.9.9.9"), "wan2");
    assert!(
        defaults(&lab).iter().any(|route| route.starts_with("default via 192.168.92.254 dev lan0"))
    );
}

fn b13_a_dhcp_default_through_the_other_wan_does_not_win() {
    let lab = lab();
    let imon = start(&lab, json!({}));
    wait_up(&imon);
    lab.sh("router", "ip route add default via 192.168.62.1 dev wan2 proto dhcp metric 100");
    assert_eq!(way(&lab, "9.9.9.9"), "wan1");
    lab.fault(Fault::Carrier(Wan::Two));
    imon.wait_line(|line| line.ends_with("(wan2) is now offline"), SOON);
    assert_eq!(way(&lab, "9.9.9.9"), "wan1");
    lab.heal(Fault::Carrier(Wan::Two));
    imon.wait_line(|line| line.ends_with("(wan2) is now online"), SOON);
    lab.fault(Fault::GatewaySilent(Wan::One));
    wait_active(&imon, 0, Wan::Two);
    assert_eq!(way(&lab, "9.9.9.9"), "wan2");
    let dhcp = lab.sh("router", "ip route show default proto dhcp");
    assert!(dhcp.starts_with("default via 192.168.62.1 dev wan2 metric 100"), "{dhcp}");
}

fn b15_a_dhcp_default_with_a_source_stays_beside_ours() {
    let lab = Lab::builder().imon(env!("CARGO_BIN_EXE_imon")).default_route(None).up();
    let theirs = "default via 192.168.42.1 dev wan1 proto dhcp src 192.168.42.2";
    lab.sh("router", &format!("ip route add {theirs}"));
    let imon = start(&lab, json!({}));
    wait_up(&imon);
    assert_eq!(ours(&lab).len(), 1);
    lab.fault(Fault::GatewaySilent(Wan::One));
    wait_active(&imon, 0, Wan::Two);
    assert_eq!(way(&lab, "9.9.9.9"), "wan2", "past theirs, which has metric 0");
    imon.signal(Signal::SIGTERM);
    imon.wait(SOON);
    assert!(defaults(&lab).iter().any(|route| route == theirs), "{:?}", defaults(&lab));
}

fn what_v2_99_left_is_taken_over() {
    let lab = Lab::builder().imon(env!("CARGO_BIN_EXE_imon")).default_route(None).up();
    lab.sh("router", "ip route add default via 192.168.62.1 dev wan2 metric 201");
    lab.fault(Fault::GatewaySilent(Wan::One));
    let imon = start(&lab, json!({}));
    wait_active(&imon, 0, Wan::Two);
    assert_eq!(defaults(&lab), ["default via 192.168.62.1 dev wan2 proto 171 metric 201"]);
    lab.heal(Fault::GatewaySilent(Wan::One));
    wait_active(&imon, 0, Wan::One);
    assert_eq!(defaults(&lab), ["default via 192.168.42.1 dev wan1 proto 171 metric 201"]);
}

fn a_foreign_route_at_our_metric_is_left_alone() {
    let lab = Lab::builder().imon(env!("CARGO_BIN_EXE_imon")).default_route(None).up();
    let foreign = "default via 192.168.92.10 dev lan0 proto static metric 201";
    lab.sh("router", &format!("ip route add {foreign}"));
    let imon = start(&lab, json!({}));
    wait_up(&imon);
    imon.wait_line(
        |line| {
            line.contains("Metric 201 is in use by 'default via 192.168.92.10 dev lan0 metric 201 proto static'")
                && line.ends_with("imon's default route has metric 202")
        },
        SOON,
    );
    lab.fault(Fault::Carrier(Wan::One));
    wait_active(&imon, 0, Wan::Two);
    assert_eq!(way(&lab, "9.9.9.9"), "wan2");
    let now = defaults(&lab);
    assert!(now.contains(&foreign.to_owned()) && ours(&lab)[0].contains("metric 202"), "{now:?}");
}

fn a_vpns_default_is_respected_and_said() {
    let lab = lab();
    let imon = start(&lab, json!({}));
    wait_up(&imon);
    // Halves of a default, as OpenVPN makes them: more specific than any default, in main.
    lab.sh(
        "router",
        "ip route add 0.0.0.0/1 via 192.168.92.10 dev lan0 && ip route add 128.0.0.0/1 via 192.168.92.10 dev lan0",
    );
    imon.wait_line(
        |line| line.contains("Traffic does not go where imon leads it: it leaves by lan0, by the route '0.0.0.0/1 via 192.168.92.10 dev lan0"),
        SOON,
    );
    let status = wait_status(&lab, &imon, "t", "who outranks us", |s| {
        s["monitors"]["failover"]["outranked_by"].is_string()
    });
    assert!(
        status["monitors"]["failover"]["outranked_by"].as_str().unwrap().contains("in table main"),
        "{status}"
    );
    lab.sh("router", "ip route del 0.0.0.0/1 && ip route del 128.0.0.0/1");
    imon.wait_line(|line| line.ends_with("Traffic goes where imon leads it again"), SOON);
}

fn another_rule_that_wins_is_said() {
    let lab = lab();
    let imon = start(&lab, json!({}));
    wait_up(&imon);
    // Nothing can stand before the first.
    lab.sh(
        "router",
        "ip route add default via 192.168.62.1 dev wan2 table 7 && ip rule add pref 1 lookup 7",
    );
    imon.wait_line(
        |line| {
            line.contains(
                "it leaves by wan2, by the route 'default via 192.168.62.1 dev wan2 table 7",
            )
        },
        SOON,
    );
    assert_eq!(count(&imon, "Traffic does not go"), 1);
    assert!(lab.sh("router", "ip rule show").contains("1:\tfrom all lookup 7"), "it is left alone");
}

fn somebody_who_always_deletes_our_route_does_not_keep_us_busy() {
    let lab = lab();
    let imon = start(&lab, json!({}));
    wait_up(&imon);
    let before = imon.usage();
    lab.sh("router", "end=$(($(date +%s) + 3)); while [ $(date +%s) -lt $end ]; do ip route del default proto 171 2>/dev/null; done; :");
    let used = imon.usage();
    let busy = used.cpu.saturating_sub(before.cpu);
    assert!(busy < Duration::from_millis(600), "{busy:?}");
    lab.wait_until("it is there again", Duration::from_secs(3), || ours(&lab).len() == 1);
    assert_eq!(count(&imon, "set again"), 1, "said once a minute");
}

fn a_thousand_switches_lose_no_packet_for_want_of_a_route() {
    let lab = Lab::builder().imon(env!("CARGO_BIN_EXE_imon")).default_route(None).up();
    let imon = start(&lab, json!({ "interval": 0.1, "pingwait": 0.2, "hold-down": 0 }));
    wait_up(&imon);
    let sender = lab.sender("router", "1.1.1.1", None);
    let watch = lab.spawn(
        "router",
        "sh",
        ["-c", "while :; do ip -4 route show default proto 171 | wc -l; done"],
    );
    // Each time the cable comes back primary is used again at once.
    let flap =
        "while :; do ip link set cust down; sleep 0.01; ip link set cust up; sleep 0.03; done";
    let flap = lab.spawn("isp1", "sh", ["-c", flap]);
    lab.wait_until("a thousand switches", Duration::from_secs(240), || switches(&imon) > 1000);
    flap.signal(Signal::SIGKILL);
    watch.signal(Signal::SIGKILL);
    watch.wait(SOON);
    let report = sender.report();
    assert!(
        report.sent > 100_000 && report.errors.is_empty(),
        "{} sent, {:?}",
        report.sent,
        report.errors
    );
    let odd: Vec<_> = watch.texts().into_iter().filter(|line| line.trim() != "1").collect();
    assert!(watch.texts().len() > 1000 && odd.is_empty(), "default routes of ours: {odd:?}");
}

fn a_lan_client_loses_only_what_was_sent_over_the_dead_cable() {
    let lab =
        Lab::builder().imon(env!("CARGO_BIN_EXE_imon")).nat(Nat::All).default_route(None).up();
    let imon = start(&lab, json!({ "hold-down": 0 }));
    wait_up(&imon);
    let sink = lab.sink("inet");
    let _sender = lab.sender("lan", "1.1.1.1", Some(Duration::from_millis(1)));
    for _ in 0..5 {
        for (pulled, to) in [(true, Wan::Two), (false, Wan::One)] {
            let mark = imon.mark();
            let change = Fault::Carrier(Wan::One);
            if pulled {
                lab.fault(change)
            } else {
                lab.heal(change)
            };
            wait_active(&imon, mark, to);
        }
    }
    let mut heard: Vec<u64> = sink.report().heard.into_iter().map(|(number, _)| number).collect();
    // One that waits for the gateway's address comes late, and is not lost.
    heard.sort_unstable();
    let lost: u64 = heard.windows(2).map(|w| w[1].saturating_sub(w[0] + 1)).sum();
    // The machine may be very busy; without imon's haste it would be a thousand for each of the ten
    // switches.
    assert!(lost < 2_500, "{lost} of {} packets", heard.len());
}

/// V14
fn connections_over_the_wan_that_is_left_are_ended_and_no_others() {
    for flush in [true, false] {
        let lab = Lab::builder()
            .imon(env!("CARGO_BIN_EXE_imon"))
            .nat(Nat::Fixed)
            .default_route(None)
            .up();
        let imon = start(&lab, json!({ "hold-down": 600, "flush-conntrack": flush }));
        wait_up(&imon);
        // One connection over each WAN; that over the second is made so by its own rule.
        lab.sh("router", "ip rule add pref 50 to 8.8.8.8 lookup 9 && ip route add default via 192.168.62.1 table 9");
        let (sink, moved, kept) = (
            lab.sink("inet"),
            lab.sender("lan", "1.1.1.1", Some(Duration::from_millis(5))),
            lab.sender("lan", "8.8.8.8", Some(Duration::from_millis(5))),
        );
        let entries = |needle: &str| {
            let all = lab.sh("router", "cat /proc/net/nf_conntrack");
            all.lines().filter(|line| line.contains("dport=4242") && line.contains(needle)).count()
        };
        lab.wait_until("both connections", SOON, || {
            entries("dst=192.168.42.2") == 1 && entries("dst=192.168.62.2") == 1
        });
        lab.fault(Fault::GatewaySilent(Wan::One));
        wait_active(&imon, 0, Wan::Two);
        if flush {
            lab.wait_until("the one has moved", SOON, || {
                entries("dst=192.168.42.2") == 0 && entries("dst=192.168.62.2") == 2
            });
        } else {
            let before = sink.report().heard.len();
            lab.wait_until("packets go on", SOON, || {
                kept.report().sent > 0 && sink.report().heard.len() > before + 100
            });
            assert_eq!(entries("dst=192.168.42.2"), 1, "it keeps its address");
        }
        drop((moved, kept));
        assert_eq!(count(&imon, "cannot be ended"), 0);
    }
}

fn an_ipv6_default_over_the_dead_wan_is_warned_about() {
    let lab = lab();
    let imon = start(&lab, json!({}));
    wait_up(&imon);
    lab.fault(Fault::GatewaySilent(Wan::One));
    wait_active(&imon, 0, Wan::Two);
    imon.wait_line(
        |line| line.contains("IPv6 traffic still goes over Primary Network net42 (wan1)"),
        SOON,
    );
}
