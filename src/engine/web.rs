//! What the ddns monitor needs of the world: workers that make web requests, the state file, and
//! news of addresses and default routes.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::world::{Done, FileJob, Record, WaitSource, Waited, World};
use super::writer::{WriteTicket, Writing};
use crate::addr::family::Family;
use crate::base::error;
use crate::base::time::Instant;
use crate::base::time::RELEASED;
use crate::config;
use crate::engine::scripts::CallTicket;
use crate::engine::world::Delivery;
use crate::event::Severity;
use crate::kernel::PROTOCOL;
use crate::kernel::news::News;
use crate::kernel::path::Bound;
use crate::monitor::ddns::sinks::{Publication, SinkSetup};
use crate::monitor::ddns::state::Saved;
use crate::monitor::ddns::update::{Secret, Update, UpdateOutcome};
use crate::monitor::ddns::{Ddns, DdnsSetup, Found, LookupId, NotFound, TrackSetup};
use crate::web::{
    GRACE, LOOKUP_LIMIT, TOO_LATE, Task, TaskJob, TaskReport, TaskResult, UPDATE_LIMIT, unstarted,
};

/// A publication waits for the disk at most this long, to be known of after a crash.
const NOTE_LIMIT: Duration = Duration::from_secs(30);
/// Workers at a time: each takes a megabyte or two.
const MOST: usize = 3;
/// What an earlier imon began is looked at this often until it has ended.
const BUSY: Duration = Duration::from_secs(1);
/// An earlier try that is not over after this is given up: its worker or script was killed long
/// ago.
const BUSY_AT_MOST: u32 = 120;

/// All of it.
pub(super) struct Web<W: World> {
    settings: config::DdnsSettings,
    state: StateFiles,
    /// As the file is.
    saved: Saved,
    /// The directory is being tried.
    probe: Option<WriteTicket>,
    /// What is to be done with a file that is of no use.
    aside: Option<FileJob>,
    opening: Vec<PendingRecord>,
    opened: Vec<(Box<Due>, RecordNote<W::File>)>,
    waiting: Vec<PendingTask>,
    running: Vec<RunningTask<W>>,
    /// Workers begun so far.
    counter: u64,
    answers: Vec<WebResult<W::File>>,
    remarks: Vec<(Severity, String)>,
    watch: Option<AddressWatch<W>>,
    said_unconfined: bool,
    /// Nothing is begun any more.
    stopping: bool,
}

/// An answer for the monitor.
pub(super) enum WebResult<F> {
    Lookup(LookupId, Result<Found, NotFound>),
    Publication(Rc<str>, IpAddr, UpdateOutcome, Option<Record<F>>),
}

/// What a worker is to do.
enum PendingTask {
    Lookup(LookupId, Family, Bound),
    Publication(Box<Due>),
}

/// A publication, when it is to begin, and how often that was put off.
struct Due {
    publication: Publication,
    /// As configured when it was wanted: a reload gives others its place.
    update: Option<Update>,
    bound: Bound,
    at: Instant,
    times: u32,
}

struct RunningTask<W: World> {
    worker: W::Worker,
    purpose: TaskPurpose<W::File>,
    until: Instant,
    /// Tells its worker from the others.
    number: u64,
}

enum TaskPurpose<F> {
    Lookup(LookupId),
    Publication(Rc<str>, IpAddr, Option<Record<F>>),
}

/// A publication that waits for its record to be opened.
struct PendingRecord {
    ticket: WriteTicket,
    due: Box<Due>,
    until: Instant,
}

/// What came of opening a record.
enum RecordNote<F> {
    /// It is open, with what an earlier try has left.
    Open((F, Vec<u8>)),
    /// An earlier try is still at it.
    Busy,
    /// There can be none.
    None,
}

/// What outlives a restart, as files.
struct StateFiles {
    directory: PathBuf,
    file: PathBuf,
    prefix: String,
}

