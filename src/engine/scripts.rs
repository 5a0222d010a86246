//! Calling the action script: in order for each monitor, one at a time, with a time limit, and
//! never in the way of a probe.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::base::number::Plain;
use crate::base::time::Instant;
use crate::engine::world::{Record, WaitSource, Waited, World};
use crate::event::{Action, Monitor, Severity};

/// Calls that may wait for one monitor, beside one for each of its targets.
const WAITING: usize = 64;
/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// From SIGTERM to SIGKILL when imon itself has to end.
pub const LAST_GRACE: Duration = Duration::from_millis(1200);
/// What is kept of a script's line.
const LINE: usize = 500;
/// Bytes read from a script at once,
const BUFFER: usize = 1024;
/// and how often in one turn of the loop. It may be short lines, each of which costs system calls
/// to log.
const A_TURN: usize = 2;
/// As often when the script has ended: all that a pipe holds (pipe(7)).
const A_PIPE: usize = 64;
/// Background processes of scripts that have ended whose output is still passed on.
const LEFTOVERS: usize = 8;

/// One call to make.
pub struct ScriptCall<F> {
    /// Name and arguments.
    pub action: Action,
    /// Additions to the environment.
    pub env: Vec<(&'static str, String)>,
    /// Whoever wants to know how it ends.
    pub ticket: Option<CallTicket<F>>,
}

/// A call whose end somebody waits for.
pub struct CallTicket<F> {
    /// What it is for.
    pub key: Rc<str>,
    /// The address that the script is told.
    pub address: IpAddr,
    /// Where its success is noted, also if imon does not live to see it.
    pub record: Option<Record<F>>,
}

/// A call with a ticket that has ended, and why not well.
pub type Ended<F> = (CallTicket<F>, Result<(), String>);

/// The script and its calls.
pub struct Actions<W: World> {
    script: Option<Rc<str>>,
    /// `$1`.
    instance: String,
    limit: Duration,
    queues: Vec<Queue<W>>,
    leftovers: Vec<Leftover<W>>,
    /// Scripts started so far.
    counter: u64,
    /// imon has to end, and ends what runs.
    stopping: bool,
    /// Calls that ended with a status other than 0, or could not be made.
    pub failed: u64,
    /// Calls with a ticket that have ended, and why not well.
    ended: Vec<Ended<W::File>>,
}

struct Leftover<W: World> {
    monitor: Monitor,
    name: &'static str,
    output: W::Output,
    lines: Lines,
    number: u64,
}

struct Queue<W: World> {
    monitor: Monitor,
    jobs: VecDeque<ScriptCall<W::File>>,
    bound: usize,
    dropped: u64,
    running: Option<RunningScript<W>>,
}

struct RunningScript<W: World> {
    /// As it was started. Since then another may be configured, or none.
    path: Rc<str>,
    name: &'static str,
    script: W::Script,
    output: Option<W::Output>,
    lines: Lines,
    phase: ScriptPhase,
    /// Tells its output from the others.
    number: u64,
    ticket: Option<CallTicket<W::File>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ScriptPhase {
    /// May run until then.
    Until(Instant),
    /// Was asked to end, and is killed then.
    Ending(Instant),
    Killed,
}

impl<W: World> Actions<W> {
    /// The calls of a configuration without a script: none.
    #[must_use]
    pub fn new() -> Self {
        Self {
            script: None,
            instance: String::new(),
            limit: Duration::ZERO,
            queues: Vec::new(),
            leftovers: Vec::new(),
            counter: 0,
            stopping: false,
            failed: 0,
            ended: Vec::new(),
        }
    }

