//! The world as it is, for the loop.

use std::io;
use std::time::Duration;

use super::poll::Poll;
use super::{clock, net};
use crate::daemon::world::{Source, Waited, World};
use crate::time::{Clock, Instant};

/// Where replies are collected, waking up is put off by this many milliseconds. The kernel's time stamps keep the
/// round-trip times exact.
const COLLECTING: i32 = 8;

/// The real world.
#[derive(Default)]
pub struct Real {
    poll: Poll<Waited>,
    /// Replies are collected.
    collects: bool,
}

impl World for Real {
    fn now(&self) -> Instant {
        clock::monotonic()
    }

    fn clock(&self) -> Clock {
        clock::both()
    }

    fn suspended(&self) -> Duration {
        clock::suspended()
    }

    fn random(&mut self) -> u64 {
        net::random()
    }

    fn watch_nothing(&mut self) {
        self.poll.clear();
        self.collects = false;
    }

    fn watch(&mut self, name: Waited, source: Source) {
        match source {
            Source::Readable(fd) => self.poll.add(name, fd),
            Source::Writable(fd) => self.poll.add_write(name, fd),
            Source::Collected => self.collects = true,
        }
    }

    fn wait(&mut self, until: Option<Instant>) -> io::Result<()> {
        let timeout = clock::poll_timeout(clock::monotonic(), until);
        // Times are kept to the millisecond, but a thousand targets need not be served one by one.
        let collects = self.collects && (0..COLLECTING).contains(&timeout);
        self.poll.wait(if collects { COLLECTING } else { timeout })
    }

    fn is_ready(&self, name: Waited) -> bool {
        self.poll.ready(name)
    }

    fn is_ready_besides(&self, name: Waited) -> bool {
        self.poll.ready_besides(name)
    }
}
