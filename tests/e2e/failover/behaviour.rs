//! What V2.99 did and its users rely on: log, script and their order, preference, and starts and
//! ends.

use std::time::Duration;

use imon_lab::roles::Behaviour;
use imon_lab::{Fault, Lab, Signal, Wan};
use libtest_mimic::Trial;
use serde_json::json;

use super::{
    RULES, config, count, defaults, ours, rules, start, switches, wait_active, wait_up, way,
};
use crate::support::{calls, duration, recorder, said, wait_calls, wait_status};
use crate::{SOON, lab, trials};

pub(super) fn tests() -> Vec<Trial> {
    trials![
        its_whole_life_word_for_word,
        a_wan_without_a_name_is_called_by_its_interface,
        v11_events_without_a_switch_reach_a_script_that_asks_for_them,
        without_preference_standby_is_kept_and_primarys_return_is_only_logged,
        b5_a_dead_standby_is_said_before_it_is_needed,
        b8_one_missed_check_of_the_last_wan_changes_nothing,
        both_down_keeps_the_last_route_and_the_first_that_answers_is_used,
        b17_without_an_address_a_wan_is_offline_until_it_has_one,
        b18_an_interface_that_is_not_there_is_named_with_the_nearest_and_picked_up,
        b19_a_refused_route_is_logged_with_the_kernels_words_and_never_called_active,
        b21_names_with_shell_characters_are_one_argument_and_run_nothing,
        b20_a_script_that_hangs_does_not_delay_a_switch,
        b35_without_the_capability_one_error_says_what_grants_it,
        b44_routes_at_the_end,
        b46_a_restart_on_standby_takes_over_without_a_gap,
        kill_9_and_a_restart_adopt_everything,
        at_boot_standby_carries_the_traffic_soon_after_its_address,
        a_reload_with_the_same_wans_switches_nothing,
        a_reload_with_other_wans_leads_the_traffic_over_those,
        two_instances_do_not_share_an_interface,
        v6_what_a_killed_instance_left_is_cleared_by_the_next_one,
        v6_what_a_living_instance_has_is_left_alone,
    ]
}

