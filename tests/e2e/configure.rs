//! `imon configure`: V2.99's dialogue for scripts, more for people, and changes without questions.

use std::fmt::Write as _;

use imon_lab::{Finished, Lab, Wan};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::{SOON, lab, trials};

pub(crate) fn tests() -> Vec<Trial> {
    trials![
        the_readmes_dialogue_word_for_word,
        bad_answers_are_asked_again_in_v299s_words,
        every_way_to_end_early_leaves_everything_as_it_was,
        the_name_imon_configure_is_the_command,
        a_person_gets_choices_checks_and_the_next_commands,
        a_person_goes_on_with_what_is_there,
        v11_a_person_with_a_script_is_offered_the_events_of_outages,
        what_is_there_is_kept_however_it_is_spelled,
        a_file_that_cannot_be_read_is_told_before_the_first_question,
        the_end_of_the_answers_after_writing_is_no_failure,
        the_next_commands_are_those_of_the_service_manager_that_runs,
        print_tells_what_is_not_valid,
        a_change_may_put_a_secret_into_a_file_that_others_could_read,
        an_answer_that_is_too_long_is_not_two,
        set_changes_a_value_and_nothing_else,
        set_is_all_or_nothing,
        print_says_where_each_value_comes_from,
        a_file_that_cannot_be_written_is_told,
    ]
}

const TRANSCRIPT: &str = include_str!("../data/imon-configure.txt");
const FILE: &str = "/etc/default/imon-demo";

/// Pipes these lines into it.
fn feed(lab: &Lab, answers: &str, args: &[&str]) -> Finished {
    lab.write("/run/lab/answers", answers);
    let program = lab.imon_program();
    let line = format!("exec '{}' configure \"$@\" </run/lab/answers", program.display());
    let mut all = vec!["-c", &line, "sh"];
    all.extend(args);
    lab.spawn("router", "sh", all).finish(SOON)
}

fn json(lab: &Lab, file: &str) -> Value {
    serde_json::from_str(&lab.read(file)).unwrap()
}

fn mode(lab: &Lab, file: &str) -> String {
    lab.sh("router", &format!("stat -c %a {file}")).trim().to_owned()
}

/// Everything but the contents of what is there.
fn files(lab: &Lab) -> String {
    lab.sh(
        "router",
        "ls -la --time-style=full-iso /etc/default; cat /etc/default/imon-* 2>/dev/null || true",
    )
}

fn action(lab: &Lab) {
    lab.script("/run/lab/imon-action", "#!/bin/sh\n");
}

/// The transcript as prompts (which a pipe gets to see) and answers (which it gives).
fn transcript() -> (String, String) {
    let (mut prompts, mut answers) = (String::from("\n"), String::new());
    for line in TRANSCRIPT.lines() {
        let at = if line.contains("? [Y/n] ") {
            line.find("[Y/n] ").map(|at| at + 6)
        } else {
            line.find(": ").map(|at| at + 2)
        };
        match at.filter(|_| !line.starts_with("See ")) {
            Some(at) => {
                let (prompt, answer) = line.split_at(at);
                prompts.push_str(prompt);
                let _ = writeln!(answers, "{answer}");
            }
            None => {
                let _ = writeln!(prompts, "{line}");
            }
        }
    }
    (prompts, answers)
}

