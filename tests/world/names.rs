//! Names, the servers that know them, and probes that are no pings.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use imon::base::time::Instant;
use libtest_mimic::Trial;

use crate::house::{MINUTE, SERVERS, STOP, at, name, pinged, router, said};
use crate::internet::{Port, Server};
use crate::sim::{SimWorld, seconds};

pub fn tests() -> Vec<Trial> {
    let trial = |name: &str, test: fn()| {
        Trial::test(format!("names::{name}"), move || {
            test();
            Ok(())
        })
    };
    vec![
        trial(
            "an_address_is_followed_when_its_lifetime_ends",
            an_address_is_followed_when_its_lifetime_ends,
        ),
        trial(
            "one_that_does_not_answer_is_looked_up_at_once",
            one_that_does_not_answer_is_looked_up_at_once,
        ),
        trial("without_servers_the_last_address_stays", without_servers_the_last_address_stays),
        trial(
            "a_new_resolv_conf_is_taken_within_seconds",
            a_new_resolv_conf_is_taken_within_seconds,
        ),
        trial("what_proves_nothing_is_not_taken", what_proves_nothing_is_not_taken),
        trial("a_dead_server_is_asked_last", a_dead_server_is_asked_last),
        trial(
            "an_honest_second_opinion_refutes_an_outage",
            an_honest_second_opinion_refutes_an_outage,
        ),
        trial("ipv6_can_be_out_alone", ipv6_can_be_out_alone),
        trial(
            "a_network_is_judged_by_ports_and_name_servers",
            a_network_is_judged_by_ports_and_name_servers,
        ),
        trial(
            "a_name_that_is_a_target_needs_no_route_of_its_own",
            a_name_that_is_a_target_needs_no_route_of_its_own,
        ),
    ]
}

const PING: &str =
    r#"{"ping": {"enable": true, "interval": 5, "pingcount": 1, "monitorip": "host.example"}}"#;
const OLD: [u8; 4] = [203, 0, 113, 1];
const NEW: [u8; 4] = [203, 0, 113, 2];

/// It is known from a minute on, and moves after ten.
fn moving(ttl: u32) -> SimWorld {
    let mut world = router(1);
    name(&mut world, "host.example", OLD, ttl);
    world.when(at(10 * MINUTE), move |world| name(world, "host.example", NEW, ttl));
    world.signal(at(30 * MINUTE), STOP);
    world
}

/// When the new address was pinged first.
fn moved(world: &SimWorld) -> f64 {
    let all = pinged(world);
    let to: Vec<IpAddr> = all.iter().map(|(_, to)| *to).collect();
    assert_eq!(to, [IpAddr::from(OLD), IpAddr::from(NEW)]);
    seconds(all[1].0) - 600.0
}

fn an_address_is_followed_when_its_lifetime_ends() {
    for (ttl, longest) in [(0, 30.0), (60, 60.0), (300, 300.0)] {
        let world = moving(ttl).run(PING);
        let after = moved(&world);
        assert!(after <= longest + 5.1, "{ttl}: {after}");
        let most = 2 + 1800 / usize::try_from(ttl.max(30)).unwrap();
        assert!((most - 2..=most).contains(&world.asked.len()), "{ttl}: {}", world.asked.len());
    }
}

fn one_that_does_not_answer_is_looked_up_at_once() {
    let mut world = moving(3600);
    world.when(at(10 * MINUTE), |world| world.networks[0].dead.push(OLD.into()));
    let world = world.run(PING);
    assert!(moved(&world) < 12.0, "{}", moved(&world));
}

fn without_servers_the_last_address_stays() {
    let mut world = moving(60);
    world.when(at(9 * MINUTE), |world| set(world, Server::Silent));
    world.when(at(24 * MINUTE), |world| set(world, Server::Truth));
    let world = world.run(PING);
    let after = moved(&world);
    assert!((840.0..910.0).contains(&after), "{after}");
    // Each lookup asks two servers twice. It begins 1, 2, 4 … and at last 60 s after the one
    // before.
    let out = |at: Instant| (541.0..1440.0).contains(&seconds(at));
    let asked = world.asked.iter().filter(|asked| out(asked.at)).count();
    assert!((40..=100).contains(&asked), "{asked}");
}

fn set(world: &mut SimWorld, manner: Server) {
    world.internet.servers.values_mut().for_each(|server| *server = manner);
}

fn a_new_resolv_conf_is_taken_within_seconds() {
    let mut world = router(1);
    name(&mut world, "host.example", OLD, 3600);
    set(&mut world, Server::Silent);
    let other = IpAddr::from([198, 51, 100, 99]);
    world.internet.servers.insert(other, Server::Truth);
    let conf = format!("nameserver {other}\n");
    world.when(at(10 * MINUTE), move |world| {
        _ = world.files.insert("/etc/resolv.conf".into(), conf.into())
    });
    world.signal(at(20 * MINUTE), STOP);
    let world = world.run(PING);
    let all = pinged(&world);
    assert!(all.len() == 1 && all[0].0.since(at(10 * MINUTE)) < Duration::from_secs(11), "{all:?}");
    assert!(
        world
            .asked
            .iter()
            .filter(|asked| asked.at > at(10 * MINUTE + 6))
            .all(|asked| asked.to == other)
    );
}