fn its_whole_life_word_for_word() {
    let lab = lab();
    let internet = lab.responder("inet");
    let script = recorder(&lab);
    internet.set("9.9.9.9", &Behaviour::silent());
    let imon = start(
        &lab,
        json!({ "action": script, "primary-postping": "1.1.1.1", "standby-name": "my isp", "standby-postping": "9.9.9.9" }),
    );
    wait_calls(&lab, 4);
    lab.fault(Fault::Carrier(Wan::One));
    imon.wait_line(|line| line.contains("9.9.9.9 Not Responding"), SOON);
    lab.heal(Fault::Carrier(Wan::One));
    imon.wait_line(|line| line.contains("Outage Duration"), SOON);
    wait_calls(&lab, 8);
    lab.fault(Fault::Carrier(Wan::Two));
    lab.fault(Fault::Carrier(Wan::One));
    imon.wait_line(|line| line.ends_with("Both Primary and Standby Networks are offline"), SOON);
    wait_calls(&lab, 9);
    imon.signal(Signal::SIGTERM);
    assert_eq!(imon.wait(SOON).code(), Some(0));
    let lines = said(&imon);
    let began =
        lines.iter().position(|line| line.ends_with("Start Network Failover Monitor")).unwrap();
    // That the lab's IPv6 is not switched is another test's.
    let told = lines[began + 1..].iter().filter(|line| !line.contains("IPv6 traffic"));
    let told: Vec<String> = told.map(|line| duration(line).1).collect();
    let expected = [
        "Network Failover Initial State for Primary Network net42 (wan1): online",
        "Network Failover to Primary Network net42 (wan1)",
        "Network Failover Primary Route net42 (wan1) is active",
        "Info: Primary Network Ping Target 1.1.1.1 Online After Failover",
        "Network Failover Initial State for Standby Network my isp (wan2): online",
        "Primary Network net42 (wan1): no carrier: the cable is out, or the other end is off",
        "Primary Network net42 (wan1) is now offline",
        "Network Failover to Standby Network my isp (wan2)",
        "Network Failover Standby Route my isp (wan2) is active",
        "Warn: Standby Network Ping Target 9.9.9.9 Not Responding After Failover",
        "Primary Network net42 (wan1) is now online",
        "Primary Network Outage Duration: 0 days 0 hours, 0 minutes N seconds",
        "Network Failover to Primary Network net42 (wan1)",
        "Network Failover Primary Route net42 (wan1) is active",
        "Info: Primary Network Ping Target 1.1.1.1 Online After Failover",
        "Standby Network my isp (wan2): no carrier: the cable is out, or the other end is off",
        "Standby Network my isp (wan2) is now offline",
        "Primary Network net42 (wan1): no carrier: the cable is out, or the other end is off",
        "Primary Network net42 (wan1) is now offline",
        "Both Primary and Standby Networks are offline",
    ];
    let expected: Vec<String> = expected.iter().map(|text| format!("[t] {text}")).collect();
    assert_eq!(told[..expected.len()], expected, "{}", lab.timeline());
    let (primary, standby) =
        ("net42:Primary:wan1:192.168.42.2", "my isp:Standby:wan2:192.168.62.2");
    let argv: Vec<Vec<String>> = calls(&lab).into_iter().map(|call| call.argv).collect();
    let call = |count: &str, words: &[&str]| -> Vec<String> {
        [count, "t", "1"].iter().chain(words).map(|&word| word.to_owned()).collect()
    };
    assert_eq!(
        argv,
        [
            call("5", &["failover-initial", primary, "online"]),
            call("4", &["failover-primary", primary]),
            call("5", &["failover-postping", primary, "online"]),
            call("5", &["failover-initial", standby, "online"]),
            call("4", &["failover-standby", standby]),
            call("5", &["failover-postping", standby, "offline"]),
            call("4", &["failover-primary", primary]),
            call("5", &["failover-postping", primary, "online"]),
            call("5", &["failover-bothdown", primary, standby]),
        ]
    );
    let json = &calls(&lab)[4].json;
    assert_eq!(
        (json["wan"]["interface"].as_str(), json["cause"].as_str()),
        (Some("wan2"), Some("failed")),
        "{json}"
    );
}

fn v11_events_without_a_switch_reach_a_script_that_asks_for_them() {
    let lab = lab();
    let script = recorder(&lab);
    let more = json!({ "action": script, "events": "all", "remind": 1, "prefer-primary": false });
    let imon = start(&lab, more);
    wait_up(&imon);
    let before = wait_calls(&lab, 3).len();
    lab.fault(Fault::GatewaySilent(Wan::Two));
    let all = wait_calls(&lab, before + 3);
    lab.heal(Fault::GatewaySilent(Wan::Two));
    imon.wait_line(|line| line.ends_with("Standby Network net62 (wan2) is now online"), SOON);
    lab.wait_until("its end is told", SOON, || {
        calls(&lab).last().is_some_and(|call| call.argv[3] == "failover-online")
    });
    let standby = "net62:Standby:wan2:192.168.62.2";
    let offline = &all[before];
    let why = "nothing answers: 2 probes to its gateway 192.168.62.1 in a row unanswered";
    assert_eq!(offline.argv, ["5", "t", "1", "failover-offline", standby, why]);
    let json = &offline.json;
    assert_eq!(
        (&json["reason"], &json["wan"]["interface"]),
        (&why.into(), &"wan2".into()),
        "{json}"
    );
    assert!(
        json["since"].is_string() && json["outage_seconds"].as_f64().is_some_and(|s| s > 0.5),
        "{json}"
    );
    for (count, call) in (1..).zip(&all[before + 1..before + 3]) {
        assert_eq!(call.argv[3..5], ["failover-remind", standby]);
        assert_eq!(call.json["count"], count, "{}", call.json);
        assert!(
            call.json["reason"].as_str().is_some_and(|why| why.starts_with("nothing answers: ")),
            "{}",
            call.json
        );
    }
    let all = calls(&lab);
    assert!(all[before..].iter().all(|call| call.argv[3] != "failover-standby"), "no switch");
    // A file that names one gets that one.
    let text = config(json!({ "action": script, "events": ["failover-restored"] }));
    lab.write("/etc/default/imon-t", &text);
    imon.signal(Signal::SIGHUP);
    imon.wait_line(|line| line.contains("Reloaded "), SOON);
    let before = calls(&lab).len();
    lab.fault(Fault::Carrier(Wan::Two));
    lab.fault(Fault::Carrier(Wan::One));
    imon.wait_line(|line| line.ends_with("Both Primary and Standby Networks are offline"), SOON);
    lab.heal(Fault::Carrier(Wan::One));
    imon.wait_line(|line| line.contains("No network was online for 0 days 0 hours, "), SOON);
    let all = wait_calls(&lab, before + 2);
    let names: Vec<&str> = all[before..].iter().map(|call| call.argv[3].as_str()).collect();
    assert_eq!(names, ["failover-bothdown", "failover-restored"]);
    assert_eq!(all[before + 1].argv[4], "net42:Primary:wan1:192.168.42.2");
}

