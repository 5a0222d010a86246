//! The kernel's network for the failover monitor: hears what changes, keeps routes and rules as
//! they should be, and tells people what stands in the way. What they should be is `routing`'s to
//! say.

use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use super::complaint::{Complaint, Word};
use super::leftovers;
use super::restores::Restores;
use super::world::{WaitSource, Waited, World};
use crate::base::error;
use crate::base::text::nearest;
use crate::base::time::Instant;
use crate::config;
use crate::engine::world::{ChangeRefused, Delivery};
use crate::event::Severity;
use crate::kernel::news::{Message, News};
use crate::kernel::path::Via;
use crate::kernel::{Change, MAIN, PROTOCOL, Picture, Route, Rule, protocol_name};
use crate::monitor::failover::damping::Damper;
use crate::routing::{
    self, Beside, BesideKind, LinkState, Part, Policy, Probed, RoutingView, WanPath,
};

/// What the kernel refused is tried again this often.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// While another imon's rules are there it is looked whether that one lives, this often. Should
/// what was cleared be back at once, somebody looks after it whose locks are not seen from here, in
/// a container for example: then seldom.
const SWEEP: Duration = Duration::from_secs(30);
const SWEEP_SELDOM: Duration = Duration::from_secs(3600);
/// The kernel tells of links that change again within a second up to 0.7 s late (all but veth):
/// they are looked at this often,
const WATCH_EVERY: Duration = Duration::from_millis(4);
/// for this long after a change.
const WATCH_FOR: Duration = Duration::from_millis(1200);
/// A DHCP client that gets another address takes the old one away first. One that is away for less
/// than this is not missed.
const BLINK: Duration = Duration::from_millis(10);
/// Addresses out in the internet: the kernel is asked which way packets to them would go. Nothing
/// is sent.
const ABROAD: [Ipv4Addr; 3] =
    [Ipv4Addr::new(1, 1, 1, 1), Ipv4Addr::new(8, 8, 8, 8), Ipv4Addr::new(9, 9, 9, 9)];

/// Why the failover monitor cannot run.
pub(super) enum Unable {
    /// The network cannot be looked at.
    Netlink(String),
    /// This cannot be had.
    Short(&'static str, io::Error),
    /// Routes may not be changed: the capability `CAP_NET_ADMIN` is missing.
    Permission,
    /// Another instance switches the routes over this interface.
    Taken(String),
}

/// What stays when another configuration is loaded.
pub(super) struct Network<W: World> {
    requests: W::Requests,
    events: W::Events,
    picture: Picture,
    policy: Policy,
    instance: String,
    settings: config::FailoverSettings,
    /// How log lines call the WANs.
    labels: Vec<String>,
    states: Vec<LinkState>,
    /// Of a WAN whose address has just gone: when that is believed.
    blinks: Vec<Option<Instant>>,
    /// Why the kernel refuses the road of a WAN.
    refused: Vec<Option<String>>,
    /// The WAN over which the traffic is led, and the road it took then.
    led: Option<usize>,
    road: Option<WanPath>,
    /// The WAN over which it is said to be led, while it takes a detour. `road` is then its road.
    home: Option<usize>,
    /// The picture has changed since routes and rules were last compared with it.
    dirty: bool,
    /// The last look at everything has failed.
    blind: bool,
    watch: Option<LinkWatch>,
    retry: Option<Instant>,
    /// When to look whether the other imons live.
    sweep: Option<Instant>,
    /// What one has left was cleared then.
    cleared: Option<Instant>,
    restores: Restores,
    said: Reported,
    /// Which networks do not work, as the monitor says.
    down: Vec<bool>,
    /// Routes of others that keep traffic there, in words,
    stuck: Vec<(usize, String)>,
    /// and when such were looked for last.
    sought: Option<Instant>,
    remarks: Vec<(Severity, String)>,
    damper: Damper,
    /// The last that was not said.
    untold: String,
    vacated: Vec<Ipv4Addr>,
    flush: Option<W::Flush>,
    locks: Vec<(String, W::Lock)>,
}

/// Links are looked at beside the news.
#[derive(Clone, Copy)]
struct LinkWatch {
    until: Instant,
    next: Instant,
}

/// What was said and is still so.
#[derive(Default)]
struct Reported {
    foreign: Complaint,
    outranked: Complaint,
    refused: Complaint,
    /// For each WAN: that the kernel refuses its road, and what is to be set in another way.
    roads: Vec<Complaint>,
    advice: Vec<Complaint>,
    /// What others have set up, each once.
    beside: Vec<BesideNote>,
    no_policy_routing: bool,
    no_flush: bool,
}

/// Something that others have set up, and what it means.
struct BesideNote {
    kind: &'static str,
    what: String,
    text: Complaint,
}

/// While a network does not work, routes that keep traffic there are looked for this often, and
/// when there is news.
const SEEK: Duration = Duration::from_secs(30);
/// They are named up to this number.
const MOST_STUCK: usize = 4;
/// Of what others have set up so much is told of.
const MOST_NOTES: usize = 16;
/// So many changes of addresses, gateways and of what others have set up are said one by one.
const ONE_BY_ONE: u32 = 24;

impl<W: World> Network<W> {
    /// Looks at everything, and finds out whether what the WANs need can be made. Changes nothing:
    /// that is for [`Network::begin`]. Interfaces in `held` are locked by an older configuration of
    /// this process.
    pub(super) fn prepare(
        instance: &str,
        settings: &config::FailoverSettings,
        world: &mut W,
        held: &[String],
        now: Instant,
    ) -> Result<Self, Unable> {
        let policy = policy(instance, settings);
        let locks = lock(settings, world, held, policy.table())?;
        let no_socket = |e: io::Error| Unable::Short("netlink socket", e);
        let blind = |e: ChangeRefused| Unable::Netlink(unseen::<W>(&e));
        // First the news, then the look: nothing is missed between.
        let events = world.open_news().map_err(no_socket)?;
        let mut requests = world.open_requests().map_err(no_socket)?;
        let mut picture = Picture::default();
        world.look(&mut requests, &mut picture).map_err(blind)?;
        world.try_out(&mut requests, &nothing()).map_err(
            |e| match io::Error::from_raw_os_error(e.errno) {
                e if e.kind() == io::ErrorKind::PermissionDenied => Unable::Permission,
                e => Unable::Short("answer about routes", e),
            },
        )?;
        let led = policy.adopted(&RoutingView::from(&picture));
        let wans = settings.wans.len();
        let mut network = Self {
            requests,
            events,
            picture,
            policy,
            instance: instance.to_owned(),
            settings: settings.clone(),
            labels: labels(settings),
            states: Vec::new(),
            blinks: vec![None; wans],
            refused: vec![None; wans],
            led,
            road: None,
            home: None,
            dirty: true,
            blind: false,
            watch: Some(LinkWatch { until: now + WATCH_FOR, next: now + WATCH_EVERY }),
            retry: None,
            sweep: None,
            cleared: None,
            restores: Restores::default(),
            said: Reported::default(),
            down: vec![false; wans],
            stuck: Vec::new(),
            sought: None,
            remarks: Vec::new(),
            damper: Damper::default(),
            untold: String::new(),
            vacated: Vec::new(),
            flush: None,
            locks,
        };
        network.look_at_states(now);
        Ok(network)
    }

