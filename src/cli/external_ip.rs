//! `imon external-ip`: the external address, by the same code as the ddns monitor's.

use std::net::IpAddr;
use std::time::Duration;

use super::args::ExternalIpArgs;
use super::{CONFIGURATION, OK, complain, fail, print};
use crate::addr::family::Family;
use crate::base::json::fields::JsonWriter;
use crate::base::time::Instant;
use crate::kernel::path::Bound;
use crate::monitor::ddns::source::{DEFAULTS, Source};
use crate::monitor::ddns::survey::Survey;
use crate::monitor::ddns::{Found, NotFound};
use crate::probe::stats::Millis;
use crate::sys::clock;
use crate::sys::net::interface_index;
use crate::sys::poll::Poll;
use crate::sys::web_worker;
use crate::sys::worker::Worker;
use crate::web::{GRACE, LOOKUP_LIMIT, Task, TaskJob, TaskReport};

/// No address is believed.
const NOT_FOUND: u8 = 1;

/// What a source said, and how long that took.
struct SourceReply {
    result: Result<Found, NotFound>,
    took: Duration,
}

struct RunningLookup {
    place: usize,
    worker: Worker,
    began: Instant,
}

pub(super) fn run(ask: &ExternalIpArgs) -> u8 {
    let texts: Vec<&str> = match ask.sources.as_slice() {
        [] => DEFAULTS.to_vec(),
        given => given.iter().map(String::as_str).collect(),
    };
    let mut sources: Vec<Source> = Vec::new();
    for text in texts {
        match Source::parse(text) {
            Ok(source) if !sources.contains(&source) => sources.push(source),
            Ok(_) => {}
            Err(why) => {
                return fail(CONFIGURATION, &[format!("No source '{}': {why}", shown(text))]);
            }
        }
    }
    if let Some(device) = ask.bind.as_deref().filter(|device| interface_index(device) == 0) {
        return fail(CONFIGURATION, &[format!("--bind '{}': no such interface", shown(device))]);
    }
    let mut survey = Survey::default();
    let mut asked: Vec<Option<SourceReply>> = sources.iter().map(|_| None).collect();
    let mut unconfined = None;
    let usable = |_: usize| true;
    let mut running = Vec::new();
    let verdict = loop {
        if !ask.all
            && let Some(address) = survey.verdict(&sources, &usable)
        {
            break Some(address);
        }
        // All at once for the table, else one after the other until they are enough.
        while let Some(at) = next(ask.all, running.len(), &survey, &sources, &asked) {
            survey.asked.push(at);
            let Some(source) = sources.get(at) else { break };
            match start(ask, source) {
                Ok(worker) => {
                    let began = clock::monotonic();
                    running.push(RunningLookup { place: at, worker, began });
                }
                Err(why) => put(&mut asked, at, Err(NotFound::because(&why)), Duration::ZERO),
            }
        }
        if running.is_empty() {
            break survey.verdict(&sources, &usable);
        }
        for (place, report, took) in wait(&mut running) {
            let said = report.map(|report| {
                unconfined = unconfined.take().or(report.unconfined);
                report.said
            });
            let result = TaskReport::found(said);
            if let Ok(found) = &result {
                survey.votes.push((place, found.address));
            }
            put(&mut asked, place, result, took);
        }
    };
    if ask.json {
        print_json(ask.family, verdict, &sources, &asked, unconfined.as_deref());
    } else if ask.all {
        print_table(&sources, &asked);
        if let Some(note) = &unconfined {
            complain(&format!(
                "Warning: the requests were made with more rights than they need: {note}"
            ));
        }
    } else if let Some(address) = verdict {
        print(&format!("{address}\n"));
    }
    match verdict {
        Some(_) => OK,
        None if ask.json => NOT_FOUND,
        None => fail(NOT_FOUND, &[doubts(&sources, &asked)]),
    }
}

fn next(
    all: bool,
    running: usize,
    survey: &Survey,
    sources: &[Source],
    asked: &[Option<SourceReply>],
) -> Option<usize> {
    if all {
        return (0..asked.len()).find(|at| !survey.asked.contains(at));
    }
    if running > 0 { None } else { survey.next(sources, &|_| true) }
}

