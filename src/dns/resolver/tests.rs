//! The resolver in simulated time, with servers that behave as scripted, and random ones.

use std::collections::BTreeSet;

use super::*;
use crate::base::random::Random;

const SEC: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
const TWO: &str = "nameserver 192.0.2.1\nnameserver 192.0.2.2\n";

/// What a server does with a question: nothing, or something after a time.
type Reply = Option<(Duration, Result<DnsAnswer, AskError>)>;

type NameServer<'a> = Box<dyn FnMut(Instant, &NameQuery) -> Reply + 'a>;

/// Runs a resolver against a server function, and keeps what was asked and when.
struct Driver<'a> {
    resolver: Resolver,
    now: Instant,
    server: NameServer<'a>,
    coming: Vec<(Instant, u32, Result<DnsAnswer, AskError>)>,
    /// `0.000 192.0.2.1 A name`
    asked: Vec<String>,
    outstanding: BTreeSet<u32>,
}

impl<'a> Driver<'a> {
    fn new(server: impl FnMut(Instant, &NameQuery) -> Reply + 'a) -> Self {
        let resolver = Resolver::new(7);
        let (coming, asked, outstanding) = (Vec::new(), Vec::new(), BTreeSet::new());
        Driver {
            resolver,
            now: Instant::from_nanos(1 << 40),
            server: Box::new(server),
            coming,
            asked,
            outstanding,
        }
    }

    /// One whose only name is `name`.
    fn of(
        name: &str,
        resolv_conf: &str,
        server: impl FnMut(Instant, &NameQuery) -> Reply + 'a,
    ) -> (Self, NameId) {
        let mut driver = Self::new(server);
        let id = driver.resolver.watch(name);
        driver.resolver.set_files("", resolv_conf);
        (driver, id)
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = self.coming.iter().map(|c| c.0).chain(self.resolver.poll_at()).min();
            let Some(next) = next.map(|n| n.max(self.now)).filter(|n| *n <= end) else { break };
            self.now = next;
            let mut out = Vec::new();
            while let Some(at) = self.coming.iter().position(|c| c.0 <= self.now) {
                let (_, token, result) = self.coming.remove(at);
                self.resolver.answer(self.now, token, result, &mut out);
            }
            self.resolver.wake(self.now, &mut out);
            assert!(
                self.resolver.poll_at().is_none_or(|next| next > self.now),
                "wake leaves nothing that is due"
            );
            for ask in out {
                let since = self.now.since(Instant::from_nanos(1 << 40)).as_secs_f64();
                self.asked.push(format!(
                    "{since:.3} {} {:?} {}",
                    ask.server, ask.question.kind, ask.question.name
                ));
                self.outstanding.insert(ask.token);
                if let Some((after, result)) = (self.server)(self.now, &ask) {
                    self.coming.push((self.now + after, ask.token, result));
                }
            }
            assert!(self.resolver.asking.len() <= MAX_ASKING);
        }
        self.now = end;
    }

    fn address(&self, id: NameId) -> String {
        self.resolver.address(id).map_or("none".into(), |a| a.to_string())
    }

    fn problem(&self, id: NameId) -> String {
        let text = self.resolver.problem(id).map_or("none".into(), ToString::to_string);
        text.strip_prefix("name does not resolve: ").unwrap_or(&text).to_owned()
    }
}

fn answer(rcode: Rcode, addresses: &[&str]) -> DnsAnswer {
    let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
    DnsAnswer { rcode, truncated: false, referral: false, addresses, texts: Vec::new(), ttl: 300 }
}

fn says(answer: DnsAnswer) -> Reply {
    Some((5 * MS, Ok(answer)))
}

fn gives(addresses: &[&str]) -> Reply {
    says(answer(Rcode::NOERROR, addresses))
}

fn code(rcode: Rcode) -> Reply {
    says(answer(rcode, &[]))
}

fn is_first(ask: &NameQuery) -> bool {
    ask.server.address.to_string() == "192.0.2.1"
}