    /// Makes what the WANs need to be probed. Traffic goes on as it did. What `old`, of an earlier
    /// configuration, has made and this one does not need goes then: the default in main stays, and
    /// is adopted.
    pub(super) fn begin(&mut self, old: Option<&mut Self>, world: &mut W, now: Instant) {
        self.name_missing();
        self.clear_leftovers(world, now);
        self.keep(now, world);
        self.look_at_states(now);
        if let Some(old) = old {
            // What the default in main leads over at the moment may be a detour.
            if (0..self.down.len()).all(|wan| old.device(wan) == self.device(wan)) {
                self.home = old.home;
            }
            let wanted = |(device, _): &mut (String, W::Lock)| {
                self.settings.wans.iter().any(|wan| wan.device == *device)
            };
            self.locks.extend(old.locks.extract_if(.., wanted));
            // Another instance's name has other tables.
            let table = self.policy.table();
            if table != old.policy.table() {
                self.locks.iter_mut().for_each(|(_, lock)| world.note_table(lock, table));
            }
        }
    }

    /// What an earlier configuration's network must leave alone: the default in main, and what both
    /// have.
    pub(super) fn shared(&self) -> Vec<Change> {
        self.policy.farewell(false, &RoutingView::from(&self.picture))
    }

    fn device(&self, wan: usize) -> Option<&str> {
        self.settings.wans.get(wan).map(|wan| wan.device.as_str())
    }

    /// Takes away what an imon has left that does not run any more. Without a directory for locks
    /// nobody knows.
    fn clear_leftovers(&mut self, world: &mut W, now: Instant) {
        self.sweep = Some(now + SWEEP);
        // Locked meanwhile, so that nobody begins who would need it.
        let Some((living, _held)) = world.other_devices(&self.locked()) else { return };
        let changes = leftovers::changes(&self.picture, self.policy.table(), &living);
        for change in &changes {
            if world.make(&mut self.requests, change).is_ok() {
                self.picture.made(change);
            }
        }
        if !changes.is_empty() {
            (self.cleared, self.dirty) = (Some(now), true);
            let text = format!(
                "An imon that was killed has left {} routes and rules: they are removed",
                changes.len()
            );
            self.remarks.push((Severity::Notice, text));
        }
    }

    /// Other imons may be killed at any time.
    pub(super) fn sweep(&mut self, world: &mut W, now: Instant) {
        if self.sweep.is_some_and(|at| at <= now) {
            self.clear_leftovers(world, now);
        }
    }

    /// Whether another configuration needs nothing else of the kernel. If so it is taken over.
    pub(super) fn adopt(&mut self, instance: &str, settings: &config::FailoverSettings) -> bool {
        let same = self.is_for(instance, settings);
        if same {
            self.labels = labels(settings);
            self.settings = settings.clone();
        }
        same
    }

    /// Whether a configuration needs nothing of the kernel but what there is.
    pub(super) fn is_for(&self, instance: &str, settings: &config::FailoverSettings) -> bool {
        self.instance == instance && policy(instance, settings).is_like(&self.policy)
    }

