//! Wire formats: pure functions from bytes to values and back.

pub mod dns;
pub mod icmp;
pub mod rtnetlink;