fn what_proves_nothing_is_not_taken() {
    let nowhere = Ipv4Addr::LOCALHOST;
    for manner in [
        Server::Verdict(2),
        Server::Verdict(3),
        Server::Verdict(5),
        Server::Truncated,
        Server::Broken,
        Server::Closed,
        Server::Everything(nowhere),
        Server::Everything(Ipv4Addr::UNSPECIFIED),
        Server::Late(Duration::from_secs(3)),
    ] {
        let mut world = moving(60);
        world.when(at(9 * MINUTE), move |world| set(world, manner));
        world.when(at(20 * MINUTE), |world| set(world, Server::Truth));
        let after = moved(&world.run(PING));
        assert!((600.0..670.0).contains(&after), "{manner:?}: {after}");
    }
    // The true answer comes behind the forged one, and counts.
    let mut world = moving(60);
    set(&mut world, Server::Forged(Ipv4Addr::new(203, 0, 113, 66)));
    assert!(moved(&world.run(PING)) < 70.0);
}

fn a_dead_server_is_asked_last() {
    let mut world = moving(30);
    world.internet.servers.insert(SERVERS[0], Server::Silent);
    let world = world.run(PING);
    assert!(moved(&world) < 45.0);
    let dead = world.asked.iter().filter(|asked| asked.to == SERVERS[0]).count();
    let all = world.asked.len();
    assert!(dead <= all / 2 && dead >= 1, "{dead} of {all}");
}

const UPDOWN: &str = r#"{"updown": {"enable": true, "interval": 10, "pingcount": 2, "pingwait": 1,
    "monitorip": "203.0.113.1", "dnsserver": "198.51.100.53", "dnslookup": "example.com"}}"#;

/// What updown says of a host that does not answer from the first minute to the second, with such a
/// name server.
fn with(manner: Server, change: &dyn Fn(&mut SimWorld)) -> (usize, usize) {
    let mut world = router(1);
    set(&mut world, manner);
    change(&mut world);
    world.when(at(MINUTE), |world| world.networks[0].dead.push(OLD.into()));
    world.when(at(2 * MINUTE), |world| world.networks[0].dead.clear());
    world.signal(at(3 * MINUTE), STOP);
    let world = world.run(UPDOWN);
    (said(&world, "203.0.113.1 offline"), said(&world, "refuted by DNS"))
}

fn an_honest_second_opinion_refutes_an_outage() {
    let (told, refuted) = ((1, 0), (0, 1));
    let public = Ipv4Addr::new(203, 0, 113, 66);
    for (manner, what) in [
        (Server::Truth, refuted),
        (Server::Late(Duration::from_millis(700)), refuted),
        (Server::Forged(public), refuted),
        // Nobody can see that it is another address.
        (Server::Wrong(public), refuted),
        (Server::Late(Duration::from_millis(1500)), told),
        (Server::Silent, told),
        (Server::Closed, told),
        (Server::Verdict(2), told),
        (Server::Verdict(3), told),
        (Server::Truncated, told),
        (Server::Broken, told),
        (Server::Everything(public), told),
        (Server::Wrong(Ipv4Addr::new(192, 168, 42, 1)), told),
    ] {
        assert_eq!(with(manner, &|_| {}), what, "{manner:?}");
    }
    assert_eq!(with(Server::Truth, &|world| world.networks[0].hijack = Some(public)), told);
    assert_eq!(with(Server::Truth, &|world| world.networks[0].portal = true).1, 0);
    // Our own address, as a router gives it whose cable is out.
    assert_eq!(with(Server::Wrong(Ipv4Addr::new(192, 168, 42, 2)), &|_| {}), told);
}

fn ipv6_can_be_out_alone() {
    let config = r#"{"updown": {"enable": true, "interval": 10, "monitorip": "2001:db8:f00::1", "addping": "203.0.113.1"},
        "ping": {"enable": true, "interval": 10, "monitorip": "203.0.113.1,2001:db8:f00::1"}}"#;
    let mut world = router(1);
    world.when(at(5 * MINUTE), |world| world.networks[0].has_upstream6 = false);
    world.when(at(8 * MINUTE), |world| world.networks[0].has_upstream6 = true);
    world.signal(at(10 * MINUTE), STOP);
    let world = world.run(config);
    assert_eq!(said(&world, "2001:db8:f00::1 offline"), 1);
    assert_eq!(
        said(&world, "203.0.113.1 answers: the fault lies beyond it, or in 2001:db8:f00::1"),
        1
    );
    let lost = |target: &str| said(&world, &format!("IP:{target} State:False"));
    assert_eq!((lost("2001:db8:f00::1"), lost("203.0.113.1")), (18, 0));
}

