//! The external address by pages and name servers that tell the truth, lie or are not there, and
//! those who are told it.

use std::net::Ipv4Addr;
use std::time::Duration;

use imon::engine::world::Arrived;
use imon::engine::world::Ending;
use libtest_mimic::Trial;

use crate::house::{MINUTE, STOP, at, name, router, said};
use crate::internet::Manner;
use crate::sim::{INSTANCE, SimWorld, seconds};

pub fn tests() -> Vec<Trial> {
    let trial = |name: &str, test: fn()| {
        Trial::test(format!("providers::{name}"), move || {
            test();
            Ok(())
        })
    };
    vec![
        trial("a_new_address_is_told_to_all_once", a_new_address_is_told_to_all_once),
        trial("liars_of_one_kind_are_not_believed", liars_of_one_kind_are_not_believed),
        trial(
            "sources_that_do_not_answer_are_passed_over",
            sources_that_do_not_answer_are_passed_over,
        ),
        trial("a_login_page_is_no_address", a_login_page_is_no_address),
        trial("the_network_in_use_is_what_counts", the_network_in_use_is_what_counts),
        trial("each_network_has_its_own_address", each_network_has_its_own_address),
        trial("what_a_provider_says_is_done", what_a_provider_says_is_done),
        trial("whoever_is_not_heard_is_told_again", whoever_is_not_heard_is_told_again),
        trial("an_address_that_comes_back_is_told_again", an_address_that_comes_back_is_told_again),
        trial(
            "a_kill_while_a_provider_is_told_repeats_nothing",
            a_kill_while_a_provider_is_told_repeats_nothing,
        ),
        trial(
            "the_external_ipv6_address_is_that_of_the_router",
            the_external_ipv6_address_is_that_of_the_router,
        ),
    ]
}

const CHECK_NOW: Arrived = Arrived { check_now: true, stop: false, reload: false, child: false };
const S: &str = if cfg!(feature = "tls") { "https" } else { "http" };
const FIRST: Ipv4Addr = Ipv4Addr::new(81, 2, 69, 3);
const SECOND: Ipv4Addr = Ipv4Addr::new(81, 2, 70, 1);
const LIE: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 9);
const SOURCES: [&str; 5] = ["a.example", "b.example", "dns:opendns", "dns:google", "plain.example"];

fn source(name: &str) -> String {
    match name {
        "plain.example" => format!("http://{name}/"),
        page if page.ends_with("example") => format!("{S}://{page}/"),
        other => other.to_owned(),
    }
}

fn config(more: &str) -> String {
    let sources: Vec<String> = SOURCES.iter().map(|name| format!("{:?}", source(name))).collect();
    format!(
        r#"{{"global": {{"action": "/script"}}, "ddns": {{"enable": true, "interval": 60, "sources": [{}],
        "update": [{{"type": "dyndns2", "server": "{S}://dyn.example", "hostname": "home.example", "username": "me",
            "password": "secret", "insecure": true}},
            {{"type": "url", "url": "{S}://duck.example/update?ip={{ip}}&token={{secret}}", "secret": "secret",
            "ok": "OK", "insecure": true}}]}} {more}}}"#,
        sources.join(", ")
    )
}

/// An hour in which the first network gets another address after half of it.
fn world(wans: usize) -> SimWorld {
    let mut world = router(wans);
    for host in ["a.example", "b.example", "plain.example", "dyn.example", "duck.example"] {
        name(&mut world, host, [198, 51, 100, 80], 3600);
    }
    world.when(at(30 * MINUTE), |world| world.networks[0].external = SECOND);
    world.signal(at(60 * MINUTE), STOP);
    world
}

fn set(world: &mut SimWorld, name: &str, manner: Manner) {
    world.internet.sources.insert(source(name), manner);
}

/// Who was told what, and when.
fn told(world: &SimWorld) -> Vec<(String, String, f64)> {
    let taken = world.internet.taken.iter().filter(|taken| taken.reached);
    let mut all: Vec<_> =
        taken.map(|t| (t.provider.clone(), t.address.to_string(), seconds(t.at))).collect();
    let calls = world.calls.iter().filter(|call| call.words[0] == "ddns-ip-update");
    all.extend(calls.map(|call| ("script".to_owned(), call.words[1].clone(), seconds(call.at))));
    all.sort_by(|a, b| a.2.total_cmp(&b.2).then_with(|| a.0.cmp(&b.0)));
    all
}

/// What all three were told, each once, in this order.
fn assert_told(world: &SimWorld, addresses: &[Ipv4Addr]) {
    let told = told(world);
    for who in ["script", "dyn.example", "duck.example"] {
        let mine: Vec<_> =
            told.iter().filter(|(whom, ..)| whom == who).map(|(_, what, _)| what.clone()).collect();
        let all: Vec<_> = addresses.iter().map(Ipv4Addr::to_string).collect();
        assert_eq!(mine, all, "{who}: {told:?}");
    }
}

