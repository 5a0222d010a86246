//! Checks on a fixed grid: what every monitor does with one host.
//!
//! A check starts every `interval`, whatever the one before it takes; checks may overlap and are
//! judged in the order of their start. The probes of a check are `gap` apart. A check is good at
//! its first reply and bad when the last probe's `wait` has ended, so a dead host is known after
//! `gap × (count − 1) + wait`.

use std::collections::VecDeque;
use std::time::Duration;

use super::stats::Stats;
use crate::base::time::Instant;
use crate::probe::{Owner, ProbeId, Reason};
use crate::wire::icmp::IcmpError;

/// How a host is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// From the start of a check to the start of the next.
    pub interval: Duration,
    /// From a probe of a check to the next.
    pub gap: Duration,
    /// Probes in a check, at least 1.
    pub count: u16,
    /// How long a reply may take.
    pub wait: Duration,
}

impl Plan {
    /// The plan of a monitor: the probes of a check are a tenth of the interval apart, at most a
    /// second.
    #[must_use]
    pub fn new(interval: Duration, count: u16, wait: Duration) -> Self {
        Self {
            interval,
            gap: (interval / 10).min(Duration::from_secs(1)),
            count: count.max(1),
            wait,
        }
    }

    /// How long a check takes that gets no reply.
    #[must_use]
    pub fn span(&self) -> Duration {
        self.gap * u32::from(self.count - 1) + self.wait
    }
}

/// When a check is settled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settle {
    /// At the first reply: whether the host is there is all that matters, and no further probe is
    /// sent.
    FirstReply,
    /// When each probe is answered or lost: statistics are wanted.
    AllProbes,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ProbeOutcome {
    Waiting,
    Reply(Duration),
    Lost,
}

#[derive(Clone, Copy, Debug)]
struct SentProbe {
    sent: Instant,
    outcome: ProbeOutcome,
}

#[derive(Debug)]
struct Round {
    serial: u32,
    start: Instant,
    /// How many probes it has when all are sent.
    count: u16,
    /// Those sent so far. Its memory is used again by later checks.
    probes: Vec<SentProbe>,
    replied: Option<Instant>,
    reason: Reason,
    /// The owner has been told that the last probe has left.
    told_last: bool,
}

/// How a check went.
#[derive(Clone, PartialEq, Debug)]
pub struct RoundVerdict {
    /// Serial number of the check.
    pub check: u32,
    /// When it started.
    pub start: Instant,
    /// How many probes it could have had.
    pub count: u16,
    /// Whether any reply came in time.
    pub good: bool,
    /// When the first reply came.
    pub replied: Option<Instant>,
    /// When its first lost probe was sent.
    pub first_lost: Option<Instant>,
    /// Round-trip times and loss. With [`Settle::FirstReply`] of the probes that were settled by
    /// then.
    pub stats: Stats,
    /// Why it failed, where it did.
    pub reason: Reason,
}

/// What has been seen of a host since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Probes sent.
    pub sent: u64,
    /// Replies in time.
    pub replies: u64,
    /// Replies after `wait` had ended.
    pub late: u64,
    /// Replies beyond the first to a probe.
    pub duplicates: u64,
    /// Checks judged.
    pub checks: u64,
}

/// Runs the checks of one host.
#[derive(Debug)]
pub struct Checker {
    owner: Owner,
    plan: Plan,
    settle: Settle,
    /// Where the grid is pinned.
    anchor: Instant,
    next: Option<Instant>,
    /// There is a grid, but it has not begun.
    held: bool,
    /// Those under way, oldest first.
    checks: VecDeque<Round>,
    /// The one judged last: a second reply to one of its probes is a duplicate, also after the
    /// verdict.
    judged: Option<Round>,
    /// Probe lists for checks to come.
    spare: Vec<Vec<SentProbe>>,
    serial: u32,
    /// Heard since the last check was judged, and no reason to end one: without proof, or for a
    /// check before.
    hint: Option<Reason>,
    /// What has been seen so far.
    pub counters: Counters,
}

