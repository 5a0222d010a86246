use super::*;
use crate::event::Severity;
use crate::monitor::{ProbeId, Reason};
use crate::routing::LinkState;
use crate::routing::WanPath;

const MS: Duration = Duration::from_millis(1);
const SECOND: u64 = 1_000;

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

fn ready(wan: u8, host: u8) -> LinkState {
    let address = Ipv4Addr::new(192, 168, 42 + 20 * wan, host);
    let gateway = Some(Ipv4Addr::new(192, 168, 42 + 20 * wan, 1));
    LinkState::Ready(WanPath { index: 3 + u32::from(wan), address, gateway, peer: None })
}

fn wan(n: u32) -> WanSetup {
    WanSetup {
        name: format!("net{n}").into(),
        device: format!("wan{n}").into(),
        targets: vec![(n, "gateway".into())],
        by_gateway: true,
        postping: None,
    }
}

/// A check a second of two probes, a hold-down of 10 s.
fn setup() -> FailoverSetup {
    FailoverSetup {
        wans: vec![wan(0), wan(1)],
        plan: Plan::new(MS * 1000, 2, MS * 1000),
        min_up: 1,
        quality: Quality::default(),
        prefer_first: true,
        hold_down: MS * 10_000,
        idle_interval: None,
        remind: None,
        adopted: None,
    }
}

/// The monitor in simulated time, with a kernel that sets every route or refuses all.
struct Driver {
    monitor: Failover,
    now: Instant,
    links: [LinkState; 2],
    on_the_way: Vec<(Instant, ProbeId)>,
    refuses: Option<&'static str>,
    said: Vec<(u64, What)>,
    /// What else was wanted, in order.
    wanted: Vec<(u64, Effect)>,
}

/// A reply comes after so long.
const TAKES: Duration = Duration::from_millis(5);

impl Driver {
    fn new(setup: FailoverSetup) -> Self {
        let mut driver = Self {
            monitor: Failover::new(setup, at(0)),
            now: at(0),
            links: [ready(0, 2), ready(1, 2)],
            on_the_way: Vec::new(),
            refuses: None,
            said: Vec::new(),
            wanted: Vec::new(),
        };
        driver.see(&Observation::Links(&[ready(0, 2), ready(1, 2)]), &|_| true);
        driver
    }

    /// Runs until `end`; `answers` tells whether a host (by its number) answers now.
    fn run(&mut self, end: u64, answers: impl Fn(Owner) -> bool) {
        loop {
            let reply = self.on_the_way.iter().map(|(when, _)| *when).min();
            let next = self.monitor.poll_at().into_iter().chain(reply).min();
            let Some(now) = next.filter(|next| *next <= at(end)) else { break };
            self.now = self.now.max(now);
            while let Some(place) = self.on_the_way.iter().position(|(when, _)| *when <= now) {
                let (_, id) = self.on_the_way.swap_remove(place);
                self.see(&Observation::Reply(id, TAKES), &answers);
            }
            self.see(&Observation::Tick, &answers);
        }
        self.now = at(end);
    }

    fn see(&mut self, seen: &Observation<'_>, answers: &dyn Fn(Owner) -> bool) {
        let mut effects = Vec::new();
        self.monitor.on(self.now, seen, &mut effects);
        let mut done = 0;
        while let Some(effect) = effects.get(done).cloned() {
            done += 1;
            assert!(done < 1000, "it does not come to an end: {effects:?}");
            let ms = self.now.as_nanos() / 1_000_000;
            match effect {
                Effect::Probe(id) if answers(id.owner) => {
                    self.on_the_way.push((self.now + TAKES, id))
                }
                Effect::Probe(_) => {}
                Effect::Emit(event) => {
                    assert_eq!((event.monitor, event.owner), (Monitor::Failover, NOBODY));
                    self.said.push((ms, event.what));
                }
                Effect::Route(wan) => {
                    self.wanted.push((ms, Effect::Route(wan)));
                    let result = self.refuses.map_or(Ok(()), |why| Err(why.into()));
                    self.monitor.on(self.now, &Observation::Routed { wan, result }, &mut effects);
                }
                other => self.wanted.push((ms, other)),
            }
        }
    }

