//! What strangers can send: forged answers in floods, servers that never end, and files as large as
//! they may be. Nothing of it is believed, ends imon, or keeps it from its work. Figures are
//! printed; bounds are for a busy machine.

use std::time::{Duration, Instant};

use imon_lab::roles::{Behaviour, DnsMode, HttpMode, Reply};
use imon_lab::{Fault, Lab, Proc, Signal, Wan};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::{said, status, wait_lines, wait_status};
use crate::{SOON, lab, public_lab, trials};

pub(crate) fn tests() -> Vec<Trial> {
    trials![
        s3_fifty_thousand_forged_packets_a_second_are_no_answer_and_hide_none,
        s3_fifty_thousand_duplicates_a_second_are_one_reply_each,
        s3_forged_dns_answers_are_never_believed,
        s3_no_web_server_outlasts_a_worker,
        s3_rubbish_in_place_of_tls_outlasts_no_worker,
        s3_full_size_rubbish_as_configuration_is_refused_in_no_time,
        s3_full_size_rubbish_in_the_systems_files_stops_nothing,
    ]
}

/// Packets a second from each of two directions.
const RATE: u32 = 25_000;

fn targets(status: &Value) -> &[Value] {
    status["monitors"]["ping"]["targets"].as_array().map_or(&[], Vec::as_slice)
}

fn count(status: &Value, target: usize, name: &str) -> u64 {
    targets(status).get(target).and_then(|target| target["probes"][name].as_u64()).unwrap_or(0)
}

/// A status that was written after this call.
fn fresh(lab: &Lab, imon: &Proc) -> Value {
    let before = status(lab, "t")["written"].clone();
    wait_status(lab, imon, "t", "it is written again", |s| s["written"] != before)
}

fn s3_fifty_thousand_forged_packets_a_second_are_no_answer_and_hide_none() {
    let lab = lab();
    let internet = lab.responder("inet");
    internet.set("9.9.9.9", &Behaviour::silent());
    let config = json!({
        "ping": { "enable": true, "interval": 0.5, "pingcount": 5, "pingwait": 2, "monitorip": "1.1.1.1, 9.9.9.9" },
        "failover": {
            "enable": true, "interval": 1, "pingwait": 1, "prefer-primary": true, "hold-down": 3,
            "primary-if": "wan1", "primary-gw": "192.168.42.1", "primary-ping": "1.1.1.1",
            "standby-if": "wan2", "standby-gw": "192.168.62.1", "standby-ping": "8.8.8.8",
        },
    });
    let imon = lab.imon("router").instance("t", &config.to_string()).nosyslog().spawn();
    for role in ["Primary", "Standby"] {
        let state = format!("Initial State for {role}");
        imon.wait_line(|line| line.contains(&state) && line.ends_with("online"), SOON);
    }
    wait_status(&lab, &imon, "t", "targets are judged", |s| {
        targets(s).iter().all(|t| t["state"] != "unknown")
    });
    let quiet = imon.usage();
    let claimed = ["1.1.1.1", "9.9.9.9", "8.8.8.8"];
    let floods = Wan::BOTH.map(|wan| lab.flood(wan.isp(), wan.address(), &claimed, RATE));
    let (began, before) = (Instant::now(), fresh(&lab, &imon));
    // What is measured is a window of time.
    std::thread::sleep(Duration::from_secs(6));
    let after = fresh(&lab, &imon);
    let (took, loud) = (began.elapsed(), imon.usage());
    let lines = said(&imon);
    assert!(
        !lines.iter().any(|l| l.contains("is active") && l.contains("wan2")),
        "a switch for nothing: {lines:?}"
    );
    let mark = imon.mark();
    let since = lab.fault(Fault::Carrier(Wan::One));
    imon.wait_line_from(mark, |line| line.ends_with("is active"), SOON);
    let switched = since.elapsed();
    let [one, two] = floods.map(|flood| flood.report());
    let cpu = loud.cpu.saturating_sub(quiet.cpu);
    let grown = |name: &str| count(&after, 0, name) - count(&before, 0, name);
    println!(
        "{} and {} forged packets a second; of {} requests {} answered; {cpu:?} of processor in {took:?}; {} KiB, before \
         {} KiB; carrier lost, switched after {switched:?}",
        one.rate(),
        two.rate(),
        grown("sent"),
        grown("replies"),
        loud.rss_kib,
        quiet.rss_kib
    );
    assert!(one.sent + two.sent > 20_000, "{one:?} {two:?}");
    // The last ones may be under way. The kernel may drop some, as on a real link.
    assert!(
        grown("sent") >= 20 && grown("replies") * 10 >= grown("sent").saturating_sub(10) * 8,
        "{after:#}"
    );
    assert_eq!((count(&after, 1, "replies"), count(&after, 1, "late")), (0, 0), "{after:#}");
    assert_eq!(
        (count(&after, 0, "duplicates"), count(&after, 1, "duplicates")),
        (0, 0),
        "{after:#}"
    );
    assert_eq!(targets(&after)[1]["state"], "offline", "{after:#}");
    assert!(cpu < took * 9 / 10, "{cpu:?} of {took:?}");
    assert!(loud.rss_kib < quiet.rss_kib + 1024, "{quiet:?} {loud:?}");
    assert!(switched < Duration::from_secs(3), "{switched:?}");
}

