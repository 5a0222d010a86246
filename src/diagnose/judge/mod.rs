//! From what was seen to a verdict. Of several faults the one nearest to the user is named: what is
//! behind it may be fine, and could not be reached anyway.

mod verdict;

use std::net::IpAddr;
use std::time::Duration;

use super::report::{CheckReport, Test, TestState};
use super::{
    Evidence, GatewayEvidence, LinkEvidence, NeighbourState, PathEvidence, Stage, TargetEvidence,
    TestReply,
};
use crate::addr::scope::{self, Scope};
use crate::monitor::ddns::answer::Nat;
use crate::probe::stats::Millis;
use verdict::{NameFault, blames_names, dns_fault, portal};

/// A clock that is off by more than this is wrong: certificates and logs notice.
pub const CLOCK_OFF: i64 = 300;

/// Says what to make of it. `released` is the day of this version, in seconds since 1970.
#[must_use]
pub fn judge(seen: &Evidence, released: i64) -> CheckReport {
    let main = seen.main.fault().filter(|_| seen.is_v4());
    let mut tests = Vec::new();
    let mut rows = Rows { tests: &mut tests, prefix: "", fault: main };
    setup(seen, &mut rows);
    clock(seen, released, &mut rows);
    if seen.is_v4() {
        way(seen, &seen.main, &mut rows);
    }
    let all_other =
        if seen.other_routes.is_empty() { None } else { Some(seen.other_routes.join("; ")) };
    if let Some(others) = all_other {
        rows.put("other-routes", TestState::Info, None, format!("also there: {others}"));
    }
    if !seen.offline {
        beyond(seen, &mut rows);
        let fault = seen.v6.as_ref().and_then(PathEvidence::fault);
        let mut rows = Rows { tests: &mut tests, prefix: "ipv6-", fault };
        match &seen.v6 {
            // One cause for both.
            Some(v6) if rows.fault.is_some() && v6.device == seen.main.device && main.is_some() => {
                let needs = main.map_or("", Stage::id);
                rows.put(
                    "internet",
                    TestState::Untested,
                    None,
                    format!("not tested (needs: {needs})"),
                );
            }
            Some(v6) => way(seen, v6, &mut rows),
            None => {
                let detail = match seen.v6_unused {
                    true => {
                        "this system has an IPv6 default route and no public address, so it does not use IPv6"
                    }
                    false => "this system has no IPv6 default route, which is fine",
                };
                rows.put("route", TestState::Info, None, detail.to_owned());
            }
        }
    }
    wans(seen, main, &mut tests);
    CheckReport { verdict: verdict::verdict(seen, released), tests }
}

struct Rows<'a> {
    tests: &'a mut Vec<Test>,
    prefix: &'static str,
    /// Where the way ends.
    fault: Option<Stage>,
}

impl Rows<'_> {
    fn put(&mut self, id: &str, state: TestState, took: Option<Duration>, detail: String) {
        self.tests.push(Test { id: format!("{}{id}", self.prefix), state, took, detail });
    }

    /// Whether the way ends before this stage; then that is said.
    fn is_barred(&mut self, stage: Stage, id: &str) -> bool {
        let Some(fault) = self.fault.filter(|fault| *fault < stage) else { return false };
        let detail = format!("not tested (needs: {}{})", self.prefix, fault.id());
        self.put(id, TestState::Untested, None, detail);
        true
    }

    /// The state of the row at this stage of the way.
    fn at(&self, stage: Stage) -> TestState {
        if self.fault == Some(stage) { TestState::Fail } else { TestState::Ok }
    }

    /// A row that says how long an answer took, or why there is none.
    fn reply(
        &mut self,
        id: &str,
        reply: &TestReply,
        bad: TestState,
        good: impl FnOnce(&str) -> String,
    ) {
        match reply {
            TestReply::NotAsked => {}
            TestReply::Waiting => self.put(id, TestState::Waiting, None, String::new()),
            TestReply::Got(took) => {
                self.put(id, TestState::Ok, Some(*took), good(&milliseconds(*took)))
            }
            TestReply::Failed(why, took) => self.put(id, bad, Some(*took), why.to_string()),
        }
    }
}

fn milliseconds(took: Duration) -> String {
    format!("{} ms", Millis(took.as_secs_f64() * 1000.0))
}

