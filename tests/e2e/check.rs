//! `imon check`: each kind of fault has a verdict of its own.

use std::time::{Duration, Instant};

use imon_lab::roles::{Answers, Bystander, Dns, DnsMode, Flow, Http, HttpMode};
use imon_lab::{Fault, Finished, Lab, Wan, monotonic_ns};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::{SOON, trials};

/// One fault, and what is to be said about it.
struct Scenario {
    name: &'static str,
    verdict: &'static str,
    exit: i32,
    /// Words of the sentence that tell what it is about.
    says: &'static [&'static str],
    /// The tests that fail, and no others.
    fails: &'static [&'static str],
    args: &'static [&'static str],
    make: fn(&World),
}

/// The lab with the servers that stand for the internet.
struct World {
    lab: Lab,
    dns: Dns,
    http: Http,
}

const FAILOVER: &str = r#"{"global": {}, "failover": {"enable": true, "interval": 1, "pingcount": 2, "pingwait": 1,
 "prefer-primary": true, "primary-if": "wan1", "primary-name": "net42", "primary-gw": "192.168.42.1",
 "primary-ping": "1.1.1.1", "standby-if": "wan2", "standby-name": "net62", "standby-gw": "192.168.62.1",
 "standby-ping": "8.8.8.8"}}"#;

fn configure(world: &World) {
    world.lab.write("/etc/default/imon-main", FAILOVER);
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "all_is_well",
        verdict: "well",
        exit: 0,
        says: &["the internet works over wan1"],
        fails: &[],
        args: &[],
        make: |_| {},
    },
    Scenario {
        name: "no_carrier",
        verdict: "no-carrier",
        exit: 2,
        says: &["wan1 has no carrier", "cable"],
        fails: &["link"],
        args: &[],
        make: |w| {
            w.lab.fault(Fault::Carrier(Wan::One));
        },
    },
    Scenario {
        name: "the_interface_is_off",
        verdict: "link-down",
        exit: 2,
        says: &["wan1 is switched off", "ip link set wan1 up"],
        fails: &["link"],
        args: &[],
        make: |w| {
            w.lab.fault(Fault::LinkDown(Wan::One));
        },
    },
    Scenario {
        name: "no_dhcp_address",
        verdict: "no-address",
        exit: 2,
        says: &["wan1 has no address", "DHCP"],
        fails: &["address"],
        args: &[],
        make: |w| {
            w.lab.sh(
                "router",
                "ip -4 addr flush dev wan1; ip addr add 169.254.7.8/16 dev wan1 scope link",
            );
        },
    },
    Scenario {
        name: "no_default_route",
        verdict: "no-route",
        exit: 2,
        says: &["no default route"],
        fails: &["route"],
        args: &[],
        make: |w| {
            w.lab.delete_default_routes();
        },
    },
    Scenario {
        name: "gateway_dead",
        verdict: "gateway-dead",
        exit: 2,
        says: &["192.168.42.1 does not answer", "Restart it"],
        fails: &["gateway"],
        args: &[],
        make: |w| {
            w.lab.fault(Fault::GatewayDead(Wan::One));
        },
    },
    Scenario {
        name: "provider_dead",
        verdict: "provider-dead",
        exit: 2,
        says: &["Your router answers, nothing beyond it does", "Restart the modem"],
        fails: &["ping:1.1.1.1", "tcp:1.1.1.1", "ping:8.8.8.8", "tcp:8.8.8.8"],
        args: &[],
        make: |w| {
            w.lab.fault(Fault::UpstreamDead(Wan::One));
        },
    },
    Scenario {
        name: "provider_filters_ping",
        verdict: "ping-filtered",
        exit: 0,
        says: &["The internet works", "pings are filtered"],
        fails: &[],
        args: &[],
        make: |w| {
            w.lab.sh("isp1", "nft 'add table ip f; add chain ip f c { type filter hook forward priority 0; }; add rule ip f c icmp type echo-request drop'");
        },
    },
    Scenario {
        name: "name_server_dead",
        verdict: "resolver-dead",
        exit: 2,
        says: &["your name server 8.8.8.8 does not"],
        fails: &["resolver:8.8.8.8"],
        args: &[],
        make: |w| w.dns.mode_of("8.8.8.8", &DnsMode::Timeout),
    },
    Scenario {
        name: "no_name_server_at_all_answers",
        verdict: "dns-blocked",
        exit: 2,
        says: &["neither by 8.8.8.8 nor by 1.1.1.1 (no answer)", "port 53"],
        fails: &["resolver:8.8.8.8", "dns:1.1.1.1"],
        args: &[],
        make: |w| w.dns.mode(&DnsMode::Timeout),
    },
    Scenario {
        name: "dns_hijacked",
        verdict: "dns-hijacked",
        exit: 2,
        says: &["DNS is hijacked: 8.8.8.8", "10.66.66.66"],
        fails: &["resolver:8.8.8.8", "dns:1.1.1.1"],
        args: &[],
        make: |w| w.dns.mode(&DnsMode::Lie("10.66.66.66".parse().unwrap())),
    },
    Scenario {
        name: "captive_portal",
        verdict: "captive-portal",
        exit: 2,
        says: &["login page", "http://login.test/"],
        fails: &["portal"],
        args: &[],
        make: |w| w.http.mode(&HttpMode::Redirect("http://login.test/".to_owned())),
    },
    Scenario {
        name: "mtu_black_hole",
        verdict: "mtu-black-hole",
        exit: 1,
        says: &["Large packets vanish", "clamp MSS to 1360"],
        fails: &["mtu"],
        args: &[],
        make: |w| {
            w.lab.sh("isp1", "nft 'add table ip f; add chain ip f c { type filter hook forward priority 0; }; add rule ip f c ip length > 1400 drop'");
        },
    },
    Scenario {
        name: "ipv6_broken",
        verdict: "ipv6-broken",
        exit: 1,
        says: &["IPv4 works, IPv6 does not"],
        fails: &[
            "ipv6-ping:2606:4700:4700::1111",
            "ipv6-tcp:2606:4700:4700::1111",
            "ipv6-ping:2001:4860:4860::8888",
            "ipv6-tcp:2001:4860:4860::8888",
        ],
        args: &[],
        make: |w| {
            w.lab.sh("isp1", "echo 0 >/proc/sys/net/ipv6/conf/all/forwarding");
        },
    },
    Scenario {
        name: "one_network_of_two_dead",
        verdict: "wan-dead",
        exit: 1,
        says: &["net42 (wan1), as its gateway 192.168.42.1 answers", "works through net62 (wan2)"],
        fails: &["wan:primary"],
        args: &[],
        make: |w| {
            configure(w);
            // What a failover has done.
            w.lab
                .sh("router", "ip route replace default via 192.168.62.1; ip -6 route del default");
            w.lab.fault(Fault::UpstreamDead(Wan::One));
        },
    },
    Scenario {
        name: "standby_unusable",
        verdict: "standby-unusable",
        exit: 1,
        says: &["The internet works, but net62 (wan2) could not take over"],
        fails: &["wan:standby"],
        args: &[],
        make: |w| {
            configure(w);
            w.lab.fault(Fault::UpstreamDead(Wan::Two));
        },
    },
    Scenario {
        name: "clock_wrong",
        verdict: "clock-wrong",
        exit: 1,
        says: &["clock is wrong", "3 days behind"],
        fails: &["clock"],
        args: &[],
        make: |w| w.http.clock(3 * 86_400),
    },
    Scenario {
        name: "configuration_wrong",
        verdict: "configuration",
        exit: 2,
        says: &["The configuration is wrong", "primary-if 'wna1'", "is it 'wan1'"],
        fails: &["configuration"],
        args: &[],
        make: |w| w.lab.write("/etc/default/imon-main", &FAILOVER.replace("wan1", "wna1")),
    },
    Scenario {
        name: "nothing_is_sent_offline",
        verdict: "well-offline",
        exit: 0,
        says: &["nothing was sent"],
        fails: &[],
        args: &["--offline"],
        make: |w| {
            w.lab.fault(Fault::UpstreamDead(Wan::One));
        },
    },
];