fn s3_fifty_thousand_duplicates_a_second_are_one_reply_each() {
    let lab = lab();
    let internet = lab.responder("inet");
    internet.set("1.1.1.1", &Behaviour::new(Reply::Repeated(5000)));
    let config = r#"{"ping": {"enable": true, "interval": 0.5, "pingcount": 5, "pingwait": 2, "monitorip": "1.1.1.1, 8.8.8.8"}}"#;
    let imon = lab.imon("router").instance("t", config).nosyslog().spawn();
    let began = Instant::now();
    let seen = wait_status(&lab, &imon, "t", "both targets are checked", |s| {
        count(s, 1, "replies") >= 20 && [0, 1].iter().all(|at| count(s, *at, "checks") > 0)
    });
    let (took, usage) = (began.elapsed(), imon.usage());
    let replies = |at| {
        (count(&seen, at, "sent"), count(&seen, at, "replies"), count(&seen, at, "duplicates"))
    };
    println!(
        "{:?} and {:?} sent, answered, twice; {:?} of {took:?}; {} KiB",
        replies(0),
        replies(1),
        usage.cpu,
        usage.rss_kib
    );
    for at in [0, 1] {
        let (sent, answered, _) = replies(at);
        assert!(answered <= sent && answered > 0, "{seen:#}");
        // On a machine that is busy with other things what it cannot read in time is late.
        assert!(
            targets(&seen)[at]["state"] == "online" || count(&seen, at, "late") > 0,
            "{seen:#}"
        );
    }
    assert!(replies(0).2 > 1000 && replies(1).2 == 0, "{seen:#}");
    assert!(usage.rss_kib < 16 * 1024, "{usage:?}");
}

