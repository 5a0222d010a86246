//! When probes leave and what their round-trip times are worth, by the clock of those who see them
//! pass.

use std::time::Duration;

use imon_lab::roles::{Behaviour, Request, WireSettings, round_trip};
use imon_lab::{Lab, Wan};
use libtest_mimic::Trial;

use crate::support::wait_lines;
use crate::{SOON, lab, trials};

pub(crate) fn tests() -> Vec<Trial> {
    trials![
        checks_start_on_the_grid_with_as_many_probes_as_configured,
        updown_stops_a_check_at_its_first_reply,
        while_offline_updown_checks_every_second,
        a_check_may_take_longer_than_the_interval,
        round_trip_times_and_losses_are_those_of_the_wire,
        a_thousand_targets,
    ]
}

const MS: Duration = Duration::from_millis(1);

/// Time between two moments in nanoseconds.
fn between(earlier: u64, later: u64) -> Duration {
    Duration::from_nanos(later.saturating_sub(earlier))
}

fn checks_start_on_the_grid_with_as_many_probes_as_configured() {
    let lab = lab();
    let internet = lab.responder("inet");
    // Each reply takes its time, which must not shift the grid.
    internet.set("1.1.1.1", &Behaviour::normal().delay(150 * MS));
    let config = r#"{"ping": {"enable": true, "interval": 1, "pingcount": 4, "pingwait": 0.6, "monitorip": "1.1.1.1"}}"#;
    let imon = lab.imon("router").instance("t", config).nosyslog().spawn();
    wait_lines(&lab, &imon, "Ping Result", 6);
    let requests = internet.requests();
    let checks: Vec<&[Request]> = requests.chunks(4).take(6).collect();
    let start = checks[0][0].at_ns;
    let mut offsets = Vec::new();
    let mut spread = 0;
    for (n, check) in (0_u32..).zip(&checks) {
        let sequence: Vec<u16> = check.iter().map(|r| r.seq.wrapping_sub(check[0].seq)).collect();
        assert_eq!(sequence, [0, 1, 2, 3], "four probes a check: {check:?}");
        offsets.push(between(start, check[0].at_ns).as_secs_f64() - f64::from(n));
        // A tenth of the interval apart.
        let took = between(check[0].at_ns, check[3].at_ns);
        spread += usize::from(took > 250 * MS && took < 400 * MS);
    }
    // A busy machine is late now and then, the first time perhaps; a grid that drifts is later each
    // time.
    offsets.sort_by(f64::total_cmp);
    let on_time = offsets.iter().filter(|o| (**o - offsets[3]).abs() < 0.1).count();
    assert!(on_time >= 4, "{on_time} of 6 checks began on time: {offsets:?}\n{requests:?}");
    assert!(spread >= 3, "the probes of {spread} of 6 checks were 100 ms apart\n{requests:?}");
}

fn updown_stops_a_check_at_its_first_reply() {
    let lab = lab();
    let internet = lab.responder("inet");
    let config = r#"{"updown": {"enable": true, "interval": 1, "pingcount": 8, "pingwait": 1, "monitorip": "1.1.1.1"}}"#;
    let imon = lab.imon("router").instance("t", config).nosyslog().spawn();
    imon.wait_line(|l| l.ends_with("Monitored IP 1.1.1.1 online"), SOON);
    let checks = || {
        let mut each: Vec<(u16, usize)> = Vec::new();
        for request in internet.requests() {
            match each.last_mut().filter(|(first, _)| request.seq.wrapping_sub(*first) < 8) {
                Some((_, probes)) => *probes += 1,
                None => each.push((request.seq, 1)),
            }
        }
        each
    };
    lab.wait_until("five checks", SOON, || checks().len() >= 5);
    // More than one where the machine was too busy to bring the reply within the gap of 100 ms.
    let single = checks().iter().filter(|(_, probes)| *probes == 1).count();
    assert!(single >= 3, "{:?}", checks());
}

fn while_offline_updown_checks_every_second() {
    let lab = lab();
    let internet = lab.responder("inet");
    internet.set("1.1.1.1", &Behaviour::silent());
    let config = r#"{"updown": {"enable": true, "interval": 600, "pingcount": 1, "pingwait": 0.5, "monitorip": "1.1.1.1"}}"#;
    let imon = lab.imon("router").instance("t", config).nosyslog().spawn();
    imon.wait_line(|l| l.ends_with("Monitored IP 1.1.1.1 offline"), SOON);
    lab.wait_until("four requests", SOON, || internet.count() >= 4);
    let requests = internet.requests();
    let took = between(requests[0].at_ns, requests[3].at_ns);
    // Neither as often as pingwait would have it nor as seldom as the interval.
    assert!(took > 1600 * MS && took < 8000 * MS, "{took:?}\n{requests:?}");
    internet.set("1.1.1.1", &Behaviour::normal());
    imon.wait_line(|l| l.contains("Outage Duration"), SOON);
}

