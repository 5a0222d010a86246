//! The updown monitor: is an address there, since when is it not, and where does the fault lie.

pub mod secondaries;

use std::rc::Rc;
use std::time::Duration;

use self::secondaries::Secondaries;
use super::{Effect, Observation, Progress};
use crate::base::time::Instant;
use crate::dns::plausible;
use crate::event::{Event, Monitor, Outage, What};
use crate::probe::round::{Checker, Plan, RoundVerdict, Settle};
use crate::probe::{AskId, OpinionQuestion, Owner, ProbeId, Reason};
use crate::wire::dns::DnsAnswer;

/// While offline a check starts this often, or every `interval` if that is shorter: recovery is
/// what people wait for.
const OFFLINE_INTERVAL: Duration = Duration::from_secs(1);
/// A name server gets at least this long, also where `pingwait` is shorter: it may have to ask
/// others.
const DNS_WAIT: Duration = Duration::from_secs(1);
/// What the only probe of a check gets before the name server is asked, or a quarter of its wait if
/// that is less.
const HEAD_START: Duration = Duration::from_millis(250);

/// What the monitor needs to know. Owners are numbers the daemon gave to the hosts.
#[derive(Clone, Debug)]
pub struct UpdownSetup {
    /// The monitored address, as configured, and its number.
    pub target: (Owner, Rc<str>),
    /// Its checks.
    pub plan: Plan,
    /// Bad checks in a row that make it offline, at least 1.
    pub fall: u32,
    /// Good checks in a row that make it online again, at least 1.
    pub rise: u32,
    /// The additional addresses.
    pub secondaries: Vec<(Owner, Rc<str>)>,
    /// The DNS second opinion.
    pub dns: Option<OpinionSetup>,
}

/// Whom the second opinion asks, and what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpinionSetup {
    /// The name server, as configured, and its number.
    pub server: (Owner, Rc<str>),
    /// The name to look up.
    pub name: Rc<str>,
}

/// Whether the address is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reachability {
    /// Not checked yet.
    Unknown,
    /// It answers, since then.
    Online(Instant),
    /// It does not answer, since then, and why.
    Offline(Instant, Reason),
}

/// A second opinion under way: two answers are needed.
#[derive(Debug)]
struct PendingOpinion {
    check: u32,
    /// When to ask; `None` once it is asked.
    at: Option<Instant>,
    until: Instant,
    /// The name has a believable address, or why not.
    name: Option<Result<(), Rc<str>>>,
    /// The server does not make addresses up, or how it failed to show that.
    honest: Option<Result<(), Rc<str>>>,
}

impl PendingOpinion {
    /// Whether DNS refutes the outage; `None` while that may still come out.
    fn verdict(&self, over: bool) -> Option<bool> {
        match (&self.name, &self.honest) {
            (Some(Ok(())), Some(Ok(()))) => Some(true),
            (Some(Err(_)), _) | (_, Some(Err(_))) => Some(false),
            _ => over.then_some(false),
        }
    }
}

/// The monitor.
#[derive(Debug)]
pub struct Updown {
    setup: UpdownSetup,
    main: Checker,
    around: Secondaries,
    state: Reachability,
    /// Good or bad checks in a row.
    run: u32,
    /// The first lost probe of the bad checks in a row.
    lost_since: Option<Instant>,
    /// An outage was refuted in this online period.
    refuted: bool,
    opinions: Vec<PendingOpinion>,
    /// Why the last opinion did not refute.
    doubt: Option<Rc<str>>,
    last: Option<RoundVerdict>,
    /// It is offline for another reason than before.
    changed: bool,
}

impl Updown {
    /// A monitor whose first check starts now.
    #[must_use]
    pub fn new(setup: UpdownSetup, now: Instant) -> Self {
        Self {
            main: Checker::new(setup.target.0, setup.plan, Settle::FirstReply, now),
            around: Secondaries::new(&setup.secondaries, &setup.target.1, setup.plan, now),
            state: Reachability::Unknown,
            run: 0,
            lost_since: None,
            refuted: false,
            opinions: Vec::new(),
            doubt: None,
            last: None,
            changed: false,
            setup,
        }
    }

    /// Takes over what an earlier configuration's monitor knew, if it watched the same address.
    pub fn inherit(&mut self, old: Self, now: Instant) {
        if old.setup.target.1 != self.setup.target.1 {
            return;
        }
        self.main.counters = old.main.counters;
        self.state = old.state;
        self.lost_since = old.lost_since;
        self.refuted = old.refuted;
        self.doubt = old.doubt;
        self.last = old.last;
        if self.is_offline() {
            self.main.set_interval(now, self.offline_interval());
            self.around.watch(now);
        }
    }

