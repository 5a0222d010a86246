//! The monitors in simulated time: behaviour by behaviour, then against a random network whose
//! truth is known.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code, not imon's core"
)]

mod driver;

use std::time::Duration;

use driver::*;
use imon::base::time::{Clock, Instant, Wall, in_words};
use imon::event::{Outage, What};
use imon::monitor::Observation;
use imon::monitor::ping::Ping;
use imon::monitor::updown::{Reachability, Updown};
use imon::probe::{AskId, OpinionQuestion, ProbeId, Reason};

fn silent_between(begin: f64, end: f64) -> Box<dyn FnMut(Instant, u32) -> Fate> {
    Box::new(move |now, owner| {
        if owner == TARGET && now >= at(begin) && now < at(end) {
            Fate::Silent
        } else {
            Fate::Reply(ms(10))
        }
    })
}

#[test]
fn an_outage_is_logged_with_begin_end_and_duration() {
    let mut w = driver(updown(plan(10.0, 2, 1.0), &[], false));
    w.hosts = silent_between(25.0, 58.5);
    w.run_until(at(100.0));
    assert_eq!(
        w.log(),
        [
            "0.0 Monitored IP 1.1.1.1 online",
            "32.0 Monitored IP 1.1.1.1 offline",
            "59.0 Monitored IP 1.1.1.1 online",
            "59.0 Outage Duration: 0 days 0 hours, 0 minutes 29 seconds",
        ]
    );
}

#[test]
fn b29_a_target_that_is_down_at_the_start_is_logged_and_acted_on_and_its_recovery_has_a_duration() {
    let mut w = driver(updown(plan(10.0, 2, 1.0), &[], false));
    w.hosts = silent_between(0.0, 12.5);
    w.run_until(at(60.0));
    assert_eq!(
        w.log(),
        [
            "2.0 Monitored IP 1.1.1.1 offline",
            "13.0 Monitored IP 1.1.1.1 online",
            "13.0 Outage Duration: 0 days 0 hours, 0 minutes 13 seconds",
        ]
    );
    let actions: Vec<_> = w.said.iter().map(|(_, what)| action(what)).collect();
    assert_eq!(actions, ["updown-offline 1.1.1.1", "updown-online 1.1.1.1 0:0:0:13"]);
}

#[test]
fn b37_a_stepped_wall_clock_does_not_bend_a_duration() {
    let mut w = driver(updown(plan(10.0, 2, 1.0), &[], false));
    w.hosts = silent_between(25.0, 58.5);
    w.run_until(at(100.0));
    let (now, what) = w.said.last().cloned().expect("an end");
    let event = imon::event::Event { monitor: imon::event::Monitor::Updown, owner: 0, what };
    // Meanwhile the clock was set back by an hour, as at the end of daylight saving time in a
    // zone-less system.
    let clock = Clock { now, wall: Wall { secs: 1_795_330_107 - 3600, nanos: 0 } };
    let json: serde_json::Value =
        serde_json::from_str(&event.json("t", clock, None)).expect("JSON");
    assert_eq!(json["outage_seconds"], 29.01);
    assert_eq!(
        (&json["since"], &json["time"]),
        (&"2026-11-22T05:47:57.990Z".into(), &"2026-11-22T05:48:27.000Z".into())
    );
    assert_eq!(action(&event.what), "updown-online 1.1.1.1 0:0:0:29");
}

fn action(what: &What) -> String {
    let event =
        imon::event::Event { monitor: imon::event::Monitor::Updown, owner: 0, what: what.clone() };
    event.action().map_or_else(String::new, |a| format!("{} {}", a.name, a.args.join(" ")))
}

#[test]
fn the_first_online_calls_no_script() {
    let mut w = driver(updown(plan(10.0, 2, 1.0), &[], false));
    w.run_until(at(5.0));
    assert_eq!(w.said.iter().map(|(_, what)| action(what)).collect::<Vec<_>>(), [""]);
}

#[test]
fn b47_a_host_slower_than_pingwait_is_offline_and_says_that_its_replies_come_late() {
    let mut w = driver(updown(plan(10.0, 2, 1.0), &[], false));
    w.hosts = Box::new(|_, _| Fate::Reply(ms(1200)));
    w.run_until(at(9.0));
    let Reachability::Offline(_, reason) = w.updown().state() else { panic!("{:?}", w.log()) };
    assert_eq!(*reason, Reason::Late(ms(1200)));
    assert!(w.updown().checker_status().0.counters.late >= 2);
}