fn a_new_address_is_told_to_all_once() {
    let world = world(1).run(&config(""));
    assert_told(&world, &[FIRST, SECOND]);
    let last = told(&world).last().unwrap().2;
    assert!((1800.0..1800.0 + 3.0 * 60.0).contains(&last), "{last}");
    assert_eq!(said(&world, "another router translates in front of it"), 1);
    // No operator more than once in five minutes, but for the surveys at the start and at the
    // change.
    for name in SOURCES {
        let looks = world.internet.looks.iter().filter(|look| look.source == source(name)).count();
        assert!(looks <= 3600 / 300 + 3, "{name}: {looks}");
    }
}

fn liars_of_one_kind_are_not_believed() {
    // All that is not secured passes by somebody.
    let mut some = world(1);
    some.when(at(10 * MINUTE), |world| world.networks[0].proxy = Some(LIE));
    assert_told(
        &some.run(&config("")),
        if cfg!(feature = "tls") { &[FIRST, SECOND] } else { &[FIRST] },
    );
    for liars in
        [&["dns:opendns", "dns:google"][..], &["a.example"], &["plain.example"], &["dns:google"]]
    {
        let mut some = world(1);
        some.when(at(10 * MINUTE), move |world| {
            liars.iter().for_each(|name| set(world, name, Manner::Says(LIE)))
        });
        let some = some.run(&config(""));
        let what: Vec<_> = told(&some).into_iter().map(|(_, address, _)| address).collect();
        assert!(!what.contains(&LIE.to_string()), "{liars:?}: {what:?}");
        assert_told(&some, &[FIRST, SECOND]);
    }
    // They were there before imon.
    let mut some = world(1);
    some.networks[0].hijack = Some(LIE);
    some.internet.zone.clear();
    let some = some.run(&config(""));
    assert!(told(&some).is_empty(), "{:?}", told(&some));
}

fn sources_that_do_not_answer_are_passed_over() {
    for manner in [
        Manner::Status(503, "busy"),
        Manner::Status(429, "slower"),
        Manner::Status(200, "<html>81.2.69.142</html>"),
        Manner::Status(200, "192.168.1.1"),
        Manner::Silent,
        Manner::Late(Duration::from_secs(8)),
        Manner::Hangs,
        Manner::Dies,
    ] {
        let mut world = world(1);
        set(&mut world, "a.example", manner.clone());
        set(&mut world, "dns:opendns", manner.clone());
        let world = world.run(&config(""));
        assert_told(&world, &[FIRST, SECOND]);
        let first = told(&world)[0].2;
        // Each takes as long as a lookup may, and a moment more where its worker must be ended.
        assert!(first < 15.0, "{manner:?}: {first}");
        if manner == Manner::Status(429, "slower") {
            let looks = world
                .internet
                .looks
                .iter()
                .filter(|look| look.source == source("a.example"))
                .count();
            assert!(looks <= 2, "it does not want to be asked: {looks}");
        }
    }
}

fn a_login_page_is_no_address() {
    let mut world = world(1);
    world.networks[0].portal = true;
    world.when(at(10 * MINUTE), |world| world.networks[0].portal = false);
    let world = world.run(&config(""));
    assert_told(&world, &[FIRST, SECOND]);
    assert!(
        told(&world)[0].2 > 600.0 && told(&world)[0].2 < 600.0 + 5.5 * 60.0,
        "{:?}",
        told(&world)
    );
}

const FAILOVER: &str = r#", "failover": {"enable": true, "interval": 10,
    "primary-if": "wan0", "primary-name": "a", "primary-gw": "192.168.42.1", "primary-ping": "203.0.113.7",
    "standby-if": "wan1", "standby-name": "b", "standby-gw": "192.168.62.1", "standby-ping": "203.0.113.7"}"#;

fn the_network_in_use_is_what_counts() {
    let mut world = world(2);
    world.when(at(10 * MINUTE), |world| world.networks[0].has_upstream = false);
    let world = world.run(&config(FAILOVER));
    assert_told(&world, &[FIRST, Ipv4Addr::new(81, 2, 69, 4)]);
    let second = told(&world)[3].2;
    assert!((600.0..630.0).contains(&second), "{second}");
}

fn each_network_has_its_own_address() {
    let config =
        config(FAILOVER).replacen("\"enable\": true,", "\"enable\": true, \"per-wan\": true,", 1);
    let mut world = world(2);
    world.when(at(10 * MINUTE), |world| world.networks[0].has_upstream = false);
    world.when(at(20 * MINUTE), |world| world.networks[0].has_upstream = true);
    let world = world.run(&config);
    let mut script: Vec<_> =
        world.calls.iter().filter(|call| call.words[0] == "ddns-ip-update").collect();
    script.sort_by_key(|call| (call.at, call.words[1].clone()));
    let wan = |call: &crate::sim::Call| {
        call.env.iter().find(|(key, _)| *key == "IMON_WAN").map(|(_, wan)| wan.clone())
    };
    let all: Vec<_> =
        script.iter().map(|call| (call.words[1].as_str(), wan(call).unwrap())).collect();
    let expected = [("81.2.69.3", "wan0"), ("81.2.69.4", "wan1"), ("81.2.70.1", "wan0")];
    assert_eq!(all, expected.map(|(address, wan)| (address, wan.to_owned())));
}

