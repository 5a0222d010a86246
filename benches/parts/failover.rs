//! How fast the failover monitor is: from a fault to the default route in its new place, as another
//! process hears it from the kernel.

use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use imon::kernel::news::News;
use imon::kernel::{MAIN, PROTOCOL};
use imon::sys::netlink::Events;
use imon::sys::poll::Poll;
use imon_lab::roles::{Sender, Sink};
use imon_lab::{Fault, Lab, Nat, Proc, Signal, Wan, instant_ns, monotonic_ns};

use crate::{LAUNCH, SOON, Table, median, progress};

/// First arguments of this program when it is to tell when our default route changes, or to change
/// a file.
pub(crate) const WATCH: &str = "--watch";
pub(crate) const TOGGLE: &str = "--toggle";

/// Interfaces of the router: the lab numbers them.
const WAN1: u32 = 12;
const WAN2: u32 = 14;

pub(crate) fn bench(table: &mut Table, imon: &Path) {
    carrier(table, imon);
    late_carrier(table, imon);
    stalled_disk(table, imon);
    for (name, fault, target, runs, limit) in [
        ("gateway silent", Fault::GatewaySilent(Wan::One), None, 21, Some((1700.0, 2200.0))),
        ("gateway dead, ARP too", Fault::GatewayDead(Wan::One), None, 7, None),
        ("upstream silent", Fault::UpstreamDead(Wan::One), Some("1.1.1.1"), 7, None),
        ("upstream rejects", Fault::UpstreamRejecting(Wan::One), Some("1.1.1.1"), 7, None),
    ] {
        detection(table, imon, name, fault, target, runs, limit);
    }
    client(table, imon);
    start(table, imon);
    everything(table, imon);
}

/// imon's default route as it changes.
struct Watch(Proc);

impl Watch {
    fn new(lab: &Lab) -> Self {
        let this = std::env::current_exe().expect("this program's own path is known");
        let watch = lab.spawn("router", this, [WATCH]);
        watch.wait_line(|line| line == "watching", SOON);
        Self(watch)
    }

    /// When the route went over an interface, since then.
    fn times(&self, index: u32) -> Vec<u64> {
        let line = |text: String| {
            let (at, to) = text.split_once(' ')?;
            (to.parse() == Ok(index)).then(|| at.parse().ok())?
        };
        self.0.texts().into_iter().filter_map(line).collect()
    }

    /// Milliseconds until it goes over this interface.
    fn wait(&self, lab: &Lab, since: u64, index: u32) -> f64 {
        let first = || self.times(index).into_iter().find(|at| *at >= since);
        lab.wait_until("the default route in its new place", SOON, || first().is_some());
        first().map_or(f64::NAN, |at| (at - since) as f64 / 1e6)
    }
}

fn config(more: &str) -> String {
    format!(
        r#"{{"failover": {{"enable": true, "interval": 1, "pingcount": 2, "pingwait": 1, "prefer-primary": true,
            "hold-down": 0, "on-exit": "remove", "primary-if": "wan1", "primary-gw": "192.168.42.1",
            "standby-if": "wan2", "standby-gw": "192.168.62.1"{more}}}}}"#
    )
}

/// The value that this part of all does not exceed.
fn part(mut values: Vec<f64>, percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * percent / 100).min(values.len() - 1)]
}

/// Pulls the provider's cable and puts it back, so often; when it was pulled and put back.
fn pull(lab: &Lab, down: u64, up: u64, times: usize) -> (Vec<u64>, Vec<u64>) {
    let this = std::env::current_exe().expect("this program's own path is known");
    let (down, up, times) = (down.to_string(), up.to_string(), times.to_string());
    let file = "/sys/class/net/cust/flags";
    let toggle = lab.spawn("isp1", this, [TOGGLE, file, "0x1002", &down, "0x1003", &up, &times]);
    toggle.wait(SOON * 12);
    let at = |value: &str| -> Vec<u64> {
        let lines = toggle.texts().into_iter();
        lines
            .filter_map(|l| l.split_once(' ').filter(|(_, v)| *v == value)?.0.parse().ok())
            .collect()
    };
    (at("0x1002"), at("0x1003"))
}

fn run(lab: &Lab, watch: &Watch, more: &str) -> Proc {
    let imon = lab.imon("router").instance("bench", &config(more)).nosyslog().spawn();
    watch.wait(lab, 0, WAN1);
    imon.wait_line(|line| line.contains("Initial State for Standby"), SOON);
    imon
}

