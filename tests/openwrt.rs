//! OpenWrt's files, run by busybox ash with stand-ins for uci, procd and ubus: every setting gets
//! through, a bad file is said and not started, and only the processes of imon get signals.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code, not imon's core"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use imon::config::{Key, ValueKind, edit, schema};

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("imon-openwrt-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn source(name: &str) -> String {
    format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// What OpenWrt's /lib/functions.sh, procd.sh and ubus do, as far as an init script sees it. `uci
/// export` prints shell commands, which /lib/functions.sh runs: hence config, option and list.
const STAND_INS: &str = r#"
config() { CONFIG_SECTION=$2; config_cb "$1" "$2"; }
option() { option_cb "$1" "$2"; }
list() { list_cb "$1" "$2"; }
config_load() { . "$HERE/uci"; ${CONFIG_SECTION:+config_cb}; }
uci() {
	case "$*" in
	*timezone) echo "${ZONE:-CET-1CEST}" ;;
	'show imon') [ ! -e "$HERE/unreadable" ] || { cat "$HERE/unreadable" >&2; return 1; } ;;
	*) return 1 ;;
	esac
}
logger() { cat >>"$HERE/log"; }
procd_open_instance() { echo "open $*" >>"$HERE/procd"; }
procd_set_param() { echo "set $*" >>"$HERE/procd"; }
procd_close_instance() { echo close >>"$HERE/procd"; }
procd_add_reload_trigger() { echo "trigger $*" >>"$HERE/procd"; }
ubus() { case "$*" in *delete*) echo "delete $*" >>"$HERE/procd" ;; *) echo '{"imon": {}}' ;; esac; }
# OpenWrt's reads no standard input since 2026; -s comes with the answer of ubus.
jsonfilter() {
	case "$*" in
	*'-s {"imon": {}}'*pid) cat "$HERE/pids" ;;
	*'-s {"imon": {}}'*"['main'].running") cat "$HERE/running" ;;
	esac
}
"#;

