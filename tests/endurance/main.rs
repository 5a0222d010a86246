//! Endurance on real sockets: the static binary sends a million probes, and switches ten thousand
//! times between two networks whose cables are pulled in turn, each switch with three calls of the
//! action script. Its memory, descriptors, routes and rules are at the end as they were after the
//! first minute. Takes about a quarter of an hour: `.ci/long endurance`, or `cargo test --test
//! endurance` with the x86_64 binary in dist.
//!
//! `ENDURANCE_PROBES`, `ENDURANCE_SWITCHES`: fewer of them, for who works on this.
//! `ENDURANCE_IMON`: another program.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code, not imon's core"
)]

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use imon_lab::{Lab, Proc, Signal, Usage};
use libtest_mimic::{Arguments, Trial};
use serde_json::Value;

const TARGET: &str = "x86_64-unknown-linux-musl";
/// So long memory and caches may find their size.
const WARM_UP: Duration = Duration::from_secs(60);
/// Longest time without any progress.
const STALL: Duration = Duration::from_secs(60);
/// For all of it. Ten minutes on an idle machine.
const LIMIT: Duration = Duration::from_secs(25 * 60);
/// By how much memory may have grown at the end, in KiB, of who switches: seven bytes for each
/// switch,
const SWITCHER_GROWTH: u64 = 64;
/// and of who pings: half a byte for each probe. Its status has 290 KiB, and is there twice while
/// one is written.
const PINGER_GROWTH: u64 = 512;
/// What the calls of a script that wait may take, in KiB: 64 of 2.5 KiB each. It is what grows in
/// imon at all when it switches often, until that many wait; older ones are dropped then.
const WAITING: u64 = 160;

/// Of the lab's internet, all of which answer.
const TARGETS: u64 = 1000;

const FAILOVER: &str = r#"{"global": {"action": "/run/lab/action", "events": ["failover-online", "failover-offline"]},
    "failover": {"enable": true, "interval": 0.1, "pingcount": 1, "pingwait": 0.1, "prefer-primary": false, "hold-down": 0,
        "primary-if": "wan1", "primary-name": "net42", "primary-gw": "192.168.42.1",
        "standby-if": "wan2", "standby-name": "net62", "standby-gw": "192.168.62.1"}}"#;

/// Notes each call, and pulls the cables: of the network in use as soon as the other one is online
/// again, which is put back in as soon as the traffic has left it. While there is a file `pause`
/// both stay in.
const SCRIPT: &str = "#!/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
echo \"$3\" >>/run/lab/calls
case $3.$4 in
    failover-standby.*) ip -n isp1 link set cust up ;;
    failover-primary.*) ip -n isp2 link set cust up ;;
    failover-online.*wan1*) [ -e /run/lab/pause ] || ip -n isp2 link set cust down ;;
    failover-online.*wan2*) [ -e /run/lab/pause ] || ip -n isp1 link set cust down ;;
esac
";

