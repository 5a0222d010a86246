//! Which WAN carries the traffic: preference, hold-down and damping. Pure; it is told what each WAN
//! is like and asked what to do.
//!
//! - A WAN in use that fails is left at once, if there is another that works. The last road is
//!   never left.
//! - With `prefer_first` a better WAN is returned to once it has lost no probe for its *hold-down*.
//!   Each drop beyond the first doubles that, to at most [`LONGEST_HOLD_DOWN`]; each hour without
//!   one halves it. So a WAN that comes and goes costs two switches and not two for each time.
//! - A degraded one is left for one that has been up for its hold-down.

use std::time::Duration;

use crate::base::time::Instant;
use crate::event::cause::Cause;

/// The most that repeated drops make of the hold-down.
pub const LONGEST_HOLD_DOWN: Duration = Duration::from_secs(600);
/// After this long without a drop the hold-down is halved.
pub const CALM: Duration = Duration::from_secs(3600);

/// What a WAN is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// Its first check is not over.
    Unknown,
    /// It cannot be used: no link, no address, or nothing answers.
    Down,
    /// It works, badly: too slow, or too much is lost.
    Degraded,
    /// It works.
    Up,
}

impl Condition {
    /// In a word, for people and programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Down => "down",
            Self::Degraded => "degraded",
            Self::Up => "up",
        }
    }

    /// Whether traffic gets through.
    #[must_use]
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Up | Self::Degraded)
    }
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Lead the traffic over this WAN.
    Use(usize, Cause),
    /// No WAN works. Nothing changes; said once until one works again.
    AllDown,
}

/// The decision.
#[derive(Clone, Debug)]
pub struct Choice {
    prefer_first: bool,
    hold_down: Duration,
    wans: Vec<Candidate>,
    active: Option<usize>,
    /// The first choice has been made. What an earlier imon left is not a choice of ours.
    settled: bool,
    all_down: bool,
}

#[derive(Clone, Debug)]
struct Candidate {
    condition: Condition,
    /// It is not to be used at the moment, and what it is like may still hold: neither a drop nor a
    /// reason to leave it.
    away: bool,
    /// Since then it has been up and lost no probe; `None` while it is not up.
    clean: Option<Instant>,
    /// Since then it has been up.
    up: Option<Instant>,
    /// Drops that still count.
    drops: u32,
    /// Of the last drop, or when one was last forgiven.
    last: Instant,
}

impl Choice {
    /// Among `wans` WANs, in order of preference. `hold_down` of 0 returns at once, as V2.99 did.
    /// `adopted`: over which of them the traffic already goes.
    #[must_use]
    pub fn new(
        wans: usize,
        prefer_first: bool,
        hold_down: Duration,
        adopted: Option<usize>,
    ) -> Self {
        let wan = Candidate {
            condition: Condition::Unknown,
            away: false,
            clean: None,
            up: None,
            drops: 0,
            last: Instant::ZERO,
        };
        Self {
            prefer_first,
            hold_down,
            wans: vec![wan; wans],
            active: adopted.filter(|wan| *wan < wans),
            settled: false,
            all_down: false,
        }
    }

    /// What was adopted is a choice of ours: another configuration goes on with it.
    pub fn resume(&mut self) {
        self.settled = self.active.is_some();
    }

    /// The WAN that carries the traffic.
    #[must_use]
    pub fn active(&self) -> Option<usize> {
        self.active
    }

    /// What a WAN is like, as it was told.
    #[must_use]
    pub fn condition(&self, wan: usize) -> Option<Condition> {
        self.wans.get(wan).map(|w| w.condition)
    }

    /// Takes note of whether a WAN may be chosen at the moment.
    pub fn set_away(&mut self, wan: usize, away: bool) {
        if let Some(w) = self.wans.get_mut(wan) {
            w.away = away;
        }
    }

