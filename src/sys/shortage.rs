//! Why the system does not give what it was asked for, and what mends that.

use std::io;

use super::cerr;
use crate::base::error;

/// Descriptors that are enough for anything imon does at one time: lookups of names, probes,
/// scripts and workers.
const ENOUGH: u64 = 256;
/// So many must be free for the monitors: for a script or a worker, and for lookups and probes of
/// more than one kind.
pub const MONITORS: u64 = 12;
/// So many must be free for `imon check`, which asks everything at one time.
pub const CHECK: u64 = 40;

/// Bytes that another configuration may take while it is read: a file of 1 MiB, the hosts file, a
/// thousand targets.
const ROOM: usize = 4 << 20;

/// Finds out whether so many descriptors are free.
///
/// # Errors
/// `EMFILE` when there are not.
pub fn try_descriptors(wanted: u64) -> io::Result<()> {
    // SAFETY: takes numbers; a copy of what may not be open at all is then refused by another
    // error.
    let free = match cerr(unsafe { libc::fcntl(libc::STDERR_FILENO, libc::F_DUPFD_CLOEXEC, 0) }) {
        Err(e) if error::is_shortage(&e) => return Err(e),
        Err(_) => return Ok(()),
        Ok(free) => free,
    };
    // SAFETY: it was made just now, and nobody else has it.
    unsafe { libc::close(free) };
    // The lowest number that is free: below it all are in use.
    let free = u64::try_from(free).unwrap_or(0);
    if free + wanted > limit(libc::RLIMIT_NOFILE) {
        Err(io::Error::from_raw_os_error(libc::EMFILE))
    } else {
        Ok(())
    }
}

/// Finds out whether there is memory for another configuration beside the one there is.
///
/// # Errors
/// `ENOMEM` when there is not.
pub fn try_memory() -> io::Result<()> {
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping that nobody uses and that goes again at once.
    unsafe {
        let memory = libc::mmap(std::ptr::null_mut(), ROOM, protection, flags, -1, 0);
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        cerr(libc::munmap(memory, ROOM)).map(drop)
    }
}

/// An error in words, with what is missing, how much of it there may be, and what mends that.
#[must_use]
pub fn told(e: &io::Error) -> String {
    let text = super::error_text(e);
    match e.raw_os_error() {
        Some(libc::EAGAIN) => format!(
            "{text}: this user may have {} processes: use 'ulimit -u', or LimitNPROC= and TasksMax= in the unit",
            limit(libc::RLIMIT_NPROC)
        ),
        Some(libc::ENOBUFS) => format!("{text}: the kernel has no memory for what is on its way"),
        Some(libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT | libc::ESOCKTNOSUPPORT) => {
            format!(
                "{text}: this kernel was built without it, or RestrictAddressFamilies= in the unit forbids it"
            )
        }
        _ => text,
    }
}

/// What every error of these is told with; mostly nothing.
pub(super) fn hint(e: &io::Error) -> String {
    match e.raw_os_error() {
        Some(libc::EMFILE) => format!(
            ": this process may have {} open at a time: use 'ulimit -n {ENOUGH}', or LimitNOFILE={ENOUGH} in the unit",
            limit(libc::RLIMIT_NOFILE)
        ),
        Some(libc::ENFILE) => {
            ": all processes together have as many open as this system allows: use 'sysctl -w \
                               fs.file-max=NUMBER'"
                .to_owned()
        }
        Some(libc::ENOMEM) => match limit(libc::RLIMIT_AS) {
            u64::MAX => String::new(),
            bytes => format!(
                ": this process may have {} KiB: use 'ulimit -v unlimited', or LimitAS=infinity in the unit",
                bytes / 1024
            ),
        },
        _ => String::new(),
    }
}

/// How much of a resource this process may have; `u64::MAX`: as much as there is.
fn limit(resource: Resource) -> u64 {
    // SAFETY: two integers, for which zero is valid.
    let mut limit: libc::rlimit = unsafe { std::mem::zeroed() };
    // SAFETY: `limit` is valid to write to.
    unsafe { libc::getrlimit(resource, &raw mut limit) };
    #[allow(clippy::useless_conversion, reason = "it has 32 bits with some C libraries")]
    if limit.rlim_cur == libc::RLIM_INFINITY { u64::MAX } else { limit.rlim_cur.into() }
}

/// The C libraries do not agree on it.
#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = libc::c_int;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d7_each_shortage_says_what_mends_it() {
        for (errno, words) in [
            (libc::EMFILE, "LimitNOFILE=256"),
            (libc::ENFILE, "fs.file-max"),
            (libc::ENOBUFS, "no memory for what is on its way"),
            (libc::EAGAIN, "LimitNPROC="),
            (libc::EAFNOSUPPORT, "RestrictAddressFamilies="),
        ] {
            let told = told(&io::Error::from_raw_os_error(errno));
            assert!(told.contains(words), "{told}");
            assert!(!told.contains("os error"), "{told}");
        }
        assert_eq!(hint(&io::Error::from_raw_os_error(libc::EACCES)), "");
    }
    /// That a file is locked, for instance, is said with the same number.
    #[test]
    fn only_what_could_not_be_had_is_told_with_what_else_may_be_lacking() {
        use crate::engine::world::World;
        use crate::sys::real::Real;
        let again = io::Error::from_raw_os_error(libc::EAGAIN);
        assert_eq!(Real::in_words(&again), "Resource temporarily unavailable");
        assert!(Real::shortage_in_words(&again).contains("LimitNPROC="));
    }
}
