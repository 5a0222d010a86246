//! Web requests, which a process of its own makes: the task that it is given, and its report, each
//! a line of text. `sys::web_worker` is that process.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::addr::family::Family;
use crate::base::json::fields::{Fields, JsonWriter, texts};
use crate::kernel::path::Bound;
use crate::monitor::ddns::source::Source;
use crate::monitor::ddns::update::{AnswerReading, Request, UpdateOutcome};
use crate::monitor::ddns::{Found, NotFound};
use crate::secret::Secrets;

/// A lookup takes at most so long in all,
pub const LOOKUP_LIMIT: Duration = Duration::from_secs(5);
/// an update so long.
pub const UPDATE_LIMIT: Duration = Duration::from_secs(15);
/// What whoever waits for a worker gives it beyond that. Then it is killed.
pub const GRACE: Duration = Duration::from_millis(750);
/// Why there is no answer when time is over.
pub const TOO_LATE: &str = "no complete answer in time";
/// What a worker is to do.
pub struct Task {
    /// The request itself.
    pub job: TaskJob,
    /// Over which protocol.
    pub family: Family,
    /// By which way.
    pub bound: Bound,
    /// File of certificates to trust in place of the built-in ones.
    pub roots: Option<String>,
}

/// The request itself.
pub enum TaskJob {
    /// Ask this source for the external address.
    Lookup(Source),
    /// Publish this address.
    Update(Request, IpAddr),
    /// Get this page and say what came, which is for `imon check` to judge.
    Page(String),
}

/// What a worker says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskReport {
    /// What came of it.
    pub said: TaskResult,
    /// What the kernel did not let it give up.
    pub unconfined: Option<String>,
}

/// What came of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TaskResult {
    /// Of a lookup.
    Lookup(Result<Found, NotFound>),
    /// Of an update.
    Update(IpAddr, UpdateOutcome),
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
    /// For standard input of a worker.
    #[must_use]
    pub fn text(&self) -> String {
        let mut w = JsonWriter::new();
        match &self.job {
            TaskJob::Lookup(source) => drop(w.text("source", Some(&source.text))),
            TaskJob::Page(url) => drop(w.text("page", Some(url))),
            TaskJob::Update(request, address) => {
                w.text("url", Some(&request.url)).text("user", request.user.as_deref());
                w.text("secret", Some(&request.secret)).text("address", Some(&address.to_string()));
                if let AnswerReading::Whole(ok) = &request.reading {
                    w.list("ok", ok.iter().filter_map(|text| serde_json::to_string(text).ok()));
                }
            }
        }
        w.text("family", Some(self.family.digit())).text("device", self.bound.device.as_deref());
        w.text("from", self.bound.from.map(|a| a.to_string()).as_deref())
            .text("roots", self.roots.as_deref())
            .end()
    }

    /// What no text of others may show.
    #[must_use]
    pub fn secrets(&self) -> Secrets {
        match &self.job {
            TaskJob::Update(request, _) => Secrets::of(&request.url, &request.secret),
            TaskJob::Lookup(source) => Secrets::of(&source.text, ""),
            TaskJob::Page(_) => Secrets::default(),
        }
    }

    /// Reads that text.
    #[must_use]
    pub fn read(text: &[u8]) -> Option<Self> {
        let fields = Fields::read(text)?;
        let job = match (fields.text("source"), fields.text("page")) {
            (Some(source), _) => TaskJob::Lookup(Source::parse(&source).ok()?),
            (None, Some(page)) => TaskJob::Page(page),
            (None, None) => {
                let reading = fields
                    .list("ok")
                    .map_or(AnswerReading::DynDns2, |list| AnswerReading::Whole(texts(&list)));
                let (url, user, secret) =
                    (fields.text("url")?, fields.text("user"), fields.text("secret")?);
                TaskJob::Update(
                    Request { url, user, secret, reading },
                    fields.text("address")?.parse().ok()?,
                )
            }
        };
        let from = fields.text("from").and_then(|a| a.parse().ok());
        let bound = Bound { device: fields.text("device"), from };
        Some(Self {
            job,
            family: Family::parse(&fields.text("family")?)?,
            bound,
            roots: fields.text("roots"),
        })
    }
}

