//! The roles: ping responder, name server, address provider, log.

use std::net::IpAddr;
use std::time::Duration;

use imon_lab::roles::{Behaviour, DnsMode, HttpMode, Ping, Pinged, Quote, Record, Reply};
use imon_lab::{Lab, Wan, instant_ns};
use libtest_mimic::Trial;

use crate::client;

pub(crate) fn tests() -> Vec<Trial> {
    crate::trials![
        the_responder_answers_rightly_and_keeps_a_record,
        the_responder_misbehaves_over_ipv4,
        the_responder_misbehaves_over_ipv6,
        the_responder_says_which_requests_it_ignored,
        the_responder_copes_with_five_thousand_requests_a_second,
        the_name_server_answers_and_misbehaves,
        each_name_server_address_has_its_own_mode,
        the_provider_answers_and_misbehaves,
        the_provider_has_a_mode_for_each_address_and_they_take_turns,
        providers_translate_to_public_addresses_that_can_change,
        the_log_hears_every_byte_and_can_go_away,
        a_log_that_does_not_read_fills_up,
    ]
}

const SOON: Duration = Duration::from_secs(30);
const MS: Duration = Duration::from_millis(1);

fn the_responder_answers_rightly_and_keeps_a_record() {
    let lab = Lab::new();
    let responder = lab.responder("inet");
    let pinged = lab.ping("lan", &Ping::new("1.1.1.1").count(3, MS));
    assert_eq!(pinged.answered("1.1.1.1"), 3);
    let requests = responder.requests();
    for (request, sent) in requests.iter().zip(&pinged.sent) {
        assert_eq!(
            (request.seq, request.id, request.len, request.valid),
            (sent.seq, pinged.id, 16, true)
        );
        assert_eq!(
            (request.src.to_string(), request.dst.to_string()),
            ("192.168.92.10".into(), "1.1.1.1".into())
        );
        assert!(
            sent.at_ns < request.at_ns && request.at_ns < request.replied_ns.unwrap(),
            "one clock for all"
        );
        assert!(request.replied_ns.unwrap() < instant_ns(std::time::Instant::now()));
    }
    assert_eq!((requests.len(), responder.count()), (3, 3));
    responder.forget();
    assert_eq!(responder.count(), 0);
}

fn the_responder_misbehaves_over_ipv4() {
    misbehave("1.1.1.1", "9.9.9.9", "203.0.113.254", (3, 11));
}

fn the_responder_misbehaves_over_ipv6() {
    misbehave("2606:4700:4700::1111", "2001:4860:4860::8888", "2001:db8:f1::fe", (1, 3));
}

/// Each misbehaviour, as a ping from the router hears it. `kinds`: ICMP types of unreachable and
/// time exceeded.
fn misbehave(to: &str, other: &str, third: &str, kinds: (u8, u8)) {
    let lab = Lab::new();
    let responder = lab.responder("inet");
    let ask = |reply: Reply, count: u16| {
        responder.set(to, &Behaviour::new(reply));
        lab.ping("router", &Ping::new(to).count(count, 2 * MS).listen(30 * MS))
    };
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let alone = |pinged: &Pinged| {
        assert_eq!(
            (pinged.heard.len(), pinged.answered(to)),
            (1, 0),
            "one message, and not the right one: {pinged:?}"
        );
        pinged.heard[0].clone()
    };

    assert!(ask(Reply::Silent, 2).heard.is_empty());
    assert_eq!(ask(Reply::Echo, 2).answered(to), 2);
    assert_eq!(ask(Reply::Twice, 1).replies(to, 1).len(), 2);

    let reordered: Vec<u16> = ask(Reply::Reordered, 4).heard.iter().map(|h| h.seq).collect();
    assert_eq!(reordered, [2, 1, 4, 3]);

    let pinged = ask(Reply::WrongId, 1);
    assert_ne!(alone(&pinged).id, pinged.id);
    assert_ne!(alone(&ask(Reply::WrongSequence, 1)).seq, 1);
    assert_eq!(alone(&ask(Reply::WrongPayload, 1)).payload.len(), 16);
    assert_eq!(alone(&ask(Reply::Truncated(5), 1)).payload.len(), 5);
    assert_eq!(alone(&ask(Reply::WrongSource(address(other)), 1)).from, address(other));

    for (kind, code, quote) in
        [(kinds.0, 1, Quote::Full), (kinds.1, 0, Quote::Short), (kinds.0, 3, Quote::Forged)]
    {
        let then_reply = quote == Quote::Forged;
        let pinged = ask(Reply::Error { kind, code, from: address(third), quote, then_reply }, 1);
        let error = &pinged.heard[0];
        assert_eq!((error.from, error.kind, error.code), (address(third), kind, code));
        assert_eq!(pinged.answered(to), usize::from(then_reply));
        let ip = if error.from.is_ipv4() { 20 } else { 40 };
        let quoted = &error.payload[ip..];
        assert_eq!(
            quoted[4..8],
            [pinged.id.to_be_bytes(), 1_u16.to_be_bytes()].concat(),
            "id and sequence"
        );
        let cookie = &quoted[8..];
        match quote {
            Quote::Full => assert_eq!(cookie, b"imon-lab's ping!"),
            Quote::Short => assert!(cookie.is_empty()),
            Quote::Forged => assert!(cookie.len() == 16 && cookie != b"imon-lab's ping!"),
        }
    }

    // The other addresses still answer; the checksum is the kernel's business in IPv6.
    assert_eq!(lab.ping("router", &Ping::new(other)).answered(other), 1);
    responder.set(to, &Behaviour::normal().delay(20 * MS).jitter(5 * MS));
    let pinged = lab.ping("router", &Ping::new(to).count(5, MS));
    let rtts: Vec<Duration> = (1..=5).map(|seq| pinged.rtt(to, seq).unwrap()).collect();
    assert!(rtts.iter().all(|rtt| *rtt >= 15 * MS), "{rtts:?}");
}

