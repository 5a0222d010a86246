//! System calls that the process of one web request does without. A parser that a hostile server
//! has taken over would want them next, so the kernel refuses them (seccomp(2)).
//!
//! What is refused is listed, not what is allowed: which harmless calls a C library makes differs
//! from processor to processor, and a request that fails for one that nobody thought of would be an
//! address that is never published.

use std::io;

use super::cerr;

// linux/bpf_common.h: load a word of the call, bitwise and, jumps that compare, return.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const IF_EQUAL: u16 = 0x15;
#[cfg(target_arch = "x86_64")]
const IF_AT_LEAST: u16 = 0x35;
const IF_ANY: u16 = 0x45;
const RETURN: u16 = 0x06;

// linux/seccomp.h
const ALLOW: u32 = 0x7fff_0000;
const REFUSE: u32 = 0x0005_0000 | libc::EPERM as u32;
const KILL: u32 = 0x8000_0000;

// Offsets in struct seccomp_data: the call's number, its calling convention, the lower half of an
// argument.
const NUMBER: u32 = 0;
const CONVENTION: u32 = 4;
const fn argument(n: u32) -> u32 {
    16 + 8 * n + if cfg!(target_endian = "big") { 4 } else { 0 }
}

/// `AUDIT_ARCH_…` (linux/audit.h). `None`: a processor without a filter here.
const OUR_CONVENTION: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else if cfg!(target_arch = "arm") {
    Some(0x4000_0028)
} else if cfg!(all(target_arch = "mips", target_endian = "little")) {
    Some(0x4000_0008)
} else if cfg!(target_arch = "mips") {
    Some(0x0000_0008)
} else {
    None
};

/// Other programs and processes; the file system, but for reading; namespaces, mounts, modules and
/// keys; clocks; and what most holes in kernels were found in.
#[rustfmt::skip]
const REFUSED: &[libc::c_long] = &[
    libc::SYS_execve, libc::SYS_execveat, libc::SYS_clone, libc::SYS_clone3,
    libc::SYS_kill, libc::SYS_tgkill, libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev, libc::SYS_pidfd_open,
    libc::SYS_openat2, libc::SYS_open_by_handle_at, libc::SYS_truncate, libc::SYS_unlinkat, libc::SYS_renameat2, libc::SYS_linkat,
    libc::SYS_symlinkat, libc::SYS_mkdirat, libc::SYS_mknodat, libc::SYS_fchmodat, libc::SYS_fchownat, libc::SYS_memfd_create,
    libc::SYS_unshare, libc::SYS_setns, libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_chroot,
    libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_kexec_load, libc::SYS_reboot,
    libc::SYS_add_key, libc::SYS_request_key, libc::SYS_keyctl,
    libc::SYS_settimeofday, libc::SYS_clock_settime, libc::SYS_adjtimex, libc::SYS_sethostname,
    libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_userfaultfd, libc::SYS_io_uring_setup, libc::SYS_personality,
];

/// The same by the names that newer processors do without.
#[cfg(any(target_arch = "x86_64", target_arch = "arm", target_arch = "mips"))]
#[rustfmt::skip]
const REFUSED_BY_OLD_NAMES: &[libc::c_long] = &[
    libc::SYS_fork,
    #[cfg(not(target_arch = "mips"))]
    libc::SYS_vfork,
    libc::SYS_creat, libc::SYS_unlink, libc::SYS_rmdir, libc::SYS_rename, libc::SYS_renameat,
    libc::SYS_link, libc::SYS_symlink, libc::SYS_mkdir, libc::SYS_mknod, libc::SYS_chmod, libc::SYS_chown, libc::SYS_lchown,
];
#[cfg(not(any(target_arch = "x86_64", target_arch = "arm", target_arch = "mips")))]
const REFUSED_BY_OLD_NAMES: &[libc::c_long] = &[];