fn the_readmes_dialogue_word_for_word() {
    let lab = lab();
    action(&lab);
    let (prompts, answers) = transcript();
    let answers = answers.replace("/usr/local/bin/imon-action", "/run/lab/imon-action");
    let done = feed(&lab, &answers, &[]);
    assert_eq!((done.code(), done.stderr()), (0, String::new()));
    assert_eq!(done.stdout(), prompts);
    let text = lab.read(FILE);
    let created: Value =
        serde_json::from_str::<Value>(&text).unwrap()["global"]["imon-configure-created"].clone();
    // Key by key, in this order, in this form.
    let expected = format!(
        r#"{{
    "global": {{
        "action": "/run/lab/imon-action",
        "datefmt": "%Y-%m-%d %H:%M:%S",
        "instance": "demo",
        "note": "one line of info. Or not",
        "imon-configure-version": "V{}",
        "imon-configure-created": {created}
    }},
    "ddns": {{
        "enable": true,
        "interval": 10.0,
        "pingcount": 2,
        "pingwait": 1
    }},
    "updown": {{
        "enable": true,
        "interval": 10.0,
        "pingcount": 2,
        "pingwait": 1,
        "monitorip": "1.1.1.1",
        "addping": "192.168.92.1,192.168.1.1",
        "dnsserver": "8.8.8.8",
        "dnslookup": "microsoft.com"
    }},
    "failover": {{
        "enable": true,
        "interval": 10.0,
        "pingcount": 2.0,
        "pingwait": 1.0,
        "prefer-primary": false,
        "metric": 201,
        "primary-if": "enxa0cec8003294",
        "primary-name": "pnet",
        "primary-gw": "192.168.42.1",
        "primary-ping": "",
        "primary-postping": "",
        "standby-if": "enxa0cec80380a9",
        "standby-name": "snet",
        "standby-gw": "192.168.62.1",
        "standby-ping": "",
        "standby-postping": ""
    }},
    "ping": {{
        "enable": true,
        "interval": 10.0,
        "pingcount": 2,
        "pingwait": 1,
        "monitorip": "1.1.1.1"
    }}
}}
"#,
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(text, expected);
    assert_eq!(created.as_str().unwrap().len(), "2022-04-29 14:42:56".len());
    assert_eq!(mode(&lab, FILE), "600");
    let checked = lab.imon("router").args(["check-config", "--instance", "demo"]).run(SOON);
    assert_eq!(checked.code(), 0, "{}", checked.stderr());
    // A second time: the same questions with the same defaults, and the first file beside it.
    let again = feed(&lab, &answers.replace("microsoft.com", "google.com"), &[]);
    assert_eq!((again.code(), again.stdout()), (0, prompts));
    assert_eq!(json(&lab, FILE)["updown"]["dnslookup"], "google.com");
    assert_eq!(lab.read("/etc/default/imon-demo.bak"), text);
    assert_eq!(mode(&lab, "/etc/default/imon-demo.bak"), "600");
}

fn bad_answers_are_asked_again_in_v299s_words() {
    let lab = lab();
    let answers =
        "Demo\n\n/Nowhere/Script\nn\ny\nx\n0\n5\n1.5\n3\n\n\na b\n1.1.1.1\n\nn\n\nn\nn\ny\n";
    let answers = answers.replace("\n\nn\n\nn\nn\ny\n", "\n\n\n\nn\nn\nY\n");
    let done = feed(&lab, &answers, &[]);
    assert_eq!(done.code(), 0, "{done:?}");
    let out = done.stdout();
    for said in [
        "[10]: % Enter an integer or floating point number\n",
        "[10]: % Must be greater than 0.0\n",
        "[2]: % Enter an integer\n",
        "(monitorip): % A DNS name or IP address is required\n",
        "(monitorip): % A DNS name or IP address is required (",
    ] {
        assert!(out.contains(said), "{said:?} is not in {out}");
    }
    // What only this machine has against it a script may overrule; and names keep their case.
    assert!(done.stderr().contains("% File '/Nowhere/Script' does not exist"), "{}", done.stderr());
    let value = json(&lab, "/etc/default/imon-Demo");
    assert_eq!(value["global"]["action"], "/Nowhere/Script");
    assert_eq!(
        (&value["updown"]["interval"], &value["updown"]["pingcount"]),
        (&5.0.into(), &3.into())
    );
}

fn every_way_to_end_early_leaves_everything_as_it_was() {
    let lab = lab();
    action(&lab);
    lab.write(FILE, "{\"ping\": {\"enable\": true, \"monitorip\": \"1.1.1.1\"}}\n");
    let before = files(&lab);
    let (_, answers) = transcript();
    // The end of the answers, after each of them, and no to the last question.
    let lines: Vec<&str> = answers.lines().collect();
    for end in [0, 1, 2, 3, 10, 20, lines.len() - 1] {
        let cut =
            lines.get(..end).unwrap().iter().fold(String::new(), |all, line| all + line + "\n");
        let done = feed(&lab, &cut, &[]);
        assert_eq!(done.code(), 1, "{end}: {done:?}");
        assert!(
            done.stderr().ends_with("? The answers ended too early. Nothing was written\n"),
            "{}",
            done.stderr()
        );
    }
    let mut no = lines.clone();
    *no.last_mut().unwrap() = "n";
    assert_eq!(feed(&lab, &(no.join("\n") + "\n"), &[]).code(), 0);
    assert_eq!(files(&lab), before);
    // Ctrl-C.
    let line = format!("sleep 60 | exec '{}' configure", lab.imon_program().display());
    let asking = lab.spawn("router", "sh", ["-c", &line]);
    lab.wait_until("it asks", SOON, || asking.texts().iter().any(|t| t.contains("See https://")));
    lab.sh("router", "pkill -INT -f 'configure$' || true");
    lab.wait_until("it has ended", SOON, || {
        lab.sh("router", "pgrep -f 'imon configure$' || true").trim().is_empty()
    });
    lab.sh("router", "pkill sleep || true");
    assert_eq!(files(&lab), before);
}

