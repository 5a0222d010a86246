//! Files: a disk that stalls, fills up or dies keeps nothing else from its work, nothing is lost by
//! it, and what somebody has laid in the place of a file of ours is neither followed nor written
//! to.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use imon_lab::roles::{Dns, Http};
use imon_lab::{Fault, Lab, Proc, Signal, Wan};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::{calls, recorder, said, status, wait_lines};
use crate::{SOON, public_lab, trials};

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = trials![
        d3_a_disk_that_stalls_at_any_call_stops_nothing,
        d3_imon_itself_changes_no_file,
        d3_what_a_killed_imon_was_writing_is_finished_and_never_replaces_what_is_newer,
        d3_a_stop_waits_two_seconds_for_a_disk_and_names_what_is_lost,
        d3_a_writer_that_hangs_takes_little_memory,
        d4_a_full_disk_is_told_once_and_written_to_when_it_has_room,
        d4_the_last_try_is_at_the_stop,
        s2_what_lies_in_the_place_of_a_state_file_is_left_alone,
        s2_what_lies_in_the_place_of_a_lock_or_status_is_left_alone,
        s2_a_temporary_file_of_configure_is_not_followed,
    ];
    // Loop devices are for root alone; all else here works in a user namespace.
    let root = fs::OpenOptions::new().write(true).open("/dev/loop-control").is_ok();
    let frozen = trials![d3_a_frozen_file_system_stops_nothing_and_the_address_is_published];
    tests.extend(frozen.into_iter().map(|trial| trial.with_ignored_flag(!root)));
    tests
}

const STATE: &str = "/var/lib/imon/t.ddns.json";

/// A lab with a provider of each kind.
fn world() -> (Lab, Http, Dns) {
    let lab = public_lab();
    let (http, dns) = (lab.http(), lab.dns());
    (lab, http, dns)
}

fn ddns(lab: &Lab) -> Value {
    json!({
        "global": { "action": recorder(lab) },
        "ddns": { "enable": true, "sources": ["http://198.18.0.80/", "dns:opendns", "dns:google"] },
    })
}

fn with_failover(lab: &Lab) -> Value {
    let mut config = ddns(lab);
    config["failover"] = json!({
        "enable": true, "interval": 0.5, "pingcount": 1, "pingwait": 0.4, "prefer-primary": true, "hold-down": 0,
        "primary-if": "wan1", "primary-gw": "192.168.42.1", "standby-if": "wan2", "standby-gw": "192.168.62.1",
    });
    config
}

fn start(lab: &Lab, config: &Value) -> Proc {
    lab.imon("router").instance("t", &config.to_string()).nosyslog().spawn()
}

fn stop(imon: &Proc) {
    imon.signal(Signal::SIGTERM);
    imon.wait(SOON);
}

fn wait_saved(lab: &Lab, address: &str) {
    let wanted = format!("\"published\":\"{address}\"");
    lab.wait_until(&format!("{address} is saved"), SOON * 2, || lab.read(STATE).contains(&wanted));
}

/// The number of the oldest imon in the lab.
fn pid(lab: &Lab) -> String {
    lab.sh("router", "pgrep -xo imon").trim().to_owned()
}

/// The address becomes another one, which is found out at once.
fn move_to(lab: &Lab, imon: &Proc, address: &str) {
    lab.public_address(Wan::One, address);
    imon.signal(Signal::SIGUSR1);
}

fn writers(lab: &Lab) -> String {
    lab.sh("router", "pgrep -f 'imon file-write[r]' || true").trim().to_owned()
}

/// Waits until a writer hangs: the same one is there for a while.
fn wait_hangs(lab: &Lab) -> String {
    let mut seen = (String::new(), Instant::now());
    lab.wait_until("a writer hangs", SOON, || {
        let now = writers(lab);
        if now != seen.0 {
            seen = (now, Instant::now());
        }
        !seen.0.is_empty() && seen.1.elapsed() > Duration::from_millis(700)
    });
    seen.0
}

/// These calls of imon and of all that it starts take so long.
struct Slow(Proc);

