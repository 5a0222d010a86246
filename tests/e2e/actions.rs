//! Action scripts: what they are given, what they may do, and that nothing they do harms
//! monitoring.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use imon_lab::roles::{Behaviour, Responder};
use imon_lab::{Lab, Proc, Signal};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::tools::{
    alive, both, calls, ping, processes, recorder, secs, started, stop, updown, wait_calls,
};
use crate::{SOON, lab, trials};

pub(crate) fn tests() -> Vec<Trial> {
    trials![
        b21_names_with_blanks_and_shell_characters_are_one_argument,
        the_second_argument_says_where_the_log_goes,
        a_script_without_an_interpreter_line_is_run_by_sh,
        a_script_starts_with_clean_descriptors_signals_and_group,
        the_environment_tells_the_whole_event,
        b20_a_script_that_hangs_is_killed_with_all_it_started,
        a_script_that_hangs_is_ended_though_none_is_configured_any_more,
        endless_output_disturbs_nothing,
        calls_of_one_monitor_keep_their_order_and_two_monitors_do_not_wait_for_each_other,
        what_a_full_queue_drops_is_said,
        a_failure_is_logged_with_its_last_line,
        a_script_killed_by_a_signal_is_a_failure,
        a_background_process_is_not_waited_for_and_its_output_still_passes,
        a_script_that_is_removed_is_an_error_until_it_is_back,
    ]
}

/// imon on the router as instance `t`, with its log on the terminal.
fn run(lab: &Lab, config: &str) -> Proc {
    let imon = lab.imon("router").instance("t", config).nosyslog().spawn();
    started(&imon);
    imon
}

/// The time between one request and the next to 1.1.1.1 that a responder saw, in milliseconds.
fn gaps(responder: &Responder) -> Vec<u64> {
    let at: Vec<u64> = responder.requests_to("1.1.1.1").iter().map(|r| r.at_ns).collect();
    at.windows(2).map(|w| (w[1] - w[0]) / 1_000_000).collect()
}

/// Probes every 0.1 s came every 0.1 s. One may be late, because tests that run beside this one
/// take the processor.
#[track_caller]
fn assert_undisturbed(lab: &Lab, responder: &Responder, at_least: usize) {
    let mut gaps = gaps(responder);
    assert!(gaps.len() >= at_least, "only {} probes\n{}", gaps.len(), lab.timeline());
    gaps.sort_unstable();
    let (median, longest) = (gaps[gaps.len() / 2], gaps[gaps.len() - 1]);
    assert!(
        (90..=110).contains(&median) && longest < 900,
        "median {median} ms, longest {longest} ms: {gaps:?}"
    );
}

fn b21_names_with_blanks_and_shell_characters_are_one_argument() {
    let lab = lab();
    let name = "my  net; $(touch pwned) `touch pwned` \"q\" 'a' $HOME * \\ -n é";
    let script = "/run/lab/my script; touch pwned";
    recorder(&lab, script, "");
    lab.write("/run/lab/t.json", &ping(json!({"action": script, "instance": name})));
    let imon = lab.imon("router").args(["--nosyslog", "--config", "/run/lab/t.json"]).spawn();
    let call = wait_calls(&lab, "ping", 1).swap_remove(0);
    assert_eq!(call.args[..3], [name, "1", "ping-result"]);
    assert!(call.args.len() == 4 && call.args[3].starts_with("1.1.1.1:True:"), "{:?}", call.args);
    assert_eq!(call.env["IMON_INSTANCE"], name);
    let event: Value = serde_json::from_str(&call.env["IMON_JSON"]).unwrap();
    assert_eq!(event["instance"], name);
    stop(&imon);
    let here = fs::read_link("/proc/self/cwd").unwrap().join("pwned");
    for place in [lab.path("/run/lab/pwned"), lab.path("/pwned"), here] {
        assert!(!place.exists(), "a shell ran the name: {}", place.display());
    }
}

