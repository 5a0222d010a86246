//! The monitors that the configuration asks for.

use std::rc::Rc;

use super::host_table::{Files, Hosts, ProbePath};
use super::network::Network;
use super::web;
use super::world::World;
use crate::base::time::{Clock, Instant};
use crate::config::{self, Config};
use crate::event::Monitor;
use crate::monitor::ddns::Ddns;
use crate::monitor::failover::{self, Failover};
use crate::monitor::ping::Ping;
use crate::monitor::updown::{self, Updown};
use crate::monitor::{Effect, Observation, Progress};

#[derive(Default)]
pub(super) struct Monitors {
    pub(super) ddns: Option<Ddns>,
    pub(super) updown: Option<Updown>,
    pub(super) failover: Option<Failover>,
    pub(super) ping: Option<Ping>,
}

impl Monitors {
    /// The monitors of a configuration, but for those that are kept.
    pub(super) fn new<W: World>(
        world: &mut W,
        config: &Config,
        network: Option<&Network<W>>,
        hosts: &mut Hosts,
        is_kept: &dyn Fn(Monitor) -> bool,
        now: Instant,
    ) -> Self {
        let updown = config.updown.as_ref().filter(|_| !is_kept(Monitor::Updown)).map(|u| {
            let mut add = |host| (hosts.add(host, Monitor::Updown), Rc::clone(host.text()));
            let setup = updown::UpdownSetup {
                target: add(&u.target),
                plan: u.timing.plan(),
                fall: u.fall,
                rise: u.rise,
                secondaries: u.addping.iter().map(&mut add).collect(),
                dns: u.dns.as_ref().map(|d| updown::OpinionSetup {
                    server: add(&d.server),
                    name: d.name.as_str().into(),
                }),
            };
            Updown::new(setup, now)
        });
        let ping = config.ping.as_ref().filter(|_| !is_kept(Monitor::Ping)).map(|p| {
            let owners: Vec<_> =
                p.targets.iter().map(|host| hosts.add(host, Monitor::Ping)).collect();
            let texts: Vec<_> = p.targets.iter().map(|host| Rc::clone(host.text())).collect();
            Ping::new(owners.first().copied().unwrap_or(0), &texts, p.timing.plan(), now)
        });
        let failover =
            config.failover.as_ref().filter(|_| !is_kept(Monitor::Failover)).zip(network);
        let failover =
            failover.map(|(settings, network)| Failover::new(setup(settings, network, hosts), now));
        let ddns = config.ddns.as_ref().map(|settings| {
            let wans = config.failover.as_ref().map_or(&[][..], |failover| &failover.wans);
            let wans: Vec<&str> = wans.iter().map(|wan| wan.device.as_str()).collect();
            web::monitor(
                settings,
                config.global.action.as_ref().map(|action| action.value.as_str()),
                &wans,
                world,
            )
        });
        Self { ddns, updown, failover, ping }
    }

    /// Begins with their names; a monitor waits for the first lookup of its host's.
    pub(super) fn begin(&mut self, hosts: &mut Hosts, files: Option<Files>, now: Instant) {
        hosts.begin(files, now);
        for (owner, monitor) in hosts.waiting() {
            self.on(now, &Observation::Hold(owner), Some(monitor), &mut Vec::new());
        }
    }

    pub(super) fn on(
        &mut self,
        now: Instant,
        seen: &Observation<'_>,
        only: Option<Monitor>,
        out: &mut Vec<Effect>,
    ) {
        let wanted = |m| only.is_none_or(|only| only == m);
        let tick = matches!(seen, Observation::Tick);
        let due = |at: Option<Instant>| !tick || at.is_some_and(|at| at <= now);
        if let Some(u) =
            self.updown.as_mut().filter(|u| wanted(Monitor::Updown) && due(u.poll_at()))
        {
            u.on(now, seen, out);
        }
        if let Some(f) =
            self.failover.as_mut().filter(|f| wanted(Monitor::Failover) && due(f.poll_at()))
        {
            f.on(now, seen, out);
        }
        if let Some(p) = self.ping.as_mut().filter(|p| wanted(Monitor::Ping) && due(p.poll_at())) {
            p.on(now, seen, out);
        }
        if let Some(d) = self.ddns.as_mut().filter(|d| wanted(Monitor::Ddns) && due(d.poll_at())) {
            d.on(now, seen, out);
        }
    }

    /// Takes over from the monitors of an earlier configuration: those that are kept, and what the
    /// others knew. Returns whether the lookups of the ddns monitor go on.
    pub(super) fn inherit(
        &mut self,
        old: Self,
        is_kept: &dyn Fn(Monitor) -> bool,
        now: Instant,
        clock: Clock,
    ) -> bool {
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

    pub(super) fn keep_up(&self, now: Instant) -> bool {
        self.updown.as_ref().is_none_or(|u| u.keeps_up(now))
            && self.failover.as_ref().is_none_or(|f| f.keeps_up(now))
            && self.ping.as_ref().is_none_or(|p| p.keeps_up(now))
            && self.ddns.as_ref().is_none_or(|d| d.keeps_up(now))
    }
}

/// The failover monitor's hosts get their numbers, and the ways by which they are probed.
pub(super) fn setup<W: World>(
    settings: &config::FailoverSettings,
    network: &Network<W>,
    hosts: &mut Hosts,
) -> failover::FailoverSetup {
    let mut wans = Vec::with_capacity(settings.wans.len());
    for (wan, configured) in settings.wans.iter().enumerate() {
        let by_gateway = configured.targets.is_empty();
        let mut target = |target: &config::TargetSettings| {
            let way = ProbePath { wan, probe: target.probe, judges: true };
            (hosts.add_by(Some(way), &target.host, Monitor::Failover), Rc::clone(&target.text))
        };
        let mut targets: Vec<_> = configured.targets.iter().map(&mut target).collect();
        if by_gateway {
            targets.push((hosts.add_gateway(wan, Monitor::Failover), "gateway".into()));
        }
        let post = ProbePath { wan, probe: failover::ProbeKind::Echo, judges: false };
        let postping = configured.postping.as_ref();
        wans.push(failover::WanSetup {
            name: configured.name.as_str().into(),
            device: configured.device.as_str().into(),
            targets,
            by_gateway,
            postping: postping
                .map(|h| (hosts.add_by(Some(post), h, Monitor::Failover), Rc::clone(h.text()))),
        });
    }
    failover::FailoverSetup {
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
