//! The whole loop through days of weather, from seeds. Each seed draws some kinds of faults; what
//! is true is known here, and what the program said and did is held against it.
//!
//! `SEED=n cargo test --test world swarm` runs one seed and prints its timeline.

mod services;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use imon::base::time::Instant;
use imon::engine::world::Arrived;
use imon::engine::world::Ending;
use imon::event::Monitor;
use imon::kernel::{Link, PROTOCOL};
use libtest_mimic::{Failed, Trial};

use crate::kernel::{Address, Flow, Hop, Kind as RouteKind, MAIN, Mode, Route, Rule, scope};
use crate::networks::Network;
use crate::random::Random;
use crate::sim::{Call, INSTANCE, SimWorld, seconds};

const SECOND: Duration = Duration::from_secs(1);
const DAY: u64 = 86_400;
const SEEDS: u64 = 200;
/// Trials that share the seeds, so that they can run at once.
const PARTS: u64 = 8;
/// What the kernel tells of is known within this.
const PROMPT: Duration = Duration::from_millis(50);
/// A year and a week take at most this.
const LONGEST: Duration = Duration::from_secs(60);
const FEWEST_FAULTS: usize = 20;
/// A kind of fault that is drawn fewer times than this is not tested.
const FEWEST_OF_A_KIND: usize = 10;

const INTERNET: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const WATCHED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const GATEWAYS: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 168, 42, 1), Ipv4Addr::new(192, 168, 62, 1)];
const ANOTHER: &str = "another";

const HUP: Arrived = Arrived { stop: false, reload: true, check_now: false, child: false };
const USR1: Arrived = Arrived { stop: false, reload: false, check_now: true, child: false };
const TERM: Arrived = Arrived { stop: true, reload: false, check_now: false, child: false };

/// The enum, and the list of all that it has.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident,)*) => {
        /// Kinds of faults.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        enum Kind {
            $($(#[$doc])* $kind,)*
        }

        const KINDS: &[Kind] = &[$(Kind::$kind,)*];
    };
}

kinds! {
    /// The cable is out.
    Carrier,
    /// The link is set down, and up again by a manager that sets its default route.
    Down,
    /// There is no address any more, then there is.
    Address,
    /// An address goes and comes back within moments, as with DHCP.
    Renewal,
    /// The gateway is silent,
    Gateway,
    /// or what is behind it,
    Upstream,
    /// or the gateway says that it goes no further.
    Rejection,
    /// Packets are slow, but not too slow.
    Delay,
    /// Some packets are lost.
    Loss,
    /// The monitored address itself does not answer.
    Watched,
    /// SIGHUP with the same file, each second of an outage.
    SameFile,
    /// With another file, with one that is not to be read, and with another while no socket is to
    /// be had.
    OtherFile,
    BadFile,
    RefusedFile,
    CheckNow,
    Suspend,
    ClockStep,
    DiskFull,
    DiskStall,
    /// Scripts fail, or hang.
    ScriptFails,
    ScriptHangs,
    /// `kill -9`, and a new start of this instance or of another.
    Killed,
    Replaced,
    /// The rules and routes of the program are taken away by somebody.
    Flushed,
    /// A flood of news, more than there is room for.
    Overrun,
    /// A network gets another external address.
    External,
    /// Any call fails.
    Errno,
    /// A name server is silent, refuses, lies, cuts its answers off, or is slow.
    NameServer,
    /// A name gets another address.
    Renumbered,
    /// Other name servers are configured.
    Resolv,
    /// Somebody on the way answers all questions of DNS.
    Hijacked,
    /// A login page is in the way.
    Portal,
    /// A port is closed, or silent.
    PortClosed,
    /// A network has no IPv6.
    Upstream6,
    /// A page or a name server tells another external address,
    Liar,
    /// or all pages that are not secured do.
    Proxy,
    /// Pages or name servers do not tell it.
    SourceDown,
    /// A provider does not take an address, or its answer does not arrive.
    ProviderDown,
    Unheard,
    /// Workers never end, or without a word.
    WorkerHangs,
    WorkerDies,
    /// Scripts print much.
    Prints,
    /// The power fails.
    Power,
}

use Kind::*;

/// What is true.
#[derive(Default)]
struct Truth {
    /// When each network became usable, or ceased to be.
    usable: [Vec<(Instant, bool)>; 2],
    /// Times in which nothing is held against the program, but for what always holds.
    vague: Vec<(Instant, Instant)>,
    /// When links were lost, of which the kernel tells at once.
    links: Vec<(Instant, usize)>,
    timeline: Vec<(Instant, String)>,
    drawn: BTreeMap<Kind, usize>,
    /// What is the matter with scripts.
    script: Rc<Cell<Option<Kind>>>,
    printed: services::Printed,
}

type Known = Rc<RefCell<Truth>>;

