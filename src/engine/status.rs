//! The status file, and the watchdog of whoever started imon.

use std::time::Duration;

use super::Daemon;
use super::world::{FileJob, World};
use crate::base::time::Instant;
use crate::event::Severity;
use crate::monitor::ddns::Ddns;
use crate::monitor::failover::Failover;
use crate::monitor::updown::Updown;
use crate::snapshot::{self, Sources};

/// The status is written at most this often after a change of state,
const STATUS_CHANGED: Duration = Duration::from_secs(1);
/// and for the numbers' sake not sooner than this (with one probe a second, every 10 s was 8 % of
/// all processor time),
const STATUS_NUMBERS: Duration = Duration::from_secs(30);
/// but at a wake-up that comes anyway, if one comes until then.
const STATUS_AT_LAST: Duration = Duration::from_secs(40);

#[derive(Default)]
pub(super) struct StatusFile {
    pub(super) content: Vec<u8>,
    pub(super) written: Option<Instant>,
    /// A state has changed since.
    pub(super) changed: bool,
    /// Numbers may have changed since.
    pub(super) stale: bool,
}

impl StatusFile {
    /// When it has to be written next; `None`: now.
    pub(super) fn due(&self) -> Option<Instant> {
        self.written.map(|at| at + if self.changed { STATUS_CHANGED } else { STATUS_NUMBERS })
    }

    /// When that is worth a wake-up of its own.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        match (self.changed, self.stale) {
            (true, _) => self.due(),
            (false, true) => self.written.map(|at| at + STATUS_AT_LAST),
            (false, false) => None,
        }
    }
}

impl<W: World> Daemon<W> {
    pub(super) fn write_status(&mut self, now: Instant) {
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
            kernel: self.network.as_ref().map(|network| snapshot::KernelRoutes {
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
    pub(super) fn keep_writing(&mut self, now: Instant) {
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

    /// Feeds the watchdog, but only while every monitor makes progress: a monitor that stands still
    /// is worth a restart.
    pub(super) fn feed_watchdog(&mut self, now: Instant) {
        let Some(every) = self.world.watchdog() else { return };
        if self.feed.is_some_and(|at| at <= now) {
            self.feed = Some(now + every / 3);
            if self.monitors.keep_up(now) {
                self.world.notify("WATCHDOG=1");
            }
        }
    }
}
