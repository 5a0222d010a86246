//! From what was seen to a verdict. Of several faults the one nearest to the user is named: what is behind it may be
//! fine, and could not be reached anyway.

use std::net::IpAddr;
use std::time::Duration;

use super::report::{Report, State, Test, Verdict};
use super::{Gateway, Link, Neighbour, Reply, Seen, Stage, Target, Wan, Way};
use crate::external::Nat;
use crate::monitor::stats::Millis;
use crate::opinion::{self, Scope};

/// A clock that is off by more than this is wrong: certificates and logs notice.
pub const CLOCK_OFF: i64 = 300;
/// What helps against a provider's faults.
const RESTART: &str = "Restart the modem; if that does not help, call them.";

/// Says what to make of it. `released` is the day of this version, in seconds since 1970.
#[must_use]
pub fn judge(seen: &Seen, released: i64) -> Report {
    let main = seen.main.fault();
    let mut tests = Vec::new();
    let mut rows = Rows { tests: &mut tests, prefix: "", fault: main };
    setup(seen, &mut rows);
    clock(seen, released, &mut rows);
    way(seen, &seen.main, &mut rows);
    let all_other = if seen.other_routes.is_empty() { None } else { Some(seen.other_routes.join("; ")) };
    if let Some(others) = all_other {
        rows.put("other-routes", State::Info, None, format!("also there: {others}"));
    }
    if !seen.offline {
        beyond(seen, &mut rows);
        let fault = seen.v6.as_ref().and_then(Way::fault);
        let mut rows = Rows { tests: &mut tests, prefix: "ipv6-", fault };
        match &seen.v6 {
            // One cause for both.
            Some(v6) if rows.fault.is_some() && v6.device == seen.main.device && main.is_some() => {
                let needs = main.map_or("", Stage::id);
                rows.put("internet", State::Untested, None, format!("not tested (needs: {needs})"));
            }
            Some(v6) => way(seen, v6, &mut rows),
            None => {
                rows.put("route", State::Info, None, "this system has no IPv6 default route, which is fine".to_owned())
            }
        }
    }
    wans(seen, main, &mut tests);
    Report { verdict: verdict(seen, released), tests }
}

struct Rows<'a> {
    tests: &'a mut Vec<Test>,
    prefix: &'static str,
    /// Where the way ends.
    fault: Option<Stage>,
}

impl Rows<'_> {
    fn put(&mut self, id: &str, state: State, took: Option<Duration>, detail: String) {
        self.tests.push(Test { id: format!("{}{id}", self.prefix), state, took, detail });
    }

    /// Whether the way ends before this stage; then that is said.
    fn is_barred(&mut self, stage: Stage, id: &str) -> bool {
        let Some(fault) = self.fault.filter(|fault| *fault < stage) else { return false };
        let detail = format!("not tested (needs: {}{})", self.prefix, fault.id());
        self.put(id, State::Untested, None, detail);
        true
    }

    /// The state of the row at this stage of the way.
    fn at(&self, stage: Stage) -> State {
        if self.fault == Some(stage) { State::Fail } else { State::Ok }
    }

    /// A row that says how long an answer took, or why there is none.
    fn reply(&mut self, id: &str, reply: &Reply, bad: State, good: impl FnOnce(&str) -> String) {
        match reply {
            Reply::NotAsked => {}
            Reply::Waiting => self.put(id, State::Waiting, None, String::new()),
            Reply::Got(took) => self.put(id, State::Ok, Some(*took), good(&milliseconds(*took))),
            Reply::Failed(why, took) => self.put(id, bad, Some(*took), why.to_string()),
        }
    }
}

fn milliseconds(took: Duration) -> String {
    format!("{} ms", Millis(took.as_secs_f64() * 1000.0))
}

