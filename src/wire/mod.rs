//! Wire formats: pure functions from bytes to values and back.

pub mod conntrack;
pub mod dns;
pub mod frame;
pub mod icmp;
mod netlink;
pub mod rtnetlink;
