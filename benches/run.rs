//! What imon costs, beside fping in the same network in the same run. Run it by `benches/run`.
//!
//! Both answer to the same conditions: the lab's router sends to the lab's internet, whose
//! responder takes 3 ms, so that a reply is a wake-up of its own, as it is on a real line. Costs
//! are differences between two looks at a running process; what a start costs is not in them.
//! Probes are those that arrived, not those that were to be sent (fping does not reach a thousand a
//! second). The kernel charges its work on a packet's way through the virtual links to who sends,
//! of both alike.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "test code, not imon's core"
)]

#[path = "parts/failover.rs"]
mod failover;
#[path = "parts/lookup.rs"]
mod lookup;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::Duration;

use imon_lab::roles::{Behaviour, Passage, Responder, Syslog, WireSettings, round_trip};
use imon_lab::{Lab, Proc, Signal, Usage, Wan, monotonic_ns};

/// First argument of this program when it is to say the time and become another.
const LAUNCH: &str = "--launch";
/// How long anything may take that should take no time.
const SOON: Duration = Duration::from_secs(10);
const REPLY_AFTER: Duration = Duration::from_millis(3);
/// Whom each peer pings, where it is one address.
const IMONS: &str = "1.1.1.1";
const FPINGS: &str = "8.8.8.8";

fn main() -> ExitCode {
    imon_lab::roles::intercept();
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|a| a == LAUNCH) {
        return launch(&args[1..]);
    }
    match args.first().map(String::as_str) {
        Some(failover::WATCH) => return failover::watch(),
        Some(failover::TOGGLE) => return failover::toggle(&args[1..]),
        _ => {}
    }
    // `cargo bench` says so, `cargo test --all-targets`, which runs benchmarks as if they were
    // tests, does not.
    let Some(at) = args.iter().position(|a| a == "--bench") else {
        println!("This takes minutes and measures the static binary: run benches/run");
        return ExitCode::SUCCESS;
    };
    args.remove(at);
    bench(&args)
}

/// All of it, or only the parts named: size, memory, load, calls, start, rtt, failover, lookup.
fn bench(parts: &[String]) -> ExitCode {
    let dist = PathBuf::from(std::env::var_os("IMON_DIST").expect("IMON_DIST: run benches/run"));
    let (imon, nano) = (dist.join("imon"), dist.join("imon-nano"));
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|p| p == part);
    let mut table = Table::default();
    if wanted("size") {
        sizes(&mut table, &imon, &nano);
    }
    if wanted("memory") {
        memory(&mut table, &imon, &nano);
    }
    if wanted("load") {
        probes(&mut table, &Bench::new(&imon));
    }
    if wanted("calls") {
        system_calls(&mut table, &Bench::new(&imon));
    }
    if wanted("start") {
        start(&mut table, &Bench::new(&imon));
    }
    if wanted("rtt") {
        accuracy(&mut table, &imon);
    }
    if wanted("failover") {
        failover::bench(&mut table, &imon);
    }
    if wanted("lookup") {
        lookup::bench(&mut table, &imon);
    }
    println!("{table}");
    if table.rows.iter().any(Row::is_over) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn sizes(table: &mut Table, imon: &Path, nano: &Path) {
    let kib = |file: &Path| fs::metadata(file).map_or(f64::NAN, |m| m.len() as f64 / 1024.0);
    table.add("size of the program, KiB", kib(imon)).limit(1953.1);
    table.add("    without TLS (nano), KiB", kib(nano)).limit(1093.7);
}

/// The lab with its responder, and the peers in it.
struct Bench {
    lab: Lab,
    internet: Responder,
    /// Takes imon's log, as on a real system.
    _syslog: Syslog,
}

impl Bench {
    fn new(imon: &Path) -> Self {
        let lab = Lab::builder().imon(imon).up();
        let internet = lab.responder("inet");
        internet.set_default(&Behaviour::normal().delay(REPLY_AFTER));
        lab.sh("inet", "ip route add local 198.19.0.0/22 dev lo");
        let syslog = lab.syslog();
        Self { lab, internet, _syslog: syslog }
    }

