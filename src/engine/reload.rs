//! A configuration, old or new: all that can fail is prepared first, then everything is swapped.

use std::rc::Rc;
use std::time::Duration;

use super::Daemon;
use super::host_table::{Files, Needs};
use super::monitors::Monitors;
use super::network::{Network, Unable};
use super::web::Web;
use super::world::World;
use crate::base::error;
use crate::base::time::Instant;
use crate::config::{Config, Timing};
use crate::engine::world::OpenError;
use crate::event::{Monitor, Severity};

/// What the kernel does not let go of an earlier configuration's routes and rules is tried again
/// after this.
const LEAVE_AGAIN: Duration = Duration::from_secs(1);

/// From this many probes a second on, replies are collected for a few milliseconds instead of
/// waking for each.
const BULK_RATE: f64 = 200.0;

/// Why imon cannot run.
pub enum StartRefused {
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

/// All that a configuration needs of the system and that can fail, had before anything is changed.
pub(super) struct Prepared<W: World> {
    /// Unless the one there is will do.
    pub(super) network: Option<Network<W>>,
    pub(super) pinger: W::Pinger,
    pub(super) files: Option<Files>,
    /// Unless there is one.
    pub(super) web: Option<Web<W>>,
}

impl<W: World> Prepared<W> {
    /// What a configuration needs that is to come in the place of another. `old` is the network of
    /// that.
    pub(super) fn new(
        old: Option<&Network<W>>,
        has_web: bool,
        config: &Config,
        instance: &str,
        world: &mut W,
        now: Instant,
    ) -> Result<Self, StartRefused> {
        let needs = Needs::of(config);
        let network = match &config.failover {
            Some(settings) if !old.is_some_and(|old| old.is_for(instance, settings)) => {
                let held = old.map(Network::locked).unwrap_or_default();
                Some(Network::prepare(instance, settings, world, &held, now)?)
            }
            _ => None,
        };
        // Also where there are such sockets already: what a start would refuse a reload refuses.
        let mut pinger = world.open_pinger(needs.families()).map_err(StartRefused::Ping)?;
        if let Some(network) = &network {
            for wan in 0..network.states().len() {
                // Without a socket for another reason there is another try with the next probe.
                if let Err(e) = world.set_lane(&mut pinger, wan, network.via(wan).as_ref())
                    && (error::is_shortage(&e) || e.kind() == std::io::ErrorKind::PermissionDenied)
                {
                    return Err(StartRefused::Short("socket for the probes of a network", e));
                }
            }
        }
        let files =
            needs.files(world).map_err(|e| StartRefused::Short("reading of the hosts file", e))?;
        let settings = config.ddns.as_ref().filter(|_| !has_web);
        let web = settings.map(|settings| Web::open(settings, instance, world)).transpose();
        let web = web.map_err(|e| StartRefused::Short("state file or news of addresses", e))?;
        world.try_room().map_err(|e| StartRefused::Short("room for scripts and lookups", e))?;
        Ok(Self { network, pinger, files, web })
    }
}

impl From<Unable> for StartRefused {
    fn from(why: Unable) -> Self {
        match why {
            Unable::Short(what, e) => Self::Short(what, e),
            Unable::Netlink(why) => Self::Netlink(why),
            Unable::Permission => Self::Routes,
            Unable::Taken(device) => Self::Device(device),
        }
    }
}

impl StartRefused {
    /// What is refused, and why, for a person.
    #[must_use]
    pub fn in_words<W: World>(&self) -> String {
        match self {
            Self::Ping(e) => format!("No ICMP socket: {}", W::shortage_in_words(&e.raw)),
            Self::Short(what, e) => format!("No {what} can be had: {}", W::shortage_in_words(e)),
            Self::Routes => "No permission to change routes".to_owned(),
            Self::Device(device) => {
                format!("Another instance switches the routes over {device} already")
            }
            Self::Netlink(why) => why.clone(),
        }
    }
}

impl<W: World> Daemon<W> {
    /// What follows from a configuration, new or reloaded, once its monitors exist.
    pub(super) fn settle(&mut self, config: &Config) {
        let targets = config.ping.as_ref().map_or(0, |p| p.targets.len());
        let script = config.global.action.as_ref().map(|a| a.value.clone());
        self.requested.clone_from(&config.global.events);
        self.actions.configure(script, &self.instance, config.global.action_timeout, targets);
        self.world.configure_log(&self.instance, &config.global.datefmt, config.monitors() > 1);
        let rate = |timing: &Timing, n: usize| {
            n as f64 * f64::from(timing.pingcount) / timing.interval.as_secs_f64().max(0.001)
        };
        self.bulk =
            config.ping.as_ref().is_some_and(|p| rate(&p.timing, p.targets.len()) >= BULK_RATE);
        // Now, and not in the middle of the first burst that is larger than those before.
        if self.bulk {
            self.effects.reserve(targets * 2);
            self.heard.reserve(targets);
        }
    }