/// Longest state file, in bytes.
const LONGEST: u64 = 1 << 20;

impl StateFiles {
    /// The state of an instance. Nothing is looked at.
    fn of(directory: PathBuf, instance: &str) -> Self {
        let prefix = format!("{instance}.ddns");
        Self { file: directory.join(format!("{prefix}.json")), directory, prefix }
    }

    /// Where it is.
    fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file.
    fn path(&self) -> &Path {
        &self.file
    }

    /// Where a file that is of no use is kept.
    fn aside(&self) -> PathBuf {
        self.directory.join(format!("{}.json.damaged", self.prefix))
    }

    /// The record of something to be done, `name`d by a number.
    fn record(&self, name: u32) -> PathBuf {
        self.directory.join(format!("{}.{name:08x}.try", self.prefix))
    }
}

/// News of addresses and default routes.
struct AddressWatch<W: World> {
    events: W::Events,
    addresses: Vec<IpAddr>,
}

/// A call of the action script is to be made.
pub(super) type Call<F> = (Publication, CallTicket<F>);

impl<W: World> Web<W> {
    /// Opens what is needed.
    ///
    /// # Errors
    /// When the system is short of something. A directory that cannot be written to is none.
    pub(super) fn open(
        settings: &config::DdnsSettings,
        instance: &str,
        world: &mut W,
    ) -> io::Result<Self> {
        let mut remarks = Vec::new();
        let watch = match world.open_address_news() {
            Err(e) if error::is_shortage(&e) => return Err(e),
            Err(e) => {
                let why = W::in_words(&e);
                let text = format!(
                    "No news of addresses ({why}): the external address is looked up at its interval only"
                );
                remarks.push((Severity::Warning, text));
                None
            }
            Ok(events) => Some(events),
        };
        Ok(Self {
            settings: settings.clone(),
            state: StateFiles::of(world.state_directory(), instance),
            saved: Saved::default(),
            probe: None,
            aside: None,
            opening: Vec::new(),
            opened: Vec::new(),
            waiting: Vec::new(),
            running: Vec::new(),
            counter: 0,
            answers: Vec::new(),
            remarks,
            watch: watch.map(|events| AddressWatch { events, addresses: addresses(world) }),
            said_unconfined: false,
            stopping: false,
        })
    }