/// Flags of open(2) that change a file.
const WRITING: libc::c_int = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC;

/// Calls that are refused if an argument (by its place) has one of these bits: files opened for
/// writing, memory that is made executable.
const REFUSED_WITH: &[(libc::c_long, u32, libc::c_int)] = &[
    #[cfg(any(target_arch = "x86_64", target_arch = "arm", target_arch = "mips"))]
    (libc::SYS_open, 1, WRITING),
    (libc::SYS_openat, 2, WRITING),
    (libc::SYS_mprotect, 2, libc::PROT_EXEC),
    #[cfg(not(target_arch = "arm"))]
    (libc::SYS_mmap, 2, libc::PROT_EXEC),
    #[cfg(any(target_arch = "arm", target_arch = "mips"))]
    (libc::SYS_mmap2, 2, libc::PROT_EXEC),
];

/// Refuses, for the rest of this process's life, everything above, and all sockets but those of
/// IPv4 and IPv6 and the datagrams of the system log. Nothing happens where the kernel has no such
/// filters, or no filter is known for the processor.
pub(super) fn refuse_needless_calls() {
    if let Some(convention) = OUR_CONVENTION {
        let _ = install(&program(convention));
    }
}

fn program(convention: u32) -> Vec<libc::sock_filter> {
    let mut program = vec![
        load(CONVENTION),
        // Numbers of another convention would mean other calls.
        jump(IF_EQUAL, convention, 1, 0),
        end(KILL),
        load(NUMBER),
        // Those of x32 as well.
        #[cfg(target_arch = "x86_64")]
        jump(IF_AT_LEAST, 0x4000_0000, 0, 1),
        #[cfg(target_arch = "x86_64")]
        end(KILL),
    ];
    for number in REFUSED.iter().chain(REFUSED_BY_OLD_NAMES) {
        program.extend([jump(IF_EQUAL, *number as u32, 0, 1), end(REFUSE)]);
    }
    for (number, place, bits) in REFUSED_WITH {
        program.extend([
            jump(IF_EQUAL, *number as u32, 0, 4),
            load(argument(*place)),
            jump(IF_ANY, *bits as u32, 0, 1),
            end(REFUSE),
            end(ALLOW),
        ]);
    }
    program.extend([
        jump(IF_EQUAL, libc::SYS_socket as u32, 0, 8),
        load(argument(0)),
        jump(IF_EQUAL, libc::AF_INET as u32, 6, 0),
        jump(IF_EQUAL, libc::AF_INET6 as u32, 5, 0),
        // Also what if_nametoindex(3) asks with.
        jump(IF_EQUAL, libc::AF_UNIX as u32, 0, 3),
        load(argument(1)),
        libc::sock_filter { code: AND, jt: 0, jf: 0, k: 0xf },
        jump(IF_EQUAL, libc::SOCK_DGRAM as u32, 1, 0),
        end(REFUSE),
        end(ALLOW),
    ]);
    program
}

const fn load(offset: u32) -> libc::sock_filter {
    libc::sock_filter { code: LOAD, jt: 0, jf: 0, k: offset }
}

/// Skips `yes` or `no` instructions.
const fn jump(code: u16, k: u32, yes: u8, no: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt: yes, jf: no, k }
}

const fn end(result: u32) -> libc::sock_filter {
    libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: result }
}