impl Truth {
    /// What each network is at that moment, and since when.
    fn at(&self, wan: usize, now: Instant) -> (bool, Instant) {
        let last = self.usable[wan].iter().rev().find(|(at, _)| *at <= now);
        last.map_or((true, Instant::ZERO), |(at, usable)| (*usable, *at))
    }

    fn is_vague(&self, from: Instant, to: Instant) -> bool {
        self.vague.iter().any(|(begin, end)| *begin <= to && from <= *end)
    }

    /// From when to when a network was not usable.
    fn outages(&self, wan: usize, end: Instant) -> Vec<(Instant, Instant)> {
        let mut found = Vec::new();
        let mut began = None;
        for (at, usable) in &self.usable[wan] {
            match (usable, began) {
                (false, None) => began = Some(*at),
                (true, Some(begin)) => {
                    found.push((begin, *at));
                    began = None;
                }
                _ => {}
            }
        }
        found.extend(began.map(|begin| (begin, end)));
        found
    }
}

/// One seed.
struct Scenario {
    seed: u64,
    interval: u64,
    length: u64,
    /// 200 pings a second, whose replies are collected.
    floods: bool,
}

impl Scenario {
    fn config(&self, pingcount: u32) -> String {
        let interval = self.interval;
        let (often, pingcount, more) = if self.floods {
            ("0.1".to_owned(), 7 + pingcount, "198.51.100.8,198.51.100.9")
        } else {
            (interval.to_string(), pingcount, "")
        };
        let prefer = self.seed.is_multiple_of(2);
        let services::Settings { ddns, updown, ping, failover, targets } =
            services::settings(self.seed, interval);
        let more = if self.floods { more } else { ping.as_str() };
        format!(
            r#"{{"global": {{"action": "/script"}},
            "ddns": {{"enable": true, {ddns}}},
            "updown": {{"enable": true, "interval": {interval}, "pingcount": 2, "pingwait": 1, "monitorip": "{WATCHED}",
                {updown}}},
            "ping": {{"enable": true, "interval": {often}, "pingcount": {pingcount}, "pingwait": 1,
                "monitorip": "{INTERNET},{more}"}},
            "failover": {{"enable": true, "interval": {interval}, "pingcount": 2, "pingwait": 1,
                "prefer-primary": {prefer}, {failover}
                "primary-if": "wan0", "primary-name": "a", "primary-gw": "{}", "primary-ping": "{targets}",
                "standby-if": "wan1", "standby-name": "b", "standby-gw": "{}", "standby-ping": "{targets}"}}}}"#,
            GATEWAYS[0], GATEWAYS[1]
        )
    }

    /// Within this a network that has ceased to be usable is known to be, and one that is again.
    fn bound(&self) -> Duration {
        SECOND * u32::try_from(self.interval * 2 + 8).unwrap()
    }

    fn run(&self) -> Result<Truth, String> {
        let known = Known::default();
        let mut random = Random::new(self.seed);
        let mut world = router(self.seed);
        services::prints(&mut world, &known.borrow().printed);
        self.draw(&mut world, &known, &mut random);
        for instance in [INSTANCE, ANOTHER] {
            world.files.insert(file(instance).into(), self.config(2).into());
        }
        let end = at(self.length);
        world.signal(end, TERM);
        let foreign = Rc::new(foreign(&world));
        let mut second = 60;
        while second < self.length {
            let known = Rc::clone(&known);
            let (bound, foreign) = (self.bound(), Rc::clone(&foreign));
            world.when(at(second), move |world| watch(world, &known.borrow(), bound, &foreign));
            second += 97.max(self.length / 4000);
        }
        let (mut instance, mut starts) = (INSTANCE, 0);
        loop {
            world = world.start(instance);
            if !world.killed {
                break;
            }
            starts += 1;
            if known
                .borrow()
                .timeline
                .iter()
                .rev()
                .any(|(at, what)| *at == world.time() && what.contains("Replaced"))
            {
                instance = if instance == INSTANCE { ANOTHER } else { INSTANCE };
            }
        }
        assert!(starts < 1000);
        self.judge(&mut world, &known.borrow(), end);
        let wrong = std::mem::take(&mut world.wrong);
        let known = std::mem::take(&mut *known.borrow_mut());
        let replayed = std::env::var("SEED").is_ok();
        if replayed || !wrong.is_empty() {
            let story = story(&world, &known, &wrong);
            if !wrong.is_empty() {
                return Err(story);
            }
            println!("{story}");
        }
        Ok(known)
    }

    /// Draws what happens.
    fn draw(&self, world: &mut SimWorld, known: &Known, random: &mut Random) {
        let mut kinds: Vec<Kind> = KINDS.iter().copied().filter(|_| random.percent(40)).collect();
        kinds.extend([*random.pick(&[Carrier, Gateway, Upstream]), *random.pick(KINDS)]);
        let script = Rc::clone(&known.borrow().script);
        let mode = Rc::clone(&script);
        world.script = Box::new(move |_: &Call| match mode.get() {
            Some(ScriptFails) => (Duration::from_millis(20), Ending::Status(1)),
            Some(ScriptHangs) => (SECOND * 100_000, Ending::Status(0)),
            _ => (Duration::from_millis(20), Ending::Status(0)),
        });
        let mut second = 300 + random.below(600) as u64;
        while second + 4000 < self.length {
            let length = 90 + random.below(900) as u64;
            self.fault(world, known, *random.pick(&kinds), second, length, random);
            // Sometimes another comes meanwhile.
            if random.percent(30) {
                let (later, other) = (random.below(80) as u64, *random.pick(&kinds));
                self.fault(
                    world,
                    known,
                    other,
                    second + later,
                    60 + random.below(1200) as u64,
                    random,
                );
            }
            second += length + 600 + random.below(self.length as usize / 60) as u64;
        }
    }

    fn fault(
        &self,
        world: &mut SimWorld,
        known: &Known,
        kind: Kind,
        second: u64,
        length: u64,
        random: &mut Random,
    ) {
        let wan = random.below(2);
        let from = at(second) + Duration::from_millis(random.below(1000) as u64);
        let to = from + SECOND * u32::try_from(length).unwrap();
        *known.borrow_mut().drawn.entry(kind).or_default() += 1;
        let vague = |until: Instant| {
            known.borrow_mut().vague.push((from, until + self.bound() + SECOND * 5))
        };
        let (index, seed) = (3 + wan as u32, self.seed);
        let mut deed = |at: Instant, what: &str, deed: Box<dyn FnOnce(&mut SimWorld)>| {
            let (known, what) = (Rc::clone(known), format!("{kind:?} wan{wan}: {what}"));
            world.when(at, move |world| {
                deed(world);
                let mut known = known.borrow_mut();
                known.timeline.push((world.time(), what));
                for wan in 0..2 {
                    let usable = is_usable(world, wan, seed);
                    if known.at(wan, world.time()).0 != usable {
                        known.usable[wan].push((world.time(), usable));
                    }
                }
            });
        };
        match kind {
            Carrier => {
                known.borrow_mut().links.push((from, wan));
                deed(from, "out", Box::new(move |w| w.kernel.set_plugged(index, false)));
                deed(to, "in", Box::new(move |w| w.kernel.set_plugged(index, true)));
            }
            Down => {
                known.borrow_mut().links.push((from, wan));
                deed(from, "down", Box::new(move |w| w.kernel.set_up(index, false).unwrap()));
                deed(to, "up", Box::new(move |w| manage(w, wan)));
            }
            Address | Renewal => {
                let to = if kind == Renewal { from + Duration::from_millis(150) } else { to };
                if kind == Renewal {
                    vague(to);
                }
                deed(from, "gone", Box::new(move |w| _ = w.kernel.remove_address(&address(wan))));
                deed(to, "there", Box::new(move |w| manage(w, wan)));
            }
            Gateway => {
                deed(from, "silent", Box::new(move |w| w.networks[wan].has_gateway = false));
                deed(to, "answers", Box::new(move |w| w.networks[wan].has_gateway = true));
            }
            Upstream | Rejection => {
                let rejects = kind == Rejection;
                let set = move |has| {
                    move |w: &mut SimWorld| {
                        (w.networks[wan].has_upstream, w.networks[wan].rejects) = (has, rejects)
                    }
                };
                deed(from, "dead", Box::new(set(false)));
                deed(to, "alive", Box::new(set(true)));
            }
            Delay => {
                deed(
                    from,
                    "slow",
                    Box::new(move |w| w.networks[wan].delay = Duration::from_millis(700)),
                );
                deed(
                    to,
                    "fast",
                    Box::new(move |w| w.networks[wan].delay = Duration::from_millis(20)),
                );
            }
            Loss => {
                // What changes often is damped for a while.
                vague(to + SECOND * 900);
                deed(from, "some", Box::new(move |w| w.networks[wan].loss = 20));
                deed(to, "none", Box::new(move |w| w.networks[wan].loss = 0));
            }
            Watched => {
                deed(
                    from,
                    "silent",
                    Box::new(|w| w.networks.iter_mut().for_each(|n| n.dead = vec![WATCHED.into()])),
                );
                deed(
                    to,
                    "answers",
                    Box::new(|w| w.networks.iter_mut().for_each(|n| n.dead.clear())),
                );
            }
            SameFile => {
                deed(from, "dead", Box::new(move |w| w.networks[wan].has_upstream = false));
                deed(
                    from,
                    "HUP",
                    Box::new(|w| (0..80).for_each(|n| w.signal(w.time() + SECOND * n, HUP))),
                );
                deed(
                    from + SECOND * 80,
                    "alive",
                    Box::new(move |w| w.networks[wan].has_upstream = true),
                );
            }
            OtherFile | BadFile | RefusedFile => {
                let text = if kind == BadFile {
                    "{".to_owned()
                } else {
                    self.config(3 + random.below(3) as u32)
                };
                let old = self.config(2);
                let set = |text: String| {
                    move |w: &mut SimWorld| {
                        for instance in [INSTANCE, ANOTHER] {
                            w.files.insert(file(instance).into(), text.clone().into());
                        }
                        w.signal(w.time(), HUP);
                    }
                };
                if kind == RefusedFile {
                    deed(from, "no sockets", Box::new(|w| w.no_pings = Some(libc::EPERM)));
                }
                deed(from, "another", Box::new(set(text)));
                deed(from + SECOND * 30, "sockets", Box::new(|w| w.no_pings = None));
                deed(from + SECOND * 60, "the old one", Box::new(set(old)));
            }
            CheckNow => {
                for n in 0..20 {
                    deed(from + SECOND / 7 * n, "USR1", Box::new(|w| w.signal(w.time(), USR1)));
                }
            }
            Suspend => {
                vague(from + SECOND);
                deed(from, "slept", Box::new(|w| w.slept += SECOND * 1000));
            }
            ClockStep => {
                let by = if random.percent(50) { -86_400 } else { 86_400 * 30 };
                deed(from, "stepped", Box::new(move |w| w.stepped += by));
            }
            DiskFull => {
                deed(from, "full", Box::new(|w| w.disk_error = Some(libc::ENOSPC)));
                deed(to, "free", Box::new(|w| w.disk_error = None));
            }
            DiskStall => {
                deed(from, "stalls", Box::new(|w| w.stall = SECOND * 8));
                deed(to, "writes", Box::new(|w| w.stall = Duration::ZERO));
            }
            ScriptFails | ScriptHangs => {
                let (begin, end) =
                    (Rc::clone(&known.borrow().script), Rc::clone(&known.borrow().script));
                deed(from, "from now on", Box::new(move |_| begin.set(Some(kind))));
                deed(to, "no more", Box::new(move |_| end.set(None)));
            }
            Killed | Replaced => {
                vague(from + SECOND);
                let text = self.config(2);
                // It would not be started with a file that is bad, or without sockets.
                let kill = move |w: &mut SimWorld| {
                    reset_files(w, &text);
                    (w.no_pings, w.failing, w.killed) = (None, None, true);
                };
                deed(from, "killed", Box::new(kill));
            }
            Flushed => deed(from, "flushed", Box::new(flush)),
            Overrun => {
                deed(from, "no room", Box::new(|w| w.kernel.ear.room = Some(0)));
                deed(from + SECOND, "out", Box::new(move |w| w.kernel.set_plugged(index, false)));
                deed(to, "in", Box::new(move |w| w.kernel.set_plugged(index, true)));
                deed(to + SECOND, "room", Box::new(|w| w.kernel.ear.room = None));
            }
            External => {
                let last = random.below(200) as u8;
                deed(
                    from,
                    "another",
                    Box::new(move |w| {
                        w.networks[wan].external = [81, 2, 70 + wan as u8, last].into()
                    }),
                );
            }
            Errno => {
                vague(to);
                let (after, errno) = (
                    random.below(300) as u64,
                    *random.pick(&[libc::ENOMEM, libc::ENOBUFS, libc::EMFILE, libc::EIO]),
                );
                deed(from, "armed", Box::new(move |w| w.failing = Some((after, errno))));
                deed(to, "disarmed", Box::new(|w| w.failing = None));
            }
            other => {
                if other == Power {
                    vague(from + SECOND);
                    let text = self.config(2);
                    deed(from, "the file", Box::new(move |w| reset_files(w, &text)));
                }
                for (at, what, what_happens) in
                    services::deeds(other, wan, (from, to), known, random)
                {
                    deed(at, what, what_happens);
                }
            }
        }
    }

    /// Holds what was said and done against what is true.
    fn judge(&self, world: &mut SimWorld, known: &Truth, end: Instant) {
        let mut wrong = Vec::new();
        for wan in 0..2 {
            self.judge_wan(world, known, wan, end, &mut wrong);
        }
        self.judge_updown(world, known, end, &mut wrong);
        self.judge_scripts(world, known, &mut wrong);
        if !self.floods {
            services::judge(world, known, &mut wrong);
        }
        match world.lines.last() {
            Some(line) if line.text == "Stopped" => {
                if line.at.since(end) > Duration::from_millis(2500) {
                    wrong.push((end, format!("the end took {:?}", line.at.since(end))));
                }
            }
            last => wrong.push((end, format!("it has not ended: {last:?}"))),
        }
        // The default route stays, so that there is internet without the program as well.
        let stays = |r: &&Route| r.table == MAIN && r.prefix == 0;
        let mine = |r: &&Route| r.protocol == PROTOCOL;
        let routes: Vec<_> =
            world.kernel.routes4().iter().filter(mine).filter(|r| !stays(r)).collect();
        let rules: Vec<_> =
            world.kernel.rules(false).iter().filter(|r| r.protocol == PROTOCOL).collect();
        if !routes.is_empty() || !rules.is_empty() {
            wrong.push((end, format!("it has left {routes:?} {rules:?}")));
        }
        let most = (world.pings + world.sent) * 3 + world.calls.len() as u64 * 4 + self.length;
        if world.waits > most {
            wrong.push((end, format!("{} waits for {} pings", world.waits, world.pings)));
        }
        world.wrong.extend(wrong);
    }

    /// Every outage of a network is told once, and nothing else is.
    fn judge_wan(
        &self,
        world: &SimWorld,
        known: &Truth,
        wan: usize,
        end: Instant,
        wrong: &mut Vec<(Instant, String)>,
    ) {
        let bound = self.bound();
        let said = |what: &str| -> Vec<Instant> {
            // Of changes that come often only some have a line of their own.
            let (text, often) =
                (format!("(wan{wan}) is now {what}"), format!("(wan{wan}) changed "));
            let often =
                |text: &str| text.contains(&often) && text.contains(&format!(", now {what}"));
            let told =
                world.lines.iter().filter(|line| line.text.ends_with(&text) || often(&line.text));
            told.map(|line| line.at).collect()
        };
        let (offline, online) = (said("offline"), said("online"));
        let outages = known.outages(wan, end);
        for (begin, over) in &outages {
            // Beside another outage it is one with that.
            let near = |a: Instant, b: Instant| a.max(b).since(a.min(b)) <= bound;
            let beside = outages
                .iter()
                .any(|(b, o)| (b, o) != (begin, over) && (near(*b, *over) || near(*o, *begin)));
            if over.since(*begin) <= bound
                || beside
                || known.is_vague(*begin, *over + bound)
                || *over + bound >= end
            {
                continue;
            }
            let times = |all: &[Instant], from: Instant, to: Instant| {
                all.iter().filter(|at| **at >= from && **at <= to).count()
            };
            let (in_time, in_all) =
                (times(&offline, *begin, *begin + bound), times(&offline, *begin, *over + bound));
            if (in_time, in_all) != (1, 1) {
                wrong.push((
                    *begin,
                    format!("wan{wan} fails and is said to be offline {in_time} times in time, {in_all} in all"),
                ));
            }
            let told = known.links.contains(&(*begin, wan))
                && times(&offline, *begin, *begin + PROMPT) == 0;
            if told {
                wrong.push((
                    *begin,
                    format!("wan{wan} has lost its link, which is not said at once"),
                ));
            }
            let back = times(&online, *over, *over + bound);
            if back != 1 {
                wrong.push((
                    *over,
                    format!("wan{wan} works again and is said to be online {back} times"),
                ));
            }
        }
        for at in &offline {
            let begin = Instant::ZERO + at.since(Instant::ZERO).saturating_sub(bound);
            let true_ = outages.iter().any(|(b, o)| *b <= *at && *o >= begin);
            if !true_ && !known.is_vague(begin, *at) {
                wrong.push((*at, format!("wan{wan} is said to be offline and works")));
            }
        }
    }

    /// The monitored address, by what became of each of its probes.
    fn judge_updown(
        &self,
        world: &SimWorld,
        known: &Truth,
        end: Instant,
        wrong: &mut Vec<(Instant, String)>,
    ) {
        let to = IpAddr::V4(WATCHED);
        let probes =
            world.probes.iter().flatten().filter(|probe| probe.wan.is_none() && probe.to == to);
        let probes = services::believed(world, probes);
        let mut runs: Vec<(Instant, Instant, usize)> = Vec::new();
        let mut run: Option<(Instant, usize)> = None;
        for probe in probes {
            match (probe.answered, run) {
                (None, None) => run = Some((probe.at, 1)),
                (None, Some((began, n))) => run = Some((began, n + 1)),
                (Some(over), Some((began, n))) => {
                    runs.push((began, over, n));
                    run = None;
                }
                (Some(_), None) => {}
            }
        }
        runs.extend(run.map(|(began, n)| (began, end, n)));
        let lines: Vec<_> =
            world.lines.iter().filter(|line| line.monitor == Some(Monitor::Updown)).collect();
        let said = |what: &str, from: Instant, to: Instant| {
            let text = format!("Monitored IP {WATCHED} {what}");
            lines
                .iter()
                .filter(|line| line.text == text && line.at >= from && line.at <= to)
                .count()
        };
        for (began, over, n) in &runs {
            if *n < 4 || known.is_vague(*began, *over + SECOND) || *over >= end {
                continue;
            }
            let (offline, online) =
                (said("offline", *began, *over), said("online", *over, *over + SECOND * 2));
            if (offline, online) != (1, 1) {
                wrong.push((
                    *began,
                    format!(
                        "{WATCHED} is said to be offline {offline} times, online {online} times"
                    ),
                ));
            }
            let lasted = over.since(*began).as_secs();
            let words = format!(
                "{}:{}:{}:{}",
                lasted / DAY,
                lasted / 3600 % 24,
                lasted / 60 % 60,
                lasted % 60
            );
            let told = world
                .calls
                .iter()
                .find(|call| call.words[0] == "updown-online" && call.at >= *over);
            let told =
                told.filter(|call| call.at.since(*over) < SECOND).map(|call| call.words[2].clone());
            // Checks that overlap are judged in the order of their start.
            let overlap = |(at, what): &(Instant, String)| {
                what.starts_with("CheckNow") && over.since(*at) < SECOND * 5
            };
            let overlaps = known.timeline.iter().rev().any(overlap);
            if told.as_ref().is_some_and(|told| *told != words) && !overlaps {
                wrong.push((*over, format!("the outage lasted {words}, it is said {told:?}")));
            }
        }
        let text = format!("Monitored IP {WATCHED} offline");
        for line in lines.iter().filter(|line| line.text == text) {
            let true_ =
                runs.iter().any(|(b, o, n)| *n >= 2 && *b <= line.at && line.at <= *o + SECOND);
            if !true_ && !known.is_vague(line.at, line.at) {
                wrong.push((line.at, format!("{WATCHED} is said to be offline and answers")));
            }
        }
    }

    /// The scripts tell what the log tells, in its order.
    fn judge_scripts(&self, world: &SimWorld, known: &Truth, wrong: &mut Vec<(Instant, String)>) {
        let breaks = [ScriptHangs, Killed, Replaced, Errno, Suspend, Power];
        if breaks.iter().any(|kind| known.drawn.contains_key(kind)) {
            return;
        }
        let mut told = Vec::new();
        for line in &world.lines {
            if line.text == format!("Monitored IP {WATCHED} offline") {
                told.push("updown-offline");
            } else if line.monitor == Some(Monitor::Updown)
                && line.text.starts_with("Outage Duration")
            {
                told.push("updown-online");
            } else if line.text.starts_with("Network Failover to Primary") {
                told.push("failover-primary");
            } else if line.text.starts_with("Network Failover to Standby") {
                told.push("failover-standby");
            }
        }
        let all = ["updown-offline", "updown-online", "failover-primary", "failover-standby"];
        for kind in ["updown", "failover"] {
            let told: Vec<_> = told.iter().copied().filter(|name| name.starts_with(kind)).collect();
            let names = world.calls.iter().map(|call| call.words[0].as_str());
            let called: Vec<_> =
                names.filter(|name| all.contains(name) && name.starts_with(kind)).collect();
            if told != called {
                let at = told
                    .iter()
                    .zip(&called)
                    .position(|(a, b)| a != b)
                    .unwrap_or(told.len().min(called.len()));
                wrong.push((
                    Instant::ZERO,
                    format!(
                        "{kind}: {} lines and {} calls differ from the {at}th on",
                        told.len(),
                        called.len()
                    ),
                ));
            }
        }
    }
}

