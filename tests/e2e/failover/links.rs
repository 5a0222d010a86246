//! What the kernel tells is acted on at once, and not at the next check: the interval of these
//! tests is long.

use std::time::{Duration, Instant};

use imon_lab::{Fault, Lab, Signal, Wan};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::{count, ours, rules, start, switches, wait_active, wait_up, way};
use crate::support::{calls, recorder, wait_status};
use crate::{SOON, lab, trials};

/// Far less than the time to the next check, and more than a busy machine needs. The benchmark
/// shows how long it takes.
const BY_NEWS: Duration = Duration::from_secs(10);

pub(super) fn tests() -> Vec<Trial> {
    trials![
        a_lost_carrier_is_acted_on_at_once,
        a_carrier_lost_just_after_it_came_is_acted_on_before_the_kernel_tells,
        an_interface_set_down_is_acted_on_at_once,
        a_lost_address_is_acted_on_at_once,
        b9_another_address_is_followed,
        d8_a_renewal_moves_packets_and_is_neither_told_nor_counted,
        d8_a_reload_in_a_renewal_makes_no_outage_of_it,
        b45_a_cable_pulled_and_put_back,
        the_gateway_is_asked_for_again_when_the_cable_is_back,
        an_interface_that_goes_and_comes_back_under_another_number,
        a_gateway_that_dhcp_tells_is_learnt_and_followed,
        a_gateway_of_its_own_table_is_learnt,
        an_absent_gateway_is_v2_99s_error_with_a_hint,
        a_flood_of_news_loses_nothing,
        link_up_alone_is_never_online,
    ]
}

/// Checks once a minute: whatever happens sooner is not by a check.
fn slow(more: &[(&str, Value)]) -> Value {
    let mut settings = json!({ "interval": 60, "pingwait": 1, "hold-down": 0 });
    for (key, value) in more {
        settings[*key] = value.clone();
    }
    settings
}

/// How long it takes until the traffic goes another way. A shell that starts takes its time: the
/// bound is generous, the benchmark measures it.
fn until(lab: &Lab, since: Instant, wan: Wan) -> Duration {
    lab.wait_until("traffic goes the other way", BY_NEWS, || way(lab, "1.1.1.1") == wan.device());
    since.elapsed()
}

fn a_lost_carrier_is_acted_on_at_once() {
    let lab = lab();
    let imon = start(&lab, slow(&[]));
    wait_up(&imon);
    let since = lab.fault(Fault::Carrier(Wan::One));
    let took = until(&lab, since, Wan::Two);
    assert!(took < BY_NEWS, "{took:?}");
    let since = lab.heal(Fault::Carrier(Wan::One));
    let took = until(&lab, since, Wan::One);
    assert!(took < BY_NEWS, "{took:?}");
    assert_eq!(switches(&imon), 3);
}

fn a_carrier_lost_just_after_it_came_is_acted_on_before_the_kernel_tells() {
    let lab = Lab::builder().imon(env!("CARGO_BIN_EXE_imon")).late_news(Wan::One).up();
    let imon = start(&lab, slow(&[]));
    wait_up(&imon);
    // By its log alone: `ip` asks the kernel about links, which then tells everybody.
    let switch = |change: &dyn Fn() -> Instant, to| {
        let mark = imon.mark();
        let since = change();
        wait_active(&imon, mark, to);
        since.elapsed()
    };
    switch(&|| lab.fault(Fault::Carrier(Wan::One)), Wan::Two);
    // The kernel tells after 0.7 s. A machine that is busy with other tests may be late as well,
    // but not each time.
    let mut quickest = Duration::MAX;
    for _ in 0..8 {
        switch(&|| lab.heal(Fault::Carrier(Wan::One)), Wan::One);
        // Part of the scenario: the kernel has told of this, and within a second of it tells of
        // nothing else.
        std::thread::sleep(Duration::from_millis(300));
        let took = switch(&|| lab.fault(Fault::Carrier(Wan::One)), Wan::Two);
        quickest = quickest.min(took);
        if quickest < Duration::from_millis(300) {
            return;
        }
    }
    panic!("{quickest:?}");
}

fn an_interface_set_down_is_acted_on_at_once() {
    let lab = lab();
    let imon = start(&lab, slow(&[]));
    wait_up(&imon);
    let since = lab.fault(Fault::LinkDown(Wan::One));
    let took = until(&lab, since, Wan::Two);
    assert!(took < BY_NEWS, "{took:?}");
    imon.wait_line(
        |line| line.ends_with("Primary Network net42 (wan1): the interface is set down"),
        SOON,
    );
    let since = lab.heal(Fault::LinkDown(Wan::One));
    let took = until(&lab, since, Wan::One);
    assert!(took < BY_NEWS, "{took:?}");
}