pub(crate) fn tests() -> Vec<Trial> {
    let mut all: Vec<Trial> = SCENARIOS
        .iter()
        .map(|s| {
            let name = format!("{}::scenario_{}", module_path!(), s.name);
            Trial::test(name, move || {
                scenario(s);
                Ok(())
            })
        })
        .collect();
    all.extend(trials![
        every_verdict_is_different,
        two_faults_name_the_one_nearer_to_the_user,
        without_permission_the_rest_is_tested,
        without_permission_a_dead_provider_is_no_dead_gateway,
        a_login_page_that_lets_nothing_else_through,
        a_provider_that_rejects_everything_is_dead_and_said_soon,
        a_modem_that_is_gone_is_a_dead_network,
        a_port_of_the_lan_is_not_taken_for_the_way_out,
        of_several_targets_each_is_asked,
        a_private_name_server_is_not_made_to_ask_others,
        a_configuration_for_root_is_no_obstacle_for_others,
        a_gateway_that_ignores_pings_is_no_fault,
        what_is_asked_can_be_limited,
        the_text_says_the_same_as_the_json,
        nothing_of_a_check_stays_behind,
        c1_a_mistyped_gateway_is_named_and_the_working_internet_stays,
        c1_a_mistyped_gateway_of_the_standby_is_found_without_any_route,
        c1_whatever_is_wrong_a_check_sets_nothing,
        c1_killed_at_any_moment_it_leaves_nothing_and_hurts_nobody,
        c1_killed_at_each_system_call_it_leaves_nothing,
        c1_two_checks_at_once_do_not_disturb_each_other,
        c1_every_kind_of_link_is_asked_whatever_the_reverse_path_filter,
        c1_beside_a_check_the_daemon_loses_no_probe,
        c1_what_an_earlier_check_did_would_be_noticed,
        d11_where_imon_itself_thinks_otherwise_all_is_not_well,
        d11_of_an_imon_that_was_killed_nothing_is_said,
        v1_a_tunnel_that_has_all_traffic_is_named,
        v5_v7_what_keeps_traffic_on_a_dead_network_is_named,
        v8_the_bridge_is_named_whose_port_was_configured,
        v9_next_hop_objects_are_ways_like_others,
        v10_the_missing_metric_is_named_with_its_place,
        v13_of_two_ways_of_ipv6_address_and_gateway_belong_together,
        a_network_is_asked_by_its_own_link,
        a_name_server_behind_a_dead_network_is_named,
        others_that_set_routes_are_named,
        bad_usage_cannot_test,
        a_signal_ends_it_and_nothing_stays,
        on_a_terminal_lines_come_and_go_and_fit,
    ]);
    all
}

fn world() -> World {
    let lab = Lab::builder().imon(env!("CARGO_BIN_EXE_imon")).public().up();
    let (dns, http) = (lab.dns(), lab.http());
    World { lab, dns, http }
}

fn check(lab: &Lab, args: &[&str]) -> Finished {
    lab.imon("router").arg("check").args(args).run(Duration::from_secs(30))
}

fn json(lab: &Lab, args: &[&str]) -> (i32, Value) {
    let done = check(lab, &[&["--json"], args].concat());
    let value: Value =
        serde_json::from_str(&done.stdout()).unwrap_or_else(|e| panic!("{e}: {done:?}"));
    assert_eq!(value["schema"], 1);
    assert_eq!(value["exit"], done.code());
    (done.code(), value)
}

fn states<'a>(value: &'a Value, state: &str) -> Vec<&'a str> {
    let tests = value["tests"].as_array().unwrap().iter();
    tests.filter(|t| t["state"] == state).map(|t| t["id"].as_str().unwrap()).collect()
}

fn detail<'a>(value: &'a Value, id: &str) -> &'a str {
    let tests = value["tests"].as_array().unwrap();
    let test =
        tests.iter().find(|t| t["id"] == id).unwrap_or_else(|| panic!("no {id} in {value:#}"));
    test["detail"].as_str().unwrap()
}

/// Traffic of others, beside a check: whoever is here, and a host of the LAN.
struct Beside {
    all: [Bystander; 2],
    begin_ns: u64,
}

impl Beside {
    /// Begins, and goes on for a while to see what is answered without a check.
    fn begin(lab: &Lab) -> Self {
        let host = |name: &str, to: &str| Flow::new(name, to);
        let router = [
            host("host", "1.1.1.1"),
            host("first", "8.8.8.8").from(Wan::One.address()),
            host("second", "8.8.8.8").from(Wan::Two.address()),
            host("bound", "9.9.9.9").device("wan1"),
        ];
        // Whoever has no such address cannot send from it.
        let there = lab.sh("router", "ip -4 -o addr; ip -o link");
        let router: Vec<Flow> =
            router.into_iter().filter(|flow| !flow.is_from_elsewhere(&there)).collect();
        let all =
            [lab.bystander("router", &router), lab.bystander("lan", &[host("lan", "1.1.1.1")])];
        let beside = Self { all, begin_ns: monotonic_ns() };
        beside.go_on(lab);
        Self { begin_ns: monotonic_ns(), ..beside }
    }

    /// A check may be over before anybody has sent anything: waits until all have.
    fn go_on(&self, lab: &Lab) {
        let sent = |one: &Bystander| one.sent();
        let before: Vec<usize> = self.all.iter().map(sent).collect();
        let more = || self.all.iter().zip(&before).all(|(one, before)| one.sent() > before + 15);
        lab.wait_until("others have sent for a while", SOON, more);
    }

    /// Nobody has lost anything since that was answered before.
    fn end(self, lab: &Lab) -> Answers {
        let (record, losses) = self.losses(lab);
        assert!(losses.is_empty(), "{losses:?}");
        record
    }