/// What must hold at any moment.
fn watch(world: &mut SimWorld, known: &Truth, bound: Duration, before: &(Vec<Route>, Vec<Rule>)) {
    let now = world.time();
    let mut wrong = Vec::new();
    let mut say = |text: String| wrong.push((now, text));
    if world.listeners() > 3 {
        say(format!("{} sockets for news are open", world.listeners()));
    }
    let way = world.kernel.way(&Flow::to(INTERNET.into())).ok().map(|way| way.index as usize);
    let states = [0, 1].map(|wan| known.at(wan, now));
    let since = now.since(Instant::ZERO).saturating_sub(bound);
    let settled = states.iter().all(|(_, at)| at.since(Instant::ZERO) <= since);
    let vague = known.is_vague(Instant::ZERO + since, now);
    if settled && !vague && states.iter().any(|(usable, _)| *usable) {
        match way.and_then(|index| index.checked_sub(3)).and_then(|wan| states.get(wan)) {
            Some((true, _)) => {}
            Some((false, _)) => say(format!("traffic goes by {way:?} which does not work")),
            None => say(format!("there is no route ({way:?})")),
        }
    }
    if !known.is_vague(Instant::ZERO + since, now) {
        watch_published(world, known, &mut say);
    }
    services::watch(world, known, &mut say);
    if foreign(world) != *before {
        say("something of others was changed".to_owned());
    }
    world.wrong.extend(wrong);
}

