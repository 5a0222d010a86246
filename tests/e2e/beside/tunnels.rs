//! Tunnels: nothing leaves beside them, they follow a switch, and wg-quick is done as soon as
//! without imon.

use std::time::{Duration, Instant};

use imon_lab::roles::Ping;
use imon_lab::{Fault, Lab, Proc, Signal, Wan};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::{bare, bare_lab, probes, sets::SETS, tunnels, wg_quick};
use crate::failover::{config, count, rules, start, wait_active, wait_up};
use crate::{SOON, trials};

pub(super) fn tests() -> Vec<Trial> {
    trials![
        v1_no_packet_leaves_beside_a_tunnel_of_wg_quick,
        v1_no_packet_leaves_beside_a_tunnel_in_main,
        v1_no_packet_leaves_beside_halves_by_a_tunnel,
        v1_no_packet_leaves_beside_a_tunnel_for_the_lan,
        v1_probes_of_both_networks_pass_a_tunnel_without_a_reverse_path_filter,
        v1_probes_of_both_networks_pass_a_tunnel_with_a_strict_reverse_path_filter,
        v1_probes_of_both_networks_pass_a_tunnel_with_a_loose_reverse_path_filter,
        v2_wg_quick_is_done_as_soon_as_without_imon,
        v3_the_routers_own_tunnel_follows_a_switch_both_ways,
        v3_a_tunnel_that_began_on_the_standby_network_follows_to_the_primary,
    ]
}

/// Counts what the router forwards from the LAN, by the device it leaves by.
const COUNTERS: &str = "nft -f - <<'E'\ntable inet leak {\n counter clear {}\n counter inside {}\n \
    chain forward { type filter hook forward priority 0;\n iifname lan0 oifname { wan1, wan2 } counter name clear\n \
    iifname lan0 oifname { wg0, wg1 } counter name inside\n }\n}\nE";

/// Packets of the LAN that left in the clear, and into a tunnel.
fn counted(lab: &Lab) -> (u64, u64) {
    let read = |name| {
        let text = lab.sh("router", &format!("nft list counter inet leak {name}"));
        let mut words = text.split_whitespace().skip_while(|word| *word != "packets");
        words.nth(1).and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{text}"))
    };
    (read("clear"), read("inside"))
}

/// Waits until so many more packets went into the tunnel: what comes next begins in the middle of
/// the stream.
#[track_caller]
fn flows(lab: &Lab) {
    let (_, before) = counted(lab);
    lab.wait_until("the LAN's packets go into the tunnel", SOON, || counted(lab).1 >= before + 50);
}

/// A LAN host sends 500 packets a second while imon starts, reloads, switches both ways, is killed,
/// starts, stops.
fn nothing_leaves_beside(name: &str) {
    let lab = bare_lab();
    tunnels(&lab);
    lab.sh("router", COUNTERS);
    let set = SETS.iter().find(|set| set.name == name).expect("a set of this name");
    set.up(&lab);
    let sender = lab.sender("lan", "1.1.1.1", Some(Duration::from_millis(2)));
    flows(&lab);
    let imon = start(&lab, probes());
    wait_up(&imon);
    flows(&lab);
    imon.signal(Signal::SIGHUP);
    flows(&lab);
    for changed in
        [json!({ "metric": 150 }), json!({ "metric": 400, "standby-ping": "9.9.9.9" }), json!({})]
    {
        let mark = imon.mark();
        lab.write("/etc/default/imon-t", &config(with(changed)));
        imon.signal(Signal::SIGHUP);
        imon.wait_line_from(mark, |line| line.contains("Reloaded "), SOON);
        flows(&lab);
    }
    let mark = imon.mark();
    lab.fault(Fault::Carrier(Wan::One));
    wait_active(&imon, mark, Wan::Two);
    flows(&lab);
    let mark = imon.mark();
    lab.heal(Fault::Carrier(Wan::One));
    wait_active(&imon, mark, Wan::One);
    flows(&lab);
    imon.signal(Signal::SIGKILL);
    _ = imon.wait(SOON);
    flows(&lab);
    let imon = start(&lab, probes());
    wait_up(&imon);
    flows(&lab);
    imon.signal(Signal::SIGTERM);
    assert!(imon.wait(SOON).success());
    flows(&lab);
    let (clear, inside) = counted(&lab);
    assert_eq!(clear, 0, "{name}: {clear} packets left in the clear, {inside} by the tunnel");
    println!(
        "{name}: of {} packets {inside} left by the tunnel, none in the clear",
        sender.report().sent
    );
}

/// The probes of these tests, and more.
fn with(more: Value) -> Value {
    let mut all = probes();
    if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
        all.extend(more);
    }
    all
}

fn v1_no_packet_leaves_beside_a_tunnel_of_wg_quick() {
    nothing_leaves_beside("wg-quick, full tunnel");
}

fn v1_no_packet_leaves_beside_a_tunnel_in_main() {
    nothing_leaves_beside("a tunnel in main, of a metric above imon's");
}

fn v1_no_packet_leaves_beside_halves_by_a_tunnel() {
    nothing_leaves_beside("halves of a default by a tunnel (OpenVPN)");
}

fn v1_no_packet_leaves_beside_a_tunnel_for_the_lan() {
    nothing_leaves_beside("the whole LAN into a tunnel, by its interface");
}