    /// Begins nothing any more.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        self.waiting.clear();
        self.opening.clear();
        self.opened.clear();
    }

    /// Other settings, and what was opened anew for them. What runs goes on, lookups only where it
    /// is said.
    pub(super) fn configure(
        &mut self,
        settings: &config::DdnsSettings,
        new: Option<Self>,
        asks_on: bool,
    ) {
        self.settings = settings.clone();
        if let Some(new) = new {
            (self.state, self.saved, self.aside) = (new.state, Saved::default(), new.aside);
            self.remarks.extend(new.remarks);
        }
        if asks_on {
            return;
        }
        // Their sources have other places now.
        self.waiting.retain(|waiting| matches!(waiting, PendingTask::Publication(..)));
        self.running.retain(|running| matches!(running.purpose, TaskPurpose::Publication(..)));
        self.answers.retain(|answer| matches!(answer, WebResult::Publication(..)));
    }

    /// What an earlier imon has left.
    pub(super) fn load(&mut self, world: &mut W) -> Saved {
        let path = self.state.path().display().to_string();
        let saved = match world.read_own(self.state.path(), LONGEST) {
            Ok(bytes) => Saved::read(&bytes),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Saved::default(),
            Err(e) => {
                self.remarks.push((
                    Severity::Warning,
                    format!("{path} cannot be read: {}", W::in_words(&e)),
                ));
                return Saved::default();
            }
        };
        let wall = world.clock().wall;
        let future = |saved: &Saved| saved.is_of_the_future(wall, RELEASED);
        let why = match saved {
            Ok(saved) if !future(&saved) => {
                self.saved = saved.clone();
                return saved;
            }
            Ok(_) => "it is from the future",
            Err(why) => why,
        };
        let (from, aside) = (self.state.path().to_owned(), self.state.aside());
        self.aside = Some(FileJob::Move(from, aside.clone()));
        let aside = aside.display();
        let text = format!(
            "{path} is not used: {why}. It is kept as {aside}, and the external address is found anew"
        );
        self.remarks.push((Severity::Warning, text));
        Saved::default()
    }

    /// Writes what is to outlive a restart, if it is not in the file already.
    pub(super) fn save(&mut self, saved: Saved, writing: &mut Writing<W>) {
        if saved.tracks != self.saved.tracks {
            writing.push(FileJob::Save(self.state.path().to_owned(), saved.text().into_bytes()));
            self.saved = saved;
        }
    }

    /// Finds out whether the state can be kept, and puts aside what is of no use.
    pub(super) fn prepare_state(&mut self, writing: &mut Writing<W>, world: &mut W) {
        if let Some(aside) = self.aside.take() {
            writing.push(aside);
        }
        let directory = self.state.directory();
        if let Some(how) =
            directory.to_str().and_then(|directory| world.writable_by_others(directory))
        {
            let text = format!("What is in {} may be somebody else's: {how}", directory.display());
            self.remarks.push((Severity::Warning, text));
        }
        self.probe = Some(writing.push(FileJob::Probe(directory.to_owned())));
    }

    /// Something is written, or a record is open.
    pub(super) fn written(&mut self, ticket: WriteTicket, done: Done<W::File>) {
        if self.probe == Some(ticket) {
            self.probe = None;
            if let Err(e) = done.result {
                let (directory, why) = (self.state.directory().display(), W::in_words(&e));
                let text = format!(
                    "{directory} cannot be written to ({why}): the external address is forgotten at each restart, and then \
                     published again"
                );
                self.remarks.push((Severity::Warning, text));
            }
            return;
        }
        let Some(at) = self.opening.iter().position(|opening| opening.ticket == ticket) else {
            return;
        };
        let PendingRecord { due, .. } = self.opening.swap_remove(at);
        let note = match done.result {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => RecordNote::Busy,
            Err(e) => {
                self.warn_of_no_note(&due, &format!("cannot be written to ({})", W::in_words(&e)));
                RecordNote::None
            }
            Ok(()) => done.record.map_or(RecordNote::None, RecordNote::Open),
        };
        self.opened.push((due, note));
    }

    fn warn_of_no_note(&mut self, due: &Due, why: &str) {
        let (directory, address) = (self.state.directory().display(), due.publication.address);
        let text = format!("{directory} {why}: {address} is published without a note of it there");
        self.remarks.push((Severity::Warning, text));
    }

    pub(super) fn remark(&mut self) -> Option<(Severity, String)> {
        if self.remarks.is_empty() { None } else { Some(self.remarks.remove(0)) }
    }

    /// Asks a source, as soon as there is room.
    pub(super) fn look_up(&mut self, id: LookupId, family: Family, bound: Bound) {
        self.waiting.push(PendingTask::Lookup(id, family, bound));
    }

    /// Tells a provider, as soon as there is room.
    pub(super) fn publish(&mut self, now: Instant, publication: Publication, bound: Bound) {
        let update = publication.update.and_then(|at| self.settings.updates.value.get(at)).cloned();
        self.waiting.push(PendingTask::Publication(Box::new(Due {
            publication,
            update,
            bound,
            at: now,
            times: 0,
        })));
    }

    /// Whether a provider is being told something.
    pub(super) fn is_publishing(&self) -> bool {
        self.running.iter().any(|running| matches!(running.purpose, TaskPurpose::Publication(..)))
    }

    pub(super) fn answer(&mut self) -> Option<WebResult<W::File>> {
        self.answers.pop()
    }

    pub(super) fn is_at_rest(&self) -> bool {
        let opens = !self.opening.is_empty() || !self.opened.is_empty();
        !opens
            && self.waiting.is_empty()
            && self.running.is_empty()
            && self.answers.is_empty()
            && self.remarks.is_empty()
    }

    pub(super) fn poll_at(&self) -> Option<Instant> {
        let opened = (!self.opened.is_empty()).then_some(Instant::ZERO);
        let opening = self.opening.iter().map(|opening| opening.until).chain(opened);
        let begin = self.waiting.iter().map(|waiting| match waiting {
            PendingTask::Lookup(..) => Instant::ZERO,
            PendingTask::Publication(due) => due.at,
        });
        let begin = begin.min().filter(|_| self.running.len() < MOST);
        self.running.iter().map(|running| running.until).chain(begin).chain(opening).min()
    }

    pub(super) fn add_to(&self, world: &mut W) {
        for running in &self.running {
            world.watch(Waited::Worker(running.number), WaitSource::Worker(&running.worker));
        }
        if let Some(watch) = &self.watch {
            world.watch(Waited::Addresses, WaitSource::News(&watch.events));
        }
    }

    /// Begins what waits, and ends what takes too long. What the action script is to do comes back.
    pub(super) fn tick(
        &mut self,
        now: Instant,
        writing: &mut Writing<W>,
        world: &mut W,
    ) -> Vec<Call<W::File>> {
        let mut at = 0;
        while let Some(running) = self.running.get(at) {
            if running.until > now {
                at += 1;
                continue;
            }
            // Dropping the worker kills it.
            let running = self.running.swap_remove(at);
            self.conclude(running.purpose, None);
        }
        let mut calls = Vec::new();
        self.give_up_on_notes(now);
        for (due, note) in std::mem::take(&mut self.opened) {
            calls.extend(self.begin_publication(now, due, note, writing, world));
        }
        let mut at = 0;
        while !self.stopping && self.running.len() < MOST && at < self.waiting.len() {
            if let Some(PendingTask::Publication(due)) = self.waiting.get(at)
                && due.at > now
            {
                at += 1;
                continue;
            }
            match self.waiting.remove(at) {
                PendingTask::Lookup(id, family, bound) => {
                    self.begin_lookup(now, id, family, bound, world)
                }
                // Behind the state that says that it is tried.
                PendingTask::Publication(due) => {
                    let path = self.state.record(hash(&due.publication.key));
                    let ticket = writing.push(FileJob::Record(path));
                    self.opening.push(PendingRecord { ticket, due, until: now + NOTE_LIMIT });
                }
            }
        }
        calls
    }

    fn begin(&mut self, worker: W::Worker, purpose: TaskPurpose<W::File>, until: Instant) {
        self.counter += 1;
        self.running.push(RunningTask { worker, purpose, until, number: self.counter });
    }

    fn begin_lookup(
        &mut self,
        now: Instant,
        id: LookupId,
        family: Family,
        bound: Bound,
        world: &mut W,
    ) {
        let Some(source) = self.settings.sources.get(id.source) else { return };
        let roots = self.settings.roots.as_ref().map(|roots| roots.value.clone());
        let task = Task { job: TaskJob::Lookup(source.clone()), family, bound, roots };
        match world.start_worker(task.text().as_bytes(), None) {
            Ok(worker) => {
                let until = now + LOOKUP_LIMIT + GRACE;
                self.begin(worker, TaskPurpose::Lookup(id), until);
            }
            Err(e) => self.answers.push(WebResult::Lookup(
                id,
                Err(NotFound::because(&unstarted(&W::shortage_in_words(&e)))),
            )),
        }
    }

    /// What is to be published is so in the end also where a disk does not answer.
    fn give_up_on_notes(&mut self, now: Instant) {
        while let Some(at) = self.opening.iter().position(|opening| opening.until <= now) {
            let PendingRecord { due, .. } = self.opening.swap_remove(at);
            self.warn_of_no_note(&due, "does not answer");
            self.opened.push((due, RecordNote::None));
        }
    }

    fn begin_publication(
        &mut self,
        now: Instant,
        mut due: Box<Due>,
        note: RecordNote<W::File>,
        writing: &mut Writing<W>,
        world: &mut W,
    ) -> Option<Call<W::File>> {
        let address = due.publication.address;
        let key = Rc::clone(&due.publication.key);
        let success =
            TaskReport { said: TaskResult::Update(address, UpdateOutcome::Done), unconfined: None }
                .line();
        // Whoever did this before, and was not heard, has left word.
        let path = self.state.record(hash(&key));
        let record = |file| Record { file, path, success: success.as_bytes().into() };
        let record = match note {
            RecordNote::Open((file, said)) if said.is_empty() => Some(record(file)),
            RecordNote::Busy if due.times < BUSY_AT_MOST => {
                (due.at, due.times) = (now + BUSY, due.times + 1);
                self.waiting.push(PendingTask::Publication(due));
                return None;
            }
            RecordNote::Open((file, said)) => {
                let record = record(file);
                match TaskReport::read(&said).map(|report| report.said) {
                    Some(TaskResult::Update(told, UpdateOutcome::Done)) if told == address => {
                        self.answers.push(WebResult::Publication(
                            key,
                            address,
                            UpdateOutcome::Done,
                            Some(record),
                        ));
                    }
                    // It is about another address, or failed.
                    _ => {
                        writing.push(FileJob::Remove(record.path));
                        self.waiting.push(PendingTask::Publication(due));
                    }
                }
                return None;
            }
            RecordNote::Busy | RecordNote::None => None,
        };
        if due.publication.update.is_none() {
            return Some((due.publication, CallTicket { key, address, record }));
        }
        let Due { update, bound, .. } = *due;
        let Some(update) = update else {
            let gone = UpdateOutcome::Failed("it is not configured any more".into());
            self.answers.push(WebResult::Publication(key, address, gone, record));
            return None;
        };
        let started = world.secret(&update.secret).and_then(|secret| {
            let request = update.request(address, &secret);
            let roots = self.settings.roots.as_ref().map(|roots| roots.value.clone());
            let task = Task {
                job: TaskJob::Update(request, address),
                family: Family::of(address),
                bound,
                roots,
            };
            world
                .start_worker(task.text().as_bytes(), record.as_ref().map(|record| &record.file))
                .map_err(|e| unstarted(&W::shortage_in_words(&e)))
        });
        match started {
            Ok(worker) => {
                let purpose = TaskPurpose::Publication(key, address, record);
                self.begin(worker, purpose, now + UPDATE_LIMIT + GRACE);
            }
            Err(why) => {
                self.answers.push(WebResult::Publication(
                    key,
                    address,
                    UpdateOutcome::Failed(why.into()),
                    record,
                ));
            }
        }
        None
    }

    /// Takes what has arrived. Returns whether addresses or default routes are others now.
    pub(super) fn after(&mut self, world: &mut W) -> bool {
        let mut at = 0;
        while let Some(running) = self.running.get_mut(at) {
            let line = if world.is_ready(Waited::Worker(running.number)) {
                world.read_worker(&mut running.worker)
            } else {
                None
            };
            let Some(line) = line else {
                at += 1;
                continue;
            };
            let running = self.running.swap_remove(at);
            self.conclude(running.purpose, TaskReport::read(&line));
        }
        world.is_ready(Waited::Addresses)
            && self.watch.as_mut().is_some_and(|watch| watch.hear(world))
    }

    /// A worker has ended with this report, or was ended.
    fn conclude(&mut self, purpose: TaskPurpose<W::File>, report: Option<TaskReport>) {
        let (said, unconfined) =
            report.map_or((None, None), |report| (Some(report.said), report.unconfined));
        if let Some(note) =
            unconfined.filter(|_| !std::mem::replace(&mut self.said_unconfined, true))
        {
            let text = format!("Web requests are made with more rights than they need: {note}");
            self.remarks.push((Severity::Notice, text));
        }
        let answer = match purpose {
            TaskPurpose::Lookup(id) => WebResult::Lookup(id, TaskReport::found(said)),
            TaskPurpose::Publication(key, address, record) => {
                let outcome = match said {
                    Some(TaskResult::Update(told, outcome)) if told == address => outcome,
                    _ => UpdateOutcome::Failed(TOO_LATE.into()),
                };
                WebResult::Publication(key, address, outcome, record)
            }
        };
        self.answers.push(answer);
    }
}

