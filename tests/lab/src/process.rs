//! A program that runs in the lab: its real pid, its output line by line, its end.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lock;
use crate::stats::{Usage, children};
use crate::timeline::Timeline;

/// How long a program may take from fork to its own first instruction.
const START: Duration = Duration::from_secs(30);
/// How long output may lag behind the end of the program that wrote it.
const TAIL: Duration = Duration::from_millis(500);
/// How often things without an event of their own are looked at.
const POLL: Duration = Duration::from_millis(1);

/// Where a line came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// One line that a program wrote.
#[derive(Clone, Debug)]
pub struct Line {
    /// Without the line end; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// When the harness read it.
    pub at: Instant,
    /// Where it was written.
    pub stream: Stream,
}

/// A run that has ended.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// All lines in the order in which they came.
    pub lines: Vec<Line>,
}

impl Finished {
    /// The exit code; -1 when a signal ended it.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// Standard output, each line ended.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.text(Stream::Out)
    }

    /// Standard error, each line ended.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.text(Stream::Err)
    }

    fn text(&self, stream: Stream) -> String {
        self.lines.iter().filter(|l| l.stream == stream).map(|l| format!("{}\n", l.text)).collect()
    }
}

/// A running (or ended) program. Dropping it kills the program.
#[derive(Debug)]
pub struct Proc {
    name: String,
    /// nsenter, which waits for the program and ends as it ends.
    child: Mutex<Child>,
    pid: i32,
    ended: Mutex<Option<ExitStatus>>,
    stdin: Mutex<Option<ChildStdin>>,
    output: Arc<Output>,
    timeline: Arc<Timeline>,
}

#[derive(Debug, Default)]
struct Output {
    state: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<Line>,
    open: usize,
}