    fn link(&mut self, wan: usize, link: LinkState) {
        self.links[wan] = link;
        let links = self.links;
        self.see(&Observation::Links(&links), &|_| true);
    }

    /// The log since this was asked last.
    fn log(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for (_, what) in self.said.drain(..) {
            let event = Event { monitor: Monitor::Failover, owner: NOBODY, what };
            event.log(false, &mut |_: Severity, line| lines.push(line.to_string()));
        }
        lines
    }

    fn count(&self, is_it: impl Fn(&What) -> bool) -> usize {
        self.said.iter().filter(|(_, what)| is_it(what)).count()
    }

    fn routes(&self) -> Vec<(u64, usize)> {
        let routes = self.wanted.iter().filter_map(|(ms, effect)| match effect {
            Effect::Route(wan) => Some((*ms, *wan)),
            _ => None,
        });
        routes.collect()
    }
}

#[test]
fn what_is_asked_for_the_status_at_each_step() {
    let mut driver = Driver::new(setup());
    assert!(driver.monitor.is_undecided());
    assert_eq!(
        (driver.monitor.chosen(), driver.monitor.active(), driver.monitor.switches()),
        (None, None, (0, None))
    );
    assert_eq!(driver.monitor.poll_at(), Some(at(0)), "it wants to send");
    driver.run(8_000, |_| true);
    assert!(!driver.monitor.is_undecided());
    assert_eq!((driver.monitor.chosen(), driver.monitor.active()), (Some(0), Some(0)));
    let first = Switch { at: at(5), to: 0, cause: Cause::Start };
    assert_eq!(driver.monitor.switches(), (0, Some(first)), "the first choice is no switch");
    let names: Vec<_> =
        driver.monitor.wans().iter().map(|wan| (wan.name(), wan.device())).collect();
    assert_eq!(names, [("net0", "wan0"), ("net1", "wan1")]);
    assert_eq!((driver.monitor.role(0), driver.monitor.role(1)), (Role::Primary, Role::Standby));
    assert_eq!(driver.monitor.name(1).unwrap().address, Some(Ipv4Addr::new(192, 168, 62, 2)));
    assert_eq!(driver.monitor.name(2), None);
    assert_eq!(driver.monitor.hold_down_left(at(8_000), 0), None, "it is in use");
    driver.link(0, LinkState::NoCarrier);
    assert_eq!((driver.monitor.chosen(), driver.monitor.active()), (Some(1), Some(1)));
    assert_eq!(
        driver.monitor.switches(),
        (1, Some(Switch { at: at(8_000), to: 1, cause: Cause::Failed }))
    );
    driver.run(9_000, |_| true);
    assert_eq!(
        driver.monitor.name(0).unwrap().address,
        Some(Ipv4Addr::new(192, 168, 42, 2)),
        "the last one"
    );
    driver.link(0, ready(0, 2));
    driver.run(11_005, |_| true);
    let left = |driver: &Driver, ms, wan| driver.monitor.hold_down_left(at(ms), wan);
    assert_eq!(
        (left(&driver, 11_005, 0), left(&driver, 11_005, 1)),
        (Some(MS * 8_000), None),
        "its hold-down goes on"
    );
    assert_eq!(left(&driver, 30_000, 0), Some(Duration::ZERO));
    driver.run(20_000, |_| true);
    assert_eq!(
        driver.monitor.switches(),
        (2, Some(Switch { at: at(19_005), to: 0, cause: Cause::Preferred }))
    );
    assert_eq!(left(&driver, 20_000, 0), None);
}

