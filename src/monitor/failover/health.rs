//! What one WAN is like: its link, and whether enough of its targets answer through it. Pure.
//!
//! A link that is not ready makes the WAN down at once; one that is makes it nothing but worth a
//! check. A target that is silent says nothing as long as enough others answer.
//!
//! An address or a gateway that goes is no outage yet: a DHCP client that renews its lease takes
//! the old one away before it sets the new one. For [`PASSING`] such a WAN is *away*: nothing is
//! sent over it, and what it is like stays.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::rc::Rc;
use std::time::Duration;

use super::choice::Condition;
use crate::base::time::Instant;
use crate::monitor::Effect;
use crate::probe::round::{Checker, Plan, Settle};
use crate::probe::{Owner, ProbeId, Reason};
use crate::routing::LinkState;
use crate::wire::icmp::IcmpError;

/// Probes over which quality is judged.
pub const WINDOW: usize = 60;
/// Fewer say nothing about quality.
pub const FEWEST: usize = 20;
/// An address or a gateway that is away for less than this is not missed: how long DHCP clients
/// take is measured in docs/renewal.md.
pub const PASSING: Duration = Duration::from_millis(300);
/// A probe that is unanswered for longer than twice the last round-trip time and this was lost
/// before the link was.
const OVERDUE: Duration = Duration::from_millis(50);
/// On trial it is not checked more often than this.
const TRIAL_INTERVAL: Duration = Duration::from_millis(100);
/// After how many milliseconds a link that came back is started over, as long as nothing answers.
const AFRESH: [u64; 4] = [0, 100, 300, 700];

/// What to check.
#[derive(Clone, Debug)]
pub struct HealthSetup {
    /// The targets as configured, with their numbers; at least one.
    pub targets: Vec<(Owner, Rc<str>)>,
    /// Their checks.
    pub plan: Plan,
    /// So many must answer, at least 1; all, where there are fewer.
    pub min_up: usize,
    /// What makes the WAN degraded.
    pub quality: Quality,
    /// Its only target is its gateway, because nothing else is configured.
    pub by_gateway: bool,
}

/// The limits beyond which a WAN that answers is degraded, over the last [`WINDOW`] probes.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Quality {
    /// Lost probes, as a fraction from 0 to 1.
    pub loss: Option<Limit<f64>>,
    /// Mean round-trip time.
    pub rtt: Option<Limit<Duration>>,
}

/// A limit with hysteresis: beyond `most` it is bad, and good again only at `again` or below.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Limit<T> {
    /// Beyond this it is bad.
    pub most: T,
    /// At this, or below, it is good again.
    pub again: T,
}

impl<T: PartialOrd> Limit<T> {
    fn is_over(&self, value: &T, already: bool) -> bool {
        value > if already { &self.again } else { &self.most }
    }
}

/// One target and what is known of it.
#[derive(Debug)]
pub struct HealthTarget {
    /// As configured.
    pub text: Rc<str>,
    /// Its checks.
    pub checker: Checker,
    /// Whether it answered its last check; `None`: not checked yet, or not since the link came
    /// back.
    pub answers: Option<bool>,
    /// Why it did not.
    pub reason: Option<Reason>,
    /// Round-trip time of its last reply.
    pub rtt: Option<Duration>,
    /// When the first probe was sent that it left unanswered, while it does not answer.
    failed: Option<Instant>,
    /// How many in a row it left unanswered.
    unanswered: u32,
}

/// One probe in the window.
#[derive(Clone, Copy, Debug)]
struct Sent {
    id: ProbeId,
    at: Instant,
    rtt: Option<Duration>,
    /// Its loss has been told.
    told: bool,
}

/// Why a WAN is not usable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Why {
    /// Its link is not ready.
    Link(LinkState),
    /// Its targets do not answer. One of them, and why it does not.
    Target(Rc<str>, Reason),
    /// There is no answer, and no more to say. What was asked in vain, in words.
    Silent(String),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(link) => write!(f, "{link}"),
            Self::Target(target, reason) => write!(f, "{target}: {reason}"),
            Self::Silent(asked) => f.write_str(asked),
        }
    }
}

/// A WAN's health.
#[derive(Debug)]
pub struct Health {
    targets: Vec<HealthTarget>,
    plan: Plan,
    min_up: usize,
    quality: Quality,
    by_gateway: bool,
    /// Something has answered since the start.
    answered: bool,
    /// `None`: nothing has been heard of it yet.
    link: Option<LinkState>,
    condition: Condition,
    /// Since when it has been in that condition: for one that is down, when its first lost probe
    /// was sent.
    since: Option<Instant>,
    /// Of the targets that answer: one that is silent for long says nothing about the WAN.
    window: VecDeque<Sent>,
    /// A probe has been lost since this was last asked.
    lost: bool,
    /// A check has had to send its second probe since this was last asked.
    missed: bool,
    /// It carries no traffic, and every byte costs: a single probe each time, to one target after
    /// the other.
    idle: Option<Idle>,
    /// It was idle, and whether it is usable is being found out.
    verifying: bool,
    /// Its link has just come back, and nothing has answered yet.
    returning: Option<Returning>,
    /// Since then it is away, or was and has not answered since it is back.
    away: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Returning {
    since: Instant,
    /// How often it has been started over.
    starts: usize,
}

impl Returning {
    fn next(self) -> Option<Instant> {
        AFRESH.get(self.starts).map(|after| self.since + Duration::from_millis(*after))
    }
}

#[derive(Clone, Copy, Debug)]
struct Idle {
    interval: Duration,
    next: Instant,
    /// The target whose turn it is.
    turn: usize,
}

impl Health {
    /// A WAN whose link is not known to be ready: [`Health::set_link`] begins the checks.
    #[must_use]
    pub fn new(setup: HealthSetup, now: Instant) -> Self {
        let target = |(owner, text): (Owner, Rc<str>)| HealthTarget {
            text,
            checker: Checker::new(owner, setup.plan, Settle::FirstReply, now),
            answers: None,
            reason: None,
            rtt: None,
            failed: None,
            unanswered: 0,
        };
        let targets: Vec<_> = setup.targets.into_iter().map(target).collect();
        Self {
            min_up: setup.min_up.clamp(1, targets.len().max(1)),
            targets,
            plan: setup.plan,
            quality: setup.quality,
            by_gateway: setup.by_gateway,
            answered: false,
            link: None,
            condition: Condition::Unknown,
            since: None,
            window: VecDeque::with_capacity(WINDOW),
            lost: false,
            missed: false,
            idle: None,
            verifying: false,
            returning: None,
            away: None,
        }
    }

    /// What the WAN is like.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.condition
    }

    /// The same for one who wants to use it now: what was true of an idle one the last time it was
    /// looked at is not known to be so while that is being found out.
    #[must_use]
    pub fn standing(&self) -> Condition {
        if self.verifying && self.condition.is_usable() {
            Condition::Unknown
        } else {
            self.condition
        }
    }

