//! The failover monitor: what each WAN is like, which of them carries the traffic, and what is told
//! about it. Which routes and rules that takes is `routing`; nothing here knows of them, only
//! whether the kernel has made them.

pub mod choice;
pub(crate) mod damping;
pub mod health;

use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use super::{Effect, Observation, Progress};
use crate::base::time::Instant;
use crate::event::cause::Cause;
use crate::event::{self, Event, Monitor, Outage, Role, What};
use crate::probe::Owner;
use crate::probe::round::{Checker, Plan, Settle};
use crate::routing::LinkState;
use choice::{Choice, Condition, Decision};
use damping::{AT_REST, Damper, IN_USE};
use health::{Health, PASSING, Quality};

/// How a target is asked whether it is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProbeKind {
    /// An ICMP echo request.
    Echo,
    /// A DNS query: answered by a server that could answer it.
    Dns,
    /// A TCP connection to this port, closed as soon as it is open.
    Tcp(u16),
}

/// A route that the kernel refuses is tried again this often, for an address that is back before
/// its subnet's route is
const TRY_SOON: Duration = Duration::from_millis(20);
/// and for whatever lasts longer than [`PASSING`] this often,
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// and its refusal is told again this often, or when it has another reason.
const SAY_AGAIN: Duration = Duration::from_secs(60);
/// Events about WANs concern no host of the table.
const NOBODY: Owner = Owner::MAX;

/// What the monitor needs to know.
#[derive(Clone, Debug)]
pub struct FailoverSetup {
    /// The WANs, in order of preference.
    pub wans: Vec<WanSetup>,
    /// How their targets are checked.
    pub plan: Plan,
    /// How many of a WAN's targets must answer.
    pub min_up: usize,
    /// What makes a WAN degraded.
    pub quality: Quality,
    /// Whether the first WAN that works is used, or the one in use until it fails.
    pub prefer_first: bool,
    /// How long a preferred WAN must work before it is used again.
    pub hold_down: Duration,
    /// Between single probes of a WAN that carries no traffic; `None`: it is checked as any other.
    pub idle_interval: Option<Duration>,
    /// From the beginning of an outage to its first reminder, and from one to the next.
    pub remind: Option<Duration>,
    /// The WAN over which an earlier imon has led the traffic.
    pub adopted: Option<usize>,
}

/// One WAN.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WanSetup {
    /// What people call it; may be empty.
    pub name: Rc<str>,
    /// Its interface.
    pub device: Rc<str>,
    /// What tells whether it works, as configured, and the number of each; at least one.
    pub targets: Vec<(Owner, Rc<str>)>,
    /// Nothing is configured, and the target is its gateway.
    pub by_gateway: bool,
    /// What is pinged after a switch to it.
    pub postping: Option<(Owner, Rc<str>)>,
}

/// A WAN and what has been told of it.
#[derive(Debug)]
pub struct Wan {
    setup: WanSetup,
    /// What it is like.
    pub health: Health,
    /// Whether it was said to be online; `None` before its first verdict is told.
    told: Option<bool>,
    told_degraded: bool,
    /// When the outage began that has been told.
    outage: Option<Instant>,
    /// How many reminders of it there were; `None`: it is still to be found out how many there have
    /// been.
    reminded: Option<u32>,
    damper: Damper,
    /// Our address on it, the last one when it has none.
    address: Option<Ipv4Addr>,
}

/// A route that was decided on, and that the kernel has not yet made.
#[derive(Debug)]
struct Wanted {
    wan: usize,
    cause: Cause,
    /// When to try again; `None`: it is being tried.
    retry: Option<Instant>,
    /// Why it was refused.
    refused: Option<Rc<str>>,
    /// Since then the traffic is to go back to where it was said to go, of which nobody needs to
    /// know.
    silent: Option<Instant>,
    /// Since then it has been refused, which may pass: the route to the subnet can come after the
    /// address.
    failing: Option<Instant>,
}

/// The ping after a switch.
#[derive(Debug)]
struct Postping {
    wan: usize,
    target: Rc<str>,
    checker: Checker,
}

/// The last switch, for the status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Switch {
    /// When.
    pub at: Instant,
    /// To which WAN.
    pub to: usize,
    /// Why.
    pub cause: Cause,
}