#[test]
fn a_change_of_a_link_that_is_no_event_is_told_to_who_writes_the_status() {
    let mut driver = Driver::new(setup());
    assert!(driver.monitor.take_changed() && !driver.monitor.take_changed());
    driver.run(2_000, |_| true);
    driver.link(0, ready(0, 2));
    assert!(!driver.monitor.take_changed(), "nothing is new");
    driver.log();
    driver.link(1, ready(1, 77));
    assert_eq!((driver.log(), driver.monitor.take_changed()), (Vec::new(), true));
    // Only the second of them counts in the same way.
    driver.link(1, LinkState::NoAddress);
    assert!(driver.monitor.is_provisional());
    driver.run(2_400, |_| true);
    assert!(!driver.monitor.is_provisional(), "it is known by now");
}

#[test]
fn a_route_that_is_refused_is_told_at_once_a_minute_later_and_when_the_reason_is_another() {
    let mut driver = Driver::new(setup());
    driver.refuses = Some("Network is unreachable");
    driver.run(200, |_| true);
    assert_eq!(
        (driver.monitor.refused(), driver.monitor.chosen(), driver.monitor.active()),
        (None, Some(0), None)
    );
    driver.run(310, |_| true);
    assert_eq!(driver.monitor.refused().map(|why| &**why), Some("Network is unreachable"));
    let times: Vec<u64> = driver.routes().iter().map(|(ms, _)| *ms).collect();
    assert_eq!(times, (0..=15).map(|n| 5 + n * 20).collect::<Vec<_>>(), "soon at first");
    driver.run(60_000, |_| true);
    assert_eq!(driver.routes().len(), 16 + 59, "then once a second");
    let refusals = |driver: &Driver| driver.count(|what| matches!(what, What::Refused { .. }));
    assert_eq!(refusals(&driver), 1);
    driver.run(61_000, |_| true);
    assert_eq!(refusals(&driver), 2);
    driver.refuses = Some("Invalid argument");
    driver.run(62_000, |_| true);
    assert_eq!(refusals(&driver), 3);
    driver.refuses = None;
    driver.run(63_000, |_| true);
    assert_eq!(
        (driver.monitor.refused(), driver.monitor.active(), refusals(&driver)),
        (None, Some(0), 3)
    );
    // The next time it is news again.
    driver.refuses = Some("Invalid argument");
    driver.link(0, LinkState::NoCarrier);
    driver.run(63_400, |_| true);
    assert_eq!(
        (refusals(&driver), driver.monitor.active()),
        (4, Some(0)),
        "as far as it has been made so"
    );
    // An answer for a route that nobody waits for changes nothing.
    driver.see(&Observation::Routed { wan: 0, result: Ok(()) }, &|_| true);
    assert_eq!(driver.monitor.switches().0, 0);
}

#[test]
fn an_outage_is_told_with_its_reason_and_names_are_looked_up_again() {
    let mut driver = Driver::new(setup());
    driver.run(10_500, |_| true);
    driver.log();
    driver.wanted.clear();
    driver.run(14_000, |owner| owner == 0);
    assert_eq!(
        driver.log(),
        [
            "Standby Network net1 (wan1): nothing answers: 2 probes to its gateway 192.168.62.1 in a row unanswered",
            "Standby Network net1 (wan1) is now offline",
        ]
    );
    assert!(matches!(driver.wanted[..], [(12_100, Effect::Refresh(1))]), "{:?}", driver.wanted);
    driver.run(20_500, |_| true);
    assert_eq!(
        driver.log(),
        [
            "Standby Network net1 (wan1) is now online",
            "Standby Network Outage Duration: 0 days 0 hours, 0 minutes 3 seconds",
        ]
    );
    // A probe that cannot be sent says so itself.
    let mut effects = Vec::new();
    driver.now = at(21_000);
    for index in [0, 1] {
        driver.monitor.on(driver.now, &Observation::Tick, &mut effects);
        let id = effects.iter().rev().find_map(|effect| match effect {
            Effect::Probe(id) if id.owner == 1 && id.index == index => Some(*id),
            _ => None,
        });
        driver.see(&Observation::Lost(id.unwrap(), Reason::Send(101)), &|_| true);
        driver.now = driver.now + MS * 100;
    }
    assert_eq!(
        driver.log(),
        [
            "Standby Network net1 (wan1): gateway: could not be sent: Network is unreachable",
            "Standby Network net1 (wan1) is now offline",
        ]
    );
}

