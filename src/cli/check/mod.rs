//! `imon check`: asks everything at once, shows it while it comes in, and says what it means.

mod beside;
mod local;
mod probes;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::args::Selection;
use super::{FAILURE, complain, print};
use crate::addr::family::Family;
use crate::base::time::Instant;
use crate::base::time::RELEASED;
use crate::config::Config;
use crate::config::source::ConfigSource;
use crate::diagnose::judge::judge;
use crate::diagnose::report::Style;
use crate::diagnose::{
    ConfigEvidence, Evidence, GatewayEvidence, Mtu, NeighbourState, PathEvidence, Stage, TestReply,
    WanEvidence,
};
use crate::dns::resolver;
use crate::kernel::Picture;
use crate::kernel::path::Families;
use crate::routing::WanPath;
use crate::sys::configuration;
use crate::sys::netlink::Requests;
use crate::sys::ping::Pinger;
use crate::sys::real::Real;
use crate::sys::signal::Signals;
use crate::sys::{clock, error_text, files, shortage, terminal};
use probes::{RunningTests, Which};

/// Everything is known by then, or not at all.
const LIMIT: Duration = Duration::from_secs(9);
/// Addresses that many networks announce: whoever has internet reaches them. Cloudflare's and
/// Google's.
const ANYCAST: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1)),
    IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)),
    IpAddr::V6(Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888)),
];
/// Empty pages by which telephones and computers look for captive portals. Two operators.
const PAGES: [&str; 2] =
    ["http://cp.cloudflare.com/generate_204", "http://connectivitycheck.gstatic.com/generate_204"];
/// The external address by two paths, of two operators. Without TLS: somebody on the way is to be
/// noticed.
const SOURCES: [&str; 2] = ["http://icanhazip.com/", "dns:opendns"];
/// How often the kernel is asked what it has found out.
const NEIGHBOUR_GAP: Duration = Duration::from_millis(250);
/// Rows of a terminal that does not say how many it has.
const ROWS: usize = 24;

/// What to check, and how to say it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct CheckRequest {
    /// Which configuration.
    pub(super) selection: Selection,
    /// `--json`.
    pub(super) json: bool,
    /// `--offline`.
    pub(super) offline: bool,
    /// `--target`.
    pub(super) targets: Vec<IpAddr>,
}

