//! The servers of the lab's internet. Each is this same program, run again in a namespace with
//! `--lab-role NAME`, obeying lines on standard input and reporting on standard output; a handle
//! hides that from the test.
//!
//! On standard output a line is `ok JSON` or `error TEXT`, the answer to a command, or `event
//! JSON`, something seen. All times are nanoseconds of `CLOCK_MONOTONIC`, see
//! [`crate::monotonic_ns`].

mod bystander;
mod dns;
mod flood;
mod flow;
mod http;
mod pinger;
mod responder;
mod syslog;
mod wire;

use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::{TimeSpec, TimeValLike as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::lab::Lab;
use crate::lock;
use crate::process::{Line, Proc};
use crate::timeline::monotonic_ns;

pub use bystander::{Answers, Attempt, Bystander, Flow};
pub use dns::{Dns, DnsMode, Query, Record};
pub use flood::{Flood, Flooded};
pub use flow::{Sender, SenderReport, Sink, SinkReport};
pub use http::{Certificate, Http, HttpMode, HttpRequest, NAMES};
pub use pinger::{Heard, Ping, Pinged, Sent};
pub use responder::{Behaviour, Quote, Reply, Request, Responder};
pub use syslog::{Datagram, Syslog};
pub use wire::{Direction, Passage, Wire, WireSettings, round_trip};

const FLAG: &str = "--lab-role";
/// How long a role may take to obey.
const ANSWER: Duration = Duration::from_secs(30);

/// Must be the first statement of `main()` in whatever uses the lab: when this process was started
/// as a role, it plays it and does not return.
pub fn intercept() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() != Some(FLAG) {
        return;
    }
    let role = args.next().unwrap_or_default();
    let args: Vec<String> = args.collect();
    let end = match role.as_str() {
        bystander::NAME => bystander::play(&args),
        dns::NAME => dns::play(&args),
        flood::NAME => flood::play(&args),
        flow::SENDER => flow::play_sender(&args),
        flow::SINK => flow::play_sink(),
        http::NAME => http::play(),
        pinger::NAME => pinger::play(),
        responder::NAME => responder::play(),
        syslog::NAME => syslog::play(),
        wire::NAME => wire::play(&args),
        other => Err(io::Error::other(format!("no role is called {other:?} (arguments {args:?})"))),
    };
    if let Err(e) = end {
        println!("error {role}: {e}");
        std::process::exit(1);
    }
    std::process::exit(0);
}

/// The harness's end of a role.
#[derive(Debug)]
pub(crate) struct Role {
    proc: Proc,
    /// Held from a command to its answer.
    turn: Mutex<()>,
}

impl Role {
    /// Starts a role and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(lab: &Lab, ns: &str, role: &str, args: &[String]) -> Self {
        let this = std::env::current_exe().expect("this program's own path is known");
        let mut command = lab.command(ns, this, [FLAG, role].map(str::to_owned).iter().chain(args));
        command.stdin(Stdio::piped());
        let proc = lab
            .start_showing(&format!("{role}@{ns}"), &mut command, |line| !line.starts_with("ok "));
        let role = Self { proc, turn: Mutex::new(()) };
        let () = role.answer(0);
        role
    }

    /// Gives a command and waits for its answer.
    #[track_caller]
    pub(crate) fn call<R: DeserializeOwned>(&self, command: &impl Serialize) -> R {
        let _turn = lock(&self.turn);
        let mark = self.proc.mark();
        let mut text = serde_json::to_string(command).expect("a command is JSON");
        text.push('\n');
        let sent = lock(self.proc.stdin()).as_mut().map(|pipe| pipe.write_all(text.as_bytes()));
        // A role that is gone has said why; the wait below prints it.
        drop(sent);
        self.answer(mark)
    }

    #[track_caller]
    fn answer<R: DeserializeOwned>(&self, mark: usize) -> R {
        let found =
            self.proc.find_line(mark, |l| l.starts_with("ok ") || l.starts_with("error "), ANSWER);
        let name = self.proc.name();
        match found {
            Ok((at, line)) => {
                let Some(json) = line.text.strip_prefix("ok ") else {
                    panic!("{name}: {}", line.text)
                };
                let value =
                    serde_json::from_str(json).unwrap_or_else(|e| panic!("{name}: {e} in {json}"));
                self.proc.forget_line(at);
                value
            }
            Err(why) => panic!("{name}: no answer: {why}; it said {:?}", self.proc.texts()),
        }
    }

    /// All events so far, with the moment at which each was read.
    pub(crate) fn events<E: DeserializeOwned>(&self) -> Vec<E> {
        self.proc.lines().iter().filter_map(event).collect()
    }

    /// Waits for an event, leaving out the first `skip`.
    #[track_caller]
    pub(crate) fn wait_event<E: DeserializeOwned>(
        &self,
        skip: usize,
        wanted: impl Fn(&E) -> bool,
        limit: Duration,
    ) -> E {
        let seen = std::cell::Cell::new(0);
        let line = self.proc.wait_line(
            |text| {
                let Some(json) = text.strip_prefix("event ") else { return false };
                seen.set(seen.get() + 1);
                seen.get() > skip && serde_json::from_str(json).is_ok_and(|e| wanted(&e))
            },
            limit,
        );
        event(&line).expect("it was read a moment ago")
    }

    pub(crate) fn proc(&self) -> &Proc {
        &self.proc
    }
}