    fn imon(&self, name: &str, config: &str) -> Proc {
        self.lab.imon("router").instance(name, config).spawn()
    }

    fn fping<A: AsRef<str>>(&self, args: impl IntoIterator<Item = A>) -> Proc {
        let args = args.into_iter().map(|a| a.as_ref().to_owned());
        self.lab.spawn("router", "fping", std::iter::once("-q".to_owned()).chain(args))
    }

    fn wait_for_probes(&self, n: usize) {
        self.lab.wait_until(&format!("{n} probes"), SOON * 6, || self.internet.count() >= n);
    }
}

/// A load of many probes for each of the peers.
struct Load {
    name: &'static str,
    /// Probes that pass before the look.
    warm: usize,
    window: Duration,
    runs: usize,
    imon: String,
    fping: Vec<String>,
}

/// The loads. imon's probes are spread evenly over the second, as fping's are, and go to the same
/// addresses.
fn loads() -> [Load; 3] {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let targets: Vec<_> =
        (0..1000).map(|n| format!("198.19.{}.{}", n / 250, n % 250 + 1)).collect();
    let eleven = targets[..11].join(", ");
    [
        // One at a time: a process that wakes up just after another one finds the kernel's code in
        // the caches, and with the same period that would go on for ever.
        Load {
            name: "1 a second",
            warm: 3,
            window: Duration::from_secs(20),
            runs: 5,
            imon: updown(1.0, IMONS),
            fping: words("-c 100000 -p 1000").into_iter().chain([FPINGS.to_owned()]).collect(),
        },
        Load {
            name: "100 a second",
            // The first results change the status, which another process is started to write. Then
            // nothing changes.
            warm: 350,
            window: Duration::from_secs(4),
            runs: 5,
            // Eleven targets a tenth of a second apart, the ten probes of each 0.11 s apart: one
            // every 10 ms.
            imon: ping(1.1, 10, &eleven),
            fping: words("-c 100000 -p 110 -i 10")
                .into_iter()
                .chain(targets[..11].to_vec())
                .collect(),
        },
        Load {
            name: "1,000 targets at 1 s",
            warm: 1200,
            // All results come to the log once.
            window: Duration::from_secs(10),
            runs: 3,
            imon: ping(10.0, 10, &targets.join(", ")),
            fping: words("-c 100000 -p 1000 -i 1").into_iter().chain(targets).collect(),
        },
    ]
}

fn updown(interval: f64, target: &str) -> String {
    format!(r#"{{"updown": {{"enable": true, "interval": {interval}, "monitorip": "{target}"}}}}"#)
}

fn ping(interval: f64, count: u16, targets: &str) -> String {
    format!(
        r#"{{"ping": {{"enable": true, "interval": {interval}, "pingcount": {count}, "monitorip": "{targets}"}}}}"#
    )
}

/// What a process has cost between two looks.
struct Cost {
    probes: f64,
    cpu: Duration,
    woken: f64,
}

impl Cost {
    fn between(before: &(Usage, usize), after: &(Usage, usize)) -> Self {
        Self {
            probes: (after.1 - before.1) as f64,
            cpu: after.0.cpu - before.0.cpu,
            woken: (after.0.voluntary_switches - before.0.voluntary_switches) as f64,
        }
    }

    /// Milliseconds of processor time for a thousand probes: microseconds for one.
    fn cpu(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.probes
    }

    fn wake_ups(&self) -> f64 {
        self.woken / self.probes
    }
}

/// The memory of imon with both monitors on, while the status is written at least once.
fn memory(table: &mut Table, program: &Path, nano: &Path) {
    progress("memory");
    let both = r#"{"updown": {"enable": true, "interval": 1, "monitorip": "9.9.9.9"},
        "ping": {"enable": true, "monitorip": "198.18.0.80"}}"#;
    let [bench, fpings_bench] = [(); 2].map(|()| Bench::new(program));
    bench.lab.write("/etc/default/imon-nano", both);
    let nano = bench.lab.spawn("router", nano, ["--instance", "nano"]);
    let both = bench.imon("both", both);
    let fping = fpings_bench.fping(["-c", "100000", "-p", "1000", FPINGS]);
    let mut samples = Vec::new();
    for _ in 0..50 {
        sleep(Duration::from_secs(1));
        samples.push([&both, &nano, &fping].map(Proc::usage));
    }
    samples.drain(..20);
    let most = |of: fn(&Usage) -> u64, who: usize| {
        samples.iter().map(|s| of(&s[who])).max().unwrap_or(0) as f64
    };
    let rss = |u: &Usage| u.rss_kib;
    let anonymous = |u: &Usage| u.anonymous_kib;
    table
        .add("memory (RSS) with ping and updown, KiB", most(rss, 0))
        .peer(most(rss, 2))
        .limit(1228.8);
    table.add("    of it anonymous, KiB", most(anonymous, 0)).peer(most(anonymous, 2)).limit(160.0);
    table.add("    nano, KiB", most(rss, 1));
    table.add("    nano, of it anonymous, KiB", most(anonymous, 1));
    table
        .add("threads", most(|u| u.threads as u64, 0))
        .peer(most(|u| u.threads as u64, 2))
        .limit(1.0);
}

