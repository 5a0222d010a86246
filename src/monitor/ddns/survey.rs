//! Whom to believe about the external address. One answer proves nothing: a provider errs, a portal
//! or a proxy answers in its place, a router takes DNS for itself. So a new address needs two
//! operators that agree.

use std::net::IpAddr;

use crate::monitor::ddns::source::{Source, SourceKind};

/// A round of questions, asked until somebody is believed or nobody is left.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Survey {
    /// Who said what, by the places of the sources.
    pub votes: Vec<(usize, IpAddr)>,
    /// Who was asked, with or without an answer.
    pub asked: Vec<usize>,
}

impl Survey {
    /// The address that is believed, if there is one. `usable` says which sources may be asked.
    ///
    /// * Where only one operator is configured, its word counts.
    /// * Otherwise two operators must agree, and be more than those who say something else.
    /// * Where there are pages and name servers, both kinds must be among them. In place of a name
    ///   server a second HTTPS operator will do once all name servers were asked and none of them
    ///   is of use: port 53 is often closed, or led to somebody who makes answers up, and what two
    ///   certificates vouch for was not made up on the way. Nothing will do in place of a page:
    ///   whoever forges DNS can close port 443 as well.
    /// * The word of this system's own interface is of either kind.
    #[must_use]
    pub fn verdict(&self, sources: &[Source], usable: &dyn Fn(usize) -> bool) -> Option<IpAddr> {
        let of = |at: usize| sources.get(at);
        if operators(sources.iter()) <= 1 {
            return self.votes.first().map(|(_, address)| *address);
        }
        let has = |kind| sources.iter().any(|s| s.kind() == kind);
        let dns_left = (0..)
            .zip(sources)
            .any(|(at, s)| s.kind() == SourceKind::Dns && usable(at) && !self.asked.contains(&at));
        self.votes.iter().map(|(_, address)| *address).find(|address| {
            let voters =
                || self.votes.iter().filter(|(_, a)| a == address).filter_map(|(at, _)| of(*at));
            let said = |kind| voters().any(|s| s.kind() == kind);
            let proven =
                operators(voters().filter(|s| s.is_proven() && s.kind() == SourceKind::Http));
            let against =
                self.votes.iter().filter(|(_, a)| a != address).filter_map(|(at, _)| of(*at));
            let against = operators(against.filter(|s| proven < 2 || s.kind() != SourceKind::Dns));
            let kinds = match (has(SourceKind::Http), has(SourceKind::Dns)) {
                _ if said(SourceKind::Interface) => true,
                (true, true) => {
                    said(SourceKind::Http) && (said(SourceKind::Dns) || (proven >= 2 && !dns_left))
                }
                _ => true,
            };
            let count = operators(voters());
            count >= 2 && count > against && kinds
        })
    }

    /// Who is to be asked next: somebody of another kind and of another operator than those who
    /// have answered, if there is one, else of another operator, else of another kind.
    #[must_use]
    pub fn next(&self, sources: &[Source], usable: &dyn Fn(usize) -> bool) -> Option<usize> {
        let heard = |test: &dyn Fn(&Source) -> bool| {
            self.votes.iter().any(|(at, _)| sources.get(*at).is_some_and(test))
        };
        let open = (0..).zip(sources).filter(|(at, _)| usable(*at) && !self.asked.contains(at));
        let rank = |source: &Source| {
            let kind = heard(&|s| s.kind() == source.kind());
            let operator = heard(&|s| s.operator == source.operator);
            u8::from(kind) + 2 * u8::from(operator)
        };
        open.filter(|(_, s)| rank(s) < 3).min_by_key(|(_, s)| rank(s)).map(|(at, _)| at)
    }

    /// How many operators have answered.
    #[must_use]
    pub fn answered(&self, sources: &[Source]) -> usize {
        operators(self.votes.iter().filter_map(|(at, _)| sources.get(*at)))
    }

    /// The name servers that say something else than what HTTPS has shown to be so.
    pub fn hijacked<'a>(
        &'a self,
        sources: &'a [Source],
        truth: IpAddr,
    ) -> impl Iterator<Item = usize> + 'a {
        let proven = |(at, address): &(usize, IpAddr)| {
            *address == truth && sources.get(*at).is_some_and(Source::is_proven)
        };
        let shown = self.votes.iter().any(proven);
        let liars = self
            .votes
            .iter()
            .filter(move |(_, address)| shown && *address != truth)
            .map(|(at, _)| *at);
        liars.filter(|at| sources.get(*at).is_some_and(|s| s.kind() == SourceKind::Dns))
    }
}