fn the_responder_says_which_requests_it_ignored() {
    let lab = Lab::new();
    let responder = lab.responder("inet");
    responder.seed(42);
    responder.set_default(&Behaviour::normal().loss(30.0));
    let pinged = lab.ping("router", &Ping::new("1.1.1.1").count(100, MS / 2).listen(50 * MS));
    let lost: Vec<u16> = responder.requests().iter().filter(|r| r.lost).map(|r| r.seq).collect();
    let unanswered = (1..=100).filter(|seq| pinged.replies("1.1.1.1", *seq).is_empty());
    assert_eq!(unanswered.collect::<Vec<u16>>(), lost);
    assert!((10..=50).contains(&lost.len()), "{lost:?}");
}

fn the_responder_copes_with_five_thousand_requests_a_second() {
    let lab = Lab::new();
    let responder = lab.responder("inet");
    let pinged = lab.ping("router", &Ping::new("1.1.1.1").count(5000, MS / 5));
    assert_eq!(pinged.answered("1.1.1.1"), 5000);
    assert_eq!(responder.requests().iter().filter(|r| r.replied_ns.is_some()).count(), 5000);
}

/// A query with this id for the A record of a name, in hexadecimal.
fn query(id: u16, name: &str) -> String {
    let labels: String =
        name.split('.').map(|l| format!("{:02x}{}", l.len(), hex(l.as_bytes()))).collect();
    format!("{id:04x}01000001000000000000{labels}0000010001")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Asks 1.1.1.1 from the router; returns who answered, and the answer in hexadecimal.
fn ask(lab: &Lab, name: &str) -> Option<(String, String)> {
    ask_server(lab, "1.1.1.1:53", name)
}

fn ask_server(lab: &Lab, server: &str, name: &str) -> Option<(String, String)> {
    let said = client::run(lab, "router", &["udp", server, &query(0x1234, name)]);
    let (from, answer) = said[0].split_once(' ')?;
    Some((from.to_owned(), answer.to_owned()))
}

/// The response code of an answer.
fn code(answer: &Option<(String, String)>) -> Option<&str> {
    answer.as_ref().map(|(_, hex)| &hex[7..8])
}

fn the_name_server_answers_and_misbehaves() {
    let lab = Lab::new();
    let dns = lab.dns();
    let host80 = hex(&[198, 18, 0, 80]);
    let ends = |name: &str, with: &str| {
        let (from, answer) = ask(&lab, name).unwrap();
        assert_eq!(from, "1.1.1.1:53");
        assert!(answer.starts_with("12348180") && answer.ends_with(with), "{name}: {answer}");
    };
    ends("microsoft.com", &host80);
    ends("Host.Test", &host80);
    ends("alias.test", &hex(&[198, 18, 0, 81]));
    assert_eq!(code(&ask(&lab, "nowhere.test")), Some("3"));
    assert_eq!(code(&ask(&lab, "six.test")), Some("0"));
    dns.set("nowhere.test", &[Record::Address("10.1.2.3".parse().unwrap())]);
    ends("nowhere.test", "0a010203");
    dns.set("nowhere.test", &[]);
    let queries = dns.queries();
    assert_eq!(
        (queries[1].name.as_str(), queries[1].kind, queries[1].id),
        ("host.test", 1, 0x1234)
    );
    assert_eq!(queries[1].server.to_string(), "1.1.1.1");
    assert_eq!(queries[1].from.ip().to_string(), "192.168.42.2");

    let with = |mode: DnsMode, name: &str| {
        dns.mode(&mode);
        ask(&lab, name)
    };
    assert_eq!(with(DnsMode::Timeout, "host.test"), None);
    assert_eq!(dns.wait_query(queries.len(), |q| q.name == "host.test", SOON).kind, 1);
    assert_eq!(code(&with(DnsMode::NxDomain, "host.test")), Some("3"));
    assert_eq!(code(&with(DnsMode::Empty, "host.test")), Some("0"));
    assert_eq!(code(&with(DnsMode::ServFail, "host.test")), Some("2"));
    assert_eq!(code(&with(DnsMode::Refused, "host.test")), Some("5"));
    let liar = || "10.66.66.66".parse().unwrap();
    assert!(with(DnsMode::Lie(liar()), "x.invalid").unwrap().1.ends_with("0a424242"));
    assert_eq!(code(&with(DnsMode::LieExceptInvalid(liar()), "x.invalid")), Some("3"));
    assert!(with(DnsMode::LieExceptInvalid(liar()), "host.test").unwrap().1.ends_with("0a424242"));
    assert_ne!(with(DnsMode::WrongId, "host.test").unwrap().1[..4], *"1234");
    assert!(
        with(DnsMode::WrongQuestion, "host.test").unwrap().1.contains(&hex(b"\x05other\x04test"))
    );
    assert_eq!(&with(DnsMode::Truncated, "host.test").unwrap().1[4..6], "83");
    assert!(with(DnsMode::Garbage, "host.test").unwrap().1.starts_with("a580"));
    assert_eq!(with(DnsMode::Echo, "host.test").unwrap().1, query(0x1234, "host.test"));
    assert_eq!(with(DnsMode::OtherAddress, "host.test").unwrap().0, "8.8.8.8:53");
    let (from, _) = with(DnsMode::OtherPort, "host.test").unwrap();
    assert!(from.starts_with("1.1.1.1:") && from != "1.1.1.1:53", "{from}");
    assert!(with(DnsMode::CnameLoop, "host.test").unwrap().1.starts_with("1234818000010002"));

    dns.mode(&DnsMode::Normal);
    dns.delay(50 * MS);
    let before = std::time::Instant::now();
    assert!(ask(&lab, "host.test").is_some());
    assert!(before.elapsed() >= 50 * MS);
}

fn each_name_server_address_has_its_own_mode() {
    let lab = Lab::new();
    let dns = lab.dns();
    dns.mode_of("8.8.8.8", &DnsMode::ServFail);
    assert_eq!(code(&ask(&lab, "host.test")), Some("0"));
    assert_eq!(code(&ask_server(&lab, "8.8.8.8:53", "host.test")), Some("2"));
    assert_eq!(code(&ask_server(&lab, "[2606:4700:4700::1111]:53", "host.test")), Some("0"));
}

fn the_provider_answers_and_misbehaves() {
    let lab = Lab::new();
    let http = lab.http();
    let get = |mode: HttpMode| {
        http.mode(&mode);
        client::run(&lab, "router", &["http", "198.18.0.80:80"])
    };
    let ok = "HTTP/1.1 200 OK";
    assert_eq!(get(HttpMode::Ok), [ok, "192.168.42.2", ""]);
    let request = http.wait_request(0, |_| true, SOON);
    assert_eq!(
        (request.from.to_string(), request.server.to_string()),
        ("192.168.42.2".into(), "198.18.0.80".into())
    );
    assert_eq!(request.head, ["GET / HTTP/1.1", "Host: whatismyip.test"]);
    assert_eq!(get(HttpMode::Hang), ["nothing"]);
    assert_eq!(get(HttpMode::Html), [ok, "<html>captive portal</html>"]);
    assert_eq!(get(HttpMode::Empty), [ok, ""]);
    assert_eq!(get(HttpMode::Error500), ["HTTP/1.1 500 Internal Server Error", "192.168.42.2", ""]);
    assert_eq!(get(HttpMode::V6), [ok, "2001:db8::77", ""]);
    assert_eq!(get(HttpMode::Slow), [ok, "1"], "one byte, then 1.5 s of nothing");
    assert_eq!(get(HttpMode::Redirect("http://host.test/".into())), ["HTTP/1.1 302 Found", ""]);
    assert_eq!(get(HttpMode::Raw("fe80::1%x;id".into())), [ok, "fe80::1%x;id"]);
    assert_eq!(http.requests().len(), 9);
    http.mode(&HttpMode::Ok);
    assert_eq!(
        client::run(&lab, "router", &["http", "[2001:db8:80::80]:80"]),
        [ok, "2001:db8:42::2", ""]
    );
}

fn the_provider_has_a_mode_for_each_address_and_they_take_turns() {
    let lab = Lab::new();
    let http = lab.http();
    let get = |to: &str| client::run(&lab, "router", &["http", &format!("{to}:80")]);
    let turns = vec![
        HttpMode::Reply(429, String::new()),
        HttpMode::HeaderOnly,
        HttpMode::Raw("last".to_owned()),
    ];
    http.mode_of("198.18.0.82", &HttpMode::Sequence(turns));
    assert_eq!(get("198.18.0.82")[0], "HTTP/1.1 429 Status");
    assert_eq!(get("198.18.0.82"), ["HTTP/1.1 200 OK", ""]);
    for _ in 0..2 {
        assert_eq!(get("198.18.0.82")[1], "last", "the last one stays");
    }
    assert_eq!(get("198.18.0.83")[1], "192.168.42.2");
    http.mode(&HttpMode::Trace);
    assert!(
        get("198.18.0.82").contains(&"ip=192.168.42.2".to_owned()),
        "a mode for all replaces those of addresses"
    );
    assert!(http.authority().starts_with("-----BEGIN CERTIFICATE-----"));
}

fn providers_translate_to_public_addresses_that_can_change() {
    let lab = Lab::builder().public().up();
    let (http, _dns) = (lab.http(), lab.dns());
    let get = || client::run(&lab, "router", &["http", "198.18.0.80:80"])[1].clone();
    assert_eq!(get(), "203.0.113.1");
    lab.public_address(Wan::One, "203.0.113.77");
    assert_eq!(get(), "203.0.113.77");
    lab.sh("router", "ip route replace default via 192.168.62.1");
    assert_eq!(get(), "198.51.100.1");
    assert_eq!(http.requests().last().map(|r| r.from.to_string()).as_deref(), Some("198.51.100.1"));
}

fn the_log_hears_every_byte_and_can_go_away() {
    let lab = Lab::new();
    let syslog = lab.syslog();
    let send = |texts: &[&str]| client::run(&lab, "router", &[&["log"], texts].concat());
    assert_eq!(send(&["<30>one", "<30>\x1b\u{e9} \"two\"\n"]), ["sent", "sent"]);
    syslog.wait(1, |text| text.contains("two"), SOON);
    let messages = syslog.messages();
    assert_eq!(messages[0].bytes, b"<30>one");
    assert_eq!(messages[1].bytes, "<30>\x1b\u{e9} \"two\"\n".as_bytes());
    syslog.stop();
    assert_eq!(send(&["lost"]), ["NotFound"]);
    syslog.start();
    assert_eq!(send(&["<30>again"]), ["sent"]);
    assert_eq!(syslog.wait(2, |_| true, SOON).text(), "<30>again");
    drop(syslog);
    assert_eq!(send(&["lost"]), ["ConnectionRefused"], "a dead socket, as after a crash");
}

fn a_log_that_does_not_read_fills_up() {
    let lab = Lab::new();
    let syslog = lab.syslog();
    syslog.pause();
    let sent: usize = client::run(&lab, "router", &["flood-log"])[0].parse().unwrap();
    assert!((1..10_000).contains(&sent), "{sent}");
    assert!(syslog.messages().is_empty());
    syslog.resume();
    lab.wait_until("what waited is read", SOON, || syslog.messages().len() == sent);
}