/// What was published is true, and noted where the next start finds it.
fn watch_published(world: &SimWorld, known: &Truth, say: &mut dyn FnMut(String)) {
    let now = world.time();
    let past = |secs: u32| Instant::ZERO + now.since(Instant::ZERO).saturating_sub(SECOND * secs);
    let quiet = |secs: u32| {
        let calm = |wan: usize| known.at(wan, now).1 <= past(secs);
        let mut lately = known.timeline.iter().rev().take_while(|(at, _)| *at > past(secs));
        calm(0) && calm(1) && lately.next().is_none() && !known.is_vague(past(secs), now)
    };
    let works =
        services::can_be_found(world) && world.disk_error.is_none() && known.script.get().is_none();
    if !works || !quiet(300) {
        return;
    }
    // Each instance knows only what it has published itself.
    let by_it = |call: &Call| {
        call.env.iter().any(|(name, value)| *name == "IMON_INSTANCE" && value == world.instance())
    };
    let published = world
        .calls
        .iter()
        .rev()
        .find(|call| call.words[0] == "ddns-ip-update" && call.succeeds && by_it(call));
    if quiet(900)
        && published.is_some_and(|call| {
            Some(call.words[1].clone()) != world.external().map(|a| a.to_string())
        })
    {
        say(format!(
            "{:?} is published, {:?} is true",
            published.map(|call| &call.words[1]),
            world.external()
        ));
    }
    let file = |instance: &str| {
        world.files.get(std::path::Path::new(&format!("/var/lib/imon/{instance}.ddns.json")))
    };
    let noted = |address: &str| {
        let mut files = [INSTANCE, ANOTHER].into_iter().filter_map(file);
        files.any(|bytes| String::from_utf8_lossy(bytes).contains(address))
    };
    if published.is_some_and(|call| !noted(&call.words[1])) {
        say(format!("{:?} is published and not noted", published.map(|call| &call.words[1])));
    }
}