fn setup(seen: &Seen, rows: &mut Rows<'_>) {
    let setup = &seen.setup;
    let file = setup.file.as_deref().unwrap_or_default();
    let mut facts = Vec::new();
    if setup.file.is_none() {
        facts.push((State::Info, "none: not needed for this".to_owned()));
    } else if setup.forbidden {
        facts.push((State::Skipped, setup.errors.join("; ")));
    } else if setup.errors.is_empty() {
        facts.push((State::Ok, format!("{file} is valid")));
    }
    let all = |state: State, texts: &[String]| texts.iter().map(|t| (state, t.clone())).collect::<Vec<_>>();
    if !setup.forbidden {
        facts.extend(all(State::Fail, &setup.errors));
    }
    facts.extend(all(State::Warn, &setup.warnings));
    facts.extend(all(State::Info, &setup.notes));
    for (number, (state, detail)) in (1..).zip(facts) {
        let id = if number == 1 { "configuration".to_owned() } else { format!("configuration:{number}") };
        rows.put(&id, state, None, detail);
    }
    match (&seen.no_ping, seen.may_route) {
        (Some(why), _) => rows.put("capabilities", State::Skipped, None, format!("no ping: {why}")),
        (None, false) => rows.put("capabilities", State::Ok, None, "ping yes, changing routes no".to_owned()),
        (None, true) => rows.put("capabilities", State::Ok, None, "ping and routes".to_owned()),
    }
}

/// What is wrong with the clock.
fn wrong_clock(seen: &Seen, released: i64) -> Option<String> {
    if seen.now.secs < released {
        return Some(format!("it is {}, which is before this version was released", seen.now));
    }
    let off = seen.ahead.filter(|ahead| ahead.abs() > CLOCK_OFF)?;
    let side = if off > 0 { "ahead of" } else { "behind" };
    Some(format!("it is {}, {} {side} the web's", seen.now, in_words(off.unsigned_abs())))
}

