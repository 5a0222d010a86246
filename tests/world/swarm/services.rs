//! What the days of weather have beside links and pings: names and their servers, ports, IPv6,
//! pages and providers, what scripts print, and the power. Their faults, and what must hold
//! whatever they do.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::time::Duration;

use imon::base::time::Instant;
use imon::event::Severity;

use super::{ANOTHER, GATEWAYS, INTERNET, Kind, Known, SECOND, Truth, manage};
use crate::internet::{Manner, Name, Port, Said, Server};
use crate::kernel::{Address, Hop, Kind as RouteKind, MAIN, Mode, Route, scope};
use crate::networks::Network;
use crate::random::Random;
use crate::sim::{Call, INSTANCE, Probe, SimWorld};

const SECURE: &str = if cfg!(feature = "tls") { "https" } else { "http" };
/// Who tells the external address: four that are secured, one that is not, and name servers.
const PAGES: [&str; 5] = ["a.example", "b.example", "c.example", "d.example", "e.example"];
const SERVICES: [&str; 3] = ["dns:opendns", "dns:google", "dns:cloudflare"];
const PROVIDERS: [&str; 2] = ["dyn.example", "duck.example"];

const SERVERS: [Ipv4Addr; 2] = [Ipv4Addr::new(198, 51, 100, 53), Ipv4Addr::new(203, 0, 113, 53)];
/// Whom the monitored address's second opinion is asked of, and what.
const OPINION: Ipv4Addr = SERVERS[0];
const KNOWN: &str = "known.example";
/// A name that is pinged, and the addresses that it may have.
const NAMED: &str = "named.example";
const PLACES: [Ipv4Addr; 3] = [
    Ipv4Addr::new(203, 0, 113, 20),
    Ipv4Addr::new(203, 0, 113, 21),
    Ipv4Addr::new(203, 0, 113, 22),
];
const TTL: u32 = 120;
const FAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf00, 0, 0, 0, 0, 7);
const PORT: u16 = 443;
/// A lie about the external address is never of the network of the true ones.
const LIES: [Ipv4Addr; 3] =
    [Ipv4Addr::new(9, 9, 9, 1), Ipv4Addr::new(9, 9, 9, 2), Ipv4Addr::new(9, 9, 9, 3)];

/// From one question to an operator to the next.
const POLITE: Duration = Duration::from_secs(300);
/// At most so many workers run at a time.
const MOST_WORKERS: usize = 3;

pub(super) type Deed = (Instant, &'static str, Box<dyn FnOnce(&mut SimWorld)>);

/// By what the networks of a seed are judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Targets {
    Echo,
    Tcp,
    Dns,
    /// Two of all three must answer.
    Mixed,
}

impl Targets {
    fn of(seed: u64) -> Self {
        match seed % 8 {
            1 => Self::Tcp,
            3 => Self::Dns,
            5 | 6 => Self::Mixed,
            _ => Self::Echo,
        }
    }
}

fn has_opinion(seed: u64) -> bool {
    seed % 3 == 1
}

/// Settings of a seed's configuration.
pub(super) struct Settings {
    pub(super) ddns: String,
    pub(super) updown: String,
    pub(super) ping: String,
    pub(super) failover: String,
    pub(super) targets: String,
}