fn setup(seen: &Evidence, rows: &mut Rows<'_>) {
    let setup = &seen.setup;
    let file = setup.file.as_deref().unwrap_or_default();
    let mut facts = Vec::new();
    if setup.file.is_none() && setup.errors.is_empty() {
        facts.push((TestState::Info, "none: not needed for this".to_owned()));
    } else if setup.forbidden {
        facts.push((TestState::Skipped, setup.errors.join("; ")));
    } else if setup.errors.is_empty() {
        facts.push((TestState::Ok, format!("{file} is valid")));
    }
    let all = |state: TestState, texts: &[String]| {
        texts.iter().map(|t| (state, t.clone())).collect::<Vec<_>>()
    };
    if !setup.forbidden {
        facts.extend(all(TestState::Fail, &setup.errors));
    }
    facts.extend(all(TestState::Warn, &setup.warnings));
    facts.extend(all(TestState::Info, &setup.notes));
    for (number, (state, detail)) in (1..).zip(facts) {
        let id = if number == 1 {
            "configuration".to_owned()
        } else {
            format!("configuration:{number}")
        };
        rows.put(&id, state, None, detail);
    }
    match &seen.no_ping {
        Some(why) => rows.put("capabilities", TestState::Skipped, None, format!("no ping: {why}")),
        None => rows.put("capabilities", TestState::Ok, None, "ping".to_owned()),
    }
}

/// What is wrong with the clock.
fn wrong_clock(seen: &Evidence, released: i64) -> Option<String> {
    if seen.now.secs < released {
        return Some(format!("it is {}, which is before this version was released", seen.now));
    }
    let off = seen.ahead.filter(|ahead| ahead.abs() > CLOCK_OFF)?;
    let side = if off > 0 { "ahead of" } else { "behind" };
    Some(format!("it is {}, {} {side} the web's", seen.now, in_words(off.unsigned_abs())))
}

fn in_words(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} seconds"),
        120..=7199 => format!("{} minutes", seconds / 60),
        7200..=172_799 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn clock(seen: &Evidence, released: i64, rows: &mut Rows<'_>) {
    let (state, detail) = match wrong_clock(seen, released) {
        // A system without a battery for its clock wakes up in the past, and gets the time from the
        // internet, by name.
        Some(why) if rows.fault.is_some() || blames_names(seen) => (TestState::Warn, why),
        Some(why) => (TestState::Fail, why),
        None => (TestState::Ok, seen.now.to_string()),
    };
    rows.put("clock", state, None, detail);
}