fn the_name_imon_configure_is_the_command() {
    let lab = lab();
    lab.sh("router", &format!("ln -s '{}' /run/lab/imon-configure", lab.imon_program().display()));
    let done = lab.spawn("router", "sh", ["-c", "/run/lab/imon-configure </dev/null"]).finish(SOON);
    assert!(done.stdout().contains("Instance name [main]: "), "{done:?}");
    let help = lab.spawn("router", "/run/lab/imon-configure", ["--help"]).finish(SOON);
    assert!(help.stdout().starts_with("Usage: imon configure"), "{help:?}");
}

/// On a terminal of its own, as `script` makes one. The last line has the exit status.
fn typed(lab: &Lab, answers: &str, args: &str) -> String {
    lab.write("/run/lab/typed", answers);
    let program = lab.imon_program();
    let line = format!(
        "stty -echo cols 80 rows 24\n'{}' configure {args}\necho \"status $?\"\n",
        program.display()
    );
    lab.write("/run/lab/line", &line);
    lab.sh("router", "TERM=vt100 script -qec 'sh /run/lab/line' /dev/null </run/lab/typed")
        .replace('\r', "")
}

fn a_person_gets_choices_checks_and_the_next_commands() {
    let lab = lab();
    lab.add_default_route(Wan::Two, 300);
    lab.sh("router", "mkdir -p /run/systemd/system");
    let answers = [
        "demo",
        "",
        "/nowhere",
        "n",
        "",
        "n",
        "n",
        "y",
        "",
        "",
        "",
        "y",
        "",
        "wna1",
        "n",
        "2",
        "main line",
        "1",
        "1",
        "",
        "3",
        "backup",
        "1",
        "2",
        "",
        "n",
        "",
        "n",
    ];
    let said = typed(&lab, &(answers.join("\n") + "\n"), "");
    for words in [
        "% File '/nowhere' does not exist\nUse it all the same? [y/N]: ",
        "  2) wan1  192.168.42.2/24, gateway 192.168.42.1\n",
        "% There is no interface 'wna1' here (is it 'wan1'?)\n",
        "  1) 192.168.42.1  its default route\n  2) auto          whatever DHCP or PPP tells\n",
        "  1) 1.1.1.1  beyond the gateway",
        "Run 'imon check' on it now? [Y/n]: ",
        "sudo systemctl enable --now imon@demo ",
        "Try it: sudo imon --instance demo --nosyslog\n",
    ] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
    let value = json(&lab, FILE);
    assert_eq!(value["global"]["action"], "");
    let failover = &value["failover"];
    for (key, wanted) in [
        ("primary-if", "wan1"),
        ("primary-name", "main line"),
        ("primary-gw", "192.168.42.1"),
        ("primary-ping", "1.1.1.1"),
        ("standby-if", "wan2"),
        ("standby-gw", "192.168.62.1"),
        ("standby-ping", "8.8.8.8"),
    ] {
        assert_eq!(failover[key], wanted, "{key}: {said}");
    }
    assert_eq!((&failover["prefer-primary"], &failover["enable"]), (&true.into(), &true.into()));
}

fn v11_a_person_with_a_script_is_offered_the_events_of_outages() {
    let lab = lab();
    action(&lab);
    let answers = |events: &str| {
        format!(
            "demo\n\n/run/lab/imon-action\nn\nn\ny\n\n\n\ny\n\nwan1\na\nauto\n\n\nwan2\nb\nauto\n\n\n{events}\nn\n\nn\n"
        )
    };
    let question = "Call the action script at each outage of a network too, and each 10 minutes of it? [Y/n]: ";
    let said = typed(&lab, &answers("n"), "");
    assert!(said.contains(question), "{said}");
    let value = json(&lab, FILE);
    assert_eq!(
        (&value["global"]["events"], &value["failover"]["remind"]),
        (&Value::Null, &Value::Null)
    );
    lab.sh("router", &format!("rm {FILE}"));
    typed(&lab, &answers(""), "");
    let value = json(&lab, FILE);
    assert_eq!(
        (&value["global"]["events"], &value["failover"]["remind"]),
        (&"all".into(), &600.into()),
        "{value}"
    );
    // Once: who has chosen is not asked again.
    let set = ["configure", "--instance", "demo", "--set", "global.events=failover-remind"];
    assert_eq!(lab.imon("router").args(set).run(SOON).code(), 0);
    let said = typed(&lab, &format!("demo\n{}n\n", "\n".repeat(24)), "");
    assert!(said.contains("Wrote '") && !said.contains(question), "{said}");
    assert_eq!(json(&lab, FILE)["global"]["events"], "failover-remind");
}

