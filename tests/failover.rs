//! The failover decision in simulated time: two WANs whose truth the test knows, their checks, and
//! what is chosen.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code, not imon's core"
)]

use std::net::Ipv4Addr;
use std::time::Duration;

use imon::base::time::Instant;
use imon::event::What;
use imon::event::cause::Cause;
use imon::kernel::{MAIN, PROTOCOL, Route};
use imon::monitor::failover::choice::Condition;
use imon::monitor::failover::health::{Limit, Quality};
use imon::monitor::failover::{Failover, FailoverSetup, WanSetup};
use imon::monitor::{Effect, Observation};
use imon::probe::ProbeId;
use imon::probe::round::Plan;
use imon::routing::{GatewaySource, LinkState, Policy, WanPath};

use world::kernel;
use world::router::{self, Router};

#[path = "world"]
#[allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    reason = "a part of the simulated world is enough here"
)]
mod world {
    pub mod kernel;
    pub mod router;
}

/// The links of the WANs.
const LINKS: [u32; 2] = [router::WAN1, router::WAN2];

const MS: Duration = Duration::from_millis(1);
/// Targets of the WANs have their numbers; what is pinged after a switch has this and the WAN's.
const POSTPING: u32 = 10;

/// A generator of its own, so that a seed can be replayed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

fn ms(now: Instant) -> u64 {
    now.as_nanos() / 1_000_000
}

fn road(wan: usize, host: u8) -> LinkState {
    let address = Ipv4Addr::new(192, 168, 42 + 20 * wan as u8, host);
    LinkState::Ready(WanPath { index: 3 + wan as u32, address, gateway: None, peer: None })
}

fn setup(plan: Plan, prefer_first: bool, hold_down: Duration) -> FailoverSetup {
    let wan = |n: u32| WanSetup {
        name: format!("net{n}").into(),
        device: format!("wan{n}").into(),
        targets: vec![(n, "gateway".into())],
        by_gateway: true,
        postping: None,
    };
    FailoverSetup {
        wans: vec![wan(0), wan(1)],
        plan,
        min_up: 1,
        quality: Quality::default(),
        prefer_first,
        hold_down,
        idle_interval: None,
        remind: None,
        adopted: None,
    }
}

/// Drives the monitor through simulated time, with a kernel that does what the plan of routes says,
/// or refuses.
struct Driver {
    now: Instant,
    monitor: Failover,
    /// What the links are like: of a real plan over the kernel's picture, or as the test sets them.
    links: [LinkState; 2],
    kernel: Kernel,
    on_the_way: Vec<(Instant, ProbeId, Duration)>,
    /// Over which WAN the default route goes.
    route: Option<usize>,
    /// Why the kernel refuses every route.
    refuses: Option<&'static str>,
    /// Every event, and when.
    said: Vec<(u64, What)>,
    /// Every route that was set and told of, and when; every change of the way; probes sent to each
    /// WAN.
    routes: Vec<(u64, usize)>,
    moves: Vec<(u64, usize)>,
    probes: [usize; 2],
}

/// The kernel's network, which the simulated world has as well, and what is planned for it.
struct Kernel {
    router: Router,
    policy: Policy,
}

impl Kernel {
    fn new() -> Self {
        let wan = |(device, gateway): (&str, Ipv4Addr)| imon::routing::Uplink {
            device: device.into(),
            gateway: GatewaySource::Fixed(gateway),
            targets: Vec::new(),
            remembered: None,
        };
        let wans = [("wan1", router::GW1), ("wan2", router::GW2)].map(wan);
        Self { router: Router::new(), policy: Policy::new("t", wans.into(), 201) }
    }

    /// Sets a link; one that is set down loses its routes without a word.
    fn set_link(&mut self, wan: usize, up: bool, carrier: bool) {
        self.router.plug(LINKS[wan], carrier);
        self.router.set_up(LINKS[wan], up);
    }

    /// Sets its address, or takes it away, and the routes that need it with it.
    fn set_address(&mut self, wan: usize, host: Option<u8>) {
        let address = host.map(|host| Ipv4Addr::new(192, 168, 42 + 20 * wan as u8, host));
        self.router.set_address(LINKS[wan], address);
    }

    /// Somebody else's default, where the kernel takes it.
    fn add_foreign(&mut self, wan: usize, metric: u32) {
        let gateway = Ipv4Addr::new(192, 168, 42 + 20 * wan as u8, 254);
        let hop = kernel::Hop {
            index: LINKS[wan],
            gateway: Some(gateway.into()),
            ..kernel::Hop::default()
        };
        let route = kernel::Route {
            table: MAIN,
            destination: Ipv4Addr::UNSPECIFIED.into(),
            prefix: 0,
            tos: 0,
            metric,
            kind: kernel::Kind::Unicast,
            scope: kernel::scope::UNIVERSE,
            protocol: 16,
            source: None,
            hops: vec![hop],
        };
        self.router.change(|kernel| _ = kernel.add_route(&route, kernel::Mode::ADD));
    }

    fn foreign(&self) -> Vec<Route> {
        self.router.routes.iter().filter(|r| !r.is_ours()).cloned().collect()
    }

    fn states(&self) -> [LinkState; 2] {
        [0, 1].map(|wan| self.policy.state(wan, &self.router.view()).unwrap())
    }

    /// Makes what the plan wants; nothing of others may be touched by it.
    fn make(&mut self, chosen: Option<usize>) {
        let foreign = self.foreign();
        self.router.follow(&self.policy, chosen);
        assert_eq!(self.foreign(), foreign, "what belongs to others is left alone");
    }

    /// By which WAN packets of a LAN host leave.
    fn way(&self) -> Option<usize> {
        let way = self.router.way(Some(Ipv4Addr::new(192, 168, 92, 50)))?;
        LINKS.iter().position(|link| *link == way)
    }
}

impl Driver {
    fn new(plan: Plan, prefer_first: bool, hold_down: Duration) -> Self {
        Self::of(setup(plan, prefer_first, hold_down), [road(0, 2), road(1, 2)])
    }

    fn of(setup: FailoverSetup, links: [LinkState; 2]) -> Self {
        let route = setup.adopted;
        let mut driver = Self {
            now: at(0),
            monitor: Failover::new(setup, at(0)),
            links,
            kernel: Kernel::new(),
            on_the_way: Vec::new(),
            route,
            refuses: None,
            said: Vec::new(),
            routes: Vec::new(),
            moves: Vec::new(),
            probes: [0; 2],
        };
        driver.see(&Observation::Links(&links), &mut |_, _| true);
        driver
    }

    /// Runs until `end`; `answers` tells whether a WAN answers a probe sent at that time, always
    /// after 5 ms.
    fn run(&mut self, end: u64, mut answers: impl FnMut(u64, usize) -> bool) {
        loop {
            let reply = self.on_the_way.iter().map(|r| r.0).min();
            let next = self.monitor.poll_at().into_iter().chain(reply).min();
            let Some(now) = next.filter(|t| *t <= at(end)) else { break };
            self.now = self.now.max(now);
            while let Some(place) = self.on_the_way.iter().position(|r| r.0 <= now) {
                let (_, id, rtt) = self.on_the_way.swap_remove(place);
                self.see(&Observation::Reply(id, rtt), &mut answers);
            }
            self.see(&Observation::Tick, &mut answers);
        }
        self.now = at(end);
    }

    fn see(&mut self, seen: &Observation<'_>, answers: &mut dyn FnMut(u64, usize) -> bool) {
        let mut effects = Vec::new();
        self.monitor.on(self.now, seen, &mut effects);
        let mut done = 0;
        while let Some(effect) = effects.get(done).cloned() {
            done += 1;
            assert!(done < 1000, "it does not come to an end: {effects:?}");
            match effect {
                Effect::Probe(id) => {
                    let wan = (id.owner % POSTPING) as usize;
                    assert!(
                        matches!(self.links[wan], LinkState::Ready(_)),
                        "a probe without a link"
                    );
                    self.probes[wan] += 1;
                    if answers(ms(self.now), wan) {
                        self.on_the_way.push((self.now + MS * 5, id, MS * 5));
                    }
                }
                Effect::Route(wan) => {
                    let result = match (self.refuses, self.links[wan]) {
                        (Some(why), _) => Err(why.into()),
                        (None, LinkState::Ready(_)) => Ok(()),
                        (None, _) => Err("the link is not ready".into()),
                    };
                    let (made, before) = (result.is_ok(), self.monitor.switches().1);
                    if made {
                        self.lead(wan);
                    }
                    self.monitor.on(self.now, &Observation::Routed { wan, result }, &mut effects);
                    if made && self.monitor.switches().1 != before {
                        self.routes.push((ms(self.now), wan));
                    }
                }
                Effect::Detour(wan) => {
                    if self.refuses.is_none() && matches!(self.links[wan], LinkState::Ready(_)) {
                        self.lead(wan);
                    }
                }
                Effect::Emit(event) => self.said.push((ms(self.now), event.what)),
                Effect::Refresh(_) | Effect::Resolve(_) => {}
                Effect::Ask(..) | Effect::Lookup(_) | Effect::Publish(_) | Effect::Save => {
                    panic!("{effect:?}")
                }
            }
        }
    }