/// Runs a function of the init script with this UCI configuration.
fn run(folder: &Folder, uci: &str, function: &str) -> Output {
    fs::write(folder.path("uci"), uci).unwrap();
    let script = format!("{STAND_INS}\n. '{}'\n{function}\n", source("openwrt/files/imon.init"));
    fs::write(folder.path("script"), script).unwrap();
    Command::new("busybox")
        .arg("ash")
        .arg(folder.path("script"))
        .env("HERE", &folder.0)
        .env("IMON_PROG", env!("CARGO_BIN_EXE_imon"))
        .env("IMON_MADE", folder.path("made"))
        .env("IMON_STATE", folder.path("state"))
        .output()
        .expect("busybox must be installed (apt install busybox)")
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Values that a setting takes, each text as UCI holds it. More than one: a list.
fn sample(key: &Key) -> Vec<String> {
    let one = |text: &str| vec![text.to_owned()];
    match key.kind {
        ValueKind::Flag => one("1"),
        ValueKind::Seconds { min, .. } => one(&min.max(0.5).to_string()),
        ValueKind::Count { min, .. } => one(&min.max(2).to_string()),
        ValueKind::Number { .. } => one("7.5"),
        ValueKind::Text { .. } | ValueKind::Remark => one(r#"it's "a" \ $(reboot) `x` é"#),
        ValueKind::Path => one("/usr/bin/my script"),
        ValueKind::Device => one("wan1"),
        ValueKind::Host | ValueKind::Gateway => one("192.0.2.1"),
        ValueKind::Name => one("example.com"),
        ValueKind::Word(words) => one(words[0]),
        ValueKind::Instance => one("main"),
        ValueKind::Hosts { .. } => vec!["192.0.2.1".into(), "example.com".into()],
        ValueKind::Targets { .. } => vec!["dns:192.0.2.1".into(), "tcp:192.0.2.1:443".into()],
        ValueKind::Sources { .. } => vec!["dns:google".into(), "dns:opendns".into()],
        ValueKind::Events => vec!["failover-offline".into(), "failover-remind".into()],
        ValueKind::Families => vec!["4".into(), "6".into()],
        ValueKind::Updates { .. } => vec![
            r#"{"type": "url", "url": "http://x.example/?ip={ip}", "hostnames": ["a.example"]}"#
                .into(),
            r#"{"type": "dyndns2", "server": "https://x.example", "user": "it's me"}"#.into(),
        ],
    }
}

fn option_of(key: &Key) -> String {
    let name = key.name.replace('-', "_");
    if key.section == "global" { name } else { format!("{}_{name}", key.section) }
}

#[test]
fn every_setting_gets_through() {
    for key in schema() {
        let folder = Folder::new();
        let values = sample(key);
        let mut uci = String::from("config instance 'main'\n");
        for value in &values {
            let word = if values.len() > 1 { "list" } else { "option" };
            let _ = writeln!(uci, "\t{word} {} {}", option_of(key), quoted(value));
        }
        // What this alone lacks does not matter here: the text is made before it is checked.
        let done = run(&folder, &uci, "PROG=true; start_service");
        let json = folder.read("made/imon-main.json");
        let raw = edit::raw(json.as_bytes(), key.section, key.name)
            .unwrap_or_else(|| panic!("{}.{} is not in {json}\n{done:?}", key.section, key.name));
        let found: serde_json::Value = serde_json::from_str(&raw).unwrap();
        let wanted: serde_json::Value = match key.kind {
            ValueKind::Updates { .. } => values
                .iter()
                .map(|v| serde_json::from_str::<serde_json::Value>(v).unwrap())
                .collect(),
            _ if values.len() > 1 => values.into(),
            _ => values[0].clone().into(),
        };
        assert_eq!(found, wanted, "{json}");
        if !matches!(key.kind, ValueKind::Updates { .. }) {
            assert_eq!(edit::check(key, &raw), Ok(()), "{json}");
        }
    }
}

/// The configuration that stands here is one instance called main.
const MAIN: &str =
    "config instance 'main'\n\toption ping_enable '1'\n\toption ping_monitorip '1.1.1.1'\n";

#[test]
fn enabled_is_what_uci_takes_for_truth() {
    for (value, starts) in
        [("1", true), ("true", true), ("yes", true), ("on", true), ("0", false), ("off", false)]
    {
        let folder = Folder::new();
        run(&folder, &format!("{MAIN}\toption enabled '{value}'\n"), "start_service");
        assert_eq!(folder.read("procd").contains("open main"), starts, "{value}");
        assert_eq!(folder.read("log"), "", "{value}");
    }
    let folder = Folder::new();
    run(&folder, &format!("{MAIN}\toption enabled 'maybe'\n"), "start_service");
    assert!(!folder.read("procd").contains("open main"));
    assert!(folder.read("log").contains("section main: enabled 'maybe'"), "{}", folder.read("log"));
}

/// procd only signals an instance that has a reload_signal, whatever else has changed.
#[test]
fn another_file_or_zone_is_another_process() {
    let folder = Folder::new();
    let deletes = || folder.read("procd").matches("delete call service delete").count();
    run(&folder, MAIN, "start_service");
    fs::write(folder.path("running"), "true\n").unwrap();
    run(&folder, MAIN, "start_service");
    run(&folder, &MAIN.replace("1.1.1.1", "8.8.8.8"), "start_service");
    assert_eq!(deletes(), 0, "a change of its content is a signal's matter");
    run(&folder, MAIN, "ZONE=UTC0; start_service");
    assert_eq!(deletes(), 1);
    fs::write(folder.path("mine"), r#"{"ping": {"enable": true, "monitorip": "1.1.1.1"}}"#)
        .unwrap();
    let other = format!(
        "config instance 'main'\n\toption config_file '{}'\n",
        folder.path("mine").display()
    );
    run(&folder, &other, "ZONE=UTC0; start_service");
    assert_eq!(deletes(), 2);
    run(&folder, &other, "ZONE=UTC0; start_service");
    assert_eq!(deletes(), 2);
    assert!(folder.read("procd").contains(r#"{"name": "imon", "instance": "main"}"#));
}

#[test]
fn a_section_that_became_wrong_does_not_stop_what_runs() {
    let folder = Folder::new();
    run(&folder, MAIN, "start_service");
    let good = folder.read("made/imon-main.json");
    let bad = MAIN.replace("1.1.1.1", "1.1.1");
    // It runs: it stays with procd, as it was.
    fs::write(folder.path("running"), "true\n").unwrap();
    fs::remove_file(folder.path("procd")).unwrap();
    run(&folder, &bad, "start_service");
    assert!(folder.read("procd").contains("open main") && !folder.read("procd").contains("delete"));
    assert_eq!(folder.read("made/imon-main.json"), good);
    let log = folder.read("log");
    assert!(log.contains("/etc/config/imon, section main, ping.monitorip"), "{log}");
    assert!(log.contains("main goes on with the configuration it has"), "{log}");
    // Also if what it has is a file, and the section that replaces that is wrong.
    fs::write(folder.path("mine"), r#"{"ping": {"enable": true, "monitorip": "1.1.1.1"}}"#)
        .unwrap();
    let other = format!(
        "config instance 'main'\n\toption config_file '{}'\n",
        folder.path("mine").display()
    );
    run(&folder, &other, "start_service");
    fs::remove_file(folder.path("procd")).unwrap();
    run(&folder, &bad, "start_service");
    let said = folder.read("procd");
    assert!(
        said.contains(&format!("--config {}\n", folder.path("mine").display()))
            && !said.contains("delete"),
        "{said}"
    );
    // It does not: it is not started.
    fs::write(folder.path("running"), "").unwrap();
    fs::remove_file(folder.path("procd")).unwrap();
    run(&folder, &bad, "start_service");
    assert!(!folder.read("procd").contains("open main"));
}

#[test]
fn what_uci_cannot_read_is_said() {
    let folder = Folder::new();
    fs::write(
        folder.path("unreadable"),
        "uci: Parse error (invalid character in name field) at line 5, byte 22",
    )
    .unwrap();
    run(&folder, MAIN, "start_service");
    assert!(
        folder.read("log").contains("/etc/config/imon cannot be read: uci: Parse error"),
        "{}",
        folder.read("log")
    );
    assert!(folder.read("procd").contains("open main"));
}

const GOOD: &str = "config instance 'main'
	option updown_enable '1'
	option updown_monitorip '1.1.1.1'
	list updown_addping '192.168.1.1'
	list updown_addping '192.168.2.1'
config other 'x'
	option updown_enable '0'
config instance 'second'
	option ping_enable 'true'
	option ping_monitorip '1.1.1.1'
config instance 'off'
	option enabled '0'
	option ping_enable 'true'
";

#[test]
fn each_section_is_an_instance_that_is_started_again_for_ever() {
    let folder = Folder::new();
    let done = run(&folder, GOOD, "start_service; service_triggers");
    assert!(done.status.success(), "{done:?}");
    let said = folder.read("procd");
    let made = folder.path("made/imon-main.json");
    let made = made.display();
    let program = env!("CARGO_BIN_EXE_imon");
    let state = folder.path("state");
    for line in [
        "open main".to_owned(),
        "open second".to_owned(),
        format!("set command {program} --config {made}"),
        "set respawn 3600 5 0".to_owned(),
        format!("set env TZ=CET-1CEST STATE_DIRECTORY={}", state.display()),
        format!("set file {made}"),
        "set reload_signal HUP".to_owned(),
        "trigger imon system".to_owned(),
    ] {
        assert!(said.lines().any(|l| l == line), "{line:?} is not in {said}");
    }
    assert!(!said.contains("open off") && !said.contains("open x"), "{said}");
    assert_eq!(
        edit::raw(folder.read("made/imon-main.json").as_bytes(), "global", "instance").as_deref(),
        Some("\"main\"")
    );
    // The same again: procd sees the same instances and files, so nothing is restarted.
    let before = (folder.read("made/imon-main.json"), said);
    fs::remove_file(folder.path("procd")).unwrap();
    run(&folder, GOOD, "start_service; service_triggers");
    assert_eq!((folder.read("made/imon-main.json"), folder.read("procd")), before);
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(
        fs::metadata(folder.path("made/imon-main.json")).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn a_bad_section_is_said_once_and_the_others_are_started() {
    let folder = Folder::new();
    let bad = GOOD.replace("updown_monitorip '1.1.1.1'", "updown_monitorip '1.1.1'");
    run(&folder, &bad, "start_service");
    assert!(
        !folder.read("procd").contains("open main") && folder.read("procd").contains("open second")
    );
    assert!(folder.read("log").contains("updown.monitorip"), "{}", folder.read("log"));
}

#[test]
fn a_hand_written_configuration_is_used_as_it_is() {
    let folder = Folder::new();
    let file = folder.path("mine");
    fs::write(&file, r#"{"ping": {"enable": true, "monitorip": "1.1.1.1"}}"#).unwrap();
    let uci = format!("config instance 'main'\n\toption config_file '{}'\n", file.display());
    run(&folder, &uci, "start_service");
    assert!(
        folder.read("procd").contains(&format!("--config {}", file.display())),
        "{}",
        folder.read("procd")
    );
    assert!(!Path::new(&folder.path("made/imon-main.json")).exists());
}

/// The feed's profile has panics unwind. Nothing catches one, so it ends the process, and procd
/// starts it again.
#[test]
fn a_panic_that_unwinds_ends_the_process() {
    let mut folders = vec![PathBuf::from(source("src"))];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            files += 1;
            for word in ["catch_unwind", "thread::spawn", "thread::Builder"] {
                assert!(!text.contains(word), "{word} in {}", path.display());
            }
        }
    }
    assert!(files > 50);
}

#[test]
fn only_the_processes_of_imon_get_the_signal() {
    let folder = Folder::new();
    // Both note the signal; procd knows one of them.
    let line = |file: &str| {
        format!(
            "trap 'echo got >{0}/{file}; exit' USR1; : >{0}/{file}.ready; while :; do sleep 0.05; done",
            folder.0.display()
        )
    };
    let mut children: Vec<_> = ["ours", "theirs"]
        .map(|f| Command::new("sh").arg("-c").arg(line(f)).spawn().unwrap())
        .into();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let wait = |file: &str| {
        while !folder.path(file).exists() {
            assert!(std::time::Instant::now() < deadline, "no {file}");
            std::thread::yield_now();
        }
    };
    wait("ours.ready");
    wait("theirs.ready");
    fs::write(folder.path("pids"), format!("{}\n", children[0].id())).unwrap();
    run(&folder, "", "check_now");
    wait("ours");
    assert!(children[0].wait().unwrap().success());
    assert!(children[1].try_wait().unwrap().is_none());
    children[1].kill().unwrap();
    children[1].wait().unwrap();
    assert!(!folder.path("theirs").exists());
}

#[test]
fn the_example_configuration_is_valid_and_the_versions_agree() {
    let folder = Folder::new();
    let example = fs::read_to_string(source("openwrt/files/imon.config")).unwrap();
    let uci = example.replace("option enabled '0'", "option enabled '1'");
    assert_ne!(uci, example);
    run(&folder, &uci, "start_service");
    assert!(folder.read("procd").contains("open main"), "{}", folder.read("log"));
    // That of the guide as well.
    let folder = Folder::new();
    let guide = fs::read_to_string(source("docs/guide/openwrt.md")).unwrap();
    let uci = guide
        .split("```text\nconfig instance")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap();
    run(&folder, &format!("config instance{uci}"), "start_service");
    assert!(folder.read("procd").contains("open main"), "{}", folder.read("log"));
    assert_eq!(folder.read("log"), "");
    let makefile = fs::read_to_string(source("openwrt/Makefile")).unwrap();
    assert!(makefile.contains(concat!("PKG_VERSION:=", env!("CARGO_PKG_VERSION"), "\n")));
    let shown = Command::new(env!("CARGO_BIN_EXE_imon")).arg("--version").output().unwrap();
    assert_eq!(
        String::from_utf8(shown.stdout).unwrap(),
        concat!("imon ", env!("CARGO_PKG_VERSION"), "\n")
    );
}
