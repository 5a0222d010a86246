//! What the kernel knows about this machine's interfaces.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

/// All addresses of all interfaces.
#[must_use]
pub fn own_addresses() -> Vec<IpAddr> {
    pnet::datalink::interfaces()
        .into_iter()
        .flat_map(|i| i.ips)
        .map(|network| network.ip())
        .collect()
}

/// The index of an interface, 0 if there is none of this name. For the zone of a link-local
/// address.
#[must_use]
pub fn interface_index(name: &str) -> u32 {
    // SAFETY: the name ends with a NUL and outlives the call.
    std::ffi::CString::new(name).map_or(0, |name| unsafe { libc::if_nametoindex(name.as_ptr()) })
}

/// The socket address of a server, of a link-local one with its zone: an interface's name or
/// number.
#[must_use]
pub fn server_address(address: IpAddr, zone: Option<&str>, port: u16) -> SocketAddr {
    match (address, zone) {
        (IpAddr::V6(address), Some(zone)) => {
            let index = zone.parse().unwrap_or_else(|_| interface_index(zone));
            SocketAddrV6::new(address, port, 0, index).into()
        }
        (address, _) => SocketAddr::new(address, port),
    }
}

/// An unpredictable number: the key of the hash is made of the kernel's random numbers.
#[must_use]
pub fn random() -> u64 {
    RandomState::new().hash_one(0)
}
