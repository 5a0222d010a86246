//! Is a DNS answer worth believing? updown asks for a second opinion before it calls an outage, and a home router whose
//! cable is pulled likes to answer with its own address, or everything with a made-up one: that refutes nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::dns::{Answer, Rcode};

/// Where an address belongs.
/// ```
/// use imon::opinion::{Scope, scope};
///
/// assert_eq!(scope([1, 1, 1, 1].into()), Scope::Public);
/// // A provider that gives its customers such an address translates it: no port can be forwarded.
/// assert_eq!(scope([100, 64, 0, 9].into()), Scope::Shared);
/// // An IPv4 address in IPv6's clothes.
/// assert_eq!(scope("::ffff:192.168.1.1".parse().unwrap()), Scope::Private);
/// assert_eq!(Scope::Private.in_words(), "a private address");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Anywhere on the internet. The documentation networks (RFC 5737, RFC 3849) and the benchmark network 198.18/15
    /// (RFC 2544) count as public: nobody's router answers with them by itself, and labs, ours too, use them to play
    /// the internet.
    Public,
    /// A private network (RFC 1918, RFC 4193, the site-local addresses of RFC 3879).
    Private,
    /// Between a provider and its customers, 100.64/10 (RFC 6598).
    Shared,
    /// This machine.
    Loopback,
    /// One link (RFC 3927, RFC 4291).
    LinkLocal,
    /// No address at all: 0/8 and `::`, with which many blocking resolvers say no.
    Null,
    /// A group, not a host.
    Multicast,
    /// 240/4 with the broadcast address, and IPv6 outside 2000::/3, which was never given to anybody.
    Reserved,
}

impl Scope {
    /// `a private address`, and so on.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Public => "a public address",
            Self::Private => "a private address",
            Self::Shared => "an address inside a provider's network",
            Self::Loopback => "a loopback address",
            Self::LinkLocal => "a link-local address",
            Self::Null => "a null address",
            Self::Multicast => "a multicast address",
            Self::Reserved => "a reserved address",
        }
    }
}

/// Where `address` belongs. An IPv4 address written as IPv6, mapped (`::ffff:192.168.1.1`) or by NAT64
/// (`64:ff9b::192.168.1.1`, RFC 6052), is judged as the IPv4 address.
#[must_use]
pub fn scope(address: IpAddr) -> Scope {
    match address {
        IpAddr::V4(v4) => scope_v4(v4),
        IpAddr::V6(v6) => embedded_v4(v6).map_or_else(|| scope_v6(v6), scope_v4),
    }
}

fn scope_v4(v4: Ipv4Addr) -> Scope {
    match v4.octets() {
        [0, ..] => Scope::Null,
        [127, ..] => Scope::Loopback,
        [100, 64..=127, ..] => Scope::Shared,
        [224..=239, ..] => Scope::Multicast,
        [240..=255, ..] => Scope::Reserved,
        _ if v4.is_private() => Scope::Private,
        _ if v4.is_link_local() => Scope::LinkLocal,
        _ => Scope::Public,
    }
}

fn scope_v6(v6: Ipv6Addr) -> Scope {
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Scope::Null,
        [0, 0, 0, 0, 0, 0, 0, 1] => Scope::Loopback,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Scope::Private,
        [0xfe80..=0xfebf, ..] => Scope::LinkLocal,
        [0xff00..=0xffff, ..] => Scope::Multicast,
        [0x2000..=0x3fff, ..] => Scope::Public,
        _ => Scope::Reserved,
    }
}

fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
        }
        _ => None,
    }
}

/// Whether `address` is reached without the internet: private, link-local, or this machine. A DNS server there answers
/// from its cache, so what it says proves nothing about the internet. Addresses shared between a provider and its
/// customers are not meant: the provider's resolver may have one.
#[must_use]
pub fn is_private(address: IpAddr) -> bool {
    matches!(scope(address), Scope::Private | Scope::LinkLocal | Scope::Loopback)
}

/// Whether `name` is looked up outside the public DNS: a single label, or under a suffix that never was delegated
/// (RFC 6762 with its appendix G, RFC 8375, RFC 2606, ICANN's `.internal`). Its address may be a private one.
#[must_use]
pub fn is_local_name(name: &str) -> bool {
    const SUFFIXES: [&str; 11] = [
        "local",
        "lan",
        "home",
        "internal",
        "home.arpa",
        "localdomain",
        "corp",
        "private",
        "intranet",
        "test",
        "localhost",
    ];
    let name = name.strip_suffix('.').unwrap_or(name);
    !name.contains('.')
        || SUFFIXES.iter().any(|suffix| {
            let Some((rest, end)) = name.len().checked_sub(suffix.len()).and_then(|at| name.split_at_checked(at))
            else {
                return false;
            };
            end.eq_ignore_ascii_case(suffix) && rest.ends_with('.')
        })
}

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