fn took(starts: &[u64], ends: &[u64]) -> Vec<f64> {
    let end =
        |start: &u64| ends.iter().find(|end| *end >= start).map(|end| (end - start) as f64 / 1e6);
    starts.iter().map(|start| end(start).unwrap_or(f64::INFINITY)).collect()
}

fn carrier(table: &mut Table, imon: &Path) {
    progress("failover: carrier lost, a hundred times");
    let lab = Lab::builder().imon(imon).default_route(None).up();
    let watch = Watch::new(&lab);
    let _imon = run(&lab, &watch, "");
    let (down, up) = pull(&lab, 150, 300, 100);
    let lost = took(&down, &watch.times(WAN2));
    table.add("carrier lost to route replaced, median, ms", median(lost.clone()));
    table.add("    99 of 100 are below, ms", part(lost, 99)).limit(20.0);
    let back = took(&up, &watch.times(WAN1));
    table.add("carrier back to route on primary, median, ms", median(back.clone()));
    table.add("    at most, ms", part(back, 100)).limit(1000.0);
}

fn late_carrier(table: &mut Table, imon: &Path) {
    progress("failover: carrier lost 0.3 s after it came");
    let lab = Lab::builder().imon(imon).default_route(None).late_news(Wan::One).up();
    let watch = Watch::new(&lab);
    let _imon = run(&lab, &watch, "");
    let (down, _) = pull(&lab, 1300, 300, 20);
    let lost = took(&down, &watch.times(WAN2));
    table.add("carrier lost 0.3 s after it came, median, ms", median(lost.clone()));
    table.add("    at most, ms", part(lost, 100)).limit(50.0);
}

/// What imon writes is written by another process. One that has been stopped is to imon what a disk
/// that stalls is.
fn stalled_disk(table: &mut Table, imon: &Path) {
    progress("failover: carrier lost while the disk stalls");
    let lab = Lab::builder().imon(imon).default_route(None).up();
    let watch = Watch::new(&lab);
    let _imon = run(&lab, &watch, "");
    let stop = lab.spawn(
        "router",
        "sh",
        ["-c", "until pkill -STOP -f 'imon file-write[r]'; do sleep 0.001; done"],
    );
    // The first switch has the status written.
    pull(&lab, 1000, 300, 1);
    stop.wait(SOON * 4);
    let (down, _) = pull(&lab, 300, 300, 20);
    let writers = lab.sh("router", "pgrep -f 'imon file-write[r]' | wc -l");
    assert_eq!(writers.trim(), "1", "the writer that was stopped is still there, and no other");
    let lost = took(&down, &watch.times(WAN2));
    table.add("carrier lost while the disk stalls, median, ms", median(lost.clone()));
    table.add("    at most, ms", part(lost, 100)).limit(50.0);
}

