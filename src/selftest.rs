//! Known answers, for the unit tests and for `imon self-test`, which has a binary for another
//! processor prove on that processor that numbers, times, bytes and decisions come out as they
//! must.

use std::hash::RandomState;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::addr::family::Family;
use crate::base::time::{self, Instant, Wall};
use crate::config::{Overrides, edit, parse};
use crate::dns::resolver;
use crate::kernel::news::News;
use crate::kernel::{Change, Hop, MAIN, PROTOCOL, Route};
use crate::monitor::ddns::answer;
use crate::monitor::ddns::source::Source;
use crate::monitor::ddns::survey::Survey;
use crate::monitor::failover::choice::{Choice, Condition, Decision};
use crate::monitor::updown::{self, Updown};
use crate::monitor::{Effect, Observation};
use crate::probe::round::{Checker, Plan, Settle};
use crate::probe::stats::{Fraction, Millis, Stats};
use crate::wire::dns::{self, Class, DnsQuestion, Name, RecordType};
use crate::wire::icmp::{Codec, Received, Token};
use crate::wire::rtnetlink;

/// Round-trip times in milliseconds and probes sent; least, mean, greatest, loss, jitter and
/// whether it is alive, as V2.99 wrote them.
pub const NUMBERS: &[(&[f64], u16, &str)] = &[
    (&[], 2, "0.0 0.0 0.0 1.0 0.0 False"),
    (&[0.4337], 2, "0.434 0.434 0.434 0.5 0.0 True"),
    (&[0.410_499_9], 2, "0.41 0.41 0.41 0.5 0.0 True"),
    (&[0.0005], 2, "0.001 0.001 0.001 0.5 0.0 True"),
    (&[0.1235, 0.1245], 2, "0.123 0.124 0.124 0.0 0.001 True"),
    (&[1.0005, 2.0015], 2, "1.0 1.501 2.002 0.0 1.001 True"),
    (&[1000.1234, 0.001], 2, "0.001 500.062 1000.123 0.0 1000.122 True"),
    (&[3.3335, 3.3345, 3.3355], 7, "3.333 3.334 3.336 0.57 0.001 True"),
    (&[2.675], 2, "2.675 2.675 2.675 0.5 0.0 True"),
];

/// Seconds since 1970, and the moment. Beyond 2038, where 32 bits end, as well.
pub const TIMES: &[(i64, &str)] = &[
    (0, "1970-01-01T00:00:00.000Z"),
    (951_827_696, "2000-02-29T12:34:56.000Z"),
    (2_147_483_648, "2038-01-19T03:14:08.000Z"),
    (4_102_444_800, "2100-01-01T00:00:00.000Z"),
];

/// Seconds, and the duration as V2.99 logged it and gave it to scripts.
pub const DURATIONS: &[(u64, &str, &str)] = &[
    (13, "0 days 0 hours, 0 minutes 13 seconds", "0:0:0:13"),
    (183_845, "2 days 3 hours, 4 minutes 5 seconds", "2:3:4:5"),
    (5_000_000_000, "57870 days 8 hours, 53 minutes 20 seconds", "57870:8:53:20"),
];

/// What `/etc/resolv.conf` says, and whom it names.
pub const RESOLV: (&str, &str) = (
    "# by hand\nsearch lan\nnameserver 192.168.1.1\nnameserver fe80::1%eth0\nnameserver 010.1.1.1\noptions edns0\n",
    "192.168.1.1 fe80::1%eth0",
);

/// Seconds of hold-down, and how often traffic moves when the preferred network is away for 5 of
/// every 10 s, four times. (B36; without a hold-down as often as with V2.99.)
pub const FLAPS: &[(u64, usize)] = &[(10, 2), (0, 8)];

/// What updown says of a target that is away from the start for 12.5 s and is checked every 10 s,
/// each second while it is away. (B29)
pub const AWAY: &str = "Monitored IP 1.1.1.1 offline; Monitored IP 1.1.1.1 online; Outage Duration: 0 days 0 hours, 0 minutes 13 seconds";

/// The answer to a question for the addresses of `www.example.com`, with an alias and compressed
/// names.
pub const DNS_ANSWER: &[u8] = b"\x12\x34\x81\x80\x00\x01\x00\x03\x00\x00\x00\x00\
    \x03www\x07example\x03com\x00\x00\x01\x00\x01\
    \xc0\x0c\x00\x05\x00\x01\x00\x00\x01\x2c\x00\x07\x04edge\xc0\x10\
    \xc0\x2d\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xcb\x00\x71\x05\
    \xc0\x2d\x00\x01\x00\x01\x00\x00\x00\x3d\x00\x04\xcb\x00\x71\x06";

