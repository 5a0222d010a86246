//! A router with a LAN and two networks, what happens to it, and what a user sees of that.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use imon::base::time::Instant;
use imon::config::source::ConfigSource;
use imon::engine::world::Arrived;
use imon::engine::world::Store;
use imon::engine::{Daemon, Start};
use imon::kernel::{Link, PROTOCOL};
use serde_json::{Value, json};

use crate::kernel::{Action, Address, Flow, Hop, Kind, MAIN, Mode, Route, Rule, scope};
use crate::networks::Network;
use crate::sim::{INSTANCE, SimWorld, seconds};

/// Links. The networks have the places 0 and 1 in the list of networks.
pub const LAN: u32 = 2;
pub const WAN1: u32 = 3;
pub const WAN2: u32 = 4;
/// A tunnel's, where there is one.
pub const TUNNEL: u32 = 20;
/// Leaves nowhere.
pub const NOWHERE: u32 = 0;
pub const GATEWAYS: [[u8; 4]; 2] = [[192, 168, 42, 1], [192, 168, 62, 1]];

/// Nobody probes it.
const OUT_THERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 200);
const CLIENT: [u8; 4] = [192, 168, 92, 50];
/// How often it is looked where packets go.
const LOOK: Duration = Duration::from_millis(50);
/// The first state is known, the first route made.
const BEGUN: f64 = 3.0;

pub const HUP: Arrived = Arrived { stop: false, reload: true, check_now: false, child: false };
pub const USR1: Arrived = Arrived { stop: false, reload: false, check_now: true, child: false };
pub const TERM: Arrived = Arrived { stop: true, reload: false, check_now: false, child: false };

/// What is to happen. Seconds are those since the start.
pub struct Play {
    pub world: SimWorld,
    pub config: Value,
    looks: Rc<RefCell<Vec<Look>>>,
}

/// Where packets of a LAN host go at a moment, and how many defaults of ours there are in main.
#[derive(Clone, Copy)]
struct Look {
    at: f64,
    way: u32,
    ours: usize,
}

/// What has happened.
pub struct Story {
    pub world: SimWorld,
    looks: Vec<Look>,
}

impl Play {
    /// Failover with interval 1, prefer-primary and hold-down 3; wan1 probes 1.1.1.1, wan2 8.8.8.8.
    /// Nobody else has set any default route.
    pub fn new() -> Self {
        let mut world = SimWorld::new(1);
        world.kernel.settings.forwarding = true;
        for (index, name, net, last) in
            [(LAN, "lan0", 92, 1), (WAN1, "wan1", 42, 2), (WAN2, "wan2", 62, 2)]
        {
            world
                .kernel
                .add_link(Link { index, name: name.into(), ..Link::default() }, true)
                .unwrap();
            world.kernel.add_address(&Address::of(index, [192, 168, net, last])).unwrap();
            world.kernel.set_up(index, true).unwrap();
        }
        for (index, gateway) in [WAN1, WAN2].into_iter().zip(GATEWAYS) {
            world.networks.push(Network::new(index, gateway.into()));
        }
        world.probes = Some(Vec::new());
        let failover = json!({
            "enable": true, "interval": 1, "prefer-primary": true, "hold-down": 3,
            "primary-if": "wan1", "primary-name": "net42", "primary-gw": "192.168.42.1", "primary-ping": "1.1.1.1",
            "standby-if": "wan2", "standby-name": "net62", "standby-gw": "192.168.62.1", "standby-ping": "8.8.8.8",
        });
        let config = json!({ "global": { "action": "/script" }, "failover": failover });
        Self { world, config, looks: Rc::default() }
    }

    /// The same router with these monitors and no other.
    pub fn with(monitors: Value) -> Self {
        let mut play = Self::new();
        play.config = monitors;
        play.config["global"] = json!({ "action": "/script" });
        play
    }

    /// Another value of a key, or a further monitor.
    pub fn set(mut self, section: &str, key: &str, value: impl Into<Value>) -> Self {
        self.config[section][key] = value.into();
        self
    }