#[test]
fn checks_come_every_second_while_offline_and_return_to_the_grid() {
    let mut w = driver(updown(plan(10.0, 1, 0.5), &[], false));
    w.hosts = silent_between(15.0, 26.2);
    w.run_until(at(50.0));
    let starts: Vec<f64> = w.probes.iter().map(|(t, _)| seconds(*t)).collect();
    assert_eq!(
        starts,
        [0.0, 10.0, 20.0, 21.0, 22.0, 23.0, 24.0, 25.0, 26.0, 27.0, 30.0, 40.0, 50.0]
    );
}

#[test]
fn fall_and_rise_count_checks() {
    let mut setup = updown(plan(10.0, 1, 0.5), &[], false);
    (setup.fall, setup.rise) = (3, 2);
    let mut w = driver(setup);
    w.hosts = silent_between(15.0, 45.0);
    w.run_until(at(70.0));
    assert_eq!(
        w.log(),
        [
            "0.0 Monitored IP 1.1.1.1 online",
            "40.5 Monitored IP 1.1.1.1 offline",
            "46.0 Monitored IP 1.1.1.1 online",
            "46.0 Outage Duration: 0 days 0 hours, 0 minutes 26 seconds",
        ]
    );
    // Two bad checks of three: nothing happened.
    let mut setup = updown(plan(10.0, 1, 0.5), &[], false);
    setup.fall = 3;
    let mut w = driver(setup);
    w.hosts = silent_between(15.0, 35.0);
    w.run_until(at(100.0));
    assert_eq!(w.log().len(), 1);
}

#[test]
fn one_lost_probe_of_two_is_no_outage() {
    let mut w = driver(updown(plan(10.0, 2, 1.0), &[], false));
    let mut n = 0;
    w.hosts = Box::new(move |_, _| {
        n += 1;
        if n % 2 == 1 { Fate::Silent } else { Fate::Reply(ms(5)) }
    });
    w.run_until(at(200.0));
    assert_eq!(w.log(), ["1.0 Monitored IP 1.1.1.1 online"]);
}

fn dns_says(
    name: &'static [&'static str],
    invalid: &'static [&'static str],
) -> Box<dyn FnMut(Instant, OpinionQuestion) -> DnsFate> {
    Box::new(move |_, about| {
        Some((ms(20), addresses(if about == OpinionQuestion::Name { name } else { invalid })))
    })
}

fn refuted(dns: Box<dyn FnMut(Instant, OpinionQuestion) -> DnsFate>) -> Vec<String> {
    let mut w = driver(updown(plan(10.0, 2, 1.0), &[], true));
    w.hosts = silent_between(5.0, 1000.0);
    w.dns = dns;
    w.run_until(at(60.0));
    w.log()
}

#[test]
fn a_believable_dns_answer_refutes_an_outage_and_says_so_once() {
    assert_eq!(
        refuted(dns_says(&["20.70.246.20"], &[])),
        [
            "0.0 Monitored IP 1.1.1.1 online",
            "12.0 Offline of 1.1.1.1 refuted by DNS query of 'microsoft.com' on DNS server '8.8.8.8'",
        ]
    );
}

#[test]
fn b31_made_up_dns_answers_do_not_refute() {
    let offline = ["0.0 Monitored IP 1.1.1.1 online", "12.0 Monitored IP 1.1.1.1 offline"];
    // A public name at a private address, at a null address, at our own.
    assert_eq!(refuted(dns_says(&["10.66.66.66"], &[])), offline);
    assert_eq!(refuted(dns_says(&["0.0.0.0"], &[])), offline);
    assert_eq!(refuted(dns_says(&["192.168.92.1"], &[])), offline);
    // A public address, but for a name that cannot exist as well.
    assert_eq!(refuted(dns_says(&["20.70.246.20"], &["20.70.246.20"])), offline);
    // No such name, no address, no answer, one answer of two.
    assert_eq!(refuted(dns_says(&[], &[])), offline);
    assert_eq!(refuted(Box::new(|_, _| None)), offline);
    assert_eq!(refuted(Box::new(|_, _| Some((ms(1), Err("port closed".into()))))), offline);
    let only_name =
        |_, about| (about == OpinionQuestion::Name).then(|| (ms(20), addresses(&["20.70.246.20"])));
    assert_eq!(refuted(Box::new(only_name)), offline);
}

