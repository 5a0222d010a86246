//! poll(2): one call a turn of the loop, on a list that is used again.

use std::io;
use std::os::fd::RawFd;

/// The descriptors to wait for. Each has a name, `N`, by which its readiness is asked for
/// afterwards: where it stands in the list means nothing, and what is not in the list is not ready.
pub struct Poll<N> {
    fds: Vec<libc::pollfd>,
    names: Vec<N>,
}

impl<N> Default for Poll<N> {
    fn default() -> Self {
        Self { fds: Vec::new(), names: Vec::new() }
    }
}

impl<N: Copy + PartialEq> Poll<N> {
    /// Forgets all descriptors.
    pub fn clear(&mut self) {
        self.fds.clear();
        self.names.clear();
    }

    /// Waits for something to read. Several descriptors may share a name.
    pub fn add(&mut self, name: N, fd: RawFd) {
        self.push(name, fd, libc::POLLIN);
    }

    /// Waits for room to write.
    pub fn add_write(&mut self, name: N, fd: RawFd) {
        self.push(name, fd, libc::POLLOUT);
    }

    /// Waits at most `timeout` milliseconds, for ever if it is negative. A signal ends it early.
    ///
    /// # Errors
    /// As poll(2), but for EINTR.
    pub fn wait(&mut self, timeout: i32) -> io::Result<()> {
        for fd in &mut self.fds {
            fd.revents = 0;
        }
        let n = libc::nfds_t::try_from(self.fds.len()).unwrap_or(0);
        // SAFETY: the pointer and the length are of one vector of pollfd.
        match super::cerr(unsafe { libc::poll(self.fds.as_mut_ptr(), n, timeout) }) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Whether a descriptor of this name is ready, or has an error that reading would tell.
    #[must_use]
    pub fn ready(&self, name: N) -> bool {
        self.any_ready(|it| it == name)
    }

    /// Whether a descriptor of any other name is ready.
    #[must_use]
    pub fn ready_besides(&self, name: N) -> bool {
        self.any_ready(|it| it != name)
    }

    fn any_ready(&self, wanted: impl Fn(N) -> bool) -> bool {
        self.fds.iter().zip(&self.names).any(|(fd, name)| fd.revents != 0 && wanted(*name))
    }

    fn push(&mut self, name: N, fd: RawFd, events: i16) {
        self.fds.push(libc::pollfd { fd, events, revents: 0 });
        self.names.push(name);
    }
}

/// Waits for one descriptor to take something, at most `timeout` milliseconds. Returns whether it
/// does, or has an error that writing would tell.
#[must_use]
pub fn writable(fd: RawFd, timeout: i32) -> bool {
    let mut one = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    // SAFETY: the pointer is to one pollfd, as is said.
    super::cerr(unsafe { libc::poll(&raw mut one, 1, timeout) }).is_ok() && one.revents != 0
}