fn the_second_argument_says_where_the_log_goes() {
    let lab = lab();
    let syslog = lab.syslog();
    let internet = lab.responder("inet");
    recorder(&lab, "/run/lab/action", "");
    let config = updown(json!({"action": "/run/lab/action"}));
    for (flag, second) in [(None, "0"), (Some("--nosyslog"), "1")] {
        let before = calls(&lab, "updown").len();
        internet.set("1.1.1.1", &Behaviour::normal());
        let imon = lab.imon("router").instance("t", &config).args(flag).spawn();
        let online = |text: &str| text.ends_with("Monitored IP 1.1.1.1 online");
        match flag {
            None => drop(syslog.wait(0, online, SOON)),
            Some(_) => drop(imon.wait_line(online, SOON)),
        }
        // The first "online" calls nobody.
        internet.set("1.1.1.1", &Behaviour::silent());
        assert_eq!(
            wait_calls(&lab, "updown", before + 1)[before].args,
            ["t", second, "updown-offline", "1.1.1.1"]
        );
        internet.set("1.1.1.1", &Behaviour::normal());
        let args = wait_calls(&lab, "updown", before + 2).swap_remove(before + 1).args;
        assert_eq!(
            (args.len(), &args[..4]),
            (5, ["t", second, "updown-online", "1.1.1.1"].map(str::to_owned).as_slice())
        );
        assert!(args[4].starts_with("0:0:0:") && args[4].len() <= 8, "{args:?}");
        stop(&imon);
    }
}

fn a_script_without_an_interpreter_line_is_run_by_sh() {
    let lab = lab();
    lab.script("/run/lab/plain", "echo \"$0 got $# and $3\"\n");
    let imon = run(&lab, &ping(json!({"action": "/run/lab/plain"})));
    imon.wait_line(|l| l == "/run/lab/plain got 4 and ping-result", SOON);
    stop(&imon);
}

fn a_script_starts_with_clean_descriptors_signals_and_group() {
    let lab = lab();
    let script = "#!/bin/sh
        echo fds: $(ls /proc/self/fd)
        echo input: $(wc -c)
        echo group: $(($$ == $(cut -d' ' -f5 /proc/$$/stat)))
        echo blocked: $(sed -n 's/SigBlk:.0*//p' /proc/self/status)
        echo ignored: $((0x$(sed -n 's/SigIgn:.*\\(.\\{8\\}\\)$/\\1/p' /proc/self/status) & 0x7fffffff))
        echo to stderr >&2\n";
    lab.script("/run/lab/action", script);
    lab.write("/etc/default/imon-t", &ping(json!({"action": "/run/lab/action"})));
    // imon itself is started carelessly: with open files, and with input that never comes.
    let careless = "mkfifo /run/lab/never; exec 0<>/run/lab/never 5</etc/hosts 7>/dev/null 9<>/run/lab/never; exec \"$@\"";
    let args = ["-c", careless, "sh", env!("CARGO_BIN_EXE_imon"), "--instance", "t", "--nosyslog"];
    let imon = lab.start("imon", &mut lab.command("router", "sh", args));
    // `ls` itself opens the folder that it lists. Signals 32 and up are the C library's.
    for line in ["fds: 0 1 2 3", "input: 0", "group: 1", "blocked:", "ignored: 0", "to stderr"] {
        imon.wait_line(|l| l == line, SOON);
    }
    stop(&imon);
}

fn the_environment_tells_the_whole_event() {
    let lab = lab();
    let internet = lab.responder("inet");
    recorder(&lab, "/run/lab/action", "");
    let imon = lab
        .imon("router")
        .instance("t", &both(json!({"action": "/run/lab/action", "password": "hunter2"})))
        .nosyslog()
        .env("NOTIFY_SOCKET", "/run/lab/nobody")
        .env("WATCHDOG_USEC", "5000000")
        .env("MY_OWN", "kept")
        .spawn();
    imon.wait_line(|l| l.ends_with("[t-updown] Monitored IP 1.1.1.1 online"), SOON);
    wait_calls(&lab, "ping", 1);
    internet.set("1.1.1.1", &Behaviour::silent());
    wait_calls(&lab, "updown", 1);
    internet.set("1.1.1.1", &Behaviour::normal());
    let updown = wait_calls(&lab, "updown", 2);
    stop(&imon);
    let ping = calls(&lab, "ping").swap_remove(0);
    let common = ["schema", "event", "monitor", "instance", "time", "target", "address"];
    let numbers = ["alive", "min_ms", "avg_ms", "max_ms", "loss", "jitter_ms"];
    for (call, event, monitor, own) in [
        (&ping, "ping-result", "ping", numbers.as_slice()),
        (&updown[0], "updown-offline", "updown", &["since", "reason"]),
        (&updown[1], "updown-online", "updown", &["since", "outage_seconds", "by_dns"]),
    ] {
        let env = |name: &str| call.env.get(name).map(String::as_str);
        assert_eq!((env("IMON_EVENT"), env("IMON_INSTANCE")), (Some(event), Some("t")));
        assert_eq!((env("IMON_MONITOR"), env("MY_OWN")), (Some(monitor), Some("kept")));
        for gone in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
            assert_eq!(env(gone), None, "a script must not speak for imon");
        }
        let time = env("IMON_TIME").expect("a time");
        assert!(
            time.len() == 24
                && time.starts_with("20")
                && time.ends_with('Z')
                && &time[10..11] == "T",
            "{time}"
        );
        let json: Value = serde_json::from_str(&call.env["IMON_JSON"]).unwrap();
        let keys: BTreeSet<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, common.iter().chain(own).copied().collect(), "{json}");
        let expected = json!({"schema": 1, "event": event, "monitor": monitor, "instance": "t", "time": time, "target": "1.1.1.1", "address": "1.1.1.1"});
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&json[key], value, "{key} of {json}");
        }
        assert!(!call.env["IMON_JSON"].contains("hunter2"));
    }
    let json = |i: usize| serde_json::from_str::<Value>(&updown[i].env["IMON_JSON"]).unwrap();
    assert_eq!(json(0)["since"], json(1)["since"], "one outage has one beginning");
    assert!(json(0)["reason"].as_str().is_some_and(|r| r.contains("no reply")), "{}", json(0));
    let lasted = json(1)["outage_seconds"].as_f64().unwrap();
    assert!((0.05..10.0).contains(&lasted) && json(1)["by_dns"] == false, "{}", json(1));
    // The numbers in the JSON are those of the argument.
    let json: Value = serde_json::from_str(&ping.env["IMON_JSON"]).unwrap();
    let python = |v: &Value| if v.is_boolean() { "True".to_owned() } else { v.to_string() };
    let numbers: Vec<String> = numbers.iter().map(|k| python(&json[k])).collect();
    assert_eq!(ping.args[3], format!("1.1.1.1:{}", numbers.join(":")));
}

