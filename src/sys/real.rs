//! The world as it is, for the loop.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, io};

use super::conntrack::Flush;
use super::files::{self, Lock, Runtime};
use super::log::Logger;
use super::netlink::{Events, Requests};
use super::notify::Notify;
use super::ping::Pinger;
use super::poll::Poll;
use super::process::{self, Output, RunningProcess};
use super::signal::Signals;
use super::tcp::TcpOpening;
use super::udp::UdpExchange;
use super::worker::Worker;
use super::writer::Writer;
use super::{clock, memory, net, secret, shortage};
use crate::base::time::{Clock, Instant};
use crate::config::source::{self, Loaded};
use crate::engine::world::{
    self, Arrived, ChangeRefused, Dialer, Done, Ending, FileJob, FileStamp, Kernel, Log, OpenError,
    Pings, Processes, Record, Store, WaitSource, Waited, World,
};
use crate::event::{Monitor, Severity};
use crate::kernel::news::Message;
use crate::kernel::path::{Families, Via};
use crate::kernel::{Change, Link, Picture, Route, Rule};
use crate::monitor::ddns::update::Secret;
use crate::sys::configuration;
use crate::wire::icmp::{Received, Token};

/// Where replies are collected, waking up is put off by this many milliseconds. The kernel's time
/// stamps keep the round-trip times exact.
const COLLECTING: i32 = 8;

/// The real world.
pub struct Real {
    /// Installed handlers.
    signals: Signals,
    /// The log.
    pub logger: Logger,
    /// The service manager.
    pub notify: Notify,
    /// Lock and status file, where they can be had.
    runtime: Option<Runtime>,
    poll: Poll<Waited>,
    /// Replies are collected.
    collects: bool,
}

impl Real {
    /// The world of a start that has come so far.
    #[must_use]
    pub fn new(signals: Signals, logger: Logger, notify: Notify, runtime: Option<Runtime>) -> Self {
        Self { signals, logger, notify, runtime, poll: Poll::default(), collects: false }
    }
}

impl Log for Real {
    fn log(&mut self, severity: Severity, monitor: Option<Monitor>, text: fmt::Arguments<'_>) {
        self.logger.line(severity, monitor, text);
    }

    fn log_output(&mut self, monitor: Monitor, action: &str, line: &str) {
        self.logger.script_output(monitor, action, line);
    }

    fn configure_log(&mut self, instance: &str, datefmt: &str, multi: bool) {
        self.logger.configure(instance, datefmt, multi);
    }

    fn is_syslog(&self) -> bool {
        self.logger.is_syslog()
    }

    fn has_unlogged(&self) -> bool {
        self.logger.waits_for().is_some()
    }

    fn flush_log(&mut self) {
        self.logger.flush();
    }
}

impl Store for Real {
    type Writer = Writer;
    type File = File;
    type Lock = Lock;

    fn load(&mut self, source: &source::ConfigSource) -> Loaded {
        match shortage::try_memory() {
            Ok(()) => configuration::load(source),
            Err(e) => configuration::unreadable(source, &e),
        }
    }

    fn read_start(&mut self, path: &str, most: u64) -> io::Result<Vec<u8>> {
        files::read_start(path, most)
    }

    fn read_own(&mut self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        files::read_own(path, limit)
    }

    fn stamp(&mut self, path: &str) -> FileStamp {
        files::stamp(path)
    }

    fn writable_by_others(&mut self, path: &str) -> Option<String> {
        files::writable_by_others(path)
    }

    fn secret(&mut self, secret: &Secret) -> Result<String, String> {
        secret::read(secret)
    }

    fn status_file(&self) -> Option<&Path> {
        self.runtime.as_ref().map(Runtime::status)
    }

    fn state_directory(&self) -> PathBuf {
        files::state_directory()
    }

    fn start_writer(&mut self, jobs: &[&FileJob]) -> io::Result<Writer> {
        Writer::start(jobs, self.runtime.as_ref().map(Runtime::lock_file).as_deref())
    }

    fn report(&mut self, writer: &mut Writer) -> io::Result<Option<Done<File>>> {
        writer.report()
    }

    fn lock_device(&mut self, device: &str, table: u32) -> io::Result<Option<Lock>> {
        self.runtime.as_ref().map(|runtime| runtime.lock_device(device, table)).transpose()
    }