    /// The interfaces that are locked.
    pub(super) fn locked(&self) -> Vec<String> {
        self.locks.iter().map(|(device, _)| device.clone()).collect()
    }

    /// The WAN that an earlier imon has left the traffic on, or that this one leads it over, apart
    /// from detours.
    pub(super) fn led(&self) -> Option<usize> {
        self.home.or(self.led)
    }

    pub(super) fn states(&self) -> &[LinkState] {
        &self.states
    }

    /// The road of a WAN that is ready.
    pub(super) fn road(&self, wan: usize) -> Option<WanPath> {
        if let Some(LinkState::Ready(road)) = self.states.get(wan) { Some(*road) } else { None }
    }

    /// How sockets reach a WAN.
    pub(super) fn via(&self, wan: usize) -> Option<Via> {
        let device = self.settings.wans.get(wan)?.device.clone();
        self.road(wan).map(|road| Via { device, index: road.index, address: road.address })
    }

    /// What the probes of a WAN are sent to.
    pub(super) fn set_targets(&mut self, wan: usize, targets: Vec<Probed>) {
        self.dirty |= self.policy.set_targets(wan, targets);
    }

    /// The place of the WAN with this interface.
    pub(super) fn place(&self, device: &str) -> Option<usize> {
        self.settings.wans.iter().position(|wan| wan.device == device)
    }

    /// Who leads traffic past our choice, in words.
    pub(super) fn outranked(&self) -> Option<&str> {
        self.said.outranked.said()
    }

    /// The default route in main that is ours, in words.
    pub(super) fn default_route(&self) -> Option<String> {
        let view = RoutingView::from(&self.picture);
        let ours =
            view.routes.iter().find(|r| r.is_ours() && self.policy.is_our_default(r, &view))?;
        Some(self.picture.in_words(ours))
    }

    /// Why the kernel refuses a WAN's road, in words, for each of them.
    pub(super) fn refusals(&self) -> Vec<Option<&str>> {
        self.refused.iter().map(Option::as_deref).collect()
    }

    /// The next thing to log.
    pub(super) fn remark(&mut self) -> Option<(Severity, String)> {
        if self.remarks.is_empty() { None } else { Some(self.remarks.remove(0)) }
    }

    pub(super) fn poll_at(&self) -> Option<Instant> {
        let blinks = self.blinks.iter().copied().flatten();
        let said = &self.said;
        let complaints = [&said.foreign, &said.outranked, &said.refused];
        let notes = said.beside.iter().map(|note| &note.text);
        let settles = complaints
            .into_iter()
            .chain(&said.roads)
            .chain(&said.advice)
            .chain(notes)
            .filter_map(Complaint::poll_at);
        [self.watch.map(|watch| watch.next), self.retry, self.sweep, self.damper.poll_at()]
            .into_iter()
            .flatten()
            .chain(blinks)
            .chain(settles)
            .min()
    }

    pub(super) fn add_to(&self, world: &mut W) {
        world.watch(Waited::News, WaitSource::News(&self.events));
        if let Some(flush) = &self.flush {
            world.watch(Waited::Flush, WaitSource::Flush(flush));
        }
    }

    /// Takes in what has changed. Returns whether a WAN's link is another than before.
    pub(super) fn hear(&mut self, now: Instant, world: &mut W) -> bool {
        let Self { events, picture, policy, settings, dirty, .. } = self;
        let (mut look, mut watch, mut rules) = (false, false, false);
        let heard = world.news(events, |message| {
            *dirty = true;
            watch |= is_turn(&message, picture, settings);
            if let News::Route(route) = &message.news {
                policy.remember(route, &picture.links);
            }
            // Of rules that are the same but for their place the news do not say which one it is.
            if let News::Rule(_) | News::NoRule(_) = message.news {
                rules = true;
            } else {
                look |= picture.note(message);
            }
        });
        if watch {
            self.watch = Some(LinkWatch { until: now + WATCH_FOR, next: now + WATCH_EVERY });
        }
        if look {
            self.restores.forget_routes();
        }
        if heard == Delivery::Overrun || look {
            self.look(now, world);
        } else if rules {
            match world.rules(&mut self.requests) {
                Ok(rules) => self.picture.rules = rules,
                Err(_) => self.look(now, world),
            }
        }
        self.proceed_with_flush(world);
        self.dirty && self.look_at_states(now)
    }

    /// Does what is due. Returns whether a WAN's link is another than before.
    pub(super) fn tick(&mut self, now: Instant, world: &mut W) -> bool {
        let mut looked = false;
        if self.retry.is_some_and(|at| at <= now) {
            self.retry = None;
            self.dirty = true;
            if self.blind {
                self.look(now, world);
                looked = true;
            }
        }
        self.speak(now);
        // What was not seen at first is news as well.
        let is_due = looked || self.blinks.iter().flatten().any(|until| *until <= now);
        let blinked = is_due && self.look_at_states(now);
        self.dirty |= blinked;
        let Some(watch) = self.watch.filter(|watch| watch.next <= now) else { return blinked };
        self.watch = (watch.until > now).then_some(LinkWatch { next: now + WATCH_EVERY, ..watch });
        let mut look = false;
        for wan in &self.settings.wans {
            let Some(known) = self.picture.links.iter().find(|l| l.name == wan.device) else {
                continue;
            };
            let news = match world.link(&mut self.requests, known.index) {
                Ok(Some(link)) if link != *known => News::Link(link),
                Ok(None) => News::NoLink(known.index),
                _ => continue,
            };
            self.dirty = true;
            look |= self.picture.note(Message {
                sequence: 0,
                interrupted: false,
                replaces: false,
                news,
            });
        }
        if look {
            self.look(now, world);
        }
        (self.dirty && self.look_at_states(now)) || blinked
    }