    fn losses(self, lab: &Lab) -> (Answers, Vec<String>) {
        self.go_on(lab);
        let end_ns = monotonic_ns();
        let [router, lan] = &self.all;
        let record = router.stop().and(lan.stop());
        let losses = record.losses(self.begin_ns, end_ns);
        (record, losses)
    }
}

fn scenario(s: &Scenario) {
    let world = world();
    (s.make)(&world);
    let beside = Beside::begin(&world.lab);
    let begin = Instant::now();
    let (code, value) = json(&world.lab, s.args);
    beside.end(&world.lab);
    // Ten seconds, and what a machine under load adds.
    assert!(begin.elapsed() < Duration::from_secs(30), "took {:?}", begin.elapsed());
    assert!(value["seconds"].as_f64().unwrap() < 15.0, "{value:#}");
    assert_eq!(value["verdict"], s.verdict, "{value:#}");
    assert_eq!(code, s.exit, "{value:#}");
    let text = value["text"].as_str().unwrap();
    for says in s.says {
        assert!(text.contains(says), "{says:?} is not in {text:?}");
    }
    assert_eq!(states(&value, "fail"), s.fails, "{value:#}");
    assert!(states(&value, "waiting").is_empty(), "{value:#}");
}

fn every_verdict_is_different() {
    for (at, s) in SCENARIOS.iter().enumerate() {
        assert!(
            SCENARIOS.iter().skip(at + 1).all(|other| other.verdict != s.verdict),
            "{}",
            s.verdict
        );
    }
}

fn two_faults_name_the_one_nearer_to_the_user() {
    let world = world();
    world.dns.mode(&DnsMode::Timeout);
    world.http.mode(&HttpMode::Html);
    assert_eq!(json(&world.lab, &[]).1["verdict"], "dns-blocked");
    world.lab.fault(Fault::UpstreamDead(Wan::One));
    let (_, value) = json(&world.lab, &[]);
    assert_eq!(value["verdict"], "provider-dead");
    assert!(states(&value, "not-tested").contains(&"resolver"), "{value:#}");
    assert!(detail(&value, "resolver").contains("needs: internet"), "{value:#}");
    world.lab.fault(Fault::Carrier(Wan::One));
    let (_, value) = json(&world.lab, &[]);
    assert_eq!(value["verdict"], "no-carrier");
    assert_eq!(states(&value, "fail"), ["link"]);
}

fn without_permission_the_rest_is_tested() {
    let world = world();
    let run = |args: &[&str]| {
        let imon = world.lab.imon("router").without_capabilities().arg("check").args(args);
        let done = imon.run(Duration::from_secs(30));
        (
            done.code(),
            serde_json::from_str::<Value>(&done.stdout())
                .unwrap_or_else(|e| panic!("{e}: {done:?}")),
        )
    };
    let (code, value) = run(&["--json"]);
    assert_eq!((code, value["verdict"].as_str()), (0, Some("no-permission")), "{value:#}");
    assert!(value["text"].as_str().unwrap().contains("without permission to ping"), "{value:#}");
    assert_eq!(states(&value, "skipped"), ["capabilities", "mtu"], "{value:#}");
    assert!(states(&value, "ok").contains(&"tcp:1.1.1.1"), "{value:#}");
    // And it still sees an outage.
    world.lab.fault(Fault::UpstreamDead(Wan::One));
    let (code, value) = run(&["--json"]);
    assert_eq!(code, 2, "{value:#}");
}

fn without_permission_a_dead_provider_is_no_dead_gateway() {
    let world = world();
    assert_eq!(json(&world.lab, &[]).1["verdict"], "well");
    world.lab.fault(Fault::UpstreamDead(Wan::One));
    // The kernel has not verified the gateway for a while.
    world.lab.sh("router", "ip neigh change 192.168.42.1 dev wan1 nud stale");
    let run = || {
        let imon = world.lab.imon("router").without_capabilities().args(["check", "--json"]);
        let done = imon.run(Duration::from_secs(30));
        serde_json::from_str::<Value>(&done.stdout()).unwrap_or_else(|e| panic!("{e}: {done:?}"))
    };
    let value = run();
    assert_eq!(value["verdict"], "provider-dead", "{value:#}");
    assert!(detail(&value, "gateway").contains("192.168.42.1 is there"), "{value:#}");
    world.lab.fault(Fault::GatewayDead(Wan::One));
    world.lab.sh("router", "ip neigh change 192.168.42.1 dev wan1 nud stale");
    let value = run();
    assert_eq!(value["verdict"], "gateway-dead", "{value:#}");
}

const FILTER: &str = "nft 'add table ip f; add chain ip f c { type filter hook forward priority 0; }; add rule ip f c";

fn a_login_page_that_lets_nothing_else_through() {
    let world = world();
    world.http.mode(&HttpMode::Redirect("http://login.test/".to_owned()));
    world.lab.sh(
        "isp1",
        &format!("{FILTER} icmp type echo-request drop; add rule ip f c tcp dport 443 drop'"),
    );
    let (code, value) = json(&world.lab, &[]);
    assert_eq!((code, value["verdict"].as_str()), (2, Some("captive-portal")), "{value:#}");
}

fn a_provider_that_rejects_everything_is_dead_and_said_soon() {
    let world = world();
    world.lab.sh("isp1", &format!("{FILTER} reject'"));
    let (code, value) = json(&world.lab, &[]);
    assert_eq!((code, value["verdict"].as_str()), (2, Some("provider-dead")), "{value:#}");
    // One that says nothing is given up when the last answer is overdue, and not at the end of all
    // time.
    world.lab.sh("isp1", &format!("nft delete table ip f; {FILTER} drop'"));
    let (code, value) = json(&world.lab, &["--target", "9.9.9.10", "--target", "9.9.9.11"]);
    assert_eq!((code, value["verdict"].as_str()), (2, Some("provider-dead")), "{value:#}");
    assert!(value["seconds"].as_f64().unwrap() < 7.0, "{value:#}");
}

fn a_modem_that_is_gone_is_a_dead_network() {
    let world = world();
    configure(&world);
    world.lab.sh(
        "router",
        "ip route replace default via 192.168.62.1; ip -6 route del default; ip link del wan1",
    );
    let (code, value) = json(&world.lab, &[]);
    assert_eq!((code, value["verdict"].as_str()), (1, Some("wan-dead")), "{value:#}");
    let text = value["text"].as_str().unwrap();
    assert!(
        text.contains("net42 (wan1), as there is no interface wan1") && text.contains("plug it in"),
        "{text}"
    );
}

