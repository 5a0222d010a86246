//! The lab does what the tests that use it believe.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "test code, not imon's core"
)]

mod client;
mod isolation;
mod network;
mod processes;
mod servers;
mod wire;

use libtest_mimic::{Arguments, Trial};

fn main() {
    imon_lab::roles::intercept();
    client::intercept();
    let tests =
        [network::tests(), processes::tests(), servers::tests(), wire::tests(), isolation::tests()];
    libtest_mimic::run(&Arguments::from_args(), tests.into_iter().flatten().collect()).exit();
}

/// A test that fails by panicking.
fn trial(name: &str, test: fn()) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}

/// Tests named like their functions.
macro_rules! trials {
    ($($test:ident),* $(,)?) => { vec![$(crate::trial(stringify!($test), $test)),*] };
}
use trials;
