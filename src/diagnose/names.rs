//! What a name server's answers say about it. It is asked for a name whose addresses are known to
//! everybody, for another public name, and for one that cannot exist.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::TestReply;
use crate::dns::plausible;
use crate::wire::dns::{DnsAnswer, Rcode};

/// A name whose addresses do not change: Cloudflare's name servers are known by them.
pub const KNOWN: &str = "one.one.one.one";
const KNOWN_ADDRESSES: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1)), IpAddr::V4(Ipv4Addr::new(1, 0, 0, 1))];
/// Another that is there.
pub const OTHER: &str = "microsoft.com";
/// All that a server without the internet can be asked for: every one knows it (RFC 6761, 6.3).
pub const NEAR: &str = "localhost";

/// What became of a question.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum NameReply {
    /// It was not asked.
    #[default]
    NotAsked,
    /// No answer yet.
    Waiting,
    /// An answer after this time.
    Answer(DnsAnswer, Duration),
    /// None, and why, after this time.
    Nothing(String, Duration),
}

/// What a server said.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Answers {
    /// To the question for [`KNOWN`].
    pub known: NameReply,
    /// To the question for [`OTHER`].
    pub other: NameReply,
    /// To the question for a name that cannot exist.
    pub invalid: NameReply,
    /// To the question for [`NEAR`], which is asked in place of the others.
    pub near: NameReply,
}

impl Answers {
    /// Whether the server works, and what shows that it makes answers up.
    #[must_use]
    pub fn judge(&self) -> (TestReply, Option<String>) {
        match &self.near {
            NameReply::NotAsked => {}
            NameReply::Waiting => return (TestReply::Waiting, None),
            NameReply::Answer(_, took) => return (TestReply::Got(*took), None),
            NameReply::Nothing(why, took) => {
                return (TestReply::Failed(why.as_str().into(), *took), None);
            }
        }
        (self.reply(), self.lie())
    }

    fn reply(&self) -> TestReply {
        let mut failed = None;
        for (name, said) in [(KNOWN, &self.known), (OTHER, &self.other)] {
            match said {
                NameReply::Answer(answer, took) if !answer.addresses.is_empty() => {
                    return TestReply::Got(*took);
                }
                NameReply::Answer(answer, took) if answer.rcode == Rcode::NOERROR => {
                    failed = failed.or(Some((format!("it knows no address of {name}"), *took)));
                }
                NameReply::Answer(answer, took) => {
                    failed = failed
                        .or(Some((format!("asked for {name} it says {}", answer.rcode), *took)));
                }
                NameReply::Nothing(why, took) => failed = failed.or(Some((why.clone(), *took))),
                NameReply::NotAsked | NameReply::Waiting => {}
            }
        }
        match failed {
            _ if self.known == NameReply::Waiting || self.other == NameReply::Waiting => {
                TestReply::Waiting
            }
            Some((why, took)) => TestReply::Failed(why.into(), took),
            None => TestReply::NotAsked,
        }
    }