/// By somebody on the way, who sees the questions, and by somebody who does not and tries every
/// port and number.
fn s3_forged_dns_answers_are_never_believed() {
    let lab = public_lab();
    let (_internet, dns) = (lab.responder("inet"), lab.dns());
    let flood = lab.flood("isp1", Wan::One.address(), &["8.8.8.8", "208.67.222.222"], 2 * RATE);
    let evil = [203, 0, 113, 66].into();
    dns.mode(&DnsMode::Forged(200, evil));
    let config = r#"{"updown": {"enable": true, "interval": 0.5, "pingwait": 1.5, "monitorip": "host.test"}}"#;
    let imon = lab.imon("router").instance("t", config).nosyslog().spawn();
    imon.wait_line(|l| l.ends_with("Monitored IP host.test online"), SOON * 2);
    // The provider's address translation takes a question for the answer to a forged one now and
    // then, and then lets it pass with its private address, which is no answer.
    lab.wait_until("the true address", SOON * 2, || {
        let asked = lab.imon("router").args(["external-ip", "--source", "dns:opendns"]).run(SOON);
        assert!(
            ["", "203.0.113.1\n"].contains(&asked.stdout().as_str()),
            "{} {}",
            asked.stdout(),
            asked.stderr()
        );
        asked.code() == 0
    });
    wait_status(&lab, &imon, "t", "its true address", |s| {
        s["monitors"]["updown"]["address"] == "198.18.0.80"
    });
    drop(imon);
    for mode in [DnsMode::Huge, DnsMode::PointerLoop] {
        dns.mode(&mode);
        let began = Instant::now();
        let asked =
            lab.imon("router").args(["external-ip", "--source", "dns:opendns"]).run(SOON * 2);
        assert_eq!((asked.code(), asked.stdout()), (1, String::new()), "{mode:?}");
        let imon = lab.imon("router").instance("t", config).nosyslog().spawn();
        imon.wait_line(|l| l.contains("host.test") && l.contains("offline"), SOON);
        let usage = imon.usage();
        println!(
            "{mode:?}: {} after {:?}, {:?}, {} KiB",
            asked.stderr().trim(),
            began.elapsed(),
            usage.cpu,
            usage.rss_kib
        );
        assert!(usage.cpu < Duration::from_secs(2) && usage.rss_kib < 16 * 1024, "{usage:?}");
        dns.mode(&DnsMode::Normal);
        imon.wait_line(|l| l.ends_with("Monitored IP host.test online"), SOON * 2);
    }
    println!("{} forged answers a second", flood.report().rate());
    assert!(flood.report().sent > 5_000, "{:?}", flood.report());
}

/// Asks all of these servers at once for the external address, each by a process of its own. None
/// may be believed, and none may take longer than a lookup's five seconds and what a busy machine
/// adds.
fn none_is_believed(scheme: &str, modes: Vec<HttpMode>) {
    let lab = lab();
    let http = lab.http();
    lab.sh("inet", "ip route add local 198.19.0.0/24 dev lo");
    let ask = |(n, mode): (usize, HttpMode)| {
        let server = format!("198.19.0.{}", n + 1);
        http.mode_of(&server, &mode);
        let source = format!("{scheme}://{server}/");
        let began = Instant::now();
        (mode, began, lab.imon("router").args(["external-ip", "--source", &source]).spawn())
    };
    let asked: Vec<_> = modes.into_iter().enumerate().map(ask).collect();
    for (mode, began, imon) in asked {
        let ended = imon.finish(Duration::from_secs(30));
        let (name, took) = (format!("{mode:?}"), began.elapsed());
        let name: String = name.chars().take(70).collect();
        println!("{took:?} {} - {name}", ended.stderr().trim());
        assert_eq!((ended.code(), ended.stdout()), (1, String::new()), "{name}");
        assert!(
            ended.stderr().len() < 600 && ended.stderr().lines().count() == 1,
            "{name}: {}",
            ended.stderr()
        );
        assert!(took < Duration::from_secs(20), "{name}: {took:?}");
    }
    lab.wait_until("no worker is left", SOON, || {
        lab.sh("router", "grep -lsz web-worke[r] /proc/[0-9]*/cmdline || true").is_empty()
    });
}

