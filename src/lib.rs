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

pub mod addr;
pub mod base;
pub mod cli;
pub mod config;
pub mod diagnose;
pub mod dns;
pub mod engine;
pub mod event;
pub mod kernel;
pub mod monitor;
pub mod probe;
pub mod routing;
pub mod secret;
pub mod selftest;
pub mod snapshot;
pub mod sys;
pub mod web;
pub mod wire;

