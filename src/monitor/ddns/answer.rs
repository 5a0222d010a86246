//! The external address as others tell it: read strictly, because what they say is acted upon.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::addr::family::Family;
use crate::addr::scope::{Scope, scope};
use crate::wire::dns::{DnsAnswer, Rcode};

/// The longest page that is read, in bytes. An address has at most 45 characters.
pub const LONGEST: usize = 256;
/// The same for a page in Cloudflare's trace format, which has some 20 lines.
pub const LONGEST_TRACE: usize = 2048;

/// Why an answer is not believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Nothing, or only white space.
    Empty,
    /// More than this many bytes.
    TooLong(usize),
    /// Something else than one address and nothing besides: a portal's page, two addresses, a zone
    /// id, a trick.
    NotAnAddress,
    /// Not a page in Cloudflare's trace format with one address in it.
    NotATrace,
    /// An address of the other family.
    OtherFamily(IpAddr),
    /// An address that nobody in the internet can reach: whoever answered sits nearer.
    NotPublic(IpAddr, Scope),
    /// The name server said no.
    Verdict(Rcode),
    /// The name server's answer has no record, or several.
    Records(usize),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the answer is empty"),
            Self::TooLong(most) => write!(f, "the answer is longer than {most} bytes"),
            Self::NotAnAddress => f.write_str("the answer is not one address and nothing else"),
            Self::NotATrace => {
                f.write_str("the answer is not in the trace format with one address")
            }
            Self::OtherFamily(address) => {
                write!(f, "the answer is {address}, which is of the other family")
            }
            Self::NotPublic(address, scope) => {
                write!(f, "the answer is {address}, {}", scope.in_words())
            }
            Self::Verdict(rcode) => write!(f, "the answer is {rcode}"),
            Self::Records(0) => f.write_str("the answer has no address"),
            Self::Records(n) => write!(f, "the answer has {n} records instead of one"),
        }
    }
}

/// Reads a page that consists of one public address of this family, white space around it aside.
///
/// # Errors
/// Everything else is refused; nothing is searched for, cut out or repaired.
pub fn address(page: &[u8], family: Family) -> Result<IpAddr, Refusal> {
    let text = text(page, LONGEST, Refusal::NotAnAddress)?;
    text.parse().map_err(|_| Refusal::NotAnAddress).and_then(|address| public(address, family))
}

/// The text of a page, unless it is too long, empty, or no text at all.
fn text(page: &[u8], longest: usize, no_text: Refusal) -> Result<&str, Refusal> {
    if page.len() > longest {
        return Err(Refusal::TooLong(longest));
    }
    match std::str::from_utf8(page).map(str::trim_ascii) {
        Ok("") => Err(Refusal::Empty),
        Ok(text) => Ok(text),
        Err(_) => Err(no_text),
    }
}

/// Reads a page in Cloudflare's trace format: lines `key=value`, `fl` first, `ip` once.
///
/// # Errors
/// A page of another form, several addresses, one of the other family or one that is not public.
pub fn trace(page: &[u8], family: Family) -> Result<IpAddr, Refusal> {
    let text = text(page, LONGEST_TRACE, Refusal::NotATrace)?;
    let mut found = None;
    for (at, line) in text.lines().enumerate() {
        let (key, value) = line.split_once('=').ok_or(Refusal::NotATrace)?;
        let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        if !is_key || (at == 0 && key != "fl") || (key == "ip" && found.replace(value).is_some()) {
            return Err(Refusal::NotATrace);
        }
    }
    let address =
        found.and_then(|value| value.trim_ascii_end().parse().ok()).ok_or(Refusal::NotATrace)?;
    public(address, family)
}

/// Reads the answer to a question for our own address: one record, which is an address or a text
/// that is one.
///
/// # Errors
/// Anything else.
pub fn record(answer: &DnsAnswer, family: Family) -> Result<IpAddr, Refusal> {
    if answer.rcode != Rcode::NOERROR {
        return Err(Refusal::Verdict(answer.rcode));
    }
    match (answer.addresses.as_slice(), answer.texts.as_slice()) {
        ([only], []) => public(*only, family),
        ([], [text]) => address(text, family),
        (addresses, texts) => Err(Refusal::Records(addresses.len() + texts.len())),
    }
}

/// Accepts an address of this family that is somewhere in the internet.
///
/// # Errors
/// Why it is not.
pub fn public(address: IpAddr, family: Family) -> Result<IpAddr, Refusal> {
    if !family.has(address) {
        return Err(Refusal::OtherFamily(address));
    }
    let scope = match address {
        // IPv4 dressed up as IPv6 is no IPv6 address.
        IpAddr::V6(v6) if !is_global(v6) && scope(address) == Scope::Public => Scope::Reserved,
        _ => scope(address),
    };
    if scope == Scope::Public { Ok(address) } else { Err(Refusal::NotPublic(address, scope)) }
}