/// The rows of a way, up to the hosts beyond.
fn way(seen: &Evidence, way: &PathEvidence, rows: &mut Rows<'_>) {
    let device = &way.device;
    let v6 = !rows.prefix.is_empty();
    if !v6 {
        match (way.link, &way.errors) {
            _ if device.is_empty() => {}
            (LinkEvidence::Up, Some(errors)) => rows.put(
                "link",
                TestState::Warn,
                None,
                format!("{device} has a carrier, but {errors}"),
            ),
            (LinkEvidence::Up, None) => rows.put(
                "link",
                rows.at(Stage::Link),
                None,
                format!("{device} has a carrier, no errors"),
            ),
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
    for TargetEvidence { address, ping, tcp, refused, rejected } in &way.targets {
        // What one host does not answer another may.
        let bad = match rows.at(Stage::Internet) {
            TestState::Fail => TestState::Fail,
            _ if no_ping => TestState::Info,
            _ => TestState::Warn,
        };
        rows.reply(&format!("ping:{address}"), ping, bad, |took| format!("answers in {took}"));
        let bad = match bad {
            TestState::Fail => TestState::Fail,
            _ if *refused && !*rejected => TestState::Info,
            _ => TestState::Warn,
        };
        rows.reply(&format!("tcp:{address}"), tcp, bad, |took| format!("port 443 opens in {took}"));
    }
}

fn link_words(device: &str, link: LinkEvidence) -> String {
    match link {
        LinkEvidence::Missing => format!("there is no interface {device}"),
        LinkEvidence::Down => format!("{device} is switched off"),
        _ => format!("{device} has no carrier"),
    }
}

fn gateway(way: &PathEvidence, rows: &mut Rows<'_>) {
    let state = rows.at(Stage::Gateway);
    let Some(GatewayEvidence { address, neighbour, ping, .. }) = &way.gateway else {
        if way.route.is_some() {
            rows.put("gateway", TestState::Info, None, format!("{} needs none", way.device));
        }
        return;
    };
    let detail = match (ping, neighbour) {
        (TestReply::Waiting, _) => {
            return rows.put("gateway", TestState::Waiting, None, address.to_string());
        }
        (TestReply::Got(took), _) => format!("{address} answers in {}", milliseconds(*took)),
        (_, NeighbourState::Answers) if ping.is_bad() => {
            format!("{address} is there, and does not answer ping, which is no fault")
        }
        (_, NeighbourState::Answers) => format!("{address} is there"),
        (_, NeighbourState::Silent) => {
            format!("{address} is not there: it does not even tell its hardware address")
        }
        (TestReply::Failed(why, _), _) => format!("{address}: {why}"),
        (TestReply::NotAsked, _) => format!("{address}, not asked"),
    };
    let unsure = state == TestState::Ok && !ping.is_good() && *neighbour != NeighbourState::Answers;
    rows.put("gateway", if unsure { TestState::Info } else { state }, ping.took(), detail);
}

/// The rows of what needs the internet: names, pages, the external address, packet sizes.
fn beyond(seen: &Evidence, rows: &mut Rows<'_>) {
    if rows.is_any_fault("resolver") {
        return;
    }
    let dns = dns_fault(seen);
    for resolver in &seen.resolvers {
        let id = format!("resolver:{}", resolver.server);
        match (&resolver.reply, &resolver.lie, &resolver.lost_with) {
            (reply, Some(lie), _) => {
                rows.put(&id, TestState::Fail, reply.took(), format!("makes answers up: {lie}"))
            }
            (TestReply::Failed(why, took), None, Some(wan)) => {
                rows.put(
                    &id,
                    TestState::Fail,
                    Some(*took),
                    format!("{why}: it is only reached through {wan}, which is dead"),
                );
            }
            (TestReply::NotAsked, ..) if seen.private => {
                rows.put(
                    &id,
                    TestState::Skipped,
                    None,
                    "a public server, not asked with --target".to_owned(),
                );
            }
            (reply, ..) => {
                rows.reply(&id, reply, TestState::Fail, |took| format!("answers in {took}"))
            }
        }
    }
    if seen.resolvers.is_empty() {
        rows.put("resolver", TestState::Fail, None, "there is none in /etc/resolv.conf".to_owned());
    }
    let bad = if dns == Some(NameFault::Blocked) { TestState::Fail } else { TestState::Warn };
    match &seen.direct_lie {
        Some(lie) => rows.put(
            "dns:1.1.1.1",
            TestState::Fail,
            seen.direct.took(),
            format!("somebody answers in its place: {lie}"),
        ),
        None => rows.reply("dns:1.1.1.1", &seen.direct, bad, |took| format!("answers in {took}")),
    }
    pages(seen, dns, rows);
    mtu(seen, rows);
}

impl Rows<'_> {
    fn is_any_fault(&mut self, id: &str) -> bool {
        let Some(fault) = self.fault else { return false };
        let needs = if fault == Stage::Internet { "internet" } else { fault.id() };
        self.put(id, TestState::Untested, None, format!("not tested (needs: {needs})"));
        true
    }
}

fn pages(seen: &Evidence, dns: Option<NameFault>, rows: &mut Rows<'_>) {
    let names_fail = matches!(dns, Some(NameFault::None | NameFault::Dead | NameFault::Blocked));
    if names_fail && !seen.portals.is_empty() {
        return rows.put(
            "portal",
            TestState::Untested,
            None,
            "not tested (needs: resolver)".to_owned(),
        );
    }
    let instead = seen.portals.iter().find_map(|p| p.instead.as_ref());
    let waits = seen.portals.iter().any(|p| p.reply == TestReply::Waiting);
    match seen.portals.iter().find(|p| p.reply.is_good()).or(seen.portals.first()) {
        None => {}
        Some(_) if portal(seen).is_some() => {
            let detail =
                format!("another page came instead: {}", instead.map_or("", String::as_str));
            rows.put("portal", TestState::Fail, None, detail);
        }
        Some(page) if waits && !page.reply.is_good() => {
            rows.put("portal", TestState::Waiting, None, String::new())
        }
        Some(page) => rows.reply("portal", &page.reply, TestState::Warn, |took| {
            format!("none: {} came as it should, in {took}", page.url)
        }),
    }
    if portal(seen).is_some() {
        return rows.put(
            "external",
            TestState::Untested,
            None,
            "not tested (needs: portal)".to_owned(),
        );
    }
    let mut known: Option<(IpAddr, Option<IpAddr>)> = None;
    for e in &seen.externals {
        let id = if e.source.starts_with("dns:") { "external:dns" } else { "external:http" };
        let address = e.address.map(|a| a.to_string()).unwrap_or_default();
        rows.reply(id, &e.reply, TestState::Info, |_| format!("{address}, says {}", e.source));
        match (known, e.address) {
            (None, Some(address)) => known = Some((address, e.local)),
            (Some((first, _)), Some(address)) if first != address => rows.put(
                "external",
                TestState::Warn,
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
                format!(
                    "the provider translates {local} (carrier-grade NAT): nothing gets in from outside"
                )
            }
            Nat::Double => {
                format!(
                    "another router translates {local}: to be reached from outside, it must forward ports"
                )
            }
            Nat::Other => format!("{local} is translated on the way"),
        };
        rows.put("nat", TestState::Info, None, detail);
    }
}

fn mtu(seen: &Evidence, rows: &mut Rows<'_>) {
    let mtu = &seen.mtu;
    let took = Some(mtu.took);
    match mtu.path {
        _ if mtu.waiting => rows.put("mtu", TestState::Waiting, None, String::new()),
        _ if seen.no_ping.is_some() => {
            rows.put("mtu", TestState::Skipped, None, "not tested (needs ping)".to_owned())
        }
        None => rows.put("mtu", TestState::Info, took, "not known: no ping comes back".to_owned()),
        Some(path) if path >= mtu.link => {
            rows.put("mtu", TestState::Ok, took, format!("{path} bytes, as the interface"))
        }
        Some(path) if mtu.told => {
            rows.put(
                "mtu",
                TestState::Ok,
                took,
                format!("{path} bytes, and larger packets are answered with the reason"),
            );
        }
        Some(path) => {
            let detail = format!("packets above {path} bytes vanish without a word");
            rows.put("mtu", TestState::Fail, took, detail);
        }
    }
}

/// The rows of the failover monitor's networks.
fn wans(seen: &Evidence, main: Option<Stage>, tests: &mut Vec<Test>) {
    for wan in &seen.wans {
        let id = format!("wan:{}", wan.role);
        let label = &wan.label;
        let used = if wan.way.device == seen.main.device { ", in use" } else { "" };
        let mut row =
            |state, detail| tests.push(Test { id: id.clone(), state, took: None, detail });
        match (&wan.barred, wan.way.fault()) {
            (_, Some(Stage::Link))
                if wan.way.link == LinkEvidence::Missing && !seen.setup.errors.is_empty() =>
            {
                row(TestState::Untested, "not tested (needs: configuration)".to_owned());
            }
            (_, Some(stage)) if main.is_some() && wan.way.device == seen.main.device => {
                row(TestState::Untested, format!("not tested (needs: {})", stage.id()));
            }
            (_, Some(stage)) => {
                row(TestState::Fail, format!("{label}: {}", short(&wan.way, stage)))
            }
            (Some(why), None) => row(TestState::Skipped, format!("{label}: {why}")),
            (None, None) if wan.way.is_reached() => {
                row(TestState::Ok, format!("{label} works{used}"))
            }
            (None, None) if !wan.way.is_settled() => row(TestState::Waiting, label.clone()),
            (None, None) => row(TestState::Info, format!("{label}: not tested")),
        }
        if let Some(own) = seen.own.as_ref().and_then(|own| own.of(wan)) {
            let said =
                format!("imon itself takes {label} for {}", own.words(seen.now.secs, in_words));
            let (state, detail) = match own.differs(wan) {
                true => (TestState::Warn, format!("{said}; {}", own.cure(wan))),
                false => (TestState::Info, said),
            };
            tests.push(Test { id: format!("imon:{}", wan.role), state, took: None, detail });
        }
    }
    for (number, (state, detail)) in (1..).zip(super::others::rows(seen)) {
        let id = if number == 1 { "beside".to_owned() } else { format!("beside:{number}") };
        tests.push(Test { id, state, took: None, detail });
    }
}

/// What is wrong with a way, in a few words.
fn short(way: &PathEvidence, stage: Stage) -> String {
    let gateway = way.gateway.as_ref().map(|g| g.address.to_string()).unwrap_or_default();
    let is_there = way.gateway.as_ref().is_some_and(GatewayEvidence::is_there);
    match stage {
        Stage::Link => link_words(&way.device, way.link),
        Stage::Address => format!("{} has no address, no DHCP server answered", way.device),
        Stage::Route => "it has no default route".to_owned(),
        Stage::Gateway if is_misplaced(way) => {
            format!("its gateway {gateway} does not answer, and is in no network of {}", way.device)
        }
        Stage::Gateway => format!("its gateway {gateway} does not answer"),
        Stage::Internet if is_there => {
            format!("its gateway {gateway} answers, nothing beyond it does")
        }
        Stage::Internet => "nothing out there answers".to_owned(),
    }
}

fn is_misplaced(way: &PathEvidence) -> bool {
    way.gateway.as_ref().is_some_and(|gateway| gateway.misplaced)
}

/// Whether nothing public may be asked, and this is public.
#[must_use]
pub fn is_off_limits(private: bool, server: IpAddr) -> bool {
    private && scope::scope(server) == Scope::Public
}

#[cfg(test)]
mod tests;
