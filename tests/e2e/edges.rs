//! The loop around the monitors: that none of them keeps it from the others, whatever else goes on.

use std::time::{Duration, Instant};

use imon_lab::{Fault, Lab, Proc, Signal, Wan};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::{said, status};
use crate::{SOON, lab, trials};

/// What takes some milliseconds, on a machine that is busy with other tests: the reason in the log
/// tells that it was no check that found out.
const BUSY: Duration = Duration::from_secs(5);

pub(crate) fn tests() -> Vec<Trial> {
    trials![
        d1_two_hundred_pings_a_second_keep_no_news_from_failover,
        d1_a_thousand_targets_leave_dns_probes_scripts_and_signals_their_turn,
        d1_an_address_change_with_an_interface_source_is_no_spin,
        d2_a_reload_without_ping_sockets_changes_nothing,
        d2_a_reload_that_fails_at_any_call_changes_nothing,
        d6_reloads_of_the_same_file_hide_no_outage,
        d6_a_storm_of_signals_is_one,
        d6_a_change_elsewhere_leaves_checks_and_operators_alone,
        d5_a_thousand_names_that_do_not_exist_cost_a_few_questions_a_second,
        d7_too_few_descriptors_are_named_and_nothing_is_left,
        d7_what_is_missing_while_it_runs_is_named_and_the_rest_goes_on,
        d7_memory_that_is_refused_is_no_fault_of_the_program,
    ]
}

/// The failover monitor as in the field: a target beyond each gateway.
fn base(more: &[(&str, Value)]) -> Value {
    let mut config = json!({ "failover": {
        "enable": true, "interval": 1, "prefer-primary": true, "hold-down": 3,
        "primary-if": "wan1", "primary-gw": "192.168.42.1", "primary-ping": "1.1.1.1",
        "standby-if": "wan2", "standby-gw": "192.168.62.1", "standby-ping": "8.8.8.8",
    }});
    for (key, value) in more {
        config[*key] = value.clone();
    }
    config
}

fn start(lab: &Lab, config: &Value) -> Proc {
    lab.imon("router").instance("t", &config.to_string()).nosyslog().spawn()
}

fn wait_up(imon: &Proc) {
    for role in ["Primary", "Standby"] {
        let state = format!("Initial State for {role}");
        imon.wait_line(|line| line.contains(&state) && line.ends_with("online"), SOON);
    }
}

/// Processor time that imon takes in two seconds.
fn busy(imon: &Proc) -> Duration {
    let before = imon.usage().cpu;
    // A window of time is what is measured.
    std::thread::sleep(Duration::from_secs(2));
    imon.usage().cpu - before
}

/// Pulls the first cable and waits for the switch, which names its reason.
fn pulled(lab: &Lab, imon: &Proc) -> Duration {
    let mark = imon.mark();
    let since = lab.fault(Fault::Carrier(Wan::One));
    imon.wait_line_from(mark, |line| line.ends_with("is active"), SOON);
    let took = since.elapsed();
    assert!(
        said(imon).iter().any(|line| line.contains("no carrier")),
        "no reason: {:?}",
        said(imon)
    );
    took
}

fn d1_two_hundred_pings_a_second_keep_no_news_from_failover() {
    for count in [9, 10] {
        let lab = lab();
        let ping = json!({ "enable": true, "interval": 0.1, "pingcount": count, "monitorip": "1.1.1.1,8.8.8.8" });
        let imon = start(&lab, &base(&[("ping", ping)]));
        wait_up(&imon);
        let cpu = busy(&imon);
        assert!(cpu < Duration::from_millis(800), "{count} probes a check: {cpu:?} of 2 s");
        let took = pulled(&lab, &imon);
        assert!(took < BUSY, "{count} probes a check: {took:?}");
    }
}

fn d1_a_thousand_targets_leave_dns_probes_scripts_and_signals_their_turn() {
    let lab = lab();
    lab.sh("inet", "ip route add local 198.19.0.0/22 dev lo");
    let _dns = lab.dns();
    let targets: Vec<String> =
        (0..1000).map(|n| format!("198.19.{}.{}", n / 250, n % 250 + 1)).collect();
    // It says something, and goes on saying it in the background.
    lab.script(
        "/run/lab/action",
        "#!/bin/sh\n[ \"$3\" = failover-standby ] && echo the script has seen it\n:\n",
    );
    let mut config = base(&[
        (
            "ping",
            json!({ "enable": true, "interval": 5, "pingcount": 2, "monitorip": targets.join(",") }),
        ),
        ("global", json!({ "action": "/run/lab/action" })),
        ("updown", json!({ "enable": true, "interval": 1, "monitorip": "does.not.exist" })),
    ]);
    config["failover"]["primary-ping"] = json!("dns:1.1.1.1");
    let imon = start(&lab, &config);
    wait_up(&imon);
    let took = pulled(&lab, &imon);
    assert!(took < BUSY, "{took:?}");
    imon.wait_line(|line| line.contains("the script has seen it"), SOON);
    let since = Instant::now();
    imon.signal(Signal::SIGTERM);
    imon.wait(SOON);
    assert!(since.elapsed() < Duration::from_secs(5));
}