    fn lead(&mut self, wan: usize) {
        self.kernel.make(Some(wan));
        if self.route.replace(wan) != Some(wan) {
            self.moves.push((ms(self.now), wan));
        }
    }

    fn link(&mut self, wan: usize, state: LinkState) {
        self.links[wan] = state;
        // What was on its way over the link is lost.
        self.on_the_way.retain(|r| (r.1.owner % POSTPING) as usize != wan);
        let links = self.links;
        self.see(&Observation::Links(&links), &mut |_, _| true);
    }

    /// After something has changed in the kernel: as the loop does it.
    fn hear(&mut self) {
        let states = self.kernel.states();
        let changed = |wan: usize| states[wan] != self.links[wan];
        self.on_the_way.retain(|r| !changed((r.1.owner % POSTPING) as usize));
        if states != self.links {
            self.links = states;
            self.see(&Observation::Links(&states), &mut |_, _| true);
        }
        if self.refuses.is_none() {
            self.kernel.make(self.route);
        }
    }

    fn condition(&self, wan: usize) -> Condition {
        self.monitor.wans()[wan].health.condition()
    }

    /// Times of the switches after the first choice, and where to.
    fn switches(&self) -> Vec<(u64, usize)> {
        self.routes.iter().skip(1).copied().collect()
    }

    /// The log.
    fn log(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (_, what) in &self.said {
            let event = imon::event::Event {
                monitor: imon::event::Monitor::Failover,
                owner: 0,
                what: what.clone(),
            };
            event.log(false, &mut |_, line| lines.push(line.to_string()));
        }
        lines
    }

    fn both_down(&self) -> usize {
        self.said.iter().filter(|(_, what)| matches!(what, What::AllDown { .. })).count()
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
        let mut driver = Driver::new(usual(), true, MS * 10_000);
        driver.run(20_000, |t, wan| wan == 1 || t < dies);
        let switches = driver.switches();
        assert_eq!(switches.len(), 1);
        took.push(switches[0].0 - dies);
    }
    took.sort_unstable();
    assert!(took[100] <= 1_700 && took[199] <= 2_200, "median {}, max {}", took[100], took[199]);
}

#[test]
fn a_lost_carrier_is_left_at_once_and_a_dead_standby_is_known_before() {
    let mut driver = Driver::new(usual(), true, MS * 10_000);
    driver.run(10_500, |_, _| true);
    driver.link(0, LinkState::NoCarrier);
    assert_eq!(driver.switches(), [(10_500, 1)]);
    let mut driver = Driver::new(usual(), true, MS * 10_000);
    driver.run(10_500, |_, wan| wan == 0);
    assert_eq!(driver.condition(1), Condition::Down, "B5");
    driver.link(0, LinkState::NoCarrier);
    assert_eq!((driver.switches(), driver.both_down()), (vec![], 1), "{:?}", driver.said);
}

#[test]
fn b8_a_missed_check_while_the_other_is_down_changes_nothing() {
    let mut driver = Driver::new(usual(), true, MS * 10_000);
    driver.run(60_000, |t, wan| if wan == 0 { t < 10_000 } else { !(30_000..31_500).contains(&t) });
    assert_eq!(driver.switches().len(), 1, "{:?}", driver.said);
    assert_eq!(driver.route, Some(1));
}

#[test]
fn b36_half_of_all_probes_lost_for_a_minute_costs_at_most_two_switches() {
    for interval in [10_000_u32, 5_000, 2_000, 1_000] {
        for seed in 0..200 {
            let mut random = Random(seed);
            let mut driver = Driver::new(Plan::new(MS * interval, 2, MS * 1000), true, MS * 10_000);
            // Many drops in a minute make the hold-down as long as it gets.
            driver.run(730_000, |t, wan| {
                wan == 1 || !(30_000..90_000).contains(&t) || random.below(2) == 0
            });
            assert!(
                driver.switches().len() <= 2,
                "interval {interval}, seed {seed}: {:?}",
                driver.said
            );
            assert_eq!(driver.route, Some(0), "interval {interval}, seed {seed}: it comes back");
        }
    }
}

#[test]
fn b18_standby_is_used_at_once_where_the_primary_interface_is_missing() {
    let mut driver =
        Driver::of(setup(usual(), true, MS * 10_000), [LinkState::Missing, road(1, 2)]);
    driver.run(1_000, |_, _| true);
    assert_eq!((driver.route, driver.routes.len()), (Some(1), 1), "{:?}", driver.said);
}

#[test]
fn fifteen_seconds_up_and_five_down_for_ten_minutes_cost_at_most_four_switches() {
    for offset in 0..20 {
        let mut driver = Driver::new(usual(), true, MS * 10_000);
        driver.run(1_500_000, |t, wan| {
            wan == 1 || t > 630_000 || (t + offset * 1000) % 20_000 < 15_000 || t < 30_000
        });
        assert!(driver.switches().len() <= 4, "offset {offset}: {:?}", driver.said);
    }
}

#[test]
fn a_fast_plan_sees_a_dead_gateway_in_0_8_s_and_nothing_in_ten_days_of_two_percent_loss() {
    let plan = Plan::new(MS * 200, 4, MS * 300);
    for n in 0..40 {
        let dies = 10_000 + n * 5;
        let mut driver = Driver::new(plan, true, MS * 10_000);
        driver.run(20_000, |t, wan| wan == 1 || t < dies);
        assert!(driver.switches()[0].0 - dies <= 800, "{:?}", driver.said);
    }
    let mut random = Random(1);
    let mut driver = Driver::new(plan, true, MS * 10_000);
    driver.run(10 * 86_400_000, |_, _| random.below(100) >= 2);
    assert_eq!(driver.switches(), []);
}

#[test]
fn the_order_at_the_start_is_primary_its_switch_its_postping_and_then_standby() {
    let mut setup = setup(usual(), true, MS * 10_000);
    for (n, wan) in setup.wans.iter_mut().enumerate() {
        wan.postping = Some((POSTPING + n as u32, "1.1.1.1".into()));
    }
    let mut driver = Driver::of(setup.clone(), [road(0, 2), road(1, 2)]);
    driver.run(900, |_, _| true);
    assert_eq!(
        driver.log(),
        [
            "Network Failover Initial State for Primary Network net0 (wan0): online",
            "Network Failover to Primary Network net0 (wan0)",
            "Network Failover Primary Route net0 (wan0) is active",
            "Info: Primary Network Ping Target 1.1.1.1 Online After Failover",
            "Network Failover Initial State for Standby Network net1 (wan1): online",
        ]
    );
    let mut driver = Driver::of(setup, [road(0, 2), road(1, 2)]);
    driver.run(1_300, |_, wan| wan == 1);
    assert_eq!(
        driver.log(),
        [
            "Primary Network net0 (wan0): nothing answers: 2 probes to its gateway in a row unanswered; it has never \
             answered: if it answers no pings at all, set primary-ping",
            "Network Failover Initial State for Primary Network net0 (wan0): offline",
            "Network Failover Initial State for Standby Network net1 (wan1): online",
            "Network Failover to Standby Network net1 (wan1)",
            "Network Failover Standby Route net1 (wan1) is active",
            "Info: Standby Network Ping Target 1.1.1.1 Online After Failover",
        ]
    );
}

#[test]
fn a_failover_and_a_failback_are_told_as_v2_99_did() {
    let mut driver = Driver::new(usual(), true, MS * 10_000);
    driver.run(10_400, |_, _| true);
    let before = driver.log().len();
    driver.run(60_000, |t, wan| wan == 1 || t > 31_000);
    assert_eq!(
        driver.log()[before..],
        [
            "Primary Network net0 (wan0): nothing answers: 2 probes to its gateway in a row unanswered",
            "Primary Network net0 (wan0) is now offline",
            "Network Failover to Standby Network net1 (wan1)",
            "Network Failover Standby Route net1 (wan1) is active",
            "Primary Network net0 (wan0) is now online",
            "Primary Network Outage Duration: 0 days 0 hours, 0 minutes 20 seconds",
            "Network Failover to Primary Network net0 (wan0)",
            "Network Failover Primary Route net0 (wan0) is active",
        ]
    );
    assert_eq!(driver.monitor.switches().0, 2);
}