    /// The world is another from the beginning.
    pub fn given(mut self, deed: impl FnOnce(&mut SimWorld)) -> Self {
        deed(&mut self.world);
        self
    }

    /// Something happens.
    pub fn at(mut self, second: f64, deed: impl FnOnce(&mut SimWorld) + 'static) -> Self {
        self.world.when(at(second), deed);
        self
    }

    /// Another configuration is written, and loaded.
    pub fn reload(mut self, second: f64, text: &str) -> Self {
        self.world.configure(at(second), text);
        self.world.signal(at(second), HUP);
        self
    }

    /// Runs until it is stopped at that second. Who is killed is started again at once.
    pub fn run(mut self, second: f64) -> Story {
        self.world.signal(at(second), TERM);
        self.play(INSTANCE, at(second))
    }

    /// The same; after a kill another instance is started.
    pub fn run_and_replace(mut self, instance: &str, config: &Value, second: f64) -> Story {
        self.world.files.insert(file(instance).into(), config.to_string().into());
        self.world.signal(at(second), TERM);
        self.play(instance, at(second))
    }

    fn play(mut self, after_a_kill: &str, end: Instant) -> Story {
        let mut next = Instant::ZERO + LOOK / 2;
        while next < end {
            let looks = Rc::clone(&self.looks);
            self.world.when(next, move |world| looks.borrow_mut().push(look(world)));
            next = next + LOOK;
        }
        self.world.files.insert(file(INSTANCE).into(), self.config.to_string().into());
        let mut world = self.world.start(INSTANCE);
        while world.killed {
            world = world.start(after_a_kill);
        }
        assert!(world.is_over(), "{:?}", world.lines);
        Story { world, looks: self.looks.take() }
    }

    /// Why it is not started.
    pub fn refusal(mut self) -> String {
        let source = ConfigSource::instance(INSTANCE, None);
        self.world.files.insert(source.file.clone().into(), self.config.to_string().into());
        let loaded = self.world.load(&source);
        let Some(config) = loaded.config.filter(|_| loaded.errors.is_empty()) else {
            return loaded.errors.join("\n");
        };
        let start = Start {
            world: self.world,
            source,
            config,
            print: loaded.print,
            instance: INSTANCE.to_owned(),
        };
        match Daemon::new(start) {
            Ok(_) => panic!("it starts"),
            Err(refused) => refused.0.in_words::<SimWorld>(),
        }
    }
}

fn look(world: &SimWorld) -> Look {
    let ours = |r: &&Route| r.table == MAIN && r.prefix == 0 && r.protocol == PROTOCOL;
    let way = world.kernel.way(&lan_flow()).map_or(NOWHERE, |way| way.index);
    Look {
        at: seconds(world.time()),
        way,
        ours: world.kernel.routes4().iter().filter(ours).count(),
    }
}

impl Story {
    /// All lines of the log.
    pub fn log(&self) -> Vec<&str> {
        self.world.lines.iter().map(|line| line.text.as_str()).collect()
    }

    /// How many lines have this text in them.
    pub fn count(&self, text: &str) -> usize {
        self.log().iter().filter(|line| line.contains(text)).count()
    }

    /// When a line with this text was there first, which must be.
    pub fn time(&self, text: &str) -> f64 {
        let line = self.world.lines.iter().find(|line| line.text.contains(text));
        line.map_or_else(
            || panic!("'{text}' is not said: {:#?}", self.log()),
            |line| seconds(line.at),
        )
    }

    /// These are said, each once, in this order, whatever is said between.
    pub fn tells(&self, texts: &[&str]) {
        let places: Vec<_> = texts
            .iter()
            .map(|text| {
                assert_eq!(self.count(text), 1, "'{text}': {:#?}", self.log());
                self.log().iter().position(|line| line.contains(text))
            })
            .collect();
        assert!(places.is_sorted(), "{texts:?}: {:#?}", self.log());
    }

    /// None of these is said.
    pub fn hides(&self, texts: &[&str]) {
        for text in texts {
            assert_eq!(self.count(text), 0, "'{text}': {:#?}", self.log());
        }
    }