#[test]
fn a_gateway_that_never_answered_may_be_one_that_answers_no_pings() {
    let mut driver = Driver::new(setup());
    driver.run(3_000, |_| false);
    let text = "it has never answered: if it answers no pings at all, set";
    assert_eq!(driver.monitor.advice(0), Some(&*format!("{text} primary-ping")));
    assert_eq!(driver.monitor.advice(1), Some(&*format!("{text} standby-ping")));
    assert_eq!(driver.monitor.advice(2), None);
    assert!(driver.log().iter().any(|line| {
        line.ends_with(
            "unanswered; it has never answered: if it answers no pings at all, set standby-ping",
        )
    }));
    driver.run(5_000, |_| true);
    assert_eq!((driver.monitor.advice(0), driver.monitor.advice(1)), (None, None));
    driver.run(9_000, |_| false);
    assert_eq!((driver.monitor.advice(0), driver.monitor.advice(1)), (None, None), "it did answer");
}

#[test]
fn an_outage_is_reminded_of_each_time_counted_from_its_beginning() {
    let reminders = |driver: &Driver| -> Vec<(u64, u32)> {
        let reminders = driver.said.iter().filter_map(|(ms, what)| match what {
            What::WanReminder { count, .. } => Some((*ms, *count)),
            _ => None,
        });
        reminders.collect()
    };
    let setup = FailoverSetup { remind: Some(MS * 60_000), ..setup() };
    let mut driver = Driver::new(setup.clone());
    driver.run(10_500, |_| true);
    // The first lost probe leaves at 11 s.
    driver.run(200_000, |owner| owner == 1);
    assert_eq!(reminders(&driver), [(71_000, 1), (131_000, 2), (191_000, 3)]);
    // Another configuration does not say again what was said.
    let mut again = Driver::new(FailoverSetup { adopted: Some(1), ..setup });
    again.now = driver.now;
    again.on_the_way.clear();
    again.monitor = Failover::new(
        FailoverSetup { adopted: Some(1), remind: Some(MS * 60_000), ..self::setup() },
        again.now,
    );
    again.monitor.inherit(driver.monitor);
    again.see(&Observation::Links(&[ready(0, 2), ready(1, 2)]), &|owner| owner == 1);
    again.said.clear();
    again.run(260_000, |owner| owner == 1);
    assert_eq!(reminders(&again), [(251_000, 4)]);
    assert_eq!(
        again.count(|what| matches!(what, What::WanInitial { .. })),
        0,
        "nor what has not changed"
    );
    again.run(270_000, |_| true);
    let ended = again.said.iter().find_map(|(_, what)| match what {
        What::WanOnline { outage, .. } => Some(outage.began),
        _ => None,
    });
    assert_eq!(ended, Some(at(11_000)));
    let said = again.said.len();
    again.run(500_000, |_| true);
    assert!(reminders(&again).len() == 1 && again.said.len() >= said, "it is over");
    // None where none is wanted.
    let mut driver = Driver::new(self::setup());
    driver.run(10_500, |_| true);
    driver.run(400_000, |owner| owner == 1);
    assert_eq!(reminders(&driver), []);
}

