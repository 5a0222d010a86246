//! The failover monitor. So far its two halves: what each WAN is like, and which of them carries the traffic.

pub mod choice;
pub mod health;
