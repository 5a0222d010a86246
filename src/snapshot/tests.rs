use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::addr::family::Family;
use crate::base::time::Instant;
use crate::monitor::ddns::sinks::SinkSetup;
use crate::monitor::ddns::source::Source;
use crate::monitor::ddns::{self, Found, LookupPath, NotFound, TrackSetup};
use crate::monitor::failover::health::Quality;
use crate::monitor::failover::{self, WanSetup};
use crate::monitor::{Effect, Observation, updown};
use crate::probe::ProbeId;
use crate::probe::round::Plan;
use crate::routing::{LinkState, WanPath};

const MS: Duration = Duration::from_millis(1);
/// When the clock of these tests says 0.
const START: i64 = 1_795_330_107;

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

/// The wall-clock time of a moment, as it is written.
fn wall(ms: u64) -> Value {
    clock(ms).wall.to_string().into()
}

fn clock(ms: u64) -> Clock {
    let nanos = u32::try_from(ms % 1000).unwrap() * 1_000_000;
    Clock { now: at(ms), wall: Wall { secs: START + i64::try_from(ms / 1000).unwrap(), nanos } }
}

fn plan() -> Plan {
    Plan::new(MS * 1000, 2, MS * 1000)
}

/// Every host has the address 192.0.2.N, with its number; one does not have any.
fn address(owner: Owner) -> Option<IpAddr> {
    let last = u8::try_from(owner).ok().filter(|n| *n != 99)?;
    Some([192, 0, 2, last].into())
}

fn sources(ms: u64) -> Sources<'static> {
    Sources {
        instance: "main",
        pid: 4711,
        started: Wall { secs: START, nanos: 0 },
        clock: clock(ms),
        address: &address,
        ddns: None,
        updown: None,
        failover: None,
        kernel: None,
        ping: None,
        actions: (3, 2, 1),
    }
}

fn written(sources: &Sources<'_>) -> Value {
    let mut out = b"what was there before".to_vec();
    write(sources, &mut out);
    assert!(out.ends_with(b"}\n") && out.iter().filter(|b| **b == b'\n').count() == 1);
    serde_json::from_slice(&out).unwrap()
}

/// Ticks a monitor every 5 ms from `from` to `to`; a reply to each probe comes at the next tick
/// where `answers`.
fn run(
    from: u64,
    to: u64,
    answers: impl Fn(Owner) -> bool,
    on: &mut dyn FnMut(Instant, &Observation<'_>, &mut Vec<Effect>),
) {
    let mut replies: Vec<ProbeId> = Vec::new();
    for ms in (from..=to).step_by(5) {
        let mut out = Vec::new();
        for id in std::mem::take(&mut replies) {
            on(at(ms), &Observation::Reply(id, MS * 5), &mut out);
        }
        on(at(ms), &Observation::Tick, &mut out);
        let mut done = 0;
        while let Some(effect) = out.get(done).cloned() {
            done += 1;
            match effect {
                Effect::Probe(id) if answers(id.owner) => replies.push(id),
                Effect::Route(wan) => {
                    on(at(ms), &Observation::Routed { wan, result: Ok(()) }, &mut out)
                }
                _ => {}
            }
        }
    }
}

#[test]
fn what_is_true_of_the_whole_is_there_without_any_monitor() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        written(&sources(61_500)),
        json!({
            "schema": 1, "version": version, "instance": "main", "pid": 4711, "since": wall(0), "written": wall(61_500),
            "actions": {"waiting": 3, "running": 2, "failed": 1}, "monitors": {}
        })
    );
}