fn in_words(seconds: u64) -> String {
    match seconds {
        0..=7199 => format!("{} minutes", seconds / 60),
        7200..=172_799 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn clock(seen: &Seen, released: i64, rows: &mut Rows<'_>) {
    let (state, detail) = match wrong_clock(seen, released) {
        // A system without a battery for its clock wakes up in the past, and gets the time from the internet.
        Some(why) if rows.fault.is_some() => (State::Warn, why),
        Some(why) => (State::Fail, why),
        None => (State::Ok, seen.now.to_string()),
    };
    rows.put("clock", state, None, detail);
}

/// The rows of a way, up to the hosts beyond.
fn way(seen: &Seen, way: &Way, rows: &mut Rows<'_>) {
    let device = &way.device;
    let v6 = !rows.prefix.is_empty();
    if !v6 {
        match (way.link, &way.errors) {
            _ if device.is_empty() => {}
            (Link::Up, Some(errors)) => {
                rows.put("link", State::Warn, None, format!("{device} has a carrier, but {errors}"))
            }
            (Link::Up, None) => {
                rows.put("link", rows.at(Stage::Link), None, format!("{device} has a carrier, no errors"))
            }
            (link, _) => rows.put("link", rows.at(Stage::Link), None, link_words(device, link)),
        }
    }
    if !rows.is_barred(Stage::Address, "address") && !device.is_empty() {
        let detail = match &way.address {
            Some(address) if way.own_making => {
                format!("{device} has only {address}, which it gave itself: no DHCP answer")
            }
            Some(address) => format!("{device} has {address}"),
            None => format!("{device} has no address: no DHCP answer"),
        };
        rows.put("address", rows.at(Stage::Address), None, detail);
    }
    if !rows.is_barred(Stage::Route, "route") {
        let detail = way.route.clone().unwrap_or_else(|| "there is no default route".to_owned());
        rows.put("route", rows.at(Stage::Route), None, detail);
    }
    if seen.offline && way.gateway.is_none() {
        return;
    }
    if !rows.is_barred(Stage::Gateway, "gateway") {
        gateway(way, rows);
    }
    if seen.offline {
        return;
    }
    if rows.is_barred(Stage::Internet, "internet") {
        return;
    }
    let no_ping = way.targets.iter().all(|t| !t.ping.is_good()) && way.is_reached();
    for Target { address, ping, tcp, refused } in &way.targets {
        // What one host does not answer another may.
        let bad = match rows.at(Stage::Internet) {
            State::Fail => State::Fail,
            _ if no_ping => State::Info,
            _ => State::Warn,
        };
        rows.reply(&format!("ping:{address}"), ping, bad, |took| format!("answers in {took}"));
        let bad = match bad {
            State::Fail => State::Fail,
            _ if *refused => State::Info,
            _ => State::Warn,
        };
        rows.reply(&format!("tcp:{address}"), tcp, bad, |took| format!("port 443 opens in {took}"));
    }
}

fn link_words(device: &str, link: Link) -> String {
    match link {
        Link::Missing => format!("there is no interface {device}"),
        Link::Down => format!("{device} is switched off"),
        _ => format!("{device} has no carrier"),
    }
}

fn gateway(way: &Way, rows: &mut Rows<'_>) {
    let state = rows.at(Stage::Gateway);
    let Some(Gateway { address, neighbour, ping }) = &way.gateway else {
        if way.route.is_some() {
            rows.put("gateway", State::Info, None, format!("{} needs none", way.device));
        }
        return;
    };
    let detail = match (ping, neighbour) {
        (Reply::Waiting, _) => return rows.put("gateway", State::Waiting, None, address.to_string()),
        (Reply::Got(took), _) => format!("{address} answers in {}", milliseconds(*took)),
        (_, Neighbour::Answers) if ping.is_bad() => {
            format!("{address} is there, and does not answer ping, which is no fault")
        }
        (_, Neighbour::Answers) => format!("{address} is there"),
        (_, Neighbour::Silent) => format!("{address} is not there: it does not even tell its hardware address"),
        (Reply::Failed(why, _), _) => format!("{address}: {why}"),
        (Reply::NotAsked, _) => format!("{address}, not asked"),
    };
    let unsure = state == State::Ok && !ping.is_good() && *neighbour != Neighbour::Answers;
    rows.put("gateway", if unsure { State::Info } else { state }, ping.took(), detail);
}

/// The rows of what needs the internet: names, pages, the external address, packet sizes.
fn beyond(seen: &Seen, rows: &mut Rows<'_>) {
    if rows.is_any_fault("resolver") {
        return;
    }
    let dns = dns_fault(seen);
    for resolver in &seen.resolvers {
        let id = format!("resolver:{}", resolver.server);
        let bad = match dns {
            Some(_) => State::Fail,
            None => State::Warn,
        };
        match (&resolver.reply, &resolver.lie, &resolver.lost_with) {
            (reply, Some(lie), _) => rows.put(&id, State::Fail, reply.took(), format!("makes answers up: {lie}")),
            (Reply::Failed(why, took), None, Some(wan)) => {
                rows.put(&id, bad, Some(*took), format!("{why}: it is only reached through {wan}, which is dead"));
            }
            (Reply::NotAsked, ..) => {
                rows.put(&id, State::Skipped, None, "a public server, not asked with --target".to_owned());
            }
            (reply, ..) => rows.reply(&id, reply, bad, |took| format!("answers in {took}")),
        }
    }
    if seen.resolvers.is_empty() {
        rows.put("resolver", State::Fail, None, "there is none in /etc/resolv.conf".to_owned());
    }
    let bad = if dns == Some(Dns::Blocked) { State::Fail } else { State::Warn };
    match &seen.direct_lie {
        Some(lie) => {
            rows.put("dns:1.1.1.1", State::Fail, seen.direct.took(), format!("somebody answers in its place: {lie}"))
        }
        None => rows.reply("dns:1.1.1.1", &seen.direct, bad, |took| format!("answers in {took}")),
    }
    pages(seen, dns, rows);
    mtu(seen, rows);
}

impl Rows<'_> {
    fn is_any_fault(&mut self, id: &str) -> bool {
        let Some(fault) = self.fault else { return false };
        let needs = if fault == Stage::Internet { "internet" } else { fault.id() };
        self.put(id, State::Untested, None, format!("not tested (needs: {needs})"));
        true
    }
}

fn pages(seen: &Seen, dns: Option<Dns>, rows: &mut Rows<'_>) {
    let names_fail = matches!(dns, Some(Dns::None | Dns::Dead | Dns::Blocked));
    if names_fail && !seen.portals.is_empty() {
        return rows.put("portal", State::Untested, None, "not tested (needs: resolver)".to_owned());
    }
    let instead = seen.portals.iter().find_map(|p| p.instead.as_ref());
    let waits = seen.portals.iter().any(|p| p.reply == Reply::Waiting);
    match seen.portals.iter().find(|p| p.reply.is_good()).or(seen.portals.first()) {
        None => {}
        Some(_) if portal(seen).is_some() => {
            let detail = format!("another page came instead: {}", instead.map_or("", String::as_str));
            rows.put("portal", State::Fail, None, detail);
        }
        Some(page) if waits && !page.reply.is_good() => rows.put("portal", State::Waiting, None, String::new()),
        Some(page) => rows.reply("portal", &page.reply, State::Info, |took| {
            format!("none: {} came as it should, in {took}", page.url)
        }),
    }
    if portal(seen).is_some() {
        return rows.put("external", State::Untested, None, "not tested (needs: portal)".to_owned());
    }
    let mut known: Option<(IpAddr, Option<IpAddr>)> = None;
    for e in &seen.externals {
        let id = if e.source.starts_with("dns:") { "external:dns" } else { "external:http" };
        let address = e.address.map(|a| a.to_string()).unwrap_or_default();
        rows.reply(id, &e.reply, State::Info, |_| format!("{address}, says {}", e.source));
        match (known, e.address) {
            (None, Some(address)) => known = Some((address, e.local)),
            (Some((first, _)), Some(address)) if first != address => rows.put(
                "external",
                State::Warn,
                None,
                "the two differ: somebody on the way answers for one of them, or packets leave by two ways".to_owned(),
            ),
            _ => {}
        }
    }
    if let Some((address, Some(local))) = known {
        let detail = match Nat::of(local, address) {
            Nat::None => "none: this system has the external address itself".to_owned(),
            Nat::CarrierGrade => {
                format!("the provider translates {local} (carrier-grade NAT): nothing gets in from outside")
            }
            Nat::Double => {
                format!("another router translates {local}: to be reached from outside, it must forward ports")
            }
            Nat::Other => format!("{local} is translated on the way"),
        };
        rows.put("nat", State::Info, None, detail);
    }
}

fn mtu(seen: &Seen, rows: &mut Rows<'_>) {
    let mtu = &seen.mtu;
    let took = Some(mtu.took);
    match mtu.path {
        _ if mtu.waiting => rows.put("mtu", State::Waiting, None, String::new()),
        _ if seen.no_ping.is_some() => rows.put("mtu", State::Skipped, None, "not tested (needs ping)".to_owned()),
        None => rows.put("mtu", State::Info, took, "not known: no ping comes back".to_owned()),
        Some(path) if path >= mtu.link => rows.put("mtu", State::Ok, took, format!("{path} bytes, as the interface")),
        Some(path) if mtu.told => {
            rows.put("mtu", State::Ok, took, format!("{path} bytes, and larger packets are answered with the reason"));
        }
        Some(path) => {
            let detail = format!("packets above {path} bytes vanish without a word");
            rows.put("mtu", State::Fail, took, detail);
        }
    }
}

/// The rows of the failover monitor's networks.
fn wans(seen: &Seen, main: Option<Stage>, tests: &mut Vec<Test>) {
    for wan in &seen.wans {
        let id = format!("wan:{}", wan.role);
        let label = &wan.label;
        let used = if wan.way.device == seen.main.device { ", in use" } else { "" };
        let mut row = |state, detail| tests.push(Test { id: id.clone(), state, took: None, detail });
        match (&wan.barred, wan.way.fault()) {
            (_, Some(Stage::Link)) if wan.way.link == Link::Missing && !seen.setup.errors.is_empty() => {
                row(State::Untested, "not tested (needs: configuration)".to_owned());
            }
            (_, Some(stage)) if main.is_some() && wan.way.device == seen.main.device => {
                row(State::Untested, format!("not tested (needs: {})", stage.id()));
            }
            (_, Some(stage)) => row(State::Fail, format!("{label}: {}", short(&wan.way, stage))),
            (Some(why), None) => row(State::Skipped, format!("{label}: {why}")),
            (None, None) if wan.way.is_reached() => row(State::Ok, format!("{label} works{used}")),
            (None, None) if !wan.way.is_settled() => row(State::Waiting, label.clone()),
            (None, None) => row(State::Info, format!("{label}: not tested")),
        }
    }
}

/// What is wrong with a way, in a few words.
fn short(way: &Way, stage: Stage) -> String {
    let gateway = way.gateway.as_ref().map(|g| g.address.to_string()).unwrap_or_default();
    match stage {
        Stage::Link => link_words(&way.device, way.link),
        Stage::Address => format!("{} has no address, no DHCP server answered", way.device),
        Stage::Route => "it has no default route".to_owned(),
        Stage::Gateway => format!("its gateway {gateway} does not answer"),
        Stage::Internet => format!("its gateway {gateway} answers, nothing beyond it does"),
    }
}

/// What is wrong with a way, and what to do.
fn sentence(way: &Way, stage: Stage) -> (&'static str, String) {
    let device = &way.device;
    let gateway = way.gateway.as_ref().map(|g| g.address.to_string()).unwrap_or_default();
    match stage {
        Stage::Link => match way.link {
            Link::Down => ("link-down", format!("{device} is switched off. Switch it on: ip link set {device} up.")),
            _ => (
                "no-carrier",
                format!(
                    "{device} has no carrier: the cable is out, or the device at its other end is off. Check both ends of \
                     the cable and the modem's power."
                ),
            ),
        },
        Stage::Address => (
            "no-address",
            format!(
                "{device} has no address: no DHCP server has answered. Restart the modem or router at its other end, then \
                 the DHCP client here."
            ),
        ),
        Stage::Route => (
            "no-route",
            "There is no default route: nothing tells this system where the internet is. Restart its network, or set the \
             gateway."
                .to_owned(),
        ),
        Stage::Gateway => (
            "gateway-dead",
            format!(
                "Your gateway {gateway} does not answer, though {device} has a carrier: the modem or router there hangs, or \
                 has another address now. Restart it."
            ),
        ),
        Stage::Internet => {
            let who = if way.gateway.is_some() { "Your router answers" } else { "Your link is up" };
            let text = format!("{who}, nothing beyond it does: the fault is at your provider or its modem. {RESTART}");
            ("provider-dead", text)
        }
    }
}

/// What is wrong with names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Dns {
    /// No server is configured.
    None,
    /// None of them works, 1.1.1.1 does (or was not asked).
    Dead,
    /// None at all works.
    Blocked,
    /// Some of them do not work.
    Partly,
}

