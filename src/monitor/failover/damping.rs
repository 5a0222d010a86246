//! How often one thing may be told: the first few changes at once, then a sum of them at growing
//! gaps, and at once again when it is calm. Pure.

use std::time::Duration;

use crate::base::time::Instant;

/// So many changes are told one by one of what traffic goes over, or is to go back to,
pub(super) const IN_USE: u32 = 8;
/// of anything else so many,
pub(super) const AT_REST: u32 = 3;
/// and again after so long without any.
const FORGET: Duration = Duration::from_secs(600);
/// From the last line to the first sum. Each sum doubles it,
const FIRST_GAP: Duration = Duration::from_secs(60);
/// to this at most.
const LONGEST_GAP: Duration = Duration::from_secs(3600);
/// After so long without a change it is calm, and what has not been told is. One that changes for
/// longer is calm after an eighth of the gap, to this at most.
const CALM: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(300)];

/// What has been told of one thing's changes, and what has not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Damper {
    /// Changes that were told one by one.
    one_by_one: u32,
    /// Changes that have not been told.
    untold: u32,
    changed: Instant,
    told: Instant,
    gap: Duration,
}

impl Default for Damper {
    fn default() -> Self {
        Self {
            one_by_one: 0,
            untold: 0,
            changed: Instant::ZERO,
            told: Instant::ZERO,
            gap: FIRST_GAP,
        }
    }
}

impl Damper {
    /// Takes note of a change, of which `free` are told one by one. Returns whether this one is
    /// told now.
    pub(crate) fn note(&mut self, now: Instant, free: u32) -> bool {
        if self.untold == 0 && now.since(self.changed) >= FORGET {
            (self.one_by_one, self.gap) = (0, FIRST_GAP);
        }
        self.changed = now;
        if self.untold > 0 || self.one_by_one >= free {
            self.untold = self.untold.saturating_add(1);
            return false;
        }
        self.one_by_one += 1;
        self.told = now;
        true
    }

    /// When a sum is due.
    pub(crate) fn poll_at(&self) -> Option<Instant> {
        (self.untold > 0).then(|| (self.told + self.gap).min(self.calm()))
    }

    /// The sum that is due: how many changes there were since the last line, and how long ago that
    /// was.
    pub(crate) fn take(&mut self, now: Instant) -> Option<(u32, Duration)> {
        self.poll_at().filter(|at| *at <= now)?;
        if self.calm() <= now {
            self.one_by_one = self.one_by_one.saturating_sub(1);
        }
        let told = std::mem::replace(&mut self.told, now);
        self.gap = (self.gap * 2).min(LONGEST_GAP);
        Some((std::mem::take(&mut self.untold), now.since(told)))
    }

    fn calm(&self) -> Instant {
        let [least, most] = CALM;
        self.changed + (self.gap / 8).clamp(least, most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times, in seconds, at which something is told of changes `every` so many seconds until
    /// `end`.
    fn told(every: u64, end: u64) -> Vec<(u64, u32)> {
        let mut damper = Damper::default();
        let mut told = Vec::new();
        for second in 0..end * 2 {
            let now = Instant::ZERO + Duration::from_secs(second);
            told.extend(damper.take(now).map(|(times, _)| (second, times)));
            if second % every == 0 && second < end && damper.note(now, AT_REST) {
                told.push((second, 1));
            }
        }
        told
    }

    #[test]
    fn d10_of_a_change_a_second_three_are_told_and_then_sums_at_growing_gaps() {
        let told = told(1, 10 * 3600);
        assert_eq!(told[..3], [(0, 1), (1, 1), (2, 1)]);
        let sums: Vec<u64> = told[3..].iter().map(|(at, _)| *at).take(8).collect();
        assert_eq!(sums, [62, 182, 422, 902, 1_862, 3_782, 7_382, 10_982]);
        assert_eq!(
            told.iter().map(|(_, times)| u64::from(*times)).sum::<u64>(),
            36_000,
            "each change is in one of them"
        );
        assert!(
            told.last().is_some_and(|(at, _)| *at <= 36_300),
            "and the last is told when it is calm"
        );
    }

    #[test]
    fn d10_however_slow_the_changes_are_it_is_a_handful_of_lines_an_hour() {
        for every in [1, 3, 10, 29, 59, 61, 70, 100, 150, 299, 301, 400] {
            let told = told(every, 24 * 3600);
            let most = if every < 299 { 40 } else { 24 * 12 };
            assert!(told.len() <= most, "each {every} s: {} lines a day", told.len());
            let first = told.iter().filter(|(at, _)| *at < 3600).count();
            assert!(first <= 12, "each {every} s: {first} in the first hour");
            let changes = u64::from(told.iter().map(|(_, times)| *times).sum::<u32>());
            assert_eq!(changes, (24 * 3600_u64).div_ceil(every), "each {every} s");
        }
        assert_eq!(told(601, 6010).len(), 10, "rare ones are told one by one");
    }

    #[test]
    fn d10_a_change_after_a_calm_is_told_at_once() {
        let at = |second| Instant::ZERO + Duration::from_secs(second);
        let mut damper = Damper::default();
        (0..10).for_each(|second| _ = damper.note(at(second), AT_REST));
        assert_eq!(damper.take(at(62)), Some((7, Duration::from_secs(60))));
        assert_eq!((damper.take(at(63)), damper.poll_at()), (None, None));
        assert!(damper.note(at(700), AT_REST), "ten minutes later");
        let mut damper = Damper::default();
        (0..10).for_each(|second| _ = damper.note(at(second * 10), AT_REST));
        assert_eq!(damper.take(at(90)).map(|(times, _)| times), Some(7));
        assert!(!damper.note(at(95), AT_REST));
        assert_eq!(damper.take(at(155)).map(|(times, _)| times), Some(1), "calm");
        assert!(damper.note(at(160), AT_REST));
        assert!(!damper.note(at(161), AT_REST));
    }
}