    /// Leads the traffic over this WAN for a moment. What goes wrong is put in order with what
    /// follows from that moment.
    pub(super) fn detour(&mut self, wan: usize, world: &mut W) {
        let home = self.led();
        if self.take(wan, world).is_ok() {
            (self.led, self.home) = (Some(wan), home);
        }
    }

    /// Leads the traffic over this WAN.
    pub(super) fn lead(&mut self, wan: usize, world: &mut W) -> Result<(), Rc<str>> {
        let road = self.take(wan, world)?;
        // Connections that have begun on the detour.
        let aside =
            self.home.and(self.led).filter(|led| *led != wan).and_then(|led| self.road(led));
        let before = self.home.take().or(self.led).filter(|before| *before != wan);
        self.led = Some(wan);
        let old = self.road.replace(road).filter(|old| old.address != road.address);
        if let Some(address) =
            aside.map(|aside| aside.address).filter(|address| *address != road.address)
        {
            self.vacate(address, world);
        }
        if let Some(old) = old {
            self.vacate(old.address, world);
            if let Some(before) = before {
                self.warn_of_ipv6(before, old.index);
            }
        }
        Ok(())
    }

    fn take(&mut self, wan: usize, world: &mut W) -> Result<WanPath, Rc<str>> {
        let state = self.policy.state(wan, &RoutingView::from(&self.picture));
        let Some(road) = self.road(wan).filter(|_| matches!(state, Some(LinkState::Ready(_))))
        else {
            // The one says what is there now, the other what the monitor has heard of.
            let ready = |state: &LinkState| matches!(state, LinkState::Ready(_));
            let why = [state, self.states.get(wan).copied()]
                .into_iter()
                .flatten()
                .find(|state| !ready(state));
            return Err(
                why.map_or_else(|| "there is no such WAN".into(), |state| state.to_string().into())
            );
        };
        let changes = self.policy.changes(Some(wan), &RoutingView::from(&self.picture));
        // Also when half of it was made: the rest is then put in order again.
        self.dirty = true;
        self.make(changes, Some(wan), world)?;
        Ok(road)
    }

    /// Makes what is missing of our routes and rules, and takes away what is too much. Returns
    /// whether a WAN's link is another than before: the kernel may refuse its road.
    pub(super) fn keep(&mut self, now: Instant, world: &mut W) -> bool {
        if !std::mem::take(&mut self.dirty) {
            return false;
        }
        let view = RoutingView::from(&self.picture);
        let changes = self.policy.changes(self.led, &view);
        let road = self.led.and_then(|wan| match self.policy.state(wan, &view) {
            Some(LinkState::Ready(road)) => Some(road),
            _ => None,
        });
        if let Err(later) = self.restores.may_make(&changes, view.rules, now) {
            (self.retry, self.dirty) = (Some(later), true);
            return false;
        }
        if let Some(times) = self.restores.word(now) {
            self.say_restored(times);
        }
        let anything = !changes.is_empty();
        let result = self.make(changes, None, world);
        match (&result, road) {
            (Ok(()), Some(road)) => {
                // On a detour it is the road that was left, to which the traffic may come back.
                let before = if self.home.is_none() { self.road.replace(road) } else { None };
                if let Some(old) = before.filter(|old| old.address != road.address) {
                    self.vacate(old.address, world);
                }
                self.said.refused.note(now, None);
            }
            (Ok(()), None) => {}
            (Err(why), _) => {
                self.said.refused.note(
                    now,
                    Some(format!("Routes are not as they should be, tried again: {why}")),
                );
                self.retry = Some(now + TRY_AGAIN);
            }
        }
        if self.refused.iter().any(Option::is_some) {
            self.retry = Some(now + TRY_AGAIN);
        }
        let alone = leftovers::changes(&self.picture, self.policy.table(), &[]).is_empty();
        let back = self.cleared.is_some_and(|at| now.since(at) <= 2 * TRY_AGAIN);
        self.sweep =
            self.sweep.or(Some(now + if back { SWEEP_SELDOM } else { SWEEP })).filter(|_| !alone);
        self.look_for_rivals(now, world);
        self.speak(now);
        anything && self.look_at_states(now)
    }