fn a_person_goes_on_with_what_is_there() {
    let lab = lab();
    let old = r#"{
# mine
    "global": {"note": "old"},
    "ping": {"enable": true, "interval": 3, "monitorip": ["1.1.1.1", "8.8.8.8"], "x-mine": 1}
}
"#;
    lab.write(FILE, old);
    // Everything as it is, but for the number of pings.
    let said = typed(&lab, "demo\n\n\n\n\n\n\n\n7\n\n\n\nn\n", "");
    for words in [
        "Note to add to config file [old]: ",
        "* Enable the 'ping' monitor? [Y/n]: ",
        "Interval between pings (interval) [3]: ",
        "The file before is '/etc/default/imon-demo.bak'",
    ] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
    let new = lab.read(FILE);
    assert!(new.contains("# mine\n") && new.contains("\"x-mine\": 1"), "{new}");
    assert!(new.contains("\"monitorip\": [\"1.1.1.1\", \"8.8.8.8\"]"), "{new}");
    let shown =
        lab.imon("router").args(["configure", "--print", "--instance", "demo"]).run(SOON).stdout();
    assert!(
        shown.lines().any(|l| l.starts_with("ping.pingcount ") && l.contains(" 7 ")),
        "{shown}"
    );
    assert_eq!(lab.read("/etc/default/imon-demo.bak"), old);
}

fn what_is_there_is_kept_however_it_is_spelled() {
    let lab = lab();
    let old = r#"{"failover": {"enable": "Y", "prefer-primary": "on", "metric": 0, "primary-if": "wan1", "primary-gw": "192.168.42.1",
        "standby-if": "wan2", "standby-gw": "192.168.62.1", "primary-ping": ["1.1.1.1", "9.9.9.9"], "primary-name": "net 42", "standby-name": "b"}}"#;
    lab.write(FILE, old);
    // Enter to everything, and no check.
    let said = typed(&lab, &format!("demo\n{}\nn\n", "\n".repeat(21)), "");
    for words in [
        "'failover' monitor? [Y/n]: ",
        "(prefer-primary) [Y]: ",
        "(metric) [0]: ",
        "(primary-ping) [1.1.1.1, 9.9.9.9]: ",
    ] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
    assert!(said.contains("Wrote '/etc/default/imon-demo'"), "{said}");
    let new = json(&lab, FILE);
    let old: Value = serde_json::from_str(old).unwrap();
    for key in ["prefer-primary", "metric", "primary-ping", "primary-name", "standby-gw"] {
        assert_eq!(new["failover"][key], old["failover"][key], "{key}");
    }
    let enabled = lab.imon("router").args(["check-config", "--instance", "demo"]).run(SOON);
    assert!(enabled.stdout().contains("enables failover"), "{enabled:?}");
}

fn a_file_that_cannot_be_read_is_told_before_the_first_question() {
    let lab = lab();
    for broken in ["{ \"ping\": { \"enable\": true, } }", "", "{\"failover\": 5}"] {
        lab.write(FILE, broken);
        let said = typed(&lab, "demo\nn\n", "");
        assert!(
            said.contains("% '/etc/default/imon-demo' is there and cannot be read: "),
            "{said}"
        );
        assert!(!said.contains("Note to add") && said.contains("status 1"), "{said}");
        assert_eq!(lab.read(FILE), broken);
    }
    // Or it begins afresh, with the broken one kept.
    let said = typed(&lab, "demo\ny\n\n\n\n\n\ny\n\n\n\n1.1.1.1\n\nn\n", "");
    assert!(said.contains("Wrote '/etc/default/imon-demo'"), "{said}");
    assert_eq!(lab.read("/etc/default/imon-demo.bak"), "{\"failover\": 5}");
    // And what cannot be written is known before as well.
    lab.sh("router", "chmod 555 /etc/default");
    let done = lab
        .imon("router")
        .without_capabilities()
        .args(["configure", "--instance", "other"])
        .run(SOON);
    assert_eq!(done.code(), 1, "{done:?}");
    assert!(
        done.stderr().contains("Nothing can be written in /etc/default: Permission denied"),
        "{done:?}"
    );
    assert!(!done.stdout().contains("Note to add"), "{done:?}");
}

