//! Who answers whom: inbound connections, and two modems that cannot be told apart.

use imon_lab::roles::Ping;
use imon_lab::{Fault, Lab, Nat, Wan};
use libtest_mimic::Trial;
use serde_json::json;

use super::bare;
use crate::failover::{start, wait_active, wait_up};
use crate::{SOON, trials};

pub(super) fn tests() -> Vec<Trial> {
    trials![
        v3_tcp_to_either_networks_address_is_answered_by_it_whatever_the_reverse_path_filter,
        v4_two_modems_that_look_alike_serve_the_lan_and_the_router,
    ]
}

fn v3_tcp_to_either_networks_address_is_answered_by_it_whatever_the_reverse_path_filter() {
    for rp_filter in [0, 1, 2] {
        let lab = bare(Lab::builder().rp_filter(rp_filter));
        let _server =
            lab.spawn("router", "busybox", ["nc", "-ll", "-p", "8080", "-e", "echo", "served"]);
        let imon = start(
            &lab,
            json!({ "pingwait": 3, "primary-ping": "1.1.1.1", "standby-ping": "8.8.8.8" }),
        );
        wait_up(&imon);
        let served = |address: &str| {
            lab.sh("inet", &format!("timeout 2 busybox nc -w 2 {address} 8080 </dev/null || true"))
                .contains("served")
        };
        for chosen in Wan::BOTH {
            if chosen == Wan::Two {
                let mark = imon.mark();
                lab.fault(Fault::GatewaySilent(Wan::One));
                lab.sh("inet", "ip addr del 1.1.1.1/32 dev lo");
                wait_active(&imon, mark, Wan::Two);
            }
            for wan in Wan::BOTH {
                let what = format!(
                    "{} answers while {} is used, rp_filter {rp_filter}",
                    wan.device(),
                    chosen.device()
                );
                lab.wait_until(&what, SOON, || served(&wan.address().to_string()));
            }
        }
    }
}

/// The second modem as a copy of the first: its address, the one it gives the router, its hardware
/// address.
const ALIKE: &str = "ip addr flush dev cust && ip addr add 192.168.42.1/24 dev cust && \
    ip link set cust address 02:00:00:00:42:01 && ip route add 192.168.92.0/24 via 192.168.42.2";

fn v4_two_modems_that_look_alike_serve_the_lan_and_the_router() {
    let lab = bare(Lab::builder().public().nat(Nat::All));
    lab.sh("isp1", "ip link set cust address 02:00:00:00:42:01");
    lab.sh("isp2", ALIKE);
    lab.sh("router", "ip addr flush dev wan2 && ip addr add 192.168.42.2/24 dev wan2");
    let _http = lab.http();
    let imon = start(
        &lab,
        json!({ "standby-gw": "192.168.42.1", "primary-ping": "1.1.1.1", "standby-ping": "8.8.8.8" }),
    );
    wait_up(&imon);
    let works = |when: &str| {
        lab.wait_until(&format!("a LAN host has the internet, {when}"), SOON, || {
            lab.ping("lan", &Ping::new("9.9.9.9")).answered("9.9.9.9") > 0
        });
        lab.wait_until(&format!("the router pings, {when}"), SOON, || {
            lab.ping("router", &Ping::new("9.9.9.9")).answered("9.9.9.9") > 0
        });
        lab.wait_until(&format!("the router connects, {when}"), SOON, || {
            lab.sh("router", "timeout 2 busybox nc -w 2 198.18.0.80 80 </dev/null >/dev/null 2>&1 && echo yes || true")
                .contains("yes")
        });
    };
    works("on the first");
    let mark = imon.mark();
    lab.fault(Fault::UpstreamDead(Wan::One));
    wait_active(&imon, mark, Wan::Two);
    works("on the second");
    let mark = imon.mark();
    lab.heal(Fault::UpstreamDead(Wan::One));
    wait_active(&imon, mark, Wan::One);
    works("on the first again");
}
