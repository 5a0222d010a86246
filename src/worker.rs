//! One web request, made by a process that has nothing: what the daemon asks a worker to do, what it answers, and the
//! worker itself. `imon external-ip` goes by the same way.

// Part of the shell: a worker may block.
#![allow(clippy::disallowed_methods)]

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::external::source::{Means, Service, Source};
use crate::external::{self, Family, LONGEST, LONGEST_TRACE, Refusal};
use crate::fields::{Fields, Writer, texts};
use crate::monitor::ddns::{Found, NotFound};
use crate::opinion;
use crate::resolve;
use crate::secrets::Secrets;
use crate::sys::http::{self, Bound, Get};
use crate::sys::worker::{self, Worker};
use crate::sys::{clock, confine, error_text, files, net, shortage, udp};
use crate::time::{self, Instant};
use crate::update::{self, Outcome, Reading, Request};
use crate::wire::dns::{self, Answer, Class, Kind, Name, Question, Reject};

/// A lookup takes at most so long in all,
pub const LOOKUP_LIMIT: Duration = Duration::from_secs(5);
/// an update so long.
pub const UPDATE_LIMIT: Duration = Duration::from_secs(15);
/// What whoever waits for a worker gives it beyond that. Then it is killed.
pub const GRACE: Duration = Duration::from_millis(750);
/// Why there is no answer when time is over.
pub const TOO_LATE: &str = http::TOO_LATE;
/// One name server is waited for so long.
const NAME_SERVER: Duration = Duration::from_millis(1200);
/// Longest file of certificates, in bytes.
const LONGEST_ROOTS: u64 = 1 << 20;

/// What a worker is to do.
pub struct Task {
    /// The request itself.
    pub job: Job,
    /// Over which protocol.
    pub family: Family,
    /// By which way.
    pub bound: Bound,
    /// File of certificates to trust in place of the built-in ones.
    pub roots: Option<String>,
}

/// The request itself.
pub enum Job {
    /// Ask this source for the external address.
    Lookup(Source),
    /// Publish this address.
    Update(Request, IpAddr),
    /// Get this page and say what came, which is for `imon check` to judge.
    Page(String),
}

/// What a worker says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// What came of it.
    pub said: Said,
    /// What the kernel did not let it give up.
    pub unconfined: Option<String>,
}

/// What came of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// Of a lookup.
    Lookup(Result<Found, NotFound>),
    /// Of an update.
    Update(IpAddr, Outcome),
    /// Of a page.
    Page(Result<Page, Rc<str>>),
}

/// A page that came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// HTTP status.
    pub status: u16,
    /// It has no content.
    pub empty: bool,
    /// Where it sends the reader.
    pub location: Option<String>,
    /// The server's time, in seconds since 1970.
    pub date: Option<i64>,
}

impl Task {
    /// Starts a worker that does it.
    ///
    /// # Errors
    /// Why no process can be started, for a person.
    pub fn start(&self) -> Result<Worker, String> {
        Worker::start(self.text().as_bytes(), None).map_err(|e| unstarted(&e))
    }

    /// For standard input of a worker.
    #[must_use]
    pub fn text(&self) -> String {
        let mut w = Writer::new();
        match &self.job {
            Job::Lookup(source) => drop(w.text("source", Some(&source.text))),
            Job::Page(url) => drop(w.text("page", Some(url))),
            Job::Update(request, address) => {
                w.text("url", Some(&request.url)).text("user", request.user.as_deref());
                w.text("secret", Some(&request.secret)).text("address", Some(&address.to_string()));
                if let Reading::Whole(ok) = &request.reading {
                    w.list("ok", ok.iter().filter_map(|text| serde_json::to_string(text).ok()));
                }
            }
        }
        w.text("family", Some(self.family.digit())).text("device", self.bound.device.as_deref());
        w.text("from", self.bound.from.map(|a| a.to_string()).as_deref()).text("roots", self.roots.as_deref()).end()
    }

    /// What no text of others may show.
    fn secrets(&self) -> Secrets {
        match &self.job {
            Job::Update(request, _) => Secrets::of(&request.url, &request.secret),
            Job::Lookup(source) => Secrets::of(&source.text, ""),
            Job::Page(_) => Secrets::default(),
        }
    }