    /// By which link packets of a LAN host leave at a moment.
    pub fn way_at(&self, at: Instant) -> u32 {
        self.looks.iter().rfind(|look| look.at <= seconds(at)).map_or(NOWHERE, |look| look.way)
    }

    /// By which link packets of a LAN host leave, from when on.
    pub fn ways(&self) -> Vec<(f64, u32)> {
        let mut ways: Vec<(f64, u32)> = Vec::new();
        for look in &self.looks {
            if ways.last().is_none_or(|(_, way)| *way != look.way) {
                ways.push((look.at, look.way));
            }
        }
        ways
    }

    /// After the first choice the traffic moves to these links one after the other, each time
    /// within so many seconds.
    pub fn moves(&self, expected: &[(f64, f64, u32)]) {
        let ways: Vec<_> = self.ways().into_iter().filter(|(at, _)| *at > BEGUN).collect();
        let fits = |((at, way), (from, within, to)): (&(f64, u32), &(f64, f64, u32))| {
            way == to && (*from..=from + within + LOOK.as_secs_f64()).contains(at)
        };
        let all = ways.len() == expected.len() && ways.iter().zip(expected).all(fits);
        assert!(all, "{ways:?}, not {expected:?}: {:#?}", self.log());
    }

    /// Once there is a default route of ours there is always exactly one.
    pub fn has_no_gap(&self) {
        let odd: Vec<_> = self
            .looks
            .iter()
            .skip_while(|look| look.ours == 0)
            .filter(|look| look.ours != 1)
            .map(|l| l.at)
            .collect();
        assert!(odd.is_empty(), "no default route, or two, at {odd:?}");
    }

    /// Calls of the script as it sees them.
    pub fn calls(&self) -> Vec<String> {
        self.world.calls.iter().map(|call| call.words.join(" ")).collect()
    }

    /// Those of one event.
    pub fn called(&self, name: &str) -> Vec<String> {
        self.calls().into_iter().filter(|call| call.split(' ').next() == Some(name)).collect()
    }

    /// Probes of a network that were sent in this time, and how many of them were answered.
    pub fn probes(&self, wan: usize, from: f64, to: f64) -> (usize, usize) {
        let all = self.world.probes.iter().flatten();
        let sent: Vec<_> = all
            .filter(|p| p.wan == Some(wan) && (from..to).contains(&seconds(p.at)))
            .map(|p| p.answered)
            .collect();
        (sent.len(), sent.iter().flatten().count())
    }

    /// Whether a route of others is as they made it.
    pub fn keeps(&self, route: &Route) -> bool {
        let hops =
            |r: &Route| r.hops.iter().map(|hop| (hop.index, hop.gateway)).collect::<Vec<_>>();
        let same = |r: &&Route| {
            (r.table, r.destination, r.prefix, r.metric, r.protocol, r.source)
                == (
                    route.table,
                    route.destination,
                    route.prefix,
                    route.metric,
                    route.protocol,
                    route.source,
                )
                && hops(r) == hops(route)
        };
        self.world.kernel.routes4().iter().any(|r| same(&r))
    }

    /// What imon has left in the kernel.
    pub fn leaves(&self) -> (Vec<Route>, Vec<Rule>) {
        (routes_of_ours(&self.world), rules_of_ours(&self.world))
    }
}

/// The files of an instance.
pub fn file(instance: &str) -> String {
    ConfigSource::instance(instance, None).file
}

pub fn at(second: f64) -> Instant {
    Instant::ZERO + Duration::from_secs_f64(second)
}

pub fn routes_of_ours(world: &SimWorld) -> Vec<Route> {
    world.kernel.routes4().iter().filter(|r| r.protocol == PROTOCOL).cloned().collect()
}

pub fn rules_of_ours(world: &SimWorld) -> Vec<Rule> {
    world.kernel.rules(false).iter().filter(|r| r.protocol == PROTOCOL).cloned().collect()
}

/// A packet of a LAN host.
pub fn lan_flow() -> Flow {
    Flow {
        incoming: LAN,
        from: Some(CLIENT.into()),
        protocol: imon::kernel::TCP,
        ..Flow::to(OUT_THERE.into())
    }
}

