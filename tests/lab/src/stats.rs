//! What a process costs, read from /proc.

use std::fs;
use std::io;
use std::time::Duration;

/// A process's use of memory, processor and descriptors at one moment.
#[derive(Clone, Debug)]
pub struct Usage {
    /// Resident memory in KiB.
    pub rss_kib: u64,
    /// Of it anonymous (heap, stack, written data) in KiB: what cannot be dropped and read again
    /// from the file.
    pub anonymous_kib: u64,
    /// Proportional share of resident memory in KiB.
    pub pss_kib: u64,
    /// Threads.
    pub threads: usize,
    /// Times that a thread gave up the processor to wait: its wake-ups.
    pub voluntary_switches: u64,
    /// Times that a thread was made to wait.
    pub involuntary_switches: u64,
    /// User and system time of all threads; nanosecond resolution where the kernel has schedstat,
    /// else 10 ms.
    pub cpu: Duration,
    /// Open file descriptors.
    pub descriptors: usize,
    /// Pids of the direct children.
    pub children: Vec<i32>,
}

impl Usage {
    /// Of the process with this pid.
    ///
    /// # Errors
    /// When it is gone, or belongs to somebody else.
    pub fn of(pid: i32) -> io::Result<Self> {
        let dir = format!("/proc/{pid}");
        let rollup = fs::read_to_string(format!("{dir}/smaps_rollup"))?;
        let (mut threads, mut voluntary, mut involuntary, mut ran) = (0, 0, 0, 0);
        for task in fs::read_dir(format!("{dir}/task"))? {
            let task = task?.path();
            let status = fs::read_to_string(task.join("status"))?;
            threads += 1;
            voluntary += field(&status, "voluntary_ctxt_switches:");
            involuntary += field(&status, "nonvoluntary_ctxt_switches:");
            let schedstat = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
            ran += schedstat.split(' ').next().and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Self {
            rss_kib: field(&rollup, "Rss:"),
            anonymous_kib: field(&rollup, "Anonymous:"),
            pss_kib: field(&rollup, "Pss:"),
            threads,
            voluntary_switches: voluntary,
            involuntary_switches: involuntary,
            cpu: if ran > 0 { Duration::from_nanos(ran) } else { ticks(pid)? },
            descriptors: fs::read_dir(format!("{dir}/fd"))?.count(),
            children: children(pid),
        })
    }
}

/// Direct children of a process, in no particular order; none when it is gone.
#[must_use]
pub fn children(pid: i32) -> Vec<i32> {
    let numbers =
        |text: &str| text.split_ascii_whitespace().filter_map(|n| n.parse().ok()).collect();
    match fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")) {
        // Only the first thread's; a program with more threads, or a kernel without this file,
        // needs the long way.
        Ok(text) if fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|d| d.count() == 1) => {
            numbers(&text)
        }
        _ => processes().into_iter().filter(|p| parent(*p) == Some(pid)).collect(),
    }
}

/// All pids that /proc shows.
fn processes() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).collect()
}

fn parent(pid: i32) -> Option<i32> {
    stat_fields(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?).get(1)?.parse().ok()
}

/// utime and stime. The tick of /proc is 1/100 s on every Linux platform (USER_HZ).
fn ticks(pid: i32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat_fields(&stat);
    let at = |i: usize| fields.get(i).and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
    Ok(Duration::from_millis((at(11) + at(12)) * 10))
}

/// The fields of /proc/PID/stat from the third (state) on: the second is a name that may hold
/// blanks and parentheses.
fn stat_fields(stat: &str) -> Vec<&str> {
    stat.rsplit_once(')').map_or_else(Vec::new, |(_, rest)| rest.split_ascii_whitespace().collect())
}

/// The number after `name` at the beginning of a line; 0 when there is none.
fn field(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|l| l.strip_prefix(name));
    value.and_then(|v| v.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_usage_is_plausible() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let usage = Usage::of(pid).unwrap();
        assert!(
            usage.rss_kib > 100 && usage.anonymous_kib > 0 && usage.rss_kib > usage.anonymous_kib,
            "{usage:?}"
        );
        assert!(usage.threads >= 2, "a test runs beside the harness: {usage:?}");
        assert!(usage.descriptors >= 3, "{usage:?}");
    }

    #[test]
    fn children_are_found() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(children(i32::try_from(std::process::id()).unwrap()).contains(&pid));
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn a_name_with_a_parenthesis_does_not_shift_the_fields() {
        assert_eq!(stat_fields("7 (a) b (c) S 1 2"), ["S", "1", "2"]);
    }
}