    pub(super) fn announce(&mut self) {
        if self.monitors.ddns.is_some() {
            self.world.log(
                Severity::Info,
                Some(Monitor::Ddns),
                format_args!("Start External IP Address tracking"),
            );
        }
        if let Some(updown) = &self.monitors.updown {
            let text = format_args!("Start Updown Monitor for IP Address {}", updown.target().1);
            self.world.log(Severity::Info, Some(Monitor::Updown), text);
        }
        if self.monitors.failover.is_some() {
            self.world.log(
                Severity::Info,
                Some(Monitor::Failover),
                format_args!("Start Network Failover Monitor"),
            );
        }
        if self.monitors.ping.is_some() {
            self.world.log(Severity::Info, Some(Monitor::Ping), format_args!("Start Ping Monitor"));
        }
    }

    /// SIGHUP: takes a new configuration over, or says why not and goes on with the old one.
    pub(super) fn reload(&mut self, now: Instant) {
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
                self.world.log(
                    Severity::Notice,
                    None,
                    format_args!("Reloaded {}", self.source.file),
                );
                if same {
                    self.world.log(Severity::Info, None, format_args!("Nothing has changed in it"));
                }
            }
            Err(errors) => {
                for error in errors {
                    self.world.log(Severity::Error, None, format_args!("? {error}"));
                }
                let text = format_args!(
                    "{} is not taken over, the old configuration goes on",
                    self.source.file
                );
                self.world.log(Severity::Error, None, text);
            }
        }
        self.world.notify("READY=1");
    }

    /// Takes another configuration over. Everything that can fail comes first and changes nothing:
    /// with an error all is as it was.
    pub(super) fn adopt(&mut self, now: Instant, config: Config) -> Result<(), Vec<String>> {
        let instance =
            self.source.instance.clone().unwrap_or_else(|| self.source.name(Some(&config)));
        let has_web = self.web.is_some() && instance == self.instance;
        let prepared =
            Prepared::new(self.network.as_ref(), has_web, &config, &instance, &mut self.world, now)
                .map_err(|why| vec![why.in_words::<W>()])?;
        // From here on nothing can fail. What the old monitors have just found out is still to be
        // told.
        self.perform(now);
        self.take_over(now, &config, instance, prepared);
        Ok(())
    }

    /// Puts a configuration in the place of the one there is. What its settings leave as it was
    /// goes on, what is under way included.
    fn take_over(
        &mut self,
        now: Instant,
        config: &Config,
        instance: String,
        prepared: Prepared<W>,
    ) {
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
        let mut monitors = Monitors::new(
            &mut self.world,
            config,
            self.network.as_ref(),
            &mut self.hosts,
            &kept,
            now,
        );
        monitors.begin(&mut self.hosts, files, now);
        let hosts = &self.hosts;
        self.contacts.keep(|owner| hosts.monitor(owner).is_some());
        self.questions.keep_opinions(|server| hosts.monitor(server).is_some());
        let target = |config: &Config| config.updown.as_ref().map(|u| Rc::clone(u.target.text()));
        let which = |config: &Config| {
            (
                config.ddns.is_some(),
                target(config),
                config.failover.is_some(),
                config.ping.is_some(),
            )
        };
        let asks_on =
            monitors.inherit(std::mem::take(&mut self.monitors), &kept, now, self.world.clock());
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
    fn put_network(
        &mut self,
        new: Option<Network<W>>,
        config: &Config,
        instance: &str,
        now: Instant,
    ) {
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

    /// Takes away what only an earlier configuration's network has left. What the kernel does not
    /// let go is tried again.
    pub(super) fn leave(&mut self, now: Instant) {
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
}
