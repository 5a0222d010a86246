//! What others have set up: named where it matters, and never fought.

use std::time::Duration;

use imon_lab::{Fault, Lab, Wan};
use libtest_mimic::Trial;
use serde_json::json;

use super::{count, rules, start, wait_active, wait_up, way};
use crate::support::{said, wait_status};
use crate::{SOON, lab, trials};

pub(super) fn tests() -> Vec<Trial> {
    trials![
        v1_a_tunnel_that_comes_before_or_after_keeps_its_traffic,
        v1_what_is_said_of_a_stray_default_is_true_and_ends_with_it,
        v2_who_deletes_looks_into_main_until_none_is_left_is_soon_done,
        v5_marked_traffic_that_stays_on_a_dead_network_is_named,
        v7_a_host_route_over_a_dead_network_is_named,
        v8_a_port_of_a_bridge_is_named,
        v9_a_gateway_in_a_next_hop_object_is_learnt,
        v9_a_way_by_a_next_hop_object_or_by_several_is_looked_at_whole,
        v10_defaults_that_replace_each_other_are_named_and_the_first_gateway_is_kept,
        v12_an_address_that_is_replaced_brings_no_false_word,
        d10_a_gateway_that_changes_all_the_time_is_told_of_in_sums,
    ]
}

/// A tunnel's rules as wg-quick(8) makes them; its device leads nowhere, which is enough to see who
/// takes it.
const TUNNEL: &str = "ip tuntap add wg0 mode tun && ip addr add 10.9.9.2/24 dev wg0 && ip link set wg0 up && \
    ip route add default dev wg0 table 51820 && ip rule add not fwmark 51820 table 51820 && \
    ip rule add table main suppress_prefixlength 0";

/// Where packets of a LAN host go.
fn lan_way(lab: &Lab) -> String {
    let found = lab.sh("router", "ip route get 1.1.1.1 from 192.168.92.50 iif lan0 || true");
    let mut words = found.split_whitespace().skip_while(|word| *word != "dev");
    words.nth(1).unwrap_or_default().to_owned()
}

fn v1_a_tunnel_that_comes_before_or_after_keeps_its_traffic() {
    for before in [true, false] {
        let lab = lab();
        if before {
            lab.sh("router", TUNNEL);
        }
        let imon = start(
            &lab,
            json!({ "pingwait": 3, "primary-ping": "1.1.1.1", "standby-ping": "8.8.8.8" }),
        );
        wait_up(&imon);
        if !before {
            assert_eq!(lan_way(&lab), "wan1");
            lab.sh("router", TUNNEL);
        }
        lab.wait_until("it is said", SOON, || {
            count(&imon, "leads all traffic elsewhere and goes first") == 1
        });
        assert_eq!(
            (lan_way(&lab).as_str(), way(&lab, "1.1.1.1").as_str()),
            ("wg0", "wg0"),
            "before: {before}"
        );
        lab.fault(Fault::Carrier(Wan::One));
        wait_active(&imon, 0, Wan::Two);
        assert_eq!(lan_way(&lab), "wg0", "before: {before}");
        assert_eq!(count(&imon, "Traffic does not go"), 0);
        let status = wait_status(&lab, &imon, "t", "what it yields to", |s| {
            s["monitors"]["failover"]["beside"][0]["kind"] == "yielded"
        });
        assert!(
            status["monitors"]["failover"]["beside"][0]["what"]
                .as_str()
                .unwrap()
                .contains("lookup 51820")
        );
        lab.sh("router", "ip rule del not fwmark 51820 table 51820");
        lab.wait_until("the choice leads", SOON, || lan_way(&lab) == "wan2");
    }
}

fn v1_what_is_said_of_a_stray_default_is_true_and_ends_with_it() {
    let lab = lab();
    let imon = start(&lab, json!({}));
    wait_up(&imon);
    let noted = || {
        let found = crate::support::status(&lab, "t")["monitors"]["failover"]["beside"].clone();
        found.as_array().map_or(0, Vec::len)
    };
    let route = "default via 192.168.92.254 dev lan0 metric 5 proto dhcp";
    lab.sh("router", &format!("ip route add {route}"));
    imon.wait_line(
        |line| {
            line.ends_with(&format!(
                "'ip route {route}' would lead all traffic: imon's choice goes first"
            ))
        },
        SOON,
    );
    lab.wait_until("the status has it", SOON, || noted() == 1);
    lab.sh("router", &format!("ip route del {route}"));
    imon.wait_line(
        |line| line.ends_with(&format!("'ip route {route}' does not count any more")),
        SOON,
    );
    // The numbers alone would bring it half a minute later.
    lab.wait_until("the status has it no more", SOON, || noted() == 0);
}