/// The monitor.
#[derive(Debug)]
pub struct Failover {
    wans: Vec<Wan>,
    choice: Choice,
    plan: Plan,
    prefer_first: bool,
    idle_interval: Option<Duration>,
    /// The WAN over which the kernel leads the traffic, as far as we have made it so.
    led: Option<usize>,
    wanted: Option<Wanted>,
    /// The one in use is away, and the traffic goes over this WAN until it is known for how long.
    detour: Option<usize>,
    postping: Option<Postping>,
    /// All WANs are down, and that is still to be told.
    all_down: bool,
    /// Since when; that has been told, and its end has not.
    blackout: Option<Instant>,
    blackouts: Damper,
    remind: Option<Duration>,
    /// The last refusal that was told, and when.
    refusal: Option<(Rc<str>, Instant)>,
    switches: u64,
    last_switch: Option<Switch>,
    changed: bool,
}

impl Failover {
    /// A monitor that waits for the first [`Observation::Links`].
    #[must_use]
    pub fn new(setup: FailoverSetup, now: Instant) -> Self {
        let health = |wan: &WanSetup| {
            let targets = wan.targets.clone();
            let (min_up, by_gateway) = (setup.min_up, wan.by_gateway);
            let setup = health::HealthSetup {
                targets,
                plan: setup.plan,
                min_up,
                quality: setup.quality,
                by_gateway,
            };
            Health::new(setup, now)
        };
        let wan = |setup: WanSetup| Wan {
            health: health(&setup),
            setup,
            told: None,
            told_degraded: false,
            outage: None,
            reminded: None,
            damper: Damper::default(),
            address: None,
        };
        Self {
            choice: Choice::new(
                setup.wans.len(),
                setup.prefer_first,
                setup.hold_down,
                setup.adopted,
            ),
            wans: setup.wans.into_iter().map(wan).collect(),
            plan: setup.plan,
            prefer_first: setup.prefer_first,
            idle_interval: setup.idle_interval,
            led: setup.adopted,
            wanted: None,
            detour: None,
            postping: None,
            all_down: false,
            blackout: None,
            blackouts: Damper::default(),
            remind: setup.remind,
            refusal: None,
            switches: 0,
            last_switch: None,
            changed: false,
        }
    }

    /// Takes over what an earlier configuration's monitor knew and told, if it watched the same
    /// WANs. What it chose is adopted from the kernel.
    pub fn inherit(&mut self, old: Self) {
        let same = |(new, old): (&Wan, &Wan)| new.setup.device == old.setup.device;
        if self.wans.len() != old.wans.len() || !self.wans.iter().zip(&old.wans).all(same) {
            return;
        }
        for (new, old) in self.wans.iter_mut().zip(old.wans) {
            // Its first verdict is then news only if it differs.
            (new.told, new.told_degraded) = (old.told, old.told_degraded);
            (new.outage, new.address, new.damper) = (old.outage, old.address, old.damper);
            new.health.inherit(&old.health);
        }
        (self.switches, self.last_switch, self.detour) =
            (old.switches, old.last_switch, old.detour);
        (self.blackout, self.blackouts) = (old.blackout, old.blackouts);
        self.choice.resume();
    }

    /// Takes note of what was seen and says what to do.
    pub fn on(&mut self, now: Instant, seen: &Observation<'_>, out: &mut Vec<Effect>) {
        match seen {
            Observation::Tick => self.tick(now, out),
            Observation::Reply(id, rtt) => match self.post(id.owner) {
                Some(post) => post.checker.reply(now, *id, *rtt),
                None => self.health(id.owner, |health| health.reply(now, *id, *rtt)),
            },
            Observation::Lost(id, reason) => match self.post(id.owner) {
                Some(post) => post.checker.lost(*id, reason.clone()),
                None => self.health(id.owner, |health| health.lost(now, *id, reason)),
            },
            Observation::Hint(owner, error) => {
                self.health(*owner, |health| health.hint(*owner, *error))
            }
            Observation::Links(links) => {
                for (wan, link) in self.wans.iter_mut().zip(*links) {
                    self.changed |= wan.health.link() != Some(*link);
                    wan.health.set_link(now, *link);
                    if let LinkState::Ready(road) = link {
                        wan.address = Some(road.address);
                    }
                }
            }
            Observation::Routed { wan, result } => self.routed(now, *wan, result, out),
            Observation::Resumed => self.wans.iter_mut().for_each(|wan| wan.health.resume(now)),
            Observation::CheckNow => self.wans.iter_mut().for_each(|wan| wan.health.check_now(now)),
            Observation::Answer { .. }
            | Observation::Hold(_)
            | Observation::Ready(_)
            | Observation::Found(..)
            | Observation::Published { .. }
            | Observation::Ways(_)
            | Observation::Moved => return,
        }
        self.decide(now, out);
        self.tell(now, self.busy_with(), out);
        self.end_postping(out);
        // The first state of a WAN may have waited for that.
        self.tell(now, self.busy_with(), out);
    }