fn s3_no_web_server_outlasts_a_worker() {
    let flood = |start: &str, again: &str, millis| {
        HttpMode::Flood(start.to_owned(), again.to_owned(), Duration::from_millis(millis))
    };
    let bytes = |text: &str| HttpMode::Bytes(text.to_owned());
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let megabyte = "x".repeat(1 << 20);
    none_is_believed(
        "http",
        vec![
            flood("HTTP/1.1 200 OK\r\n", "X-More: and more\r\n", 0),
            flood("HTTP/1.1 200 OK\r\n", "X: y\r\n", 1000),
            flood("HTTP/1.1 200 OK\r\n\r\n", "203.0.113.9\n", 0),
            flood("", "H", 1000),
            flood("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n", " ", 1000),
            flood("", "HTTP/1.1 100 Continue\r\n\r\n", 0),
            flood("", "HTTP/1.1 103 Early Hints\r\n\r\n", 10),
            flood(chunked, "1\r\n1\r\n", 0),
            flood(chunked, "1;extension", 0),
            flood(chunked, "0000", 0),
            bytes(&format!("HTTP/1.1 200 {megabyte}\r\n\r\n203.0.113.9")),
            bytes(&format!("HTTP/1.1 200 OK\r\nX: {megabyte}\r\n\r\n203.0.113.9")),
            bytes(&format!("{chunked}{megabyte}\r\n203.0.113.9\r\n0\r\n\r\n")),
            bytes(&format!("{chunked}ffffffffffffffff\r\n203.0.113.9\r\n0\r\n\r\n")),
            bytes(&format!("{chunked}-b\r\n203.0.113.9\r\n0\r\n\r\n")),
            bytes(&format!("{chunked}fffffff0\r\n{megabyte}")),
            bytes("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n203.0.113.9"),
            bytes("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n203.0.113.9"),
            bytes("HTTP/1.1 200 OK\r\nContent-Length: 11\r\nContent-Length: 4\r\n\r\n203.0.113.9"),
            bytes(
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\n\u{1f}?\u{8}\0\0\0\0\0\0\u{3}...........",
            ),
            bytes("HTTP/9.9 200 OK\r\n\r\n203.0.113.9"),
            bytes("HTTP/1.1 999999 OK\r\n\r\n203.0.113.9"),
            bytes("HTTP/1.1 200 OK\r\nX\0Y: z\r\n\r\n203.0.113.9"),
            bytes(&format!("HTTP/1.1 200 OK\r\n{}\r\n203.0.113.9", "A: b\r\n".repeat(1000))),
            bytes("\r\n\r\n\r\n203.0.113.9\n"),
            bytes("203.0.113.9\n"),
            HttpMode::Redirect("http://198.19.0.1/".to_owned()),
            HttpMode::Redirect(format!("http://{}/", "x".repeat(7000))),
        ],
    );
}

fn s3_rubbish_in_place_of_tls_outlasts_no_worker() {
    let plain = |mode| HttpMode::Plain(Box::new(mode));
    let flood = |start: &str, again: &str, millis| {
        plain(HttpMode::Flood(start.to_owned(), again.to_owned(), Duration::from_millis(millis)))
    };
    // A record of a handshake: its kind, TLS 1.2, its length; in it the beginning of a ServerHello
    // of 8 MB.
    let record = "\u{16}\u{3}\u{3}\u{40}\0";
    none_is_believed(
        "https",
        vec![
            plain(HttpMode::Ok),
            plain(HttpMode::Bytes("\0".repeat(100_000))),
            plain(HttpMode::Bytes(record.to_owned())),
            plain(HttpMode::Drop),
            flood("", "rubbish", 0),
            flood(&format!("{record}\u{2}\u{7f}\u{7f}\u{7f}"), "\0", 0),
            flood(&format!("{record}\u{2}\u{7f}\u{7f}\u{7f}"), "\0", 1000),
            // Alerts that warn, for ever, and empty records.
            flood("", "\u{15}\u{3}\u{3}\0\u{2}\u{1}\u{0}", 0),
            flood("", "\u{16}\u{3}\u{3}\0\0", 0),
            flood("", "\u{14}\u{3}\u{3}\0\u{1}\u{1}", 0),
        ],
    );
}

