//! The loop: one thread, one wait. It brings the monitors what was seen, carries out what they want, and decides
//! nothing itself. All that it has of the machine is a [`World`].

mod complaint;
mod ddns;
mod dns_client;
mod host_table;
mod leftovers;
mod network;
mod probe_socket;
mod restores;
pub mod scripts;
mod web;
pub mod world;
mod writer;

use crate::addr::scope;
use std::rc::Rc;
use std::time::Duration;

use crate::engine::scripts::{Actions, Job, LAST_GRACE, Ticket};
use crate::config;
use crate::config::{Config, Timing};
use crate::event::{Event, Monitor, Severity, What};
use crate::config::source::Source;
use crate::monitor::ddns::Ddns;
use crate::monitor::failover::choice::Condition;
use crate::monitor::failover;
use crate::monitor::failover::Failover;
use crate::monitor::ping::Ping;
use crate::monitor::updown;
use crate::monitor::updown::Updown;
use crate::monitor::{Effect, Progress, Seen};
use crate::probe::{Owner, ProbeId, Reason};
use crate::snapshot;
use crate::snapshot::Sources;
use crate::engine::world::OpenError;
use crate::base::time::{Clock, Instant, Wall};
use crate::wire::icmp::{Heard, Token};
use dns_client::Questions;
use probe_socket::Contacts;
use host_table::{Files, Hosts, Needs, Way};
use network::{Network, Unable};
use web::Web;
use world::{FileJob, Waited, World};
use writer::Writing;

/// The status is written at most this often after a change of state,
const STATUS_CHANGED: Duration = Duration::from_secs(1);
/// and for the numbers' sake not sooner than this (with one probe a second, every 10 s was 8 % of all processor time),
const STATUS_NUMBERS: Duration = Duration::from_secs(30);
/// but at a wake-up that comes anyway, if one comes until then.
const STATUS_AT_LAST: Duration = Duration::from_secs(40);
/// A jump of the time spent suspended that is one: the two clocks are not read at the same instant.
const SUSPENDED: Duration = Duration::from_millis(500);
/// What the kernel does not let go of an earlier configuration's routes and rules is tried again after this.
const LEAVE_AGAIN: Duration = Duration::from_secs(1);
/// At the end what is still to be written is waited for this long.
const WRITING: Duration = Duration::from_secs(2);
/// Signals of a kind are obeyed at most this often.
const MERGED: Duration = Duration::from_secs(1);
/// From this many probes a second on, replies are collected for a few milliseconds instead of waking for each.
const BULK_RATE: f64 = 200.0;

/// What the program brings to the loop.
pub struct Start<W> {
    /// The world.
    pub world: W,
    /// Where the configuration came from, for reloading it.
    pub source: Source,
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
    source: Source,
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
    heard: Vec<(Option<usize>, Heard, Duration)>,
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

/// All that a configuration needs of the system and that can fail, had before anything is changed.
struct Prepared<W: World> {
    /// Unless the one there is will do.
    network: Option<Network<W>>,
    pinger: W::Pinger,
    files: Option<Files>,
    /// Unless there is one.
    web: Option<Web<W>>,
}

/// What a signal asks for.
#[derive(Default)]
struct Merged {
    done: Option<Instant>,
    due: Option<Instant>,
}

impl Merged {
    /// Somebody asks: now, or a second after the last time.
    fn want(&mut self, now: Instant) {
        self.due = Some(self.done.map_or(now, |done| now.max(done + MERGED)));
    }