pub(super) fn settings(seed: u64, interval: u64) -> Settings {
    // Of years only what takes no time.
    let (look, others) =
        if interval == 10 { (120, format!("{NAMED},{FAR}")) } else { (600, FAR.to_string()) };
    let pages = PAGES.iter().map(|host| source(host));
    let sources: Vec<String> =
        pages.chain(SERVICES.map(str::to_owned)).map(|text| format!("{text:?}")).collect();
    let [dyndns, duck] = PROVIDERS;
    let update = format!(
        r#"[{{"type": "dyndns2", "server": "{SECURE}://{dyndns}", "hostname": "home.example", "username": "me",
            "password": "secret", "insecure": true}},
        {{"type": "url", "url": "{SECURE}://{duck}/update?ip={{ip}}&token={{secret}}", "secret": "secret", "ok": "OK",
            "insecure": true}}]"#
    );
    let opinion = if has_opinion(seed) {
        format!(r#", "dnsserver": "{OPINION}", "dnslookup": "{KNOWN}""#)
    } else {
        String::new()
    };
    let (min_up, targets) = match Targets::of(seed) {
        Targets::Echo => (1, INTERNET.to_string()),
        Targets::Tcp => (1, format!("tcp:{INTERNET}:{PORT}")),
        Targets::Dns => (1, format!("dns:{OPINION}")),
        Targets::Mixed => (2, format!("{INTERNET},tcp:{INTERNET}:{PORT},dns:{OPINION}")),
    };
    Settings {
        ddns: format!(
            r#""interval": {look}, "sources": [{}], "update": {update}"#,
            sources.join(", ")
        ),
        updown: format!(r#""addping": "{others}"{opinion}"#),
        ping: others,
        failover: format!(r#""min-up": {min_up},"#),
        targets,
    }
}

fn source(host: &str) -> String {
    let scheme = if host == PAGES[4] { "http" } else { SECURE };
    format!("{scheme}://{host}/")
}

/// What there is at the beginning.
pub(super) fn furnish(world: &mut SimWorld) {
    let conf = format!("nameserver {}\nnameserver {}\n", SERVERS[0], SERVERS[1]);
    world.files.insert("/etc/resolv.conf".into(), conf.into());
    for server in SERVERS.into_iter().chain(GATEWAYS) {
        world.internet.servers.insert(server.into(), Server::Truth);
    }
    for name in ["example.com", KNOWN].into_iter().chain(PAGES).chain(PROVIDERS) {
        world.internet.zone.insert(name.to_owned(), Name::v4([198, 51, 100, 80], 3600));
    }
    world.internet.zone.insert(NAMED.to_owned(), Name::v4(PLACES[0].octets(), TTL));
    world.internet.ports.insert((INTERNET.into(), PORT), Port::Open);
    for (wan, network) in world.networks.iter_mut().enumerate() {
        network.gateway6 = Some(gateway6(wan));
    }
}

fn gateway6(wan: usize) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x42 + wan as u16, 0, 0, 0, 0, 1)
}

/// What a network manager does for IPv6.
pub(super) fn manage6(world: &mut SimWorld, wan: usize) {
    let index = 3 + wan as u32;
    let address = Ipv6Addr::new(0x2001, 0xdb8, 0x42 + wan as u16, 0, 0, 0, 0, 2);
    let _ = world.kernel.add_address(&Address {
        address: address.into(),
        prefix: 64,
        ..Address::of(index, [0; 4])
    });
    let route = Route {
        table: MAIN,
        destination: Ipv6Addr::UNSPECIFIED.into(),
        prefix: 0,
        tos: 0,
        metric: 1024 + wan as u32,
        kind: RouteKind::Unicast,
        scope: scope::UNIVERSE,
        protocol: 16,
        source: None,
        hops: vec![Hop { index, gateway: Some(gateway6(wan).into()), ..Hop::default() }],
    };
    let _ = world.kernel.add_route(&route, Mode::REPLACE);
}

/// Whether a seed's targets show a network to work, as long as its link does.
pub(super) fn shows(world: &SimWorld, network: &Network, seed: u64) -> bool {
    let echo = network.works();
    let tcp = network.works() && world.internet.port((INTERNET, PORT).into()) == Port::Open;
    let answers = match world.internet.servers.get(&IpAddr::V4(OPINION)) {
        Some(Server::Late(later)) => *later + network.delay < SECOND,
        Some(Server::Verdict(code)) => *code == 3,
        Some(Server::Silent | Server::Closed | Server::Broken) | None => false,
        Some(_) => true,
    };
    let dns = network.has_gateway && (network.made_up().is_some() || (network.works() && answers));
    match Targets::of(seed) {
        Targets::Echo => echo,
        Targets::Tcp => tcp,
        Targets::Dns => dns,
        Targets::Mixed => usize::from(echo) + usize::from(tcp) + usize::from(dns) >= 2,
    }
}

