//! Nothing is left behind, whoever runs it and however it ends.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use imon_lab::{Lab, NAMESPACES};
use libtest_mimic::Trial;

pub(crate) fn tests() -> Vec<Trial> {
    crate::trials![
        nothing_is_left_when_a_lab_is_dropped,
        nothing_is_left_when_the_test_is_killed,
        an_unprivileged_user_gets_the_same_lab,
    ]
}

const SOON: Duration = Duration::from_secs(30);

/// Inodes of the namespaces that a lab consists of.
fn namespaces(keeper: i32) -> BTreeSet<u64> {
    let own = ["pid", "mnt", "net"].map(|kind| format!("/proc/{keeper}/ns/{kind}"));
    let named = NAMESPACES.map(|ns| format!("/proc/{keeper}/root/run/netns/{ns}"));
    let found: BTreeSet<u64> =
        own.iter().chain(&named).map(|path| fs::metadata(path).unwrap().ino()).collect();
    assert_eq!(found.len(), own.len() + named.len());
    found
}

/// The processes in one of these namespaces.
fn inhabitants(of: &BTreeSet<u64>) -> Vec<String> {
    let pids = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.join("ns").is_dir());
    let inside = |p: &std::path::Path| {
        ["pid", "mnt", "net"]
            .iter()
            .any(|kind| fs::metadata(p.join("ns").join(kind)).is_ok_and(|m| of.contains(&m.ino())))
    };
    pids.filter(|p| inside(p)).map(|p| p.display().to_string()).collect()
}

/// What this machine shows of labs: mounts, named namespaces, files.
fn machine() -> (String, BTreeSet<String>) {
    let names = |dir: &str| {
        let entries = fs::read_dir(dir)
            .map(|d| d.flatten().map(|e| e.path().display().to_string()).collect());
        entries.unwrap_or_else(|_| Vec::new())
    };
    let files = ["/run", "/run/netns", "/etc/netns", "/etc/default", "/var/lib"]
        .into_iter()
        .flat_map(names)
        .collect();
    (fs::read_to_string("/proc/self/mounts").unwrap(), files)
}

fn nothing_is_left_when_a_lab_is_dropped() {
    let before = machine();
    let lab = Lab::new();
    let inside = namespaces(lab.keeper_pid());
    let _responder = lab.responder("inet");
    let _sleeper = lab.spawn("router", "sleep", ["1000"]);
    lab.write("/etc/default/imon-x", "x");
    lab.sh(
        "router",
        "setsid sh -c 'trap : TERM HUP INT; sleep 1000' >/dev/null 2>&1 & mkdir -p /var/lib/imon /run/imon",
    );
    assert!(inhabitants(&inside).len() >= 4);
    assert_eq!(machine(), before, "a running lab does not show outside");
    drop(lab);
    // The nsenter processes outside notice the end of their children a moment later.
    gone(&inside);
    assert_eq!(machine(), before);
}

fn nothing_is_left_when_the_test_is_killed() {
    let before = machine();
    let mut harness = Command::new(std::env::current_exe().unwrap())
        .args(["--client", "hold-a-lab"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(harness.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let keeper = line.trim().strip_prefix("ready ").unwrap().parse().unwrap();
    let inside = namespaces(keeper);
    assert!(inhabitants(&inside).len() >= 4);
    harness.kill().unwrap();
    harness.wait().unwrap();
    gone(&inside);
    assert_eq!(machine(), before);
}

fn gone(inside: &BTreeSet<u64>) {
    let deadline = Instant::now() + SOON;
    while !inhabitants(inside).is_empty() {
        assert!(Instant::now() < deadline, "still there: {:?}", inhabitants(inside));
        thread::sleep(Duration::from_millis(2));
    }
}

/// Where the machine forbids user namespaces, the sentence that says so is what a user gets.
fn an_unprivileged_user_gets_the_same_lab() {
    // The build folder may be closed to others.
    let copy = std::env::temp_dir().join(format!("imon-lab-test-{}", std::process::id()));
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    let nobody = |program: &std::ffi::OsStr, args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            "--no-new-privs",
            "--",
        ]);
        if !is_root() {
            command = Command::new("env");
        }
        command.arg(program).args(args).output().unwrap()
    };
    let run = nobody(copy.as_os_str(), &["--client", "ping-in-a-lab"]);
    let allowed = nobody("unshare".as_ref(), &["--user", "--map-root-user", "--mount", "true"])
        .status
        .success();
    fs::remove_file(&copy).unwrap();
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    if allowed {
        assert!(run.status.success() && out.starts_with("works for uid "), "{out}{err}");
        assert!(!is_root() || out.trim() == "works for uid 65534", "{out}");
    } else {
        assert!(err.contains("needs root or an unprivileged user namespace"), "{out}{err}");
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}