fn put(
    asked: &mut [Option<SourceReply>],
    at: usize,
    result: Result<Found, NotFound>,
    took: Duration,
) {
    if let Some(place) = asked.get_mut(at) {
        *place = Some(SourceReply { result, took });
    }
}

fn start(ask: &ExternalIpArgs, source: &Source) -> Result<Worker, String> {
    let bound = Bound { device: ask.bind.clone(), from: None };
    web_worker::start(&Task {
        job: TaskJob::Lookup(source.clone()),
        family: ask.family,
        bound,
        roots: ask.ca_file.clone(),
    })
}

/// Waits until at least one has ended, and takes those that have.
fn wait(running: &mut Vec<RunningLookup>) -> Vec<(usize, Option<TaskReport>, Duration)> {
    let mut ended = Vec::new();
    let mut poll = Poll::default();
    while ended.is_empty() && !running.is_empty() {
        poll.clear();
        for asking in running.iter() {
            poll.add(asking.place, asking.worker.fd());
        }
        let limit = |asking: &RunningLookup| asking.began + LOOKUP_LIMIT + GRACE;
        let until = running.iter().map(limit).min();
        let broken = poll.wait(clock::poll_timeout(clock::monotonic(), until)).is_err();
        let now = clock::monotonic();
        let mut at = 0;
        while let Some(asking) = running.get_mut(at) {
            let line = if poll.ready(asking.place) { asking.worker.read() } else { None };
            if line.is_none() && limit(asking) > now && !broken {
                at += 1;
                continue;
            }
            let asking = running.remove(at);
            ended.push((
                asking.place,
                line.as_deref().and_then(TaskReport::read),
                now.since(asking.began),
            ));
        }
    }
    ended
}

/// Why there is no address: who said what.
fn doubts(sources: &[Source], asked: &[Option<SourceReply>]) -> String {
    let said: Vec<String> = sources
        .iter()
        .zip(asked)
        .filter_map(|(source, asked)| match &asked.as_ref()?.result {
            Ok(found) => Some(format!("{} says {}", shown(&source.text), found.address)),
            Err(e) => Some(format!("{}: {}", shown(&source.text), e.why)),
        })
        .collect();
    let any = asked.iter().flatten().any(|asked| asked.result.is_ok());
    let why = if any { " that is believed" } else { "" };
    match said.as_slice() {
        [only] => format!("No external address{why} from {only}"),
        all => format!("No external address{why}:\n  {}", all.join("\n  ")),
    }
}

fn print_table(sources: &[Source], asked: &[Option<SourceReply>]) {
    let width = sources.iter().map(|s| shown(&s.text).chars().count()).max().unwrap_or(0);
    for (source, asked) in sources.iter().zip(asked) {
        let name = shown(&source.text);
        let Some(SourceReply { result, took }) = asked else { continue };
        let (answer, problem) = match result {
            Ok(found) => (found.address.to_string(), ""),
            Err(e) => ("-".to_owned(), &*e.why),
        };
        let line = format!("{name:<width$}  {:>5} ms  {answer:<15}  {problem}", took.as_millis());
        print(&format!("{}\n", line.trim_end()));
    }
}

fn print_json(
    family: Family,
    verdict: Option<IpAddr>,
    sources: &[Source],
    asked: &[Option<SourceReply>],
    unconfined: Option<&str>,
) {
    let rows = sources.iter().zip(asked).filter_map(|(source, asked)| {
        let SourceReply { result, took } = asked.as_ref()?;
        let found = result.as_ref().ok();
        let mut w = JsonWriter::new();
        w.text("source", Some(&shown(&source.text))).text("operator", Some(&source.operator));
        w.text("address", found.map(|f| f.address.to_string()).as_deref());
        w.text("local_address", found.and_then(|f| f.local).map(|a| a.to_string()).as_deref());
        w.plain("seconds", Millis(took.as_secs_f64()));
        Some(w.text("problem", result.as_ref().err().map(|e| &*e.why)).end())
    });
    let mut w = JsonWriter::new();
    w.plain("schema", 1).text("family", Some(family.digit()));
    w.text("address", verdict.map(|a| a.to_string()).as_deref()).list("sources", rows);
    print(&format!("{}\n", w.text("unconfined", unconfined).end()));
}

/// A source without what may be secret in it.
fn shown(text: &str) -> String {
    crate::base::text::Clean(&crate::secret::mask::masked("source", text)).to_string()
}
