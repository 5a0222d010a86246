//! The ping monitor, end to end: its result line and its script's argument, against what the
//! responder saw.

use std::time::Duration;

use imon_lab::Signal;
use imon_lab::roles::{Behaviour, Request};
use libtest_mimic::Trial;

use crate::support::{recorder, said, status, wait_calls, wait_lines};
use crate::{SOON, lab, trials};

pub(crate) fn tests() -> Vec<Trial> {
    trials![
        a_result_line_has_every_figure_and_loss_is_exact,
        a_script_gets_the_result_and_the_log_does_not,
        a_list_of_targets_is_text_or_json,
        a_silent_target_has_zeros_and_full_loss,
        the_status_follows_a_change_at_once,
    ]
}

/// The figures of a result, as they are written.
#[derive(Debug)]
struct Figures<'a> {
    alive: bool,
    min: f64,
    avg: f64,
    max: f64,
    loss: &'a str,
    jitter: f64,
}

impl<'a> Figures<'a> {
    /// From `True` or `False` and five numbers.
    fn of(words: &[&'a str]) -> Option<Self> {
        let [alive @ ("True" | "False"), min, avg, max, loss, jitter] = *words else { return None };
        // As Python writes them: always a point, at most three decimals.
        let number = |text: &str| {
            let (_, decimals) = text.split_once('.')?;
            (1..=3).contains(&decimals.len()).then(|| text.parse::<f64>().ok()).flatten()
        };
        number(loss)?;
        Some(Self {
            alive: alive == "True",
            min: number(min)?,
            avg: number(avg)?,
            max: number(max)?,
            loss,
            jitter: number(jitter)?,
        })
    }

    /// Of a line of the log.
    fn of_line(line: &'a str, target: &str) -> Option<Self> {
        let rest = line.strip_prefix("[t] Ping Result: IP:")?.strip_prefix(target)?;
        let names = [" State:", " minrtt:", " avgrtt:", " maxrtt:", " loss:", " jitter:"];
        let mut rest = rest;
        let mut words = Vec::new();
        for (n, name) in names.iter().enumerate() {
            rest = rest.strip_prefix(name)?;
            let end = names.get(n + 1).and_then(|next| rest.find(next)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            words.push(word);
            rest = after;
        }
        Self::of(&words)
    }

    /// Whether they agree with each other and with what was sent: `requests` are those of the
    /// check.
    #[track_caller]
    fn assert_agree(&self, requests: &[Request]) {
        let (sent, lost) =
            (requests.len() as f64, requests.iter().filter(|r| r.lost).count() as f64);
        let loss = format!("{:.2}", lost / sent);
        let loss = loss.trim_end_matches('0');
        let loss = if loss.ends_with('.') { format!("{loss}0") } else { loss.to_owned() };
        assert_eq!(self.loss, loss, "{self:?}\n{requests:?}");
        let spent = |r: &Request| {
            r.replied_ns.map(|at| Duration::from_nanos(at - r.at_ns).as_secs_f64() * 1000.0)
        };
        let inside: Vec<f64> = requests.iter().filter_map(spent).collect();
        assert_eq!(self.alive, !inside.is_empty(), "{self:?}\n{requests:?}");
        // A round trip takes as long as the responder took, and a little more.
        let mean = inside.iter().sum::<f64>() / inside.len().max(1) as f64;
        let (least, most) =
            (inside.iter().copied().reduce(f64::min), inside.iter().copied().reduce(f64::max));
        let (least, most) = (least.unwrap_or_default(), most.unwrap_or_default());
        let rounding = 0.001;
        assert!(
            self.min >= least - rounding
                && self.avg >= mean - rounding
                && self.max >= most - rounding,
            "{self:?}\n{requests:?}"
        );
        assert!(self.min <= self.avg + rounding && self.avg <= self.max + rounding, "{self:?}");
        assert!(self.jitter <= self.max - self.min + 2.0 * rounding, "{self:?}");
        if inside.len() < 2 {
            assert!(self.jitter == 0.0, "{self:?}");
        }
    }
}

fn a_result_line_has_every_figure_and_loss_is_exact() {
    let lab = lab();
    let internet = lab.responder("inet");
    let ms = Duration::from_millis;
    internet.set("1.1.1.1", &Behaviour::normal().delay(ms(20)).jitter(ms(15)).loss(40.0));
    // A wait of 2 s: whatever the machine is doing meanwhile, only what the responder ignored is
    // lost.
    let config = r#"{"ping": {"enable": true, "interval": 0.5, "pingcount": 3, "pingwait": 2, "monitorip": "1.1.1.1"}}"#;
    let imon = lab.imon("router").instance("t", config).nosyslog().spawn();
    let lines = wait_lines(&lab, &imon, "Ping Result", 12);
    let requests = internet.requests();
    // Checks overlap here: those of one have neighbouring sequence numbers.
    let mut checks: Vec<Vec<Request>> = Vec::new();
    for request in requests {
        match checks.iter_mut().find(|c| c.len() < 3 && request.seq.wrapping_sub(c[0].seq) < 3) {
            Some(check) => check.push(request),
            None => checks.push(vec![request]),
        }
    }
    for (line, requests) in lines.iter().zip(&checks) {
        assert_eq!(requests.len(), 3, "{requests:?}");
        Figures::of_line(line, "1.1.1.1")
            .unwrap_or_else(|| panic!("{line}"))
            .assert_agree(requests);
    }
    let losses: std::collections::BTreeSet<&str> =
        lines.iter().filter_map(|l| Some(Figures::of_line(l, "1.1.1.1")?.loss)).collect();
    assert!(losses.len() > 1, "losses differ: {losses:?}");
}

fn a_script_gets_the_result_and_the_log_does_not() {
    let lab = lab();
    let (internet, script) = (lab.responder("inet"), recorder(&lab));
    internet.set("9.9.9.9", &Behaviour::silent());
    let config = format!(
        r#"{{"global": {{"action": "{script}"}}, "ping": {{"enable": true, "interval": 1, "pingcount": 2, "pingwait": 1,
            "monitorip": ["1.1.1.1", "9.9.9.9"]}}}}"#
    );
    let imon = lab.imon("router").instance("t", &config).nosyslog().spawn();
    let calls = wait_calls(&lab, 4);
    imon.signal(Signal::SIGTERM);
    assert_eq!(imon.wait(SOON).code(), Some(0));
    for call in &calls {
        assert_eq!(call.argv[..4], ["4", "t", "1", "ping-result"], "{call:?}");
        assert_eq!(call.argv.len(), 5, "{call:?}");
        let words: Vec<&str> = call.argv[4].split(':').collect();
        if words[0] == "9.9.9.9" {
            assert_eq!(call.argv[4], "9.9.9.9:False:0.0:0.0:0.0:1.0:0.0");
            assert_eq!(call.json["reason"], "no reply", "{}", call.json);
            continue;
        }
        assert_eq!(words[0], "1.1.1.1");
        let figures = Figures::of(&words[1..]).unwrap_or_else(|| panic!("{call:?}"));
        assert_eq!((figures.alive, figures.loss), (true, "0.0"), "{call:?}");
        let json = |name: &str| call.json[name].as_f64();
        assert_eq!(
            (json("min_ms"), json("avg_ms"), json("max_ms"), json("jitter_ms")),
            (Some(figures.min), Some(figures.avg), Some(figures.max), Some(figures.jitter)),
            "the same digits in both: {call:?}"
        );
    }
    let both = ["1.1.1.1:", "9.9.9.9:"].map(|t| calls.iter().any(|c| c.argv[4].starts_with(t)));
    assert_eq!(both, [true, true], "{calls:?}");
    assert!(!said(&imon).iter().any(|l| l.contains("Ping Result")), "{}", lab.timeline());
}