/// Runs until a time limit of 1 s has ended it, whatever asks it to end.
const STUBBORN: &str = "#!/bin/sh
trap 'echo asked to end' TERM
(trap '' TERM; sleep 4321) &
sh -c 'trap \"\" TERM; sleep 4321; sleep 4321' &
echo working
while :; do wait; sleep 0.01; done\n";

fn b20_a_script_that_hangs_is_killed_with_all_it_started() {
    let lab = lab();
    let internet = lab.responder("inet");
    lab.script("/run/lab/action", STUBBORN);
    let config = json!({
        "global": {"action": "/run/lab/action", "action-timeout": 1},
        "updown": {"enable": true, "interval": 0.1, "pingwait": 0.05, "monitorip": "9.9.9.9"},
        "ping": {"enable": true, "interval": 0.1, "pingcount": 1, "pingwait": 0.05, "monitorip": "1.1.1.1"}
    });
    let imon = run(&lab, &config.to_string());
    imon.wait_line(|l| l.ends_with("Monitored IP 9.9.9.9 online"), SOON);
    internet.set("9.9.9.9", &Behaviour::silent());
    imon.wait_line(|l| l.ends_with("Monitored IP 9.9.9.9 offline"), SOON);
    lab.wait_until("the script and its children run", SOON, || {
        processes(&lab, "sleep 4321").len() >= 2
    });
    // Monitoring goes on while it hangs: the next change is noticed.
    let mark = imon.mark();
    internet.set("9.9.9.9", &Behaviour::normal());
    imon.wait_line_from(mark, |l| l.ends_with("Monitored IP 9.9.9.9 online"), SOON);
    for (text, what) in [
        ("did not end within 1 s for updown-offline: ending it", "its time is over"),
        ("asked to end", "it is asked first"),
        ("failed for updown-offline with signal 9: asked to end", "it is killed then"),
        ("did not end within 1 s for updown-online: ending it", "the next call is made"),
    ] {
        lab.note(what);
        imon.wait_line(|l| l.contains(text), SOON);
    }
    assert_undisturbed(&lab, &internet, 20);
    imon.signal(Signal::SIGTERM);
    assert_eq!(imon.wait(SOON).code(), Some(0));
    lab.wait_until("all that the scripts started is gone", SOON, || {
        processes(&lab, "sleep 4321").is_empty()
    });
}

fn a_script_that_hangs_is_ended_though_none_is_configured_any_more() {
    let lab = lab();
    let _internet = lab.responder("inet");
    lab.script("/run/lab/action", STUBBORN);
    let config = |action: &str| {
        json!({
            "global": {"action": action, "action-timeout": 2},
            "ping": {"enable": true, "interval": 1, "monitorip": "1.1.1.1"}
        })
    };
    let imon = run(&lab, &config("/run/lab/action").to_string());
    lab.wait_until("the script and its children run", SOON, || {
        processes(&lab, "sleep 4321").len() >= 2
    });
    lab.write("/etc/default/imon-t", &config("").to_string());
    imon.signal(Signal::SIGHUP);
    imon.wait_line(|l| l.ends_with("[t] Reloaded /etc/default/imon-t"), SOON);
    imon.wait_line(
        |l| l.contains("'/run/lab/action' did not end within 2 s for ping-result: ending it"),
        SOON,
    );
    imon.wait_line(|l| l.contains("'/run/lab/action' failed for ping-result with signal 9"), SOON);
    lab.wait_until("all that it started is gone", SOON, || {
        processes(&lab, "sleep 4321").is_empty()
    });
    stop(&imon);
}