fn a_wan_without_a_name_is_called_by_its_interface() {
    let lab = lab();
    let script = recorder(&lab);
    lab.fault(Fault::Carrier(Wan::One));
    let imon = start(&lab, json!({ "action": script, "primary-name": null, "standby-name": "" }));
    imon.wait_line(|line| line.ends_with("Network Failover Standby Route 'wan2' is active"), SOON);
    imon.wait_line(
        |line| line.ends_with("Initial State for Primary Network 'wan1': offline"),
        SOON,
    );
    let calls = wait_calls(&lab, 3);
    assert_eq!(
        calls[0].argv[3..],
        ["failover-initial", ":Primary:wan1:", "offline"],
        "offline has an empty address"
    );
    assert_eq!(calls[2].argv[3..], ["failover-standby", ":Standby:wan2:192.168.62.2"]);
}

fn without_preference_standby_is_kept_and_primarys_return_is_only_logged() {
    let lab = lab();
    let imon = start(&lab, json!({ "prefer-primary": false }));
    wait_up(&imon);
    lab.fault(Fault::GatewaySilent(Wan::One));
    wait_active(&imon, 0, Wan::Two);
    lab.heal(Fault::GatewaySilent(Wan::One));
    imon.wait_line(|line| line.ends_with("Primary Network net42 (wan1) is now online"), SOON);
    wait_status(
        &lab,
        &imon,
        "t",
        "primary is up and has been checked ten times, and standby is used",
        |s| {
            let failover = &s["monitors"]["failover"];
            let primary = &failover["wans"][0];
            let checks = primary["targets"][0]["probes"]["checks"].as_u64();
            primary["state"] == "up" && checks >= Some(10) && failover["active"] == "wan2"
        },
    );
    assert_eq!(switches(&imon), 2);
    lab.fault(Fault::Carrier(Wan::Two));
    imon.wait_line_from(
        0,
        |line| line.ends_with("Standby Network net62 (wan2) is now offline"),
        SOON,
    );
    lab.wait_until("traffic on primary", SOON, || way(&lab, "1.1.1.1") == "wan1");
}

fn b5_a_dead_standby_is_said_before_it_is_needed() {
    let lab = lab();
    lab.fault(Fault::UpstreamDead(Wan::Two));
    let imon = start(&lab, json!({ "standby-ping": "8.8.8.8" }));
    wait_active(&imon, 0, Wan::One);
    imon.wait_line(
        |line| line.contains("Initial State for Standby") && line.ends_with(": offline"),
        SOON,
    );
    lab.fault(Fault::GatewaySilent(Wan::One));
    imon.wait_line(|line| line.ends_with("Both Primary and Standby Networks are offline"), SOON);
    assert_eq!(
        (switches(&imon), way(&lab, "1.1.1.1").as_str()),
        (1, "wan1"),
        "the last road stays"
    );
}