#[test]
fn a_name_is_resolved_and_kept_for_its_lifetime() {
    let (mut w, id) = Driver::of("One.Example.", TWO, |_, _| gives(&["203.0.113.1"]));
    assert_eq!((w.address(id), w.problem(id)), ("none".into(), "none".into()));
    w.run(SEC);
    assert_eq!(w.address(id), "203.0.113.1");
    w.run(599 * SEC);
    assert_eq!(w.asked, ["0.000 192.0.2.1 A one.example", "300.005 192.0.2.1 A one.example"]);
}

#[test]
fn the_lifetime_is_bounded() {
    for (ttl, expected) in [(0, 30), (29, 30), (31, 31), (86_400, 3600), (u32::MAX, 3600)] {
        let reply = DnsAnswer { ttl, ..answer(Rcode::NOERROR, &["203.0.113.1"]) };
        let (mut w, _) = Driver::of("a.example", TWO, move |_, _| says(reply.clone()));
        w.run(3601 * SEC);
        assert_eq!(w.asked[1], format!("{expected}.005 192.0.2.1 A a.example"), "ttl {ttl}");
    }
}

#[test]
fn nothing_happens_before_the_files_are_read() {
    let mut w = Driver::new(|_, _| gives(&["203.0.113.1"]));
    assert!(!w.resolver.needs_files());
    let id = w.resolver.watch("a.example");
    assert!(w.resolver.needs_files());
    assert_eq!(w.resolver.poll_at(), None);
    w.resolver.set_files("", TWO);
    assert!(!w.resolver.needs_files());
    w.run(SEC);
    assert_eq!(w.address(id), "203.0.113.1");
}

#[test]
fn the_hosts_file_goes_first() {
    let mut w = Driver::new(|_, _| None);
    let ids = [
        "NAS",
        "nas.lan.",
        "six",
        "both",
        "localhost",
        "x.localhost",
        "203.0.113.9",
        "2001:db8::9",
        "nas.lan",
    ]
    .map(|name| w.resolver.watch(name));
    let hosts = "10.9.9.9 localhost x.localhost\n192.168.1.5 nas Nas.LAN\n2001:db8::6 six both\n192.168.1.6 both\n\
                 192.168.1.7 both nas";
    w.resolver.set_files(hosts, TWO);
    w.run(100 * SEC);
    let expected = [
        "192.168.1.5",
        "192.168.1.5",
        "2001:db8::6",
        "192.168.1.6",
        "127.0.0.1",
        "127.0.0.1",
        "203.0.113.9",
        "2001:db8::9",
        "192.168.1.5",
    ];
    assert_eq!(ids.map(|id| w.address(id)), expected);
    assert_eq!(w.asked, Vec::<String>::new());
    assert_eq!(w.resolver.poll_at(), None);
}

#[test]
fn a_name_that_comes_to_the_hosts_file_or_leaves_it() {
    let (mut w, id) = Driver::of("a.example", TWO, |_, _| code(Rcode::NXDOMAIN));
    w.run(SEC);
    assert_eq!(
        (w.address(id), w.problem(id)),
        ("none".into(), "no such name (NXDOMAIN) from 192.0.2.1".into())
    );
    w.resolver.set_files("203.0.113.5 a.example", TWO);
    assert_eq!((w.address(id), w.problem(id)), ("203.0.113.5".into(), "none".into()));
    w.resolver.set_files("", TWO);
    w.run(SEC);
    assert_eq!(w.address(id), "203.0.113.5", "the last good address stays");
    assert_eq!(w.problem(id), "no such name (NXDOMAIN) from 192.0.2.1");
}

#[test]
fn an_answer_to_a_name_that_is_now_in_the_hosts_file_is_ignored() {
    let (mut w, id) = Driver::of("a.example", TWO, |_, _| gives(&["203.0.113.1"]));
    w.run(MS);
    w.resolver.set_files("203.0.113.5 a.example", TWO);
    w.run(SEC);
    assert_eq!(w.address(id), "203.0.113.5");
}

