//! imon, an internet monitor for small routers.
//!
//! Pure monitors ([`monitor`]) receive observations and return effects. One loop around them
//! ([`engine`]) carries these out, by way of a [`engine::world::World`]: the system ([`sys`]), or a
//! simulated one. The core has no clock, socket, file or process; `clippy.toml` and the lints in
//! `Cargo.toml` hold that line. docs/development/architecture.md has the picture and the layers.
//!
//! A tour of the types that a reader meets first, each with an example that runs:
//!
//! 1. [`config`] reads a file by the rows of [`config::Key`]; [`addr::host::Host`] is an address or
//!    a name in it.
//! 2. [`base::time::Clock`] is the time that everything else is given.
//! 3. [`wire::icmp::Codec`] and [`wire::dns`] turn bytes into values and back.
//! 4. [`monitor`] has the state machines: observations in, effects out. [`probe::stats::Stats`] is
//!    what a check found.
//! 5. [`addr::scope::Scope`] says where an address belongs, and so whether an answer can be
//!    believed.
//! 6. [`event::Event`] is what is reported, to the log, to scripts and as JSON.

// Tests of this crate share the simulated kernel with those of the whole program, for which it is
// another crate.
#[cfg(test)]
extern crate self as imon;

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