    /// Reads that text.
    #[must_use]
    pub fn read(text: &[u8]) -> Option<Self> {
        let fields = Fields::read(text)?;
        let job = match (fields.text("source"), fields.text("page")) {
            (Some(source), _) => Job::Lookup(Source::parse(&source).ok()?),
            (None, Some(page)) => Job::Page(page),
            (None, None) => {
                let reading = fields.list("ok").map_or(Reading::DynDns2, |list| Reading::Whole(texts(&list)));
                let (url, user, secret) = (fields.text("url")?, fields.text("user"), fields.text("secret")?);
                Job::Update(Request { url, user, secret, reading }, fields.text("address")?.parse().ok()?)
            }
        };
        let from = fields.text("from").and_then(|a| a.parse().ok());
        let bound = Bound { device: fields.text("device"), from };
        Some(Self { job, family: Family::parse(&fields.text("family")?)?, bound, roots: fields.text("roots") })
    }
}

impl Report {
    /// What a lookup's worker has found; `None`: it has ended without a report, or was ended.
    ///
    /// # Errors
    /// Why it found nothing.
    pub fn found(said: Option<Said>) -> Result<Found, NotFound> {
        match said {
            Some(Said::Lookup(result)) => result,
            _ => Err(NotFound::because(TOO_LATE)),
        }
    }

    /// The line.
    #[must_use]
    pub fn line(&self) -> String {
        let mut w = Writer::new();
        match &self.said {
            Said::Lookup(Ok(found)) => {
                w.text("found", Some(&found.address.to_string()));
                w.text("local", found.local.map(|a| a.to_string()).as_deref());
            }
            Said::Lookup(Err(e)) => drop(w.text("why", Some(&e.why)).plain("unwanted", e.unwanted)),
            Said::Page(Ok(page)) => {
                w.plain("status", page.status).plain("empty", page.empty);
                w.text("location", page.location.as_deref());
                if let Some(date) = page.date {
                    w.plain("date", date);
                }
            }
            Said::Page(Err(why)) => drop(w.text("no_page", Some(why))),
            Said::Update(address, outcome) => {
                let (word, why, seconds) = match outcome {
                    Outcome::Done => ("done", "", 0),
                    Outcome::Failed(why) => ("failed", &**why, 0),
                    Outcome::Wait(wait, why) => ("wait", &**why, wait.as_secs()),
                    Outcome::Stop(why) => ("stop", &**why, 0),
                };
                w.text("outcome", Some(word)).text("why", Some(why)).plain("seconds", seconds);
                w.text("address", Some(&address.to_string()));
            }
        }
        if let Some(note) = &self.unconfined {
            w.text("unconfined", Some(note));
        }
        format!("{}\n", w.end())
    }

    /// Reads the line. A worker may be under somebody's influence: its words are cut, and its address is checked again
    /// by whoever uses it.
    #[must_use]
    pub fn read(line: &[u8]) -> Option<Self> {
        let fields = Fields::read(line.strip_suffix(b"\n")?)?;
        let cut = |text: String| text.chars().take(200).collect::<String>();
        let why = || Rc::from(cut(fields.text("why").unwrap_or_default()));
        let said = match (fields.text("found"), fields.text("outcome")) {
            (Some(address), _) => {
                let local = fields.text("local").and_then(|a| a.parse().ok());
                Said::Lookup(Ok(Found { address: address.parse().ok()?, local }))
            }
            (None, Some(outcome)) => {
                let seconds = fields.number("seconds").unwrap_or(0).clamp(0, 86_400).unsigned_abs();
                let outcome = match outcome.as_str() {
                    "done" => Outcome::Done,
                    "failed" => Outcome::Failed(why()),
                    "wait" => Outcome::Wait(Duration::from_secs(seconds), why()),
                    "stop" => Outcome::Stop(why()),
                    _ => return None,
                };
                Said::Update(fields.text("address")?.parse().ok()?, outcome)
            }
            (None, None) if fields.text("no_page").is_some() => {
                Said::Page(Err(cut(fields.text("no_page").unwrap_or_default()).into()))
            }
            (None, None) if fields.number("status").is_some() => {
                let status = fields.number("status").and_then(|n| u16::try_from(n).ok())?;
                let (location, date) = (fields.text("location").map(cut), fields.number("date"));
                Said::Page(Ok(Page { status, empty: fields.flag("empty")?, location, date }))
            }
            (None, None) => {
                let unwanted = fields.flag("unwanted")?;
                Said::Lookup(Err(NotFound { why: why(), unwanted }))
            }
        };
        Some(Self { said, unconfined: fields.text("unconfined").map(cut) })
    }
}

