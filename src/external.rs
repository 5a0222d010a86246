//! The external address as a provider's page tells it: read strictly, because what it says is acted upon.

use std::fmt;
use std::net::IpAddr;

/// The longest page that is read, in bytes. An address has at most 45 characters.
pub const LONGEST: usize = 256;

/// An address family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Why a page is not believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Nothing, or only white space.
    Empty,
    /// More than [`LONGEST`] bytes.
    TooLong,
    /// Something else than one address and nothing besides: a portal's page, two addresses, a zone id, a trick.
    NotAnAddress,
    /// An address of the other family.
    OtherFamily(IpAddr),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the answer is empty"),
            Self::TooLong => write!(f, "the answer is longer than {LONGEST} bytes"),
            Self::NotAnAddress => f.write_str("the answer is not one address and nothing else"),
            Self::OtherFamily(address) => write!(f, "the answer is {address}, which is of the other family"),
        }
    }
}

/// Reads a page that consists of one address of this family, white space around it aside.
///
/// # Errors
/// Everything else is refused; nothing is searched for, cut out or repaired.
pub fn address(page: &[u8], family: Family) -> Result<IpAddr, Refusal> {
    if page.len() > LONGEST {
        return Err(Refusal::TooLong);
    }
    let text = std::str::from_utf8(page).map_err(|_| Refusal::NotAnAddress)?.trim_ascii();
    if text.is_empty() {
        return Err(Refusal::Empty);
    }
    let address: IpAddr = text.parse().map_err(|_| Refusal::NotAnAddress)?;
    if address.is_ipv4() == (family == Family::V4) { Ok(address) } else { Err(Refusal::OtherFamily(address)) }
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
        assert_eq!(refused(&[b' '; 257]), Refusal::TooLong);
        assert_eq!(refused(b"2001:db8::1"), Refusal::OtherFamily("2001:db8::1".parse().unwrap()));
        assert_eq!(address(b"1.2.3.4", Family::V6), Err(Refusal::OtherFamily("1.2.3.4".parse().unwrap())));
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
}
