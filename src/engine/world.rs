//! All that the loop has of the world: waiting, clocks, random numbers, the log, files, other
//! processes, sockets and the kernel's network. [`Real`](crate::sys::real::Real) is the world as it
//! is; simulations are others. The loop is compiled for each of them, so that having this in
//! between costs the program nothing.
//!
//! What is opened or started is a value of the world's own kind, which the loop keeps, gives back
//! with each call, and drops when it is done with it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use crate::base::time::{Clock, Instant};
use crate::config::source::{self, Loaded};
use crate::event::{Monitor, Severity};
use crate::kernel::news::Message;
use crate::kernel::path::{Families, Via};
use crate::kernel::{Change, Link, Picture, Route, Rule};
use crate::monitor::ddns::update::Secret;
use crate::wire::icmp::{Received, Token};

/// What the loop waits for, each by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waited {
    /// Signals of the operating system.
    Signals,
    /// Replies to pings, by any socket.
    Pings,
    /// News of links, addresses, routes and rules, for failover.
    News,
    /// News of addresses and default routes, for ddns.
    Addresses,
    /// The list of connections that is gone through.
    Flush,
    /// The answer to a probe that is no ping.
    Contact(u64),
    /// The answer of a name server.
    Question(u64),
    /// What a worker says.
    Worker(u64),
    /// What a script prints.
    Output(u64),
    /// Room for log lines.
    Log,
    /// The child that writes files.
    Writer,
}

