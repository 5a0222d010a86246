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
struct World {
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

impl World {
    fn new(setup: FailoverSetup) -> Self {
        let mut world = Self {
            monitor: Failover::new(setup, at(0)),
            now: at(0),
            links: [ready(0, 2), ready(1, 2)],
            on_the_way: Vec::new(),
            refuses: None,
            said: Vec::new(),
            wanted: Vec::new(),
        };
        world.see(&Observation::Links(&[ready(0, 2), ready(1, 2)]), &|_| true);
        world
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
    let mut world = World::new(setup());
    assert!(world.monitor.is_undecided());
    assert_eq!(
        (world.monitor.chosen(), world.monitor.active(), world.monitor.switches()),
        (None, None, (0, None))
    );
    assert_eq!(world.monitor.poll_at(), Some(at(0)), "it wants to send");
    world.run(8_000, |_| true);
    assert!(!world.monitor.is_undecided());
    assert_eq!((world.monitor.chosen(), world.monitor.active()), (Some(0), Some(0)));
    let first = Switch { at: at(5), to: 0, cause: Cause::Start };
    assert_eq!(world.monitor.switches(), (0, Some(first)), "the first choice is no switch");
    let names: Vec<_> = world.monitor.wans().iter().map(|wan| (wan.name(), wan.device())).collect();
    assert_eq!(names, [("net0", "wan0"), ("net1", "wan1")]);
    assert_eq!((world.monitor.role(0), world.monitor.role(1)), (Role::Primary, Role::Standby));
    assert_eq!(world.monitor.name(1).unwrap().address, Some(Ipv4Addr::new(192, 168, 62, 2)));
    assert_eq!(world.monitor.name(2), None);
    assert_eq!(world.monitor.hold_down_left(at(8_000), 0), None, "it is in use");
    world.link(0, LinkState::NoCarrier);
    assert_eq!((world.monitor.chosen(), world.monitor.active()), (Some(1), Some(1)));
    assert_eq!(
        world.monitor.switches(),
        (1, Some(Switch { at: at(8_000), to: 1, cause: Cause::Failed }))
    );
    world.run(9_000, |_| true);
    assert_eq!(
        world.monitor.name(0).unwrap().address,
        Some(Ipv4Addr::new(192, 168, 42, 2)),
        "the last one"
    );
    world.link(0, ready(0, 2));
    world.run(11_005, |_| true);
    let left = |world: &World, ms, wan| world.monitor.hold_down_left(at(ms), wan);
    assert_eq!(
        (left(&world, 11_005, 0), left(&world, 11_005, 1)),
        (Some(MS * 8_000), None),
        "its hold-down goes on"
    );
    assert_eq!(left(&world, 30_000, 0), Some(Duration::ZERO));
    world.run(20_000, |_| true);
    assert_eq!(
        world.monitor.switches(),
        (2, Some(Switch { at: at(19_005), to: 0, cause: Cause::Preferred }))
    );
    assert_eq!(left(&world, 20_000, 0), None);
}

#[test]
fn a_change_of_a_link_that_is_no_event_is_told_to_who_writes_the_status() {
    let mut world = World::new(setup());
    assert!(world.monitor.take_changed() && !world.monitor.take_changed());
    world.run(2_000, |_| true);
    world.link(0, ready(0, 2));
    assert!(!world.monitor.take_changed(), "nothing is new");
    world.log();
    world.link(1, ready(1, 77));
    assert_eq!((world.log(), world.monitor.take_changed()), (Vec::new(), true));
    // Only the second of them counts in the same way.
    world.link(1, LinkState::NoAddress);
    assert!(world.monitor.is_provisional());
    world.run(2_400, |_| true);
    assert!(!world.monitor.is_provisional(), "it is known by now");
}

#[test]
fn a_route_that_is_refused_is_told_at_once_a_minute_later_and_when_the_reason_is_another() {
    let mut world = World::new(setup());
    world.refuses = Some("Network is unreachable");
    world.run(200, |_| true);
    assert_eq!(
        (world.monitor.refused(), world.monitor.chosen(), world.monitor.active()),
        (None, Some(0), None)
    );
    world.run(310, |_| true);
    assert_eq!(world.monitor.refused().map(|why| &**why), Some("Network is unreachable"));
    let times: Vec<u64> = world.routes().iter().map(|(ms, _)| *ms).collect();
    assert_eq!(times, (0..=15).map(|n| 5 + n * 20).collect::<Vec<_>>(), "soon at first");
    world.run(60_000, |_| true);
    assert_eq!(world.routes().len(), 16 + 59, "then once a second");
    let refusals = |world: &World| world.count(|what| matches!(what, What::Refused { .. }));
    assert_eq!(refusals(&world), 1);
    world.run(61_000, |_| true);
    assert_eq!(refusals(&world), 2);
    world.refuses = Some("Invalid argument");
    world.run(62_000, |_| true);
    assert_eq!(refusals(&world), 3);
    world.refuses = None;
    world.run(63_000, |_| true);
    assert_eq!(
        (world.monitor.refused(), world.monitor.active(), refusals(&world)),
        (None, Some(0), 3)
    );
    // The next time it is news again.
    world.refuses = Some("Invalid argument");
    world.link(0, LinkState::NoCarrier);
    world.run(63_400, |_| true);
    assert_eq!(
        (refusals(&world), world.monitor.active()),
        (4, Some(0)),
        "as far as it has been made so"
    );
    // An answer for a route that nobody waits for changes nothing.
    world.see(&Observation::Routed { wan: 0, result: Ok(()) }, &|_| true);
    assert_eq!(world.monitor.switches().0, 0);
}

#[test]
fn an_outage_is_told_with_its_reason_and_names_are_looked_up_again() {
    let mut world = World::new(setup());
    world.run(10_500, |_| true);
    world.log();
    world.wanted.clear();
    world.run(14_000, |owner| owner == 0);
    assert_eq!(
        world.log(),
        [
            "Standby Network net1 (wan1): nothing answers: 2 probes to its gateway 192.168.62.1 in a row unanswered",
            "Standby Network net1 (wan1) is now offline",
        ]
    );
    assert!(matches!(world.wanted[..], [(12_100, Effect::Refresh(1))]), "{:?}", world.wanted);
    world.run(20_500, |_| true);
    assert_eq!(
        world.log(),
        [
            "Standby Network net1 (wan1) is now online",
            "Standby Network Outage Duration: 0 days 0 hours, 0 minutes 3 seconds",
        ]
    );
    // A probe that cannot be sent says so itself.
    let mut effects = Vec::new();
    world.now = at(21_000);
    for index in [0, 1] {
        world.monitor.on(world.now, &Observation::Tick, &mut effects);
        let id = effects.iter().rev().find_map(|effect| match effect {
            Effect::Probe(id) if id.owner == 1 && id.index == index => Some(*id),
            _ => None,
        });
        world.see(&Observation::Lost(id.unwrap(), Reason::Send(101)), &|_| true);
        world.now = world.now + MS * 100;
    }
    assert_eq!(
        world.log(),
        [
            "Standby Network net1 (wan1): gateway: could not be sent: Network is unreachable",
            "Standby Network net1 (wan1) is now offline",
        ]
    );
}

#[test]
fn a_gateway_that_never_answered_may_be_one_that_answers_no_pings() {
    let mut world = World::new(setup());
    world.run(3_000, |_| false);
    let text = "it has never answered: if it answers no pings at all, set";
    assert_eq!(world.monitor.advice(0), Some(&*format!("{text} primary-ping")));
    assert_eq!(world.monitor.advice(1), Some(&*format!("{text} standby-ping")));
    assert_eq!(world.monitor.advice(2), None);
    assert!(world.log().iter().any(|line| {
        line.ends_with(
            "unanswered; it has never answered: if it answers no pings at all, set standby-ping",
        )
    }));
    world.run(5_000, |_| true);
    assert_eq!((world.monitor.advice(0), world.monitor.advice(1)), (None, None));
    world.run(9_000, |_| false);
    assert_eq!((world.monitor.advice(0), world.monitor.advice(1)), (None, None), "it did answer");
}

#[test]
fn an_outage_is_reminded_of_each_time_counted_from_its_beginning() {
    let reminders = |world: &World| -> Vec<(u64, u32)> {
        let reminders = world.said.iter().filter_map(|(ms, what)| match what {
            What::WanReminder { count, .. } => Some((*ms, *count)),
            _ => None,
        });
        reminders.collect()
    };
    let setup = FailoverSetup { remind: Some(MS * 60_000), ..setup() };
    let mut world = World::new(setup.clone());
    world.run(10_500, |_| true);
    // The first lost probe leaves at 11 s.
    world.run(200_000, |owner| owner == 1);
    assert_eq!(reminders(&world), [(71_000, 1), (131_000, 2), (191_000, 3)]);
    // Another configuration does not say again what was said.
    let mut again = World::new(FailoverSetup { adopted: Some(1), ..setup });
    again.now = world.now;
    again.on_the_way.clear();
    again.monitor = Failover::new(
        FailoverSetup { adopted: Some(1), remind: Some(MS * 60_000), ..self::setup() },
        again.now,
    );
    again.monitor.inherit(world.monitor);
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
    let mut world = World::new(self::setup());
    world.run(10_500, |_| true);
    world.run(400_000, |owner| owner == 1);
    assert_eq!(reminders(&world), []);
}

#[test]
fn another_configuration_takes_over_what_is_known_of_the_same_networks_only() {
    let mut old = World::new(setup());
    old.run(10_500, |_| true);
    old.link(0, LinkState::NoCarrier);
    old.run(20_000, |_| true);
    let known = old.monitor.switches();
    let inherited = |wans: Vec<WanSetup>, old: &World| {
        let mut earlier = World::new(setup());
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
        let mut world =
            World::new(FailoverSetup { prefer_first, hold_down: MS * 600_000, ..setup() });
        world.run(10_500, |_| true);
        // Both ends of six outages of two seconds.
        for n in 0..6 {
            world.link(wan, LinkState::NoCarrier);
            world.run(12_500 + n * 4_000, |_| true);
            world.link(wan, ready(wan as u8, 2));
            world.run(14_500 + n * 4_000, |_| true);
        }
        let is_loud = |what: &What| {
            matches!(
                what,
                What::WanOffline { quiet: false, .. } | What::WanOnline { quiet: false, .. }
            )
        };
        assert_eq!(world.count(is_loud), told, "wan{wan} {prefer_first}: {:?}", world.said);
        // The rest is told when it is calm.
        world.run(300_000, |_| true);
        let sums: Vec<u32> = world
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
    let mut world = World::new(setup());
    world.run(10_500, |_| true);
    world.link(1, LinkState::NoCarrier);
    world.run(15_000, |_| true);
    world.link(0, LinkState::NoCarrier);
    let down =
        |world: &World| world.count(|what| matches!(what, What::AllDown { quiet: false, .. }));
    assert_eq!(down(&world), 1);
    world.run(40_000, |_| true);
    world.link(1, ready(1, 2));
    world.run(41_000, |_| true);
    let restored: Vec<_> = world
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
    assert_eq!(down(&world), 1);
    let order: Vec<_> = world.log();
    let place = |words: &str| order.iter().position(|line| line.contains(words)).unwrap();
    assert!(place("Both Primary and Standby") < place("No network was online for"), "{order:?}");
    assert!(place("Network Failover to Standby") < place("No network was online for"), "{order:?}");
}

#[test]
fn the_ping_after_a_switch_is_told_once_and_standbys_first_state_waits_for_it() {
    let mut wans = vec![wan(0), wan(1)];
    wans[0].postping = Some((10, "9.9.9.9".into()));
    let mut world = World::new(FailoverSetup { wans, ..setup() });
    world.run(900, |owner| owner != 10);
    let initial = |world: &World| world.count(|what| matches!(what, What::WanInitial { .. }));
    assert_eq!(initial(&world), 1, "standby waits");
    world.run(5_000, |owner| owner != 10);
    assert_eq!(initial(&world), 2);
    let pings: Vec<_> = world
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
    let mut world = World::new(FailoverSetup { wans, ..setup() });
    world.run(10_500, |_| true);
    world.link(0, LinkState::NoCarrier);
    world.run(10_520, |_| true);
    assert_eq!(world.count(|what| matches!(what, What::Postping { online: true, .. })), 1);
}

#[test]
fn a_degraded_network_is_told_with_figures_and_once() {
    let quality = Quality { loss: None, rtt: Some(health::Limit { most: MS * 4, again: MS * 2 }) };
    let mut world = World::new(FailoverSetup { quality, ..setup() });
    world.run(60_000, |_| true);
    let log = world.log();
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
    let mut world = World::new(setup());
    world.run(10_000, |_| true);
    assert!(world.monitor.keeps_up(at(10_500)));
    assert!(!world.monitor.keeps_up(at(10_500 + 10 * SECOND)), "nobody has ticked for so long");
    // Nothing is expected of one without a link.
    world.link(0, LinkState::NoCarrier);
    assert!(!world.monitor.keeps_up(at(30 * SECOND)));
    world.link(1, LinkState::NoCarrier);
    assert!(world.monitor.keeps_up(at(30 * SECOND)));
}

#[test]
fn somebody_who_asks_has_all_of_them_checked_at_once() {
    let mut world = World::new(setup());
    world.run(10_500, |_| true);
    let mut effects = Vec::new();
    world.monitor.on(at(10_500), &Observation::CheckNow, &mut effects);
    world.monitor.on(at(10_500), &Observation::Tick, &mut effects);
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
    world.now = at(500_000);
    world.see(&Observation::Resumed, &|_| true);
    world.log();
    world.run(500_900, |_| true);
    assert_eq!((world.log(), world.monitor.active()), (Vec::new(), Some(0)));
}
