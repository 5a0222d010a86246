//! What others have set up beside imon's choice, in words for somebody who looks for a fault.

use super::report::TestState;
use super::{Evidence, WanEvidence};
use crate::routing::{Beside, BesideKind};

/// Routes to single hosts and subnets that lead over a network.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Detours {
    /// The first of them, as `ip route` prints them.
    pub first: Vec<String>,
    /// How many there are in all.
    pub count: usize,
}

/// One row for each thing of others that counts.
#[must_use]
pub(super) fn rows(seen: &Evidence) -> Vec<(TestState, String)> {
    let mut rows: Vec<(TestState, String)> =
        seen.others.iter().map(|other| row(other, seen)).collect();
    rows.extend(
        seen.wans
            .iter()
            .filter(|wan| is_dead(wan))
            .filter_map(detours)
            .map(|text| (TestState::Warn, text)),
    );
    rows
}

fn row(other: &Beside, seen: &Evidence) -> (TestState, String) {
    let what = &other.what;
    let wan = other.wan.and_then(|at| seen.wans.get(at));
    let over = wan.map_or_else(String::new, |wan| format!(" over {}", wan.label));
    match other.kind {
        BesideKind::Yielded => (
            TestState::Info,
            format!(
                "'{what}' leads all traffic elsewhere, as a VPN does, and goes first: imon leads what it leaves"
            ),
        ),
        BesideKind::Overtaken => (
            TestState::Info,
            format!("'{what}' would lead all traffic{over}: imon's choice goes first"),
        ),
        BesideKind::First => (
            TestState::Warn,
            format!(
                "'{what}' leads all traffic{over}, whatever imon chooses, as there is no preference before it: remove \
                 it, or give it a higher one"
            ),
        ),
        BesideKind::Narrow => match wan.filter(|wan| is_dead(wan)) {
            Some(wan) => (TestState::Warn, kept(other, wan)),
            None => (
                TestState::Info,
                format!("'{what}' keeps its traffic{over}, whatever imon chooses"),
            ),
        },
    }
}

/// What keeps traffic on a network that is dead, and what cures it.
fn kept(other: &Beside, wan: &WanEvidence) -> String {
    let cure = if other.via_main {
        "set metric below that of the default route there"
    } else {
        "remove it, or wait"
    };
    format!("'{}' keeps its traffic on {}, which does not work: {cure}", other.what, wan.label)
}

fn detours(wan: &WanEvidence) -> Option<String> {
    let Detours { first, count } = &wan.detours;
    let more = count.saturating_sub(first.len());
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    let routes: Vec<String> = first.iter().map(|route| format!("'ip route {route}'")).collect();
    let keep = if *count == 1 { "keeps its" } else { "keep their" };
    let text = format!(
        "{}{more} {keep} traffic on {}, which does not work: remove what is not needed",
        routes.join(", "),
        wan.label
    );
    (*count > 0).then_some(text)
}

/// What keeps traffic on this network, which is dead: a sentence for the verdict.
#[must_use]
pub(super) fn kept_on(seen: &Evidence, wan: &WanEvidence) -> Option<String> {
    let is_here = |other: &&Beside| {
        other.kind == BesideKind::Narrow
            && other.wan.and_then(|at| seen.wans.get(at)).is_some_and(|w| w == wan)
    };
    let rule = seen.others.iter().find(is_here).map(|other| kept(other, wan));
    Some(format!(" {}.", rule.or_else(|| detours(wan))?))
}

fn is_dead(wan: &WanEvidence) -> bool {
    wan.way.fault().is_some()
}