#[test]
fn a_silent_server_costs_two_seconds_and_is_then_avoided() {
    let (mut w, a) =
        Driver::of(
            "a.example",
            TWO,
            |_, ask| if is_first(ask) { None } else { gives(&["203.0.113.1"]) },
        );
    w.run(3 * SEC);
    assert_eq!(w.asked, ["0.000 192.0.2.1 A a.example", "2.000 192.0.2.2 A a.example"]);
    assert_eq!((w.address(a), w.problem(a)), ("203.0.113.1".into(), "none".into()));
    let b = w.resolver.watch("b.example");
    w.resolver.set_files("", TWO);
    w.run(SEC);
    assert_eq!(w.asked[2..], ["3.000 192.0.2.2 A b.example"]);
    assert_eq!(w.address(b), "203.0.113.1");
    w.run(30 * SEC);
    w.resolver.watch("c.example");
    w.resolver.set_files("", TWO);
    w.run(SEC);
    assert_eq!(
        w.asked[3..],
        ["34.000 192.0.2.1 A c.example"],
        "after a while it is given another chance"
    );
}

#[test]
fn every_server_is_asked_twice() {
    let (mut w, id) = Driver::of("a.example", TWO, |_, _| None);
    w.run(8 * SEC + 500 * MS);
    let expected = ["0.000 192.0.2.1", "2.000 192.0.2.2", "4.000 192.0.2.1", "6.000 192.0.2.2"];
    assert_eq!(w.asked, expected.map(|e| format!("{e} A a.example")));
    assert_eq!(w.problem(id), "no answer from 192.0.2.1, 192.0.2.2");
    assert_eq!(w.resolver.asking.len(), 0);
}

#[test]
fn the_options_are_heeded() {
    let conf = format!("{TWO}options timeout:1 attempts:1 rotate\n");
    let (mut w, _) = Driver::of("a.example", &conf, |_, _| None);
    w.run(2 * SEC + 500 * MS);
    assert_eq!(w.asked.len(), 2);
    assert!(w.asked[1].starts_with("1.000"));
    let (mut w, _) = Driver::of("a.example", &conf, |_, _| gives(&["203.0.113.1"]));
    w.run(700 * SEC);
    let servers: Vec<&str> = w.asked.iter().map(|a| a.split(' ').nth(1).unwrap()).collect();
    assert_eq!(servers, ["192.0.2.1", "192.0.2.2", "192.0.2.1"]);
}

#[test]
fn a_useless_server_is_left_for_the_next_at_once() {
    let cut = DnsAnswer { truncated: true, ..answer(Rcode::NOERROR, &[]) };
    let referral = DnsAnswer { referral: true, ..answer(Rcode::NOERROR, &[]) };
    let error = |e| Some((MS, Err(e)));
    for (reply, problem) in [
        (code(Rcode::SERVFAIL), "server failure (SERVFAIL) from 192.0.2.1"),
        (code(Rcode::REFUSED), "refused (REFUSED) from 192.0.2.1"),
        (code(Rcode(4)), "not implemented (NOTIMP) from 192.0.2.1"),
        (says(cut), "answer cut short from 192.0.2.1"),
        (says(referral), "no recursion from 192.0.2.1"),
        (error(AskError::PortClosed), "DNS port closed at 192.0.2.1"),
        (error(AskError::Unreachable("no route".into())), "no route on the way to 192.0.2.1"),
        (error(AskError::Malformed("rubbish")), "broken answer (rubbish) from 192.0.2.1"),
    ] {
        let same = reply.clone();
        let (mut w, id) = Driver::of("a.example", TWO, move |_, ask| {
            if is_first(ask) { reply.clone() } else { gives(&["203.0.113.1"]) }
        });
        w.run(SEC);
        assert_eq!((w.asked.len(), w.address(id)), (2, "203.0.113.1".into()), "{problem}");

        let (mut w, id) = Driver::of("a.example", "nameserver 192.0.2.1", move |_, _| same.clone());
        w.run(500 * MS);
        assert_eq!(w.problem(id), problem);
        assert_eq!(w.asked.len(), 2, "{problem}");
    }
}

#[test]
fn servfail_and_then_an_answer() {
    let mut asked = 0;
    let (mut w, id) = Driver::of("a.example", "nameserver 192.0.2.1", |_, _| {
        asked += 1;
        if asked < 4 { code(Rcode::SERVFAIL) } else { gives(&["203.0.113.1"]) }
    });
    w.run(500 * MS);
    assert_eq!(w.problem(id), "server failure (SERVFAIL) from 192.0.2.1");
    w.run(SEC);
    assert_eq!((w.address(id), w.problem(id)), ("203.0.113.1".into(), "none".into()));
}

