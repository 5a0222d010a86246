//! The clocks, with 64-bit seconds on every platform, and local time.

use std::time::Duration;

use crate::time::{Clock, Instant, Wall};

/// A kernel time with 64-bit fields (`struct __kernel_timespec`). The `timespec` of the libc crate has 32-bit seconds
/// on 32-bit musl and is never passed through libc there.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Time64 {
    secs: i64,
    nanos: i64,
}

fn get(clock: libc::clockid_t) -> Time64 {
    let mut t = Time64::default();
    #[cfg(target_pointer_width = "64")]
    {
        let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `ts` is a valid timespec to write to. The clock is one that every Linux has, so it cannot fail.
        unsafe { libc::clock_gettime(clock, &raw mut ts) };
        (t.secs, t.nanos) = (ts.tv_sec, ts.tv_nsec);
    }
    #[cfg(all(target_env = "musl", not(target_pointer_width = "64")))]
    {
        // By way of the vDSO where the kernel has one, which a system call of our own would not be.
        // SAFETY: musl writes 64-bit seconds and, in the half of the second field that counts, 32-bit nanoseconds; the
        // other half stays 0.
        unsafe { clock_gettime64(clock, &raw mut t) };
    }
    #[cfg(all(not(target_env = "musl"), not(target_pointer_width = "64")))]
    {
        // Not in every libc: clock_gettime64 is 403 on all 32-bit Linux platforms but for the offset of MIPS o32.
        const CLOCK_GETTIME64: libc::c_long = if cfg!(any(target_arch = "mips")) { 4403 } else { 403 };
        // SAFETY: the kernel writes two 64-bit fields, which is what `Time64` is.
        let r = unsafe { libc::syscall(CLOCK_GETTIME64, clock, &raw mut t) };
        if r != 0 {
            // Linux before 5.1: 32-bit time is all there is.
            let mut old = [0 as libc::c_long; 2];
            // SAFETY: the old call writes two longs.
            unsafe { libc::syscall(libc::SYS_clock_gettime, clock, old.as_mut_ptr()) };
            (t.secs, t.nanos) = (i64::from(old[0]), i64::from(old[1]));
        }
    }
    t
}

fn nanos(t: Time64) -> u64 {
    u64::try_from(t.secs).unwrap_or(0).saturating_mul(1_000_000_000).saturating_add(u64::try_from(t.nanos).unwrap_or(0))
}

/// `CLOCK_MONOTONIC`: never steps, stands still while the machine is suspended.
#[must_use]
pub fn monotonic() -> Instant {
    Instant::from_nanos(nanos(get(libc::CLOCK_MONOTONIC)))
}

/// How long the machine has been suspended since boot: what `CLOCK_BOOTTIME` has more than `CLOCK_MONOTONIC`. The two
/// are not read at the same instant; a delay between them makes it less, never more.
#[must_use]
pub fn suspended() -> Duration {
    let boot = nanos(get(libc::CLOCK_BOOTTIME));
    Duration::from_nanos(boot.saturating_sub(nanos(get(libc::CLOCK_MONOTONIC))))
}

/// The wall clock.
#[must_use]
pub fn wall() -> Wall {
    let t = get(libc::CLOCK_REALTIME);
    Wall { secs: t.secs, nanos: u32::try_from(t.nanos).unwrap_or(0) }
}

/// Both clocks.
#[must_use]
pub fn both() -> Clock {
    Clock { now: monotonic(), wall: wall() }
}

#[cfg(all(target_env = "musl", not(target_pointer_width = "64")))]
unsafe extern "C" {
    /// The name that musl 1.2's header gives to `clock_gettime` with 64-bit time.
    #[link_name = "__clock_gettime64"]
    fn clock_gettime64(clock: libc::clockid_t, time: *mut Time64) -> libc::c_int;
    /// The name that musl 1.2's header gives to `localtime_r` with 64-bit time. The libc crate's is the 32-bit one.
    #[link_name = "__localtime64_r"]
    fn localtime_r(time: *const i64, tm: *mut libc::tm) -> *mut libc::tm;
}
#[cfg(not(all(target_env = "musl", not(target_pointer_width = "64"))))]
use libc::localtime_r;