fn the_end_of_the_answers_after_writing_is_no_failure() {
    let lab = lab();
    let said = typed(&lab, "demo\n\n\n\n\n\ny\n\n\n\n1.1.1.1\n\n\u{4}", "");
    assert!(said.contains("Wrote '/etc/default/imon-demo'") && said.contains("Then:"), "{said}");
    assert!(said.contains("status 0") && !said.contains("Nothing was written"), "{said}");
}

fn the_next_commands_are_those_of_the_service_manager_that_runs() {
    let lab = lab();
    let answers = "\n\n\n\n\ny\n\n\n\n1.1.1.1\n\nn\n";
    let run = |instance: &str| typed(&lab, answers, &format!("--instance '{instance}'"));
    lab.sh("router", "mkdir -p /run/systemd/system");
    assert!(run("home").contains("sudo systemctl enable --now imon@home "));
    // systemd would not pass such a name on.
    let said = run("my wan");
    assert!(
        !said.contains("systemctl enable")
            && said.contains("Try it: sudo imon --instance 'my wan'"),
        "{said}"
    );
    lab.sh("router", "rmdir /run/systemd/system; touch /etc/openwrt_release");
    let said = run("home");
    for line in [
        "uci set imon.home=instance\n",
        "uci set imon.home.config_file=/etc/default/imon-home\n",
        "service imon restart",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(!said.contains("sudo"), "{said}");
}

fn print_tells_what_is_not_valid() {
    let lab = lab();
    lab.write(
        FILE,
        r#"{"ping": {"enable": "Y", "interval": "abc", "monitorip": "1.1.1.1", "pw": "hunter2"}, "pimg": {"enable": true},
 "ddns": {"update": [{"type": "url", "url": "http://h.example/u/hunter2/{ip}", "insecure": true}]}}"#,
    );
    let done = lab.imon("router").args(["configure", "--print", "--instance", "demo"]).run(SOON);
    let out = done.stdout();
    assert_eq!(done.code(), 1, "{done:?}");
    assert!(done.stderr().contains("Invalid value \"abc\" for interval"), "{done:?}");
    let line = |name: &str| {
        out.lines().find(|l| l.starts_with(&format!("{name} "))).unwrap_or_default().to_owned()
    };
    assert!(line("ping.enable").contains(" true  (/etc/default/imon-demo:1)"), "{out}");
    assert!(line("ping.interval").ends_with("(/etc/default/imon-demo:1, not valid)"), "{out}");
    assert!(line("pimg").ends_with("not known to imon)"), "{out}");
    assert!(
        !out.contains("hunter2") && line("ddns.update").contains("http://h.example/***"),
        "{out}"
    );
}

fn a_change_may_put_a_secret_into_a_file_that_others_could_read() {
    let lab = lab();
    lab.write(FILE, "{\"ddns\": {\"enable\": true}}\n");
    lab.sh("router", "chmod 644 /etc/default/imon-demo");
    let update = r#"ddns.update={"type": "url", "url": "http://h.example/?t={secret}&ip={ip}", "secret": "x", "insecure": true}"#;
    let done =
        lab.imon("router").args(["configure", "--instance", "demo", "--set", update]).run(SOON);
    assert_eq!(done.code(), 0, "{done:?}");
    assert_eq!(mode(&lab, FILE), "600");
}

fn an_answer_that_is_too_long_is_not_two() {
    let lab = lab();
    let answers = format!("demo\n{}\n\n\n\n\n\ny\n\n\n\n1.1.1.1\ny\n", "x".repeat(70_000));
    let done = feed(&lab, &answers, &[]);
    assert!(done.stdout().contains("% This is too long\n"), "{}", done.stdout());
    assert_eq!(done.code(), 0, "{}", done.stderr());
    assert_eq!(json(&lab, FILE)["global"]["note"], "");
    assert_eq!(json(&lab, FILE)["ping"]["monitorip"], "1.1.1.1");
}

