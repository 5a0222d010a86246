//! The clocks, with 64-bit seconds on every platform, and local time.

use std::ffi::CStr;
use std::time::Duration;

use crate::base::time::date::Local;
use crate::base::time::{Clock, Instant, Wall};

/// A kernel time with 64-bit fields (`struct __kernel_timespec`). The `timespec` of the libc crate
/// has 32-bit seconds on 32-bit musl and is never passed through libc there.
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
        // SAFETY: `ts` is a valid timespec to write to. The clock is one that every Linux has, so
        // it cannot fail.
        unsafe { libc::clock_gettime(clock, &raw mut ts) };
        (t.secs, t.nanos) = (ts.tv_sec, ts.tv_nsec);
    }
    #[cfg(all(target_env = "musl", not(target_pointer_width = "64")))]
    {
        // By way of the vDSO where the kernel has one, which a system call of our own would not be.
        // SAFETY: musl writes 64-bit seconds and, in the half of the second field that counts,
        // 32-bit nanoseconds; the other half stays 0.
        unsafe { clock_gettime64(clock, &raw mut t) };
    }
    #[cfg(all(not(target_env = "musl"), not(target_pointer_width = "64")))]
    {
        // Not in every libc: clock_gettime64 is 403 on all 32-bit Linux platforms but for the
        // offset of MIPS o32.
        const CLOCK_GETTIME64: libc::c_long =
            if cfg!(any(target_arch = "mips")) { 4403 } else { 403 };
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
    u64::try_from(t.secs)
        .unwrap_or(0)
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::try_from(t.nanos).unwrap_or(0))
}

/// `CLOCK_MONOTONIC`: never steps, stands still while the machine is suspended.
#[must_use]
pub fn monotonic() -> Instant {
    Instant::from_nanos(nanos(get(libc::CLOCK_MONOTONIC)))
}

/// How long the machine has been suspended since boot: what `CLOCK_BOOTTIME` has more than
/// `CLOCK_MONOTONIC`. The two are not read at the same instant; a delay between them makes it less,
/// never more.
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
    /// The name that musl 1.2's header gives to `localtime_r` with 64-bit time. The libc crate's is
    /// the 32-bit one.
    #[link_name = "__localtime64_r"]
    fn localtime_r(time: *const i64, tm: *mut libc::tm) -> *mut libc::tm;
}
#[cfg(not(all(target_env = "musl", not(target_pointer_width = "64"))))]
use libc::localtime_r;

/// Writes the wall-clock time as local time by a `strftime` format, see [`Local::write`]. An
/// unusable format or time writes nothing and returns false.
pub fn local(wall: Wall, format: &str, out: &mut String) -> bool {
    broken_down(wall, |local, _| local.write(format, out)).unwrap_or(false)
}

/// Calls `f` with the local time, and what the C library has filled in.
fn broken_down<T>(wall: Wall, f: impl FnOnce(&Local<'_>, &libc::tm) -> T) -> Option<T> {
    // SAFETY: all fields of `tm` are integers or a pointer, for which zero is valid.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // Fails only in a 32-bit glibc build after 2038; our binaries are musl.
    #[allow(clippy::useless_conversion)]
    let time = wall.secs.try_into().ok()?;
    // SAFETY: both point to values of the right type; the function is thread-safe.
    if unsafe { localtime_r(&raw const time, &raw mut tm) }.is_null() {
        return None;
    }
    let zone = match tm.tm_zone.is_null() {
        true => "",
        // SAFETY: localtime_r points it to a name of the zone that stays until the zone is set
        // anew, which only localtime_r of this one thread does.
        false => unsafe { CStr::from_ptr(tm.tm_zone) }.to_str().unwrap_or(""),
    };
    let local = Local {
        wall,
        year: i64::from(tm.tm_year) + 1900,
        month: tm.tm_mon.into(),
        day: tm.tm_mday.into(),
        hour: tm.tm_hour.into(),
        minute: tm.tm_min.into(),
        second: tm.tm_sec.into(),
        weekday: tm.tm_wday.into(),
        yearday: tm.tm_yday.into(),
        #[allow(clippy::useless_conversion)] // a long, which is shorter on 32-bit processors
        offset: tm.tm_gmtoff.into(),
        zone,
    };
    Some(f(&local, &tm))
}

/// The time zone of OpenWrt, which a static binary would not find: musl reads `TZ` and
/// `/etc/localtime`, OpenWrt keeps it in `/etc/TZ`. To be called first, while there is one thread.
pub fn adopt_openwrt_zone() {
    if std::env::var_os("TZ").is_some() || std::path::Path::new("/etc/localtime").exists() {
        return;
    }
    if let Ok(zone) = super::files::read("/etc/TZ", 256) {
        let zone = String::from_utf8_lossy(&zone);
        // SAFETY: called from main before anything else; no other thread exists that could read the
        // environment.
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
        assert_eq!(text(noon, "é").as_deref(), Some("é"));
        for format in ["%", "%Q", "x%-", "%E", "%10d", "%é"] {
            assert_eq!(text(noon, format), None, "{format}");
        }
        assert_eq!(
            text(Wall { secs: 4_102_444_800 + 43_200, nanos: 0 }, "%Y").as_deref(),
            Some("2100")
        );
    }

    #[test]
    fn dates_are_those_of_the_c_library() {
        const FORMAT: &str = "%a %A %b %B %c %C %d %D %e %F %g %G %h %H %I %j %k %l %m %M %n %p %P %r %R %s %S %t %T %u %U \
                              %V %w %W %x %X %y %Y %z %Z %% %-d %_m %0e %-H %_j %Ey %Od";
        let pattern = std::ffi::CString::new(FORMAT).unwrap();
        let mut seed = 1_u64;
        let mut random = move || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            i64::try_from(seed >> 33).unwrap()
        };
        // Each day of 30 years around the turns, and any second until 2038.
        let days = (0..11_000).map(|day| 946_684_800 + day * 86_400 + day % 24 * 3600);
        for secs in days.chain((0..5_000).map(move |_| random())) {
            let (ours, theirs) = broken_down(Wall { secs, nanos: 0 }, |local, tm| {
                let mut ours = String::new();
                assert!(local.write(FORMAT, &mut ours));
                let mut theirs = [0_u8; 1024];
                // SAFETY: the array is as long as is said, and `tm` was filled in by localtime_r.
                let n = unsafe {
                    libc::strftime(theirs.as_mut_ptr().cast(), theirs.len(), pattern.as_ptr(), tm)
                };
                (ours, String::from_utf8(theirs[..n].to_vec()).unwrap())
            })
            .unwrap();
            assert_eq!(ours, theirs, "{secs}");
        }
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