/// By which link a packet of a socket leaves that has this address already.
pub fn own_way(world: &SimWorld, address: [u8; 4], protocol: u8) -> u32 {
    let flow =
        Flow { from: Some(address.into()), protocol, port: 51_820, ..Flow::to(OUT_THERE.into()) };
    world.kernel.way(&flow).map_or(NOWHERE, |way| way.index)
}

/// What happens to the cable of a link,
pub fn plugged(index: u32, plugged: bool) -> impl FnOnce(&mut SimWorld) {
    move |world| world.kernel.set_plugged(index, plugged)
}

/// to a gateway,
pub fn gateway(wan: usize, answers: bool) -> impl FnOnce(&mut SimWorld) {
    move |world| world.networks[wan].has_gateway = answers
}

/// and to what is behind it.
pub fn upstream(wan: usize, answers: bool) -> impl FnOnce(&mut SimWorld) {
    move |world| world.networks[wan].has_upstream = answers
}

/// The address of a network: of the first 192.168.42.`last`.
pub fn address(wan: usize, last: u8) -> Address {
    let [a, b, c, _] = GATEWAYS[wan];
    Address::of([WAN1, WAN2][wan], [a, b, c, last])
}

/// Somebody adds an address, or takes it away.
pub fn add_address(address: Address) -> impl FnOnce(&mut SimWorld) {
    move |world| world.kernel.add_address(&address).unwrap()
}

pub fn remove_address(address: Address) -> impl FnOnce(&mut SimWorld) {
    move |world| world.kernel.remove_address(&address).unwrap()
}

/// A default route in main as a DHCP client makes it.
pub fn default_by(index: u32, gateway: [u8; 4], metric: u32) -> Route {
    let hop = Hop { index, gateway: Some(gateway.into()), ..Hop::default() };
    Route {
        table: MAIN,
        destination: Ipv4Addr::UNSPECIFIED.into(),
        prefix: 0,
        tos: 0,
        metric,
        kind: Kind::Unicast,
        scope: scope::UNIVERSE,
        protocol: 16,
        source: None,
        hops: vec![hop],
    }
}

/// The same for a part of all destinations.
pub fn route_to(destination: [u8; 4], prefix: u8, route: Route) -> Route {
    Route { destination: IpAddr::from(destination), prefix, ..route }
}

/// A default over a tunnel's link.
pub fn tunnel_default(table: u32) -> Route {
    let hop = Hop { index: TUNNEL, ..Hop::default() };
    Route {
        table,
        scope: scope::LINK,
        protocol: 3,
        hops: vec![hop],
        ..default_by(TUNNEL, [0; 4], 0)
    }
}

/// Somebody adds a route, or takes it away.
pub fn add_route(route: Route) -> impl FnOnce(&mut SimWorld) {
    move |world| world.kernel.add_route(&route, Mode::ADD).unwrap()
}

pub fn replace_route(route: Route) -> impl FnOnce(&mut SimWorld) {
    move |world| world.kernel.add_route(&route, Mode::REPLACE).unwrap()
}

pub fn remove_route(route: Route) -> impl FnOnce(&mut SimWorld) {
    move |world| world.kernel.remove_route(&route, true).unwrap()
}

/// A rule that looks into a table.
pub fn lookup(priority: u32, table: u32) -> Rule {
    Rule { priority, action: Action::Table(table), ..Rule::default() }
}

/// Somebody adds a rule; of priority 0 without one, as `ip rule add` does.
pub fn add_rule(rule: Rule) -> impl FnOnce(&mut SimWorld) {
    move |world| {
        let priority = Some(rule.priority).filter(|priority| *priority != 0);
        world.kernel.add_rule(&rule, priority, true).unwrap();
    }
}

pub fn remove_rule(rule: Rule) -> impl FnOnce(&mut SimWorld) {
    move |world| {
        world
            .kernel
            .remove_rule(&rule, Some(rule.priority).filter(|priority| *priority != 0))
            .unwrap()
    }
}