/// Routes and rules that are nobody's business.
fn foreign(world: &SimWorld) -> (Vec<Route>, Vec<Rule>) {
    let by_lan = |r: &&Route| r.protocol != PROTOCOL && r.hops.iter().all(|hop| hop.index == 2);
    let routes = world.kernel.routes4().iter().filter(by_lan).filter(|r| !r.hops.is_empty());
    let rules = world.kernel.rules(false).iter().filter(|r| r.protocol != PROTOCOL);
    (routes.cloned().collect(), rules.cloned().collect())
}

/// Gives both instances their first configuration.
fn reset_files(world: &mut SimWorld, text: &str) {
    for instance in [INSTANCE, ANOTHER] {
        world.files.insert(file(instance).into(), text.into());
    }
}

/// Takes away what the program has made.
fn flush(world: &mut SimWorld) {
    let rules: Vec<_> =
        world.kernel.rules(false).iter().filter(|r| r.protocol == PROTOCOL).cloned().collect();
    for rule in rules {
        world.kernel.remove_rule(&rule, Some(rule.priority)).unwrap();
    }
    let routes: Vec<_> =
        world.kernel.routes4().iter().filter(|r| r.protocol == PROTOCOL).cloned().collect();
    for route in routes {
        world.kernel.remove_route(&route, true).unwrap();
    }
}