fn v2_who_deletes_looks_into_main_until_none_is_left_is_soon_done() {
    let lab = lab();
    lab.sh("router", TUNNEL);
    let imon = start(&lab, json!({}));
    wait_up(&imon);
    let before = rules(&lab);
    let down = "n=0; ip rule del not fwmark 51820 table 51820; \
        while ip rule show | grep -q 'from all lookup main suppress_prefixlength 0'; do \
        ip rule del table main suppress_prefixlength 0; n=$((n+1)); [ $n -lt 100 ] || break; done; echo $n";
    assert_eq!(lab.sh("router", down).trim(), "1");
    assert_eq!(rules(&lab), before, "what imon needs is there");
    assert_eq!(lan_way(&lab), "wan1");
    // Somebody who takes our rules away all the time is answered once a second.
    let fight = "end=$(($(date +%s) + 3)); n=0; while [ $(date +%s) -lt $end ]; do \
        ip rule del not from all table main 2>/dev/null; \
        ip rule show | grep -q 'proto 171' && ip rule flush proto 171 2>/dev/null && n=$((n+1)); done; echo $n";
    let times: usize = lab.sh("router", fight).trim().parse().unwrap();
    assert!(times <= 8, "restored {times} times in 3 s");
    lab.wait_until("all are there again", SOON, || rules(&lab).len() == before.len());
    assert_eq!(count(&imon, "set again"), 1);
}

fn v5_marked_traffic_that_stays_on_a_dead_network_is_named() {
    let lab = lab();
    lab.sh(
        "router",
        "ip route replace default via 192.168.42.1 metric 100 && ip route del default via 192.168.42.1 metric 0; \
        ip route add default via 192.168.62.1 metric 200; ip rule add pref 5210 fwmark 0x80000/0xff0000 lookup main",
    );
    let imon =
        start(&lab, json!({ "pingwait": 3, "primary-ping": "1.1.1.1", "standby-ping": "8.8.8.8" }));
    wait_up(&imon);
    assert_eq!(count(&imon, "keeps its traffic"), 0);
    lab.fault(Fault::UpstreamDead(Wan::One));
    imon.wait_line(
        |line| {
            line.contains("fwmark") | line.contains("more conditions")
                && line.contains(
                    "keeps its traffic on Primary Network net42 (wan1), which does not work: set metric below",
                )
        },
        SOON,
    );
}

fn v7_a_host_route_over_a_dead_network_is_named() {
    let lab = lab();
    lab.sh("router", "ip route add 8.8.4.4 via 192.168.42.1");
    let imon =
        start(&lab, json!({ "pingwait": 3, "primary-ping": "1.1.1.1", "standby-ping": "8.8.8.8" }));
    wait_up(&imon);
    lab.fault(Fault::UpstreamDead(Wan::One));
    imon.wait_line(
        |line| {
            line.contains("'ip route 8.8.4.4/32 via 192.168.42.1 dev wan1")
                && line.contains("keeps its traffic")
        },
        SOON,
    );
    // One that comes later, by a next-hop object that the kernel tells the number of; and it goes
    // again.
    let later = "'ip route 9.9.9.9/32 via 192.168.42.1 dev wan1";
    lab.sh(
        "router",
        "sysctl -qw net.ipv4.nexthop_compat_mode=0; ip nexthop add id 7 via 192.168.42.1 dev wan1; sleep 1; \
        ip route add 9.9.9.9 nhid 7",
    );
    imon.wait_line(|line| line.contains(later) && line.contains("keeps its traffic"), 2 * SOON);
    lab.sh("router", "sleep 1; ip route del 9.9.9.9");
    imon.wait_line(
        |line| line.contains(later) && line.contains("does not count any more"),
        2 * SOON,
    );
}

fn v8_a_port_of_a_bridge_is_named() {
    let lab = lab();
    lab.sh(
        "router",
        "ip link add br0 type bridge && ip addr flush dev wan1 && ip link set wan1 master br0 && \
        ip addr add 192.168.42.2/24 dev br0 && ip link set br0 up",
    );
    let imon = start(&lab, json!({}));
    imon.wait_line(
        |line| line.contains("wan1 is a port of br0, which has the address: use br0 in its place"),
        SOON,
    );
}

fn v9_a_gateway_in_a_next_hop_object_is_learnt() {
    let lab = Lab::builder().imon(env!("CARGO_BIN_EXE_imon")).default_route(None).up();
    lab.sh("router", "sysctl -qw net.ipv4.nexthop_compat_mode=0; ip nexthop add id 7 via 192.168.42.1 dev wan1; \
        ip nexthop add id 8 via 192.168.62.1 dev wan2; ip route add default nhid 7 metric 10; ip route add default nhid 8 metric 20");
    let imon = start(&lab, json!({ "primary-gw": "auto", "standby-gw": "auto" }));
    wait_up(&imon);
}