/// What scripts have printed.
#[derive(Default)]
pub(super) struct Printed {
    /// It is a flood.
    floods: Rc<Cell<bool>>,
    /// Lines that were printed.
    lines: Rc<Cell<usize>>,
}

/// Scripts print a little, or much.
pub(super) fn prints(world: &mut SimWorld, printed: &Printed) {
    let (floods, lines) = (Rc::clone(&printed.floods), Rc::clone(&printed.lines));
    world.prints = Box::new(move |call: &Call| {
        if !floods.get() {
            return Vec::new();
        }
        let mut words = vec![(
            Duration::ZERO,
            format!("{}\nthe second \u{fc}\n", call.words.join(" ")).into_bytes(),
        )];
        lines.set(lines.get() + 2);
        if call.words[0] != "ping-result" {
            // More than a pipe holds, and more from the background.
            let line = format!("{}\n", "x".repeat(480));
            words.push((Duration::from_millis(1), line.repeat(200).into_bytes()));
            words.push((SECOND * 3, b"the background, without an end of its line".to_vec()));
            lines.set(lines.get() + 201);
        }
        words
    });
}

/// What happens while a kind of fault is there. `None`: it is none of those here.
pub(super) fn deeds(
    kind: Kind,
    wan: usize,
    times: (Instant, Instant),
    known: &Known,
    random: &mut Random,
) -> Vec<Deed> {
    let (from, to) = times;
    let longer = from + to.since(from) * 4;
    let wrong = *random.pick(&LIES);
    let on_network = |what: &'static str,
                      back: &'static str,
                      until: Instant,
                      set: fn(&mut Network, bool, Ipv4Addr)|
     -> Vec<Deed> {
        vec![
            (from, what, Box::new(move |w: &mut SimWorld| set(&mut w.networks[wan], true, wrong))),
            (
                until,
                back,
                Box::new(move |w: &mut SimWorld| set(&mut w.networks[wan], false, wrong)),
            ),
        ]
    };
    match kind {
        Kind::NameServer => {
            let place = random.below(2);
            let manner = *random.pick(&[
                Server::Silent,
                Server::Verdict(2),
                Server::Verdict(3),
                Server::Verdict(5),
                Server::Everything(Ipv4Addr::new(203, 0, 113, 66)),
                Server::Everything(Ipv4Addr::UNSPECIFIED),
                Server::Wrong(Ipv4Addr::new(203, 0, 113, 66)),
                Server::Truncated,
                Server::Late(Duration::from_millis(200)),
                Server::Late(SECOND * 3),
                Server::Broken,
                Server::Closed,
                Server::Forged(Ipv4Addr::new(203, 0, 113, 66)),
            ]);
            let set = move |manner| {
                move |w: &mut SimWorld| _ = w.internet.servers.insert(SERVERS[place].into(), manner)
            };
            vec![
                (from, "changes", Box::new(set(manner))),
                (to, "is right", Box::new(set(Server::Truth))),
            ]
        }
        Kind::Renumbered => {
            let place = *random.pick(&PLACES);
            let set =
                move |w: &mut SimWorld| w.internet.zone.get_mut(NAMED).unwrap().v4 = vec![place];
            vec![(from, "another address", Box::new(set))]
        }
        Kind::Resolv => {
            let other = *random.pick(&[
                "nameserver 203.0.113.53\noptions timeout:1 attempts:3\n",
                "nameserver 192.168.42.1\nnameserver 192.168.62.1\n",
                "search home.example\noptions ndots:2 rotate\nnameserver 198.51.100.53\nnameserver 203.0.113.53\n",
                "nameserver 203.0.113.99\nnameserver 198.51.100.53\n",
            ]);
            let old = format!("nameserver {}\nnameserver {}\n", SERVERS[0], SERVERS[1]);
            let set = |text: String| {
                move |w: &mut SimWorld| _ = w.files.insert("/etc/resolv.conf".into(), text.into())
            };
            vec![
                (from, "others", Box::new(set(other.to_owned()))),
                (to, "the old ones", Box::new(set(old))),
            ]
        }
        Kind::Hijacked => on_network("answers all DNS", "does not", longer, |n, on, wrong| {
            n.hijack = on.then_some(wrong)
        }),
        Kind::Portal => on_network("wants a login", "is logged in", to, |n, on, _| n.portal = on),
        Kind::Proxy => on_network("has a proxy", "has none", longer, |n, on, wrong| {
            n.proxy = on.then_some(wrong)
        }),
        Kind::Upstream6 => on_network("no IPv6", "IPv6", to, |n, on, _| n.has_upstream6 = !on),
        Kind::PortClosed => {
            let port = *random.pick(&[Port::Closed, Port::Silent]);
            let set = |port| {
                move |w: &mut SimWorld| _ = w.internet.ports.insert((INTERNET.into(), PORT), port)
            };
            vec![(from, "closed", Box::new(set(port))), (to, "open", Box::new(set(Port::Open)))]
        }
        Kind::Liar | Kind::SourceDown | Kind::WorkerHangs | Kind::WorkerDies => {
            let all: Vec<String> =
                PAGES.iter().map(|host| source(host)).chain(SERVICES.map(str::to_owned)).collect();
            let pages = [
                Manner::Status(503, "busy"),
                Manner::Status(403, "no"),
                Manner::Status(429, "no"),
                Manner::Status(200, "<html>9.9.9.9</html>"),
                Manner::Status(200, "192.168.1.1"),
                Manner::Late(SECOND * 2),
                Manner::Late(SECOND * 9),
                Manner::Silent,
            ];
            let page = random.pick(&pages).clone();
            let manner = match kind {
                Kind::Liar => Manner::Says(wrong),
                Kind::WorkerHangs => Manner::Hangs,
                Kind::WorkerDies => Manner::Dies,
                _ => page,
            };
            let one = random.pick(&all).clone();
            // Sometimes all pages, or all name servers.
            let whose: Vec<String> = match random.below(4) {
                0 if kind == Kind::SourceDown => all[..5].to_vec(),
                1 if kind == Kind::SourceDown => all[5..].to_vec(),
                2 if kind != Kind::Liar => all,
                _ => vec![one],
            };
            let back = whose.clone();
            let set = move |w: &mut SimWorld| {
                whose.into_iter().for_each(|s| _ = w.internet.sources.insert(s, manner.clone()))
            };
            let unset =
                move |w: &mut SimWorld| back.iter().for_each(|s| _ = w.internet.sources.remove(s));
            vec![(from, "changes", Box::new(set)), (longer, "is right", Box::new(unset))]
        }
        Kind::ProviderDown | Kind::Unheard => {
            let host = (*random.pick(&PROVIDERS)).to_owned();
            let manner = if kind == Kind::Unheard {
                random
                    .pick(&[
                        Manner::Unheard,
                        Manner::Hangs,
                        Manner::Dies,
                        Manner::Late(SECOND * 20),
                    ])
                    .clone()
            } else {
                let down = [
                    Manner::Status(503, "busy"),
                    Manner::Status(200, "911"),
                    Manner::Status(200, "<html>"),
                    Manner::Silent,
                    Manner::Says(wrong),
                ];
                random.pick(&down).clone()
            };
            let back = host.clone();
            // Somebody has something to tell.
            let last = 100 + random.below(100) as u8;
            let set = move |w: &mut SimWorld| {
                w.internet.providers.insert(host, manner);
                w.networks[wan].external = [81, 2, 72 + wan as u8, last].into();
            };
            let unset = move |w: &mut SimWorld| _ = w.internet.providers.remove(&back);
            vec![(from, "changes", Box::new(set)), (to, "is right", Box::new(unset))]
        }
        Kind::Prints => {
            let floods = Rc::clone(&known.borrow().printed.floods);
            let no_more = Rc::clone(&floods);
            vec![
                (from, "much", Box::new(move |_: &mut SimWorld| floods.set(true))),
                (to, "little", Box::new(move |_: &mut SimWorld| no_more.set(false))),
            ]
        }
        Kind::Power => vec![(from, "fails", Box::new(fail))],
        _ => Vec::new(),
    }
}