/// Of 2000::/3, all that was ever given out (RFC 4291, 2.4).
fn is_global(v6: Ipv6Addr) -> bool {
    v6.segments()[0] >> 13 == 1
}

/// The IPv6 address of an interface that others should use: global, not temporary, deprecated,
/// tentative or failed. `table` is `/proc/net/if_inet6`, `like` the one that the kernel uses by
/// itself, which tells the interface.
#[must_use]
pub fn stable_v6(table: &str, like: Ipv6Addr) -> Option<Ipv6Addr> {
    // IFA_F_TEMPORARY, _DADFAILED, _DEPRECATED, _TENTATIVE (linux/if_addr.h).
    const UNFIT: u32 = 0x01 | 0x08 | 0x20 | 0x40;
    // "20010db8000000000000000000000002 03 40 00 80     eth0": address, index, prefix, scope,
    // flags, name.
    let rows = || {
        table.lines().filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let address = Ipv6Addr::from(u128::from_str_radix(words.next()?, 16).ok()?);
            let index = words.next()?;
            let flags = u32::from_str_radix(words.nth(2)?, 16).ok()?;
            Some((address, index, flags))
        })
    };
    let (_, index, _) = rows().find(|(address, ..)| *address == like)?;
    let fit = rows()
        .filter(|(address, i, flags)| *i == index && is_global(*address) && flags & UNFIT == 0);
    fit.map(|(address, ..)| address).min()
}

/// What stands between this system and the internet, judged by the address of its WAN and the
/// external one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nat {
    /// Nothing: the address is its own.
    None,
    /// The provider translates (RFC 6598).
    CarrierGrade,
    /// Another router translates in front of this one.
    Double,
    /// Somebody translates a public address.
    Other,
}

impl Nat {
    /// The verdict on an IPv4 address.
    #[must_use]
    pub fn of(local: IpAddr, external: IpAddr) -> Self {
        match scope(local) {
            _ if local == external => Self::None,
            Scope::Shared => Self::CarrierGrade,
            Scope::Public => Self::Other,
            _ => Self::Double,
        }
    }

