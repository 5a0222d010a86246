use super::*;
use crate::base::time::Wall;
use crate::diagnose::WanEvidence;
use crate::diagnose::others::Detours;
use crate::diagnose::own::{Own, OwnWan};
use crate::diagnose::report::Conclusion;
use crate::diagnose::{ConfigEvidence, External, Instead, Mtu, Portal, ResolverEvidence};
use crate::routing::{Beside, BesideKind};

const RELEASED: i64 = 1_795_478_400;

fn got() -> TestReply {
    TestReply::Got(Duration::from_millis(12))
}

fn failed(why: &str) -> TestReply {
    TestReply::Failed(why.into(), Duration::from_secs(3))
}

fn good_way(device: &str) -> PathEvidence {
    let target = |a: &str| TargetEvidence {
        address: a.parse().unwrap(),
        ping: got(),
        tcp: got(),
        refused: false,
        rejected: false,
    };
    PathEvidence {
        device: device.to_owned(),
        link: LinkEvidence::Up,
        errors: None,
        address: Some("192.168.42.2/24".to_owned()),
        own_making: false,
        route: Some(format!("default via 192.168.42.1 dev {device}")),
        gateway: Some(GatewayEvidence {
            address: "192.168.42.1".parse().unwrap(),
            neighbour: NeighbourState::Answers,
            ping: got(),
            misplaced: false,
        }),
        targets: vec![target("1.1.1.1"), target("8.8.8.8")],
        page: false,
    }
}

/// Everything as it should be.
fn well_seen() -> Evidence {
    let wan = |role, device: &str| WanEvidence {
        role,
        label: format!("net ({device})"),
        way: good_way(device),
        barred: None,
        fixed: true,
        instead: Vec::new(),
        detours: Detours::default(),
        cure: None,
    };
    Evidence {
        offline: false,
        private: false,
        setup: ConfigEvidence {
            file: Some("/etc/default/imon-main".to_owned()),
            ..ConfigEvidence::default()
        },
        no_ping: None,
        now: Wall { secs: RELEASED + 1000, nanos: 0 },
        ahead: Some(0),
        main: good_way("wan1"),
        other_routes: Vec::new(),
        wans: vec![wan("primary", "wan1"), wan("standby", "wan2")],
        own: None,
        others: Vec::new(),
        resolvers: vec![ResolverEvidence {
            server: "8.8.8.8".to_owned(),
            reply: got(),
            lie: None,
            lost_with: None,
        }],
        direct: got(),
        direct_lie: None,
        portals: vec![Portal { url: "http://x/".to_owned(), reply: got(), instead: None }],
        externals: vec![External {
            source: "dns:opendns".to_owned(),
            reply: got(),
            address: Some("203.0.113.1".parse().unwrap()),
            local: Some("192.168.42.2".parse().unwrap()),
        }],
        mtu: Mtu {
            link: 1500,
            path: Some(1500),
            told: false,
            waiting: false,
            took: Duration::ZERO,
        },
        v6: Some(good_way("wan1")),
        v6_unused: false,
    }
}

fn silent(way: &mut PathEvidence) {
    for target in &mut way.targets {
        (target.ping, target.tcp) = (failed("no answer"), failed("no answer"));
    }
}

