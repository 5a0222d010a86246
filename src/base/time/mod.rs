//! Time as a value: the core gets it as an argument and never asks a clock.

pub mod date;

use std::fmt;
use std::time::Duration;

/// The day this version was released, in seconds since 1970: a clock before it is wrong. A test
/// compares it with the changelog and the Debian package.
pub const RELEASED: i64 = 1_795_478_400;

/// A moment of the monotonic clock, in nanoseconds since an arbitrary origin (`CLOCK_MONOTONIC`:
/// since boot, without the time spent suspended). Intervals and outage durations are differences of
/// these, so a stepped wall clock or the end of daylight saving time cannot bend them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The origin of the clock.
    pub const ZERO: Self = Self(0);

    /// From nanoseconds since the clock's origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Instant {
    type Output = Self;
    /// Saturates at the end of the clock (584 years after boot).
    fn add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl std::ops::Sub<Duration> for Instant {
    type Output = Self;
    /// Saturates at the origin.
    fn sub(self, d: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A wall-clock time (UTC): seconds since 1970-01-01 and nanoseconds. 64 bits on every platform, so
/// 2038 is a year like any other. Only for people to read; nothing is ever computed from two of
/// them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Wall {
    /// Seconds since 1970-01-01T00:00:00Z, negative before.
    pub secs: i64,
    /// Nanoseconds within the second, below 1,000,000,000.
    pub nanos: u32,
}

impl Wall {
    /// The wall-clock time `d` before this one.
    #[must_use]
    pub fn before(self, d: Duration) -> Self {
        let mut secs = self.secs.saturating_sub(i64::try_from(d.as_secs()).unwrap_or(i64::MAX));
        let mut nanos = i64::from(self.nanos) - i64::from(d.subsec_nanos());
        if nanos < 0 {
            secs = secs.saturating_sub(1);
            nanos += 1_000_000_000;
        }
        Self { secs, nanos: u32::try_from(nanos).unwrap_or(0) }
    }
}

/// One moment on both clocks, to tell people when something of the monotonic clock was.
/// ```
/// use std::time::Duration;
/// use imon::base::time::{Clock, Instant, Wall, in_words};
///
/// let began = Instant::from_nanos(5_000_000_000);
/// let clock = Clock { now: began + Duration::from_secs(13), wall: Wall { secs: 1_795_330_107, nanos: 0 } };
/// assert_eq!(in_words(clock.now.since(began)), "0 days 0 hours, 0 minutes 13 seconds");
/// assert_eq!(clock.wall_of(began).to_string(), "2026-11-22T06:48:14.000Z");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clock {
    /// On the monotonic clock.
    pub now: Instant,
    /// On the wall clock.
    pub wall: Wall,
}

impl Clock {
    /// The wall-clock time of an earlier moment, by the wall clock as it is set now.
    #[must_use]
    pub fn wall_of(&self, then: Instant) -> Wall {
        self.wall.before(self.now.since(then))
    }
}

/// RFC 3339 in UTC with milliseconds: `2026-11-22T06:48:27.123Z`.
impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.secs.div_euclid(86_400), self.secs.rem_euclid(86_400));
        let (y, m, d) = civil(days);
        let (hh, mm, ss) = (second / 3600, second % 3600 / 60, second % 60);
        write!(f, "{y:04}-{m:02}-{d:02}T{hh:02}:{mm:02}:{ss:02}.{:03}Z", self.nanos / 1_000_000)
    }
}

impl serde::Serialize for Wall {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// Year, month and day of a day number (0 = 1970-01-01) in the proleptic Gregorian calendar. The
/// method is Howard Hinnant's `civil_from_days`: years begin in March, so that the leap day comes
/// last.
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days.saturating_add(719_468);
    let (era, doe) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (d, m) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    (yoe + era * 400 + i64::from(m <= 2), m, d)
}

