//! Who is to be told of an address, and whether it was: the action script and the providers'
//! updates. An address counts as published only when that has succeeded.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use super::state::SavedSink;
use super::{Track, TrackSetup, note};
use crate::base::time::{Clock, Instant};
use crate::event::{Event, Monitor, Severity, What};
use crate::monitor::Effect;
use crate::monitor::ddns::update::UpdateOutcome;

/// Minutes from each try to the next. After the last there is none until the address changes.
const AGAIN: [u64; 5] = [1, 2, 4, 8, 16];

/// Longest wait that is taken over from the state file, in seconds.
const MOST_WAIT: u64 = 30 * 60;

/// One to be told.
#[derive(Clone, Debug)]
pub struct SinkSetup {
    /// What it is called, in logs, the status and the state file.
    pub name: Rc<str>,
    /// A number made of its configuration: a stop counts only as long as that is the same.
    pub print: u32,
    /// The update's place in the configuration; `None`: the action script.
    pub update: Option<usize>,
}

/// A moment that may be from before the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SinceStamp {
    /// There was none.
    Never,
    /// Since the start.
    At(Instant),
    /// Before it: seconds since 1970.
    Wall(i64),
}

impl SinceStamp {
    /// In seconds since 1970; 0 for none.
    #[must_use]
    pub fn wall(self, clock: Clock) -> i64 {
        match self {
            Self::Never => 0,
            Self::At(at) => clock.wall_of(at).secs,
            Self::Wall(secs) => secs,
        }
    }
}

/// What is to be told to whom. [`crate::monitor::Observation::Published`] is the answer.
#[derive(Clone, PartialEq, Debug)]
pub struct Publication {
    /// Names the sink: family, WAN and the sink's name.
    pub key: Rc<str>,
    /// The update's place in the configuration; `None`: the action script.
    pub update: Option<usize>,
    /// The address.
    pub address: IpAddr,
    /// The event for the script.
    pub event: Event,
    /// The WAN's interface; empty: whichever is in use.
    pub wan: Rc<str>,
}

/// One to be told.
#[derive(Debug)]
pub struct Sink {
    /// What it is called.
    pub name: Rc<str>,
    /// The address that it has,
    pub published: Option<IpAddr>,
    /// since when.
    pub at: SinceStamp,
    /// Tries so far to tell it the present address.
    pub tries: u32,
    /// Why the last one failed.
    pub problem: Option<Rc<str>>,
    /// Why it is not to be tried again.
    pub stopped: Option<Rc<str>>,
    key: Rc<str>,
    print: u32,
    update: Option<usize>,
    running: bool,
    due: Option<Instant>,
    /// When it is to be told once more the address that it has. None while it is to be told
    /// another.
    refresh: Option<Instant>,
}

impl Sink {
    pub(super) fn new(setup: &SinkSetup, track: &TrackSetup) -> Self {
        Self {
            name: Rc::clone(&setup.name),
            published: None,
            at: SinceStamp::Never,
            tries: 0,
            problem: None,
            stopped: None,
            key: format!("{}/{}/{}", track.family.digit(), track.wan, setup.name).into(),
            print: setup.print,
            update: setup.update,
            running: false,
            due: Some(Instant::ZERO),
            refresh: None,
        }
    }

    pub(super) fn is_script(&self) -> bool {
        self.update.is_none()
    }

    /// Whether all tries were in vain.
    #[must_use]
    pub fn has_given_up(&self) -> bool {
        usize::try_from(self.tries).is_ok_and(|tries| tries > AGAIN.len()) && !self.running
    }

    /// When it is tried next.
    #[must_use]
    pub fn next(&self, address: Option<IpAddr>) -> Option<Instant> {
        self.due.filter(|_| {
            !self.running
                && self.stopped.is_none()
                && !self.has_given_up()
                && self.published != address
        })
    }

