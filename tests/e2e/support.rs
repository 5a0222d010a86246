//! What several suites need: log lines without their date, the status file, and a script that notes
//! how it was called.

use imon_lab::{Lab, Proc, Signal};
use serde_json::Value;

use crate::SOON;

/// Log lines of a run with --nosyslog and the usual date format, without their date.
pub(crate) fn said(imon: &Proc) -> Vec<String> {
    imon.texts().iter().map(|line| undated(line)).collect()
}

/// `2026-01-31 12:00:00 [t] Starting` without its date. A line without one (standard error) stays
/// as it is.
pub(crate) fn undated(line: &str) -> String {
    let shape = |c: char| if c.is_ascii_digit() { '0' } else { c };
    match line.split_at_checked(20) {
        Some((date, rest)) if date.chars().map(shape).eq("0000-00-00 00:00:00 ".chars()) => {
            rest.to_owned()
        }
        _ => line.to_owned(),
    }
}

/// The seconds of an `Outage Duration` line shorter than a minute, and the line with `N` in their
/// place.
pub(crate) fn duration(line: &str) -> (u64, String) {
    let parsed = line.split_once(" 0 minutes ").and_then(|(before, rest)| {
        let seconds = rest.strip_suffix(" seconds")?.parse().ok()?;
        Some((seconds, format!("{before} 0 minutes N seconds")))
    });
    parsed.unwrap_or((0, line.to_owned()))
}

/// Waits until so many lines contain a text, and returns them, undated.
#[track_caller]
pub(crate) fn wait_lines(lab: &Lab, imon: &Proc, text: &str, count: usize) -> Vec<String> {
    let found = || said(imon).into_iter().filter(|l| l.contains(text)).collect::<Vec<_>>();
    lab.wait_until(&format!("{count} lines with {text:?}"), SOON, || found().len() >= count);
    found()
}

/// The status file of an instance; null while there is none.
pub(crate) fn status(lab: &Lab, instance: &str) -> Value {
    serde_json::from_str(&lab.read(&format!("/run/imon/{instance}.json"))).unwrap_or_default()
}

/// Waits until the status says something. Its numbers are written seldom, so imon is made to write
/// it: SIGUSR1, which also starts a check.
#[track_caller]
pub(crate) fn wait_status(
    lab: &Lab,
    imon: &Proc,
    instance: &str,
    what: &str,
    so: impl Fn(&Value) -> bool,
) -> Value {
    let mut last = Value::Null;
    let mut asked = Value::Null;
    lab.wait_until(&format!("status: {what}"), SOON, || {
        last = status(lab, instance);
        let found = !last.is_null() && so(&last);
        if !found && last["written"] != asked {
            asked = last["written"].clone();
            imon.signal(Signal::SIGUSR1);
        }
        found
    });
    last
}

/// Where the recording script writes.
const CALLS: &str = "/run/lab/calls";

/// An action script that notes its arguments, byte by byte, and IMON_JSON. Returns its path.
pub(crate) fn recorder(lab: &Lab) -> &'static str {
    // One write at the very end: several may run at once, and what is there is whole.
    lab.script(
        "/run/lab/action",
        "#!/bin/sh\ncall=$(printf '%s\\036' \"$#\" \"$@\" \"$IMON_JSON\")\nprintf '%s\\n' \"$call\" >>/run/lab/calls\n",
    );
    "/run/lab/action"
}

/// A call of the action script.
#[derive(Debug)]
pub(crate) struct Call {
    /// `$#` and the arguments.
    pub(crate) argv: Vec<String>,
    /// IMON_JSON.
    pub(crate) json: Value,
}

/// The calls of the recording script so far.
pub(crate) fn calls(lab: &Lab) -> Vec<Call> {
    let call = |line: &str| {
        let mut argv: Vec<String> = line.split_terminator('\x1e').map(str::to_owned).collect();
        let json = argv.pop().and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
        Call { argv, json }
    };
    let text = lab.read(CALLS);
    text.lines().map(call).collect()
}

/// Waits for so many calls of the recording script.
#[track_caller]
pub(crate) fn wait_calls(lab: &Lab, count: usize) -> Vec<Call> {
    lab.wait_until(&format!("{count} calls of the script"), SOON, || calls(lab).len() >= count);
    calls(lab)
}
