//! The loop: one thread, one wait. It brings the monitors what was seen, carries out what they
//! want, and decides nothing itself. All that it has of the machine is a [`World`].

mod complaint;
mod ddns;
mod dns_client;
mod effects;
mod host_table;
mod input;
mod leftovers;
mod merged;
mod monitors;
mod network;
mod probe_socket;
mod reload;
mod restores;
pub mod scripts;
mod status;
mod stopping;
mod waiting;
mod web;
pub mod world;
mod writer;

use std::time::Duration;

use crate::base::time::{Instant, Wall};
use crate::config::Config;
use crate::config::source::ConfigSource;
use crate::engine::scripts::Actions;
use crate::event::{Monitor, Severity};
use crate::monitor::{Effect, Observation};
use crate::wire::icmp::Received;
use dns_client::Questions;
pub use effects::environment;
use host_table::Hosts;
use merged::Merged;
use monitors::Monitors;
use network::Network;
use probe_socket::Contacts;
use reload::Prepared;
pub use reload::StartRefused;
use status::StatusFile;
use waiting::Quiet;
use web::Web;
use world::{Waited, World};
use writer::Writing;

/// What the program brings to the loop.
pub struct Start<W> {
    /// The world.
    pub world: W,
    /// Where the configuration came from, for reloading it.
    pub source: ConfigSource,
    /// What it says.
    pub config: Config,
    /// As [`crate::config::source::Loaded::print`].
    pub print: u64,
    /// `$1` of scripts.
    pub instance: String,
}

/// The running program.
pub struct Daemon<W: World> {
    world: W,
    source: ConfigSource,
    instance: String,
    monitors: Monitors,
    hosts: Hosts,
    questions: Questions<W>,
    pinger: W::Pinger,
    contacts: Contacts<W>,
    network: Option<Network<W>>,
    web: Option<Web<W>>,
    writing: Writing<W>,
    actions: Actions<W>,
    /// Events beyond V2.99's that call the script.
    requested: Vec<&'static str>,
    effects: Vec<Effect>,
    heard: Vec<(Option<usize>, Received, Duration)>,
    started: Wall,
    suspended: Duration,
    status: StatusFile,
    /// When the watchdog is to be fed.
    feed: Option<Instant>,
    phase: Phase,
    bulk: bool,
    quiet: Option<Quiet>,
    /// The name server's private address has been warned about.
    warned_of_server: bool,
    /// Tells the configuration, and the files it names, from others.
    print: u64,
    /// What is in force.
    config: Config,
    /// The network of an earlier configuration, as long as the kernel does not let all of it go,
    leaving: Option<Network<W>>,
    /// and when that is tried again.
    leave_again: Option<Instant>,
    reloads: Merged,
    checks: Merged,
}

/// What hearing leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Nothing but waiting again.
    Wait,
    /// A whole turn of the loop.
    Turn,
}

/// How far it has come.
#[derive(Clone, Copy)]
enum Phase {
    Running,
    /// What runs may go on until then.
    Stopping {
        until: Instant,
    },
    /// Nothing more is to come. What is to be written may take until then.
    Closing {
        until: Instant,
    },
    Over,
}

impl<W: World> Daemon<W> {
    /// Opens the sockets and makes the monitors.
    ///
    /// # Errors
    /// When something is missing that nothing works without. The world comes back, to say so.
    pub fn new(start: Start<W>) -> Result<Self, Box<(StartRefused, W)>> {
        let Start { mut world, source, config, print, instance } = start;
        let now = world.now();
        let prepared = Prepared::new(None, false, &config, &instance, &mut world, now);
        let Prepared { mut network, pinger, files, mut web } = match prepared {
            Ok(prepared) => prepared,
            Err(why) => return Err(Box::new((why, world))),
        };
        // From here on nothing can fail.
        if let Some(network) = &mut network {
            network.begin(None, &mut world, now);
        }
        let mut hosts = Hosts::new(world.random());
        let mut monitors =
            Monitors::new(&mut world, &config, network.as_ref(), &mut hosts, &|_| false, now);
        monitors.begin(&mut hosts, files, now);
        if let (Some(ddns), Some(web)) = (&mut monitors.ddns, &mut web) {
            ddns.restore(web.load(&mut world), world.clock());
        }
        let mut writing = Writing::new();
        if let Some(web) = &mut web {
            web.prepare_state(&mut writing, &mut world);
        }
        let (started, suspended, watchdog) =
            (world.clock().wall, world.suspended(), world.watchdog());
        let mut daemon = Self {
            world,
            source,
            instance,
            monitors,
            hosts,
            questions: Questions::new(),
            pinger,
            contacts: Contacts::new(),
            network,
            web,
            writing,
            actions: Actions::new(),
            requested: Vec::new(),
            effects: Vec::new(),
            heard: Vec::new(),
            started,
            suspended,
            status: StatusFile::default(),
            feed: watchdog.map(|_| now),
            phase: Phase::Running,
            bulk: false,
            quiet: None,
            warned_of_server: false,
            print,
            config: config.clone(),
            leaving: None,
            leave_again: None,
            reloads: Merged::default(),
            checks: Merged::default(),
        };
        daemon.settle(&config);
        Ok(daemon)
    }