/// Writes the wall-clock time as local time by a `strftime` format (as Python's: `%f` is microseconds). An unusable
/// format or time writes nothing and returns false.
pub fn local(wall: Wall, format: &str, out: &mut String) -> bool {
    // SAFETY: all fields of `tm` are integers or a pointer, for which zero is valid.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // Fails only in a 32-bit glibc build after 2038; our binaries are musl.
    #[allow(irrefutable_let_patterns, clippy::useless_conversion)]
    let Ok(time) = wall.secs.try_into() else { return false };
    // SAFETY: both point to values of the right type; the function is thread-safe.
    if unsafe { localtime_r(&raw const time, &raw mut tm) }.is_null() {
        return false;
    }
    // `%f` is Python's. The trailing blank makes an empty result tell from one that did not fit.
    let mut pattern = [0_u8; 160];
    let mut len = 0;
    let mut micros = [0_u8; 6];
    let mut rest = wall.nanos / 1000;
    for digit in micros.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    let mut bytes = format.bytes().peekable();
    while let Some(b) = bytes.next() {
        let next = bytes.peek().copied();
        let piece: &[u8] = match (b, next) {
            (b'%', Some(b'f')) => &micros,
            (b'%', Some(b'%')) => b"%%",
            _ => &[b],
        };
        if b == b'%' && matches!(next, Some(b'f' | b'%')) {
            bytes.next();
        }
        let Some(place) = pattern.get_mut(len..len + piece.len()) else { return false };
        place.copy_from_slice(piece);
        len += piece.len();
    }
    let Some([blank, _nul]) = pattern.get_mut(len..len + 2) else { return false };
    *blank = b' ';
    let mut text = [0_u8; 256];
    // SAFETY: the pattern ends with a NUL (the array is zeroed and two bytes are left), `text` is as long as is said,
    // and `tm` was filled in by localtime_r.
    let n = unsafe { libc::strftime(text.as_mut_ptr().cast(), text.len(), pattern.as_ptr().cast(), &raw const tm) };
    match text.get(..n.saturating_sub(1)).map(std::str::from_utf8) {
        Some(Ok(s)) if n > 0 => {
            out.push_str(s);
            true
        }
        _ => false,
    }
}

/// The time zone of OpenWrt, which a static binary would not find: musl reads `TZ` and `/etc/localtime`, OpenWrt keeps
/// it in `/etc/TZ`. To be called first, while there is one thread.
pub fn adopt_openwrt_zone() {
    if std::env::var_os("TZ").is_some() || std::path::Path::new("/etc/localtime").exists() {
        return;
    }
    if let Ok(zone) = super::files::read("/etc/TZ", 256) {
        let zone = String::from_utf8_lossy(&zone);
        // SAFETY: called from main before anything else; no other thread exists that could read the environment.
        unsafe { std::env::set_var("TZ", zone.trim()) };
    }
}

/// Waits a few milliseconds. Not for the loop while anything is under way.
pub(super) fn pause(length: Duration) {
    let millis = i32::try_from(length.as_millis()).unwrap_or(0);
    // SAFETY: no descriptors are given, so the pointer is not read.
    unsafe { libc::poll(std::ptr::null_mut(), 0, millis) };
}

/// Milliseconds for poll(2) until `at`, rounded up so that it is never woken too early.
#[must_use]
pub fn poll_timeout(now: Instant, at: Option<Instant>) -> i32 {
    let Some(at) = at else { return -1 };
    i32::try_from(at.since(now).as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(wall: Wall, format: &str) -> Option<String> {
        let mut out = String::new();
        local(wall, format, &mut out).then_some(out)
    }

    #[test]
    fn local_time_is_written_by_the_format() {
        let noon = Wall { secs: 1_795_348_800, nanos: 1_234_000 };
        // The zone is the machine's: only what no zone changes.
        assert_eq!(text(noon, "%Y-%f%%").as_deref(), Some("2026-001234%"));
        assert_eq!(text(noon, "%%f").as_deref(), Some("%f"));
        assert_eq!(text(noon, "").as_deref(), Some(""));
        assert_eq!(text(noon, &"x".repeat(300)), None);
        assert_eq!(text(Wall { secs: 4_102_444_800 + 43_200, nanos: 0 }, "%Y").as_deref(), Some("2100"));
    }

    #[test]
    fn a_poll_never_ends_too_early() {
        let at = |ns| Instant::from_nanos(ns);
        assert_eq!(poll_timeout(at(0), None), -1);
        assert_eq!(poll_timeout(at(0), Some(at(1))), 1);
        assert_eq!(poll_timeout(at(0), Some(at(1_000_000))), 1);
        assert_eq!(poll_timeout(at(5), Some(at(1))), 0);
        assert_eq!(poll_timeout(at(0), Some(at(u64::MAX))), i32::MAX);
    }
}