#[test]
fn the_second_opinion_costs_no_time() {
    // It answers long after the last probe's wait has ended: too late.
    let late = |_, _| Some((ms(5000), addresses(&["20.70.246.20"])));
    assert_eq!(refuted(Box::new(late))[1], "12.0 Monitored IP 1.1.1.1 offline");
}

#[test]
fn dns_alone_can_end_an_outage_as_in_v299() {
    let mut w = driver(updown(plan(10.0, 2, 1.0), &[], true));
    w.hosts = silent_between(0.0, 1000.0);
    w.dns = Box::new(|now, about| {
        (now > at(30.0)).then(|| {
            (
                ms(20),
                addresses(if about == OpinionQuestion::Name { &["20.70.246.20"] } else { &[] }),
            )
        })
    });
    w.run_until(at(60.0));
    let log = w.log();
    assert_eq!(log[0], "2.0 Monitored IP 1.1.1.1 offline");
    assert!(
        log[1].ends_with("refuted by DNS query of 'microsoft.com' on DNS server '8.8.8.8'"),
        "{log:?}"
    );
    assert!(log[2].ends_with("Monitored IP 1.1.1.1 online"), "{log:?}");
    assert_eq!(log.len(), 4);
}

#[test]
fn secondaries_are_reported_after_each_change_and_say_where_the_fault_lies() {
    let mut w = driver(updown(plan(10.0, 1, 1.0), &["192.168.92.1", "192.168.1.1"], false));
    w.hosts = Box::new(|now, owner| {
        let dead = now >= at(15.0)
            && now < at(65.5)
            && (owner == TARGET || (owner == 2 && now < at(35.0)));
        if dead { Fate::Silent } else { Fate::Reply(ms(10)) }
    });
    w.run_until(at(100.0));
    assert_eq!(
        w.log(),
        [
            "0.0 Monitored IP 1.1.1.1 online",
            "0.0 Secondary IP 192.168.92.1 online",
            "0.0 Secondary IP 192.168.1.1 online",
            "21.0 Monitored IP 1.1.1.1 offline",
            "22.0 Secondary IP 192.168.92.1 online",
            "22.0 Secondary IP 192.168.1.1 offline",
            "22.0 192.168.92.1 answers, 192.168.1.1 does not: the fault lies in or before 192.168.1.1",
            "42.0 Secondary IP 192.168.1.1 online",
            "42.0 192.168.92.1, 192.168.1.1 answer: the fault lies beyond them, or in 1.1.1.1",
            "66.0 Monitored IP 1.1.1.1 online",
            "66.0 Outage Duration: 0 days 0 hours, 0 minutes 46 seconds",
            "66.0 Secondary IP 192.168.92.1 online",
            "66.0 Secondary IP 192.168.1.1 online",
        ]
    );
}

#[test]
fn issue3_a_secondary_that_dies_during_the_outage_is_seen_also_when_a_look_takes_longer_than_the_interval()
 {
    let mut w = driver(updown(plan(0.5, 1, 1.5), &["192.168.92.1"], false));
    w.hosts = Box::new(|now, owner| {
        if owner == TARGET || now >= at(10.0) { Fate::Silent } else { Fate::Reply(ms(10)) }
    });
    w.run_until(at(60.0));
    let log = w.log();
    assert_eq!(log[0], "1.5 Monitored IP 1.1.1.1 offline");
    assert!(log[3].ends_with("Secondary IP 192.168.92.1 offline"), "{log:?}");
    assert_eq!(log.len(), 5, "with a conclusion each: {log:?}");
}

#[test]
fn what_comes_back_together_is_no_fault_beyond() {
    let mut w = driver(updown(plan(1.0, 1, 0.5), &["192.168.92.1"], false));
    w.hosts =
        Box::new(
            |now, _| {
                if now >= at(4.5) && now < at(9.5) { Fate::Silent } else { Fate::Reply(ms(10)) }
            },
        );
    w.run_until(at(20.0));
    let after: Vec<String> = w.log().into_iter().skip_while(|l| !l.contains("either")).collect();
    assert_eq!(
        after,
        [
            "6.0 192.168.92.1 does not answer either: the fault lies between this system and it, or in it",
            "10.0 Monitored IP 1.1.1.1 online",
            "10.0 Outage Duration: 0 days 0 hours, 0 minutes 5 seconds",
            "10.0 Secondary IP 192.168.92.1 online",
        ]
    );
}

