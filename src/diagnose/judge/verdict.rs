//! Which of all that was seen is the verdict, and the sentence that says so.

use crate::diagnose::others::kept_on;
use crate::diagnose::report::Conclusion;
use crate::routing::BesideKind;

use super::{in_words, is_misplaced, short, wrong_clock};
use crate::diagnose::{
    Evidence, LinkEvidence, PathEvidence, ResolverEvidence, Stage, TestReply, WanEvidence,
};

/// What helps against a provider's faults.
const RESTART: &str = "Restart the modem; if that does not help, call them.";

/// What is wrong with a way, and what to do.
fn sentence(way: &PathEvidence, stage: Stage) -> (&'static str, String) {
    let device = &way.device;
    let gateway = way.gateway.as_ref().map(|g| g.address.to_string()).unwrap_or_default();
    match stage {
        Stage::Link => match way.link {
            LinkEvidence::Down => ("link-down", format!("{device} is switched off. Switch it on: ip link set {device} up.")),
            LinkEvidence::Missing => (
                "no-carrier",
                format!("There is no interface {device}: plug it in, or correct the configuration that names it."),
            ),
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
        Stage::Gateway if is_misplaced(way) => (
            "gateway-dead",
            format!(
                "Your gateway {gateway} does not answer, and is in no network of {device}: whoever set it has probably \
                 mistyped it. Correct it."
            ),
        ),
        Stage::Gateway => (
            "gateway-dead",
            format!(
                "Your gateway {gateway} does not answer, though {device} has a carrier: the modem or router there hangs, or \
                 has another address now. Restart it."
            ),
        ),
        Stage::Internet => {
            let text = match &way.gateway {
                Some(gateway) if gateway.is_there() => {
                    "Your router answers, nothing beyond it does: the fault is at your provider or its modem."
                }
                Some(_) => {
                    "Nothing out there answers; whether your router does cannot be seen without permission to ping. Restart \
                     that first."
                }
                None => {
                    "Your link is up, but nothing beyond it answers: the fault is at your provider or its modem."
                }
            };
            ("provider-dead", format!("{text} {RESTART}"))
        }
    }
}

/// What is wrong with names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NameFault {
    /// No server is configured.
    None,
    /// None of them works, 1.1.1.1 does (or was not asked).
    Dead,
    /// None at all works.
    Blocked,
    /// Some of them do not work.
    Partly,
}

pub(super) fn dns_fault(seen: &Evidence) -> Option<NameFault> {
    let asked = || seen.resolvers.iter().filter(|r| r.reply != TestReply::NotAsked);
    let dead = asked().filter(|r| r.reply.is_bad() && r.lie.is_none()).count();
    if seen.resolvers.is_empty() {
        return Some(NameFault::None);
    }
    match dead {
        0 => None,
        n if n < asked().count() => Some(NameFault::Partly),
        _ if seen.direct.is_bad() => Some(NameFault::Blocked),
        _ => Some(NameFault::Dead),
    }
}

/// The page that stands in the way: one came that should not, and none as it should.
pub(super) fn portal(seen: &Evidence) -> Option<&str> {
    if seen.portals.iter().any(|p| p.reply.is_good()) {
        return None;
    }
    seen.portals.iter().find_map(|p| p.instead.as_deref())
}

pub(super) fn verdict(seen: &Evidence, released: i64) -> Conclusion {
    let file = seen.setup.file.as_deref().unwrap_or_default();
    let found = network(seen, released);
    // Whoever asked about a configuration that they may not read gets no answer, but for an outage.
    if seen.setup.forbidden && found.exit < 2 {
        let text = format!("You may not read {file}: run this as root (sudo imon check).");
        return Conclusion { id: "not-readable", exit: 3, text };
    }
    found
}

/// All networks are dead: the nearest fault is the one to begin with, if traffic does not take that
/// network already.
fn all_dead(seen: &Evidence, main: Stage) -> Option<Conclusion> {
    let dead: Vec<(&WanEvidence, Stage)> =
        seen.wans.iter().filter_map(|wan| Some((wan, wan.way.fault()?))).collect();
    if dead.len() < 2 || dead.len() < seen.wans.len() {
        return None;
    }
    let is_main = |wan: &WanEvidence| wan.way.device == seen.main.device;
    let (first, stage) = *dead.iter().min_by_key(|(wan, stage)| (*stage, !is_main(wan)))?;
    let (id, text) =
        if is_main(first) { sentence(&seen.main, main) } else { sentence(&first.way, stage) };
    let others = dead.iter().filter(|(wan, _)| wan.label != first.label);
    let others: Vec<String> =
        others.map(|(wan, stage)| format!("{}: {}", wan.label, short(&wan.way, *stage))).collect();
    let text = format!("No network works. {}: {text} {}.", first.label, others.join("; "));
    Some(Conclusion { id, exit: 2, text })
}

