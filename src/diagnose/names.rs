//! What a name server's answers say about it. It is asked for a name whose addresses are known to everybody, for another
//! public name, and for one that cannot exist.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::Reply;
use crate::dns::plausible;
use crate::wire::dns::{Answer, Rcode};

/// A name whose addresses do not change: Cloudflare's name servers are known by them.
pub const KNOWN: &str = "one.one.one.one";
const KNOWN_ADDRESSES: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1)), IpAddr::V4(Ipv4Addr::new(1, 0, 0, 1))];
/// Another that is there.
pub const OTHER: &str = "microsoft.com";
/// All that a server without the internet can be asked for: every one knows it (RFC 6761, 6.3).
pub const NEAR: &str = "localhost";

/// What became of a question.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum Said {
    /// It was not asked.
    #[default]
    NotAsked,
    /// No answer yet.
    Waiting,
    /// An answer after this time.
    Answer(Answer, Duration),
    /// None, and why, after this time.
    Nothing(String, Duration),
}

/// What a server said.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Answers {
    /// To the question for [`KNOWN`].
    pub known: Said,
    /// To the question for [`OTHER`].
    pub other: Said,
    /// To the question for a name that cannot exist.
    pub invalid: Said,
    /// To the question for [`NEAR`], which is asked in place of the others.
    pub near: Said,
}

impl Answers {
    /// Whether the server works, and what shows that it makes answers up.
    #[must_use]
    pub fn judge(&self) -> (Reply, Option<String>) {
        match &self.near {
            Said::NotAsked => {}
            Said::Waiting => return (Reply::Waiting, None),
            Said::Answer(_, took) => return (Reply::Got(*took), None),
            Said::Nothing(why, took) => return (Reply::Failed(why.as_str().into(), *took), None),
        }
        (self.reply(), self.lie())
    }

    fn reply(&self) -> Reply {
        let mut failed = None;
        for (name, said) in [(KNOWN, &self.known), (OTHER, &self.other)] {
            match said {
                Said::Answer(answer, took) if !answer.addresses.is_empty() => return Reply::Got(*took),
                Said::Answer(answer, took) if answer.rcode == Rcode::NOERROR => {
                    failed = failed.or(Some((format!("it knows no address of {name}"), *took)));
                }
                Said::Answer(answer, took) => {
                    failed = failed.or(Some((format!("asked for {name} it says {}", answer.rcode), *took)));
                }
                Said::Nothing(why, took) => failed = failed.or(Some((why.clone(), *took))),
                Said::NotAsked | Said::Waiting => {}
            }
        }
        match failed {
            _ if self.known == Said::Waiting || self.other == Said::Waiting => Reply::Waiting,
            Some((why, took)) => Reply::Failed(why.into(), took),
            None => Reply::NotAsked,
        }
    }

    fn lie(&self) -> Option<String> {
        let made_up = |name: &str, address: &IpAddr| format!("it says that {name} is {address}");
        if let Said::Answer(answer, _) = &self.known
            && let Some(wrong) = answer.addresses.iter().find(|a| !KNOWN_ADDRESSES.contains(a))
        {
            return Some(made_up(KNOWN, wrong));
        }
        if let Said::Answer(answer, _) = &self.other
            && let Some(first) = answer.addresses.first()
            && plausible::believable(OTHER, answer, &[]).is_err()
        {
            return Some(made_up(OTHER, first));
        }
        if let Said::Answer(answer, _) = &self.invalid
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

    fn said(rcode: Rcode, addresses: &[&str]) -> Said {
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        let answer = Answer { rcode, truncated: false, referral: false, addresses, texts: Vec::new(), ttl: 60 };
        Said::Answer(answer, Duration::from_millis(5))
    }

    fn judged(known: Said, other: Said, invalid: Said) -> (Reply, Option<String>) {
        Answers { known, other, invalid, near: Said::NotAsked }.judge()
    }

    #[test]
    fn an_honest_server_is_believed() {
        let (ok, no) = (Rcode::NOERROR, Rcode::NXDOMAIN);
        let got = Reply::Got(Duration::from_millis(5));
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
        let lied = lie(said(ok, &["10.66.66.66"]), said(ok, &["10.66.66.66"]), said(ok, &["10.66.66.66"]));
        assert_eq!(lied, "it says that one.one.one.one is 10.66.66.66");
        let lied = lie(said(no, &[]), said(ok, &["192.168.1.1"]), said(no, &[]));
        assert_eq!(lied, "it says that microsoft.com is 192.168.1.1");
        let lied = lie(said(ok, &["1.1.1.1"]), said(ok, &["198.18.0.80"]), said(ok, &["198.18.0.81"]));
        assert_eq!(lied, "it says that a name that cannot exist is 198.18.0.81");
    }

    #[test]
    fn where_nothing_public_is_asked_the_one_question_is_what_counts() {
        let near = |near| Answers { near, known: said(Rcode::NOERROR, &["10.66.66.66"]), ..Answers::default() }.judge();
        let took = Duration::from_millis(5);
        assert_eq!(near(said(Rcode::NXDOMAIN, &[])), (Reply::Got(took), None));
        assert_eq!(near(Said::Waiting), (Reply::Waiting, None));
        assert_eq!(near(Said::Nothing("x".to_owned(), took)), (Reply::Failed("x".into(), took), None));
    }

    #[test]
    fn one_that_says_nothing_good_does_not_work() {
        let silent = || Said::Nothing("no answer".to_owned(), Duration::from_secs(3));
        assert!(matches!(judged(silent(), silent(), silent()), (Reply::Failed(why, _), None) if &*why == "no answer"));
        let no = || said(Rcode::NXDOMAIN, &[]);
        let (reply, lie) = judged(no(), no(), no());
        assert!(matches!(reply, Reply::Failed(why, _) if why.contains("no such name")) && lie.is_none());
        // One that knows the name and no address of it says less than one that does not know it.
        let (reply, _) = judged(said(Rcode::NOERROR, &[]), no(), no());
        assert!(matches!(reply, Reply::Failed(why, _) if &*why == "it knows no address of one.one.one.one"));
        let (reply, _) = judged(said(Rcode::SERVFAIL, &[]), no(), no());
        assert!(matches!(reply, Reply::Failed(why, _) if why.starts_with("asked for one.one.one.one it says ")));
        assert_eq!(judged(silent(), Said::Waiting, no()).0, Reply::Waiting);
        assert_eq!(judged(Said::Waiting, silent(), no()).0, Reply::Waiting);
        assert_eq!(judged(Said::NotAsked, Said::NotAsked, Said::NotAsked), (Reply::NotAsked, None));
        assert_eq!(
            judged(silent(), said(Rcode::NOERROR, &["198.18.0.80"]), no()).0,
            Reply::Got(Duration::from_millis(5))
        );
    }
}
