//! The ddns monitor: keeps track of the external address and tells whoever is to know it, the truth
//! only.
//!
//! In steady state one source is asked at a time, in turn. An answer that differs from what is
//! known begins a [`survey::Survey`]; only what that finds is acted upon.

pub mod answer;
pub mod sinks;
pub mod source;
pub mod state;
pub mod survey;
pub mod update;

use std::fmt::Write as _;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::addr::family::Family;
use crate::base::time::{Clock, Instant};
use crate::event::{Event, Monitor, Severity, What};
use crate::monitor::ddns::answer::Nat;
use crate::monitor::ddns::source::Source;
use crate::monitor::{Effect, Observation, Progress};
use sinks::{SinceStamp, Sink, SinkSetup};
use state::{Saved, SavedTrack};
use survey::Survey;

/// No operator is asked more often than this in steady state.
pub const POLITE: Duration = Duration::from_secs(300);
/// An operator that does not want to be asked (403, 429) rests for this long, and so does a source
/// that was outvoted.
pub const REST: Duration = Duration::from_secs(3600);
/// A name server that contradicts HTTPS is left out for this long.
pub const HIJACKED: Duration = Duration::from_secs(86_400);
/// News of the network is followed by a lookup after this time, in which the rest of the change
/// arrives,
const SETTLE: Duration = Duration::from_millis(500);
/// and by no other for this long.
const CALM: Duration = Duration::from_secs(10);
/// A way that is gone is mostly followed by another: failover switches. So long that is not told as
/// a fault.
const NO_WAY: Duration = Duration::from_secs(5);
/// After a round without result.
const AGAIN: [u64; 5] = [30, 60, 120, 240, 300];
/// An address that was left less than this ago, without news of the network since, must be found
/// twice.
const RETURNS: Duration = Duration::from_secs(86_400);
/// So many operators are heard before an address gives way to another, if there are as many. Two
/// that agree suffice, but a third one may contradict them.
const WITNESSES: usize = 3;
/// A disagreement is told once in this time.
const TELL: Duration = Duration::from_secs(3600);
/// While the address cannot be found that is told again after this, then after twice that, and so
/// on.
const STILL: Duration = Duration::from_secs(3600);
/// A lookup must have ended after this.
const LOOKUP: Duration = Duration::from_secs(30);

/// What it is made of.
#[derive(Clone, Debug)]
pub struct DdnsSetup {
    /// Who can be asked, in order.
    pub sources: Vec<Source>,
    /// What is kept track of.
    pub tracks: Vec<TrackSetup>,
    /// From one lookup to the next, at least.
    pub interval: Duration,
    /// Each start is announced as a change from "unknown".
    pub announce_start: bool,
    /// An address that has not changed is published again after this.
    pub refresh: Option<Duration>,
    /// For jitter.
    pub seed: u64,
}

/// One address to keep track of.
#[derive(Clone, Debug)]
pub struct TrackSetup {
    /// IPv4 or IPv6.
    pub family: Family,
    /// The interface of the WAN it is looked up through; empty: whichever is in use.
    pub wan: Rc<str>,
    /// Who is to be told.
    pub sinks: Vec<SinkSetup>,
}

/// Whether a track's lookups have a way out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LookupPath {
    /// It is not known yet.
    Unknown,
    /// There is none, and why.
    None(Rc<str>),
    /// There is. The text tells one from another; an address found by one says nothing about
    /// another's.
    Ready(Rc<str>),
}

/// A lookup's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LookupId {
    /// Whose.
    pub track: usize,
    /// The source's place.
    pub source: usize,
    /// Which one.
    pub serial: u32,
}

/// What a lookup found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The external address.
    pub address: IpAddr,
    /// Our own address on the way there.
    pub local: Option<IpAddr>,
}

/// Why it found nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotFound {
    /// In words.
    pub why: Rc<str>,
    /// The operator does not want to be asked (HTTP 403, 429).
    pub unwanted: bool,
}

/// The monitor.
#[derive(Debug)]
pub struct Ddns {
    setup: DdnsSetup,
    tracks: Vec<Track>,
    /// When each operator was asked last.
    asked: Vec<(Rc<str>, Instant)>,
    serial: u32,
    random: u64,
    changed: bool,
    /// What the state file has of tracks that are not configured now.
    others: Vec<SavedTrack>,
}