    /// When the monitor wants a [`Observation::Tick`].
    #[must_use]
    pub fn poll_at(&self) -> Option<Instant> {
        let wans = self.wans.iter().filter_map(|wan| wan.health.poll_at());
        let post = self.postping.as_ref().and_then(|post| post.checker.poll_at());
        let retry = self.wanted.as_ref().and_then(|wanted| wanted.retry);
        let told = self
            .wans
            .iter()
            .flat_map(|wan| [wan.damper.poll_at(), wan.reminder_at(self.remind)])
            .flatten();
        wans.chain(post)
            .chain(retry)
            .chain(self.choice.poll_at())
            .chain(told)
            .chain(self.blackouts.poll_at())
            .min()
    }

    /// The WANs, in order of preference.
    #[must_use]
    pub fn wans(&self) -> &[Wan] {
        &self.wans
    }

    /// The WAN over which the traffic should go, as soon as the kernel lets it.
    #[must_use]
    pub fn chosen(&self) -> Option<usize> {
        self.choice.active()
    }

    /// The WAN over which the traffic goes, as far as imon has made it so.
    #[must_use]
    pub fn active(&self) -> Option<usize> {
        self.led
    }

    /// Whether it is still to be found out what the WANs are like.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        self.wans.iter().any(|wan| wan.told.is_none())
    }

    /// Why the kernel refuses the route that is wanted.
    #[must_use]
    pub fn refused(&self) -> Option<&Rc<str>> {
        self.wanted.as_ref()?.refused.as_ref()
    }

    /// How often another WAN was chosen, and the last time.
    #[must_use]
    pub fn switches(&self) -> (u64, Option<Switch>) {
        (self.switches, self.last_switch)
    }

    /// How much of its hold-down a WAN still has to wait; `None`: nothing is held back.
    #[must_use]
    pub fn hold_down_left(&self, now: Instant, wan: usize) -> Option<Duration> {
        let ends = self.choice.hold_down_ends(wan).filter(|_| self.choice.is_on_trial(wan))?;
        Some(ends.since(now))
    }

    /// Whether a WAN is away, which may be over in a moment: nobody needs to know of it yet.
    #[must_use]
    pub fn is_provisional(&self) -> bool {
        self.wans.iter().any(|wan| wan.health.is_away())
    }

    /// Whether something has changed that is no event, since this was asked last.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    fn tick(&mut self, now: Instant, out: &mut Vec<Effect>) {
        for (index, wan) in self.wans.iter_mut().enumerate() {
            if wan.health.start_over(now) {
                out.push(Effect::Resolve(index));
            }
            wan.health.tick(now, out);
        }
        if let Some(post) = &mut self.postping {
            post.checker.tick(now, out);
        }
        if let Some(wanted) =
            self.wanted.as_mut().filter(|wanted| wanted.retry.is_some_and(|at| at <= now))
        {
            wanted.retry = None;
            out.push(Effect::Route(wanted.wan));
        }
    }

    fn post(&mut self, owner: Owner) -> Option<&mut Postping> {
        self.postping.as_mut().filter(|post| post.checker.owner() == owner)
    }

    fn health(&mut self, owner: Owner, change: impl FnOnce(&mut Health)) {
        if let Some(wan) = self.wans.iter_mut().find(|wan| wan.health.owns(owner)) {
            change(&mut wan.health);
        }
    }

    /// Brings what is known of the WANs to the choice, and what it decides to the kernel, before
    /// anything is told.
    fn decide(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let mut missed = false;
        for (at, wan) in self.wans.iter_mut().enumerate() {
            if wan.health.take_lost() {
                self.choice.lost_probe(now, at);
            }
            missed |= wan.health.take_missed() && self.choice.active() == Some(at);
        }
        if missed {
            // It may be needed in a moment.
            self.wans.iter_mut().for_each(|wan| wan.health.verify(now));
        }
        for (at, wan) in self.wans.iter().enumerate() {
            self.choice.set_away(at, wan.health.is_away());
            self.choice.set(now, at, wan.health.standing());
        }
        while let Some(decision) = self.choice.decide(now) {
            match decision {
                Decision::Use(wan, cause) => {
                    self.all_down = false;
                    self.postping = None;
                    self.want(wan, cause, None, out);
                }
                Decision::AllDown => self.all_down = true,
            }
        }
        self.go_round(now, out);
        let active = self.choice.active();
        let served = active
            .is_some_and(|active| self.choice.condition(active).is_some_and(Condition::is_usable));
        for (at, wan) in self.wans.iter_mut().enumerate() {
            let trial = self.choice.is_on_trial(at).then(|| self.choice.hold_down(at));
            wan.health.try_out(now, trial);
            // One that is preferred is wanted back as soon as it works.
            let rests = served
                && active != Some(at)
                && !(self.prefer_first && active.is_some_and(|a| at < a));
            wan.health.set_idle(now, self.idle_interval.filter(|_| rests));
        }
    }

    fn want(&mut self, wan: usize, cause: Cause, silent: Option<Instant>, out: &mut Vec<Effect>) {
        self.detour = None;
        self.wanted =
            Some(Wanted { wan, cause, retry: None, refused: None, silent, failing: None });
        out.push(Effect::Route(wan));
    }

    /// While the WAN in use is away the traffic goes over another one, and back as soon as it is
    /// there again.
    fn go_round(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let Some(active) = self.choice.active().filter(|_| self.wanted.is_none()) else { return };
        let Some(health) = self.wans.get(active).map(|wan| &wan.health) else { return };
        if health.is_away() {
            let best = self.choice.best().filter(|best| self.detour != Some(*best));
            if let Some(best) = best {
                self.detour = Some(best);
                out.push(Effect::Detour(best));
            }
        } else if self.detour.is_some() && matches!(health.link(), Some(LinkState::Ready(_))) {
            self.want(active, Cause::Failed, Some(now), out);
        }
    }

    /// What the kernel has made of [`Effect::Route`].
    fn routed(
        &mut self,
        now: Instant,
        wan: usize,
        result: &Result<(), Rc<str>>,
        out: &mut Vec<Effect>,
    ) {
        let Some(wanted) = self.wanted.take_if(|wanted| wanted.wan == wan) else { return };
        match result {
            Ok(()) if wanted.silent.is_some() => (self.led, self.refusal) = (Some(wan), None),
            Ok(()) => {
                // What there is to say about the WANs comes first.
                self.tell(now, Some(wan), out);
                self.switches += u64::from(self.last_switch.is_some_and(|last| last.to != wan));
                self.led = Some(wan);
                self.refusal = None;
                self.last_switch = Some(Switch { at: now, to: wan, cause: wanted.cause });
                self.emit(
                    out,
                    self.name(wan).map(|wan| What::Switched { wan, cause: wanted.cause }),
                );
                self.begin_postping(now, wan);
            }
            Err(_) if now < wanted.silent.or(wanted.failing).unwrap_or(now) + PASSING => {
                let (retry, failing) = (Some(now + TRY_SOON), wanted.failing.or(Some(now)));
                self.wanted = Some(Wanted { retry, failing, ..wanted });
            }
            Err(why) => {
                let again =
                    |(told, at): &(Rc<str>, Instant)| told != why || now.since(*at) >= SAY_AGAIN;
                if self.refusal.as_ref().is_none_or(again) {
                    self.refusal = Some((why.clone(), now));
                    self.emit(
                        out,
                        self.name(wan).map(|wan| What::Refused { wan, why: why.clone() }),
                    );
                }
                let (retry, refused) = (Some(now + TRY_AGAIN), Some(why.clone()));
                self.wanted = Some(Wanted { retry, refused, ..wanted });
            }
        }
    }

    fn begin_postping(&mut self, now: Instant, wan: usize) {
        let target = self.wans.get(wan).and_then(|w| w.setup.postping.clone());
        self.postping = target.map(|(owner, target)| {
            let mut checker = Checker::idle(owner, self.plan, Settle::FirstReply, now);
            checker.check_now(now);
            Postping { wan, target, checker }
        });
    }

    fn end_postping(&mut self, out: &mut Vec<Effect>) {
        let Some(verdict) = self.postping.as_mut().and_then(|post| post.checker.judge()) else {
            return;
        };
        let Some(post) = self.postping.take() else { return };
        let what = |wan| What::Postping { wan, target: post.target, online: verdict.good };
        self.emit(out, self.name(post.wan).map(what));
    }

    /// To which WAN a switch is under way, up to the end of its postping.
    fn busy_with(&self) -> Option<usize> {
        let switch =
            self.wanted.as_ref().filter(|wanted| wanted.refused.is_none()).map(|wanted| wanted.wan);
        switch.or(self.postping.as_ref().map(|post| post.wan))
    }

    /// Tells what has changed. A WAN's first state waits for the switch to one before it, and its
    /// postping.
    fn tell(&mut self, now: Instant, busy: Option<usize>, out: &mut Vec<Effect>) {
        for at in 0..self.wans.len() {
            let Some((name, wan)) = self.name(at).zip(self.wans.get_mut(at)) else { continue };
            let condition = wan.health.condition();
            if condition == Condition::Unknown {
                // Those behind it are not told either: primary comes first.
                if wan.told.is_none() { break } else { continue }
            }
            if wan.told.is_none() && busy.is_some_and(|busy| busy < at) {
                break;
            }
            let before = wan.told;
            // Whatever leads to a switch is told.
            let left = self.led == Some(at) && busy.is_some_and(|busy| busy != at);
            let sum = wan.sum(now, name.clone());
            let free = if self.led.is_none_or(|led| led == at || self.prefer_first && at < led) {
                IN_USE
            } else {
                AT_REST
            };
            let news = wan.news(now, name.clone(), left, free);
            let reminder = wan.reminder(now, name, self.remind);
            for what in sum.into_iter().chain(news.into_iter().flatten()).chain(reminder) {
                out.push(Effect::Emit(Event { monitor: Monitor::Failover, owner: NOBODY, what }));
            }
            if wan.told == Some(false) && before != wan.told {
                // A name may have another address by now.
                out.extend(wan.setup.targets.iter().map(|(owner, _)| Effect::Refresh(*owner)));
            }
        }
        let all_told = self.wans.iter().all(|wan| wan.told.is_some());
        if all_told && std::mem::take(&mut self.all_down) && self.blackout.is_none() {
            self.blackout = self.wans.iter().filter_map(|wan| wan.health.since()).max();
            let wans = (0..self.wans.len()).filter_map(|at| self.name(at)).collect();
            let quiet = !self.blackouts.note(now, IN_USE);
            self.emit(out, Some(What::AllDown { wans, quiet }));
        }
        // It is over when traffic goes over a network that works.
        let led = self.led.filter(|_| self.wanted.is_none());
        let wan = led.and_then(|led| self.wans.get(led)).filter(|wan| wan.told == Some(true));
        if let Some(since) = wan.and_then(|wan| wan.health.since())
            && let Some(began) = self.blackout.take()
        {
            let switched = self.last_switch.map_or(since, |last| last.at.max(since));
            let outage = Outage { began, lasted: switched.since(began) };
            let quiet = !self.blackouts.note(now, IN_USE);
            self.emit(
                out,
                led.and_then(|led| self.name(led)).map(|wan| What::Restored { wan, outage, quiet }),
            );
        }
        if let Some((times, lasted)) = self.blackouts.take(now) {
            let state = if self.blackout.is_some() { "both offline" } else { "online" };
            self.emit(out, Some(What::Changes { wan: None, times, lasted, state, reason: None }));
        }
    }

    /// What might help, where a WAN is down: the setting to set.
    #[must_use]
    pub fn advice(&self, at: usize) -> Option<&'static str> {
        let deaf = self.wans.get(at).is_some_and(|wan| wan.health.may_be_deaf());
        deaf.then(|| advice(self.role(at)))
    }

    fn emit(&self, out: &mut Vec<Effect>, what: Option<What>) {
        out.extend(
            what.map(|what| {
                Effect::Emit(Event { monitor: Monitor::Failover, owner: NOBODY, what })
            }),
        );
    }

    /// A WAN as logs and scripts name it.
    #[must_use]
    pub fn name(&self, at: usize) -> Option<event::WanRef> {
        let wan = self.wans.get(at)?;
        let WanSetup { name, device, .. } = &wan.setup;
        let (role, name, device) = (self.role(at), name.clone(), device.clone());
        Some(event::WanRef { role, name, device, address: wan.address })
    }

    /// What a WAN is called for its place.
    #[must_use]
    pub fn role(&self, at: usize) -> Role {
        if at == 0 { Role::Primary } else { Role::Standby }
    }
}