fn a_port_of_the_lan_is_not_taken_for_the_way_out() {
    let world = world();
    // A router as OpenWrt makes them: the LAN's ports in a bridge, which has the address.
    world.lab.sh(
        "router",
        "ip link add br-lan type bridge; ip addr flush dev lan0; ip link set lan0 master br-lan; ip link set br-lan up
         ip addr add 192.168.92.1/24 dev br-lan; ip link del wan2; ip addr flush dev wan1",
    );
    world.lab.fault(Fault::Carrier(Wan::One));
    let (_, value) = json(&world.lab, &[]);
    assert_eq!(value["verdict"], "no-carrier", "{value:#}");
    assert!(value["text"].as_str().unwrap().contains("wan1 has no carrier"), "{value:#}");
    // With several likely ones the configuration says which one it is.
    configure(&world);
    let (_, value) = json(&world.lab, &[]);
    assert!(value["text"].as_str().unwrap().contains("wan1 has no carrier"), "{value:#}");
}

fn of_several_targets_each_is_asked() {
    let world = world();
    world.lab.delete_default_routes();
    for targets in [["9.9.9.9", "192.168.92.10"], ["192.168.92.10", "9.9.9.9"]] {
        let (code, value) = json(
            &world.lab,
            &["--target", targets[0], "--target", targets[1], "--target", targets[0]],
        );
        assert_eq!((code, value["verdict"].as_str()), (0, Some("well")), "{value:#}");
        let tests = value["tests"].as_array().unwrap();
        assert_eq!(tests.iter().filter(|t| t["id"] == "ping:9.9.9.9").count(), 1, "{value:#}");
    }
    for bad in ["127.0.0.1", "224.0.0.1", "255.255.255.255", "0.0.0.0", "::1"] {
        assert_eq!(check(&world.lab, &["--target", bad]).code(), 3, "{bad}");
    }
    let (code, value) = json(&world.lab, &["--target", "192.168.92.77"]);
    assert_eq!((code, value["verdict"].as_str()), (2, Some("target-dead")), "{value:#}");
}

/// A forwarder in the house would ask the internet what it does not know.
fn a_private_name_server_is_not_made_to_ask_others() {
    let world = world();
    world.lab.sh("router", "echo 'nameserver 192.168.42.1' >/etc/resolv.conf");
    let dns = world.lab.dns_on("isp1", &["192.168.42.1"]);
    let (_, value) = json(&world.lab, &["--target", "9.9.9.9"]);
    assert_eq!(value["verdict"], "well", "{value:#}");
    let queries = dns.queries();
    assert!(!queries.is_empty() && queries.iter().all(|q| !q.recursion), "{queries:?}");
}

fn a_configuration_for_root_is_no_obstacle_for_others() {
    let world = world();
    configure(&world);
    // Somebody else's, as it is for those who are not root.
    world.lab.sh("router", "chmod 0 /etc/default/imon-main");
    let run = |args: &[&str]| {
        let done = world
            .lab
            .imon("router")
            .without_capabilities()
            .args(["check", "--json"])
            .args(args)
            .run(Duration::from_secs(30));
        (
            done.code(),
            serde_json::from_str::<Value>(&done.stdout())
                .unwrap_or_else(|e| panic!("{e}: {done:?}")),
        )
    };
    let (code, value) = run(&[]);
    assert_eq!((code, value["verdict"].as_str()), (0, Some("no-permission")), "{value:#}");
    let (code, value) = run(&["--instance", "main"]);
    assert_eq!((code, value["verdict"].as_str()), (3, Some("not-readable")), "{value:#}");
}

fn a_gateway_that_ignores_pings_is_no_fault() {
    let world = world();
    world.lab.fault(Fault::GatewaySilent(Wan::One));
    let (code, value) = json(&world.lab, &[]);
    assert_eq!((code, value["verdict"].as_str()), (0, Some("well")), "{value:#}");
    assert!(detail(&value, "gateway").contains("which is no fault"), "{value:#}");
    // Nor does it make a dead provider a dead gateway.
    world.lab.sh("isp1", "ip route replace blackhole default");
    let (_, value) = json(&world.lab, &[]);
    assert_eq!(value["verdict"], "provider-dead", "{value:#}");
}

fn what_is_asked_can_be_limited() {
    let world = world();
    let before = (world.dns.queries().len(), world.http.requests().len());
    let (code, value) = json(&world.lab, &["--target", "9.9.9.9"]);
    assert_eq!((code, value["verdict"].as_str()), (0, Some("well")), "{value:#}");
    assert_eq!(
        states(&value, "ok"),
        [
            "capabilities",
            "clock",
            "link",
            "address",
            "route",
            "gateway",
            "ping:9.9.9.9",
            "tcp:9.9.9.9",
            "mtu"
        ]
    );
    // The name server of this system is a public one.
    assert_eq!(states(&value, "skipped"), ["resolver:8.8.8.8"]);
    assert_eq!((world.dns.queries().len(), world.http.requests().len()), before);
    let (code, value) = json(&world.lab, &["--target", "9.9.9.10", "--target", "9.9.9.11"]);
    assert_eq!((code, value["verdict"].as_str()), (2, Some("provider-dead")), "{value:#}");
}

fn the_text_says_the_same_as_the_json() {
    let world = world();
    world.lab.fault(Fault::UpstreamDead(Wan::One));
    let text = check(&world.lab, &[]);
    let (_, value) = json(&world.lab, &[]);
    let out = text.stdout();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(Some(lines[0]), value["text"].as_str(), "{out}");
    assert_eq!(lines[1], "");
    assert_eq!(lines.len() - 2, value["tests"].as_array().unwrap().len(), "{out}");
    // Piped: neither colours nor anything else that is no text.
    assert!(out.is_ascii() && !out.contains('\x1b'), "{out}");
    assert!(text.stderr().is_empty(), "{}", text.stderr());
}

fn routing(lab: &Lab) -> String {
    lab.sh("router", "ip rule; ip route show table all; ip -6 route show table all")
}

fn nothing_of_a_check_stays_behind() {
    let world = world();
    configure(&world);
    let before = routing(&world.lab);
    let (_, value) = json(&world.lab, &[]);
    assert_eq!(value["verdict"], "well", "{value:#}");
    assert_eq!(detail(&value, "wan:standby"), "net62 (wan2) works", "{value:#}");
    assert_eq!(routing(&world.lab), before);
}

/// With a gateway that nobody has.
fn mistyped(role: &str) -> String {
    FAILOVER.replace(
        &format!("\"{role}-gw\": \"192.168.{}.1\"", if role == "primary" { 42 } else { 62 }),
        &format!("\"{role}-gw\": \"192.168.{}.254\"", if role == "primary" { 42 } else { 62 }),
    )
}