#[test]
fn a_fault_in_this_system_is_not_looked_for_elsewhere() {
    let mut w = driver(updown(plan(10.0, 2, 1.0), &["192.168.92.1"], false));
    w.hosts = Box::new(|now, owner| {
        if now >= at(15.0) && owner == TARGET {
            Fate::Fails(Reason::Send(101))
        } else {
            Fate::Reply(ms(10))
        }
    });
    w.run_until(at(29.0));
    let log = w.log();
    let last: Vec<&str> = log.iter().rev().take(4).rev().map(String::as_str).collect();
    assert_eq!(
        last,
        [
            "21.0 Probe of 1.1.1.1: could not be sent: Network is unreachable",
            "21.0 Monitored IP 1.1.1.1 offline",
            "21.0 Secondary IP 192.168.92.1 online",
            "21.0 Probe of 1.1.1.1 could not be sent: Network is unreachable: the fault lies in this system",
        ]
    );
}

#[test]
fn a_healthy_address_with_one_probe_a_check_asks_no_name_server() {
    let mut w = driver(updown(plan(10.0, 1, 1.0), &[], true));
    let asked = std::rc::Rc::new(std::cell::Cell::new(0));
    let count = asked.clone();
    w.hosts = silent_between(95.0, 105.0);
    w.dns = Box::new(move |_, about| {
        count.set(count.get() + 1);
        Some((
            ms(20),
            addresses(if about == OpinionQuestion::Name { &["20.70.246.20"] } else { &[] }),
        ))
    });
    w.run_until(at(200.0));
    assert_eq!(asked.get(), 2, "one bad check, two questions");
    assert_eq!(w.log().len(), 2, "online, and refuted: {:?}", w.log());
}

#[test]
fn a_suspend_is_no_outage() {
    let mut w = driver(updown(plan(10.0, 2, 1.0), &[], false));
    w.hosts = silent_between(20.0, 20.6);
    w.run_until(at(20.5));
    w.see(&Observation::Resumed);
    w.run_until(at(60.0));
    assert_eq!(w.log(), ["0.0 Monitored IP 1.1.1.1 online"]);
}

/// A machine that stands still for a while finds several replies in its socket. The kernel's stamps
/// show that they came in time, so reading the first of them must not lose the probes of the
/// others.
#[test]
fn replies_that_came_in_time_are_no_outage_however_late_they_are_read() {
    let mut w = driver(updown(plan(1.0, 1, 1.5), &["192.168.92.1"], true));
    w.hosts = Box::new(|_, _| Fate::Silent);
    w.run_until(at(1.2));
    for check in [1, 2] {
        w.now = at(4.0);
        w.see(&Observation::Reply(ProbeId { owner: TARGET, check, index: 0 }, ms(20)));
    }
    w.hosts = Box::new(|_, _| Fate::Reply(ms(20)));
    w.run_until(at(20.0));
    assert_eq!(
        w.log(),
        ["4.0 Monitored IP 1.1.1.1 online", "4.0 Secondary IP 192.168.92.1 online"]
    );

    let mut w = Driver::new(driver::Machine::Ping(Ping::new(
        0,
        &["1.1.1.1".into()],
        plan(10.0, 2, 1.0),
        at(0.0),
    )));
    w.hosts = Box::new(|_, _| Fate::Silent);
    w.run_until(at(1.2));
    for index in [0, 1] {
        w.now = at(4.0);
        w.see(&Observation::Reply(ProbeId { owner: TARGET, check: 1, index }, ms(20)));
    }
    w.run_until(at(5.0));
    assert!(w.log()[0].contains("State:True") && w.log()[0].contains("loss:0.0"), "{:?}", w.log());
}

/// The same for the second opinion: its time is not over while its answer waits behind a reply in
/// the queue.
#[test]
fn an_opinion_that_came_in_time_counts_however_late_it_is_read() {
    let mut w = driver(updown(plan(1.0, 1, 0.5), &[], true));
    let mut n = 0;
    w.hosts = Box::new(move |_, _| {
        n += 1;
        if n == 1 { Fate::Reply(ms(20)) } else { Fate::Silent }
    });
    w.run_until(at(1.9));
    w.now = at(5.0);
    w.see(&Observation::Reply(ProbeId { owner: TARGET, check: 1, index: 0 }, ms(21)));
    for (about, answer) in [
        (OpinionQuestion::Name, addresses(&["20.70.246.20"])),
        (OpinionQuestion::Invalid, addresses(&[])),
    ] {
        w.see(&Observation::Answer {
            id: AskId { server: 1, check: 2, about },
            answer: &answer,
            own: &[],
        });
    }
    assert!(w.log().iter().all(|line| !line.ends_with("offline")), "{:?}", w.log());
}