fn endless_output_disturbs_nothing() {
    let lab = lab();
    let internet = lab.responder("inet");
    lab.script("/run/lab/action", "#!/bin/sh\nexec yes 'all work and no play'\n");
    let config = json!({
        "global": {"action": "/run/lab/action", "action-timeout": 1},
        "ping": {"enable": true, "interval": 0.1, "pingcount": 1, "pingwait": 0.05, "monitorip": "1.1.1.1"}
    });
    lab.write("/etc/default/imon-t", &config.to_string());
    let command = "exec \"$@\" --instance t --nosyslog >/run/lab/out";
    let imon = lab.start(
        "imon",
        &mut lab.command("router", "sh", ["-c", command, "sh", env!("CARGO_BIN_EXE_imon")]),
    );
    lab.wait_until("the script is ended", SOON, || {
        lab.read("/run/lab/out").contains("did not end within 1 s")
    });
    lab.wait_until("more probes", SOON, || internet.count() > 25);
    assert_undisturbed(&lab, &internet, 20);
    let usage = imon.usage();
    assert!(usage.anonymous_kib < 4096 && usage.threads == 1, "{usage:?}");
    stop(&imon);
    let out = lab.read("/run/lab/out");
    assert!(
        out.matches("all work and no play\n").count() > 1000,
        "the output passes: {} bytes",
        out.len()
    );
}

fn calls_of_one_monitor_keep_their_order_and_two_monitors_do_not_wait_for_each_other() {
    let lab = lab();
    let internet = lab.responder("inet");
    let wait = "case $3 in updown-*) while [ ! -e /run/lab/go ]; do sleep 0.02; done ;; esac";
    recorder(&lab, "/run/lab/action", wait);
    let imon = run(&lab, &both(json!({"action": "/run/lab/action"})));
    let mut mark = 0;
    for (behaviour, state) in [
        (Behaviour::normal(), "online"),
        (Behaviour::silent(), "offline"),
        (Behaviour::normal(), "online"),
        (Behaviour::silent(), "offline"),
    ] {
        internet.set("1.1.1.1", &behaviour);
        imon.wait_line_from(mark, |l| l.ends_with(&format!("Monitored IP 1.1.1.1 {state}")), SOON);
        mark = imon.mark();
    }
    let before = wait_calls(&lab, "updown", 1).len();
    let pings = calls(&lab, "ping").len();
    wait_calls(&lab, "ping", pings + 3);
    assert_eq!((before, calls(&lab, "updown").len()), (1, 1), "one call at a time");
    lab.write("/run/lab/go", "");
    let names: Vec<String> =
        wait_calls(&lab, "updown", 3).into_iter().map(|c| c.args[2].clone()).collect();
    assert_eq!(names, ["updown-offline", "updown-online", "updown-offline"]);
    stop(&imon);
}

fn what_a_full_queue_drops_is_said() {
    let lab = lab();
    let internet = lab.responder("inet");
    lab.script(
        "/run/lab/action",
        "#!/bin/sh\necho call\nwhile [ ! -e /run/lab/go ]; do sleep 0.05; done\n",
    );
    let mut config: Value =
        serde_json::from_str(&ping(json!({"action": "/run/lab/action"}))).unwrap();
    (config["ping"]["interval"], config["ping"]["pingcount"]) = (json!(0.1), json!(1));
    let imon = run(&lab, &config.to_string());
    let slow = "Action script '/run/lab/action' is too slow: a call for ping-result is dropped";
    imon.wait_line(|l| l.ends_with(slow), secs(30));
    let dropping = internet.count();
    assert!((60..=100).contains(&dropping), "the queue holds 65: {dropping}");
    lab.wait_until("some more are dropped", SOON, || internet.count() > dropping + 3);
    lab.write("/run/lab/go", "");
    let caught_up = imon.wait_line(|l| l.contains("has caught up; "), secs(30)).text;
    let after = caught_up.split("caught up; ").nth(1).expect("a number");
    let dropped: usize = after.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
    stop(&imon);
    let lines = imon.texts();
    let made = lines.iter().filter(|l| *l == "call").count();
    let checks = internet.count();
    assert!(dropped >= 3, "{caught_up}");
    assert!(
        made + dropped <= checks && made + dropped + 2 >= checks,
        "{made} made, {dropped} dropped, {checks} checks"
    );
    assert_eq!(lines.iter().filter(|l| l.ends_with(slow)).count(), 1, "it is said once");
}

