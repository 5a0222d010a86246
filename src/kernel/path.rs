//! By which path packets leave, and which families there are.

use std::net::{IpAddr, Ipv4Addr};

/// The address families that are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Families {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

/// The way of a WAN: what is sent leaves by this device with this source address, and nothing that
/// comes by another device is heard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Via {
    /// The interface's name,
    pub device: String,
    /// its number, which tells a new interface from an old one of the same name,
    pub index: u32,
    /// and our address on it.
    pub address: Ipv4Addr,
}

/// By which way to go out.
#[derive(Clone, Debug, Default)]
pub struct Bound {
    /// Through this interface,
    pub device: Option<String>,
    /// with this address of ours.
    pub from: Option<IpAddr>,
}