#[test]
fn both_down_is_told_within_a_check_and_the_first_that_answers_is_used_at_once() {
    let mut driver = Driver::new(usual(), true, MS * 10_000);
    driver.run(60_000, |t, wan| if wan == 0 { t < 10_000 } else { !(20_000..40_000).contains(&t) });
    let told = driver.said.iter().find(|(_, what)| matches!(what, What::AllDown { .. })).unwrap().0;
    assert!((20_000..22_200).contains(&told), "{told}");
    assert_eq!((driver.route, driver.switches().len()), (Some(1), 1), "the last road stays");
    driver.run(80_000, |t, wan| wan == 0 || t < 70_000);
    assert!(
        driver.switches().iter().any(|(t, wan)| *wan == 0 && *t < 72_500),
        "{:?}",
        driver.switches()
    );
}

#[test]
fn b19_a_route_that_the_kernel_refuses_is_never_called_active_and_is_tried_again() {
    let mut driver = Driver::of(setup(usual(), true, MS * 10_000), [road(0, 2), road(1, 2)]);
    driver.refuses = Some("Network is unreachable");
    driver.run(130_000, |_, _| true);
    let log = driver.log();
    assert!(
        !log.iter().any(|line| line.contains("is active") || line.contains("Failover to")),
        "{log:?}"
    );
    let told = log
        .iter()
        .filter(|line| line.contains("cannot be set") && line.contains("unreachable"))
        .count();
    assert_eq!(told, 3, "once a minute: {log:?}");
    assert_eq!(driver.monitor.active(), None);
    assert_eq!(
        log.iter().filter(|line| line.contains("Initial State")).count(),
        2,
        "standby does not wait for that"
    );
    driver.refuses = None;
    driver.run(132_000, |_, _| true);
    assert_eq!((driver.route, driver.monitor.active()), (Some(0), Some(0)));
}

/// Where a client adds an address before the route to its subnet, the gateway counts as unreachable
/// for a moment.
#[test]
fn v12_a_refusal_that_passes_within_300_ms_is_not_told() {
    for (lasts, told) in [(0, 0), (10, 0), (250, 0), (290, 0), (340, 1), (2_000, 1)] {
        let mut driver = Driver::new(usual(), true, MS * 10_000);
        driver.run(10_500, |_, _| true);
        driver.refuses = Some("Nexthop has invalid gateway");
        driver.link(0, LinkState::NoCarrier);
        driver.run(10_500 + lasts, |_, _| true);
        driver.refuses = None;
        driver.run(20_000, |_, _| true);
        assert_eq!((driver.route, driver.monitor.active()), (Some(1), Some(1)), "{lasts} ms");
        let log = driver.log();
        let said = log.iter().filter(|line| line.contains("cannot be set")).count();
        assert_eq!(said, told, "{lasts} ms: {log:?}");
        let took = driver.moves.last().unwrap().0 - (10_500 + lasts);
        assert!(took <= if told == 0 { 20 } else { 1_000 }, "{lasts} ms: {took} ms");
    }
}

#[test]
fn b37_an_outage_lasts_from_its_first_lost_probe_on_the_monotonic_clock() {
    let mut driver = Driver::new(usual(), true, MS * 10_000);
    driver.run(40_000, |t, wan| wan == 1 || !(10_900..30_900).contains(&t));
    let lasted = driver.said.iter().find_map(|(_, what)| match what {
        What::WanOnline { outage, .. } => Some(outage.lasted),
        _ => None,
    });
    assert_eq!(lasted, Some(MS * 20_005), "from the probe at 11 s to the reply to that at 31 s");
}

#[test]
fn b9_another_address_is_followed_and_is_neither_an_outage_nor_a_switch() {
    let mut driver = Driver::new(usual(), true, MS * 10_000);
    driver.run(10_400, |_, _| true);
    let before = driver.said.len();
    driver.link(0, road(0, 77));
    driver.run(30_000, |_, _| true);
    assert_eq!((driver.said.len(), driver.switches()), (before, vec![]));
    assert_eq!(driver.monitor.name(0).unwrap().address, Some(Ipv4Addr::new(192, 168, 42, 77)));
}

#[test]
fn b46_what_an_earlier_imon_left_is_taken_over_and_told() {
    let adopted = FailoverSetup { adopted: Some(1), ..setup(usual(), false, MS * 10_000) };
    let mut driver = Driver::of(adopted.clone(), [road(0, 2), road(1, 2)]);
    driver.run(30_000, |_, wan| wan == 1);
    assert_eq!(driver.routes.iter().map(|r| r.1).collect::<Vec<_>>(), [1], "told, not moved");
    let mut driver = Driver::of(adopted, [road(0, 2), road(1, 2)]);
    driver.run(30_000, |_, _| true);
    assert_eq!(
        driver.routes.iter().map(|r| r.1).collect::<Vec<_>>(),
        [0],
        "a healthy primary is used, as V2.99 did"
    );
}

#[test]
fn at_boot_standby_is_used_within_two_seconds_of_its_address() {
    let mut driver =
        Driver::of(setup(usual(), true, MS * 10_000), [road(0, 2), LinkState::NoAddress]);
    driver.run(30_000, |_, _| false);
    assert_eq!((driver.route, driver.both_down()), (None, 1));
    driver.link(1, road(1, 2));
    driver.run(32_000, |_, wan| wan == 1);
    assert_eq!(driver.route, Some(1));
}

#[test]
fn a_metered_standby_is_verified_when_it_may_be_needed_and_used_within_the_bound() {
    let idle =
        FailoverSetup { idle_interval: Some(MS * 300_000), ..setup(usual(), true, MS * 10_000) };
    for n in 0..100 {
        let dies = 1_000_000 + n * 10;
        let mut driver = Driver::of(idle.clone(), [road(0, 2), road(1, 2)]);
        driver.run(1_010_000, |t, wan| wan == 1 || t < dies);
        let switches = driver.switches();
        assert!(switches.len() == 1 && switches[0].0 - dies <= 2_200, "{dies}: {switches:?}");
    }
    let mut driver = Driver::of(idle.clone(), [road(0, 2), road(1, 2)]);
    driver.run(30 * 86_400_000, |_, _| true);
    // An echo request of ours and its reply are 68 bytes each.
    let bytes = driver.probes[1] * 2 * 68;
    assert!(bytes < 1_300_000, "{bytes} bytes a month");
    // One that has died meanwhile is not believed in.
    let mut driver = Driver::of(idle, [road(0, 2), road(1, 2)]);
    driver.run(1_010_000, |t, wan| if wan == 0 { t < 1_000_000 } else { t < 950_000 });
    assert_eq!((driver.switches(), driver.both_down()), (vec![], 1));
}

#[test]
fn degraded_is_no_outage_and_a_better_wan_is_used() {
    let limit = Limit { most: 0.2, again: 0.1 };
    let quality = Quality { loss: Some(limit), rtt: None };
    let mut driver = Driver::of(
        FailoverSetup { quality, ..setup(usual(), false, MS * 10_000) },
        [road(0, 2), road(1, 2)],
    );
    // The first probe of each check of the primary is lost, the second answered.
    driver.run(200_000, |t, wan| wan == 1 || t < 60_000 || t % 1000 != 0);
    assert_eq!(driver.switches().len(), 1, "{:?}", driver.said);
    let log = driver.log().join("\n");
    assert!(log.contains("Primary Network net0 (wan0) is degraded: "), "{log}");
    assert!(!log.contains("offline"), "{log}");
    assert_eq!(driver.monitor.switches().1.unwrap().cause, Cause::Degraded);
}

/// Both work and primary is in use for ten seconds; then its address goes, at 10,500 ms.
fn renewing(prefer_first: bool) -> Driver {
    let mut driver = Driver::new(usual(), prefer_first, MS * 10_000);
    driver.run(10_500, |_, _| true);
    driver.link(0, LinkState::NoAddress);
    driver
}

#[test]
fn d8_a_renewal_of_up_to_300_ms_moves_the_packets_and_is_neither_told_nor_counted() {
    for (gateway, away) in
        [1, 2, 10, 50, 100, 200, 250, 290, 298, 299].into_iter().flat_map(|n| [(2, n), (77, n)])
    {
        let mut driver = renewing(true);
        let said = driver.said.len();
        assert_eq!(driver.moves.last(), Some(&(10_500, 1)), "{away} ms: packets move at once");
        driver.run(10_500 + away, |_, _| true);
        driver.link(0, road(0, gateway));
        assert_eq!(driver.moves.last(), Some(&(10_500 + away, 0)), "{away} ms: and back at once");
        driver.run(60_000, |_, _| true);
        assert_eq!(
            (driver.said.len(), driver.switches()),
            (said, vec![]),
            "{away} ms: {:?}",
            driver.log()
        );
        assert_eq!(driver.monitor.switches().0, 0);
        assert_eq!(driver.moves.len(), 3);
        // A real outage of a second right afterwards is the first drop: the hold-down is as short
        // as configured.
        driver.link(0, LinkState::NoCarrier);
        driver.run(61_000, |_, _| true);
        driver.link(0, road(0, 2));
        driver.run(72_000, |_, _| true);
        let switches = driver.switches();
        assert!(matches!(switches[..], [(60_000, 1), (71_000..=71_100, 0)]), "{switches:?}");
    }
}

