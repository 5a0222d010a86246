//! End to end: the real binary in real network namespaces, with its own sockets and real routes.
//! Needs root or an unprivileged user namespace; where neither is to be had every test fails with
//! the sentence that says what to do.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code, not imon's core"
)]

mod actions;
mod beside;
mod check;
mod cli;
mod configure;
mod cost;
mod ddns;
mod disk;
#[path = "../documents/mod.rs"]
mod documents;
mod edges;
mod external;
mod failover;
mod guide;
mod hostile;
mod logging;
mod names;
mod opinion;
mod ping;
mod probes;
mod routers;
mod service;
mod support;
mod timing;
mod tools;
mod updown;

use std::time::Duration;

use imon_lab::Lab;
use libtest_mimic::{Arguments, Trial};

fn main() {
    imon_lab::roles::intercept();
    let mut arguments = Arguments::from_args();
    // Tests mostly wait for the network: more of them at a time than there are cores.
    arguments.test_threads.get_or_insert(6);
    let suites = [
        check::tests(),
        cli::tests(),
        configure::tests(),
        probes::tests(),
        timing::tests(),
        names::tests(),
        updown::tests(),
        opinion::tests(),
        ping::tests(),
        actions::tests(),
        external::tests(),
        ddns::tests(),
        disk::tests(),
        edges::tests(),
        hostile::tests(),
        logging::tests(),
        routers::tests(),
        service::tests(),
        failover::tests(),
        guide::tests(),
        beside::tests(),
        cost::tests(),
    ];
    let tests = spread(suites.into_iter().flatten().collect());
    libtest_mimic::run(&arguments, tests).exit();
}

/// Neighbours do alike things: six that bring tunnels up would keep a processor from all others.
/// So they run far from each other, each time in the same order.
fn spread(tests: Vec<Trial>) -> Vec<Trial> {
    /// About the golden ratio of any number of tests there will be.
    const STRIDE: usize = 619;
    let count = tests.len();
    let mut places: Vec<_> = tests.into_iter().enumerate().collect();
    places.sort_by_key(|(place, _)| place * STRIDE % 1000.max(count));
    places.into_iter().map(|(_, test)| test).collect()
}

/// How long anything may take that should take no time, on a machine that is busy with other tests.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A lab that runs the program under test.
pub(crate) fn lab() -> Lab {
    Lab::builder().imon(env!("CARGO_BIN_EXE_imon")).up()
}

/// One whose providers translate to public addresses, as which the internet sees the router.
pub(crate) fn public_lab() -> Lab {
    Lab::builder().imon(env!("CARGO_BIN_EXE_imon")).public().up()
}

/// A test that fails by panicking.
pub(crate) fn trial(name: &str, test: fn()) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}

/// Tests named like their functions, module and all: `cargo test --test e2e updown::` runs one
/// module's.
macro_rules! trials {
    ($($test:ident),* $(,)?) => { vec![$(crate::trial(concat!(module_path!(), "::", stringify!($test)), $test)),*] };
}
pub(crate) use trials;