/// Why no worker can be started, for a person.
#[must_use]
pub fn unstarted(e: &std::io::Error) -> String {
    format!("no process can be started for it: {}", shortage::told(e))
}

/// The worker: reads its task, gives up everything else, does it, says what came of it.
#[must_use]
pub fn main(record: bool) -> u8 {
    let Some(task) = worker::request().ok().as_deref().and_then(Task::read) else { return 2 };
    let began = clock::monotonic();
    // What only root may read.
    let roots = task.roots.as_ref().map(|path| {
        files::read(path, LONGEST_ROOTS).map_err(|e| format!("ca-file '{path}' cannot be read: {}", error_text(&e)))
    });
    let limit = match task.job {
        Job::Lookup(_) | Job::Page(_) => LOOKUP_LIMIT,
        Job::Update(..) => UPDATE_LIMIT,
    };
    let seconds = u32::try_from(limit.as_secs() + 2).unwrap_or(u32::MAX);
    let unconfined = confine::confine(seconds, !record).err();
    let until = began + limit;
    let result = roots.transpose().and_then(|roots| perform(&task, roots.as_deref(), until));
    let said = match (&task.job, result) {
        (_, Ok(said)) => said,
        (Job::Page(_), Err(why)) => Said::Page(Err(why.into())),
        (Job::Lookup(_), Err(why)) => Said::Lookup(Err(NotFound::because(&why))),
        (Job::Update(_, address), Err(why)) => Said::Update(*address, Outcome::Failed(why.into())),
    };
    worker::answer(&Report { said, unconfined }.line(), record);
    0
}

fn perform(task: &Task, roots: Option<&[u8]>, until: Instant) -> Result<Said, String> {
    match &task.job {
        Job::Lookup(source) => match source.means {
            Means::Page { trace, .. } => page(task, &source.text, trace, roots, until),
            Means::Dns(service) => record(task, service, until),
            Means::Interface => own(task),
        }
        .map(Said::Lookup),
        Job::Page(url) => {
            let answer = fetch(task, url, None, LONGEST, roots, until)?;
            let date = answer.date.as_deref().and_then(time::http_date);
            let empty = answer.body.is_some_and(|body| body.is_empty());
            Ok(Said::Page(Ok(Page { status: answer.status, empty, location: answer.location, date })))
        }
        Job::Update(request, address) => {
            let answer = fetch(
                task,
                &request.url,
                request.user.as_ref().map(|user| (user.as_str(), request.secret.as_str())),
                update::LONGEST,
                roots,
                until,
            )?;
            // As much of an answer as is too long is not read at all.
            let body = answer.body.unwrap_or_default();
            let secrets = task.secrets();
            Ok(Said::Update(*address, update::outcome(&request.reading, answer.status, &body, *address, &secrets)))
        }
    }
}

fn page(
    task: &Task,
    url: &str,
    trace: bool,
    roots: Option<&[u8]>,
    until: Instant,
) -> Result<Result<Found, NotFound>, String> {
    let longest = if trace { LONGEST_TRACE } else { LONGEST };
    let answer = fetch(task, url, None, longest, roots, until)?;
    if !(200..300).contains(&answer.status) {
        let why = format!("the answer has HTTP status {}", answer.status).into();
        return Ok(Err(NotFound { why, unwanted: matches!(answer.status, 403 | 429) }));
    }
    let read = if trace { external::trace } else { external::address };
    let address = answer.body.ok_or(Refusal::TooLong(longest)).and_then(|body| read(&body, task.family));
    let address = address.map_err(|refusal| refusal.to_string())?;
    Ok(Ok(Found { address, local: answer.local }))
}

