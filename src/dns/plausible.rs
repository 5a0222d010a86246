//! Is a DNS answer worth believing? updown asks for a second opinion before it calls an outage, and
//! a home router whose cable is pulled likes to answer with its own address, or everything with a
//! made-up one: that refutes nothing.

use std::fmt;
use std::net::IpAddr;

use crate::addr::scope::{Scope, is_local_name, scope};
use crate::wire::dns::{DnsAnswer, Rcode};

/// Why an answer is not believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doubt {
    /// The server said no.
    Verdict(Rcode),
    /// The server said yes, but gave no address.
    NoAddress,
    /// This address of the answer does not belong on the internet.
    Address(IpAddr, Scope),
    /// This address of the answer is one of this machine's.
    Own(IpAddr),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, what) = match self {
            Self::Verdict(rcode) => return write!(f, "the answer is {rcode}"),
            Self::NoAddress => return f.write_str("the answer has no address"),
            Self::Own(address) => (address, "an address of this machine"),
            Self::Address(address, scope) => (address, scope.in_words()),
        };
        write!(f, "the answer {address} is {what}")
    }
}

/// Whether the `answer` to a question for the addresses of `name` shows that a server out there was
/// reached. For a public name every address must be public and none of `own`, this machine's
/// addresses. A name of the local network ([`is_local_name`]) may have any address but null and
/// loopback.
///
/// # Errors
/// The first reason not to believe it.
pub fn believable(name: &str, answer: &DnsAnswer, own: &[IpAddr]) -> Result<(), Doubt> {
    if answer.rcode != Rcode::NOERROR {
        return Err(Doubt::Verdict(answer.rcode));
    }
    if answer.addresses.is_empty() {
        return Err(Doubt::NoAddress);
    }
    let local = is_local_name(name);
    for &address in &answer.addresses {
        let scope = scope(address);
        let fine = match scope {
            Scope::Public => true,
            Scope::Null | Scope::Loopback => false,
            _ => local,
        };
        if !fine {
            return Err(Doubt::Address(address, scope));
        }
        if !local && own.iter().any(|o| o.to_canonical() == address.to_canonical()) {
            return Err(Doubt::Own(address));
        }
    }
    Ok(())
}