    /// Takes note of what a WAN is like now.
    pub fn set(&mut self, now: Instant, wan: usize, condition: Condition) {
        let Some(w) = self.wans.get_mut(wan) else { return };
        w.forgive(now);
        let (was_up, was_usable) = (w.condition == Condition::Up, w.condition.is_usable());
        if (was_usable && condition == Condition::Down)
            || (was_up && condition == Condition::Degraded)
        {
            w.last = now;
            // A drop that makes the hold-down no longer must not make it last longer either.
            if w.hold_down(self.hold_down) < LONGEST_HOLD_DOWN {
                w.drops = w.drops.saturating_add(1);
            }
        }
        w.condition = condition;
        match condition {
            Condition::Up => (w.clean, w.up) = (w.clean.or(Some(now)), w.up.or(Some(now))),
            Condition::Unknown | Condition::Down | Condition::Degraded => {
                (w.clean, w.up) = (None, None)
            }
        }
    }

    /// A probe of this WAN was lost: its hold-down begins anew.
    pub fn lost_probe(&mut self, now: Instant, wan: usize) {
        if let Some(clean) = self.wans.get_mut(wan).and_then(|w| w.clean.as_mut()) {
            *clean = now;
        }
    }

    /// How long a WAN must work without a lost probe before it is returned to.
    #[must_use]
    pub fn hold_down(&self, wan: usize) -> Duration {
        self.wans.get(wan).map_or(self.hold_down, |w| w.hold_down(self.hold_down))
    }

    /// When the WAN's hold-down ends, if nothing more is lost; `None`: it is not up, or away.
    #[must_use]
    pub fn hold_down_ends(&self, wan: usize) -> Option<Instant> {
        Some(self.present(wan)?.clean? + self.hold_down(wan))
    }

    /// Whether the WAN is up, and only its hold-down keeps it from being used.
    #[must_use]
    pub fn is_on_trial(&self, wan: usize) -> bool {
        let waits =
            self.prefer_first && self.settled && self.active.is_some_and(|active| wan < active);
        waits && self.condition(wan) == Some(Condition::Up)
    }

    /// What to do now. To be asked until there is nothing, after each piece of news and at
    /// [`Choice::poll_at`].
    pub fn decide(&mut self, now: Instant) -> Option<Decision> {
        self.wans.iter_mut().for_each(|w| w.forgive(now));
        if let Some((wan, cause)) = self.wanted(now) {
            let before = self.active.replace(wan);
            let first = !std::mem::replace(&mut self.settled, true);
            self.all_down = false;
            // What was left over that WAN is set again: the first choice is told in any case.
            return (first || before != Some(wan)).then_some(Decision::Use(wan, cause));
        }
        if self.wans.iter().any(|w| w.condition.is_usable()) {
            self.all_down = false;
            return None;
        }
        let all_down = self.wans.iter().all(|w| w.condition == Condition::Down);
        (all_down && !std::mem::replace(&mut self.all_down, true)).then_some(Decision::AllDown)
    }

    /// When to ask again although nothing happens: a hold-down ends.
    #[must_use]
    pub fn poll_at(&self) -> Option<Instant> {
        let active = self.active.filter(|_| self.settled)?;
        let preferred = if self.prefer_first { active } else { 0 };
        let better =
            if self.condition(active) == Some(Condition::Degraded) { self.wans.len() } else { 0 };
        let preferred = (0..preferred).filter_map(|wan| self.hold_down_ends(wan));
        preferred.chain((0..better).filter_map(|wan| self.is_proven_at(wan))).min()
    }

    fn wanted(&self, now: Instant) -> Option<(usize, Cause)> {
        let best = self.best();
        let Some(active) = self.active.filter(|_| self.settled) else {
            // A WAN is passed over only once it is known not to work.
            let skipped = self.wans.iter().take_while(|w| w.condition == Condition::Down).count();
            let first_known = self.condition(skipped).is_some_and(Condition::is_usable);
            return best.filter(|_| first_known).map(|wan| (wan, Cause::Start));
        };
        match self.condition(active)? {
            Condition::Down => best.map(|wan| (wan, Cause::Failed)),
            Condition::Degraded => {
                let mut wans = 0..self.wans.len();
                let better = wans.find(|wan| self.is_proven_at(*wan).is_some_and(|at| at <= now));
                better.map(|wan| (wan, Cause::Degraded))
            }
            Condition::Up | Condition::Unknown => None,
        }
        .or_else(|| {
            let returns = |wan: &usize| self.hold_down_ends(*wan).is_some_and(|at| at <= now);
            (0..active)
                .find(returns)
                .filter(|_| self.prefer_first)
                .map(|wan| (wan, Cause::Preferred))
        })
    }