fn fail(world: &mut SimWorld) {
    (world.no_pings, world.failing) = (None, None);
    world.power_failure();
    super::flush(world);
    for wan in 0..2 {
        manage(world, wan);
    }
}

/// What the second opinion refutes counts as answered, at its probe's end.
pub(super) fn believed<'a>(
    world: &'a SimWorld,
    probes: impl Iterator<Item = &'a Probe>,
) -> Vec<Probe> {
    let mut asked = world.asked.iter().filter(|asked| asked.to == IpAddr::V4(OPINION)).peekable();
    let mut all: Vec<Probe> = probes.copied().collect();
    for probe in &mut all {
        while asked.next_if(|asked| asked.at < probe.at).is_some() {}
        let (mut name, mut honest) = (false, false);
        while let Some(question) = asked.next_if(|asked| asked.at == probe.at) {
            let said =
                question.said.filter(|(_, at)| *at <= probe.at + SECOND).map(|(said, _)| said);
            // Nobody can see that an address in the internet is another's.
            name |= question.name == KNOWN && matches!(said, Some(Said::Truth | Said::Lie));
            honest |= question.name.ends_with(".invalid") && said == Some(Said::Truth);
        }
        if probe.answered.is_none() && name && honest {
            probe.answered = Some(probe.at + SECOND);
        }
    }
    all
}