fn dns_fault(seen: &Seen) -> Option<Dns> {
    let asked = || seen.resolvers.iter().filter(|r| r.reply != Reply::NotAsked);
    let dead = asked().filter(|r| r.reply.is_bad() && r.lie.is_none()).count();
    if seen.resolvers.is_empty() {
        return Some(Dns::None);
    }
    match dead {
        0 => None,
        n if n < asked().count() => Some(Dns::Partly),
        _ if seen.direct.is_bad() => Some(Dns::Blocked),
        _ => Some(Dns::Dead),
    }
}

/// The page that stands in the way: one came that should not, and none as it should.
fn portal(seen: &Seen) -> Option<&str> {
    if seen.portals.iter().any(|p| p.reply.is_good()) {
        return None;
    }
    seen.portals.iter().find_map(|p| p.instead.as_deref())
}

fn verdict(seen: &Seen, released: i64) -> Verdict {
    let made = |id, exit, text: String| Verdict { id, exit, text };
    let setup = &seen.setup;
    let file = setup.file.as_deref().unwrap_or_default();
    // Whoever may not read the configuration asked about it, and gets no answer.
    if setup.forbidden {
        return made("not-readable", 3, format!("You may not read {file}: run this as root (sudo imon check)."));
    }
    if let Some(first) = setup.errors.first() {
        let more = match setup.errors.len() {
            1 => String::new(),
            n => format!(" ({} more below)", n - 1),
        };
        let first = first.trim_end_matches('.');
        return made(
            "configuration",
            2,
            format!("The configuration is wrong, so imon cannot do its work: {first}{more}."),
        );
    }
    let main = &seen.main;
    if let Some(stage) = main.fault() {
        let (id, mut text) = sentence(main, stage);
        if seen.v6.as_ref().is_some_and(Way::is_reached) {
            text += " IPv6 works meanwhile.";
        }
        let other = seen.wans.iter().find(|w| w.way.device != main.device && w.way.is_reached());
        return match other {
            Some(Wan { label, .. }) => made(
                "wan-dead",
                2,
                format!("{text} {label} works, but traffic does not take it: see that imon's failover runs."),
            ),
            None => made(id, 2, text),
        };
    }
    if main.targets.is_empty()
        && let Some(v6) = &seen.v6
        && let Some(stage) = v6.fault()
    {
        let (id, text) = sentence(v6, stage);
        return made(id, 2, text);
    }
    if let Some(found) = degraded(seen, released).filter(|_| seen.offline) {
        return found;
    }
    if seen.offline {
        let text = "As far as this system can tell by itself, all is well; nothing was sent to find out more.";
        return made("well-offline", 0, text.to_owned());
    }
    let broken = names(seen);
    broken.or_else(|| degraded(seen, released)).unwrap_or_else(|| well(seen))
}

