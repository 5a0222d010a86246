//! Programs in the lab.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use imon_lab::{Lab, Signal, children};
use libtest_mimic::Trial;

pub(crate) fn tests() -> Vec<Trial> {
    crate::trials![
        a_process_has_its_real_pid_output_and_end,
        signals_reach_the_program_itself,
        signals_are_not_ignored_because_the_test_ignores_them,
        a_stopped_program_goes_on,
        a_dropped_process_is_gone,
        the_program_under_test_gets_its_configuration,
        what_a_program_costs_can_be_read,
        a_wait_in_vain_shows_the_timeline,
    ]
}

const SOON: Duration = Duration::from_secs(30);

fn a_process_has_its_real_pid_output_and_end() {
    let lab = Lab::new();
    let proc =
        lab.spawn("router", "sh", ["-c", "echo one; echo two >&2; sleep 0.05; echo three; exit 7"]);
    let status = fs::read_to_string(format!("/proc/{}/status", proc.pid())).unwrap();
    assert!(status.starts_with("Name:\tsh\n"), "{status}");
    let three = proc.wait_line(|l| l == "three", SOON);
    let one = proc.wait_line(|l| l == "one", SOON);
    assert!(one.at < three.at && three.at <= Instant::now());
    assert_eq!(proc.wait(SOON).code(), Some(7));
    assert_eq!(proc.lines().len(), 3);
    assert!(!proc.alive());
}

fn signals_reach_the_program_itself() {
    let lab = Lab::new();
    let script = "trap 'echo got it; exit 3' TERM; echo ready; while :; do sleep 0.01; done";
    let proc = lab.spawn("router", "sh", ["-c", script]);
    proc.wait_line(|l| l == "ready", SOON);
    proc.signal(Signal::SIGTERM);
    assert_eq!(proc.wait(SOON).code(), Some(3));
    proc.wait_line(|l| l == "got it", SOON);
    let proc = lab.spawn("router", "sleep", ["1000"]);
    proc.signal(Signal::SIGINT);
    assert_eq!(proc.wait(SOON).signal(), Some(Signal::SIGINT as i32));
}

/// As after `cargo test &` in a script.
fn signals_are_not_ignored_because_the_test_ignores_them() {
    let this = std::env::current_exe().unwrap();
    let command = "trap '' HUP INT QUIT; exec \"$0\" --client signals";
    let run = Command::new("sh").args(["-c", command]).arg(this).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&run.stdout), "ignored by the test 7, by the program 0\n");
}

fn a_stopped_program_goes_on() {
    let lab = Lab::new();
    let proc = lab.spawn(
        "router",
        "sh",
        ["-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.005; done"],
    );
    proc.wait_line(|l| l == "2", SOON);
    proc.signal(Signal::SIGSTOP);
    let state = || {
        fs::read_to_string(format!("/proc/{}/stat", proc.pid()))
            .unwrap()
            .split(' ')
            .nth(2)
            .map(str::to_owned)
    };
    lab.wait_until("it has stopped", SOON, || state().as_deref() == Some("T"));
    let mark = proc.mark();
    proc.signal(Signal::SIGCONT);
    proc.wait_line_from(mark, |_| true, SOON);
    proc.signal(Signal::SIGSTOP);
    proc.signal(Signal::SIGKILL);
    assert_eq!(proc.wait(SOON).signal(), Some(Signal::SIGKILL as i32));
}

fn a_dropped_process_is_gone() {
    let lab = Lab::new();
    let proc = lab.spawn("router", "sleep", ["1000"]);
    let pid = proc.pid();
    assert!(fs::exists(format!("/proc/{pid}")).unwrap());
    drop(proc);
    assert!(!fs::exists(format!("/proc/{pid}")).unwrap());
}

fn the_program_under_test_gets_its_configuration() {
    let lab = Lab::builder().imon("/bin/sh").up();
    lab.script(
        "/run/lab/show",
        "#!/bin/sh\necho \"$FLAVOUR $*\"; cat \"/etc/default/imon-$3\"; echo oops >&2; exit 1\n",
    );
    let imon = lab.imon("router").arg("/run/lab/show").instance("my lab", "{ 1 }\n").nosyslog();
    let ended = imon.env("FLAVOUR", "sweet").run(SOON);
    assert_eq!(ended.stdout(), "sweet --instance my lab --nosyslog\n");
    let imon = lab.imon("router").arg("/run/lab/show").arg("x").instance("a", "{ 1 }\n").nosyslog();
    let ended = imon.env_remove("FLAVOUR").run(SOON);
    assert_eq!((ended.code(), ended.stderr().lines().last()), (1, Some("oops")));
    assert_eq!(lab.read("/etc/default/imon-my lab"), "{ 1 }\n");
    assert!(!fs::exists("/etc/default/imon-my lab").unwrap(), "the machine's own /etc is another");
}

fn what_a_program_costs_can_be_read() {
    let lab = Lab::new();
    let proc = lab.spawn(
        "router",
        "sh",
        ["-c", "sleep 1000 & echo ready; i=0; while :; do i=$((i+1)); done"],
    );
    proc.wait_line(|l| l == "ready", SOON);
    let before = proc.usage();
    lab.wait_until("it has used 20 ms of the processor", SOON, || {
        proc.usage().cpu > before.cpu + Duration::from_millis(20)
    });
    assert_eq!((before.threads, before.children.len()), (1, 1), "{before:?}");
    assert_eq!(before.children, children(proc.pid()));
    assert!(before.descriptors >= 3 && before.rss_kib > before.anonymous_kib, "{before:?}");
}

fn a_wait_in_vain_shows_the_timeline() {
    let lab = Lab::new();
    let proc = lab.spawn("router", "sh", ["-c", "echo something else; sleep 1000"]);
    proc.wait_line(|_| true, SOON);
    let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        proc.wait_line(|l| l == "never", Duration::from_millis(10));
    }));
    let said = waited.unwrap_err().downcast::<String>().unwrap();
    assert!(said.contains("something else") && said.contains("the lab is up"), "{said}");
}
