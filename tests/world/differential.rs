//! Holds the kernel in memory against the real one: random changes of links, addresses, routes and
//! rules are made in both, and after each of them the error, the lists, the ways of some packets
//! and the news must be the same. A failure is made as short as it gets, and names its seed:
//! `SEED=n cargo test --test world differential` runs that one again.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use imon::kernel as net;
use imon::kernel::news::Message;
use imon::kernel::{Change, Picture};
use imon::sys::netlink::{Events, Requests};
use imon_lab::Lab;
use libtest_mimic::Trial;

use crate::kernel::{
    self, Action, Address, Errno, Flow, Hop, KERNEL, Kernel, Kind, LOCAL, MAIN, Mode, Neighbour,
    News, Route, Rule, Settings, Way, scope, state,
};
use crate::random::Random;
use crate::real::{Real, sysctl};

/// First argument of this program when it is to run sequences in the namespace it is in.
const INSIDE: &str = "--differential";
/// Changes in a sequence.
const STEPS: usize = 40;
/// Sequences in a test.
const SEQUENCES: u64 = 250;
/// How long everything may take that the kernel does later.
const SOON: Duration = Duration::from_secs(5);
/// How long the sequences may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(120);
/// Runs for making a failure shorter.
const TRIES: usize = 400;

/// A change.
#[derive(Clone, Debug)]
enum Op {
    AddPair([(u32, &'static str); 2]),
    RemoveLink(u32),
    SetUp(u32, bool),
    AddAddress(Address),
    RemoveAddress(Address),
    AddRoute(Route, Mode),
    RemoveRoute(Route, bool),
    AddRule(Rule, Option<u32>, bool),
    RemoveRule(Rule, Option<u32>),
    /// As imon asks for it.
    Change(Change),
    SetNeighbour(Neighbour),
    Forget(u32, IpAddr),
    Verify(u32, Ipv4Addr),
}

/// What was done, and what came of it, how often.
type Tally = BTreeMap<String, u64>;

/// Everything that a sequence needs.
#[derive(Clone, Debug)]
struct Sequence {
    /// There is IPv6.
    v6: bool,
    settings: Settings,
    /// Changes, and the packets whose way is looked for after each.
    steps: Vec<(Op, Vec<Flow>)>,
}

/// Runs sequences if this program was started for that.
pub fn intercept() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some(INSIDE) {
        return;
    }
    let mut number = || arguments.next().unwrap().parse::<u64>().unwrap();
    let (first, count) = (number(), number());
    let mut tally = Tally::new();
    for seed in first..first + count {
        let sequence = draw(seed);
        if let Err(e) = run(&sequence, &mut tally) {
            println!("{}", shrunk(seed, sequence, e));
            std::process::exit(1);
        }
    }
    for (what, times) in tally {
        println!("{times:6} {what}");
    }
    std::process::exit(0);
}

pub fn tests() -> Vec<Trial> {
    let trial = |name: &'static str, first: u64, count: u64, often: &'static [&'static str]| {
        Trial::test(name, move || {
            sequences(first, count, often);
            Ok(())
        })
    };
    if let Ok(seed) = std::env::var("SEED") {
        let seed = seed.parse().expect("SEED is a number");
        return vec![trial("differential::seed", seed, 1, &[])];
    }
    vec![
        trial("differential::the_kernels_agree_1", 0, SEQUENCES, &OFTEN),
        trial("differential::the_kernels_agree_2", SEQUENCES, SEQUENCES, &OFTEN),
    ]
}

/// What has to come about in the sequences of a test, at least so often: else they would be no
/// proof.
const LEAST: u64 = 5;
const OFTEN: [&str; 48] = [
    "add link: fine",
    "remove link: fine",
    "set up: fine",
    "set down: fine",
    "add address: fine",
    "add address: File exists (os error 17)",
    "add address of IPv6: fine",
    "remove address: fine",
    "remove address of IPv6: fine",
    "add route: fine",
    "add route: File exists (os error 17)",
    "add route: Network is unreachable (os error 101)",
    "add route: Invalid argument (os error 22)",
    "add route with hops: fine",
    "add route of IPv6: fine",
    "add route of IPv6: No route to host (os error 113)",
    "replace route: fine",
    "replace route with hops: fine",
    "replace route of IPv6: fine",
    "change route: fine",
    "change route: No such file or directory (os error 2)",
    "append route: fine",
    "append route of IPv6: fine",
    "prepend route: fine",
    "remove route: fine",
    "remove route: No such process (os error 3)",
    "remove route of IPv6: fine",
    "add rule: fine",
    "add rule: File exists (os error 17)",
    "add rule of IPv6: fine",
    "remove rule: fine",
    "remove rule of IPv6: fine",
    "imon's replace: fine",
    "imon's remove route: fine",
    "imon's add rule: fine",
    "imon's append rule: fine",
    "imon's remove rule: fine",
    "set neighbour: fine",
    "set neighbour of IPv6: fine",
    "forget neighbour: fine",
    "verify neighbour: fine",
    "packet sent: Unicast",
    "packet sent: Unicast, one of several",
    "packet sent of IPv6: Unicast",
    "packet sent of IPv6: Unicast, one of several",
    "packet received: Unicast",
    "packet received: Local",
    "packet received: Invalid argument (os error 22)",
];

fn sequences(first: u64, count: u64, often: &[&str]) {
    let lab = Lab::new();
    let arguments = [INSIDE.into(), first.to_string(), count.to_string()];
    let inside = lab.spawn("router", std::env::current_exe().unwrap(), arguments);
    let status = inside.wait(PATIENCE);
    let lines = inside.texts();
    assert!(status.success(), "{}", lines.join("\n"));
    let tally = |line: &String| {
        let (times, what) = line.trim_start().split_once(' ')?;
        Some((what.to_string(), times.parse().ok()?))
    };
    let tally: Tally = lines.iter().filter_map(tally).collect();
    for what in often {
        let times = tally.get(*what).copied().unwrap_or(0);
        assert!(times >= LEAST, "{what}: only {times} times\n{}", lines.join("\n"));
    }
}

/// Makes the changes in both, and says where they differ.
fn run(sequence: &Sequence, tally: &mut Tally) -> Result<(), (usize, String)> {
    let mut real = Real::new();
    let mut kernel = Kernel::new();
    if sequence.v6 {
        // Addresses come from the sequence alone, and at once.
        for (name, value) in [("addr_gen_mode", "1"), ("accept_ra", "0"), ("accept_dad", "0")] {
            sysctl(&format!("ipv6/conf/default/{name}"), value);
        }
    } else {
        kernel.disable_ipv6();
        sysctl("ipv6/conf/default/disable_ipv6", "1");
        sysctl("ipv6/conf/all/disable_ipv6", "1");
    }
    let settings = sequence.settings;
    sysctl(
        "ipv4/conf/all/promote_secondaries",
        if settings.promote_secondaries { "1" } else { "0" },
    );
    sysctl("ipv4/ip_forward", if settings.forwarding { "1" } else { "0" });
    sysctl("ipv4/conf/all/rp_filter", &settings.rp_filter.to_string());
    kernel.settings = sequence.settings;
    real.take_news();
    // imon's own eyes and ears.
    let (mut requests, mut events) = (Requests::open().unwrap(), Events::open().unwrap());
    for (at, (op, flows)) in sequence.steps.iter().enumerate() {
        let (ours, theirs) = (op.simulate(&mut kernel), op.really(&mut real));
        if ours != theirs {
            return Err((at, format!("answers {}, really {}", words(ours), words(theirs))));
        }
        *tally.entry(format!("{}: {}", op.name(), words(theirs))).or_default() += 1;
        if op.is_slow() {
            real.settle();
        }
        let deadline = Instant::now() + if op.is_slow() { SOON } else { Duration::ZERO };
        let mut heard = Vec::new();
        let told = kernel.peek_news().to_vec();
        loop {
            heard.extend(real.take_news());
            let Err(e) =
                compare(&kernel, &mut real, sequence.v6).and_then(|()| news(&told, &heard))
            else {
                break;
            };
            if Instant::now() >= deadline {
                return Err((at, e));
            }
            std::thread::sleep(Duration::from_micros(300));
        }
        imons(&mut kernel, &mut requests, &mut events).map_err(|e| (at, e))?;
        for flow in flows {
            lookup(&kernel, &mut real, flow, tally).map_err(|e| (at, e))?;
            imons_way(&kernel, &mut requests, flow.to).map_err(|e| (at, e))?;
        }
    }
    Ok(())
}

fn words(result: Result<(), Errno>) -> String {
    match result {
        Ok(()) => "fine".into(),
        Err(errno) => std::io::Error::from_raw_os_error(errno).to_string(),
    }
}

fn compare(kernel: &Kernel, real: &mut Real, v6: bool) -> Result<(), String> {
    let mut links: Vec<net::Link> = kernel.links().cloned().collect();
    links.sort_by_key(|l| l.index);
    let mut real_links = real.links();
    real_links.sort_by_key(|l| l.index);
    same("links", &links, &real_links)?;
    let mut addresses = kernel.addresses().to_vec();
    let mut real_addresses = real.addresses(false);
    if v6 {
        real_addresses.extend(real.addresses(true));
    }
    // The list of IPv6 has an order of its own.
    addresses.sort_by_key(|a| (a.address.is_ipv6(), a.index));
    real_addresses.sort_by_key(|a| (a.address.is_ipv6(), a.index));
    same("addresses", &addresses, &real_addresses)?;
    let routes: Vec<Route> = kernel.routes4().iter().map(visible).collect();
    let mut real_routes = real.routes(false);
    real_routes.sort_by_key(|r| r.table);
    same("routes", &routes, &real_routes)?;
    same("rules", kernel.rules(false), &real.rules(false))?;
    same("neighbours", kernel.neighbours(), &real.neighbours())?;
    if !v6 {
        return Ok(());
    }
    // Where one network is part of another, the smaller one comes first, and that is no order to
    // rely on. When a link gets its route for multicast is the kernel's affair.
    let index = |r: &Route| if r.kind == Kind::Multicast { r.hops[0].index } else { 0 };
    let place = |r: &Route| (r.table, r.destination, r.prefix, index(r));
    let (mut routes, mut real_routes) = (kernel.routes6(), real.routes(true));
    routes.sort_by_key(place);
    real_routes.sort_by_key(place);
    same("routes of IPv6", &routes, &real_routes)?;
    same("rules of IPv6", kernel.rules(true), &real.rules(true))
}

/// Whether the same was told. The kernel may tell more than once how a link is, and when it tells
/// of a carrier is its own affair.
fn news(told: &[News], heard: &[News]) -> Result<(), String> {
    let others = |all: &[News]| -> Vec<News> {
        let news = |one: &News| match one {
            News::Link(_) => None,
            News::Route(route, replaces) => Some(News::Route(visible(route), *replaces)),
            News::NoRoute(route) => Some(News::NoRoute(visible(route))),
            other => Some(other.clone()),
        };
        all.iter().filter_map(news).collect()
    };
    let links = |all: &[News]| -> Vec<net::Link> {
        let mut links: Vec<_> = all
            .iter()
            .filter_map(|n| if let News::Link(l) = n { Some(l.clone()) } else { None })
            .collect();
        links.sort_by_key(|l| l.index);
        links.dedup();
        links
    };
    let is_v6 = |news: &News| match news {
        News::Address(a) | News::NoAddress(a) => a.address.is_ipv6(),
        News::Route(r, _) | News::NoRoute(r) => r.destination.is_ipv6(),
        _ => false,
    };
    let (told6, told4): (Vec<_>, Vec<_>) = others(told).into_iter().partition(is_v6);
    let (heard6, heard4): (Vec<_>, Vec<_>) = others(heard).into_iter().partition(is_v6);
    same("news", &told4, &heard4)?;
    // Of IPv6 much is done later, and by tables in no order.
    let sorted = |all: Vec<News>| {
        let mut all: Vec<(String, News)> = all.into_iter().map(|n| (format!("{n:?}"), n)).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.into_iter().map(|(_, n)| n).collect::<Vec<News>>()
    };
    same("news of IPv6", &sorted(told6), &sorted(heard6))?;
    same("news of links", &links(told), &links(heard))
}

/// Whether imon itself sees and hears the same.
fn imons(kernel: &mut Kernel, requests: &mut Requests, events: &mut Events) -> Result<(), String> {
    let (mut ours, mut theirs) = (Picture::default(), Picture::default());
    kernel.look(&mut ours);
    requests.look(&mut theirs).unwrap();
    for picture in [&mut ours, &mut theirs] {
        picture.links.sort_by_key(|l| l.index);
        picture.routes.sort_by_key(|r| (r.table, r.destination, r.prefix));
        picture.defaults6.sort_by_key(|d| d.table);
    }
    same("imon's links", &ours.links, &theirs.links)?;
    same("imon's addresses", &ours.addresses, &theirs.addresses)?;
    same("imon's routes", &ours.routes, &theirs.routes)?;
    same("imon's rules", &ours.rules, &theirs.rules)?;
    same("imon's default routes of IPv6", &ours.defaults6, &theirs.defaults6)?;
    let (mut told, mut heard) = (Vec::new(), Vec::new());
    assert_eq!(kernel.hear(|m| told.push(m)), kernel::Heard::Fine);
    while !matches!(read(events, &mut heard), 0) {}
    let sorted = |all: Vec<Message>| {
        let mut all: Vec<String> =
            all.iter().map(|m| format!("{:?} {}", m.news, m.replaces)).collect();
        all.sort();
        // How a link is may be told more than once.
        all.dedup_by(|a, b| a == b && a.starts_with("Link("));
        all
    };
    same("what imon hears", &sorted(told), &sorted(heard))
}

fn imons_way(kernel: &Kernel, requests: &mut Requests, to: IpAddr) -> Result<(), String> {
    let IpAddr::V4(ip) = to else { return Ok(()) };
    let (ours, theirs) = (kernel.way_to(ip), requests.way(ip).map_err(|e| e.errno));
    let several = kernel.ways(&Flow { protocol: net::UDP, ..Flow::to(to) }).len() > 1;
    if ours == theirs || several {
        Ok(())
    } else {
        Err(format!("imon's way to {ip}: {ours:?}, really {theirs:?}"))
    }
}

/// Takes what has arrived, and says how much that was.
fn read(events: &mut Events, heard: &mut Vec<Message>) -> usize {
    let before = heard.len();
    assert_eq!(events.receive(|m| heard.push(m)), imon::engine::world::Delivery::Complete);
    heard.len() - before
}

/// The route as it is told.
fn visible(route: &Route) -> Route {
    let mut route = route.clone();
    route.hops.iter_mut().for_each(|hop| hop.reach = 0);
    route
}

fn same<T: PartialEq + fmt::Debug>(what: &str, ours: &[T], theirs: &[T]) -> Result<(), String> {
    if ours == theirs {
        return Ok(());
    }
    let lines = |all: &[T]| all.iter().map(|one| format!("{one:?}")).collect::<Vec<_>>();
    let (ours, theirs) = (lines(ours), lines(theirs));
    let mut text = format!("{what} differ");
    for line in ours.iter().filter(|line| !theirs.contains(line)) {
        text += &format!("\n  only simulated: {line}");
    }
    for line in theirs.iter().filter(|line| !ours.contains(line)) {
        text += &format!("\n  only real:      {line}");
    }
    if !text.contains('\n') {
        text += &format!(
            " in order or number\n  simulated: {}\n  real:      {}",
            ours.join("\n    "),
            theirs.join("\n    ")
        );
    }
    Err(text)
}

fn lookup(kernel: &Kernel, real: &mut Real, flow: &Flow, tally: &mut Tally) -> Result<(), String> {
    let ours = kernel.ways(flow);
    let (way, route) = real.lookup(flow);
    let is = |our: &Result<Way, Errno>| match (our, &way) {
        (Err(ours), Err(theirs)) => ours == theirs,
        (Ok(our), Ok(way)) => {
            // Asked again, the kernel may choose another.
            let routes = ours.len() > 1 || our.route.as_ref().map(visible) == route.clone().ok();
            routes && *way == Way { route: None, ..our.clone() }
        }
        _ => false,
    };
    let fits = ours.iter().any(is);
    let what = match &way {
        Ok(way) if ours.len() > 1 => format!("{:?}, one of several", way.kind),
        Ok(way) => format!("{:?}", way.kind),
        Err(errno) => words(Err(*errno)),
    };
    let (direction, family) =
        (if flow.incoming == 1 { "sent" } else { "received" }, family(flow.to));
    *tally.entry(format!("packet {direction}{family}: {what}")).or_default() += 1;
    if fits {
        Ok(())
    } else {
        Err(format!(
            "the way of {flow:?}\n  simulated: {ours:?}\n  real:      {way:?}\n  by {route:?}"
        ))
    }
}

impl Op {
    fn simulate(&self, kernel: &mut Kernel) -> Result<(), Errno> {
        match self {
            Self::AddPair(ends) => kernel.add_pair(*ends),
            Self::RemoveLink(index) => kernel.remove_link(*index),
            Self::SetUp(index, up) => kernel.set_up(*index, *up),
            Self::AddAddress(address) => kernel.add_address(address),
            Self::RemoveAddress(address) => kernel.remove_address(address),
            Self::AddRoute(route, mode) => kernel.add_route(route, *mode),
            Self::RemoveRoute(route, exact) => kernel.remove_route(route, *exact),
            Self::AddRule(rule, priority, exclusive) => {
                kernel.add_rule(rule, *priority, *exclusive)
            }
            Self::RemoveRule(rule, priority) => kernel.remove_rule(rule, *priority),
            Self::Change(change) => kernel.request(change),
            Self::SetNeighbour(neighbour) => kernel.set_neighbour(*neighbour),
            Self::Forget(index, address) => kernel.forget(*index, *address),
            Self::Verify(index, address) => kernel.verify(*index, *address),
        }
    }

    fn really(&self, real: &mut Real) -> Result<(), Errno> {
        match self {
            Self::AddPair(ends) => real.add_pair(*ends),
            Self::RemoveLink(index) => real.remove_link(*index),
            Self::SetUp(index, up) => real.set_up(*index, *up),
            Self::AddAddress(address) => real.add_address(address),
            Self::RemoveAddress(address) => real.remove_address(address),
            Self::AddRoute(route, mode) => real.add_route(route, *mode),
            Self::RemoveRoute(route, exact) => real.remove_route(route, *exact),
            Self::AddRule(rule, priority, exclusive) => real.add_rule(rule, *priority, *exclusive),
            Self::RemoveRule(rule, priority) => real.remove_rule(rule, *priority),
            Self::Change(change) => real.make(change),
            Self::SetNeighbour(neighbour) => real.set_neighbour(*neighbour),
            Self::Forget(index, address) => real.forget(*index, *address),
            Self::Verify(index, address) => real.verify(*index, *address),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::AddPair(_) => "add link".into(),
            Self::RemoveLink(_) => "remove link".into(),
            Self::SetUp(_, true) => "set up".into(),
            Self::SetUp(..) => "set down".into(),
            Self::AddAddress(a) => format!("add address{}", family(a.address)),
            Self::RemoveAddress(a) => format!("remove address{}", family(a.address)),
            Self::AddRoute(r, mode) => {
                let word = match *mode {
                    Mode::ADD => "add",
                    Mode::REPLACE => "replace",
                    Mode::CHANGE => "change",
                    Mode::APPEND => "append",
                    _ => "prepend",
                };
                let hops = if r.hops.len() > 1 { " with hops" } else { "" };
                format!("{word} route{}{hops}", family(r.destination))
            }
            Self::RemoveRoute(r, _) => format!("remove route{}", family(r.destination)),
            Self::AddRule(r, ..) => format!("add rule{}", if r.v6 { " of IPv6" } else { "" }),
            Self::RemoveRule(r, _) => format!("remove rule{}", if r.v6 { " of IPv6" } else { "" }),
            Self::SetNeighbour(n) => format!("set neighbour{}", family(n.address)),
            Self::Forget(_, address) => format!("forget neighbour{}", family(*address)),
            Self::Verify(..) => "verify neighbour".into(),
            Self::Change(Change::Replace(_)) => "imon's replace".into(),
            Self::Change(Change::RemoveRoute(_)) => "imon's remove route".into(),
            Self::Change(Change::AddRule(_)) => "imon's add rule".into(),
            Self::Change(Change::AppendRule(_)) => "imon's append rule".into(),
            Self::Change(Change::RemoveRule(_)) => "imon's remove rule".into(),
        }
    }

    /// The kernel does a part of it later.
    fn is_slow(&self) -> bool {
        match self {
            Self::AddPair(_) | Self::RemoveLink(_) | Self::SetUp(..) => true,
            Self::AddAddress(address) | Self::RemoveAddress(address) => address.address.is_ipv6(),
            _ => false,
        }
    }
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv6() { " of IPv6" } else { "" }
}

/// Leaves out what the failure does not need.
fn shrunk(seed: u64, mut sequence: Sequence, first: (usize, String)) -> String {
    let (mut at, mut error) = first;
    sequence.steps.truncate(at + 1);
    let mut tries = 0;
    let mut size = sequence.steps.len() / 2;
    while size > 0 && tries < TRIES {
        let mut from = 0;
        while from < sequence.steps.len() && tries < TRIES {
            let mut shorter = sequence.clone();
            shorter.steps.drain(from..(from + size).min(sequence.steps.len()));
            tries += 1;
            match run(&shorter, &mut Tally::new()) {
                Err((now, e)) => {
                    shorter.steps.truncate(now + 1);
                    (sequence, at, error) = (shorter, now, e);
                }
                Ok(()) => from += size,
            }
        }
        size /= 2;
    }
    let mut text = format!("SEED={seed}: the kernels differ; {:?}", sequence.settings);
    for (op, _) in sequence.steps.iter().take(at + 1) {
        text += &format!("\n  {op:?}");
    }
    format!("{text}\n{error}")
}

const PAIRS: [[(u32, &str); 2]; 2] = [[(10, "a0"), (11, "b0")], [(20, "a1"), (21, "b1")]];
const INDEXES: [u32; 4] = [10, 11, 20, 21];
const NAMES: [&str; 6] = ["lo", "a0", "b0", "a1", "b1", "c9"];
const TABLES: [u32; 5] = [MAIN, MAIN, MAIN, 100, 171_000_000];

fn draw(seed: u64) -> Sequence {
    // Half of the sequences have IPv6 as well.
    let v6 = seed % 2 == 1;
    let mut draw = Draw { random: Random::new(seed), v6, kernel: Kernel::new() };
    let settings = Settings {
        promote_secondaries: draw.random.percent(30),
        forwarding: draw.random.percent(80),
        rp_filter: *draw.random.pick(&[0, 0, 1, 2]),
    };
    draw.kernel.settings = settings;
    // Mostly something to work with.
    let mut ops = PAIRS.map(Op::AddPair).to_vec();
    ops.extend(INDEXES.map(|index| Op::SetUp(index, true)));
    let addresses =
        [(10, "10.0.0.1", 24), (20, "10.0.1.1", 24), (10, "fd00::1", 64), (20, "fd00:1::1", 64)];
    for (index, address, prefix) in
        addresses.into_iter().filter(|(_, address, _)| v6 || !address.contains(':'))
    {
        ops.push(Op::AddAddress(plain(index, address, prefix)));
    }
    for destination in ["0.0.0.0", "::"].into_iter().filter(|d| v6 || !d.contains(':')) {
        let (v6, destination) = (destination.contains(':'), ip(destination));
        let route = if v6 { draw.route6() } else { draw.route4() };
        let default = Route { table: MAIN, destination, prefix: 0, metric: 100, ..route };
        ops.push(Op::AddRoute(default, Mode::ADD));
    }
    ops.retain(|_| draw.random.percent(93));
    for op in &ops {
        let _ = op.simulate(&mut draw.kernel);
    }
    while ops.len() < STEPS {
        let op = draw.op();
        let _ = op.simulate(&mut draw.kernel);
        ops.push(op);
    }
    let steps = ops.into_iter().map(|op| (op, (0..3).map(|_| draw.flow()).collect())).collect();
    Sequence { v6, settings, steps }
}

fn plain(index: u32, address: &str, prefix: u8) -> Address {
    Address {
        index,
        address: ip(address),
        peer: None,
        prefix,
        scope: scope::UNIVERSE,
        broadcast: None,
        secondary: false,
        no_prefix_route: false,
        metric: 0,
    }
}

/// Draws changes, and makes them in a kernel to know what there is.
struct Draw {
    random: Random,
    v6: bool,
    kernel: Kernel,
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

impl Draw {
    fn op(&mut self) -> Op {
        match self.random.below(100) {
            0..4 => Op::AddPair(*self.random.pick(&PAIRS)),
            4..5 => Op::RemoveLink(self.index()),
            5..11 => Op::SetUp(self.index(), true),
            // Without `lo` there is no IPv6 at all.
            11..15 => {
                Op::SetUp(if self.v6 { *self.random.pick(&INDEXES) } else { self.index() }, false)
            }
            15..26 => self.add_address(),
            26..33 => self.remove_address(),
            33..57 => self.add_route(),
            57..66 => self.remove_route(),
            66..78 => self.add_rule(),
            78..84 => self.remove_rule(),
            84..88 => self.neighbour(),
            _ => Op::Change(self.change()),
        }
    }

    fn neighbour(&mut self) -> Op {
        let v6 = self.is_v6();
        let all = if v6 {
            ["fd00::fe", "fd00:1::fe", "fe80::fe"]
        } else {
            ["10.0.0.254", "10.0.1.254", "10.0.0.77"]
        };
        let (mut index, mut address) = (*self.random.pick(&INDEXES), self.host(&all));
        let known: Vec<_> = self
            .kernel
            .neighbours()
            .iter()
            .filter(|n| n.address.is_ipv6() == v6)
            .copied()
            .collect();
        let there = !known.is_empty() && self.random.percent(80);
        if there {
            let one = self.random.pick(&known);
            (index, address) = (one.index, one.address);
        }
        match (self.random.below(if there { 3 } else { 8 }), address) {
            (0, _) => Op::Forget(index, address),
            (1, IpAddr::V4(ip)) => Op::Verify(index, ip),
            _ => {
                let state = *self.random.pick(&[state::PERMANENT, state::REACHABLE, state::STALE]);
                Op::SetNeighbour(Neighbour { index, address, state })
            }
        }
    }

    fn index(&mut self) -> u32 {
        match self.random.below(40) {
            0 => 1,
            1 => 99,
            _ => *self.random.pick(&INDEXES),
        }
    }

    fn host(&mut self, of: &[&str]) -> IpAddr {
        ip(of[self.random.below(of.len())])
    }

    /// Whether the next thing is of IPv6.
    fn is_v6(&mut self) -> bool {
        self.v6 && self.random.percent(60)
    }

    fn address(&mut self) -> Address {
        if self.is_v6() {
            return self.address6();
        }
        let all = [
            ("10.0.0.1", None, 24),
            ("10.0.0.2", None, 24),
            ("10.0.0.3", None, 24),
            ("10.0.0.1", None, 25),
            ("10.0.0.1", None, 32),
            ("10.0.1.1", None, 24),
            ("10.0.1.5", None, 16),
            ("192.0.2.1", None, 30),
            ("192.0.2.2", None, 30),
            ("192.0.2.9", None, 31),
            ("10.0.0.9", Some("10.0.1.9"), 32),
            ("10.0.0.1", Some("192.0.2.2"), 32),
            ("10.0.0.7", Some("10.0.1.0"), 24),
            ("127.0.0.5", None, 8),
        ];
        let (address, peer, prefix) = *self.random.pick(&all);
        let broadcast = match self.random.below(4) {
            0 => Some(Ipv4Addr::new(10, 0, 0, 255)),
            1 if self.random.percent(20) => Some(Ipv4Addr::new(10, 0, 0, 77)),
            _ => None,
        };
        Address {
            index: self.index(),
            address: ip(address),
            peer: peer.map(ip),
            prefix,
            scope: if self.random.percent(90) {
                scope::UNIVERSE
            } else {
                *self.random.pick(&[scope::LINK, scope::HOST])
            },
            broadcast,
            secondary: false,
            no_prefix_route: self.random.percent(5),
            metric: if self.random.percent(10) { 50 } else { 0 },
        }
    }

    fn address6(&mut self) -> Address {
        let all = [
            ("fd00::1", 64),
            ("fd00::2", 64),
            ("fd00::1", 128),
            ("fd00:1::1", 64),
            ("fd00:1::5", 48),
            ("2001:db8::1", 64),
            ("2001:db8::2", 64),
            ("fe80::1", 64),
            ("ff02::99", 64),
        ];
        let (address, prefix) = *self.random.pick(&all);
        let address: Ipv6Addr = address.parse().unwrap();
        Address {
            index: *self.random.pick(&INDEXES),
            address: address.into(),
            peer: None,
            prefix,
            scope: scope::UNIVERSE,
            broadcast: None,
            secondary: false,
            no_prefix_route: self.random.percent(5),
            metric: if self.random.percent(10) { 50 } else { 0 },
        }
    }

    fn hop6(&mut self) -> Hop {
        if self.random.percent(85) {
            return self.fair_hop(&[
                (10, "fd00::2"),
                (10, "fd00::fe"),
                (20, "fd00:1::fe"),
                (20, "fd00:1::2"),
            ]);
        }
        let gateways = [
            "fd00::2",
            "fd00::fe",
            "fd00:1::fe",
            "2001:db8::fe",
            "fd99::1",
            "fd00::1",
            "fe80::fe",
            "fe80::1",
        ];
        let gateway = self.random.percent(75).then(|| self.host(&gateways));
        let index = if gateway.is_none() || self.random.percent(60) {
            *self.random.pick(&INDEXES)
        } else {
            0
        };
        Hop {
            index,
            gateway,
            onlink: gateway.is_some() && index != 0 && self.random.percent(25),
            ..Hop::default()
        }
    }

    fn route6(&mut self) -> Route {
        let networks = [
            ("::", 0),
            ("::", 0),
            ("::", 0),
            ("::", 1),
            ("8000::", 1),
            ("fd00::", 16),
            ("fd00::", 64),
            ("fd00:1::", 64),
            ("2001:db8:99::", 48),
            ("2001:db8:99::5", 128),
            ("2001:db8:99::5", 48),
        ];
        let (destination, prefix) = *self.random.pick(&networks);
        let kind = match self.random.below(20) {
            0 => Kind::Blackhole,
            1 => Kind::Unreachable,
            2 => Kind::Prohibit,
            3 => Kind::Throw,
            _ => Kind::Unicast,
        };
        let hops = match kind {
            Kind::Unicast if self.random.percent(20) => (0..2).map(|_| self.hop6()).collect(),
            Kind::Unicast => vec![self.hop6()],
            _ => Vec::new(),
        };
        let sources = ["fd00::1", "fd00::2", "fd00:1::1", "2001:db8::1"];
        Route {
            table: *self.random.pick(&TABLES),
            destination: ip(destination),
            prefix,
            tos: 0,
            metric: *self.random.pick(&[0, 0, 100, 201]),
            kind,
            scope: scope::UNIVERSE,
            protocol: *self.random.pick(&[3, 4, 16, 171]),
            source: (kind == Kind::Unicast && self.random.percent(20)).then(|| self.host(&sources)),
            hops,
        }
    }

    fn add_address(&mut self) -> Op {
        Op::AddAddress(self.address())
    }

    fn remove_address(&mut self) -> Op {
        let all: Vec<Address> =
            self.kernel.addresses().iter().filter(|a| a.index != 1).cloned().collect();
        if all.is_empty() || self.random.percent(10) {
            return Op::RemoveAddress(self.address());
        }
        Op::RemoveAddress(self.random.pick(&all).clone())
    }

    /// One that should work.
    fn fair_hop(&mut self, of: &[(u32, &str)]) -> Hop {
        let (index, gateway) = of[self.random.below(of.len())];
        let index = if self.random.percent(70) { index } else { 0 };
        Hop {
            index,
            gateway: Some(ip(gateway)),
            onlink: index != 0 && self.random.percent(15),
            ..Hop::default()
        }
    }

    fn hop(&mut self) -> Hop {
        if self.random.percent(85) {
            return self.fair_hop(&[
                (10, "10.0.0.2"),
                (10, "10.0.0.254"),
                (20, "10.0.1.254"),
                (20, "10.0.1.2"),
            ]);
        }
        let gateways =
            ["10.0.0.2", "10.0.0.254", "10.0.1.254", "192.0.2.2", "203.0.113.1", "10.0.0.1"];
        let gateway = self.random.percent(75).then(|| self.host(&gateways));
        let index = if gateway.is_none() || self.random.percent(60) { self.index() } else { 0 };
        Hop {
            index,
            gateway,
            onlink: gateway.is_some() && index != 0 && self.random.percent(25),
            ..Hop::default()
        }
    }

    fn route(&mut self) -> Route {
        if self.is_v6() { self.route6() } else { self.route4() }
    }

    fn route4(&mut self) -> Route {
        let networks = [
            ("0.0.0.0", 0),
            ("0.0.0.0", 0),
            ("0.0.0.0", 0),
            ("0.0.0.0", 1),
            ("128.0.0.0", 1),
            ("10.0.0.0", 8),
            ("10.0.0.0", 24),
            ("10.0.1.0", 24),
            ("203.0.113.0", 24),
            ("203.0.113.5", 32),
            ("10.0.0.1", 24),
        ];
        let (destination, prefix) = *self.random.pick(&networks);
        let kind = match self.random.below(20) {
            0 => Kind::Blackhole,
            1 => Kind::Unreachable,
            2 => Kind::Prohibit,
            3 => Kind::Throw,
            4 => Kind::Local,
            5 => Kind::Broadcast,
            _ => Kind::Unicast,
        };
        let hops = match kind {
            Kind::Unicast if self.random.percent(20) => (0..2).map(|_| self.hop()).collect(),
            _ if kind.error().is_none() => vec![self.hop()],
            _ => Vec::new(),
        };
        let sources = ["10.0.0.1", "10.0.0.2", "10.0.1.1", "192.0.2.1"];
        Route {
            table: if self.random.percent(3) { LOCAL } else { *self.random.pick(&TABLES) },
            destination: ip(destination),
            prefix,
            tos: if self.random.percent(10) { 0x10 } else { 0 },
            metric: *self.random.pick(&[0, 0, 100, 201]),
            kind,
            scope: match kind {
                Kind::Local => scope::HOST,
                Kind::Broadcast => scope::LINK,
                Kind::Unicast if hops.iter().all(|h| h.gateway.is_none()) => scope::LINK,
                _ => scope::UNIVERSE,
            },
            protocol: *self.random.pick(&[3, 4, 16, 171]),
            source: (kind.error().is_none() && self.random.percent(20))
                .then(|| self.host(&sources)),
            hops,
        }
    }

    /// A route that is there, or another's mixture with it, or any.
    fn similar(&mut self, there: usize) -> Route {
        let v6 = self.is_v6();
        let mut all = if v6 { self.kernel.routes6() } else { self.kernel.routes4().to_vec() };
        let kernels = self.random.percent(10);
        all.retain(|r| r.kind != Kind::Multicast && (kernels || r.protocol != KERNEL));
        if all.is_empty() || !self.random.percent(there) {
            return self.route();
        }
        let mut route = self.random.pick(&all).clone();
        if route.kind.error().is_some() {
            route.hops.clear();
        }
        route
    }

    fn add_route(&mut self) -> Op {
        let mut route = self.similar(50);
        let other = if route.destination.is_ipv6() { self.route6() } else { self.route4() };
        match self.random.below(6) {
            0 | 1 => {
                (route.hops, route.kind, route.scope, route.source) =
                    (other.hops, other.kind, other.scope, other.source);
            }
            2 => route.metric = other.metric,
            3 => route.protocol = other.protocol,
            4 => route.source = other.source.filter(|_| route.kind.error().is_none()),
            _ => {}
        }
        let modes = [
            Mode::ADD,
            Mode::ADD,
            Mode::REPLACE,
            Mode::REPLACE,
            Mode::CHANGE,
            Mode::APPEND,
            Mode::PREPEND,
        ];
        Op::AddRoute(route, *self.random.pick(&modes))
    }

    fn remove_route(&mut self) -> Op {
        let mut route = self.similar(85);
        let exact = self.random.percent(50);
        if self.random.percent(50) {
            (route.protocol, route.source) = (0, None);
        }
        if self.random.percent(30) {
            route.metric = 0;
        }
        if self.random.percent(30) {
            route.hops.clear();
        }
        Op::RemoveRoute(route, exact)
    }

    fn network(&mut self, v6: bool) -> Option<(IpAddr, u8)> {
        let all6 = [("fd00::1", 128), ("fd00::2", 128), ("fd00::", 64), ("2001:db8:99::", 48)];
        let all4 = [
            ("10.0.0.1", 32),
            ("10.0.0.2", 32),
            ("10.0.0.0", 24),
            ("192.0.2.1", 32),
            ("203.0.113.0", 24),
            ("203.0.113.5", 32),
        ];
        let (address, prefix) =
            if v6 { *self.random.pick(&all6) } else { *self.random.pick(&all4) };
        self.random.percent(30).then(|| (ip(address), prefix))
    }

    fn rule(&mut self) -> (Rule, Option<u32>) {
        let v6 = self.is_v6();
        self.rule_of(v6)
    }

    fn rule_of(&mut self, v6: bool) -> (Rule, Option<u32>) {
        let action = match self.random.below(12) {
            0 => Action::Blackhole,
            1 => Action::Unreachable,
            2 => Action::Prohibit,
            _ => Action::Table(*self.random.pick(&TABLES)),
        };
        let marked = self.random.percent(15);
        let rule = Rule {
            v6,
            priority: 0,
            action,
            protocol: *self.random.pick(&[0, 3, 171]),
            inverted: self.random.percent(10),
            source: self.network(v6),
            destination: self.network(v6),
            tos: if self.random.percent(5) { 0x10 } else { 0 },
            mark: if marked { *self.random.pick(&[1, 2, 0x10]) } else { 0 },
            mask: if marked { *self.random.pick(&[u32::MAX, 3]) } else { 0 },
            incoming: self.random.percent(10).then(|| (*self.random.pick(&NAMES)).into()),
            device: self.random.percent(15).then(|| (*self.random.pick(&NAMES)).into()),
            ip_protocol: if self.random.percent(20) {
                *self.random.pick(&[if v6 { 58 } else { 1 }, 6, 17])
            } else {
                0
            },
            source_port: self.random.percent(5).then_some(1000..=2000),
            port: self.random.percent(10).then(|| self.random.pick(&[53..=53, 1..=1023]).clone()),
            suppress: (matches!(action, Action::Table(_)) && self.random.percent(25))
                .then(|| *self.random.pick(&[0, 1, 24])),
        };
        let priorities = [
            None,
            Some(1),
            Some(100),
            Some(100),
            Some(22_011),
            Some(32_765),
            Some(32_766),
            Some(40_000),
        ];
        (rule, *self.random.pick(&priorities))
    }

    fn add_rule(&mut self) -> Op {
        let (mut rule, priority) = self.some_rule(20);
        if self.random.percent(10) {
            rule.inverted = !rule.inverted;
        }
        Op::AddRule(rule, priority, self.random.percent(70))
    }

    /// One that is there, or any.
    fn some_rule(&mut self, there: usize) -> (Rule, Option<u32>) {
        let v6 = self.is_v6();
        let all = self.kernel.rules(v6);
        if all.is_empty() || !self.random.percent(there) {
            return self.rule();
        }
        let rule = self.random.pick(all).clone();
        let priority = Some(rule.priority);
        (rule, priority)
    }

    fn remove_rule(&mut self) -> Op {
        let (mut rule, mut priority) = self.some_rule(80);
        if self.random.percent(30) {
            (rule.source, rule.port, rule.protocol) = (None, None, 0);
        }
        if self.random.percent(20) {
            priority = None;
        }
        Op::RemoveRule(rule, priority)
    }

    /// What imon asks for.
    fn change(&mut self) -> Change {
        let v4 =
            |address: IpAddr| if let IpAddr::V4(ip) = address { ip } else { Ipv4Addr::UNSPECIFIED };
        if self.random.percent(60) {
            let ours: Vec<Route> =
                self.kernel.routes4().iter().filter(|r| r.protocol == 171).cloned().collect();
            let remove = !ours.is_empty() && self.random.percent(40);
            let mut route = if remove { self.random.pick(&ours).clone() } else { self.route4() };
            // imon makes hardly any others.
            route.kind = Kind::Unicast;
            if self.random.percent(90) {
                route.hops.truncate(1);
            }
            let hop = |h: &Hop| net::Hop {
                index: h.index,
                gateway: h.gateway.map(v4),
                onlink: h.onlink,
                dead: false,
            };
            let route = net::Route {
                table: route.table,
                destination: v4(route.destination),
                prefix: route.prefix,
                metric: route.metric,
                protocol: net::PROTOCOL,
                tos: route.tos,
                source: route.source.map(v4),
                hops: route.hops.iter().map(hop).collect(),
                nexthop: 0,
            };
            return if remove { Change::RemoveRoute(route) } else { Change::Replace(route) };
        }
        let ours: Vec<Rule> =
            self.kernel.rules(false).iter().filter(|r| r.protocol == 171).cloned().collect();
        let remove = !ours.is_empty() && self.random.percent(40);
        let (rule, priority) = if remove || (!ours.is_empty() && self.random.percent(20)) {
            let rule = self.random.pick(&ours).clone();
            (rule.clone(), Some(rule.priority))
        } else {
            self.rule_of(false)
        };
        let table = if let Action::Table(table) = rule.action { table } else { MAIN };
        let rule = net::Rule {
            priority: priority.unwrap_or(22_011),
            table,
            protocol: net::PROTOCOL,
            inverted: rule.inverted,
            source: rule.source.map(|(ip, _)| v4(ip)),
            source_length: rule.source.map_or(0, |(_, n)| n),
            destination: rule.destination.map(|(ip, _)| v4(ip)),
            destination_length: rule.destination.map_or(0, |(_, n)| n),
            ip_protocol: rule.ip_protocol,
            port: rule.port.map_or(0, |_| 53),
            mark: rule.mark,
            device: rule.device,
            suppress: rule.suppress,
            ..net::Rule::default()
        };
        match self.random.below(2) {
            _ if remove => Change::RemoveRule(rule),
            0 => Change::AddRule(rule),
            _ => Change::AppendRule(rule),
        }
    }

    fn flow6(&mut self) -> Flow {
        let hosts = [
            "fd00::1",
            "fd00::2",
            "fd00::fe",
            "fd00:1::7",
            "2001:db8:99::5",
            "2001:db8:99::6",
            "2001:db8:77::9",
            "2001:db8::fe",
        ];
        let sources = ["fd00::1", "fd00::2", "fd00:1::1", "2001:db8::1"];
        Flow {
            to: self.host(&hosts),
            from: self.random.percent(40).then(|| self.host(&sources)),
            ..self.packet(58)
        }
    }

    fn flow(&mut self) -> Flow {
        if self.is_v6() {
            return self.flow6();
        }
        let hosts = [
            "10.0.0.1",
            "10.0.0.2",
            "10.0.0.254",
            "10.0.1.7",
            "203.0.113.5",
            "203.0.113.6",
            "198.51.100.9",
            "10.0.0.255",
            "127.0.0.1",
            "192.0.2.2",
        ];
        let sources = ["10.0.0.1", "10.0.0.2", "10.0.1.1", "192.0.2.1", "127.0.0.1"];
        if self.random.percent(25) {
            let others = [
                "10.0.0.2",
                "10.0.0.77",
                "10.0.1.7",
                "198.51.100.9",
                "203.0.113.5",
                "192.0.2.2",
                "10.0.0.1",
            ];
            let (incoming, from) = (*self.random.pick(&INDEXES), Some(self.host(&others)));
            return Flow { to: self.host(&hosts), from, incoming, device: 0, ..self.packet(1) };
        }
        Flow {
            to: self.host(&hosts),
            from: self.random.percent(40).then(|| self.host(&sources)),
            ..self.packet(1)
        }
    }

    /// What else a packet has.
    fn packet(&mut self, icmp: u8) -> Flow {
        let protocol = *self.random.pick(&[icmp, 6, 17]);
        let ports = protocol != icmp && self.random.percent(60);
        Flow {
            device: if self.random.percent(30) { self.index() } else { 0 },
            mark: if self.random.percent(30) { *self.random.pick(&[1, 2, 5]) } else { 0 },
            protocol,
            source_port: if ports { *self.random.pick(&[1500, 3000]) } else { 0 },
            port: if ports { *self.random.pick(&[53, 80, 8080]) } else { 0 },
            tos: if self.random.percent(10) { 0x10 } else { 0 },
            ..Flow::to(Ipv4Addr::UNSPECIFIED.into())
        }
    }
}
