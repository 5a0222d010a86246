//! `imon external-ip`, and so every lookup of the ddns monitor: a source's word is believed only if
//! it is one public address and nothing else, and comes by an honest way.

use std::time::{Duration, Instant};

use imon_lab::roles::{Certificate, DnsMode, HttpMode};
use imon_lab::{Finished, Lab, Signal};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::{SOON, lab, public_lab, trials};

pub(crate) fn tests() -> Vec<Trial> {
    trials![
        b22_b23_a_page_that_is_not_one_address_is_refused,
        a_page_that_never_ends_is_given_up_after_five_seconds,
        a_signal_ends_it_at_once,
        https_is_believed_only_with_a_good_certificate,
        name_servers_tell_who_asks_in_both_families,
        without_a_source_two_that_agree_are_believed,
        the_table_says_what_is_wrong_with_each,
        the_interface_of_a_request_can_be_chosen,
        no_secret_and_no_privilege_is_in_the_worker,
    ]
}

const SOURCE: &str = "http://198.18.0.80/";

fn ask(lab: &Lab, args: &[&str]) -> Finished {
    lab.imon("router").arg("external-ip").args(args).run(SOON)
}

fn b22_b23_a_page_that_is_not_one_address_is_refused() {
    let lab = public_lab();
    let http = lab.http();
    let good = ask(&lab, &["--source", SOURCE]);
    assert_eq!(
        (good.code(), good.stdout(), good.stderr()),
        (0, "203.0.113.1\n".to_owned(), String::new())
    );
    let raw = |text: &str| HttpMode::Raw(text.to_owned());
    let no_address = "the answer is not one address and nothing else";
    for (mode, why) in [
        (HttpMode::Html, no_address),
        (HttpMode::Empty, "the answer is empty"),
        (HttpMode::HeaderOnly, "the answer is empty"),
        (HttpMode::Error500, "the answer has HTTP status 500"),
        (HttpMode::Reply(403, "203.0.113.1".to_owned()), "the answer has HTTP status 403"),
        (HttpMode::V6, "which is of the other family"),
        (HttpMode::Huge, "the answer is longer than 256 bytes"),
        (HttpMode::Redirect("http://198.18.0.81/".to_owned()), "the answer has HTTP status 30"),
        (HttpMode::Trace, no_address),
        (HttpMode::Drop, "closed without an answer"),
        (raw("fe80::1%x;touch${IFS}/tmp/x"), no_address),
        (raw("1.2.3.4 5.6.7.8"), no_address),
        (raw("1.2.3.4\n5.6.7.8"), no_address),
        (raw("010.2.3.4"), no_address),
        (raw("203.0.113.1%eth0"), no_address),
        (raw("$(reboot)"), no_address),
        (raw("192.168.1.1"), "192.168.1.1, a private address"),
        (raw("100.64.0.1"), "an address inside a provider's network"),
    ] {
        http.mode(&mode);
        let bad = ask(&lab, &["--source", SOURCE]);
        assert_eq!((bad.code(), bad.stdout()), (1, String::new()), "{mode:?}");
        let said = bad.stderr();
        assert!(
            said.starts_with("? No external address from http://198.18.0.80/: "),
            "{mode:?}: {said}"
        );
        assert!(said.contains(why), "{mode:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{mode:?}: {said}");
    }
    http.mode(&HttpMode::Trace);
    assert_eq!(
        ask(&lab, &["--source", "http://198.18.0.80/cdn-cgi/trace"]).stdout(),
        "203.0.113.1\n"
    );
    for (args, why) in [
        (&["--source", "ftp://198.18.0.80/"][..], "a source begins with https:// or http://"),
        (&["--source", "http://198.18.0.81:9/"], "onnection refused"),
        (&["--source", "http://"], "? No source 'http://'"),
        (&["--source", SOURCE, "--bind", "nosuch"], "no such interface"),
        (&["--source", SOURCE, "--family", "6"], "its address is of IPv4"),
    ] {
        let bad = ask(&lab, args);
        assert_eq!(bad.code(), 1, "{args:?}");
        assert!(bad.stderr().contains(why), "{args:?}: {}", bad.stderr());
    }
    assert_eq!(ask(&lab, &["--source", SOURCE, "--family", "5"]).code(), 2);
}

fn a_page_that_never_ends_is_given_up_after_five_seconds() {
    let lab = lab();
    let http = lab.http();
    for mode in [HttpMode::Hang, HttpMode::Slow, HttpMode::Endless] {
        http.mode(&mode);
        let begin = Instant::now();
        let bad = lab
            .imon("router")
            .args(["external-ip", "--source", SOURCE])
            .run(Duration::from_secs(20));
        assert_eq!(bad.code(), 1, "{mode:?}");
        let reason = ["no complete answer in time", "longer than 256 bytes"];
        assert!(reason.iter().any(|why| bad.stderr().contains(why)), "{mode:?}: {}", bad.stderr());
        assert!(begin.elapsed() < Duration::from_secs(15), "{mode:?} took {:?}", begin.elapsed());
    }
}