    /// Takes our tables and rules away, but for what is `shared` with another. Returns whether
    /// nothing of them is left.
    pub(super) fn leave_but(&mut self, everything: bool, shared: &[Change], world: &mut W) -> bool {
        // What the kernel has no room for at one moment it mostly has at the next.
        for _ in 0..2 {
            let mut picture = Picture::default();
            let seen = world.look(&mut self.requests, &mut picture).is_ok();
            if seen {
                self.picture = picture;
            }
            let changes = self.policy.farewell(everything, &RoutingView::from(&self.picture));
            let mut gone = true;
            for change in changes.iter().filter(|change| !shared.contains(change)) {
                gone &= world.make(&mut self.requests, change).is_ok();
            }
            if seen && gone {
                return true;
            }
        }
        false
    }

    /// Takes everything away that is not to stay when imon ends, as the configuration says. Returns
    /// whether it is gone.
    pub(super) fn leave_at_exit(&mut self, world: &mut W) -> bool {
        self.leave_but(self.settings.remove_on_exit, &[], world)
    }

    /// Makes changes. An error is one that keeps the traffic from going where it should; what only
    /// concerns the probing of a WAN makes that WAN unusable.
    fn make(
        &mut self,
        changes: Vec<Change>,
        leading: Option<usize>,
        world: &mut W,
    ) -> Result<(), Rc<str>> {
        let mut result = Ok(());
        for change in changes {
            let outcome = world.make(&mut self.requests, &change);
            match (self.policy.part(&change), outcome) {
                (part, Ok(())) => {
                    self.picture.made(&change);
                    self.restores.made(&change, &self.picture.rules);
                    if let Part::Wan(wan) = part {
                        self.refuse(wan, None);
                    }
                }
                (Part::Wan(wan), Err(e)) => {
                    let why = format!(
                        "the kernel refuses '{}': {}",
                        self.shown(&change),
                        e.in_words::<W>()
                    );
                    self.refuse(wan, Some(why));
                }
                (part, Err(e)) => {
                    let why: Rc<str> =
                        format!("{} ({})", e.in_words::<W>(), self.shown(&change)).into();
                    if part == Part::Default || leading.is_none() {
                        result = result.and(Err(why));
                    }
                }
            }
        }
        result
    }

    fn refuse(&mut self, wan: usize, why: Option<String>) {
        let Some(refused) = self.refused.get_mut(wan) else { return };
        *refused = why;
    }

    fn shown(&self, change: &Change) -> String {
        match change {
            Change::Replace(route) => format!("ip route replace {}", self.picture.in_words(route)),
            Change::RemoveRoute(route) => format!("ip route del {}", self.picture.in_words(route)),
            Change::AddRule(_) | Change::AppendRule(_) | Change::RemoveRule(_) => {
                change.to_string()
            }
        }
    }

    /// Looks at everything. What is known stays when that fails.
    fn look(&mut self, now: Instant, world: &mut W) {
        let mut picture = Picture::default();
        match world.look(&mut self.requests, &mut picture) {
            Ok(()) => (self.picture, self.blind, self.dirty) = (picture, false, true),
            Err(e) => {
                self.complain_of_look(&e, now);
                (self.blind, self.retry) = (true, Some(now + TRY_AGAIN));
            }
        }
    }

    fn complain_of_look(&mut self, e: &ChangeRefused, now: Instant) {
        self.said.refused.note(now, Some(unseen::<W>(e)));
    }

    /// What the links are like now. Tells of another address or gateway, and returns whether
    /// anything is new.
    fn look_at_states(&mut self, now: Instant) -> bool {
        let view = RoutingView::from(&self.picture);
        let mut states = Vec::with_capacity(self.labels.len());
        for (wan, refused) in self.refused.iter().enumerate() {
            states.push(match self.policy.state(wan, &view) {
                Some(LinkState::Ready(_)) if refused.is_some() => LinkState::Refused,
                Some(state) => state,
                None => LinkState::Missing,
            });
        }
        for ((state, before), blink) in states.iter_mut().zip(&self.states).zip(&mut self.blinks) {
            if *state != LinkState::NoAddress || !matches!(before, LinkState::Ready(_)) {
                *blink = None;
            } else if *blink.get_or_insert(now + BLINK) > now {
                *state = *before;
            }
        }
        if states == self.states {
            return false;
        }
        let before = std::mem::replace(&mut self.states, states);
        let mut lines = Vec::new();
        for ((new, old), label) in self.states.iter().zip(&before).zip(&self.labels) {
            let (LinkState::Ready(new), LinkState::Ready(old)) = (new, old) else { continue };
            if new.address != old.address {
                let text =
                    format!("{label}: its address is {} now, it was {}", new.address, old.address);
                lines.push((Severity::Notice, text));
            }
            if let (Some(now), true) = (new.gateway, new.gateway != old.gateway) {
                let before =
                    old.gateway.map_or_else(String::new, |before| format!(", it was {before}"));
                lines
                    .push((Severity::Notice, format!("{label}: its gateway is {now} now{before}")));
            }
        }
        self.tell(now, lines);
        true
    }

    /// Lets the kernel ask for the link address of a WAN's gateway anew. One that cannot be
    /// forgotten is asked for by the kernel's own times.
    pub(super) fn forget_gateway(&mut self, wan: usize, world: &mut W) {
        if let Some(LinkState::Ready(WanPath { index, gateway: Some(gateway), .. })) =
            self.states.get(wan)
        {
            let _ = world.forget_neighbour(&mut self.requests, *index, *gateway);
        }
    }