fn b8_one_missed_check_of_the_last_wan_changes_nothing() {
    let lab = lab();
    let imon = start(&lab, json!({}));
    wait_up(&imon);
    lab.fault(Fault::Carrier(Wan::One));
    wait_active(&imon, 0, Wan::Two);
    let before = ours(&lab);
    lab.fault(Fault::GatewaySilent(Wan::Two));
    imon.wait_line(|line| line.ends_with("Standby Network net62 (wan2) is now offline"), SOON);
    assert_eq!(ours(&lab), before);
    lab.heal(Fault::GatewaySilent(Wan::Two));
    imon.wait_line(|line| line.ends_with("Standby Network net62 (wan2) is now online"), SOON);
    assert_eq!((ours(&lab), switches(&imon)), (before, 2));
}

fn both_down_keeps_the_last_route_and_the_first_that_answers_is_used() {
    let lab = lab();
    let imon = start(&lab, json!({ "hold-down": 600 }));
    wait_up(&imon);
    lab.fault(Fault::GatewaySilent(Wan::One));
    wait_active(&imon, 0, Wan::Two);
    lab.fault(Fault::GatewaySilent(Wan::Two));
    imon.wait_line(|line| line.ends_with("Both Primary and Standby Networks are offline"), SOON);
    assert_eq!(way(&lab, "1.1.1.1"), "wan2");
    let mark = imon.mark();
    lab.heal(Fault::GatewaySilent(Wan::One));
    wait_active(&imon, mark, Wan::One);
}

fn b17_without_an_address_a_wan_is_offline_until_it_has_one() {
    let lab = lab();
    lab.sh("router", "ip -4 addr flush dev wan1");
    let imon = start(&lab, json!({}));
    imon.wait_line(
        |line| line.ends_with("Primary Network net42 (wan1): the interface has no address"),
        SOON,
    );
    imon.wait_line(
        |line| line.contains("Initial State for Primary") && line.ends_with(": offline"),
        SOON,
    );
    wait_active(&imon, 0, Wan::Two);
    lab.sh("router", "ip addr add 192.168.42.2/24 dev wan1");
    wait_active(&imon, 0, Wan::One);
}

fn b18_an_interface_that_is_not_there_is_named_with_the_nearest_and_picked_up() {
    let lab = lab();
    lab.sh(
        "router",
        "ip link set wan1 down && ip link set wan1 name uplink1 && ip link set uplink1 up",
    );
    let imon = start(&lab, json!({ "primary-if": "uplink0" }));
    imon.wait_line(
        |line| line.contains("there is no interface uplink0. Did you mean uplink1? There"),
        SOON,
    );
    imon.wait_line(|line| line.contains("There are lan0, uplink1, wan2"), SOON);
    wait_active(&imon, 0, Wan::Two);
    lab.sh(
        "router",
        "ip link set uplink1 down && ip link set uplink1 name uplink0 && ip link set uplink0 up",
    );
    wait_active(&imon, 0, Wan::One);
    assert_eq!(way(&lab, "1.1.1.1"), "uplink0");
}

fn b19_a_refused_route_is_logged_with_the_kernels_words_and_never_called_active() {
    let lab = lab();
    // A broadcast address is no gateway. The target is on the link and answers.
    let imon =
        start(&lab, json!({ "primary-gw": "192.168.42.255", "primary-ping": "192.168.42.1" }));
    imon.wait_line(
        |line| line.contains("the kernel refuses") && line.contains("Invalid argument"),
        SOON,
    );
    wait_active(&imon, 0, Wan::Two);
    assert_eq!(count(&imon, "Primary Route"), 0);
    wait_status(&lab, &imon, "t", "it says why", |s| {
        let reason = &s["monitors"]["failover"]["wans"][0]["reason"];
        reason.as_str().is_some_and(|reason| reason.contains("refuses"))
            && s["monitors"]["failover"]["active"] == "wan2"
    });
    assert_eq!(
        count(&imon, "the kernel refuses"),
        2,
        "in the log once, and once as the reason of being offline"
    );
}