/// Whether the sources that are left suffice to find the address, as `survey.rs` says it.
pub(super) fn can_be_found(world: &SimWorld) -> bool {
    let Some(external) = world.external() else { return false };
    let network = world.networks.iter().find(|n| n.external == external);
    let Some(network) = network.filter(|n| !n.portal && n.hijack.is_none()) else { return false };
    let hour = |look: &&crate::internet::Look| world.time().since(look.at) < SECOND * 3700;
    let lately = || world.internet.looks.iter().rev().take_while(hour);
    let rests = |text: &str| lately().any(|look| look.resting && look.source == text);
    let right =
        |host: &&&str| !world.internet.sources.contains_key(&source(host)) && !rests(&source(host));
    let secured = PAGES[..4].iter().filter(right).count();
    let lying =
        |host: &&&str| matches!(world.internet.sources.get(&source(host)), Some(Manner::Says(_)));
    let liars = PAGES.iter().filter(lying).count() + usize::from(network.proxy.is_some());
    let servers =
        SERVERS.iter().all(|s| world.internet.servers.get(&IpAddr::V4(*s)) == Some(&Server::Truth));
    cfg!(feature = "tls") && servers && secured >= 2 && liars < secured
}

/// What must hold at any moment.
pub(super) fn watch(world: &SimWorld, known: &Truth, say: &mut dyn FnMut(String)) {
    let now = world.time();
    if world.workers() > MOST_WORKERS {
        say(format!("{} workers run", world.workers()));
    }
    if !known.quiet(now, 400) || world.external().is_none() {
        return;
    }
    let servers =
        SERVERS.iter().all(|s| world.internet.servers.get(&IpAddr::V4(*s)) == Some(&Server::Truth));
    let told = world.networks.iter().all(|n| n.made_up().is_none() && n.works());
    let place = world.internet.zone[NAMED].v4[0];
    let last = world
        .probes
        .iter()
        .flatten()
        .rev()
        .take(400)
        .find(|probe| probe.wan.is_none() && is_place(probe.to));
    if servers && told && last.is_some_and(|probe| probe.to != IpAddr::V4(place)) {
        say(format!(
            "{NAMED} is {place}, and the last ping goes to {:?}",
            last.map(|probe| probe.to)
        ));
    }
    if known.quiet(now, 2000) && can_be_found(world) {
        watch_providers(world, known, say);
    }
}

