//! What comes in: news of the kernel, replies, answers, suspends.

use std::time::Duration;

use super::Daemon;
use super::world::World;
use crate::base::time::Instant;
use crate::event::{Monitor, Severity};
use crate::monitor::Observation;
use crate::monitor::failover::choice::Condition;
use crate::probe::{ProbeId, Reason};
use crate::wire::icmp::{Received, Token};

/// A jump of the time spent suspended that is one: the two clocks are not read at the same instant.
const SUSPENDED: Duration = Duration::from_millis(500);

impl<W: World> Daemon<W> {
    /// Brings what the links are like to whatever depends on it, and to the monitor, which may
    /// switch at once.
    pub(super) fn tell_links(&mut self, now: Instant) {
        let Some(network) = &self.network else { return };
        self.quiet = None;
        for wan in 0..network.states().len() {
            let gateway = network.road(wan).and_then(|road| road.gateway.or(road.peer));
            self.hosts.set_gateway(wan, gateway);
        }
        self.monitors.on(
            now,
            &Observation::Links(network.states()),
            Some(Monitor::Failover),
            &mut self.effects,
        );
        self.perform(now);
        let Some(network) = &self.network else { return };
        for wan in 0..network.states().len() {
            // Without a socket there is another try with the next probe.
            let _ = self.world.set_lane(&mut self.pinger, wan, network.via(wan).as_ref());
        }
        self.tell_ways(now);
        self.perform(now);
    }

    /// After the kernel has told something, or something was tried in vain: routes and rules are
    /// put in order.
    pub(super) fn keep_network(&mut self, now: Instant) {
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
    pub(super) fn meet_network(&mut self, now: Instant) {
        if self.network.is_some() {
            self.keep_network(now);
            self.tell_links(now);
        }
    }

    /// Lets monitors begin whose host's name has been looked up for the first time, with whatever
    /// result.
    pub(super) fn release(&mut self, now: Instant) {
        while let Some((owner, monitor)) = self.hosts.take_ready() {
            self.tell(now, &Observation::Ready(owner), Some(monitor));
        }
    }

    pub(super) fn notice_suspend(&mut self, now: Instant) {
        let suspended = self.world.suspended().max(self.suspended);
        let slept = suspended - self.suspended;
        self.suspended = suspended;
        if slept > SUSPENDED {
            self.quiet = None;
            let secs = slept.as_secs();
            let text = format_args!(
                "This system was suspended for {secs} s; checks that were under way are not judged"
            );
            self.world.log(Severity::Notice, None, text);
            self.tell(now, &Observation::Resumed, None);
        }
    }

    /// Links first: a switch waits for nothing else.
    pub(super) fn hear_network(&mut self, now: Instant) {
        if self.network.as_mut().is_some_and(|network| network.hear(now, &mut self.world)) {
            self.tell_links(now);
        }
        self.keep_network(now);
    }

    pub(super) fn hear_pings(&mut self, now: Instant) {
        let mut heard = std::mem::take(&mut self.heard);
        self.world
            .hear(&mut self.pinger, self.bulk, |wan, message, rtt| heard.push((wan, message, rtt)));
        let id = |t: &Token| ProbeId { owner: t.owner, check: t.check, index: t.index };
        for (wan, message, rtt) in heard.drain(..) {
            match message {
                Received::Reply(t) => {
                    self.tell(now, &Observation::Reply(id(&t), rtt), self.hosts.monitor(t.owner))
                }
                Received::Failed(t, error) => {
                    self.tell(
                        now,
                        &Observation::Lost(id(&t), Reason::Icmp(error)),
                        self.hosts.monitor(t.owner),
                    );
                }
                Received::Hint(to, error) => {
                    for owner in self.hosts.at(to, wan) {
                        self.monitors.on(
                            now,
                            &Observation::Hint(owner, error),
                            self.hosts.monitor(owner),
                            &mut self.effects,
                        );
                    }
                }
            }
        }
        self.heard = heard;
    }

    pub(super) fn hear_answers(&mut self, now: Instant) {
        while let Some((id, result)) = self.contacts.after(&mut self.world, now) {
            let seen = match result {
                Ok(rtt) => Observation::Reply(id, rtt),
                Err(reason) => Observation::Lost(id, reason),
            };
            self.tell(now, &seen, self.hosts.monitor(id.owner));
        }
        self.questions.after(&mut self.world, now, &mut self.hosts);
        let mut own = None;
        while let Some((id, answer)) = self.questions.answered() {
            let own = own.get_or_insert_with(|| self.world.own_addresses());
            self.tell(
                now,
                &Observation::Answer { id, answer: &answer, own },
                Some(Monitor::Updown),
            );
        }
    }
}
