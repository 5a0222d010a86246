//! The monitor in simulated time, with sources that fail and lie, providers that refuse, and
//! crashes.

use super::*;
use crate::base::random::Random;
use crate::base::time::Wall;
use crate::monitor::ddns::sinks::Publication;
use crate::monitor::ddns::source::SourceMeans;
use crate::monitor::ddns::update::UpdateOutcome;

const SECOND: Duration = Duration::from_secs(1);
/// 2026-11-24.
const EPOCH: i64 = 1_795_478_400;

fn clock(now: Instant) -> Clock {
    Clock {
        now,
        wall: Wall {
            secs: EPOCH + i64::try_from(now.as_nanos() / 1_000_000_000).unwrap(),
            nanos: 0,
        },
    }
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

fn ip(n: u8) -> IpAddr {
    [203, 0, 113, n].into()
}

fn page(operator: &str) -> Source {
    let means = SourceMeans::Page { secure: true, trace: false };
    Source { text: format!("https://{operator}/").into(), operator: operator.into(), means }
}

/// Four operators of pages, two of name servers.
fn sources() -> Vec<Source> {
    let dns = |name: &str| Source::parse(name).unwrap();
    vec![page("a"), dns("dns:opendns"), page("b"), dns("dns:google"), page("c"), page("d")]
}

fn setup(sources: Vec<Source>, announce_start: bool) -> DdnsSetup {
    let sink = |name: &str, update| SinkSetup { name: name.into(), print: 1, update };
    let sinks = vec![sink("action script", None), sink("home at x", Some(0))];
    DdnsSetup {
        sources,
        tracks: vec![TrackSetup { family: Family::V4, wan: "".into(), sinks }],
        interval: 10 * SECOND,
        announce_start,
        refresh: None,
        seed: 5,
    }
}

/// What is under way.
enum Coming {
    Lookup(LookupId),
    Publication(Box<Publication>),
}

/// What each source says at a time.
type Says = dyn FnMut(Instant, usize) -> Result<Found, NotFound>;
/// What comes of a publication.
type Takes = dyn FnMut(Instant, &Publication) -> UpdateOutcome;

/// Drives one monitor through simulated time: what sources and providers say is scripted. How they
/// behave together is the simulated world's, see `tests/world`.
struct Driver {
    setup: DdnsSetup,
    monitor: Ddns,
    now: Instant,
    coming: Vec<(Instant, Coming)>,
    says: Box<Says>,
    takes: Box<Takes>,
    log: Vec<(Instant, String)>,
    /// Calls of the script and of the provider: when, which, the address.
    published: Vec<(Instant, Option<usize>, IpAddr)>,
    lookups: Vec<(Instant, usize)>,
    file: Saved,
}

impl Driver {
    fn new(
        setup: DdnsSetup,
        says: impl FnMut(Instant, usize) -> Result<Found, NotFound> + 'static,
    ) -> Self {
        let mut driver = Self {
            monitor: Ddns::new(setup.clone()),
            setup,
            now: at(100),
            coming: Vec::new(),
            says: Box::new(says),
            takes: Box::new(|_, _| UpdateOutcome::Done),
            log: Vec::new(),
            published: Vec::new(),
            lookups: Vec::new(),
            file: Saved::default(),
        };
        driver.way("");
        driver
    }

    /// All sources say this.
    fn simple(n: u8) -> Self {
        Self::new(setup(sources(), false), move |_, _| found(n))
    }

    fn says(&mut self, says: impl FnMut(Instant, usize) -> Result<Found, NotFound> + 'static) {
        self.says = Box::new(says);
    }

    fn way(&mut self, name: &str) {
        let way = if name == "none" {
            LookupPath::None("no network works".into())
        } else {
            LookupPath::Ready(name.into())
        };
        self.on(&Observation::Ways(&[way]));
    }

    fn on(&mut self, seen: &Observation<'_>) {
        let mut out = Vec::new();
        self.monitor.on(self.now, seen, &mut out);
        for effect in out {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Lookup(id) => {
                self.lookups.push((self.now, id.source));
                self.coming.push((self.now + Duration::from_millis(20), Coming::Lookup(id)));
            }
            Effect::Publish(publication) => {
                self.published.push((self.now, publication.update, publication.address));
                self.coming.push((self.now + SECOND, Coming::Publication(publication)));
            }
            Effect::Emit(event) => {
                event.log(true, &mut |_, line| self.log.push((self.now, line.to_string())))
            }
            Effect::Save => {
                self.file =
                    Saved::read(self.monitor.saved(clock(self.now)).text().as_bytes()).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    /// Runs for so long.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        let (mut turns, mut at_once) = (self.now, 0);
        loop {
            at_once = if self.now == turns { at_once + 1 } else { 0 };
            turns = self.now;
            assert!(at_once < 1000, "it spins at {:?}", self.now);
            let next = self.coming.iter().map(|(at, _)| *at).min();
            let next = [next, self.monitor.poll_at()].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            match self.coming.iter().position(|(at, _)| *at <= self.now) {
                Some(place) => match self.coming.remove(place).1 {
                    Coming::Lookup(id) => {
                        let result = (self.says)(self.now, id.source);
                        self.on(&Observation::Found(id, &result));
                    }
                    Coming::Publication(p) => {
                        let outcome = (self.takes)(self.now, &p);
                        self.on(&Observation::Published {
                            key: &p.key,
                            address: p.address,
                            outcome: &outcome,
                        });
                    }
                },
                None => self.on(&Observation::Tick),
            }
        }
        self.now = end;
    }

    /// Killed and started again; what was under way is lost.
    fn restart(&mut self) {
        self.coming.clear();
        self.monitor = Ddns::new(self.setup.clone());
        self.monitor.restore(self.file.clone(), clock(self.now));
        self.way("");
    }

    fn lines(&self, text: &str) -> usize {
        self.log.iter().filter(|(_, line)| line.contains(text)).count()
    }

    fn calls(&self) -> Vec<u8> {
        let script = self.published.iter().filter(|(_, update, _)| update.is_none());
        script.map(|(_, _, address)| (1..=255).find(|n| ip(*n) == *address).unwrap()).collect()
    }
}

fn found(n: u8) -> Result<Found, NotFound> {
    Ok(Found { address: ip(n), local: Some(ip(n)) })
}

fn silent() -> Result<Found, NotFound> {
    Err(NotFound::because("no complete answer in time"))
}

#[test]
fn b24_ten_restarts_call_nobody() {
    let mut driver = Driver::simple(1);
    driver.run(10 * SECOND);
    assert_eq!(driver.calls(), [1]);
    assert_eq!(driver.lines("External IP Address changed from unknown to 203.0.113.1"), 1);
    for _ in 0..10 {
        driver.restart();
        driver.run(10 * SECOND);
    }
    assert_eq!((driver.published.len(), driver.lines("changed")), (2, 1));
}

#[test]
fn announce_start_is_the_way_of_the_original() {
    let mut driver = Driver::new(setup(sources(), true), |_, _| found(1));
    driver.run(10 * SECOND);
    driver.restart();
    driver.run(600 * SECOND);
    assert_eq!(driver.calls(), [1, 1]);
    assert_eq!(driver.lines("changed from unknown to 203.0.113.1"), 2);
    // The provider is not to be bothered.
    assert_eq!(driver.published.iter().filter(|(_, update, _)| update.is_some()).count(), 1);
}

#[test]
fn the_first_address_takes_two_operators_of_two_kinds() {
    let mut driver = Driver::simple(1);
    driver.run(SECOND);
    let asked: Vec<usize> = driver.lookups.iter().map(|(_, source)| *source).collect();
    assert_eq!(asked, [0, 1]);
    assert_eq!(driver.calls(), [1]);
}

#[test]
fn a_change_is_confirmed_and_found_within_the_bound() {
    let mut driver = Driver::simple(1);
    driver.run(3600 * SECOND);
    driver.says(|_, _| found(2));
    let from = driver.now;
    driver.run(POLITE);
    assert_eq!(driver.calls(), [1, 2]);
    let (when, ..) = driver.published.iter().find(|(_, _, a)| *a == ip(2)).unwrap();
    assert!(when.since(from) < 80 * SECOND, "{:?}", when.since(from));
    assert_eq!(driver.lines("changed from 203.0.113.1 to 203.0.113.2"), 1);
}

#[test]
fn no_operator_is_asked_twice_in_five_minutes() {
    let mut driver = Driver::simple(1);
    driver.run(SECOND);
    driver.lookups.clear();
    driver.run(86_400 * SECOND);
    for source in 0..sources().len() {
        let times: Vec<Instant> =
            driver.lookups.iter().filter(|(_, s)| *s == source).map(|(at, _)| *at).collect();
        assert!(times.len() > 200, "{source}: {}", times.len());
        let nearest = times.windows(2).map(|pair| pair[1].since(pair[0])).min().unwrap();
        assert!(nearest >= POLITE, "{source}: {nearest:?}");
    }
}

#[test]
fn alternating_answers_change_nothing() {
    let mut flip = 0_u8;
    let mut driver = Driver::simple(1);
    driver.run(10 * SECOND);
    driver.says(move |_, _| {
        flip ^= 1;
        found(1 + flip)
    });
    driver.run(86_400 * SECOND);
    assert!(driver.calls().len() <= 3, "{:?}", driver.calls());
    let disagreements = driver.lines("do not agree");
    assert!(disagreements <= 24, "{disagreements}");
}

#[test]
fn two_sources_that_never_agree_are_told_of_once_an_hour() {
    let two = vec![page("a"), Source::parse("dns:opendns").unwrap()];
    let mut driver =
        Driver::new(setup(two, false), |_, source| found(1 + u8::try_from(source).unwrap()));
    driver.run(Duration::from_secs(3 * 3600 - 60));
    assert!(driver.calls().is_empty());
    assert_eq!(driver.lines("do not agree"), 3);
    assert_eq!(driver.lines("https://a/ says 203.0.113.1; dns:opendns says 203.0.113.2"), 3);
}

#[test]
fn hijacked_dns_is_left_out_for_a_day_and_publishes_nothing() {
    let mut driver = Driver::new(setup(sources(), false), |_, s| {
        if s % 2 == 1 && s < 4 { found(66) } else { found(1) }
    });
    driver.run(3600 * SECOND);
    assert_eq!(driver.calls(), [1]);
    let dns = |w: &Driver| w.lookups.iter().filter(|(_, s)| *s == 1 || *s == 3).count();
    let before = dns(&driver);
    assert!((1..=2).contains(&before), "{before}");
    assert_eq!(driver.lines("somebody on the way answers DNS queries"), before);
    driver.run(80_000 * SECOND);
    assert!(dns(&driver) <= before + 1, "{}", dns(&driver));
}

#[test]
fn b25_nothing_is_found_told_once_then_after_1_2_4_hours() {
    let mut driver = Driver::simple(1);
    driver.run(10 * SECOND);
    driver.says(|_, _| silent());
    driver.run(Duration::from_secs(8 * 3600));
    assert_eq!(driver.lines("%% Unable to obtain External IP Address"), 4);
    let times: Vec<u64> = driver
        .log
        .iter()
        .filter(|(_, line)| line.contains("Unable"))
        .map(|(at, _)| at.as_nanos() / 3_600_000_000_000)
        .collect();
    assert_eq!(times, [0, 1, 3, 7]);
    assert_eq!(driver.calls(), [1]);
    driver.says(|_, _| found(1));
    driver.run(POLITE * 2);
    assert_eq!(driver.lines("External IP Address is obtained again"), 1);
    assert_eq!(driver.calls(), [1], "the same address is no change");
}

#[test]
fn who_does_not_want_to_be_asked_rests_for_an_hour() {
    let mut driver = Driver::simple(1);
    driver.run(10 * SECOND);
    driver.says(|_, s| {
        if s == 4 {
            Err(NotFound { why: "HTTP status 429".into(), unwanted: true })
        } else {
            found(1)
        }
    });
    driver.lookups.clear();
    driver.run(Duration::from_secs(3 * 3600));
    let asked = driver.lookups.iter().filter(|(_, s)| *s == 4).count();
    assert!((2..=4).contains(&asked), "{asked}");
    assert_eq!(driver.lines("Unable"), 0);
}

#[test]
fn a_failed_action_is_tried_five_more_times_and_again_at_the_next_change() {
    let mut driver = Driver::simple(1);
    driver.takes = Box::new(|_, p| {
        if p.update.is_none() {
            UpdateOutcome::Failed("exit status 1".into())
        } else {
            UpdateOutcome::Done
        }
    });
    driver.run(Duration::from_secs(3600));
    let times: Vec<Instant> =
        driver.published.iter().filter(|(_, u, _)| u.is_none()).map(|(at, ..)| *at).collect();
    let gaps: Vec<u64> = times.windows(2).map(|p| p[1].since(p[0]).as_secs() / 60).collect();
    assert_eq!(gaps, [1, 2, 4, 8, 16]);
    assert_eq!(driver.lines("Action script failed 6 times, 203.0.113.1 is not published"), 1);
    // Neither time nor a restart brings another try, an address or a person does.
    driver.restart();
    driver.run(Duration::from_secs(3600));
    assert_eq!(driver.calls().len(), 6);
    driver.says(|_, _| found(2));
    driver.run(POLITE);
    assert!(driver.calls().ends_with(&[2]), "{:?}", driver.calls());
}

#[test]
fn a_provider_that_says_no_is_left_alone_until_the_configuration_changes() {
    let mut driver = Driver::simple(1);
    driver.takes = Box::new(|_, p| match p.update {
        Some(_) => UpdateOutcome::Stop("badauth: user name or password are wrong".into()),
        None => UpdateOutcome::Done,
    });
    let updates = |w: &Driver| w.published.iter().filter(|(_, update, _)| update.is_some()).count();
    driver.run(60 * SECOND);
    driver.restart();
    driver.run(86_400 * SECOND);
    driver.says(|_, _| found(2));
    driver.run(POLITE * 2);
    assert_eq!((updates(&driver), driver.lines("badauth")), (1, 1));
    driver.setup.tracks[0].sinks[1].print = 2;
    driver.takes = Box::new(|_, _| UpdateOutcome::Done);
    driver.restart();
    driver.run(60 * SECOND);
    assert_eq!(updates(&driver), 2);
}

#[test]
fn a_provider_with_a_problem_is_asked_again_after_half_an_hour_also_across_restarts() {
    let mut driver = Driver::simple(1);
    driver.takes = Box::new(|_, p| match p.update {
        Some(_) => UpdateOutcome::Wait(1800 * SECOND, "911".into()),
        None => UpdateOutcome::Done,
    });
    for _ in 0..20 {
        driver.run(60 * SECOND);
        driver.restart();
    }
    let updates = |w: &Driver| w.published.iter().filter(|(_, update, _)| update.is_some()).count();
    assert_eq!(updates(&driver), 1);
    driver.run(3600 * SECOND);
    assert_eq!(updates(&driver), 3);
}

#[test]
fn lookups_go_on_where_another_configuration_asks_the_same_of_the_same() {
    let goes_on = |change: &dyn Fn(&mut DdnsSetup)| {
        let mut driver = Driver::simple(1);
        driver.run(10 * SECOND);
        let mut other = setup(sources(), false);
        change(&mut other);
        let mut new = Ddns::new(other);
        let goes_on = new.inherit(driver.monitor, clock(driver.now));
        (goes_on, new.tracks()[0].address)
    };
    let known = Some(ip(1));
    assert_eq!(goes_on(&|_| {}), (true, known));
    assert_eq!(goes_on(&|other| other.interval = 60 * SECOND), (true, known), "at other times");
    assert_eq!(goes_on(&|other| other.tracks[0].sinks.clear()), (true, known), "for other readers");
    assert_eq!(goes_on(&|other| drop(other.sources.pop())), (false, known));
    assert_eq!(goes_on(&|other| other.sources.swap(0, 1)), (false, known));
    assert_eq!(
        goes_on(&|other| other.tracks[0].wan = "wan1".into()),
        (false, None),
        "of another network"
    );
    let more = |other: &mut DdnsSetup| {
        let track = TrackSetup { family: Family::V6, ..other.tracks[0].clone() };
        other.tracks.push(track);
    };
    assert_eq!(goes_on(&more), (false, known));
}

#[test]
fn an_address_that_comes_back_soon_is_doubted_and_later_it_is_not() {
    for (ago, believed) in [(RETURNS - Duration::from_nanos(1), 2), (RETURNS, 1)] {
        let mut driver = Driver::simple(2);
        driver.run(10 * SECOND);
        let now = driver.now + RETURNS;
        // Nobody has contradicted the one that is known.
        driver.monitor.tracks[0].contested = false;
        driver.monitor.tracks[0].previous = Some((ip(1), now - ago));
        driver.monitor.confirmed(now, 0, ip(1), &mut Vec::new());
        assert_eq!(driver.monitor.tracks()[0].address, Some(ip(believed)), "{ago:?}");
    }
}

#[test]
fn a_source_that_speaks_alone_is_not_believed_and_that_is_said() {
    let mut driver =
        Driver::new(
            setup(sources(), false),
            |_, source| if source == 0 { found(1) } else { silent() },
        );
    driver.run(600 * SECOND);
    assert_eq!((driver.calls(), driver.lines("do not agree")), (Vec::new(), 0));
    let text =
        "Too few sources tell the external address to believe it: https://a/ says 203.0.113.1; ";
    assert_eq!(driver.lines(text), 1, "{:?}", driver.log);
}

#[test]
fn a_problem_of_a_provider_is_told_when_it_is_another_one() {
    let mut driver = Driver::simple(1);
    let mut tries = 0;
    driver.takes = Box::new(move |_, p| {
        if p.update.is_none() {
            return UpdateOutcome::Done;
        }
        tries += 1;
        UpdateOutcome::Wait(1800 * SECOND, if tries <= 3 { "911" } else { "dnserr" }.into())
    });
    driver.run(5400 * SECOND);
    assert_eq!(driver.published.iter().filter(|(_, update, _)| update.is_some()).count(), 3);
    assert_eq!(
        driver.lines("Update of home at x failed, tried again in 30 min: 911"),
        1,
        "{:?}",
        driver.log
    );
    driver.run(3600 * SECOND);
    assert_eq!((driver.lines("tried again in 30 min: dnserr"), driver.lines(": 911")), (1, 1));
}

#[test]
fn refresh_publishes_the_same_address_again() {
    let mut setup = setup(sources(), false);
    setup.refresh = Some(Duration::from_secs(86_400));
    let mut driver = Driver::new(setup, |_, _| found(1));
    for _ in 0..10 {
        driver.run(Duration::from_secs(43_200 + 60));
        driver.restart();
    }
    assert_eq!(driver.calls().len(), 6, "in five days, whatever restarts there are");
}

/// What wakes it up is done, or is not due any more: the loop must not spin.
#[test]
fn a_refresh_that_is_overdue_while_a_new_address_cannot_be_told_wakes_nobody() {
    let mut setup = setup(sources(), false);
    setup.refresh = Some(Duration::from_secs(7200));
    let mut driver = Driver::new(setup, |_, _| found(1));
    driver.run(60 * SECOND);
    driver.says(|_, _| found(2));
    driver.takes = Box::new(|_, _| UpdateOutcome::Failed("x".into()));
    driver.run(Duration::from_secs(3600));
    for restarts in 0..2 {
        for _ in 0..400 {
            driver.run(30 * SECOND);
            let next = driver.monitor.poll_at();
            assert!(
                next.is_none_or(|next| next > driver.now),
                "{next:?} at {:?}, {restarts} restarts",
                driver.now
            );
        }
        driver.restart();
    }
}

#[test]
fn b28_a_switch_is_a_change_only_when_the_new_way_says_so() {
    let mut driver = Driver::simple(1);
    driver.run(60 * SECOND);
    // While the other WAN is tried, its sources are silent.
    driver.says(|_, _| silent());
    driver.way("wan2");
    driver.run(5 * SECOND);
    driver.says(|_, _| found(1));
    driver.way("wan1");
    driver.run(POLITE);
    assert_eq!((driver.calls(), driver.lines("changed")), (vec![1], 1));
    driver.says(|_, _| found(2));
    driver.way("wan2");
    driver.run(SECOND);
    driver.says(|_, _| found(1));
    driver.way("wan1");
    driver.run(SECOND);
    assert_eq!(driver.calls(), [1, 2, 1], "at once, by two who agree");
    // Between two networks there is none for a moment.
    driver.way("none");
    driver.run(SECOND);
    driver.way("wan2");
    driver.run(POLITE);
    assert_eq!(driver.lines("no network works"), 0);
    driver.way("none");
    driver.run(POLITE);
    assert_eq!(driver.lines("Lookup of the external address: no network works"), 1);
}

#[test]
fn an_address_that_comes_back_by_itself_must_be_found_twice() {
    let mut driver = Driver::simple(1);
    driver.run(1000 * SECOND);
    driver.says(|_, _| found(2));
    driver.run(400 * SECOND);
    driver.says(|_, _| found(1));
    let from = driver.now;
    driver.run(POLITE);
    assert_eq!(driver.calls(), [1, 2]);
    driver.run(POLITE * 2);
    assert_eq!(driver.calls(), [1, 2, 1]);
    let (when, ..) = driver.published.iter().filter(|(_, u, _)| u.is_none()).nth(2).unwrap();
    assert!(when.since(from) < POLITE * 3);
}

#[test]
fn news_of_the_network_brings_a_lookup_at_once_but_no_storm() {
    let mut driver = Driver::simple(1);
    driver.run(1000 * SECOND);
    driver.lookups.clear();
    driver.on(&Observation::Moved);
    driver.run(SECOND);
    assert_eq!(driver.lookups.len(), 1);
    for _ in 0..600 {
        driver.on(&Observation::Moved);
        driver.run(Duration::from_millis(100));
    }
    assert!(driver.lookups.len() <= 9, "{}", driver.lookups.len());
}

#[test]
fn an_address_that_is_none_is_refused_whoever_found_it() {
    let mut driver = Driver::new(setup(sources(), false), |_, s| {
        let address =
            if s % 2 == 0 { [192, 168, 1, 1].into() } else { "2001:db8::1".parse().unwrap() };
        Ok(Found { address, local: None })
    });
    driver.run(POLITE);
    assert_eq!((driver.published.len(), driver.lines("%% Unable")), (0, 1));
}

#[test]
fn nat_is_told_once() {
    let mut driver = Driver::new(setup(sources(), false), |_, _| {
        Ok(Found { address: ip(1), local: Some([100, 64, 1, 2].into()) })
    });
    driver.run(POLITE * 3);
    driver.restart();
    driver.run(POLITE);
    assert_eq!(driver.lines("carrier-grade NAT"), 1);
    driver.says(|_, _| Ok(Found { address: ip(1), local: Some([192, 168, 1, 2].into()) }));
    driver.run(POLITE);
    assert_eq!(driver.lines("double NAT"), 1);
    assert_eq!(driver.monitor.tracks()[0].nat, Some(Nat::Double));
}

/// A crash after each single effect, and a start from the file as it then was: the address is
/// published in the end, and nobody is told another one. What was under way when it crashed may
/// have come about (`done`) or not.
#[test]
fn a_crash_between_any_two_steps_loses_nothing() {
    for done in [false, true] {
        let mut survived = false;
        for steps in 0..40 {
            let mut driver = Driver::simple(1);
            driver.run(10 * SECOND);
            driver.published.clear();
            let mut heard: Vec<(Rc<str>, IpAddr)> = Vec::new();
            driver.says(|_, _| found(2));
            let mut left: u32 = steps;
            // As `run`, but effect by effect.
            while left > 0 {
                let next = driver
                    .coming
                    .iter()
                    .map(|(at, _)| *at)
                    .chain(driver.monitor.poll_at())
                    .min()
                    .unwrap();
                if next > at(600) {
                    survived = true;
                    break;
                }
                driver.now = driver.now.max(next);
                let mut out = Vec::new();
                match driver.coming.iter().position(|(at, _)| *at <= driver.now) {
                    Some(place) => match driver.coming.remove(place).1 {
                        Coming::Lookup(id) => driver.monitor.on(
                            driver.now,
                            &Observation::Found(id, &found(2)),
                            &mut out,
                        ),
                        Coming::Publication(p) => {
                            heard.push((p.key.clone(), p.address));
                            let seen = Observation::Published {
                                key: &p.key,
                                address: p.address,
                                outcome: &UpdateOutcome::Done,
                            };
                            driver.monitor.on(driver.now, &seen, &mut out);
                        }
                    },
                    None => driver.monitor.on(driver.now, &Observation::Tick, &mut out),
                }
                for effect in out {
                    if left == 0 {
                        break;
                    }
                    left -= 1;
                    driver.perform(effect);
                }
            }
            // The daemon's record of a try outlives it: who asks again finds that it is done.
            let recorded: Vec<Rc<str>> =
                driver
                    .coming
                    .iter()
                    .filter_map(|(_, c)| {
                        if let Coming::Publication(p) = c { Some(p.key.clone()) } else { None }
                    })
                    .filter(|_| done)
                    .chain(heard.iter().map(|(key, _)| key.clone()))
                    .collect();
            let before = driver.published.len();
            driver.restart();
            driver.run(POLITE * 2);
            let track = &driver.monitor.tracks()[0];
            assert_eq!(track.address, Some(ip(2)), "{steps}");
            assert!(
                track.sinks.iter().all(|s| s.published == Some(ip(2)) && s.tries == 0),
                "{steps}"
            );
            assert!(driver.published.iter().all(|(_, _, a)| *a == ip(2)), "{steps}");
            let again = driver.published.len() - before;
            assert!(again <= 2, "{steps}: told {again} times more, {recorded:?} were recorded");
        }
        assert!(survived, "the last crash came after everything was over");
    }
}

/// Whoever was told another address in between, and was not heard, may have that one.
#[test]
fn an_address_that_comes_back_after_a_try_in_vain_is_told_again() {
    let mut driver = Driver::simple(1);
    driver.run(10 * SECOND);
    driver.takes = Box::new(|_, p| {
        if p.update.is_some() { UpdateOutcome::Failed("x".into()) } else { UpdateOutcome::Done }
    });
    driver.says(|_, _| found(2));
    driver.run(POLITE * 2);
    driver.takes = Box::new(|_, _| UpdateOutcome::Done);
    driver.says(|_, _| found(1));
    driver.on(&Observation::Moved);
    driver.run(POLITE * 2);
    let last = |update: Option<usize>| {
        driver.published.iter().rfind(|(_, whom, _)| *whom == update).map(|(.., a)| *a)
    };
    assert_eq!((last(None), last(Some(0))), (Some(ip(1)), Some(ip(1))));
}

#[test]
fn a_thousand_routers_ask_at_a_thousand_times() {
    let (mut first, mut later) = (Vec::new(), Vec::new());
    for seed in 1..=1000 {
        // As the daemon seeds it: with all of its bits.
        let mut random = Random(seed).next().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for n in 0..20 {
            let gap = jitter(at(0), 300 * SECOND, &mut random).since(at(0));
            assert!((300 * SECOND..=330 * SECOND).contains(&gap), "{gap:?}");
            if n == 0 { first.push(gap) } else { later.push(gap) }
        }
    }
    for all in [first, later] {
        // Each tenth of the half minute has about a tenth of them.
        for tenth in 0..10 {
            let from = 300 * SECOND + 3 * SECOND * tenth;
            let share = all.iter().filter(|gap| (from..from + 3 * SECOND).contains(*gap)).count()
                * 100
                / all.len();
            assert!((6..=14).contains(&share), "{share} % in the {tenth}th of ten");
        }
    }
}

/// A year in which one answer in a hundred is a lie, some of them the same one, and one in fifty
/// fails.
#[test]
fn a_year_of_liars_publishes_no_wrong_address_and_misses_no_right_one() {
    (11..16).for_each(year_of_liars);
}

fn year_of_liars(seed: u64) {
    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    /// From a change of the address to its publication.
    const BOUND: Duration = Duration::from_secs(12 * 60);
    let mut random = Random(seed);
    let mut truths: Vec<(Instant, u8)> = vec![(Instant::ZERO, 10)];
    let mut when = at(3600);
    while when < at(100) + YEAR {
        let n = 10 + u8::try_from(random.below(200)).unwrap();
        if truths.last().unwrap().1 != n {
            truths.push((when, n));
        }
        when = when + Duration::from_secs(3600 + random.below(6 * 86_400));
    }
    let truth_at = {
        let truths = truths.clone();
        move |now: Instant| truths[truths.partition_point(|(from, _)| *from <= now) - 1].1
    };
    let truth = truth_at.clone();
    let mut driver = Driver::new(setup(sources(), false), move |now, _| match random.below(1000) {
        0..5 => found(1),
        5..10 => found(2 + u8::try_from(random.below(3)).unwrap()),
        10..30 => silent(),
        _ => found(truth(now)),
    });
    let mut fate = Random(23);
    driver.takes = Box::new(move |_, _| {
        if fate.below(10) == 0 { UpdateOutcome::Failed("x".into()) } else { UpdateOutcome::Done }
    });
    driver.run(YEAR);
    for (when, _, address) in &driver.published {
        // What was true a moment ago may just have changed; a try that is repeated comes up to half
        // an hour later.
        let recently =
            [Duration::ZERO, 30 * SECOND].iter().any(|ago| ip(truth_at(*when - *ago)) == *address);
        let retried =
            truths.iter().rev().take_while(|(from, _)| *from + Duration::from_secs(3600) > *when);
        assert!(recently || retried.count() > 0, "{address} at {when:?}");
        assert!(*address != ip(1) && ![ip(2), ip(3), ip(4)].contains(address), "a lie: {address}");
    }
    let mut worst = Duration::ZERO;
    for pair in truths.windows(2).skip(1) {
        let ((from, n), (until, _)) = (pair[0], pair[1]);
        let told = driver
            .published
            .iter()
            .find(|(at, u, a)| u.is_none() && *at >= from && *at <= until && *a == ip(n));
        let (when, ..) = told.unwrap_or_else(|| panic!("{n} of {from:?} was never told"));
        worst = worst.max(when.since(from));
    }
    println!("seed {seed}: of {} changes the slowest took {worst:?}", truths.len());
    assert!(worst < BOUND, "{worst:?}");
    assert!(
        truths.len() > 80 && driver.lookups.len() > 300_000,
        "{} {}",
        truths.len(),
        driver.lookups.len()
    );
}
