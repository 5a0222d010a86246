//! Everything that was said and done in a lab, in order: what a failing test prints.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// How many entries a failing test prints, counted from the end.
const PRINTED: usize = 400;
/// How many characters of one entry.
const WIDTH: usize = 300;

/// Lines of processes, faults and notes, each with its moment.
#[derive(Debug)]
pub struct Timeline {
    start: Instant,
    entries: Mutex<Vec<Entry>>,
    /// Whether it was printed: a failure shows it once.
    shown: AtomicBool,
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    who: String,
    text: String,
}

impl Timeline {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            entries: Mutex::new(Vec::new()),
            shown: AtomicBool::new(false),
        }
    }

    pub(crate) fn was_shown(&self) -> bool {
        self.shown.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, at: Instant, who: &str, text: &str) {
        let entry = Entry { at, who: who.to_owned(), text: text.to_owned() };
        crate::lock(&self.entries).push(entry);
    }
}

/// One entry a line: milliseconds since the lab's start, who, what.
impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.store(true, Ordering::Relaxed);
        let entries = crate::lock(&self.entries);
        let skipped = entries.len().saturating_sub(PRINTED);
        writeln!(f, "what happened, in ms since the lab's start:")?;
        if skipped > 0 {
            writeln!(f, "  ({skipped} earlier lines left out)")?;
        }
        // Readers of several processes race for the lock, so sort by time. The sort is stable.
        let mut last: Vec<&Entry> = entries.iter().skip(skipped).collect();
        last.sort_by_key(|e| e.at);
        for e in last {
            let ms = e.at.saturating_duration_since(self.start).as_secs_f64() * 1000.0;
            let text: String = e.text.chars().take(WIDTH).collect();
            writeln!(f, "{ms:10.1}  {:<16} {text}", e.who)?;
        }
        Ok(())
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds: the clock of every role's reports.
#[must_use]
pub fn monotonic_ns() -> u64 {
    clock_ns(ClockId::CLOCK_MONOTONIC)
}

/// `CLOCK_REALTIME` in nanoseconds: the clock of kernel timestamps.
pub(crate) fn realtime_ns() -> u64 {
    clock_ns(ClockId::CLOCK_REALTIME)
}

fn clock_ns(clock: ClockId) -> u64 {
    let t = clock_gettime(clock).expect("the clock can be read");
    u64::try_from(Duration::from(t).as_nanos()).expect("the clock is within 584 years")
}

/// A process's [`Instant`] on the clock of the roles' reports, in nanoseconds. On Linux both are
/// `CLOCK_MONOTONIC`; the standard library only does not say the number.
#[must_use]
pub fn instant_ns(at: Instant) -> u64 {
    let (now, now_ns) = (Instant::now(), monotonic_ns());
    let ns = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
    if at >= now {
        now_ns.saturating_add(ns(at.duration_since(now)))
    } else {
        now_ns.saturating_sub(ns(now.duration_since(at)))
    }
}