/// How many different operators these are.
pub(super) fn operators<'a>(sources: impl Iterator<Item = &'a Source>) -> usize {
    let mut seen: Vec<&str> = Vec::new();
    for source in sources {
        if !seen.contains(&&*source.operator) {
            seen.push(&source.operator);
        }
    }
    seen.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::ddns::source::SourceMeans;

    fn page(operator: &str, secure: bool) -> Source {
        let text = format!("http://{operator}/").into();
        Source {
            text,
            operator: operator.into(),
            means: SourceMeans::Page { secure, trace: false },
        }
    }

    fn all() -> Vec<Source> {
        let dns = |name: &str| Source::parse(name).unwrap();
        vec![
            page("a", true),
            dns("dns:opendns"),
            page("b", true),
            dns("dns:google"),
            page("c", false),
        ]
    }

    fn ip(n: u8) -> IpAddr {
        [203, 0, 113, n].into()
    }

    fn survey(votes: &[(usize, u8)], silent: &[usize]) -> Survey {
        let votes: Vec<_> = votes.iter().map(|(at, n)| (*at, ip(*n))).collect();
        let asked = votes.iter().map(|(at, _)| *at).chain(silent.iter().copied()).collect();
        Survey { votes, asked }
    }

    fn verdict(votes: &[(usize, u8)], silent: &[usize]) -> Option<u8> {
        let found = survey(votes, silent).verdict(&all(), &|_| true);
        found.map(|a| (1..9).find(|n| ip(*n) == a).unwrap())
    }

    #[test]
    fn two_operators_of_two_kinds_are_believed() {
        assert_eq!(verdict(&[(0, 1)], &[]), None);
        assert_eq!(verdict(&[(0, 1), (1, 1)], &[]), Some(1));
        assert_eq!(verdict(&[(4, 1), (1, 1)], &[]), Some(1));
        assert_eq!(verdict(&[(0, 1), (2, 1)], &[]), None, "a name server can still be asked");
        assert_eq!(verdict(&[(1, 1), (3, 1)], &[]), None, "name servers alone");
        assert_eq!(
            verdict(&[(1, 1), (3, 1)], &[0, 2, 4]),
            None,
            "name servers alone, although no page answers"
        );
    }

    #[test]
    fn a_majority_of_three_decides() {
        assert_eq!(verdict(&[(0, 1), (1, 2)], &[]), None);
        assert_eq!(verdict(&[(0, 1), (1, 2), (4, 2)], &[]), Some(2));
        assert_eq!(verdict(&[(0, 1), (1, 2), (4, 3)], &[]), None);
        assert_eq!(verdict(&[(0, 1), (1, 2), (2, 1), (3, 1)], &[]), Some(1));
        assert_eq!(verdict(&[(0, 1), (1, 1), (2, 2), (3, 2)], &[]), None, "two against two");
    }

    #[test]
    fn two_certificates_stand_against_hijacked_or_closed_dns() {
        assert_eq!(verdict(&[(0, 1), (1, 2), (3, 2)], &[]), None);
        assert_eq!(verdict(&[(0, 1), (1, 2), (3, 2), (2, 1)], &[]), Some(1));
        assert_eq!(verdict(&[(0, 1), (2, 1)], &[1, 3]), Some(1));
        assert_eq!(
            verdict(&[(0, 1), (4, 1)], &[1, 3]),
            None,
            "a page without a certificate proves nothing"
        );
        let hijacked: Vec<usize> =
            survey(&[(0, 1), (1, 2), (3, 1), (4, 2)], &[]).hijacked(&all(), ip(1)).collect();
        assert_eq!(hijacked, [1]);
        assert_eq!(
            survey(&[(4, 1), (1, 2)], &[]).hijacked(&all(), ip(1)).count(),
            0,
            "HTTP proves nothing"
        );
    }

    #[test]
    fn a_single_operator_is_believed_and_one_that_contradicts_itself_is_one() {
        let one = [page("a", true)];
        assert_eq!(survey(&[(0, 1)], &[]).verdict(&one, &|_| true), Some(ip(1)));
        let same = [page("a", true), page("a", true), page("b", true)];
        assert_eq!(survey(&[(0, 1), (1, 1)], &[]).verdict(&same, &|_| true), None);
        assert_eq!(survey(&[(0, 1), (1, 1), (2, 1)], &[]).verdict(&same, &|_| true), Some(ip(1)));
        let own = [
            Source::parse("interface").unwrap(),
            page("a", false),
            Source::parse("dns:google").unwrap(),
        ];
        assert_eq!(survey(&[(0, 1), (2, 1)], &[]).verdict(&own, &|_| true), Some(ip(1)));
    }

    #[test]
    fn the_next_to_be_asked_is_of_another_kind_and_operator() {
        let next =
            |votes: &[(usize, u8)], silent: &[usize]| survey(votes, silent).next(&all(), &|_| true);
        assert_eq!(next(&[], &[]), Some(0));
        assert_eq!(next(&[(0, 1)], &[]), Some(1));
        assert_eq!(next(&[(0, 1)], &[1]), Some(3));
        assert_eq!(next(&[(0, 1), (1, 2)], &[]), Some(2));
        assert_eq!(next(&[(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)], &[]), None);
        assert_eq!(survey(&[(0, 1)], &[]).next(&all(), &|at| at != 1), Some(3));
    }

    /// Whatever is asked and answered: fewer than two operators never decide, and liars of one kind
    /// alone never do.
    #[test]
    fn forged_name_servers_alone_never_decide() {
        let mut random = crate::base::random::Random(7);
        for _ in 0..20_000 {
            let mut votes = Vec::new();
            let mut silent = Vec::new();
            for at in 0..5 {
                let forged = at == 1 || at == 3;
                match random.below(3) {
                    0 => silent.push(at),
                    1 => votes.push((at, if forged { 2 } else { 1 })),
                    _ => {}
                }
            }
            let found = verdict(&votes, &silent);
            assert!(found != Some(2), "{votes:?} {silent:?}");
            assert!(
                found.is_none() || votes.iter().filter(|(_, n)| Some(*n) == found).count() >= 2,
                "{votes:?}"
            );
        }
    }
}