    /// What the configuration says. What runs or waits goes on. `targets` widens the queues: each
    /// of them may report at the same moment.
    pub fn configure(
        &mut self,
        script: Option<String>,
        instance: &str,
        limit: Duration,
        targets: usize,
    ) {
        self.script = script.map(Rc::from);
        instance.clone_into(&mut self.instance);
        self.limit = limit;
        for monitor in Monitor::ALL {
            let bound = WAITING + targets;
            match self.queues.iter_mut().find(|q| q.monitor == monitor) {
                Some(queue) => queue.bound = bound,
                None => self.queues.push(Queue {
                    monitor,
                    jobs: VecDeque::new(),
                    bound,
                    dropped: 0,
                    running: None,
                }),
            }
        }
    }

    /// Whether there is a script.
    #[must_use]
    pub fn has_script(&self) -> bool {
        self.script.is_some()
    }

    /// Calls that wait, and calls that run.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        let waiting = self.queues.iter().map(|q| q.jobs.len()).sum();
        (waiting, self.queues.iter().filter(|q| q.running.is_some()).count())
    }

    /// Queues a call. When the queue is full the oldest `ping-result` is dropped, or the oldest
    /// call of all.
    pub fn push(&mut self, monitor: Monitor, job: ScriptCall<W::File>, world: &mut W) {
        let Some(queue) = self.queues.iter_mut().find(|q| q.monitor == monitor) else { return };
        if queue.jobs.len() >= queue.bound {
            let at = queue.jobs.iter().position(|j| j.action.name == "ping-result").unwrap_or(0);
            let old = queue.jobs.remove(at);
            let (old, ticket) = old.map_or(("", None), |j| (j.action.name, j.ticket));
            self.ended.extend(ticket.map(|t| (t, Err("the call was dropped".to_owned()))));
            if queue.dropped == 0 {
                let script = self.script.as_deref().unwrap_or_default();
                let text = format_args!(
                    "Action script '{script}' is too slow: a call for {old} is dropped"
                );
                world.log(Severity::Warning, Some(monitor), text);
            }
            queue.dropped += 1;
        }
        queue.jobs.push_back(job);
    }

    /// Starts what can be started, and ends what runs too long.
    pub fn tick(&mut self, now: Instant, world: &mut W) {
        for queue in &mut self.queues {
            if let Some(running) = &mut queue.running {
                running.enforce(now, self.limit, queue.monitor, world);
            }
            let Some(script) = &self.script else {
                let tickets = queue.jobs.drain(..).filter_map(|job| job.ticket);
                self.ended
                    .extend(tickets.map(|t| (t, Err("there is no action script".to_owned()))));
                queue.dropped = 0;
                continue;
            };
            while queue.running.is_none() {
                let Some(job) = queue.jobs.pop_front() else { break };
                let name = job.action.name;
                let mut args = Vec::with_capacity(3 + job.action.args.len());
                args.extend([
                    self.instance.clone(),
                    if world.is_syslog() { "0" } else { "1" }.to_owned(),
                    name.to_owned(),
                ]);
                args.extend(job.action.args);
                let record = job.ticket.as_ref().and_then(|t| t.record.as_ref());
                match world.run_script(script, &args, &job.env, record) {
                    Ok((process, output)) => {
                        let phase = ScriptPhase::Until(now + self.limit);
                        let (output, lines) = (Some(output), Lines::default());
                        self.counter += 1;
                        let (path, number) = (Rc::clone(script), self.counter);
                        let ticket = job.ticket;
                        queue.running = Some(RunningScript {
                            path,
                            name,
                            script: process,
                            output,
                            lines,
                            phase,
                            number,
                            ticket,
                        });
                    }
                    Err(e) => {
                        self.failed += 1;
                        let why = W::shortage_in_words(&e);
                        let text = format_args!(
                            "Action script '{script}' could not be run for {name}: {why}"
                        );
                        world.log(Severity::Error, Some(queue.monitor), text);
                        self.ended.extend(job.ticket.map(|t| (t, Err(why))));
                    }
                }
            }
            if queue.jobs.is_empty() && queue.dropped > 0 {
                let (n, s) = (queue.dropped, if queue.dropped == 1 { "" } else { "s" });
                queue.dropped = 0;
                let text =
                    format_args!("Action script '{script}' has caught up; {n} call{s} dropped");
                world.log(Severity::Warning, Some(queue.monitor), text);
            }
        }
    }

