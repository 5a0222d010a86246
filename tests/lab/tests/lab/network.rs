//! Topology and faults.

use std::time::Duration;

use imon_lab::roles::{Ping, Pinged};
use imon_lab::{Fault, INTERNET, INTERNET_V6, Lab, Wan};
use libtest_mimic::Trial;

pub(crate) fn tests() -> Vec<Trial> {
    crate::trials![
        the_internet_answers_the_lan_over_both_protocols,
        the_ends_of_every_link_have_different_indexes,
        a_probe_bound_to_the_second_link_uses_it,
        each_fault_breaks_what_it_says_and_heals,
        a_router_can_be_renumbered_and_lose_its_default_route,
        a_strict_reverse_path_filter_can_be_asked_for,
        two_labs_do_not_see_each_other,
    ]
}

/// Two probes 10 ms apart; those that will not be answered cost 200 ms.
fn quick(to: &str) -> Ping {
    Ping::new(to).count(2, Duration::from_millis(10)).at_most(Duration::from_millis(200))
}

fn answered(lab: &Lab, to: &str) -> bool {
    ping(lab, to).answered(to) > 0
}

fn ping(lab: &Lab, to: &str) -> Pinged {
    lab.ping("router", &quick(to))
}

fn the_internet_answers_the_lan_over_both_protocols() {
    let lab = Lab::new();
    for to in INTERNET.into_iter().chain(INTERNET_V6).chain(["192.168.62.1", "2001:db8:62::1"]) {
        assert_eq!(lab.ping("lan", &Ping::new(to)).answered(to), 1, "{to}");
    }
}

fn the_ends_of_every_link_have_different_indexes() {
    let lab = Lab::builder().wire(Wan::One).up();
    for ns in ["lan", "router", "isp1", "isp2", "inet", "wire"] {
        let listed =
            lab.sh(ns, "cd /sys/class/net; for d in [!l]* lan0; do [ -e $d ] && cat $d/ifindex $d/iflink; done; true");
        let numbers: Vec<&str> = listed.lines().collect();
        assert!(numbers.len() >= 2, "{ns}: {listed}");
        for pair in numbers.chunks(2) {
            assert_ne!(pair[0], pair[1], "{ns}");
        }
    }
}

fn a_probe_bound_to_the_second_link_uses_it() {
    let lab = Lab::new();
    lab.sh("router", "ip route add default via 192.168.62.1 dev wan2 metric 100");
    let responder = lab.responder("inet");
    assert_eq!(lab.ping("router", &Ping::new("8.8.8.8").device("wan2")).answered("8.8.8.8"), 1);
    assert_eq!(responder.requests()[0].src, Wan::Two.address());
    assert_eq!(lab.ping("router", &Ping::new("8.8.8.8")).answered("8.8.8.8"), 1);
    assert_eq!(responder.requests()[1].src, Wan::One.address());
}

fn each_fault_breaks_what_it_says_and_heals() {
    let lab = Lab::new();
    for wan in Wan::BOTH {
        lab.delete_default_routes();
        lab.add_default_route(wan, 0);
        let gateway = wan.gateway().to_string();
        let carrier =
            format!("cat /sys/class/net/{}/carrier 2>/dev/null || echo down", wan.device());
        let state = || (answered(&lab, &gateway), answered(&lab, "1.1.1.1"));
        let healed = || {
            // The router asks for its neighbour's address once a second.
            lab.wait_until("all is well again", Duration::from_secs(30), || {
                state() == (true, true)
            });
            let v6 = wan.gateway_v6().to_string();
            assert_eq!(lab.ping("router", &Ping::new(&v6)).answered(&v6), 1, "{wan:?}");
            assert!(
                wan == Wan::Two || lab.ping("lan", &Ping::new("1.1.1.1")).answered("1.1.1.1") == 1
            );
        };
        assert_eq!(state(), (true, true), "{wan:?}");

        lab.fault(Fault::GatewaySilent(wan));
        assert_eq!(state(), (false, true), "{wan:?}");
        lab.heal(Fault::GatewaySilent(wan));

        lab.fault(Fault::UpstreamDead(wan));
        assert_eq!(state(), (true, false), "{wan:?}");
        assert!(ping(&lab, "1.1.1.1").heard.is_empty());
        lab.heal(Fault::UpstreamDead(wan));

        lab.fault(Fault::UpstreamRejecting(wan));
        assert_eq!(state(), (true, false), "{wan:?}");
        // The kernel's own limit for ICMP errors is not for one namespace alone: other labs use it
        // up for a moment.
        lab.wait_until("every probe is rejected", Duration::from_secs(30), || {
            let heard = ping(&lab, "1.1.1.1").heard;
            let errors: Vec<_> = heard.iter().map(|h| (h.from.to_string(), h.kind)).collect();
            errors == vec![(gateway.clone(), 3); 2]
        });
        lab.heal(Fault::UpstreamRejecting(wan));

        lab.fault(Fault::Carrier(wan));
        assert_eq!(lab.sh("router", &carrier), "0");
        assert_eq!(state(), (false, false), "{wan:?}");
        lab.heal(Fault::Carrier(wan));
        assert_eq!(lab.sh("router", &carrier), "1");
        healed();

        lab.fault(Fault::LinkDown(wan));
        assert_eq!(lab.sh("router", &carrier), "down");
        assert_eq!(lab.sh("router", "ip -4 route show default"), "");
        lab.heal(Fault::LinkDown(wan));
        lab.add_default_route(wan, 0);
        healed();
    }
}

fn a_router_can_be_renumbered_and_lose_its_default_route() {
    let lab = Lab::builder().default_route(None).up();
    assert!(!answered(&lab, "1.1.1.1"));
    lab.add_default_route(Wan::One, 0);
    lab.add_default_route(Wan::Two, 200);
    let responder = lab.responder("inet");
    lab.renumber(Wan::One, 99);
    assert!(answered(&lab, "1.1.1.1"), "the second default is left");
    assert_eq!(responder.requests()[0].src, Wan::Two.address());
    lab.add_default_route(Wan::One, 0);
    responder.forget();
    assert!(answered(&lab, "1.1.1.1"));
    assert_eq!(responder.requests()[0].src.to_string(), "192.168.42.99");
    lab.delete_default_routes();
    assert_eq!(lab.sh("router", "ip -4 route show default"), "");
}

fn a_strict_reverse_path_filter_can_be_asked_for() {
    let lab = Lab::builder().rp_filter(1).up();
    lab.sh("router", "ip route add default via 192.168.62.1 dev wan2 metric 100");
    let ping = quick("8.8.8.8").device("wan2");
    assert_eq!(lab.ping("router", &ping).answered("8.8.8.8"), 0, "the way back is not the way out");
}

fn two_labs_do_not_see_each_other() {
    let (one, two) = (Lab::new(), Lab::new());
    one.fault(Fault::UpstreamDead(Wan::One));
    one.write("/etc/default/imon-x", "1");
    two.write("/etc/default/imon-x", "2");
    assert!(!answered(&one, "1.1.1.1") && answered(&two, "1.1.1.1"));
    assert_eq!(one.sh("router", "cat /etc/default/imon-x"), "1");
    assert_eq!(two.read("/etc/default/imon-x"), "2");
}
