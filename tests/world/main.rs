//! The world that imon is simulated in, and what holds it against the real one.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code, not imon's core"
)]
#![allow(
    unreachable_pub,
    missing_docs,
    reason = "a test program has no readers but its own modules"
)]

mod complaints;
mod day;
mod differential;
mod house;
mod internet;
mod kernel;
mod kernel_tests;
mod names;
mod networks;
mod output;
mod power;
mod providers;
mod random;
mod real;
mod sim;
mod swarm;

use libtest_mimic::Arguments;

fn main() {
    imon_lab::roles::intercept();
    differential::intercept();
    let suites = [
        day::tests(),
        complaints::tests(),
        names::tests(),
        providers::tests(),
        output::tests(),
        power::tests(),
        kernel_tests::tests(),
        differential::tests(),
        swarm::tests(),
    ];
    libtest_mimic::run(&Arguments::from_args(), suites.into_iter().flatten().collect()).exit();
}