fn a_list_of_targets_is_text_or_json() {
    let lab = lab();
    for list in [r#""1.1.1.1, 8.8.8.8 ,9.9.9.9""#, r#"["1.1.1.1", "8.8.8.8", "9.9.9.9"]"#] {
        let config =
            format!(r#"{{"ping": {{"enable": true, "interval": 0.5, "monitorip": {list}}}}}"#);
        let imon = lab.imon("router").instance("t", &config).nosyslog().spawn();
        for target in ["1.1.1.1", "8.8.8.8", "9.9.9.9"] {
            imon.wait_line(
                |l| l.contains(&format!("[t] Ping Result: IP:{target} State:True ")),
                SOON,
            );
        }
        imon.signal(Signal::SIGTERM);
        assert_eq!(imon.wait(SOON).code(), Some(0));
    }
}

fn a_silent_target_has_zeros_and_full_loss() {
    let lab = lab();
    let internet = lab.responder("inet");
    internet.set("1.1.1.1", &Behaviour::silent());
    let config = r#"{"ping": {"enable": true, "interval": 0.5, "pingcount": 2, "pingwait": 0.4, "monitorip": "1.1.1.1"}}"#;
    let imon = lab.imon("router").instance("t", config).nosyslog().spawn();
    let lines = wait_lines(&lab, &imon, "Ping Result", 2);
    let zeros = "[t] Ping Result: IP:1.1.1.1 State:False minrtt:0.0 avgrtt:0.0 maxrtt:0.0 loss:1.0 jitter:0.0";
    assert_eq!(lines[0], zeros);
    internet.set("1.1.1.1", &Behaviour::normal());
    imon.wait_line(|l| l.contains("[t] Ping Result: IP:1.1.1.1 State:True minrtt:0."), SOON);
}

fn the_status_follows_a_change_at_once() {
    let lab = lab();
    let internet = lab.responder("inet");
    let config = r#"{"ping": {"enable": true, "interval": 0.5, "pingcount": 1, "pingwait": 0.4, "monitorip": "1.1.1.1, 9.9.9.9"}}"#;
    let imon = lab.imon("router").instance("t", config).nosyslog().spawn();
    let state = || {
        let seen = status(&lab, "t");
        let of = |n: usize| {
            seen["monitors"]["ping"]["targets"][n]["state"].as_str().unwrap_or_default().to_owned()
        };
        (of(0), of(1))
    };
    let is = |first: &str, second: &str| state() == (first.to_owned(), second.to_owned());
    lab.wait_until("both are online", SOON, || is("online", "online"));
    internet.set("9.9.9.9", &Behaviour::silent());
    lab.wait_until("one is offline", SOON, || is("online", "offline"));
    internet.set("9.9.9.9", &Behaviour::normal());
    lab.wait_until("it is back", SOON, || is("online", "online"));
    assert!(imon.alive());
}