/// What is known of one address.
#[derive(Debug)]
pub struct Track {
    /// IPv4 or IPv6.
    pub family: Family,
    /// The WAN's interface, or empty.
    pub wan: Rc<str>,
    /// The address that is believed,
    pub address: Option<IpAddr>,
    /// since when,
    pub since: SinceStamp,
    /// and whether that was found since the start.
    pub met: bool,
    /// Why no address can be found.
    pub failing: Option<Failing>,
    /// What stands between.
    pub nat: Option<Nat>,
    /// What each source said.
    pub views: Vec<SourceView>,
    /// Who is to be told.
    pub sinks: Vec<Sink>,
    previous: Option<(IpAddr, Instant)>,
    returning: Option<(IpAddr, Instant)>,
    contested: bool,
    doing: Option<(LookupId, Instant)>,
    due: Option<Instant>,
    /// Politeness does not count for the next lookup.
    urgent: bool,
    survey: Option<Survey>,
    /// Sources that failed since the last that did not.
    failed: Vec<usize>,
    rounds: usize,
    turn: usize,
    way: LookupPath,
    triggered: Option<Instant>,
    /// News came while a lookup was under way.
    again: bool,
    told: Option<Instant>,
}

/// No address can be found.
#[derive(Clone, Debug)]
pub struct Failing {
    /// Since when.
    pub since: Instant,
    /// Why, in the words of the last source.
    pub why: Rc<str>,
    tell: Instant,
    gap: Duration,
}

/// What a source said last.
#[derive(Clone, Default, Debug)]
pub struct SourceView {
    /// When, and what: an address, or why there is none.
    pub last: Option<(Instant, Result<IpAddr, Rc<str>>)>,
    /// Not asked until then, and why.
    pub left_out: Option<(Instant, &'static str)>,
}

impl SourceView {
    fn is_usable(&self, now: Instant) -> bool {
        self.left_out.is_none_or(|(until, _)| until <= now)
    }
}

impl Ddns {
    /// Begins. Nothing is asked before [`Observation::Ways`] has told that there is a way.
    #[must_use]
    pub fn new(setup: DdnsSetup) -> Self {
        let tracks =
            setup.tracks.iter().map(|track| Track::new(track, setup.sources.len())).collect();
        let random = setup.seed | 1;
        Self {
            tracks,
            asked: Vec::new(),
            serial: 0,
            random,
            changed: true,
            others: Vec::new(),
            setup,
        }
    }

    /// Goes on from what was saved.
    pub fn restore(&mut self, saved: Saved, clock: Clock) {
        for old in saved.tracks {
            match self.tracks.iter_mut().find(|t| t.family == old.family && *t.wan == *old.wan) {
                Some(track) => {
                    track.restore(old, clock);
                    track.plan_refresh(self.setup.refresh, clock);
                }
                None => self.others.push(old),
            }
        }
    }

    /// Takes over from the monitor of an older configuration what it has found out since it was
    /// started. Returns whether the same is looked up by the same sources, so that lookups that are
    /// under way go on. Otherwise nobody is asked sooner for that than he would have been.
    pub fn inherit(&mut self, old: Self, clock: Clock) -> bool {
        let saved = old.saved(clock);
        self.restore(saved, clock);
        let which = |tracks: &[Track]| {
            tracks.iter().map(|t| (t.family, Rc::clone(&t.wan))).collect::<Vec<_>>()
        };
        let is_same =
            self.setup.sources == old.setup.sources && which(&self.tracks) == which(&old.tracks);
        self.serial = old.serial.wrapping_add(u32::from(!is_same));
        self.asked = old.asked;
        let soonest = clock.now + self.setup.interval;
        for mut before in old.tracks {
            let Some(track) =
                self.tracks.iter_mut().find(|t| t.family == before.family && t.wan == before.wan)
            else {
                continue;
            };
            track.inherit_sinks(&before);
            before.sinks = std::mem::take(&mut track.sinks);
            if is_same {
                before.due = before.due.map(|due| due.min(soonest));
            } else {
                let place =
                    |s: &Source| old.setup.sources.iter().position(|old| old.text == s.text);
                let view =
                    |s| place(s).and_then(|at| before.views.get(at)).cloned().unwrap_or_default();
                before.views = self.setup.sources.iter().map(view).collect();
                (before.doing, before.survey, before.turn) = (None, None, 0);
                before.failed.clear();
                if matches!(before.way, LookupPath::Ready(_)) {
                    (before.urgent, before.due) = (false, Some(clock.now));
                }
            }
            *track = before;
        }
        is_same
    }

