//! What scripts print: it is logged, and keeps nobody from anything.

use std::time::Duration;

use imon::event::Severity;
use libtest_mimic::Trial;

use crate::house::{STOP, at, router};
use crate::sim::{SimWorld, seconds};

pub fn tests() -> Vec<Trial> {
    let trial = |name: &str, test: fn()| {
        Trial::test(format!("output::{name}"), move || {
            test();
            Ok(())
        })
    };
    vec![
        trial("each_line_is_logged_once_and_in_order", each_line_is_logged_once_and_in_order),
        trial("a_flood_keeps_no_probe_waiting", a_flood_keeps_no_probe_waiting),
        trial("what_runs_on_in_the_background_is_heard", what_runs_on_in_the_background_is_heard),
        trial("the_end_does_not_wait_for_a_flood", the_end_does_not_wait_for_a_flood),
    ]
}

const CONFIG: &str = r#"{"global": {"action": "/script"},
    "ping": {"enable": true, "interval": 5, "pingcount": 2, "monitorip": "203.0.113.1,203.0.113.2"}}"#;

fn logged(world: &SimWorld) -> Vec<&str> {
    let lines = world.lines.iter().filter(|line| line.severity == Severity::Debug);
    lines.map(|line| line.text.strip_prefix("ping-result: ").unwrap_or(&line.text)).collect()
}

fn each_line_is_logged_once_and_in_order() {
    let mut world = router(1);
    let mut calls = 0;
    world.prints = Box::new(move |_| {
        calls += 1;
        let ms = Duration::from_millis;
        let parts =
            [format!("call {calls}\n\nhal"), "f a line\r\n".to_owned(), format!("end {calls}")];
        parts
            .into_iter()
            .zip([1, 5, 15])
            .map(|(text, after)| (ms(after), text.into_bytes()))
            .collect()
    });
    world.signal(at(600), STOP);
    let world = world.run(CONFIG);
    let (lines, calls) = (logged(&world), world.calls.len());
    assert!(calls > 200 && lines.len() == calls * 3, "{} lines of {calls} calls", lines.len());
    for (at, call) in lines.chunks(3).enumerate() {
        let number = at + 1;
        assert_eq!(call, [&format!("call {number}"), "half a line", &format!("end {number}")]);
    }
}

/// A hundred times what a pipe holds.
fn flood() -> Vec<u8> {
    format!("{}\n", "x".repeat(199)).repeat(32_000).into_bytes()
}

fn a_flood_keeps_no_probe_waiting() {
    let mut world = router(1);
    world.prints =
        Box::new(|call| if call.at < at(6) { vec![(Duration::ZERO, flood())] } else { Vec::new() });
    world.signal(at(60), STOP);
    let world = world.run(CONFIG);
    let times: Vec<f64> = world
        .probes
        .iter()
        .flatten()
        .filter(|p| p.to.to_string() == "203.0.113.1")
        .map(|p| seconds(p.at))
        .collect();
    assert!(
        times.len() == 24
            && times.iter().enumerate().all(|(n, at)| {
                let due = (n / 2 * 5) as f64 + if n % 2 == 1 { 0.5 } else { 0.0 };
                (at - due).abs() < 0.02
            }),
        "{times:?}"
    );
    let early = world.calls.iter().filter(|call| call.at < at(6)).count();
    assert_eq!(logged(&world).len(), early * 32_000);
}

fn what_runs_on_in_the_background_is_heard() {
    let mut world = router(1);
    world.prints = Box::new(|call| {
        if call.at > at(100) {
            return Vec::new();
        }
        let text = |n: u64| (Duration::from_secs(n), format!("{n} s later\n").into_bytes());
        (0..30).map(text).collect()
    });
    world.signal(at(200), STOP);
    let world = world.run(CONFIG);
    let printing = world.calls.iter().filter(|call| call.at <= at(100)).count();
    let heard = |what: &str| logged(&world).into_iter().filter(|line| *line == what).count();
    assert_eq!((heard("0 s later"), heard("5 s later")), (printing, printing));
    // Of more than eight that go on the oldest are let go.
    let late = heard("29 s later");
    assert!(late >= 8 && late < printing, "{late} of {printing}");
}

fn the_end_does_not_wait_for_a_flood() {
    let mut world = router(1);
    world.prints = Box::new(|_| vec![(Duration::ZERO, flood())]);
    world.signal(at(11), STOP);
    let world = world.run(CONFIG);
    assert!(world.is_over());
    let last = seconds(world.lines.last().unwrap().at);
    assert!(last < 13.5, "{last}");
}