#[test]
fn another_hosts_name_that_is_looked_up_first_costs_no_probe() {
    for other in [1, 2] {
        let mut w = driver(updown(plan(10.0, 1, 1.0), &["router.lan"], true));
        // What it wants before it has run is carried out by nobody.
        w.see(&Observation::Hold(other));
        assert_eq!(w.probes, []);
        w.run_until(at(5.0));
        assert_eq!(w.log()[0], "0.0 Monitored IP 1.1.1.1 online");
    }
}

#[test]
fn a_reload_keeps_what_is_known_of_the_same_target() {
    let mut w = driver(updown(plan(10.0, 1, 1.0), &[], false));
    w.hosts = silent_between(15.0, 40.5);
    w.run_until(at(30.2));
    let mut old = Updown::new(updown(plan(5.0, 1, 1.0), &[], false), w.now);
    std::mem::swap(&mut old, w.updown());
    let now = w.now;
    w.updown().inherit(old, now);
    w.run_until(at(60.0));
    assert_eq!(
        w.log(),
        [
            "0.0 Monitored IP 1.1.1.1 online",
            "21.0 Monitored IP 1.1.1.1 offline",
            "41.2 Monitored IP 1.1.1.1 online",
            "41.2 Outage Duration: 0 days 0 hours, 0 minutes 21 seconds",
        ]
    );
}

#[test]
fn b1_a_name_that_never_resolves_counts_as_failed_checks_and_the_monitor_goes_on() {
    let mut w = driver(updown(plan(10.0, 2, 1.0), &[], false));
    w.hosts = Box::new(|now, _| {
        let why = Reason::Unresolved("name does not resolve".into());
        if now < at(33.0) { Fate::Fails(why) } else { Fate::Reply(ms(10)) }
    });
    w.run_until(at(60.0));
    assert_eq!(
        w.log(),
        [
            "1.0 Probe of 1.1.1.1: name does not resolve",
            "1.0 Monitored IP 1.1.1.1 offline",
            "33.0 Monitored IP 1.1.1.1 online",
            "33.0 Outage Duration: 0 days 0 hours, 0 minutes 33 seconds",
        ]
    );
}

#[test]
fn ping_says_once_what_keeps_its_probes_from_being_sent() {
    let mut w = Driver::new(driver::Machine::Ping(Ping::new(
        0,
        &["1.1.1.1".into()],
        plan(10.0, 2, 1.0),
        at(0.0),
    )));
    w.hosts = Box::new(|now, _| {
        if now > at(15.0) && now < at(45.0) {
            Fate::Fails(Reason::Send(101))
        } else {
            Fate::Reply(ms(1))
        }
    });
    w.run_until(at(69.0));
    let log = w.log();
    let others: Vec<_> = log.iter().filter(|l| !l.contains("Ping Result")).collect();
    assert_eq!(
        others,
        [
            "21.0 Probe of 1.1.1.1: could not be sent: Network is unreachable",
            "51.0 Probes of 1.1.1.1 are sent again"
        ]
    );
    let lost =
        "Ping Result: IP:1.1.1.1 State:False minrtt:0.0 avgrtt:0.0 maxrtt:0.0 loss:1.0 jitter:0.0";
    assert_eq!(log.iter().filter(|l| l.ends_with(lost)).count(), 3);
}

#[test]
fn a_thousand_ping_targets_are_spread_over_the_interval() {
    let targets: Vec<_> =
        (0..1000).map(|i| format!("10.0.{}.{}", i / 250, i % 250 + 1).as_str().into()).collect();
    let mut w =
        Driver::new(driver::Machine::Ping(Ping::new(0, &targets, plan(1.0, 1, 1.0), at(0.0))));
    w.run_until(at(0.9999));
    let mut last = 0.0;
    for (t, _) in &w.probes {
        assert!(seconds(*t) - last < 0.0011, "a gap before {t:?}");
        last = seconds(*t);
    }
    assert_eq!(w.probes.len(), 1000);
}