    /// What is to outlive a restart.
    #[must_use]
    pub fn saved(&self, clock: Clock) -> Saved {
        let tracks = self.tracks.iter().map(|t| t.saved(clock)).chain(self.others.iter().cloned());
        Saved { written: clock.wall.secs, tracks: tracks.collect() }
    }

    /// What is kept track of.
    #[must_use]
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// The sources, as the views of each track.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.setup.sources
    }

    /// Whether something has changed that the status shows, since this was last asked.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// When it is to be called with [`Observation::Tick`].
    #[must_use]
    pub fn poll_at(&self) -> Option<Instant> {
        self.tracks.iter().filter_map(Track::poll_at).min()
    }

    /// Takes an observation, and adds what is to be done to `out`.
    pub fn on(&mut self, now: Instant, seen: &Observation<'_>, out: &mut Vec<Effect>) {
        match seen {
            Observation::Found(id, result) => self.heard(now, *id, result, out),
            Observation::Published { key, address, outcome } => {
                let refresh = self.setup.refresh;
                for track in &mut self.tracks {
                    if track.published(now, refresh, key, *address, outcome, out) {
                        self.changed = true;
                        out.push(Effect::Save);
                    }
                }
            }
            Observation::Ways(ways) => {
                for (track, way) in self.tracks.iter_mut().zip(*ways) {
                    track.take_way(now, way);
                }
            }
            Observation::Moved | Observation::Resumed => {
                self.tracks.iter_mut().for_each(|track| track.trigger(now))
            }
            Observation::CheckNow => {
                for track in &mut self.tracks {
                    track.triggered = None;
                    track.trigger(now);
                    track.sinks.iter_mut().for_each(|sink| sink.try_again(now));
                }
            }
            _ => {}
        }
        self.tick(now, out);
    }

    fn tick(&mut self, now: Instant, out: &mut Vec<Effect>) {
        for at in 0..self.tracks.len() {
            // A source that cannot be asked makes the next one due.
            for _ in 0..=self.setup.sources.len() {
                if !self
                    .tracks
                    .get(at)
                    .is_some_and(|t| t.doing.is_none() && t.due.is_some_and(|due| due <= now))
                {
                    break;
                }
                self.begin(now, at, out);
            }
            let refresh = self.setup.refresh;
            if let Some(track) = self.tracks.get_mut(at) {
                track.tell_still(now, out);
                if track.publish(now, refresh, out) {
                    self.changed = true;
                }
            }
        }
    }

    /// Asks whose turn it is.
    fn begin(&mut self, now: Instant, at: usize, out: &mut Vec<Effect>) {
        let Self { setup, tracks, asked, serial, random, changed, .. } = self;
        let Some(track) = tracks.get_mut(at) else { return };
        match track.way.clone() {
            LookupPath::Unknown => {
                track.due = None;
                return;
            }
            LookupPath::None(why) => {
                track.survey = None;
                *changed = true;
                return track.fail(now, why, random, out);
            }
            LookupPath::Ready(_) => {}
        }
        let usable = |at: usize| track.views.get(at).is_some_and(|view| view.is_usable(now));
        let polite = |source: &Source| {
            let last = asked.iter().find(|(operator, _)| *operator == source.operator);
            last.map(|(_, last)| *last + POLITE)
        };
        let chosen = match &track.survey {
            Some(survey) => survey.next(&setup.sources, &usable),
            None => {
                let count = setup.sources.len().max(1);
                let turns = (0..count).map(|n| (track.turn + n) % count);
                let mut open = turns.filter(|at| usable(*at) && !track.failed.contains(at));
                open.find(|at| {
                    let waits = setup.sources.get(*at).and_then(polite);
                    track.urgent || waits.is_none_or(|until| until <= now)
                })
            }
        };
        if let Some(source) = chosen {
            let Some(operator) = setup.sources.get(source).map(|s| Rc::clone(&s.operator)) else {
                return;
            };
            asked.retain(|(who, _)| *who != operator);
            asked.push((operator, now));
            *serial = serial.wrapping_add(1);
            let id = LookupId { track: at, source, serial: *serial };
            track.doing = Some((id, now + LOOKUP));
            track.due = None;
            if track.survey.is_none() {
                track.turn = source + 1;
                track.urgent = false;
            }
            out.push(Effect::Lookup(id));
            return;
        }
        if track.survey.is_some() {
            return self.conclude(now, at, out);
        }
        // Somebody may be asked later.
        let open = || {
            (0..).zip(&setup.sources).filter(|(at, _)| usable(*at) && !track.failed.contains(at))
        };
        if let Some(until) = open().filter_map(|(_, source)| polite(source)).min() {
            track.due = Some(jitter(now, until.since(now), random));
            return;
        }
        *changed = true;
        let why = if track.failed.is_empty() {
            "no source may be asked at the moment".into()
        } else {
            track.last_problem()
        };
        track.failed.clear();
        track.fail(now, why, random, out);
    }