impl TaskReport {
    /// What a lookup's worker has found; `None`: it has ended without a report, or was ended.
    ///
    /// # Errors
    /// Why it found nothing.
    pub fn found(said: Option<TaskResult>) -> Result<Found, NotFound> {
        match said {
            Some(TaskResult::Lookup(result)) => result,
            _ => Err(NotFound::because(TOO_LATE)),
        }
    }

    /// The line.
    #[must_use]
    pub fn line(&self) -> String {
        let mut w = JsonWriter::new();
        match &self.said {
            TaskResult::Lookup(Ok(found)) => {
                w.text("found", Some(&found.address.to_string()));
                w.text("local", found.local.map(|a| a.to_string()).as_deref());
            }
            TaskResult::Lookup(Err(e)) => {
                w.text("why", Some(&e.why)).plain("unwanted", e.unwanted);
            }
            TaskResult::Page(Ok(page)) => {
                w.plain("status", page.status).plain("empty", page.empty);
                w.text("location", page.location.as_deref());
                if let Some(date) = page.date {
                    w.plain("date", date);
                }
            }
            TaskResult::Page(Err(why)) => drop(w.text("no_page", Some(why))),
            TaskResult::Update(address, outcome) => {
                let (word, why, seconds) = match outcome {
                    UpdateOutcome::Done => ("done", "", 0),
                    UpdateOutcome::Failed(why) => ("failed", &**why, 0),
                    UpdateOutcome::Wait(wait, why) => ("wait", &**why, wait.as_secs()),
                    UpdateOutcome::Stop(why) => ("stop", &**why, 0),
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

    /// Reads the line. A worker may be under somebody's influence: its words are cut, and its
    /// address is checked again by whoever uses it.
    #[must_use]
    pub fn read(line: &[u8]) -> Option<Self> {
        let fields = Fields::read(line.strip_suffix(b"\n")?)?;
        let cut = |text: String| text.chars().take(200).collect::<String>();
        let why = || Rc::from(cut(fields.text("why").unwrap_or_default()));
        let said = match (fields.text("found"), fields.text("outcome")) {
            (Some(address), _) => {
                let local = fields.text("local").and_then(|a| a.parse().ok());
                TaskResult::Lookup(Ok(Found { address: address.parse().ok()?, local }))
            }
            (None, Some(outcome)) => {
                let seconds = fields.number("seconds").unwrap_or(0).clamp(0, 86_400).unsigned_abs();
                let outcome = match outcome.as_str() {
                    "done" => UpdateOutcome::Done,
                    "failed" => UpdateOutcome::Failed(why()),
                    "wait" => UpdateOutcome::Wait(Duration::from_secs(seconds), why()),
                    "stop" => UpdateOutcome::Stop(why()),
                    _ => return None,
                };
                TaskResult::Update(fields.text("address")?.parse().ok()?, outcome)
            }
            (None, None) if fields.text("no_page").is_some() => {
                TaskResult::Page(Err(cut(fields.text("no_page").unwrap_or_default()).into()))
            }
            (None, None) if fields.number("status").is_some() => {
                let status = fields.number("status").and_then(|n| u16::try_from(n).ok())?;
                let (location, date) = (fields.text("location").map(cut), fields.number("date"));
                TaskResult::Page(Ok(Page { status, empty: fields.flag("empty")?, location, date }))
            }
            (None, None) => {
                let unwanted = fields.flag("unwanted")?;
                TaskResult::Lookup(Err(NotFound { why: why(), unwanted }))
            }
        };
        Some(Self { said, unconfined: fields.text("unconfined").map(cut) })
    }
}

/// Why a request is not made, for a person.
#[must_use]
pub fn unstarted(why: &str) -> String {
    format!("no process can be started for it: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_comes_out_as_it_went_in() {
        let url = "http://cp.example/generate_204".to_owned();
        let task = Task {
            job: TaskJob::Page(url.clone()),
            family: Family::V4,
            bound: Bound::default(),
            roots: None,
        };
        assert!(
            matches!(Task::read(task.text().as_bytes()).unwrap().job, TaskJob::Page(u) if u == url)
        );
        let page = |status, empty, location: Option<&str>, date| {
            Ok(Page { status, empty, location: location.map(str::to_owned), date })
        };
        for said in [
            page(204, true, None, Some(1_795_478_400)),
            page(302, false, Some("http://login/\u{1b}[2J"), None),
            Err(Rc::from("no answer")),
        ] {
            let report = TaskReport { said: TaskResult::Page(said), unconfined: None };
            assert_eq!(TaskReport::read(report.line().as_bytes()), Some(report));
        }
    }

    #[test]
    fn a_task_and_a_report_come_out_as_they_went_in() {
        let source = Source::parse("http://198.18.0.80:81/ip").unwrap();
        let bound = Bound { device: Some("wan1".to_owned()), from: Some([192, 168, 42, 2].into()) };
        let task = Task {
            job: TaskJob::Lookup(source.clone()),
            family: Family::V4,
            bound,
            roots: Some("/x".to_owned()),
        };
        let read = Task::read(task.text().as_bytes()).unwrap();
        assert!(matches!(&read.job, TaskJob::Lookup(s) if *s == source));
        assert_eq!(
            (read.family, read.bound.from, read.roots),
            (Family::V4, task.bound.from, task.roots)
        );
        let request = Request {
            url: "http://x/?a".to_owned(),
            user: Some("me".to_owned()),
            secret: "p\"w".to_owned(),
            reading: AnswerReading::Whole(vec!["OK".to_owned()]),
        };
        let job = TaskJob::Update(request.clone(), [203, 0, 113, 1].into());
        let task = Task { job, family: Family::V4, bound: Bound::default(), roots: None };
        assert!(
            matches!(Task::read(task.text().as_bytes()).unwrap().job, TaskJob::Update(r, _) if r == request)
        );

        let address: IpAddr = [203, 0, 113, 1].into();
        for said in [
            TaskResult::Lookup(Ok(Found { address, local: Some([192, 168, 42, 2].into()) })),
            TaskResult::Lookup(Err(NotFound { why: "x \"y\"".into(), unwanted: true })),
            TaskResult::Update(address, UpdateOutcome::Done),
            TaskResult::Update(address, UpdateOutcome::Failed("x".into())),
            TaskResult::Update(address, UpdateOutcome::Wait(Duration::from_secs(1800), "x".into())),
            TaskResult::Update(address, UpdateOutcome::Stop("x".into())),
        ] {
            let report = TaskReport { said, unconfined: Some("why".to_owned()) };
            assert_eq!(TaskReport::read(report.line().as_bytes()), Some(report));
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
        for reading in [AnswerReading::DynDns2, AnswerReading::Whole(Vec::new())] {
            let text = hidden(TaskJob::Update(request(reading), address));
            assert!(
                !text.contains("hunter2")
                    && !text.contains("tokentoken")
                    && text.starts_with("you sent"),
                "{text}"
            );
        }
        let text = hidden(TaskJob::Lookup(
            Source::parse("https://x.example/ip?key=tokentoken99").unwrap(),
        ));
        assert!(!text.contains("tokentoken") && text.contains("hunter2secret"), "{text}");
        let text = hidden(TaskJob::Page("http://x.example/".to_owned()));
        assert_eq!(text, "you sent hunter2secret and tokentoken99");
    }

    #[test]
    fn what_is_no_report_is_none() {
        for line in [
            "",
            "\n",
            "{}\n",
            "{\"found\":\"x\"}\n",
            "{\"found\":\"203.0.113.1\"}",
            "[1]\n",
            "{\"outcome\":\"?\"}\n",
        ] {
            assert_eq!(TaskReport::read(line.as_bytes()), None, "{line:?}");
        }
        let long = format!("{{\"why\":\"{}\",\"unwanted\":false}}\n", "ü".repeat(1000));
        let Some(TaskReport { said: TaskResult::Lookup(Err(e)), .. }) =
            TaskReport::read(long.as_bytes())
        else {
            panic!()
        };
        assert_eq!(e.why.chars().count(), 200);
    }
}