#[test]
fn an_address_that_is_watched() {
    let setup = updown::UpdownSetup {
        target: (1, "one.example".into()),
        plan: plan(),
        fall: 1,
        rise: 1,
        secondaries: vec![
            (2, "two.example".into()),
            (3, "three.example".into()),
            (99, "four.example".into()),
        ],
        dns: Some(updown::OpinionSetup {
            server: (4, "8.8.8.8".into()),
            name: "microsoft.com".into(),
        }),
    };
    let mut monitor = Updown::new(setup, at(0));
    let shown = |monitor: &Updown, ms| {
        let updown =
            written(&Sources { updown: Some(monitor), ..sources(ms) })["monitors"]["updown"]
                .clone();
        assert!(updown.is_object());
        updown
    };
    let unknown = shown(&monitor, 0);
    assert_eq!(unknown["state"], "unknown");
    assert_eq!(
        (unknown.get("since"), &unknown["last"], &unknown["reason"]),
        (None, &Value::Null, &Value::Null)
    );
    run(0, 2_500, |_| true, &mut |now, seen, out| monitor.on(now, seen, out));
    let online = shown(&monitor, 2_500);
    assert_eq!(
        (
            &online["target"],
            &online["address"],
            &online["state"],
            &online["since"],
            &online["reason"]
        ),
        (&"one.example".into(), &"192.0.2.1".into(), &"online".into(), &wall(5), &Value::Null)
    );
    assert_eq!((online.get("outage_seconds"), online.get("dns")), (None, None));
    assert_eq!(
        online["last"],
        json!({
            "start": wall(2_000), "alive": true, "min_ms": 5.0, "avg_ms": 5.0, "max_ms": 5.0, "loss": 0.0,
            "jitter_ms": 0.0
        })
    );
    assert_eq!(
        online["probes"],
        json!({"sent": 3, "replies": 3, "late": 0, "duplicates": 0, "checks": 3})
    );
    let states = |shown: &Value| -> Vec<String> {
        let all = shown["secondaries"].as_array().unwrap().iter();
        all.map(|one| {
            format!("{} {}", one["target"].as_str().unwrap(), one["state"].as_str().unwrap())
        })
        .collect()
    };
    assert_eq!(
        states(&online),
        ["two.example online", "three.example online", "four.example online"]
    );
    assert_eq!(
        states(&unknown),
        ["two.example unknown", "three.example unknown", "four.example unknown"]
    );
    run(2_505, 8_000, |owner| owner == 2, &mut |now, seen, out| monitor.on(now, seen, out));
    let offline = shown(&monitor, 8_000);
    assert_eq!((&offline["state"], &offline["since"]), (&"offline".into(), &wall(3_000)));
    assert_eq!(
        (&offline["reason"], &offline["dns"]),
        (&"no reply".into(), &"no answer in time".into())
    );
    assert_eq!(
        (&offline["outage_seconds"], &offline["last"]["alive"]),
        (&json!(5.0), &json!(false))
    );
    assert_eq!(
        states(&offline),
        ["two.example online", "three.example offline", "four.example offline"]
    );
    // Why DNS was not believed is of no interest when it is over.
    run(8_005, 12_000, |_| true, &mut |now, seen, out| monitor.on(now, seen, out));
    assert_eq!(
        (shown(&monitor, 12_000).get("dns"), &shown(&monitor, 12_000)["state"]),
        (None, &"online".into())
    );
}

#[test]
fn addresses_whose_statistics_are_wanted() {
    let targets: Vec<Rc<str>> =
        vec!["one.example".into(), "two.example".into(), "three.example".into()];
    let mut monitor = Ping::new(97, &targets, Plan::new(MS * 3000, 1, MS * 500), at(0));
    run(0, 1_900, |owner| owner == 97, &mut |now, seen, out| monitor.on(now, seen, out));
    let status = written(&Sources { ping: Some(&monitor), ..sources(1_900) });
    let list = status["monitors"]["ping"]["targets"].as_array().unwrap();
    let facts: Vec<_> =
        list.iter().map(|t| [&t["target"], &t["state"], &t["address"], &t["reason"]]).collect();
    let null = Value::Null;
    assert_eq!(
        facts,
        [
            [&"one.example".into(), &"online".into(), &"192.0.2.97".into(), &null],
            [&"two.example".into(), &"offline".into(), &"192.0.2.98".into(), &"no reply".into()],
            [&"three.example".into(), &"unknown".into(), &null, &null],
        ]
    );
    assert_eq!((&list[1]["last"]["start"], &list[1]["last"]["loss"]), (&wall(1_000), &json!(1.0)));
    assert_eq!((&list[2]["last"], list[0].get("since")), (&null, None));
}