    pub(super) fn poll_at(&self) -> Option<Instant> {
        let due = self.due.filter(|_| !self.has_given_up());
        [due, self.refresh]
            .into_iter()
            .flatten()
            .min()
            .filter(|_| !self.running && self.stopped.is_none())
    }

    /// There is another address.
    pub(super) fn renew(&mut self, now: Instant, address: IpAddr) {
        // Whoever did not say that he took the one in between may have taken it.
        if self.published == Some(address) && (self.tries > 0 || self.running) {
            self.published = None;
        }
        (self.tries, self.due, self.problem) = (0, Some(now), None);
        self.refresh = None;
    }

    /// It is to be told although it knows.
    pub(super) fn forget(&mut self) {
        (self.published, self.tries, self.due) = (None, 0, Some(Instant::ZERO));
        self.refresh = None;
    }

    /// Somebody asks for another try.
    pub(super) fn try_again(&mut self, now: Instant) {
        if !self.running && self.problem.is_some() {
            self.tries = 0;
            self.due = Some(now);
        }
    }

    pub(super) fn restore(&mut self, known: &SavedSink, clock: Clock) {
        self.published = known.published;
        self.at = SinceStamp::Wall(known.at);
        if known.print == self.print {
            self.tries = known.tries;
            self.stopped = known.stopped.as_deref().map(Rc::from);
            // A restart does not shorten the wait, however often it comes. A clock that was set
            // cannot make it longer than it ever is.
            let left = u64::try_from(known.next.saturating_sub(clock.wall.secs))
                .unwrap_or(0)
                .min(MOST_WAIT);
            self.due = Some(clock.now + Duration::from_secs(left));
        } else {
            self.due = Some(clock.now);
        }
    }

    pub(super) fn saved(&self, clock: Clock) -> SavedSink {
        SavedSink {
            name: self.name.to_string(),
            print: self.print,
            published: self.published,
            at: self.at.wall(clock),
            tries: self.tries,
            next: self.due.filter(|due| *due > clock.now).map_or(0, |due| {
                clock
                    .wall
                    .secs
                    .saturating_add(i64::try_from(due.since(clock.now).as_secs()).unwrap_or(0))
            }),
            stopped: self.stopped.as_deref().map(str::to_owned),
        }
    }

    /// How long ago it was told.
    fn age(&self, clock: Clock) -> Duration {
        let secs = clock.wall.secs.saturating_sub(self.at.wall(clock));
        Duration::from_secs(u64::try_from(secs).unwrap_or(0))
    }
}

impl Track {
    /// Sets when those who know the address are to be told again, after a start.
    pub(super) fn plan_refresh(&mut self, refresh: Option<Duration>, clock: Clock) {
        let address = self.address;
        for sink in &mut self.sinks {
            let left = refresh.map(|every| every.saturating_sub(sink.age(clock)));
            let has_it = address.is_some() && sink.published == address;
            sink.refresh = left.filter(|_| has_it).map(|left| clock.now + left);
        }
    }

    /// Tells those who are due. Returns whether there were any.
    pub(super) fn publish(
        &mut self,
        now: Instant,
        refresh: Option<Duration>,
        out: &mut Vec<Effect>,
    ) -> bool {
        let Some(address) = self.address.filter(|_| self.met) else { return false };
        let mut any = false;
        let wan = self.wan();
        for sink in self.sinks.iter_mut().filter(|sink| !sink.running) {
            let stale = refresh.is_some() && sink.refresh.is_some_and(|at| at <= now);
            if stale && sink.published == Some(address) && sink.stopped.is_none() {
                (sink.tries, sink.due, sink.refresh) =
                    (0, Some(now), refresh.map(|every| now + every));
            } else if sink.published == Some(address) && sink.tries == 0 {
                sink.due = None;
                continue;
            }
            if sink.stopped.is_some() || sink.has_given_up() || sink.due.is_none_or(|due| due > now)
            {
                continue;
            }
            sink.tries += 1;
            sink.due = None;
            sink.running = true;
            any = true;
            let (old, family) = (sink.published, self.family);
            let what = What::ExternalChanged { new: address, old, family, wan: wan.clone() };
            // First to the file: after a crash nobody knows whether it was told, and it is told
            // again.
            out.push(Effect::Save);
            out.push(Effect::Publish(Box::new(Publication {
                key: Rc::clone(&sink.key),
                update: sink.update,
                address,
                event: Event { monitor: Monitor::Ddns, owner: 0, what },
                wan: Rc::clone(&self.wan),
            })));
        }
        any
    }

