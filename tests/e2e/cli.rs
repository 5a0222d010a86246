//! The command line and what is said about configurations, by the program as a whole: standard
//! output, standard error and exit status.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;

use imon_lab::{Finished, Lab};
use libtest_mimic::Trial;
use serde_json::json;

use crate::tools::{calls, ping, processes, recorder, started, stop, undated, wait_calls};
use crate::{SOON, lab, trials};

pub(crate) fn tests() -> Vec<Trial> {
    trials![
        version_and_help_go_to_standard_output,
        usage_errors_exit_2_and_name_the_nearest_option,
        an_argument_that_is_not_utf8_is_a_usage_error,
        check_config_prints_one_line_for_a_valid_file,
        check_config_prints_all_that_is_wrong,
        an_instance_can_be_named_with_an_equals_sign_and_is_main_by_default,
        instance_names_that_leave_the_directory_are_refused,
        odd_instance_names_are_warned_about_and_work,
        config_names_a_file_and_the_file_its_instance,
        the_fatal_messages_are_those_of_v299,
        b40_each_bad_value_is_one_clear_error_at_start,
        b42_missing_parts_and_wrong_types_are_clear_errors_or_defaults,
        the_sample_of_the_readme_runs_and_is_echoed_as_v299_did,
        secrets_are_never_shown,
        files_that_cannot_be_a_configuration_are_refused_at_once,
        files_that_others_may_write_are_warned_about,
        garbage_in_the_environment_changes_nothing,
        test_action_shows_the_call_and_its_end,
        test_action_ends_a_script_that_hangs,
        test_action_says_what_it_needs,
    ]
}

/// Runs imon with these arguments until it ends.
#[track_caller]
fn imon(lab: &Lab, args: &[&str]) -> Finished {
    lab.imon("router").args(args).run(SOON)
}

/// What a refused start must look like: exit status, silence on standard output, and no trace of a
/// crash.
#[track_caller]
fn refused(what: &str, finished: &Finished, code: i32) -> String {
    let stderr = finished.stderr();
    assert_eq!(finished.code(), code, "{what}: {}\n{stderr}", finished.status);
    assert!(!stderr.contains("panicked") && !stderr.contains("RUST_BACKTRACE"), "{what}: {stderr}");
    stderr
}

