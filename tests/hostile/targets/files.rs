//! What is read back from files and from other processes of this program, and the files of the
//! resolver.

use std::time::Duration;

use super::parts;
use imon::base::time::{Instant, Wall};
use imon::diagnose::own::Own;
use imon::dns::resolver::{self, MAX_ASKING, Resolver};
use imon::monitor::ddns::state::Saved;
use imon::web::{Task, TaskReport, TaskResult};
use imon::wire::dns;

pub(super) const STATE_WORDS: &[&str] = &[
    "\"schema\":1",
    "\"tracks\":[",
    "\"sinks\":[",
    "\"family\":\"6\"",
    "\"address\":null",
    "\"nat\":\"double\"",
    "\"published\":\"2001:db8::1\"",
    "{",
    "}",
    ",",
    "4294967296",
    "\"stopped\":\"x\"",
];

/// The state of the ddns monitor: what is read of it is written as the same, and is not more than
/// was there.
pub(super) fn state(data: &[u8]) {
    match Saved::read(data) {
        Ok(saved) => {
            let text = saved.text();
            assert_eq!(Saved::read(text.as_bytes()).as_ref(), Ok(&saved), "{text}");
            assert!(
                saved.tracks.len() <= 64
                    && saved.tracks.iter().all(|track| track.sinks.len() <= 64)
            );
            assert!(
                saved
                    .tracks
                    .iter()
                    .all(|track| track.address.is_none_or(|address| track.family.has(address)))
            );
            for secs in [0, saved.written, i64::MAX, i64::MIN] {
                let _ = saved.is_of_the_future(Wall { secs, nanos: 0 }, 1_795_478_400);
            }
        }
        Err(why) => assert!(!why.is_empty()),
    }
}

pub(super) const STATUS_WORDS: &[&str] = &[
    "\"failover\":{",
    "\"wans\":[",
    "\"state\":\"down\"",
    "\"since\":\"2026-11-24T00:00:00.000Z\"",
    "\"targets\":[",
    "\"reason\":null",
    "\"pid\":-1",
    "\"advice\":\"x\"",
];

/// A status file, as `imon check` reads it.
pub(super) fn status(data: &[u8]) {
    let Some(own) = Own::read(data) else { return };
    assert!(own.wans.len() <= data.len());
    for wan in &own.wans {
        for now in [0, 1_795_478_400, i64::MAX, i64::MIN] {
            assert!(wan.words(now, |seconds| format!("{seconds} s")).len() <= 200 + 8 * data.len());
        }
        assert!(wan.silent.len() <= data.len());
    }
}

pub(super) const WORKER_WORDS: &[&str] = &[
    "\"found\":\"203.0.113.1\"",
    "\"outcome\":\"wait\"",
    "\"seconds\":86401",
    "\"no_page\":\"x\"",
    "\"status\":204",
    "\"location\":",
    "\"date\":",
    "\"unwanted\":true",
    "\"source\":\"dns:google\"",
    "\"page\":\"http://x/\"",
    "\"url\":\"https://h.example/?a\"",
    "\"secret\":",
    "\"ok\":[\"OK\"]",
    "\"family\":\"4\"",
    "\"from\":\"::1\"",
    "\n",
];