fn fetch(
    task: &Task,
    url: &str,
    basic: Option<(&str, &str)>,
    longest: usize,
    roots: Option<&[u8]>,
    until: Instant,
) -> Result<http::Answer, String> {
    let parsed = external::source::url(url).map_err(|_| "the URL is not a good one")?;
    let port = parsed.port_u16().unwrap_or(if parsed.scheme_str() == Some("https") { 443 } else { 80 });
    let addresses = addresses(task, parsed.host().unwrap_or_default(), until)?;
    let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect();
    let authorization =
        basic.map(|(user, password)| format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
    let limit = until.since(clock::monotonic());
    if limit.is_zero() {
        return Err(TOO_LATE.to_owned());
    }
    let (secrets, now) = (task.secrets(), clock::wall());
    http::get(Get { url, addresses, bound: &task.bound, authorization, secrets, roots, longest, limit, now })
}

/// The addresses of a host, of the family that is asked for.
fn addresses(task: &Task, host: &str, until: Instant) -> Result<Vec<IpAddr>, String> {
    let host = external::source::bare(host);
    if let Ok(address) = host.parse::<IpAddr>() {
        let family = Family::of(address);
        return if family == task.family {
            Ok(vec![address])
        } else {
            Err(format!("its address is of IPv{}", family.digit()))
        };
    }
    let [hosts, conf] =
        ["/etc/hosts", "/etc/resolv.conf"].map(|path| files::read_start(path, 1 << 20).unwrap_or_default());
    let v6 = task.family == Family::V6;
    if let Some(address) = resolve::in_hosts(&String::from_utf8_lossy(&hosts), host, v6) {
        return Ok(vec![address]);
    }
    // The URL may have the secret in its host.
    let shown = task.secrets().hide(host);
    let name = Name::parse(host).map_err(|e| format!("the name {shown} {e}"))?;
    let question = Question { name, kind: if v6 { Kind::Aaaa } else { Kind::A }, class: Class::In };
    let servers = resolve::servers(&String::from_utf8_lossy(&conf));
    let mut why = format!("the name {shown} cannot be resolved: no name server answers");
    for server in servers.iter().chain(&servers) {
        // One in our own network is not behind the WAN.
        let near = opinion::is_private(server.address);
        let bound = if near { &Bound::default() } else { &task.bound };
        let to = net::server_address(server.address, server.zone.as_deref(), 53);
        match ask(bound, to, &question, until) {
            Ok(answer) if !answer.addresses.is_empty() => return Ok(answer.addresses),
            Ok(answer) if answer.rcode == dns::Rcode::NOERROR => {
                return Err(format!("the name {shown} has no {} address", if v6 { "IPv6" } else { "IPv4" }));
            }
            Ok(answer) => why = format!("the name {shown} cannot be resolved: {server} says {}", answer.rcode),
            Err(e) => why = format!("the name {shown} cannot be resolved: {server}: {e}"),
        }
    }
    Err(why)
}

/// The address as one of the name servers sees it that tell who asks.
fn record(task: &Task, service: Service, until: Instant) -> Result<Result<Found, NotFound>, String> {
    let question = service.question(task.family).map_err(|e| e.to_string())?;
    let server = service.server(task.family);
    let mut answer = Err(String::new());
    // A datagram may be lost.
    for _ in 0..3 {
        answer = ask(&task.bound, SocketAddr::new(server, 53), &question, until);
        if answer.is_ok() || clock::monotonic() >= until {
            break;
        }
    }
    let address = external::record(&answer?, task.family).map_err(|refusal| refusal.to_string())?;
    Ok(Ok(Found { address, local: http::local_towards(&task.bound, server) }))
}

/// The address of the interface that the kernel would go out by.
fn own(task: &Task) -> Result<Result<Found, NotFound>, String> {
    let local = http::local_towards(&task.bound, Service::Cloudflare.server(task.family)).ok_or("there is no route")?;
    let stable = match local {
        IpAddr::V4(_) => local,
        IpAddr::V6(v6) => {
            let table = files::read("/proc/net/if_inet6", 1 << 20).unwrap_or_default();
            let found = external::stable_v6(&String::from_utf8_lossy(&table), v6);
            found.ok_or("the interface has no IPv6 address that lasts")?.into()
        }
    };
    let address = external::public(stable, task.family).map_err(|refusal| refusal.to_string())?;
    Ok(Ok(Found { address, local: Some(local) }))
}

/// Asks a name server once.
fn ask(bound: &Bound, server: SocketAddr, question: &Question, until: Instant) -> Result<Answer, String> {
    let id = (net::random() & 0xffff) as u16;
    let mut packet = Vec::new();
    dns::query(id, question, &mut packet);
    let until = until.min(clock::monotonic() + NAME_SERVER);
    let accept = |bytes: &[u8]| match dns::response(bytes, id, question) {
        Ok(answer) => Some(Ok(answer)),
        Err(Reject::Malformed(why)) => Some(Err(format!("broken answer: {why}"))),
        Err(Reject::Mismatch(_)) => None,
    };
    match udp::ask(bound, server, &packet, until, accept) {
        Ok(Some(answer)) => answer,
        Ok(None) => Err("no answer".to_owned()),
        Err(e) => Err(error_text(&e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_comes_out_as_it_went_in() {
        let url = "http://cp.example/generate_204".to_owned();
        let task = Task { job: Job::Page(url.clone()), family: Family::V4, bound: Bound::default(), roots: None };
        assert!(matches!(Task::read(task.text().as_bytes()).unwrap().job, Job::Page(u) if u == url));
        let page = |status, empty, location: Option<&str>, date| {
            Ok(Page { status, empty, location: location.map(str::to_owned), date })
        };
        for said in [
            page(204, true, None, Some(1_795_478_400)),
            page(302, false, Some("http://login/\u{1b}[2J"), None),
            Err(Rc::from("no answer")),
        ] {
            let report = Report { said: Said::Page(said), unconfined: None };
            assert_eq!(Report::read(report.line().as_bytes()), Some(report));
        }
    }

    #[test]
    fn a_task_and_a_report_come_out_as_they_went_in() {
        let source = Source::parse("http://198.18.0.80:81/ip").unwrap();
        let bound = Bound { device: Some("wan1".to_owned()), from: Some([192, 168, 42, 2].into()) };
        let task = Task { job: Job::Lookup(source.clone()), family: Family::V4, bound, roots: Some("/x".to_owned()) };
        let read = Task::read(task.text().as_bytes()).unwrap();
        assert!(matches!(&read.job, Job::Lookup(s) if *s == source));
        assert_eq!((read.family, read.bound.from, read.roots), (Family::V4, task.bound.from, task.roots));
        let request = Request {
            url: "http://x/?a".to_owned(),
            user: Some("me".to_owned()),
            secret: "p\"w".to_owned(),
            reading: Reading::Whole(vec!["OK".to_owned()]),
        };
        let job = Job::Update(request.clone(), [203, 0, 113, 1].into());
        let task = Task { job, family: Family::V4, bound: Bound::default(), roots: None };
        assert!(matches!(Task::read(task.text().as_bytes()).unwrap().job, Job::Update(r, _) if r == request));

        let address: IpAddr = [203, 0, 113, 1].into();
        for said in [
            Said::Lookup(Ok(Found { address, local: Some([192, 168, 42, 2].into()) })),
            Said::Lookup(Err(NotFound { why: "x \"y\"".into(), unwanted: true })),
            Said::Update(address, Outcome::Done),
            Said::Update(address, Outcome::Failed("x".into())),
            Said::Update(address, Outcome::Wait(Duration::from_secs(1800), "x".into())),
            Said::Update(address, Outcome::Stop("x".into())),
        ] {
            let report = Report { said, unconfined: Some("why".to_owned()) };
            assert_eq!(Report::read(report.line().as_bytes()), Some(report));
        }
    }

    #[test]
    fn what_a_task_is_to_keep_secret_is_in_no_text_of_others() {
        let hidden = |job| {
            let task = Task { job, family: Family::V4, bound: Bound::default(), roots: None };
            task.secrets().hide("you sent hunter2secret and tokentoken99")
        };
        let request = |reading| Request {
            url: "https://x.example/update?key=tokentoken99".to_owned(),
            user: None,
            secret: "hunter2secret".to_owned(),
            reading,
        };
        let address = [203, 0, 113, 1].into();
        for reading in [Reading::DynDns2, Reading::Whole(Vec::new())] {
            let text = hidden(Job::Update(request(reading), address));
            assert!(
                !text.contains("hunter2") && !text.contains("tokentoken") && text.starts_with("you sent"),
                "{text}"
            );
        }
        let text = hidden(Job::Lookup(Source::parse("https://x.example/ip?key=tokentoken99").unwrap()));
        assert!(!text.contains("tokentoken") && text.contains("hunter2secret"), "{text}");
        let text = hidden(Job::Page("http://x.example/".to_owned()));
        assert_eq!(text, "you sent hunter2secret and tokentoken99");
    }

    #[test]
    fn what_is_no_report_is_none() {
        for line in
            ["", "\n", "{}\n", "{\"found\":\"x\"}\n", "{\"found\":\"203.0.113.1\"}", "[1]\n", "{\"outcome\":\"?\"}\n"]
        {
            assert_eq!(Report::read(line.as_bytes()), None, "{line:?}");
        }
        let long = format!("{{\"why\":\"{}\",\"unwanted\":false}}\n", "ü".repeat(1000));
        let Some(Report { said: Said::Lookup(Err(e)), .. }) = Report::read(long.as_bytes()) else { panic!() };
        assert_eq!(e.why.chars().count(), 200);
    }
}