/// Providers have the true address, as far as this instance was to tell it.
fn watch_providers(world: &SimWorld, known: &Truth, say: &mut dyn FnMut(String)) {
    if known.script.get().is_some()
        || world.disk_error.is_some()
        || !world.internet.providers.is_empty()
    {
        return;
    }
    let external = world.external().map(IpAddr::V4);
    for provider in PROVIDERS {
        let mine = |taken: &&crate::internet::Taken| {
            taken.provider == provider && taken.instance == world.instance()
        };
        let by_it = |taken: &&crate::internet::Taken| mine(taken) && taken.reached;
        let last = world.internet.taken.iter().rev().find(by_it);
        let given_up =
            world.lines.iter().rev().take_while(|line| last.is_none_or(|last| line.at > last.at));
        let given_up = given_up
            .filter(|line| line.text.contains("times") && line.text.contains(provider))
            .count()
            > 0;
        if last.map(|taken| taken.address) != external && !given_up {
            say(format!(
                "{provider} has {:?}, {external:?} is true",
                last.map(|taken| taken.address)
            ));
        }
    }
}

/// What holds for a whole run.
pub(super) fn judge(world: &SimWorld, known: &Truth, wrong: &mut Vec<(Instant, String)>) {
    judge_published(world, known, wrong);
    judge_politeness(world, known, wrong);
    judge_results(world, known, wrong);
    judge_printed(world, known, wrong);
}

/// No lie is published, and nobody is told twice what he was told.
fn judge_published(world: &SimWorld, known: &Truth, wrong: &mut Vec<(Instant, String)>) {
    // Who, by which instance, when, what, and whether that is known here.
    let mut told: Vec<(String, Instant, String, bool)> = Vec::new();
    for taken in &world.internet.taken {
        told.push((
            format!("{} by {}", taken.provider, taken.instance),
            taken.at,
            taken.address.to_string(),
            taken.heard,
        ));
    }
    for call in world.calls.iter().filter(|call| call.words[0] == "ddns-ip-update") {
        let mine = |name: &str| {
            call.env.iter().any(|(key, value)| *key == "IMON_INSTANCE" && value == name)
        };
        let instance = [INSTANCE, ANOTHER].into_iter().find(|name| mine(name)).unwrap_or_default();
        told.push((
            format!("the script by {instance}"),
            call.at,
            call.words[1].clone(),
            call.done.is_some(),
        ));
    }
    for (who, at, address, _) in &told {
        if !address.starts_with("81.2.") {
            wrong.push((*at, format!("{address} is published by {who}, which nobody ever had")));
        }
    }
    told.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    for pair in told.windows(2) {
        let [(who, first, address, heard), (next, second, again, _)] = pair else { continue };
        // Without a place for notes, and after a failed call, it may be told again.
        let excuse = |(at, what): &(Instant, String)| {
            *at <= *second
                && (what.starts_with("Disk") || what.starts_with("Errno"))
                && first.since(*at) < SECOND * 3600
        };
        if who == next && address == again && *heard && !known.timeline.iter().any(excuse) {
            wrong.push((
                *second,
                format!("{who} is told {address} again, which it was told at {first:?}"),
            ));
        }
    }
}

