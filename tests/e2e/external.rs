//! `imon external-ip`: a page's word is believed only if it is one address and nothing else.

use std::time::{Duration, Instant};

use imon_lab::Signal;
use imon_lab::roles::HttpMode;
use libtest_mimic::Trial;

use crate::{SOON, lab, trials};

pub(crate) fn tests() -> Vec<Trial> {
    trials![
        b22_b23_a_page_that_is_not_one_address_is_refused,
        a_page_that_never_ends_is_given_up_after_five_seconds,
        a_signal_ends_it_at_once,
    ]
}

const SOURCE: &str = "http://198.18.0.80/";

fn b22_b23_a_page_that_is_not_one_address_is_refused() {
    let lab = lab();
    let http = lab.http();
    let ask = |args: &[&str]| lab.imon("router").arg("external-ip").args(args).run(SOON);
    let good = ask(&["--source", SOURCE]);
    assert_eq!((good.code(), good.stdout(), good.stderr()), (0, "192.168.42.2\n".to_owned(), String::new()));
    let raw = |text: &str| HttpMode::Raw(text.to_owned());
    for (mode, why) in [
        (HttpMode::Html, "the answer is not one address and nothing else"),
        (HttpMode::Empty, "the answer is empty"),
        (HttpMode::Error500, "the answer has HTTP status 500"),
        (HttpMode::V6, "which is of the other family"),
        (HttpMode::Huge, "the answer is longer than 256 bytes"),
        (HttpMode::Redirect("http://198.18.0.81/".to_owned()), "the answer has HTTP status 30"),
        (raw("fe80::1%x;touch${IFS}/tmp/x"), "the answer is not one address and nothing else"),
        (raw("1.2.3.4 5.6.7.8"), "the answer is not one address and nothing else"),
    ] {
        http.mode(&mode);
        let bad = ask(&["--source", SOURCE]);
        assert_eq!((bad.code(), bad.stdout()), (1, String::new()), "{mode:?}");
        let said = bad.stderr();
        assert!(said.starts_with("? No external address from http://198.18.0.80/: "), "{mode:?}: {said}");
        assert!(said.contains(why), "{mode:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{mode:?}: {said}");
    }
    for (args, why) in [
        (&["--source", "ftp://198.18.0.80/"][..], "a source begins with https:// or http://"),
        (&["--source", "http://198.18.0.81:9/"], "onnection refused"),
        (&["--source", "http://"], "? No external address"),
    ] {
        let bad = ask(args);
        assert_eq!(bad.code(), 1, "{args:?}");
        assert!(bad.stderr().contains(why), "{args:?}: {}", bad.stderr());
    }
    let usage = ask(&[]);
    assert_eq!(usage.code(), 2);
    assert_eq!(ask(&["--source", SOURCE, "--family", "5"]).code(), 2);
}

fn a_page_that_never_ends_is_given_up_after_five_seconds() {
    let lab = lab();
    let http = lab.http();
    for mode in [HttpMode::Hang, HttpMode::Slow] {
        http.mode(&mode);
        let begin = Instant::now();
        let bad = lab.imon("router").args(["external-ip", "--source", SOURCE]).run(Duration::from_secs(20));
        assert_eq!(bad.code(), 1, "{mode:?}");
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
    }
}