/// A name that cannot exist (RFC 6761, 6.4), different for each `random`: a server that gives it an
/// address answers everything, so its other answers prove nothing.
#[must_use]
pub fn invalid_label(random: u64) -> String {
    format!("imon-{random:016x}.invalid")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(addresses: &[&str]) -> DnsAnswer {
        DnsAnswer {
            rcode: Rcode::NOERROR,
            truncated: false,
            referral: false,
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
            texts: Vec::new(),
            ttl: 60,
        }
    }

    fn doubt(name: &str, addresses: &[&str]) -> String {
        believable(name, &answer(addresses), &[])
            .map_or_else(|d| d.to_string(), |()| "believed".into())
    }

    #[test]
    fn b31_made_up_addresses_prove_nothing_about_a_public_name() {
        for (address, what) in [
            ("10.0.0.1", "a private address"),
            ("172.16.0.1", "a private address"),
            ("172.31.255.255", "a private address"),
            ("192.168.1.1", "a private address"),
            ("fd00::1", "a private address"),
            ("fc00::1", "a private address"),
            ("fec0::1", "a private address"),
            ("100.64.0.1", "an address inside a provider's network"),
            ("100.127.255.255", "an address inside a provider's network"),
            ("127.0.0.1", "a loopback address"),
            ("127.0.0.53", "a loopback address"),
            ("::1", "a loopback address"),
            ("169.254.1.1", "a link-local address"),
            ("fe80::1", "a link-local address"),
            ("0.0.0.0", "a null address"),
            ("0.1.2.3", "a null address"),
            ("::", "a null address"),
            ("224.0.0.1", "a multicast address"),
            ("ff02::1", "a multicast address"),
            ("240.0.0.1", "a reserved address"),
            ("255.255.255.255", "a reserved address"),
            ("::ffff:192.168.1.1", "a private address"),
            ("64:ff9b::c0a8:101", "a private address"),
            ("::2", "a reserved address"),
            ("100::1", "a reserved address"),
            ("4000::1", "a reserved address"),
        ] {
            assert_eq!(
                doubt("microsoft.com", &[address]),
                format!("the answer {address} is {what}")
            );
            assert_eq!(
                doubt("microsoft.com", &["203.0.113.7", address]),
                format!("the answer {address} is {what}")
            );
        }
    }

    #[test]
    fn public_addresses_are_believed() {
        for address in [
            "1.1.1.1",
            "172.15.255.255",
            "172.32.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "126.255.255.255",
            "128.0.0.1",
            "192.169.0.1",
            "223.255.255.255",
            "198.18.0.1",
            "203.0.113.7",
            "198.51.100.7",
            "192.0.2.7",
            "2606:4700::1111",
            "2001:db8::1",
            "64:ff9b::101:101",
            "::ffff:1.1.1.1",
        ] {
            assert_eq!(doubt("microsoft.com", &[address]), "believed", "{address}");
        }
    }

    #[test]
    fn a_verdict_or_nothing_is_no_answer() {
        assert_eq!(doubt("microsoft.com", &[]), "the answer has no address");
        let refused = DnsAnswer { rcode: Rcode::REFUSED, ..answer(&["1.1.1.1"]) };
        let doubt = believable("microsoft.com", &refused, &[]).unwrap_err();
        assert_eq!(doubt.to_string(), "the answer is refused (REFUSED)");
        let nxdomain = DnsAnswer { rcode: Rcode::NXDOMAIN, ..answer(&[]) };
        assert_eq!(believable("printer.lan", &nxdomain, &[]), Err(Doubt::Verdict(Rcode::NXDOMAIN)));
    }

    #[test]
    fn user_issue_5_our_own_address_proves_nothing() {
        let own = ["203.0.113.9".parse().unwrap(), "2001:db8::9".parse().unwrap()];
        let ask =
            |name: &str, a: &str| believable(name, &answer(&[a]), &own).map_err(|d| d.to_string());
        let refused = |a: &str| Err(format!("the answer {a} is an address of this machine"));
        assert_eq!(ask("microsoft.com", "203.0.113.9"), refused("203.0.113.9"));
        assert_eq!(ask("microsoft.com", "2001:db8::9"), refused("2001:db8::9"));
        assert_eq!(ask("microsoft.com", "::ffff:203.0.113.9"), refused("::ffff:203.0.113.9"));
        assert_eq!(ask("microsoft.com", "203.0.113.10"), Ok(()));
        assert_eq!(ask("router.lan", "203.0.113.9"), Ok(()));
    }

    #[test]
    fn a_local_name_may_have_a_private_address() {
        for name in [
            "router",
            "nas.lan",
            "NAS.Local.",
            "x.home.arpa",
            "a.b.internal",
            "x.test",
            "x.corp",
            "router.",
        ] {
            assert_eq!(doubt(name, &["192.168.1.1"]), "believed", "{name}");
            assert_eq!(doubt(name, &["fe80::1"]), "believed", "{name}");
            assert_eq!(doubt(name, &["0.0.0.0"]), "the answer 0.0.0.0 is a null address", "{name}");
            assert_eq!(
                doubt(name, &["127.0.0.1"]),
                "the answer 127.0.0.1 is a loopback address",
                "{name}"
            );
        }
        for name in
            ["notlan.com", "xlan.example", "lan.example", "home.arpa.example", "x.arpa", "x.mylan"]
        {
            assert_eq!(
                doubt(name, &["192.168.1.1"]),
                "the answer 192.168.1.1 is a private address",
                "{name}"
            );
        }
    }

    #[test]
    fn names_that_cannot_exist_are_valid_and_differ() {
        assert_eq!(invalid_label(0x1f), "imon-000000000000001f.invalid");
        assert_eq!(invalid_label(u64::MAX).len(), 29);
        assert!(crate::wire::dns::Name::parse(&invalid_label(7)).is_ok());
        assert_ne!(invalid_label(1), invalid_label(2));
    }
}
