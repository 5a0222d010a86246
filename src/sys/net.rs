//! What the kernel knows about this machine's interfaces.

use std::net::IpAddr;

/// All addresses of all interfaces.
#[must_use]
pub fn own_addresses() -> Vec<IpAddr> {
    pnet::datalink::interfaces().into_iter().flat_map(|i| i.ips).map(|network| network.ip()).collect()
}

/// The index of an interface, 0 if there is none of this name. For the zone of a link-local address.
#[must_use]
pub fn interface_index(name: &str) -> u32 {
    // SAFETY: the name ends with a NUL and outlives the call.
    std::ffi::CString::new(name).map_or(0, |name| unsafe { libc::if_nametoindex(name.as_ptr()) })
}
