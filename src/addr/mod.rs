//! Addresses and the names of hosts.

pub mod host;