#[test]
fn ping_targets_stay_spread_after_a_suspend_and_when_their_names_are_found_at_once() {
    let targets: Vec<_> = (0..10).map(|i| format!("t{i}.example").as_str().into()).collect();
    let mut w =
        Driver::new(driver::Machine::Ping(Ping::new(0, &targets, plan(10.0, 1, 1.0), at(0.0))));
    (0..10).for_each(|owner| w.see(&Observation::Hold(owner)));
    w.run_until(at(0.3));
    (0..10).for_each(|owner| w.see(&Observation::Ready(owner)));
    w.run_until(at(12.0));
    w.see(&Observation::Resumed);
    w.run_until(at(25.0));
    let starts: Vec<f64> = w.probes.iter().map(|(t, _)| seconds(*t)).collect();
    let names = (0..12).map(|i| f64::from(i) + 0.3);
    assert_eq!(starts, names.chain((12..26).map(f64::from)).collect::<Vec<_>>());
}

/// Outages of a random network, with nothing else wrong: each is reported once, begin and end right
/// to a check, and nothing is reported that was not.
#[test]
fn every_outage_of_a_random_network_is_reported_once_and_no_other() {
    for seed in 0..300 {
        let mut r = Random::new(seed);
        let interval = [0.1, 0.5, 1.0, 5.0, 10.0, 60.0][r.next() as usize % 6];
        let plan = plan(interval, 1 + (r.next() % 4) as u16, r.between(0.05, 3.0));
        let (span, interval) = (plan.span().as_secs_f64(), plan.interval.as_secs_f64());
        // Longer than a check can miss, and far enough apart to be told apart.
        let bound = interval + span + 1.0;
        let mut truth = Vec::new();
        let mut t = r.between(bound, 4.0 * bound);
        for _ in 0..40 {
            let end = t + r.between(1.05 * bound, 10.0 * bound);
            truth.push((t, end));
            t = end + r.between(2.0 * bound + span, 20.0 * bound);
        }
        let rtt = r.between(0.001, plan.wait.as_secs_f64() * 0.9);
        let mut w = driver(updown(plan, &["10.0.0.1"], r.chance(0.5)));
        let rule = truth.clone();
        w.hosts = Box::new(move |now, owner| {
            let down = rule.iter().any(|(a, b)| now >= at(*a) && now < at(*b)) && owner == TARGET;
            if down { Fate::Silent } else { Fate::Reply(Duration::from_secs_f64(rtt)) }
        });
        w.run_until(at(t + 2.0 * bound));
        let mut told: Vec<(f64, f64)> = Vec::new();
        for (now, what) in &w.said {
            match what {
                What::Offline { began, .. } => told.push((seconds(*began), f64::NAN)),
                What::Online { outage: Some(Outage { began, lasted }), .. } => {
                    let last = told.last_mut().expect("an end without a begin");
                    assert_eq!(seconds(*began), last.0, "seed {seed}");
                    last.1 = last.0 + lasted.as_secs_f64();
                    assert!(last.1 <= seconds(*now) + 1e-9, "seed {seed}: an end in the future");
                }
                _ => {}
            }
        }
        let timeline =
            || format!("seed {seed}, {plan:?}, rtt {rtt}\n truth {truth:?}\n told  {told:?}");
        assert_eq!(told.len(), truth.len(), "{}", timeline());
        for ((begin, end), (b, e)) in truth.iter().zip(&told) {
            let check = interval + 1e-6;
            assert!(*b >= *begin && *b <= begin + check, "begin: {}", timeline());
            let recovery = interval.min(1.0) + span + rtt + 1e-6;
            assert!(*e >= *end && *e <= end + recovery, "end: {}", timeline());
        }
    }
}