/// Where something comes from that is waited for.
pub enum WaitSource<'a, W: World + ?Sized> {
    /// Signals of the operating system.
    Signals,
    /// Room for log lines that wait.
    Log,
    /// Reports of a writer, and its end.
    Writer(&'a W::Writer),
    /// What a script prints.
    Output(&'a W::Output),
    /// What a worker says.
    Worker(&'a W::Worker),
    /// The answer of a name server.
    Question(&'a W::Question),
    /// The outcome of opening a connection.
    Opening(&'a W::Opening),
    /// News of the kernel's network.
    News(&'a W::Events),
    /// More of the list of connections.
    Flush(&'a W::Flush),
    /// Replies to pings, and errors about them.
    Pings(&'a W::Pinger),
    /// The same, but collected: none is worth waking up for, but waking up for something else may
    /// be put off for some milliseconds to have more of them at once.
    Collected,
}

/// Something to do with files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FileJob {
    /// Finds out whether files can be made in a directory.
    Probe(PathBuf),
    /// Replaces a file in one step, readable for everybody. It need not survive a power failure.
    Replace(PathBuf, Vec<u8>),
    /// Replaces a file, readable for us alone, so that after a power failure the old content or the
    /// new is there, whole.
    Save(PathBuf, Vec<u8>),
    /// Moves a file aside.
    Move(PathBuf, PathBuf),
    /// Removes a file, if it is there.
    Remove(PathBuf),
    /// Opens and locks a file that says whether something was done, and whose name outlives a power
    /// failure by then.
    Record(PathBuf),
}

/// What came of a job.
pub struct Done<F> {
    /// Its place among those that the writer was given.
    pub place: usize,
    /// Why it failed, if it did. `WouldBlock`: not yet, since something before it failed, or since
    /// an earlier try of what is recorded is not over.
    pub result: io::Result<()>,
    /// Of a record: the open file, and what an earlier try has left in it.
    pub record: Option<(F, Vec<u8>)>,
}

/// A file that says whether something was done, held by whoever does it. A lock on it is given on
/// to that process and lives as long as it does.
pub struct Record<F> {
    /// The open file,
    pub file: F,
    /// and where it is.
    pub path: PathBuf,
    /// What it says afterwards.
    pub success: Arc<[u8]>,
}

/// The log.
pub trait Log {
    /// Writes one line.
    fn log(&mut self, severity: Severity, monitor: Option<Monitor>, text: fmt::Arguments<'_>);

    /// Passes on a line of an action script.
    fn log_output(&mut self, monitor: Monitor, action: &str, line: &str);

    /// What the configuration says: the name that lines carry, the terminal's date format, and
    /// whether tags name the monitor.
    fn configure_log(&mut self, instance: &str, datefmt: &str, multi: bool);

    /// Whether lines go to the system log.
    fn is_syslog(&self) -> bool;

    /// Whether lines wait until the log takes them.
    fn has_unlogged(&self) -> bool;

    /// Writes what can be written without waiting.
    fn flush_log(&mut self);
}

/// An interface whose lock another process holds, and the first of that imon's tables as it is
/// noted there; versions that noted none have `None`.
pub type Living = (String, Option<u32>);

/// Files. Nothing here waits for a disk to write.
pub trait Store {
    /// A child that writes. It goes on when this is dropped.
    type Writer;
    /// An open file with a lock on it, given up when this is dropped.
    type File;
    /// A lock on an interface, given up when this is dropped.
    type Lock;

    /// Reads and checks a configuration anew.
    fn load(&mut self, source: &source::ConfigSource) -> Loaded;

    /// Reads the first `most` bytes of a file.
    ///
    /// # Errors
    /// As open(2), read(2).
    fn read_start(&mut self, path: &str, most: u64) -> io::Result<Vec<u8>>;

    /// Reads a file of at most `limit` bytes that only imon makes, where others may have laid
    /// something in its place.
    ///
    /// # Errors
    /// As open(2), read(2); `InvalidData` when it is too long or not ours.
    fn read_own(&mut self, path: &Path, limit: u64) -> io::Result<Vec<u8>>;

    /// Tells whether a file must be read again.
    fn stamp(&mut self, path: &str) -> FileStamp;

    /// Who else may change what is there, in words.
    fn writable_by_others(&mut self, path: &str) -> Option<String>;

    /// Reads a secret.
    ///
    /// # Errors
    /// Why it cannot be had, for a person.
    fn secret(&mut self, secret: &Secret) -> Result<String, String>;

    /// The status file, where there can be one.
    fn status_file(&self) -> Option<&Path>;

    /// Where the state is kept.
    fn state_directory(&self) -> PathBuf;

    /// Starts a child that does these jobs in order.
    ///
    /// # Errors
    /// It cannot be started.
    fn start_writer(&mut self, jobs: &[&FileJob]) -> io::Result<Self::Writer>;

    /// Takes a writer's next report. `Ok(None)`: none now.
    ///
    /// # Errors
    /// It has ended, and there are no more.
    fn report(&mut self, writer: &mut Self::Writer) -> io::Result<Option<Done<Self::File>>>;

    /// Takes the lock of an interface, so that no two instances switch the routes over it. The
    /// first of the instance's routing tables is noted there. `None`: there is no place for locks.
    ///
    /// # Errors
    /// `WouldBlock`: another instance has it. Else as open(2).
    fn lock_device(&mut self, device: &str, table: u32) -> io::Result<Option<Self::Lock>>;

    /// Notes another table at a lock.
    fn note_table(&mut self, lock: &mut Self::Lock, table: u32);

    /// The interfaces but `ours` whose locks others hold, and the locks of those that
    /// nobody holds. `None`: there is no place for locks.
    fn other_devices(&mut self, ours: &[String]) -> Option<(Vec<Living>, Vec<Self::Lock>)>;
}

/// How a script ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// By itself, with this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// Nobody knows.
    Unknown,
}

impl Ending {
    /// With status 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Status(0)
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "exit status {status}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Unknown => f.write_str("unknown status"),
        }
    }
}

/// Other processes.
pub trait Processes: Store {
    /// A script that runs. It goes on when this is dropped.
    type Script;
    /// What a script prints. It may outlive the script, when that leaves something running in the
    /// background.
    type Output;
    /// A worker that runs. Dropping it kills it.
    type Worker;

    /// Finds out whether the loop has what it needs beside what it is given: for a script or a
    /// worker, for lookups and probes.
    ///
    /// # Errors
    /// What there is too little of.
    fn try_room(&mut self) -> io::Result<()>;

    /// Starts an action script with these arguments and additions to the environment. Its success
    /// is noted in the record, also if imon does not live to see it.
    ///
    /// # Errors
    /// As execve(2).
    fn run_script(
        &mut self,
        path: &str,
        args: &[String],
        env: &[(&'static str, String)],
        record: Option<&Record<Self::File>>,
    ) -> io::Result<(Self::Script, Self::Output)>;

    /// Asks a script and all it started to end.
    fn terminate(&mut self, script: &Self::Script);

    /// Ends a script and all it started.
    fn kill(&mut self, script: &Self::Script);

    /// Whether the script itself has ended.
    fn has_ended(&mut self, script: &Self::Script) -> bool;

    /// How it ended. To be called once it has.
    fn reap(&mut self, script: &mut Self::Script) -> Ending;

    /// Reads what is there: `Some(0)` at its end, `None` when there is nothing now.
    fn read_output(&mut self, output: &mut Self::Output, buffer: &mut [u8]) -> Option<usize>;

    /// Starts a worker. It writes its line to the record as well, where it outlives the daemon.
    ///
    /// # Errors
    /// As fork(2), execve(2), pipe(2).
    fn start_worker(
        &mut self,
        request: &[u8],
        record: Option<&Self::File>,
    ) -> io::Result<Self::Worker>;

    /// A worker's line once that is complete, which is empty if it ended without one. `None`: not
    /// yet.
    fn read_worker(&mut self, worker: &mut Self::Worker) -> Option<Vec<u8>>;
}

/// Sockets of one question or connection each, closed when they are dropped.
pub trait Dialer {
    /// One question's socket, with a port that nobody can predict.
    type Question;
    /// A connection that is opened only to see whether it can be.
    type Opening;

    /// The socket address of a server, of a link-local one with its zone: an interface's name or
    /// number.
    fn server_address(&mut self, address: IpAddr, zone: Option<&str>, port: u16) -> SocketAddr;

    /// Sends a question to a name server, by a WAN's way or by whatever way the kernel chooses.
    ///
    /// # Errors
    /// As socket(2), connect(2), send(2): no route, no permission.
    fn ask(
        &mut self,
        via: Option<&Via>,
        to: SocketAddr,
        packet: &[u8],
    ) -> io::Result<Self::Question>;

    /// Takes one datagram that came from there. `None`: nothing there after all.
    ///
    /// # Errors
    /// As recv(2): port or host unreachable.
    fn receive<'a>(
        &mut self,
        question: &mut Self::Question,
        buffer: &'a mut [u8],
    ) -> io::Result<Option<&'a [u8]>>;

    /// Begins to open a connection, by a WAN's way or by whatever way the kernel chooses.
    ///
    /// # Errors
    /// As socket(2), connect(2): no route, no permission.
    fn connect(&mut self, via: Option<&Via>, to: SocketAddr) -> io::Result<Self::Opening>;

    /// Whether it is open, once it is ready.
    ///
    /// # Errors
    /// Why it is not: refused, unreachable.
    fn opened(&mut self, opening: &Self::Opening) -> io::Result<()>;
}

/// ICMP echo requests and what comes back.
pub trait Pings {
    /// One socket for each family for all targets, and one for each WAN that has a way, closed when
    /// this is dropped.
    type Pinger;

    /// Opens the sockets. A family that the kernel does not have is left out; its targets then fail
    /// with the reason.
    ///
    /// # Errors
    /// When neither raw nor datagram sockets are allowed, or there is no descriptor or memory left
    /// for one.
    fn open_pinger(&mut self, families: Families) -> Result<Self::Pinger, OpenError>;

    /// From now on probes of this WAN go this way; `None`: there is none. Returns whether that is
    /// news.
    ///
    /// # Errors
    /// No socket can be had, or it cannot be bound. It is tried again the next time.
    fn set_lane(
        &mut self,
        pinger: &mut Self::Pinger,
        wan: usize,
        via: Option<&Via>,
    ) -> io::Result<bool>;

    /// Gives sockets the place of older ones. A family that was there already keeps its socket, and
    /// so what is on its way; with `lanes` the WANs get the new ones.
    fn replace_pinger(&mut self, old: &mut Self::Pinger, new: Self::Pinger, lanes: bool);

    /// Sends the echo request of a probe, by a WAN's way or by whatever way the kernel chooses.
    ///
    /// # Errors
    /// As sendto(2): no route, no buffer, forbidden by a firewall. `ENETDOWN`: the WAN has no way
    /// at the moment.
    fn ping(
        &mut self,
        pinger: &mut Self::Pinger,
        wan: Option<usize>,
        to: IpAddr,
        token: &Token,
    ) -> io::Result<()>;

    /// Takes what has arrived: with `many` as much as there is, in a flood only a part of it, else
    /// one message of each socket. `heard` gets the WAN by whose way it came, each message and, for
    /// a reply, its round-trip time.
    fn hear(
        &mut self,
        pinger: &mut Self::Pinger,
        many: bool,
        heard: impl FnMut(Option<usize>, Received, Duration),
    );
}

/// The kernel's network: links, addresses, routes, rules, connections.
pub trait Kernel {
    /// Where requests are made.
    type Requests;
    /// Where news come. From its opening on nothing is missed.
    type Events;
    /// The list of connections as it is gone through.
    type Flush;

    /// # Errors
    /// As socket(2).
    fn open_requests(&mut self) -> io::Result<Self::Requests>;

    /// Opens what tells of links, IPv4 addresses, routes and rules, next hops, and IPv6 routes.
    ///
    /// # Errors
    /// As socket(2), bind(2).
    fn open_news(&mut self) -> io::Result<Self::Events>;

    /// Opens what tells of addresses and routes only, of both families.
    ///
    /// # Errors
    /// As socket(2), bind(2).
    fn open_address_news(&mut self) -> io::Result<Self::Events>;

    /// Takes what has arrived, in a flood only a part of it.
    fn news(&mut self, events: &mut Self::Events, heard: impl FnMut(Message)) -> Delivery;

    /// Tries whether this process may change anything, with a change that is none.
    ///
    /// # Errors
    /// `EPERM`, or what there is too little of at the moment.
    fn try_out(
        &mut self,
        requests: &mut Self::Requests,
        nothing: &Change,
    ) -> Result<(), ChangeRefused>;

    /// Makes a change. What is already so is no error: a rule that is there, a route or rule that
    /// is not there any more.
    ///
    /// # Errors
    /// The kernel's.
    fn make(&mut self, requests: &mut Self::Requests, change: &Change)
    -> Result<(), ChangeRefused>;

    /// Looks at everything, in place of what `picture` has.
    ///
    /// # Errors
    /// The kernel's.
    fn look(
        &mut self,
        requests: &mut Self::Requests,
        picture: &mut Picture,
    ) -> Result<(), ChangeRefused>;

    /// All rules, in the order in which they are tried.
    ///
    /// # Errors
    /// The kernel's.
    fn rules(&mut self, requests: &mut Self::Requests) -> Result<Vec<Rule>, ChangeRefused>;

    /// The routes of others in the table main that lead to some hosts or networks over this
    /// interface: the first `most`, and how many there are. `picture` knows the next-hop objects.
    ///
    /// # Errors
    /// The kernel's.
    fn routes_over(
        &mut self,
        requests: &mut Self::Requests,
        picture: &Picture,
        link: &Link,
        most: usize,
    ) -> Result<(Vec<Route>, usize), ChangeRefused>;

    /// An interface as it is now. `None`: there is none of this number.
    ///
    /// # Errors
    /// The kernel's.
    fn link(
        &mut self,
        requests: &mut Self::Requests,
        index: u32,
    ) -> Result<Option<Link>, ChangeRefused>;

    /// The route that packets to this address take now, with the table that it is in. Sends
    /// nothing.
    ///
    /// # Errors
    /// The kernel's: no route.
    fn way(&mut self, requests: &mut Self::Requests, to: Ipv4Addr) -> Result<Route, ChangeRefused>;

    /// Forgets a neighbour's link address, if one is known or being asked for: it is asked for
    /// again at once.
    ///
    /// # Errors
    /// The kernel's. That nothing was known is none.
    fn forget_neighbour(
        &mut self,
        requests: &mut Self::Requests,
        index: u32,
        neighbour: Ipv4Addr,
    ) -> Result<(), ChangeRefused>;

    /// Begins to forget the connections that are translated to this address. `None`: the kernel
    /// follows none.
    ///
    /// # Errors
    /// As socket(2): the kernel has nothing for this, or no permission.
    fn flush(&mut self, address: Ipv4Addr) -> io::Result<Option<Self::Flush>>;

    /// Goes on with what has arrived of the list. `Some`: it is over, well or with the kernel's
    /// error.
    fn proceed(&mut self, flush: &mut Self::Flush) -> Option<io::Result<()>>;
}

/// The world.
pub trait World: Log + Store + Processes + Dialer + Pings + Kernel {
    /// The monotonic clock: never steps, stands still while the machine is suspended.
    fn now(&self) -> Instant;

    /// Both clocks.
    fn clock(&self) -> Clock;

    /// How long the machine has been suspended since boot.
    fn suspended(&self) -> Duration;

    /// A number that nobody can predict.
    fn random(&mut self) -> u64;

    /// An error in words. Where this process is short of descriptors or memory, what mends that is
    /// added.
    fn in_words(e: &io::Error) -> String;

    /// The same for something that could not be had at all, a process or a socket: what else may be
    /// lacking for that is named as well.
    fn shortage_in_words(e: &io::Error) -> String;

    /// Begins another list of what is waited for, with nothing in it.
    fn watch_nothing(&mut self);

    /// Adds to that list. Several sources may have one name.
    fn watch(&mut self, name: Waited, source: WaitSource<'_, Self>);

    /// Waits for anything in the list, at most until the moment given. Who is woken too early waits
    /// again. The list stays.
    ///
    /// # Errors
    /// When waiting itself fails, which nothing sensible can follow.
    fn wait(&mut self, until: Option<Instant>) -> io::Result<()>;

    /// Whether there was something from a source of this name when [`World::wait`] came back.
    fn is_ready(&self, name: Waited) -> bool;

    /// Whether there was something from a source of any other name.
    fn is_ready_besides(&self, name: Waited) -> bool;

    /// Whether a signal has arrived, also if nothing in the list said so.
    fn has_signal(&self) -> bool;

    /// Takes the signals that have arrived.
    fn take_signals(&mut self) -> Arrived;

    /// All addresses of all interfaces.
    fn own_addresses(&mut self) -> Vec<IpAddr>;

    /// The number of this process.
    fn pid(&self) -> u32;

    /// Tells the service manager a state, `READY=1` for instance.
    fn notify(&mut self, state: &str);

    /// How often the service manager's watchdog wants to be fed at least, if at all.
    fn watchdog(&self) -> Option<Duration>;

    /// What only the start needed is needed no more.
    fn has_begun(&mut self);

    /// The last thing: what waits for the log gets a moment more, and the instance's lock is given
    /// up.
    fn end(&mut self);
}

/// Number, time of the last change (seconds and nanoseconds) and length of a file; `None`: there is
/// none.
pub type FileStamp = Option<(u64, i64, i64, u64)>;

/// What arrived since the last look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Arrived {
    /// SIGTERM, SIGINT or SIGQUIT (Ctrl-\\).
    pub stop: bool,
    /// SIGHUP.
    pub reload: bool,
    /// SIGUSR1.
    pub check_now: bool,
    /// SIGCHLD.
    pub child: bool,
}

/// Why the kernel did not make a change: `Network is unreachable (Nexthop has invalid gateway)`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChangeRefused {
    /// Its `errno`.
    pub errno: i32,
    /// Its own words, where it has some.
    pub words: Option<String>,
}

impl ChangeRefused {
    /// Why, for a person.
    #[must_use]
    pub fn in_words<W: World>(&self) -> String {
        let text = W::in_words(&io::Error::from_raw_os_error(self.errno));
        match &self.words {
            Some(words) => format!("{text} ({words})"),
            None => text,
        }
    }
}

impl From<io::Error> for ChangeRefused {
    fn from(e: io::Error) -> Self {
        Self { errno: e.raw_os_error().unwrap_or(libc::EIO), words: None }
    }
}

/// How the news came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// All of it, or there is more to come.
    Complete,
    /// More than there was room for: some is lost, look at everything again.
    Overrun,
}

/// Why no echo request can be sent.
#[derive(Debug)]
pub struct OpenError {
    /// The raw socket's error.
    pub raw: io::Error,
    /// The datagram socket's error.
    pub datagram: io::Error,
}