    /// Takes what came of it. Returns whether it was one of this track's.
    pub(super) fn published(
        &mut self,
        now: Instant,
        refresh: Option<Duration>,
        key: &str,
        address: IpAddr,
        outcome: &UpdateOutcome,
        out: &mut Vec<Effect>,
    ) -> bool {
        let present = self.address;
        let Some(sink) = self.sinks.iter_mut().find(|sink| *sink.key == *key) else { return false };
        sink.running = false;
        let current = present == Some(address);
        let name = Rc::clone(&sink.name);
        let script = sink.is_script();
        let mut tell = |severity, text: String| out.push(note(severity, text));
        match outcome {
            UpdateOutcome::Done => {
                sink.published = Some(address);
                sink.at = SinceStamp::At(now);
                sink.problem = None;
                if current {
                    (sink.tries, sink.due, sink.refresh) =
                        (0, None, refresh.map(|every| now + every));
                }
                if !script {
                    tell(Severity::Notice, format!("Update of {name}: {address} is published"));
                }
            }
            UpdateOutcome::Stop(why) => {
                sink.problem = Some(Rc::clone(why));
                sink.stopped = Some(Rc::clone(why));
                tell(
                    Severity::Error,
                    format!(
                        "Update of {name} failed and is not tried again until its configuration changes: {why}"
                    ),
                );
            }
            UpdateOutcome::Wait(wait, why) => {
                if sink.problem.as_ref() != Some(why) {
                    let minutes = wait.as_secs() / 60;
                    tell(
                        Severity::Warning,
                        format!("Update of {name} failed, tried again in {minutes} min: {why}"),
                    );
                }
                sink.problem = Some(Rc::clone(why));
                if current {
                    sink.tries = sink.tries.saturating_sub(1);
                    sink.due = Some(now + *wait);
                }
            }
            UpdateOutcome::Failed(why) => {
                sink.problem = Some(Rc::clone(why));
                let tries = usize::try_from(sink.tries).unwrap_or(usize::MAX);
                match tries.checked_sub(1).and_then(|at| AGAIN.get(at)) {
                    _ if !current => {}
                    Some(minutes) => {
                        sink.due = Some(now + Duration::from_secs(minutes * 60));
                        // A script's failure has been told with its status.
                        if !script {
                            let text = format!(
                                "Update of {name} failed, tried again in {minutes} min: {why}"
                            );
                            tell(Severity::Warning, text);
                        }
                    }
                    None => {
                        let what = if script {
                            "Action script".to_owned()
                        } else {
                            format!("Update of {name}")
                        };
                        tell(
                            Severity::Warning,
                            format!(
                                "{what} failed {tries} times, {address} is not published: tried again when the address changes, or on SIGUSR1 ({why})"
                            ),
                        );
                    }
                }
            }
        }
        true
    }

    /// What runs goes on after a reload.
    pub(super) fn inherit_sinks(&mut self, before: &Self) {
        for sink in &mut self.sinks {
            if let Some(old) =
                before.sinks.iter().find(|old| old.key == sink.key && old.print == sink.print)
            {
                sink.running = old.running;
                sink.problem = old.problem.clone();
                (sink.due, sink.refresh, sink.at) = (old.due, old.refresh, old.at);
            }
        }
    }
}