fn failover(targets: &str, more: &str) -> String {
    format!(
        r#"{{"failover": {{"enable": true, "interval": 10, "pingcount": 2, "pingwait": 1, {more}
        "primary-if": "wan0", "primary-name": "a", "primary-gw": "192.168.42.1", "primary-ping": "{targets}",
        "standby-if": "wan1", "standby-name": "b", "standby-gw": "192.168.62.1", "standby-ping": "{targets}"}}}}"#
    )
}

fn a_network_is_judged_by_ports_and_name_servers() {
    let port = (IpAddr::from([203, 0, 113, 7]), 443);
    let run = |targets: &str, fault: fn(&mut SimWorld), mend: fn(&mut SimWorld)| {
        let mut world = router(2);
        world.internet.ports.insert(port, Port::Open);
        world.when(at(5 * MINUTE), fault);
        world.when(at(7 * MINUTE), mend);
        world.signal(at(12 * MINUTE), STOP);
        let world = world.run(&failover(targets, ""));
        let told = |text: &str| -> Vec<f64> {
            let lines = world.lines.iter().filter(|line| line.text.contains(text));
            lines.map(|line| seconds(line.at)).collect()
        };
        (told("a (wan0) is now offline"), told("a (wan0) is now online"), world)
    };
    let tcp = "tcp:203.0.113.7:443";
    let dns = "dns:198.51.100.53";
    let checked = |(offline, online, world): (Vec<f64>, Vec<f64>, SimWorld), why: &str| {
        assert!(offline.len() == 1 && (300.0..314.0).contains(&offline[0]), "{why} {offline:?}");
        assert!(online.len() == 1 && (420.0..435.0).contains(&online[0]), "{why} {online:?}");
        assert!(
            said(&world, why) >= 1,
            "{why}: {:?}",
            world.lines.iter().map(|l| &l.text).collect::<Vec<_>>()
        );
    };
    checked(
        run(
            tcp,
            |w| w.internet.ports.values_mut().for_each(|p| *p = Port::Closed),
            |w| w.internet.ports.values_mut().for_each(|p| *p = Port::Open),
        ),
        "onnection refused",
    );
    checked(
        run(
            tcp,
            |w| w.internet.ports.values_mut().for_each(|p| *p = Port::Silent),
            |w| w.internet.ports.values_mut().for_each(|p| *p = Port::Open),
        ),
        "is now offline",
    );
    checked(run(dns, |w| set(w, Server::Verdict(2)), |w| set(w, Server::Truth)), "SERVFAIL");
    checked(run(dns, |w| set(w, Server::Broken), |w| set(w, Server::Truth)), "broken answer");
    checked(run(dns, |w| set(w, Server::Silent), |w| set(w, Server::Truth)), "is now offline");
    checked(
        run(
            &format!("{tcp},{dns}"),
            |w| (w.networks[0].has_upstream, w.networks[0].rejects) = (false, true),
            |w| w.networks[0].has_upstream = true,
        ),
        "unreachable",
    );
    // Sockets are closed, also of what is never answered.
    let (_, _, world) = run(tcp, |w| w.internet.ports.clear(), |_| {});
    assert!(world.open_sockets() == 0 && world.sent > 100, "{}", world.sent);
}

/// Without a route the name server cannot be asked, and without the name there is no route: the
/// gateway stands in.
fn a_name_that_is_a_target_needs_no_route_of_its_own() {
    let mut world = router(2);
    name(&mut world, "host.example", OLD, 60);
    set(&mut world, Server::Silent);
    world.when(at(5 * MINUTE), |world| set(world, Server::Truth));
    world.when(at(10 * MINUTE), |world| world.networks[0].has_upstream = false);
    world.when(at(20 * MINUTE), |world| world.networks[0].has_upstream = true);
    world.signal(at(30 * MINUTE), STOP);
    let world = world.run(&failover("host.example", ""));
    assert_eq!(said(&world, "a (wan0) is now offline"), 1);
    assert_eq!(said(&world, "a (wan0) is now online"), 1);
    assert_eq!(said(&world, "b (wan1) is now offline"), 0);
    let by = |to: IpAddr| {
        world.probes.iter().flatten().filter(move |probe| probe.to == to).map(|probe| probe.at)
    };
    assert!(by(OLD.into()).all(|at_| at_ >= at(5 * MINUTE)), "not before its name is known");
    assert!(
        by([192, 168, 42, 1].into()).all(|at_| at_ < at(6 * MINUTE + 5)),
        "the gateway only until then"
    );
}