    /// Whether its address or gateway has just gone, which may be over in a moment: nothing is to
    /// be led over it, and nothing to be told yet.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.away.is_some() && !self.is_ready()
    }

    /// Since when; `None` before the first verdict.
    #[must_use]
    pub fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Why it is down; `None` while it is not.
    #[must_use]
    pub fn why(&self) -> Option<Why> {
        match self.link {
            _ if self.condition != Condition::Down => None,
            Some(link) if !self.is_ready() => Some(Why::Link(link)),
            _ => {
                let silent = self.targets.iter().filter_map(|t| Some((t, t.reason.clone()?)));
                let (target, reason) = silent.max_by_key(|(_, reason)| reason.weight())?;
                let silent = reason == Reason::Silent;
                Some(if silent {
                    Why::Silent(self.silence())
                } else {
                    Why::Target(target.text.clone(), reason)
                })
            }
        }
    }

    /// Who has left how many probes unanswered.
    fn silence(&self) -> String {
        let some = self.targets.iter().any(|t| t.answers == Some(true));
        let mut text = if some { "too few answer: " } else { "nothing answers: " }.to_owned();
        let silent = self.targets.iter().filter(|t| t.answers == Some(false));
        for (n, target) in silent.enumerate() {
            let (and, n) = (if n > 0 { ", " } else { "" }, target.unanswered);
            let probes = if n == 1 { "probe" } else { "probes" };
            let _ = write!(text, "{and}{n} {probes} to ");
            let _ = match self.link {
                Some(LinkState::Ready(road)) if self.by_gateway => match road.gateway.or(road.peer)
                {
                    Some(gateway) => write!(text, "its gateway {gateway}"),
                    None => write!(text, "its gateway"),
                },
                _ => write!(text, "{}", target.text),
            };
        }
        text + " in a row unanswered"
    }

    /// Whether nothing but its gateway is asked, and that has never answered: it may be one that
    /// answers no pings.
    #[must_use]
    pub fn may_be_deaf(&self) -> bool {
        self.by_gateway && !self.answered && matches!(self.why(), Some(Why::Silent(_)))
    }

    /// The same WAN was watched before, by another configuration's monitor.
    pub fn inherit(&mut self, old: &Self) {
        self.answered |= old.answered;
        self.away = old.away;
    }

    /// What its link is like, as far as that was told.
    #[must_use]
    pub fn link(&self) -> Option<LinkState> {
        self.link
    }

    /// Its targets.
    #[must_use]
    pub fn targets(&self) -> &[HealthTarget] {
        &self.targets
    }

    /// Whether one of its targets has this number.
    #[must_use]
    pub fn owns(&self, owner: Owner) -> bool {
        self.targets.iter().any(|t| t.checker.owner() == owner)
    }

    /// Whether it is checked rarely, because it carries no traffic.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.idle.is_some()
    }

    /// Lost and settled probes of the window, and the mean round-trip time of those that were
    /// answered.
    #[must_use]
    pub fn figures(&self, now: Instant) -> (usize, usize, Option<Duration>) {
        let (mut lost, mut answered, mut sum) = (0, 0_u32, Duration::ZERO);
        for sent in &self.window {
            match sent.rtt {
                Some(rtt) => (answered, sum) = (answered + 1, sum + rtt),
                None => lost += usize::from(sent.at + self.plan.wait <= now),
            }
        }
        let settled = lost + usize::try_from(answered).unwrap_or(0);
        (lost, settled, sum.checked_div(answered))
    }

    /// A probe has been lost since this was asked last.
    pub fn take_lost(&mut self) -> bool {
        std::mem::take(&mut self.lost)
    }

    /// A check had to send its second probe since this was asked last: the first was not answered
    /// at once.
    pub fn take_missed(&mut self) -> bool {
        std::mem::take(&mut self.missed)
    }

    /// What the kernel says of the link. A link that is lost is believed at once, an address or a
    /// gateway after [`PASSING`], unless something else speaks for an outage: the targets were
    /// silent before. A link that is there, or that has another address or gateway, is checked at
    /// once.
    pub fn set_link(&mut self, now: Instant, link: LinkState) {
        let before = self.link.replace(link);
        if before == Some(link) {
            return;
        }
        let was_lost = before.is_some_and(|link| !matches!(link, LinkState::Ready(_)));
        let may_pass =
            matches!(link, LinkState::NoAddress | LinkState::NoGateway | LinkState::Refused);
        if before.is_some()
            && !was_lost
            && may_pass
            && self.condition != Condition::Down
            && !self.is_silent(now)
        {
            // One that goes again before it has answered has been away since the first time.
            self.away.get_or_insert(now);
        }
        self.returning =
            (was_lost && self.is_ready()).then_some(Returning { since: now, starts: 0 });
        self.window.clear();
        self.verifying = false;
        for target in &mut self.targets {
            target.checker.stop();
            (target.answers, target.reason, target.failed, target.unanswered) =
                (None, None, None, 0);
        }
        if let LinkState::Ready(_) = link {
            self.begin(now);
        } else if !may_pass || self.away.is_none_or(|since| since + PASSING <= now) {
            self.turn(self.away.unwrap_or(now), Condition::Down);
        }
    }

    /// Whether a link that came back must be started over: the gateway is asked for its link
    /// address, and the targets are checked once more. While the link was gone the kernel has asked
    /// in vain, and the first frames over a link that has just come are often lost; it would wait
    /// for a second each time.
    pub fn start_over(&mut self, now: Instant) -> bool {
        let Some(returning) =
            self.returning.as_mut().filter(|r| r.next().is_some_and(|at| at <= now))
        else {
            return false;
        };
        returning.starts += 1;
        // The first is where the checks begin anyway.
        if returning.starts > 1 {
            self.check_now(now);
        }
        true
    }

    /// Checks all targets now, beside the grid.
    pub fn check_now(&mut self, now: Instant) {
        if self.is_ready() {
            self.targets.iter_mut().for_each(|t| t.checker.check_now(now));
        }
    }

    /// Finds out whether an idle WAN is usable, now: somebody may need it at any moment.
    pub fn verify(&mut self, now: Instant) {
        if self.idle.is_some() && self.is_ready() && !self.verifying {
            self.verifying = true;
            self.targets.iter_mut().for_each(|t| t.answers = None);
            self.check_now(now);
        }
    }

    /// It carries no traffic and is looked at only this often, or it is checked as any other.
    pub fn set_idle(&mut self, now: Instant, interval: Option<Duration>) {
        // What has never been checked is, first of all.
        if interval == self.idle.map(|idle| idle.interval) || self.condition == Condition::Unknown {
            return;
        }
        self.idle = interval.map(|interval| Idle { interval, next: now + interval, turn: 0 });
        match self.idle {
            Some(_) => self.targets.iter_mut().for_each(|t| t.checker.pause()),
            // What is being found out about it still is.
            None => self.targets.iter_mut().for_each(|t| t.checker.begin(now)),
        }
    }

    /// On trial, for a hold-down of this length, or not any more. One that loses every other probe
    /// would too often pass with one probe in each check, or with a single check in all of it: then
    /// all probes of a check are sent, and at least ten checks are made.
    pub fn try_out(&mut self, now: Instant, hold_down: Option<Duration>) {
        let (settle, interval) = match hold_down {
            Some(length) => {
                (Settle::AllProbes, (length / 10).max(TRIAL_INTERVAL).min(self.plan.interval))
            }
            None => (Settle::FirstReply, self.plan.interval),
        };
        for target in &mut self.targets {
            target.checker.set_settle(settle);
            target.checker.set_interval(now, interval);
        }
    }

    /// The machine slept: what was under way says nothing.
    pub fn resume(&mut self, now: Instant) {
        self.window.clear();
        self.verifying = false;
        self.targets.iter_mut().for_each(|t| t.checker.stop());
        if self.is_ready() {
            self.begin(now);
        }
    }

    /// Does what is due. Nothing is sent while the link is not ready.
    pub fn tick(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if !self.is_ready() {
            if let Some(since) = self.away.filter(|since| *since + PASSING <= now) {
                self.turn(since, Condition::Down);
            }
            return;
        }
        self.take_turns(now);
        let first = out.len();
        self.targets.iter_mut().for_each(|t| t.checker.tick(now, out));
        for effect in out.get(first..).unwrap_or_default() {
            if let Effect::Probe(id) = effect {
                self.note(now, *id);
            }
        }
        for sent in self
            .window
            .iter_mut()
            .filter(|s| s.rtt.is_none() && !s.told && s.at + self.plan.wait <= now)
        {
            (sent.told, self.lost) = (true, true);
        }
        self.judge(now);
    }

    /// A reply arrived.
    pub fn reply(&mut self, now: Instant, id: ProbeId, rtt: Duration) {
        let Some(target) = self.target(id.owner) else { return };
        target.checker.reply(now, id, rtt);
        target.rtt = Some(rtt);
        if self.returning.take().is_some() {
            // What was sent before went nowhere, and says nothing of the line.
            self.window.retain(|s| s.id == id || s.at + rtt >= now);
        }
        // One that is too late has been lost.
        if let Some(sent) =
            self.window.iter_mut().rev().find(|s| s.id == id && !s.told && rtt <= self.plan.wait)
        {
            sent.rtt.get_or_insert(rtt);
            self.away = None;
        }
        self.judge(now);
    }

    /// A probe is lost, and it is known why.
    pub fn lost(&mut self, now: Instant, id: ProbeId, reason: &Reason) {
        let Some(target) = self.target(id.owner) else { return };
        target.checker.lost(id, reason.clone());
        if let Some(sent) = self.window.iter_mut().rev().find(|s| s.id == id && s.rtt.is_none()) {
            self.lost |= !std::mem::replace(&mut sent.told, true);
        }
        self.judge(now);
    }

    /// Somebody says why there are no replies.
    pub fn hint(&mut self, owner: Owner, error: IcmpError) {
        if let Some(target) = self.target(owner) {
            target.checker.hint(error);
        }
    }

    /// When [`Health::tick`] must be called next.
    #[must_use]
    pub fn poll_at(&self) -> Option<Instant> {
        let checks = self.targets.iter().filter_map(|t| t.checker.poll_at());
        // Also of a check that is settled: a loss is told when it is one.
        let open = self
            .window
            .iter()
            .filter(|s| s.rtt.is_none() && !s.told)
            .map(|s| s.at + self.plan.wait);
        let afresh = self.returning.and_then(Returning::next);
        if !self.is_ready() {
            return self.away.map(|since| since + PASSING);
        }
        checks.chain(open).chain(self.idle.map(|idle| idle.next)).chain(afresh).min()
    }

    /// Whether its checks are where they should be.
    #[must_use]
    pub fn keeps_up(&self, now: Instant) -> bool {
        !self.is_ready() || self.targets.iter().all(|t| t.checker.keeps_up(now))
    }

    fn target(&mut self, owner: Owner) -> Option<&mut HealthTarget> {
        self.targets.iter_mut().find(|t| t.checker.owner() == owner)
    }

    fn is_ready(&self) -> bool {
        matches!(self.link, Some(LinkState::Ready(_)))
    }

    /// Whether too few of its targets have answered what they were asked last.
    fn is_silent(&self, now: Instant) -> bool {
        let speaks = |t: &&HealthTarget| {
            let late = OVERDUE + t.rtt.unwrap_or_default() * 2;
            let sent = self.window.iter().rev().filter(|s| s.id.owner == t.checker.owner());
            t.answers != Some(false)
                && !sent.take_while(|s| s.rtt.is_none()).any(|s| s.at + late <= now)
        };
        self.targets.iter().filter(speaks).count() < self.min_up
    }

    /// Checks all targets now, and from now on at their times.
    fn begin(&mut self, now: Instant) {
        match &mut self.idle {
            Some(idle) => {
                idle.next = now + idle.interval;
                self.check_now(now);
            }
            None => self.targets.iter_mut().for_each(|t| t.checker.begin(now)),
        }
    }

    /// The next target's single probe, if it is time for it.
    fn take_turns(&mut self, now: Instant) {
        let count = self.targets.len();
        let Some(idle) = self.idle.as_mut().filter(|idle| idle.next <= now) else { return };
        idle.next = now + idle.interval;
        idle.turn = (idle.turn + 1) % count.max(1);
        let turn = idle.turn;
        // One that does not answer would cost a burst each time.
        let places = (turn..count).chain(0..turn);
        let speaks = |at: &usize| self.targets.get(*at).is_some_and(|t| t.answers != Some(false));
        let at = places.clone().find(speaks).unwrap_or(turn);
        if let Some(target) = self.targets.get_mut(at) {
            target.checker.probe_now(now);
        }
    }

    /// A probe has left.
    fn note(&mut self, now: Instant, id: ProbeId) {
        if self.target(id.owner).is_none_or(|t| t.answers == Some(false)) {
            return;
        }
        let unanswered =
            |s: &Sent| (s.id.owner, s.id.check) == (id.owner, id.check) && s.rtt.is_none();
        self.missed |= self.window.iter().any(unanswered);
        // Those whose fate is open stay, however long a reply may take.
        let settled = |s: &Sent| s.rtt.is_some() || s.told || s.at + self.plan.wait <= now;
        while self.window.len() >= WINDOW && self.window.front().is_some_and(settled) {
            self.window.pop_front();
        }
        self.window.push_back(Sent { id, at: now, rtt: None, told: false });
    }

    fn judge(&mut self, now: Instant) {
        let mut news = false;
        let mut burst = false;
        for target in &mut self.targets {
            target.checker.overtake();
            while let Some(verdict) = target.checker.judge() {
                // A single probe that is lost proves nothing, nor does one that is answered where
                // nothing was.
                let surprise = !verdict.good || self.condition == Condition::Down;
                if surprise && verdict.count < self.plan.count {
                    burst = true;
                    continue;
                }
                news = true;
                target.answers = Some(verdict.good);
                if verdict.good {
                    self.answered = true;
                    (target.reason, target.failed, target.unanswered) = (None, None, 0);
                } else {
                    target.unanswered = target.unanswered.saturating_add(verdict.count.into());
                    target.reason = Some(verdict.reason);
                    target.failed = target.failed.or(verdict.first_lost).or(Some(verdict.start));
                }
            }
        }
        if burst {
            self.verify(now);
        }
        if !news {
            return;
        }
        let count =
            |answer: bool| self.targets.iter().filter(|t| t.answers == Some(answer)).count();
        if count(true) >= self.min_up {
            let condition = if self.is_degraded(now) { Condition::Degraded } else { Condition::Up };
            self.turn(now, condition);
        } else if self.targets.len() - count(false) < self.min_up {
            let began = self.targets.iter().filter_map(|t| t.failed).max().unwrap_or(now);
            self.turn(began, Condition::Down);
        }
    }

    fn is_degraded(&self, now: Instant) -> bool {
        let already = self.condition == Condition::Degraded;
        let (lost, settled, rtt) = self.figures(now);
        if settled < FEWEST {
            return already;
        }
        let loss = lost as f64 / settled as f64;
        self.quality.loss.is_some_and(|limit| limit.is_over(&loss, already))
            || self.quality.rtt.zip(rtt).is_some_and(|(limit, rtt)| limit.is_over(&rtt, already))
    }

    fn turn(&mut self, since: Instant, condition: Condition) {
        self.verifying = false;
        if condition == Condition::Down {
            self.away = None;
        }
        if self.condition != condition {
            (self.condition, self.since) = (condition, Some(since));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::routing::WanPath;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u32) -> Instant {
        Instant::ZERO + MS * ms
    }

    fn ready(last: u8) -> LinkState {
        LinkState::Ready(WanPath {
            index: 3,
            address: Ipv4Addr::new(192, 168, 42, last),
            gateway: None,
            peer: None,
        })
    }

    fn health(targets: u32, min_up: usize, quality: Quality) -> Health {
        let targets = (0..targets).map(|n| (n, Rc::from("target"))).collect();
        let plan = Plan::new(MS * 1000, 2, MS * 1000);
        Health::new(HealthSetup { targets, plan, min_up, quality, by_gateway: false }, at(0))
    }

    /// Runs until `end`; `answer` tells after how long a target answers a probe sent at a time, if
    /// it does. Returns the times at which the condition changed.
    fn run(
        h: &mut Health,
        end: u32,
        answer: impl Fn(u64, Owner) -> Option<u32>,
    ) -> Vec<(u64, Condition)> {
        let mut changes = Vec::new();
        let mut on_the_way: Vec<(Instant, ProbeId, Duration)> = Vec::new();
        loop {
            let reply = on_the_way.iter().map(|r| r.0).min();
            let Some(now) =
                [reply, h.poll_at()].into_iter().flatten().min().filter(|t| *t <= at(end))
            else {
                break;
            };
            let before = h.condition();
            if reply == Some(now) {
                let place = on_the_way.iter().position(|r| r.0 == now).unwrap();
                let (_, id, rtt) = on_the_way.swap_remove(place);
                h.reply(now, id, rtt);
            } else {
                let mut out = Vec::new();
                h.start_over(now);
                h.tick(now, &mut out);
                for effect in out {
                    let Effect::Probe(id) = effect else { panic!("{effect:?}") };
                    if let Some(ms) = answer(now.as_nanos() / 1_000_000, id.owner) {
                        on_the_way.push((now + MS * ms, id, MS * ms));
                    }
                }
            }
            if h.condition() != before {
                changes.push((now.as_nanos() / 1_000_000, h.condition()));
            }
        }
        changes
    }

    #[test]
    fn a_silent_gateway_is_known_within_an_interval_a_gap_and_a_wait() {
        let mut h = health(1, 1, Quality::default());
        h.set_link(at(0), ready(2));
        let changes = run(&mut h, 20_000, |t, _| (t < 5_001).then_some(5));
        assert_eq!(changes, [(5, Condition::Up), (7_100, Condition::Down)]);
    }

    #[test]
    fn a_link_alone_is_never_online_and_its_loss_is_believed_at_once() {
        let mut h = health(1, 1, Quality::default());
        assert_eq!((h.poll_at(), h.condition()), (None, Condition::Unknown));
        h.set_link(at(0), ready(2));
        assert_eq!(h.condition(), Condition::Unknown);
        run(&mut h, 3_000, |_, _| Some(5));
        h.set_link(at(3_100), LinkState::NoCarrier);
        assert_eq!(
            (h.condition(), h.since(), h.poll_at()),
            (Condition::Down, Some(at(3_100)), None)
        );
        h.set_link(at(3_300), ready(2));
        assert_eq!(
            (h.condition(), h.poll_at()),
            (Condition::Down, Some(at(3_300))),
            "checked at once"
        );
        assert_eq!(run(&mut h, 4_000, |_, _| Some(5)), [(3_305, Condition::Up)]);
    }

    #[test]
    fn a_link_that_came_back_and_loses_its_first_frames_is_up_soon() {
        for (deaf, up) in [(0, 3_305), (50, 3_405), (250, 3_605), (650, 4_005)] {
            let mut h = health(1, 1, Quality::default());
            h.set_link(at(0), ready(2));
            run(&mut h, 3_000, |_, _| Some(5));
            h.set_link(at(3_100), LinkState::NoCarrier);
            h.set_link(at(3_300), ready(2));
            let heard = |t, _| (t >= 3_300 + deaf).then_some(5);
            assert_eq!(run(&mut h, 4_100, heard), [(up, Condition::Up)], "{deaf}");
            run(&mut h, 9_000, heard);
            assert_eq!(h.figures(at(9_000)).0, 0, "what went nowhere says nothing of the line");
        }
        let mut h = health(1, 1, Quality::default());
        h.set_link(at(0), LinkState::NoCarrier);
        h.set_link(at(300), ready(2));
        let sent = std::cell::Cell::new(0);
        let count = |_, _| {
            sent.set(sent.get() + 1);
            None
        };
        assert_eq!(run(&mut h, 5_299, count), [], "it stays down");
        assert_eq!(sent.get(), (5 + 3) * 2, "beside the grid three times, and not for ever");
    }

    #[test]
    fn b18_an_interface_that_is_not_there_is_down_from_the_start() {
        for link in [
            LinkState::Missing,
            LinkState::Down,
            LinkState::NoCarrier,
            LinkState::NoAddress,
            LinkState::NoGateway,
        ] {
            let mut h = health(1, 1, Quality::default());
            h.set_link(at(0), link);
            assert_eq!((h.condition(), h.poll_at()), (Condition::Down, None), "{link:?}");
        }
    }

    #[test]
    fn b9_another_address_is_checked_at_once_and_is_no_outage() {
        let mut h = health(1, 1, Quality::default());
        h.set_link(at(0), ready(2));
        run(&mut h, 3_500, |_, _| Some(5));
        h.set_link(at(3_600), ready(77));
        assert_eq!((h.condition(), h.poll_at()), (Condition::Up, Some(at(3_600))));
        assert_eq!(run(&mut h, 9_000, |_, _| Some(5)), []);
    }

    #[test]
    fn a_target_that_is_silent_for_an_hour_changes_nothing() {
        let mut h = health(2, 1, Quality::default());
        h.set_link(at(0), ready(2));
        let changes = run(&mut h, 3_600_000, |_, owner| (owner == 0).then_some(5));
        assert_eq!(changes, [(5, Condition::Up)]);
        assert_eq!(h.targets()[1].answers, Some(false));
    }

    #[test]
    fn fewer_answers_than_wanted_are_down() {
        let mut h = health(3, 2, Quality::default());
        h.set_link(at(0), ready(2));
        let changes =
            run(&mut h, 30_000, |t, owner| (owner == 0 || (owner == 1 && t < 9_500)).then_some(5));
        assert_eq!(
            changes.iter().map(|c| c.1).collect::<Vec<_>>(),
            [Condition::Up, Condition::Down]
        );
        let mut more_than_there_are = health(1, 5, Quality::default());
        more_than_there_are.set_link(at(0), ready(2));
        assert_eq!(run(&mut more_than_there_are, 2_000, |_, _| Some(5)), [(5, Condition::Up)]);
    }

    #[test]
    fn too_slow_is_degraded_until_it_is_clearly_better() {
        let limit = Limit { most: MS * 100, again: MS * 50 };
        let mut h = health(1, 1, Quality { rtt: Some(limit), loss: None });
        h.set_link(at(0), ready(2));
        // Probes at gaps of 100 ms answer after more than that, so each check sends two; good is 70
        // ms, between the levels, and then 20.
        let rtt = |t: u64| match t {
            ..40_000 => 20,
            40_000..120_000 => 300,
            120_000..240_000 => 70,
            _ => 20,
        };
        let changes = run(&mut h, 400_000, |t, _| Some(rtt(t)));
        let states: Vec<_> = changes.iter().map(|c| c.1).collect();
        assert_eq!(states, [Condition::Up, Condition::Degraded, Condition::Up], "{changes:?}");
        assert!((40_000..70_000).contains(&changes[1].0) && changes[2].0 > 240_000, "{changes:?}");
    }

    #[test]
    fn lossy_is_degraded_and_dead_is_down() {
        let limit = Limit { most: 0.2, again: 0.1 };
        let mut h = health(1, 1, Quality { rtt: None, loss: Some(limit) });
        h.set_link(at(0), ready(2));
        let changes = run(&mut h, 200_000, |t, _| match t {
            ..60_000 => Some(5),
            // The first probe of each check, on the full second, is lost.
            60_000..120_000 => (t % 1000 != 0).then_some(5),
            _ => None,
        });
        let states: Vec<_> = changes.iter().map(|c| c.1).collect();
        assert_eq!(states, [Condition::Up, Condition::Degraded, Condition::Down], "{changes:?}");
    }

    #[test]
    fn a_missed_first_probe_is_told_at_once_and_a_lost_one_when_its_time_is_over() {
        let mut h = health(1, 1, Quality::default());
        h.set_link(at(0), ready(2));
        run(&mut h, 2_900, |_, _| Some(5));
        assert!(!h.take_missed() && !h.take_lost());
        run(&mut h, 3_150, |t, _| (t != 3_000).then_some(5));
        assert!(h.take_missed() && !h.take_lost());
        run(&mut h, 4_150, |_, _| Some(5));
        assert!(h.take_lost() && !h.take_lost());
        assert_eq!(h.condition(), Condition::Up);
    }

    #[test]
    fn a_late_reply_is_a_lost_probe() {
        let mut h = health(1, 1, Quality::default());
        h.set_link(at(0), ready(2));
        let changes = run(&mut h, 10_000, |t, _| Some(if t < 3_000 { 5 } else { 1_200 }));
        assert_eq!(changes.last().map(|c| c.1), Some(Condition::Down));
        let (lost, ..) = h.figures(at(10_000));
        assert!(lost >= 2, "{lost}");
        assert!(matches!(h.why(), Some(Why::Target(_, Reason::Late(_)))), "{:?}", h.why());
    }

    #[test]
    fn a_later_check_that_is_answered_wins_over_an_earlier_one_that_is_judged_with_it() {
        // Both probes of the check at 1 s are lost, which is known at 2.1 s; the check at 2 s is
        // answered before the loop gets to either.
        let mut h = health(1, 1, Quality::default());
        h.set_link(at(0), ready(2));
        run(&mut h, 900, |_, _| Some(5));
        let mut out = Vec::new();
        for t in [1_000, 1_100, 2_000] {
            h.tick(at(t), &mut out);
        }
        let Some(Effect::Probe(last)) = out.pop() else { panic!("no probe") };
        h.reply(at(2_100), last, MS * 5);
        h.tick(at(2_100), &mut out);
        assert_eq!(h.condition(), Condition::Up);
    }

    #[test]
    fn a_silent_target_beside_one_that_answers_counts_as_no_loss() {
        let mut h = health(2, 1, Quality::default());
        h.set_link(at(0), ready(2));
        run(&mut h, 4_900, |_, owner| (owner == 0).then_some(5));
        assert!(h.take_lost() && h.take_missed(), "its first checks count");
        run(&mut h, 59_900, |_, owner| (owner == 0).then_some(5));
        assert!(!h.take_lost() && !h.take_missed());
    }

    /// How many probes leave in a time.
    fn probes(h: &mut Health, end: u32, answer: impl Fn(u64, Owner) -> Option<u32>) -> usize {
        let n = std::cell::Cell::new(0);
        run(h, end, |t, owner| {
            n.set(n.get() + 1);
            answer(t, owner)
        });
        n.get()
    }

    #[test]
    fn an_idle_wan_gets_one_probe_to_one_target_each_time() {
        let mut h = health(3, 1, Quality::default());
        h.set_link(at(0), ready(2));
        run(&mut h, 900, |_, _| Some(5));
        h.set_idle(at(900), Some(MS * 300_000));
        assert_eq!(probes(&mut h, 3_000_900, |_, _| Some(5)), 10);
        assert_eq!(h.condition(), Condition::Up);
        h.set_idle(at(3_000_950), None);
        assert_eq!(
            probes(&mut h, 3_001_900, |_, _| Some(5)),
            3,
            "and is checked at once when it is needed"
        );
    }

    #[test]
    fn a_lost_probe_of_an_idle_wan_is_followed_by_a_burst_before_it_is_believed() {
        let mut h = health(2, 1, Quality::default());
        h.set_link(at(0), ready(2));
        run(&mut h, 900, |_, _| Some(5));
        h.set_idle(at(900), Some(MS * 60_000));
        let changes = run(&mut h, 61_950, |t, _| (t != 60_900).then_some(5));
        assert_eq!(
            (changes, h.condition()),
            (vec![], Condition::Up),
            "one lost probe proves nothing"
        );
        let changes = run(&mut h, 130_000, |t, _| (t < 100_000).then_some(5));
        assert_eq!(changes, [(123_000, Condition::Down)], "the probe's wait, and the burst's");
        h.set_idle(at(130_000), None);
        assert_eq!(run(&mut h, 130_100, |_, _| Some(5)), [(130_005, Condition::Up)]);
    }

    #[test]
    fn an_idle_wan_that_is_down_is_up_again_when_enough_of_its_targets_are() {
        let mut h = health(3, 2, Quality::default());
        h.set_link(at(0), ready(2));
        run(&mut h, 2_950, |_, owner| (owner == 0).then_some(5));
        assert_eq!(h.condition(), Condition::Down);
        h.set_idle(at(2_950), Some(MS * 10_000));
        let changes = run(&mut h, 40_000, |t, owner| (owner == 0 || t > 20_000).then_some(5));
        assert_eq!(changes.iter().map(|c| c.1).collect::<Vec<_>>(), [Condition::Up]);
        assert!((22_900..24_200).contains(&changes[0].0), "{changes:?}");
    }

    #[test]
    fn what_was_true_of_an_idle_wan_is_not_relied_on_while_it_is_verified() {
        let mut h = health(1, 1, Quality::default());
        h.set_link(at(0), ready(2));
        run(&mut h, 900, |_, _| Some(5));
        h.set_idle(at(900), Some(MS * 60_000));
        h.verify(at(10_000));
        assert_eq!((h.standing(), h.condition()), (Condition::Unknown, Condition::Up));
        run(&mut h, 10_010, |_, _| Some(5));
        assert_eq!(h.standing(), Condition::Up);
        h.verify(at(20_000));
        run(&mut h, 25_000, |_, _| None);
        assert_eq!(h.standing(), Condition::Down);
    }

    /// A WAN that is up since 5 ms, and runs until `end`.
    fn up(targets: u32, min_up: usize, end: u32) -> Health {
        let mut h = health(targets, min_up, Quality::default());
        h.set_link(at(0), ready(2));
        run(&mut h, end, |_, _| Some(5));
        assert_eq!(h.condition(), Condition::Up);
        h
    }

    #[test]
    fn a_limit_is_over_only_beyond_it() {
        let limit = Limit { most: 100, again: 50 };
        assert_eq!([100, 101].map(|value| limit.is_over(&value, false)), [false, true]);
        assert_eq!([50, 51].map(|value| limit.is_over(&value, true)), [false, true]);
    }

    #[test]
    fn why_it_is_down_is_told_in_words_and_only_while_it_is() {
        assert_eq!(Why::Link(LinkState::NoCarrier).to_string(), LinkState::NoCarrier.to_string());
        assert_eq!(Why::Target("a".into(), Reason::Answered("b".into())).to_string(), "a: b");
        assert_eq!(Why::Silent("nothing".into()).to_string(), "nothing");
        let mut h = up(2, 1, 900);
        run(&mut h, 5_900, |_, owner| (owner == 0).then_some(5));
        assert_eq!(
            (h.targets()[1].reason.clone(), h.why()),
            (Some(Reason::Silent), None),
            "the other one answers"
        );
        h.set_link(at(5_910), LinkState::NoAddress);
        assert_eq!(h.why(), None, "it may be back in a moment");
        h.set_link(at(5_920), LinkState::NoCarrier);
        assert_eq!(h.why(), Some(Why::Link(LinkState::NoCarrier)));
        assert_eq!(h.link(), Some(LinkState::NoCarrier));
    }

    #[test]
    fn who_is_silent_is_told_with_how_many_probes() {
        let silence = |targets, min_up, by_gateway, count, link, answers: fn(Owner) -> bool| {
            let setup = HealthSetup {
                targets: (0..targets).map(|n| (n, format!("t{n}").into())).collect(),
                plan: Plan::new(MS * 1000, count, MS * 1000),
                min_up,
                quality: Quality::default(),
                by_gateway,
            };
            let mut h = Health::new(setup, at(0));
            h.set_link(at(0), link);
            run(&mut h, 1_200, |_, owner| answers(owner).then_some(5));
            let Some(Why::Silent(text)) = h.why() else { panic!("{:?}", h.why()) };
            text
        };
        let nobody = |_| false;
        let over = |gateway, peer| {
            LinkState::Ready(WanPath {
                index: 3,
                address: Ipv4Addr::new(192, 168, 42, 2),
                gateway,
                peer,
            })
        };
        let (gateway, peer) = (Ipv4Addr::new(192, 168, 42, 1), Ipv4Addr::new(10, 0, 0, 1));
        for (said, expected) in [
            (
                silence(1, 1, false, 1, ready(2), nobody),
                "nothing answers: 1 probe to t0 in a row unanswered",
            ),
            (
                silence(3, 1, false, 2, ready(2), nobody),
                "nothing answers: 2 probes to t0, 2 probes to t1, 2 probes to t2 in a row unanswered",
            ),
            (
                silence(3, 2, false, 2, ready(2), |owner| owner == 1),
                "too few answer: 2 probes to t0, 2 probes to t2 in a row unanswered",
            ),
            (
                silence(1, 1, true, 2, over(Some(gateway), None), nobody),
                "nothing answers: 2 probes to its gateway 192.168.42.1 in a row unanswered",
            ),
            (
                silence(1, 1, true, 2, over(None, Some(peer)), nobody),
                "nothing answers: 2 probes to its gateway 10.0.0.1 in a row unanswered",
            ),
            (
                silence(1, 1, true, 2, ready(2), nobody),
                "nothing answers: 2 probes to its gateway in a row unanswered",
            ),
        ] {
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn only_a_gateway_that_never_answered_may_be_deaf() {
        let silent = |by_gateway, answered: u64| {
            let mut h = health(1, 1, Quality::default());
            h.by_gateway = by_gateway;
            h.set_link(at(0), ready(2));
            run(&mut h, 9_000, |t, _| (t < answered).then_some(5));
            h
        };
        assert!(silent(true, 0).may_be_deaf());
        assert!(!silent(false, 0).may_be_deaf() && !silent(true, 3_000).may_be_deaf());
        assert!(!silent(true, 10_000).may_be_deaf(), "it answers");
        let mut h = silent(true, 0);
        h.set_link(at(9_100), LinkState::NoCarrier);
        assert!(!h.may_be_deaf(), "it is not asked");
        let mut h = silent(true, 0);
        h.inherit(&silent(true, 0));
        assert!(h.may_be_deaf());
        h.inherit(&silent(true, 3_000));
        assert!(!h.may_be_deaf(), "it has answered under the configuration before");
        h.inherit(&silent(true, 0));
        assert!(!h.may_be_deaf());
    }

    #[test]
    fn it_owns_its_targets() {
        let h = up(2, 1, 900);
        assert_eq!([0, 1, 2].map(|owner| h.owns(owner)), [true, true, false]);
        assert_eq!(h.link(), Some(ready(2)));
    }

    #[test]
    fn an_address_that_is_away_for_a_moment_is_not_missed() {
        for link in [LinkState::NoAddress, LinkState::NoGateway, LinkState::Refused] {
            for targets in [1, 2] {
                let mut h = up(targets, 1, 2_050);
                assert!(!h.is_away());
                h.set_link(at(2_100), link);
                assert_eq!(
                    (h.is_away(), h.condition(), h.poll_at()),
                    (true, Condition::Up, Some(at(2_400)))
                );
                h.set_link(at(2_200), ready(2));
                assert_eq!((h.is_away(), h.condition()), (false, Condition::Up));
                // Before it has answered it goes again: it is away since the first time.
                h.set_link(at(2_300), link);
                h.set_link(
                    at(2_310),
                    if link == LinkState::NoAddress {
                        LinkState::NoGateway
                    } else {
                        LinkState::NoAddress
                    },
                );
                let mut out = Vec::new();
                h.tick(at(2_399), &mut out);
                assert_eq!((h.is_away(), h.condition(), out.len()), (true, Condition::Up, 0));
                h.tick(at(2_400), &mut out);
                assert_eq!(
                    (h.is_away(), h.condition(), h.since()),
                    (false, Condition::Down, Some(at(2_100)))
                );
                assert_eq!((h.poll_at(), h.why().is_some()), (None, true));
                h.set_link(at(2_500), ready(2));
                assert_eq!(h.condition(), Condition::Down, "back, and not heard of yet");
            }
        }
    }

    #[test]
    fn an_address_that_is_away_for_too_long_is_missed_also_when_that_is_seen_late() {
        let mut h = up(1, 1, 2_050);
        h.set_link(at(2_100), LinkState::NoAddress);
        h.set_link(at(2_450), LinkState::NoGateway);
        assert_eq!((h.condition(), h.since()), (Condition::Down, Some(at(2_100))));
    }

    #[test]
    fn one_that_has_answered_since_it_is_back_goes_away_anew() {
        let mut h = up(1, 1, 2_050);
        h.set_link(at(2_100), LinkState::NoAddress);
        h.set_link(at(2_200), ready(2));
        run(&mut h, 2_290, |_, _| Some(5));
        h.set_link(at(2_300), LinkState::NoAddress);
        assert_eq!(h.poll_at(), Some(at(2_600)));
    }

    #[test]
    fn an_address_that_goes_from_a_silent_line_is_an_outage() {
        // The probe at 3 s is overdue when 50 ms and twice the last round-trip time are over.
        for (seen, condition) in [(3_059, Condition::Up), (3_060, Condition::Down)] {
            let mut h = up(1, 1, 2_900);
            run(&mut h, seen - 1, |_, _| None);
            h.set_link(at(seen), LinkState::NoGateway);
            assert_eq!(h.condition(), condition, "{seen}");
        }
        // Of three targets two are silent.
        for (min_up, condition) in [(1, Condition::Up), (2, Condition::Down)] {
            let mut h = up(3, min_up, 2_900);
            run(&mut h, 3_070, |_, owner| (owner == 0).then_some(5));
            h.set_link(at(3_080), LinkState::NoGateway);
            assert_eq!(h.condition(), condition, "{min_up}");
        }
        // One that is known to be silent does not speak for the line.
        let mut h = up(2, 1, 900);
        run(&mut h, 3_990, |_, owner| (owner == 0).then_some(5));
        run(&mut h, 4_090, |_, _| None);
        h.set_link(at(4_095), LinkState::NoGateway);
        assert_eq!(h.condition(), Condition::Down);
    }

    #[test]
    fn only_a_link_that_was_lost_is_started_over() {
        let mut h = health(1, 1, Quality::default());
        h.set_link(at(0), ready(2));
        assert!(!h.start_over(at(0)));
        h.set_link(at(10), ready(3));
        assert!(!h.start_over(at(10)));
        h.set_link(at(20), LinkState::NoCarrier);
        h.set_link(at(30), LinkState::Down);
        assert!(!h.start_over(at(30)));
        h.set_link(at(40), ready(3));
        assert!(h.start_over(at(40)) && !h.start_over(at(40)));
    }

    #[test]
    fn a_probe_counts_as_lost_when_its_time_is_over() {
        let mut h = up(1, 1, 2_900);
        let mut out = Vec::new();
        h.tick(at(3_000), &mut out);
        assert_eq!(
            (h.figures(at(3_999)), h.figures(at(4_000))),
            ((0, 3, Some(MS * 5)), (1, 4, Some(MS * 5)))
        );
    }

    #[test]
    fn only_an_idle_wan_that_is_there_is_verified_and_once_at_a_time() {
        let mut h = up(2, 1, 900);
        h.verify(at(950));
        assert_eq!((h.standing(), h.is_idle()), (Condition::Up, false));
        h.set_idle(at(950), Some(MS * 60_000));
        assert!(h.is_idle());
        h.verify(at(1_000));
        h.verify(at(1_000));
        assert_eq!(probes(&mut h, 1_050, |_, _| Some(5)), 2, "one to each");
        h.set_link(at(2_000), LinkState::NoAddress);
        h.verify(at(2_010));
        assert_eq!((h.standing(), h.is_away()), (Condition::Up, true), "there is no way to ask");
        h.set_idle(at(2_020), None);
        assert!(!h.is_idle());
    }

    #[test]
    fn to_be_told_again_that_it_is_idle_puts_nothing_off() {
        let mut h = health(1, 1, Quality::default());
        h.set_link(at(0), ready(2));
        h.set_idle(at(0), Some(MS * 60_000));
        assert!(!h.is_idle(), "it has never been checked");
        run(&mut h, 900, |_, _| Some(5));
        h.set_idle(at(900), Some(MS * 60_000));
        h.set_idle(at(30_900), Some(MS * 60_000));
        assert_eq!(h.poll_at(), Some(at(60_900)));
        h.set_idle(at(30_900), Some(MS * 10_000));
        assert_eq!(h.poll_at(), Some(at(40_900)));
    }

    #[test]
    fn on_trial_all_probes_are_sent_and_at_least_ten_checks_made() {
        // The last probe of the ten checks leaves when the second is over.
        for (hold_down, sent) in [(5_000, 4), (60_000, 2), (1_000, 19)] {
            let mut h = up(1, 1, 2_950);
            h.take_missed();
            h.try_out(at(2_950), Some(MS * hold_down));
            run(&mut h, 2_990, |_, _| Some(5));
            assert_eq!(probes(&mut h, 3_985, |_, _| Some(5)), sent, "{hold_down}");
            assert!(!h.take_missed(), "each was answered at once");
            h.try_out(at(3_990), None);
            run(&mut h, 4_500, |_, _| Some(5));
            assert_eq!(probes(&mut h, 7_500, |_, _| Some(5)), 3, "as before");
        }
    }

    #[test]
    fn after_a_suspend_nothing_of_before_counts_and_it_is_checked_at_once() {
        let mut h = up(1, 1, 2_900);
        run(&mut h, 3_050, |_, _| None);
        h.resume(at(900_000));
        assert_eq!((h.figures(at(900_000)), h.poll_at()), ((0, 0, None), Some(at(900_000))));
        assert_eq!(run(&mut h, 905_000, |_, _| Some(5)), []);
        h.set_link(at(905_100), LinkState::NoCarrier);
        h.resume(at(990_000));
        assert_eq!(h.poll_at(), None);
    }

    #[test]
    fn of_a_link_that_is_back_what_was_sent_with_the_first_probe_that_is_answered_counts() {
        let mut h = up(2, 1, 2_900);
        h.set_link(at(3_000), LinkState::NoCarrier);
        h.set_link(at(3_300), ready(2));
        run(&mut h, 4_350, |_, owner| (owner == 0).then_some(5));
        assert_eq!(h.figures(at(4_350)).0, 1, "the other target's first one");
    }

    #[test]
    fn a_probe_that_cannot_arrive_is_lost_at_once_and_told_once() {
        let mut h = up(2, 1, 2_900);
        let mut out = Vec::new();
        h.tick(at(3_000), &mut out);
        let ids: Vec<_> = out
            .iter()
            .filter_map(|e| if let Effect::Probe(id) = e { Some(*id) } else { None })
            .collect();
        let lost = |h: &mut Health, n: usize| {
            h.lost(at(3_001), ids[n], &Reason::Send(101));
            h.take_lost()
        };
        assert_eq!((lost(&mut h, 0), lost(&mut h, 0), lost(&mut h, 1)), (true, false, true));
        assert_eq!(h.targets().len(), ids.len());
    }

    #[test]
    fn what_a_router_says_meanwhile_is_why_nothing_answers() {
        let mut h = up(1, 1, 2_900);
        let error =
            IcmpError { what: "host unreachable", from: Ipv4Addr::new(192, 168, 42, 1).into() };
        run(&mut h, 3_500, |_, _| None);
        h.hint(0, error);
        run(&mut h, 4_200, |_, _| None);
        assert_eq!(h.why(), Some(Why::Target("target".into(), Reason::Hinted(error))));
    }

    #[test]
    fn it_keeps_up_while_it_is_ticked() {
        let mut h = up(1, 1, 2_900);
        assert!(h.keeps_up(at(3_000)) && !h.keeps_up(at(60_000)));
        h.set_link(at(60_000), LinkState::NoCarrier);
        assert!(h.keeps_up(at(900_000)), "there is nothing to do");
    }

    /// The targets that are probed, in order.
    fn owners(h: &mut Health, end: u32, silent: Owner) -> Vec<Owner> {
        let owners = std::cell::RefCell::new(Vec::new());
        run(h, end, |_, owner| {
            owners.borrow_mut().push(owner);
            (owner != silent).then_some(5)
        });
        owners.into_inner()
    }

    #[test]
    fn the_targets_of_an_idle_wan_take_turns_without_those_that_are_silent() {
        let mut h = up(3, 1, 900);
        h.set_idle(at(900), Some(MS * 10_000));
        assert_eq!(owners(&mut h, 70_900, 7), [1, 2, 0, 1, 2, 0, 1]);
        let mut h = up(3, 1, 900);
        run(&mut h, 2_950, |_, owner| (owner != 1).then_some(5));
        h.set_idle(at(2_950), Some(MS * 10_000));
        assert_eq!(owners(&mut h, 62_950, 1), [2, 2, 0, 2, 2, 0]);
    }

    #[test]
    fn an_idle_wan_whose_link_is_back_is_checked_and_then_idle_again() {
        let mut h = up(2, 1, 900);
        h.set_idle(at(900), Some(MS * 60_000));
        h.set_link(at(5_000), LinkState::NoCarrier);
        h.set_link(at(6_000), ready(2));
        assert_eq!(owners(&mut h, 60_000, 7), [0, 1]);
        assert_eq!((h.condition(), h.poll_at()), (Condition::Up, Some(at(66_000))));
    }

    #[test]
    fn the_window_holds_sixty_probes_and_those_whose_fate_is_open() {
        let patient = || {
            let plan = Plan::new(MS * 1000, 2, MS * 100_000);
            let targets = vec![(0, Rc::from("target"))];
            let mut h = Health::new(
                HealthSetup {
                    targets,
                    plan,
                    min_up: 1,
                    quality: Quality::default(),
                    by_gateway: false,
                },
                at(0),
            );
            h.set_link(at(0), ready(2));
            h
        };
        // At a time when nothing is open any more.
        let figures = |h: &Health| {
            let (lost, all, _) = h.figures(at(900_000));
            (lost, all)
        };
        let mut h = patient();
        run(&mut h, 80_500, |_, _| Some(5));
        assert_eq!(figures(&h), (0, WINDOW));
        run(&mut h, 120_500, |_, _| None);
        assert_eq!(figures(&h), (80, 80), "two a second, for 40 s");
        // Of each check the first probe is known to be lost.
        let mut h = patient();
        for check in 0..80 {
            let mut out = Vec::new();
            h.tick(at(check * 1000), &mut out);
            h.tick(at(check * 1000 + 100), &mut out);
            let [Effect::Probe(first), Effect::Probe(second)] = out[..] else { panic!("{out:?}") };
            h.lost(at(check * 1000 + 101), first, &Reason::Answered("no".into()));
            h.reply(at(check * 1000 + 105), second, MS * 5);
        }
        assert_eq!(figures(&h), (WINDOW / 2, WINDOW));
    }

    #[test]
    fn as_long_as_enough_may_still_answer_there_is_no_verdict() {
        let mut h = health(2, 1, Quality::default());
        h.set_link(at(0), ready(2));
        let mut sent = Vec::new();
        for t in [0, 100] {
            let mut out = Vec::new();
            h.tick(at(t), &mut out);
            for effect in out {
                let Effect::Probe(id) = effect else { panic!("{effect:?}") };
                if id.owner == 0 {
                    sent.push(id)
                } else {
                    h.lost(at(t), id, &Reason::Answered("no".into()))
                }
            }
        }
        assert_eq!((h.targets()[1].answers, h.condition()), (Some(false), Condition::Unknown));
        h.reply(at(500), sent[0], MS * 500);
        assert_eq!(h.condition(), Condition::Up);
    }

    #[test]
    fn quality_is_judged_from_the_twentieth_probe_on() {
        let slow = Limit { most: MS * 50, again: MS * 20 };
        let mut h = health(1, 1, Quality { rtt: Some(slow), loss: None });
        h.set_link(at(0), ready(2));
        assert_eq!(
            run(&mut h, 60_000, |_, _| Some(80)),
            [(80, Condition::Up), (19_080, Condition::Degraded)]
        );
    }

    #[test]
    fn one_probe_lost_of_many_is_no_loss_to_speak_of() {
        let limit = Limit { most: 0.2, again: 0.1 };
        let mut h = health(1, 1, Quality { rtt: None, loss: Some(limit) });
        h.set_link(at(0), ready(2));
        let changes = run(&mut h, 60_000, |t, _| (t != 30_000).then_some(5));
        assert_eq!(changes, [(5, Condition::Up)]);
    }
}