fn b21_names_with_shell_characters_are_one_argument_and_run_nothing() {
    let lab = lab();
    let script = recorder(&lab);
    let name = "a b;touch /run/lab/pwned $(touch /run/lab/pwned) `id` \"'&";
    let _imon = start(&lab, json!({ "action": script, "primary-name": name }));
    let calls = wait_calls(&lab, 2);
    assert_eq!(calls[0].argv[4], format!("{name}:Primary:wan1:192.168.42.2"));
    assert_eq!(lab.read("/run/lab/pwned"), "");
    assert!(!lab.path("/run/lab/pwned").exists());
}

fn b20_a_script_that_hangs_does_not_delay_a_switch() {
    let lab = lab();
    lab.script("/run/lab/hangs", "#!/bin/sh\ntrap '' TERM\nsleep 1000\n");
    let imon = start(&lab, json!({ "action": "/run/lab/hangs", "action-timeout": 1 }));
    wait_up(&imon);
    lab.fault(Fault::Carrier(Wan::One));
    wait_active(&imon, 0, Wan::Two);
    imon.wait_line(
        |line| {
            line.contains("action-timeout") || line.contains("killed") || line.contains("longer")
        },
        SOON,
    );
}

fn b35_without_the_capability_one_error_says_what_grants_it() {
    let lab = lab();
    let ended = lab
        .imon("router")
        .instance("t", &config(json!({})))
        .nosyslog()
        .without_capabilities()
        .run(SOON);
    assert_eq!(ended.code(), 1);
    let said = ended.stderr();
    assert!(
        said.contains("CAP_NET_ADMIN") && said.contains("setcap cap_net_raw,cap_net_admin+ep"),
        "{said}"
    );
    assert_eq!(said.lines().filter(|line| line.starts_with('?')).count(), 1, "{said}");
}

fn b44_routes_at_the_end() {
    for (on_exit, left) in [("keep", 1), ("remove", 0)] {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let lab = lab();
            let imon = start(&lab, json!({ "on-exit": on_exit }));
            wait_up(&imon);
            assert!(rules(&lab).len() == RULES && ours(&lab).len() == 1, "{:?}", rules(&lab));
            imon.signal(signal);
            assert_eq!(imon.wait(SOON).code(), Some(0));
            assert_eq!((rules(&lab), ours(&lab).len()), (vec![], left), "{on_exit} {signal}");
            let tables = lab.sh("router", "ip -4 route show table all");
            assert!(!tables.contains("table 171"), "{tables}");
            assert_eq!(defaults(&lab).len(), left + 1, "the other default is untouched");
        }
    }
}

/// Counts the moments in which the router has no default route of ours, or more than one, while
/// something is done.
fn gaps(lab: &Lab, during: impl FnOnce()) -> Vec<String> {
    let watch = "while :; do ip -4 route show default proto 171 | wc -l; done";
    let watch = lab.spawn("router", "sh", ["-c", watch]);
    watch.wait_line(|line| line.trim() == "1", SOON);
    during();
    watch.signal(Signal::SIGKILL);
    watch.wait(SOON);
    watch.texts().into_iter().filter(|line| line.trim() != "1").collect()
}

fn b46_a_restart_on_standby_takes_over_without_a_gap() {
    let lab = lab();
    lab.fault(Fault::GatewaySilent(Wan::One));
    let imon = start(&lab, json!({}));
    wait_active(&imon, 0, Wan::Two);
    let gaps = gaps(&lab, || {
        imon.signal(Signal::SIGTERM);
        imon.wait(SOON);
        let imon = start(&lab, json!({}));
        wait_active(&imon, 0, Wan::Two);
        assert_eq!(switches(&imon), 1);
        imon.signal(Signal::SIGTERM);
        imon.wait(SOON);
    });
    assert_eq!(gaps, [""; 0]);
    assert!(ours(&lab)[0].contains("wan2"));
}

