//! A LAN, a router, two providers and an internet, made of network namespaces, for imon's
//! end-to-end tests, its demo and its benchmarks.
//!
//! ```text
//!   lan eth0 --- lan0 router wan1 --- cust isp1 core --- i1 inet   1.1.1.1 8.8.8.8 9.9.9.9 198.18.0.80 198.18.0.81
//!                     router wan2 --- cust isp2 core --- i2 inet
//! ```
//!
//! [`Lab::new`] builds it in some tens of milliseconds, as root or in an unprivileged user
//! namespace. Real programs run inside with [`Lab::spawn`]; they see their own `/etc/default`,
//! `/run`, `/dev/log` and `/var/lib/imon`. [`Fault`]s break the network, [`roles`] are the servers
//! of the internet and misbehave on command. When the lab is dropped, or the process that made it
//! dies for whatever reason, the kernel takes all of it away.
//!
//! A test, benchmark or example that uses the lab has its own `main()` whose first statement is
//! [`roles::intercept()`]: the roles are the same program, run again inside a namespace.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the rules that keep imon's core pure are not for test code, which starts processes and fails by panicking"
)]

mod fault;
mod imon;
mod lab;
mod process;
pub mod roles;
mod stats;
mod timeline;
mod topology;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use fault::{Fault, Wan};
pub use imon::ImonBuilder;
pub use lab::{Builder, Lab, NEEDS_ROOT};
pub use nix::sys::signal::Signal;
pub use process::{Finished, Line, Proc, Stream};
pub use stats::{Usage, children};
pub use timeline::{Timeline, instant_ns, monotonic_ns};
pub use topology::{INTERNET, INTERNET_V6, NAMESPACES, Nat};

/// A lock whose former holder panicked holds no half-made state here: a failing test still gets its
/// timeline.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
