//! The ping monitor: statistics of one address or many, at intervals.

use std::rc::Rc;
use std::time::Duration;

use super::{Effect, Observation, Progress};
use crate::base::time::Instant;
use crate::event::{Event, Monitor, What};
use crate::probe::round::{Checker, Plan, RoundVerdict, Settle};
use crate::probe::{Owner, Reason};

/// One address and its last result.
#[derive(Debug)]
pub struct PingTarget {
    /// As configured.
    pub text: Rc<str>,
    /// Its checks.
    pub checker: Checker,
    /// How far behind the first target's its checks start.
    offset: Duration,
    /// The last verdict.
    pub last: Option<RoundVerdict>,
    /// What keeps probes from being sent, when last said.
    problem: Option<Reason>,
    /// The last verdict is not like the one before.
    changed: bool,
}

/// The monitor.
#[derive(Debug)]
pub struct Ping {
    targets: Vec<PingTarget>,
    /// When each of them wants to be ticked. Kept, since asking a thousand of them at every turn of
    /// the loop would be more work than all the rest.
    due: Vec<Option<Instant>>,
    /// Number of the first target; the others follow it.
    first: Owner,
}

impl Ping {
    /// Checks `targets`, numbered from `first` on. Their checks are spread over the interval, so
    /// that a thousand addresses make an even trickle and not a burst that a cheap router drops.
    #[must_use]
    pub fn new(first: Owner, targets: &[Rc<str>], plan: Plan, now: Instant) -> Self {
        let n = u32::try_from(targets.len()).unwrap_or(u32::MAX).max(1);
        let target = |(i, text): (u32, &Rc<str>)| {
            let offset = plan.interval / n * i;
            let checker = Checker::new(first + i, plan, Settle::AllProbes, now + offset);
            PingTarget {
                text: text.clone(),
                checker,
                offset,
                last: None,
                problem: None,
                changed: false,
            }
        };
        let targets: Vec<_> = (0..).zip(targets).map(target).collect();
        Self { due: targets.iter().map(|t| t.checker.poll_at()).collect(), targets, first }
    }

    /// Takes over what an earlier configuration's monitor knew about the same addresses.
    pub fn inherit(&mut self, old: Self) {
        for new in &mut self.targets {
            if let Some(o) = old.targets.iter().find(|o| o.text == new.text) {
                new.checker.counters = o.checker.counters;
                new.last.clone_from(&o.last);
                new.problem.clone_from(&o.problem);
            }
        }
    }

    /// Takes note of what was seen and says what to do.
    pub fn on(&mut self, now: Instant, seen: &Observation<'_>, out: &mut Vec<Effect>) {
        match seen {
            Observation::Tick => {
                let all = self.targets.iter_mut().zip(&mut self.due);
                for (t, due) in all.filter(|(_, due)| due.is_some_and(|at| at <= now)) {
                    t.checker.tick(now, out);
                    t.judge(out);
                    *due = t.checker.poll_at();
                }
            }
            // No tick: the reply to the next probe may wait in the socket, see `Updown::on`.
            Observation::Reply(id, rtt) => self.change(id.owner, |t| {
                t.checker.reply(now, *id, *rtt);
                t.judge(out);
            }),
            Observation::Lost(id, reason) => self.change(id.owner, |t| {
                t.checker.lost(*id, reason.clone());
                t.judge(out);
            }),
            Observation::Hint(owner, error) => self.change(*owner, |t| t.checker.hint(*error)),
            Observation::Answer { .. }
            | Observation::Links(_)
            | Observation::Routed { .. }
            | Observation::Found(..)
            | Observation::Published { .. }
            | Observation::Ways(_)
            | Observation::Moved => {}
            Observation::Hold(owner) => self.change(*owner, |t| t.checker.hold()),
            // They stay spread also when all of them begin at the same moment.
            Observation::Ready(owner) => self.change(*owner, |t| t.checker.release(now + t.offset)),
            Observation::Resumed => self.change_all(|t| t.checker.restart(now + t.offset)),
            Observation::CheckNow => self.change_all(|t| t.checker.check_now(now)),
        }
    }

    /// When the monitor wants a [`Observation::Tick`].
    #[must_use]
    pub fn poll_at(&self) -> Option<Instant> {
        self.due.iter().flatten().min().copied()
    }

    /// Whether a target came, went, or is gone for another reason since this was asked last.
    pub fn take_changed(&mut self, owner: Owner) -> bool {
        let target = self.place(owner).and_then(|at| self.targets.get_mut(at));
        target.is_some_and(|t| std::mem::take(&mut t.changed))
    }

    /// All targets, for the status.
    #[must_use]
    pub fn targets(&self) -> &[PingTarget] {
        &self.targets
    }

    /// Every change of a target's checks goes through here or [`Ping::change_all`], which keep what
    /// is known of when it is due.
    fn change(&mut self, owner: Owner, change: impl FnOnce(&mut PingTarget)) {
        let Some(at) = self.place(owner) else { return };
        if let (Some(target), Some(due)) = (self.targets.get_mut(at), self.due.get_mut(at)) {
            change(target);
            *due = target.checker.poll_at();
        }
    }

    /// Where a target stands in the list.
    fn place(&self, owner: Owner) -> Option<usize> {
        usize::try_from(owner.checked_sub(self.first)?).ok()
    }

    fn change_all(&mut self, mut change: impl FnMut(&mut PingTarget)) {
        for (target, due) in self.targets.iter_mut().zip(&mut self.due) {
            change(target);
            *due = target.checker.poll_at();
        }
    }
}

impl PingTarget {
    fn judge(&mut self, out: &mut Vec<Effect>) {
        while let Some(verdict) = self.checker.judge() {
            let (owner, target) = (self.checker.owner(), &self.text);
            let event = |what| Effect::Emit(Event { monitor: Monitor::Ping, owner, what });
            let reason = (!verdict.good).then(|| verdict.reason.clone());
            if reason.is_some() {
                out.push(Effect::Refresh(owner));
            }
            let problem = reason.clone().filter(Reason::not_sent);
            if problem != self.problem {
                // Silence is no answer to "can it be sent?", a reply is.
                if problem.is_some() || verdict.good {
                    out.push(event(What::Sending {
                        target: target.clone(),
                        problem: problem.clone(),
                    }));
                    self.problem = problem;
                }
            }
            out.push(event(What::PingResult {
                target: target.clone(),
                stats: verdict.stats,
                reason,
            }));
            let alike = |last: &RoundVerdict| {
                last.good == verdict.good && (last.good || last.reason.is_like(&verdict.reason))
            };
            self.changed |= !self.last.as_ref().is_some_and(alike);
            self.last = Some(verdict);
        }
    }
}

impl Progress for Ping {
    fn keeps_up(&self, now: Instant) -> bool {
        self.targets.iter().all(|t| t.checker.keeps_up(now))
    }
}
