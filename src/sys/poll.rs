//! poll(2): one call a turn of the loop, on a list that is used again.

use std::io;
use std::ops::RangeInclusive;
use std::os::fd::RawFd;

/// The descriptors to wait for. Their order is the caller's: [`Poll::add`] returns the place, to ask for afterwards.
#[derive(Default)]
pub struct Poll {
    fds: Vec<libc::pollfd>,
}

impl Poll {
    /// Forgets all descriptors.
    pub fn clear(&mut self) {
        self.fds.clear();
    }

    /// Waits for something to read.
    pub fn add(&mut self, fd: RawFd) -> usize {
        self.push(fd, libc::POLLIN)
    }

    /// Waits for room to write.
    pub fn add_write(&mut self, fd: RawFd) -> usize {
        self.push(fd, libc::POLLOUT)
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

    /// Whether the descriptor at `place` is ready, or has an error that reading would tell.
    #[must_use]
    pub fn ready(&self, place: usize) -> bool {
        self.fds.get(place).is_some_and(|fd| fd.revents != 0)
    }

    /// Whether any descriptor but those at these places is ready.
    #[must_use]
    pub fn any_ready_outside(&self, places: RangeInclusive<usize>) -> bool {
        (0..).zip(&self.fds).any(|(place, fd)| fd.revents != 0 && !places.contains(&place))
    }

    fn push(&mut self, fd: RawFd, events: i16) -> usize {
        self.fds.push(libc::pollfd { fd, events, revents: 0 });
        self.fds.len() - 1
    }
}

/// Whether a descriptor takes something now, or has an error that writing would tell.
#[must_use]
pub fn writable(fd: RawFd) -> bool {
    let mut one = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    // SAFETY: the pointer is to one pollfd, as is said.
    super::cerr(unsafe { libc::poll(&raw mut one, 1, 0) }).is_ok() && one.revents != 0
}
