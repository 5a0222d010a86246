//! What any imon left, and what a living one has.

use std::time::Duration;

use imon_lab::roles::Ping;
use imon_lab::{Fault, Lab, Proc, Signal, Wan};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::{bare_lab, probes};
use crate::failover::{config, wait_active, wait_up};
use crate::{SOON, trials};

pub(super) fn tests() -> Vec<Trial> {
    trials![
        v6_what_a_killed_imon_left_is_cleared_by_another_instance,
        v6_what_other_versions_left_is_cleared,
        v6_what_a_living_imon_has_is_left_alone,
        v6_what_a_killed_imon_left_is_cleared_by_one_that_runs,
        v6_an_imon_whose_instance_has_another_name_since_a_reload_lives,
    ]
}

/// Everything on the router that any imon has set.
fn marked(lab: &Lab) -> Vec<String> {
    let all = lab.sh("router", "ip -4 rule; ip -4 route show table all");
    all.lines()
        .filter(|line| line.contains("proto 171"))
        .map(|line| line.trim().to_owned())
        .collect()
}

/// imon of another name and with other settings serves the LAN, and at its stop only the default
/// that worked is left.
fn takes_over(lab: &Lab, more: &Value) {
    let mut settings = probes();
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let imon = lab.imon("router").instance("b", &config(settings)).nosyslog().spawn();
    let primary = if more.get("primary-if").is_some() { Wan::Two } else { Wan::One };
    imon.wait_line(
        |line| line.contains("Initial State for Standby") && line.ends_with("online"),
        SOON,
    );
    wait_active(&imon, 0, Wan::One);
    let mark = imon.mark();
    lab.fault(Fault::Carrier(primary));
    wait_active(&imon, mark, Wan::Two);
    let other = if primary == Wan::One { "wan2" } else { "wan1" };
    let lan = || lab.sh("router", "ip route get 1.1.1.1 from 192.168.92.10 iif lan0");
    lab.wait_until("the LAN follows", SOON, || lan().contains(&format!("dev {other}")));
    lab.heal(Fault::Carrier(primary));
    imon.signal(Signal::SIGTERM);
    assert!(imon.wait(SOON).success());
    let left = marked(lab);
    assert!(
        left.len() <= 1 && left.iter().all(|line| line.starts_with("default via")),
        "{more}: left {left:#?}"
    );
    lab.sh("router", "ip -4 route flush proto 171");
}

fn v6_what_a_killed_imon_left_is_cleared_by_another_instance() {
    let lab = bare_lab();
    let swapped = json!({
        "primary-if": "wan2", "primary-gw": "192.168.62.1", "standby-if": "wan1", "standby-gw": "192.168.42.1",
        "primary-ping": "8.8.8.8", "standby-ping": "1.1.1.1"
    });
    for more in [json!({}), json!({ "metric": 77 }), json!({ "metric": 5000 }), swapped] {
        let imon = lab.imon("router").instance("a", &config(probes())).nosyslog().spawn();
        wait_up(&imon);
        imon.signal(Signal::SIGKILL);
        _ = imon.wait(SOON);
        assert!(marked(&lab).len() > 7);
        takes_over(&lab, &more);
    }
}

fn v6_what_other_versions_left_is_cleared() {
    let lab = bare_lab();
    lab.sh(
        "router",
        "ip -batch - <<'E'
rule add pref 20000 from 192.168.42.2 table 171000401 protocol 171
rule add pref 20000 from 192.168.62.2 table 171000402 protocol 171
rule add pref 20001 table main suppress_prefixlength 0 protocol 171
rule add pref 20002 table 171000400 protocol 171
route add default via 192.168.42.1 table 171000400 proto 171
route add default via 192.168.42.1 table 171000401 proto 171
route add default via 192.168.62.1 table 171000402 proto 171
route add default via 192.168.42.1 metric 3 proto 171
E",
    );
    takes_over(&lab, &json!({}));
}