    /// Takes note of what was seen and says what to do.
    ///
    /// Time passes with [`Observation::Tick`] only. After a stall a reply may be read while the
    /// next one, in time as well, still waits in the socket: nothing is lost for its time's sake
    /// before the loop has read everything and ticks.
    pub fn on(&mut self, now: Instant, seen: &Observation<'_>, out: &mut Vec<Effect>) {
        match seen {
            Observation::Tick => {
                self.main.tick(now, out);
                self.around.tick(now, out);
            }
            Observation::Reply(id, rtt) => match self.checker(id.owner) {
                Some(c) => c.reply(now, *id, *rtt),
                None => return,
            },
            Observation::Lost(id, reason) => self.lost(*id, reason),
            Observation::Hint(owner, error) => {
                if let Some(c) = self.checker(*owner) {
                    c.hint(*error);
                }
            }
            Observation::Answer { id, answer, own } => self.answer(*id, answer, own, out),
            Observation::Hold(owner) => {
                if *owner == self.main.owner() {
                    self.main.hold();
                }
            }
            Observation::Ready(owner) => {
                if *owner == self.main.owner() {
                    self.main.release(now);
                }
            }
            Observation::Resumed => {
                self.main.restart(now);
                self.opinions.clear();
                self.run = 0;
                if !self.is_offline() {
                    self.lost_since = None;
                }
                self.around.restart(now);
            }
            Observation::CheckNow => self.main.check_now(now),
            Observation::Links(_)
            | Observation::Routed { .. }
            | Observation::Found(..)
            | Observation::Published { .. }
            | Observation::Ways(_)
            | Observation::Moved => return,
        }
        while let Some(check) = self.main.take_last_probe_sent() {
            self.plan_opinion(now, check);
        }
        self.ask(now, out);
        self.judge(now, matches!(seen, Observation::Tick), out);
        self.around.judge(out);
    }