fn a_check_may_take_longer_than_the_interval() {
    let lab = lab();
    let internet = lab.responder("inet");
    internet.set("1.1.1.1", &Behaviour::normal().delay(900 * MS));
    let config = r#"{"ping": {"enable": true, "interval": 0.3, "pingcount": 1, "pingwait": 3, "monitorip": "1.1.1.1"}}"#;
    let imon = lab.imon("router").instance("t", config).nosyslog().spawn();
    let lines = wait_lines(&lab, &imon, "Ping Result", 8);
    assert!(
        lines.iter().all(|l| l.contains("State:True") && l.contains(" loss:0.0 ")),
        "{lines:?}"
    );
    let requests = internet.requests();
    let took = between(requests[0].at_ns, requests[7].at_ns);
    // One after the other they would take more than 6 s.
    assert!(took < 4500 * MS, "eight checks, 300 ms apart, within {took:?}");
    assert!(
        requests
            .iter()
            .any(|r| requests.iter().any(|o| o.at_ns > r.at_ns && Some(o.at_ns) < r.replied_ns))
    );
}

fn round_trip_times_and_losses_are_those_of_the_wire() {
    let lab = Lab::builder().imon(env!("CARGO_BIN_EXE_imon")).wire(Wan::One).up();
    let wire = lab.wire(Wan::One);
    wire.seed(7);
    wire.set(&WireSettings {
        delay: 15 * MS,
        jitter: 5 * MS,
        loss: 15.0,
        ..WireSettings::default()
    });
    let config = r#"{"ping": {"enable": true, "interval": 0.1, "pingcount": 1, "pingwait": 1, "monitorip": "1.1.1.1"}}"#;
    let imon = lab.imon("router").instance("t", config).nosyslog().spawn();
    let lines = wait_lines(&lab, &imon, "Ping Result", 40);
    let passages = wire.passages();
    let requests = passages.iter().filter(|p| !p.reply);
    let mut off: Vec<f64> = Vec::new();
    let mut lost = 0;
    for (line, request) in lines.iter().zip(requests) {
        let on_the_wire =
            round_trip(&passages, request.id, request.seq).map(|d| d.as_secs_f64() * 1000.0);
        let rtt = line
            .split_once("minrtt:")
            .and_then(|(_, rest)| rest.split(' ').next()?.parse::<f64>().ok());
        match on_the_wire {
            None => {
                lost += 1;
                assert!(
                    line.contains("State:False") && line.contains(" loss:1.0 "),
                    "{line}: {request:?}"
                );
            }
            Some(truth) => {
                assert!(
                    line.contains("State:True") && line.contains(" loss:0.0 "),
                    "{line}: {request:?}"
                );
                let rtt = rtt.unwrap_or_default();
                assert!(rtt > truth - 0.1, "{rtt} of {truth}: {line}");
                off.push(rtt - truth);
            }
        }
    }
    off.sort_by(f64::total_cmp);
    // Within 0.1 ms on an idle machine, as the benchmark shows; this one is not.
    let median = off[off.len() / 2];
    assert!(median < 1.0, "the median is {median} ms off: {off:?}");
    assert!((1..30).contains(&lost), "{lost} of 40 lost");
}

fn a_thousand_targets() {
    let lab = lab();
    let internet = lab.responder("inet");
    lab.sh("inet", "ip route add local 198.18.16.0/20 dev lo");
    let targets: Vec<String> =
        (0..1000).map(|n| format!("\"198.18.{}.{}\"", 16 + n / 250, 1 + n % 250)).collect();
    let config = format!(
        r#"{{"ping": {{"enable": true, "interval": 3, "pingcount": 1, "pingwait": 2, "monitorip": [{}]}}}}"#,
        targets.join(",")
    );
    let imon = lab.imon("router").instance("t", &config).nosyslog().spawn();
    lab.wait_until("2,000 results", 3 * SOON, || {
        imon.texts().iter().filter(|l| l.contains("Ping Result")).count() >= 2000
    });
    let (usage, probes) = (imon.usage(), internet.count());
    let lines = imon.texts();
    let results: Vec<&String> = lines.iter().filter(|l| l.contains("Ping Result")).collect();
    let alive: std::collections::BTreeSet<&str> = results
        .iter()
        .filter(|l| l.contains("State:True"))
        .filter_map(|l| l.split_once("IP:")?.1.split(' ').next())
        .collect();
    assert_eq!(alive.len(), 1000, "all of them answer");
    let dead = results.iter().filter(|l| l.contains("State:False")).count();
    assert!(dead <= 5, "{dead} of {} results without a reply", results.len());
    let mut rtts: Vec<f64> = results
        .iter()
        .filter(|l| l.contains("State:True"))
        .filter_map(|l| l.split_once("maxrtt:")?.1.split(' ').next()?.parse().ok())
        .collect();
    rtts.sort_by(f64::total_cmp);
    // Replies wait for up to 8 ms to be read together; the kernel's stamps keep that out of the
    // figures.
    let median = rtts[rtts.len() / 2];
    assert!(rtts[0] > 0.0 && median < 5.0, "median {median} ms");
    // Spread over the interval, not in a burst.
    let at: Vec<u64> = internet.requests().iter().map(|r| r.at_ns).collect();
    let slots: std::collections::BTreeSet<u64> =
        at.iter().take(1000).map(|t| (t - at[0]) / 100_000_000).collect();
    assert!(slots.len() >= 15, "of 30 tenths of a second the first probes came in {slots:?}");
    assert_eq!(usage.threads, 1);
    let each = usage.cpu.as_secs_f64() * 1e6 / probes as f64;
    assert!(each < 1500.0, "{each} us of processor time for each probe, by an unoptimised build");
}
