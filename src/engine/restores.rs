//! What was made in the kernel, and how often somebody takes it away again. The first time it is
//! put back at once, then once a second: two programs that both insist would otherwise do nothing
//! else.

use std::time::Duration;

use crate::base::time::Instant;
use crate::kernel::{Change, Rule};

/// The same thing is not put back more often than this,
const AGAIN: Duration = Duration::from_secs(1);
/// and it is said at most this often.
const SAY: Duration = Duration::from_secs(60);

/// Routes and rules of ours that the kernel has taken.
#[derive(Default)]
pub(super) struct Restores {
    /// Each as it was made, and when it was last put back.
    made: Vec<(Change, Option<Instant>)>,
    said: Option<Instant>,
    unsaid: u32,
}

impl Restores {
    /// The kernel has made a change, and has these rules now.
    pub(super) fn made(&mut self, change: &Change, rules: &[Rule]) {
        match change {
            // Only a copy of it has gone.
            Change::RemoveRule(rule) if rules.contains(rule) => {}
            Change::RemoveRoute(_) | Change::RemoveRule(_) => {
                self.made.retain(|(made, _)| !is_undone(made, change))
            }
            _ if self.made.iter().any(|(made, _)| is_same(made, change)) => {}
            _ => {
                self.made.retain(|(made, _)| !is_replaced(made, change));
                self.made.push((change.clone(), None));
            }
        }
    }

    /// Whether these changes may be made now. What they put back was put back less than a second
    /// ago, all of it: then not before the moment that comes back. `rules` are those that there
    /// are: one of them that is made again moves, and nobody has taken it away.
    pub(super) fn may_make(
        &mut self,
        changes: &[Change],
        rules: &[Rule],
        now: Instant,
    ) -> Result<(), Instant> {
        let gone = |change: &Change| self.made.iter().position(|(made, _)| is_same(made, change));
        let gone: Vec<usize> = changes.iter().filter_map(gone).collect();
        if gone.is_empty() || gone.len() < changes.iter().filter(|change| is_made(change)).count() {
            return Ok(());
        }
        let last = |at: &usize| self.made.get(*at).map(|(_, last)| *last);
        let waits = gone.iter().filter_map(last).map(|last| last.map_or(now, |last| last + AGAIN));
        match waits.min() {
            Some(at) if at > now => Err(at),
            _ => {
                for at in gone {
                    if let Some((_, last)) = self.made.get_mut(at) {
                        *last = Some(now);
                    }
                }
                let lacks = |change: &Change| {
                    is_made(change) && !rule(change).is_some_and(|r| rules.contains(r))
                };
                self.unsaid += u32::from(changes.iter().any(lacks));
                Ok(())
            }
        }
    }

    /// Routes have gone with an address or a link, and nobody has taken them away.
    pub(super) fn forget_routes(&mut self) {
        self.made.retain(|(made, _)| rule(made).is_some());
        (self.said, self.unsaid) = (None, 0);
    }

    /// How often something was put back since this was said last, if that is to be said now.
    pub(super) fn word(&mut self, now: Instant) -> Option<u32> {
        if self.unsaid == 0 || self.said.is_some_and(|said| now.since(said) < SAY) {
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

fn is_made(change: &Change) -> bool {
    !matches!(change, Change::RemoveRoute(_) | Change::RemoveRule(_))
}

fn rule(change: &Change) -> Option<&Rule> {
    match change {
        Change::AddRule(rule) | Change::AppendRule(rule) | Change::RemoveRule(rule) => Some(rule),
        Change::Replace(_) | Change::RemoveRoute(_) => None,
    }
}

fn is_same(made: &Change, change: &Change) -> bool {
    is_made(change) && (made == change || (rule(made).is_some() && rule(made) == rule(change)))
}

fn is_undone(made: &Change, change: &Change) -> bool {
    match (made, change) {
        (Change::Replace(made), Change::RemoveRoute(route)) => made == route,
        _ => rule(made).is_some() && rule(made) == rule(change),
    }
}

/// A route takes the place of another in its table: a table of ours has one.
fn is_replaced(made: &Change, change: &Change) -> bool {
    matches!((made, change), (Change::Replace(old), Change::Replace(new)) if old.table == new.table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v2_what_somebody_takes_away_comes_back_at_once_and_then_once_a_second() {
        let at = |ms| Instant::ZERO + Duration::from_millis(ms);
        let rule = |table| Change::AppendRule(Rule { table, ..Rule::default() });
        let mut restores = Restores::default();
        assert_eq!(restores.may_make(&[rule(1), rule(2)], &[], at(0)), Ok(()));
        [rule(1), rule(2)].iter().for_each(|change| restores.made(change, &[]));
        assert_eq!(restores.word(at(0)), None, "what is new is not put back");
        assert_eq!(restores.may_make(&[rule(1)], &[], at(100)), Ok(()));
        assert_eq!(restores.word(at(100)), Some(1));
        assert_eq!(restores.may_make(&[rule(1)], &[], at(200)), Err(at(1100)));
        assert_eq!(
            restores.may_make(&[rule(2)], &[], at(200)),
            Ok(()),
            "another thing, its first time"
        );
        assert_eq!(
            restores.may_make(&[rule(1), rule(3)], &[], at(200)),
            Ok(()),
            "with something new"
        );
        assert_eq!(restores.may_make(&[rule(1)], &[], at(1100)), Ok(()));
        assert_eq!(
            (restores.word(at(1100)), restores.word(at(60_100))),
            (None, Some(2)),
            "said once a minute"
        );
        let one = Rule { table: 1, ..Rule::default() };
        restores.made(&Change::RemoveRule(one.clone()), std::slice::from_ref(&one));
        assert_eq!(
            restores.may_make(&[rule(1)], &[], at(1200)),
            Err(at(2100)),
            "of two copies one has gone"
        );
        restores.made(&Change::RemoveRule(one), &[]);
        assert_eq!(
            restores.may_make(&[rule(1)], &[], at(1200)),
            Ok(()),
            "what we took away ourselves is new"
        );
        let moved = Rule { table: 2, ..Rule::default() };
        assert_eq!(restores.may_make(&[rule(2)], &[moved], at(200_000)), Ok(()));
        assert_eq!(restores.word(at(200_000)), None, "what moves nobody has taken away");
        restores.forget_routes();
        assert_eq!(
            restores.may_make(&[rule(2)], &[], at(200_100)),
            Err(at(201_000)),
            "a rule goes with no link"
        );
    }
}
