//! All that the loop has of the world: clocks, random numbers, and waiting. `sys` is the real one, and simulations are
//! others. The loop is compiled for each kind, so that the real one costs nothing.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use crate::time::{Clock, Instant};

/// What the loop waits for, each by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waited {
    /// Signals of the operating system.
    Signals,
    /// Replies to pings, by any socket.
    Pings,
    /// News of links, addresses, routes and rules, for failover.
    News,
    /// News of addresses and default routes, for ddns.
    Addresses,
    /// The list of connections that is gone through.
    Flush,
    /// The answer to a probe that is no ping.
    Contact(u64),
    /// The answer of a name server.
    Question(u64),
    /// What a worker says.
    Worker(u64),
    /// What a script prints.
    Output(u64),
    /// Room for log lines.
    Log,
    /// The child that writes files.
    Writer,
}

/// Where something comes from that is waited for.
pub enum Source {
    /// Something to read.
    Readable(RawFd),
    /// Room to write.
    Writable(RawFd),
    /// Replies that are collected: none is worth waking up for, but waking up for something else may be put off for some
    /// milliseconds to have more of them at once.
    Collected,
}

/// The world.
pub trait World {
    /// The monotonic clock: never steps, stands still while the machine is suspended.
    fn now(&self) -> Instant;

    /// Both clocks.
    fn clock(&self) -> Clock;

    /// How long the machine has been suspended since boot.
    fn suspended(&self) -> Duration;

    /// A number that nobody can predict.
    fn random(&mut self) -> u64;

    /// Begins another list of what is waited for, with nothing in it.
    fn watch_nothing(&mut self);

    /// Adds to that list. Several sources may have one name.
    fn watch(&mut self, name: Waited, source: Source);

    /// Waits for anything in the list, at most until the moment given. Who is woken too early waits again. The list stays.
    ///
    /// # Errors
    /// When waiting itself fails, which nothing sensible can follow.
    fn wait(&mut self, until: Option<Instant>) -> io::Result<()>;

    /// Whether there was something from a source of this name when [`World::wait`] came back.
    fn is_ready(&self, name: Waited) -> bool;

    /// Whether there was something from a source of any other name.
    fn is_ready_besides(&self, name: Waited) -> bool;
}