/// The error lines of imon run with this configuration, and of `check-config`, which must be the
/// same.
#[track_caller]
fn errors(lab: &Lab, config: &str) -> Vec<String> {
    lab.write("/run/lab/x.json", config);
    let check = imon(lab, &["check-config", "--config", "/run/lab/x.json"]);
    let stderr = refused(config, &check, 1);
    assert_eq!(check.stdout(), "", "{config}");
    let errors = |text: &str| {
        text.lines().filter(|l| l.starts_with("? ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let run = imon(lab, &["--nosyslog", "--config", "/run/lab/x.json"]);
    let run_stderr = refused(config, &run, 1);
    assert_eq!(run_stderr.lines().collect::<Vec<_>>(), errors(&stderr), "{config}");
    errors(&stderr)
}

fn version_and_help_go_to_standard_output() {
    let lab = lab();
    let version = imon(&lab, &["--version"]);
    assert_eq!((version.code(), version.stderr()), (0, String::new()));
    assert_eq!(version.stdout(), format!("imon {}\n", env!("CARGO_PKG_VERSION")));
    for (args, words) in [
        (
            ["-h"].as_slice(),
            ["--instance NAME", "[default: main]", "--nosyslog", "--addping A,B", "check-config"]
                .as_slice(),
        ),
        (
            &["--help"],
            &[
                "--config FILE",
                "--version",
                "Exit status: 0 stopped, 1 configuration",
                "test-action",
            ],
        ),
        (&["check-config", "--help"], &["Usage: imon check-config", "[default: main]"]),
        (
            &["test-action", "-h"],
            &[
                "Usage: imon test-action EVENT",
                "ddns-ip-update, ddns-no-update, updown-online,",
                "ping-result",
            ],
        ),
        (&["--nosyslog", "--instance", "nosuch", "-h"], &["Usage: imon [--instance NAME"]),
    ] {
        let help = imon(&lab, args);
        assert_eq!((help.code(), help.stderr()), (0, String::new()), "{args:?}");
        for word in words {
            assert!(
                help.stdout().contains(word),
                "{args:?} does not speak of {word}:\n{}",
                help.stdout()
            );
        }
    }
}

fn usage_errors_exit_2_and_name_the_nearest_option() {
    let lab = lab();
    for (args, text) in [
        (
            ["--instanec", "x"].as_slice(),
            "Unknown option '--instanec'. Did you mean '--instance'? See 'imon --help'.",
        ),
        (
            &["--nosylog"],
            "Unknown option '--nosylog'. Did you mean '--nosyslog'? See 'imon --help'.",
        ),
        (&["-x"], "Unknown option '-x'. See 'imon --help'."),
        (&["--instance"], "Option '--instance' needs a value. See 'imon --help'."),
        (
            &["chekc-config"],
            "Unknown command 'chekc-config'. Did you mean 'check-config'? See 'imon --help'.",
        ),
        (
            &["check-config", "--nosyslog"],
            "Unknown option '--nosyslog'. See 'imon check-config --help'.",
        ),
        (
            &["--instance", "a", "--config", "b"],
            "--instance and --config exclude each other: each names a configuration",
        ),
        (
            &["test-action", "updown-offlin"],
            "Unknown event 'updown-offlin'. Did you mean 'updown-offline'? Known are ddns-ip-update, ddns-no-update, updown-online, \
             updown-offline, failover-initial, failover-primary, failover-standby, failover-bothdown, failover-postping, failover-offline, failover-online, \
             failover-remind, failover-restored, ping-result.",
        ),
        (
            &["test-action"],
            "Which event? One of ddns-ip-update, ddns-no-update, updown-online, updown-offline, failover-initial, failover-primary, failover-standby, \
             failover-bothdown, failover-postping, failover-offline, failover-online, failover-remind, failover-restored, ping-result. See 'imon test-action --help'.",
        ),
    ] {
        let wrong = imon(&lab, args);
        assert_eq!(
            (wrong.code(), wrong.stdout(), wrong.stderr()),
            (2, String::new(), format!("{text}\n")),
            "{args:?}"
        );
    }
    let extra = imon(&lab, &["--nosyslog", "extra"]);
    assert_eq!(extra.code(), 2);
    assert!(
        extra.stderr().contains("extra") && extra.stderr().lines().count() == 1,
        "{}",
        extra.stderr()
    );
}

fn an_argument_that_is_not_utf8_is_a_usage_error() {
    let lab = lab();
    let garbage = lab.imon("router").arg("--instance").arg(OsStr::from_bytes(b"a\xffb")).run(SOON);
    assert_eq!((garbage.code(), garbage.stdout()), (2, String::new()));
    assert_eq!(garbage.stderr(), "Argument \"a\\xFFb\" is not UTF-8\n");
}

fn check_config_prints_one_line_for_a_valid_file() {
    let lab = lab();
    lab.write("/etc/default/imon-t", &ping(json!({})));
    let good = imon(&lab, &["check-config", "--instance", "t"]);
    assert_eq!((good.code(), good.stderr()), (0, String::new()));
    assert_eq!(good.stdout(), "/etc/default/imon-t: valid, enables ping\n");
    lab.write("/run/lab/w.json", &ping(json!({"debug": true, "colour": 1})));
    let warned = imon(&lab, &["check-config", "--config", "/run/lab/w.json"]);
    assert_eq!(
        (warned.code(), warned.stdout()),
        (0, "/run/lab/w.json: valid, enables ping, 2 warnings\n".into())
    );
    let stderr = warned.stderr();
    assert!(
        stderr
            .lines()
            .all(|l| l.starts_with("Warning: ") && l.contains("(/run/lab/w.json:1, global.")),
        "{stderr}"
    );
    assert!(processes(&lab, "/imon ").is_empty(), "it starts nothing");
}

fn check_config_prints_all_that_is_wrong() {
    let lab = lab();
    lab.write(
        "/etc/default/imon-t",
        "# mine\n{\n\"global\": {\"action\": \"/nonexistent\", \"action-timeout\": 0},\n\
         \"updown\": {\"enable\": true,\n\"interval\": \"often\",\n\"monitorip\": \"1.1.1\"},\n\
         \"ping\": {\"enable\": true, \"pingcount\": 1.5}\n}\n",
    );
    let wrong = imon(&lab, &["check-config", "--instance=t"]);
    let stderr = refused("all at once", &wrong, 1);
    let expected = [
        (
            "action-timeout",
            "0",
            "a number of seconds from 1 to 3600",
            "(/etc/default/imon-t:3, global.action-timeout)",
        ),
        (
            "interval",
            "\"often\"",
            "a number of seconds from 0.1 to 86400",
            "(/etc/default/imon-t:5, updown.interval)",
        ),
        (
            "monitorip",
            "\"1.1.1\"",
            "an IP address or a DNS name",
            "(/etc/default/imon-t:6, updown.monitorip)",
        ),
        ("requires an IP Address", "ping", "monitor", "(/etc/default/imon-t:7, ping.monitorip)"),
        (
            "pingcount",
            "1.5",
            "a whole number from 1 to 100",
            "(/etc/default/imon-t:7, ping.pingcount)",
        ),
        ("Action script", "'/nonexistent'", "not found", "(/etc/default/imon-t:3, global.action)"),
    ];
    assert_eq!(stderr.lines().count(), expected.len(), "{stderr}");
    for (key, value, allowed, place) in expected {
        let whole = |l: &str| {
            l.starts_with("? ")
                && [key, value, allowed].iter().all(|w| l.contains(w))
                && l.ends_with(place)
        };
        assert!(
            stderr.lines().any(whole),
            "no line with {key}, {value}, {allowed}, {place} in\n{stderr}"
        );
    }
}

fn an_instance_can_be_named_with_an_equals_sign_and_is_main_by_default() {
    let lab = lab();
    lab.write("/etc/default/imon-one", &ping(json!({})));
    lab.write("/etc/default/imon-main", &ping(json!({})));
    for (args, name) in
        [(["--instance=one", "--nosyslog"].as_slice(), "one"), (&["--nosyslog"], "main")]
    {
        let imon = lab.imon("router").args(args).spawn();
        imon.wait_line(|l| l.ends_with(&format!("[{name}] Start Ping Monitor")), SOON);
        stop(&imon);
        let file = format!("[{name}] Configuration file /etc/default/imon-{name}");
        assert!(imon.texts().iter().any(|l| l.ends_with(&file)), "{:#?}", imon.texts());
    }
}

fn instance_names_that_leave_the_directory_are_refused() {
    let lab = lab();
    // What these names would lead to if they were believed.
    lab.write("/etc/default/imon-x/../../evil", &ping(json!({})));
    lab.write("/etc/evil", &ping(json!({})));
    let long = "x".repeat(201);
    for name in
        ["x/../../evil", "/etc/evil", "..", ".", "", "a\nb", "a\u{1b}[2Jb", "a\u{7f}", &long]
    {
        for command in [["check-config"].as_slice(), &["--nosyslog"]] {
            let args: Vec<&str> = command.iter().copied().chain(["--instance", name]).collect();
            let wrong = imon(&lab, &args);
            let stderr = refused(name, &wrong, 1);
            assert!(
                stderr.starts_with("? Invalid instance name '")
                    || stderr == "? The instance name is empty\n",
                "{stderr}"
            );
            assert!(
                stderr.lines().count() == 1 && !stderr.trim_end().contains(char::is_control),
                "{stderr:?}"
            );
            assert_eq!(wrong.stdout(), "");
        }
    }
}

fn odd_instance_names_are_warned_about_and_work() {
    let lab = lab();
    let imon = lab.imon("router").instance("my net", &ping(json!({}))).nosyslog().spawn();
    imon.wait_line(|l| l.ends_with("[my net] Start Ping Monitor"), SOON);
    stop(&imon);
    let warning =
        imon.texts().into_iter().find(|l| l.contains("systemd-escape")).expect("a warning");
    assert!(warning.starts_with("Warning: ") && warning.contains("imon-my\\x20net"), "{warning}");
    for name in ["a.b", "a_b", "a-b:c", "UPPER9"] {
        lab.write(&format!("/etc/default/imon-{name}"), &ping(json!({})));
        let good = self::imon(&lab, &["check-config", "--instance", name]);
        assert_eq!((good.code(), good.stderr()), (0, String::new()), "{name}");
    }
}

fn config_names_a_file_and_the_file_its_instance() {
    let lab = lab();
    recorder(&lab, "/run/lab/action", "");
    for (file, instance, name) in [
        ("/run/lab/imon-net.json", None, "net"),
        ("/run/lab/office", None, "office"),
        ("/run/lab/office.conf", Some("the 2nd"), "the 2nd"),
    ] {
        let mut global = json!({"action": "/run/lab/action"});
        if let Some(instance) = instance {
            global["instance"] = instance.into();
        }
        lab.write(file, &ping(global));
        let before = calls(&lab, "ping").len();
        let imon = lab.imon("router").args(["--nosyslog", "--config", file]).spawn();
        let call = wait_calls(&lab, "ping", before + 1).pop().expect("a call");
        assert_eq!(
            (call.args[0].as_str(), call.env["IMON_INSTANCE"].as_str()),
            (name, name),
            "{file}"
        );
        imon.wait_line(|l| l.ends_with(&format!("[{name}] Start Ping Monitor")), SOON);
        stop(&imon);
    }
    let missing = self::imon(&lab, &["--nosyslog", "--config", "/run/lab/nosuch"]);
    assert_eq!(
        refused("missing", &missing, 1),
        "? Configuration file '/run/lab/nosuch' not found\n"
    );
    // Without a system log its lines go to standard error; the error itself is there once.
    let missing = self::imon(&lab, &["--config", "/run/lab/nosuch"]);
    assert_eq!(
        refused("missing", &missing, 1).matches("not found").count(),
        1,
        "{}",
        missing.stderr()
    );
}

fn the_fatal_messages_are_those_of_v299() {
    let lab = lab();
    let missing = imon(&lab, &["--instance", "nope", "--nosyslog"]);
    let stderr = refused("missing", &missing, 1);
    assert!(stderr.starts_with("? Instance configuration file 'nope' not found"), "{stderr}");
    assert!(stderr.contains("/etc/default/imon-nope") && stderr.lines().count() == 1, "{stderr}");
    // Under syslog it is the log that people look at, and standard error all the same.
    let syslog = lab.syslog();
    let missing = imon(&lab, &["--instance", "nope"]);
    assert_eq!(refused("missing", &missing, 1), stderr);
    syslog.wait(0, |m| m.ends_with(stderr.trim_end()), SOON);

    lab.write("/run/lab/notexec", "#!/bin/sh\n");
    for (config, text) in [
        (
            r#"{"failover": {"enable": true, "primary-if": "wan1", "standby-gw": "192.168.62.1"},
                "ping": {"enable": true, "monitorip": "1.1.1.1"}}"#,
            "? Missing settings for failover monitor:  primary-gw standby-if; write ",
        ),
        (r#"{"ping": {"enable": true}}"#, "? ping monitor requires an IP Address to monitor ("),
        (
            r#"{"updown": {"enable": true, "monitorip": ""}}"#,
            "? updown monitor requires an IP Address to monitor (",
        ),
        (r#"{"ping": {"enable": false}}"#, "? No monitors are enabled. See documentation"),
        (
            &ping(json!({"action": "/run/lab/nosuch"})),
            "? Action script '/run/lab/nosuch' not found",
        ),
        (
            &ping(json!({"action": "/run/lab/notexec"})),
            "? Action script '/run/lab/notexec' not executable",
        ),
        (&ping(json!({"action": "/run/lab"})), "? Action script '/run/lab' not executable"),
    ] {
        let seen = errors(&lab, config);
        assert!(seen.len() == 1 && seen[0].starts_with(text), "{config}: {seen:#?}");
        assert!(seen[0].contains("/run/lab/x.json:1"), "it names the place: {seen:#?}");
    }
}

fn b40_each_bad_value_is_one_clear_error_at_start() {
    let lab = lab();
    let seconds = [
        "0",
        "\"x\"",
        "null",
        "-1",
        "NaN",
        "1e308",
        "1e999",
        "-Infinity",
        "\"NaN\"",
        "\"inf\"",
        "[]",
        "{}",
        "true",
    ];
    let counts = ["0", "\"x\"", "null", "-1", "NaN", "1e308", "2.5", "\"\"", "101"];
    let cases = [("interval", seconds.as_slice()), ("pingwait", &seconds), ("pingcount", &counts)];
    for (key, value) in
        cases.into_iter().flat_map(|(key, values)| values.iter().map(move |v| (key, v)))
    {
        let config = format!(
            "{{\"ping\": {{\"enable\": true, \"monitorip\": \"1.1.1.1\",\n\"{key}\": {value}}}}}"
        );
        let seen = errors(&lab, &config);
        assert_eq!(seen.len(), 1, "{key} {value}: {seen:#?}");
        assert!(
            seen[0].ends_with(&format!("(/run/lab/x.json:2, ping.{key})")),
            "{key} {value}: {seen:#?}"
        );
    }
}

fn b42_missing_parts_and_wrong_types_are_clear_errors_or_defaults() {
    let lab = lab();
    for config in [
        "",
        "[]",
        "null",
        "5",
        "{",
        "[1, 2",
        "{\"ping\": []}",
        "{\"ping\": {\"enable\": [true]}}",
        "{\"ping\": \"on\"}",
        "\u{0}\u{1}",
    ] {
        let seen = errors(&lab, config);
        assert_eq!(seen.len(), 1, "{config:?}: {seen:#?}");
        assert!(seen[0].contains("(/run/lab/x.json:1"), "{config:?}: {seen:#?}");
    }
    // Everything that has a default.
    let imon = lab
        .imon("router")
        .instance("t", r#"{"ping": {"enable": "Y", "monitorip": "1.1.1.1"}}"#)
        .nosyslog()
        .spawn();
    imon.wait_line(|l| l.contains("Ping Result: IP:1.1.1.1 State:"), SOON);
    stop(&imon);
}

fn the_sample_of_the_readme_runs_and_is_echoed_as_v299_did() {
    let lab = lab();
    let sample = include_str!("../data/readme-sample.json");
    lab.write("/etc/default/imon-main", sample);
    lab.script("/run/lab/imon-action", "#!/bin/sh\n");
    // The sample names this path. The folder is replaced for this one program only, in its own
    // mount namespace.
    let script = "mount -t tmpfs tmpfs /usr/local/bin && cp /run/lab/imon-action /usr/local/bin/ && exec \"$@\"";
    let args = ["-c", script, "sh", env!("CARGO_BIN_EXE_imon"), "--nosyslog"];
    let imon = lab.start("imon", &mut lab.command("router", "sh", args));
    imon.wait_line(|l| l.ends_with("[main] Monitored IP 1.1.1.1 online"), SOON);
    stop(&imon);
    let lines = imon.texts();
    let said: Vec<&str> = lines.iter().map(|l| undated(l)).collect();
    let version = format!("[main] Version V{}", env!("CARGO_PKG_VERSION"));
    let head = [
        "[main] Starting",
        &version,
        &format!("[main] Command line: {} --nosyslog", env!("CARGO_BIN_EXE_imon")),
        "[main] Configuration file /etc/default/imon-main",
        "[main] ** [global] ** ",
        "[main]     action            /usr/local/bin/imon-action",
        "[main]     datefmt           %Y-%m-%d %H:%M:%S",
    ];
    assert_eq!(said[..head.len()], head, "{said:#?}");
    for line in [
        "[main] ** [failover] ** ",
        "[main]     enable            False",
        "[main]     interval          10.0",
        "[main]     pingcount         2",
        "[main]     imon-configure-created 2022-04-29 14:42:56",
        "[main] Start Updown Monitor for IP Address 1.1.1.1",
    ] {
        assert!(said.contains(&line), "no {line:?} in {said:#?}");
    }
}

fn secrets_are_never_shown() {
    let lab = lab();
    let syslog = lab.syslog();
    let config = json!({
        "global": {"note": "see https://me:hunter2@example.com/?key=hunter2", "password": "hunter2", "smtp-token": "hunter2"},
        "ddns": {"url": "https://u:hunter2@h/x", "headers": {"Authorization": "Bearer hunter2"}},
        "ping": {"enable": true, "interval": 0.2, "monitorip": "1.1.1.1", "monitorkey": {"token": "hunter2"}}
    });
    let imon = lab.imon("router").instance("t", &config.to_string()).nosyslog().spawn();
    imon.wait_line(|l| l.contains("Ping Result"), SOON);
    stop(&imon);
    assert!(
        imon.texts().iter().any(|l| l.ends_with("    password          ***")),
        "{:#?}",
        imon.texts()
    );
    let logged = lab.imon("router").args(["--instance", "t"]).spawn();
    syslog.wait(0, |m| m.contains("Ping Result"), SOON);
    stop(&logged);
    // Wrong values are repeated in errors, but not these.
    let wrong = errors(
        &lab,
        &config.to_string().replace("0.2", "0").replace("\"1.1.1.1\"", "\"https://u:hunter2@h\""),
    );
    let said =
        [imon.texts(), logged.texts(), wrong, syslog.messages().iter().map(|m| m.text()).collect()]
            .concat();
    let shown: Vec<_> = said.iter().filter(|l| l.contains("hunter2")).collect();
    assert!(shown.is_empty() && said.len() > 30, "{shown:#?}");
}

fn files_that_cannot_be_a_configuration_are_refused_at_once() {
    let lab = lab();
    lab.sh("router", "cd /etc/default && mkfifo imon-fifo && mkdir imon-dir && ln -s imon-loop imon-loop && ln -s /dev/zero imon-zero && head -c 3000000 /dev/zero | tr '\\0' ' ' >imon-huge");
    for (name, why) in [
        ("fifo", "it is not a regular file"),
        ("dir", "it is not a regular file"),
        ("zero", "it is not a regular file"),
        ("loop", "Too many levels of symbolic links"),
        ("huge", "it is longer than 1048576 bytes"),
    ] {
        for command in [["check-config"].as_slice(), &["--nosyslog"]] {
            let args: Vec<&str> = command.iter().copied().chain(["--instance", name]).collect();
            let stderr = refused(name, &imon(&lab, &args), 1);
            let text =
                format!("? Configuration file '/etc/default/imon-{name}' cannot be read: {why}\n");
            assert_eq!(stderr, text, "{name}");
        }
    }
    // Many small things that grow: deep nesting, long keys, many errors. Each ends at once, with
    // bounded output.
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let wide = format!("{{\"ping\": {{{}}}}}", vec!["\"interval\": 0"; 20_000].join(", "));
    let long = format!("{{\"ping\": {{\"enable\": true, \"{}\": 1}}}}", "k".repeat(500_000));
    for (what, config) in [("deep", deep), ("wide", wide), ("long", long)] {
        lab.write("/run/lab/x.json", &config);
        let stderr =
            refused(what, &imon(&lab, &["check-config", "--config", "/run/lab/x.json"]), 1);
        assert!(
            stderr.lines().all(|l| l.len() < 2_000),
            "{what}: a line of {:?} bytes",
            stderr.lines().map(str::len).max()
        );
    }
}

fn files_that_others_may_write_are_warned_about() {
    let lab = lab();
    recorder(&lab, "/run/lab/action", "");
    lab.write("/etc/default/imon-t", &ping(json!({"action": "/run/lab/action"})));
    let mode = |file: &str, mode| {
        fs::set_permissions(lab.path(file), fs::Permissions::from_mode(mode)).unwrap()
    };
    let warnings = || {
        let checked = imon(&lab, &["check-config", "--instance", "t"]);
        assert_eq!(checked.code(), 0);
        checked.stderr()
    };
    mode("/etc/default/imon-t", 0o644);
    mode("/run/lab/action", 0o755);
    assert_eq!(warnings(), "");
    mode("/etc/default/imon-t", 0o646);
    let seen = warnings();
    assert!(
        seen.starts_with("Warning: Configuration file: everybody may write to it (mode 0646)"),
        "{seen}"
    );
    mode("/etc/default/imon-t", 0o600);
    mode("/run/lab/action", 0o777);
    let seen = warnings();
    assert!(
        seen.starts_with(
            "Warning: Action script '/run/lab/action': everybody may write to it (mode 0777)"
        ),
        "{seen}"
    );
    assert!(
        seen.ends_with("(/etc/default/imon-t:1, global.action)\n") && seen.lines().count() == 1,
        "{seen}"
    );
    // The daemon says the same, and runs.
    let imon = lab.imon("router").args(["--instance", "t", "--nosyslog"]).spawn();
    imon.wait_line(
        |l| l.contains("Warning: Action script '/run/lab/action': everybody may write"),
        SOON,
    );
    started(&imon);
    stop(&imon);
}

fn garbage_in_the_environment_changes_nothing() {
    let lab = lab();
    recorder(&lab, "/run/lab/action", "");
    let bytes = |b: &'static [u8]| OsStr::from_bytes(b);
    let garbage: [(&str, &[&OsStr]); 7] = [
        (
            "NOTIFY_SOCKET",
            &[
                bytes(b"\xff\xfe"),
                OsStr::new(""),
                OsStr::new("@"),
                OsStr::new("/nonexistent"),
                OsStr::new("relative"),
                OsStr::new("vsock:1:2"),
            ],
        ),
        (
            "WATCHDOG_USEC",
            &[
                OsStr::new("-1"),
                OsStr::new("0"),
                OsStr::new("soon"),
                OsStr::new("99999999999999999999"),
                bytes(b"\xff"),
            ],
        ),
        ("WATCHDOG_PID", &[OsStr::new("x"), bytes(b"\xff")]),
        (
            "RUNTIME_DIRECTORY",
            &[
                bytes(b"/run/\xff"),
                OsStr::new(""),
                OsStr::new(":"),
                OsStr::new("relative"),
                OsStr::new("/dev/null"),
            ],
        ),
        ("STATE_DIRECTORY", &[bytes(b"/run/\xff"), OsStr::new(":::")]),
        (
            "TZ",
            &[
                OsStr::new("garbage"),
                OsStr::new("../../etc/passwd"),
                OsStr::new(":"),
                bytes(b"\xff"),
                OsStr::new("<+99>-99:99:99"),
            ],
        ),
        ("IMON_JSON", &[OsStr::new("{"), bytes(b"\xff")]),
    ];
    lab.write("/etc/default/imon-t", &ping(json!({"action": "/run/lab/action"})));
    // As many runs as the longest list is: each takes the next value of each variable.
    for turn in 0..6 {
        let before = calls(&lab, "ping").len();
        let imon = lab.imon("router").args(["--instance", "t", "--nosyslog"]);
        let imon = garbage
            .iter()
            .fold(imon, |imon, (name, values)| imon.env(name, values[turn % values.len()]))
            .spawn();
        let call = wait_calls(&lab, "ping", before + 1).pop().expect("a call");
        assert!(call.env["IMON_JSON"].starts_with("{\"schema\":1,"), "{:?}", call.env);
        stop(&imon);
        assert!(!imon.texts().iter().any(|l| l.contains("panicked")), "{:#?}", imon.texts());
    }
}

fn test_action_shows_the_call_and_its_end() {
    let lab = lab();
    recorder(&lab, "/run/lab/my action", "echo one; printf 'two\\033[2J' >&2; exit $STATUS");
    lab.write("/etc/default/imon-my net", &ping(json!({"action": "/run/lab/my action"})));
    let test = |event: &str, status: &str| {
        let imon = lab.imon("router").env("STATUS", status).env("NOTIFY_SOCKET", "/x");
        imon.args(["test-action", event, "--instance", "my net"]).run(SOON)
    };
    for (event, monitor, rest) in [
        ("updown-online", "updown", ["1.1.1.1", "0:0:0:18"].as_slice()),
        ("updown-offline", "updown", &["1.1.1.1"]),
        ("ping-result", "ping", &["1.1.1.1:True:0.142:0.255:0.368:0.33:0.226"]),
    ] {
        let good = test(event, "0");
        assert_eq!(good.code(), 0, "{}{}", good.stdout(), good.stderr());
        let call = calls(&lab, monitor).pop().expect("it was called");
        let expected: Vec<&str> = ["my net", "1", event].iter().chain(rest).copied().collect();
        assert_eq!(call.args, expected);
        assert!(
            !call.env.contains_key("NOTIFY_SOCKET") && call.env["IMON_EVENT"] == event,
            "{:?}",
            call.env
        );
        let out = good.stdout();
        let shown = format!("Calling /run/lab/my action 'my net' 1 {event} {}\n", rest.join(" "));
        assert!(
            out.starts_with(&shown)
                && out.contains(&format!("  IMON_EVENT={event}\n  IMON_INSTANCE=my net\n")),
            "{out}"
        );
        assert!(
            out.contains("\none\ntwo\\u{1b}[2J") && out.contains("The script ended well after "),
            "{out}"
        );
    }
    let bad = test("ping-result", "3");
    assert_eq!(bad.code(), 3);
    assert!(
        bad.stderr().starts_with("? The script failed with exit status 3 after "),
        "{}",
        bad.stderr()
    );
}

fn test_action_ends_a_script_that_hangs() {
    let lab = lab();
    lab.script(
        "/run/lab/action",
        "#!/bin/sh\ntrap '' TERM\nsleep 1234 &\nwhile :; do wait; done\n",
    );
    lab.write(
        "/etc/default/imon-t",
        &ping(json!({"action": "/run/lab/action", "action-timeout": 1})),
    );
    let hung = imon(&lab, &["test-action", "ping-result", "--instance", "t"]);
    assert_eq!(hung.code(), 3, "{}", hung.stderr());
    assert!(
        hung.stderr().starts_with(
            "? It did not end within 1 s: ending it\n? The script failed with signal 9"
        ),
        "{}",
        hung.stderr()
    );
    assert!(processes(&lab, "sleep 1234").is_empty());
}

fn test_action_says_what_it_needs() {
    let lab = lab();
    lab.write("/etc/default/imon-t", &ping(json!({})));
    let none = imon(&lab, &["test-action", "ping-result", "--instance", "t"]);
    assert_eq!(
        refused("no script", &none, 1),
        "? /etc/default/imon-t names no action script (global.action)\n"
    );
    lab.script("/run/lab/action", "#!/nonexistent/interpreter\n");
    lab.write("/etc/default/imon-t", &ping(json!({"action": "/run/lab/action"})));
    let broken = imon(&lab, &["test-action", "ping-result", "--instance", "t"]);
    let stderr = refused("no interpreter", &broken, 3);
    assert!(stderr.starts_with("? Action script '/run/lab/action' could not be run: "), "{stderr}");
}