fn at(second: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(second)
}

fn file(instance: &str) -> String {
    imon::config::source::ConfigSource::instance(instance, None).file
}

fn address(wan: usize) -> Address {
    Address::of(3 + wan as u32, [192, 168, if wan == 0 { 42 } else { 62 }, 2])
}

/// What a network manager does with a WAN: the link, its address, its default route.
fn manage(world: &mut SimWorld, wan: usize) {
    let index = 3 + wan as u32;
    world.kernel.set_up(index, true).unwrap();
    let _ = world.kernel.add_address(&address(wan));
    let hop = Hop { index, gateway: Some(GATEWAYS[wan].into()), ..Hop::default() };
    let route = Route { metric: 100 + wan as u32, ..route([0; 4], 0, hop) };
    let _ = world.kernel.add_route(&route, Mode::REPLACE);
    services::manage6(world, wan);
}

fn route(destination: [u8; 4], prefix: u8, hop: Hop) -> Route {
    Route {
        table: MAIN,
        destination: destination.into(),
        prefix,
        tos: 0,
        metric: 0,
        kind: RouteKind::Unicast,
        scope: scope::UNIVERSE,
        protocol: 16,
        source: None,
        hops: vec![hop],
    }
}

/// A router with a LAN, two networks to the internet, and things that belong to others.
fn router(seed: u64) -> SimWorld {
    let mut world = SimWorld::new(seed + 1);
    world.kernel.settings.forwarding = true;
    for (index, name) in [(2, "lan0"), (3, "wan0"), (4, "wan1")] {
        world.kernel.add_link(Link { index, name: name.into(), ..Link::default() }, true).unwrap();
    }
    world.kernel.add_address(&Address::of(2, [192, 168, 92, 1])).unwrap();
    world.kernel.set_up(2, true).unwrap();
    let neighbour =
        Hop { index: 2, gateway: Some(IpAddr::from([192, 168, 92, 7])), ..Hop::default() };
    world.kernel.add_route(&route([10, 9, 0, 0], 16, neighbour), Mode::ADD).unwrap();
    for (wan, gateway) in GATEWAYS.into_iter().enumerate() {
        manage(&mut world, wan);
        world.networks.push(Network::new(3 + wan as u32, gateway));
    }
    services::furnish(&mut world);
    world.probes = Some(Vec::new());
    world
}