impl Slow {
    fn new(lab: &Lab, what: &str, seconds: u32) -> Self {
        let line = format!(
            "exec strace -f -qq -e trace={what} -e inject={what}:delay_enter={seconds}000000 -o /dev/null -p {}",
            pid(lab)
        );
        let strace = lab.spawn("router", "sh", ["-c", &line]);
        let traced = format!("grep TracerPid /proc/{}/status", pid(lab));
        lab.wait_until("strace is attached", SOON, || {
            !lab.sh("router", &traced).trim().ends_with("\t0")
        });
        Self(strace)
    }

    /// All goes on at once.
    fn end(self) {
        self.0.signal(Signal::SIGKILL);
        self.0.wait(SOON);
    }
}

fn wait_active(imon: &Proc, mark: usize, wan: &str) {
    let wanted = format!("Route '{wan}' is active");
    imon.wait_line_from(mark, |line| line.contains(&wanted), SOON);
}

/// Pulls the first cable; returns how long the switch took. Then the cable is back.
fn pull(lab: &Lab, imon: &Proc) -> Duration {
    let mark = imon.mark();
    let since = lab.fault(Fault::Carrier(Wan::One));
    wait_active(imon, mark, "wan2");
    let took = since.elapsed();
    let mark = imon.mark();
    lab.heal(Fault::Carrier(Wan::One));
    wait_active(imon, mark, "wan1");
    took
}

fn d3_a_disk_that_stalls_at_any_call_stops_nothing() {
    let (lab, _http, _dns) = world();
    let imon = start(&lab, &with_failover(&lab));
    wait_saved(&lab, "203.0.113.1");
    imon.wait_line(|line| line.contains("Initial State for Standby"), SOON);
    let stalls = [
        "fsync",
        "rename,renameat,renameat2",
        "unlink,unlinkat",
        "mkdir,mkdirat",
        "flock",
        "ftruncate",
        "getdents64",
    ];
    for (n, calls) in stalls.into_iter().enumerate() {
        let slow = Slow::new(&lab, calls, 8);
        let address = format!("203.0.113.{}", 100 + n);
        move_to(&lab, &imon, &address);
        wait_hangs(&lab);
        let took = pull(&lab, &imon);
        // strace stands in the way, and other tests.
        assert!(took < Duration::from_secs(3), "{calls}: switched after {took:?}");
        slow.end();
        wait_saved(&lab, &address);
    }
    stop(&imon);
}

/// From its start to its end imon opens nothing to write to it, and moves and removes nothing, but
/// for the locks.
fn d3_imon_itself_changes_no_file() {
    let (lab, _http, _dns) = world();
    let config = with_failover(&lab);
    lab.write("/etc/default/imon-t", &config.to_string());
    let program = lab.imon_program();
    let line = format!(
        "exec strace -qq -o /run/lab/trace -e trace=%file,fsync,fdatasync {} --instance t --nosyslog",
        program.display()
    );
    let imon = lab.spawn("router", "sh", ["-c", &line]);
    wait_saved(&lab, "203.0.113.1");
    imon.wait_line(|line| line.contains("Initial State for Standby"), SOON);
    let tell = |signal: &str| lab.sh("router", &format!("kill -{signal} {}", pid(&lab)));
    lab.public_address(Wan::One, "203.0.113.77");
    tell("USR1");
    wait_saved(&lab, "203.0.113.77");
    pull(&lab, &imon);
    lab.write(
        "/etc/default/imon-t",
        &json!({ "ping": { "enable": true, "monitorip": "1.1.1.1" } }).to_string(),
    );
    tell("HUP");
    imon.wait_line(|line| line.contains("Reloaded"), SOON);
    lab.write("/etc/default/imon-t", &config.to_string());
    let mark = imon.mark();
    tell("HUP");
    imon.wait_line_from(mark, |line| line.contains("Reloaded"), SOON);
    tell("TERM");
    imon.wait(SOON);
    let trace = lab.read("/run/lab/trace");
    assert!(
        trace.contains("/var/lib/imon") && trace.contains("O_CREAT"),
        "the trace shows what is looked for"
    );
    let changes =
        ["O_CREAT", "O_WRONLY", "O_RDWR", "O_TRUNC", "rename", "unlink", "sync(", "mkdir"];
    let ours = ["/run/imon/t.lock", "/run/imon/devices", "\"/run/imon\"", "/dev/null"];
    let found: Vec<&str> = trace
        .lines()
        .filter(|line| {
            changes.iter().any(|change| line.contains(change))
                && !ours.iter().any(|it| line.contains(it))
        })
        .collect();
    assert!(found.is_empty(), "{found:#?}");
    assert!(!lab.path("/run/imon/t.json").exists());
}

