//! Names and those who know them, and the pages that tell the external address.

use std::net::{IpAddr, Ipv4Addr};

use libtest_mimic::Trial;
use serde_json::json;

use super::play::*;
use super::scenarios;
use crate::internet::{Manner, Name, Server};
use crate::sim::SimWorld;

pub(super) fn tests() -> Vec<Trial> {
    scenarios![
        b1_a_name_that_stops_resolving_is_probed_at_its_last_address,
        b1_one_that_has_never_resolved_is_offline_and_picked_up,
        b22_b23_what_is_not_the_address_is_never_told,
        b31_made_up_answers_refute_nothing,
        d5_a_thousand_names_that_do_not_exist_cost_a_few_questions_a_second,
    ]
}

const SERVER: [u8; 4] = [198, 51, 100, 53];
const HOST: [u8; 4] = [203, 0, 113, 1];
const HOUR: f64 = 3600.0;

/// With a name server, and a default route over the first network.
fn with_names(play: Play, manner: Server) -> Play {
    play.given(add_route(default_by(WAN1, GATEWAYS[0], 100))).given(|world| {
        let conf = format!("nameserver {}\n", Ipv4Addr::from(SERVER));
        world.files.insert("/etc/resolv.conf".into(), conf.into());
        world.internet.servers.insert(SERVER.into(), manner);
        world.internet.zone.insert("host.example".to_owned(), Name::v4(HOST, 60));
        world.internet.zone.insert("example.com".to_owned(), Name::v4([198, 51, 100, 80], 60));
    })
}

fn server(manner: Server) -> impl FnOnce(&mut SimWorld) {
    move |world| _ = world.internet.servers.insert(SERVER.into(), manner)
}

fn updown(name: &str) -> Play {
    let updown =
        json!({ "enable": true, "interval": 10, "pingcount": 2, "pingwait": 1, "monitorip": name });
    Play::with(json!({ "updown": updown }))
}

fn b1_a_name_that_stops_resolving_is_probed_at_its_last_address() {
    let play = with_names(updown("host.example"), Server::Truth).at(600.0, server(Server::Silent));
    // An hour later, and the name is still not known, the host itself is out.
    let dead = |hosts: Vec<IpAddr>| move |world: &mut SimWorld| world.networks[0].dead = hosts;
    let story = play.at(4200.5, dead(vec![HOST.into()])).at(4260.5, dead(Vec::new())).run(5000.0);
    story.tells(&[
        "Monitored IP host.example offline",
        "Outage Duration: 0 days 0 hours, 0 minutes 51 seconds",
    ]);
    assert!((4200.0..4215.0).contains(&story.time("host.example offline")), "{:#?}", story.log());
}

fn b1_one_that_has_never_resolved_is_offline_and_picked_up() {
    let play =
        with_names(updown("host.example"), Server::Verdict(2)).at(600.0, server(Server::Truth));
    let story = play.run(900.0);
    story.tells(&["Monitored IP host.example offline", "Monitored IP host.example online"]);
    assert!((600.0..670.0).contains(&story.time("host.example online")), "{:#?}", story.log());
}

fn b22_b23_what_is_not_the_address_is_never_told() {
    for body in [
        "fe80::1%x;touch${IFS}/x",
        "$(touch /x)",
        "203.0.113.9 203.0.113.8",
        "10.0.0.1",
        "<html>",
        "",
    ] {
        for status in [200, 500] {
            let manner = Manner::Status(status, body);
            let ddns = json!({ "enable": true, "interval": 60, "sources": ["http://a.example/", "dns:opendns", "dns:google"] });
            let mut play = with_names(Play::with(json!({ "ddns": ddns })), Server::Truth);
            play = play.at(600.0, move |world| {
                _ = world.internet.sources.insert("http://a.example/".to_owned(), manner)
            });
            let story = play.run(HOUR);
            let looks = story.world.internet.looks.iter();
            assert!(
                looks
                    .filter(|look| look.at > at(600.0) && look.source == "http://a.example/")
                    .count()
                    > 0
            );
            assert_eq!(
                story.called("ddns-ip-update"),
                ["ddns-ip-update 81.2.69.3 unknown"],
                "{status} {body}"
            );
        }
    }
}

/// Reported as issue 5 of V2.99 as well: a router whose line is dead answers every question with
/// its own address.
fn b31_made_up_answers_refute_nothing() {
    for (manner, refuted) in [
        (Server::Truth, true),
        (Server::Everything([192, 168, 42, 1].into()), false),
        (Server::Everything(Ipv4Addr::LOCALHOST), false),
        (Server::Verdict(3), false),
        (Server::Silent, false),
    ] {
        let play = updown("203.0.113.1").set("updown", "dnsserver", "198.51.100.53");
        let play = with_names(play.set("updown", "dnslookup", "example.com"), manner);
        let dead = |hosts: Vec<IpAddr>| move |world: &mut SimWorld| world.networks[0].dead = hosts;
        let story = play.at(60.5, dead(vec![HOST.into()])).at(120.5, dead(Vec::new())).run(180.0);
        assert_eq!(
            story.count("refuted by DNS query") > 0,
            refuted,
            "{manner:?}: {:#?}",
            story.log()
        );
        assert_eq!(
            story.called("updown-offline").len(),
            usize::from(!refuted),
            "{manner:?}: {:?}",
            story.calls()
        );
    }
}

fn d5_a_thousand_names_that_do_not_exist_cost_a_few_questions_a_second() {
    let names: Vec<String> = (0..1000).map(|n| format!("n{n}.does.not.exist")).collect();
    let ping = json!({ "enable": true, "interval": 1, "pingcount": 1, "pingwait": 0.5, "monitorip": names.join(",") });
    let mut play = with_names(Play::with(json!({ "ping": ping })), Server::Truth);
    for n in 0..150 {
        play.world.signal(at(300.0 + 0.2 * f64::from(n)), USR1);
    }
    let story = play.run(400.0);
    let asked = |from: f64, to: f64| {
        story.world.asked.iter().filter(|q| q.at >= at(from) && q.at < at(to)).count()
    };
    assert!(asked(0.0, 290.0) >= 1000, "each once");
    assert!(asked(290.0, 400.0) <= 110 * 4 + 40, "{}", asked(290.0, 400.0));
}