    /// When the monitor wants a [`Observation::Tick`].
    #[must_use]
    pub fn poll_at(&self) -> Option<Instant> {
        // An opinion's end matters only once its check has nothing else to wait for.
        let opinion = self
            .main
            .settled()
            .and_then(|(check, _)| self.opinions.iter().find(|o| o.check == check));
        let question = self.opinions.iter().filter_map(|o| o.at).min();
        [self.main.poll_at(), self.around.poll_at(), opinion.map(|o| o.until), question]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether the reason of the outage has changed since this was asked last. Changes of the state
    /// are events.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Whether the address is there.
    #[must_use]
    pub fn state(&self) -> &Reachability {
        &self.state
    }

    /// The monitored address as configured, and its number.
    #[must_use]
    pub fn target(&self) -> &(Owner, Rc<str>) {
        &self.setup.target
    }

    /// The checks of the monitored address.
    #[must_use]
    pub fn checker_status(&self) -> (&Checker, Option<&RoundVerdict>) {
        (&self.main, self.last.as_ref())
    }

    /// The additional addresses and what was last seen of them.
    pub fn secondaries(&self) -> impl Iterator<Item = (&str, Option<bool>)> {
        self.around.known()
    }

    /// Why DNS did not refute the last bad check.
    #[must_use]
    pub fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    fn is_offline(&self) -> bool {
        matches!(self.state, Reachability::Offline(..))
    }

    fn offline_interval(&self) -> Duration {
        self.setup.plan.interval.min(OFFLINE_INTERVAL)
    }

    fn checker(&mut self, owner: Owner) -> Option<&mut Checker> {
        if owner == self.main.owner() { Some(&mut self.main) } else { self.around.checker(owner) }
    }

    fn lost(&mut self, id: ProbeId, reason: &Reason) {
        if let Some(c) = self.checker(id.owner) {
            c.lost(id, reason.clone());
        }
    }

    /// Plans the second opinion beside the last probe, so that it costs no time. The only probe of
    /// a check gets a moment first: else every check of a healthy address would ask.
    fn plan_opinion(&mut self, now: Instant, check: u32) {
        if self.setup.dns.is_some() {
            let wait = self.setup.plan.wait;
            let head_start = if self.setup.plan.count == 1 {
                (wait / 4).min(HEAD_START)
            } else {
                Duration::ZERO
            };
            let until = now + wait.max(DNS_WAIT);
            self.opinions.push(PendingOpinion {
                check,
                at: Some(now + head_start),
                until,
                name: None,
                honest: None,
            });
        }
    }

    /// Asks what is due.
    fn ask(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let Some(dns) = &self.setup.dns else { return };
        for opinion in &mut self.opinions {
            if opinion.at.take_if(|at| *at <= now).is_some() {
                for about in [OpinionQuestion::Name, OpinionQuestion::Invalid] {
                    let id = AskId { server: dns.server.0, check: opinion.check, about };
                    out.push(Effect::Ask(id, dns.name.clone()));
                }
            }
        }
    }

    fn answer(
        &mut self,
        id: AskId,
        answer: &Result<DnsAnswer, Rc<str>>,
        own: &[std::net::IpAddr],
        out: &mut Vec<Effect>,
    ) {
        let Some(dns) = self.setup.dns.as_ref().filter(|d| d.server.0 == id.server) else { return };
        let Some(opinion) = self.opinions.iter_mut().find(|o| o.check == id.check) else { return };
        if answer.is_err() {
            out.push(Effect::Refresh(id.server));
        }
        match id.about {
            OpinionQuestion::Name => {
                opinion.name = Some(answer.as_ref().map_err(Rc::clone).and_then(|a| {
                    plausible::believable(&dns.name, a, own)
                        .map_err(|doubt| doubt.to_string().into())
                }));
            }
            OpinionQuestion::Invalid => {
                opinion.honest = Some(answer.as_ref().map_err(Rc::clone).and_then(|a| {
                    if a.addresses.is_empty() {
                        Ok(())
                    } else {
                        Err("it also knows an address for a name that cannot exist".into())
                    }
                }));
            }
        }
    }

    fn judge(&mut self, now: Instant, tick: bool, out: &mut Vec<Effect>) {
        while let Some((check, good)) = self.main.settled() {
            let opinion = self.opinions.iter().find(|o| o.check == check);
            let refuted = match opinion.map(|o| o.verdict(tick && now >= o.until)) {
                Some(None) if !good => return,
                Some(Some(refuted)) => refuted,
                _ => false,
            };
            if let Some(o) = opinion.filter(|_| !good && !refuted) {
                let why = [&o.name, &o.honest]
                    .into_iter()
                    .find_map(|a| a.as_ref()?.as_ref().err().cloned());
                self.doubt = Some(why.unwrap_or_else(|| "no answer in time".into()));
            }
            self.opinions.retain(|o| o.check != check);
            let Some(verdict) = self.main.judge() else { return };
            if good {
                self.good(now, verdict.replied.unwrap_or(now), false, out);
            } else if refuted {
                self.refute(out);
                self.good(now, now, true, out);
            } else {
                self.bad(now, &verdict, out);
            }
            self.last = Some(verdict);
        }
    }

    fn refute(&mut self, out: &mut Vec<Effect>) {
        let Some(dns) = self.setup.dns.as_ref() else { return };
        if !std::mem::replace(&mut self.refuted, true) {
            let (target, name, server) =
                (self.setup.target.1.clone(), dns.name.clone(), dns.server.1.clone());
            out.push(self.event(What::Refuted { target, name, server }));
        }
    }

    fn good(&mut self, now: Instant, replied: Instant, by_dns: bool, out: &mut Vec<Effect>) {
        let outage = match self.state {
            Reachability::Online(_) => {
                (self.run, self.lost_since) = (0, None);
                return;
            }
            Reachability::Unknown => None,
            Reachability::Offline(began, _) => {
                if self.lost_since.take().is_some() {
                    self.run = 0;
                }
                self.run += 1;
                if self.run < self.setup.rise {
                    return;
                }
                Some(Outage { began, lasted: replied.since(began) })
            }
        };
        (self.run, self.lost_since) = (0, None);
        self.state = Reachability::Online(replied);
        self.main.set_interval(now, self.setup.plan.interval);
        out.push(self.event(What::Online { target: self.setup.target.1.clone(), outage, by_dns }));
        self.around.look(now, None);
    }

    fn bad(&mut self, now: Instant, verdict: &RoundVerdict, out: &mut Vec<Effect>) {
        out.push(Effect::Refresh(self.setup.target.0));
        let began = match (self.lost_since, &mut self.state) {
            (_, Reachability::Offline(_, reason)) => {
                self.around.confirm(verdict.start);
                self.changed |= !reason.is_like(&verdict.reason);
                *reason = verdict.reason.clone();
                (self.run, self.lost_since) = (0, Some(verdict.start));
                return;
            }
            (Some(since), _) => since,
            (None, _) => {
                self.run = 0;
                verdict.first_lost.unwrap_or(verdict.start)
            }
        };
        self.lost_since = Some(began);
        self.run += 1;
        if self.run < self.setup.fall {
            return;
        }
        (self.run, self.refuted) = (0, false);
        let reason = verdict.reason.clone();
        self.state = Reachability::Offline(began, reason.clone());
        self.main.set_interval(now, self.offline_interval());
        self.around.look(now, Some(&reason));
        out.push(self.event(What::Offline { target: self.setup.target.1.clone(), began, reason }));
    }

    fn event(&self, what: What) -> Effect {
        Effect::Emit(Event { monitor: Monitor::Updown, owner: self.setup.target.0, what })
    }
}

impl Progress for Updown {
    fn keeps_up(&self, now: Instant) -> bool {
        self.main.keeps_up(now) && self.around.keeps_up(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::dns::Rcode;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    /// A check every 10 s of one probe or two, which has a second; with a second opinion.
    fn monitor(count: u16, wait: Duration) -> Updown {
        let setup = UpdownSetup {
            target: (1, "1.1.1.1".into()),
            plan: Plan::new(MS * 10_000, count, wait),
            fall: 1,
            rise: 1,
            secondaries: Vec::new(),
            dns: Some(OpinionSetup { server: (2, "8.8.8.8".into()), name: "microsoft.com".into() }),
        };
        Updown::new(setup, at(0))
    }

    /// Ticks whenever the monitor asks for it until `end`, and returns what it wants and when, in
    /// ms.
    fn run(monitor: &mut Updown, end: u64) -> Vec<(u64, Effect)> {
        let mut wanted = Vec::new();
        while let Some(now) = monitor.poll_at().filter(|now| *now <= at(end)) {
            let mut out = Vec::new();
            monitor.on(now, &Observation::Tick, &mut out);
            wanted.extend(out.into_iter().map(|effect| (now.as_nanos() / 1_000_000, effect)));
        }
        wanted
    }

    fn questions(wanted: &[(u64, Effect)]) -> Vec<(u64, AskId)> {
        let questions = wanted.iter().filter_map(|(ms, effect)| match effect {
            Effect::Ask(id, name) => {
                assert_eq!(&**name, "microsoft.com");
                Some((*ms, *id))
            }
            _ => None,
        });
        questions.collect()
    }

    fn events(wanted: &[(u64, Effect)]) -> Vec<&What> {
        let events = wanted.iter().filter_map(|(_, effect)| match effect {
            Effect::Emit(event) => Some(&event.what),
            _ => None,
        });
        events.collect()
    }

    fn found(addresses: &[&str]) -> Result<DnsAnswer, Rc<str>> {
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        Ok(DnsAnswer {
            rcode: Rcode::NOERROR,
            truncated: false,
            referral: false,
            addresses,
            texts: Vec::new(),
            ttl: 60,
        })
    }

    #[test]
    fn the_second_opinion_is_asked_beside_the_last_probe_and_an_only_one_gets_a_head_start() {
        let ask = |about| AskId { server: 2, check: 1, about };
        for (count, wait, asked) in
            [(2, 1000, 1000), (1, 1000, 250), (1, 400, 100), (1, 4000, 250), (2, 400, 1000)]
        {
            let wanted = run(&mut monitor(count, MS * wait), 5_000);
            let expected =
                [(asked, ask(OpinionQuestion::Name)), (asked, ask(OpinionQuestion::Invalid))];
            let first: Vec<_> =
                questions(&wanted).into_iter().filter(|(_, id)| id.check == 1).collect();
            assert_eq!(first, expected, "{count} probes, {wait} ms");
        }
        // One that is answered before that asks nobody.
        let mut monitor = monitor(1, MS * 1000);
        monitor.on(at(0), &Observation::Tick, &mut Vec::new());
        let mut out = Vec::new();
        monitor.on(
            at(249),
            &Observation::Reply(ProbeId { owner: 1, check: 1, index: 0 }, MS * 249),
            &mut out,
        );
        assert_eq!(questions(&run(&mut monitor, 9_000)), []);
        assert_eq!(monitor.state(), &Reachability::Online(at(249)));
    }

    #[test]
    fn both_answers_are_needed_and_either_one_can_doubt() {
        let name = || AskId { server: 2, check: 1, about: OpinionQuestion::Name };
        let invalid = || AskId { server: 2, check: 1, about: OpinionQuestion::Invalid };
        let good = found(&["20.70.246.20"]);
        let (none, refused): (_, Result<DnsAnswer, Rc<str>>) =
            (found(&[]), Err("port closed".into()));
        for (answers, online, doubt) in [
            (vec![(name(), &good), (invalid(), &none)], true, None),
            (vec![(name(), &good)], false, Some("no answer in time")),
            (vec![(invalid(), &none)], false, Some("no answer in time")),
            (vec![(name(), &refused), (invalid(), &none)], false, Some("port closed")),
            (vec![(name(), &good), (invalid(), &refused)], false, Some("port closed")),
            (
                vec![(name(), &good), (invalid(), &good)],
                false,
                Some("it also knows an address for a name that cannot exist"),
            ),
            // Of another server, or about another check.
            (
                vec![(AskId { server: 3, ..name() }, &good), (invalid(), &none)],
                false,
                Some("no answer in time"),
            ),
            (
                vec![(AskId { check: 9, ..name() }, &good), (invalid(), &none)],
                false,
                Some("no answer in time"),
            ),
        ] {
            let mut monitor = monitor(1, MS * 1000);
            assert!(!run(&mut monitor, 300).is_empty());
            let mut out = Vec::new();
            for (id, answer) in answers {
                monitor.on(at(400), &Observation::Answer { id, answer, own: &[] }, &mut out);
                let asked_again = out.iter().any(|effect| matches!(effect, Effect::Refresh(2)));
                assert_eq!(
                    asked_again,
                    answer.is_err(),
                    "a server that fails may have another address"
                );
                out.clear();
            }
            let wanted = run(&mut monitor, 2_000);
            assert_eq!(
                matches!(monitor.state(), Reachability::Online(_)),
                online,
                "{:?}",
                monitor.state()
            );
            assert_eq!(monitor.doubt(), doubt);
            let said = events(&wanted);
            assert_eq!(
                said.iter().any(|what| matches!(what, What::Refuted { .. })),
                online,
                "{said:?}"
            );
            assert!(said.iter().all(|what| !matches!(what, What::Online { by_dns: false, .. })));
        }
    }

    #[test]
    fn another_reason_of_an_outage_is_a_change_the_same_one_is_not() {
        let mut monitor = monitor(1, MS * 500);
        monitor.setup.dns = None;
        run(&mut monitor, 3_900);
        assert!(
            matches!(monitor.state(), Reachability::Offline(_, Reason::Silent)),
            "{:?}",
            monitor.state()
        );
        assert!(!monitor.take_changed(), "that it is offline is an event");
        run(&mut monitor, 4_900);
        assert!(!monitor.take_changed());
        let lose = |monitor: &mut Updown, ms| {
            let mut out = Vec::new();
            monitor.on(at(ms), &Observation::Tick, &mut out);
            let probe = out.iter().find_map(|effect| match effect {
                Effect::Probe(id) => Some(*id),
                _ => None,
            });
            monitor.on(at(ms), &Observation::Lost(probe.unwrap(), Reason::Send(101)), &mut out);
            run(monitor, ms + 990);
        };
        lose(&mut monitor, 5_000);
        assert!(
            matches!(monitor.state(), Reachability::Offline(_, Reason::Send(101))),
            "{:?}",
            monitor.state()
        );
        assert!(monitor.take_changed() && !monitor.take_changed());
        lose(&mut monitor, 6_000);
        assert!(!monitor.take_changed(), "the same again");
        run(&mut monitor, 7_900);
        assert!(monitor.take_changed());
    }

    #[test]
    fn another_configuration_goes_on_with_the_same_address_only() {
        let mut old = monitor(1, MS * 500);
        run(&mut old, 3_900);
        let mut same = monitor(1, MS * 500);
        same.inherit(old, at(4_000));
        assert!(
            matches!(same.state(), Reachability::Offline(since, _) if *since == at(0)),
            "{:?}",
            same.state()
        );
        assert_eq!(same.checker_status().0.counters.checks, 2);
        assert!(same.checker_status().1.is_some_and(|last| !last.good) && same.doubt().is_some());
        assert!(events(&run(&mut same, 4_900)).is_empty(), "nothing of it is news");
        let mut old = monitor(1, MS * 500);
        run(&mut old, 3_900);
        let mut other = monitor(1, MS * 500);
        other.setup.target.1 = "9.9.9.9".into();
        other.inherit(old, at(4_000));
        assert_eq!(
            (other.state(), other.checker_status().0.counters.checks),
            (&Reachability::Unknown, 0)
        );
    }

    #[test]
    fn it_keeps_up_while_its_checks_do() {
        let mut monitor = monitor(2, MS * 1000);
        assert_eq!(monitor.target().0, 1);
        run(&mut monitor, 5_000);
        let next = monitor.poll_at().unwrap();
        assert!(monitor.keeps_up(next + MS * 5_000) && !monitor.keeps_up(next + MS * 5_001));
    }
}