impl Proc {
    /// Starts a command made by [`crate::Lab::command`]. `shown` chooses the lines that go to the
    /// timeline.
    pub(crate) fn start(
        name: &str,
        command: &mut Command,
        timeline: &Arc<Timeline>,
        shown: fn(&str) -> bool,
    ) -> Result<Self, String> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|e| format!("{name}: cannot start {:?}: {e}", command.get_program()))?;
        let output = Arc::new(Output::default());
        lock(&output.state).open = 2;
        let reader =
            |stream| Reader { name: name.to_owned(), stream, shown, output: output.clone() };
        if let Some(out) = child.stdout.take() {
            reader(Stream::Out).start(out, timeline.clone());
        }
        if let Some(err) = child.stderr.take() {
            reader(Stream::Err).start(err, timeline.clone());
        }
        let stdin = Mutex::new(child.stdin.take());
        let pid = real_pid(&mut child)
            .ok_or_else(|| format!("{name}: did not start within {START:?}\n{timeline}"))?;
        timeline.add(Instant::now(), name, &format!("[started, pid {pid}]"));
        let (child, ended, timeline) = (Mutex::new(child), Mutex::new(None), timeline.clone());
        Ok(Self { name: name.to_owned(), child, pid, ended, stdin, output, timeline })
    }

    /// What the timeline calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The program's pid as this process sees it, for signals and /proc.
    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.pid
    }

    /// Sends a signal to the program. Does nothing when it has ended.
    pub fn signal(&self, signal: Signal) {
        // Pid 0, which a program that never was has, would mean our own process group.
        if self.status().is_some() || self.pid <= 0 {
            return;
        }
        self.timeline.add(Instant::now(), &self.name, &format!("[{signal}]"));
        let _ = kill(Pid::from_raw(self.pid), signal);
        // nsenter stops itself when its child stops, and would never notice that it goes on, or is
        // gone.
        if matches!(signal, Signal::SIGCONT | Signal::SIGKILL) {
            let _ = kill(nsenter(&lock(&self.child)), Signal::SIGCONT);
        }
    }

    /// How it ended, or `None` while it runs.
    pub fn status(&self) -> Option<ExitStatus> {
        let mut ended = lock(&self.ended);
        if ended.is_none() {
            *ended = lock(&self.child).try_wait().ok().flatten();
            if let Some(status) = *ended {
                self.timeline.add(Instant::now(), &self.name, &format!("[ended, {status}]"));
            }
        }
        *ended
    }

    /// Waits until it ends by itself and its output is read.
    ///
    /// # Panics
    /// With the timeline, when it still runs after `limit`.
    #[track_caller]
    pub fn wait(&self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.status() {
                // A process it left behind may hold the pipe open for ever; that is for the test to
                // judge.
                let tail = Instant::now() + TAIL;
                let state = lock(&self.output.state);
                let left = tail.saturating_duration_since(Instant::now());
                drop(self.output.changed.wait_timeout_while(state, left, |s| s.open > 0));
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "{} still runs after {limit:?}\n{}",
                self.name,
                self.timeline
            );
            thread::sleep(POLL);
        }
    }

    /// Waits until it ends by itself, and returns all of it.
    ///
    /// # Panics
    /// As [`Self::wait`].
    #[track_caller]
    pub fn finish(&self, limit: Duration) -> Finished {
        let status = self.wait(limit);
        Finished { status, lines: self.lines() }
    }

    /// All lines so far, standard output and error as they came.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        lock(&self.output.state).lines.clone()
    }

    /// The lines so far as one text each.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        lock(&self.output.state).lines.iter().map(|l| l.text.clone()).collect()
    }

    /// How many lines there are so far: a place from which [`Self::wait_line_from`] looks.
    #[must_use]
    pub fn mark(&self) -> usize {
        lock(&self.output.state).lines.len()
    }

    /// Waits for a line, among those already there and those to come.
    ///
    /// # Panics
    /// With the timeline, when there is none after `limit`, or at once when none can come any more.
    #[track_caller]
    pub fn wait_line(&self, wanted: impl Fn(&str) -> bool, limit: Duration) -> Line {
        self.wait_line_from(0, wanted, limit)
    }

    /// Waits for a line, leaving out the first `mark`.
    ///
    /// # Panics
    /// As [`Self::wait_line`].
    #[track_caller]
    pub fn wait_line_from(
        &self,
        mark: usize,
        wanted: impl Fn(&str) -> bool,
        limit: Duration,
    ) -> Line {
        match self.find_line(mark, wanted, limit) {
            Ok((_, line)) => line,
            Err(why) => {
                panic!("{}: the line waited for did not come: {why}\n{}", self.name, self.timeline)
            }
        }
    }

    /// Waits for a line, leaving out the first `mark`, and returns its place and the line.
    ///
    /// # Errors
    /// Why there is none: the limit is over, or the output has ended.
    pub fn find_line(
        &self,
        mark: usize,
        wanted: impl Fn(&str) -> bool,
        limit: Duration,
    ) -> Result<(usize, Line), String> {
        let deadline = Instant::now() + limit;
        let mut next = mark;
        let mut state = lock(&self.output.state);
        loop {
            while let Some(line) = state.lines.get(next) {
                if wanted(&line.text) {
                    return Ok((next, line.clone()));
                }
                next += 1;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.open == 0 {
                return Err("its output has ended".into());
            }
            if left.is_zero() {
                return Err(format!("waited {limit:?}"));
            }
            state = self
                .output
                .changed
                .wait_timeout(state, left)
                .map_or_else(|e| e.into_inner().0, |r| r.0);
        }
    }

    /// Forgets a line's text (a role's answer may be megabytes); its place stays.
    pub(crate) fn forget_line(&self, at: usize) {
        if let Some(line) = lock(&self.output.state).lines.get_mut(at) {
            line.text = String::new();
        }
    }

    /// The pipe to its standard input, when it was started with one.
    pub(crate) fn stdin(&self) -> &Mutex<Option<ChildStdin>> {
        &self.stdin
    }

    /// What it uses now.
    ///
    /// # Panics
    /// With the timeline, when it has ended.
    #[track_caller]
    #[must_use]
    pub fn usage(&self) -> Usage {
        match Usage::of(self.pid) {
            Ok(usage) => usage,
            Err(e) => panic!("{} (pid {}): {e}\n{}", self.name, self.pid, self.timeline),
        }
    }

    /// Whether the program itself (not what it started) is still there.
    #[must_use]
    pub fn alive(&self) -> bool {
        self.status().is_none()
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        let deadline = Instant::now() + Duration::from_secs(2);
        while self.status().is_none() && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        if self.status().is_none() {
            let mut child = lock(&self.child);
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Reads one pipe to its end on a thread of its own.
struct Reader {
    name: String,
    stream: Stream,
    shown: fn(&str) -> bool,
    output: Arc<Output>,
}

impl Reader {
    fn start(self, pipe: impl Read + Send + 'static, timeline: Arc<Timeline>) {
        thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut bytes = Vec::new();
            while pipe.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
                let at = Instant::now();
                if bytes.last() == Some(&b'\n') {
                    bytes.pop();
                }
                let text = String::from_utf8_lossy(&bytes).into_owned();
                bytes.clear();
                if (self.shown)(&text) {
                    timeline.add(at, &self.name, &text);
                }
                lock(&self.output.state).lines.push(Line { text, at, stream: self.stream });
                self.output.changed.notify_all();
            }
            lock(&self.output.state).open -= 1;
            self.output.changed.notify_all();
        });
    }
}

fn nsenter(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a pid fits"))
}

/// Waits until nsenter's child has become the program (it is `nsenter`, then `ip netns exec`
/// before), and returns its pid. A program that has already ended has the pid last seen, or 0.
fn real_pid(child: &mut Child) -> Option<i32> {
    let outer = i32::try_from(child.id()).ok()?;
    let deadline = Instant::now() + START;
    let mut seen = 0;
    loop {
        if let Some(pid) = children(outer).first() {
            seen = *pid;
            if is_the_program(seen) {
                return Some(seen);
            }
        }
        if child.try_wait().ok()?.is_some() {
            return Some(seen);
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        thread::sleep(Duration::from_micros(300));
    }
}

fn is_the_program(pid: i32) -> bool {
    let Ok(command_line) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let mut words = command_line.split(|b| *b == 0);
    let name =
        |word: Option<&[u8]>| word.map(|w| w.rsplit(|b| *b == b'/').next().unwrap_or(w).to_vec());
    let (first, second, third) = (name(words.next()), words.next(), words.next());
    match first.as_deref() {
        None | Some(b"" | b"nsenter") => false,
        Some(b"ip") => !(second == Some(b"netns") && third == Some(b"exec")),
        Some(_) => true,
    }
}