fn event<E: DeserializeOwned>(line: &Line) -> Option<E> {
    serde_json::from_str(line.text.strip_prefix("event ")?).ok()
}

/// The role's end: commands that came on standard input.
struct Control {
    input: File,
    buffer: Vec<u8>,
}

impl Control {
    /// Takes standard input, and tells the harness that the role is ready.
    fn ready() -> io::Result<Self> {
        let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        ok(&());
        Ok(Self { input, buffer: Vec::new() })
    }

    /// The commands that are there, at least one byte of them having been announced by poll. `None`
    /// when the harness is gone or done with this role.
    fn read<C: DeserializeOwned>(&mut self) -> io::Result<Option<Vec<C>>> {
        let mut chunk = [0; 4096];
        let n = self.input.read(&mut chunk)?;
        if n == 0 {
            return Ok(None);
        }
        self.buffer.extend_from_slice(&chunk[..n]);
        let mut commands = Vec::new();
        while let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            commands.push(serde_json::from_slice(&line)?);
        }
        Ok(Some(commands))
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }
}

/// Answers a command.
fn ok(value: &impl Serialize) {
    say("ok", value);
}

/// Reports something seen.
fn report(value: &impl Serialize) {
    say("event", value);
}

fn say(kind: &str, value: &impl Serialize) {
    let json = serde_json::to_string(value).expect("what a role says is JSON");
    let mut out = io::stdout().lock();
    // Nobody listens any more: standard input ends next, and with it the role.
    let _ = writeln!(out, "{kind} {json}").and_then(|()| out.flush());
}

/// Waits until one of the descriptors can be read or the moment has come (`None`: for ever). Says
/// which can be read.
fn wait(fds: &[BorrowedFd<'_>], until_ns: Option<u64>) -> io::Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> =
        fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    let left = until_ns.map(|t| t.saturating_sub(monotonic_ns()));
    let left = left.map(|ns| TimeSpec::nanoseconds(i64::try_from(ns).unwrap_or(i64::MAX)));
    match ppoll(&mut polled, left, None) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => {}
        Err(e) => return Err(e.into()),
    }
    Ok(polled.iter().map(|p| p.any().unwrap_or(false)).collect())
}

/// Things to do later, in order of their time and, for the same time, in order of entry.
struct Later<T> {
    heap: BinaryHeap<Due<T>>,
    entered: u64,
}

struct Due<T> {
    at_ns: u64,
    order: u64,
    what: T,
}

impl<T> Later<T> {
    const fn new() -> Self {
        Self { heap: BinaryHeap::new(), entered: 0 }
    }

    fn push(&mut self, at_ns: u64, what: T) {
        self.entered += 1;
        self.heap.push(Due { at_ns, order: self.entered, what });
    }

    /// When the next is due.
    fn next_ns(&self) -> Option<u64> {
        self.heap.peek().map(|d| d.at_ns)
    }

    /// The next one that is due now.
    fn pop(&mut self, now_ns: u64) -> Option<T> {
        if self.next_ns()? > now_ns { None } else { self.heap.pop().map(|d| d.what) }
    }
}

/// The earliest is the greatest, for a heap that gives out the greatest.
impl<T> Ord for Due<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at_ns, other.order).cmp(&(self.at_ns, self.order))
    }
}

impl<T> PartialOrd for Due<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Due<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Due<T> {}

/// Random numbers that a seed repeats: SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// True `percent` times in a hundred.
    fn chance(&mut self, percent: f64) -> bool {
        percent > 0.0 && self.fraction() * 100.0 < percent
    }

    /// `delay` bent by at most `jitter` in either direction, evenly, never negative; in
    /// nanoseconds.
    fn around(&mut self, delay: Duration, jitter: Duration) -> u64 {
        let bend = jitter.as_secs_f64() * (self.fraction() * 2.0 - 1.0);
        let seconds = (delay.as_secs_f64() + bend).max(0.0);
        u64::try_from(Duration::from_secs_f64(seconds).as_nanos()).unwrap_or(u64::MAX)
    }

    /// From 0 up to, not including, 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_keeps_the_order_of_time_then_of_entry() {
        let mut later = Later::new();
        for (at, what) in [(5, 'c'), (1, 'a'), (5, 'd'), (2, 'b'), (9, 'e')] {
            later.push(at, what);
        }
        let order: String = std::iter::from_fn(|| later.pop(5)).collect();
        assert_eq!(order, "abcd");
        assert_eq!(later.next_ns(), Some(9));
    }

    #[test]
    fn chance_is_a_percentage_and_repeats() {
        let drawn = |seed| {
            let mut r = Random(seed);
            (0..10_000).filter(|_| r.chance(30.0)).count()
        };
        assert_eq!(drawn(1), drawn(1));
        assert!((2_800..3_200).contains(&drawn(1)), "{}", drawn(1));
        let mut r = Random(7);
        assert!(!r.chance(0.0) && r.chance(100.0));
        let around = r.around(Duration::from_millis(10), Duration::from_millis(2));
        assert!((8_000_000..=12_000_000).contains(&around), "{around}");
    }
}