/// Pulls the cables by itself and takes far longer for a call than it takes until the next.
const SLOW_SCRIPT: &str = "#!/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
[ \"$3\" != failover-initial ] || mkdir /run/lab/begun || exit 0
[ \"$3\" != failover-initial ] || while :; do
    for isp in isp1 isp2; do
        ip -n $isp link set cust down; sleep 0.15; ip -n $isp link set cust up; sleep 0.25
    done
done >/dev/null 2>&1 </dev/null &
sleep 0.5
";

fn main() {
    imon_lab::roles::intercept();
    let trial = |name: &str, test: fn()| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    let trials = vec![
        trial("nothing_grows_with_probes_switches_and_scripts", endure),
        trial("calls_that_wait_for_a_slow_script_take_so_much_and_no_more", wait_for_script),
    ];
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials).exit();
}

fn endure() {
    let (probes, switches) =
        (number("ENDURANCE_PROBES", 1_000_000), number("ENDURANCE_SWITCHES", 10_000));
    let lab = lab();
    lab.sh("inet", "ip route add local 198.19.0.0/22 dev lo");
    lab.script("/run/lab/action", SCRIPT);
    lab.write("/run/lab/calls", "");
    lab.write("/run/lab/pause", "");
    let targets: Vec<String> =
        (0..TARGETS).map(|n| format!("198.19.{}.{}", n / 250, n % 250 + 1)).collect();
    let ping = format!(
        r#"{{"ping": {{"enable": true, "interval": 0.25, "pingcount": 1, "pingwait": 0.2, "monitorip": "{}"}}}}"#,
        targets.join(",")
    );
    let mut run = Run {
        began: Instant::now(),
        lab: &lab,
        switcher: imon(&lab, "switches", FAILOVER),
        pinger: imon(&lab, "pings", &ping),
    };
    run.wait("both networks are online", |run| run.calls("failover-initial") >= 2);
    run.go();
    run.wait("the first minute", |run| run.began.elapsed() >= WARM_UP);
    let before = run.still("after the first minute");
    run.go();
    let mut told = Instant::now();
    run.wait("all probes and switches", |run| {
        if told.elapsed() >= WARM_UP {
            told = Instant::now();
            run.tell("on the way", &run.switcher.usage(), &run.pinger.usage());
        }
        run.probes() >= probes && run.switches() >= switches
    });
    let after = run.still("at the end");
    assert!(run.calls("") as u64 >= switches, "{} calls of the script", run.calls(""));
    for (what, before, after, growth) in [
        ("switching", &before.switcher, &after.switcher, SWITCHER_GROWTH),
        ("pinging", &before.pinger, &after.pinger, PINGER_GROWTH),
    ] {
        assert!(
            after.anonymous_kib <= before.anonymous_kib + growth,
            "{what} takes memory: {before:?}, {after:?}"
        );
        assert!(
            after.rss_kib <= before.rss_kib + growth,
            "{what} takes memory: {before:?}, {after:?}"
        );
        assert_eq!(after.descriptors, before.descriptors, "{what}: descriptors");
        assert_eq!((after.threads, &after.children), (1, &vec![]), "{what}: threads and children");
    }
    assert_eq!(after.routes, before.routes, "routes");
    assert_eq!(after.rules, before.rules, "rules");
    for imon in [&run.switcher, &run.pinger] {
        imon.signal(Signal::SIGTERM);
        assert!(imon.wait(STALL).success());
    }
}

fn wait_for_script() {
    let lab = lab();
    lab.script("/run/lab/action", SLOW_SCRIPT);
    let imon = imon(&lab, "slow", FAILOVER);
    let status =
        || serde_json::from_str::<Value>(&lab.read("/run/imon/slow.json")).unwrap_or_default();
    lab.wait_until("both networks are up", STALL, || {
        let failover = &status()["monitors"]["failover"];
        (0..2).all(|wan| failover["wans"][wan]["state"] == "up")
    });
    let few = imon.usage().anonymous_kib;
    // It is written at changes, of which there are many.
    lab.wait_until("many calls wait", 2 * WARM_UP, || {
        status()["actions"]["waiting"].as_u64() >= Some(60)
    });
    sleep(WARM_UP / 2);
    let many = imon.usage().anonymous_kib;
    sleep(WARM_UP);
    let last = imon.usage().anonymous_kib;
    println!(
        "anonymous memory with few calls that wait {few} KiB, with many {many} KiB, a minute later {last} KiB"
    );
    assert!(last <= few + WAITING, "{few} KiB, {many} KiB, {last} KiB");
    assert!(last <= many + 16, "it goes on growing: {few} KiB, {many} KiB, {last} KiB");
}

fn lab() -> Lab {
    let dist = format!("{}/dist/{TARGET}/imon", env!("CARGO_MANIFEST_DIR"));
    let program = std::env::var("ENDURANCE_IMON").unwrap_or(dist);
    assert!(Path::new(&program).exists(), "{program} is not there: cross/build {TARGET}");
    Lab::builder().imon(program).up()
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// imon with its log on a terminal that nobody reads: a hundred bytes for each of a million probes
/// are much to keep.
fn imon(lab: &Lab, instance: &str, config: &str) -> Proc {
    lab.write(&format!("/etc/default/imon-{instance}"), config);
    let program = lab.imon_program();
    let words = [
        "-c",
        "exec \"$0\" --instance \"$1\" --nosyslog >/dev/null",
        program.to_str().unwrap(),
        instance,
    ];
    let mut command = lab.command("router", "sh", words);
    lab.start(instance, &mut command)
}

struct Run<'a> {
    began: Instant,
    lab: &'a Lab,
    switcher: Proc,
    pinger: Proc,
}

/// What there is while nothing happens and the first network is in use.
struct Still {
    switcher: Usage,
    pinger: Usage,
    routes: String,
    rules: String,
}

impl Run<'_> {
    /// Calls of the script, for events that begin so.
    fn calls(&self, event: &str) -> usize {
        self.lab.read("/run/lab/calls").lines().filter(|call| call.starts_with(event)).count()
    }

    fn switches(&self) -> u64 {
        (self.calls("failover-primary") + self.calls("failover-standby")) as u64
    }

    /// That have arrived.
    fn probes(&self) -> u64 {
        let counters = self.lab.sh("inet", "grep ^Icmp: /proc/net/snmp");
        let mut rows = counters.lines().map(|row| row.split_whitespace());
        let (names, mut numbers) = (rows.next().unwrap(), rows.next().unwrap());
        let at = names.clone().position(|name| name == "InEchos").unwrap();
        numbers.nth(at).unwrap().parse().unwrap()
    }

    /// Waits while there is progress: calls of the script, or probes.
    fn wait(&mut self, what: &str, mut so: impl FnMut(&Self) -> bool) {
        let (mut last, mut at) = ((0, 0), Instant::now());
        while !so(self) {
            let now = (self.calls(""), self.probes());
            // Each of them: one that stands still is a fault even if the other goes on.
            let paused = self.paused();
            if now.1 > last.1 && (now.0 > last.0 || paused) {
                (last, at) = (now, Instant::now());
            }
            assert!(
                at.elapsed() < STALL,
                "{what}: nothing happens any more, {now:?}\n{}",
                self.lab.timeline()
            );
            assert!(self.began.elapsed() < LIMIT, "{what}: it takes too long, {now:?}");
            sleep(Duration::from_secs(1));
        }
    }

    fn paused(&self) -> bool {
        self.lab.path("/run/lab/pause").exists()
    }

    /// Lets the script pull cables, beginning with that of the network in use.
    fn go(&self) {
        self.lab.sh("router", "rm /run/lab/pause");
        self.pull();
    }

    fn pull(&self) {
        let isp = if self.uses("wan1") { "isp1" } else { "isp2" };
        self.lab.sh(isp, "ip link set cust down");
    }

    fn uses(&self, device: &str) -> bool {
        self.lab.sh("router", "ip route get 1.1.1.1").contains(&format!("dev {device} "))
    }

    /// Stops the switching with both networks online and the first one in use, and looks.
    fn still(&mut self, when: &str) -> Still {
        self.lab.write("/run/lab/pause", "");
        self.settle();
        if !self.uses("wan1") {
            self.pull();
            self.settle();
        }
        assert!(self.uses("wan1"), "{}", self.lab.timeline());
        let rest = |imon: &Proc| {
            let mut usage = imon.usage();
            // Without the child that writes the status, its descriptors, and the memory it takes to
            // start it.
            self.lab.wait_until("a moment without children", STALL, || {
                usage = imon.usage();
                usage.children.is_empty()
            });
            usage
        };
        let (switcher, pinger) = (rest(&self.switcher), rest(&self.pinger));
        self.tell(when, &switcher, &pinger);
        let routes = self.lab.sh("router", "ip -4 route show table all | sort");
        let rules = self.lab.sh("router", "ip -4 rule");
        println!("    {} routes, {} rules", routes.lines().count(), rules.lines().count());
        Still { switcher, pinger, routes, rules }
    }

    /// Waits until the script has not been called for some checks.
    fn settle(&self) {
        let (mut calls, mut since) = (0, Instant::now());
        self.lab.wait_until("quiet", STALL, || {
            let now = self.calls("");
            if now != calls {
                (calls, since) = (now, Instant::now());
            }
            since.elapsed() > Duration::from_secs(5)
        });
    }

    fn tell(&self, when: &str, switcher: &Usage, pinger: &Usage) {
        println!(
            "{when}, {:.0} s: {} probes, {} switches, {} calls",
            self.began.elapsed().as_secs_f64(),
            self.probes(),
            self.switches(),
            self.calls("")
        );
        for (name, usage) in [("switching", switcher), ("pinging", pinger)] {
            println!(
                "    {name}: anonymous {} KiB, resident {} KiB, {} descriptors, {:.1} s of processor time",
                usage.anonymous_kib,
                usage.rss_kib,
                usage.descriptors,
                usage.cpu.as_secs_f64()
            );
        }
    }
}
