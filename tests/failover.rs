//! The failover decision in simulated time: two WANs whose truth the test knows, their checks, and what is chosen.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "test code, not imon's core")]

use std::net::Ipv4Addr;
use std::time::Duration;

use imon::monitor::Effect;
use imon::monitor::ProbeId;
use imon::monitor::check::Plan;
use imon::monitor::failover::choice::{Choice, Condition, Decision};
use imon::monitor::failover::health::{Health, Quality, Setup};
use imon::routing::{Road, State};
use imon::time::Instant;

const MS: Duration = Duration::from_millis(1);

/// A generator of its own, so that a seed can be replayed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

fn ms(now: Instant) -> u64 {
    now.as_nanos() / 1_000_000
}

fn ready() -> State {
    State::Ready(Road { index: 3, address: Ipv4Addr::new(192, 168, 42, 2), gateway: None, peer: None })
}

/// Two WANs and the choice between them.
struct World {
    now: Instant,
    wans: [Health; 2],
    choice: Choice,
    on_the_way: Vec<(Instant, usize, ProbeId, Duration)>,
    /// Every decision, and when it was made.
    said: Vec<(u64, Decision)>,
}

impl World {
    fn new(plan: Plan, prefer_first: bool, hold_down: Duration) -> Self {
        let health = |owner| {
            let setup =
                Setup { targets: vec![(owner, "gateway".into())], plan, min_up: 1, quality: Quality::default() };
            let mut health = Health::new(setup, at(0));
            health.set_link(at(0), ready());
            health
        };
        Self {
            now: at(0),
            wans: [health(0), health(1)],
            choice: Choice::new(2, prefer_first, hold_down, None),
            on_the_way: Vec::new(),
            said: Vec::new(),
        }
    }

    /// Runs until `end`; `answers` tells whether a WAN answers a probe sent at that time, always after 5 ms.
    fn run(&mut self, end: u64, mut answers: impl FnMut(u64, usize) -> bool) {
        loop {
            let reply = self.on_the_way.iter().map(|r| r.0).min();
            let ticks = self.wans.iter().filter_map(Health::poll_at);
            let next = ticks.chain(reply).chain(self.choice.poll_at()).min();
            let Some(now) = next.filter(|t| *t <= at(end)) else { break };
            assert!(now >= self.now, "time goes on");
            self.now = now;
            while let Some(place) = self.on_the_way.iter().position(|r| r.0 <= now) {
                let (_, wan, id, rtt) = self.on_the_way.swap_remove(place);
                self.wans[wan].reply(now, id, rtt);
            }
            for wan in 0..2 {
                let mut out = Vec::new();
                self.wans[wan].tick(now, &mut out);
                for effect in out {
                    let Effect::Probe(id) = effect else { panic!("{effect:?}") };
                    if answers(ms(now), wan) {
                        self.on_the_way.push((now + MS * 5, wan, id, MS * 5));
                    }
                }
            }
            self.decide();
        }
        self.now = at(end);
    }

    fn link(&mut self, wan: usize, state: State) {
        self.wans[wan].set_link(self.now, state);
        self.decide();
    }

    fn decide(&mut self) {
        for wan in 0..2 {
            if self.wans[wan].take_lost() {
                self.choice.lost_probe(self.now, wan);
            }
            self.choice.set(self.now, wan, self.wans[wan].condition());
        }
        while let Some(decision) = self.choice.decide(self.now) {
            self.said.push((ms(self.now), decision));
        }
        for wan in 0..2 {
            let trial = self.choice.is_on_trial(wan).then(|| self.choice.hold_down(wan));
            self.wans[wan].try_out(self.now, trial);
        }
    }

    /// Times of the switches after the first choice, and where to.
    fn switches(&self) -> Vec<(u64, usize)> {
        let uses = self.said.iter().filter_map(|(t, d)| match d {
            Decision::Use(wan, _) => Some((*t, *wan)),
            Decision::AllDown => None,
        });
        uses.skip(1).collect()
    }
}

fn usual() -> Plan {
    Plan::new(MS * 1000, 2, MS * 1000)
}

#[test]
fn a_silent_gateway_is_left_within_2_2_s_and_1_7_s_in_the_middle() {
    let mut took = Vec::new();
    for n in 0..200 {
        let dies = 10_000 + n * 5;
        let mut world = World::new(usual(), true, MS * 10_000);
        world.run(20_000, |t, wan| wan == 1 || t < dies);
        let switches = world.switches();
        assert_eq!(switches.len(), 1);
        took.push(switches[0].0 - dies);
    }
    took.sort_unstable();
    assert!(took[100] <= 1_700 && took[199] <= 2_200, "median {}, max {}", took[100], took[199]);
}

#[test]
fn a_lost_carrier_is_left_at_once_and_a_dead_standby_is_known_before() {
    let mut world = World::new(usual(), true, MS * 10_000);
    world.run(10_500, |_, _| true);
    world.link(0, State::NoCarrier);
    assert_eq!(world.switches(), [(10_500, 1)]);
    let mut world = World::new(usual(), true, MS * 10_000);
    world.run(10_500, |_, wan| wan == 0);
    assert_eq!(world.choice.condition(1), Some(Condition::Down), "B5");
    world.link(0, State::NoCarrier);
    assert_eq!((world.switches(), world.said.last().unwrap().1), (vec![], Decision::AllDown));
}