/// Portals and name servers: the internet is there, and of no use to people.
fn names(seen: &Seen) -> Option<Verdict> {
    let made = |id, exit, text: String| Some(Verdict { id, exit, text });
    if let Some(page) = portal(seen) {
        let text = format!(
            "A login page stands between you and the internet (captive portal): {page}. Open any http:// page in a browser \
             behind this router, and log in."
        );
        return made("captive-portal", 2, text);
    }
    let servers = |which: &dyn Fn(&super::Resolver) -> bool| {
        let found: Vec<&str> = seen.resolvers.iter().filter(|r| which(r)).map(|r| r.server.as_str()).collect();
        found.join(" and ")
    };
    let dead = servers(&|r| r.reply.is_bad());
    match dns_fault(seen) {
        Some(Dns::None) => made(
            "no-resolver",
            2,
            "The internet works, but this system has no name server: put 'nameserver 1.1.1.1' into /etc/resolv.conf."
                .into(),
        ),
        Some(Dns::Dead) => {
            let lost = seen.resolvers.iter().find_map(|r| r.lost_with.as_ref());
            let text = match lost {
                Some(wan) => format!(
                    "The internet works, but your name server {dead} is only reached through {wan}, which is dead: use one \
                     that every network reaches, such as 1.1.1.1."
                ),
                None => format!(
                    "The internet works, but your name server {dead} does not: restart it, or use another one, such as \
                     1.1.1.1."
                ),
            };
            made("resolver-dead", 2, text)
        }
        Some(Dns::Blocked) => made(
            "dns-blocked",
            2,
            format!(
                "The internet answers, but names do not resolve, neither by {dead} nor by 1.1.1.1 ({}): something on the way \
                 stops DNS (port 53). Look at the firewall, then ask your provider.",
                if let Reply::Failed(why, _) = &seen.direct { why } else { "no answer" }
            ),
        ),
        fault => {
            let lie = seen.resolvers.iter().find_map(|r| r.lie.as_ref()).or(seen.direct_lie.as_ref());
            if let Some(lie) = lie {
                let who = servers(&|r| r.lie.is_some());
                let who = if who.is_empty() { "somebody on the way".to_owned() } else { who };
                let text = format!(
                    "DNS is hijacked: {who} makes answers up ({lie}). Use another name server; if that one lies too, your \
                     provider answers in its place: ask for DNS over TLS."
                );
                return made("dns-hijacked", 2, text);
            }
            let text = format!(
                "The internet works, but the name server {dead} does not: every lookup may wait for it. Restart it, or take \
                 it out of /etc/resolv.conf."
            );
            fault.and_then(|_| made("resolver-partly-dead", 1, text))
        }
    }
}

