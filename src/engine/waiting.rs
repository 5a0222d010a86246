//! When the loop wakes up, and what it waits for.

use super::network::Network;
use super::web::Web;
use super::world::{WaitSource, Waited, World};
use super::{Daemon, Phase};
use crate::base::time::Instant;
use crate::monitor::ddns::Ddns;
use crate::monitor::failover::Failover;
use crate::monitor::ping::Ping;
use crate::monitor::updown::Updown;

/// Nobody but the monitors has anything to do, as long as nothing but replies arrives. Between two
/// probes a small processor's caches forget the code: what need not run costs more than it seems.
#[derive(Clone, Copy)]
pub(super) struct Quiet {
    /// Until then, if not for ever.
    pub(super) until: Option<Instant>,
    /// When to wake up for the others.
    pub(super) wake: Option<Instant>,
    /// The list of descriptors is made, and stays as it is.
    listed: bool,
}

impl<W: World> Daemon<W> {
    /// Whether the others are at rest, and until when.
    pub(super) fn rest(&self) -> Option<Quiet> {
        let asks = self.questions.poll_at().is_some() || !self.contacts.is_empty();
        let web = self.web.as_ref().is_some_and(|web| !web.is_at_rest());
        if self.actions.load() != (0, 0)
            || asks
            || web
            || !self.writing.is_at_rest()
            || self.world.has_unlogged()
        {
            return None;
        }
        let wake = self.others_wake_at();
        let status = self.world.status_file().and_then(|_| self.status.due());
        Some(Quiet { until: [wake, status].into_iter().flatten().min(), wake, listed: false })
    }

    /// When somebody else than the monitors wants to be woken.
    fn others_wake_at(&self) -> Option<Instant> {
        let network = self.network.as_ref().and_then(Network::poll_at);
        let (hosts, questions, actions) =
            (self.hosts.poll_at(), self.questions.poll_at(), self.actions.poll_at());
        let web = self.web.as_ref().and_then(Web::poll_at);
        let signals = [self.reloads.due, self.checks.due].into_iter().flatten().min();
        let (contacts, writing) = (self.contacts.poll_at(), self.writing.poll_at());
        let at = [
            hosts,
            questions,
            actions,
            network,
            web,
            contacts,
            writing,
            self.feed,
            signals,
            self.leave_again,
        ];
        at.into_iter().flatten().min()
    }

    /// When something is due.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        if let Phase::Stopping { until } | Phase::Closing { until } = self.phase {
            return [self.actions.poll_at(), self.writing.poll_at(), Some(until)]
                .into_iter()
                .flatten()
                .min();
        }
        let others = self.quiet.map_or_else(|| self.others_wake_at(), |quiet| quiet.wake);
        let m = &self.monitors;
        let status = self.world.status_file().and_then(|_| self.status.wake_at());
        let (updown, ping) =
            (m.updown.as_ref().and_then(Updown::poll_at), m.ping.as_ref().and_then(Ping::poll_at));
        let ddns = m.ddns.as_ref().and_then(Ddns::poll_at);
        let at =
            [updown, ping, m.failover.as_ref().and_then(Failover::poll_at), ddns, status, others];
        at.into_iter().flatten().min()
    }

    pub(super) fn wait(&mut self, until: Option<Instant>) -> std::io::Result<()> {
        if self.quiet.as_mut().is_some_and(|quiet| std::mem::replace(&mut quiet.listed, true)) {
            return self.world.wait(until);
        }
        self.world.watch_nothing();
        self.world.watch(Waited::Signals, WaitSource::Signals);
        if matches!(self.phase, Phase::Running) {
            // Collected replies are taken at each wake-up: none is worth one of its own.
            if self.bulk {
                self.world.watch(Waited::Pings, WaitSource::Collected);
            } else {
                self.world.watch(Waited::Pings, WaitSource::Pings(&self.pinger));
            }
            if let Some(network) = &self.network {
                network.add_to(&mut self.world);
            }
            self.contacts.add_to(&mut self.world);
            self.questions.add_to(&mut self.world);
            if self.world.has_unlogged() {
                self.world.watch(Waited::Log, WaitSource::Log);
            }
        }
        if let Some(web) = &self.web {
            web.add_to(&mut self.world);
        }
        self.actions.add_to(&mut self.world);
        self.writing.add_to(&mut self.world);
        self.world.wait(until)
    }
}