fn v9_a_way_by_a_next_hop_object_or_by_several_is_looked_at_whole() {
    let lab = lab();
    let imon = start(&lab, json!({ "primary-ping": "1.1.1.1", "standby-ping": "8.8.8.8" }));
    wait_up(&imon);
    // Number 3 is one of those that imon cannot go before.
    lab.sh(
        "router",
        "sysctl -qw net.ipv4.nexthop_compat_mode=0; ip nexthop add id 7 via 192.168.42.1 dev wan1; \
        ip nexthop add id 8 via 192.168.62.1 dev wan2; ip nexthop add id 9 group 7/8; ip route add default nhid 7 table 507; \
        ip route add default nhid 8 table 508; ip route add default nhid 9 table 509; ip rule add pref 3 lookup 508",
    );
    let said = |what: &str| lab.wait_until(what, SOON, || count(&imon, what) > 0);
    said(
        "Traffic does not go where imon leads it: it leaves by wan2, by the route 'default via 192.168.62.1 dev wan2 table 508",
    );
    lab.sh("router", "ip rule add pref 3 lookup 507; ip rule del lookup 508");
    said("Traffic goes where imon leads it again");
    lab.sh("router", "ip rule add pref 3 lookup 509; ip rule del lookup 507");
    said("by the route 'default via 192.168.42.1 dev wan1 via 192.168.62.1 dev wan2 table 509");
    assert_eq!(count(&imon, "#0"), 0);
}

fn v10_defaults_that_replace_each_other_are_named_and_the_first_gateway_is_kept() {
    let auto = json!({ "primary-gw": "auto", "standby-gw": "auto" });
    let lab = Lab::builder().imon(env!("CARGO_BIN_EXE_imon")).default_route(None).up();
    let replace =
        |last| lab.sh("router", &format!("ip route replace default via 192.168.{last}.1"));
    replace(42);
    replace(62);
    let imon = start(&lab, auto.clone());
    imon.wait_line(
        |line| line.contains("Primary Network net42 (wan1): its default route was replaced"),
        SOON,
    );
    imon.wait_line(|line| line.contains("option metric"), SOON);
    // Its client renews: from now on both are known.
    replace(42);
    imon.wait_line(|line| line.ends_with("Primary Network net42 (wan1) is now online"), SOON);
    replace(62);
    replace(42);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(count(&imon, "is now offline"), 0, "{:?}", said(&imon));
}

fn v12_an_address_that_is_replaced_brings_no_false_word() {
    let lab = lab();
    lab.sh("router", "ip route add default via 192.168.62.1 metric 300");
    let imon = start(&lab, json!({ "interval": 60, "hold-down": 0 }));
    wait_up(&imon);
    for address in ["192.168.42.77", "192.168.42.78", "192.168.42.79"] {
        // A manager takes the address away, and the subnet's route comes after the new one.
        lab.sh("router", &format!("ip -4 addr flush dev wan1; ip addr add {address}/24 dev wan1 noprefixroute; ip route add 192.168.42.0/24 dev wan1 src {address}"));
        let from = format!("from {address} ipproto tcp");
        lab.wait_until("a rule for the address", SOON, || {
            rules(&lab).iter().any(|rule| rule.contains(&from))
        });
        lab.wait_until("traffic on primary", SOON, || way(&lab, "1.1.1.1") == "wan1");
    }
    // What is said is said within this.
    std::thread::sleep(Duration::from_millis(600));
    for word in ["Traffic does not go", "invalid gateway", "not as they should be", "set again"] {
        assert_eq!(count(&imon, word), 0, "{word}: {:?}", said(&imon));
    }
}

fn d10_a_gateway_that_changes_all_the_time_is_told_of_in_sums() {
    let lab = Lab::builder().imon(env!("CARGO_BIN_EXE_imon")).default_route(None).up();
    lab.sh(
        "router",
        "ip route add default via 192.168.42.1 metric 10; ip route add default via 192.168.62.1 metric 20",
    );
    let imon = start(
        &lab,
        json!({ "primary-gw": "auto", "standby-gw": "auto", "primary-ping": "1.1.1.1" }),
    );
    wait_up(&imon);
    let lines = || count(&imon, "its gateway is");
    let flap = "for last in 254 1 254 1 254 1; do ip route replace default via 192.168.42.$last metric 10; sleep 0.1; done";
    lab.wait_until("as many lines as are said one by one", SOON, || {
        lab.sh("router", flap);
        lines() >= 24
    });
    (0..3).for_each(|_| _ = lab.sh("router", flap));
    wait_status(&lab, &imon, "t", "the last gateway", |s| {
        s["monitors"]["failover"]["wans"][0]["gateway"] == "192.168.42.1"
    });
    assert_eq!(lines(), 24);
}
