//! The last words of a program that dies of its own fault. The binaries of `cross/build` have no panic messages (they are
//! a tenth of the program): a panic is an illegal instruction there, and this says where. The binaries are linked to a
//! fixed address and any build of the same source is the same, so the address is as good as a line number.

use super::cerr;

/// What a fault of the program raises: panics (SIGILL, SIGTRAP on AArch64), abort, and what only a fault in `unsafe` code
/// could raise.
const FAULTS: [libc::c_int; 6] =
    [libc::SIGILL, libc::SIGTRAP, libc::SIGABRT, libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE];
/// Priority of the system log: facility daemon, severity critical (RFC 3164, section 4.1.1).
const PRIORITY: &[u8] = b"<26>";
const WORDS: &[u8] = concat!("imon: ? Internal error in imon ", env!("CARGO_PKG_VERSION"), ", signal ").as_bytes();

/// From now on a fault is told on standard error and in the system log before it ends the program.
pub fn tell() {
    // SAFETY: integers and pointers only, for which zero is valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = last_words as extern "C" fn(_, _, _) as libc::sighandler_t;
    // Once, then what the signal does in any program; on the stack that Rust made for that of an overflow.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESETHAND | libc::SA_NODEFER | libc::SA_ONSTACK;
    for fault in FAULTS {
        // SAFETY: `action` is initialized, the handler calls only what signal-safety(7) allows.
        let _ = cerr(unsafe { libc::sigaction(fault, &raw const action, std::ptr::null_mut()) });
    }
}

extern "C" fn last_words(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel hands over a siginfo_t that lives through the handler.
    let address = if info.is_null() { 0 } else { unsafe { (*info).si_addr() }.addr() };
    let mut line = [0; 128];
    let mut length = 0;
    let mut put = |bytes: &[u8]| {
        for byte in bytes {
            if let Some(place) = line.get_mut(length) {
                *place = *byte;
                length += 1;
            }
        }
    };
    put(PRIORITY);
    put(WORDS);
    let (tens, ones) = (signal / 10 % 10, signal % 10);
    put(&[digit(tens as usize), digit(ones as usize)]);
    put(b" at 0x");
    for shift in (0..usize::BITS / 4).rev() {
        put(&[digit(address >> (shift * 4) & 15)]);
    }
    put(b". Please report this line\n");
    let text = line.get(PRIORITY.len()..length).unwrap_or_default();
    // SAFETY: writes as many bytes as there are. A handler may not do more about an error.
    unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
    // Without the end of the line.
    system_log(line.get(..length.saturating_sub(1)).unwrap_or_default());
    // Back to the fault, which ends it now. A signal that somebody sent would not come again by itself.
    // SAFETY: takes an integer.
    unsafe { libc::raise(signal) };
}

fn digit(n: usize) -> u8 {
    b"0123456789abcdef".get(n).copied().unwrap_or(b'?')
}

fn system_log(message: &[u8]) {
    // SAFETY: integers only, for which zero is valid.
    let mut to: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    to.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (place, byte) in to.sun_path.iter_mut().zip(b"/dev/log") {
        *place = *byte as libc::c_char;
    }
    let length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
    // SAFETY: the address and the message live through the calls, and their lengths are theirs. A socket that could not
    // be made is -1, which sendto refuses.
    unsafe {
        let socket = libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        libc::sendto(socket, message.as_ptr().cast(), message.len(), flags, (&raw const to).cast(), length);
    }
}
