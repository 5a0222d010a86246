//! Addresses and the names of hosts.

pub mod family;
pub mod host;
pub mod scope;