/// Pages that are asked for our address, and whether they are believed.
pub const PAGES: &[(&str, bool)] = &[
    ("203.0.113.1\n", true),
    ("192.168.1.1", false),
    ("fe80::1%x;touch${IFS}/tmp/x", false),
    ("010.2.3.4", false),
    ("203.0.113.1 203.0.113.2", false),
    ("", false),
];

/// The numbers of [`NUMBERS`] for these round-trip times.
#[must_use]
pub fn numbers(rtts: &[f64], sent: u16) -> String {
    // Never negative, and far below the limit.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let s = Stats::of(rtts.iter().map(|ms| Duration::from_nanos((ms * 1e6).round() as u64)), sent);
    let alive = if s.alive { "True" } else { "False" };
    let m = Millis;
    format!("{} {} {} {} {} {alive}", m(s.min), m(s.avg), m(s.max), Fraction(s.loss), m(s.jitter))
}

/// What does not come out as it must, and how many things were tried.
#[must_use]
pub fn run() -> (Vec<String>, usize) {
    let mut wrong = Vec::new();
    let mut tried = 0;
    let mut same = |what: &str, found: &str, wanted: &str| {
        tried += 1;
        if found != wanted {
            wrong.push(format!("{what}: {found:?} instead of {wanted:?}"));
        }
    };
    for (rtts, sent, wanted) in NUMBERS {
        same("numbers", &numbers(rtts, *sent), wanted);
    }
    for (secs, wanted) in TIMES {
        same("time", &Wall { secs: *secs, nanos: 0 }.to_string(), wanted);
    }
    for (secs, words, script) in DURATIONS {
        let duration = Duration::from_secs(*secs);
        same("duration", &time::in_words(duration), words);
        same("duration for scripts", &time::for_script(duration), script);
    }
    let date = time::http_date("Tue, 19 Jan 2038 03:14:08 GMT").unwrap_or(0);
    same("date", &date.to_string(), "2147483648");
    for (page, wanted) in PAGES {
        let believed = answer::address(page.as_bytes(), Family::V4).is_ok();
        same("page", &believed.to_string(), &wanted.to_string());
    }
    same("dns", &dns_answer().unwrap_or_default(), "203.0.113.5 203.0.113.6 60");
    same("icmp", &echo().to_string(), "true");
    same("netlink", &route().to_string(), "true");
    same("check", &check(), "lost then found");
    same("survey", &survey().unwrap_or_default(), "203.0.113.1");
    let servers: Vec<String> =
        resolver::servers(RESOLV.0).iter().map(ToString::to_string).collect();
    same("resolv.conf", &servers.join(" "), RESOLV.1);
    for (hold_down, wanted) in FLAPS {
        same("failover", &flaps(*hold_down).to_string(), &wanted.to_string());
    }
    same("updown", &away(), AWAY);
    let text =
        r#"{"ping": {"enable": "Y", "interval": " 0.5 ", "monitorip": "1.1.1.1", "pingcount": 0}}"#;
    let errors = parse("x", text.as_bytes(), &Overrides::default()).errors;
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let wanted = "Invalid value 0 for pingcount: a whole number from 1 to 100 is allowed (x:1, ping.pingcount)";
    same("configuration", &errors.join("; "), wanted);
    let edited =
        edit::key("ping.pingcount").ok().and_then(|key| edit::set("x", text, key, "2").ok());
    same("edit", &edited.unwrap_or_default(), &text.replace(": 0}}", ": 2}}"));
    (wrong, tried)
}

fn dns_answer() -> Option<String> {
    let question = DnsQuestion {
        name: Name::parse("www.example.com").ok()?,
        kind: RecordType::A,
        class: Class::In,
    };
    let answer = dns::response(DNS_ANSWER, 0x1234, &question).ok()?;
    let addresses: Vec<String> = answer.addresses.iter().map(ToString::to_string).collect();
    Some(format!("{} {}", addresses.join(" "), answer.ttl))
}

/// An echo request that comes back as a reply is known again, and one with another bit is not.
fn echo() -> bool {
    let codec = Codec::new(7, RandomState::new());
    let to = Ipv4Addr::new(192, 0, 2, 1);
    let token = Token { owner: 1, check: 2, index: 3, sent: Instant::from_nanos(1 << 60) };
    let mut packet = codec.request(to.into(), &token).to_vec();
    // From request (8) to reply (0): the checksum, a complement, grows by what is gone (RFC 1624).
    let Some([kind, _, high, ..]) = packet.first_chunk_mut::<4>() else { return false };
    *kind = 0;
    let (sum, carry) = high.overflowing_add(8);
    *high = sum;
    if carry {
        let Some(low) = packet.get_mut(3) else { return false };
        *low = low.wrapping_add(1);
    }
    let known = codec.heard_icmp4(to, &packet) == Some(Received::Reply(token));
    if let Some(last) = packet.last_mut() {
        *last ^= 1;
    }
    known && codec.heard_icmp4(to, &packet).is_none()
}