fn ready(wan: u8) -> LinkState {
    let address = Ipv4Addr::new(192, 168, 42 + 20 * wan, 2);
    let gateway = Some(Ipv4Addr::new(192, 168, 42 + 20 * wan, 1));
    LinkState::Ready(WanPath { index: 3 + u32::from(wan), address, gateway, peer: None })
}

fn failover() -> Failover {
    let wan = |n: u32| WanSetup {
        name: format!("net{n}").into(),
        device: format!("wan{n}").into(),
        targets: vec![(n, "gateway".into())],
        by_gateway: true,
        postping: None,
    };
    let setup = failover::FailoverSetup {
        wans: vec![wan(0), wan(1)],
        plan: plan(),
        min_up: 1,
        quality: Quality::default(),
        prefer_first: true,
        hold_down: MS * 10_000,
        idle_interval: Some(MS * 300_000),
        remind: None,
        adopted: None,
    };
    Failover::new(setup, at(0))
}

#[test]
fn networks_of_which_one_carries_the_traffic() {
    let mut monitor = failover();
    let shown = |monitor: &Failover, kernel: Option<KernelRoutes<'_>>, ms| {
        written(&Sources { failover: Some(monitor), kernel, ..sources(ms) })["monitors"]["failover"]
            .clone()
    };
    let unknown = shown(&monitor, None, 0);
    assert_eq!(
        (
            &unknown["active"],
            &unknown["last_switch"],
            &unknown["switches"],
            unknown.get("refused"),
            unknown.get("beside")
        ),
        (&Value::Null, &Value::Null, &json!(0), None, None)
    );
    assert_eq!(
        unknown["wans"][0],
        json!({
            "role": "Primary", "name": "net0", "interface": "wan0", "state": "unknown", "since": null, "reason": null,
            "active": false, "address": null, "gateway": null, "loss": null, "rtt_ms": null,
            "targets": [{
                "target": "gateway", "address": "192.0.2.0", "state": "unknown", "reason": null, "rtt_ms": null,
                "probes": {"sent": 0, "replies": 0, "late": 0, "duplicates": 0, "checks": 0}
            }]
        })
    );
    monitor.on(at(0), &Observation::Links(&[ready(0), ready(1)]), &mut Vec::new());
    run(0, 2_500, |_| true, &mut |now, seen, out| monitor.on(now, seen, out));
    let kernel = KernelRoutes {
        default_route: Some("default via 192.168.42.1 dev wan0".to_owned()),
        outranked: Some("ip rule pref 5"),
        refusals: vec![Some("not told while it works"), None],
        beside: vec![("narrow", "ip route x", "it keeps its traffic")],
    };
    let both = shown(&monitor, Some(kernel), 2_500);
    assert_eq!(
        (&both["active"], &both["default_route"], &both["outranked_by"]),
        (&"wan0".into(), &"default via 192.168.42.1 dev wan0".into(), &"ip rule pref 5".into())
    );
    assert_eq!(
        both["beside"],
        json!([{"kind": "narrow", "what": "ip route x", "text": "it keeps its traffic"}])
    );
    assert_eq!(both["last_switch"], json!({"time": wall(5), "to": "wan0", "cause": "start"}));
    let [primary, standby] = [&both["wans"][0], &both["wans"][1]];
    assert_eq!(
        (
            &primary["state"],
            &primary["since"],
            &primary["reason"],
            &primary["active"],
            primary.get("idle")
        ),
        (&"up".into(), &wall(5), &Value::Null, &json!(true), None)
    );
    assert_eq!(
        (
            &standby["role"],
            &standby["active"],
            &standby["idle"],
            &standby["gateway"],
            &standby["address"]
        ),
        (
            &"Standby".into(),
            &json!(false),
            &json!(true),
            &"192.168.62.1".into(),
            &"192.168.62.2".into()
        )
    );
    assert_eq!(
        (&primary["loss"], &primary["rtt_ms"], primary.get("advice")),
        (&json!(0.0), &json!(5.0), None)
    );
    assert_eq!(
        (&primary["targets"][0]["state"], &primary["targets"][0]["rtt_ms"]),
        (&"online".into(), &json!(5.0))
    );
    // Primary is silent, and comes back: its hold-down goes on.
    run(2_505, 6_000, |owner| owner == 1, &mut |now, seen, out| monitor.on(now, seen, out));
    let refusing = KernelRoutes {
        default_route: None,
        outranked: None,
        refusals: vec![None, None],
        beside: Vec::new(),
    };
    let one = shown(&monitor, Some(refusing), 6_000);
    let primary = &one["wans"][0];
    assert_eq!(
        (&one["active"], &one["switches"], &one["default_route"]),
        (&"wan1".into(), &json!(1), &Value::Null)
    );
    assert_eq!(
        (&primary["state"], &primary["since"], &primary["active"]),
        (&"down".into(), &wall(3_000), &json!(false))
    );
    let reason = primary["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("nothing answers: ") && primary["loss"].as_f64().unwrap() > 0.3,
        "{primary}"
    );
    let target = &primary["targets"][0];
    assert_eq!((&target["state"], &target["reason"]), (&"offline".into(), &"no reply".into()));
    // The kernel's own words say more.
    let refusing = KernelRoutes {
        default_route: None,
        outranked: None,
        refusals: vec![Some("Network is unreachable"), None],
        beside: Vec::new(),
    };
    assert_eq!(
        shown(&monitor, Some(refusing), 6_000)["wans"][0]["reason"],
        "Network is unreachable"
    );
    run(6_005, 9_000, |_| true, &mut |now, seen, out| monitor.on(now, seen, out));
    let trial = shown(&monitor, None, 9_000);
    let left = trial["wans"][0]["hold_down_left_seconds"].as_f64().unwrap();
    assert!((5.0..10.0).contains(&left), "{left}");
    assert_eq!(trial["wans"][1].get("hold_down_left_seconds"), None);
}