/// No operator is asked more often than politeness allows, unless something is going on.
fn judge_politeness(world: &SimWorld, known: &Truth, wrong: &mut Vec<(Instant, String)>) {
    let mut last: Vec<(&str, Instant)> = Vec::new();
    let mut trouble = Instant::ZERO;
    for look in &world.internet.looks {
        if !look.right {
            trouble = look.at;
        }
        let before = last.iter_mut().find(|(source, _)| *source == look.source);
        let gap = before.as_ref().map(|(_, at)| look.at.since(*at));
        match before {
            Some((_, at)) => *at = look.at,
            None => last.push((&look.source, look.at)),
        }
        let calm = || look.at.since(trouble) > SECOND * 1200 && known.quiet(look.at, 1200);
        if gap.is_some_and(|gap| gap < POLITE) && calm() {
            wrong.push((look.at, format!("{} is asked again after {gap:?}", look.source)));
        }
    }
}

impl Truth {
    /// Nothing had happened for so long at that moment.
    fn quiet(&self, now: Instant, secs: u32) -> bool {
        let past = Instant::ZERO + now.since(Instant::ZERO).saturating_sub(SECOND * secs);
        let known = self.timeline.partition_point(|(at, _)| *at <= now);
        self.timeline[..known].last().is_none_or(|(at, _)| *at <= past) && !self.is_vague(past, now)
    }
}

/// Whether the name may lead there, or a liar says so.
fn is_place(to: IpAddr) -> bool {
    matches!(to, IpAddr::V4(v4) if PLACES.contains(&v4) || v4.octets()[3] == 66)
}

/// Results of the ping monitor are those of its probes, of IPv6 and of names as well.
fn judge_results(world: &SimWorld, known: &Truth, wrong: &mut Vec<(Instant, String)>) {
    // Calls come late then.
    if known.drawn.contains_key(&Kind::ScriptHangs) {
        return;
    }
    let is = |target: &str, to: IpAddr| {
        if target == NAMED { is_place(to) } else { to == IpAddr::V6(FAR) }
    };
    let probes: Vec<&Probe> =
        world.probes.iter().flatten().filter(|probe| probe.wan.is_none()).collect();
    for target in [FAR.to_string(), NAMED.to_owned()] {
        let mut at = 0;
        let mut last = Instant::ZERO;
        for call in world.calls.iter().filter(|call| call.words[0] == "ping-result") {
            let Some(rest) = call.words[1].strip_prefix(&target) else { continue };
            let said = rest.starts_with(":True");
            let (mut any, mut good) = (0, 0);
            while let Some(probe) = probes.get(at).filter(|probe| probe.at < call.at) {
                at += 1;
                if is(&target, probe.to) {
                    any += 1;
                    good += usize::from(
                        probe.answered.is_some_and(|answered| answered.since(probe.at) <= SECOND),
                    );
                }
            }
            // The secondary look of updown pings the same hosts.
            let calm = || known.quiet(call.at, 60) && call.at.since(last) > SECOND * 5;
            if any > 0 && said != (good > 0) && calm() {
                wrong.push((
                    call.at,
                    format!("{target} is said to answer: {said}, {good} of {any} probes did"),
                ));
            }
            last = call.at;
        }
    }
}

/// What scripts print is logged, each line once.
fn judge_printed(world: &SimWorld, known: &Truth, wrong: &mut Vec<(Instant, String)>) {
    let breaks = [Kind::Killed, Kind::Replaced, Kind::Power, Kind::ScriptHangs];
    if breaks.iter().any(|kind| known.drawn.contains_key(kind)) {
        return;
    }
    let logged = world.lines.iter().filter(|line| line.severity == Severity::Debug).count();
    let printed = known.printed.lines.get();
    if logged != printed {
        wrong.push((
            world.time(),
            format!("scripts have printed {printed} lines, {logged} are logged"),
        ));
    }
}