    fn heard(
        &mut self,
        now: Instant,
        id: LookupId,
        result: &Result<Found, NotFound>,
        out: &mut Vec<Effect>,
    ) {
        let Self { setup, tracks, random, .. } = self;
        let Some(track) =
            tracks.get_mut(id.track).filter(|t| t.doing.is_some_and(|(doing, _)| doing == id))
        else {
            return;
        };
        // Whoever found it may be under somebody's influence.
        let checked =
            result.clone().and_then(|found| match answer::public(found.address, track.family) {
                Ok(_) => Ok(found),
                Err(refusal) => Err(NotFound::because(&refusal.to_string())),
            });
        let result = &checked;
        self.changed = true;
        track.doing = None;
        if std::mem::take(&mut track.again) {
            track.urgent = true;
        }
        if let Some(view) = track.views.get_mut(id.source) {
            let said = result.as_ref().map(|found| found.address).map_err(|e| Rc::clone(&e.why));
            view.last = Some((now, said));
            view.left_out = view.left_out.filter(|(until, _)| *until > now);
            if result.as_ref().is_err_and(|e| e.unwanted) {
                view.left_out = Some((now + REST, "does not want to be asked"));
            }
        }
        if let Some(survey) = &mut track.survey {
            survey.asked.push(id.source);
        }
        match result {
            Err(_) if track.survey.is_some() => {}
            Err(e) if track.failing.is_some() => {
                return track.fail(now, Rc::clone(&e.why), random, out);
            }
            Err(_) => {
                // The next one at once.
                track.failed.push(id.source);
                track.urgent = true;
                track.due = Some(now);
                return;
            }
            Ok(found) => {
                track.failed.clear();
                track.judge_nat(found, out);
                if track.survey.is_none() && track.address == Some(found.address) {
                    return self.confirmed(now, id.track, found.address, out);
                }
                let survey = track
                    .survey
                    .get_or_insert_with(|| Survey { votes: Vec::new(), asked: vec![id.source] });
                survey.votes.push((id.source, found.address));
            }
        }
        let usable = |at: usize| track.views.get(at).is_some_and(|view| view.is_usable(now));
        match track.survey.as_ref().and_then(|survey| survey.verdict(&setup.sources, &usable)) {
            // Before something that is known gives way, one more is heard.
            Some(address)
                if track.address.is_none_or(|known| known == address)
                    || track.survey.as_ref().is_none_or(|s| {
                        s.answered(&setup.sources) >= WITNESSES
                            || s.next(&setup.sources, &usable).is_none()
                    }) =>
            {
                self.decide(now, id.track, address, out);
            }
            _ => track.due = Some(now),
        }
    }