fn a_lost_address_is_acted_on_at_once() {
    let lab = lab();
    let imon = start(&lab, slow(&[]));
    wait_up(&imon);
    lab.sh("router", "ip -4 addr flush dev wan1");
    let took = until(&lab, Instant::now(), Wan::Two);
    assert!(took < BY_NEWS, "{took:?}");
}

fn b9_another_address_is_followed() {
    let lab = lab();
    let imon = start(&lab, slow(&[]));
    wait_up(&imon);
    // As a DHCP client does it: the old one goes, and a moment later the new one is there. On a
    // busy machine that moment may be any length, so imon does not run in between: it hears of both
    // at once.
    imon.signal(Signal::SIGSTOP);
    lab.sh(
        "router",
        "printf 'addr flush dev wan1\\naddr add 192.168.42.77/24 dev wan1\\n' | ip -4 -batch -",
    );
    imon.signal(Signal::SIGCONT);
    imon.wait_line(
        |line| line.contains("its address is 192.168.42.77 now, it was 192.168.42.2"),
        SOON,
    );
    lab.wait_until("a rule for the new address", SOON, || {
        rules(&lab).iter().any(|rule| rule.contains("from 192.168.42.77 "))
    });
    lab.wait_until("traffic on primary", SOON, || way(&lab, "1.1.1.1") == "wan1");
    lab.wait_until("no rule for the old one", SOON, || {
        !rules(&lab).iter().any(|rule| rule.contains("192.168.42.2 "))
    });
    let status = wait_status(&lab, &imon, "t", "the new address", |s| {
        s["monitors"]["failover"]["wans"][0]["address"] == "192.168.42.77"
    });
    assert_eq!(status["monitors"]["failover"]["wans"][0]["state"], "up");
    assert_eq!((switches(&imon), count(&imon, "is now offline")), (1, 0));
    // One that comes back later was lost, and is followed as well.
    lab.sh("router", "ip -4 addr flush dev wan1");
    wait_active(&imon, 0, Wan::Two);
    lab.renumber(Wan::One, 78);
    wait_active(&imon, imon.mark() - 1, Wan::One);
}

/// The address goes, packets move, and another address comes. How many milliseconds it was away.
fn renew(lab: &Lab, host: u8) -> u64 {
    let script = format!(
        "began=$(date +%s%N); echo addr flush dev wan1 | ip -4 -batch -
         n=0; until ip route get 1.1.1.1 2>/dev/null | grep -q 'dev wan2' || [ $n -gt 200 ]; do n=$((n + 1)); done
         ip -4 addr add 192.168.42.{host}/24 dev wan1
         [ $n -le 200 ] || exit 1
         echo $(( ($(date +%s%N) - began) / 1000000 ))"
    );
    lab.sh("router", &script).trim().parse().unwrap()
}

fn d8_a_renewal_moves_packets_and_is_neither_told_nor_counted() {
    let lab = lab();
    let script = recorder(&lab);
    let imon = start(&lab, slow(&[("action", json!(script)), ("hold-down", json!(1))]));
    wait_up(&imon);
    let (mut rounds, mut passed) = (0, 0);
    while passed < 3 {
        // Both first states, and each switch.
        let before = 2 + switches(&imon);
        lab.wait_until("every call is made", SOON, || calls(&lab).len() == before);
        let mark = imon.mark();
        let away = renew(&lab, 70 + rounds);
        rounds += 1;
        lab.wait_until("traffic on primary", SOON, || way(&lab, "1.1.1.1") == "wan1");
        // On a machine that is too slow for it, it was an outage.
        if away < 250 {
            passed += 1;
            // Part of the scenario: by then an outage would have been told.
            std::thread::sleep(Duration::from_millis(400));
            let said: Vec<String> = imon.texts().into_iter().skip(mark).collect();
            let outage = ["is now o", "Failover", "offline", "Outage"];
            let told = said.iter().any(|line| outage.iter().any(|word| line.contains(word)));
            assert!(!told, "{away} ms: {said:?}");
            assert_eq!(calls(&lab).len(), before, "{away} ms");
        }
        assert!(rounds < 60, "no renewal was short enough: {away} ms");
    }
    // One that does not come back is an outage.
    lab.sh("router", "ip -4 addr flush dev wan1");
    imon.wait_line(|line| line.ends_with("Primary Network net42 (wan1) is now offline"), SOON);
    wait_active(&imon, 0, Wan::Two);
}