#[test]
fn d8_what_lasts_longer_is_an_outage_from_the_moment_the_address_went() {
    for away in [300, 301, 500, 5_000] {
        let mut driver = renewing(true);
        let said = driver.said.len();
        driver.run(10_799, |_, _| true);
        assert_eq!(driver.said.len(), said, "nothing is told before");
        driver.run(10_500 + away, |_, _| true);
        assert_eq!(driver.switches(), [(10_800, 1)], "{:?}", driver.log());
        assert_eq!(
            driver.moves.last(),
            Some(&(10_500, 1)),
            "the packets are there since the address went"
        );
        let log = driver.log();
        assert!(
            log.contains(&"Primary Network net0 (wan0): the interface has no address".to_owned()),
            "{log:?}"
        );
        driver.link(0, road(0, 2));
        driver.run(30_000, |_, _| true);
        let lasted = driver.said.iter().find_map(|(_, what)| match what {
            What::WanOnline { outage, .. } => Some(outage.lasted),
            _ => None,
        });
        assert_eq!(lasted, Some(MS * (away as u32 + 5)), "to the first reply");
        assert_eq!(driver.switches().len(), 2, "and back after the hold-down");
    }
}

#[test]
fn d8_whatever_else_speaks_for_an_outage_is_believed_at_once() {
    for state in [LinkState::NoCarrier, LinkState::Down, LinkState::Missing, LinkState::Port] {
        let mut driver = renewing(true);
        driver.run(10_600, |_, _| true);
        driver.link(0, state);
        assert_eq!(driver.switches(), [(10_600, 1)], "{state:?} while it is away");
        let mut driver = Driver::new(usual(), true, MS * 10_000);
        driver.run(10_500, |_, _| true);
        driver.link(0, state);
        assert_eq!(driver.switches(), [(10_500, 1)], "{state:?} alone");
        driver.link(0, LinkState::NoAddress);
        assert_eq!(driver.switches(), [(10_500, 1)], "{state:?} first");
    }
    // The probe at 10 s is unanswered when the address goes half a second later.
    let mut driver = Driver::new(usual(), true, MS * 10_000);
    driver.run(10_500, |t, wan| wan == 1 || t < 9_900);
    driver.link(0, LinkState::NoAddress);
    assert_eq!(driver.switches(), [(10_500, 1)], "silent before");
    // One that was sent a moment before says nothing.
    let mut driver = Driver::new(usual(), true, MS * 10_000);
    driver.run(11_003, |_, _| true);
    driver.link(0, LinkState::NoAddress);
    assert_eq!((driver.switches(), driver.route), (vec![], Some(1)));
    // At the start an address that is not there is none that has gone.
    let mut driver =
        Driver::of(setup(usual(), true, MS * 10_000), [LinkState::NoAddress, road(1, 2)]);
    driver.run(100, |_, _| true);
    assert_eq!(driver.route, Some(1));
}

#[test]
fn d8_losses_of_other_kinds_in_a_row_and_a_gateway_that_comes_later_are_one_renewal() {
    for states in [
        vec![LinkState::NoGateway],
        vec![LinkState::NoAddress, LinkState::NoGateway],
        vec![LinkState::NoAddress, LinkState::Refused],
        vec![LinkState::NoGateway, LinkState::NoAddress, LinkState::NoGateway],
    ] {
        for (step, told) in [(60, 0), (160, 1)] {
            let mut driver = Driver::new(usual(), true, MS * 10_000);
            driver.run(10_500, |_, _| true);
            let said = driver.said.len();
            for (n, state) in (0..).zip(&states) {
                driver.run(10_500 + n * step, |_, _| true);
                driver.link(0, *state);
            }
            let ready = 10_500 + step * states.len() as u64;
            driver.run(ready, |_, _| true);
            driver.link(0, road(0, 2));
            driver.run(ready + 2_000, |_, _| true);
            let late = ready - 10_500 >= 300;
            assert_eq!(
                driver.said.len() > said,
                late && told == 1,
                "{states:?} {step}: {:?}",
                driver.log()
            );
        }
    }
}

#[test]
fn d8_one_that_goes_again_before_it_has_answered_has_been_away_all_the_time() {
    let mut driver = renewing(true);
    let said = driver.said.len();
    // 80 ms away and 20 ms there, and never an answer: told 300 ms after the first time.
    for n in 0..5 {
        driver.run(10_580 + n * 100, |_, wan| wan == 1);
        driver.link(0, road(0, 2));
        driver.run(10_600 + n * 100, |_, wan| wan == 1);
        driver.link(0, LinkState::NoAddress);
    }
    assert_eq!(driver.switches(), [(10_800, 1)], "{:?}", driver.log());
    assert!(driver.said.len() > said);
    // With an answer in between each is a renewal of its own.
    let mut driver = renewing(true);
    let said = driver.said.len();
    for n in 0..50 {
        driver.run(10_700 + n * 300, |_, _| true);
        driver.link(0, road(0, 2 + (n % 2) as u8));
        driver.run(10_800 + n * 300, |_, _| true);
        driver.link(0, LinkState::NoAddress);
    }
    driver.link(0, road(0, 2));
    driver.run(60_000, |_, _| true);
    assert_eq!((driver.said.len(), driver.switches(), driver.route), (said, vec![], Some(0)));
}

#[test]
fn d8_one_that_comes_back_and_does_not_answer_is_an_outage_by_its_silence() {
    let mut driver = renewing(true);
    let said = driver.said.len();
    driver.run(10_600, |_, _| true);
    driver.link(0, road(0, 2));
    assert_eq!((driver.route, driver.said.len()), (Some(0), said));
    driver.run(14_000, |_, wan| wan == 1);
    assert_eq!(driver.switches().len(), 1, "{:?}", driver.log());
}

#[test]
fn d8_standby_may_renew_while_it_is_used_or_not() {
    // It is not in use, and nothing is moved.
    let mut driver = Driver::new(usual(), true, MS * 10_000);
    driver.run(10_500, |_, _| true);
    let (said, moves) = (driver.said.len(), driver.moves.len());
    driver.link(1, LinkState::NoAddress);
    driver.run(10_700, |_, _| true);
    driver.link(1, road(1, 5));
    driver.run(20_000, |_, _| true);
    assert_eq!((driver.said.len(), driver.moves.len()), (said, moves));
    // It is away when primary fails: used as soon as it is there.
    driver.link(1, LinkState::NoAddress);
    driver.link(0, LinkState::NoCarrier);
    assert_eq!((driver.route, driver.both_down()), (Some(0), 0), "{:?}", driver.log());
    driver.run(20_150, |_, _| true);
    driver.link(1, road(1, 5));
    assert_eq!(
        (driver.switches().last(), driver.both_down()),
        (Some(&(20_150, 1)), 0),
        "{:?}",
        driver.log()
    );
    // It is in use, and primary is on trial: its hold-down goes on.
    driver.run(25_000, |_, _| true);
    driver.link(0, road(0, 2));
    driver.run(30_000, |_, _| true);
    driver.link(1, LinkState::NoAddress);
    assert_eq!(
        (driver.route, driver.switches().len()),
        (Some(0), 1),
        "over primary for the moment"
    );
    driver.run(30_200, |_, _| true);
    driver.link(1, road(1, 6));
    assert_eq!(driver.route, Some(1));
    driver.run(40_000, |_, _| true);
    let back = driver.switches()[1];
    assert!(matches!(back, (35_000..=35_200, 0)), "{back:?}");
}

#[test]
fn d8_a_renewal_in_the_hold_down_does_not_let_it_end_or_begin_anew() {
    let mut driver = Driver::new(usual(), true, MS * 10_000);
    driver.run(10_500, |_, _| true);
    driver.link(0, LinkState::NoCarrier);
    driver.run(20_000, |_, _| true);
    driver.link(0, road(0, 2));
    // The hold-down ends at 30 s, in the middle of the renewal.
    driver.run(29_900, |_, _| true);
    driver.link(0, LinkState::NoAddress);
    driver.run(30_100, |_, _| true);
    assert_eq!(driver.switches().len(), 1);
    driver.link(0, road(0, 3));
    driver.run(31_000, |_, _| true);
    assert!(matches!(driver.switches()[..], [_, (30_100..=30_200, 0)]), "{:?}", driver.switches());
}

