//! The additional addresses (`addping`) of the updown monitor: which of them answers tells where a
//! fault lies.
//!
//! They are looked at whenever the monitored address changes, all at once, and again and again
//! while it is offline.

use std::rc::Rc;
use std::time::Duration;

use crate::base::time::Instant;
use crate::event::{Event, Monitor, What};
use crate::monitor::Effect;
use crate::probe::round::{Checker, Plan, Settle};
use crate::probe::{Owner, Reason};

/// What a look at them is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Look {
    /// The monitored address went offline: report all, and draw the conclusion.
    Offline,
    /// It came online: report all.
    Online,
    /// It is still offline: report what has changed.
    Again,
}

#[derive(Debug)]
struct Secondary {
    text: Rc<str>,
    checker: Checker,
    /// Result of the look under way.
    seen: Option<bool>,
    /// Result of the last whole look.
    online: Option<bool>,
    /// It has no address, so its silence says nothing about where a fault lies.
    unresolved: bool,
}

/// All of them.
#[derive(Debug)]
pub struct Secondaries {
    all: Vec<Secondary>,
    target: Rc<str>,
    interval: Duration,
    look: Option<Look>,
    /// When it began.
    began: Instant,
    /// The monitored address was still silent in a check that began with the look or after it.
    confirmed: bool,
    /// When to look again.
    next: Option<Instant>,
    /// Why the monitored address is offline.
    reason: Reason,
}

impl Secondaries {
    /// `target` is the monitored address; the others are checked as it is, with the same plan.
    #[must_use]
    pub fn new(hosts: &[(Owner, Rc<str>)], target: &Rc<str>, plan: Plan, now: Instant) -> Self {
        let secondary = |(owner, text): &(Owner, Rc<str>)| Secondary {
            text: text.clone(),
            checker: Checker::idle(*owner, plan, Settle::FirstReply, now),
            seen: None,
            online: None,
            unresolved: false,
        };
        Self {
            all: hosts.iter().map(secondary).collect(),
            target: target.clone(),
            interval: plan.interval,
            look: None,
            began: now,
            confirmed: false,
            next: None,
            reason: Reason::Silent,
        }
    }

    /// Looks at all of them because the monitored address changed; `offline` is why it is, if so.
    pub fn look(&mut self, now: Instant, offline: Option<&Reason>) {
        self.reason = offline.cloned().unwrap_or(Reason::Silent);
        self.start(now, if offline.is_some() { Look::Offline } else { Look::Online });
    }

    /// The monitored address is still offline, by a check that began then. What has changed among
    /// the others is told only after that: the moment in which all of them come back must not look
    /// like a fault beyond them.
    pub fn confirm(&mut self, began: Instant) {
        self.confirmed |= began >= self.began;
    }

    /// Watches for changes: the monitored address is offline already.
    pub fn watch(&mut self, now: Instant) {
        self.start(now, Look::Again);
    }

    /// Begins a look under way anew: the machine slept.
    pub fn restart(&mut self, now: Instant) {
        if let Some(look) = self.look {
            self.start(now, look);
        }
    }

    /// The checker of one of them.
    pub fn checker(&mut self, owner: Owner) -> Option<&mut Checker> {
        self.all.iter_mut().map(|s| &mut s.checker).find(|c| c.owner() == owner)
    }

    /// When [`Secondaries::tick`] must be called next.
    #[must_use]
    pub fn poll_at(&self) -> Option<Instant> {
        self.all.iter().filter_map(|s| s.checker.poll_at()).chain(self.next_look()).min()
    }

    /// A look that takes longer than the interval is not cut short by the next one: a dead address
    /// would never be seen to be dead.
    fn next_look(&self) -> Option<Instant> {
        self.next.filter(|_| self.look.is_none())
    }

    /// Goes on with a look, or begins the next one.
    pub fn tick(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if self.next_look().is_some_and(|next| next <= now) {
            self.start(now, Look::Again);
        }
        for s in &mut self.all {
            s.checker.tick(now, out);
        }
    }