fn d3_what_a_killed_imon_was_writing_is_finished_and_never_replaces_what_is_newer() {
    let (lab, _http, _dns) = world();
    let config = ddns(&lab);
    for (n, calls) in ["fsync", "rename,renameat,renameat2"].into_iter().enumerate() {
        let imon = start(&lab, &config);
        let old = format!("203.0.113.{}", 110 + n);
        lab.wait_until("it runs", SOON, || !status(&lab, "t").is_null());
        lab.wait_until("all is written", SOON, || writers(&lab).is_empty());
        // Nobody else comes: what hangs is finished all the same.
        let slow = Slow::new(&lab, calls, 4);
        move_to(&lab, &imon, &old);
        wait_hangs(&lab);
        imon.signal(Signal::SIGKILL);
        imon.wait(SOON);
        lab.wait_until("the writer has finished", SOON * 2, || writers(&lab).is_empty());
        slow.0.wait(SOON);
        // Another one comes while it hangs, and has something newer.
        let imon = start(&lab, &config);
        lab.wait_until("it runs", SOON, || !status(&lab, "t").is_null());
        wait_saved(&lab, &old);
        lab.wait_until("all is written", SOON, || writers(&lab).is_empty());
        let slow = Slow::new(&lab, calls, 6);
        move_to(&lab, &imon, &format!("203.0.113.{}", 120 + n));
        let hangs = wait_hangs(&lab);
        imon.signal(Signal::SIGKILL);
        imon.wait(SOON);
        let newest = format!("203.0.113.{}", 130 + n);
        lab.public_address(Wan::One, &newest);
        let imon = start(&lab, &config);
        wait_saved(&lab, &newest);
        lab.wait_until("the old writer has ended", SOON * 2, || {
            !writers(&lab).lines().any(|it| hangs.contains(it))
        });
        slow.0.wait(SOON);
        stop(&imon);
        assert!(
            lab.read(STATE).contains(&format!("\"published\":\"{newest}\"")),
            "{calls}: {}",
            lab.read(STATE)
        );
        assert_eq!(
            lab.sh("router", "ls -A /var/lib/imon").trim(),
            "t.ddns.json",
            "{calls}: nothing else is left"
        );
    }
}

fn d3_a_stop_waits_two_seconds_for_a_disk_and_names_what_is_lost() {
    let (lab, _http, _dns) = world();
    let imon = start(&lab, &ddns(&lab));
    wait_saved(&lab, "203.0.113.1");
    let slow = Slow::new(&lab, "fsync", 20);
    move_to(&lab, &imon, "203.0.113.77");
    wait_hangs(&lab);
    let since = Instant::now();
    imon.signal(Signal::SIGTERM);
    assert!(imon.wait(SOON).success());
    let took = since.elapsed();
    assert!((Duration::from_millis(1500)..Duration::from_secs(6)).contains(&took), "{took:?}");
    assert!(
        said(&imon).iter().any(|line| line.contains("not written") && line.contains(STATE)),
        "{:?}",
        said(&imon)
    );
    slow.end();
}