    fn note_table(&mut self, lock: &mut Lock, table: u32) {
        lock.note(&table);
    }

    fn other_devices(
        &mut self,
        ours: &[String],
    ) -> Option<(Vec<(String, Option<u32>)>, Vec<Lock>)> {
        self.runtime.as_ref().map(|runtime| runtime.other_devices(ours))
    }
}

impl Processes for Real {
    type Script = RunningProcess;
    type Output = Output;
    type Worker = Worker;

    fn try_room(&mut self) -> io::Result<()> {
        shortage::try_descriptors(shortage::MONITORS)
    }

    fn run_script(
        &mut self,
        path: &str,
        args: &[String],
        env: &[(&'static str, String)],
        record: Option<&Record<File>>,
    ) -> io::Result<(RunningProcess, Output)> {
        process::start(path, args, env, record)
    }

    fn terminate(&mut self, script: &RunningProcess) {
        script.terminate();
    }

    fn kill(&mut self, script: &RunningProcess) {
        script.kill();
    }

    fn has_ended(&mut self, script: &RunningProcess) -> bool {
        script.has_ended()
    }

    fn reap(&mut self, script: &mut RunningProcess) -> Ending {
        script.reap()
    }

    fn read_output(&mut self, output: &mut Output, buffer: &mut [u8]) -> Option<usize> {
        output.read(buffer)
    }

    fn start_worker(&mut self, request: &[u8], record: Option<&File>) -> io::Result<Worker> {
        Worker::start(request, record)
    }

    fn read_worker(&mut self, worker: &mut Worker) -> Option<Vec<u8>> {
        worker.read()
    }
}

impl Dialer for Real {
    type Question = UdpExchange;
    type Opening = TcpOpening;

    fn server_address(&mut self, address: IpAddr, zone: Option<&str>, port: u16) -> SocketAddr {
        net::server_address(address, zone, port)
    }

    fn ask(&mut self, via: Option<&Via>, to: SocketAddr, packet: &[u8]) -> io::Result<UdpExchange> {
        UdpExchange::send(via, to, packet)
    }

    fn receive<'a>(
        &mut self,
        question: &mut UdpExchange,
        buffer: &'a mut [u8],
    ) -> io::Result<Option<&'a [u8]>> {
        question.receive(buffer)
    }

    fn connect(&mut self, via: Option<&Via>, to: SocketAddr) -> io::Result<TcpOpening> {
        TcpOpening::begin(via, to)
    }

    fn opened(&mut self, opening: &TcpOpening) -> io::Result<()> {
        opening.result()
    }
}

impl Pings for Real {
    type Pinger = Pinger;

    fn open_pinger(&mut self, families: Families) -> Result<Pinger, OpenError> {
        Pinger::open(families)
    }

    fn set_lane(&mut self, pinger: &mut Pinger, wan: usize, via: Option<&Via>) -> io::Result<bool> {
        pinger.set_lane(wan, via)
    }

    fn replace_pinger(&mut self, old: &mut Pinger, new: Pinger, lanes: bool) {
        old.replace(new, lanes);
    }

    fn ping(
        &mut self,
        pinger: &mut Pinger,
        wan: Option<usize>,
        to: IpAddr,
        token: &Token,
    ) -> io::Result<()> {
        pinger.send(wan, to, token)
    }

    fn hear(
        &mut self,
        pinger: &mut Pinger,
        many: bool,
        heard: impl FnMut(Option<usize>, Received, Duration),
    ) {
        pinger.receive(many, heard);
    }
}

impl Kernel for Real {
    type Requests = Requests;
    type Events = Events;
    type Flush = Flush;

    fn open_requests(&mut self) -> io::Result<Requests> {
        Requests::open()
    }

    fn open_news(&mut self) -> io::Result<Events> {
        Events::open()
    }

    fn open_address_news(&mut self) -> io::Result<Events> {
        Events::of_addresses()
    }

    fn news(&mut self, events: &mut Events, heard: impl FnMut(Message)) -> world::Delivery {
        events.receive(heard)
    }

    fn try_out(&mut self, requests: &mut Requests, nothing: &Change) -> Result<(), ChangeRefused> {
        requests.try_out(nothing)
    }

    fn make(&mut self, requests: &mut Requests, change: &Change) -> Result<(), ChangeRefused> {
        requests.make(change)
    }