/// Runs the command.
pub(super) fn run(ask: &CheckRequest, mut signals: Signals) -> u8 {
    let began = clock::monotonic();
    if let Err(e) = shortage::try_descriptors(shortage::CHECK) {
        return cannot(&error_text(&e));
    }
    let mut requests = match Requests::open() {
        Ok(requests) => requests,
        Err(e) => {
            return cannot(&format!(
                "The kernel cannot be asked about the network: {}",
                error_text(&e)
            ));
        }
    };
    let mut picture = Picture::default();
    if let Err(e) = requests.look(&mut picture) {
        return cannot(&format!(
            "The kernel does not tell about the network: {}",
            e.in_words::<Real>()
        ));
    }
    if let Some(Err(e)) = ask.selection.instance.as_deref().map(crate::config::instance::check) {
        return cannot(&e);
    }
    let (mut setup, config) = setup(&ask.selection);
    let addresses = if ask.targets.is_empty() { ANYCAST.to_vec() } else { ask.targets.clone() };
    let first = |family: Family| addresses.iter().copied().find(|a| family.has(*a));
    let to6 = if let Some(IpAddr::V6(to6)) = first(Family::V6) { Some(to6) } else { None };
    let likely: Vec<&str> = config
        .iter()
        .flat_map(|(c, _)| &c.failover)
        .flat_map(|f| &f.wans)
        .map(|w| w.device.as_str())
        .collect();
    let to4 = if first(Family::V4).is_some() { addresses.as_slice() } else { &ANYCAST };
    let mut main = local::main_way(&picture, &mut requests, to4, &likely);
    main.targets = local::targets(&addresses, Family::V4);
    let v6 = to6.and_then(|to| local::way_v6(&picture, to)).map(|mut way| {
        way.targets = local::targets(&addresses, Family::V6);
        way
    });
    let (mut wans, mut others, mut own) = (Vec::new(), Vec::new(), None);
    if let Some((config, instance)) = &config {
        own = beside::own(instance);
        let policy = local::policy(config, instance, own.as_ref());
        local::check_setup(config, &picture, &policy, &main, &mut setup);
        wans = local::wans(config, &picture, &policy);
        for (wan, _) in &mut wans {
            wan.detours = beside::detours(&mut requests, &picture, &wan.way.device);
        }
        others = beside::others(&policy, &picture);
        for (wan, _) in &mut wans {
            wan.way.targets = local::targets(&addresses, Family::V4);
        }
    }
    let pinger = Pinger::open(Families { v4: true, v6: v6.is_some() });
    let no_ping = pinger.as_ref().err().map(|e| error_text(&e.raw));
    let (wans, ways): (Vec<_>, Vec<Option<WanPath>>) = wans.into_iter().unzip();
    let mut seen = Evidence {
        offline: ask.offline,
        private: !ask.targets.is_empty(),
        setup,
        no_ping,
        now: clock::wall(),
        ahead: None,
        other_routes: local::other_routes(&picture, &main),
        main,
        wans,
        own,
        others,
        resolvers: Vec::new(),
        direct: TestReply::NotAsked,
        direct_lie: None,
        portals: Vec::new(),
        externals: Vec::new(),
        mtu: Mtu::default(),
        v6_unused: v6.is_none() && local::has_route_v6(&picture),
        v6,
    };
    let screen = Screen::new(ask.json);
    if !ask.offline {
        let mut probes = RunningTests::new(pinger.ok());
        begin(&mut probes, &mut seen, &ways, &mut requests, &picture);
        if !watch(
            &mut probes,
            &mut seen,
            began + LIMIT,
            &mut signals,
            screen,
            &mut requests,
            &picture,
        ) {
            return 128 + 2;
        }
        conclude(&mut seen, &mut requests, &picture);
    } else {
        note_neighbours(&mut seen, &mut requests, &picture);
    }
    let report = judge(&seen, RELEASED);
    let took = clock::monotonic().since(began);
    match ask.json {
        true => print(&format!("{}\n", report.json(&seen.now.to_string(), took))),
        false => print(&report.text(screen.style)),
    }
    report.verdict.exit
}

fn cannot(why: &str) -> u8 {
    complain(&format!("? {why}"));
    FAILURE
}

/// The configuration that is meant, and its instance's name. Without options the only one there is,
/// or main.
fn setup(selection: &Selection) -> (ConfigEvidence, Option<(Config, String)>) {
    let mut setup = ConfigEvidence::default();
    let source = match (&selection.config, &selection.instance) {
        (None, None) => {
            let mut names = files::names("/etc/default");
            names.retain(|name| {
                let instance = name.strip_prefix("imon-");
                instance.is_some_and(|rest| !rest.is_empty() && !rest.contains(['.', '~', '#']))
            });
            let only = match names.as_slice() {
                [] => return (setup, None),
                [only] => only.clone(),
                all if all.iter().any(|name| name == "imon-main") => "imon-main".to_owned(),
                all => {
                    setup.notes.push(format!("there are {}: name one with --instance", all.len()));
                    return (setup, None);
                }
            };
            ConfigSource::instance(only.strip_prefix("imon-").unwrap_or(&only), None)
        }
        _ => match super::source(selection) {
            Ok((source, warning)) => {
                setup.warnings.extend(warning);
                source
            }
            Err(e) => {
                setup.errors.push(e);
                return (setup, None);
            }
        },
    };
    setup.file = Some(source.file.clone());
    let forbidden = files::read_start(&source.file, 1)
        .is_err_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied);
    if forbidden && selection.config.is_none() && selection.instance.is_none() {
        // Nobody has asked about it.
        setup
            .notes
            .push(format!("{} may be read by root only, so it was not looked at", source.file));
        setup.file = None;
        return (setup, None);
    }
    let loaded = configuration::load(&source);
    setup.forbidden = forbidden;
    setup.errors.extend(loaded.errors);
    setup.warnings.extend(loaded.warnings);
    let instance = source.name(loaded.config.as_ref());
    (setup, loaded.config.map(|config| (config, instance)))
}