fn d3_a_writer_that_hangs_takes_little_memory() {
    let (lab, _http, _dns) = world();
    let imon = start(&lab, &ddns(&lab));
    wait_saved(&lab, "203.0.113.1");
    let slow = Slow::new(&lab, "fsync", 20);
    move_to(&lab, &imon, "203.0.113.77");
    let writer = wait_hangs(&lab);
    let sum =
        format!("awk '/^Private_Dirty/ {{ sum += $2 }} END {{ print sum }}' /proc/{writer}/smaps");
    let dirty: u64 = lab.sh("router", &sum).trim().parse().unwrap();
    println!("a writer that hangs: {dirty} KiB are its own");
    // Of this build, which the dynamic linker has relocated: the static binary needs less.
    assert!(dirty <= 450, "{dirty} KiB");
    slow.end();
    stop(&imon);
}

fn d3_a_frozen_file_system_stops_nothing_and_the_address_is_published() {
    /// Thaws it again, whatever becomes of the test: what waits for a frozen file system cannot
    /// even be killed.
    struct Frozen<'a>(&'a Lab);
    impl Drop for Frozen<'_> {
        fn drop(&mut self) {
            let _ = self.0.command("router", "fsfreeze", ["-u", "/var/lib/imon"]).output();
        }
    }
    let (lab, _http, _dns) = world();
    lab.sh(
        "router",
        "mkdir -p /var/lib/imon; dd if=/dev/zero of=/run/lab/disk bs=1M count=8 status=none; mkfs.ext4 -q /run/lab/disk; \
         nsenter -t 1 -m sh -c 'mount -o loop /run/lab/disk /var/lib/imon; rmdir /var/lib/imon/lost+found'",
    );
    let config = with_failover(&lab);
    let imon = start(&lab, &config);
    wait_saved(&lab, "203.0.113.1");
    imon.wait_line(|line| line.contains("Initial State for Standby"), SOON);
    let told = |address: &str| {
        calls(&lab).iter().filter(|call| call.argv.get(4).is_some_and(|a| a == address)).count()
    };
    let frozen = Frozen(&lab);
    lab.sh("router", "fsfreeze -f /var/lib/imon");
    move_to(&lab, &imon, "203.0.113.77");
    wait_hangs(&lab);
    let took = pull(&lab, &imon);
    assert!(took < Duration::from_secs(3), "switched after {took:?}");
    // It is told in the end, though the disk is as good as dead.
    lab.wait_until("the address is published", Duration::from_secs(60), || {
        told("203.0.113.77") > 0
    });
    wait_lines(&lab, &imon, "does not answer", 1);
    // Another one works beside the writer that still hangs.
    imon.signal(Signal::SIGKILL);
    imon.wait(SOON);
    let imon = start(&lab, &config);
    wait_active(&imon, 0, "wan1");
    let took = pull(&lab, &imon);
    assert!(took < Duration::from_secs(3), "switched after {took:?}");
    drop(frozen);
    wait_saved(&lab, "203.0.113.77");
    lab.wait_until("all is written", SOON, || writers(&lab).is_empty());
    wait_saved(&lab, "203.0.113.77");
    stop(&imon);
    let left = lab.sh("router", "ls -A /var/lib/imon");
    assert_eq!(left.trim(), "t.ddns.json", "nothing else is left");
}

/// A state directory with little room.
fn small_disk(lab: &Lab) {
    // In the lab's own mount namespace, of which each command gets a copy.
    lab.sh(
        "router",
        "mkdir -p /var/lib/imon; nsenter -t 1 -m mount -t tmpfs -o size=64k tmpfs /var/lib/imon",
    );
}

fn fill(lab: &Lab) {
    lab.sh("router", "dd if=/dev/zero of=/var/lib/imon/filler bs=1k 2>/dev/null || true");
}