fn a_signal_ends_it_at_once() {
    let lab = lab();
    let http = lab.http();
    http.mode(&HttpMode::Hang);
    for (asked, signal) in [Signal::SIGINT, Signal::SIGTERM].into_iter().enumerate() {
        let asking = lab.imon("router").args(["external-ip", "--source", SOURCE]).spawn();
        http.wait_request(asked, |_| true, SOON);
        asking.signal(signal);
        assert_eq!(asking.wait(Duration::from_secs(4)).code(), None, "{signal:?}");
        // Its worker does not outlive it.
        lab.wait_until("no worker is left", SOON, || workers(&lab).is_empty());
    }
}

/// The process numbers of the workers in the lab, as seen inside.
fn workers(lab: &Lab) -> Vec<String> {
    let found = lab.sh("router", "grep -lsz web-worke[r] /proc/[0-9]*/cmdline || true");
    found.split_whitespace().filter_map(|path| path.split('/').nth(2)).map(str::to_owned).collect()
}

fn https_is_believed_only_with_a_good_certificate() {
    let lab = public_lab();
    let (http, _dns) = (lab.http(), lab.dns());
    lab.write("/run/lab/ca.pem", &http.authority());
    let by = |source: &str| ask(&lab, &["--source", source, "--ca-file", "/run/lab/ca.pem"]);
    for source in ["https://198.18.0.80/", "https://whatismyip.test/ip"] {
        let good = by(source);
        assert_eq!(
            (good.code(), good.stdout()),
            (0, "203.0.113.1\n".to_owned()),
            "{source}: {}",
            good.stderr()
        );
    }
    assert!(http.requests().iter().all(|r| r.secure));
    let agent = |r: &imon_lab::roles::HttpRequest| {
        r.head.iter().any(|l| l.starts_with("user-agent: imon/3."))
    };
    assert!(http.requests().iter().all(agent));
    let before = http.requests().len();
    for (certificate, why) in [
        (Certificate::Expired, "the certificate has expired"),
        (Certificate::NotYetValid, "the certificate is not valid yet"),
        (Certificate::SelfSigned, "unknown issuer"),
        (Certificate::WrongName, "the certificate is for another name"),
    ] {
        http.certificate(certificate);
        let bad = by("https://whatismyip.test/ip");
        assert_eq!((bad.code(), bad.stdout()), (1, String::new()), "{certificate:?}");
        assert!(bad.stderr().contains(why), "{certificate:?}: {}", bad.stderr());
    }
    http.certificate(Certificate::Good);
    let unknown = ask(&lab, &["--source", "https://198.18.0.80/"]);
    assert!(unknown.stderr().contains("unknown issuer"), "{}", unknown.stderr());
    assert_eq!(
        http.requests().len(),
        before,
        "nothing was asked over a connection that is not trusted"
    );
    let missing = ask(&lab, &["--source", "https://198.18.0.80/", "--ca-file", "/nosuch"]);
    assert!(missing.stderr().contains("ca-file '/nosuch' cannot be read"), "{}", missing.stderr());
}

fn name_servers_tell_who_asks_in_both_families() {
    let lab = public_lab();
    let (http, dns) = (lab.http(), lab.dns());
    for source in ["dns:cloudflare", "dns:opendns", "dns:google"] {
        let four = ask(&lab, &["--source", source]);
        assert_eq!(four.stdout(), "203.0.113.1\n", "{source}: {}", four.stderr());
        let six = ask(&lab, &["--source", source, "--family", "6"]);
        assert_eq!(six.stdout(), "2001:db8:42::2\n", "{source}: {}", six.stderr());
    }
    let page = ask(&lab, &["--source", "http://[2001:db8:80::80]/", "--family", "6"]);
    assert_eq!(page.stdout(), "2001:db8:42::2\n", "{}", page.stderr());
    let own = ask(&lab, &["--source", "interface", "--family", "6"]);
    assert_eq!(own.stdout(), "2001:db8:42::2\n", "{}", own.stderr());
    let own = ask(&lab, &["--source", "interface"]);
    assert!(own.stderr().contains("192.168.42.2, a private address"), "{}", own.stderr());
    drop(http);
    for (mode, why) in [
        (DnsMode::Timeout, "no answer"),
        (DnsMode::Refused, "refused (REFUSED)"),
        (DnsMode::Empty, "the answer has no address"),
        (DnsMode::WrongId, "no answer"),
        (DnsMode::OtherAddress, "no answer"),
        (DnsMode::Garbage, "no answer"),
    ] {
        dns.mode(&mode);
        let bad = ask(&lab, &["--source", "dns:opendns"]);
        assert_eq!(bad.code(), 1, "{mode:?}");
        assert!(bad.stderr().contains(why), "{mode:?}: {}", bad.stderr());
    }
}