fn s3_full_size_rubbish_as_configuration_is_refused_in_no_time() {
    const FULL: usize = (1 << 20) - 64;
    let lab = lab();
    let full = |piece: &str| piece.repeat(FULL / piece.len());
    for (name, text) in [
        ("brackets", full("[")),
        ("braces", full("{\"a\":")),
        ("a list in a list", format!("{{\"updown\": {{\"monitorip\": {}", full("["))),
        (
            "an address",
            format!("{{\"updown\": {{\"enable\": true, \"monitorip\": \"{}\"}}}}", full("x")),
        ),
        (
            "targets",
            format!("{{\"ping\": {{\"enable\": true, \"monitorip\": \"{}\"}}}}", full("10.0.0.1,")),
        ),
        ("keys", format!("{{{} \"z\": 1}}", full("\"interval\": 1,"))),
        (
            "unknown keys",
            format!("{{\"ping\": {{{} \"enable\": true}}}}", full("\"pingcuont\": 1,")),
        ),
        ("a number", format!("{{\"ping\": {{\"interval\": {}}}}}", full("9"))),
        ("NULs", full("\0")),
        ("escapes", format!("{{\"ping\": {{\"monitorip\": \"{}\"}}}}", full("\\u202e"))),
        ("backslashes", full("\\")),
        ("quotes", full("\"")),
        ("blanks", full(" ")),
        ("too much", " ".repeat(3 << 20)),
    ] {
        lab.write("/etc/default/imon-t", &text);
        let began = Instant::now();
        let checked = lab.imon("router").args(["check-config", "--instance", "t"]).run(SOON * 2);
        let (took, out) = (began.elapsed(), checked.stdout() + &checked.stderr());
        println!("{name}: exit {}, {took:?}, {} bytes said", checked.code(), out.len());
        assert!((0..=2).contains(&checked.code()), "{name}: {:?}", checked.status);
        assert!(!out.contains("panicked") && out.len() < 256 * 1024, "{name}: {} bytes", out.len());
        assert!(took < Duration::from_secs(10), "{name}: {took:?}");
    }
}

fn s3_full_size_rubbish_in_the_systems_files_stops_nothing() {
    const RESOLV_CONF: &str = "/etc/netns/router/resolv.conf";
    let lab = public_lab();
    let (_internet, _dns, _http) = (lab.responder("inet"), lab.dns(), lab.http());
    let config = json!({
        "updown": { "enable": true, "interval": 0.5, "pingwait": 1.5, "monitorip": "host.test" },
        "ddns": { "enable": true, "sources": ["http://198.18.0.80/", "dns:opendns", "dns:google"] },
    });
    let long = |piece: &str, bytes: usize| piece.repeat(bytes / piece.len());
    let hosts = [
        long("10.0.0.1 some.name.example another.name.example\n", 4 << 20),
        long("\0", 4 << 20),
        format!("10.0.0.1 {}", long("a", 4 << 20)),
        long("a ", 8 << 20),
    ];
    lab.write("/var/lib/imon/t.ddns.json", &"[".repeat(1 << 20));
    lab.write(
        RESOLV_CONF,
        &format!("nameserver 8.8.8.8\n{}", long("search a.b.c d.e.f\noptions x:9\n", 1 << 20)),
    );
    lab.write("/etc/hosts", &hosts[0]);
    let began = Instant::now();
    let imon = lab.imon("router").instance("t", &config.to_string()).nosyslog().spawn();
    imon.wait_line(|l| l.ends_with("Monitored IP host.test online"), SOON * 2);
    wait_lines(&lab, &imon, "External IP Address changed from unknown to 203.0.113.1", 1);
    println!("online after {:?}", began.elapsed());
    for (n, text) in hosts.iter().enumerate() {
        lab.write("/etc/hosts", text);
        lab.write(RESOLV_CONF, &format!("nameserver 8.8.8.8\n{}", long("\u{0}\n", 2 << 20)));
        // A new file is noticed when a name is asked for, at the latest at a reload with another
        // configuration.
        let mut other = config.clone();
        other["updown"]["interval"] = json!(0.5 + f64::from(u32::try_from(n + 1).unwrap()) / 10.0);
        lab.write("/etc/default/imon-t", &other.to_string());
        let before = fresh(&lab, &imon);
        imon.signal(Signal::SIGHUP);
        let sent = |s: &Value| s["monitors"]["updown"]["probes"]["replies"].as_u64().unwrap_or(0);
        let first = sent(&before);
        wait_status(&lab, &imon, "t", "it goes on", |s| {
            sent(s) != first && s["monitors"]["updown"]["state"] == "online"
        });
        let usage = imon.usage();
        println!("hosts number {n}: {} KiB resident, {:?} of processor", usage.rss_kib, usage.cpu);
        assert!(usage.rss_kib < 24 * 1024, "{usage:?}");
    }
    imon.signal(Signal::SIGTERM);
    assert_eq!(imon.wait(SOON).code(), Some(0));
}
