//! Why the system does not give what it was asked for, and what mends that.

use std::io;

/// Descriptors that are enough for anything imon does at one time: lookups of names, probes, scripts and workers.
const ENOUGH: u64 = 256;

/// Whether this error number means that this process or the system has no more of something. It may have later.
#[must_use]
pub fn is_errno(errno: i32) -> bool {
    matches!(errno, libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS)
}

/// As [`is_errno`].
#[must_use]
pub fn is_one(e: &io::Error) -> bool {
    e.raw_os_error().is_some_and(is_errno)
}

/// The error in words, with what is missing, how much of it there may be, and what mends that, as far as it is known.
#[must_use]
pub fn told(e: &io::Error) -> String {
    format!("{}{}", super::error_text(e), hint(e))
}

/// What [`told`] adds to the words of an error; mostly nothing.
#[must_use]
pub fn hint(e: &io::Error) -> String {
    let limit = |resource| {
        // SAFETY: two integers, for which zero is valid.
        let mut limit: libc::rlimit = unsafe { std::mem::zeroed() };
        // SAFETY: `limit` is valid to write to.
        unsafe { libc::getrlimit(resource, &raw mut limit) };
        limit.rlim_cur
    };
    match e.raw_os_error() {
        Some(libc::EMFILE) => format!(
            ": this process may open {} files at a time, and {ENOUGH} are enough: use 'ulimit -n {ENOUGH}', or \
             LimitNOFILE={ENOUGH} in the unit",
            limit(libc::RLIMIT_NOFILE)
        ),
        Some(libc::ENFILE) => ": all processes together have as many files open as this system allows: use 'sysctl -w \
                               fs.file-max=NUMBER'"
            .to_owned(),
        Some(libc::ENOMEM) => match limit(libc::RLIMIT_AS) {
            libc::RLIM_INFINITY => ": this system, or the unit by MemoryMax=, has no more memory".to_owned(),
            bytes => format!(
                ": this process may have {} KiB of address space: use 'ulimit -v unlimited', or LimitAS=infinity in the \
                 unit",
                bytes / 1024
            ),
        },
        Some(libc::ENOBUFS) => ": the kernel has no memory for the network's buffers".to_owned(),
        Some(libc::EAGAIN) => format!(
            ": this user may have {} processes: use 'ulimit -u', or LimitNPROC= and TasksMax= in the unit",
            limit(libc::RLIMIT_NPROC)
        ),
        Some(libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT | libc::ESOCKTNOSUPPORT) => {
            ": this kernel was built without it".to_owned()
        }
        _ => String::new(),
    }
}
