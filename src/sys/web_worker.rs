//! The process that makes one web request: it reads its [`Task`], gives up everything else, and
//! writes its [`TaskReport`].

// Part of the shell: a worker may block.
#![allow(clippy::disallowed_methods)]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::addr::family::Family;
use crate::addr::scope;
use crate::base::time::{self, Instant};
use crate::dns::resolver;
use crate::kernel::path::Bound;
use crate::monitor::ddns::answer::{self, LONGEST, LONGEST_TRACE, Refusal};
use crate::monitor::ddns::source::{self, Service, SourceMeans};
use crate::monitor::ddns::update::{self, UpdateOutcome};
use crate::monitor::ddns::{Found, NotFound};
use crate::sys::http::{self, Get};
use crate::sys::worker::{self, Worker};
use crate::sys::{clock, confine, error_text, files, net, shortage, udp};
use crate::web::{
    self, LOOKUP_LIMIT, Page, TOO_LATE, Task, TaskJob, TaskReport, TaskResult, UPDATE_LIMIT,
};
use crate::wire::dns::{self, Class, DnsAnswer, DnsQuestion, Name, RecordType, Reject};

/// One name server is waited for so long.
const NAME_SERVER: Duration = Duration::from_millis(1200);
/// Longest file of certificates, in bytes.
const LONGEST_ROOTS: u64 = 1 << 20;

/// Starts a process for a task.
///
/// # Errors
/// Why there is none, for a person.
pub fn start(task: &Task) -> Result<Worker, String> {
    Worker::start(task.text().as_bytes(), None).map_err(|e| web::unstarted(&shortage::told(&e)))
}

/// The worker: reads its task, gives up everything else, does it, says what came of it.
#[must_use]
pub fn main(record: bool) -> u8 {
    let Some(task) = worker::request().ok().as_deref().and_then(Task::read) else { return 2 };
    let began = clock::monotonic();
    // What only root may read.
    let roots = task.roots.as_ref().map(|path| {
        files::read(path, LONGEST_ROOTS)
            .map_err(|e| format!("ca-file '{path}' cannot be read: {}", error_text(&e)))
    });
    let limit = match task.job {
        TaskJob::Lookup(_) | TaskJob::Page(_) => LOOKUP_LIMIT,
        TaskJob::Update(..) => UPDATE_LIMIT,
    };
    let seconds = u32::try_from(limit.as_secs() + 2).unwrap_or(u32::MAX);
    let unconfined = confine::confine(seconds, !record).err();
    let until = began + limit;
    let result = roots.transpose().and_then(|roots| perform(&task, roots.as_deref(), until));
    let said = match (&task.job, result) {
        (_, Ok(said)) => said,
        (TaskJob::Page(_), Err(why)) => TaskResult::Page(Err(why.into())),
        (TaskJob::Lookup(_), Err(why)) => TaskResult::Lookup(Err(NotFound::because(&why))),
        (TaskJob::Update(_, address), Err(why)) => {
            TaskResult::Update(*address, UpdateOutcome::Failed(why.into()))
        }
    };
    worker::answer(&TaskReport { said, unconfined }.line(), record);
    0
}