    fn take(&mut self, now: Instant) -> bool {
        let due = self.due.take_if(|due| *due <= now).is_some();
        if due {
            self.done = Some(now);
        }
        due
    }
}

#[derive(Default)]
struct Monitors {
    ddns: Option<Ddns>,
    updown: Option<Updown>,
    failover: Option<Failover>,
    ping: Option<Ping>,
}

/// Why imon cannot run.
pub enum Refused {
    /// No ICMP echo request may be sent.
    Ping(OpenError),
    /// Routes may not be changed.
    Routes,
    /// Another instance switches the routes over this interface.
    Device(String),
    /// The kernel's network cannot be looked at.
    Netlink(String),
    /// This cannot be had from the system.
    Short(&'static str, std::io::Error),
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

/// Nobody but the monitors has anything to do, as long as nothing but replies arrives. Between two probes a small
/// processor's caches forget the code: what need not run costs more than it seems.
#[derive(Clone, Copy)]
struct Quiet {
    /// Until then, if not for ever.
    until: Option<Instant>,
    /// When to wake up for the others.
    wake: Option<Instant>,
    /// The list of descriptors is made, and stays as it is.
    listed: bool,
}

#[derive(Default)]
struct StatusFile {
    content: Vec<u8>,
    written: Option<Instant>,
    /// A state has changed since.
    changed: bool,
    /// Numbers may have changed since.
    stale: bool,
}

impl<W: World> Daemon<W> {
    /// Opens the sockets and makes the monitors.
    ///
    /// # Errors
    /// When something is missing that nothing works without. The world comes back, to say so.
    pub fn new(start: Start<W>) -> Result<Self, Box<(Refused, W)>> {
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
        let mut monitors = Monitors::new(&mut world, &config, network.as_ref(), &mut hosts, &|_| false, now);
        monitors.begin(&mut hosts, files, now);
        if let (Some(ddns), Some(web)) = (&mut monitors.ddns, &mut web) {
            ddns.restore(web.load(&mut world), world.clock());
        }
        let mut writing = Writing::new();
        if let Some(web) = &mut web {
            web.prepare_state(&mut writing, &mut world);
        }
        let (started, suspended, watchdog) = (world.clock().wall, world.suspended(), world.watchdog());
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
            self.tell(now, &Seen::Tick, None);
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
        self.tell(now, &Seen::Tick, None);
        self.perform(now);
        self.actions.tick(now, &mut self.world);
        self.keep_web(now);
        self.write_status(now);
        self.keep_writing(now);
        self.feed_watchdog(now);
        self.world.flush_log();
        self.quiet = self.rest();
    }

    /// Whether the others are at rest, and until when.
    fn rest(&self) -> Option<Quiet> {
        let asks = self.questions.poll_at().is_some() || !self.contacts.is_empty();
        let web = self.web.as_ref().is_some_and(|web| !web.is_at_rest());
        if self.actions.load() != (0, 0) || asks || web || !self.writing.is_at_rest() || self.world.has_unlogged() {
            return None;
        }
        let wake = self.others_wake_at();
        let status = self.world.status_file().and_then(|_| self.status.due());
        Some(Quiet { until: [wake, status].into_iter().flatten().min(), wake, listed: false })
    }

    /// When somebody else than the monitors wants to be woken.
    fn others_wake_at(&self) -> Option<Instant> {
        let network = self.network.as_ref().and_then(Network::poll_at);
        let (hosts, questions, actions) = (self.hosts.poll_at(), self.questions.poll_at(), self.actions.poll_at());
        let web = self.web.as_ref().and_then(Web::poll_at);
        let signals = [self.reloads.due, self.checks.due].into_iter().flatten().min();
        let (contacts, writing) = (self.contacts.poll_at(), self.writing.poll_at());
        let at = [hosts, questions, actions, network, web, contacts, writing, self.feed, signals, self.leave_again];
        at.into_iter().flatten().min()
    }

    /// What follows from a configuration, new or reloaded, once its monitors exist.
    fn settle(&mut self, config: &Config) {
        let targets = config.ping.as_ref().map_or(0, |p| p.targets.len());
        let script = config.global.action.as_ref().map(|a| a.value.clone());
        self.requested.clone_from(&config.global.events);
        self.actions.configure(script, &self.instance, config.global.action_timeout, targets);
        self.world.configure_log(&self.instance, &config.global.datefmt, config.monitors() > 1);
        let rate = |timing: &Timing, n: usize| {
            n as f64 * f64::from(timing.pingcount) / timing.interval.as_secs_f64().max(0.001)
        };
        self.bulk = config.ping.as_ref().is_some_and(|p| rate(&p.timing, p.targets.len()) >= BULK_RATE);
        // Now, and not in the middle of the first burst that is larger than those before.
        if self.bulk {
            self.effects.reserve(targets * 2);
            self.heard.reserve(targets);
        }
    }

    fn announce(&mut self) {
        if self.monitors.ddns.is_some() {
            self.world.log(Severity::Info, Some(Monitor::Ddns), format_args!("Start External IP Address tracking"));
        }
        if let Some(updown) = &self.monitors.updown {
            let text = format_args!("Start Updown Monitor for IP Address {}", updown.target().1);
            self.world.log(Severity::Info, Some(Monitor::Updown), text);
        }
        if self.monitors.failover.is_some() {
            self.world.log(Severity::Info, Some(Monitor::Failover), format_args!("Start Network Failover Monitor"));
        }
        if self.monitors.ping.is_some() {
            self.world.log(Severity::Info, Some(Monitor::Ping), format_args!("Start Ping Monitor"));
        }
    }

    /// Gives an observation to the monitor of this host, or to all.
    fn tell(&mut self, now: Instant, seen: &Seen<'_>, only: Option<Monitor>) {
        self.status.stale |= !matches!(seen, Seen::Tick);
        self.monitors.on(now, seen, only, &mut self.effects);
    }

    /// Carries out what the monitors want. That may make them want more: a probe that cannot be sent is lost at once.
    fn perform(&mut self, now: Instant) {
        let mut at = 0;
        while let Some(effect) = self.effects.get_mut(at) {
            // Taken out: a copy of an event is a dozen texts. What is left in its place is not looked at.
            let effect = std::mem::replace(effect, Effect::Save);
            at += 1;
            if !matches!(effect, Effect::Probe(_)) {
                self.quiet = None;
            }
            match effect {
                Effect::Probe(id) => self.probe(id),
                Effect::Ask(id, name) => {
                    self.warn_of_private_server(id.server);
                    self.questions.opinion(now, id, &name, &self.hosts, &mut self.world);
                }
                Effect::Refresh(owner) => self.hosts.refresh(owner, now),
                Effect::Route(wan) => {
                    let lead = |network: &mut Network<W>| network.lead(wan, &mut self.world);
                    let result = self.network.as_mut().map_or_else(|| Err("there is no network".into()), lead);
                    let seen = Seen::Routed { wan, result };
                    self.monitors.on(now, &seen, Some(Monitor::Failover), &mut self.effects);
                    self.tell_ways(now);
                }
                Effect::Detour(wan) => {
                    if let Some(network) = &mut self.network {
                        network.detour(wan, &mut self.world);
                    }
                }
                Effect::Resolve(wan) => {
                    if let Some(network) = &mut self.network {
                        network.forget_gateway(wan, &mut self.world);
                    }
                }
                Effect::Emit(event) => {
                    self.emit(&event);
                    if event.monitor == Monitor::Failover {
                        self.tell_ways(now);
                    }
                }
                Effect::Lookup(id) => self.look_up(id),
                Effect::Publish(publication) => {
                    let bound = self.bound(&publication.wan, publication.address.is_ipv4());
                    if let Some(web) = &mut self.web {
                        web.publish(now, *publication, bound);
                    }
                }
                Effect::Save => self.save(),
            }
            while let Some((id, answer)) = self.questions.failed() {
                let seen = Seen::Answer { id, answer: &answer, own: &[] };
                self.monitors.on(now, &seen, Some(Monitor::Updown), &mut self.effects);
            }
        }
        self.effects.clear();
    }

    /// A private address of the name server is warned about when the configuration is read; behind a name it shows
    /// only now.
    fn warn_of_private_server(&mut self, server: Owner) {
        let Some(name) = self.hosts.name(server).filter(|_| !self.warned_of_server) else { return };
        let Some(address) = self.hosts.address(server).ok().filter(|a| scope::is_private(*a)) else { return };
        self.warned_of_server = true;
        let text = format_args!(
            "Warning: dnsserver {name} is {address}, in your own network: it answers from its cache and cannot tell \
             whether the internet works"
        );
        self.world.log(Severity::Warning, Some(Monitor::Updown), text);
    }

    fn probe(&mut self, id: ProbeId) {
        let sent = self.world.now();
        let token = Token { owner: id.owner, check: id.check, index: id.index, sent };
        let way = self.hosts.way(id.owner);
        let mut to = self.hosts.address(id.owner);
        let mut probe = way.map_or(failover::Probe::Echo, |way| way.probe);
        if let Some(Way { wan, judges: true, .. }) = way {
            // A name that has no IPv4 address, or none yet.
            let stand_in = self.hosts.gateway(wan).filter(|_| !to.as_ref().is_ok_and(|to| to.is_ipv4()));
            if let Some(gateway) = stand_in {
                (to, probe) = (Ok(gateway.into()), failover::Probe::Echo);
            }
        }
        let reason = match to {
            Ok(to) => {
                let wan = way.map(|way| way.wan);
                let result = match (probe, wan) {
                    (failover::Probe::Echo, Some(wan)) => self.ping_by(wan, to, &token),
                    (_, None) => self.world.ping(&mut self.pinger, None, to, &token),
                    (probe, Some(wan)) => match self.network.as_ref().and_then(|network| network.via(wan)) {
                        Some(via) => {
                            // There is one more descriptor to wait for.
                            self.quiet = None;
                            self.contacts.send(id, probe, &via, to, sent, &mut self.world)
                        }
                        None => Err(std::io::ErrorKind::NetworkDown.into()),
                    },
                };
                match result.map_err(|e| (e.raw_os_error(), e)) {
                    Ok(()) => return,
                    Err((Some(errno), _)) => Reason::Send(errno),
                    Err((None, e)) => Reason::Unresolved(e.to_string().into()),
                }
            }
            Err(why) => Reason::Unresolved(why),
        };
        let monitor = self.hosts.monitor(id.owner);
        self.tell(sent, &Seen::Lost(id, reason), monitor);
    }

    /// Pings by the way of a WAN, whose socket may not have been to be had the last time.
    fn ping_by(&mut self, wan: usize, to: std::net::IpAddr, token: &Token) -> std::io::Result<()> {
        let result = self.world.ping(&mut self.pinger, Some(wan), to, token);
        let via = self.network.as_ref().filter(|_| result.is_err()).and_then(|network| network.via(wan));
        match via {
            Some(via) if self.world.set_lane(&mut self.pinger, wan, Some(&via))? => {
                self.quiet = None;
                self.world.ping(&mut self.pinger, Some(wan), to, token)
            }
            _ => result,
        }
    }

    /// Brings what the links are like to whatever depends on it, and to the monitor, which may switch at once.
    fn tell_links(&mut self, now: Instant) {
        let Some(network) = &self.network else { return };
        self.quiet = None;
        for wan in 0..network.states().len() {
            let gateway = network.road(wan).and_then(|road| road.gateway.or(road.peer));
            self.hosts.set_gateway(wan, gateway);
        }
        self.monitors.on(now, &Seen::Links(network.states()), Some(Monitor::Failover), &mut self.effects);
        self.perform(now);
        let Some(network) = &self.network else { return };
        for wan in 0..network.states().len() {
            // Without a socket there is another try with the next probe.
            let _ = self.world.set_lane(&mut self.pinger, wan, network.via(wan).as_ref());
        }
        self.tell_ways(now);
        self.perform(now);
    }

    /// After the kernel has told something, or something was tried in vain: routes and rules are put in order.
    fn keep_network(&mut self, now: Instant) {
        let Some(network) = &mut self.network else { return };
        network.sweep(&mut self.world, now);
        if self.hosts.take_moved() {
            for wan in 0..network.states().len() {
                network.set_targets(wan, self.hosts.probed(wan));
            }
        }
        if let Some(failover) = &self.monitors.failover {
            let down = failover.wans().iter().map(|wan| wan.health.condition() == Condition::Down);
            network.set_down(down, now, &mut self.world);
        }
        if network.keep(now, &mut self.world) {
            self.tell_links(now);
        }
        let Some(network) = &mut self.network else { return };
        while let Some((severity, text)) = network.remark() {
            self.quiet = None;
            self.status.changed = true;
            self.world.log(severity, Some(Monitor::Failover), format_args!("{text}"));
        }
    }

    /// The first look at the links.
    fn meet_network(&mut self, now: Instant) {
        if self.network.is_some() {
            self.keep_network(now);
            self.tell_links(now);
        }
    }

    fn emit(&mut self, event: &Event) {
        let world = &mut self.world;
        event.log(self.actions.has_script(), &mut |severity, line| world.log(severity, Some(event.monitor), line));
        self.status.changed |= match event.what {
            What::PingResult { .. } => self.monitors.ping.as_mut().is_some_and(|p| p.take_changed(event.owner)),
            _ => true,
        };
        if !self.actions.has_script() {
            return;
        }
        // That one is called until it has succeeded, see `Effect::Publish`.
        if !matches!(event.what, What::ExternalChanged { .. }) {
            self.call(event, None);
        }
    }

    /// Calls the action script, if the event has a call.
    fn call(&mut self, event: &Event, ticket: Option<Ticket<W::File>>) {
        let Some(action) = event.call(&self.requested) else { return };
        let clock = self.world.clock();
        let json = event.json(&self.instance, clock, self.hosts.address(event.owner).ok());
        let env = environment(action.name, &self.instance, event, &clock.wall, json);
        self.actions.push(event.monitor, Job { action, env, ticket }, &mut self.world);
    }

    /// Lets monitors begin whose host's name has been looked up for the first time, with whatever result.
    fn release(&mut self, now: Instant) {
        while let Some((owner, monitor)) = self.hosts.take_ready() {
            self.tell(now, &Seen::Ready(owner), Some(monitor));
        }
    }

    fn notice_suspend(&mut self, now: Instant) {
        let suspended = self.world.suspended().max(self.suspended);
        let slept = suspended - self.suspended;
        self.suspended = suspended;
        if slept > SUSPENDED {
            self.quiet = None;
            let secs = slept.as_secs();
            let text =
                format_args!("This system was suspended for {secs} s; checks that were under way are not judged");
            self.world.log(Severity::Notice, None, text);
            self.tell(now, &Seen::Resumed, None);
        }
    }

    /// When something is due.
    fn wake_at(&self) -> Option<Instant> {
        if let Phase::Stopping { until } | Phase::Closing { until } = self.phase {
            return [self.actions.poll_at(), self.writing.poll_at(), Some(until)].into_iter().flatten().min();
        }
        let others = self.quiet.map_or_else(|| self.others_wake_at(), |quiet| quiet.wake);
        let m = &self.monitors;
        let status = self.world.status_file().and_then(|_| self.status.wake_at());
        let (updown, ping) = (m.updown.as_ref().and_then(Updown::poll_at), m.ping.as_ref().and_then(Ping::poll_at));
        let ddns = m.ddns.as_ref().and_then(Ddns::poll_at);
        let at = [updown, ping, m.failover.as_ref().and_then(Failover::poll_at), ddns, status, others];
        at.into_iter().flatten().min()
    }

    fn wait(&mut self, until: Option<Instant>) -> std::io::Result<()> {
        if self.quiet.as_mut().is_some_and(|quiet| std::mem::replace(&mut quiet.listed, true)) {
            return self.world.wait(until);
        }
        self.world.watch_nothing();
        self.world.watch(Waited::Signals, world::Source::Signals);
        if matches!(self.phase, Phase::Running) {
            // Collected replies are taken at each wake-up: none is worth one of its own.
            if self.bulk {
                self.world.watch(Waited::Pings, world::Source::Collected);
            } else {
                self.world.watch(Waited::Pings, world::Source::Pings(&self.pinger));
            }
            if let Some(network) = &self.network {
                network.add_to(&mut self.world);
            }
            self.contacts.add_to(&mut self.world);
            self.questions.add_to(&mut self.world);
            if self.world.has_unlogged() {
                self.world.watch(Waited::Log, world::Source::Log);
            }
        }
        if let Some(web) = &self.web {
            web.add_to(&mut self.world);
        }
        self.actions.add_to(&mut self.world);
        self.writing.add_to(&mut self.world);
        self.world.wait(until)
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
                // Every second wake-up is that of a reply, from which nothing follows but a new time for the next one.
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
            self.tell(now, &Seen::Moved, Some(Monitor::Ddns));
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

    /// Does what signals have asked for, of each kind at most once a second: a storm of them is one.
    fn obey(&mut self, now: Instant) {
        if self.reloads.take(now) {
            self.reload(now);
        }
        if self.checks.take(now) {
            self.world.log(Severity::Info, None, format_args!("Checking now (SIGUSR1)"));
            self.status.changed = true;
            self.tell(now, &Seen::CheckNow, None);
        }
    }

    /// Links first: a switch waits for nothing else.
    fn hear_network(&mut self, now: Instant) {
        if self.network.as_mut().is_some_and(|network| network.hear(now, &mut self.world)) {
            self.tell_links(now);
        }
        self.keep_network(now);
    }

    fn hear_pings(&mut self, now: Instant) {
        let mut heard = std::mem::take(&mut self.heard);
        self.world.hear(&mut self.pinger, self.bulk, |wan, message, rtt| heard.push((wan, message, rtt)));
        let id = |t: &Token| ProbeId { owner: t.owner, check: t.check, index: t.index };
        for (wan, message, rtt) in heard.drain(..) {
            match message {
                Heard::Reply(t) => self.tell(now, &Seen::Reply(id(&t), rtt), self.hosts.monitor(t.owner)),
                Heard::Failed(t, error) => {
                    self.tell(now, &Seen::Lost(id(&t), Reason::Icmp(error)), self.hosts.monitor(t.owner));
                }
                Heard::Hint(to, error) => {
                    for owner in self.hosts.at(to, wan) {
                        self.monitors.on(now, &Seen::Hint(owner, error), self.hosts.monitor(owner), &mut self.effects);
                    }
                }
            }
        }
        self.heard = heard;
    }

    fn hear_answers(&mut self, now: Instant) {
        while let Some((id, result)) = self.contacts.after(&mut self.world, now) {
            let seen = match result {
                Ok(rtt) => Seen::Reply(id, rtt),
                Err(reason) => Seen::Lost(id, reason),
            };
            self.tell(now, &seen, self.hosts.monitor(id.owner));
        }
        self.questions.after(&mut self.world, now, &mut self.hosts);
        let mut own = None;
        while let Some((id, answer)) = self.questions.answered() {
            let own = own.get_or_insert_with(|| self.world.own_addresses());
            self.tell(now, &Seen::Answer { id, answer: &answer, own }, Some(Monitor::Updown));
        }
    }

    /// SIGHUP: takes a new configuration over, or says why not and goes on with the old one.
    fn reload(&mut self, now: Instant) {
        let stamp = format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_nanos() / 1000);
        self.world.notify(&stamp);
        let loaded = self.world.load(&self.source);
        let same = loaded.print == self.print;
        for warning in loaded.warnings.iter().filter(|_| !same) {
            self.world.log(Severity::Warning, None, format_args!("Warning: {warning}"));
        }
        let result = match loaded.config {
            // What is under way goes on: checks, lookups, waits.
            Some(_) if same => Ok(()),
            Some(config) => self.adopt(now, config),
            None => Err(loaded.errors),
        };
        match result {
            Ok(()) => {
                self.print = loaded.print;
                self.world.log(Severity::Notice, None, format_args!("Reloaded {}", self.source.file));
                if same {
                    self.world.log(Severity::Info, None, format_args!("Nothing has changed in it"));
                }
            }
            Err(errors) => {
                for error in errors {
                    self.world.log(Severity::Error, None, format_args!("? {error}"));
                }
                let text = format_args!("{} is not taken over, the old configuration goes on", self.source.file);
                self.world.log(Severity::Error, None, text);
            }
        }
        self.world.notify("READY=1");
    }

    /// Takes another configuration over. Everything that can fail comes first and changes nothing: with an error all is as
    /// it was.
    fn adopt(&mut self, now: Instant, config: Config) -> Result<(), Vec<String>> {
        let instance = self.source.instance.clone().unwrap_or_else(|| self.source.name(Some(&config)));
        let has_web = self.web.is_some() && instance == self.instance;
        let prepared = Prepared::new(self.network.as_ref(), has_web, &config, &instance, &mut self.world, now)
            .map_err(|why| vec![why.in_words::<W>()])?;
        // From here on nothing can fail. What the old monitors have just found out is still to be told.
        self.perform(now);
        self.take_over(now, &config, instance, prepared);
        Ok(())
    }

    /// Puts a configuration in the place of the one there is. What its settings leave as it was goes on, what is under
    /// way included.
    fn take_over(&mut self, now: Instant, config: &Config, instance: String, prepared: Prepared<W>) {
        let Prepared { network, pinger, files, web } = prepared;
        let is_new_network = network.is_some();
        let before = std::mem::replace(&mut self.config, config.clone());
        let worn = self.hosts.is_worn();
        let kept = |monitor| match monitor {
            _ if worn => false,
            Monitor::Updown => config.updown == before.updown,
            Monitor::Ping => config.ping == before.ping,
            Monitor::Failover => config.failover == before.failover && !is_new_network,
            Monitor::Ddns => false,
        };
        self.put_network(network, config, &instance, now);
        self.world.replace_pinger(&mut self.pinger, pinger, is_new_network);
        self.hosts.keep(kept);
        let mut monitors = Monitors::new(&mut self.world, config, self.network.as_ref(), &mut self.hosts, &kept, now);
        monitors.begin(&mut self.hosts, files, now);
        let hosts = &self.hosts;
        self.contacts.keep(|owner| hosts.monitor(owner).is_some());
        self.questions.keep_opinions(|server| hosts.monitor(server).is_some());
        let target = |config: &Config| config.updown.as_ref().map(|u| Rc::clone(u.target.text()));
        let which =
            |config: &Config| (config.ddns.is_some(), target(config), config.failover.is_some(), config.ping.is_some());
        let asks_on = monitors.inherit(std::mem::take(&mut self.monitors), &kept, now, self.world.clock());
        self.monitors = monitors;
        self.adopt_ddns(config, web, asks_on);
        self.instance = instance;
        self.settle(config);
        if which(config) != which(&before) {
            self.announce();
        }
        if !kept(Monitor::Failover) {
            self.meet_network(now);
        }
        self.tell_ways(now);
        self.warned_of_server &= kept(Monitor::Updown);
        self.status.changed = true;
    }

    /// Routes and rules of another configuration in place of those there are.
    fn put_network(&mut self, new: Option<Network<W>>, config: &Config, instance: &str, now: Instant) {
        match (&config.failover, new) {
            (Some(_), Some(mut new)) => {
                let mut old = self.network.take();
                new.begin(old.as_mut(), &mut self.world, now);
                (self.network, self.leaving) = (Some(new), old);
            }
            (Some(settings), None) => {
                if let Some(network) = &mut self.network {
                    network.adopt(instance, settings);
                }
            }
            (None, _) => self.leaving = self.network.take().or(self.leaving.take()),
        }
        self.leave(now);
    }

    /// Takes away what only an earlier configuration's network has left. What the kernel does not let go is tried again.
    fn leave(&mut self, now: Instant) {
        let Some(old) = &mut self.leaving else { return };
        let gone = match &self.network {
            Some(network) => old.leave_but(false, &network.shared(), &mut self.world),
            None => old.leave_at_exit(&mut self.world),
        };
        self.leave_again = (!gone).then_some(now + LEAVE_AGAIN);
        if gone {
            self.leaving = None;
        }
    }

    fn write_status(&mut self, now: Instant) {
        if self.world.status_file().is_none() {
            return;
        }
        self.status.changed |= self.monitors.updown.as_mut().is_some_and(Updown::take_changed);
        self.status.changed |= self.monitors.failover.as_mut().is_some_and(Failover::take_changed);
        self.status.changed |= self.monitors.ddns.as_mut().is_some_and(Ddns::take_changed);
        if self.status.due().is_some_and(|due| due > now) {
            return;
        }
        let (waiting, running) = self.actions.load();
        let sources = Sources {
            instance: &self.instance,
            pid: self.world.pid(),
            started: self.started,
            clock: self.world.clock(),
            address: &|owner| self.hosts.address(owner).ok(),
            ddns: self.monitors.ddns.as_ref(),
            updown: self.monitors.updown.as_ref(),
            failover: self.monitors.failover.as_ref(),
            kernel: self.network.as_ref().map(|network| snapshot::Kernel {
                default_route: network.default_route(),
                outranked: network.outranked(),
                refusals: network.refusals(),
                beside: network.beside(),
            }),
            ping: self.monitors.ping.as_ref(),
            actions: (waiting, running, self.actions.failed),
        };
        snapshot::write(&sources, &mut self.status.content);
        // Numbers get longer: room for that is made once, at the first.
        let length = self.status.content.len();
        if self.status.content.capacity() < length + length / 8 {
            self.status.content.reserve(length / 2);
        }
        self.status.written = Some(now);
        (self.status.changed, self.status.stale) = (false, false);
        if let Some(path) = self.world.status_file() {
            self.writing.push(FileJob::Replace(path.to_owned(), self.status.content.clone()));
        }
    }

    /// Has written what is to be, and brings what came of it to whoever waits for that.
    fn keep_writing(&mut self, now: Instant) {
        while let Some((ticket, done)) = self.writing.done() {
            if let Some(web) = &mut self.web {
                web.written(ticket, done);
            }
        }
        self.writing.tick(now, &mut self.world);
        while let Some(text) = self.writing.remark() {
            self.world.log(Severity::Warning, None, format_args!("{text}"));
        }
    }

    /// Feeds the watchdog, but only while every monitor makes progress: a monitor that stands still is worth a restart.
    fn feed_watchdog(&mut self, now: Instant) {
        let Some(every) = self.world.watchdog() else { return };
        if self.feed.is_some_and(|at| at <= now) {
            self.feed = Some(now + every / 3);
            if self.monitors.keep_up(now) {
                self.world.notify("WATCHDOG=1");
            }
        }
    }

    /// Begins to end: what runs is asked to end, so that no child is left.
    fn stop(&mut self, now: Instant) {
        self.world.notify("STOPPING=1");
        // What was seen together with the signal is still told.
        self.perform(now);
        if let Some(network) = &mut self.network
            && !network.leave_at_exit(&mut self.world)
        {
            let text = format_args!("Stopping: the kernel does not let go of all routes and rules of imon");
            self.world.log(Severity::Error, Some(Monitor::Failover), text);
        }
        self.leave(now);
        self.actions.stop(now, &mut self.world);
        if let Some(web) = &mut self.web {
            web.stop();
        }
        self.phase = Phase::Stopping { until: now + LAST_GRACE + Duration::from_millis(500) };
    }

    /// What is still done on the way to the end.
    fn wind_up(&mut self, now: Instant) {
        self.actions.reap(&mut self.world);
        self.actions.tick(now, &mut self.world);
        self.keep_web(now);
        if let Phase::Stopping { until } = self.phase {
            // What a provider is being told may still come to its end.
            let publishing = self.web.as_ref().is_some_and(Web::is_publishing);
            if now >= until || (self.actions.load().1 == 0 && !publishing) {
                // Only now is there nothing more to come.
                self.phase = Phase::Closing { until: now + WRITING };
                if let Some(path) = self.world.status_file() {
                    self.writing.push(FileJob::Remove(path.to_owned()));
                }
                self.writing.hurry();
            }
        }
        self.keep_writing(now);
        if let Phase::Closing { until } = self.phase
            && (now >= until || self.writing.is_at_rest())
        {
            self.phase = Phase::Over;
        }
    }

    /// The last words.
    fn end(&mut self) {
        let unwritten = self.writing.unwritten();
        if !unwritten.is_empty() {
            let text = format_args!("Stopping: not written, the disk does not take it: {}", unwritten.join(", "));
            self.world.log(Severity::Error, None, text);
        }
        self.world.log(Severity::Info, None, format_args!("Stopped"));
        self.world.end();
    }
}

/// What a script finds in its environment, beside what imon itself was started with.
#[must_use]
pub fn environment(
    name: &str,
    instance: &str,
    event: &Event,
    time: &Wall,
    json: String,
) -> Vec<(&'static str, String)> {
    let mut env = vec![
        ("IMON_EVENT", name.to_owned()),
        ("IMON_INSTANCE", instance.to_owned()),
        ("IMON_MONITOR", event.monitor.name().to_owned()),
        ("IMON_TIME", time.to_string()),
        ("IMON_JSON", json),
    ];
    if let Some((family, wan)) = event.external() {
        env.push(("IMON_FAMILY", family.digit().to_owned()));
        env.extend(wan.map(|wan| ("IMON_WAN", wan.to_owned())));
    }
    env
}

impl StatusFile {
    /// When it has to be written next; `None`: now.
    fn due(&self) -> Option<Instant> {
        self.written.map(|at| at + if self.changed { STATUS_CHANGED } else { STATUS_NUMBERS })
    }

    /// When that is worth a wake-up of its own.
    fn wake_at(&self) -> Option<Instant> {
        match (self.changed, self.stale) {
            (true, _) => self.due(),
            (false, true) => self.written.map(|at| at + STATUS_AT_LAST),
            (false, false) => None,
        }
    }
}

impl<W: World> Prepared<W> {
    /// What a configuration needs that is to come in the place of another. `old` is the network of that.
    fn new(
        old: Option<&Network<W>>,
        has_web: bool,
        config: &Config,
        instance: &str,
        world: &mut W,
        now: Instant,
    ) -> Result<Self, Refused> {
        let needs = Needs::of(config);
        let network = match &config.failover {
            Some(settings) if !old.is_some_and(|old| old.is_for(instance, settings)) => {
                let held = old.map(Network::locked).unwrap_or_default();
                Some(Network::prepare(instance, settings, world, &held, now)?)
            }
            _ => None,
        };
        // Also where there are such sockets already: what a start would refuse a reload refuses.
        let mut pinger = world.open_pinger(needs.families()).map_err(Refused::Ping)?;
        if let Some(network) = &network {
            for wan in 0..network.states().len() {
                // Without a socket for another reason there is another try with the next probe.
                if let Err(e) = world.set_lane(&mut pinger, wan, network.via(wan).as_ref())
                    && (crate::base::error::is_shortage(&e) || e.kind() == std::io::ErrorKind::PermissionDenied)
                {
                    return Err(Refused::Short("socket for the probes of a network", e));
                }
            }
        }
        let files = needs.files(world).map_err(|e| Refused::Short("reading of the hosts file", e))?;
        let settings = config.ddns.as_ref().filter(|_| !has_web);
        let web = settings.map(|settings| Web::open(settings, instance, world)).transpose();
        let web = web.map_err(|e| Refused::Short("state file or news of addresses", e))?;
        world.try_room().map_err(|e| Refused::Short("room for scripts and lookups", e))?;
        Ok(Self { network, pinger, files, web })
    }
}

impl From<Unable> for Refused {
    fn from(why: Unable) -> Self {
        match why {
            Unable::Short(what, e) => Self::Short(what, e),
            Unable::Netlink(why) => Self::Netlink(why),
            Unable::Permission => Self::Routes,
            Unable::Taken(device) => Self::Device(device),
        }
    }
}

impl Refused {
    /// What is refused, and why, for a person.
    #[must_use]
    pub fn in_words<W: World>(&self) -> String {
        match self {
            Self::Ping(e) => format!("No ICMP socket: {}", W::in_words(&e.raw)),
            Self::Short(what, e) => format!("No {what} can be had: {}", W::in_words(e)),
            Self::Routes => "No permission to change routes".to_owned(),
            Self::Device(device) => format!("Another instance switches the routes over {device} already"),
            Self::Netlink(why) => why.clone(),
        }
    }
}

impl Monitors {
    /// The monitors of a configuration, but for those that are kept.
    fn new<W: World>(
        world: &mut W,
        config: &Config,
        network: Option<&Network<W>>,
        hosts: &mut Hosts,
        is_kept: &dyn Fn(Monitor) -> bool,
        now: Instant,
    ) -> Self {
        let updown = config.updown.as_ref().filter(|_| !is_kept(Monitor::Updown)).map(|u| {
            let mut add = |host| (hosts.add(host, Monitor::Updown), Rc::clone(host.text()));
            let setup = updown::Setup {
                target: add(&u.target),
                plan: u.timing.plan(),
                fall: u.fall,
                rise: u.rise,
                secondaries: u.addping.iter().map(&mut add).collect(),
                dns: u.dns.as_ref().map(|d| updown::Dns { server: add(&d.server), name: d.name.as_str().into() }),
            };
            Updown::new(setup, now)
        });
        let ping = config.ping.as_ref().filter(|_| !is_kept(Monitor::Ping)).map(|p| {
            let owners: Vec<_> = p.targets.iter().map(|host| hosts.add(host, Monitor::Ping)).collect();
            let texts: Vec<_> = p.targets.iter().map(|host| Rc::clone(host.text())).collect();
            Ping::new(owners.first().copied().unwrap_or(0), &texts, p.timing.plan(), now)
        });
        let failover = config.failover.as_ref().filter(|_| !is_kept(Monitor::Failover)).zip(network);
        let failover = failover.map(|(settings, network)| Failover::new(setup(settings, network, hosts), now));
        let ddns = config.ddns.as_ref().map(|settings| {
            let wans = config.failover.as_ref().map_or(&[][..], |failover| &failover.wans);
            let wans: Vec<&str> = wans.iter().map(|wan| wan.device.as_str()).collect();
            web::monitor(settings, config.global.action.as_ref().map(|action| action.value.as_str()), &wans, world)
        });
        Self { ddns, updown, failover, ping }
    }

    /// Begins with their names; a monitor waits for the first lookup of its host's.
    fn begin(&mut self, hosts: &mut Hosts, files: Option<Files>, now: Instant) {
        hosts.begin(files, now);
        for (owner, monitor) in hosts.waiting() {
            self.on(now, &Seen::Hold(owner), Some(monitor), &mut Vec::new());
        }
    }

    fn on(&mut self, now: Instant, seen: &Seen<'_>, only: Option<Monitor>, out: &mut Vec<Effect>) {
        let wanted = |m| only.is_none_or(|only| only == m);
        let tick = matches!(seen, Seen::Tick);
        let due = |at: Option<Instant>| !tick || at.is_some_and(|at| at <= now);
        if let Some(u) = self.updown.as_mut().filter(|u| wanted(Monitor::Updown) && due(u.poll_at())) {
            u.on(now, seen, out);
        }
        if let Some(f) = self.failover.as_mut().filter(|f| wanted(Monitor::Failover) && due(f.poll_at())) {
            f.on(now, seen, out);
        }
        if let Some(p) = self.ping.as_mut().filter(|p| wanted(Monitor::Ping) && due(p.poll_at())) {
            p.on(now, seen, out);
        }
        if let Some(d) = self.ddns.as_mut().filter(|d| wanted(Monitor::Ddns) && due(d.poll_at())) {
            d.on(now, seen, out);
        }
    }

    /// Takes over from the monitors of an earlier configuration: those that are kept, and what the others knew. Returns
    /// whether the lookups of the ddns monitor go on.
    fn inherit(&mut self, old: Self, is_kept: &dyn Fn(Monitor) -> bool, now: Instant, clock: Clock) -> bool {
        let mut asks_on = false;
        if let (Some(new), Some(old)) = (&mut self.ddns, old.ddns) {
            asks_on = new.inherit(old, clock);
        }
        match (&mut self.updown, old.updown) {
            (new, old) if is_kept(Monitor::Updown) => *new = old,
            (Some(new), Some(old)) => new.inherit(old, now),
            _ => {}
        }
        match (&mut self.failover, old.failover) {
            (new, old) if is_kept(Monitor::Failover) => *new = old,
            (Some(new), Some(old)) => new.inherit(old),
            _ => {}
        }
        match (&mut self.ping, old.ping) {
            (new, old) if is_kept(Monitor::Ping) => *new = old,
            (Some(new), Some(old)) => new.inherit(old),
            _ => {}
        }
        asks_on
    }

    fn keep_up(&self, now: Instant) -> bool {
        self.updown.as_ref().is_none_or(|u| u.keeps_up(now))
            && self.failover.as_ref().is_none_or(|f| f.keeps_up(now))
            && self.ping.as_ref().is_none_or(|p| p.keeps_up(now))
            && self.ddns.as_ref().is_none_or(|d| d.keeps_up(now))
    }
}

/// The failover monitor's hosts get their numbers, and the ways by which they are probed.
fn setup<W: World>(settings: &config::Failover, network: &Network<W>, hosts: &mut Hosts) -> failover::Setup {
    let mut wans = Vec::with_capacity(settings.wans.len());
    for (wan, configured) in settings.wans.iter().enumerate() {
        let by_gateway = configured.targets.is_empty();
        let mut target = |target: &config::Target| {
            let way = Way { wan, probe: target.probe, judges: true };
            (hosts.add_by(Some(way), &target.host, Monitor::Failover), Rc::clone(&target.text))
        };
        let mut targets: Vec<_> = configured.targets.iter().map(&mut target).collect();
        if by_gateway {
            targets.push((hosts.add_gateway(wan, Monitor::Failover), "gateway".into()));
        }
        let post = Way { wan, probe: failover::Probe::Echo, judges: false };
        let postping = configured.postping.as_ref();
        wans.push(failover::WanSetup {
            name: configured.name.as_str().into(),
            device: configured.device.as_str().into(),
            targets,
            by_gateway,
            postping: postping.map(|h| (hosts.add_by(Some(post), h, Monitor::Failover), Rc::clone(h.text()))),
        });
    }
    failover::Setup {
        wans,
        plan: settings.timing.plan(),
        min_up: settings.min_up,
        quality: settings.quality,
        prefer_first: settings.prefer_primary,
        hold_down: settings.hold_down,
        idle_interval: settings.idle_interval,
        remind: settings.remind,
        adopted: network.led(),
    }
}
