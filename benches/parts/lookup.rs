//! What a lookup of the external address by HTTPS costs, beside curl: time, the peak of its
//! process, and what it leaves in the daemon.

use std::fs;
use std::path::Path;

use imon_lab::roles::HttpMode;
use imon_lab::{Lab, Proc, Signal};
use serde_json::{Value, json};

use super::{SOON, Table, progress};

const PAGE: &str = "https://198.18.0.80/";
const CA: &str = "/run/lab/ca.pem";
/// Lookups for a mean.
const TIMES: u32 = 50;
/// Lookups of the daemon.
const MANY: usize = 20;

pub(crate) fn bench(table: &mut Table, imon: &Path) {
    progress("lookups of the external address");
    let lab = Lab::builder().imon(imon).public().up();
    let http = lab.http();
    lab.write(CA, &http.authority());
    let program = lab.imon_program();
    let ours = format!("{} external-ip --source {PAGE} --ca-file {CA}", program.display());
    let curls = format!("curl --silent --max-time 5 --cacert {CA} {PAGE}");
    // Once for the page cache, which also tells that it works.
    for command in [&ours, &curls] {
        assert_eq!(lab.sh("router", command), "203.0.113.1");
    }
    let mean = |command: &str| {
        let script = format!(
            "a=$(date +%s%N); for i in $(seq {TIMES}); do {command} >/dev/null || exit 1; done; b=$(date +%s%N); \
             echo $((b - a))"
        );
        lab.sh("router", &script).parse::<f64>().expect("nanoseconds") / f64::from(TIMES) / 1e6
    };
    let (first, peers) = (mean(&ours), mean(&curls));
    // In turn, so that neither has the quieter half.
    table
        .add("HTTPS lookup beside curl, start to answer, ms", (first + mean(&ours)) / 2.0)
        .peer(peers.midpoint(mean(&curls)))
        .limit(100.0);

    http.mode(&HttpMode::Hang);
    let asked = http.requests().len();
    let asking = lab.spawn("router", &program, ours.split(' ').skip(1));
    http.wait_request(asked, |_| true, SOON);
    let peak = lab.sh(
        "router",
        "for p in $(grep -lsz web-worke[r] /proc/[0-9]*/cmdline); do grep VmHWM ${p%cmdline}status; done",
    );
    end(&asking);
    let asking = lab.spawn("router", "curl", curls.split(' ').skip(1));
    http.wait_request(asked + 1, |_| true, SOON);
    let peers = lab.sh("router", &format!("grep VmHWM /proc/{}/status", inside(&lab, "curl")));
    end(&asking);
    table.add("    peak memory of its process, KiB", kib(&peak)).peer(kib(&peers)).limit(4096.0);

    http.mode(&HttpMode::Ok);
    let config = json!({ "ddns": { "enable": true, "sources": [PAGE], "ca-file": CA } });
    let daemon = lab.imon("router").instance("ddns", &config.to_string()).spawn();
    let last = || status(&lab)["monitors"]["ddns"]["addresses"][0]["sources"][0]["asked"].clone();
    lab.wait_until("the first lookup is over", SOON, || last() != Value::Null);
    let look = |times: usize| {
        for _ in 0..times {
            let before = last();
            daemon.signal(Signal::SIGUSR1);
            lab.wait_until("a lookup is over", SOON, || last() != before);
        }
    };
    look(2);
    let before = anonymous(&daemon);
    look(MANY);
    table.add("    left in the daemon after 20 more, KiB", anonymous(&daemon) - before).limit(16.0);
    end(&daemon);
}

fn status(lab: &Lab) -> Value {
    serde_json::from_str(&lab.read("/run/imon/ddns.json")).unwrap_or_default()
}

fn anonymous(process: &Proc) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap_or_default();
    kib(status.lines().find(|l| l.starts_with("RssAnon")).unwrap_or_default())
}

/// The number of a line of `/proc/PID/status`.
fn kib(line: &str) -> f64 {
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(f64::NAN)
}

/// The process number inside the lab.
fn inside(lab: &Lab, name: &str) -> String {
    lab.sh(
        "router",
        &format!("for d in /proc/[0-9]*; do [ \"$(cat $d/comm 2>/dev/null)\" = {name} ] && basename $d; done; true"),
    )
}

fn end(process: &Proc) {
    process.signal(Signal::SIGTERM);
    process.wait(SOON);
}