    /// When [`Actions::tick`] must be called next.
    #[must_use]
    pub fn poll_at(&self) -> Option<Instant> {
        let next = |q: &Queue<W>| match q.running.as_ref()?.phase {
            ScriptPhase::Until(at) | ScriptPhase::Ending(at) => Some(at),
            ScriptPhase::Killed => None,
        };
        self.queues.iter().filter_map(next).min()
    }

    /// Adds the scripts' outputs to what is waited for.
    pub fn add_to(&self, world: &mut W) {
        for r in self.queues.iter().filter_map(|q| q.running.as_ref()) {
            if let Some(output) = &r.output {
                world.watch(Waited::Output(r.number), WaitSource::Output(output));
            }
        }
        for leftover in &self.leftovers {
            world.watch(Waited::Output(leftover.number), WaitSource::Output(&leftover.output));
        }
    }

    /// Passes on what scripts have printed.
    pub fn after(&mut self, world: &mut W) {
        for queue in &mut self.queues {
            if let Some(r) =
                queue.running.as_mut().filter(|r| world.is_ready(Waited::Output(r.number)))
            {
                r.read(A_TURN, queue.monitor, world);
            }
        }
        self.leftovers.retain_mut(|l| {
            !world.is_ready(Waited::Output(l.number))
                || read(&mut l.output, &mut l.lines, A_TURN, l.monitor, l.name, world)
        });
    }

    /// Looks for scripts that have ended. To be called on SIGCHLD.
    pub fn reap(&mut self, world: &mut W) {
        for queue in &mut self.queues {
            let Some(mut r) = queue.running.take_if(|r| world.has_ended(&r.script)) else {
                continue;
            };
            if !matches!(r.phase, ScriptPhase::Until(_)) {
                // Its time was over: what it left behind goes with it. Its number is still its own,
                // it is not reaped.
                world.kill(&r.script);
            }
            r.read(A_PIPE, queue.monitor, world);
            let ending = world.reap(&mut r.script);
            let (good, how) = (ending.is_success(), ending.to_string());
            self.ended
                .extend(r.ticket.take().map(|t| (t, if good { Ok(()) } else { Err(how.clone()) })));
            // A script that is ended because imon has to end did nothing wrong.
            if !self.stopping && !good {
                self.failed += 1;
                let last = r.lines.last();
                let sep = if last.is_empty() { "" } else { ": " };
                let text = format_args!(
                    "Action script '{}' failed for {} with {how}{sep}{last}",
                    r.path, r.name
                );
                world.log(Severity::Warning, Some(queue.monitor), text);
            }
            if let (Some(output), ScriptPhase::Until(_)) = (r.output, r.phase) {
                // Something runs on in the background, a restarted service for instance: it may go
                // on printing.
                if self.leftovers.len() >= LEFTOVERS {
                    self.leftovers.remove(0);
                }
                let (monitor, name, lines, number) = (queue.monitor, r.name, r.lines, r.number);
                self.leftovers.push(Leftover { monitor, name, output, lines, number });
            }
        }
    }

    /// A call with a ticket that has ended, and why not well.
    pub fn ended(&mut self) -> Option<Ended<W::File>> {
        self.ended.pop()
    }

