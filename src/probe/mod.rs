//! One round of probes to an address, and its statistics.

pub mod round;
pub mod stats;