#[test]
fn d8_both_that_renew_at_once_are_no_outage_of_the_internet() {
    for (first, second) in [(50, 250), (250, 50), (200, 200)] {
        let mut driver = renewing(true);
        let said = driver.said.len();
        driver.link(1, LinkState::NoAddress);
        let mut ends = [(10_500 + first, 0), (10_500 + second, 1)];
        ends.sort_unstable();
        for (end, wan) in ends {
            driver.run(end, |_, _| true);
            driver.link(wan, road(wan, 9));
            if wan == 1 && second < first {
                assert_eq!(driver.route, Some(1), "the first that is there is used");
            }
        }
        assert_eq!(driver.route, Some(0));
        driver.run(60_000, |_, _| true);
        assert_eq!((driver.said.len(), driver.both_down()), (said, 0), "{:?}", driver.log());
    }
    let mut driver = renewing(true);
    driver.link(1, LinkState::NoAddress);
    driver.run(12_000, |_, _| true);
    assert_eq!(driver.both_down(), 1, "and one, after 300 ms");
    driver.link(0, road(0, 2));
    driver.run(13_000, |_, _| true);
    assert_eq!((driver.route, driver.monitor.active()), (Some(0), Some(0)));
}

#[test]
fn d8_a_detour_that_fails_is_left_and_the_traffic_comes_back_whatever_happens() {
    // Both lose it: primary's address for good, the other's cable.
    let mut driver = renewing(true);
    driver.run(10_600, |_, _| true);
    driver.link(1, LinkState::NoCarrier);
    driver.run(20_000, |_, _| true);
    assert_eq!(driver.both_down(), 1);
    driver.link(0, road(0, 2));
    assert_eq!(driver.route, Some(0), "before it has answered: there is no other");
    driver.run(21_000, |_, _| true);
    assert_eq!((driver.route, driver.monitor.active()), (Some(0), Some(0)), "{:?}", driver.log());
    // A reload in the middle.
    let mut driver = renewing(true);
    let said = driver.said.len();
    driver.reload(FailoverSetup { adopted: Some(0), ..setup(usual(), true, MS * 5_000) });
    driver.run(10_600, |_, _| true);
    driver.link(0, road(0, 2));
    driver.run(40_000, |_, _| true);
    assert_eq!((driver.route, driver.monitor.active()), (Some(0), Some(0)), "{:?}", driver.log());
    assert_eq!(driver.said.len(), said, "{:?}", driver.log());
    // One that stays away is told all the same.
    let mut driver = renewing(true);
    driver.reload(FailoverSetup { adopted: Some(0), ..setup(usual(), true, MS * 5_000) });
    driver.run(12_900, |_, _| true);
    assert_eq!((driver.route, driver.switches().len()), (Some(1), 1), "{:?}", driver.log());
    // A kernel that refuses the way back is asked again.
    let mut driver = renewing(true);
    driver.refuses = Some("No buffer space available");
    driver.run(10_600, |_, _| true);
    driver.link(0, road(0, 2));
    driver.run(11_000, |_, _| true);
    assert_eq!(driver.route, Some(1));
    assert!(driver.log().iter().any(|line| line.contains("cannot be set")), "{:?}", driver.log());
    driver.refuses = None;
    driver.run(13_000, |_, _| true);
    assert_eq!((driver.route, driver.switches()), (Some(0), vec![]), "{:?}", driver.log());
    // Soon, and without a word where the subnet's route comes a moment after the address.
    let mut driver = renewing(true);
    let said = driver.said.len();
    driver.refuses = Some("Nexthop has invalid gateway");
    driver.run(10_600, |_, _| true);
    driver.link(0, road(0, 2));
    driver.run(10_650, |_, _| true);
    driver.refuses = None;
    driver.run(10_680, |_, _| true);
    assert_eq!((driver.route, driver.said.len()), (Some(0), said), "{:?}", driver.log());
}

#[test]
fn d8_a_point_to_point_link_and_one_that_is_probed_rarely_are_no_exceptions() {
    let address = Ipv4Addr::new(10, 64, 0, 2);
    let ppp = |last| {
        LinkState::Ready(WanPath {
            index: 9,
            address,
            gateway: None,
            peer: Some(Ipv4Addr::new(10, 64, 0, last)),
        })
    };
    let idle =
        FailoverSetup { idle_interval: Some(MS * 300_000), ..setup(usual(), true, MS * 10_000) };
    let mut driver = Driver::of(idle, [ppp(1), road(1, 2)]);
    driver.run(1_000_500, |_, _| true);
    let said = driver.said.len();
    driver.link(0, LinkState::NoAddress);
    assert_eq!(driver.route, Some(1));
    driver.run(1_000_700, |_, _| true);
    driver.link(0, ppp(7));
    driver.run(1_100_000, |_, _| true);
    assert_eq!((driver.said.len(), driver.route), (said, Some(0)), "{:?}", driver.log());
    // The rarely probed one renews: it is looked at when it is there again.
    driver.link(1, LinkState::NoAddress);
    driver.run(1_100_100, |_, _| true);
    driver.link(1, road(1, 8));
    driver.run(1_200_000, |_, _| true);
    assert_eq!((driver.said.len(), driver.route), (said, Some(0)), "{:?}", driver.log());
}

/// Weather of 30 days from a seed: cables, gateways and providers that fail for seconds to hours, a
/// network that flickers for an hour, and addresses that go for minutes. Every call of the script
/// for which `call` has words, and when.
fn month(
    setup: FailoverSetup,
    seed: u64,
    call: impl Fn(&imon::event::Event) -> Option<String>,
) -> Vec<String> {
    let mut random = Random(seed);
    let mut driver = Driver::of(setup, [road(0, 2), road(1, 2)]);
    let (mut t, mut answers) = (0, [true, true]);
    while t < 30 * 86_400_000 {
        t += if random.below(3) == 0 { random.below(60_000) } else { random.below(4 * 3_600_000) };
        let wan = random.below(2) as usize;
        match random.below(6) {
            0 => {
                for _ in 0..random.below(400) {
                    driver.run(t, |_, wan| answers[wan]);
                    answers[wan] = !answers[wan];
                    t += 500 + random.below(15_000);
                }
                answers[wan] = true;
            }
            1 => {
                driver.run(t, |_, wan| answers[wan]);
                driver.link(
                    wan,
                    [LinkState::NoCarrier, LinkState::Down, LinkState::Missing]
                        [random.below(3) as usize],
                );
                t += 1_000 + random.below(600_000);
                driver.run(t, |_, wan| answers[wan]);
                driver.link(wan, road(wan, 2));
            }
            _ => {
                driver.run(t, |_, wan| answers[wan]);
                answers[wan] = !answers[wan];
            }
        }
    }
    let mut calls = Vec::new();
    for (at, what) in driver.said {
        let event = imon::event::Event { monitor: imon::event::Monitor::Failover, owner: 0, what };
        calls.extend(call(&event).map(|call| format!("{at} {call}")));
    }
    calls
}

