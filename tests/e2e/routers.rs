//! What routers on the way say about packets that they cannot pass on.

use imon_lab::{Fault, Signal, Wan};
use libtest_mimic::Trial;

use crate::{SOON, lab, trials};

pub(crate) fn tests() -> Vec<Trial> {
    trials![an_unreachable_name_server_is_not_waited_for]
}

/// The question to a name server is over when a router says that it cannot be reached, so the
/// outage is said at once.
fn an_unreachable_name_server_is_not_waited_for() {
    let lab = lab();
    let _dns = lab.dns();
    let imon = lab
        .imon("router")
        .instance(
            "t",
            r#"{"updown": {"enable": true, "interval": 0.5, "pingwait": 5, "monitorip": "1.1.1.1",
                "dnsserver": "8.8.8.8", "dnslookup": "microsoft.com"}}"#,
        )
        .nosyslog()
        .spawn();
    imon.wait_line(|l| l.ends_with("[t] Monitored IP 1.1.1.1 online"), SOON);
    lab.fault(Fault::UpstreamRejecting(Wan::One));
    imon.wait_line(|l| l.ends_with("[t] Monitored IP 1.1.1.1 offline"), SOON);
    let says = |what: &str| lab.read("/run/imon/t.json").contains(what);
    let reason = r#""reason":"host unreachable from 192.168.42.1""#;
    lab.wait_until("the status has both reasons", SOON, || {
        says(reason) && says(r#""dns":"No route to host""#)
    });
    imon.signal(Signal::SIGTERM);
    assert!(imon.wait(SOON).success());
}
