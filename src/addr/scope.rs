//! Where an address belongs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address belongs.
/// ```
/// use imon::addr::scope::{Scope, scope};
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
    /// Anywhere on the internet. The documentation networks (RFC 5737, RFC 3849) and the benchmark
    /// network 198.18/15 (RFC 2544) count as public: nobody's router answers with them by itself,
    /// and labs, ours too, use them to play the internet.
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
    /// 240/4 with the broadcast address, and IPv6 outside 2000::/3, which was never given to
    /// anybody.
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

/// Where `address` belongs. An IPv4 address written as IPv6, mapped (`::ffff:192.168.1.1`) or by
/// NAT64 (`64:ff9b::192.168.1.1`, RFC 6052), is judged as the IPv4 address.
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

/// Whether `address` is reached without the internet: private, link-local, or this machine. A DNS
/// server there answers from its cache, so what it says proves nothing about the internet.
/// Addresses shared between a provider and its customers are not meant: the provider's resolver may
/// have one.
#[must_use]
pub fn is_private(address: IpAddr) -> bool {
    matches!(scope(address), Scope::Private | Scope::LinkLocal | Scope::Loopback)
}

/// Whether `name` is looked up outside the public DNS: a single label, or under a suffix that never
/// was delegated (RFC 6762 with its appendix G, RFC 8375, RFC 2606, ICANN's `.internal`). Its
/// address may be a private one.
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
            let Some((rest, end)) =
                name.len().checked_sub(suffix.len()).and_then(|at| name.split_at_checked(at))
            else {
                return false;
            };
            end.eq_ignore_ascii_case(suffix) && rest.ends_with('.')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_need_no_internet() {
        for near in
            ["10.1.1.1", "192.168.1.1", "127.0.0.53", "169.254.0.1", "fd00::53", "fe80::1", "::1"]
        {
            assert!(is_private(near.parse().unwrap()), "{near}");
        }
        for far in ["8.8.8.8", "100.64.0.1", "198.18.0.53", "2001:4860:4860::8888"] {
            assert!(!is_private(far.parse().unwrap()), "{far}");
        }
    }
}