fn kill_9_and_a_restart_adopt_everything() {
    let lab = lab();
    // Somebody else's default of lower metric: without our rules traffic would move.
    lab.add_default_route(Wan::Two, 50);
    let imon = start(&lab, json!({}));
    wait_up(&imon);
    let before = (ours(&lab), rules(&lab));
    let gaps = gaps(&lab, || {
        for _ in 0..3 {
            imon.signal(Signal::SIGKILL);
            assert_eq!(way(&lab, "1.1.1.1"), "wan1");
            let imon = start(&lab, json!({}));
            assert_eq!(way(&lab, "1.1.1.1"), "wan1");
            wait_up(&imon);
            assert_eq!(way(&lab, "1.1.1.1"), "wan1");
            imon.signal(Signal::SIGKILL);
            imon.wait(SOON);
        }
    });
    assert_eq!(gaps, [""; 0]);
    assert_eq!((ours(&lab), rules(&lab)), before, "nothing twice");
}

fn at_boot_standby_carries_the_traffic_soon_after_its_address() {
    let lab = lab();
    lab.fault(Fault::UpstreamDead(Wan::One));
    lab.sh("router", "ip -4 addr flush dev wan2");
    let imon = start(&lab, json!({ "interval": 10, "pingwait": 1, "primary-ping": "1.1.1.1" }));
    imon.wait_line(|line| line.ends_with("Both Primary and Standby Networks are offline"), SOON);
    let came = lab.renumber(Wan::Two, 2);
    lab.wait_until("traffic on standby", Duration::from_secs(2), || way(&lab, "1.1.1.1") == "wan2");
    assert!(came.elapsed() < Duration::from_secs(2));
}

fn a_reload_with_the_same_wans_switches_nothing() {
    let lab = lab();
    let imon = start(&lab, json!({}));
    wait_up(&imon);
    lab.fault(Fault::GatewaySilent(Wan::One));
    wait_active(&imon, 0, Wan::Two);
    let (routes, rules_before) = (ours(&lab), rules(&lab));
    lab.write("/etc/default/imon-t", &config(json!({ "interval": 0.4, "hold-down": 2 })));
    imon.signal(Signal::SIGHUP);
    imon.wait_line(|line| line.contains("Reloaded"), SOON);
    let reloaded =
        crate::support::status(&lab, "t")["written"].as_str().unwrap_or_default().to_owned();
    let mark = imon.mark();
    let status = wait_status(&lab, &imon, "t", "checks after the reload", |s| {
        // The counting has begun anew.
        let checks =
            s["monitors"]["failover"]["wans"][0]["targets"][0]["probes"]["checks"].as_u64();
        checks >= Some(3) && s["written"].as_str() > Some(reloaded.as_str())
    });
    assert_eq!(status["monitors"]["failover"]["active"], "wan2");
    assert_eq!((ours(&lab), rules(&lab), switches(&imon)), (routes, rules_before, 2));
    lab.heal(Fault::GatewaySilent(Wan::One));
    wait_active(&imon, mark, Wan::One);
    imon.wait_line(|line| line.contains("Primary Network Outage Duration"), SOON);
}

fn a_reload_with_other_wans_leads_the_traffic_over_those() {
    let lab = lab();
    let imon = start(&lab, json!({}));
    wait_up(&imon);
    let swapped = json!({
        "primary-if": "wan2", "primary-gw": "192.168.62.1", "primary-name": "other", "metric": 300,
        "standby-if": "wan1", "standby-gw": "192.168.42.1",
    });
    lab.write("/etc/default/imon-t", &config(swapped));
    imon.signal(Signal::SIGHUP);
    imon.wait_line(
        |line| line.ends_with("Network Failover Primary Route other (wan2) is active"),
        SOON,
    );
    assert_eq!(way(&lab, "1.1.1.1"), "wan2");
    lab.wait_until("one default at the new metric", SOON, || {
        let ours = ours(&lab);
        ours.len() == 1 && ours[0].contains("metric 300")
    });
    assert_eq!(rules(&lab).len(), RULES, "{:?}", rules(&lab));
}