/// A tunnel that takes everything comes before imon and once more after it; then both networks are
/// needed in turn.
fn probes_pass(rp_filter: u8) {
    let lab = bare(Lab::builder().rp_filter(rp_filter));
    tunnels(&lab);
    wg_quick(&lab, "up");
    let imon = start(&lab, probes());
    wait_up(&imon);
    for after in [false, true] {
        if after {
            wg_quick(&lab, "down");
            wg_quick(&lab, "up");
        }
        let mark = imon.mark();
        lab.fault(Fault::UpstreamDead(Wan::One));
        wait_active(&imon, mark, Wan::Two);
        let mark = imon.mark();
        lab.heal(Fault::UpstreamDead(Wan::One));
        wait_active(&imon, mark, Wan::One);
    }
    assert_eq!(
        count(&imon, "Standby Network net62 (wan2) is now offline"),
        0,
        "rp_filter {rp_filter}"
    );
}

fn v1_probes_of_both_networks_pass_a_tunnel_without_a_reverse_path_filter() {
    probes_pass(0);
}

fn v1_probes_of_both_networks_pass_a_tunnel_with_a_strict_reverse_path_filter() {
    probes_pass(1);
}

fn v1_probes_of_both_networks_pass_a_tunnel_with_a_loose_reverse_path_filter() {
    probes_pass(2);
}

/// How long `wg-quick down` takes, the best of five, with `wg-quick up` before each.
fn down(lab: &Lab, mut after: impl FnMut()) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        wg_quick(lab, "up");
        let began = Instant::now();
        wg_quick(lab, "down");
        best = best.min(began.elapsed());
        after();
    }
    best
}

fn v2_wg_quick_is_done_as_soon_as_without_imon() {
    let lab = bare_lab();
    tunnels(&lab);
    lab.sh("router", "ip route add default via 192.168.42.1");
    let alone = down(&lab, || ());
    let lan = "ip route get 1.1.1.1 from 192.168.92.10 iif lan0";
    for before in [false, true] {
        if before {
            wg_quick(&lab, "up");
        }
        let imon: Proc = start(&lab, probes());
        wait_up(&imon);
        if before {
            wg_quick(&lab, "down");
        }
        let needed = rules(&lab);
        assert!(needed.len() >= 7, "{needed:?}");
        let beside = down(&lab, || {
            lab.wait_until("what imon needs is there", SOON, || rules(&lab) == needed);
            lab.wait_until("the choice leads the LAN", SOON, || {
                lab.sh("router", lan).contains("dev wan1")
            });
        });
        println!(
            "wg-quick down: {alone:?} without imon, {beside:?} beside it, begun before it: {before}"
        );
        assert!(
            beside < Duration::from_millis(500).max(alone * 3),
            "{beside:?}, without imon {alone:?}"
        );
        assert_eq!(count(&imon, "set again"), 0, "nobody took anything away");
        imon.signal(Signal::SIGTERM);
        assert!(imon.wait(SOON).success());
    }
}

/// How long after imon's word of a switch the peer sees the router at the address of that network.
/// Then pings pass.
#[track_caller]
fn follows(lab: &Lab, imon: &Proc, mark: usize, wan: Wan) -> Duration {
    wait_active(imon, mark, wan);
    let began = Instant::now();
    let at = format!("{}:", wan.address());
    let endpoints = || lab.sh("inet", "wg show wgp endpoints");
    lab.wait_until(&format!("the tunnel follows to {}", wan.device()), SOON, || {
        endpoints().contains(&at)
    });
    let took = began.elapsed();
    let pinged = lab.ping("router", &Ping::new("10.9.0.1"));
    assert_eq!(pinged.answered("10.9.0.1"), 1, "the tunnel passes packets over {}", wan.device());
    assert!(endpoints().contains(&at), "it stays there");
    took
}

fn v3_the_routers_own_tunnel_follows_a_switch_both_ways() {
    let lab = bare_lab();
    let imon = start(&lab, probes());
    wait_up(&imon);
    tunnels(&lab);
    follows(&lab, &imon, 0, Wan::One);
    let mark = imon.mark();
    lab.fault(Fault::UpstreamDead(Wan::One));
    let away = follows(&lab, &imon, mark, Wan::Two);
    let mark = imon.mark();
    lab.heal(Fault::UpstreamDead(Wan::One));
    let back = follows(&lab, &imon, mark, Wan::One);
    println!("the router's own tunnel: {away:?} after the switch, {back:?} after the way back");
    assert!(away < Duration::from_secs(3) && back < Duration::from_secs(3), "{away:?}, {back:?}");
}

fn v3_a_tunnel_that_began_on_the_standby_network_follows_to_the_primary() {
    let lab = bare_lab();
    lab.fault(Fault::Carrier(Wan::One));
    let imon = start(&lab, probes());
    wait_active(&imon, 0, Wan::Two);
    tunnels(&lab);
    follows(&lab, &imon, 0, Wan::Two);
    let mark = imon.mark();
    lab.heal(Fault::Carrier(Wan::One));
    let there = follows(&lab, &imon, mark, Wan::One);
    println!("a tunnel begun on the standby network: {there:?} after the switch");
    assert!(there < Duration::from_secs(3), "{there:?}");
}