/// A date as HTTP servers write it, `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7), in seconds
/// since 1970. `None`: it is none, or in one of the two forms that are obsolete.
#[must_use]
pub fn http_date(text: &str) -> Option<i64> {
    let mut words = text.split_once(", ")?.1.split(' ');
    let day: i64 = words.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let month = words.next()?;
    let month =
        i64::try_from(date::MONTHS.iter().position(|name| name.get(..3) == Some(month))?).ok()? + 1;
    let year: i64 = words.next()?.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let mut clock = words
        .next()?
        .splitn(3, ':')
        .map(|n| n.parse::<i64>().ok().filter(|n| (0..=60).contains(n)));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if words.next() != Some("GMT") {
        return None;
    }
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// The number of a day (0 = 1970-01-01): the inverse of [`civil`], by the same author.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let y = year - i64::from(month <= 2);
    let doy = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

/// A time as this program writes it, `2026-11-22T06:48:27.123Z`, in seconds since 1970. `None`: it
/// is something else.
#[must_use]
pub fn read_time(text: &str) -> Option<i64> {
    let number =
        |at: usize, length: usize| text.get(at..at + length)?.parse::<u16>().ok().map(i64::from);
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let is_time = (1..=12).contains(&month) && (1..=31).contains(&day) && text.ends_with('Z');
    is_time.then(|| days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// A duration as V2.99 logs it: `0 days 0 hours, 0 minutes 13 seconds`. Whole seconds, cut off, not
/// rounded.
#[must_use]
pub fn in_words(d: Duration) -> String {
    let (days, h, m, s) = split(d);
    format!("{days} days {h} hours, {m} minutes {s} seconds")
}

/// A duration as V2.99 passes it to the action script: `d:h:m:s` without padding, `0:0:0:18`.
#[must_use]
pub fn for_script(d: Duration) -> String {
    let (days, h, m, s) = split(d);
    format!("{days}:{h}:{m}:{s}")
}

fn split(d: Duration) -> (u64, u64, u64, u64) {
    let s = d.as_secs();
    (s / 86_400, s % 86_400 / 3600, s % 3600 / 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_of_known_days() {
        let t = |secs, nanos| Wall { secs, nanos }.to_string();
        assert_eq!(t(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(t(1_795_330_107, 123_456_789), "2026-11-22T06:48:27.123Z");
        assert_eq!(t(951_827_696, 0), "2000-02-29T12:34:56.000Z");
        assert_eq!(t(4_102_444_800, 0), "2100-01-01T00:00:00.000Z");
        assert_eq!(t(-1, 999_000_000), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn own_times_are_read() {
        for secs in [0, 951_827_696, 1_795_330_107, 4_102_444_800] {
            assert_eq!(read_time(&Wall { secs, nanos: 5_000_000 }.to_string()), Some(secs));
        }
        for bad in [
            "",
            "2026-11-22",
            "2026-13-22T06:48:27.123Z",
            "2026-11-22T06:48:27.123",
            "+026-1--22T06:48:27Z",
        ] {
            assert_eq!(read_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn http_dates_are_read() {
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(http_date("Tue, 29 Feb 2000 12:34:56 GMT"), Some(951_827_696));
        for secs in [0, 951_827_696, 1_795_478_400, 4_102_444_800, 253_402_300_799_i64] {
            let (y, m, d) = civil(secs.div_euclid(86_400));
            let month = [
                "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
            ];
            let s = secs % 86_400;
            let (hour, minute) = (s / 3600, s % 3600 / 60);
            let text = format!(
                "Xxx, {d:02} {} {y} {hour:02}:{minute:02}:{:02} GMT",
                month[m as usize - 1],
                s % 60
            );
            assert_eq!(http_date(&text), Some(secs), "{text}");
        }
        for bad in [
            "",
            "06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 anF 1994 08:49:37 GMT",
            "Sun, 99 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
        ] {
            assert_eq!(http_date(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_time_before_borrows_from_the_seconds() {
        let t = Wall { secs: 10, nanos: 1 }.before(Duration::new(3, 2));
        assert_eq!(t, Wall { secs: 6, nanos: 999_999_999 });
    }

    #[test]
    fn durations_are_written_as_v299_did() {
        let d = Duration::from_secs(2 * 86_400 + 3 * 3600 + 4 * 60 + 5);
        assert_eq!(in_words(d), "2 days 3 hours, 4 minutes 5 seconds");
        assert_eq!(for_script(d), "2:3:4:5");
        assert_eq!(in_words(Duration::from_millis(13_999)), "0 days 0 hours, 0 minutes 13 seconds");
        assert_eq!(for_script(Duration::from_secs(18)), "0:0:0:18");
    }

    #[test]
    fn instants_saturate() {
        assert_eq!(Instant::ZERO - Duration::from_secs(1), Instant::ZERO);
        assert_eq!((Instant::from_nanos(u64::MAX) + Duration::from_secs(1)).as_nanos(), u64::MAX);
        assert_eq!(Instant::ZERO.since(Instant::from_nanos(5)), Duration::ZERO);
    }
}
