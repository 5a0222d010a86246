//! The end: scripts are waited for, what is to be written is written, routes are left as
//! configured.

use std::time::Duration;

use super::web::Web;
use super::world::{FileJob, World};
use super::{Daemon, Phase};
use crate::base::time::Instant;
use crate::engine::scripts::LAST_GRACE;
use crate::event::{Monitor, Severity};

/// At the end what is still to be written is waited for this long.
const WRITING: Duration = Duration::from_secs(2);

impl<W: World> Daemon<W> {
    /// Begins to end: what runs is asked to end, so that no child is left.
    pub(super) fn stop(&mut self, now: Instant) {
        self.world.notify("STOPPING=1");
        // What was seen together with the signal is still told.
        self.perform(now);
        if let Some(network) = &mut self.network
            && !network.leave_at_exit(&mut self.world)
        {
            let text = format_args!(
                "Stopping: the kernel does not let go of all routes and rules of imon"
            );
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
    pub(super) fn wind_up(&mut self, now: Instant) {
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
    pub(super) fn end(&mut self) {
        let unwritten = self.writing.unwritten();
        if !unwritten.is_empty() {
            let text = format_args!(
                "Stopping: not written, the disk does not take it: {}",
                unwritten.join(", ")
            );
            self.world.log(Severity::Error, None, text);
        }
        self.world.log(Severity::Info, None, format_args!("Stopped"));
        self.world.end();
    }
}