    /// The survey has found the address.
    fn decide(&mut self, now: Instant, at: usize, address: IpAddr, out: &mut Vec<Effect>) {
        let Self { setup, tracks, .. } = self;
        let Some(track) = tracks.get_mut(at) else { return };
        let survey = track.survey.take().unwrap_or_default();
        let hijacked: Vec<usize> = survey.hijacked(&setup.sources, address).collect();
        for (source, said) in survey.votes.iter().filter(|(_, said)| *said != address) {
            let Some(view) = track.views.get_mut(*source) else { continue };
            let name = setup.sources.get(*source).map_or_else(Default::default, |s| s.text.clone());
            if hijacked.contains(source) {
                view.left_out = Some((now + HIJACKED, "hijacked"));
                let who = track.label();
                let text = format!(
                    "{name} says {said}{who}, HTTPS has shown {address}: somebody on the way answers DNS queries. It is not \
                     asked for a day"
                );
                out.push(note(Severity::Warning, text));
            } else {
                view.left_out = Some((now + REST, "outvoted"));
            }
        }
        // Somebody says something else, or those who could are silent.
        let witnesses = WITNESSES.min(survey::operators(setup.sources.iter()));
        track.contested = survey.votes.iter().any(|(_, said)| *said != address)
            || survey.answered(&setup.sources) < witnesses;
        self.confirmed(now, at, address, out);
    }

    /// This address is believed.
    fn confirmed(&mut self, now: Instant, at: usize, address: IpAddr, out: &mut Vec<Effect>) {
        let Self { setup, tracks, random, .. } = self;
        let Some(track) = tracks.get_mut(at) else { return };
        let operators = track.operators(&setup.sources, now);
        let gap = setup.interval.max(POLITE / operators);
        track.due = Some(jitter(now, gap, random));
        if track.urgent {
            track.due = Some(now + SETTLE);
        }
        track.rounds = 0;
        if let Some(failing) = track.failing.take() {
            let what = What::ExternalFound {
                lasted: now.since(failing.since),
                family: track.family,
                wan: track.wan(),
            };
            out.push(event(what));
        }
        let first = !std::mem::replace(&mut track.met, true);
        let announce = first && setup.announce_start;
        if track.address == Some(address) && !announce {
            track.returning = None;
            return;
        }
        let left = track
            .previous
            .filter(|(before, left)| *before == address && now.since(*left) < RETURNS);
        let doubtful =
            left.is_some() || track.contested || track.returning.is_some_and(|(a, _)| a == address);
        if doubtful && track.address.is_some_and(|known| known != address) {
            // Two ways out that take turns look like this.
            match track.returning.filter(|(a, _)| *a == address) {
                Some((_, since)) if now.since(since) >= POLITE => {}
                Some(_) => return,
                None => {
                    track.returning = Some((address, now));
                    track.due = Some(now + POLITE);
                    return;
                }
            }
        }
        track.returning = None;
        let old = if announce { None } else { track.address };
        if track.address != Some(address) {
            track.previous = track.address.map(|before| (before, now));
            track.address = Some(address);
            track.since = SinceStamp::At(now);
            track.sinks.iter_mut().for_each(|sink| sink.renew(now, address));
        }
        if announce {
            track.sinks.iter_mut().filter(|sink| sink.is_script()).for_each(Sink::forget);
        }
        out.push(event(What::ExternalChanged {
            new: address,
            old,
            family: track.family,
            wan: track.wan(),
        }));
        out.push(Effect::Save);
        self.changed = true;
    }

    /// Nobody is left to be asked, and nothing is clear.
    fn conclude(&mut self, now: Instant, at: usize, out: &mut Vec<Effect>) {
        let Self { setup, tracks, random, changed, .. } = self;
        let Some(track) = tracks.get_mut(at) else { return };
        let survey = track.survey.take().unwrap_or_default();
        *changed = true;
        if survey.votes.is_empty() {
            let why = track.last_problem();
            return track.fail(now, why, random, out);
        }
        track.rounds += 1;
        track.wait(now, random);
        if track.told.is_some_and(|told| now.since(told) < TELL) {
            return;
        }
        track.told = Some(now);
        let mut text = String::from("The sources of the external address do not agree");
        if survey
            .votes
            .iter()
            .all(|(_, a)| survey.votes.first().is_some_and(|(_, first)| a == first))
        {
            text = "Too few sources tell the external address to believe it".to_owned();
        }
        let _ = match track.address {
            Some(address) => write!(text, "{}, {address} stays:", track.label()),
            None => write!(text, "{}:", track.label()),
        };
        for at in survey.asked {
            let (Some(source), Some(view)) = (setup.sources.get(at), track.views.get(at)) else {
                continue;
            };
            let _ = match &view.last {
                Some((_, Ok(address))) => write!(text, " {source} says {address};"),
                Some((_, Err(why))) => write!(text, " {source}: {why};"),
                None => Ok(()),
            };
        }
        out.push(note(Severity::Warning, text.trim_end_matches(';').to_owned()));
    }
}