/// Instance `name` with `wanN`, which works, and a second network that does not.
fn one(lab: &Lab, name: &str, metric: u32, n: u8) -> Proc {
    lab.sh("router", &format!("ip link show dummy{n} >/dev/null 2>&1 || {{ ip link add dummy{n} type veth peer name peer{n} && ip link set peer{n} up && ip link set dummy{n} up && ip addr add 10.77.{n}.2/24 dev dummy{n}; }}"));
    let settings = json!({
        "metric": metric, "primary-if": format!("wan{n}"), "primary-gw": format!("192.168.{}2.1", 2 + 2 * n),
        "primary-ping": "9.9.9.9", "standby-if": format!("dummy{n}"), "standby-gw": format!("10.77.{n}.1"),
    });
    let imon = lab.imon("router").instance(name, &config(settings)).nosyslog().spawn();
    wait_active(&imon, 0, Wan::One);
    imon
}

fn v6_what_a_living_imon_has_is_left_alone() {
    let lab = bare_lab();
    let a = one(&lab, "a", 201, 1);
    let had = marked(&lab);
    assert!(!had.is_empty());
    let b = one(&lab, "b", 300, 2);
    b.signal(Signal::SIGHUP);
    b.signal(Signal::SIGTERM);
    assert!(b.wait(SOON).success());
    let all = marked(&lab);
    assert!(had.iter().all(|line| all.contains(line)), "had {had:#?}, now {all:#?}");
    assert!(lab.ping("router", &Ping::new("1.1.1.1")).answered("1.1.1.1") > 0);
    assert!(a.alive());
}

fn v6_an_imon_whose_instance_has_another_name_since_a_reload_lives() {
    let lab = bare_lab();
    let named = |name: &str| {
        let mut all: Value = serde_json::from_str(&config(probes())).unwrap();
        all["global"]["instance"] = json!(name);
        lab.write("/run/lab/imon.json", &all.to_string());
    };
    named("first");
    let a = lab.imon("router").args(["--config", "/run/lab/imon.json", "--nosyslog"]).spawn();
    wait_up(&a);
    let before = marked(&lab);
    named("second");
    a.signal(Signal::SIGHUP);
    a.wait_line(|line| line.contains("Reloaded"), SOON);
    lab.wait_until("its tables are others", SOON, || {
        let now = marked(&lab);
        now.len() == before.len() && now != before
    });
    let had = marked(&lab);
    lab.sh("router", "for n in 1 2; do ip link add dummy$n type veth peer name peer$n && ip link set dummy$n up && ip link set peer$n up && ip addr add 10.77.$n.2/24 dev dummy$n; done");
    let other = json!({ "primary-if": "dummy1", "primary-gw": "10.77.1.1", "standby-if": "dummy2", "standby-gw": "10.77.2.1" });
    let b = lab.imon("router").instance("b", &config(other)).nosyslog().spawn();
    b.wait_line(|line| line.ends_with("Both Primary and Standby Networks are offline"), SOON);
    assert!(b.texts().iter().all(|line| !line.contains("was killed")), "{:#?}", b.texts());
    let all = marked(&lab);
    assert!(had.iter().all(|line| all.contains(line)), "had {had:#?}, now {all:#?}");
}

fn v6_what_a_killed_imon_left_is_cleared_by_one_that_runs() {
    let lab = bare_lab();
    let (a, b) = (one(&lab, "a", 201, 1), one(&lab, "b", 300, 2));
    let lan = || lab.sh("router", "ip route get 1.1.1.1 from 192.168.92.10 iif lan0");
    let of_a = || marked(&lab).iter().filter(|line| line.contains("192.168.42.")).count();
    lab.wait_until("the lower metric leads", SOON, || lan().contains("dev wan1"));
    a.signal(Signal::SIGKILL);
    _ = a.wait(SOON);
    lab.wait_until("the one that runs leads", Duration::from_secs(60), || {
        lan().contains("dev wan2")
    });
    assert_eq!(of_a(), 1, "but for the default in main: {:#?}", marked(&lab));
    // One that is started again is left alone, and goes first again.
    let a = one(&lab, "a", 201, 1);
    lab.wait_until("the lower metric leads again", SOON, || lan().contains("dev wan1"));
    a.signal(Signal::SIGTERM);
    assert!(a.wait(SOON).success());
    assert!(b.alive() && of_a() == 1);
}
