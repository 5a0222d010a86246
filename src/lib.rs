//! imon, an internet monitor for small routers.
//!
//! One picture: pure monitors in the middle ([`monitor`]), one loop around them ([`daemon`]), a thin layer of system
//! calls outside ([`sys`]). The core has no clock, socket, file or process: time and everything seen are arguments,
//! everything wanted is a returned effect. The loop has them by way of a [`daemon::world::World`], so that all of it can
//! be simulated. `clippy.toml` and the lints in `Cargo.toml` hold that line.

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

