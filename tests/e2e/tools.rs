//! What several suites use: short configurations, and an action script that writes down how it was
//! called.

use std::collections::BTreeMap;
use std::time::Duration;

use imon_lab::{Lab, Proc, Signal};
use serde_json::{Value, json};

use crate::SOON;

/// The ping monitor on 1.1.1.1, every 0.2 s, and these global settings.
pub(crate) fn ping(global: Value) -> String {
    json!({"global": global, "ping": {"enable": true, "interval": 0.2, "pingwait": 0.1, "monitorip": "1.1.1.1"}})
        .to_string()
}

/// The updown monitor on 1.1.1.1, every 0.2 s, and these global settings.
pub(crate) fn updown(global: Value) -> String {
    json!({"global": global, "updown": {"enable": true, "interval": 0.2, "pingwait": 0.1, "monitorip": "1.1.1.1"}})
        .to_string()
}

/// Both.
pub(crate) fn both(global: Value) -> String {
    let mut all: Value = serde_json::from_str(&ping(global)).unwrap();
    all["updown"] = all["ping"].clone();
    all.to_string()
}

/// Waits until imon runs: the ping monitor, or the updown monitor, has said that it starts.
#[track_caller]
pub(crate) fn started(imon: &Proc) {
    imon.wait_line(|l| l.contains("] Start "), SOON);
}

/// Ends imon, which must end well.
#[track_caller]
pub(crate) fn stop(imon: &Proc) {
    imon.signal(Signal::SIGTERM);
    let status = imon.wait(SOON);
    assert_eq!(
        status.code(),
        Some(0),
        "{} ended with {status} and said {:#?}",
        imon.name(),
        imon.texts()
    );
}

/// One call of a script made by [`recorder`].
#[derive(Debug)]
pub(crate) struct Call {
    /// All arguments.
    pub(crate) args: Vec<String>,
    /// The whole environment.
    pub(crate) env: BTreeMap<String, String>,
}

/// Where the recorder writes.
const CALLS: &str = "/run/lab/calls";

/// Makes a script that writes down arguments and environment. `then` is what it does besides.
pub(crate) fn recorder(lab: &Lab, path: &str, then: &str) {
    let record = r#"{ printf '%s\0' "$#" "$@"; env -0; printf '\0'; }"#;
    lab.script(path, &format!("#!/bin/sh\n{record} >>{CALLS}.$IMON_MONITOR\n{then}\n"));
}

/// All complete calls so far that a monitor made.
pub(crate) fn calls(lab: &Lab, monitor: &str) -> Vec<Call> {
    // What is in the environment need not be UTF-8.
    let bytes = std::fs::read(lab.path(&format!("{CALLS}.{monitor}"))).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    // What follows the last NUL is not complete.
    let Some((text, _)) = text.rsplit_once('\0') else { return Vec::new() };
    let mut words = text.split('\0').map(str::to_owned);
    let mut calls = Vec::new();
    while let Some(count) = words.next().and_then(|n| n.parse().ok()) {
        let args = words.by_ref().take(count).collect();
        let mut env = BTreeMap::new();
        loop {
            match words.next() {
                None => return calls,
                Some(end) if end.is_empty() => break,
                Some(word) => {
                    let (name, value) = word.split_once('=').unwrap_or((&word, ""));
                    env.insert(name.to_owned(), value.to_owned());
                }
            }
        }
        calls.push(Call { args, env });
    }
    calls
}

/// Waits for so many calls of a monitor.
#[track_caller]
pub(crate) fn wait_calls(lab: &Lab, monitor: &str, count: usize) -> Vec<Call> {
    lab.wait_until(&format!("{count} calls of the script by {monitor}"), SOON, || {
        calls(lab, monitor).len() >= count
    });
    calls(lab, monitor)
}

/// A log line without its date of two words.
pub(crate) fn undated(line: &str) -> &str {
    line.splitn(3, ' ').nth(2).unwrap_or(line)
}

/// Whether a process (as the test sees it) is there and not a zombie.
pub(crate) fn alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// The processes of the lab whose command line contains `text`, as the test sees them.
pub(crate) fn processes(lab: &Lab, text: &str) -> Vec<i32> {
    let own = |pid: i32, what: &str| std::fs::read_link(format!("/proc/{pid}/ns/{what}")).ok();
    let here = own(lab.keeper_pid(), "pid");
    let all = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok());
    all.filter(|pid| own(*pid, "pid") == here && alive(*pid))
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).replace('\0', " ").contains(text)
        })
        .collect()
}

/// A moment: for bounds on what must be quick even on a busy machine.
pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}