fn what_a_provider_says_is_done() {
    let run = |manner: Manner, until: u64| {
        let mut world = world(1);
        world.internet.providers.insert("dyn.example".to_owned(), manner);
        world.when(at(until), |world| world.internet.providers.clear());
        world.signal(at(90 * MINUTE), STOP);
        world.run(&config(""))
    };
    let first = |world: &SimWorld| {
        told(world).iter().find(|(who, ..)| who == "dyn.example").map(|(.., at)| *at)
    };
    // 911: not before half an hour is over.
    let world = run(Manner::Status(200, "911"), 5 * MINUTE);
    assert!(first(&world).is_some_and(|at| at >= 1800.0), "{:?}", first(&world));
    // An error: after 1, 2, 4 … minutes.
    let world = run(Manner::Status(503, "busy"), 5 * MINUTE);
    assert!(first(&world).is_some_and(|at| (420.0..425.0).contains(&at)), "{:?}", first(&world));
    let world = run(Manner::Says(LIE), 5 * MINUTE);
    assert!(first(&world).is_some_and(|at| (420.0..425.0).contains(&at)), "{:?}", first(&world));
    // Wrong words: never again, and once told, whatever the address becomes.
    let world = run(Manner::Status(200, "badauth"), 5 * MINUTE);
    assert_eq!(first(&world), None);
    assert_eq!(said(&world, "is not tried again until its configuration changes: badauth"), 1);
}

fn whoever_is_not_heard_is_told_again() {
    for manner in
        [Manner::Unheard, Manner::Hangs, Manner::Dies, Manner::Late(Duration::from_secs(20))]
    {
        let mut world = world(1);
        world.internet.providers.insert("dyn.example".to_owned(), manner.clone());
        world.when(at(MINUTE / 2), |world| world.internet.providers.clear());
        let world = world.run(&config(""));
        let mine: Vec<_> =
            told(&world).into_iter().filter(|(who, ..)| who == "dyn.example").collect();
        let what: Vec<_> = mine.iter().map(|(_, what, _)| what.as_str()).collect();
        assert_eq!(what, ["81.2.69.3", "81.2.69.3", "81.2.70.1"], "{manner:?}");
        assert!(mine[1].2 < 90.0, "{manner:?}: {mine:?}");
    }
}

/// A provider has taken an address, and was not heard. It has that one still when the old one is
/// back.
fn an_address_that_comes_back_is_told_again() {
    let mut world = world(1);
    world.when(at(29 * MINUTE), |world| {
        _ = world.internet.providers.insert("dyn.example".into(), Manner::Unheard)
    });
    world.when(at(34 * MINUTE), |world| {
        world.networks[0].external = FIRST;
        world.internet.providers.clear();
        world.signal(at(34 * MINUTE + 1), CHECK_NOW);
    });
    let world = world.run(&config(""));
    let last = |who: &str| {
        told(&world).into_iter().rfind(|(whom, ..)| whom == who).map(|(_, what, _)| what)
    };
    for who in ["script", "dyn.example", "duck.example"] {
        assert_eq!(last(who), Some(FIRST.to_string()), "{who}: {:?}", told(&world));
    }
}

fn a_kill_while_a_provider_is_told_repeats_nothing() {
    let killed = |milliseconds: u64| {
        let mut world = world(1);
        world.script = Box::new(|_| (Duration::from_millis(300), Ending::Status(0)));
        for host in ["dyn.example", "duck.example"] {
            world
                .internet
                .providers
                .insert(host.to_owned(), Manner::Late(Duration::from_millis(400)));
        }
        let kill = at(30 * MINUTE) + Duration::from_millis(milliseconds);
        world.when(kill, |world| world.killed = true);
        world.run(&config("")).start(INSTANCE)
    };
    let mut between = 0;
    // From before the change is seen until after all is told.
    for step in 0..400 {
        let world = killed(step * 300);
        assert_told(&world, &[FIRST, SECOND]);
        let kill = 1800.0 + step as f64 * 0.3;
        between += usize::from(told(&world).iter().any(|(.., at)| (kill - 0.5..kill).contains(at)));
    }
    assert!(between >= 2, "{between}");
}

fn the_external_ipv6_address_is_that_of_the_router() {
    let config = config("").replacen(
        "\"enable\": true,",
        "\"enable\": true, \"families\": [\"4\", \"6\"],",
        1,
    );
    let mut world = world(1);
    for host in ["a.example", "b.example", "plain.example", "dyn.example", "duck.example"] {
        world.internet.zone.get_mut(host).unwrap().v6 = vec!["2001:db8:f00::80".parse().unwrap()];
    }
    let world = world.run(&config);
    let mut what: Vec<_> = told(&world).into_iter().map(|(who, what, _)| (who, what)).collect();
    what.retain(|(_, what)| what.contains(':'));
    what.sort();
    let own = "2001:db8:42::2".to_owned();
    assert_eq!(
        what,
        ["duck.example", "dyn.example", "script"].map(|who| (who.to_owned(), own.clone()))
    );
}