impl Progress for Ddns {
    fn keeps_up(&self, now: Instant) -> bool {
        self.tracks.iter().all(|track| track.doing.is_none_or(|(_, until)| now < until + LOOKUP))
    }
}

impl Track {
    fn new(setup: &TrackSetup, sources: usize) -> Self {
        Self {
            family: setup.family,
            wan: Rc::clone(&setup.wan),
            address: None,
            since: SinceStamp::Never,
            met: false,
            failing: None,
            nat: None,
            views: vec![SourceView::default(); sources],
            sinks: setup.sinks.iter().map(|sink| Sink::new(sink, setup)).collect(),
            previous: None,
            returning: None,
            contested: false,
            doing: None,
            due: None,
            urgent: true,
            survey: None,
            failed: Vec::new(),
            rounds: 0,
            turn: 0,
            way: LookupPath::Unknown,
            triggered: None,
            again: false,
            told: None,
        }
    }

    fn restore(&mut self, old: SavedTrack, clock: Clock) {
        self.address = old.address;
        self.since = SinceStamp::Wall(old.since);
        self.nat = old.nat;
        for sink in &mut self.sinks {
            if let Some(known) = old.sinks.iter().find(|known| *known.name == *sink.name) {
                sink.restore(known, clock);
            }
        }
    }

    fn saved(&self, clock: Clock) -> SavedTrack {
        SavedTrack {
            family: self.family,
            wan: self.wan.to_string(),
            address: self.address,
            since: self.since.wall(clock),
            nat: self.nat,
            sinks: self.sinks.iter().map(|sink| sink.saved(clock)).collect(),
        }
    }

    /// The WAN for an event, where there is one for each.
    fn wan(&self) -> Option<Rc<str>> {
        (!self.wan.is_empty()).then(|| Rc::clone(&self.wan))
    }

    /// ` (wan1)` behind a word, where there are several WANs.
    fn label(&self) -> String {
        if self.wan.is_empty() { String::new() } else { format!(" ({})", self.wan) }
    }

    fn poll_at(&self) -> Option<Instant> {
        let due = self.due.filter(|_| self.doing.is_none());
        let sinks = self.sinks.iter().filter_map(Sink::poll_at).filter(|_| self.met);
        [due, self.failing.as_ref().map(|f| f.tell)].into_iter().flatten().chain(sinks).min()
    }

    /// How many operators can be asked.
    fn operators(&self, sources: &[Source], now: Instant) -> u32 {
        let usable = sources.iter().zip(&self.views).filter(|(_, view)| view.is_usable(now));
        u32::try_from(survey::operators(usable.map(|(source, _)| source))).unwrap_or(1).max(1)
    }