/// The loads, one peer after the other in turn.
fn probes(table: &mut Table, bench: &Bench) {
    for load in loads() {
        let (mut imons, mut fpings) = (Vec::new(), Vec::new());
        for run in 0..load.runs {
            progress(&format!("{}: run {} of {}", load.name, run + 1, load.runs));
            let measure = |start: &dyn Fn() -> Proc| {
                bench.internet.forget();
                let proc = start();
                bench.wait_for_probes(load.warm);
                let look = || (proc.usage(), bench.internet.count());
                let before = look();
                sleep(load.window);
                Cost::between(&before, &look())
            };
            imons.push(measure(&|| bench.imon("load", &load.imon)));
            fpings.push(measure(&|| bench.fping(&load.fping)));
        }
        costs(table, load.name, &imons, &fpings);
    }
}

fn costs(table: &mut Table, load: &str, imons: &[Cost], fpings: &[Cost]) {
    let median = |costs: &[Cost], of: fn(&Cost) -> f64| median(costs.iter().map(of).collect());
    let [imon, fping] = [imons, fpings].map(|c| (median(c, Cost::cpu), median(c, Cost::wake_ups)));
    table
        .add(&format!("CPU for 1000 probes, {load}, ms"), imon.0)
        .peer(fping.0)
        .most_times_the_peer(1.15);
    table.add("    wake-ups for a probe", imon.1).peer(fping.1).limit(2.0);
}

/// By strace, between two probes, without those that write the status file every 30 s however many
/// probes there are. The first load has nothing to log, so its figure is that of the probes alone.
fn system_calls(table: &mut Table, bench: &Bench) {
    let [.., many] = loads();
    // Two seconds in: the first state is written to the status file one second after the start, by
    // a wake-up of its own.
    let few =
        (20, updown(0.1, IMONS), ["-c", "100000", "-p", "100", FPINGS].map(str::to_owned).to_vec());
    for (name, (warm, imon, fping)) in
        [("10 a second", few), (many.name, (many.warm, many.imon, many.fping))]
    {
        progress(&format!("system calls, {name}"));
        let count = |program: &str, args: &[String]| {
            // -I2: a signal that ends strace is passed on first.
            let options = ["-I2", "-f", "-qq", "-o", "/run/lab/trace", program].map(str::to_owned);
            bench.lab.write("/run/lab/trace", "");
            let strace = bench.lab.spawn("router", "strace", options.iter().chain(args));
            let (first, last) = (warm, warm * 6);
            let mut sends: Vec<i32> = Vec::new();
            bench.lab.wait_until("the probes to be traced", SOON * 6, || {
                let trace = bench.lab.read("/run/lab/trace");
                let names = trace
                    .lines()
                    .map(call)
                    .filter(|name| !name.is_empty() && !STATUS.contains(name));
                sends = (0..)
                    .zip(names)
                    .filter(|(_, name)| *name == "sendto")
                    .map(|(at, _)| at)
                    .collect();
                sends.len() > last
            });
            // Ends what it traces as well, which SIGKILL would not.
            strace.signal(Signal::SIGTERM);
            strace.wait(SOON);
            f64::from(sends[last] - sends[first]) / (last - first) as f64
        };
        bench.lab.write("/etc/default/imon-traced", &imon);
        let program = bench.lab.imon_program().to_string_lossy().into_owned();
        let imon = count(&program, &["--instance", "traced", "--nosyslog"].map(str::to_owned));
        let fping = count("fping", &[&["-q".to_owned()], &fping[..]].concat());
        table.add(&format!("system calls for a probe, {name}"), imon).peer(fping).limit(4.0);
    }
}

