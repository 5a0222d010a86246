//! Giving everything up that one web request does not need, before it is made.

use std::io;

use super::{cerr, seccomp};

/// "nobody", everywhere.
const NOBODY: libc::uid_t = 65_534;
/// Memory that may be allocated, in bytes,
const DATA: libc::rlim_t = 16 << 20;
/// and mapped, the program itself included.
const MAPPED: libc::rlim_t = 128 << 20;
/// Descriptors.
const FILES: libc::rlim_t = 32;
/// `_LINUX_CAPABILITY_VERSION_3` (linux/capability.h).
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Leaves this process with nothing but the descriptors it has and the right to open sockets: no
/// capability, no way to get one, another user, nothing to be traced or dumped, none of the system
/// calls that it can do without, little memory, `seconds` of processor time, and a SIGALRM that
/// ends it `seconds` from now. It ends with its parent if `with_parent` says so.
///
/// # Errors
/// What the kernel did not let happen, for a person. Everything else has.
pub fn confine(seconds: u32, with_parent: bool) -> Result<(), String> {
    let mut refused = Vec::new();
    // SAFETY: takes nothing, cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    // While that is still allowed.
    close_bounding_set();
    if root && let Err(e) = become_nobody() {
        refused.push(format!(
            "the kernel does not let root become another user ({})",
            super::error_text(&e)
        ));
    }
    drop_capabilities();
    // SAFETY: these calls take integers, and change this process only.
    unsafe {
        if cerr(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)).is_err() {
            refused.push("the kernel does not know no_new_privs".to_owned());
        }
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        if with_parent {
            // After the change of user, which clears it.
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        }
        libc::alarm(seconds);
    }
    for (resource, limit) in [
        (libc::RLIMIT_AS, MAPPED),
        (libc::RLIMIT_DATA, DATA),
        (libc::RLIMIT_CPU, seconds.into()),
        (libc::RLIMIT_NOFILE, FILES),
        // What was written to is a pipe, or a file with a few hundred bytes.
        (libc::RLIMIT_FSIZE, 64 * 1024),
        (libc::RLIMIT_NPROC, 0),
        (libc::RLIMIT_CORE, 0),
    ] {
        let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
        // SAFETY: the structure lives through the call.
        unsafe { libc::setrlimit(resource, &raw const limit) };
    }
    // Last, since it may refuse what was done above.
    seccomp::refuse_needless_calls();
    if refused.is_empty() { Ok(()) } else { Err(refused.join("; ")) }
}

fn become_nobody() -> io::Result<()> {
    // SAFETY: an empty list, and integers.
    unsafe {
        // Not allowed in some user namespaces, where there is nothing to give up either.
        let groups = cerr(libc::setgroups(0, std::ptr::null()));
        cerr(libc::setresgid(NOBODY, NOBODY, NOBODY))?;
        cerr(libc::setresuid(NOBODY, NOBODY, NOBODY))?;
        groups.map(|_| ())
    }
}

/// Nothing that this process executes could get a capability back.
fn close_bounding_set() {
    // Beyond the last one it fails, and nothing happens; so it does without CAP_SETPCAP.
    for capability in 0..64 {
        // SAFETY: integers.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
}

fn drop_capabilities() {
    let header = Header { version: VERSION_3, pid: 0 };
    let none = [Sets::default(); 2];
    // SAFETY: integers; the two structures are what the call of this version reads, and live
    // through it.
    unsafe {
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr());
    }
}