    /// Reports a look when it is complete.
    pub fn judge(&mut self, out: &mut Vec<Effect>) {
        let Some(look) = self.look else { return };
        for s in &mut self.all {
            if let Some(verdict) = s.checker.judge() {
                s.seen = Some(verdict.good);
                s.unresolved = matches!(verdict.reason, Reason::Unresolved(_)) && !verdict.good;
                if !verdict.good {
                    out.push(Effect::Refresh(s.checker.owner()));
                }
            }
        }
        let is_complete = self.all.iter().all(|s| s.seen.is_some());
        let is_news = self.all.iter().any(|s| s.seen != s.online);
        if is_complete && (look != Look::Again || !is_news || self.confirmed) {
            self.report(look, out);
            self.look = None;
        }
    }

    /// Each and what was last seen of it.
    pub fn known(&self) -> impl Iterator<Item = (&str, Option<bool>)> {
        self.all.iter().map(|s| (&*s.text, s.online))
    }

    /// Whether their checks are on time.
    #[must_use]
    pub fn keeps_up(&self, now: Instant) -> bool {
        self.all.iter().all(|s| s.checker.keeps_up(now))
    }

    fn start(&mut self, now: Instant, look: Look) {
        if self.all.is_empty() {
            return;
        }
        for s in &mut self.all {
            s.checker.stop();
            s.checker.check_now(now);
            s.seen = None;
        }
        (self.began, self.confirmed) = (now, false);
        self.next = (look != Look::Online).then(|| now + self.interval.max(Duration::from_secs(1)));
        self.look = Some(look);
    }

    fn report(&mut self, look: Look, out: &mut Vec<Effect>) {
        let mut changed = false;
        for s in &mut self.all {
            let is_new = s.seen != s.online;
            s.online = s.seen;
            changed |= is_new;
            if is_new || look != Look::Again {
                let what =
                    What::Secondary { target: s.text.clone(), online: s.online == Some(true) };
                out.push(event(s.checker.owner(), what));
            }
        }
        if look == Look::Offline || (look == Look::Again && changed) {
            let owner = self.all.first().map_or(0, |s| s.checker.owner());
            out.push(event(owner, What::Conclusion(self.conclusion().into())));
        }
    }

    /// Where the fault lies. The order of the addresses is the user's preference, so nothing is
    /// concluded from it.
    fn conclusion(&self) -> String {
        match &self.reason {
            Reason::Send(_) => {
                return format!(
                    "Probe of {} {}: the fault lies in this system",
                    self.target, self.reason
                );
            }
            Reason::Unresolved(why) => {
                return format!("{}: {why}: the fault lies in the name or in DNS", self.target);
            }
            _ => {}
        }
        let list = |online: bool| {
            let telling =
                self.all.iter().filter(|s| !s.unresolved && (s.online == Some(true)) == online);
            let all: Vec<&str> = telling.map(|s| &*s.text).collect();
            (all.len(), all.join(", "))
        };
        let verb =
            |n: usize, one: &'static str, more: &'static str| if n == 1 { one } else { more };
        let ((n_on, on), (n_off, off)) = (list(true), list(false));
        if n_on + n_off == 0 {
            "No secondary IP has an address: nothing is known of where the fault lies".to_owned()
        } else if n_off == 0 {
            let them = verb(n_on, "it", "them");
            format!(
                "{on} {}: the fault lies beyond {them}, or in {}",
                verb(n_on, "answers", "answer"),
                self.target
            )
        } else if n_on == 0 {
            let them = verb(n_off, "it", "them");
            format!(
                "{off} {} not answer either: the fault lies between this system and {them}, or in {them}",
                verb(n_off, "does", "do")
            )
        } else {
            let (answer, silent) = (verb(n_on, "answers", "answer"), verb(n_off, "does", "do"));
            format!("{on} {answer}, {off} {silent} not: the fault lies in or before {off}")
        }
    }
}

fn event(owner: Owner, what: What) -> Effect {
    Effect::Emit(Event { monitor: Monitor::Updown, owner, what })
}