fn perform(task: &Task, roots: Option<&[u8]>, until: Instant) -> Result<TaskResult, String> {
    match &task.job {
        TaskJob::Lookup(source) => match source.means {
            SourceMeans::Page { trace, .. } => page(task, &source.text, trace, roots, until),
            SourceMeans::Dns(service) => record(task, service, until),
            SourceMeans::Interface => own(task),
        }
        .map(TaskResult::Lookup),
        TaskJob::Page(url) => {
            let answer = fetch(task, url, None, LONGEST, roots, until)?;
            let date = answer.date.as_deref().and_then(time::http_date);
            let empty = answer.body.is_some_and(|body| body.is_empty());
            Ok(TaskResult::Page(Ok(Page {
                status: answer.status,
                empty,
                location: answer.location,
                date,
            })))
        }
        TaskJob::Update(request, address) => {
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
            Ok(TaskResult::Update(
                *address,
                update::outcome(&request.reading, answer.status, &body, *address, &secrets),
            ))
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
    let read = if trace { answer::trace } else { answer::address };
    let address =
        answer.body.ok_or(Refusal::TooLong(longest)).and_then(|body| read(&body, task.family));
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
) -> Result<http::HttpAnswer, String> {
    let parsed = source::url(url).map_err(|_| "the URL is not a good one")?;
    let port =
        parsed.port_u16().unwrap_or(if parsed.scheme_str() == Some("https") { 443 } else { 80 });
    let addresses = addresses(task, parsed.host().unwrap_or_default(), until)?;
    let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect();
    let authorization = basic
        .map(|(user, password)| format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
    let limit = until.since(clock::monotonic());
    if limit.is_zero() {
        return Err(TOO_LATE.to_owned());
    }
    let (secrets, now) = (task.secrets(), clock::wall());
    http::get(Get {
        url,
        addresses,
        bound: &task.bound,
        authorization,
        secrets,
        roots,
        longest,
        limit,
        now,
    })
}

/// The addresses of a host, of the family that is asked for.
fn addresses(task: &Task, host: &str, until: Instant) -> Result<Vec<IpAddr>, String> {
    let host = source::bare(host);
    if let Ok(address) = host.parse::<IpAddr>() {
        let family = Family::of(address);
        return if family == task.family {
            Ok(vec![address])
        } else {
            Err(format!("its address is of IPv{}", family.digit()))
        };
    }
    let [hosts, conf] = ["/etc/hosts", "/etc/resolv.conf"]
        .map(|path| files::read_start(path, 1 << 20).unwrap_or_default());
    let v6 = task.family == Family::V6;
    if let Some(address) = resolver::in_hosts(&String::from_utf8_lossy(&hosts), host, v6) {
        return Ok(vec![address]);
    }
    // The URL may have the secret in its host.
    let shown = task.secrets().hide(host);
    let name = Name::parse(host).map_err(|e| format!("the name {shown} {e}"))?;
    let question = DnsQuestion {
        name,
        kind: if v6 { RecordType::Aaaa } else { RecordType::A },
        class: Class::In,
    };
    let servers = resolver::servers(&String::from_utf8_lossy(&conf));
    let mut why = format!("the name {shown} cannot be resolved: no name server answers");
    for server in servers.iter().chain(&servers) {
        // One in our own network is not behind the WAN.
        let near = scope::is_private(server.address);
        let bound = if near { &Bound::default() } else { &task.bound };
        let to = net::server_address(server.address, server.zone.as_deref(), 53);
        match ask(bound, to, &question, until) {
            Ok(answer) if !answer.addresses.is_empty() => return Ok(answer.addresses),
            Ok(answer) if answer.rcode == dns::Rcode::NOERROR => {
                return Err(format!(
                    "the name {shown} has no {} address",
                    if v6 { "IPv6" } else { "IPv4" }
                ));
            }
            Ok(answer) => {
                why = format!("the name {shown} cannot be resolved: {server} says {}", answer.rcode)
            }
            Err(e) => why = format!("the name {shown} cannot be resolved: {server}: {e}"),
        }
    }
    Err(why)
}

/// The address as one of the name servers sees it that tell who asks.
fn record(
    task: &Task,
    service: Service,
    until: Instant,
) -> Result<Result<Found, NotFound>, String> {
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
    let address = answer::record(&answer?, task.family).map_err(|refusal| refusal.to_string())?;
    Ok(Ok(Found { address, local: http::local_towards(&task.bound, server) }))
}

/// The address of the interface that the kernel would go out by.
fn own(task: &Task) -> Result<Result<Found, NotFound>, String> {
    let local = http::local_towards(&task.bound, Service::Cloudflare.server(task.family))
        .ok_or("there is no route")?;
    let stable = match local {
        IpAddr::V4(_) => local,
        IpAddr::V6(v6) => {
            let table = files::read("/proc/net/if_inet6", 1 << 20).unwrap_or_default();
            let found = answer::stable_v6(&String::from_utf8_lossy(&table), v6);
            found.ok_or("the interface has no IPv6 address that lasts")?.into()
        }
    };
    let address = answer::public(stable, task.family).map_err(|refusal| refusal.to_string())?;
    Ok(Ok(Found { address, local: Some(local) }))
}

/// Asks a name server once.
fn ask(
    bound: &Bound,
    server: SocketAddr,
    question: &DnsQuestion,
    until: Instant,
) -> Result<DnsAnswer, String> {
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
