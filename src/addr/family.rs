//! The two families of addresses.

use std::net::IpAddr;

/// An address family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// `4` or `6`, as in the configuration and in `IMON_FAMILY`.
    #[must_use]
    pub fn digit(self) -> &'static str {
        match self {
            Self::V4 => "4",
            Self::V6 => "6",
        }
    }

    /// The family of that digit.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "4" => Some(Self::V4),
            "6" => Some(Self::V6),
            _ => None,
        }
    }

    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Whether this is an address of the family.
    #[must_use]
    pub fn has(self, address: IpAddr) -> bool {
        self == Self::of(address)
    }
}