/// Asks everything.
fn begin(
    probes: &mut RunningTests,
    seen: &mut Evidence,
    ways: &[Option<WanPath>],
    requests: &mut Requests,
    picture: &Picture,
) {
    // A gateway that has answered a while ago may be dead by now: the kernel finds out meanwhile,
    // where we may ask it to.
    if let Some(IpAddr::V4(gateway)) = seen.main.gateway.as_ref().map(|g| g.address)
        && let Some(link) = picture.links.iter().find(|l| l.name == seen.main.device)
    {
        let _ = requests.verify_neighbour(link.index, gateway);
    }
    let usable = |way: &PathEvidence| way.fault().is_none();
    if usable(&seen.main) {
        probes.ask_way(Which::Main, &mut seen.main);
        let mtu = local::mtu(&seen.main.device).unwrap_or(1500);
        probes.ask_mtu(mtu, &mut seen.mtu);
        let conf = files::read_start("/etc/resolv.conf", 1 << 16).unwrap_or_default();
        let servers = resolver::servers(&String::from_utf8_lossy(&conf));
        let private = seen.private;
        probes.ask_names(&servers, private, seen);
        if !private {
            probes.ask_web(&PAGES, &SOURCES, seen);
        }
    }
    for (place, (wan, road)) in seen.wans.iter_mut().zip(ways).enumerate() {
        let Some(road) = road else { continue };
        match probes.set_lane(place, road, local::asks_nobody(&wan.way.device)) {
            Ok(()) => probes.ask_way(Which::Wan(place), &mut wan.way),
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
                wan.barred = Some("to ask it by its own link takes root".to_owned());
            }
            Err(e) => {
                wan.barred = Some(format!("it cannot be asked by its own link: {}", error_text(&e)))
            }
        }
    }
    if let Some(v6) = &mut seen.v6 {
        probes.ask_way(Which::V6, v6);
    }
}

/// Waits until all is known that can change the verdict. `false`: somebody wants the end.
fn watch(
    probes: &mut RunningTests,
    seen: &mut Evidence,
    end: Instant,
    signals: &mut Signals,
    mut screen: Screen,
    requests: &mut Requests,
    picture: &Picture,
) -> bool {
    loop {
        screen.show(seen);
        let settled = |way: &PathEvidence| way.is_settled();
        for (place, wan) in seen.wans.iter_mut().enumerate().filter(|(_, wan)| wan.is_lost()) {
            if wan.instead.iter().all(|other| other.reply == TestReply::NotAsked) {
                let targets: Vec<IpAddr> =
                    wan.way.targets.iter().map(|target| target.address).collect();
                probes.ask_instead(place, &mut wan.instead, &targets);
            }
        }
        let is_open = |wan: &WanEvidence| {
            !settled(&wan.way) || wan.instead.iter().any(|other| other.reply == TestReply::Waiting)
        };
        let all_ways = settled(&seen.main)
            && !seen.wans.iter().any(is_open)
            && seen.v6.as_ref().is_none_or(settled);
        let now = clock::monotonic();
        // Nobody waits for pages of an internet that is not there.
        let mut over = probes.is_done(seen) || (all_ways && !seen.main.is_reached());
        let mut until = end;
        if over && is_gateway_open(&seen.main) {
            note_neighbours(seen, requests, picture);
            over = !is_gateway_open(&seen.main);
            until = end.min(now + NEIGHBOUR_GAP);
        }
        over |= now >= end;
        let stopped = !over && probes.turn(seen, until, signals.fd()) && signals.take().stop;
        if over || stopped {
            screen.clear();
            return !stopped;
        }
    }
}

