//! Signals, heard by poll(): a flag each and a byte in a pipe. They are blocked before `main`
//! begins and unblocked once their handlers are there, and nothing else in the process ever runs in
//! a handler.

use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::engine::world::Arrived;
use libc::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};

/// What is blocked until it has a handler.
const EARLY: [i32; 5] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1];

/// Makes [`block`] run before everything else in this program, Rust's own preparations included,
/// which take dozens of system calls. For a program's main file: a library must not do that to
/// whoever links it.
#[macro_export]
macro_rules! block_signals_before_main {
    () => {
        #[allow(unsafe_code)]
        // SAFETY: the section holds functions of this type that the C library calls before `main`.
        #[unsafe(link_section = ".init_array")]
        #[used]
        static BLOCK_SIGNALS: extern "C" fn() = $crate::sys::signal::block;
    };
}

/// Blocks the signals that [`Signals::install`] handles: one that comes early waits and is not
/// deadly.
pub extern "C" fn block() {
    early(libc::SIG_BLOCK);
}

/// Lets signals in that do what they do in any program.
pub fn unblock() {
    early(libc::SIG_UNBLOCK);
}

fn early(how: i32) {
    // SAFETY: a sigset_t may hold any bits, and sigemptyset sets them all.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is valid to write to, the signals exist.
    unsafe { libc::sigemptyset(&raw mut set) };
    for signal in EARLY {
        // SAFETY: as above.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    // SAFETY: `set` is initialized; there is one thread, so its mask is the program's. It cannot
    // fail.
    unsafe { libc::sigprocmask(how, &raw const set, std::ptr::null_mut()) };
}

/// The installed handlers.
pub struct Signals {
    pipe: UnixStream,
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    check_now: Arc<AtomicBool>,
    child: Arc<AtomicBool>,
}

impl Signals {
    /// Installs the handlers, and lets in what has come before.
    ///
    /// # Errors
    /// When there is no descriptor left for the pipe.
    pub fn install() -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        let flag = |signals: &[i32]| -> io::Result<Arc<AtomicBool>> {
            let flag = Arc::new(AtomicBool::new(false));
            for signal in signals {
                // The order matters: the flag is up when the byte arrives.
                signal_hook::flag::register(*signal, Arc::clone(&flag))?;
                signal_hook::low_level::pipe::register(*signal, write.try_clone()?)?;
            }
            Ok(flag)
        };
        let signals = Self {
            stop: flag(&[SIGTERM, SIGINT, SIGQUIT])?,
            reload: flag(&[SIGHUP])?,
            check_now: flag(&[SIGUSR1])?,
            child: flag(&[SIGCHLD])?,
            pipe: read,
        };
        // Whoever started us may have left them blocked, too.
        unblock();
        Ok(signals)
    }

    /// The descriptor to wait for.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.pipe.as_raw_fd()
    }

    /// Whether anything has arrived. The byte that wakes poll() up may be missing: a handler cannot
    /// try again.
    #[must_use]
    pub fn any(&self) -> bool {
        [&self.stop, &self.reload, &self.check_now, &self.child]
            .iter()
            .any(|flag| flag.load(Ordering::SeqCst))
    }

    /// Takes what has arrived. The pipe is emptied first, so a signal that comes meanwhile wakes
    /// the next poll.
    pub fn take(&mut self) -> Arrived {
        let mut bytes = [0; 64];
        while matches!(self.pipe.read(&mut bytes), Ok(n) if n == bytes.len()) {}
        let take = |flag: &AtomicBool| flag.swap(false, Ordering::SeqCst);
        Arrived {
            stop: take(&self.stop),
            reload: take(&self.reload),
            check_now: take(&self.check_now),
            child: take(&self.child),
        }
    }
}