    fn say_restored(&mut self, times: u32) {
        let label = self.led.and_then(|wan| self.labels.get(wan)).map_or("", String::as_str);
        let times = match times {
            1 => String::new(),
            n => format!(" ({n} times since this was said last)"),
        };
        let text = format!(
            "The default route over {label} was removed or changed by somebody, it is set again{times}"
        );
        self.remarks.push((Severity::Warning, text));
    }

    /// Which networks do not work, as the monitor says.
    pub(super) fn set_down(
        &mut self,
        down: impl Iterator<Item = bool>,
        now: Instant,
        world: &mut W,
    ) {
        let pause = if self.dirty { TRY_AGAIN } else { SEEK };
        let again = self.sought.is_none_or(|at| now.since(at) >= pause);
        for (wan, down) in down.enumerate() {
            let Some(place) = self.down.get_mut(wan) else { continue };
            if std::mem::replace(place, down) != down || (down && again) {
                (self.dirty, self.sought) = (true, Some(now));
                self.look_for_stuck(wan, down, world);
            }
        }
    }

    /// Host routes and the like over a network that does not work: V2.99's users had to set such by
    /// hand.
    fn look_for_stuck(&mut self, wan: usize, down: bool, world: &mut W) {
        self.stuck.retain(|(other, _)| *other != wan);
        let device = self.device(wan);
        let Some(link) =
            self.picture.links.iter().find(|l| down && Some(l.name.as_str()) == device)
        else {
            return;
        };
        let Ok((routes, count)) =
            world.routes_over(&mut self.requests, &self.picture, link, MOST_STUCK)
        else {
            return;
        };
        let more = count - routes.len();
        for (at, route) in routes.iter().enumerate() {
            let rest = if at + 1 == MOST_STUCK && more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            self.stuck.push((wan, format!("ip route {}{rest}", self.picture.in_words(route))));
        }
    }

    /// What others have set up beside us: what it means in a word, and the rule or route in words.
    pub(super) fn beside(&self) -> Vec<(&'static str, &str, &str)> {
        let said = self.said.beside.iter();
        said.filter_map(|note| Some((note.kind, note.what.as_str(), note.text.said()?))).collect()
    }

    /// Finds out who else's rules and routes count beside ours.
    fn look_for_rivals(&mut self, now: Instant, world: &mut W) {
        if self.picture.no_policy_routing
            && !std::mem::replace(&mut self.said.no_policy_routing, true)
        {
            let text = "This kernel has no policy routing (CONFIG_IP_MULTIPLE_TABLES): probes of a network that is not \
                        in use may fail, and other default routes of lower metric win over imon's";
            self.remarks.push((Severity::Warning, text.to_owned()));
        }
        let view = RoutingView::from(&self.picture);
        let foreign = self.policy.foreign_at(self.settings.metric, &view).map(|route| {
            let (metric, free) = (self.settings.metric, self.policy.free_metric(&view));
            let route = self.picture.in_words(route);
            format!(
                "Metric {metric} is in use by '{route}', which is not imon's: imon's default route has metric {free}"
            )
        });
        self.said.foreign.note(now, foreign);
        let beside = self.policy.beside(&view);
        let yields = beside.iter().any(|other| other.kind == BesideKind::Yielded);
        self.note_beside(now, beside);
        let outranked = if yields { None } else { self.other_way(world) };
        self.said.outranked.note(now, outranked);
        self.said.roads.resize_with(self.labels.len(), Complaint::default);
        self.said.advice.resize_with(self.labels.len(), Complaint::default);
        for ((complaint, why), label) in
            self.said.roads.iter_mut().zip(&self.refused).zip(&self.labels)
        {
            complaint.note(now, why.as_ref().map(|why| format!("{label}: {why}")));
        }
        let view = RoutingView::from(&self.picture);
        for (wan, complaint) in self.said.advice.iter_mut().enumerate() {
            let Some(label) = self.labels.get(wan) else { continue };
            let port = || {
                let device = &self.settings.wans.get(wan)?.device;
                let link =
                    self.picture.links.iter().find(|l| l.name == *device && l.master != 0)?;
                Some((device, self.picture.name_of(link.master)))
            };
            let twin = || self.policy.twin(wan, &view).and_then(|other| self.labels.get(other));
            let text = match self.policy.state(wan, &view) {
                Some(LinkState::Port) => port().map(|(port, bridge)| {
                    format!("{label}: {port} is a port of {bridge}, which has the address: use {bridge} in its place")
                }),
                Some(LinkState::NoGateway) if self.policy.lacks_metric(wan, &view) => Some(format!(
                    "{label}: its default route was replaced by that of the other network, since neither has a metric: \
                     set one for each ('option metric' in /etc/config/network, 'metric' in /etc/network/interfaces), or \
                     name the gateway in imon's configuration"
                )),
                Some(LinkState::Ready(road)) => twin().map(|other| {
                    format!(
                        "{label}: {other} has the address {} too. imon tells them apart by what is probed: they need \
                         different ping targets",
                        road.address
                    )
                }),
                _ => None,
            };
            complaint.note(now, text);
        }
    }