fn network(seen: &Evidence, released: i64) -> Conclusion {
    let made = |id, exit, text: String| Conclusion { id, exit, text };
    let setup = &seen.setup;
    if let Some(first) = setup.errors.first().filter(|_| !setup.forbidden) {
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
    if let Some(stage) = main.fault().filter(|_| seen.is_v4()) {
        if let Some(found) = all_dead(seen, stage) {
            return found;
        }
        if stage == Stage::Internet && main.gateway.is_none() && seen.private {
            let who: Vec<String> = main.targets.iter().map(|t| t.address.to_string()).collect();
            let text = format!(
                "{} does not answer. It is in your own network ({}), so it is off, or its cable is out.",
                who.join(" or "),
                main.device
            );
            return made("target-dead", 2, text);
        }
        let (id, mut text) = sentence(main, stage);
        if seen.v6.as_ref().is_some_and(PathEvidence::is_reached) {
            text += " IPv6 works meanwhile.";
        }
        let other = seen.wans.iter().find(|w| w.way.device != main.device && w.way.is_reached());
        return match other {
            Some(wan @ WanEvidence { label, .. }) => {
                let differs =
                    seen.own.as_ref().and_then(|own| own.of(wan)).filter(|own| own.differs(wan));
                let elsewhere = seen.others.iter().find(|other| other.kind == BesideKind::Yielded);
                let why = match (differs, elsewhere) {
                    (Some(own), _) => {
                        format!("imon itself takes it for offline: {}", own.cure(wan))
                    }
                    (None, Some(other)) => format!("'{}' leads all traffic elsewhere", other.what),
                    (None, None) if seen.own.is_some() => {
                        "imon has not led it there yet".to_owned()
                    }
                    (None, None) => "see that imon's failover runs".to_owned(),
                };
                made(
                    "wan-dead",
                    2,
                    format!("{text} {label} works, but traffic does not take it: {why}."),
                )
            }
            None => made(id, 2, text),
        };
    }
    if !seen.is_v4()
        && let Some(v6) = &seen.v6
        && let Some(stage) = v6.fault()
    {
        let (id, text) = sentence(v6, stage);
        return made(id, 2, text);
    }
    let clock = wrong_clock(seen, released);
    let clock_wrong = clock.as_ref().map(|why| {
        let text = format!(
            "This system's clock is wrong ({why}), so no certificate can be checked. Set it (NTP)."
        );
        made("clock-wrong", 1, text)
    });
    if seen.offline {
        let text = "As far as this system can tell by itself, all is well; nothing was sent to find out more.";
        return clock_wrong
            .or_else(|| degraded(seen))
            .unwrap_or_else(|| made("well-offline", 0, text.to_owned()));
    }
    // Names that do not resolve come before the clock, some that take their time after it.
    let (mut broken, partly) = match names(seen) {
        Some(found) if found.exit < 2 => (None, Some(found)),
        found => (found, None),
    };
    if let Some(found) = broken.as_mut().filter(|_| blames_names(seen))
        && let Some(why) = clock
    {
        // Either may be the cause of the other: NTP needs names, and signed names (DNSSEC) need the
        // time.
        found.text += &format!(
            " The clock is wrong, too ({why}): if setting it helps, your name server checks signatures."
        );
    }
    broken.or(clock_wrong).or(partly).or_else(|| degraded(seen)).unwrap_or_else(|| well(seen))
}

/// Whether names do not resolve.
pub(super) fn blames_names(seen: &Evidence) -> bool {
    !seen.offline
        && matches!(dns_fault(seen), Some(NameFault::None | NameFault::Dead | NameFault::Blocked))
}

/// Portals and name servers: the internet is there, and of no use to people.
fn names(seen: &Evidence) -> Option<Conclusion> {
    let made = |id, exit, text: String| Some(Conclusion { id, exit, text });
    if let Some(page) = portal(seen) {
        let text = format!(
            "A login page stands between you and the internet (captive portal): {page}. Open any http:// page in a browser \
             behind this router, and log in."
        );
        return made("captive-portal", 2, text);
    }
    let servers = |which: &dyn Fn(&ResolverEvidence) -> bool| {
        let found: Vec<&str> =
            seen.resolvers.iter().filter(|r| which(r)).map(|r| r.server.as_str()).collect();
        found.join(" and ")
    };
    let dead = servers(&|r| r.reply.is_bad());
    match dns_fault(seen) {
        Some(NameFault::None) => made(
            "no-resolver",
            2,
            "The internet works, but this system has no name server: put 'nameserver 1.1.1.1' into /etc/resolv.conf."
                .into(),
        ),
        Some(NameFault::Dead) => {
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
        Some(NameFault::Blocked) => made(
            "dns-blocked",
            2,
            format!(
                "The internet answers, but names do not resolve, neither by {dead} nor by 1.1.1.1 ({}): something on the way \
                 {} (port 53). Look at the firewall, then ask your provider.",
                if let TestReply::Failed(why, _) = &seen.direct { why } else { "no answer" },
                match &seen.direct {
                    TestReply::Failed(why, _) if &**why != "no answer" => "answers DNS in its place, or refuses it",
                    _ => "stops DNS",
                }
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
fn degraded(seen: &Evidence) -> Option<Conclusion> {
    let made = |id, exit, text: String| Some(Conclusion { id, exit, text });
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
    let differs = |wan: &&WanEvidence| {
        seen.own.as_ref().and_then(|own| own.of(wan)).is_some_and(|own| own.differs(wan))
    };
    if let Some(wan) = seen.wans.iter().find(differs)
        && let Some(own) = seen.own.as_ref().and_then(|own| own.of(wan))
    {
        let (label, said) = (&wan.label, own.words(seen.now.secs, in_words));
        let text = format!(
            "{label} works, but imon itself takes it for {said}. What to do: {}.",
            own.cure(wan)
        );
        return made("imon-differs", 1, text);
    }
    let dead = || seen.wans.iter().filter_map(|wan| Some((wan, wan.way.fault()?)));
    let used = seen.wans.iter().position(|wan| wan.way.device == seen.main.device);
    if let Some((wan, stage)) = dead().next() {
        let (label, why) = (&wan.label, short(&wan.way, stage));
        let kept = kept_on(seen, wan).unwrap_or_default();
        let place = seen.wans.iter().position(|w| w == wan);
        if place > used {
            let works = if seen.offline { "" } else { "The internet works, but " };
            let text = format!(
                "{works}{label} could not take over: {why}. Mend it before it is needed ({}).{kept}",
                todo(wan, stage)
            );
            return made("standby-unusable", 1, text);
        }
        let other =
            seen.wans.iter().find(|w| w.way.is_reached()).map_or(&seen.main.device, |w| &w.label);
        let text = format!(
            "One network of two is dead: {label}, as {why}. The internet works through {other} meanwhile ({}).{kept}",
            todo(wan, stage)
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
            _ => "its interface has no carrier",
        }
    );
    made("ipv6-broken", 1, text)
}

/// What a person can do about it.
fn todo(wan: &WanEvidence, stage: Stage) -> String {
    if let Some(cure) = &wan.cure {
        return cure.clone();
    }
    let way = &wan.way;
    let what = match stage {
        Stage::Link if way.link == LinkEvidence::Down => {
            return format!("ip link set {} up", way.device);
        }
        Stage::Link if way.link == LinkEvidence::Missing => {
            "plug it in, or correct the configuration"
        }
        Stage::Link => "check the cable and the modem's power",
        Stage::Address => "restart the modem, then the DHCP client",
        Stage::Route => "set its gateway",
        Stage::Gateway if is_misplaced(way) => "correct the gateway in the configuration",
        Stage::Gateway => "restart the modem or router there",
        Stage::Internet => "restart its modem, then call its provider",
    };
    what.to_owned()
}

fn well(seen: &Evidence) -> Conclusion {
    let device = &seen.main.device;
    let by = if device.is_empty() { String::new() } else { format!(" over {device}") };
    let targets = &seen.main.targets;
    let asked = targets.iter().any(|t| t.ping != TestReply::NotAsked);
    if asked && targets.iter().all(|t| !t.ping.is_good()) && !seen.private {
        let text = format!(
            "The internet works{by}, but pings are filtered on the way: let imon's monitors look at dns:1.1.1.1 or \
             tcp:1.1.1.1:443 instead."
        );
        return Conclusion { id: "ping-filtered", exit: 0, text };
    }
    if !seen.main.is_reached() && !seen.v6.as_ref().is_some_and(PathEvidence::is_reached) {
        let text = match seen.is_v4() || seen.v6.is_some() {
            true => {
                "Nothing could be tested: there is no permission to ping, and nothing else was to be asked."
            }
            false => {
                "Nothing could be tested: this system has no way of IPv6 to what was to be asked."
            }
        };
        return Conclusion { id: "not-tested", exit: 3, text: text.to_owned() };
    }
    if seen.no_ping.is_some() {
        let text = format!(
            "The internet works{by} as far as could be tested without permission to ping. Run this as root for the rest \
             (sudo imon check)."
        );
        return Conclusion { id: "no-permission", exit: 0, text };
    }
    let text = match &seen.private {
        true => format!("All is well: what was asked for is reached{by}."),
        false => format!("All is well: the internet works{by}."),
    };
    Conclusion { id: "well", exit: 0, text }
}