/// Whether the `answer` to a question for the addresses of `name` shows that a server out there was reached. For a
/// public name every address must be public and none of `own`, this machine's addresses. A name of the local network
/// ([`is_local_name`]) may have any address but null and loopback.
///
/// # Errors
/// The first reason not to believe it.
pub fn believable(name: &str, answer: &Answer, own: &[IpAddr]) -> Result<(), Doubt> {
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

/// A name that cannot exist (RFC 6761, 6.4), different for each `random`: a server that gives it an address answers
/// everything, so its other answers prove nothing.
#[must_use]
pub fn invalid_label(random: u64) -> String {
    format!("imon-{random:016x}.invalid")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(addresses: &[&str]) -> Answer {
        Answer {
            rcode: Rcode::NOERROR,
            truncated: false,
            referral: false,
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
            texts: Vec::new(),
            ttl: 60,
        }
    }

    fn doubt(name: &str, addresses: &[&str]) -> String {
        believable(name, &answer(addresses), &[]).map_or_else(|d| d.to_string(), |()| "believed".into())
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
            assert_eq!(doubt("microsoft.com", &[address]), format!("the answer {address} is {what}"));
            assert_eq!(doubt("microsoft.com", &["203.0.113.7", address]), format!("the answer {address} is {what}"));
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
        let refused = Answer { rcode: Rcode::REFUSED, ..answer(&["1.1.1.1"]) };
        let doubt = believable("microsoft.com", &refused, &[]).unwrap_err();
        assert_eq!(doubt.to_string(), "the answer is refused (REFUSED)");
        let nxdomain = Answer { rcode: Rcode::NXDOMAIN, ..answer(&[]) };
        assert_eq!(believable("printer.lan", &nxdomain, &[]), Err(Doubt::Verdict(Rcode::NXDOMAIN)));
    }

    #[test]
    fn user_issue_5_our_own_address_proves_nothing() {
        let own = ["203.0.113.9".parse().unwrap(), "2001:db8::9".parse().unwrap()];
        let ask = |name: &str, a: &str| believable(name, &answer(&[a]), &own).map_err(|d| d.to_string());
        let refused = |a: &str| Err(format!("the answer {a} is an address of this machine"));
        assert_eq!(ask("microsoft.com", "203.0.113.9"), refused("203.0.113.9"));
        assert_eq!(ask("microsoft.com", "2001:db8::9"), refused("2001:db8::9"));
        assert_eq!(ask("microsoft.com", "::ffff:203.0.113.9"), refused("::ffff:203.0.113.9"));
        assert_eq!(ask("microsoft.com", "203.0.113.10"), Ok(()));
        assert_eq!(ask("router.lan", "203.0.113.9"), Ok(()));
    }

    #[test]
    fn a_local_name_may_have_a_private_address() {
        for name in ["router", "nas.lan", "NAS.Local.", "x.home.arpa", "a.b.internal", "x.test", "x.corp", "router."] {
            assert_eq!(doubt(name, &["192.168.1.1"]), "believed", "{name}");
            assert_eq!(doubt(name, &["fe80::1"]), "believed", "{name}");
            assert_eq!(doubt(name, &["0.0.0.0"]), "the answer 0.0.0.0 is a null address", "{name}");
            assert_eq!(doubt(name, &["127.0.0.1"]), "the answer 127.0.0.1 is a loopback address", "{name}");
        }
        for name in ["notlan.com", "xlan.example", "lan.example", "home.arpa.example", "x.arpa", "x.mylan"] {
            assert_eq!(doubt(name, &["192.168.1.1"]), "the answer 192.168.1.1 is a private address", "{name}");
        }
    }

    #[test]
    fn servers_that_need_no_internet() {
        for near in ["10.1.1.1", "192.168.1.1", "127.0.0.53", "169.254.0.1", "fd00::53", "fe80::1", "::1"] {
            assert!(is_private(near.parse().unwrap()), "{near}");
        }
        for far in ["8.8.8.8", "100.64.0.1", "198.18.0.53", "2001:4860:4860::8888"] {
            assert!(!is_private(far.parse().unwrap()), "{far}");
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