#[test]
fn a_truncated_answer_with_an_address_is_used() {
    let reply = DnsAnswer { truncated: true, ..answer(Rcode::NOERROR, &["203.0.113.1"]) };
    let (mut w, id) = Driver::of("a.example", TWO, move |_, _| says(reply.clone()));
    w.run(SEC);
    assert_eq!((w.address(id), w.asked.len()), ("203.0.113.1".into(), 1));
}

#[test]
fn without_an_ipv4_address_the_ipv6_one_is_looked_up_at_the_same_server() {
    let (mut w, id) =
        Driver::of("a.example", TWO, |_, ask| match (is_first(ask), ask.question.kind) {
            (true, _) => code(Rcode::SERVFAIL),
            (_, RecordType::Aaaa) => gives(&["2001:db8::1"]),
            _ => gives(&[]),
        });
    w.run(SEC);
    let expected = [
        "0.000 192.0.2.1 A a.example",
        "0.005 192.0.2.2 A a.example",
        "0.010 192.0.2.2 Aaaa a.example",
    ];
    assert_eq!(w.asked, expected);
    assert_eq!(w.address(id), "2001:db8::1");
}

#[test]
fn a_name_without_addresses() {
    let (mut w, id) = Driver::of("a.example", TWO, |_, _| gives(&[]));
    w.run(500 * MS);
    assert_eq!(w.problem(id), "no address of this name from 192.0.2.1");
    assert_eq!(w.asked.len(), 2);
}

#[test]
fn no_such_name_is_final() {
    let (mut w, id) = Driver::of("a.example", TWO, |_, _| code(Rcode::NXDOMAIN));
    w.run(500 * MS);
    assert_eq!(w.problem(id), "no such name (NXDOMAIN) from 192.0.2.1");
    assert_eq!(w.asked.len(), 1);
}

#[test]
fn an_address_that_is_nobody_elses_is_refused() {
    for bad in ["0.0.0.0", "127.0.0.1", "224.0.0.1"] {
        let (mut w, id) = Driver::of("a.example", TWO, move |_, _| gives(&[bad]));
        w.run(500 * MS);
        assert_eq!(w.address(id), "none");
        assert_eq!(
            w.problem(id),
            format!("{bad} from 192.0.2.1, which is no other host's address (a blocked name?)")
        );
    }
    let (mut w, id) = Driver::of("a.example", TWO, |_, _| gives(&["0.0.0.0", "192.168.1.5"]));
    w.run(SEC);
    assert_eq!(w.address(id), "192.168.1.5", "private ones are fine: it may be a host of the LAN");
}