/// A network with loss, delay, duplicates, reordering and errors: whatever happens, offline and
/// online alternate, an outage is only claimed where a whole check got no reply in time, and
/// durations are those between the claims.
#[test]
fn in_bad_weather_nothing_is_claimed_that_the_probes_did_not_show() {
    for seed in 0..150 {
        let mut r = Random::new(seed);
        let plan = plan(r.between(0.1, 20.0), 1 + (r.next() % 5) as u16, r.between(0.01, 5.0));
        let (loss, late) = (r.between(0.0, 0.9), r.between(0.0, 0.3));
        let wait = plan.wait;
        let mut weather = Random::new(seed + 1_000_000);
        let mut w = driver(updown(plan, &["10.0.0.1", "10.0.0.2"], true));
        let answered = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let note = answered.clone();
        w.hosts = Box::new(move |now, owner| {
            let in_time = wait.mul_f64(weather.between(0.0, 0.999));
            let fate = match () {
                () if weather.chance(loss) => Fate::Silent,
                () if weather.chance(late) => {
                    Fate::Reply(wait + wait.mul_f64(weather.between(0.01, 3.0)))
                }
                () if weather.chance(0.05) => Fate::Fails(Reason::Send(101)),
                () if weather.chance(0.1) => Fate::Twice(in_time, in_time.mul_f64(0.7)),
                () => Fate::Reply(in_time),
            };
            let good = matches!(&fate, Fate::Reply(rtt) if *rtt <= wait)
                || matches!(fate, Fate::Twice(..));
            if owner == TARGET {
                note.borrow_mut().push((now, good));
            }
            fate
        });
        w.run_until(at(3000.0));
        if r.chance(0.3) {
            w.see(&Observation::Resumed);
            w.see(&Observation::CheckNow);
            w.run_until(at(3600.0));
        }
        let mut offline: Option<Instant> = None;
        let mut first = true;
        for (now, what) in &w.said {
            match what {
                What::Offline { began, .. } => {
                    assert!(offline.replace(*began).is_none(), "seed {seed}: offline twice");
                    let probes = answered.borrow();
                    let lost = probes.iter().any(|(at, good)| at == began && !good);
                    assert!(lost, "seed {seed}: it begins with a probe that was lost");
                    assert!(began <= now);
                    first = false;
                }
                What::Online { outage, .. } => {
                    assert_eq!(
                        outage.map(|o| o.began),
                        offline.take(),
                        "seed {seed}: an end needs its begin"
                    );
                    assert!(outage.is_some() || first, "seed {seed}: online twice");
                    if let Some(o) = outage {
                        assert!(
                            o.lasted <= now.since(o.began),
                            "seed {seed}: {}",
                            in_words(o.lasted)
                        );
                    }
                    first = false;
                }
                _ => {}
            }
        }
    }
}

/// Statistics against the truth: every check is reported once, with the losses that there were.
#[test]
fn ping_results_count_every_probe_of_a_lossy_network() {
    for seed in 0..200 {
        let mut r = Random::new(seed);
        let plan = plan(r.between(0.5, 10.0), 1 + (r.next() % 10) as u16, r.between(0.05, 2.0));
        let wait = plan.wait;
        let mut weather = Random::new(seed + 77);
        let mut w = Driver::new(driver::Machine::Ping(Ping::new(
            0,
            &["a".into(), "b".into()],
            plan,
            at(0.0),
        )));
        let fates = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let note = fates.clone();
        w.hosts = Box::new(move |_, owner| {
            let rtt = wait.mul_f64(weather.between(0.0, 1.3));
            let fate = if weather.chance(0.2) { Fate::Silent } else { Fate::Reply(rtt) };
            note.borrow_mut().push((owner, matches!(fate, Fate::Reply(rtt) if rtt <= wait)));
            fate
        });
        w.run_until(at(200.0));
        for (owner, name) in [(0, "a"), (1, "b")] {
            let fates = fates.borrow();
            let mine: Vec<(bool, u32)> = w
                .probes
                .iter()
                .zip(fates.iter())
                .filter(|((_, id), _)| id.owner == owner)
                .map(|((_, id), (_, good))| (*good, id.check))
                .collect();
            let results = w.said.iter().filter_map(|(_, what)| match what {
                What::PingResult { target, stats, .. } if **target == *name => Some(*stats),
                _ => None,
            });
            let mut n = 0;
            for (stats, check) in results.zip(1..) {
                let of_check: Vec<bool> =
                    mine.iter().filter(|(_, c)| *c == check).map(|(good, _)| *good).collect();
                let lost =
                    of_check.iter().filter(|good| !**good).count() as f64 / f64::from(plan.count);
                assert_eq!(
                    (of_check.len(), stats.loss),
                    (usize::from(plan.count), lost),
                    "seed {seed} check {check}"
                );
                assert_eq!(stats.alive, lost < 1.0);
                n += 1;
            }
            let expected = (200.0 - plan.span().as_secs_f64()) / plan.interval.as_secs_f64();
            assert!(f64::from(n) >= expected.floor() - 1.0, "seed {seed}: {n} of {expected}");
        }
    }
}