/// What works, but not well.
fn degraded(seen: &Seen, released: i64) -> Option<Verdict> {
    let made = |id, exit, text: String| Some(Verdict { id, exit, text });
    if let Some(why) = wrong_clock(seen, released) {
        let text = format!("This system's clock is wrong ({why}), so no certificate can be checked. Set it (NTP).");
        return made("clock-wrong", 1, text);
    }
    let mtu = &seen.mtu;
    if let Some(path) = mtu.path.filter(|path| *path < mtu.link && !mtu.told) {
        let segment = path.saturating_sub(40);
        let text = format!(
            "Large packets vanish on the way (MTU black hole), so some pages hang: clamp MSS to {segment} (nft: tcp flags syn \
             tcp option maxseg size set {segment}), or set the MTU of {} to {path}.",
            seen.main.device
        );
        return made("mtu-black-hole", 1, text);
    }
    let dead = || seen.wans.iter().filter_map(|wan| Some((wan, wan.way.fault()?)));
    let used = seen.wans.iter().position(|wan| wan.way.device == seen.main.device);
    if let Some((wan, stage)) = dead().next() {
        let (label, why) = (&wan.label, short(&wan.way, stage));
        let place = seen.wans.iter().position(|w| w == wan);
        if place > used {
            let works = if seen.offline { "" } else { "The internet works, but " };
            let text =
                format!("{works}{label} could not take over: {why}. Mend it before it is needed ({}).", todo(stage));
            return made("standby-unusable", 1, text);
        }
        let other = seen.wans.iter().find(|w| w.way.is_reached()).map_or(&seen.main.device, |w| &w.label);
        let text = format!(
            "One network of two is dead: {label}, as {why}. The internet works through {other} meanwhile ({}).",
            todo(stage)
        );
        return made("wan-dead", 1, text);
    }
    let v6 = seen.v6.as_ref()?;
    let stage = v6.fault()?;
    let text = format!(
        "IPv4 works, IPv6 does not ({}): programs that try it first are slow. Restart the modem; until IPv6 works, switch it \
         off.",
        match stage {
            Stage::Gateway => "its gateway does not answer",
            Stage::Internet => "nothing beyond its gateway answers",
            _ => "it has a default route and no address",
        }
    );
    made("ipv6-broken", 1, text)
}