/// Who may not ping learns whether the gateway is there from the kernel, which verifies an old
/// entry 5 s after it was used, for 3 s (delay_first_probe_time, mcast_solicit in arp(7)).
fn is_gateway_open(way: &PathEvidence) -> bool {
    let open = |g: &GatewayEvidence| {
        g.ping == TestReply::NotAsked && g.neighbour == NeighbourState::Unknown
    };
    way.fault() == Some(Stage::Internet) && way.gateway.as_ref().is_some_and(open)
}

fn note_neighbours(seen: &mut Evidence, requests: &mut Requests, picture: &Picture) {
    // Those that were asked by their own links have told themselves.
    let is_asked = |wan: &&mut WanEvidence| {
        wan.way.gateway.as_ref().is_some_and(|g| g.ping != TestReply::NotAsked)
    };
    let mut ways: Vec<&mut PathEvidence> =
        seen.wans.iter_mut().filter(|wan| !is_asked(wan)).map(|w| &mut w.way).collect();
    ways.push(&mut seen.main);
    ways.extend(seen.v6.as_mut());
    local::note_neighbours(requests, picture, &mut ways);
}

/// What is known only at the end.
fn conclude(seen: &mut Evidence, requests: &mut Requests, picture: &Picture) {
    note_neighbours(seen, requests, picture);
    let file = seen.setup.file.as_deref().unwrap_or_default();
    let mistakes: Vec<String> =
        seen.wans.iter().filter_map(|wan| wan.mistake(&seen.main, file)).collect();
    seen.setup.errors.extend(mistakes);
    let conf = files::read_start("/etc/resolv.conf", 1 << 16).unwrap_or_default();
    let lost = |way: &PathEvidence| way.fault().is_some();
    let dead: Vec<(String, String)> = seen
        .wans
        .iter()
        .filter(|w| lost(&w.way))
        .map(|w| (w.way.device.clone(), w.label.clone()))
        .collect();
    for resolver in seen.resolvers.iter_mut().filter(|r| r.reply.is_bad()) {
        let Ok(address) = resolver.server.parse::<Ipv4Addr>() else { continue };
        let by =
            local::way(picture, requests, address).and_then(|r| r.hops.first().map(|h| h.index));
        let link = picture.links.iter().find(|l| Some(l.index) == by);
        resolver.lost_with = dead
            .iter()
            .find(|(d, _)| link.is_some_and(|l| l.name == *d))
            .map(|(_, label)| label.clone());
    }
    // Nothing is configured, and nothing is where libraries look then.
    if resolver::is_assumed(&String::from_utf8_lossy(&conf))
        && seen.resolvers.iter().all(|r| r.reply.is_bad())
    {
        seen.resolvers.clear();
    }
    seen.mtu.waiting = false;
}

/// Where it is shown.
#[derive(Clone, Copy)]
struct Screen {
    style: Style,
    rows: usize,
    /// Lines come and go while it is asked.
    live: bool,
    shown: usize,
    last: u64,
}

impl Screen {
    fn new(json: bool) -> Self {
        let (columns, rows) =
            terminal::size().map_or((None, ROWS), |(columns, rows)| (Some(columns), rows));
        // A serial console does not know its size: 80 columns is what they have.
        let width = if terminal::is_output() { columns.or(Some(80)) } else { None };
        let style = Style { width, colour: terminal::has_colours() };
        let live = !json && terminal::moves_cursor();
        Self { style, rows: rows.saturating_sub(1), live, shown: 0, last: 0 }
    }

    /// Shows what is known by now, in place of what was.
    fn show(&mut self, seen: &Evidence) {
        if !self.live {
            return;
        }
        let text = judge(seen, RELEASED).live(self.style, self.rows);
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)
        });
        if hash != self.last {
            self.clear();
            terminal::print(&text);
            (self.last, self.shown) = (hash, text.lines().count());
        }
    }

    fn clear(&mut self) {
        if self.shown > 0 {
            // Up to the first line, and everything from there on away (ECMA-48: CPL would do,
            // terminals know CUU).
            terminal::print(&format!("\r\x1b[{}A\x1b[J", self.shown));
            self.shown = 0;
        }
    }
}
