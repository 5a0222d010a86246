//! The failover monitor, end to end: two real links, real routes, and everything that goes wrong
//! with them.

mod behaviour;
mod links;
mod options;
mod others;
mod routes;
mod truth;

use imon_lab::{Lab, Proc, Wan};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::SOON;

pub(crate) fn tests() -> Vec<Trial> {
    let suites = [
        behaviour::tests(),
        truth::tests(),
        routes::tests(),
        links::tests(),
        options::tests(),
        others::tests(),
    ];
    suites.into_iter().flatten().collect()
}

/// A configuration with quick checks: half a second apart, of two probes that wait half a second
/// each. A key that is null here is left out.
pub(crate) fn config(more: Value) -> String {
    let mut failover = json!({
        "enable": true, "interval": 0.5, "pingcount": 2, "pingwait": 0.5, "prefer-primary": true, "hold-down": 1,
        "metric": 201,
        "primary-if": "wan1", "primary-name": "net42", "primary-gw": "192.168.42.1",
        "standby-if": "wan2", "standby-name": "net62", "standby-gw": "192.168.62.1",
    });
    let mut global = json!({});
    let (Value::Object(more), Some(map)) = (more, failover.as_object_mut()) else {
        unreachable!("objects both")
    };
    for (key, value) in more {
        match key.as_str() {
            "action" | "action-timeout" | "events" => global[&key] = value,
            _ if value.is_null() => _ = map.remove(&key),
            _ => _ = map.insert(key, value),
        }
    }
    json!({ "global": global, "failover": failover }).to_string()
}

/// imon on the router with such a configuration.
pub(crate) fn start(lab: &Lab, more: Value) -> Proc {
    lab.imon("router").instance("t", &config(more)).nosyslog().spawn()
}

/// The word in the log for a WAN.
fn role(wan: Wan) -> &'static str {
    if wan == Wan::One { "Primary" } else { "Standby" }
}

/// Waits until imon says that the route over this WAN is active, in a line behind the first `mark`.
#[track_caller]
pub(crate) fn wait_active(imon: &Proc, mark: usize, wan: Wan) {
    let wanted = format!("Network Failover {} Route ", role(wan));
    imon.wait_line_from(mark, |line| line.contains(&wanted) && line.ends_with("is active"), SOON);
}

/// Waits until both WANs have been told to be online, and the first is used.
#[track_caller]
pub(crate) fn wait_up(imon: &Proc) {
    wait_active(imon, 0, Wan::One);
    // On a busy machine the first probes of a new network may be late.
    let up = |line: &str| line.contains("Initial State for Standby") && line.ends_with(": online");
    imon.wait_line(
        |line| up(line) || (line.contains("Standby Network") && line.ends_with("is now online")),
        SOON,
    );
}

/// The interface by which the router sends packets to this address.
pub(crate) fn way(lab: &Lab, to: &str) -> String {
    let found = lab.sh("router", &format!("ip route get {to} || true"));
    let mut words = found.split_whitespace().skip_while(|word| *word != "dev");
    words.nth(1).unwrap_or_default().to_owned()
}

/// The default routes in the table main that are ours.
fn ours(lab: &Lab) -> Vec<String> {
    defaults(lab).into_iter().filter(|route| route.contains("proto 171")).collect()
}

/// All default routes in the table main.
fn defaults(lab: &Lab) -> Vec<String> {
    lab.sh("router", "ip -4 route show default")
        .lines()
        .map(|line| line.trim().to_owned())
        .collect()
}

/// How many rules of ours there are for two networks whose gateways are pinged, once one of them is
/// chosen.
const RULES: usize = 8;

/// Rules that are ours.
pub(crate) fn rules(lab: &Lab) -> Vec<String> {
    let all = lab.sh("router", "ip -4 rule show");
    all.lines().filter(|line| line.contains("proto 171")).map(str::to_owned).collect()
}

/// Lines so far with this text.
pub(crate) fn count(imon: &Proc, text: &str) -> usize {
    imon.texts().iter().filter(|line| line.contains(text)).count()
}

/// Switches so far, the first choice included.
fn switches(imon: &Proc) -> usize {
    count(imon, "is active")
}
