//! The failover monitor. So far its decision: which of several WANs carries the traffic.

pub mod choice;