/// Another metric: routes and rules are all made anew, while the traffic takes the detour.
fn d8_a_reload_in_a_renewal_makes_no_outage_of_it() {
    let lab = lab();
    let settings =
        |metric: u32| json!({ "metric": metric, "hold-down": 1, "prefer-primary": true });
    let imon = start(&lab, settings(201));
    wait_up(&imon);
    let (mut round, mut away) = (0, 1000_u64);
    // On a machine that is too slow for it, it was an outage.
    while away >= 250 {
        round += 1;
        assert!(round < 60, "no renewal was short enough: {away} ms");
        lab.wait_until("traffic on primary", SOON, || {
            lab.sh("router", "ip -4 addr replace 192.168.42.2/24 dev wan1");
            way(&lab, "1.1.1.1") == "wan1"
        });
        let mark = imon.mark();
        lab.write("/etc/default/imon-t", &crate::failover::config(settings(201 + round)));
        // In one process: what is started takes long on a busy machine.
        let script = format!(
            "imon=$(pgrep -xo imon); began=$(date +%s%N); echo addr flush dev wan1 | ip -4 -batch -
             n=0; until ip route get 1.1.1.1 2>/dev/null | grep -q 'dev wan2' || [ $n -gt 200 ]; do n=$((n + 1)); done
             kill -HUP $imon
             n=0; until ip -4 route | grep -q 'dev wan2.* metric {}' || [ $n -gt 200 ]; do n=$((n + 1)); done
             ip -4 addr add 192.168.42.2/24 dev wan1
             echo $(( ($(date +%s%N) - began) / 1000000 ))",
            201 + round
        );
        away = lab.sh("router", &script).trim().parse().unwrap();
        imon.wait_line_from(mark, |line| line.contains("Reloaded"), SOON);
        if away < 250 {
            lab.wait_until("traffic on primary again", SOON, || way(&lab, "1.1.1.1") == "wan1");
            // Part of the scenario: by then an outage would have been told.
            std::thread::sleep(Duration::from_millis(400));
            let said: Vec<String> = imon.texts().into_iter().skip(mark).collect();
            let told =
                said.iter().any(|line| line.contains("is now o") || line.contains("Failover"));
            assert!(!told, "{away} ms: {said:?}");
        }
    }
}

fn b45_a_cable_pulled_and_put_back() {
    let lab = lab();
    let imon = start(&lab, json!({}));
    wait_up(&imon);
    lab.fault(Fault::Carrier(Wan::One));
    wait_active(&imon, 0, Wan::Two);
    let mark = imon.mark();
    lab.heal(Fault::Carrier(Wan::One));
    wait_active(&imon, mark, Wan::One);
    imon.wait_line(|line| line.contains("Primary Network Outage Duration"), SOON);
}

/// While the cable is out the kernel asks for the gateway's link address, once a second. Waiting
/// for the next time would make the way back as long.
fn the_gateway_is_asked_for_again_when_the_cable_is_back() {
    let lab = lab();
    let imon = start(&lab, slow(&[]));
    wait_up(&imon);
    // Somebody who keeps it asking.
    let _sender = lab.sender("router", "192.168.42.1", Some(Duration::from_millis(1)));
    for round in 0..3 {
        let mark = imon.mark();
        lab.fault(Fault::Carrier(Wan::One));
        wait_active(&imon, mark, Wan::Two);
        lab.wait_until("it asks", SOON, || {
            lab.sh("router", "ip neigh show dev wan1").contains("192.168.42.1 INCOMPLETE")
        });
        let mark = imon.mark();
        let since = lab.heal(Fault::Carrier(Wan::One));
        wait_active(&imon, mark, Wan::One);
        let took = since.elapsed();
        assert!(took < BY_NEWS, "round {round}: {took:?}");
    }
}

fn an_interface_that_goes_and_comes_back_under_another_number() {
    let lab = lab();
    let imon = start(&lab, slow(&[]));
    wait_up(&imon);
    lab.sh("router", "ip link del wan1");
    until(&lab, Instant::now(), Wan::Two);
    imon.wait_line(
        |line| line.ends_with("Primary Network net42 (wan1): there is no such interface"),
        SOON,
    );
    lab.sh(
        "router",
        "ip link add wan1 index 77 type veth peer name cust index 78 netns isp1 && ip link set wan1 up && \
         ip addr add 192.168.42.2/24 dev wan1",
    );
    lab.sh("isp1", "ip link set cust up && ip addr add 192.168.42.1/24 dev cust");
    lab.wait_until("traffic on the new interface", Duration::from_secs(3), || {
        way(&lab, "1.1.1.1") == "wan1"
    });
    assert_eq!(ours(&lab).len(), 1);
}