fn two_instances_do_not_share_an_interface() {
    let lab = lab();
    let imon = start(&lab, json!({}));
    wait_up(&imon);
    let other = json!({ "primary-if": "lan0", "primary-gw": "192.168.92.10", "metric": 300 });
    let ended = lab.imon("router").instance("other", &config(other)).nosyslog().run(SOON);
    assert_eq!(ended.code(), 1);
    assert!(
        ended.stderr().contains("Another instance switches the routes over wan2"),
        "{}",
        ended.stderr()
    );
    assert_eq!((ours(&lab).len(), rules(&lab).len()), (1, RULES), "what runs is left alone");
}

fn v6_what_a_killed_instance_left_is_cleared_by_the_next_one() {
    let others = [
        json!({}),
        json!({ "metric": 300 }),
        json!({ "primary-if": "wan2", "primary-gw": "192.168.62.1", "standby-if": "wan1", "standby-gw": "192.168.42.1" }),
    ];
    for other in others {
        let lab = lab();
        let first = lab.imon("router").instance("a", &config(json!({}))).nosyslog().spawn();
        wait_up(&first);
        // As 3.0.0 had it.
        lab.sh("router", "ip rule add pref 22010 lookup main suppress_prefixlength 0 proto 171");
        lab.sh("router", "ip rule add pref 22019 lookup 171123450 proto 171 && ip route add default via 192.168.42.1 table 171123450 proto 171");
        first.signal(Signal::SIGKILL);
        first.wait(SOON);
        let imon = lab.imon("router").instance("b", &config(other.clone())).nosyslog().spawn();
        wait_up(&imon);
        assert_eq!(rules(&lab).len(), RULES, "{:?}", rules(&lab));
        assert!(count(&imon, "An imon that was killed has left") == 1, "{:?}", said(&imon));
        let used = way(&lab, "1.1.1.1");
        let (cable, next) = if used == "wan1" { (Wan::One, "wan2") } else { (Wan::Two, "wan1") };
        lab.fault(Fault::Carrier(cable));
        lab.wait_until("traffic goes the other way", SOON, || way(&lab, "1.1.1.1") == next);
        imon.signal(Signal::SIGTERM);
        imon.wait(SOON);
        assert_eq!(rules(&lab), Vec::<String>::new());
    }
}

fn v6_what_a_living_instance_has_is_left_alone() {
    let lab = lab();
    let one = |device: &str, gateway: &str, metric: u32| {
        config(json!({
            "primary-if": device, "primary-gw": gateway, "primary-name": "", "metric": metric,
            "standby-if": "none0", "standby-gw": "192.0.2.1", "standby-name": "",
        }))
        .replace("none0", &format!("{device}x"))
    };
    let a = lab.imon("router").instance("a", &one("wan1", "192.168.42.1", 201)).nosyslog().spawn();
    wait_active(&a, 0, Wan::One);
    let before = rules(&lab);
    let b = lab.imon("router").instance("b", &one("wan2", "192.168.62.1", 202)).nosyslog().spawn();
    wait_active(&b, 0, Wan::One);
    assert!(before.iter().all(|rule| rules(&lab).contains(rule)), "{before:?} {:?}", rules(&lab));
    assert_eq!(way(&lab, "1.1.1.1"), "wan1", "the lower metric wins");
    a.signal(Signal::SIGKILL);
    a.wait(SOON);
    b.signal(Signal::SIGTERM);
    b.wait(SOON);
    assert!(
        before.iter().all(|rule| rules(&lab).contains(rule)),
        "who stops clears nothing of others"
    );
}