#[test]
fn a_network_that_never_answered_has_an_advice_and_a_refused_route_its_reason() {
    let mut monitor = failover();
    monitor.on(at(0), &Observation::Links(&[ready(0), LinkState::NoCarrier]), &mut Vec::new());
    run(0, 3_000, |_| false, &mut |now, seen, out| monitor.on(now, seen, out));
    let status = written(&Sources { failover: Some(&monitor), ..sources(3_000) });
    let wans = &status["monitors"]["failover"]["wans"];
    assert!(wans[0]["advice"].as_str().unwrap().ends_with("set primary-ping"), "{wans}");
    assert_eq!(
        (wans[1].get("advice"), &wans[1]["address"], &wans[1]["loss"]),
        (None, &Value::Null, &Value::Null)
    );
    assert_eq!(wans[1]["reason"], LinkState::NoCarrier.to_string());
    let mut monitor = failover();
    monitor.on(at(0), &Observation::Links(&[ready(0), ready(1)]), &mut Vec::new());
    let refuse = |now, seen: &Observation<'_>, out: &mut Vec<Effect>| match seen {
        Observation::Routed { wan, .. } => {
            monitor.on(
                now,
                &Observation::Routed { wan: *wan, result: Err("Network is unreachable".into()) },
                out,
            );
        }
        seen => monitor.on(now, seen, out),
    };
    run(0, 1_000, |_| true, &mut { refuse });
    let status = written(&Sources { failover: Some(&monitor), ..sources(1_000) });
    let failover = &status["monitors"]["failover"];
    assert_eq!(
        (&failover["refused"], &failover["active"]),
        (&"Network is unreachable".into(), &Value::Null)
    );
}

