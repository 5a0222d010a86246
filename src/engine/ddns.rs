//! The external address: what the ddns monitor wants of the daemon, and what it is told.

use std::net::IpAddr;
use std::rc::Rc;

use super::Daemon;
use super::web::{Web, WebResult};
use super::world::{FileJob, Record, World};
use crate::addr::family::Family;
use crate::base::time::Instant;
use crate::config::Config;
use crate::event::Monitor;
use crate::kernel::path::Bound;
use crate::monitor::Observation;
use crate::monitor::ddns::update::UpdateOutcome;
use crate::monitor::ddns::{self, LookupId};
use crate::monitor::failover::Failover;

impl<W: World> Daemon<W> {
    /// Begins a lookup by the way of its track.
    pub(super) fn look_up(&mut self, id: LookupId) {
        let track = self.monitors.ddns.as_ref().and_then(|ddns| ddns.tracks().get(id.track));
        let Some((family, wan)) = track.map(|track| (track.family, Rc::clone(&track.wan))) else {
            return;
        };
        let bound = self.bound(&wan, family == Family::V4);
        if let Some(web) = &mut self.web {
            web.look_up(id, family, bound);
        }
    }

    /// How web requests leave: through this WAN, or through the one in use. IPv6 is not switched,
    /// and goes as the kernel has it unless it is about one WAN.
    pub(super) fn bound(&self, wan: &str, v4: bool) -> Bound {
        let Some(network) = &self.network else { return Bound::default() };
        let place = if wan.is_empty() { network.led().filter(|_| v4) } else { network.place(wan) };
        let Some(via) = place.and_then(|place| network.via(place)) else { return Bound::default() };
        Bound { device: Some(via.device), from: v4.then_some(via.address.into()) }
    }

    /// Tells the ddns monitor by which way each of its addresses is looked up.
    pub(super) fn tell_ways(&mut self, now: Instant) {
        let Some(ddns) = &self.monitors.ddns else { return };
        if self.monitors.failover.as_ref().is_some_and(Failover::is_provisional) {
            return;
        }
        let way = |track: &ddns::Track| {
            let Some(network) = &self.network else { return ddns::LookupPath::Ready("".into()) };
            let place = match (&*track.wan, track.family) {
                ("", Family::V6) => return ddns::LookupPath::Ready("".into()),
                ("", Family::V4) => match (network.led(), &self.monitors.failover) {
                    (Some(led), _) => Some(led),
                    (None, Some(failover)) if failover.is_undecided() => {
                        return ddns::LookupPath::Unknown;
                    }
                    (None, _) => return ddns::LookupPath::None("no network works".into()),
                },
                (wan, _) => network.place(wan),
            };
            match place.map(|place| (network.via(place), network.states().get(place))) {
                Some((Some(via), _)) => {
                    ddns::LookupPath::Ready(format!("{} {}", via.device, via.address).into())
                }
                Some((None, Some(state))) => ddns::LookupPath::None(state.to_string().into()),
                _ => ddns::LookupPath::None("there is no such network".into()),
            }
        };
        let ways: Vec<_> = ddns.tracks().iter().map(way).collect();
        self.monitors.on(now, &Observation::Ways(&ways), Some(Monitor::Ddns), &mut self.effects);
    }

    pub(super) fn save(&mut self) {
        if let (Some(web), Some(ddns)) = (&mut self.web, &self.monitors.ddns) {
            web.save(ddns.saved(self.world.clock()), &mut self.writing);
        }
    }

    /// Begins and ends web requests, and brings what came of them, and of calls of the script, to
    /// the monitor.
    pub(super) fn keep_web(&mut self, now: Instant) {
        let Some(web) = &mut self.web else { return };
        let calls = web.tick(now, &mut self.writing, &mut self.world);
        for (publication, ticket) in calls {
            self.call(&publication.event, Some(ticket));
            self.actions.tick(now, &mut self.world);
        }
        while let Some((ticket, result)) = self.actions.ended() {
            let outcome = result
                .map_or_else(|why| UpdateOutcome::Failed(why.into()), |()| UpdateOutcome::Done);
            self.tell_published(now, &ticket.key, ticket.address, &outcome, ticket.record);
        }
        while let Some(answer) = self.web.as_mut().and_then(Web::answer) {
            match answer {
                WebResult::Lookup(id, result) => {
                    self.tell(now, &Observation::Found(id, &result), Some(Monitor::Ddns));
                    self.perform(now);
                }
                WebResult::Publication(key, address, outcome, record) => {
                    self.tell_published(now, &key, address, &outcome, record);
                }
            }
        }
        while let Some((severity, text)) = self.web.as_mut().and_then(Web::remark) {
            self.world.log(severity, Some(Monitor::Ddns), format_args!("{text}"));
        }
    }

    /// The record goes when the state file has what it says.
    pub(super) fn tell_published(
        &mut self,
        now: Instant,
        key: &str,
        address: IpAddr,
        outcome: &UpdateOutcome,
        record: Option<Record<W::File>>,
    ) {
        self.tell(now, &Observation::Published { key, address, outcome }, Some(Monitor::Ddns));
        self.perform(now);
        if let Some(record) = record {
            self.writing.push(FileJob::Remove(record.path));
        }
    }

    /// What the ddns monitor of a new configuration needs, with what was opened for it. `asks_on`:
    /// its lookups go on.
    pub(super) fn adopt_ddns(&mut self, config: &Config, new: Option<Web<W>>, asks_on: bool) {
        let Some(settings) = &config.ddns else {
            self.web = None;
            return;
        };
        match (&mut self.web, new) {
            (Some(web), new) => {
                let anew = new.is_some();
                web.configure(settings, new, asks_on);
                if anew {
                    web.prepare_state(&mut self.writing, &mut self.world);
                }
            }
            (None, Some(mut web)) => {
                if let Some(ddns) = &mut self.monitors.ddns {
                    ddns.restore(web.load(&mut self.world), self.world.clock());
                }
                web.prepare_state(&mut self.writing, &mut self.world);
                self.web = Some(web);
            }
            (None, None) => {}
        }
    }
}
