//! The cable in user space.

use std::time::Duration;

use imon_lab::roles::{Direction, HttpMode, Ping, Pinged, Wire, WireSettings, round_trip};
use imon_lab::{Fault, Lab, Wan};
use libtest_mimic::Trial;

use crate::client;

pub(crate) fn tests() -> Vec<Trial> {
    crate::trials![
        a_wire_delays_and_says_how_long,
        a_wire_loses_and_says_what,
        a_wire_doubles_and_reorders,
        a_wire_has_a_rate,
        a_wire_carries_udp_and_tcp,
        a_wire_without_carrier_shows_it_at_both_ends,
    ]
}

const MS: Duration = Duration::from_millis(1);

/// A lab with a cable over which both ends know each other's addresses.
fn lab() -> (Lab, Wire) {
    let lab = Lab::builder().wire(Wan::One).up();
    let wire = lab.wire(Wan::One);
    assert_eq!(
        lab.ping("router", &Ping::new("1.1.1.1")).answered("1.1.1.1"),
        1,
        "{}",
        lab.timeline()
    );
    wire.forget();
    (lab, wire)
}

fn ping(lab: &Lab, count: u16) -> Pinged {
    lab.ping("router", &Ping::new("1.1.1.1").count(count, 2 * MS).listen(60 * MS))
}

fn delay(delay: Duration) -> WireSettings {
    WireSettings { delay, ..WireSettings::default() }
}

fn a_wire_delays_and_says_how_long() {
    let (lab, wire) = lab();
    wire.set(&delay(10 * MS));
    let pinged = ping(&lab, 10);
    let passages = wire.passages();
    assert_eq!(passages.len(), 20);
    let late = passages.iter().map(|p| Duration::from_nanos(p.out_ns[0] - p.in_ns));
    assert!(late.min().unwrap() >= 10 * MS, "{passages:?}");
    let outside: Vec<Duration> = (1..=10)
        .map(|seq| {
            let (seen, passed) = (
                pinged.rtt("1.1.1.1", seq).unwrap(),
                round_trip(&passages, pinged.id, seq).unwrap(),
            );
            assert!(passed >= 20 * MS, "{passed:?}");
            seen.checked_sub(passed).expect("the cable is a part of the way")
        })
        .collect();
    // Not all of them: the machine may be busy.
    assert!(*outside.iter().min().unwrap() < 2 * MS, "{outside:?}");
    wire.forget();
    wire.set_direction(Direction::Out, &delay(Duration::ZERO));
    let pinged = ping(&lab, 1);
    let rtt = wire.round_trip(pinged.id, 1).unwrap();
    assert!(rtt >= 10 * MS, "{rtt:?}");
    let out: Vec<_> =
        wire.passages().into_iter().filter(|p| p.direction == Direction::Out).collect();
    assert!(
        out.len() == 1 && !out[0].reply && out[0].out_ns[0] - out[0].in_ns < 10_000_000,
        "{out:?}"
    );
}

fn a_wire_loses_and_says_what() {
    let (lab, wire) = lab();
    wire.seed(3);
    wire.set_direction(Direction::In, &WireSettings { loss: 40.0, ..WireSettings::default() });
    let pinged = ping(&lab, 50);
    let lost: Vec<u16> = wire.passages().iter().filter(|p| p.lost).map(|p| p.seq).collect();
    let unanswered: Vec<u16> =
        (1..=50).filter(|seq| pinged.replies("1.1.1.1", *seq).is_empty()).collect();
    assert_eq!(unanswered, lost);
    assert!((5..=40).contains(&lost.len()), "{lost:?}");
}

fn a_wire_doubles_and_reorders() {
    let (lab, wire) = lab();
    wire.set_direction(
        Direction::In,
        &WireSettings { duplicate: 100.0, ..WireSettings::default() },
    );
    let pinged = ping(&lab, 3);
    assert_eq!(pinged.heard.iter().map(|h| h.seq).collect::<Vec<_>>(), [1, 1, 2, 2, 3, 3]);
    wire.set_direction(Direction::In, &WireSettings { reorder: 100.0, ..WireSettings::default() });
    let pinged = ping(&lab, 4);
    assert_eq!(pinged.heard.iter().map(|h| h.seq).collect::<Vec<_>>(), [2, 1, 4, 3]);
}

fn a_wire_has_a_rate() {
    let (lab, wire) = lab();
    // A frame of our pings is 14 + 20 + 8 + 16 bytes: 464 bits take 46.4 ms.
    wire.set_direction(Direction::Out, &WireSettings { rate_kbit: 10, ..WireSettings::default() });
    lab.ping("router", &Ping::new("1.1.1.1").count(2, 2 * MS));
    let passages: Vec<_> =
        wire.passages().into_iter().filter(|p| p.direction == Direction::Out).collect();
    assert_eq!(passages.len(), 2, "{passages:?}");
    // The second one waits for the first, unless a busy machine sent it later: then it takes its
    // own time.
    let [first, second] = [0, 1].map(|n| (passages[n].in_ns, passages[n].out_ns[0]));
    let least = 46_000_000;
    assert!(
        first.1 - first.0 >= least && second.1 - first.1 >= least && second.1 - second.0 >= least,
        "{passages:?}"
    );
}

fn a_wire_carries_udp_and_tcp() {
    let (lab, _wire) = lab();
    let (_dns, http) = (lab.dns(), lab.http());
    let query = "123401000001000000000000096d6963726f736f667403636f6d0000010001";
    assert!(client::run(&lab, "router", &["udp", "1.1.1.1:53", query])[0].ends_with("c6120050"));
    assert!(
        client::run(&lab, "lan", &["udp", "[2606:4700:4700::1111]:53", query])[0]
            .ends_with("c6120050")
    );
    // Long enough for segments that only a network card would cut.
    http.mode(&HttpMode::Raw("x".repeat(500_000)));
    for to in ["198.18.0.80:80", "[2001:db8:80::80]:80"] {
        let said = client::run(&lab, "lan", &["http", to]);
        assert_eq!((said[0].as_str(), said[1].len()), ("HTTP/1.1 200 OK", 500_000), "{to}");
    }
}

fn a_wire_without_carrier_shows_it_at_both_ends() {
    let (lab, _wire) = lab();
    let carriers = || {
        let read = |ns: &str, device: &str| {
            lab.sh(ns, &format!("cat /sys/class/net/{device}/carrier 2>/dev/null || echo down"))
        };
        (read("router", "wan1"), read("isp1", "cust"))
    };
    let both = |router: &str, isp: &str| (router.to_owned(), isp.to_owned());
    assert_eq!(carriers(), both("1", "1"));
    lab.fault(Fault::Carrier(Wan::One));
    assert_eq!(carriers(), both("0", "down"));
    lab.heal(Fault::Carrier(Wan::One));
    assert_eq!(carriers(), both("1", "1"));
    lab.fault(Fault::LinkDown(Wan::One));
    assert_eq!(carriers(), both("down", "0"));
    lab.heal(Fault::LinkDown(Wan::One));
    lab.add_default_route(Wan::One, 0);
    assert_eq!(ping(&lab, 1).answered("1.1.1.1"), 1, "the cable works again");
}