    /// Takes note of what others have set up, each with what it means now.
    fn note_beside(&mut self, now: Instant, beside: Vec<Beside>) {
        let mut notes: Vec<BesideNote> = Vec::new();
        let stuck = self.stuck.iter().map(|(wan, what)| Beside {
            kind: BesideKind::Narrow,
            what: what.clone(),
            wan: Some(*wan),
            via_main: false,
        });
        for other in stuck.chain(beside).take(MOST_NOTES) {
            let what = self.picture.names_in(other.what);
            let label = other.wan.and_then(|wan| self.labels.get(wan)).map_or("", String::as_str);
            let is_down = other.wan.and_then(|wan| self.down.get(wan)).is_some_and(|down| *down);
            let text = match other.kind {
                BesideKind::Yielded => Some(format!(
                    "'{what}' leads all traffic elsewhere and goes first: imon leads what it leaves"
                )),
                BesideKind::Overtaken => {
                    let over = if label.is_empty() { "" } else { " over " };
                    Some(format!(
                        "'{what}' would lead all traffic{over}{label}: imon's choice goes first"
                    ))
                }
                BesideKind::Narrow if is_down && other.via_main => Some(format!(
                    "'{what}' keeps its traffic on {label}, which does not work: set metric below that of the default \
                     route there"
                )),
                BesideKind::Narrow if is_down => {
                    Some(format!("'{what}' keeps its traffic on {label}, which does not work"))
                }
                BesideKind::Narrow | BesideKind::First => None,
            };
            let old = self.said.beside.iter().position(|note| note.what == what);
            let mut note = match old {
                Some(at) => self.said.beside.swap_remove(at),
                None => BesideNote { kind: "", what, text: Complaint::default() },
            };
            note.kind = other.kind.word();
            note.text.note(now, text);
            notes.push(note);
        }
        // What is left of the old ones is there no more.
        for note in std::mem::replace(&mut self.said.beside, notes)
            .iter()
            .filter(|note| note.text.said().is_some())
        {
            self.tell(
                now,
                vec![(Severity::Notice, format!("'{}' does not count any more", note.what))],
            );
        }
    }

    /// Says what has lasted.
    fn speak(&mut self, now: Instant) {
        let Reported { foreign, outranked, refused, roads, advice, beside, .. } = &mut self.said;
        let mut lines = Vec::new();
        let mut say =
            |complaint: &mut Complaint, severity, before: &str, over: Option<&str>| match complaint
                .word(now)
            {
                Some(Word::Is(text)) => lines.push((severity, format!("{before}{text}"))),
                Some(Word::Over) => {
                    lines.extend(over.map(|text| (Severity::Notice, text.to_owned())))
                }
                None => {}
            };
        say(foreign, Severity::Warning, "", None);
        let past = "Traffic does not go where imon leads it: ";
        say(outranked, Severity::Warning, past, Some("Traffic goes where imon leads it again"));
        say(refused, Severity::Error, "", None);
        roads.iter_mut().for_each(|road| say(road, Severity::Error, "", None));
        advice.iter_mut().for_each(|advice| say(advice, Severity::Warning, "", None));
        for note in beside {
            let severity = if note.kind == BesideKind::Narrow.word() {
                Severity::Warning
            } else {
                Severity::Notice
            };
            say(&mut note.text, severity, "", None);
        }
        if let Some((times, lasted)) = self.damper.take(now) {
            let text = format!(
                "{times} more changes in {} s, the last: {}",
                lasted.as_secs(),
                self.untold
            );
            self.remarks.push((Severity::Notice, text));
        }
        self.tell(now, lines);
    }

    /// Says what may change as often as somebody likes.
    fn tell(&mut self, now: Instant, lines: Vec<(Severity, String)>) {
        for line in lines {
            if self.damper.note(now, ONE_BY_ONE) {
                self.remarks.push(line);
            } else {
                self.untold = line.1;
            }
        }
    }

    /// The way that packets take to the internet, if that is not over the WAN they are led over.
    fn other_way(&mut self, world: &mut W) -> Option<String> {
        let road = self.led.and_then(|wan| self.road(wan))?;
        for to in ABROAD {
            let Ok(mut way) = world.way(&mut self.requests, to) else { continue };
            self.picture.resolve(&mut way);
            // Somebody's own route to this very host says nothing about the others.
            if way.prefix > 1 {
                continue;
            }
            let hop = way.hops.iter().find(|hop| hop.index != road.index && !hop.dead)?;
            let device = self.picture.name_of(hop.index);
            let same = |r: &&Route| {
                r.table == way.table
                    && r.prefix == way.prefix
                    && r.hops.iter().any(|h| h.index == hop.index)
            };
            let route = self.picture.routes.iter().filter(same).min_by_key(|r| r.metric);
            let table = if way.table == MAIN { "main".to_owned() } else { way.table.to_string() };
            return Some(match route {
                Some(route) => {
                    let owner = protocol_name(route.protocol).unwrap_or("somebody");
                    let words = self.picture.in_words(route);
                    format!(
                        "it leaves by {device}, by the route '{words}' in table {table}, set by {owner}"
                    )
                }
                None => format!("it leaves by {device}, by a route in table {table}"),
            });
        }
        None
    }