#[test]
fn the_external_address_its_sources_and_who_was_told() {
    let sink = |name: &str, update| SinkSetup { name: name.into(), print: 1, update };
    let track = |family, wan: &str| TrackSetup {
        family,
        wan: wan.into(),
        sinks: vec![sink("action script", None), sink("home at x", Some(0))],
    };
    let setup = ddns::DdnsSetup {
        sources: vec![Source::parse("dns:opendns").unwrap(), Source::parse("dns:google").unwrap()],
        tracks: vec![track(Family::V4, "wan1"), track(Family::V6, "")],
        interval: MS * 10_000,
        announce_start: false,
        refresh: None,
        seed: 5,
    };
    let mut monitor = Ddns::new(setup);
    let shown = |monitor: &Ddns, ms| {
        written(&Sources { ddns: Some(monitor), ..sources(ms) })["monitors"]["ddns"]["addresses"]
            .clone()
    };
    assert_eq!(
        shown(&monitor, 0)[1],
        json!({
            "family": "6", "state": "unknown", "address": null, "since": null, "reason": null, "nat": null,
            "sources": [
                {"source": "dns:opendns", "operator": "opendns.com", "asked": null, "address": null, "problem": null},
                {"source": "dns:google", "operator": "google.com", "asked": null, "address": null, "problem": null}
            ],
            "published": [
                {"to": "action script", "address": null, "since": null, "tries": 0, "problem": null, "stopped": false},
                {"to": "home at x", "address": null, "since": null, "tries": 0, "problem": null, "stopped": false}
            ]
        })
    );
    let mut out = Vec::new();
    monitor.on(
        at(1_000),
        &Observation::Ways(&[LookupPath::Ready("x".into()), LookupPath::Ready("y".into())]),
        &mut out,
    );
    for ms in (1_000..=700_000).step_by(1_000) {
        monitor.on(at(ms), &Observation::Tick, &mut out);
        for effect in std::mem::take(&mut out) {
            let Effect::Lookup(id) = effect else { continue };
            let found = match id.track {
                0 => Ok(Found {
                    address: [203, 0, 113, 1].into(),
                    local: Some([100, 64, 0, 9].into()),
                }),
                _ => Err(NotFound { why: "HTTP status 429".into(), unwanted: true }),
            };
            monitor.on(at(ms + 20), &Observation::Found(id, &found), &mut out);
        }
    }
    let tracks = shown(&monitor, 701_000);
    let [known, lost] = [&tracks[0], &tracks[1]];
    assert_eq!(
        (&known["family"], &known["wan"], &known["state"], &known["address"], &known["nat"]),
        (
            &"4".into(),
            &"wan1".into(),
            &"known".into(),
            &"203.0.113.1".into(),
            &Nat::CarrierGrade.word().into()
        )
    );
    assert_eq!(
        (&known["reason"], &known["sources"][0]["address"]),
        (&Value::Null, &"203.0.113.1".into())
    );
    assert!(known["since"].is_string() && known["sources"][0]["asked"].is_string(), "{known}");
    assert_eq!(
        (lost.get("wan"), &lost["state"], &lost["since"]),
        (None, &"lost".into(), &Value::Null)
    );
    assert_eq!(
        (lost["reason"].is_string(), &lost["sources"][0]["problem"]),
        (true, &"HTTP status 429".into())
    );
    assert!(
        lost["sources"][0]["left_out"].is_string() && known["sources"][0].get("left_out").is_none(),
        "{lost}"
    );
    // A day later it is asked again.
    assert_eq!(shown(&monitor, 90_000_000)[1]["sources"][0].get("left_out"), None);
}