/// FNV-1a, to compare with what another version said.
fn digest(lines: &[String]) -> u64 {
    let bytes = lines.iter().flat_map(|line| line.bytes().chain([b'\n']));
    bytes.fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

fn every_ten_seconds(prefer_first: bool) -> FailoverSetup {
    setup(Plan::new(MS * 10_000, 2, MS * 1000), prefer_first, MS * 10_000)
}

fn in_words(action: imon::event::Action) -> String {
    format!("{} {:?}", action.name, action.args)
}

impl Driver {
    /// What was said since, as lines of the log.
    fn log_since(&self, mark: usize) -> Vec<String> {
        lines(&self.said[mark..])
    }

    /// Calls of the script, all that there are.
    fn calls_since(&self, mark: usize) -> Vec<String> {
        let event = |what: &What| imon::event::Event {
            monitor: imon::event::Monitor::Failover,
            owner: 0,
            what: what.clone(),
        };
        self.said[mark..]
            .iter()
            .filter_map(|(_, what)| event(what).action().map(in_words))
            .collect()
    }

    /// Another configuration is loaded, which differs in nothing that counts.
    fn reload(&mut self, setup: FailoverSetup) {
        let old = std::mem::replace(&mut self.monitor, Failover::new(setup, self.now));
        self.monitor.inherit(old);
        self.on_the_way.clear();
        let links = self.links;
        self.see(&Observation::Links(&links), &mut |_, _| true);
    }
}

fn lines(said: &[(u64, What)]) -> Vec<String> {
    let mut lines = Vec::new();
    for (_, what) in said {
        let event = imon::event::Event {
            monitor: imon::event::Monitor::Failover,
            owner: 0,
            what: what.clone(),
        };
        event.log(false, &mut |_, line| lines.push(line.to_string()));
    }
    lines
}

/// How long no network was online, in milliseconds, each time.
fn restored(driver: &Driver) -> Vec<u128> {
    let lasted = |(_, what): &(u64, What)| match what {
        What::Restored { outage, .. } => Some(outage.lasted.as_millis()),
        _ => None,
    };
    driver.said.iter().filter_map(lasted).collect()
}

#[test]
fn d9_no_internet_at_all_has_a_beginning_an_end_and_a_length() {
    let mut driver = Driver::new(usual(), true, MS * 10_000);
    driver.run(10_400, |_, _| true);
    let mark = driver.said.len();
    // Standby fails at 20 s, primary at 30 s and is back at 50 s.
    driver
        .run(100_000, |t, wan| if wan == 0 { !(29_900..49_900).contains(&t) } else { t < 19_900 });
    assert_eq!(
        driver.log_since(mark),
        [
            "Standby Network net1 (wan1): nothing answers: 2 probes to its gateway in a row unanswered",
            "Standby Network net1 (wan1) is now offline",
            "Primary Network net0 (wan0): nothing answers: 2 probes to its gateway in a row unanswered",
            "Primary Network net0 (wan0) is now offline",
            "Both Primary and Standby Networks are offline",
            "Primary Network net0 (wan0) is now online",
            "Primary Network Outage Duration: 0 days 0 hours, 0 minutes 20 seconds",
            "No network was online for 0 days 0 hours, 0 minutes 20 seconds; traffic goes over Primary Network net0 (wan0) \
             now",
        ]
    );
    assert_eq!(
        restored(&driver),
        [20_005],
        "from the first probe that primary lost to the first reply"
    );
    let calls = driver.calls_since(mark);
    assert_eq!(
        calls.last().unwrap(),
        "failover-restored [\"net0:Primary:wan0:192.168.42.2\", \"0:0:0:20\"]"
    );
}

#[test]
fn d9_the_end_is_told_after_the_switch_to_the_one_that_works() {
    let mut driver = Driver::new(usual(), true, MS * 10_000);
    driver.run(10_400, |_, _| true);
    driver.run(30_000, |_, _| false);
    let mark = driver.said.len();
    driver.refuses = Some("No buffer space available");
    driver.run(40_000, |_, wan| wan == 1);
    assert_eq!(
        restored(&driver),
        [0_u128; 0],
        "as long as the kernel refuses the route there is none"
    );
    driver.refuses = None;
    driver.run(50_000, |_, wan| wan == 1);
    let log = driver.log_since(mark);
    let tail = &log[log.len() - 3..];
    assert_eq!(
        tail[..2].to_vec(),
        [
            "Network Failover to Standby Network net1 (wan1)",
            "Network Failover Standby Route net1 (wan1) is active"
        ]
    );
    assert!(tail[2].ends_with("traffic goes over Standby Network net1 (wan1) now"), "{tail:?}");
    let lasted = restored(&driver)[0];
    assert!((29_000..30_500).contains(&lasted), "up to the route: {lasted}");
}

#[test]
fn d9_all_may_be_down_at_the_start_over_a_reload_and_over_a_suspend() {
    // From the start.
    let mut driver = Driver::new(usual(), true, MS * 10_000);
    driver.run(60_000, |t, wan| wan == 1 && t > 29_900);
    assert_eq!((driver.both_down(), restored(&driver)), (1, vec![30_005]), "{:?}", driver.log());
    let log = driver.log();
    let at = log.iter().position(|line| line.starts_with("Both Primary")).unwrap();
    assert!(log[..at].iter().filter(|line| line.ends_with(": offline")).count() == 2, "{log:?}");
    // Links that are not there.
    let mut driver =
        Driver::of(setup(usual(), true, MS * 10_000), [LinkState::NoCarrier, LinkState::Missing]);
    driver.run(20_000, |_, _| true);
    driver.link(1, road(1, 2));
    driver.run(21_000, |_, _| true);
    assert_eq!((driver.both_down(), restored(&driver)), (1, vec![20_005]), "{:?}", driver.log());
    // Over a reload, twice, and a suspend.
    let mut driver = Driver::new(usual(), true, MS * 10_000);
    driver.run(10_400, |_, _| true);
    driver.run(20_000, |_, _| false);
    let adopted = FailoverSetup { adopted: Some(0), ..setup(usual(), true, MS * 10_000) };
    driver.reload(adopted.clone());
    driver.run(30_000, |_, _| false);
    driver.see(&Observation::Resumed, &mut |_, _| false);
    driver.run(35_000, |_, _| false);
    driver.reload(adopted.clone());
    driver.run(60_000, |t, wan| wan == 0 && t > 39_950);
    assert_eq!((driver.both_down(), restored(&driver).len()), (1, 1), "{:?}", driver.log());
    assert!((29_000..29_100).contains(&restored(&driver)[0]), "{:?}", restored(&driver));
    driver.reload(adopted);
    driver.run(70_000, |_, wan| wan == 0);
    assert_eq!(restored(&driver).len(), 1, "told once");
}

#[test]
fn d9_one_that_is_degraded_or_away_for_a_moment_is_still_internet() {
    let quality = Quality { loss: Some(Limit { most: 0.2, again: 0.1 }), rtt: None };
    let mut driver = Driver::of(
        FailoverSetup { quality, ..setup(usual(), false, MS * 10_000) },
        [road(0, 2), road(1, 2)],
    );
    driver.run(100_000, |t, wan| if wan == 1 { t < 20_000 } else { t < 30_000 || t % 1000 != 0 });
    assert_eq!(driver.condition(0), Condition::Degraded);
    driver.link(0, LinkState::NoAddress);
    driver.run(100_250, |_, _| false);
    driver.link(0, road(0, 2));
    driver.run(120_000, |t, wan| wan == 0 && t % 1000 != 0);
    assert_eq!((driver.both_down(), restored(&driver).len()), (0, 0), "{:?}", driver.log());
    driver.link(0, LinkState::NoAddress);
    driver.run(121_000, |_, _| false);
    assert_eq!((driver.both_down(), restored(&driver).len()), (1, 0), "{:?}", driver.log());
    driver.link(0, road(0, 2));
    driver.run(122_000, |_, wan| wan == 0);
    assert_eq!(restored(&driver).len(), 1);
}

#[test]
fn d9_every_offline_line_has_its_reason_right_before_it() {
    let mut offline = 0;
    for seed in 0..20 {
        let mut random = Random(seed);
        let mut driver = Driver::new(usual(), random.below(2) == 0, MS * 5_000);
        let mut answers = [random.below(2) == 0, random.below(2) == 0];
        for t in 1..60 {
            driver.run(t * 5_000, |_, wan| answers[wan]);
            let wan = random.below(2) as usize;
            match random.below(4) {
                0 => driver.link(wan, LinkState::NoCarrier),
                1 => driver.link(wan, LinkState::NoAddress),
                2 => driver.link(wan, road(wan, 2)),
                _ => answers[wan] = !answers[wan],
            }
        }
        let log = driver.log();
        for (at, line) in log.iter().enumerate() {
            let end = line.strip_suffix(" is now offline").or_else(|| {
                line.strip_suffix(": offline")
                    .and_then(|line| line.strip_prefix("Network Failover Initial State for "))
            });
            let Some(wan) = end else { continue };
            offline += 1;
            let reason = at.checked_sub(1).map(|at| &log[at]);
            assert!(
                reason.is_some_and(|reason| reason.starts_with(&format!("{wan}: "))),
                "seed {seed}: {log:#?}"
            );
        }
    }
    assert!(offline > 50, "{offline}");
}

#[test]
fn d9_silence_names_who_was_asked_and_how_often() {
    let mut setup = setup(usual(), true, MS * 10_000);
    setup.wans[0].targets = vec![(0, "1.1.1.1".into()), (20, "dns:9.9.9.9".into())];
    setup.wans[0].by_gateway = false;
    setup.min_up = 2;
    let mut driver = Driver::of(setup, [road(0, 2), road(1, 2)]);
    driver.run(10_400, |_, _| true);
    let mark = driver.said.len();
    driver.run(15_000, |_, wan| wan == 1);
    let log = driver.log_since(mark);
    let (what, rest) = log[0].split_once(": ").unwrap();
    assert_eq!(what, "Primary Network net0 (wan0)");
    let wanted = ["nothing answers: 2 probes to 1.1.1.1", "2 probes to dns:9.9.9.9"];
    assert!(
        wanted.iter().any(|part| rest.contains(part)) && rest.ends_with(" in a row unanswered"),
        "{rest}"
    );
    // Meanwhile there are more of them: the status counts on.
    driver.run(25_000, |_, wan| wan == 1);
    let why = driver.monitor.wans()[0].health.why().unwrap().to_string();
    let counts: Vec<u32> = why.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert!(matches!(counts[..], [20..=30, 20..=30]), "{why}");
}

#[test]
fn d10_a_standby_that_comes_and_goes_each_second_costs_a_handful_of_lines_an_hour() {
    let mut driver = Driver::new(usual(), true, MS * 10_000);
    driver.run(10_400, |_, _| true);
    let mark = driver.said.len();
    // A third of the checks is answered: 20 pings a minute.
    driver.run(3_600_000, |t, wan| wan == 0 || (t / 1000) % 3 == 0);
    let log = driver.log_since(mark);
    assert!(log.len() <= 12, "{log:#?}");
    assert!(log[1].ends_with("(wan1) is now offline"), "the first at once: {log:#?}");
    let sums: Vec<&String> = log.iter().filter(|line| line.contains(" changed ")).collect();
    assert!(
        sums[0].starts_with("Standby Network net1 (wan1) changed 39 times in the last 1 min, now "),
        "{sums:#?}"
    );
    assert_eq!(sums.len(), 5, "{sums:#?}");
    // Scripts hear of each change that they want to hear of, once.
    let calls = driver.calls_since(mark);
    let count = |name: &str| calls.iter().filter(|call| call.starts_with(name)).count();
    assert!(count("failover-offline") > 1000 && count("failover-online") > 1000, "{}", calls.len());
    assert_eq!(
        calls.len(),
        count("failover-offline") + count("failover-online"),
        "and of nothing else"
    );
    // It dies for good: that is told when it is calm, with the reason.
    let mark = driver.said.len();
    driver.run(4_000_000, |_, wan| wan == 0);
    let log = driver.log_since(mark);
    assert!(log.len() == 1 && log[0].contains(", now offline: nothing answers: "), "{log:?}");
    // Ten minutes later a change is told at once.
    let mark = driver.said.len();
    driver.run(5_000_000, |t, wan| wan == 0 || t > 4_900_000);
    assert_eq!(driver.log_since(mark).len(), 2, "{:?}", driver.log_since(mark));
}

#[test]
fn d10_each_switch_is_told_with_the_reason_for_it_however_often_there_is_one() {
    let mut driver = Driver::new(usual(), true, Duration::ZERO);
    driver.run(10_400, |_, _| true);
    driver.run(600_000, |t, wan| wan == 1 || (t / 7000) % 2 == 0);
    let log = driver.log();
    let switches: Vec<usize> =
        (0..log.len()).filter(|at| log[*at].starts_with("Network Failover to Standby")).collect();
    assert!(switches.len() > 30, "{log:#?}");
    for at in switches {
        assert!(log[at - 1].ends_with("(wan0) is now offline"), "{:?}", &log[at - 2..=at]);
        assert!(log[at - 2].contains("(wan0): nothing answers: "), "{:?}", &log[at - 2..=at]);
    }
}

#[test]
fn d10_the_only_network_that_comes_and_goes_is_summed_up_and_scripts_hear_of_each_time() {
    let mut driver =
        Driver::of(setup(usual(), true, MS * 10_000), [road(0, 2), LinkState::NoCarrier]);
    driver.run(10_400, |_, _| true);
    let mark = driver.said.len();
    driver.run(3_600_000, |t, _| (t / 1000) % 6 < 3);
    let log = driver.log_since(mark);
    assert!(log.len() <= 36, "{log:#?}");
    assert!(log.iter().any(|line| line.starts_with("The internet changed ")), "{log:#?}");
    let calls = driver.calls_since(mark);
    let count = |name: &str| calls.iter().filter(|call| call.starts_with(name)).count();
    assert!(count("failover-bothdown") > 500, "{}", calls.len());
    assert!(count("failover-bothdown").abs_diff(count("failover-restored")) <= 1);
}

#[test]
fn d11_a_gateway_that_has_never_answered_may_be_deaf_and_the_setting_is_named() {
    let mut driver = Driver::new(usual(), true, MS * 10_000);
    driver.run(5_000, |_, _| false);
    let log = driver.log();
    assert!(log[0].ends_with("if it answers no pings at all, set primary-ping"), "{log:?}");
    assert!(log[2].ends_with("if it answers no pings at all, set standby-ping"), "{log:?}");
    assert!(driver.monitor.advice(0).is_some_and(|advice| advice.contains("primary-ping")));
    assert!(driver.monitor.advice(1).is_some_and(|advice| advice.contains("standby-ping")));
    // One that has answered once is no such gateway, also after a reload.
    driver.run(20_000, |t, _| t < 10_000);
    assert_eq!((driver.monitor.advice(0), driver.condition(0)), (None, Condition::Down));
    driver.reload(setup(usual(), true, MS * 10_000));
    driver.run(30_000, |_, _| false);
    assert_eq!((driver.monitor.advice(0), driver.condition(0)), (None, Condition::Down));
    // Neither is one whose cable is out, nor one with targets of its own.
    let mut setup = setup(usual(), true, MS * 10_000);
    setup.wans[1].by_gateway = false;
    let mut driver = Driver::of(setup, [LinkState::NoCarrier, road(1, 2)]);
    driver.run(5_000, |_, _| false);
    assert_eq!([driver.monitor.advice(0), driver.monitor.advice(1)], [None, None]);
    assert!(
        !driver.log().iter().any(|line| line.contains("set primary-ping")),
        "{:?}",
        driver.log()
    );
}

#[test]
fn v11_without_the_key_a_month_of_calls_is_byte_for_byte_that_of_3_0_0() {
    /// Of version 3.0.0, at the same weather: number and digest.
    const GOLD: [(bool, u64, usize, u64); 6] = [
        (true, 1, 2090, 0xcbba_db1e_d981_ed1d),
        (true, 2, 2556, 0xdab2_056c_ce79_cfa5),
        (true, 3, 2242, 0x1c18_7a17_8334_dbae),
        (false, 1, 2012, 0x9ce8_8c7d_de1d_38be),
        (false, 2, 2510, 0xfd81_e7c6_d15c_f0b2),
        (false, 3, 2162, 0xfc01_3249_218d_a7db),
    ];
    for (prefer, seed, count, gold) in GOLD {
        let without = month(every_ten_seconds(prefer), seed, |event| event.call(&[]).map(in_words));
        assert_eq!(
            (without.len(), digest(&without)),
            (count, gold),
            "prefer-primary {prefer}, seed {seed}"
        );
        let remind = Some(MS * 600_000);
        let with = |event: &imon::event::Event| event.call(&imon::event::ON_REQUEST).map(in_words);
        let with = month(FailoverSetup { remind, ..every_ten_seconds(prefer) }, seed, with);
        let new = |line: &&String| {
            imon::event::ON_REQUEST.iter().any(|name| line.contains(&format!(" {name} ")))
        };
        for name in imon::event::ON_REQUEST {
            assert!(
                with.iter().any(|line| line.contains(&format!(" {name} "))),
                "seed {seed}: no {name}"
            );
        }
        let rest: Vec<&String> = with.iter().filter(|line| !new(line)).collect();
        assert!(
            rest.into_iter().eq(&without),
            "prefer-primary {prefer}, seed {seed}: those of V2.99 are the same"
        );
    }
}

#[test]
fn v11_each_change_of_a_network_has_one_call_whether_or_not_there_is_a_switch() {
    let mut driver = Driver::new(usual(), false, MS * 10_000);
    driver.run(10_400, |_, _| true);
    let mark = driver.said.len();
    driver.run(100_000, |t, wan| {
        if wan == 1 { !(20_000..30_000).contains(&t) } else { !(50_000..60_000).contains(&t) }
    });
    let (primary, standby) = ("net0:Primary:wan0:192.168.42.2", "net1:Standby:wan1:192.168.62.2");
    let why = "nothing answers: 2 probes to its gateway in a row unanswered";
    assert_eq!(
        driver.calls_since(mark),
        [
            format!("failover-offline {:?}", [standby, why]),
            format!("failover-online {:?}", [standby, "0:0:0:10"]),
            format!("failover-offline {:?}", [primary, why]),
            format!("failover-standby {:?}", [standby]),
            format!("failover-online {:?}", [primary, "0:0:0:10"]),
        ]
    );
}

#[test]
fn v11_reminders_come_while_an_outage_lasts_also_one_from_the_start_and_over_a_reload() {
    let reminding = |every: u32| FailoverSetup {
        remind: Some(MS * every),
        adopted: Some(1),
        ..setup(usual(), true, MS * 10_000)
    };
    let reminders = |driver: &Driver| -> Vec<(u64, u32)> {
        let count = |(at, what): &(u64, What)| match what {
            What::WanReminder { count, .. } => Some((*at, *count)),
            _ => None,
        };
        driver.said.iter().filter_map(count).collect()
    };
    let mut driver = Driver::of(reminding(600_000), [LinkState::NoCarrier, road(1, 2)]);
    driver.run(1_300_000, |_, _| true);
    assert_eq!(reminders(&driver), [(600_000, 1), (1_200_000, 2)]);
    driver.reload(reminding(600_000));
    driver.run(1_500_000, |_, _| true);
    assert_eq!(reminders(&driver).len(), 2, "a reload is no reason for another");
    // Another interval counts from the beginning of the outage as well.
    driver.reload(reminding(400_000));
    driver.run(1_700_000, |_, _| true);
    assert_eq!(reminders(&driver)[2..], [(1_600_000, 4)]);
    driver.link(0, road(0, 2));
    driver.run(5_000_000, |_, _| true);
    assert_eq!(reminders(&driver).len(), 3, "over is over");
    let calls = driver.calls_since(0);
    let reminder = calls.iter().find(|call| call.starts_with("failover-remind")).unwrap();
    assert_eq!(reminder, "failover-remind [\"net0:Primary:wan0:\", \"0:0:10:0\"]");
    let log = driver.log();
    assert!(
        log.contains(&"Primary Network net0 (wan0) is still offline, for 0 days 0 hours, 10 minutes 0 seconds".into())
    );
    // A renewal that becomes an outage is reminded of from its beginning, a renewal never.
    let mut driver =
        Driver::of(FailoverSetup { adopted: None, ..reminding(200) }, [road(0, 2), road(1, 2)]);
    driver.run(10_500, |_, _| true);
    driver.link(0, LinkState::NoAddress);
    driver.run(10_790, |_, _| true);
    assert_eq!(reminders(&driver), []);
    driver.run(11_000, |_, _| true);
    assert_eq!(reminders(&driver), [(10_900, 2)]);
}

#[test]
fn v11_the_json_of_an_outage_has_the_network_the_reason_and_the_time() {
    let now = at(700_000);
    let clock = imon::base::time::Clock {
        now,
        wall: imon::base::time::Wall { secs: 1_800_000_000, nanos: 0 },
    };
    for event in imon::event::Event::examples(now) {
        let name = event.action().unwrap().name;
        if !imon::event::ON_REQUEST.contains(&name) {
            continue;
        }
        let json: serde_json::Value = serde_json::from_str(&event.json("t", clock, None)).unwrap();
        assert_eq!(
            (&json["event"], &json["wan"]["interface"]),
            (&name.into(), &"wan1".into()),
            "{json}"
        );
        assert!(
            json["since"].is_string() && json["outage_seconds"].as_f64().is_some_and(|s| s > 0.0),
            "{json}"
        );
        assert_eq!(
            json["reason"].is_string(),
            matches!(name, "failover-offline" | "failover-remind"),
            "{json}"
        );
        assert_eq!(json["count"].is_u64(), name == "failover-remind", "{json}");
    }
}

/// One seeded schedule of links, gateways, addresses, refused routes and suspends; panics with its
/// timeline. Replayed with `SEED=n cargo test --test failover random_schedules`.
fn schedule(seed: u64) {
    /// An interval, a gap and a wait, and a little.
    const BOUND: u64 = 2_300;
    let mut random = Random(seed);
    let idle = (random.below(4) == 0).then_some(MS * 30_000);
    let hold_down = MS * 1000 * random.below(15) as u32;
    let adopted = [None, None, Some(0), Some(1)][random.below(4) as usize];
    let setup = FailoverSetup {
        idle_interval: idle,
        adopted,
        ..setup(usual(), random.below(2) == 0, hold_down)
    };
    let mut kernel = Kernel::new();
    if let Some(wan) = adopted {
        kernel.make(Some(wan));
    }
    let states = kernel.states();
    let mut driver = Driver::of(setup, states);
    driver.kernel = kernel;
    driver.hear();
    let mut timeline = vec![format!("idle {idle:?}, hold-down {hold_down:?}, adopted {adopted:?}")];
    // Whether each answers, and since when it works as a whole, or does not; since when routes can
    // be set.
    let mut answers = [true, true];
    let (mut works, mut since, mut settable) = ([true, true], [0_u64, 0], 0_u64);
    let mut t = 0;
    for _ in 0..30 {
        t += 200 + random.below(12_000);
        driver.run(t, |_, wan| answers[wan]);
        let long = |wan: usize| t - since[wan] > BOUND;
        let usable = (0..2).any(|wan| works[wan] && long(wan))
            && t - settable > BOUND
            && driver.refuses.is_none();
        let dead = driver.route.is_none_or(|a| !works[a] && long(a));
        let fail = |what: &str| {
            panic!("seed {seed} at {t}: {what}\n{}\n{:#?}", timeline.join("\n"), driver.log());
        };
        if usable && dead {
            fail("a WAN works and the traffic is not on one");
        }
        if driver.monitor.active() != driver.route && !driver.monitor.is_provisional() {
            fail("the monitor is wrong about the route");
        }
        let ours = driver.kernel.router.ours(MAIN);
        if ours > 1 {
            fail("two defaults of ours");
        }
        let led = driver.route.filter(|wan| {
            matches!(driver.links[*wan], LinkState::Ready(_)) && driver.refuses.is_none()
        });
        if led.is_some() && (ours != 1 || driver.kernel.way() != led) {
            fail("traffic does not go where it is led");
        }
        let wan = random.below(2) as usize;
        timeline.push(match random.below(11) {
            0 => {
                let (up, carrier) = (random.below(3) > 0, random.below(2) > 0);
                driver.kernel.set_link(wan, up, carrier);
                format!("{t}: link of {wan}: up {up}, carrier {carrier}")
            }
            1 => {
                driver.kernel.set_link(wan, true, true);
                format!("{t}: link of {wan} is fine")
            }
            2 => {
                let host = (random.below(3) > 0).then(|| 3 + random.below(9) as u8);
                driver.kernel.set_address(wan, host);
                // It is checked anew, as after any other beginning.
                if works[wan] {
                    since[wan] = t;
                }
                format!("{t}: {wan} has the address {host:?}")
            }
            3 => {
                driver.see(&Observation::Resumed, &mut |_, wan| answers[wan]);
                since = [t, t];
                format!("{t}: suspended")
            }
            4 => {
                driver.refuses =
                    if driver.refuses.is_none() { Some("No buffer space available") } else { None };
                settable = t;
                format!("{t}: the kernel refuses: {:?}", driver.refuses)
            }
            5 => {
                let metric = [0, 100, 201, 202, 1002][random.below(5) as usize];
                driver.kernel.add_foreign(wan, metric);
                format!("{t}: somebody's default over {wan}, metric {metric}")
            }
            6 => {
                let routes = driver.kernel.router.routes.clone();
                let gone = routes.get(random.below(routes.len().max(1) as u64) as usize);
                driver.kernel.router.keep_routes(|route| Some(route) != gone);
                format!("{t}: somebody deletes {gone:?}")
            }
            7 => {
                let ours: Vec<_> = driver
                    .kernel
                    .router
                    .rules
                    .iter()
                    .filter(|rule| rule.protocol == PROTOCOL)
                    .cloned()
                    .collect();
                let gone = ours.get(random.below(ours.len().max(1) as u64) as usize);
                driver.kernel.router.keep_rules(|rule| Some(rule) != gone);
                format!("{t}: somebody deletes {gone:?}")
            }
            _ => {
                answers[wan] = !answers[wan];
                format!("{t}: {wan} answers: {}", answers[wan])
            }
        });
        driver.hear();
        for wan in 0..2 {
            let now = answers[wan] && matches!(driver.links[wan], LinkState::Ready(_));
            if now != works[wan] {
                (works[wan], since[wan]) = (now, t);
            }
        }
    }
    let fail =
        |what: &str| panic!("seed {seed}: {what}\n{}\n{:#?}", timeline.join("\n"), driver.log());
    // Every down has its up, and no outage lasts for a negative time or longer than the test.
    for device in ["wan0", "wan1"] {
        let mut online = None;
        for (_, what) in &driver.said {
            let (wan, now) = match what {
                What::WanInitial { wan, online, .. } => (wan, *online),
                What::WanOnline { wan, .. } => (wan, true),
                What::WanOffline { wan, .. } => (wan, false),
                _ => continue,
            };
            if &*wan.device == device && online.replace(now) == Some(now) {
                fail("the same state is told twice");
            }
            if let What::WanOnline { outage, .. } = what
                && outage.lasted > MS * 400_000
            {
                fail("an outage of an impossible length");
            }
        }
    }
    // A route is set when it was chosen, not again and again.
    if driver.routes.windows(2).any(|w| w[0] == w[1]) {
        fail("the same route is set twice at once");
    }
}

#[test]
fn random_schedules_never_leave_the_traffic_on_a_dead_wan_while_another_works() {
    match std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => schedule(seed),
        None => (0..3000).for_each(schedule),
    }
}