impl Checker {
    /// A checker whose first check starts at `first`.
    #[must_use]
    pub fn new(owner: Owner, plan: Plan, settle: Settle, first: Instant) -> Self {
        Self { next: Some(first), ..Self::idle(owner, plan, settle, first) }
    }

    /// A checker without a grid: it checks when [`Checker::check_now`] says so.
    #[must_use]
    pub fn idle(owner: Owner, plan: Plan, settle: Settle, now: Instant) -> Self {
        Self {
            owner,
            plan,
            settle,
            anchor: now,
            next: None,
            held: false,
            checks: VecDeque::new(),
            judged: None,
            spare: Vec::new(),
            serial: 0,
            hint: None,
            counters: Counters::default(),
        }
    }

    /// The host's number.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Checks from now on every `interval`, on the grid that began with the first check. The probes
    /// of a check stay as far apart as before.
    pub fn set_interval(&mut self, now: Instant, interval: Duration) {
        if self.plan.interval != interval {
            self.plan.interval = interval;
            self.next = self.next.map(|_| self.after(now));
        }
    }

    /// From now on checks are settled so, those under way as well.
    pub fn set_settle(&mut self, settle: Settle) {
        self.settle = settle;
    }

    /// Starts one check at the next tick, beside the grid; none while there is nobody to send a
    /// probe to.
    pub fn check_now(&mut self, now: Instant) {
        if !self.held {
            self.start(now, self.plan.count);
        }
    }

    /// As [`Checker::check_now`], with a single probe.
    pub fn probe_now(&mut self, now: Instant) {
        if !self.held {
            self.start(now, 1);
        }
    }

    /// Stops the grid; checks under way go on.
    pub fn pause(&mut self) {
        self.next = None;
    }

    /// Begins a grid at `first`, in place of the one there may be; checks under way go on.
    pub fn begin(&mut self, first: Instant) {
        (self.anchor, self.next) = (first, Some(first));
    }

    /// Forgets what is under way; a checker with a grid starts it anew at `first`. For after a
    /// suspend.
    pub fn restart(&mut self, first: Instant) {
        self.stop();
        if self.next.is_some() {
            self.anchor = first;
            self.next = Some(first);
        }
    }

    /// Waits with the first check: the host's name is not known yet.
    pub fn hold(&mut self) {
        self.held |= self.next.take().is_some();
    }

    /// Begins at `first`, after [`Checker::hold`].
    pub fn release(&mut self, first: Instant) {
        if std::mem::take(&mut self.held) {
            self.anchor = first;
            self.next = Some(first);
        }
    }

    /// Forgets the checks under way.
    pub fn stop(&mut self) {
        while let Some(check) = self.checks.pop_front() {
            self.recycle(check.probes);
        }
    }