#[test]
fn another_configuration_takes_over_what_is_known_of_the_same_networks_only() {
    let mut old = Driver::new(setup());
    old.run(10_500, |_| true);
    old.link(0, LinkState::NoCarrier);
    old.run(20_000, |_| true);
    let known = old.monitor.switches();
    let inherited = |wans: Vec<WanSetup>, old: &Driver| {
        let mut earlier = Driver::new(setup());
        earlier.run(10_500, |_| true);
        earlier.link(0, LinkState::NoCarrier);
        earlier.run(20_000, |_| true);
        assert_eq!(earlier.monitor.switches(), old.monitor.switches());
        let mut new =
            Failover::new(FailoverSetup { wans, adopted: Some(1), ..setup() }, at(20_000));
        new.inherit(earlier.monitor);
        new
    };
    let same = inherited(vec![wan(0), wan(1)], &old);
    assert_eq!((same.switches(), same.is_undecided(), same.chosen()), (known, false, Some(1)));
    assert_eq!(same.name(0).unwrap().address, Some(Ipv4Addr::new(192, 168, 42, 2)));
    for others in
        [vec![wan(0), wan(2)], vec![wan(1), wan(0)], vec![wan(0)], vec![wan(0), wan(1), wan(2)]]
    {
        let other = inherited(others, &old);
        assert_eq!((other.switches(), other.is_undecided()), ((0, None), true));
    }
}

#[test]
fn one_that_comes_and_goes_is_told_eight_times_in_use_and_three_times_at_rest() {
    // Primary that is preferred is to be used again each time; standby beside it is not, nor
    // primary beside a standby that stays in use.
    for (wan, prefer_first, told) in [(0, true, 8), (1, true, 3), (0, false, 3)] {
        let mut driver =
            Driver::new(FailoverSetup { prefer_first, hold_down: MS * 600_000, ..setup() });
        driver.run(10_500, |_| true);
        // Both ends of six outages of two seconds.
        for n in 0..6 {
            driver.link(wan, LinkState::NoCarrier);
            driver.run(12_500 + n * 4_000, |_| true);
            driver.link(wan, ready(wan as u8, 2));
            driver.run(14_500 + n * 4_000, |_| true);
        }
        let is_loud = |what: &What| {
            matches!(
                what,
                What::WanOffline { quiet: false, .. } | What::WanOnline { quiet: false, .. }
            )
        };
        assert_eq!(driver.count(is_loud), told, "wan{wan} {prefer_first}: {:?}", driver.said);
        // The rest is told when it is calm.
        driver.run(300_000, |_| true);
        let sums: Vec<u32> = driver
            .said
            .iter()
            .filter_map(|(_, what)| match what {
                What::Changes { wan: Some(_), times, .. } => Some(*times),
                _ => None,
            })
            .collect();
        assert_eq!(sums, [12 - told as u32]);
    }
}

#[test]
fn both_down_is_an_outage_of_its_own_with_an_end() {
    let mut driver = Driver::new(setup());
    driver.run(10_500, |_| true);
    driver.link(1, LinkState::NoCarrier);
    driver.run(15_000, |_| true);
    driver.link(0, LinkState::NoCarrier);
    let down =
        |driver: &Driver| driver.count(|what| matches!(what, What::AllDown { quiet: false, .. }));
    assert_eq!(down(&driver), 1);
    driver.run(40_000, |_| true);
    driver.link(1, ready(1, 2));
    driver.run(41_000, |_| true);
    let restored: Vec<_> = driver
        .said
        .iter()
        .filter_map(|(ms, what)| match what {
            What::Restored { wan, outage, quiet: false } => {
                Some((*ms, wan.role, outage.began, outage.lasted))
            }
            _ => None,
        })
        .collect();
    assert_eq!(restored, [(40_005, Role::Standby, at(15_000), MS * 25_005)]);
    assert_eq!(down(&driver), 1);
    let order: Vec<_> = driver.log();
    let place = |words: &str| order.iter().position(|line| line.contains(words)).unwrap();
    assert!(place("Both Primary and Standby") < place("No network was online for"), "{order:?}");
    assert!(place("Network Failover to Standby") < place("No network was online for"), "{order:?}");
}