/// What a person can do about it.
fn todo(stage: Stage) -> &'static str {
    match stage {
        Stage::Link => "check the cable and the modem's power",
        Stage::Address => "restart the modem, then the DHCP client",
        Stage::Route => "set its gateway",
        Stage::Gateway => "restart the modem or router there",
        Stage::Internet => "restart its modem, then call its provider",
    }
}

fn well(seen: &Seen) -> Verdict {
    let device = &seen.main.device;
    let by = if device.is_empty() { String::new() } else { format!(" over {device}") };
    let targets = &seen.main.targets;
    let asked = targets.iter().any(|t| t.ping != Reply::NotAsked);
    if asked && targets.iter().all(|t| !t.ping.is_good()) && !seen.private {
        let text = format!(
            "The internet works{by}, but pings are filtered on the way: let imon's monitors look at dns:1.1.1.1 or \
             tcp:1.1.1.1:443 instead."
        );
        return Verdict { id: "ping-filtered", exit: 0, text };
    }
    if !seen.main.is_reached() && !seen.v6.as_ref().is_some_and(Way::is_reached) {
        let text = "Nothing could be tested: there is no permission to ping, and nothing else was to be asked.";
        return Verdict { id: "not-tested", exit: 3, text: text.to_owned() };
    }
    if seen.no_ping.is_some() {
        let text = format!(
            "The internet works{by} as far as could be tested without permission to ping. Run this as root for the rest \
             (sudo imon check)."
        );
        return Verdict { id: "no-permission", exit: 0, text };
    }
    let text = match &seen.private {
        true => format!("All is well: what was asked for is reached{by}."),
        false => format!("All is well: the internet works{by}."),
    };
    Verdict { id: "well", exit: 0, text }
}

/// Whether nothing public may be asked, and this is public.
#[must_use]
pub fn is_off_limits(private: bool, server: IpAddr) -> bool {
    private && opinion::scope(server) == Scope::Public
}

#[cfg(test)]
mod tests;