/// Runs something while the kernel tells each change of routes, rules and neighbours; returns what
/// it told.
fn changes(lab: &Lab, during: impl FnOnce()) -> Vec<String> {
    let monitor =
        lab.spawn("router", "ip", ["-4", "monitor", "route", "rule", "address", "nexthop"]);
    let sign = |n: u8| {
        lab.sh(
            "router",
            &format!("ip route add 203.0.113.{n} dev lan0; ip route del 203.0.113.{n} dev lan0"),
        );
    };
    // What it tells first: it listens.
    lab.wait_until("the monitor listens", SOON, || {
        sign(201);
        monitor.texts().iter().any(|l| l.contains("203.0.113.201"))
    });
    during();
    sign(202);
    monitor.wait_line(|l| l.contains("203.0.113.202"), SOON);
    monitor.texts().into_iter().filter(|l| !l.contains("203.0.113.20")).collect()
}

fn c1_a_mistyped_gateway_is_named_and_the_working_internet_stays() {
    for filter in [0, 1, 2] {
        let lab = Lab::builder().imon(env!("CARGO_BIN_EXE_imon")).public().rp_filter(filter).up();
        let (_dns, _http) = (lab.dns(), lab.http());
        lab.write("/etc/default/imon-main", &mistyped("primary"));
        let beside = Beside::begin(&lab);
        let mut value = Value::Null;
        let told = changes(&lab, || value = json(&lab, &[]).1);
        let record = beside.end(&lab);
        let (answered, all) = record.answered("host");
        assert!(answered == all && all > 60, "{answered} of {all}");
        assert_eq!(told, Vec::<String>::new());
        assert_eq!(value["verdict"], "configuration", "{value:#}");
        let text = value["text"].as_str().unwrap();
        for word in [
            "primary-gw 192.168.42.254 does not answer",
            "write primary-gw 192.168.42.1 into /etc/default/imon-main",
        ] {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert_eq!(detail(&value, "wan:standby"), "net62 (wan2) works", "{value:#}");
    }
}

/// No route of any kind leads over wan2, so only its subnet tells where another gateway may be.
fn c1_a_mistyped_gateway_of_the_standby_is_found_without_any_route() {
    let world = world();
    world.lab.write("/etc/default/imon-main", &mistyped("standby"));
    let beside = Beside::begin(&world.lab);
    let (code, value) = json(&world.lab, &[]);
    beside.end(&world.lab);
    assert_eq!((code, value["verdict"].as_str()), (2, Some("configuration")), "{value:#}");
    let text = value["text"].as_str().unwrap();
    assert!(
        text.contains("standby-gw 192.168.62.254 does not answer, while 192.168.62.1 on wan2"),
        "{text}"
    );
    // When nothing answers there it is an outage, and nobody has mistyped anything that could be
    // known.
    world.lab.fault(Fault::UpstreamDead(Wan::Two));
    let (_, value) = json(&world.lab, &[]);
    assert_eq!(value["verdict"], "standby-unusable", "{value:#}");
}

fn c1_whatever_is_wrong_a_check_sets_nothing() {
    let world = world();
    let lab = &world.lab;
    configure(&world);
    let all = [
        Fault::UpstreamDead(Wan::One),
        Fault::GatewayDead(Wan::Two),
        Fault::GatewayDead(Wan::One),
        Fault::LinkDown(Wan::Two),
    ];
    for fault in all {
        lab.fault(fault);
        // A cable that goes takes routes with it, which is told in a moment.
        let before = routing(lab);
        let told = changes(lab, || drop(json(lab, &[])));
        assert_eq!((told, routing(lab)), (Vec::new(), before), "{fault:?}");
    }
}

fn c1_killed_at_any_moment_it_leaves_nothing_and_hurts_nobody() {
    let world = world();
    let lab = &world.lab;
    // One that takes its time: the gateways of both networks are looked for.
    lab.write("/etc/default/imon-main", &mistyped("primary"));
    let before = routing(lab);
    let beside = Beside::begin(lab);
    let told = changes(lab, || {
        for round in 0..30 {
            let check = lab.imon("router").arg("check").spawn();
            // From before it has begun until it is nearly over.
            let (moment, begin) = (Duration::from_millis(round * 61 % 1500), Instant::now());
            lab.wait_until("the moment of the kill", SOON, || begin.elapsed() >= moment);
            check.signal(imon_lab::Signal::SIGKILL);
            let _ = check.wait(SOON);
        }
    });
    assert_eq!(told, Vec::<String>::new());
    assert_eq!(routing(lab), before);
    let record = beside.end(lab);
    let (answered, all) = record.answered("host");
    assert!(answered == all && all > 1000, "{answered} of {all}");
}

fn c1_killed_at_each_system_call_it_leaves_nothing() {
    let world = world();
    let lab = &world.lab;
    configure(&world);
    let before = routing(lab);
    let beside = Beside::begin(lab);
    let program = lab.imon_program();
    let mut kills = 0;
    for call in ["socket", "bind", "setsockopt", "sendto", "connect", "poll,ppoll"] {
        for when in 1.. {
            let inject = format!("inject={call}:signal=SIGKILL:when={when}");
            let traced = [
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                &inject,
                program.to_str().unwrap(),
                "check",
                "--json",
            ];
            let done = lab.spawn("router", "strace", traced).finish(SOON);
            assert_eq!(routing(lab), before, "{call} {when}");
            // The last ones were not made any more.
            if done.stdout().contains("\"verdict\":\"well\"") {
                break;
            }
            kills += 1;
            assert!(done.stdout().is_empty() && when < 200, "{call} {when}: {done:?}");
        }
    }
    assert!(kills > 60, "{kills}");
    beside.end(lab);
}

fn c1_two_checks_at_once_do_not_disturb_each_other() {
    let world = world();
    configure(&world);
    let both = [0, 1].map(|_| world.lab.imon("router").args(["check", "--json"]).spawn());
    for check in both {
        let value: Value = serde_json::from_str(&check.finish(SOON).stdout()).unwrap();
        assert_eq!(value["verdict"], "well", "{value:#}");
        assert_eq!(detail(&value, "wan:standby"), "net62 (wan2) works", "{value:#}");
    }
}

fn c1_every_kind_of_link_is_asked_whatever_the_reverse_path_filter() {
    for filter in [0, 1, 2] {
        let lab = Lab::builder().imon(env!("CARGO_BIN_EXE_imon")).public().rp_filter(filter).up();
        let (_dns, _http) = (lab.dns(), lab.http());
        let standby = |gateway: &str, what: &str| {
            let gateway = format!("\"standby-gw\": \"{gateway}\"");
            lab.write(
                "/etc/default/imon-main",
                &FAILOVER.replace("\"standby-gw\": \"192.168.62.1\"", &gateway),
            );
            let beside = Beside::begin(&lab);
            let (_, value) = json(&lab, &[]);
            beside.end(&lab);
            assert_eq!(value["verdict"], "well", "{what}, {filter}: {value:#}");
            assert_eq!(
                detail(&value, "wan:standby"),
                "net62 (wan2) works",
                "{what}, {filter}: {value:#}"
            );
        };
        standby("192.168.62.1", "an ordinary one without any default");
        lab.sh("router", "ip route add default via 192.168.62.1 metric 300");
        standby("auto", "one that others have set");
        lab.sh(
            "router",
            "ip route del default via 192.168.62.1; ip addr flush dev wan2; ip addr add 10.9.9.2/32 dev wan2",
        );
        lab.sh("isp2", "ip route add 10.9.9.2/32 dev cust");
        standby("192.168.62.1", "an address of its own, and a gateway in none of its networks");
        // What mobile modems are: Ethernet without neighbours.
        let same = "address 02:00:00:00:00:77 arp off";
        lab.sh(
            "router",
            &format!("ip link set wan2 down; ip link set wan2 {same}; ip link set wan2 up"),
        );
        lab.sh(
            "isp2",
            &format!("ip link set cust down; ip link set cust {same}; ip link set cust up"),
        );
        lab.sh(
            "isp2",
            "ip route replace 10.9.9.2/32 dev cust; ip addr replace 192.168.62.1/24 dev cust",
        );
        standby("192.168.62.1", "a modem without neighbours");
        // Two modems of the same kind, the same address, the same hardware address.
        let modem = |n: u8, isp: &str| {
            lab.sh(
                "router",
                &format!(
                    "ip link set wan{n} arp on; ip addr flush dev wan{n}; ip addr add 192.168.8.100/24 dev wan{n}"
                ),
            );
            lab.sh(
                isp,
                "ip link set cust down; ip link set cust address 02:00:00:00:00:78 arp on; ip link set cust up
                 ip addr flush dev cust; ip addr add 192.168.8.1/24 dev cust",
            );
        };
        modem(1, "isp1");
        modem(2, "isp2");
        lab.sh("router", "ip link set wan2 down; ip link set wan2 address 02:00:00:00:00:79 up; ip route add default via 192.168.8.1 dev wan1");
        lab.write(
            "/etc/default/imon-main",
            &FAILOVER.replace("192.168.42.1", "192.168.8.1").replace("192.168.62.1", "192.168.8.1"),
        );
        let beside = Beside::begin(&lab);
        let (_, value) = json(&lab, &[]);
        beside.end(&lab);
        assert_eq!(
            detail(&value, "wan:primary"),
            "net42 (wan1) works, in use",
            "{filter}: {value:#}"
        );
        assert_eq!(detail(&value, "wan:standby"), "net62 (wan2) works", "{filter}: {value:#}");
        // And it is the one that is asked, not its double.
        lab.fault(Fault::UpstreamDead(Wan::Two));
        let (_, value) = json(&lab, &[]);
        assert_eq!(value["verdict"], "standby-unusable", "{filter}: {value:#}");
    }
}

fn c1_beside_a_check_the_daemon_loses_no_probe() {
    let world = world();
    let lab = &world.lab;
    let imon = lab.imon("router").instance("main", FAILOVER).nosyslog().spawn();
    imon.wait_line(|l| l.contains("Primary Route net42 (wan1) is active"), SOON);
    let before = routing(lab);
    let beside = Beside::begin(lab);
    for _ in 0..5 {
        let (_, value) = json(lab, &[]);
        assert_eq!(detail(&value, "wan:standby"), "net62 (wan2) works", "{value:#}");
    }
    beside.end(lab);
    assert_eq!(routing(lab), before);
    let said = imon.texts();
    assert!(!said.iter().any(|l| l.contains("offline") || l.contains("Restored")), "{said:?}");
}

/// The tests above rely on others' traffic: it tells of the rule that version 3.0.0 set, even for a
/// moment.
fn c1_what_an_earlier_check_did_would_be_noticed() {
    let world = world();
    let lab = &world.lab;
    let beside = Beside::begin(lab);
    let told = changes(lab, || {
        let (rule, route) =
            ("from 192.168.42.2 lookup 171000001", "default via 192.168.42.254 table 171000001");
        lab.sh(
            "router",
            &format!("ip route add {route}; ip rule add {rule}; sleep 0.1; ip rule del {rule}; ip route del {route}"),
        );
    });
    let (_, losses) = beside.losses(lab);
    for flow in ["host tcp", "first ping", "bound tcp"] {
        assert!(
            losses.iter().any(|l| l.starts_with(flow) && l.ends_with(" lost")),
            "{flow}: {losses:?}"
        );
    }
    assert!(!losses.iter().any(|l| l.starts_with("lan")), "{losses:?}");
    assert_eq!(told.len(), 4, "{told:?}");
}

fn text(value: &Value) -> &str {
    value["text"].as_str().unwrap()
}

/// All that is said of what others have set up.
fn beside(value: &Value) -> Vec<&str> {
    let tests = value["tests"].as_array().unwrap().iter();
    tests
        .filter(|t| t["id"].as_str().unwrap().starts_with("beside"))
        .map(|t| t["detail"].as_str().unwrap())
        .collect()
}

fn d11_where_imon_itself_thinks_otherwise_all_is_not_well() {
    let world = world();
    let lab = &world.lab;
    lab.fault(Fault::GatewaySilent(Wan::One));
    // It asks the gateway, which answers no pings.
    let config = FAILOVER.replace("\"primary-ping\": \"1.1.1.1\",", "");
    let imon = lab.imon("router").instance("main", &config).nosyslog().spawn();
    imon.wait_line(|l| l.contains("Standby Route net62 (wan2) is active"), SOON);
    lab.wait_until("the status says so", SOON, || {
        lab.read("/run/imon/main.json").contains("\"state\":\"down\"")
    });
    let (code, value) = json(lab, &[]);
    assert_eq!((code, value["verdict"].as_str()), (1, Some("imon-differs")), "{value:#}");
    for words in
        ["net42 (wan1) works, but imon itself takes it for offline since ", "set primary-ping"]
    {
        assert!(text(&value).contains(words), "{words}: {value:#}");
    }
    assert_eq!(detail(&value, "wan:primary"), "net42 (wan1) works", "{value:#}");
    assert!(detail(&value, "imon:standby").contains("net62 (wan2) for online"), "{value:#}");
    // What the advice says helps.
    drop(imon);
    let imon = lab.imon("router").instance("main", FAILOVER).nosyslog().spawn();
    imon.wait_line(|l| l.contains("Primary Route net42 (wan1) is active"), SOON);
    lab.wait_until("the status says so", SOON, || {
        !lab.read("/run/imon/main.json").contains("\"state\":\"down\"")
    });
    assert_eq!(json(lab, &[]).1["verdict"], "well");
}

fn d11_of_an_imon_that_was_killed_nothing_is_said() {
    let world = world();
    let lab = &world.lab;
    lab.fault(Fault::UpstreamDead(Wan::One));
    let imon = lab.imon("router").instance("main", FAILOVER).nosyslog().spawn();
    imon.wait_line(|l| l.contains("Standby Route net62 (wan2) is active"), SOON);
    lab.wait_until("the status says so", SOON, || {
        lab.read("/run/imon/main.json").contains("\"state\":\"down\"")
    });
    imon.signal(imon_lab::Signal::SIGKILL);
    imon.wait(SOON);
    lab.heal(Fault::UpstreamDead(Wan::One));
    let (_, value) = json(lab, &[]);
    assert_eq!(value["verdict"], "well", "{value:#}");
    let tests = value["tests"].as_array().unwrap();
    assert!(!tests.iter().any(|t| t["id"].as_str().unwrap().starts_with("imon:")), "{value:#}");
}

fn v1_a_tunnel_that_has_all_traffic_is_named() {
    let world = world();
    configure(&world);
    world.lab.sh(
        "router",
        "ip link add vpn0 type veth peer name vpn1; ip link set vpn0 up; ip link set vpn1 up; ip addr add 10.9.0.2/32 dev vpn0
         ip route add default dev vpn0 table 51820; ip rule add not fwmark 51820 lookup 51820
         ip rule add lookup main suppress_prefixlength 0",
    );
    let (_, value) = json(&world.lab, &[]);
    let said = beside(&value);
    let is_told = |l: &&str| {
        l.contains("lookup 51820") && l.contains("leads all traffic elsewhere, as a VPN does")
    };
    assert!(said.iter().any(is_told), "{value:#}");
    // It goes by what the tunnel is for, and asks the networks by their own links all the same.
    assert_eq!(detail(&value, "wan:standby"), "net62 (wan2) works", "{value:#}");
}

fn v5_v7_what_keeps_traffic_on_a_dead_network_is_named() {
    let world = world();
    let lab = &world.lab;
    lab.sh(
        "router",
        "ip route replace default via 192.168.42.1 metric 100; ip route del default metric 0
         ip route add default via 192.168.62.1 metric 200; ip route add 9.9.9.9 via 192.168.42.1
         ip route add 203.0.113.128/25 via 192.168.42.1
         ip rule add pref 5210 fwmark 0x80000/0xff0000 lookup main",
    );
    let imon = lab.imon("router").instance("main", FAILOVER).nosyslog().spawn();
    imon.wait_line(|l| l.contains("Primary Route net42 (wan1) is active"), SOON);
    let (_, value) = json(lab, &[]);
    assert_eq!(value["verdict"], "well", "{value:#}");
    let said = beside(&value).join("\n");
    assert!(said.contains("fwmark 0x80000") && said.contains("whatever imon chooses"), "{value:#}");
    lab.fault(Fault::UpstreamDead(Wan::One));
    imon.wait_line(|l| l.contains("Standby Route net62 (wan2) is active"), SOON);
    let (code, value) = json(lab, &[]);
    assert_eq!((code, value["verdict"].as_str()), (1, Some("wan-dead")), "{value:#}");
    assert!(
        text(&value).contains("keeps its traffic on net42 (wan1)")
            && text(&value).contains("metric"),
        "{value:#}"
    );
    let said = beside(&value).join("\n");
    for words in [
        "9.9.9.9/32 via 192.168.42.1 dev wan1",
        "203.0.113.128/25",
        "keep their traffic on net42 (wan1)",
    ] {
        assert!(said.contains(words), "{words}: {value:#}");
    }
}

fn v8_the_bridge_is_named_whose_port_was_configured() {
    let world = world();
    configure(&world);
    world.lab.sh(
        "router",
        "ip link add br-wan type bridge; ip addr flush dev wan1; ip link set wan1 master br-wan; ip link set br-wan up
         ip addr add 192.168.42.2/24 dev br-wan; ip route add default via 192.168.42.1",
    );
    let (code, value) = json(&world.lab, &[]);
    assert_eq!((code, value["verdict"].as_str()), (2, Some("configuration")), "{value:#}");
    assert!(
        text(&value).contains("'wan1' is a port of br-wan")
            && text(&value).contains("primary-if br-wan"),
        "{value:#}"
    );
    assert!(!text(&value).contains("DHCP"), "{value:#}");
}

fn v9_next_hop_objects_are_ways_like_others() {
    let world = world();
    world.lab.write(
        "/etc/default/imon-main",
        &FAILOVER.replace("\"192.168.42.1\"", "\"auto\"").replace("\"192.168.62.1\"", "\"auto\""),
    );
    world.lab.sh(
        "router",
        "echo 0 >/proc/sys/net/ipv4/nexthop_compat_mode; ip route del default
         ip nexthop add id 7 via 192.168.42.1 dev wan1; ip nexthop add id 8 via 192.168.62.1 dev wan2
         ip nexthop add id 9 group 8; ip route add default nhid 7; ip route add default nhid 9 metric 300",
    );
    let (code, value) = json(&world.lab, &[]);
    assert_eq!((code, value["verdict"].as_str()), (0, Some("well")), "{value:#}");
    assert!(detail(&value, "route").starts_with("default via 192.168.42.1 dev wan1"), "{value:#}");
    assert_eq!(detail(&value, "wan:primary"), "net42 (wan1) works, in use", "{value:#}");
    assert_eq!(detail(&value, "wan:standby"), "net62 (wan2) works", "{value:#}");
}

fn v10_the_missing_metric_is_named_with_its_place() {
    let world = world();
    let lab = &world.lab;
    lab.write("/etc/default/imon-main", &FAILOVER.replace("\"192.168.62.1\"", "\"auto\""));
    let verdict = || {
        let (code, value) = json(lab, &[]);
        assert_eq!((code, value["verdict"].as_str()), (1, Some("standby-unusable")), "{value:#}");
        text(&value).to_owned()
    };
    assert!(verdict().contains("give it a metric where its address comes from"), "{}", verdict());
    lab.sh("router", "mkdir -p /etc/network /etc/config");
    lab.write(
        "/etc/network/interfaces",
        "auto lo wan2\niface lo inet loopback\niface wan2 inet dhcp\n",
    );
    let said = verdict();
    assert!(said.contains("write 'metric 200' below line 3 of /etc/network/interfaces"), "{said}");
    lab.write(
        "/etc/config/network",
        "\nconfig interface 'wanb'\n\toption device 'wan2'\n\toption proto 'dhcp'\n",
    );
    let said = verdict();
    assert!(
        said.contains("write \"option metric '20'\" below line 2 of /etc/config/network"),
        "{said}"
    );
    assert!(said.contains("standby-gw"), "{said}");
    // With it both keep their defaults.
    lab.sh("router", "ip route add default via 192.168.62.1 metric 20");
    assert_eq!(json(lab, &[]).1["verdict"], "well");
}

fn v13_of_two_ways_of_ipv6_address_and_gateway_belong_together() {
    let world = world();
    let lab = &world.lab;
    for order in [[Wan::One, Wan::Two], [Wan::Two, Wan::One]] {
        let hops =
            order.map(|wan| format!("nexthop via {} dev {}", wan.gateway_v6(), wan.device()));
        lab.sh(
            "router",
            &format!("ip -6 route flush default; ip -6 route add default {}", hops.join(" ")),
        );
        let (_, value) = json(lab, &[]);
        let (address, route, gateway) = (
            detail(&value, "ipv6-address"),
            detail(&value, "ipv6-route"),
            detail(&value, "ipv6-gateway"),
        );
        let wan = Wan::BOTH
            .into_iter()
            .find(|wan| address.contains(&wan.address_v6().to_string()))
            .unwrap();
        assert!(address.starts_with(wan.device()), "{value:#}");
        assert!(
            route.contains(&format!("via {} dev {}", wan.gateway_v6(), wan.device())),
            "{value:#}"
        );
        assert!(gateway.starts_with(&format!("{} answers in", wan.gateway_v6())), "{value:#}");
    }
}

fn a_network_is_asked_by_its_own_link() {
    let world = world();
    configure(&world);
    // Whatever route there is leads by the other one.
    world.lab.fault(Fault::UpstreamDead(Wan::One));
    let (code, value) = json(&world.lab, &[]);
    assert_eq!((code, value["verdict"].as_str()), (2, Some("wan-dead")), "{value:#}");
    assert!(
        value["text"]
            .as_str()
            .unwrap()
            .contains("net62 (wan2) works, but traffic does not take it"),
        "{value:#}"
    );
    // The same with the daemon there, which has its own rules and switches over.
    let imon = world.lab.imon("router").instance("main", FAILOVER).nosyslog().spawn();
    imon.wait_line(|l| l.contains("Standby Route net62 (wan2) is active"), SOON);
    let before = routing(&world.lab);
    let (code, value) = json(&world.lab, &[]);
    assert_eq!((code, value["verdict"].as_str()), (1, Some("wan-dead")), "{value:#}");
    assert_eq!(detail(&value, "wan:standby"), "net62 (wan2) works, in use", "{value:#}");
    assert_eq!(routing(&world.lab), before);
}

fn a_name_server_behind_a_dead_network_is_named() {
    let world = world();
    configure(&world);
    world.lab.sh("router", "echo 'nameserver 192.168.42.1' >/etc/resolv.conf");
    world.lab.sh("router", "ip route replace default via 192.168.62.1");
    world.lab.fault(Fault::GatewayDead(Wan::One));
    let (code, value) = json(&world.lab, &[]);
    assert_eq!((code, value["verdict"].as_str()), (2, Some("resolver-dead")), "{value:#}");
    assert!(
        value["text"]
            .as_str()
            .unwrap()
            .contains("only reached through net42 (wan1), which is dead"),
        "{value:#}"
    );
}

fn others_that_set_routes_are_named() {
    let world = world();
    configure(&world);
    let index = world.lab.sh("router", "cat /sys/class/net/wan1/ifindex");
    let index = index.trim();
    world.lab.sh(
        "router",
        &format!(
            "mkdir -p /run/systemd/netif/links /run/NetworkManager/devices
        echo ADMIN_STATE=configured >/run/systemd/netif/links/{index}
        printf '[device]\\nmanaged=true\\n' >/run/NetworkManager/devices/{index}"
        ),
    );
    let (code, value) = json(&world.lab, &[]);
    assert_eq!((code, value["verdict"].as_str()), (0, Some("well")), "{value:#}");
    let said: Vec<&str> = value["tests"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|t| t["id"].as_str().unwrap().starts_with("configuration"))
        .map(|t| t["detail"].as_str().unwrap())
        .collect();
    for word in
        ["ManageForeignRoutes=no", "NetworkManager manages wan1", "lower metric than imon's"]
    {
        assert!(said.iter().any(|s| s.contains(word)), "{word}: {said:?}");
    }
}

fn bad_usage_cannot_test() {
    let lab = crate::lab();
    for args in [
        &["--target", "example.com"][..],
        &["--nosuch"],
        &["--instance", "a", "--config", "b"],
        &["extra"],
    ] {
        let done = check(&lab, args);
        assert_eq!(done.code(), 3, "{args:?}: {done:?}");
        assert_eq!(done.stdout(), "");
        assert!(!done.stderr().is_empty());
    }
    for bad in
        ["check --instance ../x", "check --instance ''", "check --target \"$(printf '\\377')\""]
    {
        let line = format!("'{}' {bad}", lab.imon_program().display());
        let done = lab.spawn("router", "sh", ["-c", &line]).finish(SOON);
        assert_eq!((done.code(), done.stdout()), (3, String::new()), "{bad}: {done:?}");
    }
    let none = check(&lab, &["--offline", "--instance", "nosuch"]);
    assert_eq!(none.code(), 2, "{none:?}");
    assert!(none.stdout().contains("'nosuch' not found"), "{none:?}");
}

fn a_signal_ends_it_and_nothing_stays() {
    let world = world();
    configure(&world);
    let before = routing(&world.lab);
    world.http.mode(&HttpMode::Hang);
    let imon = world.lab.imon("router").args(["check"]).spawn();
    world.http.wait_request(0, |_| true, SOON);
    imon.signal(imon_lab::Signal::SIGINT);
    assert_eq!(imon.wait(SOON).code(), Some(130));
    assert_eq!(routing(&world.lab), before);
}

fn on_a_terminal_lines_come_and_go_and_fit() {
    let world = world();
    let program = world.lab.imon_program();
    let on = |environment: &str, columns: u16| {
        let line = format!(
            "stty cols {columns} rows 24; exec env {environment} '{}' check",
            program.display()
        );
        world.lab.write("/run/lab/line", &line);
        world
            .lab
            .sh("router", "script -qec 'sh /run/lab/line' /dev/null </dev/null")
            .replace('\r', "")
    };
    let live = on("TERM=vt100", 40);
    // What was shown first is gone: the cursor went up, and all from there on was cleared.
    let (before, result) = live.rsplit_once("A\x1b[J").unwrap_or_else(|| panic!("{live:?}"));
    assert!(before.lines().any(|l| l.starts_with("...  gateway")), "{live:?}");
    assert!(result.starts_with("All is well:"), "{live:?}");
    assert!(result.contains("\x1b[32mok  \x1b[0m link: "), "{live:?}");
    let plain = |text: &str| {
        text.replace("\x1b[32m", "")
            .replace("\x1b[33m", "")
            .replace("\x1b[2m", "")
            .replace("\x1b[0m", "")
    };
    assert!(plain(result).lines().all(|l| l.chars().count() <= 40), "{result}");
    assert!(live.is_ascii());
    let colourless = on("TERM=vt100 NO_COLOR=1", 80);
    let (_, result) = colourless.rsplit_once("A\x1b[J").unwrap_or_else(|| panic!("{colourless:?}"));
    assert!(!result.contains('\x1b'), "{result:?}");
    // Nobody knows what this terminal can do.
    let dumb = on("TERM=dumb", 80);
    assert!(dumb.starts_with("All is well:") && !dumb.contains('\x1b'), "{dumb:?}");
}