fn install(program: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: program.len().try_into().unwrap_or(0),
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies the program, which lives through the call, and does not write to
    // it.
    cerr(unsafe {
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
    })
    .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel does with a call, as linux/filter.h says.
    fn verdict(convention: u32, number: libc::c_long, arguments: [u64; 3]) -> u32 {
        let program = program(OUR_CONVENTION.unwrap());
        let (mut at, mut word) = (0, 0);
        loop {
            let instruction = program[at];
            let k = instruction.k;
            let jump = |yes: bool| usize::from(if yes { instruction.jt } else { instruction.jf });
            at += 1;
            match instruction.code {
                LOAD if k == NUMBER => word = number as u32,
                LOAD if k == CONVENTION => word = convention,
                LOAD => word = arguments[((k - 16) / 8) as usize] as u32,
                AND => word &= k,
                IF_EQUAL => at += jump(word == k),
                IF_ANY => at += jump(word & k != 0),
                RETURN => return k,
                #[cfg(target_arch = "x86_64")]
                IF_AT_LEAST => at += jump(word >= k),
                code => panic!("{code:#x}"),
            }
        }
    }

    fn ours(number: libc::c_long, arguments: [libc::c_int; 3]) -> u32 {
        verdict(OUR_CONVENTION.unwrap(), number, arguments.map(|argument| argument as u64))
    }

    #[test]
    fn what_a_request_needs_is_allowed_and_nothing_that_leads_further() {
        for number in [
            libc::SYS_read,
            libc::SYS_write,
            libc::SYS_close,
            libc::SYS_connect,
            libc::SYS_sendto,
            libc::SYS_ppoll,
        ] {
            assert_eq!(ours(number, [1; 3]), ALLOW, "{number}");
        }
        for number in [
            libc::SYS_execve,
            libc::SYS_clone,
            libc::SYS_ptrace,
            libc::SYS_mount,
            libc::SYS_io_uring_setup,
        ] {
            assert_eq!(ours(number, [0; 3]), REFUSE, "{number}");
        }
        for number in REFUSED.iter().chain(REFUSED_BY_OLD_NAMES) {
            assert_eq!(ours(*number, [0; 3]), REFUSE, "{number}");
        }
    }

    #[test]
    fn files_are_opened_for_reading_only() {
        let open = |flags| ours(libc::SYS_openat, [libc::AT_FDCWD, 0, flags]);
        assert_eq!(open(libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NOFOLLOW), ALLOW);
        for flags in [
            libc::O_WRONLY,
            libc::O_RDWR,
            libc::O_CREAT,
            libc::O_WRONLY | libc::O_APPEND,
            libc::O_TRUNC,
        ] {
            assert_eq!(open(flags), REFUSE, "{flags:#o}");
        }
    }

    #[test]
    fn memory_is_never_made_executable() {
        let protect = |bits| ours(libc::SYS_mprotect, [0, 4096, bits]);
        assert_eq!(protect(libc::PROT_READ | libc::PROT_WRITE), ALLOW);
        assert_eq!(protect(libc::PROT_READ | libc::PROT_EXEC), REFUSE);
    }

    #[test]
    fn sockets_are_those_of_the_internet_and_of_the_system_log() {
        let socket = |family, kind| ours(libc::SYS_socket, [family, kind | libc::SOCK_CLOEXEC, 0]);
        for (family, kind) in [
            (libc::AF_INET, libc::SOCK_STREAM),
            (libc::AF_INET6, libc::SOCK_DGRAM),
            (libc::AF_UNIX, libc::SOCK_DGRAM),
        ] {
            assert_eq!(socket(family, kind), ALLOW, "{family} {kind}");
        }
        for (family, kind) in [
            (libc::AF_UNIX, libc::SOCK_STREAM),
            (libc::AF_UNIX, libc::SOCK_SEQPACKET),
            (libc::AF_NETLINK, libc::SOCK_RAW),
            (libc::AF_PACKET, libc::SOCK_RAW),
            (libc::AF_VSOCK, libc::SOCK_STREAM),
        ] {
            assert_eq!(socket(family, kind), REFUSE, "{family} {kind}");
        }
    }

    #[test]
    fn another_calling_convention_ends_the_process() {
        assert_eq!(verdict(0x4000_0003, libc::SYS_read, [0; 3]), KILL);
        #[cfg(target_arch = "x86_64")]
        assert_eq!(ours(libc::SYS_read | 0x4000_0000, [0; 3]), KILL);
    }
}