/// Calls that write the status file.
const STATUS: [&str; 7] = ["getpid", "open", "openat", "fcntl", "write", "close", "rename"];

/// The name of the call in a line of strace's, `PID name(arguments) = result`.
fn call(line: &str) -> &str {
    let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
    call.split_once('(').map_or("", |(name, _)| name)
}

/// From the program's exec to the arrival of its first probe.
fn start(table: &mut Table, bench: &Bench) {
    const RUNS: usize = 15;
    progress("start to first probe");
    let this = std::env::current_exe().expect("this program's own path is known");
    let this = this.to_string_lossy();
    bench.lab.write("/etc/default/imon-start", &ping(10.0, 2, IMONS));
    let imon = bench.lab.imon_program();
    let imon = imon.to_string_lossy();
    let measure = |args: &[&str]| {
        bench.internet.forget();
        let proc = bench.lab.spawn("router", &*this, [LAUNCH].iter().chain(args));
        let started: u64 =
            proc.wait_line(|_| true, SOON).text.parse().expect("the launcher says the time");
        bench.wait_for_probes(1);
        (bench.internet.requests()[0].at_ns - started) as f64 / 1e6
    };
    let (mut imons, mut fpings) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        imons.push(measure(&[&imon, "--instance", "start"]));
        fpings.push(measure(&["fping", "-q", "-c", "3", FPINGS]));
    }
    table.add("start to first probe, ms", median(imons)).peer(median(fpings)).limit(20.0);
}

/// Says the time and becomes the program.
fn launch(command: &[String]) -> ExitCode {
    use std::os::unix::process::CommandExt as _;
    println!("{}", monotonic_ns());
    let e = Command::new(&command[0]).args(&command[1..]).exec();
    panic!("{}: {e}", command[0]);
}

/// Round-trip times of both peers against what a cable in between has measured for the very same
/// packets.
fn accuracy(table: &mut Table, imon: &Path) {
    const PROBES: usize = 220;
    progress("round-trip times");
    let lab = Lab::builder().imon(imon).wire(Wan::One).up();
    let _internet = lab.responder("inet");
    let wire = lab.wire(Wan::One);
    wire.set(&WireSettings { delay: Duration::from_millis(2), ..WireSettings::default() });
    lab.sh("router", &format!("fping -q -c 1 -t 5000 {IMONS} 2>&1"));
    wire.forget();
    let imon = lab.imon("router").instance("rtt", &ping(0.1, 1, IMONS)).nosyslog().spawn();
    lab.wait_until("imon's first probe", SOON, || !wire.passages().is_empty());
    let id = wire.passages()[0].id;
    let fping = lab.spawn("router", "fping", ["-c", &PROBES.to_string(), "-p", "100", FPINGS]);
    fping.wait(SOON * 6);
    let passages = wire.passages();
    // One line for each probe, in order.
    let number = |line: &str, before: &str, after: &str| -> Option<f64> {
        line.split_once(before)?.1.split_once(after)?.0.parse().ok()
    };
    let imon: Vec<_> = imon.texts().iter().filter_map(|l| number(l, "minrtt:", " ")).collect();
    let fping: Vec<_> = fping.texts().iter().filter_map(|l| number(l, "bytes, ", " ms")).collect();
    let errors = |mine: fn(u16, u16) -> bool, said: &[f64]| {
        let measured = true_times(&passages, |p| mine(p.id, id));
        assert!(
            measured.len() >= said.len() && said.len() >= PROBES / 2,
            "{} of {}",
            said.len(),
            measured.len()
        );
        let mut errors: Vec<_> =
            said.iter().zip(measured).map(|(said, measured)| (said - measured).abs()).collect();
        errors.sort_by(f64::total_cmp);
        errors
    };
    let at = |errors: &[f64], part: usize| errors[errors.len() * part / 100];
    let (imon, fping) =
        (errors(|this, imons| this == imons, &imon), errors(|this, imons| this != imons, &fping));
    table.add("RTT, difference to the wire, median, ms", at(&imon, 50)).peer(at(&fping, 50));
    table.add("    99 of 100 are below, ms", at(&imon, 99)).peer(at(&fping, 99)).limit(0.1);
}