fn d1_an_address_change_with_an_interface_source_is_no_spin() {
    let lab = lab();
    let ddns = json!({ "enable": true, "interval": 10, "sources": ["interface"] });
    let imon = start(&lab, &json!({ "ddns": ddns }));
    imon.wait_line(|line| line.contains("Unable to obtain"), SOON);
    lab.sh("router", "ip addr add 203.0.113.77/32 dev wan1");
    let cpu = busy(&imon);
    assert!(cpu < Duration::from_millis(500), "{cpu:?} of 2 s");
    lab.sh("router", "ip addr del 203.0.113.77/32 dev wan1; ip addr add 203.0.113.78/32 dev wan1");
    let cpu = busy(&imon);
    assert!(cpu < Duration::from_millis(500), "{cpu:?} of 2 s");
}

/// What imon has in the kernel.
fn kernel(lab: &Lab) -> Vec<String> {
    let text = lab.sh("router", "ip -4 rule show; ip -4 route show table all default");
    text.lines()
        .filter(|line| line.contains("proto 171"))
        .map(|line| line.trim().to_owned())
        .collect()
}

fn d2_a_reload_without_ping_sockets_changes_nothing() {
    let lab = lab();
    lab.sh("router", "sysctl -qw net.ipv4.ping_group_range='0 2147483647'");
    let ping = json!({ "enable": true, "interval": 1, "monitorip": "1.1.1.1" });
    let imon = {
        let config = base(&[("ping", ping.clone())]).to_string();
        lab.write("/etc/default/imon-t", &config);
        let program = lab.imon_program();
        // Everything but raw sockets.
        let line = format!(
            "exec setpriv --bounding-set -net_raw --inh-caps -all {} --instance t --nosyslog",
            program.display()
        );
        lab.spawn("router", "sh", ["-c", &line])
    };
    wait_up(&imon);
    let before = kernel(&lab);
    lab.sh("router", "sysctl -qw net.ipv4.ping_group_range='1 0'");
    lab.write("/etc/default/imon-t", &json!({ "ping": ping }).to_string());
    imon.signal(Signal::SIGHUP);
    imon.wait_line(|line| line.contains("the old configuration goes on"), SOON);
    assert_eq!(kernel(&lab), before);
    let took = pulled(&lab, &imon);
    assert!(took < BUSY, "{took:?}");
}

/// Every call that can fail while another configuration is taken over fails once, for want of
/// descriptors, of permission and of memory.
fn d2_a_reload_that_fails_at_any_call_changes_nothing() {
    let lab = lab();
    let config = |metric: u32| {
        let mut config =
            base(&[("ping", json!({ "enable": true, "interval": 1, "monitorip": "9.9.9.9" }))]);
        config["failover"]["metric"] = json!(metric);
        config
    };
    let imon = start(&lab, &config(201));
    wait_up(&imon);
    let mut metric = 201;
    let state =
        |metric: u32| kernel(&lab).iter().any(|line| line.ends_with(&format!("metric {metric}")));
    let calls = [
        ("socket", 8),
        ("bind", 2),
        ("setsockopt", 3),
        ("sendto", 3),
        ("recvfrom", 4),
        ("openat", 2),
    ];
    let mut failed = 0;
    for (call, most) in calls {
        for (n, errno) in
            (1..=most).zip(["EMFILE", "EPERM", "ENOBUFS", "ENOMEM"].into_iter().cycle())
        {
            lab.write("/etc/default/imon-t", &config(metric + 1).to_string());
            let inject = format!("inject={call}:error={errno}:when={n}");
            // strace writes to standard error once it is attached.
            let line = format!(
                "exec strace -qq -e trace={call} -e {inject} -o /dev/null -p $(pgrep -xo imon)"
            );
            let strace = lab.spawn("router", "sh", ["-c", &line]);
            lab.wait_until("strace is attached", SOON, || {
                !lab.sh("router", "grep TracerPid /proc/$(pgrep -xo imon)/status")
                    .trim()
                    .ends_with("\t0")
            });
            let mark = imon.mark();
            imon.signal(Signal::SIGHUP);
            imon.wait_line_from(
                mark,
                |line| line.contains("Reloaded") || line.contains("goes on"),
                SOON,
            );
            let reloaded = said(&imon)[mark..].iter().any(|line| line.contains("Reloaded"));
            strace.signal(Signal::SIGTERM);
            strace.wait(SOON);
            failed += usize::from(!reloaded);
            metric += u32::from(reloaded);
            lab.wait_until(&format!("one whole state after {call} {errno} {n}"), SOON, || {
                state(metric)
            });
            let rules = kernel(&lab).iter().filter(|line| line.contains("lookup")).count();
            assert_eq!(rules, 10, "after {call} {errno} {n}: {:#?}", kernel(&lab));
        }
    }
    assert!(failed >= 6, "calls that were made to fail: {failed}");
    let took = pulled(&lab, &imon);
    assert!(took < BUSY, "{took:?}");
}