    fn look(
        &mut self,
        requests: &mut Requests,
        picture: &mut Picture,
    ) -> Result<(), ChangeRefused> {
        requests.look(picture)
    }

    fn rules(&mut self, requests: &mut Requests) -> Result<Vec<Rule>, ChangeRefused> {
        requests.rules()
    }

    fn routes_over(
        &mut self,
        requests: &mut Requests,
        picture: &Picture,
        link: &Link,
        most: usize,
    ) -> Result<(Vec<Route>, usize), ChangeRefused> {
        requests.routes_over(picture, link, most)
    }

    fn link(&mut self, requests: &mut Requests, index: u32) -> Result<Option<Link>, ChangeRefused> {
        requests.link(index)
    }

    fn way(&mut self, requests: &mut Requests, to: Ipv4Addr) -> Result<Route, ChangeRefused> {
        requests.way(to)
    }

    fn forget_neighbour(
        &mut self,
        requests: &mut Requests,
        index: u32,
        neighbour: Ipv4Addr,
    ) -> Result<(), ChangeRefused> {
        requests.forget_neighbour(index, neighbour)
    }

    fn flush(&mut self, address: Ipv4Addr) -> io::Result<Option<Flush>> {
        Flush::begin(address)
    }

    fn proceed(&mut self, flush: &mut Flush) -> Option<io::Result<()>> {
        flush.proceed()
    }
}

impl World for Real {
    fn now(&self) -> Instant {
        clock::monotonic()
    }

    fn clock(&self) -> Clock {
        clock::both()
    }

    fn suspended(&self) -> Duration {
        clock::suspended()
    }

    fn in_words(e: &io::Error) -> String {
        super::error_text(e)
    }

    fn shortage_in_words(e: &io::Error) -> String {
        shortage::told(e)
    }

    fn random(&mut self) -> u64 {
        net::random()
    }

    fn watch_nothing(&mut self) {
        self.poll.clear();
        self.collects = false;
    }

    fn watch(&mut self, name: Waited, source: WaitSource<'_, Self>) {
        match source {
            WaitSource::Signals => self.poll.add(name, self.signals.fd()),
            WaitSource::Log => {
                if let Some(fd) = self.logger.waits_for() {
                    self.poll.add_write(name, fd);
                }
            }
            WaitSource::Question(question) => self.poll.add(name, question.fd()),
            WaitSource::Opening(opening) => self.poll.add_write(name, opening.fd()),
            WaitSource::Output(output) => self.poll.add(name, output.fd()),
            WaitSource::Worker(worker) => self.poll.add(name, worker.fd()),
            WaitSource::Writer(writer) => self.poll.add(name, writer.fd()),
            WaitSource::News(events) => self.poll.add(name, events.fd()),
            WaitSource::Flush(flush) => self.poll.add(name, flush.fd()),
            WaitSource::Pings(pinger) => pinger.fds().for_each(|fd| self.poll.add(name, fd)),
            WaitSource::Collected => self.collects = true,
        }
    }

    fn wait(&mut self, until: Option<Instant>) -> io::Result<()> {
        let timeout = clock::poll_timeout(clock::monotonic(), until);
        // Times are kept to the millisecond, but a thousand targets need not be served one by one.
        let collects = self.collects && (0..COLLECTING).contains(&timeout);
        self.poll.wait(if collects { COLLECTING } else { timeout })
    }

    fn is_ready(&self, name: Waited) -> bool {
        self.poll.ready(name)
    }

    fn is_ready_besides(&self, name: Waited) -> bool {
        self.poll.ready_besides(name)
    }

    fn has_signal(&self) -> bool {
        self.signals.any()
    }

    fn take_signals(&mut self) -> Arrived {
        self.signals.take()
    }

    fn own_addresses(&mut self) -> Vec<IpAddr> {
        net::own_addresses()
    }

    fn pid(&self) -> u32 {
        std::process::id()
    }

    fn notify(&mut self, state: &str) {
        self.notify.send(state);
    }

    fn watchdog(&self) -> Option<Duration> {
        self.notify.watchdog()
    }

    fn has_begun(&mut self) {
        memory::release_code();
    }

    fn end(&mut self) {
        self.logger.finish();
        if let Some(runtime) = &mut self.runtime {
            runtime.close();
        }
    }
}
