//! Round-trip statistics and their numbers as V2.99 (icmplib) wrote them.

use std::fmt;
use std::time::Duration;

use crate::base::number::Rounded;

/// Statistics of one check.
/// ```
/// use std::time::Duration;
/// use imon::probe::stats::{Fraction, Millis, Stats};
///
/// // Three probes, two replies.
/// let rtts = [10, 14].map(Duration::from_millis);
/// let stats = Stats::of(rtts.into_iter(), 3);
/// assert_eq!((stats.min, stats.avg, stats.max, stats.jitter), (10.0, 12.0, 14.0, 4.0));
///
/// // As logs and scripts show them.
/// assert_eq!(Millis(stats.avg).to_string(), "12.0");
/// assert_eq!(Fraction(stats.loss).to_string(), "0.33");
/// ```
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Stats {
    /// Whether any reply came.
    pub alive: bool,
    /// Smallest round-trip time in milliseconds, 0 without replies. So for the next two.
    pub min: f64,
    /// Mean.
    pub avg: f64,
    /// Largest.
    pub max: f64,
    /// Lost probes as a fraction of those sent, 0 to 1.
    pub loss: f64,
    /// Mean difference of neighbouring round-trip times in milliseconds, 0 below two replies.
    pub jitter: f64,
}

impl Stats {
    /// From the round-trip times in the order of sending, and the number of probes that should have
    /// been sent: one that could not leave is a lost one.
    pub fn of(rtts: impl Iterator<Item = Duration>, sent: u16) -> Self {
        let (mut n, mut sum, mut min, mut max, mut jitter) =
            (0_u16, 0.0_f64, f64::MAX, 0.0_f64, 0.0_f64);
        let mut last: Option<f64> = None;
        for rtt in rtts {
            let ms = rtt.as_nanos() as f64 / 1e6;
            n = n.saturating_add(1);
            sum += ms;
            min = min.min(ms);
            max = max.max(ms);
            if let Some(last) = last.replace(ms) {
                jitter += (last - ms).abs();
            }
        }
        if n == 0 {
            return Self { loss: 1.0, ..Self::default() };
        }
        let lost = f64::from(sent.saturating_sub(n)) / f64::from(sent.max(1));
        let jitter = if n > 1 { jitter / f64::from(n - 1) } else { 0.0 };
        Self { alive: true, min, avg: sum / f64::from(n), max, loss: lost, jitter }
    }
}

/// Milliseconds rounded to three decimals, then the shortest form that keeps one: `0.434`, `0.41`,
/// `12.0`, `0.0`.
#[derive(Clone, Copy, Debug)]
pub struct Millis(pub f64);

/// A fraction rounded to two decimals, then the shortest form that keeps one: `0.33`, `0.5`, `1.0`.
#[derive(Clone, Copy, Debug)]
pub struct Fraction(pub f64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Rounded(self.0, 3).fmt(f)
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Rounded(self.0, 2).fmt(f)
    }
}

/// Both as JSON numbers, so a reader of the event sees the same digits as the reader of the log.
macro_rules! as_number {
    ($t:ty, $places:literal) => {
        impl serde::Serialize for $t {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                let scale = 10_f64.powi($places);
                s.serialize_f64((self.0 * scale).round() / scale)
            }
        }
    };
}
as_number!(Millis, 3);
as_number!(Fraction, 2);

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the drop-in contract: round-trip times in, V2.99's numbers out.
    #[test]
    fn numbers_are_those_of_v299() {
        for (rtts, sent, expected) in crate::selftest::NUMBERS {
            assert_eq!(crate::selftest::numbers(rtts, *sent), *expected, "{rtts:?} of {sent}");
        }
    }

    #[test]
    fn numbers_are_written_short() {
        let text: Vec<_> =
            [0.0, 12.0, 0.41, 0.4337, 99.9996, 1e15].map(|v| Millis(v).to_string()).into();
        assert_eq!(text, ["0.0", "12.0", "0.41", "0.434", "100.0", "1000000000000000.0"]);
        assert_eq!(serde_json::to_string(&Millis(0.4337)).unwrap(), "0.434");
        assert_eq!(serde_json::to_string(&Fraction(1.0 / 3.0)).unwrap(), "0.33");
    }
}