    /// As the status and the state file name it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::CarrierGrade => "carrier-grade",
            Self::Double => "double",
            Self::Other => "other",
        }
    }

    /// The verdict of that name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::None, Self::CarrierGrade, Self::Double, Self::Other]
            .into_iter()
            .find(|nat| nat.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_and_white_space() {
        assert_eq!(address(b"203.0.113.1\n", Family::V4), Ok("203.0.113.1".parse().unwrap()));
        assert_eq!(address(b" \t2001:db8::1\r\n", Family::V6), Ok("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn b22_b23_everything_else_is_refused() {
        let refused = |page: &[u8]| address(page, Family::V4).unwrap_err();
        assert_eq!(refused(b""), Refusal::Empty);
        assert_eq!(refused(b" \n"), Refusal::Empty);
        assert_eq!(refused(&[b' '; 257]), Refusal::TooLong(LONGEST));
        assert_eq!(refused(b"2001:db8::1"), Refusal::OtherFamily("2001:db8::1".parse().unwrap()));
        assert_eq!(
            address(b"1.2.3.4", Family::V6),
            Err(Refusal::OtherFamily("1.2.3.4".parse().unwrap()))
        );
        for page in [
            "fe80::1%x;touch${IFS}/tmp/x",
            "fe80::1%eth0",
            "1.2.3.4 5.6.7.8",
            "1.2.3.4\n5.6.7.8",
            "01.2.3.4",
            "1.2.3",
            "0x01020304",
            "<html>1.2.3.4</html>",
            "Current IP Address: 1.2.3.4",
            "1.2.3.4;reboot",
            "１.2.3.4",
            "1.2.3.4\u{0}",
            "[::1]",
            "1.2.3.4/32",
        ] {
            assert_eq!(refused(page.as_bytes()), Refusal::NotAnAddress, "{page:?}");
        }
        assert_eq!(refused(b"\xff\xfe"), Refusal::NotAnAddress);
    }

    #[test]
    fn a_private_address_is_nobodys_external_one() {
        for (page, scope) in [
            ("192.168.1.1", Scope::Private),
            ("100.64.0.1", Scope::Shared),
            ("127.0.0.1", Scope::Loopback),
            ("169.254.1.1", Scope::LinkLocal),
            ("0.0.0.0", Scope::Null),
            ("224.0.0.1", Scope::Multicast),
            ("255.255.255.255", Scope::Reserved),
        ] {
            let refused = Refusal::NotPublic(page.parse().unwrap(), scope);
            assert_eq!(address(page.as_bytes(), Family::V4), Err(refused), "{page}");
        }
        for page in [
            "fe80::1",
            "fd00::1",
            "::1",
            "::",
            "::ffff:1.2.3.4",
            "64:ff9b::102:304",
            "ff02::1",
            "4000::1",
        ] {
            assert!(
                matches!(address(page.as_bytes(), Family::V6), Err(Refusal::NotPublic(..))),
                "{page}"
            );
        }
    }

    const TRACE: &str =
        "fl=1f1\nh=one.example\nip=203.0.113.1\nts=1.0\nvisit_scheme=https\nuag=imon/3\nwarp=off\n";

    #[test]
    fn the_trace_format_has_one_ip_line() {
        let read = |text: &str| trace(text.as_bytes(), Family::V4);
        assert_eq!(read(TRACE), Ok("203.0.113.1".parse().unwrap()));
        assert_eq!(read(&TRACE.replace('\n', "\r\n")), Ok("203.0.113.1".parse().unwrap()));
        assert_eq!(read(&format!("{TRACE}ip=203.0.113.2\n")), Err(Refusal::NotATrace));
        assert_eq!(read(&TRACE.replace("ip=203.0.113.1", "ip=fe80::1%x")), Err(Refusal::NotATrace));
        assert_eq!(read(&TRACE.replace("ip=203", "iq=203")), Err(Refusal::NotATrace));
        assert_eq!(read(&TRACE.replace("fl=1f1\n", "")), Err(Refusal::NotATrace));
        assert_eq!(read("<html>\nip=203.0.113.1\n</html>"), Err(Refusal::NotATrace));
        assert_eq!(read("203.0.113.1"), Err(Refusal::NotATrace));
        assert_eq!(read(" "), Err(Refusal::Empty));
        assert_eq!(read(&"x=y\n".repeat(1000)), Err(Refusal::TooLong(LONGEST_TRACE)));
        assert!(matches!(
            read(&TRACE.replace("203.0.113.1", "10.0.0.1")),
            Err(Refusal::NotPublic(..))
        ));
    }

    fn answer(addresses: &[&str], texts: &[&str]) -> DnsAnswer {
        DnsAnswer {
            rcode: Rcode::NOERROR,
            truncated: false,
            referral: false,
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
            texts: texts.iter().map(|t| t.as_bytes().to_vec()).collect(),
            ttl: 0,
        }
    }

    #[test]
    fn a_dns_answer_is_one_record() {
        let read = |a: &[&str], t: &[&str]| record(&answer(a, t), Family::V4);
        let good = Ok("203.0.113.1".parse().unwrap());
        assert_eq!(read(&["203.0.113.1"], &[]), good);
        assert_eq!(read(&[], &["203.0.113.1"]), good);
        assert_eq!(read(&[], &[]), Err(Refusal::Records(0)));
        assert_eq!(read(&["203.0.113.1", "203.0.113.2"], &[]), Err(Refusal::Records(2)));
        assert_eq!(read(&[], &["203.0.113.1", "x"]), Err(Refusal::Records(2)));
        assert_eq!(read(&[], &["203.0.113.1 203.0.113.2"]), Err(Refusal::NotAnAddress));
        assert!(matches!(read(&["192.168.1.1"], &[]), Err(Refusal::NotPublic(..))));
        let refused = DnsAnswer { rcode: Rcode::REFUSED, ..answer(&[], &[]) };
        assert_eq!(record(&refused, Family::V4), Err(Refusal::Verdict(Rcode::REFUSED)));
    }

    #[test]
    fn of_several_ipv6_addresses_the_stable_one_is_told() {
        let table = "fe800000000000000000000000000001 02 40 20 80     eth0\n\
                     20010db8000000000000000000000099 02 40 00 01     eth0\n\
                     20010db8000000000000000000000003 02 40 00 20     eth0\n\
                     20010db8000000000000000000000004 02 40 00 40     eth0\n\
                     20010db8000000000000000000000005 02 40 00 08     eth0\n\
                     20010db8000000000000000000000006 02 40 00 80     eth0\n\
                     20010db8000000000000000000000001 03 40 00 80     eth1\n\
                     fd000000000000000000000000000001 02 40 00 80     eth0\nbroken\n";
        let v6 = |text: &str| text.parse::<Ipv6Addr>().unwrap();
        assert_eq!(stable_v6(table, v6("2001:db8::99")), Some(v6("2001:db8::6")));
        assert_eq!(stable_v6(table, v6("2001:db8::1")), Some(v6("2001:db8::1")));
        assert_eq!(stable_v6(table, v6("2001:db8::77")), None);
        assert_eq!(stable_v6("", v6("2001:db8::99")), None);
    }

    #[test]
    fn nat_is_told_from_the_two_addresses() {
        let nat = |local: &str, external: &str| {
            Nat::of(local.parse().unwrap(), external.parse().unwrap())
        };
        assert_eq!(nat("203.0.113.1", "203.0.113.1"), Nat::None);
        assert_eq!(nat("100.64.3.4", "203.0.113.1"), Nat::CarrierGrade);
        assert_eq!(nat("100.128.3.4", "203.0.113.1"), Nat::Other);
        assert_eq!(nat("192.168.42.2", "203.0.113.1"), Nat::Double);
        for each in [Nat::None, Nat::CarrierGrade, Nat::Double, Nat::Other] {
            assert_eq!(Nat::parse(each.word()), Some(each));
        }
    }
}