#[test]
fn the_search_list() {
    let conf = "nameserver 192.0.2.1\nsearch lan home.example\n";
    let asked = |name: &str, conf: &str| {
        let (mut w, _) = Driver::of(name, conf, |_, _| code(Rcode::NXDOMAIN));
        w.run(500 * MS);
        w.asked.iter().map(|a| a.rsplit(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(asked("nas", conf), ["nas.lan", "nas.home.example", "nas"]);
    assert_eq!(asked("nas.", conf), ["nas"]);
    assert_eq!(asked("a.b", conf), ["a.b", "a.b.lan", "a.b.home.example"]);
    assert_eq!(
        asked("a.b", &format!("{conf}options ndots:2")),
        ["a.b.lan", "a.b.home.example", "a.b"]
    );
    assert_eq!(
        asked("nas", &format!("{conf}options ndots:0")),
        ["nas", "nas.lan", "nas.home.example"]
    );

    let (mut w, id) =
        Driver::of("nas", conf, |_, ask| match ask.question.name.to_string().as_str() {
            "nas.home.example" => gives(&["192.168.1.5"]),
            "nas.lan" => code(Rcode::SERVFAIL),
            _ => code(Rcode::NXDOMAIN),
        });
    w.run(SEC);
    assert_eq!(
        w.address(id),
        "192.168.1.5",
        "a server's failure about one candidate does not end the search"
    );

    let (mut w, _) = Driver::of("nas", conf, |_, _| None);
    w.run(4 * SEC + 500 * MS);
    assert!(w.asked.iter().all(|a| a.ends_with("nas.lan")), "silence does: {:?}", w.asked);
}

#[test]
fn a_name_that_cannot_be_asked_for_has_a_problem() {
    let (mut w, id) = Driver::of("a..b", TWO, |_, _| gives(&["203.0.113.1"]));
    w.run(SEC);
    assert_eq!(w.problem(id), "it has an empty label (two dots in a row, or one at the start)");
    let long = format!("{}.x", vec!["y".repeat(60); 4].join("."));
    let conf = "nameserver 192.0.2.1\nsearch home.example.and.more\n";
    let (mut w, id) = Driver::of(&long, conf, |_, _| gives(&["203.0.113.1"]));
    w.run(SEC);
    assert_eq!(
        w.address(id),
        "203.0.113.1",
        "a search domain that makes it too long does not matter"
    );
}

#[test]
fn no_name_server_is_the_local_one() {
    let (mut w, id) =
        Driver::of("a.example", "", |_, _| Some((Duration::ZERO, Err(AskError::PortClosed))));
    w.run(500 * MS);
    assert_eq!(
        w.problem(id),
        "no name server in /etc/resolv.conf, and DNS port closed at 127.0.0.1"
    );
}

#[test]
fn failures_are_retried_after_1_2_4_up_to_60_seconds() {
    let (mut w, _) = Driver::of("a.example", TWO, |_, _| code(Rcode::NXDOMAIN));
    w.run(300 * SEC);
    let times: Vec<&str> = w.asked.iter().map(|a| a.split('.').next().unwrap()).collect();
    assert_eq!(times, ["0", "1", "3", "7", "15", "31", "63", "123", "183", "243"]);
}

#[test]
fn b1_a_failed_lookup_keeps_the_last_good_address() {
    let mut good = true;
    let mut w = Driver::new(
        move |_, _| if std::mem::take(&mut good) { gives(&["203.0.113.1"]) } else { None },
    );
    let id = w.resolver.watch("a.example");
    w.resolver.set_files("", TWO);
    w.run(3600 * SEC);
    assert_eq!(
        (w.address(id), w.problem(id)),
        ("203.0.113.1".into(), "no answer from 192.0.2.1, 192.0.2.2".into())
    );
}

#[test]
fn the_address_in_use_stays_while_it_is_among_the_answers() {
    let mut turn = 0;
    let (mut w, id) = Driver::of("a.example", TWO, |_, _| {
        turn += 1;
        match turn {
            1 => gives(&["203.0.113.1", "203.0.113.2"]),
            2 => gives(&["203.0.113.2", "203.0.113.1"]),
            _ => gives(&["203.0.113.3", "203.0.113.2"]),
        }
    });
    w.run(SEC);
    for expected in ["203.0.113.1", "203.0.113.1", "203.0.113.3"] {
        assert_eq!(w.address(id), expected);
        w.run(300 * SEC);
    }
}

#[test]
fn a_refresh_comes_at_once_but_not_twice_a_second() {
    let (mut w, id) = Driver::of("a.example", TWO, |_, _| gives(&["203.0.113.1"]));
    w.run(10 * SEC);
    for _ in 0..300 {
        w.resolver.refresh(id, w.now);
        w.run(10 * MS);
    }
    w.run(100 * SEC);
    let times: Vec<&str> = w.asked.iter().map(|a| a.split(' ').next().unwrap()).collect();
    assert_eq!(times, ["0.000", "10.000", "11.000", "12.000", "13.000"]);
    w.resolver.refresh(NameId(99), w.now);
}

#[test]
fn changed_files_try_failed_names_again_and_ask_the_new_servers() {
    let (mut w, id) = Driver::of("a.example", "nameserver 192.0.2.1", |_, ask| {
        if is_first(ask) { None } else { gives(&["203.0.113.1"]) }
    });
    w.run(200 * SEC);
    assert_eq!(w.address(id), "none");
    let before = w.asked.len();
    w.resolver.set_files("", "nameserver 192.0.2.2");
    w.run(SEC);
    assert_eq!((w.address(id), w.asked.len()), ("203.0.113.1".into(), before + 1));

    // While a question is under way.
    let mut w = Driver::new(|_, ask| {
        let address = if is_first(ask) { "203.0.113.66" } else { "203.0.113.1" };
        Some((500 * MS, Ok(answer(Rcode::NOERROR, &[address]))))
    });
    let id = w.resolver.watch("a.example");
    w.resolver.set_files("", "nameserver 192.0.2.1");
    w.run(100 * MS);
    w.resolver.set_files("", "nameserver 192.0.2.2");
    w.run(450 * MS);
    assert_eq!(w.address(id), "none", "the old server's answer no longer counts");
    w.run(SEC);
    assert_eq!(w.address(id), "203.0.113.1");
}

#[test]
fn a_thousand_names_take_turns() {
    let mut w = Driver::new(|_, ask| {
        let n: u32 = ask
            .question
            .name
            .to_string()
            .trim_start_matches('n')
            .trim_end_matches(".example")
            .parse()
            .unwrap();
        gives(&[&format!("203.0.{}.{}", n / 250, n % 250)])
    });
    let ids: Vec<NameId> = (0..1000).map(|n| w.resolver.watch(&format!("n{n}.example"))).collect();
    w.resolver.set_files("", TWO);
    w.run(MS);
    assert_eq!(w.asked.len(), MAX_ASKING);
    w.run(SEC);
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(w.address(*id), format!("203.0.{}.{}", n / 250, n % 250));
    }
    assert_eq!(w.asked.len(), 1000);
}

#[test]
fn the_same_name_is_watched_once_and_can_be_forgotten() {
    let mut w = Driver::new(|_, _| gives(&["203.0.113.1"]));
    let a = w.resolver.watch("a.example");
    assert_eq!(w.resolver.watch("A.Example"), a);
    let b = w.resolver.watch("b.example");
    assert_ne!(a, b);
    w.resolver.set_files("", TWO);
    w.run(MS);
    w.resolver.keep_only(&[b]);
    w.run(SEC);
    assert_eq!((w.address(a), w.address(b)), ("none".into(), "203.0.113.1".into()));
    let c = w.resolver.watch("c.example");
    assert_eq!(c, a, "its place is used again");
    w.resolver.set_files("", TWO);
    w.run(1000 * SEC);
    assert!(w.asked.iter().filter(|q| q.ends_with("a.example")).count() == 1);
    assert_eq!(w.address(c), "203.0.113.1");
}

#[test]
fn waking_without_need_does_nothing() {
    let (mut w, _) = Driver::of("a.example", TWO, |_, _| gives(&["203.0.113.1"]));
    w.run(SEC);
    let next = w.resolver.poll_at().unwrap();
    let mut out = Vec::new();
    w.resolver.wake(next - MS, &mut out);
    assert_eq!((out.len(), out.capacity(), w.resolver.poll_at()), (0, 0, Some(next)));
    for token in [0, 7, 8, 9, u32::MAX] {
        w.resolver.answer(
            next - MS,
            token,
            Ok(answer(Rcode::NOERROR, &["203.0.113.66"])),
            &mut out,
        );
    }
    assert_eq!((out.len(), w.resolver.poll_at()), (0, Some(next)));
}

/// An arbitrary outcome; every address in a usable answer is unique to it, so that the test knows
/// where one came from.
fn weather(random: &mut Random, serial: u32) -> Reply {
    let after = MS * u32::try_from(random.below(5000)).unwrap();
    let v4 = Ipv4Addr::from(0xcb00_0000 + serial).to_string();
    let v6 = format!("2001:db8::{serial:x}");
    let result = match random.below(14) {
        0..4 => return None,
        4 => Ok(answer(Rcode::SERVFAIL, &[])),
        5 => Ok(answer(Rcode::NXDOMAIN, &[])),
        6 => Ok(answer(Rcode::NOERROR, &[])),
        7 => Ok(answer(Rcode::NOERROR, &["0.0.0.0", "127.0.0.1"])),
        8 => Ok(DnsAnswer { ttl: u32::MAX, ..answer(Rcode::NOERROR, &[&v4]) }),
        9 => Ok(DnsAnswer { ttl: 0, truncated: true, ..answer(Rcode::NOERROR, &[&v6, &v4]) }),
        10 => Ok(DnsAnswer { truncated: true, ..answer(Rcode::NOERROR, &[]) }),
        11 => Err(AskError::PortClosed),
        12 => Err(AskError::Unreachable("no route".into())),
        _ => Err(AskError::Malformed("rubbish")),
    };
    Some((after, result))
}

#[test]
fn in_any_weather_addresses_come_from_answers_and_a_healed_name_is_found_within_61_seconds() {
    const SEED: u64 = 0x853c_49e6_748f_ea9b;
    println!("seed {SEED:#x}");
    let seeds = &mut Random(SEED);
    let confs = [
        TWO,
        "",
        "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nsearch lan home.example\noptions rotate",
        "nameserver fe80::1%eth0\noptions timeout:1 attempts:1 ndots:2",
    ];
    for round in 0..60 {
        let healed = std::cell::Cell::new(false);
        let accepted = std::cell::RefCell::new(BTreeSet::from(["192.168.1.5".to_owned()]));
        let random = &mut Random(seeds.below(u64::MAX) | 1);
        println!("round {round}, seed {:#x}", random.0);
        let weather_random = &mut Random(seeds.below(u64::MAX) | 1);
        let mut serial = 0;
        let mut w = Driver::new(|_, ask| {
            serial += 1;
            if healed.get() {
                accepted.borrow_mut().insert("198.51.100.1".to_owned());
                let right = ask.question.kind == RecordType::A;
                return if right { gives(&["198.51.100.1"]) } else { gives(&[]) };
            }
            let reply = weather(weather_random, serial);
            if let Some((_, Ok(answer))) = &reply {
                let usable = answer.addresses.iter().map(ToString::to_string);
                accepted
                    .borrow_mut()
                    .extend(usable.filter(|a| a.starts_with("203.") || a.starts_with("2001:")));
            }
            reply
        });
        let names: Vec<String> =
            (0..1 + random.below(150)).map(|n| format!("n{n}.example")).collect();
        let ids: Vec<NameId> = names.iter().map(|n| w.resolver.watch(n)).collect();
        w.resolver.set_files("192.168.1.5 n0.example\n", confs[round % confs.len()]);
        for _ in 0..40 {
            w.run(MS * u32::try_from(random.below(20_000)).unwrap());
            let id = ids[random.below(ids.len() as u64) as usize];
            match random.below(6) {
                0..3 => w.resolver.refresh(id, w.now),
                3 => w.resolver.set_files("", confs[random.below(4) as usize]),
                4 => w
                    .resolver
                    .set_files("192.168.1.5 n0.example\n", confs[random.below(4) as usize]),
                _ => {
                    // An answer to an old question, or one never asked.
                    let token =
                        w.outstanding.iter().copied().nth(random.below(30) as usize).unwrap_or(3);
                    if !w.resolver.asking.iter().any(|l| l.token == token) {
                        let forged = Ok(answer(Rcode::NOERROR, &["203.0.113.66"]));
                        let mut out = Vec::new();
                        w.resolver.answer(w.now, token, forged, &mut out);
                        assert_eq!(out, []);
                    }
                }
            }
            for id in &ids {
                let address = w.address(*id);
                assert!(
                    address == "none" || accepted.borrow().contains(&address),
                    "{address} came from nowhere"
                );
            }
        }
        healed.set(true);
        // What was under way before does not arrive any more: the worst case.
        w.coming.clear();
        let fails =
            |id: &NameId| w.resolver.problem(*id).is_some() || w.resolver.address(*id).is_none();
        let failing: Vec<NameId> = ids.iter().copied().filter(fails).collect();
        w.run(61 * SEC);
        for id in failing {
            assert_eq!((w.address(id), w.problem(id)), ("198.51.100.1".into(), "none".into()));
        }
    }
}

/// 1,000 names, a bad check of each every second.
fn hopeless<'a>(
    server: impl FnMut(Instant, &NameQuery) -> Reply + 'a,
) -> (Driver<'a>, Vec<NameId>) {
    let mut w = Driver::new(server);
    let ids: Vec<NameId> = (0..1000).map(|n| w.resolver.watch(&format!("n{n}.example"))).collect();
    w.resolver.set_files("", TWO);
    (w, ids)
}

fn bad_checks(w: &mut Driver<'_>, ids: &[NameId], seconds: u32) {
    for _ in 0..seconds {
        ids.iter().for_each(|id| w.resolver.refresh(*id, w.now));
        w.run(SEC);
    }
}

#[test]
fn d5_a_thousand_names_that_do_not_exist_cost_four_questions_a_second_in_all() {
    let exists = std::cell::Cell::new(false);
    let (mut w, ids) =
        hopeless(|_, _| if exists.get() { gives(&["203.0.113.1"]) } else { code(Rcode::NXDOMAIN) });
    w.run(SEC);
    let first = w.asked.len();
    assert!((1000..1020).contains(&first), "each is tried at the start: {first}");
    for minute in 0..10 {
        let before = w.asked.len();
        bad_checks(&mut w, &ids, 60);
        let asked = w.asked.len() - before;
        assert!(asked <= 60 * 4 + 8, "minute {minute}: {asked}");
        assert!(asked >= 60 * 3, "minute {minute}: {asked}");
    }
    // All of them had their turn, and the last is found within 250 s.
    exists.set(true);
    w.run(255 * SEC);
    assert_eq!(ids.iter().filter(|id| w.resolver.address(**id).is_none()).count(), 0);
}

#[test]
fn d5_a_thousand_names_whose_hosts_are_down_are_no_burst_either() {
    for search in ["", "search a.example b.example c.example\n"] {
        let (mut w, ids) = hopeless(|_, _| gives(&["203.0.113.1"]));
        w.resolver.set_files("", &format!("{TWO}{search}"));
        w.run(5 * SEC);
        let before = w.asked.len();
        bad_checks(&mut w, &ids, 100);
        let asked = w.asked.len() - before;
        assert!(asked <= 100 * 4 + 8, "{asked}");
    }
    // A dead server costs no more than one that answers.
    let (mut w, ids) = hopeless(|_, _| None);
    w.run(300 * SEC);
    let before = w.asked.len();
    bad_checks(&mut w, &ids, 300);
    let asked = w.asked.len() - before;
    assert!(asked <= 300 * 4 + 64, "{asked}");
}

#[test]
fn d5_a_bad_check_leaves_the_wait_of_a_failed_lookup_alone_and_files_that_say_the_same_do_too() {
    let (mut w, id) = Driver::of("a.example", TWO, |_, _| code(Rcode::NXDOMAIN));
    for _ in 0..300 {
        w.resolver.refresh(id, w.now);
        w.resolver.set_files("", TWO);
        w.run(SEC);
    }
    let times: Vec<&str> = w.asked.iter().map(|a| a.split('.').next().unwrap()).collect();
    assert_eq!(times, ["0", "1", "3", "7", "15", "31", "63", "123", "183", "243"]);
}

#[test]
fn d5_a_few_names_are_tried_as_soon_as_ever_beside_healthy_ones() {
    let (mut w, ids) = hopeless(|_, ask| {
        if ask.question.name.to_string().starts_with("n999") {
            code(Rcode::NXDOMAIN)
        } else {
            gives(&["203.0.113.1"])
        }
    });
    w.run(4 * SEC);
    let tries = |w: &Driver<'_>| w.asked.iter().filter(|a| a.ends_with(" n999.example")).count();
    assert_eq!(tries(&w), 3, "at 0, 1 and 3 s");
    let healthy = ids.iter().filter(|id| w.resolver.address(**id).is_some()).count();
    assert_eq!(healthy, 999);
}

#[test]
fn both_readers_of_the_hosts_file_find_the_same_address() {
    let hosts =
        "127.0.0.2 localhost\n9.9.9.9 1.1.1.1\n10.0.0.1 Nas.lan\n2001:db8::1 nas.lan localhost\n";
    for (name, wanted) in
        [("localhost", "127.0.0.1"), ("1.1.1.1", "1.1.1.1"), ("nas.lan.", "10.0.0.1")]
    {
        let wanted: IpAddr = wanted.parse().unwrap();
        let mut resolver = Resolver::new(1);
        let id = resolver.watch(name);
        resolver.set_files(hosts, "");
        assert_eq!(
            (resolver.address(id), in_hosts(hosts, name, false)),
            (Some(wanted), Some(wanted)),
            "{name}"
        );
    }
    assert_eq!(in_hosts(hosts, "localhost", true), "2001:db8::1".parse().ok());
    assert_eq!(in_hosts(hosts, "other", false), None);
}