    /// When one that is up is better than a degraded one: two that take turns at being degraded
    /// must not take the traffic along each time. Lost probes do not matter here, the other one has
    /// more of them.
    fn is_proven_at(&self, wan: usize) -> Option<Instant> {
        Some(self.present(wan)?.up? + self.hold_down(wan))
    }

    fn present(&self, wan: usize) -> Option<&Candidate> {
        self.wans.get(wan).filter(|w| !w.away)
    }

    /// The first that is up, else the first that is degraded.
    #[must_use]
    pub fn best(&self) -> Option<usize> {
        let first = |wanted| self.wans.iter().position(|w| w.condition == wanted && !w.away);
        first(Condition::Up).or_else(|| first(Condition::Degraded))
    }
}

impl Candidate {
    /// What its drops have made of the configured hold-down. One beyond the longest stays as it is.
    fn hold_down(&self, configured: Duration) -> Duration {
        let factor = 1_u32.checked_shl(self.drops.saturating_sub(1)).unwrap_or(u32::MAX);
        configured.saturating_mul(factor).min(LONGEST_HOLD_DOWN.max(configured))
    }

    /// A drop counts for an hour, several for one each.
    fn forgive(&mut self, now: Instant) {
        while self.drops > 0 && now.since(self.last) >= CALM {
            self.drops -= 1;
            self.last = self.last + CALM;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Condition::{Degraded, Down, Unknown, Up};
    use super::*;
    use crate::base::random::Random;

    const PRIMARY: usize = 0;
    const STANDBY: usize = 1;

    fn at(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(secs)
    }

    fn preferring(hold_down: u64) -> Choice {
        Choice::new(2, true, Duration::from_secs(hold_down), None)
    }

    /// Both work and primary is used.
    fn running(mut c: Choice) -> Choice {
        c.set(at(0), PRIMARY, Up);
        c.set(at(0), STANDBY, Up);
        assert_eq!(c.decide(at(0)), Some(Decision::Use(PRIMARY, Cause::Start)));
        assert_eq!(c.decide(at(0)), None);
        c
    }

    #[test]
    fn at_the_start_standby_waits_for_primarys_verdict() {
        let mut c = preferring(10);
        c.set(at(0), STANDBY, Up);
        assert_eq!(c.decide(at(0)), None);
        c.set(at(2), PRIMARY, Down);
        assert_eq!(c.decide(at(2)), Some(Decision::Use(STANDBY, Cause::Start)));
    }

    #[test]
    fn an_adopted_standby_route_goes_to_a_healthy_primary_whatever_is_preferred() {
        let mut c = Choice::new(2, false, Duration::from_secs(10), Some(STANDBY));
        c.set(at(0), STANDBY, Up);
        assert_eq!((c.active(), c.decide(at(0))), (Some(STANDBY), None));
        c.set(at(1), PRIMARY, Up);
        assert_eq!(c.decide(at(1)), Some(Decision::Use(PRIMARY, Cause::Start)));
    }

    #[test]
    fn b46_an_adopted_standby_route_stays_while_primary_is_down() {
        let mut c = Choice::new(2, true, Duration::from_secs(10), Some(STANDBY));
        c.set(at(0), PRIMARY, Down);
        c.set(at(0), STANDBY, Up);
        assert_eq!(c.decide(at(0)), Some(Decision::Use(STANDBY, Cause::Start)), "told, not moved");
        assert_eq!(c.active(), Some(STANDBY));
    }

    #[test]
    fn a_failed_wan_is_left_at_once() {
        let mut c = running(preferring(10));
        c.set(at(5), PRIMARY, Down);
        assert_eq!(c.decide(at(5)), Some(Decision::Use(STANDBY, Cause::Failed)));
    }

    #[test]
    fn b8_the_last_road_is_never_left_and_the_first_that_works_is_used() {
        let mut c = running(preferring(10));
        c.set(at(5), STANDBY, Down);
        c.set(at(6), PRIMARY, Down);
        assert_eq!((c.decide(at(6)), c.decide(at(6))), (Some(Decision::AllDown), None));
        assert_eq!(c.active(), Some(PRIMARY));
        c.set(at(9), STANDBY, Up);
        assert_eq!(c.decide(at(9)), Some(Decision::Use(STANDBY, Cause::Failed)));
        c.set(at(10), STANDBY, Down);
        c.set(at(11), PRIMARY, Up);
        assert_eq!(
            c.decide(at(11)),
            Some(Decision::Use(PRIMARY, Cause::Failed)),
            "no hold-down when nothing else works"
        );
    }

    #[test]
    fn all_down_is_said_once_for_each_time() {
        let mut c = running(preferring(10));
        let mut said = 0;
        for t in 0..6 {
            c.set(at(t), PRIMARY, if t % 3 == 2 { Up } else { Down });
            c.set(at(t), STANDBY, Down);
            said +=
                usize::from(std::iter::from_fn(|| c.decide(at(t))).any(|d| d == Decision::AllDown));
        }
        assert_eq!(said, 2);
    }

    #[test]
    fn without_preference_standby_is_kept_until_it_fails() {
        let mut c = running(Choice::new(2, false, Duration::from_secs(10), None));
        c.set(at(5), PRIMARY, Down);
        assert_eq!(c.decide(at(5)), Some(Decision::Use(STANDBY, Cause::Failed)));
        c.set(at(6), PRIMARY, Up);
        assert_eq!((c.decide(at(6)), c.decide(at(5000)), c.poll_at()), (None, None, None));
        c.set(at(5001), STANDBY, Down);
        assert_eq!(c.decide(at(5001)), Some(Decision::Use(PRIMARY, Cause::Failed)));
    }

    #[test]
    fn a_failback_waits_for_the_hold_down_without_one_lost_probe() {
        let mut c = running(preferring(10));
        c.set(at(5), PRIMARY, Down);
        c.decide(at(5));
        assert!(!c.is_on_trial(PRIMARY));
        c.set(at(20), PRIMARY, Up);
        assert_eq!((c.decide(at(20)), c.poll_at()), (None, Some(at(30))));
        assert!(c.is_on_trial(PRIMARY) && !c.is_on_trial(STANDBY));
        c.lost_probe(at(25), PRIMARY);
        assert_eq!((c.decide(at(30)), c.poll_at()), (None, Some(at(35))));
        assert_eq!(c.decide(at(35)), Some(Decision::Use(PRIMARY, Cause::Preferred)));
    }

    #[test]
    fn a_hold_down_of_nothing_returns_at_once() {
        let mut c = running(preferring(0));
        for t in [5, 7, 9] {
            c.set(at(t), PRIMARY, Down);
            assert_eq!(c.decide(at(t)), Some(Decision::Use(STANDBY, Cause::Failed)));
            c.set(at(t + 1), PRIMARY, Up);
            assert_eq!(c.decide(at(t + 1)), Some(Decision::Use(PRIMARY, Cause::Preferred)));
        }
    }

    #[test]
    fn each_further_drop_doubles_the_hold_down_to_ten_minutes_and_each_calm_hour_halves_it() {
        let mut c = running(preferring(10));
        let mut seen = Vec::new();
        // Beyond the longest further drops change nothing, nor do they make it last.
        for n in 0..30 {
            c.set(at(n), PRIMARY, Down);
            c.set(at(n), PRIMARY, Up);
            seen.push(c.hold_down(PRIMARY).as_secs());
        }
        assert_eq!(seen[..9], [10, 20, 40, 80, 160, 320, 600, 600, 600]);
        let after = |c: &mut Choice, hours: u64| {
            c.decide(at(29 + hours * 3600));
            c.hold_down(PRIMARY).as_secs()
        };
        assert_eq!([1, 2, 5, 6, 9].map(|h| after(&mut c, h)), [320, 160, 20, 10, 10]);
    }

    /// What a primary that comes and goes costs. `is_up` tells its state each second, its probes
    /// are lost while it is down; the other one works.
    fn switches(hold_down: u64, seconds: u64, is_up: impl Fn(u64) -> bool) -> usize {
        let mut c = running(preferring(hold_down));
        let mut n = 0;
        for t in 1..seconds {
            c.set(at(t), PRIMARY, if is_up(t) { Up } else { Down });
            while let Some(d) = c.decide(at(t)) {
                n += usize::from(matches!(d, Decision::Use(..)));
            }
        }
        n
    }

    #[test]
    fn b36_a_gateway_that_flaps_four_times_costs_two_switches() {
        for (hold_down, moved) in crate::selftest::FLAPS {
            assert_eq!(crate::selftest::flaps(*hold_down), *moved, "hold-down {hold_down}");
        }
    }

    #[test]
    fn fifteen_seconds_up_and_five_down_for_ten_minutes_cost_four_switches() {
        assert!(switches(10, 3000, |t| t > 600 || t % 20 < 15) <= 4);
    }

    #[test]
    fn a_degraded_wan_gives_way_to_a_better_one_and_two_degraded_ones_stay_put() {
        let mut c = running(preferring(10));
        c.set(at(5), PRIMARY, Degraded);
        assert_eq!(
            (c.decide(at(5)), c.poll_at()),
            (None, Some(at(10))),
            "standby has been up for 5 s only"
        );
        assert_eq!(c.decide(at(10)), Some(Decision::Use(STANDBY, Cause::Degraded)));
        c.set(at(11), STANDBY, Degraded);
        assert_eq!(c.decide(at(600)), None);
        c.set(at(601), STANDBY, Down);
        assert_eq!(
            c.decide(at(601)),
            Some(Decision::Use(PRIMARY, Cause::Failed)),
            "badly is better than not at all"
        );
    }

    #[test]
    fn two_wans_that_take_turns_at_being_degraded_do_not_take_the_traffic_along() {
        for prefer in [true, false] {
            let mut c = running(Choice::new(2, prefer, Duration::from_secs(10), None));
            let mut switches = 0;
            for t in 0..3600 {
                let bad = usize::from((t / 30) % 2 == 0);
                c.set(at(t), bad, Degraded);
                c.set(at(t), 1 - bad, Up);
                switches += usize::from(c.decide(at(t)).is_some());
            }
            assert!(switches <= 12, "{switches} switches in an hour, of 120");
        }
    }

    #[test]
    fn a_wan_that_is_not_known_again_is_not_left() {
        let mut c = running(preferring(10));
        c.set(at(5), PRIMARY, Unknown);
        assert_eq!((c.decide(at(5)), c.active()), (None, Some(PRIMARY)));
    }

    #[test]
    fn conditions_and_causes_have_words_for_programs() {
        assert_eq!(
            [Unknown, Down, Degraded, Up].map(Condition::word),
            ["unknown", "down", "degraded", "up"]
        );
        let causes = [Cause::Start, Cause::Failed, Cause::Degraded, Cause::Preferred];
        assert_eq!(causes.map(Cause::word), ["start", "failed", "degraded", "preferred"]);
    }

    #[test]
    fn another_configuration_goes_on_with_the_choice_and_does_not_start_anew() {
        let mut c = Choice::new(2, true, Duration::from_secs(10), Some(STANDBY));
        c.resume();
        c.set(at(0), PRIMARY, Up);
        c.set(at(0), STANDBY, Up);
        assert_eq!((c.decide(at(0)), c.active()), (None, Some(STANDBY)));
        assert_eq!(c.decide(at(10)), Some(Decision::Use(PRIMARY, Cause::Preferred)));
        let mut nothing_was_chosen = preferring(10);
        nothing_was_chosen.resume();
        running(nothing_was_chosen);
    }

    #[test]
    fn a_wan_that_is_away_is_not_chosen() {
        let mut c = running(preferring(10));
        c.set_away(STANDBY, true);
        c.set(at(5), PRIMARY, Down);
        assert_eq!((c.decide(at(5)), c.active(), c.best()), (None, Some(PRIMARY), None));
        c.set_away(STANDBY, false);
        assert_eq!(c.decide(at(6)), Some(Decision::Use(STANDBY, Cause::Failed)));
        c.set(at(10), PRIMARY, Up);
        c.set_away(PRIMARY, true);
        assert_eq!((c.hold_down_ends(PRIMARY), c.decide(at(30))), (None, None));
        c.set_away(PRIMARY, false);
        assert_eq!(c.decide(at(30)), Some(Decision::Use(PRIMARY, Cause::Preferred)));
    }

    #[test]
    fn a_drop_is_to_get_worse_than_usable_or_up() {
        for from in [Unknown, Down, Degraded, Up] {
            for to in [Unknown, Down, Degraded, Up] {
                let mut c = preferring(10);
                c.set(at(0), PRIMARY, Up);
                // The first one makes the hold-down no longer.
                c.set(at(1), PRIMARY, Down);
                c.set(at(2), PRIMARY, from);
                c.set(at(3), PRIMARY, to);
                let drops = [(Up, Down), (Up, Degraded), (Degraded, Down)].contains(&(from, to));
                let expected = Duration::from_secs(if drops { 20 } else { 10 });
                assert_eq!(c.hold_down(PRIMARY), expected, "{from:?} to {to:?}");
            }
        }
    }

    /// Random weather on two or three WANs. After each step: a usable WAN means that a usable one
    /// is in use, an unusable one is never switched to, and all-down is said exactly when it
    /// begins.
    #[test]
    fn random_weather_never_leaves_the_traffic_on_a_dead_wan_while_another_works() {
        let mut random = Random(3);
        for run in 0..2000 {
            let wans = 2 + random.below(2) as usize;
            let mut c = Choice::new(
                wans,
                random.below(2) == 0,
                Duration::from_secs(random.below(30)),
                None,
            );
            let (mut t, mut dark) = (0, false);
            for wan in 0..wans {
                c.set(at(0), wan, if random.below(2) == 0 { Up } else { Down });
            }
            for _ in 0..80 {
                let decisions: Vec<_> = std::iter::from_fn(|| c.decide(at(t))).collect();
                assert!(decisions.len() <= 2, "run {run}: {decisions:?}");
                for d in &decisions {
                    if let Decision::Use(wan, _) = d {
                        assert!(c.condition(*wan).unwrap().is_usable(), "run {run}: {c:?}");
                    }
                }
                let conditions: Vec<_> = (0..wans).map(|w| c.condition(w).unwrap()).collect();
                let any = conditions.iter().any(|c| c.is_usable());
                assert!(
                    !any || c.active().is_some_and(|a| conditions[a].is_usable()),
                    "run {run}: {c:?}"
                );
                assert_eq!(
                    decisions.contains(&Decision::AllDown),
                    !any && !dark,
                    "run {run}: {c:?}"
                );
                assert!(
                    c.poll_at().is_none_or(|next| next > at(t)),
                    "run {run}: nothing is due, or it gets on"
                );
                dark = !any;
                t += 1 + random.below(40);
                let wan = random.below(wans as u64) as usize;
                match random.below(6) {
                    0 => c.lost_probe(at(t), wan),
                    1 => c.set(at(t), wan, Degraded),
                    2 | 3 => c.set(at(t), wan, Up),
                    _ => c.set(at(t), wan, Down),
                }
            }
        }
    }
}