fn detection(
    table: &mut Table,
    imon: &Path,
    name: &str,
    fault: Fault,
    target: Option<&str>,
    runs: u64,
    limit: Option<(f64, f64)>,
) {
    progress(&format!("failover: {name}"));
    let lab = Lab::builder().imon(imon).default_route(None).up();
    let watch = Watch::new(&lab);
    let _imon = run(
        &lab,
        &watch,
        &target.map_or_else(String::new, |t| format!(r#", "primary-ping": "{t}""#)),
    );
    let mut times = Vec::new();
    for run in 0..runs {
        // At all phases of the grid of checks.
        sleep(Duration::from_millis(1000 + run * 1000 / runs));
        let since = monotonic_ns();
        lab.fault(fault);
        times.push(watch.wait(&lab, since, WAN2));
        let healed = instant_ns(lab.heal(fault));
        watch.wait(&lab, healed, WAN1);
    }
    let row = table.add(&format!("{name} to route replaced, median, ms"), median(times.clone()));
    if let Some((median, _)) = limit {
        row.limit(median);
    }
    let row = table.add("    at most, ms", part(times, 100));
    if let Some((_, most)) = limit {
        row.limit(most);
    }
}

/// A LAN client that sends a packet each millisecond.
fn client(table: &mut Table, imon: &Path) {
    progress("failover: packets that a LAN client loses");
    let lab = Lab::builder().imon(imon).nat(Nat::All).default_route(None).up();
    let watch = Watch::new(&lab);
    let _imon = run(&lab, &watch, "");
    let sink: Sink = lab.sink("inet");
    let _sender: Sender = lab.sender("lan", "1.1.1.1", Some(Duration::from_millis(1)));
    let (down, up) = pull(&lab, 700, 700, 12);
    let mut heard = sink.report().heard;
    // A packet that waits for the gateway's address comes late, and is not lost.
    heard.sort_unstable();
    let lost = |events: &[u64], index: u32| -> f64 {
        let near = |at: u64| {
            let event = events.iter().rev().find(|event| **event <= at)?;
            (at - event < 400_000_000).then_some(())
        };
        assert!(!watch.times(index).is_empty());
        let gaps = heard.windows(2).filter(|w| near(w[1].1).is_some());
        let lost: u64 = gaps.map(|w| w[1].0.saturating_sub(w[0].0 + 1)).sum();
        lost as f64 / events.len() as f64
    };
    table.add("packets a LAN client loses, cable pulled", lost(&down, WAN2));
    table.add("    going back to primary", lost(&up, WAN1));
}

fn start(table: &mut Table, imon: &Path) {
    progress("failover: start to default route");
    let lab = Lab::builder().imon(imon).default_route(None).up();
    let watch = Watch::new(&lab);
    let this = std::env::current_exe().expect("this program's own path is known");
    let program = lab.imon_program();
    lab.write("/etc/default/imon-start", &config(""));
    let mut times = Vec::new();
    for _ in 0..15 {
        let args = [LAUNCH, &program.to_string_lossy(), "--instance", "start", "--nosyslog"];
        let imon = lab.spawn("router", &this, args);
        let since: u64 =
            imon.wait_line(|_| true, SOON).text.parse().expect("the launcher says the time");
        times.push(watch.wait(&lab, since, WAN1));
        imon.signal(Signal::SIGTERM);
        imon.wait(SOON);
    }
    table.add("start to default route, ms", part(times, 100)).limit(60.0);
}

/// All monitors together.
fn everything(table: &mut Table, imon: &Path) {
    progress("all monitors together");
    let lab = Lab::builder().imon(imon).up();
    let failover = config(r#", "primary-ping": "1.1.1.1", "standby-ping": "8.8.8.8""#);
    let others = r#""updown": {"enable": true, "interval": 1, "monitorip": "9.9.9.9"},
        "ping": {"enable": true, "interval": 1, "monitorip": "198.18.0.80"}, "failover""#;
    let all = failover.replacen(r#""failover""#, others, 1);
    let _syslog = lab.syslog();
    let imon = lab.imon("router").instance("all", &all).spawn();
    sleep(Duration::from_secs(5));
    let (before, began) = (imon.usage(), Instant::now());
    sleep(Duration::from_secs(40));
    let after = imon.usage();
    let cpu = (after.cpu - before.cpu).as_secs_f64() * 100.0 / began.elapsed().as_secs_f64();
    table.add("memory (RSS) with all monitors on, KiB", after.rss_kib as f64).limit(1229.0);
    table.add("    of it anonymous, KiB", after.anonymous_kib as f64);
    table.add("CPU with all monitors each second, percent", cpu);
}

/// Tells when imon's default route goes over which interface.
pub(crate) fn watch() -> ExitCode {
    let mut events = Events::open().expect("netlink");
    let mut poll = Poll::default();
    poll.add((), events.fd());
    println!("watching");
    loop {
        poll.wait(-1).expect("poll");
        let at = monotonic_ns();
        events.receive(|message| {
            if let News::Route(route) = message.news
                && (route.table, route.prefix, route.protocol) == (MAIN, 0, PROTOCOL)
                && let Some(hop) = route.hop()
            {
                println!("{at} {}", hop.index);
            }
        });
    }
}

/// Writes two values to a file in turn, with a pause in milliseconds after each, so many times;
/// says when.
pub(crate) fn toggle(args: &[String]) -> ExitCode {
    let [file, first, after_first, second, after_second, times] = args else {
        panic!("FILE VALUE MILLISECONDS VALUE MILLISECONDS TIMES");
    };
    let ms = |text: &str| Duration::from_millis(text.parse().expect("a number"));
    for _ in 0..times.parse::<usize>().expect("a number") {
        for (value, pause) in [(first, after_first), (second, after_second)] {
            println!("{} {value}", monotonic_ns());
            std::fs::write(file, value).expect("it can be written");
            sleep(ms(pause));
        }
    }
    ExitCode::SUCCESS
}
