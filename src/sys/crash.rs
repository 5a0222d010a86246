//! The last words of a program that dies of its own fault. The binaries of `cross/build` have no
//! panic messages (they are a tenth of the program): a panic is an illegal instruction there, and
//! this says where. The binaries are linked to a fixed address and any build of the same source is
//! the same, so the address is as good as a line number.

use super::cerr;

/// What a fault of the program raises: panics (SIGILL, SIGTRAP on AArch64), abort, and what only a
/// fault in `unsafe` code could raise.
const FAULTS: [libc::c_int; 6] =
    [libc::SIGILL, libc::SIGTRAP, libc::SIGABRT, libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE];
/// The exit status of what may work the next time.
const SHORT: libc::c_int = 3;
/// Priority of the system log: facility daemon, severity critical (RFC 3164, section 4.1.1).
const PRIORITY: &[u8] = b"<26>";
const FAULT: &[u8] =
    concat!("imon: ? Internal error in imon ", env!("CARGO_PKG_VERSION"), ", signal ").as_bytes();
const SENT: &[u8] = b"imon: ? Ended by signal ";

/// From now on a fault is told on standard error and in the system log before it ends the program.
pub fn tell() {
    // SAFETY: integers and pointers only, for which zero is valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = last_words as extern "C" fn(_, _, _) as libc::sighandler_t;
    // Once, then what the signal does in any program; on the stack that Rust made for that of an
    // overflow.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESETHAND | libc::SA_NODEFER | libc::SA_ONSTACK;
    for fault in FAULTS {
        // SAFETY: `action` is initialized, the handler calls only what signal-safety(7) allows.
        let _ = cerr(unsafe { libc::sigaction(fault, &raw const action, std::ptr::null_mut()) });
    }
}

/// Ends the program: there is no memory for so many bytes more.
pub(super) fn out_of_memory(size: usize) -> ! {
    let mut line = Line::new();
    line.put(b"imon: ? No memory: ");
    line.number(size, 10, 1);
    line.put(b" bytes more are refused. Limits are those of 'ulimit -v', and of LimitAS= and MemoryMax= in the unit");
    line.tell();
    // SAFETY: takes a number, does not return.
    unsafe { libc::_exit(SHORT) }
}

extern "C" fn last_words(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel hands over a siginfo_t that lives through the handler.
    let Some(info) = (unsafe { info.as_ref() }) else { return };
    let mut line = Line::new();
    // Somebody has sent it (sigaction(2)): systemd for one, when imon does not answer its watchdog.
    // abort() sends, too. SAFETY: both sides of the union are integers.
    let from = if info.si_code <= 0 { Some(unsafe { info.si_pid() }) } else { None };
    // SAFETY: takes nothing, cannot fail.
    let own = from == Some(unsafe { libc::getpid() });
    line.put(if from.is_none() || own { FAULT } else { SENT });
    line.number(signal.unsigned_abs() as usize, 10, 2);
    match from {
        None => {
            line.put(b" at 0x");
            line.number(place(info, context), 16, 1);
            line.put(b". Please report this line");
        }
        Some(_) if own => line.put(b". Please report this line"),
        Some(pid) => {
            line.put(b", which process ");
            line.number(pid.unsigned_abs() as usize, 10, 1);
            line.put(b" has sent");
        }
    }
    line.tell();
    // Back to the fault, which ends it now. A signal that somebody sent would not come again by
    // itself. SAFETY: takes an integer.
    unsafe { libc::raise(signal) };
}

/// Where the fault was: the instruction, or for memory that cannot be used its address.
#[cfg(not(any(target_arch = "mips", target_arch = "mips64")))]
fn place(info: &libc::siginfo_t, _: *mut libc::c_void) -> usize {
    // SAFETY: the kernel has filled it in for a fault.
    unsafe { info.si_addr() }.addr()
}

/// There the kernel leaves the address of a trap out, but tells the program counter.
#[cfg(any(target_arch = "mips", target_arch = "mips64"))]
fn place(info: &libc::siginfo_t, context: *mut libc::c_void) -> usize {
    /// uc_flags, uc_link, uc_stack, padding, sc_regmask, sc_status (arch/mips/include/uapi/asm,
    /// o32).
    const PC: usize = 32;
    // SAFETY: the kernel has filled it in for a fault.
    let address = unsafe { info.si_addr() }.addr();
    if address != 0 || context.is_null() || cfg!(target_arch = "mips64") {
        return address;
    }
    // SAFETY: the kernel hands over a ucontext that is longer than that and lives through the
    // handler.
    let pc = unsafe { context.cast::<u8>().add(PC).cast::<u64>().read_unaligned() };
    usize::try_from(pc).unwrap_or(0)
}

/// Text that is put together without memory of its own: a handler may not allocate.
struct Line {
    bytes: [u8; 192],
    length: usize,
}

impl Line {
    fn new() -> Self {
        let mut line = Self { bytes: [0; 192], length: 0 };
        line.put(PRIORITY);
        line
    }

    /// In the system log and on standard error.
    fn tell(&mut self) {
        system_log(self.bytes.get(..self.length).unwrap_or_default());
        self.put(b"\n");
        let text = self.bytes.get(PRIORITY.len()..self.length).unwrap_or_default();
        // SAFETY: writes as many bytes as there are. A handler may not do more about an error.
        unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
    }

    fn put(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = *byte;
                self.length += 1;
            }
        }
    }

    /// A number in this base, of at least so many digits.
    fn number(&mut self, n: usize, base: usize, least: u32) {
        let mut digits = least.max(1);
        while digits < usize::BITS && base.checked_pow(digits).is_some_and(|power| n >= power) {
            digits += 1;
        }
        for place in (0..digits).rev() {
            let digit = base.checked_pow(place).and_then(|power| n.checked_div(power)).unwrap_or(0);
            self.put(&[digit_of(digit.checked_rem(base).unwrap_or(0))]);
        }
    }
}

fn digit_of(n: usize) -> u8 {
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
    // SAFETY: the address and the message live through the calls, and their lengths are theirs. A
    // socket that could not be made is -1, which sendto refuses.
    unsafe {
        let socket = libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        libc::sendto(
            socket,
            message.as_ptr().cast(),
            message.len(),
            flags,
            (&raw const to).cast(),
            length,
        );
    }
}