fn set_changes_a_value_and_nothing_else() {
    let lab = lab();
    let old = "# by hand\n{\n  \"ping\": {\n    \"enable\": true,\n    # often\n    \"interval\": 3,\n    \"monitorip\": \"1.1.1.1\"\n  }\n}\n";
    lab.write(FILE, old);
    let set = |args: &[&str]| {
        lab.imon("router").arg("configure").args(args).args(["--instance", "demo"]).run(SOON)
    };
    let done = set(&["--set", "ping.interval=0.5", "--set", "ping.pingcount=4"]);
    assert_eq!(
        (done.code(), done.stdout()),
        (0, "Wrote '/etc/default/imon-demo'\n".to_owned()),
        "{}",
        done.stderr()
    );
    let new = old
        .replace("3,", "0.5,")
        .replace("\"1.1.1.1\"\n", "\"1.1.1.1\",\n        \"pingcount\": 4\n");
    assert_eq!(lab.read(FILE), new);
    assert_eq!(lab.read("/etc/default/imon-demo.bak"), old);
    assert_eq!(mode(&lab, FILE), "600");
    assert_eq!(
        set(&["--set", "ping.interval=0.5"]).stdout(),
        "'/etc/default/imon-demo' is so already\n"
    );
    // An instance that is not there yet.
    let made = lab
        .imon("router")
        .args([
            "configure",
            "--instance",
            "new",
            "--set",
            "updown.enable=yes",
            "--set",
            "updown.monitorip=1.1.1.1",
        ])
        .run(SOON);
    assert_eq!(made.code(), 0, "{}", made.stderr());
    assert_eq!(lab.imon("router").args(["check-config", "--instance", "new"]).run(SOON).code(), 0);
}

fn set_is_all_or_nothing() {
    let lab = lab();
    lab.write(FILE, "{\"ping\": {\"enable\": true, \"monitorip\": \"1.1.1.1\"}}\n");
    let before = files(&lab);
    for (args, code, says) in [
        (&["--set", "ping.interval=1", "--set", "ping.pingcount=0"][..], 1, "pingcount"),
        (&["--set", "ping.intervall=1"], 1, "did you mean 'ping.interval'?"),
        (&["--set", "ping.enable=false"], 1, "No monitors are enabled"),
        (&["--set", "failover.enable=true"], 1, "Missing settings for failover monitor"),
        (&["--set", "ping.interval"], 2, "SECTION.KEY=VALUE"),
        (&["--set", "ping.interval=1", "--print"], 2, "exclude each other"),
        (&["--set", "global.action=/nowhere"], 1, "'/nowhere' not found"),
    ] {
        let done =
            lab.imon("router").arg("configure").args(args).args(["--instance", "demo"]).run(SOON);
        assert_eq!(done.code(), code, "{args:?}: {done:?}");
        assert!(done.stderr().contains(says), "{args:?}: {}", done.stderr());
        assert_eq!(done.stdout(), "", "{args:?}");
    }
    assert_eq!(files(&lab), before);
}

fn print_says_where_each_value_comes_from() {
    let lab = lab();
    lab.write(
        FILE,
        "{\"ping\": {\"enable\": true,\n\"monitorip\": \"1.1.1.1\", \"mine\": {\"password\": \"hunter2\"}}}\n",
    );
    let done = lab.imon("router").args(["configure", "--print", "--instance", "demo"]).run(SOON);
    assert_eq!((done.code(), done.stderr()), (0, String::new()));
    let out = done.stdout();
    let line = |name: &str| {
        out.lines()
            .find(|l| l.starts_with(&format!("{name} ")))
            .unwrap_or_else(|| panic!("{name}: {out}"))
    };
    assert!(line("ping.monitorip").ends_with("\"1.1.1.1\"  (/etc/default/imon-demo:2)"), "{out}");
    assert!(line("ping.interval").ends_with("10  (default)"), "{out}");
    assert!(line("ping.mine").ends_with("(/etc/default/imon-demo:2, not known to imon)"), "{out}");
    assert!(!out.contains("hunter2"), "{out}");
    let none = lab.imon("router").args(["configure", "--print", "--instance", "nosuch"]).run(SOON);
    assert_eq!(none.code(), 1);
    assert!(none.stderr().contains("imon configure --instance nosuch"), "{}", none.stderr());
}

fn a_file_that_cannot_be_written_is_told() {
    let lab = lab();
    lab.sh("router", "chmod 555 /etc/default");
    let change = [
        "configure",
        "--instance",
        "demo",
        "--set",
        "ping.enable=true",
        "--set",
        "ping.monitorip=1.1.1.1",
    ];
    let done = lab.imon("router").without_capabilities().args(change).run(SOON);
    assert_eq!(done.code(), 1, "{done:?}");
    assert!(
        done.stderr().contains("cannot be written: Permission denied. Run this as root"),
        "{}",
        done.stderr()
    );
}