    /// Begins to end everything: imon has to stop. What waits is not called any more.
    pub fn stop(&mut self, now: Instant, world: &mut W) {
        self.stopping = true;
        for queue in &mut self.queues {
            if !queue.jobs.is_empty() {
                let (n, s) = (queue.jobs.len(), if queue.jobs.len() == 1 { "" } else { "s" });
                let text =
                    format_args!("Stopping: no time for {n} waiting call{s} of the action script");
                world.log(Severity::Warning, Some(queue.monitor), text);
                queue.jobs.clear();
            }
            if std::mem::take(&mut queue.dropped) > 1 {
                let text = format_args!(
                    "Stopping: the action script was too slow to the end, calls were dropped"
                );
                world.log(Severity::Warning, Some(queue.monitor), text);
            }
            if let Some(r) = &mut queue.running {
                let text =
                    format_args!("Stopping: ending the action script that runs for {}", r.name);
                world.log(Severity::Warning, Some(queue.monitor), text);
                world.terminate(&r.script);
                r.phase = ScriptPhase::Ending(now + LAST_GRACE);
            }
        }
    }
}

impl<W: World> Default for Actions<W> {
    fn default() -> Self {
        Self::new()
    }
}

impl<W: World> RunningScript<W> {
    /// Keeps the time limit: SIGTERM, and a little later SIGKILL, to the script and all it started.
    fn enforce(&mut self, now: Instant, limit: Duration, monitor: Monitor, world: &mut W) {
        match self.phase {
            ScriptPhase::Until(at) if at <= now => {
                let (script, name, limit) = (&self.path, self.name, Plain(limit.as_secs_f64()));
                let text = format_args!(
                    "Action script '{script}' did not end within {limit} s for {name}: ending it"
                );
                world.log(Severity::Warning, Some(monitor), text);
                world.terminate(&self.script);
                self.phase = ScriptPhase::Ending(now + GRACE);
            }
            ScriptPhase::Ending(at) if at <= now => {
                world.kill(&self.script);
                self.phase = ScriptPhase::Killed;
            }
            _ => {}
        }
    }

    fn read(&mut self, most: usize, monitor: Monitor, world: &mut W) {
        self.output
            .take_if(|output| !read(output, &mut self.lines, most, monitor, self.name, world));
    }
}

/// Passes lines on until there is nothing more now, or `most` buffers were full: a script that
/// prints without end must not keep us here. Returns whether there may be more later.
fn read<W: World>(
    output: &mut W::Output,
    lines: &mut Lines,
    most: usize,
    monitor: Monitor,
    name: &str,
    world: &mut W,
) -> bool {
    let mut buffer = [0; BUFFER];
    for _ in 0..most {
        match world.read_output(output, &mut buffer) {
            None => return true,
            Some(0) => {
                lines.end(|line| world.log_output(monitor, name, line));
                return false;
            }
            Some(n) => lines.add(buffer.get(..n).unwrap_or_default(), |line| {
                world.log_output(monitor, name, line)
            }),
        }
    }
    true
}

/// Cuts a stream into lines. Long ones are cut, what is not UTF-8 is replaced.
#[derive(Default)]
struct Lines {
    partial: Vec<u8>,
    last: String,
}

impl Lines {
    fn add(&mut self, bytes: &[u8], mut line: impl FnMut(&str)) {
        for &b in bytes {
            if b == b'\n' {
                self.end(&mut line);
            } else if self.partial.len() < LINE {
                self.partial.push(b);
            }
        }
    }

    fn end(&mut self, mut line: impl FnMut(&str)) {
        if self.partial.last() == Some(&b'\r') {
            self.partial.pop();
        }
        if !self.partial.is_empty() {
            self.last = String::from_utf8_lossy(&self.partial).into_owned();
            line(&self.last);
        }
        self.partial.clear();
    }

    /// The last line, even if it has no end.
    fn last(&self) -> String {
        if self.partial.is_empty() {
            self.last.clone()
        } else {
            String::from_utf8_lossy(&self.partial).into_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_cut_into_lines() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        lines.add(b"one\r\ntw", |l| seen.push(l.to_owned()));
        lines.add(b"o\n\n\xff\n", |l| seen.push(l.to_owned()));
        lines.add(&[b'x'; 2000], |l| seen.push(l.to_owned()));
        lines.end(|l| seen.push(l.to_owned()));
        assert_eq!(seen, ["one", "two", "\u{fffd}", "x".repeat(LINE).as_str()]);
        assert_eq!(lines.last(), "x".repeat(LINE));
    }
}