    fn lie(&self) -> Option<String> {
        let made_up = |name: &str, address: &IpAddr| format!("it says that {name} is {address}");
        if let NameReply::Answer(answer, _) = &self.known
            && let Some(wrong) = answer.addresses.iter().find(|a| !KNOWN_ADDRESSES.contains(a))
        {
            return Some(made_up(KNOWN, wrong));
        }
        if let NameReply::Answer(answer, _) = &self.other
            && let Some(first) = answer.addresses.first()
            && plausible::believable(OTHER, answer, &[]).is_err()
        {
            return Some(made_up(OTHER, first));
        }
        if let NameReply::Answer(answer, _) = &self.invalid
            && let Some(first) = answer.addresses.first()
        {
            return Some(made_up("a name that cannot exist", first));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(rcode: Rcode, addresses: &[&str]) -> NameReply {
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        let answer = DnsAnswer {
            rcode,
            truncated: false,
            referral: false,
            addresses,
            texts: Vec::new(),
            ttl: 60,
        };
        NameReply::Answer(answer, Duration::from_millis(5))
    }

    fn judged(
        known: NameReply,
        other: NameReply,
        invalid: NameReply,
    ) -> (TestReply, Option<String>) {
        Answers { known, other, invalid, near: NameReply::NotAsked }.judge()
    }

    #[test]
    fn an_honest_server_is_believed() {
        let (ok, no) = (Rcode::NOERROR, Rcode::NXDOMAIN);
        let got = TestReply::Got(Duration::from_millis(5));
        assert_eq!(
            judged(said(ok, &["1.1.1.1", "1.0.0.1"]), said(ok, &["198.18.0.80"]), said(no, &[])),
            (got.clone(), None)
        );
        // A server of the lab or of a company may not know the first.
        assert_eq!(judged(said(no, &[]), said(ok, &["198.18.0.80"]), said(no, &[])), (got, None));
    }

    #[test]
    fn b31_one_that_makes_answers_up_is_not() {
        let (ok, no) = (Rcode::NOERROR, Rcode::NXDOMAIN);
        let lie = |known, other, invalid| judged(known, other, invalid).1.unwrap();
        let lied =
            lie(said(ok, &["10.66.66.66"]), said(ok, &["10.66.66.66"]), said(ok, &["10.66.66.66"]));
        assert_eq!(lied, "it says that one.one.one.one is 10.66.66.66");
        let lied = lie(said(no, &[]), said(ok, &["192.168.1.1"]), said(no, &[]));
        assert_eq!(lied, "it says that microsoft.com is 192.168.1.1");
        let lied =
            lie(said(ok, &["1.1.1.1"]), said(ok, &["198.18.0.80"]), said(ok, &["198.18.0.81"]));
        assert_eq!(lied, "it says that a name that cannot exist is 198.18.0.81");
    }

    #[test]
    fn where_nothing_public_is_asked_the_one_question_is_what_counts() {
        let near = |near| {
            Answers { near, known: said(Rcode::NOERROR, &["10.66.66.66"]), ..Answers::default() }
                .judge()
        };
        let took = Duration::from_millis(5);
        assert_eq!(near(said(Rcode::NXDOMAIN, &[])), (TestReply::Got(took), None));
        assert_eq!(near(NameReply::Waiting), (TestReply::Waiting, None));
        assert_eq!(
            near(NameReply::Nothing("x".to_owned(), took)),
            (TestReply::Failed("x".into(), took), None)
        );
    }

    #[test]
    fn one_that_says_nothing_good_does_not_work() {
        let silent = || NameReply::Nothing("no answer".to_owned(), Duration::from_secs(3));
        assert!(
            matches!(judged(silent(), silent(), silent()), (TestReply::Failed(why, _), None) if &*why == "no answer")
        );
        let no = || said(Rcode::NXDOMAIN, &[]);
        let (reply, lie) = judged(no(), no(), no());
        assert!(
            matches!(reply, TestReply::Failed(why, _) if why.contains("no such name"))
                && lie.is_none()
        );
        // One that knows the name and no address of it says less than one that does not know it.
        let (reply, _) = judged(said(Rcode::NOERROR, &[]), no(), no());
        assert!(
            matches!(reply, TestReply::Failed(why, _) if &*why == "it knows no address of one.one.one.one")
        );
        let (reply, _) = judged(said(Rcode::SERVFAIL, &[]), no(), no());
        assert!(
            matches!(reply, TestReply::Failed(why, _) if why.starts_with("asked for one.one.one.one it says "))
        );
        assert_eq!(judged(silent(), NameReply::Waiting, no()).0, TestReply::Waiting);
        assert_eq!(judged(NameReply::Waiting, silent(), no()).0, TestReply::Waiting);
        assert_eq!(
            judged(NameReply::NotAsked, NameReply::NotAsked, NameReply::NotAsked),
            (TestReply::NotAsked, None)
        );
        assert_eq!(
            judged(silent(), said(Rcode::NOERROR, &["198.18.0.80"]), no()).0,
            TestReply::Got(Duration::from_millis(5))
        );
    }
}