fn d6_reloads_of_the_same_file_hide_no_outage() {
    let lab = lab();
    let responder = lab.responder("inet");
    let config = json!({ "updown": { "enable": true, "interval": 1, "pingwait": 1, "monitorip": "1.1.1.1" } });
    let imon = start(&lab, &config);
    imon.wait_line(|line| line.ends_with("Monitored IP 1.1.1.1 online"), SOON);
    responder.set("1.1.1.1", &imon_lab::roles::Behaviour::silent());
    let since = Instant::now();
    while !said(&imon).iter().any(|line| line.ends_with("Monitored IP 1.1.1.1 offline")) {
        assert!(since.elapsed() < Duration::from_secs(8), "{:?}", said(&imon));
        imon.signal(Signal::SIGHUP);
        // The rate of reloads is the scenario.
        std::thread::sleep(Duration::from_millis(700));
    }
}

fn d6_a_storm_of_signals_is_one() {
    let lab = lab();
    let config = json!({ "updown": { "enable": true, "interval": 5, "monitorip": "1.1.1.1" } });
    let imon = start(&lab, &config);
    imon.wait_line(|line| line.ends_with("Monitored IP 1.1.1.1 online"), SOON);
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(3) {
        imon.signal(Signal::SIGHUP);
        imon.signal(Signal::SIGUSR1);
    }
    let took = since.elapsed().as_secs() as usize;
    // The last one counts, too.
    let count = |text: &str| said(&imon).iter().filter(|line| line.contains(text)).count();
    lab.wait_until("the last ones are obeyed", SOON, || {
        count("Checking now") > 2 && count("Reloaded") > 2
    });
    for text in ["Checking now", "Reloaded"] {
        assert!(count(text) <= took + 2, "{text}: {} times in {took} s", count(text));
    }
}

/// Another part of the file changes each time: what did not change goes on as if nothing had
/// happened, the check under way included, and nobody is asked sooner for his address.
fn d6_a_change_elsewhere_leaves_checks_and_operators_alone() {
    let lab = crate::public_lab();
    let responder = lab.responder("inet");
    let http = lab.http();
    let config = |interval: u32| {
        json!({
            "updown": { "enable": true, "interval": 1, "pingcount": 3, "pingwait": 1, "monitorip": "1.1.1.1" },
            "ping": { "enable": true, "interval": interval, "monitorip": "1.1.1.1" },
            "ddns": { "enable": true, "interval": 600 + interval, "sources": ["http://198.18.0.80/"] },
        })
        .to_string()
    };
    let imon = lab.imon("router").instance("t", &config(7)).nosyslog().spawn();
    imon.wait_line(|line| line.ends_with("Monitored IP 1.1.1.1 online"), SOON);
    lab.wait_until("the source is asked", SOON, || !http.requests().is_empty());
    responder.set("1.1.1.1", &imon_lab::roles::Behaviour::silent());
    let since = Instant::now();
    let mut interval = 7;
    while !said(&imon).iter().any(|line| line.ends_with("Monitored IP 1.1.1.1 offline")) {
        assert!(since.elapsed() < Duration::from_secs(12), "{:?}", said(&imon));
        interval = if interval == 7 { 8 } else { 7 };
        lab.write("/etc/default/imon-t", &config(interval));
        imon.signal(Signal::SIGHUP);
        // The rate of reloads is the scenario.
        std::thread::sleep(Duration::from_millis(500));
    }
    let reloads = said(&imon).iter().filter(|line| line.contains("Reloaded")).count();
    assert!(reloads >= 2, "{:?}", said(&imon));
    assert_eq!(http.requests().len(), 1, "{reloads} reloads: {:?}", said(&imon));
}

fn d5_a_thousand_names_that_do_not_exist_cost_a_few_questions_a_second() {
    let lab = lab();
    let dns = lab.dns();
    let names: Vec<String> = (0..1000).map(|n| format!("n{n}.does.not.exist")).collect();
    let ping = json!({ "enable": true, "interval": 1, "pingcount": 1, "pingwait": 0.5, "monitorip": names.join(",") });
    let imon = start(&lab, &json!({ "ping": ping }));
    let asked = || dns.queries().len();
    lab.wait_until("each has been asked for once", SOON, || asked() >= 1000);
    let (before, since) = (asked(), Instant::now());
    while since.elapsed() < Duration::from_secs(5) {
        imon.signal(Signal::SIGUSR1);
        // A window of time is what is measured.
        std::thread::sleep(Duration::from_millis(200));
    }
    let (asked, took) = (asked() - before, since.elapsed().as_secs_f64());
    // Four a second, and what may come at once; some of the first round may still have been on its
    // way.
    assert!(asked as f64 <= 4.0 * took + 40.0, "{asked} in {took} s");
    assert!(asked > 8, "{asked} in {took} s");
}