fn a_gateway_that_dhcp_tells_is_learnt_and_followed() {
    let lab = Lab::builder().imon(env!("CARGO_BIN_EXE_imon")).default_route(None).up();
    let imon = start(&lab, slow(&[("primary-gw", json!("auto"))]));
    wait_active(&imon, 0, Wan::Two);
    imon.wait_line(|line| line.contains("Primary Network net42 (wan1): no gateway is known"), SOON);
    lab.sh(
        "router",
        "ip route add default via 192.168.42.1 dev wan1 proto dhcp metric 1002 src 192.168.42.2",
    );
    until(&lab, Instant::now(), Wan::One);
    assert!(ours(&lab)[0].starts_with("default via 192.168.42.1 dev wan1"));
    // The provider moves its gateway, and the next lease says so.
    lab.sh(
        "isp1",
        "ip addr add 192.168.42.254/24 dev cust && ip addr del 192.168.42.1/24 dev cust",
    );
    lab.sh("router", "ip route replace default via 192.168.42.254 dev wan1 proto dhcp metric 1002 src 192.168.42.2");
    imon.wait_line(
        |line| line.contains("its gateway is 192.168.42.254 now, it was 192.168.42.1"),
        SOON,
    );
    lab.wait_until("the new gateway", SOON, || {
        ours(&lab)[0].starts_with("default via 192.168.42.254 dev wan1")
    });
    let dhcp = lab.sh("router", "ip route show default proto dhcp");
    assert!(dhcp.contains("192.168.42.254"), "{dhcp}");
}

fn a_gateway_of_its_own_table_is_learnt() {
    let lab = Lab::builder().imon(env!("CARGO_BIN_EXE_imon")).default_route(None).up();
    lab.sh("router", "ip route add default via 192.168.42.1 dev wan1 table 1001 proto dhcp");
    let imon = start(&lab, slow(&[("primary-gw", json!("auto"))]));
    wait_up(&imon);
    assert_eq!(way(&lab, "1.1.1.1"), "wan1");
}

fn an_absent_gateway_is_v2_99s_error_with_a_hint() {
    let lab = lab();
    let text = super::config(json!({ "primary-gw": "", "standby-gw": null }));
    let ended = lab.imon("router").instance("t", &text).nosyslog().run(SOON);
    assert_eq!(ended.code(), 1);
    let said = ended.stderr();
    assert!(
        said.contains("? Missing settings for failover monitor:  primary-gw standby-gw"),
        "{said}"
    );
    assert!(said.contains("\"primary-gw\": \"auto\""), "{said}");
}

fn a_flood_of_news_loses_nothing() {
    let lab = lab();
    let imon = start(&lab, slow(&[]));
    wait_up(&imon);
    // Ten thousand routes come and go while imon does not read, and among them something that
    // matters.
    imon.signal(imon_lab::Signal::SIGSTOP);
    lab.sh(
        "router",
        "for i in $(seq 0 39); do for j in $(seq 0 249); do echo route add 10.$i.$j.0/24 dev lan0; done; done >/run/lab/many; \
         ip -batch /run/lab/many; ip link set wan1 down; ip route flush root 10.0.0.0/8",
    );
    imon.signal(imon_lab::Signal::SIGCONT);
    until(&lab, Instant::now(), Wan::Two);
    wait_active(&imon, 0, Wan::Two);
}

fn link_up_alone_is_never_online() {
    let lab = lab();
    lab.fault(Fault::GatewaySilent(Wan::One));
    lab.fault(Fault::Carrier(Wan::One));
    let imon = start(&lab, json!({ "hold-down": 0 }));
    wait_active(&imon, 0, Wan::Two);
    lab.heal(Fault::Carrier(Wan::One));
    let status = wait_status(&lab, &imon, "t", "three checks of the link that is up", |s| {
        s["monitors"]["failover"]["wans"][0]["targets"][0]["probes"]["checks"].as_u64() >= Some(3)
    });
    assert_eq!(status["monitors"]["failover"]["wans"][0]["state"], "down");
    assert_eq!((count(&imon, "(wan1) is now online"), switches(&imon)), (0, 1));
}