fn d4_a_full_disk_is_told_once_and_written_to_when_it_has_room() {
    let (lab, _http, _dns) = world();
    small_disk(&lab);
    let config = ddns(&lab);
    let imon = start(&lab, &config);
    wait_saved(&lab, "203.0.113.1");
    fill(&lab);
    move_to(&lab, &imon, "203.0.113.77");
    wait_lines(
        &lab,
        &imon,
        "t.ddns.json cannot be written, tried again: No space left on device",
        1,
    );
    // Twice and three times it is tried again, and the address is told meanwhile.
    lab.wait_until("the script is called", SOON, || calls(&lab).len() == 2);
    lab.sh("router", "sleep 2; rm /var/lib/imon/filler");
    wait_lines(&lab, &imon, "t.ddns.json is written again", 1);
    wait_saved(&lab, "203.0.113.77");
    let cannot = said(&imon).iter().filter(|line| line.contains("cannot be written")).count();
    assert_eq!(cannot, 1, "{:?}", said(&imon));
    stop(&imon);
    // And so nobody is told twice.
    let imon = start(&lab, &config);
    lab.wait_until("it is known", SOON, || {
        status(&lab, "t")["monitors"]["ddns"]["addresses"][0]["state"] == "known"
    });
    stop(&imon);
    assert_eq!(calls(&lab).len(), 2);
    assert_eq!(
        lab.sh("router", "ls -A /var/lib/imon").trim(),
        "t.ddns.json",
        "nothing else is left"
    );
}

fn d4_the_last_try_is_at_the_stop() {
    let (lab, _http, _dns) = world();
    small_disk(&lab);
    let imon = start(&lab, &ddns(&lab));
    wait_saved(&lab, "203.0.113.1");
    fill(&lab);
    move_to(&lab, &imon, "203.0.113.77");
    lab.wait_until("the script is called", SOON, || calls(&lab).len() == 2);
    wait_lines(&lab, &imon, "cannot be written, tried again", 1);
    // The pauses have grown by now: the stop does not wait for the next one.
    lab.sh("router", "sleep 4; rm /var/lib/imon/filler");
    stop(&imon);
    assert!(lab.read(STATE).contains("\"published\":\"203.0.113.77\""), "{}", lab.read(STATE));
    // One that stays full is named.
    let imon = start(&lab, &ddns(&lab));
    fill(&lab);
    move_to(&lab, &imon, "203.0.113.78");
    lab.wait_until("the script is called", SOON, || calls(&lab).len() == 3);
    wait_lines(&lab, &imon, "cannot be written, tried again", 1);
    stop(&imon);
    assert!(
        said(&imon).iter().any(|line| line.contains("not written") && line.contains(STATE)),
        "{:?}",
        said(&imon)
    );
}

/// Files of others, on the same file systems as ours.
const PRECIOUS: [&str; 2] = ["/run/precious", "/var/lib/precious"];

/// What may lie in the place of a file, as a shell command with `$p` for its path and `$v` for a
/// file of somebody else's.
const TRAPS: [(&str, &str); 5] = [
    ("a symbolic link", "ln -s $v $p"),
    ("a symbolic link to nothing", "ln -s $v.new $p"),
    ("a hard link", "ln $v $p"),
    ("a pipe", "mkfifo $p"),
    ("a directory", "mkdir $p"),
];

/// Lays a trap at each of these places.
fn lay(lab: &Lab, trap: &str, places: &[String]) {
    let [run, lib] = PRECIOUS;
    let mut lines =
        format!("set -e; for v in {run} {lib}; do echo precious >$v; chmod 644 $v; done\n");
    for place in places {
        let victim = if place.starts_with("/run/") { run } else { lib };
        lines += &format!("p={place} v={victim}; mkdir -p $(dirname $p); rm -rf $p; {trap}\n");
    }
    lab.sh("router", &lines);
}

#[track_caller]
fn assert_untouched(lab: &Lab, what: &str) {
    for victim in PRECIOUS {
        assert_eq!(lab.read(victim), "precious\n", "{what}");
        let mode = fs::metadata(lab.path(victim)).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o644, "{what}");
        assert!(!lab.path(&format!("{victim}.new")).exists(), "{what}: a file was made elsewhere");
    }
}

/// The record of the action script, see daemon/web.rs.
fn record() -> String {
    let hash = "4//action script"
        .bytes()
        .fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    format!("/var/lib/imon/t.ddns.{hash:08x}.try")
}