fn without_a_source_two_that_agree_are_believed() {
    let lab = public_lab();
    let (http, dns) = (lab.http(), lab.dns());
    let sources = [
        "--source",
        "http://198.18.0.80/",
        "--source",
        "dns:opendns",
        "--source",
        "http://198.18.0.81/",
    ];
    let good = ask(&lab, &sources);
    assert_eq!((good.code(), good.stdout()), (0, "203.0.113.1\n".to_owned()));
    assert_eq!((http.requests().len(), dns.queries().len()), (1, 1), "two are enough");
    // The default sources do not exist here: all fail, and each says why.
    dns.mode(&DnsMode::NxDomain);
    let bad = lab.imon("router").arg("external-ip").run(Duration::from_secs(60));
    assert_eq!(bad.code(), 1);
    let said = bad.stderr();
    assert!(said.starts_with("? No external address:\n"), "{said}");
    assert!(
        said.contains("https://www.cloudflare.com/cdn-cgi/trace: the name www.cloudflare.com cannot be resolved"),
        "{said}"
    );
}

fn the_table_says_what_is_wrong_with_each() {
    let lab = public_lab();
    let (http, _dns) = (lab.http(), lab.dns());
    http.mode_of("198.18.0.81", &HttpMode::Raw("203.0.113.9".to_owned()));
    http.mode_of("198.18.0.82", &HttpMode::Html);
    let args = [
        "--all",
        "--source",
        "http://198.18.0.80/",
        "--source",
        "http://198.18.0.81/",
        "--source",
        "http://198.18.0.82/",
        "--source",
        "dns:google",
    ];
    let table = ask(&lab, &args);
    let lines: Vec<String> = table
        .stdout()
        .lines()
        .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(
        lines[0].starts_with("http://198.18.0.80/ ") && lines[0].ends_with("ms 203.0.113.1"),
        "{lines:?}"
    );
    assert!(lines[1].ends_with("ms 203.0.113.9"), "{lines:?}");
    assert!(lines[2].ends_with("ms - the answer is not one address and nothing else"), "{lines:?}");
    assert_eq!(table.code(), 0, "two of three agree");
    let json = ask(&lab, &[&["--json"], &args[..]].concat());
    let value: Value = serde_json::from_str(&json.stdout()).unwrap();
    assert_eq!(
        (&value["schema"], &value["address"], &value["family"]),
        (&1.into(), &"203.0.113.1".into(), &"4".into())
    );
    assert_eq!(value["sources"][0]["local_address"], "192.168.42.2");
    assert_eq!(value["sources"][2]["problem"], "the answer is not one address and nothing else");
    assert!(value["sources"][0]["seconds"].as_f64().is_some_and(|s| s < 5.0));
}

fn the_interface_of_a_request_can_be_chosen() {
    let lab = public_lab();
    let (_http, _dns) = (lab.http(), lab.dns());
    lab.sh("router", "ip route add default via 192.168.62.1 dev wan2 metric 500");
    for source in ["http://198.18.0.80/", "dns:opendns"] {
        for (device, address) in [("wan1", "203.0.113.1\n"), ("wan2", "198.51.100.1\n")] {
            let told = ask(&lab, &["--source", source, "--bind", device]);
            assert_eq!(told.stdout(), address, "{source} {device}: {}", told.stderr());
        }
    }
}

fn no_secret_and_no_privilege_is_in_the_worker() {
    let lab = lab();
    let http = lab.http();
    http.mode(&HttpMode::Hang);
    let source = "http://198.18.0.80/?token=s3cret";
    let asking = lab
        .imon("router")
        .args(["external-ip", "--source", source])
        .env("http_proxy", "http://127.0.0.1:9/")
        .spawn();
    http.wait_request(0, |_| true, SOON);
    let pid = workers(&lab).first().cloned().expect("a worker asks");
    let status = lab.sh("router", &format!("cat /proc/{pid}/status"));
    let field = |name: &str| {
        status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default().trim().to_owned()
    };
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!(field("NoNewPrivs:"), "1");
    // A filter of system calls; what it lets pass is a unit test's.
    assert_eq!(field("Seccomp:"), "2");
    // Where there is only one user, as in a user namespace, it stays that one.
    let users = field("Uid:");
    let only_root =
        lab.sh("router", "cat /proc/self/uid_map").split_whitespace().nth(2) == Some("1");
    assert!(users.starts_with(if only_root { "0" } else { "65534\t65534\t65534" }), "{users}");
    let arguments = lab.sh("router", &format!("tr '\\0' ' ' </proc/{pid}/cmdline"));
    assert!(!arguments.contains("s3cret") && arguments.contains("web-worker"), "{arguments}");
    let limits = lab.sh("router", &format!("cat /proc/{pid}/limits"));
    let limit =
        |name: &str| limits.lines().find(|l| l.starts_with(name)).unwrap_or_default().to_owned();
    for (name, most) in
        [("Max data size", "16777216"), ("Max processes", "0"), ("Max core file size", "0")]
    {
        assert!(limit(name).contains(most), "{}", limit(name));
    }
    asking.signal(Signal::SIGTERM);
    asking.wait(SOON);
    // What is no task is refused without a word.
    let program = lab.imon_program();
    for task in ["", "{}", "[[", r#"{"source":"http://198.18.0.80/","family":"5"}"#] {
        let run = format!("echo '{task}' | {} web-worker; echo $?", program.display());
        assert_eq!(lab.sh("router", &run), "2", "{task}");
    }
}