type Break = (&'static str, fn(&mut Evidence));

/// Every fault, from the nearest to the farthest. With two of them the first is named.
const FAULTS: &[Break] = &[
    ("configuration", |s| s.setup.errors.push("interval 0".to_owned())),
    ("no-carrier", |s| {
        s.main.link = LinkEvidence::NoCarrier;
        s.wans.iter_mut().for_each(|w| w.way.link = LinkEvidence::NoCarrier);
        silent(&mut s.main);
        s.wans.iter_mut().for_each(|w| silent(&mut w.way));
    }),
    ("no-address", |s| {
        s.main.address = None;
        silent(&mut s.main);
        s.wans.clear();
    }),
    ("no-route", |s| {
        s.main.route = None;
        silent(&mut s.main);
        s.wans.clear();
    }),
    ("gateway-dead", |s| {
        let gateway = s.main.gateway.as_mut().unwrap();
        (gateway.ping, gateway.neighbour) = (failed("no answer"), NeighbourState::Silent);
        silent(&mut s.main);
        s.wans.clear();
    }),
    ("provider-dead", |s| {
        silent(&mut s.main);
        s.wans.clear();
    }),
    ("captive-portal", |s| {
        s.portals[0].reply = failed("another page came");
        s.portals[0].instead = Some("one that leads to http://login/".to_owned());
    }),
    ("no-resolver", |s| s.resolvers.clear()),
    ("dns-blocked", |s| {
        s.resolvers.iter_mut().for_each(|r| r.reply = failed("no answer"));
        s.direct = failed("no answer");
    }),
    ("resolver-dead", |s| s.resolvers.iter_mut().for_each(|r| r.reply = failed("no answer"))),
    ("dns-hijacked", |s| s.direct_lie = Some("it says that x is y".to_owned())),
    ("clock-wrong", |s| s.now.secs = 0),
    ("resolver-partly-dead", |s| {
        let dead = ResolverEvidence {
            server: "9.9.9.9".to_owned(),
            reply: failed("no answer"),
            lie: None,
            lost_with: None,
        };
        s.resolvers.push(dead);
    }),
    ("mtu-black-hole", |s| s.mtu.path = Some(1400)),
    ("imon-differs", |s| {
        let wan =
            OwnWan { device: "wan1".to_owned(), state: "down".to_owned(), ..OwnWan::default() };
        s.own = Some(Own { wans: vec![wan], ..Own::default() });
    }),
    ("standby-unusable", |s| {
        if let Some(wan) = s.wans.get_mut(1) {
            silent(&mut wan.way);
        }
    }),
    ("ipv6-broken", |s| silent(s.v6.as_mut().unwrap())),
];

fn is_documented(verdict: &Conclusion) -> bool {
    use crate::diagnose::VERDICTS;
    let exit = |id: &str, exit: u8| exit == verdict.exit || (id == "wan-dead" && verdict.exit == 2);
    VERDICTS.iter().any(|(id, code, _)| *id == verdict.id && exit(id, *code))
}

#[test]
fn each_fault_has_a_verdict_and_a_sentence_of_its_own() {
    let mut said = vec![judge(&well_seen(), RELEASED).verdict];
    assert_eq!((said[0].id, said[0].exit), ("well", 0));
    for (id, make) in FAULTS {
        let mut seen = well_seen();
        make(&mut seen);
        let report = judge(&seen, RELEASED);
        assert_eq!(report.verdict.id, *id, "{report:#?}");
        assert!(report.verdict.exit > 0);
        assert!(is_documented(&report.verdict), "{report:#?}");
        assert!(
            report.tests.iter().any(|t| matches!(t.state, TestState::Fail | TestState::Warn)),
            "{report:#?}"
        );
        said.push(report.verdict);
    }
    for (at, one) in said.iter().enumerate() {
        assert!(
            said.iter().skip(at + 1).all(|other| other.id != one.id && other.text != one.text),
            "{one:?}"
        );
    }
}

#[test]
fn of_two_faults_the_nearer_one_is_named() {
    for (at, (near, make_near)) in FAULTS.iter().enumerate() {
        for (far, make_far) in FAULTS.iter().skip(at + 1) {
            // There is no way to tell the one from the other two at once.
            if *near == "no-resolver"
                && ["dns-blocked", "resolver-dead", "resolver-partly-dead"].contains(far)
            {
                continue;
            }
            let mut seen = well_seen();
            make_far(&mut seen);
            make_near(&mut seen);
            let found = judge(&seen, RELEASED).verdict.id;
            // A second dead name server, when the first is dead, too, is the same fault.
            assert!(
                found == *near || (*near == "dns-blocked" && *far == "resolver-partly-dead"),
                "{near} {far}: {found}"
            );
        }
    }
}

#[test]
fn what_depends_on_the_root_cause_is_not_tested() {
    let mut seen = well_seen();
    FAULTS[4].1(&mut seen);
    let report = judge(&seen, RELEASED);
    let failed: Vec<&str> =
        report.tests.iter().filter(|t| t.state == TestState::Fail).map(|t| t.id.as_str()).collect();
    assert_eq!(failed, ["gateway"]);
    let untested: Vec<&str> = report
        .tests
        .iter()
        .filter(|t| t.state == TestState::Untested)
        .map(|t| t.detail.as_str())
        .collect();
    assert!(
        untested.iter().all(|t| *t == "not tested (needs: gateway)") && untested.len() == 2,
        "{untested:?}"
    );
    assert!(report.verdict.text.ends_with("IPv6 works meanwhile."), "{}", report.verdict.text);
}

#[test]
fn c1_a_mistyped_gateway_is_told_from_one_that_is_dead() {
    let typo = |there: bool, taken: bool, leads: bool| {
        let mut seen = well_seen();
        let wan = &mut seen.wans[0];
        silent(&mut wan.way);
        let gateway = wan.way.gateway.as_mut().unwrap();
        gateway.address = "192.168.42.254".parse().unwrap();
        if !there {
            (gateway.ping, gateway.neighbour) = (failed("no answer"), NeighbourState::Silent);
        }
        let reply = if leads { got() } else { failed("no answer") };
        wan.instead.push(Instead { gateway: "192.168.42.1".parse().unwrap(), reply });
        if !taken {
            seen.main.device = "wan2".to_owned();
        }
        seen.wans[0].mistake(&seen.main, "/etc/default/imon-main")
    };
    let said = "primary-gw 192.168.42.254 does not answer, while 192.168.42.1 on wan1 leads to the internet: \
                write primary-gw 192.168.42.1 into /etc/default/imon-main";
    for (taken, leads) in [(false, true), (true, false), (true, true)] {
        assert_eq!(typo(false, taken, leads).as_deref(), Some(said));
    }
    // Nothing says that it is another one.
    assert_eq!(typo(false, false, false), None);
    // A modem with an outage, and another router in its network: nobody has mistyped anything.
    assert_eq!(typo(true, false, true), None);
    assert!(typo(true, true, false).unwrap().contains("is there and leads nowhere"));
    let mut seen = well_seen();
    seen.wans[0].instead.push(Instead { gateway: "192.168.42.9".parse().unwrap(), reply: got() });
    assert_eq!(seen.wans[0].mistake(&seen.main, "x"), None, "the configured one works");
}

#[test]
fn d11_what_imon_says_is_told_and_where_it_differs_all_is_not_well() {
    let mut seen = well_seen();
    let own = |device: &str, state: &str| OwnWan {
        device: device.to_owned(),
        state: state.to_owned(),
        since: Some(RELEASED + 1000 - 3 * 3600),
        ..OwnWan::default()
    };
    seen.own = Some(Own { wans: vec![own("wan1", "up"), own("wan2", "up")], ..Own::default() });
    let report = judge(&seen, RELEASED);
    assert_eq!(report.verdict.id, "well");
    let row =
        |report: &CheckReport, id: &str| report.tests.iter().find(|t| t.id == id).unwrap().clone();
    assert_eq!(
        row(&report, "imon:primary").detail,
        "imon itself takes net (wan1) for online since 3 hours"
    );
    let wans = &mut seen.own.as_mut().unwrap().wans;
    (wans[0].state, wans[0].silent) = ("down".to_owned(), vec!["192.168.42.1".to_owned()]);
    let report = judge(&seen, RELEASED);
    assert_eq!((report.verdict.id, report.verdict.exit), ("imon-differs", 1));
    for words in [
        "offline since 3 hours: 192.168.42.1 does not answer its probes",
        "works",
        "set primary-ping to 1.1.1.1",
    ] {
        assert!(report.verdict.text.contains(words), "{words}: {}", report.verdict.text);
    }
    assert_eq!(row(&report, "imon:primary").state, TestState::Warn);
    // Its own advice is better.
    seen.own.as_mut().unwrap().wans[0].advice = Some("set primary-ping, as it says".to_owned());
    assert!(judge(&seen, RELEASED).verdict.text.ends_with("set primary-ping, as it says."));
    // Both say that it is dead: no difference.
    silent(&mut seen.wans[1].way);
    seen.own.as_mut().unwrap().wans = vec![own("wan1", "up"), own("wan2", "down")];
    assert_eq!(judge(&seen, RELEASED).verdict.id, "standby-unusable");
}

#[test]
fn v5_v7_what_keeps_traffic_on_a_dead_network_is_named() {
    let mut seen = well_seen();
    let other =
        |kind, what: &str, wan, via_main| Beside { kind, what: what.to_owned(), wan, via_main };
    seen.others = vec![
        other(
            BesideKind::Yielded,
            "ip rule pref 32765 not fwmark 0xca6c lookup 51820",
            None,
            false,
        ),
        other(
            BesideKind::Narrow,
            "ip rule pref 5210 fwmark 0x80000/0xff0000 lookup main",
            Some(0),
            true,
        ),
    ];
    seen.wans[0].detours =
        Detours { first: vec!["8.8.8.8/32 via 192.168.42.1 dev wan1".to_owned()], count: 3 };
    let text = |seen: &Evidence| {
        judge(seen, RELEASED).text(crate::diagnose::report::Style { width: None, colour: false })
    };
    let well = text(&seen);
    assert!(
        well.starts_with("All is well") && well.contains("as a VPN does, and goes first"),
        "{well}"
    );
    assert!(
        well.contains("keeps its traffic over net (wan1), whatever imon chooses")
            && !well.contains("8.8.8.8/32")
    );
    seen.main = good_way("wan2");
    silent(&mut seen.wans[0].way);
    let dead = text(&seen);
    for words in [
        "0xff0000 lookup main' keeps its traffic on net (wan1), which does not work: set metric below",
        "'ip route 8.8.8.8/32 via 192.168.42.1 dev wan1', and 2 more keep their traffic on net (wan1)",
    ] {
        assert!(dead.contains(words), "{words}: {dead}");
    }
    let verdict = judge(&seen, RELEASED).verdict;
    assert!(
        verdict.id == "wan-dead" && verdict.text.contains("set metric below"),
        "{}",
        verdict.text
    );
}

#[test]
fn a_host_that_says_no_is_there() {
    let mut seen = well_seen();
    silent(&mut seen.main);
    seen.main.targets[0].refused = true;
    let report = judge(&seen, RELEASED);
    assert_eq!(report.verdict.id, "ping-filtered", "{report:#?}");
    // And a page is enough where nothing else gets through.
    seen.main.targets[0].refused = false;
    seen.main.page = true;
    assert_eq!(judge(&seen, RELEASED).verdict.exit, 0);
}

#[test]
fn without_sending_anything_the_links_of_both_networks_are_looked_at() {
    let mut seen = well_seen();
    seen.offline = true;
    for way in seen.wans.iter_mut().map(|w| &mut w.way).chain([&mut seen.main]) {
        way.targets
            .iter_mut()
            .for_each(|t| (t.ping, t.tcp) = (TestReply::NotAsked, TestReply::NotAsked));
    }
    assert_eq!(judge(&seen, RELEASED).verdict.id, "well-offline");
    seen.wans[1].way.link = LinkEvidence::NoCarrier;
    let verdict = judge(&seen, RELEASED).verdict;
    assert_eq!((verdict.id, verdict.exit), ("standby-unusable", 1));
    assert!(
        verdict.text.starts_with("net (wan2) could not take over: wan2 has no carrier."),
        "{}",
        verdict.text
    );
}

#[test]
fn a_clock_in_the_past_during_an_outage_is_no_root_cause() {
    let mut seen = well_seen();
    seen.now.secs = 0;
    silent(&mut seen.main);
    seen.wans.clear();
    let report = judge(&seen, RELEASED);
    assert_eq!(report.verdict.id, "provider-dead");
    assert!(report.tests.iter().any(|t| t.id == "clock" && t.state == TestState::Warn));
    for (ahead, words) in [
        (CLOCK_OFF + 60, "6 minutes ahead"),
        (-7200, "2 hours behind"),
        (400 * 86_400, "400 days ahead"),
    ] {
        let mut seen = well_seen();
        seen.ahead = Some(ahead);
        let text = judge(&seen, RELEASED).verdict.text;
        assert!(text.contains(words), "{text}");
    }
}

/// Whatever is seen, in whatever state: there is a verdict, and nothing panics.
#[test]
fn any_mixture_of_faults_has_a_verdict() {
    for mask in 0_u32..1 << FAULTS.len() {
        // Every 7th is plenty, and covers all pairs of neighbours.
        if mask % 7 != 0 {
            continue;
        }
        let mut seen = well_seen();
        for (at, (_, make)) in FAULTS.iter().enumerate() {
            if mask >> at & 1 == 1 {
                make(&mut seen);
            }
        }
        seen.offline = mask % 2 == 0;
        let report = judge(&seen, RELEASED);
        assert!(is_documented(&report.verdict), "{report:#?}");
    }
}

#[test]
fn a_refusal_counts_only_if_nobody_on_the_way_says_no() {
    let mut seen = well_seen();
    silent(&mut seen.main);
    seen.wans.clear();
    seen.v6 = None;
    for target in &mut seen.main.targets {
        (target.refused, target.rejected) = (true, true);
    }
    assert_eq!(judge(&seen, RELEASED).verdict.id, "provider-dead");
    seen.main.targets[1].rejected = false;
    assert_eq!(judge(&seen, RELEASED).verdict.id, "ping-filtered");
}

#[test]
fn a_gateway_that_nobody_could_ask_is_not_called_dead() {
    let mut seen = well_seen();
    silent(&mut seen.main);
    seen.wans.clear();
    seen.v6 = None;
    let gateway = seen.main.gateway.as_mut().unwrap();
    (gateway.ping, gateway.neighbour) = (TestReply::NotAsked, NeighbourState::Unknown);
    let verdict = judge(&seen, RELEASED).verdict;
    assert_eq!(verdict.id, "provider-dead");
    assert!(verdict.text.contains("whether your router does cannot be seen"), "{}", verdict.text);
    seen.main.gateway.as_mut().unwrap().neighbour = NeighbourState::Silent;
    assert_eq!(judge(&seen, RELEASED).verdict.id, "gateway-dead");
}

#[test]
fn of_two_dead_networks_both_are_named_the_nearer_fault_first() {
    let mut seen = well_seen();
    seen.main.device = "wan2".to_owned();
    seen.v6 = None;
    silent(&mut seen.main);
    seen.wans.iter_mut().for_each(|w| silent(&mut w.way));
    seen.wans[0].way.link = LinkEvidence::NoCarrier;
    let verdict = judge(&seen, RELEASED).verdict;
    assert_eq!((verdict.id, verdict.exit), ("no-carrier", 2));
    assert!(
        verdict.text.starts_with("No network works. net (wan1): wan1 has no carrier"),
        "{}",
        verdict.text
    );
    assert!(
        verdict.text.contains("net (wan2): its gateway 192.168.42.1 answers, nothing beyond"),
        "{}",
        verdict.text
    );
    // One of them works: that is another matter.
    seen.wans[0] = WanEvidence { way: good_way("wan1"), ..seen.wans[0].clone() };
    assert_eq!(judge(&seen, RELEASED).verdict.id, "wan-dead");
}

#[test]
fn a_mistyped_gateway_is_called_that() {
    let mut seen = well_seen();
    let way = &mut seen.wans[1].way;
    silent(way);
    let gateway = way.gateway.as_mut().unwrap();
    (gateway.ping, gateway.neighbour, gateway.misplaced) =
        (failed("no answer"), NeighbourState::Silent, true);
    let verdict = judge(&seen, RELEASED).verdict;
    assert_eq!(verdict.id, "standby-unusable");
    assert!(verdict.text.contains("in no network of wan2"), "{}", verdict.text);
    assert!(verdict.text.contains("correct the gateway in the configuration"), "{}", verdict.text);
}

#[test]
fn a_modem_that_is_not_plugged_in_does_not_make_the_configuration_wrong() {
    let mut seen = well_seen();
    seen.wans[1].way.link = LinkEvidence::Missing;
    silent(&mut seen.wans[1].way);
    let verdict = judge(&seen, RELEASED).verdict;
    assert_eq!((verdict.id, verdict.exit), ("standby-unusable", 1));
    assert!(
        verdict.text.contains("there is no interface wan2") && verdict.text.contains("plug it in"),
        "{}",
        verdict.text
    );
}

#[test]
fn the_clock_is_named_unless_names_are_why_it_is_wrong() {
    let mut seen = well_seen();
    seen.now.secs = 0;
    seen.resolvers[0].reply = failed("no answer");
    let report = judge(&seen, RELEASED);
    assert_eq!(report.verdict.id, "resolver-dead");
    assert!(report.tests.iter().any(|t| t.id == "clock" && t.state == TestState::Warn));
    assert!(
        report.verdict.text.contains("The clock is wrong, too (it is 1970-"),
        "{}",
        report.verdict.text
    );
    // One of several that is dead explains nothing.
    seen.resolvers.push(ResolverEvidence {
        server: "9.9.9.9".to_owned(),
        reply: got(),
        lie: None,
        lost_with: None,
    });
    assert_eq!(judge(&seen, RELEASED).verdict.id, "clock-wrong");
}

#[test]
fn what_was_asked_for_is_what_counts() {
    let target = |a: &str, reply: TestReply| TargetEvidence {
        address: a.parse().unwrap(),
        ping: reply.clone(),
        tcp: reply,
        refused: false,
        rejected: false,
    };
    // An address of IPv6 alone: what IPv4 is like does not matter.
    let mut seen = well_seen();
    (seen.private, seen.resolvers, seen.portals, seen.externals) =
        (true, Vec::new(), Vec::new(), Vec::new());
    seen.resolvers.push(ResolverEvidence {
        server: "9.9.9.9".to_owned(),
        reply: TestReply::NotAsked,
        lie: None,
        lost_with: None,
    });
    seen.direct = TestReply::NotAsked;
    seen.wans.clear();
    seen.main.targets.clear();
    seen.main.route = None;
    let report = judge(&seen, RELEASED);
    assert_eq!((report.verdict.id, report.verdict.exit), ("well", 0), "{report:#?}");
    assert!(!report.tests.iter().any(|t| t.id == "route"), "{report:#?}");
    seen.v6 = None;
    let verdict = judge(&seen, RELEASED).verdict;
    assert_eq!((verdict.id, verdict.exit), ("not-tested", 3));
    assert!(verdict.text.contains("no way of IPv6"), "{}", verdict.text);
    // A neighbour that is off is no fault of a provider.
    seen.main = good_way("lan0");
    seen.main.gateway = None;
    seen.main.targets = vec![target("192.168.92.10", failed("no answer"))];
    let verdict = judge(&seen, RELEASED).verdict;
    assert_eq!((verdict.id, verdict.exit), ("target-dead", 2));
    assert!(
        verdict.text.starts_with("192.168.92.10 does not answer. It is in your own network"),
        "{}",
        verdict.text
    );
}

#[test]
fn an_outage_is_told_to_those_who_may_not_read_the_configuration() {
    let mut seen = well_seen();
    seen.setup.forbidden = true;
    seen.setup.errors.push("cannot be read".to_owned());
    assert_eq!(judge(&seen, RELEASED).verdict.id, "not-readable");
    seen.wans.clear();
    silent(&mut seen.main);
    let report = judge(&seen, RELEASED);
    assert_eq!(report.verdict.id, "provider-dead");
    assert!(report.tests.iter().any(|t| t.id == "configuration" && t.state == TestState::Skipped));
}

/// The row of this name: its state and what it says.
fn row(seen: &Evidence, id: &str) -> Option<(TestState, String)> {
    let mut rows = judge(seen, RELEASED).tests.into_iter().filter(|t| t.id == id);
    let row = rows.next().map(|t| (t.state, t.detail));
    assert!(rows.next().is_none(), "{id} is there once");
    row
}

fn said(state: TestState, detail: &str) -> Option<(TestState, String)> {
    Some((state, detail.to_owned()))
}

#[test]
fn a_network_of_the_failover_monitor_has_a_row_that_says_what_is_wrong_with_it() {
    let standby = |change: &dyn Fn(&mut Evidence)| {
        let mut seen = well_seen();
        silent(&mut seen.wans[1].way);
        change(&mut seen);
        row(&seen, "wan:standby")
    };
    assert_eq!(row(&well_seen(), "wan:primary"), said(TestState::Ok, "net (wan1) works, in use"));
    assert_eq!(row(&well_seen(), "wan:standby"), said(TestState::Ok, "net (wan2) works"));
    let beyond = "net (wan2): its gateway 192.168.42.1 answers, nothing beyond it does";
    assert_eq!(standby(&|_| {}), said(TestState::Fail, beyond));
    let no_gateway = |seen: &mut Evidence| seen.wans[1].way.gateway = None;
    assert_eq!(
        standby(&no_gateway),
        said(TestState::Fail, "net (wan2): nothing out there answers")
    );
    let unknown = |seen: &mut Evidence| {
        let gateway = seen.wans[1].way.gateway.as_mut().unwrap();
        (gateway.ping, gateway.neighbour) = (TestReply::NotAsked, NeighbourState::Unknown);
    };
    assert_eq!(standby(&unknown), said(TestState::Fail, "net (wan2): nothing out there answers"));
    let no_route = |seen: &mut Evidence| seen.wans[1].way.route = None;
    assert_eq!(standby(&no_route), said(TestState::Fail, "net (wan2): it has no default route"));
    let no_address = |seen: &mut Evidence| seen.wans[1].way.address = None;
    assert_eq!(
        standby(&no_address),
        said(TestState::Fail, "net (wan2): wan2 has no address, no DHCP server answered")
    );
    // An interface that is missing is explained by a name that is wrong in the configuration, a
    // cable that is out not.
    for (link, error, expected) in [
        (
            LinkEvidence::Missing,
            true,
            said(TestState::Untested, "not tested (needs: configuration)"),
        ),
        (
            LinkEvidence::Missing,
            false,
            said(TestState::Fail, "net (wan2): there is no interface wan2"),
        ),
        (LinkEvidence::Down, true, said(TestState::Fail, "net (wan2): wan2 is switched off")),
        (LinkEvidence::NoCarrier, true, said(TestState::Fail, "net (wan2): wan2 has no carrier")),
        (LinkEvidence::NoCarrier, false, said(TestState::Fail, "net (wan2): wan2 has no carrier")),
    ] {
        let change = |seen: &mut Evidence| {
            seen.wans[1].way.link = link;
            seen.setup.errors.extend(error.then(|| "standby-if".to_owned()));
        };
        assert_eq!(standby(&change), expected, "{link:?} {error}");
    }
    // What is already told of the way in use is not told again; what is wrong with the other one
    // is.
    let both = |seen: &mut Evidence| {
        silent(&mut seen.main);
        silent(&mut seen.wans[0].way);
    };
    assert_eq!(standby(&both), said(TestState::Fail, beyond));
    let mut seen = well_seen();
    both(&mut seen);
    assert_eq!(
        row(&seen, "wan:primary"),
        said(TestState::Untested, "not tested (needs: internet)")
    );
    let mut seen = well_seen();
    silent(&mut seen.wans[0].way);
    let own = "net (wan1): its gateway 192.168.42.1 answers, nothing beyond it does";
    assert_eq!(
        row(&seen, "wan:primary"),
        said(TestState::Fail, own),
        "the way in use works, its own does not"
    );
    // Where nothing is wrong as far as it was looked at.
    let mut seen = well_seen();
    seen.wans[1].barred = Some("needs root".to_owned());
    assert_eq!(row(&seen, "wan:standby"), said(TestState::Skipped, "net (wan2): needs root"));
    seen.wans[1].barred = None;
    for target in &mut seen.wans[1].way.targets {
        (target.ping, target.tcp) = (TestReply::Waiting, TestReply::NotAsked);
    }
    assert_eq!(row(&seen, "wan:standby"), said(TestState::Waiting, "net (wan2)"));
    seen.wans[1].way.targets.iter_mut().for_each(|t| t.ping = TestReply::NotAsked);
    assert_eq!(row(&seen, "wan:standby"), said(TestState::Info, "net (wan2): not tested"));
}

#[test]
fn nothing_public_is_asked_where_that_was_not_wanted() {
    let public: IpAddr = "8.8.8.8".parse().unwrap();
    let own: IpAddr = "192.168.42.1".parse().unwrap();
    assert_eq!([is_off_limits(true, public), is_off_limits(true, own)], [true, false]);
    assert_eq!([is_off_limits(false, public), is_off_limits(false, own)], [false, false]);
}

#[test]
fn what_the_configuration_is_like_has_a_row_for_each_fact() {
    let setup = |setup: ConfigEvidence| {
        let report = judge(&Evidence { setup, ..well_seen() }, RELEASED);
        let rows = report.tests.into_iter().filter(|t| t.id.starts_with("configuration"));
        rows.map(|t| (t.id, t.state, t.detail)).collect::<Vec<_>>()
    };
    let fact = |id: &str, state, detail: &str| (id.to_owned(), state, detail.to_owned());
    let file = Some("/etc/default/imon-main".to_owned());
    assert_eq!(
        setup(ConfigEvidence::default()),
        [fact("configuration", TestState::Info, "none: not needed for this")]
    );
    let valid = ConfigEvidence { file: file.clone(), ..ConfigEvidence::default() };
    assert_eq!(
        setup(valid.clone()),
        [fact("configuration", TestState::Ok, "/etc/default/imon-main is valid")]
    );
    let words = |words: &str| vec![words.to_owned()];
    let odd = ConfigEvidence { warnings: words("odd"), notes: words("also"), ..valid };
    assert_eq!(
        setup(odd),
        [
            fact("configuration", TestState::Ok, "/etc/default/imon-main is valid"),
            fact("configuration:2", TestState::Warn, "odd"),
            fact("configuration:3", TestState::Info, "also")
        ]
    );
    let wrong = ConfigEvidence {
        file: file.clone(),
        errors: words("interval 0"),
        ..ConfigEvidence::default()
    };
    assert_eq!(setup(wrong), [fact("configuration", TestState::Fail, "interval 0")]);
    // Also where there is no file, because it was named.
    let missing =
        ConfigEvidence { errors: words("there is no such file"), ..ConfigEvidence::default() };
    assert_eq!(setup(missing), [fact("configuration", TestState::Fail, "there is no such file")]);
    let forbidden = ConfigEvidence {
        file,
        forbidden: true,
        errors: words("cannot be read"),
        ..ConfigEvidence::default()
    };
    assert_eq!(setup(forbidden), [fact("configuration", TestState::Skipped, "cannot be read")]);
}

#[test]
fn a_gateway_counts_as_there_only_if_it_has_shown_itself() {
    let gateway = |neighbour, ping| {
        let mut seen = well_seen();
        let gateway = seen.main.gateway.as_mut().unwrap();
        (gateway.neighbour, gateway.ping) = (neighbour, ping);
        row(&seen, "gateway")
    };
    let there = NeighbourState::Answers;
    assert_eq!(gateway(there, got()), said(TestState::Ok, "192.168.42.1 answers in 12.0 ms"));
    assert_eq!(
        gateway(NeighbourState::Silent, got()),
        said(TestState::Ok, "192.168.42.1 answers in 12.0 ms")
    );
    assert_eq!(gateway(there, TestReply::Waiting), said(TestState::Waiting, "192.168.42.1"));
    assert_eq!(gateway(there, TestReply::NotAsked), said(TestState::Ok, "192.168.42.1 is there"));
    let mute = "192.168.42.1 is there, and does not answer ping, which is no fault";
    assert_eq!(gateway(there, failed("no answer")), said(TestState::Ok, mute));
    let unknown = NeighbourState::Unknown;
    assert_eq!(
        gateway(unknown, failed("no answer")),
        said(TestState::Info, "192.168.42.1: no answer")
    );
    assert_eq!(
        gateway(unknown, TestReply::NotAsked),
        said(TestState::Info, "192.168.42.1, not asked")
    );
    let absent = "192.168.42.1 is not there: it does not even tell its hardware address";
    assert_eq!(gateway(NeighbourState::Silent, failed("no answer")), said(TestState::Info, absent));
    let mut seen = well_seen();
    seen.main.gateway = None;
    assert_eq!(row(&seen, "gateway"), said(TestState::Info, "wan1 needs none"));
}

#[test]
fn the_rows_of_the_way_say_what_was_found() {
    let mut seen = well_seen();
    assert_eq!(row(&seen, "link"), said(TestState::Ok, "wan1 has a carrier, no errors"));
    assert_eq!(row(&seen, "address"), said(TestState::Ok, "wan1 has 192.168.42.2/24"));
    assert_eq!(row(&seen, "ping:1.1.1.1"), said(TestState::Ok, "answers in 12.0 ms"));
    assert_eq!(row(&seen, "tcp:8.8.8.8"), said(TestState::Ok, "port 443 opens in 12.0 ms"));
    seen.main.errors = Some("loses packets".to_owned());
    assert_eq!(row(&seen, "link"), said(TestState::Warn, "wan1 has a carrier, but loses packets"));
    seen.main.own_making = true;
    seen.main.address = Some("169.254.7.7/16".to_owned());
    silent(&mut seen.main);
    let own = "wan1 has only 169.254.7.7/16, which it gave itself: no DHCP answer";
    assert_eq!(row(&seen, "address"), said(TestState::Fail, own));
    // One host that does not answer is odd; where none answers pings, and something gets through,
    // that is filtered.
    let mut seen = well_seen();
    seen.main.targets[0].ping = failed("no answer");
    assert_eq!(row(&seen, "ping:1.1.1.1"), said(TestState::Warn, "no answer"));
    seen.main.targets[1].ping = failed("no answer");
    assert_eq!(row(&seen, "ping:1.1.1.1"), said(TestState::Info, "no answer"));
    // A host that refuses a connection is there; a router that rejects it in its place is not that
    // host.
    seen.main.targets[0].tcp = failed("refused");
    assert_eq!(row(&seen, "tcp:1.1.1.1").unwrap().0, TestState::Warn);
    seen.main.targets[0].refused = true;
    assert_eq!(row(&seen, "tcp:1.1.1.1").unwrap().0, TestState::Info);
    seen.main.targets[0].rejected = true;
    assert_eq!(row(&seen, "tcp:1.1.1.1").unwrap().0, TestState::Warn);
    let mut seen = well_seen();
    silent(&mut seen.main);
    assert_eq!(row(&seen, "tcp:1.1.1.1").unwrap().0, TestState::Fail);
    // IPv6 has no row for the link, which is the same.
    let seen = well_seen();
    assert_eq!(row(&seen, "ipv6-link"), None);
    assert_eq!(row(&seen, "ipv6-ping:1.1.1.1"), said(TestState::Ok, "answers in 12.0 ms"));
    let mut seen = Evidence { v6: None, ..seen };
    assert_eq!(
        row(&seen, "ipv6-route"),
        said(TestState::Info, "this system has no IPv6 default route, which is fine")
    );
    seen.v6_unused = true;
    assert!(row(&seen, "ipv6-route").unwrap().1.contains("no public address"));
    assert_eq!(row(&seen, "other-routes"), None);
    seen.other_routes = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(row(&seen, "other-routes"), said(TestState::Info, "also there: a; b"));
}

#[test]
fn name_servers_have_a_row_each() {
    let mut seen = well_seen();
    assert_eq!(row(&seen, "resolver:8.8.8.8"), said(TestState::Ok, "answers in 12.0 ms"));
    assert_eq!(row(&seen, "dns:1.1.1.1"), said(TestState::Ok, "answers in 12.0 ms"));
    // One that is dead costs a second or more each time, also beside another that works.
    let dead = ResolverEvidence {
        server: "9.9.9.9".to_owned(),
        reply: failed("no answer"),
        lie: None,
        lost_with: None,
    };
    seen.resolvers.push(dead.clone());
    assert_eq!(row(&seen, "resolver:9.9.9.9"), said(TestState::Fail, "no answer"));
    seen.resolvers[1].lost_with = Some("net (wan2)".to_owned());
    let lost = "no answer: it is only reached through net (wan2), which is dead";
    assert_eq!(row(&seen, "resolver:9.9.9.9"), said(TestState::Fail, lost));
    seen.resolvers.remove(0);
    seen.resolvers[0] =
        ResolverEvidence { lie: Some("x is y".to_owned()), reply: got(), ..dead.clone() };
    assert_eq!(row(&seen, "resolver:9.9.9.9"), said(TestState::Fail, "makes answers up: x is y"));
    seen.resolvers[0] = ResolverEvidence { reply: TestReply::NotAsked, ..dead };
    assert_eq!(row(&seen, "resolver:9.9.9.9"), None);
    seen.private = true;
    let public = "a public server, not asked with --target";
    assert_eq!(row(&seen, "resolver:9.9.9.9"), said(TestState::Skipped, public));
    // Whether somebody else's name server can be reached matters where nobody is.
    let mut seen = well_seen();
    seen.direct = failed("no answer");
    assert_eq!(row(&seen, "dns:1.1.1.1"), said(TestState::Warn, "no answer"));
    seen.resolvers[0].reply = failed("no answer");
    assert_eq!(row(&seen, "dns:1.1.1.1"), said(TestState::Fail, "no answer"));
    seen.direct_lie = Some("x is y".to_owned());
    assert_eq!(
        row(&seen, "dns:1.1.1.1"),
        said(TestState::Fail, "somebody answers in its place: x is y")
    );
    seen.resolvers.clear();
    assert_eq!(row(&seen, "resolver"), said(TestState::Fail, "there is none in /etc/resolv.conf"));
}

#[test]
fn pages_and_the_external_address_have_rows() {
    let mut seen = well_seen();
    assert_eq!(
        row(&seen, "portal"),
        said(TestState::Ok, "none: http://x/ came as it should, in 12.0 ms")
    );
    assert_eq!(row(&seen, "external:dns"), said(TestState::Ok, "203.0.113.1, says dns:opendns"));
    let translated =
        "another router translates 192.168.42.2: to be reached from outside, it must forward ports";
    assert_eq!(row(&seen, "nat"), said(TestState::Info, translated));
    for (local, words) in [("203.0.113.1", "none: "), ("100.64.0.9", "carrier-grade NAT")] {
        seen.externals[0].local = Some(local.parse().unwrap());
        assert!(row(&seen, "nat").unwrap().1.contains(words), "{local}");
    }
    let other = |address: &str| External {
        source: "https://x/".to_owned(),
        reply: got(),
        address: Some(address.parse().unwrap()),
        local: None,
    };
    seen.externals.push(other("203.0.113.1"));
    assert_eq!((row(&seen, "external"), row(&seen, "external:http").is_some()), (None, true));
    seen.externals[1] = other("203.0.113.9");
    assert!(row(&seen, "external").unwrap().1.starts_with("the two differ"));
    // A page that has come says more than one that is waited for, and that more than one that
    // failed.
    let portal = |reply| Portal { url: "http://y/".to_owned(), reply, instead: None };
    seen.portals.push(portal(TestReply::Waiting));
    assert_eq!(row(&seen, "portal").unwrap().0, TestState::Ok);
    seen.portals[0].reply = failed("no answer");
    assert_eq!(row(&seen, "portal"), said(TestState::Waiting, ""));
    seen.portals[1].reply = failed("no answer");
    assert_eq!(row(&seen, "portal"), said(TestState::Warn, "no answer"));
    seen.portals[1].instead = Some("one that leads to http://login/".to_owned());
    let login = "another page came instead: one that leads to http://login/";
    assert_eq!(row(&seen, "portal"), said(TestState::Fail, login));
    assert_eq!(row(&seen, "external"), said(TestState::Untested, "not tested (needs: portal)"));
    assert_eq!((row(&seen, "external:dns"), row(&seen, "nat")), (None, None));
    // Without names no page can come.
    seen.resolvers[0].reply = failed("no answer");
    assert_eq!(row(&seen, "portal"), said(TestState::Untested, "not tested (needs: resolver)"));
    seen.portals.clear();
    assert_eq!(row(&seen, "portal"), None);
}

#[test]
fn the_largest_packet_has_a_row() {
    let mtu = |change: &dyn Fn(&mut Evidence)| {
        let mut seen = well_seen();
        change(&mut seen);
        row(&seen, "mtu")
    };
    assert_eq!(mtu(&|_| {}), said(TestState::Ok, "1500 bytes, as the interface"));
    assert_eq!(mtu(&|seen| seen.mtu.path = Some(1501)).unwrap().0, TestState::Ok);
    let vanish = "packets above 1499 bytes vanish without a word";
    assert_eq!(mtu(&|seen| seen.mtu.path = Some(1499)), said(TestState::Fail, vanish));
    let told = |seen: &mut Evidence| (seen.mtu.path, seen.mtu.told) = (Some(1400), true);
    assert_eq!(
        mtu(&told),
        said(TestState::Ok, "1400 bytes, and larger packets are answered with the reason")
    );
    assert_eq!(
        mtu(&|seen| seen.mtu.path = None),
        said(TestState::Info, "not known: no ping comes back")
    );
    assert_eq!(mtu(&|seen| seen.mtu.waiting = true), said(TestState::Waiting, ""));
    assert_eq!(
        mtu(&|seen| seen.no_ping = Some("x".to_owned())),
        said(TestState::Skipped, "not tested (needs ping)")
    );
}

#[test]
fn how_far_a_clock_is_off_is_told_in_words_of_its_size() {
    let words = [0, 119, 120, 7199, 7200, 172_799, 172_800].map(in_words);
    assert_eq!(
        words,
        ["0 seconds", "119 seconds", "2 minutes", "119 minutes", "2 hours", "47 hours", "2 days"]
            .map(str::to_owned)
    );
    let clock = |ahead| {
        let mut seen = well_seen();
        seen.ahead = Some(ahead);
        row(&seen, "clock").unwrap().0
    };
    assert_eq!([clock(CLOCK_OFF), clock(-CLOCK_OFF)], [TestState::Ok; 2]);
    assert_eq!([clock(CLOCK_OFF + 1), clock(-CLOCK_OFF - 1)], [TestState::Fail; 2]);
    let mut seen = well_seen();
    seen.now.secs = RELEASED;
    assert_eq!(row(&seen, "clock").unwrap().0, TestState::Ok);
    seen.now.secs = RELEASED - 1;
    assert_eq!(row(&seen, "clock").unwrap().0, TestState::Fail);
    seen.no_ping = Some("not root".to_owned());
    assert_eq!(row(&seen, "capabilities"), said(TestState::Skipped, "no ping: not root"));
    assert_eq!(row(&well_seen(), "capabilities"), said(TestState::Ok, "ping"));
}