    fn warn_of_ipv6(&mut self, before: usize, index: u32) {
        if self
            .picture
            .defaults6
            .iter()
            .any(|d| d.table == MAIN && d.hops.iter().any(|hop| hop.0 == index))
        {
            let label = self.labels.get(before).map_or("", String::as_str);
            let text = format!(
                "IPv6 traffic still goes over {label}: its IPv6 default route is there, and imon switches IPv4 only"
            );
            self.remarks.push((Severity::Warning, text));
        }
    }

    /// What is not there is warned about, with the names that were perhaps meant.
    fn name_missing(&mut self) {
        let names = || self.picture.links.iter().map(|l| l.name.as_str());
        for (wan, label) in self.settings.wans.iter().zip(&self.labels) {
            if names().any(|name| name == wan.device) {
                continue;
            }
            let near = nearest(&wan.device, names())
                .map_or_else(String::new, |name| format!("Did you mean {name}? "));
            let all: Vec<&str> = names().filter(|name| *name != "lo").collect();
            let all = match all.as_slice() {
                [] => "There is none at all".to_owned(),
                [one] => format!("There is only {one}"),
                all => format!("There are {}", all.join(", ")),
            };
            let text = format!(
                "Warning: {label}: there is no interface {}. {near}{all}. It is used as soon as it appears",
                wan.device
            );
            self.remarks.push((Severity::Warning, text));
        }
    }

    /// Connections that are translated to an address that is left would go on with it.
    fn vacate(&mut self, address: Ipv4Addr, world: &mut W) {
        if self.settings.flush_conntrack {
            self.vacated.push(address);
            self.proceed_with_flush(world);
        }
    }

    fn proceed_with_flush(&mut self, world: &mut W) {
        if let Some(flush) = &mut self.flush {
            let Some(result) = world.proceed(flush) else { return };
            if let Err(e) = result {
                self.no_flush(&e);
            }
            self.flush = None;
        }
        while self.flush.is_none() {
            let Some(address) = self.vacated.pop() else { return };
            match world.flush(address) {
                Ok(flush) => self.flush = flush,
                Err(e) => self.no_flush(&e),
            }
        }
    }

    fn no_flush(&mut self, e: &io::Error) {
        if !std::mem::replace(&mut self.said.no_flush, true) {
            let why = W::in_words(e);
            let text = format!(
                "Connections over a network that is left cannot be ended, they time out: {why}"
            );
            self.remarks.push((Severity::Info, text));
        }
    }
}

/// Whether a link of ours comes, goes, or turns.
fn is_turn(message: &Message, picture: &Picture, settings: &config::FailoverSettings) -> bool {
    let News::Link(link) = &message.news else { return false };
    let known = picture.links.iter().find(|l| l.index == link.index);
    settings.wans.iter().any(|wan| wan.device == link.name) && known != Some(link)
}

fn policy(instance: &str, settings: &config::FailoverSettings) -> Policy {
    let wan = |wan: &config::WanSettings| routing::Uplink {
        device: wan.device.clone(),
        gateway: wan.gateway,
        targets: Vec::new(),
        remembered: None,
    };
    Policy::new(instance, settings.wans.iter().map(wan).collect(), settings.metric)
}

/// As log lines call the WANs.
fn labels(settings: &config::FailoverSettings) -> Vec<String> {
    let roles = ["Primary", "Standby"].into_iter().chain(std::iter::repeat("Standby"));
    let label = |(wan, role): (&config::WanSettings, &str)| match wan.name.as_str() {
        "" => format!("{role} Network '{}'", wan.device),
        name => format!("{role} Network {name} ({})", wan.device),
    };
    settings.wans.iter().zip(roles).map(label).collect()
}

/// The locks of all interfaces but those that are held already. Without a directory for them there
/// are none.
fn lock<W: World>(
    settings: &config::FailoverSettings,
    world: &mut W,
    held: &[String],
    table: u32,
) -> Result<Vec<(String, W::Lock)>, Unable> {
    let mut locks = Vec::new();
    for device in
        settings.wans.iter().map(|wan| &wan.device).filter(|device| !held.contains(device))
    {
        match world.lock_device(device, table) {
            Ok(lock) => locks.extend(lock.map(|lock| (device.clone(), lock))),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                return Err(Unable::Taken(device.clone()));
            }
            Err(e) if error::is_shortage(&e) => {
                return Err(Unable::Short("lock of an interface", e));
            }
            // Said when the directory was tried for the status.
            Err(_) => {}
        }
    }
    Ok(locks)
}

/// That a look at the kernel's network has failed.
fn unseen<W: World>(why: &ChangeRefused) -> String {
    format!("The kernel does not show its routes: {}", why.in_words::<W>())
}

/// A change that changes nothing: a rule is removed that nobody has.
fn nothing() -> Change {
    Change::RemoveRule(Rule {
        priority: u32::MAX,
        table: u32::MAX,
        protocol: PROTOCOL,
        source: Some(Ipv4Addr::LOCALHOST),
        source_length: 32,
        suppress: Some(32),
        ..Rule::default()
    })
}