    /// Looks soon: something has changed.
    fn trigger(&mut self, now: Instant) {
        if !matches!(self.way, LookupPath::Ready(_)) {
            return;
        }
        let at = (now + SETTLE).max(self.triggered.map_or(now, |last| last + CALM));
        if self.doing.is_some() || self.survey.is_some() {
            self.again = true;
            return;
        }
        self.triggered = Some(at);
        self.urgent = true;
        self.failed.clear();
        (self.previous, self.returning) = (None, None);
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    fn take_way(&mut self, now: Instant, way: &LookupPath) {
        if self.way == *way {
            return;
        }
        // What was found by the old way says nothing.
        (self.doing, self.survey, self.returning, self.previous) = (None, None, None, None);
        self.failed.clear();
        self.urgent = true;
        self.way = way.clone();
        self.due = Some(if matches!(way, LookupPath::None(_)) { now + NO_WAY } else { now });
    }

    fn last_problem(&self) -> Rc<str> {
        let last = self.views.iter().filter_map(|view| match &view.last {
            Some((at, Err(why))) => Some((*at, why)),
            _ => None,
        });
        last.max_by_key(|(at, _)| *at)
            .map_or_else(|| "no source answers".into(), |(_, why)| Rc::clone(why))
    }

    /// No address was found.
    fn fail(&mut self, now: Instant, why: Rc<str>, random: &mut u64, out: &mut Vec<Effect>) {
        self.survey = None;
        self.failed.clear();
        self.rounds += 1;
        self.wait(now, random);
        match &mut self.failing {
            Some(failing) => failing.why = why,
            None => {
                let (tell, gap) = (now + STILL, STILL);
                self.failing = Some(Failing { since: now, why: Rc::clone(&why), tell, gap });
                out.push(event(What::ExternalLost {
                    again: false,
                    why,
                    family: self.family,
                    wan: self.wan(),
                }));
            }
        }
    }

    /// Waits after a round without result, longer each time.
    fn wait(&mut self, now: Instant, random: &mut u64) {
        let wait =
            AGAIN.get(self.rounds.saturating_sub(1)).or(AGAIN.last()).copied().unwrap_or(300);
        self.due = Some(jitter(now, Duration::from_secs(wait), random));
        self.urgent = true;
    }

    /// Tells that it still cannot be found: after 1 hour, 2 more, 4 more.
    fn tell_still(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let (family, wan) = (self.family, self.wan());
        let Some(failing) = self.failing.as_mut().filter(|failing| failing.tell <= now) else {
            return;
        };
        failing.gap *= 2;
        failing.tell = now + failing.gap;
        out.push(event(What::ExternalLost {
            again: true,
            why: Rc::clone(&failing.why),
            family,
            wan,
        }));
    }

    fn judge_nat(&mut self, found: &Found, out: &mut Vec<Effect>) {
        let Some(local) = found.local.filter(|_| self.family == Family::V4) else { return };
        let nat = Nat::of(local, found.address);
        if self.nat.replace(nat) == Some(nat) {
            return;
        }
        let text = match nat {
            Nat::None | Nat::Other => None,
            Nat::CarrierGrade => Some(format!(
                "This system's address{} is {local}: the provider translates addresses (carrier-grade NAT), so nothing \
                 reaches it from outside under {}. Ask the provider for a public address, or use IPv6",
                self.label(),
                found.address
            )),
            Nat::Double => Some(format!(
                "This system's address{} is {local}, the internet sees {}: another router translates in front of it (double \
                 NAT), and must forward what is to reach this system",
                self.label(),
                found.address
            )),
        };
        out.extend(text.map(|text| note(Severity::Warning, text)));
        out.push(Effect::Save);
    }
}

/// A lookup of the daemon's that could not be made is a source's failure like any other.
impl NotFound {
    /// With this reason.
    #[must_use]
    pub fn because(why: &str) -> Self {
        Self { why: why.into(), unwanted: false }
    }
}

/// Up to a tenth later, so that a thousand routers do not ask at once.
fn jitter(now: Instant, wait: Duration, random: &mut u64) -> Instant {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    let part = u32::try_from(*random % 1001).unwrap_or(0);
    now + wait + wait / 10_000 * part
}

fn event(what: What) -> Effect {
    Effect::Emit(Event { monitor: Monitor::Ddns, owner: 0, what })
}

fn note(severity: Severity, text: String) -> Effect {
    event(What::Note { severity, text: text.into() })
}

/// Warnings about a list of sources at the start.
#[must_use]
pub fn doubts(sources: &[Source]) -> Vec<String> {
    let mut doubts = Vec::new();
    match sources {
        [only] => doubts.push(format!("sources has only {only}: whatever it says is believed")),
        [only, ..] if survey::operators(sources.iter()) == 1 => {
            let who = &only.operator;
            doubts.push(format!(
                "sources has only sources of {who}: whatever one of them says is believed"
            ));
        }
        _ => {}
    }
    if !sources.is_empty() && !sources.iter().any(Source::is_proven) {
        let why = if cfg!(feature = "tls") { "" } else { " (this build, nano, has no HTTPS)" };
        doubts.push(format!(
            "sources are asked by HTTP and DNS only, and both can be forged by whoever is on the way{why}"
        ));
    }
    doubts
}

#[cfg(test)]
mod tests;