fn s2_what_lies_in_the_place_of_a_state_file_is_left_alone() {
    for (what, trap) in TRAPS {
        let (lab, _http, _dns) = world();
        let file = |name: &str| format!("/var/lib/imon/{name}");
        // A name of V3.0's, and the record: both are worked around.
        lay(&lab, trap, &[file(".t.ddns.new"), file(".t.ddns.json.1.new"), record()]);
        let imon = start(&lab, &ddns(&lab));
        wait_saved(&lab, "203.0.113.1");
        lab.wait_until("the script is called", SOON, || calls(&lab).len() == 1);
        stop(&imon);
        assert_untouched(&lab, what);
        // The state itself, and the place of a damaged one.
        lay(&lab, trap, &[file("t.ddns.json"), file("t.ddns.json.damaged")]);
        let imon = start(&lab, &ddns(&lab));
        lab.wait_until("the script is called", SOON, || calls(&lab).len() == 2);
        let kept = lab.path(STATE);
        if what == "a directory" {
            wait_lines(&lab, &imon, "t.ddns.json cannot be ", 1);
        } else {
            lab.wait_until("it is a file of ours", SOON, || {
                fs::symlink_metadata(&kept)
                    .is_ok_and(|it| it.is_file() && it.nlink() == 1 && it.mode() & 0o777 == 0o600)
            });
        }
        stop(&imon);
        assert_untouched(&lab, what);
    }
}

fn s2_what_lies_in_the_place_of_a_lock_or_status_is_left_alone() {
    let file = |name: &str| format!("/run/imon/{name}");
    for (what, trap) in TRAPS {
        let (lab, _http, _dns) = world();
        let config = with_failover(&lab);
        lay(&lab, trap, &[file("t.json"), file(".t.json.new"), file(".t.json.1.new")]);
        let imon = start(&lab, &config);
        if what == "a directory" {
            wait_lines(&lab, &imon, "/run/imon/t.json cannot be written", 1);
        } else {
            lab.wait_until("the status is there", SOON, || {
                fs::symlink_metadata(lab.path("/run/imon/t.json"))
                    .is_ok_and(|it| it.is_file() && it.nlink() == 1)
            });
        }
        stop(&imon);
        assert_untouched(&lab, what);
        lay(&lab, trap, &[file("t.lock")]);
        let imon = start(&lab, &config);
        wait_lines(&lab, &imon, "No status file and no lock: /run/imon/t.lock cannot be used: ", 1);
        wait_active(&imon, 0, "wan1");
        stop(&imon);
        assert_untouched(&lab, what);
        lab.sh("router", "rm -rf /run/imon/t.lock");
        // Of interfaces: another's, which is only looked at, and our own.
        lay(&lab, trap, &[file("devices/wan9"), file("devices/wan1")]);
        let imon = start(&lab, &config);
        wait_active(&imon, 0, "wan1");
        stop(&imon);
        assert_untouched(&lab, what);
    }
}

fn s2_a_temporary_file_of_configure_is_not_followed() {
    let (lab, _http, _dns) = world();
    lay(&lab, "", &[]);
    lab.write(
        "/etc/default/imon-t",
        "{ \"ping\": { \"enable\": true, \"monitorip\": \"1.1.1.1\" } }\n",
    );
    // A link for each number that its process may have, and for the copy of the old file.
    let links = "cd /etc/default; for n in $(seq 1 2000); do echo imon-t.$n.new; done | \
                 xargs -n 1 ln -s /run/precious; ln -s /run/precious imon-t.bak";
    lab.sh("router", links);
    let set = lab
        .imon("router")
        .args(["configure", "--instance", "t", "--set", "ping.interval=7"])
        .run(SOON);
    assert_eq!(set.code(), 0, "{}", set.stderr());
    assert!(lab.read("/etc/default/imon-t").contains('7'));
    assert!(
        lab.read("/etc/default/imon-t.bak").contains("1.1.1.1"),
        "the copy is a file of its own"
    );
    assert_untouched(&lab, "configure");
}