/// A route that is written as netlink wants it is read as it was.
fn route() -> bool {
    let hop =
        Hop { index: 3, gateway: Some(Ipv4Addr::new(192, 0, 2, 1)), onlink: false, dead: false };
    let route = Route {
        table: MAIN,
        destination: Ipv4Addr::UNSPECIFIED,
        prefix: 0,
        metric: 201,
        protocol: PROTOCOL,
        tos: 0,
        source: Some(Ipv4Addr::new(192, 0, 2, 2)),
        hops: vec![hop],
        nexthop: 0,
    };
    let mut bytes = Vec::new();
    rtnetlink::change(&Change::Replace(route.clone()), 7, &mut bytes);
    rtnetlink::messages(&bytes)
        .any(|message| message.news == News::Route(route.clone()) && message.sequence == 7)
}

/// Two checks of a host: it is silent, then it answers.
fn check() -> String {
    let (second, wait) = (Duration::from_secs(1), Duration::from_millis(500));
    let plan = Plan { interval: second, gap: second, count: 1, wait };
    let start = Instant::from_nanos(1 << 40);
    let mut checker = Checker::new(0, plan, Settle::FirstReply, start);
    let mut out = Vec::new();
    let mut words = Vec::new();
    for (step, reply) in [(start, false), (start + wait, false), (start + second, true)] {
        checker.tick(step, &mut out);
        for effect in out.drain(..) {
            if let (Effect::Probe(id), true) = (effect, reply) {
                checker.reply(step, id, Duration::from_millis(5));
            }
        }
        words.extend(checker.judge().map(|verdict| if verdict.good { "found" } else { "lost" }));
    }
    words.join(" then ")
}

/// How often traffic moves: see [`FLAPS`].
#[must_use]
pub fn flaps(hold_down: u64) -> usize {
    let at = |seconds: u64| Instant::from_nanos(1 << 40) + Duration::from_secs(seconds);
    let mut choice = Choice::new(2, true, Duration::from_secs(hold_down), None);
    choice.set(at(0), 0, Condition::Up);
    choice.set(at(0), 1, Condition::Up);
    let mut moved = 0;
    for t in 0..3000 {
        let is_up = !(10..50).contains(&t) || (t / 5) % 2 == 1;
        choice.set(at(t), 0, if is_up { Condition::Up } else { Condition::Down });
        while let Some(decision) = choice.decide(at(t)) {
            moved += usize::from(t > 0 && matches!(decision, Decision::Use(..)));
        }
    }
    moved
}

/// What is logged: see [`AWAY`].
fn away() -> String {
    let start = Instant::from_nanos(1 << 40);
    let second = Duration::from_secs(1);
    let plan = Plan { interval: second * 10, gap: second, count: 2, wait: second };
    let setup = updown::UpdownSetup {
        target: (0, "1.1.1.1".into()),
        plan,
        fall: 1,
        rise: 1,
        secondaries: Vec::new(),
        dns: None,
    };
    let mut updown = Updown::new(setup, start);
    let (mut out, mut lines) = (Vec::new(), Vec::new());
    let mut now = start;
    while now < start + second * 60 {
        updown.on(now, &Observation::Tick, &mut out);
        while !out.is_empty() {
            for effect in std::mem::take(&mut out) {
                match effect {
                    Effect::Probe(id) if now >= start + Duration::from_millis(12_500) => {
                        updown.on(
                            now,
                            &Observation::Reply(id, Duration::from_millis(10)),
                            &mut out,
                        );
                    }
                    Effect::Emit(event) => {
                        event.log(false, &mut |_, line| lines.push(line.to_string()))
                    }
                    _ => {}
                }
            }
        }
        now =
            updown.poll_at().map_or(now + second, |next| next.max(now + Duration::from_millis(1)));
    }
    lines.join("; ")
}

/// Of three, two that agree are believed.
fn survey() -> Option<String> {
    let sources = ["http://a.example/", "dns:opendns", "dns:google"];
    let sources: Vec<Source> = sources.iter().filter_map(|text| Source::parse(text).ok()).collect();
    let address = |last| IpAddr::from([203, 0, 113, last]);
    let survey = Survey {
        votes: vec![(0, address(1)), (1, address(2)), (2, address(1))],
        asked: vec![0, 1, 2],
    };
    survey.verdict(&sources, &|_| true).map(|found| found.to_string())
}

#[cfg(test)]
mod tests {
    #[test]
    fn everything_comes_out_as_it_must() {
        let (wrong, tried) = super::run();
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert!(tried > 30, "{tried}");
    }
}
