//! Why a name does not resolve, in the words a person reads.

use std::fmt;
use std::net::IpAddr;

use super::NameServer;
use crate::wire::dns::{NameError, Rcode};

/// Why an [`NameQuery`](super::NameQuery) got no answer that could be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AskError {
    /// Nothing listens on the server's port (ECONNREFUSED).
    PortClosed,
    /// The question could not be sent, or somebody on the way said so; the reason, for a person.
    Unreachable(String),
    /// The answer was broken ([`crate::wire::dns::Reject::Malformed`]). One that only does not
    /// match is no answer at all: wait on.
    Malformed(&'static str),
}

/// Why a name's last lookup failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NameProblem {
    /// It cannot be asked for.
    BadName(NameError),
    /// This server says that the name does not exist.
    NoSuchName(NameServer),
    /// This server says that the name has no address of either family.
    NoAddress(NameServer),
    /// This server gave an address that cannot be another host's: null, loopback or multicast.
    /// Resolvers that block names do that, and a probe of it would reach ourselves.
    NotAHost(NameServer, IpAddr),
    /// No server gave a usable answer.
    Servers {
        /// Each server asked, with its last failure.
        failures: Vec<(NameServer, Failure)>,
        /// `/etc/resolv.conf` names no server, so the local one was asked.
        assumed: bool,
    },
}

/// Why one server was of no use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// It did not answer in time.
    Silent,
    /// The question did not get there, or the answer was broken.
    Ask(AskError),
    /// It answered with an error.
    Verdict(Rcode),
    /// Its answer was cut short before the first address.
    Truncated,
    /// It only points to other servers.
    Referral,
}

impl Failure {
    /// Whether nothing at all came from the server.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::Silent | Self::Ask(AskError::PortClosed | AskError::Unreachable(_)))
    }
}

impl NameProblem {
    /// The one of two candidates' problems to tell: a server's failure before what could be the
    /// plain truth, and anything before "no such name", which is what most candidates of a search
    /// list end with.
    pub(super) fn worse(earlier: Option<Self>, later: Self) -> Option<Self> {
        let rank = |p: &Self| match p {
            Self::BadName(_) | Self::NoSuchName(_) => 0,
            Self::NoAddress(_) | Self::NotAHost(..) => 1,
            Self::Servers { .. } => 2,
        };
        match earlier {
            Some(earlier) if rank(&earlier) >= rank(&later) => Some(earlier),
            _ => Some(later),
        }
    }
}

impl fmt::Display for NameProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("name does not resolve: ")?;
        match self {
            Self::BadName(why) => write!(f, "it {why}"),
            Self::NoSuchName(server) => write!(f, "{} from {server}", Rcode::NXDOMAIN),
            Self::NoAddress(server) => write!(f, "no address of this name from {server}"),
            Self::NotAHost(server, address) => {
                write!(
                    f,
                    "{address} from {server}, which is no other host's address (a blocked name?)"
                )
            }
            Self::Servers { failures, assumed } => {
                if *assumed {
                    f.write_str("no name server in /etc/resolv.conf, and ")?;
                }
                write_failures(f, failures)
            }
        }
    }
}

/// `no answer from 8.8.8.8, 1.1.1.1; server failure (SERVFAIL) from 9.9.9.9`
fn write_failures(f: &mut fmt::Formatter<'_>, failures: &[(NameServer, Failure)]) -> fmt::Result {
    let mut between = "";
    for (i, (server, failure)) in failures.iter().enumerate() {
        if failures.iter().take(i).any(|(_, earlier)| earlier == failure) {
            continue;
        }
        write!(f, "{between}{failure} {server}")?;
        for (server, _) in failures.iter().skip(i + 1).filter(|(_, later)| later == failure) {
            write!(f, ", {server}")?;
        }
        between = "; ";
    }
    Ok(())
}

/// With the preposition the server's name wants.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("no answer from"),
            Self::Ask(AskError::PortClosed) => f.write_str("DNS port closed at"),
            Self::Ask(AskError::Unreachable(why)) => write!(f, "{why} on the way to"),
            Self::Ask(AskError::Malformed(why)) => write!(f, "broken answer ({why}) from"),
            Self::Verdict(rcode) => write!(f, "{rcode} from"),
            Self::Truncated => f.write_str("answer cut short from"),
            Self::Referral => f.write_str("no recursion from"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(address: &str) -> NameServer {
        NameServer { address: address.parse().unwrap(), zone: None }
    }

    #[test]
    fn problems_read_well() {
        let google = || server("8.8.8.8");
        let servers = |failures, assumed| NameProblem::Servers { failures, assumed };
        let unreachable = Failure::Ask(AskError::Unreachable("network is unreachable".into()));
        for (problem, text) in [
            (
                NameProblem::BadName(NameError::EmptyLabel),
                "it has an empty label (two dots in a row, or one at the start)",
            ),
            (NameProblem::NoSuchName(google()), "no such name (NXDOMAIN) from 8.8.8.8"),
            (NameProblem::NoAddress(google()), "no address of this name from 8.8.8.8"),
            (
                NameProblem::NotAHost(google(), "0.0.0.0".parse().unwrap()),
                "0.0.0.0 from 8.8.8.8, which is no other host's address (a blocked name?)",
            ),
            (
                servers(
                    vec![
                        (google(), Failure::Silent),
                        (server("2001:db8::1"), Failure::Verdict(Rcode::SERVFAIL)),
                        (server("1.1.1.1"), Failure::Silent),
                    ],
                    false,
                ),
                "no answer from 8.8.8.8, 1.1.1.1; server failure (SERVFAIL) from 2001:db8::1",
            ),
            (
                servers(vec![(server("127.0.0.1"), Failure::Ask(AskError::PortClosed))], true),
                "no name server in /etc/resolv.conf, and DNS port closed at 127.0.0.1",
            ),
            (
                servers(vec![(google(), unreachable)], false),
                "network is unreachable on the way to 8.8.8.8",
            ),
            (servers(vec![(google(), Failure::Truncated)], false), "answer cut short from 8.8.8.8"),
            (servers(vec![(google(), Failure::Referral)], false), "no recursion from 8.8.8.8"),
            (
                servers(
                    vec![(
                        google(),
                        Failure::Ask(AskError::Malformed("a record that is cut short")),
                    )],
                    false,
                ),
                "broken answer (a record that is cut short) from 8.8.8.8",
            ),
        ] {
            assert_eq!(problem.to_string(), format!("name does not resolve: {text}"));
        }
    }

    #[test]
    fn the_most_telling_problem_of_a_search_is_kept() {
        let no_name = || NameProblem::NoSuchName(server("8.8.8.8"));
        let no_address = || NameProblem::NoAddress(server("8.8.8.8"));
        let failed = || NameProblem::Servers { failures: Vec::new(), assumed: false };
        assert_eq!(NameProblem::worse(None, no_name()), Some(no_name()));
        assert_eq!(NameProblem::worse(Some(no_name()), no_address()), Some(no_address()));
        assert_eq!(NameProblem::worse(Some(no_address()), no_name()), Some(no_address()));
        assert_eq!(NameProblem::worse(Some(failed()), no_address()), Some(failed()));
        assert_eq!(NameProblem::worse(Some(no_name()), failed()), Some(failed()));
    }
}