fn d7_too_few_descriptors_are_named_and_nothing_is_left() {
    let lab = lab();
    let _dns = lab.dns();
    let ping = json!({ "enable": true, "interval": 1, "monitorip": "1.1.1.1,some.name" });
    let whole = base(&[("ping", ping.clone())]);
    lab.write("/etc/default/imon-t", &whole.to_string());
    lab.write("/etc/default/imon-p", &json!({ "ping": ping }).to_string());
    let program = lab.imon_program();
    for arguments in
        ["--instance t --nosyslog", "--instance p --nosyslog", "check --config /etc/default/imon-t"]
    {
        // As many as are open already to begin with, and up to where it runs.
        for most in [5, 8, 12, 16, 20] {
            let line = format!("ulimit -n {most}; exec {} {arguments}", program.display());
            let ended = lab.spawn("router", "sh", ["-c", &line]).finish(SOON);
            let said = format!("{arguments}, {most}: {}{}", ended.stdout(), ended.stderr());
            assert_eq!(ended.code(), 3, "{said}");
            assert!(
                said.contains(&format!("may have {most} open at a time: use 'ulimit -n 256'")),
                "{said}"
            );
            assert!(!said.contains("setcap") && !said.contains("Internal error"), "{said}");
            assert_eq!(kernel(&lab), Vec::<String>::new(), "{said}");
        }
    }
    let line = format!("ulimit -n 64; exec {} --instance t --nosyslog", program.display());
    wait_up(&lab.spawn("router", "sh", ["-c", &line]));
}

fn d7_what_is_missing_while_it_runs_is_named_and_the_rest_goes_on() {
    let lab = lab();
    lab.script("/run/lab/action", "#!/bin/sh\necho \"called for $3\"\n");
    let imon = start(&lab, &base(&[("global", json!({ "action": "/run/lab/action" }))]));
    wait_up(&imon);
    imon.wait_line(|line| line.contains("called for failover-primary"), SOON);
    lab.wait_until("the script has ended", SOON, || {
        lab.sh("router", "pgrep -x action || true").is_empty()
    });
    // As many as are open: not one more. Inside the lab the process has another number.
    let open = std::fs::read_dir(format!("/proc/{}/fd", imon.pid())).unwrap().count();
    lab.sh("router", &format!("prlimit --pid $(pgrep -xo imon) --nofile={open}:"));
    let took = pulled(&lab, &imon);
    assert!(took < BUSY, "{took:?}");
    imon.wait_line(
        |line| {
            line.contains("could not be run for failover-standby") && line.contains("LimitNOFILE=")
        },
        SOON,
    );
    lab.write(
        "/etc/default/imon-t",
        &base(&[("ping", json!({ "enable": true, "monitorip": "1.1.1.1" }))]).to_string(),
    );
    imon.signal(Signal::SIGHUP);
    imon.wait_line(|line| line.contains("is not taken over, the old configuration goes on"), SOON);
    lab.sh("router", "prlimit --pid $(pgrep -xo imon) --nofile=1024:");
    let mark = imon.mark();
    lab.heal(Fault::Carrier(Wan::One));
    imon.wait_line_from(mark, |line| line.contains("called for failover-primary"), SOON);
}

fn d7_memory_that_is_refused_is_no_fault_of_the_program() {
    let lab = lab();
    let config = |ping: Value| json!({ "ping": ping });
    let imon =
        start(&lab, &config(json!({ "enable": true, "interval": 1, "monitorip": "1.1.1.1" })));
    lab.wait_until("it runs", SOON, || !status(&lab, "t").is_null());
    // What it has it keeps, and there is no more.
    lab.sh("router", "prlimit --pid $(pgrep -xo imon) --as=1024:");
    let many: Vec<String> =
        (0..1000).map(|n| format!("198.19.{}.{}", n / 250, n % 250 + 1)).collect();
    lab.write(
        "/etc/default/imon-t",
        &config(json!({ "enable": true, "monitorip": many.join(",") })).to_string(),
    );
    imon.signal(Signal::SIGHUP);
    imon.wait_line(
        |line| line.contains("Cannot allocate memory: this process may have 1 KiB"),
        SOON,
    );
    imon.wait_line(|line| line.contains("is not taken over, the old configuration goes on"), SOON);
    assert!(imon.alive());
}