/// What a worker says, and what it is told: what is read is written as the same, and nobody else's
/// words are long.
pub(super) fn worker(data: &[u8]) {
    if let Some(report) = TaskReport::read(data) {
        assert!(data.ends_with(b"\n"));
        let line = report.line();
        assert!(line.ends_with('\n') && line.matches('\n').count() == 1);
        assert_eq!(TaskReport::read(line.as_bytes()).as_ref(), Some(&report), "{line}");
        let texts = match &report.said {
            TaskResult::Lookup(Err(e)) => vec![e.why.to_string()],
            TaskResult::Update(_, outcome) => vec![format!("{outcome:?}")],
            TaskResult::Page(Err(why)) => vec![why.to_string()],
            TaskResult::Page(Ok(page)) => page.location.iter().cloned().collect(),
            TaskResult::Lookup(Ok(_)) => vec![],
        };
        let longest = texts
            .iter()
            .chain(&report.unconfined)
            .map(|text| text.chars().count())
            .max()
            .unwrap_or(0);
        assert!(
            longest <= 200 || matches!(report.said, TaskResult::Update(..)),
            "{longest} characters"
        );
    }
    if let Some(task) = Task::read(data) {
        let text = task.text();
        let again = Task::read(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(again.text(), text);
    }
}

pub(super) const RESOLVE_WORDS: &[&str] = &[
    "nameserver 1.1.1.1\n",
    "nameserver fe80::1%eth0\n",
    "search a.example b.example\n",
    "domain x\n",
    "options ndots:5 attempts:9 timeout:0 rotate\n",
    "127.0.0.1 localhost\n",
    "0.0.0.0 ads.example\n",
    "::1 a.example A.EXAMPLE\n",
    "#",
    "\0",
    "a.example",
    "localhost.",
    "%",
];

/// hosts, resolv.conf, names to look up, and an answer to each question, with zeros between them.
/// (`nsswitch.conf` is not read.)
pub(super) fn resolve(data: &[u8]) {
    let [hosts, conf, names, answer] = parts::<4>(data);
    let [hosts, conf, names] =
        [hosts, conf, names].map(|text| String::from_utf8_lossy(text).into_owned());
    let servers = resolver::servers(&conf);
    assert!((1..=3).contains(&servers.len()));
    assert!(!resolver::is_assumed(&conf) || servers.len() == 1);
    for server in &servers {
        let shown = server.to_string();
        assert_eq!(
            resolver::servers(&format!("nameserver {shown}")),
            std::slice::from_ref(server),
            "{shown}"
        );
    }
    let mut resolver = Resolver::new(7);
    let ids: Vec<_> = names.lines().map(|name| (resolver.watch(name), name)).collect();
    resolver.set_files(&hosts, &conf);
    for (id, name) in &ids {
        let [v4, v6] = [false, true].map(|v6| resolver::in_hosts(&hosts, name, v6));
        assert!(v4.is_none_or(|a| a.is_ipv4()) && v6.is_none_or(|a| a.is_ipv6()));
        // Both readers of the hosts file find something, or none does.
        let found = resolver.address(*id);
        assert_eq!(
            found.is_some(),
            v4.is_some() || v6.is_some(),
            "{name:?}: {found:?}, {v4:?}, {v6:?}"
        );
        assert!(
            found.is_none_or(|found| [v4, v6].contains(&Some(found))),
            "{name:?}: {found:?}, {v4:?}, {v6:?}"
        );
    }
    // It asks for the others, at most so many at once, and for ever only at its pace.
    let mut now = Instant::ZERO;
    let mut asks = Vec::new();
    let mut asked = 0;
    for round in 0..100_u32 {
        let Some(at) = resolver.poll_at() else { break };
        now = now.max(at);
        resolver.wake(now, &mut asks);
        assert!(asks.len() <= MAX_ASKING, "{} questions at once", asks.len());
        asked += asks.len();
        for ask in std::mem::take(&mut asks) {
            assert!(servers.contains(&ask.server));
            if round % 3 == 2 {
                continue;
            }
            let result =
                answered(answer, &ask.question).map_err(|_| resolver::AskError::Malformed("x"));
            resolver.answer(now, ask.token, result, &mut asks);
        }
        now = now + Duration::from_millis(1);
    }
    assert!(ids.is_empty() || asked <= 100 * 2 * MAX_ASKING);
    for (id, _) in &ids {
        assert!(resolver.problem(*id).is_none_or(|problem| !problem.to_string().is_empty()));
    }
    resolver.keep_only(&[]);
    assert_eq!(resolver.poll_at(), None);
}

/// The answer to a question with these records.
fn answered(records: &[u8], question: &dns::DnsQuestion) -> Result<dns::DnsAnswer, dns::Reject> {
    let mut message = Vec::new();
    dns::query(7, question, &mut message);
    let (verdict, records) = records.split_first().unwrap_or((&0, &[]));
    message[2..8].copy_from_slice(&[0x81, verdict & 15, 0, 1, 0, verdict >> 4]);
    message.extend(records);
    dns::response(&message, 7, question)
}