/// What the cable has measured, in milliseconds, of the requests wanted, in the order of their
/// sending.
fn true_times(passages: &[Passage], wanted: impl Fn(&Passage) -> bool) -> Vec<f64> {
    let requests = passages.iter().filter(|p| !p.reply && wanted(p));
    let times = requests.filter_map(|p| round_trip(passages, p.id, p.seq));
    times.map(|t| t.as_secs_f64() * 1000.0).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn progress(what: &str) {
    eprintln!("benches/run: {what}");
}

#[derive(Default)]
struct Table {
    rows: Vec<Row>,
}

struct Row {
    what: String,
    imon: f64,
    peer: Option<f64>,
    limit: Option<Limit>,
}

enum Limit {
    Value(f64),
    /// So many times what the peer needs.
    Ratio(f64),
}

impl Table {
    pub(crate) fn add(&mut self, what: &str, imon: f64) -> &mut Row {
        self.rows.push(Row { what: what.to_owned(), imon, peer: None, limit: None });
        self.rows.last_mut().expect("it was just pushed")
    }
}

impl Row {
    pub(crate) fn peer(&mut self, value: f64) -> &mut Self {
        self.peer = Some(value);
        self
    }

    pub(crate) fn limit(&mut self, value: f64) {
        self.limit = Some(Limit::Value(value));
    }

    fn most_times_the_peer(&mut self, ratio: f64) {
        self.limit = Some(Limit::Ratio(ratio));
    }

    fn ratio(&self) -> Option<f64> {
        self.peer.map(|peer| self.imon / peer)
    }

    fn is_over(&self) -> bool {
        match self.limit {
            Some(Limit::Value(limit)) => round(self.imon) > limit || self.imon.is_nan(),
            Some(Limit::Ratio(limit)) => self.ratio().is_none_or(|r| r > limit || r.is_nan()),
            None => false,
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<48} {:>9} {:>9} {:>6}   limit", "", "imon", "fping", "ratio")?;
        for row in &self.rows {
            let show = |v: Option<f64>| v.map_or_else(String::new, |v| format!("{}", round(v)));
            let ratio = row.ratio().map_or_else(String::new, |r| format!("{r:.2}"));
            let verdict = if row.is_over() { "OVER" } else { "ok" };
            let limit = match row.limit {
                Some(Limit::Value(limit)) => format!("{limit:<8} {verdict}"),
                Some(Limit::Ratio(limit)) => format!("x {limit:<6} {verdict}"),
                None => String::new(),
            };
            let line = format!(
                "{:<48} {:>9} {:>9} {ratio:>6}   {limit}",
                row.what,
                show(Some(row.imon)),
                show(row.peer)
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// To three digits or so: more would only be noise.
fn round(value: f64) -> f64 {
    let places = if value < 0.2 {
        3
    } else if value < 20.0 {
        2
    } else if value < 100.0 {
        1
    } else {
        0
    };
    let scale = 10_f64.powi(places);
    (value * scale).round() / scale
}