    /// Whether a check is under way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.checks.is_empty()
    }

    /// When [`Checker::tick`] must be called next.
    #[must_use]
    pub fn poll_at(&self) -> Option<Instant> {
        let steps =
            self.checks.iter().filter_map(|c| self.next_send(c).or_else(|| self.deadline(c)));
        steps.chain(self.next).min()
    }

    /// Does what is due: starts a check, sends a probe, loses one whose time is over.
    pub fn tick<E: From<ProbeId>>(&mut self, now: Instant, out: &mut Vec<E>) {
        if self.next.is_some_and(|next| next <= now) {
            self.start(now, self.plan.count);
            self.next = Some(self.after(now));
        }
        let (owner, plan, settle) = (self.owner, self.plan, self.settle);
        for check in &mut self.checks {
            if next_send(&plan, settle, check).is_some_and(|at| at <= now) {
                let index = u16::try_from(check.probes.len()).unwrap_or(u16::MAX);
                check.probes.push(SentProbe { sent: now, outcome: ProbeOutcome::Waiting });
                self.counters.sent += 1;
                out.push(ProbeId { owner, check: check.serial, index }.into());
            }
            for probe in check.probes.iter_mut().filter(|p| p.sent + plan.wait <= now) {
                if probe.outcome == ProbeOutcome::Waiting {
                    probe.outcome = ProbeOutcome::Lost;
                }
            }
        }
    }

    /// A reply arrived.
    pub fn reply(&mut self, now: Instant, id: ProbeId, rtt: Duration) {
        let late = rtt > self.plan.wait;
        let check = self.checks.iter_mut().find(|c| c.serial == id.check);
        if late {
            self.counters.late += 1;
            match check {
                Some(c) => c.blame(Reason::Late(rtt)),
                None => self.note(Reason::Late(rtt)),
            }
            return;
        }
        let check = check.or(self.judged.as_mut().filter(|c| c.serial == id.check));
        match check
            .and_then(|c| c.probes.get_mut(usize::from(id.index)).map(|p| (p, &mut c.replied)))
        {
            Some((p, _)) if matches!(p.outcome, ProbeOutcome::Reply(_)) => {
                self.counters.duplicates += 1
            }
            Some((p, replied)) => {
                p.outcome = ProbeOutcome::Reply(rtt);
                replied.get_or_insert(now);
                self.counters.replies += 1;
            }
            // Its check was judged long ago, or forgotten.
            None => self.counters.replies += 1,
        }
    }

    /// A probe is lost, and it is known why.
    pub fn lost(&mut self, id: ProbeId, reason: Reason) {
        let Some(check) = self.checks.iter_mut().find(|c| c.serial == id.check) else { return };
        let Some(probe) = check.probes.get_mut(usize::from(id.index)) else { return };
        if probe.outcome == ProbeOutcome::Waiting {
            probe.outcome = ProbeOutcome::Lost;
            if reason.not_sent() {
                self.counters.sent = self.counters.sent.saturating_sub(1);
            }
            check.blame(reason);
        }
    }

    /// Somebody says why there are no replies. Only a reason's colour.
    pub fn hint(&mut self, error: IcmpError) {
        self.note(Reason::Hinted(error));
    }

    /// The serial number of a check whose last probe has just left while none is answered. Each is
    /// told once.
    pub fn take_last_probe_sent(&mut self) -> Option<u32> {
        let all_sent = |c: &Round| c.probes.len() >= usize::from(c.count);
        let check =
            self.checks.iter_mut().find(|c| !c.told_last && c.replied.is_none() && all_sent(c))?;
        check.told_last = true;
        Some(check.serial)
    }

    /// The oldest check, when it is settled: its serial number, and whether a reply came.
    #[must_use]
    pub fn settled(&self) -> Option<(u32, bool)> {
        self.checks.front().filter(|c| self.is_settled(c)).map(|c| (c.serial, c.replied.is_some()))
    }

    /// Forgets checks that still wait for a reply while a later one has had one: whether the host
    /// is there is known.
    pub fn overtake(&mut self) {
        while self.checks.front().is_some_and(|c| !self.is_settled(c) && c.replied.is_none())
            && self.checks.iter().skip(1).any(|c| c.replied.is_some())
        {
            let Some(check) = self.checks.pop_front() else { return };
            self.recycle(check.probes);
        }
    }

    /// Takes the verdict on the oldest check, when it is settled.
    pub fn judge(&mut self) -> Option<RoundVerdict> {
        if !self.checks.front().is_some_and(|c| self.is_settled(c)) {
            return None;
        }
        let check = self.checks.pop_front()?;
        let rtts = check.probes.iter().filter_map(|p| match p.outcome {
            ProbeOutcome::Reply(rtt) => Some(rtt),
            ProbeOutcome::Waiting | ProbeOutcome::Lost => None,
        });
        let settled = check.probes.iter().filter(|p| p.outcome != ProbeOutcome::Waiting).count();
        let stats = Stats::of(rtts, u16::try_from(settled).unwrap_or(u16::MAX));
        let hint = self.hint.take().filter(|_| check.replied.is_none()).unwrap_or(Reason::Silent);
        let reason = hint.or(check.reason.clone());
        self.counters.checks += 1;
        let verdict = RoundVerdict {
            check: check.serial,
            start: check.start,
            count: check.count,
            good: check.replied.is_some(),
            replied: check.replied,
            first_lost: check
                .probes
                .iter()
                .find(|p| p.outcome == ProbeOutcome::Lost)
                .map(|p| p.sent),
            stats,
            reason,
        };
        if let Some(older) = self.judged.replace(check) {
            self.recycle(older.probes);
        }
        Some(verdict)
    }

    /// Whether checks are started and judged when they should be, give or take the 5 s of a machine
    /// under load.
    #[must_use]
    pub fn keeps_up(&self, now: Instant) -> bool {
        let grace = Duration::from_secs(5);
        self.poll_at().is_none_or(|at| now <= at + grace)
            && self.checks.front().is_none_or(|c| now <= c.start + self.plan.span() * 2 + grace)
    }

    fn note(&mut self, reason: Reason) {
        self.hint = Some(self.hint.take().map_or(reason.clone(), |earlier| earlier.or(reason)));
    }

    fn start(&mut self, now: Instant, count: u16) {
        self.serial = self.serial.wrapping_add(1);
        let mut probes = self.spare.pop().unwrap_or_default();
        probes.reserve_exact(usize::from(count));
        self.checks.push_back(Round {
            serial: self.serial,
            start: now,
            count,
            probes,
            replied: None,
            reason: Reason::Silent,
            told_last: false,
        });
    }

    fn recycle(&mut self, mut probes: Vec<SentProbe>) {
        probes.clear();
        self.spare.push(probes);
    }

    /// The first point of the grid after `now`. Points that were missed are gone: no burst makes up
    /// for them.
    fn after(&self, now: Instant) -> Instant {
        let interval = self.plan.interval.as_nanos().max(1);
        let passed = now.since(self.anchor).as_nanos() / interval;
        let nanos = interval.saturating_mul(passed + 1);
        self.anchor + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn next_send(&self, check: &Round) -> Option<Instant> {
        next_send(&self.plan, self.settle, check)
    }

    /// When the check's last probe is lost. Only asked once all have left.
    fn deadline(&self, check: &Round) -> Option<Instant> {
        check
            .probes
            .iter()
            .filter(|p| p.outcome == ProbeOutcome::Waiting)
            .map(|p| p.sent + self.plan.wait)
            .max()
    }

    fn is_settled(&self, check: &Round) -> bool {
        let all_sent = check.probes.len() >= usize::from(check.count);
        let none_waits = !check.probes.iter().any(|p| p.outcome == ProbeOutcome::Waiting);
        (all_sent && none_waits) || (self.settle == Settle::FirstReply && check.replied.is_some())
    }
}

