//! The LSB script of init.d/, with Debian's start-stop-daemon and busybox's, and the sample action
//! script.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code, not imon's core"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use imon::event::Event;

/// A folder that goes with the test, and every imon that was started in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("imon-initd-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        for directory in ["etc", "run", "bin"] {
            fs::create_dir_all(path.join(directory)).unwrap();
        }
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn pid(&self, name: &str) -> Option<i32> {
        fs::read_to_string(self.0.join(format!("run/imon-{name}.pid"))).ok()?.trim().parse().ok()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for name in ["one", "two"] {
            if let Some(pid) = self.pid(name) {
                let _ = Command::new("kill").args(["-9", &pid.to_string()]).output();
            }
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn source(name: &str) -> String {
    format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The stand-in for imon knows --instance and check-config, and lives until it gets a signal. It is
/// called imon, as the process is that the script looks for. (The real one would watch this
/// machine's own network.)
const IMON: &str = r#"#!/bin/sh
file=$HERE/etc/imon-$3
if [ "$1" = check-config ]; then grep -q good "$file" || { echo "? $file is bad" >&2; exit 1; }; exit 0; fi
trap 'echo reloaded >>"$HERE/$2.log"' HUP
trap 'exit 0' TERM
echo started >>"$HERE/$2.log"
while :; do sleep 0.05; done
"#;

fn run(folder: &Folder, tools: &str, args: &[&str]) -> (i32, String) {
    let path = format!(
        "{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        folder.0.join("bin").display()
    );
    // The script sets a PATH of its own; ours is put in front of it.
    let text = fs::read_to_string(source("init.d/imon"))
        .unwrap()
        .replace("PATH=/usr/local/sbin", "PATH=$FIRST:/usr/local/sbin");
    folder.write("script", &text);
    let shell: &[&str] = if tools == "busybox" { &["busybox", "ash"] } else { &["sh"] };
    // A shell cannot trap a signal that was ignored when it started, as SIGHUP is under nohup.
    let done: Output = Command::new("env")
        .arg("--default-signal=HUP")
        .args(shell)
        .arg(folder.0.join("script"))
        .args(args)
        .env("PATH", path)
        .env("FIRST", folder.0.join("bin"))
        .env("HERE", &folder.0)
        .env("IMON_PROGRAM", folder.0.join("imon"))
        .env("IMON_CONFIGURATIONS", folder.0.join("etc"))
        .env("IMON_RUN", folder.0.join("run"))
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    (done.status.code().unwrap_or(-1), text)
}

fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

fn life(tools: &str) {
    let folder = Folder::new();
    if tools == "busybox" {
        let busybox =
            ["/usr/bin/busybox", "/bin/busybox"].into_iter().find(|p| fs::metadata(p).is_ok());
        symlink(
            busybox.expect("busybox must be installed (apt install busybox)"),
            folder.0.join("bin/start-stop-daemon"),
        )
        .unwrap();
    }
    folder.write("imon", IMON);
    let go = |args: &[&str]| run(&folder, tools, args);
    let log =
        |name: &str| fs::read_to_string(folder.0.join(format!("{name}.log"))).unwrap_or_default();
    // Nothing is configured.
    assert_eq!(go(&["status"]).0, 3);
    assert_eq!(go(&["start"]).0, 6);
    assert_eq!(go(&["stop"]).0, 0);
    for name in ["one", "two", "bad.bak", "bad~", "bad.dpkg-old", "bad one"] {
        folder.write(&format!("etc/imon-{name}"), "good\n");
    }
    assert_eq!(go(&["status"]), (3, "imon one: stopped\nimon two: stopped\n".to_owned()));
    let started = go(&["start"]);
    assert_eq!(started, (0, "imon one: started\nimon two: started\n".to_owned()));
    // At once, not some time later.
    assert_eq!(go(&["status"]).0, 0);
    for _ in 0..3 {
        assert_eq!(go(&["stop", "two"]), (0, "imon two: stopped\n".to_owned()));
        assert_eq!(go(&["try-restart", "two"]), (0, String::new()));
        assert_eq!(go(&["start", "two"]), (0, "imon two: started\n".to_owned()));
    }
    until("both run", || !log("one").is_empty() && !log("two").is_empty());
    let two = folder.pid("two");
    assert_eq!(
        go(&["try-restart", "two"]),
        (0, "imon two: stopped\nimon two: started\n".to_owned())
    );
    assert_ne!(folder.pid("two"), two);
    let (code, said) = go(&["status"]);
    assert!(code == 0 && said.contains("imon one: runs, process "), "{said}");
    // A second start starts nothing.
    let pid = folder.pid("one").unwrap();
    assert_eq!(go(&["start", "one"]), (0, "imon one: runs already\n".to_owned()));
    assert_eq!(folder.pid("one"), Some(pid));
    assert_eq!(go(&["reload", "one"]).0, 0);
    until("it reloads", || log("one").contains("reloaded"));
    assert!(!log("two").contains("reloaded"));
    // A bad configuration is said, and what runs goes on.
    folder.write("etc/imon-one", "bad\n");
    let (code, said) = go(&["reload", "one"]);
    assert!(code == 6 && said.contains("is bad"), "{said}");
    let (code, said) = go(&["restart", "one"]);
    assert!(code == 6 && said.contains("is bad"), "{said}");
    assert_eq!((go(&["status", "one"]).0, folder.pid("one")), (0, Some(pid)));
    folder.write("etc/imon-one", "good\n");
    // One alone.
    assert_eq!(go(&["stop", "two"]), (0, "imon two: stopped\n".to_owned()));
    assert_eq!((go(&["status", "two"]).0, go(&["status", "one"]).0), (3, 0));
    assert_eq!(go(&["reload", "two"]).0, 7);
    // It died, and another program has its number.
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    until("it is dead", || go(&["status", "one"]).0 == 1);
    folder.write("run/imon-one.pid", &format!("{}\n", std::process::id()));
    assert_eq!(go(&["status", "one"]).0, 1);
    assert_eq!(go(&["stop", "one"]).0, 0);
    assert_eq!(go(&["restart", "one"]).0, 0);
    until("it runs again", || log("one").matches("started").count() == 2);
    assert_eq!(go(&["stop"]).0, 0);
    assert_eq!(go(&["status"]).0, 3);
    // One that ends at once has not been started.
    folder.write("imon", "#!/bin/sh\n[ \"$1\" != check-config ] && exit 3\nexit 0\n");
    let (code, said) = go(&["start", "one"]);
    assert!(code == 1 && said.contains("did not start"), "{said}");
    assert_eq!(go(&["nonsense"]).0, 2);
    assert_eq!(go(&[]).0, 2);
}

#[test]
fn a_life_with_debians_start_stop_daemon() {
    life("debian");
}

#[test]
fn a_life_with_busyboxs_start_stop_daemon() {
    life("busybox");
}

#[test]
fn without_the_program_the_exit_status_is_lsbs() {
    let folder = Folder::new();
    // No fallback either.
    let text = fs::read_to_string(source("init.d/imon"))
        .unwrap()
        .replace("/usr/bin/imon", "/nowhere/imon");
    let script = folder.write("script", &text);
    for (action, code) in [("start", 5), ("status", 4), ("stop", 0)] {
        let done = Command::new("sh")
            .arg(&script)
            .arg(action)
            .env("IMON_PROGRAM", "/nowhere/imon")
            .output()
            .unwrap();
        assert_eq!(done.status.code(), Some(code), "{action}");
    }
}

/// Every event, as imon calls it, with a hook as V2.99's sample had it.
#[test]
fn the_sample_action_script_takes_every_event() {
    let folder = Folder::new();
    folder.write("bin/logger", "#!/bin/sh\necho \"$*\" >>\"$HERE/log\"\n");
    folder.write("bin/hostname", "#!/bin/sh\necho testhost\n");
    folder.write("testhost-ip-update", "#!/bin/sh\necho \"$1 $2\" >\"$HERE/updated\"\n");
    folder.write("testhost-modem-reset", "#!/bin/sh\necho \"$#:$1\" >>\"$HERE/reset\"\n");
    let text = fs::read_to_string(source("examples/imon-action.sample")).unwrap();
    let script = folder
        .write("action", &text.replace("/usr/local/bin/", &format!("{}/", folder.0.display())));
    let path = format!("{}:/usr/bin:/bin", folder.0.join("bin").display());
    let mut events = 0;
    for event in Event::examples(imon::base::time::Instant::ZERO) {
        let Some(action) = event.action() else { continue };
        for shell in [&["sh"][..], &["busybox", "ash"]] {
            let _ = fs::remove_file(folder.0.join("log"));
            let mut args = vec!["main".to_owned(), "1".to_owned(), action.name.to_owned()];
            args.extend(action.args.iter().cloned());
            let mut command = Command::new(shell[0]);
            command
                .args(&shell[1..])
                .arg(&script)
                .args(&args)
                .env("PATH", &path)
                .env("HERE", &folder.0);
            let done = command.output().unwrap();
            assert!(done.status.success() && done.stderr.is_empty(), "{args:?}: {done:?}");
            let log = fs::read_to_string(folder.0.join("log")).unwrap_or_default();
            assert!(log.starts_with("-t imon-action [main] "), "{args:?}: {log}");
            // It knows the event: the words of an unknown one repeat all arguments.
            assert!(!log.contains(&format!("{} main 1", action.name)), "{log}");
            assert_eq!(String::from_utf8_lossy(&done.stdout).lines().count(), 1, "{args:?}");
        }
        events += 1;
    }
    assert!(events >= 10, "{events}");
    let updated = fs::read_to_string(folder.0.join("updated")).unwrap();
    assert_eq!(updated.split_whitespace().count(), 2, "{updated}");
    let reset = || fs::read_to_string(folder.0.join("reset")).unwrap_or_default();
    assert_eq!(reset(), "1:wan1\n1:wan1\n", "v11: dead for ten minutes, once by each shell");
    // Each ten minutes, however often it is reminded; a name may have colons, and an offline
    // network no address.
    for (info, lasted) in [
        ("a:b c:Standby:wan2:192.168.62.2", "0:0:20:0"),
        (":Primary:wan1:", "1:23:50:59"),
        ("x:Primary:wan1:", "0:0:9:59"),
        ("x:Primary:wan1:", "0:0:0:30"),
        ("x:Primary:wan1:", "0:1:1:0"),
    ] {
        let args = ["main", "0", "failover-remind", info, lasted];
        let done = Command::new("sh")
            .arg(&script)
            .args(args)
            .env("PATH", &path)
            .env("HERE", &folder.0)
            .output()
            .unwrap();
        assert!(done.status.success() && done.stderr.is_empty(), "{args:?}: {done:?}");
    }
    assert_eq!(reset(), "1:wan1\n1:wan1\n1:wan2\n1:wan1\n");
}

/// A script that knows nothing of this version gets what it always got.
#[test]
fn a_script_written_for_v2_99_takes_every_event() {
    let folder = Folder::new();
    let script = folder.write("action", include_str!("data/v299-action.sh"));
    let config = folder.write(
        "config",
        &format!(
            r#"{{"global": {{"action": "{}", "instance": "main"}}, "ping": {{"enable": true, "monitorip": "1.1.1.1"}}}}"#,
            script.display()
        ),
    );
    for (event, count, said) in [
        ("ddns-ip-update", 5, "new=203.0.113.1 old=unknown"),
        ("ddns-no-update", 3, "no address"),
        ("updown-online", 5, "ip=1.1.1.1 seconds=18"),
        ("updown-offline", 4, "ip=1.1.1.1"),
        (
            "failover-initial",
            5,
            "name=net42 role=Primary interface=wan1 ip=192.168.42.2 state=online",
        ),
        ("failover-primary", 4, "name=net42 role=Primary interface=wan1 ip=192.168.42.2"),
        ("failover-standby", 4, "name=net62 role=Standby interface=wan2 ip=192.168.62.2"),
        ("failover-bothdown", 5, "primary=net42 standby=net62"),
        (
            "failover-postping",
            5,
            "name=net62 role=Standby interface=wan2 ip=192.168.62.2 state=online",
        ),
        (
            "ping-result",
            4,
            "ip=1.1.1.1 alive=True min=0.142 avg=0.255 max=0.368 loss=0.33 jitter=0.226",
        ),
    ] {
        for file in ["calls", "said"] {
            let _ = fs::remove_file(folder.0.join(file));
        }
        let mut imon = Command::new(env!("CARGO_BIN_EXE_imon"));
        let done = imon
            .args(["test-action", event, "--config"])
            .arg(&config)
            .env("HERE", &folder.0)
            .output()
            .unwrap();
        assert!(done.status.success(), "{event}: {done:?}");
        let read = |file: &str| fs::read_to_string(folder.0.join(file)).unwrap_or_default();
        assert_eq!(read("calls"), format!("{count} main terminal {event}\n"));
        assert_eq!(read("said"), format!("{said}\n"), "{event}");
    }
    // That is all there is.
    let events = Event::examples(imon::base::time::Instant::ZERO);
    assert_eq!(events.iter().filter(|event| event.call(&[]).is_some()).count(), 10);
}