fn a_failure_is_logged_with_its_last_line() {
    let lab = lab();
    let syslog = lab.syslog();
    lab.script("/run/lab/action", "#!/bin/sh\necho one\nprintf 'two\\t\\033[31m' >&2\nexit 7\n");
    let config = ping(json!({"action": "/run/lab/action"}));
    // To the terminal as it is, as V2.99 did, but for control characters.
    let imon = run(&lab, &config);
    imon.wait_line(|l| l == "one", SOON);
    imon.wait_line(|l| l == "two\t\\u{1b}[31m", SOON);
    let failed = "Action script '/run/lab/action' failed for ping-result with exit status 7: two\\t\\u{1b}[31m";
    imon.wait_line(|l| l.ends_with(&format!("[t] {failed}")), SOON);
    stop(&imon);
    // To the system log at debug severity; the failure is a warning.
    let imon = lab.imon("router").args(["--instance", "t"]).spawn();
    syslog.wait(0, |m| m.starts_with("<31>") && m.ends_with("imon [t] ping-result: one"), SOON);
    syslog.wait(
        0,
        |m| m.starts_with("<31>") && m.ends_with("imon [t] ping-result: two\\t\\u{1b}[31m"),
        SOON,
    );
    syslog.wait(0, |m| m.starts_with("<28>") && m.ends_with(failed), SOON);
    stop(&imon);
    assert!(imon.texts().is_empty(), "nothing on the terminal: {:#?}", imon.texts());
}

fn a_script_killed_by_a_signal_is_a_failure() {
    let lab = lab();
    lab.script("/run/lab/action", "#!/bin/sh\nkill -9 $$\n");
    let imon = run(&lab, &ping(json!({"action": "/run/lab/action"})));
    imon.wait_line(
        |l| l.ends_with("[t] Action script '/run/lab/action' failed for ping-result with signal 9"),
        SOON,
    );
    lab.wait_until("it is counted", SOON, || lab.read("/run/imon/t.json").contains("\"failed\":"));
    stop(&imon);
}

fn a_background_process_is_not_waited_for_and_its_output_still_passes() {
    let lab = lab();
    let script = "#!/bin/sh
        [ -e /run/lab/done ] && exit; : >/run/lab/done
        (while [ ! -e /run/lab/go ]; do sleep 0.02; done; echo later; exec sleep 7654) &\n";
    lab.script("/run/lab/action", script);
    let imon = run(&lab, &ping(json!({"action": "/run/lab/action"})));
    lab.wait_until("the script has ended", SOON, || {
        Path::new(&lab.path("/run/lab/done")).exists() && imon.usage().children.is_empty()
    });
    lab.write("/run/lab/go", "");
    imon.wait_line(|l| l == "later", SOON);
    lab.wait_until("it runs on", SOON, || !processes(&lab, "sleep 7654").is_empty());
    let left = processes(&lab, "sleep 7654");
    stop(&imon);
    // A service that a script has restarted is not imon's to end.
    assert!(left.iter().all(|pid| alive(*pid)));
    assert!(!imon.texts().iter().any(|l| l.contains("failed")), "{:#?}", imon.texts());
}

fn a_script_that_is_removed_is_an_error_until_it_is_back() {
    let lab = lab();
    recorder(&lab, "/run/lab/action", "");
    let imon = run(&lab, &ping(json!({"action": "/run/lab/action"})));
    wait_calls(&lab, "ping", 1);
    fs::rename(lab.path("/run/lab/action"), lab.path("/run/lab/away")).unwrap();
    let gone = "[t] Action script '/run/lab/action' could not be run for ping-result: No such file or directory";
    imon.wait_line(|l| l.ends_with(gone), SOON);
    fs::rename(lab.path("/run/lab/away"), lab.path("/run/lab/action")).unwrap();
    let before = calls(&lab, "ping").len();
    wait_calls(&lab, "ping", before + 2);
    // A reload, on the other hand, tells at once that there is no such script, and changes nothing.
    fs::rename(lab.path("/run/lab/action"), lab.path("/run/lab/away")).unwrap();
    imon.signal(Signal::SIGHUP);
    imon.wait_line(|l| l.contains("[t] ? Action script '/run/lab/action' not found"), SOON);
    imon.wait_line(|l| l.ends_with("is not taken over, the old configuration goes on"), SOON);
    stop(&imon);
}