impl Wan {
    /// What people call it; may be empty.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.setup.name
    }

    /// Its interface.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.setup.device
    }

    /// Why it does not work, and what might help.
    fn reason(&self, role: Role) -> Option<Rc<str>> {
        let why = self.health.why()?;
        Some(if self.health.may_be_deaf() {
            format!("{why}; {}", advice(role)).into()
        } else {
            why.to_string().into()
        })
    }

    /// What is new about it. `loud`: it is told however often it has been told before; else `free`
    /// changes are.
    fn news(
        &mut self,
        now: Instant,
        mut name: event::WanRef,
        loud: bool,
        free: u32,
    ) -> [Option<What>; 2] {
        let condition = self.health.condition();
        let online = condition.is_usable();
        let since = self.health.since().unwrap_or(now);
        let state = match self.told {
            None => {
                let reason = self.reason(name.role);
                if !online {
                    name.address = None;
                    self.outage = Some(since);
                }
                Some(What::WanInitial { wan: name.clone(), online, reason })
            }
            Some(told) if told == online => None,
            Some(true) => {
                let (reason, quiet) =
                    (self.reason(name.role), !self.damper.note(now, free) && !loud);
                (self.outage, self.reminded) = (Some(since), None);
                Some(What::WanOffline { wan: name.clone(), began: since, reason, quiet })
            }
            Some(false) => {
                let began = self.outage.take().unwrap_or(now);
                let outage = Outage { began, lasted: since.since(began) };
                Some(What::WanOnline {
                    wan: name.clone(),
                    outage,
                    quiet: !self.damper.note(now, free),
                })
            }
        };
        self.told = Some(online);
        let degraded = condition == Condition::Degraded;
        let was = std::mem::replace(&mut self.told_degraded, degraded);
        let told = was != degraded && (degraded || online) && self.damper.note(now, free);
        let quality = match (was, degraded) {
            _ if !told => None,
            (false, true) => {
                let (lost, settled, rtt) = self.health.figures(now);
                let rtt = rtt.map_or_else(String::new, |rtt| {
                    format!(", round-trip time {} ms", rtt.as_millis())
                });
                let how = format!("{lost} of {settled} probes lost{rtt}");
                Some(What::WanDegraded { wan: name, how: Some(how.into()) })
            }
            _ => Some(What::WanDegraded { wan: name, how: None }),
        };
        [state, quality]
    }

    /// What has changed too often to be told one by one.
    fn sum(&mut self, now: Instant, wan: event::WanRef) -> Option<What> {
        let (times, lasted) = self.damper.take(now)?;
        // What is new right now is told behind it.
        let (state, reason) = match self.told {
            Some(false) => ("offline", self.reason(wan.role)),
            _ if self.told_degraded => ("degraded", None),
            _ => ("online", None),
        };
        Some(What::Changes { wan: Some(wan), times, lasted, state, reason })
    }

    /// When it is to be reminded of its outage.
    fn reminder_at(&self, every: Option<Duration>) -> Option<Instant> {
        let began = self.outage.filter(|_| self.told == Some(false))?;
        Some(began + every?.saturating_mul(self.reminded?.saturating_add(1)))
    }

    fn reminder(
        &mut self,
        now: Instant,
        wan: event::WanRef,
        every: Option<Duration>,
    ) -> Option<What> {
        let (began, every) = self.outage.filter(|_| self.told == Some(false)).zip(every)?;
        let lasted = now.since(began);
        let count = u32::try_from(lasted.as_nanos() / every.as_nanos().max(1)).unwrap_or(u32::MAX);
        let before = self.reminded.replace(count).unwrap_or(count);
        let (outage, reason) = (Outage { began, lasted }, self.reason(wan.role));
        (count > before).then_some(What::WanReminder { wan, outage, count, reason })
    }
}

/// For one whose gateway has never answered.
fn advice(role: Role) -> &'static str {
    match role {
        Role::Primary => "it has never answered: if it answers no pings at all, set primary-ping",
        Role::Standby => "it has never answered: if it answers no pings at all, set standby-ping",
    }
}

impl Progress for Failover {
    fn keeps_up(&self, now: Instant) -> bool {
        self.wans.iter().all(|wan| wan.health.keeps_up(now))
    }
}

#[cfg(test)]
mod tests;