impl<W: World> AddressWatch<W> {
    /// Takes the news. Returns whether they matter.
    fn hear(&mut self, world: &mut W) -> bool {
        let (mut look, mut moved) = (false, false);
        let heard = world.news(&mut self.events, |message| match message.news {
            News::Route(route) | News::NoRoute(route) => {
                moved |= route.is_default() && route.protocol != PROTOCOL
            }
            News::Default6(default) | News::NoDefault6(default) => {
                moved |= default.protocol != PROTOCOL
            }
            _ => look = true,
        });
        if look || heard == Delivery::Overrun {
            let now = addresses(world);
            moved |= now.len() != self.addresses.len()
                || !now.iter().all(|a| self.addresses.contains(a));
            self.addresses = now;
        }
        moved
    }
}

/// Our own addresses that may matter, in any order.
fn addresses(world: &mut impl World) -> Vec<IpAddr> {
    let mut all = world.own_addresses();
    all.retain(|a| {
        !a.is_loopback() && !matches!(a, IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80)
    });
    all
}

/// The monitor of a configuration. `wans` are the interfaces of the failover monitor.
pub(super) fn monitor(
    settings: &config::DdnsSettings,
    script: Option<&str>,
    wans: &[&str],
    world: &mut impl World,
) -> Ddns {
    let mut sinks: Vec<(SinkSetup, Option<&str>)> = Vec::new();
    sinks.extend(script.map(|path| {
        let setup = SinkSetup { name: "action script".into(), print: hash(path), update: None };
        (setup, None)
    }));
    for (at, update) in settings.updates.value.iter().enumerate() {
        let label = update.label();
        let mut name = label.clone();
        let mut number = 1;
        while sinks.iter().any(|(sink, _)| *sink.name == *name) {
            number += 1;
            name = format!("{label} #{number}");
        }
        let setup = SinkSetup { name: name.into(), print: print(update, world), update: Some(at) };
        sinks.push((setup, update.wan.as_deref()));
    }
    let wans: &[&str] = if settings.per_wan { wans } else { &[""] };
    let mut tracks = Vec::new();
    for family in &settings.families {
        for wan in wans {
            let mine = sinks.iter().filter(|(_, only)| only.is_none_or(|only| only == *wan));
            let sinks = mine.map(|(sink, _)| sink.clone()).collect();
            tracks.push(TrackSetup { family: *family, wan: (*wan).into(), sinks });
        }
    }
    Ddns::new(DdnsSetup {
        sources: settings.sources.clone(),
        tracks,
        interval: settings.interval,
        announce_start: settings.announce_start,
        refresh: settings.refresh,
        seed: world.random(),
    })
}

/// A number that is another one when an update is configured otherwise, its secret included.
fn print(update: &Update, world: &mut impl World) -> u32 {
    let secret = match &update.secret {
        Secret::None => String::new(),
        Secret::Given(text) => text.clone(),
        Secret::File(path) => format!("{path} {:?}", world.stamp(path)),
        Secret::Credential(name) => name.clone(),
    };
    hash(&format!("{:?} {secret}", update.protocol))
}

/// FNV-1a: short, and the same in every version.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