#[test]
fn b8_a_missed_check_while_the_other_is_down_changes_nothing() {
    let mut world = World::new(usual(), true, MS * 10_000);
    world.run(60_000, |t, wan| if wan == 0 { t < 10_000 } else { !(30_000..31_500).contains(&t) });
    assert_eq!(world.switches().len(), 1, "{:?}", world.said);
    assert_eq!(world.choice.active(), Some(1));
}

#[test]
fn b36_half_of_all_probes_lost_for_a_minute_costs_at_most_two_switches() {
    for interval in [10_000_u32, 5_000, 2_000, 1_000] {
        for seed in 0..200 {
            let mut random = Random(seed);
            let mut world = World::new(Plan::new(MS * interval, 2, MS * 1000), true, MS * 10_000);
            // Many drops in a minute make the hold-down as long as it gets.
            world.run(730_000, |t, wan| wan == 1 || !(30_000..90_000).contains(&t) || random.below(2) == 0);
            assert!(world.switches().len() <= 2, "interval {interval}, seed {seed}: {:?}", world.said);
            assert_eq!(world.choice.active(), Some(0), "interval {interval}, seed {seed}: it comes back");
        }
    }
}

#[test]
fn b18_standby_is_used_at_once_where_the_primary_interface_is_missing() {
    let plan = usual();
    let mut world = World::new(plan, true, MS * 10_000);
    let setup = Setup { targets: vec![(0, "gateway".into())], plan, min_up: 1, quality: Quality::default() };
    world.wans[0] = Health::new(setup, at(0));
    world.wans[0].set_link(at(0), State::Missing);
    world.run(1_000, |_, _| true);
    assert_eq!((world.choice.active(), world.said.len()), (Some(1), 1), "{:?}", world.said);
}

#[test]
fn fifteen_seconds_up_and_five_down_for_ten_minutes_cost_at_most_four_switches() {
    for offset in 0..20 {
        let mut world = World::new(usual(), true, MS * 10_000);
        world.run(1_500_000, |t, wan| wan == 1 || t > 630_000 || (t + offset * 1000) % 20_000 < 15_000 || t < 30_000);
        assert!(world.switches().len() <= 4, "offset {offset}: {:?}", world.said);
    }
}

#[test]
fn a_fast_plan_sees_a_dead_gateway_in_0_8_s_and_nothing_in_ten_days_of_two_percent_loss() {
    let plan = Plan::new(MS * 200, 4, MS * 300);
    for n in 0..40 {
        let dies = 10_000 + n * 5;
        let mut world = World::new(plan, true, MS * 10_000);
        world.run(20_000, |t, wan| wan == 1 || t < dies);
        assert!(world.switches()[0].0 - dies <= 800, "{:?}", world.said);
    }
    let mut random = Random(1);
    let mut world = World::new(plan, true, MS * 10_000);
    world.run(10 * 86_400_000, |_, _| random.below(100) >= 2);
    assert_eq!(world.switches(), []);
}

/// Random outages of links and gateways. Whenever a WAN has worked for longer than a check takes, the traffic is on one
/// that has not been dead for as long; a failing seed prints what was said.
#[test]
fn random_schedules_never_leave_the_traffic_on_a_dead_wan_while_another_works() {
    /// Two checks and their waits.
    const BOUND: u64 = 4_300;
    for seed in 0..1500 {
        let mut random = Random(seed);
        let mut world = World::new(usual(), random.below(2) == 0, MS * 1000 * random.below(15) as u32);
        // Since when each works, or not.
        let mut works = [true, true];
        let mut since = [0_u64, 0];
        let mut t = 0;
        for _ in 0..25 {
            t += 200 + random.below(12_000);
            world.run(t, |_, wan| works[wan]);
            let long = |wan: usize| t - since[wan] > BOUND;
            let usable = (0..2).any(|wan| works[wan] && long(wan));
            let dead = world.choice.active().is_none_or(|a| !works[a] && long(a));
            assert!(!(usable && dead), "seed {seed} at {t}: {works:?} since {since:?}\n{:?}", world.said);
            let wan = random.below(2) as usize;
            match random.below(4) {
                0 => {
                    let up = random.below(2) == 0;
                    let is_up = matches!(world.wans[wan].link(), Some(State::Ready(_)));
                    world.link(wan, if up { ready() } else { State::NoCarrier });
                    if up != is_up {
                        (works[wan], since[wan]) = (up, t);
                    }
                }
                _ if matches!(world.wans[wan].link(), Some(State::Ready(_))) => {
                    (works[wan], since[wan]) = (!works[wan], t);
                }
                _ => {}
            }
        }
        let alternates = world.switches().windows(2).all(|w| w[0].1 != w[1].1);
        assert!(alternates, "seed {seed}: a switch goes to the other one\n{:?}", world.said);
    }
}