/// What this thread has had of a processor, however busy the machine is.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// Whether the internet can be used by a WAN.
fn is_usable(world: &SimWorld, wan: usize, seed: u64) -> bool {
    let index = 3 + wan as u32;
    let carrier = world.kernel.links().any(|l| l.index == index && l.up && l.carrier);
    let address = world.kernel.addresses().iter().any(|a| a.index == index && a.address.is_ipv4());
    carrier && address && services::shows(world, &world.networks[wan], seed)
}

/// All that matters of a run, in its order.
fn story(world: &SimWorld, known: &Truth, wrong: &[(Instant, String)]) -> String {
    let mut all: Vec<(Instant, String)> =
        known.timeline.iter().map(|(at, what)| (*at, format!("    {what}"))).collect();
    all.extend(world.lines.iter().map(|line| (line.at, format!("        {}", line.text))));
    all.extend(wrong.iter().map(|(at, what)| (*at, format!("WRONG {what}"))));
    all.sort_by_key(|(at, _)| *at);
    let near = |at: Instant| {
        std::env::var("SEED").is_ok()
            || wrong.iter().any(|(w, _)| w.max(&at).since(*w.min(&at)) < SECOND * 150)
    };
    let mut text = String::new();
    for (at, what) in all
        .iter()
        .filter(|(at, what)| {
            near(*at) && !what.contains("Reloaded") && !what.contains("Nothing has")
        })
        .take(if std::env::var("SEED").is_ok() { 9999 } else { 80 })
    {
        let _ = writeln!(text, "{:10.3} {what}", seconds(*at));
    }
    text
}