#[test]
fn the_ping_after_a_switch_is_told_once_and_standbys_first_state_waits_for_it() {
    let mut wans = vec![wan(0), wan(1)];
    wans[0].postping = Some((10, "9.9.9.9".into()));
    let mut driver = Driver::new(FailoverSetup { wans, ..setup() });
    driver.run(900, |owner| owner != 10);
    let initial = |driver: &Driver| driver.count(|what| matches!(what, What::WanInitial { .. }));
    assert_eq!(initial(&driver), 1, "standby waits");
    driver.run(5_000, |owner| owner != 10);
    assert_eq!(initial(&driver), 2);
    let pings: Vec<_> = driver
        .said
        .iter()
        .filter_map(|(ms, what)| match what {
            What::Postping { target, online, wan } => Some((*ms, &**target, *online, wan.role)),
            _ => None,
        })
        .collect();
    assert_eq!(pings, [(1_105, "9.9.9.9", false, Role::Primary)]);
    // A host that says that it cannot be reached ends it at once.
    let mut wans = vec![wan(0), wan(1)];
    wans[1].postping = Some((11, "9.9.9.9".into()));
    let mut driver = Driver::new(FailoverSetup { wans, ..setup() });
    driver.run(10_500, |_| true);
    driver.link(0, LinkState::NoCarrier);
    driver.run(10_520, |_| true);
    assert_eq!(driver.count(|what| matches!(what, What::Postping { online: true, .. })), 1);
}

#[test]
fn a_degraded_network_is_told_with_figures_and_once() {
    let quality = Quality { loss: None, rtt: Some(health::Limit { most: MS * 4, again: MS * 2 }) };
    let mut driver = Driver::new(FailoverSetup { quality, ..setup() });
    driver.run(60_000, |_| true);
    let log = driver.log();
    let degraded: Vec<_> = log.iter().filter(|line| line.contains("degraded")).collect();
    assert_eq!(
        degraded,
        [
            "Primary Network net0 (wan0) is degraded: 0 of 20 probes lost, round-trip time 5 ms",
            "Standby Network net1 (wan1) is degraded: 0 of 20 probes lost, round-trip time 5 ms",
        ]
    );
    assert!(!log.iter().any(|line| line.contains("offline")), "{log:?}");
}

#[test]
fn it_keeps_up_while_all_of_its_networks_do() {
    let mut driver = Driver::new(setup());
    driver.run(10_000, |_| true);
    assert!(driver.monitor.keeps_up(at(10_500)));
    assert!(!driver.monitor.keeps_up(at(10_500 + 10 * SECOND)), "nobody has ticked for so long");
    // Nothing is expected of one without a link.
    driver.link(0, LinkState::NoCarrier);
    assert!(!driver.monitor.keeps_up(at(30 * SECOND)));
    driver.link(1, LinkState::NoCarrier);
    assert!(driver.monitor.keeps_up(at(30 * SECOND)));
}

#[test]
fn somebody_who_asks_has_all_of_them_checked_at_once() {
    let mut driver = Driver::new(setup());
    driver.run(10_500, |_| true);
    let mut effects = Vec::new();
    driver.monitor.on(at(10_500), &Observation::CheckNow, &mut effects);
    driver.monitor.on(at(10_500), &Observation::Tick, &mut effects);
    let probed: Vec<Owner> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Probe(id) => Some(id.owner),
            _ => None,
        })
        .collect();
    assert_eq!(probed, [0, 1]);
    // After a suspend what was under way says nothing: both are asked anew, and neither is down
    // meanwhile.
    driver.now = at(500_000);
    driver.see(&Observation::Resumed, &|_| true);
    driver.log();
    driver.run(500_900, |_| true);
    assert_eq!((driver.log(), driver.monitor.active()), (Vec::new(), Some(0)));
}