impl Round {
    /// Keeps the more telling of two reasons.
    fn blame(&mut self, reason: Reason) {
        self.reason = std::mem::replace(&mut self.reason, Reason::Silent).or(reason);
    }
}

/// When the check's next probe is due: on the check's own grid, but never right behind one that was
/// late.
fn next_send(plan: &Plan, settle: Settle, check: &Round) -> Option<Instant> {
    let n = u32::try_from(check.probes.len()).unwrap_or(u32::MAX);
    let done =
        n >= u32::from(check.count) || (settle == Settle::FirstReply && check.replied.is_some());
    let due = check.start + plan.gap.saturating_mul(n);
    (!done).then(|| check.probes.last().map_or(due, |last| due.max(last.sent + plan.gap / 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u32) -> Instant {
        Instant::ZERO + MS * ms
    }

    fn id(check: u32, index: u16) -> ProbeId {
        ProbeId { owner: 3, check, index }
    }

    /// Takes probes that a test does not look at.
    fn unread() -> Vec<ProbeId> {
        Vec::new()
    }

    fn plan() -> Plan {
        Plan::new(MS * 10_000, 2, MS * 1000)
    }

    /// Ticks whenever the checker asks for it until `end`, and returns the probes with their times
    /// in ms.
    fn run(c: &mut Checker, end: Instant) -> Vec<(u64, ProbeId)> {
        let mut sent = Vec::new();
        while let Some(now) = c.poll_at().filter(|t| *t <= end) {
            let mut out: Vec<ProbeId> = Vec::new();
            c.tick(now, &mut out);
            sent.extend(out.into_iter().map(|id| (now.as_nanos() / 1_000_000, id)));
            if c.settled().is_some() {
                break;
            }
        }
        sent
    }

    #[test]
    fn probes_are_a_tenth_of_the_interval_apart_and_at_most_a_second() {
        assert_eq!(plan().gap, MS * 1000);
        assert_eq!(Plan::new(MS * 1000, 2, MS).gap, MS * 100);
        assert_eq!(Plan::new(MS * 86_400_000, 2, MS).gap, MS * 1000);
        assert_eq!(Plan::new(MS * 1000, 4, MS * 300).span(), MS * 600);
    }

    #[test]
    fn a_silent_host_is_known_when_the_last_probes_wait_ends() {
        let mut c = Checker::new(3, plan(), Settle::FirstReply, at(0));
        assert_eq!(run(&mut c, at(60_000)), [(0, id(1, 0)), (1000, id(1, 1))]);
        let v = c.judge().unwrap();
        assert!(!v.good);
        assert_eq!((v.first_lost, v.stats.loss, v.reason), (Some(at(0)), 1.0, Reason::Silent));
        assert_eq!(c.poll_at(), Some(at(10_000)), "the grid is not moved by what a check took");
    }

    #[test]
    fn the_first_reply_settles_a_check_and_saves_the_other_probes() {
        let mut c = Checker::new(3, plan(), Settle::FirstReply, at(0));
        c.tick(at(0), &mut unread());
        c.reply(at(20), id(1, 0), MS * 20);
        let v = c.judge().unwrap();
        assert!(v.good);
        assert_eq!((v.replied, v.stats.avg, v.stats.loss), (Some(at(20)), 20.0, 0.0));
        assert_eq!(c.poll_at(), Some(at(10_000)));
    }

    #[test]
    fn statistics_wait_for_every_probe() {
        let mut c = Checker::new(3, plan(), Settle::AllProbes, at(0));
        c.tick(at(0), &mut unread());
        c.reply(at(20), id(1, 0), MS * 20);
        assert_eq!(c.judge(), None);
        c.tick(at(1000), &mut unread());
        c.reply(at(1010), id(1, 1), MS * 10);
        let v = c.judge().unwrap();
        assert_eq!((v.stats.min, v.stats.max, v.stats.jitter), (10.0, 20.0, 10.0));
    }

    #[test]
    fn b34_a_probe_that_could_not_be_sent_is_lost_with_its_reason() {
        let mut c = Checker::new(3, plan(), Settle::AllProbes, at(0));
        for (ms, i) in [(0, 0), (1000, 1)] {
            c.tick(at(ms), &mut unread());
            c.lost(id(1, i), Reason::Send(101));
        }
        let v = c.judge().unwrap();
        assert_eq!((v.stats.loss, v.reason), (1.0, Reason::Send(101)));
    }

    #[test]
    fn b47_a_late_reply_is_late_and_counted_as_late() {
        let mut c = Checker::new(3, plan(), Settle::FirstReply, at(0));
        c.tick(at(0), &mut unread());
        c.tick(at(1000), &mut unread());
        c.reply(at(1200), id(1, 0), MS * 1200);
        c.tick(at(2000), &mut unread());
        c.reply(at(2200), id(1, 1), MS * 1200);
        let v = c.judge().unwrap();
        assert!(!v.good);
        assert_eq!(
            (c.counters.late, v.reason.to_string()),
            (2, "reply too late, after 1200.0 ms".to_owned())
        );
    }

    #[test]
    fn overlapping_checks_are_judged_in_the_order_of_their_start() {
        let mut c = Checker::new(3, Plan::new(MS * 100, 1, MS * 1000), Settle::FirstReply, at(0));
        c.tick(at(0), &mut unread());
        c.tick(at(100), &mut unread());
        c.reply(at(110), id(2, 0), MS * 10);
        assert_eq!(c.judge(), None, "the first check is still open");
        c.tick(at(1000), &mut unread());
        let (a, b) = (c.judge().unwrap(), c.judge().unwrap());
        assert_eq!(((a.check, a.good), (b.check, b.good)), ((1, false), (2, true)));
    }

    #[test]
    fn missed_grid_points_make_no_burst() {
        let mut c = Checker::new(3, plan(), Settle::FirstReply, at(0));
        let mut out = unread();
        c.tick(at(35_000), &mut out);
        assert_eq!(out.len(), 1);
        c.reply(at(35_001), id(1, 0), MS);
        c.judge();
        assert_eq!(c.poll_at(), Some(at(40_000)));
    }

    #[test]
    fn an_error_with_proof_ends_the_check_early_and_one_without_only_colours() {
        let error = IcmpError { what: "host unreachable", from: "10.0.0.1".parse().unwrap() };
        let mut c =
            Checker::new(3, Plan::new(MS * 10_000, 1, MS * 1000), Settle::FirstReply, at(0));
        c.tick(at(0), &mut unread());
        c.lost(id(1, 0), Reason::Icmp(error));
        assert_eq!(c.judge().unwrap().reason, Reason::Icmp(error));
        c.tick(at(10_000), &mut unread());
        c.hint(error);
        assert_eq!(c.judge(), None, "it still waits for a reply");
        c.tick(at(11_000), &mut unread());
        assert_eq!(c.judge().unwrap().reason, Reason::Hinted(error));
    }

    #[test]
    fn duplicates_are_not_replies() {
        let mut c = Checker::new(3, plan(), Settle::AllProbes, at(0));
        c.tick(at(0), &mut unread());
        c.reply(at(1), id(1, 0), MS);
        c.reply(at(2), id(1, 0), MS * 2);
        assert_eq!((c.counters.replies, c.counters.duplicates), (1, 1));
    }

    #[test]
    fn a_reply_that_comes_after_the_verdict_explains_the_next_one() {
        let mut c = Checker::new(3, Plan::new(MS * 2000, 1, MS * 1000), Settle::FirstReply, at(0));
        c.tick(at(0), &mut unread());
        c.tick(at(1000), &mut unread());
        assert_eq!(c.judge().unwrap().reason, Reason::Silent);
        c.reply(at(1200), id(1, 0), MS * 1200);
        c.tick(at(2000), &mut unread());
        c.tick(at(3000), &mut unread());
        assert_eq!((c.judge().unwrap().reason, c.counters.late), (Reason::Late(MS * 1200), 1));
    }

    #[test]
    fn a_duplicate_after_the_verdict_is_no_reply_either() {
        let mut c = Checker::new(3, plan(), Settle::FirstReply, at(0));
        c.tick(at(0), &mut unread());
        c.reply(at(1), id(1, 0), MS);
        assert!(c.judge().unwrap().good);
        c.reply(at(2), id(1, 0), MS * 2);
        assert_eq!((c.counters.replies, c.counters.duplicates), (1, 1));
    }

    #[test]
    fn a_faster_grid_keeps_the_anchor() {
        let mut c = Checker::new(3, plan(), Settle::FirstReply, at(0));
        run(&mut c, at(2000));
        c.judge();
        c.set_interval(at(2000), MS * 1000);
        assert_eq!(c.poll_at(), Some(at(3000)));
        c.set_interval(at(2500), MS * 10_000);
        assert_eq!(c.poll_at(), Some(at(10_000)));
    }

    #[test]
    fn a_check_asked_for_waits_for_the_first_lookup_too() {
        let mut c = Checker::new(3, plan(), Settle::FirstReply, at(0));
        c.hold();
        c.check_now(at(100));
        assert_eq!((c.is_busy(), c.poll_at()), (false, None));
        c.release(at(200));
        assert_eq!(c.poll_at(), Some(at(200)));
    }

    #[test]
    fn the_last_probe_of_a_check_is_told_of_once_while_nothing_has_answered() {
        let mut c = Checker::new(3, plan(), Settle::FirstReply, at(0));
        c.tick(at(0), &mut unread());
        assert_eq!(c.take_last_probe_sent(), None, "there is another one to come");
        c.tick(at(1000), &mut unread());
        assert_eq!((c.take_last_probe_sent(), c.take_last_probe_sent()), (Some(1), None));
        let mut c =
            Checker::new(3, Plan::new(MS * 10_000, 1, MS * 1000), Settle::FirstReply, at(0));
        c.tick(at(0), &mut unread());
        c.reply(at(5), id(1, 0), MS * 5);
        assert_eq!(c.take_last_probe_sent(), None, "it was answered");
        c.judge();
        c.tick(at(10_000), &mut unread());
        assert_eq!(c.take_last_probe_sent(), Some(2));
    }

    #[test]
    fn a_check_that_waits_is_forgotten_when_a_later_one_is_answered() {
        let overlapping = || {
            let mut c =
                Checker::new(3, Plan::new(MS * 100, 1, MS * 1000), Settle::FirstReply, at(0));
            (0..4).for_each(|n| c.tick(at(n * 100), &mut unread()));
            c
        };
        let mut c = overlapping();
        c.overtake();
        assert_eq!(c.settled(), None);
        c.reply(at(310), id(3, 0), MS * 110);
        assert_eq!(c.settled(), None, "the first two still wait");
        c.overtake();
        assert_eq!(c.settled(), Some((3, true)));
        assert_eq!(c.judge().map(|v| (v.check, v.good)), Some((3, true)));
        assert_eq!((c.is_busy(), c.judge()), (true, None), "the fourth goes on");
        // What is settled is judged, whatever came of it.
        let mut c = overlapping();
        c.lost(id(1, 0), Reason::Send(101));
        c.reply(at(310), id(4, 0), MS * 10);
        c.overtake();
        let judged: Vec<_> = std::iter::from_fn(|| {
            c.overtake();
            c.judge().map(|v| (v.check, v.good))
        })
        .collect();
        assert_eq!(judged, [(1, false), (4, true)]);
    }

    #[test]
    fn it_keeps_up_as_long_as_checks_begin_and_end_within_five_seconds_of_their_time() {
        let c = Checker::new(3, plan(), Settle::AllProbes, at(0));
        assert_eq!(
            [c.keeps_up(at(5_000)), c.keeps_up(at(5_001))],
            [true, false],
            "nobody has ticked"
        );
        let mut c = Checker::new(3, plan(), Settle::AllProbes, at(0));
        for (ms, index) in [(0, 0), (1_000, 1)] {
            c.tick(at(ms), &mut unread());
            c.reply(at(ms), id(1, index), MS);
        }
        // It takes 2 s; twice that and 5 s are granted until it is judged.
        assert_eq!(
            [c.keeps_up(at(9_000)), c.keeps_up(at(9_001))],
            [true, false],
            "nobody has judged"
        );
        c.judge();
        assert_eq!(
            [c.keeps_up(at(15_000)), c.keeps_up(at(15_001))],
            [true, false],
            "the next one is due"
        );
        let idle = Checker::idle(3, plan(), Settle::AllProbes, at(0));
        assert!(idle.keeps_up(at(1_000_000)), "nothing is expected of it");
    }

    #[test]
    fn a_probe_that_never_left_is_not_counted_as_sent() {
        let mut c = Checker::new(3, plan(), Settle::AllProbes, at(0));
        c.tick(at(0), &mut unread());
        c.lost(id(1, 0), Reason::Send(101));
        c.lost(id(1, 0), Reason::Send(101));
        assert_eq!(c.counters.sent, 0);
        let error = IcmpError { what: "host unreachable", from: "10.0.0.1".parse().unwrap() };
        c.tick(at(1000), &mut unread());
        c.lost(id(1, 1), Reason::Icmp(error));
        assert_eq!(c.counters.sent, 1);
        assert_eq!(c.judge().unwrap().reason, Reason::Send(101), "the more telling of the two");
        assert_eq!(c.counters.checks, 1);
    }

    #[test]
    fn a_suspend_forgets_what_was_under_way() {
        let mut c = Checker::new(3, plan(), Settle::FirstReply, at(0));
        c.tick(at(0), &mut unread());
        c.restart(at(500));
        assert_eq!((c.is_busy(), c.poll_at()), (false, Some(at(500))));
    }
}
