//! imon, an internet monitor for small routers.
//!
//! One picture: pure monitors in the middle ([`monitor`]), one loop around them ([`daemon`]), a thin layer of system
//! calls outside ([`sys`]). The core has no clock, socket, file or process: time and everything seen are arguments,
//! everything wanted is a returned effect. The loop has them by way of a [`daemon::world::World`], so that all of it can
//! be simulated. `clippy.toml` and the lints in `Cargo.toml` hold that line.
//!
//! A tour of the types that a reader meets first, each with an example that runs:
//!
//! 1. [`config`] reads a file by the rows of [`config::Key`]; [`host::Host`] is an address or a name in it.
//! 2. [`time::Clock`] is the time that everything else is given.
//! 3. [`wire::icmp::Codec`] and [`wire::dns`] turn bytes into values and back.
//! 4. [`monitor`] has the state machines: observations in, effects out. [`monitor::stats::Stats`] is what a check found.
//! 5. [`opinion::Scope`] says where an address belongs, and so whether an answer can be believed.
//! 6. [`event::Event`] is what is reported, to the log, to scripts and as JSON.

// Tests of this crate share the simulated kernel with those of the whole program, for which it is another crate.
#[cfg(test)]
extern crate self as imon;

pub mod action;
pub mod check;
pub mod cli;
pub mod config;
pub mod configure;
pub mod daemon;
pub mod event;
pub mod external;
pub mod fields;
pub mod host;
pub mod known;
pub mod load;
pub mod monitor;
pub mod net;
pub mod number;
pub mod opinion;
#[cfg(test)]
mod random;
pub mod resolve;
pub mod routing;
pub mod secrets;
pub mod status;
pub mod sys;
pub mod text;
pub mod time;
pub mod update;
pub mod wire;
pub mod worker;