/// Kinds of faults drawn by all seeds, and how many parts have added theirs.
static DRAWN: Mutex<(BTreeMap<Kind, usize>, u64)> = Mutex::new((BTreeMap::new(), 0));

pub fn tests() -> Vec<Trial> {
    if let Some(seed) = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        return vec![Trial::test("swarm::the_seed", move || days(&[seed]).map(drop))];
    }
    let part = |part: u64| {
        Trial::test(format!("swarm::two_days_of_weather_are_told_as_they_are_{part}"), move || {
            let seeds: Vec<u64> = (0..SEEDS).filter(|seed| seed % PARTS == part).collect();
            let drawn = days(&seeds)?;
            let mut all = DRAWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            drawn.into_iter().for_each(|(kind, n)| *all.0.entry(kind).or_default() += n);
            all.1 += 1;
            // Whoever is last knows all; with a filter nobody is.
            let rare =
                |kind: &Kind| all.0.get(kind).copied().unwrap_or_default() < FEWEST_OF_A_KIND;
            match KINDS.iter().find(|kind| all.1 == PARTS && rare(kind)) {
                Some(kind) => Err(format!("{kind:?} was drawn too rarely: {:?}", all.0).into()),
                None => Ok(()),
            }
        })
    };
    let long = [
        (
            "swarm::a_year_at_interval_60",
            Scenario { seed: 1, interval: 60, length: 365 * DAY, floods: false },
        ),
        (
            "swarm::a_week_at_interval_1",
            Scenario { seed: 2, interval: 1, length: 7 * DAY, floods: false },
        ),
    ];
    let long = long.into_iter().map(|(name, scenario)| {
        Trial::test(name, move || {
            let began = processor_time();
            scenario.run()?;
            let took = processor_time() - began;
            println!("{name}: {took:.1?}");
            if took > LONGEST { Err(format!("it took {took:?}").into()) } else { Ok(()) }
        })
    });
    let flood = Trial::test("swarm::afternoons_with_200_pings_a_second", || {
        for seed in 0..3 {
            let scenario = Scenario { seed, interval: 10, length: 10_000, floods: true };
            scenario.run().map_err(|story| format!("seed {seed}\n{story}"))?;
        }
        Ok(())
    });
    (0..PARTS).map(part).chain(long).chain([flood]).collect()
}

fn days(seeds: &[u64]) -> Result<BTreeMap<Kind, usize>, Failed> {
    let mut drawn = BTreeMap::new();
    for seed in seeds {
        let scenario = Scenario { seed: *seed, interval: 10, length: 2 * DAY, floods: false };
        let run = std::panic::catch_unwind(|| scenario.run());
        let known = match run {
            Ok(Ok(known)) => known,
            Ok(Err(story)) => return Err(format!("SEED={seed}\n{story}").into()),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                return Err(format!("SEED={seed} panics: {text}").into());
            }
        };
        let faults: usize = known.drawn.values().sum();
        if faults < FEWEST_FAULTS {
            return Err(format!("SEED={seed} has {faults} faults only").into());
        }
        known.drawn.into_iter().for_each(|(kind, n)| *drawn.entry(kind).or_default() += n);
    }
    Ok(drawn)
}