    /// Runs until SIGTERM or SIGINT.
    ///
    /// # Errors
    /// When waiting itself fails, which nothing sensible can follow.
    pub fn run(&mut self) -> std::io::Result<()> {
        self.announce();
        self.meet_network(self.world.now());
        self.tell_ways(self.world.now());
        self.world.notify("READY=1");
        self.world.has_begun();
        loop {
            self.turn(self.world.now());
            if matches!(self.phase, Phase::Over) {
                break;
            }
            loop {
                let until = self.wake_at();
                match self.wait(until) {
                    Ok(()) => {}
                    Err(e) if matches!(self.phase, Phase::Running) => return Err(e),
                    Err(_) => {
                        self.end();
                        return Ok(());
                    }
                }
                let now = self.world.now();
                // What is due is not put off, also when replies come without end.
                if self.hear(now) == Next::Turn || until.is_some_and(|until| until <= now) {
                    break;
                }
            }
        }
        self.end();
        Ok(())
    }

    /// The world it has run in.
    pub fn into_world(self) -> W {
        self.world
    }

    /// Does all that is due.
    fn turn(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Running) {
            return self.wind_up(now);
        }
        self.notice_suspend(now);
        if self.quiet.is_some_and(|quiet| quiet.until.is_none_or(|at| now < at)) {
            self.tell(now, &Observation::Tick, None);
            self.perform(now);
            if self.quiet.is_some() {
                return;
            }
        }
        self.obey(now);
        if self.leave_again.is_some_and(|at| at <= now) {
            self.leave(now);
        }
        if self.network.as_mut().is_some_and(|network| network.tick(now, &mut self.world)) {
            self.tell_links(now);
        }
        self.keep_network(now);
        self.contacts.tick(now);
        // What nobody waits for any more is closed before new questions are asked.
        self.questions.tick(now, &mut self.hosts, &mut self.world);
        self.hosts.tick(now, &mut self.questions, &mut self.world);
        self.release(now);
        self.tell(now, &Observation::Tick, None);
        self.perform(now);
        self.actions.tick(now, &mut self.world);
        self.keep_web(now);
        self.write_status(now);
        self.keep_writing(now);
        self.feed_watchdog(now);
        self.world.flush_log();
        self.quiet = self.rest();
    }

    /// Takes in everything that has arrived.
    fn hear(&mut self, now: Instant) -> Next {
        let signals = self.world.is_ready(Waited::Signals) || self.world.has_signal();
        let runs = matches!(self.phase, Phase::Running);
        if runs {
            let others = signals || self.world.is_ready_besides(Waited::Pings);
            if self.bulk {
                self.hear_pings(now);
            } else if self.world.is_ready(Waited::Pings) {
                self.hear_pings(now);
                // Every second wake-up is that of a reply, from which nothing follows but a new
                // time for the next one.
                if self.effects.is_empty() && !others {
                    return Next::Wait;
                }
            }
            if self.quiet.is_some() && !others {
                return Next::Turn;
            }
            self.quiet = None;
            self.hear_network(now);
            self.hear_answers(now);
        }
        if self.web.as_mut().is_some_and(|web| web.after(&mut self.world)) && runs {
            self.tell(now, &Observation::Moved, Some(Monitor::Ddns));
        }
        if self.world.is_ready(Waited::Writer) {
            self.writing.after(now, &mut self.world);
        }
        self.actions.after(&mut self.world);
        if !signals {
            return Next::Turn;
        }
        let arrived = self.world.take_signals();
        if !runs {
            return Next::Turn;
        }
        if arrived.child {
            self.actions.reap(&mut self.world);
        }
        if arrived.reload {
            self.reloads.want(now);
        }
        if arrived.check_now {
            self.checks.want(now);
        }
        self.obey(now);
        if arrived.stop {
            self.stop(now);
        }
        Next::Turn
    }

    /// Does what signals have asked for, of each kind at most once a second: a storm of them is
    /// one.
    fn obey(&mut self, now: Instant) {
        if self.reloads.take(now) {
            self.reload(now);
        }
        if self.checks.take(now) {
            self.world.log(Severity::Info, None, format_args!("Checking now (SIGUSR1)"));
            self.status.changed = true;
            self.tell(now, &Observation::CheckNow, None);
        }
    }
}
